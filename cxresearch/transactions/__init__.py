"""Transactions in, behaviour out: one row per customer, or the revenue around each answer, computed by DuckDB."""

from cxresearch.transactions.companions import (
    behaviour_features,
    behaviour_labels,
    behaviour_waterfall,
    transaction_columns,
)
from cxresearch.transactions.features import behaviour
from cxresearch.transactions.linked import Linked, link_revenue

__all__ = [
    "Linked",
    "behaviour",
    "behaviour_features",
    "behaviour_labels",
    "behaviour_waterfall",
    "link_revenue",
    "transaction_columns",
]
