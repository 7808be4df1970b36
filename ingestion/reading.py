"""Record how a table was read: its format, its headings, what was assumed, spelt anew and rejected. Pure.

A job keeps it as JSON; parts of one table are read by several workers and added up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from core.messages import Message
from ingestion.contract import Field, Value, Violation
from ingestion.decimals import currencies
from ingestion.formats import STRAIGHT, Origin
from ingestion.headings import Found, column_name
from ingestion.spellings import Spellings
from ingestion.table import Layout, Table

#: How many different cells of a field, and how many rows of a reason, a report names.
MOST_SHOWN = 20
MOST_EXAMPLES = 5
# Unknown codes of a choice: as long at most, and in so large a share of the rows at least.
_LONGEST_CODE, _FREQUENT = 3, 0.01
_MAX_LENGTH = 200
_SEPARATOR_NAMES: dict[str, str | Message] = {"\t": "TAB", " ": Message("blank")}


class Example(msgspec.Struct):
    """A rejected row: its line, the cell as it stood there, and why it was rejected."""

    line: int
    value: str
    reason: Message


class Rejected(msgspec.Struct):
    """The rows that were rejected for one reason in one column."""

    column: str
    code: str
    count: int = 0
    examples: list[Example] = []


class Spelt(msgspec.Struct):
    """Cells of a column that files write otherwise than the contract; an empty meaning is unknown."""

    column: str
    cell: str
    meaning: str
    count: int = 0

    @property
    def note(self) -> Message:
        """Say what the cells mean, in a sentence for people."""
        read = Message("“%(cell)s” was read as %(meaning)s in %(column)s (cells: %(count)s).")
        unknown = Message("“%(cell)s” means unknown in %(column)s (cells: %(count)s).")
        return (read if self.meaning else unknown) % msgspec.structs.asdict(self)


class Reading(Origin):
    """How a table was written, and how it was read."""

    decimals: dict[str, str] = {}
    header: list[str] = []
    #: The index of each field's column, the headings of no field, and what is assumed for fields without a column.
    columns: dict[str, int] = {}
    unread: list[str] = []
    #: Those of the unread headings that are not known to be no field's.
    unknown: list[str] = []
    #: Further headings of fields that have a column.
    second: dict[str, str] = {}
    assumed: dict[str, Value] = {}
    ungrouped: str = ""
    spelt: list[Spelt] = []
    #: The currencies that the heading and the cells of each column name.
    currencies: dict[str, list[str]] = {}
    rejected: list[Rejected] = []
    #: The values of each required choice in valid rows.
    choices: dict[str, list[int | str]] = {}

    @property
    def layout(self) -> Layout:
        """How the table's lines are cut."""
        return Layout(self.header, self.columns, self.separator, self.decimals)

    def add_spellings(self, spellings: Spellings) -> None:
        """Add what was spelt anew, the most frequent cells of each field, and the currencies."""
        self._add_currencies(spellings.currencies)
        for name, counts in spellings.counts.items():
            for (cell, meaning), count in counts.most_common(MOST_SHOWN):
                self._add_spelt(Spelt(name, cell, meaning, count))

    def add_rejected(self, line: int, value: object, violation: Violation) -> None:
        """Count a reason of a rejection; the first rows are named."""
        text = "" if value is None else str(value)
        reason = Message(violation.message, {name: value or 0 for name, value in violation.params.items()})
        self._rejected(violation.field, violation.code, 1, [Example(line, text[:_MAX_LENGTH], reason)])

    def add_choices(self, choices: Mapping[str, Sequence[int | str]]) -> None:
        """Add the values of required choices in some valid rows."""
        for name, values in choices.items():
            self.choices[name] = sorted({*self.choices.get(name, ()), *values}, key=str)

    def other_codes(self, fields: Iterable[Field], *, row_count: int) -> Message:
        """Say in which required choice codes mean something else than they seem to; empty where none does.

        Some code is unknown in many rows while a choice is never there: M and H, or classes 0 to 2. Of numbers all must
        be such as another numbering has: 1, 3 and 9 are no classes in any.
        """
        by_name = {field.name: field for field in fields}
        for rejected in self.rejected:
            if rejected.code != "not_a_choice" or rejected.column not in self.choices:
                continue
            field, known = by_name[rejected.column], self.choices[rejected.column]
            never = [str(choice) for choice in field.choices if choice not in known]
            codes = sorted({cell for each in rejected.examples if len(cell := each.value.strip()) <= _LONGEST_CODE})
            if field.is_integer:
                codes = [cell for cell in codes if cell.isdecimal() and _span([cell, *known]) <= _span(field.choices)]
            if never and codes and rejected.count >= _FREQUENT * row_count:
                return Message(
                    "In %(column)s %(codes)s is unknown and %(never)s never there: the other codes may mean something "
                    "else than they seem to. Write %(choices)s.",
                    {
                        "column": field.name, "codes": _quoted(codes), "never": ", ".join(never),
                        "choices": ", ".join(map(str, field.choices)),
                    },
                )  # fmt: skip
        return Message()

    def add(self, other: "Reading") -> None:
        """Add the counts of another part of the same table."""
        self._add_currencies(other.currencies)
        self.add_choices(other.choices)
        for each in other.spelt:
            self._add_spelt(each)
        for rejected in other.rejected:
            self._rejected(rejected.column, rejected.code, rejected.count, rejected.examples)

    @property
    def reasons(self) -> list[Message]:
        """Say why rows were rejected, with the first of each reason."""
        return [
            Message(
                "%(column)s: %(reason)s Rows: %(count)s, for example line %(line)s: “%(value)s”.",
                {
                    "count": each.count, "column": each.column or Message("Whole row"),
                    "reason": each.examples[0].reason, "line": str(each.examples[0].line),
                    "value": each.examples[0].value[:60],
                },
            )
            for each in self.rejected
        ]  # fmt: skip

    def _add_currencies(self, others: Mapping[str, Iterable[str]]) -> None:
        for name, named in others.items():
            self.currencies[name] = sorted({*self.currencies.get(name, ()), *named})

    def _add_spelt(self, spelt: Spelt) -> None:
        same = [each for each in self.spelt if (each.column, each.cell) == (spelt.column, spelt.cell)]
        if same:
            same[0].count += spelt.count
        elif sum(each.column == spelt.column for each in self.spelt) < MOST_SHOWN:
            self.spelt.append(msgspec.structs.replace(spelt))

    def _rejected(self, column: str, code: str, count: int, examples: Sequence[Example]) -> None:
        for rejected in self.rejected:
            if (rejected.column, rejected.code) == (column, code):
                break
        else:
            rejected = Rejected(column, code)
            self.rejected.append(rejected)
        rejected.count += count
        rejected.examples = sorted([*rejected.examples, *examples], key=lambda each: each.line)[:MOST_EXAMPLES]

    @property
    def notes(self) -> Iterator[Message]:
        """Say how the table was read, in sentences for people."""
        packing = "".join(f" ({name})" for name in self.packed_in)
        if self.format == "CSV":
            separator = _SEPARATOR_NAMES.get(self.separator, self.separator)
            yield Message("Read as CSV%(packing)s: separator “%(separator)s”, encoding %(encoding)s.", {
                "packing": packing, "separator": separator, "encoding": self.encoding,
            })  # fmt: skip
        elif self.sheet:
            yield Message("Read as %(format)s%(packing)s, sheet “%(sheet)s”.", {
                "format": self.format, "packing": packing, "sheet": self.sheet,
            })  # fmt: skip
        else:
            yield Message("Read as %(format)s%(packing)s.", {"format": self.format, "packing": packing})
        if self.quotes != STRAIGHT:
            yield Message("Cells were read without the quotes %(quotes)s about them.", {"quotes": self.quotes})
        if self.above_header:
            yield Message("Above the header, not read: %(lines)s.", {"lines": _quoted(self.above_header)})
        if commas := [name for name, mark in self.decimals.items() if mark == ","]:
            yield Message("Decimal commas in %(columns)s.", {"columns": ", ".join(commas)})
        for name, index in self.columns.items():
            if column_name(self.header[index]) != column_name(name):
                yield Message("“%(heading)s” was read as %(column)s.", {"heading": self.header[index], "column": name})
        if known := [heading for heading in self.unread if heading and heading not in {*self.unknown, *self.second}]:
            yield Message("Not read: %(headings)s.", {"headings": _quoted(known)})
        yield from (each.note for each in self.spelt)

    @property
    def mixed_currencies(self) -> Iterator[Message]:
        """Say which columns have amounts in different currencies."""
        for name, named in self.currencies.items():
            if len(named) > 1:
                yield Message("%(column)s has amounts in different currencies, read as if they were one: %(names)s.", {
                    "column": name, "names": ", ".join(named),
                })  # fmt: skip

    @property
    def warnings(self) -> Iterator[Message]:
        """Say what was not read, and what was assumed."""
        if self.other_sheets:
            yield Message("These sheets were not read: %(sheets)s.", {"sheets": _quoted(self.other_sheets)})
        if self.merged:
            yield Message(
                "Merged cells have a value in the first row alone, those below were read as blank: %(ranges)s.",
                {"ranges": ", ".join(self.merged)},
            )
        if self.has_row_names:
            yield Message("The first cell of each row has no heading: it was taken for the row’s name and not read.")
        for heading, name in self.second.items():
            yield Message("“%(heading)s” was not read: it is a second column of %(column)s, beside “%(read)s”.", {
                "heading": heading, "column": name, "read": self.header[self.columns[name]],
            })  # fmt: skip
        if self.unknown:
            yield Message("Unknown headings: %(headings)s.", {"headings": _quoted(self.unknown)})
        for name, value in self.assumed.items():
            if value is None:
                yield Message("There is no column %(column)s: it is unknown in all rows.", {"column": name})
            else:
                yield Message("There is no column %(column)s: %(value)s is assumed in all rows.", {
                    "column": name, "value": str(value),
                })  # fmt: skip
        yield from self.mixed_currencies
        if self.ungrouped:
            yield Message("Without the column %(column)s no rows are grouped in the split.", {"column": self.ungrouped})


def _span(numbers: Iterable[int | str]) -> int:
    values = [int(number) for number in numbers]
    return max(values) - min(values)


def _quoted(headings: Sequence[str]) -> str:
    return ", ".join(f"“{heading}”" for heading in headings[:MOST_SHOWN])


def of_table(table: Table, found: Found, fields: Sequence[Field], *, may_lack: Iterable[str] = ()) -> Reading:
    """Begin the record of a table whose headings were matched; a field of `may_lack` is derived from others."""
    layout = table.layout(found.columns, fields)
    derived = set(may_lack)
    read = set(found.columns.values())
    return Reading(
        **msgspec.structs.asdict(table.origin),
        decimals=dict(layout.decimals),
        header=layout.header,
        columns=dict(layout.columns),
        unread=[heading[:_MAX_LENGTH] for index, heading in enumerate(layout.header) if index not in read],
        unknown=[heading[:_MAX_LENGTH] for heading in found.unread],
        currencies={
            name: sorted(named)
            for name, index in layout.columns.items()
            if (named := currencies([layout.header[index]]))
        },
        second={heading[:_MAX_LENGTH]: name for heading, name in found.second.items()},
        assumed={
            field.name: field.default for field in fields if field.name in found.missing and field.name not in derived
        },
    )


def to_json(reading: Reading) -> dict[str, object]:
    """Write a record as a job keeps it."""
    # PostgreSQL stores no NUL.
    text = msgspec.json.encode(reading).replace(b"\\u0000", "␀".encode())
    return msgspec.json.decode(text, type=dict[str, object])


def of_json(stored: object) -> Reading:
    """Read a record that a job keeps."""
    return msgspec.convert(stored, Reading)
