"""The folder of a run: where it goes, and how it appears there whole or not at all."""

import ctypes
import errno
import os
import re
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.runs.record import FAILED, GUIDE, INDEX, LOG, RECORD, SIGN_OFFS, Record

try:
    import fcntl
except ImportError:  # Windows: nothing is taken for dead
    fcntl = None

MATRIX = ".matrix.json"  # in a fan-out under way: the report and the columns, by which the next start knows it
LEFT_BY_OTHERS = {".ipynb_checkpoints", ".DS_Store"}
WORK = re.compile(r"\..+-\d+-[0-9a-f]{6}")  # the name of a folder in which a run is made
AT_WORKING_FOLDER, EXCHANGE = -100, 2  # of renameat2


@dataclass(frozen=True)
class Building:
    """A run being made: `work` is a hidden sibling of `final`, so relative paths mean the same in both."""

    work: Path
    final: Path

    def publish(self, *, whole: bool) -> Path:
        """Give the run its name and return the folder.

        An earlier run is replaced only by a whole one; a failed run then goes beside it, to ``NAME-failed``.
        """
        target = self.final
        if not whole and Record.of(target):
            target = _beside(target)
        _swap(self.work, target)
        return target


@contextmanager
def building(final: Path, *, keep_broken: bool = False):
    """Yield a `Building`; whatever was not published when the block ends is removed, unless kept for a later start."""
    work = final.with_name(f".{final.name}-{os.getpid()}-{os.urandom(3).hex()}")
    kept = False
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        lock = held(_lock_of(work))
        work.mkdir()
    except OSError as error:
        raise _no_folder(final.parent, error) from None
    try:
        yield Building(work, final)
    except BaseException:
        kept = keep_broken
        raise
    finally:
        if not kept:
            shutil.rmtree(work, ignore_errors=True)
        release(lock, _lock_of(work))


def _no_folder(parent: Path, error: OSError) -> StudyProblem:
    why = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
    return StudyProblem(f"cannot make a folder in {parent}: {why}; name another with --out")


def _lock_of(work: Path) -> Path:
    return work.with_name(f"{work.name}.lock")


def held(path: Path, *, shared: bool = False):
    """Return a file on which this process holds the lock until it ends, or None if another does."""
    file = open(path, "a+", encoding="utf-8")  # it stays open
    if fcntl:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            same = path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except BlockingIOError:
            same = False
        if not same:  # another has it, or had it and removed the file, of which there may be a new one
            file.close()
            return None
    return file


def release(lock, path: Path) -> None:
    """Give a lock up and remove its file."""
    path.unlink(missing_ok=True)
    lock.close()


def broken_off(parent: Path, *, name: str = "") -> list[Path]:
    """Return the folders of runs that ended without cleaning up, or were kept to go on from; the newest first."""
    works = [p for p in parent.glob(f".{glob_safe(name)}*") if WORK.fullmatch(p.name) and p.is_dir()] if fcntl else []
    return sorted((w for w in works if _dead(_lock_of(w))), key=lambda w: w.stat().st_mtime, reverse=True)


def remove_broken(works: list[Path]) -> None:
    """Remove folders of `broken_off` runs."""
    for work in works:
        shutil.rmtree(work, ignore_errors=True)


def glob_safe(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _dead(lock: Path) -> bool:
    if not lock.exists():
        return True
    file = held(lock)
    if file is not None:
        release(file, lock)
    return file is not None


def default_folder(project: Path, study: Path, *, now: datetime | None = None) -> Path:
    """Return ``reports/runs/<study>/<time>`` of the project; study.yml is named after its folder."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    parent = runs_folder(project, study)
    names = [moment, *(f"{moment}-{k}" for k in range(2, 1000))]
    return next(parent / n for n in names if not (parent / n).exists())


def runs_folder(project: Path, study: Path) -> Path:
    """Return ``reports/runs/<study>`` of the project."""
    return project / "reports" / "runs" / (study.resolve().parent.name if study.stem == "study" else study.stem)


@contextmanager
def reserved_folder(project: Path, study: Path):
    """Yield a `default_folder` that no other run takes while the block lasts."""
    while True:
        folder = default_folder(project, study)
        mark = folder.with_name(f".{folder.name}.reserved")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock = held(mark)
        except OSError as error:
            raise _no_folder(folder.parent, error) from None
        if lock is not None and not folder.exists():
            break
        if lock is not None:
            release(lock, mark)
        time.sleep(0.2)  # the second will pass
    try:
        yield folder
    finally:
        release(lock, mark)


def require_free(final: Path) -> None:
    """Refuse a folder that a run must not replace: a file, or one that holds more than an earlier run."""
    if final.exists() and not final.is_dir():
        raise StudyProblem(f"{final} is a file; name a folder for the run")
    if not final.is_dir() or not any(final.iterdir()):
        return
    record = Record.of(final)
    if record is None:
        raise StudyProblem(f"{final} is not empty and holds no earlier run; name an empty or a new folder")
    ours = {RECORD, INDEX, GUIDE, LOG, "findings", *LEFT_BY_OTHERS, *(r.folder for r in record.reports)}
    ours |= {f"{n.name}.{kind}" for n in record.notebooks for kind in ("html", "ipynb")}
    signed = {p.relative_to(final).as_posix() for p in final.glob(f"*/{SIGN_OFFS}")}  # of the reports of a batch
    strangers = sorted(({p.name for p in final.iterdir()} - ours) | signed)
    if strangers:
        raise StudyProblem(
            f"{final} holds an earlier run and also {', '.join(strangers)}, which replacing the run would delete; "
            "move it, or name another folder"
        )


def _beside(folder: Path) -> Path:
    """Return the first of NAME-failed, NAME-failed-2, ... that is free or holds nothing but a failed run."""
    for number in range(1, 1000):
        target = folder.with_name(f"{folder.name}-failed" + (f"-{number}" if number > 1 else ""))
        try:
            require_free(target)
        except StudyProblem:
            continue
        record = Record.of(target)
        if record is None or record.status == FAILED:
            return target
    raise StudyProblem(f"there are 999 failed runs beside {folder}; remove some")


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
