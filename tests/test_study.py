"""A study file becomes checked tables: names, codes, roles, design, waterfall; and the three real studies."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from cxresearch import open_study
from cxresearch.cli import main
from cxresearch.errors import StudyProblem
from cxresearch.privacy import pseudonymise, study_key
from cxresearch.study.codes import Cells, Writing, code_key, dates

AIRPORT = """
title: Airport
currency: USD
tables:
  responses:
    sources: {"2017": a.csv, "2018": b.csv}
    id: RESPNUM
    weight: WEIGHT
    strata: STRATA
    customer: card
    items:
      recommend: {column: NETPRO, scale: [0, 10], missing: [11], role: nps, label: Would recommend}
      overall: {column: Q7ALL, scale: [1, 5], missing: [0, Blank], role: csat}
      walkways: {column: {"2017": Q7WALKWAYS, "2018": Q7WALKWAY}, scale: [1, 5], missing: [0],
                 not_applicable: [6], role: driver}
      time: {column: STRATA, labels: {1: AM, 2: MID}, role: [demographic, control], label: Time of day}
  customers:
    source: customers.csv
    id: card
    since: opened
    revenue: {column: spend, from: 2018-01-01, to: 2018-12-31, negative: zero, missing: drop}
    items:
      tenure: {type: number, role: control}
      home:
"""
A = "RESPNUM,NETPRO,Q7ALL,Q7WALKWAYS,STRATA,WEIGHT,card\n1,10,5,6,1,0.5,007\n2,11,Blank,4,2,1.5,17.0\n3,0,4.0,,1,1,\n"
B = "RESPNUM,NETPRO  ,Q7ALL,Q7WALKWAY,STRATA,WEIGHT,card\n1, 9 ,0,0,1.0,2,007\n2,6,3,5,2,1,99\n"
CUSTOMERS = "card,opened,spend,tenure,home\n007,2010-02-03,120.5,3,North\n17,2011-01-01,-4,2,\n18,,,1,South\n"


def pseudonyms(study, *ids):
    return pseudonymise(pd.Series(ids), key=study_key(study.title)).tolist()


def write(folder, text, **files):
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    (folder / "study.yml").write_text(text, encoding="utf-8")
    return folder / "study.yml"


@pytest.fixture
def airport(tmp_path):
    return open_study(write(tmp_path, AIRPORT, a=A, b=B, customers=CUSTOMERS))


def one_item(tmp_path, item, values, *, table=""):
    """Open a study of one item whose column is `values`, and return the responses."""
    text = f"title: T\ntables:\n  responses:\n    source: a.csv\n{table}    items:\n      x: {item}\n"
    return open_study(write(tmp_path, text, a="x,y\n" + "".join(f'"{v}",\n' for v in values))).responses.table


def test_columns_take_canonical_names_and_item_keys(airport):
    expected = "respondent wave customer weight stratum recommend overall walkways walkways_met time"
    assert list(airport.responses.table.columns) == expected.split()
    assert list(airport.customers.table.columns) == ["customer", "since", "revenue", "tenure", "home"]


@pytest.mark.parametrize(("column", "values"), [
    ("recommend", [10, None, 0, 9, 6]), ("overall", [5, None, 4, None, 3]), ("walkways", [None, 4, None, None, 5]),
    ("walkways_met", [False, True, True, True, True]), ("wave", ["2017"] * 3 + ["2018"] * 2),
    ("stratum", ["1", "2", "1", "1", "2"]), ("time", ["AM", "MID", "AM", "AM", "MID"]),
])  # fmt: skip
def test_missing_and_not_applicable_are_different_and_names_are_names(airport, column, values):
    found = airport.responses.table[column]
    assert found.astype(object).where(found.notna(), None).tolist() == values
    assert found.dtype == bool or column != "walkways_met"


def test_ids_keep_leading_zeros_and_whole_floats_equal_whole_numbers(airport):
    ids = airport.read("responses").table["customer"]
    assert ids.tolist()[:2] == ["007", "17"] and pd.isna(ids.iloc[2])
    assert Cells(pd.Series([17.0, np.nan])).names.tolist() == ["17"]
    assert Cells(pd.Series([2**60 + 1])).names.tolist() == [str(2**60 + 1)]


def test_revenue_follows_the_declared_decisions(airport):
    customers = airport.customers.table
    assert customers["customer"].tolist() == pseudonyms(airport, "007", "17")
    assert customers["revenue"].tolist() == [120.5, 0.0]
    assert airport.waterfall("customers")["reason"][1] == (
        "1 row with missing revenue (missing: drop); 1 row with negative revenue set to 0 (negative: zero)"
    )


def test_waterfall_adds_up_and_names_what_was_received(airport):
    airport.matched("responses", "customers")
    for name in airport.table_names:
        table = airport.waterfall(name)
        assert (table["rows"].shift().fillna(table["rows"].iloc[0]) - table["removed"] == table["rows"]).all()
        assert table["step"].tolist()[:3] == ["received", "valid", "deduplicated"] and table["step"].iloc[-1] == "used"
    assert airport.waterfall("responses")["reason"].iloc[0] == "a.csv: 3 rows; b.csv: 2 rows"


def test_matched_keeps_the_latest_answered_response_or_all_and_counts(airport):
    joined = airport.matched("responses", "customers").table
    assert joined[["customer", "wave", "recommend", "revenue"]].values.tolist() == [
        [*pseudonyms(airport, "007"), "2018", 9.0, 120.5]
    ]
    matched = airport.waterfall("responses").set_index("step").loc["matched"]
    assert (matched["rows"], matched["removed"]) == (1, 4)
    assert matched["reason"] == (
        "1 row without a customer; 1 row whose customer is not in customers; 1 row without any answered outcome; 1 "
        "row earlier than the customer's latest"
    )
    every = airport.matched("responses", "customers", keep="all").table
    assert every["customer"].tolist() == pseudonyms(airport, "007", "17", "007")
    assert airport.waterfall("responses")["step"].tolist()[2:] == ["deduplicated", "matched", "used"]
    assert airport.waterfall("responses")["rows"].iloc[-1] == 3


def test_latest_by_asked_at_wins_over_row_order(tmp_path):
    text = """
title: T
tables:
  responses:
    source: r.csv
    customer: c
    dayfirst: true
    items: {score: {scale: [1, 5], role: csat}, on: {role: asked_at}}
  customers: {source: c.csv, id: c, items: {on: }}
"""
    study = open_study(write(tmp_path, text, r="c,score,on\n1,5,02.10.2020\n1,1,3/9/2020\n1,,4.10.2020\n", c="c,on\n1,x\n"))
    joined = study.matched("responses", "customers").table
    assert joined["score"].tolist() == [5.0] and joined["on"].tolist() == [pd.Timestamp(2020, 10, 2)]
    assert study.waterfall("responses")["reason"].iloc[3].endswith("on as in responses, which customers have too")


def test_numbered_waves_are_ordered_as_numbers(tmp_path):
    text = "title: T\ntables:\n  responses: {source: r.csv, id: i, wave: w, customer: c, items: {s: {scale: [1, 5], role: csat}}}\n"
    text += "  customers: {source: c.csv, id: c}\n"
    study = open_study(write(tmp_path, text, r="i,w,c,s\n1,10,1,5\n1,9,1,2\n", c="c\n1\n"))
    assert study.matched("responses", "customers").table["s"].tolist() == [5.0]


def test_roles(airport):
    assert airport.column("nps") == "recommend" and airport.column("csat") == "overall"
    assert airport.column("outcome") == "overall"  # falls back to csat
    assert airport.column("verbatim", optional=True) is None and airport.column("cluster", optional=True) is None
    assert airport.columns("control") == ["time", "tenure"] and airport.columns("control", table="customers") == ["tenure"]
    assert airport.columns("nps", "csat", "outcome", "driver") == ["recommend", "overall", "walkways"]
    named = ["wave", "weight", "stratum", "customer", "revenue"]
    assert [airport.column(column) for column in named] == named


def test_a_declared_outcome_comes_before_the_csat_item(tmp_path):
    text = "title: T\ntables: {responses: {source: a.csv, items: {s: {scale: [1, 5], role: csat}, o: {scale: [1, 5], role: outcome}}}}\n"
    assert open_study(write(tmp_path, text, a="s,o\n1,2\n")).column("outcome") == "o"


def test_a_survey_carries_what_the_study_says_of_it(airport):
    survey = airport.responses
    assert (survey.weight, survey.strata, survey.cluster, survey.fpc) == ("weight", "stratum", None, None)
    assert (survey.wave, survey.respondent, survey.asked_at) == ("wave", "respondent", None)
    assert survey.labels["recommend"] == "Would recommend" and survey.label("overall") == "overall"
    assert survey.scales == {"recommend": (0, 10), "overall": (1, 5), "walkways": (1, 5)}
    assert survey.roles["time"] == ("demographic", "control")
    assert (survey.min_base, survey.currency, survey.wave_order) == (10, "USD", ("2017", "2018"))


def test_the_floor_travels_in_every_table(tmp_path):
    text = AIRPORT + "privacy: {minimum_base: 25}\n"
    study = open_study(write(tmp_path, text, a=A, b=B, customers=CUSTOMERS))
    assert study.min_base == study.responses.min_base == study.customers.min_base == 25
    assert study.matched("responses", "customers").min_base == 25


def test_codebook_has_one_row_an_item(airport):
    codebook = airport.codebook.set_index("item")
    column = "2017: Q7WALKWAYS, 2018: Q7WALKWAY"
    assert codebook.loc["walkways"].tolist() == ["responses", column, "walkways", "driver", "1-5", "0", "6", ""]
    assert len(codebook) == 6 and codebook.loc["time", "labels"] == "1: AM, 2: MID"


def test_a_table_is_read_when_it_is_first_asked_for(tmp_path):
    study = open_study(write(tmp_path, AIRPORT, a=A, b=B, customers="card,opened,spend,tenure,home\n"))
    assert len(study.responses) == 5
    with pytest.raises(StudyProblem, match="customers.csv has a header but no rows"):
        study.load_all()
    (tmp_path / "a.csv").unlink()
    assert len(study.responses) == 5  # read once


def test_a_notebook_that_adds_a_column_does_not_change_the_study(airport):
    responses = airport.responses.table
    responses["new"] = 1
    responses.loc[0, "recommend"] = 3
    assert "new" not in airport.responses.table.columns and airport.responses.table["recommend"].iloc[0] == 10


def test_files_name_each_source_once(tmp_path):
    text = (
        "title: T\ntables:\n  responses: {source: a.csv, items: {x: }}\n  customers: {source: a.csv, id: x}\n  "
        "transactions: {source: '?.csv', customer: x, time: x, amount: x}\n"
    )
    study = open_study(write(tmp_path, text, a="x\n1\n", b="x\n1\n"))
    assert [p.name for p in study.files] == ["a.csv", "b.csv"] and all(p.is_file() for p in study.files)


def test_a_folder_stands_for_its_study_file(tmp_path):
    write(tmp_path, AIRPORT, a=A, b=B, customers=CUSTOMERS)
    assert open_study(tmp_path).title == "Airport" and open_study(str(tmp_path)).currency == "USD"


def test_exact_repetitions_are_dropped_and_counted(tmp_path):
    text = "title: T\ntables: {responses: {source: a.csv, id: id, items: {x: {scale: [1, 5], missing: [NA]}}}}\n"
    study = open_study(write(tmp_path, text, a="id,x,unused\n1,2,a\n1,2.0,b\n1, 2 ,c\n2,NA,d\n2,,e\n"))
    assert study.responses.table["respondent"].tolist() == pseudonyms(study, "1", "2")
    row = study.waterfall("responses").set_index("step").loc["deduplicated"]
    assert (row["removed"], row["reason"]) == (3, "3 rows equal to another in every declared column")


def test_headers_that_differ_between_waves_need_a_file_for_each(tmp_path):
    text = "title: T\ntables: {responses: {source: a.csv, id: id, wave: w, items: {x: {column: {a: p, b: q}}}}}\n"
    with pytest.raises(StudyProblem, match="item x has a column per wave, but the table names no file for each wave; declare 'sources'"):
        open_study(write(tmp_path, text, a="id,w,p,q\n1,a,1,2\n"))
    with pytest.raises(StudyProblem, match="line 2: tables.customers: item x has a column per wave"):
        open_study(write(tmp_path, "title: T\ntables: {customers: {source: a.csv, id: id, items: {x: {column: {a: p}}}}}\n"))
    each = text.replace("source: a.csv", "sources: {a: a.csv, b: a.csv}").replace("wave: w, ", "")
    found = open_study(write(tmp_path, each, a="id,p,q\n1,1,2\n")).responses.table
    assert found[["wave", "x"]].values.tolist() == [["a", "1"], ["b", "2"]], "wide waves: one file stands for both"


# -- codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("item", "values", "meant"), [
    ("{scale: [1, 5]}", ["5", "5.0", " 5 ", "05", "+5", "5."], [5.0] * 6),
    # codes compare by value, and text codes exactly
    ("{scale: [1, 5], missing: [0.0, Blank]}", ["0", "0.0", " 0 ", "00", "Blank", "", "3"], [None] * 6 + [3.0]),
    ("{scale: [1, 5], missing: [Blank]}", ["BLANK", "1"], r"a.csv: x holds 1 value that is not a number \('BLANK': 1\); declare"),
    # and keep the text that the author typed
    ("{labels: {NO: Norway, 010: ten, 1_000: many, 12:30: noon, on: switched, 0x1F: hex, null: void, 1e3: thousand}}",
     ["NO", "010", "1_000", "12:30", "on", "0x1F", "null", "1e3"], "Norway ten many noon switched hex void thousand".split()),
    ("{labels: {010: ten}}", ["10"], "without a label"), ("{labels: {NO: Norway}}", ["False"], "without a label"),
    # an item without a scale stays as it is
    ("{missing: [NA]}", ["007", "NA", "", "1.0"], ["007", None, None, "1.0"]),
    # but for spaces around it: they would make two groups of one
    ("{role: demographic}", ["North ", " North", "North", "South"], ["North"] * 3 + ["South"]),
])  # fmt: skip
def test_cells_and_codes_are_what_was_typed(tmp_path, item, values, meant):
    if isinstance(meant, str):
        with pytest.raises(StudyProblem, match=meant):
            one_item(tmp_path, item, values)
    else:
        found = one_item(tmp_path, item, values)["x"]
        assert found.astype(object).where(found.notna(), None).tolist() == meant


@pytest.mark.parametrize(("left", "right", "same"), [
    ("0", 0.0, True), ("-0", "0", True), ("1.50", 1.5, True), ("010", "10", False), ("NO", "no", False), ("1_0", "10", False),
    ("9" * 17, "9" * 16 + "8", False),
])  # fmt: skip
def test_code_key(left, right, same):
    assert (code_key(left) == code_key(right)) is same


def test_what_a_terminal_would_obey_is_in_no_name(tmp_path):
    study = open_study(write(tmp_path, AIRPORT.replace("Time of day", '"\\e[31mTime"'), a=A, b=B, customers=CUSTOMERS + "19,,1,1,\x1b[31mNorth\n"))
    assert study.labels["time"] == "\\x1b[31mTime"
    assert study.customers.table["home"].tolist()[-1] == "\N{REPLACEMENT CHARACTER}[31mNorth"


def test_type_number_and_decimal_comma(tmp_path):
    found = one_item(tmp_path, "{type: number}", ["1,5", "2", "-3"], table="    decimal: ','\n")
    assert found["x"].tolist() == [1.5, 2.0, -3.0]


def spend(folder, cells, table="", revenue="", currency="USD"):
    """Open a study of accounts whose revenue is `cells`."""
    text = (
        f"title: T\ncurrency: {currency}\ntables:\n  customers:\n    source: a.csv\n    separator: ;\n{table}    id: c\n"
        f"    revenue: {{column: v, negative: keep{revenue}}}\n"
    )
    return open_study(write(folder, text, a="c;v\n" + "".join(f"{i};{v}\n" for i, v in enumerate(cells))))


COMMAS, DOTS, SPACES = ["900", "1,011", "12,345,678"], ["300,00", "1.003,50"], ["300,00", "1\u00a0003,50", "1\u202f000"]


@pytest.mark.parametrize(("cells", "table", "revenue", "values"), [
    (COMMAS, "    thousands: ','\n", "", [900, 1011, 12345678]),
    (COMMAS, "", ", thousands: ','", [900, 1011, 12345678]),
    (DOTS, "    thousands: .\n    decimal: ','\n", "", [300, 1003.5]),
    (DOTS, "", ", thousands: ., decimal: ','", [300, 1003.5]),
    (SPACES, "    thousands: ' '\n    decimal: ','\n", "", [300, 1003.5, 1000]),
    (["1'000.5", "2\u2019000"], "    thousands: apostrophe\n", "", [1000.5, 2000]),
    (["$5.50", "$ 6", "7", "$-8", "-$9"], "", "", [5.5, 6, 7, -8, -9]),
    (["(5.00)", "6.00", "($7)"], "", "", [-5, 6, -7]),
    (["5 zł", "1 000,5zł"], "    thousands: space\n    decimal: ','\n", "", [5, 1000.5]),
])  # fmt: skip
def test_money_is_read_as_it_is_written(tmp_path, cells, table, revenue, values):
    study = spend(tmp_path, cells, table, revenue, "PLN" if "zł" in cells[0] else "USD")
    assert study.customers.table["revenue"].tolist() == values
    told = study.waterfall("customers")["reason"][1]
    assert ("4 rows with $ taken off" in told) == ("$5.50" in cells)
    assert ("2 rows in brackets, read as below zero" in told) == ("(5.00)" in cells)


@pytest.mark.parametrize(("cells", "table", "told"), [
    (COMMAS, "", "declare thousands: ',' for the table ('1,011' is then 1011), or write"),
    (["1,5", "2"], "", "declare decimal: ',' for the table ('1,5' is then 1.5), or write"),
    (DOTS, "", "declare decimal: ',' and thousands: '.' for the table ('300,00' is then 300), or write"),
    (DOTS, "    decimal: ','\n", "declare thousands: '.' for the table ('1.003,50' is then 1003.5), or write"),
    (SPACES, "    decimal: ','\n", "declare thousands: ' ' for the table"),
    (["$1,000", "$2"], "", "declare thousands: ',' for the table ('1,000' is then 1000)"),
    (["1,00", "1.5"], "", "('1,00'; row 2); write plain numbers"),
    (["0,512", "3"], "", "declare decimal: ','"),
    (["$5", "€6"], "", "holds amounts in 2 currencies ('$': 1, '€': 1); convert them to one"),
    (["€5"], "", "is written in €, but study.yml says currency: USD; correct one of the two"),
    (["(5", "$5$", "-(5)", "1 2"], "", "holds 4 amounts that are no numbers"),
    (["1"], "    thousands: .\n", "decimal and thousands are both '.'; a sign is one of the two"),
    (["12,34,567"], "    thousands: ','\n", "holds 1 amount that is no number"),
])  # fmt: skip
def test_advice_on_money_fits_what_was_found(tmp_path, cells, table, told):
    with pytest.raises(StudyProblem, match=re.escape(told)):
        spend(tmp_path, cells, table).load_all()


@pytest.mark.parametrize(("item", "table", "told"), [
    ("{type: number, thousands: .}", "", "item x: decimal and thousands are both '.'"),
    ("{type: number, thousands: ','}", "    decimal: ','\n", "item x: decimal and thousands are both ','"),
    ("{}\n  customers: {source: a.csv, id: y, revenue: {column: x, thousands: .}}", "", "revenue: decimal and thousands"),
])  # fmt: skip
def test_one_sign_for_two_is_refused_of_a_column_too(tmp_path, item, table, told):
    with pytest.raises(StudyProblem, match=re.escape(told)):
        one_item(tmp_path, item, ["1,5" if "," in item else "1.5", "1"], table=table)


@pytest.mark.parametrize(("sign", "table"), [(",", "    thousands: ','\n"), (".", "    decimal: ','\n    thousands: .\n")])
def test_the_decimal_sign_of_an_item_is_not_its_table_s_thousands(tmp_path, sign, table):
    cells = [f"1{sign}5", f"2{sign}250", "3"]
    assert one_item(tmp_path, f"{{type: number, decimal: '{sign}'}}", cells, table=table)["x"].tolist() == [1.5, 2.25, 3]


def test_a_number_too_large_to_be_held_is_no_number(tmp_path):
    with pytest.raises(StudyProblem, match="x holds 2 values that are not numbers .'-1e400': 1, '1e400': 1"):
        one_item(tmp_path, "{type: number}", ["1", "1e400", "-1e400"])


NINES = "title: T\ntables:\n  responses:\n    source: a.csv\n{}    items:\n      rec: {{scale: [0, 10], role: nps, target: 40}}\n{}"
RATED = '      "q*": {scale: [1, 5], role: driver}\n      q1:\n      q2: {missing: [9]}\n      q3: {role: control}\n'
NINE = "rec,q1,q2,q3\n9,9,9,1\n10,1,5,9\n"


@pytest.mark.parametrize(("said", "own"), [("not applicable", "9"), ("not_applicable", "'9.0'")])
def test_a_code_and_a_pattern_speak_for_many_items(tmp_path, said, own):
    items = RATED.replace("missing: [9]", f"missing: [{own}]")
    study = open_study(write(tmp_path, NINES.format(f"    codes: {{9: {said}}}\n", items), a=NINE))
    table = study.responses.table
    assert table["rec"].tolist() == [9, 10], "what lies on a scale is an answer there"
    assert table["q1_met"].tolist() == [False, True] and table["q3_met"].tolist() == [True, False]
    assert "q2_met" not in table and table["q2"].isna().tolist() == [True, False], "an item's own codes win"
    assert study.columns("driver") == ["q1", "q2"] and study.columns("control") == ["q3"]
    assert study.targets == {"rec": 40}


def test_a_code_and_a_pattern_answer_what_is_only_guessed(tmp_path):
    guessed = "".join(f"      q{i}: {{scale: [1, 5], missing: [9], role: control, confirmed: false}}\n" for i in (1, 2, 3))
    answer = '      "q[12]": {role: driver, confirmed: true}\n'
    path = write(tmp_path, NINES.format("    codes: {9: not applicable}\n", answer + guessed), a=NINE)
    with pytest.raises(StudyProblem, match=r"line 11: item q3 \(role control; scale 1 to 5; not applicable 9 \(1 rows\)\)$"):
        open_study(path).load_all()
    study = open_study(write(tmp_path, path.read_text().replace("q[12]", "q*"), a=NINE))
    assert study.columns("driver") == ["q1", "q2", "q3"] and study.responses.table["q2_met"].tolist() == [False, True]


@pytest.mark.parametrize(("table", "items", "told"), [
    ("    codes: {9: missing, 8: missing}\n", RATED, "tables.responses.codes: none of 4 ratings holds 8 off its scale"),
    ("    codes: {9: mising}\n", RATED, "line 5: tables.responses.codes.9 cannot be mising; did you mean 'missing'?"),
    ("    codes: {9: missing, '9.0': not applicable}\n", RATED, "line 5: tables.responses.codes: code '9.0' stands there 2 times"),
    ("", RATED.replace("q1:", "q1: {values: {1: 1, 9: 2, 9.0: 3}}"), "items.q1.values: code '9.0' stands there 2 times"),
    ("", RATED.replace("q1:", "q1: {labels: {9: a, 9.0: b}}"), "items.q1.labels: code '9.0' stands there 2 times"),
    ("", RATED.replace("[9]", "[9], not_applicable: ['9.0']"), "q2: code 9 is declared missing and not applicable"),
    ("", RATED.replace("q*", "s*"), "tables.responses: items: 's*' matches no key of an item; correct it"),
    ("", RATED.replace("role: driver", "column: x"), "items: 'q*' is a pattern of keys; it holds what they share"),
    ("", RATED.replace("role: driver", "target: 3"), "a target is that of an outcome; give the item the role nps"),
    ("    codes: {9: missing}\n    confirmed: {codes: false}\n", RATED.replace("driver}", "driver, confirmed: false}"),
     "line 6: tables.responses.codes (9: missing)\nstudy.yml, line 9: item q1 (role driver; scale 1 to 5; missing 9 (1 rows))"),
    ("", '      "q*": {scale: [1, 9]}\n      "q[12]": {confirmed: false}\n      q1: {role: driver}\n      q3:\n        confirmed: false\n      q2:\n'
     "        role: driver\n        confirmed: false\n", "line 8: item q1 (role driver; scale 1 to 9)\nstudy.yml, line 12: item q2 (role driver"),
])  # fmt: skip
def test_what_is_said_of_many_items_matches_some(tmp_path, table, items, told):
    with pytest.raises(StudyProblem, match=re.escape(told)):
        open_study(write(tmp_path, NINES.format(table, items), a=NINE)).load_all()


def test_engagement_that_is_a_guess_waits_as_items_do(tmp_path):
    study = five(tmp_path)
    text = FIVE.replace("eng, scale", "eng, confirmed: false, scale")
    (tmp_path / "study.yml").write_text(text)
    with pytest.raises(StudyProblem, match=r"line 21: item engagement \(scale 1 to 5\)$"):
        open_study(tmp_path).employees  # noqa: B018
    assert study.guesses("employees") == []


@pytest.mark.parametrize("written", [
    "mixed", "ISO8601", "%Q", "%", "%d.%m.%y%", "%U", "%U %Y", "%d.%m", "%Y", "%H:%M", "%Y-%m-%d %Z%z", "%d %d %m %Y", "%y %Y %m",
    "%Y-%m-%d %I:%M", "%Y-%m-%d %H:%M %p", "%Y-%m-%d %c", "%V %Y %u",
])  # fmt: skip
@pytest.mark.parametrize("where", ["table", "item"])
def test_a_time_format_that_says_no_day_is_refused_at_the_door(tmp_path, written, where):
    at = f"time_format: '{written}'"
    with pytest.raises(StudyProblem, match=re.escape(f"time_format: {written!r} must say when, each part once: a year (%Y")):
        one_item(tmp_path, f"{{type: date{', ' + at if where == 'item' else ''}}}", ["1"], table=f"    {at}\n" * (where == "table"))


def test_a_date_that_is_day_first_is_so_in_a_table_with_another_format(tmp_path):
    first = one_item(tmp_path, "{type: date, dayfirst: true}", ["03/04/2025"], table="    time_format: '%m/%d/%Y'\n")["x"]
    assert first.tolist() == [pd.Timestamp("2025-04-03")]


@pytest.mark.parametrize(("written", "cell", "when"), [
    ("%d.%m.%y", "03.02.25", "2025-02-03"), ("%Y%m", "202502", "2025-02-01"), ("%Y %j", "2025 034", "2025-02-03"),
    ("%a %d %b %Y", "Mon 03 Feb 2025", "2025-02-03"), ("%Y %U %w", "2025 05 1", "2025-02-03"), ("%G-W%V-%u", "2025-W06-1", "2025-02-03"),
    ("%m/%d/%Y %I:%M %p", "2/3/2025 4:15 PM", "2025-02-03 16:15"), ("%Y-%m-%d %H%%", "2025-02-03 16%", "2025-02-03 16:00"),
    (None, "2025/02/03 4:15:07 PM GMT+2", "2025-02-03 14:15:07"), (None, "2025/02/03 12:15:07 AM GMT-3", "2025-02-03 03:15:07"),
    (None, "2025/2/3", "2025-02-03"), (None, "2020-02-03T10:00:00+02:00", "2020-02-03 08:00"), (None, "", None), (None, "2025.02.03 16:15", "2025-02-03 16:15"),
])  # fmt: skip
def test_moments_are_read_as_they_are_written(tmp_path, written, cell, when):
    said = f", time_format: '{written}'" if written else ""
    assert one_item(tmp_path, f"{{type: date{said}}}", [cell])["x"].tolist() == [pd.Timestamp(when) if when else pd.NaT]
    first = one_item(tmp_path, "{role: asked_at}", ["1.2.2020 08:30"], table="    dayfirst: true\n")["x"]
    assert first.tolist() == [pd.Timestamp(2020, 2, 1, 8, 30)]
    assert dates(pd.Series([20200201]), Writing(time_format="%Y%m%d")).tolist() == [pd.Timestamp(2020, 2, 1)]


@pytest.mark.parametrize("cell", ["2025/02/03 13:15 PM GMT+2", "2025/13/03", "2/3/2025", "2025/02/03 4:15 PM CET",
                                  "2025/02/03 0:30 AM", "2025/02/03 00:30 PM UTC", "2025.02.03 13:05 AM", "2025/02/03 24:05"])
def test_a_moment_that_is_written_in_no_known_way_is_refused(tmp_path, cell):
    with pytest.raises(StudyProblem, match="x holds 1 value that is no date written as 2018-12-31"):
        one_item(tmp_path, "{type: date}", [cell])


TOTALS = "id;rec;v\n" + "".join(f"{i};{i % 11};{100 + i}\n" for i in range(1, 8)) + "Total;;728\n"
SPENT = "title: T\ntables:\n  customers:\n    source: a.csv\n    separator: ;\n    id: id\n"


@pytest.mark.parametrize("money", ["    revenue: v\n", "    items: {v: {type: number}}\n"])
def test_a_line_of_totals_is_nobody(tmp_path, money):
    with pytest.raises(StudyProblem) as caught:
        open_study(write(tmp_path, SPENT + money, a=TOTALS)).load_all()
    assert str(caught.value) == (
        "a.csv: v holds in row 9 the sum of the 7 amounts above it, 728: a line of totals is nobody; declare "
        "exclude: {id: [Total]} in tables.customers of study.yml"
    )
    study = open_study(write(tmp_path, SPENT + money + "    exclude: {id: [Total]}\n", a=TOTALS))
    assert len(study.customers.table) == 7 and study.waterfall("customers")["reason"][1] == "1 row with id Total (exclude)"
    assert len(open_study(write(tmp_path, SPENT + money, a=TOTALS.replace("728", "729"))).customers.table) == 8


def test_resolved_is_yes_or_no(tmp_path):
    text = "title: T\ntables: {interactions: {source: a.csv, customer: c, time: t, resolved: r}}\n"
    study = open_study(write(tmp_path, text, a="c,t,r\n1,2020-01-01,yes\n,2020-01-01,False\n"))
    found = study.interactions.table
    assert found["resolved"].tolist() == [True, False] and pd.isna(found["customer"].iloc[1])


def test_negative_amounts_and_blank_customers_follow_the_declaration(tmp_path):
    text = "title: T\ntables: {{transactions: {{source: a.csv, customer: c, time: t, amount: v, negative: {}, missing: drop}}}}\n"
    rows = "c,t,v\n1,2020-01-01,5\n1,2020-01-02,-5\n,2020-01-02,1\n2,,1\n"
    kept = open_study(write(tmp_path, text.format("returns"), a=rows))
    assert kept.transactions.table["amount"].tolist() == [5.0, -5.0]
    assert kept.waterfall("transactions")["reason"].iloc[1] == (
        "1 row without customer (missing: drop); 1 row without time (missing: drop); 1 row with negative amount "
        "kept as returns (negative: returns)"
    )
    dropped = open_study(write(tmp_path, text.format("drop"), a=rows))
    assert dropped.transactions.table["amount"].tolist() == [5.0] and dropped.waterfall("transactions")["removed"].iloc[1] == 3


def test_reports_keep_plain_types_and_doubtful_text(tmp_path):
    given = 'parameters: {confidence: 0.9, n: 3, on: true, market: NO, code: 010, quoted: "5"}'
    text = f"{AIRPORT}reports:\n  monthly: {{notebooks: [scorecard], each: terminal, {given}}}\n"
    report = open_study(write(tmp_path, text, a=A, b=B, customers=CUSTOMERS)).reports["monthly"]
    assert report.notebooks == ("scorecard",) and report.each == ("terminal",)
    assert report.parameters == {"confidence": 0.9, "n": 3, "on": True, "market": "NO", "code": "010", "quoted": "5"}


# -- what a notebook needs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("needs", "what"), [
    ({"tables": ["responses", "customers"], "roles": ["nps", "driver", "revenue"]}, None), ({}, None),
    ({"roles": ["ces|outcome"]}, None), ({"tables": ["transactions"]}, "table transactions"),
    ({"roles": ["verbatim"]}, "an item with role verbatim"), ({"roles": ["ces|verbatim"]}, "an item with role ces or verbatim"),
    ({"tables": ["customers"], "roles": ["driver"]}, "an item with role driver"), ({"roles": ["cluster"]}, "cluster"),
])  # fmt: skip
def test_lacks_gives_the_reason(airport, needs, what):
    assert airport.lacks(needs) == (what and f"needs {what}, which study.yml does not declare")


# -- the schema for editors ------------------------------------------------------------------------------------------


def test_the_schema_that_the_command_line_prints_accepts_the_studies(root, capsys):
    jsonschema = pytest.importorskip("jsonschema")
    assert main(["schema"]) == 0
    valid = jsonschema.Draft202012Validator(json.loads(capsys.readouterr().out))
    for name in (*(f"tests/studies/{n}.yml" for n in ("airport", "garden_centre", "grocery")), "data/example/study.yml"):
        # An editor sees the types of YAML; only dates are text there.
        document = json.loads(json.dumps(yaml.safe_load((root / name).read_text(encoding="utf-8")), default=str))
        valid.validate(document)
        document["tables"]["respones"] = {}
        with pytest.raises(jsonschema.ValidationError, match="respones"):
            valid.validate(document)
    models = valid.schema["$defs"]
    assert models["Responses"]["description"] == "One respondent in one wave."
    assert models["Costs"]["properties"]["source"]["description"].startswith("The file, relative to this one")


# -- the bundled example and the real studies ------------------------------------------------------------------------


def net_promoter(scores, weights=None):
    scores = np.asarray(scores, dtype=float)
    return np.average(np.where(scores >= 9, 100, np.where(scores <= 6, -100, 0)), weights=weights)


def test_example_study_opens(root):
    study = open_study(root / "data" / "example" / "study.yml")
    study.load_all()
    assert study.table_names == ["responses", "customers", "transactions", "interactions", "employees", "costs"]
    assert study.responses.table.notna()["respondent"].all() and study.columns("driver")
    joined = study.matched("responses", "customers").table
    assert joined["customer"].is_unique and study.waterfall("responses")["rows"].iloc[-1] == len(joined)


@pytest.fixture(scope="module")
def passengers(root, shared):
    return open_study(root / "tests" / "studies" / "airport.yml")


@pytest.mark.parametrize(("wave", "n", "plain", "weighted"), [("2017", 2746, 39.8, 40.4), ("2018", 2650, 31.0, 35.1)])
def test_airport_net_promoter_score_is_39_8_then_31_0_sfo_2017_2018(passengers, wave, n, plain, weighted):
    responses = passengers.responses.table
    answered = responses[(responses["wave"] == wave) & responses["recommend"].notna()]
    assert len(answered) == n
    assert round(net_promoter(answered["recommend"]), 1) == plain
    assert round(net_promoter(answered["recommend"], answered["weight"]), 1) == weighted


def test_airport_touchpoints_keep_never_used_apart(passengers):
    study, responses = passengers, passengers.responses.table
    assert len(study.columns("driver")) == 14 and study.column("outcome") == "overall"
    # survey_2017.csv: Q7PARK holds 1410 sixes (never used) and 150 zeros (blank); survey_2018.csv: 1534 and 210
    assert (~responses["parking_met"]).groupby(responses["wave"]).sum().to_dict() == {"2017": 1410, "2018": 1534}
    assert responses["parking"].isna().groupby(responses["wave"]).sum().to_dict() == {"2017": 1560, "2018": 1744}
    assert responses["overall"].isna().groupby(responses["wave"]).sum().to_dict() == {"2017": 143, "2018": 184}
    assert responses[study.columns("driver")].stack().dropna().between(1, 5).all()
    assert responses["time_of_day"].value_counts().to_dict() == {"MID": 2075, "PM": 1890, "AM": 1675}
    assert responses["age"].isna().sum() == 96 + 175 and responses["gender"].isna().sum() == 168 + 170


def test_airport_11_would_be_refused_where_it_is_not_declared(root, shared, tmp_path):
    text = (root / "tests" / "studies" / "airport.yml").read_text(encoding="utf-8")
    text = text.replace("../../../shared", str(shared)).replace("missing: [11], ", "")
    with pytest.raises(StudyProblem) as caught:
        open_study(write(tmp_path, text)).responses
    assert str(caught.value) == (
        "survey_2017.csv: NETPRO holds 84 values outside 0-10 (11: 84); declare them as missing codes of item "
        "recommend in study.yml\n"
        "survey_2018.csv: NETPRO holds 159 values outside 0-10 (11: 159); declare them as missing codes of item "
        "recommend in study.yml"
    )


def test_garden_centre_counts_its_220_negative_revenues(root, shared):
    study = open_study(root / "tests" / "studies" / "garden_centre.yml")
    assert study.column("nps", optional=True) is None and study.column("csat") == "satisfaction"
    assert len(study.responses) == len(study.customers) == 13954 and study.customers.table["revenue"].min() == 0
    assert study.waterfall("customers")["reason"].tolist()[:2] == [
        "customers.csv: 13954 rows, 2470 control characters (0x80-0x9F) read as latin-1, which text does not hold, in "
        "'\\x82change', '\\x82chang\\xe9', 'esp\\x82rant'",
        "220 rows with negative revenue set to 0 (negative: zero)",
    ]
    joined = study.matched("responses", "customers", keep="all").table
    # n of the published regression of recommend on visits, revenue and t
    assert len(joined.dropna(subset=["recommend", "visits", "revenue", "elapsed"])) == 13594


def test_garden_centre_demands_a_decision_on_negative_revenue(root, shared, tmp_path):
    text = (root / "tests" / "studies" / "garden_centre.yml").read_text(encoding="utf-8")
    text = text.replace("../../../shared", str(shared)).replace(", negative: zero}", "}")
    with pytest.raises(StudyProblem) as caught:
        open_study(write(tmp_path, text)).customers
    message = str(caught.value)
    assert message.startswith("customers.csv: CaTicket is negative in 220 rows (rows ") and message.endswith(
        " and 215 more; lowest -991.9); decide what that means: revenue: {negative: keep}, zero or drop in "
        "tables.customers of study.yml"
    )


def test_grocery_has_2469_households_and_sales_of_4596039_58(root, shared):
    study = open_study(root / "tests" / "studies" / "grocery.yml")
    transactions = study.transactions.table
    assert len(transactions) == 1_469_307 and transactions["customer"].nunique() == 2469
    assert transactions["amount"].sum() == pytest.approx(4_596_039.58, abs=0.005)
    assert transactions["basket"].nunique() == 155_848
    assert (
        len(study.customers) == 801 and study.customers.table["customer"].isin(transactions["customer"].unique()).all()
    )
    assert study.lacks({"tables": ["responses"]}) == "needs table responses, which grocery.yml does not declare"


# -- words of journeys, voices, programmes, units and claims -----------------------------------------------------------

FIVE = """
version: 2
title: T
tables:
  responses:
    source: r.csv
    id: r
    customer: c
    language: lang
    contact: about
    followed_up: back
    items:
      rating: {scale: [1, 7], role: contact_rating}
      speed: {scale: [1, 7], role: driver, kind: service}
      order: {scale: [1, 7], role: driver}
      trouble: {scale: [0, 1], values: {yes: 1, no: 0}, role: problem}
      forgive: {scale: [0, 1], values: {yes: 1, no: 0}, role: claim_forgive}
  customers: {source: c.csv, id: c, items: {branch: {column: branch, role: unit}}}
  interactions:
    {source: i.csv, customer: c, time: at, contact: id, case: ticket, stage: phase, owner: dept, closed: shut}
  employees: {source: e.csv, unit: branch, period: q, engagement: {column: eng, scale: [1, 5]}, n: n, sd: sd}
  costs: {source: k.csv, period: q, kind: kind, amount: sum, roles: {ads: acquisition}}
touchpoints:
  desk: {stage: after, kind: personal, item: speed, owner: Service}
  shop: {stage: purchase}
programme: {from: 2025-01-01, unit: branch, treated: [1, 3]}
taxonomy: voice.yml
"""
FIVE_FILES = {
    "r.csv": "r,c,lang,about,back,rating,speed,order,trouble,forgive\n1,A,pl,K1,2025-02-03,5,6,7,yes,no\n2,B,en,,,,4,4,no,\n",
    "c.csv": "c,branch\nA,1\nB,2\nC,3\n",
    "i.csv": "c,at,id,ticket,phase,dept,shut\nA,2025-02-01,K1,T9,after,Sales,2025-02-02\nA,2025-02-02,K2,T9,after,Service,\n",
    "e.csv": "branch,q,eng,n,sd\n1,2025Q1,3.5,12,0.8\n2,2025Q1,3.9,,\n",
    "k.csv": "q,kind,sum\n2025Q1,ads,100\n2025Q1,rent,50\n",
    "voice.yml": "price: {en: [price*]}\n",
}


def five(folder, change=("", ""), **files):
    for name, text in (FIVE_FILES | {key.replace("_", "."): text for key, text in files.items()}).items():
        (folder / name).write_text(text)
    assert change[0] in FIVE
    (folder / "study.yml").write_text(FIVE.replace(*change, 1))
    study = open_study(folder)
    study.load_all()
    return study


def test_files_of_one_name_in_two_folders_are_both_told(tmp_path):
    for year, rows in {"2023": "1\n2\n", "2024": "3\n"}.items():
        (tmp_path / year).mkdir()
        (tmp_path / year / "a.csv").write_text("id\n" + rows, encoding="utf-8")
    text = "title: T\ntables: {responses: {sources: {2023: 2023/a.csv, 2024: 2024/a.csv}, id: id}}\n"
    (tmp_path / "study.yml").write_text(text, encoding="utf-8")
    received = open_study(tmp_path).waterfall("responses").iloc[0]
    assert received[["rows", "reason"]].tolist() == [3, "a.csv: 2 rows; a.csv: 1 rows"]


def test_of_two_scales_as_common_the_ratings_are_those_of_the_first_that_is_rated(tmp_path):
    items = "recommend: {scale: [0, 10], role: nps}, b: {scale: [1, 5]}, c: {scale: [0, 10]}"
    (tmp_path / "a.csv").write_text("id,recommend,b,c\n1,9,3,7\n", encoding="utf-8")
    text = f"title: T\ntables: {{responses: {{source: a.csv, id: id, items: {{{items}}}}}}}\n"
    (tmp_path / "study.yml").write_text(text, encoding="utf-8")
    assert open_study(tmp_path).ratings == ["b"], "the scale of recommend is none of theirs until another item has it"


def test_the_words_of_five_studies_reach_the_notebook(tmp_path):
    study = five(tmp_path)
    log = study.interactions.table
    assert log["closed"].isna().tolist() == [False, True] and log["owner"].tolist() == ["Sales", "Service"]
    assert log["case"].nunique() == 1 and log["stage"].tolist() == ["after", "after"]
    responses = study.responses.table
    assert responses["language"].tolist() == ["pl", "en"] and str(responses["followed_up"][0].date()) == "2025-02-03"
    assert responses["contact"][0] == log["contact"][0] != "K1", "an id becomes the same pseudonym in both tables"
    assert study.touchpoints.iloc[0].tolist() == ["desk", "after", "personal", "speed", "Service"]
    assert study.kinds == {"speed": "service"} and study.cost_roles == {"ads": "acquisition"}
    assert (str(study.programme.from_), study.programme.unit, study.programme.treated) == (
        "2025-01-01", "branch", ("1", "3"),
    )  # fmt: skip
    assert study.taxonomy == tmp_path / "voice.yml" and study.taxonomy in study.files
    assert study.employees.table["sd"].tolist()[0] == 0.8 and study.employees.table["n"].isna().tolist()[1]
    assert study.column("claim_forgive") == "forgive" and responses["forgive"].tolist()[0] == 0
    assert study.column("unit") == "branch" and study.column("unit", table="employees") == "unit"
    assert study.ratings == ["speed", "order"], "a rating of one contact is not asked with the others"
    keys = ["touchpoints", "programme", "taxonomy", "cost_roles", "kinds"]
    assert study.lacks({"tables": ["interactions"], "roles": ["case|stage", "owner"], "keys": keys}) is None
    assert study.lacks({"roles": ["claim_prefer"]}) == "needs an item with role claim_prefer, which study.yml does not declare"


def test_what_a_study_lacks_of_them_is_a_reason(tmp_path):
    study = five(tmp_path, ("programme: {from: 2025-01-01, unit: branch, treated: [1, 3]}\n", ""))
    assert study.lacks({"keys": ["taxonomy", "programme"]}) == "needs programme, which study.yml does not declare"
    study = five(tmp_path, ("touchpoints:\n  desk: {stage: after, kind: personal, item: speed, owner: Service}\n  shop: {stage: purchase}\n", ""))
    assert study.lacks({"keys": ["touchpoints"]}) == "needs touchpoints, which study.yml does not declare"
    assert list(study.touchpoints) == ["touchpoint", "stage", "kind", "item", "owner"]


@pytest.mark.parametrize(("change", "told"), [
    (("item: speed", "item: sped"), "line 24: touchpoints.desk.item names 'sped', which is no item of responses; these are rating, speed,"),
    (("unit: branch, treated", "unit: brnch, treated"), "line 26: programme.unit names 'brnch', which no table has as a column"),
    (("treated: [1, 3]", "treated: [1, 4]"), "line 26: programme.treated names '4', which no row of customers holds; they hold 1, 2, 3"),
    (("{ads: acq", "{adds: acq"), "tables.costs.roles names 'adds', which no row of costs holds; they hold ads, rent; did you mean 'ads'"),
    (("taxonomy: voice.yml", "taxonomy: voices.yml"), "taxonomy names 'voices.yml', which does not exist; there are study.yml, voice.yml"),
    (("kind: service", "kind: servce"), "cannot be servce; did you mean 'service'"),
    (("language: lang\n", "\n"), None),
    (("    items:\n      rating", "    items:\n      language: {column: lang}\n      rating"), "or declare language: HEADER beside items"),
])  # fmt: skip
def test_slips_in_them_are_refused_with_their_place(change, told, tmp_path):
    if told is None:
        assert "language" not in five(tmp_path, change).responses.table
        return
    with pytest.raises(StudyProblem, match=re.escape(told)):
        five(tmp_path, change)


def test_a_programme_in_some_waves_leaves_out_the_others(tmp_path):
    text = "title: T\ntables: {responses: {source: r.csv, wave: w, items: {s: }}}\nprogramme: {from: 2025-01-01, unit: wave, treated: [%s]}\n"
    assert len(open_study(write(tmp_path, text % "b", r="w,s\na,1\nb,1\n")).responses) == 2
    with pytest.raises(StudyProblem, match="programme.treated names 'c', which no row of responses holds; they hold a, b$"):
        open_study(write(tmp_path, text % "c", r="w,s\na,1\nb,1\n")).load_all()


def test_their_cells_are_held_against_what_they_mean(tmp_path):
    twice = FIVE_FILES["i.csv"].replace("K2", "K1")
    with pytest.raises(StudyProblem, match=r"i.csv: 1 value of id in rows with different content \(rows 2, 3\)"):
        five(tmp_path, i_csv=twice)
    with pytest.raises(StudyProblem, match=r"e.csv: sd is negative in 1 row \(row 2\); a sd is a number from 0 up"):
        five(tmp_path, e_csv=FIVE_FILES["e.csv"].replace("0.8", "-0.8"))
    with pytest.raises(StudyProblem, match="i.csv: shut holds 1 value that is no date"):
        five(tmp_path, i_csv=FIVE_FILES["i.csv"].replace("2025-02-02\n", "soon\n", 1))
