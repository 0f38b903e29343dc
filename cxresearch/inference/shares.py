"""Explained variance divided among its columns (Shapley), from weighted moments, with answers missing at random.

Lindeman, Merenda & Gold (1980), *Introduction to Bivariate and Multivariate Analysis*, 119 ff.; Little & Rubin (2019),
*Statistical Analysis with Missing Data*, ch. 11 (EM); Meng & Rubin (1991), JASA 86, 899 (its rate matrix).
"""

from dataclasses import dataclass
from functools import lru_cache
from math import factorial, isqrt

import numpy as np

from cxresearch.errors import DataProblem
from cxresearch.findings import say

TOLERANCE = 1e-10  # of a standardised column's variance: less is left by rounding where a column is a sum of others
LEAVES, NARROW = 1 << 16, 64  # subsets worked on at once, near a core's cache; matrices that are worth an operation
STEPS, CLOSE = 2000, 1e-10  # of EM
TOGETHER = 256  # patterns of missing answers whose matrices are held at once
_triangle = lru_cache(np.triu_indices)


def packed(matrices) -> np.ndarray:
    """Return the upper triangles, row by row, of (..., m, m) symmetric matrices as (m(m+1)/2, batch)."""
    rows, others = _triangle(np.shape(matrices)[-1])
    return np.ascontiguousarray(np.asarray(matrices, dtype=float)[..., rows, others].reshape(-1, len(rows)).T)


def unpacked(triangles: np.ndarray) -> np.ndarray:
    """Return (batch, m, m) symmetric matrices from what `packed` returns."""
    m = isqrt(2 * len(triangles))
    out, (rows, others) = np.empty((triangles.shape[1], m, m)), _triangle(m)
    out[:, rows, others] = out[:, others, rows] = triangles.T
    return out


def sweep(triangles: np.ndarray, columns: int = 1, out: np.ndarray | None = None) -> np.ndarray:
    """Return packed (q, N) matrices with their first `columns` variables partialled out (if any variance is left) and gone."""
    m = isqrt(2 * len(triangles))  # of m (m + 1) / 2
    for size in range(m - 1, m - columns - 1, -1):
        pivot, row, rest = triangles[0], triangles[1 : size + 1], triangles[size + 1 :]
        scaled = row * np.divide(1.0, pivot, out=np.zeros_like(pivot), where=pivot > TOLERANCE)
        rows, others = _triangle(size)
        products = scaled[rows]
        products *= row[others]  # in place: memory is what takes the time
        triangles = np.subtract(rest, products, out=products if out is None or size > m - columns else out)
    return triangles


def residual_variances(triangles: np.ndarray, sizes) -> np.ndarray:
    """Return the residual variance of the last column on every subset of terms, of `sizes` columns each, (2^p, N): bit k
    of a subset's number is term k.
    """
    replicates = triangles.shape[1]
    for term, columns in enumerate(sizes):
        m, n, p = isqrt(2 * len(triangles)), triangles.shape[1], len(sizes) - term
        if n > (wide := LEAVES >> p) >= NARROW:
            leaves = np.empty((1 << p, n))
            for part in (slice(start, start + wide) for start in range(0, n, wide)):
                leaves[:, part] = residual_variances(triangles[:, part], sizes[term:])
            return leaves.reshape(-1, replicates)
        kept = triangles[sum(range(m - columns + 1, m + 1)) :]
        both = np.empty((len(kept), 2 * n))
        both[:, :n] = kept  # left out; the other half swept
        sweep(triangles, columns, out=both[:, n:])
        triangles = both
    return triangles[0].reshape(-1, replicates)


def subset_sizes(p: int) -> np.ndarray:
    """Return how many of `p` terms each of the 2^p subsets holds."""
    return np.bitwise_count(np.arange(1 << p))


def shapley_parts(residuals: np.ndarray) -> np.ndarray:
    """Return each term's average gain over all orders (LMG), (p, N), from residual variances (2^p, N).

    part_i = sum over S without i of |S|! (p - |S| - 1)! / p! (V(S) - V(S + i)); weights know subsets by size alone, so
    half of the terms is summed by how many of it are held.
    """
    p = len(residuals).bit_length() - 1
    lacking = np.array([0.0, *(factorial(s) * factorial(p - s - 1) / factorial(p) for s in range(p)), 0.0])
    weights, first, later = lacking[1:] + lacking[:-1], subset_sizes(p // 2), subset_sizes(p - p // 2)
    cube, holding = residuals.reshape(len(later), len(first), -1), []
    for axis, own, others in ((0, first, later), (1, later, first)):
        by_size = np.tensordot(np.eye(others[-1] + 1)[others], cube, (0, axis))
        weighted = np.einsum("ks,ksn->sn", weights[own + np.arange(len(by_size))[:, None]], by_size)
        holding.append((np.arange(len(own)) >> np.arange(own[-1])[:, None] & 1) @ weighted)
    holding = np.concatenate(holding)
    return (residuals[0] - residuals[-1] + holding.sum(axis=0)) / p - holding


@dataclass(frozen=True)
class Moments:
    """Means and covariances as weighted means of one row of products per respondent."""

    rows: np.ndarray  # (n, q + m) packed products of the m standardised columns, then the columns; or what is expected
    weights: np.ndarray  # (n,)
    n_columns: int

    def covariances(self, weights=None) -> np.ndarray:
        """Return packed covariances (q, B) of the columns in the sample's standard deviations, by row of weights."""
        weights = self.weights[None] if weights is None else weights
        means = (weights @ self.rows / weights.sum(axis=1, keepdims=True)).T
        return means[: -self.n_columns] - _outer(means[-self.n_columns :])


def as_correlations(covariance: np.ndarray) -> np.ndarray:
    """Return packed (q, B) covariances of standardised columns scaled to unit variance; of a constant column zero."""
    variance = covariance[np.equal(*_triangle(isqrt(2 * len(covariance))))]
    return covariance * _outer((variance > TOLERANCE) / np.sqrt(np.maximum(variance, TOLERANCE)))


def _outer(columns: np.ndarray) -> np.ndarray:
    rows, others = _triangle(len(columns))
    return columns[rows] * columns[others]


def scaling(columns: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean and standard deviation of each column's answers; 1 where a column is constant."""
    known = ~np.isnan(columns)
    base = np.maximum(weights @ known, np.finfo(float).tiny)
    mean = weights @ np.where(known, columns, 0.0) / base
    spread = np.sqrt(weights @ np.square(np.where(known, columns - mean, 0.0)) / base)
    return mean, np.where(spread <= 1e-9 * np.maximum(np.abs(mean), 1e-300), 1.0, spread)


def standardised(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (n, m) columns with weighted mean 0 and variance 1 over their answers; a constant column becomes 0."""
    mean, spread = scaling(columns, weights)
    z = (columns - mean) / spread
    return np.where(np.abs(z) < 1e-12, 0.0, z)


def em_moments(columns: np.ndarray, weights: np.ndarray) -> Moments:
    """Return the maximum-likelihood moments of (n, m) columns under joint normality and answers missing at random.

    The second moments A are a fixed point of M(A), the mean of the products expected given the answers; products are
    corrected once by (I - J)^-1, J the derivative of M, so that replicates are weighted means of them.
    """
    z = standardised(columns, weights)
    if not np.isnan(z).any():  # nothing was skipped
        return Moments(np.concatenate([_outer(z.T).T, z], axis=1), weights, z.shape[1])
    z = np.column_stack([np.ones(len(z)), z])
    answered, of_row = np.unique(~np.isnan(z), axis=0, return_inverse=True)
    members = np.split(np.argsort(of_row, kind="stable"), np.cumsum(np.bincount(of_row))[:-1])
    z, shares = np.nan_to_num(z), weights / weights.sum()
    products = np.stack([(z[rows] * shares[rows, None]).T @ z[rows] for rows in members])
    blocks = [slice(start, start + TOGETHER) for start in range(0, len(answered), TOGETHER)]
    patterns = [(answered[b], products[b], np.bincount(of_row, shares)[b]) for b in blocks]
    solution = _solution(patterns, z.shape[1])
    m, (i, j) = len(solution), _triangle(len(solution))
    target, gaps = solution[i, j], np.empty((len(z), len(i)))
    for block in blocks:
        _, fill, rest = _regression(solution, answered[block])
        spread = (rest @ solution @ rest.mT)[:, i, j] - target
        for rows, filling, beyond in zip(members[block], fill, spread):
            gaps[rows] = _outer(filling @ z[rows].T).T + beyond
    corrected = target + gaps @ np.linalg.inv(np.eye(len(i)) - _rate(solution, patterns)).T
    return Moments(corrected[:, np.r_[m : len(i), 1:m]], weights, m - 1)


def _solution(patterns, m: int) -> np.ndarray:
    """Return the A that is M(A), the sum over patterns of B P B' + w (I - B) A (I - B)'."""
    solution = np.eye(m)
    for _ in range(STEPS):
        before, solution = solution, np.zeros((m, m))
        for answered, products, weight in patterns:
            _, fill, rest = _regression(before, answered)
            solution += (fill @ products @ fill.mT).sum(axis=0) + np.tensordot(weight, rest @ before @ rest.mT, 1)
        if np.abs(solution - before).max() < CLOSE:
            return solution
    raise DataProblem(say("em_unsettled", steps=STEPS))


def _regression(a, answered) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, by pattern, the inverse of `a` among what is answered, B that fills a row from its answers, and I - B."""
    known, same = answered[:, :, None] & answered[:, None, :], np.eye(len(a))
    # What holds for the whole matrix holds for its parts: eigenvalues interlace. A plain inverse is ten times faster.
    regular, among = np.linalg.eigvalsh(a)[0] > 1e-8, np.where(known, a, same)
    inverse = np.linalg.inv(among) if regular else np.linalg.pinv(among, hermitian=True, rcond=1e-11)
    inverse = np.where(known, inverse, 0.0)
    fill = np.where(answered[:, :, None], known * same, a @ inverse)
    return inverse, fill, same - fill


def _rate(a, patterns) -> np.ndarray:
    """Return the derivative of the packed M(A): d -> the sum of w R d R' + R d Q' + Q d R', R = I - B, Q = B P A^-1."""
    moved, (i, j) = 0.0, _triangle(len(a))
    for answered, products, weight in patterns:
        inverse, fill, rest = _regression(a, answered)
        gain, rest = (matrices.reshape(len(weight), -1) for matrices in (fill @ products @ inverse, rest))
        moved = moved + rest.T @ (weight[:, None] * rest + gain) + gain.T @ rest
    moved = moved.reshape(4 * a.shape[:1])  # [row, its cause's row, column, its cause's column]
    return moved[i[:, None], i, j[:, None], j] + np.where(i < j, moved[i[:, None], j, j[:, None], i], 0.0)
