"""Waves that are reported: signal or noise by a control chart, and what late answers restate."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, QUIET, axes_or_new, over_waves, titled
from cxresearch.findings import Check, listing, number
from cxresearch.metrics.estimate import base_words, hide, vector, wholly_sampled
from cxresearch.metrics.question import MeasureFinding, ask, check_asked
from cxresearch.survey import as_survey

COUNTS = ["late", "withdrawn", "revised"]
LIMITS = 3.0  # standard errors from the centre: a false alarm in 1 of 370 waves
RUN = 8  # waves in a row on one side of the centre
MOST_DISPERSION = 1.5  # variation between waves, in sampling errors, that the limits stand
SPAN_FACTOR = 1.128  # mean moving range of two normal values, in standard deviations


@dataclass(frozen=True, repr=False, eq=False)
class ControlChart(MeasureFinding):
    """One row per wave, in the measure's unit: value, centre, limits, signal."""

    @property
    def signals(self) -> np.ndarray:
        return np.flatnonzero(self.table["signal"].notna() & (self.table["signal"] != "none"))

    def sentence(self) -> str:
        value, rows = self.measure.value, [row for _, row in self.table.iloc[self.signals].iterrows()]
        waves = listing(f"{self.label(r['wave'])} ({value(r['estimate'])}, {r['signal']})" for r in rows[:5])
        known = dict(centre=value(self.summary["centre"]), waves=waves, stand="stands" if len(rows) == 1 else "stand")
        limits = self.say("limits", limits=number(self.summary["limits"], 0))
        return f"{self.say('signals' if rows else 'calm', **known)} {limits}"

    def plot(self, ax=None):
        """Draw the waves with centre and limits; signals filled in another colour."""
        ax, t = axes_or_new(ax), self.read(self.table, "estimate", "limit_low", "limit_high")
        at, out = np.arange(len(t)), self.signals
        for column, label in (("limit_low", None), ("limit_high", "limits")):
            ax.step(at, t[column], where="mid", color=QUIET, linestyle="--", linewidth=1, label=label)
        ax.axhline(self.measure.units.shown * self.summary["centre"], color=QUIET, linewidth=1, label="centre")
        ax.plot(at, t["estimate"], "o-", color=PALETTE[0])
        ax.plot(out, t["estimate"].iloc[out], "o", color=PALETTE[1], markersize=9, label="signal")
        ax.set_xticks(at, [self.label(w) for w in t["wave"]], rotation=45 if len(t) > 8 else 0)
        ax.set(xlabel="wave", ylabel=self.measure.axis)
        ax.legend(loc="best")
        return titled(ax, self.title)


def control_chart(
    responses, item: str, *, measure="nps", threshold=None, version=None, scoring="mean", baseline: int | None = None
):
    """Return which waves stand out from what sampling alone would do around a common value.

    Limits at three standard errors give a false alarm in 1 of 370 waves. The other parameters are as in `compare_waves`.

    Parameters
    ----------
    baseline : int, optional
        The first so many waves set the centre (all if None); later ones are judged by it.

    Examples
    --------
    >>> print(cx.control_chart(study.responses, "recommend"))
    Would recommend us: no wave stands out from noise around 22.9 points (n = 2,171). The centre ...
    """
    given = dict(threshold=threshold, version=version, scoring=scoring, moves=True, what="the control chart")
    question = ask("control_chart", responses, item, measure, **given)
    if (waves := len(question.waves)) < 2:
        return question.nothing("a control chart cannot be drawn, the survey has one wave")
    first, sample, codes = waves if baseline is None else baseline, question.sample, question.codes
    if not 2 <= first <= waves:
        raise DataProblem(f"baseline={baseline!r} must be 2 to {waves} waves")
    if wholly_sampled(sample).any():
        return question.nothing("a control chart cannot be drawn, everybody was asked: no wave holds a sample's noise")
    compared, inside, units = vector(sample, codes, question.measure.form), sample.cell < first, question.measure.units
    w = sample.weights[inside] / sample.weights[inside].sum()
    centre = float(w @ codes[inside])
    with np.errstate(divide="ignore"):
        error = np.sqrt(max(w @ codes[inside] ** 2 - centre**2, 0.0) / compared.base)
    spread = float(np.nanmean(np.abs(np.diff(((compared.raw - centre) / error)[:first]))) / SPAN_FACTOR)
    reach = LIMITS * error
    low, high = question.measure.scale if question.measure.form == "mean" else (units.least, units.most)
    words = base_words(sample.n, compared.base)
    side, large = pd.Series(np.sign(compared.raw - centre)), np.isin(words, ["indicative", "enough"])
    run = side.groupby((side.diff() != 0).cumsum()).cumcount() + 1
    beyond, long = large & (np.abs(compared.raw - centre) > reach), large & (run >= RUN) & (side != 0)
    signal = np.select([beyond, long], ["beyond limits", "run of eight"], "none")
    scale, columns = units.factor, {"estimate": compared.raw, "std_error": error, "centre": centre}
    columns |= {"limit_low": np.maximum(centre - reach, low), "limit_high": np.minimum(centre + reach, high)}
    table = sample.keys.assign(**{name: scale * v for name, v in columns.items()}, signal=signal.astype(object))
    table = table.assign(n=sample.n, n_effective=compared.base, base=words)
    summary = {"centre": scale * centre, "baseline": first, "limits": LIMITS, "dispersion": spread, "n": len(sample)}
    summary |= {"n_effective": float(np.nansum(compared.base)), "method": "Shewhart"}
    summary["established"] = bool((signal != "none")[~sample.hidden].any())
    limit, calm = f"at most {MOST_DISPERSION:g}; beyond it signals are many", bool(spread <= MOST_DISPERSION)
    check = Check("variation between waves / sampling", digits.rounded(spread, 2), limit, calm)
    return question.finding(ControlChart, hide(table, sample.hidden), summary, (*sample.checks, check))


@dataclass(frozen=True, repr=False, eq=False)
class Restatement(MeasureFinding):
    """One row per earlier wave: reported and restated value, answers late, withdrawn and revised."""

    def sentence(self) -> str:
        known, value, words = {name: number(self.summary[name], 0) for name in COUNTS}, self.measure.value, []
        for _, r in self.table[self.table[COUNTS].sum(axis=1) > 0].astype(object).iterrows():
            moved = f"from {value(r['reported'])} to {value(r['restated'])}"
            words.append(f"{self.label(r['wave'])} {moved} (n = {number(r['n'], 0)})")
        more = [f"{len(words) - 4} more waves"] if len(words) > 4 else []
        return self.say("restated" if words else "unrestated", **known, waves=listing([*words[:4], *more]))

    def plot(self, ax=None):
        """Draw each wave's value as reported and as restated."""
        table = self.table.assign(wave=[self.label(wave) for wave in self.table["wave"]])
        table = self.read(table.melt("wave", ["reported", "restated"], "extract", "value"), "value")
        options = dict(by="extract", marked=["restated"], unit=self.measure.axis, title=self.title)
        return over_waves(table, "value", ax=ax, **options)


def restated_waves(before, after, item: str, *, measure: str = "nps", threshold=None) -> Restatement:
    """Return how the waves of an earlier extract read in a later one, and how many late answers did that.

    `before` and `after` are surveys (or `after` a DataFrame): the responses as extracted earlier and later, with waves
    and respondents; `item`, `measure` and `threshold` are as in `compare_waves`.

    Examples
    --------
    >>> early = study.responses.with_table(study.responses.table.iloc[:-50])
    >>> print(cx.restated_waves(early, study.responses, "recommend"))
    Would recommend us: 50 late, 0 withdrawn and 0 revised answers restate 2024Q4 from ...
    """
    old = as_survey(before)
    new = old.with_table(after) if isinstance(after, pd.DataFrame) else as_survey(after)
    keys, values, answers = [old.wave, old.respondent], [], []
    if None in keys or new.wave is None:
        raise DataProblem("restated_waves matches answers by wave and respondent; name both with as_survey(...)")
    for survey in (old, new):
        check_asked(survey, *keys)
        given = dict(threshold=threshold, wave=True, what="the restatement")
        question = ask("restated_waves", survey, item, measure, **given)
        sample, scale = question.sample, question.measure.units.factor
        table = sample.keys.assign(value=scale * sample.means(question.codes), n=sample.n, hidden=sample.hidden)
        values.append(table.set_index("wave"))
        rows = survey.table[[*keys, item]].dropna().drop_duplicates(keys, keep="last")
        answers.append(rows.set_axis(["wave", "respondent", "answer"], axis=1))
    matched = dict(on=["wave", "respondent"], how="outer", suffixes=("_old", "_new"), indicator="in")
    both = answers[0].merge(answers[1], **matched)
    kinds = {"late": both["in"] == "right_only", "withdrawn": both["in"] == "left_only"}
    kinds["revised"] = (both["in"] == "both") & (both["answer_old"] != both["answer_new"])
    counts = pd.DataFrame(kinds).groupby(both["wave"].to_numpy(), observed=True).sum()
    late = values[1].reindex(values[0].index)
    table = pd.DataFrame({"reported": values[0]["value"], "restated": late["value"]}).join(counts)
    table = table.assign(n=late["n"].fillna(0).astype(int)).rename_axis("wave").reset_index()
    gap = float((table["restated"] - table["reported"]).abs().max())
    most = 1 if question.measure.form == "net" else 0.01
    check = Check("largest restatement", digits.rounded(gap, 3), f"at most {most:g}", bool(gap <= most))
    summary = {name: int(table[name].sum()) for name in COUNTS} | {"largest_change": gap, "n": int(table["n"].sum())}
    summary["method"] = "extracts matched on wave and respondent"
    hidden = values[0]["hidden"].to_numpy() | late["hidden"].fillna(False).to_numpy(dtype=bool)
    return question.finding(Restatement, hide(table, hidden), summary, (check,), hidden=hidden.sum())
