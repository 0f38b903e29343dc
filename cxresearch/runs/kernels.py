"""papermill's engine with an environment, a working folder and a ledger for each notebook, so that notebooks can run
side by side in one process. (papermill itself takes all three from the process.)
"""

import asyncio
import hashlib
import logging
import os
import tempfile
import threading
from pathlib import Path

from cxresearch.findings import RUN_FOLDER
from cxresearch.privacy import environment_of_run
from cxresearch.runs.notebooks import without_slow_grammar

ENGINE = "cxresearch"
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


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
    """The kernels of a run: their sockets, their logs, and those alive, so that an interrupted run leaves none."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="cxr-", ignore_cleanup_errors=True)
        self._clients: set = set()
        self._lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *raised) -> None:
        self._folder.cleanup()

    def address(self, name: str) -> dict[str, str]:
        """Return jupyter_client's settings for the kernel of notebook `name`.

        Sockets in a private folder: kernels that start together cannot take each other's port, and nothing listens on
        the network. The folder is short, since a socket's path may have about 100 characters.
        """
        if os.name == "nt":
            return {"transport": "tcp", "transport_encryption": "auto"}
        return {"transport": "ipc", "ip": str(self.log(name).with_suffix(""))}

    def log(self, name: str) -> Path:
        """Return the file for what the kernel itself writes to stderr."""
        return Path(self._folder.name, f"{hashlib.sha256(name.encode()).hexdigest()[:8]}.log")

    def last_words(self, name: str) -> str:
        """Return the last line of that file, for a kernel that never answered."""
        path = self.log(name)
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def add(self, client) -> None:
        with self._lock:
            self._clients.add(client)

    def remove(self, client) -> None:
        with self._lock:
            self._clients.discard(client)

    def kill(self) -> None:
        """Kill every kernel; the threads that wait for them then end with "kernel died"."""
        with self._lock:
            provisioners = [c.km.provisioner for c in self._clients if c.km is not None]
        for provisioner in provisioners:
            process = getattr(provisioner, "process", None)
            if process is not None and process.poll() is None:
                process.kill()


def _engine():
    """Return the engine class; papermill must have been imported."""
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine
    from traitlets.config import Config

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, *, job, timeout, **papermills_own):
            client = PapermillNotebookClient(
                nb_man,
                kernel_name=kernel_name,
                timeout=timeout,
                startup_timeout=120,
                record_timing=False,
                log=logging.getLogger("papermill"),
                coalesce_streams=True,
                shutdown_kernel="immediate",
                on_cell_execute=job.ledger.note_start,
                on_cell_executed=job.ledger.note_reply,
                config=Config(KernelManager=job.kernels.address(job.name)),
            )
            job.notebook = nb_man.nb
            job.kernels.add(client)
            try:
                with open(job.kernels.log(job.name), "wb") as log:
                    client.execute(cwd=str(job.folder), env=kernel_environment(job.findings), stderr=log)
            finally:
                job.kernels.remove(client)
                _close_loop()

    return Engine


def _close_loop() -> None:
    """End what a dead kernel left waiting in this thread's event loop, and close it."""
    from jupyter_core.utils import ensure_event_loop

    loop = ensure_event_loop()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
