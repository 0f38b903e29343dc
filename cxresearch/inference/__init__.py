"""What several studies need; here: intervals of shares, ratios and draws, p-values of families and of several estimates.

Wilson (1927), JASA 22; Goodman (1965), Technometrics 7; Newcombe (1998), Statistics in Medicine 17:857-890; Korn &
Graubard (1990), Am. Statistician 44 (adjusted F); Koopman (1984), Biometrics 40:513-517 (ratios of shares); Fieller
(1954), JRSS B 16:175-185 (of estimates); VanderWeele & Ding (2017), Annals of Internal Medicine 167:268-274 (E-value).
"""

import numpy as np
from scipy import special

from cxresearch.errors import require_choice

CORRECTIONS = {"holm": "Holm", "bh": "Benjamini-Hochberg", "none": "no correction"}


def critical_value(confidence: float, df: float = np.inf) -> float:
    """Return the two-sided t quantile (z for infinite `df`)."""
    return float(special.stdtrit(df, (1 + confidence) / 2)) if df > 0 else np.inf


def t_interval(estimate, error, df, confidence: float) -> tuple:
    """Return estimates, the ends of their t intervals (normal ones for infinite `df`), and p of "it is 0"."""
    half = critical_value(confidence, df) * error
    return estimate, estimate - half, estimate + half, 2 * special.stdtr(df, -np.abs(estimate) / error)


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
    """Return p-values adjusted for their family, the known ones, by one of `CORRECTIONS`."""
    require_choice("correction", correction, CORRECTIONS)
    adjusted = np.array(p_values, dtype=float)
    order = np.argsort(adjusted)[: np.isfinite(adjusted).sum()]  # missing ones come last
    p, rank = adjusted[order], np.arange(1, len(order) + 1)
    # statsmodels' multipletests collects garbage at each call, which takes a tenth of a second
    if correction == "holm":
        adjusted[order] = np.minimum(np.maximum.accumulate(p * rank[::-1]), 1.0)
    elif correction == "bh":
        adjusted[order] = np.minimum(np.minimum.accumulate((p / (rank / len(rank)))[::-1])[::-1], 1.0)
    return adjusted


def joint_p_value(estimates, covariance, df: float = np.inf) -> float:
    """Return the p-value of "all `estimates` (q,) are zero": Wald chi-square, with a design's `df` the adjusted F."""
    estimates, q = np.asarray(estimates, dtype=float), len(estimates)
    if not np.any(covariance):  # a census has nothing to test, and answers that are all alike show no error
        return np.nan
    statistic = max(float(estimates @ np.linalg.pinv(covariance, hermitian=True) @ estimates), 0.0)
    if not np.isfinite(df):
        return float(special.chdtrc(q, statistic))
    rest = df - q + 1
    # an F whose denominator has two degrees of freedom has no mean: too few clusters to tell
    return float(special.fdtrc(q, rest, statistic * rest / (df * q))) if rest > 2 else np.nan


def ratio_score(share_1, n_1, share_0, n_0, ratio) -> np.ndarray:
    """Return the score z of "share_1 / share_0 is `ratio`", with shares estimated under it (Koopman 1984)."""
    s1, n1, s0, n0, ratio = (np.asarray(v, dtype=float) for v in (share_1, n_1, share_0, n_0, ratio))
    a, b, c = (n1 + n0) * ratio, -(n1 * (ratio + s1) + n0 * (1 + s0 * ratio)), n1 * s1 + n0 * s0
    null = 2 * c / (-b + np.sqrt(np.maximum(b**2 - 4 * a * c, 0.0)))  # of share_0: the root within 0 and 1
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = ratio * null * (1 - ratio * null) / n1 + ratio**2 * null * (1 - null) / n0
        gap = s1 - ratio * s0
        return np.where(gap == 0, 0.0, gap / np.sqrt(np.maximum(variance, 0.0)))


def ratio_p_value(share_1, n_1, share_0, n_0, claimed) -> np.ndarray:
    """Return the two-sided p-value of a claimed ratio of two shares."""
    return 2 * special.ndtr(-np.abs(ratio_score(share_1, n_1, share_0, n_0, claimed)))


def ratio_interval(share_1, n_1, share_0, n_0, confidence: float) -> tuple[float, float]:
    """Return Koopman's score interval of share_1 / share_0 on independent bases, whole or effective; open where one is 0."""
    from scipy.optimize import brentq  # statsmodels errs where all of the second group have it

    def end(z):
        beyond = lambda log: float(ratio_score(share_1, n_1, share_0, n_0, np.exp(log))) - z  # noqa: E731
        return float(np.exp(brentq(beyond, -30, 30, xtol=1e-14)))

    if share_1 == share_0 == 0:
        return np.nan, np.nan
    z = critical_value(confidence)
    return end(z) if share_1 > 0 else 0.0, end(-z) if share_0 > 0 else np.inf


def fieller_interval(numerator, denominator, variances, covariance=0.0, *, confidence: float, df=np.inf) -> tuple:
    """Return Fieller's interval of numerator / denominator, infinite where the denominator's own interval holds 0."""
    t2 = critical_value(confidence, df) ** 2
    a, c = denominator**2 - t2 * variances[1], numerator**2 - t2 * variances[0]
    b = numerator * denominator - t2 * covariance
    half = np.sqrt(max(b**2 - a * c, 0.0))
    return (float((b - half) / a), float((b + half) / a)) if a > 0 else (-np.inf, np.inf)


def e_value(*ends: float) -> float:
    """Return the risk ratio that a hidden cause needs with both sides to explain away a ratio, or an interval's nearer end."""
    ratio = max(nearest := np.clip(1.0, min(ends), max(ends)), 1 / nearest)  # 1 where the interval holds 1
    return float(ratio + np.sqrt(ratio * (ratio - 1)))
