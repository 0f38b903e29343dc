"""Two runs side by side: which inputs, parameters, versions and findings changed, and by how much.

The interval of a difference is put together from the two intervals (method of variance estimates recovery: Zou and
Donner 2008, Statistics in Medicine 27:1693). It takes the answers behind the two as independent; where some people
are in both runs it is too wide, not too narrow.
"""

import csv
import io
import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path, PurePath

import pandas as pd

from cxresearch.digits import RESIDUE
from cxresearch.errors import StudyProblem
from cxresearch.findings import number
from cxresearch.runs.notebooks import STUDY
from cxresearch.runs.record import Record, read_findings

KEYS = ("part", "wave_before", "wave", "group", "segment", "feature", "item", "step", "term", "causal_share")
NEW, GONE, CHANGED = "new", "gone", "changed"
CONFIDENCE = "confidence"
SIX_DIGITS = 1e-6  # relative
IMAGE = re.compile(r'data:image/[^"]*|"(?:image/[a-z+]+|narrow)": "[^"]*"')
NUMBER = re.compile(r"(\d+\.\d+(?:e[-+]?\d+)?)")


@dataclass(frozen=True)
class Change:
    """One thing that is not the same in both runs; None where a run does not have it."""

    what: str
    before: object
    after: object

    @property
    def kind(self) -> str:
        return NEW if self.before is None else GONE if self.after is None else CHANGED


@dataclass(frozen=True)
class Movement:
    """One estimate in both runs; the interval is of the difference, None where none can be given."""

    row: str
    before: float
    after: float
    difference: float
    conf_low: float | None = None
    conf_high: float | None = None


@dataclass(frozen=True)
class FindingChange:
    """What became of one finding: ``new``, ``gone`` or ``changed``; what it said and says.

    With the estimates that moved, the checks that turned, and the names of the tables that differ within six digits.
    """

    notebook: str
    name: str
    id: str
    kind: str
    headline: bool
    before: str | None
    after: str | None
    movements: tuple[Movement, ...] = ()
    checks: tuple[Change, ...] = ()
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All that differs between two runs; `unchanged` counts the findings that are the same to six digits."""

    inputs: tuple[Change, ...]
    parameters: tuple[Change, ...]
    versions: tuple[Change, ...]
    notebooks: tuple[Change, ...]
    findings: tuple[FindingChange, ...]
    unchanged: int


def compare_runs(before, after) -> Comparison:
    """Return what differs between two runs, or two batches, report by report; refuse runs of two studies."""
    old, new = _Side(*Record.read(before)), _Side(*Record.read(after))
    was, now = old.record, new.record
    if was.title != now.title and not set(was.inputs) & set(now.inputs):
        raise StudyProblem(
            f"{old.folder} is of the study {was.title!r}, {new.folder} of {now.title!r}: nothing to compare"
        )
    inputs = changes(was.everything_read, now.everything_read)
    findings = {**new.findings, **old.findings}
    found = [_finding(key, old.findings.get(key), new.findings.get(key), not inputs) for key in findings]
    both = old.notebooks.keys() & new.notebooks.keys()
    return Comparison(
        inputs,
        changes(old.parameters(both), new.parameters(both)),
        changes(was.versions, now.versions),
        changes(old.became, new.became),
        tuple(change for change in found if change),
        found.count(None),
    )


def difference_interval(before, after) -> tuple[float, float]:
    """Return the interval of ``after - before`` from (estimate, low, high) of two independent estimates.

    With estimates a, b and limits l, u: low ``d - sqrt((a - l_a)^2 + (u_b - b)^2)``, high
    ``d + sqrt((u_a - a)^2 + (b - l_b)^2)`` for ``d = a - b`` (Zou and Donner 2008, eq. 3).
    """
    (b, low_b, high_b), (a, low_a, high_a) = before, after
    return a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)


def changes(was: dict, now: dict) -> tuple[Change, ...]:
    """Return what is not the same in two mappings, in the order of the first."""
    names = [*was, *(n for n in now if n not in was)]
    return tuple(Change(n, was.get(n), now.get(n)) for n in names if was.get(n) != now.get(n))


def movement_words(movement: Movement) -> str:
    """Return ``North: 16.3 -> 18.0 (+1.7, interval -2.1 to 5.5)``, to three significant digits."""
    scale = max(map(abs, (movement.before, movement.after)))
    decimals = min(6, max(0, 2 - math.floor(math.log10(scale)))) if scale else 1
    before, after, difference = (number(v, decimals) for v in (movement.before, movement.after, movement.difference))
    sign = "+" if movement.difference > 0 else ""
    limits = f", interval {number(movement.conf_low, decimals)} to {number(movement.conf_high, decimals)}"
    within = "" if movement.conf_low is None else limits
    return f"{movement.row}{': ' * bool(movement.row)}{before} -> {after} ({sign}{difference}{within})"


@dataclass(frozen=True)
class _Saved:
    """A finding as a notebook saved it, with what is known of the notebook."""

    folder: Path
    record: dict
    headline: bool
    confidence: object

    def text(self, table: str) -> bytes | None:
        file = self.record["tables"].get(table)
        return (self.folder / file).read_bytes() if file else None


class _Side:
    """One of the two runs: its notebooks by name, which in a batch begins with the report's, and their findings."""

    def __init__(self, folder: Path, record: Record):
        self.folder, self.record = folder, record
        runs = [(f"{label}/" if label else "", place, run) for label, place, run in record.runs(folder)]
        self.notebooks = {begin + entry.name: (place, entry) for begin, place, run in runs for entry in run.notebooks}

    @cached_property
    def findings(self) -> dict[tuple[str, str], _Saved]:
        return {
            (notebook, saved["name"]): _Saved(
                place / "findings" / entry.name,
                saved,
                saved["name"] == entry.headline,
                entry.parameters.get(CONFIDENCE),
            )
            for notebook, (place, entry) in self.notebooks.items()
            for saved in read_findings(place, entry.name, entry.headline)
        }

    def parameters(self, notebooks) -> dict:
        entries = {name: entry for name, (_, entry) in self.notebooks.items() if name in notebooks}
        return {f"{n}.{k}": v for n, entry in entries.items() for k, v in entry.parameters.items() if k != STUDY}

    @property
    def became(self) -> dict[str, str]:
        """What became of each notebook, and its text as a digest."""
        entries = {name: entry for name, (_, entry) in self.notebooks.items()}
        entries |= {r.report: r for r in self.record.reports if not r.folder}
        said = {name: e.status + (f": {e.reason}" if e.reason else "") for name, e in entries.items()}
        return said | {f"text of {n}": entry.sha256[:12] for n, (_, entry) in self.notebooks.items()}


def _finding(key, was: _Saved | None, now: _Saved | None, same_data: bool) -> FindingChange | None:
    one = now or was
    where = (*key, one.record["id"])
    if was is None or now is None or was.record["id"] != now.record["id"]:
        kind = NEW if was is None else GONE if now is None else CHANGED
        return FindingChange(*where, kind, one.headline, *(s and s.record["sentence"] for s in (was, now)))
    names = [*now.record["tables"], *(n for n in was.record["tables"] if n not in now.record["tables"])]
    texts = {name: (was.text(name), now.text(name)) for name in names}
    tables = tuple(n for n, both in texts.items() if None in both or not alike("table.csv", *both))
    if same_values(was.record, now.record) and not tables:
        return None
    movements = _movements(was, now, same_data) if "tidy" in tables else ()
    turned = tuple(c for c in changes(_verdicts(was), _verdicts(now)) if c.kind == CHANGED)
    sentences = (was.record["sentence"], now.record["sentence"])
    return FindingChange(*where, CHANGED, one.headline, *sentences, movements, turned, tables)


def _verdicts(saved: _Saved) -> dict[str, str]:
    """Return check -> verdict; a finding may ask the same thing several times."""
    seen: dict[str, count] = {}
    rows = [(c["check"], next(seen.setdefault(c["check"], count())), c["ok"]) for c in saved.record["checks"]]
    return {(name if k == 0 else f"{name} ({k + 1})"): "holds" if ok else "not met" for name, k, ok in rows}


def _movements(was: _Saved, now: _Saved, same_data: bool) -> tuple[Movement, ...]:
    """Return the estimates that moved, of the rows that both tables have once."""
    before, after = _estimates(was), _estimates(now)
    with_interval = not same_data and was.confidence == now.confidence
    found = []
    for row, b, a in ((row, before[row], after[row]) for row in after if row in before):
        if _given(a[0], b[0]) and not same_values(b[0], a[0]):
            limits = difference_interval(b, a) if with_interval and _given(*b, *a) else ()
            found.append(Movement(row, b[0], a[0], a[0] - b[0], *limits))
    return tuple(found)


def _given(*values) -> bool:
    return all(map(math.isfinite, values))


def _estimates(saved: _Saved) -> dict[str, tuple[float, float, float]]:
    """Return the words for a row -> its estimate and limits; nothing where rows cannot be told apart."""
    table = pd.read_csv(saved.folder / saved.record["tables"]["tidy"], dtype=str, keep_default_na=False)
    if "estimate" not in table:
        return {}
    keys = [k for k in KEYS if k in table.columns]
    rows = [", ".join(filter(None, row)) for row in table[keys].to_numpy()]
    numbers = table.reindex(columns=["estimate", "conf_low", "conf_high"]).apply(pd.to_numeric, errors="coerce")
    return dict(zip(rows, numbers.itertuples(index=False, name=None))) if len(set(rows)) == len(rows) else {}


# --- the same to six digits: processors differ in the last ones ---------------------------------------------------------


def alike(name: str, was: bytes, now: bytes) -> bool:
    """Return whether two states of a file are the same: text to the letter, numbers to six digits."""
    if was == now:
        return True
    words = dict.fromkeys((".html", ".ipynb", ".md"), _words)
    read = {".csv": _rows, ".json": json.loads, **words}.get(PurePath(name).suffix)
    if read is None:
        return False
    try:
        return same_values(*(read(content.decode("utf-8")) for content in (was, now)))
    except (ValueError, csv.Error):
        return False


def same_values(a, b) -> bool:
    """Return whether two values of JSON are the same, numbers to six digits."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same_values(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_values, a, b))
    return math.isclose(a, b, rel_tol=SIX_DIGITS) if _is_number(a) and _is_number(b) else type(a) is type(b) and a == b


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _rows(text: str) -> list:
    """Return the columns of a CSV, headings first, as lists of numbers and texts; residues of a column are 0."""
    rows = [[_parsed(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("rows of different length")
    scales = [2 * RESIDUE * max((abs(v) for v in column if isinstance(v, float)), default=0.0) for column in zip(*rows)]
    return [
        [0.0 if isinstance(v, float) and abs(v) <= scale else v for v in column]
        for column, scale in zip(zip(*rows), scales)
    ]


def _words(text: str) -> list:
    """Return the text of a page or notebook without its images, numbers apart."""
    return [_parsed(part) for part in NUMBER.split(IMAGE.sub("", text))]


def _parsed(cell: str):
    try:
        value = float(cell)
    except ValueError:
        return cell
    return value if math.isfinite(value) and "_" not in cell else cell
