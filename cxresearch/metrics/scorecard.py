"""The scorecard: one number per group and wave, its interval, its base, and the answers behind it.

References
----------
Reichheld (2003), Harvard Business Review 81(12); Rocks (2016), The American Statistician 70(4), 365-372;
Goodman (1965), Technometrics 7(2); Wilson (1927); Newcombe (1998), Statistics in Medicine 17, 857-872.
"""

import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import require_choice
from cxresearch.figures import PALETTE, QUIET, axes_or_new, forest, over_waves, titled, wrap
from cxresearch.findings import Check, describe_columns, number, p_words, percent
from cxresearch.inference import goodman_intervals
from cxresearch.metrics.answers import measured, scale_checks
from cxresearch.metrics.estimate import (
    SUPPRESSED,
    VERY_SMALL,
    base_checks,
    base_words,
    cell_estimates,
    cells_p_value,
    check_asked,
    columns_of,
    hide,
)
from cxresearch.metrics.finding import MeasureFinding, base_of, made
from cxresearch.survey import as_survey

METHODS = {"net": {"adjusted_wald": "adjusted Wald", "score": "score"}, "share": "Wilson", "mean": "t"}

describe_columns(
    promoters=("Promoters", "share of promoters, 0-1", 3),
    passives=("Passives", "share of passives, 0-1", 3),
    detractors=("Detractors", "share of detractors, 0-1", 3),
    easy=("Easy", "share of answers that count as easy, 0-1", 3),
    neither=("Neither", "share of answers that count as neither easy nor hard, 0-1", 3),
    hard=("Hard", "share of answers that count as hard, 0-1", 3),
    kish_deff=(
        "Kish deff",
        "n sum w^2 / (sum w)^2: what unequal weights alone would cost; not the design effect of this estimate",
        2,
    ),
)


@dataclass(frozen=True, repr=False, eq=False)
class Scorecard(MeasureFinding):
    """One row per group and wave (columns only where asked for).

    ``estimate``, ``std_error`` and the interval are in points (-100...100) for net scores, shares (0-1) for top boxes
    and agreement, scale points for means. ``base`` says what `n` and `n_effective` allow. ``further`` holds
    ``distribution`` (share of each answer) and, for net promoter scores, ``groups`` (simultaneous intervals).
    """

    @property
    def id(self) -> str:
        return super().id + (" over waves" if "wave" in self.table else "")

    @property
    def keys(self) -> list[str]:
        return [key for key in ("group", "wave") if key in self.table]

    def sentence(self) -> str:
        s, known = self.summary, dict(what=self.what, words=self.measure.words)
        whole = dict(value=self.measure.value(s["estimate"]), span=self.span(s), base=base_of(s))
        shown = self.table[self.table["estimate"].notna() & (self.table["base"] != "suppressed")]
        if "group" in self.keys:
            return self._groups_words(shown, whole)
        if self.keys and len(shown) and shown.index[-1] == self.table.index[-1]:
            row, p = shown.iloc[-1], s.get("p_value", np.nan)
            latest = dict(value=self.measure.value(row["estimate"]), span=self.span(row), base=base_of(row))
            key = "together" if not np.isfinite(p) else "differ" if p < 1 - self.confidence else "open"
            tested = {"p": p_words(p)} if np.isfinite(p) else {}
            first = self.say("score_latest", **known, **latest, wave=self.label(row["wave"]))
            return f"{first} {self.say('waves_' + key, **whole, **tested)}"
        if s["base"] == "suppressed":
            return self.say("score_hidden", **known, base=base_of(s), least=SUPPRESSED)
        return self.say("score", **known, **whole) if s["base"] == "enough" else self.say(
            "score_small", **known, **whole, size=s["base"])  # fmt: skip

    def _groups_words(self, shown, whole) -> str:
        large = shown[shown["base"] != "very small"]
        large = large if len(large) > 1 else shown
        asked = dict(what=f"{self.what}, {self.measure.words}", by=self.by_words)
        asked["by"] += " and wave" * ("wave" in self.keys)
        cells = "cells" if "wave" in self.keys else "groups"
        if len(large) < 2:
            return (
                f"{self.say('cells_hidden', **asked, cells=cells)} {self.say('cells_numbers', parts='Whole', **whole)}"
            )
        names = large[self.keys].apply(lambda row: ", ".join(self.label(v) for v in row), axis=1)
        order = large["estimate"].astype(float)
        top, low = (digits.descending(sign * order, names)[0] for sign in (1, -1))
        ends = dict(top=names.iloc[top], high=self.measure.value(order.iloc[top]))
        ends |= dict(bottom=names.iloc[low], low=self.measure.value(order.iloc[low]))
        p = self.summary.get("p_value", np.nan)
        if not np.isfinite(p):
            first = self.say("cells_range", **asked, **ends)
        elif p < 1 - self.confidence:
            first = self.say("cells_differ", **asked, **ends, cells=cells, p=p_words(p))
        else:
            first = self.say("cells_open", **asked, cells=cells, p=p_words(p))
        parts = [
            self.say("part", name=names.iloc[i], value=self.measure.value(order.iloc[i]), span=self.span(large.iloc[i]),
                     base=base_of(large.iloc[i])) for i in (top, low)
        ]  # fmt: skip
        small, hidden = len(shown) - len(large), len(self.table) - len(shown)
        if small or hidden:
            left = dict(small=small, hidden=hidden, least=VERY_SMALL)
            return f"{first} {self.say('cells_left_out', parts='; '.join(parts), **whole, **left)}"
        return f"{first} {self.say('cells_numbers', parts='; '.join(parts), **whole)}"

    def plot(self, ax=None):
        """Draw the trend where waves were asked for, dots where groups were, else the distribution of the answers."""
        if not self.keys:
            return _draw_distribution(self, ax)
        table = self.table[self.table["estimate"].notna() & (self.table["base"] != "suppressed")].copy()
        columns = ["estimate", "conf_low", "conf_high"]
        table[columns] = table[columns].astype(float) * self.measure.shown
        unit = f"{self.measure.axis}; {percent(self.confidence)} intervals"
        if "wave" in self.keys:
            table["wave"] = [self.label(wave) for wave in table["wave"]]
            by = "group" if "group" in self.keys else None
            marked = list(dict.fromkeys(table["group"]))[: len(PALETTE)] if by else ()
            return over_waves(
                table, "estimate", low="conf_low", high="conf_high", by=by, marked=marked, unit=wrap(unit, 50),
                title=self.headline, ax=ax,
            )  # fmt: skip
        table = table.iloc[digits.descending(table["estimate"], table["group"])]
        names = [
            f"{textwrap.shorten(self.label(group), 34, placeholder='…')} ({number(n, 0)}{'' if base == 'enough' else ', ' + base})"
            for group, n, base in zip(table["group"], table["n"], table["base"])
        ]
        return forest(
            table, "estimate", names=names, low="conf_low", high="conf_high", line=self.summary["estimate"] * self.measure.shown,
            unit=wrap(f"{unit}; dashed: all", 62), title=self.headline, ax=ax,
        )  # fmt: skip


def _draw_distribution(card: Scorecard, ax):
    ax = axes_or_new(ax)
    table, classes = card.further["distribution"], card.measure.classes
    names = list(dict.fromkeys(classes.values()))
    colours = dict(zip(names, (PALETTE[1], QUIET, PALETTE[0]) if len(names) == 3 else (QUIET, PALETTE[0])))
    for name, colour in colours.items():
        rows = table[[classes.get(t) == name for t in table["term"]]]
        label = f"{name}, {percent(rows['share'].sum(), 1)}"
        ax.bar(rows["term"], 100 * rows["share"], color=colour, label=label, width=0.8)
    ax.set_xticks(list(classes))
    ax.set(xlabel=f"answer to “{wrap(card.what, 60)}”", ylabel="share of answers, %")
    ax.set_ylim(0, max(130 * table["share"].max(), 1))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left", ncols=len(colours))
    return titled(ax, card.headline)


# --- the four measures ------------------------------------------------------------------------------------------------


def nps(
    responses, item: str, *, by=None, wave: bool = False, method: str = "adjusted_wald", confidence: float = 0.95
) -> Scorecard:
    """Return the net promoter score, 100 (promoters - detractors), with its interval.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
        One row per response; rows without an answer are left out and counted.
    item : str
        Recommend item on 0-10, whole answers.
    by : column or list of columns, optional
        They come out as `group`, several joined by a comma.
    wave : bool
        By the survey's waves, in order of time.
    method : {"adjusted_wald", "score"}
        Adjusted Wald adds 3/4 promoter, 3/2 passive and 3/4 detractor (Rocks 2016); the point stays the plain score.
    confidence : float
        Nominal coverage.

    Returns
    -------
    Scorecard
        In points, -100...100, with the shares of promoters, passives and detractors (0-1).

    Raises
    ------
    DataProblem
        Answers that are not whole numbers on 0-10, a declared or apparent 1-10 scale, a design that is not known.

    Notes
    -----
    One answer has variance p + d - (p - d)^2. With weights or a design the error is linearised, and the interval uses
    n* = variance / error^2 answers, times (z / t)^2 with t on units minus strata (after Korn & Graubard 1998).
    Where all answer alike n* is Kish's effective n. Intervals are cut at -100 and 100.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> finding = cx.nps(study.responses, "recommend", wave=True)
    >>> finding.tidy()[["wave", "estimate", "conf_low", "conf_high", "n"]].round(1)
         wave  estimate  conf_low  conf_high    n
    0  2024Q1      22.0      14.7       29.1  523
    1  2024Q2      26.5      19.4       33.3  559
    2  2024Q3      15.7       8.3       22.9  522
    3  2024Q4      26.7      19.6       33.4  567
    """
    require_choice("method", method, METHODS["net"])
    return _scorecard("nps", responses, item, "nps", by, wave, confidence, method=method)


def top_box(
    responses, item: str, *, threshold: float | None, by=None, wave: bool = False, confidence: float = 0.95
) -> Scorecard:
    """Return the share of answers at or above a threshold, with Wilson's interval.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    item : str
        A rating, such as satisfaction on 1-5.
    threshold : float
        Lowest answer that counts (4 on 1-5: the top two boxes); None takes the two highest answers of the scale. The
        finding names it.
    by, wave, confidence
        As in `nps`.

    Returns
    -------
    Scorecard
        Shares, 0-1.

    Raises
    ------
    DataProblem
        Text answers, answers off a declared scale, a threshold outside the scale.

    Notes
    -----
    With weights or a design Wilson's interval uses n* = p (1 - p) / error^2, times (z / t)^2. Top boxes of scales of
    different length are not comparable.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.top_box(study.responses, "satisfaction", threshold=6))
    Overall satisfaction: share answering 6 or above on 1–7 36.0 % (95 % interval 33.7 to 38.4 %; ...
    """
    return _scorecard("top_box", responses, item, "top_box", by, wave, confidence, threshold=threshold)


def mean_score(responses, item: str, *, by=None, wave: bool = False, confidence: float = 0.95) -> Scorecard:
    """Return the mean of the answers, with a t interval.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    item : str
        A rating.
    by, wave, confidence
        As in `nps`.

    Returns
    -------
    Scorecard
        In scale points.

    Raises
    ------
    DataProblem
        Text answers, answers off a declared scale.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.mean_score(study.responses, "delivery"))
    Delivery: mean on 1–7 ...
    """
    return _scorecard("mean_score", responses, item, "mean", by, wave, confidence)


def effort(
    responses, item: str, *, version: int, scoring: str = "mean", by=None, wave: bool = False, confidence: float = 0.95
) -> Scorecard:
    """Return a customer effort score, its version and scoring named.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    item : str
        Whole answers: version 1 on 1-5 ("how much effort", low is good), version 2 on 1-7 ("made it easy", high is
        good).
    version : {1, 2}
    scoring : {"mean", "agree", "net"}
        Mean with a t interval; agree, the share of 5-7 (version 1: of low effort, 1-2), with Wilson's; net, 6-7 minus
        1-3 (version 1: 1-2 minus 4-5) in points, with the adjusted Wald interval.
    by, wave, confidence
        As in `nps`.

    Returns
    -------
    Scorecard
        Its `id` holds version and scoring, so that two of them are never compared or trended.

    Raises
    ------
    DataProblem
        Answers that are not whole or off the version's scale, an unknown version or scoring.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.effort(study.responses, "ease", version=2, scoring="agree"))
    Made it easy for me: customer effort score 2.0, share agreeing (5–7 on 1–7) 65.2 % (95 % ...
    """
    return _scorecard("effort", responses, item, "effort", by, wave, confidence, version=version, scoring=scoring)


def _scorecard(function, responses, item, name, by, wave, confidence, *, method="adjusted_wald", **options):
    """Return the scorecard of one measure by cell, with the whole in its summary."""
    survey = as_survey(responses)
    check_asked(survey, item, *columns_of(by), confidence=confidence)
    measure = measured(survey, item, name, **options)
    sample = survey.sample(measure.answered, by=by, wave=wave, what="the scorecard")
    codes, answers = measure.codes[sample.rows], measure.answers[sample.rows]
    part, whole = (_columns(s, codes, measure, confidence, method) for s in (sample, sample.pooled()))
    table = pd.concat([sample.keys, part], axis=1)
    table["base"] = base_words(table["n"], table["n_effective"])
    p = cells_p_value(sample, codes, measure.form)
    named = METHODS[measure.form] if measure.form != "net" else METHODS["net"][method]
    summary = whole.iloc[0].to_dict() | {
        "p_value": p,
        "base": base_words(whole["n"], whole["n_effective"])[0],
        "method": named + ", linearised" * (not sample.plain) + ", raked" * bool(sample.margins),
        "confidence": confidence,
        "kish_deff": float(whole["n"].item() / sample.n_effective),
        "established": bool(p < 1 - confidence) if np.isfinite(p) else None,
    }
    tables = {"distribution": _distribution(sample, answers)}
    checks = [*sample.checks, *scale_checks(measure, sample)]
    if name == "nps":
        tables["groups"] = _simultaneous(sample, part, confidence)
        rare = int((part["n_effective"] * part[["promoters", "detractors"]].min(axis=1) < 5).sum())
        words = "cells with fewer than 5 promoters or detractors (exact coverage may be 91 %)"
        checks.append(Check(words, rare, "0", rare == 0))
    further = {key: hide(t, np.repeat(sample.hidden, len(t) // len(table))) for key, t in tables.items()}
    return made(
        Scorecard, function, survey, measure, by, hide(table, sample.hidden), summary,
        [*checks, *base_checks(table, sample)], further=further, hidden=sample.hidden.sum(), confidence=confidence,
    )  # fmt: skip


def _columns(sample, codes, measure, confidence, method) -> pd.DataFrame:
    """Return the estimate by cell and, for a net score, the shares of its three parts."""
    table = cell_estimates(sample, codes, measure.form, confidence, method=method)
    if measure.parts:
        share_for, share_against = sample.means(codes > 0), sample.means(codes < 0)
        for name, share in zip(measure.parts, (share_for, 1 - share_for - share_against, share_against)):
            table[name] = share
    return table


def _simultaneous(sample, part: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return the shares of promoters, passives and detractors with intervals that hold for all three."""
    names = ["promoters", "passives", "detractors"]
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = goodman_intervals(np.clip(part[names].to_numpy(), 0, 1), part["n_effective"].to_numpy(), confidence)
    return sample.keys.loc[sample.keys.index.repeat(3)].reset_index(drop=True).assign(
        term=np.tile(names, len(part)), share=part[names].to_numpy().ravel(), conf_low=low.ravel(),
        conf_high=high.ravel(), n=np.repeat(part["n"].to_numpy(), 3),
        method="Goodman, simultaneous for the three groups",
    )  # fmt: skip


def _distribution(sample, answers) -> pd.DataFrame:
    """Return the share of each answer by cell."""
    codes, values = pd.factorize(answers, sort=True)
    k, a = len(sample.keys), len(values)
    weight = np.bincount(sample.cell * a + codes, sample.weights, minlength=k * a).reshape(k, a)
    with np.errstate(invalid="ignore"):
        share = weight / weight.sum(1, keepdims=True)
    table = sample.keys.loc[sample.keys.index.repeat(a)].reset_index(drop=True)
    return table.assign(term=np.tile(values, k), share=share.ravel(), n=np.repeat(sample.n, a))
