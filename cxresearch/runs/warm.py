"""Warm kernels: a provisioner of jupyter_client whose kernels are forks of a process that has imported everything.

papermill, nbclient, nbval and JupyterLab use it under the name ``cxresearch-warm``; a kernel that a fork cannot stand
in for is started as ever.
"""

import asyncio
import os
import pickle
import select
import signal
import sys
import threading
from multiprocessing import resource_tracker
from multiprocessing.forkserver import ForkServer, read_signed
from pathlib import Path

from jupyter_client.provisioning import LocalProvisioner

import cxresearch

NAME = "cxresearch-warm"  # of the entry point
CHOICE = "CXRESEARCH_EXECUTION"  # "kernel" in the environment asks for ordinary kernels
SERVER = "cxresearch.runs.warm_server"
SAME_EVERYWHERE = {  # the environment in which a notebook's outputs are the same
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
# pyarrow's memory would be tidied by a thread; a kernel's parent is the server, which ipykernel must not take for lost
ALONE = {"JE_ARROW_MALLOC_CONF": "background_thread:false", "CXRESEARCH_WARM_UP": "1", "JPY_PARENT_PID": None}
AT_START = SAME_EVERYWHERE | ALONE


def may_fork(command: list[str]) -> bool:
    """Return whether a fork can stand in for a kernel: this interpreter's own, on Linux, with nothing to start up."""
    if os.environ.get(CHOICE) == "kernel" or not (sys.platform == "linux" and hasattr(os, "pidfd_open")):
        return False
    profile = Path(os.environ.get("IPYTHONDIR", "~/.ipython"), "profile_default").expanduser()
    if any(profile.glob("startup/*.*py")) or any(profile.glob("ipython*_config.*")):
        return False  # only a new kernel reads them
    from cxresearch.runs.warm_server import NO_HISTORY

    words = [w for w in command if w not in ("-Xfrozen_modules=off", NO_HISTORY)]
    return words[0] == sys.executable and words[1:4] == ["-m", "ipykernel_launcher", "-f"] and len(words) == 5


class _Server:
    """The fork servers of this process, one for each state of the package: edited code is never stale."""

    def __init__(self):
        self.lock = threading.Lock()
        self.servers: dict[tuple, ForkServer] = {}
        self.living: set[int] = set()

    def warm_up(self) -> ForkServer:
        """Return the server of the package as it is now; where there is none, it starts and imports by itself."""
        with self.lock:
            source = sorted(p for p in Path(cxresearch.__file__).parent.rglob("*") if p.suffix in (".py", ".toml"))
            state = tuple((str(p), (found := p.stat()).st_size, found.st_mtime_ns) for p in source)
            server = self.servers.setdefault(state, ForkServer())
            server.set_forkserver_preload([SERVER])
            before = {name: os.environ.get(name) for name in AT_START}
            _set_environment(AT_START)
            # The server shares this terminal: Ctrl-C while it imports is for this process to tell of. The tracker would
            # unblock the signal as it starts, so it starts before.
            resource_tracker.ensure_running()
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                server.ensure_running()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                _set_environment(before)
            return server

    def start(self, order: tuple, files: list[int]) -> "Fork":
        """Fork a kernel from the parts of its order; raise `OSError` or `EOFError` if that cannot be done."""
        from cxresearch.runs.warm_server import Order

        server = self.warm_up()
        with self.lock:
            sentinel, orders = server.connect_to_new_process(files)
            with open(orders, "wb") as file:
                pickle.dump({}, file)  # multiprocessing would prepare the fork as its own
                pickle.dump(Order(*order), file)
            fork = Fork(self, server._forkserver_pid, read_signed(sentinel), sentinel)
            self.living.add(fork.pid)
            return fork


def _set_environment(values: dict) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


SERVERS = _Server()


class Fork:
    """A forked kernel, with what jupyter_client asks of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, owner: _Server, server: int, pid: int, sentinel: int):
        self.owner, self.server, self.pid, self.sentinel, self.returncode = owner, server, pid, sentinel, None

    def poll(self) -> int | None:
        return self.returncode if self.sentinel is None else self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit status, None while the kernel lives; what it started ends with it."""
        if self.sentinel is not None and select.select([self.sentinel], [], [], timeout)[0]:
            from cxresearch.runs.warm_server import end_children, kill_group

            try:
                self.returncode = read_signed(self.sentinel)
            except (OSError, EOFError):  # the server has ended, and its forks with it
                self.returncode = -9
            os.close(self.sentinel)
            self.sentinel = None
            kill_group(self.pid)
            with self.owner.lock:  # none is being forked that is not known yet
                self.owner.living.discard(self.pid)
                end_children(self.server, but=frozenset(self.owner.living))
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(9)

    def terminate(self) -> None:
        self.send_signal(15)


class WarmProvisioner(LocalProvisioner):
    """Forks a kernel where that is safe; starts one anywhere else."""

    async def launch_kernel(self, cmd: list[str], **kwargs):
        if not may_fork(cmd):
            return await super().launch_kernel(cmd, **kwargs)
        environment = {k: v for k, v in (kwargs.get("env") or os.environ).items() if k != "JPY_PARENT_PID"}
        with open("/proc/self/status", encoding="ascii") as file:  # to ask `os.umask` is to change it
            umask = next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
        order = (cmd[cmd.index("-f") + 1], environment, str(kwargs.get("cwd") or os.getcwd()), umask)
        streams = ((1, kwargs.get("stdout")), (2, kwargs.get("stderr")))
        files = [stream.fileno() if stream else fd for fd, stream in streams]
        try:
            self.process = await asyncio.to_thread(SERVERS.start, order, files)
        except (OSError, EOFError):
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid
        return self.connection_info
