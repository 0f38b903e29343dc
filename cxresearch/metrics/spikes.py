"""Answers that heap where they should not: 9s and 10s asked for, 5s for want of a better number.

References
----------
Agresti (2013), *Categorical Data Analysis*, 2.4 and 3.1 (log odds ratios and their errors).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter
from scipy import stats

from cxresearch import digits
from cxresearch.figures import PALETTE, QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, describe_columns, interval, listing, number, percent
from cxresearch.inference import adjusted_p_values
from cxresearch.metrics.card import VERY_SMALL, p_words
from cxresearch.metrics.cells import draw_sample, require_options
from cxresearch.metrics.hiding import hidden_cells, hide
from cxresearch.metrics.scores import recommend_answers
from cxresearch.survey import as_survey

# Answer -> what its neighbours lead one to expect on the log scale. A better agent multiplies each point by the same
# factor, which leaves this unchanged; begging lifts one answer above its neighbours. The 10 has them on one side only.
NEIGHBOURS = {5: {4: 0.5, 6: 0.5}, 9: {8: 0.5, 10: 0.5}, 10: {9: 2.0, 8: -1.0}}

describe_columns(rest=("Rest", "share of the answer among all other groups, 0-1", 3))


@dataclass(frozen=True, repr=False, eq=False)
class AnswerSpikes(Finding):
    """One row per group and answer 5, 9, 10 (`term`).

    ``estimate`` is how many times more often the answer is given than its neighbours lead one to expect, compared
    with the same in all other groups (1: no spike); `share` and `rest` are the plain shares.
    """

    confidence: float = 0.95

    def sentence(self) -> str:
        spikes = self.table[self.table["verdict"] == "spike"]
        head = f"{self.label(self.outcome)} by {self.label(self.group)}"
        family = f"{number(self.summary['family'], 0)} comparisons, Holm, n = {number(self.summary['n'], 0)}"
        if spikes.empty:
            return f"{head}: no spike at 5, 9 or 10 is established ({family})."
        words = [
            f"{self.label(r['group'])} at {r['term']} ({number(r['estimate'])} times, "
            f"{interval(r['conf_low'], r['conf_high'], self.confidence)}, "
            f"n = {number(r['n'], 0)}, adjusted {p_words(r['p_adjusted'])})"
            for _, r in spikes.head(4).iterrows()
        ]
        return (
            f"{head}: answers heap above their neighbours, compared with the other groups, in {listing(words)} "
            f"({family}). Look at how these answers were asked for."
        )

    def plot(self, ax=None):
        """Draw the ratios with intervals on a log axis; grey where not established."""
        t = self.table[self.table["estimate"].notna()].astype({"estimate": float})
        t = t.iloc[digits.descending(t["estimate"], t["group"])[:20]]
        ax = axes_or_new(ax, rows=max(len(t), 1))
        intervals(
            ax,
            [f"{self.label(g)}: {a}" for g, a in zip(t["group"], t["term"])],
            t["estimate"],
            t["conf_low"],
            t["conf_high"],
            colour=QUIET,
        )
        at = np.flatnonzero(t["verdict"] == "spike")
        ax.plot(t["estimate"].iloc[at], at, "o", color=PALETTE[1])
        ax.axvline(1, color="black", linewidth=0.8)
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.set_xlabel(
            wrap(f"answer by its neighbours, times the other groups' ratio; {percent(self.confidence)} intervals", 62)
        )
        return ax


def answer_spikes(responses, item: str, *, by: str, confidence: float = 0.95) -> AnswerSpikes:
    """Return where answers 5, 9 or 10 heap above their neighbours more than in the other groups (agents, channels).

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    score, by : str
        Recommend item (0-10); column of agents, channels or the like.
    confidence
        As in `nps`.

    Returns
    -------
    AnswerSpikes

    Raises
    ------
    DataProblem
        Answers off 0-10, missing columns.

    Notes
    -----
    log n_a - (log n_{a-1} + log n_{a+1}) / 2, for 10 log n_10 - 2 log n_9 + log n_8 (half added to each count),
    group less rest, with the error of a log odds ratio; one-sided, Holm over groups of 30 answers or more. A spike is a
    question about how answers come about, not a proof.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> finding = cx.answer_spikes(study.responses, "recommend", by="region")
    >>> print(finding)
    recommend by region: no spike at 5, 9 or 10 is established (12 comparisons, Holm, n = 2,171).
    """
    survey = as_survey(responses)
    responses = survey.table
    score = item
    labels, min_base = survey.labels, survey.min_base
    require_options(responses, score, by, confidence=confidence, min_base=min_base)
    scores = recommend_answers(responses, score)
    sample = draw_sample(responses, ~np.isnan(scores), by=by, min_base=min_base)
    k = len(sample.keys)
    counts = np.bincount(sample.cell * 11 + scores[sample.rows].astype(int), minlength=11 * k).reshape(k, 11)
    table = pd.concat([_spikes(sample, counts, answer, confidence) for answer in NEIGHBOURS], ignore_index=True)
    eligible = (table["n"] >= VERY_SMALL).to_numpy()
    table["p_adjusted"] = adjusted_p_values(np.where(eligible, table["p_value"], np.nan), correction="holm")
    table["verdict"] = np.where(
        table["p_adjusted"] < 1 - confidence, "spike", np.where(eligible, "not established", "base too small")
    ).astype(object)
    for p in ("p_value", "p_adjusted"):
        table = table.iloc[digits.descending(-table[p])]
    table = table.reset_index(drop=True)
    summary = {
        "n": int(sample.n.sum()),
        "family": int(eligible.sum()),
        "method": "local log ratio against the other groups, Holm",
    }
    found = int((table["verdict"] == "spike").sum())
    tested = (*sample.tested, Check("spikes at 5, 9 or 10", found, "0", found == 0))
    hidden = hidden_cells(sample.keys.assign(n=sample.n), min_base=min_base)
    gone = table["group"].isin(sample.keys["group"][hidden]).to_numpy()
    return AnswerSpikes(
        "answer_spikes", score, by, hide(table, gone, min_base), summary, tested, labels or {}, {}, confidence
    )


def _spikes(sample, counts, answer, confidence) -> pd.DataFrame:
    rest = counts.sum(axis=0) - counts
    (own, own_variance), (other, other_variance) = _local(counts, answer), _local(rest, answer)
    difference, error = own - other, np.sqrt(own_variance + other_variance)
    half = stats.norm.ppf((1 + confidence) / 2) * error
    n = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts[:, answer] / n, rest[:, answer] / rest.sum(axis=1)
    return sample.keys.assign(
        term=answer,
        estimate=np.exp(difference),
        conf_low=np.exp(difference - half),
        conf_high=np.exp(difference + half),
        p_value=stats.norm.sf(difference / error),
        share=shares[0],
        rest=shares[1],
        n=n,
    )


def _local(counts, answer) -> tuple[np.ndarray, np.ndarray]:
    """Return log count less what the neighbours lead one to expect, and its variance, (k,) each."""
    held, near = counts + 0.5, NEIGHBOURS[answer]
    expected = sum(c * np.log(held[:, j]) for j, c in near.items())
    return np.log(held[:, answer]) - expected, 1 / held[:, answer] + sum(c**2 / held[:, j] for j, c in near.items())
