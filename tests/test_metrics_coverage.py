"""Do the intervals cover, and does nothing stay nothing: closed enumeration, and simulation (whole with `-m soak`).

Each simulation is one table whose strata are the replicates, so that one call computes all of them and each replicate
has its own units and degrees of freedom.
"""

import numpy as np
import pandas as pd
import pytest
from proofs import draws, seldom, soak
from scipy import stats

from cxresearch.metrics import compare_waves, nps, split_change, top_box
from cxresearch.metrics.estimate import adjusted_wald_interval
from cxresearch.survey import as_survey

SHARES = {"typical": (0.5, 0.2), "proud": (0.8, 0.05), "even": (0.4, 0.4), "poor": (0.2, 0.5)}


def within(covered: float, replicates: int, *, above: bool = False) -> bool:
    """Within 95 +- (1.5 + 2 Monte-Carlo standard errors) points; `above` allows over-coverage."""
    room = 0.015 + 2 * np.sqrt(0.95 * 0.05 / replicates)
    return 0.95 - room <= covered <= (1.0 if above else 0.95 + room)


def exact_coverage(p: float, d: float, n: int, interval) -> float:
    """Return the coverage of `interval` summed over every outcome of n answers."""
    promoters, detractors = np.array([(i, j) for i in range(n + 1) for j in range(n + 1 - i)]).T
    mass = stats.multinomial.pmf(
        np.column_stack([promoters, detractors, n - promoters - detractors]), n, [p, d, 1 - p - d]
    )
    low, high = interval(promoters / n, detractors / n, np.full(len(promoters), n), 0.95)
    return float(mass[(low <= p - d + 1e-12) & (p - d - 1e-12 <= high)].sum())


def test_exact_coverage_at_95_promoters_1_detractor_n_10_is_91_4():
    assert exact_coverage(0.95, 0.01, 10, adjusted_wald_interval) == pytest.approx(0.914, abs=5e-4)


@pytest.mark.parametrize("n", [10, 15, 30, 60])
def test_exact_coverage_is_at_least_91_where_fewer_than_5_promoters_or_detractors_are_expected(n):
    grid = [
        (p, d)
        for p in (0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
        for d in (0.01, 0.03, 0.08, 0.2)
        if p + d <= 1 and min(p, d) * n < 5
    ]
    assert min(exact_coverage(p, d, n, adjusted_wald_interval) for p, d in grid) >= 0.91


@pytest.mark.parametrize("n", [50, 100, 200, 500, 1000])
@pytest.mark.parametrize("shares", SHARES)
def test_adjusted_wald_covers_95_in_100_of_20000(n, shares):
    p, d = SHARES[shares]
    draws = np.random.default_rng(n).multinomial(n, [p, d, 1 - p - d], size=20_000) / n
    low, high = adjusted_wald_interval(draws[:, 0], draws[:, 1], n, 0.95)
    # At n p or n d under 5 the counts are coarse: over-coverage is allowed.
    assert within(np.mean((low <= p - d) & (p - d <= high)), 20_000, above=min(p, d) * n < 5)


# --- weights, clusters ----------------------------------------------------------------------------------------------


def scores_of(u, promoter, detractor) -> np.ndarray:
    return np.where(u < promoter, 10, np.where(u > 1 - detractor, 3, 7))


def covered(table, truth, **design) -> float:
    found = nps(as_survey(table, strata="rep", **design), "s", by="rep").tidy()
    return float(((found["conf_low"] <= truth) & (truth <= found["conf_high"])).mean())


def weighted_coverage(n: int, replicates: int, seed: int) -> float:
    """Two classes of customers, sampled 3 : 1 and weighted back; promoters are twice as common in one."""
    rng = np.random.default_rng(seed)
    kind = rng.random((replicates, n)) < 0.25
    promoter = np.where(kind, 0.6, 0.3)
    table = pd.DataFrame({"rep": np.repeat(np.arange(replicates), n), "w": np.where(kind, 3.0, 1.0).ravel()})
    table["s"] = scores_of(rng.random((replicates, n)), promoter, 0.2).ravel()
    return covered(table, 100 * (0.5 * 0.6 + 0.5 * 0.3 - 0.2), weight="w")


@pytest.mark.parametrize(("n", "parts"), [(50, 1), (200, 1), *soak(*((n, 10) for n in (50, 100, 200, 500, 1000)))])
def test_weighted_intervals_cover(n, parts):
    assert within(np.mean([weighted_coverage(n, 2000, seed) for seed in range(parts)]), 2000 * parts)


def clustered_coverage(clusters: int, replicates: int, seed: int, *, weighted: bool = False) -> float:
    """Branches of 20 answers whose share of promoters varies (intraclass correlation about 0.1)."""
    rng = np.random.default_rng(seed)
    level = rng.beta(4.5, 4.5, (replicates, clusters, 1))
    promoter, detractor = level, 0.4 * (1 - level)
    u = rng.random((replicates, clusters, 20))
    table = pd.DataFrame(
        {"rep": np.repeat(np.arange(replicates), clusters * 20), "c": np.repeat(np.arange(replicates * clusters), 20)}
    )
    table["s"] = scores_of(u, promoter, detractor).ravel()
    table["w"] = rng.uniform(0.5, 1.5, len(table)) if weighted else 1.0
    return covered(table, 100 * (0.5 - 0.2), cluster="c", weight="w" if weighted else None)


@pytest.mark.parametrize(("weighted", "seeds"), [(False, [3]), *soak((False, range(20)), (True, range(20)))])
@pytest.mark.parametrize("clusters", [10, 20, 50])
def test_clustered_intervals_cover_with_t_on_clusters_less_one(clusters, weighted, seeds):
    parts = [clustered_coverage(clusters, 1000, seed, weighted=weighted) for seed in seeds]
    assert within(np.mean(parts), 1000 * len(seeds))


def test_clustered_top_boxes_cover_with_t():
    rng = np.random.default_rng(8)
    level = rng.beta(6, 3, (1500, 15, 1))
    table = pd.DataFrame({"rep": np.repeat(np.arange(1500), 150), "c": np.repeat(np.arange(1500 * 15), 10)})
    table["q"] = np.where(rng.random((1500, 15, 10)) < level, 5, 2).ravel()
    found = top_box(as_survey(table, strata="rep", cluster="c"), "q", threshold=4, by="rep").tidy()
    assert within(((found["conf_low"] <= 2 / 3) & (2 / 3 <= found["conf_high"])).mean(), 1500)


# --- differences ----------------------------------------------------------------------------------------------------


def panel(n: int, overlap: float, replicates: int, seed: int) -> pd.DataFrame:
    """Two waves of n people, a share of whom answer both and change their mind half the time."""
    rng = np.random.default_rng(seed)
    stay = int(overlap * n)
    first = rng.random((replicates, n))
    second = rng.random((replicates, n))
    second[:, :stay] = np.where(rng.random((replicates, stay)) < 0.5, first[:, :stay], second[:, :stay])
    who = np.arange(replicates * n).reshape(replicates, n)
    later = who.copy()
    later[:, stay:] += replicates * n
    parts = [
        {"wave": 1, "s": scores_of(first, 0.5, 0.2), "who": who},
        {"wave": 2, "s": scores_of(second, 0.45, 0.25), "who": later},
    ]
    rep = np.repeat(np.arange(replicates), n)
    return pd.concat(
        [pd.DataFrame({"rep": rep, "wave": p["wave"], "s": p["s"].ravel(), "who": p["who"].ravel()}) for p in parts],
        ignore_index=True,
    )


def difference_coverage(n, overlap, replicates, seed, *, respondent="who") -> float:
    found = compare_waves(
        as_survey(panel(n, overlap, replicates, seed), wave="wave", respondent=respondent),
        "s",
        by="rep",
        correction="none",
    ).tidy()
    return float(((found["conf_low"] <= -10) & (-10 <= found["conf_high"])).mean())


WHOLE = [(n, overlap, 40) for n in (60, 150, 400) for overlap in (0.0, 0.2, 0.5, 0.8, 1.0)]


@pytest.mark.parametrize(("n", "overlap", "parts"), [*((150, share, 4) for share in (0.0, 0.5, 1.0)), *soak(*WHOLE)])
def test_differences_cover_whatever_the_overlap(n, overlap, parts):
    found = [difference_coverage(n, overlap, 250, seed) for seed in range(parts)]
    assert within(np.mean(found), 250 * parts)


@pytest.mark.filterwarnings("ignore:The waves were treated")
def test_a_panel_read_as_independent_waves_covers_too_much_and_says_so():
    table = panel(150, 1.0, 250, 1)
    finding = compare_waves(as_survey(table, wave="wave"), "s", by="rep", correction="none")
    covers = ((finding.tidy()["conf_low"] <= -10) & (-10 <= finding.tidy()["conf_high"])).mean()
    assert covers > 0.98


def split_coverage(replicates: int, seed: int) -> np.ndarray:
    """Return how often the intervals of performance and of mix cover, (2,)."""
    rng = np.random.default_rng(seed)
    shares = np.array([[0.5, 0.3, 0.2], [0.6, 0.2, 0.2]])
    promoter = np.array([[0.6, 0.4, 0.2], [0.55, 0.42, 0.2]])
    scores = promoter - 0.2
    truth = 100 * np.array([shares.mean(0) @ (scores[1] - scores[0]), scores.mean(0) @ (shares[1] - shares[0])])
    hits = np.zeros(2)
    for _ in range(replicates):
        parts = []
        for wave in (0, 1):
            g = rng.choice(3, 300, p=shares[wave])
            parts.append(pd.DataFrame({"wave": wave, "g": g, "s": scores_of(rng.random(300), promoter[wave][g], 0.2)}))
        found = split_change(as_survey(pd.concat(parts, ignore_index=True), wave="wave"), "s", by="g").tidy().iloc[1:]
        hits += (found["conf_low"].to_numpy() <= truth) & (truth <= found["conf_high"].to_numpy())
    return hits / replicates


@draws(50, 3000)
def test_performance_and_mix_cover(draws):
    assert all(within(c, draws) for c in split_coverage(draws, 2))


# --- a year in which nothing happens --------------------------------------------------------------------------------


def quiet_years_with_an_arrow(years: int, seed: int, *, pairs: str = "all", correction: str = "holm") -> float:
    """Return the share of 12-month, 8-group scorecards of one unchanging truth that show any arrow."""
    rng = np.random.default_rng(seed)
    shown = 0
    for _ in range(years):
        n = 12 * 8 * 80
        group = rng.integers(0, 8, n)
        table = pd.DataFrame(
            {"wave": rng.integers(1, 13, n), "g": group, "s": scores_of(rng.random(n), 0.3 + 0.04 * group, 0.2)}
        )
        found = compare_waves(as_survey(table, wave="wave"), "s", by="g", pairs=pairs, correction=correction).tidy()
        shown += bool(found["verdict"].isin(["up", "down"]).any())
    return shown / years


@pytest.mark.parametrize(("correction", "years"), [("holm", 20), *soak(("holm", 2000), ("bh", 2000))])
@pytest.mark.parametrize("pairs", ["all", "previous"])
def test_a_year_without_change_shows_no_arrow(pairs, correction, years):
    assert seldom(quiet_years_with_an_arrow(years, 1, pairs=pairs, correction=correction), years)
