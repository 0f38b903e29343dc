"""The customers shared out by their ids: each share is one query that needs nothing from the others."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.transactions.columns import features_of, largest_sum, unpack
from cxresearch.transactions.queries import (
    EXACT,
    WIDTHS,
    Columns,
    Query,
    repeated_sql,
    times_sql,
    totals_sql,
    waterfall_sql,
)
from cxresearch.transactions.rhythm import MANY, rhythm
from cxresearch.transactions.source import (
    WHOLE,
    amount_sql,
    kind,
    opened,
    quoted,
    require_fields,
    require_one_id_type,
    time_sql,
)
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
    """One share's table, how many rows it rests on and how many repeat another (None: not looked for)."""

    table: pd.DataFrame
    used: int
    repeated: int | None
    exact: bool


@dataclass(frozen=True)
class Shares:
    """All customers, the rows received, and those lost at each step."""

    parts: list[Share]
    received: int
    lost: tuple[int, ...]


def shares_here(transactions, asked: Asked) -> Shares:
    """Return all customers as one share."""
    with opened(transactions, threads=asked.threads, memory_limit=asked.memory_limit) as relation:
        query, received = checked(relation, transactions, asked)
        parts = first_exact(lambda decimals: [computed(relation, query, decimals)])
        whole = sum(p.used for p in parts) == received
        return Shares(parts, received, NONE_LOST if whole else lost_rows(relation, query))


def first_exact(compute) -> list[Share]:
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


def shared_out(relation, query: Query, of: int) -> list[Query]:
    """Return one query for each share; of whole-number ids the shares are ranges, about equal by a sample of the rows."""
    bounds: tuple[int, ...] = ()
    if of > 1 and kind(relation, query.columns.customer) in WHOLE:
        at = ", ".join(str(k / of) for k in range(1, of))
        sample = f"SELECT quantile_disc({quoted(query.columns.customer)}, [{at}]) FROM source USING SAMPLE 2% (system)"
        bounds = tuple(relation.query("source", sample).fetchall()[0][0] or ())
    return [replace(query, share=(i, of), bounds=bounds) for i in range(of)]


def lost_rows(relation, query: Query) -> tuple[int, ...]:
    """Return how many rows each step of the waterfall took."""
    return tuple(map(int, relation.query("source", waterfall_sql(query)).fetchall()[0]))


def computed(relation, query: Query, decimals: int) -> Share:
    """Return one share of the customers."""
    totals = _totals(relation, query, decimals)
    used = int(totals["n" if query.columns.basket is None else "lines"].sum())
    sizes, largest = totals["n"], largest_sum(totals)
    table, repeated = features_of(totals, query, 10**decimals), None
    if "rhythm" in query.parts:
        repeated = _add_rhythm(relation, query, table, sizes)
    return Share(table, used, None if query.columns.basket else repeated, largest <= EXACT)


def _totals(relation, query: Query, decimals: int) -> dict:
    """Return the totals; customers with counts too large for the bytes they have are counted again, apart, in more."""
    totals = _by_customer(relation, query, decimals, WIDTHS[0])
    over = unpack(totals, query, WIDTHS[0])
    for width in WIDTHS[1:]:
        heavy = np.flatnonzero(over)
        if heavy.size:
            kind_of_id = totals["customer"].dtype
            few = heavy.size <= MANY and (kind_of_id.kind in "iu" or kind_of_id == "str")
            only = tuple(totals["customer"].iloc[heavy]) if few else ()
            again = _by_customer(relation, replace(query, only=only), decimals, width)
            still = unpack(again, query, width)
            for name in again.keys() - {"customer"}:
                totals[name][heavy] = again[name] if few else again[name][heavy]
            over[heavy] = still if few else still[heavy]
    return totals


def _by_customer(relation, query: Query, decimals: int, width: int) -> dict:
    """Return the totals by customer; whole-number ids are put in order here, which costs less than in the engine."""
    sorted_here = kind(relation, query.columns.customer) in WHOLE
    totals = _columns(relation.query("source", totals_sql(query, decimals, width, ordered=not sorted_here)))
    if sorted_here and not totals["customer"].is_monotonic_increasing:
        order = _order(totals["customer"].to_numpy())
        for name, values in totals.items():
            totals[name] = values.take(order)
        totals["customer"] = totals["customer"].reset_index(drop=True)
    return totals


def _order(ids: np.ndarray) -> np.ndarray:
    """Return the positions of distinct whole numbers in ascending order; without wide gaps, each has its slot."""
    if ids.dtype.kind not in "iu" or int(ids.max()) - int(ids.min()) > 4 * len(ids):
        return np.argsort(ids)
    places = np.subtract(ids, ids.min(), dtype=ids.dtype if ids.dtype.itemsize == 8 else np.int64)
    slots = np.full(int(places.max()) + 1, -1, np.int64)
    slots[places] = np.arange(len(ids))
    return slots[slots >= 0]


def _columns(found) -> dict:
    """Return an answer column by column: in the memory of the answer and one column more, not of three."""
    parts: dict[str, list] = {name: [] for name in found.columns}
    for batch in found.to_arrow_reader():
        for name, values in zip(batch.schema.names[1:], batch.columns[1:]):
            parts[name].append(np.array(values.to_numpy(zero_copy_only=False)))
        parts["customer"].append(_ids(batch.column(0)))
    if not parts["customer"]:
        return {name: column if name == "customer" else column.to_numpy() for name, column in found.df().items()}
    ids = pd.concat(parts.pop("customer"), ignore_index=True)
    return {"customer": ids} | {name: np.concatenate(parts.pop(name)) for name in list(parts)}


def _ids(values) -> pd.Series:
    """Return a copy of a batch's ids; decimals, which are objects in pandas, as floats."""
    found = values.to_pandas().copy()
    return found.astype(float) if str(values.type).startswith("decimal") else found


def _add_rhythm(relation, query: Query, table: pd.DataFrame, sizes) -> int:
    """Add the spread of the times between purchases; return how many rows repeat another."""
    reader = relation.query("source", times_sql(query)).to_arrow_reader()
    found = rhythm((b.column(0).to_numpy() for b in reader), sizes)
    place = table.columns.get_loc("trend" if "trend" in table else "returns") + 1
    table.insert(place, "gap_sd_days", np.round(found.sd, 9))
    table.insert(place + 1, "gap_cv", np.round(found.sd / found.mean, 9))
    if not found.ties or query.distinct:
        return 0
    times = None if len(found.ties) > MANY else sorted(found.ties)
    return int(relation.query("source", repeated_sql(query, times)).fetchall()[0][0])
