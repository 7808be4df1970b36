"""Outcomes: what really happened to passengers, recorded once; only an operator corrects a wrong one."""

import re
from bisect import insort
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Literal, NamedTuple
from uuid import UUID

import msgspec
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from core import audit
from core.csv_injection import unescape
from core.errors import Conflict, Invalid, TooLarge
from core.models import Action
from core.postgres_copy import copy_rows
from core.redis import RedisUnavailable
from ingestion.contract import Contract, Field
from ingestion.formats import TableError
from ingestion.passenger import LABEL
from ingestion.schema import LABEL_FIELD
from ingestion.spellings import spell
from ingestion.table import RAGGED, read
from ingestion.validation_messages import by_field, table_errors
from predictions import log
from predictions.models import REFERENCE, Outcome, Prediction

#: The column of a file of outcomes with the prediction's id, as results of scoring name it; the other is the label's.
ID = "prediction_id"
_ID_FIELD = Field(ID, "text", is_required=False, max_length=36)
_KEYS = Contract((_ID_FIELD, REFERENCE))
#: How many outcomes a list may have.
MAX_ITEMS = 10_000
#: How many lines a file may have: a person waits for the answer, some twenty seconds for so many.
MAX_LINES = 1_000_000
#: How many rejected lines of a file are named; the others are counted.
PROBLEMS_SHOWN = 100
_BOOLEANS = {"1": True, "0": False}
# As the API and the pages write it: Python's own parser takes braces and much else.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_NO_KEY = gettext_noop("The table has neither a column %(id)s nor a column %(reference)s.")
_DIFFERENT_OUTCOME = gettext_noop("Another outcome is recorded for this prediction; an operator can correct it.")


class Reported(NamedTuple):
    """An outcome as it was sent: of a prediction by its id, or by the caller's reference."""

    row: int
    prediction_id: str | None
    reference: str | None
    actual: bool


ProblemCode = Literal["invalid", "unknown", "ambiguous", "conflicting"]


class OutcomeProblem(msgspec.Struct, frozen=True, order=True):
    """Why one outcome was not recorded; the row is its index in a list, from 0, or its line in a file, from 1."""

    row: int
    code: str
    detail: str


class OutcomeSummary(msgspec.Struct):
    """What became of many outcomes: how many of each kind, and why the first that were rejected were."""

    recorded: int = 0
    unchanged: int = 0
    empty: int = 0
    invalid: int = 0
    unknown: int = 0
    ambiguous: int = 0
    conflicting: int = 0
    problems: list[OutcomeProblem] = []

    def reject(self, row: int, code: ProblemCode, detail: str) -> None:
        """Count a rejected row, and keep the reasons of the first ones."""
        setattr(self, code, getattr(self, code) + 1)
        # Within a block the rows that cannot be read come first, and those that Postgres rejects last.
        if len(self.problems) < PROBLEMS_SHOWN or row < self.problems[-1].row:
            insort(self.problems, OutcomeProblem(row, code, detail))
            del self.problems[PROBLEMS_SHOWN:]

    @property
    def problem_count(self) -> int:
        """Count all rejected rows so far."""
        return self.invalid + self.unknown + self.ambiguous + self.conflicting

    @property
    def row_count(self) -> int:
        """Count all rows so far."""
        return self.recorded + self.unchanged + self.empty + self.problem_count


def record(prediction_id: UUID, *, actual: bool, by: User | None) -> tuple[Outcome, bool]:
    """Record an outcome; returns it and whether it is new. Raises Http404, and Conflict when another is recorded."""
    log.get(prediction_id)
    # Of two requests at once the database lets the first one in.
    with transaction.atomic():
        defaults = {"actual": actual, "by": by}
        outcome, is_new = Outcome.objects.get_or_create(prediction_id=prediction_id, defaults=defaults)
        if is_new:
            audit.record(Action.OUTCOME_RECORDED, outcome, after={"actual": actual})
    if outcome.actual != actual:
        raise Conflict(_(_DIFFERENT_OUTCOME), field=LABEL)
    return outcome, is_new


def correct(prediction_id: UUID, *, actual: bool, by: User | None) -> Outcome:
    """Replace a wrong outcome; the audit trail keeps the old one. Raises Http404 where none is recorded."""
    with transaction.atomic():
        outcome = get_object_or_404(Outcome.objects.select_for_update(), pk=prediction_id)
        if outcome.actual != actual:
            before = {"actual": outcome.actual, "by": outcome.by, "recorded_at": outcome.recorded_at}
            outcome.actual, outcome.by, outcome.recorded_at = actual, by, timezone.now()
            outcome.save()
            audit.record(Action.CORRECTED, outcome, before=before, after={"actual": actual, "by": by})
    return outcome


def record_list(items: object, *, by: User | None) -> OutcomeSummary:
    """Record a list of outcomes as the API takes them; one of a wrong form rejects all of them.

    What the database rejects holds up no other. Safe to repeat. Raises Invalid with every wrong field, TooLarge.
    """
    if not isinstance(items, list):
        raise Invalid({"non_field_errors": [("not_a_list", _("Must be a list of objects, or a CSV file."))]})
    if len(items) > MAX_ITEMS:
        raise TooLarge(_("At most %(most)s outcomes at a time; for more, send a CSV file.") % {"most": MAX_ITEMS})
    reported: list[Reported] = []
    errors: dict[str, list[tuple[str, str]]] = {}
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            errors[str(index)] = [("not_an_object", _("Must be an object of fields."))]
            continue
        prediction_id, reference, wrong = _parse_keys({name: item[name] for name in item if name != LABEL})
        actual = item.get(LABEL)
        if not isinstance(actual, bool):
            wrong[LABEL] = [("invalid", _("Must be true or false."))]
        errors |= {f"{index}.{name}": texts for name, texts in wrong.items()}
        reported.append(Reported(index, prediction_id, reference, actual is True))
    if errors:
        raise Invalid(errors)
    summary = OutcomeSummary()
    _drain()
    _record_block(reported, summary, by=by, name="list")
    return summary


def record_file(file: IO[bytes], *, by: User | None) -> OutcomeSummary:
    """Record the outcomes of a CSV file: results of a scoring, say, with the label filled in where it is known.

    Where a line has an id, its reference is not read. A rejected line holds up no other. Safe to repeat. Raises
    TitanicError where the file is no table or breaks off: the blocks before are recorded.
    """
    _drain()
    summary = OutcomeSummary()
    with table_errors(field="file"):
        fields = (_ID_FIELD, REFERENCE, LABEL_FIELD)
        for chunk in read(file, fields=fields, required=(LABEL,), only=(ID, REFERENCE.name, LABEL)):
            if not chunk.layout.columns.keys() & {ID, REFERENCE.name}:
                raise TableError(_NO_KEY, id=ID, reference=REFERENCE.name)
            for line in chunk.ragged:
                summary.reject(line, "invalid", _(RAGGED))
            reported: list[Reported] = []
            cells = {name: column.to_list() for name, column in chunk.cells.to_dict().items()}
            blanks = [""] * len(chunk.lines)
            keys = zip(cells.get(ID, blanks), cells.get(REFERENCE.name, blanks), strict=True)
            for line, (id_text, reference_text), text in zip(chunk.lines.tolist(), keys, cells[LABEL], strict=True):
                label = spell(LABEL_FIELD, text)
                if not label:
                    summary.empty += 1
                    continue
                raw = {ID: id_text} if id_text.strip() else {REFERENCE.name: unescape(reference_text)}
                prediction_id, reference, wrong = _parse_keys(raw)
                actual = _BOOLEANS.get(label)
                if actual is None:
                    wrong[LABEL] = [("invalid", _("What happened must be true or false, 1 or 0."))]
                if actual is None or wrong:
                    summary.reject(line, "invalid", " ".join(text for texts in wrong.values() for _code, text in texts))
                else:
                    reported.append(Reported(line, prediction_id, reference, actual))
            _record_block(reported, summary, by=by, name="file")
            if summary.row_count > MAX_LINES:
                message = _("The file has more than %(most)s lines: these are recorded. Send the rest by itself.")
                raise TooLarge(message % {"most": MAX_LINES}, field="file")
    return summary


def _parse_keys(raw: Mapping[str, object]) -> tuple[str | None, str | None, dict[str, list[tuple[str, str]]]]:
    """Check what a prediction is found by: return its id or the caller's reference, and the errors by field."""
    values, violations = _KEYS.check(raw)
    errors = by_field(violations)
    prediction_id, reference = (
        None if value is None else str(value) for value in (values.get(ID), values.get(REFERENCE.name))
    )
    if not errors and (prediction_id is None) == (reference is None):
        errors[ID] = [("required", _("Give the prediction_id or the reference, one of the two."))]
    if prediction_id is not None and not _UUID.fullmatch(prediction_id):
        errors[ID] = [("invalid", _("This is not the id of a prediction."))]
    return prediction_id, reference, errors


def _drain() -> None:
    """Store the predictions of the last second, so that they are known too."""
    with suppress(*RedisUnavailable):
        log.drain()


def _record_block(reported: list[Reported], summary: OutcomeSummary, *, by: User | None, name: str) -> None:
    """Record one block in a transaction of its own, and reject the rows that the database rejects."""
    table, known = Outcome._meta.db_table, Prediction._meta.db_table
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE reported (row bigint, prediction_id uuid, reference varchar, actual boolean,"
            " is_ambiguous boolean DEFAULT false)"
        )
        copy_rows("reported", Reported._fields, reported)
        # Without statistics Postgres would read the whole log rather than look some ids up.
        cursor.execute("ANALYZE reported")
        # Two are looked for: a reference that several predictions have names none of them.
        cursor.execute(
            "UPDATE reported"  # noqa: S608 - names of tables and columns are the code's own
            " SET prediction_id = CASE WHEN ids[2] IS NULL THEN ids[1] END, is_ambiguous = ids[2] IS NOT NULL"
            f" FROM (SELECT reference, ARRAY(SELECT id FROM {known} p WHERE p.reference = named.reference LIMIT 2) ids"
            " FROM (SELECT DISTINCT reference FROM reported WHERE reference IS NOT NULL) named) found"
            " WHERE reported.reference = found.reference"
        )
        # In the order of the ids, so that two files with the same ids wait for each other without a deadlock.
        cursor.execute(
            f"INSERT INTO {table} (prediction_id, actual, by_id, recorded_at)"  # noqa: S608 - names of tables and columns are the code's own
            " SELECT DISTINCT ON (prediction_id) prediction_id, actual, %s::bigint, now() FROM reported"
            f" WHERE EXISTS (SELECT FROM {known} WHERE {known}.id = prediction_id)"
            " ORDER BY prediction_id, row ON CONFLICT DO NOTHING",
            [by.pk if by else None],
        )
        recorded_count = cursor.rowcount
        cursor.execute(
            f"SELECT r.row, r.is_ambiguous, o.actual IS NULL FROM reported r LEFT JOIN {table} o USING (prediction_id)"  # noqa: S608 - names of tables and columns are the code's own
            " WHERE o.actual IS DISTINCT FROM r.actual ORDER BY r.row"
        )
        rejected = cursor.fetchall()
        cursor.execute("DROP TABLE reported")
        if recorded_count:
            audit.record(Action.OUTCOME_RECORDED, name, after={"count": recorded_count})
    summary.recorded += recorded_count
    summary.unchanged += len(reported) - recorded_count - len(rejected)
    for row, is_ambiguous, is_unknown in rejected:
        if is_ambiguous:
            summary.reject(row, "ambiguous", _("Several predictions have this reference: give the prediction_id."))
        elif is_unknown:
            summary.reject(row, "unknown", _("There is no such prediction."))
        else:
            summary.reject(row, "conflicting", _(_DIFFERENT_OUTCOME))
