"""What to do about drivers: penalties and rewards, performance, halo, improvement, groups, reliability."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drivers_calls import asked

from cxresearch.drivers import compare_drivers, halo_check, penalty_reward, scale_reliability
from cxresearch.drivers.actions import promoter_points
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.inference.pooling import cronbach_alpha, feldt_interval, one_factor_omega
from cxresearch.survey import as_survey

importance_performance, simulate_improvement = asked("importance_performance"), asked("simulate_improvement")
# Holzinger & Swineford (1939), 301 pupils, nine tests: covariances to three decimals as published with R's lavaan.
PUPILS = """1.358 .407 .580 .505 .441 .455 .085 .264 .458 1.382 .451 .209 .211 .248 -.097 .110 .244 1.275 .208
.112 .244 .088 .212 .374 1.351 1.098 .896 .220 .126 .243 1.660 1.015 .143 .181 .295 1.196 .144 .165
.236 1.183 .535 .373 1.022 .457 1.015"""


def pupils() -> np.ndarray:
    out = np.empty((9, 9))
    rows, columns = np.triu_indices(9)
    out[rows, columns] = out[columns, rows] = np.array(PUPILS.split(), dtype=float)
    return out


def survey(n=1500, seed=1, p=5, halo=0.6):
    rng = np.random.default_rng(seed)
    x = halo * rng.normal(size=(n, 1)) + np.sqrt(1 - halo**2) * rng.normal(size=(n, p))
    ratings = pd.DataFrame(np.clip(np.round(3 + 1.1 * x), 1, 5), columns=[f"d{k}" for k in range(1, p + 1)])
    return ratings.assign(noise=rng.normal(size=n))


D = [f"d{k}" for k in range(1, 6)]
ASK = dict(outcome="y", drivers=D, seed=1, n_boot=300)
FIVE = dict.fromkeys(D, (1, 5))


# --- penalty and reward ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kano():
    t = survey(4000)
    return t.assign(
        y=5
        - 1.0 * (t["d1"] <= 2)
        + 1.0 * (t["d2"] >= 4)
        + 0.6 * (t["d3"] >= 4)
        - 0.6 * (t["d3"] <= 2)
        + 0.7 * t["noise"]
    )


def test_basic_excitement_and_performance_drivers_are_recovered(kano):
    found = penalty_reward(as_survey(kano, labels={"d1": "Cleanliness"}), **ASK)
    kinds = found.tidy().set_index("term")["asymmetry_kind"]
    assert kinds["d1"] == "basic" and kinds["d2"] == "excitement" and kinds["d3"] == "performance"
    assert (kinds[["d4", "d5"]] == "not established").all()
    row = found.tidy().set_index("term").loc["d1"]
    assert row["penalty_low"] < -1 < row["penalty_high"] and row["reward_low"] < 0 < row["reward_high"]
    said = "Against what a straight line gives, basic: Cleanliness; performance: d3; excitement: d2; an association"
    assert said in found.sentence()
    assert found.established
    assert found.plot().get_xlabel() == "Points of y against a middle rating"
    plt.close("all")


def test_slopes_are_those_of_least_squares_in_statsmodels(kano):
    import statsmodels.api as sm

    found = penalty_reward(kano, **ASK).tidy()
    dummies = np.column_stack([c for d in D for c in (kano[d] <= 2, kano[d] >= 4)]).astype(float)
    fit = sm.OLS(kano["y"].to_numpy(), sm.add_constant(dummies)).fit()
    np.testing.assert_allclose(found[["penalty", "reward"]].to_numpy().ravel(), fit.params[1:], atol=1e-8)
    half = (found["penalty_high"] - found["penalty_low"]).to_numpy() / 3.92
    np.testing.assert_allclose(half, fit.bse[1::2], rtol=0.2)


def test_never_met_has_its_own_level(kano):
    met = np.random.default_rng(3).random(len(kano)) < 0.5
    table = kano.assign(d1=kano["d1"].where(met), d1_met=met, y=kano["y"].where(met, kano["y"] + (kano["d1"] <= 2) + 3))
    row = penalty_reward(table, **ASK).tidy().set_index("term").loc["d1"]
    assert row["penalty_low"] < -1 < row["penalty_high"]
    assert row["n_low"] == ((kano["d1"] <= 2) & met).sum()


def test_nothing_in_low_and_high_ratings_is_not_established():
    t = survey(600).assign(y=lambda t: t["noise"])
    assert re.match(
        r"Not established: low and high ratings of the 5 drivers go with y no more than chance gives \(p = 0\.\d+; n = 600\)\.$",
        penalty_reward(t, **ASK).sentence(),
    )
    one = penalty_reward(t.assign(y=t["d1"] + t["noise"]), outcome="y", drivers="d1", n_boot=100, seed=1)
    assert re.match(r"Between low and high ratings of d1 lie [\d.]+ \(95 % interval .* points of y\. ", one.sentence())


def test_a_straight_line_is_performance_however_unequal_the_thirds():
    """Thirds of ratings that pile up at the top hold different stretches of the scale: that is no excitement."""
    rng = np.random.default_rng(5)
    x = 0.5 * rng.normal(size=(6000, 1)) + rng.normal(size=(6000, 5))
    skewed = pd.DataFrame(np.clip(np.round(5.2 + 1.5 * x), 1, 7), columns=D)
    skewed["y"] = skewed[D] @ [1.0, 0.8, 0.6, 0.5, 0.4] + 0.5 * rng.normal(size=6000)
    found = penalty_reward(as_survey(skewed, scales=dict.fromkeys(D, (1, 7))), **ASK).tidy().set_index("term")
    assert (found["asymmetry"].abs() > 0.12).all()  # from the cutting points alone
    assert found["departure"].abs().max() < 0.1 and (found["asymmetry_kind"] == "performance").all()


def test_a_driver_without_low_ratings_is_left_out_and_named(kano):
    good = kano.assign(d4=kano["d4"].clip(lower=3))
    found = penalty_reward(as_survey(good, labels={"d4": "Parking"}), **ASK)
    assert found.tidy()["term"].tolist() == ["d1", "d2", "d3", "d5"]
    assert found.sentence().endswith(" Too few low, middle or high ratings: Parking.")
    assert found.checks().set_index("check").loc["drivers with too few low or high ratings", "value"] == "d4"


def test_a_driver_without_middle_ratings_has_nothing_to_compare_with(kano):
    ends = kano.assign(d4=kano["d4"].where(kano["d4"] != 3, 2))
    found = penalty_reward(ends, **ASK)
    assert "d4" not in set(found.tidy()["term"]) and found.sentence().endswith(
        " Too few low, middle or high ratings: d4."
    )


def test_penalty_reward_refuses(kano):
    said = "^'d1' has none of its ratings in the low third of its scale; leave it out$"
    none_low = as_survey(kano.assign(d1=kano["d1"].clip(lower=3)), scales=FIVE)
    with pytest.raises(TooFewRespondents, match=said):
        penalty_reward(none_low, outcome="y", drivers="d1", seed=1)
    with pytest.raises(DataProblem, match="^penalty_reward needs drivers that are ratings; 'd1' is not a number$"):
        penalty_reward(kano.assign(d1=np.where(kano["d1"] > 3, "a", "b")), **ASK)


# --- importance and performance --------------------------------------------------------------------------------------


def test_importance_and_performance_of_those_who_met_it():
    t = survey()
    met = np.random.default_rng(1).random(len(t)) < 0.6
    t = t.assign(y=t["d1"] + 0.5 * t["d2"] + t["noise"], d3=t["d3"].where(met), d3_met=met)
    found = importance_performance(t, **ASK, scales=FIVE)
    table = found.tidy().set_index("term")
    assert table.loc["d3", "estimate"] == pytest.approx(100 * (t.loc[met, "d3"].mean() - 1) / 4)
    some = t.assign(y=t["y"].where(t["d3"] != 5))  # who rated it best did not answer the outcome
    less = importance_performance(some, **ASK, scales=FIVE).tidy().set_index("term")
    assert less.loc["d3", "estimate"] == pytest.approx(100 * (t.loc[met & (t["d3"] != 5), "d3"].mean() - 1) / 4)
    assert table.loc["d3", "n"] == met.sum() and table["share"].idxmax() == "d1"
    assert ((table["conf_low"] < table["estimate"]) & (table["estimate"] < table["conf_high"])).all()
    half = 1.96 * 25 * t["d1"].std() / np.sqrt(len(t))
    assert (table.loc["d1", "conf_high"] - table.loc["d1", "conf_low"]) / 2 == pytest.approx(half, rel=0.2)
    assert found.sentence().startswith("d1 is rated ")


def test_the_map_says_what_ties_and_what_chance_gives():
    t = survey(800)
    tie = importance_performance(t.assign(y=t["d1"] + t["d2"] + t["noise"]), **ASK).sentence()
    assert re.search(
        r"^d[12] is rated .*? of 100; .*\. Its share of what the drivers explain, .*, is tied with d[12]; n = 800\.$", tie
    )
    none = importance_performance(t.assign(y=t["noise"]), **ASK).sentence()
    assert none.startswith("Not established: the 5 drivers go with y no more than chance gives (p = ")
    two = importance_performance(
        t.assign(y=2 * t["d1"] + t["noise"]), outcome="y", drivers=["d1", "d2"], n_boot=100, seed=1
    )
    assert re.search(r"d1 is rated .* of 100, and the other driver (no )?lower\. Its share", two.sentence())


@pytest.mark.parametrize("p, length", [(5, 60), (12, 10), (23, 10)])
def test_many_drivers_and_long_labels_have_a_readable_map(p, length):
    t = survey(600, p=p, halo=0.9)
    names = [f"d{k}" for k in range(1, p + 1)]
    t = t.assign(y=t[names].mean(axis=1) + t["noise"])
    labels = {n: f"{n} " + "touchpoint " * (length // 10) for n in names}
    ask = dict(outcome="y", drivers=names, seed=1, n_boot=100)
    ax = importance_performance(as_survey(t, labels=labels), **ask).plot()
    ax.figure.canvas.draw()
    assert sorted(text.get_text().split()[0] for text in ax.texts) == sorted(names)  # each dot by its name
    inside = ax.figure.get_window_extent()
    assert all(inside.x0 <= e.x0 and e.x1 <= inside.x1 for e in (text.get_window_extent() for text in ax.texts))
    plt.close("all")


def test_a_rating_that_rises_raises_performance():
    """The scale is the declared one: without any answer of 1, the index is not stretched to the lowest one found."""
    t = survey(800).assign(y=lambda t: t["d1"] + t["noise"])
    known = as_survey(t, scales=dict.fromkeys(D, (1, 7)))
    better = known.with_table(t.assign(**{d: t[d].where(t[d] > 1, 2) for d in D}))
    before, after = (importance_performance(s, **ASK).tidy() for s in (known, better))
    assert (after["estimate"] > before["estimate"]).all()
    np.testing.assert_allclose(before["estimate"], 100 * (t[D].mean() - 1) / 6)
    undeclared = importance_performance(t, **ASK).checks().set_index("check").loc["drivers without a declared scale"]
    assert undeclared["value"] == 5 and not undeclared["ok"]


def test_mobile_phone_performance_73_528_72_474_74_977_62_347_72_454_ecsi(shared):
    """Scores are the items by their unstandardised partial-least-squares weights (path scheme, mode A)."""
    e = pd.read_csv(shared / "data/banks/ecsi_mobile_phone.csv")
    scores = pls_scores(e, dict(zip(("IMAG", "CUEX", "PERQ", "PERV", "CUSA", "CUSCO", "CUSL"), range(7))))
    expected = [73.528, 72.474, 74.977, 62.347, 72.454]
    table = pd.DataFrame(scores[:, :5], columns=["image", "expectation", "quality", "value", "satisfaction"])
    found = importance_performance(
        table, outcome="satisfaction", drivers=list(table)[:4], seed=1, n_boot=100, scales=dict.fromkeys(table, (1, 10))
    )
    np.testing.assert_allclose(found.tidy()["estimate"], expected[:4], atol=6e-4)


def pls_scores(e, blocks) -> np.ndarray:
    """Return the scores (n, 7) of the ECSI model on the items' scale; each construct depends on earlier ones."""
    on = {1: [0], 2: [1], 3: [1, 2], 4: [0, 1, 2, 3], 5: [4], 6: [0, 4, 5]}
    items = [e[[c for c in e if c.startswith(key)]].to_numpy(float) for key in blocks]
    z = [(x - x.mean(axis=0)) / x.std(axis=0) for x in items]
    weights = [np.ones(x.shape[1]) for x in z]
    for _ in range(30):
        y = np.column_stack([x @ w / np.std(x @ w) for x, w in zip(z, weights)])
        inner = np.zeros((7, 7))
        for k, causes in on.items():
            inner[causes, k] = np.linalg.lstsq(y[:, causes], y[:, k], rcond=None)[0]
            inner[k, causes] = y[:, causes].T @ y[:, k] / len(y)
        weights = [x.T @ (y @ inner[:, k]) / len(y) for k, x in enumerate(z)]
    raw = [w / x.std(axis=0) for w, x in zip(weights, items)]
    return np.column_stack([x @ w / w.sum() for x, w in zip(items, raw)])


def test_ratings_outside_the_scale():
    t = survey(300).assign(y=lambda t: t["d1"])
    with pytest.raises(
        DataProblem,
        match=re.escape("'d1' holds ")
        + r"\d+"
        + re.escape(" ratings outside 1-4 (first: 5); correct its scale or declare them missing"),
    ):
        importance_performance(t, **ASK, scales=dict.fromkeys(D, (1, 4)))
    with pytest.raises(DataProblem, match=re.escape("the scale of 'd1', (5, 1), must be (lowest, highest)")):
        importance_performance(t, **ASK, scales={"d1": (5, 1)})


# --- halo ------------------------------------------------------------------------------------------------------------


def test_halo_alone_is_said_and_a_driver_beyond_it_is_found():
    t = survey(1500, halo=0.7)
    common = t[D].mean(axis=1)
    alone = halo_check(t.assign(y=common + t["noise"]), **ASK)
    assert "Not established that any driver goes with y beyond what all ratings share" in alone.sentence()
    beyond = halo_check(t.assign(y=common + 0.5 * t["d2"] + t["noise"]), **ASK)
    table = beyond.tidy().set_index("term")
    assert table["rank_held"].idxmin() == "d2" and table.loc["d2", "share_held"] > table.loc["d2", "share"]
    assert table["estimate"].sum() == pytest.approx(beyond.glance()["r2_held"].item())
    matrix = t[D].corr().to_numpy()
    assert beyond.glance()["first_factor"].item() == pytest.approx(np.linalg.eigvalsh(matrix)[-1] / 5)


@pytest.mark.parametrize("p", [2, 3])
def test_two_or_three_ratings_have_a_first_component_but_no_test(p):
    t = survey(500).assign(y=lambda t: t["d1"] + t["noise"])
    found = halo_check(t, **(ASK | {"drivers": D[:p]}))
    assert found.sentence().endswith("; whether that is beyond chance is not tested with fewer than 4 ratings.")
    assert found.tidy()["estimate"].sum() == pytest.approx(found.glance()["r2_held"].item())
    assert not found.checks().set_index("check").loc["more than a common factor (p)", "ok"]
    found.plot()
    plt.close("all")


def test_halo_of_27_ratings_samples_orders():
    """All subsets of 27 would take minutes and gigabytes."""
    t = survey(600, p=27, halo=0.7)
    names = [f"d{k}" for k in range(1, 28)]
    t = t.assign(y=t[names].mean(axis=1) + t["d3"] + t["noise"])
    found = halo_check(t, outcome="y", drivers=names, seed=1, n_boot=100)
    assert found.tidy().set_index("term")["rank_held"].idxmin() == "d3"
    assert found.tidy()["estimate"].sum() == pytest.approx(found.glance()["r2_held"].item(), rel=1e-5)


def test_the_halo_sentence_names_which_ranks_change():
    t = survey(1500, halo=0.7)
    found = halo_check(t.assign(y=t[D].mean(axis=1) + 0.5 * t["d2"] + t["noise"]), **ASK)
    moved = found.tidy().query("rank != rank_held").sort_values("rank")
    first = moved.iloc[0]
    assert f"ranks change: {first['term']} {first['rank']} to {first['rank_held']}" in found.sentence()


def test_holding_the_first_component_equals_a_regression_on_it():
    t = survey(500, halo=0.7)
    t = t.assign(y=t["d1"] + 0.5 * t["d2"] + t["noise"])
    z = (t[D] - t[D].mean()) / t[D].std()
    first = z.to_numpy() @ np.linalg.eigh(t[D].corr())[1][:, -1]
    r2 = 1 - np.linalg.lstsq(np.column_stack([np.ones(500), z]), t["y"], rcond=None)[1][0] / np.sum(
        (t["y"] - t["y"].mean()) ** 2
    )
    found = halo_check(t, **ASK).glance()
    assert found["r2_held"].item() == pytest.approx(r2 - np.corrcoef(first, t["y"])[0, 1] ** 2, abs=1e-9)


# --- improvement -----------------------------------------------------------------------------------------------------


def test_improvement_is_slope_times_the_room_to_rise():
    t = survey(2000)
    t = t.assign(y=np.clip(50 + 2 * t["d1"] + 1 * t["d2"] + t["noise"], 0, 100))
    found = simulate_improvement(t, **ASK, improve={"d1": 1, "d2": 2}, scales=FIVE | {"y": (0, 100)})
    table = found.tidy().set_index("term")
    room = (np.minimum(t["d1"] + 1, 5) - t["d1"]).mean()
    assert table.loc["d1", "conf_low"] < 2 * room < table.loc["d1", "conf_high"]
    assert table.loc["all together", "estimate"] == pytest.approx(table["estimate"].iloc[:2].sum())
    assert table.loc["d1", "share_moved"] == pytest.approx((t["d1"] < 5).mean())
    assert "nps_change" not in table and "not a tested change" in found.sentence()


def test_nothing_moves_at_the_scale_s_end_and_the_outcome_stops_at_its_own():
    t = survey(500).assign(
        d1=lambda t: np.where(t.index < 250, 5.0, 1.0),
        y=lambda t: np.where(t["d1"] == 5, 10.0, 9.9) + 0.01 * t["noise"].clip(-1, 0),
    )
    found = simulate_improvement(t, **ASK, improve={"d1": 4}, scales=FIVE | {"y": (0, 10)}).tidy()
    assert found["share_moved"].item() == pytest.approx(0.5)
    moved = np.clip(t["y"] + found["estimate"].item() * 2 * (t["d1"] == 1), 0, 10).mean() - t["y"].mean()
    assert 0 < found["estimate"].item() <= moved + 0.01


def test_improvement_draws_the_people_whose_ratings_are_raised():
    """A slope known exactly leaves the error of how many have room to rise: that of a share."""
    t = survey(500).assign(y=lambda t: 20 + 2 * t["d1"])
    known = as_survey(t, scales=dict.fromkeys(D, (1, 5)) | {"y": (0, 100)})
    row = simulate_improvement(known, **ASK | {"n_boot": 1000}, improve={"d1": 1}).tidy().iloc[0]
    share = (t["d1"] < 5).mean()
    assert row["estimate"] == pytest.approx(2 * share)
    half = 1.96 * 2 * np.sqrt(share * (1 - share) / 500)
    assert (row["conf_high"] - row["conf_low"]) / 2 == pytest.approx(half, rel=0.15)
    said = (
        "'d1' has no declared scale, so nobody knows where its answers end; declare it in study.yml, or by as_survey("
    )
    with pytest.raises(DataProblem, match=re.escape(said)):
        simulate_improvement(t, **ASK, improve={"d1": 1})


def test_a_fall_is_said_as_one():
    t = survey(800).assign(y=lambda t: np.clip(np.round(9 - 1.5 * t["d1"] + t["noise"]), 0, 10))
    found = simulate_improvement(t, **ASK, improve={"d1": 1}, scales=FIVE | {"y": (0, 10)})
    assert re.match(
        r"If d1 were rated higher as asked, the model predicts [\d.]+ \(95 % interval [\d.]+ to [\d.]+\) fewer points of y\. "
        r"That is [\d.]+ \(95 % interval [\d.]+ to [\d.]+\) NPS points less;",
        found.sentence(),
    )


def test_net_promoter_points_of_scores_and_between_them():
    np.testing.assert_allclose(promoter_points(np.array([10.0, 9, 8, 7, 6, 0])), [100, 100, 0, 0, -100, -100])
    np.testing.assert_allclose(promoter_points(np.array([8.3, 6.25])), [30, -75])


def test_simulate_improvement_refuses():
    t = survey(300).assign(y=lambda t: t["d1"] + t["noise"])
    ask = dict(**ASK, scales=FIVE | {"y": (-5, 10)})
    for improve, message in (
        ({"x": 1}, "improve= names 'x', which is not among drivers="),
        ({"d1": 0}, "improve= raises 'd1' by 0; give points above zero"),
        ({}, "improve= is empty; name a driver and its points, for example {'staff': 1}"),
    ):
        with pytest.raises(DataProblem, match="^" + re.escape(message) + "$"):
            simulate_improvement(t, improve=improve, **ask)


# --- groups ----------------------------------------------------------------------------------------------------------


def test_a_driver_that_matters_in_one_group_only_is_found():
    t = survey(2000).assign(wave=np.repeat(["2017", "2018"], 1000))
    t["y"] = t["d2"] + np.where(t["wave"] == "2018", 1.0, 0.0) * t["d1"] + t["noise"]
    found = compare_drivers(t, **ASK, by="wave")
    differences = found.tables()["differences"].set_index("term")
    assert differences.loc["d1", "told_apart"] and differences.loc["d1", "estimate"] < 0
    assert found.tidy().groupby("group")["share"].sum().to_numpy() == pytest.approx(1)
    assert re.search(r"The largest difference is d[12]: 2017 less 2018 ", found.sentence())
    found.plot()
    plt.close("all")


def test_equal_groups_are_not_established_to_differ():
    t = survey(2000).assign(wave=np.repeat(["2017", "2018"], 1000))
    found = compare_drivers(t.assign(y=t["d2"] + t["noise"]), **ASK, by="wave")
    assert found.sentence() == (
        "Not established that the drivers of y differ between 2 groups. Compared are 2017 (n = 1,000) and 2018 "
        "(n = 1,000): no share's difference excludes zero when all 5 are looked at together."
    )


def test_compare_drivers_pools_small_groups_and_leaves_out_those_with_too_few_answers():
    t = survey(900).assign(g=["a"] * 500 + ["b"] * 380 + ["c"] * 15 + ["d"] * 5, y=lambda t: t["d1"] + t["noise"])
    pooled = compare_drivers(as_survey(t, min_base=10), **ASK, by="g", min_rows=10)
    assert set(pooled.tidy()["group"]) == {"a", "b", "other (below base)"}
    left = compare_drivers(t, **ASK, by="g", min_rows=100)
    assert set(left.tidy()["group"]) == {"a", "b"}
    assert left.sentence().endswith(" Left out for want of answers: c and d.")
    check = left.checks().set_index("check").loc["groups left out for want of answers"]
    assert check["value"] == "c and d" and not check["ok"]
    new = t.assign(d5=t["d5"].where(t["g"] != "b"))  # asked of some groups only
    assert compare_drivers(new, **ASK, by="g", min_rows=10).sentence().endswith("want of answers: b and d.")


def test_without_two_groups_nothing_is_compared_and_why_is_said():
    t = survey(300).assign(g="a", y=lambda t: t["d1"] + t["noise"])
    none = compare_drivers(as_survey(t, labels={"y": "Satisfaction"}), **ASK, by=None)
    assert none.sentence() == "The drivers of Satisfaction are not compared: there is no column of groups; n = 300."
    one = compare_drivers(t, **ASK, by="g")
    assert one.sentence() == (
        "The drivers of y are not compared: of 1 group(s) of g, 1 can be analysed, and two are needed; n = 300."
    )
    assert one.tidy().empty and not one.checks()["ok"].any() and one.established is False
    plt.close("all")
    with pytest.raises(TooFewRespondents, match="^compare_drivers rests on fewer than the 500 rows"):
        compare_drivers(as_survey(t, min_base=500), **ASK, by="g")


def test_groups_whose_drivers_are_noise_are_not_told_apart():
    """With nothing there, shares swing from one driver to the other: that is no difference between groups."""
    rng = np.random.default_rng(4)
    for seed in range(30):
        t = survey(400, seed=seed).assign(y=lambda t: t["noise"], g=np.arange(400) % 2)
        found = compare_drivers(t, outcome="y", drivers=["d1", "d2"], by="g", n_boot=100, seed=1)
        chance = found.checks().set_index("check").loc["groups whose drivers are not beyond chance", "value"]
        apart = found.tables()["differences"]["told_apart"].any()
        assert not apart or chance == "none"
    t = survey(1000).assign(g=np.repeat(["a", "b"], 500))
    t["y"] = np.where(t["g"] == "a", t["d1"], 0) + rng.normal(size=1000)
    assert compare_drivers(t, **ASK, by="g").sentence() == (
        "Not established that the drivers of y differ between 2 groups. Compared are a (n = 500) and b (n = 500): in b "
        "they go with it no more than chance gives."
    )


def test_a_group_with_too_few_clusters_is_not_told_apart():
    t = survey(1200).assign(g=np.repeat(["a", "b"], 600), shop=np.r_[np.arange(600) // 10, 1000 + np.arange(600) % 6])
    t["y"] = np.where(t["g"] == "a", t["d1"], t["d2"]) * 2 + t["noise"]
    found = compare_drivers(as_survey(t, cluster="shop"), **ASK, by="g")
    assert not found.tables()["differences"]["told_apart"].any()
    assert found.sentence().endswith(": in b there are too few clusters to tell.")


def test_respondents_who_answered_in_both_groups_are_drawn_once():
    """The same people with the same answers twice: their drivers do not differ, and nothing is uncertain about that."""
    one = survey(600).assign(y=lambda t: t["d1"] + t["noise"], person=np.arange(600))
    twice = pd.concat([one.assign(wave="2023"), one.assign(wave="2024")], ignore_index=True)
    found = compare_drivers(as_survey(twice, cluster="person"), **ASK, by="wave").tables()["differences"]
    assert found["std_error"].max() < 1e-9 and not found["told_apart"].any()


def test_compare_drivers_names_the_group_that_cannot_be_asked():
    t = survey(600).assign(g=np.repeat(["a", "b"], 300), y=lambda t: np.where(t["g"] == "a", t["d1"] + t["noise"], 7))
    with pytest.raises(
        DataProblem, match="^g = 'b': all 300 answers to the outcome are 7; there is no variance to divide$"
    ):
        compare_drivers(t, **ASK, by="g")


# --- reliability -----------------------------------------------------------------------------------------------------


def test_alpha_of_holzinger_swineford_6261_8827_6885():
    matrix = pupils()
    alphas = [cronbach_alpha(matrix[k : k + 3, k : k + 3]) for k in (0, 3, 6)]
    np.testing.assert_allclose(alphas, [0.6261, 0.8827, 0.6885], atol=6e-4)


def test_omega_of_holzinger_swineford_is_of_one_factor_a_scale():
    """Three items identify one factor: its loadings are those of three correlations."""
    matrix = pupils()[3:6, 3:6]
    a, b, c = matrix[0, 1], matrix[0, 2], matrix[1, 2]
    common = sum(np.sqrt([a * b / c, a * c / b, b * c / a])) ** 2
    assert one_factor_omega(matrix) == pytest.approx(common / matrix.sum(), abs=1e-6)


def test_reliability_of_skipped_answers_is_as_wide_as_the_bootstrap():
    """60 % of each item skipped: Feldt's interval would count every row as complete, and be half as wide."""
    rng = np.random.default_rng(3)
    x = 0.6 * rng.normal(size=(800, 1)) + rng.normal(size=(800, 4))
    t = pd.DataFrame(np.where(rng.random(x.shape) < 0.6, np.nan, x), columns=list("abcd"))
    with pytest.raises(DataProblem, match="^the bootstrap is random: give a seed"):
        scale_reliability(t, scales={"s": list("abcd")})
    found = scale_reliability(t, scales={"s": list("abcd")}, seed=1)
    row, n = found.tidy().iloc[0], found.glance()["n"].item()
    feldt = feldt_interval(row["estimate"], n, 4, 0.95)
    assert row["conf_high"] - row["conf_low"] > 1.5 * (feldt[1] - feldt[0])


def test_mobile_phone_loyalty_alpha_472_and_htmt_of_quality_and_satisfaction_954_ecsi(shared):
    e = pd.read_csv(shared / "data/banks/ecsi_mobile_phone.csv")
    scales = {
        name: [c for c in e if c.startswith(key)]
        for name, key in (("quality", "PERQ"), ("satisfaction", "CUSA"), ("loyalty", "CUSL"))
    }
    found = scale_reliability(e, scales=scales, seed=1)
    assert found.tidy().set_index("term").loc["loyalty", "standardised_alpha"] == pytest.approx(0.472, abs=5e-4)
    htmt = found.tables()["htmt"].set_index(["term", "other"])["estimate"]
    assert htmt["quality", "satisfaction"] == pytest.approx(0.954, abs=5e-4)
    assert "Not established to reach 0.7: loyalty." in found.sentence()


def test_feldt_interval_covers_95_times_in_100():
    rng = np.random.default_rng(1)
    inside = 0
    truth = cronbach_alpha(0.4 * np.ones((4, 4)) + 0.6 * np.eye(4))
    for _ in range(1000):
        x = np.sqrt(0.4) * rng.normal(size=(60, 1)) + np.sqrt(0.6) * rng.normal(size=(60, 4))
        low, high = feldt_interval(cronbach_alpha(np.cov(x.T)), 60, 4, 0.95)
        inside += low <= truth <= high
    assert inside / 1000 == pytest.approx(0.95, abs=0.02)


def test_reliability_in_a_design_needs_a_seed_and_widens_with_clusters():
    rng = np.random.default_rng(2)
    x = (
        np.repeat(rng.normal(size=(100, 1)), 10, axis=0)
        + 0.5 * np.repeat(rng.normal(size=(100, 3)), 10, axis=0)
        + rng.normal(size=(1000, 3))
    )
    t = pd.DataFrame(x, columns=list("abc")).assign(unit=np.repeat(np.arange(100), 10))
    simple, clustered = (
        scale_reliability(t, scales={"s": list("abc")}).tidy(),
        scale_reliability(as_survey(t, cluster="unit"), scales={"s": list("abc")}, seed=1).tidy(),
    )
    assert (clustered["conf_high"] - clustered["conf_low"]).item() > 1.5 * (
        simple["conf_high"] - simple["conf_low"]
    ).item()
    with pytest.raises(DataProblem, match="^the bootstrap is random: give a seed"):
        scale_reliability(as_survey(t, cluster="unit"), scales={"s": list("abc")})


def test_scales_that_are_none():
    t = survey(300).assign(flat=3.0)
    for scales, message in (
        ({"a": ["d1"]}, "scale 'a' has fewer than two items; reliability is about how items agree"),
        ({"a": ["d1", "d2"], "b": ["d2", "d3"]}, "'d2' is in scales 'a' and 'b'; an item belongs to one scale"),
        ({"a": ["d1", "flat"]}, "'flat' has the one answer 3 in all rows; leave it out of its scale"),
        ({}, "scales= is empty; name a scale and its items, for example {'loyalty': ['l1', 'l2', 'l3']}"),
    ):
        with pytest.raises(DataProblem, match="^" + re.escape(message) + "$"):
            scale_reliability(t, scales=scales)


def test_airport_drivers_of_2017_and_2018_are_not_established_to_differ(shared):
    from conftest import ROOT

    from cxresearch import open_study

    study = open_study(ROOT / "tests" / "studies" / "airport.yml")
    options = {"by": "wave", "n_boot": 400, "seed": 2}
    found = compare_drivers(study.responses, outcome="overall", drivers=study.columns("driver"), **options)
    table = found.tidy()
    # never-used kept out of the ratings keeps the rows: complete cases on all 14 would leave 494 of 2017
    assert table.groupby("group")["n"].first().to_dict() == {"2017": 2688, "2018": 2625}
    assert table.groupby("group")["share"].sum().tolist() == pytest.approx([1, 1])
    assert found.sentence().startswith("Not established that the drivers of The airport as a whole differ")
