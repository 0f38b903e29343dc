"""Differences between groups of customers, and between those who answered and all."""

import numpy as np
import pandas as pd
import pytest
from test_loyalty import shop

import cxresearch as cx
from cxresearch.loyalty import compare_responders, loyalty_by_group

ASKED = {"revenue": "revenue", "loyalty": "nps"}


def regions(slopes, n=900, seed=5):
    parts = [shop(seed=seed + i, n=n, slope=b, confounding=0.0).assign(region=f"R{i}") for i, b in enumerate(slopes)]
    return pd.concat(parts, ignore_index=True)


def test_equal_groups_are_drawn_to_one_mean_and_no_difference_is_established():
    got = loyalty_by_group(regions([0.05] * 5), **ASKED, by="region")
    t = got.tidy()
    assert np.ptp(t["percent"]) < 0.5 * np.ptp(t["own"])
    assert got.sentence().startswith(
        "That what a point of nps goes with in revenue differs between region is not established (p "
    )
    assert got.glance()["percent_low"][0] < 100 * np.expm1(0.05) < got.glance()["percent_high"][0]


def test_the_group_that_differs_is_named():
    got = loyalty_by_group(regions([0.03, 0.03, 0.03, 0.35]), **ASKED, by="region")
    assert got.tidy().set_index("group")["p_adjusted"].idxmin() == "R3"
    assert got.sentence().startswith("In region, what a point of nps goes with in revenue departs from the mean in")
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


def everyone(seed=3, n=4000):
    """All customers: those who bought more before answer more often, and among them the link is stronger."""
    rng = np.random.default_rng(seed)
    before = rng.normal(size=n)
    score = np.clip(np.round(7 + 2 * rng.normal(size=n)), 0, 10)
    mean = np.exp(4 + 0.5 * before + (0.04 + 0.05 * (before > 0)) * (score - 7))
    answers = rng.random(n) < 1 / (1 + np.exp(0.5 - 1.2 * before))
    return pd.DataFrame(
        {"before": before, "nps": np.where(answers, score, np.nan), "revenue": rng.gamma(2, mean / 2), "full": score}
    )


def test_weighting_by_the_chance_of_answering_moves_towards_what_all_customers_show():
    table = everyone()
    got = compare_responders(table, **ASKED, behaviour=["before"])
    all_customers = cx.fit_loyalty_revenue(table.assign(nps=table["full"]), **ASKED).glance()["percent"][0]
    g = got.glance().iloc[0]
    assert abs(g["percent"] - all_customers) < abs(g["unweighted"] - all_customers)
    gap = got.tidy().set_index("term").loc["difference"]
    assert gap["conf_low"] > 0 and "they have" in got.sentence()
    answering = got.tables()["answering"].set_index("term").loc["before"]
    assert answering["conf_low"] < 1.2 < answering["conf_high"]


def test_means_of_the_parts_are_those_of_the_table():
    table = everyone()
    t = compare_responders(table, **ASKED, behaviour=["before"]).tidy().set_index("term")
    answered = table["nps"].notna()
    assert t.loc["answered", "estimate"] == pytest.approx(table["revenue"][answered].mean())
    assert t.loc["all customers", "estimate"] == pytest.approx(table["revenue"].mean())
    from scipy import stats

    welch = stats.ttest_ind(
        table["revenue"][answered], table["revenue"][~answered], equal_var=False
    ).confidence_interval()
    assert [t.loc["difference", "conf_low"], t.loc["difference", "conf_high"]] == pytest.approx([welch.low, welch.high])


@pytest.mark.parametrize(
    ("nps", "message"),
    [
        (1.0, "everybody has a nps; those who answered cannot be compared with the others"),
        (np.nan, "nobody has a nps; those who answered cannot be compared with the others"),
    ],
)
def test_one_side_alone(nps, message):
    with pytest.raises(cx.DataProblem) as caught:
        compare_responders(everyone().assign(nps=nps), **ASKED, behaviour=["before"])
    assert str(caught.value) == message
