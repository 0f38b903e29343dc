"""What to do about drivers: how the important are rated, what low and high ratings go with, what a rise would bring."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import seaborn as sns

from cxresearch import digits
from cxresearch.drivers.model import DriverFinding, Model, certainty, conclude, fit, in_percent, legend_below
from cxresearch.drivers.question import Question, names_of, one_thread, persons_in, ratings_of, scale_of, scales_of
from cxresearch.drivers.sentences import base_of, none_of, say, share_words, signed, with_interval
from cxresearch.drivers.shapley import share_of
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.figures import PALETTE, QUIET, axes_or_new, dots_named, forest, titled, wrap
from cxresearch.findings import Check, ends, listing, number, p_words, percent
from cxresearch.inference import percentile_interval
from cxresearch.inference.shares import unpacked

ALIKE = 1 / 3  # of the asymmetry: inside it neither side is twice the other
ASYMMETRIES = ("basic", "performance", "excitement")
TOGETHER = "all together"
AT_ONCE = 1 << 20  # predicted answers held at once


# --- importance and performance --------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class ImportancePerformance(DriverFinding):
    """Each driver's share of the explained variance beside its mean rating.

    ``tidy()``: `estimate` is performance (mean rating rescaled to 0-100) among those who rated it, with interval;
    `share` is importance (0-1). Where the lines of a quadrant would be drawn is a choice, so none is.
    """

    @property
    def highlights(self) -> dict:
        """The driver with the largest share and those that may be it as well, by share; none without a verdict."""
        by_share = self.table["term"].iloc[digits.descending(self.table["share"], self.table["term"])]
        return {} if self.no_verdict() else {"lead": [d for k, d in enumerate(by_share) if not k or d in self.tied]}

    def sentence(self) -> str:
        s, t = self.summary, self.table
        top, others = digits.largest(t, "share"), len(t) - 1
        lower = int((~digits.at_least(t["estimate"], top["estimate"])).sum())
        index = with_interval(number(top["estimate"]), top["conf_low"], top["conf_high"], s["confidence"])
        key, counts = "rated", {"lower": lower, "others": others}
        if others == 1:
            key, counts = "rated_other_lower" if lower else "rated_other_higher", {}
        elif lower == 1:
            key, counts = "rated_one", {"others": others}
        rated = say(key, first=self.label(top["term"]), index=index, **counts)
        if said := self.no_verdict():
            return f"{said} {rated}"
        return f"{rated} {self.standing('map', base=base_of(s), share=share_words(top, s['confidence']))}"

    def plot(self, ax=None):
        t = in_percent(self.tidy(), "share").iloc[digits.descending(self.table["share"], self.table["term"])]
        ax = axes_or_new(ax, rows=7 + len(t) // 2)
        ax.hlines(t["share"], t["conf_low"], t["conf_high"], color=PALETTE[0], linewidth=1.5, alpha=0.5)
        ax.vlines(t["estimate"], t["share_low"], t["share_high"], color=PALETTE[0], linewidth=1.5, alpha=0.5)
        sns.scatterplot(x=t["estimate"], y=t["share"], color=PALETTE[0], s=42, ax=ax, zorder=3)
        ax.set_xlabel("Performance: mean rating, rescaled to 0-100")
        ax.set_ylabel("Importance: share of the\nexplained variance (%)")
        ax.margins(0.14)  # names have room around the outer dots
        titled(ax, self.title)
        rows = list(t.itertuples())
        arms = [[(r.conf_low, r.share), (r.conf_high, r.share)] for r in rows]
        arms += [[(r.estimate, r.share_low), (r.estimate, r.share_high)] for r in rows]
        return dots_named(ax, t["estimate"], t["share"], map(self.label, t["term"]), arms)


@one_thread
def importance_performance(
    responses, *, outcome: str, drivers, missing: str = "em", n_boot: int = 1000, confidence: float = 0.95,
    min_rows: int = 100, seed: int,
) -> ImportancePerformance:  # fmt: skip
    """Put each driver's importance (linear; see `driver_importance`) beside its mean rating, both with intervals.

    Performance is 100 (mean - lowest) / (highest - lowest) of the scale that the survey declares for the driver, else
    of the lowest and the highest rating found. Refused is what `driver_importance` refuses, and a rating outside its
    scale.

    Examples
    --------
    >>> ask = {"outcome": "satisfaction", "drivers": drivers, "n_boot": 200, "seed": 1}
    >>> cx.importance_performance(study.responses, **ask).tidy()[["term", "estimate", "share"]].round(2)
           term  estimate  share
    0  products     70.25   0.31
    1     staff     65.85   0.32
    2  delivery     59.66   0.37
    """
    chance = {"n_boot": n_boot, "confidence": confidence, "seed": seed}
    ask = {"outcome": outcome, "drivers": drivers, "missing": missing, "min_rows": min_rows}
    question = ratings_of("importance_performance", responses, **ask, **chance)
    scales, declared = scales_of(question)
    model = fit(question, seed=seed)
    p_value, sure = model.test(), certainty(model, **chance)
    x = np.column_stack([100 * (question.given(d) - low) / (high - low) for d, (low, high) in scales.items()])
    rated, batches = ~np.isnan(x), (question.sample.weights[None], *question.sample.replicates(n_boot, seed=seed))
    index = np.concatenate([(w @ np.where(rated, x, 0.0)) / (w @ rated) for w in batches])
    low, high = percentile_interval(index[1:], confidence)
    table = pd.DataFrame(
        {"term": list(question.names), "estimate": index[0], "conf_low": low, "conf_high": high,
         "share": share_of(model.division.parts), "n": rated.sum(axis=0),
         "share_low": sure.ends["share"][0], "share_high": sure.ends["share"][1]}
    )  # fmt: skip
    summary = {
        "method": "Shapley (LMG); mean ratings, bootstrap", "p_value": p_value, "df": question.df,
        "confidence": confidence, "n_boot": n_boot,
        "established": bool(p_value <= 1 - confidence and len(sure.tied) < len(question.names) - 1),
    }  # fmt: skip
    fewest, spread, wide = int(table["n"].min()), float(np.ptp(index[0])), float((high - low).max())
    ratio, precise = digits.rounded(wide / spread, 3) if spread else "no spread", bool(spread and 2 * wide <= spread)
    checks = (
        *model.checks(p_value, confidence),
        Check("drivers tied with the first", len(sure.tied), "information", True, "info"),
        Check("fewest ratings of a driver", fewest, "at least 100", fewest >= 100),
        Check("widest interval against the spread of performance", ratio, "at most 0.5", precise),
        declared,
    )
    more = {"tied": sure.tied, "fitted": model}
    return conclude(ImportancePerformance, "importance_performance", question, table, summary, checks, **more)


# --- penalty and reward ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class PenaltyReward(DriverFinding):
    """What low and high ratings of each driver go with, in points of the outcome, all other drivers held.

    ``tidy()``: one row per driver; `estimate` is the range reward - penalty with its interval; `departure` is the
    asymmetry less what a straight line gives with these thirds.
    """

    left_out: tuple[str, ...] = ()

    def headline(self) -> str:
        s, t, outcome = self.summary, self.table, self.label(self.outcome)
        widest, k = digits.largest(t, "estimate"), len(t)
        if np.isnan(s["p_value"]):
            return self.no_verdict()
        term = self.label(widest["term"])
        if s["p_value"] > 1 - s["confidence"]:
            drivers = f"the {k} drivers" if k > 1 else term
            return say("flat", drivers=drivers, outcome=outcome, p=p_words(s["p_value"]), base=base_of(s))
        points = number(widest["estimate"], 2)
        points = with_interval(points, widest["conf_low"], widest["conf_high"], s["confidence"], 2)
        key, more = ("widest", {"k": k}) if k > 1 else ("only", {})
        return say(key, term=term, points=points, outcome=outcome, **more)

    def sentence(self) -> str:
        s, t, said = self.summary, self.table, [self.headline()]
        if s["p_value"] <= 1 - s["confidence"]:
            named = {k: [self.label(x) for x in t["term"][t["asymmetry_kind"] == k]] for k in ASYMMETRIES}
            kinds = "; ".join(f"{k}: {listing(names)}" for k, names in named.items() if names)
            base = base_of(s)
            said.append(say("kinds", kinds=kinds, base=base) if kinds else say("no_kind", base=base))
        if self.left_out:
            said.append(say("too_few", drivers=listing(map(self.label, self.left_out))))
        return " ".join(said)

    def plot(self, ax=None):
        t = self.table.iloc[digits.descending(self.table["estimate"], self.table["term"])]
        ax, at = axes_or_new(ax, rows=len(t) + 2), np.arange(len(t))
        looks = (("penalty", "low", PALETTE[1], at - 0.16), ("reward", "high", PALETTE[0], at + 0.16))
        for side, rating, colour, row in looks:
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
    responses, *, outcome: str, drivers, missing: str = "em", n_boot: int = 1000, confidence: float = 0.95,
    min_rows: int = 100, seed: int,
) -> PenaltyReward:  # fmt: skip
    """Regress the outcome on two dummies per driver: a rating in the lowest, and one in the highest third of its scale.

    Y = a + sum(penalty_k low_k + reward_k high_k); asymmetry = (reward - |penalty|) / (reward + |penalty|), Mikulić
    & Prebežac (2008), negative parts taken as zero. Thirds that hold different stretches of a scale make a straight
    line look asymmetric: `asymmetry_linear` is what the least-squares line itself gives on these dummies, and the
    kind is about the departure from it. Never having met a touchpoint is a level of its own. Refused is what
    `driver_importance` refuses, and where no driver has both low and high ratings.

    Examples
    --------
    >>> print(cx.penalty_reward(study.responses, outcome="satisfaction", drivers=drivers, n_boot=200, seed=1))
    Between low and high ratings of ...
    """
    chance = {"n_boot": n_boot, "confidence": confidence, "seed": seed}
    ask = {"outcome": outcome, "drivers": drivers, "missing": missing, "min_rows": min_rows, "least": 1}
    asked = ratings_of("penalty_reward", responses, **ask, **chance)
    scales, declared = scales_of(asked)
    limits = {d: (low + (high - low) / 3, high - (high - low) / 3) for d, (low, high) in scales.items()}
    dummies = {d: _dummies(asked, d, *limits[d]) for d in asked.names}
    lacking = _lacking(asked, dummies)
    if len(lacking) == len(dummies):
        raise TooFewRespondents(next(iter(lacking.values())))
    dummies = {d: columns for d, columns in dummies.items() if d not in lacking}
    sides = tuple(f"{d} {side}" for d, c in dummies.items() for side, _ in zip(("low", "high", "never"), c.T))
    ratings = np.column_stack([asked.columns[:, asked.columns_of(d)] for d in dummies]).T
    thirds, line = _model_of(asked, sides, dummies.values()), _model_of(asked, ("rating",) * len(ratings), ratings)
    found = _effects(thirds, line, asked.sample.weights[None])
    batches = [_effects(thirds, line, w) for w in asked.sample.replicates(n_boot, seed=seed)]
    table, p_value = _sides(dummies, found, [np.concatenate(a) for a in zip(*batches)], confidence), thirds.test()
    words, one = "low (<= {:.3g}) and high (>= {:.3g}) ratings", len(set(limits.values())) == 1
    words = words.format(*next(iter(limits.values()))) if one else "outer thirds of each scale"
    summary = {
        "method": f"least squares on {words}, bootstrap", "p_value": p_value, "df": asked.df,
        "confidence": confidence, "n_boot": n_boot, "established": bool(p_value <= 1 - confidence),
    }  # fmt: skip
    fewest = int(table[["n_low", "n_high"]].min(axis=None))
    unsure = list(table["term"][table["asymmetry_kind"] == "not established"])
    backwards = list(table["term"][(table["penalty_low"] > 0) | (table["reward_high"] < 0)])
    checks = (
        *thirds.checks(p_value, confidence),
        Check("fewest low or high ratings of a driver", fewest, "at least 30", fewest >= 30),
        none_of("drivers with too few low or high ratings", lacking),
        Check("drivers whose kind is not established", listing(unsure), "information", True, "info"),
        none_of("low ratings that go with more, or high with less", backwards),
        declared,
    )
    more = {"left_out": tuple(lacking), "fitted": thirds}
    return conclude(PenaltyReward, "penalty_reward", asked, table, summary, checks, **more)


def _dummies(question: Question, driver: str, low: float, high: float) -> np.ndarray:
    """Return a column for low, one for high and, where somebody never met it, one for that."""
    x, never = question.given(driver), question.never(driver)
    columns = [np.where(np.isnan(x) & ~never, np.nan, s) for s in (digits.at_most(x, low), digits.at_least(x, high))]
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
                found.setdefault(d, f"{d!r} has {few} of its ratings in the {side} third of its scale; leave it out")
    return found


def _model_of(asked: Question, names, columns) -> Model:
    """Return the model of columns that stand for the drivers."""
    columns, sizes = np.column_stack([*columns, asked.columns[:, -1]]), (1,) * len(names)
    return fit(replace(asked, names=names, columns=columns, sizes=sizes, rating={}, met={}), divided=False)


def _effects(thirds: Model, line: Model, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the dummies' coefficients (B, k) under each row of `weights`, and those of the least-squares line.

    The second are the coefficients of the line's own values on the same dummies, over the rows that skipped nothing.
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


def _sides(dummies, found, drawn, confidence) -> pd.DataFrame:
    """Return one row per driver from the effects of its dummies and those of the line, found and drawn."""
    rows, start = [], 0
    for d, columns in dummies.items():
        pairs = [[effects[:, start : start + 2] for effects in both] for both in (found, drawn)]
        start += columns.shape[1]
        skews = [(asymmetry(own), asymmetry(own) - asymmetry(line)) for own, line in pairs]
        estimate, draws = (np.column_stack([own, np.diff(own), *skew]) for (own, _), skew in zip(pairs, skews))
        penalty, reward, wide, skew, bent = zip(estimate[0], *percentile_interval(draws, confidence))
        kind = "performance" if -ALIKE < bent[1] and bent[2] < ALIKE else "not established"
        kind = "basic" if bent[2] < 0 else "excitement" if bent[1] > 0 else kind
        rows.append(
            {"term": d, "estimate": wide[0], "conf_low": wide[1], "conf_high": wide[2], **ends("penalty", *penalty),
             **ends("reward", *reward), **ends("asymmetry", *skew), "asymmetry_linear": skew[0] - bent[0],
             **ends("departure", *bent), "asymmetry_kind": kind if wide[1] > 0 else "not established",
             "n_low": int(np.nansum(columns[:, 0])), "n_high": int(np.nansum(columns[:, 1]))}
        )  # fmt: skip
    return pd.DataFrame(rows)


def asymmetry(sides: np.ndarray) -> np.ndarray:
    """Return (reward - |penalty|) / (reward + |penalty|) of (..., 2) penalties and rewards; 0 where both are none."""
    loss, gain = np.maximum(-sides[..., 0], 0), np.maximum(sides[..., 1], 0)
    return np.divide(gain - loss, gain + loss, out=np.zeros_like(gain + loss), where=gain + loss > 0)


# --- improvement -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class SimulatedImprovement(DriverFinding):
    """What the linear model predicts with ratings raised, each driver alone and all together: not a promise.

    ``tidy()``: `estimate` is the mean change of the outcome in its points, with interval; on a 0-10 outcome the change
    of the net promoter score stands beside it.
    """

    def headline(self) -> str:
        row, confidence = self.table.iloc[-1], self.summary["confidence"]
        what = self.label(row["term"]) if len(self.table) == 1 else f"{len(self.table) - 1} drivers"
        sign, points = signed(row["estimate"], row["conf_low"], row["conf_high"], confidence, 2)
        key = ("raised_open", "raised", "lowered")[sign]
        return say(key, drivers=what, points=points, outcome=self.label(self.outcome))

    def sentence(self) -> str:
        row, base = self.table.iloc[-1], base_of(self.summary)
        if "nps_change" not in row:
            return f"{self.headline()} {say('carried', base=base)}"
        sign, points = signed(
            row["nps_change"], row["nps_change_low"], row["nps_change_high"], self.summary["confidence"], 1
        )
        return f"{self.headline()} {say(('nps_open', 'nps_up', 'nps_down')[sign], points=points, base=base)}"

    def plot(self, ax=None):
        names, sure = [self.label(x) for x in self.table["term"]], percent(self.summary["confidence"])
        unit = f"Predicted change of {self.label(self.outcome)} (points), with {sure} interval"
        options = {"low": "conf_low", "high": "conf_high", "unit": unit, "title": self.headline(), "line": 0}
        return forest(self.table, "estimate", names=names, ax=ax, **options)


@one_thread
def simulate_improvement(
    responses, *, outcome: str, drivers, improve: Mapping[str, float], missing: str = "em", n_boot: int = 1000,
    confidence: float = 0.95, min_rows: int = 100, seed: int,
) -> SimulatedImprovement:  # fmt: skip
    """Raise ratings, capped at the scale's end, and propagate them through the linear model of all drivers.

    For each respondent the outcome moves by slope x (raised - given rating), 0 where the touchpoint was not met, and
    stops at the ends of its scale. On a 0-10 outcome a predicted answer between two scores counts for each in
    proportion, so that the change of the net promoter score does not jump. Replicates draw the respondents whose
    ratings are raised along with the slopes. The scales are those that the survey declares. `improve` is a dict of
    driver to points (above 0). Refused is what `driver_importance` refuses, a rise of no driver or by nothing, and a
    scale that is not declared.

    Examples
    --------
    >>> ask = {"outcome": "satisfaction", "drivers": drivers, "n_boot": 200, "seed": 1}
    >>> print(cx.simulate_improvement(study.responses, improve={"delivery": 1}, **ask))
    If Delivery were rated higher as asked, the model predicts ...
    """
    if not improve:
        raise DataProblem("improve= is empty; name a driver and its points, for example {'staff': 1}")
    if unknown := [d for d in improve if d not in names_of(drivers)]:
        raise DataProblem(f"improve= names {unknown[0]!r}, which is not among drivers=")
    if low := [d for d, points in improve.items() if not points > 0]:
        raise DataProblem(f"improve= raises {low[0]!r} by {improve[low[0]]:g}; give points above zero")
    chance = {"n_boot": n_boot, "confidence": confidence, "seed": seed}
    ask = {"outcome": outcome, "drivers": drivers, "missing": missing, "min_rows": min_rows}
    question = ratings_of("simulate_improvement", responses, **ask, **chance)
    scales = {item: scale_of(question.survey, item) for item in (*names_of(drivers), outcome)}
    if unknown := [item for item in (*improve, outcome) if scales[item] is None]:
        why = f"{unknown[0]!r} has no declared scale, so nobody knows where its answers end"
        raise DataProblem(f"{why}; declare it in study.yml, or by as_survey(..., scales=...)")
    model = fit(question, divided=False)
    table = _raised(model, improve, scales, n_boot, seed, confidence)
    together = table.iloc[-1]
    summary = {
        "method": "linear model of all drivers, bootstrap of respondents and slopes", "confidence": confidence,
        "n_boot": n_boot, "established": bool(together["conf_low"] > 0 or together["conf_high"] < 0),
    }  # fmt: skip
    largest = max(points / (scales[d][1] - scales[d][0]) for d, points in improve.items())
    least, stretched = float(table["share_moved"].min()), "at most 0.25: beyond it the model is stretched"
    room = "smallest share of respondents with room to rise"
    checks = (
        Check("largest rise as a share of the scale", digits.rounded(largest, 3), stretched, largest <= 0.25),
        Check(room, digits.rounded(least, 3), "at least 0.1", least >= 0.1),
    )
    return conclude(SimulatedImprovement, "simulate_improvement", question, table, summary, checks, fitted=model)


def _rise(question: Question, driver: str, points: float, highest: float) -> np.ndarray:
    """Return by how much each row's rating rises: 0 if never met, missing if skipped."""
    x = question.given(driver)
    stays = question.never(driver) | digits.at_least(x, highest)
    return np.where(stays, 0.0, np.minimum(x + points, highest) - x)


def _raised(model: Model, improve, scales, n_boot, seed, confidence) -> pd.DataFrame:
    """Return a row for each driver that is raised, and the last for all of them."""
    question, y, limits = model.question, model.question.columns[:, -1], scales[model.question.outcome]
    moves = np.stack([_rise(question, str(d), points, scales[d][1]) for d, points in improve.items()], axis=1)
    at = [question.rating[str(d)] for d in improve]
    sets = [([k], d, points) for k, (d, points) in enumerate(improve.items())]
    sets += [(list(range(len(improve))), TOGETHER, np.nan)] if len(improve) > 1 else []
    known = [~np.isnan(moves[:, columns]).any(axis=1) for columns, _, _ in sets]
    values: list[list] = [[] for _ in sets]
    for w in (question.sample.weights[None], *question.sample.replicates(n_boot, seed=seed)):
        slopes = model.draw(w).slopes[:, at]
        for found, (columns, _, _), rows in zip(values, sets, known):
            found.append(_changes(moves[np.ix_(rows, columns)], y[rows], w[:, rows], slopes[:, columns], limits))
    table = []
    for found, (columns, name, points), rows in zip(values, sets, known):
        change, weight = np.concatenate(found), question.sample.weights[rows]
        (low, nps_low), (high, nps_high) = percentile_interval(change[1:], confidence)
        moved = float(weight @ (moves[np.ix_(rows, columns)] > 0).any(axis=1) / weight.sum())
        row = {"term": name, "rating_points": points, "share_moved": moved}
        row |= {"estimate": change[0, 0], "conf_low": low, "conf_high": high}
        row |= (
            {"nps_change": change[0, 1], "nps_change_low": nps_low, "nps_change_high": nps_high}
            if limits == (0, 10)
            else {}
        )
        table.append(row | {"n": int(rows.sum())})
    return pd.DataFrame(table)


def _changes(move, y, weights, slopes, limits) -> np.ndarray:
    """Return the mean change and that in net promoter points, (B, 2), for rows of weights (B, n) and slopes (B, k)."""
    w = weights / weights.sum(axis=1, keepdims=True)
    out, together = np.empty((len(w), 2)), max(1, AT_ONCE // len(y))
    for start in range(0, len(w), together):
        part = slice(start, start + together)
        after = np.clip(y + slopes[part] @ move.T, *limits)
        out[part, 0] = np.einsum("bn,bn->b", w[part], after - y)
        out[part, 1] = np.einsum("bn,bn->b", w[part], promoter_points(after) - promoter_points(y))
    return out


def promoter_points(answers) -> np.ndarray:
    """Return 100, 0 or -100 by answer, in proportion between two scores: 8.3 is 0.3 of a 9."""
    return 100 * (np.clip(answers - 8, 0, 1) + np.clip(answers - 6, 0, 1) - 1)
