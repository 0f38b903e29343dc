"""The predicted difference per customer and its bootstrap-t: everything refitted, and its error too, in each replicate.

The many intercepts of a Poisson fit (one of all rows, or one a customer) have a closed form given its slopes and are
concentrated out; rows that share their design and intercept are one, since sums are sufficient. The replicates are the
survey's own (`Sample.replicates`).

References
----------
Hall (1988), Ann. Statist. 16:927-953 (bootstrap-t); Cameron, Gelbach & Miller (2008), Rev. Econ. Stat. 90:414-427
(resampling of clusters); Hausman, Hall & Griliches (1984), Econometrica 52:909-938 (concentrated intercepts); Wong et
al. (2021), *You only compress once* (sums per cell).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from cxresearch.loyalty.cases import Cases
from cxresearch.loyalty.glm import LARGEST, solve_many

AT_ONCE = 2e6  # numbers of a block of replicates that are held at once
CLOSE = 1e-10


@dataclass(frozen=True)
class Resampled:
    """The difference per customer, its error, and those of every replicate that could be fitted."""

    estimate: float
    error: float
    draws: np.ndarray  # (b,)
    errors: np.ndarray  # (b,)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the symmetric bootstrap-t interval: it covered best with zeros, skew and clusters."""
        reach = float(np.quantile(np.abs(self.draws - self.estimate) / self.errors, confidence)) * self.error
        return self.estimate - reach, self.estimate + reach


def resample(s: Cases, *, points: float, n_boot: int, seed: int) -> Resampled:
    """Return the mean predicted difference of scores raised by `points` (capped at the top) and its replicates."""
    problem = problem_of(s, points)
    start = problem.slopes(s.weights[None], np.zeros(problem.X.shape[1]))[0]
    estimate, error = (float(v[0]) for v in problem.refit(s.weights[None], start))
    size = max(1, int(AT_ONCE / len(s.y)))
    found = [
        problem.refit(batch[at : at + size], start)
        for batch in s.drawn.replicates(n_boot, seed=seed)
        for at in range(0, len(batch), size)
    ]
    draws, errors = (np.concatenate(v) for v in zip(*found))
    good = np.isfinite(draws) & (errors > 0)
    return Resampled(estimate, error, draws[good], errors[good])


@dataclass(frozen=True)
class Problem:
    """What each refit fits: the distinct rows of design and intercept, in the order of their intercepts."""

    X: np.ndarray  # (u, p) without intercepts
    raised: np.ndarray  # (u, p), scores raised
    group: np.ndarray  # (u,) which intercept, ascending
    sums: sparse.csr_array  # (n, 2u): a row's weight to its distinct row, and its weight times y
    of_unit: tuple  # (m, u) sparse each: the same two, original weights, summed by what is drawn as a whole
    first: np.ndarray  # (m,) a row of each unit
    weights: np.ndarray  # (n,) original

    def summed(self, weights) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of weights and of weighted y by distinct row, (b, u) both."""
        both = weights @ self.sums
        return both[:, : len(self.X)], both[:, len(self.X) :]

    def _by_group(self, rows) -> np.ndarray:
        return np.add.reduceat(rows, np.flatnonzero(np.diff(self.group, prepend=-1)), axis=1)

    def _state(self, coef, W, S):
        """Return means (b, u), weighted means of X by intercept (b, g, p), and the information (b, p, p) at `coef`."""
        raw = np.exp(np.clip(coef @ self.X.T, -LARGEST, LARGEST))
        pull = W * raw
        base, spent = np.maximum(self._by_group(pull), 1e-300), self._by_group(S)
        mu = raw * (spent / base)[:, self.group]
        means = np.stack([self._by_group(pull * column) for column in self.X.T], axis=2) / base[:, :, None]
        products = (self.X[:, :, None] * self.X[:, None, :]).reshape(len(self.X), -1)
        H = ((W * mu) @ products).reshape(len(W), *means.shape[2:], -1)
        return mu, means, H - means.transpose(0, 2, 1) @ (spent[:, :, None] * means)

    def slopes(self, weights, start, most: int = 40) -> np.ndarray:
        """Return the slopes (b, p) of each refit by Newton's method; missing where it does not converge."""
        W, S = self.summed(weights)
        coef, width = np.tile(start, (len(W), 1)), np.abs(self.X).max(axis=0)
        with np.errstate(all="ignore"):
            for _ in range(most):
                mu, _, H = self._state(coef, W, S)
                step = solve_many(H, (S - W * mu) @ self.X)
                step = step / np.maximum(np.abs(step) @ width / 3, 1.0)[:, None]  # far from the solution, short of it
                coef = coef + step
                if not np.nanmax(np.abs(step) @ width, initial=0.0) >= CLOSE:
                    break
        coef[~(np.abs(step) @ width < 1e-5)] = np.nan
        return coef

    def refit(self, weights, start) -> tuple[np.ndarray, np.ndarray]:
        """Return the difference and its sandwich error, (b,) both, for the weights (b, n) of replicates."""
        (W, S), coef = self.summed(weights), self.slopes(weights, start)
        mu, means, H = self._state(coef, W, S)
        ratio = np.exp(coef @ (self.raised - self.X).T)
        total = W.sum(axis=1, keepdims=True)
        gain, tilt = mu * (ratio - 1), W * mu * ratio
        difference = np.sum(W * gain, axis=1, keepdims=True) / total
        level = self._by_group(W * gain) / np.maximum(self._by_group(W * mu), 1e-300) / total
        slope = tilt @ self.raised - (self._by_group(tilt)[:, None, :] @ means)[:, 0]
        v = solve_many(H, slope / total)
        reach = v @ self.X.T + (level - (means @ v[:, :, None])[:, :, 0])[:, self.group]
        mass, spent = self.of_unit
        pull = (mass @ ((gain - difference) / total - reach * mu).T + spent @ reach.T).T  # (b, m)
        times = weights[:, self.first] / self.weights[self.first]
        return difference[:, 0], np.sqrt(np.sum(times * np.square(pull), axis=1))


def problem_of(s: Cases, points: float) -> Problem:
    """Return the problem of `s`: one intercept of all rows, of each period, or of each customer beside period columns."""
    up = np.minimum(s.score + points, np.maximum(s.scale.top, s.score))
    columns = [s.Z]
    if len(s.effects) == 2:
        columns.append((s.effects[1][:, None] == np.arange(1, s.effects[1].max() + 1)).astype(float))
    group = s.effects[0] if s.effects else np.zeros(len(s.y), dtype=int)
    key = np.column_stack([group, s.score, *columns])
    cells, code = np.unique(key, axis=0, return_inverse=True)
    code, n, u = code.ravel(), len(s.y), len(cells)
    place = np.searchsorted(np.unique(group), cells[:, 0])
    raised = cells[:, 1:].copy()
    raised[code, 0] = up
    at, unit = np.arange(n), np.unique(s.drawn.unit_of_row, return_inverse=True)[1].ravel()
    sums = sparse.csr_array(
        (np.concatenate([np.ones(n), s.y]), (np.tile(at, 2), np.concatenate([code, u + code]))), shape=(n, 2 * u)
    )
    of_unit = tuple(
        sparse.csr_array((v, (unit, code)), shape=(unit.max() + 1, u)) for v in (s.weights, s.weights * s.y)
    )
    first = np.unique(unit, return_index=True)[1]
    return Problem(cells[:, 1:], raised, place, sums, of_unit, first, s.weights)
