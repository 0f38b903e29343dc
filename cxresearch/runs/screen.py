"""The first screen of a run: what a board sees in a minute, from what the findings of the run say of themselves.

Nothing is computed here. It reads what is left after the audit, so that nothing withheld shows.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxresearch.findings import FORMULA, listing, number, percent, words
from cxresearch.runs.record import read_findings

say = words(__package__)

SCORES = ("nps", "top_box", "mean_score", "effort")
MOST_TIED = 3  # experiences that may each be the first; of more, none is told to lead
SAID = re.compile("established|not known|cannot be")  # a title that says itself that it is open
LONGEST = 25  # words of an answer; what stands in brackets then follows it
BRACKETS = re.compile(r" \(([^()]*)\)")
UNKNOWN = 4  # lines of what is not known; the rest stands below


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
    def moved(self) -> dict[str, str]:
        """How each touchpoint moved that did, in words, by its key as tables hold it."""
        return by_kept_key(self.record["highlights"]["moved"])

    def table(self, name: str = "tidy") -> pd.DataFrame:
        found = pd.read_csv(self.folder / self.record["tables"][name], keep_default_na=False, na_values=[""])
        found = found.map(lambda v: v[1:] if isinstance(v, str) and v[:1] == "'" and v[1:].startswith(FORMULA) else v)
        return found.assign(words=found.iloc[:, 0].map(lambda key: self.record["labels"].get(key, key)))


def by_kept_key(told: Mapping) -> dict:
    """Return a mapping by its keys as tables hold them: an end of a line is one character."""
    return {re.sub(r"\r\n?", "\n", key): value for key, value in told.items()}


def saved_of(folder: Path, entries: Iterable[dict]) -> list[Saved]:
    """Return the findings of a run's notebooks in reading order, of each notebook the one that leads its page first."""
    found = []
    for entry in entries:
        records = read_findings(folder, entry["name"], entry.get("headline"))
        found += [Saved(record, folder / "findings" / entry["name"], entry["name"]) for record in records]
    return found


def first_screen(all_of: list[Saved], targets: Mapping[str, float] | None = None) -> dict:
    """Return what the template of the first screen shows, empty parts where the study lacks them; `targets` by item.

    Its charts and its map are findings, whose figures the pages of their notebooks hold.
    """

    def first(*functions: str, **asked) -> Saved | None:
        found = (s for s in all_of if s["function"] in functions and s.found)
        fits = (s for s in found if all(s[k] == v for k, v in asked.items()))
        return next(fits, None)

    scores = [found for name in SCORES if (found := score_of(all_of, name))]
    change = first("compare_waves", what=scores[0]["what"]) if scores else None
    trend, placed = first("touchpoint_trend"), first("importance_performance")
    quality, worth, kinds = first("response_quality"), first("worth_of_a_point"), first("segment_customers")
    waves = list(scores[0].table()["wave"]) if scores and "wave" in scores[0]["highlights"] else []
    shown = [*scores, *([worth] if worth else [])]
    levels = {saved["highlights"]["level"] for saved in shown}
    alike = say("level", level=levels.pop()) if len(levels) == 1 else ""
    ends = {"first": waves[0], "last": waves[-1]} if len(waves) > 1 else {}
    n = number(quality["glance"]["n"], 0) if quality else ""
    base = say("base" if ends else "base_one", n=n, level=alike, **ends) if quality else ""
    base = say("base_customers", n=number(kinds["glance"]["n"], 0)) if kinds and not quality else base
    moved = (f"{trend['title']}.", trend.page) if trend else None
    lines = [line for line in (_now(scores, change), moved, _most(placed)) if line]
    return {
        "base": base,
        "lines": lines,
        "tiles": [_tile(saved, targets or {}, told_above=bool(alike)) for saved in shown],
        "charts": [saved for saved in (scores[0] if len(waves) > 1 else None, trend) if saved],
        "map": placed,
        "look": _look(placed, trend, first("driver_importance"), first("journey_coverage"), first("tag_topics")),
        "segments": kinds.table().to_dict("records") if kinds and kinds["established"] else [],
        "unknown": _unknown([s for s in all_of if s is not change], [text for text, _ in lines]),
    }


def score_of(all_of: list[Saved], function: str) -> Saved | None:
    """Return the score of a measure, by wave where it is there, of all groups together."""
    found = [s for s in all_of if s["function"] == function and s["highlights"]]
    return min(found, key=lambda s: ("wave" not in s["highlights"], bool(s["by"])), default=None)


def _now(scores: list[Saved], change: Saved | None) -> tuple[str, str] | None:
    if not scores:
        return None
    told, item = scores[0]["highlights"], scores[0]["what"]
    measure = told["measure"].capitalize() if scores[0]["function"] == "nps" else f"{item}: {told['measure']},"
    text = say.told("now" if "wave" in told else "now_one", **told | {"measure": measure})
    moved = change["highlights"] if change else {}
    if moved and moved.get("wave") == told.get("wave"):
        return say.told(f"moved_{moved['verdict']}", **moved | {"now": text}), scores[0].page
    return f"{text}.", scores[0].page


def _most(placed: Saved | None) -> tuple[str, str] | None:
    if placed is None:
        return None
    lead, what = (placed["highlights"] or {}).get("lead", []), placed["what"]
    if not placed["established"] or not 0 < len(lead) <= MOST_TIED or len(table := placed.table()) < 2:
        return say("drivers_open", what=what), placed.page
    table = table.sort_values("share", ascending=False, kind="stable").set_index("term")
    top = table.loc[lead] if len(lead) > 1 else table.head(2)
    low, others = top.loc[top["estimate"].idxmin()], top.drop(top["estimate"].idxmin())
    apart = low["conf_high"] < others["conf_low"].min()  # else none of them is told to be rated lower
    known = {"what": what, "lower": say("lower", name=low["words"]) if apart else ""}
    if len(lead) > 1:
        return say("lead_tied", first=listing(top["words"]), **known), placed.page
    return say("lead", first=top["words"].iloc[0], second=top["words"].iloc[1], **known), placed.page


def _tile(saved: Saved, targets: Mapping[str, float], *, told_above: bool) -> dict:
    """Return a score, or the worth of points, with what it is measured in, its interval and what is aimed at."""
    told, spark = saved["highlights"], []
    tile = {"label": saved["what"], "value": told.get("value", "not established"), "page": saved.page}
    if "count" in told:
        tile["label"] = say("tile_worth", count=told["count"].capitalize())
        notes = [told["open"]] if "open" in told else [say("tile_average")] * told["average"]
    else:
        notes, spark = [told["measure"]], saved.table()["estimate"].dropna().tolist() if "wave" in told else []
    if "ends" in told:
        notes = [*notes, told["ends"] + ("" if told_above else f" ({told['level']})")]
    aim = targets.get(saved["outcome"].partition(" ")[0]) if "scale" in told else None
    if aim is not None:
        row = saved.table().dropna(subset=["estimate"]).iloc[-1] if "wave" in told else saved["glance"]
        low, high = (row[end] * told["scale"] for end in ("conf_low", "conf_high"))
        verdict = "met" if low >= aim else "missed" if high < aim else "open"
        notes = [*notes, say(f"target_{verdict}", target=number(aim, 0), unit=told["value"].partition(" ")[2])]
    return tile | {"notes": notes, "spark": _line(spark, 120, 28) if len(spark) > 1 else ""}


def _line(values: list[float], width: float, height: float) -> str:
    low, high = min(values), max(values)
    step, scale = (width - 6) / (len(values) - 1), (height - 6) / ((high - low) or 1)
    return " ".join(f"{3 + k * step:.1f},{height - 3 - (v - low) * scale:.1f}" for k, v in enumerate(values))


def _look(placed, trend, importance, coverage, topics) -> list[dict]:
    """Return the experiences that go most with the outcome among those rated under the middle, and those that moved."""
    if not placed or not placed["established"]:
        return []
    table = placed.table().sort_values("share", ascending=False, kind="stable").reset_index(drop=True)
    moved = trend.moved if trend else {}
    low = table["estimate"] <= table["estimate"].median()
    chosen = table[((table["share"] > 1 / len(table)) & (low | (table.index == 0))) | table["term"].isin(moved)].head(5)
    if len(chosen) < 3:
        chosen = table[table.index.isin(chosen.index) | (table.index < 3)]
    owners = dict(coverage.table()[["measured_by", "owner"]].dropna().to_numpy()) if coverage else {}
    slopes = importance.table().set_index("term") if importance else None
    said = topics.table().set_index("term") if topics else None
    quotes = by_kept_key((topics["highlights"] or {}).get("quotes", {})) if topics else {}
    entries = []
    for _, row in chosen.iterrows():
        evidence = [say("share", share=percent(row["share"])), say("rating", rating=number(row["estimate"], 0))]
        if said is not None and row["term"] in said.index and pd.notna(said.loc[row["term"], "negative"]):
            evidence.append(say("complaints", share=percent(said.loc[row["term"], "negative"])))
        course, known = moved.get(row["term"], ""), slopes is not None and slopes.loc[row["term"], "per_point_low"] > 0
        sure = say.told(("sure" if known else "open") + "_moved" * bool(course), what=placed["what"])
        entries.append({
            "what": row["words"], "evidence": [course] * bool(course) + evidence, "sure": sure, "owner": owners.get(row["term"], ""),
            "quotes": quotes.get(row["term"], [])[:2], "page": placed.page,
        })  # fmt: skip
    return entries


def _unknown(all_of: list[Saved], told: list[str]) -> list[tuple[str, str]]:
    """Return a sentence of a finding of each page that says what is not established, those that lead a page first.

    A score claims nothing by itself: whether it moved is told by the comparison of waves. What was `told` above is not
    told again.
    """
    leads = {saved.page: saved for saved in reversed(all_of)}
    opened = [s for s in all_of if s["established"] is False and s.found and s["function"] not in SCORES]
    found: dict[str, str] = {}
    for saved in sorted(opened, key=lambda s: leads[s.page] is not s):
        text = _open_words(saved["title"], saved["sentence"])
        if text not in told:
            found.setdefault(saved.page, text)
    return [(text, page) for page, text in found.items()][:UNKNOWN]


def first_sentence(finding: dict) -> tuple[str, str]:
    """Return the first sentence of a finding, which its title is without what stands in brackets, and the others."""
    told, title = finding["sentence"], BRACKETS.sub("", finding.get("title", ""))
    ends = (match.start() + 1 for match in re.finditer(r"\.(?= |$)", told))
    end = next((end for end in ends if BRACKETS.sub("", told[: end - 1]) == title), len(told))
    first, rest = told[:end], told[end:].strip()
    if len(first.split()) <= LONGEST:
        return first, rest
    return f"{finding['title']}.", f"{'; '.join(BRACKETS.findall(first))}. {rest}".strip()


def _open_words(title: str, sentence: str) -> str:
    """Return the sentence of a finding that says itself that it is open, with what it is about; else it is made to."""
    if SAID.search(title):
        return f"{title}."
    told = re.split(r"(?<=\.) (?=[A-Z])", BRACKETS.sub("", sentence))
    about, colon, _ = title.partition(": ")
    if (said := next(filter(SAID.search, told), "")) and colon:
        return f"{about}: {said[0].lower()}{said[1:]}"
    return said or say("unknown", title=title)
