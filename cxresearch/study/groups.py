"""Which columns divide people into groups, and how many people a group has.

A report on a group names it on its pages, in its folder and in the log. A column of ids, of what people wrote or of
contacts would name persons there, and a value that few people share points at them. The first is refused, the second is
counted and not named; no message of this module repeats a value.
"""

from collections.abc import Iterable

import pandas as pd

from cxresearch.errors import StudyProblem, TooFewRespondents
from cxresearch.privacy import find_identifiers, hidden_values, redact
from cxresearch.privacy.identifiers import PEOPLE, header_words
from cxresearch.study.narrow import CUSTOMER, Only, as_words, kept_rows, require_known
from cxresearch.study.personal import id_columns, text_columns
from cxresearch.study.schema import Table, headers_of

NUMBERED = {"id", "ids", "no", "nr", "num", "number", "key", "code", "uuid", "guid"}  # agent_no, customerKey


def require_groups(opened, columns: Iterable[str]) -> None:
    """Raise `StudyProblem` for a column that is declared to hold what belongs to one person, also one that is made from an
    item (``staff_met``): a header of ids in one table of the study is a header of ids in all.
    """
    require_known(opened.column_names, columns, opened.path.name)
    tables = {name: opened.declaration(name) for name in opened.table_names}
    guarded = _guarded_headers(tables.values())
    for column in columns:
        for name in (t for t, names in opened.column_names.items() if column in names):
            headers = headers_of(tables[name], [_owner(tables[name], column)])
            held = next((guarded[h] for h in headers if h in guarded), None)
            if held or any(_is_called_an_id(word) for word in (column, *headers)):
                raise _refused(opened, column, name, held or "ids of people, as its name says")


def _guarded_headers(tables: Iterable[Table]) -> dict[str, str]:
    """Return header -> what it holds, for each that no report may be divided by."""
    found: dict[str, str] = {}
    for table in tables:
        personal = [key for key, item in table.items.items() if item.personal]
        found |= dict.fromkeys(headers_of(table, personal), "what names a person (personal: true)")
        found |= dict.fromkeys(headers_of(table, text_columns(table)), "what people wrote")
        found |= dict.fromkeys(headers_of(table, id_columns(table)), "ids of people")
    return found


def _owner(table: Table, column: str) -> str:
    """Return the item from which a column is made, or the column itself."""
    return next((key for key, item in table.items.items() if column in item.further(key)), column)


def _is_called_an_id(header: str) -> bool:
    """Whether a header says that it numbers people: agent_no, customerKey."""
    words = set(header_words(header))
    return bool(words & NUMBERED and words & PEOPLE)


def _refused(opened, column: str, table: str, held: str) -> StudyProblem:
    fine = [c for c in opened.columns("demographic", "segment", "wave") if c != column]
    instead = f" ({', '.join(fine)})" if fine else ""
    return StudyProblem(
        f"{opened.path.name}: column {column} of table {table} holds {held}, and a report is about a group, not about "
        f"a person; divide by a demographic, a segment or the wave instead{instead}"
    )


def require_no_contacts(opened, columns: Iterable[str]) -> None:
    """Raise `StudyProblem` for a column whose cells are contacts, whatever it is declared to be; its tables are read."""
    for column in columns:
        for name in (t for t, names in opened.column_names.items() if column in names):
            table = opened.declaration(name)
            item = table.items.get(column)
            if item and (item.scale or item.is_date):
                continue  # an answer on a scale, or a day: its cells were held against that
            # Labelled cells are the study's own words; the header tells of the codes that they stand for.
            headers = ["value"] if item and item.labels else [*headers_of(table, [column]), column]
            cells = opened.read(name).table[column]
            found = [f for header in headers for f in find_identifiers(pd.DataFrame({header: cells}))]
            if found:
                raise _refused(opened, column, name, f"contacts: {found[0].kind} ({found[0].reason})")


def require_no_contact(opened, column: str, values: Iterable[str]) -> None:
    """Raise `StudyProblem` if one of the values that would be named is a contact, though most of the column is not."""
    taken = redact(pd.Series(list(values), dtype=object)).counts
    kinds = taken.loc[taken["redactions"] > 0, "kind"].tolist()
    if kinds:
        table = next(t for t, names in opened.column_names.items() if column in names)
        raise _refused(opened, column, table, f"contacts: {', '.join(kinds)} in some of its values")


def people_of(name: str, table: pd.DataFrame) -> pd.Series:
    """Return whom each row of a table is about, (n,): a respondent or a customer; a row that does not say, itself."""
    person = "respondent" if name == "responses" else CUSTOMER
    rows = pd.Series(table.index, index=table.index, dtype=object)
    return table[person].astype(object).where(table[person].notna(), rows) if person in table else rows


def require_group(opened, name: str, only: Only, base: int) -> None:
    """Raise `TooFewRespondents` for a part of the whole study under the minimum base in table `name`, without telling
    whether it is empty; and for one from which, beside the whole, the size of another could be told.
    """
    columns, tables = opened.column_names, lambda table: opened.read(table).table
    kept = kept_rows(name, tables, columns, only)
    sizes = [people_of(name, tables(name))[kept].nunique()]
    sizes += [people_with(opened, column).get(value, 0) for column, value in only if column not in columns[name]]
    of_others = [(column,) for column, _ in only] + [tuple(column for column, _ in only)]
    tells = {columns: kept_back(opened, columns, base) for columns in of_others}
    if min(sizes) >= base and any(tuple(v for c, v in only if c in names) in gone for names, gone in tells.items()):
        raise TooFewRespondents(
            f"{opened.path.name}: beside the whole, the part asked for by {' and '.join(c for c, _ in only)} would tell "
            f"the size of a group under the minimum base of {base}; ask for another part"
        )
    if min(sizes) < base:
        raise TooFewRespondents(
            f"{opened.path.name}: the part asked for by {' and '.join(c for c, _ in only)} has fewer than {base} "
            f"people or rows of table {name}, the minimum base; ask for a larger part"
        )


def kept_back(opened, columns: tuple[str, ...], base: int) -> set[tuple[str, ...]]:
    """Return the values of columns of one table of which no report is made beside the whole."""
    home = next((t for t, names in opened.column_names.items() if set(columns) <= set(names)), None)
    if home not in ("responses", "customers"):
        return set()  # of several tables, where each column alone is asked, or of events, which divide nobody
    table = opened.read(home).table
    counts = people_of(home, table).groupby([as_words(table[column]) for column in columns]).nunique()
    values = [value if isinstance(value, tuple) else (value,) for value in counts.index]
    return {value for value, gone in zip(values, hidden_values(values, counts, min_base=base)) if gone}


def people_with(opened, column: str) -> dict[str, int]:
    """Return value -> how many people have it, in the first table that has the column."""
    home = next(t for t, names in opened.column_names.items() if column in names)
    table = opened.read(home).table
    return people_of(home, table).groupby(as_words(table[column])).nunique().to_dict()
