"""Numbers that looked right and were not: whose money, which sign, which base, which model, which clock."""

import re

import numpy as np
import pandas as pd
import pytest
from test_loyalty import fit, shop
from test_loyalty_panel import PANEL, RETENTION, leavers, panel

import cxresearch as cx
from cxresearch.loyalty.models import MODELS

ASKED = {"revenue": "revenue", "loyalty": "nps"}
SHORT = {"seed": 1, "n_boot": 100}


def worth(survey, **options):
    return cx.worth_of_a_point(survey, **ASKED, **SHORT, **options)


# --- whose money ---------------------------------------------------------------------------------------------------------


def test_the_worth_is_that_of_those_who_answered_or_of_a_declared_population_and_the_cost_stands_on_the_same_base():
    table = shop(n=1200, slope=0.08)
    answered = worth(cx.as_survey(table, currency="PLN", weight="w"), cost=1000.0)
    everybody = worth(cx.as_survey(table, currency="PLN", weight="w", population=48_000), cost=40_000.0)
    a, e = answered.glance().iloc[0], everybody.glance().iloc[0]
    assert a["worth"] == pytest.approx(1200 * a["money"]) and a["customers"] == 1200
    assert e["worth"] == pytest.approx(40 * a["worth"]) and e["customers"] == 48_000
    assert e["break_even"] == pytest.approx(a["break_even"])
    assert "for the 1,200 customers who answered together" in answered.sentence()
    assert "for all 48,000 customers, by weight, together" in everybody.sentence()
    assert (
        "PLN more revenue" in answered.sentence() and "cost of 1,000 PLN for the same customers" in answered.sentence()
    )
    assert "every customer" not in answered.sentence() + everybody.sentence()


@pytest.mark.parametrize("weight", [None, "w"])
def test_the_worth_in_a_part_of_the_survey_is_that_of_the_part_of_the_population_and_says_so(weight):
    table = shop(n=1200, slope=0.08)
    part = worth(cx.as_survey(table, weight=weight, population=48_000).where("region == 'east'"))
    w, east, g = table["w"] if weight else pd.Series(np.ones(1200)), table["region"] == "east", part.glance().iloc[0]
    people = 48_000 * w[east].sum() / w.sum()
    assert (g["customers"], g["worth"]) == (int(people), pytest.approx(people * g["money"]))
    assert f"for the {int(people):,} customers, by weight, with region == 'east' together" in part.sentence()


def test_money_per_customer_names_the_customers_it_is_averaged_over(root):
    data = cx.open_study(root / "data" / "example" / "study.yml")
    table = data.matched("responses", "customers", keep="latest")
    got = cx.fit_loyalty_revenue(table, revenue="revenue", loyalty="recommend", controls=["affluence"])
    rising = int((table.table["recommend"].dropna() <= 9).sum())
    assert got.glance()["rising"][0] == rising == 904
    assert (
        "6.43 EUR more" in got.sentence()
        and "on the average of the 904 customers who can rise a point" in got.sentence()
    )


def test_what_a_hidden_cause_leaves_is_said_to_be_another_models():
    got = worth(shop(n=1200, slope=0.08), controls=["affluence"])
    assert "by the linear model in levels, another model than the one that made the number" in got.sentence()


def test_where_the_line_is_not_straight_the_worth_is_an_average_and_the_sentence_says_where_the_change_lies():
    rng = np.random.default_rng(8)
    score = rng.integers(0, 11, 3000)
    mean = np.exp(3 + np.where(score >= 9, 0.8, 0.0))
    table = pd.DataFrame({"nps": score, "revenue": rng.gamma(2, mean / 2)})
    for got in (worth(table), fit(table)):
        assert "most of the change lies between passive and promoter, so this is an average" in got.sentence()
    assert "goes, on the average, with" in worth(table).sentence()
    assert not worth(table).checks().set_index("check").loc["curvature (p)", "ok"]


def test_where_choices_read_on_both_sides_of_zero_the_headline_is_refused():
    table = shop(n=3000, slope=-0.06, confounding=0.6)
    got = worth(table, controls=["affluence"])
    assert got.glance()["worth_high"][0] < 0 and got.established is False
    assert "not established: other choices of model, controls and capping read on both sides of zero" in got.sentence()
    curve = cx.specification_curve(table, **ASKED, controls=["affluence"])
    assert curve.established is False and "is not established: 16 choices read from -" in curve.sentence()


# --- which sign ----------------------------------------------------------------------------------------------------------


def falling(**options):
    return shop(**({"n": 2000, "slope": -0.09, "confounding": 0.0} | options))


@pytest.mark.parametrize(
    "found",
    [
        lambda: fit(falling(), controls=["affluence"]),
        lambda: worth(falling(), controls=["affluence"]),
        lambda: cx.specification_curve(falling(), **ASKED, controls=["region"]),
        lambda: cx.lead_lag(panel(slope=-0.12), **PANEL),
        lambda: fit(shop(slope=-0.02, confounding=0.0, seed=5)),
        lambda: cx.fit_retention(leavers(), **RETENTION),
    ],
)
def test_less_is_said_as_less_with_an_interval_of_its_size(found):
    got = found()
    sentence = got.sentence()
    assert not re.search(r"-[\d.]+ (%|EUR)? ?(more|less)", sentence)
    assert re.search(r"[\d.]+ % less|[\d,]+ less|points lower", sentence), sentence
    if got.established and got.function != "lead_lag":  # whose lead is not beyond chance
        assert not re.search(r"interval -", sentence)
    assert len(re.findall(r"\.(?:\s|$)", sentence)) <= 3


# --- which base ----------------------------------------------------------------------------------------------------------


def test_retention_on_rows_that_repeat_a_customer_is_refused(root):
    table = leavers().assign(who=np.arange(1500) % 1200)
    with pytest.raises(cx.DataProblem) as caught:
        cx.fit_retention(cx.as_survey(table, respondent="who"), **RETENTION)
    assert str(caught.value) == (
        "300 of 1500 rows repeat a customer (who), whose leaving would count more than once; keep one answer of each, for "
        "example with matched(..., keep='latest')"
    )
    data = cx.open_study(root / "data" / "example" / "study.yml")
    asked = dict(loyalty="recommend", asked="asked_on", until="until", observed_until="2025-12-31")
    every = data.matched("responses", "customers", keep="all")
    for given in (every, every.table):  # a plain table, too, has a column that says whose the row is
        with pytest.raises(cx.DataProblem, match=r"^763 of 2162 rows repeat a customer \(customer\)"):
            cx.fit_retention(given, **asked)
        with pytest.raises(cx.DataProblem, match=r"^763 of 2162 rows repeat a customer \(customer\), whose revenue"):
            cx.promoter_value(given, "recommend", value="revenue")
    with pytest.raises(cx.DataProblem, match=r"^763 of 2162 rows repeat a customer \(customer\), whose revenue"):
        cx.worth_of_a_point(every.table, revenue="revenue", loyalty="recommend", n_boot=100, seed=1)
    assert every.respondent == "customer"  # a person with several rows, whom the floor and the errors count once
    g = cx.fit_retention(data.matched("responses", "customers", keep="latest"), **asked).glance().iloc[0]
    assert (g["n"], g["leaving"]) == (1390, 108) or g["leaving"] <= 109


def test_a_person_with_several_rows_is_one_customer_whose_rows_err_together():
    table = shop(n=800, slope=0.08).assign(who=np.arange(800))
    twice = pd.concat([table, table], ignore_index=True)
    once, both = (worth(cx.as_survey(t, respondent="who")) for t in (table, twice))
    assert both.glance()["customers"][0] == 800
    assert both.glance()["worth"][0] == pytest.approx(once.glance()["worth"][0])
    assert both.glance()["worth_high"][0] == pytest.approx(once.glance()["worth_high"][0], rel=0.1)
    errors = [fit(cx.as_survey(t, respondent="who")).tidy()["std_error"][1] for t in (table, twice)]
    assert errors[1] == pytest.approx(errors[0], rel=0.01)


def test_rows_of_weight_zero_do_not_count():
    table = shop()
    table["w"] = np.where(np.arange(1500) < 400, table["w"], 0.0)
    got = fit(cx.as_survey(table, weight="w"))
    assert got.glance()["n"][0] == 400 and got.cases.dropped == {"w is 0": 1100}
    alone = fit(cx.as_survey(table[:400], weight="w"))
    assert got.tidy()["std_error"].tolist() == pytest.approx(alone.tidy()["std_error"].tolist())


def test_the_floor_counts_persons_not_rows():
    table = shop(n=600).assign(who=np.arange(600))
    table.loc[table["nps"] >= 9, "who"] = 0  # all promoters' rows are one person's
    got = fit(cx.as_survey(table, respondent="who", min_base=10))
    groups = got.tables()["groups"].set_index("group")["n"]
    assert groups.isna()["promoter"] and groups.isna().sum() >= 2 and got.suppressed >= 2


# --- which model ---------------------------------------------------------------------------------------------------------


def params(results) -> np.ndarray:
    parts = results.values() if isinstance(results, dict) else [results]
    return np.concatenate([np.asarray(part.params, dtype=float) for part in parts])


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", ["linear", "groups"])
def test_model_gives_statsmodels_results_with_the_coefficients_of_tidy(model, shape, weight):
    table = shop().assign(w=lambda t: 40 * t["w"])  # frequency weights of this size would change the errors, not these
    got = fit(cx.as_survey(table, weight=weight), controls=["affluence", "region"], model=model, shape=shape)
    tidy = got.tidy()
    ours = tidy.loc[tidy["part"] != "smear", "estimate"].to_numpy()
    assert ours == pytest.approx(params(got.model), abs=1e-8)
    results = list(got.model.values()) if isinstance(got.model, dict) else [got.model]
    assert all(type(part).__module__.startswith("statsmodels.") for part in results)
    assert list(results[0].params.index) == tidy["term"].tolist()[: len(results[0].params)]


def test_other_findings_give_their_models_or_the_reason():
    table = shop()
    models = cx.compare_revenue_models(table, **ASKED, controls=["affluence"])
    for name, results in models.model.items():
        assert params(results)[:3] == pytest.approx(
            fit(table, controls=["affluence"], model=name).tidy()["estimate"].to_numpy()[:3], abs=1e-8
        )
    left = cx.fit_retention(leavers(), **RETENTION)
    assert left.model.params["nps"] == pytest.approx(left.tidy()["estimate"][0], abs=1e-8)
    assert worth(table).model.params["nps"] == pytest.approx(fit(table).tidy()["estimate"][1], abs=1e-8)
    curve = cx.specification_curve(table, **ASKED)
    default = curve.tidy().loc[curve.glance()["rank"][0] - 1, "percent"]
    assert 100 * np.expm1(curve.model.params["nps"]) == pytest.approx(default, abs=1e-6)
    for without in (fit(table, effects=["branch"]), cx.lead_lag(panel(), **PANEL)):
        with pytest.raises(cx.DataProblem):
            _ = without.model


def test_parks_check_of_two_parts_is_that_of_the_amounts():
    rng = np.random.default_rng(3)
    n = 6000
    x = rng.normal(size=n)
    score = np.clip(np.round(6 + 2 * x + rng.normal(size=n)), 0, 10)
    bought = rng.random(n) < 1 / (1 + np.exp(2 - 0.5 * score))
    table = pd.DataFrame(
        {"nps": score, "x": x, "revenue": np.where(bought, rng.gamma(2, np.exp(3 + 0.2 * score + 0.5 * x) / 2), 0)}
    )
    checks = fit(table, controls=["x"], model="two_part").checks().set_index("check")
    row = checks.loc["variance of the amounts grows as this power of their mean (Park)"]
    assert row["ok"] and row["value"] == pytest.approx(2, abs=0.25)


@pytest.mark.parametrize("form", ["words", "one hot", "codes"])
@pytest.mark.parametrize(("of", "kind", "cuts"), [("revenue", "revenue", (-1, 0, 50, 150, np.inf)),
                                                  ("nps", "loyalty score", (-1, 5, 6, 8, 10))])  # fmt: skip
def test_a_control_made_of_bands_of_the_revenue_or_the_score_is_refused(of, kind, cuts, form):
    table = shop()
    band = pd.cut(table[of], cuts, labels=["none", "low", "middle", "high"]).astype(str)
    codes = band.map({"none": 0, "low": 1, "middle": 2, "high": 3})
    table = table.assign(band={"words": band, "one hot": (band == "middle").astype(int), "codes": codes}[form])
    with pytest.raises(cx.DataProblem, match=f"and nobody else: it is made of the {kind}; leave it out"):
        fit(table, controls=["band"])
    assert fit(table.assign(plan=table["region"]), controls=["plan"]).established


# --- which clock ---------------------------------------------------------------------------------------------------------


def test_the_studys_own_dates_decide_and_not_the_day_of_the_run():
    table = shop().assign(asked=pd.Timestamp("2199-01-01"))
    got = fit(table, asked="asked", revenue_from="2199-02-01")
    assert got.established and "scores were given 2199-01-01, and revenue counts from 2199-02-01 on" in got.sentence()
    late = fit(table, asked="asked", revenue_from="2025-01-01")
    assert late.established is False and "after the revenue window began for 100 % of customers" in late.sentence()
    with pytest.raises(cx.DataProblem, match="asked holds 1500 values that are no dates"):
        fit(table.assign(asked="soon"), asked="asked")
    with pytest.raises(
        cx.DataProblem, match="the start of the revenue window, 'spring', is neither a column nor a date"
    ):
        fit(table, asked="asked", revenue_from="spring")


def test_days_with_a_time_zone_are_compared_with_days_without_one():
    table = shop().assign(asked=pd.Timestamp("2024-12-31 23:30", tz="Europe/Warsaw"))
    assert fit(table, asked="asked", revenue_from="2025-01-01").established
    zoned = leavers().assign(asked=lambda t: t["asked"].dt.tz_localize("Europe/Warsaw"))
    assert cx.fit_retention(zoned, **RETENTION).sentence() == cx.fit_retention(leavers(), **RETENTION).sentence()


@pytest.mark.parametrize("end", ["2199-12-31", "2026-06-30"])
def test_an_end_of_observation_that_lies_beyond_the_data_is_refused(end):
    with pytest.raises(
        cx.DataProblem, match=f"observed_until='{end}' lies .* days after the last day on which the data show"
    ):
        cx.fit_retention(leavers(), **(RETENTION | {"observed_until": end}))
    seen = leavers().assign(seen=pd.Timestamp(end))
    with pytest.raises(cx.DataProblem, match="observed_until='seen' lies"):
        cx.fit_retention(seen, **(RETENTION | {"observed_until": "seen"}))
