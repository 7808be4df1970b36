"""Numbers as the reader's language writes them."""

from django.utils.formats import number_format

_SIGNIFICANT, _FROM_HERE_WHOLE, _FROM_HERE_POWERS = 4, 1_000, 1e15


def localized(digits: str) -> str:
    """Write a number that Python has formatted: its decimal separator, and its thousands apart."""
    sign = "+" if digits.startswith("+") else ""  # Django takes a plus for a digit of the thousands.
    return sign + str(number_format(digits.removeprefix("+"), force_grouping="e" not in digits))


def number(value: float) -> str:
    """Write a number: a whole one as it is, another one with four significant digits.

    >>> [number(value) for value in (1234567, 0.123456, 98765.4, 29.0, -0.5, 1e-7, 1e20)]
    ['1,234,567', '0.1235', '98,765', '29', '-0.5', '1e-07', '1e+20']
    """
    if isinstance(value, int):
        return localized(str(value))
    is_large = _FROM_HERE_WHOLE <= abs(value) < _FROM_HERE_POWERS
    return localized(f"{value:.0f}" if is_large else f"{value:.{_SIGNIFICANT}g}")
