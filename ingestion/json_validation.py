"""Validate many passengers of a JSON body at once; those that are not plain go through `check_row`.

The declaration is compiled into a type that msgspec converts to. It only knows values in their plainest form; where one
of the passengers is not plain, nothing is said here, and `check_row` judges them: one contract, in a microsecond.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec

from ingestion.contract import Field, Rule, Value

Row = tuple[Value, ...]

#: Beyond these the contract has words of its own.
_ORDINARY = 2.0**53
_MOST_JUDGEMENTS = 4_096


class Reader:
    """Reads passengers for whom `check_row` would have no violation."""

    def __init__(self, fields: Sequence[Field], *, rules: Sequence[Rule]) -> None:
        self._fields = fields
        self._type: Any = list[_struct(fields)]  # type: ignore[misc]
        self._judges = [_Judge(fields, rule) for rule in rules if rule.severity == "error"]

    def read(self, raws: Sequence[Mapping[str, Any]]) -> list[Row] | None:
        """The passengers' values in the order of the fields, exactly those of `check_row`; None when one is not plain.

        >>> word = Field("word", "text", is_required=False, is_nullable=True, max_length=4)
        >>> reader = Reader([word], rules=())
        >>> reader.read([{"word": " a "}, {"word": ""}, {}]), reader.read([{"word": 1}]), reader.read([{"x": 1}])
        ([('a',), (None,), (None,)], None, None)
        """
        try:
            found = msgspec.convert(raws, self._type)
        except (msgspec.ValidationError, OverflowError, UnicodeError):
            return None
        return self._rows(found)

    def _rows(self, found: Sequence[msgspec.Struct]) -> list[Row] | None:
        if not found:
            return []
        columns = list(zip(*map(msgspec.structs.astuple, found), strict=True))
        plain = [_plain(field, column) for field, column in zip(self._fields, columns, strict=True)]
        if any(column is None for column in plain) or any(judge.objects(plain) for judge in self._judges):
            return None
        return list(zip(*plain, strict=True))


class _Judge:
    """A rule; rows that agree in what it reads are judged once."""

    def __init__(self, fields: Sequence[Field], rule: Rule) -> None:
        names = [field.name for field in fields]
        self._parts = [
            (names.index(name), None if pattern is None else re.compile(pattern))
            for name, pattern in rule.reads.items()
        ]
        reads = tuple(rule.reads)
        self._is_broken = lru_cache(_MOST_JUDGEMENTS)(
            lambda *values: bool(rule.check(dict(zip(reads, values, strict=True))))
        )

    def objects(self, columns: Sequence[Any]) -> bool:
        """Whether one of the rows breaks the rule."""
        parts = [_parts(columns[place], pattern) for place, pattern in self._parts]
        return any(self._is_broken(*kind) for kind in set(zip(*parts, strict=True)))


def _struct(fields: Sequence[Field]) -> type[msgspec.Struct]:
    """The fields as a type; what may be missing comes last, and by keyword."""
    declared = [
        (field.name, _type(field))
        if field.is_required
        else (field.name, _type(field) | None | msgspec.UnsetType, msgspec.UNSET)
        for field in fields
    ]
    return msgspec.defstruct("Plain", declared, forbid_unknown_fields=True, kw_only=True, gc=False)


def _type(field: Field) -> Any:
    if field.choices:
        return Literal[field.choices]
    if field.is_numeric:
        low = -_ORDINARY if field.minimum is None else field.minimum
        high = _ORDINARY if field.maximum is None else field.maximum
        return Annotated[int if field.is_integer else float, msgspec.Meta(ge=low, le=high)]
    return Annotated[str, msgspec.Meta(max_length=field.max_length)]


def _plain(field: Field, column: Sequence[Any]) -> Sequence[Value] | None:
    """The column as the contract gives it, or None where it must be asked."""
    if field.kind == "text":
        # What is missing is false.
        texts = [value.strip() or None if value else None for value in column]
        # Where a letter is not printable the contract says which are allowed.
        if not "".join(filter(None, texts)).isprintable() or (field.is_required and None in texts):
            return None
        return texts
    if field.is_required and field.kind != "number":
        return column
    # Minus zero and zero must not become two different rows.
    zero, unknown = (0.0 if field.kind == "number" else 0), field.default
    return [value or (zero if value == 0 else unknown) for value in column]


def _parts(column: Sequence[Any], pattern: re.Pattern[str] | None) -> Sequence[Any]:
    if pattern is None:
        return column
    found = (pattern.search(value) if value else None for value in column)
    return [match and match[0] for match in found]
