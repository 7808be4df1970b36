"""Derive from the declaration of a passenger what the rest of the system reads: fields, names, typed columns."""

from collections.abc import Mapping, Sequence

from ingestion import contract, headings
from ingestion.passenger import IN_FILES, KEY, LABEL, OTHER_HEADINGS, RULES, LabelledPassenger, PassengerFields

FIELDS = contract.fields_of(PassengerFields, IN_FILES)
FIELD_NAMES = tuple(field.name for field in FIELDS)
KEY_FIELD = contract.Field(KEY, "text", is_required=True, max_length=40, in_files=IN_FILES.get(KEY, contract.InFiles()))
LABEL_FIELD = contract.Field(
    LABEL, "choice", is_required=True, choices=(0, 1), in_files=IN_FILES.get(LABEL, contract.InFiles())
)
#: Headings of known tables that are no field that a model reads.
KNOWN_HEADINGS = (*OTHER_HEADINGS, *(name for each in (KEY_FIELD, LABEL_FIELD) for name in headings.names_of(each)))
#: The columns' names for people.
VERBOSE_NAMES = {column.name: column.verbose_name for column in LabelledPassenger._meta.local_fields}
#: What people are told of each column beside its name.
HELP_TEXTS = {column.name: column.help_text for column in LabelledPassenger._meta.local_fields}
#: The words for the values of each field that has choices.
CHOICES = {column.name: dict(column.choices) for column in PassengerFields._meta.local_fields if column.choices}
#: What a row has to keep.
CONTRACT = contract.Contract(FIELDS, rules=RULES)


def as_row(passenger: PassengerFields) -> dict[str, contract.Value]:
    """Return the values of a row by field name, in the order of the fields."""
    return {name: getattr(passenger, name) for name in FIELD_NAMES}


def in_words(field: str, value: contract.Value) -> object:
    """Return the word for a choice, and any other value as it is."""
    return CHOICES.get(field, {}).get(value, value)


def to_columns(rows: Sequence[Mapping[str, contract.Value]]) -> contract.Columns:
    """Convert valid rows to the typed columns that the features are derived from, each of shape (n,)."""
    return contract.to_columns(FIELDS, {name: [row[name] for row in rows] for name in FIELD_NAMES})


def columns_from_rows(rows: Sequence[contract.Row]) -> contract.Columns:
    """Convert valid rows, whose values come in the order of the fields, to typed columns, each of shape (n,)."""
    return contract.to_columns(FIELDS, dict(zip(FIELD_NAMES, zip(*rows, strict=True), strict=True)))
