"""One start as an operator means it: alone or not, with its log, its retention and its call for help."""

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
from cxresearch.runs.plan import plan_run
from cxresearch.runs.record import BATCH, Record

FAILED_RUN, FAILURE = "CXRESEARCH_FAILED_RUN", "CXRESEARCH_FAILURE"  # what a hook finds in its environment
HOOK_SECONDS = 300
WEEK = 7 * 86_400.0


def start(
    opened, report=None, *, out=None, notebooks=None, only=(), settings=(), each=(), whole=False,
    overlap="allow", keep=None, log=None, force=False, reproducible=False, expect: Callable, **made,
) -> Run:  # fmt: skip
    """Make the run that was asked for, unless a whole one says the same.

    `out` is None for the study's own shelf of runs. `expect` is called with the plan of what is to be made; `made` goes
    on to `make_run`, what chooses the plan to `plan_run`. Raises `Overlap` where another is under way and `overlap` is
    ``skip``.
    """
    shelf = runs_folder(project_of(notebooks_folder(notebooks)), Path(opened.path))
    asked = {"only": only, "settings": settings, "notebooks": notebooks, "each": each, "whole": whole}
    with alone(shelf, report, overlap=overlap) if out is None or overlap != "allow" else nullcontext():
        folder = default_folder(shelf) if out is None else Path(out)
        require_free(folder)
        plan = plan_run(opened.reference, report=report, **asked)
        run = None if force or reproducible else same_run(plan, folder)
        if run is None:
            expect(plan)
            run = make_run(plan, folder, force=force, reproducible=reproducible, **made)
        if log:
            _log(log, run)
        if out is None:
            keep = keep or (opened.reports[report].keep if report else None)
            if run.whole and not run.record.only:
                point_latest(run.folder)
            if keep:
                prune(shelf, report=report, keep=keep)
        for left in broken_off(folder.parent, name="" if out is None else folder.name):  # what killed runs left
            record = Record.of(left)  # what a fan-out had finished stays for its next start, but not for ever
            if record is None or record.format != BATCH or time.time() - left.stat().st_mtime > WEEK:
                shutil.rmtree(left, ignore_errors=True)
    return run


def _log(path: str, run: Run) -> None:
    with open(path, "a", encoding="utf-8") as file:
        for entry in run.reports:
            told = entry.model_dump(exclude_unset=True) | {"run": run.folder.name}
            told |= {"unchanged": True} if run.unchanged and entry.folder else {}
            file.write(json.dumps(told, ensure_ascii=False) + "\n")


# --- the call for help -----------------------------------------------------------------------------------------------


@dataclass
class End:
    """How a start ended; where there is a reason for it, the words of the program are called in `home`."""

    words: Sequence[str] = ()
    home: Path = Path()
    folder: Path | None = None
    reason: str = ""


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
        if end.words and end.reason and (trouble := call_for_help(end)):
            print(f"cxresearch: the command for failures, {end.words[0]}, {trouble}", file=sys.stderr)


def as_words(command: str) -> tuple[str, ...]:
    """Return the program and arguments of a command as written; no shell reads it. Refuse one that cannot be read."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise DataProblem(f"the command {command!r} for failures cannot be read: {error}") from None
    if not words:
        raise DataProblem("the command for failures is empty")
    return words


def call_for_help(end: End) -> str | None:
    """Start the program for failures; return what went wrong with it, or None.

    Its words are handed over as they are; folder and reason of the failed run stand in the program's environment.
    """
    told = {FAILED_RUN: str(end.folder.resolve()) if end.folder else "", FAILURE: " ".join(end.reason.split("\0"))}
    options = {"env": {**os.environ, **told}, "cwd": end.home, "stdin": subprocess.DEVNULL, "timeout": HOOK_SECONDS}
    try:
        done = subprocess.run(list(end.words), **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"did not run: {error}"
    return f"ended with {done.returncode}" if done.returncode else None
