"""One part of a study: the rows of one market, one wave, or both.

``open_study("study.yml?market=North")`` gives the study with every table narrowed to that market. A table that has the
columns keeps the rows with these values, one without them the rows of the customers whom the values belong to, by the
first of customers, responses, transactions and interactions that has all of the columns; one that has neither is not
part of it. Columns of ids, of what people wrote or of contacts would name persons, and values that few people share
point at them: the first are refused, the second counted, and no message repeats a value.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

import pandas as pd

from cxresearch.errors import StudyProblem, TooFewRespondents, nearest
from cxresearch.privacy import find_identifier, hidden_values, redact
from cxresearch.privacy.identifiers import PEOPLE, header_words
from cxresearch.study.codes import Cells
from cxresearch.study.document import say

CUSTOMER, HOLDERS = "customer", ("customers", "responses", "transactions", "interactions")
NUMBERED = {"id", "ids", "no", "nr", "num", "number", "key", "code", "uuid", "guid"}  # agent_no, customerKey
Only = tuple[tuple[str, str], ...]  # column, value


def split_reference(reference: str | Path) -> tuple[Path, Only]:
    """Return the file of ``study.yml?market=North&wave=2024`` and the values it is narrowed to."""
    file, mark, asked = os.fspath(reference).rpartition("?")  # in a value it would be encoded
    if not mark or os.path.exists(reference):  # a file may have a question mark in its name
        return Path(reference), ()
    try:
        return Path(file), tuple(parse_qsl(asked, keep_blank_values=True, strict_parsing=True, errors="strict"))
    except ValueError:
        raise StudyProblem(f"{asked!r} after the study's name is not COLUMN=VALUE, joined by &") from None


def reference_to(file: str | Path, only: Only) -> str:
    """Return what `split_reference` reads; any character of a value is safe in it."""
    return f"{os.fspath(file)}?{urlencode(only, safe='', quote_via=quote)}" if only else os.fspath(file)


def as_words(column: pd.Series) -> pd.Series:
    """Return a column's values as text (2018.0 is 2018, a day is ISO), missing where they are missing."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        column = column.astype(object).map(lambda at: at.date() if at == at.normalize() else at, na_action="ignore")
    cells = Cells(column)
    floats = pd.Series([isinstance(value, float) for value in cells.values], dtype=bool)  # text stays as it is
    return cells.rows(cells.text.where(cells.text != "").mask(floats, cells.text.str.removesuffix(".0")))


def cannot_narrow(columns: Mapping[str, list[str]], asked: Iterable[str]) -> dict[str, str]:
    """Return table -> the first of the columns that it lacks; only of tables that no table with all of them narrows."""
    lacking = {table: [column for column in asked if column not in names] for table, names in columns.items()}
    by_customer = holder_of(columns, *asked)
    return {t: gone[0] for t, gone in lacking.items() if gone and not (by_customer and CUSTOMER in columns[t])}


def holder_of(columns: Mapping[str, list[str]], *asked: str) -> str | None:
    """Return the first table that says whom values of all these columns belong to."""
    return next((t for t in HOLDERS if {*asked, CUSTOMER} <= set(columns.get(t, ()))), None)


def kept_rows(opened, name: str, only: Only) -> pd.Series:
    """Return which rows of a table of a whole study, one that can be narrowed, belong to a part of it, (n,) bool."""
    columns, table = opened.column_names, opened.read(name).table
    own = set(dict(only)) <= set(columns[name])
    holder = table if own else opened.read(holder_of(columns, *dict(only))).table
    kept = pd.Series(True, index=holder.index)
    for column, value in only:
        kept &= (as_words(holder[column]) == value).fillna(False).astype(bool)
    return kept if own else table[CUSTOMER].isin(holder.loc[kept, CUSTOMER].dropna())


def homes_of(opened, *columns: str) -> list[str]:
    """Return the tables of a study that have all of the columns."""
    return [name for name, found in opened.column_names.items() if set(columns) <= set(found)]


def require_groups(opened, columns: Sequence[str]) -> None:
    """Raise `StudyProblem` for a column that no table has, or that holds, or is made of, what is a person's."""
    known, guarded = sorted({column for names in opened.column_names.values() for column in names}), {}
    if unknown := next((column for column in columns if column not in known), None):
        near = f"{nearest(unknown, known)}; there are {', '.join(known)}"
        raise StudyProblem(f"{opened.path.name} has no column {unknown!r}{near}")
    for table in map(opened.declaration, opened.table_names):  # header, of any table -> why it divides nobody
        personal = [key for key, item in table.items.items() if item.personal]
        guarded |= dict.fromkeys(table.headers(*personal), "what names a person (personal: true)")
        guarded |= dict.fromkeys(table.headers(*table.text_columns), "what people wrote")
        guarded |= dict.fromkeys(table.headers(*table.id_columns), "ids of people")
    for column, name in [(c, name) for c in columns for name in homes_of(opened, c)]:
        items = opened.declaration(name).items.items()
        headers = opened.declaration(name).headers(next((key for key, i in items if column in i.columns(key)), column))
        named = any(words & NUMBERED and words & PEOPLE for words in map(set, map(header_words, [column, *headers])))
        held = next((guarded[header] for header in headers if header in guarded), None)
        if held or named:
            raise _refused(opened, column, name, held or "ids of people, as its name says")


def _refused(opened, column: str, table: str, held: str) -> StudyProblem:
    fine = [c for c in opened.columns("demographic", "segment", "wave") if c != column]
    instead = f" ({', '.join(fine)})" if fine else ""
    return StudyProblem(say("no group", file=opened.path.name, column=column, table=table, held=held, instead=instead))


def require_no_contacts(opened, columns: Iterable[str]) -> None:
    """Raise `StudyProblem` for a column whose cells are contacts, whatever it is declared to be; tables are read."""
    for column, name in [(c, name) for c in columns for name in homes_of(opened, c)]:
        table = opened.declaration(name)
        item = table.items.get(column)
        if item and (item.scale or item.is_date):
            continue  # an answer on a scale, or a day: its cells were held against that
        # Labelled cells are the study's own words; the header tells of the codes that they stand for.
        headers = ["value"] if item and item.labels else [*table.headers(column), column]
        cells = opened.read(name).table[column]
        if found := next(filter(None, (find_identifier(header, cells) for header in headers)), None):
            raise _refused(opened, column, name, f"contacts: {found}")


def require_no_contact(opened, column: str, values: Iterable[str]) -> None:
    """Raise `StudyProblem` if one of the values that would be named is a contact, though most of the column is not."""
    taken = redact(pd.Series(list(values), dtype=object)).counts
    if kinds := [kind for kind, n in taken.items() if n]:
        held = f"contacts: {', '.join(kinds)} in some of its values"
        raise _refused(opened, column, homes_of(opened, column)[0], held)


def people_of(name: str, table: pd.DataFrame) -> pd.Series:
    """Return whom each row of a table is about, (n,): a respondent or a customer; a row that does not say, itself."""
    person = "respondent" if name == "responses" else CUSTOMER
    rows = pd.Series(table.index, index=table.index, dtype=object)
    return table[person].astype(object).where(table[person].notna(), rows) if person in table else rows


def people_with(opened, *columns: str) -> pd.Series:
    """Return values of columns -> how many people have them, in the first table that has the columns."""
    home = homes_of(opened, *columns)[0]
    table = opened.read(home).table
    return people_of(home, table).groupby([as_words(table[column]) for column in columns]).nunique()


def require_group(opened, name: str, only: Only) -> None:
    """Refuse a part that names somebody: by contacts, by few (or none) in table `name`, or by what is left."""
    asked, base = tuple(dict(only)), opened.min_base
    require_no_contacts(opened, asked)
    for column, value in only:
        require_no_contact(opened, column, [value])
    kept = people_of(name, opened.read(name).table)[kept_rows(opened, name, only)].nunique()
    elsewhere = [people_with(opened, c).get(value, 0) for c, value in only if c not in opened.column_names[name]]
    told = dict(file=opened.path.name, asked=" and ".join(asked), base=base)
    if min([kept, *elsewhere]) < base:
        raise TooFewRespondents(say("few in the part", table=name, **told))
    for columns in (*((column,) for column in asked), asked):
        if homes_of(opened, *columns)[:1] not in (["responses"], ["customers"]):
            continue  # of several tables, where each column alone is asked, or of events, which divide nobody
        counts = people_with(opened, *columns)
        values = [value if isinstance(value, tuple) else (value,) for value in counts.index]
        hidden = [value for value, gone in zip(values, hidden_values(values, counts, min_base=base)) if gone]
        if tuple(value for column, value in only if column in columns) in hidden:
            raise TooFewRespondents(say("few beside the part", **told))
