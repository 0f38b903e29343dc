"""The command line. Exit status: 0 all well, 1 some notebook failed, 2 the study or the command line is wrong.

Nothing heavy is imported before the arguments are understood: ``cxresearch --help`` costs what argparse costs.
"""

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from cxresearch import __version__
from cxresearch.errors import DataProblem

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    given = _parser().parse_args(arguments)
    try:
        return given.command(given)
    except (DataProblem, OSError) as problem:
        print(f"cxresearch: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cxresearch: interrupted; nothing was kept of this run", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cxresearch",
        description="Customer-experience research: from a study file to a rendered report.",
        epilog="Exit status: 0 all well, 1 some notebook failed, 2 the study or the command line is wrong.",
    )
    parser.add_argument("--version", action="version", version=f"cxresearch {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _add_new(commands)
    _add_check(commands)
    _add_run(commands)
    _add_forget(commands)
    return parser


def _add_new(commands) -> None:
    new = commands.add_parser(
        "new",
        help="write a first study file from the files themselves",
        description="Read files and write a first study file: labels, scales, roles and suspicious codes as guesses, "
        "each with its reason, the doubtful ones with confirmed: false. An existing file is never overwritten.",
    )
    new.add_argument("files", metavar="FILE", nargs="+", help="CSV, Excel, Parquet, SPSS or JSON")
    new.add_argument("--out", metavar="STUDY", default="study.yml", help="where to write it (study.yml)")
    new.set_defaults(command=_new)


def _add_check(commands) -> None:
    check = commands.add_parser(
        "check",
        help="say what a study holds and whether it can be run",
        description="Read every table of a study: rows and where they went, items with scale and codes, response "
        "quality, joins, decisions. Exit status 2 where something is wrong or a guess is unconfirmed.",
    )
    check.add_argument("study", metavar="STUDY", help="path of study.yml, or its folder")
    check.add_argument("--json", action="store_true", help="print JSON instead of a page")
    check.set_defaults(command=_check)


def _add_forget(commands) -> None:
    forget = commands.add_parser(
        "forget",
        help="remove a person from the files of a study",
        description="Find the rows of a person in the files of a study, by respondent and by customer, and name the runs "
        "made from them. Nothing is removed without --yes. Exit status 1 where something is left to do by hand.",
    )
    forget.add_argument("study", metavar="STUDY", help="path of study.yml, or its folder")
    forget.add_argument("person", metavar="ID", help="the id as it stands in the files")
    forget.add_argument("--yes", action="store_true", help="remove the rows; the files are rewritten")
    forget.set_defaults(command=_forget)


def _forget(given) -> int:
    from cxresearch.forget import forget, said

    found = forget(given.study, given.person, project=Path.cwd(), remove=given.yes)
    print(said(found, given.study, given.person, removed=given.yes))
    return 1 if found.by_hand else 0


def _new(given) -> int:
    from cxresearch.intake import new_study

    written = new_study([Path(file) for file in given.files], out=Path(given.out))
    print(written.summary)
    print(f"wrote {given.out}; look at it, then run: cxresearch check {given.out}")
    return 0


def _check(given) -> int:
    import json

    from cxresearch.intake import check_study, render

    found = check_study(given.study)
    print(json.dumps(found, ensure_ascii=False, indent=1) if given.json else render(found), end="\n" * given.json)
    return 0 if found["ok"] else 2


def _add_run(commands) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
