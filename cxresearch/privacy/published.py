"""What a run has published of its counts: the saved findings, read as sums of unknown counts."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

# column of a count -> the column that says its wave
COUNTS = {"n": "wave", "n_before": "wave_before"}
OF_PEOPLE = ("group", "segment", "wave")
KEYS = (*OF_PEOPLE, "score", "term", "category")

Cell = frozenset[tuple[str, str]]  # dimension ("group region", "wave", ...) and level; the whole is empty


@dataclass(frozen=True)
class Saved:
    """A finding as `cx.save` wrote it."""

    name: str  # notebook and name of the finding
    outcome: str  # such as revenue, revenue > 0
    by: str | None  # column of its groups
    total: float  # n of the finding as a whole, or NaN
    tables: Mapping[str, pd.DataFrame]  # by file; every cell is text, empty where a value is hidden
    id: str = ""  # what its outputs carry
    only: tuple[tuple[str, str], ...] = ()  # column and value of the part of the study that it is about

    @property
    def item(self) -> str:
        """The column that was measured, whatever of it."""
        return self.outcome.split(" ")[0]

    @property
    def whole(self) -> Cell:
        """The cell of all people whom it is about."""
        return frozenset((f"group {column}", value) for column, value in self.only)

    @cached_property
    def parts(self) -> "list[Counted]":
        """The counts of its tables, its own n last."""
        own = [] if math.isnan(self.total) else [Counted(self.name, {self.whole: float(self.total)}, self.whole)]
        return [part for file, table in self.tables.items() for part in _counted(self, file, table)] + own


class Counted(NamedTuple):
    """The counts of one table, one per cell."""

    table: str  # name of the file
    cells: dict[Cell, float]  # n; NaN where it is hidden
    own: Cell = frozenset()  # what of each cell says which part of the study the report is about

    @property
    def keys(self) -> list[str]:
        """The dimensions of its cells."""
        return sorted(key for key, _ in next(iter(self.cells), ()))


def read_findings(folder: Path, only: tuple[tuple[str, str], ...] = ()) -> list[Saved]:
    """Return the findings saved in the folder of a notebook, by name; `only` says which part of a study they are about."""
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        tables = {f"{path.parent.name}/{file}": _read(path.parent / file) for file in record["tables"].values()}
        total = float(pd.to_numeric(record["glance"].get("n"), errors="coerce") or math.nan)
        name, by = f"{path.parent.name}/{path.stem}", ", ".join(record["by"]) or None
        found.append(Saved(name, record["outcome"], by, total, tables, record["id"], only))
    return found


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:  # a table without columns
        return pd.DataFrame()


def _counted(saved: Saved, file: str, table: pd.DataFrame) -> Iterator[Counted]:
    """Yield the counts of a table; one of the categories of several features is one for each: each divides all people."""
    if {"feature", "category"} <= set(table.columns):
        for feature, rows in table.groupby("feature", sort=False):
            yield from _counted(saved, f"{file} of {feature}", rows.drop(columns="feature"))
        return
    named = {"group": f"group {saved.by}" if saved.by else f"people of {saved.name}", "segment": "segment"}
    for n, wave in COUNTS.items():
        columns = [wave if key == "wave" else key for key in KEYS]
        columns = {c: "wave" if c == wave else named.get(c, f"{c} of {file}") for c in columns if c in table.columns}
        if n not in table.columns or (n != "n" and wave not in columns):
            continue
        cells: dict[Cell, float] = {}
        values = pd.to_numeric(table[n], errors="coerce").replace([math.inf, -math.inf], math.nan)
        for value, *levels in zip(values, *(table[c] for c in columns)):
            cell = saved.whole | frozenset(zip(columns.values(), levels))
            if not (cells.setdefault(cell, value) == value or math.isnan(value) and math.isnan(cells[cell])):
                break  # two counts under one key: the rows are told apart by something else
        else:
            yield Counted(file, cells, saved.whole)
