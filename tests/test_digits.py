"""Last digits decide nothing, show nothing and are not kept."""

import numpy as np
import pandas as pd
import pytest

import cxresearch as cx
from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.findings import number
from cxresearch.loyalty.cells import read_cells
from cxresearch.metrics.answers import recommend_answers

UP, DOWN = np.nextafter(10, 11), np.nextafter(10, 9)


@pytest.mark.parametrize("value", [UP, 10.0, DOWN, 10 + 4e-15])
def test_a_value_at_an_end_but_for_its_last_digits_is_at_the_end(value):
    values = np.array([value, np.nan])
    assert digits.at_least(values, 10).tolist() == digits.at_most(values, 10).tolist() == [True, False]
    assert not digits.outside(values, 1, 10).any() and not digits.outside(values, 10, 11).any()
    assert digits.whole(values)[0] == 10
    assert digits.outside(np.array([10.001, 0.999]), 1, 10).all()


def test_an_open_end_and_a_fraction_stay_what_they_are():
    assert not digits.outside(np.array([1e300, -1e300]), -np.inf, np.inf).any()
    assert digits.whole([9.5, 3e-10, np.inf]).tolist() == [9.5, 3e-10, np.inf]
    assert digits.whole([3e-10, 7e-10]).tolist() == [3e-10, 7e-10], "a column of small values is not a column of zeros"


def test_computed_answers_are_counted_as_the_whole_numbers_they_are():
    table = pd.DataFrame({"q": [UP, DOWN, 9 - 1e-15, 0.0] * 10})
    assert recommend_answers(table, "q").tolist() == [10, 10, 9, 0] * 10
    assert cx.nps(table, "q").glance()["estimate"].item() == pytest.approx(50)
    assert cx.top_box(table, "q", threshold=10).glance()["estimate"].item() == pytest.approx(0.5)
    with pytest.raises(DataProblem, match="q holds 1 fractional values"):
        recommend_answers(pd.DataFrame({"q": [9.999, 0.0]}), "q")


def test_computed_ratings_at_the_ends_pass_everywhere_and_count_as_the_ends():
    rng = np.random.default_rng(1)
    exact = pd.DataFrame(rng.integers(1, 11, (400, 3)).astype(float), columns=["y", "a", "b"])
    computed = exact * np.where(rng.random(exact.shape) < 0.5, 1 + 2**-52, 1 - 2**-53)
    ask = {"outcome": "y", "drivers": ["a", "b"], "n_boot": 100, "seed": 1}
    surveys = [cx.as_survey(table, scales=dict.fromkeys(exact, (1, 10))) for table in (exact, computed)]
    analyses = (
        (cx.importance_performance, {}),
        (cx.penalty_reward, {}),
        (cx.simulate_improvement, {"improve": {"a": 1}}),
    )
    for analysis, options in analyses:
        plain, other = (analysis(survey, **ask, **options).tidy() for survey in surveys)
        pd.testing.assert_frame_equal(plain, other, rtol=1e-12)


@pytest.mark.parametrize("whole", [True, False])
def test_a_computed_score_makes_the_cells_of_the_whole_one(whole):
    rng = np.random.default_rng(2)
    score = rng.integers(0, 11, 400).astype(float)
    table = pd.DataFrame({"score": score * (1 + 2**-52), "revenue": rng.gamma(2, 50, 400)})
    if not whole:
        table.loc[0, "score"] = 9.5
        with pytest.raises(DataProblem, match="score holds 1 values that are not whole numbers"):
            read_cells(table, revenue="revenue", loyalty="score", controls=())
        return
    cells, rows = read_cells(table, revenue="revenue", loyalty="score", controls=())
    assert cells["score"].tolist() == sorted(set(score)) and rows == 400


def test_a_tie_is_broken_by_name_and_not_by_the_last_digit():
    table = pd.DataFrame({"term": ["staff", "price", "speed"], "share": [0.3, np.nextafter(0.3, 1), np.nan]})
    for rows in (table, table.iloc[::-1].reset_index(drop=True)):
        order = digits.descending(rows["share"], rows["term"])
        assert rows["term"].iloc[order].tolist() == ["price", "staff", "speed"]
        assert digits.largest(rows, "share")["term"] == "price"
    assert digits.descending([0.1 + 0.2, 0.3, 0.5]).tolist() == [2, 0, 1]


@pytest.mark.parametrize("value", [0.125, 0.12499999999999999, 0.12500000000000003])
def test_a_half_is_rounded_alike_whatever_its_last_digit(value):
    assert number(value, 2) == number(0.125, 2) and digits.rounded(value, 2) == 0.12
    assert number(100 * value, 0) == number(12.5, 0)


def test_what_a_file_keeps():
    kept = lambda name, values: digits.kept_table(pd.DataFrame({name: values}))[name].tolist()  # noqa: E731
    found = kept("estimate", [123.456789012, -1e-13, 4e-6, 123456789.0, np.nan, np.inf])
    assert found[:4] == [123.4568, 0.0, 0.0, 123456789.0] and np.isnan(found[4]) and found[5] == np.inf
    assert kept("estimate", [2.0, -1e-13, 1e-9]) == [2.0, 0.0, 1e-9]
    assert kept("p_value", [1e-300, 0.0, 0.04]) == [1e-12, 1e-12, 0.04]
    mixed = pd.Series(["no spread", 0.123456789, 3, None, True], dtype=object)
    assert kept("value", mixed) == ["no spread", 0.1234568, 3, None, True]
    table = pd.DataFrame({"term": ["a"], "n": [1], "share": np.array([0.1], "float32")})
    assert digits.kept_table(table).dtypes.tolist() == [table["term"].dtype, int, float] and table["share"].dtype != float
