"""What a file and its columns look like: how it is to be read; numbers and texts with their counts, codes, dates."""

import csv
import re
import tomllib
from collections import Counter, namedtuple
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import StudyProblem
from cxresearch.findings import words
from cxresearch.sources import NO_OPTION, WHITESPACE, RawTable, Reading, naming, read_table, reader_of
from cxresearch.sources.text import SEP_LINE, detect, utf8
from cxresearch.sources.workbook import cells, open_book
from cxresearch.study.codes import NUMBER, Refused, Writing, as_text, bare_amount, dates, distinct

say = words(__package__)
PATTERNS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
WORDS = {name: re.compile(pattern, re.I) for name, pattern in PATTERNS["words"].items()}
CODES = frozenset(PATTERNS["codes"]["no_answer"])
LONGEST_CODE, FEW, MANY = 40, 13, 25  # characters of a code; points of a scale; different words
# How numbers may be written; of those that fit as many cells the first is taken.
WAYS = tuple(Writing(*way) for way in ((".",), (".", ","), (",",), (",", "."), (",", " "), (".", " "), (".", "'")))
SPELLED = re.compile(r"\s*([0-9]{1,2})\s*[-–—=:(]\s*\(?[^\W\d_]|[^\W\d_].*[^\d.,]([+-][0-9]{1,2})$")
DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1(\d{4}|\d\d)(?:([ T])\d{1,2}:\d\d(:\d\d)?(?:( ?)[AP](M))?)?", re.I)
# strptime's signs (None: plain anyway), why, the last year, and the signs if day and month may change places
Dates = namedtuple("Dates", "format reason last other", defaults=[0, None])
SEPARATORS, LOOKED_AT = (",", ";", "\t", "|"), 60  # rows
CELL = re.compile(r"[+-]?\d+([.,]\d+)?%?")  # that holds a number
Said = dict[str, tuple[object, str, bool]]  # key -> value, reason, and whether that is doubtful


def refuse_if(wrong, sentence: str, /, **known) -> None:
    if wrong:
        raise StudyProblem(say(sentence, **known))


def plain(text: str) -> str:
    """Return words in lower case, signs as spaces."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)).lower().strip()


def absence(words: str) -> str | None:
    """Return the key of an item that sets aside what these words stand for, None where they may be an answer."""
    return next((key for key in ("not_applicable", "missing") if words and WORDS[key].search(words)), None)


def code_text(code) -> str:
    return str(code).removesuffix(".0") if isinstance(code, float) and abs(code) < 1e15 else str(code)


def symmetric(found) -> bool:
    """Return whether values are all whole numbers from -2 to 2, -3 to 3, -4 to 4 or -5 to 5."""
    return any(set(found) == set(range(-end, end + 1)) for end in range(2, 6))


@dataclass(eq=False)
class Column:
    """A column as stored: value -> rows of its `numbers` and `texts`, code -> words of its labels.

    `ranges`: the file's user-missing codes; `padded`: whole numbers start with zeros, as names do; `beside`: ends of
    the scale of ratings in a row with it. `answers`: numbers without what marks none (`usual`: by habit); `numeric`:
    but for a few words for no answer; `ratinglike`: at least three answers from 0 to 11, or around 0.
    """

    name: str
    label: str
    rows: int
    numbers: dict[float, int]
    texts: dict[str, int]
    labels: dict[float | str, str]
    ranges: list[tuple]
    writing: Writing
    padded: bool = False
    beside: tuple[int, int] | None = None

    def __post_init__(self):
        n, odd = sum(self.numbers.values()), sum(self.texts.values())
        self.filled, self.distinct = n + odd, len(self.numbers) + len(self.texts)
        self.stored = {code_text(v): rows for v, rows in (self.numbers | self.texts).items()}
        self.total = sum(v * rows for v, rows in self.numbers.items())
        self.words = plain(f"{self.name} {self.label}")
        self.usual = [v for v in self.numbers if v not in CODES]
        self.whole = all(v.is_integer() for v in self.numbers)
        self.days = not self.texts and self.whole and all(19000101 <= v <= 21001231 for v in self.numbers)  # 19970101
        # a sentence is no code, and must not reach the study file
        short = max(map(len, self.texts), default=0) <= LONGEST_CODE
        few = len(self.texts) <= 3 or all(WORDS["missing"].search(t) for t in self.texts)
        self.numeric = n > 0 and short and (not odd or (few and odd <= n and len(self.texts) <= 6))
        gone = {code for code, words in self.labels.items() if absence(words)}
        self.answers = {v: n for v, n in self.numbers.items() if v not in gone and not self.in_ranges(v)}
        usual = [v for v in self.answers if v not in CODES]
        if not symmetric(self.answers) and usual and max(usual) <= 11 and min(usual) >= -5:
            self.answers = {v: self.answers[v] for v in usual}
        whole = all(0 <= v <= 11 and v.is_integer() for v in self.answers) or symmetric(self.answers)
        self.ratinglike = self.numeric and 3 <= len(self.answers) <= FEW and whole

    def says(self, *names: str) -> bool:
        """Return whether its name or label has one of the `WORDS`."""
        return any(WORDS[name].search(self.words) for name in names)

    def in_ranges(self, value) -> bool:
        """Return whether the file itself declares a value as missing."""
        number = isinstance(value, (int, float))
        return number and any(isinstance(r[0], (int, float)) and not digits.outside(value, *r) for r in self.ranges)

    def is_far(self, code) -> bool:
        """Return whether a number marks something else than an answer, by habit and by where it lies."""
        if code not in CODES or not self.usual:
            return False
        most = max(self.usual)
        return min(self.usual) >= 0 if code < 0 else most <= 15 or (code >= 997 and code > 3 * most)

    @cached_property
    def spelled(self) -> tuple["Column", dict[str, float]]:
        """The rating with cells such as ``10 - Extremely likely`` as their number, and text -> number of these."""
        words = {t: float(m[1] or m[2]) for t in self.texts if len(t) < 60 and (m := SPELLED.match(t))}
        numbers = Counter(self.numbers)
        for text, number in words.items():
            numbers[number] += self.texts[text]
        texts = {t: n for t, n in self.texts.items() if t not in words}
        read = replace(self, numbers=dict(numbers), texts=texts) if 0 < len(words) <= MANY else self
        return (read, words) if read is not self and read.ratinglike else (self, {})

    @cached_property
    def dates(self) -> Dates | None:
        """How its dates are written, None if it holds anything else."""
        texts = pd.Series(list(self.texts), dtype="str")
        if self.numbers or not len(texts) or not texts.str.match(r"\d{1,4}[./-]\d").all():
            return None
        with suppress(Refused):
            dates(texts)
            return Dates(None, "dates written year first")
        if not (found := DATE.fullmatch(texts[0])):
            return None
        sign, year, gap, second, space, half = found.groups()
        clock = f"{'%I' if half else '%H'}:%M{':%S' if second else ''}{f'{space}%p' if half else ''}"
        rest = ("%Y" if len(year) == 4 else "%y") + (gap + clock if gap else "")
        ways = {"day": f"%d{sign}%m{sign}{rest}", "month": f"%m{sign}%d{sign}{rest}"}
        parsed = {first: pd.to_datetime(texts, format=way, errors="coerce") for first, way in ways.items()}
        last = [(first, found.dt.year.max()) for first, found in parsed.items() if found.notna().all()]
        if len(last) == 2:
            return Dates(ways["day"], "no number above 12 tells the day from the month", last[0][1], ways["month"])
        most = max(int(n) for t in texts for n in re.findall(r"\d+", t)[:2])
        for first, year in last:
            return Dates(ways[first], f"dates written {first} first: a number up to {most}", year)


def profile(name: str, raw: RawTable) -> Column:
    """Return what a column looks like; work is done on its distinct values."""
    (labels, codes, missing), stored = raw.meanings, raw.frame[name]
    positions, values = distinct(stored)
    counts = np.bincount(positions[positions >= 0], minlength=len(values))
    text = as_text(values.astype(str) if pd.api.types.is_bool_dtype(values.dtype) else values)
    writing, bare = _writing(text, counts)
    parsed, rows = pd.Series(digits.whole(writing.parsed(bare))), pd.Series(counts)
    numbers = rows.groupby(parsed, sort=False).sum().to_dict()
    texts = rows.groupby(text.where(parsed.isna() & (text != "")), sort=False).sum().to_dict()
    said = {float(c) if re.fullmatch(NUMBER, str(c)) else c: str(w) for c, w in codes.get(name, {}).items()}
    told = labels.get(name, ""), len(stored), numbers, texts, said, missing.get(name, [])
    return Column(name, *told, writing, bool(text.str.fullmatch(r"0[0-9]+").any()))


def _writing(text: pd.Series, counts: np.ndarray) -> tuple[Writing, pd.Series]:
    """Return how a tenth of the numbers or more are written, and the texts without signs of currency and brackets."""
    odd = ~text.str.fullmatch(NUMBER).astype(bool) & text.str.contains("[0-9]")
    if not odd.any() or text[odd].str.len().max() > LONGEST_CODE:
        return WAYS[0], text
    bare = text.where(~odd, text[odd].map(lambda cell: bare_amount(cell)[0])).astype("str")
    fits = [bare.str.fullmatch(way.number).astype(bool) for way in WAYS]
    rows = [counts[fit.to_numpy()].sum() for fit in fits]
    best = np.argmax(rows)
    if rows[best] and 10 * (rows[best] - rows[0]) >= rows[best]:
        return WAYS[best], bare
    # where every number is an amount of money, its sign or its brackets are part of how it is written
    changed = text != bare
    return WAYS[0], bare if rows[0] and changed.any() and fits[0][changed].all() else text


def read_file(path: Path) -> tuple[Reading, Said, RawTable]:
    """Find out how a file is to be read, and read it; `StudyProblem` says what cannot be read."""
    kind, said = reader_of(path)[0], {}
    with naming(path, kind):
        reading = {"text": _text, "Excel": _excel}.get(kind, lambda *_: Reading())(path, said)
    try:
        return reading, said, read_table(path, reading=reading)
    except StudyProblem as problem:
        if not (offered := re.search(r"for example records: (.+)$", str(problem))):
            raise
    said["records"] = offered[1], "the file holds several lists, and this is the first", True
    reading = Reading(records=offered[1])
    return reading, said, read_table(path, reading=reading)


def _text(path: Path, said: Said) -> Reading:
    encoding, doubt = detect(path)
    if encoding:
        said["encoding"] = encoding[0], doubt or "the byte-order mark says so", bool(doubt)
    with utf8(path, Reading(encoding=encoding)).lines() as stream:
        text = SEP_LINE.sub("", stream.read(1 << 20), count=1)
    refuse_if("\0" in text[:1000], "zero bytes", file=path.name)
    lines = [line for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", text) if line.strip()][:2000]
    refuse_if(not lines, "empty", file=path.name)
    separator, why, rows = _separator(lines, path)
    if separator != ("\t" if path.suffix.lower() == ".tsv" else ","):
        said["separator"] = separator, why, False
    title = next((i for i, row in enumerate(rows) if len(row) > 1), 0)  # it ends before the first separator
    return Reading(encoding=encoding, separator=separator, header=_header(rows, said, title))


def _separator(lines: list[str], path: Path) -> tuple[str, str, list[list[str]]]:
    """Return the separator that cuts the rows into the same number of cells, more than one; why, and the rows."""
    cut = {separator: list(csv.reader(lines, delimiter=separator)) for separator in SEPARATORS}
    cut[WHITESPACE], scores = [line.split() for line in lines], {}
    for separator, rows in cut.items():
        widths = [len(row) for row in rows[:LOOKED_AT]]
        width, times = Counter(widths).most_common(1)[0]
        signed, share = separator != WHITESPACE, times / len(widths)
        if width > 1 and share >= (0.8 if signed else 0.95):
            scores[separator] = signed, widths[0] == width, share, width
    if scores:
        best = max(scores, key=scores.get)
        how = "it cuts" if best != WHITESPACE else "runs of spaces cut"
        return best, f"{how} every row into {scores[best][-1]} cells", cut[best]
    refuse_if(any(separator in line for line in lines for separator in SEPARATORS), "no separator", file=path.name)
    return ",", "there is one column", cut[","]


def _header(rows: list[list[str]], said: Said, skipped: int) -> tuple[str, ...]:
    """Return what the header rows hold, below a title of so many rows."""
    width = max(map(len, rows[skipped:]))
    rows = [[cell.strip() for cell in row] + [""] * (width - len(row)) for row in rows[skipped:LOOKED_AT]]
    first, second, third = (*rows[:3], [], [])[:3]
    more, labels, options = len(rows) > 2, ("name", "label"), ("question", "option")
    under = [cell for cell, above in zip(second[1:], first[1:]) if not above]
    below = [[row[i] for row in rows[2:] if row[i]] for i in range(len(second))]
    counted = [cell for cell, column in zip(second, below) if column and all(map(CELL.fullmatch, column))]
    wordy, named = ([c for c in row if c and not CELL.fullmatch(c)] for row in (under, counted))
    labelled = counted and len(named) == len(counted) and len(set(first)) == len(first)
    known = (
        (more and sum("ImportId" in cell for cell in third) > len(third) / 2, (*labels, "ignore"), "import ids", False),
        (len(rows) > 1 and all(map(CELL.fullmatch, first)), (), "no header", True),
        (more and sum(c.lower() in NO_OPTION for c in second) > 0.3 * len(second), options, "no options", False),
        (more and len(under) > 1 and len(wordy) >= 0.8 * len(under), options, "options", False),
        (more and labelled, labels, "labels", not first[0].startswith("V1")),
        (True, ("name",), "names", False),
    )
    header, why, doubtful = next(found for holds, *found in known if holds)
    header = ("ignore",) * skipped + header
    if header != ("name",):
        title = f"a title stands over the first {skipped} rows" if skipped else ""
        said["header"] = list(header) or "none", " and ".join(filter(None, (title, say(why)))), doubtful
    return header


def _excel(path: Path, said: Said) -> Reading:
    names, sheet = open_book(path).sheet_names, None
    if len(names) > 1:
        sizes = {name: len(cells(path, name)[0]) for name in names}
        sheet = max(sizes, key=sizes.get)
        said["sheet"] = sheet, f"of {len(names)} sheets it has the most rows ({sizes[sheet]})", True
    rows = [[str(c) for c in row] for row in cells(path, sheet)[0][:LOOKED_AT]]
    refuse_if(not rows, "empty", file=path.name)
    filled = [sum(bool(c.strip()) for c in row) for row in rows]
    wide = (i for i, n in enumerate(filled[:-2]) if n >= max(min(2, max(filled)), max(filled) / 4))
    return Reading(sheet=sheet, header=_header(rows, said, next(wide, max(0, len(rows) - 2))))
