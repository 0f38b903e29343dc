"""What one column looks like: its numbers and texts with their counts, its words, its codes, how its dates are written."""

import re
import tomllib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.study.codes import NUMBER, Refused, Writing, as_text, bare_amount, dates, distinct

PATTERNS = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
WORDS = {name: re.compile(pattern, re.I) for name, pattern in PATTERNS["words"].items()}
# A number that marks something else than an answer, by the habit of survey platforms.
CODES = {-1, -2, -7, -8, -9, -66, -77, -88, -97, -98, -99, -999}
CODES |= {66, 77, 88, 95, 96, 97, 98, 99, 997, 998, 999, 9998, 9999}
LONGEST_CODE = 40
FEW = 13  # points of a scale
FEW_WORDS = 25
# How numbers may be written; of those that fit as many cells the first is taken.
WAYS = tuple(Writing(*way) for way in ((".",), (".", ","), (",",), (",", "."), (",", " "), (".", " "), (".", "'")))
SPELLED = re.compile(r"\s*([0-9]{1,2})\s*[-–—=:(]\s*\(?[^\W\d_]|[^\W\d_].*[^\d.,]([+-][0-9]{1,2})$")
DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1(\d{4}|\d\d)(?:([ T])\d{1,2}:\d\d(:\d\d)?(?:( ?)[AP](M))?)?", re.I)


def plain(text: str) -> str:
    """Return words in lower case, signs as spaces."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)).lower().strip()


def absence(words: str) -> str | None:
    """Return the key of an item that sets aside what these words stand for, None where they may be an answer."""
    keys = {"not_met": "not_applicable", "no_answer": "missing"}
    return next((key for name, key in keys.items() if words and WORDS[name].search(words)), None)


def code_text(code) -> str:
    return f"{code:g}" if isinstance(code, float) and abs(code) < 1e15 else str(code)


def symmetric(found) -> bool:
    """Return whether values are all whole numbers from -2 to 2, -3 to 3, -4 to 4 or -5 to 5."""
    return any(set(found) == set(range(-end, end + 1)) for end in range(2, 6))


class Dates(NamedTuple):
    """How dates are written: strptime's signs, none for what is plain anyway; `other` where day and month may change places."""

    format: str | None
    reason: str
    last: int = 0
    other: str | None = None


@dataclass(eq=False)
class Column:
    """A column as stored.

    `numbers` and `texts` are value -> rows, as `stored` with every value as text, and `answers` without what marks no
    answer (`usual`: without what does by habit); `labels` code -> words; `ranges` the user-missing codes of the file;
    `padded` says that whole numbers start with zeros, as names do; `total` is the sum of its numbers; `numeric` says that it is numbers but for a few words that
    stand for no answer, `ratinglike` that it could be a rating: at least three whole answers between 0 and 11, or around 0;
    `beside` is where the scale of ratings in a row with it starts and ends.
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
        self.answers = self._answers()
        whole = all(0 <= v <= 11 and v.is_integer() for v in self.answers) or symmetric(self.answers)
        self.ratinglike = self.numeric and 3 <= len(self.answers) <= FEW and whole

    def _answers(self) -> dict[float, int]:
        gone = {code for code, words in self.labels.items() if absence(str(words))}
        inner = {v: n for v, n in self.numbers.items() if v not in gone and not self.in_ranges(v)}
        usual = [v for v in inner if v not in CODES]
        if symmetric(inner) or not usual or max(usual) > 11 or min(usual) < -5:
            return inner
        return {v: n for v, n in inner.items() if v not in CODES or (min(usual) <= v <= max(usual) and v > 0)}

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
        clock = (
            f"{gap}{'%I' if half else '%H'}:%M{':%S' if second else ''}{f'{space}%p' if half else ''}" if gap else ""
        )
        ways = {}
        for order in (("%d", "%m"), ("%m", "%d")):
            format_ = sign.join((*order, "%Y" if len(year) == 4 else "%y")) + clock
            parsed = pd.to_datetime(texts, format=format_, errors="coerce")
            if parsed.notna().all():
                ways[format_] = parsed.dt.year.max()
        if len(ways) == 2:
            (one, last), (other, _) = ways.items()
            return Dates(one, "no number above 12 tells the day from the month", last, other)
        most = max(int(n) for t in texts for n in re.findall(r"\d+", t)[:2])
        first = {"%d": "day", "%m": "month"}
        told = [(f, f"dates written {first[f[:2]]} first: a number up to {most}", last) for f, last in ways.items()]
        return Dates(*told[0]) if told else None


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
    keys = {c: float(c) if isinstance(c, str) and re.fullmatch(NUMBER, c) else c for c in labels or {}}
    words = {keys[c]: w for c, w in (labels or {}).items()}
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
