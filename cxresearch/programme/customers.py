"""Whom we win, who is active afterwards, what they are worth and cost, and when a new customer has paid it back.

Efron (1987), BCa; Wilson (1927); Kaplan & Meier (1958); Fieller (1954); Politis & Romano (1992), blocks; Fader, Hardie
& Lee (2005), BG/NBD and Gamma-Gamma; Fader & Hardie (2007), sBG: see docs/methods.md.
"""

from collections import namedtuple
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import optimize, stats
from scipy.special import betaln, digamma, gammaln, hyp2f1

from cxresearch.digits import at_least
from cxresearch.errors import require_choice, require_share
from cxresearch.figures import axes_or_new, heat_map
from cxresearch.findings import CANNOT, ENDS, Finding, ends, interval, number
from cxresearch.inference import critical_value, fieller_interval, percentile_interval, wilson_interval
from cxresearch.inference.events import require_one_id_type
from cxresearch.inference.survival import kaplan_meier
from cxresearch.privacy import hidden_cells, hide_cells, largest_share
from cxresearch.programme.shared import PERIODS, between, dates, ids_of, moment, relation, say, statement
from cxresearch.survey import Survey, as_survey, as_table

Payments = namedtuple("Payments", "ask end checks events customer unit")
DAYS = """WITH days AS (SELECT customer, moment::DATE AS day, min(moment::DATE) OVER (PARTITION BY customer) AS first,
  sum(value) AS value FROM source WHERE value IS NOT NULL AND moment < TIMESTAMP '{end}' GROUP BY 1, 2) """
ROLES = ("acquisition", "service", "retention")
RATIOS = {  # what is divided (a role of costs; all of them) by which count; its columns, and how they are counted
    "cac": ("acquisition", "new", ["time"], "count(*)"),
    "cost_per_contact": ("service", "contacts", ["time"], "count(*)"),
    "retention_cost": ("retention", "customers", ["time", "id"], "count(DISTINCT id)"),
    "cost_of_sale": (None, "revenue", ["time", "amount"], "sum(amount)"),
}
UNITLESS, MONTH = ("cost_of_sale", "clv_to_cac"), 365.25 / 12  # days
FIRSTS = """SELECT customer, min(moment) FILTER (value IS NOT NULL) AS _first, arg_min(value, moment) AS _order,
  sum(net) AS _revenue FROM source GROUP BY customer HAVING count(value) > 0 ORDER BY customer"""
ACTIVE = """SELECT date_trunc('{period}', first)::TIMESTAMP AS cohort, count(DISTINCT customer) AS active,
  date_diff('{period}', cohort, date_trunc('{period}', day)) AS age FROM days GROUP BY ALL ORDER BY cohort, age"""
AGAIN = """, two AS (SELECT first, min(day) FILTER (day > first) AS second FROM days GROUP BY customer, first)
SELECT date_trunc('{period}', first)::TIMESTAMP AS cohort,
  date_diff('day', first, coalesce(second, DATE '{end}' - 1)) AS days, (second IS NOT NULL)::INTEGER AS again,
  count(*) AS n FROM two GROUP BY ALL ORDER BY ALL"""
INCOME = "SELECT customer, moment::DATE AS day, sum(net) AS amount FROM source GROUP BY ALL ORDER BY ALL"
BAND = 0.9, 1.11  # of actual over predicted purchases on hold-out
RUNAWAY = 1e3  # a parameter so large tells of no heterogeneity, not of a value
ENDLESS = 1e4  # of a and b: where leaving does not vary they run away together, and end at a bound that all find alike
STEPS = 6  # of the horizon, each discounted from its middle
TERMS = ("actual", "predicted", "actual_over_predicted", "error", "error_of_history", "clv")
BUYING = """SELECT customer, (count(*) FILTER (day < '{cut}') - 1)::DOUBLE AS x,
  date_diff('day', first, '{cut}') - 1 AS age, date_diff('day', first, max(day) FILTER (day < '{cut}')) AS last,
  (count(*) FILTER (day >= '{cut}'))::DOUBLE AS later, sum(value) FILTER (day < '{cut}') - arg_min(value, day) AS money
FROM days WHERE first < '{cut}' GROUP BY customer, first ORDER BY customer"""
RENEWING = """, due AS (SELECT customer, date_diff('{period}', first, day) AS k, value,
  date_diff('{period}', first, DATE '{cut}') - 1 AS age FROM days),
kept AS (SELECT *, dense_rank() OVER (PARTITION BY customer ORDER BY k) - 1 = k AS met FROM due WHERE age >= 0)
SELECT customer, (count(DISTINCT k) FILTER (met AND k <= age) - 1)::DOUBLE AS x, any_value(age) AS age, x AS last,
  (count(DISTINCT k) FILTER (met AND k > age))::DOUBLE AS later, x * avg(value) AS money
FROM kept GROUP BY customer ORDER BY customer"""
# Rows are cells of customers who are alike: x events after the first, the last at t of T observed.
Model = namedtuple("Model", "names scores starts expected alive history", defaults=[None, None, None])


def elapsed(start, end, period: str) -> int:
    return (end.to_period(PERIODS[period]) - start.to_period(PERIODS[period])).n


@contextmanager
def payments(transactions, until, period=None, **given):
    """Yield `ask`, which answers SQL on orders, `source` (payments of one moment), or on `days`, and their end."""
    with relation(transactions, "transactions", **given) as (rows, columns, events, _):
        require_one_id_type(events.data, columns["customer"])
        paid = rows.filter("customer IS NOT NULL AND time IS NOT NULL AND isfinite(amount)")
        last, n = paid.aggregate("max(time)::DATE + 1, count(*)").fetchall()[0]
        lost = rows.count("*").fetchall()[0][0] - n
        say.refuse_if(not n, "no_payment", until=until)
        end = moment("until", last if until is None else until)  # the day after the last
        sums = "customer, time AS moment, sum(amount) AS net, sum(amount) FILTER (amount >= 0) AS value"
        paid = paid.filter(f"time < TIMESTAMP '{end}'").aggregate(sums)
        ask = lambda sql, end=end, **of: paid.query("source", (DAYS + sql).format(end=end, **of)).df()  # noqa: E731
        say.refuse_if(ask("SELECT 1 FROM days LIMIT 1").empty, "no_payment", until=end.date())
        if period:  # the record ends at `until`, or earlier, where it falls silent for longer than it ever did before
            require_choice("period", period, PERIODS)
            day = ask("SELECT DISTINCT moment::DATE AS day FROM source ORDER BY 1")["day"]
            silence = day.diff().max() if len(day) > 1 else pd.Timedelta(days=1)
            first, last = day.iloc[[0, -1]]
            end = min(end, last + silence).to_period(PERIODS[period]).start_time
            few = elapsed(first, end, period) < 2
            say.refuse_if(few, "one_period", first=first.date(), last=last.date(), period=period)
        known = events, columns["customer"], events.currency or say["no_currency"]
        yield Payments(ask, end, dict(incomplete=(lost, lost == 0)), *known)


def resampled(columns, sample=None, *, n_boot: int, seed) -> np.ndarray:
    """Return the totals (B, k) of columns (n, k) in the replicates of a sample, by default of rows drawn alike."""
    sample = sample or as_survey(pd.DataFrame(index=range(len(columns)))).sample()
    return np.concatenate([weights @ columns for weights in sample.replicates(n_boot, seed=seed)])


def amounts(sample, values, names, *, confidence, n_boot, seed) -> pd.DataFrame:
    """Return by name (sorted) n, the mean of values with its BCa interval, the median, and what the largest hold."""
    groups = pd.Series(values).groupby(names := pd.Series(np.asarray(names, dtype=str), name="term"))
    top = lambda part: part.nlargest(max(len(part) // 100, 1)).sum() / part.sum()  # noqa: E731
    found = groups.agg(n="size", median=partial(middle, sample.weights), top_share=top, largest_share=largest_share)
    member, k = (names.to_numpy(dtype=str)[:, None] == found.index.to_numpy(dtype=str)).astype(float), len(found)
    weights = sample.weights[:, None] * member
    mean = values @ weights / weights.sum(axis=0)
    totals = resampled(np.hstack([values[:, None] * member, member]), sample, n_boot=n_boot, seed=seed)
    with np.errstate(invalid="ignore"):  # a replicate may leave a period empty
        draws = totals[:, :k] / totals[:, k:]
    influence = weights * (values[:, None] - mean)
    spread = np.sum(influence**2, axis=0) ** 1.5
    pull = np.divide(np.sum(influence**3, axis=0), 6 * spread, out=np.zeros(k), where=spread > 0)
    z0 = stats.norm.ppf(np.clip(np.mean(draws < mean, axis=0), 1e-6, 1 - 1e-6))
    z = z0 + stats.norm.ppf([[(1 - confidence) / 2], [(1 + confidence) / 2]])
    places = stats.norm.cdf(z0 + z / (1 - pull * z))
    low, high = ([np.nanquantile(d, p) for d, p in zip(draws.T, row)] for row in places)
    low, high = np.where(found["n"] > 1, (low, high), np.nan)  # one alone does not vary
    return found.assign(**ends("estimate", mean, low, high)).reset_index()[["term", "n", *ENDS, *found.columns[1:]]]


def middle(weights, values: pd.Series) -> float:
    """Return the median of values by weight, the mean of the two in the middle."""
    halves = dict(q=0.5, weights=weights[values.index], method="inverted_cdf")
    return (np.quantile(values, **halves) - np.quantile(-values, **halves)) / 2


def joined_since(survey, customer, since, begin, end) -> tuple[pd.DataFrame, np.ndarray]:
    """Return customers with `_id` and `since`, and who became one within the record; refuse a cut history."""
    say.refuse_if(since is None, "no_since")
    with relation(survey, "customers", customer=customer, time=since) as read:
        when = read.rows.df().set_index("customer")["time"]
    ids = ids_of(survey.table[customer])
    twice = ", ".join(map(repr, ids[ids.duplicated()][:1]))
    say.refuse_if(twice, "twice", customer=customer, value=twice)
    joined = ids.map(when)
    recent = joined.between(begin.normalize(), end, inclusive="left").to_numpy()
    say.refuse_if(not recent.any(), "nobody_new", since=since, first=begin.date(), last=end.date(), latest=joined.max())
    return survey.table.assign(_id=ids, since=joined), recent


def acquisition(
    customers, transactions, *, customer=None, since=None, time=None, amount=None, period="month", until=None,
    confidence=0.95, n_boot=1000, seed,
) -> Finding:  # fmt: skip
    """Return new customers by period, their mean first order, in currency, and revenue per customer (``further``).

    Refused: no `since` (left-truncated), nobody since the record begins, fewer than two complete periods.

    Parameters
    ----------
    customers, transactions : Survey; Table of payments, those of one moment being an order, below zero a return
    customer, time, amount : columns of the payments, where their table does not say; `customer` is called so in both
    since : column of `customers`, when each became one: the first payment of a record that was cut is nobody's first
    period, until : {"week", "month", "quarter", "year"}, only complete ones count; exclusive end of the record

    Examples
    --------
    >>> print(cx.acquisition(study.customers, study.transactions, since="since", n_boot=99, seed=1))
    245 customers were won from 2024-01 to 2024-09; a first order is worth 87.00 EUR on average ...
    """
    require_share("confidence", confidence)
    survey, columns = as_survey(customers), dict(customer=customer, time=time, amount=amount)
    with payments(transactions, until, period, **columns) as paid:
        firsts = paid.ask(FIRSTS)
    merged, recent = joined_since(survey, paid.customer, since, firsts["_first"].min(), paid.end)
    merged = merged.merge(firsts.rename(columns={"customer": "_id"}), on="_id", how="left", validate="one_to_one")
    survey, buys = survey.with_table(merged), merged["_first"].notna().to_numpy()
    new, every = survey.sample(recent & buys, what="new customers"), survey.sample(buys, what="customers")
    chance = dict(confidence=confidence, n_boot=n_boot, seed=seed)
    order, revenue = (merged[c].to_numpy(float)[s.rows] for c, s in (("_order", new), ("_revenue", every)))
    by = amounts(new, order, merged["since"].iloc[new.rows].dt.to_period(PERIODS[period]), **chance)
    by = by.drop(columns="top_share").rename(columns={"term": "period"})
    by = hide_cells(by, min_base=survey.min_base, keys=("period",))
    of = (new, order, "first_order"), (every, revenue, "revenue")
    whole = pd.concat([amounts(s, v, [term] * len(v), **chance) for s, v, term in of], ignore_index=True)
    first, per = whole.iloc[0], whole.iloc[1]
    crowd = round(float(by["n"].iloc[0] / max(by["n"].iloc[1:].median(), 1)), 2) if len(by) > 1 else 1.0
    unpaid, early = int((recent & ~buys).sum()), int((merged["_first"] < merged["since"].dt.normalize()).sum())
    found = dict(crowd=(crowd, not crowd > 2), unpaid=(unpaid, unpaid == 0), early=(early, early == 0))
    found |= dict(dominant=(per["largest_share"], per["largest_share"] <= 0.05))
    known = {**first, **dict(zip(("first", "last"), by["period"].iloc[[0, -1]])), "all": per["n"]}
    known["unit"] = paid.events.currency or survey.currency or paid.unit
    known |= ends("revenue", *per[ENDS]) | dict(part=per["top_share"], one=per["largest_share"])
    question = "acquisition", "first order", "period", by, {"n": first["n"], "method": "mean, BCa interval"}
    figure, further = dict(x="period", columns={"estimate": "o-"}, axes="won"), {"whole": whole}
    more = dict(source=survey, found=paid.checks | found, further=further, figure=figure)
    return statement(["won", "won_more"], known, confidence, *question, **more)


def cohort_retention(
    transactions, *, customer=None, time=None, amount=None, period="month", until=None, since=None, confidence=0.95
) -> Finding:
    """Return the share (0-1; Wilson) of each cohort of customers that bought in later periods: active, not retained.

    And how soon they bought again, 1 - Kaplan & Meier of the days (``further``).
    Refused: fewer than two complete periods, no cohort that can be followed, or none over the floor.

    Parameters
    ----------
    transactions, customer, time, amount, period, until : as in `acquisition`
    since : date, when the record of all customers begins; else the first period's are the stock, and stand apart

    Examples
    --------
    >>> print(cx.cohort_retention(study.transactions, period="quarter"))
    Of 319 customers won from 2024Q2 to 2024Q4, 65.2 % bought in the quarter after ...
    """
    require_share("confidence", confidence)
    with payments(transactions, until, period, customer=customer, time=time, amount=amount) as paid:
        cells, again = (paid.ask(sql, paid.end, period=period) for sql in (ACTIVE, AGAIN))
    floor, end = paid.events.min_base, paid.end
    begun = cells["cohort"].min() + pd.Timedelta(1, "ns") if since is None else moment("since", since)
    sizes = cells[cells["age"] == 0].set_index("cohort")["active"]
    stock, sizes = int(sizes[sizes.index < begun].sum()), sizes[sizes.index >= begun]
    few = f"fewer than {floor}" if 0 < stock < floor else None
    ages = [(cohort, age) for cohort in sizes.index for age in range(1, elapsed(cohort, end, period))]
    say.refuse_if(not ages, "no_cohort", begun=begun.date(), period=period)
    table = pd.DataFrame(ages, columns=["cohort", "age"]).merge(cells, how="left", on=["cohort", "age"])
    table = table.assign(active=table["active"].fillna(0).astype(int), n=table["cohort"].map(sizes))
    sizes = table[table["age"] == 1]
    gone = hidden_cells(sizes, min_base=floor, keys=("cohort",))
    say.refuse_if(gone.all(), "few_cohorts", floor=floor)
    kept, gone = sizes[~gone], table["cohort"].isin(sizes["cohort"][gone])
    again = again[again["cohort"].isin(kept["cohort"])]
    days, each = again["days"], again["n"].to_numpy(dtype=float)  # customers counted by days
    at = [day for day in (30, 90, 180, 365) if day < days.max()] or [int(days.max())]
    errors = dict(covariance=lambda influence: (influence.T / each) @ influence, at=at, confidence=confidence)
    curve = kaplan_meier(days, again["again"], weights=each, **errors)
    left = (1 - part[np.searchsorted(curve.time, at)] for part in (curve.estimate, curve.high, curve.low))
    again = pd.DataFrame({"days": at, **ends("estimate", *left), "n": int(each.sum())})
    share = table["active"] / table["n"]
    table = table.assign(**ends("estimate", share, *wilson_interval(share, table["n"], confidence)))
    table = table.assign(**{c: table[c].mask(gone) for c in table.columns[2:]})
    table["cohort"] = table["cohort"].dt.to_period(PERIODS[period]).astype(str)
    n, names, soon = int(kept["n"].sum()), table["cohort"][kept.index], again.iloc[min(1, len(again) - 1)]
    share = kept["active"].sum() / n
    known = ends("share", share, *wilson_interval(share, n, confidence)) | ends("again", *soon[ENDS])
    known |= dict(first=names.iloc[0], last=names.iloc[-1], period=period, days=soon["days"], stock=few or f"{stock:,}")
    question = "cohort_retention", "active customers", "cohort", table, {"n": n, "method": say["cohort_method"]}
    found = paid.checks | dict(stock=(few or stock, True, "info"), not_over=(str(end.date()), True, "info"))
    more = dict(source=paid.events, found=found, further={"again": again}, figure=_matrix)
    return statement(["active", "active_more"], known, confidence, *question, **more)


def _matrix(finding, ax):
    wide = finding.table.pivot(index="cohort", columns="age", values="estimate").astype(float)
    return heat_map(100 * wide, unit=say["cohort_axis"], title=finding.title, ax=axes_or_new(ax, rows=len(wide) + 2))


def _spent(events, given, roles) -> tuple[pd.DataFrame, str]:
    """Return period, kind and amount of costs, and the length of their periods; refuse roles that say nothing."""
    wrong = sorted(set(roles.values()) - set(ROLES))
    say.refuse_if(wrong or not roles, "no_roles", known=", ".join(ROLES), found=wrong or "none")
    with relation(events, "costs", **given) as (rows, columns, *_):
        spent = rows.project(f"period, coalesce(kind::VARCHAR, '{say['no_kind_said']}') AS kind, amount").df()
    kinds, stray = sorted(set(spent["kind"])), sorted(set(roles) - set(spent["kind"]))
    say.refuse_if(stray, "no_kind", stray=", ".join(map(repr, stray)), kinds=", ".join(kinds))
    text, at = ids_of(spent["period"]), dates(spent["period"])
    years = text.str.fullmatch(r"\d{4}")
    length = "year" if years.all() else "quarter" if text.str.contains("Q").any() else "month"
    for key, those in ("no_period", at.isna()), ("mixed_periods", years & (length != "year")):
        label = ", ".join(map(repr, text[those][:1]))
        say.refuse_if(label, key, where=columns["period"], label=label)
    return spent.assign(period=at.dt.to_period(PERIODS[length])), length


def _ratio(term, cost, record, given, length, n_boot, seed, confidence) -> tuple:
    """Return a ratio of sums over the periods of both records; errors from circular blocks of sqrt(n) periods."""
    (_, count, roles, counted), (table, *named) = RATIOS[term], given
    said = dict(columns=", ".join(("table", *roles)), n=1 + len(named) - named.count(None), needed=1 + len(roles))
    say.refuse_if(len(named) != len(roles) or None in named, "no_counted", count=count, **said)
    with relation(table, count, **dict(zip(roles, named))) as read:
        by = read.rows.filter("time IS NOT NULL").aggregate(f"date_trunc('{length}', time) AS at, {counted} AS n").df()
    by = by.set_index(by["at"].dt.to_period(record.freq))["n"]
    seen = record[:0] if by.empty else record[(record >= by.index.min()) & (record <= by.index.max())]
    pairs = np.column_stack([part.reindex(seen).fillna(0.0).to_numpy(dtype=float) for part in (cost, by)])  # none is 0
    (n, _), (top, bottom) = pairs.shape, pairs.sum(axis=0)
    for key, wrong in ("one_month", n < 2), ("no_count", bottom <= 0):
        say.refuse_if(wrong, key, name=say["name_" + term], count=count, n=n)
    size = min(int(np.ceil(np.sqrt(n))), n // 2)
    blocks = -(-n // size)
    start = np.random.default_rng(seed).integers(0, n, size=(n_boot, blocks, 1))
    at = (start + np.arange(size)).reshape(n_boot, -1)[:, :n] % n
    spread = np.cov(pairs[at].sum(axis=1).T) * blocks / (blocks - 1)
    errors = dict(confidence=confidence, df=blocks - 1)
    return term, top / bottom, *fieller_interval(top, bottom, np.diag(spread), spread[0, 1], **errors), top, bottom, n


def cost_ratios(
    costs, *, period=None, kind=None, amount=None, counts, roles, share_for_acquisition=None, lifetime=None,
    n_boot=1000, confidence=0.95, seed,
) -> Finding:  # fmt: skip
    """Return the cost to win a customer, per contact, to keep a customer and of sales, in currency.

    Ratios of sums over the periods that both hold, Fieller's interval; errors from blocks of neighbouring periods.
    Refused: no roles, no share, one period, several currencies, nobody won.

    Parameters
    ----------
    costs, period, kind, amount : Table, one row per kind and period; its columns, where it does not say
    counts : dict: new, contacts -> (table, time); customers -> (table, time, id); revenue -> (table, time, amount)
    roles : dict, kind of cost -> acquisition, service or retention. Every kind is in the cost of sales.
    share_for_acquisition : float, part of acquisition costs, 0-1, that wins new customers: no default can be assumed
    lifetime : Lifetime, for lifetime value over the cost to win a customer, where it is established

    Examples
    --------
    >>> counts = {"contacts": (study.interactions, "time")}
    >>> print(cx.cost_ratios(study.costs, counts=counts, roles=study.cost_roles, seed=1))
    Cost per contact is 18.33 EUR ...
    """
    require_share("confidence", confidence)
    events, rows, roles = as_table(costs), [], {str(kind): role for kind, role in (roles or {}).items()}
    spent, length = _spent(events, {"period": period, "kind": kind, "amount": amount}, roles)
    unknown = sorted(set(counts) - {count for _, count, *_ in RATIOS.values()})
    say.refuse_if(unknown, "unknown_count", found=", ".join(unknown))
    say.refuse_if("new" in counts and not between(share_for_acquisition, 0, 1), "no_share", share=share_for_acquisition)
    record = pd.period_range(spent["period"].min(), spent["period"].max())
    for term, (role, count, *_) in RATIOS.items():
        if count in counts and (role is None or role in roles.values()):
            of = spent if role is None else spent[spent["kind"].map(roles) == role]
            cost = of.groupby("period")["amount"].sum() * (share_for_acquisition if term == "cac" else 1.0)
            rows.append(_ratio(term, cost, record, counts[count], length, n_boot, seed, confidence))
    say.refuse_if(not rows, "no_ratio", roles=", ".join(roles.values()), counts=", ".join(counts) or "none")
    table = pd.DataFrame(rows, columns=["term", *ENDS, "numerator", "denominator", "n"])
    most, lost = int(table["n"].max()), len(record) - int(table["n"].min())
    floor = max(getattr(given[0], "min_base", 1) for given in counts.values())
    few = table["term"].ne("cost_of_sale") & (table["denominator"] < floor)
    table = table.assign(**{c: table[c].mask(few) for c in table.columns[1:]})
    unpriced = int(spent["amount"].isna().sum())
    found = dict(unpriced=(unpriced, False)) if unpriced else {}
    loose = ", ".join(sorted(set(spent["kind"]) - set(roles)))
    found |= dict(loose=(loose or "none", not loose), periods=(most, most >= 12), unreached=(lost, lost == 0))
    if lifetime is not None and "cac" in set(table["term"]):
        stands = bool(lifetime.established)
        found |= dict(lifetime=("established" if stands else "not established", stands))
        if stands:
            clv, cac = lifetime.table.set_index("term").loc["clv"], table.set_index("term").loc["cac"]
            top, bottom, width = clv["estimate"], cac["estimate"], 2 * critical_value(confidence)
            errors = [((row["conf_high"] - row["conf_low"]) / width) ** 2 for row in (clv, cac)]
            span = fieller_interval(top, bottom, errors, confidence=confidence)
            table.loc[len(table)] = ["clv_to_cac", top / bottom, *span, top, bottom, cac["n"]]
    shown, told, names, money = table.dropna(subset="estimate"), [], [], f" {events.currency or say['no_currency']}"
    for r in shown.itertuples():
        name, value = say["name_" + r.term], number(r.estimate, 2) + money * (r.term not in UNITLESS)
        told.append(say("cost", name=name, value=value, span=span_of(r.conf_low, r.conf_high, confidence), n=r.n))
        names.append(f"{name}: {value}")
    rest = "; ".join([*told[1:2], *(t[0].lower() + t[1:] for t in told[2:])])
    whole = f"{told[0]}. {rest}." if rest else f"{told[0]}." if told else say["no_base"]
    question = "cost_ratios", ", ".join(table["term"]), None, table, {"n": most, "method": say["ratio_method"]}
    drawn = dict(names=names, scale=1 / shown["estimate"], unit="interval over estimate", line=1.0)  # no unit in common
    return statement(["whole"], {"whole": whole}, confidence, *question, source=events, found=found, drawn=drawn)


def span_of(low, high, confidence) -> str:
    """Return an interval in words, also where it has no ends."""
    return interval(low, high, confidence, 2) if np.isfinite([low, high]).all() else "an interval without ends"


def payback(
    customers, transactions, *, customer=None, since=None, time=None, amount=None, until=None, cost, margin=1.0,
    n_boot=1000, confidence=0.95, min_rows=30, seed,
) -> Finding:  # fmt: skip
    """Return the month in which the margin of a new customer, in currency, reaches what it cost to win one.

    Each month's margin is the mean of those seen in all of it; the interval, from resamples of customers and of the
    cost, has no end where some never pay back in what was seen.
    Refused: a cost that is not above 0, nobody new, or (TooFewRespondents) fewer than `min_rows` seen for a month.

    Parameters
    ----------
    customers, transactions, customer, since, time, amount, until : as in `acquisition`; who never paid counts
    cost : number, to win a customer, or a finding of `cost_ratios` with its interval
    margin, min_rows : part of a payment that is margin, returns taken off; fewest customers to be seen for a month

    Examples
    --------
    >>> print(cx.payback(study.customers, study.transactions, since="since", cost=20, margin=0.5, n_boot=50, seed=1))
    A new customer has paid back 20.00 EUR after ...
    """
    require_share("confidence", confidence)
    say.refuse_if(not between(margin, 0, 1), "no_terms")
    survey, price, low, high = as_survey(customers), cost, cost, cost
    if isinstance(cost, Finding):
        why = cost.sentence().removeprefix(CANNOT.capitalize()).rstrip(".")
        say.refuse_if("cac" not in set(cost.table["term"]), "no_price", why=why)
        price, low, high = cost.table.set_index("term").loc["cac", ENDS]
    say.refuse_if(not pd.api.types.is_number(price), "no_price", why=f"cost={price!r}")
    bounded = price > 0 and low > 0 and np.isfinite(high)
    say.refuse_if(not bounded, "wrong_price", price=number(price, 2), span=span_of(low, high, confidence))
    spread = np.log(high / low) / (2 * critical_value(confidence))  # of the log of the cost
    with payments(transactions, until, customer=customer, time=time, amount=amount) as paid:
        rows = paid.ask(INCOME)
    merged, new = joined_since(survey, paid.customer, since, rows["day"].min(), paid.end)
    new = survey.with_table(merged[new].reset_index(drop=True))
    sample = new.sample(what="new customers")
    merged = new.table.iloc[sample.rows].reset_index(drop=True)
    joined = merged["since"].dt.normalize()  # paid on that day is paid afterwards
    rows = rows.merge(merged["_id"].rename_axis("row").reset_index(), left_on="customer", right_on="_id")
    rows["k"] = np.floor((rows["day"] - joined[rows["row"]].to_numpy()).dt.days / MONTH).astype(int)
    seen = np.floor((paid.end - joined).dt.days.to_numpy() / MONTH)
    floor = max(min_rows, survey.min_base, paid.events.min_base)
    months = int(np.sort(seen)[::-1][floor - 1]) if len(seen) >= floor else 0
    say.refuse_if(months < 1, "few_seen", floor=floor, n=len(seen))
    known, income = (np.arange(months) < seen[:, None]).astype(float), np.zeros((len(seen), months))
    rows = rows[(rows["k"] >= 0) & (rows["k"] < np.minimum(seen, months)[rows["row"]])]
    np.add.at(income, (rows["row"], rows["k"]), margin * rows["amount"])
    totals = resampled(np.hstack([income, known]), sample, n_boot=n_boot, seed=seed)
    draws, n = np.cumsum(totals[:, :months] / totals[:, months:], axis=1), known.sum(axis=0).astype(int)
    so_far = np.cumsum((sample.weights @ income) / (sample.weights @ known))
    prices = price * np.exp(spread * np.append(0.0, np.random.default_rng(seed).normal(size=len(draws))))
    reached, tails = at_least(np.vstack([so_far, draws]), prices[:, None]), [(1 - confidence) / 2, (1 + confidence) / 2]
    month, *months_of = np.where(reached.any(axis=1), 1.0 + np.argmax(reached, axis=1), np.inf)
    low, high = np.quantile(months_of, tails, method="inverted_cdf")
    table = pd.DataFrame({"age": np.arange(1, months + 1), "earned": so_far})
    table = table.assign(**dict(zip(ENDS[1:], np.quantile(draws, tails, axis=0))), n=n)
    key = "not_paid_back" if np.isinf(month) else "paid_back_open" if np.isinf(high) else "paid_back"
    known = dict(cost=price, unit=paid.unit, seen=months, margin=so_far[-1], **ends("month", month, low, high))
    summary = {"n": int(n[0]), "method": say["payback_method"], "payback": month}
    question = "payback", "margin", None, table, summary | dict(established=bool(np.isfinite(high)))
    figure = dict(x="age", columns={"earned": "o-"}, dashed=("axhline", price), axes="payback")
    return statement([key], known, confidence, *question, source=paid.events, found=paid.checks, figure=figure)


def _bg_nbd(theta, x, t, T):
    """Return loglik (n,) and its slopes (n, 4); special functions once for each number of events."""
    (r, alpha, a, b), (each, of) = theta, np.unique(x, return_inverse=True)
    now, last, left = np.log(alpha + T), np.log(alpha + t), np.maximum(b + x - 1, 1e-300)
    stays = -(r + x) * now
    leaves = np.where(x > 0, np.log(a) - np.log(left) - (r + x) * last, -np.inf)
    total = np.logaddexp(stays, leaves)
    q = np.exp(leaves - total)
    whole = gammaln(r + each) - gammaln(r) + r * np.log(alpha) + betaln(a, b + each) - betaln(a, b)
    both = digamma(a + b) - digamma(a + b + each)
    slopes = (
        (digamma(r + each) - digamma(r))[of] + np.log(alpha) - (1 - q) * now - q * last,
        r / alpha - (r + x) * ((1 - q) / (alpha + T) + q / (alpha + t)),
        both[of] + q / a,
        (both + digamma(b + each) - digamma(b))[of] - q / left,
    )
    return whole[of] + total, np.stack(slopes, axis=1)


def _bg_nbd_alive(theta, x, t, T):
    r, alpha, a, b = theta
    return 1 / (1 + (x > 0) * a / np.maximum(b + x - 1, 1e-300) * ((alpha + T) / (alpha + t)) ** (r + x))


def _bg_nbd_expected(theta, x, t, T, more):
    """Return purchases expected in `more` time: Euler's form of 2F1, small for large x, the plain one for large a."""
    r, alpha, a, b = theta
    a = a + 1e-7 * (abs(a - 1) < 1e-7)
    z = more / (alpha + T + more)
    with np.errstate(all="ignore"):
        missed = (1 - z) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, z)
        plain = (1 - z) ** (r + x) * hyp2f1(r + x, b + x, a + b + x - 1, z)
    bought = 1 - np.where(np.isfinite(missed), missed, plain)
    return (a + b + x - 1) / (a - 1) * bought * _bg_nbd_alive(theta, x, t, T)


def _sbg(theta, x, t, T):
    left, stayed = theta[0] + (x < T), theta[1] + x  # who left has missed one payment after x
    both = digamma(theta.sum()) - digamma(left + stayed)
    slopes = (digamma(left) - digamma(theta[0]) + both, digamma(stayed) - digamma(theta[1]) + both)
    return betaln(left, stayed) - betaln(*theta), np.stack(slopes, axis=1)


def _sbg_expected(theta, x, t, T, more):
    a, b = theta
    ahead = np.arange(1, int(round(more)) + 1)
    stays = np.exp(betaln(a, b + T[:, None] + ahead) - betaln(a, b + T[:, None])).sum(axis=1)
    return np.where(x < T, 0.0, stays)


def _gamma_gamma(theta, x, m, _):
    p, q, scale = theta
    whole, shape, money = np.log(scale + m * x), p * x + q, np.log(m) + np.log(x)
    loglik = gammaln(shape) - gammaln(p * x) - gammaln(q) + q * np.log(scale) + p * x * money
    slopes = (
        x * (digamma(shape) - digamma(p * x) + money - whole),
        digamma(shape) - digamma(q) + np.log(scale) - whole,
        q / scale - shape / (scale + m * x),
    )
    return loglik - np.log(m) - shape * whole, np.stack(slopes, axis=1)


MODELS = {
    "bg_nbd": Model(
        ("r", "alpha", "a", "b"), _bg_nbd, lambda t: [(0.5, 5.0, 0.5, 2.0)], _bg_nbd_expected, _bg_nbd_alive,
        lambda x, T, more, counts: x / np.maximum(T, 1 / 7) * more,
    ),
    "sbg": Model(
        ("a", "b"), _sbg, lambda t: [(1.0, 1.0)], _sbg_expected, lambda theta, x, t, T: (x >= T) * 1.0,
        lambda x, T, more, counts: np.where(x < T, 0.0, more * (counts @ x) / (counts @ np.minimum(x + 1, T))),
    ),  # of Gamma-Gamma, x are payments and t their mean; its likelihood has runaway ridges
    "gamma_gamma": Model(
        ("p", "q", "scale"), _gamma_gamma,
        lambda t: [(p, q, (q - 1) * t / p) for p, q in ((1.0, 2.0), (6.0, 4.0), (2.0, 10.0))],
    ),
}  # fmt: skip


def slope(total, theta, step: float = 1e-4) -> np.ndarray:
    """Return how a total moves with the log of each parameter."""
    ways = step * np.eye(len(theta))
    return np.array([(total(theta * np.exp(s)) - total(theta * np.exp(-s))) / (2 * step) for s in ways])


class Fitted:
    """A model fitted by maximum likelihood to cells of alike customers; `influence` (n, p) is theirs on log theta."""

    def __init__(self, name: str, x, t, T):
        alike = pd.DataFrame({"x": x, "t": t, "T": T}).groupby(["x", "t", "T"])
        cells = alike.size().reset_index(name="count").astype(float)
        *self.cells, self.counts = cells.to_numpy().T.copy()
        self.model, self.cell = MODELS[name], alike.ngroup().to_numpy()
        scores, counts, n = self.model.scores, self.counts, self.counts.sum()

        def target(log):
            with np.errstate(all="ignore"):
                loglik, slopes = scores(np.exp(log), *self.cells)
            return -(counts @ loglik) / n, -(counts @ slopes) * np.exp(log) / n

        most = np.array([np.log(ENDLESS) if part in ("a", "b") else 16.0 for part in self.model.names])
        given = dict(jac=True, bounds=[(-16, limit) for limit in most], method="L-BFGS-B")
        given["options"] = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
        tried = (optimize.minimize(target, np.log(s), **given) for s in self.model.starts(counts @ self.cells[1] / n))
        log = min(tried, key=lambda found: found.fun).x
        for _ in range(3):  # Newton's last steps
            hessian = slope(lambda theta: target(np.log(theta))[1], np.exp(log), 1e-5)
            free = log < most - 1e-6
            hessian = (hessian + hessian.T)[np.ix_(free, free)] / 2
            move = np.linalg.lstsq(hessian, target(log)[1][free], rcond=1e-12)[0]
            log[free] -= move if np.abs(move).max() < 0.1 else 0.0
        self.theta = np.exp(log)
        loglik, slopes = scores(self.theta, *self.cells)
        self.loglik, influence = float(counts @ loglik), np.zeros_like(slopes)  # none on what stands at its bound
        influence[:, free] = (slopes * self.theta)[:, free] @ np.linalg.inv(n * hessian)
        self.influence = influence[self.cell]

    def parameters(self, confidence: float) -> pd.DataFrame:
        """Return the parameters with intervals by robust errors of their logs; none for those that run away."""
        away, pair = self.theta >= RUNAWAY, np.isin(self.model.names, ("a", "b"))  # a pair has but a ratio
        known = np.where(away | (pair & (away & pair).any()), np.nan, self.theta)
        reach = np.exp(critical_value(confidence) * np.sqrt(np.sum(self.influence**2, axis=0)))
        return pd.DataFrame({"term": self.model.names, **ends("estimate", known, known / reach, known * reach)})

    def expected(self, edges, discount=(1.0,), theta=None) -> np.ndarray:
        """Return purchases expected of each customer up to the edges, each step discounted."""
        upto = [self.model.expected(self.theta if theta is None else theta, *self.cells, edge) for edge in edges]
        return (np.diff(np.array(upto), axis=0, prepend=0.0).T @ discount)[self.cell]


@dataclass(frozen=True, repr=False, eq=False)
class Lifetime(Finding):
    """What the model foretold, and what a customer is worth; `augment` gives it by customer."""

    customers: pd.DataFrame = None

    def augment(self, table, *, customer: str) -> Survey:
        """Return customers with ``expected`` purchases, ``alive`` (missing for who bought once) and ``clv``."""
        survey, told = as_survey(table), self.customers.rename(columns={"customer": "_id"})
        rows = survey.table.assign(_id=ids_of(survey.table[customer])).merge(told, on="_id", how="left")
        return survey.with_table(rows.drop(columns="_id"))


def _held_out(told, later, ahead, chance, confidence) -> tuple[pd.Series, np.ndarray]:
    """Return what was held out against what was predicted, by the model and by each customer's own history."""
    predicted = told.expected([ahead])
    named = ", ".join(f"{name} = {value:.3g}" for name, value in zip(told.model.names, told.theta))
    say.refuse_if(not (np.isfinite(predicted).all() and predicted.sum() > 0), "unsettled", named=named)
    move = slope(lambda theta: told.expected([ahead], theta=theta).sum(), told.theta)
    draws = resampled(np.column_stack([later, predicted + told.influence @ move]), **chance)
    low, high = percentile_interval(draws[:, 0] / draws[:, 1], confidence)
    history = told.model.history(told.cells[0], told.cells[2], ahead, told.counts)[told.cell]
    errors = dict(error=np.abs(predicted - later).mean(), history=np.abs(history - later).mean())
    said = dict(actual=later.sum(), predicted=predicted.sum(), ratio=later.sum() / predicted.sum())
    return pd.Series(said | errors | dict(low=low, high=high)), predicted


def _worth(final, rows, length, horizon, discount_rate, stands, chance, confidence) -> tuple:
    """Return money to come per customer with the parameters' interval, what is known of each, checks of the money."""
    x, contract = final.cells[0][final.cell], final.model is MODELS["sbg"]  # whose payment is known
    alive = np.where(x > 0, final.model.alive(final.theta, *final.cells)[final.cell], np.nan)
    customers = rows[["customer"]].assign(expected=final.expected([length]), alive=alive, clv=np.nan)
    paid, found, spent = ((x > 0) & (rows["money"] > 0)).to_numpy(), {}, None
    mean = np.where(paid, rows["money"], 0.0) / np.maximum(x, 1)
    if not contract:
        varied = paid.any() and np.ptp(x[paid]) * np.ptp(mean[paid]) > 0
        bound = round(float(np.corrcoef(x[paid], mean[paid])[0, 1]), 3) if varied else 0.0
        found["bound"] = bound, abs(bound) <= 0.2, "stops"
        spent = Fitted("gamma_gamma", x[paid], mean[paid], x[paid]) if paid.any() else None
        if spent is None or spent.theta[0] > RUNAWAY or spent.theta[1] <= 1:
            found["money"] = say["runaway"], False, "stops"
    if not (stands and all(ok for _, ok, _ in found.values())):
        return np.full(3, np.nan), customers, found

    def value(theta):  # the mean payment expected of a customer
        if contract:
            return np.where(paid, mean, mean[paid].mean())
        p, q, scale = theta
        return p * (scale + mean * x) / (p * x * paid + q - 1)

    def coming(theta):
        return final.expected(np.linspace(0, length, STEPS + 1)[1:], discount, theta)

    discount = (1 + discount_rate) ** -((np.arange(STEPS) + 0.5) * horizon / 12 / STEPS)
    expected, each = coming(final.theta), value(spent and spent.theta)
    totals = expected * each + final.influence @ slope(lambda theta: each @ coming(theta), final.theta)
    if spent:
        totals[paid] += spent.influence @ slope(lambda theta: value(theta) @ expected, spent.theta)
    draws = resampled(np.column_stack([totals, np.ones(len(x))]), **chance)
    span = percentile_interval(draws[:, 0] / draws[:, 1], confidence)
    return np.array([expected @ each / len(x), *span]), customers.assign(clv=expected * each), found


def fit_lifetime(
    transactions, *, customer=None, time=None, amount=None, until=None, holdout=1 / 3, horizon=12, margin=1.0,
    discount_rate=0.1, model="bg_nbd", period="month", n_boot=200, confidence=0.95, min_rows=100, seed,
) -> Lifetime:  # fmt: skip
    """Return what a customer is worth over the months to come, if the model foretells what it was not shown.

    Established only if the interval of actual over predicted lies within 0.9 to 1.11 and the mean error by customer is
    below that of each one's history. The interval of ``clv`` is the parameters' times that of actual over predicted.
    Refused: nobody buys twice, the record is too short, or (TooFewRespondents) fewer than `min_rows` customers.

    Parameters
    ----------
    transactions, customer, time, amount, until : as in `acquisition`; the purchases of a customer on one day are one
    holdout : float, last part of the record, 0-1, that the model must foretell
    horizon, margin, discount_rate : months; part of a payment that is margin; per year
    model : {"bg_nbd", "sbg"}, customers who leave unseen; or who pay once every `period` until they leave
    n_boot, min_rows : resamples of customers (parameters take one Newton step in each); fewest customers to fit

    Examples
    --------
    >>> print(cx.fit_lifetime(study.transactions, until="2025-01-01", n_boot=50, seed=1))
    Customer lifetime value is not established: ...
    """
    require_choice("model", model, ("bg_nbd", "sbg"))
    require_choice("period", period, PERIODS)
    for name, value in (("confidence", confidence), ("holdout", holdout)):
        require_share(name, value)
    say.refuse_if(not (between(margin, 0, 1) and between(horizon, 0) and between(discount_rate, -1)), "no_terms")
    buying, chance = model == "bg_nbd", dict(n_boot=n_boot, seed=seed)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as paid:
        start, end = paid.ask("SELECT min(moment) AS first FROM source")["first"][0], paid.end
        cut = (start + (1 - holdout) * (end - start)).ceil("D")
        if not buying:
            cut, end = (m.to_period(PERIODS[period]).start_time for m in (cut, end))
        found = [paid.ask(BUYING if buying else RENEWING, end, cut=m.date(), period=period) for m in (cut, end)]
    # by what they did, not by id: pseudonyms sort otherwise in every run, and the bootstrap draws by place
    order = dict(by=list(found[0])[1:], kind="stable", ignore_index=True)
    past, whole = (rows[rows["age"] >= (not buying)].sort_values(**order) for rows in found)
    say.refuse_if(len(past) < min_rows, "few_customers", n=len(past), cut=cut.date(), floor=min_rows)
    say.refuse_if(not past["x"].any() or end <= cut, "nobody_twice", cut=cut.date())
    unit, ahead, length = 7.0, (end - cut).days / 7, horizon * 365.25 / 12 / 7
    if not buying:
        unit, ahead = 1.0, elapsed(cut, end, period)
        length = max(elapsed(end, end + pd.DateOffset(months=int(horizon)), period), 1)
    told, final = (Fitted(model, rows["x"], rows["last"] / unit, rows["age"] / unit) for rows in (past, whole))
    said, predicted = _held_out(told, past["later"].to_numpy(), ahead, chance, confidence)
    close, better = BAND[0] <= said["low"] and said["high"] <= BAND[1], said["error"] < said["history"]
    clv, customers, more = _worth(final, whole, length, horizon, discount_rate, close and better, chance, confidence)
    customers["clv"] *= margin
    clv, stands = margin * clv * (1, min(said["low"], 1), max(said["high"], 1)), bool(np.isfinite(clv[0]))
    table = pd.DataFrame({"term": TERMS, "estimate": [*said[:5], clv[0]]}).assign(conf_low=np.nan, conf_high=np.nan)
    table.loc[[2, 5], ENDS[1:]] = [said[["low", "high"]].tolist(), clv[1:]]
    past = past.assign(earlier=np.minimum(past["x"], 7).astype(int), predicted=predicted)
    means = dict(actual=("later", "mean"), predicted=("predicted", "mean"), n=("later", "size"))
    hiding = dict(min_base=paid.events.min_base, keys=("earlier",))
    groups = hide_cells(past.groupby("earlier").agg(**means).reset_index(), **hiding)
    key = "worth" if stands else "worth_no_money" if close and better else "worth_open"
    known = {**said, **ends("clv", *clv), **ends("ratio", *said[["ratio", "low", "high"]])}
    known |= dict(horizon=horizon, unit=paid.unit, events=say["of_" + model])
    gap, spread = float(said["error"] - said["history"]), interval(said["low"], said["high"], confidence, 2)
    found = paid.checks | dict(foretold=(spread, close, "stops"), gap_error=(gap, better, "stops")) | more
    summary = {"n": len(past), "method": say["model_" + model], "established": stands}
    return statement(
        [key, f"{key}_more"], known, confidence, "fit_lifetime", "clv", None, table, summary, kind=Lifetime,
        source=paid.events, found=found, customers=customers,
        further=dict(parameters=told.parameters(confidence), holdout=groups),
        figure=dict(of="holdout", x="earlier", columns={"actual": "o", "predicted": "-"}, axes="foretold"),
    )  # fmt: skip
