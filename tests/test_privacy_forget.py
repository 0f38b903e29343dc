"""Forgetting a person: their rows go, the rest stays byte for byte, and the runs that held them are named."""

import hashlib
import json

import pandas as pd
import pytest

from cxresearch.cli import main
from cxresearch.errors import DataProblem
from cxresearch.forget import Held, forget
from cxresearch.runs.render import rendered

STUDY = """\
title: Forget me
tables:
  responses:
    sources: {"1": first.csv, "2": second.csv}
    encoding: cp1250
    separator: ";"
    id: person
    customer: account
    items: {recommend: {scale: [0, 10], role: nps}}
  customers: {source: customers.parquet, id: account}
"""
FIRST = "person;account;recommend;why\r\n"
FIRST += '17;C1;9;"two\r\nlines; and ""17"""\r\n\r\n017;C2;8;żółty\r\n18;17;3;\r\n 17.0 ;C3;1;last'


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study.yml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "first.csv").write_bytes(FIRST.encode("cp1250"))
    (tmp_path / "second.csv").write_bytes(b"person;account;recommend\n19;C9;7\n")
    pd.DataFrame({"account": [17.0, None, 4.0], "spend": [1.5, 2.5, 3.5]}).to_parquet(
        tmp_path / "customers.parquet", index=False
    )
    return tmp_path / "study.yml"


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_run(folder, study, files):
    folder.mkdir(parents=True)
    inputs = {p.name: digest(p) for p in files}
    (folder / "run.json").write_text(
        json.dumps({"study": f"../../../{study.name}", "inputs": inputs}), encoding="utf-8"
    )


def test_looking_changes_nothing(study):
    before = {p.name: digest(p) for p in study.parent.iterdir()}
    found = forget(study, "17", project=study.parent, remove=False)
    assert {(f.table, f.file, f.rows) for f in found.files} == {
        ("responses", "first.csv", 3),
        ("customers", "customers.parquet", 1),
    }
    assert {p.name: digest(p) for p in study.parent.iterdir()} == before


def test_rows_go_by_respondent_and_by_customer_and_the_rest_stays_byte_for_byte(study):
    second = digest(study.parent / "second.csv")
    found = forget(study, "17", project=study.parent, remove=True)
    assert not found.by_hand
    assert (study.parent / "first.csv").read_bytes() == "person;account;recommend;why\r\n\r\n017;C2;8;żółty\r\n".encode(
        "cp1250"
    )
    assert digest(study.parent / "second.csv") == second
    left = pd.read_parquet(study.parent / "customers.parquet")
    assert left["spend"].tolist() == [2.5, 3.5] and left["account"].isna().tolist() == [True, False]
    assert sorted(p.name for p in study.parent.iterdir()) == [
        "customers.parquet",
        "first.csv",
        "second.csv",
        "study.yml",
    ]
    assert forget(study, "17", project=study.parent, remove=True).files == []


def test_the_runs_that_held_the_person_are_named_and_those_that_may_have(study):
    project, files = study.parent, [study.parent / "first.csv", study.parent / "second.csv"]
    write_run(project / "reports" / "runs" / "same", study, files)
    write_run(project / "reports" / "runs" / "unconcerned", study, files[1:])
    (project / "reports" / "runs" / "broken").mkdir()
    (project / "reports" / "runs" / "broken" / "run.json").write_text("{", encoding="utf-8")
    found = forget(study, "17", project=project, remove=True)
    assert (found.runs, found.perhaps) == (["reports/runs/same"], [])
    (project / "first.csv").write_bytes(FIRST.encode("cp1250") + b"\r\n20;C7;5;")
    assert forget(study, "17", project=project, remove=False).perhaps == ["reports/runs/same"]


def test_a_parquet_file_without_the_column_holds_nobody(study):
    pd.DataFrame({"spend": [1.5, 2.5]}).to_parquet(study.parent / "customers.parquet", index=False)
    assert [f.file for f in forget(study, "17", project=study.parent, remove=True).files] == ["first.csv"]


def test_what_cannot_be_rewritten_is_named_and_left_alone(study):
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["account"])
    book.active.append(["17"])
    book.save(study.parent / "customers.xlsx")
    study.write_text(STUDY.replace("customers.parquet", "customers.xlsx"), encoding="utf-8")
    before = digest(study.parent / "customers.xlsx")
    found = forget(study, "17", project=study.parent, remove=True)
    assert found.by_hand and found.files[-1] == Held("customers", "customers.xlsx", None, before)
    assert digest(study.parent / "customers.xlsx") == before


@pytest.mark.parametrize(
    "row",
    [b'17;C1;"5" pipe\n18;C2;6', b'17;C1;"9', b"17;C1;9;too;many;cells", b""],
    ids=["stray quotation marks", "a quotation mark left open", "too many cells", "another separator"],
)
def test_a_text_whose_rows_cannot_be_told_apart_is_left_alone(study, row):
    path = study.parent / "second.csv"
    path.write_bytes(
        b"person;account;recommend\n" + row + b"\n19;C9;7\n" if row else b"person,account,recommend\n17,C9,7\n"
    )
    before = path.read_bytes()
    found = forget(study, "17", project=study.parent, remove=True)
    assert ("second.csv", None) in [(f.file, f.rows) for f in found.files] and path.read_bytes() == before


def test_a_text_with_fewer_rows_than_headers_is_left_alone(study):
    study.write_text(STUDY.replace('separator: ";"', 'separator: ";"\n    header: [label, name]'), encoding="utf-8")
    (study.parent / "second.csv").write_bytes(b"person;account;recommend\n")
    found = forget(study, "17", project=study.parent, remove=False)
    assert ("second.csv", None) in [(f.file, f.rows) for f in found.files]


def test_a_link_stays_and_what_it_points_to_is_rewritten(study):
    folder, away = study.parent, study.parent / "away"
    away.mkdir()
    (folder / "first.csv").rename(away / "data.csv")
    (folder / "first.csv").symlink_to(away / "data.csv")
    found = forget(study, "17", project=folder, remove=True)
    assert (folder / "first.csv").is_symlink() and b"lines; and" not in (away / "data.csv").read_bytes()
    assert ("responses", 3) in [(f.table, f.rows) for f in found.files] and not found.by_hand


def test_hard_links_and_files_that_it_does_not_search_are_told(study):
    folder = study.parent
    (folder / "kept.csv").hardlink_to(folder / "first.csv")
    (folder / "copy of first.csv").write_bytes((folder / "first.csv").read_bytes())
    found = forget(study, "17", project=folder, remove=True)
    assert found.by_hand and [f.links for f in found.files] == [1, 0]
    assert found.unsearched == ["copy of first.csv", "kept.csv"]
    lines = rendered("forget.txt.j2", found=found, study="study.yml", removed=True).splitlines()
    assert "first.csv has 2 names on this disk; 1 are not rewritten" in lines
    assert "not searched, since study.yml does not name them: copy of first.csv, kept.csv" in lines


def test_the_runs_of_the_project_are_found_from_anywhere(study, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    write_run(study.parent / "reports" / "runs" / "same", study, [study.parent / "first.csv"])
    assert forget(study, "17", project=study.parent.parent / "none", remove=False).runs == ["reports/runs/same"]


def test_a_person_is_forgotten_after_the_day_of_deletion_too(study):
    study.write_text(STUDY + "privacy: {delete_after: 2020-01-31}\n", encoding="utf-8")
    assert sum(f.rows for f in forget(study, "17", project=study.parent, remove=True).files) == 4


def test_an_empty_id_is_refused(study):
    with pytest.raises(DataProblem) as refused:
        forget(study, " ", project=study.parent, remove=True)
    assert str(refused.value) == "the id is empty; name the person as the files do"


def test_the_command_looks_first_and_removes_when_told_to(study, monkeypatch, capsys):
    monkeypatch.chdir(study.parent)
    write_run(study.parent / "reports" / "runs" / "same", study, [study.parent / "first.csv"])
    assert main(["forget", "study.yml", "17"]) == 0
    assert capsys.readouterr().out == (
        "responses: 3 rows of first.csv\n"
        "customers: 1 row of customers.parquet\n"
        "made from these files: reports/runs/same\n"
        "nothing was removed; to remove these rows, say --yes\n"
    )
    assert main(["forget", "study.yml", "17", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "removed 4 rows; delete the runs named, or make them anew; copies elsewhere, such as backups, were not searched"
    )
    assert main(["forget", "study.yml", "17", "--yes"]) == 0
    assert capsys.readouterr().out == "no file of study.yml holds this person\n"


def test_the_command_says_what_must_be_done_by_hand(study, monkeypatch, capsys):
    monkeypatch.chdir(study.parent)
    text = STUDY.replace("encoding: cp1250", "encoding: utf-16")
    study.write_text(text, encoding="utf-8")
    assert main(["forget", "study.yml", "21"]) == 1
    assert capsys.readouterr().out == (
        "responses: look through first.csv by hand\nresponses: look through second.csv by hand\n"
    )
