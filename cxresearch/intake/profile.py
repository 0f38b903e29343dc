"""What one column looks like: its numbers and texts with their counts, its words, its codes."""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.study.codes import COMMA_NUMBER, NUMBER, as_text, distinct

# A number that marks something else than an answer, by the habit of survey platforms.
CODES = {
    97,
    98,
    99,
    96,
    95,
    77,
    88,
    66,
    997,
    998,
    999,
    9998,
    9999,
    -1,
    -2,
    -7,
    -8,
    -9,
    -66,
    -77,
    -88,
    -97,
    -98,
    -99,
    -999,
}
LONGEST_CODE = 40
NOT_MET = re.compile(
    r"\b(n/a|not applicable|never used|have not used|did not use|no experience|nie dotyczy|trifft nicht zu|keine erfahrung|"
    r"sans objet|не пользовал)",
    re.I,
)
NO_ANSWER = re.compile(
    r"blank|no answer|not answered|missing|refus|don.?t know|no opinion|unknown|keine angabe|weiß nicht|nie wiem|"
    r"trudno powiedzieć|odmowa|brak odp|затрудня|нет ответа|fewer than|multiple answers|ne sais pas|n/?a$|not sure|^\W*$|^nan?$|^null$|^none$",
    re.I,
)


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
    comma: bool
    padded: bool = False

    @property
    def filled(self) -> int:
        return sum(self.numbers.values()) + sum(self.texts.values())

    @property
    def distinct(self) -> int:
        return len(self.numbers) + len(self.texts)

    @property
    def words(self) -> str:
        """Name and label in lower case, signs as spaces."""
        split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", f"{self.name} {self.label}")
        return re.sub(r"[\W_]+", " ", split).lower().strip()

    @property
    def numeric(self) -> bool:
        """Whether it is numbers, but for a few words that stand for no answer."""
        n, words = sum(self.numbers.values()), sum(self.texts.values())
        if any(len(t) > LONGEST_CODE for t in self.texts):  # a sentence is no code, and must not reach the study file
            return False
        few = len(self.texts) <= 3 or all(NO_ANSWER.search(t) for t in self.texts)
        return n > 0 and (not words or (few and words <= n and len(self.texts) <= 6))

    @property
    def whole(self) -> bool:
        return all(float(v).is_integer() for v in self.numbers)

    def in_ranges(self, value: float) -> bool:
        """Return whether the file itself declares a value as missing."""
        return any(isinstance(low, (int, float)) and not digits.outside(value, low, high) for low, high in self.ranges)


def is_word(text: str) -> bool:
    """Return whether a text can stand for no answer: it has letters, or is a mark such as ``-``; 5,5 and ५ do not."""
    return any(c.isalpha() for c in text) or not any(c.isnumeric() for c in text)


def profile(name: str, stored: pd.Series, *, label: str = "", labels=None, ranges=()) -> Column:
    """Return what a column looks like; work is done on its distinct values."""
    positions, values = distinct(stored)
    counts = np.bincount(positions[positions >= 0], minlength=len(values))
    if pd.api.types.is_bool_dtype(values.dtype):
        values = pd.Index(values.astype(str))
    text = as_text(values)
    plain = text.str.fullmatch(NUMBER).astype(bool)
    commas = text.str.fullmatch(COMMA_NUMBER).astype(bool) & ~plain
    # A slip in one cell makes no decimal comma; a tenth of the numbers does.
    comma = (
        10 * counts[commas].sum() >= counts[plain | commas].sum() > 0
        and not (text[plain].str.contains(".", regex=False)).any()
    )
    numeric = (plain | commas & comma).to_numpy()
    found = digits.whole([float(value.replace(",", ".")) for value in text[numeric]]).tolist()
    numbers: dict[float, int] = {}
    texts: dict[str, int] = {}
    for into, keys, n in ((numbers, found, counts[numeric]), (texts, text[~numeric], counts[~numeric])):
        for key, rows in zip(keys, n, strict=True):
            into[key] = into.get(key, 0) + int(rows)
    texts.pop("", None)
    padded = bool(text.str.fullmatch(r"0[0-9]+").any())
    return Column(name, label, len(stored), numbers, texts, dict(labels or {}), list(ranges), comma, padded)
