"""Responses joined to the revenue before and after them, inside DuckDB: one row a response, none lost silently."""

import warnings
from dataclasses import dataclass

import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.inference.events import opened, quoted, require_fields, time_sql
from cxresearch.survey import as_survey, as_table
from cxresearch.transactions.source import amount_sql, require_one_id_type
from cxresearch.transactions.windows import as_length

ADDED = ("revenue_before", "purchases_before", "revenue_after", "purchases_after", "after_complete")


@dataclass(frozen=True)
class Linked:
    """What `link_revenue` returns.

    Attributes
    ----------
    table
        The responses, their order and columns, and five columns more (see `link_revenue`).
    waterfall
        step, rows, removed, reason: responses received, with a customer and a time, seen among the transactions, with
        windows that the transactions cover in full. Rows are counted, not removed from `table`.
    purchase_cycle
        Median days between a customer's purchases, of those who answered; missing where nobody bought twice.
    lacks
        From `link_waves` alone: why there is no panel to look at, in words; empty where there is one.
    """

    table: pd.DataFrame
    waterfall: pd.DataFrame
    purchase_cycle: float = float("nan")
    lacks: str = ""


def link_revenue(
    responses: pd.DataFrame,
    transactions,
    *,
    customer: str,
    asked: str,
    time: str,
    amount: str,
    before,
    after,
    time_zone: str | None = None,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> Linked:
    """Return each response with its customer's revenue in the window before and in the window after the answer.

    Parameters
    ----------
    responses : DataFrame
        One row per response with `customer` and `asked`.
    transactions : path, glob, folder, DataFrame, DuckDB connection or relation
        As in `behaviour`; `customer` has the same name and type there.
    customer, asked, time, amount : str
        Columns.
    before, after : int or str
        Lengths of the windows: days, or ``'90 days'``, ``'12 months'``. Before: ``asked - before <= time < asked``;
        after: ``asked <= time < asked + after``. No transaction is in both windows of one response.
    time_zone, threads, memory_limit
        As in `behaviour`.

    Returns
    -------
    Linked
        `table` adds revenue_before, revenue_after (sum of amounts, returns included, in their unit), purchases_before,
        purchases_after (amounts >= 0) and after_complete. A customer who bought nothing in a window has 0; a response
        without customer or time, or whose customer is in no transaction, has missing values. `after_complete` is False
        where the transactions end before the window does: that revenue is too low by construction.

    Raises
    ------
    DataProblem
        For unknown columns, columns that would be overwritten, ids of different type in the two tables, unreadable
        times or amounts, dates in the future, several currencies, or if no response meets a transaction.

    Warns
    -----
    UserWarning
        If the window after the answer is shorter than half of the times between a customer's purchases.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> linked = cx.link_revenue(
    ...     study.responses, study.transactions, customer="customer", asked="asked_on", time="time",
    ...     amount="amount", before="90 days", after="90 days"
    ... )
    >>> linked.waterfall["rows"].tolist()
    [2213, 2213, 2204, 2204]
    """
    responses, transactions = as_survey(responses).table, as_table(transactions).data
    require_columns(responses, customer, asked, where="responses")
    taken = [c for c in ADDED if c in responses.columns]
    if taken:
        raise DataProblem(f"responses already has {', '.join(taken)}; rename or drop them first")
    require_one_id_type(responses, customer)
    require_one_id_type(transactions, customer)
    lengths = [as_length("before", before), as_length("after", after)]
    windows = _windows(responses, customer, asked, *lengths)
    with opened(transactions, threads=threads, memory_limit=memory_limit) as relation:
        require_fields(relation, customer, time, amount)
        _require_one_currency(relation, amount)
        sums, last, known, cycle = _sums(
            relation, windows, customer, time_sql(relation, time, time_zone), amount_sql(relation, amount)
        )
    if last is not None and pd.Timestamp(last) > pd.Timestamp.now():
        raise DataProblem(
            f"{time} holds dates in the future (latest {last:%Y-%m-%d}); correct them or leave the rows out"
        )
    _warn_of_a_short_window(windows, cycle)
    return _assembled(responses, windows, sums, last, known, cycle, customer, asked)


def _require_one_currency(relation, amount: str) -> None:
    if "currency" not in relation.columns:
        return
    counts = relation.query(
        "source", "SELECT currency, count(*) FROM source WHERE currency IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    found = counts.fetchall()
    if len(found) > 1:
        listed = ", ".join(f"{name}: {n}" for name, n in found)
        raise DataProblem(f"{amount} is in {len(found)} currencies ({listed}); convert it to one before it is added up")


def _warn_of_a_short_window(windows: pd.DataFrame, cycle: float) -> None:
    length = (windows["finish"] - windows["asked"]).dt.days.median()
    if length < cycle:
        warnings.warn(
            f"the window of {length:.0f} days after an answer is shorter than the purchase cycle: half of the times between a "
            f"customer's purchases are {cycle:.0f} days or longer",
            stacklevel=3,
        )


def _windows(responses: pd.DataFrame, customer: str, asked: str, before, after) -> pd.DataFrame:
    if not pd.api.types.is_datetime64_any_dtype(responses[asked]):
        raise DataProblem(
            f"{asked} holds no dates; declare it with role asked_at in study.yml, or convert it with pandas.to_datetime"
        )
    if getattr(responses[asked].dtype, "tz", None) is not None:
        raise DataProblem(f"{asked} carries a time zone; convert it to local time without one")
    table = pd.DataFrame(
        {"row": range(len(responses)), "id": responses[customer].to_numpy(), "asked": responses[asked].to_numpy()}
    )
    table = table.dropna()
    late = table["asked"] > pd.Timestamp.now()
    if late.any():
        raise DataProblem(
            f"{asked} holds {int(late.sum())} dates in the future (latest {table['asked'].max():%Y-%m-%d}); correct them or leave "
            "the rows out"
        )
    return table.assign(start=table["asked"] - before, finish=table["asked"] + after)


def _sums(relation, windows: pd.DataFrame, customer: str, time: str, amount: str):
    """Return the sums by row, the last transaction's time, the rows whose customer has any, and the purchase cycle.

    The query runs on whatever connection holds the transactions, which stay there; DuckDB finds the DataFrame
    `cxresearch_windows` by its name in this function.
    """
    cxresearch_windows = windows.assign(id=windows["id"].astype(str))  # noqa: F841
    c = quoted(customer)
    used = f"used AS (SELECT {c}::VARCHAR AS id, {time} AS time, {amount} AS amount FROM source WHERE {c} IS NOT NULL AND isfinite({amount}) AND {time} IS NOT NULL)"
    last = relation.query("source", f"WITH {used} SELECT max(time) FROM used").fetchall()[0][0]
    asking = f"WITH windows AS (SELECT * FROM cxresearch_windows), {used}"
    sums = relation.query(
        "source",
        asking + " SELECT row, round(coalesce(sum(amount) FILTER (time < asked), 0), 6) AS revenue_before, "
        "count(amount) FILTER (time < asked AND amount >= 0) AS purchases_before, "
        "round(coalesce(sum(amount) FILTER (time >= asked), 0), 6) AS revenue_after, "
        "count(amount) FILTER (time >= asked AND amount >= 0) AS purchases_after "
        "FROM windows LEFT JOIN used ON windows.id = used.id AND time >= start AND time < finish GROUP BY row ORDER BY row",
    ).df()
    known = relation.query(
        "source", asking + " SELECT row FROM windows WHERE id IN (SELECT id FROM used) ORDER BY row"
    ).df()["row"]
    cycle = relation.query(
        "source",
        asking
        + ", days AS (SELECT DISTINCT id, time::DATE AS day FROM used WHERE amount > 0 AND id IN (SELECT id FROM windows)), "
        "gaps AS (SELECT day - lag(day) OVER (PARTITION BY id ORDER BY day) AS gap FROM days) SELECT median(gap) FROM gaps",
    ).fetchall()[0][0]
    return sums, last, known, float("nan") if cycle is None else float(cycle)


def _assembled(responses, windows, sums, last, known, cycle, customer: str, asked: str) -> Linked:
    if not len(known):
        raise DataProblem(
            f"none of {len(responses)} responses meets a transaction of its customer; compare the ids in {customer} of the two tables"
        )
    sums = sums[sums["row"].isin(known)].merge(windows[["row", "finish"]], on="row").set_index("row")
    complete = (sums.pop("finish") <= pd.Timestamp(last)).reindex(range(len(responses)))
    added = sums.reindex(range(len(responses))).assign(after_complete=complete.astype("boolean"))
    table = responses.assign(
        **{name: added[name].to_numpy() if name != "after_complete" else added[name].array for name in ADDED}
    )
    steps = [("received", len(responses), ""), ("with customer and time", len(windows), f"no {customer} or {asked}")]
    steps += [
        ("matched", len(known), "the customer is in no transaction"),
        ("window complete", int(complete.fillna(False).sum()), f"transactions end {last}"),
    ]
    rows = [s[1] for s in steps]
    removed = [0, *(a - b for a, b in zip(rows, rows[1:]))]
    reasons = [reason if lost else "" for (_, _, reason), lost in zip(steps, removed)]
    waterfall = pd.DataFrame({"step": [s[0] for s in steps], "rows": rows, "removed": removed, "reason": reasons})
    return Linked(table, waterfall, cycle)
