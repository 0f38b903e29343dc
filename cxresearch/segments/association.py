"""How strongly a variable goes with the segments: sizes of association and their intervals.

References
----------
Steiger (2004), *Psychological Methods* 9 (intervals by inverting the noncentral F); Smithson (2003), *Confidence
Intervals* (the same for chi-square); Cramér (1946); Bergsma (2013), *J. Korean Statist. Soc.* 42 (its bias); Cohen (1988),
*Statistical Power Analysis* (words for sizes);
Hubert & Arabie (1985), *J. Classification* 2 (adjusted Rand index).
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

# Lower ends of weak, moderate, strong (Cohen 1988): eta squared .01 .06 .14; V .1 .3 .5
WORDS = ("negligible", "weak", "moderate", "strong")
CUTS = {"eta squared": (0.01, 0.06, 0.14), "Cramér's V": (0.1, 0.3, 0.5)}


class Association(NamedTuple):
    """Size of an association (0-1) with its interval and the p-value against none."""

    estimate: float
    low: float
    high: float
    p_value: float


def eta_squared(values: np.ndarray, labels: np.ndarray, k: int, confidence: float) -> Association:
    """Return the part of the variance of (n,) `values` that lies between `k` segments.

    The interval inverts the noncentral F; with noncentrality L the part in the population is L / (L + n).
    """
    n, present = len(values), np.unique(labels)
    total = np.square(values - values.mean()).sum()
    within = sum(np.square(values[labels == j] - values[labels == j].mean()).sum() for j in present)
    df1, df2 = len(present) - 1, n - len(present)
    if total <= 0 or df1 < 1 or df2 < 1:
        return Association(np.nan, np.nan, np.nan, np.nan)
    f = (total - within) / df1 / max(within / df2, 1e-300)
    if within <= 1e-12 * total:
        return Association(1.0, 1.0, 1.0, 0.0)
    low, high = noncentrality(lambda nc: _noncentral_f(f, df1, df2, nc), f * df1, confidence)
    return Association(1 - within / total, low / (low + n), high / (high + n), float(stats.f.sf(f, df1, df2)))


def _noncentral_f(f: float, df1: int, df2: int, nc: float) -> float:
    """Return the noncentral F distribution function; far out, where the series fails, Patnaik's (1949) approximation."""
    found = stats.ncf.cdf(f, df1, df2, nc) if nc < 1000 else np.nan
    if np.isfinite(found):
        return float(found)
    return float(stats.f.cdf(f * df1 / (df1 + nc), (df1 + nc) ** 2 / (df1 + 2 * nc), df2))


def cramers_v(counts: np.ndarray, confidence: float) -> Association:
    """Return Cramér's V of an (r, c) table of counts, corrected for bias; empty rows and columns are left out.

    sqrt(max(0, chi2 - df) / (n (min(r, c) - 1))): plain V grows with the number of cells where there is nothing
    (Bergsma 2013, whose further correction of r and c is of order 1 / n). The interval inverts the noncentral chi-square; with noncentrality L, V in the population is
    sqrt(L / (n (min(r, c) - 1))).
    """
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    n, least, df = counts.sum(), min(counts.shape) - 1, (counts.shape[0] - 1) * (counts.shape[1] - 1)
    if least < 1:
        return Association(np.nan, np.nan, np.nan, np.nan)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    chi2 = float((np.square(counts - expected) / expected).sum())
    ends = noncentrality(lambda nc: stats.ncx2.cdf(chi2, df, nc), chi2, confidence)
    low, high = (min(1.0, float(np.sqrt(nc / (n * least)))) for nc in ends)
    return Association(float(np.sqrt(max(0.0, chi2 - df) / (n * least))), low, high, float(stats.chi2.sf(chi2, df)))


def noncentrality(cdf, found: float, confidence: float) -> tuple[float, float]:
    """Return the noncentralities at which the statistic `found` is the upper and the lower quantile; 0 where none is."""
    tail, ends = (1 - confidence) / 2, []
    for at in (1 - tail, tail):
        most = 4 * found + 100
        ends.append(optimize.brentq(lambda nc: cdf(nc) - at, 1e-9, most) if cdf(1e-9) > at > cdf(most) else 0.0)
    return ends[0], ends[1]


def adjusted_rand(counts: np.ndarray) -> float:
    """Return the adjusted Rand index of two groupings from their (r, c) table: 0 by chance, 1 if they are the same."""

    def pairs(sizes) -> float:
        return float((sizes * (sizes - 1) / 2).sum())

    together, rows, columns, whole = (
        pairs(c.astype(float)) for c in (counts, counts.sum(axis=1), counts.sum(axis=0), counts.sum(keepdims=True))
    )
    expected, most = rows * columns / max(whole, 1), (rows + columns) / 2
    return (together - expected) / (most - expected) if most > expected else 1.0


def in_words(estimate: float, measure: str) -> str:
    """Return Cohen's word for the size of an association."""
    return WORDS[int(np.searchsorted(CUTS[measure], estimate, side="right"))]
