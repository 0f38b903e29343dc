"""The ways a study or an analysis is refused: where (file, table, column, row), what was found, and what to do."""

import difflib
import re
import unicodedata

OBEYED = re.compile("[\x00-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")  # by a terminal
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")


class DataProblem(ValueError):
    """The data cannot answer the question as asked."""

    def _render_traceback_(self) -> list[str]:  # for IPython: a researcher needs the sentence, not forty frames of ours
        return [f"{type(self).__name__}: {self}"]


class StudyProblem(DataProblem):
    """`study.yml`, or a table it names, is wrong."""


class TooFewRespondents(DataProblem):
    """Too few rows to fit, or to show."""


def composed(value) -> str:
    """Return text with accents composed (NFC), without signs nobody sees and spaces around; what a terminal obeys is �."""
    text = str(value).strip()
    if text.isascii() and text.isprintable():
        return text
    return OBEYED.sub("\N{REPLACEMENT CHARACTER}", INVISIBLE.sub("", unicodedata.normalize("NFC", text))).strip()


def plain_text(value) -> str:
    """Return text as it is compared: `composed`, with one space between words."""
    return " ".join(composed(value).split())


def nearest(name: str, known) -> str:
    """Return ``; did you mean 'a', 'b'?`` for the known names nearest to `name`, or nothing."""
    by_folded = {str(k).strip().casefold(): str(k) for k in known}
    found = difflib.get_close_matches(str(name).strip().casefold(), by_folded, n=3, cutoff=0.6)
    return f"; did you mean {', '.join(repr(by_folded[f]) for f in found)}?" if found else ""


def require_columns(table, *columns: str | None, where: str = "the table") -> None:
    """Raise `DataProblem` for the first of `columns` that `table` lacks or has twice (None is not asked for)."""
    if not hasattr(table, "columns"):
        raise DataProblem(f"{where} must be a table with named columns; found {type(table).__name__}")
    if hasattr(table, "index") and not len(table):  # the engine would have to count the rows of a relation
        raise DataProblem(f"{where} has no rows")
    for column in (column for column in columns if column is not None):
        if (same := list(table.columns).count(column)) > 1:
            raise DataProblem(f"{where} has {same} columns named {column!r}; rename or drop all but one")
        if not same:  # that they look alike: accents composed or not, spaces, signs without width
            twins = [c for c in table.columns if plain_text(c) == plain_text(column)]
            other = f"writes {column!r} with other signs, {ascii(twins[0])}; rename that column" if twins else ""
            raise DataProblem(f"{where} {other or f'has no column {column!r}{nearest(column, table.columns)}'}")


def require_choice(name: str, value, choices) -> None:
    """Raise `DataProblem` unless option `name` has one of the `choices`."""
    if value not in choices:
        raise DataProblem(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")


def require_share(name: str, value: float) -> None:
    """Raise `DataProblem` unless `value` lies strictly between 0 and 1."""
    if isinstance(value, (str, type(None))) or not 0 < value < 1:
        raise DataProblem(f"{name}={value!r} must lie between 0 and 1, for example 0.95")
