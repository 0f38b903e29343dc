"""The evidence for k segments, one row; how many segments, and whether at all.

References
----------
Rousseeuw (1987), Silhouettes, *J. Comput. Appl. Math.* 20; Hennig (2007), *Comput. Stat. Data Anal.* 52.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
ONE = Structure(1.0, np.nan)

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


@dataclass(frozen=True)
class Evidence:
    """What speaks for k segments: the fit, stability and silhouette by segment, (k,), and separation."""

    fit: Fit
    jaccard: np.ndarray
    silhouettes: np.ndarray
    silhouette: float
    structure: Structure

    def row(self) -> dict[str, object]:
        """Return the evidence as one row of a table."""
        sizes = np.bincount(self.fit.labels, minlength=self.fit.k)
        return {
            "n_segments": self.fit.k,
            "separation_score": self.structure.separation_score,
            "min_jaccard": float(self.jaccard.min()),
            "prediction_strength": self.structure.prediction_strength,
            "silhouette": self.silhouette,
            "bic": self.fit.bic,
            "form": self.fit.form,
            "smallest": float(sizes.min() / sizes.sum()),
        }

    @property
    def separated(self) -> bool:
        return bool(self.structure.separation_score <= MOST_SCORE)


def evidence_of(basis: Basis, fit: Fit, *, n_boot: int, seed: int) -> Evidence:
    """Return the evidence for the segments of a fit."""
    k = fit.k
    if k == 1:
        return Evidence(fit, np.ones(1), np.full(1, np.nan), np.nan, ONE)
    refit = lambda rows, counts, rng: basis.fitter.refit(fit, rows, counts, rng)  # noqa: E731
    draws = bootstrap_jaccard(basis.x, fit.labels, k, refit, n_boot=n_boot, seed=seed + 1)
    widths, found = silhouettes(basis.standard, fit.labels, seed=seed)
    by_segment = [float(widths[found == j].mean()) if (found == j).any() else np.nan for j in range(k)]
    structure = structure_of(basis, fit, seed=seed + 2)
    return Evidence(fit, draws.mean(axis=0), np.array(by_segment), float(widths.mean()), structure)


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
    quick = lambda rows, number: basis.fitter.quick(fit, rows, number)  # noqa: E731
    return halved_structure(basis.x, fit.k, quick, n_splits=5, seed=seed, bands=not basis.categorical)


def silhouettes(x: np.ndarray, labels: np.ndarray, *, seed: int, cap: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Return the silhouette widths of at most `cap` customers, and their labels."""
    rows = subsample(len(x), cap, seed)
    found = labels[rows]
    return (silhouette_samples(x[rows], found) if len(np.unique(found)) > 1 else np.zeros(len(rows))), found


def largest_supported(basis: Basis, found: Evidence, *, n_starts: int, seed: int) -> int:
    """Return the largest number of segments, at most the fit's, that the data hold apart; 1 if none.

    Numbers: neighbouring segments separated. Items: the number of classes with the largest BIC.
    """
    k = found.fit.k
    smaller = lambda j: basis.fitter.fit(basis.x, j, n_starts=n_starts, seed=seed)  # noqa: E731
    if basis.categorical:
        return int(digits.descending([*(smaller(j).bic for j in range(1, k)), found.fit.bic])[0]) + 1
    if found.separated:
        return k
    tried = (
        j for j in range(k - 1, 1, -1) if structure_of(basis, smaller(j), seed=seed).separation_score <= MOST_SCORE
    )
    return next(tried, 1)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentCounts(Finding):
    """A decision table over numbers of segments."""

    votes: Mapping[str, int]

    @property
    def chosen(self) -> int:
        return int(self.summary["n_segments"])

    def sentence(self) -> str:
        kind = "classes" if "latent" in str(self.summary["method"]) else "segments"
        first = f"counted {kind}" if self.chosen > 1 else f"nothing counted {kind}"
        base = {"n": number(self.summary["n"], 0), "most": int(self.table["n_segments"].max())}
        said = say(first, **base, **({"k": self.chosen} if self.chosen > 1 else {}))
        alone = listing(say(f"vote {name}", k=k) for name, k in self.votes.items())
        return f"{said} {say('votes', alone=alone)}"

    def plot(self, ax=None):
        """Draw the stability of the least stable segment and the prediction strength against the number of segments."""
        long = self.table.rename(columns={"n_segments": "wave"}).melt("wave", ["min_jaccard", "prediction_strength"])
        long["variable"] = long["variable"].map(lambda name: say(f"axis {name}"))
        ax = over_waves(long, "value", by="variable", marked=set(long["variable"]), ax=ax)
        ax.axhline(STABLE, color=QUIET, linewidth=1, linestyle="--")
        ax.set(xlabel="number of segments", ylim=(-0.02, 1.04))
        title = say("counts title", k=self.chosen) if self.chosen > 1 else say("no count title")
        return titled(ax, title, say("counts unit"))


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
    transform: str = "log_skewed",
) -> SegmentCounts:
    """Compare numbers of segments, one included, by criteria of different kinds.

    Parameters
    ----------
    customers, features, method, n_starts, n_boot, min_rows, seed, transform
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
    >>> paid = dict(customer="customer_id", time="paid_at", amount="amount", until="2025-01-01")
    >>> behaved = cx.behaviour("data/example/transactions.csv", **paid)
    >>> made = dict(features=["recency_days", "frequency"], n_starts=5, n_boot=5, seed=1)
    >>> print(cx.compare_segment_counts(behaved, counts=range(2, 4), **made))
    2 segments are supported: ...
    """
    survey = as_survey(customers)
    wanted = sorted({1, *counts})
    if len(wanted) < 2 or any(not isinstance(k, (int, np.integer)) or k < 1 for k in wanted):
        raise DataProblem(
            f"counts={list(counts)!r} must be whole numbers of at least 1, one of them at least 2, for example range(2, 8)"
        )
    options = dict(method=method, transform=transform, min_rows=min_rows)
    basis = prepared(survey, features, **options, most=max(wanted), caller="compare_segment_counts")
    fitted = lambda k: basis.fitter.fit(basis.x, k, n_starts=n_starts, seed=seed)  # noqa: E731
    rows = [
        evidence_of(basis, fitted(k), n_boot=n_boot, seed=seed).row()
        for k in progress(wanted, what="numbers of segments")
    ]
    table = pd.DataFrame(rows)
    if table["bic"].isna().all():  # k-means has no likelihood
        table = table.drop(columns=["bic", "form"])
    table.insert(1, "supported", _supported(table, basis.categorical))
    chosen = int(table.loc[table["supported"], "n_segments"].max())
    votes = {"silhouette": "silhouette"} | ({"bic": "bic"} if "bic" in table else {})
    votes = {name: int(digits.largest(table, column)["n_segments"]) for name, column in votes.items()}
    votes["strength"] = int(table.loc[table["prediction_strength"] >= STRONG, "n_segments"].max())
    summary = {"n": len(basis.x), "n_segments": chosen, "method": method, "n_starts": n_starts, "n_boot": n_boot}
    below = Check("supported number below the largest tried", chosen, f"below {max(wanted)}", chosen < max(wanted))
    outcome = f"{method} on {', '.join(basis.reader.features)}"
    return SegmentCounts(
        "compare_segment_counts", outcome, None, table, summary | {"established": chosen > 1}, (*basis.checks(), below),
        survey.labels, domain=survey.condition, votes=votes,
    )  # fmt: skip


def _supported(table: pd.DataFrame, categorical: bool) -> pd.Series:
    if categorical:
        return digits.at_least(table["bic"], table["bic"].max())
    apart = (table["separation_score"] <= MOST_SCORE) & (table["min_jaccard"] >= STABLE)
    return (table["n_segments"] == 1) | apart
