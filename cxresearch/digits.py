"""Last digits: processors compute them differently, and nothing that is decided, shown or kept may hang on them."""

import math

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_object_dtype

LAST = 1e-10  # of a value on its scale: below it, two values are one
RESIDUE = 1e-12  # of the largest value of a column: below it, nothing but rounding
SMALLEST_P = 1e-12  # p-values are not computed more closely than this
SETTLED, KEPT = 10, 7  # significant digits that are compared and printed; that are written to a file
P_VALUES = ("p_value", "p_adjusted", "p_lead", "separation_score", "margins_p")


def _slack(end):
    size = np.abs(end)
    return LAST * np.where(np.isfinite(size), np.maximum(1.0, size), 0.0)


def at_least(values, end):
    """Return where values reach `end`; False where missing."""
    return values >= end - _slack(end)


def at_most(values, end):
    """Return where values do not exceed `end`; False where missing."""
    return values <= end + _slack(end)


def outside(values, low, high):
    """Return where values lie below `low` or above `high`; False where missing."""
    return ~(at_least(values, low) & at_most(values, high)) & (values == values)


def whole(values) -> np.ndarray:
    """Return floats in which those that miss a whole number by their last digits alone are that number."""
    values = np.asarray(values, dtype=float)
    known = np.abs(values[np.isfinite(values)])
    nearest = np.rint(values)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return np.where(np.abs(values - nearest) <= LAST * min(1.0, known.max(initial=0.0)), nearest, values)


def settled(values) -> np.ndarray:
    """Return floats at ten significant digits, 0 where they are residues of the largest."""
    values = np.asarray(values, dtype=float)
    size = np.abs(values)
    largest = size[np.isfinite(size)].max(initial=0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = 10.0 ** (np.floor(np.log10(size)) - SETTLED + 1)
        near = np.rint(values / unit) * unit
    return np.where(size <= RESIDUE * largest, 0.0, np.where(np.isfinite(near), near, values))


def descending(values, names=None) -> np.ndarray:
    """Return the places of (n,) `values`, the largest first, missing last; equal ones by `names`, or as they stand."""
    values = settled(values)
    ties = np.arange(len(values)) if names is None else pd.factorize(np.asarray(names, dtype=str), sort=True)[0]
    return np.lexsort((ties, -values))


def largest(table: pd.DataFrame, column: str, *, names: str = "term") -> pd.Series:
    """Return the row with the largest value of `column`; of equal ones the first by name."""
    values = pd.to_numeric(table[column]).to_numpy(dtype=float, na_value=np.nan)
    return table.iloc[descending(values, table[names] if names in table else None)[0]]


def rounded(value: float, decimals: int) -> float:
    """Return a number rounded to `decimals`, its last digits settled first: a half is then one on every processor."""
    return round(significant(value, SETTLED), decimals)


def significant(value: float, digits: int = KEPT) -> float:
    """Return the decimal nearest to a number at `digits` significant digits; whole numbers stay as they are."""
    value = float(value)
    return value if not math.isfinite(value) or value.is_integer() else float(f"{value:.{digits}g}")


def kept_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as a file keeps it: seven significant digits, residues of a column's scale 0, p-values from 1e-12."""
    found = pd.DataFrame(table)
    found.attrs = {}  # they would be copied with every column
    for name, dtype in ((n, d) for n, d in found.dtypes.items() if is_object_dtype(d) or is_float_dtype(d)):
        values, least = found[name].tolist(), SMALLEST_P if name in P_VALUES else -np.inf
        numbers = {i: v for i, v in enumerate(values) if isinstance(v, (float, np.floating)) and math.isfinite(v)}
        residue = RESIDUE * max(map(abs, numbers.values()), default=0.0)
        for i, value in numbers.items():
            values[i] = significant(max(value if abs(value) >= residue else 0.0, least))
        found[name] = pd.Series(values, found.index, float if dtype == "float32" else dtype)
    return found
