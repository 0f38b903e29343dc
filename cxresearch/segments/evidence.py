"""The evidence for k segments, one row; how many segments, and whether at all.

References
----------
Rousseeuw (1987), Silhouettes, *J. Comput. Appl. Math.* 20; Hennig (2007), *Comput. Stat. Data Anal.* 52.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import silhouette_samples

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import QUIET, over_waves, titled
from cxresearch.findings import Check, Finding, describe_columns, listing, number
from cxresearch.progress import progress
from cxresearch.segments.features import Basis, prepared
from cxresearch.segments.methods import Fit, in_threads, jaccard
from cxresearch.segments.sentences import say
from cxresearch.segments.separation import MOST_SCORE, Structure, halved_structure, subsample
from cxresearch.survey import as_survey

HIGHLY, STABLE, DOUBTFUL = 0.85, 0.75, 0.6  # Hennig (2007): stable from .75; under .6 not to be trusted
STRONG = 0.8  # prediction strength of segments that are there (Tibshirani & Walther 2005)

describe_columns(
    n_segments=("Segments", "how many segments", 0),
    supported=("Supported", "separated and stable (items: largest BIC)"),
    separation_score=("Separation score", "how little speaks for two neighbouring segments being two; up to 0.2 they are; a score and no p-value", 3),
    min_jaccard=("Lowest stability", "Jaccard similarity of the least stable segment", 2),
    prediction_strength=("Prediction strength", "pairs of the worst segment that another half keeps together, 0-1", 2),
    silhouette=("Silhouette", "mean silhouette width, -1 to 1", 2),
    bic=("BIC", "2 log-likelihood - parameters x log n, larger is better", 1),
    form=("Form", "kind of model, with its family of covariances"),
    smallest=("Smallest", "share of the smallest segment, 0-1", 3),
    n_starts=("Starts", "random starts of the optimiser", 0),
    n_boot=("Replicates", "bootstrap replicates", 0),
)  # fmt: skip


class Evidence(NamedTuple):
    """What speaks for k segments: the fit, stability and silhouette by segment, (k,), and all of it as one row."""

    fit: Fit
    jaccard: np.ndarray
    silhouettes: np.ndarray
    row: dict[str, object]

    @property
    def separated(self) -> bool:
        return bool(self.row["separation_score"] <= MOST_SCORE)


def evidence_of(basis: Basis, fit: Fit, *, n_boot: int, seed: int) -> Evidence:
    """Return the evidence for the segments of a fit."""
    k, share = fit.k, np.bincount(fit.labels, minlength=fit.k) / len(fit.labels)
    stable, width, by_segment, structure = np.ones(k), np.nan, np.full(k, np.nan), Structure(1.0, np.nan)
    if k > 1:
        stable = bootstrap_jaccard(
            basis.x, fit.labels, k, partial(basis.fitter.refit, fit), n_boot=n_boot, seed=seed + 1
        ).mean(axis=0)
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
    customers,
    *,
    features: Sequence[str],
    counts: Sequence[int],
    method: str = "kmeans",
    n_starts: int = 20,
    n_boot: int = 20,
    min_rows: int = 100,
    seed: int,
) -> SegmentCounts:
    """Compare numbers of segments, one included, by criteria of different kinds.

    Parameters
    ----------
    customers, features, method, n_starts, n_boot, min_rows, seed
        As in `segment_customers`, for each number.
    counts : sequence of int
        Numbers of segments, such as ``range(2, 8)``; 1 is added.

    Returns
    -------
    SegmentCounts
        ``tidy``: the evidence for each number, as `segment_customers` has it for one: n_segments, supported,
        separation_score, min_jaccard, prediction_strength (Tibshirani & Walther 2005), silhouette, smallest; where the
        method has a likelihood, bic and form. ``glance`` has n_segments (1: none): the most whose neighbouring segments
        are all separated and whose segments all have a Jaccard similarity of .75; for latent classes the largest BIC.

    Raises
    ------
    DataProblem, TooFewRespondents
        As `segment_customers`; and for counts that are not whole numbers of at least 1.

    Examples
    --------
    >>> import cxresearch as cx
    >>> behaved = cx.behaviour(cx.open_study("data/example/study.yml").transactions, until="2025-01-01")
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
    basis = prepared(survey, features, **options)
    fits = (
        basis.fitter.fit(basis.x, k, n_starts=n_starts, seed=seed) for k in progress(wanted, what="numbers of segments")
    )
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
