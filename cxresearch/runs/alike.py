"""Whether two files of findings say the same to six digits: processors differ in the last ones."""

import csv
import io
import json
import math
import re
from pathlib import PurePath

from cxresearch.digits import RESIDUE

SIX_DIGITS = 1e-6  # relative
IMAGE = re.compile(r'data:image/[^"]*|"image/[a-z+]+": "[^"]*"')
NUMBER = re.compile(r"(\d+\.\d+(?:e[-+]?\d+)?)")


def alike(name: str, was: bytes, now: bytes) -> bool:
    """Return whether two states of a file are the same: text to the letter, numbers to six digits."""
    if was == now:
        return True
    words = dict.fromkeys((".html", ".ipynb", ".md"), _words)
    read = {".csv": _rows, ".json": json.loads, **words}.get(PurePath(name).suffix)
    if read is None:
        return False
    try:
        return same_values(*(read(content.decode("utf-8")) for content in (was, now)))
    except (ValueError, csv.Error):
        return False


def same_values(a, b) -> bool:
    """Return whether two values of JSON are the same, numbers to six digits."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same_values(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_values, a, b))
    return math.isclose(a, b, rel_tol=SIX_DIGITS) if _is_number(a) and _is_number(b) else type(a) is type(b) and a == b


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _rows(text: str) -> list:
    """Return the columns of a CSV, headings first, as lists of numbers and texts; residues of a column are 0."""
    rows = [[_parsed(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("rows of different length")
    return [_without_residues(list(column)) for column in zip(*rows)]


def _words(text: str) -> list:
    """Return the text of a page or notebook without its images, numbers apart."""
    return [_parsed(part) for part in NUMBER.split(IMAGE.sub("", text))]


def _parsed(cell: str):
    try:
        value = float(cell)
    except ValueError:
        return cell
    return value if math.isfinite(value) and "_" not in cell else cell


def _without_residues(column: list) -> list:
    largest = max((abs(v) for v in column if isinstance(v, float)), default=0.0)
    return [0.0 if isinstance(v, float) and abs(v) <= 2 * RESIDUE * largest else v for v in column]
