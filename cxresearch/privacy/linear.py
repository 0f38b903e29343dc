"""What can be computed from published sums: the linear programming behind suppression and behind its audit.

Counts x >= 0 are unknown; the rows of a 0/1 matrix A are sums of them, A x = b those that are published. A further sum
s x is *computed* if its minimum over {x >= 0, A x = b} equals its maximum. From any feasible x that is so exactly when
no direction d with A d = 0, and d_i >= 0 where x_i = 0, has s d != 0: the feasible set is convex.

References
----------
Fischetti & Salazar (2001), *Solving the cell suppression problem on tabular data with linear constraints*.
Hundepool et al. (2012), *Statistical Disclosure Control*, ch. 4.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse
from scipy.linalg import null_space
from scipy.sparse.csgraph import connected_components

TOLERANCE = 1e-6
TRIES = 8
DENSE = 800  # counts whose null space is computed at once


def from_rows(rows: Sequence[Mapping[int, float]], width: int) -> sparse.csr_array:
    """Return equations, each given as place -> coefficient, as one matrix."""
    at = [(i, j, v) for i, row in enumerate(rows) for j, v in row.items()]
    i, j, v = zip(*at) if at else ((), (), ())
    return sparse.csr_array((v, (i, j)), shape=(len(rows), width), dtype=float)


def feasible_point(published, values) -> np.ndarray | None:
    """Return some x >= 0 with ``published @ x == values``, (v,), or None if there is none.

    Parameters
    ----------
    published : (m, v) sparse matrix
    values : (m,) array
    """
    scale = max(float(np.max(values, initial=0)), 1.0)
    found = _linprog(np.zeros(published.shape[1]), published, np.asarray(values, dtype=float) / scale, (0, None))
    return None if found is None else found * scale


def computed(published, asked, positive) -> np.ndarray:
    """Return which of the sums `asked` follow from the `published` ones, (q,) bool.

    Parameters
    ----------
    published : (m, v) sparse matrix
        The sums that are known.
    asked : (q, v) sparse matrix
        The sums that are hidden.
    positive : (v,) bool
        Which counts are above zero in a feasible point: these may go down as well as up.

    Notes
    -----
    Where all counts are above zero, directions go both ways, and those of the null space tell. The sums that these do
    not move are asked by linear programming, first along a direction at random, then one by one, exactly.
    """
    published, asked = sparse.csr_array(published), sparse.csr_array(asked)
    positive, fixed = np.asarray(positive, dtype=bool), np.ones(asked.shape[0], dtype=bool)
    _, label = connected_components(published.T @ published, directed=False)
    for part in np.unique(label[np.unique(asked.indices)]):  # counts that no sum connects move by themselves
        at = np.flatnonzero(label == part)
        rows = np.flatnonzero(fixed & (np.diff(asked[:, at].indptr) > 0))
        known = published[:, at]
        known = known[np.diff(known.indptr) > 0]
        fixed[rows] = _fixed(known, asked[rows][:, at], positive[at]) if len(rows) else True
    return fixed


def _fixed(published, asked, positive) -> np.ndarray:
    """Return which of the sums asked follow, of counts that are all connected."""
    fixed = np.ones(asked.shape[0], dtype=bool)
    if positive.any() and positive.sum() <= DENSE:
        free = null_space(published[:, positive].toarray(), rcond=1e-10)
        fixed = np.abs(asked[:, positive] @ free).max(axis=1, initial=0) <= TOLERANCE
        if positive.all() or not fixed.any():
            return fixed
    bounds = np.column_stack([np.where(positive, -1.0, 0.0), np.ones(len(positive))])
    rng = np.random.default_rng(1)  # any fixed seed: the answer does not depend on it, only the time
    for _ in range(TRIES):
        moved = _moved(published, asked, rng.normal(size=fixed.sum()) @ asked[np.flatnonzero(fixed)], bounds)
        stays = fixed & ~moved
        if (stays == fixed).all() or not stays.any():
            fixed = stays
            break
        fixed = stays
    for row in np.flatnonzero(fixed):
        for sign in (1, -1):
            if fixed[row]:
                fixed &= ~_moved(published, asked, sign * asked[[row]].toarray()[0], bounds)
    return fixed


def _moved(published, asked, objective, bounds) -> np.ndarray:
    direction = _linprog(-objective, published, np.zeros(published.shape[0]), bounds)
    return np.abs(asked @ direction) > TOLERANCE


def _linprog(cost, equations, values, bounds) -> np.ndarray | None:
    from scipy.optimize import linprog

    some = equations.shape[0] > 0
    found = linprog(
        cost, A_eq=equations if some else None, b_eq=values if some else None, bounds=bounds, method="highs"
    )
    if found.status not in (0, 2):
        raise ArithmeticError(f"the linear programme was not solved: {found.message}")
    return found.x if found.status == 0 else None
