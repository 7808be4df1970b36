"""Scoring a CSV file: every row through the contract, the good ones through the champion and into the log."""

import csv
import io
import tempfile
from typing import IO

from django.core.files import File
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from ingestion import contract, sieve
from ingestion.passenger import FIELD_NAMES, FIELDS, RULES
from ingestion.table import RAGGED, Chunk, TableError, read
from predictions import log, scorer
from predictions.metrics import PREDICTIONS
from predictions.models import Door, ScoringJob, new_id
from titanic_site.lib.errors import TitanicError
from titanic_site.lib.spreadsheets import safe

RESULT_COLUMNS = ("probability", "survived", "model_version", "error")
_REQUIRED = [field.name for field in FIELDS if field.is_required]


def score(job: ScoringJob) -> None:
    """Score the job's file and keep the results beside it."""
    with job.running(), job.upload.open("rb") as file, tempfile.TemporaryFile("w+b") as results:
        try:
            row_count, problem_count = _score(job, file, results)
        except TableError as error:
            raise TitanicError(_(error.message) % error.params) from error
        results.seek(0)
        with transaction.atomic():
            job.row_count, job.problem_count = row_count, problem_count
            job.results.save(f"results-{job.pk}.csv", File(results), save=False)
            job.save(update_fields=["row_count", "problem_count", "results"])
            job.conclude()


def _score(job: ScoringJob, file: IO[bytes], results: IO[bytes]) -> tuple[int, int]:
    """Write the results and return how many rows there were and how many had a problem."""
    # One champion for the whole file, whoever is promoted meanwhile.
    champion = scorer.current()
    text = io.TextIOWrapper(results, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    row_count = problem_count = 0
    for chunk in read(file, known=FIELD_NAMES, required=_REQUIRED):
        if not row_count:
            writer.writerow(safe([*chunk.header, *RESULT_COLUMNS]))
        lines = _score_chunk(job, chunk, champion)
        for _line, cells, outcome in lines:
            writer.writerow(safe([*cells, *outcome]))
            problem_count += bool(outcome[-1])
        row_count += len(lines)
        job.report(file.tell() / max(job.upload.size, 1), count=row_count)
    text.detach()
    if not row_count:
        raise TitanicError(_("The table has a header and no rows."))
    return row_count, problem_count


Line = tuple[int, list[str], tuple[object, ...]]


def _score_chunk(job: ScoringJob, chunk: Chunk, champion: scorer.Champion) -> list[Line]:
    """The chunk's rows in the file's order, each with its line number and the values of `RESULT_COLUMNS`."""
    checked = sieve.check_columns(FIELDS, chunk.cells, rules=RULES)
    scored = champion.score(checked.columns)
    outcomes: dict[int, tuple[object, ...]] = {
        int(row): (repr(float(probability)), int(survived), champion.version, "")
        for row, probability, survived in zip(checked.rows, scored.probabilities, scored.survived, strict=True)
    }
    _log(job, checked, scored, champion)
    refused: dict[int, list[str]] = {}
    for problem in checked.errors:
        text = _(problem.refusal.message) % dict(problem.refusal.params)
        refused.setdefault(problem.row, []).append(f"{problem.refusal.field}: {text}")
    outcomes |= {row: ("", "", "", " ".join(texts)) for row, texts in refused.items()}
    lines: list[Line] = [
        (int(chunk.lines[row]), list(cells), outcomes[row]) for row, cells in enumerate(chunk.table.iter_rows())
    ]
    lines += [
        (line, _fitted(cells, len(chunk.header)), ("", "", "", _(RAGGED))) for line, cells in chunk.ragged.items()
    ]
    return sorted(lines, key=lambda found: found[0])


def _fitted(cells: list[str], width: int) -> list[str]:
    return (cells + [""] * width)[:width]


def _log(job: ScoringJob, checked: sieve.Checked, scored: scorer.Scored, champion: scorer.Champion) -> None:
    now = timezone.now()
    columns = [contract.python_values(field, checked.columns[field.name]) for field in FIELDS]
    entries = [
        log.Entry(
            str(new_id()), champion.version, float(probability), champion.threshold, bool(survived),
            Door.CSV.value, job.pk, now, tuple(passenger),
        )
        for probability, survived, *passenger in zip(scored.probabilities, scored.survived, *columns, strict=True)
    ]  # fmt: skip
    log.insert(entries)
    for survived in (True, False):
        count = int((scored.survived == survived).sum())
        PREDICTIONS.labels(champion.version, str(survived).lower(), Door.CSV).inc(count)
