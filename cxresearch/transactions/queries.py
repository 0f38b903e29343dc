"""The SQL of behaviour, assembled from parts; `source` is whatever was opened.

Money is added in whole units of 10**-decimals held in doubles: sums of whole numbers below 2**53 are exact, hence the
same in whatever order threads and workers add them.
"""

from dataclasses import dataclass

import pandas as pd

from cxresearch.inference.events import quoted, text
from cxresearch.transactions.windows import Window

COMPLETE = "customer IS NOT NULL AND time > TIMESTAMP '-infinity' AND isfinite(amount)"
EXACT = 2**53  # the largest whole number to which doubles count without gaps
MICROSECOND = pd.Timedelta(1, "us")
PACKINGS = ((7, 6), (16, 2), (53, 1))  # bits a count has, and how many share a sum; the next where one needs more


@dataclass(frozen=True)
class Columns:
    """Where the values come from; `time` and `amount` are SQL that reads them."""

    customer: str
    time: str
    amount: str
    basket: str | None = None
    category: str | None = None
    channel: str | None = None
    discount: str | None = None


@dataclass(frozen=True)
class Counts:
    """Purchases counted by kind: `slot` is SQL of a place in `kinds`, from 1, or 0; what stands there the kind, from 1, or 0."""

    name: str
    slot: str
    kinds: tuple[int, ...]

    def number(self) -> int:
        """Return how many kinds there are."""
        return max(self.kinds)


@dataclass(frozen=True)
class Query:
    """What is asked of the rows that meet `own`, SQL of one share (empty: all); `only` some customers by name."""

    columns: Columns
    period: Window
    fields: tuple[str, ...]
    parts: tuple[str, ...]
    months: int
    channels: tuple[str, ...] = ()
    drop_negative: bool = False
    distinct: bool = False
    own: str = ""
    only: tuple = ()

    def rows_sql(self, decimals: int = 6) -> str:
        """Return the common tables `prepared` (canonical columns, one row a row) and `used` (complete, in the window)."""
        c = self.columns
        picked = [f"{quoted(c.customer)} AS customer", f"{c.time} AS time", f"{c.amount} AS amount"]
        picked += [f"{quoted(getattr(c, role))} AS {role}" for role in self._optional()]
        picked += [f"hash({', '.join(map(quoted, self.fields))}) AS key"]
        here = f"(SELECT * FROM source{self._where()})"
        rows = f"(SELECT DISTINCT * FROM {here})" if self.distinct else here
        conditions = [COMPLETE, f"time < {moment(self.period.until)}"]
        conditions += [] if self.period.start is None else [f"time >= {moment(self.period.start)}"]
        conditions += ["amount >= 0"] if self.drop_negative else []
        kept = ["*", f"{_units('amount', decimals)} AS money", "amount >= 0 AS bought"]
        kept += [f"{_units('discount', decimals)} AS off"] if c.discount else []
        return (
            f"prepared AS NOT MATERIALIZED (SELECT {', '.join(picked)} FROM {rows}), "
            f"used AS NOT MATERIALIZED (SELECT {', '.join(kept)} FROM prepared WHERE {' AND '.join(conditions)})"
        )

    def purchases_sql(self, decimals: int = 6) -> str:
        """Return the common tables up to `purchases`: one row a purchase or return."""
        if self.columns.basket is None:
            return f"{self.rows_sql(decimals)}, purchases AS NOT MATERIALIZED (FROM used)"
        extra = ", min(channel) AS channel" if self.columns.channel else ""
        extra += ", sum(off) AS off" if self.columns.discount else ""
        return (
            f"{self.rows_sql(decimals)}, purchases AS NOT MATERIALIZED (SELECT *, money >= 0 AS bought FROM (SELECT customer, "
            f"min(time) AS time, sum(money) AS money, count(*) AS lines{extra} FROM used "
            "GROUP BY customer, coalesce(basket::VARCHAR, key::VARCHAR)))"
        )

    def _where(self) -> str:
        names = ", ".join(text(i) if isinstance(i, str) else str(i) for i in self.only)
        conditions = filter(None, (self.own, names and f"{quoted(self.columns.customer)} IN ({names})"))
        found = " AND ".join(conditions)
        return f" WHERE {found}" if found else ""

    def _optional(self) -> list[str]:
        roles = ("basket", "category", "channel", "discount")
        return [role for role in roles if getattr(self.columns, role) is not None]


def moment(time) -> str:
    """Return a timestamp as SQL."""
    return f"TIMESTAMP '{time}'"


def _units(column: str, decimals: int) -> str:
    return f"round({column}::DOUBLE * 1e{decimals})"


def totals_sql(query: Query, decimals: int, packing: tuple[int, int], *, ordered: bool) -> str:
    """Return the query for the totals of each customer, by customer if `ordered`."""
    order = " ORDER BY customer" if ordered else ""
    start = f"WITH {query.purchases_sql(decimals)}, totals AS NOT MATERIALIZED (SELECT customer, "
    start += f"{', '.join(_totals(query, packing))} FROM purchases GROUP BY customer)"
    if query.columns.category is None:
        return f"{start} FROM totals{order}"
    # grouped twice: a set of categories in every customer's state would cost more
    return (
        f"{start}, breadths AS NOT MATERIALIZED (SELECT customer, count(*) AS breadth FROM (SELECT DISTINCT customer, category "
        "FROM used WHERE bought AND category IS NOT NULL) GROUP BY customer) "
        f"SELECT totals.*, coalesce(breadth, 0) AS breadth FROM totals LEFT JOIN breadths USING (customer){order}"
    )


def _totals(query: Query, packing: tuple[int, int]) -> list[str]:
    """Returns are few, so filters stand on them; purchases are their difference from the whole."""
    found = [
        "count(*) AS n",
        "sum(money) AS net",
        "sum(abs(money)) AS gross",
        "epoch_us(min(time) FILTER (bought))::DOUBLE AS first",
        "epoch_us(max(time) FILTER (bought))::DOUBLE AS last",
        "count(*) FILTER (NOT bought) AS returns",
    ]
    found += [] if query.columns.basket is None else ["sum(lines)::BIGINT AS lines"]
    for counts in counts_of(query):
        found += _packed(counts, *packing)
    for i, name in enumerate(query.channels):
        found.append(f"count(*) FILTER (bought AND channel::VARCHAR = {text(name)}) AS channel_{i}")
    return found + (["coalesce(sum(off) FILTER (bought), 0) AS off"] if query.columns.discount else [])


def counts_of(query: Query) -> list[Counts]:
    """Return the counts of purchases that are asked for."""
    weekdays = Counts("weekdays", "bought::BIGINT * isodow(time)", tuple(range(1, 8)))
    every = [_months(query.period, query.months), weekdays] if query.months else [weekdays]
    return [counts for counts in every if counts.name in query.parts]


def _months(period: Window, months: int) -> Counts:
    """Counts by month before the end of the window, told by the calendar month where that can be: the engine keeps those."""
    until, start = period.until, period.edge(months)
    shift = until - until.normalize().replace(day=1)
    if months <= 12 and all((period.edge(k) - shift).day == 1 for k in range(1, months + 1)):
        kinds = ((until.month - month - 1) % 12 + 1 for month in range(1, 13))
        slot = f"(bought AND time >= {moment(start)})::BIGINT * month({_time_less(shift)})"
        return Counts("months", slot, tuple(k if k <= months else 0 for k in kinds))
    ends = [(period.edge(k) - start).days for k in range(months, -1, -1)]
    kinds = (months - i for i in range(months) for _ in range(ends[i], ends[i + 1]))
    day = f"{_time_less(until - until.normalize())}::DATE - DATE '{start.date()}' + 1"
    return Counts("months", f"bought::BIGINT * greatest({day}, 0)", tuple(kinds))


def _time_less(shift: pd.Timedelta) -> str:
    return f"(time - INTERVAL {shift // MICROSECOND} MICROSECOND)" if shift else "time"


def _packed(counts: Counts, bits: int, together: int) -> list[str]:
    """Return sums that hold the purchases of several kinds each, every count in its own bits of a whole number.

    Above them stands how many they are together, by which `unpack` knows that none ran over. A row adds the weight of
    its kind, looked up in a list: a CASE, which branches row by row, or a condition for each kind costs more.
    """
    sums, whole = [], 2 ** (bits * together) if together > 1 else 0
    for first in range(0, counts.number(), together):
        weights = {first + i + 1: 2 ** (bits * i) + whole for i in range(together)}
        listed = ", ".join(str(weights.get(kind, "NULL")) for kind in counts.kinds)
        looked_up = f"list_extract([{listed}]::DOUBLE[], {counts.slot})"
        sums.append(f"coalesce(sum({looked_up}), 0) AS {counts.name}_{first // together}")
    return sums


def waterfall_sql(query: Query) -> str:
    """Return the query for the rows received and those lost at each step, one row."""
    late = f"time >= {moment(query.period.until)}"
    early = "false" if query.period.start is None else f"time < {moment(query.period.start)}"
    negative = f"NOT {late} AND NOT {early} AND amount < 0" if query.drop_negative else "false"
    return (
        f"WITH {query.rows_sql()} SELECT (SELECT count(*) FROM source) - count(*), count(*) FILTER (NOT ({COMPLETE}) IS TRUE), "
        f"count(*) FILTER ({COMPLETE} AND {late}), count(*) FILTER ({COMPLETE} AND {early}), "
        f"count(*) FILTER ({COMPLETE} AND {negative}) FROM prepared"
    )


def times_sql(query: Query) -> str:
    """Return the query for the time of every purchase and return, by customer and time: 2 * microseconds + bought."""
    return (
        f"WITH {query.purchases_sql()} SELECT tick FROM (SELECT customer, epoch_us(time) * 2 + bought::BIGINT AS tick "
        "FROM purchases) ORDER BY customer, tick"
    )


def repeated_sql(query: Query, times: list[int] | None) -> str:
    """Return the query for the rows that equal an earlier one in every column, among those at `times` (None: all)."""
    # timestamps, not their numbers: the engine then reads the other columns only where one of them stands
    at = "" if times is None else f" WHERE time IN ({', '.join(f'make_timestamp({t})' for t in times)})"
    return (
        f"WITH {query.rows_sql()} SELECT coalesce(sum(n - 1), 0) FROM "
        f"(SELECT count(*) AS n FROM used{at} GROUP BY customer, time, key)"
    )
