"""The features of each customer from the totals that the engine returned."""

import numpy as np

from cxresearch.transactions.queries import Query

DAY = 864e8  # microseconds


def features_of(totals: dict, query: Query, unit: int) -> dict:
    """Return the columns that `behaviour` describes, from the totals of some customers, unpacked.

    Parameters
    ----------
    totals : dict of arrays (customers,)
        Money in units, times in microseconds since 1970.
    unit : int
        Units of money in one.
    """
    returns, n = totals["returns"], totals["n"]
    bought = n - returns
    shares = np.where(bought > 0, bought, np.nan)
    table = {}
    spent = (totals["gross"] + totals["net"]) / 2
    if "value" in query.parts:
        table |= _value(totals, query, bought, shares, returns, spent, unit)
    else:
        table |= {"frequency": bought.astype(np.int32), "returns": returns.astype(np.int32)}
    if "months" in query.parts:
        table |= _monthly([totals[f"months {k}"] for k in range(1, query.months + 1)])
    if "weekdays" in query.parts:
        table |= {f"weekday_{d}_share": totals[f"weekdays {d}"] / shares for d in range(1, 8)}
    table |= {f"channel_{c}_share": totals[f"channel_{i}"] / shares for i, c in enumerate(query.channels)}
    if "off" in totals:
        whole = totals["off"] + spent
        table["discount_share"] = np.where(whole != 0, totals["off"], np.nan) / np.where(whole != 0, whole, 1)
    if "breadth" in totals:
        table["breadth"] = totals["breadth"]
    return table


def _value(totals: dict, query: Query, bought, shares, returns, spent, unit: int) -> dict:
    until = int(query.period.until.to_datetime64().astype("datetime64[us]").astype(np.int64))
    first, last = totals["first"], totals["last"]
    between = np.where(bought > 1, bought - 1, np.nan)
    return {
        "recency_days": (until - last) / DAY,
        "frequency": bought.astype(np.int32),
        "monetary": totals["net"] / unit,
        "tenure_days": (until - first) / DAY,
        "basket_mean": np.round(spent / shares / unit, 6),
        "returns": returns.astype(np.int32),
        "returns_share": returns / totals["n"],
        "gap_mean_days": (last - first) / DAY / between,
    }


def _monthly(counts: list[np.ndarray]) -> dict:
    """Counts, how many are above zero, and their least-squares slope over time (month_1 is the latest)."""
    table = {f"month_{k}": c.astype(np.int32) for k, c in enumerate(counts, 1)}
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
