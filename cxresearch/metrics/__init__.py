"""The scorecard: any measure of any item by group and wave; did it move; crosstabs."""

from cxresearch.metrics.crosstab import crosstab
from cxresearch.metrics.league import answer_spikes, league_table
from cxresearch.metrics.mix import split_change
from cxresearch.metrics.plan import plan_sample
from cxresearch.metrics.reported import control_chart, restated_waves
from cxresearch.metrics.scorecard import effort, mean_score, nps, top_box
from cxresearch.metrics.waves import compare_waves, touchpoint_trend
from cxresearch.metrics.who import promoter_value, response_bias

__all__ = [
    "answer_spikes",
    "compare_waves",
    "control_chart",
    "crosstab",
    "effort",
    "league_table",
    "mean_score",
    "nps",
    "plan_sample",
    "promoter_value",
    "response_bias",
    "restated_waves",
    "split_change",
    "top_box",
    "touchpoint_trend",
]
