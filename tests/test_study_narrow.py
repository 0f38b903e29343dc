"""A part of a study: which rows of which tables belong to it, and how it is named."""

import os
import pickle
import re
import stat
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest

from cxresearch.errors import StudyProblem, TooFewRespondents
from cxresearch.runs.plan import cells_of
from cxresearch.study import open_study, shared
from cxresearch.study.narrow import reference_to, split_reference

STUDY = """\
title: Markets
privacy: {minimum_base: 1}
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


@pytest.mark.parametrize(("asked", "left"), [
    ("market=North", [2, 1, 2]), ("wave=2025", [3, 2, 2]), ("plan=full", [3, 2, 3]), ("channel=web", [3, 3, 3]),
    ("market=North&wave=2024", [1, 1, 2]),
])  # fmt: skip
def test_every_table_is_narrowed_by_its_column_or_by_its_customers(study, asked, left):
    found = rows(open_study(f"{study}?{asked}"))
    assert found == dict(zip(["responses", "customers", "transactions"], left, strict=True))


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


def test_a_text_keeps_its_decimals_and_is_another_group_than_the_number_without(study):
    answers = ANSWERS.replace("North", "2.0").replace("South", "2")
    study.with_name("answers.csv").write_text(answers, encoding="utf-8")
    whole = open_study(study)
    assert {cell.only: cell.rows for cell in cells_of(whole, ["market"])} == {
        (("market", "2"),): 1, (("market", "2.0"),): 2, (("market", "O'Neill & Sons/Łódź?"),): 1,
    }  # fmt: skip
    assert [len(open_study(f"{study}?market={value}").responses) for value in ("2", "2.0")] == [1, 2]
    numbers = pd.DataFrame({"who": list("abc"), "plan": [2.0, 3.5, np.nan]})
    numbers.to_parquet(study.with_name("customers.parquet"))
    study.write_text(STUDY.replace("customers.csv", "customers.parquet"), encoding="utf-8")
    assert {cell.only[0][1]: cell.rows for cell in cells_of(open_study(study), ["plan"])} == {"2": 2, "3.5": 1}


def test_a_column_that_is_blank_throughout_is_nobody_s_group(study):
    study.with_name("answers.csv").write_text("id,wave,who,recommend,market\n1,2024,a,9,\n2,2024,b,3,\n", encoding="utf-8")
    with pytest.raises(StudyProblem, match="--each market: none of 0 values"):
        cells_of(open_study(study), ["market"])
    with pytest.raises(TooFewRespondents, match="the part asked for by market has fewer than 1 people"):
        open_study(f"{study}?market=North").read("responses")
    programme = "programme: {from: 2025-01-01, unit: market, treated: [North]}\n"
    study.write_text(STUDY + programme, encoding="utf-8")
    with pytest.raises(StudyProblem, match="programme.treated names 'North', which no row of responses holds; they hold no"):
        open_study(study).read("responses")


def test_a_value_with_every_kind_of_sign_finds_its_rows(study):
    only = (("market", "O'Neill & Sons/Łódź?"),)
    assert len(open_study(reference_to(study, only)).responses) == 1


def test_a_file_with_a_question_mark_in_its_name_is_a_file(study):
    odd = study.with_name("what?.yml")
    odd.write_text(STUDY, encoding="utf-8")
    assert open_study(odd).only == ()


@pytest.mark.parametrize(("asked", "message"), [
    ("markt=North", "study.yml has no column 'markt'; did you mean 'market'?; there are "),
    ("market=North&channel=web", "study.yml: no table has market and channel at once, and customers by which"),
    ("market", "'market' after the study's name is not COLUMN=VALUE, joined by &"),
])  # fmt: skip
def test_a_wrong_part_is_refused(study, asked, message):
    with pytest.raises(StudyProblem) as caught:
        open_study(f"{study}?{asked}")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("base", "value"), [(1, "Nowhere"), (3, "Nowhere"), (3, "South"), (3, "North")])
def test_a_part_under_the_base_is_refused_whether_or_not_anybody_is_in_it(study, base, value):
    study.write_text(STUDY.replace("minimum_base: 1", f"minimum_base: {base}"), encoding="utf-8")
    with pytest.raises(TooFewRespondents) as caught:
        open_study(f"{study}?market={value}").customers  # noqa: B018
    assert str(caught.value) == (
        f"study.yml: the part asked for by market has fewer than {base} people or rows of table responses, the minimum "
        "base; ask for a larger part"
    )


def test_a_value_that_few_customers_have_is_under_the_base_however_much_they_pay(study):
    text = STUDY.replace("minimum_base: 1", "minimum_base: 2")
    study.write_text(re.sub("  responses: .*\n", "", text), encoding="utf-8")
    assert rows(open_study(f"{study}?channel=web"))["transactions"] == 3
    study.with_name("paid.csv").write_text("who,at,amount,channel\n" + "a,2024-01-01,5,web\n" * 3, encoding="utf-8")
    with pytest.raises(TooFewRespondents, match="fewer than 2 people or rows of table customers"):
        rows(open_study(f"{study}?channel=web"))


def test_a_part_of_a_part_is_narrowed_by_both(study):
    part = open_study(f"{study}?market=North").narrowed((("wave", "2024"),))
    assert part.reference == f"{study.resolve()}?market=North&wave=2024" and len(part.responses) == 1


# --- columns that divide nobody into groups --------------------------------------------------------------------------

HELD = """\
title: Guarded
privacy: {minimum_base: 2}
tables:
  responses:
    source: answers.csv
    id: mail
    customer: acct
    wave: wave
    strata: line
    items:
      recommend: {scale: [0, 10], role: nps}
      market: {role: demographic}
      again: {column: mail}
      told: {column: remark, role: verbatim, not_applicable: ["-"]}
      copied: {column: remark}
      whom: {column: person, personal: true}
      member: {column: card, role: respondent}
      served: {column: " agent_no "}
      caller: {column: caller, labels: {"1": "+48 600 700 800", "2": "+48 600 700 801"}}
      desk: {column: desk}
  interactions:
    source: calls.csv
    customer: who
    time: at
    agent: clerk
    text: note
    channel: channel
    items: {handled: {column: clerk}, account: {column: acct}, said: {column: note}}
"""
SECRET = "jan.kowalski"


@pytest.fixture
def held(tmp_path):
    (tmp_path / "study.yml").write_text(HELD, encoding="utf-8")
    lines = [
        f"{SECRET}{i}@mail.pl,a{i},2024,+48 600 100 20{i % 2},{i % 11},North,ring {SECRET},Jan Kowalski,{i},77,"
        f"{1 + i % 2},{'front' if i > 3 else f'ask {SECRET}@mail.pl'}"
        for i in range(20)
    ]
    header = "mail,acct,wave,line,recommend,market,remark,person,card,agent_no,caller,desk"
    (tmp_path / "answers.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    calls = [f"a{i},2024-01-0{1 + i % 9},Ewa,call {SECRET},{SECRET}@mail.pl,a{i}" for i in range(20)]
    (tmp_path / "calls.csv").write_text("\n".join(["who,at,clerk,note,channel,acct", *calls]) + "\n", encoding="utf-8")
    return tmp_path / "study.yml"


PHONE = "contacts: phone (cells: 100 % of filled cells are international phone numbers)"
REFUSED = {
    **dict.fromkeys("respondent customer agent again member handled account".split(), "ids of people"),
    **dict.fromkeys("told told_met copied text said".split(), "what people wrote"),
    "served": "ids of people, as its name says", "whom": "what names a person (personal: true)", "stratum": PHONE, "caller": PHONE,
    "channel": "contacts: e-mail (cells: 100 % of filled cells are e-mail addresses)", "desk": "contacts: e-mail in some of its values",
}  # fmt: skip


@pytest.mark.parametrize("column", REFUSED)
@pytest.mark.parametrize("how", ["each", "part"])
def test_a_column_of_persons_makes_no_part_and_no_report(held, column, how):
    value = f"ask%20{SECRET}%40mail.pl" if column == "desk" else SECRET
    with pytest.raises(StudyProblem) as caught:
        if how == "each":
            cells_of(open_study(held), ["market", column])
        else:
            open_study(f"{held}?{column}={value}").load_all()
    said = str(caught.value)
    assert said.startswith(f"study.yml: column {column} of table ")
    assert f" holds {REFUSED[column]}, and a report is" in said
    assert said.endswith("divide by a demographic, a segment or the wave instead (market, wave)")
    assert not re.search(f"{SECRET}|Kowalski|600|Ewa", said)


@pytest.mark.parametrize("column", ["Respondent", "COMMENT", "told ", "mail", "remark"])
def test_a_column_is_known_by_the_study_s_name_alone(held, column):
    with pytest.raises(StudyProblem, match="has no column"):
        open_study(f"{held}?{quote(column)}=x")


# --- tables lent to kernels ------------------------------------------------------------------------------------------


@contextmanager
def lending(whole, folder):
    """Stand in for a kernel that is lent the tables of a study."""
    with shared.shared_tables(whole, folder, seen=shared.signature(whole)) as lent, pytest.MonkeyPatch.context() as patch:
        assert shared.VARIABLE not in os.environ
        patch.setenv(shared.VARIABLE, lent[shared.VARIABLE])
        yield


def test_lent_tables_are_not_read_again_and_leave_nothing(study, tmp_path, monkeypatch):
    whole, work = open_study(study), tmp_path / "work"
    work.mkdir()
    whole.load_all()
    with lending(whole, work):
        assert list(work.iterdir()) == []  # the file has no name
        monkeypatch.setattr("cxresearch.study.study.load_table", None)
        for reference in (study, f"{study}?market=North"):
            assert rows(open_study(reference)) == rows(open_study(reference))
        assert open_study(study).responses.table.equals(whole.responses.table)


def test_a_file_that_changes_under_a_batch_is_refused(study, tmp_path):
    whole = open_study(study)
    with lending(whole, tmp_path):
        study.with_name("paid.csv").write_text("who,at,amount,channel\na,2024-01-01,5,web\n", encoding="utf-8")
        with pytest.raises(StudyProblem) as caught:
            open_study(study).responses  # noqa: B018
    assert str(caught.value) == (
        "paid.csv changed since this run began; start again when the files are complete"
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
    with lending(whole, tmp_path):
        place = os.environ[shared.VARIABLE].partition(" ")[2]
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o600
        assert open_study(study).responses.table.equals(whole.responses.table)
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
        "study.yml, line 5: customers.csv was last changed 5 days ago, on 2023-11-14 22:13 UTC; max_age is 3 days; "
        "fetch it again, or raise max_age"
    )


@pytest.mark.parametrize(("written", "message"), [
    ("source: customers.csv, max_age: soon", "'soon' is no age; write 90 minutes, 12 hours, 3 days or 2 weeks"),
    ("database: postgresql://host/x, query: select 1, max_age: 3 days", "max_age is that of a file; of a database address it cannot be known"),
])  # fmt: skip
def test_an_age_that_means_nothing_is_refused(study, written, message):
    text = study.read_text(encoding="utf-8").replace("source: customers.csv", written)
    study.write_text(text, encoding="utf-8")
    with pytest.raises(StudyProblem) as caught:
        open_study(study)
    assert str(caught.value).endswith(message)
