"""Customers seen in several periods: does the score come before the revenue, or after it?

References
----------
Mundlak (1978), Econometrica 46:69-85; Hausman, Hall & Griliches (1984), Econometrica 52:909-938 (Poisson with
effects); Granger (1969), Econometrica 37:424-438 (leads); Nickell (1981), Econometrica 49:1417-1426.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.figures import QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, interval, number
from cxresearch.loyalty.contrast import Estimates, estimate
from cxresearch.loyalty.design import as_columns, sample
from cxresearch.loyalty.four_ways import four_ways, keeps_two_rows
from cxresearch.loyalty.ladder import Plan
from cxresearch.loyalty.trouble import _same
from cxresearch.survey import as_survey

LABELS = {"revenue_after": "revenue after the answer", "revenue_before": "revenue before the answer"}  # of `link_waves`
LEAD_LIMIT = MUNDLAK_LIMIT = 0.05
ROW = ("term", "estimate", "conf_low", "conf_high", "p_value", "percent", "percent_low", "percent_high", "n")


@dataclass(frozen=True, repr=False, eq=False)
class LeadLag(Finding):
    """Percent more revenue per point of the score a period before (lag), in (now) and after (lead) the revenue.

    `tables` adds models: the coefficient of the score pooled, with Mundlak's means, with effects, in differences.
    Where there is no panel the table is empty and the sentence says why.
    """

    loyalty: str = ""
    confidence: float = 0.95
    lacks: str = ""
    needs_effects: bool = False  # customers differ, and the model has no intercepts for them

    def sentence(self) -> str:
        if self.lacks:
            return (
                f"There is no lead to look at: {self.lacks}. Whether {self.label(self.loyalty)} or {self.label(self.outcome)} "
                "came first rests on their dates alone."
            )
        return self._verdict() + (
            " Customers' mean scores go with revenue beside the score itself (Mundlak), so customers differ, and there "
            "are too few periods of each to hold that constant."
            if self.needs_effects
            else ""
        )

    def _verdict(self) -> str:
        g = self.summary
        what = f"{self.label(self.outcome)} and {self.label(self.loyalty)}"
        base = f"{number(g['n'], 0)} rows of {number(g['customers'], 0)} customers; {g['method']}"
        lead = self._read("lead")
        if g["p_lead"] < LEAD_LIMIT:
            return (
                f"What a point goes with is not established: the next period's score already goes with this period's revenue ({lead}), "
                f"so {what} move together before the score can matter, as when revenue comes first ({base})."
            )
        now = self._read("now")
        verdict = "is not established: the interval holds zero" if self._holds_zero("now") else "stands"
        return (
            f"The next period's score does not go with this period's revenue ({lead}), so nothing says that revenue comes first; "
            f"the link within a period {verdict} ({now}; {base}; an association, not a cause)."
        )

    def _row(self, term: str):
        return self.table.set_index("term").loc[term]

    def _holds_zero(self, term: str) -> bool:
        row = self._row(term)
        return bool(row["percent_low"] <= 0 <= row["percent_high"])

    def _read(self, term: str) -> str:
        row = self._row(term)
        return f"{number(row['percent'])} % per point, {interval(row['percent_low'], row['percent_high'], self.confidence)}"

    def plot(self, ax=None):
        """Draw percent per point by lag, now and lead, with zero marked."""
        ax = axes_or_new(ax, rows=len(self.table) + 2)
        if self.lacks:
            ax.set_axis_off()
            ax.set_title("No lead to look at")
            return ax
        words = {"lag": "score a period before", "now": "score in the period", "lead": "score a period after (placebo)"}
        t = self.table
        intervals(ax, [words[k] for k in t["term"]], t["percent"], t["percent_low"], t["percent_high"])
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.set_xlabel(wrap(f"% more {self.label(self.outcome)} per point of {self.label(self.loyalty)}", 90))
        return ax


def lead_lag(
    panel,
    *,
    revenue: str,
    loyalty: str,
    customer: str,
    period: str,
    controls: Sequence[str] = (),
    confidence: float = 0.95,
    min_rows: int = 100,
    lacks: str | None = None,
) -> LeadLag:
    """Regress revenue on the score of the period before, of the period, and of the period after.

    A score that is asked later cannot be a reason of revenue: where it goes with it all the same, revenue, or
    something behind both, comes first. Poisson with customer and period effects where customers keep two usable
    rows, else with period effects; errors are clustered by customer unless `cluster` says otherwise.

    Parameters
    ----------
    panel : Survey or DataFrame
        One row per customer and period; periods are those that occur, in order.
    period
        Column that sorts: dates, numbers or text such as 2024Q1.
    lacks
        Of `link_waves`: why there is no panel. Given, also empty, a finding that says so is returned where there is
        none, or where too few rows remain.

    Raises
    ------
    DataProblem
        A customer twice in a period, one period, or a control that is last period's revenue (a lagged outcome and
        effects are never combined: Nickell 1981).
    TooFewRespondents
        Fewer than `min_rows` rows with a score in the next period, unless `lacks` is given.

    Examples
    --------
    >>> import cxresearch as cx
    >>> import numpy as np
    >>> import pandas as pd
    >>> rng = np.random.default_rng(1)
    >>> panel = pd.DataFrame({"who": np.repeat(np.arange(200), 5), "when": np.tile(np.arange(5), 200)})
    >>> panel["score"] = rng.integers(0, 11, len(panel))
    >>> panel["spent"] = 100 + 3 * panel["score"] + rng.normal(0, 20, len(panel))
    >>> print(cx.lead_lag(panel, revenue="spent", loyalty="score", customer="who", period="when"))
    The next period's score does not go with this period's revenue (0.4 % per point, 95 % ...
    """
    survey = as_survey(panel)
    if survey.waterfall is not None and lacks is None:  # of `link_waves`: why there is no panel is its last reason
        lacks = "" if len(survey) else survey.waterfall["reason"].iloc[-1]
    panel = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    require_share("confidence", confidence)
    controls = as_columns("controls", controls)
    asked = {"revenue": revenue, "loyalty": loyalty, "customer": customer, "period": period, "controls": controls}
    design = {"weight": weight, "strata": strata, "cluster": cluster or customer, "fpc": fpc}
    labels = LABELS | dict(labels or {})
    absent = {"outcome": revenue, "loyalty": loyalty, "confidence": confidence, "labels": labels}
    if lacks:
        return _absent(lacks, **absent)
    try:
        return _found(panel, asked, design, confidence, min_rows, min_base, labels)
    except TooFewRespondents as problem:
        if lacks is None:
            raise
        return _absent(str(problem), **absent)


def _absent(why: str, **known) -> LeadLag:
    return LeadLag(
        function="lead_lag",
        group=None,
        table=pd.DataFrame(columns=ROW),
        summary={"n": 0, "n_effective": 0.0, "customers": 0, "p_lead": None, "method": "none: no panel"},
        tested=(Check("customers seen in several periods", why, "enough for a lead", False),),
        lacks=why,
        **known,
    )


def _found(panel, asked: dict, design: dict, confidence: float, min_rows: int, min_base: int, labels) -> LeadLag:
    revenue, loyalty, customer, period, controls = asked.values()
    table, terms, effects = shifted(panel, loyalty=loyalty, customer=customer, period=period)
    refuse_lagged_revenue(table, revenue, controls, customer, period)
    s = sample(
        table,
        revenue=revenue,
        loyalty=loyalty,
        controls=(*controls, *terms.values()),
        effects=effects,
        min_rows=min_rows,
        min_base=min_base,
        what="lead_lag",
        **design,
    )
    got = estimate(s, Plan("poisson", "linear"))
    rows = _rows(got, {**terms, "now": loyalty}, s.n, confidence)
    p_lead = float(rows.set_index("term").loc["lead", "p_value"])
    people = int(table[customer].iloc[s.rows].nunique())
    models, p_means = four_ways(panel, asked, design["cluster"], confidence, min_rows)
    summary = {
        "n": s.n,
        "n_effective": s.n_effective,
        "customers": people,
        "errors": got.errors,
        "p_lead": p_lead,
        "method": f"Poisson with {' and '.join('customer' if e == customer else 'period' for e in effects)} effects",
    }
    tested = tuple(_checks(p_lead, s.sampling.n_clusters or s.n, p_means, customer in effects))
    return LeadLag(
        function="lead_lag",
        outcome=revenue,
        group=None,
        table=rows,
        summary=summary,
        tested=tested,
        labels=labels,
        further={"models": models},
        loyalty=loyalty,
        confidence=confidence,
        needs_effects=p_means < MUNDLAK_LIMIT and customer not in effects,
    )


def _checks(p_lead: float, clusters: int, p_means: float, within: bool):
    yield Check("the lead does not go with revenue (p)", p_lead, f"at least {LEAD_LIMIT}", p_lead >= LEAD_LIMIT)
    yield Check("clusters", clusters, "at least 40", clusters >= 40)
    limit = f"at least {MUNDLAK_LIMIT}, or customer effects in the model: below it they are needed"
    yield Check("customers' means add nothing (Mundlak, Wald p)", p_means, limit, within or p_means >= MUNDLAK_LIMIT)


def shifted(
    panel: pd.DataFrame, *, loyalty: str, customer: str, period: str
) -> tuple[pd.DataFrame, dict[str, str], tuple[str, ...]]:
    """Return the panel with the score a period before and after, the names of these columns, and the effects to fit."""
    require_columns(panel, loyalty, customer, period, where="the panel")
    twice = int(panel.duplicated([customer, period]).sum())
    if twice:
        raise DataProblem(f"the panel holds {twice} rows that repeat a {customer} in a {period}; keep one row for each")
    periods = sorted(panel[period].dropna().unique())
    if len(periods) < 2:
        raise DataProblem(f"{period} has one value; a lead needs a later period")
    at = panel[period].map({p: i for i, p in enumerate(periods)})
    keys = pd.MultiIndex.from_arrays([panel[customer], at])
    score = pd.Series(panel[loyalty].to_numpy(), index=keys)
    shift = lambda by: score.reindex(pd.MultiIndex.from_arrays([panel[customer], at + by])).to_numpy()  # noqa: E731
    lead, lag = f"{loyalty} after", f"{loyalty} before"
    table = panel.assign(**{lead: shift(1), lag: shift(-1)}).reset_index(drop=True)
    both = table[[lead, lag, loyalty]].notna().all(axis=1)
    terms = {"lag": lag, "lead": lead} if keeps_two_rows(table[both], customer) else {"lead": lead}
    usable = table[both] if "lag" in terms else table[table[[lead, loyalty]].notna().all(axis=1)]
    effects = (customer, period) if keeps_two_rows(usable, customer) else (period,)
    return table, terms, effects


def refuse_lagged_revenue(table: pd.DataFrame, revenue: str, controls, customer: str, period: str) -> None:
    """Refuse a control that is the revenue of the row before of the same customer."""
    before = table.sort_values(period).groupby(customer)[revenue].shift(1).reindex(table.index).to_numpy(dtype=float)
    for column in controls:
        if (
            column in table.columns
            and pd.api.types.is_numeric_dtype(table[column])
            and _same(table[column].to_numpy(dtype=float), before)
        ):
            raise DataProblem(
                f"control {column!r} is the {revenue} of the period before; with customer effects it biases both (Nickell 1981): "
                "leave it out, or leave the effects out"
            )


def lead_p_value(panel: pd.DataFrame, *, revenue, loyalty, customer, period, controls=(), cluster=None) -> float:
    """Return p of the lead alone beside the score: the red flag that `worth_of_a_point` asks for."""
    table, _, _ = shifted(panel, loyalty=loyalty, customer=customer, period=period)
    lead = f"{loyalty} after"
    usable = table[table[[lead, loyalty]].notna().all(axis=1)]
    effects = (customer, period) if keeps_two_rows(usable, customer) else (period,)
    s = sample(
        table,
        revenue=revenue,
        loyalty=loyalty,
        controls=(*controls, lead),
        effects=effects,
        cluster=cluster or customer,
        min_rows=1,
    )
    got = estimate(s, Plan("poisson", "linear"))
    return got.interval_at(got.fit.terms.index(lead), 0.95)[3]


def _rows(got: Estimates, terms: dict[str, str], n: int, confidence: float) -> pd.DataFrame:
    rows = []
    for term in [t for t in ("lag", "now", "lead") if t in terms]:
        value, low, high, p = got.interval_at(got.fit.terms.index(terms[term]), confidence)
        percents = {
            k: 100 * np.expm1(v) for k, v in zip(("percent", "percent_low", "percent_high"), (value, low, high))
        }
        rows.append(
            {"term": term, "estimate": value, "conf_low": low, "conf_high": high, "p_value": p, **percents, "n": n}
        )
    return pd.DataFrame(rows)
