"""Accept rejected rows that a person corrected, through the same contract."""

import zlib
from collections.abc import Iterator, Mapping
from typing import IO, NamedTuple

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from core import audit
from core.csv_injection import unescape
from core.errors import Conflict, Invalid
from core.models import Action
from ingestion import contract
from ingestion.headings import column_name
from ingestion.models import Dataset, Passenger, RejectedRow
from ingestion.passenger import GROUP, KEY, LABEL, RULES
from ingestion.spellings import Spellings
from ingestion.split import SHARE
from ingestion.table import RAGGED, read
from ingestion.validation_messages import by_field, table_errors

#: The heading of the line number in the file that a person downloads, corrects and uploads.
LINE = "line"
_MAX_LINE_LENGTH = 20


class Corrected(NamedTuple):
    """Result of a file of corrections: the number of accepted rows, and the reasons of the rejected ones by line."""

    accepted_count: int
    rejected: dict[str, str]


def cells_of(row: RejectedRow) -> dict[str, str]:
    """Return the row's cells by field; a column that it lacks is empty."""
    report = row.dataset.reading_report
    headings = row.dataset.headings
    if report is not None:
        headings = {name: report.header[index] for name, index in report.columns.items()}
    by_name = {column_name(heading): cell for heading, cell in row.cells.items()}
    wanted = {field.name: headings.get(field.name, field.name) for field in row.dataset.table_fields}
    # Two headings may differ in their signs alone.
    return {name: row.cells.get(heading, by_name.get(column_name(heading), "")) for name, heading in wanted.items()}


def accept(row: RejectedRow, cells: Mapping[str, str]) -> Passenger:
    """Add the corrected row to its dataset as the passenger of its line; raises Invalid with every field named."""
    with transaction.atomic():
        dataset = _lock(row.dataset)
        passenger = _accept(dataset, row, cells)
        dataset.save(update_fields=["row_count", "problem_count", "revision", "split"])
        before = {name: cell for name, cell in cells_of(row).items() if cells.get(name, "") != cell}
        after = {LINE: row.line_number, **{name: cells.get(name, "") for name in before}}
        audit.record(Action.CORRECTED, dataset, before=before, after=after)
    return passenger


def accept_file(dataset: Dataset, file: IO[bytes]) -> Corrected:
    """Add the corrected rows of a file, as `rejected_rows` gives it, by their line numbers; raises TitanicError."""
    names = [field.name for field in dataset.table_fields]
    fields = [contract.Field(LINE, "text", is_required=True), *dataset.table_fields]
    accepted_count = 0
    rejected: dict[str, str] = {}
    with transaction.atomic(), table_errors(field="file"):
        dataset = _lock(dataset)
        rows = {str(row.line_number): row for row in dataset.rejected_rows.open()}
        for chunk in read(file, fields=fields, required=[LINE]):
            for cells in chunk.cells.iter_rows(named=True):
                line = cells[LINE].strip()[:_MAX_LINE_LENGTH]
                row = rows.pop(line, None)
                if row is None:
                    rejected[line] = _("This line of the table was not rejected, or was corrected already.")
                    continue
                try:
                    _accept(dataset, row, {name: unescape(cells.get(name, "")) for name in names})
                    accepted_count += 1
                except Invalid as invalid:
                    rejected[line] = invalid.in_words()
            for ragged in chunk.ragged.values():
                line = "".join(ragged[chunk.layout.columns[LINE] :][:1]).strip()[:_MAX_LINE_LENGTH]
                rejected[line] = _(RAGGED)
        if accepted_count:
            dataset.save(update_fields=["row_count", "problem_count", "revision", "split"])
            audit.record(Action.CORRECTED, dataset, after={"accepted rows": accepted_count})
    return Corrected(accepted_count, rejected)


def rejected_rows(dataset: Dataset) -> Iterator[list[object]]:
    """Yield a header and the rows that are still rejected, with their line numbers."""
    names = [field.name for field in dataset.table_fields]
    yield [LINE, *names]
    for row in dataset.rejected_rows.open().select_related("dataset").iterator():
        cells = cells_of(row)
        yield [row.line_number, *(cells[name] for name in names)]


def _lock(dataset: Dataset) -> Dataset:
    """Lock the dataset for its next revision; raises Conflict where it has no rows to add to."""
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if dataset.archived_at or not dataset.row_count:
        message = _("%(dataset)s has no rows that a corrected one could join: correct the table and load it again.")
        raise Conflict(message % {"dataset": dataset})
    dataset.revision += 1
    return dataset


def _accept(dataset: Dataset, row: RejectedRow, cells: Mapping[str, str]) -> Passenger:
    """Save the row as a passenger and count it in the dataset, which the caller saves; raises Invalid, Conflict."""
    line = row.line_number
    cells = {**cells, KEY: cells.get(KEY, "").strip() or str(line - 1)}
    report = dataset.reading_report
    spellings = Spellings(decimals=report.decimals if report else None, markers=dataset.markers)
    cells = spellings.spell_row(dataset.table_fields, cells)
    row_contract = contract.Contract(dataset.table_fields, rules=RULES, markers=spellings.markers)
    values, violations = row_contract.check(cells, is_text=True)
    if violations:
        raise Invalid(by_field(violations))
    if Passenger.objects.of(dataset).filter(**{KEY: values[KEY]}).exists():
        raise Invalid({KEY: [("duplicate", _("A row with this key is in the dataset already."))]})
    if LABEL in values:
        values[LABEL] = bool(values[LABEL])
    passenger = Passenger(
        dataset=dataset, line_number=line, revision=dataset.revision, is_holdout=_is_holdout(dataset, values, line),
        **values,
    )  # fmt: skip
    try:
        with transaction.atomic():
            passenger.save(force_insert=True)
    except IntegrityError:
        raise Conflict(_("Line %(line)s was accepted meanwhile.") % {"line": line}) from None
    RejectedRow.objects.filter(pk=row.pk).update(corrected_at=timezone.now())
    dataset.row_count = (dataset.row_count or 0) + 1
    dataset.problem_count = (dataset.problem_count or 0) - 1
    if dataset.split:
        dataset.split["holdout" if passenger.is_holdout else "train"] += 1
    return passenger


def _is_holdout(dataset: Dataset, values: Mapping[str, contract.Value], line: int) -> bool:
    """Put the row where its group is; a new group goes to a side by its checksum."""
    if dataset.split is None:
        return False
    group = values[GROUP] if GROUP else None
    if GROUP and group is not None:
        member = Passenger.objects.of(dataset).filter(**{GROUP: group}).first()
        if member is not None:
            return member.is_holdout
    return zlib.crc32(str(group or f"line {line}").encode()) < SHARE * 2**32
