"""Explained variance divided among terms: by all subsets, by sampled orders, and by three other rules beside it."""

from dataclasses import dataclass, replace
from math import comb

import numpy as np
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.inference.shares import (
    as_correlations,
    residual_variances,
    shapley_parts,
    subset_sizes,
    sweep,
    unpacked,
)

METHODS = ("shapley", "relative_weights", "first", "last")
EXACT = 22  # terms: 2^22 subsets take a tenth of a second
EXACT_DRAWS = 17  # terms in each bootstrap replicate
ORDERS, ORDERS_DRAWS = 4000, 200
TOLERANCE = 1e-10  # of an eigenvalue of correlations, or a variance, that is none
LEAVES = 1 << 16  # subsets, of all replicates, held at once: they stay near a core's cache


@dataclass(frozen=True)
class Division:
    """Parts of the explained variance."""

    sizes: tuple[int, ...]
    n_always: int
    parts: np.ndarray  # (p,), of the outcome's variance
    methods: dict[str, np.ndarray]  # method -> (p,) parts
    by_size: np.ndarray  # (p + 1,) mean residual variance of subsets of k terms
    residuals: np.ndarray | None  # (2^p,), None where orders were sampled
    error: np.ndarray  # (p,) Monte-Carlo standard error of `parts`, zero where exact
    orders: np.ndarray | None = None  # (K, p) orders that stand for all in replicates
    shift: np.ndarray | float = 0.0  # (p,) parts less those of the sample by `orders`: an error that replicates share

    @property
    def joint(self) -> float:
        """The part of R² that the terms explain together, beyond the controls."""
        return float(self.by_size[0] - self.by_size[-1])

    def of(self, correlations: np.ndarray) -> np.ndarray:
        """Return the parts (B, p) of replicates from their packed correlations (q, B)."""
        rest = sweep(correlations, self.n_always) if self.n_always else correlations
        if self.orders is not None:
            return (ordered_parts(rest, self.sizes, self.orders).mean(axis=0)).T + self.shift
        return exact_parts(rest, self.sizes).T


def divide(correlations: np.ndarray, *, sizes, n_always: int = 0, seed=None) -> Division:
    """Return the division among terms of `sizes` columns each, from one matrix of packed correlations (q, 1)."""
    rest = sweep(correlations, n_always) if n_always else correlations
    p, sizes, residuals, error = len(sizes), tuple(sizes), None, np.zeros(len(sizes))
    if p <= EXACT:
        residuals = residual_variances(rest, sizes)[:, 0]
        alone, added = first_and_last(residuals)
        methods = {"shapley": shapley_parts(residuals[:, None])[:, 0], "first": alone, "last": added}
        by_size = mean_by_size(residuals)
    else:
        if seed is None:
            many = f"{p} drivers are more than the {EXACT} whose subsets can all be computed"
            raise DataProblem(f"{many}; give a seed for sampled orders, or group drivers into blocks")
        gains = ordered_parts(rest, sizes, orders := sampled_orders(p, n_orders=ORDERS, seed=(seed, 0)))[:, :, 0]
        entered = np.take_along_axis(gains, orders, axis=1).mean(axis=0)
        by_size, error = rest[-1, 0] - np.concatenate([[0.0], np.cumsum(entered)]), order_error(gains)
        first, last = (np.stack([np.roll(np.arange(p), at - i) for i in range(p)]) for at in (0, p - 1))
        alone, added = (np.diag(ordered_parts(rest, sizes, each)[:, :, 0]) for each in (first, last))
        methods = {"shapley": gains.mean(axis=0), "first": alone, "last": added}
    weights = relative_weights(unpacked(as_correlations(rest)))[0] * rest[-1, 0]
    methods["relative_weights"] = np.add.reduceat(weights, np.cumsum((0, *sizes[:-1])))
    found = Division(sizes, n_always, methods["shapley"], {m: methods[m] for m in METHODS}, by_size, residuals, error)
    if p <= EXACT_DRAWS:
        return found
    orders = sampled_orders(p, n_orders=ORDERS_DRAWS, seed=(seed or 0, 1))
    shift = found.parts - ordered_parts(rest, sizes, orders).mean(axis=0)[:, 0]
    return replace(found, orders=orders, shift=shift)


def exact_parts(rest: np.ndarray, sizes) -> np.ndarray:
    """Return the LMG parts (p, B) from packed matrices (q, B), some replicates at a time."""
    out, together = np.empty((len(sizes), rest.shape[1])), max(1, LEAVES >> len(sizes))
    for start in range(0, rest.shape[1], together):
        columns = slice(start, start + together)
        out[:, columns] = shapley_parts(residual_variances(np.ascontiguousarray(rest[:, columns]), sizes))
    return out


def first_and_last(residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what each term explains alone, and what it adds to all others, (p,) each."""
    one = 1 << np.arange(len(residuals).bit_length() - 1)
    return residuals[0] - residuals[one], residuals[len(residuals) - 1 - one] - residuals[-1]


def mean_by_size(residuals: np.ndarray) -> np.ndarray:
    """Return the mean residual variance of the subsets of 0..p terms, (p + 1,)."""
    sizes = subset_sizes(len(residuals).bit_length() - 1)
    return np.bincount(sizes, residuals) / np.bincount(sizes)


def conditional_dominance(residuals: np.ndarray) -> np.ndarray:
    """Return each term's mean gain over the subsets of s others, (p, s) (Azen & Budescu 2003)."""
    p = len(residuals).bit_length() - 1
    cube, sizes = residuals.reshape([2] * p), subset_sizes(p - 1)
    pairs = np.array([comb(p - 1, s) for s in range(p)])
    gains = (cube.take(0, axis=p - 1 - i) - cube.take(1, axis=p - 1 - i) for i in range(p))
    return np.stack([np.bincount(sizes, g.ravel(), minlength=p) / pairs for g in gains])


def relative_weights(matrices: np.ndarray) -> np.ndarray:
    """Return each column's relative weight, (batch, m - 1), from (batch, m, m) correlations with the outcome last.

    R = V D V', L = V D^(1/2) V', b = L^-1 r, weight_j = sum_k L_jk^2 b_k^2 (Johnson 2000), L^-1 generalised.
    """
    among, with_outcome = matrices[:, :-1, :-1], matrices[:, :-1, -1]
    values, vectors = np.linalg.eigh(among)
    usable = values > TOLERANCE * values.shape[-1]
    root = np.sqrt(np.where(usable, values, 0.0))
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=usable)
    loadings = (vectors * root[:, None, :]) @ vectors.transpose(0, 2, 1)
    paths = (vectors * inverse[:, None, :]) @ (vectors.transpose(0, 2, 1) @ with_outcome[:, :, None])
    return (loadings**2 @ paths**2)[:, :, 0] / np.maximum(matrices[:, -1, -1], TOLERANCE)[:, None]


def sampled_orders(p: int, *, n_orders: int, seed) -> np.ndarray:
    """Return about `n_orders` (K, p) orders: random ones, each with its p rotations and their reverses.

    In such a set every term stands at every place twice: the sets agree far better than single orders would.
    """
    rng = np.random.default_rng(seed)
    random = rng.permuted(np.tile(np.arange(p), (max(2, round(n_orders / (2 * p))), 1)), axis=1)
    rotated = np.stack([np.roll(random, k, axis=1) for k in range(p)], axis=1)
    return np.concatenate([rotated, rotated[:, :, ::-1]], axis=1).reshape(-1, p)


def ordered_parts(rest: np.ndarray, sizes, orders) -> np.ndarray:
    """Return what each term adds in each order, (K, p, B): squares in the last row of the reordered Cholesky factor."""
    matrices = unpacked(rest)
    m, starts = matrices.shape[-1], np.cumsum((0, *sizes))
    matrices[:, np.arange(m), np.arange(m)] += 1e-10  # dependent drivers: the later one then gains nothing
    gains = np.empty((len(orders), len(sizes), rest.shape[1]))
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

    On top of k drivers one unrelated to everything gains V_k / (n - k - 1) on average, V_k the mean residual variance
    `by_size` (p + 1,), its LMG part the mean of that over k; it is nearly a chi-square on one degree of freedom.
    """
    k = np.arange(len(by_size))
    mean = float(np.mean(by_size / np.maximum(n - k - 1, 1)))
    return mean, mean * float(stats.chi2.ppf(0.95, 1))


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, 1 for the largest, along the last axis; of equal values the earlier one comes first."""
    return stats.rankdata(-digits.settled(values), method="ordinal", axis=-1).astype(int)


def share_of(parts: np.ndarray) -> np.ndarray:
    """Return parts (..., p) divided by their sum; missing where nothing is explained."""
    total = parts.sum(axis=-1, keepdims=True)
    return np.divide(parts, total, out=np.full_like(parts, np.nan), where=total > 1e-12)
