"""Response quality: shares that add up, what is skipped told apart from what is not applicable, straight-lining."""

import numpy as np
import pandas as pd
import pytest

import cxresearch as cx


@pytest.fixture
def answers() -> pd.DataFrame:
    # Ten people; a is skipped by two, b never met by four and skipped by one of those who met it.
    return pd.DataFrame(
        {
            "a": [1, 2, 3, 4, 5, 1, 2, 3, np.nan, np.nan],
            "b": [np.nan] * 4 + [np.nan, 1, 2, 3, 4, 5],
            "b_met": [False] * 4 + [True] * 6,
            "c": [3, 3, 3, 3, 3, 1, 3, 3, 3, 3],
            "wave": ["x"] * 5 + ["y"] * 5,
        }
    )


def test_skipped_and_not_applicable_are_counted_apart(answers):
    table = cx.response_quality(answers, items=["a", "b", "c"]).tidy().set_index("term")
    assert table.loc["a", ["share_answered", "share_skipped", "share_not_met"]].tolist() == [0.8, 0.2, 0.0]
    assert table.loc["b", ["share_answered", "share_skipped", "share_not_met"]].tolist() == [0.5, 0.1, 0.4]
    assert table[["share_answered", "share_skipped", "share_not_met"]].sum(axis=1).tolist() == pytest.approx([1] * 3)


@pytest.mark.parametrize("unknown", ["boolean", object])
def test_a_missing_companion_is_no_never_met_and_nullable_ratings_are_read(answers, unknown):
    answers["b_met"] = pd.Series([False] * 4 + [None] + [True] * 5, dtype=unknown)
    answers["a"] = answers["a"].astype("Int64")
    finding = cx.response_quality(answers, items=["a", "b", "c"], ratings=["a", "b", "c"])
    shares = finding.tidy().set_index("term")[["share_answered", "share_skipped", "share_not_met"]]
    assert shares.loc["b"].tolist() == [0.5, 0.1, 0.4] and shares.loc["a"].tolist() == [0.8, 0.2, 0.0]
    assert finding.glance()["n_rated"].item() == 3


def test_straight_lining_is_judged_by_how_many_items_were_rated():
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.integers(1, 8, (400, 6)), columns=list("abcdef")).astype(float)
    rows.iloc[:200, 3:] = np.nan  # half rated three items, and all of those gave one answer
    rows.iloc[:200, 1:3] = rows.iloc[:200, [0]].to_numpy()
    finding = cx.response_quality(rows, items=list(rows), ratings=list(rows))
    straight = finding.tables()["straight"].set_index("n_given")
    assert straight.loc[3, ["n", "share_straight"]].tolist() == [200, 1.0] and straight.loc[6, "share_straight"] == 0
    assert straight.loc[6, "share_by_chance"] == pytest.approx(7 * (1 / 7) ** 6, rel=0.25)
    assert finding.glance()[["n_rated", "n_many"]].iloc[0].tolist() == [400, 200]
    assert finding.checks().iloc[-1]["ok"], "of three items it says little"
    rows.iloc[300:, :] = 4.0
    lined = cx.response_quality(rows, items=list(rows), ratings=list(rows))
    assert lined.glance()["share_straight_many"].item() == pytest.approx(0.5) and not lined.checks().iloc[-1]["ok"]
    assert "Of the 200 who rated at least 5 items, 50.0 % gave one answer to all of them." in lined.sentence()


def test_the_sentence_is_computed(answers):
    finding = cx.response_quality(cx.as_survey(answers, labels={"b": "Help desk"}, wave="wave"), items=["a", "b", "c"])
    assert finding.sentence() == (
        "10 responses in 2 waves: most often skipped was a (20 %). Most often not applicable was Help desk (40 %)."
    )


def test_a_wave_under_the_minimum_base_is_hidden_with_its_n(answers):
    answers["wave"] = ["x"] * 8 + ["y"] * 2
    found = cx.response_quality(cx.as_survey(answers, min_base=5, wave="wave"), items=["a"])
    waves = found.tables()["waves"].set_index("wave")
    assert waves.loc["x", "n"] == 8 and waves.loc["y"].drop("term").isna().all()


@pytest.mark.parametrize(("known", "order"), [
    (dict(waves=("zero", "alpha", "mid")), ["zero", "alpha", "mid"]),
    (dict(asked_at="day"), ["mid", "zero", "alpha"]),
    ({}, ["alpha", "mid", "zero"]),  # nothing tells their order
])  # fmt: skip
def test_waves_stand_in_the_order_of_time_where_it_is_known(known, order):
    rows = pd.DataFrame({"a": 1.0, "wave": ["alpha", "mid", "zero"] * 4})
    rows["day"] = rows["wave"].map({"mid": "2025-01-01", "zero": "2025-04-01", "alpha": "2025-07-01"})
    waves = cx.response_quality(cx.as_survey(rows, wave="wave", **known), items=["a"]).tables()["waves"]
    assert waves["wave"].tolist() == order
    none = cx.response_quality(cx.as_survey(rows.assign(wave=None), wave="wave"), items=["a"])
    assert "waves" not in none.tables() and none.sentence() == "12 responses: no item was skipped."


def test_the_floor_counts_persons_and_not_their_answers():
    rows = pd.DataFrame(np.arange(60.0).reshape(20, 3) % 7, columns=list("abc"), index=[3] * 20)
    rows = rows.assign(wave=["x"] * 12 + ["y"] * 8, who=[*range(12)] + ["p"] * 6 + [None, None])
    asked = dict(items=["a"], ratings=["a", "b", "c"])
    found = cx.response_quality(cx.as_survey(rows, wave="wave", respondent="who", min_base=4), **asked).tables()
    waves = found["waves"].set_index("wave")
    assert waves.loc["x", "n"] == 12 and waves.loc["y"].drop("term").isna().all(), "eight answers of three persons"
    assert found["straight"]["n"].tolist() == [20] and "persons" not in waves
    open_ = cx.response_quality(cx.as_survey(rows, wave="wave", respondent="who", min_base=3), **asked).tables()
    assert open_["waves"]["n"].tolist() == [12, 8]
    with pytest.raises(cx.TooFewRespondents):
        cx.response_quality(cx.as_survey(rows, respondent="who", min_base=16), **asked)


def test_refusals(answers):
    with pytest.raises(cx.DataProblem, match=r"^response_quality needs at least one item; found none$"):
        cx.response_quality(answers, items=[])
    with pytest.raises(cx.DataProblem, match=r"^responses has no column 'b_mett'; did you mean 'b_met'\?$"):
        cx.response_quality(answers, items=["b_mett"])
    with pytest.raises(cx.DataProblem, match=r"^responses has no rows$"):
        cx.response_quality(answers.iloc[:0], items=["a"])
    few = "^response quality rests on fewer than the 11 rows that the study's minimum base asks for; nothing is shown$"
    with pytest.raises(cx.TooFewRespondents, match=few):
        cx.response_quality(cx.as_survey(answers, min_base=11), items=["a"])


def test_the_bars_draw_the_table(answers):
    finding = cx.response_quality(answers, items=["a", "b", "c"])
    drawn = [[p.get_width() for p in bars] for bars in finding.plot().containers]
    expected = finding.tidy()[["share_answered", "share_skipped", "share_not_met"]].T.to_numpy() * 100
    assert np.allclose(drawn, expected)
