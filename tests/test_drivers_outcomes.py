"""Binary and ordered outcomes: R's numbers, and replicates that are what refitting gives."""

import re

import numpy as np
import pandas as pd
import pytest
from cxresearch.drivers.binary import Logit, logistic_relative_weights, tjur_unexplained
from cxresearch.drivers.ordered import CumulativeLogit, parallel_lines

from cxresearch.drivers import driver_importance
from cxresearch.drivers.likelihood import fit_subsets, null_loglik, replicate_logliks, unexplained
from cxresearch.errors import DataProblem
from cxresearch.inference.shares import shapley_parts


@pytest.fixture(scope="module")
def cx(oracles):
    return pd.read_csv(oracles / "drivers/cx25.csv")


def names(p):
    return [f"x{k:02d}" for k in range(1, p + 1)]


def parts(table, p, *, outcome, **options):
    found = driver_importance(table, outcome=outcome, drivers=names(p), n_boot=0, seed=None, **options)
    return found.tidy()["estimate"].to_numpy()


def read(oracles, name):
    return pd.read_csv(oracles / f"drivers/{name}.csv", index_col="var")


@pytest.mark.parametrize(
    "p, r2, name, column",
    [
        (8, "mcfadden", "cx_p08_domir_logit_mcfadden", "general"),
        (8, "nagelkerke", "cx_p08_domir_logit_nagelkerke", "general"),
        (8, "mcfadden", "cx_p08_dominanceanalysis_logit", "mcfadden"),
        (10, "mcfadden", "cx_p10_domir_logit_mcfadden", "general"),
    ],
)
def test_logistic_dominance_domir_and_dominanceanalysis(cx, oracles, p, r2, name, column):
    ours = parts(cx, p, outcome="top2", kind="binary", r2=r2)
    np.testing.assert_allclose(ours, read(oracles, name)[column], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "kind, outcome, r2, name, atol",
    [
        ("binary", "top2", "mcfadden", "cx_p08_domir_logit_mcfadden", 1e-8),
        ("binary", "top2", "nagelkerke", "cx_p08_domir_logit_nagelkerke", 1e-8),
        ("binary", "top2", "mcfadden", "cx_p10_domir_logit_mcfadden", 1e-8),
        ("ordered", "nps", "mcfadden", "cx_p06_domir_polr_mcfadden", 1e-6),
    ],
)
def test_conditional_dominance_and_r2_of_likelihoods_domir(cx, oracles, kind, outcome, r2, name, atol):
    reference = read(oracles, name)
    found = driver_importance(cx, outcome=outcome, drivers=list(reference.index), kind=kind, r2=r2, n_boot=0, seed=None)
    gains = found.tables()["dominance"].pivot(index="term", columns="n_entered", values="estimate")
    theirs = reference[[c for c in reference if c.startswith("cond_")]]
    np.testing.assert_allclose(gains.loc[reference.index], theirs, rtol=0, atol=10 * atol)
    assert found.glance()["r2"].item() == pytest.approx(reference["R2"].iloc[0], abs=atol)
    table = found.tidy().set_index("term").loc[reference.index]
    np.testing.assert_allclose(table["share"], reference["stand"], rtol=0, atol=10 * atol)
    np.testing.assert_array_equal(table["rank"], reference["rank"])


@pytest.mark.parametrize("p", [8, 10])
def test_logistic_relative_weights_rwa_tonidandel_lebreton_2010(cx, oracles, p):
    ours = parts(cx, p, outcome="top2", kind="binary", method="relative_weights")
    np.testing.assert_allclose(ours, read(oracles, f"cx_p{p:02d}_rwa_logit")["raw"], rtol=0, atol=1e-8)


def test_cumulative_logit_dominance_domir_polr(cx, oracles):
    ours = parts(cx, 6, outcome="nps", kind="ordered")
    np.testing.assert_allclose(ours, read(oracles, "cx_p06_domir_polr_mcfadden")["general"], rtol=0, atol=1e-6)


def test_housing_cumulative_logit_5664_1_2888_cuts_4961_6907_deviance_3479_149_mass(oracles):
    h = pd.read_csv(oracles / "housing.csv")
    dummies = [
        h["Infl"] == "Medium",
        h["Infl"] == "High",
        h["Type"] == "Apartment",
        h["Type"] == "Atrium",
        h["Type"] == "Terrace",
        h["Cont"] == "High",
    ]
    model = CumulativeLogit(
        np.column_stack(dummies).astype(float),
        h["Sat"].map({"Low": 0, "Medium": 1, "High": 2}).to_numpy(),
        h["Freq"].to_numpy(float),
    )
    fits = fit_subsets(model, [])
    np.testing.assert_allclose(
        fits.parameters[0], [-0.4961, 0.6907, 0.5664, 1.2888, -0.5724, -0.3662, -1.0910, 0.3603], atol=1.1e-4
    )
    assert -2 * fits.loglik[0] == pytest.approx(3479.149, abs=1e-3)


def test_tjur_is_the_difference_of_mean_probabilities_in_statsmodels(cx):
    import statsmodels.api as sm

    x, y = cx[names(2)].to_numpy(float), cx["top2"].to_numpy(float)
    ours = parts(cx, 2, outcome="top2", kind="binary", r2="tjur")

    def tjur(columns):
        fitted = (
            sm.Logit(y, sm.add_constant(x[:, columns])).fit(disp=0).predict() if columns else np.full(len(y), y.mean())
        )
        return fitted[y == 1].mean() - fitted[y == 0].mean()

    first, second, both = tjur([0]), tjur([1]), tjur([0, 1])
    np.testing.assert_allclose(ours, [(first + both - second) / 2, (second + both - first) / 2], atol=1e-8)


def test_replicates_of_subset_fits_are_close_to_refitting(cx):
    x, y = cx[names(4)].to_numpy(float), cx["top2"].to_numpy(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    members = [np.array([1 + k]) for k in range(4)]
    model = Logit(x, y, np.ones(len(y)))
    fits = fit_subsets(model, members)
    weights = np.random.default_rng(1).multinomial(2000, np.full(2000, 1 / 2000), size=12).astype(float)
    refits = [fit_subsets(Logit(x, y, w), members) for w in weights]
    at_sample = shapley_parts(unexplained(fits.loglik, fits.loglik[0], 2000, "mcfadden")[:, None])
    full = np.column_stack(
        [shapley_parts(unexplained(f.loglik, f.loglik[0], 2000, "mcfadden")[:, None])[:, 0] for f in refits]
    )
    quick = shapley_parts(
        unexplained(replicate_logliks(model, fits, weights), null_loglik(y, weights), 2000, "mcfadden")
    )
    assert np.sqrt(np.mean((full - quick) ** 2)) < 0.08 * np.std(full - at_sample)
    full = np.column_stack(
        [shapley_parts(tjur_unexplained(Logit(x, y, w), f.parameters)) for f, w in zip(refits, weights)]
    )
    quick = shapley_parts(tjur_unexplained(model, fits.parameters, fits.inverse, weights))
    assert np.sqrt(np.mean((full - quick) ** 2)) < 0.15 * full.std(axis=1).mean()


def test_binary_findings_say_which_r2_they_divide(cx):
    found = driver_importance(cx, outcome="top2", drivers=names(5), kind="binary", seed=1, n_boot=200)
    r2 = found.glance()["r2"].item()
    assert found.sentence().startswith(
        f"The 5 drivers together account for a McFadden R² of {r2:.3f} for top2 (95 % interval "
    )
    table = found.tidy()
    assert ((table["conf_low"] < table["estimate"]) & (table["estimate"] < table["conf_high"])).all()
    assert found.glance()["method"].item() == "Shapley (LMG), 32 subsets; logistic, McFadden R²; percentile bootstrap"


def test_blocks_and_controls_in_a_binary_model_partition_its_r2(cx):
    blocks = {"a": ["x01", "x02"], "b": ["x03", "x04"]}
    found = driver_importance(
        cx, outcome="top2", drivers=names(4), blocks=blocks, always=["x05"], kind="binary", seed=None, n_boot=0
    )
    y, x = cx["top2"].to_numpy(float), cx[names(5)].to_numpy(float)
    loglik = {
        key: fit_subsets(Logit(x[:, list(key)], y, np.ones(len(y))), []).loglik[0]
        for key in [(4,), (0, 1, 4), (2, 3, 4), (0, 1, 2, 3, 4)]
    }
    control, a, b, both = loglik.values()
    null = np.log(y.mean()) * y.sum() + np.log(1 - y.mean()) * (1 - y).sum()
    expected = np.array([(a - control + both - b) / 2, (b - control + both - a) / 2]) / -null
    np.testing.assert_allclose(found.tidy()["estimate"], expected, atol=1e-8)


def test_null_binary_outcome_is_not_established(cx):
    table = cx.assign(top2=np.random.default_rng(8).integers(0, 2, len(cx)))
    found = driver_importance(table, outcome="top2", drivers=names(6), kind="binary", seed=1, n_boot=100)
    assert found.sentence().startswith("Not established: ")


def test_ordered_findings_check_parallel_lines():
    rng = np.random.default_rng(1)
    n = 3000
    x = rng.normal(size=(n, 3))
    latent = x @ [1, 0.5, 0] + rng.logistic(size=n)
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=np.digitize(latent, [-1, 0.5, 2]))
    found = driver_importance(table, outcome="y", drivers=["a", "b", "c"], kind="ordered", seed=1, n_boot=100)
    assert found.checks().set_index("check").loc["parallel lines (Brant, p)", "ok"]
    assert found.tidy()["rank"].tolist() == [1, 2, 3]
    crossed = table.assign(y=np.where(latent > 0, 1 + (x[:, 2] > 0), 0))
    bent = driver_importance(crossed, outcome="y", drivers=["a", "b", "c"], kind="ordered", seed=1, n_boot=100)
    assert not bent.checks().set_index("check").loc["parallel lines (Brant, p)", "ok"]


def test_parallel_lines_holds_its_level_when_lines_are_parallel():
    rng = np.random.default_rng(2)
    below = 0
    for _ in range(200):
        x = rng.normal(size=(1000, 2))
        y = np.digitize(x @ [1, 0.5] + rng.logistic(size=1000), [-1, 1])
        below += parallel_lines(CumulativeLogit(x, y, np.ones(1000)))[1] < 0.05
    assert below / 200 <= 0.05 + 0.03


def test_logistic_relative_weights_sum_to_the_squared_correlation_with_the_fit(cx):
    x, y = cx[names(4)].to_numpy(float), cx["top2"].to_numpy(float)
    model = Logit(x, y, np.ones(len(y)))
    fitted = model.fitted(fit_subsets(model, []).parameters[0])
    assert logistic_relative_weights(x, y, np.ones(len(y))).sum() == pytest.approx(
        np.corrcoef(y, fitted)[0, 1] ** 2, abs=1e-6
    )


# --- refusals --------------------------------------------------------------------------------------------------------


def refused(message, table, **options):
    with pytest.raises(DataProblem, match="^" + re.escape(message) + "$"):
        driver_importance(table, **{"n_boot": 0, "seed": None} | options)


def test_outcomes_that_are_not_of_the_kind(cx):
    refused(
        "kind='binary' needs an outcome with two different answers; found 9 (2, 3, 4, 5, 6, …)",
        cx,
        outcome="y",
        drivers=names(3),
        kind="binary",
    )
    refused(
        "kind='ordered' needs an outcome with 3 to 11 different answers; found 2",
        cx,
        outcome="top2",
        drivers=names(3),
        kind="ordered",
    )
    refused(
        "r2='tjur' is a difference of two probabilities, for kind='binary' only; choose 'mcfadden' or 'nagelkerke'",
        cx,
        outcome="nps",
        drivers=names(3),
        kind="ordered",
        r2="tjur",
    )


def test_too_many_terms_for_maximum_likelihood(cx):
    refused(
        "kind='binary' fits every subset of at most 14 terms; found 15: group drivers into blocks, or use "
        "kind='linear'",
        cx,
        outcome="top2",
        drivers=names(15),
        kind="binary",
    )


def test_perfect_separation(cx):
    table = cx.assign(x01=np.where(cx["top2"] == 1, cx["x01"] + 20, cx["x01"]))
    refused(
        "kind='binary': the likelihood has no maximum, because some drivers separate the outcome's two answers "
        "perfectly; "
        "leave out the driver that does, or use kind='linear'",
        table,
        outcome="top2",
        drivers=names(3),
        kind="binary",
    )


def test_em_for_a_binary_outcome_with_skipped_answers(cx):
    holes = cx.assign(x01=cx["x01"].where(cx.index >= 50))
    refused(
        "missing='em' is for kind='linear'; 50 of 2000 rows skipped an answer: use missing='imputed' or 'listwise'",
        holes,
        outcome="top2",
        drivers=names(3),
        kind="binary",
    )
    refused(
        "missing='imputed' is random: give a seed, for example seed=1",
        holes,
        outcome="top2",
        drivers=names(3),
        kind="binary",
        missing="imputed",
    )
