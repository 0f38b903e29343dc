"""How many segments, mixtures and latent classes: published numbers, planted numbers, and one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score
from test_segments import CLOUDS, cloud, planted, scaled, separation

from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.segments import compare_segment_counts, segment_customers
from cxresearch.segments.evidence import MOST_SCORE
from cxresearch.segments.methods import KMeans, LatentClassModel, fit_latent, fit_mixture
from cxresearch.survey import as_survey

# 118 slides rated 1-5 by seven pathologists (Holmquist et al. 1967; Landis & Koch 1977, printed slide by slide), ratings
# of 3 and more taken as carcinoma (Agresti 2002, table 13.1): pattern of A-G, count. Held against the slides as typed in
# heike/ggpcp, data-raw/Carcinoma.txt (commit f6bb587): all 20 patterns and their counts agree.
CARCINOMA = (
    "0000000 34, 0000100 2, 0100000 6, 0100001 1, 0100100 4, 0100101 5, 1000000 2, 1010101 1, 1100000 2, 1100001 1, "
    "1100100 2, 1100101 7, 1100111 1, 1101001 1, 1101101 2, 1101111 3, 1110101 13, 1110111 5, 1111101 10, 1111111 16"
)


def carcinoma():
    pairs = [entry.split() for entry in CARCINOMA.split(", ")]
    return np.array([[int(c) for c in pattern] for pattern, n in pairs for _ in range(int(n))])


@pytest.mark.parametrize(
    ("k", "log_likelihood", "criterion"),
    [(2, -317.25684, 706.07394), (3, -293.70498, 697.1357), (4, -289.28585, 726.46292)],
)
def test_latent_classes_of_the_carcinoma_data_as_in_the_polca_manual(k, log_likelihood, criterion):
    fit = LatentClassModel((2,) * 7).fit(carcinoma(), k, n_starts=20, seed=1)
    assert fit.log_likelihood == pytest.approx(log_likelihood, abs=1e-4)
    assert -fit.bic == pytest.approx(criterion, abs=1e-3)
    assert k == 4 or fit.starts_at_best > 1
    if k == 3:
        assert fit.rule.weights_ == pytest.approx([0.4447, 0.3736, 0.1817], abs=1e-4)


def test_gaussian_mixture_of_old_faithful_reaches_mclust_s_1126_3262_with_11_parameters_and_sizes_40_97_135(root):
    x = pd.read_csv(root / "tests/reference/faithful.csv").to_numpy(float)
    mixture = fit_mixture(x, 3, family="tied", seed=1, n_starts=20, floor=1e-9)
    found = mixture.score(x) * len(x)
    assert found == pytest.approx(-1126.3262, abs=0.02)  # mclust stops a little short of the maximum
    assert (mixture.bic(x) + 2 * found) / np.log(len(x)) == pytest.approx(11)
    assert -mixture.bic(x) == pytest.approx(-2314.3163, abs=0.04)
    assert sorted(np.bincount(mixture.predict(x))) == pytest.approx([40, 97, 135], abs=1)


def test_ruspini_silhouette_and_prediction_strength_pick_4(oracles):
    table = pd.read_csv(oracles / "ruspini.csv")
    found = compare_segment_counts(table, features=["x", "y"], counts=range(2, 7), n_boot=10, min_rows=50, seed=1)
    assert found.chosen == 4
    assert found.votes == {"silhouette": 4, "strength": 4}


@pytest.mark.parametrize("method", ["kmeans", "mixture"])
def test_the_decision_table_picks_the_planted_4_and_has_a_row_for_one_segment(method):
    table, truth = planted(500)
    found = compare_segment_counts(
        table, features=list(table), counts=range(2, 6), n_boot=4, n_starts=8, method=method, seed=1
    )
    assert found.chosen == 4 and found.glance()["n_segments"].item() == 4
    assert found.tidy()["n_segments"].tolist() == [1, 2, 3, 4, 5]
    assert found.sentence().startswith("4 segments are supported: of 1 to 5 tried on 500 customers, ")
    assert ("bic" in found.tidy()) == (method == "mixture")  # k-means has no likelihood, and borrows none
    segments = segment_customers(table, features=list(table), n_segments=4, method=method, n_starts=8, n_boot=4, seed=1)
    row = found.tidy().set_index("n_segments").loc[4]
    assert segments.summary["separation_score"] == row["separation_score"]
    assert segments.summary["silhouette"] == row["silhouette"] and segments.summary["min_jaccard"] == row["min_jaccard"]
    assert segments.established and adjusted_rand_score(truth, segments.augment(table).table["segment"]) > 0.95


@pytest.mark.parametrize("method", ["kmeans", "mixture"])
def test_the_decision_table_says_one_on_a_skewed_cloud(method):
    table = cloud("one skewed log-normal", 300, 3, seed=2)
    found = compare_segment_counts(
        table, features=list(table), counts=(2, 3), n_boot=3, n_starts=4, method=method, seed=1
    )
    assert found.chosen == 1
    assert found.sentence().startswith("No structure worth naming is established: none of 2 to 3 segments tried ")


def items(n, classes, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    likely = np.array(
        [
            [0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9, 0.1],
            [0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1],
            [0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.1, 0.9],
        ]
    )[truth]
    return pd.DataFrame(np.where(rng.random((n, 8)) < likely, "yes", "no"), columns=[f"i{j}" for j in range(8)]), truth


def test_planted_latent_classes_are_found_named_by_their_answers_and_one_class_is_said_to_be_one():
    table, truth = items(600, 3, 1)
    found = segment_customers(
        as_survey(table, labels={"i6": "Buys online"}),
        features=list(table),
        n_segments=3,
        method="latent_class",
        n_starts=8,
        n_boot=3,
        seed=1,
    )
    assert found.established and adjusted_rand_score(truth, found.augment(table).table["segment"]) > 0.8
    assert set(found.tables()["profile"]["feature"]) == {f"i{j}: {a}" for j in range(8) for a in ("yes", "no")}
    assert found.tidy()["suggested_name"].str.startswith("more often ").all()
    counts = compare_segment_counts(
        items(150, 1, 2)[0], features=list(table), counts=[2], method="latent_class", n_boot=3, n_starts=5, seed=1
    )
    assert counts.chosen == 1


def test_em_never_lowers_the_likelihood_and_taking_equal_rows_together_changes_nothing():
    codes = carcinoma()
    start, first = fit_latent(codes, 2, levels=(2,) * 7, rng=np.random.default_rng(1))
    assert fit_latent(codes, 2, levels=(2,) * 7, rng=None, start=start)[1] >= first - 1e-9
    patterns, counts = np.unique(codes, axis=0, return_counts=True)
    assert fit_latent(patterns, 2, levels=(2,) * 7, rng=None, weights=counts, start=start)[1] == pytest.approx(
        first, abs=1e-6
    )


@pytest.mark.parametrize(("draw", "rate"), [("poisson", 1.0), ("poisson", 4.0), ("share", 0.3)])
def test_gaps_between_counts_and_between_shares_of_few_are_not_taken_for_gaps_between_customers(draw, rate):
    rng = np.random.default_rng(1)
    size = 2 + rng.poisson(5, (300, 1))
    values = (
        rng.poisson(rate, (300, 2)).astype(float) if draw == "poisson" else rng.binomial(size, rate, (300, 2)) / size
    )
    x = (values - values.mean(axis=0)) / values.std(axis=0)
    assert min(separation(x, k, 1) for k in (2, 3, 4)) > MOST_SCORE


# Equal segments whose centres are all as far apart: number, features, distance in standard deviations, customers. At five
# (four for two segments) a customer's own segment is found with an adjusted Rand index of about .9 or more.
DESIGNS = ((2, 2, 4.5, 500), (3, 2, 5, 500), (4, 4, 5, 600), (5, 6, 5, 700), (6, 8, 5, 800))


def equidistant(k, p, distance, n, seed):
    rng = np.random.default_rng([k, p, n, seed])
    corners = np.linalg.svd(np.eye(k) - 1 / k)[2][: k - 1].T * distance / np.sqrt(2)
    turned = np.pad(corners, ((0, 0), (0, p - k + 1))) @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    truth = rng.integers(0, k, n)
    return pd.DataFrame(turned[truth] + rng.normal(size=(n, p)), columns=[f"f{i}" for i in range(p)]), truth


def picked(design, seed, **options):
    """Return the number that the decision table picks, and how well k-means finds the planted segments."""
    table, truth = equidistant(*design, seed)
    found = compare_segment_counts(table, features=list(table), seed=seed, **options)
    x = scaled(table)[0]
    return found.chosen, adjusted_rand_score(truth, KMeans().fit(x, design[0], n_starts=10, seed=seed).labels)


@pytest.mark.parametrize("design", DESIGNS[1:4:2])
def test_the_decision_table_picks_the_planted_number_sample(design):
    chosen, rand = picked(design, 1, counts=(design[0] - 1, design[0], design[0] + 1), n_boot=4, n_starts=4)
    assert chosen == design[0] and rand >= 0.9


@pytest.mark.soak
def test_the_decision_table_picks_the_planted_number_in_at_least_90_of_100_draws():
    options = dict(counts=range(2, 8), n_boot=10, n_starts=10)
    found = [(DESIGNS[seed % 5][0], *picked(DESIGNS[seed % 5], seed, **options)) for seed in range(100)]
    assert np.mean([k == chosen for k, chosen, _ in found]) >= 0.9
    assert np.mean([rand for _, _, rand in found]) >= 0.9


@pytest.mark.soak
def test_the_decision_table_picks_unequal_segments_with_random_centres_in_at_least_90_of_100_draws():
    chosen = []
    for seed in range(100):
        table, _ = planted(1000, distance=6.0, seed=seed)
        options = dict(counts=range(2, 7), n_boot=10, n_starts=10, seed=seed)
        chosen.append(compare_segment_counts(table, features=list(table), **options).chosen)
    assert np.mean(np.array(chosen) == 4) >= 0.9


@pytest.mark.soak
@pytest.mark.parametrize("kind", CLOUDS)
def test_the_decision_table_names_segments_on_one_cloud_in_at_most_5_percent_of_draws(kind):
    draws = 100
    named = [
        compare_segment_counts(t, features=list(t), counts=range(2, 6), n_boot=10, n_starts=5, seed=s).chosen > 1
        for s in range(draws)
        for t in [cloud(kind, 300, 2 + s % 3, s)]
    ]
    assert np.mean(named) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / draws)


def test_the_score_of_customers_uniform_on_a_line_reaches_its_limit_in_about_5_percent_of_draws_sample():
    # The least favourable cloud; the limit is its 5 % quantile: at most 3 of 20 (binomial, 98 %).
    lines = [np.random.default_rng(seed).random((100, 1)) for seed in range(20)]
    assert sum(separation(x / x.std(), 2, seed) <= MOST_SCORE for seed, x in enumerate(lines)) <= 3


def test_refusals():
    table = planted(150)[0]
    with pytest.raises(DataProblem) as problem:
        compare_segment_counts(table, features=list(table), counts=[1], seed=1)
    assert (
        str(problem.value)
        == "counts=[1] must be whole numbers of at least 1, one of them at least 2, for example range(2, 8)"
    )
    with pytest.raises(TooFewRespondents) as problem:
        compare_segment_counts(table.head(40), features=list(table), counts=[2], seed=1)
    assert str(problem.value) == "compare_segment_counts needs at least 100 complete rows; found 40"
    with pytest.raises(DataProblem) as problem:
        segment_customers(table, features=["f0", "f1"], n_segments=2, method="latent_class", seed=1)
    assert (
        str(problem.value)
        == "f0 holds 150 different values; latent classes need 2 to 12 categories, so group them or leave it out"
    )
