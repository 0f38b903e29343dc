"""Penalty and reward: does a low rating cost what a high one brings, beyond what a straight line gives?

References
----------
Brandt (1987); Matzler & Sauerwein (2002), International Journal of Service Industry Management 13, 314;
Mikulić & Prebežac (2008), Managing Service Quality 18, 559 (asymmetry).
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.figures import legend_below
from cxresearch.drivers.model import DriverFinding, Model, conclude, fit, model_checks
from cxresearch.drivers.question import MISSING, Question, ask, check_options, one_thread, persons_in, scales_of
from cxresearch.drivers.sentences import base_of, say, with_interval
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled, wrap
from cxresearch.findings import Check, ends, listing, number, p_words
from cxresearch.inference import percentile_interval
from cxresearch.inference.shares import unpacked
from cxresearch.survey import as_survey

ALIKE = 1 / 3  # of the asymmetry: inside it neither side is twice the other
KINDS = ("basic", "performance", "excitement")


@dataclass(frozen=True, repr=False, eq=False)
class PenaltyReward(DriverFinding):
    """What low and high ratings of each driver go with, in points of the outcome, all other drivers held.

    ``tidy()``: one row per driver; `estimate` is the range reward - penalty with its interval; `departure` is the
    asymmetry less what a straight line gives with these thirds.
    """

    left_out: tuple[str, ...] = ()

    def headline(self) -> str:
        """Return the first sentence."""
        s, t, outcome = self.summary, self.table, self.label(self.outcome)
        widest, k = digits.largest(t, "estimate"), len(t)
        if np.isnan(s["p_value"]):
            return self.no_verdict()
        if s["p_value"] > 1 - s["confidence"]:
            drivers = f"the {k} drivers" if k > 1 else self.label(widest["term"])
            return say("flat", drivers=drivers, outcome=outcome, p=p_words(s["p_value"]), base=base_of(s))
        low, high = widest["conf_low"], widest["conf_high"]
        points = with_interval(number(widest["estimate"], 2), low, high, s["confidence"], 2)
        more = {"k": k} if k > 1 else {}
        return say(
            "widest" if k > 1 else "only", term=self.label(widest["term"]), points=points, outcome=outcome, **more
        )

    def sentence(self) -> str:
        s, t, said = self.summary, self.table, [self.headline()]
        if s["p_value"] <= 1 - s["confidence"]:
            named = {k: [self.label(x) for x in t["term"][t["asymmetry_kind"] == k]] for k in KINDS}
            kinds = "; ".join(f"{k}: {listing(names)}" for k, names in named.items() if names)
            base = base_of(s)
            said.append(say("kinds", kinds=kinds, base=base) if kinds else say("no_kind", base=base))
        if self.left_out:
            said.append(say("too_few", drivers=listing(map(self.label, self.left_out))))
        return " ".join(said)

    def plot(self, ax=None):
        t = self.table.iloc[digits.descending(self.table["estimate"], self.table["term"])]
        ax = axes_or_new(ax, rows=len(t) + 2)
        at = np.arange(len(t))
        for side, rating, colour, row in (
            ("penalty", "low", PALETTE[1], at - 0.16),
            ("reward", "high", PALETTE[0], at + 0.16),
        ):
            ax.barh(row, t[side], color=colour, height=0.32, label=f"{side} ({rating} rating)")
            ax.hlines(row, t[f"{side}_low"], t[f"{side}_high"], color="black", linewidth=1.2)
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.set_yticks(at, [wrap(self.label(x)) for x in t["term"]])
        ax.set_ylim(len(t) - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(f"Points of {wrap(self.label(self.outcome), 60)} against a middle rating")
        legend_below(ax, columns=2)
        return titled(ax, self.headline())


@one_thread
def penalty_reward(
    responses, *, outcome: str, drivers, low: float | None = None, high: float | None = None, missing: str = "em",
    n_boot: int = 1000, confidence: float = 0.95, min_rows: int = 100, seed: int,
) -> PenaltyReward:  # fmt: skip
    """Regress the outcome on two dummies per driver: a rating at or under `low`, and one at or over `high`.

    Y = a + sum(penalty_k low_k + reward_k high_k); asymmetry = (reward - |penalty|) / (reward + |penalty|), Mikulić
    & Prebežac (2008), negative parts taken as zero. Thirds that hold different stretches of a scale make a straight
    line look asymmetric, so the asymmetry is held against that of the least-squares line of the same rows: a driver is
    called *basic* when the whole interval of the departure is below zero, *excitement* when above, *performance* when
    it lies within a third of zero; otherwise *not established*. A touchpoint never met has its own dummy. A driver
    without low, high or middle ratings is left out and named.

    Parameters
    ----------
    low, high : ratings, `low` < `high`, on the scale of all drivers
        None takes the lowest and the highest third of the scale that the survey declares for each driver, else of the
        lowest to the highest rating found.

    Raises
    ------
    DataProblem, TooFewRespondents
        As `driver_importance`; also where no driver has both low and high ratings.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> drivers = ["products", "staff", "delivery"]
    >>> print(cx.penalty_reward(study.responses, outcome="satisfaction", drivers=drivers, n_boot=200, seed=1))
    Between low and high ratings of ...
    """
    survey = as_survey(responses)
    check_options(confidence=confidence, n_boot=n_boot, seed=seed, missing=(missing, MISSING))
    asked, _ = ask(
        survey, function="penalty_reward", outcome=outcome, drivers=drivers, missing=missing, min_rows=min_rows, least=1
    )
    asked.ratings("penalty_reward")
    scales, declared = scales_of(asked)
    limits = {d: _thirds(*scales[d], low, high) for d in asked.names}
    dummies = {d: _dummies(asked, d, *limits[d]) for d in asked.names}
    lacking = _lacking(asked, dummies)
    if len(lacking) == len(dummies):
        raise TooFewRespondents(next(iter(lacking.values())))
    dummies = {d: columns for d, columns in dummies.items() if d not in lacking}
    thirds, line = (
        fit(_as_question(asked, dummies), seed=seed, divided=False),
        fit(_only(asked, dummies), divided=False),
    )
    found = _effects(thirds, line, asked.sample.weights[None])
    batches = asked.sample.replicates(n_boot, seed=seed) if n_boot else ()
    drawn = [np.concatenate(a) for a in zip(*(_effects(thirds, line, w) for w in batches))] or None
    table, p_value = _table(dummies, found, drawn, confidence), thirds.test()
    several = len(set(limits.values())) > 1
    words = (
        "outer thirds of each scale"
        if several
        else "low (<= {:.3g}) and high (>= {:.3g}) ratings".format(*next(iter(limits.values())))
    )
    summary = {
        "method": f"least squares on {words}, bootstrap", "p_value": p_value, "df": asked.df,
        "confidence": confidence, "n_boot": n_boot, "established": bool(p_value <= 1 - confidence),
    }  # fmt: skip
    checks = (*model_checks(thirds, p_value, confidence), *_checks(table, lacking))
    checks = (*checks, declared) if low is None or high is None else checks
    more = {"left_out": tuple(lacking), "fitted": thirds}
    return conclude(PenaltyReward, "penalty_reward", asked, table, summary, checks, **more)


def _thirds(lowest: float, highest: float, low, high) -> tuple[float, float]:
    """Return the thresholds asked for, or the ends of the outer thirds of the scale."""
    low = lowest + (highest - lowest) / 3 if low is None else low
    high = highest - (highest - lowest) / 3 if high is None else high
    if not low < high:
        raise DataProblem(
            f"low={low:g} must lie below high={high:g}: ratings between them are what low and high are compared with"
        )
    return low, high


def _dummies(question: Question, driver: str, low: float, high: float) -> np.ndarray:
    """Return a column for low, one for high and, where somebody never met it, one for that."""
    x, everyone = question.given(driver), np.ones(len(question), dtype=bool)
    never = ~question.met.get(driver, everyone)
    skipped = np.isnan(x) & ~never
    columns = [np.where(skipped, np.nan, side) for side in (digits.at_most(x, low), digits.at_least(x, high))]
    return np.column_stack([*columns, never] if never.any() else columns).astype(float)


def _lacking(question: Question, dummies) -> dict[str, str]:
    """Return driver -> what is wrong, for those whose low, high or middle ratings are too few to compare."""
    least, found = max(question.sample.min_base, 2), {}
    for d, columns in dummies.items():
        low, high = columns[:, 0] == 1, columns[:, 1] == 1
        middle = ~(low | high) & ~np.isnan(question.given(d))
        for side, rows in (("low", low), ("high", high), ("middle", middle)):
            n = persons_in(question.sample, rows)
            if n < least:
                few = "none" if not n else f"fewer than {least}"
                move = "low= or high=" if side == "middle" else f"{side}="
                said = f"{d!r} has {few} of its ratings among the {side} ones; move {move}, or leave it out"
                found.setdefault(d, said)
    return found


def _as_question(asked: Question, dummies) -> Question:
    """Return the question whose terms are the dummies."""
    sides = ("low", "high", "never")
    names = tuple(f"{d} {side}" for d, columns in dummies.items() for side, _ in zip(sides, columns.T))
    columns = np.column_stack([*dummies.values(), asked.columns[:, -1]])
    return replace(asked, names=names, columns=columns, sizes=(1,) * len(names), n_always=0, rating={}, met={})


def _only(asked: Question, names) -> Question:
    """Return the question of some of the drivers."""
    at = np.concatenate([np.r_[asked.columns_of(d)] for d in names])
    sizes = tuple(asked.sizes[asked.names.index(d)] for d in names)
    met = {d: who for d, who in asked.met.items() if d in names}
    columns = asked.columns[:, [*at, -1]]
    return replace(asked, names=tuple(names), columns=columns, sizes=sizes, n_always=0, rating={}, met=met)


def _effects(thirds: Model, line: Model, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the dummies' coefficients (B, k) under each row of `weights`, and those of the least-squares line.

    Least squares is linear in what it explains: the second are the coefficients of the line's own values on the same
    dummies, over the rows that skipped nothing.
    """
    d, x = thirds.question.columns[:, :-1], line.question.columns[:, :-1]
    whole = ~(np.isnan(d).any(axis=1) | np.isnan(x).any(axis=1))
    if whole.sum() < 2 * d.shape[1]:  # hardly anybody answered everything: a skipped answer stands for the mean
        whole = np.ones(len(d), dtype=bool)
        d, x = (np.where(np.isnan(a), np.nanmean(a, axis=0), a) for a in (d, x))
    d, x, w = np.column_stack([np.ones(whole.sum()), d[whole]]), x[whole], weights[:, whole]
    rows, others = np.triu_indices(d.shape[1])
    among = unpacked((w @ (d[:, rows] * d[:, others])).T)
    across = (w @ (d[:, :, None] * x[:, None, :]).reshape(len(d), -1)).reshape(len(w), d.shape[1], -1)
    fitted = across @ np.nan_to_num(line.draw(weights).slopes)[:, :, None]
    scale = np.trace(among, axis1=1, axis2=2)[:, None, None] / d.shape[1]
    straight = np.linalg.solve(among + 1e-10 * scale * np.eye(d.shape[1]), fitted)[:, 1:, 0]
    return np.nan_to_num(thirds.draw(weights).slopes), straight


def _table(dummies, found, drawn, confidence) -> pd.DataFrame:
    rows, start = [], 0
    for d, columns in dummies.items():
        sides = slice(start, start + 2)
        start += columns.shape[1]
        (estimate, straight), none = (a[0, sides] for a in found), (np.nan, np.nan)

        def low_high(value):
            return none if drawn is None else tuple(float(e) for e in percentile_interval(value(*drawn), confidence))

        wide = low_high(lambda a, b: a[:, sides][:, 1] - a[:, sides][:, 0])
        skew = low_high(lambda a, b: asymmetry(a[:, sides]))
        bent = low_high(lambda a, b: asymmetry(a[:, sides]) - asymmetry(b[:, sides]))
        own, line = float(asymmetry(estimate)), float(asymmetry(straight))
        rows.append(
            {"term": d, "estimate": estimate[1] - estimate[0], "conf_low": wide[0], "conf_high": wide[1]}
            | ends("penalty", estimate[0], *low_high(lambda a, b: a[:, sides][:, 0]))
            | ends("reward", estimate[1], *low_high(lambda a, b: a[:, sides][:, 1]))
            | ends("asymmetry", own, *skew)
            | {"asymmetry_linear": line}
            | ends("departure", own - line, *bent)
            | {"asymmetry_kind": _kind(wide, bent), "n_low": int(np.nansum(columns[:, 0])),
               "n_high": int(np.nansum(columns[:, 1]))}
        )  # fmt: skip
    return pd.DataFrame(rows)


def asymmetry(sides: np.ndarray) -> np.ndarray:
    """Return (reward - |penalty|) / (reward + |penalty|) of (..., 2) penalties and rewards; 0 where both are none."""
    loss, gain = np.maximum(-sides[..., 0], 0), np.maximum(sides[..., 1], 0)
    return np.divide(gain - loss, gain + loss, out=np.zeros_like(gain + loss), where=gain + loss > 0)


def _kind(wide, bent) -> str:
    if not wide[0] > 0:
        return "not established"
    if bent[1] < 0 or bent[0] > 0:
        return "basic" if bent[1] < 0 else "excitement"
    return "performance" if -ALIKE < bent[0] and bent[1] < ALIKE else "not established"


def _checks(table, lacking) -> tuple[Check, ...]:
    fewest = int(table[["n_low", "n_high"]].min(axis=None))
    unsure = list(table["term"][table["asymmetry_kind"] == "not established"])
    backwards = list(table["term"][(table["penalty_low"] > 0) | (table["reward_high"] < 0)])
    return (
        Check("fewest low or high ratings of a driver", fewest, "at least 30", fewest >= 30),
        Check("drivers with too few low or high ratings", listing(lacking), "none", not lacking),
        Check("drivers whose kind is not established", listing(unsure), "information", True, "info"),
        Check("low ratings that go with more, or high with less", listing(backwards), "none", not backwards),
    )
