"""The pages: safe whatever the data hold, readable by everyone, self-contained."""

import json
import re
from html.parser import HTMLParser

import nbformat
import pytest

from cxresearch.runs.page import from_html, from_markdown, led, read_sections, title_of
from cxresearch.runs.record import Record
from cxresearch.runs.render import not_established, suppressed, write_pages

v4 = nbformat.v4
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)><a href='javascript:alert(3)'>x</a><iframe src='https://x.y'></iframe>"
EVIL += "<svg onload=alert(4)><style>@import 'https://x.y'</style></svg><form action='https://x.y'><input autofocus onfocus=alert(5)></form>"
TABLE = """<table border="1" class="dataframe"><thead><tr style="text-align: right;"><th></th><th>Estimate</th><th>Note</th></tr>
<tr><th>Group</th><th></th><th></th></tr></thead>
<tbody><tr><th>north</th><td>1,234.50</td><td>few</td></tr><tr><th>south</th><td>–</td><td>12</td></tr></tbody></table>"""


class Page(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.text, self.tags = text, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def result(**data):
    return v4.new_output("display_data", {k.replace("_", "/"): v for k, v in data.items()})


def notebook(*cells):
    made = [
        v4.new_markdown_cell(c) if isinstance(c, str) else v4.new_code_cell(c[0], outputs=list(c[1:])) for c in cells
    ]
    return v4.new_notebook(cells=made)


def page(tmp_path, nb, **entry) -> Page:
    nbformat.write(nb, tmp_path / "answer.ipynb")
    write_pages(Record(**record(title=title_of(nb), **entry)), tmp_path)
    return Page((tmp_path / "answer.html").read_text(encoding="utf-8"))


def record(status="ok", reason=None, **more) -> dict:
    entry = {"name": "answer", "status": status, "reason": reason, "parameters": {"words": EVIL}, **more}
    return {
        "title": "A <b>study</b>", "study": "../s.yml", "report": None, "versions": {"cxresearch": "0"}, "inputs": {EVIL: "0" * 64}, "notebooks": [entry],
    }  # fmt: skip


@pytest.fixture
def whole(tmp_path) -> Page:
    nb = notebook(
        "# Which *side* leads?\n\nFor anyone.",
        ("x = 1",),
        "## How far?",
        ("far()", result(text_markdown="North leads by 12 points &lt;b&gt;.", text_plain="x")),
        (
            "far.plot()",
            result(text_plain="<Axes: title={'left': 'x'}>"),
            v4.new_output("display_data", {"image/png": "iVBORw0K\nGgo="}, metadata={"image/png": {"width": 640}}),
        ),
        "*Figure.* Points, 95 % interval.\n\nThe same as a table:",
        (
            "far.tidy()",
            v4.new_output("stream", name="stderr", text="\x1b[31mWarning: few\x1b[0m\n"),
            result(text_html=TABLE),
        ),
        ("bad()", result(text_html=EVIL), result(text_markdown=EVIL), result(text_plain=EVIL)),
        EVIL,
    )
    return page(tmp_path, nb)


def test_no_markup_of_the_data_is_live(whole):
    assert {t for t, _ in whole.tags} & {"script", "iframe", "svg", "form", "input", "link", "object"} == set()
    assert [a for _, attributes in whole.tags for a in attributes if a.startswith("on")] == []
    assert [a["href"] for a in whole.all("a") if "href" in a] == [*["index.html"] * 2, "answer.ipynb", "run.json"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in whole.text


def test_a_page_asks_nothing_of_anyone(whole):
    policy = next(m["content"] for m in whole.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert [i["src"][:22] for i in whole.all("img")] == ["data:image/png;base64,"]
    style = re.search(r"<style>(.*?)</style>", whole.text, flags=re.S).group(1)
    assert not re.search(r"url\(|@import|@font-face", style)
    asked = [v for _, found in whole.tags for k, v in found.items() if k in ("src", "srcset", "style", "data")]
    assert not [v for v in asked if "//" in v]


def test_a_page_has_title_language_and_a_way_back(whole):
    assert whole.all("html") == [{"lang": "en"}]
    assert "<title>Which side leads? – A &lt;b&gt;study&lt;/b&gt;</title>" in whole.text
    assert len(whole.all("h1")) == 1 and "width=device-width" in whole.all("meta")[2]["content"]


def test_a_figure_is_described_by_the_computed_sentence_and_keeps_its_caption_and_size(whole):
    (image,) = whole.all("img")
    assert image["alt"] == "North leads by 12 points <b>." and image["width"] == "640"
    assert "Axes" not in whole.text
    assert "<figcaption><p><em>Figure.</em> Points, 95 % interval.</p></figcaption>" in whole.text
    assert whole.text.index("</figure>") < whole.text.index("<p>The same as a table:</p>")


def test_without_a_sentence_the_caption_and_the_one_before_describe_the_figure():
    picture = v4.new_output("display_data", {"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>"})
    nb = notebook(
        "# What?", ("f()", result(text_markdown="Said.")), "## And then?", ("plot()", picture), "*Figure.* Over time."
    )
    figure = next(b for section in read_sections(nb) for b in section.blocks if b.kind == "figure")
    assert figure.alt == "Figure. Over time. Said." and figure.content.startswith("data:image/svg+xml;base64,PHN2Zy")


def test_what_leads_a_page_stands_on_top_once_and_leaves_no_heading_without_words():
    words = {"text/markdown": "> North leads.\n\n**What to look at next.** The South."}
    said = v4.new_output("display_data", words, metadata={"text/markdown": {"finding": "x"}})
    drawn = v4.new_output("display_data", {"image/png": "iVBORw0K"}, metadata={"image/png": {"finding": "x"}})
    table = result(text_html="<table><tr><td>1</td></tr></table>")
    nb = notebook(
        "# Why?", "## How far?", ("far()", said, drawn), "*Figure.* Points.\n\n## And then?", ("then()", table)
    )
    figure, onward = led(sections := read_sections(nb), "x")
    assert onward == "The South." and "South" not in figure.alt
    assert figure.caption == "<p><em>Figure.</em> Points.</p>"
    assert [b.kind for s in sections for b in s.blocks] == ["code", "html", "html", "code"]
    assert [s.title for s in sections] == ["", "And then?"]


def test_a_caption_finds_its_figure_past_a_table_and_what_was_saved_is_no_line_of_the_page():
    drawn = v4.new_output("display_data", {"image/png": "iVBORw0K"})
    printed = v4.new_output("stream", name="stdout", text="saved nps: findings/a/b.json and 1 table(s)\n")
    table = result(text_html="<table><tr><td>1</td></tr></table>")
    nb = notebook("# Why?", ("f()", drawn), ("g()", table), "*Figure.* Points.", ("cx.save(f)", printed))
    blocks = [b for section in read_sections(nb) for b in section.blocks]
    assert [b.kind for b in blocks] == ["figure", "html", "code"] and "Points." in blocks[0].caption


def test_a_table_has_scopes_one_header_row_and_its_numbers_marked(whole):
    assert (
        '<thead><tr><th scope="col">Group</th><th scope="col" class="number">Estimate</th><th scope="col">Note</th></tr></thead>'
        '<tbody><tr><th scope="row">north</th><td class="number">1,234.50</td><td>few</td></tr>'
        '<tr><th scope="row">south</th><td class="number">–</td><td>12</td></tr></tbody>'
    ) in whole.text
    assert whole.all("div")[1]["class"] == "scroll" and whole.all("div")[1]["tabindex"] == "0"


def test_a_table_with_spans_keeps_them():
    markup = (
        '<table><thead><tr><th></th><th colspan="2">2018</th></tr><tr><th>Group</th><th>n</th><th>p</th></tr></thead>'
        '<tbody><tr><th rowspan="2">a</th><td>1</td><td>2</td></tr><tr><td>3</td><td>x</td></tr></tbody></table>'
    )
    shown = from_html(markup)
    assert '<th colspan="2" scope="colgroup">2018</th>' in shown and '<th rowspan="2" scope="rowgroup">a</th>' in shown
    assert '<td class="number">1</td><td>2</td>' in shown and '<td class="number">3</td><td>x</td>' in shown


def test_an_unmet_check_stands_out_and_an_answer_of_no_does_not():
    markup = "<table><thead><tr><th>Market</th><th>OK</th></tr></thead><tbody><tr><td>NO</td><td>NO</td></tr></tbody></table>"
    assert '<td>NO</td><td class="unmet">NO</td>' in from_html(markup)


def test_code_is_one_click_away_or_shown(whole, tmp_path):
    assert whole.all("details") == [{"class": "code"}] * 2  # one for each section
    nb = notebook("# What?", ("x = '<b>'",))
    assert "x = &#39;&lt;b&gt;&#39;" in page(tmp_path, nb).text


def test_warnings_stay_visible_without_terminal_colours(whole):
    assert '<pre class="warning">Warning: few</pre>' in whole.text


def test_a_failed_page_says_so_first_and_marks_the_cell(tmp_path):
    lines = ["\x1b[31mValueError\x1b[0m: <b>no</b>"]
    error = v4.new_output("error", ename="ValueError", evalue="<b>no</b>", traceback=lines)
    nb = notebook("# What?", ("fine = 1",), ("fails()", error), ("after = 1",))
    failed = page(tmp_path, nb, status="failed", failed_cell=3, reason="cell 3: ValueError: <b>no</b>")
    told = ['role="alert"', "cell 3: ValueError: &lt;b&gt;no", "<h1>What?", 'id="failed"']
    at = [failed.text.index(words) for words in (*told, '<pre class="error" tabindex="0">ValueError')]
    assert failed.all("details")[:2] == [{"class": "code"}, {"class": "code", "open": None}]
    assert at == sorted(at) and '<a href="#failed">' in failed.text


def test_markdown_of_a_notebook_is_rendered_as_in_jupyter():
    assert from_markdown("a *b* [c](https://x.y)\n\n- d") == (
        '<p>a <em>b</em> <a href="https://x.y" rel="noopener noreferrer">c</a></p>\n<ul>\n<li>d</li>\n</ul>\n'
    )


def card(tmp_path, status="ok", reason=None, checks=(), others=(), other="other", glance=None, **more) -> Page:
    for name, told in [("main", checks)] * bool(checks) + [(other, others)] * bool(others):
        saved = {"id": "f", "function": "f", "title": "It is <b>12</b> & more", "sentence": "It is <b>12</b> & more."}
        saved |= {"established": None, "labels": {}, "checks": list(told), "tables": {"tidy": "main.tidy.csv"}}
        saved |= {"glance": glance or {}} if name == "main" else {}
        (tmp_path / "findings" / "answer").mkdir(parents=True, exist_ok=True)
        (tmp_path / "findings" / "answer" / f"{name}.json").write_text(json.dumps(saved), encoding="utf-8")
    write_pages(Record(**record(status, reason, title="Why so?", headline="main") | more), tmp_path)
    return Page((tmp_path / "index.html").read_text(encoding="utf-8"))


def test_the_index_shows_headline_failed_checks_and_links(tmp_path):
    unmet = {"check": "rows <per> driver", "value": 3.14159, "limit": "at least 10", "ok": False}
    holds = {"check": "b", "value": True, "limit": "yes", "ok": True}
    index = card(tmp_path, checks=[unmet, holds], started="2026-11-21T22:46:05+00:00")
    assert "It is &lt;b&gt;12&lt;/b&gt; &amp; more." in index.text and "Why so?" in index.text
    assert "<summary>2 checks: 1 asks for care</summary>" in index.text
    assert "rows &lt;per&gt; driver: 3.142, required: at least 10" in index.text
    assert "Run 2026-11-21 22:46 UTC." in index.text
    links = [a["href"] for a in index.all("a")]
    assert links == ["answer.html", "answer.ipynb", "findings/answer/main.tidy.csv", "run.json"]
    assert {t for t, _ in index.tags} & {"script", "img", "iframe", "b", "i"} == set()


def test_a_check_that_two_findings_fail_alike_is_told_once(tmp_path):
    unmet = {"check": "rows", "value": 3, "limit": "at least 10", "ok": False}
    index = card(tmp_path, checks=[unmet, unmet])
    assert index.text.count("rows: 3, required") == 1 and "(main, main)" in index.text
    assert "<summary>2 checks: 2 ask for care</summary>" in index.text


def test_a_check_that_stops_a_conclusion_stands_open_above_the_others(tmp_path):
    stops = {"check": "a cause", "value": 3, "limit": "none", "ok": False, "level": "stops"}
    index = card(tmp_path, checks=[stops, {**stops, "check": "rows", "level": "care"}])
    told = ["What stops a conclusion", "a cause: 3", "<summary>2 checks: 1 stops"]
    assert (at := [index.text.index(words) for words in told]) == sorted(at)


def test_what_stops_another_finding_of_the_page_is_not_said_to_stop_its_conclusion(tmp_path):
    stops = {"check": "a cause", "value": 3, "limit": "none", "ok": False, "level": "stops"}
    told = card(tmp_path, checks=[{**stops, "ok": True}], others=[stops, stops, {**stops, "level": "care"}]).text
    assert "4 checks: 2 stop another conclusion of the page, 1 asks for care" in told and "stop a conclusion" not in told


def test_what_stops_the_headline_stands_open_though_another_finding_fails_alike_before_it(tmp_path):
    stops = {"check": "a cause", "value": 3, "limit": "none", "ok": False, "level": "stops"}
    told = card(tmp_path, checks=[stops], others=[stops], other="before").text
    assert "2 checks: 1 stops a conclusion, 1 stops another conclusion" in told
    assert "What stops a conclusion" in told and "(before, main)" not in told


def test_a_page_whose_headline_was_not_asked_has_no_other_conclusion(tmp_path):
    stops = {"check": "a cause", "value": 3, "limit": "none", "ok": False, "level": "stops"}
    told = card(tmp_path, checks=[{**stops, "ok": True}], others=[stops], glance={"method": "none"}).text
    assert "1 check: 1 stops a conclusion" in told and "another conclusion" not in told


def test_the_index_says_that_all_checks_hold(tmp_path):
    assert "1 check: all hold." in card(tmp_path, checks=[{"check": "b", "value": 1, "limit": "1", "ok": True}]).text


def test_the_index_names_what_failed_and_what_was_skipped(tmp_path):
    failed = card(tmp_path, "failed", "cell 3: <b>")
    assert "<strong>Failed.</strong> cell 3: &lt;b&gt;" in failed.text
    assert "1 of 1 questions failed: Why so?" in failed.text
    skipped = card(tmp_path, "skipped", "no table 'costs'")
    assert "Skipped, for want of data (1)" in skipped.text and "no table &#39;costs&#39;" in skipped.text
    assert [a["href"] for a in skipped.all("a")] == ["run.json"]  # it has no page
    assert "skipped: no table &#39;costs&#39;" in skipped.text.split('id="open"')[1]


def finding(name, sentence, *, pooled=False, **told) -> dict:
    card = {"name": "answer", "title": "Why?", "status": "ok", "reason": None, "pooled": [name] * pooled}
    return card | {"findings_read": [{"name": name, "sentence": sentence, "checks": [], **told}]}


def test_the_index_collects_the_findings_that_establish_nothing_however_they_word_it():
    said = "Neither a change in performance nor in mix can be made out."
    cards = [finding("f", said, established=False), finding("g", "A tie is established.", established=True)]
    assert not_established([*cards, finding("h", "A is 3.", established=None)]) == [(said, "answer", "Why?", "f")]


def test_the_index_collects_what_was_suppressed():
    told = suppressed(
        [finding("f", "A is 3.", suppressed=2, pooled=True), finding("g", "A hidden cause.", suppressed=0)]
    )
    assert [words for words, *_ in told] == [
        "2 parts hidden for a small base",
        "small groups are pooled as “other (below base)”",
    ]
    withheld = {"name": "a", "title": "A?", "status": "failed", "pooled": [], "findings_read": []}
    ((said, *_),) = suppressed(
        [withheld | {"reason": "withheld, since it gives away a hidden number: x"}, withheld | {"reason": "1"}]
    )
    assert said == "withheld, since it gives away a hidden number: x"
