"""What several studies need: intervals, survival, pooling, clusters, shares of R², ratios, agreement, event tables."""

from cxresearch.inference.design import (  # noqa: F401
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
from cxresearch.inference.intervals import (  # noqa: F401
    adjusted_p_values,
    critical_value,
    goodman_intervals,
    joint_p_value,
    newcombe_difference,
    percentile_interval,
    wilson_interval,
)
