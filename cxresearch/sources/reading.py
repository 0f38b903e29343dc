"""What is asked of a reader and what it gives back; from header rows to names, from a name to a column."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import StudyProblem, nearest, plain_text

WHITESPACE = "whitespace"
# What a header row may hold. A question stands once over its options, so its blank neighbours repeat it.
HEADERS = ("name", "label", "question", "option", "ignore")
# What SurveyMonkey writes under a question that has no options.
NO_OPTION = ("response", "open-ended response")
MOST_COLUMNS = 20_000

Header = list[list[str]]  # the cells of each header row
Choose = Callable[[Header, int], list[int]]  # header rows, number of columns -> positions of the columns to read


class Reading(NamedTuple):
    """How a file is to be read."""

    encoding: tuple[str, ...] = ()  # none for UTF-8
    encoding_errors: str = "strict"
    separator: str = ","
    sheet: str | None = None
    header: tuple[str, ...] = ("name",)  # what each header row holds (`HEADERS`); none: columns are column 1, ...
    records: str | None = None  # the list of records inside a JSON file


class Meanings(NamedTuple):
    """What a file says about its columns beside the cells; each is header -> something."""

    labels: dict[str, str] = {}  # the question
    codes: dict[str, dict[float | str, str]] = {}  # stored code -> its words
    missing: dict[str, list[tuple]] = {}  # lowest and highest code of each user-missing range

    def named(self, wanted: Iterable[str]) -> "Meanings":
        """Return the same under the names that were asked for, which may lack the spaces of the file's."""
        plain = [{plain_text(k): v for k, v in by.items()} | by for by in self]
        return Meanings(*({w: by[k] for w in wanted for k in (plain_text(w), w) if k in by} for by in plain))


class RawTable(NamedTuple):
    """The wanted columns under the wanted names."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()  # what was done to bytes and rows on the way
    meanings: Meanings = Meanings()
    digest: str | None = None  # SHA-256 of a query and its rows, which no file holds


def compose(rows: Header, header: Sequence[str], n_columns: int) -> tuple[list[str], dict[str, str]]:
    """Return the names of the columns, and name -> label where a row of labels is declared."""
    held = {what: [*row, *[""] * (n_columns - len(row))] for what, row in zip(header, rows, strict=True)}
    if "question" in held:
        held["name"] = _joined(held["question"], held.get("option", [""] * n_columns))
    names = held.get("name", [""] * n_columns)
    names = [name if name.strip() else f"column {i + 1}" for i, name in enumerate(names)]
    labels = dict(zip(names, held.get("label", ()), strict=False))
    return names, {name: label.strip() for name, label in labels.items() if label.strip()}


def _joined(questions: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return 'question: option', a blank question being the one before it."""
    joined, current = [], ""
    for question, option in zip(questions, options, strict=True):
        current = question.strip() or current
        named = option.strip() if option.strip().lower() not in NO_OPTION else ""
        joined.append(f"{current.rstrip(' :')}: {named}" if named and current else current or named)
    return joined


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names by which columns can be asked for: one that stands twice is ``x#1``, ``x#2``.

    Where a header is called ``x#1`` itself, they are ``x##1`` and ``x##2``.
    """
    plain = [plain_text(name) for name in names]
    times, seen, found = Counter(plain), Counter(), []
    for name, same in zip(names, plain, strict=True):
        seen[same] += 1
        sign = "#"
        while any(f"{same}{sign}{i}" in times for i in range(1, times[same] + 1)):
            sign += "#"
        found.append(name if times[same] == 1 else f"{same}{sign}{seen[same]}")
    return found


def position(headers: Sequence[str], name: str, why: str, file: str) -> int:
    """Return where the column `name` stands; `why` says what asks for it."""
    asked, plain, unique = plain_text(name), [plain_text(h) for h in headers], numbered(headers)
    for candidates, wanted in ((list(headers), name), (plain, asked), (unique, asked)):
        if candidates.count(wanted) > 1:
            first = unique[candidates.index(wanted)]
            raise StudyProblem(
                f"{file} has {candidates.count(wanted)} columns {asked!r} ({why}); say which one is meant: {first!r} is "
                "the first"
            )
        if wanted in candidates:
            return candidates.index(wanted)
    raise StudyProblem(f"{file} has no column {name!r} ({why}){nearest(name, plain)}")


def require_fitting_size(path: Path, rows: int, columns: int, *, least: int = 10_000_000, per_byte: int = 4) -> None:
    """Refuse what would fill the memory: more than `least` cells, and more than the bytes of its file can have filled."""
    if columns > MOST_COLUMNS:
        raise StudyProblem(f"{path.name} has {columns:,} columns; at most {MOST_COLUMNS:,} are read")
    if rows * columns > max(least, per_byte * path.stat().st_size):
        raise StudyProblem(
            f"{path.name} spans {rows:,} rows and {columns:,} columns, far more than a file of {path.stat().st_size:,} "
            "bytes can fill; look for a cell far away from the table, and save the table alone"
        )
