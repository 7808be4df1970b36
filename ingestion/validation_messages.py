"""The contract's violations in the reader's language."""

from collections.abc import Iterable

from django.utils.translation import gettext as _

from ingestion.contract import Violation


def by_field(violations: Iterable[Violation], *, prefix: str = "") -> dict[str, list[tuple[str, str]]]:
    """Codes and messages by field, as `Invalid` takes them; `prefix` stands before each field's name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for violation in violations:
        message = _(violation.message) % dict(violation.params)
        found.setdefault(prefix + violation.field, []).append((violation.code, message))
    return found
