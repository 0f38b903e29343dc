"""The same question put to every model, in one table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_choice, require_share
from cxresearch.figures import QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, interval, listing, number, percent
from cxresearch.loyalty.contrast import estimate, explained, log_trap
from cxresearch.loyalty.design import Sample, sample
from cxresearch.loyalty.fit import headline, reasons_against
from cxresearch.loyalty.groups import revenue_by_group
from cxresearch.loyalty.ladder import MODELS, NAMES, park, plan_for
from cxresearch.loyalty.shape import SHAPES
from cxresearch.loyalty.trouble import leaks, timed
from cxresearch.survey import as_survey

KEYS = (
    "percent",
    "percent_low",
    "percent_high",
    "p_value",
    "money",
    "money_low",
    "money_high",
    "ratio",
    "ratio_low",
    "ratio_high",
)


@dataclass(frozen=True, repr=False, eq=False)
class RevenueModels(Finding):
    """Percent and money per point by model (`term`); `tables` adds groups, left_out (models that cannot be fitted)."""

    loyalty: str = ""
    confidence: float = 0.95
    reasons: tuple[str, ...] = ()
    trap: tuple[float, bool] | None = None

    def sentence(self) -> str:
        t, g = self.table, self.summary
        clear = t[(t["percent_low"] > 0) | (t["percent_high"] < 0)]
        what = f"what a point of {self.label(self.loyalty)} goes with in {self.label(self.outcome)}"
        low, high = t["percent"].min(), t["percent"].max()
        text = (
            f"Asked {what}, {len(t)} models read from {number(low)} to {number(high)} %, and {len(clear)} of their intervals exclude "
            f"zero ({number(g['n'], 0)} customers; an association, not a cause)."
        )
        if self.reasons:
            text += f" A headline is not established: {listing(self.reasons)}."
        return text + self._suits() + self._trap()

    def _suits(self) -> str:
        return f" Revenue's variance grows as its mean to the power {number(self.summary['park'], 1)}, to which {self.summary['suits']} comes nearest."

    def _trap(self) -> str:
        if self.trap is None or not self.trap[1]:
            return ""
        row = self.table.set_index("term").loc["log_ols"]
        between = interval(row["percent_low"], row["percent_high"], self.confidence)
        return (
            f" The log-OLS trap is here: its coefficient reads {number(self.trap[0])} %, the means {number(row['percent'])} % "
            f"({between}), because revenue spreads differently in the score groups."
        )

    def plot(self, ax=None):
        """Draw percent per point and its interval by model, with zero marked."""
        ax = axes_or_new(ax, rows=len(self.table))
        t = self.table
        intervals(ax, [NAMES[m] for m in t["term"]], t["percent"], t["percent_low"], t["percent_high"])
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.set_xlabel(wrap(f"% more {self.label(self.outcome)} per point of {self.label(self.loyalty)}", 90))
        return ax


def compare_revenue_models(
    customers,
    *,
    revenue: str,
    loyalty: str,
    controls: Sequence[str] = (),
    shape: str = "linear",
    effects: Sequence[str] = (),
    time: str | Sequence[str] | None = None,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int | None = None,
) -> RevenueModels:
    """Put the question of `fit_loyalty_revenue` to every model that can answer it.

    Parameters are those of `fit_loyalty_revenue`. With `effects` two models have a form; without customers of zero
    revenue there are no two parts. What was left out is in ``tables()["left_out"]``.

    Notes
    -----
    The Park slope (Manning & Mullahy 2001) names the model whose variance suits. In log-OLS, revenue whose log spreads
    differently in the score groups makes exp(b) - 1 differ from the ratio of means, even in sign (Manning 1998).

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> table = study.matched("responses", "customers", keep="latest")
    >>> finding = cx.compare_revenue_models(
    ...     table, revenue="revenue", loyalty="recommend", controls=["affluence"], seed=1,
    ... )
    >>> finding.tidy()["term"].tolist()
    ['poisson', 'gamma', 'log_ols', 'two_part', 'tweedie']
    """
    survey = as_survey(customers)
    customers = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    require_choice("shape", shape, SHAPES)
    require_share("confidence", confidence)
    s = sample(
        customers,
        revenue=revenue,
        loyalty=loyalty,
        controls=controls,
        effects=effects,
        weight=weight,
        strata=strata,
        cluster=cluster,
        fpc=fpc,
        min_rows=min_rows,
        min_base=min_base,
        what="compare_revenue_models",
    )
    rows, left_out, trap, slope = _climb(s, shape, confidence)
    late, leak = timed(customers, time, s.rows).late, leaks(s.score, s.y)
    reasons = reasons_against(rows[0], late, leak)
    summary = {
        "n": s.n,
        "n_effective": s.n_effective,
        "method": f"{len(rows)} models; score {shape}",
        "park": slope,
        "suits": suits(slope),
        "established": not reasons,
    }
    further = {
        "groups": revenue_by_group(s, confidence=confidence, min_base=min_base, seed=seed),
        "left_out": pd.DataFrame(left_out, columns=["term", "why"]),
    }
    return RevenueModels(
        function="compare_revenue_models",
        outcome=revenue,
        group=None,
        table=pd.DataFrame(rows),
        summary=summary,
        tested=_checks(rows, trap, late, leak),
        labels=labels or {},
        further=further,
        loyalty=loyalty,
        confidence=confidence,
        reasons=reasons,
        trap=trap,
    )


def _climb(s: Sample, shape: str, confidence: float):
    rows, left_out, trap, slope = [], [], None, np.nan
    for model in MODELS:
        try:
            plan = plan_for(s, model, shape)
            got = estimate(s, plan)
        except DataProblem as problem:
            if model == "poisson":
                raise
            left_out.append({"term": model, "why": str(problem)})
            continue
        head = headline(got, confidence)
        n = int(np.sum(s.y > 0)) if model == "log_ols" else s.n
        rows.append({"term": model, **{k: head[k] for k in KEYS}, "explained": explained(s, plan, got.fit), "n": n})
        if model == "poisson":
            slope = park(s.y, got.fit.mean(got.fit.coef, s.X(shape), s.scale.group(s.score)), s.weights)
        trap = log_trap(s, plan, got, confidence) if model == "log_ols" else trap
    return rows, left_out, trap, slope


def suits(slope: float) -> str:
    """Return the model whose variance grows with the mean most like `slope`."""
    if not np.isfinite(slope):
        return "any (fitted means hardly differ)"
    return "a linear model" if slope < 0.5 else "poisson" if slope < 1.25 else "tweedie" if slope < 1.75 else "gamma"


def _checks(rows, trap, late, leak) -> tuple[Check, ...]:
    signs = {np.sign(row["percent"]) for row in rows}
    low, high = max(r["percent_low"] for r in rows), min(r["percent_high"] for r in rows)
    value = "differs" if trap and trap[1] else "agrees"
    return (
        Check("models agree in sign", len(signs), "one sign", len(signs) == 1),
        Check(
            "intervals of all models share a value", f"{low:.1f} to {high:.1f} %", "low end under high end", low <= high
        ),
        Check("coefficient of log revenue agrees with the means", value, "agrees", value == "agrees"),
        Check(
            "score measured before the revenue window",
            "not stated" if late is None else f"{percent(late)} later",
            "every score",
            late == 0,
        ),
        Check("score does not give the revenue away", leak or "no sign of it", "no sign of it", leak is None),
    )
