"""Drivers against the numbers of relaimpo, domir, rwa and yhat (R), to the ninth decimal."""

import numpy as np
import pandas as pd
import pytest
from drivers_calls import asked
from estimates import lmg

from cxresearch.drivers.shapley import (
    EXACT,
    conditional_dominance,
    exact_parts,
    order_error,
    ordered_parts,
    relative_weights,
    sampled_orders,
)
from cxresearch.inference.shares import as_correlations, em_moments, packed, residual_variances, unpacked

driver_importance = asked("driver_importance")
TIGHT = dict(rtol=0, atol=1e-9)
OURS = {"lmg": "shapley", "first": "first", "last": "last", "genizi": "relative_weights"}


@pytest.fixture(scope="module")
def swiss(oracles):
    return pd.read_csv(oracles / "drivers/swiss.csv", index_col=0)


@pytest.fixture(scope="module")
def cx(oracles):
    return pd.read_csv(oracles / "drivers/cx25.csv")


def read(oracles, name):
    return pd.read_csv(oracles / f"drivers/{name}.csv", index_col="var")


def parts(table, reference, *, outcome, columns=tuple(OURS), drivers=None, **options):
    """Return our parts beside the reference's, both (terms, methods), in the reference's order."""
    ask = dict(outcome=outcome, drivers=drivers or list(reference.index), n_boot=0, seed=None, min_rows=10)
    fitted = driver_importance(table, **ask, **options).fitted
    found = pd.DataFrame(fitted.division.methods, index=fitted.question.names).loc[list(reference.index)]
    ours = [found[OURS[c]] for c in columns]
    return np.column_stack(ours), reference[list(columns)].to_numpy()


def test_swiss_lmg_first_last_genizi_relaimpo(swiss, oracles):
    ours, theirs = parts(swiss, read(oracles, "swiss_relaimpo"), outcome="Fertility")
    np.testing.assert_allclose(ours, theirs, **TIGHT)


def test_swiss_betasq_and_pratt_relaimpo(swiss, oracles):
    reference = read(oracles, "swiss_relaimpo")
    ask = dict(outcome="Fertility", drivers=list(reference.index), n_boot=0, seed=None, min_rows=10)
    found = driver_importance(swiss, **ask).tidy().set_index("term")
    np.testing.assert_allclose(found["coefficient"] ** 2, reference["betasq"], **TIGHT)
    np.testing.assert_allclose(found["coefficient"] * found["correlation"], reference["pratt"], **TIGHT)


def test_swiss_points_per_point_are_the_coefficients_of_the_model_of_all_relaimpo(swiss, oracles):
    reference = read(oracles, "swiss_relaimpo_avecoef")
    ask = dict(outcome="Fertility", drivers=list(reference.index), n_boot=0, seed=None, min_rows=10)
    found = driver_importance(swiss, **ask)
    np.testing.assert_allclose(found.tidy()["per_point"], reference.iloc[:, -1], **TIGHT)
    np.testing.assert_allclose(found.model.params.iloc[1:], reference.iloc[:, -1], **TIGHT)


def test_swiss_commonality_of_31_sets_yhat(swiss, oracles):
    """The part common to a set is an alternating sum of the R² of what is outside it (Nimon & Reio 2011)."""
    drivers = ["Agriculture", "Examination", "Education", "Catholic", "Infant.Mortality"]
    residuals = residual_variances(packed(swiss[[*drivers, "Fertility"]].corr().to_numpy()), [1] * 5)[:, 0]
    reference = pd.read_csv(oracles / "drivers/swiss_yhat_commonality.csv", index_col=0)["Coefficient"]
    for s in range(1, 32):
        rest = 31 & ~s
        subsets = [m for m in range(32) if m & ~s == 0]
        common = sum((-1) ** (m.bit_count() + 1) * (residuals[rest] - residuals[rest | m]) for m in subsets if m)
        inside = [d for k, d in enumerate(drivers) if s >> k & 1]
        name = ", ".join(inside[:-1]) + f", and {inside[-1]}" if len(inside) > 1 else inside[0]
        named = [v for key, v in reference.items() if key.split(" to ")[-1].strip() == name]
        assert common == pytest.approx(named[0], abs=5.1e-5), name


def test_swiss_lmg_is_0571_1712_2601_1056_1128_and_sums_to_7067_lindeman_1980(swiss):
    drivers = ["Agriculture", "Examination", "Education", "Catholic", "Infant.Mortality"]
    ours = lmg(swiss[drivers], swiss["Fertility"])
    np.testing.assert_allclose(ours, [0.05709122, 0.17117303, 0.26013468, 0.10557015, 0.11276592], atol=5e-9)
    assert ours.sum() == pytest.approx(0.706735, abs=5e-7)


def test_swiss_weighted_and_by_design_relaimpo(swiss, oracles):
    weighted = swiss.assign(w=np.arange(1, 48))
    for name in ("swiss_relaimpo_weighted", "swiss_relaimpo_design"):
        ours, theirs = parts(weighted, read(oracles, name), outcome="Fertility", weight="w")
        np.testing.assert_allclose(ours, theirs, **TIGHT)


def test_swiss_groups_relaimpo(swiss, oracles):
    blocks = {"EduExam": ["Education", "Examination"], "CathAgri": ["Catholic", "Agriculture"]}
    drivers = ["Agriculture", "Examination", "Education", "Catholic", "Infant.Mortality"]
    reference = read(oracles, "swiss_relaimpo_groups")
    ours, theirs = parts(
        swiss, reference, outcome="Fertility", columns=("lmg", "first", "last"), drivers=drivers, blocks=blocks
    )
    np.testing.assert_allclose(ours, theirs, **TIGHT)


def test_swiss_always_agriculture_relaimpo(swiss, oracles):
    reference = read(oracles, "swiss_relaimpo_always")
    ours, theirs = parts(
        swiss, reference, outcome="Fertility", columns=("lmg", "first", "last"), always=["Agriculture"]
    )
    np.testing.assert_allclose(ours, theirs, **TIGHT)
    found = driver_importance(
        swiss,
        outcome="Fertility",
        drivers=list(reference.index),
        always=["Agriculture"],
        n_boot=0,
        seed=None,
        min_rows=10,
    )
    assert found.glance()["r2"].item() == pytest.approx(reference["R2decomp"].iloc[0], abs=1e-9)


def test_swiss_dominance_domir_conditional_general_complete(swiss, oracles):
    reference = read(oracles, "swiss_domir")
    matrix = swiss[[*reference.index, "Fertility"]].corr().to_numpy()
    residuals = residual_variances(packed(matrix), [1] * 5)[:, 0]
    gains = conditional_dominance(residuals)
    np.testing.assert_allclose(gains, reference[[f"cond_{k}" for k in range(1, 6)]], **TIGHT)
    np.testing.assert_allclose(gains.mean(axis=1), reference["general"], **TIGHT)
    complete = pd.read_csv(oracles / "drivers/swiss_domir_complete.csv", index_col=0).to_numpy()
    bits = np.arange(32)
    for i, j in [(i, j) for i in range(5) for j in range(5) if i != j]:
        base = bits[(bits >> i & 1 == 0) & (bits >> j & 1 == 0)]  # subsets in which neither is
        assert np.mean(residuals[base | 1 << i] < residuals[base | 1 << j]) == pytest.approx(complete[i, j])


def test_swiss_relative_weights_rwa_and_yhat(swiss, oracles):
    for name, column in (("swiss_rwa", "raw"), ("swiss_yhat_rlw", "rlw")):
        reference = read(oracles, name)
        matrix = swiss[[*reference.index, "Fertility"]].corr().to_numpy()
        np.testing.assert_allclose(relative_weights(matrix[None])[0], reference[column], **TIGHT)


@pytest.mark.parametrize("p", [5, 10])
def test_ratings_relaimpo_domir_rwa(cx, oracles, p):
    reference = read(oracles, f"cx_p{p:02d}_relaimpo")
    ours, theirs = parts(cx, reference, outcome="y")
    np.testing.assert_allclose(ours, theirs, **TIGHT)
    np.testing.assert_allclose(ours[:, 0], read(oracles, f"cx_p{p:02d}_domir")["general"], **TIGHT)
    rwa = read(oracles, f"cx_p{p:02d}_rwa")
    np.testing.assert_allclose(ours[:, 3], rwa["raw"], **TIGHT)
    np.testing.assert_allclose(100 * ours[:, 3] / ours[:, 3].sum(), rwa["resc"], rtol=0, atol=1e-8)


def test_ratings_survey_weights_relaimpo_design(cx, oracles):
    ours, theirs = parts(cx, read(oracles, "cx_p10_relaimpo_design"), outcome="y", weight="w")
    np.testing.assert_allclose(ours, theirs, **TIGHT)


def test_categorical_driver_as_one_term_relaimpo(oracles):
    table = pd.read_csv(oracles / "drivers/cx_factor.csv")
    ours, theirs = parts(table, read(oracles, "cx_factor_relaimpo"), outcome="y", columns=("lmg", "first", "last"))
    np.testing.assert_allclose(ours, theirs, **TIGHT)


def test_listwise_missing_relaimpo(oracles):
    table = pd.read_csv(oracles / "drivers/cx25_missing.csv")
    reference = read(oracles, "cx_p10_missing_relaimpo_listwise")
    ours, theirs = parts(table, reference, outcome="y", missing="listwise")
    np.testing.assert_allclose(ours, theirs, **TIGHT)


def test_percentile_intervals_agree_with_relaimpo_boot1000(cx, oracles):
    reference = read(oracles, "cx_p05_relaimpo_boot1000_perc")
    found = driver_importance(cx, outcome="y", drivers=list(reference.index), seed=1).tidy()
    np.testing.assert_allclose(found["conf_low"], reference["lower"], atol=0.003)
    np.testing.assert_allclose(found["conf_high"], reference["upper"], atol=0.003)
    np.testing.assert_array_equal(found["rank_low"], reference["rank_lo"])
    np.testing.assert_array_equal(found["rank_high"], reference["rank_up"])


def test_the_tree_of_twelve_and_above_equals_subset_regressions():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(60, 14)) + rng.normal(size=(60, 1))
    y = x @ rng.normal(size=14) + rng.normal(size=60)
    matrix = np.corrcoef(np.column_stack([x, y]).T)
    residuals = residual_variances(packed(matrix), [1] * 14)[:, 0]
    for subset in (0, 1, 5, 4097, 12345, 2**14 - 1):
        inside = np.flatnonzero(subset >> np.arange(14) & 1)
        fit = (
            matrix[inside, -1] @ np.linalg.solve(matrix[np.ix_(inside, inside)], matrix[inside, -1])
            if len(inside)
            else 0
        )
        assert residuals[subset] == pytest.approx(1 - fit, abs=1e-12)
    np.testing.assert_allclose(lmg(x, y), conditional_dominance(residuals).mean(axis=1), atol=1e-12)


def test_sampled_orders_agree_with_all_subsets_within_their_error(cx):
    drivers = [f"x{k:02d}" for k in range(1, 16)]
    matrix = packed(cx[[*drivers, "y"]].corr().to_numpy())
    gains = ordered_parts(matrix, [1] * 15, sampled_orders(15, n_orders=2000, seed=1))[:, :, 0]
    exact = exact_parts(matrix, [1] * 15)[:, 0]
    assert np.abs((gains.mean(axis=0) - exact) / order_error(gains)).max() < 4
    assert order_error(gains).max() < 0.0006
    assert gains.sum(axis=1) == pytest.approx(exact.sum())


def test_beyond_the_exact_range_parts_come_with_their_sampling_error(cx):
    rng = np.random.default_rng(2)
    more = cx.assign(**{f"z{k}": rng.normal(size=len(cx)) for k in range(3)})
    drivers = [c for c in more if c[0] in "xz"]
    assert len(drivers) > EXACT
    found = driver_importance(more, outcome="y", drivers=drivers, n_boot=100, seed=1)
    assert found.glance()["method"].item().startswith("Shapley (LMG), sampled orders")
    assert found.checks().set_index("check").loc["largest sampling error of a share", "ok"]
    assert found.tidy()["estimate"].sum() == pytest.approx(found.glance()["r2"].item(), abs=1e-6)
    assert set(found.tidy().nlargest(2, "estimate")["term"]) == {"x01", "x06"}


def test_em_equals_the_maximum_of_the_likelihood():
    """The gradient of the observed-data log-likelihood vanishes at the EM solution (Little & Rubin 2019, ch. 11)."""
    rng = np.random.default_rng(3)
    x = rng.multivariate_normal([1, 2, 3], [[1, 0.5, 0.3], [0.5, 1, 0.4], [0.3, 0.4, 1]], size=200)
    x[rng.random(x.shape) < 0.2] = np.nan
    x = x[~np.isnan(x).all(axis=1)]
    moments = em_moments(x, np.ones(len(x)))
    sample = moments.rows.mean(axis=0)
    mean = sample[-3:]
    covariance = unpacked(sample[:6, None])[0] - np.outer(mean, mean)
    scale = np.nanstd(x, axis=0)
    z = (x - np.nanmean(x, axis=0)) / scale

    def loglik(m, c):
        total = 0.0
        for row in z:
            o = ~np.isnan(row)
            d, s = row[o] - m[o], c[np.ix_(o, o)]
            total -= (np.linalg.slogdet(s)[1] + d @ np.linalg.solve(s, d)) / 2
        return total

    for i in range(3):
        step = np.eye(3)[i] * 1e-4
        assert (loglik(mean + step, covariance) - loglik(mean - step, covariance)) / 2e-4 == pytest.approx(0, abs=2e-4)
        for j in range(3):
            step = np.zeros((3, 3))
            step[i, j] = step[j, i] = 1e-4
            assert (loglik(mean, covariance + step) - loglik(mean, covariance - step)) / 2e-4 == pytest.approx(
                0, abs=2e-3
            )


def test_replicates_of_em_are_close_to_em_in_each_replicate(oracles):
    table = pd.read_csv(oracles / "drivers/cx25_missing.csv")
    columns = table[["x01", "x02", "x03", "x04", "y"]].to_numpy(float)
    moments = em_moments(columns, np.ones(len(columns)))
    weights = np.random.default_rng(1).multinomial(2000, np.full(2000, 1 / 2000), size=10).astype(float)
    quick = as_correlations(moments.covariances(weights))
    full = np.column_stack([as_correlations(em_moments(columns, w).covariances())[:, 0] for w in weights])
    spread = np.std(quick - as_correlations(moments.covariances()))
    assert np.sqrt(np.mean((full - quick) ** 2)) < 0.05 * spread
