"""What several studies need: intervals, survival, pooling, clusters, shares of R², ratios, agreement, event tables."""

from cxresearch.inference.intervals import (  # noqa: F401
    adjusted_p_values,
    critical_value,
    goodman_intervals,
    joint_p_value,
    newcombe_difference,
    percentile_interval,
    wilson_interval,
)
