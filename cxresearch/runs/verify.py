"""Execute a run again from its record, and hold its findings, its executed notebooks and its pages against that.

On one processor the bytes are the same; on another, which computes last digits differently, numbers to six digits.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.runs import make
from cxresearch.runs.cluster import mirrored
from cxresearch.runs.compare import CHANGED, GONE, NEW, Change, alike, changes
from cxresearch.runs.notebooks import STUDY
from cxresearch.runs.plan import Plan, plan_run
from cxresearch.runs.record import BATCH, Record, versions
from cxresearch.runs.render import headline_of, write_batch_index, write_pages
from cxresearch.runs.signoff import contents
from cxresearch.runs.withhold import remove

WORDS = {NEW: "only in the repetition", GONE: "not in the repetition", CHANGED: "not the same to six digits"}


@dataclass(frozen=True)
class Verified:
    """What came of executing a run again: files of the same bytes, the same to six digits, and different; and versions
    that are not the run's, where tables differ the first place to look."""

    same: tuple[str, ...]
    close: tuple[str, ...]
    different: tuple[str, ...]
    versions: tuple[Change, ...]


def verify_run(folder, *, notebooks=None) -> Verified:
    """Execute the notebooks of a run, or of each report of a batch, with the parameters of its record, and compare.

    Refused where an input or a notebook is not what it was: then the run cannot be repeated.
    """
    place, record = Record.read(folder)
    entries, was, now = {report.report: report for report in record.reports}, {}, {}
    with make.Pool() as pool, tempfile.TemporaryDirectory(prefix="cxr-") as shelf:
        for label, home, run in record.runs(place):
            plan = _plan_again(home, run, notebooks)
            with mirrored(plan.study, home.resolve()) as (beside, study):
                again = make.make_run(replace(plan, study=study), beside, pool=pool, reproducible=True)
                for entry in run.notebooks:
                    if entry.withheld:
                        remove(entry.withheld, again.folder, entry.name)
                write_pages(run, again.folder)  # with the clocks of the run itself
                now |= _files(again.folder, home.relative_to(place))
                if label:
                    entries[label].headline = headline_of(run, again.folder)
            was |= _files(home, home.relative_to(place))
        if record.format == BATCH:
            write_batch_index(record, Path(shelf))  # with the headlines of the repetition, as is the log
            record.write_log(Path(shelf))
            now |= _files(Path(shelf))
            was |= {name: content for name, content in _files(place).items() if "/" not in name}
    found = changes(was, now)
    close = tuple(c.what for c in found if c.kind == CHANGED and alike(c.what, c.before, c.after))
    different = tuple(f"{c.what}: {WORDS[c.kind]}" for c in found if c.what not in close)
    same = tuple(sorted(f for f in was if was[f] == now.get(f)))
    return Verified(same, close, different, changes(record.versions, versions()))


def _plan_again(place: Path, record: Record, notebooks) -> Plan:
    """Return the plan of a run with the parameters that it had."""
    entries = {entry.name: entry for entry in record.notebooks}
    plan = plan_run(place / record.study, only=list(entries), notebooks=notebooks)
    now = Record(inputs=dict(plan.inputs), queries=dict(plan.opened.queries))
    changed = [c.what for c in changes(record.everything_read, now.everything_read)]
    changed += [t.path.name for t in plan.tasks if t.sha256 != entries[t.name].sha256]
    if changed:
        advice = "put the earlier state back, or make a new run and compare the two"
        raise StudyProblem(f"{place} cannot be repeated: {', '.join(changed)} changed since it was made; {advice}")
    tasks = []
    for task in plan.tasks:
        recorded = {name: value for name, value in entries[task.name].parameters.items() if name != STUDY}
        given = {name: value for name, value in recorded.items() if value != task.parameters[name]}
        tasks.append(replace(task, given=given, parameters=recorded))
    return replace(plan, report=record.report, tasks=tuple(tasks))


def _files(folder: Path, inside: Path = Path()) -> dict[str, bytes]:
    """Return what a run consists of beside its record by the path that it has `inside` a batch."""
    found = contents(folder, Record.of(folder))
    return {(inside / name).as_posix(): content for name, content in found if isinstance(content, bytes)}
