"""Who the segments are, how features were put on one scale, moves corrected for misclassification, and the figures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from proofs import covered, draws
from scipy import stats
from test_segments import planted, refused, segmented

from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.segments import profile_segments, segment_customers
from cxresearch.segments.profile import cramers_v, eta_squared
from cxresearch.survey import as_survey

# --- sizes of association --------------------------------------------------------------------------------------------


def test_cramers_v_is_the_root_of_chi_square_less_its_df_per_n_and_eta_squared_the_one_of_the_f_test():
    counts = np.array([[20, 15, 5], [10, 25, 25]])
    chi2, p, *_ = stats.chi2_contingency(counts, correction=False)
    found = cramers_v(counts, 0.95)
    assert (found.estimate, found.p_value) == (pytest.approx(np.sqrt((chi2 - 2) / 100)), pytest.approx(p))
    groups = [np.arange(5.0), np.arange(6.0) + 1, np.arange(7.0) + 3]
    f, p = stats.f_oneway(*groups)
    found = eta_squared(np.concatenate(groups), np.repeat([0, 1, 2], [5, 6, 7]), 0.95)
    assert (found.estimate, found.p_value) == (pytest.approx(2 * f / (2 * f + 15)), pytest.approx(p))


def association_coverage(draws, seed=1):
    """Return how often the 95 % intervals hold eta squared of .2 and V of .2."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    means = (labels - labels.mean()) / labels.std() * np.sqrt(0.2 / 0.8)
    shares = np.full((3, 3), 1 / 9) + (np.eye(3) - 1 / 3) * 0.2 / 3
    inside = []
    for _ in range(draws):
        eta = eta_squared(means + rng.normal(size=200), labels, 0.95)
        v = cramers_v(rng.multinomial(400, shares.ravel()).reshape(3, 3), 0.95)
        inside.append((eta.low <= 0.2 <= eta.high, v.low <= 0.2 <= v.high))
    return np.mean(inside, axis=0)


@draws(150, 5000)
def test_intervals_of_eta_squared_and_v_cover_95_times_in_100(draws):
    assert np.all(covered(association_coverage(draws), draws))


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
        "2 of 3 profile variables differ between segments of 600 customers; most does truth. In numbers, its Cramér's V is "
    )
    assert "not established: income. The features that segments were made from are no evidence." in found.sentence()
    cells = found.tables()["cells"].set_index(["feature", "segment", "category"])
    own = segments.augment(table).table
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
        "No difference between segments is established in 3 profile variables of 600 customers."
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


def test_what_is_known_in_one_segment_only_has_no_size_and_no_word_for_one(known):
    table, segments = known
    inside = segments.augment(table).table["segment"] == "S1"
    some = table.assign(spend=table["spend"].where(inside), income=table["income"].where(inside))
    found = profile_segments(some, segmentation=segments, variables=["spend", "income"]).tidy().tail(2)
    assert found["estimate"].isna().all() and found["in_words"].tolist() == ["not available"] * 2


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


def test_what_was_done_to_a_feature_is_told():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"money": np.exp(rng.normal(3, 1, 300)), "trend": rng.normal(size=300)})
    found = segmented(table, 2).tables()["scaling"].set_index("feature")
    assert found["transform"].tolist() == ["log(1 + x)", "none"]
    assert found.loc["money", "centre"] == pytest.approx(np.log1p(table["money"]).mean())
    assert found.loc["money", "scale"] == pytest.approx(np.log1p(table["money"]).std(ddof=0))


def test_customers_far_from_all_others_fail_a_check():
    table, _ = planted(400)
    table.loc[:2, "f0"] = 1e4
    row = segmented(table).checks().set_index("check").loc["customers far out (over 5 spreads)"]
    assert (row["value"], bool(row["ok"])) == (3, False)


def test_weights_that_segments_do_not_use_fail_a_check():
    table = planted(300)[0]
    found = segment_customers(
        as_survey(table.assign(w=1.0), weight="w"), features=list(table), n_segments=4, n_starts=5, n_boot=2, seed=1
    )
    row = found.checks().set_index("check").loc["weights used"]
    assert (row["value"], bool(row["ok"])) == ("no: w is left aside, every customer counts once", False)


def test_an_optimiser_that_reached_its_solution_once_is_told_apart_from_unstable_segments():
    table = pd.DataFrame(np.random.default_rng(1).random((300, 6)), columns=list("abcdef"))
    found = segmented(table, 9, n_starts=3, n_boot=2)
    assert found.glance()["starts_at_best"].item() == 1
    assert found.sentence().endswith(
        " The optimiser reached this solution from 1 of 3 starts only, so a better one may exist: raise n_starts before judging the segments."
    )
    assert "optimiser" not in segmented(planted(400)[0]).sentence()


def test_a_mixture_tells_bic_of_every_family():
    found = segmented(planted(300)[0], method="mixture", n_boot=2)
    families = found.tables()["families"]
    assert families["form"].tolist() == ["VII", "VVI", "EEE", "VVV"]
    assert families["bic"].max() == pytest.approx(found.glance()["bic"].item())


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
            {"n_segments": 2.5},
            "n_segments=2.5 must be a whole number of at least 2; one segment is what the others are tested against",
        )
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


# --- figures ---------------------------------------------------------------------------------------------------------


def test_the_figure_of_stability_holds_the_numbers_of_its_table(known):
    ax = known[1].plot_stability()
    dots = ax.collections[-1].get_offsets()
    assert dots[:, 0].tolist() == pytest.approx(known[1].tidy()["jaccard"].tolist())
    assert (ax.get_title() or ax.get_title("left")) == "4 of 4 segments are found again in resampled customers"
    plt.close("all")
