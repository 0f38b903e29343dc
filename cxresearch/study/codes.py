"""What a stored value means: numbers in text, codes of skipped and of not applicable answers, labels, dates.

Each function takes one column as stored and returns one column, or says what stands in the way (`Refused`).
Work is done on the distinct values, so that a million answers on eleven points cost eleven comparisons.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch.study.items import Item

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
COMMA_NUMBER = r"[+-]?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d+)?"
# A code with a leading zero, or with more digits than a float holds, is a name and not a number.
PLAIN_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d{0,14})(?:\.\d*)?")
WHOLE_AS_FLOAT = r"^([+-]?\d+)\.0+$"
YES, NO = {"1", "1.0", "true", "yes", "y", "t"}, {"0", "0.0", "false", "no", "n", "f"}
DAY_FIRST = r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})((?:[ T].*)?)"
ISO_DATE = r"\d{4}-\d{2}(?:-\d{2}.*)?"
EXAMPLES = 5


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
    """Return distinct values as stripped text; numbers that are stored as such with this decimal sign."""
    if isinstance(values.dtype, pd.StringDtype):
        return pd.Series(values).str.strip()
    text = (str(v).replace(".", decimal) if isinstance(v, float) else str(v) for v in values)
    return pd.Series(list(text), dtype="str").str.strip()


def as_names(values: pd.Index) -> pd.Series:
    """Return distinct values as text in which a whole float has lost its '.0', so that 17.0 and 17 are one name."""
    text = as_text(values)
    return text.str.replace(WHOLE_AS_FLOAT, r"\1", regex=True) if len(text) else text


def names(column: pd.Series) -> pd.Series:
    """Return a column of names (ids, waves, strata) as text: leading zeros stay, '17.0' is '17', blank is missing."""
    positions, values = distinct(column)
    text = as_names(values)
    return spread(text.where(text != ""), positions, column.index)


def numbers(column: pd.Series, *, decimal: str = ".", codes: Iterable[str] = ()) -> Numbers:
    """Read a column as numbers; `codes` are texts (or numbers) that stand for blank."""
    positions, values = distinct(column)
    parsed, text = _parsed(values, decimal)
    blank = (text == "") | _is_code(parsed, text, codes)
    other = parsed.isna() & ~blank
    index = column.index
    return Numbers(
        spread(parsed.mask(blank), positions, index),
        spread(blank, positions, index, True),
        spread(other, positions, index, False),
    )


def coded(column: pd.Series, codes: Sequence[str], *, decimal: str = ".") -> pd.Series:
    """Return where a column holds one of `codes`."""
    if not codes:
        return pd.Series(False, index=column.index)
    positions, values = distinct(column)
    return spread(_is_code(*_parsed(values, decimal), codes), positions, column.index, False)


def _parsed(values: pd.Index, decimal: str) -> tuple[pd.Series, pd.Series]:
    """Return distinct values as numbers (NaN where they are none) and as text."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        parsed = pd.Series(values.to_numpy(dtype=float, na_value=np.nan))
        return parsed.where(np.isfinite(parsed)), parsed.astype("str")
    text = as_text(values, decimal)
    is_number = text.str.fullmatch(COMMA_NUMBER if decimal == "," else NUMBER).astype(bool)
    return pd.to_numeric(text.str.replace(",", ".", regex=False).where(is_number), errors="coerce").astype(float), text


def _is_code(parsed: pd.Series, text: pd.Series, codes: Iterable[str]) -> pd.Series:
    """Return where a distinct value is one of `codes`: equal as a number, or exactly as text."""
    codes = list(codes)
    as_numbers = [float(c) for c in codes if re.fullmatch(NUMBER, c.strip())]
    return parsed.isin(as_numbers) | text.isin([c.strip() for c in codes])


def code_key(value) -> str:
    """Return what two codes are compared by: the number they write (0, 0.0 and '0' alike), or else the exact text."""
    text = str(value).strip()
    return repr(float(text) + 0.0) if PLAIN_NUMBER.fullmatch(text) else text


class Answers(NamedTuple):
    """An item as the analyses see it; `met` is None unless the item declares not-applicable codes."""

    values: pd.Series
    met: pd.Series | None


def answers(
    column: pd.Series,
    item: Item,
    *,
    key: str,
    decimal: str = ".",
    dayfirst: bool = False,
    time_format: str | None = None,
) -> Answers:
    """Return the answers to item `key`: missing and not-applicable codes as NaN, numbers checked against the scale."""
    if item.is_number:
        values, absent = _scaled(column, item, key, decimal)
    else:
        values, absent = _category(column, item, key)
        if item.is_date:
            values = dates(values, dayfirst=dayfirst, time_format=time_format)
    return Answers(values, ~absent if item.not_applicable else None)


def _scaled(column: pd.Series, item: Item, key: str, decimal: str) -> tuple[pd.Series, pd.Series]:
    found = numbers(column, decimal=decimal, codes=(*item.missing, *item.not_applicable))
    remedy = f"declare them as missing codes of item {key} in study.yml"
    if found.other.any():
        n = int(found.other.sum())
        raise Refused(
            f"holds {_count(n, 'value')} that {'are not numbers' if n > 1 else 'is not a number'} "
            f"({_listing(column[found.other])}); {_or_decimal(column[found.other], decimal)}{remedy}"
        )
    if item.scale:
        low, high = item.scale
        outside = found.values.notna() & ~found.values.between(low, high)
        if outside.any():
            raise Refused(
                f"holds {_count(outside.sum(), 'value')} outside {low:g}-{high:g} "
                f"({_listing(found.values[outside])}); {remedy}"
            )
    if "nps" in item.role:
        fractional = found.values.notna() & (found.values % 1 != 0)
        if fractional.any():
            raise Refused(
                f"holds {_count(fractional.sum(), 'fractional value')} ({_listing(found.values[fractional])}), "
                f"but a net promoter score counts whole answers; give item {key} the role outcome instead of nps "
                "in study.yml"
            )
    return found.values, coded(column, item.not_applicable, decimal=decimal)


def _or_decimal(found: pd.Series, decimal: str) -> str:
    """Return the remedy for numbers that are written with the other decimal sign, if all of `found` are."""
    other, pattern = (".", NUMBER) if decimal == "," else (",", COMMA_NUMBER)
    return (
        f"declare decimal: {other!r} for the table, or "
        if found.map(str).str.strip().str.fullmatch(pattern).all()
        else ""
    )


def _category(column: pd.Series, item: Item, key: str) -> tuple[pd.Series, pd.Series]:
    positions, values = distinct(column)
    text = as_names(values) if item.type == "text" or item.labels else pd.Series(values)
    declared = item.missing or item.not_applicable or item.labels
    keys = pd.Series([code_key(v) for v in values] if declared else text.map(str).str.strip(), dtype=object)
    absent = keys.isin([code_key(c) for c in item.not_applicable])
    gone = absent | keys.isin([code_key(c) for c in item.missing]) | (keys == "")
    if item.labels:
        labels = {code_key(code): label for code, label in item.labels.items()}
        unknown = ~gone & ~keys.isin(list(labels))
        if unknown.any():
            rows = spread(unknown, positions, column.index, False)
            n = int(rows.sum())
            raise Refused(
                f"holds {_count(n, 'value')} without a label ({_listing(column[rows])}); add to labels or missing "
                f"codes of item {key} in study.yml"
            )
        text = keys.map(labels)
    kept = spread(text.mask(gone), positions, column.index)
    if isinstance(kept.dtype, pd.Int64Dtype):  # nullable whole numbers served the reading; analyses know NaN
        kept = kept.astype(float if kept.isna().any() else int)
    return kept, spread(absent, positions, column.index, False)


def flags(column: pd.Series) -> pd.Series:
    """Return yes and no (1 and 0, true and false) as booleans; nullable where some are blank."""
    positions, values = distinct(column)
    folded = pd.Series([str(v).strip().casefold() for v in values], dtype=object)
    meaning = folded.map({**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)})
    unknown = spread(meaning.isna() & (folded != ""), positions, column.index, False)
    if unknown.any():
        raise Refused(
            f"holds {_count(unknown.sum(), 'value')} other than yes and no, true and false, 1 and 0 "
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
        written = (
            f"written as {time_format}"
            if time_format
            else "written day first (31.12.2018)"
            if dayfirst
            else "written as 2018-12-31"
        )
        raise Refused(
            f"holds {_count(failed.sum(), 'value')} that {'are no dates' if failed.sum() > 1 else 'is no date'} "
            f"{written} ({_listing(column[failed])}); "
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


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def _listing(found: pd.Series) -> str:
    """Return the most frequent values with their counts: ``11: 84, 12: 3``; text in quotes."""
    counts = found.value_counts()
    order = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    shown = [
        f"{value:g}: {n}"
        if isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        else f"{_short(value)!r}: {n}"
        for value, n in order[:EXAMPLES]
    ]
    return ", ".join(shown) + (", ..." if len(order) > EXAMPLES else "")


def _short(value) -> str:
    text = str(value)
    return text if len(text) <= 30 else text[:29] + "…"
