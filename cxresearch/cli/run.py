"""The command `run`, its progress and its end when somebody stops it."""

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

OVERLAPS = ("allow", "skip", "wait", "kill")
INTERRUPTED = 130


def add_run(commands) -> None:
    run = commands.add_parser(
        "run",
        help="execute the notebooks on a study and render them",
        description="Execute the notebooks on a study and render them. "
        "The last line printed is the path of the index page.",
    )
    run.add_argument("study", metavar="STUDY", help="path of study.yml; study.yml?market=North is a part of it")
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
    _add_batch(run.add_argument_group("many reports"))
    _add_operation(run.add_argument_group("operation"))
    run.set_defaults(command=_run)


def _add_batch(batch) -> None:
    batch.add_argument(
        "--each", metavar="COLUMN", action="append", default=[], help="a report for each value; may be repeated"
    )
    batch.add_argument("--whole", action="store_true", help="and one on the whole study")
    batch.add_argument("--min-rows", metavar="N", type=_count, help="none for a value with fewer rows")
    batch.add_argument("--jobs", metavar="N", type=_count, help="notebooks at a time; default: one for each core")
    batch.add_argument("--scheduler", metavar="ADDRESS", help="execute on a Dask cluster, such as tcp://host:8786")
    batch.add_argument("--force", action="store_true", help="make again what is unchanged since an earlier run")


def _add_operation(operation) -> None:
    operation.add_argument("--log", metavar="FILE", help="add a line of JSON for each report")
    operation.add_argument(
        "--overlap", choices=OVERLAPS, default="allow", help="where a run of the same report is under way (allow)"
    )
    operation.add_argument(
        "--patience", metavar="S", type=_seconds, default=3600.0, help="seconds that --overlap wait waits (3600)"
    )
    operation.add_argument("--keep", metavar="N", type=_count, help="runs of this report to keep; default: as declared")
    operation.add_argument(
        "--on-failure", metavar="COMMAND", help="started, without a shell, when a run fails or is refused"
    )


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


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _run(given) -> int:
    from cxresearch.errors import DataProblem
    from cxresearch.runs import operate
    from cxresearch.runs.shelf import Overlap
    from cxresearch.study import open_study

    help_by, home = operate.as_words(given.on_failure) if given.on_failure else (), Path.cwd()
    folder, reason, progress = None, "", _Progress()
    try:
        opened = open_study(given.study)
        declared = opened.reports.get(given.report)
        if not help_by and declared and declared.on_failure:
            help_by, home = declared.on_failure, Path(opened.path).parent
        with _stopped_like_interrupted(), _pool(given, opened) as pool, progress:
            ended = operate.carry_out(opened, _start(given, pool), planned=progress.expect, tell=progress.tell)
        folder, reason = ended.index.parent, "" if ended.whole else "some notebook failed"
    except Overlap as other:
        print(f"{other}")
        return 0
    except (DataProblem, OSError) as problem:
        reason = str(problem)
        raise
    except KeyboardInterrupt:
        if not progress.reports:
            raise
        print(f"cxresearch: interrupted; reports kept for the next start: {progress.reports}", file=sys.stderr)
        return INTERRUPTED
    finally:
        if reason and help_by:
            _call(operate, help_by, folder, reason, home)
    return _told(ended)


def _call(operate, words, folder, reason: str, home: Path) -> None:
    trouble = operate.call_for_help(words, folder=folder, reason=reason, home=home)
    if trouble:
        print(f"cxresearch: {trouble}", file=sys.stderr)


def _start(given, pool):
    from cxresearch.runs.operate import Start

    planned = {"report": given.report, "only": given.only, "settings": given.set, "notebooks": given.notebooks}
    made = {"timeout": given.timeout, "with_code": given.with_code, "reproducible": given.reproducible}
    return Start(
        given.out,
        planned,
        made | {"jobs": given.jobs, "pool": pool},
        each=given.each,
        whole=given.whole,
        min_rows=given.min_rows,
        force=given.force,
        overlap=given.overlap,
        patience=given.patience,
        keep=given.keep,
        log=given.log,
    )


@contextmanager
def _pool(given, opened):
    """Yield where to execute: None for this machine, chosen by the run itself."""
    if given.scheduler is None:
        yield None
        return
    from cxresearch.runs.cluster import ClusterPool

    with ClusterPool(given.scheduler, inputs=[opened.path, *opened.files], jobs=given.jobs) as pool:
        yield pool


def _told(ended) -> int:
    if ended.unchanged:
        print("unchanged since that run; --force makes it again")
    elif ended.made.folder != ended.asked.resolve():
        print(f"{ended.asked} keeps its earlier run, since this one failed")
    print(_near(ended.index))
    return 0 if ended.whole else 1


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
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class _Progress:
    """A bar with the time left, if stderr is a terminal, over notebooks or reports; a line on stdout for each."""

    def __init__(self):
        self.bar, self.width, self.reports = None, 0, 0

    def __enter__(self):
        return self

    def __exit__(self, *raised) -> None:
        if self.bar is not None:
            self.bar.close()

    def expect(self, count: int, unit: str, width: int) -> None:
        from tqdm import tqdm

        self.bar, self.width = tqdm(total=count, unit=unit, file=sys.stderr, dynamic_ncols=True, disable=None), width

    def tell(self, ended) -> None:
        line = self._report(ended) if isinstance(ended, dict) else self._notebook(ended)
        self.bar.clear()
        print(line, flush=True)
        self.bar.update(self.bar.n < self.bar.total)  # a withheld notebook is told twice

    def _notebook(self, outcome) -> str:
        seconds = f"{outcome.seconds:5.1f} s" if outcome.notebook is not None else " " * 7
        return f"{outcome.status:<7}  {outcome.task.name:<{self.width}}  {seconds}  {outcome.reason or ''}".rstrip()

    def _report(self, entry: dict) -> str:
        self.reports += entry["status"] == "ok"
        status = "unchanged" if entry["unchanged"] else entry["status"]
        seconds = f"{entry['seconds']:5.1f} s" if entry.get("seconds") else " " * 7
        said = entry["reason"] or entry.get("headline") or ""
        return f"{status:<9}  {entry['report'][:30]:<{self.width}}  {seconds}  {said}".rstrip()
