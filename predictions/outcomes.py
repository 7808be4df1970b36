"""Outcomes: what really happened to passengers, recorded once; only an operator corrects a wrong one."""

import re
from bisect import insort
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, NamedTuple
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from core import audit
from core.errors import Conflict, TooLarge
from core.models import Action
from core.postgres_copy import copy_rows
from core.redis import RedisUnavailable
from ingestion.passenger import LABEL
from ingestion.table import RAGGED, read
from ingestion.validation_messages import table_errors
from predictions import log
from predictions.models import Outcome, Prediction

#: The column of a file of outcomes with the prediction's id, as results of scoring name it; the other is the label's.
ID = "prediction_id"
#: How many lines a file may have: a person waits for the answer, some twenty seconds for so many.
MAX_LINES = 1_000_000
#: How many rejected lines of a file are named; the others are counted.
PROBLEMS_SHOWN = 100
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
# As the API and the pages write it: Python's own parser takes braces and much else.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_DIFFERENT_OUTCOME = gettext_noop("Another outcome is recorded for this prediction; an operator can correct it.")


class Reported(NamedTuple):
    """One line of a file that can be read."""

    line: int
    prediction_id: str
    actual: bool


@dataclass
class Summary:
    """The result of a file: how many lines were new, known already or left empty, and why the others were rejected."""

    recorded_count: int = 0
    known_count: int = 0
    empty_count: int = 0
    problem_count: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)

    def reject(self, line: int, reason: str) -> None:
        """Count a rejected line, and keep the reasons of the first ones of the file."""
        self.problem_count += 1
        # Within a block the lines that cannot be read come first, and those that Postgres rejects last.
        if len(self.problems) < PROBLEMS_SHOWN or line < self.problems[-1][0]:
            insort(self.problems, (line, reason))
            del self.problems[PROBLEMS_SHOWN:]

    @property
    def line_count(self) -> int:
        """Count all lines so far."""
        return self.recorded_count + self.known_count + self.empty_count + self.problem_count


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


def record_file(file: IO[bytes], *, by: User | None) -> Summary:
    """Record the outcomes of a CSV file: results of a scoring, say, with the label filled in where it is known.

    A rejected line holds up no other. Safe to repeat. Raises TitanicError where the file is no table or breaks off: the
    blocks before are recorded.
    """
    # So that predictions of the last second are known too.
    with suppress(*RedisUnavailable):
        log.drain()
    summary = Summary()
    with table_errors(field="file"):
        for chunk in read(file, known=(ID, LABEL), required=(ID, LABEL), known_only=True):
            for line in chunk.ragged:
                summary.reject(line, _(RAGGED))
            reported: list[Reported] = []
            for line, id_text, text in zip(chunk.lines.tolist(), chunk.cells[ID], chunk.cells[LABEL], strict=True):
                prediction_id, actual = id_text.strip(), _BOOLEANS.get(text.strip().lower())
                if not text.strip():
                    summary.empty_count += 1
                elif not _UUID.fullmatch(prediction_id):
                    summary.reject(line, _("This is not the id of a prediction."))
                elif actual is None:
                    summary.reject(line, _("What happened must be true or false, 1 or 0."))
                else:
                    reported.append(Reported(line, prediction_id, actual))
            _record_block(reported, summary, by=by)
            if summary.line_count > MAX_LINES:
                message = _("The file has more than %(most)s lines: these are recorded. Send the rest by itself.")
                raise TooLarge(message % {"most": MAX_LINES}, field="file")
    return summary


def _record_block(reported: list[Reported], summary: Summary, *, by: User | None) -> None:
    """Record one block in a transaction of its own, and reject the lines that the database rejects."""
    table, known = Outcome._meta.db_table, Prediction._meta.db_table
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE reported (line bigint, prediction_id uuid, actual boolean)")
        copy_rows("reported", Reported._fields, reported)
        # Without statistics Postgres would read the whole log rather than look some ids up.
        cursor.execute("ANALYZE reported")
        # In the order of the ids, so that two files with the same ids wait for each other without a deadlock.
        cursor.execute(
            f"INSERT INTO {table} (prediction_id, actual, by_id, recorded_at)"  # noqa: S608 - names of tables and columns are the code's own
            " SELECT DISTINCT ON (prediction_id) prediction_id, actual, %s::bigint, now() FROM reported"
            f" WHERE EXISTS (SELECT FROM {known} WHERE {known}.id = prediction_id)"
            " ORDER BY prediction_id, line ON CONFLICT DO NOTHING",
            [by.pk if by else None],
        )
        recorded_count = cursor.rowcount
        cursor.execute(
            f"SELECT r.line, o.actual IS NULL FROM reported r LEFT JOIN {table} o USING (prediction_id)"  # noqa: S608 - names of tables and columns are the code's own
            " WHERE o.actual IS DISTINCT FROM r.actual ORDER BY r.line"
        )
        rejected = cursor.fetchall()
        cursor.execute("DROP TABLE reported")
        if recorded_count:
            audit.record(Action.OUTCOME_RECORDED, "file", after={"count": recorded_count})
    summary.recorded_count += recorded_count
    summary.known_count += len(reported) - recorded_count - len(rejected)
    for line, is_unknown in rejected:
        summary.reject(line, _("There is no such prediction.") if is_unknown else _(_DIFFERENT_OUTCOME))
