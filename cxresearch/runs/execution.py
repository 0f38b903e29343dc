"""Execute notebooks, some at a time, each in a kernel of its own, and say what became of them: here, or on a Dask cluster.

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
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache, partial
from pathlib import Path

import cxresearch
from cxresearch.errors import StudyProblem
from cxresearch.findings import RUN_FOLDER
from cxresearch.privacy import environment_of_run
from cxresearch.runs.folder import package_digest
from cxresearch.runs.notebooks import STUDY, import_lightly
from cxresearch.runs.page import ANSI
from cxresearch.runs.plan import Task
from cxresearch.runs.record import FAILED, OK, NotebookEntry
from cxresearch.runs.warm import NAME, SAME_EVERYWHERE, SERVERS
from cxresearch.study.narrow import reference_to, split_reference

ENGINE = "cxresearch"
QUIETLY = {"progress_bar": False, "request_save_on_cell_execute": False, "autosave_cell_every": 0}
LEFT_OUT = ("papermill", "execution")  # metadata with clocks and paths
ERROR_MARKER, INJECTED = "papermill-error-cell-tag", "injected-parameters"  # tags of cells that papermill adds
BEFORE = r"(^|[^\w/.~…-]|\x1b\[[0-9;]*m)"  # where a path may begin: not within another; after a colour code
# The file name IPython gives a cell, which holds a process id. Looked for only where a word begins: lines may be long.
CELL_FILE = re.compile(r"(?<![^\s\"'(])[^\s\"'(]*ipykernel_\d+[/\\]\d+\.py")
LOOKS = 0.2  # seconds between two looks at a kernel: its death is known at once
OF_CLIENT = {"startup_timeout": 120, "record_timing": False, "coalesce_streams": True, "shutdown_kernel": "immediate"}
OF_CLIENT["log"] = logging.getLogger("papermill")
OF_CLIENT["log"].setLevel(logging.CRITICAL + 1)  # what goes wrong is told by the replies
RETRIES, PATIENCE = 3, 20  # of a cluster: where a worker is lost; seconds in which its scheduler must answer


class Pool(AbstractContextManager):
    """Executes notebooks, `jobs` at a time (by default one for each core). Threads and runs may share one."""

    def __init__(self, jobs: int | None = None):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.jobs = jobs or cores
        self._folder = tempfile.TemporaryDirectory(prefix="cxr-", ignore_cleanup_errors=True)
        self._places = threading.BoundedSemaphore(self.jobs)
        self._clients: dict[object, Path] = {}  # client -> folder
        SERVERS.warm_up()
        self._execute, self._client = _papermill()  # once, before threads would import it side by side

    def __exit__(self, *raised) -> None:
        self._folder.cleanup()

    def execute(self, task: Task, study: Path, folder: Path, *, timeout: float, lent=None) -> NotebookEntry:
        """Execute one notebook in `folder` once a place is free; `lent` is where its kernel finds the tables of the run."""
        with self._places:
            began, replies, made, problem = time.monotonic(), defaultdict(dict), [task.notebook], None
            log = Path(tempfile.mkdtemp(dir=self._folder.name), "log")

            def run(nb_man, kernel_name: str) -> None:
                made[0] = nb_man.nb
                self._run(nb_man, kernel_name, task, replies, folder, log, timeout, lent or {})

            given = {STUDY: study_from(folder, study), **task.given}
            try:
                self._execute(task.notebook, None, given, engine_name=ENGINE, run=run, **QUIETLY)
            except Exception as error:
                problem = error
            notebook = cleaned(made[0], task, hide := partial(without_places, folder=folder, study=study))
            said = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
            last_words = next((line.strip() for line in reversed(said) if line.strip()), "")  # if it never answered
            entry = became(task, notebook, replies, problem, timeout=timeout, last_words=last_words)
            _store(entry, task, folder, hide)
            entry.seconds = round(time.monotonic() - began, 2)
            return entry

    def _run(self, nb_man, kernel: str, task: Task, replies: dict, folder: Path, log: Path, timeout, lent) -> None:
        """Execute a notebook of papermill's in a kernel with sockets in a private folder: none takes another's port, nothing
        listens on the network. A socket's path may have about 100 characters."""
        from jupyter_core.utils import ensure_event_loop
        from nbclient.exceptions import DeadKernelError
        from traitlets.config import Config

        started, tcp = [], {"transport": "tcp", "transport_encryption": "auto"}
        address = tcp if os.name == "nt" else {"transport": "ipc", "ip": str(log.with_name("k"))}
        hooks = {
            "on_cell_execute": lambda cell_index, **_: replies[cell_index],  # empty while it is under way
            "on_cell_executed": lambda cell_index, **told: replies[cell_index].update(told["execute_reply"]["content"]),
            "on_notebook_start": lambda **_: started.append(client.km.provisioner.process),
        }
        hooks |= {"kernel_name": kernel, "timeout": timeout, "config": Config(KernelManager=address)}
        client = self._client(nb_man, **hooks, **OF_CLIENT)
        self._clients[client] = folder
        ours = {RUN_FOLDER: str(folder / "findings" / task.name), **SAME_EVERYWHERE, **environment_of_run(), **lent}
        try:
            with open(log, "wb") as stderr:
                client.execute(cwd=str(folder), env={**os.environ, **ours}, stderr=stderr)
        except DeadKernelError:
            raise DeadKernelError(how_ended(started[0].returncode if started else None)) from None
        finally:
            del self._clients[client]
            for process in started:
                with suppress(OSError, AttributeError):  # what it started and left; there are no groups on Windows
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            loop = ensure_event_loop()  # this thread's, in which a dead kernel left something waiting
            for waiting in (tasks := asyncio.all_tasks(loop)):
                waiting.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.close()

    def stop(self, folder: Path) -> None:
        """Kill what works in `folder`; other runs in this pool go on."""
        for client, place in list(self._clients.items()):
            process = getattr(getattr(client.km, "provisioner", None), "process", None)
            if place == folder and process is not None and process.poll() is None:
                process.kill()


@cache
def _papermill():
    """Return papermill's function for our engine and warm kernels, and a client that looks often whether its kernel lives."""
    papermill = import_lightly("papermill")
    from jupyter_client.provisioning import KernelProvisionerFactory
    from nbclient.exceptions import DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, *, run, **papermills_own):
            run(nb_man, kernel_name)

    class Client(PapermillNotebookClient):
        async def _async_poll_kernel_alive(self) -> None:
            with suppress(DeadKernelError):
                while True:
                    await asyncio.sleep(LOOKS)
                    await self._async_check_alive()
            self.task_poll_for_reply.cancel()

    papermill_engines.register(ENGINE, Engine)
    KernelProvisionerFactory.instance().default_provisioner_name = NAME
    return papermill.execute_notebook, Client


def cleaned(notebook, task: Task, hide):
    """Return an executed notebook without what differs between two runs of the same thing, or names this machine."""
    notebook.cells = [c for c in notebook.cells if ERROR_MARKER not in c.metadata.get("tags", ())]
    notebook.metadata.get("language_info", {}).pop("version", None)
    for part in (notebook, *notebook.cells):
        if INJECTED in part.metadata.get("tags", ()):
            part["id"] = f"{re.sub(r'[^A-Za-z0-9_-]', '-', task.name)[:40]}-{INJECTED}"
        part.metadata = {k: v for k, v in part.metadata.items() if k not in LEFT_OUT and (v or k != "tags")}
        if part.get("cell_type") == "code":
            part.outputs = hidden(part.outputs, hide)
    return notebook


def became(task: Task, notebook, replies: dict[int, dict], problem, *, timeout, last_words: str) -> NotebookEntry:
    """Return what became of a notebook by its first cell that did not run without error to its end.

    `replies` are the kernel's own by the place of the cell, empty where it began and did not end: papermill marks every
    cell "completed" when a kernel dies, and takes ``sys.exit(0)`` for success.
    """
    known = {"name": task.name, "reason": None, "failed_cell": None, "executed": notebook}
    code = (k for k, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip())
    failing = next((k for k in code if replies.get(k, {}).get("status") != "ok"), None)
    if failing is None:
        known["reason"] = f"after the last cell: {_one_line(problem)}" if problem else None
        return NotebookEntry(**known, status=FAILED if problem else OK)
    reply, error = replies.get(failing, {}), replies.get(failing, {}).get("ename")
    ends = {
        "CellTimeoutError": f"took longer than the {timeout:g} s a cell may take (--timeout)",
        "DeadKernelError": f"the kernel died in this cell: {problem}",
        "NoneType": "did not run",
    }
    if not replies:
        reason = f"the kernel did not start: {last_words or _one_line(problem)}"
    elif not reply:
        reason = ends.get(type(problem).__name__, f"did not run: {_one_line(problem)}")
    elif error == "SystemExit":
        reason = "left the notebook early (sys.exit); the cells after it did not run"
    else:
        reason = _one_line(f"{error}: {reply.get('evalue')}")
        lines = ANSI.sub("", "\n".join(reply.get("traceback", ()))).splitlines()
        known |= {"error": error} | ({"traceback": lines} if lines else {})
    known |= {"reason": f"cell {failing + 1}: {reason}", "failed_cell": failing + 1} if replies else {"reason": reason}
    return NotebookEntry(**known, status=FAILED)


def _one_line(problem) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]


def how_ended(status: int | None) -> str:
    """Return a process's exit status in words; negative is a signal, None is not known."""
    if status is None or status == -signal.SIGKILL:
        return "killed, or out of memory"
    return signal.Signals(-status).name if status < 0 else f"it left with exit status {status}"


def _store(entry: NotebookEntry, task: Task, folder: Path, hide) -> None:
    """Store the executed notebook; one that cannot be stored failed, and the others go on."""
    import nbformat

    findings, copy, trouble = folder / "findings" / task.name, folder / f"{task.name}.ipynb", None
    if task.headline and not (findings / f"{task.headline}.json").is_file():
        trouble = f"it saved no finding named {task.headline!r}, which its metadata names as the headline"
    try:
        nbformat.write(entry.executed, copy)
    except OSError as problem:
        copy.unlink(missing_ok=True)
        trouble = trouble or f"its executed notebook cannot be stored: {problem.strerror}"
    if entry.status == FAILED or trouble:
        shutil.rmtree(findings, ignore_errors=True)  # those of half a notebook are not to be read as those of a whole
        entry.status, entry.reason = FAILED, hide(entry.reason or trouble)
        if entry.traceback:
            entry.traceback = [hide(line) for line in entry.traceback]


def study_from(folder: Path, study: Path) -> str:
    """Return the path of the study relative to the run's folder, so that an executed notebook runs again in place."""
    return Path(os.path.relpath(study, folder.resolve())).as_posix()


def without_places(text: str, folder: Path, study: Path) -> str:
    """Return `text` with the folders of run, study, project, Python and user named without their place."""
    words = {folder: ".", study.parent: STUDY, Path(cxresearch.__file__).parents[1]: "…"}
    words |= {Path(sys.prefix): "…", Path.home(): "~"}
    if "ipykernel_" in text:  # a plain search first: outputs may be long
        text = CELL_FILE.sub("cell", text)
    for path, word in words.items():
        if len(path.parts) > 1 and str(path) in text:  # a home of "/" would turn every path
            text = re.sub(rf"{BEFORE}{re.escape(str(path))}(?![\w-])", rf"\g<1>{word}", text)
    return text


def hidden(value, hide):
    """Return what a cell put out with `hide` of every text in it but images."""
    if isinstance(value, list):
        return [hidden(v, hide) for v in value]
    if isinstance(value, dict):
        return type(value)({k: v if k.startswith("image/") else hidden(v, hide) for k, v in value.items()})
    return hide(value) if isinstance(value, str) else value


class ClusterPool(AbstractContextManager):
    """Executes notebooks on an existing Dask cluster (``tcp://host:8786``); what `Pool` is for this machine.

    Its workers must see the files that are `inputs`, not the folder of the run; without `jobs`, a notebook goes to each
    of their threads. A worker executes a notebook in a private folder from which the study is reached by the same
    relative path, and what the notebook left comes back as bytes.
    """

    def __init__(self, address: str, *, inputs: Sequence[Path], jobs: int | None = None):
        from distributed import Client

        self._files = {str(Path(f).resolve()): Path(f).stat().st_size for f in inputs}
        self._futures: dict[object, Path] = {}  # future -> folder
        try:
            self._client = Client(address, timeout=PATIENCE, name="cxresearch")
        except (OSError, ValueError) as error:
            raise StudyProblem(f"no Dask scheduler answers at {address}: {_one_line(error)}") from None
        with ExitStack() as stack:
            stack.callback(self._client.close)
            self._executor = self._client.get_executor(retries=RETRIES)
            threads = self._client.nthreads()
            self.jobs = jobs or sum(threads.values())
            found = self._client.run(trouble_there, self._files, package_digest()) if threads else {}
            wrong = [f"worker {worker} {trouble}" for worker, trouble in sorted(found.items()) if trouble]
            wrong += [] if threads else [f"the Dask scheduler at {address} has no workers; start some"]
            if wrong:
                raise StudyProblem(wrong[0])
            self._open = stack.pop_all()

    def __exit__(self, *raised) -> None:
        self._open.close()

    def execute(self, task: Task, study: Path, folder: Path, *, timeout: float, lent=None) -> NotebookEntry:
        """Execute one notebook somewhere, where no tables are lent; what it left is in `folder`."""
        asked = task, study, str(folder), timeout, self._files, package_digest()
        future = self._executor.submit(execute_there, *asked)
        self._futures[future] = folder
        try:
            entry, files = future.result()
        except Exception as error:  # the cluster gave it up: this notebook's failure; the others go on
            told = dict.fromkeys((type(error).__name__, _one_line(error)))
            reason = f"the cluster could not execute it: {': '.join(told)}"
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
    with mirrored(study, Path(folder)) as (place, moved), Pool(1) as pool:
        entry = pool.execute(task, moved, place, timeout=timeout)
        return entry, {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}


@contextmanager
def mirrored(study: Path, folder: Path):
    """Yield a private folder that reaches the study as `folder` does, and the study as seen from there: the nearest
    folder that holds both is copied as links."""
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
