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


def test_empty_file(tmp_path):
    for name in ("a.csv", "a.xlsx", "a.sav", "a.json"):
        assert refused(tmp_path, name, "") == f"{name} is empty"


def test_only_headers(tmp_path):
    assert refused(tmp_path, "a.csv", "id,x\n") == "a.csv has a header but no rows"
    book = openpyxl.Workbook()
    book.active.append(["id", "x"])
    book.save(tmp_path / "b.xlsx")
    assert refused(tmp_path, "a.xlsx", (tmp_path / "b.xlsx").read_bytes()) == "a.xlsx has a header but no rows"
    assert refused(tmp_path, "a.csv", "id,x\n", keys="    header: [name, label]\n") == (
        "a.csv has 1 row, but study.yml declares 2 header rows"
    )


def test_unreadable_file(tmp_path):
    assert refused(tmp_path, "a.xlsx", b"PK\x03\x04 and then nothing").startswith("a.xlsx cannot be read as Excel: ")
    assert refused(tmp_path, "a.parquet", b"PAR1xxxx").startswith("a.parquet cannot be read as Parquet: ")
    assert refused(tmp_path, "a.csv", bytes(range(256)) * 4).startswith(
        "a.csv is not UTF-8: byte 0x80 at position 128 (line 2); declare its encoding in study.yml"
    )


def test_password_protected_excel(tmp_path):
    # An encrypted workbook is an OLE container, and nothing in it can be read without the password.
    content = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4000)
    assert refused(tmp_path, "a.xlsx", content) == "a.xlsx is protected by a password; save it without one"


def test_ten_thousand_columns(tmp_path):
    header = ",".join(f"c{i}" for i in range(9_999))
    rows = "".join(f"{i % 11}," + ",".join(["1"] * 9_999) + "\n" for i in range(20))
    (tmp_path / "a.csv").write_text(f"x,{header}\n{rows}")
    assert open_study(study(tmp_path, "a.csv")).responses.table["x"].tolist() == [float(i % 11) for i in range(20)]
    wide = ",".join(f"c{i}" for i in range(20_001))
    assert refused(tmp_path, "b.csv", f"{wide}\n{wide}\n") == "b.csv has 20,001 columns; at most 20,000 are read"


def test_a_cell_of_ten_megabytes(tmp_path):
    (tmp_path / "a.csv").write_text("x,said\n9,ok\n10," + "y" * 10_000_000 + "\n")
    assert open_study(study(tmp_path, "a.csv")).responses.table["x"].tolist() == [9.0, 10.0]
    new_study([tmp_path / "a.csv"], out=tmp_path / "new.yml")
    assert (tmp_path / "new.yml").stat().st_size < 5_000 and check_study(tmp_path / "new.yml")["problems"] == []


def test_a_cell_larger_than_the_reader_takes(tmp_path):
    content = "x,said\n9,ok\n10," + "y" * (1 << 25) + "\n"
    assert refused(tmp_path, "a.csv", content).startswith("a.csv cannot be read as text: ")


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


def test_a_formula_in_the_number_column_is_no_number(tmp_path):
    assert refused_study(tmp_path, "x,y\n=1+1,1\n5,1\n") == (
        "a.csv: x holds 1 value that is not a number ('=1+1': 1); declare them as missing codes of item x in study.yml"
    )


def refused_study(folder, content):
    (folder / "a.csv").write_text(content)
    with pytest.raises(StudyProblem) as caught:
        open_study(study(folder, "a.csv")).load_all()
    return str(caught.value)


def test_unknown_keys_with_the_nearest(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,1\n")
    for keys, said in (
        ("    sheat: Data\n", "study.yml, line 5: unknown key 'sheat' in tables.responses; did you mean 'sheet'?"),
        (
            "    exlude: {y: [1]}\n",
            "study.yml, line 5: unknown key 'exlude' in tables.responses; did you mean 'exclude'?",
        ),
        ("    qury: select\n", "study.yml, line 5: unknown key 'qury' in tables.responses; did you mean 'query'?"),
        (
            "    header: [names]\n",
            "study.yml, line 5: tables.responses.header.0 cannot be names; did you mean 'name'?",
        ),
        (
            "    header: [option]\n",
            "study.yml, line 5: tables.responses.header: a header row of options needs one of questions above it",
        ),
    ):
        with pytest.raises(StudyProblem) as caught:
            open_study(study(tmp_path, "a.csv", keys))
        assert str(caught.value) == said


def test_an_excluded_column_that_is_not_there(tmp_path):
    (tmp_path / "a.csv").write_text("x,Status\n1,0\n")
    with pytest.raises(StudyProblem) as caught:
        open_study(study(tmp_path, "a.csv", "    exclude: {Statsu: [1]}\n")).load_all()
    assert str(caught.value) == "a.csv has no column 'Statsu' (exclude in study.yml); did you mean 'Status'?"


def test_yaml_no_is_norway(tmp_path):
    (tmp_path / "a.csv").write_text("x,land\n1,NO\n2,SE\n3,no\n")
    path = study(tmp_path, "a.csv", "    exclude: {land: [NO]}\n")
    path.write_text(path.read_text() + "      land: {labels: {SE: Sweden, no: none}}\n")
    responses = open_study(path).responses.table
    assert responses["land"].tolist() == ["Sweden", "none"] and responses["x"].tolist() == [2.0, 3.0]


def test_only_excluded_rows(tmp_path):
    (tmp_path / "a.csv").write_text("x,Status\n1,1\n2,1\n")
    with pytest.raises(StudyProblem) as caught:
        open_study(study(tmp_path, "a.csv", "    exclude: {Status: [1]}\n")).load_all()
    assert str(caught.value) == "tables.responses has no rows left: 2 rows with Status 1 (exclude)"


def test_whitespace_no_header_and_labels(tmp_path):
    (tmp_path / "a.txt").write_text(" 1  10 \n 2\t9\n\n3 0\n")
    path = study(tmp_path, "a.txt", "    separator: whitespace\n    header: none\n    id: column 1\n")
    path.write_text(path.read_text().replace("x: {", "x: {column: column 2, "))
    responses = open_study(path).read("responses").table
    assert responses["x"].tolist() == [10.0, 9.0, 0.0] and responses["respondent"].tolist() == ["1", "2", "3"]


def test_rows_are_numbered_as_in_the_file_under_several_header_rows(tmp_path):
    (tmp_path / "a.csv").write_text("id,x\nThe id,The score\nskip,skip\n1,5\n,7\n")
    with pytest.raises(StudyProblem) as caught:
        open_study(study(tmp_path, "a.csv", "    header: [name, label, ignore]\n    id: id\n")).load_all()
    assert (
        str(caught.value) == "a.csv: id is blank in 1 row (row 5), but every row needs its respondent; correct the file"
    )


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


def test_json_that_is_no_table(tmp_path):
    for content, said in (
        ("[1, 2]", "a.json: record 1 is no object with names and values; found int"),
        (
            '{"a": [{"x": 1}], "b": [{"x": 2}]}',
            "a.json holds 2 lists ('a', 'b'); declare which one in study.yml, for example records: a",
        ),
        (
            '[{"x": 1, "y": [{"z": 1}]}]',
            "a.json: y of record 1 holds records or a list, not one value; flatten it first, for example with pandas: "
            "json_normalize(records).to_csv(...)",
        ),
        (
            "[" * 100_000,
            "a.json is nested too deeply to be a table; flatten it first, for example with pandas: "
            "json_normalize(records).to_csv(...)",
        ),
    ):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(StudyProblem) as caught:
            open_study(study(tmp_path, "a.json")).load_all()
        assert str(caught.value) == said
    (tmp_path / "a.json").write_text('{"a": [{"x": 1}], "b": [{"x": 2}]}')
    assert open_study(study(tmp_path, "a.json", "    records: b\n")).responses.table["x"].tolist() == [2]
