"""Did it move: panels, families, margins, mixes, leagues, charts and late answers."""

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from proofs import draws, seldom
from scipy import stats
from statsmodels.api import WLS, add_constant

from cxresearch.errors import DataProblem
from cxresearch.findings import GLOSSARY
from cxresearch.metrics import (
    compare_waves,
    control_chart,
    league_table,
    nps,
    plan_sample,
    restated_waves,
    split_change,
)
from cxresearch.metrics.estimate import adjusted_moments
from cxresearch.survey import as_survey


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def scores_of(rng, n, promoters, detractors) -> np.ndarray:
    return rng.choice([10, 3, 7], n, p=[promoters, detractors, 1 - promoters - detractors])


def codes(scores) -> np.ndarray:
    return np.where(scores >= 9, 1.0, np.where(scores <= 6, -1.0, 0.0))


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    """Two waves of 200, of whom 120 answer both and half of those keep their answer."""
    rng = np.random.default_rng(1)
    first, second = scores_of(rng, 200, 0.5, 0.2), scores_of(rng, 200, 0.45, 0.25)
    second[:60] = first[:60]
    who = [np.arange(200), np.r_[np.arange(120), np.arange(300, 380)]]
    parts = [pd.DataFrame({"wave": w, "s": s, "person": p}) for w, s, p in zip((1, 2), (first, second), who)]
    return pd.concat(parts, ignore_index=True)


# --- overlap --------------------------------------------------------------------------------------------------------


def test_partial_overlap_subtracts_twice_the_covariance_of_the_matched(panel):
    found = compare_waves(as_survey(panel, wave="wave", respondent="person"), "s").tidy().iloc[0]
    a, b = (panel[panel["wave"] == w].set_index("person")["s"] for w in (1, 2))
    both = a.index.intersection(b.index)
    residuals = codes(a[both]) - codes(a).mean(), codes(b[both]) - codes(b).mean()
    people = panel["person"].nunique()
    covariance = people / (people - 1) * (residuals[0] @ residuals[1]) / (203 * 203)
    variance = sum(adjusted_moments(codes(x).mean(), (codes(x) ** 2).mean(), 200)[1] for x in (a, b)) - 2 * covariance
    assert found["overlap"] == 120 and found["std_error"] == pytest.approx(100 * np.sqrt(variance))
    independent = compare_waves(as_survey(panel.rename(columns={"person": "x"}), wave="wave"), "s").tidy().iloc[0]
    assert found["std_error"] < independent["std_error"]


def test_a_full_panel_is_the_one_sample_t_test_of_its_differences(panel):
    both = panel.groupby("person")["wave"].transform("size") == 2
    found = compare_waves(as_survey(panel[both], wave="wave", respondent="person"), "s").tidy().iloc[0]
    wide = panel[both].pivot(index="person", columns="wave", values="s")
    difference = codes(wide[2]) - codes(wide[1])
    expected = stats.ttest_1samp(difference, 0)
    low, high = expected.confidence_interval()
    assert found["p_value"] == pytest.approx(expected.pvalue)
    assert found[["estimate", "conf_low", "conf_high"]].tolist() == pytest.approx(
        [100 * difference.mean(), 100 * low, 100 * high]
    )


def test_people_who_never_change_their_mind_leave_an_honest_interval():
    table = pd.DataFrame({"s": [10, 7, 3] * 40, "who": range(120)})
    found = (
        compare_waves(as_survey(pd.concat([table.assign(w=1), table.assign(w=2)]), wave="w", respondent="who"), "s")
        .tidy()
        .iloc[0]
    )
    assert found["estimate"] == pytest.approx(0, abs=1e-12) and 0 < found["std_error"] < 5 and found["p_value"] > 0.9


def test_clusters_that_recur_count_as_overlap(panel):
    by_cluster = compare_waves(as_survey(panel, wave="wave", cluster="person"), "s").tidy().iloc[0]
    by_person = compare_waves(as_survey(panel, wave="wave", respondent="person"), "s").tidy().iloc[0]
    assert by_cluster["overlap"] == 120 and by_cluster["std_error"] == pytest.approx(by_person["std_error"], rel=0.03)


def test_overlapping_ids_without_a_respondent_column_are_said():
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "respondent": [*range(100), *range(40, 140)],
            "wave": [1] * 100 + [2] * 100,
            "s": scores_of(rng, 200, 0.5, 0.2),
        }
    )
    words = (
        "The waves were treated as independent although 60 ids of 'respondent' overlap between waves: pass "
        "respondent='respondent' if they are the same people."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(words)}$"):
        finding = compare_waves(as_survey(table, wave="wave"), "s")
    assert finding.sentence().endswith(words)
    assert not finding.checks().set_index("check").loc["ids recurring across waves without a respondent column", "ok"]


def test_serial_numbers_taken_for_people_are_named():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"id": [*range(500)] * 2, "wave": [1] * 500 + [2] * 500, "s": scores_of(rng, 1000, 0.5, 0.2)})
    finding = compare_waves(as_survey(table, wave="wave", respondent="id"), "s")
    assert finding.sentence().endswith(
        "The ids recur, but answers of the same id are unrelated, as with serial numbers."
    )


# --- families and margins -------------------------------------------------------------------------------------------


def test_all_pairs_and_groups_are_one_family_corrected_together():
    rng = np.random.default_rng(4)
    table = pd.DataFrame(
        {"wave": rng.integers(1, 5, 2000), "g": rng.integers(0, 3, 2000), "s": scores_of(rng, 2000, 0.5, 0.2)}
    )
    finding = compare_waves(as_survey(table, wave="wave"), "s", by="g", pairs="all")
    found = finding.tidy()
    assert len(found) == 3 * 6 == finding.glance()["family"].item() and "18 comparisons, Holm" in finding.sentence()
    first = found.loc[found["p_value"].idxmin()]
    z = stats.norm.isf(first["p_value"] / 2)
    assert first["p_adjusted"] == pytest.approx(min(18 * 2 * stats.t.sf(z, first["n"] + first["n_before"] - 2), 1))
    bh = compare_waves(as_survey(table, wave="wave"), "s", by="g", pairs="all", correction="bh").tidy()
    assert (bh["p_adjusted"] <= found["p_adjusted"] + 1e-12).all()
    previous = compare_waves(as_survey(table, wave="wave"), "s", by="g", pairs="previous")
    assert len(previous.tidy()) == 9 == previous.glance()["family"].item()


def test_two_waves_jointly_are_the_pair():
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"wave": rng.integers(1, 3, 500), "s": scores_of(rng, 500, 0.5, 0.2)})
    finding = compare_waves(as_survey(table, wave="wave"), "s")
    assert finding.glance()["p_value"].item() == pytest.approx(finding.tidy()["p_value"].item())


def test_small_bases_get_no_arrow_and_leave_the_family():
    table = pd.DataFrame(
        {"s": [10] * 20 + [3] * 20 + [10] * 60 + [3] * 60, "wave": [1] * 20 + [2] * 20 + [3] * 60 + [4] * 60}
    )
    finding = compare_waves(as_survey(table, wave="wave"), "s", pairs="all")
    found = finding.tidy().set_index(["wave_before", "wave"])
    assert found.loc[(1, 2), "verdict"] == "base too small" and np.isnan(found.loc[(1, 2), "p_adjusted"])
    assert found.loc[(3, 4), "verdict"] == "down" and finding.glance()["family"].item() == 1


@pytest.mark.parametrize(
    ("now", "worth", "verdict"),
    [
        (0.50, 5, "no change that matters"),
        (0.53, 5, "no change that matters"),
        (0.53, 2, "up"),
        (0.60, 5, "up"),
        (0.505, None, "not established"),
    ],
)
def test_arrows_need_significance_and_a_change_worth_acting_on(now, worth, verdict):
    n = 20_000
    parts = [[10] * int(n * p) + [3] * int(n * 0.2) + [7] * (n - int(n * p) - int(n * 0.2)) for p in (0.5, now)]
    table = pd.DataFrame({"s": parts[0] + parts[1], "wave": [1] * n + [2] * n})
    finding = compare_waves(as_survey(table, wave="wave"), "s", worth_acting_on=worth)
    assert finding.tidy()["verdict"].item() == verdict
    said = {"up": "rose", "not established": "a change from 1 to 2 is not established"}.get(verdict, verdict)
    assert said in finding.sentence()


def test_a_change_beyond_chance_but_not_inside_nor_above_the_margin_is_too_small_to_act_on():
    n = 5000
    table = pd.DataFrame({"s": [10] * 2500 + [3] * 2500 + [10] * 2600 + [3] * 2400, "wave": [1] * n + [2] * n})
    finding = compare_waves(as_survey(table, wave="wave"), "s", worth_acting_on=6)
    assert (
        finding.tidy()["verdict"].item() == "too small to act on" and "declared worth acting on" in finding.sentence()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"correction": "tukey"}, "correction='tukey' is not one of 'holm', 'bh', 'none'"),
        ({"pairs": "last"}, "pairs='last' is not one of 'previous', 'all'"),
        ({"worth_acting_on": -3}, "worth_acting_on=-3 must be a number above zero"),
    ],
)
def test_options_that_mean_nothing_are_refused(panel, options, message):
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        compare_waves(as_survey(panel, wave="wave"), "s", **options)


def test_a_study_of_one_wave_gets_a_finding_that_says_so(panel):
    moved = compare_waves(panel.drop(columns="wave"), "s")
    assert moved.sentence() == "S: whether it moved cannot be said, the survey has one wave."
    by_two = compare_waves(panel.drop(columns="wave").assign(g=1), "s", by=["person", "g"])
    assert by_two.by == ("person", "g") and by_two.id == "compare_waves s by person, g"
    split = split_change(as_survey(panel, wave="wave"), "s", by=None)
    assert split.sentence() == "S: the change cannot be split, no column of groups is named."
    for finding in (moved, split):
        finding.plot()
        assert set(finding.tidy()) <= set(GLOSSARY) and finding.established is False


def test_the_trend_of_a_steady_rise_is_its_slope():
    rng = np.random.default_rng(6)
    parts = [pd.DataFrame({"wave": w, "s": scores_of(rng, 3000, 0.3 + 0.03 * w, 0.2)}) for w in range(8)]
    trend = compare_waves(as_survey(pd.concat(parts), wave="wave"), "s").tables()["trend"].iloc[0]
    assert trend["conf_low"] < 3 < trend["conf_high"] and trend["p_value"] < 1e-6 and trend["lack_of_fit"] > 0.01
    assert trend["term"] == "trend, points per wave"


def test_scores_on_a_line_have_its_slope_as_their_trend_and_a_fall_its_size_with_an_interval_of_sizes():
    parts = [pd.DataFrame({"wave": w, "s": [10] * n + [0] * (60 - n)}) for w, n in enumerate((45, 39, 33, 27), start=1)]
    finding = compare_waves(as_survey(pd.concat(parts), wave="wave"), "s", pairs="all")
    row, trend = finding.tidy().iloc[2], finding.tables()["trend"].iloc[0]
    assert trend["estimate"] == pytest.approx(-20) and trend["conf_low"] < -20 < trend["conf_high"]
    last = replace(finding, table=finding.table.iloc[[2]])  # the first wave and the last
    assert row["estimate"] == pytest.approx(-60) and row["conf_high"] < 0
    between = f"95 % interval {-row['conf_high']:.1f} to {-row['conf_low']:.1f},"
    assert f"fell 60.0 points from 1 to 4 ({between}" in last.sentence()


def test_a_trend_with_known_variances_is_least_squares_with_its_scale_fixed_at_one(panel):
    rng = np.random.default_rng(22)
    table = pd.concat([pd.DataFrame({"wave": w, "s": scores_of(rng, 60 * w, 0.3, 0.2)}) for w in (1, 2, 3, 5)])
    parts = [codes(part) for _, part in table.groupby("wave")["s"]]
    y, v = np.array([adjusted_moments(c.mean(), (c**2).mean(), len(c)) for c in parts]).T
    line = dict(exog=add_constant([1, 2, 3, 5]), weights=1 / v / 1e4)
    fit, plain = (WLS(100 * np.array(s), **line).fit(cov_type="fixed scale") for s in (y, [c.mean() for c in parts]))
    trend = compare_waves(as_survey(table, wave="wave"), "s").tables()["trend"].iloc[0]
    assert trend[["estimate", "std_error"]].tolist() == pytest.approx([plain.params[1], fit.bse[1]])
    assert trend[["conf_low", "conf_high"]].sum() / 2 == pytest.approx(fit.params[1])  # of the adjusted scores
    assert trend["lack_of_fit"] == pytest.approx(stats.chi2.sf(fit.ssr, 2)) and trend["term"].endswith("unit of wave")


# --- mix ------------------------------------------------------------------------------------------------------------


def test_a_change_of_mix_alone_is_not_sold_as_performance():
    blocks = {("a", 1): (150, 350), ("b", 1): (50, 450), ("a", 2): (240, 560), ("b", 2): (20, 180)}
    table = pd.concat(
        [pd.DataFrame({"s": [10] * p + [3] * d, "g": g, "wave": w}) for (g, w), (p, d) in blocks.items()],
        ignore_index=True,
    )
    finding = split_change(as_survey(table, wave="wave"), "s", by="g")
    parts = finding.tidy().set_index("term")["estimate"]
    assert (
        parts["performance"] == pytest.approx(0, abs=1e-9)
        and parts["mix"] == pytest.approx(parts["change"])
        and parts["mix"] > 5
    )
    assert (
        "A change in mix, who answered, is established" in finding.sentence()
        and "one in performance is not" in finding.sentence()
    )


def test_split_errors_agree_with_the_bootstrap():
    rng = np.random.default_rng(7)
    parts = []
    for wave, shares, promoters in ((1, [0.5, 0.5], [0.6, 0.3]), (2, [0.7, 0.3], [0.5, 0.35])):
        g = rng.choice(2, 500, p=shares)
        u = rng.random(500)
        parts.append(
            pd.DataFrame({"wave": wave, "g": g, "s": np.where(u < np.array(promoters)[g], 10, np.where(u > 0.8, 3, 7))})
        )
    table = pd.concat(parts, ignore_index=True)
    errors = split_change(as_survey(table, wave="wave"), "s", by="g").tidy()["std_error"].to_numpy()
    v, g, w = codes(table["s"]), table["g"].to_numpy(), table["wave"].to_numpy() - 1
    draws = []
    for _ in range(600):
        rows = np.r_[rng.integers(0, 500, 500), 500 + rng.integers(0, 500, 500)]
        n = np.bincount(2 * w[rows] + g[rows], minlength=4).reshape(2, 2)
        m = np.bincount(2 * w[rows] + g[rows], v[rows], minlength=4).reshape(2, 2) / n
        s = n / 500
        draws.append([100 * (s.mean(0) @ (m[1] - m[0])), 100 * (m.mean(0) @ (s[1] - s[0]))])
    assert errors[1:] == pytest.approx(np.std(draws, axis=0), rel=0.1)


def test_a_group_seen_in_one_wave_only_is_mix():
    table = pd.DataFrame(
        {"s": [10] * 100 + [10] * 50 + [3] * 50, "g": ["a"] * 150 + ["b"] * 50, "wave": [1] * 100 + [2] * 100}
    )
    finding = split_change(as_survey(table, wave="wave"), "s", by="g")
    parts = finding.tidy().set_index("term")["estimate"]
    assert parts["performance"] == pytest.approx(0) and parts["mix"] == pytest.approx(-100)
    assert not finding.checks().set_index("check").loc["groups without answers in some wave (all of them mix)", "ok"]


def test_too_many_groups_to_split_by_are_refused():
    rng = np.random.default_rng(8)
    table = pd.DataFrame(
        {"s": scores_of(rng, 400, 0.5, 0.2), "g": np.arange(400) % 80, "wave": rng.integers(1, 3, 400)}
    )
    message = "g has 80 groups; a split by more than 60 rests on too few answers a group, so merge groups"
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        split_change(as_survey(table, wave="wave"), "s", by="g")


# --- leagues, charts, late ---------------------------------------------------------------------------------


def test_groups_without_variance_between_them_keep_intervals_that_allow_for_some():
    table = pd.DataFrame({"s": [10, 7, 3] * 200, "g": np.repeat(np.arange(6), 100)})
    finding = league_table(table, "s", by="g")
    found = finding.tidy()
    assert finding.glance()["between"].item() == 0 and "cannot be said" in finding.sentence()
    pooled = nps(table, "s").tidy()
    assert (
        found["shrunken_high"] - found["shrunken_low"] > 1.3 * (pooled["conf_high"] - pooled["conf_low"]).item()
    ).all()


def test_three_groups_are_too_few_to_shrink():
    finding = league_table(pd.DataFrame({"s": [10, 7, 3, 9] * 90, "g": np.repeat(np.arange(3), 120)}), "s", by="g")
    assert finding.tidy()["shrunken"].isna().all() and "cannot be estimated from 3 groups" in finding.sentence()
    finding.plot()


def test_simultaneous_intervals_of_a_league_are_wider_and_equal_groups_get_no_mark():
    rng = np.random.default_rng(9)
    table = pd.DataFrame({"g": rng.integers(0, 20, 6000), "s": scores_of(rng, 6000, 0.5, 0.2)})
    finding, plain = league_table(table, "s", by="g"), nps(table, "s", by="g").tidy()
    found = finding.tidy()
    assert ((found["conf_high"] - found["conf_low"]) > 1.4 * (plain["conf_high"] - plain["conf_low"])).all()
    assert not found["verdict"].isin(["above", "below"]).any() and "no group is established" in finding.sentence()
    assert found["shrunken"].std() < 0.6 * found["estimate"].std()


def test_a_group_apart_is_marked_against_the_rest():
    rng = np.random.default_rng(10)
    group = rng.integers(0, 6, 3000)
    table = pd.DataFrame({"g": group, "s": np.where(rng.random(3000) < np.where(group == 2, 0.8, 0.4), 10, 4)})
    found = (
        league_table(table, "s", by="g", worth_acting_on=5)
        .tidy()
        .set_index("g" if "g" in table.index.names else "group")
    )
    assert found.loc[2, "verdict"] == "above"
    rest = nps(table[table["g"] != 2], "s").tidy()["estimate"].item()
    assert found.loc[2, "against_rest"] == pytest.approx(found.loc[2, "estimate"] - rest, abs=1)


def league_false_marks(replicates: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    tables = (
        pd.DataFrame({"g": rng.integers(0, 12, 1200), "s": scores_of(rng, 1200, 0.5, 0.2)}) for _ in range(replicates)
    )
    return float(
        np.mean([league_table(t, "s", by="g").tidy()["verdict"].isin(["above", "below"]).any() for t in tables])
    )


@draws(60, 3000)
def test_equal_groups_are_marked_in_at_most_5_in_100_leagues(draws):
    assert seldom(league_false_marks(draws, 1), draws)


def test_a_control_chart_signals_the_shifted_wave_only():
    rng = np.random.default_rng(11)
    parts = [
        pd.DataFrame({"wave": f"M{w}", "s": scores_of(rng, 400, 0.5 if w != 9 else 0.3, 0.2)}) for w in range(1, 13)
    ]
    finding = control_chart(as_survey(pd.concat(parts), wave="wave"), "s", baseline=6)
    assert finding.tidy().set_index("wave")["signal"].to_dict() == {
        **{f"M{w}": "none" for w in range(1, 13)},
        "M9": "beyond limits",
    }
    assert "M9 (" in finding.sentence() and "stands out from noise" in finding.sentence()
    with pytest.raises(DataProblem, match="^baseline=1 must be 2 to 12 waves$"):
        control_chart(as_survey(pd.concat(parts), wave="wave"), "s", baseline=1)


def test_control_limits_at_three_errors_signal_1_wave_in_370():
    rng = np.random.default_rng(12)
    parts = [pd.DataFrame({"wave": w, "s": scores_of(rng, 300, 0.4, 0.3)}) for w in range(1500)]
    found = control_chart(as_survey(pd.concat(parts), wave="wave"), "s").tidy()
    assert (found["signal"] == "beyond limits").mean() == pytest.approx(1 / 370, abs=2.5 * np.sqrt(1 / 370 / 1500))


def test_late_answers_are_counted_and_the_wave_they_restate_is_named():
    rng = np.random.default_rng(14)
    later = pd.DataFrame({"id": range(300), "wave": ["M1"] * 150 + ["M2"] * 150, "s": scores_of(rng, 300, 0.5, 0.2)})
    earlier = later.drop(index=range(20)).copy()
    earlier.loc[200, "s"] = 0 if earlier.loc[200, "s"] == 10 else 10
    finding = restated_waves(as_survey(earlier, wave="wave", respondent="id"), later, "s")
    found = finding.tidy().set_index("wave")
    assert found["late"].to_dict() == {"M1": 20, "M2": 0} and found.loc["M2", "revised"] == 1
    assert found.loc["M1", "restated"] == pytest.approx(nps(later[:150], "s").tidy()["estimate"].item())
    assert finding.sentence().startswith("s: 20 late, 0 withdrawn and 1 revised answers restate M1 from ")
    same = restated_waves(as_survey(later, wave="wave", respondent="id"), later, "s")
    assert "no reported wave is restated" in same.sentence() and same.checks()["ok"].all()


# --- plans and the contract -----------------------------------------------------------------------------------------


def test_a_plan_reaches_its_power():
    rng = np.random.default_rng(15)
    n = int(plan_sample(promoters=0.5, detractors=0.2, difference=10).glance()["n"].item())
    first, second = (rng.multinomial(n, [p, 0.2, 0.8 - p], size=20_000) / n for p in (0.45, 0.55))
    (a, va), (b, vb) = (adjusted_moments(x[:, 0] - x[:, 1], x[:, 0] + x[:, 1], n) for x in (first, second))
    assert np.mean(np.abs(b - a) > 1.96 * np.sqrt(va + vb)) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"promoters": 0.5, "detractors": 0.2}, "give either margin or difference, in points"),
        (
            {"promoters": 0.9, "detractors": 0.2, "margin": 5},
            "promoters=0.9 and detractors=0.2 must be shares (0-1) that add up to more than 0 and at most 1",
        ),
        (
            {"promoters": 0.5, "detractors": 0.2, "margin": 0},
            "margin=0 must be a number of points above 0 and at most 200",
        ),
        (
            {"promoters": 1.0, "detractors": 0.0, "margin": 5},
            "everybody answers alike at these shares; there is no sampling error to plan for",
        ),
    ],
)
def test_plans_that_cannot_be_made_are_refused(options, message):
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        plan_sample(**options)


# --- faults ---------------------------------------------------------------------------------------------------------


def test_a_group_hidden_in_one_pair_of_waves_is_hidden_in_all_and_never_alone():
    rng = np.random.default_rng(17)
    n = 2000
    table = pd.DataFrame(
        {"s": scores_of(rng, n, 0.5, 0.2), "g": rng.choice(list("abc"), n), "wave": rng.integers(1, 5, n)}
    )
    small = pd.DataFrame({"s": 9, "g": "small", "wave": [1] * 12 + [2] * 12 + [3] * 4 + [4] * 12})
    finding = split_change(as_survey(pd.concat([table, small]), wave="wave", min_base=10), "s", by="g")
    groups = finding.tables()["groups"]
    gone = groups[groups["performance"].isna()].groupby("wave")["group"].agg(frozenset)
    assert gone.nunique() == 1 and len(gone) == 3 and len(gone.iloc[0]) == 2 and "small" in gone.iloc[0]
    assert finding.tidy()["estimate"].notna().all() and finding.suppressed == 6


def test_the_family_of_a_split_counts_the_pairs_that_are_shown():
    rng = np.random.default_rng(18)
    table = pd.DataFrame(
        {"s": scores_of(rng, 900, 0.5, 0.2), "g": rng.choice(list("ab"), 900), "wave": np.arange(900) % 3 + 1}
    )
    few = table[(table["wave"] < 3) | (np.arange(900) > 880)]
    finding = split_change(as_survey(few, wave="wave", min_base=15), "s", by="g")
    assert finding.glance()["family"].item() == 2 and finding.tidy()["estimate"].isna().sum() == 3
    assert finding.sentence() == "s: the split by g from 2 to 3 is not shown, its base is too small."


@pytest.mark.parametrize("correction", ["holm", "bh", "none"])
@pytest.mark.parametrize("measure", ["nps", "mean"])
def test_the_interval_leaves_out_no_change_exactly_where_the_corrected_p_is_small(correction, measure):
    rng = np.random.default_rng(19)
    waves = [pd.DataFrame({"wave": w, "s": scores_of(rng, 150, 0.35 + 0.08 * w, 0.2)}) for w in range(5)]
    survey = as_survey(pd.concat(waves, ignore_index=True), wave="wave")
    found = compare_waves(survey, "s", pairs="all", measure=measure, correction=correction).tidy()
    clear = found["p_adjusted"] < 0.05
    assert (clear == ((found["conf_low"] > 0) | (found["conf_high"] < 0))).all() and clear.any() and not clear.all()
    assert (found["detectable"] > (found["conf_high"] - found["conf_low"]) / 2).all()


def test_the_detectable_change_is_found_in_4_of_5_surveys():
    answered = pd.DataFrame({"s": [10] * 200 + [3] * 80 + [7] * 120})
    survey = as_survey(pd.concat([answered.assign(wave=1), answered.assign(wave=2)]), wave="wave")
    step = compare_waves(survey, "s").tidy()["detectable"].item() / 400
    rng = np.random.default_rng(20)
    first, second = (rng.multinomial(400, [0.5 + d, 0.2 - d, 0.3], size=20_000) / 400 for d in (-step, step))
    (a, va), (b, vb) = (adjusted_moments(x[:, 0] - x[:, 1], x[:, 0] + x[:, 1], 400) for x in (first, second))
    assert np.mean(np.abs(b - a) > 1.96 * np.sqrt(va + vb)) == pytest.approx(0.8, abs=0.02)


def test_a_plan_counts_the_design_effect():
    plain, design = (plan_sample(promoters=0.5, detractors=0.2, margin=5, deff=deff) for deff in (1, 1.6))
    assert design.glance()["n"].item() == pytest.approx(1.6 * plain.glance()["n"].item(), abs=2)
    assert "A design effect of 1.60 is counted in." in design.sentence() and "deff=1" in plain.sentence()
    with pytest.raises(
        DataProblem, match=r"^deff=0 must be a design effect above 0, such as n / effective n of an earlier wave$"
    ):
        plan_sample(promoters=0.5, detractors=0.2, margin=5, deff=0)


@pytest.mark.parametrize("quarters", [["Q3 2024", "Q4 2024", "Q1 2025", "Q2 2025"]])
def test_waves_in_the_order_of_time_not_of_the_alphabet(quarters):
    promoters = dict(zip(quarters, (0.6, 0.5, 0.4, 0.3)))
    parts = [
        pd.DataFrame({"wave": w, "s": [10] * int(100 * p) + [3] * 10 + [7] * (90 - int(100 * p))})
        for w, p in promoters.items()
    ]
    survey = as_survey(pd.concat(parts[::-1], ignore_index=True), wave="wave")
    assert nps(survey, "s", wave=True).tidy()["estimate"].round().tolist() == [50, 40, 30, 20]
    moved = compare_waves(survey, "s")
    assert moved.tidy()["estimate"].round().tolist() == [-10, -10, -10]
    assert moved.tables()["trend"]["estimate"].item() == pytest.approx(-10, abs=0.5)
    assert control_chart(survey, "s").tidy()["wave"].tolist() == quarters


def test_waves_whose_order_nothing_tells_are_refused_by_what_speaks_of_time():
    table = pd.DataFrame({"wave": ["B", "A"] * 30, "s": [10, 3] * 30, "g": "x"})
    survey = as_survey(table, wave="wave")
    for ask in (nps, compare_waves, control_chart):
        with pytest.raises(DataProblem, match="^wave: nothing says in which order A, B came; declare waves"):
            ask(survey, "s", **({"wave": True} if ask is nps else {}))
    assert nps(survey, "s").glance()["n"].item() == 60


@pytest.mark.parametrize("min_base", [1, 6])
def test_a_latest_wave_that_is_not_shown_is_said(min_base):
    table = pd.DataFrame({"s": [10, 9, 3] * 42, "wave": np.repeat([1, 2, 3], [60, 61, 5])})
    sentence = nps(as_survey(table, wave="wave", min_base=min_base), "s", wave=True).sentence()
    assert sentence.startswith(
        "s: net promoter score of the latest wave, 3, is not shown for its base; all waves together 33.3"
    )


def test_groups_by_several_columns_and_small_ones_are_said():
    rng = np.random.default_rng(21)
    table = pd.DataFrame(
        {"s": scores_of(rng, 600, 0.5, 0.2), "g": rng.choice(list("ab"), 600), "h": rng.choice(["x", "y"], 600)}
    )
    table = pd.concat([table, pd.DataFrame({"s": [10] * 12, "g": "c", "h": "x"})], ignore_index=True)
    finding = nps(table, "s", by=["g", "h"])
    assert finding.tidy()["group"].tolist() == ["a, x", "a, y", "b, x", "b, y", "c, x"] and finding.by == ("g", "h")
    assert "1 under 30 answers and 0 not shown for their base are left out" in finding.sentence()
    assert "c, x" not in finding.sentence() and finding.id == "nps s by g, h"
