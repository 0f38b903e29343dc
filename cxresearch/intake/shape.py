"""How a file is to be read: encoding, separator, header rows, sheet; each guess with its reason."""

import csv
import re
from collections import Counter
from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.intake.column import sentence
from cxresearch.sources import NO_OPTION, WHITESPACE, RawTable, Reading, naming, read_table, reader_of
from cxresearch.sources.text import SEP_LINE, detect, utf8
from cxresearch.sources.workbook import cells, open_book

SEPARATORS = (",", ";", "\t", "|")
LOOKED_AT = 60
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?%?")

Said = dict[str, tuple[object, str, bool]]  # key -> value, reason, and whether that is doubtful


def read_unknown(path: Path) -> tuple[Reading, Said, RawTable]:
    """Find out how a file is to be read, and read it; `StudyProblem` says what cannot be read."""
    (kind, _), said = reader_of(path), {}
    with naming(path, kind):
        reading = {"text": _text, "Excel": _excel, "JSON": _json}.get(kind, lambda *_: Reading())(path, said)
    return reading, said, read_table(path, reading=reading)


def _text(path: Path, said: Said) -> Reading:
    encoding, doubt = detect(path)
    if encoding:
        said["encoding"] = encoding[0], doubt or "the byte-order mark says so", bool(doubt)
    with utf8(path, Reading(encoding=encoding)).lines() as stream:
        text = SEP_LINE.sub("", stream.read(1 << 20), count=1)
    if "\0" in text[:1000]:
        raise StudyProblem(f"{path.name} holds zero bytes and is no text file")
    lines = [line for line in text.splitlines(keepends=True) if line.strip()][:2000]
    separator, why, rows = _separator(lines, path)
    if separator != ("\t" if path.suffix.lower() == ".tsv" else ","):
        said["separator"] = separator, why, False
    rows = list(filter(None, rows))
    title = next((i for i, row in enumerate(rows) if len(row) > 1), 0)  # it ends before the first separator
    return Reading(encoding=encoding, separator=separator, header=_header(rows, said, title))


def _separator(lines: list[str], path: Path) -> tuple[str, str, list[list[str]]]:
    """Return the separator that cuts the rows into the same number of cells, more than one; why, and the rows."""
    cut = {separator: list(csv.reader(lines, delimiter=separator)) for separator in SEPARATORS}
    cut[WHITESPACE], scores = [line.split() for line in lines], {}
    for separator, rows in cut.items():
        widths = [len(row) for row in rows if row][:LOOKED_AT]
        width, times = Counter(widths).most_common(1)[0]
        signed, share = separator != WHITESPACE, times / len(widths)
        if width > 1 and share >= (0.8 if signed else 0.95):
            scores[separator] = signed, widths[0] == width, share, width
    if scores:
        best = max(scores, key=scores.get)
        how = "it cuts" if best != WHITESPACE else "runs of spaces cut"
        return best, f"{how} every row into {scores[best][-1]} cells", cut[best]
    if not any(separator in line for line in lines for separator in SEPARATORS):
        return ",", "there is one column", cut[","]
    raise StudyProblem(sentence("no separator", file=path.name))


def _header(rows: list[list[str]], said: Said, skipped: int) -> tuple[str, ...]:
    """Return what the header rows hold, below a title of so many rows."""
    width = max(map(len, rows[skipped:]))
    rows = [[cell.strip() for cell in row] + [""] * (width - len(row)) for row in rows[skipped:LOOKED_AT]]
    first, second, third = (*rows[:3], [], [])[:3]
    more, options = len(rows) > 2, ("question", "option")
    under = [cell for cell, above in zip(second[1:], first[1:]) if not above]
    below = [[row[i] for row in rows[2:] if row[i]] for i in range(len(second))]
    counted = [cell for cell, column in zip(second, below) if column and all(map(NUMBER.fullmatch, column))]

    def most(cells: list[str], share: float) -> bool:
        """Return whether so many cells hold words."""
        return sum(bool(cell) and not NUMBER.fullmatch(cell) for cell in cells) >= share * len(cells)

    known = (
        (more and sum("ImportId" in cell for cell in third) > len(third) / 2, ("name", "label", "ignore"),
         "the third row holds the import ids of Qualtrics", False),
        (len(rows) > 1 and all(map(NUMBER.fullmatch, first)), (), "the first row holds nothing but numbers", True),
        (more and sum(cell.lower() in NO_OPTION for cell in second) > 0.3 * len(second), options,
         "the second row holds what SurveyMonkey writes under questions without options", False),
        (more and len(under) > 1 and most(under, 0.8), options,
         "the first row is blank where the second goes on naming columns", False),
        (more and counted and most(counted, 1) and len(set(first)) == len(first), ("name", "label"),
         "the second row holds words where the rows below hold numbers", not first[0].startswith("V1")),
        (True, ("name",), "", False),
    )  # fmt: skip
    header, why, doubtful = next(found for holds, *found in known if holds)
    header = ("ignore",) * skipped + header
    if header != ("name",):
        title = f"a title stands over the first {skipped} rows" if skipped else ""
        said["header"] = list(header) or "none", " and ".join(filter(None, (title, why))), doubtful
    return header


def _excel(path: Path, said: Said) -> Reading:
    names, sheet = open_book(path).sheet_names, None
    if len(names) > 1:
        sizes = {name: len(cells(path, name)[0]) for name in names}
        sheet = max(sizes, key=sizes.get)
        said["sheet"] = sheet, f"of {len(names)} sheets it has the most rows ({sizes[sheet]})", True
    rows = [[str(c) for c in row] for row in cells(path, sheet)[0][:LOOKED_AT]]
    if not rows:
        raise StudyProblem(f"{path.name} is empty")
    filled = [sum(bool(c.strip()) for c in row) for row in rows]
    wide = (i for i, n in enumerate(filled[:-2]) if n >= max(min(2, max(filled)), max(filled) / 4))
    return Reading(sheet=sheet, header=_header(rows, said, next(wide, max(0, len(rows) - 2))))


def _json(path: Path, said: Said) -> Reading:
    """Let the reader find the only list; of several, take the first it offers."""
    try:
        read_table(path)
    except StudyProblem as problem:
        if not (offered := re.search(r"for example records: (.+)$", str(problem))):
            raise
        said["records"] = offered[1], "the file holds several lists, and this is the first", True
        return Reading(records=offered[1])
    return Reading()
