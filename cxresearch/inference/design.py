"""Survey designs and resampling shared by all analyses.

References
----------
Korn & Graubard (1999), *Analysis of Health Surveys*; Efron & Tibshirani (1993), *An Introduction to the Bootstrap*;
Kish (1965), *Survey Sampling*.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse, stats

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
    w = checked_weights(weights, len(values))
    mean = w @ values / w.sum()
    units = sampling_units(len(values), strata=strata, cluster=cluster, fpc=fpc)
    return MeanEstimate(mean, total_covariance(w[:, None] * (values - mean) / w.sum(), units), units.df)


@dataclass(frozen=True)
class SamplingUnits:
    """Which rows were drawn together, and from which stratum."""

    psu_of_row: np.ndarray | None  # (n,); None where every row is its own unit
    stratum_of_psu: np.ndarray  # (m,)
    size: np.ndarray  # (H,) units in each stratum
    factor: np.ndarray  # (H,) (1 - f) m / (m - 1)

    @property
    def df(self) -> float:
        return float(len(self.stratum_of_psu) - len(self.size))

    def totals(self, rows):
        """Return the unit totals, (m, k), of `rows`, (n, k) dense or sparse."""
        if self.psu_of_row is None:
            return rows
        n, m = len(self.psu_of_row), len(self.stratum_of_psu)
        return sparse.csr_array((np.ones(n), (self.psu_of_row, np.arange(n))), shape=(m, n)) @ rows


def sampling_units(n: int, *, strata=None, cluster=None, fpc=None) -> SamplingUnits:
    """Return the first-stage units of a design; clusters are nested in strata, `fpc` is a fraction (0-1)."""
    stratum = np.zeros(n, dtype=np.int64) if strata is None else _codes(strata)
    psu_of_row, stratum_of_psu = None, stratum
    if cluster is not None:
        unit = _codes(cluster)
        stratum_of_psu = _first_per(unit, stratum, int(unit.max()) + 1).astype(np.int64)
        psu_of_row = unit
        if not np.array_equal(stratum_of_psu[unit], stratum):  # a name used in two strata is two clusters
            psu_of_row, found = pd.factorize(stratum * (int(unit.max()) + 1) + unit)
            stratum_of_psu = np.asarray(found) // (int(unit.max()) + 1)
    size = np.bincount(stratum_of_psu)
    kept = np.ones(len(size)) if fpc is None else 1 - _first_per(stratum, _checked_fractions(fpc), len(size))
    return SamplingUnits(
        psu_of_row, stratum_of_psu, size, kept * np.where(size > 1, size / np.maximum(size - 1, 1), 1.0)
    )


def total_covariance(influence, units: SamplingUnits) -> np.ndarray:
    """Return the (k, k) covariance of the column sums of `influence`, (n, k) dense or sparse."""
    totals = units.totals(influence)
    weighted = sparse.diags_array(units.factor[units.stratum_of_psu]) @ totals
    centre = _stratum_sums(totals, units)
    pull = centre * (units.factor / units.size * (units.size > 1))[:, None]
    inner = totals.T @ weighted
    return (inner.toarray() if sparse.issparse(inner) else inner) - centre.T @ pull


def total_variance(influence, units: SamplingUnits) -> np.ndarray:
    """Return the (k,) diagonal of `total_covariance` without the rest of it."""
    totals = units.totals(influence)
    squares = totals.multiply(totals) if sparse.issparse(totals) else totals**2
    centre = _stratum_sums(totals, units)
    pull = (units.factor / units.size * (units.size > 1)) @ centre**2
    return np.maximum(units.factor[units.stratum_of_psu] @ squares - pull, 0.0)


def _stratum_sums(totals, units: SamplingUnits) -> np.ndarray:
    m, h = len(units.stratum_of_psu), len(units.size)
    sums = sparse.csr_array((np.ones(m), (units.stratum_of_psu, np.arange(m))), shape=(h, m)) @ totals
    return sums.toarray() if sparse.issparse(sums) else sums


def _codes(values) -> np.ndarray:
    return pd.factorize(np.asarray(values), use_na_sentinel=False)[0]


def _checked_fractions(fpc) -> np.ndarray:
    fpc = np.asarray(fpc, dtype=float)
    if not np.all((fpc >= 0) & (fpc <= 1)):
        raise DataProblem(
            "fpc: sampling fractions must lie between 0 and 1; divide the sample by the population of its stratum"
        )
    return fpc


def _first_per(index: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    first = np.empty(k)
    first[index[::-1]] = values[::-1]
    return first


def bootstrap_counts(n: int, *, n_boot: int, rng, strata=None, cluster=None) -> np.ndarray:
    """Return how often each row is drawn in each replicate, (n_boot, n), resampling clusters within strata."""
    # Clusters are numbered as they come: they may be pseudonyms, whose order differs from key to key.
    unit = np.arange(n) if cluster is None else _codes(cluster)
    stratum = np.zeros(n, dtype=int) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    psu, psu_of_row = np.unique(stratum * (unit.max() + 1) + unit, return_inverse=True)
    stratum_of_psu = psu // (unit.max() + 1)
    counts = np.empty((n_boot, len(psu)))
    for s in np.unique(stratum_of_psu):
        members = np.flatnonzero(stratum_of_psu == s)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=n_boot)
    return counts[:, psu_of_row]


def bca_interval(estimate, draws, deleted, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bias-corrected and accelerated interval (Efron 1987) per column of `draws` (B, k).

    `deleted` (G, k) are the estimates without one group each: they give the acceleration.
    """
    below = np.mean(draws < estimate, axis=0) + np.mean(draws == estimate, axis=0) / 2
    limit = 0.5 / len(draws)
    bias = stats.norm.ppf(np.clip(below, limit, 1 - limit))
    influence = deleted.mean(axis=0) - deleted
    spread = np.sum(influence**2, axis=0) ** 1.5
    acceleration = np.divide(np.sum(influence**3, axis=0), 6 * spread, out=np.zeros_like(spread), where=spread > 0)
    ordered = np.sort(draws, axis=0)
    ends = []
    for z in stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2]):
        at = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z))) * (len(draws) - 1)
        low = np.floor(at).astype(int)
        low_value, high_value = (
            np.take_along_axis(ordered, np.minimum(low + k, len(draws) - 1)[None], axis=0)[0] for k in (0, 1)
        )
        ends.append(low_value + (at - low) * (high_value - low_value))
    return ends[0], ends[1]
