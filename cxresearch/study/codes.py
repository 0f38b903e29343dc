"""What a stored value means: numbers in text, codes of skipped and of not applicable answers, labels, dates.

Each function takes one column as stored and returns one column, or says what stands in the way (`Refused`).
Work is done on the distinct values, so that a million answers on eleven points cost eleven comparisons.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import composed
from cxresearch.study.items import Item

THOUSANDS = {" ": "[ \u00a0\u2007\u2009\u202f]", ".": r"\.", ",": ",", "'": "['\u2019]"}


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
        return pd.to_numeric(plain.str.replace(self.decimal, ".", regex=False), errors="coerce").astype(float)


PLAIN = Writing()
NUMBER, COMMA_NUMBER = PLAIN.number, Writing(",").number
CURRENCIES = {
    "$": "USD CAD AUD NZD MXN SGD HKD", "€": "EUR", "£": "GBP", "zł": "PLN", "₽": "RUB", "₴": "UAH", "¥": "JPY CNY",
    "Kč": "CZK", "Ft": "HUF", "kr": "SEK NOK DKK", "₹": "INR",
    **{c: c for c in "USD CAD AUD EUR GBP PLN RUB UAH JPY CNY CZK HUF SEK NOK DKK CHF INR".split()},
}  # fmt: skip
SIGN = "|".join(map(re.escape, CURRENCIES))
MONEY = re.compile(rf"(\()?\s*([+-]?)\s*({SIGN})?\s*([+-]?[0-9.,'\u2019\s]+?)\s*({SIGN})?\s*(\))?")
# A code with a leading zero, or with more digits than a float holds, is a name and not a number.
PLAIN_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?")
WHOLE_AS_FLOAT = r"^([+-]?\d+)\.0+$"
YES, NO = {"1", "1.0", "true", "yes", "y", "t"}, {"0", "0.0", "false", "no", "n", "f"}
DAY_FIRST = r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})((?:[ T].*)?)"
ISO_DATE = r"\d{4}-\d{2}(?:-\d{2}.*)?"
EXAMPLES = 5
ENOUGH = 20  # answers among which a missing 0 says something about the coding
# "0", "10 - very likely", "7 = good": a number that is the answer, not "10 mi or less"
LABEL_NUMBER = re.compile(r"\s*([+-]?\d{1,3})\s*(?:$|[-–—=:.,(/)](?!\d))")
LEADING_NUMBER = re.compile(r"\s*([+-]?\d{1,3})(?![\d%])")  # on 0-10 also "0 not at all likely"
RANGE_0_10 = range(11)


class Refused(Exception):
    """A column that does not mean what the study says; the text completes 'FILE: COLUMN ...'."""


class Numbers(NamedTuple):
    """A column read as numbers: `values` float, `blank` and `other` (neither blank nor a number) boolean."""

    values: pd.Series
    blank: pd.Series
    other: pd.Series


def distinct(column: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Return the position of each value among the distinct ones (-1: missing), and these."""
    positions, values = pd.factorize(column)
    return positions, pd.Index(values)


def spread(values: pd.Series, positions: np.ndarray, index: pd.Index, gap=np.nan) -> pd.Series:
    """Return one value per row from one value per distinct value; `gap` where the position is -1."""
    stored = values.array if isinstance(values.dtype, pd.api.extensions.ExtensionDtype) else values.to_numpy()
    return pd.Series(pd.api.extensions.take(stored, positions, allow_fill=True, fill_value=gap), index=index)


def as_text(values: pd.Index, decimal: str = ".") -> pd.Series:
    """Return distinct values as `composed` text; numbers that are stored as such with this decimal sign."""
    text = (str(v).replace(".", decimal) if isinstance(v, float) else composed(v) for v in values)
    return pd.Series(list(text), dtype="str")


def as_names(values: pd.Index) -> pd.Series:
    """Return distinct values as text in which a whole float has lost its '.0', so that 17.0 and 17 are one name."""
    text = as_text(values)
    return text.str.replace(WHOLE_AS_FLOAT, r"\1", regex=True) if len(text) else text


def names(column: pd.Series) -> pd.Series:
    """Return a column of names (ids, waves, strata) as text: leading zeros stay, '17.0' is '17', blank is missing."""
    positions, values = distinct(column)
    text = as_names(values)
    return spread(text.where(text != ""), positions, column.index)


def numbers(column: pd.Series, writing: Writing = PLAIN, codes: Iterable[str] = ()) -> Numbers:
    """Read a column as numbers; `codes` are texts (or numbers) that stand for blank."""
    positions, values = distinct(column)
    parsed, text = _parsed(values, writing)
    blank = (text == "") | _is_code(parsed, text, codes)
    other = parsed.isna() & ~blank
    index = column.index
    return Numbers(
        spread(parsed.mask(blank), positions, index),
        spread(blank, positions, index, True),
        spread(other, positions, index, False),
    )


def bare_amount(text: str) -> tuple[str, str, bool]:
    """Return an amount without what accounts put around it: its text, its sign of currency, and whether in brackets."""
    found = MONEY.fullmatch(text)
    if (
        not found
        or bool(found[1]) != bool(found[6])
        or found[3]
        and found[5]
        or found[2]
        and (found[1] or found[4] < ".")
    ):
        return text, "", False
    return ("-" if found[1] else found[2]) + found[4].strip(), found[3] or found[5] or "", bool(found[1])


def amounts(column: pd.Series, writing: Writing, codes: Iterable[str] = (), currency: str | None = None):
    """Read a column of money: as `numbers`, signs of one currency taken away, amounts in brackets negative.

    Returns
    -------
    tuple of Numbers and dict
        And what was done -> in how many rows.
    """
    found = numbers(column, writing, codes)
    if not found.other.any():
        return found, {}
    positions, values = distinct(column.where(found.other))
    bare = [bare_amount(text) for text in as_text(values, writing.decimal)]
    parsed = writing.parsed(pd.Series([text for text, _, _ in bare], dtype="str"))
    sign = spread(
        pd.Series([sign if ok else "" for (_, sign, _), ok in zip(bare, parsed.notna())]), positions, column.index, ""
    )
    signs = sign[sign != ""].value_counts()
    if len(signs) > 1:
        raise Refused(f"holds amounts in {len(signs)} currencies ({_listing(sign[sign != ''])}); convert them to one")
    for written in signs.index:
        if currency and re.fullmatch("[A-Z]{3}", currency) and currency not in CURRENCIES[written].split():
            raise Refused(f"is written in {written}, but study.yml says currency: {currency}; correct one of the two")
    bracketed = spread(pd.Series([b for _, _, b in bare], dtype=bool), positions, column.index, False)
    again = spread(parsed, positions, column.index)
    told = {f"with {written} taken off": int(n) for written, n in signs.items()}
    told["in brackets, read as below zero"] = int((bracketed & again.notna()).sum())
    return Numbers(found.values.fillna(again), found.blank, found.other & again.isna()), told


def advice(column: pd.Series, found: Numbers, writing: Writing) -> str:
    """Return what to declare so that every cell is a number, or nothing where no way of writing numbers does that."""
    text = pd.Series(
        [bare_amount(t)[0] for t in as_text(distinct(column[~found.blank])[1], writing.decimal)], dtype="str"
    )
    ways = [
        Writing(d, t)
        for t in (writing.thousands, *THOUSANDS)
        for d in dict.fromkeys((writing.decimal, ".", ","))
        if t != d
    ]
    fitting = [way for way in ways if text.str.fullmatch(way.number).all()]
    changes = [
        [key for key in ("decimal", "thousands") if getattr(way, key) != getattr(writing, key)] for way in fitting
    ]
    fewest = min(map(len, changes), default=0)
    example = next(iter(text[~text.str.fullmatch(writing.number).astype(bool)]), "")
    if not fewest:
        return ""
    # Three digits after the sign in every cell are thousands: 1,011 and 1,048 are not written to three decimals.
    way, keys = min(
        (pair for pair in zip(fitting, changes) if len(pair[1]) == fewest), key=lambda p: "thousands" not in p[1]
    )
    said = " and ".join(f"{key}: {getattr(way, key)!r}" for key in keys)
    return f"declare {said} for the table ({example!r} is then {way.parsed(pd.Series([example]))[0]:.12g}), or "


def coded(column: pd.Series, codes: Sequence[str], writing: Writing = PLAIN) -> pd.Series:
    """Return where a column holds one of `codes`."""
    if not codes:
        return pd.Series(False, index=column.index)
    positions, values = distinct(column)
    return spread(_is_code(*_parsed(values, writing), codes), positions, column.index, False)


def _parsed(values: pd.Index, writing: Writing) -> tuple[pd.Series, pd.Series]:
    """Return distinct values as numbers (NaN where they are none) and as text."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        parsed = pd.Series(digits.whole(values.to_numpy(dtype=float, na_value=np.nan)))
        return parsed.where(np.isfinite(parsed)), parsed.astype("str")
    text = as_text(values, writing.decimal)
    return pd.Series(digits.whole(writing.parsed(text))), text


def _is_code(parsed: pd.Series, text: pd.Series, codes: Iterable[str]) -> pd.Series:
    """Return where a distinct value is one of `codes`: equal as a number, or exactly as text."""
    codes = list(codes)
    as_numbers = [float(c) for c in codes if re.fullmatch(NUMBER, c.strip())]
    return parsed.isin(as_numbers) | text.isin([composed(c) for c in codes])


def code_key(value) -> str:
    """Return what two codes are compared by: the number they write (0, 0.0 and '0' alike), or else the exact text."""
    text = composed(value)
    return repr(float(text) + 0.0) if PLAIN_NUMBER.fullmatch(text) else text


def answers(column: pd.Series, item: Item, key: str, writing: Writing) -> tuple[pd.Series, pd.Series]:
    """Return the answers to item `key` (NaN where a code is missing or not applicable; numbers held against the scale)
    and where it is not applicable."""
    if item.is_number:
        return _scaled(column, item, key, writing)
    values, absent = _category(column, item, key)
    if item.is_date:
        values = dates(values, dayfirst=writing.dayfirst, time_format=writing.time_format)
    return values, absent


def _scaled(column: pd.Series, item: Item, key: str, writing: Writing) -> tuple[pd.Series, pd.Series]:
    codes = (*item.missing, *item.not_applicable)
    found = numbers(column, writing, codes) if item.scale else amounts(column, writing, codes)[0]
    remedy = f"declare them as missing codes of item {key} in study.yml"
    if "nps" in item.role:
        _require_a_zero(column, found, item, key)
    if item.values:
        found = _mapped(column, found, item, key)
    if found.other.any():
        n = int(found.other.sum())
        raise Refused(
            f"holds {count(n, 'value')} that {'are not numbers' if n > 1 else 'is not a number'} "
            f"({_listing(column[found.other])}); {advice(column, found, writing)}{remedy}"
        )
    if item.scale:
        low, high = item.scale
        outside = digits.outside(found.values, low, high)
        if outside.any():
            raise Refused(
                f"holds {count(outside.sum(), 'value')} outside {low:g}-{high:g} "
                f"({_listing(found.values[outside])}); {remedy}"
            )
    if "nps" in item.role:
        fractional = found.values.notna() & (found.values % 1 != 0)
        if fractional.any():
            raise Refused(
                f"holds {count(fractional.sum(), 'fractional value')} ({_listing(found.values[fractional])}), "
                f"but a net promoter score counts whole answers; give item {key} the role outcome instead of nps "
                "in study.yml"
            )
    return found.values, coded(column, item.not_applicable, writing)


def _mapped(column: pd.Series, found: Numbers, item: Item, key: str) -> Numbers:
    """Return what the stored codes stand for, where the study says so."""
    meant = {float(code): value for code, value in item.values.items() if re.fullmatch(NUMBER, code.strip())}
    words = {composed(code): value for code, value in item.values.items() if not re.fullmatch(NUMBER, code.strip())}
    values = found.values.map(meant)
    if words:
        values = values.where(values.notna(), column.map(lambda v: words.get(composed(v), np.nan)).astype(float))
    unknown = (found.values.notna() | found.other) & values.isna() & ~found.blank
    if unknown.any():
        raise Refused(
            f"holds {count(unknown.sum(), 'code')} that 'values' of item {key} in study.yml does not explain "
            f"({_listing(column[unknown])}); add them there, or to its missing codes"
        )
    return Numbers(values, found.blank, found.other & values.isna())


def _require_a_zero(column: pd.Series, found: Numbers, item: Item, key: str) -> None:
    """Refuse a declared blank 11 where no 0 is stored: 1-11 may stand for 0-10, and 11 for 0."""
    eleven = coded(column, ["11"])
    declared = {code_key(code) for code in (*item.missing, *item.not_applicable)}
    decided = item.confirmed and code_key("11") in declared
    if item.values or decided or not eleven.any() or found.values.count() < ENOUGH:
        return
    if not coded(column, ["0"]).any():
        raise Refused(
            f"holds 11 {count(eleven.sum(), 'time')} and never 0: is 11 a blank, or do 1-11 stand for 0-10, or 11 for "
            f"0? Declare values: {{1: 0, ..., 11: 10}} or {{11: 0, 1: 1, ..., 10: 10}} of item {key} in study.yml, or "
            "missing: [11] with confirmed: true if it is a blank"
        )


def contradiction(said: Mapping[float | str, str], item: Item, key: str) -> str | None:
    """Return what is wrong if the labels of a file give the codes of a scale other numbers than the codes are.

    Parameters
    ----------
    said
        Stored code -> its words, as the file has them.
    """
    if not item.scale or item.values:
        return None
    absent = {code_key(code) for code in (*item.missing, *item.not_applicable)}
    pattern = LEADING_NUMBER if item.scale == (0, 10) else LABEL_NUMBER
    numbered = {code: int(m[1]) for code, words in said.items() if (m := pattern.match(str(words)))}
    other = {
        code: number
        for code, number in numbered.items()
        if isinstance(code, (int, float)) and code != number and (code_key(code) not in absent or number in RANGE_0_10)
    }
    if not other:
        return None
    shown = ", ".join(f"{code:g}: {said[code]!r}" for code in list(other)[:EXAMPLES])
    meant = ", ".join(f"{code:g}: {number}" for code, number in list(numbered.items())[:3])
    return (
        f"stores codes whose labels say other numbers ({shown}); declare which answer each code stands for: "
        f"values: {{{meant}, ...}} of item {key} in study.yml"
    )


def holds(column: pd.Series, separator: str, code: str) -> pd.Series:
    """Return where the cells of a multiple choice hold a code, alone or among others."""
    positions, stored = distinct(column)
    cells = as_text(stored).map(lambda text: code_key(code) in map(code_key, text.split(separator)))
    return spread(cells.astype(bool), positions, column.index, False)


def choices(column: pd.Series, item: Item, key: str) -> tuple[dict[str, pd.Series], pd.Series]:
    """Return the columns of a multiple choice (words joined, then 1 or 0 for each choice), and what is not applicable.

    A cell that holds nothing but missing codes, or nothing, is NaN throughout.
    """
    positions, stored = distinct(column)
    cells = [[code for part in text.split(item.multiple) if (code := part.strip())] for text in as_text(stored)]
    gone, never = ({code_key(c) for c in codes} for codes in (item.missing, item.not_applicable))
    labels = {code_key(code): words for code, words in item.labels.items()}
    keys = [[code_key(code) for code in cell] for cell in cells]
    unknown = [any(k not in labels and k not in gone | never for k in cell) for cell in keys]
    if any(unknown):
        rows = spread(pd.Series(unknown), positions, column.index, False)
        raise Refused(
            f"holds {count(rows.sum(), 'cell')} with a code that has no label ({_listing(column[rows])}); add to "
            f"labels or missing codes of item {key} in study.yml"
        )
    chosen = [[k for k in cell if k in labels] for cell in keys]
    words = pd.Series(["; ".join(labels[k] for k in cell) if cell else None for cell in chosen], dtype="str")
    found = {key: spread(words, positions, column.index)}
    for suffix, code in item.companions.items():
        marks = pd.Series([float(code_key(code) in cell) if cell else np.nan for cell in chosen], dtype=float)
        found[key + suffix] = spread(marks, positions, column.index)
    absent = pd.Series([not c and any(k in never for k in cell) for c, cell in zip(chosen, keys)], dtype=bool)
    return found, spread(absent, positions, column.index, False)


def _category(column: pd.Series, item: Item, key: str) -> tuple[pd.Series, pd.Series]:
    positions, values = distinct(column)
    text = as_names(values) if item.type == "text" or item.labels else _as_stored(values, item)
    declared = item.missing or item.not_applicable or item.labels
    keys = pd.Series([code_key(v) if declared else composed(v) for v in (values if declared else text)], dtype=object)
    absent = keys.isin([code_key(c) for c in item.not_applicable])
    gone = absent | keys.isin([code_key(c) for c in item.missing]) | (keys == "")
    if item.labels:
        labels = {code_key(code): label for code, label in item.labels.items()}
        unknown = ~gone & ~keys.isin(list(labels))
        if unknown.any():
            rows = spread(unknown, positions, column.index, False)
            n = int(rows.sum())
            raise Refused(
                f"holds {count(n, 'value')} without a label ({_listing(column[rows])}); add to labels or missing "
                f"codes of item {key} in study.yml"
            )
        text = keys.map(labels)
    kept = spread(text.mask(gone), positions, column.index)
    if isinstance(kept.dtype, pd.Int64Dtype):  # nullable whole numbers served the reading; analyses know NaN
        kept = kept.astype(float if kept.isna().any() else int)
    return kept, spread(absent, positions, column.index, False)


def _as_stored(values: pd.Index, item: Item) -> pd.Series:
    """Return distinct values as they are, but for texts that differ in signs nobody sees; what people wrote stays."""
    stored = pd.Series(values)
    if "verbatim" in item.role or pd.api.types.is_numeric_dtype(stored) or item.is_date:
        return stored
    return stored.map(lambda v: composed(v) if isinstance(v, str) and not v.isascii() else v).astype(stored.dtype)


def flags(column: pd.Series) -> pd.Series:
    """Return yes and no (1 and 0, true and false) as booleans; nullable where some are blank."""
    positions, values = distinct(column)
    folded = pd.Series([str(v).strip().casefold() for v in values], dtype=object)
    meaning = folded.map({**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)})
    unknown = spread(meaning.isna() & (folded != ""), positions, column.index, False)
    if unknown.any():
        raise Refused(
            f"holds {count(unknown.sum(), 'value')} other than yes and no, true and false, 1 and 0 "
            f"({_listing(column[unknown])}); correct the file"
        )
    found = spread(meaning, positions, column.index)
    return found.astype("boolean") if found.isna().any() else found.astype(bool)


def dates(column: pd.Series, *, dayfirst: bool = False, time_format: str | None = None) -> pd.Series:
    """Return a column of dates and times; blank is NaT, a time with a zone becomes the same moment in UTC."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column.dt.tz_convert(None) if column.dt.tz is not None else column
    positions, values = distinct(column)
    parsed, unread = _parsed_dates(as_names(values), dayfirst, time_format)
    failed = spread(unread, positions, column.index, False)
    if failed.any():
        written = f"as {time_format or '2018-12-31'}" if time_format or not dayfirst else "day first (31.12.2018)"
        raise Refused(
            f"holds {count(failed.sum(), 'value')} that {'are no dates' if failed.sum() > 1 else 'is no date'} "
            f"written {written} ({_listing(column[failed])}); "
            "declare dayfirst: true or time_format in study.yml, or correct the file"
        )
    return spread(parsed, positions, column.index, pd.NaT)


def _parsed_dates(text: pd.Series, dayfirst: bool, time_format: str | None) -> tuple[pd.Series, pd.Series]:
    if not len(text):
        return pd.Series([], dtype="datetime64[us]"), pd.Series([], dtype=bool)
    asked = text
    if not time_format:
        # A number or a bare year would pass as ISO, and a month-first date as day-first: both are refused here.
        asked = text.where(text.str.fullmatch(f"{DAY_FIRST}|{ISO_DATE}" if dayfirst else ISO_DATE).astype(bool))
    if dayfirst and not time_format:
        asked = asked.str.replace(DAY_FIRST, lambda m: f"{m[3]}-{int(m[2]):02d}-{int(m[1]):02d}{m[4]}", regex=True)
    parsed = pd.to_datetime(asked, format=time_format or "ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
    return parsed, parsed.isna() & (text != "")


def row_numbers(where: pd.Series | pd.Index) -> str:
    """Return 'rows 3, 8 and 4 more', counted as a spreadsheet does: the header is row 1."""
    index = where.index[where.to_numpy(dtype=bool)] if isinstance(where, pd.Series) else where
    shown = ", ".join(str(i + 2) for i in index[:EXAMPLES])
    more = f" and {len(index) - EXAMPLES} more" if len(index) > EXAMPLES else ""
    return f"{'row' if len(index) == 1 else 'rows'} {shown}{more}"


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def _listing(found: pd.Series) -> str:
    """Return the most frequent values with their counts: ``11: 84, 12: 3``; text in quotes."""
    counts = found.value_counts()
    order = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    shown = [
        f"{value:g}: {n}"
        if isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        else f"{text if len(text := str(value)) <= 30 else text[:29] + '…'!r}: {n}"
        for value, n in order[:EXAMPLES]
    ]
    return ", ".join(shown) + (", ..." if len(order) > EXAMPLES else "")
