"""Halo: do the drivers go with the outcome by more than what they all have in common?

References
----------
Thorndike (1920), Journal of Applied Psychology 4, 25; Harman & Jones (1966), Psychometrika 31, 351 (minres).
"""

import numpy as np
from scipy import stats

ROUNDS = 100


def one_factor_loadings(correlations: np.ndarray) -> np.ndarray:
    """Return the loadings (batch, p) of one common factor from (batch, p, p) correlations, by least squares.

    Each loading in turn is the regression of its off-diagonal correlations on the other loadings (minres).
    """
    off = correlations * (1 - np.eye(correlations.shape[-1]))
    loading = np.linalg.eigh(correlations)[1][:, :, -1]
    loading = loading * np.sqrt(np.maximum((loading[:, None] @ off @ loading[:, :, None])[:, :, 0], 1e-6))
    for _ in range(ROUNDS):
        others = np.maximum(np.sum(loading**2, axis=1, keepdims=True) - loading**2, 1e-9)
        loading = (loading + (off @ loading[:, :, None])[:, :, 0] / others) / 2
    return loading


def common_only_test(matrices: np.ndarray, drawn: np.ndarray, df: float) -> tuple[float, float]:
    """Return F and p of "the outcome's correlations with the drivers are proportional to their loadings".

    If one general impression is all that ratings and outcome share, cov(x_j, y) = k loading_j for all j. The
    departures d from that line, k by least squares, have the bootstrap covariance C; d' C^-1 d / (p - 1) is
    compared with F(p - 1, df).

    Parameters
    ----------
    matrices : (1, p + 1, p + 1) array
        Correlations of the drivers and, last, the outcome.
    drawn : (B, p + 1, p + 1) array
        The same in bootstrap replicates.
    df : degrees of freedom of the design.
    """
    # Departures are orthogonal to the loadings: k = p - 1 directions are free.
    free = np.linalg.svd(one_factor_loadings(matrices[:, :-1, :-1]))[2][1:]
    departures, spread = free @ _departures(matrices)[0], np.atleast_2d(np.cov(free @ _departures(drawn).T))
    k = len(departures)
    statistic = float(departures @ np.linalg.pinv(spread, hermitian=True, rcond=1e-8) @ departures)
    left = max(df - k + 1, 1.0)
    value = statistic * left / (k * max(df, 1.0))
    return value, float(stats.f.sf(value, k, left))


def _departures(matrices) -> np.ndarray:
    loadings, with_outcome = one_factor_loadings(matrices[:, :-1, :-1]), matrices[:, :-1, -1]
    scale = np.sum(loadings * with_outcome, axis=1) / np.maximum(np.sum(loadings**2, axis=1), 1e-12)
    return with_outcome - scale[:, None] * loadings
