"""A reviewer's sign-off: who read a run and when, and whether the run still is what was read.

A sign-off holds the digest of every file of the run. It shows that nothing changed since; it does not prove who wrote
it, since whoever can write the folder can write the sign-off.
"""

import hashlib
import html
import json
import os
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.runs.compare import read_run
from cxresearch.runs.folder import FAILED, INDEX, SIGN_OFFS

START, END = "<!-- sign-offs -->", "<!-- end of sign-offs -->"
BLOCK = re.compile(f"{START}.*?{END}\n?", re.S)


@dataclass(frozen=True)
class SignOff:
    """Who signed, what they said, when (ISO, UTC), and the digest of each file as it was then."""

    name: str
    note: str
    signed: str
    files: dict[str, str]


def sign_run(folder, *, name: str, note: str, now: datetime) -> SignOff:
    """Record a sign-off in a run and show it on its pages.

    Raises
    ------
    StudyProblem
        If there is no run, the run failed, or no name is given.
    """
    place, record = read_run(folder)
    if record["status"] == FAILED:
        raise StudyProblem(f"{folder} failed: {_failures(record)}; a failed run is not signed")
    if not name.strip():
        raise StudyProblem("a sign-off needs a name; give --name")
    signed = SignOff(" ".join(name.split()), " ".join(note.split()), now.isoformat(timespec="seconds"), digests(place))
    _write(
        place / SIGN_OFFS, json.dumps([asdict(s) for s in [*sign_offs(place), signed]], indent=1, ensure_ascii=False)
    )
    show_sign_offs(place)
    return signed


def sign_offs(folder: Path) -> list[SignOff]:
    """Return the sign-offs of a run, the oldest first."""
    try:
        return [SignOff(**entry) for entry in json.loads((folder / SIGN_OFFS).read_text(encoding="utf-8"))]
    except OSError:
        return []
    except (ValueError, TypeError):
        raise StudyProblem(f"{folder / SIGN_OFFS} cannot be read; remove it and sign anew") from None


def changed_since(signed: SignOff, folder: Path) -> list[str]:
    """Return the files that are not what they were when the run was signed; none while the sign-off is valid."""
    now = digests(folder)
    return sorted(f for f in signed.files.keys() | now.keys() if signed.files.get(f) != now.get(f))


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run, by path; of a page without the sign-offs that it shows."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SIGN_OFFS)
    ours = [p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    return {p.relative_to(folder).as_posix(): _digest(p) for p in ours}


def show_sign_offs(folder: Path) -> None:
    """Put the sign-offs and their state below the title of each page; a void one says what changed."""
    states = [(s, changed_since(s, folder)) for s in sign_offs(folder)]
    block = f'{START}<div class="note">{"".join(_shown(*state) for state in states)}</div>{END}\n'
    for page in sorted(folder.glob("*.html")):
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        _write(page, text.replace("</h1>\n", f"</h1>\n{block}", 1) if states else text)


def said(signed: SignOff, changed: list[str]) -> str:
    """Return a sign-off in one sentence, with what voided it."""
    note = f": {signed.note.rstrip('.')}" if signed.note else ""
    line = f"Signed by {signed.name} on {signed.signed[:10]} {signed.signed[11:16]} UTC{note}."
    if not changed:
        return line
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f"{line} Void: since then {', '.join(changed[:3])}{more} changed."


def _shown(signed: SignOff, changed: list[str]) -> str:
    text = html.escape(said(signed, changed))
    return f"<p><strong>{text}</strong></p>" if changed else f"<p>{text}</p>"


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".html":
        content = BLOCK.sub("", content.decode("utf-8", errors="replace")).encode()
    return hashlib.sha256(content).hexdigest()


def _failures(record: dict) -> str:
    return "; ".join(f"{n['name']}: {n['reason']}" for n in record["notebooks"] if n["status"] == FAILED) or INDEX


def _write(path: Path, text: str) -> None:
    """Replace a file whole: it may be linked into another run, which must keep what it has."""
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
