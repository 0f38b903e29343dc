"""Panels and retention: what comes first, and who stays."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import cxresearch as cx
from cxresearch.loyalty import fit_loyalty_revenue, fit_retention, lead_lag, worth_of_a_point
from cxresearch.loyalty.cases import cases_of
from cxresearch.loyalty.panel import shifted, with_means
from cxresearch.loyalty.resample import resample
from cxresearch.loyalty.retention import durations
from cxresearch.survey import as_survey

PANEL = {"revenue": "revenue", "loyalty": "nps", "customer": "customer", "period": "period"}


def panel(seed=0, n=400, periods=6, slope=0.05, backwards=0.0):
    """Customers whose level raises score and revenue; with `backwards` the score answers to the last revenue."""
    rng = np.random.default_rng(seed)
    level, before, parts = 0.7 * rng.normal(size=n), rng.normal(size=n), []
    for t in range(periods):
        score = np.clip(np.round(7 + 0.8 * level + backwards * before + 1.5 * rng.normal(size=n)), 0, 10)
        mean = np.exp(4 + slope * score + level + 0.1 * t)
        revenue = np.where(rng.random(n) < 0.2, 0, rng.gamma(1.2, mean / 1.2 / 0.8))
        before = np.log1p(revenue) - np.log1p(revenue).mean()
        parts.append(
            pd.DataFrame({"customer": np.arange(n), "period": f"2024Q{t + 1}", "nps": score, "revenue": revenue})
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def forward():
    return lead_lag(panel(), **PANEL)


@pytest.fixture(scope="module")
def backward():
    return lead_lag(panel(backwards=0.5), **PANEL)


def test_effects_recover_the_planted_5_percent_that_pooling_overstates(forward):
    t = forward.tables()["models"].set_index("term")
    truth = 100 * np.expm1(0.05)
    for name in ("customer means beside the score (Mundlak)", "customer and period effects"):
        assert t.loc[name, "percent_low"] < truth < t.loc[name, "percent_high"]
    assert t.loc["pooled, period effects", "percent_low"] > truth
    assert forward.checks().set_index("check").loc["customers' means add nothing (Mundlak, Wald p)", "value"] < 0.001


def test_a_placebo_lead_without_reverse_causation_lets_the_link_stand(forward):
    assert forward.glance()["p_lead"][0] > 0.05
    assert forward.sentence().startswith("The next period's score does not go with this period's revenue")


def test_a_lead_that_explains_the_past_takes_the_headline_away(backward):
    assert backward.glance()["p_lead"][0] < 0.001
    assert backward.sentence().startswith(
        "What a point goes with is not established: the next period's score already goes with"
    )
    got = worth_of_a_point(panel(backwards=0.5, n=200), **PANEL, seed=1, n_boot=100)
    assert "the next period's score already goes with revenue (p < 0.001)" in got.sentence()


def test_lead_and_lag_are_the_neighbouring_periods_of_the_same_customer():
    small = pd.DataFrame({"customer": ["a", "a", "a", "b"], "period": [1, 2, 4, 2], "nps": [1.0, 2.0, 3.0, 9.0]})
    table, _, _ = shifted(small.assign(revenue=1.0), loyalty="nps", customer="customer", period="period")
    assert table["nps after"].tolist()[:2] == [2.0, 3.0] and np.isnan(table["nps after"][3])
    assert np.isnan(table["nps before"][0]) and table["nps before"].tolist()[1:3] == [1.0, 2.0]


def test_the_lead_equals_poisson_with_dummies_of_customers_and_periods():
    import statsmodels.api as sm

    some = panel(n=30, seed=4)
    table, terms, effects = shifted(some, loyalty="nps", customer="customer", period="period")
    table = table.dropna()
    alive = table.groupby("customer")["revenue"].transform("sum") > 0
    table = table[alive]
    dummies = np.column_stack([pd.get_dummies(table["customer"]), pd.get_dummies(table["period"]).iloc[:, 1:]]).astype(
        float
    )
    X = np.column_stack([table[["nps", "nps before", "nps after"]], dummies])
    reference = sm.GLM(table["revenue"].to_numpy(), X, family=sm.families.Poisson()).fit(tol=1e-12)
    finding = lead_lag(some, **PANEL, min_rows=50)
    got = finding.tidy().set_index("term")["estimate"]
    assert [got["now"], got["lag"], got["lead"]] == pytest.approx(list(reference.params[:3]), abs=1e-6)
    with pytest.raises(cx.DataProblem, match="statsmodels has no absorbed intercepts"):
        _ = finding.model


@pytest.mark.parametrize("periods", [2, 3])
def test_short_panels_lose_the_lag_or_the_customer_effects_and_say_so(periods):
    got = lead_lag(panel(periods=periods), **PANEL)
    assert "lag" not in set(got.tidy()["term"])
    assert got.glance()["method"][0] == (
        "Poisson with customer and period effects" if periods == 3 else "Poisson with period effects"
    )


def refused(function, *args, **options):
    with pytest.raises(cx.DataProblem) as caught:
        function(*args, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.concat([panel(n=120), panel(n=120)[:3]], ignore_index=True),
         "the panel holds 3 rows that repeat a customer in a period; keep one row for each"),
        (panel(periods=1), "period has one value; a lead needs a later period"),
    ],
)  # fmt: skip
def test_a_customer_twice_in_a_period_and_one_period_are_refused(table, message):
    assert refused(lead_lag, table, **PANEL) == message


def test_a_lagged_outcome_and_effects_are_never_combined():
    table = panel(n=120)
    table["last"] = table.groupby("customer")["revenue"].shift(1)
    message = (
        "control 'last' is the revenue of the period before; with customer effects it biases both (Nickell 1981): leave it out, "
        "or leave the effects out"
    )
    assert refused(lead_lag, table, controls=["last"], **PANEL) == message
    options = {"revenue": "revenue", "loyalty": "nps", "controls": ["last"], "effects": ["customer", "period"]}
    assert refused(fit_loyalty_revenue, table.sample(frac=1, random_state=1), **options) == message


def test_customers_without_any_revenue_are_left_out_of_effects_and_counted():
    table = panel(n=120)
    table.loc[table["customer"] < 5, "revenue"] = 0.0
    got = fit_loyalty_revenue(table, revenue="revenue", loyalty="nps", effects=["customer", "period"])
    assert got.cases.dropped["no revenue in any row of its customer"] >= 30
    assert "no revenue in any row of its customer" in got.checks()["value"][0]


def test_customer_means_that_go_with_revenue_say_that_effects_are_needed():
    got = lead_lag(panel(periods=2), **PANEL)  # too short for customer effects
    row = got.checks().set_index("check").loc["customers' means add nothing (Mundlak, Wald p)"]
    assert row["value"] < 0.05 and not row["ok"]
    assert row["limit"] == "at least 0.05, or customer effects in the model: below it they are needed"
    assert "customers differ, and there are too few periods of each to hold that constant" in got.sentence()
    shuffled = panel(periods=2, slope=0.0)
    shuffled["nps"] = np.random.default_rng(1).permutation(shuffled["nps"])
    alike = lead_lag(shuffled, **PANEL)
    assert alike.checks().set_index("check").loc["customers' means add nothing (Mundlak, Wald p)", "ok"]
    assert "Mundlak" not in alike.sentence()


def test_the_mundlak_test_takes_the_means_of_controls_that_vary_too():
    table, means = with_means(
        panel(n=20).assign(visits=np.arange(120) % 7, size=1.5), "customer", ("nps", "visits", "size")
    )
    assert means == ["customer mean of nps", "customer mean of visits"]
    assert table.loc[table["customer"] == 3, means[0]].tolist() == [table.loc[table["customer"] == 3, "nps"].mean()] * 6


def test_without_a_panel_the_finding_says_why_and_draws_nothing():
    why = pd.DataFrame({"reason": ["", "there is 1 wave, and a lead needs a later one"]})
    none = replace(as_survey(panel(n=5)[:0]), waterfall=why)
    got = lead_lag(none, **PANEL)
    assert got.sentence() == (
        "There is no lead to look at: there is 1 wave, and a lead needs a later one; whether nps or revenue came first rests on "
        "their dates alone."
    )
    assert not got.checks()["ok"].any() and got.glance()["n"][0] == 0 and not got.plot().lines
    short = lead_lag(replace(as_survey(panel(n=20)), waterfall=why), **PANEL)
    assert "lead_lag needs at least 100 complete rows; found 80" in short.sentence()
    with pytest.raises(cx.TooFewRespondents):
        lead_lag(panel(n=20), **PANEL)


def test_the_worth_in_a_panel_equals_refits_with_a_dummy_for_every_customer():
    import statsmodels.api as sm

    table = panel(n=40, periods=4)
    survey = as_survey(table, cluster="customer")
    s = cases_of(survey, revenue="revenue", loyalty="nps", effects=("customer", "period"), min_rows=1)
    got = resample(s, points=1, n_boot=100, seed=3)
    weights = next(iter(s.drawn.replicates(100, seed=3)))[7]
    kept = weights > 0
    dummies = [pd.get_dummies(s.effects[0][kept]), pd.get_dummies(s.effects[1][kept]).iloc[:, 1:]]
    X = np.column_stack([s.score[kept], *dummies]).astype(float)
    model = sm.GLM(s.y[kept], X, family=sm.families.Poisson(), var_weights=weights[kept])
    fitted = model.fit(tol=1e-13, tol_criterion="params")
    up = X.copy()
    up[:, 0] = np.minimum(up[:, 0] + 1, 10)
    difference = fitted.predict(up) - fitted.predict(X)
    assert got.draws[7] == pytest.approx(np.average(difference, weights=weights[kept]), rel=1e-6)
    assert got.error == pytest.approx(got.draws.std(), rel=0.3)


# --- retention -----------------------------------------------------------------------------------------------------------------


def leavers(seed=2, n=1500, slope=-0.15):
    rng = np.random.default_rng(seed)
    score = np.clip(np.round(7 + 2 * rng.normal(size=n)), 0, 10)
    asked = pd.Timestamp("2023-01-15") + pd.to_timedelta(rng.integers(0, 60, n), unit="D")
    chance = 1 / (1 + np.exp(3 - slope * (score - 7)))
    months = rng.geometric(chance)
    until = asked + pd.to_timedelta((months - 0.5) * 30.4375, unit="D").floor("D")
    return pd.DataFrame({"nps": score, "asked": asked, "until": until.where(until <= pd.Timestamp("2024-06-30"))})


RETENTION = {"loyalty": "nps", "asked": "asked", "until": "until", "observed_until": "2024-06-30"}


def test_retention_recovers_the_planted_odds_and_the_margin():
    got = fit_retention(leavers(), **RETENTION)
    row = got.tidy().iloc[0]
    assert row["conf_low"] < -0.15 < row["conf_high"]
    g = got.glance().iloc[0]
    assert g["marginal_low"] < g["marginal"] < g["marginal_high"] < 0
    assert "points lower (95 % interval 0." in got.sentence()


def test_retention_without_a_link_is_not_established():
    got = fit_retention(leavers(slope=0.0, seed=5), **RETENTION)
    assert got.sentence().startswith(
        "A link of nps and leaving is not established: the interval holds zero (n = 1,500). "
    )


def test_discrete_time_logit_equals_statsmodels_on_person_months():
    import statsmodels.api as sm

    rng = np.random.default_rng(3)
    table = leavers(n=400)
    table["until"] = table["asked"] + pd.Timedelta(days=10)
    table.loc[rng.random(400) < 0.6, "until"] = pd.NaT
    table["seen"] = table["asked"] + pd.Timedelta(days=20)  # one month each: an ordinary logit
    got = fit_retention(table, **(RETENTION | {"observed_until": "seen"}))
    reference = sm.Logit(table["until"].notna().astype(float), sm.add_constant(table["nps"])).fit(disp=0)
    assert got.tidy()["estimate"][0] == pytest.approx(reference.params["nps"], abs=1e-8)
    assert got.glance()["marginal"][0] == pytest.approx(100 * reference.get_margeff().margeff[0], abs=1e-6)


@pytest.mark.parametrize("design", [{}, {"cluster": "branch"}, {"strata": "stratum"}])
def test_retained_has_the_same_interval_whatever_the_unit_of_the_weights(design):
    rng = np.random.default_rng(4)
    table = leavers().assign(w=rng.gamma(2, 1, 1500), branch=np.arange(1500) % 60, stratum=np.arange(1500) % 3)
    once, hundred = (
        fit_retention(as_survey(table.assign(w=table["w"] * unit), weight="w", **design), **RETENTION).tables()[
            "retained"
        ]
        for unit in (1, 100)
    )
    pd.testing.assert_frame_equal(once, hundred, rtol=1e-12)
    assert (once["conf_low"] < once["retained"])[once["retained"] < 1].all()


def test_retained_without_a_design_has_greenwood_s_log_log_interval_statsmodels():
    from statsmodels.duration.survfunc import SurvfuncRight

    table, got = leavers(), fit_retention(leavers(), **RETENTION).tables()["retained"]
    frame = durations(table, **RETENTION)
    for group, (low, high) in zip(pd.unique(got["group"]), ((0, 6), (7, 8), (9, 10))):
        inside = frame[frame["nps"].between(low, high)]
        reference = SurvfuncRight(inside["months"], inside["left (0/1)"])
        own = got[got["group"] == group].set_index("month").loc[reference.surv_times]
        assert own["retained"].to_numpy() == pytest.approx(reference.surv_prob, abs=1e-12)
        reach = np.exp(1.959964 * reference.surv_prob_se / (own["retained"] * np.abs(np.log(own["retained"]))))
        assert own["conf_low"].to_numpy() == pytest.approx((own["retained"] ** reach).to_numpy(), abs=1e-8)


def asked_late(table, gone):
    return {"asked": table["asked"].where(~table.index.isin(np.flatnonzero(gone)[:4]), pd.Timestamp("2024-07-15"))}


def told_but_for_one_level(table, gone):
    # as in the public telephone tables, the middle score holds both
    middle = np.isin(ROWS, np.flatnonzero(gone)[:30]) | (~gone & (ROWS % 2 == 1))
    return {"nps": np.where(middle, 3, np.where(gone, 2, 9))}


ROWS = np.arange(1500)
SEPARATED = (
    "nps alone tells who left (perfect separation): a score recorded after the customer left, or computed from it, does this; find "
    "out when it was recorded"
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (asked_late, "nps was measured after the customer left in 4 of 1500 rows (asked later than until): such a score cannot foretell "
         "leaving; leave these rows out, or correct the dates"),
        (lambda table, gone: {"nps": np.where(gone, 2, 9)}, SEPARATED),
        (told_but_for_one_level, SEPARATED),
        (lambda table, gone: {"until": pd.NaT},
         "nobody left between the answer and 2024-06-30; leaving cannot be compared"),
    ],
)  # fmt: skip
def test_leaving_that_cannot_be_foretold_is_refused(change, message):
    table = leavers()
    assert (
        refused(fit_retention, table.assign(**change(table, table["until"].notna().to_numpy())), **RETENTION) == message
    )


def test_scores_at_which_everybody_left_take_the_headline_away():
    table = leavers()
    gone = np.flatnonzero(table["until"].notna())[:60]
    table["nps"] = np.clip(table["nps"], 1, 10)
    table.loc[gone, "nps"] = 0
    got = fit_retention(table, **RETENTION)
    assert "the score gives the leaving away (all 63 customers at 1 or less left)" in got.sentence()
    assert not got.glance()["established"][0]
    assert not got.checks().set_index("check").loc["score does not give the leaving away", "ok"]


def test_retention_curves_start_at_one_and_hide_small_bases():
    curves = fit_retention(as_survey(leavers(), min_base=10), **RETENTION).tables()["retained"]
    assert (curves[curves["month"] == 0]["retained"] == 1).all()
    assert curves["n"].min() >= 10
