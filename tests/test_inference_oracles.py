"""Survival, pooling, clusters, shares, ratios and agreement against published numbers and other programs."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from cxresearch.errors import DataProblem
from cxresearch.inference import (
    adjusted_p_values,
    fieller_interval,
    goodman_intervals,
    joint_p_value,
    newcombe_difference,
    ratio_interval,
    ratio_p_value,
)
from cxresearch.inference.clusters import cr2, demean, jackknife, two_way, wild_bootstrap
from cxresearch.inference.events import opened
from cxresearch.inference.pooling import (
    between_variance,
    cronbach_alpha,
    intraclass,
    krippendorff_alpha,
    one_factor_omega,
    one_way,
    shrink,
)
from cxresearch.inference.survival import kaplan_meier, log_rank, restricted_mean
from cxresearch.survey import sampling_units, total_covariance

# Freireich et al. (1963), Blood 21:699: weeks in remission, 6-MP (0: still in remission) and placebo (all relapsed).
SIX_MP = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35])
RELAPSED = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0])
PLACEBO = np.array([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23])
WEEKS, EVENTS = np.concatenate([SIX_MP, PLACEBO]), np.concatenate([RELAPSED, np.ones(21)])
ARMS = np.repeat(["6-MP", "placebo"], 21)

# Travel times of six rails, three each (Pinheiro & Bates 2000); four judges of six targets (Shrout & Fleiss 1979).
RAIL = [55, 53, 54, 26, 37, 32, 78, 91, 85, 92, 100, 96, 49, 51, 50, 80, 85, 83]
JUDGES = [9, 2, 5, 8, 6, 1, 3, 2, 8, 4, 6, 8, 7, 1, 2, 6, 10, 5, 6, 9, 6, 2, 4, 7]

# Krippendorff (2011): four observers, twelve units.
N = np.nan
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]


def refused(function, *args, **options) -> str:
    with pytest.raises(DataProblem) as caught:
        function(*args, **options)
    return str(caught.value)


# --- intervals -------------------------------------------------------------------------------------------------------


def test_difference_of_56_in_70_and_48_in_80_is_0524_to_3339_newcombe_1998():
    assert np.round(newcombe_difference(56 / 70, 70, 48 / 80, 80, 0.95), 4).tolist() == [0.0524, 0.3339]


def test_simultaneous_intervals_of_seven_counts_goodman_1965():
    counts = np.array([56, 72, 73, 59, 62, 87, 58])
    low, high = goodman_intervals(counts / counts.sum(), counts.sum(), 0.95)
    assert np.round([low[0], high[0], low[-1], high[-1]], 4).tolist() == [0.0852, 0.1663, 0.0888, 0.1711]


def test_a_joint_test_of_as_many_estimates_as_clusters_says_nothing():
    estimates, covariance = np.full(7, 9.0), np.eye(7)
    assert joint_p_value(estimates, covariance) < 1e-12
    assert np.isnan(joint_p_value(estimates, covariance, df=7)) and np.isnan(joint_p_value(estimates, covariance, df=8))
    assert joint_p_value(estimates, covariance, df=40) < 1e-6


# --- survival --------------------------------------------------------------------------------------------------------


def test_six_mp_remission_at_10_weeks_is_7529_with_error_0963_freireich_1963():
    found = kaplan_meier(SIX_MP, RELAPSED)
    at = {10: (0.7529, 0.0963), 6: (0.8571, 0.0764), 23: (0.4482, 0.1346)}
    for week, expected in at.items():
        i = np.flatnonzero(found.time == week)[0]
        assert (found.estimate[i], found.std_error[i]) == pytest.approx(expected, abs=5e-5)
    assert found.at_risk[0] == 21


def test_median_remissions_are_23_and_8_weeks_with_statsmodels_intervals_freireich_1963():
    assert kaplan_meier(SIX_MP, RELAPSED).median() == pytest.approx((23, 13, np.nan), nan_ok=True)
    assert kaplan_meier(PLACEBO, np.ones(21)).median() == (8, 4, 11)


def test_log_rank_of_6_mp_and_placebo_is_16_793_freireich_1963():
    assert log_rank(WEEKS, EVENTS, ARMS) == pytest.approx(chi2.sf(16.793, 1), rel=1e-3)
    late = np.repeat(["seen", "gone before anything happened"], [42, 3])
    assert np.isnan(log_rank(np.append(WEEKS, [0.5] * 3), np.append(EVENTS, [0] * 3), late))


@pytest.mark.parametrize("design", ["none", "clusters"])
def test_nothing_of_survival_depends_on_the_unit_of_the_weights(design):
    rng = np.random.default_rng(2)
    w, units = rng.gamma(2, 1, 42), sampling_units(42, cluster=np.arange(42) // 2)
    options = {} if design == "none" else {"covariance": lambda rows: total_covariance(rows, units)}
    once, hundred = (kaplan_meier(WEEKS, EVENTS, weights=w * unit, **options) for unit in (1, 100))
    assert (once.low, once.high) == (pytest.approx(hundred.low), pytest.approx(hundred.high))


def test_rows_that_stand_twice_in_their_cluster_have_the_error_of_one_each():
    units = sampling_units(42, cluster=np.repeat(np.arange(21), 2))
    twice = kaplan_meier(
        np.repeat(SIX_MP, 2), np.repeat(RELAPSED, 2), covariance=lambda rows: total_covariance(rows, units)
    )
    once = kaplan_meier(SIX_MP, RELAPSED)
    assert twice.std_error == pytest.approx(once.std_error * np.sqrt(21 / 20))


def test_rows_of_weight_zero_do_not_count_and_times_never_seen_are_missing():
    w = np.where(ARMS == "6-MP", 3.0, 0.0)
    found, alone = kaplan_meier(WEEKS, EVENTS, weights=w, at=[40]), kaplan_meier(SIX_MP, RELAPSED)
    same = np.isin(found.time, alone.time)
    assert found.estimate[same] == pytest.approx(alone.estimate)
    assert found.at_risk[same].tolist() == alone.at_risk.tolist()
    assert np.isnan(found.estimate[-1]) and found.at_risk[-1] == 0


def test_restricted_mean_of_all_who_relapsed_is_their_mean_with_its_error():
    mean, low, high = restricted_mean(PLACEBO, np.ones(21), 23)
    half = 1.959964 * PLACEBO.std() / np.sqrt(21)
    assert (mean, low, high) == pytest.approx((PLACEBO.mean(), PLACEBO.mean() - half, PLACEBO.mean() + half), rel=1e-6)


def test_survival_refuses_what_it_cannot_read():
    assert refused(restricted_mean, SIX_MP, RELAPSED, 36) == (
        "horizon=36 must lie above 0 and at most at 35, the longest time seen"
    )
    assert refused(kaplan_meier, [1.0, np.nan], [1, 0]) == (
        "survival needs rows with a time, an event of 0 or 1 and weights that are not all zero"
    )


# --- pooling ---------------------------------------------------------------------------------------------------------


def test_between_group_variance_of_paule_and_mandel_makes_q_its_expectation():
    b, v = np.array([0.1, 0.3, -0.2, 0.5]), np.array([0.01, 0.02, 0.015, 0.01])
    tau2 = between_variance(b, v)
    w = 1 / (v + tau2)
    assert np.sum(w * (b - w @ b / w.sum()) ** 2) == pytest.approx(3, abs=1e-8)
    assert between_variance(np.array([0.1, 0.1001]), np.array([1.0, 1.0])) == 0.0


def test_reml_of_dyestuff_is_1764_05_and_2451_25_davies_1947(oracles):
    table = pd.read_csv(oracles / "dyestuff.csv")
    found = one_way(table["Yield"], table["Batch"])
    assert (found.between, found.within, found.icc) == pytest.approx((1764.05, 2451.25, 0.41849), rel=1e-5)
    assert found.effects[[0, 4, 5]] == pytest.approx([-17.6069, 56.7332, -44.9953], abs=5e-5)
    anova = intraclass(table["Yield"], table["Batch"])
    assert (anova.single, anova.average) == pytest.approx((0.41849, 0.78253), abs=5e-6)
    assert (anova.low, anova.high) == pytest.approx((0.0838, 0.8479), abs=5e-5)


def test_reml_of_rail_is_24_80546_and_4_020779_pinheiro_bates_2000():
    found = one_way(RAIL, np.repeat(np.arange(6), 3))
    assert np.sqrt([found.between, found.within]) == pytest.approx([24.80546, 4.020779], rel=1e-6)
    assert (found.mean, found.icc) == pytest.approx((66.5, 0.97440), abs=5e-6)
    assert found.effects == pytest.approx([-12.3915, -34.5309, 18.0089, 29.2439, -16.3567, 16.0263], abs=5e-5)


def test_reml_of_unequal_groups_equals_statsmodels_mixedlm():
    import statsmodels.api as sm

    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(30), rng.integers(2, 25, 30))
    y = rng.normal(0, 0.7, 30)[group] + rng.normal(size=len(group))
    reference = sm.MixedLM(y, np.ones((len(y), 1)), groups=group).fit(reml=True)
    found = one_way(y, group)
    assert (found.between, found.within) == pytest.approx((float(reference.cov_re[0, 0]), reference.scale), rel=2e-4)
    assert found.reliability == pytest.approx(found.between / (found.between + found.within / np.bincount(group)))


def test_icc_1_of_six_targets_is_1657_from_minus_1329_to_7226_shrout_fleiss_1979():
    found = intraclass(JUDGES, np.repeat(np.arange(6), 4))
    assert (found.single, found.low, found.high) == pytest.approx((0.1657, -0.1329, 0.7226), abs=5e-5)
    assert found.average == pytest.approx(0.4428, abs=5e-5)


def test_batting_averages_of_eighteen_players_are_drawn_by_1_less_212_to_265_efron_morris_1977():
    hits = np.array([18, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7]) / 45
    found = shrink(hits, np.full(18, hits.mean() * (1 - hits.mean()) / 45))
    assert (found.mean, 1 - found.pull[0], found.estimate[0]) == pytest.approx((0.265, 0.212, 0.294), abs=6e-4)


def test_groups_that_show_no_variance_between_them_keep_intervals_that_allow_for_some():
    variances = np.array([0.01, 0.02, 0.01, 0.03, 0.02])
    found = shrink(np.array([0.2, 0.21, 0.19, 0.2, 0.2]), variances)
    alone = 1 / np.sqrt(np.sum(1 / variances))  # the error of their mean
    assert found.between == 0 and (found.std_error > 1.15 * alone).all()
    assert (found.std_error < np.sqrt(variances)).all()


def test_shrinkage_of_three_groups_is_not_estimable_and_missing_ones_stay_missing():
    assert np.isnan(shrink([0.1, 0.2, 0.4], [0.01] * 3).estimate).all()
    found = shrink([0.1, np.nan, 0.2, 0.4, 0.3], [0.01] * 5)
    assert np.isnan(found.low[1]) and np.isfinite(np.delete(found.low, 1)).all()


def test_groups_of_one_answer_have_no_variance_within():
    assert refused(one_way, [1.0, 2.0], ["a", "b"]) == (
        "variance between and within groups needs two groups, one of two answers, none missing; found 2 groups, the "
        "largest of 1, 0 missing"
    )
    assert refused(one_way, [1.0, 1.0, 2.0, 2.0], [0, 0, 1, 1]) == (
        "all answers of each group are alike: there is no variance within groups to compare with"
    )


# --- clusters --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def petersen(oracles):
    table = pd.read_csv(oracles / "petersen.csv")
    X = np.column_stack([np.ones(len(table)), table["x"]])
    coef, *_ = np.linalg.lstsq(X, table["y"], rcond=None)
    influence = (table["y"].to_numpy() - X @ coef)[:, None] * X @ np.linalg.inv(X.T @ X)
    return influence * np.sqrt((len(X) - 1) / (len(X) - 2)), table["firm"].to_numpy(), table["year"].to_numpy()


def test_petersen_errors_by_firm_year_and_both_are_050596_033389_053558(petersen):
    influence, firm, year = petersen
    by = lambda cluster: total_covariance(influence, sampling_units(len(influence), cluster=cluster))  # noqa: E731
    found = [by(firm), by(year), two_way(by, firm, year)]
    assert [np.sqrt(c[1, 1]) for c in found] == pytest.approx([0.050596, 0.033389, 0.053558], abs=5e-7)


def test_cr2_equals_the_matrix_formula_bell_mccaffrey_2002():
    rng = np.random.default_rng(0)
    n, cluster = 60, np.repeat(np.arange(6), 10)
    X = np.column_stack([np.ones(n), rng.normal(size=n) + cluster / 3])
    y = rng.normal(size=n) + cluster
    bread = np.linalg.inv(X.T @ X)
    H, residual = X @ bread @ X.T, y - X @ bread @ X.T @ y
    meat, columns = np.zeros((2, 2)), []
    for g in range(6):
        m = cluster == g
        values, vectors = np.linalg.eigh(np.eye(10) - H[np.ix_(m, m)])
        adjust = vectors @ np.diag(values**-0.5) @ vectors.T
        score = X[m].T @ adjust @ residual[m]
        meat += np.outer(score, score)
        columns.append((np.eye(n) - H)[:, m] @ adjust @ X[m] @ bread[:, 1])
    gram = np.stack(columns, axis=1)
    values = np.linalg.eigvalsh(gram.T @ gram)
    covariance, df = cr2(X, residual, cluster)
    assert covariance == pytest.approx(bread @ meat @ bread, rel=1e-10)
    assert df[1] == pytest.approx(values.sum() ** 2 / np.sum(values**2), rel=1e-10)


def test_cluster_jackknife_of_a_mean_is_the_error_between_cluster_means():
    y, cluster = np.arange(12.0), np.repeat(np.arange(4), 3)
    _, covariance = jackknife(lambda w: np.array([w @ y / w.sum()]), cluster, np.ones(12))
    means = y.reshape(4, 3).mean(axis=1)
    assert covariance[0, 0] == pytest.approx(means.var(ddof=1) / 4)


def bootstrapped(X, y, cluster, column, signs, null):
    """Return p of the wild bootstrap as it is defined: residuals under the null, times signs, refitted."""
    others = np.delete(X, column, axis=1)
    fitted = others @ np.linalg.lstsq(others, y - null * X[:, column], rcond=None)[0]
    residual, bread = y - null * X[:, column] - fitted, np.linalg.inv(X.T @ X)

    def t(outcome):
        coef = bread @ X.T @ outcome
        error = outcome - X @ coef
        scores = np.stack([X[cluster == g].T @ error[cluster == g] for g in np.unique(cluster)])
        return abs(coef[column]) / np.sqrt((bread @ scores.T @ scores @ bread)[column, column])

    observed = t(y - null * X[:, column])
    return np.mean([t(fitted + s[cluster] * residual) >= observed * (1 - 1e-10) for s in signs])


def test_wild_bootstrap_equals_refits_under_the_null_cameron_gelbach_miller_2008():
    from itertools import product

    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(7), 9)
    X = np.column_stack([np.ones(63), rng.normal(size=63), rng.normal(size=7)[cluster]])
    y = rng.normal(size=63) + 0.7 * rng.normal(size=7)[cluster] + 0.5 * X[:, 2]
    p, low, high = wild_bootstrap(X, y, cluster, 2, n_boot=0, seed=None, confidence=0.9)
    signs = np.array(list(product((-1.0, 1.0), repeat=7)))
    assert p == bootstrapped(X, y, cluster, 2, signs, 0.0)
    for inside, outside in ((low + 1e-6, low - 1e-6), (high - 1e-6, high + 1e-6)):
        assert bootstrapped(X, y, cluster, 2, signs, inside) > 0.1 >= bootstrapped(X, y, cluster, 2, signs, outside)


def test_wild_bootstrap_of_many_clusters_is_drawn_by_the_seed():
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(20), 5)
    X, y = np.column_stack([np.ones(100), rng.normal(size=100)]), rng.normal(size=100)
    once = wild_bootstrap(X, y, cluster, 1, seed=1, n_boot=499)
    assert once == wild_bootstrap(X, y, cluster, 1, seed=1, n_boot=499)
    assert once != wild_bootstrap(X, y, cluster, 1, seed=2, n_boot=499)


def test_absorbed_effects_leave_the_slope_of_dummies():
    rng = np.random.default_rng(6)
    unit, period = np.repeat(np.arange(12), 6), np.tile(np.arange(6), 12)
    kept = rng.random(72) < 0.8
    unit, period, x = unit[kept], period[kept], rng.normal(size=kept.sum())
    y, w = rng.normal(size=kept.sum()) + 0.3 * x, rng.gamma(2, 1, kept.sum())
    dummies = np.column_stack([x, unit[:, None] == np.arange(12), period[:, None] == np.arange(1, 6)])
    root = np.sqrt(w)
    reference = np.linalg.lstsq(dummies * root[:, None], y * root, rcond=None)[0][0]
    inside = demean(np.column_stack([x, y]), w, [unit, period])
    assert (w * inside[:, 0]) @ inside[:, 1] / ((w * inside[:, 0]) @ inside[:, 0]) == pytest.approx(reference, rel=1e-8)


# --- shares, ratios, agreement ---------------------------------------------------------------------------------------


def test_ratio_of_36_in_40_and_16_in_80_is_4_5_from_2_9396_to_7_1522_koopman_1984():
    assert np.round(ratio_interval(36 / 40, 40, 16 / 80, 80, 0.95), 4).tolist() == [2.9396, 7.1522]
    assert ratio_p_value(0.9, 40, 0.2, 80, [4.5, 2.93956919, 7.15222343]) == pytest.approx([1, 0.05, 0.05], abs=1e-7)


def test_ratios_equal_statsmodels_score_intervals_and_open_where_a_group_is_empty():
    from statsmodels.stats.proportion import confint_proportions_2indep

    cases = [(3, 20, 7, 30), (0, 10, 5, 10), (20, 20, 3, 25), (700, 1000, 10, 900)]
    for a, n, b, m in cases:
        reference = confint_proportions_2indep(a, n, b, m, compare="ratio", method="score", correction=False, alpha=0.1)
        assert ratio_interval(a / n, n, b / m, m, 0.9) == pytest.approx(reference, rel=1e-6, abs=1e-8)
    low, high = ratio_interval(0.5, 10, 0.0, 10, 0.95)
    assert high == np.inf and low > 1 and np.isnan(ratio_interval(0.0, 10, 0.0, 10, 0.95)).all()


def test_fieller_interval_ends_where_the_t_of_the_difference_is_critical_fieller_1954():
    low, high = fieller_interval(12.0, 8.0, (4.0, 1.0), 0.5, confidence=0.95, df=20)
    for ratio in (low, high):
        t = (12 - ratio * 8) / np.sqrt(4 - 2 * ratio * 0.5 + ratio**2)
        assert abs(t) == pytest.approx(2.085963, abs=1e-6)
    assert low < 1.5 < high
    assert fieller_interval(12.0, 8.0, (4.0, 17.0), confidence=0.95) == (-np.inf, np.inf)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.7434), ("ordinal", 0.8154), ("interval", 0.8491)])
def test_alpha_of_four_observers_krippendorff_2011(level, alpha):
    assert krippendorff_alpha(OBSERVERS, level=level) == pytest.approx(alpha, abs=5e-5)


def test_krippendorff_s_alpha_needs_values_that_differ_and_units_rated_twice():
    assert np.isnan(krippendorff_alpha([[1, 1], [1, 1]], level="nominal"))
    assert refused(krippendorff_alpha, [[1, N], [N, 1]], level="nominal") == (
        "alpha compares values of one unit; no unit is rated twice"
    )
    assert refused(krippendorff_alpha, OBSERVERS, level="ratio") == (
        "level='ratio' is not one of 'nominal', 'ordinal', 'interval'"
    )


def test_omega_of_one_factor_equals_statsmodels_factor():
    import statsmodels.api as sm

    rng = np.random.default_rng(7)
    loading = np.array([0.8, 0.6, 0.5, 0.7, 0.3])
    items = rng.normal(size=(300, 1)) * loading + rng.normal(size=(300, 5)) * np.sqrt(1 - loading**2)
    covariance = np.cov(items * [1, 2, 1, 3, 1], rowvar=False)
    found = sm.multivariate.Factor(corr=np.corrcoef(items, rowvar=False), n_factor=1, method="ml", nobs=300).fit()
    spread = np.sqrt(np.diag(covariance))
    common = np.sum(found.loadings[:, 0] * spread) ** 2
    reference = common / (common + np.sum(found.uniqueness * spread**2))
    assert one_factor_omega(covariance) == pytest.approx(reference, abs=1e-6)
    assert np.isnan(one_factor_omega(covariance[:2, :2])) and cronbach_alpha(np.ones((3, 3))) == pytest.approx(1)


# --- events ----------------------------------------------------------------------------------------------------------


def test_a_connection_of_several_tables_is_asked_for_the_one_that_is_named():
    import duckdb

    with duckdb.connect() as connection:
        for name in ("contacts", "payments"):
            connection.execute(f"CREATE TABLE {name} AS SELECT '{name}' AS held")
        with opened(connection, named="payments") as relation:
            assert relation.fetchall() == [("payments",)]
        message = (
            "the connection holds 2 tables (contacts, payments) and none is called visits; "
            "pass connection.table('NAME')"
        )
        with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"), opened(connection, named="visits"):
            pass


def test_a_reversed_table_is_read_whatever_its_columns_hold():
    kinds = {"n": [1, 2], "whole": pd.array([1, None], "Int64"), "yes": pd.array([True, None], "boolean")}
    table = pd.DataFrame(kinds | {"at": pd.to_datetime(["2024-01-01", "2024-02-01"]).tz_localize("UTC")})
    for column in table:
        with opened(table[[column]][::-1]) as relation:
            assert relation.df()[column].isna().tolist() == table[column][::-1].isna().tolist()


@pytest.mark.parametrize("ours, theirs", [("holm", "holm"), ("bh", "fdr_bh")])
def test_adjusted_p_values_equal_statsmodels(ours, theirs):
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(1).uniform(size=30) ** 3
    assert np.array_equal(adjusted_p_values(p, correction=ours), multipletests(p, method=theirs)[1])
    found = adjusted_p_values([*p, np.nan], correction=ours)
    assert np.isnan(found[-1]) and np.array_equal(found[:-1], multipletests(p, method=theirs)[1])
