"""Whom we win, keep and earn from, what it costs, and whether the programme changed anything."""

from cxresearch.programme.change import difference_in_differences, interrupted_series  # noqa: F401
from cxresearch.programme.cohorts import acquisition, cohort_retention  # noqa: F401
from cxresearch.programme.lifetime import fit_lifetime  # noqa: F401
from cxresearch.programme.ratios import cost_ratios, payback  # noqa: F401
