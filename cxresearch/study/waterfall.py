"""Rows counted from the file to the analysis: received, valid, deduplicated, (narrowed, matched,) used."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd


@dataclass
class Waterfall:
    """The steps of one table, in order."""

    steps: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, step: str, rows: int, reason: str = "") -> None:
        """Record how many rows are left after `step`."""
        self.steps[step] = (rows, reason)

    def matched(self, rows: int, reason: str) -> "Waterfall":
        """Return the same steps with a join before `used`; a later join takes the place of an earlier one."""
        kept = {step: at for step, at in self.steps.items() if step not in ("matched", "used")}
        return Waterfall(kept | {"matched": (rows, reason), "used": (rows, "")})

    def narrowed(self, rows: int, reason: str) -> "Waterfall":
        """Return the same steps with the choice of a part of the study before `used`."""
        kept = {step: at for step, at in self.steps.items() if step != "used"}
        removed = list(kept.values())[-1][0] - rows
        return Waterfall(kept | {"narrowed": (rows, reasons({reason: removed})), "used": (rows, "")})

    def table(self) -> pd.DataFrame:
        """Return step, rows, removed, reason."""
        rows = pd.Series([n for n, _ in self.steps.values()], dtype=int)
        removed = (rows.shift(fill_value=rows.iloc[0]) - rows) if len(rows) else rows
        whys = [why for _, why in self.steps.values()]
        return pd.DataFrame({"step": list(self.steps), "rows": rows, "removed": removed, "reason": whys})


def reasons(counts: Mapping[str, int]) -> str:
    """Return '3 rows without amount; 1 row ...' from 'without amount' -> 3, ...; what counts nothing is left out."""
    return "; ".join(f"{n} {'row' if n == 1 else 'rows'} {why}" for why, n in counts.items() if n)
