"""What customers, contacts and sales cost, and when a new customer has paid it back.

Fieller (1954); Kuensch (1989), Annals of Statistics 17:1217-1241 (blocks, here closed to a circle: Politis & Romano 1992).
"""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.digits import at_least
from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.findings import CANNOT, ENDS, Finding, Statement, ends, number
from cxresearch.inference import fieller_interval
from cxresearch.inference.events import amount_sql, opened, quoted
from cxresearch.programme import shared
from cxresearch.programme.cohorts import joined_since
from cxresearch.programme.shared import ids_of, payments, resampled, say, span_of
from cxresearch.survey import as_survey, as_table

ROLES = ("acquisition", "service", "retention")
RATIOS = {  # what is divided (a role of costs; all of them) by which count
    "cac": ("acquisition", "new"), "cost_per_contact": ("service", "contacts"),
    "retention_cost": ("retention", "customers"), "cost_of_sale": (None, "revenue"),
}  # fmt: skip
MONTH = 365.25 / 12  # days
INCOME = "SELECT customer, moment::DATE AS day, sum(amount) AS amount FROM paid GROUP BY ALL ORDER BY ALL"


def periods_of(values, where: str) -> pd.Series:
    """Return labels (2024, 2024Q1, 2024-01) or dates as periods of one length."""
    text, known = pd.Series(values).astype(str).str.strip(), {}
    length = "Y" if text.str.fullmatch(r"\d{4}").all() else "Q" if text.str.contains("Q").any() else "M"
    for label in text.unique():
        try:
            known[label] = pd.Period(label, length)
        except ValueError:
            raise DataProblem(say("no_period", where=where, label=repr(label))) from None
    return text.map(known)


def _spent(events, given, roles) -> pd.DataFrame:
    """Return period, kind and amount of costs; refuse roles that say nothing."""
    period, kind, amount = shared.columns_of(events, "costs", **given)
    wrong = sorted(set(roles.values()) - set(ROLES))
    say.refuse_if(wrong or not roles, "no_roles", known=", ".join(ROLES), found=wrong or "none")
    with opened(events.data, named="costs") as source:
        require_columns(source, period, kind, amount, where="costs")
        sql = f"{quoted(period)} AS period, {quoted(kind)}::VARCHAR AS kind, {amount_sql(source, amount)} AS amount"
        spent = source.query("source", f"SELECT {sql} FROM source").df()
    kinds, stray = sorted(set(spent["kind"])), sorted(set(roles) - set(spent["kind"]))
    say.refuse_if(stray, "no_kind", stray=", ".join(map(repr, stray)), kinds=", ".join(kinds))
    return spent.assign(period=periods_of(spent["period"], period))


def _counts(name, given, length) -> pd.Series:
    """Return by period rows (new, contacts), distinct ids (customers) or a sum (revenue) of a table."""
    data, time, *column = given
    table = data.table if hasattr(data, "table") else data
    at = pd.to_datetime(table[time], errors="coerce").dt.to_period(length)
    if not column:
        return at.value_counts()
    by = table[column[0]].groupby(at)
    return by.nunique() if name == "customers" else by.sum()


def _ratio(term, cost, record, count, by, n_boot, seed, confidence) -> tuple:
    """Return a ratio of sums over the periods of both records; errors from circular blocks of sqrt(n) periods."""
    seen = record[:0] if by.empty else record[(record >= by.index.min()) & (record <= by.index.max())]
    pairs = np.column_stack([part.reindex(seen).fillna(0.0).to_numpy(dtype=float) for part in (cost, by)])  # none is 0
    (n, _), (top, bottom) = pairs.shape, pairs.sum(axis=0)
    say.refuse_if(n < 2, "one_month", name=say["name_" + term], count=count, n=n)
    say.refuse_if(bottom <= 0, "no_count", name=say["name_" + term], count=count, n=n)
    length = min(int(np.ceil(np.sqrt(n))), n // 2)
    blocks = -(-n // length)
    start = np.random.default_rng(seed).integers(0, n, size=(n_boot, blocks, 1))
    at = (start + np.arange(length)).reshape(n_boot, -1)[:, :n] % n
    spread = np.cov(pairs[at].sum(axis=1).T) * blocks / (blocks - 1)
    errors = dict(confidence=confidence, df=blocks - 1)
    return term, top / bottom, *fieller_interval(top, bottom, np.diag(spread), spread[0, 1], **errors), top, bottom, n


def _value_over_cost(cac, clv, confidence) -> tuple:
    """Return lifetime value over the cost to win a customer, with Fieller's interval."""
    (top, bottom), z = (r["estimate"] for r in (clv, cac)), stats.norm.ppf((1 + confidence) / 2)
    variances = [((r["conf_high"] - r["conf_low"]) / (2 * z)) ** 2 for r in (clv, cac)]
    span = fieller_interval(top, bottom, variances, confidence=confidence)
    return "clv_to_cac", top / bottom, *span, top, bottom, cac["n"]


def cost_ratios(
    costs, *, period=None, kind=None, amount=None, counts, roles, share_for_acquisition=None, lifetime=None, n_boot=1000,
    confidence=0.95, seed,
) -> Statement:  # fmt: skip
    """Return the cost to win a customer, per contact, to keep a customer and of sales, in currency.

    Ratios of sums over the periods that both hold, Fieller's interval; errors from blocks of neighbouring periods, which
    hang together; t with blocks - 1 degrees of freedom.

    Parameters
    ----------
    costs, period, kind, amount : Table or DataFrame, columns
        One row per kind and period; columns where its table does not say.
    counts : dict, what costs are divided by: any of ``new``, ``contacts`` -> (table, time), whose rows are counted,
        ``customers`` -> (table, time, id), and ``revenue`` -> (table, time, amount)
    roles : dict, kind of cost -> acquisition, service or retention. Every kind is in the cost of sales.
    share_for_acquisition : float
        Part of acquisition costs, 0-1, that wins new customers: marketing speaks to old ones, too. No default.
    lifetime : Lifetime, optional, for lifetime value over the cost to win a customer, where it is established

    Raises
    ------
    DataProblem
        No roles, no share, one period, several currencies, nobody won.

    Examples
    --------
    >>> counts = {"contacts": (study.interactions, "time")}
    >>> print(cx.cost_ratios(study.costs, counts=counts, roles=study.cost_roles, seed=1))
    Cost per contact is 18.33 EUR ...
    """
    require_share("confidence", confidence)
    events, rows = as_table(costs), []
    spent = _spent(events, {"period": period, "kind": kind, "amount": amount}, roles)
    unknown = sorted(set(counts) - {count for _, count in RATIOS.values()})
    say.refuse_if(unknown, "unknown_count", found=", ".join(unknown))
    unsaid = share_for_acquisition is None or not 0 < share_for_acquisition <= 1
    say.refuse_if("new" in counts and unsaid, "no_share", share=share_for_acquisition)
    record = pd.period_range(spent["period"].min(), spent["period"].max())
    for term, (role, count) in RATIOS.items():
        if count in counts and (role is None or role in roles.values()):
            of = spent if role is None else spent[spent["kind"].map(roles) == role]
            cost = of.groupby("period")["amount"].sum() * (share_for_acquisition if term == "cac" else 1.0)
            by = _counts(count, counts[count], record[0].freq)
            rows.append(_ratio(term, cost, record, count, by, n_boot, seed, confidence))
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
            two = (t.set_index("term").loc[term] for t, term in ((table, "cac"), (lifetime.table, "clv")))
            row = pd.DataFrame([_value_over_cost(*two, confidence)], columns=table.columns)
            table = pd.concat([table, row], ignore_index=True)
    shown, told, names = table.dropna(subset="estimate"), [], []
    for r in shown.itertuples():
        name, plain = say["name_" + r.term], r.term in ("clv_to_cac", "cost_of_sale")
        value = number(r.estimate, 2) + f" {events.currency or shared.NO_CURRENCY}" * (not plain)
        told.append(say("cost", name=name, value=value, span=span_of(*r[3:5], confidence), n=number(r.n, 0)))
        names.append(f"{name}: {value}")
    rest = "; ".join([*told[1:2], *(t[0].lower() + t[1:] for t in told[2:])])
    whole = f"{told[0]}. {rest}." if rest else f"{told[0]}." if told else say["no_base"]
    question = "cost_ratios", ", ".join(table["term"]), None, table, {"n": most, "method": say["ratio_method"]}
    return shared.statement(
        (["whole"], {"whole": whole}, confidence), question, source=events, found=found,
        labels={term: say["name_" + term] for term in (*RATIOS, "clv_to_cac")} | dict(events.labels), hidden=few.sum(),
        drawn=dict(names=names, scale=1 / shown["estimate"], unit="interval over estimate", line=1.0),  # no unit in common
    )  # fmt: skip


def payback(
    customers, transactions, *, customer=None, since=None, time=None, amount=None, until=None, cost, margin=1.0, n_boot=1000, confidence=0.95,
    min_rows=30, seed,
) -> Statement:  # fmt: skip
    """Return the month in which the margin of a new customer, in currency, reaches what it cost to win one.

    Each month's margin is the mean of those seen in all of it. The interval of the month comes from resamples of customers
    and of the cost; it has no end where some never pay back in what was seen.

    Parameters
    ----------
    customers, transactions, customer, since, time, amount, until
        As in `acquisition`; new customers who never paid count.
    cost : number or Statement, to win a customer; of a finding of `cost_ratios` its cac, with its interval
    margin, min_rows : float, int
        Part of a payment that is margin, returns taken off; fewest customers who must have been seen for a month.

    Raises
    ------
    DataProblem
        A cost that is not above 0, nobody new, or (TooFewRespondents) fewer than `min_rows` seen for a month.

    Examples
    --------
    >>> print(cx.payback(study.customers, study.transactions, since="since", cost=20, margin=0.5, n_boot=50, seed=1))
    A new customer has paid back 20.00 EUR after ...
    """
    require_share("confidence", confidence)
    events, survey = as_table(transactions), as_survey(customers)
    price, spread = _price(cost, confidence)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as (ask, end, checks):
        rows = ask(INCOME)
    merged, new = joined_since(survey, customer or events.roles.get("customer"), since, rows["day"].min(), end)
    joined = merged["since"][new].reset_index(drop=True)
    rows["row"] = ids_of(rows["customer"]).map(pd.Series(range(len(joined)), merged["_id"][new]))
    rows = rows.dropna(subset="row").astype({"row": int})
    rows["k"] = np.floor((rows["day"] - joined[rows["row"]].to_numpy()).dt.days / MONTH).astype(int)
    seen, floor = np.floor((end - joined).dt.days.to_numpy() / MONTH), max(min_rows, survey.min_base, events.min_base)
    months = int(np.sort(seen)[::-1][floor - 1]) if len(seen) >= floor else 0
    say.refuse_if(months < 1, "few_seen", floor=floor, n=len(seen))
    known, income = (np.arange(months) < seen[:, None]).astype(float), np.zeros((len(seen), months))
    rows = rows[(rows["k"] >= 0) & (rows["k"] < np.minimum(seen, months)[rows["row"]])]
    np.add.at(income, (rows["row"], rows["k"]), margin * rows["amount"])
    totals = resampled(np.hstack([income, known]), n_boot=n_boot, seed=seed)
    draws = np.cumsum(totals[:, :months] / totals[:, months:], axis=1)
    so_far = np.cumsum(income.sum(axis=0) / known.sum(axis=0))
    prices = price * np.exp(spread * np.random.default_rng(seed).normal(size=len(draws)))
    month, tails = float(_first_month(so_far, price)), [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(_first_month(draws, prices[:, None]), tails, method="inverted_cdf")
    band, n = np.quantile(draws, tails, axis=0), known.sum(axis=0).astype(int)
    table = pd.DataFrame(dict(age=np.arange(1, months + 1), earned=so_far, conf_low=band[0], conf_high=band[1], n=n))
    key = "not_paid_back" if np.isinf(month) else "paid_back_open" if np.isinf(high) else "paid_back"
    known = dict(cost=price, unit=events.currency or shared.NO_CURRENCY, seen=months, margin=so_far[-1])
    known |= ends("month", month, low, high)
    summary = {"n": len(seen), "method": say["payback_method"], "payback": month}
    summary["established"] = bool(np.isfinite(high))
    axes = say["payback_x"], say("payback_y", unit=events.currency or "money"), say["payback_unit"]
    more = dict(figure=dict(x="age", columns={"earned": "o-"}, across=price, axes=axes), found={}, checks=checks)
    question = "payback", "margin", None, table, summary
    return shared.statement(([key], known, confidence), question, source=events, **more)


def _first_month(path, price) -> np.ndarray:
    """Return the first month in which a path reaches the price; infinite where it never does."""
    reached = at_least(path, price)
    return np.where(reached.any(axis=-1), 1 + np.argmax(reached, axis=-1), np.inf)


def _price(cost, confidence) -> tuple[float, float]:
    """Return the cost to win a customer and the error of its log."""
    price = low = high = cost
    if isinstance(cost, Finding):
        why = cost.sentence().removeprefix(CANNOT.capitalize()).rstrip(".")
        say.refuse_if("cac" not in set(cost.table["term"]), "no_price", why=why)
        price, low, high = cost.table.set_index("term").loc["cac", ENDS]
    bounded = price > 0 and low > 0 and np.isfinite(high)
    say.refuse_if(not bounded, "wrong_price", price=number(price, 2), span=span_of(low, high, confidence))
    return price, np.log(high / low) / (2 * stats.norm.ppf((1 + confidence) / 2))
