"""What is asked of a reader and what it gives back; from header rows to columns; and text files.

Text comes from bytes in some encoding to UTF-8, one line a row, cells between separators.
"""

import codecs
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import StudyProblem, nearest, plain_text

WHITESPACE = "whitespace"
# What a header row may hold. A question stands once over its options, so its blank neighbours repeat it.
HEADERS = ("name", "label", "question", "option", "ignore")
NO_OPTION = ("response", "open-ended response")  # what SurveyMonkey writes under a question that has no options
MOST_COLUMNS = 20_000
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
csv.field_size_limit(BLOCK)

Header = list[list[str]]  # the cells of each header row
Choose = Callable[[Header, int], list[int]]  # header rows, number of columns -> positions of the columns to read


class Reading(NamedTuple):
    """How a file is to be read."""

    encoding: tuple[str, ...] = ()  # none for UTF-8
    encoding_errors: str = "strict"
    separator: str = ","
    sheet: str | None = None
    header: tuple[str, ...] = ("name",)  # what each header row holds (`HEADERS`); none: columns are column 1, ...
    records: str | None = None  # the list of records inside a JSON file


class Meanings(NamedTuple):
    """What a file says about its columns beside the cells; each is header -> something."""

    labels: dict[str, str] = {}  # the question
    codes: dict[str, dict[float | str, str]] = {}  # stored code -> its words
    missing: dict[str, list[tuple]] = {}  # lowest and highest code of each user-missing range

    def named(self, wanted: Iterable[str]) -> "Meanings":
        """Return the same under the names that were asked for, which may lack the spaces of the file's."""
        plain = [{plain_text(k): v for k, v in by.items()} | by for by in self]
        return Meanings(*({w: by[k] for w in wanted for k in (plain_text(w), w) if k in by} for by in plain))


class RawTable(NamedTuple):
    """The wanted columns under the wanted names."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()  # what was done to bytes and rows on the way
    meanings: Meanings = Meanings()
    digest: str | None = None  # SHA-256 of a query and its rows, which no file holds


@contextmanager
def naming(path: Path, kind: str):
    """Turn whatever a reading library raises into a sentence that names the file."""
    try:
        if not path.stat().st_size:
            raise StudyProblem(f"{path.name} is empty")
        yield
    except StudyProblem:
        raise
    except MemoryError:
        raise StudyProblem(f"{path.name} does not fit into memory; read fewer columns or rows") from None
    except Exception as error:
        # The researcher needs the file's name, not a library's traceback.
        raise StudyProblem(f"{path.name} cannot be read as {kind}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return what a library says first, or the name of its complaint."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


# --- columns ---------------------------------------------------------------------------------------------------------


def compose(rows: Header, header: Sequence[str], n_columns: int) -> tuple[list[str], dict[str, str]]:
    """Return the names of the columns, and name -> label where a row of labels is declared.

    A name of question and option is 'question: option', a blank question being the one before it.
    """
    blank, current = [""] * n_columns, ""
    held = {what: [*row, *blank[len(row) :]][:n_columns] for what, row in zip(header, rows, strict=True)}
    names = list(held.get("name", blank))
    for i, (question, option) in enumerate(zip(held.get("question", ()), held.get("option", blank), strict=False)):
        current = question.strip() or current
        named = option.strip() if option.strip().lower() not in NO_OPTION else ""
        names[i] = f"{current.rstrip(' :')}: {named}" if named and current else current or named
    names = [name if name.strip() else f"column {i + 1}" for i, name in enumerate(names)]
    labels = dict(zip(names, held.get("label", ()), strict=False))
    return names, {name: label.strip() for name, label in labels.items() if label.strip()}


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names by which columns can be asked for: one that stands twice is ``x#1``, ``x#2``.

    Where a header is called ``x#1`` itself, they are ``x##1`` and ``x##2``.
    """
    plain = [plain_text(name) for name in names]
    times, seen, found = Counter(plain), Counter(), []
    for name, same in zip(names, plain, strict=True):
        seen[same] += 1
        sign = "#"
        while any(f"{same}{sign}{i}" in times for i in range(1, times[same] + 1)):
            sign += "#"
        found.append(name if times[same] == 1 else f"{same}{sign}{seen[same]}")
    return found


def position(headers: Sequence[str], name: str, why: str, file: str) -> int:
    """Return where the column `name` stands; `why` says what asks for it."""
    asked, plain, unique = plain_text(name), [plain_text(h) for h in headers], numbered(headers)
    for candidates, wanted in ((list(headers), name), (plain, asked), (unique, asked)):
        if candidates.count(wanted) > 1:
            first = unique[candidates.index(wanted)]
            said = f"{file} has {candidates.count(wanted)} columns {asked!r} ({why}); say which one is meant"
            raise StudyProblem(f"{said}: {first!r} is the first")
        if wanted in candidates:
            return candidates.index(wanted)
    raise StudyProblem(f"{file} has no column {name!r} ({why}){nearest(name, plain)}")


def require_fitting_size(path: Path, rows: int, columns: int, *, least: int = 10_000_000, per_byte: int = 4) -> None:
    """Refuse what would fill the memory: more than `least` cells, and more than the bytes of its file can have filled."""
    if columns > MOST_COLUMNS:
        raise StudyProblem(f"{path.name} has {columns:,} columns; at most {MOST_COLUMNS:,} are read")
    if rows * columns > max(least, per_byte * path.stat().st_size):
        raise StudyProblem(
            f"{path.name} spans {rows:,} rows and {columns:,} columns, far more than a file of {path.stat().st_size:,} "
            "bytes can fill; look for a cell far away from the table, and save the table alone"
        )


# --- encodings -------------------------------------------------------------------------------------------------------


class Utf8(NamedTuple):
    """Something UTF-8 to read from, what was done to bytes, and the separator that a line over the table names."""

    content: Path | bytes
    notes: tuple[str, ...] = ()
    separator: str | None = None

    def stream(self):
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    def lines(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(self.stream(), encoding="utf-8-sig", newline="", errors="surrogatepass")


def detect(path: Path) -> tuple[tuple[str, ...], str | None]:
    """Return the encoding that the bytes of a text file speak for, () for UTF-8, and why it may be another, if it may."""
    raw = path.read_bytes()
    if raw[:2] in BOM_UTF16:
        return ("utf-16",), None
    lines = [line for line in raw.splitlines() if not line.isascii()]
    others = [line for line in lines if line.decode("utf-8", "ignore").encode() != line]
    if not others:
        return (), None
    if len(between := re.findall(rb"(?<=[a-z])[\x80-\x9f](?=[a-z]|\b)", raw)) > 20 and re.search(rb"[\xe0-\xff]", raw):
        doubt = "bytes 0x80-0x9F stand inside words, where latin-1 has no letters: two systems wrote here"
        return ("latin-1",), f"{len(between)} {doubt}"
    texts = {name: re.sub(r"[\x00-\x7f]", "", b"".join(others).decode(name, "replace").lower()) for name in LETTERS}
    best = max(texts, key=lambda name: sum(map(texts[name].count, LETTERS[name])) / max(len(texts[name]), 1))
    if (n := len(lines) - len(others)) >= max(3, 0.2 * len(lines)):
        return (best,), f"{n} lines with other letters than a-z are UTF-8, {len(others)} look like {best}"
    return (best,), f"not UTF-8; read as {best} it holds the characters {''.join(sorted(set(texts[best])))[:24]}"


def utf8(path: Path, reading: Reading) -> Utf8:
    """Return a text file as UTF-8: the file itself if it is, else its decoded bytes.

    Characters that the encoding does not know stop the reading, unless ``encoding_errors: replace`` was declared.
    These, and control characters that no text holds, are counted and shown.
    """
    named, strict, notes = reading.encoding[0] if reading.encoding else "utf-8", reading.encoding_errors == "strict", []
    encoding = codecs.lookup(named).name
    try:
        with path.open(encoding=encoding, newline="") as file:
            while strict and file.read(CHUNK):
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
            f"{raw.count(NEWLINE, 0, start) + 1}); declare {'another' if reading.encoding else 'its'} encoding in "
            f"study.yml, for example encoding: {better}"
        ) from None
    content: Path | bytes = path
    if not strict or encoding not in ("utf-8", "utf-8-sig"):
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


# --- rows of text ----------------------------------------------------------------------------------------------------


def separator_of(path: Path, declared: str) -> str:
    """Return what stands between cells: a comma, unless declared otherwise or the ending says tabs."""
    return "\t" if path.suffix.lower() == ".tsv" and declared == "," else declared


def read_text(path: Path, choose: Choose, reading: Reading) -> RawTable:
    """Return the cells as they are written; rows that end early are filled with blanks, and counted."""
    text, n_header, separator = utf8(path, reading), len(reading.header), separator_of(path, reading.separator)
    if separator == WHITESPACE:  # one tab for each run of spaces and tabs; those at both ends of a line mean nothing
        with text.stream() as stream:
            lines = stream.read().removeprefix(codecs.BOM_UTF8).splitlines()
        text, separator = text._replace(content=b"".join(b"\t".join(line.split()) + NEWLINE for line in lines)), "\t"
    separator = text.separator if text.separator and separator == "," else separator
    with text.lines() as lines:
        rows = list(itertools.islice(filter(None, csv.reader(lines, delimiter=separator)), n_header or 1))
    other = max(";\t|,", key=rows[0][0].count) if rows and len(rows[0]) == 1 else ""
    known = (
        (not rows, " is empty"),
        (any("\0" in cell for row in rows for cell in row),
         " holds zero bytes and is no text; declare its encoding in study.yml, for example encoding: utf-16"),
        (other and other in rows[0][0],
         f": the header is one column {rows[0][0][:60]!r}; declare separator: {other!r} in study.yml" if other else ""),
        (len(rows) < n_header,
         f" has {len(rows)} row{'s' * (len(rows) != 1)}, but study.yml declares {n_header} header rows"),
    )  # fmt: skip
    if said := next((said for holds, said in known if holds), None):
        raise StudyProblem(path.name + said)
    # Names may end early, or go on where the row above them ended; a title may be wider than the table below it.
    named = [row for row, what in zip(rows, reading.header) if what != "ignore"]
    width = max(map(len, named or rows))
    require_fitting_size(path, 0, width)
    positions = choose(rows[:n_header], width)
    frame, notes = _even_rows(text, separator, positions, width), text.notes
    with text.stream() as stream:
        n_lines = sum(chunk.count(NEWLINE) for chunk in iter(lambda: stream.read(CHUNK), b""))
    if frame is None or n_lines > len(frame):
        _require_closed_quotes(text, separator, path.name)
    if frame is None:
        frame, short = _uneven_rows(text, separator, positions, width, (n_header, len((named or rows)[0])), path)
        notes += (f"{short} rows end early: their last cells are blank",) * bool(short)
    # A row is numbered as in the file, where the first of one header row is number 2.
    first = n_header - 1 + bool(text.separator)
    return RawTable(frame.iloc[n_header:].set_axis(pd.RangeIndex(first, first + len(frame) - n_header)), notes)


def _even_rows(text: Utf8, separator: str, positions: list[int], n_columns: int) -> pd.DataFrame | None:
    """Return the wanted cells of all rows, or None unless every row has the width of the header."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    if n_columns == 1:
        return None  # a blank line is a blank answer there
    names = [f"f{i}" for i in range(n_columns)]
    # The header is read as rows: names may stand twice, positions do not.
    how = {
        "read_options": arrow.ReadOptions(column_names=names, block_size=BLOCK),
        "parse_options": arrow.ParseOptions(delimiter=separator, newlines_in_values=True),
        "convert_options": arrow.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=[names[i] for i in positions]
        ),
    }
    content = pa.BufferReader(text.content) if isinstance(text.content, bytes) else str(text.content)
    try:
        return arrow.read_csv(content, **how).to_pandas()
    except pa.ArrowInvalid:
        return None


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
    text: Utf8, separator: str, positions: list[int], width: int, header: tuple[int, int], path: Path
) -> tuple[pd.DataFrame, int]:
    """Return the wanted cells of rows of any width up to the header's, and how many below it are shorter.

    A row may be short for blank cells at its end, which Excel leaves out by 16 rows, and for no other reason.
    """
    n_header, names = header
    with text.lines() as lines:
        rows = [row for row in csv.reader(lines, delimiter=separator) if row or width == 1]
    require_fitting_size(path, len(rows), width)
    rows, over = list(itertools.dropwhile(lambda row: not row, rows)), bool(text.separator)
    body = list(enumerate(rows))[n_header:]
    reach = max((len(row) for _, row in body), default=width)
    long = [i for i, row in body if "".join(row[width:]).strip()]
    short = [i for i, row in body if len(row) < width > 1]
    written = next((i for i, row in body if len(row) == width and not row[-1].strip()), None)
    lone = [i for i in short if len({*map(len, rows[i // 16 * 16 :][:16])}) > 1]
    with text.stream() as stream:
        stream.seek(-1, io.SEEK_END)
        broken = short[-1:] == [len(rows) - 1] and stream.read() not in b"\r\n"
    said = None
    if names < width and reach < width:
        said = f"a row of the header has {width} cells, but no row below it more than {reach}; correct the file"
    elif long:
        said = (
            f"{len(long)} row{'s do' if len(long) > 1 else ' does'} not have the {width} columns of the header (first: row "
            f"{long[0] + 1 + over} with {len(rows[long[0]])}); correct the file, or declare its separator in study.yml"
        )
    elif broken:
        said = (
            f"row {len(rows) + over}, the last, breaks off after {len(rows[-1])} of {width} cells; fetch the file anew, or "
            "delete that row"
        )
    elif lone and written is not None:
        said = (
            f"rows end early ({len(lone)}; first: row {lone[0] + 1 + over}, {len(rows[lone[0]])} of {width} cells), but row "
            f"{written + 1 + over} has its last cell although that is blank: a separator is missing; correct the file"
        )
    if said:
        raise StudyProblem(f"{path.name}: {said}")
    cells = {i: [row[p] if p < len(row) else "" for row in rows] for i, p in enumerate(positions)}
    return pd.DataFrame(cells, dtype="str"), len(short)
