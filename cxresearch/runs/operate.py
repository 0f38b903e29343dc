"""One start as an operator means it: alone or not, with room, with its log, its retention and its call for help."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from cxresearch.errors import DataProblem
from cxresearch.runs.folder import alone, broken_off, default_folder, point_latest, prune, require_free, runs_folder
from cxresearch.runs.make import Run, make_run, same_run
from cxresearch.runs.notebooks import notebooks_folder, project_of
from cxresearch.runs.plan import Plan, plan_run
from cxresearch.runs.record import BATCH, Record, ReportEntry
from cxresearch.runs.render import headline_of

FAILED_RUN, FAILURE = "CXRESEARCH_FAILED_RUN", "CXRESEARCH_FAILURE"  # what a hook finds in its environment
HOOK_SECONDS = 300
WEEK = 7 * 86_400.0


@dataclass(frozen=True)
class Started:
    """What came of a start: the run's folder and record, whether it was there before, and where it should have gone."""

    folder: Path
    record: Record
    unchanged: bool
    asked: Path


def start(
    opened,
    report: str | None = None,
    *,
    out: str | None = None,
    notebooks: str | None = None,
    overlap: str = "allow",
    keep: int | None = None,
    log: str | None = None,
    expect: Callable,
    force: bool = False,
    reproducible: bool = False,
    planned: dict,
    made: dict,
) -> Started:
    """Make the run that was asked for, unless a whole one says the same.

    `out` is None for the study's own shelf of runs. `expect` is called with how many things there will be to tell, of
    which kind, and the width of their names; `planned` and `made` go on to `plan_run` and `make_run`.

    Raises
    ------
    Overlap
        If another run is under way and this one is to be skipped.
    """
    project = project_of(notebooks_folder(notebooks))
    shelf = runs_folder(project, Path(opened.path))
    with alone(shelf, report, overlap=overlap) if out is None or overlap != "allow" else nullcontext():
        folder = default_folder(shelf) if out is None else Path(out)
        require_free(folder)
        plan = plan_run(opened.reference, report=report, notebooks=notebooks, **planned)
        same = None if force or reproducible else same_run(plan, folder)
        if same is None:
            expect(*_expected(plan))
            if plan.ours:
                print("notebooks: those that come with cxresearch; a folder 'notebooks' here would come first")
            run = make_run(plan, folder, force=force, reproducible=reproducible, **made)
        else:
            run = Run(same, Record.read(same)[1])
        _log(log, run, unchanged=same is not None)
        if out is None:
            _shelve(run, shelf, keep or (opened.reports[report].keep if report else None))
        _sweep(folder.parent, "" if out is None else folder.name)
    return Started(run.folder, run.record, same is not None, folder)


def _expected(plan: Plan) -> tuple[int, str, int]:
    if not plan.each:
        return len(plan.tasks), "notebook", max(len(task.name) for task in plan.tasks)
    return len(plan.cells), "report", min(30, max(len(c.label) for c in plan.cells))


def _shelve(run: Run, shelf: Path, keep: int | None) -> None:
    """Let `latest` name a whole run, and remove what retention says."""
    if run.whole and not run.record.only:
        point_latest(run.folder)
    if keep:
        prune(shelf, report=run.record.report, keep=keep)


def _sweep(place: Path, name: str) -> None:
    """Remove what killed runs left; what a fan-out had finished stays for its next start, but not for ever."""
    for work in broken_off(place, name=name):
        record = Record.of(work)
        if record is None or record.format != BATCH or time.time() - work.stat().st_mtime > WEEK:
            shutil.rmtree(work, ignore_errors=True)


def _log(path: str | None, run: Run, *, unchanged: bool) -> None:
    if path is None:
        return
    record = run.record
    entries = record.reports
    if not entries:
        whole = {"report": record.report or "all", "folder": run.folder.name, "status": record.status}
        reason = record.failures if not run.whole else None
        times = {"seconds": record.seconds, "finished": record.finished}
        entries = [ReportEntry(**whole, unchanged=False, reason=reason, headline=headline_of(run.folder), **times)]
    with open(path, "a", encoding="utf-8") as file:
        for entry in entries:
            told = entry.model_copy(update={"unchanged": True} if unchanged and entry.folder else {})
            file.write(
                json.dumps(told.model_dump(exclude_unset=True) | {"run": run.folder.name}, ensure_ascii=False) + "\n"
            )


# --- the call for help -----------------------------------------------------------------------------------------------


@dataclass
class End:
    """How a start ended; where there is a reason for it, the words of the program are called in `home`."""

    words: Sequence[str] = ()
    home: Path = Path()
    folder: Path | None = None
    reason: str = ""

    def call(self, words: Sequence[str], *, home: Path) -> None:
        """Name the program for failures, unless the command line does."""
        if not self.words:
            self.words, self.home = words, home


@contextmanager
def calling_for_help(command: str | None):
    """Yield an `End`; whatever ends the block but well, signals and faults of ours too, calls for help."""
    end = End(as_words(command) if command else (), Path.cwd())
    try:
        yield end
    except BaseException as problem:
        end.reason = str(problem) or type(problem).__name__
        raise
    finally:
        trouble = (
            end.words and end.reason and call_for_help(end.words, folder=end.folder, reason=end.reason, home=end.home)
        )
        if trouble:
            print(f"cxresearch: {trouble}", file=sys.stderr)


def as_words(command: str) -> tuple[str, ...]:
    """Return the program and arguments of a command as written; no shell reads it. Refuse one that cannot be read."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise DataProblem(f"the command {command!r} for failures cannot be read: {error}") from None
    if not words:
        raise DataProblem("the command for failures is empty")
    return words


def call_for_help(words: Sequence[str], *, folder: Path | None, reason: str, home: Path) -> str | None:
    """Start the program for failures; return what went wrong with it, or None.

    `words` are handed over as they are; folder and reason of the failed run stand in the program's environment.
    """
    told = {FAILED_RUN: str(folder.resolve()) if folder else "", FAILURE: " ".join(reason.split("\0"))}
    try:
        done = subprocess.run(
            list(words), env={**os.environ, **told}, cwd=home, stdin=subprocess.DEVNULL, timeout=HOOK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the command for failures, {words[0]}, did not run: {error}"
    return f"the command for failures, {words[0]}, ended with {done.returncode}" if done.returncode else None
