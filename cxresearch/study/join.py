"""Bring two tables together on the customer, and count what found no partner."""

from collections.abc import Callable, Sequence

import pandas as pd

from cxresearch.errors import StudyProblem, require_choice
from cxresearch.study.table import reasons


def match(
    left: pd.DataFrame,
    right: pd.DataFrame,
    *,
    keep: str,
    outcomes: Sequence[str],
    order: str,
    waves: Callable[[], Sequence],
    names: tuple[str, str],
) -> tuple[pd.DataFrame, str]:
    """Return the inner join on customer, and in words which rows of `left` it left out.

    Parameters
    ----------
    left, right
        Tables with a column customer; in `right` a customer stands once. Of a column in both, that of `left` stays.
    keep
        "latest" or "all" of the rows of a customer.
    outcomes
        Columns of which one must be answered for a row to count as the latest.
    order, waves
        Column that says which row is later; `waves` tells its values in the order of time, asked only where a customer
        has several rows.
    names
        Of the two tables, for messages.
    """
    require_choice("keep", keep, ("latest", "all"))
    if right["customer"].duplicated().any():
        raise StudyProblem(
            f"table {names[1]} holds customers more than once; match {names[0]} to a table with one row a customer"
        )
    counts = {"without a customer": int(left["customer"].isna().sum())}
    known = left[left["customer"].notna()]
    present = pd.Index(right["customer"]).get_indexer(known["customer"]) >= 0  # isin is slow on long text columns
    counts[f"whose customer is not in {names[1]}"] = int((~present).sum())
    rows = known[present]
    if keep == "latest":
        answered = rows[list(outcomes)].notna().any(axis=1) if outcomes else pd.Series(True, index=rows.index)
        latest = _latest(rows[answered], order, waves, names[0])
        counts |= {
            "without any answered outcome": int((~answered).sum()),
            "earlier than the customer's latest": int(answered.sum()) - len(latest),
        }
        rows = latest
    twice = [column for column in right.columns if column in left.columns and column != "customer"]
    joined = rows.merge(right.drop(columns=twice), on="customer", how="inner", validate="many_to_one")
    shared = f"{' and '.join(twice)} as in {names[0]}, which {names[1]} have too" if twice else ""
    return joined, "; ".join(filter(None, (reasons(counts), shared)))


def _latest(rows: pd.DataFrame, order: str, waves: Callable[[], Sequence], name: str) -> pd.DataFrame:
    if not rows["customer"].duplicated().any():
        return rows
    if order not in rows.columns:
        raise StudyProblem(
            f"{name} has several rows for some customers, and nothing says which is the latest; declare the wave, "
            "or give an item the role asked_at"
        )
    rank = rows[order]
    if order == "wave":
        rank = rank.map({wave: i for i, wave in enumerate(waves())})
    latest = (
        rows.assign(_rank=rank)
        .sort_values("_rank", kind="stable", na_position="first")
        .drop_duplicates("customer", keep="last")
    )
    return latest.sort_index().drop(columns="_rank")
