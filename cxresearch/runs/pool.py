"""Where notebooks are executed: some at a time, each in a process forked from a warmed one or in a kernel of Jupyter."""

import os
import threading
from dataclasses import replace
from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.runs.execute import Outcome, execute_task
from cxresearch.runs.forked import Forks, why_not_here, why_not_kernel
from cxresearch.runs.kernels import CannotFork, Kernels
from cxresearch.runs.plan import Plan, Task


class Pool:
    """Executes notebooks, `jobs` at a time. Threads and runs may share one; use it in a ``with`` block.

    Parameters
    ----------
    jobs
        Notebooks at a time; without it, one for each core that this process may use.
    forked
        True asks for forks and refuses where they are not safe; False for kernels; None chooses by itself.
    memory
        Bytes of address space that a notebook may take; None is no limit but the system's.

    Attributes
    ----------
    why_kernels
        Why notebooks run in kernels of Jupyter rather than in forks; None while they are forked.
    """

    def __init__(self, jobs: int | None = None, *, forked: bool | None = None, memory: int | None = None):
        self.jobs = jobs or cores()
        self.why_kernels = "asked for" if forked is False else why_not_here()
        if forked and self.why_kernels:
            raise StudyProblem(f"notebooks cannot be forked here: {self.why_kernels}; leave the choice to the runner")
        self._kernels = Kernels(memory)
        self._forks = None if self.why_kernels else Forks(memory)
        self._places = threading.BoundedSemaphore(self.jobs)
        self._stopped: set[Path] = set()

    def __enter__(self):
        return self

    def __exit__(self, *raised) -> None:
        if self._forks:
            self._forks.close()
        self._kernels.close()

    def execute(self, task: Task, plan: Plan, folder: Path, *, timeout: float) -> Outcome:
        """Execute one notebook and return its outcome; blocks until one of the pool's places is free.

        Parameters
        ----------
        task, plan
            What to execute, and the plan that it is of.
        folder
            Where it works and its executed copy goes.
        timeout
            Seconds a cell may take.
        """
        with self._places:
            self._require_wanted(folder)
            why = self.why_kernels or why_not_kernel(task.notebook.metadata.kernelspec.name)
            try:
                if not why:
                    return execute_task(task, plan, folder, timeout=timeout, engine=self._forks)
            except CannotFork as problem:
                self._require_wanted(folder)
                why = self.why_kernels = str(problem)
            outcome = execute_task(task, plan, folder, timeout=timeout, engine=self._kernels)
            return replace(outcome, why_kernel=why)

    def _require_wanted(self, folder: Path) -> None:
        if folder in self._stopped:
            raise RuntimeError(f"the run in {folder.name} was stopped")

    def stop(self, folder: Path) -> None:
        """Kill what works in `folder` and start nothing more there; other runs in this pool go on."""
        self._stopped.add(folder)
        for engine in (self._forks, self._kernels):
            if engine:
                engine.kill(folder)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
