"""The scorecard: one number per group and wave, its interval, its base, and the answers behind it."""

import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.figures import PALETTE, QUIET, axes_or_new, columns, over_waves, titled, wrap
from cxresearch.findings import Check, listing, number, p_words, percent
from cxresearch.inference import goodman_intervals
from cxresearch.metrics.answers import PARTS, scale_checks
from cxresearch.metrics.estimate import SUPPRESSED, VERY_SMALL, base_checks, base_words, cell_estimates, hide
from cxresearch.metrics.question import MeasureFinding, ask

METHODS = {"net": "adjusted Wald", "share": "Wilson", "mean": "t"}


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

    @property
    def in_sight(self) -> pd.DataFrame:
        return self.table[self.table["estimate"].notna() & (self.table["base"] != "suppressed")]

    def sentence(self) -> str:
        s, shown, p = self.summary, self.in_sight, self.summary["p_value"]
        if "group" in self.keys:
            return self._groups_words(shown)
        if self.keys and len(shown) and shown.index[-1] == self.table.index[-1]:
            key = "together" if not np.isfinite(p) else "differ" if s["established"] else "open"
            whole = self.say(f"waves_{key}", **self.told(s) | ({"p": p_words(p)} if np.isfinite(p) else {}))
            return f"{self.say('score_latest', **self.told(shown.iloc[-1]))} {whole}"
        known = self.told(s) | {"size": s["base"], "least": SUPPRESSED}
        if self.keys and s["base"] != "suppressed":
            return self.say("latest_hidden", **known, after=self.label(self.table["wave"].iloc[-1]))
        return self.say({"suppressed": "score_hidden", "enough": "score"}.get(s["base"], "score_small"), **known)

    def _groups_words(self, shown) -> str:
        s, whole, large = self.summary, self.told(self.summary), shown[shown["base"] != "very small"]
        large = large if len(large) > 1 else shown
        known = dict(what=f"{self.what}, {self.measure.words}", cells="cells" if "wave" in self.keys else "groups")
        known["by"] = listing(map(self.label, self.by)) + " and wave" * ("wave" in self.keys)
        if len(large) < 2:
            return f"{self.say('cells_hidden', **known)} {self.say('cells_numbers', **whole, parts='Whole')}"
        names = large[self.keys].apply(lambda row: ", ".join(map(self.label, row)), axis=1)
        ends = [digits.descending(sign * large["estimate"].astype(float), names)[0] for sign in (1, -1)]
        high, low = (self.told(large.iloc[i]) | {"name": names.iloc[i]} for i in ends)
        known |= dict(top=high["name"], high=high["value"], bottom=low["name"], low=low["value"])
        key = "range" if not np.isfinite(s["p_value"]) else "differ" if s["established"] else "open"
        left = dict(small=len(shown) - len(large), hidden=len(self.table) - len(shown), least=VERY_SMALL)
        parts = "; ".join(self.say("part", **part) for part in (high, low))
        numbers = "cells_left_out" if left["small"] or left["hidden"] else "cells_numbers"
        return f"{self.say(f'cells_{key}', **known)} {self.say(numbers, **whole, **left, parts=parts)}"

    def plot(self, ax=None):
        """Draw the trend where waves were asked for, dots where groups were, else the distribution of the answers."""
        table, unit = self.in_sight, f"{self.measure.axis}; {self.level}"
        if not self.keys or len(self.table) == 1:  # one wave
            return self._distribution(ax)
        if "wave" in self.keys:
            table = self.read(table).assign(wave=[self.label(wave) for wave in table["wave"]])
            options = dict(low="conf_low", high="conf_high", unit=wrap(unit, 50), title=self.title)
            if "group" in self.keys:
                options |= dict(by="group", marked=list(dict.fromkeys(table["group"]))[: len(PALETTE)])
            elif self.established is not None:
                wave = table["wave"].iloc[digits.descending(table["estimate"].astype(float), table["wave"])].tolist()
                options["title"] = self.say(f"chart_{self.established}".lower(), high=wave[0], low=wave[-1])
            return over_waves(table, "estimate", **options, ax=ax)
        table = table.iloc[digits.descending(table["estimate"].astype(float), table["group"])]
        sizes = [number(n, 0) + ("" if b == "enough" else f", {b}") for n, b in zip(table["n"], table["base"])]
        short = [textwrap.shorten(self.label(group), 34, placeholder="…") for group in table["group"]]
        names = [f"{name} ({size})" for name, size in zip(short, sizes)]
        whole = self.summary["estimate"] * self.measure.units.shown
        return self.dots(table, names, f"{unit}; dashed: all", line=whole, ax=ax)

    def _distribution(self, ax):
        ax, table, classes = axes_or_new(ax), self.further["distribution"], self.measure.classes
        names = list(dict.fromkeys(classes.values()))
        colours = dict(zip(names, (PALETTE[1], QUIET, PALETTE[0]) if len(names) == 3 else (QUIET, PALETTE[0])))
        for name, colour in colours.items():
            rows = table[[classes.get(t) == name for t in table["term"]]]
            label = f"{name}, {percent(rows['share'].sum(), 1)}"
            ax.bar(rows["term"], 100 * rows["share"], color=colour, label=label, width=0.8)
        ax.set_xticks(list(classes))
        ax.set(xlabel=f"answer to “{wrap(self.what, 60)}”", ylabel="share of answers, %")
        ax.set_ylim(0, max(130 * table["share"].max(), 1))
        ax.grid(axis="x", visible=False)
        ax.legend(loc="upper left", ncols=columns(len(colours))).set_visible(len(colours) > 1)
        return titled(ax, self.title)


def nps(responses, item: str, *, by=None, wave: bool = False, confidence: float = 0.95) -> Scorecard:
    """Return the net promoter score, 100 (promoters - detractors), in points, with its interval.

    The adjusted Wald interval adds 3/4 promoter, 3/2 passive and 3/4 detractor (Rocks 2016); the point stays the plain
    score. With weights or a design the error is linearised, and the interval uses n* = variance / error^2 answers, times
    (z / t)^2 with t on units minus strata (after Korn & Graubard 1998). Refused are answers that are not whole numbers on
    0-10, a declared or apparent 1-10 scale, and a design that is not known.

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
    confidence : float
        Nominal coverage.

    Examples
    --------
    >>> print(cx.nps(study.responses, "recommend", wave=True))
    Would recommend us: net promoter score 26.7 points in 2024Q4 (95 % interval 19.6 to 33.4; ...
    """
    return _scorecard("nps", responses, item, "nps", by, wave, confidence)


def top_box(responses, item: str, *, threshold: float | None, by=None, wave=False, confidence=0.95) -> Scorecard:
    """Return the share of answers (0-1) at or above a threshold, with Wilson's interval.

    Parameters
    ----------
    responses, by, wave, confidence
        As in `nps`; `item` is a rating, such as satisfaction on 1-5.
    threshold : float
        Lowest answer that counts (4 on 1-5: the top two boxes); None takes the two highest answers of the scale. The
        finding names it. Top boxes of scales of different length are not comparable.

    Examples
    --------
    >>> print(cx.top_box(study.responses, "satisfaction", threshold=6))
    Overall satisfaction: share answering 6 or above on 1–7 36.0 % (95 % interval 33.7 to 38.4 %; ...
    """
    return _scorecard("top_box", responses, item, "top_box", by, wave, confidence, threshold=threshold)


def mean_score(responses, item: str, *, by=None, wave: bool = False, confidence: float = 0.95) -> Scorecard:
    """Return the mean of the answers to a rating, in scale points, with a t interval; parameters as in `top_box`.

    Examples
    --------
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
    responses, item, by, wave, confidence
        As in `nps`. The id of the finding holds version and scoring, so that two of them are never compared.
    version : {1, 2}
        1 asks "how much effort" on 1-5 (low is good), 2 "made it easy" on 1-7 (high is good).
    scoring : {"mean", "agree", "net"}
        Mean with a t interval; agree, the share of 5-7 (version 1: of low effort, 1-2), with Wilson's; net, 6-7 minus
        1-3 (version 1: 1-2 minus 4-5) in points, with the adjusted Wald interval.

    Examples
    --------
    >>> print(cx.effort(study.responses, "ease", version=2, scoring="agree"))
    Made it easy for me: customer effort score 2.0, share agreeing (5–7 on 1–7) 65.2 % (95 % ...
    """
    return _scorecard("effort", responses, item, "effort", by, wave, confidence, version=version, scoring=scoring)


def _scorecard(function, responses, item, measure, by, wave, confidence, **options) -> Scorecard:
    """Return the scorecard of one measure by cell, with the whole in its summary."""
    given = dict(by=by, wave=wave, confidence=confidence, what="the scorecard", **options)
    question = ask(function, responses, item, measure, **given)
    sample, codes, measure = question.sample, question.codes, question.measure
    part, whole = (_columns(s, codes, measure, confidence) for s in (sample, sample.pooled()))
    p = question.equal_p_value()
    summary = whole.iloc[0].to_dict() | {"p_value": p, "confidence": confidence}
    summary["method"] = METHODS[measure.form] + ", linearised" * (not sample.plain) + ", raked" * bool(sample.margins)
    summary["kish_deff"] = float(whole["n"].item() / sample.n_effective)
    summary["established"] = bool(p < 1 - confidence) if np.isfinite(p) else None
    tables, checks = {"distribution": _answers(sample, measure)}, [*sample.checks, *scale_checks(measure, sample)]
    if measure.parts == PARTS:
        tables["groups"] = _simultaneous(sample, part, confidence)
        rare = int((part["n_effective"] * part[["promoters", "detractors"]].min(axis=1) < 5).sum())
        words = "cells with fewer than 5 promoters or detractors (exact coverage may be 91 %)"
        checks.append(Check(words, rare, "0", rare == 0))
    table, further = pd.concat([sample.keys, part], axis=1), {}
    for name, each in tables.items():
        further[name] = hide(each, np.repeat(sample.hidden, len(each) // len(table)))
    checks += base_checks(table, sample)
    return question.finding(Scorecard, hide(table, sample.hidden), summary, checks, further=further)


def _columns(sample, codes, measure, confidence) -> pd.DataFrame:
    """Return the estimate by cell with what its base allows and, for a net score, the shares of its three parts."""
    table = cell_estimates(sample, codes, measure.form, confidence)
    if measure.parts:
        share_for, share_against = sample.means(codes > 0), sample.means(codes < 0)
        for name, share in zip(measure.parts, (share_for, 1 - share_for - share_against, share_against)):
            table[name] = share
    return table.assign(base=base_words(table["n"], table["n_effective"]))


def _simultaneous(sample, part: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return the shares of promoters, passives and detractors with intervals that hold for all three."""
    shares, k = part[list(PARTS)].to_numpy(), len(part)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = goodman_intervals(np.clip(shares, 0, 1), part["n_effective"].to_numpy(), confidence)
    table = sample.keys.loc[sample.keys.index.repeat(3)].reset_index(drop=True)
    table = table.assign(term=np.tile(PARTS, k), share=shares.ravel(), conf_low=low.ravel(), conf_high=high.ravel())
    return table.assign(n=np.repeat(part["n"].to_numpy(), 3), method="Goodman, simultaneous for the three groups")


def _answers(sample, measure) -> pd.DataFrame:
    """Return the share of each answer by cell."""
    codes, values = pd.factorize(measure.answers[sample.rows], sort=True)
    k, a = len(sample.keys), len(values)
    weight = np.bincount(sample.cell * a + codes, sample.weights, minlength=k * a).reshape(k, a)
    with np.errstate(invalid="ignore"):
        share = weight / weight.sum(1, keepdims=True)
    table = sample.keys.loc[sample.keys.index.repeat(a)].reset_index(drop=True)
    return table.assign(term=np.tile(values, k), share=share.ravel(), n=np.repeat(sample.n, a))
