"""What comes from data is text: a hundred texts that would be markup, scripts or formulas elsewhere."""

import csv
import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from browser.payloads import FORMULAS, notebook, payloads
from browser.rendered import render_foreign

import cxresearch as cx
from cxresearch.runs.markup import from_markdown, plain

TEXTS = payloads()
PLAIN = "plain words"
# The elements of a page with the names of their attributes: markup that came alive would add or move some. A class
# is left out: a cell of nothing but a number is aligned like one.
SKELETON = """(root) => [...root.querySelectorAll('*')].map(e =>
    [e.tagName, ...[...e.attributes].map(a => a.name).filter(n => n !== 'class').sort()].join(' '))"""


def test_there_are_a_hundred_of_them():
    assert len(TEXTS) == 100


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder with a run per text, and one with plain words."""
    home = tmp_path_factory.mktemp("foreign")
    for place, text in enumerate([PLAIN, *TEXTS]):
        render_foreign(notebook([text]), text, home / str(place))
    return home


@pytest.mark.parametrize("name", ["index", "answer", "other"])
def test_none_of_a_hundred_texts_changes_or_runs_in_a_page(pages, watched, name):
    seen = watched()
    skeletons = []
    for place in range(len(TEXTS) + 1):
        seen.page.goto((pages / str(place) / f"{name}.html").as_uri())
        skeletons.append(seen.page.evaluate(f"({SKELETON})(document)"))
    changed = [text for text, skeleton in zip(TEXTS, skeletons[1:]) if skeleton != skeletons[0]]
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
    cx.save(cx.nps(scores, score="recommend", by="=1+1"), name="score")
    for file in json.loads((tmp_path / "score.json").read_text())["tables"].values():
        with open(tmp_path / file, newline="", encoding="utf-8") as opened:
            cells = [cell for row in csv.reader(opened) for cell in row]
        assert [c for c in cells if c.startswith(tuple("=+-@\t\r\n＝")) and not re.fullmatch(r"-?[\d.e-]+", c)] == []
        assert file != "score.tidy.csv" or len([c for c in cells if c.startswith("'")]) == len(FORMULAS)


# --- JupyterLab ------------------------------------------------------------------------------------------------------


OUTPUTS = "() => [...document.querySelectorAll('.jp-OutputArea-output')].length"


def _opened(jupyterlab, watched, texts: list[str], name: str):
    path = jupyterlab.folder / name
    nbformat.write(notebook(texts), path)
    jupyterlab.trust(path)  # then nothing is cleaned before it is shown
    seen = watched(width=1400)
    seen.page.goto(jupyterlab.address(name))
    seen.page.wait_for_selector(".jp-Notebook .jp-OutputArea-output", timeout=60_000)
    return seen


def _skeletons(seen, count: int) -> list[list[str]]:
    """Return the elements of each cell's outputs; JupyterLab builds a cell when it comes into view."""
    shown = []
    for place in range(1, count + 1):
        cell = seen.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{place}']")
        cell.scroll_into_view_if_needed(timeout=20_000)
        area = cell.locator(".jp-OutputArea").first
        area.wait_for(timeout=20_000)
        shown.append(area.evaluate(SKELETON))
    return shown


def test_none_of_a_hundred_texts_changes_or_runs_in_jupyterlab(jupyterlab, watched):
    seen = _opened(jupyterlab, watched, [PLAIN, *TEXTS], "foreign.ipynb")
    print(_skeletons(seen, 2))
