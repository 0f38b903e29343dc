"""The window that behaviour is observed in: it ends before `until`, so that nothing later can leak in."""

import re
from dataclasses import dataclass

import pandas as pd

from cxresearch.errors import DataProblem

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
    if isinstance(value, pd.DateOffset) and not isinstance(value, str):
        return value
    if hasattr(value, "total_seconds"):
        value = value.total_seconds() / 86400
    text = re.fullmatch(
        r"\s*(\d+)\s*([a-zA-Z]*)\s*",
        str(int(value)) if isinstance(value, (int, float)) and value == int(value) else str(value),
    )
    unit = UNITS.get((text[2] or "days").lower()) if text else None
    if unit is None or int(text[1]) == 0:
        raise DataProblem(
            f"{name}={value!r} is not a length of time; give days, or text such as '90 days' or '12 months'"
        )
    return pd.DateOffset(**{unit: int(text[1])})
