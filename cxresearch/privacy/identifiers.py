"""Columns that name a person: e-mail, phone, name, address, IP, coordinates, national number.

What a column is called and what its cells hold are both looked at (rows of ``personal.toml``). Cells alone decide where
their form is unmistakable (e-mail, IP, international phone numbers, pairs of coordinates); elsewhere the header must say
so and the cells must be able to be it: a column ``email`` of yes and no is a question, and an ``airline_name`` is
nobody's name.
"""

import ipaddress
import re
import tomllib
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxresearch.privacy.pseudonyms import looks_like

PERSONAL = tomllib.loads(Path(__file__).with_name("personal.toml").read_text(encoding="utf-8"))
LOOKED_AT = 5000


def forms(words) -> set[str]:
    """Return words, or phrases, with and without their accents."""
    plain = (unicodedata.normalize("NFD", word.replace("ł", "l").replace("Ł", "L")) for word in words)
    return {*words, *("".join(c for c in word if not unicodedata.combining(c)) for word in plain)}


HEADERS = {key: forms(words.split()) for key, words in PERSONAL["headers"].items()}
HEADERS["parts_of_names"] |= {word + name for word in HEADERS["before_name"] for name in ("name", "names")}
PEOPLE = HEADERS["people"]


class Identifier(NamedTuple):
    """A column that names a person: its header, the kind, what says so, and the share of filled cells like it (0-1)."""

    column: str
    kind: str
    reason: str
    share: float


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
        """Return whether a header of these words says so."""
        together, short = {*words, *map("".join, zip(words, words[1:]))}, words if len(words) <= self.at_most else ()
        begins = tuple(HEADERS.get(self.begins, ()))
        listed = HEADERS.get(self.words, set()) & together or HEADERS.get(self.short, set()).intersection(short)
        return bool(listed) or any(word.startswith(begins) for word in words)

    def fits(self, cell: str) -> bool:
        """Return whether a cell can be of this kind."""
        if not self.cells:
            return is_ip(cell)
        words = cell.replace(".", " ").split()[: self.capitals]
        return bool(re.fullmatch(self.cells, cell, re.I)) and all(word[0].isupper() for word in words)


RULES = [_Rule(**row) for row in PERSONAL["identifiers"]]


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
    rules = [(r, named) for r in RULES if (named := r.named(words)) or (r.alone <= 1 and not numeric)]
    filled = column.dropna() if rules else column.iloc[:0]
    cells = [t for v in filled.iloc[:: max(1, -(-len(filled) // LOOKED_AT))] if (t := looks_like(v))]
    for rule, named in rules if cells else ():
        share = sum(map(rule.fits, cells)) / len(cells)
        if share >= (min(rule.needed, rule.alone) if named else rule.alone):
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
