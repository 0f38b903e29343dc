"""Times between purchases, customer by customer, from one sorted stream of times.

DuckDB sorts (and spills); gaps are taken here, one customer at a time in the same order whatever the threads, so that
their spread is the same to the last bit. A window function in the engine costs twice as much.
"""

from dataclasses import dataclass, field

import numpy as np

MANY = 1000  # times at which rows of one customer coincide; beyond these all rows are searched for duplicates


@dataclass
class Rhythm:
    """Spread of the gaps of each customer (days; missing below two gaps), and the moments that occur twice."""

    sd: np.ndarray
    mean: np.ndarray
    ties: set[int] = field(default_factory=set)


def rhythm(batches, sizes: np.ndarray) -> Rhythm:
    """Return the spread of the times between purchases at distinct times.

    Parameters
    ----------
    batches : iterable of int arrays
        Times as 2 * microseconds + (1 for a purchase, 0 for a return), sorted by customer and time.
    sizes : (customers,) int array
        How many of them each customer has, in the same order.
    """
    found = Rhythm(np.full(len(sizes), np.nan), np.full(len(sizes), np.nan))
    ends, done, left = np.cumsum(sizes), 0, np.empty(0, np.int64)
    for batch in batches:
        left = np.concatenate([left, batch])
        before = ends[done - 1] if done else 0
        upto = int(np.searchsorted(ends, before + len(left), side="right"))
        if upto > done:
            whole = ends[upto - 1] - before
            _customers(found, left[:whole], np.concatenate([[0], ends[done:upto] - before]), slice(done, upto))
            left, done = left[whole:], upto
    return found


def _customers(found: Rhythm, times: np.ndarray, edges: np.ndarray, which: slice) -> None:
    """Fill in the customers whose times lie between `edges`."""
    first = np.zeros(len(times) + 1, bool)
    first[edges] = True
    same = np.flatnonzero((times[1:] == times[:-1]) & ~first[1:-1])
    if len(found.ties) <= MANY:
        found.ties.update(np.unique(times[same] >> 1).tolist())
    bought = np.concatenate([[0], np.cumsum(times & 1)])
    edges = bought[edges]
    gaps = np.diff(times[(times & 1).astype(bool)] >> 1, prepend=0) / 864e8
    gaps[edges[:-1][edges[:-1] < len(gaps)]] = 0  # the first purchase of each customer has none before it
    n, total = _sums(gaps > 0, edges), _sums(gaps, edges)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / n
        away = np.where(gaps > 0, gaps - np.repeat(mean, np.diff(edges)), 0)
        found.sd[which] = np.where(n > 1, np.sqrt(_sums(away**2, edges) / (n - 1)), np.nan)
    found.mean[which] = mean


def _sums(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return sums between edges; 0 where nothing lies between them."""
    filled = np.flatnonzero(np.diff(edges))
    out = np.zeros(len(edges) - 1)
    if len(filled):
        out[filled] = np.add.reduceat(values.astype(float), edges[filled])
    return out
