"""What goes with a table of behaviour: its waterfall, and which columns to compute it from and to segment by."""

import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.survey import as_survey, as_table

OPTIONAL = ("basket", "category", "channel", "discount")
BASIS = ("recency_days", "frequency", "basket_mean", "returns_share", "discount_share")

LABELS = {
    "recency_days": "days since the last purchase",
    "frequency": "number of purchases",
    "monetary": "total spending",
    "tenure_days": "days since the first purchase",
    "basket_mean": "mean basket",
    "returns": "number of returns",
    "returns_share": "share of returns",
    "gap_mean_days": "days between purchases",
    "gap_cv": "irregularity of purchases",
    "active_months": "active months",
    "trend": "trend of purchases",
    "breadth": "number of categories",
    "discount_share": "share of money off",
    "contacts": "number of contacts",
    "contact_share": "share of contacts among contacts and purchases",
    "digital_share": "share of digital contacts",
}


def behaviour_labels(behaviour: pd.DataFrame) -> dict[str, str]:
    """Return words for the columns of a table of behaviour, as `labels=` of an analysis.

    Examples
    --------
    >>> import cxresearch as cx
    >>> table = cx.behaviour(
    ...     "data/example/transactions.csv", customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> cx.behaviour_labels(table)["recency_days"]
    'days since the last purchase'
    """
    behaviour = as_survey(behaviour).table
    channels = {
        c: f"share bought by {c.removeprefix('channel_').removesuffix('_share')}"
        for c in behaviour.columns
        if c.startswith("channel_")
    }
    return {c: LABELS[c] for c in behaviour.columns if c in LABELS} | channels


def transaction_columns(transactions: pd.DataFrame) -> dict[str, str]:
    """Return the optional columns of `behaviour` that `transactions` has under the same name.

    Of basket, category, channel and discount; ``behaviour(..., **transaction_columns(transactions))`` uses them.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> cx.transaction_columns(study.transactions)
    {'category': 'category', 'channel': 'channel', 'discount': 'discount'}
    """
    transactions = as_table(transactions).table
    return {name: name for name in OPTIONAL if name in transactions.columns}


def behaviour_waterfall(behaviour: pd.DataFrame) -> pd.DataFrame:
    """Return step, rows, removed, reason of the transactions behind a table of behaviour.

    Raises
    ------
    DataProblem
        If the table has lost its record, which joins and files do not keep.

    Examples
    --------
    >>> import cxresearch as cx
    >>> table = cx.behaviour(
    ...     "data/example/transactions.csv", customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> cx.behaviour_waterfall(table)
               step   rows  removed                           reason
    0      received  22463        0
    1  deduplicated  22463        0
    2      complete  22463        0
    3  before until  15875     6588  at or after 2025-01-01 00:00:00
    4     in window  15875        0
    5          used  15875        0
    """
    behaviour = as_survey(behaviour).table
    if "waterfall" not in behaviour.attrs:
        raise DataProblem(
            "the table carries no record of its transactions; pass what behaviour() returned, before joining or saving it"
        )
    return pd.DataFrame(behaviour.attrs["waterfall"])


def behaviour_features(behaviour: pd.DataFrame) -> list[str]:
    """Return features to segment by: known for every customer, not constant, each saying something of its own.

    Recency, frequency, mean basket, returns, discounts, and the channel share that varies most. Left out are money in
    all (frequency times basket) and breadth (which grows with frequency).

    Examples
    --------
    >>> import cxresearch as cx
    >>> table = cx.behaviour(
    ...     "data/example/transactions.csv", customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> cx.behaviour_features(table)[:3]
    ['recency_days', 'frequency', 'basket_mean']
    """
    behaviour = as_survey(behaviour).table
    channels = [c for c in behaviour.columns if c.startswith("channel_")]
    widest = [channels[digits.descending([behaviour[c].std() for c in channels], channels)[0]]] if channels else []
    candidates = [c for c in (*BASIS, *widest) if c in behaviour.columns]
    return [c for c in candidates if behaviour[c].notna().all() and behaviour[c].nunique() > 1]
