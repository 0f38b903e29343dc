"""Warm kernels: a provisioner of jupyter_client whose kernels are forks of a process that has imported everything.

papermill, nbclient, nbval and JupyterLab use it under the name ``cxresearch-warm``; a kernel that a fork cannot stand
in for is started as ever. The process, multiprocessing's fork server, imports libraries and makes ipykernel's shell. It
computes nothing: one that has used OpenMP or joblib hangs when it is forked, one that has one thread does not.
"""

import asyncio
import atexit
import ctypes
import gc
import importlib
import os
import pickle
import re
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections import namedtuple
from contextlib import suppress
from functools import partial, partialmethod
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from queue import Empty

from ipykernel.compiler import XCachingCompiler
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.provisioning import LocalProvisioner

import cxresearch

NAME = "cxresearch-warm"  # of the entry point
CHOICE = "CXRESEARCH_EXECUTION"  # "kernel" in the environment asks for ordinary kernels
NO_HISTORY = "--HistoryManager.hist_file=:memory:"  # a file would be written by a thread
SAME_EVERYWHERE = {  # the environment in which a notebook's outputs are the same
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
# of the server; pyarrow's memory would be tidied by a thread, the debugger would say that frozen modules have no breakpoints
QUIET = {"JE_ARROW_MALLOC_CONF": "background_thread:false", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
AT_START = SAME_EVERYWHERE | QUIET | {"CXRESEARCH_WARM_UP": "1"}
LIBRARIES = (  # what the project's notebooks import at any point, beside what this package imports
    "pandas.io.formats.style", "pandas.io.formats.html", "pandas.io.formats.string", "pandas.io.formats.csvs",
    "pandas.core.reshape.reshape", "pandas.core.methods.to_dict", "pyarrow.parquet", "pyarrow.csv",
    "pyarrow.pandas_compat", "matplotlib_inline.backend_inline", "matplotlib.backends.backend_agg", "contourpy",
    "PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PpmImagePlugin", "tornado.platform.asyncio",
    "pyarrow.vendored.version", "encodings.utf_8_sig", "statsmodels.genmod.generalized_linear_model",
    "statsmodels.duration.survfunc", "formulaic", "ipykernel.debugger", "sklearn.feature_extraction.text",
)  # fmt: skip


class Client(AsyncKernelClient):
    """A client that is ready when outputs of its kernel come through; jupyter_client's, when none has come for 0.2 s."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        end = time.monotonic() + (timeout or float("inf"))
        while await self.is_alive() and time.monotonic() < end:
            asked, heard = self.kernel_info(), None
            with suppress(Empty):
                self._handle_kernel_info_reply(await self.shell_channel.get_msg(timeout=1))
                while heard != (asked, "idle"):
                    told = await self.iopub_channel.get_msg(timeout=0.2)
                    heard = told["parent_header"].get("msg_id"), told["content"].get("execution_state")
                return
        raise RuntimeError("the kernel did not answer")


class WarmProvisioner(LocalProvisioner):
    """Forks a kernel where that is safe; starts one anywhere else."""

    async def launch_kernel(self, cmd: list[str], **kwargs):
        if not may_fork(cmd):
            return await super().launch_kernel(cmd, **kwargs)
        environment = {k: v for k, v in (kwargs.get("env") or os.environ).items() if k != "JPY_PARENT_PID"}
        told = re.search(rb"^Umask:\s*(\d+)", Path("/proc/self/status").read_bytes(), re.M)  # not in every sandbox
        umask = int(told[1] if told else b"22", 8)
        order = Order(cmd[cmd.index("-f") + 1], environment, str(kwargs.get("cwd") or os.getcwd()), umask)
        files = [stream.fileno() if (stream := kwargs.get(name)) else fd for fd, name in ((1, "stdout"), (2, "stderr"))]
        try:
            self.process = await asyncio.to_thread(SERVERS.start, order, files)
        except (OSError, EOFError):
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid
        if self.parent.client_factory is AsyncKernelClient:
            self.parent.client_factory = Client
        while not self.listens() and self.process.poll() is None:  # who connects earlier loses 0.2 s
            await asyncio.sleep(0.004)
        return self.connection_info

    def listens(self) -> bool:
        """Return whether the last of a kernel's sockets, its heartbeat's, is there."""
        if self.connection_info["transport"] == "ipc":
            return Path("{ip}-{hb_port}".format(**self.connection_info)).exists()
        with suppress(OSError), socket.create_connection([self.connection_info[k] for k in ("ip", "hb_port")]):
            return True
        return False

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Wait for a fork's end, which comes soon: a kernel's manager looks for it every tenth of a second."""
        end = time.monotonic() + 0.1
        while isinstance(self.process, Fork) and self.process.poll() is None and time.monotonic() < end:
            await asyncio.sleep(0.004)


def may_fork(command: list[str]) -> bool:
    """Return whether a fork can stand in for a kernel: this interpreter's own, on Linux, with nothing to start up."""
    if os.environ.get(CHOICE) == "kernel" or not (sys.platform == "linux" and hasattr(os, "pidfd_open")):
        return False
    profile = Path(os.environ.get("IPYTHONDIR", "~/.ipython"), "profile_default").expanduser()
    if any(profile.glob("startup/*.*py")) or any(profile.glob("ipython*_config.*")):
        return False  # only a new kernel reads them
    words = [w for w in command if w not in ("-Xfrozen_modules=off", NO_HISTORY)]
    return words[0] == sys.executable and words[1:4] == ["-m", "ipykernel_launcher", "-f"] and len(words) == 5


class _Servers:
    """The fork servers of this process, one for each state of the package: edited code is never stale."""

    def __init__(self):
        self.lock = threading.Lock()
        self.servers: dict[tuple, forkserver.ForkServer] = {}
        self.living: set[int] = set()

    def warm_up(self) -> forkserver.ForkServer:
        """Return the server of the package as it is now; where there is none, it starts and imports by itself."""
        with self.lock:
            source = sorted(p for p in Path(cxresearch.__file__).parent.rglob("*") if p.suffix in (".py", ".toml"))
            state = tuple((str(p), (found := p.stat()).st_size, found.st_mtime_ns) for p in source)
            server = self.servers.setdefault(state, forkserver.ForkServer())
            pid = server._forkserver_pid
            if pid and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return server
            server.set_forkserver_preload([__name__])
            before = {name: os.environ.pop(name, None) for name in AT_START}
            os.environ.update(AT_START)
            # The server shares this terminal: Ctrl-C while it imports is for this process to tell of. The tracker would
            # unblock the signal as it starts, so it starts before.
            resource_tracker.ensure_running()
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                server.ensure_running()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                for name in AT_START:
                    os.environ.pop(name)
                os.environ.update({name: value for name, value in before.items() if value is not None})
            return server

    def start(self, order: "Order", files: list[int]) -> "Fork":
        """Fork a kernel; raise `OSError` or `EOFError` if that cannot be done."""
        server = self.warm_up()
        with self.lock:
            sentinel, orders = server.connect_to_new_process(files)
            with open(orders, "wb") as file:
                pickle.dump({}, file)  # multiprocessing would prepare the fork as its own
                pickle.dump(order, file)
            fork = Fork(server._forkserver_pid, forkserver.read_signed(sentinel), sentinel)
            self.living.add(fork.pid)
            return fork


SERVERS = _Servers()


class Fork:
    """A forked kernel, with what jupyter_client asks of a `subprocess.Popen`."""

    stdin = stdout = stderr = returncode = None

    def __init__(self, server: int, pid: int, sentinel: int):
        self.server, self.pid, self.sentinel, self.lock = server, pid, sentinel, threading.Lock()

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit status, None while the kernel lives; what it started ends with it."""
        with self.lock:  # a run that is broken off asks as its notebook's thread does
            if self.sentinel is not None and select.select([self.sentinel], [], [], timeout)[0]:
                try:
                    self.returncode = forkserver.read_signed(self.sentinel)
                except (OSError, EOFError):  # the server has ended, and its forks with it
                    self.returncode = -signal.SIGKILL
                os.close(self.sentinel)
                self.sentinel = None
                _kill_group(self.pid)
                with SERVERS.lock:  # none is being forked that is not known yet
                    SERVERS.living.discard(self.pid)
                    _end_children(self.server, but=frozenset(SERVERS.living))
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    poll = partialmethod(wait, 0)
    kill = partialmethod(send_signal, signal.SIGKILL)
    terminate = partialmethod(send_signal, signal.SIGTERM)


def _end_children(of: int | str = "self", *, but: frozenset[int] = frozenset()) -> None:
    """Kill the children of a process and what become its children by that, but some and what is in their sessions."""
    seen = set(but)
    lists = Path(f"/proc/{of}/task")
    with suppress(OSError):  # a kernel built without them; there an orphan stays with its group
        while new := {int(pid) for file in lists.glob("*/children") for pid in file.read_text().split()} - seen:
            seen |= new
            for pid in new:
                with suppress(OSError):
                    if os.getsid(pid) not in but:
                        _kill_group(pid)
            time.sleep(0.001)


def _kill_group(pid: int) -> None:
    """Kill a process and its group, which may not be made yet."""
    for kill in (os.killpg, os.kill):
        with suppress(OSError):
            kill(pid, signal.SIGKILL)


# in the server, and in its forks
class Order(namedtuple("Order", "connection_file environment folder umask")):
    """What a fork becomes; multiprocessing calls `_bootstrap` of the object that it is sent."""

    def _bootstrap(self, parent_sentinel: int) -> int:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        for number, fd in enumerate(forkserver.get_inherited_fds(), start=1):
            os.dup2(fd, number)
            os.close(fd)
        os.close(forkserver._forkserver._forkserver_alive_fd)  # or the server would outlive who started it
        forkserver._forkserver.__init__()  # a notebook has a fork server of its own
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
        os.umask(self.umask)
        tempfile.tempdir = None
        time.tzset()
        atexit.unregister(_end)
        sys.modules["numpy"].random.seed()  # or all forks would draw the same; `os.fork` seeds Python's own anew
        asyncio.set_event_loop(asyncio.new_event_loop())
        app, shell = IPKernelApp.instance(), ZMQInteractiveShell.instance()
        app.parent_handle = 1  # it has a parent, which is not to be looked for: the server ends its forks
        app.connection_file = self.connection_file
        shell.init_environment()
        app.initialize([NO_HISTORY])  # which takes the shell that there is
        shell.kernel = shell.parent = app.kernel
        app.start()
        return 0


def _warm_up() -> None:
    """Import what notebooks import and make the shell; raise unless that left a single thread."""
    gc.disable()  # nothing that is imported is garbage
    sys.path = [p for p in sys.path if p != ""]  # the application puts it in front, as for a kernel
    sys.argv = [str(Path(importlib.import_module("ipykernel").__file__).parents[1] / "ipykernel_launcher.py")]
    sys.modules["polars"] = None  # which starts threads as soon as a library asks whether it is there
    app = IPKernelApp.instance()
    super(IPKernelApp, app).initialize([NO_HISTORY])  # without sockets and a kernel
    app.init_pdb()
    shell = ZMQInteractiveShell.instance(parent=app, profile_dir=app.profile_dir, compiler_class=XCachingCompiler)
    with shell.builtin_trap:  # pandas chooses its display options at import by whether there is a kernel's shell
        import_all()
    del sys.modules["polars"]
    if (threads := len(os.listdir("/proc/self/task"))) != 1:
        raise RuntimeError(f"it has {threads} threads after importing")
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what notebooks leave is ended here
    warnings.filterwarnings("ignore", "forkserver: waitpid")
    atexit.register(_end)
    gc.collect()
    gc.freeze()
    gc.enable()


def import_all() -> None:
    """Import every public name of this package, and the libraries."""
    for load, names in ((partial(getattr, cxresearch), cxresearch.__all__), (importlib.import_module, LIBRARIES)):
        for name in names:
            with suppress(Exception):  # it fails again, and is told, in the notebook that needs it
                load(name)


def _end() -> None:
    _end_children()
    os._exit(0)  # what a library says when it is taken down is nobody's to read


if os.environ.pop("CXRESEARCH_WARM_UP", None):  # only in the fork server
    _warm_up()
