"""Sums of money in which one contributor stands out, and are hidden as if few had contributed.

References
----------
Hundepool et al. (2012), *Statistical Disclosure Control*, 4.2.2: the (n, k) rule.
"""

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_share

MOST = 0.5


def largest_share(amounts) -> float:
    """Return the part of a sum that its largest contributor has, 0-1 (0 without money); losses count by their size."""
    size = np.abs(np.asarray(amounts, dtype=float))
    return float(size.max() / size.sum()) if size.sum() > 0 else 0.0


def guarded_base(base, shares, *, min_base: int) -> np.ndarray:
    """Return the bases (k,) by which cells of money are hidden: under the minimum where a contributor dominates."""
    base = np.asarray(base, dtype=float)
    return np.where(np.asarray(shares, dtype=float) > MOST, np.minimum(base, min_base - 1), base)


def dominated_groups(amounts: pd.Series, groups: pd.Series, *, top: int = 1, share: float = MOST) -> pd.DataFrame:
    """Return the part that the largest contributors have in each group's sum, and whether the sum must be hidden.

    Parameters
    ----------
    amounts : Series, (n,)
        Money of one contributor each, not of one payment; negative amounts count by their size.
    groups : Series, (n,)
        The group of each; rows without one are left out.
    top, share
        A sum is dominated if its `top` largest contributors have more than `share` (0-1) of it: the (n, k) rule.

    Returns
    -------
    DataFrame with a row per group (``group``, sorted): ``n`` contributors above zero, ``largest_share`` (0-1; 0 where
    the group has no money), ``dominated``.

    Raises
    ------
    DataProblem
        If `share` does not lie between 0 and 1, `top` is under 1, or an amount is missing.
    """
    require_share("share", share)
    if top < 1:
        raise DataProblem(f"top={top!r} must be at least 1")
    if lost := int(amounts.isna().sum()):
        raise DataProblem(f"{amounts.name} is missing in {lost} of {len(amounts)} rows; drop them or give them a zero")
    size = pd.DataFrame({"group": groups.to_numpy(), "amount": np.abs(amounts.to_numpy(dtype=float))}).dropna(
        subset="group"
    )
    sorted_ = size.sort_values("amount", ascending=False, kind="stable").groupby("group", sort=True)["amount"]
    whole = sorted_.sum()
    largest = sorted_.apply(lambda a: a.iloc[:top].sum()) / whole.where(whole > 0, 1)
    counted = sorted_.apply(lambda a: int((a > 0).sum()))
    return pd.DataFrame({"n": counted, "largest_share": largest, "dominated": largest > share}).reset_index()
