"""The process that is forked for each notebook: it only imports, never computes, and has one thread.

A process that has used OpenMP or joblib hangs when it is forked; one that has only imported them does not. So libraries
are imported here, each notebook runs in a fork, and nothing but memory pages is shared.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

# What the project's notebooks import, directly or through this package, at any point.
LIBRARIES = (
    "numpy", "pandas", "pandas.io.formats.style", "scipy.stats", "scipy.optimize", "pyarrow.parquet", "duckdb",
    "yaml", "pydantic", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "matplotlib.backends.backend_agg",
    "seaborn", "sklearn.cluster", "sklearn.linear_model", "sklearn.metrics", "sklearn.mixture",
    "sklearn.model_selection", "threadpoolctl", "IPython.display", "pyarrow.csv", "pyarrow.pandas_compat",
    "pandas.core.reshape.reshape", "pandas.io.formats.html", "pandas.io.formats.string", "pandas.io.formats.csvs",
    "pandas.core.methods.to_dict", "PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.JpegImagePlugin",
    "PIL.PpmImagePlugin", "contourpy", "tornado.platform.asyncio", "cxresearch.privacy.linear",
)  # fmt: skip
# Not while warming: polars starts threads when some library asks whether it is there; the debugger takes half a second.
LEFT_OUT = ("polars", "debugpy")
SET_SUBREAPER, SET_DEATH_SIGNAL = 36, 1


def main(control: int) -> None:
    """Import, then fork on each order that comes through the socket `control`; end when it closes."""
    line = socket.socket(fileno=control)
    try:
        app = _warmed()
    except BaseException as problem:  # told to the runner, which then does without
        line.send(_json(problem=f"{type(problem).__name__}: {problem}"[:500]))
        return
    threads = count_threads()
    if threads != 1:
        line.send(_json(problem=f"it has {threads} threads after importing"))
        return
    _prctl(SET_SUBREAPER, 1)  # processes that a notebook leaves behind come here and are ended
    gc.collect()
    gc.freeze()
    line.send(_json(ready=True))
    _serve(line, app)


def _warmed():
    """Return the application of the kernel, its shell made, all that notebooks need imported."""
    from cxresearch.runs.child import PipeApp

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path = [p for p in sys.path if p != ""]  # the application puts it in front, as for a kernel
    sys.argv = [str(Path(importlib.import_module("ipykernel").__file__).parents[1] / "ipykernel_launcher.py")]
    sys.modules.update(dict.fromkeys(LEFT_OUT))
    app = PipeApp.instance()
    app.initialize(["--HistoryManager.hist_file=:memory:"])
    with app.shell.builtin_trap:  # pandas chooses its display options at import by whether there is a kernel's shell
        _import_all()
    for name in LEFT_OUT:
        del sys.modules[name]
    return app


def _import_all() -> None:
    import cxresearch

    for name in LIBRARIES:
        with suppress(Exception):  # it fails again, and is told, in the notebook that needs it
            importlib.import_module(name)
    for name in cxresearch.__all__:
        with suppress(Exception):
            getattr(cxresearch, name)


def _serve(line: socket.socket, app) -> None:
    living: set[int] = set()
    while True:
        data, fds, _, _ = socket.recv_fds(line, 1 << 16, 4)
        if not data:
            for pid in list(living):
                _reap(pid, living)
            return
        order = json.loads(data)
        if "reap" in order:
            line.send(_json(status=_reap(order["reap"], living)))
        else:
            _fork(line, app, fds, living)
            for fd in fds:
                os.close(fd)


def _fork(line: socket.socket, app, fds: list[int], living: set[int]) -> None:
    """Fork a notebook's process and send its id, and a descriptor that tells of its end."""
    threads, zygote = count_threads(), os.getpid()
    if threads != 1:
        line.send(_json(problem=f"the process to fork has {threads} threads"))
        return
    try:
        pid = os.fork()
    except OSError as problem:
        line.send(_json(problem=f"cannot fork: {problem.strerror}"))
        return
    if pid == 0:
        _child(line, app, fds, zygote)
    living.add(pid)
    descriptor = os.pidfd_open(pid)
    socket.send_fds(line, [_json(pid=pid)], [descriptor])
    os.close(descriptor)


def _child(line: socket.socket, app, fds: list[int], zygote: int) -> None:
    status = 1
    try:
        os.setsid()
        _prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != zygote:
            return
        line.close()
        orders, replies, stdout, stderr = fds
        app.serve(orders, replies, {"stdout": stdout, "stderr": stderr})
        status = 0
    finally:
        os._exit(status)


def _reap(pid: int, living: set[int]) -> int | None:
    """Kill a notebook's process and all that it started; return its exit status (-9: killed), None if it is gone."""
    if pid not in living:
        return None
    _kill_group(pid)
    _, status = os.waitpid(pid, 0)
    living.discard(pid)
    _end_strays(living)
    return os.waitstatus_to_exitcode(status)


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # the group may not be made yet
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _end_strays(living: set[int]) -> None:
    """Kill the orphans of ended notebooks, which may have left the group: a daemon has a session of its own."""
    found = True
    while found:  # what an orphan started becomes an orphan in its turn
        found = False
        for pid in _children():
            try:
                if pid not in living and os.getsid(pid) not in living:
                    _kill_group(pid)
                    os.waitpid(pid, 0)
                    found = True
                elif pid not in living:
                    os.waitpid(pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                pass


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except FileNotFoundError:  # a kernel built without this list; there it stays with the group
        return []


def count_threads() -> int:
    """Return the number of this process's threads, those of libraries included."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("\nThreads:")[1].split()[0])


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _json(**content) -> bytes:
    return json.dumps(content).encode()
