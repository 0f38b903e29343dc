"""Reports on an existing Dask cluster: the local pool, one on each worker, behind the same two methods.

The workers see the study's files (a shared file system); they need not see the folder of the run. A worker executes a
notebook in a private folder from which the study is reached by the same relative path, and what the notebook left comes
back as bytes. Where a worker is lost, its notebooks are executed on another.
"""

import os
import tempfile
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.runs.execution import Pool
from cxresearch.runs.folder import package_digest
from cxresearch.runs.plan import Task
from cxresearch.runs.record import FAILED, NotebookEntry
from cxresearch.study.narrow import reference_to, split_reference

RETRIES = 3
PATIENCE = 20  # seconds in which a scheduler must answer
ONE = threading.Lock()  # a worker's threads make one pool


class ClusterPool(AbstractContextManager):
    """Executes notebooks on a Dask cluster (``tcp://host:8786``); what `Pool` is for this machine.

    `inputs` are the files that every worker must see, the same before each notebook; without `jobs`, a notebook goes to
    each thread of the workers.
    """

    def __init__(self, address: str, *, inputs: Sequence[Path], jobs: int | None = None):
        from distributed import Client

        try:
            self._client = Client(address, timeout=PATIENCE, name="cxresearch")
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StudyProblem(f"no Dask scheduler answers at {address}: {reason}") from None
        self._executor = self._client.get_executor(retries=RETRIES)
        self._futures: dict[object, Path] = {}  # future -> folder
        self._files = {str(Path(f).resolve()): Path(f).stat().st_size for f in inputs}
        threads = self._client.nthreads()
        self.jobs = jobs or sum(threads.values())
        found = self._client.run(trouble_there, self._files, package_digest()) if threads else {}
        wrong = [f"worker {worker} {trouble}" for worker, trouble in sorted(found.items()) if trouble]
        wrong += [] if threads else [f"the Dask scheduler at {address} has no workers; start some"]
        if wrong:
            self._client.close()
            raise StudyProblem(wrong[0])

    def __exit__(self, *raised) -> None:
        for folder in set(self._futures.values()):
            self.stop(folder)
        self._client.close()

    def execute(self, task: Task, study: Path, folder: Path, *, timeout: float, lent=None) -> NotebookEntry:
        """Execute one notebook somewhere, where no tables are lent, and say what became of it; what it left is in `folder`."""
        asked = task, study, str(folder), timeout, self._files, package_digest()
        future = self._executor.submit(execute_there, *asked)
        self._futures[future] = folder
        try:
            entry, files = future.result()
        except Exception as error:  # the cluster gave it up: this notebook's failure; the others go on
            reason = f"the cluster could not execute it: {type(error).__name__}: {str(error).splitlines()[0]}"
            known = {"failed_cell": None, "seconds": 0.0, "executed": task.notebook}
            return NotebookEntry(name=task.name, status=FAILED, reason=reason, **known)
        finally:
            del self._futures[future]
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return entry

    def stop(self, folder: Path) -> None:
        """Cancel what was sent for `folder`."""
        for future in [f for f, place in list(self._futures.items()) if place == folder]:
            future.cancel()


# --- on the worker ---------------------------------------------------------------------------------------------------


def trouble_there(files: dict[str, int], package: str) -> str | None:
    """Return why this process cannot stand in for the one that asks, or None."""
    for file, size in files.items():
        if not os.path.isfile(file):
            return f"does not see {file}; put the study where every worker sees it under the same path"
        if os.path.getsize(file) != size:
            return f"sees another {file}; put the study on a file system that the workers share"
    return None if package_digest() == package else "runs another version of cxresearch; install the same on both"


def execute_there(task: Task, study: Path, folder: str, timeout: float, files: dict[str, int], package: str):
    """Execute a notebook in a private folder; return what became of it, and the files that it left (name -> bytes)."""
    if trouble := trouble_there(files, package):
        raise StudyProblem(f"a worker {trouble}")
    with ONE:
        pool = _pool()
    with mirrored(study, Path(folder)) as (place, moved):
        entry = pool.execute(task, moved, place, timeout=timeout)
        return entry, {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}


@cache
def _pool() -> Pool:
    """Return the pool that a worker keeps from one notebook to the next."""
    return Pool()


@contextmanager
def mirrored(study: Path, folder: Path):
    """Yield a private folder that reaches the study as `folder` does, and the study as seen from there.

    The nearest folder that holds both is copied as links, up to the way to `folder`, which is made anew.
    """
    file, only = split_reference(study)
    common = Path(os.path.commonpath([file, folder]))
    way = folder.relative_to(common)
    with tempfile.TemporaryDirectory(prefix="cxr-", ignore_cleanup_errors=True) as top:
        copy = Path(top).resolve()
        for entry in os.scandir(common):
            if entry.name != way.parts[0]:
                (copy / entry.name).symlink_to(entry.path)
        place = copy / way
        place.mkdir(parents=True)
        yield place, Path(reference_to(copy / file.relative_to(common), only))
