"""A batch of 200 reports: made, and made again unchanged.

    python -m benchmarks.runs_batch [REPORTS]

The last line is JSON: ``unchanged_ratio`` is the time of the unchanged batch as a share of the full one's. Both include
planning, hashing the inputs and the index; neither includes importing the package.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from cxresearch.runs.make import Pool, make_run, plan_run, same_run

STUDY = """\
title: Many markets
privacy: {minimum_base: 5}
tables:
  responses:
    source: answers.csv
    id: person
    items: {recommend: {scale: [0, 10], role: nps}, market: {role: demographic}}
"""
CELLS = (
    "import cxresearch as cx\ncx.use_theme()\ndata = cx.open_study(study)",
    "score = cx.nps(data.responses, data.column('nps'))\nscore",
    "axes = score.plot()",
    "cx.readable(score.tables()['groups'])",
    "cx.save(score, name='score');",
)


def write_study(folder: Path, markets: int, rows: int = 60) -> Path:
    """Write a study of `markets` markets with `rows` answers each, and one notebook."""
    lines = [f"p{m}-{i},{(i * 7 + m) % 11},market {m}" for m in range(markets) for i in range(rows)]
    (folder / "answers.csv").write_text("\n".join(["person,recommend,market", *lines]) + "\n", encoding="utf-8")
    (folder / "study.yml").write_text(STUDY, encoding="utf-8")
    v4 = nbformat.v4
    parameters = v4.new_code_cell('study = "../study.yml"', metadata={"tags": ["parameters"]})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = [v4.new_markdown_cell("# Score"), parameters, *map(v4.new_code_cell, CELLS)]
    notebook = v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "cxresearch": {"headline": "score"}})
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "score.ipynb")
    return folder / "study.yml"


def measured(folder: Path, reports: int) -> dict[str, float]:
    """Return seconds of the full batch and of the unchanged one, planning and hashing included."""
    study, seconds = write_study(folder, reports), {}
    with Pool() as pool:
        for name in ("full", "unchanged"):
            began = time.perf_counter()
            plan = plan_run(study, each=["market"], notebooks=folder / "notebooks")
            same = same_run(plan, folder / "runs" / name)
            assert (same is None) == (name == "full")
            if same is None:
                made = make_run(plan, folder / "runs" / name, pool=pool)
                assert made.whole and len(made.reports) == reports
            seconds[name] = time.perf_counter() - began
    return seconds


def main(reports: int = 200) -> None:
    with tempfile.TemporaryDirectory() as folder:
        seconds = measured(Path(folder), reports)
    for name, took in seconds.items():
        print(f"{name:<10} {took:8.2f} s  {took / reports * 1000:8.1f} ms a report")
    ratio = seconds["unchanged"] / seconds["full"]
    print(
        json.dumps(
            {"reports": reports, "unchanged_ratio": round(ratio, 5), **{k: round(v, 3) for k, v in seconds.items()}}
        )
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
