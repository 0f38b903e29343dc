"""What each column of a survey may be as an item: kind, scale, codes and role, with reasons and what is doubtful."""

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

from cxresearch.findings import number
from cxresearch.intake.look import CODES, MANY, PATTERNS, WORDS, Column, absence, code_text, say, symmetric
from cxresearch.study.codes import LEADING_NUMBER
from cxresearch.study.schema import COLUMNS

GONE = PATTERNS["gone"]
MULTIPLE = re.compile(r"(?:[^;|]{1,12}[;|])+[^;|]{0,12}")
KEY_LENGTH, MOST_BESIDE = 30, 60  # letters; items of which one is asked for by name
STEMS = (r"^([A-Za-z]+\d+)", r"^(.+?)[ _.-]*\d+$", r"(_[a-z]+)$")  # what columns asked together share of their names
ENDS = (3, 4, 5, 7, 9, 10)
ONE_TO_TEN = {float(v): float(v) for v in range(1, 11)}
SHIFTED, ELEVEN_AS_0 = {v: v - 1 for v in (*ONE_TO_TEN, 11.0)}, {11.0: 0.0} | ONE_TO_TEN


class Doubt(NamedTuple):
    """Doubts of one topic are one decision.

    `answers` are words -> what they change: key of the study file -> value (None: out), codes added. The likely answer
    stands first, and is written unless none is `likely`. `parts` are asked instead where each is to be answered apart.
    """

    topic: str
    found: str
    answers: dict[str, dict] = {"yes": {}}
    likely: bool = True
    parts: tuple["Doubt", ...] = ()
    shown: bool = True  # or it stands with that of another item
    codes: tuple = ()  # that it is about


MEANT = {"1-11 stand for 0-10": {"values": SHIFTED}, "11 stands for 0": {"values": ELEVEN_AS_0}}
BLANK = {"11 is a blank": {"missing": [11.0], "confirmed": True}}
ELEVEN = Doubt("1 to 11", say("eleven"), MEANT | BLANK, likely=False, codes=(11.0,))
FROM = {"from 1 to 10: no net promoter score is defined": {}, "from 0 to 10": {"scale": [0, 10], "role": ["nps"]}}
FROM_ONE = Doubt("scale of recommend", say("no zero"), FROM)
NO_ROLE = {"no role": {"role": None}}


@dataclass
class Guess:
    """An item or a table as it will be written: keys of the study file, why, what is doubtful, what was answered."""

    key: str
    column: str | dict[str, str] = ""
    given: dict = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    stored: Column | None = None
    taken: dict[str, int] = field(default_factory=dict)

    def say(self, *told: str | Doubt, **given) -> None:
        """Give keys of the study file values, with the reasons and what is doubtful about them."""
        self.given |= given
        self.reasons += [reason for reason in told if isinstance(reason, str)]
        self.doubts += [doubt for doubt in told if isinstance(doubt, Doubt)]

    def take(self, rows: Iterable[tuple]) -> None:
        """Say the first that holds of rows: whether it does, what is given, reasons and doubts."""
        given, *told = next(row for holds, *row in rows if holds)
        self.say(*told, **given)

    @property
    def open(self) -> list[Doubt]:
        return [doubt for doubt in self.doubts if doubt.topic not in self.taken]

    def written(self, taken: Mapping[str, int] = {}) -> dict:
        """Return the keys under the answers taken, or else the likely ones."""
        given = dict(self.given)
        for doubt in self.doubts:
            nth = {**self.taken, **taken}.get(doubt.topic, 0 if doubt.likely else None)
            for key, value in list(doubt.answers.values())[nth].items() if doubt.answers and nth is not None else ():
                added = value is not None and key in GONE.values()
                given[key] = list(dict.fromkeys([*given.get(key, ()), *value])) if added else value
        if "nps" in (given.get("role") or ()) and given.get("scale") != [0, 10]:
            given["role"] = ["outcome"]  # by an answer its scale is another, on which no net promoter score is defined
        return {key: value for key, value in given.items() if value is not None}

    def effect(self, topic: str, nth: int) -> str:
        """Return in words which number an answer gives, or nothing where it is no rating."""
        given = self.written({topic: nth})
        (low, high), meant = given.get("scale", (0, 0)), given.get("values")
        gone = {code for key in GONE.values() for code in given.get(key, ())}
        stored = (self.stored.numbers | self.stored.texts).items() if "scale" in given else ()
        met = [(code, rows) for code, rows in stored if code not in gone and not self.stored.in_ranges(code)]
        values = [(meant.get(code) if meant else code, rows) for code, rows in met]
        answers = [(v, rows) for v, rows in values if isinstance(v, float) and low <= v <= high]
        if not (n := sum(rows for _, rows in answers)):
            return ""
        if "nps" in given.get("role", ()):
            score = 100 * sum(rows * ((v >= 9) - (v <= 6)) for v, rows in answers) / n
            return f"net promoter score {number(score, 1)} of {number(n, 0)} answers"
        return f"mean {number(sum(v * rows for v, rows in answers) / n, 2)} of {number(n, 0)} answers"


def code_doubt(column: Column, codes: list, scale: list | None = None, *, met: bool = False) -> Doubt:
    """Return the doubt whether stored codes are answers, skipped, or do not apply; `met`: the last is likely."""
    stored = column.numbers | column.texts
    words = {code: f", {w}" if (w := column.labels.get(code)) else "" for code in codes}
    told = [f"{code_text(code)} ({stored[code]} rows{words[code]})" for code in codes]
    answers = {words: {key: codes} for words, key in sorted(GONE.items(), reverse=met)}
    code, likely = codes[0], next(iter(answers)).split(":")[0]
    if scale and isinstance(code, float) and 0 <= code <= scale[1] + 1 and code >= scale[0] - 1:
        wide = [min(scale[0], code), max(scale[1], code)]
        answers[f"an answer: the scale is {wide[0]:g} to {wide[1]:g}"] = {"scale": wide}
    found = f"{', '.join(told)} {'lie' if len(told) > 1 else 'lies'} off the scale: taken for {likely}"
    if not all(map(column.is_far, codes)):
        return Doubt(f"code {code_text(code)}", found, answers, codes=(code,))
    each = [code_doubt(column, [c])._replace(topic=f"code {code_text(c)}") for c in codes] if len(codes) > 1 else []
    return Doubt("codes far off", found, answers, parts=tuple(each), codes=tuple(codes))


def guess_items(columns: list[Column]) -> list[Guess]:
    """Return a guess for each column that can be an item."""
    taken, guesses = set(COLUMNS), []
    for column in _beside(columns):
        label = {"label": column.label} if column.label and column.label != column.name else {}
        guesses.append(guess := Guess(_key(column, taken), column.name, label, stored=column))
        guess.take(_kinds(column))
    keys = {guess.key for guess in guesses}
    for guess in (g for g in guesses if "multiple" in g.given):
        own = {f"{guess.key}_{re.sub(r'[^0-9A-Za-z_]', '_', c)}" for c in guess.given["labels"]}
        guess.key += "_choices" * bool(own & keys)  # its columns (q2_1, q2_2) would take those of other items
    _roles(guesses)
    return guesses


def _key(column: Column, taken: set[str]) -> str:
    """Return a name in letters, digits and _ that no other column of the table has."""
    ascii_ = unicodedata.normalize("NFKD", column.name).encode("ascii", "ignore").decode()
    words = re.sub(r"\W+", "_", ascii_ if re.search(r"[A-Za-z]", ascii_) else column.name).strip("_").lower()
    base = words[:KEY_LENGTH].strip("_") or "item"
    base = base if base.isidentifier() and not keyword.iskeyword(base) else f"item_{base}"
    key, n = base, 2
    while {key, f"{key}_met", key.removesuffix("_met")} & taken:
        key, n = f"{base}_{n}", n + 1
    taken.add(key)
    return key


def _beside(columns: list[Column]) -> list[Column]:
    """Return the columns; ratings in a row of at least three know where the scale of the row starts and ends.

    A row shares a part of its name (Q7ART and Q7FOOD, q5_1, wifi_rating), or is neighbours on one scale from five on.
    """
    rated = [c for c in (c.spelled[0] for c in columns) if c.ratinglike and not c.says("recommend")]
    scales = {c.name: next(row for holds, *row in _scales(c) if holds)[0]["scale"] for c in rated}
    rows: dict[str, list[str]] = {}
    for name in scales:
        for found in filter(None, (re.search(stem, name.strip()) for stem in STEMS)):
            rows.setdefault(found[1], []).append(name)
    asked = {c.name for c in rated if not c.labels and len(c.answers) >= 5 and scales[c.name][1] >= 5}
    runs = groupby(columns, lambda c: scales[c.name][1] if c.name in asked else None)
    neighbours = [[column.name for column in run] for end, run in runs if end]
    beside: dict[str, tuple[int, int]] = {}
    for row in sorted((row for row in (*map(dict.fromkeys, rows.values()), *neighbours) if len(row) >= 3), key=len):
        ends = Counter(scales[name][1] for name in row)
        often = sorted((end for end in ends if ends[end] >= 0.5 * len(row) and end >= 4), reverse=True)
        # of two as frequent each has its own, unless the best answer was not given to some
        for end in (end for end in often if end != often[0] - 1):
            low = min(scales[name][0] for name in row if scales[name][1] == end)
            # what goes on beyond the others by more than a code is another question
            beside |= {name: (int(low), int(end)) for name in row if scales[name][1] <= end + 1}
    return [replace(column, beside=beside.get(column.name)) for column in columns]


def _scales(c: Column) -> Iterator[tuple]:
    """Yield what scale a rating may be on, never wider than its answers: whether it is, keys, reason, doubts."""
    found = sorted(c.answers)
    low, high = found[0], found[-1]
    labels = {v: w for v, w in c.labels.items() if v in c.answers or isinstance(v, float) and 0 <= v <= 11}
    labels = {code: words for code, words in labels.items() if not absence(words) and not c.in_ranges(code)}
    said = {code: int(m[1]) for code, words in labels.items() if (m := LEADING_NUMBER.match(words))}
    if (len(said) >= 2 and any(code != number for code, number in said.items())) or said == {11.0: 0}:
        values = _relabelled(found, said)
        unknown = [code for code in found if code not in values]
        words = f"{', '.join(map(code_text, unknown))} stored without a label: add to values, or to missing"
        missing = Doubt("unlabelled", words, {"missing": {"missing": unknown}}, likely=False, codes=tuple(unknown))
        examples = ", ".join(f"{code:g} is labelled {number}" for code, number in list(said.items())[:3])
        mapped = _mapped(values, f"stored codes are not the answers: {examples}", say("mapped"))
        yield True, *mapped, *[missing] * bool(unknown)
    if len(labels) > 1:
        first, last = min(labels), max(labels)
        why = f"the file labels {first:g} {labels[first]!r} and {last:g} {labels[last]!r}"
        turned = bool(WORDS["good"].search(labels[first]) or (last == 11 and WORDS["bad"].search(labels[last])))
        look, zero = "look at the words of both ends", "10-0" if turned else "0-10"
        values = {v: 11 - v for v in SHIFTED} if turned else SHIFTED
        yield (first, last) == (1, 11), *_mapped(values, why, f"1-11 is taken for {zero}: {look}")
        yield (first, last) == (10, 11) and low >= 1, *_mapped(ELEVEN_AS_0, why, f"11 is taken for 0: {look}")
        back = {float(v): first + last - v for v in range(int(first), int(last) + 1)}
        answers = {"as it is stored: more is worse": {}, "turned round: more is better": {"values": back}}
        good = Doubt("good end", say("good end", first=code_text(first)), answers)
        yield True, {"scale": [first, last]}, why, *[good] * turned
    named = c.says("zero_to_ten")
    asks = named or c.says("recommend")
    yield asks and high == 11 and low == 0, {"scale": [0, 10]}, "0 to 10 are answers, and 11 lies beyond"
    yield asks and high == 11, {"scale": [0, 10]}, say("never 0"), ELEVEN
    yield named, {"scale": [0, 10]}, "the question names 0 to 10"
    yield asks and low == 0 and high > 7, {"scale": [0, 10]}, "0 and values up to 10 are stored"
    yield asks and high > 7, {"scale": [1, 10]}, f"stored are {low:g} to {high:g}", FROM_ONE
    yield symmetric(found), {"scale": [low, high]}, f"stored are all of {low:g} to {high:g}"
    *inner, last = (v for v in found if v > 0)
    before = inner[-1]  # a code that stands apart above all points of a scale is none of them
    full = before in ENDS and inner == [float(v) for v in range(1, int(before) + 1)]
    apart = full and ((last, before) in ((6, 5), (8, 7)) or (last > before + 1 and last != 10))
    end = 10 if last == 11 else before if apart else last
    end = c.beside[1] if c.beside and last <= 1 + c.beside[1] else end
    start, why = 0 if low == 0 and end == 10 else 1, []
    if c.beside and end == c.beside[1] and start > c.beside[0]:
        start, why = c.beside[0], [f"columns beside it start at {c.beside[0]}"]
    yield True, {"scale": [start, end]}, f"stored are {', '.join(map(code_text, found))}", *why


def _mapped(values: dict[float, float], reason: str, said: str) -> tuple:
    """Return the keys of codes that stand for other numbers, why, and the doubt whether they do."""
    stored = {"no: the codes are the answers": {"values": None, "scale": [min(values), max(values)]}}
    topic = f"codes as {', '.join(f'{c:g}={v:g}' for c, v in list(values.items())[:2])}"
    given = {"scale": [min(values.values()), max(values.values())], "values": dict(sorted(values.items()))}
    return given, reason, Doubt(topic, said, {"yes": {}} | stored)


def _relabelled(found: list[float], said: dict[float, int]) -> dict[float, float]:
    """Return code -> answer where labels give codes other numbers: each code stands for its label's number."""
    shifts = {number - code for code, number in said.items()}
    values = {code: float(number) for code, number in said.items()}
    if len(shifts) == 1 and len(said) > 1:
        return values | {code: code + min(shifts) for code in found if code not in values}
    # only some codes were moved: the others stay unless a label already gives their number away
    low, high = (min(said.values()), max(said.values())) if len(said) > 1 else (0, 10)
    own = [code for code in found if code not in values and code not in said.values()]
    return values | {code: code for code in own if low <= code <= high}


def _codes(c: Column, known: set[float], scale: list | None = None) -> tuple:
    """Return the keys that set aside codes off the scale and words for no answer, and what is said of them."""
    given, told, far = {}, [], []
    for value, n in sorted(c.numbers.items()):
        words = c.labels.get(value, "")
        if c.in_ranges(value):
            told.append(f"the file itself declares {value:g}{f' ({words})' if words else ''} missing: {n} rows")
        elif value not in known and (gone := absence(words)):
            given.setdefault(gone, []).append(value)
            told.append(f"the file labels {value:g} {words!r}: {gone.replace('_', ' ')}, {n} rows")
        elif value not in known and c.is_far(value):
            far.append(value)
        elif value not in known:
            told.append(code_doubt(c, [value], scale, met=value == scale[1] + 1 and scale != [0, 10]))
    told += [code_doubt(c, far)] if far else []
    for text, n in c.texts.items():
        if any(x.isnumeric() for x in text) and not any(x.isalpha() for x in text):
            told.append(Doubt("slip", f"{text!r} ({n} rows) is no number as it is written: correct the file", {}))
        elif gone := absence(text):
            given.setdefault(gone, []).append(text)
            told.append(f"{text!r} ({n} rows) says that there is no answer")
        else:
            told.append(code_doubt(c, [text]))
    return given, *told


def _rating(c: Column) -> tuple:
    """Return the keys of a rating, and what is said of it."""
    (rating, words), guess = c.spelled, Guess("")
    guess.take(_scales(rating))
    (low, high), values = guess.given["scale"], guess.given.get("values", {})
    known = {code for doubt in guess.doubts for code in doubt.codes}
    # what no label explains is left for somebody to decide, and refused until then
    known |= values.keys() | rating.answers.keys() if values else {v for v in rating.numbers if low <= v <= high}
    given, *told = _codes(rating, known, [low, high])
    guess.say(*told, **given)
    above, n = {v: n for v, n in rating.answers.items() if v > 5}, sum(rating.answers.values())
    if high == 10 and above and (sum(above.values()) < 0.1 * n or (c.beside and c.beside[1] == 5)):
        own = [v for v in sorted(above) if v <= high]  # a code beyond is a doubt of its own
        lower = {"1 to 5, and the others are left out": {"scale": [low, 5]} | ({"missing": own} if own else {})}
        said = f"only {sum(above.values())} of {n} values lie above 5: two scales may be mixed in this column"
        guess.say(Doubt("mixed scales", said, lower | {f"one scale, {low:g} to {high:g}": {}}))
    if words:
        told = Doubt("cells in words", f"cells such as {next(iter(words))!r} are taken for their number")
        guess.say(told, values=words | {v: v for v in sorted(c.numbers) if low <= v <= high})
    return guess.given, *guess.reasons, *guess.doubts


def _kinds(c: Column) -> Iterator[tuple]:
    """Yield what a column may be: whether it is that, keys of its item, reasons and doubts."""
    rating, words = c.spelled
    ends_only = c.labels and not c.labels.keys() >= rating.answers.keys()  # the others are points between them
    asks = words or c.beside or c.says("rating", "recommend", "zero_to_ten")
    if rating.ratinglike and (asks or ends_only or symmetric(rating.answers)):
        yield True, *_rating(c)
    ends = sorted(float(code) for code in c.labels if isinstance(code, (int, float)))
    measured = not c.whole or len(c.numbers) > 2 * len(c.labels) + 5  # the numbers are no codes of these labels
    if measured and len(ends) == 2:
        low, high = ends
        inside = all(low <= v <= high or c.in_ranges(v) for v in c.numbers)
        why = f"the file labels {low:g} {c.labels[low]!r} and {high:g} {c.labels[high]!r}"
        yield True, {"scale": ends} if inside else {"type": "number"}, why
    if c.labels and not measured:
        gone = {code for code, w in c.labels.items() if (WORDS["missing"].search(w) if w else c.in_ranges(code))}
        absent = [v for v in c.numbers if v in gone and not c.in_ranges(v)]
        stored = [v for v in (*c.numbers, *c.texts) if v not in c.labels and not c.in_ranges(v)]
        said = f"stored without a label: {', '.join(map(code_text, stored[:8]))}"
        doubts = [code_doubt(c, stored)._replace(topic="unlabelled", found=said)] if stored else []
        given = {"labels": {code_text(code): w for code, w in c.labels.items() if code not in gone}}
        yield True, given | ({"missing": absent} if absent else {}), "value labels of the file", *doubts
    named = c.padded and c.numeric and not c.labels
    yield named, {"type": "text"}, "digits that start with zeros: a name, not a number"
    if c.numeric or c.labels:
        given, *told = _codes(c, {v for v in c.numbers if not c.is_far(v)})
        shown = ", ".join(map(code_text, sorted(c.numbers)[:8])) + ", ..." * (len(c.numbers) > 8)
        coded = c.whole and len(c.usual) <= MANY // 2 and c.writing.decimal == "."
        yield coded, given, f"codes without a meaning in the file: {shown}", *told
        low, high = min(c.usual or c.numbers), max(c.usual or c.numbers)
        yield True, {"type": "number"} | given, f"numbers from {low:g} to {high:g}", *told
    yield from _choices(c)
    if dates := c.dates:
        format_ = {"time_format": dates.format} if dates.format else {}
        why = "dates before 1950: a spreadsheet's way to write a time of day"
        yield dates.format and dates.last < 1950, {"type": "text"}, why
        said = f"{dates.reason} (such as {next(iter(c.texts))}); dates decide which answer of a customer is the latest"
        ways = {"day first": format_, "month first": {"time_format": dates.other}}
        yield True, {"type": "date"} | format_, Doubt("day or month", said, ways) if dates.other else dates.reason
    gone = [t for t in c.texts if WORDS["missing"].search(t) and len(t) < 25]
    told = ", ".join(f"{t!r} ({c.texts[t]} rows)" for t in gone) + " says that there is no answer"
    few, missing = c.distinct <= min(MANY, max(2, c.filled / 2)), {"missing": gone} if gone else {}
    yield few, missing, f"{c.distinct} different word{'s' * (c.distinct != 1)}", *[told] * bool(gone)
    length = sum(len(t.split()) * n for t, n in c.texts.items()) / max(sum(c.texts.values()), 1)
    letters = sum(x.isalpha() for t in c.texts for x in t) / max(sum(map(len, c.texts)), 1)
    yield length >= 4 and letters > 0.5, {"role": ["verbatim"]}, f"free text, {length:.0f} words on average"
    yield True, {"type": "text"}, f"{c.distinct} different texts"


def _choices(c: Column) -> Iterator[tuple]:
    """Yield the codes of a multiple choice, whose cells are such as ``1;3;``, if they are few."""
    texts = {t: n for t, n in c.texts.items() if ";" in t or "|" in t}
    if not texts or sum(texts.values()) < 0.5 * c.filled or not all(map(MULTIPLE.fullmatch, texts)):
        return
    sign = ";" if any(";" in t for t in texts) else "|"
    codes = {part.strip() for text in c.stored for part in text.split(sign)} - {""}
    order = sorted(codes, key=lambda code: (not code.isdigit(), int(code) if code.isdigit() else 0, code))
    labels = {code: c.labels.get(code) or code for code in order}
    far = [v for v in order if re.fullmatch(r"-?\d+", v) and float(v) in CODES and v not in c.labels]
    without = {"labels": {code: words for code, words in labels.items() if code not in far}}
    answers = {words: {key: far} | without for words, key in GONE.items()} | {"choices like the others": {}}
    doubt = Doubt("codes far off", f"{', '.join(far)} taken for no answer; may be a choice (other, none)", answers)
    why = f"cells such as {next(iter(texts))!r} hold several codes; give the labels words"
    yield len(codes) <= 2 * MANY, {"multiple": sign, "labels": labels}, why, *[doubt] * bool(far)


def _roles(guesses: list[Guess]) -> None:
    """Give roles to what is asked: recommend, satisfaction, effort, drivers, who somebody is, when it was asked."""
    rated = [g for g in guesses if "scale" in g.given]
    for guess in (g for g in rated if g.stored.says("recommend")):
        scores = guess.given.get("values", {}).values() or guess.stored.answers
        zero_to_ten = guess.given["scale"] == [0, 10]
        if zero_to_ten and all(float(v).is_integer() for v in scores):
            _give(guess, "nps", "by the words of the question")
            break
        guess.given["role"] = ["outcome"]
        if FROM_ONE not in guess.doubts:
            what = "in fractions" if zero_to_ten else "not from 0 to 10"
            said = f"asks for a recommendation, but {what}: no net promoter score is defined"
            guess.say(Doubt("roles", said, {"it is an outcome, by its mean": {}} | NO_ROLE))
    for role, word, best in (("csat", "satisfied", "overall"), ("ces", "ease", "ease")):
        free = [g for g in rated if "role" not in g.given and g.stored.says(word)]
        for guess in sorted(free, key=lambda g: not g.stored.says(best))[:1]:
            _give(guess, role, "by the words of the question")
    numbered = {g.key: m[1] for g in rated if (m := re.match(r"([A-Za-z]{3,}?)[ _]?\d+$", str(g.column)))}
    if outcomes := {numbered.get(g.key) for g in rated if "role" in g.given}:
        # a rating without words that asks the same as an outcome by another number (sat2 beside sat1) drives nothing
        other = [g for g in rated if g.stored.label or numbered.get(g.key, "") not in outcomes]
        drivers = [g for g in other if "role" not in g.given and g.stored.beside]
        for nth, guess in enumerate(drivers):
            _give(guess, "driver", "a rating in a row with others", beside=len(drivers) - 1, shown=not nth)
    elif 0 < len(rated) <= MOST_BESIDE:
        # which rating is the outcome is asked where none says so; the first from 0 to 10 may ask to recommend
        likely = [g for g in rated if g.stored.says("zero_to_ten") or symmetric(g.stored.answers)]
        likely = likely or (rated if len(rated) <= 2 else [])
        guess = (likely or rated)[0]
        answers = {"satisfaction, or another verdict on the whole: role csat": {"role": ["csat"]}}
        answers |= {"whether to recommend: role nps": {"role": ["nps"]}} if guess.given["scale"] == [0, 10] else {}
        answers |= {"something else: no role": {}}
        guess.say(Doubt("roles", say("what role"), answers, likely=bool(likely), shown=bool(likely)))
        guess.say(*[say("no role")] * (not likely))
    free = [g for g in guesses if "role" not in g.given]
    for guess in (g for g in free if not g.given.keys() & {"scale", "multiple"}):
        if guess.stored.distinct <= MANY and guess.stored.says("who"):
            guess.given["role"] = ["demographic"]
    for guess in [g for g in free if g.given.get("type") == "date" and g.stored.says("asked")][:1]:
        guess.say("role asked_at by the first date", role=["asked_at"])


def _give(guess: Guess, role: str, why: str, beside: int = 0, shown: bool = True) -> None:
    said = f"the role {role} is a guess"
    other = {"another outcome: its mean": {"role": ["outcome"]}} if role in ("nps", "csat") else {}
    apart = Doubt(f"role {role}", said, {"yes": {}} | other | NO_ROLE, shown=shown)
    said += f", and that of {beside} items below" if beside else ""
    together = Doubt("roles", said, {"yes": {}} | NO_ROLE, parts=(apart,), shown=shown)
    guess.say(f"role {role}: {why}", together, role=[role])
