"""Intervals for net promoter scores and shares, on arrays.

References
----------
Rocks (2016), The American Statistician 70(4), 365-372; Goodman (1965), Technometrics 7(2), 247-254;
Korn & Graubard (1998), Survey Methodology 24.
"""

import numpy as np
from scipy import stats

from cxresearch.inference import critical_value

PSEUDO = (0.75, 1.5, 0.75)  # promoters, passives, detractors added by the adjusted Wald interval
METHODS = ("adjusted_wald", "score", "wald")


def code_variance(p, d):
    """Return p + d - (p - d)^2, the variance of one answer coded -1/0/1."""
    return np.maximum(p + d - np.square(p - d), 0.0)


def adjusted_moments(p, d, n) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre and the variance (both on -1...1) of the adjusted Wald interval.

    Three pseudo-answers are added: 3/4 promoter, 3/2 passive, 3/4 detractor (Rocks 2016).
    """
    p, d, n = (np.asarray(x, dtype=float) for x in (p, d, n))
    total = n + sum(PSEUDO)
    p, d = (p * n + PSEUDO[0]) / total, (d * n + PSEUDO[2]) / total
    return p - d, code_variance(p, d) / total


def adjusted_wald_interval(p, d, n, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the adjusted Wald interval of p - d on -1...1, clipped there (Rocks 2016).

    Parameters
    ----------
    p, d : float or (k,) arrays
        Shares of promoters and detractors.
    n : float or (k,) array
        Base, which may be an effective one and need not be whole.
    """
    centre, variance = adjusted_moments(p, d, n)
    half = critical_value(confidence) * np.sqrt(variance)
    return np.maximum(centre - half, -1.0), np.minimum(centre + half, 1.0)


def wald_interval(p, d, n, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return p - d -/+ z sqrt(variance / n), clipped to -1...1; too narrow on small bases."""
    half = critical_value(confidence) * np.sqrt(code_variance(p, d) / n)
    return np.maximum(p - d - half, -1.0), np.minimum(p - d + half, 1.0)


def score_interval(p, d, n, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the score interval of p - d on -1...1 by bisection (Tango-type; Rocks 2016, "iterative").

    The ends solve (p - d - D) sqrt(n) = -/+ z sqrt(2q + D(1 - D)), q being the constrained maximum-likelihood share of
    detractors. Where nobody is a promoter (or everybody), the end is the bound itself.
    """
    p, d, n = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, dtype=float)) for x in (p, d, n)))
    z = critical_value(confidence)
    lower = _score_root(p, d, n, z, np.full(p.shape, -1.0), p - d)
    upper = -_score_root(d, p, n, z, np.full(p.shape, -1.0), d - p)
    return lower, upper


def _score_root(p, d, n, z, low, high):
    for _ in range(60):  # 2 / 2^60: below the last digit
        middle = (low + high) / 2
        outside = _score_statistic(p, d, n, middle) > z
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    return (low + high) / 2


def _score_statistic(p, d, n, delta):
    a, b, c = 2.0, -(p + d) + (2 - p + d) * delta, -d * delta * (1 - delta)
    q = (np.sqrt(np.maximum(b**2 - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = np.maximum(2 * q + delta * (1 - delta), 1e-300)
    return (p - d - delta) * np.sqrt(n / variance)


INTERVALS = {"adjusted_wald": adjusted_wald_interval, "score": score_interval, "wald": wald_interval}


def effective_base(variance, std_error, fallback, *, ceiling=np.inf):
    """Return variance / std_error^2: the simple sample that would be as precise.

    Parameters
    ----------
    variance : (k,) array
        Of one answer.
    std_error : (k,) array
        Linearised error of its mean.
    fallback : (k,) array
        Used where all answer alike (0 / 0) or the error is not known: Kish's effective n.
    ceiling : float or (k,) array
        With few clusters the error may come out too small by chance; the base is then held to the rows.
    """
    known = (std_error > 0) & (variance > 0) & np.isfinite(std_error)
    ratio = np.divide(variance, np.square(std_error), out=np.array(fallback, dtype=float), where=known)
    return np.minimum(ratio, ceiling)


def t_adjusted_base(n, df, confidence: float):
    """Return n (z / t)^2, which turns z intervals on `n` into t intervals (Korn & Graubard 1998)."""
    df = np.asarray(df, dtype=float)
    t = stats.t.ppf((1 + confidence) / 2, np.maximum(df, 1.0))
    return np.asarray(n) * np.square(critical_value(confidence) / t)
