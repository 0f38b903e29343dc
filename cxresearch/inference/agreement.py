"""Do items measure one thing (Cronbach 1951, Feldt 1965, McDonald 1999), and do raters agree (Krippendorff 2011)?"""

import numpy as np
from scipy import special

from cxresearch.errors import DataProblem, require_choice

LEVELS = ("nominal", "ordinal", "interval")


def cronbach_alpha(covariance) -> float:
    """Return k/(k - 1) (1 - trace/sum) of a (k, k) covariance matrix of items."""
    k = len(covariance)
    return float(k / (k - 1) * (1 - np.trace(covariance) / np.sum(covariance)))


def feldt_interval(alpha: float, n: float, k: int, confidence: float) -> tuple[float, float]:
    """Return 1 - (1 - alpha) F at both tails, F on n - 1 and (n - 1)(k - 1) degrees of freedom (Feldt 1965)."""
    ends = special.fdtri(n - 1, (n - 1) * (k - 1), [(1 + confidence) / 2, (1 - confidence) / 2])
    return tuple(map(float, 1 - (1 - alpha) * ends))


def one_factor_omega(covariance) -> float:
    """Return McDonald's omega of one factor, (sum of loadings)^2 over the variance of the sum; missing under three items.

    Maximum likelihood (Joreskog 1967): of the matrix scaled by the uniquenesses the first eigenvalue gives the loadings,
    the rest, t, the criterion, sum of t - ln t - 1.
    """
    if (k := len(covariance)) < 3:
        return np.nan
    from scipy.optimize import minimize

    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(spread, spread)

    def scaled(log_unique):
        return np.linalg.eigh(correlation / np.exp(np.add.outer(log_unique, log_unique) / 2))

    def criterion(log_unique):
        (*rest, _), vectors = scaled(log_unique)
        return np.sum(rest - np.log(rest) - 1), np.subtract(1, rest) @ (vectors[:, :-1] ** 2).T

    start, options = -np.log(np.diag(np.linalg.inv(correlation))), {"ftol": 1e-15, "gtol": 1e-10}
    found = minimize(criterion, start, jac=True, method="L-BFGS-B", bounds=[(np.log(1e-4), 0.0)] * k, options=options).x
    root, (values, vectors) = np.exp(found / 2), scaled(found)
    common = np.sum(spread * root * vectors[:, -1]) ** 2 * max(values[-1] - 1, 0.0)
    return float(common / (common + np.sum(np.square(spread * root))))


def krippendorff_alpha(ratings, *, level: str) -> float:
    """Return Krippendorff's alpha of (raters, units) numbers or codes, NaN where a rater did not rate; NaN if all are one."""
    require_choice("level", level, LEVELS)
    ratings = np.asarray(ratings, dtype=float)
    known = ~np.isnan(ratings)
    values, code = np.unique(ratings[known], return_inverse=True)
    counts = np.zeros((ratings.shape[1], len(values)))
    np.add.at(counts, (np.nonzero(known)[1], code), 1.0)
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        raise DataProblem("alpha compares values of one unit; no unit is rated twice")
    pairable = counts / (counts.sum(axis=1, keepdims=True) - 1)
    observed, total = pairable.T @ counts - np.diag(pairable.sum(axis=0)), counts.sum(axis=0)
    place = values if level == "interval" else np.cumsum(total) - total / 2  # mean ranks
    gaps = np.subtract.outer(place, place)
    distance = gaps != 0 if level == "nominal" else gaps**2
    expected = np.sum(distance * np.outer(total, total)) / (total.sum() - 1)
    return float(1 - np.sum(distance * observed) / expected) if expected > 0 else np.nan
