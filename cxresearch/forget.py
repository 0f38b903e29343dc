"""Remove a person from the files of a study, and name the runs that were made from files which held them.

A text file is rewritten without the person's rows and otherwise byte for byte as it was; a Parquet file with the same
columns. Excel, SPSS, JSON and databases are named, not changed. What others wrote about the person is not found.
"""

import csv
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cxresearch.errors import DataProblem, plain_text
from cxresearch.privacy.pseudonyms import looks_like
from cxresearch.runs.record import RECORD, Record
from cxresearch.sources import WHITESPACE, expand
from cxresearch.study import open_study

PEOPLE = ("respondent", "customer")
TEXT, PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")


class Held(NamedTuple):
    """A file that holds, or held, the person: how many rows (None: look through it by hand), its SHA-256 as it was."""

    table: str
    file: str
    rows: int | None
    digest: str


class Forgotten(NamedTuple):
    """What `forget` found, and removed unless it was only asked to look.

    Files that hold the person or that only you can search; tables from a database, which is not touched; runs made
    from these very files, and from other versions of them.
    """

    files: list[Held]
    databases: list[str]
    runs: list[str]
    perhaps: list[str]

    @property
    def by_hand(self) -> bool:
        """Whether something is left that only you can do."""
        return bool(self.databases) or any(f.rows is None for f in self.files)


def forget(study, person: str, *, project: Path, remove: bool) -> Forgotten:
    """Find the rows of a person in every file of a study by respondent and customer, and remove them if asked to.

    Ids are compared as a study compares them (stripped, ``17.0`` is ``17``); ``reports`` of `project` holds the runs.

    Raises
    ------
    StudyProblem, DataProblem
        If the study is wrong, `person` is empty, or a file that holds them cannot be written.
    """
    if not looks_like(person):
        raise DataProblem("the id is empty; name the person as the files do")
    opened = open_study(study)
    found, databases = [], []
    for name in opened.table_names:
        table = opened.declaration(name)
        columns = {getattr(table, column) for column in table.columns if column in PEOPLE} - {None}
        if columns and table.database is not None:
            databases.append(name)
        for written in table.files().values() if columns else ():
            for path in expand(Path(opened.path).parent / written):
                found.append(_file(name, path, table, columns, looks_like(person), remove))
    files = [held for held in found if held.rows != 0]
    return Forgotten(files, databases, *_runs(project, Path(opened.path), [f for f in files if f.rows]))


def _file(name: str, path: Path, table, columns: set[str], person: str, remove: bool) -> Held:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    wide = any(e.lower().replace("_", "-").startswith(("utf-16", "utf-32")) for e in table.encoding)
    if path.suffix.lower() in TEXT and not wide:
        kept, rows = _without(content, table, columns, person)
    elif path.suffix.lower() in PARQUET:
        kept, rows = _without_in_parquet(path, columns, person)
    else:
        return Held(name, path.name, None, digest)
    if remove and rows:
        _replace(path, kept)
    return Held(name, path.name, rows, digest)


def _without(content: bytes, table, columns: set[str], person: str) -> tuple[bytes, int | None]:
    """Return a text file without the person's rows, and how many these are; None where rows cannot be told apart."""
    records = list(_records(content))
    filled = [i for i, record in enumerate(records) if record.strip()]
    try:
        cells = {i: _cells(records[i], table) for i in filled}
    except csv.Error:
        return content, None
    heads = filled[: len(table.header)]
    first = cells[heads[table.header.index("name")] if "name" in table.header else filled[0]] if filled else []
    if any(len(row) > len(first) for row in cells.values()):
        return content, None
    header = first if heads else [f"column {i}" for i, _ in enumerate(first, 1)]
    places = [i for i, c in enumerate(header) if plain_text(c) in {plain_text(w) for w in columns}]
    if not places:
        return content, None
    rows = filled[len(heads) :]
    theirs = {i for i in rows if any(p < len(cells[i]) and looks_like(cells[i][p]) == person for p in places)}
    return b"".join(r for i, r in enumerate(records) if i not in theirs), len(theirs)


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the rows of a text file with their ends; a line break between quotation marks ends none."""
    pending: list[bytes] = []
    quotes = 0
    for line in content.splitlines(keepends=True):
        pending.append(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            yield b"".join(pending)
            pending, quotes = [], 0
    yield from pending


def _cells(record: bytes, table) -> list[str]:
    text = record.decode(table.encoding[0] if table.encoding else "utf-8", errors="replace").removeprefix("\ufeff")
    return text.split() if table.separator == WHITESPACE else next(csv.reader([text], delimiter=table.separator), [])


def _without_in_parquet(path: Path, columns: set[str], person: str) -> tuple[bytes, int]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    theirs = np.zeros(len(table), dtype=bool)
    for name in (c for c in table.column_names if plain_text(c) in {plain_text(w) for w in columns}):
        theirs |= [v is not None and looks_like(v) == person for v in table[name].to_pylist()]
    sink = pa.BufferOutputStream()
    pq.write_table(table.filter(pa.array(~theirs)), sink)
    return sink.getvalue().to_pybytes(), int(theirs.sum())


def _replace(path: Path, content: bytes) -> None:
    """Put the new file in the place of the old one in a single step, with the old one's permissions."""
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.chmod(path.stat().st_mode)
        aside.replace(path)
    except OSError as error:
        raise DataProblem(f"{path.name} cannot be written ({error.strerror}); the person is still in it") from None
    finally:
        aside.unlink(missing_ok=True)


def _runs(project: Path, study: Path, files: list[Held]) -> tuple[list[str], list[str]]:
    """Return the runs of this study made from these very files, and those made from other versions of them."""
    digests, names = {f.digest for f in files}, {f.file for f in files}
    same, other = [], []
    for path in sorted((project / "reports").rglob(RECORD)):
        run = Record.of(path.parent)
        if run is None:
            continue
        folder = path.parent.relative_to(project).as_posix()
        ours = (path.parent / run.study).resolve() == study.resolve()
        if digests & set(run.inputs.values()):
            same.append(folder)
        elif ours and names & {Path(p).name for p in run.inputs}:
            other.append(folder)
    return same, other


def said(found: Forgotten, study: str, person: str, *, removed: bool) -> str:
    """Return what was found, and what is left to do, one thing a line."""
    total = sum(f.rows or 0 for f in found.files)
    lines = [
        f"{f.table}: {_rows(f.rows)} of {f.file}" if f.rows else f"{f.table}: look through {f.file} by hand"
        for f in found.files
    ]
    lines += [f"{name}: look through its database by hand" for name in found.databases]
    lines += [f"made from these files: {', '.join(found.runs)}"] * bool(found.runs)
    lines += [f"made from other versions of them: {', '.join(found.perhaps)}"] * bool(found.perhaps)
    if removed and total:
        runs = "; delete the runs named, or make them anew" if found.runs or found.perhaps else ""
        lines.append(f"removed {_rows(total)}{runs}")
    elif total:
        lines.append(f"nothing was removed; to remove these rows: cxresearch forget {study} {person} --yes")
    return "\n".join(lines) or f"no file of {study} holds {person}"


def _rows(n: int) -> str:
    return f"{n} row{'s' * (n != 1)}"
