"""The predicted difference per customer and its bootstrap-t: everything refitted, and its error too, in each resample.

References
----------
Hall (1988), Ann. Statist. 16:927-953 (bootstrap-t); Cameron, Gelbach & Miller (2008), Rev. Econ. Stat. 90:414-427
(resampling of clusters).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch.errors import DataProblem
from cxresearch.inference import bootstrap_counts
from cxresearch.loyalty.design import Sample
from cxresearch.loyalty.models import fit_within, log_link, solve_glm, solve_poisson_cells

MOST_CELLS = 200  # distinct rows of score and controls up to which refits go by cell, not by row
MOST_NUMBERS = 2e7  # of units times cells that are held at once
BLOCK = 50


@dataclass(frozen=True)
class Problem:
    """What each resample fits, as arrays."""

    X: np.ndarray  # (n, p)
    raised: np.ndarray  # (n, p), scores raised
    y: np.ndarray  # (n,)
    weights: np.ndarray  # (n,)
    unit: np.ndarray  # (n,) code of what is resampled as a whole
    effects: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Resampled:
    """The difference per customer, its error, and those of every resample that could be fitted."""

    estimate: float
    error: float
    draws: np.ndarray  # (b,)
    errors: np.ndarray  # (b,)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the symmetric bootstrap-t interval: it covered best with zeros, skew and clusters (60: 94 %)."""
        reach = float(np.quantile(np.abs(self.draws - self.estimate) / self.errors, confidence)) * self.error
        return self.estimate - reach, self.estimate + reach


def resample(s: Sample, *, points: float, n_boot: int, seed: int) -> Resampled:
    """Return the mean predicted difference of scores raised by `points` (capped at the top) and its resamples."""
    raised = s.X("linear", score=np.minimum(s.score + points, np.maximum(s.scale.top, s.score)))
    cluster = s.sampling.clusters[0] if s.sampling.clusters else None
    unit = np.arange(s.n) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    problem = Problem(s.X("linear"), raised, s.y, s.weights, unit, s.effects)
    if s.effects:
        start = fit_within(problem.X, s.y, s.weights, s.effects, log_link(1.0)).eta
    else:
        start = solve_glm(problem.X, s.y, s.weights, log_link(1.0))
    refit = _refitter(problem, start)
    estimate, error = (float(v[0]) for v in refit(np.ones((1, s.n))))
    rng, found = np.random.default_rng(seed), []
    for block in range(0, n_boot, BLOCK):
        size = min(BLOCK, n_boot - block)
        found.append(refit(bootstrap_counts(s.n, n_boot=size, rng=rng, strata=s.sampling.strata, cluster=cluster)))
    draws, errors = (np.concatenate(v) for v in zip(*found))
    good = np.isfinite(draws) & (errors > 0)
    return Resampled(estimate, error, draws[good], errors[good])


def _refitter(p: Problem, start):
    """Return the function from counts (b, n) to differences and errors (b,) each."""
    if p.effects:
        return lambda counts: _row_by_row(counts, lambda c: _within(p, c, start))
    cells, first, code = np.unique(p.X, axis=0, return_index=True, return_inverse=True)
    if len(cells) > MOST_CELLS or len(cells) * (p.unit.max() + 1) > MOST_NUMBERS:
        return lambda counts: _row_by_row(counts, lambda c: _rows(p, c, start))
    return _on_cells(p, cells, p.raised[first], code.ravel(), start)


def _row_by_row(counts, one) -> tuple[np.ndarray, np.ndarray]:
    found = np.array([one(c) for c in counts])
    return found[:, 0], found[:, 1]


def _on_cells(p: Problem, cells, raised, code, start):
    u, k = len(cells), int(p.unit.max()) + 1
    mass = np.bincount(p.unit * u + code, p.weights, minlength=k * u).reshape(k, u)  # by unit and cell
    sums = np.bincount(p.unit * u + code, p.weights * p.y, minlength=k * u).reshape(k, u)
    first_row = np.unique(p.unit, return_index=True)[1]
    products = (cells[:, :, None] * cells[:, None, :]).reshape(u, -1)

    def refit(counts):
        drawn = counts[:, first_row]
        W, S = drawn @ mass, drawn @ sums
        coef = solve_poisson_cells(cells, W, S, start)
        mu, up = np.exp(coef @ cells.T), np.exp(coef @ raised.T)
        total, gain = W.sum(axis=1, keepdims=True), up - mu
        difference = np.sum(W * gain, axis=1, keepdims=True) / total
        slope = ((W * up) @ raised - (W * mu) @ cells) / total
        H = ((W * mu) @ products).reshape(len(W), cells.shape[1], -1)
        reach = np.nan_to_num(np.linalg.pinv(np.nan_to_num(H), hermitian=True) @ slope[:, :, None])[:, :, 0] @ cells.T
        influence = reach @ sums.T + ((gain - difference) / total - reach * mu) @ mass.T  # (b, units)
        return difference[:, 0], np.sqrt(np.sum(drawn * np.square(influence), axis=1))

    return refit


def _rows(p: Problem, counts, start) -> tuple[float, float]:
    w = counts * p.weights
    try:
        coef = solve_glm(p.X, p.y, w, log_link(1.0), start=start, tolerance=1e-7)
    except DataProblem:
        return np.nan, np.nan
    mu, up, share = np.exp(p.X @ coef), np.exp(p.raised @ coef), w / w.sum()
    difference = share @ (up - mu)
    slope = (share * up) @ p.raised - (share * mu) @ p.X
    reach = p.X @ np.linalg.lstsq(p.X.T @ ((w * mu)[:, None] * p.X), slope, rcond=None)[0]
    rows = p.weights * (reach * (p.y - mu) + (up - mu - difference) / w.sum())
    return difference, _error(p, rows, counts)


def _within(p: Problem, counts, start) -> tuple[float, float]:
    w = counts * p.weights
    try:
        fit = fit_within(p.X, p.y, w, p.effects, log_link(1.0), start=start, tolerance=1e-6)
    except DataProblem:
        return np.nan, np.nan
    mu, up, share = fit.mu, np.exp(fit.eta + (p.raised - p.X) @ fit.coef), w / w.sum()
    difference = share @ (up - mu)
    slope = (share * up) @ p.raised - (share * mu) @ p.X
    rows = fit.influence @ slope + share * (up - mu - difference)
    return difference, _error(p, rows / np.maximum(counts, 1e-300) * (counts > 0), counts)


def _error(p: Problem, rows, counts) -> float:
    by_unit = np.bincount(p.unit, rows)
    drawn = counts[np.unique(p.unit, return_index=True)[1]]
    return float(np.sqrt(drawn @ np.square(by_unit)))
