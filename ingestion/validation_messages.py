"""Translate violations of the contract and errors of the table reader."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.utils.translation import gettext_lazy

from core.errors import TitanicError
from core.messages import Message
from ingestion.contract import Violation
from ingestion.formats import TableError

#: Why a row was rejected, in a word or two, by the code of the violation.
_REASONS = {
    "required": gettext_lazy("missing"),
    "not_text": gettext_lazy("not text"),
    "too_long": gettext_lazy("too long"),
    "control_character": gettext_lazy("control characters"),
    "not_an_integer": gettext_lazy("not a whole number"),
    "not_a_number": gettext_lazy("not a number"),
    "out_of_range": gettext_lazy("out of range"),
    "not_a_choice": gettext_lazy("not one of the choices"),
    "contradiction": gettext_lazy("contradicts another column"),
    "unlikely": gettext_lazy("unlikely with another column"),
    "duplicate": gettext_lazy("key occurs twice"),
    "unknown_field": gettext_lazy("unknown field"),
    "ragged": gettext_lazy("wrong number of cells"),
}


def reason(code: str) -> str:
    """Name the reason of a violation; a code of another table's rules as it is."""
    return str(_REASONS.get(code, code))


def by_field(violations: Iterable[Violation]) -> dict[str, list[tuple[str, str]]]:
    """Translate violations to codes and messages by field, as `Invalid` takes them."""
    errors: dict[str, list[tuple[str, str]]] = {}
    for violation in violations:
        message = str(Message(violation.message) % violation.params)
        errors.setdefault(violation.field, []).append((violation.code, message))
    return errors


@contextmanager
def table_errors(*, kind: type[TitanicError] = TitanicError, field: str | None = None) -> Iterator[None]:
    """Translate a TableError of the block and raise it as `kind`."""
    try:
        yield
    except TableError as error:
        raise kind(Message(error.message) % error.params, field=field) from error
