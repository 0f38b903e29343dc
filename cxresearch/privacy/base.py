"""Minimum base: a group too small to show is pooled with others, or hidden with its n; so is one that few pay for.

A sum of money in which one contributor stands out is hidden as if few had contributed.

References
----------
Hundepool et al. (2012), *Statistical Disclosure Control*, 4.2.2: the (n, k) rule.
"""

from itertools import chain, combinations

import numpy as np
import pandas as pd

from cxresearch.errors import TooFewRespondents

POOLED = "other (below base)"
MOST = 0.5  # of a sum, that one contributor may have


def pool_small_groups(groups: pd.Series, *, min_base: int) -> pd.Series:
    """Return `groups` with those under `min_base` rows pooled into one.

    The pool takes the next smallest group, too, until it is large enough: otherwise a single small group could be
    read off the difference to the total. Call it on the full table, before complete cases are taken, so that the
    same groups are pooled whatever is missing. A pool that cannot become large enough is hidden by `hide_small_bases`.
    """
    sizes = groups.value_counts()
    pooled: list = []
    total = 0
    for group, n in sorted(sizes.items(), key=lambda item: (item[1], str(item[0]))):
        if n >= min_base and (not pooled or (total >= min_base and len(pooled) > 1)):
            break
        pooled.append(group)
        total += n
    return groups.where(~groups.isin(pooled), POOLED).where(groups.notna()) if pooled else groups


def hide_small_bases(table: pd.DataFrame, *, min_base: int, keys=("group", "wave", "segment", "term")) -> pd.DataFrame:
    """Return `table` with every value, n too, missing in rows whose n is under `min_base`: integers become floats."""
    told = table.columns.difference(list(keys), sort=False)
    return table.assign(**{column: table[column].mask(table["n"] < min_base) for column in told})


def dominated_columns(table: pd.DataFrame, groups: pd.DataFrame, *, min_base: int) -> set[str]:
    """Return the columns of amounts of which one row has more than half in some group that is large enough to be shown.

    `groups` are those of each row by the groupings of a study, which divide it alone and in pairs; amounts are numbers
    other than 0 and 1.
    """
    numbers = table.select_dtypes("number")
    size = numbers.loc[:, ~numbers.isin([0, 1]).where(numbers.notna(), True).all()].abs()
    found: set[str] = set()
    for keys in chain.from_iterable(combinations(groups.columns, k) for k in (0, 1, 2)):
        parts = size.groupby([groups[key] for key in keys] or np.zeros(len(size)), dropna=False)
        most = (parts.max() > MOST * parts.sum()) & (parts.count() >= min_base)
        found |= set(size.columns[most.any()])
    return found


def require_base(n: int, *, min_base: int, what: str) -> None:
    """Refuse a result that would rest on fewer than `min_base` rows."""
    if n < min_base:
        raise TooFewRespondents(
            f"{what} rests on fewer than the {min_base} rows that the study's minimum base asks for; nothing is shown"
        )


def largest_share(amounts) -> float:
    """Return the part of a sum that its largest contributor has, 0-1 (0 without money); losses count by their size."""
    size = np.abs(np.asarray(amounts, dtype=float))
    return float(size.max() / size.sum()) if size.sum() > 0 else 0.0
