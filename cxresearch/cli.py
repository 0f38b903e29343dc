"""The command line. Exit status: 0 all well, 1 some notebook failed, 2 the study or the command line is wrong, 3 ours.

Nothing heavy is imported before the arguments are understood: ``cxresearch --help`` costs what argparse costs.
"""

import argparse
import json
import signal
import sys
import threading
from contextlib import contextmanager, nullcontext
from pathlib import Path

from cxresearch import __version__
from cxresearch.errors import DataProblem, StudyProblem, nearest

INTERRUPTED, OURS = 130, 3
ENDS = "Exit status: 0 all well, 1 some notebook failed, 2 the study or the command line is wrong, 3 ours to mend."


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
    except Exception:
        import traceback

        traceback.print_exc()
        print("cxresearch: this is ours to mend, not a fault of the study; please report it", file=sys.stderr)
        return OURS


def _parser() -> argparse.ArgumentParser:
    about = "Customer-experience research: from a study file to a rendered report."
    parser = argparse.ArgumentParser(prog="cxresearch", description=about, epilog=ENDS)
    parser.add_argument("--version", action="version", version=f"cxresearch {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for function, words, *options in COMMANDS:
        command = commands.add_parser(function.__name__[1:], help=words.partition(";")[0], description=words)
        command.set_defaults(command=function)
        for names, more in options:
            command.add_argument(*names.split(), **more)
    return parser


def _option(names: str, about: str, metavar: str | None = None, **more) -> tuple[str, dict]:
    return names, {"help": about, **({"metavar": metavar} if metavar else {}), **more}


def _flag(name: str, about: str) -> tuple[str, dict]:
    return _option(name, about, action="store_true")


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


# --- a study ---------------------------------------------------------------------------------------------------------


def _new(given) -> int:
    from cxresearch.intake import new_study

    named = {Path(file): kind for kind, file in given.kinds}
    written = new_study(
        list(map(Path, given.files)), out=Path(given.out), kinds=named, ask=input if given.ask else None
    )
    print(written.summary)
    print(f"wrote {given.out}{written.left}; look at it, then run: cxresearch check {given.out}")
    return 0


def _check(given) -> int:
    from cxresearch.intake import check_study, render

    found = check_study(given.study)
    print(json.dumps(found, ensure_ascii=False, indent=1) if given.json else render(found), end="\n" * given.json)
    return 0 if found["ok"] else 2


def _schema(given) -> int:
    from cxresearch.study.schema import json_schema

    print(json_schema(), end="")
    return 0


def _forget(given) -> int:
    from cxresearch.forget import forget, said

    found = forget(given.study, given.person, project=Path.cwd(), remove=given.yes)
    print(said(found, given.study, given.person, removed=given.yes))
    return 1 if found.by_hand else 0


def _schedule(given) -> int:
    from cxresearch.runs import schedule

    if given.every not in schedule.EVERY:
        known = ", ".join(schedule.EVERY)
        raise StudyProblem(
            f"--every {given.every!r} is not known{nearest(given.every, schedule.EVERY)}; there are {known}"
        )
    options = ("--jobs", str(given.jobs)) if given.jobs else ()
    plan = schedule.timetable(
        given.study, project=Path.cwd(), report=given.report, options=options, at=given.at, every=given.every
    )
    if given.kind == "cron":
        print(schedule.as_crontab(plan), end="")
    else:
        for name, text in schedule.as_systemd(plan).items():
            print(f"# ~/.config/systemd/user/{name}\n{text}")
    return 0


def _lab(given) -> int:
    from cxresearch.runs.lab import open_lab

    return open_lab(given.study, notebooks=given.notebooks, browser=not given.no_browser)


# --- a run -----------------------------------------------------------------------------------------------------------


def _run(given) -> int:
    from cxresearch.runs import operate
    from cxresearch.runs.shelf import Overlap
    from cxresearch.study import open_study

    progress = _Progress()
    with operate.calling_for_help(given.on_failure) as end, _stopped_like_interrupted(), progress:
        opened = open_study(given.study)
        declared = opened.reports.get(given.report)
        if declared and declared.on_failure:
            end.call(declared.on_failure, home=Path(opened.path).parent)
        planned = {"only": given.only, "settings": given.set, "each": given.each, "whole": given.whole}
        try:
            with _pool(given, opened) as pool:
                made = {"timeout": given.timeout, "jobs": given.jobs, "pool": pool, "tell": progress.tell}
                kept = {name: getattr(given, name) for name in ("out", "notebooks", "overlap", "keep", "log")}
                how = {"force": given.force, "reproducible": given.reproducible}
                started = operate.start(
                    opened, given.report, **kept, **how, planned=planned, made=made, expect=progress.expect
                )
        except Overlap as other:
            print(other)
            return 0
        except KeyboardInterrupt:
            if not progress.reports:
                raise
            print(f"cxresearch: interrupted; reports kept for the next start: {progress.reports}", file=sys.stderr)
            end.reason = "interrupted"
            return INTERRUPTED
        if started.unchanged:
            print("unchanged since that run; --force makes it again")
        elif started.folder != started.asked.resolve():
            print(f"{started.asked} keeps its earlier run, since this one failed")
        print(_near(started.folder / "index.html"))
        if started.record.exit_status:
            end.folder, end.reason = started.folder, started.record.failures
        return started.record.exit_status


def _pool(given, opened):
    """Return where to execute, for a ``with`` block: None for this machine, chosen by the run itself."""
    if given.scheduler is None:
        return nullcontext()
    from cxresearch.runs.cluster import ClusterPool

    return ClusterPool(given.scheduler, inputs=[opened.path, *opened.files], jobs=given.jobs)


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
        """Print a line for a notebook or a report; what it found stands in the run, once all are audited."""
        report = getattr(ended, "report", None)
        self.reports += report is not None and ended.status == "ok"
        status = "unchanged" if getattr(ended, "unchanged", False) else ended.status
        seconds = f"{ended.seconds:5.1f} s" if ended.seconds else " " * 7
        self.bar.clear()
        print(
            f"{status:<7}  {report or ended.name:<{self.width}.30}  {seconds}  {ended.reason or ''}".rstrip(),
            flush=True,
        )
        self.bar.update(self.bar.n < self.bar.total)  # what is withheld is told twice


# --- finished runs ---------------------------------------------------------------------------------------------------


def _compare(given) -> int:
    from cxresearch.runs.compare import as_page, compare_runs

    if given.ledger:
        from cxresearch.runs.moved import write_ledger

        why = {
            name if mark else "": text if mark else name for name, mark, text in (w.partition("=") for w in given.why)
        }
        rows = write_ledger(given.before, given.after, given.ledger, title=given.title, why=why)
        print(f"{given.ledger}: {rows} row{'s' * (rows != 1)} in {given.title!r}")
        return 0
    found = compare_runs(given.before, given.after)
    print(json.dumps(found.as_dict(), ensure_ascii=False, indent=1) if given.json else as_page(found))
    return 0


def _verify(given) -> int:
    from cxresearch.runs.verify import verify_run

    found = verify_run(given.run, notebooks=given.notebooks)
    lines = [f"close    {file}: the same to six digits" for file in found.close]
    lines += [f"differs  {file}" for file in found.different]
    lines += [f"version  {c.what}: {c.before} -> {c.after}" for c in found.versions]
    same, close, different = map(len, (found.same, found.close, found.different))
    counts = [f"{same} of {same + close + different} files are byte-identical"]
    counts += [f"{close} the same to six digits"] * bool(close) + [f"{different} different"] * bool(different)
    print("\n".join([*lines, ", ".join(counts)]))
    return int(bool(found.different))


def _sign(given) -> int:
    from datetime import UTC, datetime

    from cxresearch.runs.record import Record
    from cxresearch.runs.signoff import changed_since, said, show_sign_offs, sign_offs, sign_run

    place = Record.read(given.run)[0]
    if given.name is not None:
        sign_run(place, name=given.name, note=given.note, now=datetime.now(UTC))
    states = [said(s, changed_since(s, place)) for s in sign_offs(place)]
    show_sign_offs(place)
    print("\n".join(text for text, _ in states) or "nobody has signed this run")
    return int(not states or any(void for _, void in states))


def _deck(given) -> int:
    from cxresearch.runs.deck import write_deck

    print(write_deck(given.run, given.out or f"{Path(given.run).resolve().name}.pptx", one=given.one))
    return 0


STUDY = _option("study", "path of study.yml, or its folder; study.yml?market=North is a part of it", "STUDY")
REPORT = _option("report", "entry under 'reports:' of the study; default: all notebooks", "REPORT", nargs="?")
RUN = _option("run", "folder of the run", "RUN")
NOTEBOOKS = _option("--notebooks", "folder of the notebooks; default: notebooks/ here or above, else our own", "DIR")
JOBS = _option("--jobs", "notebooks at a time; default: one for each core", "N", type=_count)
MANY = {"action": "append", "default": []}
COMMANDS = (
    (
        _new,
        "write a first study file from the files themselves; labels, scales, roles and codes are guesses, each with its "
        "reason, the doubtful ones with confirmed: false. An existing file is never overwritten.",
        _option("files", "CSV, Excel, Parquet, SPSS or JSON", "FILE", nargs="*"),
        _flag("--ask", "put what is doubtful as questions; the end of input leaves the rest open"),
        _option("--as", "a file, and which table it is", "TABLE=FILE", type=_setting, dest="kinds", **MANY),
        _option("--out", "where to write it (study.yml)", "STUDY", default="study.yml"),
    ),
    (
        _check,
        "say what a study holds and whether it can be run; rows and where they went, items, quality, joins, decisions. "
        "Exit status 2 where something is wrong or a guess is unconfirmed.",
        STUDY,
        _flag("--json", "print JSON instead of a page"),
    ),
    (_schema, "print what a study file may say as a JSON schema, by which an editor completes and checks one."),
    (
        _run,
        "execute the notebooks on a study and render them; the last line printed is the path of the index page.",
        STUDY,
        REPORT,
        _option("--only", "only these notebooks", "NOTEBOOK", nargs="+", action="extend", default=[]),
        _option("--out", "folder of the run; default: reports/runs/STUDY/TIME of the project", "DIR"),
        _option("--set", "set a parameter in every notebook that has it", "NAME=VALUE", type=_setting, **MANY),
        NOTEBOOKS,
        _option("--timeout", "seconds a cell may take (600)", "S", type=_seconds, default=600.0),
        _flag("--reproducible", "leave out clocks and the commit, so that the same run gives the same bytes"),
        _option("--each", "a report for each value; may be repeated", "COLUMN", **MANY),
        _flag("--whole", "and one on the whole study"),
        JOBS,
        _option("--scheduler", "execute on a Dask cluster, such as tcp://host:8786", "ADDRESS"),
        _flag("--force", "make again what is unchanged since an earlier run"),
        _option("--log", "add a line of JSON for each report", "FILE"),
        _option(
            "--overlap",
            "where a run of the same report is under way (allow)",
            choices=("allow", "skip"),
            default="allow",
        ),
        _option("--keep", "runs of this report to keep; default: as declared", "N", type=_count),
        _option("--on-failure", "started, without a shell, when a run does not end well", "COMMAND"),
    ),
    (
        _lab,
        "open JupyterLab on the notebooks; with a study, on copies of them in a folder 'notebooks' beside it, with its "
        "path in their parameters cell; copies that are there already are kept as they are.",
        (STUDY[0], {**STUDY[1], "nargs": "?"}),
        NOTEBOOKS,
        _flag("--no-browser", "print the address, open no browser"),
    ),
    (
        _compare,
        "say what changed from one run to another; inputs, parameters, versions and findings, by how much, with the "
        "interval of a difference where both have one, and which checks turned.",
        _option("before", "folder of the earlier run", "RUN"),
        _option("after", "folder of the later run", "RUN"),
        _flag("--json", "print JSON instead of text"),
        _option("--ledger", "add every number that moved to a table in FILE (Markdown)", "FILE"),
        _option("--title", "of the ledger's section; one of this title is replaced", default="Moved"),
        _option("--why", "reason in the ledger", "[NOTEBOOK=]TEXT", **MANY),
    ),
    (
        _verify,
        "execute a run again and hold tables, notebooks and pages against it; which files have the same bytes, which are "
        "the same to six digits (last digits depend on the processor), which differ. Exit status 1 if one does.",
        RUN,
        NOTEBOOKS,
    ),
    (
        _sign,
        "record that somebody has reviewed a run; it shows on its pages and is void once anything in the run changes. "
        "Without --name, say who signed and whether it still holds: exit status 1 if not, or if nobody signed.",
        RUN,
        _option("--name", "who signs", "NAME"),
        _option("--note", "what they say", "TEXT", default=""),
    ),
    (
        _deck,
        "write a run's headlines as PowerPoint slides; charts can be edited, notes carry base and method.",
        RUN,
        _option("--out", "where to write it; default: the run's name with .pptx, here", "FILE"),
        _flag("--one", "the first slide alone"),
    ),
    (
        _schedule,
        "print a timetable for a report; a crontab line, or a systemd service with its timer. Nothing is installed; the "
        "working folder is the project's.",
        STUDY,
        REPORT,
        _option("--as", "which scheduler (cron)", dest="kind", choices=("cron", "systemd"), default="cron"),
        _option("--at", "time of day in the scheduler's zone (03:00)", "HH:MM", default="03:00"),
        _option("--every", "day, weekday, monday ... sunday, month (day)", "WHEN", default="day"),
        JOBS,
    ),
    (
        _forget,
        "remove a person from the files of a study; by respondent and by customer, and name the runs made from them. "
        "Nothing is removed without --yes. Exit status 1 where something is left to do by hand.",
        STUDY,
        _option("person", "the id as it stands in the files", "ID"),
        _flag("--yes", "remove the rows; the files are rewritten"),
    ),
)
