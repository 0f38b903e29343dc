"""Tables that are no text: Excel, Parquet, SPSS and JSON rows. Sizes are looked at before anything is read."""

import contextlib
import json
import posixpath
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from cxresearch.errors import nearest
from cxresearch.sources.text import Found, Meanings, RawTable, Reading, refusal, require_fitting_size, say, utf8

LOCKED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an encrypted .xlsx is wrapped in an OLE file
CELL = re.compile(rb"<(?:\w+:)?c\s[^>]*?\br=[\"']([A-Z]{1,3})(\d{1,7})[\"']")
ERROR = re.compile(rb"<(?:\w+:)?c\s(?=[^>]*?\bt=[\"']e)[^>]*?\br=[\"']([A-Z]+\d+)[^>]*>.*?<(?:\w+:)?v>([^<]*)<", re.S)
NUMBER = re.compile(r"\s*[+-]?\d+(?:\.\d+)?\s*")
ERRORS_SHOWN = 5
# The head of a record of an .xlsb: its kind and its length, each going on while the high bit is set.
RECORD = re.compile(rb"([\x80-\xff].|[\x00-\x7f])([\x80-\xff]{0,3}[\x00-\x7f])", re.S)
FITTING = dict(least=4_000_000, per_byte=2)  # cells of a sheet
MOST_UNPACKED = 80_000_000  # bytes; a larger workbook may unpack to thirty times its size


def read_excel(path: Path, reading: Reading) -> Found:
    """Return the cells of one sheet; cells that hold errors are blank, and told."""
    rows, notes = cells(path, reading.sheet)
    n = len(reading.header)
    if len(rows) < max(n, 1):
        raise refusal("header rows" if rows else "empty", file=path.name, n=f"{len(rows)} rows", declared=n)
    # A year in a header that is stored as 2018.0 is called 2018.
    years = [[isinstance(cell, float) and cell == int(cell) and abs(cell) < 1e15 for cell in row] for row in rows[:n]]
    head = [[f"{c:g}" if year else str(c) for c, year in zip(*pair)] for pair in zip(rows, years)]
    frame = pd.DataFrame(rows[n:], range(n - 1, len(rows) - 1), range(len(rows[0])), dtype=object)
    frame = frame.mask(frame == "").dropna(how="all")
    return head, len(rows[0]), lambda positions: RawTable(frame[positions].apply(pd.Series.infer_objects), notes)


def cells(path: Path, sheet: str | None) -> tuple[list[list], tuple[str, ...]]:
    """Return the rows of a sheet, or of the only one, and what was found in its cells."""
    book = open_book(path)
    names = book.sheet_names
    if sheet is None and len(names) > 1:
        raise refusal("sheets", file=path.name, n=len(names), sheets=", ".join(map(repr, names)), first=names[0])
    if sheet is not None and sheet not in names:
        raise refusal("no sheet", file=path.name, sheet=sheet, near=nearest(sheet, names))
    sheet = sheet or names[0]
    notes = _looked_at(path, sheet) if path.suffix.lower() in (".xlsx", ".xlsm") else ()
    return book.get_sheet_by_name(sheet).to_python(), notes


def open_book(path: Path):
    """Return a workbook of which no cell is read yet; its ``sheet_names`` are known."""
    from python_calamine import CalamineWorkbook

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
            if unpacked > max(MOST_UNPACKED, 30 * path.stat().st_size):
                raise refusal("unpacked", file=path.name, size=f"{unpacked:,}")
            spans = [(0, 0), *_spans(archive)]
        require_fitting_size(path, *map(max, zip(*spans)), **FITTING)
    try:
        return CalamineWorkbook.from_path(path)
    except Exception as error:
        wrapped = path.suffix.lower() != ".xls" and path.open("rb").read(8) == LOCKED
        if wrapped or type(error).__name__ == "PasswordError":
            raise refusal("password", file=path.name) from None
        raise


def _looked_at(path: Path, sheet: str) -> tuple[str, ...]:
    """Refuse a sheet of an .xlsx that spans more cells than can be filled, and tell of cells that hold errors."""
    with zipfile.ZipFile(path) as archive:
        book = ElementTree.fromstring(archive.read("xl/workbook.xml"))
        known = next(s for s in book.iter() if s.tag.endswith("}sheet") and s.get("name") == sheet)
        ids = {value for key, value in known.items() if key.endswith("}id")}
        targets = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
        place = next(t.get("Target") for t in targets if t.get("Id") in ids)
        content = archive.read(posixpath.join("/xl", place).lstrip("/"))
    columns, last = set(), 1
    for cell in CELL.finditer(content):
        columns.add(cell[1])
        last = max(last, int(cell[2]))
    width = max((sum((c - 64) * 26**i for i, c in enumerate(reversed(name))) for name in columns), default=0)
    require_fitting_size(path, last, width, **FITTING)
    errors = [f"{what.decode()} in {at.decode()}" for at, what in ERROR.findall(content)]
    return (say("errors", n=len(errors), cells=", ".join(errors[:ERRORS_SHOWN])),) * bool(errors)


def _spans(archive: zipfile.ZipFile) -> Iterator[tuple[int, int]]:
    """Yield the last row and column that hold a cell: of each sheet of an .xlsb, and row by row of an .ods."""
    for name in archive.namelist():
        content = archive.read(name) if re.fullmatch(r"xl/worksheets/.*\.bin", name) else b""
        at = last = width = 0
        while found := RECORD.match(content, at):
            place = int.from_bytes(content[found.end() : found.end() + 4], "little") + 1
            last = max(last, place) if found[1] == b"\0" else last  # a row, and then its cells
            width = max(width, place) if b"\0" < found[1] < b"\x0c" else width
            at = found.end() + sum((byte & 127) << 7 * i for i, byte in enumerate(found[2]))
        yield last, width
    rows = 0
    with archive.open("content.xml") if "content.xml" in archive.namelist() else contextlib.nullcontext() as part:
        for event, node in ElementTree.iterparse(part, ("start", "end")) if part else ():
            if event == "start" and node.tag.endswith("}table"):
                rows = 0
            elif event == "end" and node.tag.endswith("}table-row"):
                repeated = [[int(v) for key, v in of.items() if key.endswith("-repeated")] for of in (node, *node)]
                rows, *times = [rows + sum(repeated[0] or [1]), *(sum(of or [1]) for of in repeated[1:])]
                held = [i for i, cell in enumerate(node, 1) if len(cell) or "value-type" in " ".join(cell.keys())]
                yield (rows, sum(times[: held[-1]])) if held else (0, 0)
                node.clear()


def read_parquet(path: Path, reading: Reading) -> Found:
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    names = file.schema_arrow.names

    def read(positions: list[int]) -> RawTable:
        require_fitting_size(path, file.metadata.num_rows, len(positions))
        chosen = [names[p] for p in positions]
        return RawTable(arrow_frame(file.read(columns=chosen).select(chosen), path.name))

    return [names], len(names), read


def arrow_frame(table, name: str) -> pd.DataFrame:
    """Return an Arrow table as a frame in which a missing cell does not round a whole number."""
    import pyarrow as pa

    def simple(field):  # dictionaries as text and decimals as floats, which pandas would keep as objects
        if pa.types.is_nested(field.type):
            raise refusal("nested", file=name, what=f"column {field.name!r} holds lists or records", each=" a row")
        if pa.types.is_dictionary(field.type):
            return field.with_type(field.type.value_type)
        return field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field

    whole = {t: pd.Int64Dtype() for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64())}
    return table.cast(pa.schema([simple(field) for field in table.schema])).to_pandas(types_mapper=whole.get)


def read_spss(path: Path, reading: Reading) -> Found:
    """Return the stored codes, user-missing ones too: only the codebook can tell skipped from not applicable."""
    import pyreadstat

    _, head = pyreadstat.read_sav(str(path), metadataonly=True)
    how = {"encoding": reading.encoding[0] if reading.encoding else None, "user_missing": True}

    def read(positions: list[int]) -> RawTable:
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
        return RawTable(frame[names], meanings=Meanings(labels, codes, ranges))

    return [list(head.column_names)], len(head.column_names), read


def read_json(path: Path, reading: Reading) -> Found:
    """Return records: a list of flat objects, alone or under one name, or one line an object."""
    text, names = utf8(path, reading), {}
    rows = _records(text.lines().read(), reading.records, path.name)
    for i, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise refusal("no object", file=path.name, i=i, found=type(row).__name__)
        names |= dict.fromkeys(row)
        if nested := next((key for key, value in row.items() if isinstance(value, (dict, list))), None):
            raise refusal("nested", file=path.name, what=f"{nested} of record {i} holds records or a list", each="")
    require_fitting_size(path, len(rows), len(names))
    frame = pd.DataFrame({i: [row.get(name) for row in rows] for i, name in enumerate(names)}, dtype=object)
    # Numbers stay as they are: as floats, a whole one beside a gap would be rounded.
    frame = frame.astype({i: "str" for i in frame if pd.api.types.infer_dtype(frame[i]) == "string"})
    return [list(names)], len(names), lambda positions: RawTable(frame[positions], text.notes)


def _records(text: str, name: str | None, file: str) -> list:
    """Return the list of records, found by its declared name or because it is the only one."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise refusal("no records", file=file, why="is nested too deeply to be a table") from None
    except json.JSONDecodeError as error:
        with contextlib.suppress(json.JSONDecodeError):
            if lines := [line for line in text.splitlines() if line.strip()]:
                return [json.loads(line) for line in lines]
        raise refusal("no JSON", file=file, line=error.lineno, column=error.colno, why=error.msg) from None
    named = found.items() if isinstance(found, dict) else ()
    lists = {None: found} if isinstance(found, list) else {k: v for k, v in named if isinstance(v, list) and v}
    if name is not None and name not in lists:
        raise refusal("no list", file=file, name=name, near=nearest(name, filter(None, lists)))
    if not lists:
        raise refusal("no records", file=file, why="holds no list of records")
    first = next(iter(lists))
    if name is None and len(lists) > 1:
        raise refusal("lists", file=file, n=len(lists), lists=", ".join(map(repr, lists)), first=first)
    return lists[first if name is None else name]
