"""Tiny studies and notebooks, so that a test can run one for real in a second or two."""

from pathlib import Path

import nbformat

PARAMETERS = """\
study = "../study.yml"  # path of the study file
words = "as planned"  # text
share = 0.95  # number; 0.95 = usual
times = 3  # whole number
quick = True  # true or false
group = None  # column"""

STUDY = """\
title: Tiny <company> & sons
privacy: {minimum_base: 2}
tables:
  responses:
    source: answers.csv
    id: person
    items:
      recommend: {scale: [0, 10], role: nps}
reports:
  short: {notebooks: [answer], parameters: {times: 2, words: NO}}
  misspelt: {parameters: {tmes: 2}}
  mistyped: {parameters: {words: 2018}}
  elsewhere: {notebooks: [anwser]}
"""

DEFINE = """
from dataclasses import dataclass
from cxresearch.findings import Check, Finding
import pandas as pd

@dataclass(frozen=True, repr=False, eq=False)
class Answer(Finding):
    def sentence(self):
        return f"The answer to <b>{self.outcome}</b> is {self.summary['n']}."

    def plot(self, ax=None):
        import matplotlib.pyplot as plt
        ax = ax or plt.subplots(figsize=(5, 2))[1]
        ax.plot([0, self.summary["n"]])
        return ax
"""
FIND = """
table = pd.DataFrame({"term": ["a", "b"], "estimate": [1.25, times * 2.0], "note": ["<script>alert(1)</script>", "x"]})
checks = (Check("rows <enough>", 3, "at least 10", False), Check("seen", True, "yes", True))
finding = Answer("answer", "everything", None, table, {"n": 14 * times, "method": "count"}, checks)
finding
"""


def write_notebook(
    folder: Path, name: str, *cells: str, parameters: str | None = PARAMETERS, needs=None, headline=None
) -> Path:
    """Write a notebook of a title, a parameters cell and `cells`.

    A cell is code, or Markdown where it starts with ``%%md``; nbval passes over what ``%%ignore`` marks.
    """
    v4 = nbformat.v4
    made = [v4.new_markdown_cell(f"# What does {name} say?")]
    if parameters is not None:
        made.append(v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    for source in cells:
        tags = {"tags": ["nbval-ignore-output"]} if source.startswith("%%ignore") else {}
        new = v4.new_markdown_cell if source.startswith("%%md") else v4.new_code_cell
        made.append(new(source.removeprefix("%%md").removeprefix("%%ignore").strip(), metadata=tags))
    for number, cell in enumerate(made, 1):
        cell["id"] = f"cell-{number:02}"
    ours = {"needs": needs or {}, "headline": headline}
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook = v4.new_notebook(cells=made, metadata={"kernelspec": kernel, "cxresearch": ours})
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def write_answer(folder: Path, name: str = "answer") -> Path:
    """Write a notebook with everything that a real one has: sentence, figure with caption, table, checks, saved finding."""
    return write_notebook(
        folder,
        name,
        "import cxresearch as cx" + DEFINE,
        "%%md ## Is it enough?",
        FIND,
        "axes = finding.plot()",  # not `finding.plot();`: nbval runs cells without history, and then `;` silences nothing
        "%%md *Figure.* A line; units are answers.",
        "cx.readable(finding.tidy())",
        "cx.readable(finding.checks())",
        '%%ignore path = cx.save(finding, name="answer")',
        headline="answer",
    )


def write_study(folder: Path) -> Path:
    """Write a study of twelve answers and return the path of its study.yml."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"p{i},{i % 11}" for i in range(12)]
    (folder / "answers.csv").write_text("\n".join(["person,recommend", *rows]) + "\n", encoding="utf-8")
    (folder / "study.yml").write_text(STUDY, encoding="utf-8")
    return folder / "study.yml"


def tree(folder: Path) -> dict[str, bytes]:
    """Return path -> content of every file in a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
