"""A run withholds the notebook that gives a hidden number away: real kernels, a tiny study."""

import json
import re
from datetime import date
from urllib.parse import unquote

import pytest
from tiny import DEFINE, STUDY, write_notebook, write_study

from cxresearch.cli import main
from cxresearch.errors import StudyProblem
from cxresearch.privacy.identifiers import KEY_OF_RUN, KEY_VARIABLE
from cxresearch.runs.make import make_run, plan_run

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
everybody = {"n": 91, "method": "count"}
whole = Answer("nps", "recommend", None, pd.DataFrame({"n": [91]}), everybody, finding.tested)
cx.save(whole, name="all")
print("secret 91")
whole
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, pool):
    folder = tmp_path_factory.mktemp("withheld")
    write_study(folder)
    finding = HIDES.replace('{"n": 90', '{"n": None').replace("Answer(", "finding = Answer(", 1)
    other = finding.replace('"region"', '"city"')
    keep = 'cx.save(finding, name="groups")\nfinding'
    for name, tail in {"first": [finding, keep], "second": [finding, TELLS, other, keep]}.items():
        write_notebook(
            folder / "notebooks",
            name,
            "import cxresearch as cx" + DEFINE,
            *tail,
            parameters=PARAMETERS,
            headline="all" if name == "second" else None,
        )
    told = []
    plan = plan_run(folder / "study.yml", notebooks=folder / "notebooks")
    return make_run(plan, folder / "run", tell=told.append, pool=pool), told


def test_the_finding_that_gives_a_number_away_is_withheld_with_table_and_cell(made):
    run, told = made
    assert [(o.name, o.status) for o in run.record.notebooks] == [("first", "ok"), ("second", "ok")]
    assert run.record.notebooks[1].reason == (
        "all withheld, since it gives away a hidden number: first/groups.tidy.csv, region=b: its hidden base can be "
        "computed from the tables of this run"
    )
    assert sorted(o.name for o in told) == ["first", "second", "second"] and told[-1] is run.record.notebooks[1]
    assert run.whole, "a finding is withheld, never a notebook"


def test_nothing_of_a_withheld_finding_is_kept(made):
    folder = made[0].folder
    assert sorted(p.name for p in (folder / "findings" / "second").iterdir()) == ["groups.json", "groups.tidy.csv"]
    notebook = json.loads((folder / "second.ipynb").read_text(encoding="utf-8"))
    outputs = json.dumps([c.get("outputs") for c in notebook["cells"]])
    assert "91" not in outputs and "withheld, since it gives away" in outputs
    assert "The answer to" in outputs, "the other finding of the page is shown"
    page = (folder / "second.html").read_text(encoding="utf-8")
    assert "region=b" in page and "secret 91<" not in page and "Not all is shown" in page
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "ok" and list(record["notebooks"][1]["findings"]) == ["groups"]
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
    assert plan_run(study, notebooks=tmp_path / "notebooks", today=date(2026, 6, 30)).opened.min_base == 2
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
    printed = [o.executed.cells[-1].outputs[0].text for o in run.record.notebooks]
    assert printed[0] == printed[1] and printed[0].endswith("False\n")


# --- reports for each value of a column, attacked from the command line ----------------------------------------------

ATTACKED = """\
title: Attacked
privacy: {minimum_base: 5}
tables:
  responses:
    source: answers.csv
    id: mail
    wave: wave
    items:
      recommend: {scale: [0, 10], role: nps}
      market: {role: demographic}
      comment: {role: verbatim, not_applicable: [none]}
      copied: {column: comment}
      again: {column: mail}
      ticket: {}
      crowd: {}
  interactions:
    source: calls.csv
    customer: who
    time: at
    agent: clerk
    text: note
    channel: channel
    items: {handler: {column: clerk}, place: {}}
reports:
  leaky: {each: comment, whole: true}
  crossed: {each: [market, respondent]}
"""
SECRETS = ("jan.kowalski", "600 700 8", "Ewa Nowak", "Kowalskis", "Secret Street", "90017")
ATTACKS = [
    ["study.yml", "--each", "comment"],
    ["study.yml", "--each", "respondent", "--whole"],
    ["study.yml", "--each", "market", "--each", "comment"],
    ["study.yml", "--each", "comment_met"],
    ["study.yml", "--each", "COMMENT"],
    ["study.yml", "--each", "copied"],
    ["study.yml", "--each", "again"],
    ["study.yml", "--each", "ticket"],
    ["study.yml", "--each", "agent"],
    ["study.yml", "--each", "handler"],
    ["study.yml", "--each", "text"],
    ["study.yml", "--each", "channel"],
    ["study.yml", "--each", "customer"],
    ["study.yml", "--each", "place"],
    ["study.yml", "--each", "crowd"],
    ["study.yml", "leaky"],
    ["study.yml", "crossed"],
    ["study.yml?market=Kowalski"],
    ["study.yml?market=kowalskis"],
    ["study.yml?market=North&respondent=jan"],
    ["study.yml?%63omment=jan"],
    ["study.yml?agent=Ewa"],
    ["study.yml?ticket=9001"],
    ["study.yml?market=North", "--each", "comment"],
    ["study.yml", "--set", "study=study.yml?comment=x"],
    ["study.yml", "--set", "wherever=comment"],
]


def write_attacked(folder):
    """Write a study of two markets and a household, whose comments, ids and calls name people."""
    (folder / "study.yml").write_text(ATTACKED, encoding="utf-8")
    lines = ["mail,wave,recommend,market,comment,ticket,crowd"]
    for i in range(43):
        market = "Kowalskis" if i < 3 else ("North", "South")[i % 2]
        said = "none" if i % 5 == 0 else f"call jan.kowalski on 600 700 8{i % 4}0"
        lines.append(f"jan.kowalski{i}@mail.pl,2024,{i % 11},{market},{said},{900170 + i},{900170 + i // 4}")
    (folder / "answers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    calls = ["who,at,clerk,note,channel,place"]
    calls += [
        f"c{i % 9},2024-01-{1 + i % 28:02},Ewa Nowak,ask jan.kowalski,jan.kowalski{i % 2}@mail.pl,Secret Street {i % 9}"
        for i in range(90)
    ]
    (folder / "calls.csv").write_text("\n".join(calls) + "\n", encoding="utf-8")
    write_notebook(folder / "notebooks", "one", "import cxresearch as cx\nlen(cx.open_study(study).responses)")


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Return a function that starts a run on the study, and returns its exit status, stdout and stderr."""
    write_attacked(tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda *words: (main(["run", *words, "--log", "log.jsonl"]), *capfd.readouterr())


def told(folder, done) -> str:
    """Return all that a command said and wrote, the names of files and folders too."""
    given = {folder / name for name in ("study.yml", "answers.csv", "calls.csv")}
    made = [p for p in folder.rglob("*") if p not in given]
    texts = [p.read_bytes().decode("utf-8", errors="replace") for p in made if p.is_file()]
    return unquote("\n".join([*done[1:], *map(str, made), *texts]))


@pytest.mark.parametrize("words", ATTACKS, ids=" ".join)
def test_no_start_of_a_run_tells_who_somebody_is(tmp_path, command, words):
    done = command(*words)
    assert done[0] == 2 and done[2].startswith("cxresearch: "), done
    assert [s for s in SECRETS if s in told(tmp_path, done)] == [], done


def test_the_reports_of_large_groups_name_no_small_one(tmp_path, command):
    done = command("study.yml", "--each", "market", "--whole", "--out", "run")
    assert done[0] == 0, done
    assert re.search(r"skipped +1 value under the minimum base", done[1]) and (tmp_path / "run" / "South").is_dir()
    assert [s for s in SECRETS if s in told(tmp_path, done)] == []
    index = (tmp_path / "run" / "index.html").read_text(encoding="utf-8")
    assert "1 value under the minimum base" in index
    assert '"report": "1 value under' in (tmp_path / "log.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", ["Kowalskis", "Nobody"])
def test_whether_a_small_group_is_there_is_not_told(command, value):
    status, out, err = command(f"study.yml?market={value}")
    assert (status, out) == (2, "")
    assert err == (
        "cxresearch: study.yml: the part asked for by market has fewer than 5 people or rows of table responses, the "
        "minimum base; ask for a larger part\n"
    )
