"""The customers shared out by their ids: each share is one query that needs nothing from the others."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.inference.events import kind, opened, quoted, require_fields, time_sql
from cxresearch.transactions.queries import (
    EXACT,
    Columns,
    Query,
    repeated_sql,
    times_sql,
    waterfall_sql,
)
from cxresearch.transactions.rhythm import MANY, rhythm
from cxresearch.transactions.source import WHOLE, amount_sql, require_one_id_type
from cxresearch.transactions.totals import AT_ONCE, Totals, features, totals_of
from cxresearch.transactions.windows import Window

MOST_CHANNELS = 20
NONE_LOST = (0,) * 5
STEPS = (6, 2, 0)  # decimals that amounts are added in; fewer only where a customer's sum would not be exact


@dataclass(frozen=True)
class Asked:
    """The arguments of `behaviour`, checked."""

    customer: str
    time: str
    amount: str
    basket: str | None
    category: str | None
    channel: str | None
    discount: str | None
    period: Window
    parts: tuple[str, ...]
    months: int
    negative: str
    duplicates: str
    time_zone: str | None
    threads: int | None
    memory_limit: str | None


@dataclass(frozen=True)
class Share:
    """One share's totals and spread of gaps, the rows used, those that repeat another (None: not looked for)."""

    totals: Totals
    spread: dict
    used: int
    repeated: int | None
    exact: bool


@dataclass(frozen=True)
class Everyone:
    """The table of all customers, the rows that repeat another, the rows received, and those lost at each step."""

    table: pd.DataFrame
    repeated: int | None
    received: int
    lost: tuple[int, ...]


def everyone_here(transactions, asked: Asked) -> Everyone:
    """Return all customers, computed as one share."""
    with opened(transactions, threads=asked.threads, memory_limit=asked.memory_limit) as relation:
        query, received = checked(relation, transactions, asked)
        (share,) = first_exact(lambda decimals: [computed(relation, query, decimals)])
        lost = NONE_LOST if share.used == received else lost_rows(relation, query)
    return together([share], query, received, lost)


def first_exact(compute) -> list:
    """Return `compute(decimals)` for the most decimals at which every sum of every share is exact."""
    for decimals in STEPS:
        shares = compute(decimals)
        if all(share.exact for share in shares):
            return shares
    raise DataProblem(
        f"the amounts of one customer add up to more than {EXACT:,}, beyond which they cannot be added exactly; "
        "correct them, or give them in thousands or millions"
    )


def checked(relation, transactions, asked: Asked) -> tuple[Query, int]:
    """Return the query for all customers, once the columns are what they were declared to be, and how many rows there are."""
    require_one_id_type(transactions, asked.customer)
    optional = (asked.basket, asked.category, asked.channel, asked.discount)
    require_fields(relation, asked.customer, asked.time, asked.amount, *optional)
    when, amount = time_sql(relation, asked.time, asked.time_zone), amount_sql(relation, asked.amount)
    query = Query(
        Columns(asked.customer, when, amount, *optional),
        asked.period,
        tuple(relation.columns),
        asked.parts,
        asked.months,
        drop_negative=asked.negative == "drop",
        distinct=asked.duplicates != "keep",
    )
    received = relation.query("source", "SELECT count(*) FROM source").fetchall()[0][0]
    return replace(query, channels=_channels(relation, query)), received


def _channels(relation, query: Query) -> tuple[str, ...]:
    if query.columns.channel is None:
        return ()
    found = relation.query(
        "source",
        f"WITH {query.rows_sql()} SELECT DISTINCT channel::VARCHAR FROM prepared WHERE channel IS NOT NULL ORDER BY 1",
    ).fetchall()
    if len(found) > MOST_CHANNELS:
        raise DataProblem(
            f"{query.columns.channel} holds {len(found)} values; shares are given for at most {MOST_CHANNELS} channels, so group them first"
        )
    return tuple(row[0] for row in found)


def shared_out(relation, query: Query, of: int, received: int) -> list[Query]:
    """Return one query for each share of the customers: whole-number ids between bounds, others by their hash.

    The engine skips what lies outside bounds, and its table of ids is as small as the share. Shares between bounds are
    about equal by some of the rows.
    """
    own, edges = quoted(query.columns.customer), [2**64 * k // of for k in range(1, of)]
    if of > 1 and kind(relation, query.columns.customer) in WHOLE:
        # three runs of rows: a file of Parquet is not read between them, as it would be for a sample
        some = f"(SELECT {own} AS id FROM source LIMIT 20000 OFFSET "
        runs = " UNION ALL ".join(f"{some}{received * k // 6})" for k in (1, 3, 5))
        at = ", ".join(str(k / of) for k in range(1, of))
        found = relation.query("source", f"SELECT quantile_disc(id, [{at}]) FROM ({runs})")
        edges = found.fetchall()[0][0] or edges
    else:
        own = f"hash({own})"
    above, below = [f"{own} >= {edge}" for edge in edges], [f"{own} < {edge}" for edge in edges]
    return [replace(query, own=" AND ".join(above[:i][-1:] + below[i:][:1])) for i in range(of)]


def lost_rows(relation, query: Query) -> tuple[int, ...]:
    """Return how many rows each step of the waterfall took."""
    return tuple(map(int, relation.query("source", waterfall_sql(query)).fetchall()[0]))


def computed(relation, query: Query, decimals: int) -> Share:
    """Return one share of the customers, as far as only the engine can tell."""
    totals, spread, repeated = totals_of(relation, query, decimals), {}, None
    if "rhythm" in query.parts:
        spread, ties = _rhythm(relation, query, totals.by_customer("n"))
        repeated = _repeated(relation, query, ties)
    return Share(totals, spread, totals.rows(), repeated, totals.exact())


def together(shares: list[Share], query: Query, received: int, lost: tuple[int, ...]) -> Everyone:
    """Return the shares as one table by customer; better once the engine is closed, and its memory free."""
    found = [share.repeated for share in shares]
    repeated = None if None in found else sum(found)
    shares[:] = [share for share in shares if len(share.totals.ids)] or shares[:1]
    spread = {name: np.concatenate([share.spread[name] for share in shares]) for name in shares[0].spread}
    parts, several = [share.totals for share in shares], len(shares) > 1
    shares.clear()  # so that the memory of each part is free once its features are made
    columns = features(parts, query)
    last = "trend" if "trend" in columns else "returns"
    table = {}
    for name in list(columns):
        table[name] = columns.pop(name)
        table |= spread if name == last else {}
    frame = pd.DataFrame(table, copy=False)
    if several and not frame["customer"].is_monotonic_increasing:
        frame = frame.sort_values("customer", kind="stable", ignore_index=True)
    return Everyone(frame, repeated, received, lost)


def _rhythm(relation, query: Query, sizes: np.ndarray) -> tuple[dict, set[int]]:
    """Return the spread of the times between purchases, and the times at which a customer's rows coincide."""
    reader = relation.query("source", times_sql(query)).to_arrow_reader(AT_ONCE)
    found = rhythm((b.column(0).to_numpy() for b in reader), sizes)
    return {"gap_sd_days": np.round(found.sd, 9), "gap_cv": np.round(found.sd / found.mean, 9)}, found.ties


def _repeated(relation, query: Query, ties: set[int]) -> int | None:
    """Return how many rows repeat another, for which they must coincide; None in baskets, where lines may be alike."""
    if query.columns.basket is not None:
        return None
    if not ties or query.distinct:
        return 0
    times = None if len(ties) > MANY else sorted(ties)
    return int(relation.query("source", repeated_sql(query, times)).fetchall()[0][0])
