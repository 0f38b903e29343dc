"""One row of behaviour per customer, computed inside DuckDB.

Recency, frequency and monetary value follow Hughes (1994), *Strategic Database Marketing*; everything is observed in
a window that ends before `until`, so that features cannot contain what they are later compared with.
"""

import pandas as pd

from cxresearch.errors import DataProblem, require_choice
from cxresearch.privacy import unsorted
from cxresearch.survey import as_table
from cxresearch.transactions.cluster import everyone_on_cluster
from cxresearch.transactions.shares import Asked, Everyone, everyone_here
from cxresearch.transactions.windows import as_window

PARTS = ("value", "months", "rhythm", "weekdays")


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
    scheduler: str | None = None,
) -> pd.DataFrame:
    """Return one row of behaviour per customer with a transaction in the window, ordered by customer.

    Pseudonyms of a study have no order of their own and keep that of the transactions.

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
    scheduler : str, optional
        Address of a Dask cluster that runs, such as ``'tcp://10.0.0.5:8786'``: each worker computes a share of the
        customers (by id or its hash) from the same files, which all must reach. Without rhythm, `basket`, `category` and
        dropped duplicates it adds up a share of the rows of Parquet instead, so that each row is read once.
        `threads` and `memory_limit` are each worker's.

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
        looked for), ``returns``, ``customers``, ``window_start`` and ``window_until``. Amounts are added as whole
        millionths, exactly: the same bytes for any order of rows, threads and workers. Where the sums of one customer
        pass 2**53 millionths (nine billion) all are added as whole hundredths, then as whole units.

    Raises
    ------
    DataProblem
        For unknown columns or options, text that is not a number or a date, ids of mixed type, an unnamed time zone,
        an empty window, negative or duplicated rows declared as errors, amounts too large to add exactly, and a
        scheduler that does not answer or is given a table instead of files.

    Examples
    --------
    >>> import cxresearch as cx
    >>> table = cx.behaviour(
    ...     "data/example/transactions.csv", customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> table[["frequency", "monetary"]].head(2)
       frequency  monetary
    0         14    480.12
    1          3     98.65
    """
    for name, value, choices in (
        ("negative", negative, ("returns", "drop", "error")),
        ("duplicates", duplicates, ("keep", "drop", "error")),
    ):
        require_choice(name, value, choices)
    for part in parts:
        require_choice("parts", part, PARTS)
    transactions = as_table(transactions).data
    period = as_window(until, window)
    asked = Asked(
        customer,
        time,
        amount,
        basket,
        category,
        channel,
        discount,
        period,
        tuple(parts),
        period.months(months),
        negative,
        duplicates,
        time_zone,
        threads,
        memory_limit,
    )
    everyone = (
        everyone_here(transactions, asked) if scheduler is None else everyone_on_cluster(transactions, asked, scheduler)
    )
    found = _recorded(asked, everyone)
    record = found.attrs
    if isinstance(transactions, pd.DataFrame):
        found = unsorted(found, transactions, customer)
    found.attrs = record
    return found


def _recorded(asked: Asked, everyone: Everyone) -> pd.DataFrame:
    """Return the table with its record, or refuse it."""
    table, steps = everyone.table, _waterfall(asked, everyone)
    repeated = everyone.repeated if asked.duplicates == "keep" else steps[1]["removed"]
    _refuse(asked, table, steps, repeated)
    record = {
        "waterfall": steps,
        "duplicates": repeated,
        "returns": int(table["returns"].sum()),
        "customers": len(table),
        "window_start": None if asked.period.start is None else str(asked.period.start),
        "window_until": str(asked.period.until),
    }
    dropped = [] if "value" in asked.parts else ["frequency", "returns"]
    table = table.drop(columns=dropped).rename(columns={"customer": asked.customer})
    table.attrs = record
    return table


def _waterfall(asked: Asked, everyone: Everyone) -> list[dict]:
    """Return step, rows, removed, reason."""
    steps = [{"step": "received", "rows": everyone.received, "removed": 0, "reason": ""}]
    reasons = (
        "equal to another row in every column",
        "no customer, time or amount",
        f"at or after {asked.period.until}",
    )
    reasons += (f"before {asked.period.start}", "amount below zero")
    names = ("deduplicated", "complete", "before until", "in window", "used")
    for step, removed, reason in zip(names, everyone.lost, reasons):
        rows = steps[-1]["rows"] - removed
        steps.append({"step": step, "rows": rows, "removed": removed, "reason": reason if removed else ""})
    return steps


def _refuse(asked: Asked, table: pd.DataFrame, steps: list[dict], repeated: int | None) -> None:
    if asked.duplicates == "error" and repeated:
        raise DataProblem(
            f"{repeated} of {steps[0]['rows']} rows equal another in every column; remove them, or set duplicates='drop' or 'keep'"
        )
    if not len(table):
        lost = "; ".join(f"{s['removed']}: {s['reason']}" for s in steps if s["removed"]) or "the table has no rows"
        start = "the beginning" if asked.period.start is None else asked.period.start
        raise DataProblem(
            f"no transaction between {start} and {asked.period.until} ({lost}); move until or lengthen the window"
        )
    if asked.negative == "error" and table["returns"].sum():
        raise DataProblem(
            f"{int(table['returns'].sum())} of {steps[-1]['rows']} amounts are below zero; correct them, or set negative='returns' or 'drop'"
        )
