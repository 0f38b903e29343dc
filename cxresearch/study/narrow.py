"""One part of a study: the rows of one market, one wave, or both.

``open_study("study.yml?market=North")`` gives the study with every table narrowed to that market, so that a notebook
runs on it unchanged, and runs again from what its parameters say. Values are percent-encoded as in a web address.

A table that has the columns keeps the rows with these values. A table without them keeps the rows of the customers whom
the values belong to, according to the first of customers, responses, transactions and interactions that has all of the
columns. A table that has neither (employees, costs) cannot be narrowed and is not part of the narrowed study. Two tables
are joined on their customer in the same way, and either is a step of the waterfall.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, quote

import numpy as np
import pandas as pd

from cxresearch.errors import StudyProblem, nearest, require_choice
from cxresearch.study.table import reasons

HOLDERS = ("customers", "responses", "transactions", "interactions")
CUSTOMER = "customer"
Only = tuple[tuple[str, str], ...]  # column, value


def split_reference(reference: str | Path) -> tuple[Path, Only]:
    """Return the file of ``study.yml?market=North&wave=2024`` and the values it is narrowed to."""
    text = os.fspath(reference)
    file, mark, asked = text.rpartition("?")  # in a value it would be encoded
    if not mark or os.path.exists(text):  # a file may have a question mark in its name
        return Path(text), ()
    try:
        only = tuple(parse_qsl(asked, keep_blank_values=True, strict_parsing=True, errors="strict"))
    except ValueError:
        raise StudyProblem(f"{asked!r} after the study's name is not COLUMN=VALUE, joined by &") from None
    return Path(file), only


def reference_to(file: str | Path, only: Only) -> str:
    """Return what `split_reference` reads; any character of a value is safe in it."""
    asked = "&".join(f"{quote(column, safe='')}={quote(value, safe='')}" for column, value in only)
    return f"{os.fspath(file)}?{asked}" if only else os.fspath(file)


def as_words(column: pd.Series) -> pd.Series:
    """Return a column's values as text (2018.0 is 2018, a day is ISO), missing where they are missing."""
    codes, values = pd.factorize(column)
    words = pd.array([_word(value) for value in values], dtype="str")
    return pd.Series(pd.api.extensions.take(words, codes, allow_fill=True), index=column.index)


def _word(value) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return str(value.date())
    return str(value)


def require_known(columns: Mapping[str, list[str]], asked: Iterable[str], file: str) -> None:
    """Raise `StudyProblem` for a column that no table has."""
    known = sorted({name for names in columns.values() for name in names})
    for column in asked:
        if column not in known:
            raise StudyProblem(f"{file} has no column {column!r}{nearest(column, known)}; there are {', '.join(known)}")


def cannot_narrow(columns: Mapping[str, list[str]], asked: Iterable[str]) -> dict[str, str]:
    """Return table -> the first of the columns that it lacks; only of tables that no table with all of them narrows."""
    asked = list(asked)
    return {
        table: next(column for column in asked if column not in names)
        for table, names in columns.items()
        if not set(asked) <= set(names) and not (CUSTOMER in names and holder_of(columns, *asked))
    }


def kept_rows(name: str, tables: Callable[[str], pd.DataFrame], columns: Mapping[str, list[str]], only: Only):
    """Return which rows of a table belong to the part of the study, (n,) bool Series.

    Parameters
    ----------
    name
        Of a table that can be narrowed.
    tables, columns
        Name -> the whole table; table -> its declared columns.
    only
        Column and value; all must hold.
    """
    table, asked = tables(name), [column for column, _ in only]
    if set(asked) <= set(columns[name]):
        return _matching(table, only)
    holder = tables(holder_of(columns, *asked))
    return table[CUSTOMER].isin(holder.loc[_matching(holder, only), CUSTOMER].dropna())


def _matching(table: pd.DataFrame, only: Only) -> pd.Series:
    kept = pd.Series(True, index=table.index)
    for column, value in only:
        kept &= (as_words(table[column]) == value).fillna(False).astype(bool)
    return kept


def holder_of(columns: Mapping[str, list[str]], *asked: str) -> str | None:
    """Return the first table that says whom values of all these columns belong to."""
    return next((t for t in HOLDERS if {*asked, CUSTOMER} <= set(columns.get(t, ()))), None)


# -- two tables on their customer ------------------------------------------------------------------------------------


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
