"""The ledger of numbers that moved between two versions of the project: finding, old, new, why.

python -m benchmarks.ledger BEFORE AFTER docs/moved_numbers.md --title WHAT --why "drivers=the bootstrap is of units"
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cxresearch.digits import SMALLEST_P
from cxresearch.findings import number
from cxresearch.runs.compare import CHANGED, SIX_DIGITS, FindingChange, compare_runs, movement_words
from cxresearch.runs.record import Record

SHOWN = 12  # moved estimates of one finding that are named one by one
HEAD = "| finding | old | new | why |\n|---|---|---|---|\n"


def write_ledger(before, after, path, *, title: str, why: Mapping[str, str]) -> int:
    """Add a section with every number that moved between two runs to a ledger; return how many rows it has.

    A section of this title is replaced; `why` is notebook, ``notebook/finding``, or ``""`` for the others -> the reason.
    """
    (old, _), (new, _) = Record.read(before), Record.read(after)
    rows = []
    for change in compare_runs(before, after).findings:
        place = f"{change.notebook}/{change.name}"
        reason = next((why[k] for k in (place, change.notebook, "") if k in why), "")
        for was, now in _moves(change, old, new):
            rows.append(" | ".join(text.replace("|", "/") for text in (place, was, now, reason)))
    ledger = Path(path)
    text = ledger.read_text(encoding="utf-8") if ledger.is_file() else "# Numbers that moved\n"
    kept = [part for part in text.split("\n## ") if not part.startswith(f"{title}\n")]
    body = HEAD + "".join(f"| {row} |\n" for row in rows) if rows else "No number moved.\n"
    ledger.write_text("\n## ".join([*kept, f"{title}\n\n{body}"]), encoding="utf-8")
    return len(rows)


def _moves(change: FindingChange, old: Path, new: Path) -> Iterator[tuple[str, str]]:
    """Yield what a finding said and says: that it came or went, its sentence, its estimates, its other tables."""
    if change.kind != CHANGED or None in (change.before, change.after):
        yield change.before or "–", change.after or "–"
        return
    if change.before != change.after:
        yield change.before, change.after
    for movement in change.movements[:SHOWN]:
        was, now = movement_words(movement).split(" -> ", 1)
        yield was, now
    if len(change.movements) > SHOWN:
        yield f"{len(change.movements) - SHOWN} more estimates", "moved"
    for table in change.tables:
        if table != "tidy" or not change.movements:
            yield f"table {table}", _cells(change, table, old, new)


def _cells(change: FindingChange, table: str, old: Path, new: Path) -> str:
    """Return in words how two versions of a table differ."""
    files = [f / "findings" / change.notebook / f"{change.name}.{table}.csv" for f in (old, new)]
    if not all(file.is_file() for file in files):
        return "new" if files[1].is_file() else "gone"
    was, now = (pd.read_csv(file, dtype=str, keep_default_na=False) for file in files)
    if was.shape != now.shape or list(was) != list(now):
        added = [c for c in now if c not in was]
        return f"{len(was)} rows, {len(now)} now" + (f"; new columns {', '.join(added)}" if added else "")
    moved, largest = 0, 0.0
    for column in was:
        a, b = (pd.to_numeric(t[column], errors="coerce").to_numpy(dtype=float) for t in (was, now))
        numbers = np.isfinite(a) & np.isfinite(b)
        apart = numbers & ~np.isclose(a, b, rtol=SIX_DIGITS, atol=SMALLEST_P)
        moved += int((apart | (~numbers & (was[column] != now[column]).to_numpy())).sum())
        if apart.any():
            largest = max(
                largest, float((np.abs(b - a) / np.where(a == 0, 1.0, np.maximum(np.abs(a), SMALLEST_P)))[apart].max())
            )
    return f"{moved} of {was.size} cells moved, by {number(100 * largest, 2)} % at most"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Add every number that moved from one run to another to a ledger.")
    for name in ("before", "after", "ledger"):
        parser.add_argument(name)
    parser.add_argument("--title", default="Moved", help="of the section; one of this title is replaced")
    parser.add_argument("--why", action="append", default=[], metavar="[NOTEBOOK=]TEXT")
    given = parser.parse_args()
    why = {name if mark else "": text if mark else name for name, mark, text in (w.partition("=") for w in given.why)}
    print(write_ledger(given.before, given.after, given.ledger, title=given.title, why=why), "rows")
