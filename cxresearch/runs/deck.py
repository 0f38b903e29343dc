"""A run as a PowerPoint deck of at most eight slides: native charts that can be edited, base and method in the notes."""

import math
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd
from lxml import etree
from matplotlib.ticker import MaxNLocator
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.dml.color import RGBColor
from pptx.enum.chart import XL_CHART_TYPE, XL_LABEL_POSITION, XL_LEGEND_POSITION, XL_TICK_LABEL_POSITION
from pptx.oxml.ns import nsdecls, qn
from pptx.util import Pt

from cxresearch.errors import StudyProblem
from cxresearch.figures import PALETTE
from cxresearch.findings import csv_safe, number, percent
from cxresearch.runs.chart import Chart, chart_of, lines_of
from cxresearch.runs.record import BATCH, OK, Record
from cxresearch.runs.screen import BRACKETS, SCORES, Saved, first_screen, first_sentence, saved_of, score_of

INK, BAR, LINE, GREY = "1C1E21", "A9CFE8", PALETTE[0].lstrip("#"), "A7ADB5"
# Places, letters and sizes stand in the template. Its levels of text: what is said, further, small print, soft, alarm.
TEMPLATE = Path(__file__).with_name("templates") / "deck.pptx"
SAID, FURTHER, SMALL, SOFT, ALARM = range(5)
MOST = 8  # slides
MOST_LINES = 18  # of small print that fit on one
# What a slide each is made of, in the order of the first screen; the first that is there.
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
    folder, whole = Record.read(run)
    record = whole.told()
    if Path(out).exists():
        raise StudyProblem(f"{out} exists; remove it, or name another file with --out")
    entries, saved = [], []
    for label, place, of in whole.runs(folder):
        begin = f"{label}/" if label else ""
        answered = [e.model_dump() for e in of.notebooks if e.status == OK]
        found = saved_of(place, answered)
        titled = [s.record | ({"title": f"{label}: {s['title']}"} if label else {}) for s in found]
        saved += [replace(s, page=begin + s.page, record=record) for s, record in zip(found, titled)]
        entries += [e.model_dump() | {"name": begin + e.name} for e in of.notebooks]
    record["notebooks"] = entries
    leads = {s.page: s for s in reversed(saved) if s["sentence"]}
    if not any(e.get("headline") and e["name"] in leads for e in entries):
        raise StudyProblem(f"{folder} has no headline: no notebook of it saved one")
    all_of = [] if whole.format == BATCH else saved  # reports of different people: no screen is of all of them
    screen = first_screen(all_of, whole.targets)
    deck = Presentation(TEMPLATE)
    about, about.title = deck.core_properties, record["title"]
    if "finished" in record:
        about.created = about.modified = datetime.fromisoformat(record["finished"]).replace(tzinfo=None)
    _add_first(deck, record, screen)
    if not one:
        found = [[s for f in part.split() for s in all_of if s["function"] == f and s.found] for part in PARTS]
        shown = [part[0] for part in (_over_time(all_of), *found) if part] or list(leads.values())[::-1]
        for part in shown[: MOST - 3]:
            _add_part(deck, part, record, screen)
        _add_open_points(deck, screen, entries, leads)
        _add_method(deck, record, list(leads.values())[::-1])
    deck.save(str(out))
    return Path(out)


def _over_time(saved: list[Saved]) -> list[Saved]:
    """Return the leading score over waves, if any, in the words of the comparison of waves where there is one."""
    score = next((found for name in SCORES if (found := score_of(saved, name))), None)
    change = next((s for s in saved if score and s["function"] == "compare_waves" and s["what"] == score["what"]), None)
    said = {key: change[key] for key in ("title", "sentence")} if change else {}
    return [Saved({**score.record, **said}, score.folder, score.page)] if score else []


def _notes(saved: Saved, record: dict) -> str:
    glance, entry = saved["glance"], next(e for e in record["notebooks"] if e["name"] == saved.page)
    lines = [
        saved["sentence"],
        f"Base: {_base(glance)}.",
        f"Method: {glance['method']}.",
        f"Checks: {sum(c['ok'] for c in saved['checks'])} of {len(saved['checks'])} hold.",
        f"Parameters: {', '.join(f'{k} = {v}' for k, v in entry['parameters'].items())}.",
        f"Source: finding {saved['id']!r} of notebook {saved.page}; {_made(record)}.",
    ]
    return "\n".join(lines)


def _base(glance: dict) -> str:
    effective = glance.get("n_effective")
    return f"n = {number(glance['n'], 0)}" + (f", effective n = {number(effective, 0)}" if effective else "")


def _made(record: dict) -> str:
    when = f"Run of {record['started'][:16].replace('T', ' ')} UTC" if "started" in record else "Reproducible run"
    return f"{when}, cxresearch {record['versions']['cxresearch']}"


# --- slides ------------------------------------------------------------------------------------------------------------


def _slide(deck, layout: str, title: str, lines):
    """Return a new slide with its title and what it says, each line (text, level), in the places of the template."""
    slide = deck.slides.add_slide(deck.slide_layouts.get_by_name(layout))
    slide.shapes.title.text, frame = title, slide.placeholders[1].text_frame
    for place, (text, level) in enumerate(lines):
        paragraph = frame.add_paragraph() if place else frame.paragraphs[0]
        whole = re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", text)  # a line ends neither there nor after a minus
        paragraph.text, paragraph.level = re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", whole), level
    return slide


def _add_first(deck, record: dict, screen: dict) -> None:
    tiles = [f"{t['label']}: {t['value']} ({'; '.join(t['notes'])})" for t in screen["tiles"]]
    lines = [(text, SAID) for text, _ in screen["lines"]] + [(text, FURTHER) for text in tiles]
    base = f"{screen['base']}{'. ' * bool(screen['base'])}{_made(record)}"
    _slide(deck, "First", record["title"], [*lines, (base, SOFT)])


def _add_part(deck, saved: Saved, record: dict, screen: dict) -> None:
    """Add a slide whose title is the finding: its further words, what to look at or the kinds of customers, its chart."""
    first, rest = first_sentence(saved.record)
    more, chart = saved["sentence"], lines_of(saved) or chart_of(saved.record, saved.folder)
    if BRACKETS.sub("", more).startswith(saved["title"]):  # which is said above
        more = f"{'; '.join(BRACKETS.findall(first))}. {rest}".removeprefix(". ") or first
    lines = [(f"{more[:1].upper()}{more[1:]}", SAID)]
    if saved["function"] == "driver_importance" and screen["look"]:
        lines = [(". ".join(f"{e['what']}: {'; '.join(e['evidence'])}" for e in screen["look"]) + ".", SAID)]
    if saved["function"] == "segment_customers" and screen["segments"]:
        named = ((s["suggested_name"].capitalize(), percent(s["share"]), s["description"]) for s in screen["segments"])
        lines, chart = [(f"{name}: {share}, {described}", SAID) for name, share, described in named], None
    slide = _slide(deck, "Chart" if chart else "Words", f"{saved['title']}.", lines)
    if chart:
        _add_chart(slide, chart, saved["sentence"])
    slide.notes_slide.notes_text_frame.text = _notes(saved, record)


def _add_open_points(deck, screen: dict, entries: list[dict], leads: dict) -> None:
    """Say what was not answered, and what stops a conclusion: a deck travels without its report."""
    titles = {e["name"]: e.get("title", e["name"]) for e in entries}
    lines = [(text, SAID) for text, _ in screen["unknown"]]
    unsaid = [e for e in entries if e["name"] not in leads]
    lines += [(f"{titles[e['name']]} {e['reason'] or 'It saves no headline.'}", FURTHER) for e in unsaid]
    failed = [(titles[s.page], c) for s in leads.values() if s.found for c in s["checks"] if not c["ok"]]
    stops = [f"{what} {check['check']}" for what, check in failed if check.get("level") == "stops"]
    lines += [(f"Stops a conclusion: {check}", ALARM) for check in dict.fromkeys(stops)]
    lines = lines or [("Every question was answered, and what is claimed is established.", SAID)]
    _slide(deck, "Words", "What we do not know", lines)


def _add_method(deck, record: dict, leads: list[Saved]) -> None:
    """Say of each question what it rests on."""
    titles, lines = {e["name"]: e.get("title", e["name"]) for e in record["notebooks"]}, []
    for saved in leads[:MOST_LINES]:
        checks, rests = saved["checks"], f"{_base(saved['glance'])}; {saved['glance']['method']}"
        held = f"{sum(c['ok'] for c in checks)} of {len(checks)} checks hold"
        lines.append((f"{titles[saved.page]} {rests}; {held}.", SMALL))
    if len(leads) > MOST_LINES:
        lines.append((f"{len(leads) - MOST_LINES} more questions stand in the report.", SMALL))
    _slide(deck, "Words", "How this was found", [*lines, (f"{_made(record)}.", SOFT)])


def _add_chart(slide, chart: Chart, alternative: str) -> None:
    across = max(map(len, chart.labels)) > 14  # long labels want bars that lie
    data = CategoryChartData(number_format=_format(chart))
    # the chart carries a workbook, in which a cell "=..." would be a formula
    data.categories = csv_safe(pd.DataFrame({"label": chart.labels}))["label"].tolist()
    for name, values in (chart.lines or {chart.title: chart.values}).items():
        data.add_series(name, values)
    kind = XL_CHART_TYPE.BAR_CLUSTERED if across else XL_CHART_TYPE.COLUMN_CLUSTERED
    kind = XL_CHART_TYPE.LINE_MARKERS if chart.lines else kind
    frame = slide.placeholders[2].insert_chart(kind, data)
    frame._element.nvGraphicFramePr.cNvPr.set("descr", alternative)
    if chart.lines:
        return _style_lines(frame.chart, chart)
    _style(frame.chart, chart, across)
    if chart.low is not None:
        _add_error_bars(frame.chart.plots[0].series[0], chart)


def _format(chart: Chart) -> str:
    scale = max(map(abs, chart.values))
    return "0 %" if chart.as_percent else "#,##0" if scale >= 100 else "0.0" if scale >= 1 else "0.00"


def _lettering(drawn, unit: str) -> None:
    """Set letters, and the unit beside the axis of values; no title, the slide has it."""
    drawn.has_title, drawn.font.size = False, Pt(13)
    drawn.font.color.rgb = RGBColor.from_string(INK)
    drawn.value_axis.has_major_gridlines, drawn.value_axis.has_title = False, True
    drawn.value_axis.axis_title.text_frame.text = unit
    drawn.value_axis.axis_title.text_frame.paragraphs[0].runs[0].font.size = Pt(12)


def _style(drawn, chart: Chart, across: bool) -> None:
    drawn.has_legend = False
    _lettering(drawn, chart.title + (" and interval" if chart.low else ""))
    plot = drawn.plots[0]
    plot.gap_width, plot.has_data_labels = 45, True
    plot.data_labels.number_format, plot.data_labels.number_format_is_linked = _format(chart), False
    plot.data_labels.position = XL_LABEL_POSITION.INSIDE_BASE if chart.low else XL_LABEL_POSITION.OUTSIDE_END
    fill = plot.series[0].format.fill
    fill.solid()
    fill.fore_color.rgb = RGBColor.from_string(BAR)
    plot.series[0].invert_if_negative = False
    values, names = drawn.value_axis, drawn.category_axis
    top = max(chart.high or chart.values)
    if chart.as_percent and top > 0.8:
        values.maximum_scale = 1.0
    elif top > 0:  # else the axis would end with the bars and cut their intervals
        values.maximum_scale = float(MaxNLocator(5).tick_values(0, top)[-1])
    if min(chart.low or chart.values) >= 0:
        values.minimum_scale = 0
    values.tick_labels.number_format, values.tick_labels.number_format_is_linked = _format(chart), False
    if across:
        names.reverse_order = True  # the first bar on top, the values still below
        values.tick_label_position = XL_TICK_LABEL_POSITION.HIGH


def _style_lines(drawn, chart: Chart) -> None:
    """Lines over waves: those that moved in colour, the others grey, each named in the legend at the right."""
    drawn.has_legend = True
    drawn.legend.position, drawn.legend.include_in_layout = XL_LEGEND_POSITION.RIGHT, False
    _lettering(drawn, chart.title)
    shown = [v for values in chart.lines.values() for v in values if v is not None]
    drawn.value_axis.minimum_scale = math.floor(min(shown))
    drawn.value_axis.tick_labels.number_format, drawn.value_axis.tick_labels.number_format_is_linked = "0.0", False
    for series in drawn.plots[0].series:
        lit, marker = series.name in chart.marked, series.marker.format
        colour = RGBColor.from_string(LINE if lit else GREY)
        series.smooth, series.format.line.width, series.format.line.color.rgb = False, Pt(3 if lit else 1.5), colour
        marker.fill.solid()
        marker.fill.fore_color.rgb = marker.line.color.rgb = colour
        if lit:
            label = series.points[min((v, k) for k, v in enumerate(series.values) if v is not None)[1]].data_label
            label.has_text_frame, label.position, label.text_frame.text = True, XL_LABEL_POSITION.BELOW, series.name


def _add_error_bars(series, chart: Chart) -> None:
    """Add the intervals to a series; python-pptx has no call for it, the format has (ECMA-376, part 1, 21.2.2.55)."""

    def amounts(tag, differences):
        points = "".join(f'<c:pt idx="{i}"><c:v>{max(d, 0):.10g}</c:v></c:pt>' for i, d in enumerate(differences))
        return f'<c:{tag}><c:numLit><c:ptCount val="{len(differences)}"/>{points}</c:numLit></c:{tag}>'

    more = amounts("plus", [h - v for h, v in zip(chart.high, chart.values)])
    less = amounts("minus", [v - low for low, v in zip(chart.low, chart.values)])
    bars = etree.fromstring(
        f'<c:errBars {nsdecls("c", "a")}><c:errBarType val="both"/><c:errValType val="cust"/><c:noEndCap val="0"/>'
        f'{more}{less}<c:spPr><a:ln w="22225"><a:solidFill><a:srgbClr val="{LINE}"/></a:solidFill></a:ln></c:spPr>'
        "</c:errBars>"
    )
    series._element.find(qn("c:cat")).addprevious(bars)
