"""Refused rows, mended by a person and admitted through the same contract."""

import zlib
from collections.abc import Iterator, Mapping
from typing import IO, NamedTuple

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from core.csv_injection import unescape
from core.errors import Conflict, Invalid, TitanicError
from ingestion import contract
from ingestion.models import Dataset, Passenger, RefusedRow
from ingestion.passenger import GROUP, KEY, LABEL, RULES
from ingestion.split import SHARE
from ingestion.table import RAGGED, TableError, column_name, read
from ingestion.validation_messages import by_field

#: The heading of the line number in the file that a person downloads, mends and sends back.
LINE = "line"
_CHECKSUMS = 1 << 32
_LONGEST_LINE_NUMBER, _LONGEST_SHOWN = 9, 20


class Corrected(NamedTuple):
    """What became of the rows of a mended file: how many were admitted, and why each of the others was not."""

    accepted_count: int
    rejected: dict[str, str]


def cells_of(row: RefusedRow) -> dict[str, str]:
    """The row's cells by the columns that mean something; a column it does not have is empty."""
    there = {column_name(heading): cell for heading, cell in row.cells.items()}
    headings = row.dataset.headings
    return {
        field.name: there.get(column_name(headings.get(field.name, field.name)), "")
        for field in row.dataset.table_fields
    }


def accept(row: RefusedRow, cells: Mapping[str, str]) -> Passenger:
    """Admit the mended row to its dataset, as the passenger of its line; raises Invalid with every field named."""
    with transaction.atomic():
        dataset = _lock_for_corrections(row.dataset)
        dataset.revision += 1
        passenger = _accept(dataset, row, cells)
        _save_counts(dataset)
    return passenger


def accept_file(dataset: Dataset, file: IO[bytes]) -> Corrected:
    """Admit the rows of a mended file by their line numbers; those that are still wrong stay rejected."""
    accepted_count = 0
    rejected: dict[str, str] = {}
    with transaction.atomic():
        found = _lock_for_corrections(dataset)
        found.revision += 1
        open_rows = {row.line_number: row for row in found.refused_rows.filter(mended_at=None)}
        for number, cells in _corrected_rows(found, file):
            row = open_rows.pop(_line_of(number), None)
            if cells is None:
                rejected[number] = _(RAGGED)
            elif row is None:
                rejected[number] = _("This line of the table was not rejected, or is mended already.")
            else:
                try:
                    _accept(found, row, cells)
                    accepted_count += 1
                except Invalid as invalid:
                    rejected[number] = invalid.in_words()
        if accepted_count:
            _save_counts(found)
    return Corrected(accepted_count, rejected)


def rejected_rows(dataset: Dataset) -> Iterator[list[object]]:
    """A header and the rows that are still rejected, with their line numbers: the table that `accept_file` takes."""
    names = [field.name for field in dataset.table_fields]
    yield [LINE, *names]
    for row in dataset.refused_rows.filter(mended_at=None).select_related("dataset").iterator():
        cells = cells_of(row)
        yield [row.line_number, *(cells[name] for name in names)]


def _line_of(number: str) -> int:
    """The line that a cell names, or one that there is not."""
    return int(number) if len(number) <= _LONGEST_LINE_NUMBER and number.isdecimal() else -1


def _corrected_rows(dataset: Dataset, file: IO[bytes]) -> Iterator[tuple[str, dict[str, str] | None]]:
    """Line numbers as they are written, and the cells by column; None where there are too many or too few."""
    names = [field.name for field in dataset.table_fields]
    try:
        for chunk in read(file, known=[LINE, *names], required=[LINE]):
            for row in chunk.cells.iter_rows(named=True):
                yield _shortened(row[LINE]), {name: unescape(row.get(name, "")) for name in names}
            for cells in chunk.ragged.values():
                yield _shortened("".join(cells[chunk.places[LINE] :][:1])), None
    except TableError as error:
        raise TitanicError(_(error.message) % error.params, field="file") from error


def _shortened(number: str) -> str:
    return number.strip()[:_LONGEST_SHOWN]


def _lock_for_corrections(dataset: Dataset) -> Dataset:
    """The dataset, locked; raises Conflict where there is nothing to admit a row to."""
    found = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if found.archived_at or not found.row_count:
        message = _("%(dataset)s has no rows that a mended one could join: correct the table and load it again.")
        raise Conflict(message % {"dataset": dataset})
    return found


def _accept(dataset: Dataset, row: RefusedRow, cells: Mapping[str, str]) -> Passenger:
    line = row.line_number
    given = {**cells, KEY: cells.get(KEY, "").strip() or str(line - 1)}
    values, violations = contract.check_row(dataset.table_fields, given, rules=RULES, is_text=True)
    if violations:
        raise Invalid(by_field(violations))
    label = values.pop(LABEL, None)
    is_survivor = None if label is None else bool(label)
    if Passenger.objects.of(dataset).filter(passenger_id=values[KEY]).exists():
        raise Invalid({KEY: [("duplicate", _("This passenger is in the dataset already."))]})
    passenger = Passenger(
        dataset=dataset, line_number=line, revision=dataset.revision, is_holdout=_is_holdout(dataset, values, line),
        **{LABEL: is_survivor}, **values,
    )  # fmt: skip
    try:
        with transaction.atomic():
            passenger.save(force_insert=True)
    except IntegrityError:
        raise Conflict(_("Line %(line)s was admitted meanwhile.") % {"line": line}) from None
    RefusedRow.objects.filter(pk=row.pk).update(mended_at=timezone.now())
    dataset.row_count = (dataset.row_count or 0) + 1
    dataset.problem_count = (dataset.problem_count or 0) - 1
    if dataset.split:
        dataset.split["holdout" if passenger.is_holdout else "train"] += 1
    return passenger


def _is_holdout(dataset: Dataset, values: Mapping[str, object], line: int) -> bool:
    """On the side of the row's group; a group that is new goes to a side by its checksum."""
    if dataset.split is None:
        return False
    group = values[GROUP]
    there = Passenger.objects.of(dataset).filter(**{GROUP: group}).first() if group is not None else None
    if there is not None:
        return there.is_holdout
    return zlib.crc32(str(group or f"line {line}").encode()) < SHARE * _CHECKSUMS


def _save_counts(dataset: Dataset) -> None:
    dataset.save(update_fields=["row_count", "problem_count", "revision", "split"])
