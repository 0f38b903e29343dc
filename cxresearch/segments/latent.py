"""Latent classes for categorical items, by EM over distinct answer patterns.

References
----------
Lazarsfeld & Henry (1968), *Latent Structure Analysis*; Dempster, Laird & Rubin (1977), *JRSS B* 39; Linzer & Lewis
(2011), poLCA, *J. Stat. Software* 42 (the parametrisation and BIC used here).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch import digits
from cxresearch.segments.methods import Fit, in_threads, largest_first, seeds_of

MOST_STEPS = 5000
TOLERANCE = 1e-9  # gain in log-likelihood below which EM has converged
CLOSE = 1e-10


@dataclass(frozen=True)
class LatentClasses:
    """Shares (k,) and, for each class, the probabilities of every category of every item, (k, m), items side by side."""

    weights_: np.ndarray
    probabilities: np.ndarray
    levels: tuple[int, ...]

    @property
    def n_parameters(self) -> int:
        return len(self.weights_) - 1 + len(self.weights_) * (sum(self.levels) - len(self.levels))

    def log_joint(self, ones: np.ndarray) -> np.ndarray:
        """Return (n, k) log of share times probability of the answers, given as `indicators`."""
        return ones @ np.log(np.maximum(self.probabilities, 1e-300)).T + np.log(np.maximum(self.weights_, 1e-300))

    def predict_proba(self, codes: np.ndarray) -> np.ndarray:
        """Return (n, k) class probabilities."""
        return _normalised(self.log_joint(indicators(codes, self.levels)))[0]

    def predict(self, codes: np.ndarray) -> np.ndarray:
        return np.argmax(self.log_joint(indicators(codes, self.levels)), axis=1)


class LatentClassModel:
    """Latent classes; `levels` is how many categories each item has. Refits take the best of five starts and the fitted classes."""

    def __init__(self, levels: tuple[int, ...]):
        self.levels = levels

    def fit(self, x, k, *, n_starts, seed) -> Fit:
        rngs = [np.random.default_rng(s) for s in seeds_of(seed, n_starts)]
        fits = in_threads(lambda rng: fit_latent(x, k, levels=self.levels, rng=rng), rngs)
        start, highest = fits[digits.descending([f[1] for f in fits])[0]]
        reached = sum(abs(other - highest) < 1e-3 for _, other in fits)
        best, log_likelihood = fit_latent(x, k, levels=self.levels, start=start, closely=True)
        order, labels = largest_first(best.predict(x), k)
        rule = LatentClasses(best.weights_[order], best.probabilities[order], self.levels)
        bic = 2 * log_likelihood - best.n_parameters * np.log(len(x))
        return Fit(rule, rule, labels, reached, "latent classes", log_likelihood=log_likelihood, bic=bic)

    def refit(self, fit, x, counts, rng) -> LatentClasses:
        options = {"levels": self.levels, "rng": rng, "weights": counts}
        return max((fit_latent(x, fit.k, **options, start=s) for s in (fit.rule, *[None] * 5)), key=lambda f: f[1])[0]

    def quick(self, fit, x, seed) -> LatentClasses:
        rng = np.random.default_rng(seed)
        return max((fit_latent(x, fit.k, levels=self.levels, rng=rng) for _ in range(3)), key=lambda f: f[1])[0]


def indicators(codes: np.ndarray, levels: tuple[int, ...]) -> np.ndarray:
    """Return (n, m) zeros and ones for the categories of (n, p) integer codes."""
    return np.hstack([np.eye(level)[codes[:, item].astype(int)] for item, level in enumerate(levels)])


def fit_latent(
    codes: np.ndarray, k: int, *, levels, rng=None, weights=None, start: LatentClasses | None = None, closely=False
) -> tuple[LatentClasses, float]:
    """Return classes and log-likelihood from one start: random class memberships, or `start`.

    `closely` goes on until no membership moves by more than 1e-10. Rows that answer alike are taken together, so that
    cost grows with the number of distinct patterns.
    """
    weights = np.ones(len(codes)) if weights is None else weights
    patterns, where = np.unique(codes, axis=0, return_inverse=True)
    counts = np.bincount(where.ravel(), weights=weights)
    ones = indicators(patterns, levels)
    member = rng.dirichlet(np.ones(k), len(patterns)) if start is None else start.predict_proba(patterns)
    before = -np.inf
    for _ in range(MOST_STEPS):
        weighted = member * counts[:, None]
        size = np.maximum(weighted.sum(axis=0), 1e-300)
        classes = LatentClasses(size / size.sum(), (weighted.T @ ones) / size[:, None], tuple(levels))
        old, (member, log_density) = member, _normalised(classes.log_joint(ones))
        now = float(counts @ log_density)
        gained = now - before >= TOLERANCE * max(1.0, abs(now)) ** 0.5
        if not gained and not (closely and np.abs(member - old).max() > CLOSE):
            break
        before = now
    return classes, now


def _normalised(log_joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    top = log_joint.max(axis=1, keepdims=True)
    joint = np.exp(log_joint - top)
    total = joint.sum(axis=1, keepdims=True)
    return joint / total, (top + np.log(total))[:, 0]
