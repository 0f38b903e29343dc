"""The survey: a table together with what is known of it, said once and then carried."""

from cxresearch.survey.sample import UNSTATED, Sample, kish_effective_n, natural_key, sampling_units, total_covariance
from cxresearch.survey.survey import Survey, Table, as_survey, as_table
from cxresearch.survey.waves import wave_order

__all__ = ["UNSTATED", "Sample", "Survey", "Table", "as_survey", "as_table", "kish_effective_n", "natural_key"]
__all__ += ["sampling_units", "total_covariance", "wave_order"]
