"""What several studies need; here: intervals of shares and draws, p-values of families and of several estimates at once.

Wilson (1927), JASA 22; Goodman (1965), Technometrics 7; Newcombe (1998), Statistics in Medicine 17:857-890; Holm
(1979), Scand. J. Statistics 6; Benjamini & Hochberg (1995), JRSS B 57; Korn & Graubard (1990), Am. Statistician 44
(adjusted F).
"""

import numpy as np
from scipy import special

from cxresearch.errors import require_choice

CORRECTIONS = {"holm": "Holm", "bh": "Benjamini-Hochberg", "none": "no correction"}


def critical_value(confidence: float, df: float = np.inf) -> float:
    """Return the two-sided t quantile (z for infinite `df`)."""
    return float(special.stdtrit(df, (1 + confidence) / 2)) if df > 0 else np.inf


def percentile_interval(draws, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the percentile interval over the first axis of `draws`."""
    tail = 100 * (1 - confidence) / 2
    percentile = np.nanpercentile if np.isnan(draws).any() else np.percentile  # the first goes column by column
    return tuple(percentile(draws, [tail, 100 - tail], axis=0))


def wilson_interval(share, n, confidence: float, df: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's score interval (Newcombe 1998, method 3) for shares (0-1) on bases `n`, whole or effective."""
    share, n = np.asarray(share, dtype=float), np.asarray(n, dtype=float)
    z2 = critical_value(confidence, df) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def newcombe_difference(share_1, n_1, share_0, n_0, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the hybrid score interval of share_1 - share_0, independent bases (Newcombe 1998, method 10)."""
    low_1, high_1 = wilson_interval(share_1, n_1, confidence)
    low_0, high_0 = wilson_interval(share_0, n_0, confidence)
    gap = np.subtract(share_1, share_0)
    return gap - np.hypot(share_1 - low_1, high_0 - share_0), gap + np.hypot(high_1 - share_1, share_0 - low_0)


def goodman_intervals(shares, n, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's intervals at 1 - alpha / categories for the shares of one multinomial, last axis (Goodman 1965)."""
    return wilson_interval(shares, np.asarray(n)[..., None], 1 - (1 - confidence) / np.shape(shares)[-1])


def adjusted_p_values(p_values, *, correction: str) -> np.ndarray:
    """Return p-values adjusted for their family, without the missing: ``"holm"`` holds the chance of any false alarm,
    ``"bh"`` the share of false ones among those raised.
    """
    require_choice("correction", correction, CORRECTIONS)
    adjusted = np.array(p_values, dtype=float)
    family = np.flatnonzero(np.isfinite(adjusted))
    if correction != "none" and len(family):
        order, rank = family[np.argsort(adjusted[family])], np.arange(1, len(family) + 1)
        holm = np.maximum.accumulate(adjusted[order] * rank[::-1])
        bh = np.minimum.accumulate((adjusted[order] / (rank / len(rank)))[::-1])[::-1]
        # statsmodels' multipletests collects garbage at each call, which takes a tenth of a second
        adjusted[order] = np.minimum(holm if correction == "holm" else bh, 1.0)
    return adjusted


def joint_p_value(estimates, covariance, df: float = np.inf) -> float:
    """Return the p-value of "all `estimates` (q,) are zero": Wald chi-square, with a design's `df` the adjusted F; NaN
    where the F's denominator has two degrees of freedom or fewer and so no mean: too few clusters to tell.
    """
    estimates, q = np.asarray(estimates, dtype=float), len(estimates)
    statistic = max(float(estimates @ np.linalg.pinv(covariance, hermitian=True) @ estimates), 0.0)
    if not np.isfinite(df):
        return float(special.chdtrc(q, statistic))
    rest = df - q + 1
    return float(special.fdtrc(q, rest, statistic * rest / (df * q))) if rest > 2 else np.nan
