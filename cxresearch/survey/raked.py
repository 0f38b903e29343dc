"""Errors that know that the weight was raked: after calibration they are those of the residuals.

Deville & Saerndal (1992), J. American Statistical Association 87.
"""

import numpy as np
import pandas as pd
from scipy import sparse

STILL_MET = 0.02  # a few missing answers leave the margins calibrated; a filter does not


def raked_on(table: pd.DataFrame, weight: str | None) -> tuple[str, ...]:
    """Return the margins that column `weight` was raked on, as `Raking.augment` noted them.

    Nothing is returned where the rows no longer meet those margins (a part of the table was taken): there the weights
    are not calibrated, and count as fixed.
    """
    goals = table.attrs.get("raked", {}).get(weight, {})
    return tuple(goals) if all(_still_met(table, weight, m, goal) for m, goal in goals.items()) else ()


def _still_met(table, weight, margin, goal) -> bool:
    if margin not in table.columns:
        return False
    held = table[weight].groupby(table[margin].to_numpy()).sum() / table[weight].sum()
    return all(abs(held.get(level, 0.0) - share) < STILL_MET for level, share in goal.items())


def margin_residuals(influence, weights: np.ndarray, margins) -> np.ndarray:
    """Return `influence`, w u of each estimate, (n, k) sparse or dense, less its weighted regression on the margins, whose
    levels are codes 0, 1, ..., (n,) each; dense (n, k).
    """
    n = len(weights)
    design = sparse.hstack(
        [sparse.csr_array((np.ones(n), (np.arange(n), m)), shape=(n, int(m.max()) + 1)) for m in margins]
    ).tocsr()
    cross = (design.T @ (sparse.diags_array(weights) @ design)).toarray()
    moment = design.T @ influence
    beta = np.linalg.pinv(cross, hermitian=True) @ (moment.toarray() if sparse.issparse(moment) else moment)
    dense = influence.toarray() if sparse.issparse(influence) else influence
    return dense - weights[:, None] * (design @ beta)
