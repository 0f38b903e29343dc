"""Execute notebooks, some at a time, each in a kernel of its own, and say what became of them.

papermill takes environment, working folder and log from its process; here each notebook has its own, so that they run
side by side in one. Its kernel is warm where that is safe (`cxresearch.runs.warm`).
"""

import asyncio
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import cxresearch
from cxresearch.findings import RUN_FOLDER
from cxresearch.privacy import environment_of_run
from cxresearch.runs.notebooks import STUDY, without_slow_grammar
from cxresearch.runs.page import ANSI
from cxresearch.runs.plan import Task
from cxresearch.runs.record import FAILED, OK
from cxresearch.runs.warm import NAME, SAME_EVERYWHERE, SERVERS

ENGINE = "cxresearch"
LEFT_OUT = ("papermill", "execution")  # metadata with clocks and paths
ERROR_MARKER = "papermill-error-cell-tag"
INJECTED = "injected-parameters"
BEFORE = r"(^|[^\w/.~…-]|\x1b\[[0-9;]*m)"  # where a path may begin: not within another; after a colour code
# The file name IPython gives a cell, which holds a process id. Looked for only where a word begins: lines may be long.
CELL_FILE = re.compile(r"(?<![^\s\"'(])[^\s\"'(]*ipykernel_\d+[/\\]\d+\.py")
LOOKS = 0.2  # seconds between two looks at a kernel: its death is known at once


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook: ``ok``, ``failed`` or ``skipped``, with the reason in one line unless it is ok.

    `notebook` is as executed, None where it was skipped; of a failed one `cell` is the place of the failing cell, from 1,
    `error` the name of the class of what that raised. `seconds` are those of the whole notebook, start included.
    """

    task: Task
    status: str
    reason: str | None = None
    notebook: object = None
    cell: int | None = None
    traceback: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.task.name


@dataclass
class Ledger:
    """What really ran, by the kernel's own replies, cell by cell.

    papermill marks every cell "completed" when a kernel dies, and takes ``sys.exit(0)`` for success.
    """

    started: set[int] = field(default_factory=set)
    replies: dict[int, dict] = field(default_factory=dict)

    def note_start(self, cell, cell_index) -> None:
        self.started.add(cell_index)

    def note_reply(self, cell, cell_index, execute_reply) -> None:
        self.replies[cell_index] = execute_reply["content"]

    def outcome(self, task: Task, notebook, problem: Exception | None, *, timeout: float, last_words: str) -> Outcome:
        """Return what became of a notebook by its first cell that did not run without error to its end."""
        for place, cell in enumerate(notebook.cells, start=1):
            if cell.cell_type == "code" and cell.source.strip():
                reply = self.replies.get(place - 1, {})
                if reply.get("status") != "ok":
                    reason, more = self._why(reply, problem, timeout, last_words)
                    where = {"reason": f"cell {place}: {reason}", "cell": place} if self.started else {"reason": reason}
                    return Outcome(task, FAILED, notebook=notebook, **where, **more)
        return Outcome(
            task, FAILED if problem else OK, problem and f"after the last cell: {one_line(problem)}", notebook
        )

    def _why(self, reply: dict, problem, timeout: float, last_words: str) -> tuple[str, dict]:
        error, kind = reply.get("ename"), type(problem).__name__
        lines = ANSI.sub("", "\n".join(reply.get("traceback", ()))).splitlines()
        raised = reply and error != "SystemExit"
        reasons = (
            (raised, one_line(f"{error}: {reply.get('evalue')}")),
            (reply, "left the notebook early (sys.exit); the cells after it did not run"),
            (not self.started, f"the kernel did not start: {last_words or one_line(problem)}"),
            (kind == "CellTimeoutError", f"took longer than the {timeout:g} s a cell may take (--timeout)"),
            (kind == "DeadKernelError", f"the kernel died in this cell: {problem}"),
            (problem, f"did not run: {one_line(problem)}"),
            (True, "did not run"),
        )
        reason = next(reason for so, reason in reasons if so)
        return reason, {"traceback": tuple(lines), "error": error} if raised else {}


def one_line(problem) -> str:
    """Return the first line of a message."""
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__


def how_ended(status: int | None) -> str:
    """Return a process's exit status in words; negative is a signal, None is not known."""
    if status is None or status == -signal.SIGKILL:
        return "killed, or out of memory"
    return signal.Signals(-status).name if status < 0 else f"it left with exit status {status}"


# --- what must not stay in an executed notebook ----------------------------------------------------------------------


@dataclass(frozen=True)
class Places:
    """Folders whose names must not stay in an output."""

    folder: Path
    study: Path

    def hide(self, text: str) -> str:
        """Return `text` with these folders, the project's, Python's and the user's home named without their place."""
        words = {self.folder: ".", self.study.parent: STUDY, Path(cxresearch.__file__).parents[1]: "…"}
        words |= {Path(sys.prefix): "…", Path.home(): "~"}
        if "ipykernel_" in text:  # a plain search first: outputs may be long
            text = CELL_FILE.sub("cell", text)
        for path, word in words.items():
            if len(path.parts) > 1 and str(path) in text:  # a home of "/" would turn every path
                text = re.sub(rf"{BEFORE}{re.escape(str(path))}(?![\w-])", rf"\g<1>{word}", text)
        return text


def clean(notebook, task: Task, places: Places) -> None:
    """Take out of an executed notebook what differs between two runs of the same thing, or names this machine."""
    notebook.cells = [c for c in notebook.cells if ERROR_MARKER not in c.metadata.get("tags", [])]
    notebook.metadata.get("language_info", {}).pop("version", None)
    for part in (notebook, *notebook.cells):
        for name in LEFT_OUT:
            part.metadata.pop(name, None)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if INJECTED in tags:
            cell["id"] = f"{re.sub(r'[^A-Za-z0-9_-]', '-', task.name)[:40]}-{INJECTED}"
        elif not tags:
            cell.metadata.pop("tags", None)  # papermill gives every cell an empty list
        if cell.cell_type == "code":
            cell.outputs = _hidden(cell.outputs, places)


def _hidden(value, places: Places):
    if isinstance(value, str):
        return places.hide(value)
    if isinstance(value, list):
        return [_hidden(v, places) for v in value]
    if isinstance(value, dict):
        return type(value)({k: v if k.startswith("image/") else _hidden(v, places) for k, v in value.items()})
    return value


# --- where notebooks are executed --------------------------------------------------------------------------------------


class Pool:
    """Executes notebooks, `jobs` at a time (by default one for each core). Threads and runs may share one."""

    def __init__(self, jobs: int | None = None):
        self.jobs = jobs or cores()
        self._folder = tempfile.TemporaryDirectory(prefix="cxr-", ignore_cleanup_errors=True)
        self._places = threading.BoundedSemaphore(self.jobs)
        self._clients: dict[object, Path] = {}  # client -> folder
        self._stopped: set[Path] = set()
        SERVERS.warm_up()
        self._papermill = import_papermill()  # once, before threads would import it side by side

    def __enter__(self):
        return self

    def __exit__(self, *raised) -> None:
        self._folder.cleanup()

    def execute(self, task: Task, study: Path, folder: Path, *, timeout: float, lent: dict | None = None) -> Outcome:
        """Execute one notebook in `folder`, where its copy goes; blocks until one of the pool's places is free.

        `lent` is the environment by which its kernel finds the tables of the run.
        """
        with self._places:
            if folder in self._stopped:
                raise RuntimeError(f"the run in {folder.name} was stopped")
            began, ledger, made, problem = time.monotonic(), Ledger(), [task.notebook], None
            log = Path(tempfile.mkdtemp(dir=self._folder.name), "log")
            given = {STUDY: study_from(folder, study), **task.given}
            saving = {"progress_bar": False, "request_save_on_cell_execute": False, "autosave_cell_every": 0}

            def run(nb_man, kernel_name: str) -> None:
                made[0] = nb_man.nb
                ours = {RUN_FOLDER: str(folder / "findings" / task.name), **SAME_EVERYWHERE, **environment_of_run()}
                self._run(nb_man, kernel_name, ledger, folder, {**os.environ, **ours, **(lent or {})}, log, timeout)

            try:
                self._papermill.execute_notebook(task.notebook, None, given, engine_name=ENGINE, run=run, **saving)
            except Exception as error:
                problem = error
            places = Places(folder, study)
            clean(made[0], task, places)
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
            last_words = next(
                (line.strip() for line in reversed(lines) if line.strip()), ""
            )  # of one that never answered
            outcome = ledger.outcome(task, made[0], problem, timeout=timeout, last_words=last_words)
            return replace(_stored(outcome, folder, places), seconds=time.monotonic() - began)

    def _run(
        self, nb_man, kernel_name: str, ledger: Ledger, folder: Path, environment: dict, log: Path, timeout
    ) -> None:
        """Execute a notebook of papermill's in a new kernel.

        Its sockets lie in a private folder: kernels that start together cannot take each other's port, and nothing
        listens on the network. The folder is short, since a socket's path may have about 100 characters.
        """
        from nbclient.exceptions import DeadKernelError
        from traitlets.config import Config

        tcp = {"transport": "tcp", "transport_encryption": "auto"}
        address = tcp if os.name == "nt" else {"transport": "ipc", "ip": str(log.with_name("k"))}
        client = _client()(
            nb_man,
            kernel_name=kernel_name,
            timeout=timeout,
            startup_timeout=120,
            record_timing=False,
            log=logging.getLogger("papermill"),
            coalesce_streams=True,
            shutdown_kernel="immediate",
            on_cell_execute=ledger.note_start,
            on_cell_executed=ledger.note_reply,
            config=Config(KernelManager=address),
        )
        started: list = []
        client.on_notebook_start = lambda notebook: started.append(client.km.provisioner.process)
        self._clients[client] = folder
        try:
            with open(log, "wb") as stderr:
                client.execute(cwd=str(folder), env=environment, stderr=stderr)
        except DeadKernelError:
            raise DeadKernelError(how_ended(started[0].returncode if started else None)) from None
        finally:
            del self._clients[client]
            for process in started:
                with suppress(OSError, AttributeError):  # what it started and left; there are no groups on Windows
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            close_loop()

    def stop(self, folder: Path) -> None:
        """Kill what works in `folder` and start nothing more there; other runs in this pool go on."""
        self._stopped.add(folder)
        for client, place in list(self._clients.items()):
            process = getattr(getattr(client.km, "provisioner", None), "process", None)
            if place == folder and process is not None and process.poll() is None:
                process.kill()


def _client():
    """Return papermill's client, which looks more often whether its kernel lives."""
    from nbclient.exceptions import DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient

    class Client(PapermillNotebookClient):
        async def _async_poll_kernel_alive(self) -> None:
            with suppress(DeadKernelError):
                while True:
                    await asyncio.sleep(LOOKS)
                    await self._async_check_alive()
            self.task_poll_for_reply.cancel()

    return Client


def import_papermill():
    """Return papermill with our engine registered, and warm kernels chosen."""
    with without_slow_grammar():
        import papermill
        from papermill.engines import NBClientEngine, papermill_engines
    from jupyter_client.provisioning import KernelProvisionerFactory

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, *, run, **papermills_own):
            run(nb_man, kernel_name)

    papermill_engines.register(ENGINE, Engine)
    logging.getLogger("papermill").setLevel(logging.CRITICAL + 1)  # what goes wrong is told by the ledger
    KernelProvisionerFactory.instance().default_provisioner_name = NAME
    return papermill


def close_loop() -> None:
    """End what a dead kernel left waiting in this thread's event loop, and close it."""
    from jupyter_core.utils import ensure_event_loop

    loop = ensure_event_loop()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()


def _stored(outcome: Outcome, folder: Path, places: Places) -> Outcome:
    """Store the executed notebook and return its outcome; one that cannot be stored failed, and the others go on."""
    import nbformat

    task, trouble = outcome.task, None
    findings, copy = folder / "findings" / task.name, folder / f"{task.name}.ipynb"
    if task.headline and not (findings / f"{task.headline}.json").is_file():
        trouble = f"it saved no finding named {task.headline!r}, which its metadata names as the headline"
    try:
        nbformat.write(outcome.notebook, copy)
    except OSError as problem:
        copy.unlink(missing_ok=True)
        trouble = trouble or f"its executed notebook cannot be stored: {problem.strerror}"
    if outcome.status == OK and not trouble:
        return outcome
    shutil.rmtree(findings, ignore_errors=True)  # those of half a notebook must not be read as those of a whole one
    reason, traceback = places.hide(outcome.reason or trouble), tuple(map(places.hide, outcome.traceback))
    return replace(outcome, status=FAILED, reason=reason, traceback=traceback)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def study_from(folder: Path, study: Path) -> str:
    """Return the path of the study relative to the run's folder, so that an executed notebook runs again in place."""
    return Path(os.path.relpath(study, folder.resolve())).as_posix()
