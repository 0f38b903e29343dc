"""Widgets that ask a study questions: what is on screen is what the code on screen gives."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from tiny import write_study

import cxresearch as cx
import cxresearch.board as board
from cxresearch.board import DRIVERS, SCORE, TABLE, WHAT_IF, code_for
from cxresearch.errors import DataProblem, StudyProblem
from cxresearch.runs.notebooks import in_order, notebooks_for

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "data" / "example" / "study.yml"
RATED = ("products", "staff", "delivery")


@pytest.fixture(scope="module")
def example():
    return cx.open_study(STUDY)


def found(study, *choice, **more):
    """Execute the code of a choice as somebody who pastes it would."""
    names: dict = {}
    exec(code_for(study, *choice, path=str(STUDY), seed=7, n_boot=100, **more), names)
    return names["finding"]


def test_the_score_of_a_wave_by_group_is_that_of_nps(example):
    rows = example.responses.table[example.responses.table["wave"] == "2024Q4"]
    expected = cx.nps(cx.as_survey(rows, weight="weight"), "recommend", by="region").tidy()
    got = found(example, SCORE, "recommend", group="region", wave="2024Q4")
    assert got.glance()["n"].item() == 567
    assert got.tidy()["estimate"].tolist() == pytest.approx(expected["estimate"].tolist())
    assert (got.tidy()["std_error"] > 0.99 * expected["std_error"]).all()  # a domain of the survey, not one of its own


def test_another_outcome_is_scored_by_its_two_highest_answers(example):
    expected = cx.top_box(example.responses, "satisfaction", threshold=6)
    assert found(example, SCORE, "satisfaction").sentence() == expected.sentence()


def test_drivers_and_what_if_are_those_of_the_analyses(example):
    importance = found(example, DRIVERS, "satisfaction", drivers=RATED)
    assert list(importance.tidy()["term"]) == list(RATED)
    better = found(example, WHAT_IF, "satisfaction", drivers=RATED, better="delivery", points=0.5)
    expected = cx.simulate_improvement(example.responses, outcome="satisfaction", drivers=list(RATED), improve={"delivery": 0.5}, n_boot=100, seed=7)  # fmt: skip
    assert better.sentence() == expected.sentence()


def test_a_choice_without_drivers_is_refused(example):
    with pytest.raises(StudyProblem, match="^choose two drivers or more, and none of them the outcome itself$"):
        code_for(example, DRIVERS, "satisfaction", path="s", seed=1, n_boot=100)


def test_the_table_of_a_wave_is_that_of_crosstab_and_needs_groups(example):
    got = found(example, TABLE, "satisfaction", group="region", wave="2024Q4")
    rows = example.responses.where("wave == '2024Q4'")
    assert got.tidy().equals(cx.crosstab(rows, ["satisfaction"], ["region"]).tidy())
    with pytest.raises(DataProblem, match="^a crosstab needs at least one question and one column to split by$"):
        found(example, TABLE, "satisfaction")


def test_what_stands_in_the_data_is_text_in_the_code(example):
    with pytest.raises(DataProblem, match="wave never holds "):
        found(example, SCORE, "recommend", wave="'] or __import__('os').abort() #")


@pytest.mark.parametrize("question", [SCORE, TABLE, DRIVERS, WHAT_IF])
def test_the_board_shows_finding_checks_and_the_code_that_gave_them(question, capsys):
    shown = board._Board(cx.open_study(STUDY), str(STUDY), 7, 100)
    shown.question.value = question
    shown.group.value = "region"
    shown.answer()
    names: dict = {}
    exec(shown.code.value, names)
    assert names["finding"].sentence() in capsys.readouterr().out
    assert {SCORE: shown.group, TABLE: shown.group, DRIVERS: shown.drivers, WHAT_IF: shown.points}[question] in shown.asked.children


def test_a_wave_that_has_the_name_of_an_item_is_not_called_by_its_label(tmp_path):
    study = tmp_path / "study.yml"
    rows = [f"p{i},{'W1' if i % 2 else 'W2'},{i % 11},{i % 7}" for i in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["person,wave,W1,goods", *rows]), encoding="utf-8")
    items = "items: {W1: {scale: [0, 10], label: Our people}, goods: {scale: [0, 6]}}"
    study.write_text(f"title: T\ntables:\n  responses: {{source: a.csv, id: person, wave: wave, {items}}}\n")
    shown = board._Board(cx.open_study(study), str(study), 7, 100)
    assert sorted(label for label, _ in shown.wave.options) == ["(all)", "W1", "W2"]
    assert ("Our people", "W1") in shown.outcome.options


LIGHTLY = """
import sys
from cxresearch.runs.notebooks import notebooks_for
notebooks_for(sys.argv[1], notebooks=sys.argv[2])
print([m for m in sys.modules if m.startswith("rfc3987_syntax")])
"""


def test_lab_starts_without_the_slow_grammar():
    words = [sys.executable, "-c", LIGHTLY, str(STUDY), str(ROOT / "notebooks")]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_choice_that_cannot_be_coded_leaves_no_code_of_the_one_before(capsys):
    shown = board._Board(cx.open_study(STUDY), str(STUDY), 7, 100)
    shown.answer()
    shown.question.value, shown.drivers.value = DRIVERS, ()
    shown.answer()
    assert shown.code.value == ""


def test_a_study_without_two_rated_items_has_nothing_to_explore(tmp_path):
    with pytest.raises(
        StudyProblem, match="^study.yml has no table 'responses' with two rated items: nothing to explore$"
    ):
        cx.explore(write_study(tmp_path), seed=1)


def test_no_run_executes_the_notebook_that_asks_somebody():
    names = [path.stem for path in in_order(ROOT / "notebooks")]
    assert "explore" not in names and "drivers" in names


def test_lab_opens_the_notebooks_themselves_without_a_study_and_with_the_one_they_name():
    assert notebooks_for(notebooks=ROOT / "notebooks") == ROOT / "notebooks"
    assert notebooks_for(STUDY, notebooks=ROOT / "notebooks") == ROOT / "notebooks"


def test_lab_copies_the_notebooks_beside_another_study_and_keeps_the_copies_that_are_there(tmp_path):
    study = write_study(tmp_path / 'my "own" data')
    folder = notebooks_for(study, notebooks=ROOT / "notebooks")
    assert folder == study.parent / "notebooks"
    assert {p.name for p in folder.glob("*")} == {p.name for p in (ROOT / "notebooks").glob("*.ipynb")}
    for path in folder.glob("*.ipynb"):
        cell = next(c for c in nbformat.read(path, as_version=4).cells if "parameters" in c.metadata.get("tags", []))
        assert cell.source.splitlines()[0].startswith('study = "../study.yml"  # ')
        assert len(cell.source.splitlines()) > 1 or path.stem in ("intake",)
    (folder / "drivers.ipynb").write_text("mine", encoding="utf-8")
    (folder / "effort.ipynb").unlink()
    notebooks_for(study, notebooks=ROOT / "notebooks")
    assert (folder / "drivers.ipynb").read_text(encoding="utf-8") == "mine" and (folder / "effort.ipynb").exists()


def test_a_refusal_in_a_notebook_is_one_line():
    shell = InteractiveShell.instance()
    try:
        study = str(STUDY)
        result = shell.run_cell(
            f"import cxresearch as cx\ncx.nps(cx.open_study({study!r}).responses, 'recomend')"
        )
        assert isinstance(result.error_in_exec, cx.DataProblem if hasattr(cx, "DataProblem") else ValueError)
        lines = result.error_in_exec._render_traceback_()
        assert len(lines) == 1 and "did you mean 'recommend'" in lines[0]
    finally:
        InteractiveShell.clear_instance()
