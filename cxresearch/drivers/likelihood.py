"""Maximum-likelihood fits of every subset of terms, in batches, by Newton's method from the model one term larger.

A model of the outcome offers ``evaluate`` (log-likelihood, score and information for many parameter vectors at once)
and ``rows`` (log-likelihood and score of each respondent at one). The fitted subsets then stand where residual
variances stand in the linear case: 1 - pseudo-R² of each subset.

References
----------
McFadden (1974); Nagelkerke (1991), Biometrika 78, 691; Tjur (2009), The American Statistician 63, 366;
Azen & Traxel (2009), Journal of Educational and Behavioral Statistics 34, 319 (dominance in logistic regression).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch.errors import DataProblem
from cxresearch.inference.shares import subset_sizes

R2 = ("mcfadden", "nagelkerke", "tjur")
STEPS = 60
TOGETHER = 32  # subsets in one product with the replicates' weights
# Of the Newton decrement: adding it to the log-likelihood then leaves an error of third order, below 1e-6; where the
# parameters themselves are read, the last step leaves none.
NEAR, EXACTLY = 1e-3, 1e-10


@dataclass(frozen=True)
class SubsetFits:
    """Every subset's model.

    Attributes
    ----------
    parameters : (2^p, k) array, zero where a term is not in the subset
    loglik : (2^p,) array
    inverse : (2^p, k, k) array, inverse information, zero for what is not in the subset
    """

    parameters: np.ndarray
    loglik: np.ndarray
    inverse: np.ndarray


def fit_subsets(model, members, *, near: float = NEAR) -> SubsetFits:
    """Fit every subset of terms, the largest first and exactly.

    Parameters
    ----------
    model : see the module
        Parameters that belong to no term (intercept, thresholds, controls) are in every subset.
    members : list of p index arrays
        Which parameters belong to each term.
    near : Newton decrement at which a subset's last step is taken.
    """
    p, k = len(members), model.n_parameters
    holds = np.ones((1 << p, k), dtype=bool)
    for i, columns in enumerate(members):
        holds[np.ix_(np.arange(1 << p) >> i & 1 == 0, columns)] = False
    fits = SubsetFits(np.zeros((1 << p, k)), np.zeros(1 << p), np.zeros((1 << p, k, k)))
    full = np.array([(1 << p) - 1])
    _newton(model, fits, full, model.start()[None], holds, EXACTLY)
    for size in range(p - 1, -1, -1):
        subsets = np.flatnonzero(subset_sizes(p) == size)
        _newton(model, fits, subsets, _start(fits, subsets, members), holds, near)
    return fits


def _start(fits, subsets, members) -> np.ndarray:
    """Return each subset's quadratic approximation from the model with its lowest missing term."""
    p = len(members)
    start = np.empty((len(subsets), fits.parameters.shape[1]))
    missing = ~subsets & ((1 << p) - 1)
    lowest = np.log2(missing & -missing).astype(int)
    for i in np.unique(lowest):
        here, columns = np.flatnonzero(lowest == i), members[i]
        parents = subsets[here] | 1 << i
        inverse, value = fits.inverse[parents], fits.parameters[parents]
        pivot = inverse[:, columns[:, None], columns] + 1e-12 * np.eye(len(columns))
        move = np.linalg.solve(pivot, value[:, columns, None])
        start[here] = value - (inverse[:, :, columns] @ move)[:, :, 0]
        start[np.ix_(here, columns)] = 0.0
    return start


def _newton(model, fits, subsets, parameters, holds, near) -> None:
    """Fill in the fits of `subsets`, from `parameters`; a step that lowers the likelihood is halved."""
    inside = holds[subsets]
    parameters = parameters * inside
    loglik, score, information = model.evaluate(parameters)
    open_ = np.arange(len(subsets))
    for _ in range(STEPS):
        inverse = _inverse(information, inside[open_])
        step = (inverse @ (score * inside[open_])[:, :, None])[:, :, 0]
        decrement = np.sum(step * score * inside[open_], axis=1) / 2
        done = decrement < near
        at = subsets[open_[done]]
        fits.parameters[at] = parameters[open_[done]] + step[done]
        fits.loglik[at] = loglik[open_[done]] + decrement[done]
        fits.inverse[at] = inverse[done]
        open_, step = open_[~done], step[~done]
        if not len(open_):
            return
        size = np.ones(len(open_))
        for _ in range(20):
            moved = parameters[open_] + size[:, None] * step
            new, score, information = model.evaluate(moved)
            worse = ~(new >= loglik[open_] - 1e-9)
            if not worse.any():
                break
            size[worse] /= 2
        parameters[open_], loglik[open_] = moved, new
    raise DataProblem(model.diverges)


def _inverse(information, inside) -> np.ndarray:
    both = inside[:, :, None] & inside[:, None, :]
    k = inside.shape[1]
    scale = np.trace(information, axis1=1, axis2=2)[:, None] / k
    filled = np.where(both, information, 0.0)
    filled[:, np.arange(k), np.arange(k)] += np.where(inside, 1e-10 * scale, 1.0)
    return np.where(both, np.linalg.inv(filled), 0.0)


def unexplained(loglik: np.ndarray, null, n, r2: str) -> np.ndarray:
    """Return 1 - pseudo-R² (2^p, ...) from log-likelihoods and that of the model without any column, `null`."""
    if r2 == "mcfadden":
        return loglik / null
    return 1 - (1 - np.exp(2 * (null - loglik) / n)) / (1 - np.exp(2 * null / n))


def null_loglik(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the log-likelihood of answers' own shares under each row of `weights` (B, n), scaled to sum to n."""
    levels, code = np.unique(y, return_inverse=True)
    counts = np.stack([weights[:, code == k].sum(axis=1) for k in range(len(levels))])
    shares = counts / counts.sum(axis=0)
    return weights.shape[1] * np.sum(shares * np.log(np.maximum(shares, 1e-300)), axis=0)


def replicate_logliks(model, fits: SubsetFits, weights: np.ndarray, more=None) -> np.ndarray:
    """Return every subset's maximised log-likelihood under each row of `weights` (B, n), as (2^p, B).

    One Newton step from the sample's fit with the sample's information I: l_w(b) + u_w' I^-1 u_w / 2, u_w the
    replicate's score. The error is of order n^(-1/2) in a log-likelihood of order n. Weights sum to the model's;
    `more` adds what `filled_totals` returns, of rows whose weight is then zero here.
    """
    out = np.empty((len(fits.loglik), len(weights)))
    for start in range(0, len(out), TOGETHER):
        subsets = range(start, min(start + TOGETHER, len(out)))
        rows = [_free_rows(model, fits, s) for s in subsets]
        totals = weights @ np.concatenate([r[0] for r in rows], axis=1)  # one wide product is faster than many
        at = 0
        for s, (columns, inverse) in zip(subsets, rows):
            width = columns.shape[1]
            loglik, score = totals[:, at], totals[:, at + 1 : at + width]
            if more is not None:
                loglik, score = loglik + more[0][:, s], score + more[1][:, s][:, _free(fits, s)]
            out[s] = loglik + np.sum((score @ inverse) * score, axis=1) / 2
            at += width
    return out


def filled_totals(model, fits: SubsetFits, weights: np.ndarray, at, columns) -> tuple[np.ndarray, np.ndarray]:
    """Return log-likelihoods (B, 2^p) and scores (B, 2^p, k) of rows `at` with their own (B, len(at), m) columns."""
    loglik = np.zeros((len(weights), len(fits.loglik)))
    score = np.zeros((*loglik.shape, model.n_parameters))
    for b, w in enumerate(weights[:, at]):
        drawn = w > 0
        if drawn.any():
            mine = model.like(columns[b][drawn], at[drawn], w[drawn])
            loglik[b], score[b] = mine.evaluate(fits.parameters, curvature=False)[:2]
    return loglik, score


def _free(fits, s) -> np.ndarray:
    return np.flatnonzero(np.diagonal(fits.inverse[s]))


def _free_rows(model, fits, s):
    free = _free(fits, s)
    loglik, score = model.rows(fits.parameters[s])
    return np.column_stack([loglik, score[:, free]]), fits.inverse[s][np.ix_(free, free)]
