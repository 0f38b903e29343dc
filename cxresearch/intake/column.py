"""What one column looks like: numbers and texts with their counts, its words, its codes, how its dates are written."""

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
from cxresearch.study.codes import NUMBER, Refused, Writing, as_text, bare_amount, dates, distinct

PATTERNS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
WORDS = {name: re.compile(pattern, re.I) for name, pattern in PATTERNS["words"].items()}
# A number that marks something else than an answer, by the habit of survey platforms.
CODES = {-1, -2, -7, -8, -9, -66, -77, -88, -97, -98, -99, -999}
CODES |= {66, 77, 88, 95, 96, 97, 98, 99, 997, 998, 999, 9998, 9999}
LONGEST_CODE, FEW, FEW_WORDS = 40, 13, 25  # characters of a code; points of a scale; different words
# How numbers may be written; of those that fit as many cells the first is taken.
WAYS = tuple(Writing(*way) for way in ((".",), (".", ","), (",",), (",", "."), (",", " "), (".", " "), (".", "'")))
SPELLED = re.compile(r"\s*([0-9]{1,2})\s*[-–—=:(]\s*\(?[^\W\d_]|[^\W\d_].*[^\d.,]([+-][0-9]{1,2})$")
DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1(\d{4}|\d\d)(?:([ T])\d{1,2}:\d\d(:\d\d)?(?:( ?)[AP](M))?)?", re.I)
# strptime's signs (None: plain anyway), why, the last year, and the signs if day and month may change places
Dates = namedtuple("Dates", "format reason last other", defaults=[0, None])


def sentence(key: str, /, **known) -> str:
    """Return a sentence of the room."""
    return PATTERNS["told"][key].format(**known)


def plain(text: str) -> str:
    """Return words in lower case, signs as spaces."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)).lower().strip()


def absence(words: str) -> str | None:
    """Return the key of an item that sets aside what these words stand for, None where they may be an answer."""
    keys = {"not_met": "not_applicable", "no_answer": "missing"}
    return next((key for name, key in keys.items() if words and WORDS[name].search(words)), None)


def code_text(code) -> str:
    return str(code).removesuffix(".0") if isinstance(code, float) and abs(code) < 1e15 else str(code)


def symmetric(found) -> bool:
    """Return whether values are all whole numbers from -2 to 2, -3 to 3, -4 to 4 or -5 to 5."""
    return any(set(found) == set(range(-end, end + 1)) for end in range(2, 6))


@dataclass(eq=False)
class Column:
    """A column as stored: value -> rows of its `numbers` and `texts`, code -> words of its labels.

    `ranges` are the user-missing codes of the file; `padded` says that whole numbers start with zeros, as names do;
    `beside` is where the scale of the ratings in a row with it starts and ends. Computed once: `answers`, numbers without
    what marks none (`usual`: without what does by habit); `numeric`, that it is numbers but for a few words that stand
    for no answer; `ratinglike`, that it could be a rating: at least three whole answers from 0 to 11, or around 0.
    """

    name: str
    label: str
    rows: int
    numbers: dict[float, int]
    texts: dict[str, int]
    labels: dict
    ranges: list[tuple]
    writing: Writing
    padded: bool = False
    beside: tuple[int, int] | None = None

    def __post_init__(self):
        n, odd = sum(self.numbers.values()), sum(self.texts.values())
        self.filled, self.distinct = n + odd, len(self.numbers) + len(self.texts)
        self.stored = {code_text(v): rows for v, rows in (*self.numbers.items(), *self.texts.items())}
        self.total = sum(v * rows for v, rows in self.numbers.items())
        self.words = plain(f"{self.name} {self.label}")
        self.usual = [v for v in self.numbers if v not in CODES]
        self.whole = all(v.is_integer() for v in self.numbers)
        # a sentence is no code, and must not reach the study file
        short = max(map(len, self.texts), default=0) <= LONGEST_CODE
        few = len(self.texts) <= 3 or all(WORDS["no_answer"].search(t) for t in self.texts)
        self.numeric = n > 0 and short and (not odd or (few and odd <= n and len(self.texts) <= 6))
        gone = {code for code, words in self.labels.items() if absence(str(words))}
        self.answers = {v: n for v, n in self.numbers.items() if v not in gone and not self.in_ranges(v)}
        usual = [v for v in self.answers if v not in CODES]
        if not symmetric(self.answers) and usual and max(usual) <= 11 and min(usual) >= -5:
            within = {v for v in CODES if min(usual) <= v <= max(usual) and v > 0}
            self.answers = {v: n for v, n in self.answers.items() if v not in CODES or v in within}
        whole = all(0 <= v <= 11 and v.is_integer() for v in self.answers) or symmetric(self.answers)
        self.ratinglike = self.numeric and 3 <= len(self.answers) <= FEW and whole

    def says(self, *names: str) -> bool:
        """Return whether its name or label has one of the `WORDS`."""
        return any(WORDS[name].search(self.words) for name in names)

    def words_of(self, code) -> str:
        return str(self.labels.get(code, ""))

    def in_ranges(self, value) -> bool:
        """Return whether the file itself declares a value as missing."""
        number = isinstance(value, (int, float))
        return number and any(isinstance(r[0], (int, float)) and not digits.outside(value, *r) for r in self.ranges)

    def is_far(self, code) -> bool:
        """Return whether a number marks something else than an answer, by habit and by where it lies."""
        if code not in CODES or not self.usual:
            return False
        most = max(self.usual)
        return min(self.usual) >= 0 if code < 0 else most <= 15 < code or (code >= 997 and code > 3 * most)

    @cached_property
    def spelled(self) -> tuple["Column", dict[str, float]]:
        """The rating with cells such as ``10 - Extremely likely`` as their number, and text -> number of these."""
        words = {t: float(m[1] or m[2]) for t in self.texts if len(t) < 60 and (m := SPELLED.match(t))}
        numbers = Counter(self.numbers)
        for text, number in words.items():
            numbers[number] += self.texts[text]
        texts = {t: n for t, n in self.texts.items() if t not in words}
        read = replace(self, numbers=dict(numbers), texts=texts) if 0 < len(words) <= FEW_WORDS else self
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
        ways = {first: f"{first}{sign}{then}{sign}{rest}" for first, then in (("%d", "%m"), ("%m", "%d"))}
        parsed = {way: pd.to_datetime(texts, format=way, errors="coerce") for way in ways.values()}
        last = {way: found.dt.year.max() for way, found in parsed.items() if found.notna().all()}
        if len(last) == 2:
            one, other = last
            return Dates(one, "no number above 12 tells the day from the month", last[one], other)
        most = max(int(n) for t in texts for n in re.findall(r"\d+", t)[:2])
        for first, way in zip(("day", "month"), ways.values()):
            if way in last:
                return Dates(way, f"dates written {first} first: a number up to {most}", last[way])
        return None


def profile(name: str, stored: pd.Series, *, label: str = "", labels=None, ranges=()) -> Column:
    """Return what a column looks like; work is done on its distinct values."""
    positions, values = distinct(stored)
    counts = np.bincount(positions[positions >= 0], minlength=len(values))
    if pd.api.types.is_bool_dtype(values.dtype):
        values = pd.Index(values.astype(str))
    text = as_text(values)
    writing, bare = _writing(text, counts)
    parsed, rows = pd.Series(digits.whole(writing.parsed(bare))), pd.Series(counts)
    numbers = rows.groupby(parsed, sort=False).sum().to_dict()
    texts = rows.groupby(text.where(parsed.isna() & (text != "")), sort=False).sum().to_dict()
    padded = bool(text.str.fullmatch(r"0[0-9]+").any())
    words = {float(c) if isinstance(c, str) and re.fullmatch(NUMBER, c) else c: w for c, w in (labels or {}).items()}
    return Column(name, label, len(stored), numbers, texts, words, list(ranges), writing, padded)


def _writing(text: pd.Series, counts: np.ndarray) -> tuple[Writing, pd.Series]:
    """Return how most of the numbers are written, and the texts without signs of currency and brackets.

    A slip in one cell makes no decimal comma; a tenth of the numbers does.
    """
    odd = ~text.str.fullmatch(NUMBER).astype(bool) & text.str.contains("[0-9]")
    if not odd.any() or text[odd].str.len().max() > LONGEST_CODE:
        return WAYS[0], text
    bare = text.where(~odd, text[odd].map(lambda cell: bare_amount(cell)[0])).astype("str")
    fits = [bare.str.fullmatch(way.number).astype(bool) for way in WAYS]
    rows = [counts[fit.to_numpy()].sum() for fit in fits]
    best = max(range(len(WAYS)), key=lambda i: (rows[i], -i))
    if rows[best] and 10 * (rows[best] - rows[0]) >= rows[best]:
        return WAYS[best], bare
    # where every number is an amount of money, its sign or its brackets are part of how it is written
    changed = text != bare
    return WAYS[0], bare if rows[0] and changed.any() and fits[0][changed].all() else text
