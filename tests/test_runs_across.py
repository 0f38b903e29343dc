"""Reports of a batch beside the report on the whole: what they give away together is withheld."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import write_notebook

import cxresearch as cx
from cxresearch.findings import RUN_FOLDER
from cxresearch.privacy import POOLED
from cxresearch.runs.make import make_run, plan_run
from cxresearch.runs.plan import WHOLE, Cell
from cxresearch.runs.review import verify_run
from cxresearch.runs.withhold import withheld_together

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


def withheld(cells: list[Cell], folder: Path) -> dict[str, dict[str, str]]:
    gone = withheld_together(cells, folder, cx.open_study(folder))
    return {cell.name: why for cell, why in gone.items()}


def groups_in(folder: Path) -> set[str]:
    return set(pd.read_csv(folder / "findings/scorecard/score_by_age.tidy.csv")["group"])


GIVEN_AWAY = pd.DataFrame(
    {"young": [6, 30, 21], "old": [7, 40, 22], "mid": [50, 60, 23]}, index=["North", "South", "West"]
)
REASON = "withheld, since beside the whole the reports together would give away a hidden number: scorecard/"


def test_a_number_that_is_the_whole_less_the_others_withholds_a_finding_of_the_smallest_report(tmp_path, monkeypatch):
    """Two small ages hide each other in North; every other market shows both, and so does the whole."""
    cells = write_reports(tmp_path, GIVEN_AWAY, monkeypatch)
    assert groups_in(tmp_path / "North") == {"mid", POOLED} and POOLED not in groups_in(tmp_path / "South")
    gone = withheld(cells, tmp_path)
    assert list(gone) == ["West"] and list(gone["West"]) == ["scorecard/score_by_age"], "its score gives nothing away"
    reason = gone["West"]["scorecard/score_by_age"]
    assert reason.startswith(REASON) and not any(str(n) in reason.rpartition("scorecard/")[2] for n in (6, 7))


def test_reports_that_hide_nothing_or_hide_it_twice_are_shown(tmp_path, monkeypatch):
    counts = pd.DataFrame(np.full((3, 3), 20), index=["North", "South", "West"], columns=["young", "old", "mid"])
    assert withheld(write_reports(tmp_path / "a", counts, monkeypatch), tmp_path / "a") == {}
    counts.loc["North"] = counts.loc["South"] = [6, 7, 50]
    assert withheld(write_reports(tmp_path / "b", counts, monkeypatch), tmp_path / "b") == {}


def test_without_the_whole_what_it_would_tell_is_subtracted_all_the_same(tmp_path, monkeypatch):
    counts = pd.DataFrame({"young": [6, 30], "old": [7, 40], "mid": [50, 60]}, index=["North", "South"])
    cells = write_reports(tmp_path, counts, monkeypatch)
    assert withheld(cells, tmp_path) == withheld(cells[1:], tmp_path) != {}
    assert json.loads((tmp_path / "North/findings/scorecard/score.json").read_text("utf-8"))["glance"]["n"] == 63


SCORES = """
survey = cx.as_survey(cx.open_study(study).responses.table, min_base=10)
score, by_age = cx.nps(survey, "recommend"), cx.nps(survey, "recommend", by="age")
path = cx.save(score, name="score"), cx.save(by_age, name="score_by_age")
"""


def test_a_batch_keeps_the_report_without_the_finding_and_an_earlier_batch_as_it_was(tmp_path, monkeypatch, pool, warm):
    """What is withheld was shown in an earlier batch, from which the report would be linked."""
    monkeypatch.setattr("cxresearch.runs.folder.package_digest", lambda: "the same")
    write_reports(tmp_path, GIVEN_AWAY, monkeypatch)
    shown = ["score", "by_age", "print('said aside')"]
    write_notebook(tmp_path / "notebooks", "scorecard", "import cxresearch as cx", SCORES, *shown, headline="score_by_age")

    def made(name: str, told: list):
        plan = plan_run(tmp_path / "study.yml", each=["market"], whole=True, notebooks=tmp_path / "notebooks")
        return make_run(plan, tmp_path / "runs" / name, pool=pool, tell=told.append)

    with monkeypatch.context() as unaudited:
        unaudited.setattr("cxresearch.runs.make.withheld_together", lambda *_: {})
        before = made("one", [])
    kept = {p: p.read_bytes() for p in sorted(before.folder.rglob("*")) if p.is_file()}
    told: list = []
    run = made("two", told)
    west, place = next(r for r in run.reports if r.report == "West"), run.folder / "West"
    assert run.whole and {r.report: r.status for r in run.reports} == dict.fromkeys(["All", *GIVEN_AWAY.index], "ok")
    assert west.reason.startswith(f"scorecard: score_by_age {REASON}") and told[-1].reason == west.reason
    assert west.folder == "West" and west.digest is None, "beside other reports it would be another"
    assert west.headline is None
    record = json.loads((place / "run.json").read_text(encoding="utf-8"))
    assert list(record["notebooks"][0]["findings"]) == ["score"] and record["status"] == "ok"
    assert {p.name.partition(".")[0] for p in (place / "findings/scorecard").iterdir()} == {"score"}
    outputs = [c["outputs"] for c in json.loads((place / "scorecard.ipynb").read_text("utf-8"))["cells"] if "outputs" in c]
    assert "score_by_age" not in json.dumps(outputs[-3]) and "said aside" not in json.dumps(outputs)
    assert "withheld, since beside the whole" in (place / "index.html").read_text(encoding="utf-8")
    assert "withheld, since beside the whole" in run.index.read_text(encoding="utf-8")
    assert not verify_run(run.folder, notebooks=tmp_path / "notebooks").different
    assert {p: p.read_bytes() for p in kept} == kept, "what is linked is not rewritten where it lies"
    assert [p.name for p in run.folder.iterdir() if p.name.startswith(".")] == []


pytestmark = pytest.mark.usefixtures("capsys")
