"""What to do about drivers, with survey weights and clusters: against statsmodels and sums written out."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from drivers_calls import asked
from estimates import survey_mean

from cxresearch.inference.pooling import feldt_interval
from cxresearch.survey import as_survey

D = ["d1", "d2", "d3", "d4", "d5"]
DESIGN = dict(weight="w", cluster="shop")
ASK = dict(outcome="y", drivers=D, n_boot=2000, seed=1, **DESIGN)


@pytest.fixture(scope="module")
def t():
    """Return 1,500 answers from 75 shops that differ, with weights that go with the rating."""
    rng = np.random.default_rng(7)
    shop = np.repeat(np.arange(75), 20)
    common = 0.7 * rng.normal(size=75)[shop] + 0.5 * rng.normal(size=1500)
    x = common[:, None] + rng.normal(size=(1500, 5))
    t = pd.DataFrame(np.clip(np.round(3 + 0.9 * x), 1, 5), columns=D).assign(shop=shop)
    t["w"] = np.exp(0.3 * common + 0.3 * rng.normal(size=1500))
    noise = rng.normal(size=1500) + 0.6 * rng.normal(size=75)[shop]
    t["y"] = np.clip(np.round(5 + t["d1"] - 1.2 * (t["d2"] <= 2) + 0.4 * t["d3"] + noise - 2), 0, 10)
    return t


def half(table, low="conf_low", high="conf_high"):
    return ((table[high] - table[low]) / 3.92).to_numpy()


def test_penalties_and_rewards_are_weighted_least_squares_with_clustered_errors(t):
    found = asked("penalty_reward")(t, **ASK).tidy()
    dummies = np.column_stack([c for d in D for c in (t[d] <= 2, t[d] >= 4)]).astype(float)
    fit = sm.WLS(t["y"], sm.add_constant(dummies), weights=t["w"])
    clustered = fit.fit(cov_type="cluster", cov_kwds={"groups": t["shop"]})
    np.testing.assert_allclose(found[["penalty", "reward"]].to_numpy().ravel(), clustered.params[1:], atol=1e-8)
    np.testing.assert_allclose(half(found, "penalty_low", "penalty_high"), clustered.bse[1::2], rtol=0.12)
    assert np.mean(half(found, "penalty_low", "penalty_high")) > 1.03 * np.mean(fit.fit().bse[1::2])
    counts = [(t[d] <= 2).sum() for d in D], [(t[d] >= 4).sum() for d in D]
    assert (found["n_low"].tolist(), found["n_high"].tolist()) == counts


def test_performance_is_the_weighted_mean_with_the_design_s_error(t):
    found = asked("importance_performance")(t, **ASK, scales=dict.fromkeys(D, (1, 5))).tidy()
    exact = survey_mean(25 * (t[D] - 1).to_numpy(), weights=t["w"], cluster=t["shop"])
    np.testing.assert_allclose(found["estimate"], [25 * (np.average(t[d], weights=t["w"]) - 1) for d in D])
    np.testing.assert_allclose(half(found), np.sqrt(np.diag(exact.covariance)), rtol=0.08)
    importance = asked("driver_importance")(t, **ASK).tidy()
    pd.testing.assert_frame_equal(
        found[["share", "share_low", "share_high"]], importance[["share", "share_low", "share_high"]]
    )


def test_improvement_is_the_weighted_slope_times_the_weighted_room_capped_row_by_row(t):
    rise = {"d1": 1, "d3": 2}
    found = asked("simulate_improvement")(
        t, **ASK, improve=rise, scales=dict.fromkeys(D, (1, 5)) | {"y": (0, 10)}
    ).tidy()
    slopes = sm.WLS(t["y"], sm.add_constant(t[D]), weights=t["w"]).fit().params
    w, y = t["w"] / t["w"].sum(), t["y"]

    def points(answers):
        """Promoters less detractors; an answer between two scores counts for each in proportion."""
        down = np.floor(answers)
        at_most = {s: np.where(s >= 9, 1, np.where(s <= 6, -1, 0)) for s in range(12)}
        share = answers - down
        value = np.array([at_most[int(a)] * (1 - f) + at_most[int(a) + 1] * f for a, f in zip(down, share)])
        return 100 * (w @ value)

    moves = {d: slopes[d] * (np.minimum(t[d] + r, 5) - t[d]) for d, r in rise.items()}
    for row, move in zip(found.itertuples(), (moves["d1"], moves["d3"], moves["d1"] + moves["d3"])):
        after = np.clip(y + move, 0, 10)
        assert row.estimate == pytest.approx(w @ (after - y), abs=1e-9)
        assert row.nps_change == pytest.approx(points(after) - points(y), abs=1e-6)
        assert row.conf_low < row.estimate < row.conf_high
    assert found["share_moved"].iloc[0] == pytest.approx(w[t["d1"] < 5].sum())


def test_halo_held_is_weighted_least_squares_on_the_weighted_first_component(t):
    found = asked("halo_check")(t, **ASK)
    w = t["w"].to_numpy()
    covariance = np.cov(t[[*D, "y"]].to_numpy().T, aweights=w)
    matrix = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    values, vectors = np.linalg.eigh(matrix[:5, :5])
    z = (t[D] - np.average(t[D], axis=0, weights=w)) / np.sqrt(np.diag(covariance)[:5])
    first = z.to_numpy() @ vectors[:, -1]

    def r2(columns):
        return sm.WLS(t["y"], sm.add_constant(columns), weights=w).fit().rsquared

    glance = found.glance().iloc[0]
    assert glance["first_factor"] == pytest.approx(values[-1] / 5)
    assert glance["r2"] == pytest.approx(r2(t[D]))
    assert glance["r2_held"] == pytest.approx(r2(t[D]) - r2(first))
    table = found.tidy()
    np.testing.assert_allclose(table["loading"].abs(), np.abs(vectors[:, -1]) * np.sqrt(values[-1]), atol=1e-10)
    assert glance["n_effective"] == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_alpha_omega_and_htmt_of_weighted_covariances(t):
    scales = {"a": ["d1", "d2", "d3"], "b": ["d4", "d5"]}
    found = asked("scale_reliability")(t, scales=scales, seed=1, **DESIGN)
    c = np.cov(t[D].to_numpy().T, aweights=t["w"])
    r = c / np.sqrt(np.outer(np.diag(c), np.diag(c)))
    alpha = [1.5 * (1 - np.trace(c[:3, :3]) / c[:3, :3].sum()), 2 * (1 - np.trace(c[3:, 3:]) / c[3:, 3:].sum())]
    np.testing.assert_allclose(found.tidy()["estimate"], alpha)
    within = np.mean(r[[0, 0, 1], [1, 2, 2]]) * r[3, 4]
    assert found.tables()["htmt"]["estimate"].item() == pytest.approx(r[:3, 3:].mean() / np.sqrt(within))
    simple = feldt_interval(alpha[0], 1500, 3, 0.95)
    row = found.tidy().iloc[0]
    assert row["conf_high"] - row["conf_low"] > simple[1] - simple[0]  # shops make answers alike


def test_reliability_interval_of_a_simple_sample_is_the_bootstrap_s(t):
    alone = t.assign(w=1.0)
    simple = asked("scale_reliability")(alone, scales={"a": D}).tidy().iloc[0]
    drawn = asked("scale_reliability")(as_survey(alone, weight="w"), scales={"a": D}, seed=1).tidy().iloc[0]
    assert [drawn["conf_low"], drawn["conf_high"]] == pytest.approx([simple["conf_low"], simple["conf_high"]], abs=0.01)


def test_differences_between_waves_have_the_error_of_two_clustered_bootstraps(t):
    waves = t.assign(wave=np.where(t["shop"] < 40, "2017", "2018"))
    differences = asked("compare_drivers")(waves, **ASK, by="wave").tables()["differences"].set_index("term")
    each = [asked("driver_importance")(waves[waves["wave"] == g], **ASK).tidy() for g in ("2017", "2018")]
    np.testing.assert_allclose(differences["estimate"], each[0]["share"] - each[1]["share"], atol=1e-12)
    error = np.hypot(*(half(e, "share_low", "share_high") for e in each))
    np.testing.assert_allclose(differences["std_error"], error, rtol=0.12)
