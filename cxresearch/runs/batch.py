"""A batch: one report for each cell of a fan-out, made side by side, from tables that are read once.

Each report is a run in a folder of its own; the batch appears whole, as a run does. Where it is broken off, what was
finished stays in a hidden folder, and the next start takes it over.
"""

import json
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cxresearch.runs.across import withheld_reports
from cxresearch.runs.batch_page import headline_of, moved_since, reports_by_value, write_batch_index
from cxresearch.runs.execute import FAILED, OK, SKIPPED, Outcome, study_from
from cxresearch.runs.folder import BATCH, INDEX, LOG, MATRIX, broken_off, building, remove_broken, require_free
from cxresearch.runs.kernels import import_papermill
from cxresearch.runs.make import make_run
from cxresearch.runs.matrix import Cell, cells_of
from cxresearch.runs.plan import Plan, load_unchanged, narrowed_plan, plan_study
from cxresearch.runs.pool import Pool
from cxresearch.runs.record import Clock, input_digests, now, versions, write_record
from cxresearch.runs.shelf import runs_on
from cxresearch.runs.unchanged import link_report, link_tree, record_of, reports_made, with_digest
from cxresearch.study.groups import require_groups
from cxresearch.study.shared import require_unchanged, shared_tables, signature

LOOKED_BACK = 10  # batches in which an unchanged report is looked for
MOMENT = re.compile(r"\d{8}T\d{6}Z(-\d+)?")  # a run on the study's own shelf: what lies beside it is ours
TOO_FEW = "TooFewRespondents: "


@dataclass(frozen=True)
class BatchPlan:
    """A batch that may start.

    Attributes
    ----------
    plan, opened
        Of the whole study; its tables are not read yet.
    each, whole, min_rows
        The columns of the fan-out, whether the study as a whole is a report, and the fewest rows of one.
    """

    plan: Plan
    opened: object
    each: tuple[str, ...]
    whole: bool
    min_rows: int

    @property
    def matrix(self) -> list:
        """What makes two batches rounds of the same: the report and the columns."""
        return [self.plan.report, list(self.each)]

    @cached_property
    def seen(self) -> dict:
        """Signature of the study's files; reads and checks its tables, once for all reports."""
        return load_unchanged(self.opened)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The reports, in reading order; reads the tables."""
        require_unchanged(self.seen, signature(self.opened), "while it was read")
        return tuple(cells_of(self.opened, self.each, whole=self.whole, min_rows=self.min_rows))

    def digested(self, final: Path, options: dict) -> Plan:
        """Return the plan with the digest of the batch as a whole."""
        told = {"each": self.each, "whole": self.whole, "min_rows": self.min_rows, **options}
        return with_digest(self.plan, final, told)


@dataclass(frozen=True)
class MadeBatch:
    """A finished batch: its folder, and what became of each report (as in its log)."""

    folder: Path
    reports: tuple[dict, ...]

    @property
    def index(self) -> Path:
        return self.folder / INDEX

    @property
    def whole(self) -> bool:
        return all(r["status"] != FAILED for r in self.reports)


def plan_batch(
    study,
    *,
    each=(),
    whole=False,
    min_rows=None,
    report=None,
    only=(),
    settings=(),
    notebooks=None,
    today=None,
    now=None,
) -> BatchPlan:
    """Check everything that can be checked without executing; the study's tables are read here, once.

    Parameters
    ----------
    study, report, only, settings, notebooks, today, now
        As for `plan_study`.
    each : sequence of str
        Columns; without any, those of the report.
    whole : bool
        Make a report on the whole study, too; also where the report says so.
    min_rows : int, optional
        A value with fewer rows gets no report; without it, what the report says.

    Raises
    ------
    StudyProblem, DataProblem
        As `plan_study` and `cells_of`.
    """
    plan, opened = plan_study(
        study, report=report, only=only, settings=settings, notebooks=notebooks, today=today, now=now, load=False
    )
    seen = signature(opened)
    plan = replace(plan, inputs=input_digests(plan))
    require_unchanged(seen, signature(opened), "while it was read")
    declared = opened.reports.get(report)
    each = tuple(each or (declared.each if declared else ()))
    floor = min_rows or (declared.min_rows if declared else 1)
    require_groups(opened, each)
    return BatchPlan(plan, opened, each, whole or bool(declared and declared.whole), floor)


def same_batch(batch: BatchPlan, final: Path, *, with_code: bool) -> Path | None:
    """Return the newest whole batch that says, report for report, what this one would say."""
    digest = batch.digested(final.resolve(), {"with_code": with_code}).digest
    wanted = {"format": BATCH, "digest": digest, "status": OK}
    return next((p for p in [final, *runs_on(final.resolve().parent)] if wanted.items() <= _shown(record_of(p))), None)


def make_batch(
    batch: BatchPlan,
    final: Path,
    *,
    timeout=600.0,
    with_code=False,
    reproducible=False,
    jobs=None,
    force=False,
    pool=None,
    tell: Callable[[dict], None] | None = None,
) -> MadeBatch:
    """Carry out a batch and return it.

    Parameters
    ----------
    batch
        From `plan_batch`.
    final
        Folder of the batch; a whole one replaces an earlier one.
    timeout, with_code, reproducible
        As for `make_run`.
    jobs
        Notebooks at a time.
    force
        Make reports anew that would only be linked.
    pool : optional
        Where to execute (`Pool`, `ClusterPool`); without it, a pool with `jobs` places is made.
    tell
        Called with each log entry as its report ends.
    """
    final = Path(final).resolve()
    require_free(final)
    earlier = [final, *runs_on(final.parent)]
    everything = broken_off(final.parent, name="" if MOMENT.fullmatch(final.name) else final.name)
    broken = [work for work in everything if _matrix_of(work) == batch.matrix]
    linking = not (force or reproducible)
    same = same_batch(batch, final, with_code=with_code) if linking else None
    previous = None if reproducible else next((p for p in earlier if _matrix(record_of(p)) == batch.matrix), None)
    before = reports_by_value(previous)
    with building(final, keep_broken=True) as place:
        started = now()
        (place.work / MATRIX).write_text(json.dumps(batch.matrix), encoding="utf-8")
        reports = linked_batch(same, place.work, tell) if same else None
        if reports is None:
            sources = reports_made([*broken, *earlier[: LOOKED_BACK + 1]]) if linking else {}
            how = {"timeout": timeout, "reproducible": reproducible}
            work = _Work(batch, sources, {"with_code": with_code}, how, place.work, final, previous, before)
            reports = work.audited(work.carried_out(pool, jobs, tell), tell)
        clock = None if reproducible else Clock(started, now())
        record = _record(batch, reports, place.work, clock)
        record |= {} if reproducible else {"digest": batch.digested(final, {"with_code": with_code}).digest}
        record["reports"] = [{**r, "moved": moved_since(previous, before, r, place.work)} for r in reports]
        write_record(record, place.work)
        write_batch_index(record, place.work)
        (place.work / MATRIX).unlink()
        folder = place.publish(whole=record["exit_status"] == 0)
    remove_broken(broken)
    return MadeBatch(folder, tuple(record["reports"]))


def linked_batch(same: Path, work: Path, tell) -> list[dict] | None:
    """Link every report of a batch; return their log entries, or None where one is not there any more."""
    reports = []
    for entry in record_of(same)["reports"]:
        entry = {k: v for k, v in entry.items() if k not in ("moved", "seconds", "finished")}
        if entry["status"] == OK:
            entry["unchanged"] = True
            if not link_report(same / entry["folder"], work / entry["folder"], entry["digest"]):
                return None
        elif entry["folder"]:
            link_tree(same / entry["folder"], work / entry["folder"])
        reports.append(entry)
    with open(work / LOG, "w", encoding="utf-8") as log:
        for entry in reports:
            log.write(json.dumps(entry, ensure_ascii=False) + "\n")
            if tell:
                tell(entry)
    return reports


@dataclass
class _Work:
    """What the reports of a batch share while they are made."""

    batch: BatchPlan
    sources: dict
    options: dict
    how: dict
    work: Path
    final: Path
    previous: Path | None
    before: dict

    def carried_out(self, pool, jobs: int | None, tell) -> list[dict]:
        """Return the log entry of each report, in reading order, when all have ended."""
        import_papermill()  # once, before threads would import it side by side
        with ExitStack() as stack:
            guarded = _Guarded(pool or stack.enter_context(Pool(jobs)))
            stack.enter_context(shared_tables(self.batch.opened, self.work, seen=self.batch.seen))
            log = stack.enter_context(open(self.work / LOG, "a", encoding="utf-8"))
            threads = stack.enter_context(ThreadPoolExecutor(guarded.jobs))
            waiting = {threads.submit(self._report, c, guarded): c for c in self.batch.cells}
            ended: dict[Cell, dict] = {}
            try:
                while waiting:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        entry = ended[waiting.pop(future)] = future.result()
                        log.write(json.dumps(entry, ensure_ascii=False) + "\n")
                        log.flush()
                        if tell:
                            tell(entry)
            except BaseException:  # Ctrl-C, SIGTERM: what is finished stays, what runs is stopped
                for future in waiting:
                    future.cancel()
                while wait(waiting, timeout=0.1).not_done:
                    guarded.stop_all()
                raise
        return [ended[cell] for cell in self.batch.cells]

    def audited(self, reports: list[dict], tell) -> list[dict]:
        """Remove the reports that give away, together, what one of them hides; return the log entries."""
        withheld = withheld_reports(self.batch.cells, self.work)
        if not withheld:
            return reports
        entries = dict(zip(self.batch.cells, reports))
        with open(self.work / LOG, "a", encoding="utf-8") as log:
            for cell, reason in withheld.items():
                shutil.rmtree(self.work / cell.name)
                gone = {"folder": None, "unchanged": False, "status": SKIPPED, "reason": reason}
                entries[cell] = {k: v for k, v in entries[cell].items() if k in ("report", "values")} | gone
                log.write(json.dumps(entries[cell], ensure_ascii=False) + "\n")
                if tell:
                    tell(entries[cell])
        return list(entries.values())

    def _report(self, cell: Cell, pool) -> dict:
        began = now()
        entry = {"report": cell.label, "values": cell.values, "folder": None, "unchanged": False}
        if cell.skip:
            return entry | {"status": SKIPPED, "reason": cell.skip}
        plan = narrowed_plan(self.batch.plan, self.batch.opened, cell.only) if cell.only else self.batch.plan
        plan = with_digest(plan, self.final / cell.name, self.options)
        made, known = self.sources.get(plan.digest, (None, {}))
        if made and link_report(made, self.work / cell.name, plan.digest):
            same = {k: known.get(k) for k in ("status", "reason", "headline", "digest")}
            return entry | same | {"folder": cell.name, "unchanged": True}
        try:
            before = self._before(cell)
            run = make_run(
                plan, self.work / cell.name, **self.how, **self.options, pool=pool, previous=lambda *_: before
            )
        except OSError as error:  # no room, no right: this report's failure; the others go on
            return entry | {"status": FAILED, "reason": str(error)}
        finished = {"seconds": round((now() - began).total_seconds(), 2), "finished": now().isoformat("T", "seconds")}
        clocks = {} if self.how["reproducible"] else {**finished, "digest": plan.digest}
        return entry | _state(run.outcomes) | {"folder": cell.name, "headline": headline_of(run.folder)} | clocks

    def _before(self, cell: Cell) -> Path | None:
        """Return the same report of the batch before, if it was whole."""
        found = self.before.get(cell.only, {})
        return self.previous / found["folder"] if found.get("status") == OK else None


def _state(outcomes: Sequence[Outcome]) -> dict:
    """Return status and reason of a report from those of its notebooks."""
    for status in (FAILED, OK, SKIPPED):
        having = [o for o in outcomes if o.status == status]
        if having:
            reasons = "; ".join(f"{o.task.name}: {o.reason}" for o in having) if status != OK else None
            return {"status": status, "reason": reasons}
    return {"status": SKIPPED, "reason": "no notebook"}


class _Guarded:
    """A pool that can be stopped altogether, and that skips a notebook whose part of the study is too small for it."""

    def __init__(self, pool):
        self.pool, self.jobs = pool, pool.jobs
        self._active: list[Path] = []
        self._stopped = threading.Event()

    def execute(self, task, plan, folder: Path, *, timeout: float) -> Outcome:
        if self._stopped.is_set():
            raise RuntimeError("the batch was stopped")
        self._active.append(folder)
        outcome = self.pool.execute(task, plan, folder, timeout=timeout)
        self._active.remove(folder)
        if self._stopped.is_set():
            raise RuntimeError("the batch was stopped")
        _, narrowed, reason = (outcome.reason or "").partition(TOO_FEW)
        if outcome.status != FAILED or not narrowed or "?" not in plan.study.name:
            return outcome
        (folder / f"{task.name}.ipynb").unlink(missing_ok=True)
        return replace(outcome, status=SKIPPED, reason=reason, failure=None)

    def stop(self, folder: Path) -> None:
        self.pool.stop(folder)

    def stop_all(self) -> None:
        self._stopped.set()
        for folder in list(self._active):
            self.pool.stop(folder)


def _record(batch: BatchPlan, reports: Sequence[dict], folder: Path, clock: Clock | None) -> dict:
    failed = any(r["status"] == FAILED for r in reports)
    return {
        "format": BATCH,
        "status": FAILED if failed else OK,
        "exit_status": int(failed),
        "title": batch.plan.title,
        "study": study_from(folder, batch.plan.study),
        "report": batch.plan.report,
        "each": list(batch.each),
        **(_times(clock) if clock else {}),
        "versions": versions(),
        "inputs": dict(batch.plan.inputs),
        "reports": list(reports),
    }


def _times(clock: Clock) -> dict:
    times = {"started": clock.started, "finished": clock.finished}
    return {**{k: v.isoformat(timespec="seconds") for k, v in times.items()}, "seconds": clock.seconds}


def _shown(record: dict) -> set:
    return {(k, record.get(k)) for k in ("format", "digest", "status")}


def _matrix(record: dict) -> list | None:
    return [record["report"], record["each"]] if record.get("format") == BATCH else None


def _matrix_of(broken: Path) -> list | None:
    """Return the matrix of a batch that was broken off; None of anything else."""
    try:
        return json.loads((broken / MATRIX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
