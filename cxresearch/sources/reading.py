"""What is asked of a reader, and what it gives back."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import plain_text

WHITESPACE = "whitespace"


class Reading(NamedTuple):
    """How a file is to be read.

    `encoding` may name two encodings: what the first leaves undecoded, or decodes as a control character
    (0x80-0x9F), is decoded by the second. That is how files look into which two systems wrote.
    `header` says what each header row holds (`columns.HEADERS`); no row: columns are called ``column 1``, ...
    `records` names the list of records inside a JSON file.
    """

    encoding: tuple[str, ...] = ()
    encoding_errors: str = "strict"
    separator: str = ","
    sheet: str | None = None
    header: tuple[str, ...] = ("name",)
    records: str | None = None


class Meanings(NamedTuple):
    """What a file says about its columns beside the cells; each is header -> something."""

    labels: dict[str, str] = {}  # the question
    codes: dict[str, dict[float | str, str]] = {}  # stored code -> its words
    missing: dict[str, list[tuple]] = {}  # lowest and highest code of each user-missing range

    def named(self, wanted: Iterable[str]) -> "Meanings":
        """Return the same under the names that were asked for, which may lack the spaces of the file's."""
        plain = [{plain_text(k): v for k, v in by.items()} | by for by in self]
        return Meanings(*({w: by[k] for w in wanted for k in (plain_text(w), w) if k in by} for by in plain))


class RawTable(NamedTuple):
    """What a file holds: `frame` has the wanted columns under the wanted names; `notes` say what was done to bytes.

    `digest` (SHA-256) is that of a query and its rows, which no file holds.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    meanings: Meanings = Meanings()
    digest: str | None = None


Header = list[list[str]]  # the cells of each header row
Choose = Callable[[Header, int], list[int]]  # header rows, number of columns -> positions of the columns to read
