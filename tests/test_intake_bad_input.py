"""What comes through the door and should not, and what is said, word for word."""

import csv

import openpyxl
import pytest

from cxresearch import open_study
from cxresearch.errors import StudyProblem
from cxresearch.findings import csv_safe
from cxresearch.intake import check_study, new_study

STUDY = (
    "title: T\ntables:\n  responses:\n    source: {file}\n{keys}    items:\n      x: {{scale: [0, 10], role: nps}}\n"
)


def study(folder, file, keys=""):
    (folder / "study.yml").write_text(STUDY.format(file=file, keys=keys))
    return folder / "study.yml"


def refused(folder, file, content, keys=""):
    """Write a file and return what the study and `new` say; the two must agree where no study is needed to say it."""
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StudyProblem) as caught:
        open_study(study(folder, file, keys)).load_all()
    with pytest.raises(StudyProblem):
        new_study([folder / file], out=folder / "new.yml")
    assert not (folder / "new.yml").exists()
    return str(caught.value)


@pytest.mark.parametrize(("file", "content", "told"), [
    *((f"a.{kind}", "", f"a.{kind} is empty") for kind in ("csv", "xlsx", "sav", "json")), ("a.csv", "\n\n", "a.csv is empty"),
    ("a.csv", "id,x\n", "a.csv has a header but no rows"),
    ("a.json", "{", "a.json is not valid JSON: line 1, column 2: Expecting property name enclosed in double quotes"),
    *((f"a.{ending}", b"not what it says", f"a.{ending} cannot be read as {kind}: ")
      for ending, kind in (("xlsx", "Excel"), ("parquet", "Parquet"), ("sav", "SPSS"))),
    ("a.xlsx", b"PK\x03\x04 and then nothing", "a.xlsx cannot be read as Excel: "),
    ("a.csv", bytes(range(256)) * 4, "a.csv is not UTF-8: byte 0x80 at position 128 (line 2); declare its encoding in study.yml"),
    # an encrypted workbook is an OLE container, and nothing in it can be read without the password
    ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4000), "a.xlsx is protected by a password; save it without one"),
    ("a.csv", "x,said\n9,ok\n10," + "y" * (1 << 25) + "\n", "a.csv cannot be read as text: "),
])  # fmt: skip
def test_a_file_that_holds_no_table_is_named(tmp_path, file, content, told):
    assert refused(tmp_path, file, content).startswith(told)


def test_only_headers(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["id", "x"])
    book.save(tmp_path / "b.xlsx")
    assert refused(tmp_path, "a.xlsx", (tmp_path / "b.xlsx").read_bytes()) == "a.xlsx has a header but no rows"
    assert refused(tmp_path, "a.csv", "id,x\n", keys="    header: [name, label]\n") == (
        "a.csv has 1 row, but study.yml declares 2 header rows"
    )


def test_ten_thousand_columns(tmp_path):
    header = ",".join(f"c{i}" for i in range(9_999))
    rows = "".join(f"{i % 11}," + ",".join(["1"] * 9_999) + "\n" for i in range(20))
    (tmp_path / "a.csv").write_text(f"x,{header}\n{rows}")
    assert open_study(study(tmp_path, "a.csv")).responses.table["x"].tolist() == [float(i % 11) for i in range(20)]
    wide = ",".join(f"c{i}" for i in range(20_001))
    assert refused(tmp_path, "b.csv", f"{wide}\n{wide}\n") == "b.csv has 20,001 columns; at most 20,000 are read"


def test_a_cell_of_four_megabytes(tmp_path):
    (tmp_path / "a.csv").write_text("x,said\n9,ok\n10," + "y" * 4_000_000 + "\n")
    assert open_study(study(tmp_path, "a.csv")).responses.table["x"].tolist() == [9.0, 10.0]
    new_study([tmp_path / "a.csv"], out=tmp_path / "new.yml")
    assert (tmp_path / "new.yml").stat().st_size < 5_000 and check_study(tmp_path / "new.yml")["problems"] == []


FORMULAS = ("=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1")


def test_formulas_stay_text_and_are_never_written_as_formulas(tmp_path):
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["x", "said"], *([5, formula] for formula in FORMULAS)])
    path = study(tmp_path, "a.csv")
    path.write_text(path.read_text() + "      said: {role: verbatim}\n")
    responses = open_study(path).responses.table
    assert responses["said"].tolist() == [formula.strip() for formula in FORMULAS] or responses[
        "said"
    ].tolist() == list(FORMULAS)
    written = csv_safe(responses).to_csv(index=False)
    assert all(line.split(",", 1)[1].lstrip('"')[:1] == "'" for line in written.splitlines()[1:])


def test_an_excel_formula_is_read_as_its_value(tmp_path):
    book = openpyxl.Workbook()
    for row in (["x", "said"], [5, "plain"], [7, "'=1+1"]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert open_study(study(tmp_path, "a.xlsx")).responses.table["x"].tolist() == [5.0, 7.0]


FLATTEN = "flatten it first, for example with pandas: json_normalize(records).to_csv(...)"
COUNTED = "a.csv", "x,y\n1,1\n"


@pytest.mark.parametrize(("file", "content", "keys", "told"), [
    ("a.csv", "x,y\n=1+1,1\n5,1\n", "", "a.csv: x holds 1 value that is not a number ('=1+1': 1); declare them as missing codes "
     "of item x in study.yml"),
    (*COUNTED, "    sheat: Data\n", "study.yml, line 5: unknown key 'sheat' in tables.responses; did you mean 'sheet'?"),
    (*COUNTED, "    header: [names]\n", "study.yml, line 5: tables.responses.header.0 cannot be names; did you mean 'name'?"),
    (*COUNTED, "    header: [option]\n", "study.yml, line 5: tables.responses.header: a header row of options needs one of "
     "questions above it"),
    (*COUNTED, "    exclude: {Y: [1]}\n", "a.csv has no column 'Y' (exclude in study.yml); did you mean 'y'?"),
    (*COUNTED, "    exclude: {y: [1]}\n", "tables.responses has no rows left: 1 row with y 1 (exclude)"),
    ("a.csv", "id,x\nThe id,The score\nskip,skip\n1,5\n,7\n", "    header: [name, label, ignore]\n    id: id\n",
     "a.csv: id is blank in 1 row (row 5), but every row needs its respondent; correct the file"),
    ("a.json", "[1, 2]", "", "a.json: record 1 is no object with names and values; found int"),
    ("a.json", '{"a": [{"x": 1}], "b": [{"x": 2}]}', "", "a.json holds 2 lists ('a', 'b'); declare which one in study.yml, for "
     "example records: a"),
    ("a.json", '[{"x": 1, "y": [{"z": 1}]}]', "", f"a.json: y of record 1 holds records or a list, not one value; {FLATTEN}"),
    ("a.json", '[{"x": 1}, {"x": {"z": 1}}]', "", f"a.json: x of record 2 holds records or a list, not one value; {FLATTEN}"),
    ("a.json", '{"a": {"b": [{"x": 1}]}}', "", f"a.json holds no list of records; {FLATTEN}"),
    ("a.json", "[" * 100_000, "", f"a.json is nested too deeply to be a table; {FLATTEN}"),
])  # fmt: skip
def test_what_is_wrong_is_said_word_for_word(tmp_path, file, content, keys, told):
    (tmp_path / file).write_text(content)
    with pytest.raises(StudyProblem) as caught:
        open_study(study(tmp_path, file, keys)).load_all()
    assert str(caught.value) == told


def test_yaml_no_is_norway(tmp_path):
    (tmp_path / "a.csv").write_text("x,land\n1,NO\n2,SE\n3,no\n")
    path = study(tmp_path, "a.csv", "    exclude: {land: [NO]}\n")
    path.write_text(path.read_text() + "      land: {labels: {SE: Sweden, no: none}}\n")
    responses = open_study(path).responses.table
    assert responses["land"].tolist() == ["Sweden", "none"] and responses["x"].tolist() == [2.0, 3.0]


def test_whitespace_no_header_and_labels(tmp_path):
    (tmp_path / "a.txt").write_text(" 1  10 \n 2\t9\n\n3 0\n")
    path = study(tmp_path, "a.txt", "    separator: whitespace\n    header: none\n    id: column 1\n")
    path.write_text(path.read_text().replace("x: {", "x: {column: column 2, "))
    responses = open_study(path).read("responses").table
    assert responses["x"].tolist() == [10.0, 9.0, 0.0] and responses["respondent"].tolist() == ["1", "2", "3"]


def test_multiple_choice_by_declaration(tmp_path):
    (tmp_path / "a.csv").write_text("x,picked\n1,1;3;\n2,\n3,97;\n4,3\n5,98\n6,1;4\n")
    path = study(tmp_path, "a.csv")
    item = '      picked: {multiple: ";", labels: {1: Price, 3: Staff}, missing: [97], not_applicable: [98]}\n'
    path.write_text(path.read_text() + item)
    with pytest.raises(StudyProblem) as caught:
        open_study(path).load_all()
    assert str(caught.value) == (
        "a.csv: picked holds 1 cell with a code that has no label ('1;4': 1); add to labels or missing codes of item "
        "picked in study.yml"
    )
    path.write_text(path.read_text().replace("3: Staff", "3: Staff, 4: Range"))
    responses = open_study(path).responses.table
    assert responses["picked"].tolist()[0] == "Price; Staff" and responses["picked"].isna().sum() == 3
    assert responses["picked_3"].dropna().tolist() == [1.0, 1.0, 0.0]
    assert responses["picked_met"].tolist() == [True, True, True, True, False, True]


def test_one_of_several_lists_is_declared(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [{"x": 1}], "b": [{"x": 2}]}')
    assert open_study(study(tmp_path, "a.json", "    records: b\n")).responses.table["x"].tolist() == [2]
