"""Make a run: execute the notebooks, audit, keep the record, render the pages, give the folder its name.

A run of one report is a fan-out of one, and takes the same way. Each report of a fan-out has a folder of its own; the
run appears whole. Where it is broken off, what was finished stays hidden, and the next start takes it over.
"""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cxresearch.runs import folder as folders
from cxresearch.runs.execution import Pool, study_from
from cxresearch.runs.notebooks import STUDY
from cxresearch.runs.page import title_of
from cxresearch.runs.plan import Cell, Plan, Task
from cxresearch.runs.record import (
    BATCH,
    FAILED,
    FORMAT,
    INDEX,
    LOG,
    OK,
    SKIPPED,
    NotebookEntry,
    Record,
    ReportEntry,
    commit,
    hidden,
    versions,
)
from cxresearch.runs.render import headline_of, movement, write_batch_index, write_pages
from cxresearch.runs.signoff import digests
from cxresearch.runs.withhold import withheld_alone, withheld_together, withhold
from cxresearch.study.shared import shared_tables

LOOKED_BACK = 10  # batches in which an unchanged report is looked for


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its record, and whether it is an earlier one that says the same."""

    folder: Path
    record: Record
    unchanged: bool = False

    @property
    def index(self) -> Path:
        return self.folder / INDEX

    @property
    def whole(self) -> bool:
        return self.record.status != FAILED

    @property
    def outcomes(self) -> list[NotebookEntry]:
        """What became of each notebook of a single report."""
        return self.record.notebooks

    @property
    def reports(self) -> list[ReportEntry]:
        """What a log says of each report."""
        known = {"report": self.record.report or "all", "folder": self.folder.name, "unchanged": self.unchanged}
        return self.record.reports or [ReportEntry(**known, **_told_of(self.record, self.folder))]


def same_run(plan: Plan, final: Path) -> Run | None:
    """Return the newest whole run that says what the run of a plan would say."""
    digest = folders.digest_of(plan, final)
    found = next((p for p in (final, *folders.runs_on(final.resolve().parent)) if folders.is_whole(p, digest)), None)
    return Run(found, Record.read(found)[1], unchanged=True) if found else None


def make_run(
    plan: Plan,
    final: Path,
    *,
    timeout=600.0,
    reproducible=False,
    jobs=None,
    force=False,
    pool=None,
    tell: Callable = lambda ended: None,
) -> Run:
    """Carry out a plan and return the run.

    The run appears in `final`; an earlier one is replaced if this one is whole, otherwise this one goes beside it.
    `timeout` is in seconds a cell; `reproducible` leaves out clocks and the commit, so that the same run gives the same
    bytes; `force` makes reports of a fan-out anew that would only be linked. A `pool` (`Pool`, `ClusterPool`) may be
    shared; without one, one with `jobs` places is made. `tell` is called with each `NotebookEntry` of a single report, or
    `ReportEntry` of several, as it ends, and again if it is withheld; what was found is told after the audit. Data that
    change under way are a `StudyProblem`.
    """
    final = Path(final).resolve()
    folders.require_free(final)
    with folders.building(final, keep_broken=bool(plan.each)) as work, ExitStack() as stack:
        making = _Making(plan, final, work, timeout, reproducible, tell)
        broken = making.look_back(linking=not (force or reproducible))
        making.pool = pool or stack.enter_context(Pool(jobs))
        cells = plan.cells
        making.lent = stack.enter_context(shared_tables(plan.opened._whole, work, seen=dict(plan.seen)))
        reports = [making.prepared(cell) for cell in cells]
        making.execute([report for report in reports if report.entry is None])
        record = making.batch_record(reports) if plan.each else reports[0].record
        if record.status != FAILED:
            plan.require_unchanged("while the run was under way")
        folder = folders.publish(work, final, whole=record.status != FAILED)
    for left in broken:
        shutil.rmtree(left, ignore_errors=True)
    return Run(folder, record)


@dataclass
class _Report:
    """A report on its way: where it is made, what it is compared with, and what has become of its notebooks."""

    cell: Cell
    plan: Plan
    place: Path
    digest: str | None = None
    before: Path | None = None
    began: datetime | None = None
    outcomes: dict[str, NotebookEntry] = field(default_factory=dict)
    record: Record | None = None
    entry: ReportEntry | None = None

    def end(self, **state) -> None:
        """Set the entry of the report in the log; None where it is still to be made."""
        values = dict(self.cell.only)
        self.entry = ReportEntry(report=self.cell.label, values=values, **{"folder": None, "unchanged": False} | state)


@dataclass
class _Making:
    """What the reports of a run share while they are made; a single report is made where the run is."""

    plan: Plan
    final: Path
    work: Path
    timeout: float
    reproducible: bool
    tell: Callable
    pool: object = None
    lent: dict = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    sources: dict = field(default_factory=dict)
    previous: Path | None = None
    before: dict = field(default_factory=dict)

    def look_back(self, *, linking: bool) -> list[Path]:
        """Find what this run is compared with and linked from; return what was broken off of a fan-out."""
        each, same = self.plan.each, (self.plan.title, self.plan.report, list(self.plan.each))
        runs = [
            (p, r)
            for p in (self.final, *folders.runs_on(self.final.parent))
            if (r := Record.of(p)) and _asked(r) == same
        ]
        if not self.reproducible:  # what must come out the same every time is compared with nothing
            self.previous, last = next(((p, r) for p, r in runs if each or r.status == OK), (None, Record()))
            made = {tuple(r.values.items()): r for r in last.reports if r.folder}  # one skipped may be several
            self.before = {only: self.previous / r.folder for only, r in made.items() if r.status == OK}
        if not each:
            self.before = {(): self.previous}
            return []
        name = "" if folders.MOMENT.fullmatch(self.final.name) else self.final.name
        left = [(p, Record.of(p)) for p in folders.broken_off(self.final.parent, name=name)]
        broken = [p for p, r in left if r and _asked(r) == same]
        if linking:
            self.sources = folders.reports_made([*broken, *(p for p, _ in runs[: LOOKED_BACK + 1])])
        known = {"title": self.plan.title, "report": self.plan.report, "each": list(each)}
        Record(format=BATCH, **known, status=FAILED).write(self.work)  # by which the next start knows it
        return broken

    def prepared(self, cell: Cell) -> _Report:
        """Return a report to be made, or one that needs no notebook: it is refused, or an earlier one is linked."""
        plan = self.plan.narrowed(cell.only) if self.plan.each and not cell.skip else self.plan
        report = _Report(cell, plan, self.work / cell.name, before=self.before.get(cell.only))
        if cell.skip:
            report.end(status=SKIPPED, reason=cell.skip)
        else:
            report.digest = None if self.reproducible else folders.digest_of(plan, self.final / cell.name)
            made, known = self.sources.get(report.digest, (None, None))
            if made and folders.link_report(made, report.place, report.digest):
                same = known.model_dump(include={"status", "reason", "headline", "digest"})
                report.end(**same, folder=cell.name, unchanged=True, moved=self._moved(report, known.headline))
        if report.entry:
            self._log(report)
        return report

    def execute(self, reports: list[_Report]) -> None:
        """Execute the notebooks of all reports, some side by side, and finish each report as its last one ends.

        Threads, not processes: the work is done in the notebooks' processes, and papermill is imported once.
        """

        def execute(report: _Report, task: Task) -> NotebookEntry:
            report.place.mkdir(exist_ok=True)
            report.began = report.began or datetime.now(UTC)
            return self.pool.execute(task, report.plan.study, report.place, timeout=self.timeout, lent=self.lent)

        every = [(report, task) for report in reports for task in report.plan.tasks]
        for report, task in every:
            if task.skip:
                self._ended(report, _skipped(task.name, task.skip))
        jobs = [(report, task) for report, task in every if not task.skip]
        with ThreadPoolExecutor(self.pool.jobs if jobs else 1) as threads:
            waiting = {threads.submit(execute, *job): job[0] for job in jobs}
            try:
                for future in as_completed(waiting):
                    self._ended(waiting[future], future.result())
            except BaseException:  # Ctrl-C, SIGTERM: no process outlives the run; finished reports stay
                for future in waiting:
                    future.cancel()
                while wait(waiting, timeout=0.1).not_done:
                    for report in reports:  # again and again: one may have been starting
                        self.pool.stop(report.place)
                for report in reports:
                    if report.entry is None:
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
            self._made(report)
        except OSError as error:  # no room, no right: this report's failure; the others go on
            shutil.rmtree(report.place, ignore_errors=True)
            report.end(status=FAILED, reason=str(error))
        report.outcomes, report.record = {}, None  # notebooks with all that they show
        self._log(report)

    def _made(self, report: _Report) -> None:
        told = _told_of(report.record, report.place)
        report.end(folder=report.place.name, **told, moved=self._moved(report, told["headline"]))

    def _log(self, report: _Report) -> None:
        """Keep a line for the next start, should this one be broken off; what was found is told after the audit."""
        with open(self.work / LOG, "a", encoding="utf-8") as log:
            log.write(report.entry.model_dump_json(exclude_unset=True) + "\n")
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
        report.record = self._record(plan, place, report.digest, report.began, notebooks=entries)
        self._write_pages(report)

    def _write_pages(self, report: _Report) -> None:
        record = report.record
        record.write(report.place)
        if report.before or record.moved:
            record.moved = movement(report.before, report.place) if report.before else []
        write_pages(record, report.place)
        record.files = digests(report.place, record)
        record.write(report.place)

    def _moved(self, report: _Report, headline: str | None) -> str | None:
        """Return how the headline of a report differs from that of the batch before, or None if there is none."""
        if self.previous is None or not headline:
            return None
        moved = report.record.moved[1:] if report.record else []  # one that is linked says the same
        return (moved or ["no change"])[0] if report.before else "new"

    def _record(self, plan: Plan, place: Path, digest: str | None, began: datetime | None, **parts) -> Record:
        """Return the record of a report from its notebooks, or of a fan-out from its reports."""
        failed = any(part.status == FAILED for part in [*parts.get("notebooks", ()), *parts.get("reports", ())])
        told = {"format": BATCH if "reports" in parts else FORMAT, "status": FAILED if failed else OK}
        told |= {"exit_status": int(failed), "title": plan.title, "study": study_from(place, plan.study)}
        told |= {"report": plan.report, "versions": versions(), "inputs": dict(plan.inputs)}
        if not self.reproducible:
            clock = began or self.started, datetime.now(UTC)
            told |= {name: at.isoformat(timespec="seconds") for name, at in zip(("started", "finished"), clock)}
            told |= {"seconds": round((clock[1] - clock[0]).total_seconds(), 2)}
        known = {"only": list(plan.only), "digest": digest}
        if "notebooks" in parts:
            told |= {} if self.reproducible else commit(plan.project)
            known |= {name: getattr(plan.opened, name) for name in ("queries", "privacy", "targets")}
        return Record(**told, **{name: value for name, value in known.items() if value}, **parts)

    def batch_record(self, reports: list[_Report]) -> Record:
        """Remove the findings that together give away what one hides; write log, index and record, and return that."""
        withheld = withheld_together([r.cell for r in reports], self.work, self.plan.opened)
        for report in (r for r in reports if r.cell in withheld):
            self._withhold(report, withheld[report.cell])
        parts = {"each": list(self.plan.each), "reports": [r.entry for r in reports]}
        digest = None if self.reproducible else folders.digest_of(self.plan, self.final)
        record = self._record(self.plan, self.work, digest, self.started, **parts)
        record.write_log(self.work)
        write_batch_index(record, self.work)
        record.files = digests(self.work, record)
        record.write(self.work)
        return record

    def _withhold(self, report: _Report, gone: dict[str, str]) -> None:
        """Remove findings from a report that was made, or linked; beside others it would be another: it has no digest."""
        linked = report.place.rename(hidden(report.place))  # what is linked is an earlier run's, too
        shutil.copytree(linked, report.place)
        shutil.rmtree(linked)
        record = report.record = Record.read(report.place)[1]
        record.digest = None
        for name, why in withhold(gone, record.notebooks, report.place).items():
            entry = next(e for e in record.notebooks if e.name == name)
            entry.withheld = why
            entry.count(report.place)
        self._write_pages(report)
        self._made(report)
        self.tell(report.entry.model_copy(update={"headline": None}))


def _skipped(name: str, reason: str) -> NotebookEntry:
    return NotebookEntry(name=name, status=SKIPPED, reason=reason, failed_cell=None, seconds=0.0)


def _told_of(record: Record, place: Path) -> dict:
    """Return what a log says of a report that was made."""
    told = record.became | record.model_dump(include={"seconds", "finished", "digest"}, exclude_unset=True)
    return told | {"headline": headline_of(record, place)}


def _asked(record: Record) -> tuple:
    """Return by what runs are of the same study, report and fan-out."""
    return record.title, record.report, record.each
