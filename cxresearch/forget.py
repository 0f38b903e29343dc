"""Remove a person from the files of a study, and name the runs that were made from files which held them.

A text file is rewritten without the person's rows and otherwise byte for byte as it was; a Parquet file with the same
columns. Excel, SPSS, JSON and databases are named, not changed. What others wrote about the person is not found.
"""

import csv
import hashlib
import os
from datetime import date
from pathlib import Path
from typing import NamedTuple

from cxresearch.errors import DataProblem, plain_text
from cxresearch.privacy.identifiers import looks_like
from cxresearch.runs.record import RECORD, Record
from cxresearch.sources import READERS, WHITESPACE, expand, separator_of
from cxresearch.study import open_study

PEOPLE = ("respondent", "customer")
TEXT, PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")
ENDINGS = tuple(ending for _, endings, _ in READERS for ending in endings)


class Held(NamedTuple):
    """A file that holds, or held, the person: how many rows (None: look through it by hand), its SHA-256 as it was,
    and how many further names (hard links) its content has, under which it stays as it was."""

    table: str
    file: str
    rows: int | None
    digest: str
    links: int = 0


class Forgotten(NamedTuple):
    """What `forget` found, and removed unless it was only asked to look.

    Files that hold the person or that only you can search; tables from a database, which is not touched; files of the
    study's folders that it does not name, which were not searched; runs made from these very files, and from others.
    """

    files: list[Held]
    databases: list[str]
    unsearched: list[str]
    runs: list[str]
    perhaps: list[str]

    @property
    def by_hand(self) -> bool:
        """Whether something is left that only you can do."""
        return bool(self.databases) or any(f.rows is None or f.links for f in self.files)


def forget(study, person: str, *, project: Path, remove: bool) -> Forgotten:
    """Find the rows of a person in every file of a study by respondent and customer, and remove them if asked to.

    Ids are compared as a study compares them, and links followed. Runs are looked for in ``reports`` of
    `project` and of the folders above the study.

    Raises
    ------
    StudyProblem, DataProblem
        If the study is wrong, `person` is empty, or a file that holds them cannot be written.
    """
    if not looks_like(person):
        raise DataProblem("the id is empty; name the person as the files do")
    opened = open_study(study, today=date.min)  # a person may be forgotten after the day of deletion, too
    found, databases = [], []
    for name in opened.table_names:
        table = opened.declaration(name)
        columns = {getattr(table, column) for column in table.columns if column in PEOPLE} - {None}
        if columns and table.database is not None:
            databases.append(name)
        for written in table.files().values() if columns else ():
            for path in expand(Path(opened.path).parent / written):
                found.append(_file(name, path.resolve(), table, columns, looks_like(person), remove))
    files = [held for held in found if held.rows != 0]
    runs = _runs([project, *Path(opened.path).resolve().parents], Path(opened.path), [f for f in files if f.rows])
    return Forgotten(files, databases, _beside(opened), *runs)


def _beside(opened) -> list[str]:
    """Return the tables beside a study's files that it does not name: copies may be among them."""
    named = {path.resolve() for path in opened.files}
    folders = {folder for path in opened.files for folder in (path.parent.resolve(), path.resolve().parent)}
    found = (path for folder in folders for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    return sorted({path.name for path in found if path.is_file() and path.resolve() not in named})


def _file(name: str, path: Path, table, columns: set[str], person: str, remove: bool) -> Held:
    content, links = path.read_bytes(), path.stat().st_nlink - 1
    digest = hashlib.sha256(content).hexdigest()
    wide = any(e.lower().replace("_", "-").startswith(("utf-16", "utf-32")) for e in table.encoding)
    kept, rows = b"", None
    if path.suffix.lower() in TEXT and not wide:
        kept, rows = _without(content, path, table, columns, person)
    elif path.suffix.lower() in PARQUET:
        kept, rows = _without_in_parquet(path, columns, person)
    if remove and rows:
        _replace(path, kept)
    return Held(name, path.name, rows, digest, links if rows else 0)


def _without(content: bytes, path: Path, table, columns: set[str], person: str) -> tuple[bytes, int | None]:
    """Return a text file without the person's rows, and how many these are; None where rows cannot be told apart."""
    lines = content.splitlines(keepends=True)
    texts = [line.decode([*table.encoding, "utf-8"][0], errors="replace").removeprefix("\ufeff") for line in lines]
    separator = separator_of(path, table.separator)
    if separator == WHITESPACE:
        texts, separator = ["\t".join(text.split()) + "\n" for text in texts], "\t"
    reader, rows, start = csv.reader(texts, delimiter=separator, strict=True), [], 0
    try:
        for cells in reader:
            rows += [(start, reader.line_num, cells)] * bool("".join(cells).strip())
            start = reader.line_num
    except csv.Error:
        return content, None
    heads, n = rows[: len(table.header)], len(table.header)
    first = heads[table.header.index("name")][2] if "name" in table.header and heads else (rows or [(0, 0, [])])[0][2]
    header = first if heads else [f"column {i}" for i, _ in enumerate(first, 1)]
    places = [i for i, c in enumerate(header) if plain_text(c) in {plain_text(w) for w in columns}]
    if not places or any(len(cells) > len(first) for _, _, cells in rows):
        return content, None
    theirs = [row for row in rows[n:] if any(p < len(row[2]) and looks_like(row[2][p]) == person for p in places)]
    gone = {i for start, end, _ in theirs for i in range(start, end)}
    return b"".join(line for i, line in enumerate(lines) if i not in gone), len(theirs)


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


def _runs(projects: list[Path], study: Path, files: list[Held]) -> tuple[list[str], list[str]]:
    """Return the runs of this study made from these very files, and those made from other versions of them."""
    digests, names = {f.digest for f in files}, {f.file for f in files}
    same, other = [], []
    records = {path.resolve(): path.parent.relative_to(p) for p in projects for path in (p / "reports").rglob(RECORD)}
    for path, folder in sorted(records.items()):
        if (run := Record.of(path.parent)) is None:
            continue
        ours = (path.parent / run.study).resolve() == study.resolve()
        if digests & set(run.inputs.values()):
            same.append(folder.as_posix())
        elif ours and names & {Path(p).name for p in run.inputs}:
            other.append(folder.as_posix())
    return same, other


def said(found: Forgotten, study: str, *, removed: bool) -> str:
    """Return what was found, and what is left to do, one thing a line; the id is not repeated."""
    total, by_hand = sum(f.rows or 0 for f in found.files), "{}: look through {} by hand"
    lines = [
        f"{f.table}: {_rows(f.rows)} of {f.file}" if f.rows else by_hand.format(f.table, f.file) for f in found.files
    ]
    lines += [
        f"{f.file} has {f.links + 1} names on this disk; {f.links} are not rewritten" for f in found.files if f.links
    ]
    lines += [by_hand.format(name, "its database") for name in found.databases]
    named = {f"not searched, since {study} does not name them": found.unsearched, "made from these files": found.runs}
    named |= {"made from other versions of them": found.perhaps}
    lines += [f"{what}: {', '.join(names)}" for what, names in named.items() if names]
    if removed and total:
        runs = "; delete the runs named, or make them anew" if found.runs or found.perhaps else ""
        lines.append(f"removed {_rows(total)}{runs}; copies elsewhere, such as backups, were not searched")
    elif total:
        lines.append("nothing was removed; to remove these rows, say --yes")
    return "\n".join(lines if found.files or found.databases else [f"no file of {study} holds this person", *lines])


def _rows(n: int) -> str:
    return f"{n} row{'s' * (n != 1)}"
