"""How much of the importance is what all ratings share?

References
----------
Lindell & Whitney (2001), Journal of Applied Psychology 86, 114 (marker variable); Thorndike (1920).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.figures import legend_below
from cxresearch.drivers.halo import common_only_test
from cxresearch.drivers.parts import parts_of
from cxresearch.drivers.question import ask, check_chance, check_options, names_of, one_thread, ratings_only
from cxresearch.drivers.resampling import design_units, ranks, share_draws, weight_batches
from cxresearch.drivers.terms import numeric
from cxresearch.errors import DataProblem, require_columns
from cxresearch.figures import PALETTE, QUIET, axes_or_new, intervals
from cxresearch.findings import Check, Finding, interval, number, percent
from cxresearch.inference import kish_effective_n, percentile_interval
from cxresearch.inference.shares import em_moments, packed, unpacked
from cxresearch.survey import as_survey

MISSING = ("em", "listwise")
LEAST = 4  # ratings whose departures from one factor can be tested
HALF = 0.5  # of the ratings' variance: above it one factor is most of what they say


@dataclass(frozen=True, repr=False, eq=False)
class HaloCheck(Finding):
    """Importance as it stands and with the ratings' first principal component held.

    ``tidy()``: one row per driver; `estimate` is its part of R² beyond the common factor, `share_held` its share of
    that, `share` the share as it stands.
    """

    def sentence(self) -> str:
        s = self.summary
        base = (
            f"The first factor of the {len(self.table)} ratings holds {percent(s['first_factor'])} of their variance "
            f"({interval(100 * s['first_low'], 100 * s['first_high'], s['confidence'], 0)}; n = {number(s['n'], 0)}). "
        )
        if s["p_value"] > 1 - s["confidence"]:
            return base + (
                f"Not established that any driver goes with {self.label(self.outcome)} beyond what all ratings share "
                f"(p = {number(s['p_value'], 3)})."
            )
        held = (
            f"With it held, the drivers account for {percent(s['r2_held'], 1)} of the variance of "
            f"{self.label(self.outcome)} instead of {percent(s['r2'], 1)}"
        )
        if np.isnan(s["p_value"]):
            return base + f"{held}; whether that is beyond chance is not tested with fewer than {LEAST} ratings."
        moved = int((self.table["rank"] != self.table["rank_held"]).sum())
        top = self.table.loc[self.table["rank_held"].idxmin()]
        return base + (
            f"{held}; {self.label(top['term'])} has the largest share of that, {percent(top['share_held'])} "
            f"({interval(100 * top['share_held_low'], 100 * top['share_held_high'], s['confidence'], 0)}), and "
            f"{moved} of {len(self.table)} ranks {'changes' if moved == 1 else 'change'}. "
            "The common part may be halo or may be meant."
        )

    def plot(self, ax=None):
        t = self.table.sort_values("rank")
        ax = axes_or_new(ax, rows=len(t) + 2)
        ax.plot(100 * t["share"], np.arange(len(t)), "D", color=QUIET, markerfacecolor="none", label="as it stands")
        intervals(
            ax,
            [self.label(x) for x in t["term"]],
            100 * t["share_held"],
            100 * t["share_held_low"],
            100 * t["share_held_high"],
            colour=PALETTE[0],
            label="common factor held",
        )
        ax.set_xlim(left=0)
        ax.set_xlabel(f"Share of the explained variance (%), with {percent(self.summary['confidence'])} interval")
        ax.set_title("Importance with and without what all ratings share")
        legend_below(ax, columns=2)
        return ax


@one_thread
def halo_check(
    responses,
    *,
    outcome: str,
    drivers,
    marker: str | None = None,
    not_applicable: str = "exposure",
    missing: str = "em",
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int,
) -> HaloCheck:
    """Show importance with the ratings' common factor held, and test whether there is any beyond it.

    The first principal component of the ratings' correlations enters as a control in every subset; the drivers' parts
    then sum to R² less what it explains alone. The test asks whether cov(driver, outcome) is proportional to the
    drivers' loadings on one factor; it needs four drivers. With a `marker`, an item that should go with nothing, r is adjusted to
    (r - r_M) / (1 - r_M), r_M the marker's correlation with the outcome (Lindell & Whitney 2001).

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
    The first factor of the 3 ratings holds 46 % of their variance (95 % interval 44 to 48; n = ...
    """
    survey = as_survey(responses)
    responses = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    check_options(
        confidence=confidence, missing=(missing, MISSING), not_applicable=(not_applicable, ("exposure", "exclude"))
    )
    check_chance(n_boot, seed)
    if not n_boot:
        raise DataProblem("halo_check needs replicates for its test; give n_boot of at least 100")
    require_columns(responses, marker, where="responses")
    design = dict(weight=weight, strata=strata, cluster=cluster, fpc=fpc)
    terms, _ = ask(
        responses,
        function="halo_check",
        outcome=outcome,
        drivers=names_of(drivers),
        missing=missing,
        min_rows=min_rows,
        min_base=min_base,
        design=design,
        not_applicable=not_applicable,
    )
    moments = em_moments(ratings_only(terms, "halo_check"), terms.weights)
    batches = weight_batches(terms.weights, n_boot=n_boot, seed=seed, **terms.design)
    point = unpacked(moments.correlations())
    drawn = np.concatenate([unpacked(moments.correlations(weights)) for weights in batches])
    p_value = common_only_test(point, drawn, _df(terms))[1] if len(terms.names) >= LEAST else np.nan
    table, joint = _table(terms.names, point, drawn, confidence)
    if marker is not None:
        table["adjusted_correlation"] = _adjusted(table["correlation"], responses, marker, outcome, weight)
    first = percentile_interval(np.linalg.eigvalsh(drawn[:, :-1, :-1])[:, -1] / len(table), confidence)
    summary = {
        "n": len(terms),
        **({"n_effective": kish_effective_n(terms.weights)} if weight else {}),
        "method": "first principal component held; Shapley parts",
        "first_factor": float(np.linalg.eigvalsh(point[0, :-1, :-1])[-1] / len(table)),
        "first_low": float(first[0]),
        "first_high": float(first[1]),
        "r2": joint[0],
        "r2_held": joint[1],
        "p_value": p_value,
        "confidence": confidence,
        "n_boot": n_boot,
    }
    return HaloCheck("halo_check", outcome, None, table, summary, _checks(table, summary), dict(labels or {}))


def _df(terms) -> float:
    stratum, unit = design_units(len(terms), terms.strata, terms.cluster)
    return float(unit.max() - stratum.max())


def with_first_component(matrices: np.ndarray) -> np.ndarray:
    """Return (batch, p + 2, p + 2) correlations with the drivers' first principal component put first."""
    among = matrices[:, :-1, :-1]
    values, vectors = np.linalg.eigh(among)
    first = vectors[:, :, -1] / np.sqrt(values[:, -1:])
    with_all = (first[:, None, :] @ matrices[:, :-1, :])[:, 0]
    out = np.empty((len(matrices), matrices.shape[1] + 1, matrices.shape[1] + 1))
    out[:, 0, 0], out[:, 1:, 0], out[:, 0, 1:], out[:, 1:, 1:] = 1.0, with_all, with_all, matrices
    return out


def _table(names, point, drawn, confidence):
    sizes = [1] * len(names)
    plain = parts_of(packed(point), sizes=sizes)[:, 0]
    augmented = with_first_component(point)
    held = parts_of(packed(augmented), sizes=sizes, n_always=1)[:, 0]
    draws = parts_of(packed(with_first_component(drawn)), sizes=sizes, n_always=1).T
    low, high = percentile_interval(share_draws(draws), confidence)
    part_low, part_high = percentile_interval(draws, confidence)
    sign = np.sign(augmented[0, 0, 1:-1].sum())
    table = pd.DataFrame(
        {
            "term": list(names),
            "estimate": held,
            "conf_low": part_low,
            "conf_high": part_high,
            "share": plain / plain.sum(),
            "share_held": held / held.sum(),
            "share_held_low": low,
            "share_held_high": high,
            "rank": ranks(plain),
            "rank_held": ranks(held),
            "loading": sign * augmented[0, 0, 1:-1],
            "correlation": point[0, :-1, -1],
        }
    )
    return table, (float(plain.sum()), float(held.sum()))


def marker_adjusted(r, r_marker: float):
    """Return (r - r_M) / (1 - r_M) (Lindell & Whitney 2001)."""
    return (r - r_marker) / (1 - r_marker)


def _adjusted(correlation, responses, marker, outcome, weight):
    x, y = numeric(responses, marker), numeric(responses, outcome)
    both = ~np.isnan(x) & ~np.isnan(y)
    w = np.ones(both.sum()) if weight is None else numeric(responses, weight)[both]
    x, y = x[both] - np.average(x[both], weights=w), y[both] - np.average(y[both], weights=w)
    if not np.any(x):
        raise DataProblem(f"marker {marker!r} has the same answer in all rows; a marker must vary")
    return marker_adjusted(correlation, float(w @ (x * y) / np.sqrt((w @ x**2) * (w @ y**2))))


def _checks(table, summary) -> tuple[Check, ...]:
    alpha = 1 - summary["confidence"]
    moved = int((table["rank"] - table["rank_held"]).abs().max())
    return (
        Check(
            "variance of the first factor",
            digits.rounded(summary["first_factor"], 3),
            f"at most {HALF}",
            summary["first_factor"] <= HALF,
        ),
        Check(
            "more than a common factor (p)",
            f"not tested: fewer than {LEAST} ratings"
            if np.isnan(summary["p_value"])
            else digits.rounded(summary["p_value"], 4),
            f"at most {number(alpha, 2)}",
            bool(summary["p_value"] <= alpha),
        ),
        Check("largest change of a rank", moved, "at most 2", moved <= 2),
    )
