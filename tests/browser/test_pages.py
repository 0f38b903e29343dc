"""The example report as readers meet it: in a browser, on a phone, on paper, in the dark, by keyboard."""

import pprint
import re
import shutil
import subprocess

import nbformat
import numpy as np
import pandas as pd
import pytest
from axe_core_python.sync_playwright import Axe
from conftest import ROOT
from waiting import wait_for

import cxresearch as cx
from cxresearch.runs.page import from_html

EXAMPLE = ROOT / "reports/example"
PAGES = ["index", *sorted(p.stem for p in EXAMPLE.glob("*.ipynb"))]
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
RULES["resultTypes"] = ["violations"]  # what passes is not listed: half the time
PAINT = "() => performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)"


@pytest.mark.parametrize(
    ("width", "scheme", "names"),
    [
        (360, "light", PAGES),
        (1280, "dark", PAGES[::3]),
        *[
            pytest.param(*look, PAGES, marks=pytest.mark.soak)
            for look in [(360, "dark"), (1280, "light"), (1280, "dark")]
        ],
    ],
    ids=lambda v: "some" if v == PAGES[::3] else "all" if v == PAGES else str(v),
)
def test_every_page_meets_wcag_2_2_aa_and_asks_nothing_of_anyone(example, watched, width, scheme, names):
    seen, found = watched(width=width, scheme=scheme), {}
    for name in names:
        seen.page.goto((example / f"{name}.html").as_uri())
        seen.page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true })")
        found[name] = [
            (v["id"], v["nodes"][0]["html"][:200]) for v in Axe().run(seen.page, options=RULES)["violations"]
        ]
        across = seen.page.evaluate("() => document.documentElement.scrollWidth")
        assert across <= width, f"{name} scrolls sideways: {across} px"
    assert {name: v for name, v in found.items() if v} == {}
    assert seen.strangers() == [] and seen.problems == []


def test_axe_sees_a_page_that_lacks_an_alternative_text(example, watched, tmp_path):
    (tmp_path / "bad.html").write_text(
        re.sub(r' alt="[^"]*"', "", (example / "effort.html").read_text("utf-8")), "utf-8"
    )
    seen = watched()
    seen.page.goto((tmp_path / "bad.html").as_uri())
    assert [v["id"] for v in Axe().run(seen.page, options=RULES)["violations"]] == ["image-alt"]


def test_pages_are_under_700_kilobytes_and_painted_within_a_second(example, watched):
    seen = watched()

    def soon(name: str) -> bool:
        seen.page.goto((example / f"{name}.html").as_uri())
        return wait_for(lambda: seen.page.evaluate(PAINT), f"{name} is painted")[0] <= 1000

    for name in PAGES:
        assert (example / f"{name}.html").stat().st_size <= 700_000
        wait_for(lambda: soon(name), f"{name} is painted within a second")  # the machine may be busy, so not at once


def test_figures_are_crisp_and_described_by_the_computed_sentence(example, watched):
    seen = watched(width=1280)
    for name in PAGES[1:]:
        seen.page.goto((example / f"{name}.html").as_uri())
        images = seen.page.eval_on_selector_all(
            "img", "all => all.map(i => [i.alt, i.naturalWidth / i.getBoundingClientRect().width, i.src.slice(5, 12)])"
        )
        assert images and all(alt.count(" ") > 5 for alt, *_ in images), name
        assert all(kind == "image/s" or density >= 2 for _, density, kind in images), (name, images)


def test_a_phone_gets_figures_drawn_for_it_whole_and_sharp_without_a_script(example, watched):
    seen, wrong = watched(width=390, scripts=False), {}
    for name in PAGES[1:]:
        seen.page.goto((example / f"{name}.html").as_uri())
        shown = seen.page.eval_on_selector_all(
            "figure img",
            """all => all.map(i => { const b = i.getBoundingClientRect()
                return [i.currentSrc !== i.src, b.left >= 0 && b.right <= 390, i.naturalWidth / b.width >= 2] })""",
        )
        wrong |= {name: shown} if not shown or not all(map(all, shown)) else {}
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390, name
    assert wrong == {}


def test_a_term_of_art_is_explained_once_where_it_is_first_used_on_paper_too(example, watched):
    page = watched(scripts=False).page
    page.goto((example / "segmentation.html").as_uri())
    named = [name.text_content() for name in page.locator("dfn").all()]
    assert {"Jaccard", "silhouette", "BIC"} <= set(named) and len(set(named)) == len(named)
    page.emulate_media(media="print")
    assert all(name.is_visible() for name in page.locator("main > .terms dfn").all())


def test_a_page_says_what_to_look_at_next_from_what_was_found(example, watched):
    page = watched().page
    for name, said in [("drivers", "Start with Delivery"), ("claims", "would settle it"), ("scorecard", "would settle")]:
        page.goto((example / f"{name}.html").as_uri())
        assert said in page.locator(".next").inner_text(), name


def test_folded_parts_are_open_on_paper(example, watched):
    page = watched().page
    page.goto((example / "index.html").as_uri())
    page.emulate_media(media="print")
    assert page.locator("#open + details li").first.is_visible()
    assert not page.locator("details.tables").first.is_visible()


def test_code_and_contents_are_reached_without_scripts_and_by_keyboard(example, watched):
    page = watched(width=800, scripts=False).page
    page.goto((example / "drivers.html").as_uri())
    code = page.locator("details.code pre").first
    assert not code.is_visible()
    page.locator("details.code summary").first.focus()
    page.keyboard.press("Enter")
    code.wait_for(state="visible")
    page.locator("nav.contents a").last.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/drivers.html#s{page.locator('nav.contents a').count()}")


def test_how_sure_an_answer_is_stands_above_everything_else_that_a_page_shows(example, watched):
    page = watched(width=360).page
    page.goto((example / "drivers.html").as_uri())
    told = page.locator(".checks").first
    assert re.match(r"Established\. \d+ checks: \d+ asks? for care", told.inner_text())
    assert told.bounding_box()["y"] < page.locator("h2").first.bounding_box()["y"]
    page.goto((example / "journey.html").as_uri())
    assert "stops a conclusion" in page.locator(".alarm").first.inner_text()


# What a reader reads: blocks of words with everything open, without code, numbers in tables, checks and the foot.
READ = """() => {
    const main = document.querySelector('main')
    const aside = 'table, pre, nav, .code, .checks, .finding:has(strong)'
    const own = [...main.querySelectorAll('p, li, h1, h2, h3')].filter(e => !e.closest(aside))
    return own.map(e => e.innerText.replaceAll('\\u00a0', ' ').replace(/\\s+/g, ' ').trim())
}"""
CALLS = re.compile(r"\([^()]*\)|^This question cannot be asked.*")  # functions that do it; a parameter to be set
KEY = re.compile(r"(?<![\w.\"'(])[a-z]+(?:_[a-z]+)+(?![\w(])")  # such as what_comes_first: a name of code, no word


def test_a_page_answers_in_25_words_says_nothing_twice_and_has_words_for_everything(example, watched):
    page, wrong = watched().page, {}
    for name in PAGES[1:]:
        page.goto((example / f"{name}.html").as_uri())
        page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true })")
        order = page.evaluate(
            "() => [...document.querySelector('main').children].slice(0, 3).map(e => e.className || e.localName)"
        )
        assert order[:2] == ["h1", "finding answer"], name
        assert len(page.locator(".answer").inner_text().split()) <= 25, name
        blocks = page.evaluate(READ)
        told = [s for block in blocks for s in re.split(r"(?<=[.!?]) (?=[A-Z“])", block) if len(s.split()) > 3]
        heads = page.eval_on_selector_all("main th", "all => all.map(e => e.innerText)")
        found = [("twice", s) for s in dict.fromkeys(told) if told.count(s) > 1]
        found += [("a bare decimal", s) for s in told if re.search(r"(?<![\w.])\.\d", s)]
        found += [
            ("a key", s) for s in [*told, *heads] if KEY.search(CALLS.sub("", s)) and name != "intake"
        ]  # that names keys
        found += [("many decimals", s) for s in told if re.search(r"\d\.\d{4,}", s)]
        wrong |= {name: found} if found else {}
    assert not wrong, pprint.pformat(wrong, width=200)


def _words_outside(pdf, width: float, height: float) -> list[str]:
    shown = subprocess.run(["pdftotext", "-bbox", pdf, "-"], capture_output=True, text=True, check=True).stdout
    words = re.findall(r'xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>', shown)
    return [w for *box, w in words if not (0 <= float(box[0]) and float(box[2]) <= width and float(box[3]) <= height)]


A4 = (595.92, 842.88)  # points, as Chromium rounds them


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext on this system")
def test_no_table_is_cut_on_paper(example, watched, tmp_path):
    page = watched().page
    for name in PAGES:
        page.goto((example / f"{name}.html").as_uri())
        cut = page.evaluate(
            "() => [...document.querySelectorAll('main td, main th')].map(c => c.innerText.split(/\\s+/)[0]).filter(Boolean)"
        )
        page.pdf(path=tmp_path / "page.pdf", format="A4", prefer_css_page_size=False)
        assert _words_outside(tmp_path / "page.pdf", *A4) == [], name
        text = subprocess.run(["pdftotext", tmp_path / "page.pdf", "-"], capture_output=True, text=True).stdout
        dense = re.sub(r"\s", "", text)
        assert [w for w in set(cut) if re.sub(r"\s", "", w) not in dense] == [], name


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext on this system")
def test_a_table_of_sixteen_columns_and_sixty_rows_fits_on_paper(example, watched, tmp_path):
    rng = np.random.default_rng(7)
    cells = pd.DataFrame(rng.normal(1000, 300, (60, 16)), columns=[f"column_number_{k}" for k in range(16)])
    style = re.search(r"<style>.*?</style>", (example / "effort.html").read_text("utf-8"), re.S).group()
    table = from_html(cx.readable(cells.rename_axis("row").reset_index()).to_html())
    (tmp_path / "wide.html").write_text(
        f"<!DOCTYPE html><html lang=en><title>t</title>{style}<main>{table}</main>", "utf-8"
    )
    page = watched().page
    page.goto((tmp_path / "wide.html").as_uri())
    page.pdf(path=tmp_path / "wide.pdf", format="A4")
    assert _words_outside(tmp_path / "wide.pdf", *A4) == []
    text = subprocess.run(["pdftotext", tmp_path / "wide.pdf", "-"], capture_output=True, text=True).stdout
    assert all(f"{value:,.2f}" in re.sub(r"\s", "", text) for value in cells.to_numpy().ravel())


def test_the_guide_leads_through_the_notebooks_in_reading_order(example):
    guide = (example / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((\w+\.ipynb)\)", guide)
    assert sorted(linked) == sorted(f"{name}.ipynb" for name in PAGES[1:])
    titles = [nbformat.read(example / file, as_version=4).cells[0].source.splitlines()[0][2:] for file in linked]
    assert all(f"[{title}]({file})" in guide for title, file in zip(titles, linked))
