"""What findings of drivers say: whole sentences with named values, and what their columns are called."""

from cxresearch.findings import Check, interval, listing, number, percent, words

say = words(__package__)


def base_of(summary) -> str:
    """Return ``n = 2,153``, with the effective base where rows are weighted."""
    effective = f", effective {number(summary['n_effective'], 0)}" if "n_effective" in summary else ""
    return f"n = {number(summary['n'], 0)}{effective}"


def with_interval(value: str, low: float, high: float, confidence: float, decimals: int = 1) -> str:
    """Return ``12.3 % (95 % interval 10.1 to 14.5)``, or the value alone where no interval was asked for."""
    return value if low != low else f"{value} ({interval(low, high, confidence, decimals)})"


def signed(value, low, high, confidence: float, decimals: int, scale: int = 1) -> tuple[int, str]:
    """Return the sign of a value, 0 where its interval holds zero, and its size in words, with the interval."""
    if low <= 0 <= high:
        return 0, with_interval(number(value, decimals), low, high, confidence, decimals)
    near, far = sorted((scale * abs(low), scale * abs(high)))
    words = with_interval(number(scale * abs(value), decimals), near, far, confidence, decimals)
    return (1 if value > 0 else -1), words


def none_of(name: str, found) -> Check:
    """Return the check that nothing was found, naming what was."""
    return Check(name, listing(map(str, found)), "none", not len(found))


def share_words(row, confidence: float, name: str = "share") -> str:
    """Return a share of a row of a table in percent, with its interval."""
    low, high = 100 * row[f"{name}_low"], 100 * row[f"{name}_high"]
    return with_interval(percent(row[name], 1), low, high, confidence)
