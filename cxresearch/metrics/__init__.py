"""The scorecard: any measure of any item by group and wave; did it move; crosstabs."""

from cxresearch.metrics.crosstab import crosstab  # noqa: F401
from cxresearch.metrics.league import answer_spikes, league_table  # noqa: F401
from cxresearch.metrics.mix import split_change  # noqa: F401
from cxresearch.metrics.plan import plan_sample  # noqa: F401
from cxresearch.metrics.reported import control_chart, restated_waves  # noqa: F401
from cxresearch.metrics.scorecard import effort, mean_score, nps, top_box  # noqa: F401
from cxresearch.metrics.waves import compare_waves, touchpoint_trend  # noqa: F401
from cxresearch.metrics.who import promoter_value, response_bias  # noqa: F401
