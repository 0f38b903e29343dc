"""Real files, broken in many ways, and what an independent reading of the broken file says.

A mutation is *harmless* (the number must stay), *fatal* (it must be refused) or neither (the number must be the one that
an independent reading of the mutated file gives, or it is refused).
"""

import csv
import io
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cxresearch import open_study
from cxresearch.errors import StudyProblem

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
REFUSED = None  # what an independent reading gives where the file must be refused


@dataclass(frozen=True)
class Base:
    """A real file, the study of one item in it, and how its mean is read independently."""

    file: str
    column: str
    scale: tuple
    missing: tuple = ()
    table: str = ""  # further keys of the table
    separator: str = ","
    encoding: str = "utf-8"
    header_rows: int = 1
    rows: int | None = None  # keep the first ones, for speed
    key: str = "x"
    read: Callable = field(default=None, repr=False)

    def content(self, shared: Path) -> bytes:
        raw = (shared / "data" / self.file).read_bytes()
        return b"\n".join(raw.split(b"\n")[: self.rows]) + b"\n" if self.rows else raw

    def study(self, folder: Path) -> Path:
        codes = json.dumps([str(code) for code in self.missing])
        item = f"{{column: {json.dumps(self.column)}, scale: {list(self.scale)}, missing: {codes}}}"
        text = f"title: T\ntables:\n  responses:\n    source: {Path(self.file).name}\n{self.table}    items:\n      x: {item}\n"
        (folder / "study.yml").write_text(text, encoding="utf-8")
        return folder / "study.yml"


def number_of(base: Base, content: bytes, folder: Path) -> tuple[tuple | None, str]:
    """Return (answers, sum) as the study gives them, or None and the message."""
    (folder / Path(base.file).name).write_bytes(content)
    try:
        x = open_study(base.study(folder)).responses.table["x"]
    except StudyProblem as problem:
        return REFUSED, str(problem)
    return (int(x.notna().sum()), round(float(x.sum()), 6)), ""


# -- independent readings --------------------------------------------------------------------------------------------


def from_text(base: Base, content: bytes) -> tuple | None:
    """Read delimited text with the csv module: numbers on the scale, rows as wide as the header or, where nobody writes
    blank cells at the end of a row, shorter."""
    try:
        text = content.decode(base.encoding)
    except UnicodeDecodeError:
        return REFUSED
    rows = [
        row for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=base.separator) if row
    ]
    wide = len(rows[0]) if rows else 0
    short = [row for row in rows[base.header_rows :] if len(row) < wide]
    if len(rows) <= base.header_rows or any(len(row) > wide for row in rows):
        return REFUSED
    if short and any(len(row) == wide and not row[-1].strip() for row in rows):
        return REFUSED
    if short and rows[-1] is short[-1] and not text.endswith(("\n", "\r")):
        return REFUSED
    rows = [row + [""] * (wide - len(row)) for row in rows]
    exact = [i for i, h in enumerate(rows[0]) if h == base.column]
    places = exact or [i for i, h in enumerate(rows[0]) if h.strip() == base.column.strip()]
    return tally(base, [row[places[0]] for row in rows[base.header_rows :]]) if len(places) == 1 else REFUSED


def from_spss(base: Base, content: bytes) -> tuple | None:
    import pyreadstat

    descriptor, name = tempfile.mkstemp(suffix=".sav")
    path = Path(name)
    with open(descriptor, "wb") as file:
        file.write(content)
    try:
        frame, meta = pyreadstat.read_sav(str(path), user_missing=True, usecols=[base.column])
        x = frame[base.column]
        for gone in meta.missing_ranges.get(base.column, ()):
            x = x.mask((x >= gone["lo"]) & (x <= gone["hi"]))
    except Exception:
        return REFUSED
    finally:
        path.unlink()
    return tally(base, ["" if value != value else value for value in x])


def from_json(base: Base, content: bytes) -> tuple | None:
    try:
        records = next(iter(json.loads(content.decode("utf-8")).values()))
        return tally(base, [record.get(base.column, "") for record in records])
    except (ValueError, AttributeError, StopIteration, TypeError):
        return REFUSED


def tally(base: Base, cells: list) -> tuple | None:
    """Return how many answers there are and their sum; None where a cell is no answer."""
    found = []
    for cell in cells:
        text = "" if cell is None else str(cell).strip()
        if not text or text in map(str, base.missing):
            continue
        if not NUMBER.fullmatch(text):
            return REFUSED
        value = float(text)
        if value in [float(m) for m in base.missing if NUMBER.fullmatch(str(m))]:
            continue
        if not base.scale[0] <= value <= base.scale[1]:
            return REFUSED
        found.append(value)
    return len(found), round(float(np.sum(found)), 6)


BASES = (
    Base("airport/survey_2017.csv", "NETPRO", (0, 10), (11,), rows=250, read=from_text),
    Base("airport/survey_2018.csv", "Q7ALL", (1, 5), (0, "BLANK"), rows=250, read=from_text),
    Base("exports/google_forms.csv", "On a scale of 0-10, how would you rate Sudzilla?", (0, 10), read=from_text),
    Base("verbatims/seat.csv", "overall_rating", (1, 10), (0,), rows=200, read=from_text),
    Base("garden_centre/customers.csv", "satisfaction", (1, 10), ("NA",), table="    encoding: latin-1\n", encoding="latin-1", rows=250, read=from_text),
    Base("banks/spanish_bank.csv", "loy1", (0, 10), read=from_text),
    Base("exports/soccer_fan_satisfaction.sav", "x4", (0, 7), read=from_spss),
    Base("textbook/HBAT.sav", "x19", (0, 10), read=from_spss),
    Base("verbatims/bank_reviews_ru.json", "RATING", (1, 5), (0,), read=from_json),
)  # fmt: skip


# -- mutations of any file -------------------------------------------------------------------------------------------


def flip_bytes(base, content, draw):
    changed = bytearray(content)
    for at in draw.integers(0, len(changed), draw.integers(1, 6)):
        changed[at] ^= 1 << draw.integers(0, 8)
    return bytes(changed), "any"


def cut(base, content, draw):
    return content[: draw.integers(0, len(content))], "any"


# -- mutations of text -----------------------------------------------------------------------------------------------


def table_of(base, content):
    text = content.decode(base.encoding)
    mark = text[: text.startswith("\ufeff")]
    return mark, [
        row for row in csv.reader(io.StringIO(text[len(mark) :], newline=""), delimiter=base.separator) if row
    ]


def bytes_of(base, mark, rows, separator=None):
    out = io.StringIO()
    csv.writer(out, delimiter=separator or base.separator, lineterminator="\n").writerows(rows)
    return (mark + out.getvalue()).encode(base.encoding, "replace")


def place(base, rows):
    return [h.strip() for h in rows[0]].index(base.column.strip())


def drop_column(base, content, draw):
    mark, rows = table_of(base, content)
    at = int(draw.integers(0, len(rows[0])))
    fatal = at == place(base, rows)
    return bytes_of(base, mark, [row[:at] + row[at + 1 :] for row in rows]), "fatal" if fatal else "harmless"


def swap_columns(base, content, draw):
    mark, rows = table_of(base, content)
    order = draw.permutation(len(rows[0]))
    return bytes_of(base, mark, [[row[i] for i in order] for row in rows]), "harmless"


def retype(base, content, draw):
    """Write numbers otherwise (5.0, ' 5 ', +5), or as words."""
    mark, rows = table_of(base, content)
    at, how = place(base, rows), int(draw.integers(0, 5))
    forms = ["{}.0", " {} ", "+{}", "{}.", "{} points"]
    touched = [row for row in rows[1:] if re.fullmatch(r"\d+", row[at].strip())]
    for row in touched:
        row[at] = forms[how].format(row[at].strip())
    return bytes_of(base, mark, rows), "fatal" if how == 4 and touched else "harmless"


def cut_rows(base, content, draw):
    mark, rows = table_of(base, content)
    keep = int(draw.integers(1, len(rows)))
    return bytes_of(base, mark, rows[:keep]), "any"


def change_separator(base, content, draw):
    mark, rows = table_of(base, content)
    return bytes_of(base, mark, rows, separator="|;\t"[int(draw.integers(0, 3))]), "fatal"


def push_off_scale(base, content, draw):
    mark, rows = table_of(base, content)
    at = place(base, rows)
    value = ["12", "-3", "99", "1e3", "inf", "nan", "5,5", "0x3", "१", "½", "--", "=1+1"][int(draw.integers(0, 12))]
    rows[int(draw.integers(1, len(rows)))][at] = value
    return bytes_of(base, mark, rows), "fatal" if base.encoding == "utf-8" or value.isascii() else "any"


def double_header(base, content, draw):
    mark, rows = table_of(base, content)
    if draw.random() < 0.5:
        rows.insert(int(draw.integers(1, len(rows))), rows[0])
    else:
        at = place(base, rows)
        rows = [[*row, row[at]] for row in rows]
    return bytes_of(base, mark, rows), "fatal"


def wrong_encoding(base, content, draw):
    text = content.decode(base.encoding)
    return text.encode(["utf-16", "cp1252", "latin-1", "utf-8-sig"][int(draw.integers(0, 4))], "replace"), "any"


ANY = (flip_bytes, cut)
TEXT = (drop_column, swap_columns, retype, cut_rows, change_separator, push_off_scale, double_header, wrong_encoding)
KINDS = [(base, mutate) for base in BASES for mutate in (ANY + TEXT if base.read is from_text else ANY)]
