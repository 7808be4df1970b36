"""Some rows of a file: checked, scored, and written with their answers or the reasons of their rejection."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl
from django.utils.translation import gettext as _

from core.csv_injection import escaped_column
from features.definition import INPUTS
from ingestion import table_validation
from ingestion.contract import Violation
from ingestion.passenger import LABEL, RULES
from ingestion.reading import Reading
from ingestion.schema import FIELD_NAMES, FIELDS
from ingestion.spellings import Spellings
from ingestion.table import RAGGED, Chunk, reject_other_headers
from ingestion.validation_messages import table_errors
from predictions.explanation import Explainer
from predictions.models import lowest_id
from predictions.scorer import Champion

#: The column of the line that a row begins on; it joins answers to rows and is not written.
LINE = "line"
#: The columns of an answer, and of the reasons of a rejection; the label's own column stays free for what happened.
PREDICTION_ID, PREDICTED, PROBABILITY = "prediction_id", f"predicted_{LABEL}", "predicted_probability"
ERROR = "error"
_ANSWER = (PROBABILITY, PREDICTED, "model_version")
_EXPLANATION = ("base", *(f"why_{name}" for name in INPUTS))
# A version 7 UUID: 48 bits of time, its version and variant, and 62 bits that are ours: the job and the line.
_VERSION_BITS, _JOB_SHIFT, _JOB_BITS = (7 << 76) | (2 << 62), 32, 30


class ScoredChunk(NamedTuple):
    """The accepted rows with their answers, all rows as they are written, and what was spelt anew and rejected."""

    accepted: pl.DataFrame
    results: pl.DataFrame
    reading: Reading


def score_chunk(
    chunk: Chunk,
    model: Champion,
    explainer: Explainer | None = None,
    *,
    number: Callable[[pl.Series], pl.Series],
    spellings: Spellings | None = None,
) -> ScoredChunk:
    """Check and score the rows of a chunk without logging them; `number` makes prediction ids of line numbers."""
    spellings = spellings or Spellings()
    checked = table_validation.check_columns(FIELDS, chunk.cells, rules=RULES, spellings=spellings)
    with table_errors():
        reject_other_headers(chunk, [(each.row, each.value) for each in checked.errors], FIELDS)
    reading = Reading()
    reading.add_spellings(spellings)
    reading.add_choices(checked.choices)
    for problem in checked.errors:
        reading.add_rejected(int(chunk.lines[problem.row]), problem.value, problem.violation)
    for line in chunk.ragged:
        reading.add_rejected(line, "", Violation("", "ragged", RAGGED))
    scored = model.score(checked.columns)
    accepted = checked.frame.with_columns(
        pl.Series(PROBABILITY, scored.probabilities.astype(np.float64)),
        pl.Series(PREDICTED, scored.predicted.astype(np.int8)),
        pl.lit(model.version).alias("model_version"),
        pl.Series(LINE, chunk.lines[checked.rows]),
    )
    accepted = accepted.with_columns(number(accepted[LINE]).alias(PREDICTION_ID))
    if explainer is not None:
        rows = checked.frame.select(FIELD_NAMES).rows()
        base, contributions = explainer.contributions(rows) if rows else (0.0, np.empty((0, len(INPUTS))))
        columns = [np.full(len(rows), base), *contributions.T]
        accepted = accepted.with_columns(map(pl.Series, _EXPLANATION, columns))
    answers = accepted.select(LINE, *answer_columns(is_explained=explainer is not None))
    return ScoredChunk(accepted, _results_of(chunk, answers, checked), reading)


def answer_columns(*, is_explained: bool) -> list[str]:
    """Name the columns that scoring adds to a row that is accepted."""
    # Parts that were scored before an update lie in this order.
    return [*_ANSWER, *(_EXPLANATION if is_explained else ()), PREDICTION_ID]


def prediction_ids(lines: pl.Series, *, job_id: int, moment: datetime) -> pl.Series:
    """Make time-ordered UUIDs (version 7) for a job's lines, the same for the same job and line however often.

    >>> from datetime import UTC
    >>> prediction_ids(pl.Series([2, 3]), job_id=5, moment=datetime(2026, 11, 1, tzinfo=UTC)).to_list()
    ['01a19467-e800-7000-8000-000500000002', '01a19467-e800-7000-8000-000500000003']
    """
    base = lowest_id(moment).int | _VERSION_BITS | (job_id % 2**_JOB_BITS << _JOB_SHIFT)
    text = f"{base:032x}"
    start = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:24]}"
    return pl.Series([f"{start}{line:08x}" for line in lines.to_list()], dtype=pl.String)


def _results_of(chunk: Chunk, answers: pl.DataFrame, checked: table_validation.CheckedChunk) -> pl.DataFrame:
    """Join all rows of the chunk, in the file's order, with their answers or the reasons of their rejection."""
    reasons: dict[int, list[str]] = {}
    for problem in checked.errors:
        text = _(problem.violation.message) % dict(problem.violation.params)
        reasons.setdefault(int(chunk.lines[problem.row]), []).append(f"{problem.violation.field}: {text}")
    errors = pl.DataFrame(
        {LINE: list(reasons), ERROR: [" ".join(texts) for texts in reasons.values()]},
        schema={LINE: pl.Int64, ERROR: pl.String},
    )
    # The table's own columns are numbered: none of them has the name of an answer.
    whole = chunk.table.with_columns(pl.Series(LINE, chunk.lines, dtype=pl.Int64))
    whole = whole.join(answers, on=LINE, how="left", maintain_order="left")
    whole = whole.join(errors, on=LINE, how="left", maintain_order="left")
    if chunk.ragged:
        width, no_answer = len(chunk.layout.header), [None] * (answers.width - 1)
        rows = [[*(cells + [""] * width)[:width], line, *no_answer, _(RAGGED)] for line, cells in chunk.ragged.items()]
        whole = pl.concat([whole, pl.DataFrame(rows, schema=whole.schema, orient="row")]).sort(LINE)
    texts = [name for name, dtype in whole.schema.items() if dtype == pl.String]
    return whole.with_columns(escaped_column(name) for name in texts)
