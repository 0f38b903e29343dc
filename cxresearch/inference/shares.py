"""Explained variance divided among its columns (Shapley), from weighted moments, with answers missing at random.

References
----------
Lindeman, Merenda & Gold (1980), *Introduction to Bivariate and Multivariate Analysis*, 119 ff.; Shapley (1953);
Dempster, Laird & Rubin (1977), JRSS B 39, 1; Little & Rubin (2019), *Statistical Analysis with Missing Data*, ch. 11;
Meng & Rubin (1991), JASA 86, 899 (the rate matrix of EM corrects a step of it to the solution).
"""

from dataclasses import dataclass
from functools import lru_cache
from math import factorial

import numpy as np

from cxresearch.errors import DataProblem

TOLERANCE = 1e-10  # of a standardised column's variance: less is left by rounding where a column is a sum of others
STEPS, CLOSE = 2000, 1e-10  # of EM


def packed(matrices) -> np.ndarray:
    """Return the upper triangles, row by row, of (..., m, m) symmetric matrices as (m(m+1)/2, batch)."""
    matrices = np.asarray(matrices, dtype=float)
    m = matrices.shape[-1]
    return np.ascontiguousarray(matrices.reshape(-1, m, m)[:, *np.triu_indices(m)].T)


def unpacked(triangles: np.ndarray) -> np.ndarray:
    """Return (batch, m, m) symmetric matrices from what `packed` returns."""
    m = order_of(triangles)
    out = np.empty((triangles.shape[1], m, m))
    rows, columns = np.triu_indices(m)
    out[:, rows, columns] = out[:, columns, rows] = triangles.T
    return out


def order_of(triangles: np.ndarray) -> int:
    """Return m for the m(m+1)/2 rows of packed triangles."""
    return int((np.sqrt(8 * len(triangles) + 1) - 1) / 2)


def sweep(triangles: np.ndarray, columns: int = 1, out: np.ndarray | None = None) -> np.ndarray:
    """Return packed (q, N) matrices with their first `columns` variables partialled out and removed.

    A variable with no variance left (constant, or a sum of those before it) is removed without being used.
    """
    m = order_of(triangles)
    for size in range(m, m - columns, -1):
        pivot, row, rest = triangles[0], triangles[1:size], triangles[size:]
        scaled = row * np.divide(1.0, pivot, out=np.zeros_like(pivot), where=pivot > TOLERANCE)
        target = out if out is not None and size == m - columns + 1 else np.empty_like(rest)
        start = 0
        for i in range(size - 1):
            stop = start + size - 1 - i
            np.multiply(row[i:], scaled[i], out=target[start:stop])
            np.subtract(rest[start:stop], target[start:stop], out=target[start:stop])
            start = stop
        triangles = target
    return triangles


def residual_variances(triangles: np.ndarray, sizes) -> np.ndarray:
    """Return the outcome's residual variance on every subset of terms, (2^p, N); bit k of a subset's number is term k.

    `triangles` (q, N) are packed matrices of the p terms' columns in order, `sizes` of them each, and the outcome. Each
    term doubles the batch into "left out" and "swept" while matrices lose its rows, so the work per subset is bounded.
    """
    replicates = triangles.shape[1]
    for columns in sizes:
        m, n = order_of(triangles), triangles.shape[1]
        dropped = sum(range(m - columns + 1, m + 1))
        both = np.empty((len(triangles) - dropped, 2 * n))
        both[:, :n] = triangles[dropped:]
        sweep(triangles, columns, out=both[:, n:])
        triangles = both
    return triangles[0].reshape(-1, replicates)


@lru_cache(maxsize=32)
def subset_sizes(p: int) -> np.ndarray:
    """Return how many of `p` terms each of the 2^p subsets holds."""
    sizes = np.zeros(1, dtype=np.int8)
    for _ in range(p):
        sizes = np.concatenate([sizes, sizes + 1])
    sizes.flags.writeable = False
    return sizes


def shapley_parts(residuals: np.ndarray) -> np.ndarray:
    """Return each term's average gain over all orders (LMG), (p, N), from residual variances (2^p, N).

    part_i = sum over subsets S without i of |S|! (p - |S| - 1)! / p! (V(S) - V(S + i)). A subset's variance enters
    the terms it lacks with the weight of its own size and those it holds with that of the size below, so that the
    parts are one sum over all subsets less one over the half that holds i.
    """
    p = len(residuals).bit_length() - 1
    lacking = np.array([factorial(s) * factorial(p - s - 1) / factorial(p) for s in range(p)] + [0.0])
    sizes = subset_sizes(p)
    total = lacking[sizes] @ residuals
    cube = (lacking + np.concatenate([[0.0], lacking[:-1]]))[sizes][:, None] * residuals
    parts = np.empty((p, residuals.shape[1]))
    for i in range(p - 1, -1, -1):
        without, holding = cube.reshape(2, 1 << i, -1)
        parts[i] = total - holding.sum(axis=0)
        cube = without + holding
    return parts


def lmg(x, y, *, weights=None) -> np.ndarray:
    """Return the LMG (Shapley) parts (p,) of R² of (n, p) columns for an (n,) outcome; they sum to R²."""
    columns = np.column_stack([x, y]).astype(float)
    moments = complete_moments(columns, np.ones(len(columns)) if weights is None else np.asarray(weights, dtype=float))
    return shapley_parts(residual_variances(moments.correlations(), [1] * (columns.shape[1] - 1)))[:, 0]


@dataclass(frozen=True)
class Moments:
    """Means and covariances as weighted means of one row of products per respondent."""

    rows: np.ndarray  # (n, q + m) packed products of the m standardised columns, then the columns; or what is expected
    weights: np.ndarray  # (n,)
    n_columns: int

    def covariances(self, weights=None) -> np.ndarray:
        """Return packed covariances (q, B) of the columns in the sample's standard deviations."""
        weights = self.weights[None] if weights is None else weights
        means = (weights @ self.rows / weights.sum(axis=1, keepdims=True)).T
        return means[: -self.n_columns] - _outer(means[-self.n_columns :])

    def correlations(self, weights=None) -> np.ndarray:
        """Return packed correlations (q, B) by row of `weights` (B, n); those of a constant column are zero."""
        return as_correlations(self.covariances(weights))


def as_correlations(covariance: np.ndarray) -> np.ndarray:
    """Return packed (q, B) covariances of columns standardised in the whole sample, scaled to unit variance."""
    rows, columns = np.triu_indices(order_of(covariance))
    variance = covariance[rows == columns]
    scale = 1 / np.sqrt(np.maximum(variance, TOLERANCE))
    return covariance * _outer(np.where(variance > TOLERANCE, scale, 0.0))


def _outer(columns: np.ndarray) -> np.ndarray:
    rows, others = np.triu_indices(len(columns))
    return columns[rows] * columns[others]


def scaling(columns: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean and standard deviation of each column's answers; 1 where a column is constant."""
    answered = ~np.isnan(columns)
    w = weights[:, None] * answered
    base = np.maximum(w.sum(axis=0), np.finfo(float).tiny)
    mean = np.sum(w * np.where(answered, columns, 0.0), axis=0) / base
    spread = np.sqrt(np.sum(w * np.where(answered, columns - mean, 0.0) ** 2, axis=0) / base)
    return mean, np.where(spread <= 1e-9 * np.maximum(np.abs(mean), 1e-300), 1.0, spread)


def standardised(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (n, m) columns with weighted mean 0 and variance 1 over their answers; a constant column becomes 0."""
    mean, spread = scaling(columns, weights)
    z = (columns - mean) / spread
    return np.where(np.abs(z) < 1e-12, 0.0, z)


def complete_moments(columns: np.ndarray, weights: np.ndarray) -> Moments:
    """Return the moments of (n, m) columns without missing answers."""
    z = standardised(columns, weights)
    return Moments(np.concatenate([_outer(z.T).T, z], axis=1), weights, z.shape[1])


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
    solution = np.eye(z.shape[1])
    for _ in range(STEPS):
        before, solution = solution, _step(patterns, solution)
        if np.abs(solution - before).max() < CLOSE:
            break
    else:
        raise DataProblem(
            f"missing='em' did not settle in {STEPS} steps; some pair of drivers is hardly ever answered together: "
            "use missing='listwise' or leave out the driver with the fewest answers"
        )
    rows, others = np.triu_indices(z.shape[1])
    target = solution[rows, others]
    correction = np.linalg.inv(np.eye(len(target)) - _rate(patterns, solution))
    corrected = target + (_expected_products(z, patterns, solution) - target) @ correction.T
    order = np.concatenate([np.flatnonzero(rows > 0), np.flatnonzero((rows == 0) & (others > 0))])
    return Moments(corrected[:, order], weights, columns.shape[1])


@dataclass(frozen=True)
class Pattern:
    """Rows that answered the same columns; the constant column 0 is always answered."""

    rows: np.ndarray
    answered: np.ndarray
    skipped: np.ndarray
    weight: float
    products: np.ndarray  # weighted sums of products of the answered columns

    def regression(self, a: np.ndarray, regular: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return coefficients of the skipped on the answered columns, their residual covariance, the inverse used."""
        o, s = self.answered, self.skipped
        among = a[o[:, None], o]
        inverse = np.linalg.inv(among) if regular else np.linalg.pinv(among, hermitian=True, rcond=1e-11)
        slopes = a[np.ix_(s, o)] @ inverse
        return slopes, a[np.ix_(s, s)] - slopes @ a[np.ix_(o, s)], inverse


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


def _step(patterns, a) -> np.ndarray:
    total, regular = np.zeros_like(a), _is_regular(a)
    for p in patterns:
        o, s = p.answered, p.skipped
        slopes, residual, _ = p.regression(a, regular)
        across = slopes @ p.products
        total[np.ix_(o, o)] += p.products
        total[np.ix_(s, o)] += across
        total[np.ix_(o, s)] += across.T
        total[np.ix_(s, s)] += across @ slopes.T + p.weight * residual
    return total


def _expected_products(z, patterns, a) -> np.ndarray:
    rows, others = np.triu_indices(z.shape[1])
    out, regular = np.empty((len(z), len(rows))), _is_regular(a)
    for p in patterns:
        slopes, residual, _ = p.regression(a, regular)
        filled, spread = z[p.rows].copy(), np.zeros_like(a)
        filled[:, p.skipped] = filled[:, p.answered] @ slopes.T
        spread[np.ix_(p.skipped, p.skipped)] = residual
        out[p.rows] = filled[:, rows] * filled[:, others] + spread[rows, others]
    return out


def _rate(patterns, a) -> np.ndarray:
    """Return the derivative of the packed `_step` with respect to the packed `a`, one direction at a time."""
    rows, others = np.triu_indices(len(a))
    directions = np.zeros((len(rows), *a.shape))
    at = np.arange(len(rows))
    directions[at, rows, others] = directions[at, others, rows] = 1.0
    moved, regular = np.zeros_like(directions), _is_regular(a)
    for p in patterns:
        o, s = p.answered, p.skipped
        slopes, _, inverse = p.regression(a, regular)
        d_so, d_oo, d_ss = (directions[:, i[:, None], j] for i, j in ((s, o), (o, o), (s, s)))
        across = (d_so - slopes @ d_oo) @ inverse @ p.products
        both, crossed = across @ slopes.T, d_so @ slopes.T
        residual = d_ss - crossed - crossed.transpose(0, 2, 1) + slopes @ d_oo @ slopes.T
        moved[:, s[:, None], o] += across
        moved[:, o[:, None], s] += across.transpose(0, 2, 1)
        moved[:, s[:, None], s] += both + both.transpose(0, 2, 1) + p.weight * residual
    return moved[:, rows, others].T
