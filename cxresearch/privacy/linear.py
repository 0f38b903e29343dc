"""What can be computed from published sums: the linear programming behind suppression and behind its audit.

Counts x >= 0 are unknown; the rows of a 0/1 matrix A are sums of them, A x = b those that are published. A further sum
s x is *computed* if its minimum over {x >= 0, A x = b} equals its maximum. From any feasible x that is so exactly when
no direction d with A d = 0, and d_i >= 0 where x_i = 0, has s d != 0: the feasible set is convex. Directions add up and
can be made longer, so one programme finds every i with x_i = 0 that some of them raises; the others stay, and the rest go
both ways. A sum moves if it does along one such direction drawn at random, but with probability zero.

References
----------
Fischetti & Salazar (2001), *Solving the cell suppression problem on tabular data with linear constraints*.
Hundepool et al. (2012), *Statistical Disclosure Control*, ch. 4.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

TOLERANCE, EXACT = 1e-6, 1e-9  # of what moves a sum, and of what leaves the published ones as they are
DENSE = 400  # counts up to which the direction is computed at once


def from_rows(rows: Sequence[Mapping[int, float]], width: int) -> sparse.csr_array:
    """Return equations, each given as place -> coefficient, as one matrix."""
    at = [(i, j, v) for i, row in enumerate(rows) for j, v in row.items()]
    i, j, v = zip(*at) if at else ((), (), ())
    return sparse.csr_array((v, (i, j)), shape=(len(rows), width), dtype=float)


def closest_point(published, values) -> tuple[np.ndarray, np.ndarray]:
    """Return some x >= 0 for which the sums ``published @ x``, (m,), are changed least to be the values, and the changes."""
    scale, (m, width) = max(float(np.max(values, initial=0)), 1.0), published.shape
    cost, change = np.append(np.zeros(width), np.ones(2 * m)), sparse.eye_array(m)
    found = scale * _linprog(cost, sparse.hstack([published, change, -change]), values / scale, (0, None))
    return found[:width], np.abs(found[width : width + m] - found[width + m :])


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
    """
    published, asked = sparse.csr_array(published), sparse.csr_array(asked)
    direction, rng = np.zeros(published.shape[1]), np.random.default_rng(1)
    _, label = connected_components(published.T @ published, directed=False)
    for part in np.unique(label[np.unique(asked.indices)]):  # counts that no sum connects move by themselves
        at = np.flatnonzero(label == part)
        known = published[:, at]
        known, positive_here = known[np.diff(known.indptr) > 0], np.asarray(positive, dtype=bool)[at]
        moves = positive_here | _raised(known, ~positive_here)
        direction[at[moves]] = _direction(known[:, moves], rng)
    return np.abs(asked @ direction) <= TOLERANCE


def _raised(published, zero) -> np.ndarray:
    """Return which of the counts that are `zero`, (v,) bool, some direction raises, (v,) bool."""
    raised = np.zeros(len(zero), dtype=bool)
    if zero.any():  # each by a part up to one, which is counted, and by what more it takes
        cost = np.append(np.zeros(len(zero)), np.full(zero.sum(), -1.0))
        bounds = [*((0, None) if z else (None, None) for z in zero), *[(0, 1)] * zero.sum()]
        found = _linprog(cost, sparse.hstack([published, published[:, zero]]), np.zeros(published.shape[0]), bounds)
        raised[zero] = found[len(zero) :] > 0.5
    return raised


def _direction(published, rng) -> np.ndarray:
    """Return what of numbers drawn at random leaves every published sum as it is: their part in the null space."""
    drawn = rng.normal(size=published.shape[1])
    if not published.nnz:
        return drawn
    if len(drawn) <= DENSE:
        part = np.linalg.lstsq(published.toarray().T, drawn)[0]
    else:
        part = sparse.linalg.lsqr(published.T, drawn, atol=1e-14, btol=1e-14, iter_lim=20 * len(drawn))[0]
    found = drawn - published.T @ part
    if np.abs(published @ found).max() > EXACT:
        raise ArithmeticError("no direction leaves the published sums as they are to the digit")
    return found


def _linprog(cost, equations, values, bounds) -> np.ndarray | None:
    from scipy.optimize import linprog

    found = linprog(cost, A_eq=equations, b_eq=values, bounds=bounds, method="highs")
    if found.status not in (0, 2):
        raise ArithmeticError(f"the linear programme was not solved: {found.message}")
    return found.x if found.status == 0 else None
