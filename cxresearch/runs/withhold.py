"""Withhold findings that, beside the others, give away what the minimum base hides."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pandas as pd

from cxresearch.errors import TooFewRespondents
from cxresearch.privacy.audit import Known, audit_folder
from cxresearch.privacy.published import Saved, read_findings
from cxresearch.runs.execution import Outcome
from cxresearch.runs.plan import Plan
from cxresearch.runs.record import OK
from cxresearch.study.narrow import as_words

WITHHELD = "withheld, since"  # how the reason begins
GROUPINGS = ("demographic", "segment", "unit", "wave")


def withhold(plan: Plan, outcomes: Sequence[Outcome], folder: Path) -> list[Outcome]:
    """Audit all saved tables together; return the outcomes, those with findings to be withheld without these.

    A finding is audited with those before it, and that of a part of the study with what the whole tells. Of a withheld
    one, its tables and every output that carries its id are removed, and of its notebook every output that carries none.
    """
    names = [o.task.name for o in outcomes if o.status == OK]
    found = [saved for name in names for saved in read_findings(folder / "findings" / name)]
    about = dict(notebooks=names, only=plan.opened.only, beside=list(of_the_whole(plan.opened, found)))
    leaks = audit_folder(folder / "findings", known_of(plan.opened), **about)
    why = {name: f"{WITHHELD} it gives away a hidden number: {leak.said()}" for name, leak in leaks.items()}
    return [
        _without(o, {n.partition("/")[2]: w for n, w in why.items() if n.startswith(f"{o.task.name}/")}, folder)
        for o in outcomes
    ]


def known_of(opened) -> Known:
    """Return what the audit must know of a study: its floor, and which of its groupings determine one another."""
    nested = {}
    for name, columns in opened._whole.column_names.items():
        asked = sorted({c for role in GROUPINGS for c in opened._whole.columns(role, table=name)} & set(columns))
        words = pd.DataFrame({c: as_words(opened._whole.read(name).table[c]) for c in asked}).drop_duplicates()
        for fine, coarse in permutations(words.columns, 2):
            pairs = words[[fine, coarse]].dropna().drop_duplicates()
            if pairs[fine].is_unique and 1 < pairs[coarse].nunique() < len(pairs):
                nested[fine, coarse] = dict(zip(pairs[fine], pairs[coarse]))
    return Known(opened.min_base, nested)


def of_the_whole(opened, findings: Iterable[Saved], *, of_a_part: bool = False) -> Iterator[Saved]:
    """Yield what a report on the whole study would tell of the people whom findings on a part of it are about."""
    if not (opened.only or of_a_part) or "responses" not in opened._whole.table_names:
        return
    survey = opened._whole.responses
    table, groupings = survey.table, opened._whole.columns("demographic", "segment", table="responses")
    for item in sorted({saved.outcome for saved in findings} & set(table.columns)):
        for by, wave in product((None, *groupings), (False, True) if survey.wave else (False,)):
            try:
                sample = survey.sample(table[item].notna(), by=by, wave=wave, of=(item,))
            except TooFewRespondents:
                continue
            counts = sample.keys.assign(n=np.where(sample.hidden, "", sample.n.astype(str))).astype(str)
            named = {"the whole": counts} if len(counts.columns) > 1 else {}
            yield Saved("the whole", item, by, float(sample.n.sum()) if wave == bool(survey.wave) else np.nan, named)


def _without(outcome: Outcome, gone: dict[str, str], folder: Path) -> Outcome:
    """Return an outcome without the findings that are withheld: their files and outputs, and outputs of no finding."""
    import nbformat

    if not gone:
        return outcome
    place = folder / "findings" / outcome.task.name
    records = {path: json.loads(path.read_text(encoding="utf-8")) for path in place.glob("*.json")}
    why = {record["id"]: gone[path.stem] for path, record in records.items() if path.stem in gone}
    for path, record in records.items():
        if record["id"] in why:  # one finding may be saved under several names
            for file in (path.name, *record["tables"].values()):
                (place / file).unlink()
    for cell in outcome.notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _kept(output, why))]
    nbformat.write(outcome.notebook, folder / f"{outcome.task.name}.ipynb")
    return replace(outcome, reason="; ".join(f"{name} {reason}" for name, reason in gone.items()))


def _kept(output, why: dict[str, str]):
    """Return an output, what stands in its place, or None where it says of no finding that it is its."""
    found = re.findall(r'"finding": ("(?:[^"\\]|\\.)*")', json.dumps(output.get("metadata", {})))
    ids = {json.loads(text) for text in found} - {""}
    told = [why[finding] for finding in ids if finding in why]
    stand_in = type(output)(output_type="stream", name="stdout", text="\n".join([*told, ""]))
    return None if not ids else stand_in if told else output
