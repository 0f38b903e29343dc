"""One start as an operator means it: alone or not, with room, with its log, its retention and its call for help."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from cxresearch.errors import DataProblem
from cxresearch.runs.batch import MadeBatch, make_batch, plan_batch, same_batch
from cxresearch.runs.batch_page import headline_of
from cxresearch.runs.folder import MATRIX, broken_off, remove_broken, require_free, reserved_folder, runs_folder
from cxresearch.runs.make import Made, make_run
from cxresearch.runs.notebooks import notebooks_folder
from cxresearch.runs.plan import plan_study
from cxresearch.runs.shelf import alone, point_latest, prune, require_room, runs_on
from cxresearch.runs.unchanged import OK, record_of, with_digest

FAILED_RUN, FAILURE = "CXRESEARCH_FAILED_RUN", "CXRESEARCH_FAILURE"  # what a hook finds in its environment
HOOK_SECONDS = 300
WEEK = 7 * 86_400.0


@dataclass(frozen=True)
class Start:
    """What was asked for on the command line, beside the study and the report.

    Attributes
    ----------
    out
        Folder of the run, or None for the study's own shelf of runs.
    planned
        Keyword arguments of `plan_study`: report, only, settings, notebooks.
    made
        Keyword arguments of `make_run` and `make_batch` alike: timeout, with_code, reproducible, jobs, pool.
    each, whole, min_rows
        Of the fan-out.
    force
        Make what is unchanged, too.
    overlap, patience
        What to do where a run of the same report is under way, and how long to wait.
    keep
        How many runs to keep; None takes what the report declares.
    log
        File to which a line for each report is added, or None.
    """

    out: str | None
    planned: dict
    made: dict
    each: Sequence[str] = ()
    whole: bool = False
    min_rows: int | None = None
    force: bool = False
    overlap: str = "allow"
    patience: float = 3600.0
    keep: int | None = None
    log: str | None = None


@dataclass(frozen=True)
class Ended:
    """Where the run lies, whether it is whole, whether it was there before, and where it should have gone."""

    made: Made | MadeBatch | None
    index: Path
    whole: bool
    unchanged: bool = False
    asked: Path | None = None


def carry_out(opened, start: Start, *, planned: Callable, tell: Callable) -> Ended:
    """Make the run or the batch that was asked for.

    Parameters
    ----------
    opened
        The study.
    start
        What was asked for.
    planned
        Called with how many things there will be to tell, of which kind, and the width of their names.
    tell
        Called with each `Outcome` of a run, or log entry of a batch, as it ends.

    Raises
    ------
    Overlap
        If another run is under way and this one is to be skipped.
    """
    report = start.planned.get("report")
    shelf = runs_folder(notebooks_folder(start.planned.get("notebooks")).parent, Path(opened.path))
    declared = opened.reports.get(report)
    holding = start.out is None or start.overlap != "allow"
    place = alone(shelf, report, overlap=start.overlap, patience=start.patience) if holding else nullcontext()
    with place, _folder(start, opened) as folder:
        one = _batch if start.each or (declared and declared.each) else _run
        ended = one(opened, start, folder, planned, tell)
        if start.out is None:
            _shelved(ended, start, shelf, report, start.keep or (declared.keep if declared else None))
    return ended


@contextmanager
def _folder(start: Start, opened):
    if start.out is not None:
        require_free(Path(start.out))
        yield Path(start.out)
        return
    project = notebooks_folder(start.planned.get("notebooks")).parent
    with reserved_folder(project, Path(opened.path)) as folder:
        yield folder


def _run(opened, start: Start, folder: Path, planned, tell) -> Ended:
    plan, _ = plan_study(opened.reference, **start.planned)
    plan = with_digest(plan, folder.resolve(), {"with_code": start.made.get("with_code", False)})
    same = _same(plan.digest, folder, start)
    planned(len(plan.tasks), "notebook", max(len(task.name) for task in plan.tasks))
    if same is not None:
        return Ended(None, same / "index.html", True, unchanged=True)
    require_room(folder.parent, reports=1, notebooks=len(plan.tasks))
    made = make_run(plan, folder, **start.made, tell=tell)
    _log_run(start, made)
    return Ended(made, made.index, made.whole, asked=folder)


def _same(digest: str, folder: Path, start: Start) -> Path | None:
    """Return an earlier whole run that says what this one would."""
    if start.force or start.made.get("reproducible"):
        return None
    candidates = [folder, *(runs_on(folder.parent) if start.out is None else ())]
    records = ((c, record_of(c)) for c in candidates)
    return next((c for c, r in records if r.get("digest") == digest and r.get("status") == OK), None)


def _batch(opened, start: Start, folder: Path, planned, tell) -> Ended:
    batch = plan_batch(opened.reference, each=start.each, whole=start.whole, min_rows=start.min_rows, **start.planned)
    same = None if start.force else same_batch(batch, folder, with_code=start.made.get("with_code", False))
    if same is None:
        to_make = sum(c.skip is None for c in batch.cells)
        known = not start.force and (broken_off(folder.parent) or runs_on(folder.parent))
        require_room(folder.parent, reports=1 if known else to_make, notebooks=len(batch.plan.tasks))
    labels = [r["report"] for r in record_of(same)["reports"]] if same else [c.label for c in batch.cells]
    planned(len(labels), "report", min(30, max(map(len, labels))))

    def told(entry):
        tell(entry)
        _log(start, entry | {"run": folder.name})

    made = make_batch(batch, folder, **start.made, force=start.force, tell=told)
    return Ended(made, made.index, made.whole, asked=folder)


def _shelved(ended: Ended, start: Start, shelf: Path, report: str | None, keep: int | None) -> None:
    """Let `latest` name a whole run, remove what retention says, and what runs left that were killed."""
    if ended.whole and not ended.unchanged and not start.planned.get("only"):
        point_latest(ended.index.parent)
    if keep:
        prune(shelf, report=report, keep=keep)
    # what a batch had finished stays for its next start, but not for ever
    remove_broken([w for w in broken_off(shelf) if not (w / MATRIX).exists() or time.time() - w.stat().st_mtime > WEEK])


def _log_run(start: Start, made: Made) -> None:
    failed = [f"{o.task.name}: {o.reason}" for o in made.outcomes if o.status == "failed"]
    entry = {"report": start.planned.get("report") or "all", "folder": made.folder.name, "unchanged": False}
    state = {"status": "ok" if made.whole else "failed", "reason": "; ".join(failed) or None}
    times = {k: record_of(made.folder).get(k) for k in ("seconds", "finished")}
    _log(start, entry | state | {"headline": headline_of(made.folder)} | times)


def _log(start: Start, entry: dict) -> None:
    if start.log is not None:
        with open(start.log, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


# --- the call for help -----------------------------------------------------------------------------------------------


def as_words(command: str) -> tuple[str, ...]:
    """Return the program and arguments of a command as written; no shell reads it.

    Raises
    ------
    DataProblem
        If a quotation mark is not closed, or there is nothing.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise DataProblem(f"the command {command!r} for failures cannot be read: {error}") from None
    if not words:
        raise DataProblem("the command for failures is empty")
    return words


def call_for_help(words: Sequence[str], *, folder: Path | None, reason: str, home: Path) -> str | None:
    """Start the program for failures; return what went wrong with it, or None.

    Parameters
    ----------
    words
        Program and arguments, handed over as they are: nothing of the run's is put into them.
    folder, reason
        Of the failed run; they stand in the program's environment.
    home
        Its working folder.
    """
    told = {FAILED_RUN: str(folder.resolve()) if folder else "", FAILURE: " ".join(reason.split("\0"))}
    try:
        done = subprocess.run(
            list(words), env={**os.environ, **told}, cwd=home, stdin=subprocess.DEVNULL, timeout=HOOK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the command for failures, {words[0]}, did not run: {error}"
    return f"the command for failures, {words[0]}, ended with {done.returncode}" if done.returncode else None
