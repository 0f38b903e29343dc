"""Read one table from a text file, Excel, Parquet, SPSS, JSON records or a database, as it was stored.

Nothing is interpreted here: text stays text ("5", "NA", "007"), because only the codebook knows what a cell means.
"""

# ruff: noqa: F401, I001
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pandas as pd

from cxresearch.sources.text import HEADERS, NO_OPTION, WHITESPACE, Meanings, RawTable, Reading
from cxresearch.sources.text import compose, naming, numbered, positions, read_text, refusal, separator_of
from cxresearch.sources.workbook import read_excel, read_json, read_parquet, read_spss
from cxresearch.sources.database import database_file, read_query, without_password

GLOB = frozenset("*?[")
# A reader yields the cells of each header row and the number of columns; sent the positions of the wanted ones, it
# yields these as a `RawTable` under any names.
READERS = (
    ("text", (".csv", ".tsv", ".txt"), read_text),
    ("Excel", (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"), read_excel),
    ("Parquet", (".parquet", ".pq"), read_parquet),
    ("SPSS", (".sav", ".zsav"), read_spss),
    ("JSON", (".json",), read_json),
)
OF_KINDS = {"sheet": ("Excel",), "records": ("JSON",), "header": ("text", "Excel")}  # keys that other kinds lack


def read_table(path: Path, *, wanted: Mapping[str, str] | None = None, reading: Reading = Reading()) -> RawTable:
    """Return the wanted columns of one file; its ending says what it is, `reading` how it is to be read.

    `wanted` is header -> what asks for it; None reads every column, under its `numbered` name. A file that is unreadable,
    empty or wrongly encoded, or lacks a wanted column, is a `StudyProblem`.
    """
    kind, reader = reader_of(path)
    for key, kinds in OF_KINDS.items():
        if kind not in kinds and (value := getattr(reading, key)) != Reading._field_defaults[key]:
            raise refusal("key of another kind", file=path.name, kind=" or ".join(kinds), key=key, value=value)
    with naming(path, kind):
        steps = reader(path, reading)
        rows, n_columns = next(steps)
        names, labels = compose(rows, reading.header, n_columns)
        unique = numbered(names)
        asked = dict.fromkeys(unique, "") if wanted is None else wanted
        at = positions(names, asked, path.name)
        raw = steps.send(at)
    if not len(raw.frame):
        raise refusal("no rows", file=path.name)
    raw.frame.columns = pd.Index(asked, dtype=object)
    said = (labels or raw.meanings.labels, *raw.meanings[1:])
    known = ({name: by[unique[p]] for name, p in zip(asked, at) if unique[p] in by} for by in said)
    return raw._replace(meanings=Meanings(*known))


def reader_of(path: Path) -> tuple[str, Callable[[Path, Reading], Generator]]:
    """Return what a file is by its ending (text, Excel, Parquet, SPSS or JSON), and what reads it."""
    for kind, endings, reader in READERS:
        if path.suffix.lower() in endings:
            return kind, reader
    known = " ".join(ending for _, endings, _ in READERS for ending in endings)
    raise refusal("ending", file=path.name, ending=path.suffix, known=known)


def expand(path: Path) -> list[Path]:
    """Return the files that `path` names: itself, or what its pattern (``sales/*.parquet``) matches, sorted."""
    pattern = [i for i, part in enumerate(path.parts) if GLOB & set(part)]
    if path.exists() or not pattern:
        return [path] if path.is_file() else []
    return sorted(p for p in Path(*path.parts[: pattern[0]]).glob(str(Path(*path.parts[pattern[0] :]))) if p.is_file())
