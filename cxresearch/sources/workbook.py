"""Tables that are no text: Excel, Parquet, SPSS and JSON rows. Sizes are looked at before anything is read."""

import contextlib
import json
import re
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pyarrow as pa
from pyarrow import parquet
from python_calamine import CalamineWorkbook, PasswordError

from cxresearch.errors import nearest
from cxresearch.sources.text import Meanings, RawTable, Reading, refusal, require_fitting_size, say, utf8

LOCKED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an encrypted .xlsx is wrapped in an OLE file
CELL = re.compile(rb"<(?:\w+:)?c\s[^>]*?\br=[\"']([A-Z]{1,3})(\d{1,7})[\"']")
ERROR = re.compile(rb"<(?:\w+:)?c\s(?=[^>]*?\bt=[\"']e)[^>]*?\br=[\"']([A-Z]+\d+)[^>]*>.*?<(?:\w+:)?v>([^<]*)<", re.S)
NUMBER = re.compile(r"\s*[+-]?\d+(?:\.\d+)?\s*")
# The head of a record of an .xlsb: its kind and its length, each going on while the high bit is set.
RECORD = re.compile(rb"([\x80-\xff].|[\x00-\x7f])([\x80-\xff]{0,3}[\x00-\x7f])", re.S)
# Of a sheet of an .xls, of two ages: the row and the column behind its last cell.
DIMENSIONS = re.compile(rb"\x00\x02(?:\n\x00..(..)|\x0e\x00.{4}(.{4}))..(..)\x00\x00", re.S)
FITTING = dict(least=4_000_000, per_byte=2)  # cells of a sheet
MOST_UNPACKED = 80_000_000  # bytes; a larger workbook may unpack to thirty times its size
WHOLE = {t: pd.Int64Dtype() for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64())}


def read_excel(path: Path, reading: Reading) -> Generator:
    """Read the cells of one sheet; cells that hold errors are blank, and told."""
    rows, notes = cells(path, reading.sheet)
    n = len(reading.header)
    if len(rows) < max(n, 1):
        raise refusal("header rows" if rows else "empty", file=path.name, n=f"{len(rows)} rows", declared=n)
    # A year in a header that is stored as 2018.0 is called 2018.
    header = [[str(int(c) if isinstance(c, float) and c.is_integer() else c) for c in row] for row in rows[:n]]
    positions = yield header, len(rows[0])
    frame = pd.DataFrame(rows[n:], range(n - 1, len(rows) - 1), range(len(rows[0])), dtype=object)
    yield RawTable(frame.mask(frame == "").dropna(how="all")[positions].apply(pd.Series.infer_objects), notes)


def cells(path: Path, sheet: str | None) -> tuple[list[list], tuple[str, ...]]:
    """Return the rows of a sheet, or of the only one, and what was found in its cells."""
    book, errors = open_book(path), []
    sheet = _one_of(book.sheet_names, sheet, "sheet", path.name)
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        with zipfile.ZipFile(path) as archive:
            listed = ElementTree.fromstring(archive.read("xl/workbook.xml")).findall(".//{*}sheet")
            [link] = (v for of in listed if of.get("name") == sheet for key, v in of.items() if key.endswith("}id"))
            targets = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
            [place] = (of.get("Target") for of in targets if of.get("Id") == link)
            content = archive.read(place[1:] if place.startswith("/") else f"xl/{place}")
        columns, last = set(), 1
        for cell in CELL.finditer(content):
            columns.add(cell[1])
            last = max(last, int(cell[2]))
        width = max((sum((c - 64) * 26**i for i, c in enumerate(reversed(name))) for name in columns), default=0)
        require_fitting_size(path, last, width, **FITTING)
        errors = [f"{what.decode()} in {at.decode()}" for at, what in ERROR.findall(content)]
    notes = (say("errors", n=len(errors), cells=", ".join(errors[:5])),) * bool(errors)
    return book.get_sheet_by_name(sheet).to_python(), notes


def _one_of(names: list[str], asked: str | None, kind: str, file: str) -> str:
    """Return which of the sheets or lists is asked for, or the only one."""
    if asked is None and len(names) > 1:
        raise refusal(f"{kind}s", file=file, n=len(names), names=", ".join(map(repr, names)), first=names[0])
    if asked is not None and asked not in names:
        raise refusal(f"no {kind}", file=file, name=asked, near=nearest(asked, names))
    return names[0] if asked is None else asked


def open_book(path: Path):
    """Return a workbook of which no cell is read yet; its ``sheet_names`` are known."""
    content, old = path.read_bytes(), path.suffix.lower() == ".xls"
    for found in DIMENSIONS.findall(content) if old else ():
        require_fitting_size(path, *(int.from_bytes(n, "little") for n in found if n), **FITTING)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
            if unpacked > max(MOST_UNPACKED, 30 * path.stat().st_size):
                raise refusal("unpacked", file=path.name, size=f"{unpacked:,}")
            for span in _spans(archive):
                require_fitting_size(path, *span, **FITTING)
    with contextlib.suppress(PasswordError):
        if old or not content.startswith(LOCKED):
            return CalamineWorkbook.from_path(path)
    raise refusal("password", file=path.name)


def _spans(archive: zipfile.ZipFile) -> Iterator[tuple[int, int]]:
    """Yield the last row and column that hold a cell, of each sheet of an .xlsb or an .ods."""
    for name in archive.namelist():
        records = archive.read(name) if re.fullmatch(r"xl/worksheets/.*\.bin", name) else b""
        nodes = ElementTree.iterparse(archive.open(name)) if name == "content.xml" else ()
        at = rows = last = width = 0
        while found := RECORD.match(records, at):
            place = int.from_bytes(records[found.end() : found.end() + 4], "little") + 1
            last = max(last, place) if found[1] == b"\0" else last  # a row, and then its cells
            width = max(width, place) if b"\0" < found[1] < b"\x0c" else width
            at = found.end() + sum((byte & 127) << 7 * i for i, byte in enumerate(found[2]))
        yield last, width
        for _, node in nodes:
            if node.tag.endswith("}table-row"):
                times = [int(next((v for k, v in of.items() if k.endswith("-repeated")), 1)) for of in (node, *node)]
                rows += times[0]
                if held := [i for i, cell in enumerate(node, 1) if len(cell) or "value-type" in " ".join(cell.keys())]:
                    last, width = rows, max(width, sum(times[1 : held[-1] + 1]))
                node.clear()
            elif node.tag.endswith("}table"):
                yield last, width
                rows = last = width = 0


def read_parquet(path: Path, reading: Reading) -> Generator:
    file = parquet.ParquetFile(path)
    names = file.schema_arrow.names
    positions = yield [names], len(names)
    require_fitting_size(path, file.metadata.num_rows, len(positions))
    chosen = [names[p] for p in positions]
    yield RawTable(arrow_frame(file.read(columns=chosen).select(chosen), path.name))


def arrow_frame(table: pa.Table, name: str) -> pd.DataFrame:
    """Return an Arrow table as a frame in which a missing cell does not round a whole number."""
    fields = []
    for field in table.schema:  # dictionaries become text and decimals floats, which pandas would keep as objects
        if pa.types.is_nested(field.type):
            raise refusal("nested", file=name, what=f"column {field.name!r} holds lists or records", each=" a row")
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        fields.append((field.name, pa.float64() if pa.types.is_decimal(kind) else kind))
    return table.cast(pa.schema(fields)).to_pandas(types_mapper=WHOLE.get)


def read_spss(path: Path, reading: Reading) -> Generator:
    """Read the stored codes, user-missing ones too: only the codebook can tell skipped from not applicable."""
    import pyreadstat

    how = {"encoding": reading.encoding[0] if reading.encoding else None, "user_missing": True}
    _, head = pyreadstat.read_sav(str(path), metadataonly=True, **how)
    positions = yield [list(head.column_names)], len(head.column_names)
    names = [head.column_names[p] for p in positions]
    require_fitting_size(path, head.number_rows or 0, len(names))
    frame, meta = pyreadstat.read_sav(str(path), usecols=list(dict.fromkeys(names)), **how)
    if meta.number_rows is not None and len(frame) != meta.number_rows:
        raise refusal("cut off", file=path.name, announced=meta.number_rows, held=len(frame))
    labels = {name: label.strip() for name, label in meta.column_names_to_labels.items() if label and label.strip()}
    ranges = {name: [(r["lo"], r["hi"]) for r in found] for name, found in meta.missing_ranges.items()}
    # Codes that are stored as text count as numbers, too, where all of them are.
    codes = {
        name: {float(c): w for c, w in words.items()} if all(NUMBER.fullmatch(str(c)) for c in words) else words
        for name, words in meta.variable_value_labels.items()
    }
    yield RawTable(frame[names], meanings=Meanings(labels, codes, ranges))


def read_json(path: Path, reading: Reading) -> Generator:
    """Read records: a list of flat objects, alone or under one name, or one line an object."""
    text, names = utf8(path, reading), {}
    content = text.lines().read()
    try:
        rows = json.loads(content)
    except RecursionError:
        raise refusal("no records", file=path.name, why="is nested too deeply to be a table") from None
    except json.JSONDecodeError as error:
        rows, place = [], {"line": error.lineno, "column": error.colno, "why": error.msg}
        with contextlib.suppress(json.JSONDecodeError):
            rows = [json.loads(line) for line in content.split("\n") if line.strip()]
        if not rows:
            raise refusal("no JSON", file=path.name, **place) from None
    if reading.records is not None or not isinstance(rows, list):
        lists = {k: v for k, v in rows.items() if isinstance(v, list) and v} if isinstance(rows, dict) else {}
        if not lists and reading.records is None:
            raise refusal("no records", file=path.name, why="holds no list of records")
        rows = lists[_one_of(list(lists), reading.records, "list", path.name)]
    for i, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise refusal("no object", file=path.name, i=i, found=type(row).__name__)
        names |= dict.fromkeys(row)
        if nested := next((key for key, value in row.items() if isinstance(value, (dict, list))), None):
            raise refusal("nested", file=path.name, what=f"{nested} of record {i} holds records or a list", each="")
    require_fitting_size(path, len(rows), len(names))
    positions = yield [list(names)], len(names)
    frame = pd.DataFrame({i: [row.get(name) for row in rows] for i, name in enumerate(names)}, dtype=object)
    # Numbers stay as they are: as floats, a whole one beside a gap would be rounded.
    texts = {i: "str" for i in frame if pd.api.types.infer_dtype(frame[i]) == "string"}
    yield RawTable(frame.astype(texts)[positions], text.notes)
