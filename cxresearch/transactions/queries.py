"""The SQL of behaviour, assembled from parts; `source` is whatever was opened."""

from dataclasses import dataclass

from cxresearch.transactions.source import quoted
from cxresearch.transactions.windows import Window

COMPLETE = "customer IS NOT NULL AND time IS NOT NULL AND isfinite(amount)"
PURCHASE = "amount >= 0"
FIELD = 17  # bits of a monthly count when three share one sum: exact in a double, and a quarter of the aggregates
MOST_PACKED = 2**FIELD - 1


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


def moment(time) -> str:
    """Return a timestamp as SQL."""
    return f"TIMESTAMP '{time}'"


def prepared_sql(fields: list[str], columns: Columns, *, distinct: bool) -> str:
    """Return the common table `prepared`: canonical columns, one row a row; `key` tells rows apart in every column."""
    picked = [f"{quoted(columns.customer)} AS customer", f"{columns.time} AS time", f"{columns.amount} AS amount"]
    picked += [f"{quoted(column)} AS {role}" for role, column in _optional(columns)]
    picked += [f"hash({', '.join(map(quoted, fields))}) AS key"]
    return f"prepared AS NOT MATERIALIZED (SELECT {', '.join(picked)} FROM {'(SELECT DISTINCT * FROM source)' if distinct else 'source'})"


def _optional(columns: Columns):
    return [
        (role, getattr(columns, role))
        for role in ("basket", "category", "channel", "discount")
        if getattr(columns, role) is not None
    ]


def waterfall_sql(prepared: str, period: Window, drop_negative: bool) -> str:
    """Return the query for the rows lost at each step, one row."""
    late = f"time >= {moment(period.until)}"
    early = "false" if period.start is None else f"time < {moment(period.start)}"
    negative = f"NOT {late} AND NOT {early} AND NOT {PURCHASE}" if drop_negative else "false"
    return (
        f"WITH {prepared} SELECT (SELECT count(*) FROM source) - count(*), count(*) FILTER (NOT ({COMPLETE}) IS TRUE), "
        f"count(*) FILTER ({COMPLETE} AND {late}), count(*) FILTER ({COMPLETE} AND {early}), "
        f"count(*) FILTER ({COMPLETE} AND {negative}) FROM prepared"
    )


def behaviour_sql(
    prepared: str, columns: Columns, period: Window, parts, months: int, channels: list[str], drop_negative: bool
) -> str:
    """Return the query for one row a customer."""
    stages = [prepared, used_sql(period, drop_negative), purchases_sql(columns, rhythm="rhythm" in parts)]
    stages.append(
        f"totals AS NOT MATERIALIZED (SELECT customer, {', '.join(_totals(columns, period, parts, months, channels))} FROM purchases GROUP BY customer)"
    )
    shown = ", ".join(_shown(columns, period, parts, months, channels))
    if columns.category is None:
        return f"WITH {', '.join(stages)} SELECT {shown} FROM totals ORDER BY customer"
    stages.append(
        f"breadths AS (SELECT customer, count(DISTINCT category) FILTER ({PURCHASE}) AS breadth FROM used GROUP BY customer)"
    )
    return (
        f"WITH {', '.join(stages)} SELECT {shown}, breadth FROM totals JOIN breadths USING (customer) ORDER BY customer"
    )


def used_sql(period: Window, drop_negative: bool) -> str:
    """Return the common table `used`: complete rows inside the window."""
    conditions = [COMPLETE, f"time < {moment(period.until)}"]
    conditions += [] if period.start is None else [f"time >= {moment(period.start)}"]
    conditions += [PURCHASE] if drop_negative else []
    return f"used AS NOT MATERIALIZED (SELECT * FROM prepared WHERE {' AND '.join(conditions)})"


def purchases_sql(columns: Columns, *, rhythm: bool) -> str:
    """Return the common table `purchases`: one row a purchase or return; with its `gap` to the one before if asked."""
    table, lines = "used", "1 AS lines"
    if columns.basket is not None:
        extra = "".join(
            f", {how} AS {role}"
            for role, how in (("channel", "min(channel)"), ("discount", "sum(discount)"))
            if getattr(columns, role)
        )
        table = f"(SELECT customer, min(time) AS time, round(sum(amount), 6) AS amount, count(*) AS lines{extra} FROM used GROUP BY customer, coalesce(basket::VARCHAR, key::VARCHAR))"
        lines = "lines"
    picked = ["customer", "time", "amount", lines, *[r for r, _ in _optional(columns) if r in ("channel", "discount")]]
    if not rhythm:
        return f"purchases AS NOT MATERIALIZED (SELECT {', '.join(picked)} FROM {table})"
    key = "key" if columns.basket is None else "0"
    picked.append(f"CASE WHEN {PURCHASE} THEN (epoch_us(time) - epoch_us(lag(time) OVER earlier)) / 1e6 END AS gap")
    picked.append(
        "false AS repeat"
        if columns.basket
        else f"coalesce(time = lag(time) OVER earlier AND {key} = lag({key}) OVER earlier, false) AS repeat"
    )
    return f"purchases AS NOT MATERIALIZED (SELECT {', '.join(picked)} FROM {table} WINDOW earlier AS (PARTITION BY customer, {PURCHASE} ORDER BY time, {key}))"


def _totals(columns: Columns, period: Window, parts, months: int, channels: list[str]) -> list[str]:
    def purchases(condition: str) -> str:
        return f"count(*) FILTER ({PURCHASE} AND {condition})"

    found = [
        f"count(*) FILTER ({PURCHASE}) AS frequency",
        f"sum(amount) FILTER ({PURCHASE}) AS spent",
        "sum(amount) AS net",
        "count(*) AS n",
    ]
    found += [f"min(time) FILTER ({PURCHASE}) AS first", f"max(time) FILTER ({PURCHASE}) AS last"]
    found += ["count(*) AS rows_used" if columns.basket is None else "sum(lines) AS rows_used"]
    if "months" in parts:
        found += _packed("months", [_in_month(period, k) for k in range(1, months + 1)])
    if "rhythm" in parts:
        found += [
            "count(*) FILTER (gap > 0) AS gaps",
            "stddev_samp(gap) FILTER (gap > 0) AS gap_sd",
            "avg(gap) FILTER (gap > 0) AS gap_mean",
        ]
        found += ["count(*) FILTER (repeat) AS repeated"]
    if "weekdays" in parts:
        found += _packed("weekdays", [f"isodow(time) = {d}" for d in range(1, 8)])
    found += [f"{purchases(f'channel::VARCHAR = {_text(name)}')} AS channel_{i}" for i, name in enumerate(channels)]
    return found + ([f"sum(discount) FILTER ({PURCHASE}) AS off"] if columns.discount else [])


def _in_month(period: Window, k: int) -> str:
    return f"time >= {moment(period.edge(k))} AND time < {moment(period.edge(k - 1))}"


def _packed(name: str, conditions: list[str]) -> list[str]:
    """Return sums that hold the purchases under three conditions each, every count in its own bits of a whole number."""
    sums = []
    for first in range(0, len(conditions), 3):
        cases = " ".join(
            f"WHEN {c} THEN {2 ** (FIELD * i)}::DOUBLE" for i, c in enumerate(conditions[first : first + 3])
        )
        sums.append(
            f"coalesce(sum(CASE {cases} ELSE 0::DOUBLE END) FILTER ({PURCHASE}), 0)::BIGINT AS {name}_{first // 3}"
        )
    return sums


def _unpacked(name: str, i: int) -> str:
    """Return the SQL of the i-th count of `_packed`."""
    return f"(({name}_{i // 3} >> {FIELD * (i % 3)}) & {MOST_PACKED})::INTEGER"


def _shown(columns: Columns, period: Window, parts, months: int, channels: list[str]) -> list[str]:
    def days_to_end(time: str) -> str:
        return f"(epoch_us({moment(period.until)}) - epoch_us({time})) / 864e8"

    def share(part: str) -> str:
        return f"{part} / nullif(totals.frequency, 0)"

    shown = ["customer"]
    if "value" in parts:
        shown += [
            f"{days_to_end('last')} AS recency_days",
            "frequency::INTEGER AS frequency",
            "round(net, 6) AS monetary",
            f"{days_to_end('first')} AS tenure_days",
        ]
        shown += [
            f"round({share('spent')}, 6) AS basket_mean",
            "(n - totals.frequency)::INTEGER AS returns",
            "(n - totals.frequency) / n AS returns_share",
        ]
        shown += ["(epoch_us(last) - epoch_us(first)) / 864e8 / nullif(totals.frequency - 1, 0) AS gap_mean_days"]
    else:
        shown += ["frequency::INTEGER AS frequency", "(n - totals.frequency)::INTEGER AS returns"]
    if "months" in parts:
        shown += _monthly(months)
    if "rhythm" in parts:
        shown += ["round(gap_sd / 86400, 9) AS gap_sd_days", "round(gap_sd / gap_mean, 9) AS gap_cv"]
    if "weekdays" in parts:
        shown += [f"{share(_unpacked('weekdays', d - 1))} AS weekday_{d}_share" for d in range(1, 8)]
    shown += [f"{share(f'channel_{i}')} AS {quoted(f'channel_{name}_share')}" for i, name in enumerate(channels)]
    shown += ["off / nullif(off + spent, 0) AS discount_share"] if columns.discount else []
    return shown + ["rows_used", "repeated" if "rhythm" in parts else "0 AS repeated"]


def _monthly(months: int) -> list[str]:
    """Counts, how many are above zero, and their least-squares slope over time (month_1 is the latest)."""
    names = [f"month_{k}" for k in range(1, months + 1)]
    counts = [f"{_unpacked('months', k)} AS {name}" for k, name in enumerate(names)]
    if months < 2:
        return counts
    middle = (months + 1) / 2
    spread = sum((k - middle) ** 2 for k in range(1, months + 1))
    slope = " + ".join(f"{(middle - k) / spread!r}::DOUBLE * {name}" for k, name in enumerate(names, 1))
    return [
        *counts,
        " + ".join(f"({n} > 0)::INTEGER" for n in names) + " AS active_months",
        f"round({slope}, 9) AS trend",
    ]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
