"""What scale a column of numbers is on: its ends, and which stored codes are no answers; each with its reason."""

from dataclasses import dataclass, field

from cxresearch.intake.column import CODES, WORDS, Column, absence, is_word
from cxresearch.intake.decision import Doubt, code_doubt, doubt
from cxresearch.study.codes import LEADING_NUMBER

RECOMMENDED = (0, 10)
ENDS = (3, 4, 5, 7, 9, 10)
FEW = 13
SAME = "is taken for that: look at the words of both ends"


@dataclass
class Scale:
    """A guessed scale: keys of the item, `doubts` why they may be wrong, `reasons` why they are what they are."""

    low: float
    high: float
    values: dict = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    settled: tuple[float, ...] = ()  # codes off the scale that a doubt already speaks of
    given: dict = field(default_factory=dict)  # missing, not_applicable


def answers_of(column: Column) -> dict[float, int]:
    """Return the values that can be answers: without user-missing codes, labelled refusals and far-off codes."""
    inner = {v: n for v, n in column.numbers.items() if not column.in_ranges(v) and not absence(column.words_of(v))}
    if is_symmetric(inner):
        return inner
    plain = [v for v in inner if v not in CODES]
    if not plain or max(plain) > 11 or min(plain) < -5:
        return inner
    return {v: n for v, n in inner.items() if v not in CODES or (min(plain) <= v <= max(plain) and v > 0)}


def is_symmetric(found) -> bool:
    """Return whether values are all whole numbers from -2 to 2, -3 to 3, -4 to 4 or -5 to 5."""
    end = int(max(found, default=0)) if all(float(v).is_integer() for v in found) else 0
    return 2 <= end <= 5 and set(found) == {float(v) for v in range(-end, end + 1)}


def is_ratinglike(column: Column) -> bool:
    """Return whether a column could be a rating: at least three whole answers between 0 and 11, or around 0."""
    found = answers_of(column)
    whole = all(0 <= v <= 11 and float(v).is_integer() for v in found) or is_symmetric(found)
    return column.numeric and 3 <= len(found) <= FEW and whole


def guess_scale(column: Column, *, top: int | None = None) -> Scale:
    """Return the scale of a rating-like column; `top` is where those of the columns asked beside it end, if known."""
    found = answers_of(column)
    if not (scale := _from_labels(column, found)):
        asked = column.says("recommend", "zero_to_ten")
        scale = _recommended(column, found) if asked else _rated(column, found, top)
    _codes(column, scale)
    return scale


def _from_labels(column: Column, found: dict[float, int]) -> Scale | None:
    """Return the scale that the file's own value labels give, or None."""
    labelled = {
        c: str(w) for c, w in column.labels.items() if isinstance(c, (int, float)) and (c in found or 0 <= c <= 11)
    }
    labelled = {c: w for c, w in labelled.items() if not absence(column.words_of(c)) and not column.in_ranges(c)}
    said = {c: int(m[1]) for c, w in labelled.items() if (m := LEADING_NUMBER.match(w))}
    if (len(said) >= 2 and any(c != number for c, number in said.items())) or said == {11.0: 0}:
        return _relabelled(found, said)
    if len(labelled) < 2:
        return None
    low, high = min(labelled), max(labelled)
    why = f"the file labels {low:g} {labelled[low]!r} and {high:g} {labelled[high]!r}"
    turned = bool(WORDS["good"].search(labelled[low]) or (high == 11 and WORDS["bad"].search(labelled[high])))
    if (low, high) == (1, 11):
        meant = {float(v): 11.0 - v if turned else v - 1.0 for v in range(1, 12)}
        return _mapped(meant, why, f"1-11 {SAME.replace('that', '10-0' if turned else '0-10')}")
    if (low, high) == (10, 11) and min(found) >= 1:
        return _mapped({11.0: 0.0} | {float(v): float(v) for v in range(1, 11)}, why, f"11 {SAME.replace('that', '0')}")
    scale = Scale(low, high, reasons=[why])
    if turned:
        values = {float(v): low + high - v for v in range(int(low), int(high) + 1)}
        said = f"{low:g} is the good end, so that more is worse: turn it round with values if it is an outcome"
        turn = ("turned round: more is better", {"values": values})
        scale.doubts.append(doubt("good end", said, "as it is stored: more is worse", turn))
    return scale


def _mapped(values: dict[float, float], reason: str, said: str) -> Scale:
    plain = ("no: the codes are the answers", {"values": None, "scale": [min(values), max(values)]})
    topic = f"codes as {', '.join(f'{c:g}={v:g}' for c, v in list(values.items())[:2])}"
    scale = Scale(min(values.values()), max(values.values()), dict(sorted(values.items())), [reason])
    scale.doubts.append(doubt(topic, said, "yes", plain))
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
    examples = ", ".join(f"{code:g} is labelled {number}" for code, number in list(said.items())[:3])
    said = "look whether each code stands for the answer given here"
    scale = _mapped(values, f"stored codes are not the answers: {examples}", said)
    if unknown := sorted(set(found) - set(values)):
        words = f"{_words(unknown)} stored without a label: add to values, or to missing"
        scale.doubts.append(doubt("unlabelled", words, ("missing", {"missing": unknown}), likely=False))
        scale.settled = tuple(unknown)
    return scale


def _recommended(column: Column, found: dict[float, int]) -> Scale:
    """Return the scale of a question whether to recommend: 0-10 if a 0 is there or named, else doubtful."""
    low, high = min(found), max(found)
    if high == 11 and low == 0:
        return Scale(0, 10, reasons=["0 to 10 are answers, and 11 lies beyond"])
    if high == 11:
        said = (
            "decide: 1-11 for 0-10 (values: {1: 0, 2: 1, ..., 11: 10}), 11 for 0 (values: {11: 0, 1: 1, ..., 10: 10}), or "
            "11 for a blank (missing: [11])"
        )
        same = {float(v): float(v) for v in range(1, 11)}
        shifted, moved = {v: v - 1 for v in (*same, 11.0)}, {11.0: 0.0} | same
        answers = [("1-11 stand for 0-10", {"values": shifted}), ("11 stands for 0", {"values": moved})]
        answers.append(("11 is a blank", {"missing": [11.0], "confirmed": True}))
        reason = "stored are 1 to 11, never 0, and nothing in the file says what they stand for"
        doubts = [doubt("1 to 11", said, *answers, likely=False)]
        return Scale(0, 10, reasons=[reason], settled=(11,), doubts=doubts)
    named = column.says("zero_to_ten")
    if named or low == 0 and high > 7:
        return Scale(0, 10, reasons=["the question names 0 to 10" if named else "0 and values up to 10 are stored"])
    if high > 7:
        scale = Scale(1, 10, reasons=[f"stored are {low:g} to {high:g}"])
        said = "no 0 is stored: if 0 could be answered, declare scale: [0, 10] and role: nps"
        from_zero = ("from 0 to 10", {"scale": [0, 10], "role": ["nps"]})
        plain = "from 1 to 10: no net promoter score is defined"
        scale.doubts.append(doubt("scale of recommend", said, plain, from_zero))
        return scale
    return _rated(column, found, None)


def _rated(column: Column, found: dict[float, int], top: int | None) -> Scale:
    """Return the scale of what was answered, never wider: a code that stands apart above it is none of its points."""
    if is_symmetric(found):
        return Scale(min(found), max(found), reasons=[f"stored are all of {min(found):g} to {max(found):g}"])
    points = sorted(v for v in found if v > 0 or len(found) == 1)
    end = top if top is not None and points[-1] <= 1 + top else _end(points)
    start = 0 if 0 in found and end == 10 else 1
    return Scale(start, end, reasons=[f"stored are {_words(sorted(found))}"])


def _end(points: list[float]) -> float:
    """Return where a scale ends: its last point, but for one code that lies beyond a scale whose points were all used."""
    *inner, high = points
    before = inner[-1] if inner else high
    full = before in ENDS and inner == [float(v) for v in range(1, int(before) + 1)]
    if high == 11 or (full and ((high, before) in ((6, 5), (8, 7)) or (high > before + 1 and high != 10))):
        return 10 if high == 11 else before
    return high


def _codes(column: Column, scale: Scale) -> None:
    """Set aside the codes that lie off the scale, and words that stand for no answer."""
    answers = set(scale.values) if scale.values else {v for v in column.numbers if scale.low <= v <= scale.high}
    if scale.values:  # what no label explains is left for somebody to decide, and refused until then
        answers |= set(answers_of(column))
    far = []
    for value, n in sorted(column.numbers.items()):
        words = column.words_of(value)
        if column.in_ranges(value):
            scale.reasons.append(
                f"the file itself declares {value:g}{f' ({words})' if words else ''} missing: {n} rows"
            )
        elif value in answers or value in scale.settled:
            continue
        elif gone := absence(words):
            scale.given.setdefault(gone, []).append(value)
            scale.reasons.append(f"the file labels {value:g} {words!r}: {gone.replace('_', ' ')}, {n} rows")
        elif column.is_far(value):
            far.append(value)
        else:
            met = value == scale.high + 1 and (scale.low, scale.high) != RECOMMENDED
            scale.doubts.append(code_doubt(column, [value], (scale.low, scale.high), met=met))
    if far:
        scale.doubts.append(code_doubt(column, far, None))
    word_codes(column, scale)


def word_codes(column: Column, guess) -> None:
    """Set aside the words among numbers: what plainly says so for certain, the others in doubt."""
    for text, n in column.texts.items():
        if not is_word(text):
            guess.doubts.append(doubt("slip", f"{text!r} ({n} rows) is no number as it is written: correct the file"))
        elif gone := absence(text):
            guess.given.setdefault(gone, []).append(text)
            guess.reasons.append(f"{text!r} ({n} rows) says that there is no answer")
        else:
            guess.doubts.append(code_doubt(column, [text], None))


def _words(values: list[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)
