"""What one chart of a saved finding shows: which rows of which table, with which interval."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxresearch import digits
from cxresearch.findings import IDENTIFIERS, described

ROWS = range(2, 31)  # one bar says no more than the sentence; more than thirty cannot be read
# value and the ends of its interval, the most telling first
VALUES = (
    ("share", "share_low", "share_high"),
    ("estimate", "conf_low", "conf_high"),
    ("share", "conf_low", "conf_high"),
    ("percent", "percent_low", "percent_high"),
    ("share", "", ""),
    ("share_answered", "", ""),
)


@dataclass(frozen=True)
class Chart:
    """Bars in the order in which they are shown; ends of intervals or None; `as_percent` for shares."""

    labels: list[str]
    values: list[float]
    low: list[float] | None
    high: list[float] | None
    title: str
    as_percent: bool
    lines: dict[str, list] | None = None  # instead of bars, a line a name over the labels
    marked: tuple[str, ...] = ()  # of the lines: those in colour


def lines_of(saved) -> Chart | None:
    """Return the lines over waves of a trend of touchpoints, those that moved marked; None of other findings."""
    if saved["function"] != "touchpoint_trend":
        return None
    table, moved = saved.table("levels"), saved.moved
    wide = table.pivot(index="words", columns="wave", values="estimate")[list(dict.fromkeys(table["wave"]))]
    lines = {name: [None if pd.isna(v) else v for v in row] for name, row in zip(wide.index, wide.to_numpy())}
    marked = tuple(table.loc[table["term"].isin(moved), "words"].unique())
    values = [v for row in lines.values() for v in row if v is not None]
    return Chart(list(wide.columns), values, None, None, saved["highlights"]["unit"], False, lines, marked)


def chart_of(saved: dict, folder: Path) -> Chart | None:
    """Return the chart of a finding as `cx.save` wrote it into `folder`, or None where no table of it makes one."""
    wanted = saved.get("chart", {})
    files = saved["tables"]
    for name in [wanted["table"]] if wanted else files:
        table = pd.read_csv(folder / files[name], keep_default_na=False, na_values=[""])
        known = [(wanted["value"], wanted.get("low", ""), wanted.get("high", ""))] if wanted else VALUES
        columns = next((names for names in known if wanted or all(n in table for n in names if n)), None)
        key = next((k for k in IDENTIFIERS if k in table and table[k].is_unique), None)
        labels = saved.get("labels", {})
        if key is None and {"term", "tone"} <= set(table):
            key, table["row"] = "row", [f"{labels.get(t, t)}, {tone}" for t, tone in zip(table["term"], table["tone"])]
        if key and columns and len(table) in ROWS:
            return _chart(table, key, columns, wanted.get("title", ""), labels)
    return None


def _chart(table: pd.DataFrame, key: str, columns, title: str, labels: dict) -> Chart | None:
    value, low, high = columns
    shown = table[pd.to_numeric(table[value], errors="coerce").notna()]
    if len(shown) not in ROWS:
        return None
    if low and key == "term" and not pd.api.types.is_numeric_dtype(shown[key]):  # waves and groups have their order
        shown = shown.iloc[digits.descending(shown[value].astype(float))]
    keys = [re.sub(r"^'(?=[=+@\t\r-])", "", str(k)) for k in shown[key]]  # as it was before it was kept from acting
    words = [labels.get(k, k) for k in keys]
    ends = [shown[e].astype(float).fillna(shown[value]).tolist() if e else None for e in (low, high)]
    values = shown[value].astype(float).tolist()
    as_percent = value.startswith("share") or title.endswith("%")
    return Chart(words, values, *ends, title or described(value).title, as_percent)
