"""The features of each customer from the totals that the engine returned."""

import numpy as np
import pandas as pd

from cxresearch.transactions.queries import BITS, Query, most_packed

DAY = 864e8  # microseconds


def largest_sum(totals: dict) -> float:
    """Return the largest sum of money of one customer, in units: exact up to 2**53."""
    sums = [totals["net"] - totals["returned"], -totals["returned"], *([totals["off"]] if "off" in totals else [])]
    return max(float(np.max(s, initial=0)) for s in sums)


def features_of(totals: dict, query: Query, unit: int, packed: int) -> pd.DataFrame:
    """Return the columns that `behaviour` describes; takes the totals apart to free them.

    Parameters
    ----------
    totals : dict of arrays (customers,)
        As the engine returned them; money in units, times in microseconds since 1970.
    unit : int
        Units of money in one.
    packed : int
        How many counts share one sum.
    """
    returns, n = totals.pop("returns"), totals["n"]
    bought = n - returns
    shares = np.where(bought > 0, bought, np.nan)
    table = {"customer": totals.pop("customer")}
    spent = totals["net"] - totals.pop("returned")
    if "value" in query.parts:
        table |= _value(totals, query, bought, shares, returns, spent, unit)
    else:
        table |= {"frequency": bought.astype(np.int32), "returns": returns.astype(np.int32)}
    if "months" in query.parts:
        table |= _monthly([_unpacked(totals, "months", k, packed) for k in range(query.months)])
    if "weekdays" in query.parts:
        table |= {f"weekday_{d + 1}_share": _unpacked(totals, "weekdays", d, packed) / shares for d in range(7)}
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


def _unpacked(totals: dict, name: str, i: int, packed: int) -> np.ndarray:
    """Return the i-th of the counts that share sums."""
    whole = totals[f"{name}_{i // packed}"].astype(np.int64)
    return ((whole >> BITS // packed * (i % packed)) & most_packed(packed)).astype(np.int32)


def _monthly(counts: list[np.ndarray]) -> dict:
    """Counts, how many are above zero, and their least-squares slope over time (month_1 is the latest)."""
    table = {f"month_{k}": c for k, c in enumerate(counts, 1)}
    m = len(counts)
    if m < 2:
        return table
    pulls = [m - 1 - 2 * k for k in range(m)]
    slope = sum(pull * c.astype(np.int64) for pull, c in zip(pulls, counts))
    active = sum((c > 0).astype(np.int32) for c in counts)
    return table | {"active_months": active, "trend": np.round(2 * slope / sum(p * p for p in pulls), 9)}
