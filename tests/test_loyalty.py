"""Revenue against loyalty: published numbers, planted truths, refusals word for word."""

import numpy as np
import pandas as pd
import pytest

import cxresearch as cx
from cxresearch.inference import e_value
from cxresearch.loyalty import fit_loyalty_revenue
from cxresearch.loyalty.cases import cases_of, natural_spline, scale_of
from cxresearch.loyalty.glm import LEVELS, Family, fit_glm
from cxresearch.loyalty.hidden import bias_of, bounds, levels_model, partial_r2, robustness_value
from cxresearch.loyalty.models import park
from cxresearch.loyalty.refusals import gives_away, leaks


def shop(seed=1, n=1500, slope=0.05, confounding=0.3, zeros=0.3):
    """Customers whose revenue rises by exp(slope) a point, with a cause that also raises the score."""
    rng = np.random.default_rng(seed)
    affluence = rng.normal(size=n)
    score = np.clip(np.round(7 + 1.2 * affluence + 2 * rng.normal(size=n)), 0, 10)
    mean = np.exp(4 + slope * score + confounding * affluence)
    revenue = np.where(rng.random(n) < zeros, 0, rng.gamma(1.2, mean / 1.2 / (1 - zeros)))
    return pd.DataFrame(
        {
            "nps": score,
            "revenue": revenue,
            "affluence": affluence,
            "region": rng.choice(["east", "north", "west"], n),
            "branch": rng.integers(0, 60, n),
            "month": rng.integers(0, 45, n),
            "w": rng.uniform(0.5, 2, n),
        }
    )


@pytest.fixture(scope="module")
def customers():
    return shop()


DESIGN = ("weight", "strata", "cluster", "fpc", "labels", "min_base")


def surveyed(table, options):
    """Return the survey that the design among `options` makes of a table, and the other options."""
    design = {name: value for name, value in options.items() if name in DESIGN}
    return cx.as_survey(table, **design) if design else table, {k: v for k, v in options.items() if k not in DESIGN}


def fit(table, **options):
    survey, asked = surveyed(table, {"revenue": "revenue", "loyalty": "nps"} | options)
    return fit_loyalty_revenue(survey, **asked)


@pytest.fixture(scope="module")
def found(customers):
    return fit(customers, controls=["affluence", "region"])


# --- published numbers -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def petersen(oracles):
    table = pd.read_csv(oracles / "petersen.csv")
    table["x"], table["y"] = table["x"] + 20, table["y"] + 20  # a score and money are not below zero
    return table


def petersen_error(table, *clusters):
    survey = cx.as_survey(table, cluster=clusters) if clusters else cx.as_survey(table)
    s = cases_of(survey, revenue="y", loyalty="x")
    fitted = fit_glm(s.X("linear"), s.y, s.weights, LEVELS)
    return fitted, float(np.sqrt(s.covariance(fitted.influence, 2)[1, 1]))


def test_petersen_coefficients_are_029680_and_1034833(petersen):
    intercept, slope = petersen_error(petersen)[0].coef
    assert [intercept + 20 * slope - 20, slope] == pytest.approx([0.029680, 1.034833], abs=5e-7)


@pytest.mark.parametrize(
    ("clusters", "published"),
    [((), 0.028395), (("firm",), 0.050596), (("year",), 0.033389), (("firm", "year"), 0.053558)],
)
def test_petersen_error_of_x_hc1_by_firm_by_year_and_both_ways_cameron_gelbach_miller_2011(
    petersen, clusters, published
):
    assert petersen_error(petersen, *clusters)[1] == pytest.approx(published, abs=5e-7)


def test_petersen_classical_error_of_x_is_028583(petersen):
    s = cases_of(cx.as_survey(petersen), revenue="y", loyalty="x")
    assert levels_model(s)[1] == pytest.approx(0.028583, abs=5e-7)


def test_petersen_within_firm_equals_least_squares_with_a_dummy_a_firm(petersen):
    some = petersen[petersen["firm"] <= 40]
    x, y, one = some["x"].to_numpy(), some["y"].to_numpy(), np.ones(len(some))
    dummies = (some["firm"].to_numpy()[:, None] == np.arange(1, 41)).astype(float)
    whole = fit_glm(np.column_stack([x, dummies]), y, one, LEVELS)
    within = fit_glm(x[:, None], y, one, LEVELS, effects=[some["firm"].to_numpy() - 1])
    assert within.coef[0] == pytest.approx(whole.coef[0], abs=1e-10)
    assert within.influence[:, 0] == pytest.approx(whole.influence[:, 0], abs=1e-9)


CLOTTING_U = np.array([5, 10, 15, 20, 30, 40, 60, 80, 100])
CLOTTING_LOT1 = np.array([118, 58, 42, 35, 27, 25, 21, 19, 18])


def test_gamma_clotting_inverse_link_lot1_mccullagh_nelder_1989():
    inverse = Family(
        mean=lambda eta: 1 / eta,
        weight=lambda eta: 1 / eta**2,
        residual=lambda eta, y: -(y - 1 / eta) * eta**2,
        start=lambda y, centre: 1 / y,
    )
    X = np.column_stack([np.ones(9), np.log(CLOTTING_U)])
    got = fit_glm(X, CLOTTING_LOT1, np.ones(9), inverse)
    assert got.coef == pytest.approx([-0.01655438, 0.01534311], abs=5e-9)


TWEEDIE_X = np.array([0.2, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5])
TWEEDIE_Y = np.array([0, 1.2, 0, 2.5, 3.1, 0, 6.2, 4.4, 9.8, 0, 14.2, 20.1])


def test_tweedie_power_1_5_log_link_is_minus_70007_64604_deviance_28_33782_in_statsmodels_itself():
    import statsmodels.api as sm

    family = sm.families.Tweedie(sm.families.links.Log(), var_power=1.5)
    got = sm.GLM(TWEEDIE_Y, np.column_stack([np.ones(12), TWEEDIE_X]), family=family).fit(tol=1e-12)
    assert got.params == pytest.approx([-0.70007, 0.64604], abs=5e-6)
    assert got.deviance == pytest.approx(28.33782, abs=5e-6)


def test_darfur_partial_r2_0218731_rv_1387764_and_0762580_cinelli_hazlett_2020():
    t = 0.0973158 / 0.0232565
    assert partial_r2(t, 783) == pytest.approx(0.0218731, abs=5e-7)
    assert robustness_value(t, 783) == pytest.approx(0.1387764, abs=5e-7)
    assert robustness_value(t, 783, alpha=0.05) == pytest.approx(0.0762580, abs=5e-7)


def test_robustness_value_at_its_edges_is_0_and_the_extreme_form():
    assert robustness_value(1.0, 783, alpha=0.05) == 0.0
    t, df = 90.0, 4.0  # f > 1 / f*
    f, critical = t / 2, 3.182446305284263 / np.sqrt(3)
    assert robustness_value(t, df, alpha=0.05) == pytest.approx((f**2 - critical**2) / (1 + f**2))


def test_e_value_of_rr_3_9_is_7_263_vanderweele_ding_2017():
    assert e_value(3.9) == pytest.approx(7.263, abs=5e-4)
    assert e_value(1 / 3.9) == pytest.approx(7.263, abs=5e-4)
    assert (e_value(0.9, 2.0), e_value(1.8, 8.7)) == (1.0, pytest.approx(3.0))
    assert e_value(0.1, 0.5) == pytest.approx(e_value(2.0))


def trap(n=4000, seed=3):
    rng = np.random.default_rng(seed)
    g = np.repeat([0, 1], n // 2)
    noise = np.concatenate([rng.permutation(normal_quantiles(n // 2)) for _ in range(2)])
    return pd.DataFrame({"nps": g, "revenue": np.exp(3 + 0.2 * g + np.where(g == 0, 1.2, 0.6) * noise)})


def normal_quantiles(n):
    from scipy import stats

    return stats.norm.ppf((np.arange(n) + 0.5) / n)


def test_log_ols_trap_says_22_percent_more_the_true_ratio_of_means_is_71177():
    got = fit(trap(40000), model="log_ols")
    assert got.tidy().set_index("term").loc["nps", "percent"] == pytest.approx(100 * np.expm1(0.2), abs=0.01)
    assert 1 + got.glance()["percent"][0] / 100 == pytest.approx(0.71177, abs=0.002)
    assert 1 + fit(trap(40000)).glance()["percent"][0] / 100 == pytest.approx(0.71177, abs=0.002)


def test_log_ols_trap_is_named_where_the_coefficient_and_the_means_disagree():
    got = fit(trap(), model="log_ols")
    assert "the log-OLS trap: the coefficient alone reads 22.1 % more" in got.sentence()
    assert not got.checks().set_index("check").loc["coefficient of log revenue agrees with the means", "ok"]
    alike = fit(shop(), model="log_ols")
    assert "trap" not in alike.sentence()


# --- against other software ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "power"), [("poisson", 1), ("gamma", 2)])
def test_coefficients_and_hc1_errors_equal_statsmodels_to_1e_8(customers, model, power):
    import statsmodels.api as sm

    table = customers[customers["revenue"] > 0] if model == "gamma" else customers
    X = sm.add_constant(table[["nps", "affluence"]].to_numpy())
    family = sm.families.Poisson() if power == 1 else sm.families.Gamma(sm.families.links.Log())
    reference = sm.GLM(table["revenue"].to_numpy(), X, family=family).fit(cov_type="HC1", tol=1e-12)
    got = fit(table, controls=["affluence"], model=model).tidy()
    assert got["estimate"].to_numpy() == pytest.approx(reference.params, abs=1e-8)
    # statsmodels' HC1 of a GLM leaves out the factor n / (n - p) that defines HC1
    assert got["std_error"].to_numpy() == pytest.approx(
        reference.bse * np.sqrt(len(table) / (len(table) - 3)), abs=1e-8
    )


def test_clustered_errors_equal_statsmodels_to_1e_8_one_and_two_ways(customers):
    import statsmodels.api as sm

    X = sm.add_constant(customers[["nps", "affluence"]].to_numpy())
    model = sm.GLM(customers["revenue"].to_numpy(), X, family=sm.families.Poisson())
    for cluster in (["branch"], ["branch", "month"]):
        groups = {"groups": customers[cluster].to_numpy().squeeze()}
        reference = model.fit(cov_type="cluster", cov_kwds=groups, tol=1e-12)
        got = fit(customers, controls=["affluence"], cluster=cluster).tidy()
        assert got["std_error"].to_numpy() == pytest.approx(reference.bse, abs=1e-8)


def test_two_part_equals_statsmodels_logit_and_gamma_with_clusters(customers):
    import statsmodels.api as sm

    X, y = sm.add_constant(customers[["nps", "affluence"]].to_numpy()), customers["revenue"].to_numpy()
    bought, link = y > 0, sm.families.links.Log()
    parts = {"any": (X, bought.astype(float), sm.families.Binomial()), "amount": (X, y, sm.families.Gamma(link))}
    got = fit(customers, controls=["affluence"], model="two_part", cluster="branch").tidy()
    for part, (A, b, family) in parts.items():
        rows = np.ones(len(y), dtype=bool) if part == "any" else bought
        model = sm.GLM(b[rows], A[rows], family=family)
        groups = {"groups": customers["branch"].to_numpy()[rows]}
        reference = model.fit(cov_type="cluster", cov_kwds=groups, tol=1e-12)
        ours = got[got["part"] == part]
        assert ours["estimate"].to_numpy() == pytest.approx(reference.params, abs=1e-7)
        # the correction for clusters counts all customers and both parts; statsmodels' one part alone
        n, m = len(y), rows.sum()
        factor = np.sqrt((n - 1) / (n - 6) / ((m - 1) / (m - 3)))
        assert ours["std_error"].to_numpy() == pytest.approx(reference.bse * factor, rel=1e-6)


def test_duan_by_group_with_weights_equals_the_weighted_mean_of_exp_residuals_and_clusters_those_of_statsmodels():
    import statsmodels.api as sm

    table = trap(800).assign(w=np.random.default_rng(4).uniform(0.5, 2, 800), branch=np.arange(800) % 50)
    X, logs, w = sm.add_constant(table["nps"].to_numpy(dtype=float)), np.log(table["revenue"]), table["w"].to_numpy()
    reference = sm.WLS(logs, X, weights=w).fit()
    got = fit(table, model="log_ols", weight="w").tidy().set_index("term")["estimate"]
    assert got[["(intercept)", "nps"]].to_numpy() == pytest.approx(reference.params.to_numpy(), abs=1e-9)
    for g in (0, 1):
        member = table["nps"].to_numpy() == g
        smear = np.average(np.exp(reference.resid[member]), weights=w[member])
        assert np.exp(got[f"log smear[{g}]"]) == pytest.approx(smear, rel=1e-9)
    clustered = sm.OLS(logs, X).fit(cov_type="cluster", cov_kwds={"groups": table["branch"].to_numpy()})
    ours = fit(table, model="log_ols", cluster="branch").tidy().set_index("term")
    n = len(table)
    factor = np.sqrt((n - 1) / (n - 4) / ((n - 1) / (n - 2)))  # four coefficients with the two factors
    assert ours.loc[["(intercept)", "nps"], "std_error"].to_numpy() == pytest.approx(clustered.bse * factor, rel=1e-8)


def test_the_cluster_jackknife_is_statsmodels_without_each_cluster_in_turn(customers):
    import statsmodels.api as sm

    few = customers.assign(site=customers["branch"] % 9)
    X, y = sm.add_constant(few["nps"].to_numpy()), few["revenue"].to_numpy()
    whole = sm.GLM(y, X, family=sm.families.Poisson()).fit(tol=1e-12).params
    kept = [few["site"].to_numpy() != g for g in range(9)]
    without = np.array([sm.GLM(y[k], X[k], family=sm.families.Poisson()).fit(tol=1e-12).params for k in kept])
    error = np.sqrt(8 / 9 * np.sum(np.square(without - whole), axis=0))
    got = fit(few, cluster="site").tidy()
    assert got["std_error"].to_numpy() == pytest.approx(error, rel=1e-7)
    half = 2.306004 * error[1]  # t on 8 degrees of freedom
    assert got["conf_high"][1] - got["estimate"][1] == pytest.approx(half, rel=1e-6)


def test_weights_give_linearised_errors_not_those_of_frequency_weights(customers):
    import statsmodels.api as sm

    X = sm.add_constant(customers["nps"].to_numpy())
    as_counts = sm.GLM(customers["revenue"], X, family=sm.families.Poisson(), freq_weights=customers["w"]).fit()
    got = fit(customers, weight="w")
    assert got.tidy()["estimate"].to_numpy() == pytest.approx(as_counts.params.to_numpy(), abs=1e-8)
    w, y = customers["w"].to_numpy(), customers["revenue"].to_numpy()
    scores = (w * (y - as_counts.mu))[:, None] * X
    bread = np.linalg.inv(X.T @ ((w * as_counts.mu)[:, None] * X))
    by_hand = bread @ (scores.T @ scores) @ bread * len(w) / (len(w) - 1)
    assert got.tidy()["std_error"].to_numpy() == pytest.approx(np.sqrt(np.diag(by_hand)), rel=1e-8)
    assert got.tidy()["std_error"][1] > 5 * as_counts.bse.iloc[1]
    assert got.glance()["n_effective"][0] == pytest.approx(w.sum() ** 2 / np.sum(w**2))


def test_strata_and_clusters_enter_the_errors(customers):
    plain = fit(customers, weight="w").glance()["percent_high"][0]
    stratified = fit(customers, weight="w", strata="region").glance()["percent_high"][0]
    clustered = fit(customers, weight="w", strata="region", cluster="branch").glance()
    assert len({plain, stratified, clustered["percent_high"][0]}) == 3
    whole = fit(customers.assign(f=0.75), weight="w", fpc="f").tidy()["std_error"]
    assert whole.to_numpy() == pytest.approx(fit(customers, weight="w").tidy()["std_error"].to_numpy() / 2)


def test_poisson_with_effects_equals_a_dummy_for_every_group(customers):
    import statsmodels.api as sm

    some = customers[customers["branch"] < 12]
    dummies = pd.get_dummies(some["branch"]).to_numpy(dtype=float)
    X = np.column_stack([some["nps"], dummies])
    reference = sm.GLM(some["revenue"].to_numpy(), X, family=sm.families.Poisson()).fit(tol=1e-12)
    got = fit(some, effects=["branch"])
    assert got.tidy()["estimate"][0] == pytest.approx(reference.params[0], abs=1e-7)
    assert got.glance()["errors"][0] == "cluster jackknife (CV3, 12 clusters)"


def test_two_way_effects_equal_dummies_of_both(customers):
    import statsmodels.api as sm

    some = customers[(customers["branch"] < 50) & (customers["month"] < 8)]
    dummies = np.column_stack([pd.get_dummies(some["branch"]), pd.get_dummies(some["month"]).iloc[:, 1:]]).astype(float)
    some = some.assign(positive=some["revenue"] + 1)
    reference = sm.OLS(np.log(some["positive"]), np.column_stack([some["nps"], dummies])).fit()
    got = fit(some, revenue="positive", effects=["branch", "month"], model="log_ols")
    assert got.tidy()["estimate"][0] == pytest.approx(reference.params.iloc[0], abs=1e-8)


def test_few_clusters_take_cr2_in_log_ols_and_the_jackknife_in_poisson(customers):
    few = customers.assign(site=customers["branch"] % 9)
    assert fit(few, cluster="site", model="log_ols").glance()["errors"][0] == "CR2, 9 clusters"
    got = fit(few, cluster="site")
    assert got.glance()["errors"][0] == "cluster jackknife (CV3, 9 clusters)"
    assert not got.checks().set_index("check").loc["clusters", "ok"]


@pytest.mark.parametrize(("power", "draw"), [(1, lambda r, m: r.poisson(m)), (2, lambda r, m: r.gamma(2, m / 2))])
def test_park_slope_is_1_for_poisson_and_2_for_gamma(power, draw):
    rng = np.random.default_rng(6)
    mu = np.exp(rng.uniform(0, 4, 20000))
    assert park(draw(rng, mu).astype(float), mu, np.ones(20000)) == pytest.approx(power, abs=0.1)


def test_natural_spline_is_straight_beyond_its_outer_knots():
    x = np.array([-3.0, -2.0, -1.0, 11.0, 12.0, 13.0])
    bends = natural_spline(x, np.array([0.0, 3.0, 6.0, 10.0]))
    assert np.diff(bends[:3], n=2, axis=0) == pytest.approx(np.zeros((1, 3)), abs=1e-9)
    assert np.diff(bends[3:], n=2, axis=0) == pytest.approx(np.zeros((1, 3)), abs=1e-9)


# --- planted truth, shown and biased -------------------------------------------------------------------------------------


def test_planted_5_percent_a_point_is_recovered_with_the_control_and_overstated_without(found):
    got, sides = found.glance().iloc[0], found.tables()["with_and_without"]
    truth = 100 * np.expm1(0.05)
    assert got["percent_low"] < truth < got["percent_high"]
    assert sides["percent_low"][0] > truth
    assert list(sides["held"]) == ["nothing", "affluence, region"]
    assert "without controls it would read 14.7 % more" in found.sentence()


def test_the_bundled_company_shows_its_planted_5_percent_with_affluence_held_and_more_without(root):
    data = cx.open_study(root / "data" / "example" / "study.yml")
    table = data.matched("responses", "customers", keep="latest")
    asked = {
        "revenue": "revenue",
        "loyalty": data.column("nps"),
        "asked": data.column("asked_at"),
        "revenue_from": "2025-01-01",
    }
    got = cx.fit_loyalty_revenue(table, controls=data.columns("control"), **asked)
    g, bare = got.glance().iloc[0], got.tables()["with_and_without"].iloc[0]
    assert g["established"] and g["percent_low"] < 5.0 < g["percent_high"]
    assert bare["percent"] > 1.3 * g["percent"]


@pytest.mark.parametrize("model", ["poisson", "gamma", "log_ols", "two_part"])
@pytest.mark.parametrize("shape", ["linear", "groups"])
def test_every_model_and_shape_answers_and_covers_the_planted_truth(model, shape):
    got = fit(shop(n=4000, seed=11), controls=["affluence"], model=model, shape=shape)
    g = got.glance().iloc[0]
    assert g["percent_low"] < 100 * np.expm1(0.05) * (0.6 if shape == "groups" else 1) + 2 and g["percent_high"] > 2
    assert g["established"] and g["ratio_low"] > 1
    assert np.isfinite(got.tidy()["std_error"]).all()


def test_the_headline_of_the_default_is_exactly_exp_b_minus_1(found):
    row = found.tidy().set_index("term").loc["nps"]
    g = found.glance().iloc[0]
    assert [g["percent"], g["percent_low"], g["percent_high"]] == pytest.approx(
        [row["percent"], row["percent_low"], row["percent_high"]]
    )


def test_money_per_point_is_the_predicted_difference_with_its_delta_error(customers):
    got = fit(customers)
    b = got.tidy()["estimate"].to_numpy()
    rising = customers["nps"] <= 9
    now = np.exp(b[0] + b[1] * customers["nps"])
    assert got.glance()["money"][0] == pytest.approx((now * np.expm1(b[1]))[rising].mean())
    rng = np.random.default_rng(2)
    draws = [
        fit(customers.iloc[rng.integers(0, len(customers), len(customers))]).glance()["money"][0] for _ in range(60)
    ]
    width = got.glance()["money_high"][0] - got.glance()["money"][0]
    assert width / 1.96 == pytest.approx(np.std(draws), rel=0.25)


def test_nothing_planted_is_not_established():
    got = fit(shop(slope=0.0, confounding=0.0, seed=4))
    assert not got.glance()["established"][0]
    assert got.sentence().startswith(
        "What a point of nps goes with in revenue is not established: the interval holds zero."
    )


def test_a_weak_link_is_told_as_weak(found):
    assert found.glance()["explained"][0] < 0.02
    assert "the link is weak: the score accounts for" in found.sentence()


@pytest.mark.parametrize(
    ("score", "names"),
    [
        ([0, 3, 7, 10], ("detractor", "passive", "promoter")),
        ([1, 6, 8, 10], ("1-6", "7-8", "9-10")),
        ([0, 1], ("0", "1")),
        ([1, 2, 3, 4, 5], ("1-2", "3-4", "5")),
    ],
)
def test_the_score_is_cut_into_recommend_groups_ranges_levels_or_thirds(score, names):
    assert scale_of(np.array(score, dtype=float)).names == names


def test_curvature_and_asymmetry_are_found_where_planted():
    rng = np.random.default_rng(8)
    score = rng.integers(0, 11, 4000)
    mean = np.exp(3 + np.where(score >= 9, 0.8, 0.0))
    got = fit(pd.DataFrame({"nps": score, "revenue": rng.gamma(2, mean / 2)}))
    tests = got.tables()["shape"].set_index("test")["p_value"]
    assert tests["curvature"] < 0.001 and tests["upper step = lower step"] < 0.001
    checks = got.checks().set_index("check")["ok"]
    assert not checks["curvature (p)"] and not checks["upper step = lower step (p)"]


def test_benchmark_bounds_of_darfur_female_0092_and_1246_cinelli_hazlett_2020():
    # partial R2 of female with treatment .0091, with the outcome .1097 (as printed, to four figures)
    with_score, with_outcome = bounds(0.00908, 0.10974, 1)
    assert with_score == pytest.approx(0.00916, abs=2e-5)
    assert with_outcome == pytest.approx(0.1246, abs=2e-3)


def test_a_cause_stronger_than_the_data_allow_has_no_bound():
    assert np.isnan(bounds(0.4, 0.1, 2)).all()


def test_the_robustness_value_in_the_table_is_that_of_least_squares(customers):
    import statsmodels.api as sm

    t = sm.OLS(customers["revenue"], sm.add_constant(customers[["nps", "affluence"]])).fit().tvalues["nps"]
    got = fit(customers, controls=["affluence"])
    assert got.glance()["robustness_value"][0] == pytest.approx(robustness_value(t, len(customers) - 3))


def test_a_hidden_cause_as_strong_as_the_robustness_value_leaves_nothing(found):
    g, slope = found.glance().iloc[0], levels_model(found.cases)[0]
    t = np.sqrt(g["partial_r2"] / (1 - g["partial_r2"]) * (g["n"] - 5))
    assert bias_of(slope / t, g["n"] - 5, g["robustness_value"], g["robustness_value"]) == pytest.approx(
        slope, rel=1e-9
    )
    ax = found.plot_sensitivity()
    assert "as strong as affluence" in " ".join(text.get_text() for text in ax.get_legend().get_texts())


# --- what is left out, pooled, hidden --------------------------------------------------------------------------------------


def test_rows_left_out_are_counted_with_the_reason(customers):
    holed = customers.copy()
    holed.loc[:9, "nps"] = np.nan
    holed.loc[5:19, "affluence"] = np.nan
    got = fit(holed, controls=["affluence"])
    assert got.glance()[["n", "received", "dropped"]].iloc[0].tolist() == [1480, 1500, 20]
    assert got.checks()["value"][0] == "20 of 1500 (nps missing: 10, affluence missing: 10)"


def test_categories_and_groups_under_the_minimum_base_are_pooled(customers):
    rare = customers.copy()
    rare.loc[:3, "region"] = "south"
    got = fit(rare, controls=["region"], min_base=10)
    assert "region[south]" not in set(got.tidy()["term"])
    few = customers[(customers["nps"] < 9) | (customers.index < 15)]
    table = fit(few, min_base=10).tables()["groups"]
    assert table["n"].min() >= 10 and len(table) == 2
    assert fit(few, min_base=10).tables()["curve"]["n"].min() >= 10


def test_time_after_the_window_began_takes_the_headline_away(customers):
    asked = pd.Timestamp("2024-12-01") + pd.to_timedelta(np.arange(1500) % 60, unit="D")
    dated = customers.assign(asked=asked)
    got = fit(dated, controls=["affluence"], asked="asked", revenue_from="2025-01-01")
    assert not got.glance()["established"][0]
    assert (
        "not established: the score was measured after the revenue window began for 48 % of customers" in got.sentence()
    )
    clean = fit(dated, controls=["affluence"], asked="asked", revenue_from="2025-02-01")
    assert clean.glance()["established"][0]
    assert "scores were given 2024-12-01 to 2025-01-29, and revenue counts from 2025-02-01 on." in clean.sentence()
    assert "when score and revenue were measured is not stated." in fit(dated).sentence()
    yearly = fit(dated, revenue_from="2025-01-01")
    assert "scores were given on days that are not stated, and revenue counts from 2025-01-01 on." in yearly.sentence()
    assert clean.checks().set_index("check").loc["score measured before the revenue window", "ok"]
    assert fit(dated, asked="asked").checks()["value"][2] == "start of the revenue window not stated"


def test_a_score_made_of_the_revenue_is_named_as_a_leak(customers):
    leak = customers.assign(nps=np.clip(np.round(customers["revenue"].rank(pct=True) * 10), 0, 10))
    assert "the score gives the revenue away (its rank correlation with revenue is" in fit(leak).sentence()
    told = customers.assign(nps=np.where(customers["revenue"] > 0, customers["nps"] % 3 + 6, customers["nps"] % 4))
    assert "the score gives the revenue away (its rank correlation" in fit(told).sentence()
    few = customers.assign(nps=np.where(np.arange(1500) < 20, 0, customers["nps"] % 5 + 6))
    few["revenue"] = np.where(np.arange(1500) < 20, 0.0, few["revenue"] + 1)
    assert "the score gives the revenue away (it alone tells who has no revenue)" in fit(few).sentence()


def telephone(seed=0):
    """The shape of the public telephone tables: scores 1-2 all left, 4-5 all stayed, 3 holds both."""
    rng = np.random.default_rng(seed)
    score = np.repeat([1, 2, 3, 4, 5], [92, 52, 267, 179, 115]).astype(float)
    left = (score <= 2) | ((score == 3) & (rng.random(705) < 0.16))
    return pd.DataFrame({"nps": score, "revenue": np.where(left, 0.0, rng.gamma(4, 48, 705)), "left": left})


def test_a_score_that_tells_but_for_one_level_who_stopped_buying_is_named_as_a_leak():
    told = telephone()
    assert "not established: the score gives the revenue away (its rank correlation" in fit(told).sentence()
    score, left = told["nps"].to_numpy(), told["left"].to_numpy()
    assert gives_away(score, left, "left", "left") == "it alone tells who left"
    assert gives_away(np.where(left, score + 1, score), left, "left", "left") == "all 92 customers at 2 or less left"
    assert gives_away(score, np.arange(705) % 3 == 0, "left", "left") is None
    assert "perfect separation" in refused(told, model="two_part")


def test_a_score_whose_lowest_answers_all_stopped_buying_is_named_as_a_leak(customers):
    low = customers["nps"] <= 3
    told = customers.assign(revenue=customers["revenue"].where(~low, 0.0))
    words = f"the score gives the revenue away (all {low.sum()} customers at 3 or less have no revenue)"
    assert words in fit(told).sentence()


def test_a_score_made_of_the_revenue_of_those_who_bought_is_named_as_a_leak(customers):
    rng, bought = np.random.default_rng(3), customers["revenue"] > 0
    rank = customers["revenue"].where(bought).rank(pct=True)
    score = np.where(bought, np.round(10 * rank + rng.normal(size=1500)), rng.integers(0, 11, 1500)).clip(0, 10)
    assert (
        "its rank correlation with revenue among those with revenue is 0.9"
        in fit(customers.assign(nps=score)).sentence()
    )


@pytest.mark.parametrize(("noise", "share"), [(1, 1.0), (3, 1.0), (4, 1.0), (7, 0.0)])
def test_a_leak_is_found_until_its_noise_hides_it_as_the_assumptions_say(noise, share):
    rng, found = np.random.default_rng(5), []
    for _ in range(20):
        y = np.where(rng.random(2000) < 0.3, 0, rng.gamma(1.2, 80, 2000))
        score = np.clip(np.round(10 * pd.Series(y).rank(pct=True) + noise * rng.normal(size=2000)), 0, 10)
        found.append(leaks(score.to_numpy(), y) is not None)
    assert np.mean(found) == share


# --- refusals, word for word -----------------------------------------------------------------------------------------------


def refused(table, problem=cx.DataProblem, **options):
    with pytest.raises(problem) as caught:
        fit(table, **options)
    return str(caught.value)


ROWS = np.arange(1500)


def lounge(shared):
    ratings = pd.read_csv(shared / "data" / "verbatims" / "lounge.csv")["overall_rating"]
    return pd.DataFrame({"nps": ratings, "revenue": 1.0 + np.arange(len(ratings))})


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: {"revenue": t["revenue"].where(ROWS > 2, -5.5)}, {}, "revenue holds 3 negative values among 1500 (lowest -5.5); decide "
         "what they are: net returns off the purchases, or leave these customers out"),
        (lambda t: {"revenue": t["revenue"].where(ROWS > 2)}, {}, "revenue is missing for 3 of 1500 customers; decide what that means: 0 "
         "where nothing was bought, or leave out the customers whose revenue is unknown"),
        (lambda t: {"site": 1}, {"cluster": "site"}, "cluster 'site' has one value in all 1500 rows; errors between clusters cannot be "
         "estimated: name a column with several, or none"),
        (lambda t: {"nps": 9}, {}, "nps has one value (9) in all 1500 rows used; nothing can go with it"),
        (lambda t: {"nps": t["nps"].where(ROWS >= 30, ROWS + 11)}, {}, "nps mixes two scales: 30 of 1500 values lie above 10 (highest 40) "
         "while the rest fit a scale that ends at 10; split it, or declare the 30 as missing codes"),
        (lambda t: {"nps": t["nps"].where(ROWS % 2 == 0, t["nps"] * 10)}, {}, "nps mixes two scales: 43 % of the values lie "
         "in 1-9, 50 % in 20-100 and hardly any between; bring them to one scale, or fit them apart"),
        (lambda t: {"nps": t["nps"].where(ROWS >= 700, 1 + t["nps"] % 5), "wave": np.where(ROWS < 700, "2023", "2024")}, {},
         "nps mixes two scales: it ends at 5 where wave is 2023 and at 10 where it is 2024; bring them to one scale, or fit them apart"),
        (lambda t: {"currency": np.where(ROWS < 1000, "EUR", "USD")}, {},
         "revenue is in 2 currencies (EUR: 1000, USD: 500); convert it to one before it is compared"),
        (lambda t: {"revenue": "€ 5"}, {},
         "revenue is not a number ('€ 5'); strip signs of currency, keep one currency, and convert it"),
        (lambda t: {"spend": t["revenue"] / 100}, {"controls": ["spend"]},
         "control 'spend' equals 'revenue', the revenue, up to a factor; leave it out"),
        (lambda t: {"net": (t["revenue"] / 1.23).round(2)}, {"controls": ["net"]},
         "control 'net' equals 'revenue', the revenue, up to a factor; leave it out"),
        (lambda t: {"log": np.log1p(t["revenue"])}, {"controls": ["log"]},
         "control 'log' orders customers exactly as 'revenue', the revenue, does; leave it out"),
        (lambda t: {}, {"controls": ["revenue"]}, "control 'revenue' is the revenue itself; leave it out"),
        (lambda t: {}, {"controls": ["nps"]}, "control 'nps' is the loyalty score itself; leave it out"),
        (lambda t: {"wealth": t["affluence"] * 2}, {"controls": ["affluence", "wealth"]},
         "control wealth is constant, or repeats other controls, in the rows used; leave it out"),
        (lambda t: {"since": pd.Timestamp("2020-01-01")}, {"controls": ["since"]},
         "control 'since' holds dates; turn it into a number, such as days of tenure, or into categories"),
        (lambda t: {"key": [f"C{i}" for i in ROWS]}, {"controls": ["key"]},
         "control 'key' has 1500 categories in 1500 rows; merge them, or leave it out"),
        (lambda t: {"closed": np.where(ROWS < 50, "yes", "no"), "revenue": t["revenue"].where(ROWS >= 50, 0.0)}, {"controls": ["closed"]},
         "the customers of control closed[yes] all have no revenue; merge it with another category or leave them out"),
        (lambda t: {"nps": np.where(t["revenue"] > 0, 9, 2)}, {"model": "two_part"}, "nps alone tells who has no revenue (perfect "
         "separation): a score recorded after the outcome, or computed from it, does this; find out when it was recorded"),
        (lambda t: {"revenue": t["revenue"] + 1}, {"model": "two_part"},
         "two_part needs customers without revenue; all 1500 have some: take gamma"),
        (lambda t: {}, {"model": "probit"}, "model='probit' is not one of 'poisson', 'gamma', 'log_ols', 'two_part'"),
        (lambda t: {}, {"shape": "cubic"}, "shape='cubic' is not one of 'linear', 'groups'"),
        (lambda t: {}, {"confidence": 95}, "confidence=95 must lie between 0 and 1, for example 0.95"),
        (lambda t: {}, {"effects": ["branch"], "model": "gamma"},
         "effects are fitted with 'poisson' or 'log_ols'; model='gamma' has no such form"),
        (lambda t: {}, {"effects": ["a", "b", "c"]}, "effects takes at most 2 columns; found 3: a, b, c"),
        (lambda t: {}, {"loyalty": "npss"}, "the table of customers has no column 'npss'; did you mean 'nps'?"),
        (lambda t: {}, {"loyalty": "revenue"}, "loyalty and revenue name the same column 'revenue'"),
        (lambda t: {}, {"loyalty": "region"}, "region is not a number ("),
        (lambda t: {}, {"controls": ["affluence", "affluence"]}, "controls names a column twice: affluence, affluence"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused_with_what_was_found_and_what_to_do(customers, change, options, message):
    found = refused(customers.assign(**change(customers)), **options)
    assert found == message or (message[-1] == "(" and found.startswith(message))


def test_lounge_ratings_mix_a_1_5_and_a_1_10_scale_67_values_above_5_and_a_0_100_scale_is_one(shared, customers):
    assert "nps mixes two scales: 67 of" in refused(lounge(shared))
    wide = np.clip(np.round(60 + 25 * np.random.default_rng(1).normal(size=1500)), 0, 100)
    assert fit(customers.assign(nps=wide)).glance()["n"][0] == 1500


def test_a_window_shorter_than_the_purchase_cycle_warns(customers):
    quiet = customers.assign(revenue=customers["revenue"].where(ROWS % 3 == 0, 0))
    with pytest.warns(UserWarning, match="no revenue: the window may be shorter than the purchase cycle"):
        got = fit(quiet)
    assert not got.checks()["ok"][1]


def test_too_few_rows(customers):
    message = "fit_loyalty_revenue needs at least 100 complete rows; found 60"
    assert refused(customers[:60], cx.TooFewRespondents) == message


# --- the contract ------------------------------------------------------------------------------------------------------------


def test_the_sentence_uses_labels_and_the_tables_keys(customers):
    got = fit(
        customers, controls=["affluence"], labels={"nps": "likelihood to recommend", "affluence": "Affluence index"}
    )
    assert "One point more of likelihood to recommend goes with" in got.sentence()
    assert "with Affluence index held constant; an association, not a cause;" in got.sentence()
    assert {"nps", "affluence"} <= set(got.tidy()["term"])
    assert got.id == "fit_loyalty_revenue revenue"


def test_the_figure_draws_the_curve_of_the_table(found):
    ax = found.plot()
    curve = found.tables()["curve"]
    assert list(ax.lines[0].get_ydata()) == pytest.approx(curve["estimate"].tolist())
    assert list(ax.lines[1].get_ydata()) == pytest.approx(curve["observed"].tolist())
    assert "revenue, money per customer" in [text.get_text() for text in ax.texts]
