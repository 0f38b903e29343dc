"""The instructions for reviewers in reports/README.md, carried out."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
from conftest import ROOT

GUIDE = (ROOT / "reports/README.md").read_text(encoding="utf-8")


def command(name: str) -> list[str]:
    words = re.search(rf"^\.venv/bin/({name} .+)$", GUIDE, flags=re.M).group(1).split()
    return [str(Path(sys.executable).parent / words[0]), *words[1:]]


def done(words: list[str]) -> str:
    finished = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return finished.stdout


def test_the_nbdime_command_runs_on_a_commit_and_tells_content_from_the_rest(tmp_path):
    *options, commit, path = command("nbdiff")
    assert commit == "HEAD" and (ROOT / path).is_file()
    if (ROOT / ".git").exists():
        done([*options, commit, path])
    notebook = nbformat.read(ROOT / path, as_version=4)
    said = next(o for c in notebook.cells for o in c.get("outputs", ()) if "text/markdown" in o.get("data", {}))
    before = said["data"]["text/markdown"]
    notebook.metadata["seen"] = "by nobody"
    for cell in notebook.cells:
        cell.metadata["place"] = 1
    nbformat.write(notebook, tmp_path / "metadata.ipynb")
    said["data"]["text/markdown"] = before + " Changed."
    nbformat.write(notebook, tmp_path / "sentence.ipynb")
    assert done([*options, path, str(tmp_path / "metadata.ipynb")]) == ""
    assert "Changed." in done([*options, "--no-color", path, str(tmp_path / "sentence.ipynb")])


def test_the_nbval_command_is_the_one_that_make_test_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    options = set(re.search(r"pytest (--nbval .+)$", GUIDE, flags=re.M).group(1).split())
    assert options <= set(makefile.split())
