"""What segments are used for: outcomes, the typing tool, migration, and the baseline cells."""

import json

import numpy as np
import pandas as pd
import pytest
from test_segments import planted

from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.segments import (
    assign_segments,
    compare_segments,
    rfm_cells,
    segment_customers,
    segment_migration,
    typing_tool,
)
from cxresearch.segments.migration import bowker, kappa, stuart_maxwell
from cxresearch.segments.outcomes import classification, corrected_means
from cxresearch.survey import as_survey

# Unaided distance vision of 7,477 women (Stuart 1955)
VISION = np.array([[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]])


# --- migration -------------------------------------------------------------------------------------------------------


def test_stuart_s_vision_table_bowker_19_1066_stuart_maxwell_11_9566_kappa_0_59539():
    assert bowker(VISION) == (pytest.approx(19.1066, abs=1e-4), 6, pytest.approx(0.00399, abs=1e-5))
    assert stuart_maxwell(VISION)[:2] == (pytest.approx(11.9566, abs=1e-4), 3)
    assert kappa(VISION) == pytest.approx(0.59539, abs=1e-5)


@pytest.fixture(scope="module")
def wave():
    table, truth = planted(800, distance=6)
    table = table.assign(customer=range(800))
    finding = segment_customers(table, features=["f0", "f1", "f2", "f3"], n_segments=4, n_starts=10, n_boot=5, seed=1)
    return table, truth, finding


def test_customers_who_stay_are_not_said_to_move_and_movers_are_found(wave):
    table, truth, finding = wave
    centres = table.groupby(truth)[["f0", "f1", "f2", "f3"]].mean()
    rng = np.random.default_rng(3)
    after = pd.DataFrame(centres.to_numpy()[truth] + rng.normal(size=(800, 4)), columns=centres.columns).assign(
        customer=range(800)
    )
    same = segment_migration(table, after, segmentation=finding, customer="customer")
    assert same.summary["stayed"] > 0.97 and "so real change is not established" in same.sentence()
    moved = np.where((truth == 0) & (rng.random(800) < 0.4), 1, truth)
    later = after.assign(**pd.DataFrame(centres.to_numpy()[moved] + rng.normal(size=(800, 4)), columns=centres.columns))
    found = segment_migration(table, later, segmentation=finding, customer="customer")
    assert (
        "so customers did move: corrected for it, " in found.sentence()
        and "The sizes of segments changed (Stuart–Maxwell p = 0.000)" in found.sentence()
    )
    assert found.tidy().groupby("segment")["share"].sum().tolist() == pytest.approx([1, 1, 1, 1])
    assert found.plot().get_xlabel() == "later segment"


def test_migration_refuses_a_customer_twice_and_too_few_in_both_waves(wave):
    table, _, finding = wave
    with pytest.raises(DataProblem) as problem:
        segment_migration(table, pd.concat([table, table.head(3)]), segmentation=finding, customer="customer")
    assert str(problem.value) == "after: 3 of 803 rows repeat a customer in customer; give one row per customer"
    with pytest.raises(TooFewRespondents) as problem:
        segment_migration(table, table.head(20), segmentation=finding, customer="customer")
    assert str(problem.value) == "segment_migration needs at least 100 customers in both waves; found 20"


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
        means, covariance = corrected_means(y, assigned, classification(posterior, assigned))
        inside.append(abs(means - [0, 1]) <= 1.96 * np.sqrt(np.diag(covariance)))
    return np.mean(inside)


def test_intervals_of_corrected_means_cover_the_truth_95_times_in_100_sample():
    assert abs(coverage(400, 500) - 0.95) <= 0.015 + 2 * np.sqrt(0.05 * 0.95 / 800)


@pytest.mark.soak
def test_intervals_of_corrected_means_cover_the_truth_95_times_in_100():
    assert abs(coverage(5000, 500) - 0.95) <= 0.015 + 2 * np.sqrt(0.05 * 0.95 / 10000)


def test_a_planted_difference_in_revenue_is_found_none_is_claimed_where_there_is_none_and_small_segments_are_hidden(
    wave,
):
    table, truth, finding = wave
    rng = np.random.default_rng(4)
    table = table.assign(
        revenue=100.0 + 50 * (truth == 0) + rng.normal(0, 20, 800),
        noise=rng.normal(size=800),
        recommend=rng.integers(0, 11, 800),
    )
    found = compare_segments(as_survey(table, labels={"revenue": "Spending"}), segmentation=finding, outcome="revenue")
    top = found.tidy().set_index("segment")["estimate"]
    assert top.max() == pytest.approx(150, abs=5) and found.sentence().startswith(
        "Spending differs between segments (p = 0.000, 800 customers, corrected for misclassification): S1 "
    )
    assert (
        compare_segments(table, segmentation=finding, outcome="noise")
        .sentence()
        .startswith("No difference in noise between segments is established (p = ")
    )
    points = compare_segments(table, segmentation=finding, outcome="recommend", measure="nps").tidy()
    assert points["estimate"].between(-80, 0).all()
    hidden = compare_segments(as_survey(table, min_base=100), segmentation=finding, outcome="revenue").tidy()
    assert hidden["n"].isna().sum() == 2


def test_outcome_refusals(wave):
    table, _, finding = wave
    for changed, outcome, options, message in [
        (
            table,
            "f0",
            {},
            "f0 is a feature that the segments were made from; differences in it are no evidence, so compare another column",
        ),
        (table.assign(y="much"), "y", {}, "y is not numeric; give numbers"),
        (
            table.assign(y=5.5),
            "y",
            {"measure": "nps"},
            "y holds 800 values that are not whole numbers 0-10; declare them as missing, or use measure='mean'",
        ),
    ]:
        with pytest.raises(DataProblem) as problem:
            compare_segments(changed, segmentation=finding, outcome=outcome, **options)
        assert str(problem.value) == message


# --- the typing tool -------------------------------------------------------------------------------------------------


def test_a_saved_tool_is_readable_and_assigns_exactly_as_the_one_in_memory(wave, tmp_path):
    table, _, finding = wave
    tool = typing_tool(table, segmentation=finding, items=["f0", "f1", "f2"], seed=1)
    path = tool.save(tmp_path / "tool.json")
    assert json.loads(path.read_text())["items"] == ["f0", "f1", "f2"] and path.stat().st_size < 2000
    pd.testing.assert_frame_equal(assign_segments(table, path), assign_segments(table, tool))
    assigned = assign_segments(table, path)
    kept = assigned["segment"] != "unclassified"
    assert (assigned["segment"] == finding.augment(table)["segment"])[kept].mean() > 0.9
    assert (assigned.loc[~kept, "probability"] < 0.6).all()


def test_a_tool_on_telling_items_beats_chance_and_one_on_noise_says_that_it_is_not_established(wave):
    table, _, finding = wave
    good = typing_tool(table, segmentation=finding, items=["f0", "f1", "f2", "f3"], seed=1)
    assert good.summary["accuracy"] > 0.9 and good.sentence().startswith("From 4 items ")
    noise = table.assign(noise=np.random.default_rng(1).normal(size=800))
    bad = typing_tool(noise, segmentation=finding, items=["noise"], seed=1)
    assert bad.sentence().startswith(
        "The tool is not established: hardly better than always saying the largest segment. From 1 items "
    )


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


# --- cells -----------------------------------------------------------------------------------------------------------


def test_rfm_cells_are_fifths_scored_best_high_and_frozen_cutoffs_give_the_next_wave_the_same_cells():
    table = pd.DataFrame(
        {"recency_days": np.arange(100.0), "frequency": np.arange(100.0), "monetary": np.arange(100.0)}
    )
    cells = rfm_cells(table)
    assert cells["cell"].iloc[0] == "5-1-1" and cells["cell"].iloc[-1] == "1-5-5"
    assert cells["r"].value_counts().tolist() == [20] * 5
    again = rfm_cells(table.iloc[[50, 3]], cutoffs=cells.attrs["cutoffs"])
    assert again["cell"].tolist() == cells["cell"].iloc[[50, 3]].tolist()
    with pytest.raises(DataProblem) as problem:
        rfm_cells(table, cutoffs={"r": [1.0]})
    assert str(problem.value) == "cutoffs lacks f, m; pass attrs['cutoffs'] of what rfm_cells returned"


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
    assert adjusted_rand_score(truth, segments.augment(found)["segment"]) >= 0.9
