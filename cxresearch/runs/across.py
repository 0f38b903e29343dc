"""What the reports of a batch give away together: a number hidden in one may be the whole less what the others show.

The reports are read as one table more with a key more, `report`, and audited beside the report on the whole. Where a
hidden number follows, reports are withheld until none does: the smallest first, and first those that hide nothing.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cxresearch.privacy.audit import Leak, audit_tables
from cxresearch.privacy.base import POOLED
from cxresearch.privacy.published import COUNTS, Saved, read_findings
from cxresearch.runs.matrix import WHOLE, Cell, apart

REPORT = "report"


def withheld_reports(cells: Sequence[Cell], folder: Path) -> dict[Cell, str]:
    """Return the reports of a batch that must be withheld, each with the reason.

    Without a report on the whole there is nothing to subtract from. The tables of one finding are compared across
    reports, and with those of the whole; what a report shows that no other has a table for is not seen.
    """
    parts = [c for c in apart(cells) if c.only]
    whole = next((c for c in cells if c.name == WHOLE), None)
    if whole is None or not (folder / whole.name).is_dir():
        return {}
    national = _findings(folder / whole.name)
    by_report = {c: {} if c.skip else _findings(folder / c.name) for c in parts}
    given_away = _leaks(national, by_report, hidden=())
    hiding = {c for c in parts for leak in given_away if f"{REPORT}={c.label}" in leak.cell.split(", ")}
    order = sorted((c for c in parts if by_report[c]), key=lambda c: (c in hiding, c.rows, c.name))
    withheld: list[Cell] = []
    left = given_away
    while left and len(withheld) < len(order):
        withheld.append(order[len(withheld)])
        left = given_away & _leaks(national, by_report, hidden=withheld)
    first = min(given_away).said() if given_away else ""
    reason = f"withheld: beside the whole, the reports together would give away a hidden number ({first})"
    return dict.fromkeys([*withheld, *([whole] if left else [])], reason)


def _findings(report: Path) -> dict[tuple[str, str], Saved]:
    """Return notebook and name of finding -> the finding, of one report."""
    places = sorted(p for p in (report / "findings").glob("*") if p.is_dir())
    return {tuple(saved.name.split("/")): saved for place in places for saved in read_findings(place)}


def _leaks(national: Mapping, by_report: Mapping[Cell, Mapping], *, hidden: Sequence[Cell]) -> set[Leak]:
    found: set[Leak] = set()
    for key, whole in national.items():
        together = _together(key, whole, by_report, hidden)
        of_parts = set(together.tables)
        found |= {leak for leak in audit_tables([whole, together]) if leak.table in of_parts}
    return found


def _together(key, national: Saved, by_report: Mapping[Cell, Mapping], hidden: Sequence[Cell]) -> Saved:
    """Return one finding of all reports as one, with a column that says which report; n of the hidden is missing."""
    tables: dict[str, list[pd.DataFrame]] = {}
    totals = []
    for cell, findings in by_report.items():
        saved = findings.get(key)
        seen = saved is not None and cell not in hidden
        totals.append({REPORT: cell.label, "n": saved.total if seen else math.nan})
        for file, table in (saved or national).tables.items():  # a report that is not there hides what the whole shows
            table = _unpooled(table, national.tables.get(file))
            counts = {c: "" for c in COUNTS if c in table.columns and not seen}
            tables.setdefault(file, []).append(table.assign(**{REPORT: cell.label}, **counts))
    whole = {file: pd.concat(parts, ignore_index=True) for file, parts in tables.items()}
    whole["/".join(key)] = pd.DataFrame(totals, columns=[REPORT, "n"])
    return Saved("reports " + "/".join(key), national.outcome, national.by, math.nan, whole)


def _unpooled(table: pd.DataFrame, national: pd.DataFrame | None) -> pd.DataFrame:
    """Return a report's table with the groups that it pools as hidden rows; the whole's table says which there are."""
    if national is None or "group" not in table.columns or not (table["group"] == POOLED).any():
        return table
    shown = table[table["group"] != POOLED]
    absent = national[~national["group"].isin([*shown["group"], POOLED])]
    return pd.concat([shown, absent.assign(**{c: "" for c in COUNTS if c in absent.columns})], ignore_index=True)
