"""A reviewer's sign-off: who read a run and when, and whether the run still is what was read.

A sign-off holds the digest of every file of the run. It shows that nothing changed since; it does not prove who wrote
it, since whoever can write the folder can write the sign-off.
"""

import hashlib
import html
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from cxresearch.errors import StudyProblem
from cxresearch.findings import words
from cxresearch.runs.record import FAILED, RECORD, SIGN_OFFS, Record, hidden, moment

HEAD, START, END = b"</h1>\n", b'<!-- sign-offs --><div class="note">', b"</div><!-- end of sign-offs -->\n"
NAMED = 3  # files that voided a sign-off; of the others, how many
say = words(__package__)


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
    told = {"name": " ".join(name.split()), "note": " ".join(note.split())}
    when = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    signed = SignOff(**told, signed=when, files=digests(place))
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
    now = digests(folder)
    return sorted(f for f in signed.files.keys() | now.keys() if signed.files.get(f) != now.get(f))


def contents(folder: Path, record: Record | None = None) -> Iterator[tuple[str, bytes | str]]:
    """Yield path and content of every file of a run or batch, hidden ones too; links and empty folders in words.

    Left out are the sign-offs beside a record, and, below the title of a page, the block that shows them; where its
    record is given, this, and all that the reports of a batch consist of but their own records.
    """
    reports = {report.folder for report in record.reports} if record else ()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        first, _, inner = name.partition("/")
        if record and (name == RECORD or first in reports and inner != RECORD):
            continue
        if path.is_symlink():
            yield name, f"link to {os.readlink(path)}"
        elif path.is_file() and not (path.name == SIGN_OFFS and path.with_name(RECORD).exists()):
            content = path.read_bytes()
            yield name, without_sign_offs(content) if path.suffix == ".html" else content
        elif path.is_dir() and not any(path.iterdir()):
            yield f"{name}/", "empty folder"


def digests(folder: Path, record: Record | None = None) -> dict[str, str]:
    """Return the SHA-256 of `contents` by path, words as they are."""
    return {f: c if isinstance(c, str) else hashlib.sha256(c).hexdigest() for f, c in contents(folder, record)}


def without_sign_offs(page: bytes) -> bytes:
    """Return a page without the block that `show_sign_offs` puts below its title; one anywhere else stays."""
    before, head, after = page.partition(HEAD)
    block, end, rest = after.partition(END)
    return before + head + rest if end and block.startswith(START) else page


def show_sign_offs(run) -> list[tuple[str, bool]]:
    """Put the sign-offs below the title of each page; return each in words, with what voided it, and whether it is void."""
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
        content = without_sign_offs(page.read_bytes())
        _write(page, content.replace(HEAD, HEAD + START + shown + END, 1) if states else content)
    return states


def _write(path: Path, content: bytes) -> None:
    """Replace a file whole: it may be linked into another run, which must keep what it has."""
    beside = hidden(path)
    beside.write_bytes(content)
    beside.replace(path)
