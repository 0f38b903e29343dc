"""What a point more for every customer would be worth, or why that is not established."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, require_share
from cxresearch.figures import QUIET, forest
from cxresearch.findings import Check, ends, listing, number, p_words, percent
from cxresearch.loyalty.cases import as_columns, cases_of
from cxresearch.loyalty.choices import specifications
from cxresearch.loyalty.hidden import benchmark_bounds, levels_model
from cxresearch.loyalty.models import POISSON_LINE, fit_revenue, reading
from cxresearch.loyalty.panel import LEAD_LIMIT, lead_p_value
from cxresearch.loyalty.refusals import leak_check, leaks
from cxresearch.loyalty.resample import resample
from cxresearch.loyalty.revenue import RevenueFinding, bend_words, line_checks, reasons_against, tests_of_shape
from cxresearch.loyalty.sentences import money, say, signed, size_interval, told
from cxresearch.loyalty.timing import timed
from cxresearch.survey import as_survey

FEWEST_CLUSTERS = 30
HIDDEN = "hidden cause as strong as "  # of a scenario, before the control that it is compared with


@dataclass(frozen=True, repr=False, eq=False)
class Worth(RevenueFinding):
    """Money that goes with the points in one window, by scenario; `model` is what the replicates refit."""

    @property
    def whose(self) -> str:
        """Whose money it is, in words."""
        n = number(self.summary["customers"], 0)
        if self.cases.survey.population is None:
            return say("those answered", n=n)
        return say("population part", n=n, part=self.domain) if self.domain else say("population", n=n)

    @property
    def count(self) -> str:
        """How many points more, in words."""
        points = self.summary["points"]
        return "one point" if points == 1 else f"{number(points, 0 if float(points).is_integer() else 1)} points"

    def sentence(self) -> str:
        g, revenue = self.summary, self.label(self.outcome)
        what = f"{self.count} more on {self.label(self.loyalty)}"
        if self.reasons:
            first = say("worth open", what=what, revenue=revenue, reasons=listing(self.reasons))
            return told(first, say("worth shown", whose=self.whose, rows=number(g["n"], 0)))
        shown = dict(sign=g["worth"], decimals=0, unit=self.currency or "")
        between = size_interval(g["worth_low"], g["worth_high"], self.confidence, **shown)
        first = say(
            signed("worth average" if self.notes else "worth", g["worth"]), what=what[0].upper() + what[1:],
            money=money(g["worth"], self.currency, 0), revenue=revenue, whose=self.whose, interval=between,
        )  # fmt: skip
        clauses = [say("worth each", money=money(g["money"], self.currency)), *self.notes]
        hidden = self.table[self.table["term"].str.startswith(HIDDEN)]
        if len(hidden):
            worst = digits.largest(hidden.assign(lost=-hidden["causal_share"]), "lost")
            control = self.label(worst["term"].removeprefix(HIDDEN))
            clauses.append(say("worth hidden", control=control, share=percent(worst["causal_share"])))
        if g["cost"] is not None:
            cost, covered = money(g["cost"], self.currency, 0), 0 < g["worth"] >= g["cost"]
            key = "worth cost" if covered else "worth cost over" if g["worth"] > 0 else "worth cost never"
            clauses.append(say(key, cost=cost, **({"share": percent(g["break_even"])} if covered else {})))
        return told(first, *clauses)

    @property
    def highlights(self) -> dict:
        """Money per point and customer in words, or that it is not established."""
        g, known = self.summary, {"count": self.count, "level": percent(self.confidence)}
        if self.reasons:
            return known | {"open": listing(self.reasons)}
        known |= {"value": f"{number(g['money'], 2)} {self.currency or ''}".rstrip(), "average": bool(self.notes)}
        return known | {"ends": " to ".join(number(g[end], 2) for end in ("money_low", "money_high"))}

    def plot(self, ax=None):
        """Draw worth and its interval by scenario, with zero (and the cost) marked."""
        g, t = self.summary, self.table
        names = [HIDDEN + self.label(k.removeprefix(HIDDEN)) if k.startswith(HIDDEN) else k for k in t["term"]]
        unit = f"{self.currency or 'money'} of {self.label(self.outcome)} in one window, {self.whose.rstrip(',')}"
        title = f"{money(g['worth'], self.currency, 0)} {'more' if g['worth'] > 0 else 'less'}"
        title = "Not established as a headline" if self.reasons else title
        ax = forest(t, "estimate", names=names, low="conf_low", high="conf_high", unit=unit, title=title, line=0, ax=ax)
        if g["cost"] is not None:
            ax.axvline(g["cost"], color=QUIET, linewidth=1, linestyle=":", label="cost")
            ax.legend(loc="lower right")
        ax.xaxis.set_major_formatter("{x:,.0f}")
        return ax


def worth_of_a_point(
    customers, *, revenue: str, loyalty: str, controls: Sequence[str] = (), customer: str | None = None,
    period: str | None = None, asked: str | None = None, revenue_from=None, points: float = 1,
    cost: float | None = None, n_boot: int = 1000, confidence: float = 0.95, min_rows: int = 100, seed: int,
) -> Worth:  # fmt: skip
    """Raise each customer's own score by `points`, capped at the top of the scale, and sum the predicted difference.

    The sum is for those who answered (their number times the mean difference, by weight); where the survey declares
    `population`, it is for all customers of the population (of a part of the survey: for that part), by weight. The
    interval is the symmetric bootstrap-t (Hall 1988): each replicate refits the model and its sandwich error. The
    headline is refused, with the reason, when the interval holds zero, the lead goes with revenue, a score is later
    than the start of the window, the score gives revenue away, there are fewer than 30 clusters, or other choices of
    model, controls and capping (`specification_curve`) read on both sides of zero. `tidy` is by scenario: all of the
    association causal, half of it, and what a hidden cause as strong as each control would leave (by another model,
    the linear one in levels; Cinelli & Hazlett 2020). Refused, too, is what `fit_loyalty_revenue` refuses.

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
        Money for raising every one of these customers by the points, over the same window.
    n_boot
        Replicates of the survey (customers, or clusters, within strata), each refitted.

    Examples
    --------
    >>> asked = dict(revenue="revenue", loyalty="recommend", controls=["affluence"])
    >>> print(cx.worth_of_a_point(matched, **asked, n_boot=200, seed=1))
    One point more on Would recommend us goes, on the average, with 8,480 EUR more revenue for ...
    """
    survey = as_survey(customers)
    require_share("confidence", confidence)
    for wrong, why in (
        (not points > 0, f"points={points!r} must be above 0"),
        (n_boot < 100, f"n_boot={n_boot!r} is too few for an interval; take at least 100"),
        (cost is not None and not cost >= 0, f"cost={cost!r} must be zero or more"),
    ):
        if wrong:
            raise DataProblem(why)
    effects = tuple(e for e in (customer if period else None, period) if e)
    question = dict(revenue=revenue, loyalty=loyalty, controls=as_columns("controls", controls))
    s = cases_of(survey, **question, effects=effects, cluster=customer, min_rows=min_rows, what="worth_of_a_point")
    if customer is None and survey.respondent is None:  # else a person's rows are one customer's
        survey.require_each_once(np.isin(np.arange(len(survey.table)), s.rows), revenue)
    got, p_lead = resample(s, points=points, n_boot=n_boot, seed=seed), None
    if customer and period:
        panel = survey.with_table(survey.table.iloc[s.rows].reset_index(drop=True))
        p_lead = lead_p_value(panel, **question, customer=customer, period=period)
    people = survey.table[customer].iloc[s.rows].nunique() if customer else int(s.drawn.base[0])
    if survey.population is not None:  # of a part of the survey, that part of it by weight
        mass = pd.Series(1.0, index=survey.rows.index) if survey.weight is None else survey.rows[survey.weight]
        people = survey.population * (1.0 if survey.domain is None else mass[survey.domain].sum() / mass.sum())
    when, leak = timed(survey.table, asked, revenue_from, s.rows), leaks(s.score, s.y)
    low, high = got.interval(confidence)
    others = () if s.effects else [value for _, value in specifications(s, reading) if value is not None]
    split, few = len(np.unique(np.sign(others))) > 1, s.clusters_check(FEWEST_CLUSTERS, "stops")
    lead_ok, bends = p_lead is None or p_lead >= LEAD_LIMIT, tests_of_shape(s, POISSON_LINE)
    reasons = reasons_against(low, high, when.late, leak) + tuple(reason for stops, reason in (
        (not lead_ok, f"the next period's score already goes with revenue ({p_words(p_lead or 0)})"),
        (not few.ok, f"there are {s.n_clusters} clusters, fewer than {FEWEST_CLUSTERS}"),
        (split and low * high > 0, "other choices of model, controls and capping read on both sides of zero"),
    ) if stops)  # fmt: skip
    worth = ends("worth", *(float(people * v) for v in (got.estimate, low, high)))
    summary = {
        "customers": int(people), "points": float(points),
        "method": "Poisson quasi-likelihood, refitted in each replicate; bootstrap-t interval",
        **ends("money", got.estimate, low, high), **worth, "p_lead": p_lead, "cost": cost,
        "break_even": None if cost is None else cost / worth["worth"] if worth["worth"] > 0 else np.inf,
    }  # fmt: skip
    lead, fitted = "no panel" if p_lead is None else p_lead, len(got.draws) / n_boot
    tested = (
        s.zeros_check(), when.check(),
        Check("the lead does not go with revenue (p)", lead, f"at least {LEAD_LIMIT}", lead_ok, "stops"),
        leak_check(leak), few,
        Check("replicates that could be fitted", float(fitted), "at least 0.95 of them", fitted >= 0.95),
        Check("other choices share one sign", "both signs" if split else "one sign", "one sign", not split, "stops"),
        *line_checks(bends[bends["test"] == "curvature"]),
    )  # fmt: skip
    return Worth.of(
        "worth_of_a_point", s, _scenarios(s, worth, cost, confidence), summary, tested, reasons=reasons,
        confidence=confidence, notes=bend_words(bends, POISSON_LINE), cases=s, fit=fit_revenue(s, POISSON_LINE),
    )  # fmt: skip


def _scenarios(s, worth: dict, cost, confidence: float) -> pd.DataFrame:
    """Return the worth if all or half of the association is causal, and what hidden causes would leave of it."""
    shares = {"all of it causal": 1.0, "half of it causal": 0.5}
    bounds = benchmark_bounds(s, times=(1.0,), confidence=confidence)
    for row in bounds[np.isfinite(bounds["estimate"].astype(float))].itertuples():
        shares[HIDDEN + row.term] = float(np.clip(row.estimate / levels_model(s)[0], 0, 1))
    table = pd.DataFrame({"term": list(shares), "causal_share": list(shares.values())})
    for column, value in zip(("estimate", "conf_low", "conf_high"), worth.values()):
        table[column] = table["causal_share"] * value
    return table if cost is None else table.assign(net=table["estimate"] - cost)
