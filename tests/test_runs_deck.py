"""The deck of a run: native charts, base and method in the notes, nothing from the data that acts."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from conftest import require_program
from pptx import Presentation
from pptx.oxml.ns import qn
from tiny import DEFINE, write_notebook, write_study

from cxresearch.cli import main
from cxresearch.runs.deck import Chart, chart_of
from cxresearch.runs.make import make_run, plan_run
from cxresearch.runs.screen import SavedFinding

EXAMPLE = Path(__file__).parents[1] / "reports" / "example"
FIND = """
import cxresearch as cx
terms = ["=cmd|' /C calc'!A0", "a<b>c</b>", "plain"]
table = pd.DataFrame({"term": terms, "estimate": [1.5, -0.5, 0.25]})
table["conf_low"], table["conf_high"] = table["estimate"] - 1, table["estimate"] + 2
checks = (Check("enough", 3, "at least 10", False),)
finding = Answer("answer", "<i>x</i>", None, table, {"n": 1234, "n_effective": 1000.4, "method": "count"}, checks,
                 labels={"plain": "=1+1", "unused": "?"})
cx.save(finding, name="answer")
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    out = tmp_path_factory.mktemp("deck") / "example.pptx"
    assert main(["deck", str(EXAMPLE), "--out", str(out)]) == 0
    return out


def charts(deck):
    return [shape.chart for slide in deck.slides for shape in slide.shapes if shape.has_chart]


def titles(deck) -> list[str]:
    return [slide.shapes.title.text_frame.text for slide in deck.slides]


def test_the_deck_tells_the_first_screen_in_at_most_eight_slides_whose_titles_are_findings(example):
    deck = Presentation(example)
    said = titles(deck)
    assert len(said) <= 8 and said[0] == "Kestrel & Finch, home and garden"
    assert said[2] == "Delivery fell 0.94 scale points in 2024Q3 and recovered in 2024Q4."
    assert said[-2:] == ["What we do not know", "How this was found"]
    first = " ".join(s.text_frame.text for s in deck.slides[0].shapes if s.has_text_frame)
    worth = json.loads((EXAMPLE / "findings/loyalty_revenue/worth_of_a_point.json").read_text(encoding="utf-8"))
    assert "26.7 points in 2024Q4" in first and worth["highlights"]["value"] in first and "EUR" in first
    noted = [s for s in deck.slides if s.has_notes_slide]
    saved = {
        json.loads(p.read_text("utf-8"))["id"]: json.loads(p.read_text("utf-8"))
        for p in EXAMPLE.glob("findings/*/*.json")
    }
    for slide in noted:
        notes = slide.notes_slide.notes_text_frame.text
        (finding,) = [f for name, f in saved.items() if f"finding {name!r} of" in notes]
        assert (
            f"Base: n = {finding['glance']['n']:,.0f}" in notes and f"Method: {finding['glance']['method']}." in notes
        )
    assert len(noted) == 5 and len(charts(deck)) == 4
    assert not [s for slide in deck.slides for s in slide.shapes if s.shape_type == 13]  # no picture


def test_one_slide_is_the_first(tmp_path):
    assert main(["deck", str(EXAMPLE), "--one", "--out", str(tmp_path / "one.pptx")]) == 0
    assert titles(Presentation(tmp_path / "one.pptx")) == ["Kestrel & Finch, home and garden"]


def test_the_trend_is_a_native_line_a_touchpoint_the_one_that_moved_in_colour(example):
    (drawn,) = [c for c in charts(Presentation(example)) if len(c.plots[0].series) > 1]
    levels = pd.read_csv(EXAMPLE / "findings/scorecard/touchpoints.levels.csv")
    lines = {s.name: list(s.values) for s in drawn.plots[0].series}
    assert lines["Delivery"] == pytest.approx(levels.loc[levels["term"] == "delivery", "estimate"].tolist())
    assert len(lines) == levels["term"].nunique()
    colours = {s.name: str(s.format.line.color.rgb) for s in drawn.plots[0].series}
    assert [n for n, c in colours.items() if c == colours["Delivery"]] == ["Delivery"]


def test_the_chart_of_drivers_holds_the_table_s_shares_and_intervals(example):
    table = pd.read_csv(EXAMPLE / "findings" / "drivers" / "driver_importance.tidy.csv")
    table = table.sort_values("share", ascending=False)
    (drawn,) = [
        c for c in charts(Presentation(example)) if "Share of explained" in c.value_axis.axis_title.text_frame.text
    ]
    assert list(drawn.plots[0].series[0].values) == pytest.approx(table["share"].tolist())
    bars = drawn.plots[0].series[0]._element.find(qn("c:errBars"))
    ends = {tag: [float(v.text) for v in bars.find(qn(f"c:{tag}")).iter(qn("c:v"))] for tag in ("plus", "minus")}
    assert ends["plus"] == pytest.approx((table["share_high"] - table["share"]).tolist())
    assert ends["minus"] == pytest.approx((table["share"] - table["share_low"]).tolist())


def test_libreoffice_opens_the_deck_with_every_slide(example, tmp_path):
    require_program("soffice")
    require_program("pdftotext")
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    words = ["soffice", profile, "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path), str(example)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    info = subprocess.run(["pdfinfo", str(tmp_path / "example.pdf")], capture_output=True, text=True, check=True).stdout
    pages = int(next(line.split()[1] for line in info.splitlines() if line.startswith("Pages")))
    assert pages == len(Presentation(example).slides)
    words = subprocess.run(["pdftotext", str(tmp_path / "example.pdf"), "-"], capture_output=True, text=True).stdout
    assert "Delivery" in words and "net promoter score" in words


def test_a_chart_can_be_edited_and_its_workbook_holds_no_formula(tmp_path, capsys, pool):
    write_study(tmp_path)
    write_notebook(tmp_path / "notebooks", "count", DEFINE, FIND, headline="answer")
    write_notebook(tmp_path / "notebooks", "more", "1", needs={"tables": ["costs"]})
    plan = plan_run(tmp_path / "study.yml", notebooks=tmp_path / "notebooks")
    run = make_run(plan, tmp_path / "run", pool=pool).folder
    assert main(["deck", str(run), "--out", str(tmp_path / "d.pptx")]) == 0
    deck = Presentation(tmp_path / "d.pptx")
    (drawn,) = charts(deck)
    book = openpyxl.load_workbook(io.BytesIO(drawn.part.chart_workbook.xlsx_part.blob))
    cells = [cell for row in book.active.iter_rows() for cell in row]
    assert [c.data_type for c in cells if c.value is not None].count("f") == 0
    assert list(drawn.plots[0].categories) == ["'=cmd|' /C calc'!A0", "'=1+1", "a<b>c</b>"]
    texts = [s.text_frame.text for slide in deck.slides for s in slide.shapes if s.has_text_frame]
    assert any("The answer to <b><i>x</i></b> is 1234." in t for t in texts)
    assert deck.core_properties.title == "Tiny <company> & sons"
    assert "What does more say? needs table costs" in texts[-3] and "0 of 1 checks hold" in texts[-1]

    capsys.readouterr()
    assert main(["deck", str(run), "--out", str(tmp_path / "d.pptx")]) == 2
    assert capsys.readouterr().err.endswith("d.pptx exists; remove it, or name another file with --out\n")
    shutil.rmtree(run / "findings")
    assert main(["deck", str(run), "--out", str(tmp_path / "e.pptx")]) == 2
    assert capsys.readouterr().err.endswith("has no headline: no notebook of it saved one\n")


def test_a_table_of_one_row_or_of_two_keys_makes_no_chart(tmp_path):
    pd.DataFrame({"term": ["a"], "estimate": [1]}).to_csv(tmp_path / "one.csv", index=False)
    pd.DataFrame({"term": ["a", "a"], "share": [0.1, 0.2]}).to_csv(tmp_path / "two.csv", index=False)
    saved = SavedFinding({"tables": {"tidy": "one.csv", "two": "two.csv"}}, tmp_path, "answer")
    assert chart_of(saved) is None
    pd.DataFrame({"wave": ["b", "a"], "share": [0.1, 0.2]}).to_csv(tmp_path / "three.csv", index=False)
    saved.record["tables"]["three"] = "three.csv"
    assert chart_of(saved) == Chart(["b", "a"], [0.1, 0.2], None, None, "Share", True)


def test_the_axis_holds_every_bar_with_its_interval_and_begins_at_nothing(example):
    for drawn in charts(Presentation(example)):
        highs = [float(v) for v in drawn._chartSpace.xpath(".//c:errBars/c:plus//c:v/text()")]
        if highs:
            tops = [value + more for value, more in zip(drawn.plots[0].series[0].values, highs)]
            assert drawn.value_axis.minimum_scale == 0 and max(tops) <= drawn.value_axis.maximum_scale < 2 * max(tops)
