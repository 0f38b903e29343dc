"""Make a run: execute the notebooks, audit, keep the record, render the pages, give the folder its name.

A run of one report is a fan-out of one, and takes the same way. Each report of a fan-out has a folder of its own; the
run appears whole. Where it is broken off, what was finished stays hidden, and the next start takes it over.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cxresearch.runs.across import withheld_reports
from cxresearch.runs.execution import Outcome, Pool, study_from
from cxresearch.runs.folder import MATRIX, broken_off, building, remove_broken, require_free
from cxresearch.runs.matrix import Cell
from cxresearch.runs.page import title_of
from cxresearch.runs.parameters import STUDY
from cxresearch.runs.plan import Plan
from cxresearch.runs.record import (
    BATCH,
    FAILED,
    FORMAT,
    INDEX,
    LOG,
    OK,
    RECORD,
    SKIPPED,
    NotebookEntry,
    Record,
    ReportEntry,
    failed_checks,
    git,
    now,
    read_findings,
    sha256,
    times,
    versions,
)  # fmt: skip
from cxresearch.runs.render import headline_of, moved_since, previous_run, write_batch_index, write_index, write_page
from cxresearch.runs.shelf import runs_on
from cxresearch.runs.signoff import digests
from cxresearch.runs.unchanged import digest_of, is_whole, link_report, reports_made
from cxresearch.runs.withhold import withhold
from cxresearch.study.shared import shared_tables

LOOKED_BACK = 10  # batches in which an unchanged report is looked for
MOMENT = re.compile(r"\d{8}T\d{6}Z(-\d+)?")  # a run on the study's own shelf: what lies beside it is ours
UNDER_WAY = "while the run was under way"


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its record, and, of a single report, what became of each notebook."""

    folder: Path
    record: Record
    outcomes: tuple[Outcome, ...] = ()

    @property
    def index(self) -> Path:
        return self.folder / INDEX

    @property
    def whole(self) -> bool:
        return self.record.status != FAILED

    @property
    def reports(self) -> list[ReportEntry]:
        return self.record.reports


def same_run(plan: Plan, final: Path) -> Path | None:
    """Return the newest whole run that says what the run of a plan would say."""
    digest = digest_of(plan, final)
    return next((p for p in (final, *runs_on(final.resolve().parent)) if is_whole(p, digest)), None)


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
    `ReportEntry` of several, as it ends, and again if it is withheld; what was found is told after the audit.

    Raises
    ------
    StudyProblem
        If `final` holds anything that no run wrote, or the data changed while the run was under way.
    """
    final = Path(final).resolve()
    require_free(final)
    matrix = [plan.report, list(plan.each)] if plan.each else None
    with building(final, keep_broken=bool(matrix)) as place, ExitStack() as stack:
        work = _Work(plan, final, place.work, timeout, reproducible, tell or (lambda _: None))
        broken = work.look_back(matrix, linking=not (force or reproducible)) if matrix else []
        work.pool = pool or stack.enter_context(Pool(jobs))
        cells = plan.cells
        stack.enter_context(shared_tables(plan.opened._whole, place.work, seen=dict(plan.seen)))
        work.carry_out([_Report(c, place.work / (f".{c.name}" if matrix else "")) for c in cells])
        record = work.batch_record() if matrix else work.reports[0].record
        if record.status != FAILED:
            plan.require_unchanged(UNDER_WAY)
        if matrix:
            (place.work / MATRIX).unlink()
        folder = place.publish(whole=record.status != FAILED)
    remove_broken(broken)
    return Run(folder, record, () if matrix else tuple(work.reports[0].outcomes))


@dataclass
class _Report:
    """A report on its way: the cell, the folder in which it is made, and what has become of its notebooks."""

    cell: Cell
    place: Path
    plan: Plan | None = None
    began: datetime | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    digest: str | None = None
    record: Record | None = None
    entry: ReportEntry | None = None

    def told(self, **state) -> ReportEntry:
        """Return the entry of the report in the log."""
        known = {"report": self.cell.label, "values": self.cell.values, "folder": None, "unchanged": False}
        return ReportEntry(**known | state)


@dataclass
class _Work:
    """What the reports of a run share while they are made."""

    plan: Plan
    final: Path
    work: Path
    timeout: float
    reproducible: bool
    tell: Callable
    pool: object = None
    started: datetime = field(default_factory=now)
    reports: list[_Report] = field(default_factory=list)
    sources: dict = field(default_factory=dict)
    previous: Path | None = None
    before: dict = field(default_factory=dict)

    def look_back(self, matrix: list, *, linking: bool) -> list[Path]:
        """Find what this fan-out is compared with and linked from; return what was broken off of it."""
        earlier = [self.final, *runs_on(self.final.parent)]
        name = "" if MOMENT.fullmatch(self.final.name) else self.final.name
        broken = [p for p in broken_off(self.final.parent, name=name) if _matrix_of(p) == matrix]
        same = (p for p in earlier if (r := Record.of(p)) and [r.report, r.each] == matrix)
        if not self.reproducible:
            self.previous = next(same, None)
            reports = Record.read(self.previous)[1].reports if self.previous else ()
            self.before = {tuple(r.values.items()): r for r in reports if r.folder}  # one skipped may be several
        if linking:
            self.sources = reports_made([*broken, *earlier[: LOOKED_BACK + 1]])
        (self.work / MATRIX).write_text(json.dumps(matrix), encoding="utf-8")
        return broken

    def carry_out(self, reports: list[_Report]) -> None:
        """Execute, finish and audit the reports; what is unchanged is linked."""
        self.reports = reports
        for report in reports:
            report.entry = self._at_once(report)
        to_make = [report for report in reports if report.entry is None]
        self._execute(to_make)
        if self.plan.each:
            self._audit()

    def _at_once(self, report: _Report) -> ReportEntry | None:
        """Return the entry of a report that needs no notebook: it is refused, or an earlier one is linked."""
        cell = report.cell
        if not self.plan.each:
            report.plan, report.digest = self.plan, self._digest(self.plan, "")
            return None
        if cell.skip:
            entry = report.told(status=SKIPPED, reason=cell.skip)
        else:
            report.plan = self.plan.narrowed(cell.only)
            report.digest = self._digest(report.plan, cell.name)
            made, known = self.sources.get(report.digest, (None, None))
            if not (made and link_report(made, self.work / cell.name, report.digest)):
                return None
            same = {k: getattr(known, k) for k in ("status", "reason", "headline", "digest")}
            same["content"] = sha256(self.work / cell.name / RECORD)
            entry = report.told(**same, folder=cell.name, unchanged=True)
        self._log(entry)
        return entry

    def _digest(self, plan: Plan, name: str) -> str | None:
        return None if self.reproducible else digest_of(plan, self.final / name)

    def _execute(self, reports: list[_Report]) -> None:
        """Execute the notebooks of all reports, some side by side, and finish each report as its last one ends.

        Threads, not processes: the work is done in the notebooks' processes, and papermill is imported once.
        """
        for report in reports:
            report.outcomes = [Outcome(t, SKIPPED, t.skip) for t in report.plan.tasks if t.skip]
            if not self.plan.each:
                for outcome in report.outcomes:
                    self.tell(outcome)
            if len(report.outcomes) == len(report.plan.tasks):
                self._finish(report)
        jobs = [(r, t) for r in reports for t in r.plan.tasks if not t.skip]
        if not jobs:
            return
        with ThreadPoolExecutor(self.pool.jobs) as threads:
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
        return self.pool.execute(task, report.plan.study, report.place, timeout=self.timeout)

    def _ended(self, report: _Report, outcome: Outcome) -> None:
        task = outcome.task
        if self.plan.each and outcome.failure and outcome.failure.error == "TooFewRespondents" and report.cell.only:
            (report.place / f"{task.name}.ipynb").unlink(missing_ok=True)
            outcome = Outcome(task, SKIPPED, outcome.failure.reason.partition(": ")[2])
        report.outcomes.append(outcome)
        if not self.plan.each:
            self.tell(outcome)
        if len(report.outcomes) == len(report.plan.tasks):
            self._finish(report)

    def _finish(self, report: _Report) -> None:
        """Audit a report, write its record and its pages, and log it."""
        if not self.plan.each:
            self._write(report)
            return
        place = self.work / report.cell.name
        try:
            self._write(report)
            report.place.rename(place)
            state = {"folder": place.name, **_state(report.outcomes), "headline": headline_of(place)}
            state |= {} if self.reproducible else {k: v for k, v in self._clock(report).items() if k != "started"}
            report.entry = report.told(**state, digest=report.digest, content=sha256(place / RECORD))
        except OSError as error:  # no room, no right: this report's failure; the others go on
            shutil.rmtree(report.place, ignore_errors=True)
            report.entry = report.told(status=FAILED, reason=str(error))
        report.outcomes = []
        self._log(report.entry)

    def _log(self, entry: ReportEntry) -> None:
        """Keep a line for the next start, should this one be broken off; what was found is told after the audit."""
        with open(self.work / LOG, "a", encoding="utf-8") as log:
            log.write(entry.model_dump_json(exclude_unset=True) + "\n")
        self.tell(entry.model_copy(update={"headline": None}))

    def _write(self, report: _Report) -> None:
        """Withhold what gives hidden numbers away; then write record, pages and index."""
        report.place.mkdir(exist_ok=True)
        executed = sorted(report.outcomes, key=lambda o: report.plan.tasks.index(o.task))
        report.outcomes = withhold(report.plan, executed, report.place)
        for before, outcome in zip(executed, report.outcomes):
            if not self.plan.each and outcome is not before:
                self.tell(outcome)
        record = report.record = self._record(report)
        record.write(report.place)  # movement is told by comparing it
        for outcome in report.outcomes:
            write_page(outcome, record, report.place)
        write_index(report.outcomes, record, report.place, previous=self._before(report))
        record.files = {f: d for f, d in digests(report.place).items() if f != RECORD}
        record.write(report.place)

    def _before(self, report: _Report) -> Path | None:
        """Return the run that a report's index compares it with."""
        if not self.plan.each:
            return previous_run(self.final, report.record)
        found = self.before.get(report.cell.only)
        return self.previous / found.folder if found and found.status == OK else None

    def _clock(self, report: _Report) -> dict:
        return times(report.began or self.started, now())

    def _record(self, report: _Report) -> Record:
        plan, clock = report.plan, {} if self.reproducible else self._clock(report) | _commit(report.plan)
        common = self._common(plan, report.place, report.digest, clock, report.outcomes)
        rest = {"queries": dict(plan.opened.queries), "privacy": list(plan.opened.privacy)}
        rest["targets"] = getattr(plan.opened, "targets", {})
        notebooks = [self._entry(plan, o, report.place) for o in report.outcomes]
        return Record(format=FORMAT, **common, **{k: v for k, v in rest.items() if v}, notebooks=notebooks)

    def _common(self, plan: Plan, place: Path, digest: str | None, clock: dict, ended: list) -> dict:
        """Return what the records of a report and of a fan-out have in common."""
        failed = any(part.status == FAILED for part in ended)
        told = {"status": FAILED if failed else OK, "exit_status": int(failed), "title": plan.title}
        told |= {"study": study_from(place, plan.study), "report": plan.report}
        told |= {k: v for k, v in (("only", list(plan.only)), ("digest", digest)) if v}
        return told | clock | {"versions": versions(), "inputs": dict(plan.inputs)}

    def _entry(self, plan: Plan, outcome: Outcome, folder: Path) -> NotebookEntry:
        task, failure = outcome.task, outcome.failure
        findings = read_findings(folder, task.name, task.headline)
        traceback = list(failure.traceback) if failure else []
        return NotebookEntry(
            name=task.name,
            title=title_of(task.notebook) or task.name,
            path="cxresearch/notebooks/" * plan.ours
            + os.path.relpath(task.path, task.path.parent if plan.ours else plan.project),
            sha256=sha256(task.path),
            status=outcome.status,
            reason=outcome.reason,
            failed_cell=failure.cell + 1 if failure and failure.cell is not None else None,
            **({"traceback": traceback} if traceback else {}),
            parameters={STUDY: study_from(folder, plan.study), **task.parameters},
            headline=task.headline,
            findings={f["name"]: f["id"] for f in findings},
            failed_checks=len(failed_checks(findings)),
            **({} if self.reproducible else {"seconds": round(outcome.seconds, 2)}),
        )

    def _audit(self) -> None:
        """Remove the reports that give away, together, what one of them hides."""
        withheld = withheld_reports([r.cell for r in self.reports], self.work)
        for report in self.reports:
            if report.cell in withheld:
                shutil.rmtree(self.work / report.cell.name)
                report.entry = report.told(status=SKIPPED, reason=withheld[report.cell])
                self.tell(report.entry)

    def batch_record(self) -> Record:
        """Write log, index and record of a fan-out, and return the record."""
        entries = [r.entry for r in self.reports]
        (self.work / LOG).write_text(
            "".join(e.model_dump_json(exclude_unset=True) + "\n" for e in entries), encoding="utf-8"
        )
        clock = {} if self.reproducible else times(self.started, now())
        common = self._common(self.plan, self.work, self._digest(self.plan, ""), clock, entries)
        moved = [e.model_copy(update={"moved": moved_since(self.previous, self.before, e, self.work)}) for e in entries]
        record = Record(format=BATCH, **common, each=list(self.plan.each), reports=moved)
        write_batch_index(record, self.work)
        record.files = {name: sha256(self.work / name) for name in (INDEX, LOG)}
        record.write(self.work)
        return record


def _commit(plan: Plan) -> dict:
    changed = bool(git(plan.project, "status", "--porcelain", "--untracked-files=no"))
    return {"git_commit": git(plan.project, "rev-parse", "HEAD"), "git_changed": changed}


def _state(outcomes: list[Outcome]) -> dict:
    """Return status and reason of a report from those of its notebooks."""
    for status in (FAILED, OK, SKIPPED):
        having = [o for o in outcomes if o.status == status]
        if having:
            reasons = "; ".join(f"{o.task.name}: {o.reason}" for o in having) if status != OK else None
            return {"status": status, "reason": reasons}
    return {"status": SKIPPED, "reason": "no notebook"}


def _matrix_of(broken: Path) -> list | None:
    """Return the matrix of a batch that was broken off; None of anything else."""
    try:
        return json.loads((broken / MATRIX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
