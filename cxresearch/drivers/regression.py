"""Slopes of a linear model in the outcome's points, for the sample and its replicates."""

from dataclasses import dataclass

import numpy as np

from cxresearch.drivers.resampling import weight_batches
from cxresearch.drivers.terms import Terms
from cxresearch.inference.shares import Moments, em_moments, scaling, unpacked


@dataclass(frozen=True)
class Slopes:
    """Least-squares slopes of the outcome on (n, m) columns.

    Attributes
    ----------
    estimate : (m,) array, outcome points per unit of the column
    drawn : (B, m) array, the same in bootstrap replicates
    """

    estimate: np.ndarray
    drawn: np.ndarray
    moments: Moments


def fit_slopes(columns: np.ndarray, terms: Terms, *, n_boot: int, seed) -> Slopes:
    """Return slopes of the last of (n, m + 1) `columns` on the others, with the design of `terms`.

    Skipped answers are handled by EM.
    """
    moments = em_moments(columns, terms.weights)
    spread = scaling(columns, terms.weights)[1]
    scale = spread[-1] / spread[:-1]
    done = [np.empty((0, columns.shape[1] - 1))]
    for weights in weight_batches(terms.weights, n_boot=n_boot, seed=seed, **terms.design):
        done.append(_solve(moments.covariances(weights)) * scale)
    return Slopes(_solve(moments.covariances())[0] * scale, np.concatenate(done), moments)


def _solve(covariances) -> np.ndarray:
    matrices = unpacked(covariances)
    among = matrices[:, :-1, :-1] + 1e-10 * np.eye(matrices.shape[1] - 1)
    return np.linalg.solve(among, matrices[:, :-1, -1:])[:, :, 0]
