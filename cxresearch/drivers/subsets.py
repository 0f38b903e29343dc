"""Indices that are linear in the residual variances of an outcome on every subset of its drivers.

References
----------
Azen & Budescu (2003), Psychological Methods 8, 129; Groemping (2006), Journal of Statistical Software 17(1).
"""

from itertools import combinations
from math import comb

import numpy as np

from cxresearch.inference.shares import subset_sizes


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
