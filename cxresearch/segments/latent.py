"""Latent classes for categorical items, by EM.

References
----------
Lazarsfeld & Henry (1968), *Latent Structure Analysis*; Dempster, Laird & Rubin (1977), *JRSS B* 39; Linzer & Lewis
(2011), poLCA, *J. Stat. Software* 42 (the parametrisation and BIC used here).
"""

from dataclasses import dataclass

import numpy as np

MOST_STEPS = 5000
TOLERANCE = 1e-9  # gain in log-likelihood below which EM has converged
CLOSE = 1e-10


@dataclass(frozen=True)
class LatentClasses:
    """Shares (k,) and, for each class, the probabilities of every category of every item, (k, m), items side by side."""

    shares: np.ndarray
    probabilities: np.ndarray
    levels: tuple[int, ...]

    @property
    def n_parameters(self) -> int:
        return len(self.shares) - 1 + len(self.shares) * (sum(self.levels) - len(self.levels))

    def log_joint(self, codes: np.ndarray) -> np.ndarray:
        """Return (n, k) log of share times probability of the answers."""
        with np.errstate(divide="ignore"):
            return indicators(codes, self.levels) @ _finite_log(self.probabilities).T + _finite_log(self.shares)

    def posterior(self, codes: np.ndarray) -> np.ndarray:
        """Return (n, k) class probabilities."""
        return _normalised(self.log_joint(codes))[0]

    def assign(self, codes: np.ndarray) -> np.ndarray:
        return np.argmax(self.log_joint(codes), axis=1)

    def reordered(self, order: np.ndarray) -> "LatentClasses":
        return LatentClasses(self.shares[order], self.probabilities[order], self.levels)


def indicators(codes: np.ndarray, levels: tuple[int, ...]) -> np.ndarray:
    """Return (n, m) zeros and ones for the categories of (n, p) integer codes."""
    out = np.zeros((len(codes), sum(levels)))
    starts = np.cumsum((0, *levels[:-1]))
    for item, start in enumerate(starts):
        out[np.arange(len(codes)), start + codes[:, item]] = 1
    return out


def fit_latent(
    codes: np.ndarray, k: int, *, levels, rng, weights=None, start: LatentClasses | None = None, closely=False
) -> tuple[LatentClasses, float]:
    """Return classes and log-likelihood from one start: random class memberships, or `start`.

    `closely` goes on until no membership moves by more than 1e-10.

    Rows that answer alike are taken together, so that cost grows with the number of distinct patterns.
    """
    weights = np.ones(len(codes)) if weights is None else weights
    patterns, where = np.unique(codes, axis=0, return_inverse=True)
    counts = np.bincount(where.ravel(), weights=weights)
    ones = indicators(patterns, levels)
    member = rng.dirichlet(np.ones(k), len(patterns)) if start is None else start.posterior(patterns)
    before = -np.inf
    for _ in range(MOST_STEPS):
        classes = _maximised(ones, counts, member, levels)
        old, (member, log_density) = (
            member,
            _normalised(ones @ _finite_log(classes.probabilities).T + _finite_log(classes.shares)),
        )
        now = float(counts @ log_density)
        gained = now - before >= TOLERANCE * max(1.0, abs(now)) ** 0.5
        if not gained and not (closely and np.abs(member - old).max() > CLOSE):
            break
        before = now
    return classes, now


def _maximised(ones: np.ndarray, counts: np.ndarray, member: np.ndarray, levels) -> LatentClasses:
    weighted = member * counts[:, None]
    size = np.maximum(weighted.sum(axis=0), 1e-300)
    return LatentClasses(size / size.sum(), (weighted.T @ ones) / size[:, None], tuple(levels))


def _finite_log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 1e-300))


def _normalised(log_joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    top = log_joint.max(axis=1, keepdims=True)
    joint = np.exp(log_joint - top)
    total = joint.sum(axis=1, keepdims=True)
    return joint / total, (top + np.log(total))[:, 0]
