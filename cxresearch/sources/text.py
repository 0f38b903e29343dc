"""What is asked of a reader and what it gives back; from header rows to columns; and text files."""

import codecs
import csv
import io
import itertools
import re
import tomllib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow

from cxresearch.errors import StudyProblem, nearest, plain_text
from cxresearch.findings import words

say = words(__package__)
WHITESPACE = "whitespace"
# What a header row may hold. A question stands once over its options, so its blank neighbours repeat it.
HEADERS = ("name", "label", "question", "option", "ignore")
NO_OPTION = ("response", "open-ended response")  # what SurveyMonkey writes under a question that has no options
MOST_COLUMNS = 20_000
BLOCK = 1 << 24  # bytes that the text reader takes at a time; a cell must fit
SEP_LINE = re.compile("\\A\ufeff?sep=(.)(?:\r\n?|\n)", re.I)  # what Excel writes over a table to say its separator
UTF8, BOM_UTF16 = ("utf-8", "utf-8-sig"), (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LETTERS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))["letters"]
csv.field_size_limit(BLOCK)


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


class RawTable(NamedTuple):
    """The wanted columns under the wanted names."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()  # what was done to bytes and rows on the way
    meanings: Meanings = Meanings()
    digest: str | None = None  # SHA-256 of a query and its rows, which no file holds


def refusal(sentence: str, /, **known) -> StudyProblem:
    """Return the refusal that a sentence of the room is."""
    return StudyProblem(say(sentence, **known))


@contextmanager
def naming(path: Path, kind: str):
    """Turn whatever a reading library raises into a sentence that names the file."""
    try:
        if not path.stat().st_size:
            raise refusal("empty", file=path.name)
        yield
    except (StudyProblem, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError:
        raise refusal("too_big", file=path.name) from None
    except BaseException as error:  # the panic of a library in Rust is no Exception
        raise refusal("unreadable", file=path.name, kind=kind, why=first_line(error)) from error


def first_line(error: Exception) -> str:
    """Return what a library says first, or the name of its complaint."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def compose(rows: list[list[str]], header: Sequence[str], n_columns: int) -> tuple[list[str], dict[str, str]]:
    """Return the names of the columns, those of two rows as 'question: option', and name (`numbered`) -> label."""
    blank, current = [""] * n_columns, ""  # a blank question is the one before it
    held = {what: [*row, *blank][:n_columns] for what, row in zip(header, rows, strict=True)}
    names = list(held.get("name", blank))
    for i, (question, option) in enumerate(zip(held.get("question", ()), held.get("option", blank), strict=False)):
        current = question.strip() or current
        named = option.strip() if option.strip().lower() not in NO_OPTION else ""
        names[i] = f"{current.rstrip(' :')}: {named}" if named and current else current or named
    names = [name if name.strip() else f"column {i + 1}" for i, name in enumerate(names)]
    labels = dict(zip(numbered(names), held.get("label", ()), strict=False))
    return names, {name: label.strip() for name, label in labels.items() if label.strip()}


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names by which columns can be asked for: of two x ``x#1``, ``x#2``, beside an x#1 ``x##1``, ``x##2``."""
    plain = pd.Series([plain_text(name) for name in names], dtype=object)
    twice, nth, sign = plain.duplicated(keep=False), (plain.groupby(plain).cumcount() + 1).astype(str), "#"
    found = plain + sign + nth
    while (taken := twice & found.isin(plain)).any():
        sign += "#"
        found = found.mask(plain.isin(plain[taken]), plain + sign + nth)
    return found.where(twice, pd.Series(names, dtype=object)).tolist()


def positions(headers: Sequence[str], wanted: Mapping[str, str], file: str) -> list[int]:
    """Return where the wanted columns (name -> what asks for it) stand: by header, without its spaces, or `numbered`."""
    unique, plain, found = numbered(headers), [plain_text(header) for header in headers], []
    known = [pd.Series(names, dtype=object).groupby(names).indices for names in (list(headers), plain, unique)]
    for name, why in wanted.items():
        asked = plain_text(name)
        at = next((by[key] for by, key in zip(known, (name, asked, asked)) if key in by), ())
        if not len(at):
            raise refusal("no column", file=file, name=name, why=why, near=nearest(name, plain))
        if len(at) > 1:
            raise refusal("twice", file=file, n=len(at), name=asked, why=why, first=unique[at[0]])
        found.append(int(at[0]))
    return found


def require_fitting_size(path: Path, rows: int, columns: int, *, least: int = 10_000_000, per_byte: int = 4) -> None:
    """Refuse what would fill the memory: more than `least` cells, and more than the bytes of its file can have filled."""
    size = path.stat().st_size
    if columns > MOST_COLUMNS:
        raise refusal("columns", file=path.name, n=f"{columns:,}", most=f"{MOST_COLUMNS:,}")
    if rows * columns > max(least, per_byte * size):
        raise refusal("far cell", file=path.name, rows=f"{rows:,}", columns=f"{columns:,}", size=f"{size:,}")


class Utf8(NamedTuple):
    """A text in UTF-8, and what was done to its bytes."""

    content: bytes
    notes: tuple[str, ...] = ()

    def lines(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(io.BytesIO(self.content), encoding="utf-8-sig", newline="", errors="surrogatepass")


def detect(path: Path) -> tuple[tuple[str, ...], str | None]:
    """Return the encoding that the bytes of a text speak for, () for UTF-8, and why it may be another, if it may."""
    raw = path.read_bytes()
    if raw[:2] in BOM_UTF16:
        return ("utf-16",), None
    lines = [line for line in raw.splitlines() if not line.isascii()]
    others = [line for line in lines if line.decode("utf-8", "ignore").encode() != line]
    if not others:
        return (), None
    between = len(re.findall(rb"(?<=[a-z])[\x80-\x9f](?=[a-z]|\b)", raw))
    if between > 20 and re.search(rb"[\xe0-\xff]", raw):
        return ("latin-1",), say("two systems", n=between)
    texts = {name: re.sub(r"[\x00-\x7f]", "", b"".join(others).decode(name, "replace").lower()) for name in LETTERS}
    best = max(texts, key=lambda name: sum(map(texts[name].count, LETTERS[name])) / max(len(texts[name]), 1))
    if (n := len(lines) - len(others)) >= max(3, 0.2 * len(lines)):
        return (best,), say("lines of both", n=n, others=len(others), encoding=best)
    return (best,), say("held", encoding=best, characters="".join(sorted(set(texts[best])))[:24])


def utf8(path: Path, reading: Reading) -> Utf8:
    """Return a text file as UTF-8; what its encoding does not know is refused or, if so declared, replaced and counted."""
    content = raw = path.read_bytes()
    named, notes = reading.encoding[0] if reading.encoding else "utf-8", []
    encoding, errors = codecs.lookup(named).name, reading.encoding_errors
    whole, decoder = errors != "strict" or encoding not in UTF8, codecs.getincrementaldecoder(encoding)(errors)
    step = len(raw) if whole else BLOCK  # UTF-8 stays bytes: as text, one emoji makes four bytes of each
    try:
        for at in range(0, len(raw), step):
            text = decoder.decode(raw[at : at + step], at + step >= len(raw))
    except UnicodeError as error:
        at += getattr(error, "start", 0) - len(decoder.getstate()[0])
        better = "utf-16" if raw[:2] in BOM_UTF16 else "latin-1" if encoding == "cp1252" else "cp1252"
        place = {"file": path.name, "byte": f"{raw[at]:02x}", "position": at, "line": raw.count(b"\n", 0, at) + 1}
        which = "another" if reading.encoding else "its"
        raise refusal("encoding", encoding=encoding.upper(), which=which, better=better, **place) from None
    if whole:
        if n := text.count("\ufffd") - raw.decode(named, "ignore").count("\ufffd"):
            notes.append(say("replaced", n=n))
        if n := len(re.findall(r"[\x80-\x9f]", text)):
            shown = list(dict.fromkeys(re.findall(r"[\w\x80-\x9f]{0,30}[\x80-\x9f]\w{0,30}", text)))[:3]
            notes.append(say("control", n=n, encoding=named, words=", ".join(map(ascii, shown))))
        content = text.encode("utf-8", "surrogatepass")
    return Utf8(content, tuple(notes))


def separator_of(path: Path, declared: str) -> str:
    """Return what stands between cells: a comma, unless declared otherwise or the ending says tabs."""
    return "\t" if path.suffix.lower() == ".tsv" and declared == "," else declared


def read_text(path: Path, reading: Reading) -> Generator:
    """Read the cells as they are written; rows that end early are filled with blanks, and counted."""
    text, separator = utf8(path, reading), separator_of(path, reading.separator)
    if separator == WHITESPACE:  # one tab for each run of spaces and tabs; those at both ends of a line mean nothing
        lines = text.content.removeprefix(codecs.BOM_UTF8).splitlines()
        text, separator = text._replace(content=b"".join(b"\t".join(line.split()) + b"\n" for line in lines)), "\t"
    over = SEP_LINE.match(text.content[:20].decode("utf-8", "replace"))
    separator = over[1] if over and separator == "," else separator
    n_over, n_header = bool(over), len(reading.header)
    filled = filter(None, csv.reader(text.lines(), delimiter=separator))
    rows = list(itertools.islice(filled, n_over, n_over + (n_header or 1)))
    if (n := len(rows)) < max(n_header, 1):
        told = {"n": f"{n} row{'s' * (n != 1)}", "declared": n_header}
        raise refusal("header rows" if rows else "empty", file=path.name, **told)
    if any("\0" in cell for row in rows for cell in row):
        raise refusal("zero bytes", file=path.name)
    named = [row for row, what in zip(rows, reading.header) if what != "ignore"] or rows
    other = max(";\t|,", key=named[0][0].count)
    if len(named[0]) == 1 and other in named[0][0]:
        raise refusal("one column", file=path.name, header=named[0][0][:60], separator=other)
    # Names may end early, or go on where the row above them ended; a title may be wider than the table below it.
    widths, short = [len(row) for row in named], 0
    width = max(widths)
    require_fitting_size(path, 0, width)
    positions = yield rows[:n_header], width
    frame, types = None, {f"f{i}": pa.string() for i in range(width)}  # two columns may have one name in the header
    with suppress(pa.ArrowInvalid):  # rows of other widths
        if width > 1:  # in one column a blank line is a blank answer
            frame = arrow.read_csv(
                pa.BufferReader(text.content),
                arrow.ReadOptions(column_names=list(types), block_size=BLOCK, skip_rows=n_over),
                arrow.ParseOptions(delimiter=separator, newlines_in_values=True),
                arrow.ConvertOptions(column_types=types, include_columns=[f"f{p}" for p in positions]),
            ).to_pandas()
    if frame is None or text.content.count(b"\n") > len(frame) + n_over:
        _require_closed_quotes(text, separator, path.name)
    if frame is None:
        frame, short = _uneven_rows(text, separator, positions, widths, n_over, n_over + n_header, path)
    # A row is numbered as in the file, where the first of one header row is number 2.
    frame.index += n_over - 1
    yield RawTable(frame[n_header:], (*text.notes, *[say("short rows", n=short)] * bool(short)))


def _require_closed_quotes(text: Utf8, separator: str, file: str) -> None:
    """Refuse a cell over several lines behind whose closing quotation mark more is written: rows vanish in it."""
    reader = csv.reader(text.lines(), delimiter=separator, strict=True)
    row, start = [], 1
    while row is not None:
        try:
            row = next(reader, None)
        except csv.Error:
            if reader.line_num > start:
                raise refusal("quotes", file=file, first=start, last=reader.line_num) from None
        start = reader.line_num + 1


def _uneven_rows(text, separator, positions, widths, over, n_header, path) -> tuple[pd.DataFrame, int]:
    """Return the same of rows of any width up to the header's, and how many below it are shorter: by blank cells only."""
    width = max(widths)
    rows = [row for row in csv.reader(text.lines(), delimiter=separator) if row or width == 1]
    require_fitting_size(path, len(rows), width)
    rows = list(itertools.dropwhile(lambda row: not row, rows))
    counts = np.fromiter(map(len, rows), int, len(rows))
    of = {"file": path.name, "width": width}
    if widths[0] < width and (reach := max(counts[n_header:], default=width)) < width:
        raise refusal("wide header", **of, reach=reach)
    counts[:n_header] = width  # rows of the header may have any
    long = [i for i in np.flatnonzero(counts > width) if "".join(rows[i][width:]).strip()]
    short = np.flatnonzero((counts < width) & (width > 1))
    full = (i for i in np.flatnonzero(counts == width) if i >= n_header and not rows[i][-1].strip())
    # Excel leaves out the blank cells at the ends of rows by 16 rows.
    even = [len({*map(len, rows[first : first + 16])}) == 1 for first in range(0, len(rows), 16)]
    lone = [i for i in short if not even[i // 16]]
    if long:
        n = f"{len(long)} row{'s do' if len(long) > 1 else ' does'}"
        raise refusal("long rows", **of, n=n, row=long[0] + 1, cells=len(rows[long[0]]))
    if len(rows) - 1 in short[-1:] and text.content[-1:] not in b"\r\n":
        raise refusal("broken off", **of, row=len(rows), cells=len(rows[-1]))
    if lone and (blank := next(full, None)) is not None:
        row = lone[0]
        raise refusal("lone rows", **of, n=len(lone), row=row + 1, cells=len(rows[row]), written=blank + 1)
    cells = {}
    for i, p in enumerate(positions):
        cells[i] = pd.Series([row[p] if p < len(row) else "" for row in rows[over:]], dtype="str")
    return pd.DataFrame(cells), len(short)
