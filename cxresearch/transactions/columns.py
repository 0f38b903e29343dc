"""The features of each customer from the totals that the engine returned."""

import numpy as np
import pandas as pd

from cxresearch.transactions.queries import EXACT, HALF, Query, held, packed_counts

DAY = 864e8  # microseconds


def largest_sum(totals: dict) -> float:
    """Return the largest sum of money of one customer, in units: exact up to 2**53."""
    sums = [totals["gross"], *([totals["off"]] if "off" in totals else [])]
    return max(float(np.max(s, initial=0)) for s in sums)


def unpack(totals: dict, query: Query, width: int) -> np.ndarray:
    """Replace the sums that counts share by the counts: ``months_0`` by ``months 1``, ``months 2`` and so on.

    Returns
    -------
    (customers,) bool array
        Whose counts did not fit. A count too large for its bytes carries into the next, or out of the last: either way
        the counts then add up to less than they must.
    """
    over, whole = totals["n"] >= HALF, {}
    if "recent_and_returns" in totals:
        both = totals.pop("recent_and_returns").astype(np.int64)
        totals["returns"], whole["months"] = both // HALF, both % HALF
    whole["weekdays"] = totals["n"] - totals["returns"]
    for name, conditions, _ in packed_counts(query):
        added = np.zeros(len(over), np.int32)
        for i in range(len(conditions)):
            if i % held(width) == 0:
                shared = totals.pop(f"{name}_{i // held(width)}")
                over |= shared >= EXACT
                shared = shared.astype("<i8").view(f"<u{width}").reshape(len(shared), -1)
            totals[f"{name} {i + 1}"] = shared[:, i % held(width)].astype(np.int32)
            added += totals[f"{name} {i + 1}"]
        over |= added != whole.get(name, added)
    return over


def features_of(totals: dict, query: Query, unit: int) -> pd.DataFrame:
    """Return the columns that `behaviour` describes; takes the totals apart to free them.

    Parameters
    ----------
    totals : dict of arrays (customers,)
        As the engine returned them, unpacked; money in units, times in microseconds since 1970.
    unit : int
        Units of money in one.
    """
    returns, n = totals.pop("returns"), totals["n"]
    bought = n - returns
    shares = np.where(bought > 0, bought, np.nan)
    table = {"customer": totals.pop("customer")}
    spent = (totals.pop("gross") + totals["net"]) / 2
    if "value" in query.parts:
        table |= _value(totals, query, bought, shares, returns, spent, unit)
    else:
        table |= {"frequency": bought.astype(np.int32), "returns": returns.astype(np.int32)}
    if "months" in query.parts:
        table |= _monthly([totals.pop(f"months {k}") for k in range(1, query.months + 1)])
    if "weekdays" in query.parts:
        table |= {f"weekday_{d}_share": totals.pop(f"weekdays {d}") / shares for d in range(1, 8)}
    table |= {f"channel_{c}_share": totals[f"channel_{i}"] / shares for i, c in enumerate(query.channels)}
    if "off" in totals:
        whole = totals["off"] + spent
        table["discount_share"] = np.where(whole != 0, totals["off"], np.nan) / np.where(whole != 0, whole, 1)
    if "breadth" in totals:
        table["breadth"] = totals["breadth"]
    return pd.DataFrame(table, copy=False)


def _value(totals: dict, query: Query, bought, shares, returns, spent, unit: int) -> dict:
    until = int(query.period.until.to_datetime64().astype("datetime64[us]").astype(np.int64))
    first, last = totals.pop("first"), totals.pop("last")
    between = np.where(bought > 1, bought - 1, np.nan)
    return {
        "recency_days": (until - last) / DAY,
        "frequency": bought.astype(np.int32),
        "monetary": totals.pop("net") / unit,
        "tenure_days": (until - first) / DAY,
        "basket_mean": np.round(spent / shares / unit, 6),
        "returns": returns.astype(np.int32),
        "returns_share": returns / totals["n"],
        "gap_mean_days": (last - first) / DAY / between,
    }


def _monthly(counts: list[np.ndarray]) -> dict:
    """Counts, how many are above zero, and their least-squares slope over time (month_1 is the latest)."""
    table = {f"month_{k}": c for k, c in enumerate(counts, 1)}
    m = len(counts)
    if m < 2:
        return table
    pulls = [m - 1 - 2 * k for k in range(m)]
    slope = sum(pull * c.astype(float) for pull, c in zip(pulls, counts))
    active = sum((c > 0).astype(np.int8) for c in counts)
    return table | {
        "active_months": active.astype(np.int32),
        "trend": np.round(2 * slope / sum(p * p for p in pulls), 9),
    }
