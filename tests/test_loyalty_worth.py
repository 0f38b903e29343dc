"""What a point is worth: recovered, refused, and never a headline where there is nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_loyalty import shop, trap

import cxresearch as cx
from cxresearch.inference import bca_interval
from cxresearch.loyalty import compare_revenue_models, specification_curve, worth_of_a_point
from cxresearch.loyalty.contrast import estimate
from cxresearch.loyalty.design import sample
from cxresearch.loyalty.ladder import Plan


def worth(table, **options):
    return worth_of_a_point(table, **({"revenue": "revenue", "loyalty": "nps", "seed": 1, "n_boot": 200} | options))


@pytest.fixture(scope="module")
def customers():
    return shop(n=2500, slope=0.06)


@pytest.fixture(scope="module")
def found(customers):
    return worth(customers, controls=["affluence"], cost=4000.0)


def test_worth_is_the_capped_predicted_difference_times_customers(customers, found):
    import statsmodels.api as sm

    X = sm.add_constant(customers[["nps", "affluence"]])
    fit = sm.GLM(customers["revenue"], X, family=sm.families.Poisson()).fit()
    raised = X.assign(nps=np.minimum(X["nps"] + 1, 10))
    assert found.glance()["worth"][0] == pytest.approx((fit.predict(raised) - fit.predict(X)).sum(), rel=1e-8)


def test_the_planted_worth_lies_in_the_interval(customers, found):
    mean = np.exp(4 + 0.06 * customers["nps"] + 0.3 * customers["affluence"])
    truth = (mean * np.expm1(0.06))[customers["nps"] < 10].sum()
    g = found.glance().iloc[0]
    assert g["worth_low"] < truth < g["worth_high"]


def test_scenarios_cost_and_break_even(found):
    t = found.tidy().set_index("term")
    g = found.glance().iloc[0]
    assert t.loc["half of it causal", "estimate"] == pytest.approx(g["worth"] / 2)
    assert 0 <= t.loc["hidden cause as strong as affluence", "causal_share"] < 1
    assert t.loc["all of it causal", "net"] == pytest.approx(g["worth"] - 4000)
    assert g["break_even"] == pytest.approx(4000 / g["worth"])
    assert found.sentence().startswith("One point more on nps for every customer goes with")
    assert "is covered if at least" in found.sentence()


def test_same_seed_same_bytes_other_seed_other_interval(customers):
    one, two, other = (worth(customers, seed=s).tidy() for s in (5, 5, 6))
    assert one.to_csv() == two.to_csv() and not one.equals(other)


def test_bca_of_a_mean_follows_the_skew():
    rng = np.random.default_rng(0)
    y = rng.exponential(size=60)
    draws = rng.choice(y, (4000, 60)).mean(axis=1)
    low, high = bca_interval(y.mean(), draws[:, None], ((y.sum() - y) / 59)[:, None], 0.95)
    assert high - y.mean() > y.mean() - low
    # R 4.2 boot::boot.ci(type = "bca") agrees with the formula's shift: above the plain percentiles at both ends
    assert low > np.quantile(draws, 0.025) and high > np.quantile(draws, 0.975)


# --- refusals of the headline --------------------------------------------------------------------------------------------


def test_refused_when_the_interval_holds_zero():
    got = worth(shop(slope=0.0, confounding=0.0, seed=4))
    assert got.sentence().startswith(
        "What one point more on nps is worth in revenue is not established: the interval holds zero ("
    )
    assert not got.glance()["established"][0] and len(got.tidy()) == 2


def test_refused_when_the_score_came_after_the_window_began(customers):
    got = worth(customers.assign(asked="2025-03-01"), asked="asked", revenue_from="2025-01-01")
    assert (
        "not established: the score was measured after the revenue window began for 100 % of customers"
        in got.sentence()
    )


def test_refused_under_30_clusters(customers):
    got = worth(customers.assign(site=customers["branch"] % 20), cluster="site")
    assert "not established: there are 20 clusters, fewer than 30" in got.sentence()


def test_refused_when_the_score_gives_the_revenue_away(customers):
    got = worth(customers.assign(nps=np.round(customers["revenue"].rank(pct=True) * 10)))
    assert "the score gives the revenue away (its rank correlation with revenue is" in got.sentence()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 0}, "points=0 must be above 0"),
        ({"n_boot": 10}, "n_boot=10 is too few for an interval; take at least 100"),
        ({"cost": -1}, "cost=-1 must be zero or more"),
        ({"confidence": 95}, "confidence=95 must lie between 0 and 1, for example 0.95"),
    ],
)
def test_wrong_options(customers, options, message):
    with pytest.raises(cx.DataProblem) as caught:
        worth(customers, **options)
    assert str(caught.value) == message


# --- coverage, false headlines, power ----------------------------------------------------------------------------------------


def simulated(rng, n, slope, clusters=None, zeros=0.3, shape=1.2):
    """30 % zeros, gamma amounts; with `clusters`, branches that share a level of score and of revenue."""
    branch = np.arange(n) % clusters if clusters else np.arange(n)
    level = 0.25 * rng.normal(size=clusters)[branch] if clusters else 0.0
    score = np.clip(np.round(7.5 + 2 * rng.normal(size=n)), 0, 10)
    mean = np.exp(4 + slope * score + level)
    revenue = np.where(rng.random(n) < zeros, 0, rng.gamma(shape, mean / shape / (1 - zeros)))
    return pd.DataFrame({"nps": score, "revenue": revenue, "branch": branch})


def true_worth(slope, level_variance=0.0):
    at = np.arange(11)
    edges = np.concatenate([[-np.inf], at[1:] - 0.5, [np.inf]])
    p = np.diff(stats.norm.cdf((edges - 7.5) / 2))
    return np.sum(p * np.exp(4 + slope * at + level_variance / 2) * np.expm1(slope) * (at < 10))


def coverage(replicates, n, slope, clusters, n_boot, seed=0):
    rng, hits = np.random.default_rng(seed), 0
    truth = true_worth(slope, 0.0625 if clusters else 0.0)
    for i in range(replicates):
        g = (
            worth(simulated(rng, n, slope, clusters), cluster="branch" if clusters else None, n_boot=n_boot, seed=i)
            .glance()
            .iloc[0]
        )
        hits += g["money_low"] <= truth <= g["money_high"]
    return hits / replicates


def allowed(replicates, share=0.95, slack=0.015):
    return slack + 2 * np.sqrt(share * (1 - share) / replicates)


@pytest.mark.parametrize(("n", "slope", "clusters"), [(500, 0.05, None), (1200, 0.05, 60)])
def test_worth_interval_covers_95_in_100_sample(n, slope, clusters):
    assert coverage(100, n, slope, clusters, 200) == pytest.approx(0.95, abs=allowed(100))


@pytest.mark.soak
@pytest.mark.parametrize(
    ("n", "slope", "clusters"), [(500, 0.05, None), (2000, 0.02, None), (1200, 0.05, 60), (2000, 0.0, 40)]
)
def test_worth_interval_covers_95_in_100(n, slope, clusters):
    assert coverage(2000, n, slope, clusters, 1000, seed=3) == pytest.approx(0.95, abs=allowed(2000))


def few_cluster_coverage(replicates, seed=0):
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(replicates):
        s = sample(simulated(rng, 600, 0.05, 15), revenue="revenue", loyalty="nps", cluster="branch")
        _, low, high, _ = estimate(s, Plan("poisson", "linear")).interval("log_ratio", 0.95)
        hits += low <= 0.05 <= high
    return hits / replicates


def test_cluster_jackknife_covers_95_in_100_with_15_clusters_sample():
    assert few_cluster_coverage(150) == pytest.approx(0.95, abs=allowed(150))


@pytest.mark.soak
def test_cluster_jackknife_covers_95_in_100_with_15_clusters():
    assert few_cluster_coverage(5000, seed=8) == pytest.approx(0.95, abs=allowed(5000))


def unrelated(rng):
    return simulated(rng, 600, 0.0), {}


def score_after_revenue(rng):
    table = simulated(rng, 600, 0.0)
    table["nps"] = np.clip(np.round(5 + 0.8 * np.log1p(table["revenue"]) + 2 * rng.normal(size=600)), 0, 10)
    return table.assign(asked="2025-06-01"), {"asked": "asked", "revenue_from": "2025-01-01"}


def leaky(rng):
    table = simulated(rng, 600, 0.0)
    table["nps"] = np.clip(np.round(10 * table["revenue"].rank(pct=True) + rng.normal(size=600)), 0, 10)
    return table, {}


def panel_score_after_revenue(rng, n=150, periods=5):
    level, before, parts = 0.6 * rng.normal(size=n), rng.normal(size=n), []
    for t in range(periods):
        score = np.clip(np.round(7 + level + before + 1.2 * rng.normal(size=n)), 0, 10)
        revenue = np.where(rng.random(n) < 0.2, 0, rng.gamma(1.2, np.exp(4 + level), n))
        before = np.log1p(revenue) - np.log1p(revenue).mean()
        parts.append(pd.DataFrame({"customer": np.arange(n), "period": t, "nps": score, "revenue": revenue}))
    return pd.concat(parts, ignore_index=True), {"customer": "customer", "period": "period"}


NULLS = [unrelated, score_after_revenue, leaky, panel_score_after_revenue]


def false_headlines(null, replicates, n_boot, seed=0):
    rng, given = np.random.default_rng(seed), 0
    for i in range(replicates):
        table, options = null(rng)
        given += bool(worth(table, n_boot=n_boot, seed=i, **options).glance()["established"][0])
    return given / replicates


@pytest.mark.parametrize("null", NULLS)
def test_false_headlines_are_at_most_5_in_100_sample(null):
    replicates = 12 if null is panel_score_after_revenue else 100
    assert false_headlines(null, replicates, 100) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / replicates)


@pytest.mark.soak
@pytest.mark.parametrize("null", NULLS)
def test_false_headlines_are_at_most_5_in_100(null):
    replicates = 300 if null is panel_score_after_revenue else 2000
    assert false_headlines(null, replicates, 400, seed=9) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / replicates)


def wald_power(n, slope, zeros=0.3, shape=1.2):
    """Power of a plain Wald test at the truth: information of the score under the simulated design."""
    at = np.arange(11)
    p = np.diff(stats.norm.cdf((np.concatenate([[-np.inf], at[1:] - 0.5, [np.inf]]) - 7.5) / 2))
    mean = np.exp(4 + slope * at)
    X = np.column_stack([np.ones(11), at])
    bread = np.linalg.inv(X.T @ ((p * mean)[:, None] * X))
    second = mean**2 * ((1 + 1 / shape) / (1 - zeros) - 1)
    error = np.sqrt((bread @ (X.T @ ((p * second)[:, None] * X)) @ bread)[1, 1] / n)
    return stats.norm.sf(1.959964 - slope / error) + stats.norm.cdf(-1.959964 - slope / error)


def headlines(n, slope, replicates, n_boot, seed=0):
    rng = np.random.default_rng(seed)
    return np.mean(
        [worth(simulated(rng, n, slope), n_boot=n_boot, seed=i).glance()["established"][0] for i in range(replicates)]
    )


def test_a_planted_8_percent_is_given_wherever_a_wald_test_has_90_percent_power_sample():
    assert wald_power(1000, np.log(1.08)) > 0.9
    assert headlines(1000, np.log(1.08), 30, 200) >= 0.9


@pytest.mark.soak
@pytest.mark.parametrize("n", [1000, 3000, 10000])
@pytest.mark.parametrize("percent", [2, 4, 8])
def test_power_table(n, percent, capsys):
    power, share = (
        wald_power(n, np.log1p(percent / 100)),
        headlines(n, np.log1p(percent / 100), 400, 400, seed=n + percent),
    )
    with capsys.disabled():
        print(f"\n+{percent} % a point, n = {n}: headlines {share:.3f}, Wald power {power:.3f}")
    assert share >= 0.9 - 2 * np.sqrt(0.09 / 400) or power < 0.9


# --- ladder and specification curve ------------------------------------------------------------------------------------------


def test_the_ladder_holds_five_models_and_the_same_question(customers):
    got = compare_revenue_models(customers, revenue="revenue", loyalty="nps", controls=["affluence"], seed=1)
    t = got.tidy().set_index("term")
    assert list(t.index) == ["poisson", "gamma", "log_ols", "two_part", "tweedie"]
    one = cx.fit_loyalty_revenue(
        customers, revenue="revenue", loyalty="nps", controls=["affluence"], model="gamma"
    ).glance()
    assert t.loc["gamma", "percent"] == one["percent"][0]
    assert t.loc["log_ols", "n"] == (customers["revenue"] > 0).sum()
    assert got.glance()["suits"][0] == "gamma"


def test_the_ladder_names_the_log_ols_trap():
    got = compare_revenue_models(trap(), revenue="revenue", loyalty="nps")
    assert "The log-OLS trap is here: its coefficient reads 22.1 %, the means -28.7 %" in got.sentence()
    assert (
        got.tables()["left_out"]["why"][0] == "two_part needs customers without revenue; all 4000 have some: take gamma"
    )


def test_the_specification_curve_takes_every_subset_and_marks_the_default(customers):
    got = specification_curve(customers, revenue="revenue", loyalty="nps", controls=["affluence", "region"])
    assert len(got.tidy()) == 4 * 4 * 2
    at = got.tidy().iloc[got.glance()["rank"][0] - 1]
    assert at[["model", "held", "capped"]].tolist() == ["poisson", "affluence, region", 0.0]
    one = cx.fit_loyalty_revenue(customers, revenue="revenue", loyalty="nps", controls=["affluence", "region"]).glance()
    assert at["percent"] == pytest.approx(one["percent"][0])
    assert list(got.plot().lines[0].get_ydata()) == got.tidy()["percent"].tolist()
