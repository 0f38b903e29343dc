"""How many segments, and whether at all: several criteria side by side, one segment included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, QUIET, axes_or_new
from cxresearch.findings import Check, Finding, describe_columns, listing, number
from cxresearch.progress import progress
from cxresearch.segments.basis import Basis, prepared
from cxresearch.segments.gap import first_within_one_error, gap_statistics
from cxresearch.segments.methods import Fit, Mixtures
from cxresearch.segments.mixture import icl
from cxresearch.segments.segmentation import STABLE
from cxresearch.segments.stability import bootstrap_jaccard
from cxresearch.segments.structure import ALPHA, silhouette
from cxresearch.survey import as_survey

describe_columns(
    gap=("Gap", "log within sum of squares expected in a featureless box, less the one found", 3),
    gap_error=("Gap error", "standard error of the gap", 3),
    bic=("BIC", "2 log-likelihood - parameters x log n, larger is better", 1),
    icl=("ICL", "BIC less the uncertainty of the classification, larger is better", 1),
    prediction_strength=("Prediction strength", "pairs of the worst segment that another half keeps together, 0-1", 2),
    min_jaccard=("Lowest stability", "Jaccard similarity of the least stable segment", 2),
    smallest=("Smallest", "share of the smallest segment, 0-1", 3),
    supported=("Supported", "separated and stable (items: largest BIC)"),
)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentCounts(Finding):
    """A decision table over numbers of segments."""

    votes: dict[str, int]

    @property
    def chosen(self) -> int:
        return int(self.summary["n_segments"])

    def sentence(self) -> str:
        n, least, most = (
            number(self.summary["n"], 0),
            int(self.table["n_segments"].min()),
            int(self.table["n_segments"].max()),
        )
        others = listing(f"{name} {k}" for name, k in self.votes.items())
        tried = f"{least} to {most} tried on {n} customers"
        if self.chosen == 1:
            return f"No structure worth naming is established ({tried}): no number of segments is both separated and stable. Taken alone, other criteria would say: {others}."
        agree = sum(k == self.chosen for k in self.votes.values())
        return f"{self.chosen} segments are supported ({tried}); {agree} of {len(self.votes)} other criteria agree: {others}."

    def plot(self, ax=None):
        """Draw the stability of the least stable segment and the prediction strength against the number of segments."""
        ax = axes_or_new(ax)
        for column, colour, label in (
            ("min_jaccard", PALETTE[0], "lowest Jaccard similarity"),
            ("prediction_strength", PALETTE[1], "prediction strength"),
        ):
            ax.plot(self.table["n_segments"], self.table[column], "o-", color=colour, label=label)
        ax.axhline(STABLE, color=QUIET, linewidth=1, linestyle="--")
        if self.chosen > 1:
            ax.axvline(self.chosen, color=QUIET, linewidth=6, alpha=0.25, label="supported")
        verdict = f"{self.chosen} segments are supported" if self.chosen > 1 else "No number of segments is supported"
        ax.set(
            xlabel="number of segments", ylabel="0–1", ylim=(0, 1.04), xticks=self.table["n_segments"], title=verdict
        )
        ax.legend(loc="lower left")
        return ax


def compare_segment_counts(
    customers,
    *,
    features: Sequence[str],
    counts: Sequence[int],
    method: str = "kmeans",
    n_boot: int = 50,
    seed: int,
    n_starts: int = 20,
    min_rows: int = 100,
    transform: str | Mapping[str, str] = "log_skewed",
    winsorise: float = 0.0,
    scaling: str = "z",
) -> SegmentCounts:
    """Compare numbers of segments by several criteria, one segment always among them.

    Parameters
    ----------
    customers, features, method, min_rows, transform, winsorise, scaling, labels, seed
        As in `segment_customers`.
    counts : sequence of int
        Numbers of segments, such as ``range(2, 8)``; 1 is added.
    n_boot : int
        Resamples for each number's Jaccard similarities.
    n_starts : int
        Random starts for each number.

    Returns
    -------
    SegmentCounts
        ``tidy``: n_segments, silhouette, gap, gap_error (numbers only; Tibshirani, Walther & Hastie 2001), bic, icl (of the
        best Gaussian mixture, whose family of covariances is `form`, or of the latent classes), prediction_strength (Tibshirani & Walther 2005), p_value
        (separation of neighbouring segments), min_jaccard (Hennig 2007), smallest, supported. ``glance`` has n_segments
        (1: none): the largest number whose neighbouring segments are all separated (score at most `structure.ALPHA`) and whose segments
        all have a Jaccard similarity of .75; for latent classes the largest BIC. What the other criteria would
        choose is in ``tables()['votes']``.

    Raises
    ------
    DataProblem, TooFewRespondents
        As `segment_customers`; and for counts that are not whole numbers of at least 1.

    Examples
    --------
    >>> import cxresearch as cx
    >>> company = cx.simulate_company(seed=1, n_customers=400)
    >>> behaved = cx.behaviour(
    ...     company.tables["transactions"], customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> features = ["recency_days", "frequency", "monetary"]
    >>> print(cx.compare_segment_counts(
    ...     behaved, features=features, counts=range(2, 4), n_boot=10, n_starts=5, seed=1
    ... ))
    3 segments are supported (1 to 3 tried on 400 customers); 4 of 5 other criteria agree: ...
    """
    survey = as_survey(customers)
    customers = survey.table
    labels = survey.labels
    wanted = sorted({1, *counts})
    if len(wanted) < 2 or any(not isinstance(k, (int, np.integer)) or k < 1 for k in wanted):
        raise DataProblem(
            f"counts={list(counts)!r} must be whole numbers of at least 1, one of them at least 2, for example range(2, 8)"
        )
    basis = prepared(
        customers,
        features,
        method=method,
        transform=transform,
        winsorise=winsorise,
        scaling=scaling,
        min_rows=min_rows,
        most=max(wanted),
        caller="compare_segment_counts",
    )
    table = pd.DataFrame([_row(basis, k, n_starts, n_boot, seed) for k in progress(wanted, what="numbers of segments")])
    if not basis.categorical:
        table["gap"], table["gap_error"] = gap_statistics(basis.x, wanted, n_reference=20, n_starts=n_starts, seed=seed)
    table["supported"] = _supported(table, basis.categorical)
    chosen = int(table.loc[table["supported"], "n_segments"].max())
    votes = _votes(table, wanted)
    summary = {"n": len(basis.x), "n_segments": chosen, "method": method, "n_starts": n_starts, "n_boot": n_boot}
    tested = (
        Check(
            "customers with every feature", f"{len(basis.x)} of {basis.received}", "all", len(basis.x) == basis.received
        ),
        Check(
            "criteria that agree",
            f"{sum(k == chosen for k in votes.values())} of {len(votes)}",
            "at least half",
            2 * sum(k == chosen for k in votes.values()) >= len(votes),
        ),
        Check("supported number below the largest tried", chosen, f"below {max(wanted)}", chosen < max(wanted)),
    )
    return SegmentCounts(
        function="compare_segment_counts",
        outcome=f"{method} on {', '.join(basis.reader.features)}",
        group=None,
        table=table[[c for c in ORDER if c in table]],
        summary=summary,
        tested=tested,
        labels=dict(labels or {}),
        further={"votes": pd.DataFrame({"check": list(votes), "n_segments": list(votes.values())})},
        votes=votes,
    )


ORDER = (
    "n_segments",
    "supported",
    "p_value",
    "min_jaccard",
    "prediction_strength",
    "silhouette",
    "gap",
    "gap_error",
    "bic",
    "icl",
    "form",
    "smallest",
)


def _row(basis: Basis, k: int, n_starts: int, n_boot: int, seed: int) -> dict:
    fit = basis.method.fit(basis.x, k, n_starts=n_starts, seed=seed)
    row = {
        "n_segments": k,
        **_information(basis, fit, k, n_starts, seed),
        "smallest": float(np.bincount(fit.labels, minlength=k).min() / len(basis.x)),
    }
    if k == 1:
        return row | {"p_value": np.nan, "prediction_strength": 1.0, "min_jaccard": 1.0, "silhouette": np.nan}
    structure = basis.structure(fit, seed=seed + 2)
    draws = bootstrap_jaccard(
        basis.x, fit.labels, k, lambda r, c, g: basis.method.refit(fit, r, c, g), n_boot=n_boot, seed=seed + 1
    )
    widths = silhouette(basis.standard, fit.labels, seed=seed)[0]
    return row | {
        "p_value": structure.p_value,
        "prediction_strength": structure.prediction_strength,
        "min_jaccard": float(draws.mean(axis=0).min()),
        "silhouette": float(widths.mean()),
    }


def _information(basis: Basis, fit: Fit, k: int, n_starts: int, seed: int) -> dict[str, object]:
    """BIC and ICL of the model itself, or (k-means has no likelihood) of the best Gaussian mixture."""
    model = fit if np.isfinite(fit.bic) else Mixtures().fit(basis.x, k, n_starts=4, seed=seed)
    found = {"bic": model.bic, "icl": icl(model.bic, model.rule.posterior(basis.x))}
    return found | ({} if basis.categorical else {"form": model.form})


def _supported(table: pd.DataFrame, categorical: bool) -> pd.Series:
    if categorical:
        return digits.at_least(table["bic"], table["bic"].max())
    return (table["n_segments"] == 1) | ((table["p_value"] <= ALPHA) & (table["min_jaccard"] >= STABLE))


def _votes(table: pd.DataFrame, wanted: list[int]) -> dict[str, int]:
    """Return what each criterion would choose on its own."""

    def best(column: str) -> int:
        return int(digits.largest(table, column)["n_segments"])

    votes = {"silhouette": best("silhouette"), "BIC": best("bic"), "ICL": best("icl")}
    votes["prediction strength"] = int(table.loc[table["prediction_strength"] >= 0.8, "n_segments"].max())
    if "gap" in table:
        votes["gap"] = first_within_one_error(wanted, table["gap"].to_numpy(), table["gap_error"].to_numpy())
    return votes
