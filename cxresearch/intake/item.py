"""What each column of a survey may be as an item: kind, scale, codes and role, each with its reason."""

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from cxresearch.intake.column import CODES, FEW_WORDS, WORDS, Column, absence, code_text, symmetric
from cxresearch.intake.guess import GONE, Doubt, Guess, code_doubt
from cxresearch.study.codes import LEADING_NUMBER
from cxresearch.study.schema import TABLES, Tables

KEY_LENGTH = 30
MOST_BESIDE = 60  # items of which one is asked for by name
STEMS = (r"^([A-Za-z]+\d+)", r"^(.+?)[ _.-]*\d+$", r"(_[a-z]+)$")  # what columns asked together share of their names
ENDS = (3, 4, 5, 7, 9, 10)
ONE_TO_TEN = {float(v): float(v) for v in range(1, 11)}
SHIFTED = {v: v - 1 for v in (*ONE_TO_TEN, 11.0)}
ELEVEN = Doubt(
    "1 to 11",
    "decide: 1-11 for 0-10 (values: {1: 0, 2: 1, ..., 11: 10}), 11 for 0 (values: {11: 0, 1: 1, ..., 10: 10}), or 11 for a "
    "blank (missing: [11])",
    {
        "1-11 stand for 0-10": {"values": SHIFTED},
        "11 stands for 0": {"values": {11.0: 0.0} | ONE_TO_TEN},
        "11 is a blank": {"missing": [11.0], "confirmed": True},
    },
    likely=False,
)
FROM_ONE = Doubt(
    "scale of recommend",
    "no 0 is stored: if 0 could be answered, declare scale: [0, 10] and role: nps",
    {
        "from 1 to 10: no net promoter score is defined": {},
        "from 0 to 10": {"scale": [0, 10], "role": ["nps"]},
    },
)


def guess_items(columns: list[Column]) -> tuple[list[Guess], list[str]]:
    """Return a guess for each column that can be an item, and why others are left out."""
    models = [Tables.model_fields[name].annotation.__args__[0] for name in TABLES]
    taken = {column for model in models for column in model.columns}
    guesses = []
    for column in _beside([column for column in columns if column.filled]):
        guess = Guess(_key(column, taken), column.name, stored=column)
        if column.label and column.label != column.name:
            guess.given["label"] = column.label
        given, reason, *more = next(row for holds, *row in _kinds(column) if holds)
        guess.say(reason, **given)
        for say in more:
            say(guess, column)
        guesses.append(guess)
    keys = {guess.key for guess in guesses}
    for guess in (g for g in guesses if "multiple" in g.given):
        own = (f"{guess.key}_{re.sub(r'[^0-9A-Za-z_]', '_', c)}" for c in guess.given["labels"])
        if any(key in keys for key in own):  # its columns (q2_1, q2_2) would take those of other items
            guess.key = f"{guess.key}_choices"
    _roles(guesses)
    return guesses, [f"{column.name}: empty" for column in columns if not column.filled]


def _key(column: Column, taken: set[str]) -> str:
    """Return a name in letters, digits and _ that no other column of the table has."""
    ascii_ = unicodedata.normalize("NFKD", column.name).encode("ascii", "ignore").decode()
    words = re.sub(r"\W+", "_", ascii_ if re.search(r"[A-Za-z]", ascii_) else column.name).strip("_").lower()
    base = words[:KEY_LENGTH].strip("_") or "item"
    base = base if base.isidentifier() and not keyword.iskeyword(base) else f"item_{base}"
    key, n = base, 2
    while key in taken or f"{key}_met" in taken or key.removesuffix("_met") in taken:
        key, n = f"{base}_{n}", n + 1
    taken.add(key)
    return key


def _beside(columns: list[Column]) -> list[Column]:
    """Return the columns; ratings in a row of at least three know where the scale of the row starts and ends.

    A row is what shares a part of its name (Q7ART and Q7FOOD, q5_1, wifi_rating), or neighbours on one scale of at least
    five points, all of which were answered.
    """
    scales: dict[str, list[float]] = {}
    rows: dict[str, list[str]] = {}
    for column in (c.spelled[0] for c in columns):
        if column.ratinglike and not column.says("recommend"):
            _scale(guess := Guess(""), column)
            scales[column.name], name = guess.given["scale"], column.name.strip()
            for found in filter(None, (re.search(stem, name) for stem in STEMS)):
                rows.setdefault(found[1], []).append(column.name)

    def full(column: Column) -> float | None:
        asked = column.name in scales and not column.labels and len(column.spelled[0].answers) >= 5
        return scales[column.name][1] if asked and scales[column.name][1] >= 5 else None

    neighbours = [[column.name for column in run] for end, run in groupby(columns, full) if end]
    beside: dict[str, tuple[int, int]] = {}
    for row in sorted((row for row in (*rows.values(), *neighbours) if len(row) >= 3), key=len):
        end, times = Counter(scales[name][1] for name in row).most_common(1)[0]
        if times >= 0.5 * len(row) and end >= 4:
            low = min(scales[name][0] for name in row if scales[name][1] == end)
            # what goes on beyond the others by more than a code is another question
            beside |= {name: (int(low), int(end)) for name in row if scales[name][1] <= end + 1}
    return [replace(column, beside=beside.get(column.name)) for column in columns]


# -- scales ----------------------------------------------------------------------------------------------------------


def _scale(guess: Guess, column: Column) -> set[float]:
    """Say the scale of what was answered, never wider; return the codes off it that a doubt already speaks of.

    A code that stands apart above the others is none of its points.
    """
    if (settled := _labelled_scale(guess, column)) is not None:
        return settled
    found = sorted(column.answers)
    low, high = found[0], found[-1]
    *inner, last = (v for v in found if v > 0)
    before = inner[-1]
    full = before in ENDS and inner == [float(v) for v in range(1, int(before) + 1)]
    beyond = full and ((last, before) in ((6, 5), (8, 7)) or (last > before + 1 and last != 10))
    end = 10 if last == 11 else before if beyond else last
    end = column.beside[1] if column.beside and last <= 1 + column.beside[1] else end
    named = column.says("zero_to_ten")
    asks = named or column.says("recommend")
    for holds, ends, reason, *doubts in (
        (asks and high == 11 and low == 0, [0, 10], "0 to 10 are answers, and 11 lies beyond"),
        (asks and high == 11, [0, 10],
         "stored are 1 to 11, never 0, and nothing in the file says what they stand for", ELEVEN),
        (named, [0, 10], "the question names 0 to 10"),
        (asks and low == 0 and high > 7, [0, 10], "0 and values up to 10 are stored"),
        (asks and high > 7, [1, 10], f"stored are {low:g} to {high:g}", FROM_ONE),
        (symmetric(found), [low, high], f"stored are all of {low:g} to {high:g}"),
        (True, [0 if low == 0 and end == 10 else 1, end], f"stored are {', '.join(f'{v:g}' for v in found)}"),
    ):  # fmt: skip
        if holds:
            guess.say(reason, *doubts, scale=ends)
            return {11.0} if ELEVEN in doubts else set()


def _labelled_scale(guess: Guess, column: Column) -> set[float] | None:
    """Say the scale that the file's own value labels give, if they do; return the codes that a doubt speaks of."""
    found = column.answers
    labels = {
        c: str(w) for c, w in column.labels.items() if isinstance(c, (int, float)) and (c in found or 0 <= c <= 11)
    }
    labels = {c: words for c, words in labels.items() if not absence(words) and not column.in_ranges(c)}
    said = {c: int(m[1]) for c, words in labels.items() if (m := LEADING_NUMBER.match(words))}
    if (len(said) >= 2 and any(c != number for c, number in said.items())) or said == {11.0: 0}:
        return _relabelled(guess, found, said)
    if len(labels) < 2:
        return None
    low, high = min(labels), max(labels)
    why = f"the file labels {low:g} {labels[low]!r} and {high:g} {labels[high]!r}"
    turned = bool(WORDS["good"].search(labels[low]) or (high == 11 and WORDS["bad"].search(labels[high])))
    look = "is taken for that: look at the words of both ends"
    if (low, high) == (1, 11):
        values = {v: 11 - v for v in SHIFTED} if turned else SHIFTED
        _mapped(guess, values, why, f"1-11 {look.replace('that', '10-0' if turned else '0-10')}")
    elif (low, high) == (10, 11) and min(found) >= 1:
        _mapped(guess, {11.0: 0.0} | ONE_TO_TEN, why, f"11 {look.replace('that', '0')}")
    else:
        guess.say(why, scale=[low, high])
        if turned:
            back = {float(v): low + high - v for v in range(int(low), int(high) + 1)}
            said = f"{low:g} is the good end, so that more is worse: turn it round with values if it is an outcome"
            answers = {"as it is stored: more is worse": {}, "turned round: more is better": {"values": back}}
            guess.doubts.append(Doubt("good end", said, answers))
    return set()


def _mapped(guess: Guess, values: dict[float, float], reason: str, said: str) -> None:
    plain = {"values": None, "scale": [min(values), max(values)]}
    topic = f"codes as {', '.join(f'{c:g}={v:g}' for c, v in list(values.items())[:2])}"
    doubt = Doubt(topic, said, {"yes": {}, "no: the codes are the answers": plain})
    guess.say(reason, doubt, scale=[min(values.values()), max(values.values())], values=dict(sorted(values.items())))


def _relabelled(guess: Guess, found: dict[float, int], said: dict[float, int]) -> set[float]:
    """Say the scale where labels give codes other numbers: each code stands for its label's number."""
    shifts = {number - code for code, number in said.items()}
    values = {code: float(number) for code, number in said.items()}
    unlabelled = [code for code in found if code not in values]
    if len(shifts) == 1 and len(said) > 1:
        values |= {code: code + next(iter(shifts)) for code in unlabelled}
    else:  # only some codes were moved: the others stay unless a label already gives their number away
        low, high = (min(said.values()), max(said.values())) if len(said) > 1 else (0, 10)
        values |= {code: code for code in unlabelled if code not in said.values() and low <= code <= high}
    examples = ", ".join(f"{code:g} is labelled {number}" for code, number in list(said.items())[:3])
    look = "look whether each code stands for the answer given here"
    _mapped(guess, values, f"stored codes are not the answers: {examples}", look)
    unknown = sorted(found.keys() - values)
    if unknown:
        words = f"{', '.join(f'{v:g}' for v in unknown)} stored without a label: add to values, or to missing"
        guess.doubts.append(Doubt("unlabelled", words, {"missing": {"missing": unknown}}, likely=False))
    return set(unknown)


def _codes(guess: Guess, column: Column, settled: set[float]) -> None:
    """Set aside the codes that lie off the scale, and words that stand for no answer."""
    low, high = guess.given["scale"]
    if values := guess.given.get(
        "values"
    ):  # what no label explains is left for somebody to decide, and refused until then
        settled = settled | values.keys() | column.answers.keys()
    far = []
    for value, n in sorted(column.numbers.items()):
        words = column.words_of(value)
        if column.in_ranges(value):
            told = f" ({words})" if words else ""
            guess.say(f"the file itself declares {value:g}{told} missing: {n} rows")
        elif value in settled or (not values and low <= value <= high):
            continue
        elif gone := absence(words):
            guess.say(f"the file labels {value:g} {words!r}: {gone.replace('_', ' ')}, {n} rows")
            guess.given.setdefault(gone, []).append(value)
        elif column.is_far(value):
            far.append(value)
        else:
            met = value == high + 1 and [low, high] != [0, 10]
            guess.doubts.append(code_doubt(column, [value], [low, high], met=met))
    _odd(guess, column, far)


def _odd(guess: Guess, column: Column, far: list[float]) -> None:
    """Set aside codes far off, and words among numbers: what plainly says so for certain, the others in doubt."""
    guess.doubts += [code_doubt(column, far)] if far else []
    for text, n in column.texts.items():
        if any(c.isnumeric() for c in text) and not any(c.isalpha() for c in text):
            guess.doubts.append(Doubt("slip", f"{text!r} ({n} rows) is no number as it is written: correct the file"))
        elif gone := absence(text):
            guess.say(f"{text!r} ({n} rows) says that there is no answer")
            guess.given.setdefault(gone, []).append(text)
        else:
            guess.doubts.append(code_doubt(column, [text]))


# -- kinds -----------------------------------------------------------------------------------------------------------


def _kinds(c: Column) -> Iterator[tuple]:
    """Yield what a column may be: whether it is that, keys of its item, the reason, and what says and asks the rest."""
    rating, words = c.spelled
    ends_only = c.labels and not c.labels.keys() >= rating.answers.keys()  # the others are points between them
    asks = words or c.beside or c.says("rating", "recommend", "zero_to_ten")
    yield rating.ratinglike and (asks or ends_only or symmetric(rating.answers)), {}, "", _rating
    measured = not c.whole or len(c.numbers) > 2 * len(c.labels) + 5  # the numbers are no codes of these labels
    yield measured and sum(isinstance(code, (int, float)) for code in c.labels) == 2, {}, "", _ends
    yield c.labels and not measured, {}, "value labels of the file", _labelled
    named = c.padded and c.numeric and not c.labels
    yield named, {"type": "text"}, "digits that start with zeros: a name, not a number"
    if c.numeric or c.labels:
        shown = ", ".join(map(code_text, sorted(c.numbers)[:8])) + ", ..." * (len(c.numbers) > 8)
        coded = c.whole and len(c.usual) <= FEW_WORDS // 2 and c.writing.decimal == "."
        yield coded, {}, f"codes without a meaning in the file: {shown}", _numbers
        numbers = c.usual or c.numbers
        yield True, {"type": "number"}, f"numbers from {min(numbers):g} to {max(numbers):g}", _numbers
    yield c.choices, {}, "", _choices
    clock = c.dates and c.dates.format and c.dates.last < 1950
    yield clock, {"type": "text"}, "dates before 1950: a spreadsheet's way to write a time of day"
    yield c.dates, {"type": "date"}, "", _dated
    few = c.distinct <= min(FEW_WORDS, max(2, c.filled / 2))
    yield few, {}, f"{c.distinct} different word{'s' * (c.distinct != 1)}", _words
    length = sum(len(t.split()) * n for t, n in c.texts.items()) / max(sum(c.texts.values()), 1)
    letters = sum(x.isalpha() for t in c.texts for x in t) / max(sum(map(len, c.texts)), 1)
    yield length >= 4 and letters > 0.5, {"role": ["verbatim"]}, f"free text, {length:.0f} words on average"
    yield True, {"type": "text"}, f"{c.distinct} different texts"


def _rating(guess: Guess, column: Column) -> None:
    rating, words = column.spelled
    _codes(guess, rating, _scale(guess, rating))
    low, high = guess.given["scale"]
    if column.beside and "values" not in guess.given and high == column.beside[1] and low > column.beside[0]:
        low = column.beside[0]
        guess.say(f"columns beside it start at {low}", scale=[low, high])
    above, found = {v: n for v, n in rating.answers.items() if v > 5}, sum(rating.answers.values())
    few = sum(above.values()) < 0.1 * found or (column.beside and column.beside[1] == 5)
    if high == 10 and above and few:
        said = f"only {sum(above.values())} of {found} values lie above 5: two scales may be mixed in this column"
        lower = {"scale": [low, 5], "missing": sorted(above)}
        answers = {"1 to 5, and the others are left out": lower, f"one scale, {low:g} to {high:g}": {}}
        guess.doubts.append(Doubt("mixed scales", said, answers))
    if words:
        guess.given["values"] = words | {v: v for v in sorted(column.numbers) if low <= v <= high}
        said = f"cells such as {next(iter(words))!r} are taken for their number"
        guess.doubts.append(Doubt("cells in words", said, {"yes": {}}))


def _ends(guess: Guess, column: Column) -> None:
    low, high = sorted(float(code) for code in column.labels if isinstance(code, (int, float)))
    inside = all(low <= v <= high or column.in_ranges(v) for v in column.numbers)
    why = f"the file labels {low:g} {column.labels[low]!r} and {high:g} {column.labels[high]!r}"
    guess.say(why, **({"scale": [low, high]} if inside else {"type": "number"}))


def _labelled(guess: Guess, column: Column) -> None:
    """Take the file's value labels; stored codes without one are listed as missing, in doubt."""

    def gone(code) -> bool:
        words = column.words_of(code)
        return bool(WORDS["no_answer"].search(words)) if words else column.in_ranges(code)

    guess.given["labels"] = {code_text(c): str(w) for c, w in column.labels.items() if not gone(c)}
    if absent := [v for v in column.numbers if v in column.labels and gone(v) and not column.in_ranges(v)]:
        guess.given["missing"] = absent
    if stored := [v for v in (*column.numbers, *column.texts) if v not in column.labels and not gone(v)]:
        said = f"stored without a label: {', '.join(map(code_text, stored[:8]))}"
        guess.doubts.append(code_doubt(column, stored)._replace(topic="unlabelled", found=said))


def _numbers(guess: Guess, column: Column) -> None:
    _odd(guess, column, sorted(v for v in column.numbers if column.is_far(v)))


def _choices(guess: Guess, column: Column) -> None:
    sign, codes = column.choices
    example = next(t for t in column.texts if ";" in t or "|" in t)
    guess.say(f"cells such as {example!r} hold several codes; give the labels words")
    order = sorted(codes, key=lambda c: (not c.isdigit(), int(c) if c.isdigit() else 0, c))
    guess.given |= {"multiple": sign, "labels": {c: column.words_of(c) or c for c in order}}
    if missing := [c for c in order if re.fullmatch(r"-?\d+", c) and float(c) in CODES and c not in column.labels]:
        without = {"labels": {c: w for c, w in guess.given["labels"].items() if c not in missing}}
        said = f"{', '.join(missing)} taken for no answer; may be a choice (other, none)"
        answers = {words: {key: missing} | without for words, key in GONE.items()}
        guess.doubts.append(Doubt("codes far off", said, answers | {"choices like the others": {}}))


def _dated(guess: Guess, column: Column) -> None:
    dates = column.dates
    guess.given |= {"time_format": dates.format} if dates.format else {}
    if dates.other:
        told = f"{dates.reason} (such as {next(iter(column.texts))})"
        ways = {"day first": {"time_format": dates.format}, "month first": {"time_format": dates.other}}
        said = f"{told}; dates decide which answer of a customer is the latest"
        guess.doubts.append(Doubt("day or month", said, ways))
    else:
        guess.say(dates.reason)


def _words(guess: Guess, column: Column) -> None:
    texts = column.texts
    if gone := [t for t in texts if WORDS["no_answer"].search(t) and len(t) < 25]:
        told = ", ".join(f"{t!r} ({texts[t]} rows)" for t in gone)
        guess.say(f"{told} says that there is no answer", missing=gone)


# -- roles -----------------------------------------------------------------------------------------------------------


def _roles(guesses: list[Guess]) -> None:
    """Give roles to what is asked: recommend, satisfaction, effort, drivers, who somebody is, when it was asked."""
    rated = [g for g in guesses if "scale" in g.given]
    for guess in (g for g in rated if g.stored.says("recommend")):
        values = guess.given.get("values", {}).values() or guess.stored.answers
        whole = all(float(v).is_integer() for v in values)
        zero_to_ten = guess.given["scale"] == [0, 10]
        if whole and zero_to_ten:
            _give(guess, "nps", "by the words of the question")
            break
        guess.given["role"] = ["outcome"]
        if FROM_ONE not in guess.doubts:
            what = "in fractions" if zero_to_ten else "not from 0 to 10"
            said = f"asks for a recommendation, but {what}: no net promoter score is defined"
            guess.doubts.append(Doubt("roles", said, {"it is an outcome, by its mean": {}, "no role": {"role": None}}))
    for role, word, best in (("csat", "satisfied", "overall"), ("ces", "ease", "ease")):
        free = [g for g in rated if "role" not in g.given and g.stored.says(word)]
        for guess in sorted(free, key=lambda g: not g.stored.says(best))[:1]:
            _give(guess, role, "by the words of the question")
    outcomes = [str(g.column) for g in rated if "role" in g.given]
    if outcomes:
        drivers = [g for g in rated if "role" not in g.given and g.stored.beside and not _repeats(g, outcomes)]
        for nth, guess in enumerate(drivers):
            _give(guess, "driver", "a rating in a row with others", beside=len(drivers) - 1, shown=not nth)
    else:
        _ask_for_outcome(rated)
    free = [g for g in guesses if "role" not in g.given]
    for guess in free:
        who = guess.stored.distinct <= FEW_WORDS and guess.stored.says("who")
        if who and not guess.given.keys() & {"scale", "multiple"}:
            guess.given["role"] = ["demographic"]
    for guess in [g for g in free if g.given.get("type") == "date" and g.stored.says("asked")][:1]:
        guess.say("role asked_at by the first date", role=["asked_at"])


def _repeats(guess: Guess, outcomes: list[str]) -> bool:
    """Return whether a rating asks the same as an outcome, by another number: sat2 beside sat1."""
    plain = re.match(r"([A-Za-z]{3,}?)[ _]?\d+$", str(guess.column))
    return bool(plain) and not guess.stored.label and any(re.match(rf"{plain[1]}[ _]?\d+$", o) for o in outcomes)


def _give(guess: Guess, role: str, why: str, beside: int = 0, shown: bool = True) -> None:
    said, none = f"the role {role} is a guess", {"no role": {"role": None}}
    other = {"another outcome: its mean": {"role": ["outcome"]}} if role in ("nps", "csat") else {}
    apart = Doubt(f"role {role}", said, {"yes": {}} | other | none, shown=shown)
    said += f", and that of {beside} items below" if beside else ""
    guess.say(f"role {role}: {why}", Doubt("roles", said, {"yes": {}} | none, parts=(apart,), shown=shown), role=[role])


def _ask_for_outcome(rated: list[Guess]) -> None:
    """Ask which rating is the outcome where none says so by its words; the first from 0 to 10 may ask to recommend."""
    if not rated or len(rated) > MOST_BESIDE:
        return
    likely = [g for g in rated if g.stored.says("zero_to_ten") or symmetric(g.stored.answers)]
    likely = likely or (rated if len(rated) <= 2 else [])
    guess = (likely or rated)[0]
    answers = {"satisfaction, or another verdict on the whole: role csat": {"role": ["csat"]}}
    if guess.given["scale"] == [0, 10]:
        answers["whether to recommend: role nps"] = {"role": ["nps"]}
    said = "no question says that it asks for satisfaction or a recommendation; what does this one ask?"
    answers["something else: no role"] = {}
    guess.doubts.append(Doubt("roles", said, answers, likely=bool(likely), shown=bool(likely)))
    if not likely:
        guess.say("no question says that it asks for an outcome: give the one that does role csat, nps or outcome")
