"""When score and revenue were measured: the study's own dates decide, never the clock."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.findings import Check, percent, phrase
from cxresearch.loyalty.sentences import TEMPLATES


def dates(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column as dates; refuse what cannot be read."""
    values = pd.to_datetime(table[column], errors="coerce")
    bad = table[column].notna() & values.isna()
    if bad.any():
        raise DataProblem(
            f"{column} holds {int(bad.sum())} values that are no dates (first {table[column][bad].iloc[0]!r})"
        )
    return values


def day_of(table: pd.DataFrame, given, what: str) -> pd.Series:
    """Return for each row the day that `given`, a column or a date, names; `what` is its name in messages."""
    if given in table.columns:
        return dates(table, given)
    try:
        day = pd.Timestamp(given)
    except (ValueError, TypeError):
        day = pd.NaT
    if pd.isna(day):
        raise DataProblem(f"{what}, {given!r}, is neither a column nor a date such as 2025-01-01")
    return pd.Series(day, index=table.index)


@dataclass(frozen=True)
class Timing:
    """When score and revenue were measured, as far as it is known."""

    asked: tuple[pd.Timestamp, pd.Timestamp] | None = None  # first and last day of the answers used
    starts: tuple[pd.Timestamp, pd.Timestamp] | None = None  # first and last start of the revenue windows
    late: float | None = None  # share of scores on or after the start of their window; None: not known

    def words(self) -> str:
        if self.asked is None and self.starts is None:
            return TEMPLATES["no dates"]
        between = [days and [f"{day:%Y-%m-%d}" for day in dict.fromkeys(days)] for days in (self.asked, self.starts)]
        asked, starts = (" to ".join(days) if days else TEMPLATES["no day"] for days in between)
        return phrase(TEMPLATES, "dates", asked=asked, starts=starts)

    def check(self) -> Check:
        """Return the check that every score was measured before its window; not known only asks for care."""
        if self.late is None:
            value = "not stated" if self.asked is None else "start of the revenue window not stated"
        else:
            value = f"{percent(self.late)} of scores are later than its start"
        name = "score measured before the revenue window"
        return Check(name, value, "every score", self.late == 0, "stops" if self.late else "care")


def timed(table: pd.DataFrame, asked: str | None, revenue_from, rows: np.ndarray) -> Timing:
    """Return when the scores of `rows` were given and their revenue windows start.

    `asked` is the column that dates the score, `revenue_from` the column or the date on which the window starts;
    either may be None.
    """
    days = []
    if asked is not None:
        require_columns(table, asked, where="the table of customers")
    for given, read in ((asked, dates), (revenue_from, lambda t, c: day_of(t, c, "the start of the revenue window"))):
        days.append(None if given is None else read(table, given).iloc[rows])
    late = None
    if days[0] is not None and days[1] is not None:
        known = days[0].notna() & days[1].notna()
        late = float((days[0] >= days[1])[known].mean()) if known.any() else None
    return Timing(*((d.min(), d.max()) if d is not None and d.notna().any() else None for d in days), late)
