"""What a board sees in a minute: the index of the example at the widths and in the colours in which it is read."""

import json
import re

import pytest

from browser.rendered import FUNCTIONS, render_foreign
from cxresearch.runs.record import Record

WIDE = 1280


def text_above(page, height: float) -> str:
    """Return the words that lie wholly within the first `height` pixels of the page, without those along an axis."""
    script = """height => {
        const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT), found = []
        while (walk.nextNode()) {
            const range = document.createRange(); range.selectNodeContents(walk.currentNode)
            const box = range.getBoundingClientRect()
            if (box.height && box.bottom <= height && !walk.currentNode.parentElement.closest('.tick')) found.push(walk.currentNode.textContent)
        }
        return found.join(' ')
    }"""
    return " ".join(page.evaluate(script, height).replace("\u00a0", " ").split())


def saved(example, notebook: str, name: str) -> dict:
    return json.loads((example / "findings" / notebook / f"{name}.json").read_text(encoding="utf-8"))


def test_the_first_900_pixels_tell_score_movement_touchpoint_drivers_and_money_with_a_chart(example, watched):
    page = watched(width=WIDE).page
    page.goto((example / "index.html").as_uri())
    shown = text_above(page, 900)
    score, change = (saved(example, "scorecard", n)["highlights"] for n in ("score_by_wave", "changes"))
    assert (
        f"{score['value']} in {score['wave']}" in shown and f"a change of {change['value']} from 2024Q3 is not" in shown
    )
    assert "Delivery fell 0.94 scale points in 2024Q3 and recovered in 2024Q4." in shown
    assert "Delivery and Staff in the shop go most with Overall satisfaction" in shown
    worth = saved(example, "loyalty_revenue", "worth_of_a_point")["highlights"]
    assert f"{worth['value']} " in shown and worth["value"].endswith(" EUR") and "line not straight" in shown
    for chart, words in zip(page.locator(".charts img").all(), ["net promoter score", "Delivery fell"], strict=True):
        box = chart.bounding_box()
        assert box["y"] + box["height"] < 900 and words in chart.get_attribute("alt")
    bases = [caption.inner_text() for caption in page.locator(".charts figcaption").all()]
    assert bases == ["n = 2,171".replace(" ", "\u00a0"), "n = 12,607".replace(" ", "\u00a0")]
    assert len(shown.split()) <= 150, shown


def test_the_first_2000_pixels_have_priorities_segments_by_name_and_what_is_not_known(example, watched):
    page = watched(width=WIDE).page
    page.goto((example / "index.html").as_uri())
    shown = text_above(page, 2000)
    kinds = saved(example, "segmentation", "segments")
    names = (example / "findings/segmentation" / kinds["tables"]["tidy"]).read_text(encoding="utf-8")
    assert [n for n in re.findall(r',"([^"]+)","', names) if n not in shown] == [] and "What we do not know" in shown
    assert page.locator(".look").count() in range(3, 6) and page.locator("#unknown + ul li").count() in range(1, 5)
    assert "Logistics" in shown  # who owns a touchpoint, where the study says so


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_and_nothing_scrolls_sideways(example, watched, scheme):
    page = watched(width=390, scheme=scheme).page
    page.goto((example / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    images = "all => all.map(i => { const b = i.getBoundingClientRect(); return b.left >= 0 && b.right <= 390 && b.width > 300 })"
    assert page.eval_on_selector_all("figure img", images) == [True] * 3


def test_the_page_is_small_and_asks_nobody(example, watched):
    seen = watched(width=WIDE)
    seen.page.goto((example / "index.html").as_uri())
    assert (example / "index.html").stat().st_size < 700_000
    assert seen.strangers() == [] and seen.problems == []


def test_a_study_without_parts_has_a_screen_without_them(tmp_path, example):
    from cxresearch.runs.screen import SavedFinding, first_screen, notebooks_of, saved_findings

    saved = saved_findings(notebooks_of(example, Record.read(example)[1]))
    whole = first_screen(saved)
    assert all(whole[part] for part in whole)
    for left, gone in [("scorecard", "charts"), ("drivers", "look"), ("segmentation", "segments")]:
        screen = first_screen([s for s in saved if s.page != left])
        assert not screen[gone], left
    assert not any(first_screen([]).values())
    refused = {"glance": {"n": 0, "method": "none"}, "established": False, "tables": {}, "highlights": None}
    screen = first_screen([SavedFinding({**s.record, **refused}, s.folder, s.page) for s in saved])
    assert not any(screen.values())  # what could not be asked stands with its question


def test_the_foreign_run_shows_every_part(tmp_path):
    import nbformat

    folder = render_foreign(nbformat.v4.new_notebook(), "<b>word</b>", tmp_path)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<b>word" not in page and page.count("&lt;b&gt;word") > len(FUNCTIONS)
