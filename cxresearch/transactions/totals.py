"""The totals of each customer as the engine returns them, with counts that share sums.

They take less than half the memory of the features, so only they are kept while the engine holds its own tables, and
only they travel from the workers of a cluster.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch.transactions.columns import features_of
from cxresearch.transactions.queries import EXACT, PACKINGS, Query, bit, counts_of, totals_sql
from cxresearch.transactions.source import WHOLE, kind

APART = 10_000  # customers that a query can name
AT_ONCE = 20_000  # customers whose features fit the processor's cache
BATCH = 2**24  # customers of one Arrow array; those of text cannot pass 2 GB


@dataclass(frozen=True)
class Totals:
    """Columns of totals, money in units of which `unit` make one; `order` are their places by id (None: as they are).

    Those of the customers numbered `heavy` are right in `again` only.
    """

    columns: dict[str, np.ndarray]
    ids: pd.Series
    unit: int
    order: np.ndarray | None
    heavy: np.ndarray | None = None
    again: "Totals | None" = None

    def by_customer(self, name: str) -> np.ndarray:
        """Return one of the totals, by customer."""
        return self.columns[name] if self.order is None else self.columns[name][self.order]

    def rows(self) -> int:
        """Return how many rows the totals rest on."""
        return int(self.columns["lines" if "lines" in self.columns else "n"].sum())

    def exact(self) -> bool:
        """Return whether all sums of money are, because no customer's passes 2**53 units."""
        sums = [self.columns[name] for name in ("gross", "off") if name in self.columns]
        return max(float(np.max(s, initial=0)) for s in sums) <= EXACT

    def write(self, table: dict, start: int, rows: int, query: Query) -> None:
        """Write the features into a table of `rows` customers, from row `start`; columns that it lacks are added."""
        for here in _blocks(len(self.ids)):
            which = here if self.order is None else self.order[here]
            totals = {name: values[which] for name, values in self.columns.items()}
            for name, values in features_of(totals, query, self.unit).items():
                if name not in table:
                    table[name] = np.empty(rows, values.dtype)
                table[name][start + here.start : start + here.stop] = values
        if self.again is not None:
            for name, values in features([self.again], query).items():
                if name != "customer":
                    table[name][start + self.heavy] = values


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
    columns = _fetched(relation.query("source", totals_sql(query, decimals, packings[0], ordered=ordered)))
    ids = columns.pop("customer")
    order = None if ordered or ids.is_monotonic_increasing else _order(ids.to_numpy())
    ids = ids if order is None else ids.iloc[order].reset_index(drop=True)
    over = unpack(columns, query, packings[0])
    totals = Totals(columns, ids, 10**decimals, order)
    heavy = np.flatnonzero(over if order is None else over[order])
    if not heavy.size or len(packings) == 1:
        return totals
    few = heavy.size <= APART and (ids.dtype.kind in "iu" or ids.dtype == "str")
    only = tuple(ids.iloc[heavy]) if few else ()
    again = totals_of(relation, replace(query, only=only), decimals, packings[1:])
    return replace(totals, heavy=heavy, again=again) if few else again


def _order(ids: np.ndarray) -> np.ndarray:
    """Return where distinct whole numbers stand, the least first; without wide gaps, each has its slot."""
    if ids.dtype.kind not in "iu" or int(ids.max()) - int(ids.min()) > 4 * len(ids):
        return np.argsort(ids)
    slots = np.subtract(ids, ids.min(), dtype=ids.dtype if ids.dtype.itemsize == 8 else np.int64)
    found = np.zeros(int(slots.max()) + 1, np.int64)
    found[slots] = np.arange(1, len(ids) + 1)
    return found[found > 0] - 1


def _blocks(rows: int) -> Iterator[slice]:
    """Yield slices that cover the rows, at least one."""
    for start in range(0, max(rows, 1), AT_ONCE):
        yield slice(start, min(start + AT_ONCE, rows))


def unpack(totals: dict, query: Query, packing: tuple[int, int]) -> np.ndarray:
    """Replace the sums that counts share by the counts: ``months_0`` by ``months 1``, ``months 2`` and so on.

    Returns
    -------
    (customers,) bool array
        Whose counts did not fit: one that needs more bits than it has carries into the next, and those of its sum then
        add up to less than the sum says they are together.
    """
    bits, together = packing
    over, narrow = np.zeros(len(totals["n"]), bool), np.min_scalar_type(2**bits - 1)
    for counted in counts_of(query):
        for first in range(0, counted.number(), together):
            words = totals.pop(f"{counted.name}_{first // together}")
            counts = np.empty((together, len(words)), narrow)
            for here in _blocks(len(words)):
                over[here] |= _split(words[here], counts[:, here], packing)
            for i, count in enumerate(counts[: counted.number() - first], first + 1):
                totals[f"{counted.name} {i}"] = count
    return over


def _split(words: np.ndarray, counts: np.ndarray, packing: tuple[int, int]) -> np.ndarray:
    """Fill in the counts that share sums, each of two words, and return which do not fit."""
    for i, count in enumerate(counts):
        word, at = divmod(bit(i, packing), 64)
        count[:] = words[:, word] >> at & 2 ** packing[0] - 1
    word, at = divmod(bit(len(counts), packing), 64)
    return counts.sum(axis=0, dtype=np.int64) != words[:, word] >> at


def _fetched(answer) -> dict:
    """Return the columns of an answer: ids as pandas, the others as numpy, whole numbers of 128 bits as two words each."""
    table = answer.to_arrow_reader(BATCH).read_all()
    columns = {name: column.combine_chunks() for name, column in zip(table.column_names, table.columns)}
    return {name: _ids(column) if name == "customer" else _array(column) for name, column in columns.items()}


def _array(column) -> np.ndarray:
    if str(column.type).startswith("decimal128"):
        return np.frombuffer(column.buffers()[1], np.int64).reshape(-1, 2)[column.offset :][: len(column)]
    return column.to_numpy(zero_copy_only=False)


def _ids(values) -> pd.Series:
    """Return a copy of a batch's ids; decimals, which are objects in pandas, as floats."""
    found = values.to_pandas().copy()
    return found.astype(float) if str(values.type).startswith("decimal") else found
