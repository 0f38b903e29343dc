"""A run withholds the notebook that gives a hidden number away: real kernels, a tiny study."""

import json
from datetime import date

import pytest
from tiny import DEFINE, STUDY, write_notebook, write_study

from cxresearch.errors import StudyProblem
from cxresearch.privacy.pseudonyms import KEY_OF_RUN, KEY_VARIABLE
from cxresearch.runs import make_run, plan_run

PARAMETERS = 'study = "../study.yml"  # path of the study file'


def save(rows: str, *, group: str | None, total: int) -> str:
    """Return the code that saves a finding about recommend with these rows."""
    summary = f'{{"n": {total}, "method": "count"}}'
    return (
        f"table = pd.DataFrame({rows})\n"
        f'Answer("nps", "recommend", {group!r}, table, {summary}, (Check("seen", 1, "1", True),))'
    )


HIDES = save('{"group": ["a", "b", "c"], "estimate": [1.5, None, 2.5], "n": [50, None, 40]}', group="region", total=90)
TELLS = """
everybody = {"n": 97, "method": "count"}
cx.save(Answer("nps", "recommend", None, pd.DataFrame({"n": [97]}), everybody, finding.tested), name="all")
print("secret 97")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, pool):
    folder = tmp_path_factory.mktemp("withheld")
    write_study(folder)
    finding = HIDES.replace('{"n": 90', '{"n": None').replace("Answer(", "finding = Answer(", 1)
    keep = 'cx.save(finding, name="groups")'
    for name, tail in {
        "first": [finding, keep],
        "second": [finding, TELLS],
        "third": [finding.replace('"region"', '"city"'), keep],
    }.items():
        write_notebook(folder / "notebooks", name, "import cxresearch as cx" + DEFINE, *tail, parameters=PARAMETERS)
    told = []
    plan = plan_run(folder / "study.yml", notebooks=folder / "notebooks")
    return make_run(plan, folder / "run", tell=told.append, pool=pool), told


def test_the_notebook_that_gives_a_number_away_fails_with_table_and_cell(made):
    run, told = made
    assert [(o.task.name, o.status) for o in run.outcomes] == [("first", "ok"), ("second", "failed"), ("third", "ok")]
    assert run.outcomes[1].reason == (
        "withheld, since it gives away a hidden number: first/groups.tidy.csv, region=b: its hidden base can be "
        "computed from the tables of this run"
    )
    assert sorted(o.task.name for o in told) == ["first", "second", "second", "third"] and told[-1] is run.outcomes[1]
    assert not run.whole


def test_nothing_of_a_withheld_notebook_is_kept_but_its_source(made):
    folder = made[0].folder
    assert sorted(p.name for p in (folder / "findings").iterdir()) == ["first", "third"]
    assert "secret 97" in (folder / "second.ipynb").read_text(encoding="utf-8"), "its source is there"
    assert all(not c.get("outputs") for c in json.loads((folder / "second.ipynb").read_text(encoding="utf-8"))["cells"])
    page = (folder / "second.html").read_text(encoding="utf-8")
    assert "region=b" in page and '<pre class="text">' not in page
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "failed" and record["notebooks"][1]["findings"] == {}
    assert "region=b" in (folder / "index.html").read_text(encoding="utf-8")


def test_the_others_keep_their_results(made):
    folder = made[0].folder
    assert (folder / "findings" / "first" / "groups.tidy.csv").is_file()
    assert "Answer" in (folder / "first.html").read_text(encoding="utf-8")


def test_a_run_is_refused_past_the_day_on_which_the_data_were_to_be_deleted(tmp_path):
    study = write_study(tmp_path)
    study.write_text(
        STUDY.replace("{minimum_base: 2}", "{minimum_base: 2, delete_after: 2026-06-30}"), encoding="utf-8"
    )
    write_notebook(tmp_path / "notebooks", "one", "1", parameters=PARAMETERS)
    assert plan_run(study, notebooks=tmp_path / "notebooks", today=date(2026, 6, 30)).minimum_base == 2
    with pytest.raises(StudyProblem) as refused:
        plan_run(study, notebooks=tmp_path / "notebooks", today=date(2026, 7, 2))
    assert str(refused.value) == (
        "study.yml, line 2: the data were to be deleted after 2026-06-30, 2 days ago; delete them, or give "
        "privacy.delete_after a later date if their purpose still needs them"
    )


def test_without_a_key_the_notebooks_of_a_run_make_the_same_pseudonyms(tmp_path, monkeypatch, pool):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv(KEY_OF_RUN, raising=False)
    write_study(tmp_path)
    code = "from cxresearch.privacy import *\nimport pandas as pd\nkey = study_key('T')\n"
    code += "print(pseudonymise(pd.Series(['x']), key=key)[0], key.lasting)"
    for name in ("one", "two"):
        write_notebook(tmp_path / "notebooks", name, code, parameters=PARAMETERS)
    plan = plan_run(tmp_path / "study.yml", notebooks=tmp_path / "notebooks")
    run = make_run(plan, tmp_path / "run", pool=pool)
    printed = [o.notebook.cells[-1].outputs[0].text for o in run.outcomes]
    assert printed[0] == printed[1] and printed[0].endswith("False\n")
