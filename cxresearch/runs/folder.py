"""The folder of a run: where it goes, and how it appears there whole or not at all."""

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cxresearch.errors import StudyProblem

RECORD = "run.json"
INDEX = "index.html"
FAILED = "failed"
FORMAT = "cxresearch run 1"  # in run.json: marks a folder as ours
LEFT_BY_OTHERS = {".ipynb_checkpoints", ".DS_Store"}


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
        if not whole and _is_run(target):
            target = _beside(target)
        _swap(self.work, target)
        return target


@contextmanager
def building(final: Path):
    """Yield a `Building`; whatever was not published when the block ends is removed."""
    work = final.with_name(f".{final.name}-{os.getpid()}-{os.urandom(3).hex()}")
    try:
        work.mkdir(parents=True)
    except OSError as error:
        reason = f"cannot make a folder in {final.parent}: {error.strerror}"
        raise StudyProblem(f"{reason}; name another with --out") from None
    try:
        yield Building(work, final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def default_folder(project: Path, study: Path, *, now: datetime | None = None) -> Path:
    """Return ``reports/runs/<study>/<time>`` of the project; study.yml is named after its folder."""
    name = study.resolve().parent.name if study.stem == "study" else study.stem
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    parent = project / "reports" / "runs" / name
    names = [moment, *(f"{moment}-{k}" for k in range(2, 1000))]
    return next(parent / n for n in names if not (parent / n).exists())


def require_free(final: Path) -> None:
    """Refuse a folder that a run must not replace: one with content that is not, or not only, an earlier run.

    Raises
    ------
    StudyProblem
        If `final` is a file, or holds anything that no run wrote.
    """
    if final.exists() and not final.is_dir():
        raise StudyProblem(f"{final} is a file; name a folder for the run")
    if not final.is_dir() or not any(final.iterdir()):
        return
    if not _is_run(final):
        raise StudyProblem(f"{final} is not empty and holds no earlier run; name an empty or a new folder")
    strangers = sorted({p.name for p in final.iterdir()} - _written_by_run(final))
    if strangers:
        raise StudyProblem(
            f"{final} holds an earlier run and also {', '.join(strangers)}, which replacing the run would delete; "
            "move it, or name another folder"
        )


def _record(folder: Path) -> dict:
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _is_run(folder: Path) -> bool:
    return _record(folder).get("format") == FORMAT


def _written_by_run(folder: Path) -> set[str]:
    names = [notebook["name"] for notebook in _record(folder)["notebooks"]]
    return {RECORD, INDEX, "findings", *LEFT_BY_OTHERS, *(f"{n}.{kind}" for n in names for kind in ("html", "ipynb"))}


def _beside(folder: Path) -> Path:
    """Return the first of NAME-failed, NAME-failed-2, ... that is free or holds nothing but a failed run."""
    for number in range(1, 1000):
        target = folder.with_name(f"{folder.name}-failed" + (f"-{number}" if number > 1 else ""))
        try:
            require_free(target)
        except StudyProblem:
            continue
        if _record(target).get("status", FAILED) == FAILED:
            return target
    raise StudyProblem(f"there are 999 failed runs beside {folder}; remove some")


def _swap(new: Path, target: Path) -> None:
    """Rename `new` to `target`; what stood there is put aside first and put back if the renaming fails."""
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
