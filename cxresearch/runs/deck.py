"""A run as a PowerPoint deck of at most eight slides: charts that can be edited, base and method in the notes."""

import math
import re
from collections import namedtuple
from datetime import datetime
from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator
from pptx import Presentation
from pptx.chart.data import CategoryChartData

from cxresearch import digits
from cxresearch.errors import StudyProblem
from cxresearch.figures import PALETTE
from cxresearch.findings import IDENTIFIERS, csv_safe, described, percent
from cxresearch.runs.record import BATCH, OK, Record
from cxresearch.runs.render import macros, rendered
from cxresearch.runs.screen import BRACKETS, SavedFinding, first_screen, notebooks_of, saved_findings

COLOURS = {"ink": "1C1E21", "bar": "A9CFE8", "line": PALETTE[0].lstrip("#"), "grey": "A7ADB5"}
# Places, letters and sizes stand in the template. Its levels of text: what is said, further, small print, soft, alarm.
TEMPLATE = Path(__file__).with_name("templates") / "deck.pptx"
SAID, FURTHER, SMALL, SOFT, ALARM = range(5)
MOST = 8  # slides
MOST_LINES = 18  # of small print that fit on one
# What a slide each is made of, below the score over waves, in the order of the first screen; the first that is there.
PARTS = ("touchpoint_trend", "driver_importance", "fit_loyalty_revenue worth_of_a_point", "segment_customers")
ROWS = range(2, 31)  # one bar says no more than the sentence; more than thirty cannot be read
# value and, where it has one, the ends of its interval, the most telling first
VALUES = ["share share_low share_high", "estimate conf_low conf_high", "share conf_low conf_high"]
VALUES += ["percent percent_low percent_high", "share", "share_answered"]


def write_deck(run, out, *, one: bool = False) -> Path:
    """Write the deck of a run and return its path: the first screen, a slide a part of it, what is not known, method.

    With `one` the first slide alone. Refused if `out` exists, or no notebook of the run has a headline.
    """
    folder, record = Record.read(run)
    if Path(out).exists():
        raise StudyProblem(f"{out} exists; remove it, or name another file with --out")
    notebooks = notebooks_of(folder, record)
    entries = {page: entry for page, (_, entry) in notebooks.items()}
    saved = [s for s in saved_findings(notebooks) if entries[s.page].status == OK]
    leads = {s.page: s for s in reversed(saved) if s["sentence"]}
    if not any(entries[page].headline for page in leads):
        raise StudyProblem(f"{folder} has no headline: no notebook of it saved one")
    deck, words = Presentation(TEMPLATE), macros("deck.txt.j2")
    about, about.title = deck.core_properties, record.title
    if record.finished:
        about.created = about.modified = datetime.fromisoformat(record.finished).replace(tzinfo=None)
    all_of = [] if record.format == BATCH else saved  # reports of different people: no screen is of all of them
    screen, made = first_screen(all_of, record.targets), words.made(record)
    lines = [*((text, SAID) for text, _ in screen["lines"]), *((words.tile(tile), FURTHER) for tile in screen["tiles"])]
    _add_slide(deck, "First", record.title, [*lines, (". ".join(filter(None, [screen["base"], made])), SOFT)])
    if not one:
        found = {s["function"]: s for s in reversed(all_of) if s.found}
        shown = [next((found[f] for f in part.split() if f in found), None) for part in PARTS]
        shown = list(filter(None, [screen["score"], *shown])) or list(leads.values())[::-1]
        for part in shown[: MOST - 3]:
            slide = _add_part(deck, part, screen, words)
            slide.notes_slide.notes_text_frame.text = words.notes(part, entries[part.page].parameters, record)
        titles = {page: entry.title or entry.name for page, entry in entries.items()}
        _add_slide(deck, "Words", "What we do not know", _open_points(screen, entries, titles, leads))
        rests = [words.rests(s, titles[s.page]) for s in reversed(leads.values())]
        more = [f"{len(rests) - MOST_LINES} more questions stand in the report."] * (len(rests) > MOST_LINES)
        small = [(text, SMALL) for text in rests[:MOST_LINES] + more]
        _add_slide(deck, "Words", "How this was found", [*small, (f"{made}.", SOFT)])
    deck.save(str(out))
    return Path(out)


def _add_slide(deck, layout: str, title: str, lines: list[tuple[str, int]]):
    """Return a new slide with its title and what it says, each line (text, level), in the places of the template."""
    slide = deck.slides.add_slide(deck.slide_layouts.get_by_name(layout))
    slide.shapes.title.text, frame = title, slide.placeholders[1].text_frame
    for place, (text, level) in enumerate(lines):
        paragraph = frame.add_paragraph() if place else frame.paragraphs[0]
        whole = re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", text)  # a line ends neither there nor after a minus
        paragraph.text, paragraph.level = re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", whole), level
    return slide


def _add_part(deck, saved: SavedFinding, screen: dict, words):
    """Add a slide that a finding heads: its further words, what to look at or the kinds of customers, its chart."""
    first, rest = saved.sentences
    more, chart, (report, _, _) = saved["sentence"], chart_of(saved), saved.page.rpartition("/")
    if BRACKETS.sub("", more).startswith(saved["title"]):  # which is said above
        more = f"{'; '.join(BRACKETS.findall(first))}. {rest}".removeprefix(". ") or first
    lines = [f"{more[:1].upper()}{more[1:]}"]
    if saved["function"] == "driver_importance" and screen["look"]:
        lines = [words.look(screen["look"])]
    if saved["function"] == "segment_customers" and screen["segments"]:
        told = [(s["suggested_name"].capitalize(), percent(s["share"]), s["description"]) for s in screen["segments"]]
        lines, chart = [f"{name}: {share}, {described}" for name, share, described in told], None
    title = f"{report}: {saved['title']}." if report else f"{saved['title']}."
    slide = _add_slide(deck, "Chart" if chart else "Words", title, [(line, SAID) for line in lines])
    if chart:
        _add_chart(slide, chart, saved["sentence"])
    return slide


def _open_points(screen: dict, entries: dict, titles: dict, leads: dict) -> list[tuple[str, int]]:
    """Return what was not answered, and what stops a conclusion: a deck travels without its report."""
    lines = [(text, SAID) for text, _ in screen["unknown"]]
    unsaid = {page: entry.reason or "It saves no headline." for page, entry in entries.items() if page not in leads}
    lines += [(f"{titles[page]} {reason}", FURTHER) for page, reason in unsaid.items()]
    failed = [(titles[s.page], c) for s in leads.values() if s.found for c in s["checks"] if not c["ok"]]
    stops = [f"{what} {check['check']}" for what, check in failed if check.get("level") == "stops"]
    lines += [(f"Stops a conclusion: {check}", ALARM) for check in dict.fromkeys(stops)]
    return lines or [("Every question was answered, and what is claimed is established.", SAID)]


# Bars in the order in which they are shown, with the ends of intervals or None; `as_percent` for shares. Or `lines`
# (name -> values) over the labels, of which the `marked` are in colour.
Chart = namedtuple("Chart", "labels values low high title as_percent lines marked", defaults=(None, ()))


def chart_of(saved: SavedFinding) -> Chart | None:
    """Return the chart of a finding, None where no table makes one: lines over waves, those that moved marked, or bars."""
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


def _add_chart(slide, chart: Chart, alternative: str) -> None:
    """Add a chart, which carries a workbook of what it shows, and is drawn by a template of its XML."""
    scale, low, high = max(map(abs, chart.values)), min(chart.low or chart.values), max(chart.high or chart.values)
    written = "0 %" if chart.as_percent else "#,##0" if scale >= 100 else "0.0" if scale >= 1 else "0.00"
    data = CategoryChartData(number_format=written)
    # in the workbook a cell "=..." would be a formula
    data.categories = csv_safe(pd.DataFrame({"label": chart.labels}))["label"].tolist()
    for name, values in (chart.lines or {chart.title: chart.values}).items():
        data.add_series(name, values)
    drawn = {"data": data, "chart": chart, "colours": COLOURS, "written": written, "errors": {}, "lowest": {}}
    drawn |= {"top": None, "bottom": 0.0 if low >= 0 else None}
    if chart.lines:
        drawn["bottom"] = float(math.floor(low))
    elif high > 0:  # without an end of its own the axis would end with the bars and cut their intervals
        drawn["top"] = 1.0 if chart.as_percent and high > 0.8 else float(MaxNLocator(5).tick_values(0, high)[-1])
    drawn["lying"] = not chart.lines and max(map(len, chart.labels)) > 14  # for long labels
    if chart.low:
        more, less = zip(chart.values, chart.high), zip(chart.low, chart.values)
        drawn["errors"] = {"plus": [max(b - a, 0) for a, b in more], "minus": [max(b - a, 0) for a, b in less]}
    for name in chart.marked:
        drawn["lowest"][name] = min((v, k) for k, v in enumerate(chart.lines[name]) if v is not None)[1]
    data.xml_bytes = lambda _: rendered("chart.xml.j2", **drawn).encode()
    frame = slide.placeholders[2].insert_chart(None, data)
    frame._element.nvGraphicFramePr.cNvPr.set("descr", alternative)
