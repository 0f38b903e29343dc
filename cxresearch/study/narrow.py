"""One part of a study: the rows of one market, one wave, or both.

``open_study("study.yml?market=North")`` gives the study with every table narrowed to that market, so that a notebook
runs on it unchanged, and runs again from what its parameters say. Values are percent-encoded as in a web address.

A table that has the columns keeps the rows with these values. A table without them keeps the rows of the customers whom
the values belong to, according to the first of customers, responses, transactions and interactions that has all of the
columns. A table that has neither (employees, costs) cannot be narrowed and is not part of the narrowed study. Two tables
are joined on their customer in the same way, and either is a step of the waterfall.

A report on a part names it on its pages, in its folder and in the log. A column of ids, of what people wrote or of
contacts would name persons there, and a value that few people share points at them. The first is refused, the second is
counted and not named; no message about either repeats a value.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, quote

import numpy as np
import pandas as pd

from cxresearch.errors import StudyProblem, TooFewRespondents, nearest, require_choice
from cxresearch.privacy import find_identifier, hidden_values, redact
from cxresearch.privacy.identifiers import PEOPLE, header_words
from cxresearch.study.schema import headers_of
from cxresearch.study.table import reasons

HOLDERS = ("customers", "responses", "transactions", "interactions")
CUSTOMER = "customer"
NUMBERED = {"id", "ids", "no", "nr", "num", "number", "key", "code", "uuid", "guid"}  # agent_no, customerKey
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


def cannot_narrow(columns: Mapping[str, list[str]], asked: Iterable[str]) -> dict[str, str]:
    """Return table -> the first of the columns that it lacks; only of tables that no table with all of them narrows."""
    asked = list(asked)
    return {
        table: next(column for column in asked if column not in names)
        for table, names in columns.items()
        if not set(asked) <= set(names) and not (CUSTOMER in names and holder_of(columns, *asked))
    }


def kept_rows(opened, name: str, only: Only) -> pd.Series:
    """Return which rows of a table of a whole study, one that can be narrowed, belong to a part of it, (n,) bool."""
    columns, asked = opened.column_names, [column for column, _ in only]
    table = opened.read(name).table
    own = set(asked) <= set(columns[name])
    holder = table if own else opened.read(holder_of(columns, *asked)).table
    kept = pd.Series(True, index=holder.index)
    for column, value in only:
        kept &= (as_words(holder[column]) == value).fillna(False).astype(bool)
    return kept if own else table[CUSTOMER].isin(holder.loc[kept, CUSTOMER].dropna())


def holder_of(columns: Mapping[str, list[str]], *asked: str) -> str | None:
    """Return the first table that says whom values of all these columns belong to."""
    return next((t for t in HOLDERS if {*asked, CUSTOMER} <= set(columns.get(t, ()))), None)


# -- columns that divide people into groups --------------------------------------------------------------------------


def places_of(opened, *columns: str) -> list[tuple[str, str]]:
    """Return column, table for each table of a study that has one of the columns."""
    return [(c, name) for c in columns for name, names in opened.column_names.items() if c in names]


def require_groups(opened, columns: Iterable[str]) -> None:
    """Raise `StudyProblem` for a column that no table has, or that is declared to hold what belongs to one person.

    So is one that is made from an item (``staff_met``). A header of ids in one table of the study is one in all.
    """
    known = sorted({column for names in opened.column_names.values() for column in names})
    for column in columns:
        if column not in known:
            there = f"{nearest(column, known)}; there are {', '.join(known)}"
            raise StudyProblem(f"{opened.path.name} has no column {column!r}{there}")
    tables = {name: opened.declaration(name) for name in opened.table_names}
    guarded: dict[str, str] = {}  # header -> what it holds, for each that no report may be divided by
    for table in tables.values():
        personal = [key for key, item in table.items.items() if item.personal]
        guarded |= dict.fromkeys(headers_of(table, personal), "what names a person (personal: true)")
        guarded |= dict.fromkeys(headers_of(table, table.text_columns), "what people wrote")
        guarded |= dict.fromkeys(headers_of(table, table.id_columns), "ids of people")
    for column, name in places_of(opened, *columns):
        of = next((key for key, item in tables[name].items.items() if column in item.further(key)), column)
        headers = headers_of(tables[name], [of])
        words = [set(header_words(header)) for header in (column, *headers)]
        held = next((guarded[header] for header in headers if header in guarded), None)
        if held or any(w & NUMBERED and w & PEOPLE for w in words):
            raise _refused(opened, column, name, held or "ids of people, as its name says")


def _refused(opened, column: str, table: str, held: str) -> StudyProblem:
    fine = [c for c in opened.columns("demographic", "segment", "wave") if c != column]
    instead = f" ({', '.join(fine)})" if fine else ""
    return StudyProblem(
        f"{opened.path.name}: column {column} of table {table} holds {held}, and a report is about a group, not about "
        f"a person; divide by a demographic, a segment or the wave instead{instead}"
    )


def require_no_contacts(opened, columns: Iterable[str]) -> None:
    """Raise `StudyProblem` for a column whose cells are contacts, whatever it is declared to be; its tables are read."""
    for column, name in places_of(opened, *columns):
        table = opened.declaration(name)
        item = table.items.get(column)
        if item and (item.scale or item.is_date):
            continue  # an answer on a scale, or a day: its cells were held against that
        # Labelled cells are the study's own words; the header tells of the codes that they stand for.
        headers = ["value"] if item and item.labels else [*headers_of(table, [column]), column]
        cells = opened.read(name).table[column]
        if found := next(filter(None, (find_identifier(header, cells) for header in headers)), None):
            raise _refused(opened, column, name, f"contacts: {found}")


def require_no_contact(opened, column: str, values: Iterable[str]) -> None:
    """Raise `StudyProblem` if one of the values that would be named is a contact, though most of the column is not."""
    taken = redact(pd.Series(list(values), dtype=object)).counts
    if kinds := [kind for kind, n in taken.items() if n]:
        held = f"contacts: {', '.join(kinds)} in some of its values"
        raise _refused(opened, column, places_of(opened, column)[0][1], held)


def people_of(name: str, table: pd.DataFrame) -> pd.Series:
    """Return whom each row of a table is about, (n,): a respondent or a customer; a row that does not say, itself."""
    person = "respondent" if name == "responses" else CUSTOMER
    rows = pd.Series(table.index, index=table.index, dtype=object)
    return table[person].astype(object).where(table[person].notna(), rows) if person in table else rows


def people_with(opened, *columns: str) -> pd.Series:
    """Return values of columns -> how many people have them, in the first table that has the columns."""
    home = next(t for t, names in opened.column_names.items() if set(columns) <= set(names))
    table = opened.read(home).table
    return people_of(home, table).groupby([as_words(table[column]) for column in columns]).nunique()


def require_group(opened, name: str, only: Only, base: int) -> None:
    """Raise `TooFewRespondents` for a part of the whole study under the minimum base in table `name`, without telling
    whether it is empty; and for one from which, beside the whole, the size of another could be told.
    """
    asked = tuple(column for column, _ in only)
    kept = people_of(name, opened.read(name).table)[kept_rows(opened, name, only)].nunique()
    elsewhere = ((c, value) for c, value in only if c not in opened.column_names[name])
    least = min([kept, *(people_with(opened, c).get(value, 0) for c, value in elsewhere)])
    tells = {columns: kept_back(opened, columns, base) for columns in [*((column,) for column in asked), asked]}
    file, part = opened.path.name, f"the part asked for by {' and '.join(asked)}"
    if least < base:
        raise TooFewRespondents(
            f"{file}: {part} has fewer than {base} people or rows of table {name}, the minimum base; ask for a larger part"
        )
    if any(tuple(v for c, v in only if c in columns) in gone for columns, gone in tells.items()):
        raise TooFewRespondents(
            f"{file}: beside the whole, {part} would tell the size of a group under the minimum base of {base}; ask for "
            "another part"
        )


def kept_back(opened, columns: tuple[str, ...], base: int) -> set[tuple[str, ...]]:
    """Return the values of columns of one table of which no report is made beside the whole."""
    home = next((t for t, names in opened.column_names.items() if set(columns) <= set(names)), None)
    if home not in ("responses", "customers"):
        return set()  # of several tables, where each column alone is asked, or of events, which divide nobody
    counts = people_with(opened, *columns)
    values = [value if isinstance(value, tuple) else (value,) for value in counts.index]
    return {value for value, gone in zip(values, hidden_values(values, counts, min_base=base)) if gone}


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

    Of a column in both tables, that of `left` stays; in `right` a customer stands once. "latest" `keep`s of each customer
    the last row in which one of `outcomes` is answered, by the column `order`, or "all" rows are kept; `waves` tells the
    values of a wave in the order of time. `names` are those of the tables, for messages.
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
    order = rank.sort_values(kind="stable", na_position="first").index
    return rows.loc[order].drop_duplicates("customer", keep="last").sort_index()
