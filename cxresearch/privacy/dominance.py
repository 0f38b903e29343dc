"""Sums of money in which one contributor stands out, and are hidden as if few had contributed.

References
----------
Hundepool et al. (2012), *Statistical Disclosure Control*, 4.2.2: the (n, k) rule.
"""

import numpy as np

MOST = 0.5


def largest_share(amounts) -> float:
    """Return the part of a sum that its largest contributor has, 0-1 (0 without money); losses count by their size."""
    size = np.abs(np.asarray(amounts, dtype=float))
    return float(size.max() / size.sum()) if size.sum() > 0 else 0.0


def guarded_base(base, shares, *, min_base: int) -> np.ndarray:
    """Return the bases (k,) by which cells of money are hidden: under the minimum where a contributor dominates."""
    base = np.asarray(base, dtype=float)
    return np.where(np.asarray(shares, dtype=float) > MOST, np.minimum(base, min_base - 1), base)
