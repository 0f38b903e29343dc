"""What segments are worth, corrected for misclassification.

Assigning each customer to one segment mixes segments, which shrinks the differences between them; weighting by
posterior probabilities shrinks them more. The correction of Bolck, Croon & Hagenaars undoes the mixing.

References
----------
Bolck, Croon & Hagenaars (2004), *Political Analysis* 12; Vermunt (2010), *Political Analysis* 18 (the weights, and the
sandwich variance with the classification table taken as known).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice, require_columns, require_share
from cxresearch.figures import QUIET, axes_or_new, intervals
from cxresearch.findings import Check, Finding, describe_columns, interval, listing, number, percent
from cxresearch.inference import critical_value
from cxresearch.privacy import guarded_base, largest_share
from cxresearch.segments.profiles import hidden_segments, segment_names
from cxresearch.segments.segmentation import Segmentation
from cxresearch.survey import as_survey

describe_columns(
    uncorrected=("Uncorrected", "mean of the customers assigned to the segment", 2),
    spread=("Spread", "largest less smallest mean of a segment", 2),
    classified=("Classified right", "share of the segment's members who are assigned to it, 0-1", 2),
)
MEASURES = ("mean", "nps")
WEAK = 0.1  # smallest singular value of the classification table; below it the correction divides by too little


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentOutcomes(Finding):
    """Means of an outcome by segment."""

    confidence: float
    overall: float

    def sentence(self) -> str:
        shown = self.table.dropna(subset="estimate")
        means = listing(
            f"{s} {number(e)} ({interval(lo, hi, self.confidence)})"
            for s, e, lo, hi in zip(shown["segment"], shown["estimate"], shown["conf_low"], shown["conf_high"])
        )
        what, base = self.label(self.outcome), f"{number(self.summary['n'], 0)} customers"
        tail = "The segments themselves are not established." if not self.summary["established"] else ""
        if not self.summary["p_value"] <= 1 - self.confidence:
            return f"No difference in {what} between segments is established (p = {number(self.summary['p_value'], 3)}, {base}): {means}. {tail}".strip()
        return f"{what} differs between segments (p = {number(self.summary['p_value'], 3)}, {base}, corrected for misclassification): {means}. {tail}".strip()

    def plot(self, ax=None):
        """Draw corrected means with intervals, the mean of all customers as a line."""
        ax = axes_or_new(ax, rows=len(self.table))
        ax.axvline(self.overall, color=QUIET, linewidth=1, linestyle="--")
        t = self.table
        intervals(ax, list(t["segment"]), t["estimate"], t["conf_low"], t["conf_high"])
        ax.set(
            xlabel=f"{self.label(self.outcome)} (mean, {percent(self.confidence)} interval; dashed: all customers)",
            title=f"{self.label(self.outcome)} by segment",
        )
        return ax


def compare_segments(
    customers,
    *,
    segmentation: Segmentation,
    outcome: str,
    measure: str = "mean",
    confidence: float = 0.95,
    min_rows: int = 100,
) -> SegmentOutcomes:
    """Compare an outcome between segments, corrected for misclassification (BCH).

    Parameters
    ----------
    customers : Survey or DataFrame
        The features of the segmentation and the outcome; rows lacking any are left out and counted.
    segmentation : Segmentation
    outcome : str
        Numeric column that was not a feature: revenue, satisfaction, recommend.
    measure : ``'mean'`` or ``'nps'``
        ``'nps'`` turns recommend (0-10) into points: 100 for 9-10, -100 for 0-6, else 0.
    confidence, min_rows, labels, min_base
        As elsewhere.

    Returns
    -------
    SegmentOutcomes
        ``tidy``: segment, estimate (in the unit of the outcome), std_error, conf_low, conf_high, uncorrected, classified,
        n (customers assigned to the segment), largest_share (of their sum that one of them has).

    Notes
    -----
    D[s, t], the probability that a member of s is assigned to t, comes from the posterior probabilities (for k-means
    from Gaussian segments with the common covariance, an approximation). A customer assigned to t enters segment s
    with weight D^-1[t, s], which may be negative; means are weighted with these, their variances are the sandwich
    (Vermunt 2010), taking D as known.

    Raises
    ------
    DataProblem
        If the outcome is a feature, not numeric, or segments overlap too much to be corrected.
    TooFewRespondents
        For fewer than `min_rows` complete rows.

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
    >>> spent = behaved.table.merge(company.tables["customers"][["customer_id", "spend_2025"]], on="customer_id")
    >>> print(cx.compare_segments(spent, segmentation=segments, outcome="spend_2025"))
    spend_2025 differs between segments (p = 0.001, 400 customers, corrected for ...
    """
    survey = as_survey(customers)
    customers = survey.table
    labels, min_base = survey.labels, survey.min_base
    require_columns(customers, outcome, *segmentation.features)
    require_choice("measure", measure, MEASURES)
    require_share("confidence", confidence)
    y, assigned, posterior = _complete(customers, segmentation, outcome, measure, min_rows)
    error = classification(posterior, assigned)
    if np.linalg.svd(error, compute_uv=False).min() < WEAK:
        least = percent(error.diagonal().min())
        raise DataProblem(
            f"the segments overlap too much to correct {outcome} for misclassification (smallest share classified right: {least}); use fewer segments"
        )
    means, covariance = corrected_means(y, assigned, error)
    table = _hidden(_table(y, assigned, means, covariance, error, confidence), min_base)
    least, real = float(error.diagonal().min()), segmentation.established
    summary = {
        "n": len(y),
        "method": "BCH three-step",
        "measure": measure,
        "p_value": wald_p(means, covariance),
        "spread": float(np.ptp(means)),
        "established": real,
    }
    tested = (
        Check(
            "customers with every feature and the outcome",
            f"{len(y)} of {len(customers)}",
            "all",
            len(y) == len(customers),
        ),
        Check("smallest share classified right", digits.rounded(least, 3), "at least 0.8", least >= 0.8),
        Check("segments established", "yes" if real else "no", "yes", real),
    )
    return SegmentOutcomes(
        function="compare_segments",
        outcome=outcome,
        group="segment",
        table=table,
        summary=summary,
        tested=tested,
        labels=dict(labels or {}),
        confidence=confidence,
        overall=float(y.mean()),
    )


def _hidden(table: pd.DataFrame, min_base: int) -> pd.DataFrame:
    base = table["n"].to_numpy()
    if min_base > 1:
        base = guarded_base(base, table["largest_share"], min_base=min_base)
    hidden = hidden_segments(base, min_base)
    for column in [c for c in table.columns if c != "segment"] if hidden.any() else []:
        table[column] = table[column].astype(float).where(~hidden, np.nan)
    return table


def _complete(customers, segmentation: Segmentation, outcome: str, measure: str, min_rows: int):
    if outcome in segmentation.features:
        raise DataProblem(
            f"{outcome} is a feature that the segments were made from; differences in it are no evidence, so compare another column"
        )
    if not pd.api.types.is_numeric_dtype(customers[outcome]):
        raise DataProblem(f"{outcome} is not numeric; give numbers")
    rows = customers[customers[outcome].notna()]
    posterior, complete = segmentation.posterior(rows)
    y = digits.whole(rows.loc[complete, outcome])
    if len(y) < min_rows:
        raise TooFewRespondents(f"compare_segments needs at least {min_rows} complete rows; found {len(y)}")
    if measure == "nps":
        bad = ~np.isin(y, np.arange(11))
        if bad.any():
            raise DataProblem(
                f"{outcome} holds {int(bad.sum())} values that are not whole numbers 0-10; declare them as missing, or use measure='mean'"
            )
        y = 100.0 * ((y >= 9).astype(float) - (y <= 6))
    assigned = segmentation.rule.assign(segmentation.reader.read(rows)[0])
    if len(np.unique(assigned)) < segmentation.k:
        raise TooFewRespondents(
            f"{segmentation.k - len(np.unique(assigned))} of {segmentation.k} segments have no customer with {outcome}; nothing can be compared"
        )
    return y, assigned, posterior


def classification(posterior: np.ndarray, assigned: np.ndarray) -> np.ndarray:
    """Return D, (k, k): the probability that a member of segment s (row) is assigned to t (column)."""
    table = np.stack([posterior[assigned == t].sum(axis=0) for t in range(posterior.shape[1])], axis=1)
    return table / table.sum(axis=1, keepdims=True)


def corrected_means(y: np.ndarray, assigned: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return BCH means (k,) and their sandwich covariance (k, k)."""
    weights = np.linalg.inv(error)[assigned]  # (n, k): row i, segment s
    size = weights.sum(axis=0)
    means = weights.T @ y / size
    scores = weights * (y[:, None] - means) / size
    return means, scores.T @ scores * len(y) / (len(y) - 1)


def wald_p(means: np.ndarray, covariance: np.ndarray) -> float:
    """Return the p-value of the Wald test that all means are equal."""
    from scipy import stats

    contrast = np.eye(len(means))[1:] - np.eye(len(means))[:1]
    difference = contrast @ means
    middle = contrast @ covariance @ contrast.T
    return (
        float(stats.chi2.sf(difference @ np.linalg.solve(middle, difference), len(difference)))
        if np.trace(middle) > 0
        else 1.0
    )


def _table(y, assigned, means, covariance, error, confidence: float) -> pd.DataFrame:
    error_of_mean = np.sqrt(np.diag(covariance))
    half = critical_value(confidence) * error_of_mean
    k = len(means)
    return pd.DataFrame(
        {
            "segment": segment_names(k),
            "estimate": means,
            "std_error": error_of_mean,
            "conf_low": means - half,
            "conf_high": means + half,
            "uncorrected": [y[assigned == t].mean() for t in range(k)],
            "classified": error.diagonal(),
            "n": np.bincount(assigned, minlength=k),
            "largest_share": [largest_share(y[assigned == t]) for t in range(k)],
        }
    )
