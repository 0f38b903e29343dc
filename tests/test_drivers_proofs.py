"""Intervals cover, orders are recovered, nothing is found where nothing is: samples here, the whole as soak."""

import numpy as np
import pandas as pd
import pytest
from proofs import seldom, soak

from cxresearch.drivers import driver_importance
from cxresearch.drivers.model import fit
from cxresearch.drivers.question import ask
from cxresearch.drivers.shapley import exact_parts, share_of
from cxresearch.inference import percentile_interval
from cxresearch.inference.shares import packed
from cxresearch.survey import as_survey

P = 5
NAMES = [f"d{k}" for k in range(1, P + 1)]


def population(slopes, *, r2: float, loading: float) -> np.ndarray:
    """Return the covariance of drivers that share a factor, and of the outcome they explain to `r2`."""
    among = loading**2 * np.ones((P, P)) + (1 - loading**2) * np.eye(P)
    b = np.asarray(slopes, dtype=float)
    explained = b @ among @ b
    full = np.zeros((P + 1, P + 1))
    full[:P, :P], full[:P, P], full[P, :P], full[P, P] = among, among @ b, among @ b, explained / r2
    return full


def coverage(n: int, replicates: int, *, r2: float, loading: float, seed: int, n_boot: int = 1000, lost: float = 0):
    """Return how often percentile intervals of shares and of points per point hold the population's, (2, p).

    `lost` is the share of the first three drivers' answers that are missing at random, the more the better the outcome.
    """
    slopes = np.array([0.6, 0.4, 0.2, 0, 0])
    full = population(slopes, r2=r2, loading=loading)
    spread = np.sqrt(np.diag(full))
    truth = share_of(exact_parts(packed(full / np.outer(spread, spread)), [1] * P)[:, 0])
    root, rng, inside = np.linalg.cholesky(full), np.random.default_rng(seed), np.zeros((2, P))
    for k in range(replicates):
        x = rng.normal(size=(n, P + 1)) @ root.T
        chance = 2 * lost / (1 + np.exp(-2 * x[:, -1] / spread[-1]))
        x[:, :3][rng.random((n, 3)) < chance[:, None]] = np.nan
        survey = as_survey(pd.DataFrame(x, columns=[*NAMES, "y"]))
        question, _ = ask(survey, function="f", outcome="y", drivers=NAMES, missing="em", min_rows=10)
        draws = fit(question).draws(n_boot, k)
        for kind, (drawn, true) in enumerate(((share_of(draws.parts), truth), (draws.slopes, slopes))):
            low, high = percentile_interval(drawn, 0.95)
            inside[kind] += (low <= true) & (true <= high)
    return inside / replicates


def within_two_errors(share: float, replicates: int) -> float:
    return 0.015 + 2 * np.sqrt(0.95 * 0.05 / replicates)


def test_intervals_cover_the_population_s_shares_and_points_per_point_sample():
    found = coverage(300, 120, r2=0.5, loading=0.6, seed=1, n_boot=400)
    assert np.abs(found.mean(axis=1) - 0.95).max() <= within_two_errors(0.95, 120)


@pytest.mark.soak
@pytest.mark.parametrize("n", [300, 1000])
@pytest.mark.parametrize("r2, loading", [(0.5, 0.6), (0.3, 0.8)])
@pytest.mark.parametrize("lost", [0, 0.3])
def test_intervals_cover_95_times_in_100(n, r2, loading, lost):
    found = coverage(n, 2000, r2=r2, loading=loading, seed=2, lost=lost)
    assert np.abs(found - 0.95).max() <= within_two_errors(0.95, 2000)


def draw(n, rng, *, slopes=(), halo=0.0, loading=0.6):
    common = rng.normal(size=(n, 1))
    x = loading * common + np.sqrt(1 - loading**2) * rng.normal(size=(n, P))
    b = np.concatenate([slopes, np.zeros(P - len(slopes))])
    y = x @ b + halo * common[:, 0] + rng.normal(size=n)
    return pd.DataFrame(np.clip(np.round(6 + 2 * x), 1, 10), columns=NAMES).assign(y=y)


def headlines(replicates, seed, **world) -> list[str]:
    rng = np.random.default_rng(seed)
    return [
        driver_importance(draw(400, rng, **world), outcome="y", drivers=NAMES, n_boot=200, seed=k).sentence()
        for k in range(replicates)
    ]


def false_headlines(replicates, seed, **world) -> float:
    """Return how often some driver is put ahead of another."""
    return np.mean(
        ["Not established" not in h and "but it is a tie" not in h for h in headlines(replicates, seed, **world)]
    )


NULLS = [{}, {"halo": 1.0}, {"halo": 1.0, "loading": 0.8}, {"slopes": (0.5, 0.5, 0.5, 0.5, 0.5)}]


@pytest.mark.parametrize(("world", "draws"), [(NULLS[0], 40), (NULLS[1], 40), *soak(*((w, 1000) for w in NULLS))])
def test_false_headlines_at_most_5_in_100(world, draws):
    assert seldom(false_headlines(draws, 2, **world), draws)


@pytest.mark.soak
def test_without_any_association_that_is_what_the_headline_says_95_times_in_100():
    said = np.mean([h.startswith("Not established: ") for h in headlines(2000, 4)])
    assert said >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / 2000)


def test_points_per_point_do_not_grow_with_how_many_met_it():
    """A driver planted at 0 that everybody met has a larger share than one planted at .16 that few met."""
    rng = np.random.default_rng(3)
    table = draw(6000, rng).assign(few_met=rng.random(6000) < 0.1)
    table["few"] = np.clip(np.round(6 + 2 * rng.normal(size=6000)), 1, 10)
    met = table["few_met"].to_numpy()
    table["y"] = 0.5 * table["d1"] + np.where(met, 0.16 * (table["few"] - 6), 0) + rng.normal(size=6000)
    table["few"] = table["few"].where(met)
    found = driver_importance(table, outcome="y", drivers=[*NAMES, "few"], n_boot=300, seed=1).tidy().set_index("term")
    assert found.loc["d2", "share"] > found.loc["few", "share"]
    assert found.loc["few", "per_point_low"] < 0.16 < found.loc["few", "per_point_high"]
    assert found.loc["d2", "per_point_low"] < 0 < found.loc["d2", "per_point_high"]
    assert found.loc["few", "per_point_low"] > found.loc["d2", "per_point_high"]
    assert found.loc["few", "n_met"] == met.sum() and found.loc["d2", "n_met"] == 6000


def test_the_planted_order_is_recovered():
    table = draw(4000, np.random.default_rng(5), slopes=(1.2, 0.9, 0.6, 0.3))
    found = driver_importance(table, outcome="y", drivers=NAMES, seed=1, n_boot=300)
    assert found.tidy()["rank"].tolist() == [1, 2, 3, 4, 5]
    assert "It is ahead of every other driver;" in found.sentence()


@pytest.mark.soak
def test_the_set_tied_with_the_first_holds_the_truly_first_95_times_in_100():
    rng = np.random.default_rng(6)
    held = 0
    for k in range(1000):
        found = driver_importance(draw(400, rng, slopes=(0.6, 0.55)), outcome="y", drivers=NAMES, n_boot=300, seed=k)
        first = found.tidy().set_index("term")["rank"].idxmin()
        held += "d1" in (first, *found.tied)
    assert held / 1000 >= 0.95 - 0.015 - 2 * np.sqrt(0.05 * 0.95 / 1000)
