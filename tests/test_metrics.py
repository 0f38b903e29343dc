"""The scorecard against published numbers, on the airport survey, on bad input and at its edges."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.findings import described, save
from cxresearch.inference import goodman_intervals
from cxresearch.metrics import (
    answer_spikes,
    compare_waves,
    control_chart,
    crosstab,
    effort,
    league_table,
    nps,
    plan_sample,
    promoter_value,
    restated_waves,
    split_change,
    top_box,
    touchpoint_trend,
)
from cxresearch.metrics.estimate import base_words
from cxresearch.metrics.mix import kitagawa
from cxresearch.privacy import hidden_cells
from cxresearch.runs.deck import chart_of
from cxresearch.runs.screen import SavedFinding
from cxresearch.survey import as_survey

TOY = pd.DataFrame(
    {"s": [10, 9, 8, 7, 6, 3, 10, 9, 9, 5, 8, 10], "w": [1, 2, 1, 1, 3, 1, 0.5, 1, 1.5, 2, 1, 1], "g": list("AB") * 6}
)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def answers(detractors: int, passives: int, promoters: int) -> pd.DataFrame:
    return pd.DataFrame({"s": [3] * detractors + [7] * passives + [10] * promoters})


def row(finding) -> pd.Series:
    return finding.tidy().iloc[0]


# --- published numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "score", "error"),
    [
        ((1, 2, 3), 100 / 3, 100 * np.sqrt(5 / 9 / 6)),
        ((1, 1, 1), 0, 47.14),
        ((0, 1, 1), 50, 100 * np.sqrt(0.25 / 2)),
        ((20, 30, 50), 30, 7.81025),
    ],
)
def test_score_and_error_of_the_small_counts_of_r_package_nps(counts, score, error):
    found = row(nps(answers(*counts), "s"))
    assert found["estimate"] == pytest.approx(score) and found["std_error"] == pytest.approx(error, abs=5e-4)


def test_four_in_ten_promoters_three_detractors_of_500_have_error_3_7148_displayr():
    assert row(nps(answers(150, 150, 200), "s"))["std_error"] == pytest.approx(3.7148, abs=5e-5)


def test_nps_interval_of_20_30_50_rocks_2016():
    found = row(nps(answers(20, 30, 50), "s"))
    assert found[["conf_low", "conf_high"]].tolist() == pytest.approx([14.051, 44.201], abs=5e-4)
    assert found["estimate"] == pytest.approx(30), "the point is the plain score"


def test_difference_of_20_30_50_and_30_35_35_is_24_2718_error_11_0278_p_02774_rocks_2016():
    table = pd.concat([answers(30, 35, 35).assign(w=1), answers(20, 30, 50).assign(w=2)])
    found = row(compare_waves(as_survey(table, wave="w"), "s"))
    assert found["estimate"] == pytest.approx(25)
    assert (found["conf_low"] + found["conf_high"]) / 2 == pytest.approx(24.2718, abs=5e-5)
    assert found["std_error"] == pytest.approx(11.0278, abs=5e-5) and found["p_value"] == pytest.approx(
        0.02774, abs=5e-6
    )
    assert found[["conf_low", "conf_high"]].tolist() == pytest.approx([2.658, 45.886], abs=5e-4)


def test_weighted_score_of_the_toy_is_6_25_error_32_0905_kish_1_2421875_r_svymean():
    finding = nps(as_survey(TOY, weight="w"), "s")
    assert row(finding)["estimate"] == pytest.approx(6.25) and row(finding)["std_error"] == pytest.approx(
        32.0905, abs=5e-5
    )
    assert finding.glance()["kish_deff"].item() == pytest.approx(1.2421875)
    assert row(finding)["n_effective"] == pytest.approx(10**4 * (0.4375 + 0.375 - 0.0625**2) / 32.0905**2, rel=1e-4)


def test_weighted_groups_of_the_toy_are_0_46_159_and_12_5_43_178_r_svyby():
    table = nps(as_survey(TOY, weight="w"), "s", by="g").tidy()
    assert table["estimate"].tolist() == pytest.approx([0, 12.5])
    assert table["std_error"].tolist() == pytest.approx([46.159, 43.178], abs=5e-4)
    assert np.hypot(*table["std_error"]) == pytest.approx(63.2062, abs=5e-5)


def test_kitagawa_of_shares_5_5_to_7_3_and_scores_40_10_to_38_12_is_performance_minus_0_4_mix_5_6():
    performance, mix = kitagawa([0.7, 0.3], [0.5, 0.5], [38, 12], [40, 10])
    assert performance.sum() == pytest.approx(-0.4) and mix.sum() == pytest.approx(5.6)


def test_goodman_intervals_of_seven_counts_begin_0852_1663_end_0888_1711_goodman_1965():
    counts = np.array([56, 72, 73, 59, 62, 87, 58])
    low, high = goodman_intervals(counts / counts.sum(), counts.sum(), 0.95)
    assert np.round([low[0], high[0], low[-1], high[-1]], 4).tolist() == [0.0852, 0.1663, 0.0888, 0.1711]


def test_top_box_of_81_in_263_is_2553_to_3662_newcombe_1998():
    found = row(top_box(pd.DataFrame({"q": [5] * 81 + [2] * 182}), "q", threshold=4))
    assert found[["conf_low", "conf_high"]].round(4).tolist() == [0.2553, 0.3662]


@pytest.mark.parametrize(("asked", "needed"), [({"margin": 5}, 938), ({"margin": 10}, 235), ({"difference": 10}, 958)])
def test_sample_for_half_promoters_a_fifth_detractors_is_938_235_958(asked, needed):
    assert plan_sample(promoters=0.5, detractors=0.2, **asked).glance()["n"].item() == needed


def test_worst_case_sample_for_5_points_is_1537():
    assert plan_sample(promoters=0.5, detractors=0.5, margin=5).glance()["n"].item() == 1537


# --- the airport ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def airport(shared) -> pd.DataFrame:
    parts = []
    for year in ("2017", "2018"):
        part = pd.read_csv(shared / "data" / "airport" / f"survey_{year}.csv", low_memory=False)
        part.columns = part.columns.str.strip()
        keep = part[["NETPRO", "WEIGHT", "STRATA", "DESTGEO"]].apply(pd.to_numeric, errors="coerce")
        parts.append(keep.assign(year=year))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(recommend=table["NETPRO"].where(table["NETPRO"] != 11))


def test_airport_2017_is_39_8_and_40_4_weighted_2018_is_31_0_and_35_1(airport):
    plain, weighted = (
        nps(as_survey(airport, wave="year"), "recommend", wave=True).tidy(),
        nps(as_survey(airport, wave="year", weight="WEIGHT"), "recommend", wave=True).tidy(),
    )
    assert plain["n"].tolist() == [2746, 2650]
    assert plain["estimate"].round(1).tolist() == [39.8, 31.0] and weighted["estimate"].round(1).tolist() == [
        40.4,
        35.1,
    ]


def test_airport_fell_5_3_weighted_points_mostly_within_destinations(airport):
    moved = row(compare_waves(as_survey(airport, wave="year", weight="WEIGHT"), "recommend"))
    assert moved["verdict"] == "down"
    assert moved[["estimate", "conf_low", "conf_high"]].astype(float).round(1).tolist() == [-5.3, -9.5, -1.1]
    split = split_change(as_survey(airport, wave="year", weight="WEIGHT"), "recommend", by="DESTGEO")
    parts = split.tidy().set_index("term")["estimate"]
    assert parts["change"] == pytest.approx(moved["estimate"]) == pytest.approx(parts["performance"] + parts["mix"])
    assert split.tables()["groups"]["n"].sum() == 2650


# --- bad input ------------------------------------------------------------------------------------------------------

BAD_SCORES = [
    (
        [0, 10, 7.5],
        "s holds 1 fractional values (7.5: 1); a net promoter score is defined for whole answers on 0-10",
    ),
    (
        [0, 10, 11, 11, -1],
        "s holds 3 values outside 0-10 (11: 2, -1: 1); declare them as missing codes of item s in study.yml",
    ),
    (
        ["9", "ten"],
        "s holds 1 values that are not numbers ('ten': 1); declare them as missing codes of item s in study.yml",
    ),
    ([True, False], "s holds yes/no values; an answer on a rating scale is needed"),
    (
        [1] * 12 + [10] * 50,
        "s holds 12 answers of 1 and none of 0, as a 1-10 scale does; a net promoter score is defined on 0-10 only, "
        "use top_box(item='s', threshold=9), or declare the scale [0, 10] of item s in study.yml",
    ),
]


@pytest.mark.parametrize(("scores", "message"), BAD_SCORES)
def test_answers_off_the_recommend_scale_are_refused(scores, message):
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        nps(pd.DataFrame({"s": scores}), "s")


def test_a_declared_scale_decides():
    table = pd.DataFrame({"s": [1] * 12 + [10] * 50})
    table.attrs["scales"] = {"s": [0, 10]}
    assert row(nps(table, "s"))["n"] == 62
    table.attrs["scales"] = {"s": [1, 10]}
    message = (
        "s is declared on a scale of 1-10; a net promoter score is defined on 0-10 only, use top_box(item='s', "
        "threshold=...)"
    )
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        nps(table, "s")


def test_a_few_ones_and_no_zero_are_named_not_refused():
    checks = nps(pd.DataFrame({"s": [1, 1, 9, 10, 7] * 4}), "s").checks().set_index("check")
    assert not checks.loc["scale is 0–10, not 1–10: answers of 0", "ok"]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"confidence": 95}, "confidence=95 must lie between 0 and 1, for example 0.95"),
        ({}, {"by": "G"}, "responses has no column 'G'; did you mean 'g'?"),
        ({"w": 0}, {"weight": "w"}, "responses: none of 12 rows holds an answer and a weight"),
        (
            {"w": [np.nan, -1, *[1] * 10]},
            {"weight": "w"},
            "w is missing, negative or not a number in 2 of 12 answered rows (first: row 0); give every row "
            "a weight of zero or more, or drop the row",
        ),
        (
            {"c": [None, *"abcdefghijk"]},
            {"cluster": "c"},
            "c is missing in 1 of 12 answered rows; the design must be known for every row",
        ),
    ],
)
def test_designs_that_cannot_be_used_are_refused(changes, options, message):
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        asked = {name: options.pop(name) for name in ("confidence", "by") if name in options}
        nps(as_survey(TOY.assign(**changes), **options), "s", **asked)


def test_rows_without_weight_are_left_out_and_counted():
    survey = as_survey(TOY.assign(w=[0, 1] * 6), weight="w")
    found = nps(survey, "s", by="g")
    assert found.tidy()["n"].tolist() == [0, 6] and found.glance()["n"].item() == 6
    assert found.checks().set_index("check").loc["rows left out, w being 0", "value"] == 6


def test_nobody_answered_is_refused():
    with pytest.raises(TooFewRespondents, match="^responses: none of 2 rows holds an answer$"):
        nps(pd.DataFrame({"s": [np.nan, np.nan]}), "s")
    with pytest.raises(TooFewRespondents, match="^responses: none of 2 rows holds an answer to s$"):
        top_box(pd.DataFrame({"s": [np.nan, np.nan]}), "s", threshold=None)
    with pytest.raises(DataProblem, match="^responses has no rows$"):
        nps(pd.DataFrame({"s": []}), "s")


@pytest.mark.parametrize("wave", [None, "w"])
def test_one_wave_cannot_be_compared_and_says_so(wave):
    finding = compare_waves(as_survey(answers(3, 4, 5).assign(w="2024"), wave=wave), "s")
    assert finding.sentence() == "S: whether it moved cannot be said, the survey has one wave."
    assert finding.established is False and finding.glance()["n"].item() == 12


def test_an_empty_group_keeps_its_row_without_a_number():
    table = pd.DataFrame({"s": [10.0] * 40 + [np.nan] * 3, "g": ["a"] * 40 + ["b"] * 3})
    finding = nps(table, "s", by="g")
    empty = finding.tidy().set_index("group").loc["b"]
    assert empty["n"] == 0 and np.isnan(empty["estimate"]) and empty["base"] == "suppressed"
    assert not finding.checks().set_index("check").loc["empty cells", "ok"]
    assert finding.sentence().startswith(
        "s, net promoter score by g: fewer than two groups have a base that may be shown."
    )
    finding.plot()


def test_one_respondent_has_a_number_and_no_headline():
    for weight in (None, "w"):
        finding = nps(as_survey(pd.DataFrame({"s": [10], "w": [2.0]}), weight=weight), "s")
        assert (
            row(finding)["estimate"] == pytest.approx(100)
            and -100 <= row(finding)["conf_low"] < 100
            and row(finding)["conf_high"] <= 100
        )
        assert finding.sentence() == "s: net promoter score is not shown, its base is under 10 (n = 1)."


@pytest.mark.parametrize("weight", [None, "w"])
def test_all_promoters_never_pass_100(weight):
    table = pd.DataFrame({"s": [10] * 12, "w": np.linspace(1, 2, 12)})
    found = row(nps(as_survey(table, weight=weight), "s"))
    assert [found["estimate"], found["conf_high"]] == pytest.approx([100, 100]) and found["conf_low"] <= 100 + 1e-9
    assert found["n_effective"] == pytest.approx(12 if weight is None else 18**2 / np.sum(table["w"] ** 2)), (
        "Kish where 0/0"
    )


def test_answers_without_a_group_are_a_group_and_counted():
    table = TOY.assign(g=[None, "B"] * 6)
    finding = nps(table, "s", by="g")
    assert finding.tidy()["group"].tolist() == ["B", "not stated"] and finding.tidy()["n"].sum() == 12
    assert finding.checks().set_index("check").loc["answers without a group", "value"] == 6


# --- weights and designs --------------------------------------------------------------------------------------------


def test_equal_weights_change_nothing():
    pd.testing.assert_frame_equal(
        nps(as_survey(TOY.assign(w=3.0), weight="w"), "s", by="g").tidy(), nps(TOY, "s", by="g").tidy()
    )


def test_clusters_and_strata_widen_and_narrow_as_they_should():
    rng = np.random.default_rng(0)
    level = rng.normal(0, 2, 40)
    table = pd.DataFrame({"c": np.repeat(np.arange(40), 15)})
    table["s"] = np.clip(np.round(7 + level[table["c"]] + rng.normal(size=600)), 0, 10)
    table["h"] = np.repeat(np.argsort(np.argsort(level)) // 10, 15)
    plain, clustered, stratified = (
        row(nps(as_survey(table, **d), "s"))["std_error"]
        for d in ({}, {"cluster": "c"}, {"cluster": "c", "strata": "h"})
    )
    assert clustered > 2 * plain and stratified < 0.6 * clustered


def test_a_million_weighted_responses_in_200_groups_keep_their_counts():
    rng = np.random.default_rng(1)
    n = 1_000_000
    table = pd.DataFrame({"s": rng.integers(0, 11, n), "w": rng.uniform(0.5, 2, n), "g": rng.integers(0, 200, n)})
    found = nps(as_survey(table, weight="w"), "s", by="g").tidy()
    assert len(found) == 200 and found["n"].sum() == n and found["estimate"].between(-60, -25).all()


# --- small bases and disclosure -------------------------------------------------------------------------------------


def test_base_words_follow_the_smaller_of_n_and_effective_n():
    assert base_words([9, 10, 30, 100, 500], [9, 10, 30, 100, 29]).tolist() == [
        "suppressed",
        "very small",
        "indicative",
        "enough",
        "very small",
    ]


def test_groups_under_the_minimum_base_are_pooled_and_cells_hidden_with_their_n():
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "s": rng.integers(0, 11, 200),
            "g": ["a"] * 100 + ["b"] * 60 + ["c"] * 36 + ["d"] * 4,
            "w": [1, 2] * 98 + [1, 2, 2, 2],
        }
    )
    found = nps(as_survey(table, min_base=10), "s", by="g").tidy()
    assert set(found["group"]) == {"a", "b", "other (below base)"} and found["n"].min() >= 10
    by_wave = nps(as_survey(table, wave="w", min_base=21), "s", by="g", wave=True)
    hidden = by_wave.tidy()[by_wave.tidy()["n"].isna()]
    assert len(hidden) >= 2 and hidden.drop(columns=["group", "wave"]).isna().all(axis=None)
    assert by_wave.tables()["distribution"]["share"].isna().sum() == len(hidden) * table["s"].nunique()


def test_a_lone_hidden_cell_takes_the_next_smallest_with_it():
    table = pd.DataFrame({"group": list("aabbcc"), "wave": [1, 2] * 3, "n": [5, 40, 30, 40, 50, 60]})
    assert hidden_cells(table, min_base=10).tolist() == [True, True, True, True, False, False]
    assert not hidden_cells(table, min_base=1).any()


# --- top boxes and effort -------------------------------------------------------------------------------------------


def test_a_top_box_names_its_threshold_and_refuses_one_off_the_scale():
    table = pd.DataFrame({"q": [1, 2, 3, 4, 5] * 20})
    finding = top_box(as_survey(table, labels={"q": "Satisfaction"}), "q", threshold=4)
    assert (
        finding.sentence()
        == "Satisfaction: share answering 4 or above on 1–5 40.0 % (95 % interval 30.9 to 49.8 %; n = 100)."
    )
    assert finding.id == "top_box q >= 4"
    with pytest.raises(
        DataProblem,
        match="^threshold=6 must lie above 1 and at most at 5, the ends of q; answers at or above it count$",
    ):
        top_box(table, "q", threshold=6)


@pytest.mark.parametrize(
    ("version", "scoring", "expected", "words"),
    [
        (2, "mean", 4.0, "customer effort score 2.0, mean (1–7, high is good)"),
        (2, "agree", 3 / 7, "customer effort score 2.0, share agreeing (5–7 on 1–7)"),
        (2, "net", -100 / 7, "customer effort score 2.0, net (6–7 minus 1–3 on 1–7)"),
        (1, "mean", 3.0, "customer effort score 1.0, mean (1–5, low is good)"),
        (1, "agree", 0.4, "customer effort score 1.0, share of low effort (1–2 on 1–5)"),
        (1, "net", 0.0, "customer effort score 1.0, net (1–2 minus 4–5 on 1–5)"),
    ],
)
def test_effort_names_version_and_scoring(version, scoring, expected, words):
    top = 5 if version == 1 else 7
    finding = effort(pd.DataFrame({"q": list(range(1, top + 1)) * 20}), "q", version=version, scoring=scoring)
    assert row(finding)["estimate"] == pytest.approx(expected) and words in finding.sentence()
    assert finding.id == f"effort q version {version} {scoring}"


def test_mean_effort_has_the_t_interval_of_its_base():
    from scipy import stats

    values = np.array([1, 4, 5, 7, 7, 6, 2, 5, 5, 6, 7])
    found = row(effort(pd.DataFrame({"q": values}), "q", version=2))
    low, high = stats.t.interval(0.95, 10, values.mean(), stats.sem(values))
    assert found[["conf_low", "conf_high"]].tolist() == pytest.approx([low, high])


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (
            [1, 6, 7],
            {"version": 1},
            "q holds 2 values outside 1-5 (6: 1, 7: 1); declare them as missing codes of item q in study.yml",
        ),
        (
            [1.5],
            {"version": 2},
            "q holds 1 fractional values (1.5: 1); customer effort 2.0 is asked for whole answers on 1-7",
        ),
        ([1], {"version": 3}, "version=3 is not one of 1, 2"),
        ([1], {"version": 2, "scoring": "top"}, "scoring='top' is not one of 'mean', 'agree', 'net'"),
    ],
)
def test_effort_off_its_scale_is_refused(values, options, message):
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        effort(pd.DataFrame({"q": values}), "q", **options)


# --- what every finding of the scorecard keeps ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def survey() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 900
    return pd.DataFrame(
        {
            "s": np.clip(np.round(rng.normal(7.5, 2, n)), 0, 10),
            "q": rng.integers(1, 8, n),
            "g": rng.choice(list("abc"), n),
            "wave": rng.choice(["Wave 1", "Wave 2", "Wave 10"], n),
            "w": rng.uniform(0.5, 2, n),
            "c": rng.integers(0, 30, n),
            "r": rng.integers(1, 8, n),
            "id": range(n),
            "revenue": rng.gamma(2, 30, n),
        }
    )


DESIGN = {
    "wave": "wave",
    "weight": "w",
    "cluster": "c",
    "min_base": 10,
    "labels": {"s": "Would recommend", "g": "Region"},
}
MAKERS = {
    "nps": lambda s: nps(s, "s"),
    "nps by": lambda s: nps(s, "s", by="g"),
    "nps wave": lambda s: nps(s, "s", wave=True),
    "nps by wave": lambda s: nps(s, "s", by="g", wave=True),
    "top_box": lambda s: top_box(s, "q", threshold=6, by="g", wave=True),
    "effort": lambda s: effort(s, "q", version=2, scoring="net", by="g"),
    "compare_waves": lambda s: compare_waves(s, "s", worth_acting_on=5),
    "compare_waves by": lambda s: compare_waves(s, "s", by="g", correction="bh", pairs="previous"),
    "split_change": lambda s: split_change(s, "s", by="g"),
    "plan_sample": lambda s: plan_sample(promoters=0.5, detractors=0.2, difference=5),
    "league_table": lambda s: league_table(s, "s", by="g"),
    "control_chart": lambda s: control_chart(s, "s"),
    "restated_waves": lambda s: restated_waves(as_survey(s.with_table(s.table[:850]), respondent="id"), s, "s"),
    "touchpoint_trend": lambda s: touchpoint_trend(s, ["q", "r"]),
    "crosstab": lambda s: crosstab(s, ["q"], ["g", "wave"]),
    "crosstab of means": lambda s: crosstab(s, ["q", "r"], "g", statistic="mean"),
    "answer_spikes": lambda s: answer_spikes(s, "s", by="g"),
    "promoter_value": lambda s: promoter_value(s, "s", value="revenue"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_finding_of_the_scorecard_keeps_the_contract(name, survey):
    finding = MAKERS[name](as_survey(survey, **DESIGN))
    tables = {**finding.tables(), "glance": finding.glance()}
    assert {f"{k}.{c}" for k, t in tables.items() for c in t if not described(c).meaning} == set()
    assert len(finding.glance()) == 1 and {"n", "method"} <= set(finding.glance()) and len(finding.checks())
    assert finding.checks()["ok"].map(lambda v: isinstance(v, (bool, np.bool_))).all()
    sentence = finding.sentence()
    assert (
        sentence.endswith(".")
        and "nan" not in sentence.lower().split()
        and len(re.findall(r"\.(?:\s|$)", sentence)) <= 3
    )
    assert not re.search(r"\d\.\d{4,}|\b(effect|impact|drives|leads to|causes)\b", sentence.replace("effective", ""))
    ax = finding.plot()
    assert ax.get_xlabel() or ax.get_ylabel()


def test_waves_are_ordered_as_a_reader_sorts_them(survey):
    assert nps(as_survey(survey, wave="wave"), "s", wave=True).tidy()["wave"].tolist() == [
        "Wave 1",
        "Wave 2",
        "Wave 10",
    ]


def test_the_distribution_is_drawn_as_tabled(survey):
    finding = nps(as_survey(survey, weight="w"), "s")
    heights = sorted(bar.get_height() for bar in finding.plot().patches)
    assert heights == pytest.approx(sorted(100 * finding.tables()["distribution"]["share"]))


@pytest.mark.parametrize(
    ("ask", "title"),
    [
        (lambda s: top_box(s, "q", threshold=4, by="g"), "share answering 4 or above on 1–5, %"),
        (lambda s: compare_waves(s, "q", measure="top_box"), "change, share answering 4 or above on 1–5, %"),
        (lambda s: promoter_value(s, "s", value="stayed"), "Share with stayed, %"),
    ],
)
def test_a_deck_shows_shares_as_percent_in_the_words_of_the_measure(ask, title, tmp_path, monkeypatch):
    monkeypatch.setenv("CXRESEARCH_RUN", str(tmp_path))
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"q": rng.integers(1, 6, 600), "s": rng.integers(0, 11, 600), "stayed": rng.random(600) < 0.5})
    table = table.assign(g=rng.choice(list("ab"), 600), wave=rng.integers(1, 4, 600))
    save(ask(as_survey(table, wave="wave")), name="shown")
    chart = chart_of(SavedFinding(json.loads((tmp_path / "shown.json").read_text(encoding="utf-8")), tmp_path, ""))
    assert chart.title == title and chart.as_percent and np.abs(chart.values).max() < 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=60))
def test_the_point_is_promoters_less_detractors_and_the_interval_stays_on_the_scale(scores):
    table = pd.DataFrame({"s": scores})
    table.attrs["scales"] = {"s": (0, 10)}
    found = row(nps(table, "s"))
    assert found["estimate"] == pytest.approx(100 * (np.mean(np.array(scores) >= 9) - np.mean(np.array(scores) <= 6)))
    assert -100 <= found["conf_low"] <= found["conf_high"] <= 100
    assert found[["promoters", "passives", "detractors"]].sum() == pytest.approx(1)
