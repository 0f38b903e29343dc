"""What the reports of a batch give away together: a number hidden in one may be the whole less what the others show.

A report on a part of the study is about the group that it is a report on, and audited as such beside the whole, asked
for or not. Where a number is given away, reports are withheld until none is: the smallest first, and first those that
hide nothing.
"""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from cxresearch.privacy.audit import Leak, audit_tables
from cxresearch.privacy.published import read_findings
from cxresearch.runs.matrix import WHOLE, Cell
from cxresearch.runs.withhold import known_of, of_the_whole


def withheld_reports(cells: Sequence[Cell], folder: Path, opened) -> dict[Cell, str]:
    """Return the reports of a batch that must be withheld, each with the reason; `opened` is the study, or a part."""
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

    def leaks(hidden: Sequence[Cell]) -> list[Leak]:
        shown = [saved for cell, findings in of_parts.items() if cell not in hidden for saved in findings]
        return audit_tables([*beside, *shown], known)

    given_away = leaks(())
    if not given_away:
        return {}
    told = {word for leak in given_away for word in leak.cell.split(", ")}
    hiding = {c for c in of_parts if {f"{column}={value}" for column, value in c.only} <= told}
    order = sorted(of_parts, key=lambda c: (c in hiding, c.rows, c.name))
    many = bisect_left(range(len(order)), True, key=lambda k: not leaks(order[:k]))
    reason = "withheld: beside the whole, the reports together would give away a hidden number "
    return dict.fromkeys(order[:many], f"{reason}({min(given_away).said()})")
