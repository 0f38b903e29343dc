"""The folder that holds the runs of a study: which is the latest, how many are kept, is there room, who runs now."""

import json
import os
import re
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.runs.folder import BATCH, FORMAT, SIGN_OFFS, held
from cxresearch.runs.unchanged import OK, record_of

LATEST = "latest"
OVERLAPS = ("allow", "skip", "wait", "kill")
GRACE = 20.0  # seconds that a run may take to clean up when it is told to stop
MEGABYTE = 1_000_000
UNKNOWN_NOTEBOOK = 1 * MEGABYTE  # what a notebook's page, copy and tables are taken to need before one has run


class Overlap(Exception):
    """Another run is under way, and this one is to be skipped."""


def runs_on(shelf: Path) -> list[Path]:
    """Return the runs and batches of a study, the newest first."""
    if not shelf.is_dir():
        return []
    folders = [p for p in shelf.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]
    return sorted((p for p in folders if record_of(p).get("format") in (FORMAT, BATCH)), key=_moment, reverse=True)


def _moment(folder: Path) -> tuple[str, float, str]:
    record = record_of(folder)
    return record.get("finished") or "", folder.stat().st_mtime, folder.name


def point_latest(folder: Path) -> None:
    """Let ``latest`` beside a whole run name it, in one step; a text file where links cannot be made."""
    link = folder.with_name(LATEST)
    beside = folder.with_name(f".{LATEST}-{os.getpid()}-{os.urandom(3).hex()}")
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

    The newest whole run stays in any case, and so does a run that somebody has signed.
    """
    runs = [p for p in runs_on(shelf) if record_of(p).get("report") == report]
    whole = [p for p in runs if record_of(p).get("status") == OK]
    doomed = [p for p in runs[keep:] if p not in whole[:1] and not any(p.rglob(SIGN_OFFS))]
    for folder in doomed:
        hidden = folder.with_name(f".{folder.name}-{os.getpid()}-{os.urandom(3).hex()}")
        try:
            folder.rename(hidden)  # a reader never sees half of it
        except FileNotFoundError:  # another run is pruning, too
            continue
        shutil.rmtree(hidden, ignore_errors=True)
    return doomed


def require_room(shelf: Path, *, reports: int, notebooks: int) -> None:
    """Raise `StudyProblem` if the disk has no room for so many reports; their size is that of the last run's."""
    if not reports:
        return
    place = next(p for p in (shelf, *shelf.parents) if p.exists())
    last = next((p for p in runs_on(shelf)), None)
    size = _size_of_report(last) if last else notebooks * UNKNOWN_NOTEBOOK
    need, free = reports * size, shutil.disk_usage(place).free
    if need > free:
        raise StudyProblem(
            f"{place} has {free / MEGABYTE:,.0f} MB free and this run needs about {need / MEGABYTE:,.0f} MB "
            f"({reports} x {size / MEGABYTE:,.1f} MB); remove old runs, declare how many to keep, or name another "
            "place with --out"
        )


def _size_of_report(run: Path) -> int:
    total = sum(p.stat().st_size for p in run.rglob("*") if p.is_file())
    return total // max(1, len(record_of(run).get("reports", [run])))


# --- who runs now ----------------------------------------------------------------------------------------------------


@contextmanager
def alone(shelf: Path, report: str | None, *, overlap: str, patience: float):
    """Hold the place of the one run of a report that is under way.

    Parameters
    ----------
    shelf, report
        Whose runs exclude each other.
    overlap
        Where one is under way: ``allow`` a second beside it, ``skip`` this one, ``wait`` for its end, or ``kill`` it.
    patience
        Seconds to wait at most.

    Raises
    ------
    Overlap
        If it is to be skipped.
    StudyProblem
        If the other has not ended in time.
    """
    name = re.sub(r"[^\w-]+", "-", report or "every-notebook")
    path = shelf / f".{name}.running"
    shelf.mkdir(parents=True, exist_ok=True)
    lock = held(path)
    if lock is None and overlap == "skip":
        raise Overlap(f"{_said(path)} is under way; this one is skipped")
    if lock is None and overlap in ("wait", "kill"):
        lock = _killed(path) if overlap == "kill" else _waited(path, patience)
    if lock is not None:
        lock.truncate(0)
        json.dump({"pid": os.getpid(), "began": time.time()}, lock)
        lock.flush()
    try:
        yield
    finally:
        if lock is not None:
            lock.truncate(0)
            lock.close()  # the file stays: unlinking it would let two others hold two locks of one name


def _holder(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _said(path: Path) -> str:
    holder = _holder(path)
    since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(holder["began"])) if holder else "a moment ago"
    return f"a run (process {holder.get('pid', 'unknown')}, since {since} UTC)"


def _waited(path: Path, patience: float):
    until = time.monotonic() + patience
    while (lock := held(path)) is None:
        if time.monotonic() > until:
            raise StudyProblem(
                f"{_said(path)} has not ended within {patience:g} s; look at it, or start with --overlap kill"
            )
        time.sleep(min(0.2, patience))
    return lock


def _killed(path: Path):
    """Stop the run under way: first so that it cleans up, then without asking. Return the lock."""
    for how, patience in ((signal.SIGTERM, GRACE), (getattr(signal, "SIGKILL", signal.SIGTERM), GRACE)):
        pid = _holder(path).get("pid")
        if pid and (lock := held(path)) is None:  # it still holds the lock, so the process is the one named
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        elif pid:
            return lock
        try:
            return _waited(path, patience)
        except StudyProblem:
            continue
    raise StudyProblem(f"{_said(path)} could not be stopped; look at it")
