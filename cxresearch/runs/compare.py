"""Two runs side by side: which inputs, parameters, versions and findings changed, and by how much.

The interval of a difference is put together from the two intervals (method of variance estimates recovery: Zou and
Donner 2008, Statistics in Medicine 27:1693). It takes the answers behind the two as independent; where some people
are in both runs it is too wide, not too narrow.
"""

import csv
import hashlib
import io
import json
import math
import os
import re
from collections import namedtuple
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path, PurePath

import pandas as pd

from cxresearch.digits import RESIDUE
from cxresearch.errors import StudyProblem
from cxresearch.findings import number
from cxresearch.runs.notebooks import STUDY
from cxresearch.runs.record import RECORD, SIGN_OFFS, Record
from cxresearch.runs.screen import SavedFinding, notebooks_of, saved_findings

KEYS = ("part", "wave_before", "wave", "group", "segment", "feature", "item", "step", "term", "causal_share")
NEW, GONE, CHANGED = "new", "gone", "changed"
SIX_DIGITS = 1e-6  # relative
IMAGE = re.compile(r'data:image/[^"]*|"(?:image/[a-z+]+|narrow)": "[^"]*"')
HEAD, START, END = b"</h1>\n", b'<!-- sign-offs --><div class="note">', b"</div><!-- end of sign-offs -->\n"
NUMBER = re.compile(r"(\d+\.\d+(?:e[-+]?\d+)?)")
LONE_RETURN = re.compile(r"\r(?!\n)")  # within a cell; pandas writes it without quotes


class Change(namedtuple("Change", "what before after")):
    """One thing that is not the same in both runs; None where a run does not have it."""

    @property
    def kind(self) -> str:
        return NEW if self.before is None else GONE if self.after is None else CHANGED


# One estimate in both runs; the interval is of the difference, None where none can be given.
Movement = namedtuple("Movement", "row before after difference conf_low conf_high", defaults=(None, None))
# What became of one finding: ``new``, ``gone`` or ``changed``; what it said and says (`before`, `after`), the estimates
# that moved, the checks that turned (`Change`), and the names of the tables that differ within six digits.
FOUND = "notebook name id kind headline before after movements checks tables"
FindingChange = namedtuple("FindingChange", FOUND, defaults=((), (), ()))
# All that differs between two runs: changes of each kind, and how many findings are the same to six digits.
Comparison = namedtuple("Comparison", "inputs parameters versions notebooks findings unchanged")


def compare_runs(before, after) -> Comparison:
    """Return what differs between two runs, or two batches, report by report; refuse runs of two studies."""
    (old, was), (new, now) = Record.read(before), Record.read(after)
    if was.title != now.title and not set(was.inputs) & set(now.inputs):
        raise StudyProblem(f"{old} is of the study {was.title!r}, {new} of {now.title!r}: nothing to compare")
    notebooks, told = [notebooks_of(old, was), notebooks_of(new, now)], []
    for record, own in zip((was, now), notebooks):
        entries = {name: entry for name, (_, entry) in own.items()}
        both = {name: entries[name] for name in entries if all(name in side for side in notebooks)}
        parts = entries | {report.report: report for report in record.reports if not report.folder}
        became = {name: part.status + (f": {part.reason}" if part.reason else "") for name, part in parts.items()}
        became |= {f"text of {name}": entry.sha256[:12] for name, entry in entries.items()}
        told.append(({f"{n}.{k}": v for n, e in both.items() for k, v in e.parameters.items() if k != STUDY}, became))
    parameters, became = (changes(*pair) for pair in zip(*told))
    inputs, versions = changes(was.everything_read, now.everything_read), changes(was.versions, now.versions)
    saved = [{(s.page, s["name"]): s for s in saved_findings(side)} for side in notebooks]
    found = []
    for page, name in {**saved[1], **saved[0]}:
        entries = [side[page][1] for side in notebooks[::-1] if page in side]  # the later run's first
        independent = bool(inputs) and len({entry.parameters.get("confidence") for entry in entries}) == 1
        pair = [side.get((page, name)) for side in saved]
        found.append(_finding_change(*pair, entries[0].headline == name, with_interval=independent))
    kept = tuple(change for change in found if change)
    return Comparison(inputs, parameters, versions, became, kept, found.count(None))


def difference_interval(before, after) -> tuple[float, float]:
    """Return the interval of ``d = after - before`` from (estimate, low, high) of two independent estimates b and a:
    ``d - sqrt((a - l_a)^2 + (u_b - b)^2)`` to ``d + sqrt((u_a - a)^2 + (b - l_b)^2)`` (Zou and Donner 2008, eq. 3)."""
    (b, low_b, high_b), (a, low_a, high_a) = before, after
    return a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)


def changes(was: dict, now: dict) -> tuple[Change, ...]:
    """Return what is not the same in two mappings, in the order of the first."""
    return tuple(Change(n, was.get(n), now.get(n)) for n in {**was, **now} if was.get(n) != now.get(n))


def movement_words(movement: Movement) -> str:
    """Return ``North: 16.3 -> 18.0 (+1.7, interval -2.1 to 5.5)``, to three significant digits."""
    scale = max(map(abs, (movement.before, movement.after)))
    decimals = min(6, max(0, 2 - math.floor(math.log10(scale)))) if scale else 1
    before, after, difference = (number(v, decimals) for v in (movement.before, movement.after, movement.difference))
    sign = "+" if movement.difference > 0 else ""
    limits = movement.conf_low, movement.conf_high
    within = "" if None in limits else f", interval {' to '.join(number(end, decimals) for end in limits)}"
    return f"{movement.row}{': ' * bool(movement.row)}{before} -> {after} ({sign}{difference}{within})"


def _finding_change(was: SavedFinding | None, now: SavedFinding | None, headline: bool, *, with_interval: bool):
    one = now or was
    where, said = (one.page, one["name"], one["id"]), (was and was["sentence"], now and now["sentence"])
    if was is None or now is None or was["id"] != now["id"]:
        return FindingChange(*where, NEW if was is None else GONE if now is None else CHANGED, headline, *said)
    tables, verdicts = [], []
    for name in {**now["tables"], **was["tables"]}:
        files = [s.folder / s["tables"][name] for s in (was, now) if name in s["tables"]]
        if len(files) < 2 or not alike("table.csv", *(file.read_bytes() for file in files)):
            tables.append(name)
    if same_values(was.record, now.record) and not tables:
        return None
    for checks in (was["checks"], now["checks"]):
        names = [check["check"] for check in checks]  # a finding may ask the same thing several times
        again = [f"{name} ({k})" if (k := names[: i + 1].count(name)) > 1 else name for i, name in enumerate(names)]
        verdicts.append({name: "holds" if check["ok"] else "not met" for name, check in zip(again, checks)})
    turned = tuple(change for change in changes(*verdicts) if change.kind == CHANGED)
    movements = _movements(was, now, with_interval) if "tidy" in tables else ()
    return FindingChange(*where, CHANGED, headline, *said, movements, turned, tuple(tables))


def _movements(was: SavedFinding, now: SavedFinding, with_interval: bool) -> tuple[Movement, ...]:
    """Return the estimates that moved, of the rows that both tables have; none where rows cannot be told apart."""
    estimates, found = [], []
    for saved in (was, now):
        table = pd.read_csv(saved.folder / saved["tables"]["tidy"], dtype=str, keep_default_na=False)
        rows = [", ".join(filter(None, row)) for row in table[[k for k in KEYS if k in table]].to_numpy()]
        if "estimate" not in table or len(set(rows)) < len(rows):
            return ()
        numbers = table.reindex(columns=["estimate", "conf_low", "conf_high"]).apply(pd.to_numeric, errors="coerce")
        estimates.append(dict(zip(rows, numbers.itertuples(index=False, name=None))))
    before, after = estimates
    for row, b, a in ((row, before[row], after[row]) for row in after if row in before):
        if math.isfinite(a[0] - b[0]) and not same_values(b[0], a[0]):
            limits = difference_interval(b, a) if with_interval and math.isfinite(sum(a) - sum(b)) else ()
            found.append(Movement(row, b[0], a[0], a[0] - b[0], *limits))
    return tuple(found)


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
            yield name, with_sign_offs(content) if path.suffix == ".html" else content
        elif path.is_dir() and not any(path.iterdir()):
            yield f"{name}/", "empty folder"


def digests(folder: Path, record: Record | None = None) -> dict[str, str]:
    """Return the SHA-256 of `contents` by path, words as they are."""
    return {f: c if isinstance(c, str) else hashlib.sha256(c).hexdigest() for f, c in contents(folder, record)}


def with_sign_offs(page: bytes, shown: bytes = b"") -> bytes:
    """Return a page with sign-offs in the block below its title, or without that block; one anywhere else stays."""
    before, head, after = page.partition(HEAD)
    block, end, rest = after.partition(END)
    after = rest if end and block.startswith(START) else after
    return before + head + (START + shown + END if head and shown else b"") + after


def alike(name: str, was: bytes, now: bytes) -> bool:
    """Return whether two states of a file are the same: text to the letter, numbers to six digits."""
    if was == now:
        return True
    kind = PurePath(name).suffix
    try:
        texts = [content.decode("utf-8") for content in (was, now)]
        if kind == ".csv":
            return _same_tables(*texts)
        if kind == ".json":
            return same_values(*map(json.loads, texts))
    except ValueError:
        return False
    parts = [NUMBER.split(IMAGE.sub("", text)) for text in texts]  # every second one is a number
    same = parts[0][::2] == parts[1][::2] and same_values(*(list(map(float, p[1::2])) for p in parts))
    return same and kind in (".html", ".ipynb", ".md")


def same_values(a, b) -> bool:
    """Return whether two values of JSON are the same, numbers to six digits."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same_values(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_values, a, b))
    if type(a) in (int, float) and type(b) in (int, float):
        return math.isclose(a, b, rel_tol=SIX_DIGITS)
    return type(a) is type(b) and a == b


def _same_tables(*texts: str) -> bool:
    """Return whether two CSVs are the same: cells to the letter or six digits, residues of a column's size aside."""
    was, now = (list(csv.reader(io.StringIO(LONE_RETURN.sub("␍", text)))) for text in texts)
    if list(map(len, was)) != list(map(len, now)):
        return False
    for columns in zip(*(zip_longest(*rows, fillvalue="") for rows in (was, now))):
        if columns[0] != columns[1]:
            cells = pd.DataFrame(columns, dtype=object).T
            a, b = (pd.to_numeric(cells[k], errors="coerce").replace([math.inf, -math.inf], math.nan) for k in cells)
            size = a.abs().where(a.abs() > b.abs(), b.abs())
            apart = (a - b).abs() > (SIX_DIGITS * size).clip(lower=2 * RESIDUE * size.max())
            if ((cells[0] != cells[1]) & (apart | a.isna() | b.isna())).any():
                return False
    return True
