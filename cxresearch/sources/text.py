"""Text files: from bytes in some encoding to UTF-8, and one line a row, cells between separators."""

import codecs
import csv
import io
import itertools
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.sources.reading import WHITESPACE, Choose, RawTable, Reading, require_fitting_size

CHUNK, NEWLINE = 1 << 20, b"\n"
BLOCK = 1 << 24  # bytes that the text reader takes at a time; a cell must fit
SEP_LINE = re.compile(rb"(?:\xef\xbb\xbf)?sep=(.)\r?\n", re.I)  # what Excel writes over a table to say its separator
BOM_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Letters that a text in these encodings holds much more often than another reading of the same bytes would.
LETTERS = {
    "cp1252": "éèàçêâîôûùëïüöäßñóíáúãõåøæ’‘“”„–—…€",
    "cp1250": "ąęłńóśźżćčšžřěůýáíéőű",
    "cp1251": "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "cp850": "éèàçêâîôûùëïüöäßñóíáú",
}
csv.field_size_limit(1 << 27)


class Utf8(NamedTuple):
    """Something UTF-8 to read from, what was done to bytes, and the separator that a line over the table names."""

    content: Path | bytes
    notes: tuple[str, ...] = ()
    separator: str | None = None

    def stream(self):
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    def lines(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(self.stream(), encoding="utf-8-sig", newline="", errors="surrogatepass")


class Detected(NamedTuple):
    """What the bytes of a file look like, () for UTF-8; `doubt` says why it may be another encoding, if it may."""

    encoding: tuple[str, ...]
    doubt: str | None = None


def detect(path: Path) -> Detected:
    """Return the encoding that the bytes of a text file speak for."""
    raw = path.read_bytes()
    if raw[:2] in BOM_UTF16:
        return Detected(("utf-16",))
    lines = [line for line in raw.splitlines() if not line.isascii()]
    others = [line for line in lines if line.decode("utf-8", "ignore").encode() != line]
    if not others:
        return Detected(())
    if len(between := re.findall(rb"(?<=[a-z])[\x80-\x9f](?=[a-z]|\b)", raw)) > 20 and re.search(rb"[\xe0-\xff]", raw):
        doubt = "bytes 0x80-0x9F stand inside words, where latin-1 has no letters: two systems wrote here"
        return Detected(("latin-1",), f"{len(between)} {doubt}")
    texts = {name: re.sub(r"[\x00-\x7f]", "", b"".join(others).decode(name, "replace").lower()) for name in LETTERS}
    best = max(texts, key=lambda name: sum(map(texts[name].count, LETTERS[name])) / max(len(texts[name]), 1))
    if (n := len(lines) - len(others)) >= max(3, 0.2 * len(lines)):
        return Detected((best,), f"{n} lines with other letters than a-z are UTF-8, {len(others)} look like {best}")
    letters = "".join(sorted(set(texts[best])))[:24]
    return Detected((best,), f"not UTF-8; read as {best} it holds the characters {letters}")


def utf8(path: Path, reading: Reading) -> Utf8:
    """Return a text file as UTF-8: the file itself if it is, else its decoded bytes.

    Characters that the encoding does not know stop the reading, unless ``encoding_errors: replace`` was declared.
    These, and control characters that no text holds, are counted and shown.
    """
    named = reading.encoding[0] if reading.encoding else "utf-8"
    strict, notes = reading.encoding_errors == "strict", []
    if strict:
        _require_encoding(path, codecs.lookup(named).name, "another" if reading.encoding else "its")
    content: Path | bytes = path
    if not strict or codecs.lookup(named).name not in ("utf-8", "utf-8-sig"):
        raw = path.read_bytes()
        text = raw.decode(named, "replace")
        if n := text.count("\ufffd") - raw.decode(named, "ignore").count("\ufffd"):
            notes.append(f"{n} undecodable characters replaced (encoding_errors: replace)")
        if n := len(re.findall(r"[\x80-\x9f]", text)):
            words = ", ".join(map(ascii, list(dict.fromkeys(re.findall(r"[\w\x80-\x9f]*[\x80-\x9f]\w*", text)))[:3]))
            notes.append(f"{n} control characters (0x80-0x9F) read as {named}, which text does not hold, in {words}")
        content = text.encode("utf-8", "surrogatepass")
    with Utf8(content).stream() as stream:
        if over := SEP_LINE.match(stream.read(16)):
            stream.seek(over.end())
            content = stream.read()
    return Utf8(content, tuple(notes), over[1].decode() if over else None)


def _require_encoding(path: Path, encoding: str, which: str) -> None:
    """Refuse the first byte that is not `encoding`, naming where it stands."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            while file.read(CHUNK):
                pass
    except UnicodeError:
        raw, start = path.read_bytes(), 0
        try:
            raw.decode(encoding)
        except UnicodeDecodeError as error:
            start = error.start
        better = "utf-16" if raw[:2] in BOM_UTF16 else "latin-1" if encoding == "cp1252" else "cp1252"
        raise StudyProblem(
            f"{path.name} is not {encoding.upper()}: byte 0x{raw[start]:02x} at position {start} (line "
            f"{raw.count(NEWLINE, 0, start) + 1}); declare {which} encoding in study.yml, for example encoding: {better}"
        ) from None


def separator_of(path: Path, declared: str) -> str:
    """Return what stands between cells: a comma, unless declared otherwise or the ending says tabs."""
    return "\t" if path.suffix.lower() == ".tsv" and declared == "," else declared


def read_text(path: Path, choose: Choose, reading: Reading) -> RawTable:
    """Return the cells as they are written; rows that end early are filled with blanks, and counted."""
    text, file, n_header = utf8(path, reading), path.name, len(reading.header)
    separator = separator_of(path, reading.separator)
    if separator == WHITESPACE:  # one tab for each run of spaces and tabs; those at both ends of a line mean nothing
        with text.stream() as stream:
            lines = stream.read().removeprefix(codecs.BOM_UTF8).splitlines()
        text, separator = text._replace(content=b"".join(b"\t".join(line.split()) + NEWLINE for line in lines)), "\t"
    separator = text.separator if text.separator and separator == "," else separator
    with text.lines() as lines:
        rows = list(itertools.islice(filter(None, csv.reader(lines, delimiter=separator)), n_header or 1))
    _require_header(rows, n_header, file)
    width = len(rows[0])
    require_fitting_size(path, 0, width)
    positions = choose(rows[:n_header], width)
    frame, notes = _even_rows(text, separator, positions, width, file), text.notes
    if frame is None:
        frame, short = _uneven_rows(text, separator, positions, width, path)
        notes += (f"{short} rows end early: their last cells are blank",) * bool(short)
    # A row is numbered as in the file, where the first of one header row is number 2.
    first = n_header - 1 + bool(text.separator)
    return RawTable(frame.iloc[n_header:].set_axis(pd.RangeIndex(first, first + len(frame) - n_header)), notes)


def _require_header(rows: list[list[str]], n_rows: int, file: str) -> None:
    other = max(";\t|,", key=rows[0][0].count) if rows and len(rows[0]) == 1 else ""
    if not rows:
        said = " is empty"
    elif any("\0" in cell for row in rows for cell in row):
        said = " holds zero bytes and is no text; declare its encoding in study.yml, for example encoding: utf-16"
    elif other and other in rows[0][0]:
        said = f": the header is one column {rows[0][0][:60]!r}; declare separator: {other!r} in study.yml"
    elif len(rows) < n_rows:
        said = f" has {len(rows)} row{'s' * (len(rows) != 1)}, but study.yml declares {n_rows} header rows"
    else:
        return
    raise StudyProblem(f"{file}{said}")


def _even_rows(text: Utf8, separator: str, positions: list[int], n_columns: int, file: str) -> pd.DataFrame | None:
    """Return the wanted cells of all rows, or None unless every row has the width of the header."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if n_columns == 1:
        return None  # a blank line is a blank answer there
    uneven: list = []
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text.content) if isinstance(text.content, bytes) else str(text.content),
            # The header is read as rows: names may stand twice, positions do not.
            read_options=arrow_csv.ReadOptions(autogenerate_column_names=True, block_size=BLOCK),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator,
                newlines_in_values=True,
                invalid_row_handler=lambda row: uneven.append(row) or "error",
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={f"f{i}": pa.string() for i in range(n_columns)},
                include_columns=[f"f{i}" for i in positions],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        _require_closed_quotes(text, separator, file)
        if uneven:
            return None
        raise
    with text.stream() as stream:
        n_lines = sum(chunk.count(NEWLINE) for chunk in iter(lambda: stream.read(CHUNK), b""))
    if n_lines > table.num_rows:
        _require_closed_quotes(text, separator, file)
    return table.to_pandas()


def _require_closed_quotes(text: Utf8, separator: str, file: str) -> None:
    """Refuse a cell over several lines behind whose closing quotation mark more is written: rows vanish in it."""
    over = bool(text.separator)
    start, done = 1 + over, False
    with text.lines() as lines:
        reader = csv.reader(lines, delimiter=separator, strict=True)
        while not done:
            try:
                done = next(reader, None) is None
            except csv.Error:
                if (last := reader.line_num + over) > start:
                    raise StudyProblem(
                        f"{file}: a quotation mark opens a cell in line {start}, and the next one, in line {last}, does "
                        "not end it; take out the one that is too many, or write it twice inside a cell"
                    ) from None
            start = reader.line_num + over + 1


def _uneven_rows(
    text: Utf8, separator: str, positions: list[int], n_columns: int, path: Path
) -> tuple[pd.DataFrame, int]:
    """Return the wanted cells of rows of any width up to the header's, and how many are shorter than it."""
    with text.lines() as lines:
        rows = [row for row in csv.reader(lines, delimiter=separator) if row or n_columns == 1]
    require_fitting_size(path, len(rows), n_columns)
    rows = list(itertools.dropwhile(lambda row: not row, rows))
    if long := {i: len(row) for i, row in enumerate(rows, 1) if "".join(row[n_columns:]).strip()}:
        first = next(iter(long))
        raise StudyProblem(
            f"{path.name}: {len(long)} row{'s do' if len(long) > 1 else ' does'} not have the {n_columns} columns of the "
            f"header (first: row {first + bool(text.separator)} with {long[first]}); correct the file, or declare its "
            "separator in study.yml"
        )
    short = [i for i, row in enumerate(rows, 1) if len(row) < n_columns > 1]
    _require_blank_ends(text, rows, short, path.name)
    cells = {i: [row[p] if p < len(row) else "" for row in rows] for i, p in enumerate(positions)}
    return pd.DataFrame(cells, dtype="str"), len(short)


def _require_blank_ends(text: Utf8, rows: list[list[str]], short: list[int], file: str) -> None:
    """Refuse a row short for another reason than blank cells at its end, which Excel leaves out by 16 rows."""
    at = text.separator is not None
    with text.stream() as stream:
        stream.seek(-1, io.SEEK_END)
        if short[-1:] == [len(rows)] and stream.read() not in b"\r\n":
            raise StudyProblem(
                f"{file}: row {len(rows) + at}, the last, breaks off after {len(rows[-1])} of {len(rows[0])} cells; fetch the "
                "file anew, or delete that row"
            )
    written = next((i for i, row in enumerate(rows, 1) if len(row) == len(rows[0]) and not row[-1].strip()), 0)
    lone = [i for i in short if len({*map(len, rows[(i - 1) // 16 * 16 :][:16])}) > 1]
    if lone and written:
        raise StudyProblem(
            f"{file}: rows end early ({len(lone)}; first: row {lone[0] + at}, {len(rows[lone[0] - 1])} of {len(rows[0])} cells), "
            f"but row {written + at} has its last cell although that is blank: a separator is missing; correct the file"
        )
