"""Withhold findings that give away what the minimum base hides: beside others of a report, and of a batch.

A number hidden in one report of a batch may be the whole less what the others show. A report on a part of the study is
about the group that it is a report on, and audited as such beside the whole, asked for or not. Of a withheld finding, its
tables and every output that carries its id are removed, and of its notebook every output that carries none.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from cxresearch.errors import TooFewRespondents
from cxresearch.privacy.audit import Known, Leak, Release, audit_folder, audit_tables, read_findings
from cxresearch.runs.plan import WHOLE, Cell, Plan
from cxresearch.runs.record import NotebookEntry
from cxresearch.study.narrow import as_words

WITHHELD = "withheld, since"  # how the reason begins
GROUPINGS = ("demographic", "segment", "unit", "wave")
KNOWN = WeakKeyDictionary()  # of each study, as long as it is open


def withheld_alone(plan: Plan, notebooks: Sequence[str], folder: Path) -> dict[str, str]:
    """Return what a report must withhold: name of a finding (``notebook/name``) -> reason. Each is audited with those
    before it, and that of a part of the study with what the whole tells."""
    found = (saved for name in notebooks for saved in read_findings(folder / "findings" / name))  # read for a part only
    about = dict(notebooks=notebooks, only=plan.opened.only, beside=list(of_the_whole(plan.opened, found)))
    leaks = audit_folder(folder / "findings", known_of(plan.opened), **about)
    return {name: f"{WITHHELD} it gives away a hidden number: {leak.said()}" for name, leak in leaks.items()}


def withheld_together(cells: Sequence[Cell], folder: Path, opened) -> dict[Cell, dict[str, str]]:
    """Return what the reports of a batch must withhold: cell -> name of a finding (``notebook/name``) -> reason.

    Nothing is left to be computed once enough reports, the smallest first, and first those that hide nothing, are left
    out; of these, every finding that then gives nothing away is shown all the same. `opened` is the study, or a part.
    """
    known = known_of(opened)
    found = {
        cell: [saved for place in sorted((folder / cell.name / "findings").glob("*/"))
               for saved in read_findings(place, (*opened.only, *cell.only))]
        for cell in cells if cell.name and not cell.skip
    }  # fmt: skip
    whole = next((c for c in found if c.name == WHOLE), None)
    of_parts = {c: saved for c, saved in found.items() if c is not whole}
    outcomes = (saved for findings in of_parts.values() for saved in findings)
    beside = found.get(whole) or list(of_the_whole(opened, outcomes, of_a_part=True))

    def leaks(left_out: Sequence[Cell], but: set[tuple[Cell, str]] = frozenset()) -> list[Leak]:
        shown = [s for c, findings in of_parts.items() for s in findings if c not in left_out or (c, s.name) in but]
        return audit_tables([*beside, *shown], known)

    given_away = leaks(())
    if not given_away:
        return {}
    told = {word for leak in given_away for word in leak.cell.split(", ")}
    hiding = {c for c in of_parts if {f"{column}={value}" for column, value in c.only} <= told}
    order = sorted(of_parts, key=lambda c: (c in hiding, c.rows, c.name))
    left_out = order[: bisect_left(range(len(order)), True, key=lambda k: not leaks(order[:k]))]
    suspects = {leak.table.partition(".")[0] for leak in given_away}
    each = [(c, s.name) for c in left_out[::-1] for s in of_parts[c]]  # the largest first
    shown: set[tuple[Cell, str]] = set()
    asked = [[e for e in each if e[1] not in suspects], [e for e in each if e[1] in suspects]]
    while asked:  # many at once, and halves of those of which one gives something away
        some = asked.pop(0)
        if not leaks(left_out, shown.union(some)):
            shown.update(some)
        elif len(some) > 1:
            asked[:0] = [some[: len(some) // 2], some[len(some) // 2 :]]
    reason = f"{WITHHELD} beside the whole the reports together would give away a hidden number: "
    why = reason + min(given_away).said()
    gone = {c: {s.name: why for s in of_parts[c] if (c, s.name) not in shown} for c in left_out}
    return {cell: names for cell, names in gone.items() if names}


def known_of(opened) -> Known:
    """Return what the audit must know of a study: its floor, which of its groupings determine one another, and amounts."""
    whole, tables = opened._whole, []
    if whole in KNOWN:
        return KNOWN[whole]
    for name, columns in whole.column_names.items():
        table = whole.read(name).table
        asked = sorted({c for role in GROUPINGS for c in whole.columns(role, table=name)} & set(columns))
        scaled = [key for key, item in whole.declaration(name).items.items() if item.scale]
        groups = pd.DataFrame({c: as_words(table[c]) for c in asked}, index=table.index)
        tables.append((groups, table.drop(columns=scaled, errors="ignore")))
    return KNOWN.setdefault(whole, Known.of(tables, min_base=whole.min_base))


def of_the_whole(opened, findings: Iterable[Release], *, of_a_part: bool = False) -> Iterator[Release]:
    """Yield what a report on the whole study would tell of the people whom findings on a part of it are about."""
    if not (opened.only or of_a_part) or "responses" not in opened._whole.table_names:
        return
    survey = opened._whole.responses
    table, groupings = survey.table, opened._whole.columns("demographic", "segment", table="responses")
    for item in sorted({saved.item for saved in findings} & set(table.columns)):
        for by, wave in product((None, *groupings), (False, True) if survey.wave else (False,)):
            try:
                sample = survey.sample(table[item].notna(), by=by, wave=wave, of=(item,))
            except TooFewRespondents:
                continue
            counts = sample.keys.assign(n=np.where(sample.hidden, "", sample.n.astype(str))).astype(str)
            named = {"the whole": counts} if len(counts.columns) > 1 else {}
            yield Release("the whole", item, by, float(sample.n.sum()) if wave == bool(survey.wave) else np.nan, named)


def withhold(gone: dict[str, str], entries: Sequence[NotebookEntry], folder: Path) -> dict[str, dict[str, str]]:
    """Remove findings (``notebook/name`` -> reason) from a report; return those of each notebook that lost some."""
    told: dict[str, dict[str, str]] = {}
    for name, why in gone.items():
        told.setdefault(name.partition("/")[0], {})[name.partition("/")[2]] = why
    for entry in (e for e in entries if e.name in told):
        entry.executed = remove(told[entry.name], folder, entry.name)
        reasons = [f"{name} {why}" for name, why in told[entry.name].items()]
        entry.reason = "; ".join(filter(None, [entry.reason, *reasons]))
    return told


def remove(gone: dict[str, str], folder: Path, notebook: str):
    """Remove findings from a report, their files and outputs and the outputs of no finding; return the notebook."""
    import nbformat

    place, copy = folder / "findings" / notebook, folder / f"{notebook}.ipynb"
    records = {path: json.loads(path.read_text(encoding="utf-8")) for path in place.glob("*.json")}
    why = {record["id"]: gone[path.stem] for path, record in records.items() if path.stem in gone}
    for path, record in records.items():
        if record["id"] in why:  # one finding may be saved under several names
            for file in (path.name, *record["tables"].values()):
                (place / file).unlink()
    executed = nbformat.read(copy, as_version=4)
    for cell in executed.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _kept(output, why))]
    nbformat.write(executed, copy)
    return executed


def _kept(output, why: dict[str, str]):
    """Return an output, what stands in its place, or None where it says of no finding that it is its."""
    found = re.findall(r'"finding": ("(?:[^"\\]|\\.)*")', json.dumps(output.get("metadata", {})))
    ids = {json.loads(text) for text in found} - {""}
    told = [why[finding] for finding in ids if finding in why]
    stand_in = type(output)(output_type="stream", name="stdout", text="\n".join([*told, ""]))
    return None if not ids else stand_in if told else output
