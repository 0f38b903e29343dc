"""Is there anything to name? Segments against one undivided cloud.

References
----------
Tibshirani & Walther (2005), Cluster validation by prediction strength, *J. Comput. Graph. Stat.* 14; Prekopa (1973),
projections of log-concave densities are log-concave; Gabriel & Sokal (1969), *Systematic Zoology* 18 (neighbours).
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from cxresearch.segments.methods import in_threads, overlap

BAND = 1 / 6  # half the width of a counting band, as part of the distance between two centres
TUBE = 0.9  # quantile of the distance from the line between two centres, within which customers are counted
CAP = 10_000  # customers used; more add cost, not insight
# Score at which segments count as separated: the 5 % quantile of the smallest score over two to five segments of customers
# who are uniform on a line, the least favourable cloud with one peak (`python -m benchmarks.segments calibrate`).
MOST_SCORE = 0.2


class Structure(NamedTuple):
    """Prediction strength (0-1), and the score against 'some two neighbouring segments are one' (NaN: not asked)."""

    prediction_strength: float
    separation_score: float


def subsample(n: int, cap: int, seed: int) -> np.ndarray:
    """Return at most `cap` of `n` row numbers, in order."""
    return np.arange(n) if n <= cap else np.sort(np.random.default_rng(seed).choice(n, cap, replace=False))


def halved_structure(x: np.ndarray, k: int, fit, *, n_splits: int, seed: int, bands: bool = True) -> Structure:
    """Return prediction strength and separation from `n_splits` random halvings of (n, p) rows, ``fit(rows, seed) -> rule``.

    Without `bands` separation is not asked for: answers to items have no line between their centres. In one half two neighbouring segments are found; in the other, customers close to the line between
    their centres are counted in three bands of equal width: around each centre, and at the emptiest place between.
    In one cloud (any log-concave density: uniform, Gaussian, …) the middle is no emptier than the emptier end, so a
    sign test of middle against each end keeps its level, and the larger p of the two, over all neighbouring pairs, is
    taken. Halves swap roles and their counts are pooled; the median p over the halvings is returned. A median of maxima
    of dependent p-values is a score, not a p-value: its level comes from simulating the least favourable cloud (`MOST_SCORE`).
    Customers beyond half-way to a third centre beside the line are not counted: a convex set, too, so nothing changes
    for one cloud, and a third segment beside two others no longer fills the place between them.
    """
    x = x[subsample(len(x), CAP, seed)]

    def one_split(sequence):
        rng = np.random.default_rng(sequence)
        rows = spread_ties(x, rng) if bands else x
        order = rng.permutation(len(rows))
        halves = rows[order[: len(x) // 2]], rows[order[len(x) // 2 :]]
        assigns = [fit(half, int(rng.integers(2**31))).predict for half in halves]
        strength = [prediction_strength(assigns[1 - i](halves[1 - i]), assigns[i](halves[1 - i]), k) for i in (0, 1)]
        return float(np.mean(strength)), _split_score(halves, assigns, k) if bands else np.nan

    found = np.array(in_threads(one_split, np.random.SeedSequence(seed).spawn(n_splits)))
    return Structure(float(found[:, 0].mean()), float(np.median(found[:, 1])))


def _split_score(halves, assigns, k: int) -> float:
    """Return the worst pair's p of one halving: 1 if in either direction a middle is fuller than its emptier end.

    Where the halves were divided differently, pooling alone would mix a pair that is one with one that is two.
    """
    whole = np.concatenate(halves)
    matched = matching(assigns[0](whole), assigns[1](whole), k)
    both = [
        band_counts(halves[0], assigns[0](halves[0]), halves[1], k),
        band_counts(halves[1], matched[assigns[1](halves[1])], halves[0], k),
    ]
    if any(np.any(c[..., 1] > np.minimum(c[..., 0], c[..., 2])) for c in both):
        return 1.0
    return worst_pair(both[0] + both[1])


def spread_ties(x: np.ndarray, rng) -> np.ndarray:
    """Return `x` with each value drawn uniformly from its own cell, half-way to the neighbouring values of the feature.

    Between two counts lies nothing, which is no gap between customers. A cell is no wider than the spacing that three
    quarters of the customers have, so that a true gap stays one; where values hardly repeat, hardly anything moves.
    """
    out = np.empty_like(x, dtype=float)
    for i, column in enumerate(x.T):
        values, where, counts = np.unique(column, return_inverse=True, return_counts=True)
        if not len(spacing := np.diff(values)):
            out[:, i] = column
            continue
        order = np.argsort(spacing)
        mass = np.cumsum((counts[:-1] + counts[1:])[order])
        spacing = np.minimum(spacing, spacing[order][np.searchsorted(mass, 0.75 * mass[-1])])
        below, above = np.append(spacing[0], spacing)[where] / 2, np.append(spacing, spacing[-1])[where] / 2
        out[:, i] = column + rng.uniform(-below, above)
    return out


def matching(reference: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Return which reference label each of `labels` corresponds to best."""
    return optimize.linear_sum_assignment(-overlap(labels, reference, k))[1]


def prediction_strength(own: np.ndarray, predicted: np.ndarray, k: int) -> float:
    """Return, for the worst of the `k` segments, the share of its pairs that the other half's fit keeps together."""
    table = overlap(own, predicted, k)
    size = table.sum(axis=1)
    together = (table * (table - 1)).sum(axis=1) / np.maximum(size * (size - 1), 1)
    return float(np.where(size > 1, together, 0.0).min())


def band_counts(train: np.ndarray, labels: np.ndarray, test: np.ndarray, k: int) -> np.ndarray:
    """Return (k, k, 3) counts of `test` rows at the first centre, between, and at the second, for neighbours a < b.

    Directions, the neighbours and the place between come from `train` alone. Pairs that are not neighbours (another
    centre lies within the ball over the two, Gabriel & Sokal 1969) stay at zero; a segment that `train` lacks counts
    as one that cannot be told apart.
    """
    counts = np.zeros((k, k, 3))
    sizes = np.bincount(labels, minlength=k)
    if sizes.min() < 2:
        counts[0, 1:, 1] = 1
        return counts
    centres = np.stack([train[labels == j].mean(axis=0) for j in range(k)])
    covariance = np.atleast_2d(np.cov(train - centres[labels], rowvar=False))
    ridge = 1e-3 * np.trace(covariance) / len(covariance) + 1e-12
    whiten = np.linalg.inv(np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))).T
    train, test, centres = train @ whiten, test @ whiten, centres @ whiten
    for a, b in combinations(range(k), 2):
        others, radius2 = np.delete(centres, [a, b], axis=0), np.square(centres[a] - centres[b]).sum() / 4
        if np.all(np.square(others - (centres[a] + centres[b]) / 2).sum(axis=1) >= radius2 * (1 - 1e-9)):
            near = train[(labels == a) | (labels == b)]
            counts[a, b] = _three_bands(near, test, centres[a], centres[b], others)
    return counts


def _three_bands(members, test, start, end, others) -> np.ndarray:
    line = end - start
    length2 = max(float(line @ line), 1e-12)

    def along(rows):
        t = (rows - start) @ line / length2
        return t, rows - start - t[:, None] * line

    t_others, off_others = along(others)
    # A third centre beside the middle would fill it: nothing beyond half-way to it counts, anywhere along the line.
    walls = off_others[(t_others > BAND) & (t_others < 1 - BAND)]

    def inside(off, tube):
        return (np.square(off).sum(axis=1) <= tube) & np.all(off @ walls.T <= np.square(walls).sum(axis=1) / 2, axis=1)

    (t_members, off_members), (t, off) = along(members), along(test)
    tube = np.quantile(np.square(off_members).sum(axis=1), TUBE)
    t_members, t = t_members[inside(off_members, tube)], t[inside(off, tube)]
    places = np.linspace(2 * BAND, 1 - 2 * BAND, 9)
    fill = [(np.abs(t_members - place) <= BAND).sum() + 1e-6 * abs(place - 0.5) for place in places]
    middle = places[np.argmin(fill)]
    return np.array([(np.abs(t - at) <= BAND).sum() for at in (0.0, middle, 1.0)])


def worst_pair(counts: np.ndarray) -> float:
    """Return the largest sign-test p over neighbours in (k, k, 3) counts: is the middle emptier than the emptier end?"""
    neighbours = counts.sum(axis=2) > 0
    if not neighbours.any():
        return 1.0
    first, middle, second = np.moveaxis(counts[neighbours], -1, 0)
    return float(stats.binom.cdf(middle, middle + np.minimum(first, second), 0.5).max())
