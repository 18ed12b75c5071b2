"""Numbers as text: a radius is never printed larger than it is."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

__all__ = ["radius_key", "rounded_down", "rounded_up"]


def rounded_down(value: float, digits: int) -> str:
    """The largest number with `digits` decimals that reads back as at most `value`."""
    return _rounded(value, digits, ROUND_FLOOR)


def rounded_up(value: float, digits: int) -> str:
    """The smallest number with `digits` decimals that reads back as at least `value`."""
    return _rounded(value, digits, ROUND_CEILING)


def radius_key(radius: float) -> str:
    """The name of a radius: two decimals (`"0.50"`), or all of them where two would change it."""
    text = f"{radius:.2f}"
    return text if float(text) == radius else str(float(radius))


def _rounded(value: float, digits: int, mode: str) -> str:
    # From the shortest text that names this float, not from its binary expansion: parsing text is
    # monotone, so the result reads back on the right side, and 0.378 stays 0.3780 instead of
    # losing a digit each time a log is copied.
    with localcontext(prec=400):  # the widest float has 309 digits before the point
        return f"{Decimal(str(float(value))).quantize(Decimal(10) ** -digits, rounding=mode):f}"
