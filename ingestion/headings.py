"""Find each field's column by its heading: its name in any spelling, another heading of it, or a given one. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.similar_names import similar_name
from ingestion.contract import Field, gettext_noop
from ingestion.formats import TableError

# Numbers and names of rows, as pandas and R write them, and what a file of results has beside its input.
_ROWS = re.compile(r"index|(index)?level[0-9]+|unnamed.*|rownames")
_RESULTS = re.compile(r"predict(ion|ed).*|modelversion|error|base|why.*|input.*|reference|line")
_RESULT_ID = "predictionid"
_MOST_NAMED = 10


@dataclass(frozen=True)
class Found:
    """The index of each field's column, the headings of no field, and the fields without a column.

    `second` are further headings of fields that have a column, `misspelt` those that may be meant for one that has
    none: the fields' names by heading.
    """

    columns: Mapping[str, int]
    unread: list[str]
    missing: list[str]
    second: Mapping[str, str]
    misspelt: Mapping[str, str]

    def quoted(self, names: Sequence[str]) -> str:
        """Name headings in a sentence, each with the field that it may be meant for."""
        guesses = {heading: f" ({name}?)" for heading, name in self.misspelt.items()}
        shown = sorted(names, key=lambda heading: heading not in guesses)[:_MOST_NAMED]
        return ", ".join(f"“{heading[:60]}”{guesses.get(heading, '')}" for heading in shown)


def column_name(heading: str) -> str:
    """Normalise a heading to its letters and digits: `PassengerId`, `passenger_id` and `Passenger ID` are the same.

    >>> column_name(" Passenger ID "), column_name("passenger.id"), column_name("Prénom_1 (€)")
    ('passengerid', 'passengerid', 'prénom1')
    """
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", heading).lower())


def names_of(field: Field) -> list[str]:
    """Return a field's headings, normalised: its name first."""
    return [column_name(name) for name in (field.name, *field.in_files.headings)]


def match(
    header: Sequence[str], fields: Sequence[Field], *, given: Mapping[str, str] | None = None,
    ignored: Iterable[str] = (),
) -> Found:  # fmt: skip
    """Match fields and headings; raises TableError where one is there twice.

    `given` are the headings of fields that have others than theirs: they are matched first, and as they stand where
    they can be. `ignored` are headings that are known to be no field's.
    """
    given = given or {}
    names = [column_name(heading) for heading in header]
    columns: dict[str, int] = {}
    for field in sorted(fields, key=lambda field: field.name not in given):
        wanted: list[tuple[Sequence[str], str]] = [(names, name) for name in names_of(field)]
        heading = given.get(field.name, "").strip()
        if field.name in given:
            wanted = [(header, heading) if heading in header else (names, column_name(heading))]
        for row, name in wanted:
            indices = [
                index for index, each in enumerate(row) if name and each == name and index not in columns.values()
            ]
            if len(indices) > 1:
                message = gettext_noop("The column %(name)s is there twice. Remove one.")
                raise TableError(message, name=heading or field.name)
            if indices:
                columns[field.name] = indices[0]
                break
        if field.name in given and field.name not in columns:
            message = gettext_noop("The table has no heading “%(heading)s”, which is to be that of %(name)s.")
            if name and name in row:
                message = gettext_noop("The heading “%(heading)s” cannot be that of %(name)s: another column has it.")
            raise TableError(message, heading=heading, name=field.name)
    is_ignored = set(map(column_name, ignored))
    is_result = _RESULT_ID in names
    unread = [
        heading for index, heading in enumerate(header)
        if index not in columns.values() and heading.strip("# ") and names[index] not in is_ignored
        and not _ROWS.fullmatch(names[index]) and not (is_result and _RESULTS.fullmatch(names[index]))
    ]  # fmt: skip
    owners = {name: field.name for field in fields for name in names_of(field)}
    second = {heading: owners[column_name(heading)] for heading in unread if column_name(heading) in owners}
    unread = [heading for heading in unread if heading not in second]
    missing = [field.name for field in fields if field.name not in columns]
    similar = {similar_name(name, unread): owner for name, owner in owners.items() if owner in missing}
    misspelt = {heading: owner for heading, owner in similar.items() if heading is not None}
    return Found(columns, unread, missing, second, misspelt)


def check(found: Found, *, required: Iterable[str], expected: Iterable[str] = (), ignores_others: bool = False) -> None:
    """Raise TableError where a required column is missing, or an expected one while other headings were not read.

    Then one of these is most likely its heading, misspelt: the answers would be those of other rows.
    """
    missing = [name for name in required if name in found.missing]
    unread = found.quoted(found.unread)
    if missing and not unread:
        message = gettext_noop(
            "The table has no column %(missing)s. The first line must name the columns, separated by commas."
        )
        raise TableError(message, missing=", ".join(missing))
    if missing:
        message = gettext_noop(
            "The table has no column %(missing)s. These headings were not read: %(unread)s. Rename them, or say which "
            "heading a column has."
        )
        raise TableError(message, missing=", ".join(missing), unread=unread)
    missing = [name for name in expected if name in found.missing]
    if missing and unread and not ignores_others:
        message = gettext_noop(
            "The table has no column %(missing)s, and these headings were not read: %(unread)s. Rename them, say which "
            "heading a column has, or that other headings are ignored."
        )
        raise TableError(message, missing=", ".join(missing), unread=unread)
