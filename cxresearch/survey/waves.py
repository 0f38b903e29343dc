"""The order of waves is the order of time: declared, by dates of answers, or read from the labels; never the alphabet."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, plain_text

SHOWN = 6  # labels named in a message

_MONTHS = (
    "jan january sty styczen stycznia янв январь января",
    "feb february lut luty lutego фев февр февраль февраля",
    "mar march marzec marca мар март марта",
    "apr april kwi kwiecien kwietnia апр апрель апреля",
    "may maj maja май мая",
    "jun june cze czerwiec czerwca июн июнь июня",
    "jul july lip lipiec lipca июл июль июля",
    "aug august sie sierpien sierpnia авг август августа",
    "sep sept september wrz wrzesien wrzesnia сен сент сентябрь сентября",
    "oct october paz pazdziernik pazdziernika окт октябрь октября",
    "nov november lis listopad listopada ноя нояб ноябрь ноября",
    "dec december gru grudzien grudnia дек декабрь декабря",
)
_QUARTER = set("q qtr quarter kw kwartal kwartalu k кв квартал квартала".split())
_HALF = set("h half halfyear polrocze polrocza polr п полугодие полугодия пол".split())
_FILLER = set("fy year rok roku r год года г of the wave fala волна w".split())
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}


def _folded(text: object) -> str:
    """Return lower-case text without accents, so that styczeń, STYCZEN and й as one sign or two are the same."""
    decomposed = unicodedata.normalize("NFKD", plain_text(text).casefold().replace("ł", "l"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


MONTH_OF = {_folded(word): month for month, words in enumerate(_MONTHS, 1) for word in words.split()}
QUARTER, HALF = {_folded(w) for w in _QUARTER}, {_folded(w) for w in _HALF}
FILLER = {_folded(w) for w in _FILLER}


def _months(label: object) -> tuple[int, int] | None:
    """Return the first month, counted from year 0, and the length in months that a label names; None if none."""
    text = _folded(label)
    if iso := re.fullmatch(r"((?:19|20)\d\d)[-./](\d{1,2})(?:[-./]\d{1,2})?", text) or re.fullmatch(
        r"(?:\d{1,2}[-./])?(?P<m>\d{1,2})[-./](?P<y>(?:19|20)\d\d)", text
    ):
        year, month = (iso["y"], iso["m"]) if "y" in iso.re.groupindex else iso.groups()
        return (12 * int(year) + int(month) - 1, 1) if 1 <= int(month) <= 12 else None
    words = re.findall(r"[^\W\d_]+|\d+", text)
    years = [w for w in words if re.fullmatch(r"(?:19|20)\d\d", w)]
    if len(years) != 1:
        return None
    start, rest = 12 * int(years[0]), [w for w in words if w != years[0]]
    numbers = [int(w) if w.isdigit() else _ROMAN[w] for w in rest if w.isdigit() or w in _ROMAN]
    names = [w for w in rest if not w.isdigit() and w not in _ROMAN]
    months = [MONTH_OF[w] for w in names if w in MONTH_OF]
    kinds = {("q" if w in QUARTER else "h") for w in names if w in QUARTER | HALF}
    if any(w not in MONTH_OF and w not in QUARTER | HALF | FILLER | {"m"} for w in names):
        return None
    if len(months) == 1 and not kinds and not numbers:
        return start + months[0] - 1, 1
    if kinds == {"q"} and len(numbers) == 1 and 1 <= numbers[0] <= 4 and not months:
        return start + 3 * (numbers[0] - 1), 3
    if kinds == {"h"} and len(numbers) == 1 and 1 <= numbers[0] <= 2 and not months:
        return start + 6 * (numbers[0] - 1), 6
    if names == ["m"] and len(numbers) == 1 and 1 <= numbers[0] <= 12:
        return start + numbers[0] - 1, 1
    return (start, 12) if not months and not kinds and not numbers else None


def _without_common_words(labels: Sequence[object]) -> list[str]:
    """Return labels without the words that all of them hold: "NPS Q1 2024" says its time as "Q1 2024" does."""
    words = [re.findall(r"[^\W\d_]+|\d+|[^\w\s]|_", _folded(label)) for label in labels]
    known = set(MONTH_OF) | QUARTER | HALF | set(_ROMAN) | {"m"}
    common = set.intersection(*map(set, words)) if len(words) > 1 else set()
    common = {w for w in common if w.isalpha() and w not in known}
    return [" ".join(w for w in label if w not in common) for label in words]


def _time_of_labels(labels: Sequence[object]) -> list[float] | None:
    """Return one number a label that orders them in time; None where they do not say it."""
    spans = [_months(label) for label in labels]
    if None in spans:
        spans = [_months(label) for label in _without_common_words(labels)]
    if None not in spans:
        ordered = sorted(spans)
        apart = all(a + n <= b for (a, n), (b, _) in zip(ordered, ordered[1:]))
        return [float(start) for start, _ in spans] if apart else None
    found = [re.fullmatch(r"(\D*)(\d+(?:\.0)?)(\D*)", _folded(label)) for label in labels]
    if None in found or len({(m[1].strip(), m[3].strip()) for m in found}) > 1:
        return None
    numbers = [float(m[2]) for m in found]
    return numbers if len(set(numbers)) == len(numbers) else None


def _time_of_dates(labels: Sequence[object], waves: pd.Series, dates: pd.Series) -> list[float] | None:
    """Return the median day of each wave; None where a wave has no date or two share a median."""
    when = pd.to_datetime(dates, errors="coerce", utc=True)
    middle = when.groupby(waves.to_numpy()).median().reindex(list(labels))
    if middle.isna().any() or middle.duplicated().any():
        return None
    return [float(stamp.value) for stamp in middle]


def wave_order(
    waves: pd.Series, *, declared: Sequence | None = None, dates: pd.Series | None = None, sources: Sequence = ()
) -> tuple:
    """Return the labels of `waves` in the order of time: as `declared`; else as an ordered Categorical, the median days of
    their `dates` and the labels themselves say, which must agree; else as the study names its files, `sources`.

    What `declared` leaves out, contradictions, and labels of which nothing tells the time are refused.
    """
    column = waves.name
    labels = list(pd.unique(waves.dropna()))
    labels = list(waves.cat.categories[waves.cat.categories.isin(labels)]) if hasattr(waves, "cat") else labels
    if declared is not None:
        _require_all_declared(column, labels, declared)
        place = {plain_text(label): i for i, label in enumerate(declared)}
        return tuple(sorted(labels, key=lambda label: place[plain_text(label)]))
    if len(labels) < 2:
        return tuple(labels)
    spoken = {
        "the order of the categories": range(len(labels)) if hasattr(waves, "cat") and waves.cat.ordered else None,
        "the dates of the answers": None if dates is None else _time_of_dates(labels, waves, dates),
        "the labels": _time_of_labels(labels),
    }
    orders = {who: tuple(labels[i] for i in np.argsort(at)) for who, at in spoken.items() if at is not None}
    if len(set(orders.values())) > 1:
        said = "; ".join(f"{who}: {_listed(order)}" for who, order in orders.items())
        raise DataProblem(
            f"{column}: the order of waves is contradicted ({said}); say which holds with waves: [...], first to last"
        )
    if orders:
        return next(iter(orders.values()))
    if set(map(plain_text, sources)) >= set(map(plain_text, labels)):
        place = {plain_text(label): i for i, label in enumerate(sources)}
        return tuple(sorted(labels, key=lambda label: place[plain_text(label)]))
    raise DataProblem(
        f"{column}: nothing says in which order {_listed(sorted(labels, key=str))} came; declare waves: [...], "
        "first to last, or the column that says when each was answered (asked_at)"
    )


def _require_all_declared(column, labels, declared) -> None:
    known, found = set(map(plain_text, declared)), set(map(plain_text, labels))
    if len(known) < len(list(declared)):
        raise DataProblem(f"waves names a wave twice: {_listed(declared)}; name each once, first to last")
    if absent := [label for label in labels if plain_text(label) not in known]:
        raise DataProblem(
            f"{column} holds {_listed(absent)}, which waves: [{_listed(declared)}] leaves out; name every wave, "
            "first to last"
        )
    if strange := [label for label in declared if plain_text(label) not in found]:
        raise DataProblem(f"waves names {_listed(strange)}, which {column} does not hold; it holds {_listed(labels)}")


def _listed(labels) -> str:
    shown = [str(label) for label in labels]
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
