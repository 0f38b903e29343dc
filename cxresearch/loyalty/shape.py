"""The loyalty score as columns of a regression: a line, a spline, or three groups; tests of which is needed.

References
----------
Reichheld (2003), HBR 81(12):46-54 (promoter 9-10, passive 7-8, detractor 0-6); Harrell (2015), *Regression Modeling
Strategies*, 2.4.5 (restricted cubic splines).
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

RECOMMEND = ("detractor", "passive", "promoter")
SHAPES = ("linear", "spline", "groups")


@dataclass(frozen=True)
class Scale:
    """How a score is cut into groups, lowest first."""

    names: tuple[str, ...]
    edges: np.ndarray  # group g holds scores above edges[g-1] and up to edges[g]
    top: float
    knots: np.ndarray  # of the spline; fewer than three make it a line

    def group(self, score) -> np.ndarray:
        """Return the group code (0 = lowest) of each score."""
        return np.searchsorted(self.edges, score, side="left")

    def columns(self, score, shape: str) -> np.ndarray:
        """Return the (n, q) columns of `shape` at `score`."""
        score = np.asarray(score, dtype=float)
        if shape == "linear":
            return score[:, None]
        if shape == "groups":
            return (self.group(score)[:, None] == np.arange(1, len(self.names))).astype(float)
        return natural_spline(score, self.knots)

    def terms(self, loyalty: str, shape: str) -> list[str]:
        """Return the names of those columns."""
        if shape == "groups":
            return [f"{loyalty}[{name}]" for name in self.names[1:]]
        bends = max(len(self.knots) - 2, 0) if shape == "spline" else 0
        return [loyalty, *[f"{loyalty}[bend {i}]" for i in range(1, bends + 1)]]


def scale_of(score) -> Scale:
    """Return the groups of a score: recommend groups on 0-10, the same cuts on 1-10, levels, or thirds."""
    levels = np.unique(score)
    whole = bool(np.all(levels == np.round(levels)))
    knots = np.unique(np.quantile(score, [0.05, 0.35, 0.65, 0.95]))
    if whole and levels[0] >= 0 and levels[-1] <= 10 and levels[-1] >= 9 and levels[0] <= 6:
        names = RECOMMEND if levels[0] == 0 else (f"{levels[0]:.0f}-6", "7-8", "9-10")
        return Scale(names, np.array([6.0, 8.0]), 10.0, knots)
    if len(levels) <= 3:
        return Scale(tuple(f"{v:g}" for v in levels), levels[:-1], float(levels[-1]), knots)
    edges = np.unique(np.quantile(score, [1 / 3, 2 / 3], method="inverted_cdf"))
    edges = edges[edges < levels[-1]]
    low = [levels[0], *[levels[levels > e][0] for e in edges]]
    names = tuple(_range(a, b) for a, b in zip(low, [*edges, levels[-1]]))
    return Scale(names, edges, float(levels[-1]), knots)


def _range(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}-{high:g}" if low >= 0 else f"{low:g} to {high:g}"


def natural_spline(x, knots) -> np.ndarray:
    """Return x and the bends of a restricted cubic spline, straight beyond the outer knots; (n, max(1, k - 1))."""
    x, t = np.asarray(x, dtype=float), np.asarray(knots, dtype=float)
    if len(t) < 3:
        return x[:, None]
    cube = lambda k: np.maximum(x - k, 0) ** 3  # noqa: E731
    last, gap, size = t[-1], t[-1] - t[-2], (t[-1] - t[0]) ** 2
    bends = [(cube(k) - cube(t[-2]) * (last - k) / gap + cube(last) * (t[-2] - k) / gap) / size for k in t[:-2]]
    return np.column_stack([x, *bends])


def wald(estimate, covariance, df: float) -> tuple[float, float]:
    """Return F and p for the hypothesis that all `estimate` (k,) are zero, on k and `df` degrees of freedom."""
    k = len(estimate)
    value = float(estimate @ np.linalg.pinv(covariance, hermitian=True) @ estimate) / k
    return value, float(stats.f.sf(value, k, df))
