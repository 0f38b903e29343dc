"""What each column of an unknown file may be: an item with scale, codes and role, or one of the table's own columns."""

import keyword
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from cxresearch.intake.dates import guess_dates
from cxresearch.intake.profile import CODES, NO_ANSWER, Column, is_word
from cxresearch.intake.rating import RATING, RECOMMEND, Scale, answers_of, guess_scale, is_ratinglike
from cxresearch.study.schema import TABLES, Tables

SATISFIED = re.compile(r"\b(satisf\w*|zufrieden\w*|zadowol\w*|удовлетвор\w*|overall\w*|csat|q7all)\b")
OVERALL = re.compile(r"\b(overall|q7all|general|insgesamt|ogóln\w*|gesamt\w*|в целом)\b|\w+all$")
EASE = re.compile(r"\b(ces|easy|ease|effort)\b")
WHO = re.compile(
    r"\b(age|gender|sex|region|country|income|education|alter|geschlecht|wiek|płeć|пол|возраст|type traveller|cabin flown|"
    r"segment|home|firm size|industry|customer type|kids|locality|ethnicity)\b"
)
ASKED = re.compile(r"date|asked|time|stamp|datum|zeit|data\b|submitted|дата|когда")
MULTIPLE = re.compile(r"(?:[^;|]{1,12}[;|])+[^;|]{0,12}")
SPELLED = re.compile(r"\s*([0-9]{1,2})\s*[-–—=:(]\s*\(?[^\W\d_]")
FEW_WORDS = 25
KEY_LENGTH = 30


class Battery(NamedTuple):
    """Where the scale of columns asked together starts and ends, and whether anybody answered the end."""

    low: int
    high: int
    reached: bool


@dataclass
class Guess:
    """An item as it will be written: keys of `study.yml`, why, and what is doubtful."""

    key: str
    column: str | dict[str, str]
    given: dict = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def guess_items(columns: list[Column]) -> tuple[list[Guess], list[str]]:
    """Return a guess for each column that can be an item, and why others are left out."""
    tops, keys = _tops(columns), set(_reserved())
    guesses, left = [], []
    for column in columns:
        if not column.filled:
            left.append(f"{column.name}: empty")
            continue
        guess = Guess(_key(column, keys), column.name)
        if column.label and column.label != column.name:
            guess.given["label"] = column.label
        _fill(guess, column, tops.get(column.name))
        guesses.append(guess)
    _rename_choices(guesses)
    _roles(guesses, {c.name: c for c in columns}, tops)
    return guesses, left


def _rename_choices(guesses: list[Guess]) -> None:
    """Give a multiple choice another key where its columns (q2_1, q2_2) would take those of other items."""
    keys = {guess.key for guess in guesses}
    for guess in guesses:
        if "multiple" in guess.given and any(
            f"{guess.key}_{re.sub(r'[^0-9A-Za-z_]', '_', c)}" in keys for c in guess.given["labels"]
        ):
            guess.key = f"{guess.key}_choices"


def _reserved() -> list[str]:
    models = [Tables.model_fields[name].annotation.__args__[0] for name in TABLES]
    return [column for model in models for column in model.columns]


def _key(column: Column, taken: set[str]) -> str:
    """Return a name in letters, digits and _ that no other column of the table has."""
    short = column.name if len(column.name) <= KEY_LENGTH or not column.label else column.name
    plain = unicodedata.normalize("NFKD", short).encode("ascii", "ignore").decode() or short
    words = re.sub(r"\W+", "_", plain if re.search(r"[A-Za-z]", plain) else short).strip("_").lower()
    base = words[:KEY_LENGTH].strip("_") or "item"
    base = base if base.isidentifier() and not keyword.iskeyword(base) else f"item_{base}"
    key, n = base, 2
    while key in taken or f"{key}_met" in taken or key.removesuffix("_met") in taken:
        key, n = f"{base}_{n}", n + 1
    taken.add(key)
    return key


# -- columns asked together ------------------------------------------------------------------------------------------


def _stems(name: str) -> list[str]:
    """Return the parts of a name that columns asked together share: Q7ART -> Q7, q5_1 -> q5, wifi_rating -> rating."""
    found = re.match(r"([A-Za-z]+\d+)", name.strip()), re.match(r"(.+?)[ _.-]*\d+$", name.strip())
    ends = re.search(r"_([a-z]+)$", name.strip())
    return [m[1] for m in found if m] + ([f"*_{ends[1]}"] if ends else [])


def _tops(columns: list[Column]) -> dict[str, Battery]:
    """Return, for each rating-like column that stands in a row of at least three, the scale of these."""
    groups: dict[str, list[Column]] = {}
    columns = [spell(column)[0] for column in columns]
    for column in columns:
        if is_ratinglike(column) and not RECOMMEND.search(column.words):
            for stem in _stems(column.name):
                groups.setdefault(stem, []).append(column)
    groups |= {f"from {group[0].name}": group for group in _side_by_side(columns)}
    tops = {}
    for group in sorted(groups.values(), key=len):
        scales = [guess_scale(column) for column in group]
        end, times = Counter(scale.high for scale in scales).most_common(1)[0]
        if len(group) >= 3 and times >= 0.5 * len(group) and end >= 4:
            low = min(scale.low for scale in scales if scale.high == end)
            reached = any(max(answers_of(column)) >= end for column in group)
            tops |= {column.name: Battery(int(low), int(end), reached) for column in group}
    return tops


def _side_by_side(columns: list[Column]) -> list[list[Column]]:
    """Return runs of neighbours on one scale of at least five points, all of which were answered."""
    runs, current, end = [], [], None
    for column in columns:
        rated = is_ratinglike(column) and not RECOMMEND.search(column.words) and not column.labels
        high = guess_scale(column).high if rated and len(answers_of(column)) >= 5 else None
        if high is None or high != end or high < 5:
            current, end = [], high
            runs.append(current)
        if high is not None:
            current.append(column)
    return [run for run in runs if len(run) >= 3]


# -- one column ------------------------------------------------------------------------------------------------------


def _fill(guess: Guess, column: Column, top: Battery | None) -> None:
    spelled, words = spell(column)
    if words and is_ratinglike(spelled):
        _rating(guess, spelled, top)
        low, high = guess.given["scale"]
        numbers = {v: v for v in sorted(column.numbers) if low <= v <= high}
        guess.given["values"] = words | numbers
        guess.doubts.append(f"cells such as {next(iter(words))!r} are taken for their number")
    elif is_ratinglike(column) and (
        top or RATING.search(column.words) or RECOMMEND.search(column.words) or _ends_only(column)
    ):
        _rating(guess, column, top)
    elif column.labels:
        _labelled(guess, column)
    elif column.padded and column.numeric:
        guess.given["type"] = "text"
        guess.reasons.append("digits that start with zeros: a name, not a number")
    elif column.numeric:
        _number(guess, column)
    elif not (_choices(guess, column) or guess_dates(guess, column)):
        _text(guess, column)


def spell(column: Column) -> tuple[Column, dict[str, float]]:
    """Return the column with cells such as ``10 - Extremely likely`` as their number, and text -> number of these."""
    words = {t: float(m[1]) for t in column.texts if (m := SPELLED.match(t))}
    if not words or len(words) > FEW_WORDS:
        return column, {}
    numbers = dict(column.numbers)
    for text, number in words.items():
        numbers[number] = numbers.get(number, 0) + column.texts[text]
    texts = {t: n for t, n in column.texts.items() if t not in words}
    return column._replace(numbers=numbers, texts=texts), words


def _ends_only(column: Column) -> bool:
    """Return whether only some codes have labels: then the others are points between them."""
    answers = answers_of(column)
    return bool(column.labels) and sum(v in column.labels for v in answers) < len(answers)


def _rating(guess: Guess, column: Column, top: Battery | None) -> None:
    scale = guess_scale(column, top=top and top.high)
    if top and scale.high == top.high and scale.low > top.low and not scale.values:
        scale.low = top.low
        scale.reasons.append(f"columns beside it start at {top.low}")
    if top and not top.reached and not column.labels:
        scale.doubts.append(f"nobody answered {top.high} in any of the columns beside it: the scale may end below")
    if _mixes(column, scale, top):
        scale.doubts.append(_mixes(column, scale, top))
    guess.given["scale"] = [scale.low, scale.high]
    if (scale.low, scale.high) == (0, 10) and not RECOMMEND.search(column.words):
        scale.reasons.append("if it asks whether to recommend, give it role: nps")
    _put(guess, scale)


def _mixes(column: Column, scale: Scale, top: Battery | None) -> str | None:
    """Return the suspicion that a few answers on a longer scale stand among those on a shorter one."""
    found = answers_of(column)
    above = sum(n for v, n in found.items() if v > 5)
    if scale.high == 10 and above and (above < 0.1 * sum(found.values()) or top is not None and top.high == 5):
        return f"only {above} of {sum(found.values())} values lie above 5: two scales may be mixed in this column"
    return None


def _put(guess: Guess, scale: Scale) -> None:
    for key in ("missing", "not_applicable", "values"):
        if getattr(scale, key):
            guess.given[key] = getattr(scale, key)
    guess.reasons += scale.reasons
    guess.doubts += scale.doubts


def _labelled(guess: Guess, column: Column) -> None:
    """Take the file's value labels; stored codes without one are listed as missing, in doubt."""
    fractional = not column.whole or len(column.numbers) > 2 * len(column.labels) + 5
    codes = [float(c) for c in column.labels if isinstance(c, (int, float))]
    if fractional and len(codes) == 2:
        low, high = min(codes), max(codes)
        inside = all(low <= v <= high or column.in_ranges(v) for v in column.numbers)
        guess.given |= {"scale": [low, high]} if inside else {"type": "number"}
        guess.reasons.append(f"the file labels {low:g} {column.labels[low]!r} and {high:g} {column.labels[high]!r}")
        return
    if fractional:
        return _number(guess, column)
    guess.given["labels"] = {_code(c): str(w) for c, w in column.labels.items() if not _gone(column, c)}
    guess.reasons.append("value labels of the file")
    stored = [v for v in (*column.numbers, *column.texts) if v not in column.labels and not _gone(column, v)]
    absent = [v for v in column.numbers if v in column.labels and _gone(column, v) and not column.in_ranges(v)]
    if stored or absent:
        guess.given["missing"] = stored + absent
    if stored:
        guess.doubts.append(f"stored without a label: {', '.join(map(_code, stored[:8]))}")


def _gone(column: Column, code) -> bool:
    words = str(column.labels.get(code, ""))
    return bool(NO_ANSWER.search(words)) if words else isinstance(code, float) and column.in_ranges(code)


def _code(value) -> str:
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e15 else str(value)


def _number(guess: Guess, column: Column) -> None:
    """Numbers without a scale: an amount, an age, or the codes of a category."""
    plain = [v for v in column.numbers if v not in CODES]
    apart = [v for v in column.numbers if v in CODES and plain and _apart(v, plain, column)]
    missing = [*apart, *filter(is_word, column.texts)]
    if missing:
        guess.given["missing"] = missing
    if column.whole and len(plain) <= FEW_WORDS // 2 and not column.comma:
        guess.reasons.append(f"codes without a meaning in the file: {_some(column.numbers)}")
    else:
        guess.given["type"] = "number"
        low, high = (min(plain), max(plain)) if plain else (min(column.numbers), max(column.numbers))
        guess.reasons.append(f"numbers from {low:g} to {high:g}")
    for value in apart:
        guess.doubts.append(f"{value:g} ({column.numbers[value]} rows) looks like a code, not a number")
    for text, n in column.texts.items():
        what = f"the word {text!r} ({n} rows) is taken for no answer"
        guess.doubts.append(
            what if is_word(text) else f"{text!r} ({n} rows) is no number as it is written: correct the file"
        )


def _apart(value: float, plain: list[float], column: Column) -> bool:
    """Return whether a code lies far from the numbers that are none."""
    if value < 0:
        return min(plain) >= 0
    return max(plain) <= 15 < value or (value >= 997 and value > 3 * max(plain))


def _some(values) -> str:
    shown = sorted(values)[:8]
    return ", ".join(_code(v) for v in shown) + (", ..." if len(values) > 8 else "")


def _choices(guess: Guess, column: Column) -> bool:
    """Recognise the cells of a multiple choice: ``1;3;``, several codes, few different ones."""
    texts = {t: n for t, n in column.texts.items() if ";" in t or "|" in t}
    if not texts or sum(texts.values()) < 0.5 * column.filled or not all(MULTIPLE.fullmatch(t) for t in texts):
        return False
    sign = ";" if any(";" in t for t in texts) else "|"
    codes = Counter()
    for text, n in [*column.texts.items(), *((_code(v), n) for v, n in column.numbers.items())]:
        codes.update({part.strip(): n for part in text.split(sign) if part.strip()})
    if len(codes) > 2 * FEW_WORDS:
        return False
    marked = [c for c in codes if re.fullmatch(r"-?\d+", c) and float(c) in CODES]
    if missing := [c for c in marked if c not in column.labels]:
        guess.given["missing"] = missing
        guess.doubts.append(f"{', '.join(missing)} taken for no answer; may be a choice (other, none)")
    order = sorted(set(codes) - set(missing), key=lambda c: (not c.isdigit(), int(c) if c.isdigit() else 0, c))
    guess.given |= {"multiple": sign, "labels": {c: str(column.labels.get(c, c)) for c in order}}
    guess.reasons.append(f"cells such as {next(iter(texts))!r} hold several codes; give the labels words")
    return True


def _text(guess: Guess, column: Column) -> None:
    texts = column.texts
    if column.distinct <= FEW_WORDS and column.distinct <= max(2, column.filled / 2):
        guess.reasons.append(f"{column.distinct} different word{'s' * (column.distinct != 1)}")
        gone = [t for t in texts if NO_ANSWER.search(t) and len(t) < 25]
        if gone:
            guess.given["missing"] = gone
            guess.doubts.append(", ".join(f"{t!r} ({texts[t]} rows)" for t in gone) + " is taken for no answer")
        return
    words = sum(len(t.split()) * n for t, n in texts.items()) / max(sum(texts.values()), 1)
    letters = sum(c.isalpha() for t in texts for c in t) / max(sum(map(len, texts)), 1)
    if words >= 4 and letters > 0.5:
        guess.given["role"] = ["verbatim"]
        guess.reasons.append(f"free text, {words:.0f} words on average")
    else:
        guess.given["type"] = "text"
        guess.reasons.append(f"{column.distinct} different texts")


# -- roles -----------------------------------------------------------------------------------------------------------


def _roles(guesses: list[Guess], columns: dict[str, Column], tops: dict[str, Battery]) -> None:
    """Give roles to what is asked: recommend, satisfaction, effort, drivers, who somebody is, when it was asked."""
    rated = [g for g in guesses if "scale" in g.given]
    _first(rated, "nps", lambda g: _recommends(g, columns[g.column]))
    satisfied = [g for g in rated if "role" not in g.given and SATISFIED.search(columns[g.column].words)]
    satisfied.sort(key=lambda g: not OVERALL.search(columns[g.column].words))
    _first(satisfied, "csat", lambda g: True)
    _first(rated, "ces", lambda g: bool(EASE.search(columns[g.column].words)))
    if any("role" in g.given for g in rated):
        _drivers([g for g in rated if "role" not in g.given and g.column in tops])
    for guess in guesses:
        if "role" not in guess.given and not guess.given.keys() & {"scale", "multiple"}:
            if columns[guess.column].distinct <= FEW_WORDS and WHO.search(columns[guess.column].words):
                guess.given["role"] = ["demographic"]
    dated = [g for g in guesses if g.given.get("type") == "date" and ASKED.search(columns[g.column].words)]
    _first(dated, "asked_at", lambda g: True)


def _drivers(guesses: list[Guess]) -> None:
    """Give the role driver; that all of them are is one decision, and stands with the first."""
    for guess in guesses:
        guess.given["role"] = ["driver"]
        guess.reasons.append("role driver: a rating in a row with others")
    if guesses:
        others = f", and that of {len(guesses) - 1} items below" if len(guesses) > 1 else ""
        guesses[0].doubts.append(f"the role driver is a guess{others}")


def _recommends(guess: Guess, column: Column) -> bool:
    """Return whether an item can carry a net promoter score; say so where it nearly could."""
    if not RECOMMEND.search(column.words) and not re.search(r"\bnps\b", column.words):
        return False
    values = guess.given.get("values") or {v: v for v in answers_of(column)}
    if guess.given["scale"] != [0, 10]:
        guess.doubts.append("asks for a recommendation, but not from 0 to 10: no net promoter score is defined")
        guess.given["role"] = ["outcome"]
        return False
    if any(not float(v).is_integer() for v in values.values()):
        guess.doubts.append("asks for a recommendation, but in fractions: no net promoter score is defined")
        guess.given["role"] = ["outcome"]
        return False
    return True


def _first(guesses: list[Guess], role: str, fits) -> None:
    for guess in guesses:
        if "role" not in guess.given and fits(guess):
            _give(guess, role, "words of the question" if role != "asked_at" else "the first date")
            return


def _give(guess: Guess, role: str, why: str) -> None:
    guess.given["role"] = [role]
    guess.reasons.append(f"role {role} by the {why}" if why.startswith(("words", "first")) else f"role {role}: {why}")
    if role != "asked_at":
        guess.doubts.append(f"the role {role} is a guess")
