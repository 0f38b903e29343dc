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
PAYMENTS = "title: T\ntables:\n  transactions: {source: sales.csv, customer: account, time: paid_at, amount: value}\n"
SPEND = "title: T\ntables:\n  customers: {source: c.csv, id: c, revenue: spend}\n"
CALLS = "title: T\ntables:\n  interactions: {source: i.csv, customer: c, time: t, resolved: r}\n"


def message(folder, study=RESPONSES, files=None):
    """Write the files, open the study, load every table, and return what the problem says."""
    for file, content in ({"survey_2017.csv": GOOD} if files is None else files).items():
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "study.yml").write_bytes(study if isinstance(study, bytes) else study.encode())
    with pytest.raises(StudyProblem) as caught:
        open_study(folder / "study.yml").load_all()
    return str(caught.value)


def test_the_good_study_opens(tmp_path):
    (tmp_path / "survey_2017.csv").write_text(GOOD)
    (tmp_path / "study.yml").write_text(RESPONSES)
    assert len(open_study(tmp_path).responses) == 3


# -- the study file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "told"), [
    ("weight:", "wieght:", "line 6: unknown key 'wieght' in tables.responses; did you mean 'weight'?"),
    ("responses:", "respones:", "line 3: unknown key 'respones' in tables; did you mean 'responses'?"),
    ("role: nps}\n", "role: npss, mising: x}\nprivacy: {minimum_base: ten}\n",
     "line 8: tables.responses.items.recommend.role cannot be npss; did you mean 'nps'?\n"
     "study.yml, line 8: unknown key 'mising' in tables.responses.items.recommend; did you mean 'missing'?\n"
     "study.yml, line 9: privacy.minimum_base: input should be a valid integer, unable to parse string as an integer; found 'ten'"),
    ("nps}\n", "nps}\n      recommend: {column: Q7ALL}\n", "line 9: the key 'recommend' is given twice, first on line 8"),
    ("    source: survey_2017.csv\n", "", "line 3: tables.responses: needs 'source' or 'sources', one of the two"),
    ("[0, 10]", "[1, 10]", "line 8: tables.responses.items.recommend: role nps needs scale: [0, 10], found 1 to 10; on another scale "
     "a net promoter score is not defined: give the item role csat or outcome"),
    ("recommend:", "weight:", "line 3: tables.responses: item key 'weight' is the name of another column of this table; choose "
     "another key, or declare weight: HEADER beside items"),
    ("source: survey_2017.csv", 'sources: {"2107": survey_2017.csv}', "line 3: tables.responses: item recommend names wave '2017', "
     "which 'sources' does not have; did you mean '2107'?"),
    ("    id:", "    thousands: {a: b}\n    id:", "line 5: tables.responses.thousands cannot be {'a': 'b'}; choices: ' ', '.', ',' or \"'\""),
    ("    id:", "    encoding: latn-1\n    id:", "line 5: tables.responses.encoding: unknown encoding 'latn-1'; did you mean 'latin-1'?"),
])  # fmt: skip
def test_what_is_wrong_in_a_study_file_is_told_with_its_line(tmp_path, old, new, told):
    text = RESPONSES.replace("column: NETPRO", 'column: {"2017": NETPRO}') if "wave" in told else RESPONSES
    assert message(tmp_path, text.replace(old, new)) == f"study.yml, {told}"


@pytest.mark.parametrize(("text", "told"), [
    ("title: T\n", "study.yml: the study needs the key 'tables'"),
    ("title: T\ntables:\n  customers: {source: a.csv}\n", "study.yml, line 3: tables.customers needs the key 'id'"),
    ("title: T\ntables:\n  costs: {period: a, kind: b, amount: c}\n", "study.yml, line 3: tables.costs: needs the key 'source'"),
    ("title: T\ntables:\n\tresponses: x\n", "study.yml, line 3: not valid YAML: found character '\\t' that cannot start any token"),
    ("title: T\ntables: {}\n", "study.yml, line 2: tables: needs at least one of responses, customers, transactions, interactions, "
     "employees, costs"),
    ("title: T\ntables:\n  responses:\n  costs: ~\n", "study.yml, line 2: tables: needs at least one of responses, customers, "
     "transactions, interactions, employees, costs"),
    ("title: T\ntables: {responses: {sources: {}, id: a}}\n", "study.yml, line 2: tables.responses: needs 'source' or 'sources', one of the two"),
    ("title: T\ntables: {responses: {source: a.csv}}\n", "study.yml, line 2: tables.responses: names no column of the file; declare id, wave, "
     "weight, ... or items"),
    ("", "study.yml holds no keys; a study needs at least title and tables"),
    ("- a\n", "study.yml holds no keys; a study needs at least title and tables"),
    ("title: caf\xe9\n".encode("latin-1"), "study.yml is not UTF-8: byte 0xe9 at position 10; save it as UTF-8"),
    ("title: T\n---\ntitle: U\n", "study.yml, line 2: a second document; a study is one"),
    ("title: T\n? [a]\n: b\n", "study.yml, line 2: a key must be one word or a quoted text"),
    ("title: " + "x" * 5_000_000, "study.yml has 5,000,007 bytes, a study file at most 5,000,000; is it the data?"),
    ("title: T\na: " + "[" * 90_000 + "]" * 90_000, "study.yml, line 2: nested more than 20 deep; no key of a study is"),
    ("title: T\na: " + "{a: " * 9_000 + "}" * 9_000, "study.yml, line 2: nested more than 20 deep; no key of a study is"),
    # what a terminal would obey is text
    (RESPONSES.replace("Airport", '"\\e[31mRed\\e[0m"\n"\\eX": 1'), "study.yml, line 2: unknown key '\\\\x1bX' in the study"),
])  # fmt: skip
def test_a_text_that_is_no_study_file_ends_at_once(tmp_path, text, told):
    assert message(tmp_path, text) == told


@pytest.mark.parametrize(("text", "line", "name"), [
    ("title: T\ntables: &t\n  responses: *t\n", 3, "t"), ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", 2, "a"),
    ("a: &a {x: 1}\nb:\n  <<: *a\n", 3, "a"),
])  # fmt: skip
def test_an_alias_is_refused(tmp_path, text, line, name):
    assert message(tmp_path, text).startswith(f"study.yml, line {line}: *{name} repeats what stands elsewhere; write it out")


def test_study_file_absent(tmp_path):
    (tmp_path / "study.yml").write_text(RESPONSES)
    with pytest.raises(StudyProblem) as caught:
        open_study(tmp_path / "studdy.yml")
    assert str(caught.value) == f"there is no study file {str(tmp_path / 'studdy.yml')!r}; did you mean 'study.yml'?"


# -- files and columns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "files", "told"), [
    ("", "", {"survey_2018.csv": GOOD}, "study.yml, line 4: tables.responses names 'survey_2017.csv', which does not exist; did you mean "
     "'survey_2018.csv'?"),
    ("survey", "data/survey", {}, "study.yml, line 4: tables.responses names 'data/survey_2017.csv', but there is no folder 'data'"),
    ("survey_2017.csv", '"*.parquet"', {}, "study.yml, line 4: tables.responses names '*.parquet', a pattern that no file matches"),
    ("NETPRO", "NETPROO", None, "survey_2017.csv has no column 'NETPROO' (item recommend in study.yml); did you mean 'NETPRO'?"),
    ("weight: WEIGHT", "weight: WGHT", None, "survey_2017.csv has no column 'WGHT' (weight in study.yml); did you mean 'WEIGHT'?"),
    ("", "", {"survey_2017.csv": "RESPNUM,NETPRO,WEIGHT\n"}, "survey_2017.csv has a header but no rows"),
    ("", "", {"survey_2017.csv": ""}, "survey_2017.csv is empty"),
    ("", "", {"survey_2017.csv": "RESPNUM,NETPRO,WEIGHT\n1,10,1\nJosé,9,1\n".encode("cp1252")}, "survey_2017.csv is not UTF-8: byte 0xe9 "
     "at position 32 (line 3); declare its encoding in study.yml, for example encoding: cp1252"),
])  # fmt: skip
def test_a_file_or_a_column_that_is_not_there_is_named(tmp_path, old, new, files, told):
    assert message(tmp_path, RESPONSES.replace(old, new) if old else RESPONSES, files) == told


def test_what_a_terminal_would_obey_is_in_no_message(tmp_path):
    files = {"survey_2017.csv": GOOD.replace("NETPRO", "\x1b[31mNETPRO").replace("10", "\x1b[31m", 1)}
    assert "\x1b" not in message(tmp_path, RESPONSES.replace("column: NETPRO", 'column: "\\e[31mNETPRO"'), files)


def test_table_that_the_study_does_not_have(tmp_path):
    (tmp_path / "survey_2017.csv").write_text(GOOD)
    (tmp_path / "study.yml").write_text(RESPONSES)
    study = open_study(tmp_path)
    assert study.lacks({"tables": ["transactions"]}) == "needs table transactions, which study.yml does not declare"
    declares = "study.yml declares no table '{}'; it declares responses{}"
    for ask, said in {
        (lambda: study.transactions): declares.format("transactions", ""),
        (lambda: study.waterfall("response")): declares.format("response", "; did you mean 'responses'?"),
        (lambda: study.matched("responses", "customers")): declares.format("customers", ""),
        (lambda: study.column("csat")): "study.yml has no column for csat; give an item the role csat",
        (lambda: study.column("cluster")): "study.yml has no column for cluster; declare it in one of the tables responses",
        (lambda: study.column("npss")): "unknown role 'npss'; did you mean 'nps'?",
    }.items():
        with pytest.raises(StudyProblem) as caught:
            ask()
        assert str(caught.value) == said


# -- cells -----------------------------------------------------------------------------------------------------------

MISSING_CODES = "declare them as missing codes of item recommend in study.yml"
LABELLED = RESPONSES.replace("scale: [0, 10], role: nps", "labels: {1: AM, 2: MID}")


@pytest.mark.parametrize(("rows", "told"), [
    ("1,11,1\n2,11,1\n3,-1,1\n4,5,1\n", f"NETPRO holds 3 values outside 0-10 (11: 2, -1: 1); {MISSING_CODES}"),
    ("1,8.5,1\n2,7.9,1\n3,8.5,1\n4,8.0,1\n", "NETPRO holds 3 fractional values (8.5: 2, 7.9: 1), but a net promoter score counts whole "
     "answers; give item recommend the role outcome instead of nps in study.yml"),
    ("1,NA,1\n2,NA,1\n3,n/a,1\n4,5,1\n", f"NETPRO holds 3 values that are not numbers ('NA': 2, 'n/a': 1); {MISSING_CODES}"),
    ('1,"7,0",1\n2,9,1\n', "NETPRO holds 1 value that is not a number ('7,0': 1); declare decimal: ',' for the table ('7,0' is then 7), "
     f"or {MISSING_CODES}"),
    # every column of a table at once
    ("1,11,-1\n2,5,1\n", "WEIGHT is negative in 1 row (row 2); a weight is a number from 0 up: correct the file, or leave weight out of "
     f"study.yml\nsurvey_2017.csv: NETPRO holds 1 value outside 0-10 (11: 1); {MISSING_CODES}"),
    ("17,10,1\n18,9,1\n17,3,1\n17.0,10,1\n", "1 value of RESPNUM in rows with different content (rows 2, 4); correct the file, or declare "
     "the wave column in study.yml"),
    ("1,10,1\n,9,1\n", "RESPNUM is blank in 1 row (row 3), but every row needs its respondent; correct the file"),
    ("1,10,\n2,9,-0.5\n3,8,1\n4,8,-1\n", "WEIGHT is missing in 1 row (row 2) and is negative in 2 rows (rows 3, 5); a weight is a number "
     "from 0 up: correct the file, or leave weight out of study.yml"),
    ("1,10,heavy\n2,9,1\n", "WEIGHT holds 1 weight that is no number ('heavy'; row 2); write plain numbers"),
    ("1,10,0\n2,9,0\n", "WEIGHT is 0 in every row; leave weight out of study.yml"),
])  # fmt: skip
def test_answers_ids_and_weights_are_held_against_what_is_declared(tmp_path, rows, told):
    assert message(tmp_path, files={"survey_2017.csv": "RESPNUM,NETPRO,WEIGHT\n" + rows}) == f"survey_2017.csv: {told}"


DROP = "declare missing: drop in tables.transactions of study.yml, or correct the file"
DATED = "declare dayfirst: true or time_format in study.yml, or correct the file"
DECIDE = "decide what that means: revenue: {{{}: keep}}, zero or drop in tables.customers of study.yml"


@pytest.mark.parametrize(("study", "content", "told"), [
    (LABELLED, "RESPNUM,NETPRO,WEIGHT\n1,1,1\n2,2.0,1\n3,9,1\n", "NETPRO holds 1 value without a label ('9': 1); add to labels or missing "
     "codes of item recommend in study.yml"),
    (PAYMENTS, '1,2018-01-01,€5\n1,2018-01-02,"$1,200.00"\n1,2018-01-02,3\n', "value holds 1 amount that is no number ('$1,200.00'; row 3); "
     "declare thousands: ',' for the table ('1,200.00' is then 1200), or write plain numbers"),
    (PAYMENTS, "1,2018-01-01,5\n1,2018-01-02,-7.5\n", "value is negative in 1 row (row 3; lowest -7.5); declare negative: returns or "
     "negative: drop in tables.transactions of study.yml"),
    (PAYMENTS, ",2018-01-01,5\n1,,7\n", f"account is blank in 1 row (row 2); {DROP}\nsales.csv: paid_at is blank in 1 row (row 3); {DROP}"),
    (PAYMENTS, "1,31/12/2018,5\n1,01/02/2018,5\n1,2018-12-31,5\n", "paid_at holds 2 values that are no dates written as 2018-12-31 "
     f"('01/02/2018': 1, '31/12/2018': 1); {DATED}"),
    (PAYMENTS, "1,43465,5\n", f"paid_at holds 1 value that is no date written as 2018-12-31 ('43465': 1); {DATED}"),
    (PAYMENTS.replace("value}", "value, dayfirst: true}"), "1,12/31/2018,5\n", "paid_at holds 1 value that is no date written day first "
     f"(31.12.2018) ('12/31/2018': 1); {DATED}"),
    (SPEND, "c,spend\n1,5\n2,-991.9\n3,-2\n", f"spend is negative in 2 rows (rows 3, 4; lowest -991.9); {DECIDE.format('negative')}"),
    (SPEND, "c,spend\n1,5\n2,\n", f"spend is missing in 1 row (row 3); {DECIDE.format('missing')}"),
    (CALLS, "c,t,r\n1,2020-01-01,partly\n", "r holds 1 value other than yes and no, true and false, 1 and 0 ('partly': 1); correct the file"),
])  # fmt: skip
def test_labels_money_dates_and_flags_are_held_against_what_is_declared(tmp_path, study, content, told):
    file = {LABELLED: "survey_2017.csv", SPEND: "c.csv", CALLS: "i.csv"}.get(study, "sales.csv")
    header = "account,paid_at,value\n" if file == "sales.csv" else ""
    assert message(tmp_path, study, {file: header + content}) == f"{file}: {told}"


def test_table_that_a_declaration_empties(tmp_path):
    text = SPEND.replace("revenue: spend", "revenue: {column: r, missing: drop}")
    told = "tables.customers has no rows left: 2 rows with missing revenue (missing: drop)"
    assert message(tmp_path, text, {"c.csv": "c,r\n1,\n2,\n"}) == told


def test_duplicate_ids_across_the_files_of_a_pattern(tmp_path):
    text = "title: T\ntables:\n  customers: {source: 'c?.csv', id: c, items: {x: }}\n"
    assert message(tmp_path, text, {"c1.csv": "c,x\n007,a\n8,b\n", "c2.csv": "c,x\n8,b\n007,c\n"}) == (
        "c1.csv: 1 value of c in rows with different content (c1.csv row 2; c2.csv row 3); correct the file"
    )


def test_nothing_says_which_response_is_the_latest(tmp_path):
    (tmp_path / "r.csv").write_text("c,s\n1,5\n1,4\n")
    (tmp_path / "c.csv").write_text("c\n1\n")
    (tmp_path / "study.yml").write_text(
        "title: T\ntables:\n  responses: {source: r.csv, customer: c, items: {s: {scale: [1, 5]}}}\n  customers: {source: c.csv, id: c}\n"
    )
    study = open_study(tmp_path)
    for left, right, told in (
        ("responses", "customers", "responses has several rows for some customers, and nothing says which is the latest; declare the wave, "
         "or give an item the role asked_at"),
        ("customers", "responses", "table responses holds customers more than once; match customers to a table with one row a customer"),
    ):  # fmt: skip
        with pytest.raises(StudyProblem) as caught:
            study.matched(left, right)
        assert str(caught.value) == told
