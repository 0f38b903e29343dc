"""Do intervals of the shared statistics cover what was planted, and do tests of a null reject one time in twenty?"""

import numpy as np
import pytest
from scipy import stats

from cxresearch.inference import ratio_interval
from cxresearch.inference.clusters import cr2, wild_bootstrap
from cxresearch.inference.pooling import intraclass, one_way, shrink
from cxresearch.inference.survival import kaplan_meier, restricted_mean


def sized(sample: int, whole: int):
    """Run a proof on a sample of its replicates, and on all of them where there is time."""
    return pytest.mark.parametrize("replicates", [sample, pytest.param(whole, marks=pytest.mark.soak)])


def covers(hits, nominal: float = 0.95) -> bool:
    """Return whether the share lies within 1.5 points and two Monte-Carlo errors of what it should be."""
    return abs(np.mean(hits) - nominal) < 0.015 + 2 * np.sqrt(nominal * (1 - nominal) / len(hits))


def in_clusters(rng, n_clusters=10, treated=4):
    cluster = np.repeat(np.arange(n_clusters), rng.integers(5, 40, n_clusters))
    X = np.column_stack([np.ones(len(cluster)), cluster < treated]).astype(float)
    return X, rng.normal(0, 0.5, n_clusters)[cluster] + rng.normal(size=len(cluster)), cluster


@sized(600, 5000)
def test_cr2_rejects_a_null_of_ten_unequal_clusters_one_time_in_twenty(replicates):
    rng, rejected = np.random.default_rng(1), []
    for _ in range(replicates):
        X, y, cluster = in_clusters(rng)
        coef = np.linalg.lstsq(X, y, rcond=None)[0]
        covariance, df = cr2(X, y - X @ coef, cluster)
        rejected.append(2 * stats.t.sf(abs(coef[1]) / np.sqrt(covariance[1, 1]), df[1]) < 0.05)
    assert covers(rejected, 0.05)


@sized(150, 2000)
def test_wild_bootstrap_rejects_a_null_of_ten_unequal_clusters_one_time_in_twenty(replicates):
    rng, rejected = np.random.default_rng(2), []
    for _ in range(replicates):
        X, y, cluster = in_clusters(rng)
        rejected.append(wild_bootstrap(X, y, cluster, 1, n_boot=0, seed=None)[0] <= 0.05)
    assert covers(rejected, 0.05)


def followed(rng, n=120):
    """Return time and event of lives with mean 10, half of them seen to their end, and weights that mean nothing."""
    life, seen = rng.exponential(10, n), rng.uniform(3, 25, n)
    return np.minimum(life, seen), (life <= seen).astype(float), rng.gamma(3, 1, n)


@sized(800, 5000)
def test_weighted_survival_covers_the_planted_curve_median_and_mean(replicates):
    rng, hits = np.random.default_rng(13), []
    for _ in range(replicates):
        time, event, weights = followed(rng)
        curve = kaplan_meier(time, event, weights=weights, at=[8.0])
        i = int(np.flatnonzero(curve.time == 8.0)[0])
        _, low, high = curve.median()
        mean = restricted_mean(time, event, 8.0)
        hits.append(
            (
                curve.low[i] <= np.exp(-0.8) <= curve.high[i],
                low <= 10 * np.log(2) <= (high if np.isfinite(high) else np.inf),
                mean[1] <= 10 * (1 - np.exp(-0.8)) <= mean[2],
            )
        )
    assert [covers(column) for column in np.transpose(hits)] == [True] * 3


@sized(600, 20_000)
def test_icc_interval_of_unequal_groups_covers_the_planted_0_2_and_reml_recovers_it(replicates):
    rng, hits, found = np.random.default_rng(5), [], []
    for i in range(replicates):
        group = np.repeat(np.arange(20), rng.integers(5, 40, 20))
        y = rng.normal(0, 0.5, 20)[group] + rng.normal(size=len(group))
        got = intraclass(y, group)
        hits.append(got.low <= 0.2 <= got.high)
        if i < 200:
            found.append(one_way(y, group).between)
    assert covers(hits)
    assert np.mean(found) == pytest.approx(0.25, abs=4 * np.std(found) / np.sqrt(len(found)))


@pytest.mark.parametrize("between", [0.0, 0.3, 1.0, 5.0])
@sized(300, 20_000)
def test_intervals_of_shrunken_values_cover_at_least_as_often_as_they_say(replicates, between):
    rng, hits = np.random.default_rng(6), []
    for _ in range(replicates):
        variances = rng.uniform(0.3, 3, 10)
        truth = rng.normal(0, np.sqrt(between), 10)
        got = shrink(rng.normal(truth, np.sqrt(variances)), variances)
        hits.append(np.mean((got.low <= truth) & (truth <= got.high)))
    assert np.mean(hits) > 0.935 - 2 * np.std(hits) / np.sqrt(replicates)


@sized(2000, 20_000)
def test_score_interval_of_a_ratio_covers_small_shares(replicates):
    rng = np.random.default_rng(7)
    x1, x0 = rng.binomial(40, 0.3, replicates), rng.binomial(80, 0.1, replicates)
    ends = {pair: ratio_interval(pair[0] / 40, 40, pair[1] / 80, 80, 0.95) for pair in {*zip(x1, x0)}}
    assert covers([ends[pair][0] <= 3 <= ends[pair][1] for pair in zip(x1, x0)])
