"""Take out of free text what points at a person: addresses, numbers, and names where a phrase announces them.

Years, dates, times, prices and scores stay. What is taken out leaves its kind in brackets, such as ``[phone]``. A name
that nothing announces ("Anna at the desk was kind") is not found: texts are shown above the minimum base, too.
"""

import ipaddress
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cxresearch.privacy.identifiers import EMAIL

KINDS = ("link", "e-mail", "IBAN", "card", "IP address", "phone", "number", "name")
_UPPER = "".join(c for c in map(chr, range(0x41, 0x530)) if c.isupper())

LINK = re.compile(r"(?:https?://|www\.)[^\s<>\"']+", re.I)
WITH_ID = re.compile(r"[?#=@]|\d{5,}|[A-Za-z0-9_-]{20,}")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
DIGITS = re.compile(r"(?<![\w.,])(?:\+\s?|\()?\d(?:[ \u00a0\u2009\u202f().\-–/]{0,3}\d)*(?!\w)")
LETTERED = re.compile(r"\b[A-ZА-Я]{1,4}[ -]?\d{6,}\b")
DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d([-./ ]?)(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-./ ])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)?\d\d)(?!\d)"
)
MONEY = (
    r"(?:[$€£¥₽]|zł|PLN|EUR|USD|GBP|RUB|euros?|dollars?|pounds?|rubles?|руб\w*|р\.|złot\w+|тыс\w*|млн|million|mln|%)"
)
MONEY_AFTER, MONEY_BEFORE = re.compile(rf"\s?{MONEY}", re.I), re.compile(rf"{MONEY}\s?$", re.I)
CALLED = re.compile(
    r"(?:phone|tel|mobile|call|ring|whatsapp|sms|dzwon\w*|telefon\w*|kom|numer\w*|тел\w*|звон\w*|номер\w*)[.:\s]{1,3}(?:\w+\s)?$",
    re.I,
)

_TITLE = r"(?:Mrs?|Ms|Miss|Mister|Dr|Prof|Pan[ai]?|Panie|Господин|Госпожа)\b"
_NAME = rf"(?!{_TITLE})(?:[{_UPPER}][\w'’-]+|[{_UPPER}]\.)"
_NAMES = rf"{_NAME}(?: {_NAME}){{0,2}}"
NOBODY = (
    "Sir", "Sirs", "Madam", "Team", "Customer", "Customers", "All", "Support", "Staff", "Colleagues", "Friends",
    "Manager", "I", "We",
    "Państwo", "Państwa", "Pan", "Pani", "Panie", "Klient", "Kliencie", "Zespół", "Zespole", "Dyrektor", "Kierownik",
    "Клиент", "Клиенты", "Коллеги", "Господа", "Команда", "Банк", "Друзья", "Директор",
)  # fmt: skip
# After these, the next word is a name however it is written; capitalised ones after it belong to it.
INTRODUCED = re.compile(
    rf"\b((?i:my name is|my name['’]s|nazywam się|mam na imię|меня зовут|моё имя|мое имя|моя фамилия)[ :]\s?)"
    rf"([^\W\d_][\w'’-]*(?: {_NAME}){{0,2}})"
)
# After these, capitalised words are.
ANNOUNCED = re.compile(
    rf"\b((?:(?i:mrs?|ms|miss|dr|prof)\.?|Mister|(?i:regards|sincerely|yours|cheers|dear|hello|hi|signed),?|"
    rf"[Pp]an(?:i|u|a|em|ią)?|[Pp]anie|(?i:pozdrawiam|z poważaniem|drog[ia]|szanown[ya](?: pani[ea]?)?|cześć),?|"
    rf"(?i:г-н|г-жа|господин|госпожа|гражданин|гражданка|уважаем(?:ый|ая)|с уважением|"
    rf"здравствуйте|дорог(?:ой|ая)|привет),?)\s+)"
    rf"({_NAMES})"
)


class Redacted(NamedTuple):
    """Redacted texts and how much was taken out.

    Attributes
    ----------
    texts
        As given, with brackets instead of what was taken out.
    counts
        One row per kind: ``kind``, ``redactions``, ``rows`` (texts in which there was any).
    """

    texts: pd.Series
    counts: pd.DataFrame


def redact(texts: pd.Series) -> Redacted:
    """Return free texts without links that hold an id, e-mail, IBAN, card, IP, phone, long numbers and announced names.

    Parameters
    ----------
    texts : Series, (n,)
        Missing cells stay missing; a cell that is no text is returned as it is unless something is taken out of it.
    """
    positions, values = pd.factorize(texts)
    values, found = np.array(values, dtype=object), defaultdict(Counter)
    made = np.array([str(value) for value in values], dtype=object)
    held = pa.array(made, pa.string())
    for hint, steps in STEPS:
        for i in np.flatnonzero(pc.match_substring_regex(held, hint).to_numpy(zero_copy_only=False)):
            for pattern, kind_of in steps:
                made[i] = pattern.sub(partial(_replaced, kind_of, found[i]), made[i])
    touched = [i for i, kinds in found.items() if kinds]
    values[touched] = made[touched]
    taken = pd.api.extensions.take(values, positions, allow_fill=True, fill_value=None)
    redacted = pd.Series(taken, index=texts.index, name=texts.name, dtype=object).where(texts.notna(), texts)
    times = np.bincount(positions[positions >= 0], minlength=len(values))[touched]
    rows = []
    for kind in KINDS:
        hits = np.array([found[i][kind] for i in touched], dtype=int)
        rows.append((kind, int(times @ hits), int(times @ (hits > 0))))
    return Redacted(redacted, pd.DataFrame(rows, columns=["kind", "redactions", "rows"]))


def _replaced(kind_of: Callable[[re.Match], tuple[str, str] | None], found: Counter, match: re.Match) -> str:
    if (said := kind_of(match)) is None:
        return match.group()
    kind, kept = said
    found[kind] += 1
    return f"{kept}[{kind}]"


def _link(match: re.Match) -> tuple[str, str] | None:
    path = match.group().split("//")[-1].partition("/")[2]
    return ("link", "") if WITH_ID.search(path) or "?" in match.group() else None


def _iban(match: re.Match) -> tuple[str, str] | None:
    plain = match.group().replace(" ", "")
    number = "".join(str(int(c, 36)) for c in plain[4:] + plain[:4])
    return ("IBAN", "") if int(number) % 97 == 1 else None


def _number(match: re.Match) -> tuple[str, str] | None:
    text = match.group()
    digits = "".join(c for c in text if c.isdigit())
    if len(digits) < 6 or _is_money(match):
        return None
    if _is_ip(text):
        return "IP address", ""
    if _is_ordinary(text):
        return None
    if 13 <= len(digits) <= 19 and luhn(digits):
        return "card", ""
    if _is_phone(text, digits, before=match.string[: match.start()]):
        return "phone", ""
    return ("number", "") if re.search(r"\d{8}", text) or len(digits) >= 16 else None


def luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others (ISO/IEC 7812)."""
    doubled = [2 * int(d) - 9 * (d > "4") for d in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _is_money(match: re.Match) -> bool:
    return bool(MONEY_AFTER.match(match.string, match.end()) or MONEY_BEFORE.search(match.string[: match.start()]))


def _is_ordinary(text: str) -> bool:
    """Whether a run of digits is dates, years, scores, a decimal number, or one grouped by thousands."""
    rest = DATE.sub(" ", text)
    groups = re.findall(r"\d+", rest)
    years = all(re.fullmatch(r"(?:19|20)\d\d", g) or len(g) < 3 for g in groups)
    thousands = re.fullmatch(r"\d{1,3}(?:[ \u00a0\u2009\u202f.]000)+|\d{1,3}(?:\.\d{3})+", text)
    return (years and "+" not in text) or bool(thousands) or bool(re.fullmatch(r"\d+\.\d+", text))


def _is_ip(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def _is_phone(text: str, digits: str, *, before: str) -> bool:
    if text.startswith("+"):
        return 8 <= len(digits) <= 15
    groups = re.findall(r"\d+", text)
    if CALLED.search(before):
        return 6 <= len(digits) <= 15
    longest = 8 if digits.startswith("0") and not digits.startswith("00") else 4  # 07700 900123, 030 901820
    return 9 <= len(digits) <= 12 and 2 <= len(groups) <= 6 and max(map(len, groups)) <= longest


def _name(match: re.Match) -> tuple[str, str] | None:
    kept = match.group(1)
    return None if match.group(2).split()[0] in NOBODY else ("name", kept)


# What a text must hold for patterns to be tried (RE2, over all texts at once): most texts hold none of it.
STEPS = (
    (r"://|(?i:www\.)", ((LINK, _link),)),
    ("@", ((EMAIL, lambda match: ("e-mail", "")),)),
    (r"\p{Nd}", ((IBAN, _iban), (LETTERED, lambda match: ("number", "")), (DIGITS, _number))),
    ("(?i)name|nazywam|imi|зовут|имя|фамил", ((INTRODUCED, _name),)),
    (r"(?:[\p{L}\p{N}],?|(?i:mrs?|ms|miss|dr|prof)\.)[\s\pZ\x{0b}\x{1c}-\x{1f}\x{85}]+\p{Lu}", ((ANNOUNCED, _name),)),
)
