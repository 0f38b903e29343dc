"""Ratios of two shares (Koopman 1984, Biometrics 40:513-517) and of two estimates (Fieller 1954, JRSS B 16:175-185)."""

import numpy as np
from scipy import special

from cxresearch.inference import critical_value


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


def ratio_interval(share_1, n_1, share_0, n_0, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Koopman's score interval of share_1 / share_0 on arrays of independent bases, whole or effective.

    From 0 where nobody in the first group, to infinity where nobody in the second; NaN where nobody in either.
    """
    s1, n1, s0, n0 = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (share_1, n_1, share_0, n_0)))
    z, ends = critical_value(confidence), []
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.log(s1) - np.log(s0)
    for way, empty, bound in ((-1, s1 == 0, 0.0), (1, s0 == 0, np.inf)):
        near, far = np.where(np.isfinite(middle), middle, -way * 30.0), np.full(middle.shape, way * 30.0)
        for _ in range(60):  # 60 / 2^60: below the last digit
            half = (near + far) / 2
            inside = -way * ratio_score(s1, n1, s0, n0, np.exp(half)) <= z
            near, far = np.where(inside, half, near), np.where(inside, far, half)
        ends.append(np.where((s1 == 0) & (s0 == 0), np.nan, np.where(empty, bound, np.exp(near))))
    return tuple(ends)


def fieller_interval(
    numerator, denominator, variances, covariance: float = 0.0, *, confidence: float, df: float = np.inf
) -> tuple[float, float]:
    """Return Fieller's interval of numerator / denominator, infinite where the denominator's own interval holds 0."""
    t2 = critical_value(confidence, df) ** 2
    a = denominator**2 - t2 * variances[1]
    if a <= 0:
        return -np.inf, np.inf
    b, c = numerator * denominator - t2 * covariance, numerator**2 - t2 * variances[0]
    half = np.sqrt(max(b**2 - a * c, 0.0))
    return float((b - half) / a), float((b + half) / a)
