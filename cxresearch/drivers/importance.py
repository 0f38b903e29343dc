"""Which drivers go with the outcome, how sure is that, and how much of it is what all ratings share?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.model import LEAST, Certainty, DriverFinding, Model, certainty, conclude, draw_shares, fit
from cxresearch.drivers.question import Question, one_thread, question_of, ratings_of
from cxresearch.drivers.sentences import base_of, none_of, say, share_words, signed, with_interval
from cxresearch.drivers.shapley import METHODS, conditional_dominance, divide, ranks, share_of
from cxresearch.errors import TooFewRespondents
from cxresearch.figures import heat_map
from cxresearch.findings import Check, Finding, Shown, ends, interval, listing, number, p_words, percent
from cxresearch.inference import percentile_interval
from cxresearch.inference.shares import packed

DOMINANCE = 15  # terms up to which the dominance table is written
HALF = 0.5  # of the ratings' variance: above it one factor is most of what they say
MOST_MOVES = 4  # changes of rank that a sentence names
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
        base, bounds, value = base_of(s), (s["r2_low"], s["r2_high"]), f"{s['measure']} of {number(s['r2'], 3)}"
        explained = with_interval(value, *bounds, s["confidence"], 3)
        if s["measure"] == "R²":
            value, bounds = f"{percent(s['r2'], 1)} of the variance", (100 * s["r2_low"], 100 * s["r2_high"])
            explained = with_interval(value, *bounds, s["confidence"])
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
    a touchpoint; the points of the outcome per point of the rating, among those who met it, do not. Refused is a question
    or data that cannot be answered, naming the column, and fewer rows than `min_rows` or the survey's floor.

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

    Examples
    --------
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
    question, parts, met = model.question, model.division.parts, model.question.met
    exposed = {t: float(np.average(who, weights=question.sample.weights)) for t, who in met.items()}

    def of_rating(values) -> np.ndarray:
        return np.array([values[question.rating[t]] if t in question.rating else np.nan for t in question.names])

    r, b = of_rating(model.correlation[:-1, -1]), of_rating(model.coefficients)
    clear, both = (~((low <= 0) & (high >= 0)) for low, high in map(sure.ends.get, ("correlation", "coefficient")))
    signs = [np.isnan(r), (r * b < 0) & clear & both, ~clear | (r == 0), r > 0]
    return pd.DataFrame(
        {"term": list(question.names), "estimate": parts, "conf_low": sure.ends["conf"][0],
         "conf_high": sure.ends["conf"][1], **ends("share", share_of(parts), *sure.ends["share"]),
         **ends("per_point", of_rating(model.slopes), *sure.ends["per_point"]),
         "n_met": [int(met[t].sum()) if t in met else len(question) for t in question.names],
         **ends("rank", ranks(parts), *sure.ends["rank"]),
         "relative_weight": share_of(model.division.methods["relative_weights"]), "correlation": r, "coefficient": b,
         "direction": np.select(signs, ["several columns", "conflict", "unclear", "positive"], "negative"),
         **({"share_exposed": [exposed.get(t, 1.0) for t in question.names]} if exposed else {}),
         "n": [int(question.rated(t).sum()) for t in question.names]}
    )  # fmt: skip


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
    """Return parts and shares by treatment of skipped answers, the one asked for first; missing under `min_rows`."""
    kept = everyone.complete() if missing == "em" else np.ones(len(everyone), dtype=bool)
    n, parts = int(kept.sum()), np.full(len(everyone.names), np.nan)
    if n >= max(min_rows, everyone.columns.shape[1] + 1) and np.ptp(everyone.columns[kept, -1]) > 0:
        try:
            parts = fit(everyone.where(kept), seed=seed).division.parts
        except TooFewRespondents:  # the floor counts persons
            n = 0
    other = "listwise" if missing == "em" else "em"
    found = {missing: (len(model.question), model.division.parts), other: (n, parts)}
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
        *model.checks(summary["p_value"], summary["confidence"]),
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


# --- halo ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class HaloCheck(Finding):
    """Importance as it stands and with the ratings' first principal component held.

    ``tidy()``: one row per driver; `estimate` is its part of R² beyond the common factor, `share_held` its share of
    that, `share` the share as it stands.
    """

    def headline(self) -> str:
        s, k = self.summary, len(self.table)
        bounds = interval(100 * s["first_factor_low"], 100 * s["first_factor_high"], s["confidence"], 0)
        return say("factor", k=k, first=percent(s["first_factor"]), interval=bounds, base=base_of(s))

    def sentence(self) -> str:
        s, t, outcome = self.summary, self.table, self.label(self.outcome)
        if s["p_value"] > 1 - s["confidence"]:
            return f"{self.headline()} {say('beyond_open', outcome=outcome, p=p_words(s['p_value']))}"
        r2 = {"held": percent(s["r2_held"], 1), "plain": percent(s["r2"], 1), "outcome": outcome}
        if np.isnan(s["p_value"]):
            why = say("few_ratings" if len(t) < LEAST else "few_clusters")
            return f"{self.headline()} {say('beyond_untested', why=why, **r2)}"
        moved = t[t["rank"] != t["rank_held"]].sort_values("rank")
        named = [
            say("move", term=self.label(row.term), before=row.rank, after=row.rank_held)
            for row in moved.head(MOST_MOVES).itertuples(index=False)
        ]
        named += [f"{len(moved) - MOST_MOVES} more"] if len(moved) > MOST_MOVES else []
        changes = say("changes", moves=listing(named)) if named else say("no_change")
        top = t.loc[t["rank_held"].idxmin()]
        share = share_words(top, s["confidence"], "share_held")
        return f"{self.headline()} {say('beyond', term=self.label(top['term']), share=share, changes=changes, **r2)}"

    def plot(self, ax=None):
        return draw_shares(self, "share_held", "share", "as it stands; dots: common factor held", ax)


@one_thread
def halo_check(
    responses, *, outcome: str, drivers, not_applicable: str = "exposure", missing: str = "em", n_boot: int = 1000,
    confidence: float = 0.95, min_rows: int = 100, seed: int,
) -> HaloCheck:  # fmt: skip
    """Show importance with the ratings' common factor held, and test whether there is any beyond it.

    The first principal component of the ratings' correlations enters as a control in every subset; the drivers' parts
    then sum to R² less what it explains alone. The test asks whether cov(driver, outcome) is proportional to the
    drivers' loadings on one factor; it needs four drivers. Refused is what `driver_importance` refuses, and a driver
    that is no rating.

    Examples
    --------
    >>> print(cx.halo_check(study.responses, outcome="satisfaction", drivers=drivers, n_boot=200, seed=1))
    The first factor of 3 ratings holds 46 % of their variance (95 % interval 43 to 48; n = ...
    """
    chance = {"n_boot": n_boot, "confidence": confidence, "seed": seed}
    ask = {"outcome": outcome, "drivers": drivers, "missing": missing, "min_rows": min_rows}
    question = ratings_of("halo_check", responses, not_applicable=not_applicable, **ask, **chance)
    model = fit(question, seed=seed, divided=False)
    at = np.array([*question.rating.values(), -1])
    point = model.correlation[at[:, None], at][None]
    draws = model.draws(n_boot, seed)
    drawn, p_value = draws.correlations[:, at[:, None], at], model.halo_test(draws)
    (augmented, first), (drawn_augmented, drawn_first) = with_first_component(point), with_first_component(drawn)
    sizes = (1,) * len(question.names)
    plain = divide(packed(point), sizes=sizes, seed=seed).parts
    division = divide(packed(augmented), sizes=sizes, n_always=1, seed=seed)
    held, parts = division.parts, division.of(packed(drawn_augmented))
    (low, high), (part_low, part_high) = (percentile_interval(d, confidence) for d in (share_of(parts), parts))
    loading = np.sign(augmented[0, 0, 1:-1].sum()) * augmented[0, 0, 1:-1]
    table = pd.DataFrame(
        {"term": list(question.names), "estimate": held, "conf_low": part_low, "conf_high": part_high,
         "share": share_of(plain), **ends("share_held", share_of(held), low, high), "rank": ranks(plain),
         "rank_held": ranks(held), "loading": loading, "correlation": point[0, :-1, -1]}
    )  # fmt: skip
    first_low, first_high = percentile_interval(drawn_first, confidence)
    summary = {
        "method": "first principal component held; Shapley parts",
        "first_factor": float(first[0]), "first_factor_low": float(first_low), "first_factor_high": float(first_high),
        "r2": float(plain.sum()), "r2_held": float(held.sum()), "p_value": p_value, "confidence": confidence,
        "n_boot": n_boot, "established": None if np.isnan(p_value) else bool(p_value <= 1 - confidence),
    }  # fmt: skip
    checks = (*question.few_units(), *_halo_checks(table, summary, question))
    return conclude(HaloCheck, "halo_check", question, table, summary, checks)


def with_first_component(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return correlations with the ratings' first principal component as the first column, and its share of variance.

    From (batch, p + 1, p + 1) correlations with the outcome last: (batch, p + 2, p + 2) and (batch,).
    """
    values, vectors = np.linalg.eigh(matrices[:, :-1, :-1])
    direction, root, m = vectors[:, :, -1], np.sqrt(values[:, -1]), matrices.shape[1] + 1
    out = np.empty((len(matrices), m, m))
    out[:, 1:, 1:] = matrices
    out[:, 0, 0] = 1.0
    out[:, 0, 1:-1] = out[:, 1:-1, 0] = direction * root[:, None]
    out[:, 0, -1] = out[:, -1, 0] = np.sum(direction * matrices[:, :-1, -1], axis=1) / root
    return out, values[:, -1] / (m - 2)


def _halo_checks(table, summary, question) -> tuple[Check, ...]:
    first, p_value, alpha = summary["first_factor"], summary["p_value"], 1 - summary["confidence"]
    value, ok = digits.rounded(p_value, 4), bool(p_value <= alpha)
    if np.isnan(p_value):
        clusters = f"{question.df:.0f} clusters less strata"
        value = f"not tested: {f'fewer than {LEAST} ratings' if len(table) < LEAST else clusters}"
    moved = int((table["rank"] - table["rank_held"]).abs().max())
    return (
        Check("variance of the first factor", digits.rounded(first, 3), f"at most {HALF}", first <= HALF),
        Check("more than a common factor (p)", value, f"at most {number(alpha, 2)}", ok),
        Check("largest change of a rank", moved, "at most 2", moved <= 2),
    )
