"""What several studies need: intervals, survival, pooling, clusters, shares of R², ratios, agreement, event tables."""

from cxresearch.inference.design import (
    MeanEstimate,
    SamplingUnits,
    bca_interval,
    bootstrap_counts,
    checked_weights,
    kish_effective_n,
    sampling_units,
    survey_mean,
    total_covariance,
    total_variance,
)
from cxresearch.inference.intervals import (
    adjusted_p_values,
    critical_value,
    goodman_intervals,
    joint_p_value,
    newcombe_difference,
    percentile_interval,
    wilson_interval,
)

__all__ = [
    "MeanEstimate",
    "SamplingUnits",
    "adjusted_p_values",
    "bca_interval",
    "bootstrap_counts",
    "checked_weights",
    "critical_value",
    "goodman_intervals",
    "joint_p_value",
    "kish_effective_n",
    "newcombe_difference",
    "percentile_interval",
    "sampling_units",
    "survey_mean",
    "total_covariance",
    "total_variance",
    "wilson_interval",
]
