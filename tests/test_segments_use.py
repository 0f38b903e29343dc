"""What segments are used for: outcomes, the typing tool, and migration."""

import json

import numpy as np
import pandas as pd
import pytest
from proofs import covered, draws
from test_segments import planted

from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.segments import assign_segments, compare_segments, segment_customers, segment_migration, typing_tool
from cxresearch.segments.migration import kappa, pooled_moves, stuart_maxwell
from cxresearch.segments.outcomes import classification, corrected_means
from cxresearch.survey import as_survey

# Unaided distance vision of 7,477 women (Stuart 1955)
VISION = np.array([[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]])


# --- migration -------------------------------------------------------------------------------------------------------


def test_stuart_s_vision_table_stuart_maxwell_11_9566_kappa_0_59539():
    assert stuart_maxwell(VISION) == (pytest.approx(11.9566, abs=1e-4), 3, pytest.approx(0.00753, abs=1e-5))
    assert kappa(VISION) == pytest.approx(0.59539, abs=1e-5)


def test_stuart_maxwell_leaves_out_segments_that_nobody_left_or_joined():
    counts = np.pad(VISION, (0, 1))
    counts[4, 4] = 50
    assert stuart_maxwell(counts) == stuart_maxwell(VISION)
    assert stuart_maxwell(np.diag([5, 6, 7])) == (0.0, 0, 1.0)


@pytest.fixture(scope="module")
def wave():
    table, truth = planted(800, distance=6)
    table = table.assign(customer=range(800))
    finding = segment_customers(table, features=["f0", "f1", "f2", "f3"], n_segments=4, n_starts=10, n_boot=5, seed=1)
    return table, truth, finding


FEATURES = ["f0", "f1", "f2", "f3"]


def later(wave, moved, seed=3):
    """Return the later window of customers whose true segments are `moved`."""
    table, truth, _ = wave
    centres = table.groupby(truth)[FEATURES].mean().to_numpy()
    values = centres[moved] + np.random.default_rng(seed).normal(size=(len(moved), 4))
    return pd.DataFrame(values, columns=FEATURES).assign(customer=table["customer"])


def test_what_is_found_is_described_and_no_real_moves_are_claimed_from_two_windows(wave):
    table, truth, finding = wave
    same = segment_migration(table, later(wave, truth), segmentation=finding, customer="customer")
    assert same.summary["stayed"] > 0.97 and "No change in the sizes of segments is established" in same.sentence()
    moved = np.where((truth == 0) & (np.random.default_rng(3).random(800) < 0.4), 1, truth)
    found = segment_migration(table, later(wave, moved), segmentation=finding, customer="customer")
    assert "The sizes of segments changed (Stuart–Maxwell, p < 0.001)" in found.sentence()
    assert found.tidy().groupby("segment")["share"].sum().tolist() == pytest.approx([1, 1, 1, 1])
    assert found.summary["stayed"] == pytest.approx((moved == truth).mean(), abs=0.02)
    for one in (same, found):
        assert one.established is None and "real moves are not established" in one.sentence()


def test_customers_whose_ways_vary_are_found_elsewhere_more_often_than_the_model_s_errors_say_though_nobody_moved():
    rng = np.random.default_rng(1)
    centre = np.repeat([0.0, 4.0], 400) + rng.normal(0, 0.3, 800)  # each customer's ways
    windows = [pd.DataFrame({"f": centre + rng.standard_t(3, 800), "customer": range(800)}) for _ in range(2)]
    options = dict(features=["f"], n_segments=2, n_starts=5, n_boot=2, seed=1)
    finding = segment_customers(windows[0], **options)
    s = segment_migration(*windows, segmentation=finding, customer="customer").summary
    assert s["stayed_both"] < s["stayed_expected"]  # and yet nobody moved: why no move is claimed


def test_who_bought_nothing_is_in_a_state_of_its_own_and_counts_among_all_customers(wave):
    table, truth, finding = wave
    after = later(wave, truth)
    newcomers = after.head(30).assign(customer=range(800, 830))
    gone = (truth == 2) | (np.arange(800) % 10 == 0)
    found = segment_migration(table, pd.concat([after[~gone], newcomers]), segmentation=finding, customer="customer")
    s = found.summary
    assert (s["n"], s["n_both"]) == (800, int((~gone).sum()))
    assert s["bought_nothing"] == gone.mean() and s["stayed"] + s["changed"] + s["bought_nothing"] == pytest.approx(1)
    assert s["stayed"] < s["stayed_both"]
    rows = found.tidy().set_index(["segment", "to_segment"])["n"]
    assert rows.xs("bought nothing", level="to_segment").sum() == gone.sum() and rows["bought nothing"].sum() == 30
    assert found.sentence().startswith(f"Of 800 customers {100 * s['stayed']:.0f} % stayed in their segment, ")
    # A row with no purchase says the same as no row.
    told = (
        table.assign(frequency=5),
        pd.concat([after.assign(frequency=np.where(gone, 0, 4)), newcomers.assign(frequency=1)]),
    )
    again = segment_migration(*told, segmentation=finding, customer="customer")
    pd.testing.assert_frame_equal(found.tidy(), again.tidy())


def test_segments_keep_the_names_of_the_reference_whose_profile_is_nearest(wave):
    table, truth, finding = wave
    small = table[(truth != 0) | (np.arange(800) % 4 == 0)]  # the largest is now another
    other = segment_customers(small, features=FEATURES, n_segments=4, n_starts=10, n_boot=5, seed=1)
    own, named = finding.augment(small).table["segment"], other.augment(small).table["segment"]
    assert (own == named).mean() < 0.9
    found = segment_migration(small, later(wave, truth), segmentation=other, customer="customer", reference=finding)
    sizes = found.tidy().groupby("segment")["n"].sum().drop("bought nothing")
    assert sizes.to_dict() == pytest.approx(own.value_counts().to_dict(), abs=5)
    assert found.tables()["states"]["segment"].tolist() == ["S1", "S2", "S3", "S4"]
    assert found.checks().set_index("check").at["segments nearest to the one whose name they have", "value"] == "4 of 4"
    three = segment_customers(table, features=FEATURES, n_segments=3, n_starts=10, n_boot=5, seed=1)
    with pytest.raises(DataProblem) as problem:
        segment_migration(table, table, segmentation=three, customer="customer", reference=finding)
    assert str(problem.value) == (
        "reference has 4 segments by f0, f1, f2, f3, the segmentation 3 by f0, f1, f2, f3; "
        "segments are matched by profile where features and number are the same"
    )


@pytest.mark.parametrize("seed", range(20))
def test_small_cells_are_pooled_so_that_none_can_be_computed(seed):
    rng = np.random.default_rng(seed)
    counts = np.append(rng.poisson(rng.choice([2, 8, 40], (5, 5))), [[0] * 5], axis=0)[:5]
    counts[np.diag_indices(5)] += 60
    counts[4, 4] = 0
    pooled = pooled_moves(counts, 10)
    assert not pooled[4, 4] and (pooled | (counts >= 10))[:4].all()
    for row, cells in zip(counts, pooled):
        assert not cells.any() or (cells.sum() > 1 and row[cells].sum() >= 10)
    rest = counts[:4].sum(axis=1) - counts.diagonal()[:4]
    assert not pooled.diagonal()[:4][rest >= 10].any()  # who stayed is shown where it may be
    assert not pooled_moves(counts, 1).any()


def test_a_small_cell_of_those_who_stayed_cannot_be_read_off_the_headline(wave):
    table, truth, finding = wave
    moved = np.where(truth == truth[finding.augment(table).table["segment"] == "S4"][0], 0, truth)
    found = segment_migration(
        as_survey(table, min_base=20), later(wave, moved), segmentation=finding, customer="customer"
    )
    tidy = found.tidy()
    shown = tidy[tidy["segment"] == tidy["to_segment"]]
    assert "S4" not in set(shown["segment"]) and found.suppressed > 0
    n, unit = found.summary["n"], found.summary["stayed"]
    assert unit == pytest.approx(round(unit / 0.03) * 0.03)  # 20 of 800, to a whole percent above
    assert found.summary["n_both"] % 20 == 0 and n == 800


def test_no_figure_hides_a_whole_segment(wave):
    table, truth, finding = wave
    after = later(wave, np.where(np.arange(800) % 4 == 0, (truth + 1) % 4, truth))
    ax = segment_migration(as_survey(table, min_base=10), after, segmentation=finding, customer="customer").plot()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["S1", "S2", "S3", "S4"]
    gone = finding.augment(after).table["segment"].to_numpy() == "S4"
    lost = segment_migration(as_survey(table, min_base=10), after[~gone], segmentation=finding, customer="customer")
    ax = lost.plot()
    assert not ax.axison and ax.texts[0].get_text().startswith("Not drawn: S4 would be hidden whole")


def test_migration_refuses_a_customer_twice_and_too_few_in_both_waves(wave):
    table, _, finding = wave
    with pytest.raises(DataProblem) as problem:
        segment_migration(table, pd.concat([table, table.head(3)]), segmentation=finding, customer="customer")
    assert str(problem.value) == "after: 3 of 803 rows repeat a customer in customer; give one row per customer"
    with pytest.raises(TooFewRespondents) as problem:
        segment_migration(table, table.head(20), segmentation=finding, customer="customer")
    assert str(problem.value) == "segment_migration needs at least 100 customers in both windows; found 20"


# --- outcomes --------------------------------------------------------------------------------------------------------


def mixed(n, distance, difference, seed):
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.5).astype(int)
    x = truth * distance + rng.normal(size=n)
    a, b = np.exp(-0.5 * x**2), np.exp(-0.5 * (x - distance) ** 2)
    posterior = np.column_stack([a, b]) / (a + b)[:, None]
    return posterior, posterior.argmax(axis=1), truth * difference + rng.normal(size=n)


def test_correction_recovers_a_true_difference_of_one_where_assignment_and_posterior_weights_shrink_it():
    corrected, modal, weighted = [], [], []
    for seed in range(20):
        posterior, assigned, y = mixed(3000, 1.5, 1.0, seed)
        means, _ = corrected_means(y, assigned, classification(posterior, assigned))
        corrected.append(means[1] - means[0])
        modal.append(y[assigned == 1].mean() - y[assigned == 0].mean())
        weights = posterior / posterior.sum(axis=0)
        weighted.append(weights[:, 1] @ y - weights[:, 0] @ y)
    assert np.mean(corrected) == pytest.approx(1, abs=0.05)
    assert np.mean(weighted) < np.mean(modal) < 0.65


def coverage(draws, n):
    inside = []
    for seed in range(draws):
        posterior, assigned, y = mixed(n, 2.0, 1.0, seed)
        means, influence = corrected_means(y, assigned, classification(posterior, assigned))
        covariance = as_survey(pd.DataFrame({"y": y})).sample().covariance_of(influence)
        inside.append(abs(means - [0, 1]) <= 1.96 * np.sqrt(np.diag(covariance)))
    return np.mean(inside)


@draws(400, 5000)
def test_intervals_of_corrected_means_cover_the_truth_95_times_in_100(draws):
    assert covered(coverage(draws, 500), 2 * draws)


def test_a_planted_difference_in_revenue_is_found_none_is_claimed_where_there_is_none_and_small_segments_are_hidden(
    wave,
):
    table, truth, finding = wave
    rng = np.random.default_rng(4)
    table = table.assign(
        revenue=100.0 + 50 * (truth == 0) + rng.normal(0, 20, 800),
        noise=rng.normal(size=800),
    )
    found = compare_segments(as_survey(table, labels={"revenue": "Spending"}), segmentation=finding, outcome="revenue")
    top = found.tidy().set_index("segment")["estimate"]
    assert top.max() == pytest.approx(150, abs=5) and found.sentence().startswith(
        "Spending differs between segments of 800 customers, corrected for misclassification (p < 0.001). The means are S1 "
    )
    assert (
        compare_segments(table, segmentation=finding, outcome="noise")
        .sentence()
        .startswith("No difference in noise between segments of 800 customers is established (p = ")
    )
    hidden = compare_segments(as_survey(table, min_base=100), segmentation=finding, outcome="revenue").tidy()
    assert hidden["n"].isna().sum() == 2


def test_outcome_refusals(wave):
    table, _, finding = wave
    for changed, outcome, message in [
        (
            table,
            "f0",
            "f0 is a feature that the segments were made from; differences in it are no evidence, so compare another column",
        ),
        (table.assign(y="much"), "y", "y is not numeric; give numbers"),
    ]:
        with pytest.raises(DataProblem) as problem:
            compare_segments(changed, segmentation=finding, outcome=outcome)
        assert str(problem.value) == message


# --- the typing tool -------------------------------------------------------------------------------------------------


def test_a_saved_tool_is_readable_and_assigns_exactly_as_the_one_in_memory(wave, tmp_path):
    table, _, finding = wave
    tool = typing_tool(table, segmentation=finding, items=["f0", "f1", "f2"], seed=1)
    path = tool.save(tmp_path / "tool.json")
    assert json.loads(path.read_text())["items"] == ["f0", "f1", "f2"] and path.stat().st_size < 2000
    survey = as_survey(table, min_base=7, currency="EUR")
    found = assign_segments(survey, path)
    assert (found.min_base, found.currency) == (7, "EUR")  # the floor goes with the rows
    pd.testing.assert_frame_equal(found.table, assign_segments(survey, tool).table)
    assigned = found.table
    kept = assigned["segment"] != "unclassified"
    assert (assigned["segment"] == finding.augment(table).table["segment"])[kept].mean() > 0.9
    assert (assigned.loc[~kept, "probability"] < 0.6).all()


def test_a_tool_on_telling_items_beats_the_largest_segment_and_one_on_noise_says_that_it_is_not_established(wave):
    table, truth, finding = wave
    rng = np.random.default_rng(1)
    told = table.assign(
        **{f"d{i}": (truth == i) + 0.2 * rng.normal(size=800) for i in range(3)}, noise=rng.normal(size=800)
    )
    good = typing_tool(told, segmentation=finding, items=["d0", "d1", "d2"], seed=1)
    assert good.summary["accuracy"] > 0.9 and good.established
    assert good.sentence().startswith("From 3 items 9") and "no evidence" not in good.sentence()
    assert good.tidy().columns.tolist() == ["segment", "n", "recall", "precision"]
    bad = typing_tool(told, segmentation=finding, items=["noise"], seed=1)
    assert not bad.established and bad.sentence().startswith("The tool is not established: ")


def test_accuracy_on_features_that_segments_were_made_from_is_said_to_be_no_evidence(wave):
    table, _, finding = wave
    survey = as_survey(table, labels={"f0": "Visits"})
    tool = typing_tool(survey, segmentation=finding, items=FEATURES, seed=1)
    assert tool.summary["accuracy"] > 0.9 and tool.established is None
    assert "Segments were made from Visits, f1, f2 and f3: accuracy on them is no evidence" in tool.sentence()
    assert not tool.checks().set_index("check").at["items that segments were made from", "ok"]


def test_the_tool_finds_segments_anew_in_each_fold_so_that_segments_of_one_cloud_are_seen_not_to_hold():
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.normal(size=(300, 3)), columns=["a", "b", "c"])
    finding = segment_customers(table, features=["a", "b", "c"], n_segments=5, n_starts=5, n_boot=2, seed=1)
    tool = typing_tool(table, segmentation=finding, items=["a", "b", "c"], seed=1)
    frozen = finding.augment(table).table["segment"]  # a function of the items, which any model learns when it is given
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    circular = cross_val_score(LogisticRegression(max_iter=1000), table[["a", "b", "c"]], frozen, cv=5).mean()
    assert tool.summary["accuracy"] < circular - 0.1


def test_tool_refusals(wave, tmp_path):
    table, _, finding = wave
    with pytest.raises(DataProblem) as problem:
        typing_tool(table, segmentation=finding, items=["f0"] * 9, seed=1)
    assert str(problem.value) == "items holds 9 columns; a typing tool takes 1 to 8, so choose the most telling"
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataProblem) as problem:
        assign_segments(table, tmp_path / "x.json")
    assert (
        str(problem.value)
        == f"{tmp_path / 'x.json'} is not a typing tool that this version can read (KeyError); save it again with tool.save(path)"
    )


# --- the bundled company ---------------------------------------------------------------------------------------------


def test_the_four_segments_planted_in_the_simulated_company_are_found_with_an_adjusted_rand_index_of_at_least_0_9():
    from sklearn.metrics import adjusted_rand_score

    from cxresearch.simulate import simulate_company
    from cxresearch.transactions import behaviour

    company = simulate_company(seed=2029)
    paid = company.tables["transactions"].rename(columns={"customer_id": "customer", "paid_at": "time"})
    columns = {c: c for c in ("customer", "time", "amount", "category", "channel", "discount")}
    found = behaviour(paid, until="2025-01-01", window="12 months", **columns)
    segments = segment_customers(found, features=found.columns_of("feature"), n_segments=4, n_boot=10, seed=1)
    truth = company.truth.customers.set_index("customer_id")["segment"].reindex(found.table["customer"])
    assert segments.established
    assert adjusted_rand_score(truth, segments.augment(found).table["segment"]) >= 0.9
