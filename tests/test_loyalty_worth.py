"""What a point is worth: recovered, and refused; the ladder, the specification curve, and groups of customers."""

import numpy as np
import pandas as pd
import pytest
from test_loyalty import shop, surveyed, trap

import cxresearch as cx
from cxresearch.loyalty import compare_revenue_models, loyalty_by_group, specification_curve, worth_of_a_point

ASKED = {"revenue": "revenue", "loyalty": "nps"}


def worth(table, **options):
    survey, asked = surveyed(table, {"revenue": "revenue", "loyalty": "nps", "seed": 1, "n_boot": 200} | options)
    return worth_of_a_point(survey, **asked)


@pytest.fixture(scope="module")
def customers():
    return shop(n=2500, slope=0.06)


@pytest.fixture(scope="module")
def found(customers):
    return worth(customers, controls=["affluence"], cost=4000.0)


def test_worth_is_the_capped_predicted_difference_times_customers(customers, found):
    import statsmodels.api as sm

    X = sm.add_constant(customers[["nps", "affluence"]])
    fit = sm.GLM(customers["revenue"], X, family=sm.families.Poisson()).fit()
    raised = X.assign(nps=np.minimum(X["nps"] + 1, 10))
    assert found.glance()["worth"][0] == pytest.approx((fit.predict(raised) - fit.predict(X)).sum(), rel=1e-8)


def test_the_planted_worth_lies_in_the_interval(customers, found):
    mean = np.exp(4 + 0.06 * customers["nps"] + 0.3 * customers["affluence"])
    truth = (mean * np.expm1(0.06))[customers["nps"] < 10].sum()
    g = found.glance().iloc[0]
    assert g["worth_low"] < truth < g["worth_high"]


def test_scenarios_cost_and_break_even(found):
    t = found.tidy().set_index("term")
    g = found.glance().iloc[0]
    assert t.loc["half of it causal", "estimate"] == pytest.approx(g["worth"] / 2)
    assert 0 <= t.loc["hidden cause as strong as affluence", "causal_share"] < 1
    assert t.loc["all of it causal", "net"] == pytest.approx(g["worth"] - 4000)
    assert g["break_even"] == pytest.approx(4000 / g["worth"])
    assert found.sentence().startswith("One point more on nps goes with")
    assert "is covered if at least" in found.sentence()


def test_same_seed_same_bytes_other_seed_other_interval(customers):
    one, two, other = (worth(customers, seed=s).tidy() for s in (5, 5, 6))
    assert one.to_csv() == two.to_csv() and not one.equals(other)


# --- refusals of the headline --------------------------------------------------------------------------------------------


def test_refused_when_the_interval_holds_zero():
    got = worth(shop(slope=0.0, confounding=0.0, seed=4))
    assert got.sentence().startswith(
        "What one point more on nps would be worth in revenue is not established: the interval holds zero. "
    )
    assert not got.glance()["established"][0] and len(got.tidy()) == 2


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (lambda t: {"asked": "2025-03-01"}, {"asked": "asked", "revenue_from": "2025-01-01"},
         "the score was measured after the revenue window began for 100 % of customers"),
        (lambda t: {"site": t["branch"] % 20}, {"cluster": "site"}, "there are 20 clusters, fewer than 30"),
        (lambda t: {"nps": np.round(t["revenue"].rank(pct=True) * 10)}, {},
         "the score gives the revenue away (its rank correlation with revenue is"),
    ],
)  # fmt: skip
def test_the_headline_is_refused_with_its_reason(customers, change, options, reason):
    assert f"not established: {reason}" in worth(customers.assign(**change(customers)), **options).sentence()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 0}, "points=0 must be above 0"),
        ({"n_boot": 10}, "n_boot=10 is too few for an interval; take at least 100"),
        ({"cost": -1}, "cost=-1 must be zero or more"),
        ({"confidence": 95}, "confidence=95 must lie between 0 and 1, for example 0.95"),
    ],
)
def test_wrong_options(customers, options, message):
    with pytest.raises(cx.DataProblem) as caught:
        worth(customers, **options)
    assert str(caught.value) == message


# --- ladder and specification curve ------------------------------------------------------------------------------------------


def test_the_ladder_holds_four_models_and_the_same_question(customers):
    got = compare_revenue_models(customers, **ASKED, controls=["affluence"])
    t = got.tidy().set_index("term")
    assert list(t.index) == ["poisson", "gamma", "log_ols", "two_part"]
    one = cx.fit_loyalty_revenue(customers, **ASKED, controls=["affluence"], model="gamma").glance()
    assert t.loc["gamma", "percent"] == one["percent"][0]
    assert t.loc["log_ols", "n"] == (customers["revenue"] > 0).sum()
    assert got.glance()["suits"][0] == "gamma"


def test_the_ladder_names_the_log_ols_trap():
    got = compare_revenue_models(trap(), **ASKED)
    assert "the log-OLS trap is here: its coefficient reads 22.1 %, the means -28.7 %" in got.sentence()
    message = "two_part needs customers without revenue; all 4000 have some: take gamma"
    assert got.tables()["left_out"]["why"][0] == message


def test_the_specification_curve_takes_every_subset_and_marks_the_default(customers):
    got = specification_curve(customers, **ASKED, controls=["affluence", "region"])
    assert len(got.tidy()) == 4 * 4 * 2
    at = got.tidy().iloc[got.glance()["rank"][0] - 1]
    assert at[["model", "held", "capped"]].tolist() == ["poisson", "affluence, region", 0.0]
    one = cx.fit_loyalty_revenue(customers, **ASKED, controls=["affluence", "region"]).glance()
    assert at["percent"] == pytest.approx(one["percent"][0])
    lines = {line.get_label(): list(line.get_ydata()) for line in got.plot().lines}
    bare, some, held = (lines[f"{k} control{'s' * (k != 'no')}"] for k in ("no", "some", "all"))
    assert (len(bare), len(some), len(held)) == (8, 16, 8)
    assert sorted(bare + some + held) == got.tidy()["percent"].tolist()


# --- groups of customers ---------------------------------------------------------------------------------------------


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
