"""What customers, contacts and sales cost, and when a new customer has paid it back.

Fieller (1954); Kuensch (1989), Annals of Statistics 17:1217-1241 (blocks, here closed to a circle: Politis & Romano 1992).
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.digits import at_least
from cxresearch.errors import DataProblem, TooFewRespondents, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, forest, titled
from cxresearch.findings import CANNOT, Check, Finding, Statement, number, words
from cxresearch.inference.events import amount_sql, opened, quoted, require_fields
from cxresearch.inference.ratios import fieller_interval
from cxresearch.programme.cohorts import joined_since
from cxresearch.programme.payments import ids_of, money, payments, span_of
from cxresearch.survey import as_survey, as_table

say = words(__package__)

ROLES = ("acquisition", "service", "retention")
RATIOS = {  # what is divided (a role of costs; all of them) by which count
    "cac": ("acquisition", "new"), "cost_per_contact": ("service", "contacts"),
    "retention_cost": ("retention", "customers"), "cost_of_sale": (None, "revenue"),
}  # fmt: skip
LABELS = {
    "cac": "Cost to win a customer", "cost_per_contact": "Cost per contact", "retention_cost": "Cost to keep a customer",
    "cost_of_sale": "Cost of a unit of sales", "clv_to_cac": "Lifetime value over the cost to win a customer",
}  # fmt: skip
MONTH = 365.25 / 12


def periods_of(values, where: str) -> pd.Series:
    """Return labels (2024, 2024Q1, 2024-01) or dates as periods of one length."""
    text = pd.Series(values).astype(str).str.strip()
    length = "Y" if text.str.fullmatch(r"\d{4}").all() else "Q" if text.str.contains("Q").any() else "M"
    known = {}
    for label in text.unique():
        try:
            known[label] = pd.Period(label, length)
        except ValueError:
            raise DataProblem(f"{where} holds {label!r}, which is no period; write 2024, 2024Q1 or 2024-01") from None
    return text.map(known)


def _counts(name, given, length) -> pd.Series:
    """Return by period rows (new, contacts), distinct ids (customers) or a sum (revenue) of a table."""
    data, time, *column = given
    table = data.table if hasattr(data, "table") else data
    at = pd.to_datetime(table[time], errors="coerce").dt.to_period(length)
    if name in ("new", "contacts"):
        return at.value_counts()
    by = table[column[0]].groupby(at)
    return by.nunique() if name == "customers" else by.sum()


def cost_ratios(
    costs, *, period=None, kind=None, amount=None, counts, roles, share_for_acquisition=None, lifetime=None, n_boot=1000,
    confidence=0.95, seed,
) -> Statement:  # fmt: skip
    """Return the cost to win a customer, per contact, to keep a customer and of sales, with Fieller's intervals.

    Parameters
    ----------
    costs : Table or DataFrame
        One row per kind and period.
    period, kind, amount : column, optional
        Of `costs`, where its table does not say.
    counts : dict
        What costs are divided by: any of ``new``, ``contacts`` -> (table, time), whose rows are counted, ``customers`` ->
        (table, time, id), and ``revenue`` -> (table, time, amount).
    roles : dict
        Kind of cost -> acquisition, service or retention. Every kind is in the cost of sales.
    share_for_acquisition : float
        Part of acquisition costs, 0-1, that wins new customers: marketing speaks to old ones, too. No default.
    lifetime : Lifetime, optional
        For lifetime value over the cost to win a customer; where it is not established, neither is that.

    Returns
    -------
    Statement
        ``estimate`` = ``numerator`` / ``denominator`` over the periods that both hold. Errors from blocks of
        neighbouring periods, which hang together; t with blocks - 1 degrees of freedom.

    Raises
    ------
    DataProblem
        No roles, no share, one period, several currencies, nobody won.

    Examples
    --------
    >>> import pandas as pd
    >>> import cxresearch as cx
    >>> costs = pd.DataFrame({"m": ["2024-01", "2024-02"], "k": "desk", "a": [90.0, 110.0]})
    >>> calls = pd.DataFrame({"t": pd.to_datetime(["2024-01-03", "2024-01-05", "2024-02-06", "2024-02-09"])})
    >>> found = cx.cost_ratios(costs, period="m", kind="k", amount="a", counts={"contacts": (calls, "t")}, roles={"desk": "service"}, seed=1)
    >>> found.tidy()["estimate"].tolist()
    [50.0]
    """
    require_share("confidence", confidence)
    events = as_table(costs)
    spent = _spent(events, {"period": period, "kind": kind, "amount": amount}, roles)
    if unknown := sorted(set(counts) - {c for _, c in RATIOS.values()}):
        raise DataProblem(f"counts names {unknown[0]!r}; known are new, contacts, customers and revenue")
    if "new" in counts and (share_for_acquisition is None or not 0 < share_for_acquisition <= 1):
        raise DataProblem(
            f"share_for_acquisition={share_for_acquisition!r}: say which part of acquisition costs, above 0 and at most 1, "
            "wins new customers; marketing speaks to old ones, too, and no share can be assumed"
        )
    record = pd.period_range(spent["period"].min(), spent["period"].max())
    rows, chance = [], dict(n_boot=n_boot, seed=seed, confidence=confidence)
    for term, (role, count) in RATIOS.items():
        if count in counts and (role is None or role in roles.values()):
            of = spent if role is None else spent[spent["kind"].map(roles) == role]
            money_of = of.groupby("period")["amount"].sum() * (share_for_acquisition if role == "acquisition" else 1.0)
            rows.append(_ratio(term, money_of, record, count, counts[count], **chance))
    if not rows:
        known = f"roles {', '.join(roles.values())} and counts {', '.join(counts) or 'none'}"
        raise DataProblem(f"no ratio can be made of {known}")
    table = pd.DataFrame(rows)
    floor = max(getattr(given[0], "min_base", 1) for given in counts.values())
    few = table["term"].ne("cost_of_sale") & (table["denominator"] < floor)
    table = table.assign(**{c: table[c].mask(few) for c in table.columns[1:]})
    loose, n = sorted(set(spent["kind"]) - set(roles)), int(max(row["n"] for row in rows))
    stray = ", ".join(loose) or "none"
    checks = (
        Check("kinds of cost without a role", stray, "none; they count in the cost of sales only", not loose),
        Check("periods", n, "at least 12", n >= 12),
        Check(
            "periods of costs that a count does not reach",
            len(record) - int(min(row["n"] for row in rows)),
            "0; they are left out",
            all(row["n"] == len(record) for row in rows),
        ),
    )
    if lifetime is not None and "cac" in set(table["term"]):
        table = pd.concat([table, _value_over_cost(table, lifetime, confidence)], ignore_index=True)
        stands = "established" if lifetime.established else "not established"
        checks += (Check("lifetime value", stands, "established", bool(lifetime.established)),)
    words = []
    for r in table[np.isfinite(table["estimate"].astype(float))].itertuples():
        said = dict(value=_size(r.term, r.estimate, events.currency), span=span_of(r.conf_low, r.conf_high, confidence))
        words.append(say("cost", **said, name=LABELS[r.term], n=number(r.n, 0)))
    first = words[0] if words else "No ratio has a base that may be shown"
    more = "; ".join([*words[1:2], *(w[0].lower() + w[1:] for w in words[2:])])
    said = f"{first}. {more}." if more else f"{first}."
    summary = {"n": n, "method": "ratio of sums, Fieller's interval, blocks of periods"}
    return Statement(
        "cost_ratios", ", ".join(table["term"]), None, table, summary, checks, LABELS | dict(events.labels), suppressed=int(few.sum()),
        words=said, figure=partial(_ratios, unit=events.currency),
    )  # fmt: skip


def _spent(events, given, roles) -> pd.DataFrame:
    """Return kind, period and amount of costs; refuse roles that say nothing."""
    columns = {role: column or events.roles.get(role) for role, column in given.items()}
    if absent := [role for role, column in columns.items() if column is None]:
        raise DataProblem(f"costs do not say which column is the {absent[0]}; name it with {absent[0]}=")
    if not roles or (wrong := sorted(set(roles.values()) - set(ROLES))):
        raise DataProblem(
            f"costs need roles={{kind: role}}, each role one of {', '.join(ROLES)}; found {wrong if roles else 'none'}, so "
            "nothing says which costs win customers, serve them or keep them"
        )
    with opened(events.data, named="costs") as source:
        require_fields(source, *columns.values(), where="costs")
        period, kind = (quoted(columns[c]) for c in ("period", "kind"))
        amount = amount_sql(source, columns["amount"])
        sql = f"SELECT {period} AS period, {kind}::VARCHAR AS kind, {amount} AS amount FROM source"
        spent = source.query("source", sql).df()
    kinds = sorted(set(spent["kind"]))
    if stray := sorted(set(roles) - set(kinds)):
        raise DataProblem(f"roles names {stray[0]!r}, a kind that costs never hold; they hold {', '.join(kinds)}")
    return spent.assign(period=periods_of(spent["period"], columns["period"]))


def _ratio(term, cost, record, count, given, n_boot, seed, confidence) -> dict:
    """Return a ratio of sums over the periods of both records; errors from circular blocks of sqrt(n) periods."""
    by = _counts(count, given, record[0].freq)
    seen = record[:0] if by.empty else record[(record >= by.index.min()) & (record <= by.index.max())]
    pairs = np.column_stack([part.reindex(seen).fillna(0.0).to_numpy(dtype=float) for part in (cost, by)])  # none is 0
    n = len(pairs)
    if n < 2:
        raise DataProblem(
            f"{LABELS[term]}: costs and {count} share {n} period; an interval needs two or more, 12 to be of use"
        )
    if pairs[:, 1].sum() <= 0:
        raise DataProblem(f"{LABELS[term]} is undefined: {count} is 0 in all {n} periods that costs hold")
    length = min(int(np.ceil(np.sqrt(n))), n // 2)
    blocks = -(-n // length)
    start = np.random.default_rng(seed).integers(0, n, size=(n_boot, blocks))
    at = (start[:, :, None] + np.arange(length)).reshape(n_boot, -1)[:, :n] % n
    spread = np.cov(pairs[at].sum(axis=1).T) * blocks / (blocks - 1)
    low, high = fieller_interval(
        *pairs.sum(axis=0), np.diag(spread), spread[0, 1], confidence=confidence, df=blocks - 1
    )
    top, bottom = pairs.sum(axis=0)
    return {
        "term": term,
        "estimate": top / bottom,
        "conf_low": low,
        "conf_high": high,
        "numerator": top,
        "denominator": bottom,
        "n": n,
    }


def _value_over_cost(table, lifetime, confidence) -> pd.DataFrame:
    cac = table.set_index("term").loc["cac"]
    clv = lifetime.table.set_index("term").loc["clv"]
    z = stats.norm.ppf((1 + confidence) / 2)
    variances = [((r["conf_high"] - r["conf_low"]) / (2 * z)) ** 2 for r in (clv, cac)]
    ends = (
        fieller_interval(clv["estimate"], cac["estimate"], variances, confidence=confidence)
        if lifetime.established
        else (np.nan, np.nan)
    )
    row = {
        "term": "clv_to_cac",
        "estimate": clv["estimate"] / cac["estimate"],
        "conf_low": ends[0],
        "conf_high": ends[1],
        "n": cac["n"],
    }
    return pd.DataFrame([row | {"numerator": clv["estimate"], "denominator": cac["estimate"]}])


def _size(term, value, currency) -> str:
    return number(value, 2) if term in ("clv_to_cac", "cost_of_sale") else money(value, currency)


def _ratios(finding, ax, *, unit):
    table = finding.table.dropna(subset="estimate")
    names = [f"{finding.label(r.term)}: {_size(r.term, r.estimate, unit)}" for r in table.itertuples()]
    relative = table.assign(
        estimate=1.0, conf_low=table["conf_low"] / table["estimate"], conf_high=table["conf_high"] / table["estimate"]
    )
    axis = "interval over estimate"
    return forest(
        relative,
        "estimate",
        names=names,
        low="conf_low",
        high="conf_high",
        unit=axis,
        title=finding.title,
        line=1.0,
        ax=ax,
    )


INCOME = "SELECT customer, moment::DATE AS day, sum(amount) AS amount FROM paid GROUP BY ALL ORDER BY ALL"


def payback(
    customers, transactions, *, customer=None, since=None, time=None, amount=None, until=None, cost, margin=1.0, n_boot=1000, confidence=0.95,
    min_rows=30, seed,
) -> Statement:  # fmt: skip
    """Return the month in which the margin of a new customer reaches what it cost to win one.

    Parameters
    ----------
    customers, transactions, customer, since, time, amount, until
        As in `acquisition`; new customers who never paid count.
    cost : number or Statement
        To win a customer; of a finding of `cost_ratios` its cac, with its interval.
    margin : float
        Part of a payment that is margin; returns are taken off.
    min_rows : int
        Fewest customers who must have been seen for a month that counts.

    Returns
    -------
    Statement
        Margin so far by month. Each month's margin is the mean of those seen in all of it. The interval of the month
        comes from resamples of customers and of the cost; it has no end where some never pay back in what was seen.

    Raises
    ------
    DataProblem
        A cost that is not above 0, nobody new.
    TooFewRespondents
        Fewer than `min_rows` new customers seen for a month.

    Examples
    --------
    >>> import cxresearch as cx
    >>> import pandas as pd
    >>> days = pd.date_range("2024-01-01", periods=6, freq="31D")
    >>> who, paid = pd.DataFrame({"c": range(40), "since": days[0]}), pd.DataFrame({"c": list(range(40)) * 6, "a": 10.0})
    >>> paid["t"] = days.repeat(40)
    >>> told = dict(customer="c", since="since", time="t", amount="a", cost=20, margin=0.5, n_boot=50, seed=1)
    >>> print(cx.payback(who, paid, **told))
    A new customer has paid back 20.00 (currency not stated) after 4 months (95 % interval 4 to 4; n = 40).
    """
    require_share("confidence", confidence)
    events, survey = as_table(transactions), as_survey(customers)
    price, spread = _price(cost, confidence)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as (ask, end, checks):
        rows = ask(INCOME)
    merged, new = joined_since(survey, customer or events.roles.get("customer"), since, rows["day"].min(), end)
    joined = merged["since"][new].reset_index(drop=True)
    place = pd.Series(range(len(joined)), merged["_id"][new])
    rows = rows.assign(row=ids_of(rows["customer"]).map(place)).dropna(subset="row").astype({"row": int})
    rows["k"] = np.floor((rows["day"] - joined[rows["row"]].to_numpy()).dt.days / MONTH).astype(int)
    seen, floor = np.floor((end - joined).dt.days.to_numpy() / MONTH), max(min_rows, survey.min_base, events.min_base)
    months = int(np.sort(seen)[::-1][floor - 1]) if len(seen) >= floor else 0
    if months < 1:
        raise TooFewRespondents(f"fewer than {floor} new customers were seen for a month; {len(seen)} are new")
    income = np.zeros((len(seen), months))
    inside = (rows["k"] >= 0) & (rows["k"] < np.minimum(seen, months)[rows["row"]])
    np.add.at(income, (rows["row"][inside], rows["k"][inside]), margin * rows["amount"][inside])
    known = (np.arange(months) < seen[:, None]).astype(float)
    so_far = np.cumsum(income.sum(axis=0) / known.sum(axis=0))
    sample, every = as_survey(pd.DataFrame(index=range(len(seen)))).sample(), []
    for w in sample.replicates(n_boot, seed=seed):
        every.append(np.cumsum((w @ income) / (w @ known), axis=1))
    draws = np.concatenate(every)
    prices = price * np.exp(spread * np.random.default_rng(seed).normal(size=len(draws)))
    month, drawn = float(_first_month(so_far, price)), _first_month(draws, prices[:, None])
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(drawn, tails, method="inverted_cdf")
    table = pd.DataFrame({"age": np.arange(1, months + 1), "earned": so_far})
    table["conf_low"], table["conf_high"] = np.quantile(draws, tails, axis=0)
    table["n"] = known.sum(axis=0).astype(int)
    words = dict(cost=money(price, events.currency), n=number(len(seen), 0))
    if np.isinf(month):
        margin_so_far = money(so_far[-1], events.currency)
        said = say("not_paid_back", **words, seen=months, margin=margin_so_far)
    elif np.isinf(high):
        said = say("paid_back_open", **words, month=int(month), seen=months)
    else:
        said = say("paid_back", **words, month=int(month), span=span_of(low, high, confidence, 0))
    stands, method = bool(np.isfinite(high)), "margin by month since they became customers"
    return Statement(
        "payback", "margin", None, table, {"n": len(seen), "method": method, "payback": month, "established": stands}, checks,
        events.labels, words=said, figure=partial(_income, price=price, unit=events.currency),
    )  # fmt: skip


def _first_month(path, price) -> np.ndarray:
    """Return the first month in which a path reaches the price; infinite where it never does."""
    reached = at_least(path, price)
    return np.where(reached.any(axis=-1), 1 + np.argmax(reached, axis=-1), np.inf)


def _price(cost, confidence) -> tuple[float, float]:
    """Return the cost to win a customer and the error of its log."""
    if not isinstance(cost, Finding):
        price = low = high = cost
    elif "cac" not in set(cost.table["term"]):
        why = getattr(cost, "why", cost.sentence()).removeprefix(CANNOT)
        raise DataProblem(f"there is no cost to win a customer to pay back: {why}")
    else:
        price, low, high = cost.table.set_index("term").loc["cac", ["estimate", "conf_low", "conf_high"]]
    if not (price > 0 and low > 0 and np.isfinite(high)):
        raise DataProblem(
            f"cost={number(price, 2)} with {span_of(low, high, confidence)} must be the money to win a customer, above 0 and bounded"
        )
    return price, np.log(high / low) / (2 * stats.norm.ppf((1 + confidence) / 2))


def _income(finding, ax, *, price, unit):
    table, ax = finding.table, axes_or_new(ax)
    ax.fill_between(table["age"], table["conf_low"], table["conf_high"], color=PALETTE[0], alpha=0.15, linewidth=0)
    ax.plot(table["age"], table["earned"], "o-", color=PALETTE[0])
    ax.axhline(price, color=QUIET, linestyle="--", linewidth=1)
    ax.set(xlabel="months since they became customers", ylabel=f"margin so far, {unit or 'money'}")
    return titled(ax, finding.title, "margin of a new customer; dashed: the cost to win one")
