"""What tests wait for: events, however slow or busy the machine is; and what counts as a running process."""

import time

import psutil

PATIENCE = 120  # seconds; no event takes that long, so a test that waits it out has found a fault


def wait_for(event, what: str):
    """Return what `event()` gives as soon as that is true; fail where it is not within `PATIENCE` seconds."""
    until = time.monotonic() + PATIENCE
    while not (found := event()):
        assert time.monotonic() < until, f"waited {PATIENCE} s in vain: {what}"
        time.sleep(0.02)
    return found


def running(process: psutil.Process | int) -> bool:
    """Whether a process is at work; one that has finished and that nobody has asked about yet (a zombie) is not."""
    try:
        process = psutil.Process(process) if isinstance(process, int) else process
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(processes, what: str = "the processes end") -> None:
    """Wait until none of the processes is running."""
    wait_for(lambda: not any(map(running, processes)), what)


def descendants(process: psutil.Process | int | None = None, naming: str = "") -> list[psutil.Process]:
    """Return what a process (this one, where none is given) has started and is running, with `naming` in its command."""
    found = []
    try:
        process = process if isinstance(process, psutil.Process) else psutil.Process(process)
        for child in filter(running, process.children(recursive=True)):
            try:
                if naming in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.NoSuchProcess:  # it has ended meanwhile
                pass
    except psutil.NoSuchProcess:
        pass
    return found
