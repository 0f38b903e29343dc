"""Folders of runs: how one appears whole or not at all, which is the latest, how many are kept, who runs now.

The file of a lock is its holder's alone, and closed before it is removed: no two can hold two locks of one name.
"""

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

import cxresearch
from cxresearch.errors import StudyProblem
from cxresearch.privacy.identifiers import KEY_VARIABLE
from cxresearch.runs.compare import digests
from cxresearch.runs.record import FAILED, FORMAT, OK, RECORD, SIGN_OFFS, Record, hidden, sha256, versions

LEFT_BY_OTHERS = {".ipynb_checkpoints", ".DS_Store"}
MOMENT = re.compile(r"\d{8}T\d{6}Z(-\d+)?")  # a run on the study's own shelf
WORK = re.compile(r"\..+-\d+-[0-9a-f]{6}")  # the name of a folder in which a run is made
AT_WORKING_FOLDER, EXCHANGE = -100, 2  # for renameat2


class Overlap(Exception):
    """Another run is under way, and this one is to be skipped."""


@contextmanager
def held(path: Path):
    """Hold a lock that is this process's own; its file is removed once it is closed."""
    try:
        with FileLock(path):
            yield
    finally:
        with suppress(OSError):  # somebody is looking at it
            path.unlink()


def is_free(path: Path) -> bool:
    """Return whether nobody holds a lock any more; then its file is removed."""
    try:
        with FileLock(path, timeout=0):
            pass
    except (Timeout, PermissionError):  # another's, or another user's
        return False
    path.unlink(missing_ok=True)
    return True


@contextmanager
def building(final: Path, *, keep_broken: bool = False):
    """Yield a hidden sibling of `final`, from which relative paths are the same; what is not published when the block
    ends is removed, unless kept for a later start."""
    work = hidden(final)
    with ExitStack() as stack:
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(work.with_name(f"{work.name}.lock")))
            work.mkdir()
        except OSError as error:
            why = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
            raise StudyProblem(f"cannot make a folder in {final.parent}: {why}; name another with --out") from None
        kept = keep_broken
        try:
            yield work
            kept = False
        finally:
            if not kept:
                shutil.rmtree(work, ignore_errors=True)


def publish(work: Path, final: Path, *, whole: bool) -> Path:
    """Give a run its name and return the folder; there is no moment without either. An earlier run is replaced only by a
    whole one; a failed run then goes beside it, to ``NAME-failed``. Of two runs that began in one second, the second to
    end takes the next name."""
    target, exchanged = final, False
    if MOMENT.fullmatch(final.name):
        target = next(p for p in _numbered(final) if not p.exists())
    elif not whole and Record.of(final):
        beside = (p for p in _numbered(final.with_name(f"{final.name}-failed")) if not taken(p))
        target = next(p for p in beside if not (record := Record.of(p)) or record.status == FAILED)
    if target.exists():
        here, names = AT_WORKING_FOLDER, (os.fsencode(work), os.fsencode(target))
        with suppress(AttributeError, OSError, TypeError):  # not every system can
            exchanged = ctypes.CDLL(None).renameat2(here, names[0], here, names[1], EXCHANGE) == 0
    if not exchanged:
        aside = target.rename(f"{work}-old") if target.exists() else None
        try:
            work.rename(target)
        except OSError:
            if aside:
                aside.rename(target)
            raise
        work = aside or work
    shutil.rmtree(work, ignore_errors=True)
    return target


def _numbered(folder: Path):
    """Yield a folder's name, and NAME-2, NAME-3, ... beside it."""
    yield folder
    yield from (folder.with_name(f"{folder.name}-{k}") for k in count(2))


def broken_off(parent: Path, *, name: str = "") -> list[Path]:
    """Return the folders of runs that ended without cleaning up, or were kept to go on from; the newest first."""
    found = [p for p in parent.glob(".*") if p.name.startswith(f".{name}") and WORK.fullmatch(p.name) and p.is_dir()]
    free = [work for work in found if is_free(work.with_name(f"{work.name}.lock"))]
    return sorted(free, key=lambda work: work.stat().st_mtime, reverse=True)


def require_free(final: Path) -> None:
    """Refuse a folder that a run must not replace."""
    if why := taken(final):
        raise StudyProblem(why)


def taken(final: Path) -> str | None:
    """Return why a run must not replace a folder, if it is a file, or holds more than an earlier run."""
    if not final.is_dir():
        return f"{final} is a file; name a folder for the run" if final.exists() else None
    there, record = {p.name for p in final.iterdir()}, Record.of(final)
    if not there:
        return None
    if record is None:
        return f"{final} is not empty and holds no earlier run; name an empty or a new folder"
    ours = {RECORD, *LEFT_BY_OTHERS, *(r.folder for r in record.reports), *(f.partition("/")[0] for f in record.files)}
    signed = {p.relative_to(final).as_posix() for p in final.glob(f"*/{SIGN_OFFS}")}  # of the reports of a batch
    strangers = ", ".join(sorted((there - ours) | signed))
    lost = f"{final} holds an earlier run and also {strangers}, which replacing the run would delete"
    return f"{lost}; move it, or name another folder" if strangers else None


@cache
def package_digest() -> str:
    """Return the digest of this package's source: code, templates, schemas."""
    home = Path(cxresearch.__file__).parent
    files = sorted(p for p in home.rglob("*") if p.is_file() and p.suffix not in (".pyc", ".pyo"))
    parts = (f"{p.relative_to(home).as_posix()} {sha256(p)}" for p in files)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def digest_of(plan, final: Path) -> str:
    """Return the digest of everything that the run of a plan in `final` follows from."""
    told = {
        "format": FORMAT, "inputs": dict(plan.inputs), "queries": dict(plan.opened.queries), "report": plan.report,
        "study": os.path.relpath(plan.study, final.resolve()), "package": package_digest(), "versions": versions(),
        "each": [plan.each, plan.whole, plan.min_rows] if plan.each else [],
        "notebooks": [[t.path.name, t.sha256, t.parameters, t.given, t.skip] for t in plan.tasks],
        "key": hashlib.sha256(os.environ.get(KEY_VARIABLE, "").encode()).hexdigest(),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def is_whole(folder: Path, digest: str | None = None) -> bool:
    """Return whether a folder holds a whole run or batch, that of a digest if one is given, and its files as they were."""
    record = Record.of(folder)
    if record is None or not record.files or (digest and (record.status, record.digest) != (OK, digest)):
        return False
    made = (folder / report.folder for report in record.reports if report.folder)
    return digests(folder, record) == record.files and all(map(is_whole, made))


def reports_made(batches: Iterable[Path]) -> dict[str, Path]:
    """Return digest -> folder of the reports made for batches, whether finished or broken off; the first batch counts."""
    made: dict[str, Path] = {}
    for batch in batches:
        record = Record.of(batch)
        known = [(batch / r.folder, r) for r in record.reports if r.folder] if record else []
        known = known or [(place.parent, r) for place in batch.glob(f"*/{RECORD}") if (r := Record.of(place))]
        made = {r.digest: place for place, r in known if r.status == OK and r.digest} | made
    return made


def link_report(made: Path, target: Path, digest: str) -> bool:
    """Link a whole report into `target`, file by file; return False if it is not there whole and as it was. It stays when
    the older run is removed. Notebooks are copied, since JupyterLab saves in place."""

    def link(source: str, copy: str) -> None:
        try:
            if source.endswith(".ipynb"):
                raise OSError
            os.link(source, copy)
        except OSError:
            shutil.copy2(source, copy)

    try:
        if is_whole(made, digest):
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(made, target, copy_function=link)
            return True
    except OSError:  # the older run is being removed, or the disk is full: then it is made
        shutil.rmtree(target, ignore_errors=True)
    return False


def runs_folder(project: Path, study: Path) -> Path:
    """Return ``reports/runs/<study>`` of the project; study.yml is named after its folder."""
    return project / "reports" / "runs" / (study.resolve().parent.name if study.stem == "study" else study.stem)


def default_folder(shelf: Path, *, now: datetime | None = None) -> Path:
    """Return a folder on a shelf that is named after the time and not there."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return next(p for p in _numbered(shelf / moment) if not p.exists())


def runs_on(shelf: Path) -> list[Path]:
    """Return the runs and batches of a study, the newest first."""
    folders = [p for p in shelf.glob("[!.]*") if p.is_dir() and not p.is_symlink()]
    found = [(r.finished or "", p.stat().st_mtime, p.name, p) for p in folders if (r := Record.of(p))]
    return [p for *_, p in sorted(found, reverse=True)]


def point_latest(folder: Path) -> None:
    """Let ``latest`` beside a whole run name it, in one step; a text file where links cannot be made."""
    link = folder.with_name("latest")
    beside = hidden(link)
    try:
        beside.symlink_to(folder.name, target_is_directory=True)
    except (OSError, NotImplementedError):
        link = folder.with_name("latest.txt")
        beside.write_text(f"{folder.name}\n", encoding="utf-8")
    try:
        beside.replace(link)
    except OSError:
        beside.unlink(missing_ok=True)
        raise StudyProblem(f"{link} is a folder; remove it, so that it can name the latest run") from None


def prune(shelf: Path, *, report: str | None, keep: int) -> list[Path]:
    """Remove all but the newest `keep` runs of a report, and return the removed. The newest whole run stays in any case,
    and so do one that somebody has signed, one of some notebooks only, and the one that ``latest`` names."""
    runs = [(p, r) for p in runs_on(shelf) if (r := Record.of(p)) and r.report == report and not r.only]
    staying = {p.resolve() for p in [p for p, r in runs if r.status == OK][:1] + [shelf / "latest"]}
    doomed = [p for p, _ in runs[keep:] if p.resolve() not in staying and not any(p.rglob(SIGN_OFFS))]
    for folder in doomed:
        aside = hidden(folder)
        with suppress(FileNotFoundError):  # another run is pruning, too
            folder.rename(aside)  # a reader never sees half of it
        shutil.rmtree(aside, ignore_errors=True)
    return doomed


@contextmanager
def alone(shelf: Path, report: str | None, *, overlap: str):
    """Hold a place among the runs of a report that are under way; where there is one, ``skip`` raises `Overlap`."""
    shelf.mkdir(parents=True, exist_ok=True)
    word = re.sub(r"[^\w-]+", "-", report or "every-notebook")
    with ExitStack() as mine:
        with FileLock(shelf / f".{word}.start"):  # one at a time looks round
            others = [p for p in shelf.glob(f".{word}.running-*") if not is_free(p)]
            if overlap == "skip" and others:
                host, process, _ = others[0].name.removeprefix(f".{word}.running-").rsplit("-", 2)
                since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(others[0].stat().st_mtime))
                who = f"a run (process {process} on {host}, since {since} UTC)"
                raise Overlap(f"{who} is under way; this one is skipped")
            mine.enter_context(held(hidden(shelf / f"{word}.running")))
        yield
