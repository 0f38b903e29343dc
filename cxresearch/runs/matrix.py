"""The cells of a fan-out: one report for each value of some columns, which of them may be made, and their folders.

The whole is taken to be published somewhere, since a report on it usually is. A value under the minimum base therefore
gets no report and is not named anywhere, and where the others and the whole would tell its size, the smallest of them
gets none either.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.privacy import hidden_values
from cxresearch.study import narrow
from cxresearch.study.narrow import CUSTOMER, Only, as_words, holder_of
from cxresearch.survey import natural_key

MOST_CELLS = 5000
NAME_LENGTH = 80
WHOLE = "all"
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10)), WHOLE}


@dataclass(frozen=True)
class Cell:
    """One report of a fan-out: its folder, columns and values (none for the whole study), and how many rows.

    `skip` is why it gets no report. `unnamed` counts the values under the minimum base that it stands for, unsaid.
    """

    name: str
    only: Only
    rows: int
    skip: str | None = None
    unnamed: int = 0

    @property
    def label(self) -> str:
        if self.unnamed:
            return f"{self.unnamed} value{'s' * (self.unnamed > 1)} under the minimum base"
        return ", ".join(value for _, value in self.only) or "All"

    @property
    def values(self) -> dict[str, str]:
        return dict(self.only)


def cells_of(opened, each: Sequence[str], *, whole: bool = False, min_rows: int = 1) -> list[Cell]:
    """Return the cells of a fan-out in the order of their values, the whole first, those under the base as one last.

    There is a cell for each combination of values that some row has; one with fewer than `min_rows` rows is skipped.
    """
    table, counts = _counts(opened, each)
    base = opened.min_base
    shown = counts[counts["people"] >= base]
    if shown.empty:
        raise StudyProblem(
            f"--each {' '.join(each)}: none of {len(counts):,} values has {base} people or rows of {table}, the minimum "
            "base; name a column with fewer, larger groups"
        )
    for i, column in enumerate(each):
        narrow.require_no_contact(opened, column, dict.fromkeys(only[i][1] for only in shown["only"]))
    values = [tuple(value for _, value in only) for only in counts["only"]]
    hidden = hidden_values(values, counts["people"], min_base=base)
    beside = "beside the others and the whole, this report would tell the size of one under the minimum base"
    cells = [Cell(WHOLE, (), len(opened.read(table).table))] if whole else []
    for name, i in zip(safe_names(shown["only"]), shown.index):
        only, rows = shown.at[i, "only"], int(shown.at[i, "rows"])
        few = f"{rows} rows of {table}; the report asks for {min_rows}" if rows < min_rows else None
        cells.append(Cell(name, only, rows, beside if hidden[i] else few))
    small = f"fewer than {base} people or rows of {table}, the minimum base"
    return cells + ([Cell("", (), 0, small, len(counts) - len(shown))] if len(shown) < len(counts) else [])


def _counts(opened, each: Sequence[str]) -> tuple[str, pd.DataFrame]:
    """Return the table whose rows are counted; and for each combination of values ``only``, ``rows``, ``people``."""
    columns = opened.column_names
    narrow.require_groups(opened, each)
    if len(set(each)) < len(each):
        raise StudyProblem(f"--each names {', '.join(each)}; name each column once")
    narrow.require_no_contacts(opened, each)
    lost = narrow.cannot_narrow(columns, each)
    counted = next((t for t in columns if t not in lost), None)
    if counted is None:
        raise StudyProblem(f"no table of {opened.path.name} can be narrowed to {' and '.join(each)} at once")
    rows = _combinations(opened, list(each), counted)
    if len(rows) > MOST_CELLS:
        raise StudyProblem(f"--each {' '.join(each)} asks for {len(rows):,} reports; at most {MOST_CELLS:,} are made")
    if not rows:
        raise StudyProblem(f"--each {' '.join(each)}: no row of table {counted} has a value")
    rows.sort(key=lambda row: [natural_key(value) for _, value in row[0]])
    return counted, pd.DataFrame(rows, columns=["only", "rows", "people"])


def _combinations(opened, each: list[str], counted: str) -> list[tuple[Only, int, int]]:
    """Count rows and people of the combinations of values; a column of another table is joined by customer.

    A value that few people have in its own table is under the base, however many rows of another they account for.
    """
    columns, table = opened.column_names, opened.read(counted).table
    joined = pd.DataFrame({c: as_words(table[c]) for c in each if c in columns[counted]})
    elsewhere = [c for c in each if c not in joined]
    joined = joined.assign(_row=range(len(table)), _who=narrow.people_of(counted, table).to_numpy())
    joined = joined.assign(**{CUSTOMER: table[CUSTOMER]}) if elsewhere else joined
    for holder in dict.fromkeys(holder_of(columns, c) for c in elsewhere):
        theirs = opened.read(holder).table
        values = {c: as_words(theirs[c]) for c in each if c in columns[holder]}
        having = pd.DataFrame({CUSTOMER: theirs[CUSTOMER], **values}).dropna().drop_duplicates()
        joined = joined.merge(having, on=[c for c in having if c in joined])
    people = {c: narrow.people_with(opened, c) for c in elsewhere}
    counts = joined.groupby(each)[["_row", "_who"]].nunique()
    found = []
    for key, (n, who) in zip(counts.index, counts.to_numpy().tolist()):
        only = tuple(zip(each, key if isinstance(key, tuple) else (key,)))
        found.append((only, n, min([who, *(people[c][value] for c, value in only if c in people)])))
    return found


def safe_names(cells: Iterable[Only]) -> list[str]:
    """Return a folder name for each cell: readable, and safe on any file system.

    Where the values had to be changed or shortened, or names would differ only in capitals, eight digits of a hash of
    the values follow.
    """
    cells = list(cells)
    joined = ["-".join(value for _, value in only) for only in cells]
    slugs = [_slug(text) for text in joined]
    times = Counter(slug.casefold() for slug in slugs)
    names = []
    for slug, text, only in zip(slugs, joined, cells):
        as_it_is = slug == text and times[slug.casefold()] == 1 and slug.casefold() not in RESERVED
        names.append(slug if as_it_is else f"{slug}-{hashlib.sha256(json.dumps(only).encode()).hexdigest()[:8]}")
    return names


def _slug(text: str) -> str:
    slug = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", text)).strip("-_") or "value"
    while len(slug.encode()) > NAME_LENGTH:
        slug = slug[: len(slug) * NAME_LENGTH // len(slug.encode())].rstrip("-_")
    return slug
