"""A notebook's kernel without sockets: Jupyter's own kernel and shell, which speak over two pipes.

The kernel is made once, in the process that is forked; each fork gives it pipes of its own. It executes cells with the
code of ipykernel, so outputs are those of a kernel that was started for the notebook.
"""

import asyncio
import codecs
import io
import json
import os
import resource
import signal
import struct
import sys
import tempfile
import threading
import time
from types import SimpleNamespace

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.session import Session, json_packer

LENGTH = struct.Struct(">Q")  # before each message


class PipeSession(Session):
    """Writes messages to a pipe rather than to sockets; `stream` is the name of the channel."""

    def connect(self, fd: int, tapes: dict) -> None:
        self.fd, self.tapes, self.lock, self.pid = fd, tapes, threading.RLock(), os.getpid()

    def send(
        self, stream, msg_or_type, content=None, parent=None, ident=None, buffers=None, track=False, header=None,
        metadata=None,
    ):  # fmt: skip
        message = msg_or_type
        if not isinstance(message, dict):
            message = self.msg(message, content=content, parent=parent, header=header, metadata=metadata)
        if os.getpid() == self.pid:  # not in a process that the notebook forked: it would write in between
            encoded = [bytes(b).hex() for b in buffers or ()]
            self.write({"channel": stream, "message": message, "buffers": encoded})
        return message

    def write(self, frame: dict) -> None:
        data = json_packer(frame)
        with self.lock:
            for part in (LENGTH.pack(len(data)), data):
                write_all(self.fd, part)


class Tape(io.TextIOBase):
    """What is written to stdout or stderr, by Python, by C or by a program that the notebook starts.

    All of it goes to a file in memory, in the order written and without a thread; `flush` sends what is new. Of a
    killed process the one that started it reads the rest.
    """

    encoding = "UTF-8"

    def __init__(self, session: PipeSession, name: str):
        self.session, self.name, self.parent_header = session, name, {}

    def attach(self, fd: int) -> None:
        self.fd, self.sent, self.lock = fd, 0, threading.RLock()
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.dup2(fd, {"stdout": 1, "stderr": 2}[self.name])

    def fileno(self) -> int:
        return self.nowhere  # as in a kernel: what is written there is not an output

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def set_parent(self, parent: dict) -> None:
        self.parent_header = parent["header"]

    def write(self, string: str) -> int:
        if not isinstance(string, str):
            raise TypeError(f"write() argument must be str, not {type(string)}")
        write_all(self.fd, string.encode("utf-8", "surrogateescape"))
        return len(string)

    def flush(self) -> None:
        if os.getpid() != self.session.pid:
            return
        with self.lock:
            new = os.pread(self.fd, os.fstat(self.fd).st_size - self.sent, self.sent)
            self.sent += len(new)
            text = self.decoder.decode(new)
            if new:
                message = self.session.msg("stream", {"name": self.name, "text": text}, parent=self.parent_header)
                message["parent_header"] = self.parent_header
                self.session.write(
                    {"channel": "iopub", "message": message, "tape": {"name": self.name, "sent": self.sent}}
                )


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class PipeKernel(IPythonKernel):
    """IPython's kernel; nothing queues behind a failed cell, so there is nothing to abort."""

    def _abort_queues(self, subshell_id=None):
        pass


class PipeApp(IPKernelApp):
    """ipykernel's application with pipes instead of sockets. `initialize` makes the shell; `serve` is for a fork."""

    def without_sockets(self, *args, **kwargs) -> None:
        pass

    init_poller = init_connection_file = init_sockets = init_heartbeat = without_sockets
    write_connection_file = log_connection_info = init_crash_handler = close = without_sockets

    def init_io(self) -> None:
        self.session = PipeSession(parent=self)
        self.tapes = {name: Tape(self.session, name) for name in ("stdout", "stderr")}
        self.displayhook = sys.displayhook
        self.patch_io()

    def init_kernel(self) -> None:
        self.kernel = PipeKernel.instance(
            parent=self,
            session=self.session,
            iopub_socket="iopub",
            log=self.log,
            profile_dir=self.profile_dir,
            user_ns=self.user_ns,
        )
        # asked for the thread in which cells may be interrupted
        self.kernel.shell_channel_thread = SimpleNamespace(parent_thread=threading.main_thread())

    def serve(self, orders: int, replies: int, tapes: dict[str, int]) -> None:
        """Execute what comes through the pipe `orders` until it is closed."""
        _take_over(self.tapes, tapes, json.loads(_read_frame(orders)))
        self.session.connect(replies, self.tapes)
        self.shell.init_environment()
        sys.stdout, sys.stderr = self.tapes["stdout"], self.tapes["stderr"]
        asyncio.run(self._serve(orders))

    async def _serve(self, orders: int) -> None:
        from tornado.ioloop import IOLoop

        self.kernel.io_loop = IOLoop.current()
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(orders, "rb", 0))
        while True:
            try:
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                message = json.loads(await reader.readexactly(length))
            except asyncio.IncompleteReadError:
                return
            await self._answer(message)

    async def _answer(self, message: dict) -> None:
        """Do what ipykernel does with a message from the shell channel."""
        self._flush()  # what a thread printed since the last cell is not this cell's
        kernel, kind = self.kernel, message["header"]["msg_type"]
        kernel.set_parent([], message, channel="shell")
        kernel._publish_status("busy", "shell")
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            done = kernel.shell_handlers[kind]("shell", [], message)
            if done is not None:
                await done
        except KeyboardInterrupt:
            pass  # as in ipykernel: nothing but the cell is interrupted
        finally:
            signal.signal(signal.SIGINT, before)
        self._flush()
        kernel._publish_status("idle", "shell")

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr, *self.tapes.values()):
            if stream is not None:
                stream.flush()


def _take_over(streams: dict[str, Tape], tapes: dict[str, int], setting: dict) -> None:
    """Make this process what a new one would be: environment, folder, limits, streams, chance."""
    os.environ.clear()
    os.environ.update(setting["environment"])
    os.chdir(setting["folder"])
    os.umask(setting["umask"])
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    for name, fd in tapes.items():
        streams[name].nowhere = nowhere
        streams[name].attach(fd)
    if setting["memory"]:
        resource.setrlimit(resource.RLIMIT_AS, (setting["memory"], setting["memory"]))
    tempfile.tempdir = None
    time.tzset()
    import numpy as np

    np.random.seed()  # or all forks would draw the same; Python's own generator is seeded anew by os.fork


def _read_frame(fd: int) -> bytes:
    (length,) = LENGTH.unpack(_read_exactly(fd, LENGTH.size))
    return _read_exactly(fd, length)


def _read_exactly(fd: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(fd, size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
