"""What a stored value means: numbers in text, codes of skipped and of not applicable answers, labels, dates.

A column is read by its distinct values, or what stands in the way is said (`Refused`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import composed
from cxresearch.study.document import say
from cxresearch.study.schema import Item, code_key

YES, NO = ("1", "true", "yes", "y", "t"), ("0", "false", "no", "n", "f")
DAY_FIRST, ISO_DATE = r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})((?:[ T].*)?)", r"\d{4}-\d{2}(?:-\d{2}.*)?"
# What form tools write: 2025/02/03 4:15:07 PM GMT+2. Half a day has the hours 1 to 12: 0:30 PM is no half past twelve.
CLOCK = r"(?:\d{1,2}:\d\d(?::\d\d)?|(?:0?[1-9]|1[0-2]):\d\d(?::\d\d)? [AP]M)"
YEAR_FIRST = rf"\d{{4}}([/.])\d{{1,2}}\1\d{{1,2}}(?: {CLOCK}(?: (?:GMT|UTC)(?:[+-]\d{{1,2}})?)?)?"
EXAMPLES, ENOUGH = 5, 20  # cells that are shown; answers among which a missing 0 says something about the coding
# "0", "10 - very likely", "7 = good", "1) bad", "(5) good": a number that is the answer, not "10 mi or less"
LABEL_NUMBER = re.compile(r"\s*\(?\s*([+-]?\d{1,3})\s*(?:$|[-–—=:.,()/](?!\d))")
LEADING_NUMBER = re.compile(r"\s*\(?\s*([+-]?\d{1,3})(?![\d%])")  # on 0-10 also "0 not at all likely"
THOUSANDS = {" ": "[ \u00a0\u2007\u2009\u202f]", ".": r"\.", ",": ",", "'": "['\u2019]"}
CURRENCIES = {
    "$": "USD CAD AUD NZD MXN SGD HKD", "€": "EUR", "£": "GBP", "zł": "PLN", "₽": "RUB", "₴": "UAH", "¥": "JPY CNY",
    "Kč": "CZK", "Ft": "HUF", "kr": "SEK NOK DKK", "₹": "INR",
    **{c: c for c in "USD CAD AUD EUR GBP PLN RUB UAH JPY CNY CZK HUF SEK NOK DKK CHF INR".split()},
}  # fmt: skip
SIGN = "|".join(map(re.escape, CURRENCIES))
# One sign of currency, before or after, and one way of saying that it is below zero: (5) $5 -5 $-5 5 zł
AMOUNT = re.compile(rf"(\()?\s*(-)?\s*({SIGN})?\s*((?(1)|(?(2)|-?))[0-9.,'\u2019\s]+?)\s*(?(3)|({SIGN})?)\s*(?(1)\))")


class Refused(Exception):
    """A column that does not mean what the study says; the text completes 'FILE: COLUMN ...'."""


class Writing(NamedTuple):
    """How numbers and dates of a column are written; a column's own word wins over its table's."""

    decimal: str = "."
    thousands: str | None = None
    dayfirst: bool = False
    time_format: str | None = None

    @property
    def number(self) -> str:
        """The pattern of a number: [0-9] and not \\d, which in Python means the digits of every script."""
        point, whole = re.escape(self.decimal), "[0-9]+"
        if self.thousands:
            whole = f"(?:[1-9][0-9]{{0,2}}(?:{THOUSANDS[self.thousands]}[0-9]{{3}})+|{whole})"
        return f"[+-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"

    def parsed(self, text: pd.Series) -> pd.Series:
        """Return texts as numbers, NaN where they are none."""
        plain = text.where(text.str.fullmatch(self.number).astype(bool))
        if self.thousands:
            plain = plain.str.replace(THOUSANDS[self.thousands], "", regex=True)
        found = pd.to_numeric(plain.str.replace(self.decimal, ".", regex=False), errors="coerce").astype(float)
        return found.where(np.isfinite(found))  # 1e400 is more than can be held


PLAIN = Writing()
NUMBER = PLAIN.number


def distinct(column: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Return the position of each value among the distinct ones (-1: missing), and these."""
    positions, values = pd.factorize(column)
    return positions, pd.Index(values)


def as_text(values: Iterable, decimal: str = ".") -> pd.Series:
    """Return values as `composed` text; numbers that are stored as such with this decimal sign."""
    text = (str(v).replace(".", decimal) if isinstance(v, float) else composed(v) for v in values)
    return pd.Series(list(text), dtype="str")


def as_number(code: str) -> float | str:
    """Return a code as the number that it writes, or else as `composed` text."""
    return float(code) if re.fullmatch(NUMBER, code.strip()) else composed(code)


def bare_amount(text: str) -> tuple[str, str, bool]:
    """Return an amount without what accounts put around it: its text, its sign of currency, and whether in brackets."""
    if not (found := AMOUNT.fullmatch(text)):
        return text, "", False
    minus = "-" if found[1] else found[2] or ""
    return minus + found[4].strip(), found[3] or found[5] or "", bool(found[1])


class Cells:
    """A column as stored, by its distinct values: what is asked of them is one answer for each, `rows` spreads it."""

    def __init__(self, column: pd.Series, writing: Writing = PLAIN):
        self.column, self.writing = column, writing
        self.positions, self.values = distinct(column)
        self.is_numeric = pd.api.types.is_numeric_dtype(self.values.dtype)

    def rows(self, of_values: pd.Series, gap=np.nan) -> pd.Series:
        """Return one value per row from one per distinct value; `gap` where the cell is missing."""
        return of_values.reindex(self.positions, fill_value=gap).set_axis(self.column.index)

    @cached_property
    def text(self) -> pd.Series:
        return as_text(self.values, self.writing.decimal)

    @cached_property
    def names(self) -> pd.Series:
        """As text in which a whole number has lost its '.0', so that 17.0 and 17 are one name; blank is missing."""
        text = as_text(self.values).str.replace(r"^([+-]?\d+)\.0+$", r"\1", regex=True)
        return text.where(text != "")

    @cached_property
    def numbers(self) -> pd.Series:
        """As floats, NaN where they are none."""
        found = self.values.to_numpy(float, na_value=np.nan) if self.is_numeric else self.writing.parsed(self.text)
        return pd.Series(digits.whole(np.where(np.isfinite(found), found, np.nan)))

    def coded(self, codes: Iterable[str]) -> pd.Series:
        """Return which are one of `codes`: equal as a number, or exactly as text."""
        found = self.numbers.isin([number for number in map(as_number, codes) if isinstance(number, float)])
        words = [composed(code) for code in codes if not (self.is_numeric and isinstance(as_number(code), float))]
        return found | self.text.isin(words) if words else found

    def blank(self, codes: Iterable[str] = ()) -> pd.Series:
        """Return which are empty, or one of the `codes` that stand for that."""
        return self.coded(codes) if self.is_numeric else self.coded(codes) | (self.text == "")

    def refuse(self, where: pd.Series, sentence: str, shown: pd.Series | None = None, **known) -> None:
        """Refuse the cells of some values, if there are any, shown as stored or as what they were read as."""
        if where.any():
            refuse_cells(self.column if shown is None else self.rows(shown), self.rows(where, False), sentence, **known)

    def amounts(self, codes: Sequence[str] = (), currency: str | None = None) -> tuple[pd.Series, dict[str, int]]:
        """Return money as `numbers`, without signs of one currency, brackets a minus; what was done -> in how many."""
        other = self.numbers.isna() & ~self.blank(codes)
        if not other.any():
            return self.numbers, {}
        bare = pd.DataFrame(map(bare_amount, self.text[other]), other.index[other], ["text", "sign", "below"])
        bare["value"] = self.writing.parsed(bare["text"].astype("str"))
        bare = bare.assign(n=np.bincount(self.positions[self.positions >= 0])[bare.index]).dropna()
        met = bare[bare["sign"] != ""].groupby("sign")["n"].sum()
        if len(met) > 1:
            raise Refused(say("currencies", n=len(met), found=listing(met)))
        for written in met.index:
            if currency and re.fullmatch("[A-Z]{3}", currency) and currency not in CURRENCIES[written].split():
                raise Refused(say("other currency", written=written, currency=currency))
        told = {f"with {written} taken off": int(n) for written, n in met.items()}
        told |= {"in brackets, read as below zero": int(bare.loc[bare["below"], "n"].sum())}
        return self.numbers.fillna(bare["value"]), told

    def advice(self, codes: Sequence[str]) -> str:
        """Return what to declare so that every cell is a number, or nothing where no way of writing does that."""
        text, own = self.text[~self.blank(codes)].map(lambda cell: bare_amount(cell)[0]), self.writing
        signs = dict.fromkeys((own.decimal, ".", ","))
        ways = [Writing(d, t) for t in (own.thousands, *THOUSANDS) for d in signs if t != d]
        changed = {
            way: [key for key in ("decimal", "thousands") if getattr(way, key) != getattr(own, key)]
            for way in ways if way.parsed(text).notna().all()
        }  # fmt: skip
        # Three digits after the sign in every cell are thousands: 1,011 and 1,048 are not written to three decimals.
        best = min(changed, key=lambda way: (len(changed[way]), "thousands" not in changed[way]), default=None)
        if not best or not changed[best]:
            return ""
        example = text[own.parsed(text).isna()].iloc[:1]
        said = " and ".join(f"{key}: {getattr(best, key)!r}" for key in changed[best])
        return say("advice", said=said, example=repr(example.item()), value=f"{best.parsed(example).item():.12g}")

    def scaled(self, item: Item, key: str) -> pd.Series:
        """Return the answers of an item as numbers, NaN where a code is missing or not applicable."""
        nps, blank, (low, high) = "nps" in item.role, self.blank(item.aside), item.scale or (-np.inf, np.inf)
        found = (self.numbers if item.scale else self.amounts(item.aside)[0]).mask(blank)
        if nps and not item.values and self.rows(found).count() >= ENOUGH and not self.coded(["0"]).any():
            # 1-11 may stand for 0-10, and 11 for 0: a blank 11 where no 0 is stored has to be confirmed
            if not (item.confirmed and code_key("11") in map(code_key, item.aside)):
                self.refuse(self.coded(["11"]), "eleven", key=key)
        if item.values:  # what the stored codes stand for
            meant = {as_number(code): answer for code, answer in item.values.items()}
            found = found.astype(object).where(found.notna() | blank, self.text).map(meant).astype(float)
            self.refuse(found.isna() & ~blank, "no value", key=key)
        if (other := found.isna() & ~blank).any():
            self.refuse(other, "no number", key=key, advice=self.advice(item.aside))
        off = digits.outside(found, low, high)
        self.refuse(off, "off the scale", found, key=key, scale=f"{low:g}-{high:g}")
        self.refuse(nps & found.notna() & (found % 1 != 0), "fractional", found, key=key)
        return self.rows(found)

    def flags(self) -> pd.Series:
        """Return yes and no (1 and 0, true and false) as booleans; nullable where some are blank."""
        meaning = self.names.str.casefold().map({**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)})
        self.refuse(meaning.isna() & self.names.notna(), "no flag")
        found = self.rows(meaning)
        return found.astype("boolean" if found.isna().any() else bool)

    def categories(self, item: Item, key: str) -> dict[str, pd.Series]:
        """Return words, or cells as they are stored, and where they are applicable.

        Of a multiple choice also 1 or 0 for each choice; a cell that holds nothing but missing codes is NaN throughout.
        """
        parts = (text.split(item.multiple) if item.multiple else [text] for text in as_text(self.values))
        cells = [[code_key(part) for part in of_cell if part.strip()] for of_cell in parts]
        never, aside = ({code_key(c) for c in codes} for codes in (item.not_applicable, item.aside))
        labels = {code_key(code): words for code, words in item.labels.items()}
        # a choice that is also declared missing is a choice; a label that is, is missing
        chosen = [[k for k in c if (k in labels if item.multiple else k not in aside)] for c in cells]
        if labels:
            unknown = pd.Series([any(k not in labels and k not in aside for k in cell) for cell in cells], dtype=bool)
            self.refuse(unknown, "no choice label" if item.multiple else "no label", key=key)
            text = pd.Series(["; ".join(labels[k] for k in c) if c else None for c in chosen], dtype="str")
        elif item.type == "text":
            text = self.names
        else:
            text = pd.Series(self.values)
            if not ("verbatim" in item.role or item.is_date or pd.api.types.is_numeric_dtype(text)):
                # texts that differ in spaces around them and in signs nobody sees are one; what people wrote stays
                text = text.map(lambda value: composed(value) if isinstance(value, str) else value).astype(text.dtype)
        kept = self.rows(text.where([bool(c) for c in chosen]))
        if isinstance(kept.dtype, pd.Int64Dtype):  # nullable whole numbers served the reading; analyses know NaN
            kept = kept.astype(float if kept.isna().any() else int)
        found = {key: kept}
        for choice, code in item.choices(key).items():
            held = [float(code_key(code) in c) if c else np.nan for c in chosen]
            found[choice] = self.rows(pd.Series(held, dtype=float))
        if item.not_applicable:
            absent = pd.Series([not c and any(k in never for k in cell) for c, cell in zip(chosen, cells)], dtype=bool)
            found[f"{key}_met"] = ~self.rows(absent, False)
        return found


def require_same_codes(said: Mapping[float | str, str], item: Item, key: str) -> None:
    """Refuse a scale whose codes have other numbers in the labels of the file: `said` is stored code -> its words."""
    if not item.scale or item.values:
        return
    absent, pattern = {*map(code_key, item.aside)}, LEADING_NUMBER if item.scale == (0, 10) else LABEL_NUMBER
    words = {code: w for c, w in said.items() if isinstance(code := as_number(str(c)), float)}
    numbered = {code: int(m[1]) for code, w in words.items() if (m := pattern.match(str(w)))}
    if other := [c for c, n in numbered.items() if c != n and (code_key(c) not in absent or n in range(11))]:
        shown = ", ".join(f"{code:g}: {words[code]!r}" for code in other[:EXAMPLES])
        meant = ", ".join(f"{code:g}: {number}" for code, number in list(numbered.items())[:3])
        raise Refused(say("other labels", shown=shown, meant=meant, key=key))


def dates(column: pd.Series, writing: Writing = PLAIN) -> pd.Series:
    """Return a column of dates and times; blank is NaT, a time with a zone becomes the same moment in UTC."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column.dt.tz_convert(None) if column.dt.tz is not None else column
    cells, form = Cells(column), "as 2018-12-31"
    asked = cells.names
    if not len(asked):
        return pd.Series(pd.NaT, index=column.index, dtype="datetime64[us]")
    if writing.time_format:
        form = f"as {writing.time_format}"
    else:
        # A number or a bare year would pass as ISO, and a month-first date as day-first: both are refused here.
        if writing.dayfirst:
            form = "day first (31.12.2018)"
            asked = asked.str.replace(DAY_FIRST, lambda m: f"{m[3]}-{int(m[2]):02d}-{int(m[1]):02d}{m[4]}", regex=True)
        other = ~asked.str.fullmatch(ISO_DATE).astype(bool)
        moments = asked[other].where(asked.str.fullmatch(YEAR_FIRST).astype(bool))
        moments = moments.str.replace(r"(?:GMT|UTC)([+-])(\d{1,2})$", lambda m: f"{m[1]}{int(m[2]):02d}:00", regex=True)
        moments = pd.to_datetime(moments, format="mixed", errors="coerce", utc=True)
        asked = asked.mask(other, moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    parsed = pd.to_datetime(asked, format=writing.time_format or "ISO8601", errors="coerce", utc=True)
    cells.refuse(parsed.isna() & cells.names.notna(), "no date", form=form)
    return cells.rows(parsed.dt.tz_localize(None), pd.NaT)


def refuse_cells(column: pd.Series, where: pd.Series, sentence: str, **known) -> None:
    """Refuse the cells of a column at `where`, if there are any: how many they are, which, and in what rows."""
    if n := int(where.sum()):
        one = {"s": "", "are": "is", "a": "a "} if n == 1 else {"s": "s", "are": "are", "a": ""}
        found = listing(column[where].value_counts())
        raise Refused(say(sentence, n=n, **one, found=found, at=row_numbers(where), **known))


def row_numbers(where: pd.Series | pd.Index) -> str:
    """Return 'rows 3, 8 and 4 more', counted as a spreadsheet does: the header is row 1."""
    index = where.index[where.to_numpy(dtype=bool)] if isinstance(where, pd.Series) else where
    shown = ", ".join(str(i + 2) for i in index[:EXAMPLES])
    more = f" and {len(index) - EXAMPLES} more" if len(index) > EXAMPLES else ""
    return f"row{'s' * (len(index) != 1)} {shown}{more}"


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def listing(counts: pd.Series) -> str:
    """Return the most frequent values with their counts: ``11: 84, 12: 3``; text in quotes."""
    order, shown = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0]))), []
    for value, n in order[:EXAMPLES]:
        is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        text = str(value) if len(str(value)) <= 30 else str(value)[:29] + "…"
        shown.append(f"{value:g}: {n}" if is_number else f"{text!r}: {n}")
    return ", ".join(shown) + ", ..." * (len(order) > EXAMPLES)
