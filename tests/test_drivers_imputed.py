"""Imputed answers: pooled as Rubin says, drawn anew in every replicate, with intervals that cover."""

import numpy as np
import pandas as pd
import pytest
from cxresearch.drivers.imputation import fill, filled_correlations, fit_imputed, impute, pool
from cxresearch.drivers.linear import fit_linear
from cxresearch.drivers.nonlinear import fit_likelihood
from cxresearch.drivers.parts import parts_of
from cxresearch.drivers.resampling import share_draws
from cxresearch.drivers.terms import build_terms
from drivers_calls import asked
from test_drivers_proofs import NAMES, P, population, within_two_errors

from cxresearch.drivers.certainty import draw_all
from cxresearch.inference.shares import em_moments, packed
from cxresearch.survey import as_survey

driver_importance, compare_drivers, importance_performance = map(
    asked, ("driver_importance", "compare_drivers", "importance_performance")
)


@pytest.fixture(scope="module")
def cx(oracles):
    return pd.read_csv(oracles / "drivers/cx25.csv")


def names(p):
    return [f"x{k:02d}" for k in range(1, p + 1)]


def parts(table, p, **options):
    found = driver_importance(table, drivers=names(p), n_boot=0, seed=1, **options)
    return found.tidy()["estimate"].to_numpy()


def test_rubin_pooling_1_05_t_06_df_34_0572_barnard_rubin_1999():
    estimate, total, df = pool([1, 1.2, 0.9, 1.1, 1.05], [0.04, 0.05, 0.045, 0.05, 0.04], df=99)
    assert (estimate, total) == (pytest.approx(1.05), pytest.approx(0.06))
    assert df == pytest.approx(34.0572, abs=1e-4)


def holes(cx, p):
    table = cx[[*names(p), "y", "top2"]].astype(float)
    lost = (np.random.default_rng(1).random(table[names(p)].shape) < 0.3) & (table["y"].to_numpy() > 6)[:, None]
    table[names(p)] = table[names(p)].mask(lost)
    return table


def test_imputation_recovers_what_listwise_loses(cx):
    table = holes(cx, 4)
    truth = parts(cx, 4, outcome="y")
    ask = dict(outcome="y", drivers=names(4), n_boot=0, seed=1)
    imputed, listwise = (
        driver_importance(table, **ask, missing=m).tidy()["estimate"].to_numpy() for m in ("imputed", "listwise")
    )
    assert np.abs(imputed - truth).max() < 0.02 < np.abs(listwise - truth).max()


def test_imputed_binary_outcome_has_rubin_s_standard_errors(cx):
    table = holes(cx, 4)
    found = driver_importance(
        table, outcome="top2", drivers=names(4), kind="binary", missing="imputed", seed=1, n_boot=400
    )
    pooled = found.tables()["imputation"].set_index("term")
    complete = driver_importance(cx, outcome="top2", drivers=names(4), kind="binary", seed=1, n_boot=400).tidy()
    assert (pooled["lost_to_missing"].between(0.02, 0.6)).all()
    assert (
        pooled["std_error"].to_numpy() > 0.9 * (complete["conf_high"] - complete["conf_low"]).to_numpy() / 3.92
    ).all()
    assert set(found.tables()["missing"]["method"]) == {"imputed", "listwise"}
    assert found.glance()["method"].item().endswith("; skipped answers by imputation; percentile bootstrap")


def test_completed_copies_keep_every_answer(cx):
    table = holes(cx, 3)
    terms = build_terms(table, outcome="y", drivers=names(3))
    copies = impute(terms, n_imputations=3, rng=np.random.default_rng(1))[0]
    answered = ~np.isnan(terms.columns)
    for copy in copies:
        np.testing.assert_allclose(copy.columns[answered], terms.columns[answered], atol=1e-9)
        assert not np.isnan(copy.columns).any()
    assert not np.allclose(copies[0].columns, copies[1].columns)


def test_the_three_treatments_stand_side_by_side(cx):
    found = driver_importance(holes(cx, 4), outcome="y", drivers=names(4), n_boot=0, seed=1).tables()["missing"]
    assert list(found["method"].unique()) == ["em", "imputed", "listwise"]
    share = found.pivot(index="term", columns="method", values="share")
    assert np.abs(share["em"] - share["imputed"]).max() < 0.02 < np.abs(share["em"] - share["listwise"]).max()
    quick = driver_importance(holes(cx, 4), outcome="y", drivers=names(4), n_boot=0, seed=None).tables()["missing"]
    assert list(quick["method"].unique()) == ["em", "listwise"]


def small(seed=0, n=400):
    """Return a survey of three ratings with skipped answers, a metric, a yes/no and an ordered outcome, and weights."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    t = pd.DataFrame({k: common + rng.normal(size=n) for k in "abc"})
    t["y"] = t["a"] + 0.5 * t["b"] + rng.normal(size=n)
    t["yes"], t["grade"] = (t["y"] > 0).astype(int), np.digitize(t["y"], [-1, 1])
    t["w"], t["unit"] = rng.uniform(1, 2, n), np.arange(n) // 8
    t[["a", "b"]] = t[["a", "b"]].mask(rng.random((n, 2)) < 0.2)
    return t


def test_imputations_of_a_replicate_average_to_its_own_em_estimate():
    """With weights of a replicate, the mean of many imputed covariances is what EM gives under these weights."""
    terms = build_terms(small(), outcome="y", drivers=["a", "b", "c"])
    moments = em_moments(terms.columns, terms.weights)
    w = np.random.default_rng(5).multinomial(400, np.full(400, 1 / 400)).astype(float)
    many = np.tile(w, (400, 1))
    drawn = filled_correlations(terms, fill(terms, moments, many, np.random.default_rng(6)), many)
    own = em_moments(terms.columns, w).correlations()[:, 0]
    error = drawn.std(axis=1) / np.sqrt(400)
    away = np.abs(drawn.mean(axis=1) - own)
    assert np.all(away <= 4 * error + 0.005)
    assert np.abs(moments.correlations()[:, 0] - own).max() > 0.03  # the replicate's, not the sample's


def test_one_imputation_s_noise_is_taken_out_of_the_draws():
    """The draws spread as the estimator does: by the bootstrap and a twentieth of one imputation's variance."""
    terms = build_terms(small(), outcome="y", drivers=["a", "b", "c"])
    fit = fit_imputed(terms, lambda rows: fit_linear(rows, method="shapley", seed=1), seed=1)
    settled = draw_all(fit, n_boot=2000, seed=1).parts.var(axis=0)
    weights = np.random.default_rng(2).multinomial(400, np.full(400, 1 / 400), size=500).astype(float)
    each = np.stack([fit.draw(weights).parts for _ in range(8)])
    within = each.var(axis=0, ddof=1).mean(axis=0)
    between = each.mean(axis=0).var(axis=0, ddof=1) - within / 8
    np.testing.assert_allclose(settled, between + within / 20, rtol=0.15)
    assert np.all(within[:2] > 0.1 * between[:2])  # there is noise to take out


@pytest.mark.parametrize(
    "kind, outcome, r2, method",
    [
        ("binary", "yes", "mcfadden", "shapley"),
        ("binary", "yes", "nagelkerke", "last"),
        ("binary", "yes", "tjur", "shapley"),
        ("binary", "yes", "mcfadden", "relative_weights"),
        ("ordered", "grade", "mcfadden", "shapley"),
    ],
)
def test_a_replicate_s_imputed_rows_give_what_a_fit_to_them_gives(kind, outcome, r2, method):
    terms = build_terms(small(n=800), outcome=outcome, drivers=["a", "b", "c"])

    def fit_complete(rows):
        return fit_likelihood(rows, kind=kind, r2=r2, method=method)

    copies, moments = impute(terms, n_imputations=1, rng=np.random.default_rng(1))
    base, rng = fit_complete(copies[0]), np.random.default_rng(2)
    weights = rng.multinomial(800, np.full(800, 1 / 800), size=8).astype(float)
    filled = fill(terms, moments, weights, rng)
    quick = base.draw_filled(weights, filled, filled_correlations(terms, filled, weights))
    refits = []
    for w, columns in zip(weights, filled.columns):
        whole = copies[0].columns.copy()
        whole[filled.at] = columns
        refits.append(fit_complete(type(terms)(**{**vars(terms), "columns": whole, "weights": w}).rows(w > 0)))
    full = np.stack([f.parts for f in refits])
    assert np.sqrt(np.mean((quick.parts - full) ** 2)) < 0.15 * full.std(axis=0).mean()
    np.testing.assert_allclose(quick.joint, [f.joint for f in refits], atol=0.15 * full.std(axis=0).max() + 0.003)
    np.testing.assert_allclose(quick.correlations, [f.correlation for f in refits], atol=1e-9)


@pytest.mark.parametrize("kind, outcome", [("linear", "y"), ("binary", "yes"), ("ordered", "grade")])
def test_same_seed_same_imputed_draws_other_seed_others(kind, outcome):
    ask = dict(outcome=outcome, drivers=["a", "b", "c"], kind=kind, missing="imputed", n_boot=100, weight="w")
    first, same, other = (driver_importance(as_survey(small(), cluster="unit"), **ask, seed=s) for s in (1, 1, 2))
    for name, table in first.tables().items():
        pd.testing.assert_frame_equal(table, same.tables()[name])
    assert not first.tidy()["conf_low"].equals(other.tidy()["conf_low"])
    assert not first.tidy()["estimate"].equals(other.tidy()["estimate"])


def test_every_analysis_that_draws_imputes_in_its_replicates():
    t = small().assign(g=np.arange(400) % 2)
    ask = dict(outcome="y", drivers=["a", "b", "c"], missing="imputed", n_boot=200, seed=1)
    bca = driver_importance(t, **ask, interval="bca").tidy()
    assert ((bca["share_low"] < bca["share"]) & (bca["share"] < bca["share_high"])).all()
    assert compare_drivers(t, **ask, by="g").tidy()["share_low"].notna().all()
    assert importance_performance(t, **ask).tidy()["share_low"].notna().all()


def test_duplicate_and_constant_drivers_with_skipped_answers_are_imputed_without_a_crash():
    t = small().assign(d=lambda t: t["a"], e=3.0)
    t.loc[:20, "e"] = np.nan
    ask = dict(outcome="y", drivers=[*"abcde"], missing="imputed", n_boot=100, seed=1)
    found = driver_importance(t, **ask).tidy().set_index("term")
    assert found.loc["e", "estimate"] == pytest.approx(0, abs=1e-9)
    assert found.loc["a", "estimate"] == pytest.approx(found.loc["d", "estimate"], rel=0.01)
    assert found[["share_low", "share_high"]].notna().all(axis=None)


def imputed_coverage(n: int, replicates: int, *, seed: int, n_boot: int) -> np.ndarray:
    """Return how often intervals of shares hold the population's, three in ten answers missing at random."""
    full = population((0.6, 0.4, 0.2, 0, 0), r2=0.5, loading=0.6)
    spread = np.sqrt(np.diag(full))
    truth = parts_of(packed(full / np.outer(spread, spread)), sizes=[1] * P)[:, 0]
    root, rng, inside = np.linalg.cholesky(full), np.random.default_rng(seed), np.zeros(P)
    for k in range(replicates):
        x = rng.normal(size=(n, P + 1)) @ root.T
        lost = rng.random((n, 3)) < (0.6 / (1 + np.exp(-2 * x[:, -1] / spread[-1])))[:, None]
        x[:, :3][lost] = np.nan
        terms = build_terms(pd.DataFrame(x, columns=[*NAMES, "y"]), outcome="y", drivers=NAMES)
        fit = fit_imputed(terms, lambda rows: fit_linear(rows, method="shapley", seed=1), seed=k)
        drawn = share_draws(draw_all(fit, n_boot=n_boot, seed=k).parts)
        low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
        inside += (low <= truth / truth.sum()) & (truth / truth.sum() <= high)
    return inside / replicates


def test_intervals_of_imputed_shares_cover_sample():
    assert np.abs(imputed_coverage(300, 40, seed=1, n_boot=200).mean() - 0.95) <= within_two_errors(0.95, 40)


@pytest.mark.soak
@pytest.mark.parametrize("n", [300, 1000])
def test_intervals_of_imputed_shares_cover_95_times_in_100(n):
    found = imputed_coverage(n, 2000, seed=2, n_boot=400)
    assert np.abs(found - 0.95).max() <= within_two_errors(0.95, 2000)
