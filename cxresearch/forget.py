"""Remove a person from the files of a study, and name the runs that were made from files which held them.

A text file is rewritten without the person's rows and otherwise byte for byte as it was; a Parquet file with the same
columns. Excel, SPSS, JSON and databases are named, not changed. What others wrote about the person is not found.
"""

import csv
import hashlib
import re
from collections import namedtuple
from datetime import date
from pathlib import Path

from cxresearch.errors import DataProblem, plain_text
from cxresearch.privacy.identifiers import looks_like
from cxresearch.runs.record import RECORD, Record, hidden
from cxresearch.sources import READERS, WHITESPACE, expand, separator_of
from cxresearch.study import open_study

PEOPLE = ("respondent", "customer")
WIDE = re.compile("utf.?(16|32)", re.I)  # encodings in which a line does not end with a byte of its own
KINDS = {ending: kind for kind, endings, _ in READERS for ending in endings}


# A file that holds, or held, the person: rows (None: look through it by hand), SHA-256 as it was, and how many further
# names (hard links) its content has, under which it stays as it was.
Held = namedtuple("Held", "table file rows digest links", defaults=(0,))


class Forgotten(namedtuple("Forgotten", "files databases unsearched runs perhaps")):
    """What `forget` found: files that hold the person or that only you can search; tables from a database, which is not
    touched; files beside them that the study does not name; runs made from these very files, and from others."""

    @property
    def by_hand(self) -> bool:
        """Whether something is left that only you can do."""
        return bool(self.databases) or any(f.rows is None or f.links for f in self.files)


def forget(study, person: str, *, project: Path, remove: bool) -> Forgotten:
    """Find the rows of a person in every file of a study by respondent and customer, and remove them if asked to.

    Ids are compared as a study compares them, and links followed. Runs are looked for in ``reports`` of `project` and
    of the folders above the study. Refused if `person` is empty, or a file that holds them cannot be written.
    """
    if not looks_like(person):
        raise DataProblem("the id is empty; name the person as the files do")
    opened = open_study(study, today=date.min)  # a person may be forgotten after the day of deletion, too
    place, found, databases = Path(opened.path), [], []
    for name in opened.table_names:
        table = opened.declaration(name)
        ids = [getattr(table, c) for c in PEOPLE if c in table.columns]
        columns = {plain_text(column) for column in ids if column is not None}
        databases += [name] * bool(columns and table.database is not None)
        paths = [path.resolve() for written in table.files().values() for path in expand(place.parent / written)]
        found += [_searched(name, path, table, columns, looks_like(person), remove) for path in paths if columns]
    files = [held for held in found if held.rows != 0]
    named = {path.resolve() for path in opened.files}
    folders = {folder for path in opened.files for folder in (path.parent.resolve(), path.resolve().parent)}
    tables = (p for folder in folders for p in folder.iterdir() if p.suffix.lower() in KINDS and p.is_file())
    beside = {path.name for path in tables if path.resolve() not in named}  # copies may be among them
    runs = _runs([project, *place.resolve().parents], place.resolve(), files)
    return Forgotten(files, databases, sorted(beside), *runs)


def _searched(name: str, path: Path, table, columns: set[str], person: str, remove: bool) -> Held:
    """Return what a file holds of the person; their rows are removed if asked to, in a single step."""
    content, links = path.read_bytes(), path.stat().st_nlink - 1
    digest, kept, rows = hashlib.sha256(content).hexdigest(), b"", None
    if KINDS.get(path.suffix.lower()) == "Parquet":
        kept, rows = _without_in_parquet(path, columns, person)
    elif KINDS.get(path.suffix.lower()) == "text" and not any(WIDE.match(encoding) for encoding in table.encoding):
        kept, rows = _without(content, path, table, columns, person)
    if remove and rows:
        aside = hidden(path)
        try:
            aside.write_bytes(kept)
            aside.chmod(path.stat().st_mode)
            aside.replace(path)
        except OSError as error:
            raise DataProblem(f"{path.name} cannot be written ({error.strerror}); the person is still in it") from None
        finally:
            aside.unlink(missing_ok=True)
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
    if len(rows) < max(len(table.header), 1):
        return content, None
    header = rows[table.header.index("name") if "name" in table.header else 0][2]
    names = header if table.header else [f"column {i + 1}" for i in range(len(header))]
    places = [i for i, name in enumerate(names) if plain_text(name) in columns]
    if not places or any(len(cells) > len(header) for _, _, cells in rows):
        return content, None
    count = 0
    for start, end, cells in rows[len(table.header) :]:
        if any(looks_like(cells[i]) == person for i in places if i < len(cells)):
            lines[start:end], count = [b""] * (end - start), count + 1
    return b"".join(lines), count


def _without_in_parquet(path: Path, columns: set[str], person: str) -> tuple[bytes, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    ids = [table[name].to_pylist() for name in table.column_names if plain_text(name) in columns]
    others = [not any(c[i] is not None and looks_like(c[i]) == person for c in ids) for i in range(len(table))]
    sink = pa.BufferOutputStream()
    pq.write_table(table.filter(pa.array(others, pa.bool_())), sink)
    return sink.getvalue().to_pybytes(), others.count(False)


def _runs(projects: list[Path], study: Path, files: list[Held]) -> tuple[list[str], list[str]]:
    """Return the runs of this study made from these very files, and those made from other versions of them."""
    digests, names = {f.digest for f in files if f.rows}, {f.file for f in files if f.rows}
    same, other = [], []
    records = {path.resolve(): path.parent.relative_to(p) for p in projects for path in (p / "reports").rglob(RECORD)}
    for path, folder in sorted(records.items()):
        if (run := Record.of(path.parent)) and digests & set(run.inputs.values()):
            same.append(folder.as_posix())
        elif run and (path.parent / run.study).resolve() == study and names & {Path(p).name for p in run.inputs}:
            other.append(folder.as_posix())
    return same, other
