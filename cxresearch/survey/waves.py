"""The order of waves is the order of time: declared, by dates of answers, or read from the labels; never the alphabet."""

import re
import tomllib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxresearch.errors import plain_text
from cxresearch.findings import say

YEAR = r"(?:19|20)\d\d"
WRITTEN = {  # dates in figures, as a year and its month
    rf"^({YEAR})[-./](\d{{1,2}})(?:[-./]\d{{1,2}})?$": r"\1 m \2",
    rf"^(?:\d{{1,2}}[-./])?(\d{{1,2}})[-./]({YEAR})$": r"\2 m \1",
}


def _words(text: object) -> list[str]:
    """Return words and numbers without capitals and accents: styczeń, STYCZEN and й as one sign or two are the same."""
    plain = re.sub(r"(\.0| 00:00:00)$", "", plain_text(text).casefold().replace("ł", "l"))
    folded = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    for pattern, year_first in WRITTEN.items():
        folded = re.sub(pattern, year_first, folded)
    return re.findall(r"[^\W\d_]+|\d+", folded)


KNOWN = {  # word -> its kind and value
    word: (kind, int(value))
    for kind, entries in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
    for value, words in entries.items()
    for word in _words(words)
}


def _span(words: Sequence[str]) -> tuple[set | None, int, int] | None:
    """Return (None, first month since year 0, months) that words name, or (unit, number, 1) without a year; None if none."""
    numbers = {w: ("years" if re.fullmatch(YEAR, w) else "numbers", int(w)) for w in words if w.isdecimal()}
    pairs = sorted((numbers | KNOWN).get(word, ("unknown", 0)) for word in words)
    units = sorted({pair for pair in pairs if pair[0] == "units"})
    match [pair for pair in pairs if pair[0] not in ("units", "fillers")] + units:
        case [("years", year)]:
            return None, 12 * year, 12
        case [("months", month), ("years", year)]:
            return None, 12 * year + month - 1, 1
        case [("numbers", nth), ("years", year), ("units", length)] if 1 <= nth <= 12 // length:
            return None, 12 * year + length * (nth - 1), length
        case [("numbers", nth), *rest] if rest == units:
            return {length for _, length in units}, nth, 1


def _time_of_labels(labels: Sequence[object]) -> list[float] | None:
    """Return one number a label that orders them in time; None where they do not say it."""
    words = [_words(label) for label in labels]  # "NPS Q1 2024" says its time as "Q1 2024" does
    common = {w for w in set.intersection(*map(set, words)) if w not in KNOWN and not w.isdigit()}
    spans = [_span([w for w in label if w not in common]) for label in words]
    if None in spans or any(span[0] != spans[0][0] for span in spans):
        return None
    ordered = sorted(span[1:] for span in spans)
    apart = all(a + n <= b for (a, n), (b, _) in zip(ordered, ordered[1:]))
    return [float(start) for _, start, _ in spans] if apart else None


def wave_order(
    waves: pd.Series, *, declared: Sequence | None = None, dates: pd.Series | None = None, sources: Sequence = ()
) -> tuple:
    """Return the labels of `waves` in the order of time: as `declared`; else as an ordered Categorical, the median days of
    their `dates` and the labels themselves say, which must agree; else as `sources`, the files of a study; else refused.
    """
    column, categories = waves.name, getattr(waves.dtype, "categories", None)
    found = list(waves.dropna().unique())
    labels = found if categories is None else list(categories[categories.isin(found)])
    present = set(map(plain_text, labels))
    if declared is not None:
        known, listed = set(map(plain_text, declared)), _listed(declared)
        say.refuse_if(len(known) < len(list(declared)), "wave_twice", labels=listed)
        absent = [label for label in labels if plain_text(label) not in known]
        say.refuse_if(absent, "wave_left_out", column=column, absent=_listed(absent), labels=listed)
        strange = [label for label in declared if plain_text(label) not in present]
        say.refuse_if(strange, "wave_unknown", strange=_listed(strange), column=column, labels=_listed(labels))
    elif len(labels) > 1:
        spoken = {"the order of the categories": range(len(labels)) if getattr(waves.dtype, "ordered", False) else None}
        if dates is not None:
            days = pd.to_datetime(dates, errors="coerce", utc=True).groupby(waves.to_numpy()).median().reindex(labels)
            # a wave without a date, or two that share their median, leave the dates silent
            spoken["the dates of the answers"] = None if days.isna().any() or days.duplicated().any() else days
        spoken["the labels"] = _time_of_labels(labels)
        orders = {who: tuple(labels[i] for i in np.argsort(at)) for who, at in spoken.items() if at is not None}
        said = "; ".join(f"{who}: {_listed(order)}" for who, order in orders.items())
        say.refuse_if(len({*orders.values()}) > 1, "contradicted", column=column, said=said)
        silent = not orders and not set(map(plain_text, sources)) >= present
        say.refuse_if(silent, "unordered", column=column, labels=_listed(sorted(labels, key=str)))
        declared = next(iter(orders.values()), sources)
    place = [plain_text(label) for label in declared or labels]
    return tuple(sorted(labels, key=lambda label: place.index(plain_text(label))))


def _listed(labels) -> str:
    shown = [str(label) for label in labels]
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")
