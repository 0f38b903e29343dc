"""Binary and ordered outcomes: R's numbers, and replicates that are what refitting gives."""

import re

import numpy as np
import pandas as pd
import pytest

from cxresearch.drivers import driver_importance
from cxresearch.drivers.likelihood import (
    CumulativeLogit,
    fit_subsets,
    null_loglik,
    parallel_lines,
    replicate_logliks,
)
from cxresearch.errors import DataProblem
from cxresearch.inference.shares import shapley_parts
from cxresearch.survey import as_survey


@pytest.fixture(scope="module")
def cx(oracles):
    return pd.read_csv(oracles / "drivers/cx25.csv")


def names(p):
    return [f"x{k:02d}" for k in range(1, p + 1)]


def read(oracles, name):
    return pd.read_csv(oracles / f"drivers/{name}.csv", index_col="var")


@pytest.mark.parametrize(
    "kind, outcome, name, atol",
    [
        ("binary", "top2", "cx_p08_domir_logit_mcfadden", 1e-8),
        ("binary", "top2", "cx_p10_domir_logit_mcfadden", 1e-8),
        ("ordered", "nps", "cx_p06_domir_polr_mcfadden", 1e-6),
    ],
)
def test_dominance_and_r2_of_likelihoods_domir_and_dominanceanalysis(cx, oracles, kind, outcome, name, atol):
    reference = read(oracles, name)
    found = driver_importance(cx, outcome=outcome, drivers=list(reference.index), kind=kind, n_boot=0, seed=None)
    gains = found.tables()["dominance"].pivot(index="term", columns="n_entered", values="estimate")
    theirs = reference[[c for c in reference if c.startswith("cond_")]]
    np.testing.assert_allclose(gains.loc[reference.index], theirs, rtol=0, atol=10 * atol)
    assert found.glance()["r2"].item() == pytest.approx(reference["R2"].iloc[0], abs=atol)
    table = found.tidy().set_index("term").loc[reference.index]
    np.testing.assert_allclose(table["estimate"], reference["general"], rtol=0, atol=atol)
    if name.startswith("cx_p08"):
        other = read(oracles, "cx_p08_dominanceanalysis_logit")["mcfadden"]
        np.testing.assert_allclose(table["estimate"], other.loc[table.index], rtol=0, atol=atol)
    np.testing.assert_allclose(table["share"], reference["stand"], rtol=0, atol=10 * atol)
    np.testing.assert_array_equal(table["rank"], reference["rank"])


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


def test_replicates_of_subset_fits_are_close_to_refitting(cx):
    x, y = cx[names(4)].to_numpy(float), cx["top2"].to_numpy(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    members = [np.array([1 + k]) for k in range(4)]
    model = CumulativeLogit(x, y, np.ones(len(y)))
    fits = fit_subsets(model, members)
    weights = np.random.default_rng(1).multinomial(2000, np.full(2000, 1 / 2000), size=12).astype(float)
    refits = [fit_subsets(CumulativeLogit(x, y, w), members) for w in weights]
    at_sample = shapley_parts((fits.loglik / fits.loglik[0])[:, None])
    full = np.column_stack([shapley_parts((f.loglik / f.loglik[0])[:, None])[:, 0] for f in refits])
    quick = shapley_parts(replicate_logliks(model, fits, weights) / null_loglik(y, weights))
    assert np.sqrt(np.mean((full - quick) ** 2)) < 0.08 * np.std(full - at_sample)


def test_binary_findings_say_which_r2_they_divide(cx):
    found = driver_importance(cx, outcome="top2", drivers=names(5), kind="binary", seed=1, n_boot=200)
    r2 = found.glance()["r2"].item()
    assert f"together they account for a McFadden R² of {r2:.3f} (95 % interval " in found.sentence()
    said = r"Among all 2,000, a point more of its rating goes with top2 [\d.]+ \(95 % interval [\d. to]+\) percentage points"
    assert re.search(said + " more often[.]$", found.sentence())
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
        key: fit_subsets(CumulativeLogit(x[:, list(key)], y, np.ones(len(y))), []).loglik[0]
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


# --- refusals --------------------------------------------------------------------------------------------------------


def refused(message, table, **options):
    with pytest.raises(DataProblem, match="^" + re.escape(message) + "$"):
        driver_importance(table, **{"n_boot": 0, "seed": None} | options)


@pytest.mark.parametrize(
    "message, outcome, p, kind",
    [
        ("kind='binary' needs an outcome with two different answers; found 9 (2, 3, 4, 5, 6, …)", "y", 3, "binary"),
        ("kind='ordered' needs an outcome with 3 to 11 different answers; found 2", "top2", 3, "ordered"),
        (
            "kind='binary' fits every subset of at most 14 terms; found 15: group drivers into blocks, or use kind='linear'",
            "top2",
            15,
            "binary",
        ),
    ],
)
def test_outcomes_that_are_not_of_the_kind_and_too_many_terms(cx, message, outcome, p, kind):
    refused(message, cx, outcome=outcome, drivers=names(p), kind=kind)


@pytest.mark.parametrize("kind, outcome", [("binary", "top2"), ("ordered", "nps")])
def test_a_driver_that_tells_the_answers_apart_without_an_error_is_named(cx, kind, outcome):
    """All weight on one driver: a step function, a shifted copy, or the outcome itself."""
    message = (
        f"kind={kind!r}: the likelihood has no maximum, because 'x01' tells the outcome's answers apart without an "
        "error; leave it out, or use kind='linear'"
    )
    for x01 in (cx["x01"] + 20 * cx[outcome], 1.0 * cx[outcome]):
        refused(message, cx.assign(x01=x01), outcome=outcome, drivers=names(3), kind=kind)


def test_an_outcome_cut_from_a_driver_is_refused_not_a_singular_matrix():
    rng = np.random.default_rng(0)
    t = pd.DataFrame(rng.integers(1, 6, size=(400, 4)).astype(float), columns=[f"d{k}" for k in range(4)])
    said = (
        "kind='binary': the likelihood has no maximum, because 'd0' tells the outcome's answers apart without an error"
    )
    with pytest.raises(DataProblem, match=f"^{re.escape(said)}"):
        driver_importance(
            t.assign(y=(t["d0"] > 3) * 1), outcome="y", drivers=list(t), kind="binary", n_boot=100, seed=1
        )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["binary", "ordered"])
def test_three_positives_of_400_give_no_verdict_and_no_warning(kind):
    rng = np.random.default_rng(1)
    t = pd.DataFrame(rng.integers(1, 8, size=(400, 3)).astype(float), columns=list("abc"))
    t["y"] = np.where(np.arange(400) < 3, 2, 1 if kind == "binary" else np.arange(400) % 2)
    found = driver_importance(t, outcome="y", drivers=list("abc"), kind=kind, n_boot=300, seed=1)
    assert found.established is False and found.sentence().startswith("No verdict: 3 drivers of y cannot be told apart")
    assert not found.checks().set_index("check").loc["rows of the rarest answer", "ok"]
    assert found.tidy()["share_low"].notna().all()


def test_em_for_a_binary_outcome_with_skipped_answers(cx):
    refused(
        "missing='em' is for kind='linear'; 50 of 2000 rows skipped an answer: use missing='listwise', or kind='linear'",
        cx.assign(x01=cx["x01"].where(cx.index >= 50)),
        outcome="top2",
        drivers=names(3),
        kind="binary",
    )


# --- the fit taken out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("kind, outcome", [("linear", "y"), ("binary", "top2"), ("ordered", "nps")])
def test_the_model_is_statsmodels_fit_with_the_same_point_estimates(cx, kind, outcome, weight):
    table = as_survey(cx, weight=weight)
    found = driver_importance(table, outcome=outcome, drivers=names(4), kind=kind, n_boot=0, seed=None)
    if (kind, weight) == ("ordered", "w"):
        with pytest.raises(DataProblem, match="^statsmodels' OrderedModel takes no weights"):
            found.model
        return
    params = found.model.params
    slopes = params[names(4)] if hasattr(params, "index") else params[:4]
    w = np.ones(len(cx)) if weight is None else cx["w"]
    spread = np.sqrt(np.cov(cx[names(4)].T, aweights=w, bias=True).diagonal())
    table = found.tidy()
    if kind == "linear":
        np.testing.assert_allclose(slopes, table["per_point"], rtol=0, atol=1e-8)
    else:
        np.testing.assert_allclose(slopes * spread, table["coefficient"], rtol=0, atol=1e-8)
    if kind == "binary" and weight is None:
        assert found.model.prsquared == pytest.approx(found.glance()["r2"].item(), abs=1e-8)


def test_the_model_of_skipped_answers_says_why_there_is_none(cx):
    holes = cx.assign(x01=cx["x01"].where(cx.index >= 50))
    ask = dict(outcome="y", drivers=names(3), n_boot=0, seed=None)
    with pytest.raises(DataProblem, match="^skipped answers were kept by maximum likelihood"):
        driver_importance(holes, **ask).model
    fitted = driver_importance(holes, missing="listwise", **ask).model
    assert fitted.nobs == 1950
