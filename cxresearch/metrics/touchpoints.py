"""Every touchpoint over time, all changes held together."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice
from cxresearch.figures import over_waves, wrap
from cxresearch.findings import Check, describe_columns, listing, nothing, number
from cxresearch.metrics.answers import measured
from cxresearch.metrics.estimate import cell_estimates, check_asked, columns_of, people_together, vector
from cxresearch.metrics.finding import MeasureFinding, made
from cxresearch.metrics.waves import DOWN, NO_BASE, UP, differences, judged, neighbours
from cxresearch.survey import as_survey

describe_columns(items=("Items", "touchpoints", 0))


@dataclass(frozen=True, repr=False, eq=False)
class TouchpointTrend(MeasureFinding):
    """One row per touchpoint (`term`) and pair of neighbouring waves: the change, with an interval that holds for all.

    ``further["levels"]`` has each touchpoint's value by wave.
    """

    def sentence(self) -> str:
        s, moved = self.summary, self.moved
        known = dict(family=s["family"], measure=self.measure.words)
        if moved.empty:
            smallest = self.measure.size(self.table["detectable"].min())
            more = self.say("touch_base", family=s["family"], detectable=smallest, n=number(s["n"], 0))
            return f"{self.say('touch_open', **known, items=s['items'])} {more}"
        words = [
            self.say(
                "touch_rose" if row["estimate"] > 0 else "touch_fell", name=self.label(row["term"]),
                size=self.measure.size(row["estimate"]), wave=self.label(row["wave"]),
            ) for _, row in moved.iterrows()
        ]  # fmt: skip
        more = self.say("touch_more", parts=listing(words[:5]), family=s["family"], n=number(s["n"], 0))
        return f"{self.say('touch_moved', **known, moved=len(moved), first=words[0])} {more}"

    @property
    def moved(self) -> pd.DataFrame:
        """The established changes, largest first."""
        found = self.table[self.table["verdict"].isin([UP, DOWN])]
        return found.iloc[digits.descending(found["estimate"].abs().astype(float), found["term"])]

    def plot(self, ax=None):
        """Draw every touchpoint over the waves, those that moved in colour."""
        table = self.further["levels"]
        columns = ["estimate", "conf_low", "conf_high"]
        shown = table.assign(
            term=table["term"].map(self.label), wave=table["wave"].map(self.label),
            **{c: table[c].astype(float) * self.measure.shown for c in columns},
        )  # fmt: skip
        marked = {self.label(term) for term in self.moved["term"]}
        return over_waves(
            shown, "estimate", low="conf_low", high="conf_high", by="term", marked=marked, title=self.headline,
            unit=wrap(self.measure.axis, 50), ax=ax,
        )  # fmt: skip


def touchpoint_trend(
    responses, items, *, measure: str = "mean", threshold: float | None = None, confidence: float = 0.95
) -> TouchpointTrend:
    """Return every touchpoint by wave, and which moved between neighbouring waves.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    items : list of str
        Ratings on one scale; an item that nobody answered in some wave has no change there.
    measure : {"mean", "top_box", "nps"}
        With `threshold` of `top_box`.
    confidence
        As in `nps`.

    Returns
    -------
    TouchpointTrend

    Raises
    ------
    DataProblem
        No item, items on different scales, one wave, waves whose order nothing tells.

    Notes
    -----
    All changes are one family, and their intervals hold together: p-values times the size of the family, intervals at
    1 - alpha / family, both with t tails; bases under 30 are left out of it.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.touchpoint_trend(study.responses, ["products", "delivery", "staff"]))
    2 of 9 changes between neighbouring waves are established (mean on 1–7): Delivery fell 0.94 scale ...
    """
    survey, items = as_survey(responses), list(columns_of(items))
    require_choice("measure", measure, ("mean", "top_box", "nps"))
    if not items:
        raise DataProblem("touchpoint_trend needs at least one item; found none")
    check_asked(survey, *items, confidence=confidence)
    order = survey.wave_order if survey.wave else ()
    if len(order) < 2:
        why = "whether touchpoints moved cannot be said, the survey has one wave"
        return nothing("touchpoint_trend", listing(items), None, why, n=len(survey), labels=survey.labels)
    asked = [measured(survey, item, measure, threshold=threshold) for item in items]
    if len({m.words for m in asked}) > 1:
        raise DataProblem(
            f"touchpoints must be on one scale to be compared; found {listing(f'{m.item} ({m.words})' for m in asked)}; "
            "compare those of one scale, or declare the scales of the items"
        )
    changes, levels, checks, hidden = [], [], [], 0
    for one in asked:
        try:
            sample = survey.sample(one.answered, wave=True, what=survey.label(one.item))
        except TooFewRespondents as few:
            checks.append(Check(f"{survey.label(one.item)}: rows with an answer", str(few), "enough to show", False))
            continue
        if sample.hidden.any():  # with the other findings of a page its bases could be worked out from those shown
            checks.append(
                Check(f"{survey.label(one.item)}: waves under the floor", "left out", "every wave can be shown", False)
            )
            hidden += 1
            continue
        codes = one.codes[sample.rows]
        together = people_together(survey, sample, one.answered, wave=True)
        compared, places = vector(sample, codes, one.form, together), neighbours(sample.keys, "previous")
        changes.append(differences(sample, together, codes, compared, one, places).assign(term=one.item))
        level = cell_estimates(sample, codes, one.form, confidence)
        levels.append(pd.concat([sample.keys, level], axis=1).assign(term=one.item))
    if not changes:
        raise TooFewRespondents("touchpoint_trend: none of the items has enough answers to be shown")
    all_of_them = replace(asked[0], key=", ".join(items), item=", ".join(items))
    ground = pd.concat(changes, ignore_index=True).drop(columns=["overlap", "n_effective"])
    table = judged(ground, all_of_them, "bonferroni", None, confidence)
    small = int((table["verdict"] == NO_BASE).sum())
    checks.append(Check("changes on a base under 30, not tested", small, "0", small == 0))
    summary = {
        "items": len(changes), "waves": len(order), "family": int(np.isfinite(table["p_adjusted"]).sum()),
        "n": int(sum(level["n"].sum() for level in levels)), "method": f"neighbouring waves, {asked[0].words}",
        "correction": "Bonferroni, simultaneous", "established": bool(table["verdict"].isin([UP, DOWN]).any()),
    }  # fmt: skip
    levels = pd.concat(levels, ignore_index=True)
    return made(
        TouchpointTrend, "touchpoint_trend", survey, all_of_them, None, table, summary, checks, hidden=hidden,
        further={"levels": levels[["term", *levels.columns[:-1]]]}, confidence=confidence,
    )  # fmt: skip
