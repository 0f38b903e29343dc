"""Execute the notebooks of a plan, some side by side, each in a kernel of its own.

Threads, not processes: the work is done in the kernels, which are processes already, and papermill is imported once.
"""

import os
import shutil
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxresearch.runs.clean import Places, clean
from cxresearch.runs.folder import FAILED
from cxresearch.runs.kernels import ENGINE, Kernels, import_papermill
from cxresearch.runs.ledger import Failure, Ledger
from cxresearch.runs.parameters import STUDY
from cxresearch.runs.plan import Plan, Task

OK, SKIPPED = "ok", "skipped"


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
        Of the whole notebook, kernel start included.
    """

    task: Task
    status: str
    reason: str | None = None
    notebook: object = None
    failure: Failure | None = None
    seconds: float = 0.0


@dataclass
class Job:
    """A notebook on its way through the engine."""

    name: str
    folder: Path
    kernels: Kernels
    ledger: Ledger = field(default_factory=Ledger)
    notebook: object = None

    @property
    def findings(self) -> Path:
        return self.folder / "findings" / self.name


def execute_plan(plan: Plan, folder: Path, *, timeout: float, jobs: int | None = None):
    """Yield an `Outcome` for each notebook as it ends; each executed notebook is stored in `folder`.

    Parameters
    ----------
    plan
        From `plan_run`.
    folder
        Where the kernels work and the executed notebooks go.
    timeout
        Seconds a cell may take.
    jobs
        Notebooks at a time; without it, two, or one on a single core.
    """
    yield from (Outcome(t, SKIPPED, t.skip) for t in plan.tasks if t.skip)
    papermill = import_papermill()
    with Kernels() as kernels, ThreadPoolExecutor(jobs or min(2, os.cpu_count() or 1)) as pool:
        tasks = [t for t in plan.tasks if not t.skip]
        waiting = {pool.submit(_execute, t, plan, folder, timeout, kernels, papermill) for t in tasks}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:  # Ctrl-C, or the caller gave up: no kernel outlives the run
            _stop(waiting, kernels)
            raise


def _stop(waiting, kernels: Kernels) -> None:
    for future in waiting:
        future.cancel()
    while waiting:
        kernels.kill()  # again and again: one may have been starting
        waiting = wait(waiting, timeout=0.1).not_done


def _execute(task: Task, plan: Plan, folder: Path, timeout: float, kernels: Kernels, papermill) -> Outcome:
    began = time.monotonic()
    job = Job(task.name, folder, kernels)
    problem = None
    try:
        papermill.execute_notebook(
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
    except Exception as error:  # whatever stopped it is this notebook's failure; the others go on
        problem = error
    notebook = job.notebook if job.notebook is not None else task.notebook
    places = Places(folder, plan.study)
    clean(notebook, task, places)
    last_words = kernels.last_words(task.name)
    failure = job.ledger.failure(notebook, problem, timeout=timeout, last_words=last_words)
    failure = failure or _missing_headline(task, job.findings)
    if failure:
        failure = replace(failure, reason=places.hide(failure.reason))
    return _kept(task, notebook, failure, folder, time.monotonic() - began)


def _kept(task: Task, notebook, failure: Failure | None, folder: Path, seconds: float) -> Outcome:
    """Store the executed notebook and return its outcome."""
    import nbformat

    nbformat.write(notebook, folder / f"{task.name}.ipynb")
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
