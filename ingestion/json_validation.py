"""Validate many passengers of a JSON body at once; those that are not plain go through `check_row`.

The declaration is compiled into a type that msgspec converts to. It accepts values in their plainest form only; where
one is not, the caller validates all with `check_row`: one contract, a microsecond for a plain row.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec

from ingestion.contract import MAX_EXACT, Field, Rule, Value

Row = tuple[Value, ...]

_RULE_CACHE_SIZE = 4_096


class Reader:
    """Read rows in which `check_row` would find no violation."""

    def __init__(self, fields: Sequence[Field], *, rules: Sequence[Rule]) -> None:
        self._fields = fields
        declared = [
            (field.name, _type(field))
            if field.is_required
            else (field.name, _type(field) | None | msgspec.UnsetType, msgspec.UNSET)
            for field in fields
        ]
        struct = msgspec.defstruct("Plain", declared, forbid_unknown_fields=True, kw_only=True, gc=False)
        self._type = list[struct]  # type: ignore[valid-type]
        self._rules = [_CachedRule(fields, rule) for rule in rules if rule.severity == "error"]

    def read(self, raws: Sequence[Mapping[str, object]]) -> list[Row] | None:
        """Return the rows' values in the order of the fields, exactly those of `check_row`; None when one is not plain.

        >>> word = Field("word", "text", is_required=False, max_length=4)
        >>> reader = Reader([word], rules=())
        >>> reader.read([{"word": " a "}, {"word": ""}, {}]), reader.read([{"word": 1}]), reader.read([{"x": 1}])
        ([('a',), (None,), (None,)], None, None)
        """
        try:
            structs = msgspec.convert(raws, self._type)
        except (msgspec.ValidationError, OverflowError, UnicodeError):
            return None
        if not structs:
            return []
        columns = list(zip(*map(msgspec.structs.astuple, structs), strict=True))
        plain: list[Sequence[Value]] = []
        for field, column in zip(self._fields, columns, strict=True):
            values = _plain(field, column)
            if values is None:
                return None
            plain.append(values)
        return None if any(rule.is_broken(plain) for rule in self._rules) else list(zip(*plain, strict=True))


class _CachedRule:
    """A rule whose results are cached: rows that agree in what it reads are checked once."""

    def __init__(self, fields: Sequence[Field], rule: Rule) -> None:
        names = [field.name for field in fields]
        self._parts = [
            (names.index(name), None if pattern is None else re.compile(pattern))
            for name, pattern in rule.reads.items()
        ]
        reads = tuple(rule.reads)
        self._breaks = lru_cache(_RULE_CACHE_SIZE)(
            lambda *values: bool(rule.check(dict(zip(reads, values, strict=True))))
        )

    def is_broken(self, columns: Sequence[Sequence[Value]]) -> bool:
        """Tell whether one of the rows breaks the rule."""
        parts: list[Sequence[Value]] = []
        for index, pattern in self._parts:
            values = columns[index]
            if pattern is not None:
                matches = (pattern.search(value) if isinstance(value, str) else None for value in values)
                values = [match and match[0] for match in matches]
            parts.append(values)
        return any(self._breaks(*values) for values in set(zip(*parts, strict=True)))


def _type(field: Field) -> Any:
    if field.choices:
        return Literal[field.choices]
    if field.is_numeric:
        low = -float(MAX_EXACT) if field.minimum is None else field.minimum
        high = float(MAX_EXACT) if field.maximum is None else field.maximum
        return Annotated[int if field.is_integer else float, msgspec.Meta(ge=low, le=high)]
    return Annotated[str, msgspec.Meta(max_length=field.max_length)]


def _plain(field: Field, column: Sequence[Any]) -> Sequence[Value] | None:
    """Convert a column to the contract's values; None where a value is not plain."""
    if field.kind == "text":
        # An unset value is false.
        texts = [value.strip() or None if value else None for value in column]
        # The contract allows some letters that are not printable.
        if not "".join(filter(None, texts)).isprintable() or (field.is_required and None in texts):
            return None
        return texts
    if field.is_required and field.kind != "number":
        return column
    # -0.0 becomes 0.0, so that both are one row.
    zero, unknown = (0.0 if field.kind == "number" else 0), field.default
    return [value or (zero if value == 0 else unknown) for value in column]
