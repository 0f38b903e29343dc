"""Suppression against an attacker who knows every margin: what is hidden cannot be computed, and would be otherwise."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

import cxresearch as cx
from cxresearch.privacy import hidden_cells, hide_cells


def cells(counts) -> pd.DataFrame:
    counts = np.atleast_2d(counts)
    g, w = counts.shape
    return pd.DataFrame(
        {"group": np.repeat([f"g{i}" for i in range(g)], w), "wave": np.tile(range(w), g), "n": counts.ravel()}
    )


def margin(table: pd.DataFrame, key: str) -> pd.DataFrame:
    return table.groupby(key, sort=False, as_index=False)["n"].sum()


def random_table(rng) -> pd.DataFrame:
    """Draw up to 7 groups and 6 waves with counts from none to hundreds, some tables thin, some with empty cells.

    Under ten in all, nothing is shown (`require_base`).
    """
    shape = rng.integers(1, 8), rng.integers(1, 7)
    mean = (
        rng.choice([3, 8, 15, 40])
        * rng.lognormal(0, 0.8, size=(shape[0], 1))
        * rng.lognormal(0, 0.5, size=(1, shape[1]))
    )
    table = cells(rng.poisson(mean) * rng.binomial(1, rng.choice([1, 0.8]), size=shape))
    return table if table["n"].sum() >= 10 else random_table(rng)


def publish(table: pd.DataFrame, *, min_base: int, secondary=True):
    """Return the equations of everything published (cells, both margins, the whole), and those of the hidden sums."""
    k = len(table)
    known, values, hidden = [np.ones(k)], [table["n"].sum()], []
    for keys in (["group", "wave"], ["group"], ["wave"]):
        shown = table if len(keys) == 2 else margin(table, keys[0])
        mask = hidden_cells(shown, min_base=min_base, secondary=secondary)
        for (_, row), hide in zip(shown.iterrows(), mask):
            equation = np.all([table[key] == row[key] for key in keys], axis=0).astype(float)
            if hide:
                hidden.append(equation)
            else:
                known.append(equation)
                values.append(row["n"])
    return np.array(known), np.array(values, dtype=float), hidden


def recovered(known, values, hidden) -> int:
    """Return how many hidden sums have the same minimum and maximum over all tables that fit what is published."""
    found = 0
    for equation in hidden:
        low = linprog(equation, A_eq=known, b_eq=values, method="highs")
        high = linprog(-equation, A_eq=known, b_eq=values, method="highs")
        assert low.status == 0 and high.status in (0, 3)
        found += high.status == 0 and abs(low.fun + high.fun) < 1e-6
    return found


def attack(tables: int, *, seed: int, secondary: bool) -> tuple[int, int]:
    """Return how many sums were hidden and how many of them recovered."""
    rng = np.random.default_rng(seed)
    hid = got = 0
    for _ in range(tables):
        known, values, hidden = publish(random_table(rng), min_base=10, secondary=secondary)
        hid += len(hidden)
        got += recovered(known, values, hidden)
    return hid, got


def test_an_attacker_recovers_no_hidden_cell_of_60_random_tables():
    hid, got = attack(60, seed=5, secondary=True)
    assert hid > 300 and got == 0


def test_the_attacker_recovers_cells_where_only_small_ones_are_hidden():
    hid, got = attack(12, seed=5, secondary=False)
    assert got > 0.05 * hid


@pytest.mark.soak
def test_an_attacker_recovers_no_hidden_cell_of_1000_random_tables():
    hid, got = attack(1000, seed=2026, secondary=True)
    assert hid > 5000 and got == 0


def test_a_lone_small_cell_takes_the_next_smallest_of_its_row_and_its_column_with_it():
    counts = np.array([[4, 30, 40], [50, 60, 70], [80, 90, 100]])
    mask = hidden_cells(cells(counts), min_base=10).reshape(3, 3)
    assert mask.tolist() == [[True, True, False], [True, True, False], [False, False, False]]


def test_in_a_table_of_one_key_the_next_smallest_group_goes_with_a_lone_small_one():
    table = pd.DataFrame({"group": list("abcd"), "n": [40, 3, 25, 60]})
    assert hidden_cells(table, min_base=10).tolist() == [False, True, True, False]


def test_hidden_cells_of_a_line_add_up_to_the_base_at_least():
    table = pd.DataFrame({"group": list("abcd"), "n": [40, 3, 2, 60]})
    assert hidden_cells(table, min_base=10).tolist() == [True, True, True, False]  # 3 and 2 would be a group of 5


def test_an_empty_cell_is_not_taken_for_cover():
    table = pd.DataFrame({"group": list("abc"), "n": [0, 9, 60]})
    assert hidden_cells(table, min_base=10).tolist() == [True, True, True]


def test_nothing_is_hidden_without_a_small_cell_or_with_a_base_of_one():
    table = cells(np.array([[12, 30], [40, 11]]))
    assert not hidden_cells(table, min_base=10).any()
    assert not hidden_cells(cells(np.array([[0, 1], [2, 3]])), min_base=1).any()


def test_hidden_rows_keep_their_keys_and_nothing_else():
    table = pd.DataFrame({"score": [0, 1, 2], "n": [3, 12, 60], "estimate": [1.0, 2.0, 3.0], "method": ["x"] * 3})
    shown = hide_cells(table, min_base=10, keys=("score",))
    assert shown["score"].tolist() == [0, 1, 2] and shown.loc[2].tolist() == [2, 60, 3.0, "x"]
    assert shown.loc[:1, ["n", "estimate", "method"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(hide_cells(table, min_base=2, keys=("score",)), table)


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(8)
    for _ in range(20):
        table = random_table(rng).assign(n=lambda t: t["n"] + np.arange(len(t)) / 1000)  # no ties
        shuffled = table.sample(frac=1, random_state=int(rng.integers(1000)))
        mask = pd.Series(hidden_cells(shuffled, min_base=10), index=shuffled.index).sort_index()
        assert mask.tolist() == hidden_cells(table, min_base=10).tolist()


# --- money -----------------------------------------------------------------------------------------------------------


def customers(*, richest: float) -> pd.DataFrame:
    """40 customers to each of 11 answers; one detractor may have most of the detractors' money."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"recommend": np.repeat(np.arange(11), 40), "paid": rng.gamma(2, 50, 440).round(2)})
    table["f"] = np.repeat([0.0, 8.0], 220) + rng.normal(size=440)
    table.loc[0, "paid"] = richest
    return table


@pytest.mark.parametrize("richest, dominated", [(80.0, False), (1e6, True)])
def test_groups_in_which_one_customer_has_most_of_the_money_are_hidden_with_a_second_one(richest, dominated):
    table = customers(richest=richest)
    value = cx.promoter_value(cx.as_survey(table, min_base=10), "recommend", value="paid")
    fitted = cx.fit_loyalty_revenue(cx.as_survey(table, min_base=10), revenue="paid", loyalty="recommend")
    segments = cx.segment_customers(table, features=["f"], n_segments=2, n_starts=3, n_boot=5, seed=1)
    worth = cx.compare_segments(cx.as_survey(table, min_base=10), segmentation=segments, outcome="paid")
    shown = {
        "value": value.tidy(), "groups": fitted.tables()["groups"], "curve": fitted.tables()["curve"], "worth": worth.tidy()
    }  # fmt: skip
    hidden = {name: int(t["largest_share"].isna().sum()) for name, t in shown.items()}
    assert hidden == (dict.fromkeys(shown, 2) if dominated else dict.fromkeys(shown, 0))
    assert all((t["largest_share"].dropna() <= 0.5).all() for t in shown.values())
    assert all(t.loc[t["largest_share"].isna(), "n"].isna().all() for t in shown.values())


@pytest.mark.parametrize("least", [0.0, -50.0])  # amounts that may be negative are not taken in logs
def test_segments_do_not_tell_what_the_customer_who_dominates_paid(least):
    table = customers(richest=2e7).assign(spent=lambda t: t["paid"], visits=np.tile(range(1, 12), 40).astype(float))
    table.loc[1, ["spent", "paid"]] = least
    survey = cx.as_survey(table, min_base=10)
    made = dict(n_segments=2, n_starts=3, n_boot=5, seed=1)
    segments = cx.segment_customers(survey, features=["spent", "f", "visits"], **made)
    profiled = cx.profile_segments(survey, segmentation=cx.segment_customers(survey, features=["f"], **made), variables=["paid"])
    profile, cells, scaling = segments.tables()["profile"], profiled.tables()["cells"], segments.tables()["scaling"]
    assert profile[profile["feature"] != "spent"].notna().all(axis=None)
    assert profile.loc[profile["feature"] == "spent", "estimate"].isna().all() and cells["estimate"].isna().all()
    assert "spent" not in scaling.loc[scaling["transform"] == "none", "feature"].tolist()
    told = " ".join([*segments.tidy()["description"], str(segments), str(profiled)])
    assert "paid" in told and "visits" in told and not [w for w in told.replace(",", "").split() if w.strip(".").isdigit() and float(w) > 1e4]
    open_ = cx.segment_customers(cx.as_survey(table), features=["spent", "f", "visits"], **made).tables()["profile"]
    assert (open_["estimate"] * open_["n"]).max() == pytest.approx(2e7, rel=0.01), "without a base it is told"


def test_without_a_minimum_base_no_money_is_hidden_and_the_share_is_said():
    table = customers(richest=1e6)
    shown = cx.promoter_value(table, "recommend", value="paid").tidy()
    assert shown["n"].tolist() == [280, 80, 80] and shown["largest_share"].iloc[0] > 0.9


def test_a_grouping_by_several_columns_is_closed_beside_the_others():
    people = pd.DataFrame({"a": ["x"] * 30 + ["y"] * 36, "b": ["p"] * 18 + ["q"] * 12 + ["p"] * 30 + ["q"] * 6})
    survey = cx.as_survey(people.assign(recommend=7), min_base=10, roles={"a": "demographic", "b": "demographic"})
    shown = cx.nps(survey, "recommend", by=["a", "b"]).tidy()
    assert shown["n"].isna().sum() >= 2 and shown["n"].dropna().ge(10).all()
