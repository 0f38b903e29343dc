"""Intervals, designs and resampling shared by all analyses.

References
----------
Korn & Graubard (1999), *Analysis of Health Surveys*; Efron & Tibshirani (1993), *An Introduction to the Bootstrap*;
Kish (1965), *Survey Sampling*.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from cxresearch.errors import DataProblem


@dataclass(frozen=True)
class MeanEstimate:
    """Weighted means with their linearised covariance."""

    mean: np.ndarray  # (k,)
    covariance: np.ndarray  # (k, k)
    df: float  # PSUs minus strata


def checked_weights(weights, n: int) -> np.ndarray:
    """Return `n` weights as floats (ones for None); refuse missing, negative or all-zero weights."""
    if weights is None:
        return np.ones(n)
    weights = np.asarray(weights, dtype=float)
    bad = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if bad.size:
        raise DataProblem(
            f"weights: {bad.size} of {n} are missing or negative (first at row {bad[0]}: {weights[bad[0]]}); "
            "give every row a weight of zero or more, or drop the row"
        )
    if weights.sum() == 0:
        raise DataProblem(f"weights: all {n} are zero; nothing can be estimated")
    return weights


def kish_effective_n(weights: np.ndarray) -> float:
    """Return (sum w)^2 / sum w^2: what unequal weights alone leave of n (Kish 1965)."""
    total = np.sum(np.square(weights))
    return float(np.square(np.sum(weights)) / total) if total > 0 else 0.0


def survey_mean(values, *, weights=None, strata=None, cluster=None, fpc=None) -> MeanEstimate:
    """Return weighted means and their with-replacement linearised covariance (R `survey::svymean`).

    Parameters
    ----------
    values : (n,) or (n, k) array
        One column per quantity.
    weights, strata, cluster, fpc : (n,) arrays, optional
        `fpc` is the sampling fraction of the row's stratum (0-1). Clusters are nested in strata.

    Notes
    -----
    Residuals w(v - mean)/sum(w) are totalled per cluster; their variance between the clusters of a stratum, times
    clusters and (1 - fpc), is summed over strata. A stratum with one cluster is centred on the overall mean.
    """
    values = np.asarray(values, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    n = len(values)
    w = checked_weights(weights, n)
    mean = w @ values / w.sum()
    residuals = w[:, None] * (values - mean) / w.sum()
    stratum = np.zeros(n, dtype=int) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    unit = np.arange(n) if cluster is None else np.unique(np.asarray(cluster), return_inverse=True)[1]
    psu, psu_of_row = np.unique(stratum * (unit.max() + 1) + unit, return_inverse=True)
    totals = np.stack([np.bincount(psu_of_row, r, minlength=len(psu)) for r in residuals.T], axis=1)  # (psu, k)
    stratum_of_psu = psu // (unit.max() + 1)
    size = np.bincount(stratum_of_psu)
    centre = np.stack([np.bincount(stratum_of_psu, t) for t in totals.T], axis=1) / size[:, None]
    centre[size == 1] = 0.0
    kept = np.ones(len(size)) if fpc is None else 1 - _first_per(stratum, np.asarray(fpc, dtype=float), len(size))
    factor = kept * np.where(size > 1, size / np.maximum(size - 1, 1), 1.0)
    spread = totals - centre[stratum_of_psu]
    covariance = (spread * factor[stratum_of_psu][:, None]).T @ spread
    return MeanEstimate(mean, covariance, float(len(psu) - len(size)))


def _first_per(index: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    first = np.empty(k)
    first[index[::-1]] = values[::-1]
    return first


def bootstrap_counts(n: int, *, n_boot: int, rng, strata=None, cluster=None) -> np.ndarray:
    """Return how often each row is drawn in each replicate, (n_boot, n), resampling clusters within strata."""
    unit = np.arange(n) if cluster is None else np.unique(np.asarray(cluster), return_inverse=True)[1]
    stratum = np.zeros(n, dtype=int) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    psu, psu_of_row = np.unique(stratum * (unit.max() + 1) + unit, return_inverse=True)
    stratum_of_psu = psu // (unit.max() + 1)
    counts = np.empty((n_boot, len(psu)))
    for s in np.unique(stratum_of_psu):
        members = np.flatnonzero(stratum_of_psu == s)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=n_boot)
    return counts[:, psu_of_row]


def percentile_interval(draws, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the percentile interval over the first axis of `draws`."""
    tail = 100 * (1 - confidence) / 2
    low, high = np.nanpercentile(draws, [tail, 100 - tail], axis=0)
    return low, high


def critical_value(confidence: float, df: float = np.inf) -> float:
    """Return the two-sided t quantile (z for infinite `df`)."""
    return float(stats.t.ppf((1 + confidence) / 2, df)) if df > 0 else np.inf


def wilson_interval(share, n, confidence: float, df: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's score interval (Wilson 1927; Newcombe 1998, method 3) for shares (0-1) on bases `n`."""
    share, n = np.asarray(share, dtype=float), np.asarray(n, dtype=float)
    z2 = critical_value(confidence, df) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
