"""Revenue against loyalty; what a point is worth."""

from cxresearch.loyalty.choices import compare_revenue_models, loyalty_by_group, specification_curve  # noqa: F401
from cxresearch.loyalty.panel import lead_lag  # noqa: F401
from cxresearch.loyalty.retention import fit_retention  # noqa: F401
from cxresearch.loyalty.revenue import fit_loyalty_revenue  # noqa: F401
from cxresearch.loyalty.worth import worth_of_a_point  # noqa: F401
