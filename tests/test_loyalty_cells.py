"""Sums per cell give what the rows give."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_loyalty import shop

import cxresearch as cx
from cxresearch.loyalty import fit_loyalty_revenue, fit_loyalty_revenue_cells, resample
from cxresearch.loyalty.design import sample


@pytest.fixture(scope="module")
def customers():
    table = shop(n=4000, seed=21)
    table.loc[:7, "nps"] = np.nan
    return table


@pytest.fixture(scope="module")
def both(customers):
    asked = {"revenue": "revenue", "loyalty": "nps", "controls": ["region"]}
    return fit_loyalty_revenue(customers, **asked), fit_loyalty_revenue_cells(customers, **asked)


def test_coefficients_and_hc1_errors_equal_those_of_the_rows_to_1e_10(both):
    rows, cells = (f.tidy() for f in both)
    assert rows["term"].tolist() == cells["term"].tolist()
    for column in ("estimate", "std_error", "conf_low", "p_value", "percent_high"):
        assert cells[column].to_numpy() == pytest.approx(rows[column].to_numpy(), abs=1e-10, nan_ok=True)


def test_the_headline_the_groups_and_the_share_explained_equal_those_of_the_rows(both):
    rows, cells = (f.glance().iloc[0] for f in both)
    for key in (
        "n",
        "received",
        "dropped",
        "percent",
        "percent_low",
        "money",
        "ratio_high",
        "explained",
        "mean_revenue",
        "e_value",
    ):
        assert cells[key] == pytest.approx(rows[key], rel=1e-9)
    assert cells["money_low"] == pytest.approx(rows["money_low"], rel=0.002)
    shared = ["n", "estimate", "zeros"]
    assert both[1].tables()["groups"][shared].to_numpy() == pytest.approx(both[0].tables()["groups"][shared].to_numpy())
    assert both[1].tables()["with_and_without"]["percent"].to_numpy() == pytest.approx(
        both[0].tables()["with_and_without"]["percent"].to_numpy()
    )
    assert both[1].sentence() == both[0].sentence()


def test_a_file_is_read_as_a_table_is(customers, both, tmp_path):
    customers.to_parquet(tmp_path / "customers.parquet")
    got = fit_loyalty_revenue_cells(
        str(tmp_path / "*.parquet"),
        revenue="revenue",
        loyalty="nps",
        controls=["region"],
        threads=1,
        memory_limit="500MB",
    )
    assert got.tidy()["estimate"].to_numpy() == pytest.approx(both[1].tidy()["estimate"].to_numpy(), abs=1e-12)


def test_categories_under_the_minimum_base_are_pooled(customers):
    rare = customers.copy()
    rare.loc[10:13, "region"] = "south"
    got = fit_loyalty_revenue_cells(rare, revenue="revenue", loyalty="nps", controls=["region"], min_base=10)
    assert not any("south" in term for term in got.tidy()["term"])
    smallest = customers["region"].value_counts().idxmin()
    assert f"region[{smallest}]" not in set(got.tidy()["term"]) and "region[other (below base)]" in set(
        got.tidy()["term"]
    )


def refused(table, **options):
    with pytest.raises(cx.DataProblem) as caught:
        fit_loyalty_revenue_cells(table, **({"revenue": "revenue", "loyalty": "nps"} | options))
    return str(caught.value)


def test_bad_input(customers, tmp_path):
    assert refused(customers.assign(revenue=-1.0)).startswith(
        "revenue holds 4000 negative values among 4000 (lowest -1)"
    )
    assert refused(customers.assign(revenue=customers["revenue"].where(customers.index > 3))).startswith(
        "revenue is missing for 4 of 4000 customers;"
    )
    assert refused(customers.assign(nps=customers["nps"] / 4)).endswith(
        "values that are not whole numbers; take fit_loyalty_revenue, or round it"
    )
    assert refused(customers[:50]) == "fit_loyalty_revenue_cells needs at least 100 complete rows; found 42"
    assert refused(customers, loyalty="npss") == "the table of customers has no column 'npss'; did you mean 'nps'?"
    assert refused(customers.assign(nps=3)) == "nps has one value in all 4000 rows used; nothing can go with it"
    missing = str(tmp_path / "none.parquet")
    assert refused(missing) == f"{missing}: no Parquet or CSV file found"


@pytest.mark.parametrize("cluster", [None, "branch"])
def test_bootstrap_refits_on_cells_equal_refits_on_rows(customers, monkeypatch, cluster):
    s = sample(customers, revenue="revenue", loyalty="nps", controls=["region"], weight="w", cluster=cluster)
    on_cells = resample.resample(s, points=1, n_boot=100, seed=3)
    monkeypatch.setattr(resample, "MOST_CELLS", 0)
    on_rows = resample.resample(s, points=1, n_boot=100, seed=3)
    assert on_cells.draws == pytest.approx(on_rows.draws, rel=1e-7)
    assert on_cells.errors == pytest.approx(on_rows.errors, rel=1e-6)


def test_the_error_of_the_difference_is_its_delta_error(customers):
    asked = {"revenue": "revenue", "loyalty": "nps"}
    low = customers[customers["nps"] <= 9]  # nobody is capped: the two questions are the same
    got = resample.resample(sample(low, **asked, cluster="branch"), points=1, n_boot=100, seed=3)
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
