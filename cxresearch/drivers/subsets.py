"""Residual variances of an outcome on every subset of its drivers, and the indices that are linear in them.

A breadth-first tree: each driver doubles the batch of matrices into "left out" (its row and column deleted) and
"swept" (replaced by the Schur complement). A matrix loses a row at each level while their number doubles, so the
work per subset is bounded. Subsets and replicates share one vector axis.

References
----------
Lindeman, Merenda & Gold (1980), *Introduction to Bivariate and Multivariate Analysis*, 119 ff.; Shapley (1953);
Azen & Budescu (2003), Psychological Methods 8, 129; Grömping (2006), Journal of Statistical Software 17(1).
"""

from functools import lru_cache
from itertools import combinations
from math import comb, factorial

import numpy as np

TOLERANCE = 1e-10  # of a standardised driver's variance: less is left by rounding where a driver is a sum of others
LEAVES = 1 << 17  # leaves worked on at once: they and their parents stay near a core's cache
NARROW = 64  # columns in one operation: fewer would pay more for calls than for arithmetic
SMALL = 12  # up to here the linear map is kept as a matrix


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
    for left in range(m, m - columns, -1):
        pivot, row, rest = triangles[0], triangles[1:left], triangles[left:]
        usable = pivot > TOLERANCE
        scaled = row * np.divide(1.0, pivot, out=np.zeros_like(pivot), where=usable)
        target = out if out is not None and left == m - columns + 1 else np.empty_like(rest)
        start = 0
        for i in range(left - 1):
            stop = start + left - 1 - i
            np.multiply(row[i:], scaled[i], out=target[start:stop])
            np.subtract(rest[start:stop], target[start:stop], out=target[start:stop])
            start = stop
        triangles = target
    return triangles


def residual_variances(triangles: np.ndarray, sizes) -> np.ndarray:
    """Return the outcome's residual variance on every subset of terms, (2^p, N).

    Parameters
    ----------
    triangles : (q, N) array
        Packed matrices of the p terms' columns in order and the outcome, which comes last.
    sizes : sequence of p ints
        Columns of each term. Bit k of the subset's number is term k.
    """
    sizes = tuple(sizes)
    out = np.empty((1 << len(sizes), triangles.shape[1]))
    _fill(triangles, sizes, out)
    return out


def _fill(triangles, sizes, out) -> None:
    while sizes:
        n, wide = triangles.shape[1], LEAVES >> len(sizes)
        if n > wide >= NARROW:
            _fill_in_parts(triangles, sizes, out.reshape(-1, n), wide)
            return
        triangles, sizes = _branch(triangles, sizes[0]), sizes[1:]
    out.reshape(-1)[:] = triangles[0]


def _fill_in_parts(triangles, sizes, out, wide) -> None:
    for start in range(0, triangles.shape[1], wide):
        part = triangles[:, start : start + wide]
        leaves = np.empty((1 << len(sizes), part.shape[1]))
        _fill(part, sizes, leaves)
        out[:, start : start + wide] = leaves


def _branch(triangles, columns: int) -> np.ndarray:
    m, n = order_of(triangles), triangles.shape[1]
    dropped = sum(range(m - columns + 1, m + 1))
    both = np.empty((len(triangles) - dropped, 2 * n))
    both[:, :n] = triangles[dropped:]
    sweep(triangles, columns, out=both[:, n:])
    return both


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
    2p weighted sums are one sum over all subsets less one over the subsets that hold i.
    """
    p = len(residuals).bit_length() - 1
    if p <= SMALL:
        return _shapley_map(p) @ residuals
    return _shapley_in_blocks(residuals, p)


def _shapley_in_blocks(residuals, p: int) -> np.ndarray:
    # Blocks of 2^SMALL subsets stay in the cache; a block's number is the subset of the other terms.
    lacking, both = _shapley_weights(p)
    high, low = subset_sizes(p - SMALL), subset_sizes(SMALL)
    lacking, both = (np.stack([weights[low + h] for h in range(p - SMALL + 1)]) for weights in (lacking, both))
    total, of_low = np.zeros(residuals.shape[1]), np.zeros((1 << SMALL, residuals.shape[1]))
    of_high = np.empty((1 << (p - SMALL), residuals.shape[1]))
    for number, block in enumerate(residuals.reshape(1 << (p - SMALL), 1 << SMALL, -1)):
        total += lacking[high[number]] @ block
        of_high[number] = both[high[number]] @ block
        of_low += block * both[high[number]][:, None]
    return total - np.concatenate([_bits(SMALL) @ of_low, _bits(p - SMALL) @ of_high])


def _shapley_weights(p: int) -> tuple[np.ndarray, np.ndarray]:
    lacking = np.array([factorial(s) * factorial(p - s - 1) / factorial(p) for s in range(p)] + [0.0])
    return lacking, lacking + np.concatenate([[0.0], lacking[:-1]])


@lru_cache(maxsize=16)
def _bits(p: int) -> np.ndarray:
    return ((np.arange(1 << p) >> np.arange(p)[:, None]) & 1).astype(float)


@lru_cache(maxsize=16)
def _shapley_map(p: int) -> np.ndarray:
    lacking, both = _shapley_weights(p)
    sizes = subset_sizes(p)
    return lacking[sizes] - _bits(p) * both[sizes]


def mean_by_size(residuals: np.ndarray) -> np.ndarray:
    """Return the mean residual variance of the subsets of 0..p terms, (p + 1,)."""
    sizes = subset_sizes(len(residuals).bit_length() - 1)
    return np.bincount(sizes, residuals) / np.bincount(sizes)


def first_parts(residuals: np.ndarray) -> np.ndarray:
    """Return what each term explains alone, (p, N)."""
    p = len(residuals).bit_length() - 1
    return residuals[0] - residuals[1 << np.arange(p)]


def last_parts(residuals: np.ndarray) -> np.ndarray:
    """Return what each term adds to all others, (p, N)."""
    p = len(residuals).bit_length() - 1
    return residuals[len(residuals) - 1 - (1 << np.arange(p))] - residuals[-1]


def conditional_dominance(residuals: np.ndarray) -> np.ndarray:
    """Return each term's mean gain over the subsets of each size, (p, p), from residual variances (2^p,).

    Column s is the mean over subsets of s other terms; the row means are the LMG parts (Azen & Budescu 2003).
    """
    p = len(residuals).bit_length() - 1
    cube, sizes = residuals.reshape([2] * p), subset_sizes(p - 1)
    pairs = np.array([comb(p - 1, s) for s in range(p)])
    gains = (cube.take(0, axis=p - 1 - i) - cube.take(1, axis=p - 1 - i) for i in range(p))
    return np.stack([np.bincount(sizes, g.ravel(), minlength=p) / pairs for g in gains])


def average_coefficients(correlation: np.ndarray) -> np.ndarray:
    """Return each driver's mean standardised coefficient over the models with s other drivers, (p, p), column s.

    All models are solved, those of one size together; `correlation` is (p + 1, p + 1), outcome last (Groemping 2006,
    Journal of Statistical Software 17(1)). A coefficient that flips its sign between columns is a driver confounded with
    the others.
    """
    p = len(correlation) - 1
    among, with_outcome, means = correlation[:p, :p], correlation[:p, p], np.empty((p, p))
    for size in range(1, p + 1):
        models = np.array(list(combinations(range(p), size)))
        inverse = np.linalg.pinv(among[models[:, :, None], models[:, None, :]], hermitian=True)
        fitted = (inverse @ with_outcome[models][..., None])[..., 0]
        sums = np.bincount(models.ravel(), weights=fitted.ravel(), minlength=p)
        means[:, size - 1] = sums / comb(p - 1, size - 1)
    return means


def complete_dominance(residuals: np.ndarray) -> np.ndarray:
    """Return the share of subsets of the others in which term i (row) adds more than term j (column), (p, p).

    One means complete dominance of i over j (Azen & Budescu 2003); the diagonal is missing.
    """
    p = len(residuals).bit_length() - 1
    index = np.arange(len(residuals))
    shares = np.full((p, p), np.nan)
    for i in range(p):
        for j in range(p):
            if i != j:
                base = index[(index >> i & 1 == 0) & (index >> j & 1 == 0)]
                shares[i, j] = np.mean(residuals[base | 1 << i] < residuals[base | 1 << j])
    return shares
