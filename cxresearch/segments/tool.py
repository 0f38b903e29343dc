"""A frozen tool that assigns new customers to known segments from a few items, kept as a small readable file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.findings import Check, Finding, describe_columns, number, percent
from cxresearch.segments.figures import heat_map
from cxresearch.segments.migration import kappa
from cxresearch.segments.scaling import complete_values, require_variation
from cxresearch.segments.segmentation import Segmentation
from cxresearch.survey import as_survey

MOST_ITEMS = 8
UNCLASSIFIED = "unclassified"
FORMAT = "cxresearch typing tool 1"

describe_columns(
    found_again=("Found again", "share of the segment's customers that the tool assigns to it, out of sample, 0-1", 2),
    right=("Right", "share of the customers assigned to the segment that belong to it, out of sample, 0-1", 2),
    assigned=("Assigned", "segment that the tool assigns, out of sample"),
    accuracy=("Accuracy", "share assigned to their own segment, out of sample, 0-1", 3),
    chance=("Largest", "accuracy of always saying the largest segment, 0-1", 3),
    kappa=("Kappa", "Cohen's: agreement beyond chance, up to 1", 3),
    unclassified=("Unclassified", "share for whom no segment is likely enough, 0-1", 3),
    accuracy_classified=("Accuracy of the rest", "accuracy among those who are classified, 0-1", 3),
)


@dataclass(frozen=True)
class Scorer:
    """Multinomial logit on standardised items: all that assigning takes. Arrays (p,), (p,), (k, p), (k,)."""

    items: tuple[str, ...]
    segments: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    floor: float

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """Return (n, k) probabilities of the segments."""
        score = ((values - self.centre) / self.scale) @ self.coefficients.T + self.intercepts
        score = np.exp(score - score.max(axis=1, keepdims=True))
        return score / score.sum(axis=1, keepdims=True)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class TypingTool(Finding):
    """The tool and how well it does on customers it has not seen."""

    scorer: Scorer

    def sentence(self) -> str:
        s = self.summary
        beats = s["accuracy"] > s["chance"] and s["kappa"] >= 0.4
        verdict = "" if beats else "The tool is not established: hardly better than always saying the largest segment. "
        return (
            f"{verdict}From {len(self.scorer.items)} items {percent(s['accuracy'])} of {number(s['n'], 0)} customers are assigned to their segment out of sample "
            f"(always saying the largest: {percent(s['chance'])}; kappa {number(s['kappa'], 2)}); {percent(s['unclassified'])} stay unclassified, no "
            f"segment being {percent(self.scorer.floor)} likely, and of the others {percent(s['accuracy_classified'])} are right."
        )

    def plot(self, ax=None):
        """Draw the share of each segment (rows) that the tool assigns to each (columns), out of sample."""
        grid = self.further["confusion"].pivot(index="segment", columns="assigned", values="share").astype(float)
        ax = heat_map(grid, grid.map(percent), ax=ax, cmap="Blues", limits=(0, 1), label="share of the segment")
        ax.set(xlabel="assigned by the tool", ylabel="segment", title="What the tool assigns, out of sample")
        return ax

    def save(self, path) -> Path:
        """Write the tool as a readable JSON file; `assign_segments` reads it on any machine with the same results."""
        s = self.scorer
        record = {"format": FORMAT, "items": list(s.items), "segments": list(s.segments), "floor": s.floor}
        record |= {name: getattr(s, name).tolist() for name in ("centre", "scale", "coefficients", "intercepts")}
        path = Path(path)
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def typing_tool(
    customers,
    *,
    segmentation: Segmentation,
    items: Sequence[str],
    seed: int,
    n_folds: int = 5,
    floor: float = 0.6,
    min_rows: int = 100,
) -> TypingTool:
    """Learn to assign customers to the segments from at most eight numeric items.

    Parameters
    ----------
    customers : Survey or DataFrame
        The features of the segmentation (which say where each belongs) and the items.
    items : sequence of str
        Numeric columns that will be known of new customers.
    n_folds : int
        Folds of the cross-validation behind every figure reported.
    floor : float
        Probability under which a customer stays unclassified.
    segmentation, seed, min_rows, labels
        As elsewhere.

    Returns
    -------
    TypingTool
        ``tidy``: segment, n, found_again, right. ``tables`` adds confusion. ``glance``: accuracy, chance (share of the largest
        segment), kappa, unclassified, accuracy_classified.

    Notes
    -----
    A multinomial logit on standardised items with a ridge penalty (C = 1), fitted by scikit-learn.

    Raises
    ------
    DataProblem
        For more than eight items, or constant or repeated ones.
    TooFewRespondents
        For fewer than `min_rows` complete rows, or a segment smaller than the number of folds.

    Examples
    --------
    >>> import cxresearch as cx
    >>> company = cx.simulate_company(seed=1, n_customers=400)
    >>> behaved = cx.behaviour(
    ...     company.tables["transactions"], customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> features = ["recency_days", "frequency", "monetary"]
    >>> segments = cx.segment_customers(
    ...     behaved, features=features, n_segments=2, n_starts=5, n_boot=10, seed=1
    ... )
    >>> tool = cx.typing_tool(behaved, segmentation=segments, items=["recency_days", "frequency"], seed=1)
    >>> print(tool)
    From 2 items 99 % of 400 customers are assigned to their segment out of sample (always ...
    """
    survey = as_survey(customers)
    customers = survey.table
    labels = survey.labels
    items = tuple(items)
    require_columns(customers, *items, *segmentation.features)
    if not 1 <= len(items) <= MOST_ITEMS:
        raise DataProblem(
            f"items holds {len(items)} columns; a typing tool takes 1 to {MOST_ITEMS}, so choose the most telling"
        )
    known = segmentation.augment(customers)
    values, complete = complete_values(known[known["segment"].notna()], items)
    truth = known.loc[known["segment"].notna(), "segment"].to_numpy()[complete]
    sizes = pd.Series(truth).value_counts()
    if len(truth) < min_rows or sizes.min() < n_folds:
        raise TooFewRespondents(
            f"typing_tool needs at least {min_rows} complete rows and {n_folds} a segment; found {len(truth)}, the smallest segment {int(sizes.min())}"
        )
    require_variation(values, items)
    with threadpool_limits(1):
        probability = _out_of_sample(values, truth, items, n_folds, floor, seed)
        scorer = _learned(values, truth, items, floor)
    return _assembled(scorer, probability, truth, len(customers), n_folds, segmentation, dict(labels or {}))


def assign_segments(customers: pd.DataFrame, tool) -> pd.DataFrame:
    """Return the same rows with `segment` and `probability` added.

    Parameters
    ----------
    customers : DataFrame
        The items of the tool; a row lacking one gets no segment.
    tool : TypingTool, or path of a saved one

    Returns
    -------
    DataFrame
        `segment` is ``'unclassified'`` where the largest `probability` is under the tool's floor.

    Examples
    --------
    >>> import cxresearch as cx
    >>> company = cx.simulate_company(seed=1, n_customers=400)
    >>> behaved = cx.behaviour(
    ...     company.tables["transactions"], customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> features = ["recency_days", "frequency", "monetary"]
    >>> segments = cx.segment_customers(
    ...     behaved, features=features, n_segments=2, n_starts=5, n_boot=10, seed=1
    ... )
    >>> tool = cx.typing_tool(behaved, segmentation=segments, items=["recency_days", "frequency"], seed=1)
    >>> cx.assign_segments(behaved, tool)["segment"].value_counts().index.tolist()
    ['S1', 'S2', 'unclassified']
    """
    customers = as_survey(customers).table
    scorer = tool.scorer if isinstance(tool, TypingTool) else _read(tool)
    require_columns(customers, *scorer.items)
    values, complete = complete_values(customers, scorer.items)
    segment, likely = pd.Series(None, index=customers.index, dtype=object), pd.Series(np.nan, index=customers.index)
    if complete.any():
        probability = scorer.probabilities(values)
        segment.loc[complete], likely.loc[complete] = _chosen(scorer, probability), probability.max(axis=1)
    return customers.assign(segment=segment, probability=likely)


def _chosen(scorer: Scorer, probability: np.ndarray) -> np.ndarray:
    named = np.array(scorer.segments, dtype=object)[probability.argmax(axis=1)]
    return np.where(probability.max(axis=1) >= scorer.floor, named, UNCLASSIFIED)


def _learned(values: np.ndarray, truth: np.ndarray, items, floor: float) -> Scorer:
    centre, scale = values.mean(axis=0), np.where(values.std(axis=0) > 0, values.std(axis=0), 1.0)
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10, max_iter=2000).fit(
        (values - centre) / scale, truth
    )
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercepts)
    return Scorer(tuple(items), tuple(map(str, model.classes_)), centre, scale, coefficients, intercepts, floor)


def _out_of_sample(values, truth, items, n_folds: int, floor: float, seed: int) -> np.ndarray:
    names = sorted(set(truth))
    probability = np.empty((len(truth), len(names)))
    for train, test in StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(values, truth):
        probability[test] = _learned(values[train], truth[train], items, floor).probabilities(values[test])
    return probability


def _assembled(
    scorer: Scorer, probability, truth, received: int, n_folds: int, segmentation: Segmentation, labels
) -> TypingTool:
    names = np.array(scorer.segments, dtype=object)
    guess, kept = names[probability.argmax(axis=1)], probability.max(axis=1) >= scorer.floor
    counts = pd.crosstab(truth, guess).reindex(index=names, columns=names, fill_value=0)
    table = pd.DataFrame(
        {
            "segment": names,
            "n": counts.sum(axis=1).to_numpy(),
            "found_again": np.diag(counts) / counts.sum(axis=1).to_numpy(),
            "right": np.diag(counts) / np.maximum(counts.sum(axis=0).to_numpy(), 1),
        }
    )
    summary = {
        "n": len(truth),
        "method": f"multinomial logit, {n_folds}-fold cross-validation",
        "accuracy": float((guess == truth).mean()),
        "chance": float(counts.sum(axis=1).max() / len(truth)),
        "kappa": kappa(counts.to_numpy()),
        "unclassified": float(1 - kept.mean()),
        "accuracy_classified": float((guess == truth)[kept].mean()) if kept.any() else np.nan,
    }
    shares = (
        counts.div(counts.sum(axis=1), axis=0)
        .rename_axis("segment")
        .reset_index()
        .melt("segment", var_name="assigned", value_name="share")
    )
    tested = (
        Check("customers with every item and feature", f"{len(truth)} of {received}", "all", len(truth) == received),
        Check("kappa out of sample", digits.rounded(summary["kappa"], 3), "at least 0.4", summary["kappa"] >= 0.4),
        Check(
            "unclassified (share)",
            digits.rounded(summary["unclassified"], 3),
            "at most 0.2",
            summary["unclassified"] <= 0.2,
        ),
        Check("segments established", "yes" if segmentation.established else "no", "yes", segmentation.established),
    )
    return TypingTool(
        function="typing_tool",
        outcome=f"segment from {', '.join(scorer.items)}",
        group=None,
        table=table,
        summary=summary,
        tested=tested,
        labels=labels,
        further={"confusion": shares},
        scorer=scorer,
    )


def _read(path) -> Scorer:
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise KeyError("format")
        arrays = (np.array(record[name], dtype=float) for name in ("centre", "scale", "coefficients", "intercepts"))
        return Scorer(tuple(record["items"]), tuple(record["segments"]), *arrays, float(record["floor"]))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise DataProblem(
            f"{path} is not a typing tool that this version can read ({type(problem).__name__}); save it again with tool.save(path)"
        ) from None
