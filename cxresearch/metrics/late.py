"""Late answers: what today's extract says about waves that were already reported."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import require_columns
from cxresearch.figures import PALETTE, QUIET, axes_or_new, wrap
from cxresearch.findings import Check, Finding, describe_columns, listing, number
from cxresearch.metrics.cells import draw_sample, natural_key, require_options
from cxresearch.metrics.hiding import hidden_cells, hide
from cxresearch.metrics.scores import recommend_answers, recommend_codes
from cxresearch.survey import as_survey

describe_columns(
    reported=("Reported", "score as the earlier extract gave it, points", 1),
    restated=("Restated", "score as the later extract gives it, points", 1),
    late=("Late", "answers of the wave that the earlier extract did not have", 0),
    withdrawn=("Withdrawn", "answers of the wave that the later extract no longer has", 0),
    revised=("Revised", "answers that changed between the extracts", 0),
)


@dataclass(frozen=True, repr=False, eq=False)
class Restatement(Finding):
    """One row per earlier wave: reported and restated score (points), answers late, withdrawn and revised."""

    def sentence(self) -> str:
        moved = self.table[(self.table[["late", "withdrawn", "revised"]].sum(axis=1) > 0)]
        head = (
            f"{self.label(self.outcome)}: {number(self.summary['late'], 0)} late, "
            f"{number(self.summary['withdrawn'], 0)} withdrawn and {number(self.summary['revised'], 0)} revised "
            "answers"
        )
        if moved.empty:
            return f"{head}; no reported wave is restated (n = {number(self.summary['n'], 0)})."
        words = [
            f"{self.label(r['wave'])} from {number(r['reported'])} to {number(r['restated'])} points "
            f"({number(r['late'], 0)} late, n = {number(r['n'], 0)})"
            for _, r in moved.astype(object).iterrows()
        ]
        return f"{head} restate {listing(words[:4])}{f' and {len(words) - 4} more waves' if len(words) > 4 else ''}."

    def plot(self, ax=None):
        """Draw each wave's score as reported and as restated, in points."""
        ax, t = axes_or_new(ax), self.table
        at = np.arange(len(t))
        ax.plot(at, t["reported"], "o--", color=QUIET, label="reported")
        ax.plot(at, t["restated"], "o-", color=PALETTE[0], label="restated")
        ax.set_xticks(at, [self.label(w) for w in t["wave"]], rotation=45 if len(t) > 8 else 0)
        ax.set(xlabel="wave", ylabel="net promoter score, points (−100 to 100)")
        ax.set_title(wrap(self.label(self.outcome), 60), fontsize=10)
        ax.legend(loc="best")
        return ax


def restated_waves(before, after: pd.DataFrame, item: str) -> Restatement:
    """Return how the waves of an earlier extract read in a later one, and how many late answers did that.

    Parameters
    ----------
    before, after : DataFrame
        The responses as extracted earlier and later.
    score, wave, respondent : str
        Recommend item (0-10), wave column, and the id of a respondent within a wave.

    Returns
    -------
    Restatement

    Raises
    ------
    DataProblem
        Missing columns, answers off 0-10.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> early = study.responses.iloc[:-50]
    >>> print(cx.restated_waves(
    ...     early, study.responses, "recommend"
    ... ))
    recommend: 50 late, 0 withdrawn and 0 revised answers restate 2024Q4 from 28.0 to 27.7 ...
    """
    survey = as_survey(before)
    wave = survey.wave
    respondent = survey.respondent
    before = survey.table_in_time(wave)
    score = item
    weight = survey.weight
    labels, min_base = survey.labels, survey.min_base
    for table, name in ((before, "the earlier extract"), (after, "the later extract")):
        require_columns(table, score, wave, respondent, weight, where=name)
    require_options(after, score, wave, respondent, weight, confidence=0.95, min_base=min_base)
    old, new = (_scores(table, score, wave, weight, min_base) for table in (before, after))
    counts = _counts(*(_answers(table, score, wave, respondent) for table in (before, after)))
    waves = sorted(old["wave"].tolist(), key=natural_key)
    table = (
        old.rename(columns={"estimate": "reported"})
        .drop(columns="n")
        .merge(new.rename(columns={"estimate": "restated"}), on="wave", how="left")
    )
    table = table.merge(counts, on="wave", how="left").set_index("wave").loc[waves].reset_index()
    counted = table[["late", "withdrawn", "revised"]].fillna(0).sum().astype(int)
    table["n"] = table["n"].fillna(0).astype(int)
    gap = float((table["restated"] - table["reported"]).abs().max())
    tested = (Check("largest restatement, points", digits.rounded(gap, 2), "at most 1", bool(gap <= 1)),)
    summary = {
        **counted.to_dict(),
        "largest_change": gap,
        "n": int(table["n"].sum()),
        "method": "extracts matched on wave and respondent",
    }
    shown = hide(table, hidden_cells(table, min_base=min_base), min_base)
    return Restatement("restated_waves", score, None, shown, summary, tested, labels or {})


def _scores(table, score, wave, weight, min_base) -> pd.DataFrame:
    scores = recommend_answers(table, score)
    sample = draw_sample(table, ~np.isnan(scores), wave=wave, weight=weight, min_base=min_base)
    return sample.keys.assign(estimate=100 * sample.means(recommend_codes(scores[sample.rows])), n=sample.n)


def _answers(table, score, wave, respondent) -> pd.DataFrame:
    kept = table[[wave, respondent, score]].dropna().drop_duplicates([wave, respondent], keep="last")
    return kept.set_axis(["wave", "respondent", "score"], axis=1)


def _counts(old, new) -> pd.DataFrame:
    both = old.merge(new, on=["wave", "respondent"], how="outer", suffixes=("_old", "_new"), indicator=True)
    kinds = pd.DataFrame(
        {
            "wave": both["wave"],
            "late": both["_merge"] == "right_only",
            "withdrawn": both["_merge"] == "left_only",
            "revised": (both["_merge"] == "both") & (both["score_old"] != both["score_new"]),
        }
    )
    return kinds.groupby("wave", as_index=False).sum()
