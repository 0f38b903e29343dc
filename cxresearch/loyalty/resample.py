"""The predicted difference per customer and its bootstrap-t: everything refitted, and its error too, in each replicate.

The many intercepts of a Poisson fit (one of all rows, or one a customer) have a closed form given its slopes and are
concentrated out; rows that share their design and intercept are one, since sums are sufficient. The replicates are the
survey's own (`Sample.replicates`).
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from cxresearch.loyalty.cases import Cases
from cxresearch.loyalty.glm import LARGEST

AT_ONCE = 2e6  # numbers of a block of replicates that are held at once
CLOSE, MOST = 1e-10, 40  # when a refit has converged, and how many steps it may take


class Resampled(NamedTuple):
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
    problem = Problem(s, points)
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


class Problem:
    """What each refit fits: distinct rows by intercept, one of all, of each period, or of each customer beside periods."""

    def __init__(self, s: Cases, points: float):
        periods = [code[:, None] == np.arange(1, code.max() + 1) for code in s.effects[1:]]
        group, n = s.effects[0] if s.effects else np.zeros(len(s.y), dtype=int), len(s.y)
        key = np.column_stack([group, s.score, s.Z, *periods]).astype(float)
        cells, code = np.unique(key, axis=0, return_inverse=True)
        code, u, at = code.ravel(), len(cells), np.arange(n)
        self.X, self.raised = cells[:, 1:], cells[:, 1:].copy()  # (u, p) without intercepts, and with scores raised
        self.raised[code, 0] = np.minimum(s.score + points, np.maximum(s.scale.top, s.score))
        self.group = np.searchsorted(np.unique(group), cells[:, 0])  # (u,) which intercept, ascending
        both = np.concatenate([np.ones(n), s.y]), (np.tile(at, 2), np.concatenate([code, u + code]))
        self.sums = sparse.csr_array(both, shape=(n, 2 * u))  # a row's weight to its distinct row, and weight times y
        # (m, u) each: the same two, original weights, summed by what is drawn as a whole, and (m,) a row of each unit
        _, self.first, unit = np.unique(s.drawn.unit_of_row, return_index=True, return_inverse=True)
        by_unit = lambda v: sparse.csr_array((v, (unit.ravel(), code)), shape=(len(self.first), u))  # noqa: E731
        self.mass, self.spent, self.weights = by_unit(s.weights), by_unit(s.weights * s.y), s.weights

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

    def slopes(self, weights, start) -> np.ndarray:
        """Return the slopes (b, p) of each refit by Newton's method; missing where it does not converge."""
        W, S = np.hsplit(weights @ self.sums, 2)
        coef, width = np.tile(start, (len(W), 1)), np.abs(self.X).max(axis=0)
        with np.errstate(all="ignore"):
            for _ in range(MOST):
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
        (W, S), coef = np.hsplit(weights @ self.sums, 2), self.slopes(weights, start)
        mu, means, H = self._state(coef, W, S)
        ratio = np.exp(coef @ (self.raised - self.X).T)
        total = W.sum(axis=1, keepdims=True)
        gain, tilt = mu * (ratio - 1), W * mu * ratio
        difference = np.sum(W * gain, axis=1, keepdims=True) / total
        level = self._by_group(W * gain) / np.maximum(self._by_group(W * mu), 1e-300) / total
        slope = tilt @ self.raised - (self._by_group(tilt)[:, None, :] @ means)[:, 0]
        v = solve_many(H, slope / total)
        reach = v @ self.X.T + (level - (means @ v[:, :, None])[:, :, 0])[:, self.group]
        pull = (self.mass @ ((gain - difference) / total - reach * mu).T + self.spent @ reach.T).T  # (b, m)
        times = weights[:, self.first] / self.weights[self.first]
        return difference[:, 0], np.sqrt(np.sum(times * np.square(pull), axis=1))


def solve_many(H, right) -> np.ndarray:
    """Return the solutions (b, p) of b symmetric systems H (b, p, p); missing where H is not finite."""
    finite = np.isfinite(H).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
    H, right = np.where(finite[:, None, None], H, np.eye(H.shape[1])), right[:, :, None]
    try:
        out = np.linalg.solve(H, right)[:, :, 0]
    except np.linalg.LinAlgError:
        out = (np.linalg.pinv(H, hermitian=True) @ right)[:, :, 0]
    return np.where(finite[:, None], out, np.nan)
