"""One row of behaviour per customer, computed inside DuckDB.

Recency, frequency and monetary value follow Hughes (1994), *Strategic Database Marketing*; everything is observed in
a window that ends before `until`, so that features cannot contain what they are later compared with.
"""

import pandas as pd

from cxresearch.errors import DataProblem, require_choice
from cxresearch.transactions.queries import MOST_PACKED, Columns, behaviour_sql, prepared_sql, waterfall_sql
from cxresearch.transactions.source import amount_sql, opened, require_fields, require_one_id_type, time_sql
from cxresearch.transactions.windows import Window, as_window

PARTS = ("value", "months", "rhythm", "weekdays")
MOST_CHANNELS = 20


def behaviour(
    transactions,
    *,
    customer: str,
    time: str,
    amount: str,
    until,
    window=None,
    threads: int | None = None,
    memory_limit: str | None = None,
    parts: tuple[str, ...] = PARTS,
    months: int = 12,
    basket: str | None = None,
    category: str | None = None,
    channel: str | None = None,
    discount: str | None = None,
    negative: str = "returns",
    duplicates: str = "keep",
    time_zone: str | None = None,
) -> pd.DataFrame:
    """Return one row of behaviour per customer with a transaction in the window, ordered by customer.

    Parameters
    ----------
    transactions : path, glob, folder, DataFrame, DuckDB connection or relation
        CSV or Parquet, a folder may be partitioned. A connection must hold one table, or one called transactions.
    customer, time, amount : str
        Columns. Rows lacking one of the three are left out and counted.
    until : date or str
        Exclusive: only times before it count; a plain date means its first moment.
    window : int, str or None
        Length of time before `until`: days, or ``'90 days'``, ``'12 months'``; None takes all history.
    threads, memory_limit : int and str (such as ``'200MB'``), optional
        For DuckDB, which spills to a temporary folder beyond the limit.
    parts : tuple of ``'value'``, ``'months'``, ``'rhythm'``, ``'weekdays'``
        What to compute. Rhythm sorts the rows of each customer and costs most.
    months : int
        How many monthly counts at most (fewer if the window is shorter).
    basket : str, optional
        Rows of one customer that share this value are one purchase (lines of a ticket); the purchase's time is its
        first. Without it every row is one.
    category, channel, discount : str, optional
        Breadth (distinct categories); share of purchases by channel (at most 20 channels); money off per row, >= 0.
    negative : ``'returns'``, ``'drop'`` or ``'error'``
        What an amount below zero is: a return (default), a row to leave out, or a mistake.
    duplicates : ``'keep'``, ``'drop'`` or ``'error'``
        What to do with rows that equal another in every column. Kept ones are counted with the rhythm, if no `basket`.
    time_zone : str, optional
        Where days and months begin; needed if, and only if, `time` carries a time zone.

    Returns
    -------
    DataFrame
        The customer column as named, then (money in the unit of `amount`, time in days):

        - value: ``recency_days`` (last purchase to `until`), ``frequency`` (purchases: amount >= 0), ``monetary``
          (sum of amounts, returns included), ``tenure_days`` (first purchase in the window to `until`),
          ``basket_mean`` (mean purchase), ``returns`` (rows below zero), ``returns_share`` (of all rows, 0-1),
          ``gap_mean_days`` ((last - first) / (purchases - 1), missing below two purchases);
        - months: ``month_1`` (the last one before `until`) … ``month_12``, purchases each; ``active_months``;
          ``trend`` (least-squares slope of these counts, purchases per month and month);
        - rhythm: ``gap_sd_days`` (standard deviation of the times between purchases at distinct times, n - 1;
          missing below three), ``gap_cv`` (over their mean);
        - weekdays: ``weekday_1_share`` (Monday) … ``weekday_7_share``, of purchases;
        - ``breadth``, ``channel_…_share``, ``discount_share`` (money off / (money off + purchases)).

        ``attrs`` holds ``waterfall`` (a list of step, rows, removed, reason), ``duplicates`` (count, None if not
        looked for), ``returns``, ``customers``, ``window_start`` and ``window_until``. Sums are rounded to six decimals, which
        makes them the same however many threads added them up.

    Raises
    ------
    DataProblem
        For unknown columns or options, text that is not a number or a date, ids of mixed type, an unnamed time zone,
        an empty window, and negative or duplicated rows declared as errors.
    """
    for name, value, choices in (
        ("negative", negative, ("returns", "drop", "error")),
        ("duplicates", duplicates, ("keep", "drop", "error")),
    ):
        require_choice(name, value, choices)
    for part in parts:
        require_choice("parts", part, PARTS)
    period = as_window(until, window)
    require_one_id_type(transactions, customer)
    with opened(transactions, threads=threads, memory_limit=memory_limit) as relation:
        require_fields(relation, customer, time, amount, basket, category, channel, discount)
        columns = Columns(
            customer,
            time_sql(relation, time, time_zone),
            amount_sql(relation, amount),
            basket,
            category,
            channel,
            discount,
        )
        return _computed(relation, columns, period, tuple(parts), period.months(months), negative, duplicates)


def _computed(
    relation, columns: Columns, period: Window, parts, months: int, negative: str, duplicates: str
) -> pd.DataFrame:
    prepared = prepared_sql(relation.columns, columns, distinct=duplicates != "keep")
    channels = _channels(relation, prepared, columns.channel)
    counted = "rhythm" in parts and columns.basket is None
    table = relation.query(
        "source", behaviour_sql(prepared, columns, period, parts, months, channels, negative == "drop")
    ).df()
    received = relation.query("source", "SELECT count(*) FROM source").fetchall()[0][0]
    steps = _waterfall(
        relation, prepared, period, negative, received, int(table["rows_used"].sum()) if len(table) else 0
    )
    repeated = int(table["repeated"].sum()) if counted and len(table) else None
    repeated = repeated if duplicates == "keep" else steps[1]["removed"]
    _refuse(table, steps, period, negative, duplicates, repeated)
    table = table.drop(columns=["rows_used", "repeated"]).rename(columns={"customer": columns.customer})
    start = None if period.start is None else str(period.start)
    table.attrs = {
        "waterfall": steps,
        "duplicates": repeated,
        "returns": int(table["returns"].sum()),
        "customers": len(table),
        "window_start": start,
        "window_until": str(period.until),
    }
    return table if "value" in parts else table.drop(columns=["frequency", "returns"])


def _channels(relation, prepared: str, channel: str | None) -> list[str]:
    if channel is None:
        return []
    found = relation.query(
        "source", f"WITH {prepared} SELECT DISTINCT channel::VARCHAR FROM prepared WHERE channel IS NOT NULL ORDER BY 1"
    ).fetchall()
    if len(found) > MOST_CHANNELS:
        raise DataProblem(
            f"{channel} holds {len(found)} values; shares are given for at most {MOST_CHANNELS} channels, so group them first"
        )
    return [row[0] for row in found]


def _waterfall(relation, prepared: str, period: Window, negative: str, received: int, used: int) -> list[dict]:
    """Return step, rows, removed, reason; the breakdown is only queried where rows were lost."""
    steps = [{"step": "received", "rows": received, "removed": 0, "reason": ""}]
    lost = [0] * 5
    if used != received:
        lost = list(relation.query("source", waterfall_sql(prepared, period, negative == "drop")).fetchall()[0])
    reasons = ("equal to another row in every column", "no customer, time or amount", f"at or after {period.until}")
    reasons += (f"before {period.start}", "amount below zero")
    for step, removed, reason in zip(("deduplicated", "complete", "before until", "in window", "used"), lost, reasons):
        steps.append(
            {
                "step": step,
                "rows": steps[-1]["rows"] - int(removed),
                "removed": int(removed),
                "reason": reason if removed else "",
            }
        )
    return steps


def _refuse(table, steps, period: Window, negative: str, duplicates: str, repeated: int | None) -> None:
    if duplicates == "error" and repeated:
        raise DataProblem(
            f"{repeated} of {steps[0]['rows']} rows equal another in every column; remove them, or set duplicates='drop' or 'keep'"
        )
    if len(table) and table["frequency"].max() > MOST_PACKED:
        raise DataProblem(
            f"one customer has {table['frequency'].max()} purchases, more than the {MOST_PACKED} that can be counted; is it a till, or no customer at all?"
        )
    if not len(table):
        lost = "; ".join(f"{s['removed']}: {s['reason']}" for s in steps if s["removed"]) or "the table has no rows"
        start = "the beginning" if period.start is None else period.start
        raise DataProblem(
            f"no transaction between {start} and {period.until} ({lost}); move until or lengthen the window"
        )
    if negative == "error" and table["returns"].sum():
        raise DataProblem(
            f"{int(table['returns'].sum())} of {steps[-1]['rows']} amounts are below zero; correct them, or set negative='returns' or 'drop'"
        )
