"""Every sentence of the room as a whole template with named values, keyed by id: one for each sign.

A finding says one sentence (it ends in a full stop) and further clauses, which stand in one more.
"""

from cxresearch.findings import interval, number, words

say = words(__package__)


def told(first: str, *clauses: str) -> str:
    """Return a sentence, and one more that holds the further clauses."""
    more = "; ".join(clauses)
    return f"{first} {more[:1].upper()}{more[1:]}." if more else first


def signed(key: str, value: float) -> str:
    """Return the id of the template for the sign of `value`."""
    return f"{key} {'more' if value > 0 else 'less'}"


def money(value: float, currency: str | None, decimals: int = 2) -> str:
    """Return the size of an amount with its currency."""
    return f"{number(abs(value), decimals)} {currency or ''}".strip()


def size_interval(low: float, high: float, confidence: float, *, sign: float, decimals: int = 1, unit: str = "") -> str:
    """Return the interval of a size that `sign` turns into more or less: of "5.0 % less", 2.0 to 8.0."""
    low, high = (low, high) if sign > 0 else (-high, -low)
    return f"{interval(low, high, confidence, decimals)} {unit}".strip()


def percent_point(row, confidence: float, key: str = "per point", **values) -> str:
    """Return what a row with percent and its ends reads per point."""
    value = row["percent"]
    between = size_interval(row["percent_low"], row["percent_high"], confidence, sign=value)
    return say(signed(key, value), percent=number(abs(value)), interval=between, **values)
