"""Shares of the rows: each adds up its own rows of Parquet, and what belongs to one customer is added together.

Every row is read once however many workers there are, where shares of the customers read all rows for each of them.
It serves sums only: gaps between purchases, baskets, categories and repeated rows need all rows of a customer at once.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from cxresearch.inference.events import NUMBERED, text
from cxresearch.transactions.queries import Query
from cxresearch.transactions.totals import Totals

OUTERMOST = {"first": np.fmin, "last": np.fmax}  # the other totals are added


def adds_up(query: Query) -> bool:
    """Return whether sums over some of a customer's rows are all that the query needs of them."""
    whole = query.columns.basket or query.columns.category or query.distinct or "rhythm" in query.parts
    return not whole and not {field.lower() for field in query.fields} & set(NUMBERED)


def by_rows(query: Query, files: list[tuple[str, int]], of: int) -> list[Query]:
    """Return one query for each share of the rows of `files` (path, rows); shares are as equal as can be."""
    ends = [sum(rows for _, rows in files) * k // of for k in range(of + 1)]
    return [replace(query, own=_between(files, *edges)) for edges in zip(ends, ends[1:])]


def _between(files: list[tuple[str, int]], start: int, stop: int) -> str:
    """Return the condition for the rows from `start` to `stop`, numbered through all files."""
    names, parts, done = [], [], 0
    for name, rows in files:
        first, last = max(start - done, 0), min(stop - done, rows)
        if first < last:
            names.append(text(name))
            part = f"file_row_number >= {first} AND file_row_number < {last}"
            parts += [] if (first, last) == (0, rows) else [(names[-1], part)]
        done += rows
    if len(names) == 1:  # the engine skips what lies outside the part only if no OR stands before it
        return " AND ".join([f"filename = {names[0]}", *(part for _, part in parts)])
    listed = f"filename IN ({', '.join(names)})" if names else "false"
    return " AND ".join([listed, *(f"(filename <> {name} OR {part})" for name, part in parts)])


def added(one: Totals, other: Totals) -> Totals:
    """Return the totals of the customers of either, each given as one batch, which is taken apart."""
    ids, *places = pd.Index(one.ids).join(pd.Index(other.ids), how="outer", sort=True, return_indexers=True)
    (left,), (right,) = one.batches, other.batches
    batch = {name: _combined(name, [left.pop(name), right.pop(name)], places) for name in list(left)}
    return Totals([batch], pd.Series(ids), one.unit, None)


def _combined(name: str, sides: list[np.ndarray], places: list[np.ndarray | None]) -> np.ndarray:
    """Return one of the totals, each side's put at its places (None: in order), where -1 stands for a customer it lacks."""
    if sides[0].dtype.kind == "u":
        most = sum(int(np.max(side, initial=0)) for side in sides)
        sides = [side.astype(np.min_scalar_type(most), copy=False) for side in sides]
    nothing = np.nan if name in OUTERMOST else 0
    sides = [np.append(side, side.dtype.type(nothing)) for side in sides]
    return OUTERMOST.get(name, np.add)(*(s[:-1] if at is None else s[at] for s, at in zip(sides, places)))
