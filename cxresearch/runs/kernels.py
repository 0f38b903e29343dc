"""papermill's engine with an environment, a working folder and a ledger for each notebook, so that notebooks can run
side by side in one process (papermill itself takes all three from the process); and kernels of Jupyter for it.
"""

import asyncio
import hashlib
import logging
import os
import signal
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from cxresearch.findings import RUN_FOLDER
from cxresearch.privacy import environment_of_run
from cxresearch.runs.ledger import how_ended
from cxresearch.runs.notebooks import without_slow_grammar

ENGINE = "cxresearch"
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class CannotFork(Exception):
    """Why notebooks cannot be forked (any more)."""


def import_papermill():
    """Return papermill with our engine registered."""
    with without_slow_grammar():
        import papermill
        from papermill.engines import papermill_engines
    papermill_engines.register(ENGINE, _engine())
    logging.getLogger("papermill").setLevel(logging.CRITICAL + 1)  # what goes wrong is told by the ledger
    return papermill


def kernel_environment(findings: Path) -> dict[str, str]:
    """Return this process's environment with what makes a notebook's outputs the same everywhere."""
    fixed = {
        RUN_FOLDER: str(findings),
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        **dict.fromkeys(ONE_THREAD, "1"),
        **environment_of_run(),
    }
    return {**os.environ, **fixed}


class Kernels:
    """Jupyter's kernels, one a notebook: their sockets, their logs, and those alive, so that an ended run leaves none.

    Parameters
    ----------
    memory
        Bytes of address space that a kernel may take, or None.
    """

    name = "kernel"

    def __init__(self, memory: int | None = None):
        self._folder = tempfile.TemporaryDirectory(prefix="cxr-", ignore_cleanup_errors=True)
        self._clients: dict = {}
        self._lock = threading.Lock()
        self._memory = memory

    def close(self) -> None:
        self._folder.cleanup()

    def run(self, nb_man, kernel_name: str, job, timeout: float) -> None:
        """Execute a notebook of papermill's in a new kernel.

        Its sockets lie in a private folder: kernels that start together cannot take each other's port, and nothing
        listens on the network. The folder is short, since a socket's path may have about 100 characters.
        """
        from nbclient.exceptions import DeadKernelError
        from traitlets.config import Config

        log = self._log(job)
        tcp = {"transport": "tcp", "transport_encryption": "auto"}
        address = tcp if os.name == "nt" else {"transport": "ipc", "ip": str(log.with_suffix(""))}
        client = notebook_client(
            nb_man, kernel_name, job, timeout, config=Config(KernelManager=address), startup_timeout=120
        )
        started = []
        client.on_notebook_start = lambda notebook: started.append(self._limit(client.km.provisioner.process))
        with self._lock:
            self._clients[job.key] = client
        try:
            with open(log, "wb") as stderr:
                client.execute(cwd=str(job.folder), env=kernel_environment(job.findings), stderr=stderr)
        except DeadKernelError:
            raise DeadKernelError(how_ended(started[0].returncode if started else None)) from None
        finally:
            with self._lock:
                del self._clients[job.key]
            for process in started:
                _end_group(process.pid)
            close_loop()

    def _limit(self, process):
        if self._memory:
            import resource

            resource.prlimit(process.pid, resource.RLIMIT_AS, (self._memory, self._memory))
        return process

    def last_words(self, job) -> str:
        """Return the last line that the kernel itself wrote to stderr, for a kernel that never answered."""
        path = self._log(job)
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _log(self, job) -> Path:
        return Path(self._folder.name, f"{hashlib.sha256(job.key.encode()).hexdigest()[:8]}.log")

    def kill(self, folder: Path) -> None:
        """Kill the kernels that work in `folder`; the threads that wait for them then end with "kernel died"."""
        with self._lock:
            managers = [c.km for key, c in self._clients.items() if c.km is not None and Path(key).parent == folder]
        for manager in managers:
            process = getattr(manager.provisioner, "process", None)
            if process is not None and process.poll() is None:
                process.kill()


def _end_group(pid: int) -> None:
    """Kill what a kernel started and left."""
    if os.name != "nt":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def notebook_client(nb_man, kernel_name: str, job, timeout: float, **options):
    """Return papermill's client for a notebook, which reports to the job's ledger."""
    from papermill.clientwrap import PapermillNotebookClient

    return PapermillNotebookClient(
        nb_man,
        kernel_name=kernel_name,
        timeout=timeout,
        record_timing=False,
        log=logging.getLogger("papermill"),
        coalesce_streams=True,
        shutdown_kernel="immediate",
        on_cell_execute=job.ledger.note_start,
        on_cell_executed=job.ledger.note_reply,
        **options,
    )


def _engine():
    """Return the engine class; papermill must have been imported."""
    from papermill.engines import NBClientEngine

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, *, job, timeout, **papermills_own):
            job.notebook = nb_man.nb
            job.engine.run(nb_man, kernel_name, job, timeout)

    return Engine


def close_loop() -> None:
    """End what a dead kernel left waiting in this thread's event loop, and close it."""
    from jupyter_core.utils import ensure_event_loop

    loop = ensure_event_loop()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
