"""The runner's side of forked notebooks: the process that is forked, and each fork as a kernel for nbclient.

nbclient (and papermill above it) sends the cells and collects the outputs as it does with a kernel of Jupyter; only the
way there differs: two pipes instead of five sockets, and a file descriptor that tells of the fork's end at once.
"""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty

from cxresearch.runs.kernels import CannotFork, close_loop, kernel_environment, notebook_client
from cxresearch.runs.ledger import how_ended

START = "import sys; sys.path[:1] = []; from cxresearch.runs.zygote import main; main(int(sys.argv[1]))"
NO_THREADS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # pyarrow's memory would be tidied by a thread
CHOICE = "CXRESEARCH_EXECUTION"  # "kernel" in the environment asks for Jupyter's kernels
SLOWEST_START = 120.0
TOO_SLOW = f"the process to fork gave no answer in {SLOWEST_START:g} s"


def why_not_here() -> str | None:
    """Return why this machine and user cannot fork notebooks, or do not want it; None if they can."""
    if os.environ.get(CHOICE) == "kernel":
        return f"asked for by {CHOICE}"
    if not (sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(os, "memfd_create")):
        return f"forking is not safe or not supported on this platform ({sys.platform})"
    profile = Path(os.environ.get("IPYTHONDIR", "~/.ipython"), "profile_default").expanduser()
    startup = [*profile.glob("startup/*.py"), *profile.glob("startup/*.ipy")]
    if startup or any(profile.glob("ipython*_config.*")):
        return "the user's IPython profile has a configuration or start-up files, which only a new kernel reads"
    return None


def why_not_kernel(name: str) -> str | None:
    """Return why a fork of this process cannot stand in for the kernel `name`; None if it can."""
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec(name)
    program, *words = spec.argv
    major, minor = sys.version_info[:2]
    ours = {"python", f"python{major}", f"python{major}.{minor}", sys.executable}
    words = [w for w in words if w != "-Xfrozen_modules=off"]
    if program not in ours or words[:2] != ["-m", "ipykernel_launcher"] or len(words) > 4 or spec.env:
        return f"the kernel {name!r} is not this interpreter's own"
    return None


class Forks:
    """The process that is forked. It starts at once and imports while its owner goes on.

    Parameters
    ----------
    memory
        Bytes of address space that a notebook may take, or None.
    """

    name = "forked"

    def __init__(self, memory: int | None = None):
        self._memory = memory
        self._lock = threading.Lock()  # one question and its answer at a time
        self._living: dict[str, Fork] = {}
        self._ready, self._problem = False, ""
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(SLOWEST_START)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**kernel_environment(Path()), **NO_THREADS},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the runner's to handle
            )

    def close(self) -> None:
        """End the process and all its forks."""
        self._line.close()
        if not self._ready:
            self._process.kill()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_until_ready(self, stopped=lambda: False) -> None:
        """Wait until it has imported; raise `CannotFork` if it cannot be forked, or if it is `stopped` meanwhile."""
        latest = time.monotonic() + SLOWEST_START
        with self._lock:
            if self._problem:
                raise CannotFork(self._problem)
            while not self._ready and not select.select([self._line], [], [], 0.1)[0]:
                if stopped() or time.monotonic() > latest:
                    raise CannotFork("the run was stopped" if stopped() else TOO_SLOW)
            if not self._ready:
                self._receive()
                self._ready = True

    def _ask(self, fds=(), **order) -> tuple[dict, list[int]]:
        with self._lock:
            if self._problem and fds:  # what is forked can still be ended
                raise CannotFork(self._problem)
            try:
                socket.send_fds(self._line, [json.dumps(order).encode()], fds)
            except OSError:
                self._fail("the process to fork has ended")
            return self._receive()

    def _receive(self) -> tuple[dict, list[int]]:
        try:
            data, fds, _, _ = socket.recv_fds(self._line, 1 << 16, 1)
        except TimeoutError:
            self._fail(TOO_SLOW)
        except OSError:
            data = b""
        if not data:
            self._fail("the process to fork has ended")
        answer = json.loads(data)
        if "problem" in answer:
            self._fail(answer["problem"])
        return answer, fds

    def _fail(self, problem: str):
        self._problem = problem
        raise CannotFork(problem) from None

    def fork(self, fds) -> tuple[int, int]:
        """Return the id of a new fork and a descriptor that becomes readable when it ends."""
        answer, (descriptor,) = self._ask(fds, fork=True)
        return answer["pid"], descriptor

    def reap(self, pid: int) -> int | None:
        """End a fork and all that it started; return its exit status, None if the process to fork has ended."""
        try:
            return self._ask(reap=pid)[0]["status"]
        except CannotFork:
            return None

    def run(self, nb_man, kernel_name: str, job, timeout: float) -> None:
        """Execute a notebook of papermill's in a new fork."""
        fork = self._living[job.key] = Fork(self)
        try:
            self.wait_until_ready(lambda: fork.killed)
            fork.start(job.folder, kernel_environment(job.findings), self._memory)
            client = notebook_client(nb_man, kernel_name, job, timeout, km=fork)
            client.kc = fork
            client.execute()
        finally:
            fork.stop()
            del self._living[job.key]
            close_loop()

    def last_words(self, job) -> str:
        return ""

    def kill(self, folder: Path) -> None:
        """Kill the notebooks that work in `folder`; the threads that wait for them then end with "kernel died"."""
        for key, fork in list(self._living.items()):
            if Path(key).parent == folder:
                fork.kill()


class Channel:
    """What nbclient asks for messages: one queue."""

    def __init__(self, fork):
        self.messages: asyncio.Queue = asyncio.Queue()
        self._fork = fork

    async def get_msg(self, timeout: float | None = None) -> dict:
        try:
            message = await asyncio.wait_for(self.messages.get(), timeout)
        except TimeoutError:
            await self._fork.take_rest()
            raise Empty from None
        if message is None:
            await self._fork.ended()
        return message

    def send(self, message: dict) -> None:
        self._fork.write(message)


class Fork:
    """One fork, as nbclient's kernel manager and kernel client in one."""

    has_kernel, allow_stdin = True, False

    def __init__(self, forks: Forks):
        from jupyter_client.session import Session

        self._forks = forks
        self.session = Session()
        self.pid = self.descriptor = None
        self._files: list[int] = []
        self._heard = bytearray()
        self._sent = {"stdout": 0, "stderr": 0}
        self._parent: dict = {}
        self.killed = False
        self._status: int | None = None

    def start(self, folder: Path, environment: dict[str, str], memory: int | None) -> None:
        from jupyter_core.utils import ensure_event_loop

        self.shell_channel, self.iopub_channel = Channel(self), Channel(self)
        theirs_in, self._orders = os.pipe()
        self._replies, theirs_out = os.pipe()
        self._tapes = {name: os.memfd_create(name, os.MFD_CLOEXEC) for name in self._sent}
        self._files = [self._orders, self._replies, *self._tapes.values()]
        try:
            fds = [theirs_in, theirs_out, *self._tapes.values()]
            self.pid, self.descriptor = self._forks.fork(fds)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._files.append(self.descriptor)
        os.set_blocking(self._replies, False)
        setting = {"environment": environment, "folder": str(folder), "memory": memory, "umask": _umask()}
        self.write(setting)
        self._loop = ensure_event_loop()
        self._loop.add_reader(self._replies, self._hear)
        self._loop.add_reader(self.descriptor, self._end)
        if self.killed:
            self.kill()

    def execute(self, code: str, store_history: bool = True, stop_on_error: bool = True) -> str:
        content = {
            "code": code,
            "silent": False,
            "store_history": store_history,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": stop_on_error,
        }
        return self._request("execute_request", content)

    def kernel_info(self) -> str:
        return self._request("kernel_info_request", {})

    def _request(self, kind: str, content: dict) -> str:
        message = self.session.msg(kind, content)
        self._parent = message["header"]
        self.write(message)
        return message["header"]["msg_id"]

    def write(self, content: dict) -> None:
        from jupyter_client.session import json_packer

        data = json_packer(content)
        try:
            view = memoryview(len(data).to_bytes(8, "big") + data)
            while view:
                view = view[os.write(self._orders, view) :]
        except BrokenPipeError:
            pass  # its end is told by the descriptor

    def is_alive(self) -> bool:
        return self.descriptor in self._files

    def _hear(self) -> None:
        """Take what has come through the pipe; pass on each whole message."""
        while True:
            try:
                part = os.read(self._replies, 1 << 20)
            except BlockingIOError:
                break
            self._heard += part
            if not part:
                self._loop.remove_reader(self._replies)
                break
            self._pass_on()

    def _pass_on(self) -> None:
        while len(self._heard) >= 8:
            end = 8 + int.from_bytes(self._heard[:8], "big")
            if len(self._heard) < end:
                return
            frame = json.loads(bytes(self._heard[8:end]).decode("utf-8", "replace"))
            del self._heard[:end]
            message = frame["message"]
            message["buffers"] = [bytes.fromhex(b) for b in frame.get("buffers", ())]
            if "tape" in frame:
                self._sent[frame["tape"]["name"]] = frame["tape"]["sent"]
            channel = self.shell_channel if frame["channel"] == "shell" else self.iopub_channel
            channel.messages.put_nowait(message)

    def _end(self) -> None:
        """The fork has ended: take what it still sent, and tell those who wait."""
        self._loop.remove_reader(self.descriptor)
        self._hear()
        self.shell_channel.messages.put_nowait(None)

    async def ended(self) -> None:
        """Raise nbclient's error of a dead kernel, once all outputs are taken."""
        from nbclient.exceptions import DeadKernelError

        self._status = self._forks.reap(self.pid)
        await self.take_rest()
        raise DeadKernelError(how_ended(self._status))

    async def take_rest(self) -> None:
        """Take what the cell printed and did not send before it was killed or its time was up."""
        for name, fd in self._tapes.items():
            rest = os.pread(fd, max(0, os.fstat(fd).st_size - self._sent[name]), self._sent[name])
            if rest and self._parent["msg_type"] == "execute_request":
                self._sent[name] += len(rest)
                content = {"name": name, "text": rest.decode("utf-8", "replace")}
                message = {"msg_type": "stream", "header": {"msg_type": "stream"}, "content": content}
                self.iopub_channel.messages.put_nowait({**message, "parent_header": self._parent, "metadata": {}})
        while not self.iopub_channel.messages.empty():
            await asyncio.sleep(0)

    def kill(self) -> None:
        """Kill the fork and its group; safe from any thread, and before it has started."""
        self.killed = True
        if self.pid is not None and self.descriptor in self._files:
            try:
                signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def stop(self) -> None:
        """End the fork and all that it started, and close its pipes."""
        if self.pid is not None:
            self._forks.reap(self.pid)
            for fd in (self._replies, self.descriptor):
                self._loop.remove_reader(fd)
        files, self._files = self._files, []
        for fd in files:
            os.close(fd)


def _umask() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
