"""What a wrong study or a wrong file is told, word for word: place, what was found, how many, what to do."""

import pytest

from cxresearch import open_study
from cxresearch.errors import StudyProblem

RESPONSES = """title: Airport
tables:
  responses:
    source: survey_2017.csv
    id: RESPNUM
    weight: WEIGHT
    items:
      recommend: {column: NETPRO, scale: [0, 10], role: nps}
"""
GOOD = "RESPNUM,NETPRO,WEIGHT\n1,10,1\n2,0,0.5\n3,7,2\n"


def message(folder, study=RESPONSES, files=None, name="study.yml"):
    """Write the files, open the study, load every table, and return what the problem says."""
    for file, content in ({"survey_2017.csv": GOOD} if files is None else files).items():
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    if study is not None:
        (folder / name).write_bytes(study if isinstance(study, bytes) else study.encode())
    with pytest.raises(StudyProblem) as caught:
        open_study(folder / name).load_all()
    return str(caught.value)


def survey(folder, rows, study=RESPONSES):
    return message(folder, study, {"survey_2017.csv": "RESPNUM,NETPRO,WEIGHT\n" + rows})


def test_the_good_study_opens(tmp_path):
    (tmp_path / "survey_2017.csv").write_text(GOOD)
    (tmp_path / "study.yml").write_text(RESPONSES)
    assert len(open_study(tmp_path).responses) == 3


# -- the study file --------------------------------------------------------------------------------------------------


def test_study_file_absent(tmp_path):
    (tmp_path / "study.yml").write_text(RESPONSES)
    with pytest.raises(StudyProblem) as caught:
        open_study(tmp_path / "studdy.yml")
    assert str(caught.value) == f"there is no study file {str(tmp_path / 'studdy.yml')!r}; did you mean 'study.yml'?"


def test_unknown_key(tmp_path):
    assert message(tmp_path, RESPONSES.replace("weight:", "wieght:")) == (
        "study.yml, line 6: unknown key 'wieght' in tables.responses; did you mean 'weight'?"
    )


def test_unknown_table(tmp_path):
    assert message(tmp_path, RESPONSES.replace("responses:", "respones:")) == (
        "study.yml, line 3: unknown key 'respones' in tables; did you mean 'responses'?"
    )


def test_unknown_role_and_every_problem_at_once(tmp_path):
    text = RESPONSES.replace("role: nps", "role: npss, mising: x") + "privacy: {minimum_base: ten}\n"
    assert message(tmp_path, text) == (
        "study.yml, line 8: tables.responses.items.recommend.role cannot be npss; did you mean 'nps'?\n"
        "study.yml, line 8: unknown key 'mising' in tables.responses.items.recommend; did you mean 'missing'?\n"
        "study.yml, line 9: privacy.minimum_base: input should be a valid integer, unable to parse string as an "
        "integer; found 'ten'"
    )


def test_key_given_twice(tmp_path):
    assert message(tmp_path, RESPONSES + "      recommend: {column: Q7ALL}\n") == (
        "study.yml, line 9: the key 'recommend' is given twice, first on line 8"
    )


def test_missing_keys(tmp_path):
    assert message(tmp_path, "title: T\n") == "study.yml: the study needs the key 'tables'"
    assert (
        message(tmp_path, "title: T\ntables:\n  customers: {source: a.csv}\n")
        == "study.yml, line 3: tables.customers needs the key 'id'"
    )
    assert message(tmp_path, "title: T\ntables:\n  responses: {id: a}\n") == (
        "study.yml, line 3: tables.responses: needs 'source' or 'sources', one of the two"
    )
    assert message(tmp_path, "title: T\ntables:\n  costs: {period: a, kind: b, amount: c}\n") == (
        "study.yml, line 3: tables.costs: needs the key 'source'"
    )


def test_no_yaml(tmp_path):
    assert message(tmp_path, "title: T\ntables:\n\tresponses: x\n") == (
        "study.yml, line 3: not valid YAML: found character '\\t' that cannot start any token"
    )
    assert message(tmp_path, "") == "study.yml holds no keys; a study needs at least title and tables"
    assert (
        message(tmp_path, "title: caf\xe9\n".encode("latin-1"))
        == "study.yml is not UTF-8: byte 0xe9 at position 10; save it as UTF-8"
    )


@pytest.mark.parametrize(("text", "told"), [
    ("title: T\ntables: &t\n  responses: *t\n", "line 3: *t repeats what stands elsewhere; write it out"),
    ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "line 2: *a repeats what stands elsewhere"),
    ("a: &a {x: 1}\nb:\n  <<: *a\n", "line 3: *a repeats what stands elsewhere"),
    ("title: T\na: " + "[" * 90_000 + "]" * 90_000, "line 2: nested more than 20 deep; no key of a study is"),
    ("title: T\na: " + "{a: " * 9_000 + "}" * 9_000, "line 2: nested more than 20 deep"),
    ("- a\n", "study.yml holds no keys; a study needs at least title and tables"),
    ("title: T\n---\ntitle: U\n", "line 2: a second document; a study is one"),
    ("title: T\n? [a]\n: b\n", "line 2: a key must be one word or a quoted text"),
    ("title: " + "x" * 5_000_000, "study.yml has 5,000,007 bytes, a study file at most 5,000,000; is it the data?"),
])  # fmt: skip
def test_a_file_that_would_never_end_ends_at_once(tmp_path, text, told):
    assert told in message(tmp_path, text)


def test_what_a_terminal_would_obey_is_text(tmp_path):
    said = message(tmp_path, RESPONSES.replace("title: Airport", 'title: "\\e[31mRed\\e[0m"\n"\\eX": 1'))
    assert said == "study.yml, line 2: unknown key '\\\\x1bX' in the study"
    files = {"survey_2017.csv": GOOD.replace("NETPRO", "\x1b[31mNETPRO").replace("10", "\x1b[31m", 1)}
    said = message(tmp_path, RESPONSES.replace("column: NETPRO", 'column: "\\e[31mNETPRO"'), files)
    assert "\x1b" not in said


def test_role_nps_on_another_scale(tmp_path):
    assert message(tmp_path, RESPONSES.replace("[0, 10]", "[1, 10]")) == (
        "study.yml, line 8: tables.responses.items.recommend: role nps needs scale: [0, 10], found 1 to 10; "
        "on another scale a net promoter score is not defined: give the item role csat or outcome"
    )


def test_item_key_that_names_another_column(tmp_path):
    assert message(tmp_path, RESPONSES.replace("recommend:", "weight:")) == (
        "study.yml, line 3: tables.responses: item key 'weight' is the name of another column of this table; "
        "choose another key, or declare weight: HEADER beside items"
    )


def test_wave_that_sources_do_not_have(tmp_path):
    text = RESPONSES.replace("source: survey_2017.csv", 'sources: {"2017": survey_2017.csv}').replace(
        "column: NETPRO", 'column: {"2107": NETPRO}'
    )
    assert message(tmp_path, text) == (
        "study.yml, line 3: tables.responses: item recommend names wave '2107', which 'sources' does not have; did "
        "you mean '2017'?"
    )


def test_unknown_encoding(tmp_path):
    assert message(tmp_path, RESPONSES.replace("    id:", "    encoding: latn-1\n    id:")) == (
        "study.yml, line 5: tables.responses.encoding: unknown encoding 'latn-1'; did you mean 'latin-1'?"
    )


# -- files and columns -----------------------------------------------------------------------------------------------


def test_file_absent(tmp_path):
    assert message(tmp_path, files={"survey_2018.csv": GOOD}) == (
        "study.yml, line 4: tables.responses names 'survey_2017.csv', which does not exist; did you mean "
        "'survey_2018.csv'?"
    )
    assert message(tmp_path, RESPONSES.replace("survey", "data/survey"), files={}) == (
        "study.yml, line 4: tables.responses names 'data/survey_2017.csv', but there is no folder 'data'"
    )
    assert message(tmp_path, RESPONSES.replace("survey_2017.csv", '"*.parquet"'), files={}) == (
        "study.yml, line 4: tables.responses names '*.parquet', a pattern that no file matches"
    )


def test_column_absent(tmp_path):
    assert message(tmp_path, RESPONSES.replace("NETPRO", "NETPROO")) == (
        "survey_2017.csv has no column 'NETPROO' (item recommend in study.yml); did you mean 'NETPRO'?"
    )
    assert message(tmp_path, RESPONSES.replace("weight: WEIGHT", "weight: WGHT")) == (
        "survey_2017.csv has no column 'WGHT' (weight in study.yml); did you mean 'WEIGHT'?"
    )


def test_empty_table(tmp_path):
    assert survey(tmp_path, "") == "survey_2017.csv has a header but no rows"
    assert message(tmp_path, files={"survey_2017.csv": ""}) == "survey_2017.csv is empty"


def test_table_that_a_declaration_empties(tmp_path):
    text = "title: T\ntables:\n  customers: {source: c.csv, id: c, revenue: {column: r, missing: drop}}\n"
    assert (
        message(tmp_path, text, {"c.csv": "c,r\n1,\n2,\n"})
        == "tables.customers has no rows left: 2 rows with missing revenue (missing: drop)"
    )


def test_wrong_encoding(tmp_path):
    content = "RESPNUM,NETPRO,WEIGHT\n1,10,1\nJosé,9,1\n".encode("cp1252")
    assert message(tmp_path, files={"survey_2017.csv": content}) == (
        "survey_2017.csv is not UTF-8: byte 0xe9 at position 32 (line 3); declare its encoding in study.yml, for "
        "example encoding: cp1252"
    )


def test_table_that_the_study_does_not_have(tmp_path):
    (tmp_path / "survey_2017.csv").write_text(GOOD)
    (tmp_path / "study.yml").write_text(RESPONSES)
    study = open_study(tmp_path)
    assert study.lacks({"tables": ["transactions"]}) == "needs table transactions, which study.yml does not declare"
    for ask, said in {
        (lambda: study.transactions): "study.yml declares no table 'transactions'; it declares responses",
        (
            lambda: study.waterfall("response")
        ): "study.yml declares no table 'response'; it declares responses; did you mean 'responses'?",
        (
            lambda: study.matched("responses", "customers")
        ): "study.yml declares no table 'customers'; it declares responses",
        (lambda: study.column("csat")): "study.yml has no column for csat; give an item the role csat",
        (
            lambda: study.column("cluster")
        ): "study.yml has no column for cluster; declare it in one of the tables responses",
        (lambda: study.column("npss")): "unknown role 'npss'; did you mean 'nps'?",
    }.items():
        with pytest.raises(StudyProblem) as caught:
            ask()
        assert str(caught.value) == said


# -- answers ---------------------------------------------------------------------------------------------------------


def test_values_outside_the_scale(tmp_path):
    assert survey(tmp_path, "1,11,1\n2,11,1\n3,-1,1\n4,5,1\n") == (
        "survey_2017.csv: NETPRO holds 3 values outside 0-10 (11: 2, -1: 1); declare them as missing codes of item "
        "recommend in study.yml"
    )


def test_fractional_recommend(tmp_path):
    assert survey(tmp_path, "1,8.5,1\n2,7.9,1\n3,8.5,1\n4,8.0,1\n") == (
        "survey_2017.csv: NETPRO holds 3 fractional values (8.5: 2, 7.9: 1), but a net promoter score counts whole "
        "answers; "
        "give item recommend the role outcome instead of nps in study.yml"
    )


def test_text_in_a_scaled_item(tmp_path):
    assert survey(tmp_path, "1,NA,1\n2,NA,1\n3,n/a,1\n4,5,1\n") == (
        "survey_2017.csv: NETPRO holds 3 values that are not numbers ('NA': 2, 'n/a': 1); declare them as missing "
        "codes of item recommend in study.yml"
    )


def test_decimal_comma_that_is_not_declared(tmp_path):
    assert survey(tmp_path, '1,"7,0",1\n2,9,1\n') == (
        "survey_2017.csv: NETPRO holds 1 value that is not a number ('7,0': 1); "
        "declare decimal: ',' for the table ('7,0' is then 7), or declare them as missing codes of item recommend in study.yml"
    )


def test_value_without_a_label(tmp_path):
    text = RESPONSES.replace("scale: [0, 10], role: nps", "labels: {1: AM, 2: MID}")
    assert survey(tmp_path, "1,1,1\n2,2.0,1\n3,9,1\n", text) == (
        "survey_2017.csv: NETPRO holds 1 value without a label ('9': 1); add to labels or missing codes of item "
        "recommend in study.yml"
    )


def test_every_column_of_a_table_is_named_at_once(tmp_path):
    assert survey(tmp_path, "1,11,-1\n2,5,1\n") == (
        "survey_2017.csv: WEIGHT is negative in 1 row (row 2); a weight is a number from 0 up: correct the file, "
        "or leave weight out of study.yml\n"
        "survey_2017.csv: NETPRO holds 1 value outside 0-10 (11: 1); declare them as missing codes of item "
        "recommend in study.yml"
    )


# -- ids, weights, money, dates --------------------------------------------------------------------------------------


def test_duplicate_ids(tmp_path):
    assert survey(tmp_path, "17,10,1\n18,9,1\n17,3,1\n17.0,10,1\n") == (
        "survey_2017.csv: 1 value of RESPNUM in rows with different content (rows 2, 4); "
        "correct the file, or declare the wave column in study.yml"
    )


def test_duplicate_ids_across_the_files_of_a_pattern(tmp_path):
    text = "title: T\ntables:\n  customers: {source: 'c?.csv', id: c, items: {x: }}\n"
    assert message(tmp_path, text, {"c1.csv": "c,x\n007,a\n8,b\n", "c2.csv": "c,x\n8,b\n007,c\n"}) == (
        "c1.csv: 1 value of c in rows with different content (c1.csv row 2; c2.csv row 3); correct the file"
    )


def test_blank_id(tmp_path):
    assert survey(tmp_path, "1,10,1\n,9,1\n") == (
        "survey_2017.csv: RESPNUM is blank in 1 row (row 3), but every row needs its respondent; correct the file"
    )


def test_weight_negative_or_missing(tmp_path):
    assert survey(tmp_path, "1,10,\n2,9,-0.5\n3,8,1\n4,8,-1\n") == (
        "survey_2017.csv: WEIGHT is missing in 1 row (row 2) and is negative in 2 rows (rows 3, 5); "
        "a weight is a number from 0 up: correct the file, or leave weight out of study.yml"
    )
    assert survey(tmp_path, "1,10,heavy\n2,9,1\n") == (
        "survey_2017.csv: WEIGHT holds 1 weight that is no number ('heavy'; row 2); write plain numbers"
    )
    assert (
        survey(tmp_path, "1,10,0\n2,9,0\n")
        == "survey_2017.csv: WEIGHT is 0 in every row; leave weight out of study.yml"
    )


PAYMENTS = "title: T\ntables:\n  transactions: {source: sales.csv, customer: account, time: paid_at, amount: value}\n"


def sales(folder, rows, study=PAYMENTS):
    return message(folder, study, {"sales.csv": "account,paid_at,value\n" + rows})


def test_amounts_with_currency_signs(tmp_path):
    assert sales(tmp_path, '1,2018-01-01,€5\n1,2018-01-02,"$1,200.00"\n1,2018-01-02,3\n') == (
        "sales.csv: value holds 1 amount that is no number ('$1,200.00'; row 3); declare thousands: ',' for the table "
        "('1,200.00' is then 1200), or write plain numbers"
    )


def test_negative_amounts(tmp_path):
    assert sales(tmp_path, "1,2018-01-01,5\n1,2018-01-02,-7.5\n") == (
        "sales.csv: value is negative in 1 row (row 3; lowest -7.5); declare negative: returns or negative: drop "
        "in tables.transactions of study.yml"
    )


def test_payments_without_customer_or_time(tmp_path):
    assert sales(tmp_path, ",2018-01-01,5\n1,,7\n") == (
        "sales.csv: account is blank in 1 row (row 2); declare missing: drop in tables.transactions of study.yml, "
        "or correct the file\n"
        "sales.csv: paid_at is blank in 1 row (row 3); declare missing: drop in tables.transactions of study.yml, "
        "or correct the file"
    )


def test_dates(tmp_path):
    assert sales(tmp_path, "1,31/12/2018,5\n1,01/02/2018,5\n1,2018-12-31,5\n") == (
        "sales.csv: paid_at holds 2 values that are no dates written as 2018-12-31 ('01/02/2018': 1, '31/12/2018': 1); "
        "declare dayfirst: true or time_format in study.yml, or correct the file"
    )
    assert sales(tmp_path, "1,12/31/2018,5\n", PAYMENTS.replace("value}", "value, dayfirst: true}")) == (
        "sales.csv: paid_at holds 1 value that is no date written day first (31.12.2018) ('12/31/2018': 1); "
        "declare dayfirst: true or time_format in study.yml, or correct the file"
    )
    assert sales(tmp_path, "1,43465,5\n").startswith(
        "sales.csv: paid_at holds 1 value that is no date written as 2018-12-31 ('43465': 1); "
    )


def test_revenue_demands_decisions(tmp_path):
    text = "title: T\ntables:\n  customers: {source: c.csv, id: c, revenue: spend}\n"
    assert message(tmp_path, text, {"c.csv": "c,spend\n1,5\n2,-991.9\n3,-2\n"}) == (
        "c.csv: spend is negative in 2 rows (rows 3, 4; lowest -991.9); "
        "decide what that means: revenue: {negative: keep}, zero or drop in tables.customers of study.yml"
    )
    assert message(tmp_path, text, {"c.csv": "c,spend\n1,5\n2,\n"}) == (
        "c.csv: spend is missing in 1 row (row 3); decide what that means: revenue: {missing: keep}, zero or drop "
        "in tables.customers of study.yml"
    )


def test_resolved_that_is_neither_yes_nor_no(tmp_path):
    text = "title: T\ntables:\n  interactions: {source: i.csv, customer: c, time: t, resolved: r}\n"
    assert message(tmp_path, text, {"i.csv": "c,t,r\n1,2020-01-01,partly\n"}) == (
        "i.csv: r holds 1 value other than yes and no, true and false, 1 and 0 ('partly': 1); correct the file"
    )


def test_nothing_says_which_response_is_the_latest(tmp_path):
    text = (
        "title: T\ntables:\n  responses: {source: r.csv, customer: c, items: {s: {scale: [1, 5]}}}\n  "
        "customers: {source: c.csv, id: c}\n"
    )
    (tmp_path / "r.csv").write_text("c,s\n1,5\n1,4\n")
    (tmp_path / "c.csv").write_text("c\n1\n")
    (tmp_path / "study.yml").write_text(text)
    study = open_study(tmp_path)
    with pytest.raises(StudyProblem) as caught:
        study.matched("responses", "customers")
    assert str(caught.value) == (
        "responses has several rows for some customers, and nothing says which is the latest; declare the wave, or "
        "give an item the role asked_at"
    )
    with pytest.raises(StudyProblem) as caught:
        study.matched("customers", "responses")
    assert (
        str(caught.value)
        == "table responses holds customers more than once; match customers to a table with one row a customer"
    )
