"""The survey: a table together with what is known of it, said once and then carried."""

from cxresearch.survey.sample import UNSTATED, Sample, natural_key
from cxresearch.survey.survey import Survey, Table, as_survey, as_table
from cxresearch.survey.waves import wave_order

__all__ = ["UNSTATED", "Sample", "Survey", "Table", "as_survey", "as_table", "natural_key", "wave_order"]
