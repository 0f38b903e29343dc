"""The scorecard: any measure of any item by group and wave; did it move; crosstabs."""

from cxresearch.metrics.control import ControlChart, control_chart
from cxresearch.metrics.crosstab import Crosstab, crosstab
from cxresearch.metrics.late import Restatement, restated_waves
from cxresearch.metrics.league import AnswerSpikes, LeagueTable, answer_spikes, league_table
from cxresearch.metrics.mix import ChangeSplit, split_change
from cxresearch.metrics.plan import SamplePlan, plan_sample
from cxresearch.metrics.scorecard import Scorecard, effort, mean_score, nps, top_box
from cxresearch.metrics.waves import TouchpointTrend, WaveComparison, compare_waves, touchpoint_trend
from cxresearch.metrics.who import PromoterValue, ResponseBias, promoter_value, response_bias

__all__ = [
    "AnswerSpikes",
    "ChangeSplit",
    "ControlChart",
    "Crosstab",
    "LeagueTable",
    "PromoterValue",
    "ResponseBias",
    "Restatement",
    "SamplePlan",
    "Scorecard",
    "TouchpointTrend",
    "WaveComparison",
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
