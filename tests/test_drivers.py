"""`driver_importance`: what it says, what it refuses, and that what it is sure of is so."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drivers_calls import asked

from cxresearch.drivers.model import simultaneous_differences
from cxresearch.drivers.shapley import exact_parts, mean_by_size, noise_floor
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.inference.shares import packed, residual_variances
from cxresearch.survey import as_survey

driver_importance = asked("driver_importance")


def survey(n=400, p=6, *, slopes=(), loading=0.6, seed=1, noise=1.0, halo=0.0):
    """Return ratings 1-10 with a common factor, and an outcome; `slopes` for the first drivers, 0 for the rest."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 1))
    x = loading * common + np.sqrt(1 - loading**2) * rng.normal(size=(n, p))
    b = np.concatenate([slopes, np.zeros(p - len(slopes))])
    y = x @ b + halo * common[:, 0] + noise * rng.normal(size=n)
    rating = np.clip(np.round(6 + 2 * x), 1, 10)
    return pd.DataFrame(rating, columns=[f"d{k}" for k in range(1, p + 1)]).assign(overall=y)


DRIVERS = [f"d{k}" for k in range(1, 7)]
ASK = dict(outcome="overall", drivers=DRIVERS, seed=1)


@pytest.fixture(scope="module")
def found():
    return driver_importance(
        as_survey(survey(1500, slopes=(1.0, 0.5, 0.5)), labels={"d1": "Speed & care", "overall": "Satisfaction"}), **ASK
    )


def refused(message, table=None, kind=DataProblem, **changes):
    table = survey() if table is None else table
    with pytest.raises(kind, match="^" + re.escape(message) + "$"):
        driver_importance(table, **(ASK | changes))


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_finding_answers_every_question(found):
    table = found.tidy()
    assert table["term"].tolist() == DRIVERS
    assert table["estimate"].sum() == pytest.approx(found.glance()["r2"].item())
    assert table["share"].sum() == pytest.approx(1)
    assert ((table["conf_low"] <= table["estimate"]) & (table["estimate"] <= table["conf_high"])).all()
    assert found.glance()["n"].item() == 1500 and len(found.checks()) > 4
    assert found.tables()["ranks"].groupby("term")["probability"].sum().to_numpy() == pytest.approx(1)
    assert set(found.tables()) == {"tidy", "methods", "ranks", "differences", "dominance"}
    assert found.glance()["established"].item()
    assert found.id == "driver_importance overall"


def test_sentence_names_the_first_driver_its_interval_points_per_point_and_base(found):
    top = found.tidy().set_index("term").loc["d1"]
    first, *rest = found.sentence().split(". ")
    assert first.startswith(
        f"Speed & care goes with the largest share of what 6 drivers explain of Satisfaction, "
        f"{100 * top['share']:.1f} % (95 % interval "
    )
    assert rest[0].startswith("It is ahead of every other driver; together they account for ")
    assert rest[0].endswith("n = 1,500") and "of the variance (95 % interval " in rest[0]
    assert rest[1].startswith(
        f"Among all 1,500, a point more of its rating goes with {top['per_point']:.2f} (95 % interval "
    )
    assert rest[1].endswith("more points of Satisfaction, the others held.")


def test_equal_drivers_are_named_as_tied():
    found = driver_importance(survey(800, slopes=(0.8, 0.8)), **ASK)
    assert re.search(r"It is tied with d[12]; together the drivers", found.sentence())
    tied = found.checks().set_index("check").loc["drivers tied with the first"]
    assert (tied["value"], tied["ok"], tied["level"]) == (1, True, "info")
    whole = driver_importance(survey(800, slopes=(0.5,) * 3), outcome="overall", drivers=DRIVERS[:3], seed=1)
    assert "but it is a tie. No driver can be told apart from it; together" in whole.sentence()
    assert whole.established is False


def test_nothing_there_is_not_established():
    found = driver_importance(survey(400), **ASK)
    assert found.sentence().startswith("Not established: the 6 drivers go with overall no more than chance gives (p = ")
    assert found.sentence().endswith("no order of the drivers should be read from it.")
    assert found.established is False


def test_a_halo_without_drivers_is_said_to_be_one():
    found = driver_importance(survey(800, halo=1.0), **ASK)
    said = "Not established which driver matters: what all ratings have in common accounts for it (halo, p = "
    assert found.sentence().startswith(said) and found.established is False


def test_without_replicates_there_is_no_interval():
    found = driver_importance(survey(400, slopes=(1,)), outcome="overall", drivers=DRIVERS, n_boot=0, seed=None)
    assert "No interval was asked for; together the drivers" in found.sentence() and found.established is None
    assert found.tidy()[["conf_low", "share_high", "rank_low"]].isna().all(axis=None)
    found.plot()
    plt.close("all")


def test_figures_draw_the_table(found):
    use = found.tidy().sort_values("rank")
    ax = found.plot()
    assert np.asarray(ax.collections[-1].get_offsets())[:, 0] == pytest.approx(100 * use["share"].to_numpy())
    assert [t.get_text() for t in ax.get_yticklabels()][0] == "Speed & care"
    assert (
        (ax.get_title("left") or ax.get_title())
        .replace("\n", " ")
        .startswith("Speed & care goes with the largest share")
    )
    heat = found.plot_ranks()
    assert np.asarray(heat.collections[0].get_array()).sum() == pytest.approx(600)
    plt.close("all")


def test_same_seed_same_table_other_seed_other_ends(found):
    table = survey(1500, slopes=(1.0, 0.5, 0.5))
    pd.testing.assert_frame_equal(found.tidy(), driver_importance(table, **ASK).tidy())
    assert not found.tidy()["conf_low"].equals(driver_importance(table, **(ASK | {"seed": 2})).tidy()["conf_low"])


def test_signs_in_conflict_are_flagged():
    table = survey(2000, slopes=(1.2, 0, 0, 0, 0, -0.3), loading=0.9)
    found = driver_importance(table, **ASK)
    row = found.tidy().set_index("term").loc["d6"]
    assert row["correlation"] > 0 > row["coefficient"] and row["direction"] == "conflict"
    assert found.checks().set_index("check").loc["sign of coefficient against correlation", "value"] == "d6"


# --- dependent, constant, missing, never met -------------------------------------------------------------------------


def test_constant_and_duplicate_drivers_give_the_right_parts_and_a_note():
    table = survey(400, slopes=(1, 0.5))
    plain = driver_importance(table, outcome="overall", drivers=["d1", "d2"], n_boot=0, seed=None).tidy()["estimate"]
    more = driver_importance(
        table.assign(d3=5.0, d4=table["d1"]), outcome="overall", drivers=["d1", "d2", "d3", "d4"], n_boot=100, seed=1
    )
    parts = more.tidy().set_index("term")["estimate"]
    assert parts["d3"] == pytest.approx(0, abs=1e-12) and parts["d1"] == pytest.approx(parts["d4"])
    assert parts.sum() == pytest.approx(plain.sum())
    assert more.tables()["methods"]["relative_weights"].sum() == pytest.approx(1)
    check = more.checks().set_index("check").loc["drivers constant or a sum of others"]
    assert check["value"] == "d1, d3 and d4" and not check["ok"]


def test_only_drivers_that_are_constant_or_in_a_sum_are_named_as_such():
    """Numerical noise of a singular matrix, touchpoints always met together, and blocks name nobody else."""
    rng = np.random.default_rng(2)
    t = survey(500, p=12, slopes=(1, 0.5)).assign(flat=3.0, copy=lambda t: t["d1"], also=lambda t: t["d1"] + t["d2"])
    named = [f"d{k}" for k in range(1, 13)] + ["flat", "copy", "also"]
    check = driver_importance(t, outcome="overall", drivers=named, n_boot=0, seed=1).checks().set_index("check")
    value = check.loc["drivers constant or a sum of others", "value"]
    assert value == "d1, d2, flat, copy and also"
    together = rng.random(500) < 0.6
    met = t.assign(**{f"{d}_met": together for d in ("d1", "d2")})
    met[["d1", "d2"]] = met[["d1", "d2"]].where(pd.Series(together), axis=0)
    ask = dict(outcome="overall", n_boot=0, seed=1)
    for table, options in (
        (met, {"drivers": DRIVERS}),
        (t, {"drivers": [*DRIVERS, "copy"], "blocks": {"b": ["d1", "copy"]}}),
    ):
        check = driver_importance(table, **ask, **options).checks().set_index("check")
        assert check.loc["drivers constant or a sum of others", "value"] == "none"


def test_a_sum_of_two_others_is_divided_as_if_it_were_small_noise_away():
    table = survey(500, slopes=(1, 0.5)).assign(d3=lambda t: t["d1"] + t["d2"])
    near = table.assign(d3=table["d3"] + 1e-4 * np.random.default_rng(0).normal(size=500))
    parts = [
        driver_importance(t, outcome="overall", drivers=["d1", "d2", "d3"], n_boot=0, seed=None).tidy()["estimate"]
        for t in (table, near)
    ]
    np.testing.assert_allclose(parts[0], parts[1], atol=0.01)


def test_with_complete_data_the_treatment_of_missing_changes_nothing():
    table = survey(300, slopes=(1, 0.5))
    em, listwise = (driver_importance(table, **ASK, missing=m, n_boot=100).tidy() for m in ("em", "listwise"))
    pd.testing.assert_frame_equal(em, listwise)


def test_em_recovers_the_parts_that_listwise_loses_under_missing_at_random():
    table = survey(20_000, slopes=(1, 0.5))
    truth = driver_importance(table, **ASK | {"n_boot": 0}).tidy()["estimate"]
    holes = table.copy()
    holes.loc[(table["overall"] > 1) & (np.random.default_rng(1).random(len(table)) < 0.8), "d1"] = np.nan
    em, listwise = (
        driver_importance(holes, **ASK | {"n_boot": 0}, missing=m).tidy()["estimate"] for m in ("em", "listwise")
    )
    assert np.abs(em - truth).max() < 0.01 < 0.04 < np.abs(listwise - truth).max()
    found = driver_importance(holes, **ASK | {"n_boot": 0}).tables()["missing"]
    assert (
        found.loc[found["method"] == "listwise", "n"].iloc[0]
        < found.loc[found["method"] == "em", "n"].iloc[0]
        == 20_000
    )


def test_never_met_recovers_the_slope_among_those_who_met():
    table = survey(8000, slopes=(1, 0.5), noise=0.5)
    met = np.random.default_rng(2).random(8000) < 0.4
    table["overall"] -= np.where(met, 0, 0.5 * (table["d1"] - table["d1"].mean()))
    table["d1"], table["d1_met"] = table["d1"].where(met), met
    found = driver_importance(table, **ASK | {"n_boot": 0})
    row = found.tidy().set_index("term").loc["d1"]
    assert row["per_point"] == pytest.approx(0.5, abs=0.02) and row["share_exposed"] == pytest.approx(met.mean())
    assert found.glance()["n"].item() == 8000
    assert driver_importance(table, **ASK | {"n_boot": 0}, not_applicable="exclude").glance()["n"].item() == met.sum()


def test_airport_2017_keeps_494_rows_if_never_used_is_missing_and_2387_if_only_skips_are(shared):
    table, drivers = airport(shared, 2017)
    ask = dict(outcome="overall", drivers=drivers, n_boot=0, seed=None, weight="w")
    n = [
        driver_importance(table, **ask, **o).glance()["n"].item()
        for o in ({"missing": "listwise", "not_applicable": "exclude"}, {"missing": "listwise"}, {})
    ]
    assert n == [494, 2387, 2688]


def airport(shared, year):
    data = pd.read_csv(shared / f"data/airport/survey_{year}.csv", encoding="latin-1", low_memory=False)
    data.columns = data.columns.str.strip()
    drivers = [c for c in data if c.startswith("Q7") and c != "Q7ALL"]
    table = pd.DataFrame(
        {"overall": pd.to_numeric(data["Q7ALL"], errors="coerce").replace(0, np.nan), "w": data["WEIGHT"]}
    )
    for c in drivers:
        table[c] = data[c].where(data[c].between(1, 5))
        table[c + "_met"] = data[c] != 6
    return table, drivers


# --- what it refuses -------------------------------------------------------------------------------------------------
# What every analysis refuses stands in test_drivers_refusals.py.

FEW, BASE = TooFewRespondents, "rows that the study's minimum base asks for"
ALL = "blocks= puts all drivers into one block; at least 2 terms are needed to divide anything"
ONE_OF_TWO = {"a": ["d1"], "b": ["d1", "d2"]}


@pytest.mark.parametrize(
    "message, kind, options",
    [
        ("drivers= is empty; name the columns whose part is asked for", DataProblem, {"drivers": []}),
        (
            "drivers= names 1 column(s); at least 2 are needed to divide anything among them",
            DataProblem,
            {"drivers": ["d1"]},
        ),
        ("'d1' is named twice among drivers= and always=; name each driver once", DataProblem, {"always": ["d1"]}),
        (
            "n_boot=20 replicates are too few for an interval; ask for at least 100, or 0 for none",
            DataProblem,
            {"n_boot": 20},
        ),
        ("missing='drop' is not one of 'em', 'listwise'", DataProblem, {"missing": "drop"}),
        ("blocks['a'] holds 'x', which is not among drivers=", DataProblem, {"blocks": {"a": ["x"]}}),
        ("'d1' is in blocks 'a' and 'b'; a driver belongs to one block", DataProblem, {"blocks": ONE_OF_TWO}),
        ("'d1' is in blocks 'a' and 'a'; a driver belongs to one block", DataProblem, {"blocks": {"a": ["d1", "d1"]}}),
        ("blocks['a'] must be a list of drivers; found 'd1'", DataProblem, {"blocks": {"a": "d1"}}),
        (ALL, DataProblem, {"blocks": {"all": DRIVERS}}),
        (
            "block 'd3' has the name of a driver that is not in it; rename the block",
            DataProblem,
            {"blocks": {"d3": ["d1", "d2"]}},
        ),
        (f"driver_importance rests on fewer than the 500 {BASE}; nothing is shown", FEW, {"min_base": 500}),
    ],
)
def test_a_question_that_cannot_be_asked(message, kind, options):
    refused(message, kind=kind, **options)


@pytest.mark.parametrize(
    "message, change, options",
    [
        (
            f"'d2' is answered by fewer than the 10 {BASE}; leave it out",
            {"d2": lambda t: t["d2"].where(t.index < 4)},
            {"min_base": 10},
        ),
        (
            "'d1' holds 400 different texts, too many for a categorical driver (at most 30); group them first",
            {"d1": [f"t{k}" for k in range(400)]},
            {},
        ),
        (
            "w is missing, negative or not a number in 1 of 400 answered rows (first: row 2); give every row a weight "
            "of zero or more, or drop the row",
            {"w": np.where(np.arange(400) == 2, -1.0, 1.0)},
            {"weight": "w"},
        ),
        (
            "c is missing in 3 of 400 answered rows; the design must be known for every row",
            {"c": lambda t: t.index.to_series().where(t.index > 2)},
            {"cluster": "c"},
        ),
        (
            "'d2' is answered by nobody who met it; leave it out",
            {"d2": lambda t: t["d2"].where(t.index < 4), "d2_met": lambda t: t.index > 3},
            {},
        ),
    ],
)
def test_answers_that_cannot_be_used(message, change, options):
    refused(message, survey().assign(**change), kind=DataProblem, **options)


def test_too_few_rows():
    refused("driver_importance needs at least 100 usable rows; found 60", survey(60), FEW)
    refused("driver_importance needs at least 100 complete rows; found 60", survey(60), FEW, missing="listwise")
    narrow = "driver_importance has 6 driver columns and 6 rows; it needs more rows than columns"
    refused(narrow, survey(6), FEW, min_rows=2)


def test_two_drivers_are_enough():
    found = driver_importance(survey(300, slopes=(1,)), outcome="overall", drivers=["d1", "d2"], seed=1, n_boot=100)
    assert found.tidy()["rank"].tolist() == [1, 2]


def test_beyond_the_exact_range_without_a_seed():
    wide = survey(400, p=60)
    many = "60 drivers are more than the 22 whose subsets can all be computed"
    said = f"{many}; give a seed for sampled orders, or group drivers into blocks"
    refused(said, wide, drivers=list(wide.columns[:60]), n_boot=0, seed=None)


def test_sixty_drivers_with_a_seed_and_in_blocks():
    wide = survey(600, p=60, slopes=(1,) * 3)
    names = list(wide.columns[:60])
    found = driver_importance(wide, outcome="overall", drivers=names, n_boot=0, seed=1)
    assert set(found.tidy().nlargest(3, "estimate")["term"]) == {"d1", "d2", "d3"}
    blocks = {"service": names[:30], "product": names[30:]}
    assert driver_importance(wide, outcome="overall", drivers=names, blocks=blocks, n_boot=0, seed=None).tidy()[
        "rank"
    ].tolist() == [1, 2]


def test_a_sample_that_is_the_whole_population_has_no_error():
    found = driver_importance(survey(400, slopes=(1,)).assign(f=1.0), **ASK, fpc="f")
    table = found.tidy()
    np.testing.assert_allclose(table["conf_low"], table["estimate"])
    np.testing.assert_allclose(table["conf_high"], table["estimate"])
    assert found.glance()["p_value"].item() == 0 and found.established


def test_too_few_clusters_give_no_verdict():
    """Eight clusters and six drivers: the test has no denominator, which is no evidence that nothing is there."""
    t = survey(800, slopes=(1.0, 0.5, 0.5)).assign(shop=np.arange(800) % 8)
    found = driver_importance(as_survey(t, cluster="shop"), **ASK)
    assert found.sentence().startswith("No verdict: too few clusters to test whether 6 drivers go with overall")
    assert np.isnan(found.glance()["p_value"].item()) and found.established is False
    assert "no more than chance" not in found.sentence()
    stopped = found.checks().query("level == 'stops' and not ok")
    assert stopped["check"].tolist() == ["sampling units to test the model"]


def test_a_domain_keeps_its_design_and_is_said():
    t = survey(800, slopes=(1,)).assign(g=np.arange(800) % 2, shop=np.arange(800) // 10)
    whole = as_survey(t, cluster="shop")
    found = driver_importance(whole.where("g == 1"), **ASK | {"n_boot": 200})
    assert found.glance()["n"].item() == 400 and found.id == "driver_importance overall where g == 1"
    alone = driver_importance(as_survey(t[t["g"] == 1], cluster="shop"), **ASK | {"n_boot": 200})
    np.testing.assert_allclose(found.tidy()["estimate"], alone.tidy()["estimate"])


def test_rows_of_weight_zero_are_no_respondents():
    table = survey(400, slopes=(1,)).assign(w=np.repeat([1.0, 0.0], 200))
    found = driver_importance(as_survey(table, weight="w"), **ASK | {"n_boot": 0})
    assert found.glance()["n"].item() == 200
    np.testing.assert_allclose(
        found.tidy()["estimate"], driver_importance(table[:200], **ASK | {"n_boot": 0}).tidy()["estimate"]
    )


# --- how sure --------------------------------------------------------------------------------------------------------


def test_noise_floor_is_what_a_random_driver_gets_in_simulation():
    table = survey(200, slopes=(1, 0.5), p=4)
    rng = np.random.default_rng(5)
    columns = table.to_numpy()
    matrices = np.stack([np.corrcoef(np.column_stack([rng.normal(size=200), columns]).T) for _ in range(4000)])
    drawn = exact_parts(packed(matrices), [1] * 5)[0]

    mean, high = noise_floor(mean_by_size(residual_variances(packed(np.corrcoef(columns.T)), [1] * 4)[:, 0]), 200)
    assert mean == pytest.approx(drawn.mean(), rel=0.06)
    assert np.mean(drawn <= high) == pytest.approx(0.95, abs=0.015)


def test_simultaneous_differences_of_equal_terms_hold_together_95_times_in_100():
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(400):
        estimate = rng.normal(size=8)
        low, high = simultaneous_differences(estimate, estimate + rng.normal(size=(300, 8)), 0.95)[3:]
        inside += bool(np.all((low <= 0) & (high >= 0)))
    assert inside / 400 == pytest.approx(0.95, abs=0.03)
