"""Crosstabs and touchpoints over time: recomputed tests, letters, hidden cells, false alarms."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from estimates import survey_mean
from scipy import stats

from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.metrics import compare_waves, crosstab, mean_score, top_box, touchpoint_trend
from cxresearch.privacy import POOLED
from cxresearch.survey import as_survey


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def survey() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n = 1500
    table = pd.DataFrame({"g": rng.choice(list("abc"), n), "h": rng.choice(["x", "y"], n), "w": rng.uniform(0.5, 2, n)})
    table["q"] = np.where(table["g"] == "a", rng.choice([1, 2, 3], n, p=[0.2, 0.3, 0.5]), rng.choice([1, 2, 3], n))
    table["c"] = rng.integers(0, 60, n)
    return table.assign(mail=rng.random(n) < 0.3 + 0.3 * (table["h"] == "x"), shop=rng.random(n) < 0.5)


def svychisq(rows, columns, **design) -> tuple[float, float, float]:
    """Return F, ndf and ddf by the steps of R's survey::svychisq(statistic = "F")."""
    row, column = (pd.factorize(v, sort=True)[0] for v in (rows, columns))
    r, c = row.max() + 1, column.max() + 1
    cell = np.eye(r * c)[row + r * column]
    found = survey_mean(cell, **design)
    p, v, n = found.mean, found.covariance, len(row)
    level_row, level_column = np.tile(np.arange(r), c), np.repeat(np.arange(c), r)
    main = np.column_stack([np.ones(r * c), np.eye(r)[level_row][:, 1:], np.eye(c)[level_column][:, 1:]])
    both = np.column_stack(
        [np.eye(r)[level_row][:, i] * np.eye(c)[level_column][:, j] for i in range(1, r) for j in range(1, c)]
    )
    q, _ = np.linalg.qr(main)
    contrast = both - q @ (q.T @ both)
    inverse = np.diag(np.divide(1, p, out=np.zeros_like(p), where=p > 0))
    delta = np.linalg.solve(contrast.T @ inverse @ contrast / n, contrast.T @ inverse @ v @ inverse @ contrast)
    pearson = stats.chi2_contingency(n * p.reshape(c, r).T, correction=False).statistic
    d0 = np.trace(delta) ** 2 / np.trace(delta @ delta)
    return pearson / np.trace(delta), d0, d0 * found.df


@pytest.mark.parametrize(
    "design", [{}, {"weight": "w"}, {"weight": "w", "cluster": "c"}, {"weight": "w", "strata": "h"}]
)
def test_the_test_of_a_table_is_rao_and_scotts_as_recomputed_by_the_steps_of_svychisq(survey, design):
    found = crosstab(as_survey(survey, **design), "q", "g").tables()["tests"].iloc[0]
    arrays = {{"weight": "weights"}.get(k, k): survey[v] for k, v in design.items()}
    expected = svychisq(survey["q"], survey["g"], **arrays)
    assert [found["statistic"], found["df_1"], found["df_2"]] == pytest.approx(expected, rel=1e-8)
    assert found["p_value"] == pytest.approx(stats.f.sf(*expected)) and found["p_value"] < 1e-4


def test_without_a_design_it_is_pearsons_chi_square(survey):
    found = crosstab(survey, "q", "g").tables()["tests"].iloc[0]
    expected = stats.chi2_contingency(pd.crosstab(survey["q"], survey["g"]), correction=False)
    assert found["statistic"] * 4 * 1500 / 1499 == pytest.approx(expected.statistic) and found["df_1"] == pytest.approx(
        4
    )


def test_airport_and_grocery_tables_are_those_recomputed(shared):
    part = pd.read_csv(shared / "data" / "airport" / "survey_2018.csv", low_memory=False)
    part.columns = part.columns.str.strip()
    keep = part[["NETPRO", "WEIGHT", "DESTGEO"]].apply(pd.to_numeric, errors="coerce")
    keep = keep[keep["NETPRO"].between(0, 10) & keep["DESTGEO"].notna() & (keep["WEIGHT"] > 0)].reset_index(drop=True)
    keep["group"] = pd.cut(keep["NETPRO"], [-1, 6, 8, 10], labels=["detractor", "passive", "promoter"])
    found = crosstab(as_survey(keep, weight="WEIGHT"), "group", "DESTGEO").tables()["tests"].iloc[0]
    expected = svychisq(keep["group"].astype(str), keep["DESTGEO"], weights=keep["WEIGHT"])
    assert [found["statistic"], found["df_1"], found["df_2"]] == pytest.approx(expected, rel=1e-8)
    homes = pd.read_parquet(shared / "data" / "grocery" / "demographics.parquet")
    rows, columns = "age", "household_comp"
    found = crosstab(homes, rows, columns).tables()["tests"].iloc[0]
    assert found["statistic"] == pytest.approx(svychisq(homes[rows], homes[columns])[0], rel=1e-8)


def test_cells_are_the_weighted_shares_of_their_column_with_its_base(survey):
    finding = crosstab(as_survey(survey, weight="w"), ["q"], ["g", "h"])
    found = finding.tidy().set_index(["banner", "group", "category"])
    inside = survey[survey["g"] == "b"]
    assert found.loc[("g", "b", 2), "estimate"] == pytest.approx(np.average(inside["q"] == 2, weights=inside["w"]))
    assert found.loc[("g", "b", 2), "n"] == len(inside) and found.loc[("h", "all", 2), "n"] == len(survey)
    alone = top_box(as_survey(inside, weight="w"), "q", threshold=3).tidy().iloc[0]
    assert found.loc[("g", "b", 3), ["estimate", "conf_low", "conf_high"]].astype(float).tolist() == pytest.approx(
        alone[["estimate", "conf_low", "conf_high"]].astype(float).tolist(), rel=0.01
    )


def test_letters_name_the_columns_that_a_value_is_above(survey):
    finding = crosstab(survey, "q", ["g", "h"])
    found = finding.tidy().set_index(["banner", "group", "category"])
    assert found["letter"].xs(3, level="category").to_dict() == {
        ("g", "all"): "", ("g", "a"): "A", ("g", "b"): "B", ("g", "c"): "C", ("h", "all"): "", ("h", "x"): "D", ("h", "y"): "E",
    }  # fmt: skip
    assert found.loc[("g", "a", 3), "above"] == "B C" and found.loc[("g", "b", 1), "above"] == "A"
    assert (found.loc["h", "above"] == "").all()
    pairs = finding.tables()["pairs"]
    assert ((pairs["p_adjusted"] < 0.05) == ((pairs["conf_low"] > 0) | (pairs["conf_high"] < 0))).all()
    shown = finding.shown()
    assert shown.loc[("q", "3"), ("g", "a (A)")].endswith("% B C") and shown.loc[("q", "n"), ("g", "all")] == "1,500"
    assert "q by g and h: 1 of 2 questions differ between columns" in finding.sentence()


def test_columns_alike_get_a_letter_in_at_most_5_in_100_tables():
    lettered = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        table = pd.DataFrame({"q": rng.integers(1, 4, 400), "g": rng.integers(0, 4, 400)})
        lettered.append((crosstab(table, "q", "g").tidy()["above"] != "").any())
    assert np.mean(lettered) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)


def test_means_by_column_are_those_of_mean_score(survey):
    finding = crosstab(as_survey(survey, weight="w", cluster="c"), "q", "g", statistic="mean")
    found, alone = finding.tidy().iloc[1:], mean_score(as_survey(survey, weight="w", cluster="c"), "q", by="g").tidy()
    for column in ("estimate", "std_error", "conf_low", "conf_high", "n"):
        assert found[column].to_numpy() == pytest.approx(alone[column].to_numpy())
    assert found["above"].tolist() == ["B C", "", ""]


def test_choices_of_a_multiple_question_are_shares_of_those_who_were_asked(survey):
    table = survey.assign(mail=survey["mail"].astype(object), shop=survey["shop"].astype(object))
    table.loc[:99, ["mail", "shop"]] = None
    labels = {"mail": "by mail", "shop": "in the shop"}
    finding = crosstab(as_survey(table, multiple={"contact": ["mail", "shop"]}, labels=labels), "contact", "h")
    found = finding.tidy().set_index(["group", "category"])
    asked = survey.iloc[100:]
    assert found.loc[("all", "by mail"), "n"] == 1400
    assert found.loc[("x", "by mail"), "estimate"] == pytest.approx(asked.loc[asked["h"] == "x", "mail"].mean())
    assert found.loc[("x", "by mail"), "above"] == "B" and finding.tables()["tests"]["method"].item() == "Wald F"
    with pytest.raises(DataProblem, match="^contact is a multiple-choice question, which has shares but no mean$"):
        crosstab(as_survey(table, multiple={"contact": ["mail", "shop"]}), "contact", "h", statistic="mean")


def test_small_cells_are_hidden_with_those_that_tell_them():
    counts = {("a", 1): 60, ("a", 2): 40, ("b", 1): 97, ("b", 2): 3, ("c", 1): 50, ("c", 2): 50}
    table = pd.DataFrame([{"g": g, "q": q} for (g, q), n in counts.items() for _ in range(n)])
    found = crosstab(as_survey(table, min_base=10), "q", "g")
    cells = found.tidy().set_index(["group", "category"])
    assert cells.loc[("b", 1), "estimate"] != cells.loc[("b", 1), "estimate"] and np.isnan(
        cells.loc[("b", 2), "estimate"]
    )
    hidden = cells["estimate"].isna()
    assert hidden.sum() >= 4 and found.suppressed == hidden.sum(), "the row's complement is hidden, too"
    assert cells.loc[("b", 1), "n"] == 100, "a column's base is no secret"
    assert not crosstab(table, "q", "g").tidy()["estimate"].isna().any()


def test_the_floor_of_a_column_counts_persons():
    table = pd.DataFrame({"q": [1, 2] * 60, "g": ["a"] * 100 + ["b"] * 20, "who": [*range(100), *([100, 101] * 10)]})
    found = crosstab(as_survey(table, respondent="who", min_base=10), "q", "g").tidy()
    assert "b" not in set(found["group"]) and set(found["group"]) == {"all", POOLED}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (dict(rows="q", columns="q"), "q is both a question and a column; its answers by themselves say nothing"),
        (dict(rows=[], columns="g"), "a crosstab needs at least one question and one column to split by"),
        (dict(rows="q", columns="gg"), "responses has no column 'gg'; did you mean 'g'?"),
        (dict(rows="w", columns="g"), "w has 1500 different answers; a table of more than 40 is not read: use "
         "statistic='mean', or group the answers"),
        (dict(rows="q", columns="g", statistic="median"), "statistic='median' is not one of 'share', 'mean'"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_made_are_refused(survey, asked, message):
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        crosstab(survey, **asked)


# --- touchpoints -----------------------------------------------------------------------------------------------------


def rated(seed: int, *, fall: float = 0.0, n: int = 1200) -> pd.DataFrame:
    """Return three ratings over four waves, of which the second falls in the third wave and recovers."""
    rng = np.random.default_rng(seed)
    wave = rng.integers(1, 5, n)
    table = pd.DataFrame(
        {item: np.clip(np.round(rng.normal(5, 1.2, n)), 1, 7) for item in ("site", "delivery", "shop")}
    )
    table["delivery"] -= np.where((wave == 3) & (rng.random(n) < fall) & (table["delivery"] > 1), 1, 0)
    return table.assign(wave=wave)


SCALES = {item: (1, 7) for item in ("site", "delivery", "shop")}


def test_a_touchpoint_that_fell_and_recovered_is_named():
    survey = as_survey(rated(1, fall=0.9), wave="wave", scales=SCALES)
    finding = touchpoint_trend(survey, list(SCALES))
    moved = finding.tidy().query("verdict in ['up', 'down']")
    assert moved[["term", "wave", "verdict"]].to_numpy().tolist() == [["delivery", 3, "down"], ["delivery", 4, "up"]]
    assert "2 of 9 changes" in finding.sentence() and "delivery fell" in finding.sentence() and finding.established
    alone = compare_waves(survey, "delivery", measure="mean", correction="none").tidy()
    here = finding.tidy().query("term == 'delivery'")
    assert here["estimate"].tolist() == pytest.approx(alone["estimate"].tolist())
    assert here["p_value"].tolist() == pytest.approx(alone["p_value"].tolist())
    assert (
        (here["conf_high"] - here["conf_low"]).to_numpy() > 1.3 * (alone["conf_high"] - alone["conf_low"]).to_numpy()
    ).all()
    levels = finding.tables()["levels"].set_index(["term", "wave"])
    assert levels.loc[("delivery", 3), "estimate"] == pytest.approx(survey.table.query("wave == 3")["delivery"].mean())


def test_a_change_of_means_between_waves_is_welchs():
    table = rated(2)
    found = compare_waves(
        as_survey(table, wave="wave", scales=SCALES), "site", measure="mean", correction="none"
    ).tidy()
    a, b = (table.loc[table["wave"] == w, "site"] for w in (1, 2))
    expected = stats.ttest_ind(b, a, equal_var=False)
    low, high = expected.confidence_interval()
    assert found.loc[0, "p_value"] == pytest.approx(expected.pvalue)
    assert found.loc[0, ["conf_low", "conf_high"]].tolist() == pytest.approx([low, high])


def test_touchpoints_that_do_not_move_are_named_in_at_most_5_in_100_surveys():
    named = [
        touchpoint_trend(as_survey(rated(s, n=600), wave="wave", scales=SCALES), list(SCALES)).established
        for s in range(100, 160)
    ]
    assert np.mean(named) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)


def test_one_wave_and_small_waves_say_so():
    table = rated(3)
    finding = touchpoint_trend(as_survey(table.drop(columns="wave"), scales=SCALES), list(SCALES))
    assert finding.sentence() == "Whether touchpoints moved cannot be said, the survey has one wave."
    rare = table.assign(shop=table["shop"].where((table["wave"] != 2) | (np.arange(1200) > 1150)))
    finding = touchpoint_trend(as_survey(rare, wave="wave", scales=SCALES, min_base=20), list(SCALES))
    found = finding.tidy()
    assert set(found["term"]) == set(SCALES) - {"shop"} and found["estimate"].notna().all()
    assert finding.suppressed == 1 and "shop: waves under the floor" in finding.checks()["check"].tolist()


def test_touchpoints_on_another_scale_than_most_are_left_out_and_said():
    survey = as_survey(rated(4), wave="wave", scales={**SCALES, "shop": (1, 10)}, labels={"shop": "Staff"})
    finding, alone = (touchpoint_trend(survey, items) for items in (list(SCALES), ["site", "delivery"]))
    pd.testing.assert_frame_equal(finding.tidy(), alone.tidy())
    assert (
        "1 touchpoint on another scale is left out: Staff." in finding.sentence() and "left out" not in alone.sentence()
    )
    assert not finding.checks().set_index("check").loc["touchpoints on another scale", "ok"]


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([], DataProblem, "touchpoints over time need at least one rated item; found none"),
        (["site", "shop"], TooFewRespondents, "touchpoint_trend: none of the items has enough answers to be shown"),
    ],
)
def test_touchpoints_that_cannot_be_followed_are_refused(items, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        touchpoint_trend(as_survey(rated(4).assign(site=np.nan, shop=np.nan), wave="wave", scales=SCALES), items)


@pytest.mark.parametrize("measure", ["top_box", "mean"])
def test_differences_of_shares_and_means_cover(measure):
    rng = np.random.default_rng(5)
    rep, wave = np.repeat(np.arange(1000), 120), np.tile([1, 2], 60_000)
    table = pd.DataFrame({"rep": rep, "wave": wave, "q": np.where(rng.random(120_000) < 0.3 + 0.2 * (wave == 2), 5, 2)})
    survey = as_survey(table, wave="wave", scales={"q": (1, 5)})
    found = compare_waves(survey, "q", measure=measure, by="rep", correction="none").tidy()
    truth = 0.2 if measure == "top_box" else 0.6
    covered = ((found["conf_low"] <= truth) & (truth <= found["conf_high"])).mean()
    assert abs(covered - 0.95) < 0.015 + 2 * np.sqrt(0.95 * 0.05 / 1000)
