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
from scipy import stats

from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.figures import QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, interval, number
from cxresearch.inference import critical_value
from cxresearch.loyalty.contrast import Estimates, estimate
from cxresearch.loyalty.covariance import Sampling, influence_covariance
from cxresearch.loyalty.design import Sample, as_columns, sample
from cxresearch.loyalty.ladder import Plan
from cxresearch.loyalty.models import LEVELS, fit_glm
from cxresearch.loyalty.shape import wald
from cxresearch.loyalty.trouble import _same

LEAD_LIMIT = 0.05


@dataclass(frozen=True, repr=False, eq=False)
class LeadLag(Finding):
    """Percent more revenue per point of the score a period before (lag), in (now) and after (lead) the revenue.

    `tables` adds models: the coefficient of the score pooled, with Mundlak's means, with effects, in differences.
    """

    loyalty: str = ""
    confidence: float = 0.95

    def sentence(self) -> str:
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
        words = {"lag": "score a period before", "now": "score in the period", "lead": "score a period after"}
        t = self.table
        intervals(ax, [words[k] for k in t["term"]], t["percent"], t["percent_low"], t["percent_high"])
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.set_xlabel(wrap(f"% more {self.label(self.outcome)} per point of {self.label(self.loyalty)}", 90))
        return ax


def lead_lag(
    panel: pd.DataFrame,
    *,
    revenue: str,
    loyalty: str,
    customer: str,
    period: str,
    controls: Sequence[str] = (),
    confidence: float = 0.95,
    min_rows: int = 100,
    weight: str | None = None,
    strata: str | None = None,
    cluster: str | Sequence[str] | None = None,
    fpc: str | None = None,
    labels=None,
    min_base: int = 1,
) -> LeadLag:
    """Regress revenue on the score of the period before, of the period, and of the period after.

    A score that is asked later cannot be a reason of revenue: where it goes with it all the same, revenue, or
    something behind both, comes first. Poisson with customer and period effects where customers keep two usable
    rows, else with period effects; errors are clustered by customer unless `cluster` says otherwise.

    Parameters
    ----------
    panel : DataFrame
        One row per customer and period; periods are those that occur, in order.
    period
        Column that sorts: dates, numbers or text such as 2024Q1.

    Raises
    ------
    DataProblem
        A customer twice in a period, one period, or a control that is last period's revenue (a lagged outcome and
        effects are never combined: Nickell 1981).
    """
    require_share("confidence", confidence)
    controls = as_columns("controls", controls)
    table, terms, effects = shifted(panel, loyalty=loyalty, customer=customer, period=period)
    refuse_lagged_revenue(table, revenue, controls, customer, period)
    s = sample(
        table,
        revenue=revenue,
        loyalty=loyalty,
        controls=(*controls, *terms.values()),
        effects=effects,
        weight=weight,
        strata=strata,
        cluster=cluster or customer,
        fpc=fpc,
        min_rows=min_rows,
        min_base=min_base,
        what="lead_lag",
    )
    got = estimate(s, Plan("poisson", "linear"))
    rows = _rows(got, {**terms, "now": loyalty}, s.n, confidence)
    p_lead = float(rows.set_index("term").loc["lead", "p_value"])
    people = int(table[customer].iloc[s.rows].nunique())
    models = _models(panel, revenue, loyalty, customer, period, controls, cluster, confidence, min_rows)
    summary = {
        "n": s.n,
        "n_effective": s.n_effective,
        "customers": people,
        "errors": got.errors,
        "p_lead": p_lead,
        "method": f"Poisson with {' and '.join('customer' if e == customer else 'period' for e in effects)} effects",
    }
    tested = tuple(_checks(p_lead, s.sampling.n_clusters or s.n, models.attrs.pop("mundlak_p")))
    return LeadLag(
        function="lead_lag",
        outcome=revenue,
        group=None,
        table=rows,
        summary=summary,
        tested=tested,
        labels=labels or {},
        further={"models": models},
        loyalty=loyalty,
        confidence=confidence,
    )


def _checks(p_lead: float, clusters: int, mundlak_p: float):
    yield Check("the lead does not go with revenue (p)", p_lead, f"at least {LEAD_LIMIT}", p_lead >= LEAD_LIMIT)
    yield Check("clusters", clusters, "at least 40", clusters >= 40)
    # told, not required: where customers differ the effects, which are fitted anyway, are what protects
    yield Check("score's means add nothing (Mundlak, p)", mundlak_p, "below 0.05: customers differ, use effects", True)


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
    terms = {"lag": lag, "lead": lead} if _kept(table[both], customer) else {"lead": lead}
    usable = table[both] if "lag" in terms else table[table[[lead, loyalty]].notna().all(axis=1)]
    effects = (customer, period) if _kept(usable, customer) else (period,)
    return table, terms, effects


def _kept(table: pd.DataFrame, customer: str) -> bool:
    # an intercept a customer leaves something to compare only where customers have two rows
    return len(table) > 0 and bool((table[customer].value_counts() >= 2).mean() > 0.5)


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
    effects = (customer, period) if _kept(usable, customer) else (period,)
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


# --- the score's coefficient, four ways ------------------------------------------------------------------------------


def _models(panel, revenue, loyalty, customer, period, controls, cluster, confidence, min_rows) -> pd.DataFrame:
    common = {"revenue": revenue, "loyalty": loyalty, "cluster": cluster or customer, "min_rows": min_rows}
    pooled = sample(panel, controls=controls, effects=(period,), **common)
    own = panel.groupby(customer)[loyalty].transform("mean")
    means = sample(
        panel.assign(**{"customer mean": own}), controls=(*controls, "customer mean"), effects=(period,), **common
    )
    rows = [
        _model("pooled, period effects", estimate(pooled, Plan("poisson", "linear")), loyalty, pooled.n, confidence)
    ]
    mundlak = estimate(means, Plan("poisson", "linear"))
    rows.append(_model("customer means beside the score (Mundlak)", mundlak, loyalty, means.n, confidence))
    if _kept(panel.dropna(subset=[loyalty]), customer):
        within = sample(panel, controls=controls, effects=(customer, period), **common)
        rows.append(
            _model(
                "customer and period effects",
                estimate(within, Plan("poisson", "linear")),
                loyalty,
                within.n,
                confidence,
            )
        )
        rows.append(_differences(within, panel, customer, period, loyalty, confidence))
    table = pd.DataFrame(rows)
    at = mundlak.fit.terms.index("customer mean")
    table.attrs["mundlak_p"] = wald(mundlak.values[[at]], mundlak.covariance[[at]][:, [at]], float(mundlak.df[at]))[1]
    return table


def _model(name: str, got: Estimates, loyalty: str, n: int, confidence: float) -> dict:
    value, low, high, p = got.interval_at(got.fit.terms.index(loyalty), confidence)
    percents = {k: 100 * np.expm1(v) for k, v in zip(("percent", "percent_low", "percent_high"), (value, low, high))}
    return {"term": name, **percents, "p_value": p, "n": n}


def _differences(s: Sample, panel: pd.DataFrame, customer: str, period: str, loyalty: str, confidence: float) -> dict:
    """Return the linear coefficient of changes of revenue on changes of the score, in percent of mean revenue."""
    order = np.lexsort((pd.factorize(panel[period].to_numpy()[s.rows], sort=True)[0], s.effects[0]))
    who, when = s.effects[0][order], pd.factorize(panel[period].to_numpy()[s.rows], sort=True)[0][order]
    next_to = (who[1:] == who[:-1]) & (when[1:] == when[:-1] + 1)
    diff = lambda v: np.diff(v[order], axis=0)[next_to]  # noqa: E731
    dummies = (when[1:][next_to][:, None] == np.unique(when[1:][next_to])).astype(float)
    X = np.column_stack([diff(s.score), diff(s.Z), dummies])
    fit = fit_glm(X, diff(s.y), np.ones(len(X)), LEVELS)
    sampling = Sampling(clusters=(who[1:][next_to],))
    error = np.sqrt(influence_covariance(fit.influence, sampling, X.shape[1])[0, 0])
    df = sampling.degrees_of_freedom(len(X), X.shape[1])
    half, scale = critical_value(confidence, df) * error, 100 / s.y.mean()
    p = 2 * stats.t.sf(abs(fit.coef[0]) / error, df)
    ends = {"percent": fit.coef[0], "percent_low": fit.coef[0] - half, "percent_high": fit.coef[0] + half}
    return {"term": "first differences, linear", **{k: v * scale for k, v in ends.items()}, "p_value": p, "n": len(X)}
