"""Finished runs: what changed between two, whether one repeats, who signed it."""

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from tiny import DEFINE, write_notebook, write_study

from cxresearch.cli import main
from cxresearch.errors import StudyProblem
from cxresearch.inference import wilson_interval
from cxresearch.runs.compare import END, START, Movement, alike, compare_runs, difference_interval, movement_words
from cxresearch.runs.make import make_run, plan_run
from cxresearch.runs.record import Record, moment
from cxresearch.runs.review import changed_since, sign_offs, sign_run, verify_run

FIND = """
import cxresearch as cx
answers = cx.open_study(study).responses.table["recommend"]
mean, error = answers.mean(), answers.std() / len(answers) ** 0.5
table = pd.DataFrame({"group": ["=all", "none"], "estimate": [mean, float("nan")]})
table["conf_low"], table["conf_high"] = table["estimate"] - 2 * error, table["estimate"] + 2 * error
finding = Answer("answer", "everything", None, table, {"n": len(answers), "method": "mean"},
                 (Check("mean above", mean, f"at least {times}", bool(mean >= times)),))
cx.save(finding, name="answer")
"""
FROM_DATABASE = """\
title: From a database
privacy: {minimum_base: 2}
tables:
  responses:
    database: crm.sqlite
    query: select * from answers
    id: person
    items:
      recommend: {scale: [0, 10], role: nps}
      market: {role: demographic}
  costs: {source: costs.csv, period: period, kind: kind, amount: amount}
"""
pytestmark = pytest.mark.usefixtures("warm")
NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


def a_run(home: Path, name: str, pool, **settings) -> Path:
    plan = plan_run(home / "study.yml", settings=tuple(settings.items()), notebooks=home / "notebooks")
    made = make_run(plan, home / "runs" / name, pool=pool)
    assert made.whole, made.record.notebooks
    return made.folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, pool):
    """The project and four of its runs: first, again, with a parameter changed, with more answers."""
    home = tmp_path_factory.mktemp("project")
    write_study(home)
    write_notebook(home / "notebooks", "mean", DEFINE, FIND, headline="answer")
    first, again = a_run(home, "first", pool), a_run(home, "again", pool)
    parameter = a_run(home, "parameter", pool, times="11")
    kept = (home / "answers.csv").read_text(encoding="utf-8")
    (home / "answers.csv").write_text(kept + "p98,9\np99,3\n", encoding="utf-8")
    more = a_run(home, "more", pool)
    (home / "answers.csv").write_text(kept, encoding="utf-8")
    return home, first, again, parameter, more


def test_two_runs_of_the_same_thing_differ_in_nothing(runs, capsys):
    _, first, again, *_ = runs
    found = compare_runs(first, again)
    assert found.unchanged == 1 and not any((found.inputs, found.parameters, found.versions, found.findings))
    assert main(["compare", str(first), str(again)]) == 0
    assert capsys.readouterr().out == "nothing changed: 1 finding the same to six digits\n"


def test_a_changed_parameter_turns_a_check_and_moves_no_estimate(runs, capsys):
    _, first, _, parameter, _ = runs
    found = compare_runs(first, parameter)
    assert [(c.what, c.before, c.after) for c in found.parameters] == [("mean.times", 3, 11)]
    (finding,) = found.findings
    assert finding.headline and not finding.movements and not finding.tables and not found.inputs
    assert [(c.what, c.before, c.after) for c in finding.checks] == [("mean above", "holds", "not met")]
    assert main(["compare", str(first), str(parameter)]) == 0
    assert "    check turned: mean above: holds -> not met\n" in capsys.readouterr().out


def test_more_answers_move_an_estimate_and_the_difference_has_an_interval(runs, capsys):
    home, first, _, parameter, more = runs
    found = compare_runs(first, more / "index.html")
    (moved,) = found.findings[0].movements
    table = [next(x for x in p.read_text().splitlines() if "all" in x).split(",")[1:] for p in
             (r / "findings/mean/answer.tidy.csv" for r in (first, more))]  # fmt: skip
    b, a = ([float(x) for x in row] for row in table)
    assert moved.difference == pytest.approx(a[0] - b[0])
    against, moving, *_ = Record.read(more)[1].moved  # the newest earlier one, whose parameter alone was another
    since = moment(Record.read(parameter)[1].started)
    assert against == f"Against the run of {since}, on other data: answers.csv. 0 findings are the same, 1 not."
    assert moving == f"{found.findings[0].id}: {movement_words(moved).replace('->', '→')}"
    assert Record.read(first)[1].moved == []
    assert moved.conf_high - moved.conf_low == pytest.approx(2 * ((a[2] - a[0]) ** 2 + (b[2] - b[0]) ** 2) ** 0.5)
    assert main(["compare", str(first), str(more)]) == 0
    out = capsys.readouterr().out
    assert "Inputs\n  answers.csv: changed\n" in out and movement_words(moved) in out


def test_square_and_add_of_two_wilson_intervals_is_0_0524_to_0_3339_newcombe_1998_table_2_method_10():
    estimates = [(k / n, *map(float, wilson_interval(k / n, n, 0.95))) for k, n in ((48, 80), (56, 70))]
    assert difference_interval(*estimates) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(
    "movement, words",
    [
        (Movement("North", 16.34, 18.02, 1.68, -2.1, 5.46), "North: 16.3 -> 18.0 (+1.7, interval -2.1 to 5.5)"),
        (Movement("", 0.4123, 0.3911, -0.0212), "0.412 -> 0.391 (-0.021)"),
        (Movement("a", 0.0, 0.0004, 0.0004), "a: 0.000000 -> 0.000400 (+0.000400)"),
        (Movement("money", 4596039.6, 4500000.2, -96039.4), "money: 4,596,040 -> 4,500,000 (-96,039)"),
    ],
)
def test_a_movement_has_three_significant_digits(movement, words):
    assert movement_words(movement) == words


def test_what_is_not_a_run_is_not_compared(runs, tmp_path, capsys):
    _, first, *_ = runs
    assert main(["compare", str(first), str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"cxresearch: {tmp_path} is not the folder of a run: it has no run.json\n"
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(StudyProblem, match=r"run.json is not the record of a run of this format \(cxresearch run 1\): see its content"):
        compare_runs(first, tmp_path)
    other = json.loads((first / "run.json").read_text()) | {"title": "Else", "inputs": {"else.csv": "0"}}
    (tmp_path / "run.json").write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(StudyProblem, match="of 'Else': nothing to compare"):
        compare_runs(first, tmp_path)


def test_a_run_repeats_to_the_last_byte(runs):
    home, _, _, parameter, _ = runs
    found = verify_run(parameter, notebooks=home / "notebooks")
    assert len(found.same) == 6 and not (found.close or found.different or found.versions)


@pytest.mark.parametrize("share, status", [(4e-7, 0), (3e-6, 1)])
def test_a_repetition_that_differs_after_six_digits_succeeds_and_is_no_change(runs, share, status, capsys):
    """As if another processor had made the run: the mean is moved in its table."""
    home, _, _, parameter, _ = runs
    copy = shutil.copytree(parameter, home / "runs" / f"elsewhere {share}")
    table = copy / "findings" / "mean" / "answer.tidy.csv"
    rows = pd.read_csv(table)
    rows.assign(estimate=rows["estimate"] * (1 + share)).to_csv(table, index=False, lineterminator="\n")
    assert main(["verify", str(copy), "--notebooks", str(home / "notebooks")]) == status
    said = capsys.readouterr().out
    same = "5 of 6 files are byte-identical"
    if status == 0:
        assert said == f"close    findings/mean/answer.tidy.csv: the same to six digits\n{same}, 1 the same to six digits\n"
        assert compare_runs(parameter, copy).findings == () and compare_runs(parameter, copy).unchanged == 1
    else:
        assert said == f"differs  findings/mean/answer.tidy.csv: not the same to six digits\n{same}, 1 different\n"
        assert compare_runs(parameter, copy).findings[0].tables == ("tidy",)


@pytest.mark.parametrize(
    "name, was, now, same",
    [
        ("a.csv", "term,x\na,1.234567\n", "term,x\na,1.234568\n", True),
        ("a.csv", "term,x\na,1.234567\n", "term,x\na,1.23457\n", False),
        ("a.csv", "x\n1000\n0\n", "x\n1000\n1.01e-9\n", True),
        ("a.csv", "x\n1000\n0\n", "x\n1000\n1e-8\n", False),
        ("a.csv", "term,x\na,1\n", "term,x\nb,1\n", False),
        ("a.csv", "term,x\na,1\n", "term,y\na,1\n", False),
        ("a.csv", "x\n1\n", "x\n1\n1\n", False),
        ("a.csv", "term,x\nNone,1.234567\n", "term,x\nNone,1.234568\n", True),
        ("a.csv", "term,x\nNone,1\n", "term,x\nnone,1\n", False),
        ("a.csv", "term,x\nNone,1\n", "term,x\n,1\n", False),
        ("a.csv", "term,x\nnan,1\n", "term,x\n,1\n", False),
        ("a.csv", 'x\n1\n""\n', "x\n1\n0\n", False),
        ("a.csv", "term,x\na\rb,1.234567\n", "term,x\na\rb,1.234568\n", True),  # pandas writes it without quotes
        ("a.csv", "term,x\na\rb,1\n", "term,x\na\rc,1\n", False),
        ("a.csv", "term,x\na,1.234567\n", "term,x\r\na,1.234568\r\n", True),
        ("a.json", '{"p": 0.0412345678}', '{"p": 0.0412345679}', True),
        ("a.json", '{"p": 0.0412}', '{"p": 0.0413}', False),
        ("a.json", '{"ok": true}', '{"ok": 1}', False),
        ("a.json", '{"sentence": "12.3 points"}', '{"sentence": "12.4 points"}', False),
        ("a.json", '{"rows": [1, null]}', '{"rows": [1]}', False),
        ("a.json", '{"n": 1}', "{", False),
        ("a.png", "1.0", "1.00", False),
        ("a.ipynb", '{"image/png": "iVA", "narrow": "iVB"}', '{"image/png": "iVC", "narrow": "iVD"}', True),
        ("a.ipynb", '{"text/plain": "3 of 4"}', '{"text/plain": "3 of 5"}', False),
    ],
)
def test_two_states_of_a_file_are_alike_in_text_and_in_six_digits(name, was, now, same):
    assert alike(name, was.encode(), now.encode()) is same
    assert alike(name, was.encode(), was.encode())


def test_a_markets_report_from_a_database_repeats_until_a_row_changes(tmp_path, capsys):
    """The costs, which no market has, are an input of its report all the same."""
    (tmp_path / "study.yml").write_text(FROM_DATABASE, encoding="utf-8")
    (tmp_path / "costs.csv").write_text("period,kind,amount\n2025,rent,9\n", encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "crm.sqlite")) as base, base:
        base.execute("create table answers (person text, recommend integer, market text)")
        base.executemany("insert into answers values (?, ?, ?)", [(f"p{i}", i % 11, "NS"[i % 2]) for i in range(40)])
        base.execute("update answers set market = case market when 'N' then 'None' else 'North' end")
    write_notebook(tmp_path / "notebooks", "mean", DEFINE, FIND, headline="answer")
    shelf, options = tmp_path / "runs", ["--notebooks", str(tmp_path / "notebooks")]
    assert main(["run", str(tmp_path / "study.yml"), "--out", str(shelf), "--each", "market", *options]) == 0
    assert {p.parent.name for p in shelf.glob("*/run.json")} == {"None", "North"}
    report = shelf / "None"
    assert set(json.loads((report / "run.json").read_text())["queries"]) == {"responses"}
    capsys.readouterr()
    assert main(["verify", str(report), *options]) == 0
    assert capsys.readouterr().out == "6 of 6 files are byte-identical\n"
    with closing(sqlite3.connect(tmp_path / "crm.sqlite")) as base, base:
        base.execute("update answers set recommend = 3 where person = 'p4'")
    assert main(["verify", str(report), *options]) == 2
    assert "cannot be repeated: crm.sqlite, query of tables.responses changed" in capsys.readouterr().err


def test_a_run_of_other_inputs_cannot_be_repeated(runs, capsys):
    home, *_, more = runs
    assert main(["verify", str(more), "--notebooks", str(home / "notebooks")]) == 2
    assert capsys.readouterr().err == (
        f"cxresearch: {more} cannot be repeated: answers.csv changed since it was made; "
        "put the earlier state back, or make a new run and compare the two\n"
    )


def test_a_sign_off_is_shown_and_void_once_anything_changes(runs, capsys):
    home, first, *_ = runs
    run = shutil.copytree(first, home / "runs" / "signed")
    assert main(["sign", str(run)]) == 1
    assert capsys.readouterr().out == "nobody has signed this run\n"
    signed = sign_run(run, name="Ada <b>L</b>", note="read it", now=NOW)
    words = "Signed by Ada <b>L</b> on 2026-11-22 03:04 UTC: read it."
    assert changed_since(signed, run) == [] and sign_offs(run) == [signed]
    for page in ("index.html", "mean.html"):
        text = (run / page).read_text(encoding="utf-8")
        assert text.count("Signed by Ada &lt;b&gt;L&lt;/b&gt; on 2026-11-22 03:04 UTC: read it.") == 1
    assert main(["sign", str(run)]) == 0 and capsys.readouterr().out == f"{words}\n"

    page = run / "index.html"
    page.write_text(page.read_text(encoding="utf-8").replace("</main>", "more</main>"), encoding="utf-8")
    assert main(["sign", str(run)]) == 1
    assert capsys.readouterr().out == f"{words} Void: since then index.html changed.\n"
    assert "<strong>Signed by Ada" in page.read_text(encoding="utf-8")
    (run / "findings" / "mean" / "answer.tidy.csv").unlink()
    assert changed_since(signed, run) == ["findings/mean/answer.tidy.csv", "index.html"]


@pytest.mark.parametrize("where", ["second block", "elsewhere", "before the title", "in a file beside"])
def test_only_the_block_that_sign_writes_is_left_out_and_only_in_its_place(runs, where):
    home, first, *_ = runs
    run = shutil.copytree(first, home / "runs" / f"signed {where}")
    signed = sign_run(run, name="Ada", note="", now=NOW)
    page = run / "index.html"
    text = page.read_text(encoding="utf-8")
    block = text[text.index(START.decode()) : text.index(END.decode()) + len(END)]
    assert text.count(block) == 1 and changed_since(signed, run) == []
    spoilt = {
        "second block": text.replace(block, block * 2),
        "elsewhere": text.replace(block, "").replace("</main>", f"{block}</main>"),
        "before the title": text.replace("<h1>", f"{block}<h1>"),
        "in a file beside": text,
    }[where]
    page.write_text(spoilt, encoding="utf-8")
    if where == "in a file beside":
        page = run / "README.md"
        page.write_text(page.read_text(encoding="utf-8") + block, encoding="utf-8")
    assert changed_since(signed, run) == [page.name]


def test_a_signed_run_is_not_replaced_by_the_next_into_the_same_folder(runs, capsys):
    home, first, *_ = runs
    run = shutil.copytree(first, home / "runs" / "kept")
    sign_run(run, name="Ada", note="", now=NOW)
    options = ["--notebooks", str(home / "notebooks"), "--out", str(run), "--force"]
    assert main(["run", str(home / "study.yml"), *options]) == 2
    assert "sign-offs.json, which replacing the run would delete" in capsys.readouterr().err


def test_a_failed_run_and_a_nameless_reviewer_do_not_sign(runs, tmp_path):
    home, first, *_ = runs
    with pytest.raises(StudyProblem, match="a sign-off needs a name; give --name"):
        sign_run(first, name=" ", note="", now=NOW)
    write_study(tmp_path)
    write_notebook(tmp_path / "notebooks", "broken", "1/0")
    failed = make_run(plan_run(tmp_path / "study.yml", notebooks=tmp_path / "notebooks"), tmp_path / "run").folder
    with pytest.raises(
        StudyProblem, match=r"failed: broken: cell \d: ZeroDivisionError: division by zero; a failed run is not"
    ):
        sign_run(failed, name="Ada", note="", now=NOW)
