"""Late answers: what today's extract says about waves that were already reported."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled
from cxresearch.findings import Check, describe_columns, listing, number
from cxresearch.metrics.answers import measured
from cxresearch.metrics.estimate import check_asked, hide
from cxresearch.metrics.finding import MeasureFinding, made
from cxresearch.survey import as_survey

describe_columns(
    reported=("Reported", "value as the earlier extract gave it, in the measure's unit", 1),
    restated=("Restated", "value as the later extract gives it, in the measure's unit", 1),
    late=("Late", "answers of the wave that the earlier extract did not have", 0),
    withdrawn=("Withdrawn", "answers of the wave that the later extract no longer has", 0),
    revised=("Revised", "answers that changed between the extracts", 0),
)
COUNTS = ["late", "withdrawn", "revised"]


@dataclass(frozen=True, repr=False, eq=False)
class Restatement(MeasureFinding):
    """One row per earlier wave: reported and restated value, answers late, withdrawn and revised."""

    def sentence(self) -> str:
        moved = self.table[self.table[COUNTS].sum(axis=1) > 0].astype(object)
        known = {name: number(self.summary[name], 0) for name in COUNTS} | {"what": self.what}
        if moved.empty:
            return self.say("unrestated", **known, n=number(self.summary["n"], 0))
        value = self.measure.value
        words = [
            f"{self.label(r['wave'])} from {value(r['reported'])} to {value(r['restated'])} (n = {number(r['n'], 0)})"
            for _, r in moved.iterrows()
        ]
        more = [f"{len(words) - 4} more waves"] if len(words) > 4 else []
        return self.say("restated", **known, waves=listing([*words[:4], *more]))

    def plot(self, ax=None):
        """Draw each wave's value as reported and as restated."""
        ax, at = axes_or_new(ax), np.arange(len(self.table))
        for column, style, colour in (("reported", "o--", QUIET), ("restated", "o-", PALETTE[0])):
            ax.plot(at, self.measure.shown * self.table[column].astype(float), style, color=colour, label=column)
        ax.set_xticks(at, [self.label(w) for w in self.table["wave"]], rotation=45 if len(at) > 8 else 0)
        ax.set(xlabel="wave", ylabel=self.measure.axis)
        ax.legend(loc="best")
        return titled(ax, self.headline)


def restated_waves(before, after, item: str, *, measure: str = "nps", threshold=None) -> Restatement:
    """Return how the waves of an earlier extract read in a later one, and how many late answers did that.

    Parameters
    ----------
    before, after : Survey (or DataFrame, as `after`)
        The responses as extracted earlier and later, with waves and respondents.
    item : str
    measure, threshold
        As in `compare_waves`.

    Returns
    -------
    Restatement

    Raises
    ------
    DataProblem
        Extracts without waves or respondents, answers off the measure's scale.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> early = study.responses.with_table(study.responses.table.iloc[:-50])
    >>> print(cx.restated_waves(early, study.responses, "recommend"))
    Would recommend us: 50 late, 0 withdrawn and 0 revised answers restate 2024Q4 from ...
    """
    old = as_survey(before)
    new = old.with_table(after) if isinstance(after, pd.DataFrame) else as_survey(after)
    keys = [old.wave, old.respondent]
    if None in keys or new.wave is None:
        raise DataProblem("restated_waves matches answers by wave and respondent; name both with as_survey(...)")
    values, answers = [], []
    for survey in (old, new):
        check_asked(survey, item, *keys, confidence=0.95)
        asked = measured(survey, item, measure, threshold=threshold)
        sample = survey.sample(asked.answered, wave=True, what="the restatement")
        value = asked.factor * sample.means(asked.codes[sample.rows])
        values.append(sample.keys.assign(value=value, n=sample.n, hidden=sample.hidden).set_index("wave"))
        rows = survey.table[[*keys, item]].dropna().drop_duplicates(keys, keep="last")
        answers.append(rows.set_axis(["wave", "respondent", "answer"], axis=1))
    both = answers[0].merge(
        answers[1], on=["wave", "respondent"], how="outer", suffixes=("_old", "_new"), indicator="in"
    )
    revised = (both["in"] == "both") & (both["answer_old"] != both["answer_new"])
    kinds = {"late": both["in"] == "right_only", "withdrawn": both["in"] == "left_only", "revised": revised}
    counts = pd.DataFrame(kinds).groupby(both["wave"].to_numpy(), observed=True).sum()
    late = values[1].reindex(values[0].index)
    table = pd.DataFrame({"reported": values[0]["value"], "restated": late["value"]})
    table = table.join(counts).assign(n=late["n"].fillna(0).astype(int)).rename_axis("wave").reset_index()
    gap = float((table["restated"] - table["reported"]).abs().max())
    most = 1 if asked.form == "net" else 0.01
    check = Check("largest restatement", digits.rounded(gap, 3), f"at most {most:g}", bool(gap <= most))
    summary = {name: int(table[name].sum()) for name in COUNTS}
    summary |= {"largest_change": gap, "n": int(table["n"].sum()), "method": "extracts matched on wave and respondent"}
    hidden = values[0]["hidden"].to_numpy() | late["hidden"].fillna(False).to_numpy(dtype=bool)
    return made(
        Restatement, "restated_waves", new, asked, None, hide(table, hidden), summary, (check,), hidden=hidden.sum()
    )
