"""What a run has published of its counts: the saved findings, read as sums of unknown counts."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd

# column of a count -> the column that says its wave
COUNTS = {"n": "wave", "n_before": "wave_before"}
OF_PEOPLE = ("group", "segment", "wave")
KEYS = (*OF_PEOPLE, "score", "term", "category")
MONEY = {"revenue", "revenue_before", "revenue_after", "amount", "spent"}  # what a study, or an analysis, calls it


@dataclass(frozen=True)
class Saved:
    """A finding as `cx.save` wrote it."""

    name: str  # notebook and name of the finding
    outcome: str
    by: str | None  # column of its groups
    total: float  # n of the finding as a whole, or NaN
    tables: Mapping[str, pd.DataFrame]  # by file; every cell is text, empty where a value is hidden
    id: str = ""  # what its outputs carry
    only: tuple[tuple[str, str], ...] = ()  # column and value of the part of the study that it is about
    money: bool = False  # whether money was measured, and not, for example, whether there was any

    @cached_property
    def parts(self) -> "list[Counted]":
        """The counts of its tables, its own n last."""
        return list(counted(self))


class Counted(NamedTuple):
    """The counts of one table, one per cell."""

    table: str  # name of the file
    keys: tuple[str, ...]  # dimensions, sorted: "group region", "wave", ...
    cells: dict[tuple[str, ...], float]  # levels, in the order of `keys` -> n; NaN where it is hidden
    own: tuple[str, ...] = ()  # those of the keys that say which part of the study the report is about


def read_findings(folder: Path, only: tuple[tuple[str, str], ...] = ()) -> list[Saved]:
    """Return the findings saved in the folder of a notebook, by name; `only` says which part of a study they are about."""
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        tables = {f"{path.parent.name}/{file}": _read(path.parent / file) for file in record["tables"].values()}
        total = float(pd.to_numeric(record["glance"].get("n"), errors="coerce") or math.nan)
        about = record["outcome"].split(" ")[0], ", ".join(record["by"]) or None
        found.append(
            Saved(
                f"{path.parent.name}/{path.stem}", *about, total, tables, record["id"], only, record["outcome"] in MONEY
            )
        )
    return found


def counted(saved: Saved) -> Iterator[Counted]:
    """Yield the counts of a finding's tables, the finding's own n last."""
    own = tuple((f"group {column}", value) for column, value in saved.only)
    for file, table in chain.from_iterable(_by_feature(*item) for item in saved.tables.items()):
        for n, wave in COUNTS.items():
            if n in table.columns and (n == "n" or wave in table.columns):
                yield from (_inside(own, part) for part in _cells(saved, file, table, n, wave))
    if not math.isnan(saved.total):
        yield _inside(own, Counted(saved.name, (), {(): float(saved.total)}))


def _inside(own: tuple[tuple[str, str], ...], part: Counted) -> Counted:
    """Return the counts of a report on a part of the study as those of the cells that they are."""
    names = (*(name for name, _ in own), *part.keys)
    order = sorted(range(len(names)), key=names.__getitem__)
    whole = {(*(value for _, value in own), *levels): n for levels, n in part.cells.items()}
    cells = {tuple(levels[i] for i in order): n for levels, n in whole.items()}
    return Counted(part.table, tuple(names[i] for i in order), cells, tuple(name for name, _ in own))


def _by_feature(file: str, table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return a table of the categories of several features as one for each: every feature divides the same people."""
    if not {"feature", "category"} <= set(table.columns):
        return [(file, table)]
    return [(f"{file} of {feature}", rows) for feature, rows in table.groupby("feature", sort=False)]


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:  # a table without columns
        return pd.DataFrame()


def _cells(saved: Saved, file: str, table: pd.DataFrame, n: str, wave: str) -> Iterator[Counted]:
    columns = [wave if key == "wave" else key for key in KEYS if (wave if key == "wave" else key) in table.columns]
    named = sorted(zip((_dimension(saved, file, c) for c in columns), columns))
    values = pd.to_numeric(table[n], errors="coerce").replace([math.inf, -math.inf], math.nan)
    levels = list(zip(*(table[c] for _, c in named))) if named else [()] * len(table)
    cells: dict[tuple[str, ...], float] = {}
    for level, value in zip(levels, values):
        if cells.setdefault(level, value) != value and not (math.isnan(cells[level]) and math.isnan(value)):
            return  # two counts under one key: the rows are told apart by something else
    yield Counted(file, tuple(name for name, _ in named), cells)


def _dimension(saved: Saved, file: str, column: str) -> str:
    if column in ("wave", "wave_before"):
        return "wave"
    if column == "group":
        return f"group {saved.by}" if saved.by else f"people of {saved.name}"
    return column if column == "segment" else f"{column} of {file}"
