"""Segments: published numbers, planted segments found, nothing named where there is nothing, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import adjusted_rand_score

from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.segments import segment_customers
from cxresearch.segments.evidence import (
    MOST_SCORE,
    bootstrap_jaccard,
    halved_structure,
    prediction_strength,
    silhouettes,
)
from cxresearch.segments.features import fit_scaling
from cxresearch.segments.methods import KMeans, kmeans
from cxresearch.survey import as_survey

SHARES = (0.4, 0.3, 0.2, 0.1)


def planted(n=600, p=4, distance=7.0, seed=1, shares=SHARES):
    """Round Gaussian segments whose nearest centres are `distance` standard deviations apart."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(shares), p))
    apart = np.sqrt(np.square(centres[:, None] - centres[None]).sum(axis=2))
    centres *= distance / apart[apart > 0].min()
    truth = rng.choice(len(shares), n, p=shares)
    return pd.DataFrame(centres[truth] + rng.normal(size=(n, p)), columns=[f"f{i}" for i in range(p)]), truth


def cloud(kind, n, p, seed):
    """Customers without segments."""
    rng = np.random.default_rng(seed)
    gaussian = rng.normal(size=(n, p))
    x = {
        "uniform in a box": rng.random((n, p)),
        "one Gaussian, correlated": gaussian @ rng.normal(size=(p, p)),
        "one skewed log-normal": np.exp(1 + gaussian @ (0.6 * np.eye(p) + 0.4)),
    }[kind]
    return pd.DataFrame(x, columns=[f"f{i}" for i in range(p)])


CLOUDS = ("uniform in a box", "one Gaussian, correlated", "one skewed log-normal")


def segmented(table, n_segments=4, *, labels=None, min_base=1, **options):
    return segment_customers(
        as_survey(table, labels=labels, min_base=min_base),
        features=list(table.columns),
        n_segments=n_segments,
        **{"n_starts": 10, "n_boot": 10, "seed": 1, **options},
    )


@pytest.fixture(scope="module")
def found():
    table, truth = planted()
    return table, truth, segmented(table, labels={"f0": "Visits a month"})


# --- published numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "within", "width"),
    [(2, 152.34795, 0.681046), (3, 78.851441, 0.552819), (4, 57.228473, 0.498051), (5, 46.446182, 0.488749)],
)
def test_kmeans_within_sum_of_squares_and_silhouette_on_iris_as_in_r(k, within, width):
    x = load_iris().data
    fit = KMeans().fit(x, k, n_starts=50, seed=1)
    assert fit.within == pytest.approx(within, abs=1e-4)
    assert silhouettes(x, fit.labels, seed=1)[0].mean() == pytest.approx(width, abs=1e-5)


def test_ruspini_k_4_has_silhouette_0_737657_and_bootstrap_jaccard_of_one_for_each_segment(oracles):
    x = pd.read_csv(oracles / "ruspini.csv")[["x", "y"]].to_numpy(float)
    fit = KMeans().fit(x, 4, n_starts=50, seed=1)
    assert silhouettes(x, fit.labels, seed=1)[0].mean() == pytest.approx(0.737657, abs=1e-6)
    assert jaccards(x, fit.labels, fit, 50) == pytest.approx([1, 1, 1, 1], abs=0.01)


def jaccards(x, labels, fit, n_boot):
    return bootstrap_jaccard(
        x, labels, fit.k, lambda r, c, g: KMeans().refit(fit, r, c, g), n_boot=n_boot, seed=2
    ).mean(axis=0)


def test_ruspini_with_one_start_looks_unstable_as_hennig_s_clusterboot_does_which_is_the_optimiser_s_doing(oracles):
    x = pd.read_csv(oracles / "ruspini.csv")[["x", "y"]].to_numpy(float)
    fit = KMeans().fit(x, 4, n_starts=50, seed=1)
    rng = np.random.default_rng(1)
    similarity = []
    for _ in range(60):
        rows = np.unique(rng.integers(0, len(x), len(x)))
        start = x[rng.choice(rows, 4, replace=False)]
        labels = kmeans(x[rows], 4, seed=0, start=start).labels_
        both = pd.crosstab(fit.labels[rows], labels).to_numpy()
        similarity.append((both / (both.sum(1, keepdims=True) + both.sum(0) - both)).max(axis=1))
    assert np.mean(similarity, axis=0).max() < 0.9
    assert segment_customers(
        pd.DataFrame(x, columns=["x", "y"]), features=["x", "y"], n_segments=4, min_rows=50, n_boot=20, seed=1
    ).established


# --- the parts -------------------------------------------------------------------------------------------------------


def test_prediction_strength_counts_pairs_kept_together_in_the_worst_segment():
    own, predicted = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1, 1, 1])
    assert prediction_strength(own, predicted, 2) == pytest.approx(3 / 6)


def test_bootstrap_compares_distinct_customers_and_an_arbitrary_split_is_unstable():
    x = np.random.default_rng(1).normal(size=(300, 2))
    fit = KMeans().fit(x, 5, n_starts=10, seed=1)
    assert jaccards(x, fit.labels, fit, 20).min() < 0.75
    assert jaccards(x, np.arange(300) % 5, fit, 5).mean() < 0.2


def scaled(table, **options):
    reader = fit_scaling(table.to_numpy(), table.columns, **options)
    return reader.read(table)[0], reader


def test_scaling_takes_logs_of_skewed_amounts_only():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"money": np.exp(rng.normal(size=500)), "trend": rng.normal(size=500), "web": rng.random(500)})
    x, reader = scaled(table)
    assert reader.logged.tolist() == [True, False, False]
    assert x.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-12) and x.std(axis=0) == pytest.approx([1, 1, 1])


# --- truth and nothing -----------------------------------------------------------------------------------------------


def test_planted_segments_are_found_with_an_adjusted_rand_index_above_0_95(found):
    table, truth, finding = found
    assert finding.established
    assert adjusted_rand_score(truth, finding.augment(table).table["segment"]) > 0.95
    assert (
        finding.tidy()["segment"].tolist() == ["S1", "S2", "S3", "S4"] and finding.tidy()["n"].is_monotonic_decreasing
    )
    assert finding.tidy()["n"].tolist() == finding.augment(table).table["segment"].value_counts().tolist()


@pytest.mark.parametrize("kind", CLOUDS)
def test_nothing_is_named_where_there_is_one_cloud(kind):
    finding = segmented(cloud(kind, 500, 3, seed=5), 3)
    assert not finding.established
    assert finding.sentence().startswith(
        "No structure worth naming is established: the 3 segments of 500 customers by 3 features divide one cloud. "
    )


def test_asked_for_one_too_many_it_says_how_many_the_data_hold_apart(found):
    finding = segmented(found[0], 5)
    assert not finding.established
    assert finding.sentence().startswith(
        "5 segments of 600 customers by 4 features are not established; 4 are the most that the data hold apart. "
        "Neighbouring segments are not separated: score 1.00, at most 0.2 is required; "
    )


def separation(x, k, seed):
    quick = lambda rows, number: kmeans(rows, k, seed=number, n_starts=5)  # noqa: E731
    return halved_structure(x, k, quick, n_splits=5, seed=seed).separation_score


def false_names(kind, draws, n, p):
    rate = []
    for seed in range(draws):
        table = cloud(kind, n, p, seed)
        x = scaled(table)[0]
        rate.append(any(separation(x, k, seed) <= MOST_SCORE for k in (2, 3, 4, 5)))
    return np.mean(rate)


@pytest.mark.parametrize("kind", CLOUDS)
def test_separation_of_two_to_five_segments_is_claimed_on_one_cloud_in_at_most_5_percent_of_draws_sample(kind):
    assert false_names(kind, 6, 200, 2) == 0


@pytest.mark.soak
@pytest.mark.parametrize("kind", CLOUDS)
@pytest.mark.parametrize(("n", "p"), [(200, 2), (1000, 2), (300, 5), (1000, 8), (5000, 3)])
def test_separation_of_two_to_five_segments_is_claimed_on_one_cloud_in_at_most_5_percent_of_draws(kind, n, p):
    draws = 200
    assert false_names(kind, draws, n, p) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / draws)


# --- the finding -----------------------------------------------------------------------------------------------------


def test_the_sentence_names_segments_and_says_their_means_in_natural_units():
    rng = np.random.default_rng(1)
    often, rare = rng.poisson(12, 200) + 6, rng.poisson(1, 100) + 1
    table = pd.DataFrame(
        {
            "recency_days": np.concatenate([rng.normal(20, 4, 200), rng.normal(200, 20, 100)]),
            "frequency": np.concatenate([often, rare]),
            "basket_mean": np.concatenate([rng.normal(18.5, 2, 200), rng.normal(260, 20, 100)]),
            "channel_web_share": np.concatenate([rng.normal(0.8, 0.03, 200), rng.normal(0.1, 0.03, 100)]),
            "visits": np.concatenate([rng.normal(5, 1, 200), rng.normal(5, 1, 100)]),
        }
    )
    survey = as_survey(table, labels={"visits": "Visits a month"}, currency="EUR")
    found = segment_customers(survey, features=list(table), n_segments=2, n_starts=5, n_boot=5, seed=1)
    said, means = found.sentence(), table[:200].mean()
    assert said.startswith(
        "2 segments of 300 customers by 5 features are separated and stable (lowest Jaccard similarity "
    )
    assert (
        f"on average {means['recency_days']:.0f} days since the last purchase, {means['frequency']:.1f} purchases, "
        f"{means['basket_mean']:.2f} EUR a purchase, {100 * means['channel_web_share']:.0f} % by web, Visits a month "
    ) in said
    names = found.tidy()["suggested_name"].tolist()
    assert {word for name in names for word in name.split(", ")} <= {
        "here lately", "long away", "frequent", "rare", "small baskets", "large baskets", "much by web", "little by web"
    }  # fmt: skip


def test_without_a_currency_money_has_no_unit_and_no_key_of_a_column_is_shown_where_it_has_a_label(found):
    assert "Visits a month" in found[2].sentence() and "f0" not in found[2].sentence()


def test_profile_holds_means_in_the_features_own_unit(found):
    table, _, finding = found
    means = table.groupby(finding.augment(table).table["segment"]).mean()
    profile = finding.tables()["profile"].pivot(index="segment", columns="feature", values="estimate")
    pd.testing.assert_frame_equal(profile, means, check_names=False)


def test_the_heat_map_shows_the_standardised_differences(found):
    finding = found[2]
    ax = finding.plot()
    shown = [[t.get_text() for t in ax.texts][4 * i : 4 * i + 4] for i in range(4)]
    wanted = finding.tables()["profile"].pivot(index="feature", columns="segment", values="std_difference")
    np.testing.assert_allclose(np.array(shown, dtype=float), wanted.to_numpy(), atol=0.051)
    assert ax.get_yticklabels()[0].get_text() == "Visits a month"


def test_same_seed_same_tables_and_rows_in_any_order_of_threads(found):
    table, _, finding = found
    again = segmented(table, labels={"f0": "Visits a month"})
    for name, one in finding.tables().items():
        pd.testing.assert_frame_equal(one, again.tables()[name])


def test_augment_assigns_new_customers_one_by_one_as_it_does_together_and_leaves_incomplete_ones_out(found):
    table, _, finding = found
    new = table.head(5).copy()
    new.iloc[2, 1] = np.nan
    together = finding.augment(new).table["segment"]
    assert together.isna().tolist() == [False, False, True, False, False]
    single = [finding.augment(new.iloc[[i]]).table["segment"].iloc[0] for i in (0, 1, 3, 4)]
    assert single == together.dropna().tolist()


def test_segments_below_the_minimum_base_are_hidden_with_their_profile():
    table, _ = planted(shares=(0.6, 0.35, 0.05), n=300, p=2, distance=12)
    finding = segmented(table, 3, min_base=30)
    assert finding.tidy()[["n", "share", "jaccard"]].isna().all(axis=1).tolist() == [False, True, True]
    hidden = finding.tables()["profile"].set_index("segment").loc[["S2", "S3"], ["estimate", "std_difference", "n"]]
    assert hidden.isna().all(axis=None)
    assert "the rest are below the minimum base" in finding.sentence()
    assert finding.suppressed == 2


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(table, message, *, kind=DataProblem, **options):
    with pytest.raises(kind) as problem:
        segmented(table, **options)
    assert str(problem.value) == message


def test_constant_features_are_refused():
    table = planted()[0].assign(country=1.0, currency=2.0)
    refused(table, "country, currency: the same value in all 600 complete rows; leave it out of features")


def test_two_identical_features_are_refused():
    table = planted()[0].assign(copy=lambda t: 100 * t["f1"])
    refused(table, "f1 and copy hold the same information (correlation 1); keep one of them in features")


def test_nearly_identical_features_are_a_failed_check():
    table = planted()[0].assign(near=lambda t: t["f1"] + 0.3 * np.random.default_rng(1).normal(size=600))
    row = segmented(table).checks().set_index("check").loc["features that repeat another"]
    assert (row["value"], bool(row["ok"])) == ("f1 and near", False)


def test_more_segments_than_the_base_allows_are_refused():
    table = pd.DataFrame({"a": np.arange(120) % 5, "b": np.arange(120) % 5 // 2})
    message = (
        "segment_customers: 6 segments are more than the 5 distinct customers among 120 complete rows; ask for fewer"
    )
    refused(table, message, kind=TooFewRespondents, n_segments=6)
    refused(planted(n=60)[0], "segment_customers needs at least 100 complete rows; found 60", kind=TooFewRespondents)


def test_customers_without_every_feature_are_counted_not_dropped_silently():
    table = planted()[0]
    table.iloc[:7, 0] = np.nan
    row = segmented(table).checks().iloc[0]
    assert (row["check"], row["value"], bool(row["ok"])) == ("customers with every feature", "593 of 600", False)


def test_other_refusals():
    table = planted()[0]
    refused(
        table.assign(f0="12 €"), "f0 is not numeric (for example '12 €'); give numbers, or leave it out of features"
    )
    refused(
        table,
        "n_segments=1 must be a whole number of at least 2; one segment is what the others are tested against",
        n_segments=1,
    )
    refused(table, "method='ward' is not one of 'kmeans', 'mixture', 'latent_class'", method="ward")

    with pytest.raises(DataProblem) as problem:
        segment_customers(table, features=["F0"], n_segments=3, seed=1)
    assert str(problem.value) == "the table has no column 'F0'; did you mean 'f0'?"
