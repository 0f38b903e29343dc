"""Parts by loops over all subsets and statsmodels' fits: weights, controls, blocks, categories, never-met together."""

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from drivers_calls import asked
from statsmodels.miscmodels.ordinal_model import OrderedModel

driver_importance = asked("driver_importance")
TERMS = {"service": ["s1", "s2"], "channel": ["channel"], "price": ["price"], "lounge": ["lounge"]}
ASK = dict(
    drivers=["s1", "channel", "price", "s2", "lounge"],
    blocks={"service": ["s1", "s2"]},
    always=["age", "region"],
    weight="w",
    n_boot=0,
    seed=None,
)


@pytest.fixture(scope="module")
def survey():
    rng = np.random.default_rng(11)
    n = 500
    common = rng.normal(size=n)
    t = pd.DataFrame({k: np.clip(np.round(4 + common + rng.normal(size=n)), 1, 7) for k in ("s1", "s2", "price")})
    t["lounge"], t["lounge_met"] = np.clip(np.round(4 + common + rng.normal(size=n)), 1, 7), rng.random(n) < 0.5
    t["lounge"] = t["lounge"].where(t["lounge_met"])
    t["channel"] = pd.Categorical.from_codes(rng.integers(0, 3, n), ["shop", "web", "phone"])
    t["region"] = rng.choice(["north", "south", "west"], n)
    t["age"] = rng.integers(18, 80, n)
    t["w"] = rng.integers(1, 4, n)
    latent = 0.5 * t["s1"] + 0.3 * t["price"] + 0.4 * (t["channel"] == "web") + 0.02 * t["age"] + common
    t["y"] = latent + 0.6 * t["lounge_met"] + 0.3 * t["lounge"].fillna(0) + rng.normal(size=n)
    t["yes"] = (t["y"] + rng.logistic(size=n) > t["y"].median()).astype(int)
    t["grade"] = np.digitize(t["y"] + rng.logistic(size=n), np.quantile(t["y"], [0.3, 0.7]))
    return t


def columns(t, name):
    """Return the model's columns of one driver, written out by hand."""
    if name in ("channel", "region"):
        return pd.get_dummies(t[name].astype(str), drop_first=True).to_numpy(float)
    if name == "lounge":
        met = t["lounge_met"].to_numpy()
        centre = np.average(t["lounge"][met], weights=t["w"][met])
        return np.column_stack([np.where(met, t["lounge"] - centre, 0), met])
    return t[[name]].to_numpy(float)


def brute(t, explained) -> dict[str, np.ndarray]:
    """Return parts by method from a measure of fit `explained(columns)`, by one loop over the subsets."""
    controls = [columns(t, "age"), columns(t, "region")]
    names, p = list(TERMS), len(TERMS)
    fit = {
        s: explained(np.column_stack([*controls, *(columns(t, d) for term in s for d in TERMS[term])]))
        for k in range(p + 1)
        for s in combinations(names, k)
    }
    gain = {
        (term, s): fit[tuple(x for x in names if x in (*s, term))] - fit[s]
        for s in fit
        for term in names
        if term not in s
    }
    shapley = [
        sum(factorial(len(s)) * factorial(p - len(s) - 1) / factorial(p) * g for (u, s), g in gain.items() if u == t_)
        for t_ in names
    ]
    others = {t_: tuple(x for x in names if x != t_) for t_ in names}
    return {
        "shapley": np.array(shapley),
        "first": np.array([gain[t_, ()] for t_ in names]),
        "last": np.array([gain[t_, others[t_]] for t_ in names]),
    }


def ours(t, method="shapley", **options):
    fitted = driver_importance(t, **(ASK | options)).fitted
    return pd.Series(fitted.division.methods[method], fitted.question.names).loc[list(TERMS)].to_numpy()


def agree(t, explained, atol, **options):
    for method, expected in brute(t, explained).items():
        np.testing.assert_allclose(ours(t, method, **options), expected, rtol=0, atol=atol, err_msg=method)


def r2_of(t):
    return lambda x: sm.WLS(t["y"], sm.add_constant(x), weights=t["w"]).fit().rsquared


def test_linear_with_weights_controls_blocks_categories_and_never_met(survey):
    agree(survey, r2_of(survey), 1e-10, outcome="y")


def test_linear_left_out_when_never_met_and_listwise(survey):
    """not_applicable="exclude" keeps those who met the lounge, listwise those who skipped nothing."""
    holes = survey.assign(price=survey["price"].where(np.arange(500) % 5 > 0))
    kept = holes[holes["lounge_met"] & holes["price"].notna()]
    plain = driver_importance(kept.drop(columns="lounge_met"), outcome="y", missing="listwise", **ASK).tidy()
    found = driver_importance(holes, outcome="y", missing="listwise", not_applicable="exclude", **ASK).tidy()
    pd.testing.assert_frame_equal(found, plain)
    assert found["n"].iloc[0] == len(kept)


def test_relative_weights_beyond_controls_are_those_of_the_residuals(survey):
    x = np.column_stack([columns(survey, d) for members in TERMS.values() for d in members])
    controls = sm.add_constant(np.column_stack([columns(survey, "age"), columns(survey, "region")]))

    def left(v):
        return sm.WLS(v, controls, weights=survey["w"]).fit().resid

    z = np.column_stack([*(left(c) for c in x.T), left(survey["y"])])
    matrix = np.cov(z.T, aweights=survey["w"])
    matrix /= np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    values, vectors = np.linalg.eigh(matrix[:-1, :-1])
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    weights = root**2 @ np.linalg.solve(root, matrix[:-1, -1]) ** 2 * (1 - r2_of(survey)(controls[:, 1:]))
    expected = [weights[:2].sum(), weights[2:4].sum(), weights[4], weights[5:].sum()]
    np.testing.assert_allclose(ours(survey, "relative_weights", outcome="y"), expected, atol=1e-10)


def logit(t, x):
    """Return statsmodels' weighted logistic fit, weights scaled to sum to n."""
    w = t["w"] / t["w"].mean()
    return sm.GLM(t["yes"], x, family=sm.families.Binomial(), freq_weights=w).fit(tol=1e-13, maxiter=100)


def mcfadden(t, x):
    return 1 - logit(t, sm.add_constant(x)).llf / logit(t, np.ones((len(t), 1))).llf


def test_binary_with_weights_controls_blocks_categories_and_never_met(survey):
    agree(survey, lambda x: mcfadden(survey, x), 1e-8, outcome="yes", kind="binary")


def test_ordered_with_weights_controls_blocks_categories_and_never_met(survey):
    whole = survey.loc[survey.index.repeat(survey["w"])]
    shares = np.bincount(whole["grade"]) / len(whole)
    null = len(whole) * np.sum(shares * np.log(shares))

    def explained(x):
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        rows = np.repeat(x, survey["w"], axis=0)
        fit = OrderedModel(whole["grade"].to_numpy(), rows, distr="logit").fit(method="bfgs", disp=0, gtol=1e-7)
        return 1 - fit.llf / null

    agree(survey, explained, 1e-6, outcome="grade", kind="ordered")


def test_integer_weights_count_as_repeated_rows(survey):
    """Estimates of any kind with weights are those of the rows written out as often."""
    whole = survey.loc[survey.index.repeat(survey["w"])].assign(w=1)
    for outcome, kind in (("y", "linear"), ("yes", "binary"), ("grade", "ordered")):
        for method in ("shapley", "relative_weights"):
            options = dict(outcome=outcome, kind=kind)
            np.testing.assert_allclose(ours(survey, method, **options), ours(whole, method, **options), atol=1e-8)
