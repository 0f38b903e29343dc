"""The command `run`, its progress and its end when somebody stops it."""

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path


def add_run(commands) -> None:
    run = commands.add_parser(
        "run",
        help="execute the notebooks on a study and render them",
        description="Execute the notebooks on a study and render them. "
        "The last line printed is the path of the index page.",
    )
    run.add_argument("study", metavar="STUDY", help="path of study.yml")
    run.add_argument(
        "report", metavar="REPORT", nargs="?", help="entry under 'reports:' of the study; default: all notebooks"
    )
    run.add_argument("--only", metavar="NOTEBOOK", nargs="+", action="extend", default=[], help="only these notebooks")
    run.add_argument("--out", metavar="DIR", help="folder of the run; default: reports/runs/STUDY/TIME of the project")
    run.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_setting,
        help="set a parameter in every notebook that has it; may be repeated",
    )
    run.add_argument("--with-code", action="store_true", help="show the code on the pages (otherwise one click away)")
    run.add_argument("--notebooks", metavar="DIR", help="folder of the notebooks; default: notebooks/ here or above")
    run.add_argument("--timeout", metavar="S", type=_seconds, default=600.0, help="seconds a cell may take (600)")
    run.add_argument(
        "--reproducible",
        action="store_true",
        help="leave out clocks and the commit, so that the same run gives the same bytes",
    )
    run.set_defaults(command=_run)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _run(given) -> int:
    from cxresearch.runs import make_run, plan_run
    from cxresearch.runs.folder import default_folder, require_free

    plan = plan_run(given.study, report=given.report, only=given.only, settings=given.set, notebooks=given.notebooks)
    folder = Path(given.out) if given.out else default_folder(plan.project, plan.study)
    require_free(folder)
    with _stopped_like_interrupted(), _Progress(plan) as progress:
        made = make_run(
            plan,
            folder,
            timeout=given.timeout,
            with_code=given.with_code,
            reproducible=given.reproducible,
            tell=progress.tell,
        )
    if made.folder != folder.resolve():
        print(f"{folder} keeps its earlier run, since this one failed")
    print(_near(made.index))
    return 0 if made.whole else 1


@contextmanager
def _stopped_like_interrupted():
    """A run that a scheduler stops (SIGTERM) cleans up like one that somebody interrupts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _near(path: Path) -> Path:
    """Return `path` relative to the working folder if it lies under it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class _Progress:
    """A bar on stderr over the notebooks, a line on stdout for each."""

    def __init__(self, plan):
        from tqdm import tqdm

        self.bar = tqdm(total=len(plan.tasks), unit="notebook", file=sys.stderr, dynamic_ncols=True)
        self.width = max(len(task.name) for task in plan.tasks)

    def __enter__(self):
        return self

    def __exit__(self, *raised) -> None:
        self.bar.close()

    def tell(self, outcome) -> None:
        seconds = f"{outcome.seconds:5.1f} s" if outcome.notebook is not None else " " * 7
        line = f"{outcome.status:<7}  {outcome.task.name:<{self.width}}  {seconds}  {outcome.reason or ''}".rstrip()
        self.bar.clear()
        print(line, flush=True)
        self.bar.update()
