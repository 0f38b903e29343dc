"""The evidence for k segments, one row; how many segments, and whether at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import silhouette_samples

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import QUIET, over_waves, titled
from cxresearch.findings import Check, Finding, listing, number
from cxresearch.progress import progress
from cxresearch.segments.features import Basis, prepared
from cxresearch.segments.methods import Fit, in_threads, jaccard, matching, overlap
from cxresearch.segments.sentences import say
from cxresearch.survey import as_survey

STABLE = 0.75  # mean Jaccard similarity from which a segment is stable (Hennig 2007)
READINGS = ("not to be trusted", "doubtful", "stable", "highly stable")  # his words: to .6, .75, .85, and above
STRONG = 0.8  # prediction strength of segments that are there (Tibshirani & Walther 2005)
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


class Evidence(NamedTuple):
    """What speaks for k segments: the fit, stability and silhouette by segment, (k,), and all of it as one row."""

    fit: Fit
    jaccard: np.ndarray
    silhouettes: np.ndarray
    row: dict[str, object]

    @property
    def separated(self) -> bool:
        return bool(self.row["separation_score"] <= MOST_SCORE)

    @property
    def stability(self) -> list[str]:
        """Hennig's (2007) reading of the mean Jaccard similarities, (k,)."""
        return [READINGS[sum([j >= 0.6, j >= STABLE, j > 0.85])] for j in self.jaccard]


def evidence_of(basis: Basis, fit: Fit, *, n_boot: int, seed: int) -> Evidence:
    """Return the evidence for the segments of a fit."""
    k, share = fit.k, np.bincount(fit.labels, minlength=fit.k) / len(fit.labels)
    stable, width, by_segment, structure = np.ones(k), np.nan, np.full(k, np.nan), Structure(1.0, np.nan)
    if k > 1:
        refit = partial(basis.fitter.refit, fit)
        stable = bootstrap_jaccard(basis.x, fit.labels, k, refit, n_boot=n_boot, seed=seed + 1).mean(axis=0)
        widths, found = silhouettes(basis.standard, fit.labels, seed=seed)
        width, by_segment = float(widths.mean()), pd.Series(widths).groupby(found).mean().reindex(range(k)).to_numpy()
        structure = structure_of(basis, fit, seed=seed + 2)
    row = {"n_segments": k, "separation_score": structure.separation_score, "min_jaccard": float(stable.min())}
    row |= {"prediction_strength": structure.prediction_strength, "silhouette": width}
    return Evidence(fit, stable, by_segment, row | {"bic": fit.bic, "form": fit.form, "smallest": float(share.min())})


def bootstrap_jaccard(x: np.ndarray, labels: np.ndarray, k: int, refit, *, n_boot: int, seed: int) -> np.ndarray:
    """Return (n_boot, k) similarities between the segments and those of refits to resampled customers (Hennig 2007).

    ``refit(rows, counts, rng) -> rule`` gets the distinct customers drawn and how often each was: one drawn twice
    counts twice in the refit, once in the comparison.
    """

    def replicate(sequence) -> np.ndarray:
        rng = np.random.default_rng(sequence)
        counts = np.bincount(rng.integers(0, len(x), len(x)), minlength=len(x))
        drawn = np.flatnonzero(counts)
        return jaccard(labels[drawn], refit(x[drawn], counts[drawn], rng).predict(x[drawn]), k)

    return np.array(in_threads(replicate, np.random.SeedSequence(seed).spawn(n_boot))).reshape(n_boot, k)


def structure_of(basis: Basis, fit: Fit, *, seed: int) -> Structure:
    """Return prediction strength and, for numbers, separation of a fit's segments."""
    quick = partial(basis.fitter.quick, fit)
    return halved_structure(basis.x, fit.k, quick, n_splits=5, seed=seed, bands=not basis.categorical)


def silhouettes(x: np.ndarray, labels: np.ndarray, *, seed: int, cap: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Return the silhouette widths of at most `cap` customers, and their labels."""
    rows = subsample(len(x), cap, seed)
    found = labels[rows]
    return silhouette_samples(x[rows], found) if np.ptp(found) else np.zeros(len(rows)), found


def largest_supported(basis: Basis, found: Evidence, *, n_starts: int, seed: int) -> int:
    """Return the largest number of segments, at most the fit's, that the data hold apart; 1 if none.

    Numbers: neighbouring segments separated. Items: the number of classes with the largest BIC.
    """
    k = found.fit.k
    smaller = lambda j: basis.fitter.fit(basis.x, j, n_starts=n_starts, seed=seed)  # noqa: E731
    if basis.categorical:
        return int(digits.descending([*(smaller(j).bic for j in range(1, k)), found.fit.bic])[0]) + 1
    apart = lambda j: structure_of(basis, smaller(j), seed=seed).separation_score <= MOST_SCORE  # noqa: E731
    return k if found.separated else next((j for j in range(k - 1, 1, -1) if apart(j)), 1)


def checks_of(basis: Basis, found: Evidence, n_starts: int, supported: int) -> tuple[Check, ...]:
    """Return what a segmentation is held to."""
    fit, row = found.fit, {name: v if isinstance(v, str) else digits.rounded(v, 3) for name, v in found.row.items()}
    score = digits.rounded(found.row["separation_score"], 4)
    apart = Check("separation score", score, f"at most {MOST_SCORE}", found.separated)
    if basis.categorical:
        apart = Check("classes with the largest BIC", supported, f"{fit.k}", supported == fit.k)
    reached, limits = f"{fit.starts_at_best} of {n_starts}", {"lowest Jaccard similarity": ("min_jaccard", STABLE)}
    limits |= {"prediction strength": ("prediction_strength", STRONG), "smallest segment (share)": ("smallest", 0.05)}
    return (
        *basis.checks(),
        Check("starts that reached the best solution", reached, "at least 2", fit.starts_at_best >= 2),
        apart,
        *(Check(name, row[c], f"at least {least}", found.row[c] >= least) for name, (c, least) in limits.items()),
    )


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentCounts(Finding):
    """A decision table over numbers of segments."""

    votes: Mapping[str, int]

    @property
    def chosen(self) -> int:
        return int(self.summary["n_segments"])

    def sentence(self) -> str:
        kind = "classes" if "latent" in str(self.summary["method"]) else "segments"
        values = {"n": number(self.summary["n"], 0), "most": int(self.table["n_segments"].max()), "k": self.chosen}
        alone = listing(say(f"vote {name}", k=k) for name, k in self.votes.items())
        return f"{say(f'{self._key} {kind}', **values)} {say('votes', alone=alone)}"

    @property
    def _key(self) -> str:
        return "counted" if self.chosen > 1 else "nothing counted"

    def plot(self, ax=None):
        """Draw the stability of the least stable segment and the prediction strength against the number of segments."""
        long = self.table.rename(columns={"n_segments": "wave"}).melt("wave", ["min_jaccard", "prediction_strength"])
        long["variable"] = long["variable"].map(lambda name: say(f"axis {name}"))
        ax = over_waves(long, "value", by="variable", marked=set(long["variable"]), ax=ax)
        ax.axhline(STABLE, color=QUIET, linewidth=1, linestyle="--")
        ax.set(xlabel="number of segments", ylim=(-0.02, 1.04))
        return titled(ax, say(f"{self._key} title", k=self.chosen), say("counts unit"))


def compare_segment_counts(
    customers, *, features: Sequence[str], counts: Sequence[int], method: str = "kmeans", n_starts: int = 20,
    n_boot: int = 20, min_rows: int = 100, seed: int,
) -> SegmentCounts:  # fmt: skip
    """Compare numbers of segments, one included, by criteria of different kinds.

    ``tidy``: the evidence for each number, as `segment_customers` has it for one: n_segments, supported,
    separation_score, min_jaccard, prediction_strength (Tibshirani & Walther 2005), silhouette, smallest; where the
    method has a likelihood, bic and form. ``glance`` has n_segments (1: none): the most whose neighbouring segments
    are all separated and whose segments all have a Jaccard similarity of .75; for latent classes the largest BIC.

    Parameters
    ----------
    customers, features, method, n_starts, n_boot, min_rows, seed
        As in `segment_customers`, for each number.
    counts : sequence of int
        Numbers of segments, such as ``range(2, 8)``; 1 is added.

    Examples
    --------
    >>> print(cx.compare_segment_counts(behaved, features=["recency_days", "frequency"], counts=[2, 3], n_boot=5, seed=1))
    2 segments are supported: ...
    """
    survey = as_survey(customers)
    wanted = sorted({1, *counts})
    if len(wanted) < 2 or any(not isinstance(k, (int, np.integer)) or k < 1 for k in wanted):
        raise DataProblem(
            f"counts={list(counts)!r} must be whole numbers of at least 1, one of them at least 2, for example range(2, 8)"
        )
    options = dict(method=method, min_rows=min_rows, most=max(wanted), caller="compare_segment_counts")
    basis, counted = prepared(survey, features, **options), progress(wanted, what="numbers of segments")
    fits = (basis.fitter.fit(basis.x, k, n_starts=n_starts, seed=seed) for k in counted)
    table = pd.DataFrame([evidence_of(basis, fit, n_boot=n_boot, seed=seed).row for fit in fits])
    if table["bic"].isna().all():  # k-means has no likelihood
        table = table.drop(columns=["bic", "form"])
    apart = (table["separation_score"] <= MOST_SCORE) & (table["min_jaccard"] >= STABLE) | (table["n_segments"] == 1)
    supported = digits.at_least(table["bic"], table["bic"].max()) if basis.categorical else apart
    table.insert(1, "supported", supported)
    chosen = int(table.loc[table["supported"], "n_segments"].max())
    votes = {c: int(digits.largest(table, c)["n_segments"]) for c in ("silhouette", "bic") if c in table}
    votes["strength"] = int(table.loc[table["prediction_strength"] >= STRONG, "n_segments"].max())
    summary = {"n": len(basis.x), "n_segments": chosen, "method": method, "n_starts": n_starts, "n_boot": n_boot}
    below = Check("supported number below the largest tried", chosen, f"below {max(wanted)}", chosen < max(wanted))
    outcome = f"{method} on {', '.join(basis.reader.features)}"
    return SegmentCounts(
        "compare_segment_counts", outcome, None, table, summary | {"established": chosen > 1}, (*basis.checks(), below),
        survey.labels, domain=survey.condition, votes=votes,
    )  # fmt: skip


# --- separated, or one undivided cloud -------------------------------------------------------------------------------


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
    one = band_counts(halves[0], assigns[0](halves[0]), halves[1], k)
    both = one + band_counts(halves[1], matched[assigns[1](halves[1])], halves[0], k)
    neighbours = both.sum(axis=2) > 0
    if not neighbours.any() or any(np.any(c[..., 1] > np.minimum(c[..., 0], c[..., 2])) for c in (one, both - one)):
        return 1.0
    first, middle, second = np.moveaxis(both[neighbours], -1, 0)  # a sign test: is the middle emptier than either end?
    return float(stats.binom.cdf(middle, middle + np.minimum(first, second), 0.5).max())


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
