"""Who the segments are, how features were put on one scale, moves corrected for misclassification, and the figures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_segments import planted, refused, segmented

from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.segments import profile_segments, segment_customers, segment_migration
from cxresearch.segments.association import adjusted_rand, cramers_v, eta_squared
from cxresearch.segments.migration import corrected_moves, corrected_stay
from cxresearch.survey import as_survey

# --- sizes of association --------------------------------------------------------------------------------------------


def test_cramers_v_is_the_root_of_chi_square_less_its_df_per_n_and_eta_squared_the_one_of_the_f_test():
    counts = np.array([[20, 15, 5], [10, 25, 25]])
    chi2, p, *_ = stats.chi2_contingency(counts, correction=False)
    found = cramers_v(counts, 0.95)
    assert (found.estimate, found.p_value) == (pytest.approx(np.sqrt((chi2 - 2) / 100)), pytest.approx(p))
    groups = [np.arange(5.0), np.arange(6.0) + 1, np.arange(7.0) + 3]
    f, p = stats.f_oneway(*groups)
    found = eta_squared(np.concatenate(groups), np.repeat([0, 1, 2], [5, 6, 7]), 3, 0.95)
    assert (found.estimate, found.p_value) == (pytest.approx(2 * f / (2 * f + 15)), pytest.approx(p))


def test_adjusted_rand_index_is_scikit_learn_s():
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(1)
    a = rng.integers(0, 4, 300)
    b = np.where(rng.random(300) < 0.7, a, rng.integers(0, 3, 300))
    assert adjusted_rand(pd.crosstab(a, b).to_numpy()) == pytest.approx(adjusted_rand_score(a, b))


def association_coverage(draws, seed=1):
    """Return how often the 95 % intervals hold eta squared of .2 and V of .2."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    means = (labels - labels.mean()) / labels.std() * np.sqrt(0.2 / 0.8)
    shares = np.full((3, 3), 1 / 9) + (np.eye(3) - 1 / 3) * 0.2 / 3
    inside = []
    for _ in range(draws):
        eta = eta_squared(means + rng.normal(size=200), labels, 3, 0.95)
        v = cramers_v(rng.multinomial(400, shares.ravel()).reshape(3, 3), 0.95)
        inside.append((eta.low <= 0.2 <= eta.high, v.low <= 0.2 <= v.high))
    return np.mean(inside, axis=0)


def test_intervals_of_eta_squared_and_v_cover_95_times_in_100_sample():
    assert np.all(abs(association_coverage(150) - 0.95) <= 0.015 + 2 * np.sqrt(0.05 * 0.95 / 150))


@pytest.mark.soak
def test_intervals_of_eta_squared_and_v_cover_95_times_in_100():
    assert np.all(abs(association_coverage(5000) - 0.95) <= 0.015 + 2 * np.sqrt(0.05 * 0.95 / 5000))


# --- the profile -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known():
    table, truth = planted(600)
    rng = np.random.default_rng(2)
    table = table.assign(
        customer=range(600),
        truth=np.array(list("abcd"))[truth],
        income=rng.choice(["low", "high"], 600),
        spend=100.0 + 10 * truth + rng.normal(0, 30, 600),
    )
    return table, segmented(table[["f0", "f1", "f2", "f3"]])


def test_basis_features_have_a_size_but_no_test_and_a_known_grouping_its_adjusted_rand_index(known):
    table, segments = known
    found = profile_segments(table, segmentation=segments, variables=["income", "spend", "truth"])
    tidy = found.tidy().set_index("feature")
    assert tidy.loc[["f0", "f1", "f2", "f3"], ["conf_low", "conf_high", "p_value", "p_adjusted"]].isna().all(axis=None)
    assert tidy["role"].tolist() == ["basis"] * 4 + ["profile"] * 3
    assert tidy.at["truth", "adjusted_rand"] > 0.95 and abs(tidy.at["income", "adjusted_rand"]) < 0.05
    assert found.sentence().startswith(
        "2 of 3 profile variables differ between segments (600 customers); most does truth"
    )
    assert "Not established: income. The features that segments were made from are no evidence." in found.sentence()
    cells = found.tables()["cells"].set_index(["feature", "segment", "category"])
    own = segments.augment(table)
    assert cells.loc[("spend", "S1", "mean"), "estimate"] == pytest.approx(
        own.loc[own["segment"] == "S1", "spend"].mean()
    )
    low = (own.loc[own["segment"] == "S2", "income"] == "low").mean()
    index = 100 * low / (own["income"] == "low").mean()
    assert cells.loc[("income", "S2", "low"), ["estimate", "index"]].tolist() == pytest.approx([low, index])


def test_demographics_that_say_nothing_are_said_to_say_nothing(known):
    table, segments = known
    rng = np.random.default_rng(3)
    table = table.assign(**{f"d{i}": rng.choice(list("xyz"), 600) for i in range(3)})
    found = profile_segments(table, segmentation=segments, variables=["d0", "d1", "d2"])
    assert found.sentence().startswith(
        "No difference between segments is established in 3 profile variables (600 customers)."
    )
    nothing = profile_segments(table, segmentation=segments, variables=[])
    assert nothing.sentence().startswith("Nothing but behaviour is known of the 600 customers")
    assert len(nothing.tables()["cells"]) == 0


@pytest.mark.soak
def test_noise_is_called_different_in_at_most_5_percent_of_families(known):
    table, segments = known
    rng, named = np.random.default_rng(4), 0
    for _ in range(300):
        noise = table.assign(a=rng.choice(list("xyz"), 600), b=rng.normal(size=600), c=rng.exponential(size=600))
        named += (
            profile_segments(noise, segmentation=segments, variables=["a", "b", "c"]).tidy()["p_adjusted"] < 0.05
        ).any()
    assert named / 300 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_small_cells_are_hidden(known):
    table, segments = known
    rare = table.assign(rare=np.where(np.arange(600) < 60, "rare", "usual"))
    cells = profile_segments(as_survey(rare, min_base=10), segmentation=segments, variables=["rare"]).tables()["cells"]
    assert cells["n"].min() >= 10 and cells.loc[cells["category"] == "rare", "n"].isna().any()
    assert cells.loc[cells["n"].isna(), ["estimate", "index", "conf_low"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (["f0"], "f0: the segments were made from it, so differences in it are no evidence; leave it out of variables"),
        (["same"], "same holds fewer than two different values; leave it out of variables"),
        (["Income"], "the table has no column 'Income'; did you mean 'income'?"),
    ],
)
def test_profile_refusals(known, variables, message):
    table, segments = known
    with pytest.raises(DataProblem) as problem:
        profile_segments(table.assign(same=1), segmentation=segments, variables=variables)
    assert str(problem.value) == message
    few = table.assign(income=table["income"].where(table.index < 30))
    with pytest.raises(TooFewRespondents) as problem:
        profile_segments(few, segmentation=segments, variables=["income"])
    assert str(problem.value) == "profile_segments needs at least 100 customers with a segment and a variable; found 30"


# --- one scale -------------------------------------------------------------------------------------------------------


def test_transformations_and_scaling_are_declared_feature_by_feature_and_told():
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {"money": np.exp(rng.normal(3, 1, 300)), "web": rng.beta(2, 3, 300), "trend": rng.normal(size=300)}
    )
    options = dict(transform={"money": "log", "web": "share"}, scaling="robust", winsorise=0.01)
    found = segmented(table, 2, **options).tables()["scaling"].set_index("feature")
    assert found["transform"].tolist() == ["log(1 + x)", "arcsine of the root", "none"]
    assert found["drawn_in"].tolist() == [6, 6, 6]
    bounded = np.clip(table["money"], *np.quantile(table["money"], [0.01, 0.99]))
    logs = np.log1p(bounded)
    assert found.loc["money", "centre"] == pytest.approx(np.median(logs))
    assert found.loc["money", "scale"] == pytest.approx(1.4826 * np.median(abs(logs - np.median(logs))))


def test_customers_far_from_all_others_fail_a_check_until_they_are_drawn_in():
    table, _ = planted(400)
    table.loc[:2, "f0"] = 1e4
    checks = segmented(table, transform="none").checks().set_index("check")
    assert (
        checks.at["customers far out (over 5 spreads)", "value"],
        checks.at["customers far out (over 5 spreads)", "ok"],
    ) == (3, False)
    tame = segmented(table, transform="none", winsorise=0.01).checks().set_index("check")
    assert tame.at["customers far out (over 5 spreads)", "ok"]


def test_an_optimiser_that_reached_its_solution_once_is_told_apart_from_unstable_segments():
    table = pd.DataFrame(np.random.default_rng(1).random((300, 6)), columns=list("abcdef"))
    found = segmented(table, 9, n_starts=3, n_boot=2)
    assert found.glance()["starts_at_best"].item() == 1
    assert found.sentence().endswith(
        " The optimiser reached this solution from 1 of 3 starts only, so a better one may exist: raise n_starts before judging the segments."
    )
    assert "optimiser" not in segmented(planted(400)[0]).sentence()


def test_a_mixture_tells_bic_and_icl_of_every_family():
    found = segmented(planted(300)[0], method="mixture", n_boot=2)
    families = found.tables()["families"]
    assert families["form"].tolist() == ["VII", "VVI", "EEE", "VVV"]
    assert families["bic"].max() == pytest.approx(found.glance()["bic"].item())
    assert (families["icl"] <= families["bic"] + 1e-9).all()


# --- what is refused -------------------------------------------------------------------------------------------------


def test_bad_features_are_refused_word_for_word():
    table = planted(150)[0]
    constant = table.assign(**{c: 1.0 for c in table})
    refused(constant, "f0, f1, f2, f3: the same value in all 150 complete rows; leave it out of features")
    refused(
        table.assign(f1=table["f0"]),
        "f0 and f1 hold the same information (correlation 1); keep one of them in features",
    )
    gaps = table.assign(f0=table["f0"].where(table.index < 40))
    refused(gaps, "segment_customers needs at least 100 complete rows; found 40", kind=TooFewRespondents)
    empty = table.assign(f0=np.nan)
    refused(empty, "segment_customers needs at least 100 complete rows; found 0", kind=TooFewRespondents)
    refused(
        table.assign(f3=np.inf), "segment_customers needs at least 100 complete rows; found 0", kind=TooFewRespondents
    )
    refused(
        table.assign(f2="many"), "f2 is not numeric (for example 'many'); give numbers, or leave it out of features"
    )
    refused(table.iloc[:0], "the table has no rows")
    alike = pd.DataFrame({"a": np.arange(150) % 3, "b": np.arange(150) % 2})
    refused(
        alike,
        "segment_customers: 7 segments are more than the 6 distinct customers among 150 complete rows; ask for fewer",
        kind=TooFewRespondents,
        n_segments=7,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"transform": {"f9": "log"}},
            "transform names 'f9', which is not one of features",
        ),
        ({"transform": {"f0": "root"}}, "transform['f0']='root' is not one of 'none', 'log', 'share'"),
        ({"transform": {"f0": "log"}}, "f0 holds 75 values below 0, which have no log; declare 'none'"),
        (
            {"transform": {"f0": "share"}},
            "f0 holds 148 values outside 0-1, so it is not a share; declare 'none' or 'log'",
        ),
        ({"scaling": "minmax"}, "scaling='minmax' is not one of 'z', 'robust', 'none'"),
        (
            {"n_segments": 2.5},
            "n_segments=2.5 must be a whole number of at least 2; one segment is what the others are tested against",
        ),
    ],
)
def test_bad_options_are_refused_word_for_word(options, message):
    table = planted(150)[0]
    table["f0"] = np.arange(150) - 75.0
    refused(table, message, **options)


def test_features_are_named_once_and_at_least_one():
    table = planted(150)[0]
    for features, message in [
        ([], "features is empty; name columns that say how customers behave"),
        (["f0", "f0"], "features names f0 more than once; name each column once"),
    ]:
        with pytest.raises(DataProblem) as problem:
            segment_customers(table, features=features, n_segments=2, seed=1)
        assert str(problem.value) == message


def test_one_feature_is_enough():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"visits": np.concatenate([rng.normal(0, 1, 150), rng.normal(8, 1, 150)])})
    found = segmented(table, 2)
    assert found.established and found.tidy()["n"].sum() == 300
    assert found.plot_map().get_xlabel() == "more visits →" or found.plot_map().get_xlabel() == "less visits →"
    plt.close("all")


# --- moves -----------------------------------------------------------------------------------------------------------

ERROR = np.array([[0.85, 0.15], [0.1, 0.9]])


def test_moves_are_recovered_from_what_misclassification_makes_of_them():
    moves = np.array([[0.5, 0.1], [0.05, 0.35]])
    counts = 1e6 * ERROR.T @ moves @ ERROR
    assert corrected_moves(counts, ERROR, ERROR) == pytest.approx(moves, abs=1e-4)
    assert corrected_stay(counts, ERROR, ERROR, 0.95)[0] == pytest.approx(0.85, abs=1e-6)
    assert corrected_stay(np.diag([40, 60]), np.eye(2), np.eye(2), 0.95)[2] == pytest.approx(1)


def stay_coverage(draws, moves, n=600, seed=1):
    rng, inside = np.random.default_rng(seed), []
    found = (ERROR.T @ moves @ ERROR).ravel()
    for _ in range(draws):
        counts = rng.multinomial(n, found).reshape(2, 2)
        _, low, high = corrected_stay(counts, ERROR, ERROR, 0.95)
        inside.append(low <= np.trace(moves) <= high)
    return np.mean(inside)


@pytest.mark.parametrize("stayed", [0.7, 0.9, 1.0])
def test_intervals_of_the_corrected_share_that_stayed_cover_95_times_in_100(stayed):
    moves = np.array([[0.6, 0], [0, 0.4]]) * stayed + np.array([[0, 0.5], [0.5, 0]]) * (1 - stayed)
    coverage = stay_coverage(2000, moves)
    assert coverage >= 0.95 - 0.015 - 2 * np.sqrt(0.05 * 0.95 / 2000)
    assert stayed == 1 or coverage <= 0.975


def test_hidden_moves_cannot_be_read_off_the_share_that_stayed(known):
    table, segments = known
    waves = table[["customer", "f0", "f1", "f2", "f3"]]
    found = segment_migration(as_survey(waves, min_base=75), waves, segmentation=segments, customer="customer")
    tidy = found.tidy()
    diagonal = tidy[tidy["segment"] == tidy["to_segment"]]
    hidden = diagonal["n"].isna()
    assert hidden.sum() >= 2 and found.counts.trace() - diagonal["n"].sum() >= 75


# --- figures ---------------------------------------------------------------------------------------------------------


def test_figures_hold_the_numbers_of_their_tables(known):
    table, segments = known
    bars = segments.plot_stability().patches
    assert [bar.get_width() for bar in bars] == pytest.approx(segments.tidy()["jaccard"].tolist())
    places = segments.tables()["map"]
    drawn = [t.get_position() for t in segments.plot_map().texts]
    assert np.array(drawn) == pytest.approx(places[["x", "y"]].to_numpy())
    waves = table[["customer", "f0", "f1", "f2", "f3"]]
    flow = segment_migration(waves, waves, segmentation=segments, customer="customer").plot_flow()
    shares = segments.tidy()["share"]
    assert [t.get_text() for t in flow.texts][:4] == [f"S{i + 1} {100 * s:.0f} %" for i, s in enumerate(shares)]
    plt.close("all")
