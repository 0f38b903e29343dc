"""Whom we win, and who is active afterwards.

Efron (1987), J. American Statistical Association 82:171-185 (BCa); Wilson (1927); Kaplan & Meier (1958).
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.figures import axes_or_new, heat_map, over_waves
from cxresearch.findings import Check, Statement, interval, number, percent, words
from cxresearch.inference import wilson_interval
from cxresearch.inference.survival import kaplan_meier
from cxresearch.privacy import hidden_cells, largest_share
from cxresearch.programme.payments import PERIODS, complete_until, ids_of, moment, money, names_of, payments
from cxresearch.survey import as_survey, as_table

say = words(__package__)

FIRSTS = """, orders AS (SELECT customer, moment, sum(amount) AS net, sum(amount) FILTER (amount >= 0) AS value FROM paid GROUP BY ALL)
SELECT customer, min(moment) FILTER (value IS NOT NULL) AS _first, arg_min(value, moment) FILTER (value IS NOT NULL) AS _first_order,
       sum(net) AS _revenue FROM orders GROUP BY customer HAVING count(value) > 0 ORDER BY customer"""
ACTIVE = """, active AS (SELECT DISTINCT customer, date_trunc('{period}', moment) AS period FROM paid
  WHERE amount >= 0 AND moment < TIMESTAMP '{end}'), firsts AS (SELECT customer, min(period) AS cohort FROM active GROUP BY 1)
SELECT cohort::TIMESTAMP AS cohort, date_diff('{period}', cohort, period) AS age, count(*) AS active
FROM active JOIN firsts USING (customer) GROUP BY ALL ORDER BY ALL"""
AGAIN = """, days AS (SELECT DISTINCT customer, moment::DATE AS day FROM paid WHERE amount >= 0 AND moment < TIMESTAMP '{end}'),
 first_two AS (SELECT customer, min(day) AS first, list_sort(list(day))[2] AS second FROM days GROUP BY 1)
SELECT date_trunc('{period}', first)::TIMESTAMP AS cohort, date_diff('day', first, coalesce(second, DATE '{end}')) AS days,
  (second IS NOT NULL)::INTEGER AS again, count(*) AS n FROM first_two GROUP BY ALL ORDER BY ALL"""


def bca_interval(draws, estimate, influence, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bias-corrected, accelerated ends from draws (B, k), estimates (k,) and influence (n, k)."""
    z0 = stats.norm.ppf(np.clip(np.mean(draws < estimate, axis=0), 1e-6, 1 - 1e-6))
    spread = np.sum(influence**2, axis=0) ** 1.5
    pull = np.divide(np.sum(influence**3, axis=0), 6 * spread, out=np.zeros(len(spread)), where=spread > 0)
    z = z0 + stats.norm.ppf([[(1 - confidence) / 2], [(1 + confidence) / 2]])
    place = stats.norm.cdf(z0 + z / (1 - pull * z))
    return tuple(np.array([np.nanquantile(d, p) for d, p in zip(draws.T, row)]) for row in place)


def means_with_ends(sample, values, member, *, confidence, n_boot, seed) -> np.ndarray:
    """Return means (k,) of values (n,) among the members (n, k) of each group, low and high, (3, k)."""
    w = sample.weights[:, None] * member
    mean = values @ w / w.sum(axis=0)
    influence = w * (values[:, None] - mean) / w.sum(axis=0)
    with np.errstate(invalid="ignore"):  # a replicate may leave a period empty
        draws = [(b * values) @ member / (b @ member) for b in sample.replicates(n_boot, seed=seed)]
    return np.array([mean, *bca_interval(np.concatenate(draws), mean, influence, confidence)])


def joined_since(survey, customer, since, begin, end) -> tuple[pd.DataFrame, np.ndarray]:
    """Return customers with ``_id`` and ``since``, and who became one within the record of payments; refuse a cut history."""
    table = survey.table
    if since is None:
        raise DataProblem(
            "new customers need since=, the column of customers that says when each became one: histories are "
            "left-truncated, so the first payment in the record need not be a customer's first"
        )
    require_columns(table, customer, since, where="customers")
    joined = pd.to_datetime(table[since], errors="coerce")
    recent = joined.between(begin.normalize(), end, inclusive="left").to_numpy()
    if not recent.any():
        raise DataProblem(
            f"no customer's {since} lies in the record of payments, {begin.date()} to {end.date()} (latest: {joined.max()}); "
            "new customers, their first order and the cost to win them are undefined"
        )
    return table.assign(_id=ids_of(table[customer]), since=joined), recent


def _by_period(sample, merged, period, min_base, chance) -> tuple[pd.DataFrame, np.ndarray]:
    """Return new customers and their mean first order by period, and which periods are hidden."""
    new = merged.iloc[sample.rows]
    names, value = names_of(new["since"], period), new["_first_order"].to_numpy(dtype=float)
    shown = sorted(set(names))
    member = (names[:, None] == np.array(shown)).astype(float)
    ends = dict(zip(("estimate", "conf_low", "conf_high"), means_with_ends(sample, value, member, **chance)))
    by = pd.DataFrame({"period": shown, "n": member.sum(axis=0).astype(int), **ends})
    by["median"] = [np.median(value[m > 0]) for m in member.T]
    by["largest_share"] = [largest_share(value[m > 0]) for m in member.T]
    hidden = hidden_cells(by, min_base=min_base, keys=("period",))
    return by.assign(**{c: by[c].mask(hidden) for c in by.columns[1:]}), hidden


def _whole(term, sample, merged, chance) -> dict:
    """Return the mean of a column with its interval, its median, and how much the largest hold."""
    values = merged[f"_{term}"].to_numpy(dtype=float)[sample.rows]
    mean, low, high = means_with_ends(sample, values, np.ones((len(values), 1)), **chance)[:, 0]
    top = np.sort(values)[::-1][: max(len(values) // 100, 1)].sum() / values.sum()
    found = {"term": term, "estimate": mean, "conf_low": low, "conf_high": high, "median": np.median(values)}
    return found | {"top_share": top, "largest_share": largest_share(values), "n": len(values)}


def _orders_by_period(finding, ax, *, unit):
    table = finding.table.rename(columns={"period": "wave"})
    axis = f"mean first order, {unit or 'money'}"
    ends = dict(low="conf_low", high="conf_high")
    return over_waves(table, "estimate", **ends, unit=axis, title=finding.title, ax=ax)


def acquisition(
    customers, transactions, *, customer=None, since=None, time=None, amount=None, period="month", until=None,
    confidence=0.95, n_boot=1000, seed,
) -> Statement:  # fmt: skip
    """Return new customers by period, what their first order is worth, and revenue per customer.

    Parameters
    ----------
    customers : Survey or DataFrame, (N, .)
        One row per customer.
    transactions : Table, DataFrame, path or relation
        Payments; those of one customer at one moment are one order, an amount below zero is a return.
    customer, time, amount : column, optional
        Of the payments, where their table does not say; `customer` is called so in both tables.
    since : column
        Of `customers`: when each became one. The first payment in a record that was cut is not a customer's first.
    period : {"week", "month", "quarter", "year"}
        Only complete ones count.
    until : date, optional
        Exclusive end of the record; without it the day of the last payment is the last one.

    Returns
    -------
    Statement
        By period ``n`` new customers and the mean first order, in currency; ``further["whole"]``: first order and
        revenue per customer (returns taken off) over all, with median and the part of the largest.

    Raises
    ------
    DataProblem
        No `since` (left-truncated), nobody since the record begins, fewer than two complete periods.

    Examples
    --------
    >>> import pandas as pd
    >>> import cxresearch as cx
    >>> paid = pd.DataFrame({"c": [1, 2, 3, 3], "t": pd.to_datetime(["2024-01-02", "2024-01-31", "2024-02-09", "2024-02-29"]), "a": 9.0})
    >>> who = pd.DataFrame({"c": [1, 2, 3], "since": pd.to_datetime(["2024-01-02", "2024-01-31", "2024-02-09"])})
    >>> named = dict(customer="c", since="since", time="t", amount="a")
    >>> cx.acquisition(who, paid, **named, until="2024-03-01", n_boot=99, seed=1).tidy()["n"].tolist()
    [2, 1]
    """
    require_share("confidence", confidence)
    events = as_table(transactions)
    survey, customer = as_survey(customers), customer or events.roles.get("customer")
    with payments(transactions, until, customer=customer, time=time, amount=amount) as (ask, end, checks):
        end, firsts = complete_until(ask, end, period), ask(FIRSTS)
    merged, recent = joined_since(survey, customer, since, firsts["_first"].min(), end)
    merged = merged.merge(
        firsts.assign(_id=ids_of(firsts.pop("customer"))), on="_id", how="left", validate="one_to_one"
    )
    survey = survey.with_table(merged)
    paid = merged["_first"].notna().to_numpy()
    sample, every = survey.sample(recent & paid, what="new customers"), survey.sample(paid, what="customers")
    chance = dict(confidence=confidence, n_boot=n_boot, seed=seed)
    by, hidden = _by_period(sample, merged, period, survey.min_base, chance)
    whole = pd.DataFrame([_whole("first_order", sample, merged, chance), _whole("revenue", every, merged, chance)])
    first, per = whole.iloc[0], whole.iloc[1]
    crowd = by["n"].iloc[0] / max(by["n"].iloc[1:].median(), 1) if len(by) > 1 else 1.0
    unpaid, early = (
        int((recent & merged["_first"].isna()).sum()),
        int((merged["_first"] < merged["since"].dt.normalize()).sum()),
    )
    checks += (
        Check("new customers of the first period over the median of the others", round(float(crowd), 2), "at most 2; more looks like old customers in a record that was cut", not crowd > 2),
        Check("new customers without a payment", unpaid, "0", unpaid == 0),
        Check("customers who paid before they became one", early, "0", early == 0),
        Check("part of revenue that one customer holds", per["largest_share"], "at most 0.05", bool(per["largest_share"] <= 0.05)),
    )  # fmt: skip
    unit = events.currency or survey.currency
    spans = [interval(r["conf_low"], r["conf_high"], confidence, 0) for r in (first, per)]
    words = say("won", n=number(first["n"], 0), first=by["period"].iloc[0], last=by["period"].iloc[-1], value=money(first["estimate"], unit), span=spans[0]
    ) + " " + say("won_more", median=money(first["median"], unit), top=percent(first["top_share"], 1), all=number(per["n"], 0),
        revenue=money(per["estimate"], unit), spread=spans[1], part=percent(per["top_share"], 1), one=percent(per["largest_share"], 1),
    )  # fmt: skip

    return Statement(
        "acquisition", "first order", "period", by, {"n": first["n"], "method": "mean, BCa interval"}, checks, survey.labels,
        {"whole": whole}, suppressed=int(hidden.sum()), domain=survey.condition, words=words, figure=partial(_orders_by_period, unit=unit),
    )  # fmt: skip


def cohort_retention(
    transactions, *, customer=None, time=None, amount=None, period="month", until=None, since=None, confidence=0.95
) -> Statement:
    """Return the part of each cohort of customers that bought in later periods, and how soon they bought again.

    Parameters
    ----------
    transactions, customer, time, amount, period, until
        As in `acquisition`.
    since : date, optional
        When the record of all customers begins: nobody bought before. Without it the first period's customers are the
        stock, of whom nobody knows when they came: they stand apart and enter no total.

    Returns
    -------
    Statement
        By cohort and age the share (0-1) that bought in that period, with Wilson's interval; cohorts under the floor and
        periods that are not over are left out. Customers have no contract here: "active" says no more than that they
        bought. ``further``: ``by_age`` (cohorts together), ``again`` (share that bought a second time within so many days,
        1 - Kaplan & Meier), ``stock``.

    Raises
    ------
    DataProblem
        Fewer than two complete periods, or no cohort that can be followed.
    TooFewRespondents
        Every cohort is under the floor.

    Examples
    --------
    >>> import pandas as pd
    >>> import cxresearch as cx
    >>> days = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-02-09", "2024-02-29"])
    >>> paid = pd.DataFrame({"c": [1, 2, 2, 3], "t": days, "a": 9.0})
    >>> found = cx.cohort_retention(paid, customer="c", time="t", amount="a", until="2024-03-01", since="2024-01-01")
    >>> found.tidy()["active"].tolist()
    [1]
    """
    require_share("confidence", confidence)
    events = as_table(transactions)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as (ask, end, checks):
        end = complete_until(ask, end, period)
        cells, again = ask(ACTIVE.format(period=period, end=end)), ask(AGAIN.format(period=period, end=end))
    first = cells["cohort"].min()
    begun = first + pd.Timedelta(1, "ns") if since is None else moment("since", since)
    cells, stock = cells[cells["cohort"] >= begun], cells[cells["cohort"] < begun]
    table = _grid(cells, end, period)
    if not len(table):
        raise DataProblem(
            f"no cohort can be followed: nobody was won after {begun.date()} and seen for a whole {period} more; "
            "say with since= when the record of all customers begins, or take shorter periods"
        )
    sizes = table.groupby("cohort", as_index=False)["n"].first()
    small = sizes["cohort"][hidden_cells(sizes, min_base=events.min_base, keys=("cohort",))]
    gone = table["cohort"].isin(small).to_numpy()
    if gone.all():
        raise TooFewRespondents(f"every cohort has fewer than {events.min_base} customers; take longer periods")
    by_age = _shares(table[~gone].groupby("age", as_index=False)[["active", "n"]].sum(), confidence)
    curve = _bought_again(again[again["cohort"].isin(table["cohort"][~gone])], confidence)
    table = _shares(table, confidence)
    table = table.assign(**{c: table[c].mask(gone) for c in table.columns[2:]})
    table["cohort"] = names_of(table["cohort"], period)
    n_stock = int(stock["active"][stock["age"] == 0].sum())
    checks += (
        Check("customers whose first payment may not be their first, left out", n_stock, "information", True, "info"),
        Check("periods from here on are not over, left out", str(end.date()), "information", True, "info"),
    )
    next_one, soon = by_age.iloc[0], curve.iloc[min(1, len(curve) - 1)]
    known = dict(first=table["cohort"][~gone].iloc[0], last=table["cohort"][~gone].iloc[-1], period=period)
    share, late = (percent(r["estimate"], 1) for r in (next_one, soon))
    words = [
        say("active", **known, n=number(next_one["n"], 0), share=share, span=_span(next_one, confidence)),
        say("active_more", days=number(soon["days"], 0), again=late, spread=_span(soon, confidence), stock=number(n_stock, 0)),
    ]  # fmt: skip
    return Statement(
        "cohort_retention", "active customers", "cohort", table, {"n": int(next_one["n"]), "method": "share active, Wilson interval"},
        checks, events.labels, {"by_age": by_age, "again": curve}, suppressed=int(gone.sum()), words=" ".join(words), figure=_matrix,
    )  # fmt: skip


def _grid(cells, end, period) -> pd.DataFrame:
    """Return cohort, age, active and size of every cell of a period that is over, those with nobody too."""
    size = cells[cells["age"] == 0].set_index("cohort")["active"]
    ages = [
        (c, age)
        for c in size.index
        for age in range(1, (end.to_period(PERIODS[period]) - c.to_period(PERIODS[period])).n)
    ]
    found = pd.DataFrame(ages, columns=["cohort", "age"]).merge(cells, how="left", on=["cohort", "age"])
    return found.assign(active=found["active"].fillna(0).astype(int), n=found["cohort"].map(size))


def _shares(table, confidence) -> pd.DataFrame:
    share = table["active"] / table["n"]
    low, high = wilson_interval(share, table["n"], confidence)
    return table.assign(estimate=share, conf_low=low, conf_high=high)


def _bought_again(counts, confidence) -> pd.DataFrame:
    """Return within how many days what share bought again: 1 - Kaplan-Meier of customers counted by days."""
    n = counts["n"].to_numpy(dtype=float)
    errors = lambda influence: (influence.T / n) @ influence  # noqa: E731  # each row is n customers
    at = [days for days in (30, 90, 180, 365) if days < counts["days"].max()] or [int(counts["days"].max())]
    curve = kaplan_meier(counts["days"], counts["again"], weights=n, covariance=errors, at=at, confidence=confidence)
    rows = np.searchsorted(curve.time, at)
    ends = {"estimate": 1 - curve.estimate[rows], "conf_low": 1 - curve.high[rows], "conf_high": 1 - curve.low[rows]}
    return pd.DataFrame({"days": at, **ends, "n": int(n.sum())})


def _span(row, confidence) -> str:
    return interval(100 * row["conf_low"], 100 * row["conf_high"], confidence) + " %"


def _matrix(finding, ax):
    wide = finding.table.pivot(index="cohort", columns="age", values="estimate").astype(float)
    unit = "periods since the first purchase; share of the cohort that bought in that period, %"
    ax = axes_or_new(ax, rows=len(wide) + 2)
    return heat_map(100 * wide, unit=unit, title=finding.title, ax=ax)
