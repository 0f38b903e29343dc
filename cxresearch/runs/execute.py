"""Execute the notebooks of a plan, some side by side, each in a process of its own.

Threads, not processes: the work is done in the notebooks' processes, and papermill is imported once.
"""

import os
import shutil
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxresearch.runs.clean import Places, clean
from cxresearch.runs.folder import FAILED
from cxresearch.runs.kernels import ENGINE, CannotFork, import_papermill
from cxresearch.runs.ledger import Failure, Ledger
from cxresearch.runs.parameters import STUDY
from cxresearch.runs.plan import Plan, Task

OK, SKIPPED = "ok", "skipped"
FORKED, KERNEL = "forked", "kernel"  # the engines' names


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook.

    Attributes
    ----------
    task
        What was to be done.
    status
        ``ok``, ``failed`` or ``skipped``.
    reason
        One line, unless it is ok.
    notebook
        As executed; None where it was skipped.
    failure
        The failing cell, or None.
    seconds
        Of the whole notebook, start included.
    execution
        ``forked`` or ``kernel``: in what kind of process it ran; None where it was skipped.
    why_kernel
        Why it ran in a kernel rather than in a fork.
    """

    task: Task
    status: str
    reason: str | None = None
    notebook: object = None
    failure: Failure | None = None
    seconds: float = 0.0
    execution: str | None = None
    why_kernel: str | None = None


@dataclass
class Job:
    """A notebook on its way through the engine: `Kernels`, or `Forks` with the same methods."""

    name: str
    folder: Path
    engine: object
    ledger: Ledger = field(default_factory=Ledger)
    notebook: object = None

    @property
    def key(self) -> str:
        return str(self.folder / self.name)

    @property
    def findings(self) -> Path:
        return self.folder / "findings" / self.name


def execute_plan(plan: Plan, folder: Path, *, timeout: float, pool):
    """Yield an `Outcome` for each notebook as it ends; each executed notebook is stored in `folder`.

    Parameters
    ----------
    plan
        From `plan_run`.
    folder
        Where the notebooks work and the executed ones go.
    timeout
        Seconds a cell may take.
    pool
        A `Pool`, which several runs may share.
    """
    yield from (Outcome(t, SKIPPED, t.skip) for t in plan.tasks if t.skip)
    tasks = [t for t in plan.tasks if not t.skip]
    with ThreadPoolExecutor(max(1, min(len(tasks), pool.jobs))) as threads:
        waiting = {threads.submit(pool.execute, t, plan, folder, timeout=timeout) for t in tasks}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:  # Ctrl-C, or the caller gave up: no process outlives the run
            for future in waiting:
                future.cancel()
            while waiting:
                pool.stop(folder)  # again and again: one may have been starting
                waiting = wait(waiting, timeout=0.1).not_done
            raise


def execute_task(task: Task, plan: Plan, folder: Path, *, timeout: float, engine) -> Outcome:
    """Execute one notebook with `engine` and return its outcome; whatever stops it is its failure.

    Raises
    ------
    CannotFork
        If no fork is to be had; nothing has been executed then.
    """
    began = time.monotonic()
    job = Job(task.name, folder, engine)
    problem = None
    try:
        import_papermill().execute_notebook(
            task.notebook,
            None,
            {STUDY: study_from(folder, plan.study), **task.given},
            engine_name=ENGINE,
            progress_bar=False,
            request_save_on_cell_execute=False,
            autosave_cell_every=0,
            job=job,
            timeout=timeout,
        )
    except CannotFork:
        raise
    except Exception as error:
        problem = error
    notebook = job.notebook if job.notebook is not None else task.notebook
    places = Places(folder, plan.study)
    clean(notebook, task, places)
    failure = job.ledger.failure(notebook, problem, timeout=timeout, last_words=engine.last_words(job))
    failure = failure or _missing_headline(task, job.findings)
    if failure:
        shown = tuple(map(places.hide, failure.traceback))
        failure = replace(failure, reason=places.hide(failure.reason), traceback=shown)
    outcome = _kept(task, notebook, failure, folder, time.monotonic() - began)
    return replace(outcome, execution=engine.name)


def _kept(task: Task, notebook, failure: Failure | None, folder: Path, seconds: float) -> Outcome:
    """Store the executed notebook and return its outcome; one that cannot be stored failed, and the others go on."""
    import nbformat

    try:
        nbformat.write(notebook, folder / f"{task.name}.ipynb")
    except OSError as problem:
        (folder / f"{task.name}.ipynb").unlink(missing_ok=True)
        failure = failure or Failure(None, f"its executed notebook cannot be stored: {problem.strerror}")
    if failure is None:
        return Outcome(task, OK, None, notebook, None, seconds)
    # findings of half a notebook must not be read as those of a whole one
    shutil.rmtree(folder / "findings" / task.name, ignore_errors=True)
    where = "" if failure.cell is None else f"cell {failure.cell + 1}: "
    return Outcome(task, FAILED, where + failure.reason, notebook, failure, seconds)


def _missing_headline(task: Task, findings: Path) -> Failure | None:
    if task.headline and not (findings / f"{task.headline}.json").is_file():
        return Failure(None, f"it saved no finding named {task.headline!r}, which its metadata names as the headline")
    return None


def study_from(folder: Path, study: Path) -> str:
    """Return the path of the study relative to the run's folder, so that an executed notebook runs again in place."""
    return Path(os.path.relpath(study, folder.resolve())).as_posix()
