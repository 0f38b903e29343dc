"""What the fitted model would say if ratings were higher: not a promise."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.performance import check_scale
from cxresearch.drivers.question import ask, check_chance, check_options, names_of, one_thread, ratings_only
from cxresearch.drivers.regression import fit_slopes
from cxresearch.drivers.terms import met, numeric
from cxresearch.drivers.words import bracketed
from cxresearch.errors import DataProblem
from cxresearch.figures import axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, number, percent
from cxresearch.inference import kish_effective_n, percentile_interval
from cxresearch.survey import as_survey

MISSING = ("em", "listwise")
TOGETHER = "all together"


@dataclass(frozen=True, repr=False, eq=False)
class SimulatedImprovement(Finding):
    """What the linear model predicts with ratings raised, each driver alone and all together.

    ``tidy()``: `estimate` is the mean change of the outcome in its points, with interval; on a 0-10 outcome the change
    of the net promoter score stands beside it.
    """

    def sentence(self) -> str:
        s, row = self.summary, self.table.iloc[-1]
        what = self.label(row["term"]) if len(self.table) == 1 else f"{len(self.table) - 1} drivers"
        if row["conf_low"] <= 0 <= row["conf_high"]:
            verdict = "not established to differ from zero, "
        else:
            verdict = ""
        nps = (
            f", and {number(row['nps_change'])} NPS points{bracketed(row['nps_low'], row['nps_high'], s['confidence'])}"
            if "nps_change" in row
            else ""
        )
        return (
            f"If {what} were rated higher as asked, up to the scale's end, the fitted model predicts "
            f"{verdict}{number(row['estimate'], 2)} points of "
            f"{self.label(self.outcome)}"
            f"{bracketed(row['conf_low'], row['conf_high'], s['confidence'], 2)}{nps}; n = {number(s['n'], 0)}. "
            "That is the association carried over, not a tested change."
        )

    def plot(self, ax=None):
        t = self.table
        ax = axes_or_new(ax, rows=len(t) + 1)
        intervals(ax, [self.label(x) for x in t["term"]], t["estimate"], t["conf_low"], t["conf_high"])
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_xlabel(
            f"Predicted change of {wrap(self.label(self.outcome), 40)} (points), with "
            f"{percent(self.summary['confidence'])} interval"
        )
        ax.set_title("If ratings were higher and the association carried over")
        return ax


@one_thread
def simulate_improvement(
    responses,
    *,
    outcome: str,
    drivers,
    improve: Mapping[str, float],
    scale: tuple[float, float],
    outcome_scale: tuple[float, float],
    missing: str = "em",
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int,
) -> SimulatedImprovement:
    """Raise ratings, capped at the scale's end, and propagate them through the linear model of all drivers.

    For each respondent the outcome moves by slope x (raised - given rating), 0 where the touchpoint was not met, and
    stops at the ends of `outcome_scale`. On a 0-10 outcome a predicted answer between two scores counts for each in
    proportion, so that the change of the net promoter score does not jump.

    Parameters
    ----------
    improve : dict driver -> points (above 0) by which each of its ratings rises
    scale : (lowest, highest) rating of the drivers
    outcome_scale : (lowest, highest) answer of the outcome

    Raises
    ------
    DataProblem, TooFewRespondents
        As `driver_importance`; also where `improve` names no driver or raises by nothing.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> drivers = ["products", "staff", "delivery"]
    >>> finding = cx.simulate_improvement(
    ...     study.responses, outcome="satisfaction", drivers=drivers, improve={"delivery": 1},
    ...     scale=(1, 7), outcome_scale=(1, 7), n_boot=200, seed=1
    ... )
    >>> print(finding)
    If Delivery were rated higher as asked, up to the scale's end, the fitted model predicts ...
    """
    survey = as_survey(responses)
    responses = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    check_options(confidence=confidence, missing=(missing, MISSING))
    check_chance(n_boot, seed)
    drivers = names_of(drivers)
    _check_improve(improve, drivers)
    design = dict(weight=weight, strata=strata, cluster=cluster, fpc=fpc)
    terms, _ = ask(
        responses,
        function="simulate_improvement",
        outcome=outcome,
        drivers=drivers,
        missing=missing,
        min_rows=min_rows,
        min_base=min_base,
        design=design,
    )
    ratings_only(terms, "simulate_improvement")
    check_scale(responses, drivers, scale)
    check_scale(responses, [outcome], outcome_scale)
    slopes = fit_slopes(terms.columns, terms, n_boot=n_boot, seed=seed)
    rises = {d: _rise(responses, d, points, scale[1]) for d, points in improve.items()}
    y, w = numeric(responses, outcome), np.ones(len(responses)) if weight is None else numeric(responses, weight)
    at = [terms.rating[str(d)] for d in improve]
    moves = np.stack(list(rises.values()), axis=1)
    table = _table(
        list(improve.items()), moves, y, w, slopes.estimate[at], slopes.drawn[:, at], outcome_scale, confidence
    )
    summary = {
        "n": len(terms),
        **({"n_effective": kish_effective_n(terms.weights)} if weight else {}),
        "method": "linear model of all drivers, bootstrap of its slopes",
        "confidence": confidence,
        "n_boot": n_boot,
    }
    return SimulatedImprovement(
        "simulate_improvement", outcome, None, table, summary, _checks(table, improve, scale), dict(labels or {})
    )


def _check_improve(improve, drivers) -> None:
    unknown = [d for d in improve if d not in drivers]
    if not improve or unknown:
        raise DataProblem(
            f"improve= names {unknown[0]!r}, which is not among drivers="
            if unknown
            else "improve= is empty; name a driver and its points, for example {'staff': 1}"
        )
    for d, points in improve.items():
        if not points > 0:
            raise DataProblem(f"improve= raises {d!r} by {points:g}; give points above zero")


def _rise(responses, driver, points, highest) -> np.ndarray:
    """Return by how much each row's rating rises: 0 if never met, missing if skipped."""
    x = numeric(responses, driver)
    can_rise = met(responses, driver) & ~digits.at_least(x, highest)
    return np.where(can_rise, np.minimum(x + points, highest) - x, 0.0)


def _table(improve, moves, y, w, slopes, drawn, outcome_scale, confidence) -> pd.DataFrame:
    rows = []
    sets = [([k], d, points) for k, (d, points) in enumerate(improve)]
    if len(improve) > 1:
        sets.append((list(range(len(improve))), TOGETHER, np.nan))
    for columns, name, points in sets:
        known = ~np.isnan(y) & ~np.isnan(moves[:, columns]).any(axis=1) & (w > 0)
        move, yk, wk = moves[np.ix_(known, columns)], y[known], w[known] / w[known].sum()
        change, score = _changes(move, yk, wk, np.vstack([slopes[columns], drawn[:, columns]]), outcome_scale)
        row = {
            "term": name,
            "rating_points": points,
            "share_moved": float(wk @ (move > 0).any(axis=1)),
            **_with_ends("estimate", "conf", change, confidence),
        }
        rows.append(
            row
            | (_with_ends("nps_change", "nps", score, confidence) if outcome_scale == (0, 10) else {})
            | {"n": int(known.sum())}
        )
    return pd.DataFrame(rows)


def _with_ends(name, prefix, values, confidence) -> dict[str, float]:
    low, high = percentile_interval(values[1:], confidence) if len(values) > 1 else (np.nan, np.nan)
    return {name: float(values[0]), f"{prefix}_low": float(low), f"{prefix}_high": float(high)}


def _changes(move, y, w, slopes, outcome_scale) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean change and the change in net promoter points for each row of `slopes`."""
    change, score = np.empty(len(slopes)), np.empty(len(slopes))
    before = net_promoter_points(y, w)
    for b, slope in enumerate(slopes):
        moved = np.clip(y + move @ slope, *outcome_scale)
        change[b], score[b] = w @ (moved - y), net_promoter_points(moved, w) - before
    return change, score


def net_promoter_points(answers, weights) -> float:
    """Return promoters less detractors (points) of answers that may lie between scores: 8.3 is 0.3 of a 9."""
    promoters, not_detractors = np.clip(answers - 8, 0, 1), np.clip(answers - 6, 0, 1)
    return float(100 * weights @ (promoters + not_detractors - 1) / weights.sum())


def _checks(table, improve, scale) -> tuple[Check, ...]:
    largest = max(improve.values()) / (scale[1] - scale[0])
    least = float(table["share_moved"].min())
    return (
        Check(
            "largest rise as a share of the scale",
            digits.rounded(largest, 3),
            "at most 0.25: beyond it the model is stretched",
            largest <= 0.25,
        ),
        Check(
            "smallest share of respondents with room to rise", digits.rounded(least, 3), "at least 0.1", least >= 0.1
        ),
    )
