"""Inputs that went wrong: what `new` makes of them, what is asked once, and the number after the answers."""

import os
import pty
import runpy
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pyreadstat
import pytest
from conftest import ROOT

from cxresearch import open_study
from cxresearch.cli import main
from cxresearch.errors import StudyProblem
from cxresearch.intake import check_study, new_study

COMMAND = Path(sys.executable).parent / "cxresearch"
LIKELY = 50 * "\n"


@pytest.fixture(scope="module")
def cases(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    made = runpy.run_path(str(shared / "cases" / "make.py"))
    for name in ("spss", "codes", "money", "layouts", "workbooks"):
        made[name](folder)
    return folder


class Answers:
    """Lines that are typed; keeps the questions, and ends as a terminal does."""

    def __init__(self, *lines):
        self.lines, self.asked = list(lines), []

    def __call__(self, question):
        self.asked.append(question)
        if not self.lines:
            raise EOFError
        return self.lines.pop(0)


def answered(path, folder, *lines, **more):
    """Return the answers given, and the study that came of them."""
    out = folder / "study.yml"
    out.unlink(missing_ok=True)
    ask = Answers(*lines)
    new_study([path] if path else [], out=out, ask=ask, **more)
    return ask, out


def column(study, key, table="responses"):
    return open_study(study).read(table).table[key].dropna()


def test_a_scale_is_never_wider_than_its_answers_and_nines_are_asked_of_once(cases, tmp_path):
    ask, study = answered(cases / "nines.csv", tmp_path, "1")
    assert "q1, q2, q3, q4, q5, q6\n  9 (42 rows) lies off the scale" in ask.asked[0]
    assert "1  missing: it was asked and skipped  [q1: mean 2.88 of 258 answers]" in ask.asked[0]
    assert "2  not applicable: it never was met" in ask.asked[0]
    assert "codes: {9: missing}" in study.read_text() and check_study(study)["ok"]
    q1 = column(study, "q1")
    assert (len(q1), round(q1.mean(), 3), q1.max()) == (258, 2.884, 5)
    _, study = answered(cases / "nines.csv", tmp_path, "2")
    assert "codes: {9: not applicable}" in study.read_text()
    assert (~open_study(study).responses.table["q1_met"]).sum() == 42


def test_without_answers_the_decision_stands_once_and_is_set_in_one_place(cases, tmp_path):
    new_study([cases / "nines.csv"], out=tmp_path / "study.yml")
    assert len(check_study(tmp_path / "study.yml")["waiting"]) == 1
    text = (tmp_path / "study.yml").read_text()
    assert text.count("false") == 2 and "confirmed: {codes: false}" in text  # the head of the file names it, too


def test_the_groups_that_a_platform_made_are_no_question(cases, tmp_path):
    ask, study = answered(cases / "nps_group.csv", tmp_path, "")
    assert "yes  [q1: net promoter score -54.4 of 90 answers]" in ask.asked[0]
    assert "# left out: Q1_NPS_GROUP: the groups that the platform made of Q1" in study.read_text()
    scores = column(study, "q1")
    assert round(100 * ((scores >= 9).mean() - (scores <= 6).mean()), 2) == -54.44


@pytest.mark.parametrize(
    ("name", "mean"), [("comma", 1991.5), ("space", 663.83), ("dot", 663.83), ("dollar", 1992.0), ("brackets", 1224.5)]
)
def test_money_is_read_as_it_is_written(cases, tmp_path, name, mean):
    ask, study = answered(cases / f"money_{name}.csv", tmp_path, *LIKELY)
    assert round(column(study, "spend", "customers").mean(), 2) == mean
    assert any("thousands" in question and "decimal comma" in question for question in ask.asked) == (name == "comma")


def test_times_of_a_form_tool_one_column_and_signs_that_nobody_sees(cases, tmp_path):
    _, study = answered(cases / "form_times.csv", tmp_path, *LIKELY)
    assert str(column(study, "timestamp").iloc[1]) == "2025-02-02 00:15:07"  # 2:15:07 AM GMT+2
    _, study = answered(cases / "one_column.csv", tmp_path, *LIKELY)
    assert open_study(study).column("nps") == "rec"
    _, study = answered(cases / "accents.csv", tmp_path, *LIKELY)
    assert column(study, "city").value_counts().to_dict() == {"Krak\u00f3w": 60}
    _, study = answered(cases / "zero_width.csv", tmp_path, *LIKELY)
    assert column(study, "rec").max() == 10 and column(study, "region").nunique() == 1


def test_codes_in_text_are_read_by_the_labels_of_the_file(cases, tmp_path):
    _, study = answered(cases / "text_codes.sav", tmp_path, *LIKELY)
    q1 = column(study, "q1")
    assert (len(q1), round(100 * (q1 >= 4).mean(), 2), round(q1.mean(), 3)) == (109, 60.55, 3.661)


def test_a_line_of_totals_is_asked_of_and_left_out(cases, tmp_path):
    ask, study = answered(cases / "totals.xlsx", tmp_path, *LIKELY)
    assert any("a row whose spend is the sum of the others" in question for question in ask.asked)
    spend = column(study, "spend")
    assert (len(spend), spend.mean()) == (60, 130.5)
    _, study = answered(cases / "errors.xlsx", tmp_path, *LIKELY)
    assert len(column(study, "spend")) == 59


def test_rows_without_a_customer_are_dropped_or_refused_as_answered(tmp_path):
    paid = "".join(f"{k % 9 or ''},2024-01-{k % 28 + 1:02d},{k + 10}\n" for k in range(60))
    (tmp_path / "paid.csv").write_text(f"customer id,paid at,amount\n{paid}")
    asked = answered(tmp_path / "paid.csv", tmp_path, *LIKELY)[0].asked
    at = next(i for i, question in enumerate(asked) if "missing drop" in question)
    for answer, left in (("1", 53), ("2", None)):
        _, study = answered(tmp_path / "paid.csv", tmp_path, *[*at * [""], answer, *LIKELY])
        assert ("    missing: drop\n" in study.read_text()) == bool(left)
        found = check_study(study)
        assert left is None and "is blank in 7 rows" in found["problems"][0] or found["tables"][0]["rows"] == left


# -- the questions ---------------------------------------------------------------------------------------------------


def test_the_end_of_input_leaves_the_rest_open_and_says_so(cases, tmp_path):
    command = [COMMAND, "new", cases / "nps_group.csv", "--ask", "--out", tmp_path / "study.yml"]
    ended = subprocess.run(command, input="", capture_output=True, text=True, check=True)
    assert "1 decision left open in it" in ended.stdout and "1 of 1. q1\n" in ended.stdout
    assert check_study(tmp_path / "study.yml")["waiting"] == ["study.yml, line 19: item q1 (role nps; scale 0 to 10)"]


def test_a_terminal_is_asked_again_where_the_answer_is_none_of_those(cases, tmp_path):
    ours, theirs = pty.openpty()
    command = [COMMAND, "new", cases / "nps_group.csv", "--ask", "--out", tmp_path / "study.yml"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"7\n1\n")
    assert process.wait(timeout=120) == 0
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "'7' is none of 1 to 3" in shown and "(Enter for 1, - to leave it open)" in shown
    assert check_study(tmp_path / "study.yml")["ok"]


def test_codes_far_off_are_one_question_or_one_for_each(tmp_path):
    coded = [(97, 98, 99)[k % 3] if k % 7 == 0 else k % 5 + 1 for k in range(80)]
    rows = "".join(f"{k},{k % 5 + 1},{coded[k]},{coded[k] if coded[k] != 99 else 5},{k % 5 + 1}\n" for k in range(80))
    (tmp_path / "a.csv").write_text(f"id,overall rating,staff rating,price rating,range rating\n{rows}")
    _, study = answered(tmp_path / "a.csv", tmp_path, "3", "1", "2", "1", "1")
    assert "codes: {97: missing, 98: not applicable}" in study.read_text() and check_study(study)["ok"]
    assert set(column(study, "staff_rating")) == {1.0, 2.0, 3.0, 4.0, 5.0}
    ask, study = answered(tmp_path / "a.csv", tmp_path, "-", "-")
    assert len(ask.asked) == 2 and not check_study(study)["ok"]


# -- published files -------------------------------------------------------------------------------------------------

SAMPLED = "exports/google_forms.csv"
MOST = 5  # decisions that a file of somebody's own may ask for
QUICK = {
    "textbook/HBAT.sav": 1, "textbook/mcdonalds.csv": 1, "banks/ecsi_mobile_phone.csv": 1, "banks/spanish_bank.csv": 1,
    "exports/google_forms.csv": 2, "exports/limesurvey.csv": 0, "exports/qualtrics.csv": 0,
    "exports/soccer_fan_satisfaction.sav": 3,
}  # fmt: skip
SLOW = {
    "airport/survey_2017.csv": 5, "airport/survey_2018.csv": 5, "garden_centre/customers.csv": 3, "verbatims/lounge.csv": 3,
    "exports/panel_multiselect.csv": 4,
}  # fmt: skip


def through(shared, folder, file):
    ask, study = answered(shared / "data" / file, folder, *50 * ["1"])
    assert check_study(study)["ok"], file
    assert len(ask.asked) == (QUICK | SLOW)[file] <= MOST, file
    return study


@pytest.mark.parametrize("file", [*QUICK, *(pytest.param(file, marks=pytest.mark.soak) for file in SLOW)])
def test_a_published_file_is_a_study_after_at_most_five_answers(shared, tmp_path, file):
    through(shared, tmp_path, file)


@pytest.mark.parametrize(
    "file", [*(pytest.param(f, marks=pytest.mark.soak) for f in QUICK | SLOW if f != SAMPLED), SAMPLED]
)
def test_and_runs(shared, tmp_path, pool, monkeypatch, file):
    study = through(shared, tmp_path, file)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("cxresearch.runs.make.Pool", lambda jobs: nullcontext(pool))
    few = file == "exports/qualtrics.csv"  # fewer rows than the base asks for: every question is refused with the reason
    assert main(["run", str(study), "--out", str(tmp_path / "out"), "--set", "n_boot=100"]) == few
    (made,) = tmp_path.glob("out*/index.html")
    assert ("minimum base" in made.read_text(encoding="utf-8")) >= few


# -- whole studies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "role"), [("How likely are you to recommend us?", "nps"), ("Satisfied overall?", "csat")]
)
def test_a_survey_of_one_question_is_a_study_even_beside_a_customer(tmp_path, question, role):
    rows = "".join(f"C{k},{k % 11 if role == 'nps' else k % 5 + 1}\n" for k in range(66))
    (tmp_path / "a.csv").write_text(f"customer id,{question}\n{rows}")
    ask, study = answered(tmp_path / "a.csv", tmp_path, "")
    opened = open_study(study)
    assert len(ask.asked) == 1 and opened.column(role) and len(opened.responses.table) == 66
    assert opened.responses.table["customer"].nunique() == 66


def test_columns_of_years_become_waves_and_a_missing_id_is_not_written(tmp_path):
    rows = "".join(f"{k % 11},{(k + 1) % 11},{'N' if k % 2 else 'S'}\n" for k in range(44))
    (tmp_path / "wide.csv").write_text(f"NPS_2015,NPS_2016,region\n{rows}")
    ask, study = answered(tmp_path / "wide.csv", tmp_path, "1", "1")
    assert "one question in 2 waves" in "".join(ask.asked) and "id:" not in study.read_text()
    table = open_study(study).responses.table
    assert table.groupby("wave")["nps"].agg(["size", "sum"]).to_dict("index") == {
        "2015": {"size": 44, "sum": 220.0}, "2016": {"size": 44, "sum": 220.0},
    }  # fmt: skip
    assert table["region"].value_counts().to_dict() == {"N": 44, "S": 44}


def test_columns_of_years_in_files_of_years_are_questions_of_their_own(tmp_path):
    rows = "".join(f"{k % 11},{(k + 1) % 11},{'N' if k % 2 else 'S'}\n" for k in range(44))
    files = [tmp_path / f"a_{year}.csv" for year in (2022, 2023)]
    for file in files:
        file.write_text(f"NPS_2015,NPS_2016,region\n{rows}")
    new_study(files, out=tmp_path / "study.yml")
    found = check_study(tmp_path / "study.yml")
    assert found["problems"] == []
    assert [item["item"] for item in found["tables"][0]["items"]] == ["nps_2015", "nps_2016", "region"]
    table = open_study(tmp_path / "study.yml").read("responses").table
    assert table.groupby("wave")["nps_2016"].agg(["size", "sum"]).to_dict("index") == {
        "2022": {"size": 44, "sum": 220.0}, "2023": {"size": 44, "sum": 220.0},
    }  # fmt: skip


def test_files_that_are_waves_may_hold_a_column_called_wave(tmp_path):
    files = [tmp_path / f"a_{year}.csv" for year in (2022, 2023)]
    for nth, file in enumerate(files, 1):
        file.write_text("id,wave,recommend\n" + "".join(f"{k},{nth + k % 2},{k % 11}\n" for k in range(44)))
    new_study(files, out=tmp_path / "study.yml")
    assert check_study(tmp_path / "study.yml")["problems"] == []
    table = open_study(tmp_path / "study.yml").read("responses").table
    assert table.groupby("wave")["wave_2"].unique().map(sorted).to_dict() == {"2022": ["1", "2"], "2023": ["2", "3"]}


def test_a_code_of_one_question_in_two_waves_has_one_meaning(tmp_path):
    files = {tmp_path / f"a_{2022 + low}.csv": low for low in (0, 1)}  # 11 beside 0-10 is likely a blank, beside 1-10 a point
    for file, low in files.items():
        answers = [f"{k},{11 if k % 9 == 0 else low + k % (11 - low)},{k % 5 + 1}\n" for k in range(99)]
        file.write_text(f"id,Q{5 + low} quality rating,overall rating\n{''.join(answers)}")
    for answer, meaning in (("1", "missing: [11]"), ("2", "not_applicable: [11]"), ("-", "missing: [11]")):
        (tmp_path / "study.yml").unlink(missing_ok=True)
        new_study([*files], out=tmp_path / "study.yml", ask=lambda question, a=answer: a if "11 (" in question else "")
        text = (tmp_path / "study.yml").read_text()
        assert text.count("[11]") == 1 and f" {meaning}" in text
        assert check_study(tmp_path / "study.yml")["problems"] == []


def test_a_code_above_a_scale_of_five_is_asked_of_once(tmp_path):
    rows = "".join(f"{k},{11 if k % 30 == 0 else k % 5 + 1},{k % 10 + 1},{k % 10 + 1},{k % 10 + 1}\n" for k in range(90))
    (tmp_path / "a.csv").write_text(f"id,queue rating,staff rating,price rating,range rating\n{rows}")
    new_study([tmp_path / "a.csv"], out=tmp_path / "study.yml")
    text = (tmp_path / "study.yml").read_text()
    assert "queue_rating: {column: queue rating, scale: [1, 5], not_applicable: [11], confirmed: false}" in text
    assert check_study(tmp_path / "study.yml")["problems"] == []


def test_a_table_cannot_be_answered_out_of_what_it_needs(tmp_path):
    rows = "".join(f"c{k % 7},2024-01-{k % 28 + 1:02d},{k}\n" for k in range(1, 60))
    (tmp_path / "a.csv").write_text(f"cust id,date,amount\n{rows}")
    ask, study = answered(tmp_path / "a.csv", tmp_path, *"2-" * 3)
    assert len(ask.asked) == 6 and not any("no customer" in question for question in ask.asked)
    assert ask.asked[1] == "  '2' is none of 1 to 1: "
    found = check_study(study)
    assert found["problems"] == [] and len(found["waiting"]) == 3


@pytest.mark.parametrize(("codes", "asked"), [(range(1, 12), "1-11 is taken"), (range(12), "11 (")])
def test_an_answer_by_which_a_question_is_on_another_scale_leaves_no_net_promoter_score(tmp_path, codes, asked):
    frame = pd.DataFrame({"q1": [float(codes[k % len(codes)]) for k in range(66)]})
    ends = {"variable_value_labels": {"q1": {1: "Not at all likely", 11: "Extremely likely"}}} if codes[0] else {}
    pyreadstat.write_sav(frame, str(tmp_path / "a.sav"), column_labels=["Likely to recommend us?"], **ends)

    def ask(question):  # the last of what is offered is that the codes are answers, or go on to 11
        return str(max(int(line.split()[0]) for line in question.splitlines() if line[:4] == "    ")) * (asked in question)

    new_study([tmp_path / "a.sav"], out=tmp_path / "study.yml", ask=ask)
    found = check_study(tmp_path / "study.yml")
    assert found["problems"] == [] and found["tables"][0]["items"][0]["role"] == ["outcome"]
    assert found["tables"][0]["items"][0]["scale"] == f"{codes[0]} to 11"


@pytest.mark.parametrize(("content", "said"), [
    ("id,nps\n,\n,\n", "a.csv holds no column that a study could use (id: empty; nps: empty)"),
    ("e-mail\na@b.pl\nc@d.pl\n", "a.csv holds no column that a study could use (e-mail: names a person, e-mail (header "),
    ("id,nps\n", "a.csv has a header but no rows"),
    ("\n \n", "a.csv is empty"),
    ("\ufeff", "a.csv is empty"),
    ("sep=;\n", "a.csv is empty"),
])  # fmt: skip
def test_a_file_without_a_column_that_a_study_could_use_is_refused(tmp_path, content, said):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(StudyProblem) as caught:
        new_study([tmp_path / "a.csv"], out=tmp_path / "study.yml")
    assert str(caught.value).startswith(said) and not (tmp_path / "study.yml").exists()


@pytest.mark.parametrize("title", ["", '"Title, with comma"\n', "Title, plain\n"])
def test_keys_of_a_table_are_read_as_they_are_written_beside_items_with_commas(tmp_path, title):
    rows = "".join(f"{k};{k % 11};1.{100 + 9 * k};1.{100 + k},{10 + k};2.{200 + k},{k + 10}\n" for k in range(60))
    (tmp_path / "a.csv").write_text(f"{title}id;recommend;weight;spend;paid\n{rows}")
    new_study([tmp_path / "a.csv"], out=tmp_path / "study.yml")
    assert check_study(tmp_path / "study.yml")["problems"] == []
    table = open_study(tmp_path / "study.yml").read("responses").table
    assert table[["weight", "spend", "paid"]].iloc[1].to_list() == [1.109, 1101.11, 2201.11]


def test_a_comma_of_thousands_is_doubtful_in_a_question_beside_keys_without(tmp_path):
    rows = "".join(f'{k},{k % 11},{(800 + 7 * k) / 1000},"{1 + k},{100 + k}"\n' for k in range(60))
    (tmp_path / "a.csv").write_text(f"id,recommend,weight,income\n{rows}")
    _, study = answered(tmp_path / "a.csv", tmp_path, "")
    assert 'income: {column: income, type: number, decimal: ".", thousands: ",", confirmed: false}' in study.read_text()
    answered(tmp_path / "a.csv", tmp_path, *"2" * 9)
    assert column(study, "income").iloc[0] == 1.1


def test_a_file_may_be_named_as_a_table(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(
        "account,opened,score\n" + "".join(f"A{k},2024-01-{k % 28 + 1:02d},{k % 5 + 1}\n" for k in range(40))
    )
    out = tmp_path / "study.yml"
    assert main(["new", str(tmp_path / "a.csv"), "--out", str(out)]) == 0 and "  customers:" in out.read_text()
    out.unlink()
    assert main(["new", "--as", f"responses={tmp_path / 'a.csv'}", "--out", str(out)]) == 0
    assert "  responses:" in out.read_text() and "customer: account" in out.read_text()
    with pytest.raises(
        StudyProblem, match=r"a.csv is to be costs, but no column is recognised as period .*; kind .*; amount"
    ):
        new_study([], out=tmp_path / "b.yml", kinds=[("costs", tmp_path / "a.csv")])
    with pytest.raises(StudyProblem, match="--as 'respones' is no table; did you mean 'responses'"):
        new_study([], out=tmp_path / "b.yml", kinds=[("respones", tmp_path / "a.csv")])


def test_one_answer_means_the_same_in_every_item_it_is_taken_for(tmp_path):
    rows = "".join(f"{k},{k % 11 if k % 9 else 11},{k % 10 + 1 if k % 7 else 11}\n" for k in range(110))
    (tmp_path / "a.csv").write_text(f"id,recommend,quality rating\n{rows}")
    new_study([tmp_path / "a.csv"], out=tmp_path / "study.yml")  # likely are a blank beside 0-10, and a point beyond 1-10
    text = (tmp_path / "study.yml").read_text()
    assert "scale: [0, 10], missing: [11]" in text and "scale: [1, 10], not_applicable: [11]" in text
    for answer, meaning in (("1", "missing"), ("2", "not applicable")):
        ask, study = answered(tmp_path / "a.csv", tmp_path, answer, *LIKELY)
        assert "recommend, quality_rating\n  11 (" in ask.asked[0] and f"    {answer}  {meaning}" in ask.asked[0]
        assert f"codes: {{11: {meaning}}}" in study.read_text()


def test_an_answer_that_another_item_does_not_offer_leaves_its_question_open(tmp_path):
    rows = "".join(f"{k},{(98, 97)[k % 2] if k % 9 == 0 else k % 5 + 1},{('1;97', '2;98')[k % 2]}\n" for k in range(80))
    (tmp_path / "a.csv").write_text(f"id,overall rating,used\n{rows}")
    ask, study = answered(tmp_path / "a.csv", tmp_path, "3", "", "", "3", *LIKELY)
    assert "3  ask of each apart" in ask.asked[0] and "3  choices like the others" in ask.asked[3]
    text = study.read_text()
    assert "overall_rating: {column: overall rating, scale: [1, 5], missing: [97, 98]" in text
    assert 'used: {column: used, multiple: ";", labels: {1: 1, 2: 2, 97: 97, 98: 98}}' in text
