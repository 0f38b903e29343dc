"""What a report follows from, as one digest; and reports of earlier runs that still are what a new one would be.

A report that would come out as it is already is linked (hard links: it stays when the older run is removed), not made.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from pydantic import ValidationError

import cxresearch
from cxresearch.privacy.identifiers import KEY_VARIABLE
from cxresearch.runs.plan import Plan
from cxresearch.runs.record import FORMAT, LOG, OK, Record, ReportEntry, sha256, versions
from cxresearch.runs.signoff import digests


@cache
def package_digest() -> str:
    """Return the digest of this package's source: code, templates, schemas."""
    home = Path(cxresearch.__file__).parent
    files = sorted(p for p in home.rglob("*") if p.is_file() and p.suffix not in (".pyc", ".pyo"))
    parts = (f"{p.relative_to(home).as_posix()} {sha256(p)}" for p in files)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def digest_of(plan: Plan, final: Path) -> str:
    """Return the digest of everything that the run of a plan in `final` follows from."""
    told = {
        "format": FORMAT,
        "inputs": dict(plan.inputs),
        "queries": dict(plan.opened.queries),
        "study": os.path.relpath(plan.study, final.resolve()),
        "report": plan.report,
        "each": [plan.each, plan.whole, plan.min_rows] if plan.each else [],
        "notebooks": [[t.path.name, t.sha256, t.parameters, t.given, t.skip] for t in plan.tasks],
        "package": package_digest(),
        "versions": versions(),
        "key": hashlib.sha256(os.environ.get(KEY_VARIABLE, "").encode()).hexdigest(),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def is_whole(folder: Path, digest: str | None = None) -> bool:
    """Return whether a folder holds a whole run or batch, that of a digest if one is given, and all its files as they were."""
    record = Record.of(folder)
    if record is None or not record.files or (digest and (record.status, record.digest) != (OK, digest)):
        return False
    made = (folder / report.folder for report in record.reports if report.folder)
    return digests(folder, record) == record.files and all(map(is_whole, made))


def reports_made(folders: Iterable[Path]) -> dict[str, tuple[Path, ReportEntry]]:
    """Return digest -> folder and log entry of the whole reports of these batches; the first batch counts."""
    made: dict[str, tuple[Path, ReportEntry]] = {}
    for folder in folders:
        log = folder / LOG
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else ():
            with suppress(ValidationError):  # the last line may be torn where the batch was killed
                entry = ReportEntry.model_validate_json(line)
                if entry.status == OK and entry.digest and entry.folder:
                    made.setdefault(entry.digest, (folder / entry.folder, entry))
    return made


def link_report(made: Path, target: Path, digest: str) -> bool:
    """Link a whole report into `target`, file by file; return False if it is not there whole and as it was.

    Executed notebooks are copied, since JupyterLab saves in place; so are all files where links cannot be made.
    """
    try:
        if not is_whole(made, digest):
            return False
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(made, target, copy_function=_link)
    except OSError:  # the older run is being removed, or the disk is full: then it is made
        shutil.rmtree(target, ignore_errors=True)
        return False
    return True


def _link(source: str, target: str) -> None:
    try:
        if source.endswith(".ipynb"):
            raise OSError
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
