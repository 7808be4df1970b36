"""Translate violations of the contract and errors of the table reader."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.utils.translation import gettext as _

from core.errors import TitanicError
from ingestion.contract import Violation
from ingestion.table import TableError


def by_field(violations: Iterable[Violation]) -> dict[str, list[tuple[str, str]]]:
    """Translate violations to codes and messages by field, as `Invalid` takes them."""
    errors: dict[str, list[tuple[str, str]]] = {}
    for violation in violations:
        message = _(violation.message) % dict(violation.params)
        errors.setdefault(violation.field, []).append((violation.code, message))
    return errors


@contextmanager
def table_errors(*, kind: type[TitanicError] = TitanicError, field: str | None = None) -> Iterator[None]:
    """Translate a TableError of the block and raise it as `kind`."""
    try:
        yield
    except TableError as error:
        raise kind(_(error.message) % error.params, field=field) from error
