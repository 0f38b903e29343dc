"""Surveys: the order of waves, the floor, weights, domains, the one resampler."""

import re

import numpy as np
import pandas as pd
import pytest

import cxresearch as cx
from cxresearch.errors import DataProblem, StudyProblem, TooFewRespondents
from cxresearch.survey import wave_order

# promoters and detractors of four waves of 200: the score falls 50, 30, 10, -10
FALLING = ((0.6, 0.1), (0.5, 0.2), (0.4, 0.3), (0.3, 0.4))
DAYS = ("2024-08-15", "2024-11-15", "2025-02-15", "2025-05-15")
LABELS = {
    "quarters": ("Q3 2024", "Q4 2024", "Q1 2025", "Q2 2025"),
    "months": ("Jan 2025", "Feb 2025", "Mar 2025", "Apr 2025"),
    "plain": ("Wave B", "Wave A", "Wave D", "Wave C"),
}


def falling(labels, *, dated: bool) -> pd.DataFrame:
    rows = []
    for label, day, (up, down) in zip(labels, DAYS, FALLING, strict=True):
        up, down = round(200 * up), round(200 * down)
        rows += [(label, day, score) for score in [9] * up + [3] * down + [8] * (200 - up - down)]
    table = pd.DataFrame(rows, columns=["wave", "asked_on", "rec"]).assign(rid=lambda t: "r" + t.index.astype(str))
    return table if dated else table.drop(columns="asked_on")


def scores(survey) -> dict:
    """Return wave -> net score, in the order of the cells."""
    sample = survey.sample(wave=True)
    rec = survey.table["rec"].to_numpy()[sample.rows]
    net = sample.means(np.where(rec >= 9, 100.0, np.where(rec <= 6, -100.0, 0.0)))
    return dict(zip(sample.keys["wave"], net.round(6)))


def study_of(folder, table, *, waves=""):
    table.to_csv(folder / "answers.csv", index=False)
    asked = ", asked_on: {role: asked_at}" if "asked_on" in table else ""
    (folder / "study.yml").write_text(
        f"version: 2\ntitle: T\n{waves}tables:\n  responses: {{source: answers.csv, id: rid, wave: wave, items: "
        f"{{rec: {{scale: [0, 10], role: nps}}{asked}}}}}\n",
        encoding="utf-8",
    )
    return cx.open_study(folder)


TOLD = [(kind, dated) for kind in LABELS for dated in (True, False) if dated or kind != "plain"]


@pytest.mark.parametrize(("kind", "dated"), TOLD)
def test_the_order_of_waves_is_the_order_of_time(kind, dated, tmp_path):
    survey = study_of(tmp_path, falling(LABELS[kind], dated=dated)).responses
    assert list(scores(survey).items()) == list(zip(LABELS[kind], (50, 30, 10, -10)))


def test_waves_whose_time_nothing_tells_are_refused_and_may_be_declared(tmp_path):
    table = falling(LABELS["plain"], dated=False)
    with pytest.raises(DataProblem, match="Wave A, Wave B, Wave C, Wave D came; declare waves: "):
        scores(study_of(tmp_path, table).responses)
    declared = study_of(tmp_path, table, waves="waves: [Wave B, Wave A, Wave D, Wave C]\n").responses
    assert list(scores(declared).values()) == [50, 30, 10, -10]


def test_declared_waves_are_held_against_all_rows_with_their_lines(tmp_path):
    table = falling(LABELS["quarters"], dated=False)
    with pytest.raises(StudyProblem) as refused:
        study_of(tmp_path, table, waves="waves:\n  - Q3 2024\n  - Q5 2024\n  - Q1 2025\n").responses  # noqa: B018
    assert str(refused.value).splitlines() == [
        "study.yml, line 5: waves names 'Q5 2024', which no row of responses holds; they hold Q3 2024, Q4 2024, "
        "Q1 2025, Q2 2025; did you mean 'Q4 2024', 'Q3 2024', 'Q2 2025'?",
        "study.yml, line 3: waves leaves out Q4 2024, Q2 2025, which responses hold; name every wave, first to last",
    ]


def latest(folder, waves="") -> list:
    answers = [(f"C{i}", wave, score) for i in range(60) for wave, score in (("Q4 2024", 3), ("Q1 2025", 10))]
    pd.DataFrame(answers, columns=["cust", "wave", "rec"]).to_csv(folder / "a.csv", index=False)
    pd.DataFrame({"cust": [f"C{i}" for i in range(60)], "spend": np.arange(60)}).to_csv(folder / "c.csv", index=False)
    (folder / "study.yml").write_text(
        f"title: T\n{waves}tables:\n  responses: {{source: a.csv, customer: cust, wave: wave, items: {{rec: {{scale: "
        "[0, 10], role: nps}}}\n  customers: {source: c.csv, id: cust, items: {spend: {type: number}}}\n"
    )
    return cx.open_study(folder).matched("responses", "customers").table["rec"].unique().tolist()


def test_the_latest_answer_is_that_of_the_last_wave(tmp_path):
    assert latest(tmp_path) == [10.0]
    assert latest(tmp_path, "waves: [Q1 2025, Q4 2024]\n") == [3.0]  # declared, it holds whatever the labels say


@pytest.mark.parametrize(("kind", "dated"), TOLD)
def test_every_analysis_that_speaks_of_time_keeps_the_order_of_waves(kind, dated, tmp_path):
    survey = study_of(tmp_path, falling(LABELS[kind], dated=dated)).responses
    moved = cx.compare_waves(survey, "rec").tidy()
    assert moved["estimate"].round(6).tolist() == [-20, -20, -20] and moved["wave"].tolist() == list(LABELS[kind][1:])
    assert cx.nps(survey, "rec", wave=True).tidy()["estimate"].round(6).tolist() == [50, 30, 10, -10]
    assert cx.control_chart(survey, "rec").tidy()["estimate"].round(6).tolist() == [50, 30, 10, -10]


def test_a_score_by_wave_of_labels_without_time_is_refused_and_by_group_is_not():
    survey = cx.as_survey(falling(LABELS["plain"], dated=False), wave="wave")
    with pytest.raises(DataProblem, match="declare waves"):
        cx.nps(survey, "rec", wave=True)
    assert cx.nps(survey, "rec", by="wave").tidy()["group"].tolist() == ["Wave A", "Wave B", "Wave C", "Wave D"]


@pytest.mark.parametrize(
    "labels",
    [
        ("2019", "2020", "2024"),
        ("FY2023", "FY2024"),
        ("H2 2023", "H1 2024"),
        ("2 półrocze 2023", "1 półrocze 2024"),
        ("II полугодие 2023", "I полугодие 2024"),
        ("IV kw. 2023", "I kw. 2024"),
        ("4 квартал 2023 г.", "1 квартал 2024 г."),
        ("2023Q4", "2024Q1"),
        ("1Q 2024", "2Q 2024"),
        ("grudzień 2023", "styczeń 2024", "maja 2024"),
        ("декабрь 2023", "января 2024", "МАЙ 2024"),
        ("Nov 2023", "feb-2024", "April 2024"),
        ("11/2023", "02/2024"),
        ("2023-11", "2024-02"),
        ("NPS Q3 2023", "NPS Q1 2024"),
        ("Wave 2", "Wave 9", "Wave 10"),
        ("Wave 9", "W10"),
        ("Wave I", "Wave II", "Wave IV"),
        (3, 9, 10),
    ],
)
def test_labels_say_their_time_in_three_languages_and_any_order(labels):
    for shown in (labels, labels[::-1], sorted(labels, key=str)):
        assert wave_order(pd.Series(shown, name="wave")) == tuple(labels)


@pytest.mark.parametrize(
    "labels", [("Jan", "Feb"), ("spring", "autumn"), ("2024", "2024Q1"), ("a1", "b2"), ("T1", "1T"), ("2023", "Wave 3")]
)
def test_labels_that_say_no_time_are_refused_with_their_names(labels):
    with pytest.raises(DataProblem, match=f"{labels[0]}.*declare waves"):
        wave_order(pd.Series(labels, name="wave"))


def test_dates_and_labels_that_contradict_each_other_are_refused_until_waves_are_declared():
    table = falling(("2024Q2", "2024Q1", "2024Q3", "2024Q4"), dated=True)
    with pytest.raises(DataProblem, match="contradicted .the dates of the answers: 2024Q2, 2024Q1.*waves: "):
        _ = cx.as_survey(table, wave="wave", asked_at="asked_on").wave_order
    order = ("2024Q1", "2024Q2", "2024Q3", "2024Q4")
    assert cx.as_survey(table, wave="wave", asked_at="asked_on", waves=order).wave_order == order


@pytest.mark.parametrize("declared", [None, ["2024-02-01 00:00:00", "2024-01-01 00:00:00"]])
def test_waves_that_are_days_are_in_their_order_or_as_declared(declared):
    days = pd.to_datetime(["2024-01-01"] * 20 + ["2024-02-01"] * 20)
    survey = cx.as_survey(pd.DataFrame({"s": [9] * 20 + [3] * 20, "wave": days}), wave="wave", waves=declared)
    assert cx.nps(survey, "s", wave=True).tidy()["estimate"].tolist() == ([-100, 100] if declared else [100, -100])


def test_an_ordered_categorical_declares_and_sources_speak_last():
    told = pd.Series(pd.Categorical(["b", "a"], categories=["b", "a"], ordered=True), name="wave")
    assert wave_order(told) == ("b", "a")
    days = pd.Series(pd.Categorical(pd.to_datetime(["2024-02-01", "2024-01-01"]), ordered=True), name="wave")
    assert wave_order(days) == tuple(pd.to_datetime(["2024-01-01", "2024-02-01"]))
    assert wave_order(pd.Series(["x", "y"], name="wave"), sources=["y", "x"]) == ("y", "x")
    assert wave_order(pd.Series(["2024", "2023"], name="wave"), sources=["2024", "2023"]) == ("2023", "2024")


@pytest.mark.parametrize("ask", [cx.nps, cx.tag_topics])
def test_a_survey_without_waves_refuses_to_be_read_by_wave(ask):
    told = {"item": "r"} if ask is cx.nps else {"text": "said"}
    survey = cx.as_survey(pd.DataFrame({"r": [9, 3] * 40, "said": ["The delivery was late again."] * 80}))
    with pytest.raises(DataProblem, match="^the survey has no waves; name their column with as_survey"):
        ask(survey, **told, wave=True)


def test_rows_of_weight_zero_never_count_and_are_counted():
    table = pd.DataFrame({"s": [10, 0] * 1000, "w": [1.0] * 40 + [0.0] * 1960})
    finding = cx.nps(cx.as_survey(table, weight="w"), "s")
    assert finding.glance()["n"].item() == 40 and finding.checks()["value"].tolist().count(1960) == 1
    with pytest.raises(TooFewRespondents, match="none of 2000 rows holds an answer and a weight"):
        cx.nps(cx.as_survey(table.assign(w=0.0), weight="w"), "s")


def test_a_stratum_wholly_sampled_has_no_error_anywhere():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"s": rng.integers(0, 11, 400), "h": ["a", "b"] * 200, "f": 1.0})
    for name in ("x", "y"):
        table[name] = table["s"] + rng.normal(0, 3, 400)
    survey = cx.as_survey(table, strata="h", fpc="f")
    shares = cx.driver_importance(survey, outcome="s", drivers=["x", "y"], n_boot=100, seed=1).tidy()
    assert (shares["share_high"] - shares["share_low"]).max() == pytest.approx(0, abs=1e-9)


COUNTED = {
    "response_quality": lambda s: cx.response_quality(s, items=["s", "e"], ratings=["s", "e", "x"]),
    "loyalty_ratios": lambda s: cx.loyalty_ratios(s, score="s", outcomes=["again"], thresholds=[8], controls=["e"]),
    "unit_reliability": lambda s: cx.unit_reliability(s, item="s", unit="g"),
    "tone_of_texts": lambda s: cx.tone_of_texts(s, text="said", score="s", min_rows=100, seed=1),
    "tag_topics": lambda s: cx.tag_topics(s, text="said"),
    "topic_impact": lambda s: cx.topic_impact(s, text="said", score="s", seed=1),
}


@pytest.mark.parametrize("make", COUNTED.values(), ids=COUNTED)
def test_rows_of_weight_zero_are_counted_nowhere(make):
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"s": rng.integers(0, 11, 500), "e": rng.integers(0, 11, 500), "w": 1.0})
    table = table.assign(x=table["e"], g=rng.integers(0, 20, 500), again=rng.integers(0, 2, 500))
    phrases = ["the delivery was late", "great staff", "the price is too high", "bad service", "good quality goods"]
    table["said"] = rng.choice(phrases, 500)
    others = table[:150].assign(w=0.0, s=10, e=10, x=10, again=1, said="the delivery was late")
    with_them = make(cx.as_survey(pd.concat([table, others], ignore_index=True), weight="w"))
    alone = make(cx.as_survey(table, weight="w"))
    assert with_them.glance()["n"].item() == alone.glance()["n"].item()
    pd.testing.assert_frame_equal(with_them.tidy(), alone.tidy())


CENSUS = {
    "nps": lambda s: cx.nps(s, "s"),
    "nps by group and wave": lambda s: cx.nps(s, "s", by="g", wave=True),
    "top_box": lambda s: cx.top_box(s, "s", threshold=9),
    "mean_score": lambda s: cx.mean_score(s, "s", by="g"),
    "effort": lambda s: cx.effort(s, "e", version=2),
    "compare_waves": lambda s: cx.compare_waves(s, "s", by="g"),
    "compare_waves of means": lambda s: cx.compare_waves(s, "s", measure="mean", pairs="all"),
    "touchpoint_trend": lambda s: cx.touchpoint_trend(s, items=["s", "e"]),
    "split_change": lambda s: cx.split_change(s, "s", by="g"),
    "league_table": lambda s: cx.league_table(s, "s", by="g"),
    "crosstab": lambda s: cx.crosstab(s, "s", "g"),
}


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("make", CENSUS.values(), ids=CENSUS)
def test_where_everybody_was_asked_the_interval_is_the_estimate(make, weight):
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"s": rng.integers(0, 11, 600), "e": rng.integers(1, 8, 600), "h": ["a", "b"] * 300})
    table = table.assign(f=1.0, g=rng.choice(list("xyz"), 600), w=rng.uniform(0.5, 2, 600))
    table["wave"] = rng.choice(["2024Q1", "2024Q2", "2024Q3"], 600)
    found = make(cx.as_survey(table, wave="wave", strata="h", fpc="f", weight=weight))
    rows = found.tidy().dropna(subset="estimate")
    assert len(rows) and (rows[["conf_low", "conf_high"]].sub(rows["estimate"], axis=0).abs() < 1e-9).all(axis=None)
    moved = rows["estimate"].abs() > 1e-9
    if "p_value" in rows:
        assert (rows.loc[moved, "p_value"] == 0).all()


def test_a_stratum_of_which_a_part_was_asked_keeps_the_error_of_that_part():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"s": rng.integers(0, 11, 400), "h": ["a", "b"] * 200, "f": [1.0, 0.0] * 200})
    found = cx.nps(cx.as_survey(table, strata="h", fpc="f"), "s", by="h").tidy().set_index("group")
    width = found["conf_high"] - found["conf_low"]
    assert width["a"] == 0 and width["b"] > 15
    whole = cx.nps(cx.as_survey(table, strata="h", fpc="f"), "s").tidy().iloc[0]
    assert whole["std_error"] == pytest.approx(found["std_error"]["b"] / 2)


def test_no_control_chart_of_a_census_and_its_movement_is_exact():
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"s": rng.integers(0, 11, 300), "wave": ["2024Q1", "2024Q2", "2024Q3"] * 100, "f": 1.0})
    survey = cx.as_survey(table, wave="wave", fpc="f")
    assert "everybody was asked" in cx.control_chart(survey, "s").sentence()
    trend = cx.compare_waves(survey, "s").tables()["trend"].iloc[0]
    assert trend["conf_low"] == trend["conf_high"] and trend["p_value"] == 0
    table = table.assign(id=range(300), value=rng.normal(size=300))
    customers = cx.as_survey(table[["id", "value", "f"]], fpc="f")
    bias = cx.response_bias(customers, table[["id", "s"]][:120], "s", customer="id", behaviour=["value"])
    assert bias.tidy().query("term == 'value'")["p_value"].tolist() == [0.0]


def test_the_floor_counts_persons_not_rows():
    table = pd.DataFrame(
        {"s": [10] * 24 + [0] * 24, "who": ["one"] * 12 + list(range(36)), "g": ["x"] * 12 + ["y"] * 36}
    )
    survey = cx.as_survey(table, respondent="who", min_base=10)
    assert cx.nps(survey, "s", by="g").tidy()["group"].tolist() == ["other (below base)"]
    with pytest.raises(TooFewRespondents, match="fewer than the 10"):
        cx.nps(cx.as_survey(table[:12], respondent="who", min_base=10), "s")
    assert cx.nps(cx.as_survey(table[:12], min_base=10), "s").glance()["n"].item() == 12


def test_a_floor_may_be_raised_and_not_lowered():
    survey = cx.as_survey(pd.DataFrame({"s": [1]}), min_base=10)
    assert cx.as_survey(survey, min_base=20).min_base == 20 and cx.as_survey(survey).min_base == 10
    with pytest.raises(DataProblem, match="min_base=5 is under the floor of 10"):
        cx.as_survey(survey, min_base=5)


def test_group_names_that_only_look_different_are_one_group():
    table = pd.DataFrame({"s": [10, 0, 9, 5], "g": ["Kraków", "Krako\u0301w", " Kraków", "Kraków\u200b"]})
    found = cx.nps(table, "s", by="g").tidy()
    assert found["group"].tolist() == ["Kraków"] and found["n"].tolist() == [4]


def test_a_categorical_is_in_its_order_however_its_names_are_written():
    order = ["wysoki ", "s\u0301redni", "niski"]
    table = pd.DataFrame({"s": [10, 0, 9] * 20, "g": pd.Categorical(order * 20, categories=order)})
    assert cx.nps(table, "s", by="g").tidy()["group"].tolist() == ["wysoki", "\u015bredni", "niski"]


def test_several_columns_make_one_grouping():
    table = pd.DataFrame({"s": [10, 9, 0, 5] * 30, "g": ["a", "b"] * 60, "h": ["x", "x", "y", "y"] * 30})
    assert cx.nps(table, "s", by=["g", "h"]).tidy()["group"].tolist() == ["a, x", "a, y", "b, x", "b, y"]


ROWS = pd.DataFrame(
    {
        "a": [1.0, 2.0, np.nan, 4.0],
        "r": ["N", "S", None, "N"],
        "on": pd.to_datetime(["2024-01-01", "2024-02-01", None, "2024-03-01"]),
        "b b": [1, 2, 3, 4],
        "ok": [True, False, True, True],
        "year": ["2024", "2023", None, "2024"],
        "said": ["a`b`c", 'say "`b b`"', "it's", None],
        "it's": [1, 2, 3, 4],
        "_": [5, 6, 7, 8],
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("a <= 2", 2), ("not a <= 2", 1), ("1 <= a < 3", 2), ("r == 'N'", 2), ("r != 'N'", 1), ("r in ['N', 'S']", 3),
        ("r not in ['N']", 1), ("on > '2024-01-15'", 2), ("`b b` >= 3 and ok", 2), ("a > 1 or r == 'N'", 3), ("2 == a", 1),
        ("-1 < a", 3), ("a == `b b`", 3), ("year == 2024", 2),
        ("said == 'a`b`c'", 1), ("""said in ['say "`b b`"', 'a`b`c']""", 2), ("`it's` > 1 and said != 'a`b`c'", 2),
        (r"said == 'it\'s' or `b b` == 1", 2), ("_ == 5 or `_` == 6", 2),
    ],
)  # fmt: skip
def test_a_domain_holds_the_rows_that_meet_its_condition_and_no_missing_ones(condition, rows):
    assert len(cx.as_survey(ROWS).where(condition)) == rows == len(cx.as_survey(ROWS).where(condition).table)


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("a.max() > 1", "where a column or a constant belongs"), ("f(a)", "no comparison"), ("@a", "cannot be read"),
        ("a + 1 > 2", "where a column"), ("a is None", "compares by something other"), ("a", "no comparison"),
        ("a > 'x'", "compares a with 'x'; numbers go with numbers"), ("r < 'N'", "a text by == != or in"), ("on > 3", "a date with '2024-03-31'"),
        ("r == 'X'", "r never holds 'X'"), ("z > 1", "the survey has no column 'z'"), ("a > 10", "no row meets"),
        ("__import__('os')", "no comparison"), ("a > r", "compares a with r"), ("1 == 1", "compares 1 with 1"), ("on < 'x'", "compares on"), ("on < '2024-02-01T00:00Z'", "compares on"),
        ("_['a'] > 1", "holds \"_['a']\" where a column"), ("_[`b b`] > 1", "where a column"), ("`b b` > 'x'", "compares `b b` with 'x'"),
        ("`b b`", "holds '`b b`', which is no comparison"), ("`b b` + 1 > 2", "holds '`b b` + 1' where"), ("`b b > 2", "cannot be read"),
        ("`z z` > 1", "the survey has no column 'z z'"), ("`` > 1", "cannot be read"), ("`b b`.max() > 1", "'`b b`.max()' where"),
    ],
)  # fmt: skip
def test_a_condition_that_is_no_comparison_is_refused(condition, told):
    with pytest.raises(DataProblem, match=re.escape(told)):
        cx.as_survey(ROWS).where(condition)


@pytest.mark.parametrize("times", [250, 1500, 5000, 100_000])
@pytest.mark.parametrize(
    "nested", [("a > ", "+-", "1"), ("a", "+a", " > 1"), ("a", ".a", " > 1"), ("a > 1 and ", "(", "a > 2")]
)
def test_a_condition_nested_thousands_of_times_is_refused(nested, times):
    before, sign, after = nested
    with pytest.raises(DataProblem, match=r"^the condition .*(cannot be read|where a column)"):
        cx.as_survey(ROWS).where(before + sign * times + after + ")" * times * (sign == "("))


def test_a_condition_is_negated_some_hundred_times_and_no_more():
    assert len(cx.as_survey(ROWS).where("not " * 250 + "a > 1")) == 2
    for times in (1500, 5000, 100_000):
        with pytest.raises(DataProblem, match=r"cannot be read \(it nests too deeply"):
            cx.as_survey(ROWS).where("not " * times + "a > 1")


@pytest.mark.parametrize("constant", ["1" * 400, "'\ud800'"])
def test_a_constant_that_no_table_can_hold_is_refused(constant):
    with pytest.raises(DataProblem, match="no table can hold"):
        cx.as_survey(ROWS).where(f"a == {constant}")


def test_of_two_columns_that_look_alike_a_condition_means_the_one_it_writes():
    table = pd.DataFrame({"a\u200b": [1, 1, 1], "a": [1, 2, 3]})
    assert len(cx.as_survey(table).where("a > 1")) == 2 and len(cx.as_survey(table[["a\u200b"]]).where("a == 1")) == 3


def test_a_domain_under_the_floor_and_one_that_leaves_out_fewer_are_refused():
    table = pd.DataFrame({"s": [10] * 100, "age": range(100)})
    survey = cx.as_survey(table, min_base=10)
    for condition in ("age < 9", "age >= 9", "age < 91"):
        with pytest.raises(TooFewRespondents, match="fewer than the 10 persons"):
            survey.where(condition)
    assert len(survey.where("age < 50")) == 50
    with pytest.raises(TooFewRespondents, match="'age < 50' and 'age < 55' differ in is fewer than the 10"):
        survey.where("age < 55")
    assert len(survey.where("age >= 50")) == 50 and len(survey.where("age < 60")) == 60


def test_a_message_names_no_value_of_fewer_persons_than_the_floor_however_many_rows_they_have():
    table = pd.DataFrame({"who": [0] * 12 + list(range(1, 41)), "city": ["Zabrze"] * 12 + ["Zabra"] * 40})
    with pytest.raises(DataProblem, match="never holds 'Zabrz'; did you mean 'Zabra'.;"):
        cx.as_survey(table, respondent="who", min_base=10).where("city == 'Zabrz'")
    with pytest.raises(DataProblem, match="did you mean 'Zabrze', 'Zabra'"):
        cx.as_survey(table, min_base=10).where("city == 'Zabrz'")


def test_the_error_of_a_domain_is_that_of_a_domain_of_the_same_survey():
    rng = np.random.default_rng(1)
    n = 600
    table = pd.DataFrame(
        {"s": rng.integers(0, 11, n), "w": rng.uniform(0.5, 2, n), "c": rng.integers(0, 40, n), "h": 0}
    )
    table["h"] = table["c"] % 4
    survey = cx.as_survey(table, weight="w", strata="h", cluster="c")
    inside = (table["s"] <= 6).to_numpy()
    domain = survey.where("s <= 6")
    sample = domain.sample()
    values = domain.table["s"].to_numpy(float)[sample.rows]
    # a mean over a domain is a ratio of totals over all rows, zero outside it: residuals total by cluster, within strata
    w = table["w"] * inside
    pull = w * (table["s"] - np.average(table["s"], weights=w)) / w.sum()
    totals = pull.groupby(table["c"]).sum()
    expected = sum(len(t) / (len(t) - 1) * ((t - t.mean()) ** 2).sum() for _, t in totals.groupby(totals.index % 4))
    assert sample.variance(values)[0] == pytest.approx(expected, rel=1e-10)
    assert cx.nps(domain, "s").id == "nps s where s <= 6"


@pytest.mark.parametrize("design", [{}, {"cluster": "c"}, {"strata": "h", "cluster": "c"}, {"strata": "h", "fpc": "f"}])
def test_the_one_resampler_has_the_variance_that_the_design_has_rao_wu_1988(design):
    rng = np.random.default_rng(2)
    n = 300
    table = pd.DataFrame({"v": rng.normal(0, 1, n), "w": rng.uniform(0.5, 2, n), "c": rng.integers(0, 12, n), "f": 0.4})
    table["h"] = table["c"] % 3
    table["v"] += 0.5 * table["c"]
    sample = cx.as_survey(table, weight="w", **design).sample()
    values = table["v"].to_numpy()
    drawn = np.concatenate([w @ values / w.sum(axis=1) for w in sample.replicates(4000, seed=1)])
    assert drawn.std() == pytest.approx(np.sqrt(sample.variance(values)[0]), rel=0.06)
    assert all((w >= 0).all() for w in sample.replicates(50, seed=1))


def test_the_resampler_gives_the_same_draws_for_one_seed_and_others_for_another():
    sample = cx.as_survey(pd.DataFrame({"v": range(50)})).sample()
    first, again, other = (next(sample.replicates(20, seed=s)) for s in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_what_is_known_of_a_survey_is_said_in_one_line_and_changed_by_name():
    survey = cx.as_survey(ROWS.assign(w=1.0), weight="w", labels={"a": "A"})
    assert repr(survey) == "survey: 4 rows, weighted by w, floor 1" and survey.label("a") == "A"
    changed = cx.as_survey(survey, currency="EUR")
    assert (changed.weight, changed.currency, changed.labels) == ("w", "EUR", {"a": "A"})
    for wrong, told in (
        ({"weight": "v"}, "no column 'v'"),
        ({"min_base": 0}, "min_base=0"),
        ({"population": 0}, "population"),
    ):
        with pytest.raises(DataProblem, match=told):
            cx.as_survey(ROWS, **wrong)


@pytest.mark.parametrize("roles", [{"a": "nps", "b": "csat"}, {"a": ("nps",), "b": ("csat", "outcome")}])
def test_columns_of_a_role_are_found_whether_an_item_has_one_or_several(roles):
    survey = cx.as_survey(pd.DataFrame({"a": [1], "b": [2]}), roles=roles)
    assert (survey.columns_of("nps"), survey.columns_of("csat"), survey.columns_of("ces")) == (["a"], ["b"], [])


def test_labels_with_raised_digits_are_ordered_as_text():
    """A raised two is a digit to Python, but no number."""
    table = pd.DataFrame({"recommend": [10, 5] * 6, "hall": ["5\u00b2", "\u00b2", "10"] * 4})
    assert cx.nps(table, "recommend", by="hall").tidy()["group"].tolist() == ["5\u00b2", "10", "\u00b2"]
