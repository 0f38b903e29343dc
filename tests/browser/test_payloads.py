"""What comes from data is text: a hundred texts that would be markup, scripts or formulas elsewhere."""

import csv
import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

import cxresearch as cx
from browser.payloads import FORMULAS, notebook, payloads
from browser.rendered import render_foreign
from cxresearch.cli import main
from cxresearch.errors import plain_text
from cxresearch.runs.page import from_markdown, plain

TEXTS = payloads()
PLAIN = "plain words"
# The elements of a page with the names of their attributes: markup that came alive would add or move some. A class
# is left out, since a cell of nothing but a number is aligned like one; and spans, which keep dollar signs from MathJax.
SKELETON = """(root) => [...root.querySelectorAll('*:not(span)')].map(e =>
    [e.tagName, ...[...e.attributes].map(a => a.name).filter(n => n !== 'class').sort()].join(' '))"""
PARSED = f"text => ({SKELETON})(new DOMParser().parseFromString(text, 'text/html'))"


def test_there_are_a_hundred_of_them():
    assert len(TEXTS) == 100


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder with a run per text, and one with plain words."""
    home = tmp_path_factory.mktemp("foreign")
    for place, text in enumerate([PLAIN, *TEXTS]):
        render_foreign(notebook([text]), text, home / str(place))
    return home


@pytest.mark.parametrize("name", ["index", "answer"])
def test_none_of_a_hundred_texts_changes_or_runs_in_a_page(pages, watched, name):
    """The browser's own parser reads all of them; a tenth are also opened."""
    seen = watched()
    files = [pages / str(place) / f"{name}.html" for place in range(len(TEXTS) + 1)]
    skeletons = [seen.page.evaluate(PARSED, file.read_text(encoding="utf-8")) for file in files]
    for file, skeleton in list(zip(files, skeletons))[::10]:
        seen.page.goto(file.as_uri())
        assert seen.page.evaluate(f"({SKELETON})(document)") == skeleton
    changed = [text for text, skeleton in zip(TEXTS, skeletons[1:]) if skeleton != skeletons[0]]
    seen.page.goto((pages / "60" / "other.html").as_uri())  # a failed notebook: the reason, too
    assert changed == [] and seen.dialogs == [] and seen.strangers() == [] and seen.problems == []


def test_none_of_a_hundred_texts_is_markup_in_the_guide_of_a_run(pages):
    def tags(place: int) -> list[str]:
        shown = from_markdown((pages / str(place) / "README.md").read_text(encoding="utf-8"))
        return [t for t in re.findall(r"<(\w+)", shown) if t != "span"]  # a span keeps a dollar sign from MathJax

    assert [text for place, text in enumerate(TEXTS, start=1) if tags(place) != tags(0)] == []


@pytest.mark.parametrize("text", ["$5 to $7", "C:\\(new)", "a@b.c", "*x*", "1. first", "https://x.test"])
def test_a_sentence_in_markdown_reads_as_it_was_written(text):
    assert plain(from_markdown(f"> {cx.findings.as_text(text)}")) == text


def test_no_cell_of_a_written_table_is_a_formula(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRESEARCH_RUN", str(tmp_path))
    scores = pd.DataFrame({"recommend": np.tile([10, 3, 8], 80), "=1+1": np.repeat(FORMULAS, 30)})
    cx.save(cx.nps(scores, "recommend", by="=1+1"), name="score")
    for file in json.loads((tmp_path / "score.json").read_text())["tables"].values():
        with open(tmp_path / file, newline="", encoding="utf-8") as opened:
            cells = [cell for row in csv.reader(opened) for cell in row]
        assert [c for c in cells if c.startswith(tuple("=+-@\t\r\n＝")) and not re.fullmatch(r"-?[\d.e-]+", c)] == []
        assert file != "score.tidy.csv" or len([c for c in cells if c.startswith("'")]) == len(
            set(map(plain_text, FORMULAS))  # groups that differ by a tab alone are one
        )


# --- JupyterLab ------------------------------------------------------------------------------------------------------


# Of each code cell the elements of its rendered outputs; JupyterLab itself links addresses in plain text, no more.
OUTPUTS = f"""() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].map(cell =>
    [...cell.querySelectorAll('.jp-OutputArea-output')].flatMap(output => output.matches('.jp-RenderedText')
        ? [...output.querySelectorAll('*:not(pre):not(span):not(a):not(code)')].map(e => e.tagName)
        : ({SKELETON})(output)))"""


def test_none_of_a_hundred_texts_changes_or_runs_in_jupyterlab(jupyterlab, watched):
    shown = notebook([PLAIN, *TEXTS])
    shown.cells.append(nbformat.v4.new_markdown_cell("A formula of our own: $x^2$"))
    nbformat.write(shown, jupyterlab.folder / "foreign.ipynb")
    jupyterlab.trust(jupyterlab.folder / "foreign.ipynb")  # then nothing is cleaned before it is shown
    seen = watched(width=1400)
    seen.page.goto(jupyterlab.address("foreign.ipynb"))
    seen.page.wait_for_function(f"document.querySelectorAll('.jp-CodeCell').length == {len(TEXTS) + 1}")
    formulas = seen.page.locator("mjx-container")
    seen.page.locator(".jp-MarkdownCell").last.scroll_into_view_if_needed()
    formulas.first.wait_for()  # MathJax is there, and at work
    skeletons = seen.page.evaluate(OUTPUTS)
    assert len(skeletons[0]) > 50  # a sentence and three tables
    changed = [text for text, skeleton in zip(TEXTS, skeletons[1:]) if skeleton != skeletons[0]]
    assert changed == [] and formulas.count() == 1
    assert seen.page.locator(".jp-CodeCell a[href^='javascript']").count() == 0
    assert seen.dialogs == [] and seen.strangers() == [] and seen.problems == []


def test_a_real_run_of_a_study_full_of_markup_shows_it_as_text(tmp_path, watched, warm):
    """Title, labels, groups, item keys' words, parameters, folder and file names; from files to pages, through the command."""
    image, script = "<img src=x onerror=alert(1)>", "<script>alert(1)<"
    folder = tmp_path / f"{image} $x^2$"
    folder.mkdir()
    rows = pd.DataFrame({"who": range(300), script: np.tile([10, 9, 7, 3, 8, 10], 50), "ease": np.tile([1, 4, 7], 100)})
    rows["place"], rows["said"] = np.tile([image, "javascript:alert(1)", "=1+1"], 100), f"{script}/script>"
    rows.to_csv(folder / f"{script}.csv", index=False)
    items = {
        "recommend": {"column": script, "scale": [0, 10], "role": "nps", "label": image},
        "ease": {"scale": [1, 7], "role": "ces", "label": f"{script}/script>"},
        "place": {"role": "demographic", "label": "[x](javascript:alert(1))"},
        "said": {"role": "verbatim"},
    }
    study = {
        "title": f"{image} & sons",
        "tables": {"responses": {"source": f"{script}.csv", "id": "who", "items": items}},
    }
    (folder / "study.yml").write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
    words = ["run", str(folder / "study.yml"), "--out", str(folder / "run"), "--only", "intake", "effort"]
    assert main([*words, "--notebooks", str(ROOT / "notebooks")]) == 0
    seen = watched()
    for name in ("index", "intake", "effort"):
        seen.page.goto((folder / "run" / f"{name}.html").as_uri())
        assert seen.page.locator("script, iframe, img[src=x]").count() == 0 and image in seen.page.inner_text("body")
    assert seen.dialogs == [] and seen.strangers() == [] and seen.problems == []
