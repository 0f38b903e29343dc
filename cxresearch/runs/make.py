"""Make a run: execute the notebooks, audit, keep the record, render the pages, give the folder its name.

A run of one report is a fan-out of one, and takes the same way. Each report of a fan-out has a folder of its own; the
run appears whole. Where it is broken off, what was finished stays hidden, and the next start takes it over.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cxresearch.errors import DataProblem
from cxresearch.runs import folder as folders
from cxresearch.runs import record as records
from cxresearch.runs.compare import digests
from cxresearch.runs.execution import Pool, study_from
from cxresearch.runs.notebooks import STUDY, notebooks_folder
from cxresearch.runs.page import title_of
from cxresearch.runs.plan import Cell, Plan, Task, plan_run
from cxresearch.runs.record import FAILED, OK, SKIPPED, NotebookEntry, Record, ReportEntry
from cxresearch.runs.render import headline_of, movement, write_batch_index, write_pages
from cxresearch.runs.withhold import withheld_alone, withheld_together, withhold
from cxresearch.study.shared import require_unchanged, shared_tables, signature

LOOKED_BACK = 10  # batches in which an unchanged report is looked for
WEEK = 7 * 86_400.0  # seconds in which what a fan-out had finished stays for its next start
FAILED_RUN, FAILURE = "CXRESEARCH_FAILED_RUN", "CXRESEARCH_FAILURE"  # what a hook finds in its environment
HOOK_SECONDS = 300


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its record, and whether it is an earlier one that says the same."""

    folder: Path
    record: Record
    unchanged: bool = False

    @property
    def index(self) -> Path:
        return self.folder / records.INDEX

    @property
    def whole(self) -> bool:
        return self.record.status != FAILED

    @property
    def reports(self) -> list[ReportEntry]:
        """What a log says of each report."""
        known = {"report": self.record.report or "all", "folder": self.folder.name, "unchanged": self.unchanged}
        return self.record.reports or [ReportEntry(**known, **_told_of(self.record, self.folder))]


def start(
    opened, report=None, *, out=None, notebooks=None, only=(), settings=(), each=(), whole=False,
    overlap="allow", keep=None, log=None, force=False, reproducible=False, expect: Callable, **made,
) -> Run:  # fmt: skip
    """Make the run that the command line asks for, unless a whole one says the same.

    `expect` is called with the plan of what is to be made. Raises `Overlap` where another keeps this one from starting.
    """
    shelf = folders.runs_folder(notebooks_folder(notebooks)[1], Path(opened.path))
    asked = {"only": only, "settings": settings, "notebooks": notebooks, "each": each, "whole": whole}
    with folders.alone(shelf, report, overlap=overlap) if out is None or overlap != "allow" else nullcontext():
        place = folders.default_folder(shelf) if out is None else Path(out)
        folders.require_free(place)
        plan = plan_run(opened.reference, report=report, **asked)
        run = None if force or reproducible else same_run(plan, place)
        if run is None:
            expect(plan)
            run = make_run(plan, place, force=force, reproducible=reproducible, **made)
        if out is None and run.whole and not run.record.only:
            folders.point_latest(run.folder)
        if out is None and (keep := keep or (opened.reports[report].keep if report else None)):
            folders.prune(shelf, report=report, keep=keep)
        for left in folders.broken_off(place.parent, name=place.name if out else ""):  # by runs that were killed
            record = Record.of(left)
            if record is None or record.format != records.BATCH or time.time() - left.stat().st_mtime > WEEK:
                shutil.rmtree(left, ignore_errors=True)
        with open(log, "a", encoding="utf-8") if log else nullcontext() as file:
            for entry in run.reports if log else ():
                told = entry.model_dump(exclude_unset=True) | {"run": run.folder.name}
                told |= {"unchanged": True} if run.unchanged and entry.folder else {}
                file.write(json.dumps(told, ensure_ascii=False) + "\n")
    return run


def same_run(plan: Plan, final: Path) -> Run | None:
    """Return the newest whole run that says what the run of a plan would say."""
    digest = folders.digest_of(plan, final)
    earlier = (final, *folders.runs_on(final.resolve().parent))
    found = next((p for p in earlier if folders.is_whole(p, digest)), None)
    return Run(found, Record.read(found)[1], unchanged=True) if found else None


def make_run(
    plan: Plan, final: Path, *, timeout=600.0, reproducible=False, jobs=None, force=False, pool=None,
    tell: Callable = lambda ended: None,
) -> Run:  # fmt: skip
    """Carry out a plan and return the run.

    It appears in `final` if it is whole or nothing is there, otherwise beside it. `timeout` is in seconds a cell;
    `reproducible` leaves out clocks and the commit; `force` links no earlier report. Without a `pool` (`Pool`,
    `ClusterPool`), one with `jobs` places is made. `tell` is called with each `NotebookEntry` of a single report, or
    `ReportEntry` of several, as it ends, and again if something is withheld. Raises `StudyProblem` if data change.
    """
    final = Path(final).resolve()
    folders.require_free(final)
    with folders.building(final, keep_broken=bool(plan.each)) as work, ExitStack() as stack:
        making = _Making(plan, final, work, timeout=timeout, reproducible=reproducible, tell=tell)
        broken = making.look_back(linking=not (force or reproducible))
        making.pool = pool or stack.enter_context(Pool(jobs))
        cells = plan.cells
        making.lent = stack.enter_context(shared_tables(plan.opened._whole, work, seen=dict(plan.seen)))
        reports = [making.prepared(cell) for cell in cells]
        making.execute([report for report in reports if report.entry is None])
        record = making.batch_record(reports) if plan.each else reports[0].record
        if record.status != FAILED:
            require_unchanged(dict(plan.seen), signature(plan.opened), "while the run was under way")
        folder = folders.publish(work, final, whole=record.status != FAILED)
    for left in broken:
        shutil.rmtree(left, ignore_errors=True)
    return Run(folder, record)


@dataclass
class _Report:
    """A report on its way; `entry` is what the log says of it, None where it is still to be made."""

    cell: Cell
    plan: Plan
    place: Path
    before: Path | None
    digest: str | None = None
    began: datetime | None = None
    outcomes: dict[str, NotebookEntry] = field(default_factory=dict)
    record: Record | None = None
    entry: ReportEntry | None = None


class _Making:
    """What the reports of a run share while they are made; a single report is made where the run is."""

    def __init__(self, plan: Plan, final: Path, work: Path, *, timeout, reproducible: bool, tell: Callable):
        self.plan, self.final, self.work, self.tell = plan, final, work, tell
        self.timeout, self.reproducible, self.started = timeout, reproducible, datetime.now(UTC)
        self.sources, self.previous, self.before = {}, None, {}

    def look_back(self, *, linking: bool) -> list[Path]:
        """Find what this run is compared with and linked from; return what was broken off of a fan-out."""
        asked = {"title": self.plan.title, "report": self.plan.report, "each": list(self.plan.each)}

        def alike(places) -> dict[Path, Record]:
            found = {place: record for place in places if (record := Record.of(place))}
            return {p: r for p, r in found.items() if all(getattr(r, k) == v for k, v in asked.items())}

        earlier = alike([self.final, *folders.runs_on(self.final.parent)])
        if not self.reproducible:  # what must come out the same every time is compared with nothing
            self.previous = next((p for p, r in earlier.items() if self.plan.each or r.status == OK), None)
            self.before = {(): self.previous}
        if not self.plan.each:
            return []
        last = earlier[self.previous].reports if self.previous else ()
        made = {tuple(r.values.items()): r for r in last if r.folder}  # one skipped may be several
        self.before = {only: self.previous / r.folder for only, r in made.items() if r.status == OK}
        name = "" if folders.MOMENT.fullmatch(self.final.name) else self.final.name
        broken = list(alike(folders.broken_off(self.final.parent, name=name)))
        if linking:
            self.sources = folders.reports_made([*broken, *list(earlier)[: LOOKED_BACK + 1]])
        Record(format=records.BATCH, **asked, status=FAILED).write(self.work)  # by which the next start knows it
        return broken

    def prepared(self, cell: Cell) -> _Report:
        """Return a report to be made, or one that needs no notebook: it is refused, or an earlier one is linked."""
        plan = self.plan.narrowed(cell.only) if self.plan.each and not cell.skip else self.plan
        report = _Report(cell, plan, self.work / cell.name, self.before.get(cell.only))
        if cell.skip:
            self._end(report, status=SKIPPED, reason=cell.skip)
        elif not self.reproducible:
            report.digest = folders.digest_of(plan, self.final / cell.name)
            made = self.sources.get(report.digest)
            if made and folders.link_report(made, report.place, report.digest):
                told = _told_of(Record.read(report.place)[1], report.place, {"digest"})
                self._end(report, **told, folder=cell.name, unchanged=True)
        if report.entry:
            self._tell(report)
        return report

    def execute(self, reports: list[_Report]) -> None:
        """Execute the notebooks of all reports, some side by side, and finish each report as its last one ends."""

        def execute(report: _Report, task: Task) -> NotebookEntry:
            report.place.mkdir(exist_ok=True)
            report.began = report.began or datetime.now(UTC)
            return self.pool.execute(task, report.plan.study, report.place, timeout=self.timeout, lent=self.lent)

        every = [(report, task) for report in reports for task in report.plan.tasks]
        for report, task in every:
            if task.skip:
                self._ended(report, _skipped(task.name, task.skip))
        jobs = [job for job in every if not job[1].skip]
        with ThreadPoolExecutor(self.pool.jobs if jobs else 1, str(self.work)) as threads:
            try:
                waiting = {threads.submit(execute, *job): job[0] for job in jobs}
                for future in as_completed(waiting):
                    self._ended(waiting[future], future.result())
            except BaseException:  # Ctrl-C, SIGTERM: no process outlives the run; finished reports stay
                threads.shutdown(wait=False, cancel_futures=True)
                unfinished = [report for report in reports if report.entry is None]
                while any(t.name.startswith(str(self.work)) and t.is_alive() for t in threading.enumerate()):
                    for report in unfinished:  # again and again: one may have been starting
                        self.pool.stop(report.place)
                    time.sleep(0.1)
                for report in unfinished:
                    shutil.rmtree(report.place, ignore_errors=True)
                raise

    def _ended(self, report: _Report, outcome: NotebookEntry) -> None:
        """Note what became of a notebook; finish its report if it is the last."""
        if report.cell.only and outcome.error == "TooFewRespondents":
            (report.place / f"{outcome.name}.ipynb").unlink(missing_ok=True)
            outcome = _skipped(outcome.name, outcome.reason.partition(f"{outcome.error}: ")[2])
        report.outcomes[outcome.name] = outcome
        if not self.plan.each:
            self.tell(outcome)
        if len(report.outcomes) < len(report.plan.tasks):
            return
        if not self.plan.each:
            return self._write(report)
        try:
            self._write(report)
            self._end(report)
        except OSError as error:  # no room, no right: this report's failure; the others go on
            shutil.rmtree(report.place, ignore_errors=True)
            self._end(report, status=FAILED, reason=str(error))
        report.outcomes, report.record = {}, None  # notebooks with all that they show
        self._tell(report)

    def _end(self, report: _Report, **state) -> None:
        """Set what the log says of a report."""
        known = {"report": report.cell.label, "values": dict(report.cell.only), "folder": None, "unchanged": False}
        state = state or {"folder": report.place.name, **_told_of(report.record, report.place)}
        if state.get("folder"):
            moved = report.record.moved[1:] if report.record else []  # one that is linked says the same
            moved = (moved or ["no change"])[0] if report.before else "new"
            state["moved"] = moved if self.previous and state["headline"] else None
        report.entry = ReportEntry(**known | state)

    def _tell(self, report: _Report) -> None:
        """Tell of a report but for what was found, which is told after the audit."""
        self.tell(report.entry.model_copy(update={"headline": None}))

    def _write(self, report: _Report) -> None:
        """Withhold what gives hidden numbers away; then write record, pages and index."""
        plan, place = report.plan, report.place
        place.mkdir(exist_ok=True)
        entries = [report.outcomes[task.name] for task in plan.tasks]
        gone = withhold(withheld_alone(plan, [e.name for e in entries if e.status == OK], place), entries, place)
        for entry, task in zip(entries, plan.tasks):
            home = task.path.parent if plan.ours else plan.project
            entry.title, entry.sha256, entry.headline = title_of(task.notebook) or task.name, task.sha256, task.headline
            entry.path = "cxresearch/notebooks/" * plan.ours + os.path.relpath(task.path, home)
            entry.parameters = {STUDY: study_from(place, plan.study), **task.parameters}
            entry.count(place)
            if self.reproducible:
                entry.seconds = None
                entry.model_fields_set.discard("seconds")  # not written
            if entry.name in gone and not self.plan.each:
                self.tell(entry)
        parts = {} if self.reproducible else records.commit(plan.project)
        parts |= {n: found for n in ("queries", "privacy", "targets") if (found := getattr(plan.opened, n))}
        report.record = self._record(plan, place, report.digest, report.began, entries, **parts)
        self._write_pages(report)

    def _write_pages(self, report: _Report) -> None:
        record = report.record
        record.write(report.place)
        if report.before or record.moved:
            record.moved = movement(report.before, report.place) if report.before else []
        write_pages(record, report.place)
        record.files = digests(report.place, record)
        record.write(report.place)

    def _record(self, plan: Plan, place: Path, digest, began, entries: list, **parts) -> Record:
        """Return the record of a report from its notebooks, or of a fan-out, which says `each`, from its reports."""
        failed = any(entry.status == FAILED for entry in entries)
        told = {"format": records.BATCH, "reports": entries} if parts.get("each") else {"notebooks": entries}
        told = {"format": records.FORMAT, **told, "report": plan.report, "title": plan.title}
        told |= {"status": FAILED if failed else OK, "exit_status": int(failed), "study": study_from(place, plan.study)}
        told |= {"versions": records.versions(), "inputs": dict(plan.inputs)}
        told |= {k: v for k, v in {"only": list(plan.only), "digest": digest}.items() if v}
        if not self.reproducible:
            clock = began or self.started, datetime.now(UTC)
            told |= {name: at.isoformat(timespec="seconds") for name, at in zip(("started", "finished"), clock)}
            told |= {"seconds": round((clock[1] - clock[0]).total_seconds(), 2)}
        return Record(**told, **parts)

    def batch_record(self, reports: list[_Report]) -> Record:
        """Remove the findings that together give away what one hides; write log, index and record, and return that."""
        withheld = withheld_together([r.cell for r in reports], self.work, self.plan.opened)
        for report in (r for r in reports if r.cell in withheld):
            linked = report.place.rename(records.hidden(report.place))  # what is linked is an earlier run's, too
            shutil.copytree(linked, report.place)
            shutil.rmtree(linked)
            record = report.record = Record.read(report.place)[1]
            record.digest = None  # beside others it would be another
            for name, why in withhold(withheld[report.cell], record.notebooks, report.place).items():
                entry = next(e for e in record.notebooks if e.name == name)
                entry.withheld = why
                entry.count(report.place)
            self._write_pages(report)
            self._end(report)
            self._tell(report)
        digest = None if self.reproducible else folders.digest_of(self.plan, self.final)
        entries = [report.entry for report in reports]
        record = self._record(self.plan, self.work, digest, None, entries, each=list(self.plan.each))
        record.write_log(self.work)
        write_batch_index(record, self.work)
        record.files = digests(self.work, record)
        record.write(self.work)
        return record


def _skipped(name: str, reason: str) -> NotebookEntry:
    return NotebookEntry(name=name, status=SKIPPED, reason=reason, failed_cell=None, seconds=0.0)


def _told_of(record: Record, place: Path, include=frozenset({"seconds", "finished", "digest"})) -> dict:
    """Return what a log says of a report that was made, or linked."""
    told = record.became | record.model_dump(include=include, exclude_unset=True)
    return told | {"headline": headline_of(record, place)}


@dataclass
class End(AbstractContextManager):
    """How a start ends; what ends the block but well, signals and faults of ours too, calls the `words` of a program, in
    `home`, with folder and reason of the failed run in its environment."""

    words: Sequence[str] = ()
    home: Path = field(default_factory=Path.cwd)
    folder: Path | None = None
    reason: str = ""

    def __exit__(self, kind, problem, trace) -> None:
        if problem is not None:
            self.reason = str(problem) or kind.__name__
        if not (self.words and self.reason):
            return
        folder, reason = str(self.folder.resolve()) if self.folder else "", " ".join(self.reason.split("\0"))
        environment = {**os.environ, FAILED_RUN: folder, FAILURE: reason}
        options = {"env": environment, "cwd": self.home, "stdin": subprocess.DEVNULL, "timeout": HOOK_SECONDS}
        try:
            status = subprocess.run(list(self.words), **options).returncode
            trouble = f"ended with {status}" if status else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            trouble = f"did not run: {error}"
        if trouble:
            print(f"cxresearch: the command for failures, {self.words[0]}, {trouble}", file=sys.stderr)


def as_words(command: str | None) -> list[str]:
    """Return the program and arguments of a command as written; no shell reads it. Refuse one that cannot be read."""
    try:
        words = shlex.split(command) if command is not None else []
    except ValueError as error:
        raise DataProblem(f"the command {command!r} for failures cannot be read: {error}") from None
    if command is not None and not words:
        raise DataProblem("the command for failures is empty")
    return words
