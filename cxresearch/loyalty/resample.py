"""The predicted difference per customer and its bootstrap-t: everything refitted, and its error too, in each resample.

References
----------
Hall (1988), Ann. Statist. 16:927-953 (bootstrap-t); Cameron, Gelbach & Miller (2008), Rev. Econ. Stat. 90:414-427
(resampling of clusters).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch.loyalty.design import Sample
from cxresearch.loyalty.models import fit_within, log_link, solve_glm
from cxresearch.loyalty.refits import Problem, on_cells, on_rows, within_customers

MOST_CELLS = 200  # distinct rows of score and controls up to which refits go by cell, not by row
MOST_NUMBERS = 2e7  # of units times cells that are held at once
AT_ONCE = 1e5  # rows of resamples that are held at once


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
    cluster = s.sampling.clusters[0] if s.sampling.clusters else np.arange(s.n)
    unit = np.unique(cluster, return_inverse=True)[1].ravel()
    refit = _refitter(s, unit, points)
    strata = np.zeros(s.n, dtype=int) if s.sampling.strata is None else s.sampling.strata
    units = [np.unique(unit[strata == g]) for g in np.unique(strata)]
    estimate, error = (float(v[0]) for v in refit(np.concatenate(units)[None]))
    rng, found = np.random.default_rng(seed), []
    size = int(np.clip(AT_ONCE / s.n, 1, 200))
    for block in range(0, n_boot, size):
        found.append(refit(draw(units, min(size, n_boot - block), rng)))
    draws, errors = (np.concatenate(v) for v in zip(*found))
    good = np.isfinite(draws) & (errors > 0)
    return Resampled(estimate, error, draws[good], errors[good])


def draw(units, n_boot: int, rng) -> np.ndarray:
    """Return (n_boot, k) units drawn with replacement, as many as there are from each stratum of `units`."""
    return np.concatenate([members[rng.integers(0, len(members), (n_boot, len(members)))] for members in units], axis=1)


def _refitter(s: Sample, unit, points: float):
    up = np.minimum(s.score + points, np.maximum(s.scale.top, s.score))
    now, raised = s.X("linear"), s.X("linear", score=up)
    if s.effects:  # periods, the last of the effects, are few: columns
        periods = (s.effects[-1][:, None] == np.arange(len(s.effects) - 1, s.effects[-1].max() + 1)).astype(float)
        now, raised = np.column_stack([now, periods]), np.column_stack([raised, periods])
    if len(s.effects) == 2:
        slopes = fit_within(s.X("linear"), s.y, s.weights, s.effects, log_link(1.0)).coef
        start = np.concatenate([slopes, np.zeros(now.shape[1] - len(slopes))])
        return within_customers(Problem(now, raised, s.y, s.weights, unit, start), s.effects[0])
    p = Problem(now, raised, s.y, s.weights, unit, solve_glm(now, s.y, s.weights, log_link(1.0)))
    cells, first, code = np.unique(now, axis=0, return_index=True, return_inverse=True)
    few = len(cells) <= MOST_CELLS and len(cells) * p.n_units <= MOST_NUMBERS
    return on_cells(p, cells, first, code.ravel()) if few else on_rows(p)
