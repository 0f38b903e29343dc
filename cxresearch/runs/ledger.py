"""What really ran: papermill marks every cell "completed" when a kernel dies, and takes ``sys.exit(0)`` for success."""

import re
import signal
from dataclasses import dataclass, field

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Failure:
    """Why a notebook is not whole.

    Attributes
    ----------
    cell
        Index of the failing cell in the executed notebook, or None if no cell could run.
    reason
        One line.
    traceback
        Lines of the error's traceback as the notebook shows it, without colours.
    """

    cell: int | None
    reason: str
    traceback: tuple[str, ...] = ()


@dataclass
class Ledger:
    """The kernel's own replies, cell by cell."""

    started: set[int] = field(default_factory=set)
    replies: dict[int, dict] = field(default_factory=dict)

    def note_start(self, cell, cell_index) -> None:
        self.started.add(cell_index)

    def note_reply(self, cell, cell_index, execute_reply) -> None:
        self.replies[cell_index] = execute_reply["content"]

    def failure(self, notebook, problem: Exception | None, *, timeout: float, last_words: str) -> Failure | None:
        """Return the first cell that did not run without error to its end, and why; None if all did.

        Parameters
        ----------
        notebook
            As executed.
        problem
            What executing it raised, if anything.
        timeout
            Seconds a cell may take.
        last_words
            Last line that the kernel itself wrote to stderr.
        """
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == "code" and cell.source.strip():
                reply = self.replies.get(index, {})
                if reply.get("status") != "ok":
                    return self._why(index, reply, problem, timeout, last_words)
        return Failure(None, f"after the last cell: {one_line(problem)}") if problem else None

    def _why(self, index: int, reply: dict, problem, timeout: float, last_words: str) -> Failure:
        if reply.get("ename") == "SystemExit":
            return Failure(index, "left the notebook early (sys.exit); the cells after it did not run")
        if reply:
            lines = COLOUR.sub("", "\n".join(reply.get("traceback", ()))).splitlines()
            return Failure(index, one_line(f"{reply.get('ename')}: {reply.get('evalue')}"), tuple(lines))
        if not self.started:
            return Failure(None, f"the kernel did not start: {last_words or one_line(problem)}")
        if type(problem).__name__ == "CellTimeoutError":
            return Failure(index, f"took longer than the {timeout:g} s a cell may take (--timeout)")
        if type(problem).__name__ == "DeadKernelError":
            return Failure(index, f"the kernel died in this cell: {problem}")
        return Failure(index, f"did not run: {one_line(problem)}" if problem else "did not run")


def one_line(problem) -> str:
    """Return the first line of a message."""
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__


def how_ended(status: int | None) -> str:
    """Return a process's exit status in words; negative is a signal, None is not known."""
    if status is None or status == -9:
        return "killed, or out of memory"
    return signal.Signals(-status).name if status < 0 else f"it left with exit status {status}"
