"""The contract's refusals in the reader's language."""

from collections.abc import Iterable

from django.utils.translation import gettext as _

from ingestion.contract import Refusal


def by_field(refusals: Iterable[Refusal], *, prefix: str = "") -> dict[str, list[tuple[str, str]]]:
    """Codes and messages by field, as `Invalid` takes them; `prefix` stands before each field's name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for refusal in refusals:
        message = _(refusal.message) % dict(refusal.params)
        found.setdefault(prefix + refusal.field, []).append((refusal.code, message))
    return found
