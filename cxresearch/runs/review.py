"""A finished run reviewed: executed again and held against what it was, and signed by who read it.

On one processor the bytes are the same; on another, which computes last digits differently, numbers to six digits. A
sign-off holds the digest of every file of the run. It shows that nothing changed since; it does not prove who wrote it,
since whoever can write the folder can write the sign-off.
"""

import html
import json
import tempfile
from collections import namedtuple
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from cxresearch.errors import StudyProblem
from cxresearch.findings import words
from cxresearch.runs.compare import CHANGED, alike, changes, contents, digests, with_sign_offs
from cxresearch.runs.notebooks import STUDY
from cxresearch.runs.record import BATCH, FAILED, SIGN_OFFS, Record, hidden, moment, versions

NAMED = 3  # files that voided a sign-off; of the others, how many
say = words(__package__)
# What came of executing a run again: files of the same bytes, the same to six digits, and different (`Change`); and
# versions that are not the run's, where tables differ the first place to look.
Verified = namedtuple("Verified", "same close different versions")


def verify_run(folder, *, notebooks=None) -> Verified:
    """Execute the notebooks of a run, or of each report of a batch, with the parameters of its record, and compare.

    Refused where an input or a notebook is not what it was: then the run cannot be repeated.
    """
    from cxresearch.runs import make  # not for whoever signs
    from cxresearch.runs.execution import mirrored
    from cxresearch.runs.render import headline_of, write_batch_index, write_pages
    from cxresearch.runs.withhold import remove

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
    same = tuple(sorted(f for f in was if was[f] == now.get(f)))
    different = tuple(c for c in found if c.what not in close)
    return Verified(same, close, different, changes(record.versions, versions()))


def _plan_again(place: Path, record: Record, notebooks):
    """Return the plan of a run with the parameters that it had."""
    from cxresearch.runs.plan import plan_run

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


class SignOff(BaseModel):
    """Who signed, what they said, when (ISO, UTC), and the digest of each file as it was then."""

    name: str
    note: str
    signed: str
    files: dict[str, str]


def sign_run(folder, *, name: str, note: str, now: datetime | None = None) -> SignOff:
    """Record a sign-off in a run or batch and show it on its pages; refuse a failed one, and one without a name."""
    place, record = Record.read(folder)
    if record.status == FAILED:
        raise StudyProblem(f"{folder} failed: {record.became['reason']}; a failed run is not signed")
    if not name.strip():
        raise StudyProblem("a sign-off needs a name; give --name")
    name, note, when = " ".join(name.split()), " ".join(note.split()), now or datetime.now(UTC)
    signed = SignOff(name=name, note=note, signed=when.isoformat(timespec="seconds"), files=digests(place))
    everybody = [s.model_dump() for s in (*sign_offs(place), signed)]
    _write(place / SIGN_OFFS, json.dumps(everybody, indent=1, ensure_ascii=False).encode())
    show_sign_offs(place)
    return signed


def sign_offs(folder: Path) -> list[SignOff]:
    """Return the sign-offs of a run, the oldest first."""
    try:
        return TypeAdapter(list[SignOff]).validate_json((folder / SIGN_OFFS).read_bytes())
    except OSError:
        return []
    except ValueError:
        raise StudyProblem(f"{folder / SIGN_OFFS} cannot be read; remove it and sign anew") from None


def changed_since(signed: SignOff, folder: Path) -> list[str]:
    """Return the files that are not what they were when the run was signed; none while the sign-off is valid."""
    return sorted(change.what for change in changes(signed.files, digests(folder)))


def show_sign_offs(run) -> list[tuple[str, bool]]:
    """Put the sign-offs below the title of each page; return each in words, and whether something voided it."""
    (folder, _), states, shown = Record.read(run), [], b""
    for signed in sign_offs(folder):
        note, changed = f": {signed.note.rstrip('.')}" if signed.note else "", changed_since(signed, folder)
        text = say("signed", name=signed.name, when=moment(signed.signed), note=note)
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        text += say("void", files=", ".join(changed[:NAMED]) + more) if changed else ""
        states.append((text, bool(changed)))
        told = html.escape(text).encode()
        shown += b"<p><strong>%b</strong></p>" % told if changed else b"<p>%b</p>" % told
    for page in sorted(folder.glob("*.html")):
        _write(page, with_sign_offs(page.read_bytes(), shown))
    return states


def _write(path: Path, content: bytes) -> None:
    """Replace a file whole: it may be linked into another run, which must keep what it has."""
    beside = hidden(path)
    beside.write_bytes(content)
    beside.replace(path)
