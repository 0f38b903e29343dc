"""The scorecard: the number, its interval, and whether it moved."""

from cxresearch.metrics.bias import ResponseBias, response_bias
from cxresearch.metrics.card import Scorecard
from cxresearch.metrics.control import ControlChart, control_chart
from cxresearch.metrics.effort import effort
from cxresearch.metrics.late import Restatement, restated_waves
from cxresearch.metrics.league import LeagueTable, league_table
from cxresearch.metrics.mix import ChangeSplit, split_change
from cxresearch.metrics.movement import WaveComparison
from cxresearch.metrics.nps import nps
from cxresearch.metrics.sample import SamplePlan, plan_sample
from cxresearch.metrics.shares import top_box
from cxresearch.metrics.spikes import AnswerSpikes, answer_spikes
from cxresearch.metrics.value import PromoterValue, promoter_value
from cxresearch.metrics.waves import compare_waves

__all__ = [
    "AnswerSpikes",
    "ChangeSplit",
    "ControlChart",
    "LeagueTable",
    "PromoterValue",
    "ResponseBias",
    "Restatement",
    "SamplePlan",
    "Scorecard",
    "WaveComparison",
    "answer_spikes",
    "compare_waves",
    "control_chart",
    "effort",
    "league_table",
    "nps",
    "plan_sample",
    "promoter_value",
    "response_bias",
    "restated_waves",
    "split_change",
    "top_box",
]
