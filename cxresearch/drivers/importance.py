"""Which drivers go with the outcome: parts of explained variance and points per point, with their uncertainty."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.certainty import Certainty, certainty
from cxresearch.drivers.figures import draw_shares
from cxresearch.drivers.model import DriverFinding, Model, conclude, fit, model_checks
from cxresearch.drivers.question import Question, one_thread, question_of
from cxresearch.drivers.sentences import base_of, none_of, say, share_words, signed, with_interval
from cxresearch.drivers.shapley import METHODS, conditional_dominance, ranks, share_of
from cxresearch.errors import TooFewRespondents
from cxresearch.figures import heat_map
from cxresearch.findings import Check, Shown, ends, listing, number, p_words, percent

DOMINANCE = 15  # terms up to which the dominance table is written
MODEL_WORDS = {"linear": "", "binary": "; logistic, McFadden R²", "ordered": "; cumulative logit, McFadden R²"}


@dataclass(frozen=True, repr=False, eq=False)
class DriverImportance(DriverFinding):
    """How the explained variance of an outcome divides among its drivers.

    ``tidy()`` has one row per term, in the order asked: `estimate` (part of R², 0-1); `share` (of the terms' joint R²);
    `per_point`, the points of the outcome that go with a point of the rating among those who met it, the others held,
    and `n_met`, how many they are, each with its interval; `rank`; Johnson's relative weight as a share; correlation,
    standardised coefficient and `direction`. ``tables()`` adds ranks (probability of each), differences (all pairs,
    intervals that hold together), methods, and where they apply missing and dominance.
    """

    @property
    def chart(self):
        return Shown("tidy", "share", "share_low", "share_high", "Share of explained variance")

    def headline(self) -> str:
        """Return the first sentence."""
        s, outcome, k = self.summary, self.label(self.outcome), len(self.table)
        if said := self.no_verdict():
            return said
        top = self.table.loc[self.table["rank"].idxmin()]
        if s["halo_p_value"] > 1 - s["confidence"]:
            return say("halo", p=p_words(s["halo_p_value"]))
        key = "first_tie" if s["n_boot"] and len(self.tied) == k - 1 else "first"
        return say(key, first=self.label(top["term"]), k=k, outcome=outcome, share=share_words(top, s["confidence"]))

    def sentence(self) -> str:
        s, top = self.summary, self.table.loc[self.table["rank"].idxmin()]
        explained, base = self._explained(), base_of(s)
        if self.no_verdict():
            return f"{self.headline()} {say('chance_note', explained=explained)}"
        if s["halo_p_value"] > 1 - s["confidence"]:
            first, share = self.label(top["term"]), share_words(top, s["confidence"])
            return f"{self.headline()} {say('halo_note', first=first, share=share, explained=explained, base=base)}"
        words = {"explained": explained, "base": base}
        standing = self.standing("share", **words) if s["n_boot"] else say("no_interval", **words)
        return " ".join(filter(None, (self.headline(), standing, self._per_point(top))))

    def _per_point(self, row) -> str:
        """Return the sentence on points of the outcome per point of the rating, of a term that is one rating."""
        if np.isnan(row["per_point"]):
            return ""
        everyone = row["n_met"] == self.summary["n"]
        met = f"all {number(row['n_met'], 0)}" if everyone else f"the {number(row['n_met'], 0)} who met it"
        slope = row["per_point"], row["per_point_low"], row["per_point_high"], self.summary["confidence"]
        (sign, words), outcome = signed(*slope, 2), self.label(self.outcome)
        key = ("slope_open", "more", "fewer")[sign]
        if sign and self.fitted.kind == "binary":
            key, words = f"share_{key}", signed(*slope, 1, 100)[1]
        return say(key, met=met, slope=words, outcome=outcome)

    def _explained(self) -> str:
        s = self.summary
        low, high = s["r2_low"], s["r2_high"]
        if s["measure"] == "R²":
            value = f"{percent(s['r2'], 1)} of the variance"
            return with_interval(value, 100 * low, 100 * high, s["confidence"])
        return with_interval(f"{s['measure']} of {number(s['r2'], 3)}", low, high, s["confidence"], 3)

    def plot(self, ax=None):
        s = self.summary
        floor = s["noise_floor"] / s["r2"] if s["r2"] > 0 else np.nan
        return draw_shares(self, "share", "relative_weight", "relative weight (Johnson)", ax, floor=floor)

    def plot_ranks(self, ax=None):
        """Draw the probability of each rank as a heat map with its values, and return the Axes."""
        if "ranks" not in self.further:
            return self.plot(ax)
        order = self.table.sort_values("rank")["term"]
        wide = 100 * self.further["ranks"].pivot(index="term", columns="rank", values="probability").loc[order]
        wide.index = [self.label(t) for t in wide.index]
        title = f"How often each driver of {self.label(self.outcome)} came at each rank"
        return heat_map(wide, unit="Rank (1 = largest share); cells: probability in percent", title=title, ax=ax)


@one_thread
def driver_importance(
    responses, *, outcome: str, drivers, kind: str = "linear", blocks: Mapping[str, list[str]] | None = None,
    always=(), not_applicable: str = "exposure", missing: str = "em", n_boot: int = 1000, confidence: float = 0.95,
    min_rows: int = 100, seed: int | None,
) -> DriverImportance:  # fmt: skip
    """Divide the explained variance of `outcome` among `drivers`.

    The part of a driver is its gain in R² averaged over all orders in which drivers can enter (LMG, the Shapley
    value): all 2^p subsets are computed up to 22 terms, beyond that some 4,000 sampled orders stand for all. Johnson's
    relative weights stand beside it. The parts sum to R², less what `always` explains. A share grows with how many met
    a touchpoint; the points of the outcome per point of the rating, among those who met it, do not.

    Parameters
    ----------
    responses : Survey or DataFrame, one row per response
        Ratings are numbers; text columns are categorical drivers, entered as one term of dummies.
    drivers : list of columns
        A driver with a companion column ``<driver>_met`` (False: never met the touchpoint) is by default one term of
        two columns, exposure x (rating - mean among the exposed) and exposure.
    kind : {"linear", "binary", "ordered"}
        Least squares; logistic regression of the larger of two answers; cumulative logit of 3 to 11 answers. The last
        two fit every subset of at most 14 terms by maximum likelihood and divide McFadden's R².
    blocks : dict name -> drivers, optional
        Drivers that share one part.
    always : list of columns
        Controls: partialled out first, in every subset.
    not_applicable : {"exposure", "exclude"}
        What a never-met touchpoint becomes; "exclude" leaves out rows that never met one of them.
    missing : {"em", "listwise"}
        Skipped answers: maximum likelihood under joint normality of every row that answered the outcome and at least
        one driver (kind "linear"), or complete rows only.
    n_boot : int
        Bootstrap replicates of the survey's design; 0 gives no interval.
    seed : int
        May be None where nothing is random: `n_boot` 0 and at most 22 terms.

    Raises
    ------
    DataProblem, TooFewRespondents
        For a question or data that cannot be answered, naming the column; under `min_rows` rows or the survey's floor.

    References
    ----------
    Lindeman, Merenda & Gold (1980); Johnson (2000); Grömping (2006, 2007).

    Examples
    --------
    >>> import cxresearch as cx
    >>> study, drivers = cx.open_study("data/example/study.yml"), ["products", "staff", "delivery"]
    >>> found = cx.driver_importance(study.responses, outcome="satisfaction", drivers=drivers, n_boot=200, seed=1)
    >>> found.tidy()[["term", "share", "rank"]].round(2)
           term  share  rank
    0  products   0.31     3
    1     staff   0.32     2
    2  delivery   0.37     1
    """
    chance = {"n_boot": n_boot, "confidence": confidence, "seed": seed}
    question, everyone = question_of(
        "driver_importance", responses, outcome=outcome, drivers=drivers, kind=kind, blocks=blocks, always=always,
        not_applicable=not_applicable, missing=missing, min_rows=min_rows, **chance,
    )  # fmt: skip
    model = fit(question, kind=kind, seed=seed)
    p_value, sure = model.test(), certainty(model, **chance)
    tables = _tables(model, sure)
    if everyone.skipped and kind == "linear":
        tables["missing"] = _treatments(model, everyone, missing=missing, min_rows=min_rows, seed=seed)
    alpha, division = 1 - confidence, model.division
    told = bool(p_value <= alpha and not sure.halo > alpha and len(sure.tied) < len(question.names) - 1)
    sampled = "sampled orders" if division.residuals is None else f"{len(division.residuals)} subsets"
    summary = {
        "method": f"Shapley (LMG), {sampled}{MODEL_WORDS[kind]}"
        + (f"; skipped answers by {missing}" if question.skipped else "")
        + ("; percentile bootstrap" if n_boot else ""),
        "measure": "R²" if kind == "linear" else "a McFadden R²",
        "r2": division.joint, "r2_low": sure.r2[0], "r2_high": sure.r2[1],
        "p_value": p_value, "halo_p_value": sure.halo, "noise_floor": model.floor[0], "df": question.df,
        "confidence": confidence, "n_boot": n_boot, "established": told if n_boot else None,
    }  # fmt: skip
    table = importance_table(model, sure)
    checks = _checks(model, sure, table, summary, everyone, min_rows=min_rows)
    more = {"tied": sure.tied, "fitted": model}
    return conclude(DriverImportance, "driver_importance", question, table, summary, checks, tables, **more)


def importance_table(model: Model, sure: Certainty) -> pd.DataFrame:
    """Return one row per term, in the order asked."""
    question, division, met = model.question, model.division, model.question.met
    exposed = {t: float(np.average(who, weights=question.weights)) for t, who in met.items()}

    def of_rating(values) -> np.ndarray:
        return np.array([values[question.rating[t]] if t in question.rating else np.nan for t in question.names])

    correlation, coefficient = of_rating(model.correlation[:-1, -1]), of_rating(model.coefficients)
    return pd.DataFrame(
        {"term": list(question.names), "estimate": division.parts, "conf_low": sure.part[0], "conf_high": sure.part[1],
         **ends("share", share_of(division.parts), *sure.share),
         **ends("per_point", of_rating(model.slopes), *sure.slope),
         "n_met": [int(met[t].sum()) if t in met else len(question) for t in question.names],
         **ends("rank", ranks(division.parts), *sure.rank),
         "relative_weight": share_of(division.methods["relative_weights"]),
         "correlation": correlation, "coefficient": coefficient, "direction": _directions(correlation, coefficient, sure),
         **({"share_exposed": [exposed.get(t, 1.0) for t in question.names]} if exposed else {}),
         "n": [int(question.rated(t).sum()) for t in question.names]}
    )  # fmt: skip


def _directions(r, b, sure: Certainty) -> list[str]:
    words = []
    for k in range(len(r)):
        clear = [not (low <= 0 <= high) for low, high in (sure.correlation[:, k], sure.coefficient[:, k])]
        if np.isnan(r[k]):
            words.append("several columns")
        elif r[k] * b[k] < 0 and all(clear):
            words.append("conflict")
        else:
            words.append("unclear" if not clear[0] or r[k] == 0 else "positive" if r[k] > 0 else "negative")
    return words


def _tables(model: Model, sure: Certainty) -> dict[str, pd.DataFrame]:
    """Return methods, and where they apply ranks, differences and dominance."""
    question, division = model.question, model.division
    names, p = np.array(question.names), len(question.names)
    shares = {m: share_of(division.methods[m]) for m in METHODS}
    orders = {f"rank_{m}": ranks(division.methods[m]) for m in METHODS}
    tables = {"methods": pd.DataFrame({"term": names, **shares, **orders})}
    every = {"term": np.repeat(names, p)}
    if len(sure.pairs[0]):
        first, second, difference, low, high = sure.pairs
        place = np.tile(np.arange(1, p + 1), p)
        tables["ranks"] = pd.DataFrame({**every, "rank": place, "probability": sure.probability.ravel()})
        tables["differences"] = pd.DataFrame(
            {"term": names[first], "other": names[second], "estimate": difference, "conf_low": low, "conf_high": high,
             "told_apart": (low > 0) | (high < 0)}
        )  # fmt: skip
    if division.residuals is not None and p <= DOMINANCE:
        gains = conditional_dominance(division.residuals).ravel()
        tables["dominance"] = pd.DataFrame({**every, "n_entered": np.tile(np.arange(p), p), "estimate": gains})
    return tables


def _treatments(model: Model, everyone: Question, *, missing: str, min_rows: int, seed) -> pd.DataFrame:
    """Return parts and shares by each treatment of skipped answers, the one asked for first.

    Listwise is missing where fewer than `min_rows` rows are complete.
    """
    complete = everyone.complete()
    found = {missing: (len(model.question), model.division.parts)}
    if missing == "listwise":
        found["em"] = len(everyone), fit(everyone, seed=seed).division.parts
    else:
        n, parts = int(complete.sum()), np.full(len(everyone.names), np.nan)
        if n >= max(min_rows, everyone.columns.shape[1] + 1) and np.ptp(everyone.columns[complete, -1]) > 0:
            try:
                parts = fit(everyone.where(complete), seed=seed).division.parts
            except TooFewRespondents:  # the floor counts persons
                n = 0
        found["listwise"] = n, parts
    rows = [
        pd.DataFrame({"term": everyone.names, "method": how, "estimate": parts, "share": share_of(parts), "n": n})
        for how, (n, parts) in found.items()
    ]
    return pd.concat(rows, ignore_index=True)


def _checks(model, sure, table, summary, everyone, *, min_rows: int) -> tuple[Check, ...]:
    """Return the checks of the data, the model and the order of the drivers."""
    question, division, alpha = model.question, model.division, 1 - summary["confidence"]
    received, n = len(question.survey), len(question)
    orders = np.array([ranks(division.methods[m]) for m in METHODS], dtype=float)
    rho = float(np.corrcoef(orders).min())  # of ranks without ties: Spearman's
    checks = [
        Check("rows used", n, f"at least {min_rows}; {received} received", n >= min_rows),
        *model_checks(model, summary["p_value"], summary["confidence"]),
        none_of("drivers constant or a sum of others", model.dependent_terms()),
        Check("lowest rank correlation of four methods", digits.rounded(rho, 3), "at least 0.7", bool(rho >= 0.7)),
    ]
    if everyone.skipped:
        share, limit = float(everyone.complete().mean()), "at least 0.5, else compare the table of missing"
        checks.append(Check("share of rows that skipped nothing", digits.rounded(share, 3), limit, share >= 0.5))
    if summary["n_boot"]:
        conflicts = list(table["term"][table["direction"] == "conflict"])
        low, floor = list(table["term"][table["estimate"] <= model.floor[1]]), number(model.floor[1], 5)
        checks += [
            Check("drivers tied with the first", len(sure.tied), "information", True, "info"),
            none_of("sign of coefficient against correlation", conflicts),
            Check("parts a random driver could get", listing(low), f"none at or under {floor}", not low),
        ]
    if np.isfinite(sure.halo):
        value, limit = digits.rounded(sure.halo, 4), f"at most {number(alpha, 2)}"
        checks.append(Check("more than a common halo (p)", value, limit, sure.halo <= alpha))
    if division.error.any():
        ratio = float(division.error.max() / division.parts.sum())
        value, limit = digits.rounded(ratio, 5), "at most 0.005"
        checks.append(Check("largest sampling error of a share", value, limit, ratio <= 0.005))
    return tuple(checks)
