"""Differences between groups of customers."""

import numpy as np
import pandas as pd
import pytest
from test_loyalty import shop

import cxresearch as cx
from cxresearch.loyalty import loyalty_by_group

ASKED = {"revenue": "revenue", "loyalty": "nps"}


def regions(slopes, n=900, seed=5):
    parts = [shop(seed=seed + i, n=n, slope=b, confounding=0.0).assign(region=f"R{i}") for i, b in enumerate(slopes)]
    return pd.concat(parts, ignore_index=True)


def test_equal_groups_are_drawn_to_one_mean_and_no_difference_is_established():
    got = loyalty_by_group(regions([0.05] * 5), **ASKED, by="region")
    t = got.tidy()
    assert np.ptp(t["percent"]) < 0.5 * np.ptp(t["own"])
    assert got.sentence().startswith(
        "That a point of nps goes with different revenue by region is not established (p = "
    )
    assert got.glance()["percent_low"][0] < 100 * np.expm1(0.05) < got.glance()["percent_high"][0]


def test_the_group_that_differs_is_named():
    got = loyalty_by_group(regions([0.03, 0.03, 0.03, 0.35]), **ASKED, by="region")
    assert got.tidy().set_index("group")["p_adjusted"].idxmin() == "R3"
    assert got.sentence().startswith(
        "What a point of nps goes with in revenue departs from the mean in 4 of 4 groups by region"
    )
    assert "R3 (" in got.sentence()


def test_groups_too_small_to_fit_are_left_out_with_the_reason():
    table = regions([0.05] * 3)
    few = pd.concat([table, table[:40].assign(region="R9")], ignore_index=True)
    got = loyalty_by_group(few, **ASKED, by="region")
    assert got.tables()["left_out"].to_numpy().tolist() == [
        ["R9", "loyalty_by_group needs at least 100 complete rows; found 40"]
    ]
    assert not got.checks()["ok"][0]
    with pytest.raises(cx.TooFewRespondents) as caught:
        loyalty_by_group(table[:900], **ASKED, by="region")
    assert str(caught.value) == "loyalty_by_group needs two groups of at least 100 complete rows in region; found 1"


def test_with_fewer_than_four_groups_nothing_is_drawn_and_the_sentence_says_so():
    got = loyalty_by_group(regions([0.05] * 3), **ASKED, by="region")
    assert got.tidy()["percent"].isna().all() and got.tidy()["own"].notna().all()
    assert "the spread between them is not estimable" in got.sentence()
    got.plot()


def test_groups_without_variance_between_them_keep_intervals_that_allow_for_not_knowing_it():
    got = loyalty_by_group(regions([0.05] * 5, n=300), **ASKED, by="region")
    g, t = got.glance().iloc[0], got.tidy()
    assert g["std_between"] == pytest.approx(0, abs=0.03)
    assert ((t["percent_high"] - t["percent_low"]) > 1.15 * (g["percent_high"] - g["percent_low"])).all()


def test_that_groups_do_not_differ_is_a_finding_and_no_failed_check():
    got = loyalty_by_group(regions([0.05] * 4), **ASKED, by="region")
    assert not got.established and got.checks()["ok"].all()
    assert set(got.model) == {"R0", "R1", "R2", "R3"}
    estimates = [100 * np.expm1(results.params["nps"]) for results in got.model.values()]
    assert estimates == pytest.approx(got.tidy()["own"].tolist(), abs=1e-6)
