"""Transactions in, behaviour out: one row per customer, or the revenue around each answer, computed by DuckDB."""

from cxresearch.transactions.companions import (
    behaviour_features,
    behaviour_labels,
    behaviour_waterfall,
    transaction_columns,
)
from cxresearch.transactions.contacts import add_contacts
from cxresearch.transactions.features import behaviour
from cxresearch.transactions.halves import window_halves
from cxresearch.transactions.linked import Linked, link_revenue
from cxresearch.transactions.waves import link_waves

__all__ = [
    "Linked",
    "add_contacts",
    "behaviour",
    "behaviour_features",
    "behaviour_labels",
    "behaviour_waterfall",
    "link_revenue",
    "link_waves",
    "transaction_columns",
    "window_halves",
]
