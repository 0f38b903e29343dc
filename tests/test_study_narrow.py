"""A part of a study: which rows of which tables belong to it, and how it is named."""

import os
import pickle
import stat
from datetime import UTC, datetime

import pytest

from cxresearch.errors import StudyProblem, TooFewRespondents
from cxresearch.study import open_study, shared
from cxresearch.study.narrow import reference_to, split_reference

STUDY = """\
title: Markets
tables:
  responses: {source: answers.csv, id: id, wave: wave, customer: who, items: {recommend: {scale: [0, 10], role: nps}, market: {role: demographic}}}
  customers: {source: customers.csv, id: who, items: {plan: {}}}
  transactions: {source: paid.csv, customer: who, time: at, amount: amount, items: {channel: {}}}
  employees: {source: staff.csv, unit: unit, period: period, engagement: {scale: [1, 5]}}
"""
ANSWERS = """\
id,wave,who,recommend,market
1,2024,a,9,North
2,2024,b,3,South
3,2025,a,10,North
4,2025,c,7,O'Neill & Sons/Łódź?
5,2025,d,7,
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study.yml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "answers.csv").write_text(ANSWERS, encoding="utf-8")
    (tmp_path / "customers.csv").write_text("who,plan\na,full\nb,full\nc,trial\ne,trial\n", encoding="utf-8")
    paid = "who,at,amount,channel\na,2024-01-01,5,web\na,2024-01-02,6,shop\nb,2024-01-03,7,web\ne,2024-01-04,8,web\n"
    (tmp_path / "paid.csv").write_text(paid, encoding="utf-8")
    (tmp_path / "staff.csv").write_text("unit,period,engagement\nu,2024,3\n", encoding="utf-8")
    return tmp_path / "study.yml"


def test_in_a_part_what_has_one_value_there_is_no_grouping(study):
    study.write_text(study.read_text().replace("items: {plan: {}}", "items: {plan: {role: segment}}"), encoding="utf-8")
    assert open_study(study).columns("demographic", "segment") == ["market", "plan"]
    assert open_study(f"{study}?wave=2024").columns("demographic", "segment") == ["market"]  # a and b are on one plan
    assert open_study(f"{study}?wave=2025").columns("demographic", "segment") == ["market", "plan"]
    north = open_study(f"{study}?market=North")
    assert north.column("demographic", optional=True) is None and north.column("nps") == "recommend"


def rows(part) -> dict[str, int]:
    return {name: len(part.read(name).table) for name in part.table_names}


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ("market=North", {"responses": 2, "customers": 1, "transactions": 2}),
        ("wave=2025", {"responses": 3, "customers": 2, "transactions": 2}),
        ("plan=full", {"responses": 3, "customers": 2, "transactions": 3}),
        ("channel=web", {"responses": 3, "customers": 3, "transactions": 3}),
        ("market=North&wave=2024", {"responses": 1, "customers": 1, "transactions": 2}),
        ("market=North&channel=web", {"responses": 2, "customers": 1, "transactions": 1}),
    ],
)
def test_every_table_is_narrowed_by_its_column_or_by_its_customers(study, asked, left):
    assert rows(open_study(f"{study}?{asked}")) == left


def test_a_table_that_cannot_be_narrowed_is_not_in_the_part_and_says_so(study):
    part = open_study(f"{study}?market=North")
    assert part.lacks({"tables": ["employees"]}) == (
        "needs table employees, which has neither market nor customers to be narrowed by"
    )
    assert open_study(study).lacks({"tables": ["employees"]}) is None


def test_the_waterfall_counts_what_the_part_leaves_out(study):
    steps = open_study(f"{study}?market=South").waterfall("responses")
    assert steps[["step", "rows", "removed"]].values.tolist()[3:] == [["narrowed", 1, 4], ["used", 1, 0]]
    assert steps["reason"].iloc[3] == "4 rows not market = South"


@pytest.mark.parametrize(
    "value", ["North", "A/B", "../..", "", "a&b=c", 'O\'Neill "x"', "50 % off?", "Łódź 東京", "x" * 300, "#1\n", "+"]
)
def test_a_reference_holds_any_value(tmp_path, value):
    only = (("market", value), ("wave", "2024"))
    reference = reference_to(tmp_path / "study.yml", only)
    assert split_reference(reference) == (tmp_path / "study.yml", only)
    assert os.path.dirname(reference) == str(tmp_path) and reference.isascii() and not {"'", '"'} & set(reference)


def test_a_value_with_every_kind_of_sign_finds_its_rows(study):
    only = (("market", "O'Neill & Sons/Łódź?"),)
    assert len(open_study(reference_to(study, only)).responses) == 1


def test_a_file_with_a_question_mark_in_its_name_is_a_file(study):
    odd = study.with_name("what?.yml")
    odd.write_text(STUDY, encoding="utf-8")
    assert open_study(odd).only == ()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("markt=North", "study.yml has no column 'markt'; did you mean 'market'?; there are "),
        ("market", "'market' after the study's name is not COLUMN=VALUE, joined by &"),
    ],
)
def test_a_wrong_part_is_refused(study, asked, message):
    with pytest.raises(StudyProblem) as caught:
        open_study(f"{study}?{asked}")
    assert str(caught.value).startswith(message)


def test_a_part_without_rows_is_refused(study):
    with pytest.raises(TooFewRespondents) as caught:
        open_study(f"{study}?market=Nowhere").responses  # noqa: B018
    assert str(caught.value) == "study.yml: no row of table responses is left by market = Nowhere"


# --- tables lent to kernels ------------------------------------------------------------------------------------------


def test_lent_tables_are_not_read_again_and_leave_nothing(study, tmp_path, monkeypatch):
    whole, work = open_study(study), tmp_path / "work"
    work.mkdir()
    whole.load_all()
    with shared.shared_tables(whole, work, seen=shared.signature(whole)):
        assert list(work.iterdir()) == []  # the file has no name
        monkeypatch.setattr("cxresearch.study.opened.load_table", None)
        for reference in (study, f"{study}?market=North"):
            assert rows(open_study(reference)) == rows(open_study(reference))
        assert open_study(study).responses.table.equals(whole.responses)
    assert shared.VARIABLE not in os.environ


def test_a_file_that_changes_under_a_batch_is_refused(study, tmp_path):
    whole = open_study(study)
    with shared.shared_tables(whole, tmp_path, seen=shared.signature(whole)):
        study.with_name("paid.csv").write_text("who,at,amount,channel\na,2024-01-01,5,web\n", encoding="utf-8")
        with pytest.raises(StudyProblem) as caught:
            open_study(study).responses  # noqa: B018
    assert str(caught.value) == (
        "paid.csv changed since this batch of reports began; start again when the files are complete"
    )


def test_tables_that_are_gone_or_another_study_s_are_read_from_the_files(study, tmp_path, monkeypatch):
    monkeypatch.setenv(shared.VARIABLE, f"token {tmp_path / 'gone'}")
    assert rows(open_study(study))["responses"] == 5
    with open(tmp_path / "other", "wb") as file:
        file.write(b"token")
        pickle.dump({"signature": {"elsewhere": (1, 2)}, "sizes": {}}, file)
    monkeypatch.setenv(shared.VARIABLE, f"token {tmp_path / 'other'}")
    assert rows(open_study(study))["responses"] == 5


@pytest.mark.parametrize("content", [b"", b"tok", b"not a pickle, and not lent by this batch"])
def test_a_file_that_took_the_number_of_the_lent_one_is_not_read(study, tmp_path, monkeypatch, content):
    (tmp_path / "other").write_bytes(content)
    monkeypatch.setenv(shared.VARIABLE, f"token {tmp_path / 'other'}")
    assert rows(open_study(study))["responses"] == 5


def test_without_nameless_files_the_tables_lie_in_one_for_the_owner_alone(study, tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "DESCRIPTORS", tmp_path / "none")
    whole = open_study(study)
    with shared.shared_tables(whole, tmp_path, seen=shared.signature(whole)):
        place = os.environ[shared.VARIABLE].partition(" ")[2]
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o600
        assert open_study(study).responses.table.equals(whole.responses)
    assert not os.path.exists(place)


# --- age -------------------------------------------------------------------------------------------------------------


def test_a_file_older_than_declared_is_refused(study):
    text = study.read_text(encoding="utf-8").replace("customers.csv, id", "customers.csv, max_age: 3 days, id")
    study.write_text(text, encoding="utf-8")
    open_study(study).require_fresh()
    os.utime(study.with_name("customers.csv"), (1_700_000_000, 1_700_000_000))
    with pytest.raises(StudyProblem) as caught:
        open_study(study).require_fresh(now=datetime(2023, 11, 20, tzinfo=UTC))
    assert str(caught.value) == (
        "study.yml, line 4: customers.csv was last changed 5 days ago, on 2023-11-14 22:13 UTC; max_age is 3 days; "
        "fetch it again, or raise max_age"
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("source: customers.csv, max_age: soon", "'soon' is no age; write 90 minutes, 12 hours, 3 days or 2 weeks"),
        (
            "database: postgresql://host/x, query: select 1, max_age: 3 days",
            "max_age is that of a file; of a database address it cannot be known",
        ),
    ],
)
def test_an_age_that_means_nothing_is_refused(study, written, message):
    text = study.read_text(encoding="utf-8").replace("source: customers.csv", written)
    study.write_text(text, encoding="utf-8")
    with pytest.raises(StudyProblem) as caught:
        open_study(study)
    assert str(caught.value).endswith(message)
