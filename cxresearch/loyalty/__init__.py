"""Revenue against loyalty; what a point is worth."""

from cxresearch.loyalty.choices import compare_revenue_models, loyalty_by_group, specification_curve
from cxresearch.loyalty.panel import lead_lag
from cxresearch.loyalty.retention import fit_retention
from cxresearch.loyalty.revenue import fit_loyalty_revenue
from cxresearch.loyalty.worth import worth_of_a_point

__all__ = [
    "compare_revenue_models", "fit_loyalty_revenue", "fit_retention", "lead_lag", "loyalty_by_group",
    "specification_curve", "worth_of_a_point",
]  # fmt: skip
