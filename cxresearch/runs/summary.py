"""What the index of a run says beyond its headlines: what moved, what is not established, what was suppressed."""

import re
from dataclasses import dataclass
from pathlib import Path

from cxresearch.errors import DataProblem
from cxresearch.privacy.base import POOLED
from cxresearch.runs.compare import FindingChange, compare_runs, movement_words
from cxresearch.runs.execute import FAILED, OK, SKIPPED
from cxresearch.runs.folder import BATCH
from cxresearch.runs.shelf import runs_on
from cxresearch.runs.unchanged import record_of

# The words that every finding's sentence uses for it (docs/architecture.md, the contract of a finding).
OPEN = re.compile(
    r"not established|\bno [^.]{1,80} is established|\btied? with|\ba tie\b|unstable|too few|cannot be told", re.I
)
HIDDEN = re.compile(
    r"small base|below base|under the (minimum|smallest) base|suppressed|withheld|(is|are) hidden", re.I
)
HIDING_CHECK = re.compile(r"hidden by the minimum base|under the smallest base|smallest base compared")
SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-Z0-9])")
ROWS = 3  # of a headline that are told on the index


@dataclass(frozen=True)
class Told:
    """A line of the index: the words, the notebook (no name where it has no page) and the finding they come from."""

    said: str
    name: str
    title: str
    finding: str = ""


@dataclass(frozen=True)
class Moved:
    """What changed since an earlier run: one sentence, and a line a headline."""

    said: str
    lines: tuple[str, ...] = ()


def not_established(cards: list[dict]) -> list[Told]:
    """Return what the findings leave open, in their own words, and the questions that were not answered."""
    return [*_unanswered(cards), *_saying(cards, OPEN)]


def suppressed(cards: list[dict]) -> list[Told]:
    """Return what is hidden or pooled for its small base, and the notebooks that were withheld."""
    told = [t for t in _unanswered(cards) if HIDDEN.search(t.said)] + _saying(cards, HIDDEN)
    for card in cards:
        for finding in card["findings_read"]:
            checks = [c for c in finding["checks"] if not c["ok"] and HIDING_CHECK.search(c["check"])]
            told += [Told(f"{c['check']}: {c['value']}", card["name"], card["title"], finding["name"]) for c in checks]
        pooled = [name for name, pools in card["pooled"].items() if pools]
        if pooled:
            told.append(Told(f"small groups are pooled as “{POOLED}”", card["name"], card["title"], ", ".join(pooled)))
    return told


def movement(previous: Path | None, folder: Path) -> Moved:
    """Return how the headlines of the run in `folder` differ from those of an earlier one."""
    if previous is None:
        return Moved("No earlier run of this study is kept beside this one.")
    started = record_of(previous).get("started", "")
    since = f"the run of {started[:10]} {started[11:16]} UTC"
    try:
        found = compare_runs(previous, folder)
    except (DataProblem, OSError, KeyError, ValueError):
        return Moved(f"It cannot be compared with {since}.")
    asked = {entry["name"] for entry in record_of(folder)["notebooks"]}
    changed = [change for change in found.findings if change.notebook in asked]
    lines = tuple(line for change in changed if change.headline for line in _lines(change))
    data = "the same data" if not found.inputs else "other data: " + ", ".join(c.what for c in found.inputs)
    counts = f"{found.unchanged} finding{' is' if found.unchanged == 1 else 's are'} the same, {len(changed)} not"
    return Moved(f"Against {since}, on {data}. {counts}{'' if lines else '; no headline changed'}.", lines)


def previous_run(final: Path, record: dict) -> Path | None:
    """Return the newest earlier run of the same study and report beside `final`, or the one that `final` replaces.

    A run that must come out the same every time carries no date and has none.
    """
    if "started" not in record:
        return None
    what = ("title", "report")
    for folder in runs_on(final.parent):
        earlier = record_of(folder)
        same = earlier.get("status") == OK and all(earlier.get(k) == record.get(k) for k in what)
        if same and earlier.get("format") != BATCH and earlier.get("started", "~") < record["started"]:
            return folder
    return None


def _lines(change: FindingChange):
    if change.kind != "changed":
        yield f"{change.id}: {change.kind}"
    elif change.movements:
        told = "; ".join(movement_words(m).replace("->", "→") for m in change.movements[:ROWS])
        left = len(change.movements) - ROWS
        yield f"{change.id}: {told}{f'; and {left} more' if left > 0 else ''}"
    elif change.before != change.after:
        yield f"{change.id}, before: {change.before}"
    yield from (f"{change.id}, check “{c.what}”: {c.before} → {c.after}" for c in change.checks)


def _unanswered(cards: list[dict]) -> list[Told]:
    said = {FAILED: "failed", SKIPPED: "skipped"}
    left = [c for c in cards if c["status"] in said]
    return [
        Told(f"{said[c['status']]}: {c['reason']}", "" if c["status"] == SKIPPED else c["name"], c["title"])
        for c in left
    ]


def _saying(cards: list[dict], words: re.Pattern) -> list[Told]:
    """Return the sentences that hold certain words, each once."""
    told: dict[str, Told] = {}
    for card in cards:
        for finding in card["findings_read"]:
            said = " ".join(s for s in SENTENCES.split(finding["sentence"]) if words.search(s))
            if said:
                told.setdefault(said, Told(said, card["name"], card["title"], finding["name"]))
    return list(told.values())
