"""Whom we win, keep and earn from, what it costs, and whether the programme changed anything."""

from cxresearch.programme.change import difference_in_differences, interrupted_series  # noqa: F401
from cxresearch.programme.customers import acquisition, cohort_retention, cost_ratios, payback  # noqa: F401
from cxresearch.programme.lifetime import fit_lifetime  # noqa: F401
