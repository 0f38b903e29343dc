"""k-means with many starts.

References
----------
MacQueen (1967); Arthur & Vassilvitskii (2007), k-means++.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import k_means
from sklearn.exceptions import ConvergenceWarning

from cxresearch.segments.mixture import Mixture


@dataclass(frozen=True)
class Centres:
    """The frozen rule of k-means: the nearest of `centres`, (k, p).

    k-means has no probabilities; `posterior` is an approximation by Gaussian segments with the pooled `covariance`,
    (p, p), within segments and their `shares`, (k,).
    """

    centres: np.ndarray
    covariance: np.ndarray
    shares: np.ndarray

    def assign(self, x: np.ndarray) -> np.ndarray:
        """Return the index of the nearest centre for each row."""
        return np.argmin(np.square(self.centres).sum(axis=1) - 2 * x @ self.centres.T, axis=1)

    def posterior(self, x: np.ndarray) -> np.ndarray:
        """Return (n, k) approximate probabilities of belonging."""
        covariances = np.broadcast_to(self.covariance, (len(self.shares), *self.covariance.shape))
        return Mixture(self.shares, self.centres, covariances, "tied").posterior(x)


def one_fit(
    x: np.ndarray, k: int, *, seed: int, n_starts: int = 1, weights=None, start=None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return centres (k, p), labels (n,) and the within sum of squares of the best of `n_starts`, or from `start`."""
    init, n_init = ("k-means++", n_starts) if start is None else (start, 1)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # fewer distinct rows than k: seen as an empty segment later
        # To the end: what stops short of it depends on the last digits of the centres.
        centres, labels, within = k_means(
            x, k, sample_weight=weights, init=init, n_init=n_init, random_state=seed, tol=0, max_iter=1000
        )
    return centres, labels, float(within)


def rule_of(x: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> Centres:
    """Return the frozen rule of a partition."""
    residuals = x - centres[labels]
    covariance = residuals.T @ residuals / max(len(x) - len(centres), 1) + 1e-6 * np.eye(x.shape[1])
    return Centres(centres, covariance, np.maximum(np.bincount(labels, minlength=len(centres)), 0.5) / len(x))
