"""One method's parts of the explained variance, for one matrix or a thousand, exact or from sampled orders."""

import numpy as np
from scipy import stats

from cxresearch.drivers.subsets import first_parts, last_parts
from cxresearch.drivers.weights import relative_weights
from cxresearch.errors import DataProblem
from cxresearch.inference.shares import (
    as_correlations,
    order_of,
    packed,
    residual_variances,
    shapley_parts,
    sweep,
    unpacked,
)

METHODS = ("shapley", "relative_weights", "first", "last")
FROM_SUBSETS = {"shapley": shapley_parts, "first": first_parts, "last": last_parts}
EXACT = 22  # terms: 2^22 subsets take a tenth of a second
EXACT_DRAWS = 17  # terms in each bootstrap replicate
LEAVES = 1 << 16  # subsets, of all replicates, held at once: they stay near a core's cache


def parts_of(correlations: np.ndarray, *, sizes, n_always: int = 0, method: str = "shapley", orders=None) -> np.ndarray:
    """Return the terms' parts of R², (p, B), from packed correlations (q, B).

    `orders` (K, p) are the sampled orders used in place of all subsets by method "shapley".
    """
    left = sweep(correlations, n_always) if n_always else correlations
    if method == "relative_weights":
        return _weight_parts(left, sizes)
    if method == "shapley" and orders is not None:
        return ordered_parts(left, sizes, orders).mean(axis=0)
    if method != "shapley" and len(sizes) > EXACT_DRAWS:
        return _few_subsets(left, sizes, method)
    out, together = np.empty((len(sizes), left.shape[1])), max(1, LEAVES >> len(sizes))
    for start in range(0, left.shape[1], together):
        columns = slice(start, start + together)
        out[:, columns] = FROM_SUBSETS[method](residual_variances(np.ascontiguousarray(left[:, columns]), sizes))
    return out


def _weight_parts(left, sizes) -> np.ndarray:
    weights = relative_weights(unpacked(as_correlations(left))) * left[-1][:, None]
    return np.add.reduceat(weights, np.cumsum((0, *sizes[:-1])), axis=1).T


def _few_subsets(left, sizes, method: str) -> np.ndarray:
    # First and last need p + 1 subsets of the 2^p: each order below gives one of them.
    p = len(sizes)
    at = 0 if method == "first" else p - 1
    orders = np.stack([np.roll(np.arange(p), at - i) for i in range(p)])
    gains = ordered_parts(left, sizes, orders)
    return gains[np.arange(p), np.arange(p)]


def sampled_orders(p: int, *, n_orders: int, rng) -> np.ndarray:
    """Return about `n_orders` (K, p) orders: random ones, each with its p rotations and their reverses.

    Within such a set every term stands at every place twice: what a term gains depends mostly on its place, so the
    sets agree far better than single orders would.
    """
    random = rng.permuted(np.tile(np.arange(p), (max(2, round(n_orders / (2 * p))), 1)), axis=1)
    rotated = np.stack([np.roll(random, k, axis=1) for k in range(p)], axis=1)
    return np.concatenate([rotated, rotated[:, :, ::-1]], axis=1).reshape(-1, p)


def ordered_parts(left: np.ndarray, sizes, orders) -> np.ndarray:
    """Return what each term adds when it enters in each order, (K, p, B).

    In the Cholesky factor of the reordered matrix the last row's squares are the sequential gains.
    """
    matrices = unpacked(left)
    m, starts = order_of(left), np.cumsum((0, *sizes))
    matrices[:, np.arange(m), np.arange(m)] += 1e-10  # dependent drivers: the later one then gains nothing
    gains = np.empty((len(orders), len(sizes), left.shape[1]))
    for k, order in enumerate(orders):
        columns = np.concatenate([np.arange(starts[t], starts[t + 1]) for t in order])
        at = np.append(columns, m - 1)
        last_row = np.linalg.cholesky(matrices[:, at[:, None], at])[:, -1, :-1] ** 2
        ends = np.cumsum([sizes[t] for t in order])
        gains[k, order] = np.add.reduceat(last_row, np.concatenate([[0], ends[:-1]]), axis=1).T
    return gains


def order_error(gains: np.ndarray) -> np.ndarray:
    """Return the standard error of sampled parts (p,) from gains (K, p) in the sets of `sampled_orders`."""
    p = gains.shape[1]
    sets = gains.reshape(-1, 2 * p, p).mean(axis=1)
    return sets.std(axis=0, ddof=1) / np.sqrt(len(sets))


def noise_floor(by_size: np.ndarray, n: float) -> tuple[float, float]:
    """Return the part that a random driver would get: its mean, and what 19 of 20 stay below.

    On top of a subset of k drivers one unrelated to everything gains V(S) / (n - k - 1) on average; weighted as in
    the LMG part of one more term this is the mean over k. Each gain is its mean times a chi-square on one degree of
    freedom, and since the gains go up and down together, so is the part, nearly. `by_size` (p + 1,) holds the mean
    residual variances of subsets of k = 0..p terms.
    """
    k = np.arange(len(by_size))
    mean = float(np.mean(by_size / np.maximum(n - k - 1, 1)))
    return mean, mean * float(stats.chi2.ppf(0.95, 1))


def correlation_parts(correlation, *, method: str = "shapley") -> np.ndarray:
    """Return the parts (p,) from one (p + 1, p + 1) correlation matrix whose last column is the outcome.

    Raises
    ------
    DataProblem
        If the matrix is not positive semi-definite, as pairwise deletion can make it: parts would be negative.
    """
    matrix = np.asarray(correlation, dtype=float)
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest < -1e-8:
        raise DataProblem(
            f"the correlation matrix has a negative eigenvalue ({smallest:.3g}), which no complete data have; "
            "compute it from complete rows or with missing='em' instead of pair by pair"
        )
    return parts_of(packed(matrix[None]), sizes=[1] * (len(matrix) - 1), method=method)[:, 0]
