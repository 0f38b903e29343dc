"""How much of the importance is what all ratings share?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.figures import hollow, in_percent, legend_below, share_unit
from cxresearch.drivers.model import common_only_test, conclude, fit
from cxresearch.drivers.question import MISSING, NOT_APPLICABLE, ask, check_options, one_thread
from cxresearch.drivers.sentences import base_of, say, share_words
from cxresearch.drivers.shapley import divide, ranks, share_of
from cxresearch.errors import DataProblem
from cxresearch.figures import axes_or_new, forest, titled
from cxresearch.findings import Check, Finding, ends, interval, listing, number, p_words, percent
from cxresearch.inference import percentile_interval
from cxresearch.inference.shares import packed
from cxresearch.survey import as_survey

LEAST = 4  # ratings whose departures from one factor can be tested
HALF = 0.5  # of the ratings' variance: above it one factor is most of what they say
MOST_MOVES = 4  # changes of rank that a sentence names


@dataclass(frozen=True, repr=False, eq=False)
class HaloCheck(Finding):
    """Importance as it stands and with the ratings' first principal component held.

    ``tidy()``: one row per driver; `estimate` is its part of R² beyond the common factor, `share_held` its share of
    that, `share` the share as it stands.
    """

    def headline(self) -> str:
        """Return the first sentence."""
        s, k = self.summary, len(self.table)
        bounds = interval(100 * s["first_low"], 100 * s["first_high"], s["confidence"], 0)
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
        t = in_percent(self.table.sort_values("rank"), "share", "share_held")
        ax = axes_or_new(ax, rows=len(t) + 3)
        hollow(ax, t["share"], "as it stands; dots: common factor held")
        forest(t, "share_held", names=[self.label(x) for x in t["term"]], unit=share_unit(self.summary), ax=ax)
        ax.set_xlim(left=0)
        legend_below(ax, columns=1)
        return titled(ax, self.headline())


@one_thread
def halo_check(
    responses, *, outcome: str, drivers, not_applicable: str = "exposure", missing: str = "em", n_boot: int = 1000,
    confidence: float = 0.95, min_rows: int = 100, seed: int,
) -> HaloCheck:  # fmt: skip
    """Show importance with the ratings' common factor held, and test whether there is any beyond it.

    The first principal component of the ratings' correlations enters as a control in every subset; the drivers' parts
    then sum to R² less what it explains alone. The test asks whether cov(driver, outcome) is proportional to the
    drivers' loadings on one factor; it needs four drivers.

    Raises
    ------
    DataProblem, TooFewRespondents
        As `driver_importance`; also where a driver is no rating.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> drivers = ["products", "staff", "delivery"]
    >>> print(cx.halo_check(
    ...     study.responses, outcome="satisfaction", drivers=drivers, n_boot=200, seed=1,
    ... ))
    The first factor of 3 ratings holds 46 % of their variance (95 % interval 43 to 48; n = ...
    """
    survey = as_survey(responses)
    check_options(
        confidence=confidence, n_boot=n_boot, seed=seed, missing=(missing, MISSING),
        not_applicable=(not_applicable, NOT_APPLICABLE),
    )  # fmt: skip
    if not n_boot:
        raise DataProblem("halo_check needs replicates for its test; give n_boot of at least 100")
    question, _ = ask(
        survey, function="halo_check", outcome=outcome, drivers=drivers, not_applicable=not_applicable, missing=missing,
        min_rows=min_rows,
    )  # fmt: skip
    question.ratings("halo_check")
    model = fit(question, seed=seed, divided=False)
    at = np.array([*question.rating.values(), -1])
    point = model.correlation[at[:, None], at][None]
    drawn = model.draws(n_boot, seed).correlations[:, at[:, None], at]
    p_value = common_only_test(point, drawn, question.df) if len(question.names) >= LEAST else np.nan
    table, joint = _table(question.names, point, drawn, confidence, seed)
    first = [np.linalg.eigvalsh(m[:, :-1, :-1])[:, -1] / len(table) for m in (point, drawn)]
    (low, high), known = percentile_interval(first[1], confidence), not np.isnan(p_value)
    summary = {
        "method": "first principal component held; Shapley parts",
        "first_factor": float(first[0][0]), "first_low": float(low), "first_high": float(high),
        "r2": joint[0], "r2_held": joint[1], "p_value": p_value, "confidence": confidence, "n_boot": n_boot,
        "established": bool(p_value <= 1 - confidence) if known else None,
    }  # fmt: skip
    checks = (*question.few_units(), *_checks(table, summary, question))
    return conclude(HaloCheck, "halo_check", question, table, summary, checks)


def with_first_component(matrices: np.ndarray) -> np.ndarray:
    """Return (batch, p + 2, p + 2) correlations with the ratings' first principal component as the first column."""
    among, with_outcome = matrices[:, :-1, :-1], matrices[:, :-1, -1]
    values, vectors = np.linalg.eigh(among)
    direction, root = vectors[:, :, -1], np.sqrt(values[:, -1])
    m = matrices.shape[1] + 1
    out = np.empty((len(matrices), m, m))
    out[:, 1:, 1:] = matrices
    out[:, 0, 0] = 1.0
    out[:, 0, 1:-1] = out[:, 1:-1, 0] = direction * root[:, None]
    out[:, 0, -1] = out[:, -1, 0] = np.sum(direction * with_outcome, axis=1) / root
    return out


def _table(names, point, drawn, confidence, seed) -> tuple[pd.DataFrame, tuple[float, float]]:
    augmented, sizes = with_first_component(point), (1,) * len(names)
    plain = divide(packed(point), sizes=sizes, seed=seed).parts
    division = divide(packed(augmented), sizes=sizes, n_always=1, seed=seed)
    held, draws = division.parts, division.of(packed(with_first_component(drawn)))
    (low, high), (part_low, part_high) = (percentile_interval(d, confidence) for d in (share_of(draws), draws))
    loading = np.sign(augmented[0, 0, 1:-1].sum()) * augmented[0, 0, 1:-1]
    table = pd.DataFrame(
        {"term": list(names), "estimate": held, "conf_low": part_low, "conf_high": part_high, "share": share_of(plain),
         **ends("share_held", share_of(held), low, high), "rank": ranks(plain), "rank_held": ranks(held),
         "loading": loading, "correlation": point[0, :-1, -1]}
    )  # fmt: skip
    return table, (float(plain.sum()), float(held.sum()))


def _checks(table, summary, question) -> tuple[Check, ...]:
    first, p_value, limit = (
        summary["first_factor"],
        summary["p_value"],
        f"at most {number(1 - summary['confidence'], 2)}",
    )
    tested = Check(
        "more than a common factor (p)", digits.rounded(p_value, 4), limit, bool(p_value <= 1 - summary["confidence"])
    )
    if np.isnan(p_value):
        few = len(table) < LEAST
        why = (
            f"not tested: fewer than {LEAST} ratings" if few else f"not tested: {question.df:.0f} clusters less strata"
        )
        tested = Check("more than a common factor (p)", why, limit, False)
    moved = int((table["rank"] - table["rank_held"]).abs().max())
    return (
        Check("variance of the first factor", digits.rounded(first, 3), f"at most {HALF}", first <= HALF),
        tested,
        Check("largest change of a rank", moved, "at most 2", moved <= 2),
    )
