"""Reports of a batch beside the report on the whole: what they give away together is withheld."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cxresearch as cx
from cxresearch.findings import RUN_FOLDER
from cxresearch.privacy.base import POOLED
from cxresearch.runs.across import withheld_reports
from cxresearch.runs.matrix import WHOLE, Cell

STUDY = """\
title: Markets
privacy: {minimum_base: 10}
tables:
  responses:
    source: answers.csv
    id: id
    items: {recommend: {scale: [0, 10], role: nps}, market: {role: demographic}, age: {role: demographic}}
"""


def write_reports(folder: Path, counts: pd.DataFrame, monkeypatch) -> list[Cell]:
    """Save the net promoter score by age of each market and of the whole; rows are markets, columns ages.

    Each report hides what is small in itself alone, as a notebook that makes its own survey of the rows would.
    """
    people = [
        {"market": m, "age": a, "recommend": k % 11}
        for m, row in counts.iterrows()
        for a, n in row.items()
        for k in range(n)
    ]
    table = pd.DataFrame(people)
    folder.mkdir(exist_ok=True)
    (folder / "study.yml").write_text(STUDY, encoding="utf-8")
    table.assign(id=range(len(table))).to_csv(folder / "answers.csv", index=False)
    cells = [Cell(WHOLE, (), len(table))]
    cells += [Cell(m, (("market", m),), int(counts.loc[m].sum())) for m in counts.index]
    for cell in cells:
        rows = table[(table["market"] == cell.name) | (cell.name == WHOLE)]
        monkeypatch.setenv(RUN_FOLDER, str(folder / cell.name / "findings" / "scorecard"))
        cx.save(cx.nps(cx.as_survey(rows, min_base=10), "recommend"), name="score")
        cx.save(cx.nps(cx.as_survey(rows, min_base=10), "recommend", by="age"), name="score_by_age")
    return cells


def withheld(cells: list[Cell], folder: Path) -> dict[Cell, str]:
    return withheld_reports(cells, folder, cx.open_study(folder))


def groups_in(folder: Path) -> set[str]:
    return set(pd.read_csv(folder / "findings/scorecard/score_by_age.tidy.csv")["group"])


def test_a_number_that_is_the_whole_less_the_others_withholds_the_smallest_report(tmp_path, monkeypatch, capsys):
    """Two small ages hide each other in North; every other market shows both, and so does the whole."""
    counts = pd.DataFrame(
        {"young": [6, 30, 21], "old": [7, 40, 22], "mid": [50, 60, 23]}, index=["North", "South", "West"]
    )
    cells = write_reports(tmp_path, counts, monkeypatch)
    assert groups_in(tmp_path / "North") == {"mid", POOLED} and POOLED not in groups_in(tmp_path / "South")
    gone = withheld(cells, tmp_path)
    assert [c.name for c in gone] == ["West"]
    (reason, *_) = gone.values()
    assert reason.startswith(
        "withheld: beside the whole, the reports together would give away a hidden number (scorecard/"
    )
    assert not any(str(n) in reason.rpartition("(")[2] for n in (6, 7))


def test_reports_that_hide_nothing_or_hide_it_twice_are_shown(tmp_path, monkeypatch, capsys):
    counts = pd.DataFrame(np.full((3, 3), 20), index=["North", "South", "West"], columns=["young", "old", "mid"])
    assert withheld(write_reports(tmp_path / "a", counts, monkeypatch), tmp_path / "a") == {}
    counts.loc["North"] = counts.loc["South"] = [6, 7, 50]
    assert withheld(write_reports(tmp_path / "b", counts, monkeypatch), tmp_path / "b") == {}


def test_without_the_whole_what_it_would_tell_is_subtracted_all_the_same(tmp_path, monkeypatch, capsys):
    counts = pd.DataFrame({"young": [6, 30], "old": [7, 40], "mid": [50, 60]}, index=["North", "South"])
    cells = write_reports(tmp_path, counts, monkeypatch)
    assert withheld(cells, tmp_path).keys() == withheld(cells[1:], tmp_path).keys() != set()
    assert json.loads((tmp_path / "North/findings/scorecard/score.json").read_text("utf-8"))["glance"]["n"] == 63


pytestmark = pytest.mark.usefixtures("capsys")
