"""The page of a check, and guesses that hold up every analysis until somebody has confirmed them."""

import json

import pytest

from cxresearch import open_study
from cxresearch.cli import main
from cxresearch.errors import StudyProblem
from cxresearch.intake import check_study, render

STUDY = """title: Desk
tables:
  responses:
    source: answers.csv
    id: id
    customer: account
    duration: seconds
    exclude: {Status: [1], Finished: [0]}
    items:
      recommend: {scale: [0, 10], missing: [11], role: nps, confirmed: false}
      overall: {scale: [1, 5], role: csat}
      speed: {scale: [1, 5], missing: [9], role: driver}
      help: {scale: [1, 5], not_applicable: [6], role: driver}
      region: {role: demographic, confirmed: false}
  customers: {source: accounts.csv, id: account}
"""
ANSWERS = """id,account,seconds,Status,Finished,recommend,overall,speed,help,region
1,a,300,0,1,10,5,5,5,N
2,b,310,0,1,11,4,9,6,N
3,c,290,0,1,0,2,3,1,S
4,z,40,0,1,7,3,3,3,S
5,,300,1,1,9,5,5,5,S
6,a,300,0,0,3,,,,N
"""
ACCOUNTS = "account\na\nb\nc\nd\n"


def write(folder, study=STUDY, **files):
    for name, content in ({"answers": ANSWERS, "accounts": ACCOUNTS} | files).items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    (folder / "study.yml").write_text(study, encoding="utf-8")
    return folder / "study.yml"


@pytest.fixture
def command(capsys):
    """Run the command line in this process; return exit status, output, errors."""

    def run(*words):
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


def test_rows_that_are_no_data_are_excluded_by_declaration_and_counted(tmp_path):
    found = check_study(write(tmp_path))
    assert [s["rows"] for s in found["tables"][0]["waterfall"]] == [6, 4, 4, 4]
    assert (
        found["tables"][0]["waterfall"][1]["reason"] == "1 row with Status 1 (exclude); 1 row with Finished 0 (exclude)"
    )


def test_the_page_counts_items_codes_quality_and_joins(tmp_path):
    found = check_study(write(tmp_path))
    items = {item["item"]: item for item in found["tables"][0]["items"]}
    assert items["recommend"]["codes"] == {"11": 1} and items["recommend"]["answered"] == 3
    assert items["help"]["codes"] == {"6": 1} and items["speed"]["codes"] == {"9": 1}
    assert found["quality"][0] == (
        "4 responses: most often skipped was recommend (25 %). Most often not applicable was help (25 %)."
    )
    # a third of the median (295 s) is 98 s
    assert "speeders: 1 of 4 took less than a third of the median (295 s)" in found["quality"]
    assert found["quality"][-1] == "response rate: 3 of 4 known customers answered (75.0 %)"
    assert found["joins"] == [
        "responses -> customers: 3 of 4 rows matched; 0 without a customer, 1 whose customer is not there; 1 customers of "
        "customers in no row"
    ]


def test_a_guess_that_changes_a_number_waits_and_one_that_does_not_is_listed(tmp_path):
    found = check_study(write(tmp_path))
    assert found["waiting"] == ["study.yml, line 10: item recommend (role nps; scale 0 to 10; missing 11 (1 rows))"]
    assert found["unconfirmed"] == ["study.yml, line 14: item region (role demographic)"]
    assert not found["ok"]
    found = check_study(write(tmp_path, STUDY.replace("role: nps, confirmed: false", "role: nps, confirmed: true")))
    assert found["ok"] and found["waiting"] == []
    assert found["taken"][-3:] == [
        "responses, item recommend: role nps; scale 0 to 10; missing 11 (1 rows)",
        "responses, item speed: role driver; scale 1 to 5; missing 9 (1 rows)",
        "responses, item help: role driver; scale 1 to 5; not applicable 6 (1 rows)",
    ]


def test_a_code_that_does_not_occur_changes_no_number(tmp_path):
    study = STUDY.replace("help: {scale: [1, 5]", "help: {confirmed: false, scale: [1, 5]").replace(
        "not_applicable: [6], role: driver", "not_applicable: [6, 7]"
    )
    waiting = check_study(write(tmp_path, study))["waiting"]
    assert any("item help" in line for line in waiting)
    answers = ANSWERS.replace(",9,6,", ",9,5,")
    assert not any("item help" in line for line in check_study(write(tmp_path, study, answers=answers))["waiting"])


def test_what_many_items_share_is_one_decision_and_none_is_hidden(tmp_path):
    many = "".join(f"      i{k}: {{column: speed, scale: [1, 5], missing: [9], confirmed: false}}\n" for k in range(60))
    found = check_study(write(tmp_path, STUDY.replace("      help:", f"{many}      help:")))
    assert len(found["waiting"]) == 2 and found["waiting"][1].startswith("study.yml, line 13: 60 items i0, i1, i2, ")
    assert found["waiting"][1].endswith(", i58, i59 (scale 1 to 5; missing 9)") and ", i58, i59 " in render(found)


def test_no_analysis_starts_on_a_guess(tmp_path):
    study = open_study(write(tmp_path))
    assert len(study.customers) == 4  # a table without a guess
    message = (
        "study.yml holds a guess that changes a number; look at each and set confirmed: true:\n"
        "study.yml, line 10: item recommend (role nps; scale 0 to 10; missing 11 (1 rows))"
    )
    for use in (lambda: study.responses, study.load_all, lambda: study.matched("responses", "customers")):
        with pytest.raises(StudyProblem) as caught:
            use()
        assert str(caught.value) == message


def test_a_guess_of_the_table_itself_waits_too(tmp_path):
    study = STUDY.replace("confirmed: false", "confirmed: true").replace(
        "    items:", "    encoding: utf-8\n    confirmed: {exclude: false, encoding: false, id: true}\n    items:"
    )
    found = check_study(write(tmp_path, study))
    assert found["waiting"] == ["study.yml, line 10: tables.responses.exclude (Status: 1, Finished: 0)"]
    assert found["unconfirmed"] == ["study.yml, line 10: tables.responses.encoding (utf-8)"]
    with pytest.raises(StudyProblem, match="confirmed names 'wieght', no key of this table; did you mean 'weight'?"):
        open_study(write(tmp_path, study.replace("{exclude: false", "{wieght: false")))


def test_the_command_exits_2_with_the_page_and_0_when_all_is_decided(tmp_path, command):
    path = write(tmp_path)
    code, page, _ = command("check", path)
    assert code == 2
    assert page.rstrip().endswith(
        "study.yml is not ready: 1 decision to take (set confirmed: true, or change the guess)."
    )
    assert "Decisions missing: each of these guesses changes a number\n  study.yml, line 10: item recommend" in page
    assert "speeders: 1 of 4 took less than a third of the median (295 s)" in page
    write(tmp_path, STUDY.replace("confirmed: false", "confirmed: true"))
    code, out, _ = command("check", tmp_path, "--json")
    assert code == 0 and json.loads(out) == check_study(path) and json.loads(out)["ok"] is True


def test_the_command_run_refuses_a_guess(tmp_path, root, command):
    code, out, err = command("run", write(tmp_path), "--out", tmp_path / "out", "--notebooks", root / "notebooks")
    assert code == 2 and "item recommend (role nps; scale 0 to 10; missing 11 (1 rows))" in err
    assert not (tmp_path / "out").exists()


WAVED = STUDY.replace("source: answers.csv", "sources: {2023: answers.csv, 2024: later.csv}")
CONTACTS = "account,when,touchpoint\n" + "".join(f"c{k},2024-01-02,{t}\n" for k in range(10) for t in ("desk", "call"))
MET = (
    "version: 2\nprivacy: {minimum_base: 10}\ntouchpoints: {desk: {stage: after, item: help}}\n"
    "population: 900\n"
    + STUDY
    + "  interactions: {source: met.csv, customer: account, time: when, touchpoint: touchpoint}\n"
)


@pytest.mark.parametrize(("study", "files", "nth", "said"), [
    (STUDY, {}, 0, "study.yml is read as version 1; write version: 2 above the title"),
    (STUDY, {}, 1, "population: no total speaks of more customers than those who answered; declare how many there are in all"),
    (WAVED, {}, 1, "waves: they are taken in the order 2023, 2024; declare waves: [...] to fix it"),
    (WAVED.replace("sources: {2023: answers.csv, 2024: later.csv}", "source: waved.csv").replace("id: id", "id: id\n    wave: w", 1),
     {}, 1, "wave: nothing says in which order A, B came; declare waves: [...], first to last, or the column that says when "
            "each was answered (asked_at); until then whatever speaks of time refuses"),
    (MET, {"met": CONTACTS + "c1,2024-01-03,Mr Rare\n"}, 0, "touchpoints: nothing is said of call, which interactions hold"),
    (MET.replace("desk:", "call: {stage: after}, desk:"), {"met": CONTACTS}, 0, None),
])  # fmt: skip
def test_what_is_not_declared_is_said_and_holds_nothing_up(tmp_path, study, files, nth, said):
    waved = "id,w,account" + ANSWERS.removeprefix("id,account").replace(",a,", ",A,a,").replace(",b,", ",B,b,")
    waved = waved.replace(",c,", ",B,c,").replace(",z,", ",A,z,").replace("5,,", "5,A,,")
    path = write(tmp_path, study.replace("confirmed: false", "confirmed: true"), waved=waved, later=ANSWERS, **files)
    found = check_study(path)
    assert found["ok"] and found["problems"] == []
    assert (found["undeclared"][nth] if said else found["undeclared"]) == (said or [])
    assert said is None or f"Not declared (nothing waits for it)\n  {found['undeclared'][0]}\n" in render(found)


def test_the_page_names_the_files_of_each_table(tmp_path):
    page = render(check_study(write(tmp_path, WAVED, later=ANSWERS)))
    assert "Table responses: 8 rows from answers.csv, later.csv\n" in page
    waves = {f"a_{year}": ANSWERS for year in range(2015, 2024)}
    sources = ", ".join(f"{name[2:]}: {name}.csv" for name in waves)
    page = render(
        check_study(write(tmp_path, STUDY.replace("source: answers.csv", f"sources: {{{sources}}}"), **waves))
    )
    assert f"Table responses: 36 rows from {', '.join(f'{name}.csv' for name in waves)}\n" in page
    assert "4 respondents, 0 of them more than once in a wave\n" in page


def test_a_problem_of_one_table_does_not_hide_the_others(tmp_path):
    study = STUDY.replace("confirmed: false", "confirmed: true")
    found = check_study(write(tmp_path, study, answers=ANSWERS.replace("1,a,300,0,1,10", "1,a,300,0,1,12")))
    assert found["problems"] == [
        "answers.csv: recommend holds 1 value outside 0-10 (12: 1); declare them as missing codes of item recommend in "
        "study.yml"
    ]
    assert [table["name"] for table in found["tables"]] == ["customers"] and not found["ok"]
    assert "not ready: 1 problem to correct." in render(found)


def test_a_wrong_study_file_is_said_in_one_line_and_exits_2(tmp_path, command):
    code, out, err = command("check", write(tmp_path, STUDY.replace("duration:", "durations:")))
    assert code == 2 and out == ""
    assert err == (
        "cxresearch: study.yml, line 7: unknown key 'durations' in tables.responses; did you mean 'duration'?\n"
    )


def test_the_example_has_no_decision_left(root):
    found = check_study(root / "data" / "example")
    assert found["ok"] and len(found["tables"]) == 6 and len(found["joins"]) == 5
    # three rows repeat another: the dictionary of the example says so
    assert found["tables"][0]["waterfall"][2]["removed"] == 3


def test_page_never_prints_a_cell_of_a_table(tmp_path):
    answers = ANSWERS.replace(",N\n", ",Verylongtownname\n")
    assert "Verylongtownname" not in render(check_study(write(tmp_path, answers=answers)))
