"""Read one table from CSV, Excel, Parquet or SPSS, as it was stored.

Nothing is interpreted here: text stays text ("5", "NA", "007"), because only the codebook knows what a cell means.
Columns are looked up by their exact header first, then by the header without surrounding whitespace.
Bytes that the encoding does not know stop the reading, unless a replacement was declared; then they are counted.
"""

import codecs
import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import StudyProblem, nearest

CHUNK = 1 << 20
BLOCK = 1 << 24  # bytes that the text reader takes at a time; a cell must fit
GLOB = frozenset("*?[")


class Reading(NamedTuple):
    """How a file is to be read.

    `encoding` may name two encodings: what the first leaves undecoded, or decodes as a control character
    (0x80-0x9F), is decoded by the second. That is how files look into which two systems wrote.
    """

    encoding: tuple[str, ...] = ()
    encoding_errors: str = "strict"
    separator: str = ","
    sheet: str | None = None


class RawTable(NamedTuple):
    """What a file holds: `frame` has the wanted columns under the wanted names; `notes` say what was done to bytes."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


Choose = Callable[[list[str]], list[int]]  # headers of the file -> positions of the columns to read


def read_table(path: Path, *, wanted: Mapping[str, str] | None = None, reading: Reading | None = None) -> RawTable:
    """Return the wanted columns of one file.

    Parameters
    ----------
    path
        The file; its ending says what it is (.csv .tsv .txt, .xlsx .xls .xlsm .xlsb .ods, .parquet .pq, .sav .zsav).
    wanted
        Header -> what asks for it (for the message when it is absent). None reads every column.
    reading
        Encoding, separator, sheet; by default UTF-8, comma, the only sheet.

    Raises
    ------
    StudyProblem
        The file is absent, unreadable, empty or wrongly encoded, or lacks a wanted column.
    """
    found: list[str] = []

    def choose(headers: list[str]) -> list[int]:
        found[:] = headers
        return (
            list(range(len(headers)))
            if wanted is None
            else [_position(headers, w, why, path.name) for w, why in wanted.items()]
        )

    reading = reading or Reading()
    kind, reader = _reader(path)
    if reading.sheet is not None and kind != "Excel":
        raise StudyProblem(
            f"{path.name} is no Excel file and has no sheet {reading.sheet!r}; leave sheet out of study.yml"
        )
    try:
        raw = reader(path, choose, reading)
    except StudyProblem:
        raise
    except (
        Exception
    ) as error:  # whatever a reading library raises: the researcher needs the file's name, not its traceback
        raise StudyProblem(f"{path.name} cannot be read as {kind}: {_first_line(error)}") from error
    if not len(raw.frame):
        raise StudyProblem(f"{path.name} has a header but no rows")
    raw.frame.columns = pd.Index(found if wanted is None else list(wanted), dtype=object)
    return raw


def expand(path: Path) -> list[Path]:
    """Return the files that `path` names: itself, or what its pattern (``sales/*.parquet``) matches, sorted."""
    pattern = [i for i, part in enumerate(path.parts) if GLOB & set(part)]
    if path.exists() or not pattern:
        return [path] if path.is_file() else []
    return sorted(p for p in Path(*path.parts[: pattern[0]]).glob(str(Path(*path.parts[pattern[0] :]))) if p.is_file())


def _reader(path: Path) -> tuple[str, Callable[[Path, Choose, Reading], RawTable]]:
    for kind, endings, reader in READERS:
        if path.suffix.lower() in endings:
            return kind, reader
    known = " ".join(e for _, endings, _ in READERS for e in endings)
    raise StudyProblem(f"{path.name}: files ending in {path.suffix!r} are not read; known endings: {known}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _position(headers: list[str], name: str, why: str, file: str) -> int:
    for candidates, asked in ((headers, name), ([h.strip() for h in headers], name.strip())):
        if candidates.count(asked) > 1:
            raise StudyProblem(
                f"{file} has {candidates.count(asked)} columns {asked!r} ({why}); rename them so that one is meant"
            )
        if asked in candidates:
            return candidates.index(asked)
    raise StudyProblem(f"{file} has no column {name!r} ({why}){nearest(name, [h.strip() for h in headers])}")


# -- text files ------------------------------------------------------------------------------------------------------


def _read_delimited(path: Path, choose: Choose, reading: Reading) -> RawTable:
    if not path.stat().st_size:
        raise StudyProblem(f"{path.name} is empty")
    content, notes = _utf8(path, reading)
    separator = "\t" if path.suffix.lower() == ".tsv" and reading.separator == "," else reading.separator
    headers = _header(content, separator, path.name)
    positions = choose(headers)
    return RawTable(_read_cells(content, separator, positions, len(headers), path.name), notes)


def _utf8(path: Path, reading: Reading) -> tuple[Path | bytes, tuple[str, ...]]:
    """Return something UTF-8 to read from: the file itself if it is, else its decoded bytes."""
    encodings = [codecs.lookup(e).name for e in reading.encoding] or ["utf-8"]
    if encodings in (["utf-8"], ["utf-8-sig"]) and reading.encoding_errors == "strict":
        _check_encoding(path, "utf-8", declared=bool(reading.encoding))
        return path, ()
    raw = path.read_bytes()
    if len(encodings) > 1:
        text, n = _decode_mixed(raw, *encodings)
        note = f"{n} characters that are not {reading.encoding[0]} text decoded as {reading.encoding[1]}"
    elif reading.encoding_errors == "replace":
        text = raw.decode(encodings[0], "replace")
        n = text.count("\ufffd") - raw.decode(encodings[0], "ignore").count("\ufffd")
        note = f"{n} undecodable characters replaced (encoding_errors: replace)"
    else:
        _check_encoding(path, encodings[0], declared=True)
        text = raw.decode(encodings[0])
        n = sum(text.count(chr(c)) for c in range(0x80, 0xA0))
        note = f"{n} control characters (0x80-0x9F) decoded as {reading.encoding[0]}, which text does not hold"
    return text.encode(), (note,) if n else ()


def _check_encoding(path: Path, encoding: str, *, declared: bool) -> None:
    """Refuse the first byte that is not `encoding`, naming where it stands."""
    decoder = codecs.getincrementaldecoder(encoding)()
    position, line = 0, 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                before = position - held + error.start
                line += chunk[: max(error.start - held, 0)].count(b"\n")
                remedy = "another encoding" if declared else "its encoding"
                raise StudyProblem(
                    f"{path.name} is not {encoding.upper()}: byte 0x{error.object[error.start]:02x} at position "
                    f"{before} (line {line}); "
                    f"declare {remedy} in study.yml, for example encoding: {_guess(error.object, encoding)}"
                ) from None
            if not chunk:
                return
            position += len(chunk)
            line += chunk.count(b"\n")


def _guess(content: bytes, refused: str) -> str:
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    return "latin-1" if refused == "cp1252" else "cp1252"


def _decode_mixed(raw: bytes, first: str, second: str) -> tuple[str, int]:
    """Decode by `first`; by `second` each byte that `first` does not know or takes for a control character."""
    table = {c: bytes([c]).decode(second, "replace") for c in range(0x80, 0xA0)}
    text = raw.decode(first, "surrogateescape")
    unknown = {0xDC00 + b: bytes([b]).decode(second, "replace") for b in range(0x80, 0x100)}
    n = sum(text.count(chr(c)) for c in (*table, *unknown))
    return text.translate(table | unknown), n


def _header(content: Path | bytes, separator: str, file: str) -> list[str]:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        headers = next((row for row in csv.reader(lines, delimiter=separator) if row), None)
    if headers is None:
        raise StudyProblem(f"{file} is empty")
    if any("\0" in h for h in headers):
        raise StudyProblem(
            f"{file} holds zero bytes and is no text; declare its encoding in study.yml, for example encoding: utf-16"
        )
    other = max(";\t|,", key=headers[0].count) if len(headers) == 1 else ""
    if other and headers[0].count(other):
        raise StudyProblem(
            f"{file}: the header is one column {headers[0][:60]!r}; declare separator: {other!r} in study.yml"
        )
    return headers


def _read_cells(content: Path | bytes, separator: str, positions: list[int], n_columns: int, file: str) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    ragged: list = []

    def keep_note(row) -> str:
        ragged.append(row)
        return "skip"

    def read(threads: bool) -> pa.Table:
        ragged.clear()
        return arrow_csv.read_csv(
            pa.BufferReader(content) if isinstance(content, bytes) else str(content),
            # The header is read as the first row: names may stand twice, positions do not.
            read_options=arrow_csv.ReadOptions(autogenerate_column_names=True, use_threads=threads, block_size=BLOCK),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=keep_note
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={f"f{i}": pa.string() for i in range(n_columns)},
                include_columns=[f"f{i}" for i in positions],
                strings_can_be_null=False,
            ),
        )

    table = read(threads=True)
    if ragged:
        read(threads=False)  # only then does the reader know the rows' numbers
        raise StudyProblem(
            f"{file}: {len(ragged)} row{'s do' if len(ragged) > 1 else ' does'} not have the {n_columns} columns "
            "of the header "
            f"(first: row {ragged[0].number} with {ragged[0].actual_columns}); correct the file, or declare its "
            "separator in study.yml"
        )
    return table.slice(1).to_pandas()


# -- other files -----------------------------------------------------------------------------------------------------


def _read_excel(path: Path, choose: Choose, reading: Reading) -> RawTable:
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_path(path)
    names = book.sheet_names
    if reading.sheet is None and len(names) > 1:
        raise StudyProblem(
            f"{path.name} has {len(names)} sheets ({', '.join(map(repr, names))}); declare which one in study.yml, "
            f"for example sheet: {names[0]}"
        )
    if reading.sheet is not None and reading.sheet not in names:
        raise StudyProblem(f"{path.name} has no sheet {reading.sheet!r}{nearest(reading.sheet, names)}")
    rows = book.get_sheet_by_name(reading.sheet or names[0]).to_python()
    if not rows:
        raise StudyProblem(f"{path.name} is empty")
    positions = choose([str(cell) for cell in rows[0]])
    body = {i: row for i, row in enumerate(rows[1:]) if any(cell != "" for cell in row)}
    columns = [pd.Series({i: None if row[p] == "" else row[p] for i, row in body.items()}) for p in positions]
    return RawTable(pd.concat(columns, axis=1) if body else pd.DataFrame(columns=range(len(positions))))


def _read_parquet(path: Path, choose: Choose, reading: Reading) -> RawTable:
    import pyarrow as pa
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    names = file.schema_arrow.names
    positions = choose(names)
    table = file.read(columns=[names[p] for p in positions])
    table = table.select([names[p] for p in positions])
    whole = {
        t: pd.Int64Dtype() for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64())
    }  # a missing cell must not round an id
    nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
    if nested:
        raise StudyProblem(
            f"{path.name}: column {nested[0]!r} holds lists or records, not one value a row; flatten it first"
        )
    simple = [_simple(field, pa) for field in table.schema]
    return RawTable(table.cast(pa.schema(simple)).to_pandas(types_mapper=whole.get))


def _simple(field, pa):
    """Return the field with dictionaries as text and decimals as floats, which pandas would keep as objects."""
    if pa.types.is_dictionary(field.type):
        return field.with_type(field.type.value_type)
    return field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field


def _read_spss(path: Path, choose: Choose, reading: Reading) -> RawTable:
    import pyreadstat

    _, meta = pyreadstat.read_sav(str(path), metadataonly=True)
    names = [meta.column_names[p] for p in choose(list(meta.column_names))]
    # Values stay the stored codes, without their labels; what the file declares as user-missing is missing.
    encoding = reading.encoding[0] if reading.encoding else None
    frame, _ = pyreadstat.read_sav(
        str(path), usecols=names, apply_value_formats=False, user_missing=False, encoding=encoding
    )
    return RawTable(frame[names])


READERS = (
    ("text", (".csv", ".tsv", ".txt"), _read_delimited),
    ("Excel", (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"), _read_excel),
    ("Parquet", (".parquet", ".pq"), _read_parquet),
    ("SPSS", (".sav", ".zsav"), _read_spss),
)
