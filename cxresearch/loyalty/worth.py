"""What a point more for every customer would be worth, or why that is not established.

References
----------
Cameron, Gelbach & Miller (2008), Rev. Econ. Stat. 90:414-427 (cluster bootstrap); Hall (1988), Ann. Statist. 16:927-953.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, require_share
from cxresearch.figures import QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, describe_columns, interval, listing, number, percent
from cxresearch.loyalty.checks import zeros_check
from cxresearch.loyalty.design import Sample, as_columns, sample
from cxresearch.loyalty.panel import LEAD_LIMIT, lead_p_value
from cxresearch.loyalty.resample import resample
from cxresearch.loyalty.sensitivity import benchmark_bounds, levels_model
from cxresearch.loyalty.trouble import leaks, timed
from cxresearch.survey import as_survey

FEWEST_CLUSTERS = 30

describe_columns(
    customers=("Customers", "how many the sum is for", 0),
    causal_share=("Causal share", "part of the association taken to be due to the score (0-1)", 2),
    net=("Net", "estimate less the cost", 2),
    cost=("Cost", "of the points, for all customers", 2),
    break_even=("Break-even share", "causal share at which the worth equals the cost", 2),
    worth=("Worth", "money that goes with the points, all customers, one window", 0),
    worth_low=("Worth low", "lower end of its interval", 0),
    worth_high=("Worth high", "upper end of its interval", 0),
    points=("Points", "by which every score is raised", 1),
    p_lead=("p of the lead", "of the next period's score beside the present one", 3),
)


@dataclass(frozen=True, repr=False, eq=False)
class Worth(Finding):
    """Money that goes with the points, for all customers in one revenue window, by scenario (`term`)."""

    loyalty: str = ""
    confidence: float = 0.95
    reasons: tuple[str, ...] = ()

    def sentence(self) -> str:
        g = self.summary
        count = number(g["points"], 0 if float(g["points"]).is_integer() else 1)
        what = f"{'one point' if count == '1' else f'{count} points'} more on {self.label(self.loyalty)}"
        base = f"{number(g['customers'], 0)} customers, {number(g['n'], 0)} rows"
        if self.reasons:
            return (
                f"What {what} {'is' if count == '1' else 'are'} worth in {self.label(self.outcome)} is not established: {listing(self.reasons)} "
                f"({base}; the table is shown, not to be quoted)."
            )
        text = (
            f"{what[0].upper()}{what[1:]} for every customer {'goes' if count == '1' else 'go'} with {self._money(g['worth'])} {self.label(self.outcome)} "
            f"({interval(g['worth_low'], g['worth_high'], self.confidence, 0)}; {number(g['money'], 2)} a customer; {base}). "
            "That is an association: it is worth that much only as far as the score is the cause."
        )
        return text + self._scenarios() + self._cost()

    @staticmethod
    def _money(value: float) -> str:
        return f"{number(abs(value), 0)} {'more' if value > 0 else 'less'}"

    def _scenarios(self) -> str:
        left = self.table[self.table["term"].str.startswith("hidden cause as strong as")]
        if not len(left):
            return ""
        worst = digits.largest(left.assign(lost=-left["causal_share"]), "lost")
        return f" With a {self._words(worst['term'])}, {percent(worst['causal_share'])} of it is left."

    def _words(self, term: str) -> str:
        start = "hidden cause as strong as "
        return start + self.label(term.removeprefix(start)) if term.startswith(start) else term

    def _cost(self) -> str:
        g = self.summary
        if g.get("cost") is None:
            return ""
        if not g["break_even"] <= 1:
            return f" Its cost of {number(g['cost'], 0)} exceeds it even if all of it were causal."
        return f" Its cost of {number(g['cost'], 0)} is covered if at least {percent(g['break_even'])} of it is causal."

    def plot(self, ax=None):
        """Draw worth and its interval by scenario, with zero (and the cost) marked."""
        ax = axes_or_new(ax, rows=len(self.table) + 1)
        t = self.table
        intervals(ax, [self._words(k) for k in t["term"]], t["estimate"], t["conf_low"], t["conf_high"])
        ax.axvline(0, color=QUIET, linewidth=1)
        if self.summary.get("cost") is not None:
            ax.axvline(self.summary["cost"], color=QUIET, linewidth=1, linestyle="--", label="cost")
            ax.legend(loc="lower right")
        ax.set_xlabel(wrap(f"more {self.label(self.outcome)}, all customers, one window (money)", 90))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        if self.reasons:
            ax.set_title("Not established as a headline")
        return ax


def worth_of_a_point(
    customers,
    *,
    revenue: str,
    loyalty: str,
    controls: Sequence[str] = (),
    customer: str | None = None,
    period: str | None = None,
    asked: str | None = None,
    revenue_from: str | None = None,
    points: float = 1,
    cost: float | None = None,
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int,
) -> Worth:
    """Raise each customer's own score by `points`, capped at the top of the scale, and sum the predicted difference.

    Parameters
    ----------
    customers : Survey or DataFrame
        One row per customer, or with `customer` and `period` one row per customer and period.
    customer, period
        Both given: a panel; the model has customer and period effects, rows are resampled by customer, and a placebo
        lead is tested. Customer alone: rows are resampled by customer. Period alone: it gets effects.
    asked, revenue_from
        Column that dates the score; first day of the revenue window (a column, or a date).
    cost
        Money for raising every customer by the points, over the same window.
    n_boot
        Resamples of customers (or clusters, within strata), each refitted.

    Returns
    -------
    Worth
        `tidy` by scenario: all of the association causal, half of it, and what a hidden cause as strong as each
        control would leave (linear model in levels, Cinelli & Hazlett 2020).

    Raises
    ------
    DataProblem, TooFewRespondents
        As `fit_loyalty_revenue`.

    Notes
    -----
    The headline is refused, with the reason, when the interval holds zero, the lead goes with revenue, a score is
    later than the start of the window, the score gives revenue away, or there are fewer than 30 clusters. The
    interval is the symmetric bootstrap-t (Hall 1988): each resample refits the model and its sandwich error.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> table = study.matched("responses", "customers", keep="latest")
    >>> print(cx.worth_of_a_point(
    ...     table, revenue="revenue", loyalty="recommend", controls=["affluence"], n_boot=200, seed=1,
    ... ))
    One point more on Would recommend us for every customer goes with 5,898 more revenue (95 % ...
    """
    survey = as_survey(customers)
    customers = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    require_share("confidence", confidence)
    _require_sensible(points, n_boot, cost)
    effects = tuple(e for e in (customer if period else None, period) if e)
    s = sample(
        customers,
        revenue=revenue,
        loyalty=loyalty,
        controls=controls,
        effects=effects,
        weight=weight,
        strata=strata,
        cluster=cluster or customer,
        fpc=fpc,
        min_rows=min_rows,
        min_base=min_base,
        what="worth_of_a_point",
    )
    got = resample(s, points=points, n_boot=n_boot, seed=seed)
    low, high = got.interval(confidence)
    people = customers[customer].iloc[s.rows].nunique() if customer else s.n
    panel = customers.iloc[s.rows].reset_index(drop=True)
    p_lead = None
    if customer and period:
        names = as_columns("controls", controls)
        p_lead = lead_p_value(
            panel, revenue=revenue, loyalty=loyalty, customer=customer, period=period, controls=names, cluster=cluster
        )
    late, leak = timed(customers, (asked, revenue_from), s.rows).late, leaks(s.score, s.y)
    reasons = _reasons(low, high, p_lead, late, leak, s)
    return _finding(
        s,
        got.estimate,
        low,
        high,
        len(got.draws) / n_boot,
        people,
        points,
        cost,
        p_lead,
        late,
        leak,
        reasons,
        confidence,
        labels,
    )


def _require_sensible(points, n_boot, cost) -> None:
    if not points > 0:
        raise DataProblem(f"points={points!r} must be above 0")
    if n_boot < 100:
        raise DataProblem(f"n_boot={n_boot!r} is too few for an interval; take at least 100")
    if cost is not None and not cost >= 0:
        raise DataProblem(f"cost={cost!r} must be zero or more")


def _reasons(low, high, p_lead, late, leak, s: Sample) -> tuple[str, ...]:
    count = s.sampling.n_clusters
    found = [
        ("the interval holds zero", not low * high > 0),
        (
            f"the next period's score already goes with revenue (p {p_lead or 0:.3f})",
            p_lead is not None and p_lead < LEAD_LIMIT,
        ),
        (
            f"the score was measured after the revenue window began for {percent(late or 0)} of customers",
            bool(late),
        ),
        (f"the score gives the revenue away ({leak})", leak is not None),
        (f"there are {count} clusters, fewer than {FEWEST_CLUSTERS}", count is not None and count < FEWEST_CLUSTERS),
    ]
    return tuple(words for words, holds in found if holds)


def _finding(
    s, per_row, low, high, fitted, people, points, cost, p_lead, late, leak, reasons, confidence, labels
) -> Worth:
    table = _scenarios(s, people * per_row, people * low, people * high, cost, confidence)
    worth = people * per_row
    summary = {
        "n": s.n,
        "n_effective": s.n_effective,
        "customers": int(people),
        "points": float(points),
        "method": "Poisson quasi-likelihood, refitted in each resample; bootstrap-t interval",
        "money": per_row,
        "money_low": low,
        "money_high": high,
        "worth": worth,
        "worth_low": people * low,
        "worth_high": people * high,
        "established": not reasons,
        "p_lead": p_lead,
        "cost": cost,
        "break_even": None if cost is None else cost / worth if worth > 0 else np.inf,
    }
    return Worth(
        function="worth_of_a_point",
        outcome=s.revenue,
        group=None,
        table=table,
        summary=summary,
        tested=_checks(s, low, high, p_lead, late, leak, fitted),
        labels=labels or {},
        loyalty=s.loyalty,
        confidence=confidence,
        reasons=reasons,
    )


def _scenarios(s: Sample, worth, low, high, cost, confidence) -> pd.DataFrame:
    shares = {"all of it causal": 1.0, "half of it causal": 0.5}
    bounds, slope = benchmark_bounds(s, times=(1.0,), confidence=confidence), levels_model(s)[0]
    for row in bounds.itertuples():
        if np.isfinite(row.estimate):
            shares[f"hidden cause as strong as {row.term}"] = float(np.clip(row.estimate / slope, 0, 1))
    rows = [
        {"term": term, "causal_share": k, "estimate": k * worth, "conf_low": k * low, "conf_high": k * high}
        for term, k in shares.items()
    ]
    table = pd.DataFrame(rows)
    return table if cost is None else table.assign(net=table["estimate"] - cost)


def _checks(s: Sample, low, high, p_lead, late, leak, fitted) -> tuple[Check, ...]:
    count = s.sampling.n_clusters
    said = "no panel" if p_lead is None else p_lead
    return (
        zeros_check(s, depth=5),
        Check("interval excludes zero", f"{low:.2f} to {high:.2f} a customer", "zero outside", bool(low * high > 0)),
        Check(
            "score measured before the revenue window",
            "not stated" if late is None else f"{percent(late)} later",
            "every score",
            late == 0,
        ),
        Check(
            "the lead does not go with revenue (p)",
            said,
            f"at least {LEAD_LIMIT}",
            p_lead is None or p_lead >= LEAD_LIMIT,
        ),
        Check("score does not give the revenue away", leak or "no sign of it", "no sign of it", leak is None),
        Check(
            "clusters",
            "none" if count is None else count,
            f"none, or at least {FEWEST_CLUSTERS}",
            count is None or count >= FEWEST_CLUSTERS,
        ),
        Check("resamples that could be fitted", float(fitted), "at least 0.95 of them", fitted >= 0.95),
    )
