"""What each column of a survey may be as an item: scale, codes and role, each with its reason."""

import keyword
import re
import unicodedata
from collections import Counter

from cxresearch.intake.column import CODES, WORDS, Column, code_text, dates_of
from cxresearch.intake.decision import GONE, Guess, code_doubt, doubt
from cxresearch.intake.scale import answers_of, guess_scale, is_ratinglike, is_symmetric, word_codes
from cxresearch.study.schema import TABLES, Tables

MULTIPLE = re.compile(r"(?:[^;|]{1,12}[;|])+[^;|]{0,12}")
SPELLED = re.compile(r"\s*([0-9]{1,2})\s*[-–—=:(]\s*\(?[^\W\d_]|[^\W\d_].*[^\d.,]([+-][0-9]{1,2})$")
FEW_WORDS = 25
KEY_LENGTH = 30
MOST_BESIDE = 60  # items of which one is asked for by name


def guess_items(columns: list[Column]) -> tuple[list[Guess], list[str]]:
    """Return a guess for each column that can be an item, and why others are left out."""
    tops = _tops(columns)
    models = [Tables.model_fields[name].annotation.__args__[0] for name in TABLES]
    keys = {column for model in models for column in model.columns}
    guesses, left = [], []
    for column in columns:
        if not column.filled:
            left.append(f"{column.name}: empty")
            continue
        guess = Guess(_key(column, keys), column.name, stored=column)
        if column.label and column.label != column.name:
            guess.given["label"] = column.label
        _fill(guess, column, tops.get(column.name))
        guesses.append(guess)
    _rename_choices(guesses)
    _roles(guesses, tops)
    return guesses, left


def _rename_choices(guesses: list[Guess]) -> None:
    """Give a multiple choice another key where its columns (q2_1, q2_2) would take those of other items."""
    keys = {guess.key for guess in guesses}
    for guess in guesses:
        own = (f"{guess.key}_{re.sub(r'[^0-9A-Za-z_]', '_', c)}" for c in guess.given.get("labels", ()))
        if "multiple" in guess.given and any(key in keys for key in own):
            guess.key = f"{guess.key}_choices"


def _key(column: Column, taken: set[str]) -> str:
    """Return a name in letters, digits and _ that no other column of the table has."""
    plain = unicodedata.normalize("NFKD", column.name).encode("ascii", "ignore").decode() or column.name
    words = re.sub(r"\W+", "_", plain if re.search(r"[A-Za-z]", plain) else column.name).strip("_").lower()
    base = words[:KEY_LENGTH].strip("_") or "item"
    base = base if base.isidentifier() and not keyword.iskeyword(base) else f"item_{base}"
    key, n = base, 2
    while key in taken or f"{key}_met" in taken or key.removesuffix("_met") in taken:
        key, n = f"{base}_{n}", n + 1
    taken.add(key)
    return key


def _stems(name: str) -> list[str]:
    """Return the parts of a name that columns asked together share: Q7ART -> Q7, q5_1 -> q5, wifi_rating -> rating."""
    found = re.match(r"([A-Za-z]+\d+)", name.strip()), re.match(r"(.+?)[ _.-]*\d+$", name.strip())
    ends = re.search(r"_([a-z]+)$", name.strip())
    return [m[1] for m in found if m] + ([f"*_{ends[1]}"] if ends else [])


def _tops(columns: list[Column]) -> dict[str, tuple[int, int]]:
    """Return, for each rating-like column that stands in a row of at least three, where their scale starts and ends."""
    groups: dict[str, list[Column]] = {}
    columns = [spell(column)[0] for column in columns]
    rated = {c.name: guess_scale(c) for c in columns if is_ratinglike(c) and not c.says("recommend")}
    for column in (c for c in columns if c.name in rated):
        for stem in _stems(column.name):
            groups.setdefault(stem, []).append(column)
    groups |= {f"from {group[0].name}": group for group in _side_by_side(columns, rated)}
    tops = {}
    for group in sorted(groups.values(), key=len):
        end, times = Counter(rated[column.name].high for column in group).most_common(1)[0]
        if len(group) >= 3 and times >= 0.5 * len(group) and end >= 4:
            low = min(rated[column.name].low for column in group if rated[column.name].high == end)
            # what goes on beyond the others by more than a code is another question
            tops |= {c.name: (int(low), int(end)) for c in group if rated[c.name].high <= end + 1}
    return tops


def _side_by_side(columns: list[Column], rated: dict) -> list[list[Column]]:
    """Return runs of neighbours on one scale of at least five points, all of which were answered."""
    runs, current, end = [], [], None
    for column in columns:
        asked = column.name in rated and not column.labels and len(answers_of(column)) >= 5
        high = rated[column.name].high if asked else None
        if high is None or high != end or high < 5:
            current, end = [], high
            runs.append(current)
        if high is not None:
            current.append(column)
    return [run for run in runs if len(run) >= 3]


def _fill(guess: Guess, column: Column, top: tuple[int, int] | None) -> None:
    spelled, words = spell(column)
    asks = top or column.says("rating", "recommend", "zero_to_ten")
    if words and is_ratinglike(spelled):
        _rating(guess, spelled, top)
        low, high = guess.given["scale"]
        guess.given["values"] = words | {v: v for v in sorted(column.numbers) if low <= v <= high}
        guess.stored = spelled._replace(texts=column.texts, numbers=column.numbers)
        said = f"cells such as {next(iter(words))!r} are taken for their number"
        guess.doubts.append(doubt("cells in words", said, "yes"))
    elif is_ratinglike(column) and (asks or _ends_only(column) or is_symmetric(answers_of(column))):
        _rating(guess, column, top)
    elif column.labels:
        _labelled(guess, column)
    elif column.padded and column.numeric:
        guess.given["type"] = "text"
        guess.reasons.append("digits that start with zeros: a name, not a number")
    elif column.numeric:
        _number(guess, column)
    elif not _choices(guess, column) and not _dated(guess, column):
        _text(guess, column)


def spell(column: Column) -> tuple[Column, dict[str, float]]:
    """Return the column with cells such as ``10 - Extremely likely`` as their number, and text -> number of these."""
    words = {t: float(m[1] or m[2]) for t in column.texts if len(t) < 60 and (m := SPELLED.match(t))}
    if not words or len(words) > FEW_WORDS:
        return column, {}
    numbers = dict(column.numbers)
    for text, number in words.items():
        numbers[number] = numbers.get(number, 0) + column.texts[text]
    return column._replace(numbers=numbers, texts={t: n for t, n in column.texts.items() if t not in words}), words


def _ends_only(column: Column) -> bool:
    """Return whether only some codes have labels: then the others are points between them."""
    answers = answers_of(column)
    return bool(column.labels) and sum(v in column.labels for v in answers) < len(answers)


def _rating(guess: Guess, column: Column, top: tuple[int, int] | None) -> None:
    scale = guess_scale(column, top=top and top[1])
    if top and scale.high == top[1] and scale.low > top[0] and not scale.values:
        scale.low = top[0]
        scale.reasons.append(f"columns beside it start at {top[0]}")
    found = answers_of(column)
    above = sum(n for v, n in found.items() if v > 5)
    few = above < 0.1 * sum(found.values()) or (top is not None and top[1] == 5)
    if scale.high == 10 and above and few:
        said = f"only {above} of {sum(found.values())} values lie above 5: two scales may be mixed in this column"
        lower = {"scale": [scale.low, 5], "missing": sorted(v for v in found if v > 5)}
        whole = f"one scale, {scale.low:g} to {scale.high:g}"
        scale.doubts.append(doubt("mixed scales", said, ("1 to 5, and the others are left out", lower), whole))
    guess.given |= {"scale": [scale.low, scale.high]} | ({"values": scale.values} if scale.values else {}) | scale.given
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
    guess.given["labels"] = {code_text(c): str(w) for c, w in column.labels.items() if not _gone(column, c)}
    guess.reasons.append("value labels of the file")
    absent = [v for v in column.numbers if v in column.labels and _gone(column, v) and not column.in_ranges(v)]
    if absent:
        guess.given["missing"] = absent
    if stored := [v for v in (*column.numbers, *column.texts) if v not in column.labels and not _gone(column, v)]:
        said = f"stored without a label: {', '.join(map(code_text, stored[:8]))}"
        guess.doubts.append(code_doubt(column, stored, None)._replace(topic="unlabelled", found=said))


def _gone(column: Column, code) -> bool:
    words = column.words_of(code)
    return bool(WORDS["no_answer"].search(words)) if words else isinstance(code, float) and column.in_ranges(code)


def _number(guess: Guess, column: Column) -> None:
    """Numbers without a scale: an amount, an age, or the codes of a category."""
    plain = [v for v in column.numbers if v not in CODES]
    if column.whole and len(plain) <= FEW_WORDS // 2 and column.writing.decimal == ".":
        shown = ", ".join(code_text(v) for v in sorted(column.numbers)[:8]) + ", ..." * (len(column.numbers) > 8)
        guess.reasons.append(f"codes without a meaning in the file: {shown}")
    else:
        guess.given["type"] = "number"
        low, high = (min(plain), max(plain)) if plain else (min(column.numbers), max(column.numbers))
        guess.reasons.append(f"numbers from {low:g} to {high:g}")
    word_codes(column, guess)
    if far := [v for v in column.numbers if column.is_far(v)]:
        guess.doubts.append(code_doubt(column, sorted(far), None))


def _choices(guess: Guess, column: Column) -> bool:
    """Recognise the cells of a multiple choice: ``1;3;``, several codes, few different ones."""
    texts = {t: n for t, n in column.texts.items() if ";" in t or "|" in t}
    if not texts or sum(texts.values()) < 0.5 * column.filled or not all(MULTIPLE.fullmatch(t) for t in texts):
        return False
    sign = ";" if any(";" in t for t in texts) else "|"
    codes = Counter()
    for text, n in [*column.texts.items(), *((code_text(v), n) for v, n in column.numbers.items())]:
        codes.update({part.strip(): n for part in text.split(sign) if part.strip()})
    if len(codes) > 2 * FEW_WORDS:
        return False
    order = sorted(codes, key=lambda c: (not c.isdigit(), int(c) if c.isdigit() else 0, c))
    labels = {c: column.words_of(c) or c for c in order}
    if missing := [c for c in order if re.fullmatch(r"-?\d+", c) and float(c) in CODES and c not in column.labels]:
        without = {"labels": {c: w for c, w in labels.items() if c not in missing}}
        said = f"{', '.join(missing)} taken for no answer; may be a choice (other, none)"
        gone = [(words, {key: missing} | without) for words, key in GONE]
        guess.doubts.append(doubt("codes far off", said, *gone, "choices like the others"))
    guess.given |= {"multiple": sign, "labels": labels}
    guess.reasons.append(f"cells such as {next(iter(texts))!r} hold several codes; give the labels words")
    return True


def _dated(guess: Guess, column: Column) -> bool:
    dates = dates_of(column)
    if dates is None:
        return False
    if dates.format and all(int(y) < 1950 for t in column.texts for y in re.findall(r"\d{4}", t)):
        guess.given["type"] = "text"
        guess.reasons.append("dates before 1950: a spreadsheet's way to write a time of day")
        return True
    guess.given |= {"type": "date"} | ({"time_format": dates.format} if dates.format else {})
    if dates.other:
        said = f"{dates.reason} (such as {dates.example}); dates decide which answer of a customer is the latest"
        ways = [(f"{how} first", {"time_format": way}) for how, way in (("day", dates.format), ("month", dates.other))]
        guess.doubts.append(doubt("day or month", said, *ways))
    else:
        guess.reasons.append(dates.reason)
    return True


def _text(guess: Guess, column: Column) -> None:
    texts = column.texts
    if column.distinct <= FEW_WORDS and column.distinct <= max(2, column.filled / 2):
        guess.reasons.append(f"{column.distinct} different word{'s' * (column.distinct != 1)}")
        if gone := [t for t in texts if WORDS["no_answer"].search(t) and len(t) < 25]:
            guess.given["missing"] = gone
            told = ", ".join(f"{t!r} ({texts[t]} rows)" for t in gone)
            guess.reasons.append(f"{told} says that there is no answer")
        return
    words = sum(len(t.split()) * n for t, n in texts.items()) / max(sum(texts.values()), 1)
    letters = sum(c.isalpha() for t in texts for c in t) / max(sum(map(len, texts)), 1)
    if words >= 4 and letters > 0.5:
        guess.given["role"] = ["verbatim"]
        guess.reasons.append(f"free text, {words:.0f} words on average")
    else:
        guess.given["type"] = "text"
        guess.reasons.append(f"{column.distinct} different texts")


def _roles(guesses: list[Guess], tops: dict[str, tuple[int, int]]) -> None:
    """Give roles to what is asked: recommend, satisfaction, effort, drivers, who somebody is, when it was asked."""
    rated = [g for g in guesses if "scale" in g.given]
    for guess in (g for g in rated if g.stored.says("recommend")):
        _recommends(guess)
        if guess.given["role"] == ["nps"]:
            break
    overall = sorted(rated, key=lambda g: not g.stored.says("overall"))
    for role, word, among in (("csat", "satisfied", overall), ("ces", "ease", rated)):
        if guess := next((g for g in among if g.stored.says(word) and "role" not in g.given), None):
            _give(guess, role, "by the words of the question")
    drivers = [g for g in rated if "role" not in g.given and g.column in tops and not _repeats(g, rated)]
    if not any("role" in g.given for g in rated):
        _ask_for_outcome(rated)
    else:
        for nth, guess in enumerate(drivers):
            _give(guess, "driver", "a rating in a row with others", beside=len(drivers) - 1, shown=not nth)
    for guess in guesses:
        who = guess.stored.distinct <= FEW_WORDS and guess.stored.says("who")
        if who and not guess.given.keys() & {"role", "scale", "multiple"}:
            guess.given["role"] = ["demographic"]
    dated = (g for g in guesses if g.given.get("type") == "date" and g.stored.says("asked"))
    if guess := next((g for g in dated if "role" not in g.given), None):
        guess.given["role"] = ["asked_at"]
        guess.reasons.append("role asked_at by the first date")


def _recommends(guess: Guess) -> None:
    """Give a question whether to recommend the role nps, or outcome where it has no net promoter score."""
    values = guess.given.get("values") or {v: v for v in answers_of(guess.stored)}
    if guess.given["scale"] == [0, 10] and all(float(v).is_integer() for v in values.values()):
        _give(guess, "nps", "by the words of the question")
        return
    guess.given["role"] = ["outcome"]
    what = "but in fractions" if guess.given["scale"] == [0, 10] else "but not from 0 to 10"
    if not any(d.topic == "scale of recommend" for d in guess.doubts):
        said = f"asks for a recommendation, {what}: no net promoter score is defined"
        guess.doubts.append(doubt("roles", said, "it is an outcome, by its mean", ("no role", {"role": None})))


def _repeats(guess: Guess, rated: list[Guess]) -> bool:
    """Return whether a rating asks the same as an outcome, by another number: sat2 beside sat1."""
    plain = re.match(r"([A-Za-z]{3,}?)[ _]?\d+$", str(guess.column))
    outcomes = [str(g.column) for g in rated if {"nps", "csat", "ces", "outcome"} & set(g.given.get("role", ()))]
    return bool(plain) and not guess.stored.label and any(re.match(rf"{plain[1]}[ _]?\d+$", o) for o in outcomes)


def _give(guess: Guess, role: str, why: str, beside: int = 0, shown: bool = True) -> None:
    guess.given["role"] = [role]
    guess.reasons.append(f"role {role}: {why}")
    said, none = f"the role {role} is a guess", ("no role", {"role": None})
    other = [("another outcome: its mean", {"role": ["outcome"]})] if role in ("nps", "csat") else []
    apart = doubt(f"role {role}", said, "yes", *other, none, shown=shown)
    said += f", and that of {beside} items below" if beside else ""
    guess.doubts.append(doubt("roles", said, "yes", none, parts=(apart,), shown=shown))


def _ask_for_outcome(rated: list[Guess]) -> None:
    """Ask which rating is the outcome where none says so by its words; the first from 0 to 10 may ask to recommend."""
    if not rated or len(rated) > MOST_BESIDE:
        return
    plain = [g for g in rated if g.stored.says("zero_to_ten") or is_symmetric(answers_of(g.stored))]
    guess, likely = (plain or rated)[0], bool(plain) or len(rated) <= 2
    answers = [("satisfaction, or another verdict on the whole: role csat", {"role": ["csat"]})]
    if guess.given["scale"] == [0, 10]:
        answers.append(("whether to recommend: role nps", {"role": ["nps"]}))
    said = "no question says that it asks for satisfaction or a recommendation; what does this one ask?"
    guess.doubts.append(doubt("roles", said, *answers, "something else: no role", likely=likely, shown=likely))
    if not likely:
        said = "no question says that it asks for an outcome: give the one that does role csat, nps or outcome"
        guess.reasons.append(said)
