"""The folder that holds the runs of a study: which is the latest, how many are kept, is there room, who runs now."""

import json
import os
import re
import shutil
import socket
import time
from contextlib import contextmanager
from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.runs.folder import held
from cxresearch.runs.record import OK, SIGN_OFFS, Record

LATEST = "latest"
MEGABYTE = 1_000_000
UNKNOWN_NOTEBOOK = 1 * MEGABYTE  # what a notebook's page, copy and tables are taken to need before one has run


class Overlap(Exception):
    """Another run is under way, and this one is to be skipped."""


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

    The newest whole run stays in any case, and so do one that somebody has signed, one of some notebooks only, and the
    one that ``latest`` names.
    """
    runs = [(p, r) for p in runs_on(shelf) if (r := Record.of(p)) and r.report == report and not r.only]
    staying = [p for p, r in runs if r.status == OK][:1] + [(shelf / LATEST).resolve()]
    doomed = [
        p for p, _ in runs[keep:] if p not in staying and p.resolve() not in staying and not any(p.rglob(SIGN_OFFS))
    ]
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
    return total // max(1, len(Record.read(run)[1].reports))


@contextmanager
def alone(shelf: Path, report: str | None, *, overlap: str):
    """Hold a place among the runs of a report that are under way; where there is one, ``skip`` raises `Overlap`."""
    name = re.sub(r"[^\w-]+", "-", report or "every-notebook")
    path = shelf / f".{name}.running"
    shelf.mkdir(parents=True, exist_ok=True)
    if overlap == "skip":
        first = held(path)
        if first is None:
            raise Overlap(f"{_holder(path)} is under way; this one is skipped")
        first.close()
    lock = held(
        path, shared=True
    )  # as many as are allowed hold it together, and one that would be alone does not get it
    if lock is not None:
        lock.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "began": time.time()}, lock)
        lock.flush()
    try:
        yield
    finally:
        if lock is not None:
            lock.close()  # the file stays: unlinking it would let two others hold two locks of one name


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(holder["began"]))
        return f"a run (process {holder['pid']} on {holder['host']}, since {since} UTC)"
    except (OSError, ValueError, KeyError):
        return "a run"
