"""Where the rows of each table come from: its files, found and counted before anything is read."""

from pathlib import Path

from cxresearch.errors import nearest
from cxresearch.sources import GLOB, database_file, expand
from cxresearch.study.document import Document, refuse
from cxresearch.study.schema import TABLES, StudyFile


def find_files(folder: Path, declared: StudyFile, document: Document) -> dict[str, dict[str | None, list[Path]]]:
    """Return table -> wave -> files; every file that is absent is named with its line and its nearest neighbours."""
    found: dict[str, dict[str | None, list[Path]]] = {}
    problems: list[str] = []
    for name in TABLES:
        table = getattr(declared.tables, name)
        if table and table.database is not None:
            file = database_file(table.database, folder)
            found[name] = {}
            if file and not file.is_file():
                at = ("tables", name, "database")
                problems.append(document.problem(at, f"tables.{name} names {table.database!r}, {_absent(file)}"))
        for wave, written in table.files().items() if table else ():
            files = expand(folder / written)
            found.setdefault(name, {})[wave] = files
            if not files:
                at = ("tables", name, "source") if wave is None else ("tables", name, "sources", wave)
                problems.append(document.problem(at, f"tables.{name} names {written!r}, {_absent(folder / written)}"))
    refuse(problems)
    return found


def _absent(path: Path) -> str:
    if GLOB & set(path.name):
        return "a pattern that no file matches"
    if not path.parent.is_dir():
        return f"but there is no folder {path.parent.name!r}"
    return f"which does not exist{nearest(path.name, names_in(path.parent, '*'))}"


def names_in(folder: Path, pattern: str) -> list[str]:
    return sorted(p.name for p in folder.glob(pattern) if p.is_file()) if folder.is_dir() else []
