"""Whom we win, keep and earn from, what it costs, and whether the programme changed anything."""

from cxresearch.programme.change import difference_in_differences, interrupted_series  # noqa
from cxresearch.programme.customers import acquisition, cohort_retention, cost_ratios, fit_lifetime, payback  # noqa
