"""How much of the importance is what all ratings share?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.figures import draw_shares
from cxresearch.drivers.model import common_only_test, conclude, fit
from cxresearch.drivers.question import one_thread, ratings_of
from cxresearch.drivers.sentences import base_of, say, share_words
from cxresearch.drivers.shapley import divide, ranks, share_of
from cxresearch.findings import Check, Finding, ends, interval, listing, number, p_words, percent
from cxresearch.inference import percentile_interval
from cxresearch.inference.shares import packed

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
        return draw_shares(self, "share_held", "share", "as it stands; dots: common factor held", ax)


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
    >>> study, drivers = cx.open_study("data/example/study.yml"), ["products", "staff", "delivery"]
    >>> print(cx.halo_check(study.responses, outcome="satisfaction", drivers=drivers, n_boot=200, seed=1))
    The first factor of 3 ratings holds 46 % of their variance (95 % interval 43 to 48; n = ...
    """
    chance = {"n_boot": n_boot, "confidence": confidence, "seed": seed}
    question = ratings_of(
        "halo_check", responses, outcome=outcome, drivers=drivers, not_applicable=not_applicable, missing=missing,
        min_rows=min_rows, **chance,
    )  # fmt: skip
    model = fit(question, seed=seed, divided=False)
    at = np.array([*question.rating.values(), -1])
    point = model.correlation[at[:, None], at][None]
    drawn = model.draws(n_boot, seed).correlations[:, at[:, None], at]
    p_value = common_only_test(point, drawn, question.df) if len(question.names) >= LEAST else np.nan
    (augmented, first), (drawn_augmented, drawn_first) = with_first_component(point), with_first_component(drawn)
    sizes = (1,) * len(question.names)
    plain = divide(packed(point), sizes=sizes, seed=seed).parts
    division = divide(packed(augmented), sizes=sizes, n_always=1, seed=seed)
    held, draws = division.parts, division.of(packed(drawn_augmented))
    (low, high), (part_low, part_high) = (percentile_interval(d, confidence) for d in (share_of(draws), draws))
    loading = np.sign(augmented[0, 0, 1:-1].sum()) * augmented[0, 0, 1:-1]
    table = pd.DataFrame(
        {"term": list(question.names), "estimate": held, "conf_low": part_low, "conf_high": part_high,
         "share": share_of(plain), **ends("share_held", share_of(held), low, high), "rank": ranks(plain),
         "rank_held": ranks(held), "loading": loading, "correlation": point[0, :-1, -1]}
    )  # fmt: skip
    first_low, first_high = percentile_interval(drawn_first, confidence)
    summary = {
        "method": "first principal component held; Shapley parts",
        "first_factor": float(first[0]), "first_low": float(first_low), "first_high": float(first_high),
        "r2": float(plain.sum()), "r2_held": float(held.sum()), "p_value": p_value, "confidence": confidence,
        "n_boot": n_boot, "established": None if np.isnan(p_value) else bool(p_value <= 1 - confidence),
    }  # fmt: skip
    checks = (*question.few_units(), *_checks(table, summary, question))
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


def _checks(table, summary, question) -> tuple[Check, ...]:
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
