"""One row of behaviour per customer, computed inside DuckDB from what happened before `until`.

Everything is observed in a window that ends before `until`, so that features cannot contain what they are later
compared with.
"""

from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cxresearch import digits
from cxresearch.errors import DataProblem, require_choice, require_columns
from cxresearch.inference.events import amount_sql, opened, quoted, require_one_id_type, time_sql, waterfall_of
from cxresearch.privacy import unsorted
from cxresearch.survey import Survey, as_survey, as_table
from cxresearch.transactions.cluster import on_workers
from cxresearch.transactions.contacts import CONTACTS, with_contacts
from cxresearch.transactions.features import EXACT, OPTIONAL, PARTS, Query
from cxresearch.transactions.windows import as_window

MOST_CHANNELS = 20
DECIMALS = (6, 2, 0)  # that amounts are added in; fewer only where a customer's sum would not be exact


def behaviour(
    transactions, *, customer: str | None = None, time: str | None = None, amount: str | None = None, until, window=None,
    contacts=None, contact_channel: str = "channel", digital=(), parts: tuple[str, ...] = PARTS, months: int = 12,
    basket: str | None = None, category: str | None = None, channel: str | None = None, discount: str | None = None,
    negative: str = "returns", duplicates: str = "keep", time_zone: str | None = None, threads: int | None = None,
    memory_limit: str | None = None, scheduler: str | None = None,
) -> Survey:  # fmt: skip
    """Return one row of behaviour per customer with a transaction in the window, ordered by customer.

    Pseudonyms of a study have no order of their own and keep that of the transactions.

    Parameters
    ----------
    transactions : Table, path, glob, folder, DataFrame, DuckDB connection or relation
        CSV or Parquet, a folder may be partitioned. A connection must hold one table, or one called transactions. A
        study's table knows which of its columns are those below.
    customer, time, amount : str
        Columns. Rows lacking one of the three are left out and counted.
    until : date or str
        Exclusive: only times before it count; a plain date means its first moment.
    window : int, str or None
        Length of time before `until`: days, or ``'90 days'``, ``'12 months'``; None takes all history.
    contacts : Table, path, DataFrame or relation, optional
        One row per contact with the company; `customer` and `time` are called as in `transactions`.
    contact_channel, digital : str and list of str
        Column of `contacts`, and which of its values count as digital, such as ``["email", "chat"]``.
    parts : tuple of ``'value'``, ``'months'``, ``'rhythm'``, ``'weekdays'``
        What to compute. Rhythm sorts the rows of each customer and costs most.
    months : int
        How many monthly counts at most (fewer if the window is shorter).
    basket : str, optional
        Rows of one customer that share this value are one purchase (lines of a ticket); the purchase's time is its
        first. Without it every row is one.
    category, channel, discount : str, optional
        Breadth (distinct categories); share of purchases by channel (at most 20 channels); money off per row, >= 0.
    negative : ``'returns'`` or ``'drop'``
        What an amount below zero is: a return (default), or a row to leave out.
    duplicates : ``'keep'`` or ``'drop'``
        What to do with rows that equal another in every column. Kept ones are counted with the rhythm, if no `basket`.
    time_zone : str, optional
        Where days and months begin; needed if, and only if, `time` carries a time zone.
    threads, memory_limit : int and str (such as ``'200MB'``), optional
        For DuckDB, which spills to a temporary folder beyond the limit.
    scheduler : str, optional
        Address of a Dask cluster that runs (needs ``cxresearch[cluster]``): each worker adds up a share of the files,
        which all must reach, and the totals are put together here. Rhythm, `basket`, `category` and dropped duplicates
        need all payments of a customer at once: files split by customer.

    Returns
    -------
    Survey
        ``table`` has the customer column as named, then (money in the unit of `amount`, time in days):

        - value: ``recency_days`` (last purchase to `until`), ``frequency`` (purchases: amount >= 0), ``monetary``
          (sum of amounts, returns included), ``tenure_days`` (first purchase in the window to `until`),
          ``basket_mean`` (mean purchase), ``returns`` (rows below zero), ``returns_share`` (of all rows, 0-1);
        - months: ``month_1`` (the last one before `until`) … ``month_12``, purchases each; ``active_months``;
          ``trend`` (least-squares slope of these counts, purchases per month and month);
        - rhythm, of the times between purchases at distinct moments: ``gap_mean_days``, ``gap_sd_days`` (n - 1; missing
          below two gaps), ``gap_cv`` (the one over the other);
        - weekdays: ``weekday_1_share`` (Monday) … ``weekday_7_share``, of purchases;
        - ``channel_…_share``, ``discount_share`` (money off / (money off + purchases)), ``breadth``;
        - with `contacts`: ``contacts``, ``contact_share`` (contacts / (contacts + purchases), 0-1), ``digital_share``
          (of the contacts with a known channel, 0-1; missing without any).

        ``labels`` words them, ``columns_of("feature")`` are those to segment by (known for every customer, not constant,
        each saying something of its own), ``waterfall`` counts every row, and the floor is that of the table. Amounts
        are added as whole millionths (hundredths, units, where one customer's pass 2**53 of them), exactly: the same
        bytes for any order of rows, threads and workers.

    Raises
    ------
    DataProblem
        For unknown columns or options, text that is not a number or a date, ids of mixed type, several currencies, an
        unnamed time zone, an empty window, amounts too large to add exactly, and a scheduler that does not answer, or
        whose files do not hold all that is asked of a customer.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> found = cx.behaviour(study.transactions, until="2025-01-01", window="12 months")
    >>> found.columns_of("feature")[:3], found.label("recency_days")
    (['recency_days', 'frequency', 'basket_mean'], 'days since the last purchase')
    >>> found.waterfall["rows"].tolist()
    [22463, 22463, 22463, 15875, 15875, 15875]
    """
    for part in parts:
        require_choice("parts", part, PARTS)
    require_choice("negative", negative, ("returns", "drop"))
    require_choice("duplicates", duplicates, ("keep", "drop"))
    events, period = as_table(transactions), as_window(until, window)
    given = dict(customer=customer, time=time, amount=amount, basket=basket, category=category, channel=channel,
                 discount=discount)  # fmt: skip
    columns = {role: column or events.roles.get(role) for role, column in given.items()}
    require_one_id_type(events.data, columns["customer"])
    with opened(events.data, threads=threads, memory_limit=memory_limit) as relation:
        query = Query(
            *_required(relation, columns, time_zone), {role: columns[role] for role in OPTIONAL if columns[role]},
            period, tuple(parts), period.months(months), tuple(relation.columns), _channels(relation, columns["channel"]),
            negative == "drop", duplicates == "drop",
        )  # fmt: skip
        here = lambda q, decimals: relation.query("source", q.features_sql(q.totals_sql(decimals), decimals))  # noqa: E731
        there = scheduler and on_workers(events.data, scheduler, threads, memory_limit)
        table = _exact(there or here, query)
        waterfall = _waterfall(relation, query, table)
    table = table[["customer", *(f.name for f in query.features())]].rename(columns={"customer": columns["customer"]})
    if isinstance(events.data, pd.DataFrame):
        table = unsorted(table, events.data, columns["customer"])
    words = {f.name: f.words for f in query.features()}
    if contacts is not None:
        asked = (columns["customer"], columns["time"], contact_channel, list(digital), period, time_zone)
        table, more = with_contacts(table, as_table(contacts).data, *asked)
        words, waterfall = words | CONTACTS, pd.concat([waterfall, more], ignore_index=True)
    shown = table if "value" in parts else table.drop(columns=["frequency", "returns"])
    survey = as_survey(
        shown, respondent=columns["customer"], labels={c: words[c] for c in shown.columns[1:]},
        roles=dict.fromkeys(_basis(shown, query), "feature"), currency=events.currency,
        min_base=max(events.min_base, 1 if contacts is None else as_table(contacts).min_base),
    )  # fmt: skip
    return replace(survey, waterfall=waterfall)


def _required(relation, columns: dict, time_zone: str | None) -> tuple[str, str, str]:
    """Return the customer column and the SQL that reads times and amounts, once they are what they were declared to be."""
    for role in ("customer", "time", "amount"):
        if columns[role] is None:
            raise DataProblem(f"the table does not say which column is the {role}; name it with {role}=")
    require_columns(relation, *columns.values(), where="transactions")
    return columns["customer"], time_sql(relation, columns["time"], time_zone), amount_sql(relation, columns["amount"])


def _channels(relation, column: str | None) -> tuple[str, ...]:
    if column is None:
        return ()
    q = quoted(column)
    asked = f"SELECT DISTINCT {q}::VARCHAR FROM source WHERE {q} IS NOT NULL ORDER BY 1"
    found = [row[0] for row in relation.query("source", asked).fetchall()]
    if len(found) > MOST_CHANNELS:
        raise DataProblem(
            f"{column} holds {len(found)} values; shares are given for at most {MOST_CHANNELS} channels, so group them first"
        )
    return tuple(found)


def _exact(features, query: Query) -> pd.DataFrame:
    """Return the table of `features(query, decimals)`, by customer, with the most decimals at which every sum is exact."""
    for decimals in DECIMALS:
        found = features(query, decimals).to_arrow_table()
        if (pc.max(found["_rows"]).as_py() or 0) >= 2**query.bits:
            query = replace(query, bits=31)
            found = features(query, decimals).to_arrow_table()
        sums = [found[name] for name in ("_gross", "_off") if name in found.column_names]
        if max(pc.max(s).as_py() or 0 for s in sums) <= EXACT:
            break
    else:
        raise DataProblem(
            f"the amounts of one customer add up to more than {EXACT:,}, beyond which they cannot be added exactly; "
            "correct them, or give them in thousands or millions"
        )
    if pa.types.is_decimal(found.schema.field("customer").type):
        found = found.set_column(0, "customer", found["customer"].cast(pa.float64()))
    table = found.to_pandas(split_blocks=True, self_destruct=True)
    del found
    return table if table["customer"].is_monotonic_increasing else table.sort_values("customer", ignore_index=True)


def _waterfall(relation, query: Query, table: pd.DataFrame) -> pd.DataFrame:
    """Return step, rows, removed, reason; refuse a window in which nothing is left.

    Rows that repeat another are looked for as far as the rhythm tells (lines of a basket may be alike). DuckDB finds
    the DataFrame `cxresearch_tied` by its name in this function.
    """
    received = relation.query("source", "SELECT count(*) FROM source").fetchall()[0][0]
    whole = int(table["_rows"].sum()) == received
    lost = (0,) * 5 if whole else relation.query("source", query.lost_sql()).fetchall()[0]
    looked_for = "_ties" in table and "basket" not in query.optional and not query.distinct
    cxresearch_tied = table.loc[table["_ties"] > 0, ["customer"]] if looked_for else ()
    repeated = relation.query("source", query.repeated_sql()).fetchall()[0][0] if len(cxresearch_tied) else 0
    period, names = query.period, ("deduplicated", "complete", "before until", "in window", "used")
    reasons = ("equal to another row in every column", "no customer, time or amount", f"at or after {period.until}",
               f"before {period.start}", "amount below zero")  # fmt: skip
    found = waterfall_of(received, zip(names, lost, reasons))
    if not len(table):
        why = "; ".join(f"{s.removed}: {s.reason}" for s in found.itertuples() if s.removed) or "the table has no rows"
        start = "the beginning" if period.start is None else period.start
        raise DataProblem(
            f"no transaction between {start} and {period.until} ({why}); move until or lengthen the window"
        )
    if repeated:
        found.loc[1, "reason"] = f"{repeated} equal to another row in every column, kept"
    return found


def _basis(table: pd.DataFrame, query: Query) -> list[str]:
    """Return the features that segments may rest on: of the shares by channel, the one that varies most."""
    channels = [f"channel_{c}_share" for c in query.channels]
    widest = channels[digits.descending([table[c].std() for c in channels], channels)[0]] if channels else None
    names = [f.name for f in query.features() if f.basis and f.name in table and f.name not in {*channels} - {widest}]
    return [c for c in names if table[c].notna().all() and table[c].min() < table[c].max()]
