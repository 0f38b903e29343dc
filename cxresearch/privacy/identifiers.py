"""Columns that name a person: e-mail, phone, name, address, IP, coordinates, national number.

What a column is called and what its cells hold are both looked at. Cells alone decide where their form is unmistakable
(e-mail, IP, international phone numbers, pairs of coordinates); elsewhere the header must say so and the cells must be
able to be it: a column ``email`` of yes and no is a question, and an ``airline_name`` is nobody's name.
"""

import ipaddress
import re
import tomllib
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

PERSONAL = tomllib.loads(Path(__file__).with_name("personal.toml").read_text(encoding="utf-8"))
LOOKED_AT = 5000
MOST, ALMOST_ALL = 0.5, 0.8

EMAIL = re.compile(r"(?:mailto:)?(?<![\w.+%'-])[\w.+%'-]+@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}", re.I)
PHONE = re.compile(r"(?:tel\.?:?\s*)?\+?[\d\s().\-–/]{7,24}(?:(?:ext|x|wew)\.?\s*\d{1,5})?", re.I)
INTERNATIONAL = re.compile(r"(?:\+|00)\s?\d[\d\s().\-–/]{7,20}")
PAIR = re.compile(r"[(\[]?\s*-?\d{1,2}\.\d{3,}\s*[,;\s]\s*-?\d{1,3}\.\d{3,}\s*[)\]]?|POINT\s?\(.+\)", re.I)
WORDS = re.compile(r"[^\W\d_][^\W\d_.'’\-]*(?:[.'’\- ]+[^\W\d_][^\W\d_.'’\-]*){0,4}\.?")
POSTCODE = re.compile(
    r"\d{5}(?:-\d{4})?|\d{2}-\d{3}|\d{6}|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d", re.I
)
DEGREE = re.compile(r"[+-]?\d{1,3}([.,]\d+)?")
FINE_DEGREE = re.compile(r"[+-]?\d{1,3}[.,]\d{2,}")  # finer than about a kilometre
PERSONAL_NUMBER = re.compile(r"[A-ZА-Я]{0,4}[\d\s-]{6,34}[A-Z]?", re.I)


def bare(text: str) -> str:
    """Return text without accents."""
    parts = unicodedata.normalize("NFD", text.replace("ł", "l").replace("Ł", "L"))
    return "".join(c for c in parts if not unicodedata.combining(c))


HEADERS = {
    key: {form for word in words.split() for form in (word, bare(word))} for key, words in PERSONAL["headers"].items()
}
PEOPLE = HEADERS["people"]


class Identifier(NamedTuple):
    """A column that names a person: its header, the kind, what says so, and the share of filled cells like it (0-1)."""

    column: str
    kind: str
    reason: str
    share: float


class _Rule(NamedTuple):
    kind: str
    said: str  # what the cells look like
    fits: Callable[[str], object]
    named: Callable[[list[str]], bool]
    alone: float | None  # share of cells from which the cells decide alone
    needed: float  # share of cells that the header needs


def find_identifiers(table: pd.DataFrame) -> list[Identifier]:
    """Return the columns that name a person directly, in the order of the table.

    Parameters
    ----------
    table : DataFrame
        As read, every column under the header of its file. Of each column at most 5,000 filled cells, evenly spaced,
        are looked at. A column without a filled cell is not reported.
    """
    found = (_identifier(str(name), table.iloc[:, i]) for i, name in enumerate(table.columns))
    return [f for f in found if f]


def _identifier(name: str, column: pd.Series) -> Identifier | None:
    words = header_words(name)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return None
    numeric = pd.api.types.is_numeric_dtype(column)
    rules = [r for r in RULES if r.named(words) or (r.alone is not None and not numeric)]
    filled = column.dropna() if rules else column.iloc[:0]
    cells = [t for v in filled.iloc[:: max(1, -(-len(filled) // LOOKED_AT))] if (t := str(v).strip())]
    for rule in rules if cells else ():
        share = sum(bool(rule.fits(cell)) for cell in cells) / len(cells)
        named = rule.named(words)
        if (named and share >= rule.needed) or (rule.alone is not None and share >= rule.alone):
            header = "header and cells" if named else "cells"
            return Identifier(name, rule.kind, f"{header}: {round(100 * share)} % of filled cells {rule.said}", share)
    return None


def header_words(name: str) -> list[str]:
    """Return the words of a header in lower case: ``RecipientLastName`` is recipient, last, name."""
    split = re.sub(r"(?<=[^\W\d_A-ZА-Я])(?=[A-ZА-Я])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.sub(r"e[\s_-]mail", "email", re.sub(r"[\W_]+", " ", split.replace("-", "_")).lower()).split()


def is_ip(text: str) -> bool:
    """Return whether a text is an address of the internet, of version 4 or 6."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _has_digits(text: str, least: int, most: int) -> bool:
    return least <= sum(c.isdigit() for c in text) <= most


def _is_phone(text: str) -> bool:
    text = text.removesuffix(".0")
    return bool(PHONE.fullmatch(text)) and _has_digits(text, 7, 16)


def _are_degrees(text: str, pattern: re.Pattern) -> bool:
    return bool(pattern.fullmatch(text)) and abs(float(text.replace(",", "."))) <= 180


def _is_name(text: str) -> bool:
    return bool(WORDS.fullmatch(text)) and 2 <= len(text) <= 60 and text[0].isupper()


def _is_whole_name(text: str) -> bool:
    words = text.replace(".", " ").split()
    return 2 <= len(words) <= 4 and _is_name(text) and all(w[:1].isupper() for w in words)


def _is_address(text: str) -> bool:
    return 6 <= len(text) <= 200 and "@" not in text and bool(re.search(r"(?=.*\d).*[^\W\d_]{3}", text, re.S))


def _any_of(key: str) -> Callable[[list[str]], bool]:
    return lambda words: bool(HEADERS[key] & set(words))


def _names_a_person(words: list[str]) -> bool:
    joined = set(words) | {"".join(pair) for pair in zip(words, words[1:])}
    after = {first for first, second in zip(words, words[1:]) if second in ("name", "names")}
    return bool(joined & HEADERS["parts_of_names"]) or bool(after & HEADERS["before_name"])


def _names_a_phone(words: list[str]) -> bool:
    return bool(HEADERS["phones"] & set(words)) or any(w.startswith(tuple(HEADERS["phone_stems"])) for w in words)


def _names_a_place(words: list[str]) -> bool:
    short = len(words) <= 2 or any(w.startswith("geogr") for w in words)
    return bool(HEADERS["places"] & set(words)) or (short and bool(HEADERS["also_places"] & set(words)))


RULES = tuple(
    _Rule(*rule)
    for rule in (
        ("e-mail", "are e-mail addresses", EMAIL.fullmatch, _any_of("emails"), 0.2, 0.01),
        ("IP address", "are IP addresses", is_ip, _any_of("ips"), MOST, 0.01),
        ("coordinates", "are degrees", lambda t: _are_degrees(t, DEGREE), _any_of("places"), None, MOST),
        ("coordinates", "are degrees with decimals", lambda t: _are_degrees(t, FINE_DEGREE), _names_a_place, None, MOST),
        ("coordinates", "are pairs of degrees", PAIR.fullmatch, _names_a_place, MOST, 0.01),
        (
            "personal number", "are long numbers",
            lambda t: PERSONAL_NUMBER.fullmatch(t) and _has_digits(t, 6, 40), _any_of("numbers"), None, MOST,
        ),
        ("phone", "are phone numbers", _is_phone, _names_a_phone, None, MOST),
        (
            "phone", "are international phone numbers",
            lambda t: INTERNATIONAL.fullmatch(t) and _has_digits(t, 9, 16), _names_a_phone, ALMOST_ALL, MOST,
        ),
        ("name", "are capitalised words", _is_name, _names_a_person, None, MOST),
        (
            "name", "are two to four capitalised words",
            _is_whole_name, lambda w: len(w) == 1 and w[0] in PEOPLE, None, ALMOST_ALL,
        ),
        ("address", "hold words and a number", _is_address, _any_of("addresses"), None, MOST),
        ("address", "are postcodes", lambda t: POSTCODE.fullmatch(t.removesuffix(".0")), _any_of("postcodes"), None, MOST),
    )
)  # fmt: skip
