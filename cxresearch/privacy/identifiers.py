"""Columns that name a person: e-mail, phone, name, address, IP, coordinates, national number.

What a column is called and what its cells hold are both looked at. Cells alone decide where their form is unmistakable
(e-mail, IP, international phone numbers, pairs of coordinates); elsewhere the header must say so and the cells must be
able to be it: a column ``email`` of yes and no is a question, and an ``airline_name`` is nobody's name.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

LOOKED_AT = 5000
MOST, ALMOST_ALL = 0.5, 0.8

EMAIL = re.compile(r"(?:mailto:)?[\w.+%'-]+@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}", re.I)
PHONE = re.compile(r"(?:tel\.?:?\s*)?\+?[\d\s().\-–/]{7,24}(?:(?:ext|x|wew)\.?\s*\d{1,5})?", re.I)
INTERNATIONAL = re.compile(r"(?:\+|00)\s?\d[\d\s().\-–/]{7,20}")
PAIR = re.compile(r"[(\[]?\s*-?\d{1,2}\.\d{3,}\s*[,;\s]\s*-?\d{1,3}\.\d{3,}\s*[)\]]?|POINT\s?\(.+\)", re.I)
WORDS = re.compile(r"[^\W\d_][^\W\d_.'’\-]*(?:[.'’\- ]+[^\W\d_][^\W\d_.'’\-]*){0,4}\.?")
POSTCODE = re.compile(
    r"\d{5}(?:-\d{4})?|\d{2}-\d{3}|\d{6}|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d", re.I
)

# Words of headers, lower case, camelCase and signs split: English, Polish, Russian, German (survey platforms).
PARTS_OF_NAMES = {
    "firstname", "lastname", "surname", "forename", "fullname", "givenname", "familyname", "middlename", "username",
    "imię", "imie", "imiona", "nazwisko", "nazwiska", "имя", "фамилия", "отчество", "фио", "vorname", "nachname",
}  # fmt: skip
BEFORE_NAME = {
    "first", "last", "middle", "full", "given", "family", "maiden", "your", "person", "customer", "client", "contact",
    "respondent", "recipient", "guest", "patient", "passenger", "employee", "user", "member", "participant", "account",
    "agent", "author", "reviewer", "sender", "buyer",
}  # fmt: skip
PHONES = {"tel", "тел", "mobile", "cell", "cellphone", "fax", "mobil", "whatsapp", "msisdn"}
PHONE_STEMS = ("phone", "telephon", "telefon", "komórk", "телефон", "мобильн")
EMAILS = {"email", "mail", "emailaddress", "почта", "имейл", "emailadresse"}
IPS = {"ip", "ipaddress", "ipadresse"}
PLACES = {
    "latitude", "longitude", "lng", "latlon", "latlong", "latlng", "gps", "coordinates", "coords", "współrzędne",
    "широта", "долгота", "координаты", "breitengrad", "längengrad",
}  # fmt: skip
ALSO_PLACES = {"lat", "lon", "long", "długość", "szerokość"}  # years, length and width elsewhere
PEOPLE = {
    "name", "names", "author", "reviewer", "customer", "client", "contact", "respondent", "guest", "employee", "agent",
    "klient", "klientka", "клиент", "респондент",
}  # fmt: skip
ADDRESSES = {
    "address",
    "street",
    "addr",
    "adres",
    "ulica",
    "адрес",
    "улица",
    "adresse",
    "straße",
    "strasse",
    "zamieszkania",
}
POSTCODES = {"postcode", "postal", "zip", "zipcode", "pocztowy", "индекс", "plz"}
NUMBERS = {"pesel", "ssn", "nip", "passport", "paszport", "инн", "снилс", "паспорт", "dowód", "nino", "iban"}


class Identifier(NamedTuple):
    """A column that names a person.

    Attributes
    ----------
    column
        Its header.
    kind
        e-mail, phone, IP address, coordinates, name, address or personal number.
    reason
        What in the header and in the cells says so.
    share
        Of the filled cells that look like it, 0-1.
    """

    column: str
    kind: str
    reason: str
    share: float


class _Rule(NamedTuple):
    kind: str
    said: str  # what the cells look like
    fits: Callable[[str], bool]
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
    rules = [r for r in RULES if r.alone is not None or r.named(words)]
    if pd.api.types.is_numeric_dtype(column):
        rules = [r for r in rules if r.named(words)]
    cells = _cells(column) if rules else []
    for rule in rules if len(cells) else ():
        share = sum(rule.fits(cell) for cell in cells) / len(cells)
        named = rule.named(words)
        if (named and share >= rule.needed) or (rule.alone is not None and share >= rule.alone):
            header = "header and cells" if named else "cells"
            return Identifier(name, rule.kind, f"{header}: {round(100 * share)} % of filled cells {rule.said}", share)
    return None


def header_words(name: str) -> list[str]:
    """Return the words of a header in lower case: ``RecipientLastName`` is recipient, last, name."""
    split = re.sub(r"(?<=[^\W\d_A-ZА-Я])(?=[A-ZА-Я])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.sub(r"e[\s_-]mail", "email", re.sub(r"[\W_]+", " ", split.replace("-", "_")).lower()).split()


def _cells(column: pd.Series) -> list[str]:
    filled = column.dropna()
    step = max(1, -(-len(filled) // LOOKED_AT))
    texts = (str(v).strip() for v in filled.iloc[::step])
    return [t for t in texts if t]


def _is_ip(text: str) -> bool:
    if text.count(".") != 3 and ":" not in text:
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_phone(text: str) -> bool:
    return (
        bool(PHONE.fullmatch(text.removesuffix(".0"))) and 7 <= sum(c.isdigit() for c in text.removesuffix(".0")) <= 16
    )


def _is_international(text: str) -> bool:
    return bool(INTERNATIONAL.fullmatch(text)) and 9 <= sum(c.isdigit() for c in text) <= 16


def _is_degree(text: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d{1,3}([.,]\d+)?", text)) and abs(float(text.replace(",", "."))) <= 180


def _is_coordinate(text: str) -> bool:
    """Degrees with at least two decimals: finer than about a kilometre."""
    plain = text.replace(",", ".").lstrip("+-")
    return bool(re.fullmatch(r"\d{1,3}\.\d{2,}", plain)) and float(plain) <= 180 or bool(PAIR.fullmatch(text))


def _is_name(text: str) -> bool:
    return bool(WORDS.fullmatch(text)) and 2 <= len(text) <= 60 and text[0].isupper()


def _is_whole_name(text: str) -> bool:
    words = text.replace(".", " ").split()
    return 2 <= len(words) <= 4 and _is_name(text) and all(w[:1].isupper() for w in words)


def _is_address(text: str) -> bool:
    return (
        bool(re.search(r"[^\W\d_]{3,}", text))
        and bool(re.search(r"\d", text))
        and 6 <= len(text) <= 200
        and "@" not in text
    )


def _is_personal_number(text: str) -> bool:
    return bool(re.fullmatch(r"[A-ZА-Я]{0,4}[\d\s-]{6,34}[A-Z]?", text, re.I)) and sum(c.isdigit() for c in text) >= 6


def _any_of(known: set[str]) -> Callable[[list[str]], bool]:
    return lambda words: bool(known & set(words))


def _names_a_person(words: list[str]) -> bool:
    joined = set(words) | {"".join(pair) for pair in zip(words, words[1:])}
    after = {first for first, second in zip(words, words[1:]) if second in ("name", "names")}
    return bool(joined & PARTS_OF_NAMES) or bool(after & BEFORE_NAME)


def _names_a_phone(words: list[str]) -> bool:
    return bool(PHONES & set(words)) or any(w.startswith(PHONE_STEMS) for w in words)


def _names_a_place(words: list[str]) -> bool:
    short = len(words) <= 2 or any(w.startswith("geogr") for w in words)
    return bool(PLACES & set(words)) or (short and bool(ALSO_PLACES & set(words)))


RULES = (
    _Rule("e-mail", "are e-mail addresses", lambda t: bool(EMAIL.fullmatch(t)), _any_of(EMAILS), 0.2, 0.01),
    _Rule("IP address", "are IP addresses", _is_ip, _any_of(IPS), MOST, 0.01),
    _Rule("coordinates", "are degrees", _is_degree, _any_of(PLACES), None, MOST),
    _Rule("coordinates", "are degrees with decimals", _is_coordinate, _names_a_place, None, MOST),
    _Rule("coordinates", "are pairs of degrees", lambda t: bool(PAIR.fullmatch(t)), _names_a_place, MOST, 0.01),
    _Rule("personal number", "are long numbers", _is_personal_number, _any_of(NUMBERS), None, MOST),
    _Rule("phone", "are phone numbers", _is_phone, _names_a_phone, None, MOST),
    _Rule("phone", "are international phone numbers", _is_international, _names_a_phone, ALMOST_ALL, MOST),
    _Rule("name", "are capitalised words", _is_name, _names_a_person, None, MOST),
    _Rule(
        "name",
        "are two to four capitalised words",
        _is_whole_name,
        lambda w: len(w) == 1 and w[0] in PEOPLE,
        None,
        ALMOST_ALL,
    ),
    _Rule("address", "hold words and a number", _is_address, _any_of(ADDRESSES), None, MOST),
    _Rule(
        "address",
        "are postcodes",
        lambda t: bool(POSTCODE.fullmatch(t.removesuffix(".0"))),
        _any_of(POSTCODES),
        None,
        MOST,
    ),
)
