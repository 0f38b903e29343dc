"""The specification curve: the same question under every reasonable choice, so that none can be said to be picked.

References
----------
Simonsohn, Simmons & Nelson (2020), Nature Human Behaviour 4:1208-1214.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, wrap
from cxresearch.findings import Check, Finding, describe_columns, interval, number, percent
from cxresearch.loyalty.contrast import estimate
from cxresearch.loyalty.design import as_columns, sample
from cxresearch.loyalty.fit import headline
from cxresearch.loyalty.ladder import plan_for
from cxresearch.survey import as_survey

MODELS = ("poisson", "gamma", "log_ols", "two_part")
MOST_CONTROLS = 4  # of which every subset is taken; with more, all, none, and all but one

describe_columns(
    model=("Model", "model of mean revenue"),
    share_below=("Share below zero", "of intervals that lie below zero (0-1)", 3),
    capped=("Capped", "share of the largest revenues set to the quantile beneath them (0-1)", 2),
)


@dataclass(frozen=True, repr=False, eq=False)
class SpecificationCurve(Finding):
    """Percent per point under every choice of model, controls and capping, in order of size."""

    loyalty: str = ""
    confidence: float = 0.95

    def sentence(self) -> str:
        t, g = self.table, self.summary
        row = t.iloc[int(g["rank"]) - 1]
        return (
            f"Under {len(t)} choices of model, controls and capping, a point of {self.label(self.loyalty)} reads from {number(t['percent'].min())} to "
            f"{number(t['percent'].max())} % more {self.label(self.outcome)} (median {number(t['percent'].median())} %); {percent(g['share'])} of the "
            f"intervals lie above zero and {percent(g['share_below'])} below. The default, with all controls, reads {number(row['percent'])} % "
            f"({interval(row['percent_low'], row['percent_high'], self.confidence)}; {number(g['n'], 0)} customers), number {number(g['rank'], 0)} "
            "from the lowest; associations, not causes."
        )

    def plot(self, ax=None):
        """Draw percent per point with its interval in order of size, the default marked."""
        ax = axes_or_new(ax)
        t, at = self.table, np.arange(1, len(self.table) + 1)
        ax.vlines(at, t["percent_low"], t["percent_high"], color=QUIET, linewidth=1)
        counts = t["held"].map(lambda held: 0 if held == "nothing" else 1 + held.count(", "))
        for colour, words, which in (
            (QUIET, "no control", counts == 0),
            (PALETTE[2], "some controls", (counts > 0) & (counts < counts.max())),
            (PALETTE[0], "all controls", (counts > 0) & (counts == counts.max())),
        ):
            if which.any() and counts.max() > 0:
                ax.plot(at[which], t["percent"][which], "o", markersize=4, color=colour, label=words)
        if counts.max() == 0:
            ax.plot(at, t["percent"], "o", markersize=4, color=PALETTE[0])
        i = int(self.summary["rank"])
        ax.plot([i], [t["percent"].iloc[i - 1]], "o", color=PALETTE[1], label="the default: Poisson, all controls")
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set(xlabel="choices, lowest estimate first", ylabel="% more revenue per point")
        ax.set_ylabel(f"% more {wrap(self.label(self.outcome), 30)} per point")
        ax.legend(loc="lower right")
        return ax


def specification_curve(
    customers,
    *,
    revenue: str,
    loyalty: str,
    controls: Sequence[str] = (),
    confidence: float = 0.95,
    min_rows: int = 100,
) -> SpecificationCurve:
    """Put the question under every choice: four models, subsets of the controls, revenue as it is or its top 1 % capped.

    Parameters are those of `fit_loyalty_revenue`. All choices use the same customers: the complete cases of all
    controls. Up to four controls enter in every subset; more in all, none, and all but one.

    Notes
    -----
    The choices are not independent, so the share of intervals above zero is a description and no test
    (Simonsohn, Simmons & Nelson 2020).

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> table = study.matched("responses", "customers", keep="latest")
    >>> print(cx.specification_curve(
    ...     table, revenue="revenue", loyalty="recommend", controls=["affluence"]
    ... ))
    Under 16 choices of model, controls and capping, a point of Would recommend us reads from ...
    """
    survey = as_survey(customers)
    customers = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    require_share("confidence", confidence)
    controls = as_columns("controls", controls)
    options = {
        "weight": weight,
        "strata": strata,
        "cluster": cluster,
        "fpc": fpc,
        "min_rows": min_rows,
        "min_base": min_base,
    }
    whole = sample(
        customers, revenue=revenue, loyalty=loyalty, controls=controls, what="specification_curve", **options
    )
    used = customers.iloc[whole.rows]
    cap = float(np.quantile(whole.y, 0.99))
    tables = {0.0: used, 0.01: used.assign(**{revenue: np.minimum(whole.y, cap)})}
    rows = []
    for (capped, table), held in product(tables.items(), subsets(controls)):
        s = sample(table, revenue=revenue, loyalty=loyalty, controls=held, what="specification_curve", **options)
        rows += [_specification(s, model, held, capped, confidence) for model in MODELS]
    fitted = [row for row in rows if row is not None]
    table = pd.DataFrame(fitted).sort_values(["percent", "model", "held", "capped"], ignore_index=True)
    default = (
        (table["model"] == "poisson") & (table["held"] == (", ".join(controls) or "nothing")) & (table["capped"] == 0)
    )
    above, below = float((table["percent_low"] > 0).mean()), float((table["percent_high"] < 0).mean())
    summary = {
        "n": whole.n,
        "n_effective": whole.n_effective,
        "method": f"{len(table)} specifications",
        "share": above,
        "share_below": below,
        "rank": int(np.flatnonzero(default)[0]) + 1,
    }
    return SpecificationCurve(
        function="specification_curve",
        outcome=revenue,
        group=None,
        table=table,
        summary=summary,
        tested=tuple(_checks(table, max(above, below), len(rows) - len(fitted))),
        labels=labels or {},
        loyalty=loyalty,
        confidence=confidence,
    )


def _specification(s, model: str, held, capped: float, confidence: float) -> dict | None:
    """Return a row of the curve, or None where the model cannot be fitted."""
    try:
        head = headline(estimate(s, plan_for(s, model, "linear")), confidence)
    except DataProblem:
        return None
    numbers = {k: head[k] for k in ("percent", "percent_low", "percent_high", "p_value")}
    return {"model": model, "held": ", ".join(held) or "nothing", "capped": capped, **numbers, "n": s.n}


def _checks(table: pd.DataFrame, one_side: float, failed: int):
    sign = float(max((table["percent"] > 0).mean(), (table["percent"] < 0).mean()))
    yield Check("estimates share one sign", sign, "1", sign == 1)
    yield Check("intervals that exclude zero on one side", one_side, "at least 0.95", one_side >= 0.95)
    yield Check("specifications that could not be fitted", failed, "0", failed == 0)


def subsets(controls: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the sets of controls to hold constant, fewest first."""
    if len(controls) <= MOST_CONTROLS:
        return [c for k in range(len(controls) + 1) for c in combinations(controls, k)]
    return [(), *combinations(controls, len(controls) - 1), tuple(controls)]
