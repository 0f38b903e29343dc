"""Text files: one line a row, cells between separators."""

import csv
import io
import itertools
from pathlib import Path

import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.sources.encoding import utf8
from cxresearch.sources.reading import WHITESPACE, Choose, Header, RawTable, Reading

BLOCK = 1 << 24  # bytes that the text reader takes at a time; a cell must fit
MOST_COLUMNS = 20_000
csv.field_size_limit(1 << 27)


def read_delimited(path: Path, choose: Choose, reading: Reading) -> RawTable:
    if not path.stat().st_size:
        raise StudyProblem(f"{path.name} is empty")
    content, notes = utf8(path, reading)
    separator = "\t" if path.suffix.lower() == ".tsv" and reading.separator == "," else reading.separator
    if separator == WHITESPACE:
        content, separator = _tabbed(content), "\t"
    rows, n_columns = _header(content, separator, path.name, len(reading.header))
    positions = choose(rows, n_columns)
    return RawTable(_read_cells(content, separator, positions, n_columns, path.name, reading.header), notes)


def _tabbed(content: Path | bytes) -> bytes:
    """Return the text with one tab for each run of spaces and tabs; spaces at both ends of a line mean nothing."""
    text = content if isinstance(content, bytes) else content.read_bytes()
    return b"\n".join(b"\t".join(line.split()) for line in text.removeprefix(b"\xef\xbb\xbf").splitlines())


def _header(content: Path | bytes, separator: str, file: str, n_rows: int) -> tuple[Header, int]:
    """Return the header rows, and how many columns the file has."""
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="", errors="surrogatepass")
        try:
            rows = list(itertools.islice((row for row in csv.reader(lines, delimiter=separator) if row), n_rows or 1))
        except csv.Error as error:
            raise StudyProblem(f"{file} cannot be read as text: {error}") from None
    if not rows:
        raise StudyProblem(f"{file} is empty")
    if any("\0" in cell for row in rows for cell in row):
        raise StudyProblem(
            f"{file} holds zero bytes and is no text; declare its encoding in study.yml, for example encoding: utf-16"
        )
    _require_one_separator(rows[0], file)
    if len(rows[0]) > MOST_COLUMNS:
        raise StudyProblem(f"{file} has {len(rows[0]):,} columns; at most {MOST_COLUMNS:,} are read")
    if len(rows) < n_rows:
        has = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
        raise StudyProblem(f"{file} has {has}, but study.yml declares {n_rows} header rows")
    return rows[:n_rows], len(rows[0])


def _require_one_separator(first: list[str], file: str) -> None:
    other = max(";\t|,", key=first[0].count) if len(first) == 1 else ""
    if other and first[0].count(other):
        raise StudyProblem(
            f"{file}: the header is one column {first[0][:60]!r}; declare separator: {other!r} in study.yml"
        )


def _read_cells(
    content: Path | bytes, separator: str, positions: list[int], n_columns: int, file: str, header: tuple[str, ...]
) -> pd.DataFrame:
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
            # The header is read as rows: names may stand twice, positions do not.
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
    frame = table.slice(len(header)).to_pandas()
    # A row is numbered as in the file, where the first of one header row is number 2.
    return frame.set_axis(pd.RangeIndex(len(header) - 1, len(header) - 1 + len(frame)))
