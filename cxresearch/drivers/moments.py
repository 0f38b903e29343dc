"""Weighted moments: one matrix product of weights with pair products gives every replicate's correlations."""

from dataclasses import dataclass

import numpy as np

from cxresearch.drivers.subsets import TOLERANCE, order_of


@dataclass(frozen=True)
class Moments:
    """Means and covariances as weighted means of one row of products per respondent.

    Attributes
    ----------
    rows : (n, q + m) array
        Per respondent the packed products of the m standardised columns, then the columns. With missing answers
        these are expectations, corrected so that weighted means are the estimates to first order.
    weights : (n,) array
    """

    rows: np.ndarray
    weights: np.ndarray
    n_columns: int

    def covariances(self, weights=None) -> np.ndarray:
        """Return packed covariances (q, B) of the columns in the sample's standard deviations."""
        weights = self.weights[None] if weights is None else weights
        means = (weights @ self.rows / weights.sum(axis=1, keepdims=True)).T
        return means[: -self.n_columns] - _outer(means[-self.n_columns :])

    def correlations(self, weights=None) -> np.ndarray:
        """Return packed correlations (q, B) for each row of `weights` (B, n), or for the survey's own weights.

        A column without variance has correlation zero with all, itself included.
        """
        return as_correlations(self.covariances(weights))


def as_correlations(covariance: np.ndarray) -> np.ndarray:
    """Return packed (q, B) covariances of columns standardised in the whole sample, scaled to unit variance."""
    m = order_of(covariance)
    variance = covariance[diagonal(m)]
    scale = np.divide(
        1.0, np.sqrt(np.maximum(variance, TOLERANCE)), out=np.zeros_like(variance), where=variance > TOLERANCE
    )
    return covariance * _outer(scale)


def diagonal(m: int) -> np.ndarray:
    """Return the places of the variances in a packed triangle of m columns."""
    rows, columns = np.triu_indices(m)
    return np.flatnonzero(rows == columns)


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
    z[np.abs(z) < 1e-12] = 0.0
    return z


def complete_moments(columns: np.ndarray, weights: np.ndarray) -> Moments:
    """Return the moments of (n, m) columns without missing answers."""
    z = standardised(columns, weights)
    rows, others = np.triu_indices(z.shape[1])
    return Moments(np.concatenate([z[:, rows] * z[:, others], z], axis=1), weights, z.shape[1])
