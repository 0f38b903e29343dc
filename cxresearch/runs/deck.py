"""A run as a PowerPoint deck of at most eight slides: native charts that can be edited, base and method in the notes."""

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator
from pptx import Presentation
from pptx.chart.data import CategoryChartData

from cxresearch.errors import StudyProblem
from cxresearch.figures import PALETTE
from cxresearch.findings import csv_safe, number, percent
from cxresearch.runs.record import BATCH, OK, Record
from cxresearch.runs.render import rendered
from cxresearch.runs.saved import BRACKETS, Chart, Saved, chart_of, notebooks_of, saved_of
from cxresearch.runs.screen import first_screen

COLOURS = {"ink": "1C1E21", "bar": "A9CFE8", "line": PALETTE[0].lstrip("#"), "grey": "A7ADB5"}
# Places, letters and sizes stand in the template. Its levels of text: what is said, further, small print, soft, alarm.
TEMPLATE = Path(__file__).with_name("templates") / "deck.pptx"
SAID, FURTHER, SMALL, SOFT, ALARM = range(5)
MOST = 8  # slides
MOST_LINES = 18  # of small print that fit on one
# What a slide each is made of, below the score over waves, in the order of the first screen; the first that is there.
PARTS = ("touchpoint_trend", "driver_importance", "fit_loyalty_revenue worth_of_a_point", "segment_customers")


def write_deck(run, out, *, one: bool = False) -> Path:
    """Write the deck of a run and return its path: the first screen, a slide a part of it, what is not known, method.

    Parameters
    ----------
    run : path, folder of the run, or a file in it
    out : path, ``.pptx``; must not exist
    one : bool, the first slide alone

    Raises
    ------
    StudyProblem
        If there is no run, no notebook of it has a headline, or `out` exists.
    """
    folder, record = Record.read(run)
    if Path(out).exists():
        raise StudyProblem(f"{out} exists; remove it, or name another file with --out")
    notebooks = notebooks_of(folder, record)
    entries = {page: entry for page, (_, entry) in notebooks.items()}
    saved = saved_of({page: notebooks[page] for page, entry in entries.items() if entry.status == OK})
    saved = [
        replace(s, record=s.record | {"title": f"{s.page.rpartition('/')[0]}: {s['title']}".removeprefix(": ")})
        for s in saved
    ]
    leads = {s.page: s for s in reversed(saved) if s["sentence"]}
    if not any(entry.headline and page in leads for page, entry in entries.items()):
        raise StudyProblem(f"{folder} has no headline: no notebook of it saved one")
    deck = Presentation(TEMPLATE)
    about, about.title = deck.core_properties, record.title
    if record.finished:
        about.created = about.modified = datetime.fromisoformat(record.finished).replace(tzinfo=None)
    made = f"Run of {record.started[:16].replace('T', ' ')} UTC" if record.started else "Reproducible run"
    made = f"{made}, cxresearch {record.versions['cxresearch']}"
    all_of = [] if record.format == BATCH else saved  # reports of different people: no screen is of all of them
    screen = first_screen(all_of, record.targets)
    tiles = [(f"{t['label']}: {t['value']} ({'; '.join(t['notes'])})", FURTHER) for t in screen["tiles"]]
    base = f"{screen['base']}{'. ' * bool(screen['base'])}{made}"
    _add_slide(deck, "First", record.title, [*((text, SAID) for text, _ in screen["lines"]), *tiles, (base, SOFT)])
    if not one:
        parts = [[s for f in part.split() for s in all_of if s["function"] == f and s.found] for part in PARTS]
        shown = [part[0] for part in ([screen["score"]] * bool(screen["score"]), *parts) if part]
        for part in (shown or list(leads.values())[::-1])[: MOST - 3]:
            slide = _add_part(deck, part, screen)
            slide.notes_slide.notes_text_frame.text = _notes(part, entries[part.page].parameters, made)
        titles = {page: entry.title or entry.name for page, entry in entries.items()}
        _add_slide(deck, "Words", "What we do not know", _open_points(screen, entries, titles, leads))
        rests = [
            f"{titles[s.page]} {_base(s)}; {s['glance']['method']}; {_held(s)} checks hold." for s in leads.values()
        ][::-1]
        more = [f"{len(rests) - MOST_LINES} more questions stand in the report."] * (len(rests) > MOST_LINES)
        small = [(text, SMALL) for text in rests[:MOST_LINES] + more]
        _add_slide(deck, "Words", "How this was found", [*small, (f"{made}.", SOFT)])
    deck.save(str(out))
    return Path(out)


def _base(saved: Saved) -> str:
    n, effective = saved["glance"]["n"], saved["glance"].get("n_effective")
    return f"n = {number(n, 0)}" + (f", effective n = {number(effective, 0)}" if effective else "")


def _held(saved: Saved) -> str:
    return f"{sum(c['ok'] for c in saved['checks'])} of {len(saved['checks'])}"


def _notes(saved: Saved, parameters: dict, made: str) -> str:
    lines = [
        saved["sentence"],
        f"Base: {_base(saved)}.",
        f"Method: {saved['glance']['method']}.",
        f"Checks: {_held(saved)} hold.",
        f"Parameters: {', '.join(f'{k} = {v}' for k, v in parameters.items())}.",
        f"Source: finding {saved['id']!r} of notebook {saved.page}; {made}.",
    ]
    return "\n".join(lines)


def _add_slide(deck, layout: str, title: str, lines: Iterable[tuple[str, int]]):
    """Return a new slide with its title and what it says, each line (text, level), in the places of the template."""
    slide = deck.slides.add_slide(deck.slide_layouts.get_by_name(layout))
    slide.shapes.title.text, frame = title, slide.placeholders[1].text_frame
    for place, (text, level) in enumerate(lines):
        paragraph = frame.add_paragraph() if place else frame.paragraphs[0]
        whole = re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", text)  # a line ends neither there nor after a minus
        paragraph.text, paragraph.level = re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", whole), level
    return slide


def _add_part(deck, saved: Saved, screen: dict):
    """Add a slide whose title is the finding: its further words, what to look at or the kinds of customers, its chart."""
    first, rest = saved.sentences
    more, chart = saved["sentence"], chart_of(saved)
    if BRACKETS.sub("", more).startswith(saved["title"]):  # which is said above
        more = f"{'; '.join(BRACKETS.findall(first))}. {rest}".removeprefix(". ") or first
    lines = [f"{more[:1].upper()}{more[1:]}"]
    if saved["function"] == "driver_importance" and screen["look"]:
        lines = [". ".join(f"{e['what']}: {'; '.join(e['evidence'])}" for e in screen["look"]) + "."]
    if saved["function"] == "segment_customers" and screen["segments"]:
        told = [(s["suggested_name"].capitalize(), percent(s["share"]), s["description"]) for s in screen["segments"]]
        lines, chart = [f"{name}: {share}, {described}" for name, share, described in told], None
    slide = _add_slide(deck, "Chart" if chart else "Words", f"{saved['title']}.", [(line, SAID) for line in lines])
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


# --- charts ----------------------------------------------------------------------------------------------------------


def _add_chart(slide, chart: Chart, alternative: str) -> None:
    """Add a chart, which carries a workbook of what it shows, and is drawn by a template of its XML."""
    scale, lowest, highest = (
        max(map(abs, chart.values)),
        min(chart.low or chart.values),
        max(chart.high or chart.values),
    )
    written = "0 %" if chart.as_percent else "#,##0" if scale >= 100 else "0.0" if scale >= 1 else "0.00"
    data = CategoryChartData(number_format=written)
    # in the workbook a cell "=..." would be a formula
    data.categories = csv_safe(pd.DataFrame({"label": chart.labels}))["label"].tolist()
    for name, values in (chart.lines or {chart.title: chart.values}).items():
        data.add_series(name, values)
    drawn = {"data": data, "chart": chart, "colours": COLOURS, "written": written, "errors": {}, "lowest": {}}
    # without an end of its own the axis would end with the bars and cut their intervals
    drawn["top"] = float(MaxNLocator(5).tick_values(0, highest)[-1]) if highest > 0 else None
    drawn["top"] = None if chart.lines else 1.0 if chart.as_percent and highest > 0.8 else drawn["top"]
    drawn["bottom"] = float(math.floor(lowest)) if chart.lines else 0.0 if lowest >= 0 else None
    drawn["lying"] = not chart.lines and max(map(len, chart.labels)) > 14  # for long labels
    if chart.low:
        more, less = zip(chart.values, chart.high), zip(chart.low, chart.values)
        drawn["errors"] = {"plus": [max(b - a, 0) for a, b in more], "minus": [max(b - a, 0) for a, b in less]}
    for name in chart.marked:
        drawn["lowest"][name] = min((v, k) for k, v in enumerate(chart.lines[name]) if v is not None)[1]
    data.xml_bytes = lambda _: rendered("chart.xml.j2", **drawn).encode()
    frame = slide.placeholders[2].insert_chart(None, data)
    frame._element.nvGraphicFramePr.cNvPr.set("descr", alternative)
