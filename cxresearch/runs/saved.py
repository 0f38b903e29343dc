"""What a run's notebooks saved: each finding with its tables, the first words of it, and the chart that a deck makes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxresearch import digits
from cxresearch.findings import FORMULA, IDENTIFIERS, described
from cxresearch.runs.record import NotebookEntry, Record, read_findings

LONGEST = 25  # words of an answer; what stands in brackets then follows it
BRACKETS = re.compile(r" \(([^()]*)\)")
ROWS = range(2, 31)  # one bar says no more than the sentence; more than thirty cannot be read
# value and, where it has one, the ends of its interval, the most telling first
VALUES = ["share share_low share_high", "estimate conf_low conf_high", "share conf_low conf_high"]
VALUES += ["percent percent_low percent_high", "share", "share_answered"]


def notebooks_of(folder: Path, record: Record) -> dict[str, tuple[Path, NotebookEntry]]:
    """Return run and entry of each notebook by its page; in a batch that begins with the report's folder."""
    runs = [(f"{label}/" if label else "", place, run) for label, place, run in record.runs(folder)]
    return {begin + entry.name: (place, entry) for begin, place, run in runs for entry in run.notebooks}


def saved_of(notebooks: Mapping[str, tuple[Path, NotebookEntry]]) -> "list[Saved]":
    """Return the findings of notebooks in reading order, of each the one that leads its page first."""
    return [
        Saved(record, place / "findings" / entry.name, page)
        for page, (place, entry) in notebooks.items()
        for record in read_findings(place, entry.name, entry.headline)
    ]


@dataclass(frozen=True)
class Saved:
    """A finding as a notebook saved it, and where its page is."""

    record: Mapping
    folder: Path
    page: str

    def __getitem__(self, key: str):
        return self.record.get(key)

    @property
    def found(self) -> bool:
        """Whether the question could be asked of the data at all."""
        return self.record.get("glance", {}).get("method") != "none"

    @property
    def sentences(self) -> tuple[str, str]:
        """The first sentence, which its title is without what stands in brackets, and the others."""
        told, title = self["sentence"], BRACKETS.sub("", self.record.get("title", ""))
        ends = (match.start() + 1 for match in re.finditer(r"\.(?= |$)", told))
        end = next((end for end in ends if BRACKETS.sub("", told[: end - 1]) == title), len(told))
        first, rest = told[:end], told[end:].strip()
        if len(first.split()) <= LONGEST:
            return first, rest
        return f"{self['title']}.", f"{'; '.join(BRACKETS.findall(first))}. {rest}".strip()

    def by_key(self, highlight: str) -> dict:
        """Return what is told of each item, by its key as tables hold it: an end of a line is one character."""
        told = (self["highlights"] or {}).get(highlight, {})
        return {re.sub(r"\r\n?", "\n", key): value for key, value in told.items()}

    def table(self, name: str = "tidy") -> pd.DataFrame:
        """Return a table with its cells as they were before they were kept from acting, and words for its first column."""
        found = pd.read_csv(self.folder / self["tables"][name], keep_default_na=False, na_values=[""])
        found = found.map(lambda v: v[1:] if isinstance(v, str) and v[:1] == "'" and v[1:].startswith(FORMULA) else v)
        return found.assign(words=found.iloc[:, 0].map(lambda key: self.record.get("labels", {}).get(str(key), key)))


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


def chart_of(saved: Saved) -> Chart | None:
    """Return the chart of a finding, or None where no table of it makes one.

    A trend of touchpoints is lines over waves, those that moved marked; anything else is bars.
    """
    if saved["function"] == "touchpoint_trend":
        table = saved.table("levels")
        wide = table.pivot(index="words", columns="wave", values="estimate")[list(dict.fromkeys(table["wave"]))]
        lines = {name: [None if pd.isna(v) else v for v in row] for name, row in zip(wide.index, wide.to_numpy())}
        values = [v for row in lines.values() for v in row if v is not None]
        marked = tuple(table.loc[table["term"].isin(saved.by_key("moved")), "words"].unique())
        return Chart(list(wide.columns), values, None, None, saved["highlights"]["unit"], False, lines, marked)
    wanted, labels = saved["chart"] or {}, saved["labels"] or {}
    known = [[wanted[name] for name in ("value", "low", "high")]] if wanted else [names.split() for names in VALUES]
    for name in [wanted["table"]] if wanted else saved["tables"]:
        table = saved.table(name)
        columns = next((names for names in known if wanted or {*names} <= {*table}), None)
        key = next((k for k in IDENTIFIERS if k in table and table[k].is_unique), None)
        if key is None and {"term", "tone"} <= set(table):
            key, table["row"] = "row", [f"{labels.get(t, t)}, {tone}" for t, tone in zip(table["term"], table["tone"])]
        if not key or not columns:
            continue
        value, *ends = columns
        table = table[pd.to_numeric(table[value], errors="coerce").notna()]
        if len(table) not in ROWS:
            continue
        if ends and key == "term" and not pd.api.types.is_numeric_dtype(table[key]):  # waves, groups have an order
            table = table.iloc[digits.descending(table[value].astype(float))]
        words = [labels.get(str(k), str(k)) for k in table[key]]
        values = table[value].astype(float).tolist()
        low, high = (table[e].astype(float).fillna(table[value]).tolist() for e in ends) if ends else (None, None)
        title = wanted.get("title", "")
        as_percent = value.startswith("share") or title.endswith("%")
        return Chart(words, values, low, high, title or described(value).title, as_percent)
    return None
