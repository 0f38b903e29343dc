"""How dates are written: ISO, day first or month first; ambiguous ones are doubtful."""

import re

import pandas as pd

from cxresearch.study.codes import ISO_DATE

SLASHED = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})([ T]\d{1,2}:\d{2}(:\d{2})?( ?[AP]M)?)?", re.I)

YEAR_FIRST = re.compile(r"\d{4}/\d{1,2}/\d{1,2}(?: \d{1,2}:\d{2}(?::\d{2})?)?")


def guess_dates(guess, column) -> bool:
    """Recognise a column of dates and write its format into the guess; False if it is none."""
    texts = [t for t in column.texts if t]
    if not texts or column.numbers:
        return False
    if all(re.fullmatch(ISO_DATE, t) for t in texts):
        if pd.to_datetime(pd.Series(texts), format="ISO8601", errors="coerce", utc=True).isna().any():
            return False
        guess.given["type"] = "date"
        guess.reasons.append("dates written as 2018-12-31")
        return True
    if all(YEAR_FIRST.fullmatch(t) for t in texts):
        return _year_first(guess, texts)
    found = [SLASHED.fullmatch(t) for t in texts]
    if not all(found):
        return False
    if all(int(m[4]) < 1950 for m in found):
        guess.given["type"] = "text"
        guess.reasons.append("dates before 1950: a spreadsheet's way to write a time of day")
        return True
    return _slashed(guess, found, texts)


def _year_first(guess, texts: list[str]) -> bool:
    """Recognise 2018/12/31, with or without a time of day."""
    clocks = {t.count(":") if ":" in t else -1 for t in texts}
    format_ = "%Y/%m/%d" + {-1: "", 1: " %H:%M", 2: " %H:%M:%S"}[max(clocks)]
    if len(clocks) > 1 or pd.to_datetime(pd.Series(texts), format=format_, errors="coerce").isna().any():
        return False
    guess.given |= {"type": "date", "time_format": format_}
    guess.reasons.append("dates written year first")
    return True


def _slashed(guess, found: list[re.Match], texts: list[str]) -> bool:
    first, second = max(int(m[1]) for m in found), max(int(m[3]) for m in found)
    month_first = second > 12 >= first
    if not month_first and second > 12:
        return False
    format_ = _format(found, month_first)
    if format_ is None or pd.to_datetime(pd.Series(texts), format=format_, errors="coerce").isna().any():
        return False
    guess.given |= {"type": "date", "time_format": format_}
    if first <= 12 and second <= 12:
        guess.doubts.append("no number above 12 tells the day from the month: day first is a guess")
        guess.doubts.append("dates decide which answer of a customer is the latest")
    else:
        guess.reasons.append(
            f"dates written {'month' if month_first else 'day'} first: a number up to {max(first, second)}"
        )
    return True


def _format(found: list[re.Match], month_first: bool) -> str | None:
    """Return the strptime format that all cells share, or None."""
    signs = {m[2] for m in found}
    clocks = {_clock(m) for m in found}
    if len(signs) > 1 or len(clocks) > 1:
        return None
    sign = signs.pop()
    return sign.join(("%m", "%d", "%Y") if month_first else ("%d", "%m", "%Y")) + clocks.pop()


def _clock(found: re.Match) -> str:
    if not found[5]:
        return ""
    hours = "%I:%M" if found[7] else "%H:%M"
    return (
        found[5][0] + hours + (":%S" if found[6] else "") + ((" %p" if " " in found[7] else "%p") if found[7] else "")
    )
