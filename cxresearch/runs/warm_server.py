"""The process that is forked for each notebook, imported by multiprocessing's fork server: it imports, never computes.

A process that has used OpenMP or joblib hangs when it is forked; one that has only imported them, and has one thread,
does not. So libraries are imported and ipykernel's shell is made here, and each kernel runs in a fork.
"""

import asyncio
import atexit
import ctypes
import gc
import importlib
import os
import signal
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

from ipykernel.compiler import XCachingCompiler
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.application import BaseIPythonApplication

# What the project's notebooks import, directly or through this package, at any point.
LIBRARIES = (
    "numpy", "pandas", "pandas.io.formats.style", "scipy.stats", "scipy.optimize", "pyarrow.parquet", "duckdb",
    "yaml", "pydantic", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "matplotlib.backends.backend_agg",
    "seaborn", "sklearn.cluster", "sklearn.linear_model", "sklearn.metrics", "sklearn.mixture",
    "sklearn.model_selection", "threadpoolctl", "IPython.display", "pyarrow.csv", "pyarrow.pandas_compat",
    "pandas.core.reshape.reshape", "pandas.io.formats.html", "pandas.io.formats.string", "pandas.io.formats.csvs",
    "pandas.core.methods.to_dict", "PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.JpegImagePlugin",
    "PIL.PpmImagePlugin", "contourpy", "tornado.platform.asyncio", "cxresearch.privacy.suppression",
)  # fmt: skip
# Not while warming: polars starts threads when some library asks whether it is there; the debugger takes half a second.
LEFT_OUT = ("polars", "debugpy")
NO_HISTORY = "--HistoryManager.hist_file=:memory:"  # a file would be written by a thread
SET_SUBREAPER, SET_DEATH_SIGNAL = 36, 1


class WarmApp(IPKernelApp):
    """ipykernel's application in two halves: the shell before the fork, sockets and threads after it."""

    def prepare(self) -> None:
        BaseIPythonApplication.initialize(self, [NO_HISTORY])
        self.init_pdb()
        made = {"parent": self, "profile_dir": self.profile_dir, "compiler_class": XCachingCompiler}
        self.early = ZMQInteractiveShell.instance(**made)

    def serve(self, connection_file: str) -> None:
        """Do the rest of `initialize`, and serve until the kernel is told to end."""
        asyncio.set_event_loop(asyncio.new_event_loop())
        self.parent_handle = 1  # it has a parent, which is not to be looked for: the server ends its forks
        self.connection_file = connection_file
        self.init_connection_file()
        self.init_sockets()
        self.init_heartbeat()
        self.write_connection_file()
        self.log_connection_info()
        self.early.init_environment()
        self.init_io()
        self.init_signal()
        self.init_kernel()  # which takes the shell that there is
        self.early.kernel = self.early.parent = self.kernel
        self.init_path()
        self.init_shell()
        self.init_gui_pylab()
        self.init_extensions()
        self.init_code()
        sys.stdout.flush()
        sys.stderr.flush()
        self.start()


@dataclass(frozen=True)
class Order:
    """What a fork becomes; multiprocessing calls `_bootstrap` of the object that it is sent."""

    connection_file: str
    environment: dict[str, str]
    folder: str
    umask: int

    def _bootstrap(self, parent_sentinel: int) -> int:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
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
        import numpy as np

        np.random.seed()  # or all forks would draw the same; Python's own generator is seeded anew by os.fork
        WarmApp.instance().serve(self.connection_file)
        return 0


def warm_up() -> None:
    """Import what notebooks import and make the shell; raise unless that left a single thread."""
    sys.path = [p for p in sys.path if p != ""]  # the application puts it in front, as for a kernel
    sys.argv = [str(Path(importlib.import_module("ipykernel").__file__).parents[1] / "ipykernel_launcher.py")]
    sys.modules.update(dict.fromkeys(LEFT_OUT))
    app = WarmApp.instance()
    app.prepare()
    with app.early.builtin_trap:  # pandas chooses its display options at import by whether there is a kernel's shell
        import_all()
    for name in LEFT_OUT:
        del sys.modules[name]
    if (threads := len(os.listdir("/proc/self/task"))) != 1:
        raise RuntimeError(f"it has {threads} threads after importing")
    prctl(SET_SUBREAPER, 1)  # processes that a notebook leaves behind come here and are ended
    warnings.filterwarnings("ignore", "forkserver: waitpid")
    atexit.register(_end)
    gc.collect()
    gc.freeze()


def import_all() -> None:
    """Import the libraries and every public name of this package."""
    import cxresearch

    for name in LIBRARIES:
        with suppress(Exception):  # it fails again, and is told, in the notebook that needs it
            importlib.import_module(name)
    for name in cxresearch.__all__:
        with suppress(Exception):
            getattr(cxresearch, name)


def end_children(of: int | str = "self", *, but: frozenset[int] = frozenset()) -> None:
    """Kill the children of a process and their groups, except some and what is in the sessions of these.

    What an orphan started becomes an orphan in its turn, so this goes on until there is none.
    """
    seen: set[int] = set()
    while new := _children(of) - but - seen:
        for pid in new:
            seen.add(pid)
            with suppress(OSError):
                if os.getsid(pid) not in but:
                    kill_group(pid)
        time.sleep(0.001)


def _end() -> None:
    end_children()
    os._exit(0)  # what a library says when it is taken down is nobody's to read


def kill_group(pid: int) -> None:
    """Kill a process and its group, which may not be made yet."""
    for kill in (os.killpg, os.kill):
        with suppress(OSError):
            kill(pid, signal.SIGKILL)


def _children(of: int | str) -> set[int]:
    try:
        tasks = Path(f"/proc/{of}/task").iterdir()
        return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
    except OSError:  # a kernel built without this list; there it stays with the group
        return set()


def prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if os.environ.pop("CXRESEARCH_WARM_UP", None):  # only in the fork server
    warm_up()
