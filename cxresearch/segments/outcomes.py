"""What segments are worth, corrected for misclassification.

Assigning each customer to one segment mixes segments, which shrinks the differences between them; the correction of
Bolck, Croon & Hagenaars (2004), *Political Analysis* 12, undoes it; weights and variance: Vermunt (2010), ibid. 18.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.figures import forest, titled
from cxresearch.findings import Check, Finding, interval, listing, number, p_words, percent
from cxresearch.inference import critical_value, joint_p_value
from cxresearch.privacy import hide_cells, largest_share
from cxresearch.segments.segmentation import Segmentation, segment_names, stands
from cxresearch.segments.sentences import say
from cxresearch.survey import Survey, as_survey

WEAK = 0.1  # smallest singular value of the classification table; below it the correction divides by too little


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentOutcomes(Finding):
    """Means of an outcome by segment."""

    confidence: float
    overall: float

    def sentence(self) -> str:
        means = listing(
            say("mean", segment=r.segment, estimate=number(r.estimate), interval=interval(r.conf_low, r.conf_high, self.confidence))
            for r in self.table.dropna(subset="estimate").itertuples()
        )  # fmt: skip
        values = {"outcome": self.label(self.outcome), "n": number(self.summary["n"], 0), "means": means}
        said = say(self._key, **values, p=p_words(self.summary["p_value"]))
        return said if stands(self) else f"{said} {say('not real')}"

    @property
    def _key(self) -> str:
        return "outcome" if self.summary["established"] else "no outcome"

    def plot(self, ax=None):
        """Draw corrected means with intervals, the mean of all customers as a line."""
        unit = say("outcome unit", unit=self.label(self.outcome), level=percent(self.confidence))
        names, ends = list(self.table["segment"]), {"low": "conf_low", "high": "conf_high"}
        ax = forest(self.table, "estimate", names=names, **ends, line=self.overall, unit=unit, ax=ax)
        return titled(ax, say(f"{self._key} title", outcome=self.label(self.outcome)))


def compare_segments(
    customers, *, segmentation: Segmentation, outcome: str, confidence: float = 0.95, min_rows: int = 100
) -> SegmentOutcomes:
    """Compare an outcome between segments, corrected for misclassification (BCH).

    D[s, t], the probability that a member of s is assigned to t, comes from the posterior probabilities (for k-means
    from Gaussian segments with the common covariance, an approximation). A customer assigned to t enters segment s
    with weight D^-1[t, s], which may be negative, times the survey's; the covariance of the means is the design's, taking
    D as known (Vermunt 2010). Refused are an outcome that is a feature or not numeric, segments that overlap too much to
    be corrected, and too few rows. ``tidy``: segment, estimate (in the unit of the outcome), std_error, conf_low,
    conf_high, uncorrected, classified, n (customers assigned to the segment), largest_share (of their sum that one has).

    Parameters
    ----------
    customers : Survey or DataFrame
        The features of the segmentation and the outcome; rows lacking any are left out and counted.
    outcome : str
        Numeric column that was not a feature: revenue, satisfaction, recommend.

    Examples
    --------
    >>> print(cx.compare_segments(behaved, segmentation=segments, outcome="basket_mean"))
    mean basket differs between segments of 2,000 customers, corrected for ...
    """
    survey = as_survey(customers)
    y, assigned, member, sample = _complete(survey, segmentation, outcome, min_rows)
    require_share("confidence", confidence)
    error = classification(member, assigned, sample.weights)
    least = float(error.diagonal().min())
    if np.linalg.svd(error, compute_uv=False).min() < WEAK:
        raise DataProblem(
            f"the segments overlap too much to correct {outcome} for misclassification (smallest share classified right: {percent(least)}); use fewer segments"
        )
    means, influence = corrected_means(y, assigned, error, sample.weights)
    covariance = sample.covariance_of(influence)
    std_error = np.sqrt(np.diag(covariance))
    half, own = critical_value(confidence) * std_error, [y[assigned == t] for t in range(segmentation.k)]
    table = pd.DataFrame({"segment": segment_names(segmentation.k), "estimate": means, "std_error": std_error})
    table = table.assign(conf_low=means - half, conf_high=means + half, uncorrected=[part.mean() for part in own])
    table = table.assign(
        classified=error.diagonal(), n=list(map(len, own)), largest_share=list(map(largest_share, own))
    )
    table = hide_cells(table, min_base=survey.min_base)
    p_value = joint_p_value(np.diff(means), np.diff(np.diff(covariance, axis=0), axis=1))
    summary = {"n": len(y)} | ({"n_effective": sample.n_effective} if survey.weight else {})
    summary |= {"method": "BCH three-step", "p_value": p_value}
    summary["spread"] = float(table["estimate"].max() - table["estimate"].min())
    received = len(survey.table)
    tested = (
        Check("customers with every feature and the outcome", f"{len(y)} of {received}", "all", len(y) == received),
        Check("smallest share classified right", digits.rounded(least, 3), "at least 0.8", least >= 0.8),
        segmentation.real(),
    )
    return SegmentOutcomes(
        "compare_segments", outcome, "segment", table, summary | {"established": bool(p_value <= 1 - confidence)}, tested,
        survey.labels, suppressed=int(table["n"].isna().sum()), domain=survey.condition, confidence=confidence,
        overall=float(np.average(y, weights=sample.weights)),
    )  # fmt: skip


def _complete(survey: Survey, segmentation: Segmentation, outcome: str, min_rows: int):
    table = survey.table
    require_columns(table, outcome, *segmentation.features)
    if outcome in segmentation.features:
        raise DataProblem(
            f"{outcome} is a feature that the segments were made from; differences in it are no evidence, so compare another column"
        )
    if not pd.api.types.is_numeric_dtype(table[outcome]):
        raise DataProblem(f"{outcome} is not numeric; give numbers")
    complete = table[outcome].notna().to_numpy() & segmentation.read(table)[1]
    if complete.sum() < min_rows:
        raise TooFewRespondents(f"compare_segments needs at least {min_rows} complete rows; found {complete.sum()}")
    sample = survey.sample(complete, what=f"{outcome} by segment")
    rows = table.iloc[sample.rows]
    x, y = segmentation.read(rows)[0], digits.whole(rows[outcome])
    assigned = segmentation.fit.rule.predict(x)
    if (absent := segmentation.k - len(np.unique(assigned))) > 0:
        raise TooFewRespondents(
            f"{absent} of {segmentation.k} segments have no customer with {outcome}; nothing can be compared"
        )
    return y, assigned, segmentation.fit.member.predict_proba(x), sample


def classification(posterior: np.ndarray, assigned: np.ndarray, weights=None) -> np.ndarray:
    """Return D, (k, k): the probability that a member of segment s (row) is assigned to t (column)."""
    share = posterior if weights is None else posterior * weights[:, None]
    table = np.stack([share[assigned == t].sum(axis=0) for t in range(posterior.shape[1])], axis=1)
    return table / table.sum(axis=1, keepdims=True)


def corrected_means(y, assigned, error: np.ndarray, weights=None) -> tuple[np.ndarray, np.ndarray]:
    """Return BCH means (k,) and the influence of each row on them, (n, k)."""
    entry = np.linalg.inv(error)[assigned]  # (n, k): row i, segment s
    entry = entry if weights is None else entry * weights[:, None]
    means = entry.T @ y / entry.sum(axis=0)
    return means, entry * (y[:, None] - means) / entry.sum(axis=0)
