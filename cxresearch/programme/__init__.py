"""Whom we win, keep and earn from, what it costs, and whether the programme changed anything."""

from cxresearch.programme.cohorts import acquisition, cohort_retention
from cxresearch.programme.did import difference_in_differences
from cxresearch.programme.lifetime import fit_lifetime
from cxresearch.programme.ratios import cost_ratios, payback
from cxresearch.programme.series import interrupted_series

__all__ = [
    "acquisition", "cohort_retention", "cost_ratios", "difference_in_differences", "fit_lifetime", "interrupted_series", "payback",
]  # fmt: skip
