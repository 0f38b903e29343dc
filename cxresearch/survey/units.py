"""First-stage units of a design, and the linearised variance of sums over them (R `survey::svymean`).

Pulls of rows are totalled per unit; their variance between the units of a stratum, times units and (1 - fpc), is summed
over strata. A stratum with one unit is centred on zero. Kish (1965), *Survey Sampling*.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from cxresearch.errors import DataProblem


def kish_effective_n(weights: np.ndarray) -> float:
    """Return (sum w)^2 / sum w^2: what unequal weights alone leave of n (Kish 1965)."""
    total = np.sum(np.square(weights))
    return float(np.square(np.sum(weights)) / total) if total > 0 else 0.0


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
