"""First-stage units of a design, the linearised covariance of sums over them, and what is left of it after raking.

Pulls of rows are totalled per unit; a stratum with one unit is centred on zero (R's `survey::svymean`). After calibration
errors are those of residuals: Deville & Saerndal (1992), J. American Statistical Association 87.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from cxresearch.errors import DataProblem
from cxresearch.findings import say

STILL_MET = 0.02  # a few missing answers leave the margins calibrated; a filter does not


def kish_effective_n(weights: np.ndarray) -> float:
    """Return (sum w)^2 / sum w^2: what unequal weights alone leave of n (Kish 1965)."""
    total = np.sum(np.square(weights))
    return float(np.square(np.sum(weights)) / total) if total > 0 else 0.0


def indicator(code: np.ndarray, k: int) -> sparse.csr_array:
    """Return the (k, n) matrix that adds up rows by their code."""
    return sparse.csr_array((np.ones(len(code)), (code, np.arange(len(code)))), shape=(k, len(code)))


def dense(matrix) -> np.ndarray:
    """Return a matrix without its sparseness."""
    return matrix.toarray() if sparse.issparse(matrix) else matrix


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


def sampling_units(n: int, *, strata=None, cluster=None, fpc=None) -> SamplingUnits:
    """Return the first-stage units of a design; clusters are nested in strata, `fpc` is a fraction (0-1)."""
    stratum = np.zeros(n, dtype=np.int64) if strata is None else pd.factorize(strata)[0]
    psu_of_row, stratum_of_psu = None, stratum
    if cluster is not None:  # a name used in two strata is two clusters
        unit, found = pd.factorize(cluster)
        psu_of_row, found = pd.factorize(stratum * len(found) + unit)
        stratum_of_psu = np.empty(len(found), dtype=np.int64)
        stratum_of_psu[psu_of_row] = stratum
    size = np.bincount(stratum_of_psu)
    kept = np.ones(len(size))
    if fpc is not None:
        fpc = np.asarray(fpc, dtype=float)
        if not np.all((fpc >= 0) & (fpc <= 1)):
            raise DataProblem(say("fractions"))
        kept[stratum[::-1]] = 1 - fpc[::-1]
    return SamplingUnits(psu_of_row, stratum_of_psu, size, kept * np.where(size > 1, size / np.maximum(size - 1, 1), 1))


def total_covariance(influence, units: SamplingUnits, *, diagonal: bool = False) -> np.ndarray:
    """Return the covariance (k, k) of the column sums of `influence`, (n, k) dense or sparse, or its `diagonal` (k,)."""
    m, h = len(units.stratum_of_psu), len(units.size)
    totals = influence if units.psu_of_row is None else indicator(units.psu_of_row, m) @ influence
    centre, factor = dense(indicator(units.stratum_of_psu, h) @ totals), units.factor[units.stratum_of_psu]
    pull = units.factor / units.size * (units.size > 1)
    if diagonal:
        return np.maximum(factor @ (totals * totals) - pull @ centre**2, 0.0)
    return dense(totals.T @ (sparse.diags_array(factor) @ totals)) - centre.T @ (centre * pull[:, None])


def raked_on(table: pd.DataFrame, weight: str | None) -> tuple[str, ...]:
    """Return the margins that column `weight` was raked on, as `Raking.augment` noted them; none where rows no longer
    meet them (a part of the table was taken): there the weights count as fixed.
    """
    goals = table.attrs.get("raked", {}).get(weight, {})
    for margin, goal in goals.items():
        if margin not in table:
            return ()
        shares = table[weight].groupby(table[margin].to_numpy()).sum() / table[weight].sum()
        if any(abs(shares.get(level, 0) - share) >= STILL_MET for level, share in goal.items()):
            return ()
    return tuple(goals)


def margin_residuals(influence, weights: np.ndarray, margins) -> np.ndarray:
    """Return `influence`, w u of each estimate, (n, k), less its weighted regression on the margins, codes (n,) each."""
    design = sparse.vstack([indicator(code, int(code.max()) + 1) for code in margins]).tocsr()
    cross = dense(design @ (sparse.diags_array(weights) @ design.T))
    beta = np.linalg.pinv(cross, hermitian=True) @ dense(design @ influence)
    return dense(influence) - weights[:, None] * (design.T @ beta)
