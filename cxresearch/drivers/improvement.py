"""What the fitted model would say if ratings were higher: not a promise."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.model import DriverFinding, Model, conclude, fit
from cxresearch.drivers.question import MISSING, Question, ask, check_options, names_of, one_thread, scale_of
from cxresearch.drivers.sentences import base_of, say, with_interval
from cxresearch.errors import DataProblem
from cxresearch.figures import forest
from cxresearch.findings import Check, number, percent
from cxresearch.inference import percentile_interval
from cxresearch.survey import as_survey

TOGETHER = "all together"
AT_ONCE = 1 << 20  # predicted answers held at once


@dataclass(frozen=True, repr=False, eq=False)
class SimulatedImprovement(DriverFinding):
    """What the linear model predicts with ratings raised, each driver alone and all together.

    ``tidy()``: `estimate` is the mean change of the outcome in its points, with interval; on a 0-10 outcome the change
    of the net promoter score stands beside it.
    """

    def headline(self) -> str:
        """Return the first sentence."""
        row, confidence = self.table.iloc[-1], self.summary["confidence"]
        what = self.label(row["term"]) if len(self.table) == 1 else f"{len(self.table) - 1} drivers"
        key, points = _signed("raised", "lowered", "raised_open", row, "estimate", "conf", confidence, 2)
        return say(key, drivers=what, points=points, outcome=self.label(self.outcome))

    def sentence(self) -> str:
        s, row = self.summary, self.table.iloc[-1]
        if "nps_change" not in row:
            return f"{self.headline()} {say('carried', base=base_of(s))}"
        key, points = _signed("nps_up", "nps_down", "nps_open", row, "nps_change", "nps", s["confidence"], 1)
        return f"{self.headline()} {say(key, points=points, base=base_of(s))}"

    def plot(self, ax=None):
        names = [self.label(x) for x in self.table["term"]]
        sure = f", with {percent(self.summary['confidence'])} interval" if self.summary["n_boot"] else ""
        unit = f"Predicted change of {self.label(self.outcome)} (points){sure}"
        options = {"low": "conf_low", "high": "conf_high", "unit": unit, "title": self.headline(), "line": 0}
        return forest(self.table, "estimate", names=names, ax=ax, **options)


def _signed(more, fewer, unsure, row, value, ends, confidence, decimals) -> tuple[str, str]:
    """Return the key of the sentence for the sign of a change, and its size with the interval."""
    change, low, high = row[value], row[f"{ends}_low"], row[f"{ends}_high"]
    if low <= 0 <= high:
        return unsure, with_interval(number(change, decimals), low, high, confidence, decimals)
    key, (near, far) = more if change >= 0 else fewer, sorted((abs(low), abs(high)))
    return key, with_interval(number(abs(change), decimals), near, far, confidence, decimals)


@one_thread
def simulate_improvement(
    responses, *, outcome: str, drivers, improve: Mapping[str, float], scale: tuple[float, float] | None = None,
    outcome_scale: tuple[float, float] | None = None, missing: str = "em", n_boot: int = 1000,
    confidence: float = 0.95, min_rows: int = 100, seed: int,
) -> SimulatedImprovement:  # fmt: skip
    """Raise ratings, capped at the scale's end, and propagate them through the linear model of all drivers.

    For each respondent the outcome moves by slope x (raised - given rating), 0 where the touchpoint was not met, and
    stops at the ends of `outcome_scale`. On a 0-10 outcome a predicted answer between two scores counts for each in
    proportion, so that the change of the net promoter score does not jump. Replicates draw the respondents whose
    ratings are raised along with the slopes.

    Parameters
    ----------
    improve : dict driver -> points (above 0) by which each of its ratings rises
    scale : (lowest, highest) rating of the drivers; None takes those that the survey declares
    outcome_scale : (lowest, highest) answer of the outcome; None takes what the survey declares

    Raises
    ------
    DataProblem, TooFewRespondents
        As `driver_importance`; also where `improve` names no driver or raises by nothing, or a scale is not known.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> drivers = ["products", "staff", "delivery"]
    >>> finding = cx.simulate_improvement(
    ...     study.responses, outcome="satisfaction", drivers=drivers, improve={"delivery": 1}, n_boot=200, seed=1
    ... )
    >>> print(finding)
    If Delivery were rated higher as asked, the model predicts ...
    """
    survey = as_survey(responses)
    check_options(confidence=confidence, n_boot=n_boot, seed=seed, missing=(missing, MISSING))
    _check_improve(improve, names_of(drivers))
    question, _ = ask(
        survey, function="simulate_improvement", outcome=outcome, drivers=drivers, missing=missing, min_rows=min_rows
    )
    question.ratings("simulate_improvement")
    ends = {d: _known_scale(survey, d, scale, "scale") for d in improve}
    for d in question.names:
        scale_of(survey, question.source[d], scale)  # refuses ratings outside
    outcome_ends = _known_scale(survey, outcome, outcome_scale, "outcome_scale")
    model = fit(question, seed=seed, divided=False)
    table = _table(model, improve, ends, outcome_ends, n_boot, seed, confidence)
    together = table.iloc[-1]
    clear = bool(together["conf_low"] > 0 or together["conf_high"] < 0)
    summary = {
        "method": "linear model of all drivers, bootstrap of respondents and slopes",
        "confidence": confidence, "n_boot": n_boot, "established": clear if n_boot else None,
    }  # fmt: skip
    checks = _checks(table, improve, ends)
    return conclude(SimulatedImprovement, "simulate_improvement", question, table, summary, checks, fitted=model)


def _known_scale(survey, item, given, option: str) -> tuple[float, float]:
    scale = scale_of(survey, item, given)
    if scale is None:
        raise DataProblem(
            f"{item!r} has no declared scale, so nobody knows where its answers end; give {option}=(lowest, highest), "
            "or declare it in study.yml"
        )
    return scale


def _check_improve(improve, drivers) -> None:
    if not improve:
        raise DataProblem("improve= is empty; name a driver and its points, for example {'staff': 1}")
    if unknown := [d for d in improve if d not in drivers]:
        raise DataProblem(f"improve= names {unknown[0]!r}, which is not among drivers=")
    for d, points in improve.items():
        if not points > 0:
            raise DataProblem(f"improve= raises {d!r} by {points:g}; give points above zero")


def _rise(question: Question, driver, points, highest) -> np.ndarray:
    """Return by how much each row's rating rises: 0 if never met, missing if skipped."""
    x, never = question.given(str(driver)), ~question.met.get(str(driver), np.ones(len(question), dtype=bool))
    return np.where(never | digits.at_least(x, highest), 0.0, np.minimum(x + points, highest) - x)


def _table(model: Model, improve, ends, outcome_ends, n_boot, seed, confidence) -> pd.DataFrame:
    question, y = model.question, model.question.columns[:, -1]
    moves = np.stack([_rise(question, d, points, ends[d][1]) for d, points in improve.items()], axis=1)
    at = [question.rating[str(d)] for d in improve]
    sets = [([k], d, points) for k, (d, points) in enumerate(improve.items())]
    sets += [(list(range(len(improve))), TOGETHER, np.nan)] if len(improve) > 1 else []
    known = [~np.isnan(moves[:, columns]).any(axis=1) for columns, _, _ in sets]
    values: list[list] = [[] for _ in sets]
    for w in (question.weights[None], *(question.sample.replicates(n_boot, seed=seed) if n_boot else ())):
        slopes = model.draw(w).slopes[:, at]
        for found, (columns, _, _), rows in zip(values, sets, known):
            found.append(_changes(moves[np.ix_(rows, columns)], y[rows], w[:, rows], slopes[:, columns], outcome_ends))
    table = []
    for found, (columns, name, points), rows in zip(values, sets, known):
        change, score = np.concatenate(found, axis=1)
        weight = question.weights[rows]
        moved = float(weight @ (moves[np.ix_(rows, columns)] > 0).any(axis=1) / weight.sum())
        row = {"term": name, "rating_points": points, "share_moved": moved}
        row |= _with_ends("estimate", "conf", change, confidence)
        row |= _with_ends("nps_change", "nps", score, confidence) if outcome_ends == (0, 10) else {}
        table.append(row | {"n": int(rows.sum())})
    return pd.DataFrame(table)


def _with_ends(name, prefix, values, confidence) -> dict[str, float]:
    low, high = percentile_interval(values[1:], confidence) if len(values) > 1 else (np.nan, np.nan)
    return {name: float(values[0]), f"{prefix}_low": float(low), f"{prefix}_high": float(high)}


def _changes(move, y, weights, slopes, outcome_ends) -> np.ndarray:
    """Return the mean change and that in net promoter points, (2, B), for rows of weights (B, n) and slopes (B, k)."""
    w = weights / weights.sum(axis=1, keepdims=True)
    out, together = np.empty((2, len(w))), max(1, AT_ONCE // len(y))
    for start in range(0, len(w), together):
        part = slice(start, start + together)
        after = np.clip(y + slopes[part] @ move.T, *outcome_ends)
        out[0, part] = np.einsum("bn,bn->b", w[part], after - y)
        out[1, part] = np.einsum("bn,bn->b", w[part], promoter_points(after) - promoter_points(y))
    return out


def promoter_points(answers) -> np.ndarray:
    """Return 100, 0 or -100 by answer, in proportion between two scores: 8.3 is 0.3 of a 9."""
    return 100 * (np.clip(answers - 8, 0, 1) + np.clip(answers - 6, 0, 1) - 1)


def _checks(table, improve, ends) -> tuple[Check, ...]:
    largest = max(points / (ends[d][1] - ends[d][0]) for d, points in improve.items())
    least = float(table["share_moved"].min())
    limit = "at most 0.25: beyond it the model is stretched"
    room = "smallest share of respondents with room to rise"
    return (
        Check("largest rise as a share of the scale", digits.rounded(largest, 3), limit, largest <= 0.25),
        Check(room, digits.rounded(least, 3), "at least 0.1", least >= 0.1),
    )
