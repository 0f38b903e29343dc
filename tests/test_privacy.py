"""Minimum base: small groups are pooled so that none can be read off a difference, or hidden with their n."""

import numpy as np
import pandas as pd
import pytest

from cxresearch.errors import TooFewRespondents
from cxresearch.privacy import POOLED, hide_small_bases, pool_small_groups, require_base


def groups(**sizes) -> pd.Series:
    return pd.Series([g for g, n in sizes.items() for _ in range(n)])


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"a": 30, "b": 20}, {"a": 30, "b": 20}),  # nothing small
        ({"a": 30, "b": 20, "c": 4, "d": 7}, {"a": 30, "b": 20, POOLED: 11}),  # the small ones suffice
        ({"a": 30, "b": 20, "c": 4}, {"a": 30, POOLED: 24}),  # one alone would show by difference: the next joins
        ({"a": 30, "b": 20, "c": 2, "d": 3}, {"a": 30, POOLED: 25}),  # still too small: the next joins
        ({"a": 30, "c": 4}, {POOLED: 34}),
        ({"a": 3, "c": 4}, {POOLED: 7}),
    ],
)
def test_groups_under_the_base_are_pooled_until_large_enough(sizes, expected):
    assert pool_small_groups(groups(**sizes), min_base=10).value_counts().to_dict() == expected


def test_pooling_is_deterministic_under_reordering_and_keeps_missing_groups():
    g = pd.concat([groups(a=30, b=5, c=5, d=5), pd.Series([None] * 4)], ignore_index=True)
    pooled = pool_small_groups(g, min_base=10)
    shuffled = g.sample(frac=1, random_state=1)
    pd.testing.assert_series_equal(pool_small_groups(shuffled, min_base=10).sort_index(), pooled)
    assert pooled.isna().sum() == 4


def test_a_row_under_the_base_is_hidden_with_its_n():
    table = pd.DataFrame({"group": ["a", "b"], "estimate": [1.0, 2.0], "n": [12, 9], "method": ["x", "x"]})
    shown = hide_small_bases(table, min_base=10)
    assert shown.loc[0].tolist() == ["a", 1.0, 12, "x"]
    assert shown.loc[1, "group"] == "b" and shown.loc[1, ["estimate", "n", "method"]].isna().all()
    assert table.loc[1, "n"] == 9, "the table itself is untouched"


def test_a_whole_result_under_the_base_is_refused():
    require_base(10, min_base=10, what="the score")
    with pytest.raises(
        TooFewRespondents, match="^the score rests on fewer than the 10 rows that the study's minimum base"
    ):
        require_base(9, min_base=10, what="the score")


def test_no_small_group_can_be_read_off_the_published_groups():
    rng = np.random.default_rng(3)
    for _ in range(200):
        g = pd.Series(rng.choice(list("abcdefgh"), size=rng.integers(20, 200), p=rng.dirichlet(np.full(8, 0.5))))
        sizes, shown = g.value_counts(), pool_small_groups(g, min_base=10).value_counts()
        small = set(sizes[sizes < 10].index)
        assert not small & set(shown.index)
        if small and len(sizes) > 1:
            # The pool holds at least two groups, so the total less the shown groups is never one small group.
            assert len(set(sizes.index) - set(shown.index)) >= 2
