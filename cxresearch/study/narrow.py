"""One part of a study: the rows of one market, one wave, or both.

``open_study("study.yml?market=North")`` gives the study with every table narrowed to that market, so that a notebook
runs on it unchanged, and runs again from what its parameters say. Values are percent-encoded as in a web address.

A table that has the column keeps the rows with that value. A table without it keeps the rows of the customers whom the
value belongs to, according to the first of customers, responses, transactions and interactions that has the column. A
table that has neither (employees, costs) cannot be narrowed and is not part of the narrowed study.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote

import numpy as np
import pandas as pd

from cxresearch.errors import StudyProblem, nearest

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
    """Return table -> the first of the columns by which it cannot be narrowed; only of tables that cannot."""
    lost = {}
    for table, names in columns.items():
        for column in asked:
            if column not in names and not (CUSTOMER in names and holder_of(columns, column)):
                lost.setdefault(table, column)
    return lost


def kept_rows(name: str, tables: Callable[[str], pd.DataFrame], columns: Mapping[str, list[str]], only: Only):
    """Return which rows of a table belong to the part of the study, (n,) bool Series.

    Parameters
    ----------
    name
        Of a table that can be narrowed.
    tables
        Name -> the whole table.
    columns
        Table -> its declared columns.
    only
        Column and value; all must hold.
    """
    table = tables(name)
    kept = _matching(table, columns[name], only)
    for holder in {holder_of(columns, column) for column, _ in only if column not in columns[name]}:
        of_holder = tables(holder)
        members = of_holder.loc[_matching(of_holder, columns[holder], only), CUSTOMER].dropna()
        kept &= table[CUSTOMER].isin(members)
    return kept


def _matching(table: pd.DataFrame, names: list[str], only: Only) -> pd.Series:
    kept = pd.Series(True, index=table.index)
    for column, value in only:
        if column in names:
            kept &= (as_words(table[column]) == value).fillna(False).astype(bool)
    return kept


def holder_of(columns: Mapping[str, list[str]], column: str) -> str | None:
    """Return the first table that says which value a customer has."""
    return next((t for t in HOLDERS if column in columns.get(t, ()) and CUSTOMER in columns[t]), None)
