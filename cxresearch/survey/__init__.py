"""The survey: a table together with what is known of it, said once and then carried."""

# ruff: noqa: F401, I001
from cxresearch.survey.sample import UNSTATED, Sample, kish_effective_n, natural_key, sampling_units
from cxresearch.survey.sample import total_covariance, wave_order, waves_of
from cxresearch.survey.survey import Survey, Table, as_survey, as_table, person_codes
