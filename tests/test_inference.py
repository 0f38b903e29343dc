"""Designs, domains and multiplicity against published numbers."""

import re

import numpy as np
import pandas as pd
import pytest
from estimates import survey_mean
from hypothesis import given, settings
from hypothesis import strategies as st

from cxresearch.errors import DataProblem
from cxresearch.inference import adjusted_p_values, wilson_interval
from cxresearch.survey import as_survey, kish_effective_n, sampling_units, total_covariance

# Benjamini & Hochberg (1995), section 3.2: fifteen p-values of the thrombolysis trial.
BH_1995 = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590]


@pytest.fixture(scope="module")
def apistrat(oracles):
    table = pd.read_csv(oracles / "apistrat.csv")
    return table.assign(fraction=table.groupby("stype")["api00"].transform("size") / table["fpc"])


def test_stratified_mean_of_api00_is_662_287_with_error_9_409_r_survey(apistrat):
    found = survey_mean(apistrat["api00"], weights=apistrat["pw"], strata=apistrat["stype"], fpc=apistrat["fraction"])
    assert found.mean[0] == pytest.approx(662.28736, abs=5e-6)
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(9.40894, abs=5e-6)
    assert found.df == 197


def test_stratified_total_of_enroll_is_3687178_with_error_114642_r_survey(apistrat):
    units = sampling_units(len(apistrat), strata=apistrat["stype"], fpc=apistrat["fraction"])
    rows = (apistrat["pw"] * apistrat["enroll"]).to_numpy()[:, None]
    assert rows.sum() == pytest.approx(3687178, abs=1)
    assert np.sqrt(total_covariance(rows, units)[0, 0]) == pytest.approx(114642, abs=1)


def test_wilson_of_81_in_263_is_2553_to_3662_newcombe_1998():
    low, high = wilson_interval([81 / 263, 15 / 148, 0.0], [263, 148, 20], 0.95)
    assert np.round(low, 4).tolist() == [0.2553, 0.0624, 0.0]
    assert np.round(high, 4).tolist() == [0.3662, 0.1605, 0.1611]


def test_of_fifteen_p_values_holm_keeps_3_and_bh_4_benjamini_hochberg_1995():
    assert (adjusted_p_values([*BH_1995, 1.0], correction="bh") <= 0.05).sum() == 4
    assert (adjusted_p_values([*BH_1995, 1.0], correction="holm") <= 0.05).sum() == 3
    assert (adjusted_p_values([*BH_1995, 1.0], correction="none") <= 0.05).sum() == 9


def test_adjusted_p_values_keep_order_and_place_and_skip_the_missing():
    for correction in ("holm", "bh"):
        found = adjusted_p_values([0.04, np.nan, 0.01], correction=correction)
        assert found == pytest.approx([0.04, np.nan, 0.02], nan_ok=True)
    with pytest.raises(DataProblem, match=r"^correction='sidak' is not one of 'holm', 'bh', 'none'$"):
        adjusted_p_values([0.1], correction="sidak")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_variance_is_the_diagonal_of_covariance_dense_or_sparse(seed):
    from scipy import sparse

    rng = np.random.default_rng(seed)
    n, k = 60, 4
    rows = np.where(rng.random((n, k)) < 0.5, rng.normal(size=(n, k)), 0)
    units = sampling_units(n, strata=rng.integers(0, 3, n), cluster=rng.integers(0, 9, n), fpc=np.full(n, 0.1))
    dense = total_covariance(rows, units)
    assert np.diag(dense) == pytest.approx(total_covariance(rows, units, diagonal=True))
    assert total_covariance(sparse.csr_array(rows), units) == pytest.approx(dense)
    assert total_covariance(sparse.csr_array(rows), units, diagonal=True) == pytest.approx(np.diag(dense))


def test_clusters_of_copies_give_the_error_of_one_copy_each():
    rng = np.random.default_rng(1)
    values = rng.normal(size=30)
    once = survey_mean(values)
    copied = survey_mean(np.repeat(values, 7), cluster=np.repeat(np.arange(30), 7))
    assert copied.covariance == pytest.approx(once.covariance) and copied.df == 29


def test_kish_effective_n_of_equal_weights_is_n():
    assert kish_effective_n(np.full(7, 3.0)) == pytest.approx(7)
    assert kish_effective_n(np.zeros(3)) == 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            [1, -1, np.nan],
            "w is missing, negative or not a number in 2 of 3 answered rows (first: row 1); give every row a weight of "
            "zero or more, or drop the row",
        ),
        ([0, 0], "responses: none of 2 rows holds an answer and a weight"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights, message):
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        as_survey(pd.DataFrame({"w": weights}), weight="w").sample()


def test_sampling_fractions_off_0_to_1_are_refused():
    message = "^fpc: sampling fractions must lie between 0 and 1; divide the sample by the population of its stratum$"
    with pytest.raises(DataProblem, match=message):
        survey_mean([1.0, 2.0], fpc=[200, 200])
