"""What really happened: recorded once, and never changed."""

import re
from bisect import insort
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, NamedTuple
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import Http404
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from core.errors import Conflict, TooLarge
from core.postgres_copy import copy_rows
from core.redis import RedisUnavailable
from ingestion.table import RAGGED, read
from ingestion.validation_messages import table_errors
from predictions import log
from predictions.models import Outcome, Prediction

#: The columns of a file of outcomes.
ID, SURVIVED = "id", "survived"
#: A person waits for the answer: so many lines take some twenty seconds.
MAX_LINES = 1_000_000
#: So many lines of a file are named; the others are counted.
PROBLEMS_SHOWN = 100
_WORDS = {"true": True, "1": True, "false": False, "0": False}
# As the API and the pages write it; Python's own reading takes braces and much else.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_ANOTHER = gettext_noop("Another outcome is recorded for this prediction: it stays.")


class Reported(NamedTuple):
    """One line of a file that can be read."""

    line: int
    prediction_id: str
    survived: bool


@dataclass
class Summary:
    """What became of a file: how many lines were new, how many known already, and why each other one is neither."""

    recorded_count: int = 0
    known_count: int = 0
    problem_count: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, line: int, reason: str) -> None:
        """Count a line that was not recorded, and keep the reasons of the first ones of the file."""
        self.problem_count += 1
        # Within a block the misshapen lines come first, and those that Postgres knows better last.
        if len(self.problems) < PROBLEMS_SHOWN or line < self.problems[-1][0]:
            insort(self.problems, (line, reason))
            del self.problems[PROBLEMS_SHOWN:]

    @property
    def line_count(self) -> int:
        """All lines so far."""
        return self.recorded_count + self.known_count + self.problem_count


def record(prediction_id: UUID, *, survived: bool, by: User | None) -> tuple[Outcome, bool]:
    """Write down an outcome, and whether it is new; raises Http404 for no such prediction, Conflict for another one."""
    if log.find(prediction_id) is None:
        raise Http404
    # Two at once: the first one counts, by the database.
    outcome, is_new = Outcome.objects.get_or_create(
        prediction_id=prediction_id, defaults={"survived": survived, "by": by}
    )
    if outcome.survived != survived:
        raise Conflict(_(_ANOTHER), field="survived")
    return outcome, is_new


def record_file(file: IO[bytes], *, by: User | None) -> Summary:
    """Write down the outcomes of a CSV file, `id,survived`; a line that is wrong holds up no other.

    Safe to do twice. Raises TitanicError where the file is no table or breaks off: the blocks before are recorded.
    """
    # What was asked in the last second is known too.
    with suppress(*RedisUnavailable):
        log.drain()
    summary = Summary()
    with table_errors(field="file"):
        for reported in _blocks(file, summary):
            _record_block(reported, summary, by=by)
            if summary.line_count > MAX_LINES:
                message = _("The file has more than %(most)s lines: these are recorded. Send the rest by itself.")
                raise TooLarge(message % {"most": MAX_LINES}, field="file")
    return summary


def get(prediction_id: UUID) -> Outcome | None:
    """What is recorded, or None."""
    return Outcome.objects.filter(pk=prediction_id).first()


def _blocks(file: IO[bytes], summary: Summary) -> Iterator[list[Reported]]:
    """The lines that can be read, block by block; the others are refused."""
    for chunk in read(file, known=(ID, SURVIVED), required=(ID, SURVIVED), known_only=True):
        reported: list[Reported] = []
        for line in chunk.ragged:
            summary.refuse(line, _(RAGGED))
        cells = chunk.cells
        for line, said_id, said in zip(chunk.lines.tolist(), cells[ID], cells[SURVIVED], strict=True):
            prediction_id, survived = said_id.strip(), _WORDS.get(said.strip().lower())
            if not _UUID.fullmatch(prediction_id):
                summary.refuse(line, _("The id is none of a prediction."))
            elif survived is None:
                summary.refuse(line, _("What happened must be true or false, 1 or 0."))
            else:
                reported.append(Reported(line, prediction_id, survived))
        yield reported


def _record_block(reported: list[Reported], summary: Summary, *, by: User | None) -> None:
    """Write down one block in a transaction of its own, and say of each line that was not recorded why."""
    table, known = Outcome._meta.db_table, Prediction._meta.db_table
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE reported (line bigint, prediction_id uuid, survived boolean)")
        copy_rows("reported", Reported._fields, reported)
        # Without figures of it Postgres would read the whole log rather than look some ids up.
        cursor.execute("ANALYZE reported")
        # In the order of the ids: two files with the same ones wait for each other, and not in a circle.
        cursor.execute(
            f"INSERT INTO {table} (prediction_id, survived, by_id, recorded_at)"
            " SELECT DISTINCT ON (prediction_id) prediction_id, survived, %s::bigint, now() FROM reported"
            f" WHERE EXISTS (SELECT FROM {known} WHERE {known}.id = prediction_id)"
            " ORDER BY prediction_id, line ON CONFLICT DO NOTHING",
            [by.pk if by else None],
        )
        recorded_count = cursor.rowcount
        cursor.execute(
            f"SELECT r.line, o.survived IS NULL FROM reported r LEFT JOIN {table} o USING (prediction_id)"
            " WHERE o.survived IS DISTINCT FROM r.survived ORDER BY r.line"
        )
        refused = cursor.fetchall()
        cursor.execute("DROP TABLE reported")
    summary.recorded_count += recorded_count
    summary.known_count += len(reported) - recorded_count - len(refused)
    for line, is_unknown in refused:
        summary.refuse(line, _("There is no such prediction.") if is_unknown else _(_ANOTHER))
