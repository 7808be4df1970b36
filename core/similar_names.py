"""Names that a person may have meant."""

from collections.abc import Iterable

# A longer name is not one that somebody mistyped.
_LONGEST = 60
# Of two letters any other two are one letter away.
_SHORTEST = 3


def similar_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that differs only in case, in what joins its words, or in one letter; None without one.

    >>> similar_name("Kind", ("size", "kind")), similar_name("page-size", ("page_size",))
    ('kind', 'page_size')
    >>> similar_name("kin", ("kind",)), similar_name("kinds", ("kind",)), similar_name("kint", ("kind",))
    ('kind', 'kind', 'kind')
    >>> similar_name("colour", ("size", "kind")) is None
    True
    """
    if len(name) > _LONGEST:
        return None
    plain = _plain(name)
    return next((candidate for candidate in known if _differs_by_a_letter(plain, _plain(candidate))), None)


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")


def _differs_by_a_letter(one: str, other: str) -> bool:
    """Tell whether one is the other, or would be with a letter more, less or replaced."""
    if abs(len(one) - len(other)) > 1 or len(other) < _SHORTEST:
        return one == other
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    return one[start + 1 :] in (other[start:], other[start + 1 :]) or one[start:] == other[start + 1 :]
