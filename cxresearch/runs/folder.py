"""Folders of runs: how one appears whole or not at all, which is the latest, how many are kept, who runs now.

Every lock is a `filelock.FileLock` whose file is named after its holder, host and process, and is its alone: it is closed
before it is removed, so no two can hold two locks of one name.
"""

import ctypes
import errno
import os
import re
import shutil
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from cxresearch.errors import StudyProblem
from cxresearch.runs.record import FAILED, OK, RECORD, SIGN_OFFS, Record

LATEST = "latest"
LEFT_BY_OTHERS = {".ipynb_checkpoints", ".DS_Store"}
MOMENT = re.compile(r"\d{8}T\d{6}Z(-\d+)?")  # a run on the study's own shelf
WORK = re.compile(r"\..+-\d+-[0-9a-f]{6}")  # the name of a folder in which a run is made
AT_WORKING_FOLDER, EXCHANGE = -100, 2  # of renameat2


class Overlap(Exception):
    """Another run is under way, and this one is to be skipped."""


def hidden(path: Path) -> Path:
    """Return a name beside `path` that no other process has: a dot, its name, this host and process."""
    host = re.sub(r"[^\w.-]", "_", socket.gethostname())
    return path.with_name(f".{path.name}-{host}-{os.getpid()}-{os.urandom(3).hex()}")


@contextmanager
def held(path: Path):
    """Hold a lock that is this process's own; its file is removed once it is closed."""
    lock = FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
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


# --- a run that is being made ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Building:
    """A run being made: `work` is a hidden sibling of `final`, so relative paths mean the same in both."""

    work: Path
    final: Path

    def publish(self, *, whole: bool) -> Path:
        """Give the run its name and return the folder.

        An earlier run is replaced only by a whole one; a failed run then goes beside it, to ``NAME-failed``. Of two runs
        that began in one second, the second to end takes the next name.
        """
        target = self.final
        if MOMENT.fullmatch(target.name):
            target = next(p for p in _numbered(target) if not p.exists())
        elif not whole and Record.of(target):
            target = next(p for p in _numbered(target.with_name(f"{target.name}-failed")) if _may_be_replaced(p))
        _swap(self.work, target)
        return target


@contextmanager
def building(final: Path, *, keep_broken: bool = False):
    """Yield a `Building`; whatever was not published when the block ends is removed, unless kept for a later start."""
    work = hidden(final)
    with ExitStack() as stack:
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(_lock_of(work)))
            work.mkdir()
        except OSError as error:
            why = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
            raise StudyProblem(f"cannot make a folder in {final.parent}: {why}; name another with --out") from None
        try:
            yield Building(work, final)
        except BaseException:
            if not keep_broken:
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)


def _lock_of(work: Path) -> Path:
    return work.with_name(f"{work.name}.lock")


def broken_off(parent: Path, *, name: str = "") -> list[Path]:
    """Return the folders of runs that ended without cleaning up, or were kept to go on from; the newest first."""
    found = [p for p in parent.glob(".*") if p.name.startswith(f".{name}") and WORK.fullmatch(p.name) and p.is_dir()]
    return sorted((w for w in found if is_free(_lock_of(w))), key=lambda w: w.stat().st_mtime, reverse=True)


def require_free(final: Path) -> None:
    """Refuse a folder that a run must not replace: a file, or one that holds more than an earlier run."""
    if final.exists() and not final.is_dir():
        raise StudyProblem(f"{final} is a file; name a folder for the run")
    if not final.is_dir() or not any(final.iterdir()):
        return
    record = Record.of(final)
    if record is None:
        raise StudyProblem(f"{final} is not empty and holds no earlier run; name an empty or a new folder")
    ours = {RECORD, *LEFT_BY_OTHERS, *(r.folder for r in record.reports)}
    ours |= {file.partition("/")[0] for file in record.files}
    signed = {p.relative_to(final).as_posix() for p in final.glob(f"*/{SIGN_OFFS}")}  # of the reports of a batch
    strangers = sorted(({p.name for p in final.iterdir()} - ours) | signed)
    if strangers:
        raise StudyProblem(
            f"{final} holds an earlier run and also {', '.join(strangers)}, which replacing the run would delete; "
            "move it, or name another folder"
        )


def _numbered(folder: Path):
    """Yield a folder's name, and NAME-2, NAME-3, ... beside it."""
    yield folder
    yield from (folder.with_name(f"{folder.name}-{k}") for k in count(2))


def _may_be_replaced(folder: Path) -> bool:
    """Return whether a folder is free or holds nothing but a failed run."""
    try:
        require_free(folder)
    except StudyProblem:
        return False
    record = Record.of(folder)
    return record is None or record.status == FAILED


def _swap(new: Path, target: Path) -> None:
    """Rename `new` to `target`; what stood there is removed afterwards, and there is no moment without either."""
    if target.exists() and _exchanged(new, target):
        shutil.rmtree(new, ignore_errors=True)
        return
    aside = new.with_name(f"{new.name}-old")
    if target.exists():
        target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    try:
        names = (os.fsencode(one), os.fsencode(other))
        done = ctypes.CDLL(None).renameat2(AT_WORKING_FOLDER, names[0], AT_WORKING_FOLDER, names[1], EXCHANGE)
    except (AttributeError, OSError, TypeError):
        return False
    return done == 0


# --- the shelf of a study's runs -------------------------------------------------------------------------------------


def runs_folder(project: Path, study: Path) -> Path:
    """Return ``reports/runs/<study>`` of the project; study.yml is named after its folder."""
    return project / "reports" / "runs" / (study.resolve().parent.name if study.stem == "study" else study.stem)


def default_folder(shelf: Path, *, now: datetime | None = None) -> Path:
    """Return a folder on a shelf that is named after the time and not there."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return next(p for p in _numbered(shelf / moment) if not p.exists())


def runs_on(shelf: Path) -> list[Path]:
    """Return the runs and batches of a study, the newest first."""
    if not shelf.is_dir():
        return []
    folders = [p for p in shelf.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]
    found = [(r.finished or "", p.stat().st_mtime, p.name, p) for p in folders if (r := Record.of(p))]
    return [p for *_, p in sorted(found, reverse=True)]


def point_latest(folder: Path) -> None:
    """Let ``latest`` beside a whole run name it, in one step; a text file where links cannot be made."""
    link = folder.with_name(LATEST)
    beside = hidden(link)
    try:
        beside.symlink_to(folder.name, target_is_directory=True)
    except (OSError, NotImplementedError):
        link = folder.with_name(f"{LATEST}.txt")
        beside.write_text(f"{folder.name}\n", encoding="utf-8")
    try:
        beside.replace(link)
    except OSError:
        beside.unlink(missing_ok=True)
        raise StudyProblem(f"{link} is a folder; remove it, so that it can name the latest run") from None


def prune(shelf: Path, *, report: str | None, keep: int) -> list[Path]:
    """Remove all but the newest `keep` runs of a report, and return the removed.

    The newest whole run stays in any case, and so do one that somebody has signed, one of some notebooks only, and the
    one that ``latest`` names.
    """
    runs = [(p, r) for p in runs_on(shelf) if (r := Record.of(p)) and r.report == report and not r.only]
    staying = {p.resolve() for p in [p for p, r in runs if r.status == OK][:1] + [shelf / LATEST]}
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
                raise Overlap(
                    f"a run (process {process} on {host}, since {since} UTC) is under way; this one is skipped"
                )
            mine.enter_context(held(hidden(shelf / f"{word}.running")))
        yield
