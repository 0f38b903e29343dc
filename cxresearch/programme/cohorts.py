"""Whom we win, and who is active afterwards.

Efron (1987), J. American Statistical Association 82:171-185 (BCa); Wilson (1927); Kaplan & Meier (1958).
"""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import require_columns, require_share
from cxresearch.figures import axes_or_new, heat_map
from cxresearch.findings import ENDS, Statement, ends
from cxresearch.inference import wilson_interval
from cxresearch.inference.survival import kaplan_meier
from cxresearch.privacy import hidden_cells, hide_cells, largest_share
from cxresearch.programme import shared
from cxresearch.programme.shared import ids_of, names_of, payments, say
from cxresearch.survey import as_survey, as_table

FIRSTS = """, orders AS (SELECT customer, moment, sum(amount) AS net, sum(amount) FILTER (amount >= 0) AS value FROM paid GROUP BY ALL)
SELECT customer, min(moment) FILTER (value IS NOT NULL) AS _first, arg_min(value, moment) FILTER (value IS NOT NULL) AS _order,
       sum(net) AS _revenue FROM orders GROUP BY customer HAVING count(value) > 0 ORDER BY customer"""
ACTIVE = """, active AS (SELECT DISTINCT customer, date_trunc('{period}', moment) AS period FROM paid
  WHERE amount >= 0 AND moment < TIMESTAMP '{end}'), firsts AS (SELECT customer, min(period) AS cohort FROM active GROUP BY 1)
SELECT cohort::TIMESTAMP AS cohort, date_diff('{period}', cohort, period) AS age, count(*) AS active
FROM active JOIN firsts USING (customer) GROUP BY ALL ORDER BY ALL"""
AGAIN = """, days AS (SELECT DISTINCT customer, moment::DATE AS day FROM paid WHERE amount >= 0 AND moment < TIMESTAMP '{end}'),
 first_two AS (SELECT customer, min(day) AS first, list_sort(list(day))[2] AS second FROM days GROUP BY 1)
SELECT date_trunc('{period}', first)::TIMESTAMP AS cohort, date_diff('day', first, coalesce(second, DATE '{end}')) AS days,
  (second IS NOT NULL)::INTEGER AS again, count(*) AS n FROM first_two GROUP BY ALL ORDER BY ALL"""


def bca_means(sample, values, member, *, confidence, n_boot, seed) -> np.ndarray:
    """Return means (k,) of values (n,) among the members (n, k) of each group, and their BCa ends, (3, k)."""
    weights, k = sample.weights[:, None] * member, member.shape[1]
    mean = values @ weights / weights.sum(axis=0)
    totals = shared.resampled(np.hstack([values[:, None] * member, member]), sample, n_boot=n_boot, seed=seed)
    with np.errstate(invalid="ignore"):  # a replicate may leave a period empty
        draws = totals[:, :k] / totals[:, k:]
    influence = weights * (values[:, None] - mean)
    spread = np.sum(influence**2, axis=0) ** 1.5
    pull = np.divide(np.sum(influence**3, axis=0), 6 * spread, out=np.zeros(k), where=spread > 0)
    z0 = stats.norm.ppf(np.clip(np.mean(draws < mean, axis=0), 1e-6, 1 - 1e-6))
    z = z0 + stats.norm.ppf([[(1 - confidence) / 2], [(1 + confidence) / 2]])
    places = stats.norm.cdf(z0 + z / (1 - pull * z))
    return np.array([mean, *([np.nanquantile(d, p) for d, p in zip(draws.T, row)] for row in places)])


def joined_since(survey, customer, since, begin, end) -> tuple[pd.DataFrame, np.ndarray]:
    """Return customers with `_id` and `since`, and who became one within the record of payments; refuse a cut history."""
    say.refuse_if(since is None, "no_since")
    require_columns(survey.table, customer, since, where="customers")
    joined = pd.to_datetime(survey.table[since], errors="coerce")
    recent = joined.between(begin.normalize(), end, inclusive="left").to_numpy()
    record = dict(since=since, first=begin.date(), last=end.date(), latest=joined.max())
    say.refuse_if(not recent.any(), "nobody_new", **record)
    return survey.table.assign(_id=ids_of(survey.table[customer]), since=joined), recent


def _amounts(sample, values, names, chance) -> pd.DataFrame:
    """Return by name (sorted) n, the mean of values with its interval, the median, and what the largest hold."""
    shown, at = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    member = (at[:, None] == np.arange(len(shown))).astype(float)
    found = pd.DataFrame({"term": shown, "n": member.sum(axis=0).astype(int)})
    found[ENDS] = bca_means(sample, values, member, **chance).T
    parts = [np.sort(values[m > 0])[::-1] for m in member.T]
    found["median"] = [np.median(part) for part in parts]
    found["top_share"] = [part[: max(len(part) // 100, 1)].sum() / part.sum() for part in parts]
    return found.assign(largest_share=[largest_share(part) for part in parts])


def acquisition(
    customers, transactions, *, customer=None, since=None, time=None, amount=None, period="month", until=None,
    confidence=0.95, n_boot=1000, seed,
) -> Statement:  # fmt: skip
    """Return new customers by period, the mean of their first orders, in currency, and revenue per customer.

    Means have BCa intervals by the survey's replicates. ``further["whole"]``: first order and revenue over all.

    Parameters
    ----------
    customers, transactions : Survey or DataFrame, (N, .); Table, DataFrame, path or relation
        Payments of one customer at one moment are one order, an amount below zero is a return.
    customer, time, amount, since : column
        Of the payments, where their table does not say; `customer` is called so in both. `since`, of `customers`: when
        each became one. The first payment of a record that was cut is nobody's first.
    period, until : {"week", "month", "quarter", "year"}, date
        Only complete ones count; exclusive end of the record, by default after the day of the last payment.

    Raises
    ------
    DataProblem
        No `since` (left-truncated), nobody since the record begins, fewer than two complete periods.

    Examples
    --------
    >>> print(cx.acquisition(study.customers, study.transactions, since="since", n_boot=99, seed=1))
    245 customers were won from 2024-01 to 2024-09; a first order is worth 87.00 EUR on average ...
    """
    require_share("confidence", confidence)
    events, survey = as_table(transactions), as_survey(customers)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as (ask, end, checks):
        end, firsts = shared.complete_until(ask, end, period), ask(FIRSTS)
    customer = customer or events.roles.get("customer")
    merged, recent = joined_since(survey, customer, since, firsts["_first"].min(), end)
    firsts = firsts.assign(_id=ids_of(firsts.pop("customer")))
    merged = merged.merge(firsts, on="_id", how="left", validate="one_to_one")
    survey, paid = survey.with_table(merged), merged["_first"].notna().to_numpy()
    new, every = survey.sample(recent & paid, what="new customers"), survey.sample(paid, what="customers")
    chance = dict(confidence=confidence, n_boot=n_boot, seed=seed)
    order, revenue = (merged[c].to_numpy(float)[s.rows] for c, s in (("_order", new), ("_revenue", every)))
    by = _amounts(new, order, names_of(merged["since"].iloc[new.rows], period), chance)
    by = by.drop(columns="top_share").rename(columns={"term": "period"})
    of = ((new, order, "first_order"), (every, revenue, "revenue"))
    whole = pd.concat([_amounts(s, v, [term] * len(v), chance) for s, v, term in of], ignore_index=True)
    by = hide_cells(by, min_base=survey.min_base, keys=("period",))
    first, per = whole.iloc[0], whole.iloc[1]
    crowd = round(float(by["n"].iloc[0] / max(by["n"].iloc[1:].median(), 1)), 2) if len(by) > 1 else 1.0
    unpaid, early = int((recent & ~paid).sum()), int((merged["_first"] < merged["since"].dt.normalize()).sum())
    found = dict(crowd=(crowd, not crowd > 2), unpaid=(unpaid, unpaid == 0), early=(early, early == 0))
    found |= dict(dominant=(per["largest_share"], per["largest_share"] <= 0.05))
    unit, (begun, last) = events.currency or survey.currency, by["period"].iloc[[0, -1]]
    known = {**first, "first": begun, "last": last, "unit": unit or shared.NO_CURRENCY, "all": per["n"]}
    known |= ends("revenue", *per[ENDS]) | dict(part=per["top_share"], one=per["largest_share"])
    question = "acquisition", "first order", "period", by, {"n": first["n"], "method": "mean, BCa interval"}
    return shared.statement(
        (["won", "won_more"], known, confidence), question, source=survey, checks=checks, found=found,
        further={"whole": whole}, hidden=by["n"].isna().sum(),
        figure=dict(x="period", columns={"estimate": "o-"}, axes=("", f"mean first order, {unit or 'money'}", "")),
    )  # fmt: skip


def cohort_retention(
    transactions, *, customer=None, time=None, amount=None, period="month", until=None, since=None, confidence=0.95
) -> Statement:
    """Return the share (0-1) of each cohort of customers that bought in later periods, and how soon they bought again.

    Wilson's interval; periods that are not over are left out. Nobody has a contract that ends: "active" says that they
    bought. ``further["again"]``: 1 - Kaplan & Meier of the days until the second purchase.

    Parameters
    ----------
    transactions, customer, time, amount, period, until : as in `acquisition`
    since : date, optional, when the record of all customers begins: nobody bought before. Without it the first period's
        customers are the stock, of whom nobody knows when they came: they stand apart and enter no total.

    Raises
    ------
    DataProblem
        Fewer than two complete periods, no cohort that can be followed, or (TooFewRespondents) none over the floor.

    Examples
    --------
    >>> print(cx.cohort_retention(study.transactions, period="quarter"))
    Of 319 customers won from 2024Q2 to 2024Q4, 65.2 % bought in the quarter after ...
    """
    require_share("confidence", confidence)
    events = as_table(transactions)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as (ask, end, checks):
        end = shared.complete_until(ask, end, period)
        cells, again = (ask(sql.format(period=period, end=end)) for sql in (ACTIVE, AGAIN))
    begun = cells["cohort"].min() + pd.Timedelta(1, "ns") if since is None else shared.moment("since", since)
    sizes = cells[cells["age"] == 0].set_index("cohort")["active"]
    stock, sizes = int(sizes[sizes.index < begun].sum()), sizes[sizes.index >= begun]
    ages = [(cohort, age) for cohort in sizes.index for age in range(1, shared.steps_between(cohort, end, period))]
    say.refuse_if(not ages, "no_cohort", begun=begun.date(), period=period)
    table = pd.DataFrame(ages, columns=["cohort", "age"]).merge(cells, how="left", on=["cohort", "age"])
    table = table.assign(active=table["active"].fillna(0).astype(int), n=table["cohort"].map(sizes))
    sizes = table[table["age"] == 1]
    small = sizes["cohort"][hidden_cells(sizes, min_base=events.min_base, keys=("cohort",))]
    say.refuse_if(len(small) == len(sizes), "few_cohorts", floor=events.min_base)
    gone, kept = table["cohort"].isin(small).to_numpy(), sizes[~sizes["cohort"].isin(small)]
    again = _bought_again(again[again["cohort"].isin(kept["cohort"])], confidence)
    table["estimate"] = table["active"] / table["n"]
    table["conf_low"], table["conf_high"] = wilson_interval(table["estimate"], table["n"], confidence)
    shown = {c: table[c].mask(gone) for c in table.columns[2:]}
    table = table.assign(**shown, cohort=names_of(table["cohort"], period))
    n, names, soon = int(kept["n"].sum()), names_of(kept["cohort"], period), again.iloc[min(1, len(again) - 1)]
    share = kept["active"].sum() / n
    known = dict(first=names[0], last=names[-1], period=period, days=soon["days"], stock=stock)
    known |= ends("share", share, *wilson_interval(share, n, confidence)) | ends("again", *soon[ENDS])
    summary = {"n": n, "method": "share active, Wilson interval"}
    return shared.statement(
        (["active", "active_more"], known, confidence), ("cohort_retention", "active customers", "cohort", table, summary),
        source=events, checks=checks, found=dict(stock=(stock, True, "info"), not_over=(str(end.date()), True, "info")),
        further={"again": again}, hidden=gone.sum(), figure=_matrix,
    )  # fmt: skip


def _bought_again(counts, confidence) -> pd.DataFrame:
    """Return within how many days what share bought again: 1 - Kaplan-Meier of customers counted by days."""
    n = counts["n"].to_numpy(dtype=float)
    errors = lambda influence: (influence.T / n) @ influence  # noqa: E731  # each row is n customers
    at = [days for days in (30, 90, 180, 365) if days < counts["days"].max()] or [int(counts["days"].max())]
    curve = kaplan_meier(counts["days"], counts["again"], weights=n, covariance=errors, at=at, confidence=confidence)
    left = (1 - part[np.searchsorted(curve.time, at)] for part in (curve.estimate, curve.high, curve.low))
    return pd.DataFrame({"days": at, **ends("estimate", *left), "n": int(n.sum())})


def _matrix(finding, ax):
    wide = finding.table.pivot(index="cohort", columns="age", values="estimate").astype(float)
    ax = axes_or_new(ax, rows=len(wide) + 2)
    return heat_map(100 * wide, unit=say["cohort_axis"], title=finding.title, ax=ax)
