"""The totals of each customer as the engine returns them, with counts that share sums.

They take less than half the memory of the features, so only they are kept while the engine holds its own tables, and
only they travel from the workers of a cluster.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch.inference.events import kind
from cxresearch.transactions.columns import features_of
from cxresearch.transactions.queries import EXACT, PACKINGS, Query, counts_of, totals_sql
from cxresearch.transactions.source import WHOLE

APART = 10_000  # customers that a query can name
# Rows or customers at a time: their arrays fit the processor's cache, and stay below the size from which a worker of
# Dask, whose malloc is told to give memory back, asks the system for each of them anew.
AT_ONCE = 8192


@dataclass(frozen=True)
class Totals:
    """Batches of totals, money in units of which `unit` make one; `ranks` are the places by id (None: they are in order).

    Those of the customers numbered `heavy` are right in `again` only.
    """

    batches: list[dict[str, np.ndarray]]
    ids: pd.Series
    unit: int
    ranks: np.ndarray | None
    heavy: np.ndarray | None = None
    again: "Totals | None" = None

    def by_customer(self, name: str) -> np.ndarray:
        """Return one of the totals, by customer."""
        return _placed([batch[name] for batch in self.batches], self.ranks)

    def rows(self) -> int:
        """Return how many rows the totals rest on."""
        return sum(int(batch.get("lines", batch["n"]).sum()) for batch in self.batches)

    def exact(self) -> bool:
        """Return whether all sums of money are, because no customer's passes 2**53 units."""
        sums = [batch[name] for batch in self.batches for name in ("gross", "off") if name in batch]
        return max(float(np.max(s, initial=0)) for s in sums) <= EXACT

    def in_order(self) -> "Totals":
        """Return all totals right, in one batch by customer; takes the batches apart, so that memory does not hold both."""
        names = list(self.batches[0])
        batch = {name: _placed([batch.pop(name) for batch in self.batches], self.ranks) for name in names}
        if self.again is not None:
            for name, values in self.again.in_order().batches[0].items():
                batch[name] = batch[name].astype(np.result_type(batch[name], values))
                batch[name][self.heavy] = values
        return Totals([batch], self.ids, self.unit, None)

    def write(self, table: dict, start: int, rows: int, query: Query) -> None:
        """Write the features into a table of `rows` customers, from row `start`; columns that it lacks are added.

        Totals are put in order, not features, which are more.
        """
        (totals,) = self.in_order().batches
        for at in range(0, max(len(self.ids), 1), AT_ONCE):
            here = slice(at, min(at + AT_ONCE, len(self.ids)))
            block = {name: values[here] for name, values in totals.items()}
            for name, values in features_of(block, query, self.unit).items():
                if name not in table:
                    table[name] = np.empty(rows, values.dtype)
                table[name][start + at : start + here.stop] = values


def features(parts: list[Totals], query: Query) -> dict:
    """Return the columns that `behaviour` describes, one part below the other; takes the parts from the list."""
    ids = [totals.ids for totals in parts]
    table: dict = {"customer": pd.concat(ids, ignore_index=True) if len(ids) > 1 else ids[0]}
    start = 0
    while parts:
        totals = parts.pop(0)
        totals.write(table, start, len(table["customer"]), query)
        start += len(totals.ids)
    return table


def totals_of(relation, query: Query, decimals: int, packings=PACKINGS) -> Totals:
    """Return the totals; customers with counts too large for the bits they have are counted again, apart, with more.

    Whole-number ids are put in order here, which costs less than in the engine.
    """
    ordered = kind(relation, query.columns.customer) not in WHOLE
    batches = _batches(relation.query("source", totals_sql(query, decimals, packings[0], ordered=ordered)))
    numbers = {counts.name: counts.number() for counts in counts_of(query)}
    over = [unpack(batch, numbers, packings[0]) for batch in batches]
    ids = pd.concat([batch.pop("customer") for batch in batches], ignore_index=True)
    ranks = None if ordered or ids.is_monotonic_increasing else _ranks(ids.to_numpy())
    ids = ids if ranks is None else pd.Series(_placed([ids.to_numpy()], ranks))
    totals = Totals(batches, ids, 10**decimals, ranks)
    heavy = np.flatnonzero(_placed(over, ranks))
    if not heavy.size or len(packings) == 1:
        return totals
    few = heavy.size <= APART and (ids.dtype.kind in "iu" or ids.dtype == "str")
    only = tuple(ids.iloc[heavy]) if few else ()
    again = totals_of(relation, replace(query, only=only), decimals, packings[1:])
    return replace(totals, heavy=heavy, again=again) if few else again


def _ranks(ids: np.ndarray) -> np.ndarray:
    """Return the places of distinct whole numbers in ascending order; without wide gaps, each has its slot."""
    if ids.dtype.kind not in "iu" or int(ids.max()) - int(ids.min()) > 4 * len(ids):
        return _placed([np.arange(len(ids))], np.argsort(ids))
    slots = np.subtract(ids, ids.min(), dtype=ids.dtype if ids.dtype.itemsize == 8 else np.int64)
    taken = np.zeros(int(slots.max()) + 1, bool)
    taken[slots] = True
    return (np.cumsum(taken) - 1)[slots]


def _placed(parts: list[np.ndarray], ranks: np.ndarray | None) -> np.ndarray:
    """Return values, given in parts, put at their places."""
    if ranks is None:
        return np.concatenate(parts) if len(parts) > 1 else parts[0]
    found, done = np.empty(len(ranks), parts[0].dtype), 0
    for part in parts:
        found[ranks[done : done + len(part)]] = part
        done += len(part)
    return found


def unpack(totals: dict, numbers: dict[str, int], packing: tuple[int, int]) -> np.ndarray:
    """Replace the sums that counts share by the counts: ``months_0`` by ``months 1`` and so on, as many as `numbers` says.

    Returns
    -------
    (customers,) bool array
        Whose counts did not fit: one that needs more bits than it has carries into the next, and those of its sum then
        add up to less than the sum says they are together.
    """
    bits, together = packing
    over, narrow = np.zeros(len(totals["n"]), bool), np.min_scalar_type(2**bits - 1)
    for name, number in numbers.items():
        for first in range(0, number, together):
            shared = totals.pop(f"{name}_{first // together}")
            over |= shared >= EXACT
            left = shared.astype(np.int64)
            counts = np.empty((together, len(shared)), narrow)
            for count in counts:
                count[:] = left & 2**bits - 1
                left >>= bits
            if together > 1:
                over |= counts.sum(axis=0, dtype=np.int64) != left
            for i, count in enumerate(counts[: number - first], first + 1):
                totals[f"{name} {i}"] = count
    return over


def _batches(answer) -> list[dict]:
    """Return an answer in batches of arrays by column, at least one; ids as pandas, the other columns as numpy."""
    import pyarrow as pa

    reader = answer.to_arrow_reader(AT_ONCE)
    found = []
    for batch in list(reader) or [pa.RecordBatch.from_pylist([], reader.schema)]:
        arrays = [column.to_numpy(zero_copy_only=False) for column in batch.columns[1:]]
        found.append({"customer": _ids(batch.column(0))} | dict(zip(batch.schema.names[1:], arrays)))
    return found


def _ids(values) -> pd.Series:
    """Return a copy of a batch's ids; decimals, which are objects in pandas, as floats."""
    found = values.to_pandas().copy()
    return found.astype(float) if str(values.type).startswith("decimal") else found
