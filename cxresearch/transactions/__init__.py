"""Transactions in, behaviour out: one row per customer, or the revenue around each answer, computed by DuckDB."""

from cxresearch.transactions.behaviour import behaviour
from cxresearch.transactions.linked import link_revenue, link_waves
from cxresearch.transactions.panels import rated_contacts, unit_panel
from cxresearch.transactions.windows import window_halves

__all__ = ["behaviour", "link_revenue", "link_waves", "rated_contacts", "unit_panel", "window_halves"]
