"""What scale a column of numbers is on: its ends, and which stored codes are no answers; each with its reason."""

import re
from dataclasses import dataclass, field

from cxresearch.intake.profile import CODES, NO_ANSWER, NOT_MET, Column, is_word
from cxresearch.study.codes import LEADING_NUMBER

RECOMMEND = re.compile(
    r"\b(nps|netpro|net promoter|recommend\w*|likelihood to recommend|ltr|weiterempf\w*|polec\w*|rekomend\w*|"
    r"recommand\w*|рекоменд\w*|порекоменд\w*)\b"
)
ZERO_TO_TEN = re.compile(r"\b0\s*(?:-|–|to|bis|do|à|through)?\s*10\b")
RATING = re.compile(
    r"\b(rat(?:e|ing|ings|ed)|scores?|satisf\w*|zufrieden\w*|zadowol\w*|удовлетвор\w*|оцен\w*|ocen\w*|quality|"
    r"easy|ease|effort|agree\w*|likely|likelihood|scale|overall|nps|stars?|grade|note|bewert\w*)\b"
)
GOOD = re.compile(
    r"\b(very satisfied|excellent|strongly agree|very good|extremely likely|sehr zufrieden|best|äußerst wahrscheinlich|zdecydowanie tak)\b",
    re.I,
)
BAD = re.compile(
    r"\b(not at all|unlikely|not likely|never|very dissatisfied|strongly disagree|überhaupt nicht|keinesfalls|"
    r"zdecydowanie nie|na pewno nie|pas du tout|точно не|ни в коем)\b",
    re.I,
)
RECOMMENDED = (0, 10)
TOPS = (3, 4, 5, 7, 10)
FEW = 13


@dataclass
class Scale:
    """A guessed scale; `doubts` are the reasons why it may be wrong, `reasons` why it is what it is."""

    low: float
    high: float
    missing: list = field(default_factory=list)
    not_applicable: list = field(default_factory=list)
    values: dict = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    undecided: tuple[float, ...] = ()  # codes that stay refused until somebody says what they are


def answers_of(column: Column) -> dict[float, int]:
    """Return the values that can be answers: without user-missing codes, labelled refusals and far-off codes."""
    inner = {v: n for v, n in column.numbers.items() if not column.in_ranges(v) and not _set_aside(column, v)}
    plain = [v for v in inner if v not in CODES]
    if not plain or max(plain) > 11 or min(plain) < -5:
        return inner
    return {v: n for v, n in inner.items() if v not in CODES or (min(plain) <= v <= max(plain) and v > 0)}


def _set_aside(column: Column, value: float) -> bool:
    words = str(column.labels.get(value, ""))
    return bool(words and (NO_ANSWER.search(words) or NOT_MET.search(words)))


def is_ratinglike(column: Column) -> bool:
    """Return whether a column could be a rating: at least three whole answers between 0 and 11."""
    found = answers_of(column)
    return column.numeric and 3 <= len(found) <= FEW and all(0 <= v <= 11 and float(v).is_integer() for v in found)


def guess_scale(column: Column, *, top: int | None = None) -> Scale:
    """Return the scale of a rating-like column.

    Parameters
    ----------
    top
        Where the scales of the columns asked beside it end, if that is known.
    """
    found = answers_of(column)
    if scale := _from_labels(column, found):
        _codes(column, scale)
        return scale
    recommend = bool(RECOMMEND.search(column.words))
    scale = _recommended(column, found) if recommend or ZERO_TO_TEN.search(column.words) else _rated(found, top)
    _codes(column, scale)
    return scale


def _from_labels(column: Column, found: dict[float, int]) -> Scale | None:
    """Return the scale that value labels speak for: labelled ends, or labels that are numbers themselves."""
    labelled = {float(c): str(w) for c, w in column.labels.items() if isinstance(c, (int, float))}
    labelled = {c: w for c, w in labelled.items() if not _set_aside(column, c) and not column.in_ranges(c)}
    said = {c: int(m[1]) for c, w in labelled.items() if (m := LEADING_NUMBER.match(w))}
    if (len(said) >= 2 and any(c != number for c, number in said.items())) or said == {11.0: 0}:
        return _relabelled(found, said)
    if len(labelled) < 2:
        return None
    low, high = min(labelled), max(labelled)
    why = f"the file labels {low:g} {labelled[low]!r} and {high:g} {labelled[high]!r}"
    if (low, high) == (1, 11):
        return _eleven_points(why, turned=bool(GOOD.search(labelled[1.0]) or BAD.search(labelled[11.0])))
    if (low, high) == (10, 11) and min(found) >= 1:
        return _zero_as_eleven(why)
    scale = Scale(low, high, reasons=[why])
    if GOOD.search(labelled[low]):
        scale.doubts.append(
            f"{low:g} is the good end, so that more is worse: turn it round with values if it is an outcome"
        )
    return scale


def _relabelled(found: dict[float, int], said: dict[float, int]) -> Scale:
    """Return the scale where labels give codes other numbers: each code stands for its label's number."""
    shifts = {number - code for code, number in said.items()}
    values = {code: float(number) for code, number in said.items()}
    unlabelled = [code for code in found if code not in values]
    if len(shifts) == 1 and len(said) > 1:
        values |= {code: code + next(iter(shifts)) for code in unlabelled}
    else:  # only some codes were moved: the others stay unless a label already gives their number away
        ends = (min(said.values()), max(said.values())) if len(said) > 1 else RECOMMENDED
        values |= {code: code for code in unlabelled if code not in said.values() and ends[0] <= code <= ends[1]}
    low, high = min(values.values()), max(values.values())
    examples = ", ".join(f"{code:g} is labelled {number}" for code, number in list(said.items())[:3])
    scale = Scale(
        low, high, values=dict(sorted(values.items())), reasons=[f"stored codes are not the answers: {examples}"]
    )
    scale.doubts.append("look whether each code stands for the answer given here")
    if unknown := sorted(set(found) - set(values)):
        scale.doubts.append(f"{_codes_words(unknown)} stored without a label: add to values, or to missing")
    return scale


def _recommended(column: Column, found: dict[float, int]) -> Scale:
    """Return the scale of a question whether to recommend: 0-10 if a 0 is there or named, else doubtful."""
    low, high = min(found), max(found)
    named = bool(ZERO_TO_TEN.search(column.words))
    if high == 11 and low == 0:
        scale = Scale(0, 10, missing=[11], reasons=["0 to 10 are answers, and 11 lies beyond"])
        scale.doubts.append(f"11 ({found[11]} rows) is taken for a blank")
        return scale
    if high == 11:
        reason = "stored are 1 to 11, never 0, and nothing in the file says what they stand for"
        scale = Scale(0, 10, reasons=[reason], undecided=(11,))
        scale.doubts.append(
            "decide: 1-11 for 0-10 (values: {1: 0, 2: 1, ..., 11: 10}), 11 for 0 (values: {11: 0, 1: 1, ..., 10: 10}), or "
            "11 for a blank (missing: [11])"
        )
        return scale
    if named or low == 0 and high > 7:
        return Scale(0, 10, reasons=["the question names 0 to 10" if named else "0 and values up to 10 are stored"])
    if high > 7:
        scale = Scale(1, 10, reasons=[f"stored are {low:g} to {high:g}"])
        scale.doubts.append("no 0 is stored: if 0 could be answered, declare scale: [0, 10] and role: nps")
        return scale
    return _rated(found, None)


def _eleven_points(why: str, *, turned: bool) -> Scale:
    meant = {float(v): 11.0 - v if turned else v - 1.0 for v in range(1, 12)}
    scale = Scale(0, 10, values=meant, reasons=[why])
    scale.doubts.append(f"1-11 are taken for {'10-0' if turned else '0-10'}: look at the words of both ends")
    return scale


def _zero_as_eleven(why: str) -> Scale:
    scale = Scale(0, 10, values={11.0: 0.0} | {float(v): float(v) for v in range(1, 11)}, reasons=[why])
    scale.doubts.append("11 is taken for 0, and 1-10 for themselves: look at the words of both ends")
    return scale


def _rated(found: dict[float, int], top: int | None) -> Scale:
    low, high = min(found), max(found)
    if high <= 1 + (top or 0) and top is not None and low >= 0:
        end = top
    else:
        end = next((t for t in TOPS if t >= high), 10 if high == 11 else int(high))
        end = {6: 5, 8: 7, 9: 7 if 8 not in found else 10, 11: 10}.get(int(high), end)
    zero = 0 in found
    start = 0 if zero and end == 10 else 1
    scale = Scale(start, end, reasons=[f"stored are {_codes_words(sorted(found))}"])
    beyond = [v for v in sorted(found) if v > end]
    if zero and start:
        scale.missing.append(0)
        scale.doubts.append(f"0 ({found[0]} rows) is taken for a blank; it may be an answer")
    if beyond:
        scale.not_applicable += beyond
        rows = sum(found[v] for v in beyond)
        scale.doubts.append(f"{_codes_words(beyond)} ({rows} rows) is taken for not applicable; it may be an answer")
    if high < end and top is None:
        scale.doubts.append(f"nobody answered above {high:g}: the scale may end there")
    return scale


def _codes(column: Column, scale: Scale) -> None:
    """Add the codes that lie apart, and words that stand for no answer."""
    answers = set(scale.values) if scale.values else {v for v in column.numbers if scale.low <= v <= scale.high}
    known = {*scale.missing, *scale.not_applicable, *scale.undecided}
    if scale.values:
        known |= set(
            answers_of(column)
        )  # what no label explains is left for somebody to decide, and refused until then
    for value, n in sorted(column.numbers.items()):
        if column.in_ranges(value):
            words = column.labels.get(value)
            scale.reasons.append(
                f"the file itself declares {value:g}{f' ({words})' if words else ''} missing: {n} rows"
            )
        elif value not in answers | known:
            words = str(column.labels.get(value, ""))
            (scale.not_applicable if NOT_MET.search(words) else scale.missing).append(value)
            scale.doubts.append(f"{value:g} ({n} rows{f', {words}' if words else ''}) lies off the scale")
    for text, n in column.texts.items():
        if not is_word(text):
            scale.doubts.append(f"{text!r} ({n} rows) is no number as it is written: correct the file")
            continue
        (scale.not_applicable if NOT_MET.search(text) else scale.missing).append(text)
        scale.doubts.append(f"the word {text!r} ({n} rows) is taken for no answer")


def _codes_words(values: list[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)
