"""What names a person: columns that do (e-mail, phone, name, address, IP, coordinates, national number), and ids.

What a column is called and what its cells hold are both looked at (rows of ``personal.toml``). Cells alone decide where
their form is unmistakable (e-mail, IP, international phone numbers, pairs of coordinates); elsewhere the header must say
so and the cells must be able to be it: a column ``email`` of yes and no is a question, and an ``airline_name`` is
nobody's name.

An id becomes a keyed pseudonym: always the same, and nobody without the key can go back or try ids out. A plain hash of an
e-mail address is undone by hashing a list of them; a keyed one is not. Each study has a key of its own, so that its
pseudonyms cannot be linked with another's. Pseudonymised data stay personal data (Krawczyk, Bellare & Canetti 1997,
RFC 2104: HMAC; Article 29 Working Party 2014, Opinion 05/2014).
"""

import hmac
import ipaddress
import os
import re
import secrets
import tomllib
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import DataProblem, composed

PERSONAL = tomllib.loads(Path(__file__).with_name("personal.toml").read_text(encoding="utf-8"))
LOOKED_AT = 5000  # cells of a column, evenly spaced
KEY_VARIABLE = "CXRESEARCH_KEY"
KEY_OF_RUN = "CXRESEARCH_KEY_OF_RUN"  # set by a run for its kernels where there is no key, so that its notebooks agree
PSEUDONYMS = "pseudonyms"  # in the attrs of a table: its columns of pseudonyms
SHORTEST_KEY, LENGTH = 16, 20  # characters; hexadecimal digits: two of ten million ids collide with probability 4e-11


def forms(words) -> set[str]:
    """Return words, or phrases, with and without their accents."""
    plain = (unicodedata.normalize("NFD", word.replace("ł", "l").replace("Ł", "L")) for word in words)
    return {*words, *("".join(c for c in word if not unicodedata.combining(c)) for word in plain)}


HEADERS = {key: forms(words.split()) for key, words in PERSONAL["headers"].items()}
HEADERS["parts_of_names"] |= {word + name for word in HEADERS["before_name"] for name in ("name", "names")}
PEOPLE = HEADERS["people"]


class _Rule(NamedTuple):
    """A row of ``personal.toml``, where its keys are described."""

    kind: str
    said: str
    needed: float
    words: str = ""
    begins: str = ""
    short: str = ""
    at_most: int = 0
    cells: str = ""
    capitals: int = 0
    alone: float = 2.0

    def named(self, words: list[str]) -> bool:
        together, short = {*words, *map("".join, zip(words, words[1:]))}, words if len(words) <= self.at_most else ()
        listed = HEADERS.get(self.words, set()) & together or HEADERS.get(self.short, set()).intersection(short)
        return bool(listed) or any(word.startswith(tuple(HEADERS.get(self.begins, ()))) for word in words)

    def fits(self, cell: str) -> bool:
        if not self.cells:
            return is_ip(cell)
        words = cell.replace(".", " ").split()[: self.capitals]
        return bool(re.fullmatch(self.cells, cell, re.I)) and all(word[0].isupper() for word in words)


RULES = [_Rule(**row) for row in PERSONAL["identifiers"]]


def find_identifier(header: str | None, column: pd.Series) -> str | None:
    """Return how a column names a person directly, such as ``e-mail (cells: 90 % of filled cells are e-mail addresses)``."""
    types = pd.api.types
    if types.is_bool_dtype(column) or types.is_datetime64_any_dtype(column):
        return None
    words, numeric = header_words(header or ""), types.is_numeric_dtype(column)
    rules = [(r, named) for r in RULES if (named := r.named(words)) or (r.alone <= 1 and not numeric)]
    filled = column.dropna() if rules else column.iloc[:0]
    cells = Counter(t for v in filled.iloc[:: max(1, -(-len(filled) // LOOKED_AT))] if (t := looks_like(v)))
    for rule, named in rules if cells else ():
        share = sum(n for cell, n in cells.items() if rule.fits(cell)) / cells.total()
        if share >= (min(rule.needed, rule.alone) if named else rule.alone):
            told_by = "header and cells" if named else "cells"
            return f"{rule.kind} ({told_by}: {round(100 * share)} % of filled cells {rule.said})"
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


@dataclass(frozen=True)
class PseudonymKey:
    """The secret of one study (32 bytes), and whether it lasts: comes from the environment, and not from this process."""

    secret: bytes = field(repr=False)
    lasting: bool

    def said(self) -> str:
        """Return in a sentence where the key comes from and what follows from it."""
        if self.lasting:
            return f"Pseudonyms are keyed by {KEY_VARIABLE} and this study's title: they stay the same from run to run."
        return (
            f"{KEY_VARIABLE} is not set: pseudonyms are keyed at random and differ from run to run, so that people "
            "cannot be followed from one to the next."
        )


def study_key(title: str) -> PseudonymKey:
    """Return the key of the study called `title`, from ``CXRESEARCH_KEY``; `DataProblem` if that can be guessed."""
    master = os.environ.get(KEY_VARIABLE, "")
    if master and len(master) < SHORTEST_KEY:
        raise DataProblem(
            f"{KEY_VARIABLE} holds {len(master)} characters, which can be guessed; give it at least {SHORTEST_KEY}, "
            'for example from: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    secret = (master or os.environ.get(KEY_OF_RUN, "") or _random_secret()).encode()
    return PseudonymKey(_hmac(secret, f"cxresearch study: {looks_like(title)}"), bool(master))


def environment_of_run() -> dict[str, str]:
    """Return what a run adds to the environment of its kernels: a random key, unless there is a lasting one."""
    return {} if os.environ.get(KEY_VARIABLE) else {KEY_OF_RUN: _random_secret()}


def pseudonymise(ids: pd.Series, *, key: PseudonymKey) -> pd.Series:
    """Return the ids as ``p`` and 20 hexadecimal digits of HMAC-SHA-256, missing where an id is missing or blank.

    Ids that look the same get the same one (`looks_like`); leading zeros and capitals stay.
    """
    positions, values = pd.factorize(ids)
    texts = map(looks_like, values)
    made = pd.array([f"p{_hmac(key.secret, text).hex()[:LENGTH]}" if text else None for text in texts], dtype="str")
    return pd.Series(pd.api.extensions.take(made, positions, allow_fill=True), index=ids.index, name=ids.name)


def unsorted(found: pd.DataFrame, source: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a table with one row per id as `source` first names these, if they are pseudonyms.

    Their alphabet differs from key to key, and no result may.
    """
    if column not in source.attrs.get(PSEUDONYMS, ()):
        return found
    places = pd.Index(source[column].dropna().unique()).get_indexer(found[column])
    return found.iloc[places.argsort(kind="stable")].reset_index(drop=True)


def looks_like(value) -> str:
    """Return the text by which ids are compared: `composed`, ``17.0`` as ``17``."""
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", composed(value))


def _hmac(secret: bytes, text: str) -> bytes:
    return hmac.digest(secret, text.encode("utf-8", errors="surrogatepass"), "sha256")


@cache
def _random_secret() -> str:
    return secrets.token_urlsafe(32)
