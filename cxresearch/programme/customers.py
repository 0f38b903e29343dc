"""Whom we win, who is active afterwards, what it costs, and when a new customer has paid it back.

Efron (1987), J. American Statistical Association 82:171-185 (BCa); Wilson (1927); Kaplan & Meier; Fieller (1954);
Kuensch (1989), Annals of Statistics 17:1217-1241 (blocks, here closed to a circle: Politis & Romano 1992).
"""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.digits import at_least
from cxresearch.errors import require_columns, require_share
from cxresearch.figures import axes_or_new, heat_map
from cxresearch.findings import CANNOT, ENDS, Finding, ends, interval, number
from cxresearch.inference import critical_value, fieller_interval, wilson_interval
from cxresearch.inference.survival import kaplan_meier
from cxresearch.privacy import hidden_cells, hide_cells, largest_share
from cxresearch.programme.shared import PERIODS, elapsed, ids_of, moment, payments, relation, resampled, say, statement
from cxresearch.survey import as_survey, as_table

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
  date_diff('day', first, coalesce(second, DATE '{end}')) AS days, (second IS NOT NULL)::INTEGER AS again, count(*) AS n
FROM two GROUP BY ALL ORDER BY ALL"""
INCOME = "SELECT customer, moment::DATE AS day, sum(net) AS amount FROM source GROUP BY ALL ORDER BY ALL"


def amounts(sample, values, names, *, confidence, n_boot, seed) -> pd.DataFrame:
    """Return by name (sorted) n, the mean of values with its BCa interval, the median, and what the largest hold."""
    groups = pd.Series(values).groupby(names := np.asarray(names, dtype=str))
    top = lambda part: part.nlargest(max(len(part) // 100, 1)).sum() / part.sum()  # noqa: E731
    found = groups.agg(n="size", median="median", top_share=top, largest_share=largest_share).rename_axis("term")
    member, k = (names[:, None] == found.index.to_numpy(dtype=str)).astype(float), len(found)
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
    return found.assign(**ends("estimate", mean, low, high)).reset_index()[["term", "n", *ENDS, *found.columns[1:]]]


def joined_since(survey, customer, since, begin, end) -> tuple[pd.DataFrame, np.ndarray]:
    """Return customers with `_id` and `since`, and who became one within the record; refuse a cut history."""
    say.refuse_if(since is None, "no_since")
    require_columns(survey.table, customer, since, where="customers")
    joined = pd.to_datetime(survey.table[since], errors="coerce").dt.tz_localize(None)  # as the clock showed them
    recent = joined.between(begin.normalize(), end, inclusive="left").to_numpy()
    record = dict(since=since, first=begin.date(), last=end.date(), latest=joined.max())
    say.refuse_if(not recent.any(), "nobody_new", **record)
    ids = ids_of(survey.table[customer])
    twice = ", ".join(map(repr, ids[ids.duplicated()][:1]))
    say.refuse_if(twice, "twice", customer=customer, value=twice)
    return survey.table.assign(_id=ids, since=joined), recent


def acquisition(
    customers, transactions, *, customer=None, since=None, time=None, amount=None, period="month", until=None,
    confidence=0.95, n_boot=1000, seed,
) -> Finding:  # fmt: skip
    """Return new customers by period, their mean first order, in currency, and revenue per customer (``further``).

    Parameters
    ----------
    customers, transactions : Survey; Table of payments, those of one moment being an order, below zero a return
    customer, time, amount : columns of the payments, where their table does not say; `customer` is called so in both
    since : column of `customers`, when each became one: the first payment of a record that was cut is nobody's first
    period : {"week", "month", "quarter", "year"}, only complete ones count
    until : date, exclusive end of the record, by default after the day of the last payment

    Raises
    ------
    DataProblem : no `since` (left-truncated), nobody since the record begins, fewer than two complete periods.

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
    firsts = firsts.assign(_id=ids_of(firsts.pop("customer")))
    merged = merged.merge(firsts, on="_id", how="left", validate="one_to_one")
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
    """Return the share (0-1; Wilson) of each cohort of customers that bought in later periods: active, not retained;
    and how soon they bought again, 1 - Kaplan & Meier of the days (``further``).

    Parameters
    ----------
    transactions, customer, time, amount, period, until : as in `acquisition`
    since : date, when the record of all customers begins; else the first period's are the stock, and stand apart

    Raises
    ------
    DataProblem : fewer than two complete periods, no cohort that can be followed, or none over the floor.

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
    known = dict(
        first=names.iloc[0], last=names.iloc[-1], period=period, days=soon["days"], stock=few or number(stock, 0)
    )
    known |= ends("share", share, *wilson_interval(share, n, confidence)) | ends("again", *soon[ENDS])
    summary = {"n": n, "method": "share active, Wilson interval"}
    question = "cohort_retention", "active customers", "cohort", table, summary
    found = paid.checks | dict(stock=(few or stock, True, "info"), not_over=(str(end.date()), True, "info"))
    more = dict(source=paid.events, found=found, further={"again": again}, figure=_matrix)
    return statement(["active", "active_more"], known, confidence, *question, **more)


def _matrix(finding, ax):
    wide = finding.table.pivot(index="cohort", columns="age", values="estimate").astype(float)
    ax = axes_or_new(ax, rows=len(wide) + 2)
    return heat_map(100 * wide, unit=say["cohort_axis"], title=finding.title, ax=ax)


def _spent(events, given, roles) -> tuple[pd.DataFrame, str]:
    """Return period, kind and amount of costs, and the length of their periods; refuse roles that say nothing."""
    wrong = sorted(set(roles.values()) - set(ROLES))
    say.refuse_if(wrong or not roles, "no_roles", known=", ".join(ROLES), found=wrong or "none")
    with relation(events, "costs", **given) as (rows, columns):
        spent = rows.project(f"period, coalesce(kind::VARCHAR, '{say['no_kind_said']}') AS kind, amount").df()
    kinds, stray = sorted(set(spent["kind"])), sorted(set(roles) - set(spent["kind"]))
    say.refuse_if(stray, "no_kind", stray=", ".join(map(repr, stray)), kinds=", ".join(kinds))
    text = spent["period"].astype(str).str.strip().str.replace(r"^(\d{4})(\d\d)$", r"\1-\2", regex=True)
    length = "year" if text.str.fullmatch(r"\d{4}").all() else "quarter" if text.str.contains("Q").any() else "month"
    clear = ~text.str.match(r"\d{1,2}\D\d{1,2}\D")  # of 05/11/2024 nobody knows which is the month
    at = pd.to_datetime(text.where(clear), errors="coerce", format="mixed")
    unread = ", ".join(map(repr, text[at.isna()][:1]))
    say.refuse_if(unread, "no_period", where=columns["period"], label=unread)
    return spent.assign(period=at.dt.to_period(PERIODS[length])), length


def _ratio(term, cost, record, given, length, n_boot, seed, confidence) -> tuple:
    """Return a ratio of sums over the periods of both records; errors from circular blocks of sqrt(n) periods."""
    (_, count, roles, counted), (table, *named) = RATIOS[term], given
    said = dict(columns=", ".join(("table", *roles)), n=1 + len(named) - named.count(None), needed=1 + len(roles))
    say.refuse_if(len(named) != len(roles) or None in named, "no_counted", count=count, **said)
    with relation(table, count, **dict(zip(roles, named))) as (rows, _):
        by = rows.filter("time IS NOT NULL").aggregate(f"date_trunc('{length}', time) AS at, {counted} AS n").df()
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

    Parameters
    ----------
    costs, period, kind, amount : Table, one row per kind and period; its columns, where it does not say
    counts : dict: new, contacts -> (table, time); customers -> (table, time, id); revenue -> (table, time, amount)
    roles : dict, kind of cost -> acquisition, service or retention. Every kind is in the cost of sales.
    share_for_acquisition : float, part of acquisition costs, 0-1, that wins new customers: no default can be assumed
    lifetime : Lifetime, for lifetime value over the cost to win a customer, where it is established

    Raises
    ------
    DataProblem : no roles, no share, one period, several currencies, nobody won.

    Examples
    --------
    >>> counts = {"contacts": (study.interactions, "time")}
    >>> print(cx.cost_ratios(study.costs, counts=counts, roles=study.cost_roles, seed=1))
    Cost per contact is 18.33 EUR ...
    """
    require_share("confidence", confidence)
    events, rows = as_table(costs), []
    spent, length = _spent(events, {"period": period, "kind": kind, "amount": amount}, roles)
    unknown = sorted(set(counts) - {count for _, count, *_ in RATIOS.values()})
    say.refuse_if(unknown, "unknown_count", found=", ".join(unknown))
    unsaid = share_for_acquisition is None or not 0 < share_for_acquisition <= 1
    say.refuse_if("new" in counts and unsaid, "no_share", share=share_for_acquisition)
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
    loose = sorted(set(spent["kind"]) - set(roles))
    found = dict(loose=(", ".join(loose) or "none", not loose), periods=(most, most >= 12), unreached=(lost, lost == 0))
    if lifetime is not None and "cac" in set(table["term"]):
        stands = bool(lifetime.established)
        found |= dict(lifetime=("established" if stands else "not established", stands))
        if stands:
            clv, cac = lifetime.table.set_index("term").loc["clv"], table.set_index("term").loc["cac"]
            top, bottom, width = clv["estimate"], cac["estimate"], 2 * critical_value(confidence)
            errors = [((row["conf_high"] - row["conf_low"]) / width) ** 2 for row in (clv, cac)]
            span = fieller_interval(top, bottom, errors, confidence=confidence)
            table.loc[len(table)] = ["clv_to_cac", top / bottom, *span, top, bottom, cac["n"]]
    shown, told, names = table.dropna(subset="estimate"), [], []
    for r in shown.itertuples():
        unit = "" if r.term in UNITLESS else f" {events.currency or say['no_currency']}"
        name, value = say["name_" + r.term], number(r.estimate, 2) + unit
        span = span_of(r.conf_low, r.conf_high, confidence)
        told.append(say("cost", name=name, value=value, span=span, n=number(r.n, 0)))
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

    Parameters
    ----------
    customers, transactions, customer, since, time, amount, until : as in `acquisition`; who never paid counts
    cost : number, to win a customer, or a finding of `cost_ratios` with its interval
    margin, min_rows : part of a payment that is margin, returns taken off; fewest customers to be seen for a month

    Raises
    ------
    DataProblem : a cost that is not above 0, nobody new, or (TooFewRespondents) fewer than `min_rows` seen for a month.

    Examples
    --------
    >>> print(cx.payback(study.customers, study.transactions, since="since", cost=20, margin=0.5, n_boot=50, seed=1))
    A new customer has paid back 20.00 EUR after ...
    """
    require_share("confidence", confidence)
    survey, (price, spread) = as_survey(customers), _price(cost, confidence)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as paid:
        rows = paid.ask(INCOME)
    merged, new = joined_since(survey, paid.customer, since, rows["day"].min(), paid.end)
    joined = merged["since"][new].reset_index(drop=True)
    rows["row"] = ids_of(rows["customer"]).map(pd.Series(range(len(joined)), merged["_id"][new]))
    rows = rows.dropna(subset="row").astype({"row": int})
    rows["k"] = np.floor((rows["day"] - joined[rows["row"]].to_numpy()).dt.days / MONTH).astype(int)
    seen = np.floor((paid.end - joined).dt.days.to_numpy() / MONTH)
    floor = max(min_rows, survey.min_base, paid.events.min_base)
    months = int(np.sort(seen)[::-1][floor - 1]) if len(seen) >= floor else 0
    say.refuse_if(months < 1, "few_seen", floor=floor, n=len(seen))
    known, income = (np.arange(months) < seen[:, None]).astype(float), np.zeros((len(seen), months))
    rows = rows[(rows["k"] >= 0) & (rows["k"] < np.minimum(seen, months)[rows["row"]])]
    np.add.at(income, (rows["row"], rows["k"]), margin * rows["amount"])
    totals = resampled(np.hstack([income, known]), n_boot=n_boot, seed=seed)
    draws, n = np.cumsum(totals[:, :months] / totals[:, months:], axis=1), known.sum(axis=0).astype(int)
    so_far = np.cumsum(income.sum(axis=0) / n)
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


def _price(cost, confidence) -> tuple[float, float]:
    """Return the cost to win a customer and the error of its log."""
    price = low = high = cost
    if isinstance(cost, Finding):
        why = cost.sentence().removeprefix(CANNOT.capitalize()).rstrip(".")
        say.refuse_if("cac" not in set(cost.table["term"]), "no_price", why=why)
        price, low, high = cost.table.set_index("term").loc["cac", ENDS]
    bounded = price > 0 and low > 0 and np.isfinite(high)
    say.refuse_if(not bounded, "wrong_price", price=number(price, 2), span=span_of(low, high, confidence))
    return price, np.log(high / low) / (2 * critical_value(confidence))
