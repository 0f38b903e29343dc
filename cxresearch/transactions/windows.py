"""The window that behaviour is observed in: it ends before `until`, so that nothing later can leak in."""

import re
from dataclasses import dataclass

import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.inference.events import opened, quoted
from cxresearch.survey import as_table

UNITS = {"d": "days", "day": "days", "days": "days", "w": "weeks", "week": "weeks", "weeks": "weeks"}
UNITS |= {"m": "months", "month": "months", "months": "months", "y": "years", "year": "years", "years": "years"}


@dataclass(frozen=True)
class Window:
    """Times `start` <= t < `until`; `start` is None when all history counts."""

    start: pd.Timestamp | None
    until: pd.Timestamp

    def months(self, most: int) -> int:
        """Return how many whole months, counted back from `until`, fit in (at most `most`)."""
        if self.start is None:
            return most
        return sum(self.until - pd.DateOffset(months=k) >= self.start for k in range(1, most + 1))

    def edge(self, months_back: int) -> pd.Timestamp:
        """Return the time so many months before `until`."""
        return self.until - pd.DateOffset(months=months_back)


def window_halves(transactions, *, until, window, time: str | None = None) -> tuple[dict, dict]:
    """Return the earlier and the later half of a window, each as ``{"until": ..., "window": ...}`` for `behaviour`.

    Parameters
    ----------
    transactions, time
        As in `behaviour`; they say when history starts if `window` is None.
    until, window
        As in `behaviour`.

    Raises
    ------
    DataProblem
        If the window is shorter than two days.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> earlier, later = cx.window_halves(study.transactions, until="2025-01-01", window="12 months")
    >>> earlier["until"] == later["until"]
    False
    """
    events, whole = as_table(transactions), as_window(until, window)
    start = whole.start
    if start is None:
        column = time or events.roles.get("time", "time")
        with opened(events.data) as relation:
            require_columns(relation, column, where="transactions")
            first = relation.query("source", f"SELECT min({quoted(column)})::TIMESTAMP FROM source").fetchall()[0][0]
        start = pd.Timestamp(first).normalize()
    days = (whole.until - start).days // 2
    if days < 1:
        raise DataProblem(f"the window from {start.date()} to {whole.until.date()} is too short to be cut in two")
    return {"until": whole.until - pd.Timedelta(days=days), "window": days}, {"until": whole.until, "window": days}


def as_window(until, window) -> Window:
    """Return the window of length `window` (days, or '12 months', or None for all history) that ends at `until`."""
    end = as_time("until", until)
    return Window(None if window is None else end - as_length("window", window), end)


def as_time(name: str, value) -> pd.Timestamp:
    """Return a naive timestamp, to the microsecond."""
    try:
        time = pd.Timestamp(value)
    except (ValueError, TypeError):
        time = pd.NaT
    if time is pd.NaT or time.tzinfo is not None:
        raise DataProblem(f"{name}={value!r} is not a date without time zone, for example '2024-12-31'")
    return time.as_unit("us")


def as_length(name: str, value) -> pd.DateOffset:
    """Return a positive length of time from days or text such as '12 months'."""
    whole = isinstance(value, float) and value.is_integer()
    text = re.fullmatch(r"\s*(\d+)\s*([a-zA-Z]*)\s*", str(int(value) if whole else value))
    unit = UNITS.get((text[2] or "days").lower()) if text else None
    if unit is None or int(text[1]) == 0:
        raise DataProblem(
            f"{name}={value!r} is not a length of time; give days, or text such as '90 days' or '12 months'"
        )
    return pd.DateOffset(**{unit: int(text[1])})
