"""The command line. Exit status: 0 all well, 1 some notebook failed, 2 the study or the command line is wrong, 3 ours.

Nothing heavy is imported before the arguments are understood: ``cxresearch --help`` costs what argparse costs.
"""

import argparse
import json
import signal
import sys
import threading
import traceback
from contextlib import ExitStack
from pathlib import Path

from cxresearch import __version__
from cxresearch.errors import DataProblem
from cxresearch.runs.schedule import EVERY, TEMPLATES, timetable

INTERRUPTED, OURS, COMMANDS = 130, 3, []
ENDS = "Exit status: 0 all well, 1 some notebook failed, 2 the study or the command line is wrong, 3 ours to mend."


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    about = "Customer-experience research: from a study file to a rendered report."
    parser = argparse.ArgumentParser(prog="cxresearch", description=about, epilog=ENDS)
    parser.add_argument("--version", action="version", version=f"cxresearch {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for function, options in COMMANDS:
        about = " ".join(function.__doc__.split())
        command = commands.add_parser(function.__name__[1:], help=about.partition(";")[0], description=about)
        command.set_defaults(command=function)
        for names, more in options:
            command.add_argument(*names.split(), **more)
    given = parser.parse_args(arguments)
    try:
        return given.command(given) or 0
    except (DataProblem, OSError) as problem:
        print(f"cxresearch: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cxresearch: interrupted; nothing was kept of this run", file=sys.stderr)
        return INTERRUPTED
    except Exception:
        traceback.print_exc()
        print("cxresearch: this is ours to mend, not a fault of the study; please report it", file=sys.stderr)
        return OURS


def _command(*options):
    """List a function among the commands; the first sentence of its docstring up to the semicolon is its help."""

    def listed(function):
        COMMANDS.append((function, options))
        return function

    return listed


def _option(names: str, about: str, metavar: str | None = None, **more) -> tuple[str, dict]:
    """Return an option; one that takes no value is a flag."""
    value = {"metavar": metavar} if metavar else {} if more else {"action": "store_true"}
    return names, {"help": about, **value, **more}


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


MANY = {"action": "append", "default": []}
STUDY = _option("study", "path of study.yml, or its folder; study.yml?market=North is a part of it", "STUDY")
REPORT = _option("report", "entry under 'reports:' of the study; default: all notebooks", "REPORT", nargs="?")
RUN = _option("run", "folder of the run", "RUN")
NOTEBOOKS = _option("--notebooks", "folder of the notebooks; default: notebooks/ here or above, else our own", "DIR")
JOBS = _option("--jobs", "notebooks at a time; default: one for each core", "N", type=_count)


@_command(
    _option("files", "CSV, Excel, Parquet, SPSS or JSON", "FILE", nargs="*"),
    _option("--ask", "put what is doubtful as questions; the end of input leaves the rest open"),
    _option("--as", "a file, and which table it is", "TABLE=FILE", type=_setting, dest="kinds", **MANY),
    _option("--out", "where to write it (study.yml)", "STUDY", default="study.yml"),
)
def _new(given) -> None:
    """Write a first study file from the files themselves; labels, scales, roles and codes are guesses, each with its
    reason, the doubtful ones with confirmed: false. An existing file is never overwritten."""
    from cxresearch.intake import new_study

    written = new_study([Path(f) for f in given.files], out=Path(given.out), kinds=given.kinds, ask=given.ask and input)
    print(f"{written.summary}\nwrote {given.out}{written.left}; look at it, then run: cxresearch check {given.out}")


@_command(STUDY, _option("--json", "print JSON instead of a page"))
def _check(given) -> int:
    """Say what a study holds and whether it can be run; rows and where they went, items, quality, joins, decisions.
    Exit status 2 where something is wrong or a guess is unconfirmed."""
    from cxresearch.intake import check_study, render

    found = check_study(given.study)
    print(json.dumps(found, ensure_ascii=False, indent=1) if given.json else render(found), end="\n" * given.json)
    return 0 if found["ok"] else 2


@_command()
def _schema(given) -> None:
    """Print what a study file may say as a JSON schema, by which an editor completes and checks one."""
    from cxresearch.study.schema import json_schema

    print(json_schema(), end="")


@_command(
    STUDY,
    _option("person", "the id as it stands in the files", "ID"),
    _option("--yes", "remove the rows; the files are rewritten"),
)
def _forget(given) -> int:
    """Remove a person from the files of a study; by respondent and by customer, and name the runs made from them.
    Nothing is removed without --yes. Exit status 1 where something is left to do by hand."""
    from cxresearch.forget import forget
    from cxresearch.runs.render import rendered

    found = forget(given.study, given.person, project=Path.cwd(), remove=given.yes)
    print(rendered("forget.txt.j2", found=found, study=given.study, removed=given.yes), end="")
    return 1 if found.by_hand else 0


@_command(
    STUDY,
    REPORT,
    _option("--as", "which scheduler (cron)", dest="kind", choices=tuple(TEMPLATES), default="cron"),
    _option("--at", "time of day in the scheduler's zone (03:00)", "HH:MM", default="03:00"),
    _option("--every", "when (day)", choices=EVERY, default="day"),
    JOBS,
)
def _schedule(given) -> None:
    """Print a timetable for a report; a crontab line, or a systemd service with its timer.
    Nothing is installed; the working folder is the project's."""
    options = ("--jobs", str(given.jobs)) if given.jobs else ()
    asked = {name: getattr(given, name) for name in ("study", "report", "kind", "at", "every")}
    print(timetable(**asked, project=Path.cwd(), options=options), end="")


@_command(
    (STUDY[0], {**STUDY[1], "nargs": "?"}), NOTEBOOKS, _option("--no-browser", "print the address, open no browser")
)
def _lab(given) -> int:
    """Open JupyterLab on the notebooks; with a study, on copies of them in a folder 'notebooks' beside it, with its path
    in their parameters cell; copies that are there already are kept as they are."""
    from cxresearch.runs.notebooks import open_lab

    return open_lab(given.study, notebooks=given.notebooks, browser=not given.no_browser)


@_command(
    STUDY,
    REPORT,
    _option("--only", "only these notebooks", "NOTEBOOK", nargs="+", action="extend", default=[]),
    _option("--out", "folder of the run; default: reports/runs/STUDY/TIME of the project", "DIR"),
    _option("--set", "a parameter of every notebook that has it", "NAME=VALUE", dest="settings", type=_setting, **MANY),
    NOTEBOOKS,
    _option("--timeout", "seconds a cell may take (600)", "S", type=_count, default=600),
    _option("--reproducible", "leave out clocks and the commit, so that the same run gives the same bytes"),
    _option("--each", "a report for each value; may be repeated", "COLUMN", **MANY),
    _option("--whole", "and one on the whole study"),
    JOBS,
    _option("--scheduler", "execute on a Dask cluster, such as tcp://host:8786", "ADDRESS"),
    _option("--force", "make again what is unchanged since an earlier run"),
    _option("--log", "add a line of JSON for each report", "FILE"),
    _option("--overlap", "where a run of the report is under way (allow)", choices=("allow", "skip"), default="allow"),
    _option("--keep", "runs of this report to keep; default: as declared", "N", type=_count),
    _option("--on-failure", "started, without a shell, when a run does not end well", "COMMAND"),
)
def _run(given) -> int:
    """Execute the notebooks on a study and render them; the last line printed is the path of the index page."""
    from cxresearch.runs import make
    from cxresearch.runs.execution import ClusterPool
    from cxresearch.runs.folder import Overlap
    from cxresearch.study import open_study

    with make.End(make.as_words(given.on_failure)) as end, ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():  # no other may say what a signal does
            # a run that a scheduler stops cleans up like one that somebody interrupts
            stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        progress, opened = _Progress(stack), open_study(given.study)
        declared = opened.reports.get(given.report)
        if declared and declared.on_failure and not end.words:
            end.words, end.home = declared.on_failure, Path(opened.path).parent
        asked = {k: v for k, v in vars(given).items() if k not in ("command", "study", "on_failure", "scheduler")}
        try:
            if given.scheduler:
                cluster = ClusterPool(given.scheduler, inputs=[opened.path, *opened.files], jobs=given.jobs)
                asked["pool"] = stack.enter_context(cluster)
            run = make.start(opened, **asked, tell=progress.tell, expect=progress.expect)
        except Overlap as other:
            print(other)
            return 0
        except KeyboardInterrupt:
            if not progress.reports:
                raise
            print(f"cxresearch: interrupted; reports kept for the next start: {progress.reports}", file=sys.stderr)
            end.reason = "interrupted"
            return INTERRUPTED
        if run.unchanged:
            print("unchanged since that run; --force makes it again")
        elif not run.whole and given.out and run.folder != Path(given.out).resolve():
            print(f"{given.out} keeps its earlier run, since this one failed")
        page = run.index.resolve()
        print(page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page)
        if not run.whole:
            end.folder, end.reason = run.folder, run.record.became["reason"]
        return run.record.exit_status


class _Progress:
    """A bar with the time left, if stderr is a terminal, over notebooks or reports; a line on stdout for each."""

    def __init__(self, stack: ExitStack):
        self.stack, self.reports = stack, 0

    def expect(self, plan) -> None:
        from tqdm import tqdm

        if plan.ours:
            print("notebooks: those that come with cxresearch; a folder 'notebooks' here would come first")
        names = [cell.label for cell in plan.cells] if plan.each else [task.name for task in plan.tasks]
        self.width, unit = min(30, max(map(len, names))), "report" if plan.each else "notebook"
        bar = tqdm(total=len(names), unit=unit, file=sys.stderr, dynamic_ncols=True, disable=None)
        self.bar = self.stack.enter_context(bar)

    def tell(self, ended) -> None:
        """Print a line for a notebook or a report; what it found stands in the run, once all are audited."""
        report = getattr(ended, "report", None)
        self.reports += report is not None and ended.status == "ok"
        status = "unchanged" if getattr(ended, "unchanged", False) else ended.status
        seconds = f"{ended.seconds:5.1f} s" if ended.seconds else " " * 7
        self.bar.clear()
        line = f"{status:<7}  {report or ended.name:<{self.width}.30}  {seconds}  {ended.reason or ''}"
        print(line.rstrip(), flush=True)
        self.bar.update(self.bar.n < self.bar.total)  # what is withheld is told twice


@_command(_option("before", "folder of the earlier run", "RUN"), _option("after", "folder of the later run", "RUN"))
def _compare(given) -> None:
    """Say what changed from one run to another; inputs, parameters, versions and findings, by how much, with the interval
    of a difference where both have one, and which checks turned."""
    from cxresearch.runs.compare import compare_runs
    from cxresearch.runs.render import rendered

    print(rendered("compare.txt.j2", found=compare_runs(given.before, given.after)), end="")


@_command(RUN, NOTEBOOKS)
def _verify(given) -> int:
    """Execute a run again and hold tables, notebooks and pages against it; which files have the same bytes, which are
    the same to six digits (last digits depend on the processor), which differ. Exit status 1 if one does."""
    from cxresearch.runs.render import rendered
    from cxresearch.runs.review import verify_run

    found = verify_run(given.run, notebooks=given.notebooks)
    print(rendered("verify.txt.j2", found=found), end="")
    return int(bool(found.different))


@_command(RUN, _option("--name", "who signs", "NAME"), _option("--note", "what they say", "TEXT", default=""))
def _sign(given) -> int:
    """Record that somebody has reviewed a run; it shows on its pages and is void once anything in the run changes.
    Without --name, say who signed and whether it still holds: exit status 1 if not, or if nobody signed."""
    from cxresearch.runs.review import show_sign_offs, sign_run

    if given.name is not None:
        sign_run(given.run, name=given.name, note=given.note)
    states = show_sign_offs(given.run)
    print("\n".join(text for text, _ in states) or "nobody has signed this run")
    return int(not states or any(void for _, void in states))


@_command(
    RUN,
    _option("--out", "where to write it; default: the run's name with .pptx, here", "FILE"),
    _option("--one", "the first slide alone"),
)
def _deck(given) -> None:
    """Write a run's headlines as PowerPoint slides; charts can be edited, notes carry base and method."""
    from cxresearch.runs.deck import write_deck

    print(write_deck(given.run, given.out or f"{Path(given.run).resolve().name}.pptx", one=given.one))
