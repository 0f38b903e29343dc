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
from datetime import datetime
from pathlib import Path

from cxresearch.runs.execution import Outcome, Pool, study_from
from cxresearch.runs.folder import MOMENT, broken_off, building, require_free, runs_on
from cxresearch.runs.matrix import Cell
from cxresearch.runs.notebooks import STUDY
from cxresearch.runs.page import title_of
from cxresearch.runs.plan import Plan
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
    now,
    times,
    versions,
)  # fmt: skip
from cxresearch.runs.render import headline_of, movement, write_batch_index, write_pages
from cxresearch.runs.signoff import digests
from cxresearch.runs.unchanged import digest_of, is_whole, link_report, reports_made
from cxresearch.runs.withhold import by_notebook, remove, withheld_together, withhold
from cxresearch.study.shared import shared_tables

LOOKED_BACK = 10  # batches in which an unchanged report is looked for
UNDER_WAY = "while the run was under way"


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its record, and, of a single report that was made, what became of each notebook."""

    folder: Path
    record: Record
    outcomes: tuple[Outcome, ...] = ()
    unchanged: bool = False

    @property
    def index(self) -> Path:
        return self.folder / INDEX

    @property
    def whole(self) -> bool:
        return self.record.status != FAILED

    @property
    def reports(self) -> list[ReportEntry]:
        """What a log says of each report."""
        known = {"report": self.record.report or "all", "folder": self.folder.name, "unchanged": self.unchanged}
        return self.record.reports or [ReportEntry(**known, **told_of(self.record, self.folder))]


def same_run(plan: Plan, final: Path) -> Run | None:
    """Return the newest whole run that says what the run of a plan would say."""
    digest = digest_of(plan, final)
    found = next((p for p in (final, *runs_on(final.resolve().parent)) if is_whole(p, digest)), None)
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
    tell: Callable | None = None,
) -> Run:
    """Carry out a plan and return the run.

    The run appears in `final`; an earlier one is replaced if this one is whole, otherwise this one goes beside it.
    `timeout` is in seconds a cell; `reproducible` leaves out clocks and the commit, so that the same run gives the same
    bytes; `force` makes reports of a fan-out anew that would only be linked. A `pool` (`Pool`, `ClusterPool`) may be
    shared; without one, one with `jobs` places is made. `tell` is called with each `Outcome` of a single report, or
    `ReportEntry` of several, as it ends, and again if it is withheld; what was found is told after the audit. Data that
    change under way are a `StudyProblem`.
    """
    final = Path(final).resolve()
    require_free(final)
    with building(final, keep_broken=bool(plan.each)) as place, ExitStack() as stack:
        work = _Work(plan, final, place.work, timeout, reproducible, tell or (lambda _: None))
        broken = work.look_back(linking=not (force or reproducible))
        work.pool = pool or stack.enter_context(Pool(jobs))
        cells = plan.cells
        work.lent = stack.enter_context(shared_tables(plan.opened._whole, place.work, seen=dict(plan.seen)))
        reports = [work.prepared(cell) for cell in cells]
        work.execute([report for report in reports if report.entry is None])
        record = work.batch_record(reports) if plan.each else reports[0].record
        if record.status != FAILED:
            plan.require_unchanged(UNDER_WAY)
        folder = place.publish(whole=record.status != FAILED)
    for left in broken:
        shutil.rmtree(left, ignore_errors=True)
    return Run(folder, record, () if plan.each else tuple(reports[0].outcomes))


@dataclass
class _Report:
    """A report on its way: the cell, the folder in which it is made, and what has become of its notebooks."""

    cell: Cell
    place: Path
    plan: Plan
    digest: str | None = None
    began: datetime | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    record: Record | None = None
    entry: ReportEntry | None = None

    def end(self, **state) -> None:
        """Set the entry of the report in the log; None where it is still to be made."""
        known = {"report": self.cell.label, "values": self.cell.values, "folder": None, "unchanged": False}
        self.entry = ReportEntry(**known | state)


@dataclass
class _Work:
    """What the reports of a run share while they are made; a single report is made where the run is."""

    plan: Plan
    final: Path
    work: Path
    timeout: float
    reproducible: bool
    tell: Callable
    pool: object = None
    lent: dict = field(default_factory=dict)
    started: datetime = field(default_factory=now)
    sources: dict = field(default_factory=dict)
    previous: Path | None = None
    before: dict = field(default_factory=dict)

    def look_back(self, *, linking: bool) -> list[Path]:
        """Find what this run is compared with and linked from; return what was broken off of a fan-out."""
        matrix = {"title": self.plan.title, "report": self.plan.report, "each": list(self.plan.each)}
        earlier = [p for p in (self.final, *runs_on(self.final.parent)) if _of(p, matrix)]
        if not self.reproducible:  # what must come out the same every time is compared with nothing
            whole = (p for p in earlier if self.plan.each or Record.read(p)[1].status == OK)
            self.previous = next(whole, None)
            reports = Record.read(self.previous)[1].reports if self.previous else ()
            self.before = {tuple(r.values.items()): r for r in reports if r.folder}  # one skipped may be several
        if not self.plan.each:
            return []
        name = "" if MOMENT.fullmatch(self.final.name) else self.final.name
        broken = [p for p in broken_off(self.final.parent, name=name) if _of(p, matrix)]
        if linking:
            self.sources = reports_made([*broken, *earlier[: LOOKED_BACK + 1]])
        Record(format=BATCH, **matrix, status=FAILED).write(self.work)  # by which the next start knows it
        return broken

    def prepared(self, cell: Cell) -> _Report:
        """Return a report to be made, or one that needs no notebook: it is refused, or an earlier one is linked."""
        plan = self.plan.narrowed(cell.only) if self.plan.each and not cell.skip else self.plan
        report = _Report(cell, self.work / (f".{cell.name}" if self.plan.each else ""), plan)
        if cell.skip:
            report.end(status=SKIPPED, reason=cell.skip)
        else:
            report.digest = self._digest(plan, cell.name)
            made, known = self.sources.get(report.digest, (None, None))
            if made and link_report(made, self.work / cell.name, report.digest):
                same = known.model_dump(include={"status", "reason", "headline", "digest"})
                report.end(**same, folder=cell.name, unchanged=True, moved=self._moved(report, known.headline))
        if report.entry:
            self._log(report.entry)
        return report

    def _digest(self, plan: Plan, name: str) -> str | None:
        return None if self.reproducible else digest_of(plan, self.final / name)

    def execute(self, reports: list[_Report]) -> None:
        """Execute the notebooks of all reports, some side by side, and finish each report as its last one ends.

        Threads, not processes: the work is done in the notebooks' processes, and papermill is imported once.
        """
        every = [(report, task) for report in reports for task in report.plan.tasks]
        for report, task in every:
            if task.skip:
                self._ended(report, Outcome(task, SKIPPED, task.skip))
        jobs = [(report, task) for report, task in every if not task.skip]
        with ThreadPoolExecutor(self.pool.jobs if jobs else 1) as threads:
            waiting = {threads.submit(self._notebook, *job): job[0] for job in jobs}
            try:
                for future in as_completed(waiting):
                    self._ended(waiting[future], future.result())
            except BaseException:  # Ctrl-C, SIGTERM: no process outlives the run; finished reports stay
                for future in waiting:
                    future.cancel()
                while wait(waiting, timeout=0.1).not_done:
                    for report in reports:  # again and again: one may have been starting
                        self.pool.stop(report.place)
                for report in reports if self.plan.each else ():
                    shutil.rmtree(report.place, ignore_errors=True)
                raise

    def _notebook(self, report: _Report, task) -> Outcome:
        report.place.mkdir(exist_ok=True)
        report.began = report.began or now()
        return self.pool.execute(task, report.plan.study, report.place, timeout=self.timeout, lent=self.lent)

    def _ended(self, report: _Report, outcome: Outcome) -> None:
        if report.cell.only and outcome.error == "TooFewRespondents":
            (report.place / f"{outcome.name}.ipynb").unlink(missing_ok=True)
            outcome = Outcome(outcome.task, SKIPPED, outcome.reason.partition(f"{outcome.error}: ")[2])
        report.outcomes.append(outcome)
        if not self.plan.each:
            self.tell(outcome)
        if len(report.outcomes) == len(report.plan.tasks):
            self._finish(report)

    def _finish(self, report: _Report) -> None:
        """Audit a report, write its record and its pages, and log it."""
        if not self.plan.each:
            return self._write(report)
        place = self.work / report.cell.name
        try:
            self._write(report)
            report.place.rename(place)
            self._made(report, place)
        except OSError as error:  # no room, no right: this report's failure; the others go on
            shutil.rmtree(report.place, ignore_errors=True)
            report.end(status=FAILED, reason=str(error))
        report.outcomes = []
        self._log(report.entry)

    def _made(self, report: _Report, place: Path) -> None:
        told = told_of(report.record, place)
        report.end(folder=place.name, **told, moved=self._moved(report, told["headline"]))

    def _log(self, entry: ReportEntry) -> None:
        """Keep a line for the next start, should this one be broken off; what was found is told after the audit."""
        with open(self.work / LOG, "a", encoding="utf-8") as log:
            log.write(entry.model_dump_json(exclude_unset=True) + "\n")
        self.tell(entry.model_copy(update={"headline": None}))

    def _write(self, report: _Report) -> None:
        """Withhold what gives hidden numbers away; then write record, pages and index."""
        place = report.place
        place.mkdir(exist_ok=True)
        executed = sorted(report.outcomes, key=lambda o: report.plan.tasks.index(o.task))
        report.outcomes = withhold(report.plan, executed, place)
        for before, outcome in zip(executed, report.outcomes):
            if not self.plan.each and outcome is not before:
                self.tell(outcome)
        notebooks = [_entry(report.plan, outcome, place, clock=not self.reproducible) for outcome in report.outcomes]
        report.record = self._record(report.plan, place, report.digest, report.began, notebooks=notebooks)
        self._write_pages(report, place)

    def _write_pages(self, report: _Report, place: Path) -> None:
        record, before = report.record, self._before(report)
        record.write(place)
        if before or record.moved:
            record.moved = movement(before, place) if before else []
        write_pages(record, place)
        record.files = digests(place, record)
        record.write(place)

    def _before(self, report: _Report) -> Path | None:
        """Return the run that a report's index compares it with."""
        if not self.plan.each:
            return self.previous
        found = self.before.get(report.cell.only)
        return self.previous / found.folder if found and found.status == OK else None

    def _moved(self, report: _Report, headline: str | None) -> str | None:
        """Return how the headline of a report differs from that of the batch before, or None if there is none."""
        if self.previous is None or not headline:
            return None
        moved = report.record.moved[1:] if report.record else []  # one that is linked says the same
        return (moved or ["no change"])[0] if self._before(report) else "new"

    def _clock(self, began: datetime | None) -> dict:
        return {} if self.reproducible else times(began or self.started, now())

    def _record(self, plan: Plan, place: Path, digest: str | None, began: datetime | None, **parts) -> Record:
        """Return the record of a report from its notebooks, or of a fan-out from its reports."""
        failed = any(part.status == FAILED for part in [*parts.get("notebooks", ()), *parts.get("reports", ())])
        told = {"format": BATCH if "reports" in parts else FORMAT, "status": FAILED if failed else OK}
        told |= {"exit_status": int(failed), "title": plan.title, "study": study_from(place, plan.study)}
        told |= {"report": plan.report, "versions": versions(), "inputs": dict(plan.inputs), **self._clock(began)}
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
        record = self._record(self.plan, self.work, self._digest(self.plan, ""), self.started, **parts)
        record.write_log(self.work)
        write_batch_index(record, self.work)
        record.files = digests(self.work, record)
        record.write(self.work)
        return record

    def _withhold(self, report: _Report, gone: dict[str, str]) -> None:
        """Remove findings from a report that was made, or linked; beside others it would be another: it has no digest."""
        place = self.work / report.cell.name
        shutil.copytree(place, report.place)  # what is linked is an earlier run's, too
        shutil.rmtree(place)
        report.place.rename(place)
        record = report.record = Record.read(place)[1]
        record.digest = None
        apart = by_notebook(gone)
        for entry in (e for e in record.notebooks if e.name in apart):
            told = remove(apart[entry.name], place, entry.name)["reason"]
            entry.reason, entry.withheld = "; ".join(filter(None, [entry.reason, told])), apart[entry.name]
            entry.count(place)
        self._write_pages(report, place)
        self._made(report, place)
        self.tell(report.entry.model_copy(update={"headline": None}))


def told_of(record: Record, place: Path) -> dict:
    """Return what a log says of a report that was made."""
    told = record.became | record.model_dump(include={"seconds", "finished", "digest"}, exclude_unset=True)
    return told | {"headline": headline_of(record, place)}


def _entry(plan: Plan, outcome: Outcome, folder: Path, *, clock: bool) -> NotebookEntry:
    """Return what the record says of a notebook."""
    task = outcome.task
    home = task.path.parent if plan.ours else plan.project
    entry = NotebookEntry(
        name=task.name,
        title=title_of(task.notebook) or task.name,
        path="cxresearch/notebooks/" * plan.ours + os.path.relpath(task.path, home),
        sha256=task.sha256,
        status=outcome.status,
        reason=outcome.reason,
        failed_cell=outcome.cell,
        **({"traceback": list(outcome.traceback)} if outcome.traceback else {}),
        parameters={STUDY: study_from(folder, plan.study), **task.parameters},
        headline=task.headline,
        **({"seconds": round(outcome.seconds, 2)} if clock else {}),
    )
    entry.count(folder)
    return entry


def _of(folder: Path, matrix: dict) -> bool:
    """Return whether a folder holds a run of this study, report and fan-out."""
    record = Record.of(folder)
    return record is not None and all(getattr(record, name) == value for name, value in matrix.items())
