"""When score and revenue were measured: the study's own dates decide, never the clock."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.findings import Check, percent
from cxresearch.loyalty.sentences import say


def day_of(table: pd.DataFrame, given, what: str) -> pd.Series:
    """Return for each row the day that `given`, a column or a date, names; `what` is its name in messages."""
    if given not in table.columns:
        day = pd.to_datetime(given, errors="coerce")
        if pd.isna(day):
            raise DataProblem(f"{what}, {given!r}, is neither a column nor a date such as 2025-01-01")
        return pd.Series(day.tz_localize(None), index=table.index)
    values = pd.to_datetime(table[given], errors="coerce")
    bad = table[given][table[given].notna() & values.isna()]
    if len(bad):
        raise DataProblem(f"{given} holds {len(bad)} values that are no dates (first {bad.iloc[0]!r})")
    return values.dt.tz_localize(None)  # the day where it was written down


class Timing(NamedTuple):
    """When score and revenue were measured, as far as it is known."""

    asked: tuple[pd.Timestamp, ...] = ()  # first and last day of the answers used
    starts: tuple[pd.Timestamp, ...] = ()  # first and last start of the revenue windows
    late: float | None = None  # share of scores on or after the start of their window; None: not known

    def words(self) -> str:
        if not (self.asked or self.starts):
            return say("no dates")
        asked, starts = (
            " to ".join(f"{day:%Y-%m-%d}" for day in dict.fromkeys(days)) or say("no day") for days in self[:2]
        )
        return say("dates", asked=asked, starts=starts)

    def check(self) -> Check:
        """Return the check that every score was measured before its window; not known only asks for care."""
        value = "start of the revenue window not stated" if self.asked else "not stated"
        value = value if self.late is None else f"{percent(self.late)} of scores are later than its start"
        level = "stops" if self.late else "care"
        return Check("score measured before the revenue window", value, "every score", self.late == 0, level)


def timed(table: pd.DataFrame, asked: str | None, revenue_from, rows: np.ndarray) -> Timing:
    """Return when the scores of `rows` were given (a column) and their revenue windows start (a column or a date)."""
    if asked is not None:
        require_columns(table, asked, where="the table of customers")
    what = ("the day of the answer", "the start of the revenue window")
    days = [None if d is None else day_of(table, d, w).iloc[rows] for d, w in zip((asked, revenue_from), what)]
    known = None not in (asked, revenue_from) and days[0].notna() & days[1].notna()
    late = float((days[0] >= days[1])[known].mean()) if np.any(known) else None
    return Timing(*(() if d is None or d.isna().all() else (d.min(), d.max()) for d in days), late)
