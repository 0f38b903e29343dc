"""Means and covariances from rows with skipped answers, by the EM algorithm.

References
----------
Dempster, Laird & Rubin (1977), JRSS B 39, 1; Little & Rubin (2019), *Statistical Analysis with Missing Data*, ch. 11;
Meng & Rubin (1991), JASA 86, 899 (the rate matrix of EM corrects a step of it to the solution).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch.drivers.moments import Moments, complete_moments, standardised
from cxresearch.errors import DataProblem

STEPS, CLOSE = 2000, 1e-10


@dataclass(frozen=True)
class Pattern:
    """Rows that answered the same columns; the constant column 0 is always answered."""

    rows: np.ndarray
    answered: np.ndarray
    skipped: np.ndarray
    weight: float
    products: np.ndarray  # weighted sums of products of the answered columns


def em_moments(columns: np.ndarray, weights: np.ndarray) -> Moments:
    """Return the maximum-likelihood moments of (n, m) columns under joint normality and answers missing at random.

    The second moments A of (1, columns) are a fixed point of A = M(A), the mean of the expected products given the
    answers. With other weights the solution is, to first order, A + (I - J)^-1 (M_w(A) - A), J the derivative of M:
    each respondent's expected products are corrected in this way once, and replicates are weighted means of them.
    """
    if not np.isnan(columns).any():
        return complete_moments(columns, weights)
    z = np.column_stack([np.ones(len(columns)), standardised(columns, weights)])
    patterns = _patterns(z, weights)
    solution = _solve(patterns, z.shape[1])
    expected = _expected_products(z, patterns, solution)
    rows, others = np.triu_indices(z.shape[1])
    target = solution[rows, others]
    correction = np.linalg.inv(np.eye(len(target)) - _rate(patterns, solution))
    corrected = target + (expected - target) @ correction.T
    m = columns.shape[1]
    order = np.concatenate([np.flatnonzero(rows > 0), np.flatnonzero((rows == 0) & (others > 0))])
    return Moments(corrected[:, order], weights, m)


def _patterns(z, weights) -> list[Pattern]:
    keys, of_row = np.unique(~np.isnan(z), axis=0, return_inverse=True)
    found = []
    for k, key in enumerate(keys):
        rows, answered = np.flatnonzero(of_row == k), np.flatnonzero(key)
        part = z[np.ix_(rows, answered)]
        products = (part * weights[rows, None]).T @ part / weights.sum()
        found.append(Pattern(rows, answered, np.flatnonzero(~key), weights[rows].sum() / weights.sum(), products))
    return found


def _is_regular(a: np.ndarray) -> bool:
    # What holds for the whole matrix holds for its parts: eigenvalues interlace. A plain inverse is ten times faster.
    return bool(np.linalg.eigvalsh(a)[0] > 1e-8)


def _regression(pattern: Pattern, a: np.ndarray, regular: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coefficients of the skipped on the answered columns, their residual covariance, the inverse used."""
    o, s = pattern.answered, pattern.skipped
    among = a[o[:, None], o]
    inverse = np.linalg.inv(among) if regular else np.linalg.pinv(among, hermitian=True, rcond=1e-11)
    slopes = a[np.ix_(s, o)] @ inverse
    return slopes, a[np.ix_(s, s)] - slopes @ a[np.ix_(o, s)], inverse


def _step(patterns, a) -> np.ndarray:
    total, regular = np.zeros_like(a), _is_regular(a)
    for p in patterns:
        o, s = p.answered, p.skipped
        slopes, left, _ = _regression(p, a, regular)
        across = slopes @ p.products
        total[np.ix_(o, o)] += p.products
        total[np.ix_(s, o)] += across
        total[np.ix_(o, s)] += across.T
        total[np.ix_(s, s)] += across @ slopes.T + p.weight * left
    return total


def _solve(patterns, m: int) -> np.ndarray:
    a = np.eye(m)
    for _ in range(STEPS):
        new = _step(patterns, a)
        if np.abs(new - a).max() < CLOSE:
            return new
        a = new
    raise DataProblem(
        f"missing='em' did not settle in {STEPS} steps; some pair of drivers is hardly ever answered together: "
        "use missing='listwise' or leave out the driver with the fewest answers"
    )


def _expected_products(z, patterns, a) -> np.ndarray:
    rows, others = np.triu_indices(z.shape[1])
    out, regular = np.empty((len(z), len(rows))), _is_regular(a)
    for p in patterns:
        slopes, left, _ = _regression(p, a, regular)
        filled = z[p.rows].copy()
        filled[:, p.skipped] = filled[:, p.answered] @ slopes.T
        spread = np.zeros_like(a)
        spread[np.ix_(p.skipped, p.skipped)] = left
        out[p.rows] = filled[:, rows] * filled[:, others] + spread[rows, others]
    return out


def _rate(patterns, a) -> np.ndarray:
    """Return the derivative of the packed `_step` with respect to the packed `a`, one direction at a time."""
    rows, others = np.triu_indices(len(a))
    q = len(rows)
    directions = np.zeros((q, *a.shape))
    directions[np.arange(q), rows, others] = directions[np.arange(q), others, rows] = 1.0
    moved, regular = np.zeros_like(directions), _is_regular(a)
    for p in patterns:
        if len(p.skipped):
            _add_moved(moved, directions, p, a, regular)
    return moved[:, rows, others].T


def _add_moved(moved, directions, p: Pattern, a, regular: bool) -> None:
    o, s = p.answered, p.skipped
    slopes, _, inverse = _regression(p, a, regular)
    d_so, d_oo, d_ss = (directions[:, i[:, None], j] for i, j in ((s, o), (o, o), (s, s)))
    d_slopes = (d_so - slopes @ d_oo) @ inverse
    across = d_slopes @ p.products
    both = across @ slopes.T
    crossed = d_so @ slopes.T
    d_left = d_ss - crossed - crossed.transpose(0, 2, 1) + slopes @ d_oo @ slopes.T
    moved[:, s[:, None], o] += across
    moved[:, o[:, None], s] += across.transpose(0, 2, 1)
    moved[:, s[:, None], s] += both + both.transpose(0, 2, 1) + p.weight * d_left
