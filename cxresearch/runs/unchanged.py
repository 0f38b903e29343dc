"""What a report follows from, as one digest; and reports of earlier runs that still are what a new one would be.

A report that would come out as it is already is linked (hard links: it stays when the older run is removed), not made.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import cxresearch
from cxresearch.privacy.pseudonyms import KEY_VARIABLE
from cxresearch.runs.folder import FORMAT, LOG, RECORD
from cxresearch.runs.plan import Plan
from cxresearch.runs.record import input_digests, sha256, versions

OK = "ok"


@cache
def package_digest() -> str:
    """Return the digest of this package's source: code, templates, schemas."""
    home = Path(cxresearch.__file__).parent
    files = sorted(p for p in home.rglob("*") if p.is_file() and p.suffix not in (".pyc", ".pyo"))
    parts = (f"{p.relative_to(home).as_posix()} {sha256(p)}" for p in files)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def with_digest(plan: Plan, final: Path, options: Mapping[str, object]) -> Plan:
    """Return the plan with the digests of its inputs and of everything that its report follows from.

    Parameters
    ----------
    plan
        Of one report. Inputs that it knows already are not read again.
    final
        Folder of the run: executed notebooks name the study relative to it.
    options
        Of the run, as far as pages show them.
    """
    plan = replace(plan, inputs=input_digests(plan))
    told = {
        "format": FORMAT,
        "inputs": plan.inputs,
        "queries": dict(plan.queries),
        "study": os.path.relpath(plan.study, final),
        "report": plan.report,
        "notebooks": [[t.path.name, _notebook_digest(t.path), t.parameters, t.given, t.skip] for t in plan.tasks],
        "package": package_digest(),
        "versions": versions(),
        "key": hashlib.sha256(os.environ.get(KEY_VARIABLE, "").encode()).hexdigest(),
        "options": dict(options),
    }
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return replace(plan, digest=hashlib.sha256(text.encode()).hexdigest())


@cache
def _digest_at(path: Path, size: int, changed: int) -> str:
    return sha256(path)


def _notebook_digest(path: Path) -> str:
    """Return a notebook's digest; read once however many reports it is in."""
    stat = path.stat()
    return _digest_at(path, stat.st_size, stat.st_mtime_ns)


def reports_made(folders: Iterable[Path]) -> dict[str, tuple[Path, dict]]:
    """Return digest -> folder and log entry of the whole reports of these batches; the first batch counts."""
    made: dict[str, tuple[Path, dict]] = {}
    for folder in folders:
        for entry in read_log(folder):
            if entry.get("status") == OK and entry.get("digest"):
                made.setdefault(entry["digest"], (folder / entry["folder"], entry))
    return made


def read_log(folder: Path) -> list[dict]:
    """Return the lines of a batch's log that are whole: the last one may be torn where the batch was killed."""
    entries = []
    try:
        text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("folder"), str):
            entries.append(entry)
    return entries


def record_of(folder: Path) -> dict:
    """Return the record of a run; empty if there is none."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def link_report(made: Path, target: Path, digest: str) -> bool:
    """Link a whole report into `target`, file by file; return False if it is not there whole.

    Where the file system knows no hard links, files are copied.
    """
    record = record_of(made)
    if record.get("status") != OK or record.get("digest") != digest:
        return False
    work = target.with_name(f".{target.name}-linking")
    try:
        shutil.rmtree(target, ignore_errors=True)
        link_tree(made, work)
        work.rename(target)
    except OSError:  # the older run is being removed, or the disk is full: then it is made
        shutil.rmtree(work, ignore_errors=True)
        return False
    return True


def link_tree(source: Path, target: Path) -> None:
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            beside = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                link_tree(Path(entry.path), beside)
            else:
                _link(entry.path, beside)


def _link(source, target) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
