"""Sums per cell give what the rows give."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_loyalty import shop

import cxresearch as cx
from cxresearch.loyalty import fit_loyalty_revenue, resample
from cxresearch.loyalty.cases import cases_of


@pytest.fixture(scope="module")
def customers():
    table = shop(n=4000, seed=21)
    table.loc[:7, "nps"] = np.nan
    return table


@pytest.fixture(scope="module")
def both(customers):
    asked = {"revenue": "revenue", "loyalty": "nps", "controls": ["region"]}
    return fit_loyalty_revenue(customers, **asked), fit_loyalty_revenue(cx.as_table(customers), **asked)


def test_coefficients_and_hc1_errors_equal_those_of_the_rows_to_1e_10(both):
    rows, cells = (f.tidy() for f in both)
    assert rows["term"].tolist() == cells["term"].tolist()
    for column in ("estimate", "std_error", "conf_low", "p_value", "percent_high"):
        assert cells[column].to_numpy() == pytest.approx(rows[column].to_numpy(), abs=1e-10, nan_ok=True)


def test_the_headline_the_groups_and_the_share_explained_equal_those_of_the_rows(both):
    rows, cells = (f.glance().iloc[0] for f in both)
    for key in "n received dropped percent percent_low money ratio_high explained mean_revenue e_value".split():
        assert cells[key] == pytest.approx(rows[key], rel=1e-9)
    for key in ("money_low", "ratio_low", "robustness_value", "robustness_value_limit", "rising"):
        assert cells[key] == pytest.approx(rows[key], rel=1e-7)
    for name, lost in (("groups", ["median"]), ("curve", []), ("shape", []), ("bounds", [])):
        ours, theirs = (f.tables()[name].drop(columns=lost).select_dtypes("number").to_numpy(float) for f in both)
        assert ours == pytest.approx(theirs, rel=1e-6, nan_ok=True)
    checks = [f.checks().set_index("check")["ok"] for f in both]
    assert checks[0].to_dict() == checks[1].to_dict()
    assert both[1].tables()["with_and_without"]["percent"].to_numpy() == pytest.approx(
        both[0].tables()["with_and_without"]["percent"].to_numpy()
    )
    assert both[1].sentence() == both[0].sentence()


def test_a_file_is_read_as_a_table_is(customers, both, tmp_path):
    customers.to_parquet(tmp_path / "customers.parquet")
    asked = dict(revenue="revenue", loyalty="nps", controls=["region"], threads=1, memory_limit="500MB")
    got = fit_loyalty_revenue(str(tmp_path / "*.parquet"), **asked)
    assert got.tidy()["estimate"].to_numpy() == pytest.approx(both[1].tidy()["estimate"].to_numpy(), abs=1e-12)


def test_categories_under_the_minimum_base_are_pooled(customers):
    rare = customers.copy()
    rare.loc[10:13, "region"] = "south"
    got = fit_loyalty_revenue(cx.as_table(rare, min_base=10), revenue="revenue", loyalty="nps", controls=["region"])
    assert not any("south" in term for term in got.tidy()["term"])
    smallest = customers["region"].value_counts().idxmin()
    terms = set(got.tidy()["term"])
    assert f"region[{smallest}]" not in terms and "region[other (below base)]" in terms


ROWS = np.arange(4000)


def refused(table, **options):
    with pytest.raises(cx.DataProblem) as caught:
        table = table if isinstance(table, str) else cx.as_table(table)
        fit_loyalty_revenue(table, **({"revenue": "revenue", "loyalty": "nps"} | options))
    return str(caught.value)


def test_bad_input(customers, tmp_path):
    negative, some = "revenue holds 4000 negative values among 4000 (lowest -1)", customers["revenue"].where(ROWS > 3)
    assert refused(customers.assign(revenue=-1.0)).startswith(negative)
    assert refused(customers.assign(revenue=some)).startswith("revenue is missing for 4 of 4000 customers;")
    fractions = "values that are not whole numbers; round it, or hand over a DataFrame"
    assert refused(customers.assign(nps=customers["nps"] / 4)).endswith(fractions)
    assert refused(customers[:50]) == "fit_loyalty_revenue needs at least 100 complete rows; found 42"
    assert refused(customers, loyalty="npss") == "the table of customers has no column 'npss'; did you mean 'nps'?"
    assert refused(customers.assign(nps=3)) == "nps has one value (3) in all 4000 rows used; nothing can go with it"
    assert refused(customers, model="gamma").startswith("a table in files is fitted by model='poisson'")
    assert refused(customers, asked="when").startswith("effects, asked and revenue_from need a DataFrame")
    with pytest.raises(cx.DataProblem, match="threads and memory_limit are the engine's"):
        fit_loyalty_revenue(customers, revenue="revenue", loyalty="nps", threads=1)
    missing = str(tmp_path / "none.parquet")
    assert refused(missing) == f"{missing}: no Parquet or CSV file found"


@pytest.mark.parametrize("cluster", [None, "branch"])
def test_refits_on_distinct_rows_equal_refits_of_statsmodels_on_the_rows(customers, cluster):
    import statsmodels.api as sm

    survey = cx.as_survey(customers, weight="w", cluster=cluster)
    s = cases_of(survey, revenue="revenue", loyalty="nps", controls=["region"])
    got = resample.resample(s, points=1, n_boot=100, seed=3)
    weights = next(iter(s.drawn.replicates(100, seed=3)))[7]
    X, raised = s.X("linear"), s.X("linear", score=np.minimum(s.score + 1, 10))
    fitted = sm.GLM(s.y, X, family=sm.families.Poisson(), var_weights=weights).fit(tol=1e-13, tol_criterion="params")
    difference = fitted.predict(raised) - fitted.predict(X)
    assert got.draws[7] == pytest.approx(np.average(difference, weights=weights), rel=1e-7)
    unit, times = np.unique(s.drawn.unit_of_row, return_inverse=True)[1], weights / s.weights
    share, mu = weights / weights.sum(), fitted.predict(X)
    slope = share @ (fitted.predict(raised)[:, None] * raised - mu[:, None] * X)
    reach = X @ np.linalg.solve(X.T @ ((weights * mu)[:, None] * X), slope)
    rows = s.weights * (reach * (s.y - mu) + (difference - share @ difference) / weights.sum())
    squares = np.square(np.bincount(unit, rows)) @ times[np.unique(unit, return_index=True)[1]]
    assert got.errors[7] == pytest.approx(np.sqrt(squares), rel=1e-6)


def test_the_error_of_the_difference_is_its_delta_error(customers):
    asked = {"revenue": "revenue", "loyalty": "nps"}
    low = customers[customers["nps"] <= 9]  # nobody is capped: the two questions are the same
    got = resample.resample(cases_of(cx.as_survey(low, cluster="branch"), **asked), points=1, n_boot=100, seed=3)
    money = fit_loyalty_revenue(cx.as_survey(low, cluster="branch"), **asked).glance().iloc[0]
    groups = low["branch"].nunique()
    n = len(low)
    reach = stats.t.ppf(0.975, groups - 1) * got.error * np.sqrt(groups / (groups - 1) * (n - 1) / (n - 2))
    assert money["money_high"] - money["money"] == pytest.approx(reach, rel=1e-6)


def test_the_benchmark_compares_the_same_fit():
    import tempfile
    from pathlib import Path

    from benchmarks.loyalty import by_cells, by_rows, write_customers

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "customers.parquet"
        write_customers(path, 20_000)
        ours, theirs = by_cells(str(path)), by_rows(str(path))
    order = [theirs["terms"].index(t) for t in ours["terms"]]
    assert ours["coef"] == pytest.approx(np.array(theirs["coef"])[order], abs=1e-8)
    assert ours["error"] == pytest.approx(np.array(theirs["error"])[order], abs=1e-8)


def test_text_is_not_taken_for_numbers():
    text = pd.DataFrame({"nps": ["a"] * 200, "revenue": 1.0})
    assert refused(text) == "revenue and nps must be numbers; the engine reads at least one of them as text"


def test_cells_hide_money_that_one_customer_dominates_and_give_a_statsmodels_model(customers, both):
    rich = customers.copy()
    rich.loc[rich[rich["nps"] == 3].index[0], "revenue"] = 1e7
    asked = {"revenue": "revenue", "loyalty": "nps"}
    rows = fit_loyalty_revenue(cx.as_survey(rich, min_base=10), **asked)
    cells = fit_loyalty_revenue(cx.as_table(rich, min_base=10), **asked)
    for name in ("groups", "curve"):
        hidden = [f.tables()[name]["n"].isna().tolist() for f in (rows, cells)]
        assert hidden[0] == hidden[1] and any(hidden[0])
    assert cells.suppressed == rows.suppressed > 0
    got = both[1].model.params
    assert got.to_numpy() == pytest.approx(both[1].tidy()["estimate"].to_numpy(), abs=1e-8)


@pytest.mark.parametrize("told", [True, False])
def test_cells_see_a_score_that_tells_who_bought_nothing(customers, told):
    low = customers["nps"] <= 3
    table = customers.assign(revenue=customers["revenue"].where(~(low & told), 0.0))
    rows, cells = (fit_loyalty_revenue(t, revenue="revenue", loyalty="nps") for t in (table, cx.as_table(table)))
    assert cells.reasons == rows.reasons and bool(rows.reasons) == told
