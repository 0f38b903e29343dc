"""JupyterLab as `cxresearch lab` starts it, in a real browser: every notebook opened, Run All, nothing wrong."""

import os
import re
import shutil
import signal
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from waiting import PATIENCE, wait_for

ROOT = Path(__file__).parents[2]
NAMES = sorted({path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} - {"explore"})  # that one: see the board
# What is proved here does not hang on the number of resamples.
FEWER = {"n_boot = 1000 ": "n_boot = 100 ", "n_boot = 50 ": "n_boot = 20 ", "most_segments = 6 ": "most_segments = 4 "}
ADDRESSES = "all => all.map(i => i.src.split(',')[1])"  # of pictures, their bytes
SLOWEST = 240  # seconds for one notebook on a busy machine


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab on copies of the notebooks beside a copy of the example; and the copies' folder."""
    home = tmp_path_factory.mktemp("lab") / "our study"
    shutil.copytree(ROOT / "data" / "example", home)
    log = home.parent / "lab.log"
    with open(log, "wb") as out:
        words = [sys.executable, "-m", "cxresearch", "lab", str(home / "study.yml"), "--no-browser"]
        started = subprocess.Popen(words, stdout=out, stderr=out, cwd=ROOT, start_new_session=True)
    try:
        address = _address(log, started)
        for copy in (home / "notebooks").glob("*.ipynb"):
            text = copy.read_text(encoding="utf-8")
            for usual, fewer in FEWER.items():
                text = text.replace(usual, fewer)
            copy.write_text(text, encoding="utf-8")
        yield address, home / "notebooks"
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        started.wait(PATIENCE)


def _address(log: Path, started) -> str:
    def said():
        assert started.poll() is None, log.read_text(errors="replace")
        return re.search(r"http://127.0.0.1:\d+/lab/tree/notebooks\?token=\w+", log.read_text(errors="replace"))

    return wait_for(said, "JupyterLab says its address").group()


def run_all(page, address: str, name: str, folder: Path):
    """Open a notebook, run all of it, save it, and return it as saved."""
    path, query = address.split("?")
    page.goto(f"{path}/{name}.ipynb?{query}&reset")
    page.wait_for_selector(f'.jp-NotebookPanel h1:has-text("{_title(folder, name)}")')
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    for second in range(SLOWEST):
        if second % 60 == 0:  # a click while the notebook was still being drawn may have gone astray
            page.click('.lm-MenuBar-itemLabel:text-is("Run")')
            page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
        page.wait_for_timeout(1000)
        page.keyboard.press("Control+s")
        try:
            saved = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        except nbformat.reader.NotJSONError:
            continue  # JupyterLab is writing it
        code = [c for c in saved.cells if c.cell_type == "code"]
        if all(c.execution_count for c in code) or any(o.output_type == "error" for c in code for o in c.outputs):
            page.wait_for_timeout(500)
            return saved
    raise AssertionError(f"{name}: not every cell was executed")


def _title(folder: Path, name: str) -> str:
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    return notebook.cells[0].source.splitlines()[0].lstrip("# ")


def require_nothing_wrong(seen, saved) -> None:
    outputs = [o for c in saved.cells if c.cell_type == "code" for o in c.outputs]
    assert [o.evalue for o in outputs if o.output_type == "error"] == []
    assert [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"] == []
    assert seen.problems == [] and seen.strangers() == []


# A bar on long steps, tables and figures; what each notebook puts out is held by nbval.
SAMPLE = {"segmentation"}


@pytest.mark.parametrize("name", [n if n in SAMPLE else pytest.param(n, marks=pytest.mark.soak) for n in NAMES])
def test_run_all_gives_no_error_and_asks_nobody_outside(lab, watched, name, tmp_path):
    seen = watched(width=1400)
    page = seen.page
    require_nothing_wrong(seen, run_all(page, lab[0], name, lab[1]))
    assert page.locator('.jp-Notebook-toolbar, .jp-Toolbar >> text="CX research"').first.is_visible()
    page.screenshot(path=str(Path(os.environ.get("CXRESEARCH_SHOTS", tmp_path), f"lab-{name}.png")))


def test_the_board_answers_in_the_browser_and_shows_its_code(lab, watched, tmp_path):
    seen = watched(width=1400)
    page = seen.page
    require_nothing_wrong(seen, run_all(page, lab[0], "explore", lab[1]))
    page.wait_for_selector('button:text-is("Show")')
    page.click('button:text-is("Show")')
    page.wait_for_selector("text=net promoter score")
    assert "cx.nps(responses, 'recommend'" in page.locator("textarea").first.input_value()
    page.wait_for_selector(".jp-OutputArea img")
    shown = page.eval_on_selector_all(".jp-OutputArea img", ADDRESSES)
    page.click('button:text-is("Who answered what?")')
    page.click('button:text-is("Show")')
    page.wait_for_selector("text=Refused. a crosstab needs at least one question and one column to split by")
    page.select_option('.widget-dropdown:has-text("Groups by") select', label="Region")
    page.click('button:text-is("Show")')
    page.wait_for_selector(".jp-OutputArea img")
    assert "cx.crosstab(responses, ['recommend'], ['region'])" in page.locator("textarea").first.input_value()
    shown += page.eval_on_selector_all(".jp-OutputArea img", ADDRESSES)
    page.screenshot(path=str(Path(os.environ.get("CXRESEARCH_SHOTS", tmp_path), "board.png")))
    assert len(shown) == 2
    for picture in shown:  # a picture without ink is white all over
        assert plt.imread(BytesIO(b64decode(picture)), format="png")[..., :3].std() > 0.05
    assert seen.problems == [] and seen.strangers() == []
