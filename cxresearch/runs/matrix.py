"""The cells of a fan-out: one report for each value of some columns, which of them may be made, and their folders.

The whole is taken to be published somewhere, since a report on it usually is. A value under the minimum base therefore
gets no report, and where the others and the whole would tell its size, the smallest of them gets none either.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.study.narrow import Only, as_words, cannot_narrow, kept_rows, require_known
from cxresearch.study.schema import TABLES

MOST_CELLS = 5000
NAME_LENGTH = 80
WHOLE = "all"
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10)), WHOLE}


@dataclass(frozen=True)
class Cell:
    """One report of a fan-out.

    Attributes
    ----------
    name
        Its folder.
    only
        Columns and values; none for the whole study.
    rows
        How many rows of the counted table it is about.
    skip
        Why it gets no report, or None.
    """

    name: str
    only: Only
    rows: int
    skip: str | None = None

    @property
    def label(self) -> str:
        return ", ".join(value for _, value in self.only) or "All"

    @property
    def values(self) -> dict[str, str]:
        return dict(self.only)


def cells_of(opened, each: Sequence[str], *, whole: bool = False, min_rows: int = 1) -> list[Cell]:
    """Return the cells of a fan-out in the order of their values, the whole first.

    Parameters
    ----------
    opened
        The whole study; its tables are read.
    each
        Columns: a cell for each combination of their values that some row has.
    whole
        Whether the study as a whole is a cell, too.
    min_rows
        A cell with fewer rows is skipped.

    Raises
    ------
    StudyProblem
        If no table has a column, or one repeats, or there are more than 5,000 cells.
    """
    name, counts = _counts(opened, each)
    base = opened.min_base
    reasons = _reasons(counts, list(each), base, min_rows, name)
    only = [tuple(zip(each, map(str, row))) for row in counts[list(each)].itertuples(index=False)]
    names = safe_names(only)
    cells = [Cell(*cell) for cell in zip(names, only, counts["n"].tolist(), reasons)]
    return [*([Cell(WHOLE, (), len(opened.read(name).table))] if whole else []), *cells]


def _counts(opened, each: Sequence[str]) -> tuple[str, pd.DataFrame]:
    """Return the table whose rows are counted, and the rows for each combination of values."""
    columns = opened.column_names
    require_known(columns, each, opened.path.name)
    if len(set(each)) < len(each):
        raise StudyProblem(f"--each names {', '.join(each)}; name each column once")
    lost = cannot_narrow(columns, each)
    having = [t for t in TABLES if t in columns and set(each) <= set(columns[t])]
    counted = next((t for t in TABLES if t in columns and t not in lost), None)
    if having and (counted is None or counted in having):
        words = opened.read(having[0]).table[list(each)].apply(as_words).dropna()
        counts = words.value_counts().rename("n").reset_index()
        counted = having[0]
    elif counted is None:
        raise StudyProblem(f"no table of {opened.path.name} can be narrowed to {' and '.join(each)} at once")
    else:
        counts = _crossed(opened, each, counted)
    if len(counts) > MOST_CELLS:
        raise StudyProblem(f"--each {' '.join(each)} asks for {len(counts):,} reports; at most {MOST_CELLS:,} are made")
    if not len(counts):
        raise StudyProblem(f"--each {' '.join(each)}: no row of table {counted} has a value")
    return counted, counts.sort_values(list(each), key=lambda c: c.map(_natural), ignore_index=True)


def _crossed(opened, each: Sequence[str], counted: str) -> pd.DataFrame:
    """Count, one by one, the combinations of columns that lie in different tables."""
    columns = opened.column_names
    values = []
    for column in each:
        home = next(t for t in columns if column in columns[t])
        values.append(as_words(opened.read(home).table[column]).dropna().unique().tolist())
    rows = []
    for combination in product(*values):
        only = tuple(zip(each, combination))
        rows.append([*combination, int(kept_rows(counted, lambda t: opened.read(t).table, columns, only).sum())])
    counts = pd.DataFrame(rows, columns=[*each, "n"])
    return counts[counts["n"] > 0]


def _natural(text: str) -> tuple:
    """Return a key that sorts 2 before 10."""
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in re.split(r"(\d+)", text)
    )


def _reasons(counts: pd.DataFrame, each: list[str], base: int, min_rows: int, table: str) -> list[str | None]:
    """Return why a combination gets no report; the size of one under the minimum base is not told."""
    from cxresearch.privacy import hidden_cells

    keyed = counts.assign(first=counts[each[0]], rest=counts[each[1:]].agg("|".join, axis=1) if each[1:] else "")
    hidden = hidden_cells(keyed, min_base=base, keys=("first", "rest") if each[1:] else ("first",))
    small = f"fewer than {base} rows of {table}, the minimum base"
    beside = "beside the others and the whole, this report would tell the size of one under the minimum base"
    reasons: list[str | None] = []
    for n, kept_back in zip(counts["n"], hidden):
        few = f"{n} rows of {table}; the report asks for {min_rows}" if n < min_rows else None
        reasons.append(small if n < base else beside if kept_back else few)
    return reasons


def safe_names(cells: Iterable[Only]) -> list[str]:
    """Return a folder name for each cell: readable, and safe on any file system.

    Where the values had to be changed or shortened, or names would differ only in capitals, eight digits of a hash of
    the values follow.
    """
    cells = list(cells)
    slugs = [_slug(value for _, value in only) for only in cells]
    exact = [slug == "-".join(value for _, value in only) for slug, only in zip(slugs, cells)]
    folded = [slug.casefold() for slug in slugs]
    once = {word for word, n in Counter(folded).items() if n == 1}
    return [
        slug if same and low in once and low not in RESERVED else f"{slug}-{_hash(only)}"
        for slug, low, same, only in zip(slugs, folded, exact, cells)
    ]


def _slug(values: Iterable[str]) -> str:
    text = unicodedata.normalize("NFC", "-".join(values))
    slug = re.sub(r"[^\w-]+", "-", text).strip("-_") or "value"
    while len(slug.encode()) > NAME_LENGTH:
        slug = slug[: len(slug) * NAME_LENGTH // len(slug.encode())].rstrip("-_")
    return slug


def _hash(only: Only) -> str:
    return hashlib.sha256(json.dumps(only).encode()).hexdigest()[:8]
