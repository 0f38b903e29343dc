"""A run's headlines as a PowerPoint deck: native charts that can be edited, base and method in the notes."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.figures import PALETTE
from cxresearch.findings import csv_safe, number
from cxresearch.runs.chart import Chart, chart_of
from cxresearch.runs.compare import read_run
from cxresearch.runs.execute import OK

INK, SOFT, ALARM, BAR, LINE = "1C1E21", "5C6168", "A3260F", "A9CFE8", PALETTE[0].lstrip("#")
WIDE, HIGH, MARGIN = 13.333, 7.5, 0.6  # inches
FONT = "Calibri"
PER_SLIDE = 4  # headlines on one slide of the summary


@dataclass(frozen=True)
class Headline:
    """One notebook of a run: its question and what its headline says.

    Attributes
    ----------
    question, sentence
        The notebook's title and the finding's sentence; where there is none, why.
    said
        Whether there is a finding.
    chart
        Or None.
    unmet
        The checks that do not hold, in words.
    notes
        Base, method and source.
    """

    question: str
    sentence: str
    said: bool
    chart: Chart | None
    unmet: tuple[str, ...]
    notes: str


def write_deck(run, out) -> Path:
    """Write the deck of a run and return its path.

    Parameters
    ----------
    run : path
        Folder of the run, or a file in it.
    out : path
        ``.pptx``; must not exist.

    Raises
    ------
    StudyProblem
        If there is no run, no notebook of it has a headline, or `out` exists.
    """
    from pptx import Presentation
    from pptx.util import Inches

    folder, record = read_run(run)
    if Path(out).exists():
        raise StudyProblem(f"{out} exists; remove it, or name another file with --out")
    headlines = [_headline(folder, record, entry) for entry in record["notebooks"]]
    if not any(h.said for h in headlines):
        raise StudyProblem(f"{folder} has no headline: no notebook of it saved one")
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(WIDE), Inches(HIGH)
    _date(deck, record)
    _add_cover(deck, record, headlines)
    _add_summary(deck, [h for h in headlines if h.said])
    for headline in headlines:
        if headline.said:
            _add_headline(deck, headline)
    _add_open_points(deck, headlines)
    deck.save(str(out))
    return Path(out)


def _headline(folder: Path, record: dict, entry: dict) -> Headline:
    question = entry.get("title", entry["name"])
    file = folder / "findings" / entry["name"] / f"{entry['headline']}.json"
    if entry["status"] != OK or not file.is_file():
        return Headline(question, entry["reason"] or "It saves no headline.", False, None, (), "")
    saved = json.loads(file.read_text(encoding="utf-8"))
    unmet = tuple(f"{c['check']}: {_shown(c['value'])}, required: {c['limit']}" for c in saved["checks"] if not c["ok"])
    return Headline(
        question, saved["sentence"], True, chart_of(saved, file.parent), unmet, _notes(saved, record, entry)
    )


def _notes(saved: dict, record: dict, entry: dict) -> str:
    glance = saved["glance"]
    effective = glance.get("n_effective")
    base = f"Base: n = {number(glance['n'], 0)}" + (f", effective n = {number(effective, 0)}" if effective else "")
    held = sum(c["ok"] for c in saved["checks"])
    lines = [
        saved["sentence"],
        f"{base}.",
        f"Method: {glance['method']}.",
        f"Checks: {held} of {len(saved['checks'])} hold.",
        f"Parameters: {', '.join(f'{k} = {v}' for k, v in entry['parameters'].items())}.",
        f"Source: finding {saved['id']!r} of notebook {entry['name']}; {_made(record)}.",
    ]
    return "\n".join(lines)


def _made(record: dict) -> str:
    when = f"Run of {record['started'][:16].replace('T', ' ')} UTC" if "started" in record else "Reproducible run"
    return f"{when}, cxresearch {record['versions']['cxresearch']}"


def _shown(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# --- slides ------------------------------------------------------------------------------------------------------------


def _date(deck, record: dict) -> None:
    properties = deck.core_properties
    properties.title, properties.author = record["title"], "cxresearch"
    if "finished" in record:
        properties.created = properties.modified = datetime.fromisoformat(record["finished"]).replace(tzinfo=None)


def _slide(deck, title: str, *, size: float = 24):
    """Return a new slide with its title, in a placeholder so that outline and screen reader find it."""
    from pptx.util import Inches

    slide = deck.slides.add_slide(deck.slide_layouts[5])
    box = slide.shapes.title
    box.left, box.top, box.width, box.height = (Inches(x) for x in (MARGIN, 0.35, WIDE - 2 * MARGIN, 0.95))
    _write(box.text_frame, [(title, size, INK, True)])
    return slide


def _text(slide, lines, *, top: float, height: float) -> None:
    from pptx.util import Inches

    box = slide.shapes.add_textbox(Inches(MARGIN), Inches(top), Inches(WIDE - 2 * MARGIN), Inches(height))
    _write(box.text_frame, lines)


def _write(frame, lines) -> None:
    """Write paragraphs (text, size in points, colour, bold) into a frame, wrapped and left-aligned."""
    from pptx.dml.color import RGBColor
    from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
    from pptx.util import Pt

    frame.word_wrap, frame.vertical_anchor = True, MSO_ANCHOR.TOP
    for number_of, (text, size, colour, bold) in enumerate(lines):
        paragraph = frame.paragraphs[0] if number_of == 0 else frame.add_paragraph()
        paragraph.alignment, paragraph.space_after = PP_ALIGN.LEFT, Pt(size / 3)
        run = paragraph.add_run()
        run.text = text
        run.font.name, run.font.size, run.font.bold = FONT, Pt(size), bold
        run.font.color.rgb = RGBColor.from_string(colour)


def _add_cover(deck, record: dict, headlines) -> None:
    slide = _slide(deck, record["title"], size=40)
    slide.shapes.title.top, slide.shapes.title.height = slide.shapes.title.height * 2, slide.shapes.title.height * 2
    said = sum(h.said for h in headlines)
    lines = [(f"{said} of {len(headlines)} questions answered", 20, INK, False), (_made(record), 16, SOFT, False)]
    _text(slide, lines, top=4.0, height=1.5)


def _add_summary(deck, headlines) -> None:
    for start in range(0, len(headlines), PER_SLIDE):
        slide = _slide(deck, "In short" if start == 0 else "In short, continued")
        lines = []
        for headline in headlines[start : start + PER_SLIDE]:
            lines += [(headline.question, 14, SOFT, True), (headline.sentence, 15, INK, False)]
        _text(slide, lines, top=1.25, height=5.8)


def _add_headline(deck, headline: Headline) -> None:
    slide = _slide(deck, headline.question)
    lines = [(headline.sentence, 17, INK, False)]
    if headline.unmet:
        lines.append((f"Checks not met: {'; '.join(headline.unmet)}", 13, ALARM, True))
    _text(slide, lines, top=1.25, height=1.7)
    if headline.chart:
        _add_chart(slide, headline.chart, headline.sentence)
    slide.notes_slide.notes_text_frame.text = headline.notes


def _add_open_points(deck, headlines) -> None:
    """Say what was not answered, and which checks do not hold: a deck travels without its report."""
    lines = [(f"{h.question} {h.sentence}", 15, INK, False) for h in headlines if not h.said]
    lines += [(f"{h.question} {unmet}", 15, ALARM, False) for h in headlines for unmet in h.unmet]
    slide = _slide(deck, "What could not be answered, and what to doubt")
    none = [("Every question was answered and every check of a headline holds.", 15, INK, False)]
    _text(slide, lines or none, top=1.25, height=5.8)


def _add_chart(slide, chart: Chart, alternative: str) -> None:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    across = max(map(len, chart.labels)) > 14  # long labels want bars that lie
    data = CategoryChartData(number_format=_format(chart))
    # the chart carries a workbook, in which a cell "=..." would be a formula
    data.categories = csv_safe(pd.DataFrame({"label": chart.labels}))["label"].tolist()
    data.add_series(chart.title, chart.values)
    kind = XL_CHART_TYPE.BAR_CLUSTERED if across else XL_CHART_TYPE.COLUMN_CLUSTERED
    place = (Inches(MARGIN), Inches(3.0), Inches(WIDE - 2 * MARGIN), Inches(4.2))
    frame = slide.shapes.add_chart(kind, *place, data)
    frame._element.nvGraphicFramePr.cNvPr.set("descr", alternative)
    _style(frame.chart, chart, across)
    if chart.low is not None:
        _add_error_bars(frame.chart.plots[0].series[0], chart)


def _format(chart: Chart) -> str:
    scale = max(map(abs, chart.values))
    return "0 %" if chart.as_percent else "#,##0" if scale >= 100 else "0.0" if scale >= 1 else "0.00"


def _style(drawn, chart: Chart, across: bool) -> None:
    from pptx.dml.color import RGBColor
    from pptx.enum.chart import XL_LABEL_POSITION, XL_TICK_LABEL_POSITION
    from pptx.util import Pt

    drawn.has_legend, drawn.has_title = False, False
    drawn.font.size, drawn.font.name, drawn.font.color.rgb = Pt(13), FONT, RGBColor.from_string(INK)
    plot = drawn.plots[0]
    plot.gap_width, plot.has_data_labels = 45, True
    plot.data_labels.number_format, plot.data_labels.number_format_is_linked = _format(chart), False
    plot.data_labels.position = XL_LABEL_POSITION.INSIDE_BASE if chart.low else XL_LABEL_POSITION.OUTSIDE_END
    fill = plot.series[0].format.fill
    fill.solid()
    fill.fore_color.rgb = RGBColor.from_string(BAR)
    plot.series[0].invert_if_negative = False
    values, names = drawn.value_axis, drawn.category_axis
    values.has_major_gridlines, values.has_title = False, True
    values.axis_title.text_frame.text = chart.title + (" and interval" if chart.low else "")
    values.axis_title.text_frame.paragraphs[0].runs[0].font.size = Pt(12)
    if chart.as_percent and max(chart.high or chart.values) > 0.8:
        values.maximum_scale = 1.0
    values.tick_labels.number_format, values.tick_labels.number_format_is_linked = _format(chart), False
    if across:
        names.reverse_order = True  # the first bar on top, the values still below
        values.tick_label_position = XL_TICK_LABEL_POSITION.HIGH


def _add_error_bars(series, chart: Chart) -> None:
    """Add the intervals to a series; python-pptx has no call for it, the format has (ECMA-376, part 1, 21.2.2.55)."""
    from lxml import etree
    from pptx.oxml.ns import nsdecls, qn

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
