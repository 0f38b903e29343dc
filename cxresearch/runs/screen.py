"""What the findings of a run say of themselves, and the first screen made of it: what a board sees in a minute.

Nothing is computed here. It reads what is left after the audit, so that nothing withheld shows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from cxresearch.findings import FORMULA, listing, number, percent, words
from cxresearch.runs.record import NotebookEntry, Record, read_findings

say = words(__package__)

LONGEST = 25  # words of an answer; what stands in brackets then follows it
BRACKETS = re.compile(r" \(([^()]*)\)")
SCORES = ("nps", "top_box", "mean_score", "effort")
MOST_TIED = 3  # experiences that may each be the first; of more, none is told to lead
SAID = re.compile("established|not known|cannot be")  # a title that says itself that it is open
UNKNOWN = 4  # lines of what is not known; the rest stands below


def notebooks_of(folder: Path, record: Record) -> dict[str, tuple[Path, NotebookEntry]]:
    """Return run and entry of each notebook by its page; in a batch that begins with the report's folder."""
    runs = [(f"{label}/" if label else "", place, run) for label, place, run in record.runs(folder)]
    return {begin + entry.name: (place, entry) for begin, place, run in runs for entry in run.notebooks}


def saved_findings(notebooks: Mapping[str, tuple[Path, NotebookEntry]]) -> "list[SavedFinding]":
    """Return the findings of notebooks in reading order, of each the one that leads its page first."""
    found = ((p, e.name, page, read_findings(p, e.name, e.headline)) for page, (p, e) in notebooks.items())
    return [SavedFinding(f, place / "findings" / name, page) for place, name, page, records in found for f in records]


@dataclass(frozen=True)
class SavedFinding:
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
        """Return a table, its cells as they were before they were kept from acting, with words for its first column."""
        found = pd.read_csv(self.folder / self["tables"][name], keep_default_na=False, na_values=[""])
        found = found.map(lambda v: v[1:] if isinstance(v, str) and v[:1] == "'" and v[1:].startswith(FORMULA) else v)
        return found.assign(words=found.iloc[:, 0].map(lambda key: self.record.get("labels", {}).get(str(key), key)))


def first_screen(all_of: list[SavedFinding], targets: Mapping[str, float] | None = None) -> dict:
    """Return what the template of the first screen shows, empty parts where the study lacks them; `targets` by item.

    Its charts and its map are findings. `score` leads, over waves, in the words of their comparison where there is one.
    """
    measured = [s for s in all_of if s["highlights"]]
    by_wave = sorted(measured, key=lambda s: ("wave" not in s["highlights"], bool(s["by"])))  # of all groups together
    best = {s["function"]: s for s in reversed(by_wave)}
    scores = [best[function] for function in SCORES if function in best]
    lead = scores[0] if scores else None
    asked = [s for s in all_of if s.found]
    first = {s["function"]: s for s in reversed(asked)}
    changes = [s for s in asked if lead and s["function"] == "compare_waves" and s["what"] == lead["what"]]
    change, worth, kinds = next(iter(changes), None), first.get("worth_of_a_point"), first.get("segment_customers")
    quality, trend, placed = map(first.get, ("response_quality", "touchpoint_trend", "importance_performance"))
    waves = list(lead.table()["wave"]) if lead and "wave" in lead["highlights"] else []
    shown = [*scores, *([worth] if worth else [])]
    levels = {saved["highlights"]["level"] for saved in shown}
    alike = say("level", level=levels.pop()) if len(levels) == 1 else ""
    ends = {"first": waves[0], "last": waves[-1]} if len(waves) > 1 else {}
    base = say("base_customers", n=number(kinds["glance"]["n"], 0)) if kinds else ""
    if quality:
        base = say("base" if ends else "base_one", n=number(quality["glance"]["n"], 0), level=alike, **ends)
    lines = [(_now(lead, change), lead.page)] if lead else []
    lines += [(f"{trend['title']}.", trend.page)] if trend else []
    lines += [(_most(placed), placed.page)] if placed else []
    said = {key: change[key] for key in ("title", "sentence")} if change else {}
    return {
        "base": base,
        "lines": lines,
        "score": replace(lead, record={**lead.record, **said}) if lead else None,
        "tiles": [_tile(saved, targets or {}, told_above=bool(alike)) for saved in shown],
        "charts": [saved for saved in (lead if ends else None, trend) if saved],
        "map": placed,
        "look": _look(placed, trend, *map(first.get, ("driver_importance", "journey_coverage", "tag_topics"))),
        "segments": kinds.table().to_dict("records") if kinds and kinds["established"] else [],
        "unknown": _unknown([s for s in all_of if s is not change], [text for text, _ in lines]),
    }


def _now(score: SavedFinding, change: SavedFinding | None) -> str:
    told = score["highlights"]
    measure = told["measure"].capitalize() if score["function"] == "nps" else f"{score['what']}: {told['measure']},"
    text = say.told("now" if "wave" in told else "now_one", **told | {"measure": measure})
    moved = change["highlights"] if change else {}
    if moved and moved.get("wave") == told.get("wave"):
        return say.told(f"moved_{moved['verdict']}", **moved | {"now": text})
    return f"{text}."


def _most(placed: SavedFinding) -> str:
    lead, what = (placed["highlights"] or {}).get("lead", []), placed["what"]
    if not placed["established"] or not 0 < len(lead) <= MOST_TIED or len(table := placed.table()) < 2:
        return say("drivers_open", what=what)
    table = table.sort_values("share", ascending=False, kind="stable").set_index("term")
    top = table.loc[lead] if len(lead) > 1 else table.head(2)
    low, others = top.loc[top["estimate"].idxmin()], top.drop(top["estimate"].idxmin())
    apart = low["conf_high"] < others["conf_low"].min()  # else none of them is told to be rated lower
    known = {"what": what, "lower": say("lower", name=low["words"]) if apart else ""}
    if len(lead) > 1:
        return say("lead_tied", first=listing(top["words"]), **known)
    return say("lead", first=top["words"].iloc[0], second=top["words"].iloc[1], **known)


def _tile(saved: SavedFinding, targets: Mapping[str, float], *, told_above: bool) -> dict:
    """Return a score, or the worth of points, with what it is measured in, its interval and what is aimed at."""
    told, label, line = saved["highlights"], saved["what"], []
    if "count" in told:
        label = say("tile_worth", count=told["count"].capitalize())
        notes = [told["open"]] if "open" in told else [say("tile_average")] * told["average"]
    else:
        notes, line = [told["measure"]], saved.table()["estimate"].dropna().tolist() if "wave" in told else []
    if "ends" in told:
        notes = [*notes, told["ends"] + ("" if told_above else f" ({told['level']})")]
    aim = targets.get(saved["outcome"].partition(" ")[0]) if "scale" in told else None
    if aim is not None:
        row = saved.table().dropna(subset=["estimate"]).iloc[-1] if "wave" in told else saved["glance"]
        low, high = (row[end] * told["scale"] for end in ("conf_low", "conf_high"))
        verdict = "met" if low >= aim else "missed" if high < aim else "open"
        notes = [*notes, say(f"target_{verdict}", target=number(aim, 0), unit=told["value"].partition(" ")[2])]
    tile = {"label": label, "value": told.get("value", "not established"), "page": saved.page, "notes": notes}
    if len(line) < 2:
        return tile | {"spark": ""}
    low, step = min(line), 114 / (len(line) - 1)  # in a box of 120 by 28, 3 from each side
    scale = 22 / ((max(line) - low) or 1)
    return tile | {"spark": " ".join(f"{3 + k * step:.1f},{25 - (v - low) * scale:.1f}" for k, v in enumerate(line))}


def _look(placed, trend, importance, coverage, topics) -> list[dict]:
    """Return the experiences that go most with the outcome among those rated under the middle, and those that moved."""
    if not placed or not placed["established"]:
        return []
    table = placed.table().sort_values("share", ascending=False, kind="stable").reset_index(drop=True)
    moved = trend.by_key("moved") if trend else {}
    low = table["estimate"] <= table["estimate"].median()
    chosen = table[((table["share"] > 1 / len(table)) & (low | (table.index == 0))) | table["term"].isin(moved)].head(5)
    if len(chosen) < 3:
        chosen = table[table.index.isin(chosen.index) | (table.index < 3)]
    owners = dict(coverage.table()[["measured_by", "owner"]].dropna().to_numpy()) if coverage else {}
    slopes = importance.table().set_index("term")["per_point_low"] if importance else {}
    complaints = topics.table().set_index("term")["negative"].dropna() if topics else {}
    quotes = topics.by_key("quotes") if topics else {}
    entries = []
    for _, row in chosen.iterrows():
        term = row["term"]
        evidence = [moved[term]] if moved.get(term) else []
        evidence += [say("share", share=percent(row["share"])), say("rating", rating=number(row["estimate"], 0))]
        evidence += [say("complaints", share=percent(complaints[term]))] if term in complaints else []
        known = "sure" if importance and slopes[term] > 0 else "open"
        sure = say.told(known + "_moved" * bool(moved.get(term)), what=placed["what"])
        entry = {"what": row["words"], "evidence": evidence, "sure": sure, "owner": owners.get(term, "")}
        entries.append(entry | {"quotes": quotes.get(term, [])[:2], "page": placed.page})
    return entries


def _unknown(all_of: list[SavedFinding], told: list[str]) -> list[tuple[str, str]]:
    """Return a sentence of a finding of each page that says what is not established, those that lead a page first; none of
    a score, which claims nothing by itself, or of what was `told` above. Its own words come before ours."""
    leads = {saved.page: saved for saved in reversed(all_of)}
    opened = [s for s in all_of if s["established"] is False and s.found and s["function"] not in SCORES]
    found: dict[str, str] = {}
    for saved in sorted(opened, key=lambda s: leads[s.page] is not s):
        title = saved["title"]
        about, colon, _ = title.partition(": ")
        said = next(filter(SAID.search, re.split(r"(?<=\.) (?=[A-Z])", BRACKETS.sub("", saved["sentence"]))), "")
        if SAID.search(title):
            text = f"{title}."
        elif said and colon:
            text = f"{about}: {said[0].lower()}{said[1:]}"
        else:
            text = said or say("unknown", title=title)
        if text not in told:
            found.setdefault(saved.page, text)
    return [(text, page) for page, text in found.items()][:UNKNOWN]
