"""Intervals cover, nothing is a headline where nothing is, and what is there is found: samples here, the whole as soak.

The whole takes about a quarter of an hour on one core and writes its figures to benchmarks/loyalty_proofs.csv.
"""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import stats

from cxresearch.loyalty import worth_of_a_point
from cxresearch.loyalty.cases import cases_of
from cxresearch.loyalty.models import estimate, plan_for
from cxresearch.survey import as_survey

FIGURES = ROOT / "benchmarks" / "loyalty_proofs.csv"


def record(proof: str, replicates: int, found: float, required: str, **further) -> None:
    """Write one figure of the soak, in place of the one that stood there."""
    row = {"proof": proof, "replicates": replicates, "found": round(found, 4), "required": required, **further}
    old = pd.read_csv(FIGURES) if FIGURES.exists() else pd.DataFrame(columns=["proof"])
    table = pd.concat([old[old["proof"] != proof], pd.DataFrame([row])]).sort_values("proof")
    table = table.astype({"replicates": int})
    table.to_csv(FIGURES, index=False)


def worth(table, cluster=None, **options):
    return (
        worth_of_a_point(as_survey(table, cluster=cluster), revenue="revenue", loyalty="nps", **options)
        .glance()
        .iloc[0]
    )


def simulated(rng, n, slope, clusters=None, zeros=0.3, shape=1.2):
    """30 % zeros, gamma amounts; with `clusters`, branches that share a level of score and of revenue."""
    branch = np.arange(n) % clusters if clusters else np.arange(n)
    level = 0.25 * rng.normal(size=clusters)[branch] if clusters else 0.0
    score = np.clip(np.round(7.5 + 2 * rng.normal(size=n)), 0, 10)
    mean = np.exp(4 + slope * score + level)
    revenue = np.where(rng.random(n) < zeros, 0, rng.gamma(shape, mean / shape / (1 - zeros)))
    return pd.DataFrame({"nps": score, "revenue": revenue, "branch": branch})


def error(share: float, replicates: int) -> float:
    return np.sqrt(share * (1 - share) / replicates)


# --- coverage ----------------------------------------------------------------------------------------------------------------


def true_worth(slope, level_variance=0.0):
    at = np.arange(11)
    edges = np.concatenate([[-np.inf], at[1:] - 0.5, [np.inf]])
    p = np.diff(stats.norm.cdf((edges - 7.5) / 2))
    return np.sum(p * np.exp(4 + slope * at + level_variance / 2) * np.expm1(slope) * (at < 10))


def coverage(replicates, n, slope, clusters, n_boot, seed=0):
    rng, hits = np.random.default_rng(seed), 0
    truth = true_worth(slope, 0.0625 if clusters else 0.0)
    cluster = "branch" if clusters else None
    for i in range(replicates):
        g = worth(simulated(rng, n, slope, clusters), cluster=cluster, n_boot=n_boot, seed=i)
        hits += g["money_low"] <= truth <= g["money_high"]
    return hits / replicates


def allowed(replicates, share=0.95, slack=0.015):
    return slack + 2 * error(share, replicates)


@pytest.mark.parametrize(("n", "slope", "clusters"), [(500, 0.05, None), (1200, 0.05, 60)])
def test_worth_interval_covers_95_in_100_sample(n, slope, clusters):
    assert coverage(60, n, slope, clusters, 200) == pytest.approx(0.95, abs=allowed(60))


@pytest.mark.soak
@pytest.mark.parametrize(
    ("n", "slope", "clusters"), [(500, 0.05, None), (2000, 0.02, None), (1200, 0.05, 60), (2000, 0.0, 40)]
)
def test_worth_interval_covers_95_in_100(n, slope, clusters):
    found = coverage(2000, n, slope, clusters, 1000, seed=3)
    what = f"worth of a point covers; n {n}, slope {slope}, {clusters or 'no'} clusters"
    record(what, 2000, found, f"0.95 within {allowed(2000):.3f}")
    assert found == pytest.approx(0.95, abs=allowed(2000))


def few_cluster_coverage(replicates, model, clusters=15, seed=0):
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(replicates):
        survey = as_survey(simulated(rng, 600, 0.05, clusters), cluster="branch")
        s = cases_of(survey, revenue="revenue", loyalty="nps")
        _, low, high, _ = estimate(s, plan_for(s, model)).interval("nps", 0.95)
        hits += low <= 0.05 <= high
    return hits / replicates


@pytest.mark.parametrize("model", ["poisson", "log_ols"])
def test_the_slope_covers_95_in_100_with_15_clusters_sample(model):
    assert few_cluster_coverage(100, model) == pytest.approx(0.95, abs=allowed(100))


@pytest.mark.soak
@pytest.mark.parametrize("model", ["poisson", "log_ols"])
def test_the_slope_covers_95_in_100_with_15_clusters(model):
    """Jackknife (CV3) for Poisson, CR2 with Satterthwaite's degrees of freedom for the linear model of logs."""
    found = few_cluster_coverage(1500, model, seed=8)
    record(f"slope covers; 15 clusters, {model}", 1500, found, f"0.95 within {allowed(1500):.3f}")
    assert found == pytest.approx(0.95, abs=allowed(1500))


# --- false headlines -----------------------------------------------------------------------------------------------------------


def unrelated(rng):
    return simulated(rng, 600, 0.0), {}


def unrelated_in_branches(rng):
    return simulated(rng, 800, 0.0, 40), {"cluster": "branch"}


def score_after_revenue(rng):
    table = simulated(rng, 600, 0.0)
    table["nps"] = np.clip(np.round(5 + 0.8 * np.log1p(table["revenue"]) + 2 * rng.normal(size=600)), 0, 10)
    return table.assign(asked="2025-06-01"), {"asked": "asked", "revenue_from": "2025-01-01"}


def leaky(rng, noise=1.0):
    table = simulated(rng, 600, 0.0)
    table["nps"] = np.clip(np.round(10 * table["revenue"].rank(pct=True) + noise * rng.normal(size=600)), 0, 10)
    return table, {}


def leaky_with_noise(rng):
    return leaky(rng, noise=3.0)


def score_that_knows_who_left(rng):
    """As in the public telephone tables: the lowest scores all left and spend nothing, the highest all stayed."""
    table = simulated(rng, 600, 0.0, zeros=0.0)
    score = rng.choice([1, 2, 3, 4, 5], 600, p=[0.13, 0.07, 0.38, 0.26, 0.16])
    left = (score <= 2) | ((score == 3) & (rng.random(600) < 0.16))
    return table.assign(nps=score, revenue=table["revenue"].where(~left, 0.0)), {}


def panel_after_revenue(n, periods, answers):
    """Customers whose level stands behind both, and whose score answers to the revenue of the period before."""

    def null(rng):
        level, before, parts = 0.6 * rng.normal(size=n), rng.normal(size=n), []
        for t in range(periods):
            score = np.clip(np.round(7 + level + answers * before + 1.2 * rng.normal(size=n)), 0, 10)
            revenue = np.where(rng.random(n) < 0.2, 0, rng.gamma(1.2, np.exp(4 + level), n))
            before = np.log1p(revenue) - np.log1p(revenue).mean()
            parts.append(pd.DataFrame({"customer": np.arange(n), "period": t, "nps": score, "revenue": revenue}))
        return pd.concat(parts, ignore_index=True), {"customer": "customer", "period": "period"}

    null.__name__ = f"panel_of_{n}_by_{periods}_score_after_revenue_{answers}"
    return null


PANELS = [panel_after_revenue(150, 5, 1.0), panel_after_revenue(150, 5, 0.2), panel_after_revenue(300, 3, 0.3)]
NULLS = [unrelated, unrelated_in_branches, score_after_revenue, leaky, leaky_with_noise, score_that_knows_who_left]


def false_headlines(null, replicates, n_boot, seed=0):
    rng, given = np.random.default_rng(seed), 0
    for i in range(replicates):
        table, options = null(rng)
        given += bool(worth(table, n_boot=n_boot, seed=i, **options)["established"])
    return given / replicates


def most(replicates):
    return 0.05 + 2 * error(0.05, replicates)


@pytest.mark.parametrize("null", [*NULLS, *PANELS], ids=lambda f: f.__name__)
def test_false_headlines_are_at_most_5_in_100_sample(null):
    replicates = 10 if null in PANELS else 40
    assert false_headlines(null, replicates, 100) <= most(replicates)


@pytest.mark.soak
@pytest.mark.parametrize("null", [*NULLS, *PANELS], ids=lambda f: f.__name__)
def test_false_headlines_are_at_most_5_in_100(null):
    replicates = 400 if null in PANELS else 2000
    found = false_headlines(null, replicates, 200 if null in PANELS else 400, seed=9)
    record(f"false headlines; {null.__name__}", replicates, found, f"at most {most(replicates):.3f}")
    assert found <= most(replicates)


# --- power ---------------------------------------------------------------------------------------------------------------------


def wald_power(n, slope, zeros=0.3, shape=1.2):
    """Power of a plain Wald test at the truth: information of the score under the simulated design."""
    at = np.arange(11)
    p = np.diff(stats.norm.cdf((np.concatenate([[-np.inf], at[1:] - 0.5, [np.inf]]) - 7.5) / 2))
    mean = np.exp(4 + slope * at)
    X = np.column_stack([np.ones(11), at])
    bread = np.linalg.inv(X.T @ ((p * mean)[:, None] * X))
    second = mean**2 * ((1 + 1 / shape) / (1 - zeros) - 1)
    spread = np.sqrt((bread @ (X.T @ ((p * second)[:, None] * X)) @ bread)[1, 1] / n)
    return stats.norm.sf(1.959964 - slope / spread) + stats.norm.cdf(-1.959964 - slope / spread)


def headlines(n, slope, replicates, n_boot, seed=0):
    rng = np.random.default_rng(seed)
    given = [worth(simulated(rng, n, slope), n_boot=n_boot, seed=i)["established"] for i in range(replicates)]
    return float(np.mean(given))


def test_a_planted_8_percent_is_given_wherever_a_wald_test_has_90_percent_power_sample():
    assert wald_power(1000, np.log(1.08)) > 0.9
    assert headlines(1000, np.log(1.08), 30, 200) >= 0.9


@pytest.mark.soak
@pytest.mark.parametrize("n", [1000, 3000, 10000])
@pytest.mark.parametrize("percent", [2, 4, 8])
def test_power_table(n, percent, capsys):
    slope, replicates = np.log1p(percent / 100), 400
    power, share = wald_power(n, slope), headlines(n, slope, replicates, 400, seed=n + percent)
    what = f"headlines given; +{percent} % a point, n {n:5d}"
    record(what, replicates, share, "at least 0.9" if power >= 0.9 else "any", wald_power=round(power, 4))
    with capsys.disabled():
        print(f"\n+{percent} % a point, n = {n}: headlines {share:.3f}, Wald power {power:.3f}")
    assert power < 0.9 or share >= 0.9
