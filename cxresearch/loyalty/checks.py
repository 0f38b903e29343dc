"""What a reader must know before a headline on loyalty and revenue is believed."""

import re
import warnings

import numpy as np
import pandas as pd

from cxresearch.findings import Check, describe_columns, percent
from cxresearch.loyalty.contrast import Estimates
from cxresearch.loyalty.covariance import FEW_CLUSTERS
from cxresearch.loyalty.design import Sample
from cxresearch.loyalty.ladder import Plan, park
from cxresearch.loyalty.trouble import LEAK_CORRELATION

POWER = {"poisson": 1.0, "gamma": 2.0}
MOST_ZEROS, MOST_DROPPED = 0.5, 0.2
# What a satisfied customer goes on to do; a name that dates it before the answer clears it.
LATER = re.compile(
    r"repurchas|renew|referr|retain|retention|churn|visit|order|purchas|frequen|upsell|spend|spent|basket", re.I
)
EARLIER = re.compile(r"before|prior|past|previous|earlier|last|baseline", re.I)

describe_columns(
    robustness_value_limit=("Robustness value of the limit", "the same, to bring the interval to zero (0-1)", 4),
    partial_r2=("Partial R²", "of the score with revenue, linear model in levels (0-1)", 4),
)


def all_checks(
    s: Sample, plan: Plan, got: Estimates, *, late, timed: bool, leak, sides, shape_tests, received: int, trap=None
) -> tuple[Check, ...]:
    """Return the checks of a fit."""
    return (
        _left_out(s, received),
        zeros_check(s, depth=5),
        _timing(late, timed),
        _leak(leak),
        _clusters(s),
        _variance(s, plan, got),
        *_mediators(s),
        *_controls_move(sides),
        *_spreads(plan),
        *_trap(trap, got),
        *_shapes(shape_tests, plan),
    )


def _left_out(s: Sample, received: int) -> Check:
    why = ", ".join(f"{reason}: {n}" for reason, n in s.dropped.items())
    share = 1 - s.n / received
    value = f"{received - s.n} of {received}" + (f" ({why})" if why else "")
    return Check("customers left out", value, f"at most {100 * MOST_DROPPED:.0f} %", share <= MOST_DROPPED)


def zeros_check(s: Sample, *, depth: int) -> Check:
    """Return the check of how many have no revenue; warn, `depth` calls up, where the window looks too short."""
    share = float(s.weights @ (s.y == 0) / s.weights.sum())
    if share > MOST_ZEROS:
        warnings.warn(
            f"{percent(share)} of customers have no {s.revenue}: the window may be shorter than the purchase cycle",
            stacklevel=depth,
        )
    limit = f"at most {MOST_ZEROS:g}; beyond it the window may be shorter than the purchase cycle"
    return Check("share of customers without revenue", share, limit, share <= MOST_ZEROS)


def _timing(late: float | None, timed: bool) -> Check:
    if late is None:
        value = "start of the revenue window not stated" if timed else "not stated"
    else:
        value = f"{percent(late)} of scores are later than its start"
    return Check("score measured before the revenue window", value, "every score", late == 0)


def _leak(leak: str | None) -> Check:
    limit = f"rank correlation at most {LEAK_CORRELATION:g}, and no score tells who has none"
    return Check("score does not give the revenue away", leak or "no sign of it", limit, leak is None)


def _clusters(s: Sample) -> Check:
    count = s.sampling.n_clusters
    if count is None:
        return Check("clusters", "none: customers taken as independent", f"none, or at least {FEW_CLUSTERS}", True)
    return Check("clusters", count, f"at least {FEW_CLUSTERS}; fewer make errors uncertain", count >= FEW_CLUSTERS)


def _variance(s: Sample, plan: Plan, got: Estimates) -> Check:
    used = s.y > 0 if plan.model == "log_ols" else np.ones(s.n, dtype=bool)
    mu = got.fit.mean(got.fit.coef, s.X(plan.shape, controls=plan.controls), s.scale.group(s.score))
    slope = park(s.y[used], mu[used], s.weights[used])
    wanted = POWER.get(plan.model, 2.0 if plan.model in ("log_ols", "two_part") else plan.power)
    limit = f"within 0.5 of {wanted:.2g}; else errors stay valid and another model is more precise"
    ok = bool(np.isnan(slope) or abs(slope - wanted) <= 0.5)
    return Check("variance grows as this power of the mean (Park)", slope, limit, ok)


def _mediators(s: Sample) -> list[Check]:
    later = [c for c in s.controls if LATER.search(str(c)) and not EARLIER.search(str(c))]
    if not s.controls:
        return []
    value = ", ".join(later) or "none by name"
    return [
        Check(
            "controls that may lie after the score",
            value,
            "none: holding them constant hides part of the link",
            not later,
        )
    ]


def _controls_move(sides: pd.DataFrame) -> list[Check]:
    if len(sides) < 2:
        return []
    bare, held = sides.iloc[0], sides.iloc[1]
    inside = bool(held["percent_low"] <= bare["percent"] <= held["percent_high"])
    value = f"{bare['percent']:.1f} % without, {held['percent']:.1f} % with"
    return [Check("percent per point without and with controls", value, "without lies in the interval with", inside)]


def _spreads(plan: Plan) -> list[Check]:
    if plan.spread_p is None:
        return []
    limit = "at least 0.05; below it smearing goes by group and the coefficient alone misleads"
    return [Check("log revenue spreads alike in the score groups (p)", plan.spread_p, limit, plan.spread_p >= 0.05)]


def _trap(trap, got: Estimates) -> list[Check]:
    if trap is None:
        return []
    honest = 100 * np.expm1(got.interval("log_ratio", 0.95)[0])
    value = f"{trap[0]:.1f} % against {honest:.1f} %"
    return [
        Check("coefficient of log revenue agrees with the means", value, "same sign, within the interval", not trap[1])
    ]


def _shapes(tests: pd.DataFrame, plan: Plan) -> list[Check]:
    return [
        Check(
            f"{row.test} (p)",
            row.p_value,
            "at least 0.05 for a straight line",
            plan.shape != "linear" or bool(row.p_value >= 0.05),
        )
        for row in tests.itertuples()
    ]
