"""What an analysis may see of a table: pseudonyms instead of ids, redacted texts, no column that names a person.

A study reads ids as they are, since rows are deduplicated and files corrected by them, and hands out pseudonyms.
"""

import pandas as pd

from cxresearch.privacy import PSEUDONYMS, PseudonymKey, find_identifiers, pseudonymise, redact
from cxresearch.study.items import Item, headers
from cxresearch.study.schema import Table

LONG = 40  # characters of a cell: such a column holds what people wrote, whatever role it was given
IDS = ("respondent", "customer", "agent", "contact", "case")


def id_columns(table: Table) -> list[str]:
    """Return the columns of a table that hold ids of people, under whatever name: every use of such a header."""
    declared = {column: said for column, _, _, said in table.declared()}
    people = {column for column, said in declared.items() if column in IDS or "respondent" in getattr(said, "role", ())}
    ids = {header for column in people for header in headers(declared[column], column).values()}
    return [column for column, said in declared.items() if ids & set(headers(said, column).values())]


def text_columns(table: Table) -> list[str]:
    """Return the columns of a table that hold what people wrote."""
    own = ["text"] if getattr(table, "text", None) else []
    return own + [key for key, item in table.items.items() if "verbatim" in item.role]


def guarded(frame: pd.DataFrame, table: Table, key: PseudonymKey) -> pd.DataFrame:
    """Return a table as analyses see it; joins between the tables of a study hold, since one id has one pseudonym."""
    ids = id_columns(table)
    seen: dict[str, pd.Series] = {}
    for column in ids:
        twin = next((c for c in seen if frame[c].equals(frame[column])), None)  # cluster: customer is common
        seen[column] = pseudonymise(frame[column], key=key) if twin is None else seen[twin].rename(column)
    written = dict.fromkeys([*text_columns(table), *(c for c in table.items if c in frame and _is_free_text(frame[c]))])
    seen |= {column: redact(frame[column]).texts for column in written if column not in seen}
    found = frame.assign(**seen)
    found.attrs[PSEUDONYMS] = ids
    return found


def _is_free_text(cells: pd.Series) -> bool:
    return cells.dtype in (object, "str", "category") and any(len(str(v)) > LONG for v in cells.dropna().unique())


def names_a_person(stored: pd.Series, header: str, item: Item) -> str | None:
    """Return why an item's column is left at the door, or None if it may come in.

    Answers on a scale, labelled codes and dates are no names; a text is redacted, an id becomes a pseudonym.
    """
    if item.personal or item.scale or item.labels or item.is_date or {"verbatim", "respondent"} & set(item.role):
        return None
    found = find_identifiers(pd.DataFrame({header: stored}))
    return f"{found[0].kind} ({found[0].reason})" if found else None
