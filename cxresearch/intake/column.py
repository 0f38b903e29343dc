"""What one column looks like: its numbers and texts with their counts, its words, its codes, how its dates are written."""

import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.study.codes import NUMBER, Refused, Writing, as_text, bare_amount, dates, distinct

PATTERNS = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
TABLES = PATTERNS["rules"]
WORDS = {name: re.compile(pattern, re.I) for name, pattern in PATTERNS["words"].items()}
# A number that marks something else than an answer, by the habit of survey platforms.
CODES = {-1, -2, -7, -8, -9, -66, -77, -88, -97, -98, -99, -999}
CODES |= {66, 77, 88, 95, 96, 97, 98, 99, 997, 998, 999, 9998, 9999}
LONGEST_CODE = 40


def plain(text: str) -> str:
    """Return words in lower case, signs as spaces."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)).lower().strip()


class Column(NamedTuple):
    """A column as stored.

    `numbers` and `texts` are value -> rows; `labels` code -> words; `ranges` the user-missing codes of the file;
    `padded` says that whole numbers start with zeros, as names do.
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

    @property
    def filled(self) -> int:
        return sum(self.numbers.values()) + sum(self.texts.values())

    @property
    def distinct(self) -> int:
        return len(self.numbers) + len(self.texts)

    @property
    def words(self) -> str:
        return plain(f"{self.name} {self.label}")

    def says(self, *names: str) -> bool:
        """Return whether its name or label has one of the `WORDS`."""
        return any(WORDS[name].search(self.words) for name in names)

    @property
    def numeric(self) -> bool:
        """Whether it is numbers, but for a few words that stand for no answer."""
        n, words = sum(self.numbers.values()), sum(self.texts.values())
        if any(len(t) > LONGEST_CODE for t in self.texts):  # a sentence is no code, and must not reach the study file
            return False
        few = len(self.texts) <= 3 or all(WORDS["no_answer"].search(t) for t in self.texts)
        return n > 0 and (not words or (few and words <= n and len(self.texts) <= 6))

    @property
    def whole(self) -> bool:
        return all(float(v).is_integer() for v in self.numbers)

    def in_ranges(self, value: float) -> bool:
        """Return whether the file itself declares a value as missing."""
        return any(isinstance(low, (int, float)) and not digits.outside(value, low, high) for low, high in self.ranges)

    def rows_of(self, code) -> int:
        return self.numbers.get(code, self.texts.get(code, 0))

    def words_of(self, code) -> str:
        return str(self.labels.get(code, ""))

    def is_far(self, code) -> bool:
        """Return whether a number marks something else than an answer, by habit and by where it lies."""
        if code not in CODES or not (plain := [v for v in self.numbers if v not in CODES]):
            return False
        return min(plain) >= 0 if code < 0 else max(plain) <= 15 < code or (code >= 997 and code > 3 * max(plain))


def absence(words: str) -> str | None:
    """Return the key of an item that sets aside what these words stand for, None where they may be an answer."""
    keys = {"not_met": "not_applicable", "no_answer": "missing"}
    return next((key for name, key in keys.items() if words and WORDS[name].search(words)), None)


def code_text(code) -> str:
    return f"{code:g}" if isinstance(code, float) and abs(code) < 1e15 else str(code)


def is_word(text: str) -> bool:
    """Return whether a text can stand for no answer: it has letters, or is a mark such as ``-``; 5,5 and ५ do not."""
    return any(c.isalpha() for c in text) or not any(c.isnumeric() for c in text)


# How numbers may be written; of those that fit as many cells the first is taken.
WAYS = tuple(Writing(*way) for way in ((".",), (".", ","), (",",), (",", "."), (",", " "), (".", " "), (".", "'")))
PLAIN = WAYS[0]


def profile(name: str, stored: pd.Series, *, label: str = "", labels=None, ranges=()) -> Column:
    """Return what a column looks like; work is done on its distinct values."""
    positions, values = distinct(stored)
    counts = np.bincount(positions[positions >= 0], minlength=len(values))
    if pd.api.types.is_bool_dtype(values.dtype):
        values = pd.Index(values.astype(str))
    text = as_text(values)
    writing, bare = _writing(text, counts)
    parsed = digits.whole(writing.parsed(bare))
    numbers: dict[float, int] = {}
    texts: dict[str, int] = {}
    for value, cell, rows in zip(parsed.tolist(), text, counts, strict=True):
        into, key = (texts, cell) if np.isnan(value) else (numbers, value)
        into[key] = into.get(key, 0) + int(rows)
    texts.pop("", None)
    padded = bool(text.str.fullmatch(r"0[0-9]+").any())
    words = {
        float(c) if isinstance(c, str) and re.fullmatch(NUMBER, c) else c: w for c, w in dict(labels or {}).items()
    }
    return Column(name, label, len(stored), numbers, texts, words, list(ranges), writing, padded)


def _writing(text: pd.Series, counts: np.ndarray) -> tuple[Writing, pd.Series]:
    """Return how most of the numbers are written, and the texts without signs of currency and brackets.

    A slip in one cell makes no decimal comma; a tenth of the numbers does.
    """
    odd = ~text.str.fullmatch(NUMBER).astype(bool) & text.str.contains("[0-9]")
    if not odd.any() or text[odd].str.len().max() > LONGEST_CODE:
        return PLAIN, text
    bare = text.where(~odd, text[odd].map(lambda cell: bare_amount(cell)[0])).astype("str")
    rows = [counts[bare.str.fullmatch(way.number).astype(bool).to_numpy()].sum() for way in WAYS]
    best = max(range(len(WAYS)), key=lambda i: (rows[i], -i))
    if 10 * (rows[best] - rows[0]) < rows[best] or not rows[best]:
        return PLAIN, bare if rows[0] and _priced(text, bare) else text
    return WAYS[best], bare


def _priced(text: pd.Series, bare: pd.Series) -> bool:
    """Return whether every number is an amount of money: its sign or its brackets are part of how it is written."""
    return bool((text != bare).any()) and bool(bare[text != bare].str.fullmatch(NUMBER).all())


# -- dates -----------------------------------------------------------------------------------------------------------

DATE = re.compile(
    r"(?P<a>\d{1,2})(?P<sign>[./-])(?P<b>\d{1,2})(?P=sign)(?P<year>\d{4}|\d\d)"
    r"(?:(?P<gap>[ T])\d{1,2}:\d{2}(?P<second>:\d{2})?(?P<half> ?[AP]M)?)?",
    re.I,
)


class Dates(NamedTuple):
    """How the dates of a column are written: strptime's signs, none for what is plain anyway; `other` where day and month may change places."""

    format: str | None
    reason: str
    other: str | None = None
    example: str = ""


def dates_of(column: Column) -> Dates | None:
    """Return how the dates of a column are written, None if it holds anything else."""
    texts = list(column.texts)
    if not texts or column.numbers:
        return None
    if not all(re.match(r"\d{1,4}[./-]\d", t) for t in texts):
        return None
    with suppress(Refused):
        dates(pd.Series(texts))
        return Dates(None, "dates written year first")
    found = [DATE.fullmatch(t) for t in texts]
    if not all(found) or len({(m["sign"], len(m["year"]), _clock(m)) for m in found}) > 1:
        return None
    first, second = (max(int(m[part]) for m in found) for part in "ab")
    year, clock = "%Y" if len(found[0]["year"]) == 4 else "%y", _clock(found[0])
    day_first, month_first = (
        found[0]["sign"].join(order) + clock for order in (("%d", "%m", year), ("%m", "%d", year))
    )
    format_, how = (month_first, "month") if second > 12 else (day_first, "day")
    if pd.to_datetime(pd.Series(texts), format=format_, errors="coerce").isna().any():
        return None
    if max(first, second) > 12:
        return Dates(format_, f"dates written {how} first: a number up to {max(first, second)}")
    return Dates(day_first, "no number above 12 tells the day from the month", month_first, texts[0])


def _clock(found: re.Match) -> str:
    if not found["gap"]:
        return ""
    half = found["half"] and found["half"].replace(found["half"].strip(), "%p")
    return f"{found['gap']}{'%I' if half else '%H'}:%M{':%S' if found['second'] else ''}{half or ''}"
