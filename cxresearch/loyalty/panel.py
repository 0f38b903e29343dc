"""Customers seen in several periods: does the score come before the revenue, or after it?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.figures import forest
from cxresearch.findings import Check, Finding, ends, nothing, number
from cxresearch.loyalty.cases import as_columns, cases_of
from cxresearch.loyalty.models import RevenueFit, estimate
from cxresearch.loyalty.refusals import is_categorical, refuse_lagged_revenue
from cxresearch.loyalty.revenue import RevenueFinding, wald
from cxresearch.loyalty.sentences import percent_point, say, told
from cxresearch.survey import Survey, as_survey

LABELS = {"revenue_after": "revenue after the answer", "revenue_before": "revenue before the answer"}  # of `link_waves`
LEAD_LIMIT = MUNDLAK_LIMIT = 0.05
WORDS = {"lag": "score a period before", "now": "score in the period", "lead": "score a period after (placebo)"}


@dataclass(frozen=True, repr=False, eq=False)
class LeadLag(RevenueFinding):
    """Percent per point of the score a period before (lag), in (now) and after (lead) the revenue; `tables` adds models."""

    needs_effects: bool = False  # customers differ, and the model has no intercepts for them

    def sentence(self) -> str:
        g, rows = self.summary, self.table.set_index("term")
        lead, now = (percent_point(rows.loc[term], self.confidence) for term in ("lead", "now"))
        n, row = number(g["n"], 0), rows.loc["now"]
        method = f"{number(g['customers'], 0)} customers, {g['method']}"
        if g["p_lead"] < LEAD_LIMIT:
            clauses = [say("lead open", lead=lead, n=n), say("lead open why", method=method, **self.words)]
        else:
            key = "lead now open" if row["percent_low"] <= 0 <= row["percent_high"] else "lead now"
            clauses = [say("lead clear", lead=lead, n=n), say(key, now=now, method=method)]
        return told(*clauses, *([say("lead effects")] if self.needs_effects else []))

    def plot(self, ax=None):
        """Draw percent per point by lag, now and lead, with zero marked."""
        t, backwards = self.table, self.summary["p_lead"] < LEAD_LIMIT
        title = "The next score already goes with revenue" if backwards else "No sign that revenue comes first"
        names = [WORDS[k] for k in t["term"]]
        return forest(t, "percent", names=names, unit=self.unit_per_point, title=title, line=0, ax=ax)


def lead_lag(
    panel, *, revenue: str, loyalty: str, customer: str, period: str, controls: Sequence[str] = (),
    confidence: float = 0.95, min_rows: int = 100,
) -> Finding:  # fmt: skip
    """Regress revenue on the score of the period before, of the period, and of the period after.

    A score that is asked later cannot be a reason of revenue: where it goes with it all the same, revenue, or
    something behind both, comes first. Poisson with customer and period effects where customers keep two usable
    rows, else with period effects; errors are clustered by customer unless the survey says otherwise. Refused are a
    customer twice in a period, one period, a control that is last period's revenue (a lagged outcome and effects are
    never combined: Nickell 1981), and fewer than `min_rows` rows with a score in the next period.

    Parameters
    ----------
    panel : Survey or DataFrame
        One row per customer and period; periods are those that occur, in order. Where what `link_waves` returns holds
        no panel, or too few rows, a finding is returned that says why.
    period
        Column that sorts: dates, numbers or text such as 2024Q1.

    Examples
    --------
    >>> panel = cx.link_waves(study)
    >>> asked = dict(revenue="revenue_after", loyalty="recommend", customer="customer", period="period")
    >>> print(cx.lead_lag(panel, **asked))
    The next period's score does not go with this period's revenue ...
    """
    survey = as_survey(panel)
    require_share("confidence", confidence)
    labels = LABELS | dict(survey.labels)
    question = dict(revenue=revenue, loyalty=loyalty, controls=as_columns("controls", controls), min_rows=min_rows)
    try:
        if survey.waterfall is not None and not len(survey):
            raise TooFewRespondents(survey.waterfall["reason"].iloc[-1])
        return _found(survey, question, customer, period, confidence, labels)
    except TooFewRespondents as problem:
        if survey.waterfall is None:
            raise
        score, money = (str(labels.get(key, key)) for key in (loyalty, revenue))
        why = say("no lead", why=problem, score=score, revenue=money)
        return nothing("lead_lag", revenue, None, why, labels=labels)


def _found(survey: Survey, question: dict, customer: str, period: str, confidence: float, labels) -> LeadLag:
    loyalty, controls, table = question["loyalty"], question["controls"], survey.table
    table, columns, effects = shifted(table, loyalty=loyalty, customer=customer, period=period)
    refuse_lagged_revenue(table, question["revenue"], controls, customer, period)
    beside = {"controls": (*controls, *columns.values()), "cluster": customer, "what": "lead_lag"}
    s = cases_of(survey.with_table(table), effects=effects, **(question | beside))
    got, columns = estimate(s), columns | {"now": loyalty}
    rows = pd.DataFrame([_row(term, got, columns[term], s.n, confidence) for term in WORDS if term in columns])
    models, p_means = three_ways(survey, question, customer, period, confidence)
    lead, now = (rows.set_index("term").loc[term] for term in ("lead", "now"))
    p_lead, within, clusters = float(lead["p_value"]), customer in effects, s.n_clusters or s.n
    absorbed = " and ".join("customer" if e == customer else "period" for e in effects)
    summary = {
        "customers": int(table[customer].iloc[s.rows].nunique()), "errors": got.errors, "p_lead": p_lead,
        "method": f"Poisson with {absorbed} effects",
        "established": p_lead >= LEAD_LIMIT and not now["percent_low"] <= 0 <= now["percent_high"],
    }  # fmt: skip
    limit = f"at least {MUNDLAK_LIMIT}, or customer effects in the model: below it they are needed"
    tested = (
        Check("the lead does not go with revenue (p)", p_lead, f"at least {LEAD_LIMIT}", p_lead >= LEAD_LIMIT, "stops"),
        Check("clusters", clusters, "at least 40", clusters >= 40),
        Check("customers' means add nothing (Mundlak, Wald p)", p_means, limit, within or p_means >= MUNDLAK_LIMIT),
    )
    return LeadLag.of(
        "lead_lag", s, rows, summary, tested, labels=labels, further={"models": models}, confidence=confidence,
        needs_effects=p_means < MUNDLAK_LIMIT and not within, cases=s, fit=got,
    )  # fmt: skip


def _row(term: str, got: RevenueFit, name: str, n: int, confidence: float) -> dict:
    value, low, high, p = got.interval(name, confidence)
    percents = ends("percent", *(100 * np.expm1([value, low, high])))
    return {"term": term, "estimate": value, "conf_low": low, "conf_high": high, "p_value": p, **percents, "n": n}


def keeps_two_rows(table: pd.DataFrame, customer: str) -> bool:
    """Return whether most customers have two rows: an intercept each leaves something to compare only then."""
    return len(table) > 0 and bool((table[customer].value_counts() >= 2).mean() > 0.5)


def shifted(panel: pd.DataFrame, *, loyalty: str, customer: str, period: str, lags: bool = True):
    """Return the panel with the score a period before and after, the names of these columns, and the effects to fit."""
    require_columns(panel, loyalty, customer, period, where="the panel")
    twice = int(panel.duplicated([customer, period]).sum())
    if twice:
        raise DataProblem(f"the panel holds {twice} rows that repeat a {customer} in a {period}; keep one row for each")
    periods = sorted(panel[period].dropna().unique())
    if len(periods) < 2:
        raise DataProblem(f"{period} has one value; a lead needs a later period")
    at = panel[period].map({p: i for i, p in enumerate(periods)})
    keys = lambda by: pd.MultiIndex.from_arrays([panel[customer], at + by])  # noqa: E731
    score, lead, lag = pd.Series(panel[loyalty].to_numpy(), index=keys(0)), f"{loyalty} after", f"{loyalty} before"
    table = panel.reset_index(drop=True)
    table[lead], table[lag] = (score.reindex(keys(by)).to_numpy() for by in (1, -1))
    followed = table[table[[lead, loyalty]].notna().all(axis=1)]
    between = followed[followed[lag].notna()]
    lagged = lags and keeps_two_rows(between, customer)
    effects = (customer, period) if keeps_two_rows(between if lagged else followed, customer) else (period,)
    return table, ({"lag": lag} if lagged else {}) | {"lead": lead}, effects


def lead_p_value(survey: Survey, *, revenue, loyalty, customer, period, controls=()) -> float:
    """Return p of the lead alone beside the score: the red flag that `worth_of_a_point` asks for."""
    table, columns, effects = shifted(survey.table, loyalty=loyalty, customer=customer, period=period, lags=False)
    beside = dict(controls=(*controls, columns["lead"]), effects=effects, cluster=customer, min_rows=1)
    s = cases_of(survey.with_table(table), revenue=revenue, loyalty=loyalty, what="worth_of_a_point", **beside)
    return estimate(s).interval(columns["lead"], 0.95)[3]


def three_ways(survey: Survey, question: dict, customer: str, period: str, confidence: float):
    """Return the coefficient of the score by model, and p of the Wald test that customers' means add nothing."""
    panel, loyalty, controls = survey.table, question["loyalty"], question["controls"]
    table, means = with_means(panel, customer, (loyalty, *controls))
    mundlak = "customer means beside the score (Mundlak)"
    ways = {"pooled, period effects": (panel, controls, (period,)), mundlak: (table, (*controls, *means), (period,))}
    if keeps_two_rows(panel.dropna(subset=[loyalty]), customer):
        ways["customer and period effects"] = (panel, controls, (customer, period))
    got, rows = {}, []
    for name, (table, held, effects) in ways.items():
        asked = question | dict(controls=held, effects=effects, cluster=customer, what="lead_lag")
        s = cases_of(survey.with_table(table), **asked)
        got[name] = estimate(s)
        rows.append(_row(name, got[name], loyalty, s.n, confidence))
    shown = pd.DataFrame(rows)[["term", "percent", "percent_low", "percent_high", "p_value", "n"]]
    at, fitted = [got[mundlak].terms.index(name) for name in means], got[mundlak]
    return shown, wald(fitted.values[at], fitted.covariance[np.ix_(at, at)], float(fitted.df[at[0]]))[1]


def with_means(panel: pd.DataFrame, customer: str, columns) -> tuple[pd.DataFrame, list[str]]:
    """Return the panel with each customer's mean of every numeric column that varies within customers; their names."""
    found = {}
    for column in [c for c in columns if not is_categorical(panel[c])]:
        own = panel.groupby(customer)[column].transform("mean")
        if not np.allclose(panel[column].fillna(own), own):
            found[f"customer mean of {column}"] = own
    return panel.assign(**found), list(found)
