"""Penalty and reward: does a low rating cost what a high one brings?

References
----------
Brandt (1987); Matzler & Sauerwein (2002), International Journal of Service Industry Management 13, 314;
Mikulić & Prebežac (2008), Managing Service Quality 18, 559 (asymmetry).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.figures import legend_below
from cxresearch.drivers.linear import model_test
from cxresearch.drivers.performance import found_scale
from cxresearch.drivers.question import ask, check_chance, check_options, names_of, one_thread, ratings_only
from cxresearch.drivers.regression import fit_slopes
from cxresearch.drivers.terms import Terms, build_terms, met, numeric
from cxresearch.drivers.words import bracketed
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.figures import PALETTE, QUIET, axes_or_new, wrap
from cxresearch.findings import Check, Finding, listing, number
from cxresearch.inference import kish_effective_n, percentile_interval
from cxresearch.survey import as_survey

MISSING = ("em", "listwise")
ALIKE = 1 / 3  # of the asymmetry: inside it neither side is twice the other


@dataclass(frozen=True, repr=False, eq=False)
class PenaltyReward(Finding):
    """What low and high ratings of each driver go with, in points of the outcome, all other drivers held.

    ``tidy()``: one row per driver; `estimate` is the range reward - penalty with its interval.
    """

    left_out: tuple[str, ...] = ()

    def sentence(self) -> str:
        s, t = self.summary, self.table
        widest = digits.largest(t, "estimate")
        sure = {
            k: [self.label(x) for x in t["term"][t["asymmetry_kind"] == k]]
            for k in ("basic", "performance", "excitement")
        }
        said = (
            "; ".join(f"{k}: {listing(v)}" for k, v in sure.items() if v)
            or "for no driver does the interval allow a kind"
        )
        left_out = f" Too few low or high ratings: {listing(map(self.label, self.left_out))}." if self.left_out else ""
        among = f"the widest of {len(t)} drivers with the others held; " if len(t) > 1 else ""
        if s["p_value"] > 1 - s["confidence"]:
            drivers = f"the {len(t)} drivers" if len(t) > 1 else self.label(widest["term"])
            return (
                f"Not established: low and high ratings of {drivers} go with {self.label(self.outcome)} no more than "
                f"chance gives (p = {number(s['p_value'], 3)}; n = {number(s['n'], 0)}).{left_out}"
            )
        return (
            f"Between low and high ratings of {self.label(widest['term'])} lie {number(widest['estimate'], 2)} "
            f"points of {self.label(self.outcome)}"
            f"{bracketed(widest['conf_low'], widest['conf_high'], s['confidence'], 2)}{', ' if among else '; '}{among}"
            f"n = {number(s['n'], 0)}. By asymmetry, {said}; an association.{left_out}"
        )

    def plot(self, ax=None):
        t = self.table.iloc[digits.descending(self.table["estimate"], self.table["term"])]
        ax = axes_or_new(ax, rows=len(t) + 2)
        at = np.arange(len(t))
        for side, colour, row in (("penalty", PALETTE[1], at - 0.16), ("reward", PALETTE[0], at + 0.16)):
            rating = "low" if side == "penalty" else "high"
            ax.barh(row, t[side], color=colour, height=0.32, label=f"{side} ({rating} rating)")
            ax.hlines(row, t[f"{side}_low"], t[f"{side}_high"], color="black", linewidth=1.2)
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.set_yticks(at, [wrap(self.label(x)) for x in t["term"]])
        ax.set_ylim(len(t) - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(f"Points of {wrap(self.label(self.outcome), 60)} against a middle rating")
        ax.set_title("What low and high ratings go with")
        legend_below(ax, columns=2)
        return ax


@one_thread
def penalty_reward(
    responses,
    *,
    outcome: str,
    drivers,
    low: float | None = None,
    high: float | None = None,
    missing: str = "listwise",
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int,
) -> PenaltyReward:
    """Regress the outcome on two dummies per driver: a rating at or under `low`, and one at or over `high`.

    Y = a + sum(penalty_k low_k + reward_k high_k); asymmetry = (reward - |penalty|) / (reward + |penalty|), Mikulić
    & Prebežac (2008), negative parts taken as zero. A driver is called *basic* when the asymmetry's whole interval is
    below zero, *excitement* when above, *performance* when it lies within a third of zero; otherwise *not established*.
    A touchpoint never met has its own dummy. A driver without low or high ratings is left out and named. Rows that skipped an answer are left out, or handled by EM, which is
    slow here: there are two or three columns per driver.

    Parameters
    ----------
    low, high : ratings, `low` < `high`, on the scale of all drivers
        None takes the lowest and the highest third of the scale, from the lowest to the highest rating found.

    Raises
    ------
    DataProblem, TooFewRespondents
        As `driver_importance`; also where no driver has both low and high ratings.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> drivers = ["products", "staff", "delivery"]
    >>> print(cx.penalty_reward(
    ...     study.responses, outcome="satisfaction", drivers=drivers, n_boot=200, seed=1,
    ... ))
    Between low and high ratings of Delivery lie 1.34 points of Overall satisfaction (95 % ...
    """
    survey = as_survey(responses)
    responses = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    check_options(confidence=confidence, missing=(missing, MISSING))
    check_chance(n_boot, seed)
    design = dict(weight=weight, strata=strata, cluster=cluster, fpc=fpc)
    drivers = names_of(drivers)
    asked, _ = ask(
        responses,
        function="penalty_reward",
        outcome=outcome,
        drivers=drivers,
        missing=missing,
        min_rows=min_rows,
        min_base=min_base,
        design=design,
        least=1,
    )
    ratings_only(asked, "penalty_reward")
    low, high = _thirds(responses, drivers, low, high)
    kept = [c for c in (outcome, *design.values()) if c is not None]

    def terms_of(names) -> Terms:
        dummies = _dummies(responses, names, low, high)
        terms = build_terms(
            pd.concat([dummies, responses[kept]], axis=1), outcome=outcome, drivers=list(dummies), **design
        )
        return terms.rows(terms.complete()) if missing == "listwise" else terms

    lacking = _lacking(terms_of(drivers), drivers, min_base)
    if len(lacking) == len(drivers):
        raise TooFewRespondents(next(iter(lacking.values())))
    drivers = [d for d in drivers if d not in lacking]
    terms = terms_of(drivers)
    slopes = fit_slopes(terms.columns, terms, n_boot=n_boot, seed=seed)
    table = _table(drivers, terms, slopes, confidence)
    summary = {
        "n": len(terms),
        **({"n_effective": kish_effective_n(terms.weights)} if weight else {}),
        "method": f"least squares on low (<= {low:.3g}) and high (>= {high:.3g}) ratings, bootstrap",
        "p_value": model_test(terms, slopes.moments)[0],
        "confidence": confidence,
        "n_boot": n_boot,
    }
    checks = _checks(table, lacking)
    return PenaltyReward(
        "penalty_reward", outcome, None, table, summary, checks, dict(labels or {}), left_out=tuple(lacking)
    )


def _thirds(responses, drivers, low, high) -> tuple[float, float]:
    """Return the thresholds asked for, or the ends of the outer thirds of the scale found."""
    lowest, highest = found_scale(responses, drivers)
    low = lowest + (highest - lowest) / 3 if low is None else low
    high = highest - (highest - lowest) / 3 if high is None else high
    if not low < high:
        raise DataProblem(
            f"low={low:g} must lie below high={high:g}: ratings between them are what low and high are compared with"
        )
    return low, high


def _dummies(responses, drivers, low, high) -> pd.DataFrame:
    """Return per driver a column for low, one for high and, where somebody never met it, one for that."""
    columns = {}
    for d in drivers:
        x, never = numeric(responses, d), ~met(responses, d)
        skipped = np.isnan(x) & ~never
        columns[f"{d} low"] = np.where(skipped, np.nan, digits.at_most(x, low) & ~never)
        columns[f"{d} high"] = np.where(skipped, np.nan, digits.at_least(x, high) & ~never)
        if never.any():
            columns[f"{d} never"] = never.astype(float)
    return pd.DataFrame(columns, index=responses.index)


def _count(terms: Terms, driver: str, side: str) -> int:
    return int(np.nansum(terms.columns[:, terms.columns_of(f"{driver} {side}")]))


def _lacking(terms: Terms, drivers, min_base: int) -> dict[str, str]:
    """Return driver -> what is wrong, for those whose low or high ratings are too few to compare with."""
    least, found = max(min_base, 2), {}
    for d in drivers:
        for side in ("low", "high"):
            n = _count(terms, d, side)
            if n < least:
                few = "none" if not n else f"fewer than {least}"
                found.setdefault(
                    d, f"{d!r} has {few} of its ratings among the {side} ones; move {side}=, or leave it out"
                )
    return found


def _table(drivers, terms: Terms, slopes, confidence) -> pd.DataFrame:
    rows = []
    for d in drivers:
        at = [terms.columns_of(f"{d} {side}").start for side in ("low", "high")]
        estimate, drawn = slopes.estimate[at], slopes.drawn[:, at]
        wide = _ends(drawn[:, 1] - drawn[:, 0], confidence)
        skew = _ends(_asymmetry(drawn[:, 0], drawn[:, 1]), confidence)
        sides = {
            f"{side}{end}": v
            for k, side in enumerate(("penalty", "reward"))
            for end, v in zip(("", "_low", "_high"), (estimate[k], *_ends(drawn[:, k], confidence)))
        }
        rows.append(
            {
                "term": d,
                "estimate": estimate[1] - estimate[0],
                "conf_low": wide[0],
                "conf_high": wide[1],
                **sides,
                "asymmetry": float(_asymmetry(*estimate)),
                "asymmetry_low": skew[0],
                "asymmetry_high": skew[1],
                "asymmetry_kind": _kind(wide, skew),
                "n_low": _count(terms, d, "low"),
                "n_high": _count(terms, d, "high"),
            }
        )
    return pd.DataFrame(rows)


def _asymmetry(penalty, reward):
    loss, gain = np.maximum(-np.asarray(penalty), 0), np.maximum(reward, 0)
    return np.divide(gain - loss, gain + loss, out=np.zeros_like(gain + loss), where=gain + loss > 0)


def _ends(drawn, confidence) -> tuple[float, float]:
    return tuple(float(e) for e in percentile_interval(drawn, confidence)) if len(drawn) else (np.nan, np.nan)


def _kind(wide, skew) -> str:
    if not wide[0] > 0:
        return "not established"
    if skew[1] < 0:
        return "basic"
    if skew[0] > 0:
        return "excitement"
    return "performance" if -ALIKE < skew[0] and skew[1] < ALIKE else "not established"


def _checks(table, lacking) -> tuple[Check, ...]:
    fewest = int(table[["n_low", "n_high"]].min(axis=None))
    open_ = list(table["term"][table["asymmetry_kind"] == "not established"])
    backwards = list(table["term"][(table["penalty_low"] > 0) | (table["reward_high"] < 0)])
    return (
        Check("fewest low or high ratings of a driver", fewest, "at least 30", fewest >= 30),
        Check("drivers with too few low or high ratings", listing(lacking), "none", not lacking),
        Check("drivers whose kind is not established", listing(open_), "none", not open_),
        Check("low ratings that go with more, or high with less", listing(backwards), "none", not backwards),
    )
