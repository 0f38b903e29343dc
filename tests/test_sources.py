"""Files as they are stored: text stays text, headers are found, bytes are never silently replaced."""

import datetime as dt
import itertools
import json
import re
import sqlite3
import struct
import time
import tracemalloc
import zipfile
from contextlib import closing
from pathlib import Path

import duckdb
import openpyxl
import pandas as pd
import pyreadstat
import pytest
import statsmodels
from python_calamine import CalamineWorkbook

from cxresearch.errors import StudyProblem
from cxresearch.sources import Reading, expand, read_query, read_table
from cxresearch.sources.text import utf8
from cxresearch.sources.workbook import DIMENSIONS


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(path, **how):
    wanted = how.pop("wanted", None)
    with pytest.raises(StudyProblem) as caught:
        read_table(path, wanted=wanted, reading=Reading(**how))
    return str(caught.value)


def test_text_stays_text(tmp_path):
    path = write(tmp_path / "a.csv", 'id,score,said\n007,"5",NA\n1_000,5.0,\n')
    frame = read_table(path).frame
    assert frame.to_dict("list") == {"id": ["007", "1_000"], "score": ["5", "5.0"], "said": ["NA", ""]}


def test_exact_header_first_then_without_surrounding_whitespace(tmp_path):
    path = write(tmp_path / "a.csv", "x ,x,NETPRO  \n1,2,3\n")
    frame = read_table(path, wanted={"x": "item x", "NETPRO": "item recommend"}).frame
    assert frame.to_dict("list") == {"x": ["2"], "NETPRO": ["3"]}


def test_only_wanted_columns_are_read_in_the_order_asked(tmp_path):
    path = write(tmp_path / "a.csv", "a,b,c\n1,2,3\n")
    assert list(read_table(path, wanted={"c": "item c", "a": "item a"}).frame.columns) == ["c", "a"]


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfid,x\n1,\xc3\xa9\n", "id,x\r\n1,é\r\n".encode(), 'id,x\n\n1,"é"'.encode()]
)
def test_byte_order_mark_line_ends_and_blank_lines_do_not_matter(tmp_path, content):
    assert read_table(write(tmp_path / "a.csv", content)).frame.to_dict("list") == {"id": ["1"], "x": ["é"]}


def test_a_quoted_cell_may_hold_separators_and_line_ends(tmp_path):
    path = write(tmp_path / "a.csv", 'id,"how, or\nwhy"\n1,"a, b\nc"\n')
    assert read_table(path).frame.to_dict("list") == {"id": ["1"], "how, or\nwhy": ["a, b\nc"]}


@pytest.mark.parametrize(("mark", "end"), [*itertools.product(["", "\ufeff"], ["\n", "\r\n", "\r"])])
def test_a_line_that_names_the_separator_leaves_the_quick_way_open(tmp_path, monkeypatch, mark, end):
    rows = ["id;x;y", "1;a;", '2;"b;c";', "3;d;"]
    for name in ("_uneven_rows", "_require_closed_quotes"):
        monkeypatch.setattr(f"cxresearch.sources.text.{name}", None)
    path = write(tmp_path / "a.csv", mark + end.join(["sep=;", *rows, ""]))
    frame = read_table(path).frame
    assert frame.to_dict("list") == {"id": ["1", "2", "3"], "x": ["a", "b;c", "d"], "y": ["", "", ""]}
    assert list(frame.index) == [1, 2, 3]


def test_a_column_of_texts_is_of_one_kind_whatever_file_or_database_it_comes_from(tmp_path):
    table = pd.DataFrame({"id": ["a", "c"], "x": ["b", None], "n": ["1", "2"]})
    table.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "uneven.csv").write_text("id,x,n\na,b,1\nc,,2,\n")
    table.to_excel(tmp_path / "a.xlsx", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    table.astype("category").to_parquet(tmp_path / "codes.parquet")
    pyreadstat.write_sav(table, str(tmp_path / "a.sav"))
    table.to_json(tmp_path / "a.json", orient="records")
    table.to_json(tmp_path / "lines.json", orient="records", lines=True)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        table.to_sql("t", connection, index=False)
    with duckdb.connect(str(tmp_path / "a.duckdb")) as connection:
        connection.register("rows", table)
        connection.execute("create table t as select * from rows")
    files = sorted(path for path in tmp_path.iterdir() if path.suffix not in (".db", ".duckdb"))
    raws = {path.name: read_table(path) for path in files}
    for file in ("a.db", "a.duckdb"):
        raws[file] = read_query(file, "select * from t", folder=tmp_path, name="t", wanted=dict.fromkeys(table, "item"))
    assert len(raws) == 10
    for file, raw in raws.items():
        assert set(raw.frame.dtypes) == {pd.Series(["a"]).dtype}, file
        assert raw.frame.fillna("").to_numpy().tolist() == [["a", "b", "1"], ["c", "", "2"]], file


def test_one_emoji_does_not_make_four_bytes_of_every_letter(tmp_path, monkeypatch):
    monkeypatch.setattr("cxresearch.sources.text.BLOCK", 1 << 16)
    rows = b"1,a comment of some length\n" * 150_000
    path = write(tmp_path / "a.csv", b"id,x\n" + rows + "2,😀\n".encode() + rows)
    tracemalloc.start()
    utf8(path, Reading())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * path.stat().st_size
    content = path.read_bytes()  # a letter over two pieces is read, and a place is counted from the start of the file
    for start in range(4):
        moved = write(tmp_path / "b.csv", content[: 5 + start].ljust((1 << 16) - 2, b"y") + "😀,1\n".encode() * 9)
        assert utf8(moved, Reading()).content == moved.read_bytes()
        bad = write(tmp_path / "c.csv", moved.read_bytes()[: (1 << 16) + start] + b"\xff\n")
        with pytest.raises(UnicodeDecodeError) as expected:
            bad.read_bytes().decode()
        assert f"position {expected.value.start} " in refused(bad)


def test_a_declared_encoding_is_decoded(tmp_path):
    path = write(tmp_path / "a.csv", "id,x\n1,zażółć\n".encode("cp1250"))
    assert read_table(path, reading=Reading(encoding=("cp1250",))).frame["x"].tolist() == ["zażółć"]
    path = write(tmp_path / "b.csv", "id,x\n1,да\n".encode("utf-16"))
    assert read_table(path, reading=Reading(encoding=("utf-16",))).frame["x"].tolist() == ["да"]


def test_control_characters_are_counted_and_shown(tmp_path):
    path = write(tmp_path / "a.csv", b"id,x\n1,tr" + b"\xe8s d\x82velopp\x82\n")
    raw = read_table(path, reading=Reading(encoding=("latin-1",)))
    assert raw.notes == (
        "2 control characters (0x80-0x9F) read as latin-1, which text does not hold, in 'd\\x82velopp\\x82'",
    )


def test_declared_replacement_is_counted_apart_from_marks_already_there(tmp_path):
    path = write(tmp_path / "a.csv", "id,x\n1,\ufffd".encode() + b"\xe9t\xe9\n")
    raw = read_table(path, reading=Reading(encoding_errors="replace"))
    assert raw.frame["x"].tolist() == ["\ufffd\ufffdt\ufffd"]
    assert raw.notes == ("2 undecodable characters replaced (encoding_errors: replace)",)


@pytest.mark.parametrize(("content", "how", "wanted", "told"), [
    (b"id,x\n1,ok\n2,tr\xe8s\n", {}, None, " is not UTF-8: byte 0xe8 at position 14 (line 3); declare its encoding in study.yml, for "
     "example encoding: cp1252"),
    (b"id,x\n1,ok\n2,tr\xe8s\n", {"encoding": ("ascii",)}, None, " is not ASCII: byte 0xe8 at position 14 (line 3); declare another "
     "encoding in study.yml, for example encoding: cp1252"),
    ("id,x\n1,2\n".encode("utf-16"), {}, ["id"], " is not UTF-8: byte 0xff at position 0 (line 1); declare its encoding in study.yml, "
     "for example encoding: utf-16"),
    ("id,x\n1,2\n".encode("utf-16-le"), {}, None, " holds zero bytes and is no text; declare its encoding in study.yml, for example "
     "encoding: utf-16"),
    ("id;x;y\n1;2;3\n", {}, None, ": the header is one column 'id;x;y'; declare separator: ';' in study.yml"),
    ("id,x\n1,2\n3,4,5\n6\n", {}, None, ": 1 row does not have the 2 columns of the header (first: row 3 with 3); correct the file, or "
     "declare its separator in study.yml"),
    ("id,x,note\n1,10,a\n2,1", {}, None, ": row 3, the last, breaks off after 2 of 3 cells; fetch the file anew, or delete that row"),
    ("id,x,note\n1,10,\n2 7,b\n3,9,\n", {}, None, ": rows end early (1; first: row 3, 2 of 3 cells), but row 2 has its last cell although "
     "that is blank: a separator is missing; correct the file"),
    ("id, x,x \n1,2,3\n", {}, ["x"], " has 2 columns 'x' (item); say which one is meant: 'x#1' is the first"),
    ("id,Other,Other,Other#1,rec\n1,2,4,3,9\n", {}, ["Other"], " has 2 columns 'Other' (item); say which one is meant: 'Other##1' is the "
     "first"),
    ("id,x,x \n1,2,3\n", {}, ["x#3"], " has no column 'x#3' (item)"),
    ("id,NETPRO  \n1,2\n", {}, ["NETPROO"], " has no column 'NETPROO' (item); did you mean 'NETPRO'?"),
    ("x\n1\n", {"sheet": "Data"}, None, " is no Excel file and has no sheet 'Data'; leave sheet out of study.yml"),
])  # fmt: skip
def test_what_a_text_file_is_refused_for(tmp_path, content, how, wanted, told):
    path = write(tmp_path / "a.csv", content)
    assert refused(path, wanted=wanted and dict.fromkeys(wanted, "item"), **how) == f"a.csv{told}"


@pytest.mark.parametrize("at", [(1 << 20) - 1, 1 << 20, (1 << 20) + 7])
def test_wrong_byte_is_found_across_chunks(tmp_path, at):
    content = bytearray(b"id,x\n" + b"1,ab\n" * 300_000)
    content[at - 1 : at + 1] = b"\xc3\x28"  # the first half of a character, split by the end of a chunk
    line = bytes(content[: at - 1]).count(b"\n") + 1
    assert f"byte 0xc3 at position {at - 1} (line {line})" in refused(write(tmp_path / "a.csv", bytes(content)))


def test_rows_that_end_early_are_filled_with_blanks_and_counted(tmp_path):
    rows = [f"{i},{i % 11},{i % 5 + 1}" + (",x" if i % 4 else "") for i in range(1, 60)]
    raw = read_table(write(tmp_path / "a.csv", "\n".join(["id,rec,sat,note", *rows])))
    assert raw.frame["note"].tolist() == ["x" if i % 4 else "" for i in range(1, 60)]
    assert raw.notes == ("14 rows end early: their last cells are blank",)
    assert read_table(write(tmp_path / "b.csv", "id,x\n1,2,,\n3,4\n")).frame.shape == (2, 2)


def test_excel_leaves_out_blank_ends_by_16_rows_and_writes_them_elsewhere(tmp_path):
    rows = ["id,x,note", *(f"{i},{i % 11}" + ("" if 16 <= i < 32 else "," if i % 2 else ",a") for i in range(1, 40))]
    raw = read_table(write(tmp_path / "a.csv", "\n".join(rows) + "\n"))
    assert raw.frame["x"].tolist() == [str(i % 11) for i in range(1, 40)]
    assert raw.notes == ("16 rows end early: their last cells are blank",)


def test_a_quotation_mark_that_is_left_open_is_refused_with_both_lines(tmp_path):
    rows = [f"{i},{i % 11}," + ('"open quote' if i in (20, 40) else f"fine {i}") for i in range(1, 60)]
    said = refused(write(tmp_path / "a.csv", "\n".join(["id,rec,note", *rows, ""])))
    assert said == (
        "a.csv: a quotation mark opens a cell in line 21, and the next one, in line 41, does not end it; take out the one "
        "that is too many, or write it twice inside a cell"
    )
    rows[39] = "40,7,fine"
    assert "in line 21, and the next one, in line 60, does not end it" in refused(
        write(tmp_path / "a.csv", "\n".join(["id,rec,note", *rows, ""]))
    )


@pytest.mark.parametrize(("head", "what", "names"), [
    ("Survey of spring\nid,x,y\n", ["ignore", "name"], ["id", "x", "y"]),
    ("Survey of spring, all, of it, and more\nid,x,y\n", ["ignore", "name"], ["id", "x", "y"]),
    ("id,How\n,Staff,Prices\n", ["question", "option"], ["id", "How: Staff", "How: Prices"]),
    ("id,x\nThe id,The x,The y\n", ["name", "label"], ["id", "x", "column 3"]),
    ("id,x,y\nThe id\n", ["name", "label"], ["id", "x", "y"]),
])  # fmt: skip
def test_rows_of_the_header_may_be_of_any_width_and_no_column_is_lost(tmp_path, head, what, names):
    raw = read_table(write(tmp_path / "a.csv", f"{head}1,2,3\n4,5,\n"), reading=Reading(header=tuple(what)))
    assert list(raw.frame.columns) == names and raw.frame.to_numpy().tolist() == [["1", "2", "3"], ["4", "5", ""]]
    assert raw.notes == () and list(raw.frame.index) == [1, 2]


def test_a_separator_within_a_label_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", "id,x\nThe id, as given,The x\n1,2\n3,4\n")
    told = "a.csv: a row of the header has 3 cells, but no row below it more than 2; correct the file"
    assert refused(path, header=("name", "label")) == told


def test_blank_lines_of_one_column_are_blank_answers(tmp_path):
    text = "rec\n" + "\n".join("" if i % 3 == 0 else str(i % 11) for i in range(1, 91)) + "\n"
    frame = read_table(write(tmp_path / "a.csv", text)).frame
    assert len(frame) == 90 and (frame["rec"] == "").sum() == 30 and list(frame.index[:2]) == [0, 1]


def test_a_line_that_names_the_separator_is_no_header(tmp_path):
    path = write(tmp_path / "a.csv", "sep=;\r\nid;rec\r\n1;9\r\n2;7\r\n")
    for how in (Reading(), Reading(separator=";")):
        frame = read_table(path, reading=how).frame
        assert frame.to_dict("list") == {"id": ["1", "2"], "rec": ["9", "7"]} and list(frame.index) == [1, 2]


def test_columns_of_one_name_are_told_apart_also_from_one_that_is_called_so(tmp_path):
    path = write(tmp_path / "a.csv", "id,Other,Other,Other#1,rec\n1,2,4,3,9\n")
    assert list(read_table(path).frame.columns) == ["id", "Other##1", "Other##2", "Other#1", "rec"]
    wanted = dict.fromkeys(("Other#1", "Other##2"), "item x")
    assert read_table(path, wanted=wanted).frame.to_dict("list") == {"Other#1": ["3"], "Other##2": ["4"]}


@pytest.mark.parametrize(("content", "told"), [
    (2 * ("x," * 15_000 + "y\n"), ()),
    ("id,x,note\n1,2,a\n" + "1,2\n" * 150_000, ("150000 rows end early: their last cells are blank",)),
    ("id,x\n1,d\x82v\n2," + "a" * 100_000 + "\n", ("1 control characters (0x80-0x9F) read as latin-1, which text does not "
     "hold, in 'd\\x82v'",)),
], ids=["one name", "short rows", "a long word"])  # fmt: skip
def test_a_small_file_takes_no_time_that_grows_with_the_square_of_its_size(tmp_path, content, told):
    path, start = write(tmp_path / "a.csv", content.encode("latin-1")), time.process_time()
    assert read_table(path, reading=Reading(encoding=("latin-1",))).notes == told
    assert time.process_time() - start < 20  # minutes, once


def test_columns_that_all_have_one_name_are_told_apart(tmp_path):
    path = write(tmp_path / "a.csv", 2 * ("x," * 1_500 + "y\n"))
    assert list(read_table(path).frame.columns[[0, -2, -1]]) == ["x#1", "x#1500", "y"]


def test_a_header_that_stands_twice_is_refused_only_when_asked_for(tmp_path):
    path = write(tmp_path / "a.csv", "id,x,x \n1,2,3\n")
    assert read_table(path, wanted={"id": "id"}).frame.shape == (1, 1)
    assert read_table(path, wanted={"x": "item x"}).frame["x"].tolist() == ["2"]
    assert read_table(path, wanted={"x#2": "item x", "id": "id"}).frame.to_dict("list") == {"x#2": ["3"], "id": ["1"]}


def test_columns_of_one_name_keep_their_own_labels(tmp_path):
    path = write(tmp_path / "a.csv", "id,Other,Other,x \nWho,Why?,Why not?,How?\n1,2,3,4\n")
    header = Reading(header=("name", "label"))
    labels = {"id": "Who", "Other#1": "Why?", "Other#2": "Why not?", "x ": "How?"}
    assert read_table(path, reading=header).meanings.labels == labels
    wanted = dict.fromkeys(("x", "Other#2"), "item")
    assert read_table(path, wanted=wanted, reading=header).meanings.labels == {"x": "How?", "Other#2": "Why not?"}


def workbook(path, **sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_excel_keeps_numbers_text_and_dates(tmp_path):
    path = workbook(
        tmp_path / "a.xlsx",
        Data=[["id ", "x", "on"], ["007", 5, dt.datetime(2018, 1, 2)], [None, None, None], ["8", "Blank", None]],
    )
    frame = read_table(path, wanted={"id": "id", "x": "item x", "on": "item on"}).frame
    assert frame["id"].tolist() == ["007", "8"] and frame["x"].tolist() == [5.0, "Blank"]
    assert frame["on"].iloc[0] == dt.date(2018, 1, 2) and pd.isna(frame["on"].iloc[1])
    assert list(frame.index) == [0, 2]  # rows keep the numbers that a spreadsheet shows


def test_a_whole_number_in_a_header_is_called_as_it_is_shown(tmp_path):
    path = workbook(tmp_path / "a.xlsx", Data=[["id", 2018, 1234567, 1.5, 2**52], [1, 2, 3, 4, 5]])
    assert list(read_table(path).frame.columns) == ["id", "2018", "1234567", "1.5", str(2**52)]


def test_one_of_several_sheets_must_be_declared(tmp_path):
    path = workbook(tmp_path / "a.xlsx", Codes=[["a"], [1]], Data=[["b"], [2]])
    assert (
        refused(path)
        == "a.xlsx has 2 sheets ('Codes', 'Data'); declare which one in study.yml, for example sheet: Codes"
    )
    assert refused(path, sheet="Dta") == "a.xlsx has no sheet 'Dta'; did you mean 'Data'?"
    assert read_table(path, reading=Reading(sheet="Data")).frame.to_dict("list") == {"b": [2.0]}


LISTED = [["id", "rec", "spend"], *([i, i % 11, 100 + i] for i in range(1, 61))]


def test_cells_with_errors_are_counted_and_named(tmp_path):
    path = workbook(tmp_path / "a.xlsx", Data=LISTED)
    book = openpyxl.load_workbook(path)
    sheet = book.active
    for at, what in (("C5", "#N/A"), ("B6", "#DIV/0!")):
        sheet[at] = what
        sheet[at].data_type = "e"
    book.save(path)
    raw = read_table(path, wanted={"rec": "item rec", "spend": "item spend"})
    assert raw.notes == ("2 cells hold errors and are read as blank: #N/A in C5, #DIV/0! in B6",)
    assert len(raw.frame) == 60 and raw.frame.isna().sum().tolist() == [1, 1]


def ods(path, *, far):
    """Write LISTED as LibreOffice does: rows and cells that repeat, blank ones to the last corner of the sheet."""
    uri = "urn:oasis:names:tc:opendocument:xmlns:"
    spaces = " ".join(f'xmlns:{name}="{uri}{name}:1.0"' for name in ("office", "table", "text"))
    kinds = {True: 'office:value-type="string"', False: 'office:value-type="float" office:value="{}"'}
    cell = "<table:table-cell {}><text:p>{}</text:p></table:table-cell>"
    filled = [[cell.format(kinds[isinstance(v, str)].format(v), v) for v in row] for row in LISTED]
    blank = '<table:table-cell table:number-columns-repeated="16383"/>'
    last = cell.format(kinds[False].format(1), 1) if far else "<table:table-cell/>"
    rows = "".join(f"<table:table-row>{''.join(row)}</table:table-row>" for row in [*filled, [blank, last]])
    between = f'<table:table-row table:number-rows-repeated="1048514">{blank}</table:table-row>'
    rows = rows.replace(f"<table:table-row>{blank}", f"{between}<table:table-row>{blank}")
    table = f'<table:table table:name="Data">{rows}</table:table>'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", f'<m:manifest xmlns:m="{uri}manifest:1.0"/>')
        body = f"<office:body><office:spreadsheet>{table}</office:spreadsheet></office:body>"
        archive.writestr("content.xml", f"<office:document-content {spaces}>{body}</office:document-content>")
    return path


def xlsb(path, *, far):
    """Write LISTED as records: kind and length, and what they say of a row, a text or a number."""

    def record(kind, content=b""):
        head = bytes([kind]) if kind < 128 else bytes([kind & 127 | 128, kind >> 7])
        size = bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 127 | 128, len(content) >> 7])
        return head + size + content

    def text(words):
        return struct.pack("<I", len(words)) + words.encode("utf-16-le")

    def cell(i, value):
        said = text(value) if isinstance(value, str) else struct.pack("<d", value)
        return record(6 if isinstance(value, str) else 5, struct.pack("<II", i, 0) + said)

    rows = {n: dict(enumerate(row)) for n, row in enumerate(LISTED)} | ({1048575: {16383: 1}} if far else {})
    sheet = record(129) + record(148, struct.pack("<IIII", 0, len(LISTED), 0, 2)) + record(145)
    for n, row in rows.items():
        sheet += record(0, struct.pack("<IIQ", n, 0, 0)) + b"".join(cell(i, value) for i, value in row.items())
    book = record(131) + record(143) + record(156, struct.pack("<II", 0, 1) + text("rId1") + text("Data"))
    kind = "http://schemas.openxmlformats.org/{}/2006/relationships"
    place = f'Id="rId1" Type="{kind.format("officeDocument")}/worksheet" Target="worksheets/sheet1.bin"'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.bin", book + record(144) + record(157, bytes(26)) + record(132))
        relations = f'<Relationships xmlns="{kind.format("package")}"><Relationship {place}/></Relationships>'
        archive.writestr("xl/_rels/workbook.bin.rels", relations)
        archive.writestr("xl/worksheets/sheet1.bin", sheet + record(146) + record(130))
    return path


def xlsx(path, *, far):
    book = openpyxl.load_workbook(workbook(path, Data=LISTED))
    if far:
        book.active["XFD1048576"] = "x"
    book.save(path)
    return path


@pytest.mark.parametrize("written", [xlsx, ods, xlsb])
def test_a_cell_at_the_last_corner_of_a_sheet_is_refused_before_anything_is_read(tmp_path, written):
    name = f"a.{written.__name__}"
    frame = read_table(written(tmp_path / name, far=False)).frame
    assert frame.shape == (60, 3) and frame["spend"].sum() == sum(range(101, 161))
    path = written(tmp_path / name, far=True)
    assert refused(path) == (
        f"{name} spans 1,048,576 rows and 16,384 columns, far more than a file of {path.stat().st_size:,} bytes can fill; "
        "look for a cell far away from the table, and save the table alone"
    )


def old_workbooks():
    files = {path.name: path for path in Path(statsmodels.__file__).parent.rglob("*.xls") if path.is_file()}
    return [files["macrodata.xls"], files["test_spec.xls"]]  # as Excel wrote them in 1995 and from 1997 on


@pytest.mark.parametrize("source", old_workbooks(), ids=lambda path: path.name)
def test_an_old_workbook_is_read_but_not_one_whose_sheet_goes_on_to_its_last_corner(tmp_path, source):
    path = write(tmp_path / "a.xls", source.read_bytes())
    sheet = CalamineWorkbook.from_path(path).sheet_names[-1]
    assert (
        len(read_table(path, reading=Reading(sheet=sheet)).frame)
        == {"macrodata.xls": 251, "test_spec.xls": 5}[source.name]
    )
    content = bytearray(path.read_bytes())
    *_, found = DIMENSIONS.finditer(content)
    for group, last in {1: 65_535, 2: 65_535, 3: 256}.items():
        start, end = found.span(group)
        content[start:end] = last.to_bytes(end - start, "little") if start > 0 else b""
    assert refused(write(path, bytes(content)), sheet=sheet).startswith(
        "a.xls spans 65,535 rows and 256 columns, far more"
    )


def test_a_library_that_panics_is_a_file_that_cannot_be_read(tmp_path):
    path = xlsb(tmp_path / "a.xlsb", far=False)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content.replace(b"rId1", b"rId9") if name.endswith(".rels") else content)
    assert refused(path) == "a.xlsb cannot be read as Excel: no entry found for key"


def test_a_workbook_that_unpacks_to_more_than_a_table_needs_is_refused(tmp_path):
    path = workbook(tmp_path / "a.xlsx", Data=LISTED)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/bomb.bin", bytes(90_000_000))
    assert re.match(r"a\.xlsx unpacks to 90,\d\d\d,\d\d\d bytes, more than a table needs", refused(path))


def test_parquet_reads_wanted_columns_and_does_not_round_ids_beside_a_gap(tmp_path):
    big = 2**60 + 1
    table = pd.DataFrame({"id": pd.array([big, None], dtype="Int64"), "x": [1.5, 2.0], "g": pd.Categorical(["a", "b"])})
    table.to_parquet(tmp_path / "a.parquet")
    frame = read_table(tmp_path / "a.parquet", wanted={"g": "item g", "id": "id"}).frame
    assert list(frame.columns) == ["g", "id"] and frame["id"].iloc[0] == big and frame["g"].tolist() == ["a", "b"]


def test_parquet_with_lists_is_refused(tmp_path):
    pd.DataFrame({"x": [[1, 2]]}).to_parquet(tmp_path / "a.parquet")
    assert (
        refused(tmp_path / "a.parquet")
        == "a.parquet: column 'x' holds lists or records, not one value a row; flatten it first, for "
        "example with pandas: json_normalize(records).to_csv(...)"
    )


def test_spss_keeps_stored_codes_and_says_what_is_user_missing(tmp_path):
    frame = pd.DataFrame({"id": [1.0, 2.0, 3.0], "x": [1.0, 5.0, -77.0]})
    labels = {"x": {1: "bad", 5: "good", -77: "refused"}}
    pyreadstat.write_sav(frame, str(tmp_path / "a.sav"), variable_value_labels=labels, missing_ranges={"x": [-77]})
    read = read_table(tmp_path / "a.sav", wanted={"x ": "item x"})
    assert read.frame["x "].tolist() == [1.0, 5.0, -77.0]
    assert read.meanings.codes == {"x ": labels["x"]} and read.meanings.missing == {"x ": [(-77, -77)]}


@pytest.mark.parametrize("wrapped", [lambda rows: rows, lambda rows: {"answers": rows, "n": 2}])
def test_json_records_are_read_alone_or_under_one_name(tmp_path, wrapped):
    rows = [{"id": 1, "x": "a"}, {"id": 2, "y": None}]
    path = write(tmp_path / "a.json", json.dumps(wrapped(rows)))
    assert read_table(path).frame.astype(object).where(lambda f: f.notna(), None).to_dict("list") == {
        "id": [1, 2], "x": ["a", None], "y": [None, None]
    }  # fmt: skip


def test_a_line_of_json_records_ends_with_its_line_end_only(tmp_path):
    said = [f"a{sign}b" for sign in "\u2028\u2029\x85"]
    text = "".join(json.dumps({"x": text}, ensure_ascii=False) + "\r\n" for text in said)
    assert read_table(write(tmp_path / "a.json", text)).frame["x"].tolist() == said


def test_unknown_ending(tmp_path):
    assert refused(write(tmp_path / "a.docx", b"x")) == (
        "a.docx: files ending in '.docx' are not read; known endings: .csv .tsv .txt .xlsx .xls .xlsm .xlsb .ods "
        ".parquet .pq .sav .zsav .json"
    )


def test_a_pattern_names_its_files_in_order_and_a_bracketed_name_itself(tmp_path):
    (tmp_path / "sales").mkdir()
    for name in ("b.csv", "a.csv"):
        write(tmp_path / "sales" / name, "x\n1\n")
    odd = write(tmp_path / "final [2].csv", "x\n1\n")
    assert [p.name for p in expand(tmp_path / "sales" / "*.csv")] == ["a.csv", "b.csv"]
    assert expand(odd) == [odd] and expand(tmp_path / "absent.csv") == [] and expand(tmp_path / "sales" / "*.sav") == []


def test_real_spss_file_of_hair_et_al(shared):
    frame = read_table(shared / "data" / "textbook" / "HBAT.sav").frame
    assert frame.shape == (100, 24) and frame["x19"].between(0, 10).all()
