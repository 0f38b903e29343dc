"""A guess: what is given and why, what is doubtful, the questions that ask it, and the text of a study file."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cxresearch.findings import number
from cxresearch.intake.column import PATTERNS, Column, code_text, sentence

NAMES_SHOWN, WIDE, APART = 12, 112, "ask of each apart"
GONE = PATTERNS["gone"]
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ ./%()-]*[A-Za-z0-9_)]|[A-Za-z]|-?\d{1,15}(\.\d{1,15})?")
WORDS_OF_YAML = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"}
ORDER = (
    "column scale type decimal thousands missing not_applicable values multiple labels time_format role label confirmed"
)


class Doubt(NamedTuple):
    """Doubts of one topic are one decision.

    `answers` are words -> what they change: key of the study file -> value (None: out), codes added. The likely answer
    stands first, and is written unless none is `likely`. `parts` are asked instead by whoever wants to answer each apart.
    """

    topic: str
    found: str
    answers: dict[str, dict] = {"yes": {}}
    likely: bool = True
    parts: tuple["Doubt", ...] = ()
    shown: bool = True  # or it stands with that of another item
    codes: tuple = ()  # that it is about


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
        given = {key: list(v) if isinstance(v, list) else v for key, v in self.given.items()}
        for doubt in self.doubts:
            nth = {**self.taken, **taken}.get(doubt.topic, 0 if doubt.likely else None)
            for key, value in list(doubt.answers.values())[nth].items() if doubt.answers and nth is not None else ():
                if value is None:
                    given.pop(key, None)
                else:
                    added = key in GONE.values()
                    given[key] = list(dict.fromkeys([*given.get(key, ()), *value])) if added else value
        return given

    def effect(self, topic: str, nth: int) -> str:
        """Return in words which number an answer gives, or nothing where it is no rating."""
        given = self.written({topic: nth})
        if "scale" not in given or self.stored is None:
            return ""
        gone, (low, high) = {*given.get("missing", ()), *given.get("not_applicable", ())}, given["scale"]
        stored = {**self.stored.numbers, **self.stored.texts}.items()
        met = [(code, rows) for code, rows in stored if code not in gone and not self.stored.in_ranges(code)]
        values = [(given["values"].get(code) if given.get("values") else code, rows) for code, rows in met]
        answers = [(v, rows) for v, rows in values if isinstance(v, float) and low <= v <= high]
        if not (n := sum(rows for _, rows in answers)):
            return ""
        if "nps" in given.get("role", ()):
            score = 100 * sum(rows * ((v >= 9) - (v <= 6)) for v, rows in answers) / n
            return f"net promoter score {number(score, 1)} of {number(n, 0)} answers"
        return f"mean {number(sum(v * rows for v, rows in answers) / n, 2)} of {number(n, 0)} answers"


@dataclass
class TableGuess(Guess):
    """A table: its own keys, each with its reason, its items, what is left out, and its waves where columns are waves."""

    name: str = ""
    source: str | dict[str, str] = ""  # its file, or wave -> file
    why: dict[str, str] = field(default_factory=dict)
    items: list[Guess] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    waves: list[str] = field(default_factory=list)

    def give(self, key: str, value, reason: str, otherwise: dict | None = None) -> None:
        """Give a key its value; in doubt it may be answered otherwise: words -> what they change; {}: it is left out."""
        self.given[key], self.why[key] = value, reason
        if otherwise is not None:
            said = f"{key} {', '.join(map(str, value)) if isinstance(value, (list, dict)) else value}"
            otherwise = otherwise or {f"no {key}": {key: None}}
            self.doubts.append(Doubt(key, f"{said}: {reason}", {f"yes: {said}": {}} | otherwise))


def code_doubt(column: Column, codes: list, scale: list | None = None, *, met: bool = False) -> Doubt:
    """Return the doubt whether stored codes are answers, skipped, or do not apply; `met` says that the last is likely."""
    stored = column.numbers | column.texts
    words = {code: f", {w}" if (w := column.words_of(code)) else "" for code in codes}
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


# -- questions -------------------------------------------------------------------------------------------------------


def decisions(guesses: Iterable[Guess]) -> dict[str, list[tuple[Guess, Doubt]]]:
    """Return topic -> where it is in doubt; those that cannot be answered here (a slip in the file) are left out."""
    found: dict[str, list[tuple[Guess, Doubt]]] = {}
    for guess, doubt in ((g, d) for g in guesses for d in g.open if d.answers):
        found.setdefault(doubt.topic, []).append((guess, doubt))
    return dict(sorted(found.items(), key=lambda pair: pair[0].startswith("role")))  # their numbers rest on the others


def put_questions(guesses: list[Guess], ask: Callable[[str], str]) -> None:
    """Put each decision once and write the answers into the guesses.

    `ask` shows a text and returns a line; EOFError is the end of the answers.
    """
    skipped, asked = set(), 0
    while waiting := {topic: places for topic, places in decisions(guesses).items() if topic not in skipped}:
        topic, places = next(iter(waiting.items()))
        asked += 1
        try:
            nth, words = _answer(topic, places, f"{asked} of {asked + len(waiting) - 1}", ask)
        except EOFError:
            return
        if words is None:
            skipped.add(topic)
        for guess, doubt in places:
            offered = [answer.partition(":")[0] for answer in doubt.answers]  # what follows may be its own scale
            if words in offered or nth == 0:  # the likely answer is that of each
                guess.taken[topic] = offered.index(words) if words in offered else 0
            elif words == APART and doubt.parts:
                at = guess.doubts.index(doubt)
                guess.doubts[at : at + 1] = doubt.parts


def _answer(topic: str, places: list[tuple[Guess, Doubt]], count: str, ask: Callable[[str], str]) -> tuple:
    """Ask until an answer is among those offered; return which it is and its words, None where it is left open."""
    guess, doubt = max(places, key=lambda place: place[0].stored.filled if place[0].effect(topic, 0) else 0)
    names = [g.key or "the table" for g, _ in places]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    text = f"\n{count}. {', '.join(names[:NAMES_SHOWN])}{more}\n  {doubt.found}\n"
    offered = [*doubt.answers, *[APART] * bool(doubt.parts)]
    for nth, words in enumerate(offered, 1):
        effect = guess.effect(topic, nth - 1) if words != APART else ""
        text += f"    {nth}  {words}" + (f"  [{guess.key}: {effect}]" if effect else "") + "\n"
    text += f"  ({'Enter for 1, - to leave it open' if doubt.likely else 'Enter to leave it open'}): "
    while (said := ask(text).strip() or "1" * doubt.likely) not in ("", "-"):
        if said.isdecimal() and 1 <= int(said) <= nth:
            return int(said) - 1, offered[int(said) - 1].partition(":")[0]
        text = f"  {said[:20]!r} is none of 1 to {nth}: "
    return None, None


# -- the study file --------------------------------------------------------------------------------------------------


def study_text(title: str, tables: Iterable[TableGuess]) -> str:
    """Return the study file, each guess with its reason."""
    lines = [sentence("head", title=flow(title))]
    for table in tables:
        lines += ["", *(_comment(reason, 2) for reason in table.reasons), f"  {table.name}:"]
        lines.append(f"    {'sources' if isinstance(table.source, dict) else 'source'}: {flow(table.source)}")
        items = [(item, item.written()) for item in table.items]
        codes, doubtful = _shared_codes(items)
        written = table.written() | ({"codes": codes} if codes else {})
        why = table.why | {"codes": "what these codes mean in every rating on whose scale they do not lie"}
        for key, value in written.items():
            lines += [_comment(why.get(key, "answered"), 4), f"    {key}: {flow(value)}"]
        if open_ := [doubt.topic for doubt in table.open if doubt.topic in written] + ["codes"] * doubtful:
            lines.append(_comment("Look at each of these, then set it to true.", 4))
            lines.append(f"    confirmed: {flow(dict.fromkeys(open_, False))}")
        lines += ["    items:"] * bool(items)
        for item, given in items:
            lines += _item(item, given, codes if doubtful else {})
        lines += [_comment(f"left out: {left}", 4) for left in table.left]
    return "\n".join(lines) + "\n"


def _shared_codes(items: list[tuple[Guess, dict]]) -> tuple[dict, bool]:
    """Take the codes that ratings share out of them; return code -> what it means, and whether somebody has to look."""
    rated = [(item, given) for item, given in items if "scale" in given and "values" not in given]
    said: dict[object, list[str]] = {}
    places = [(given, meaning) for _, given in rated for meaning in GONE.values() if meaning in given]
    for given, meaning in places:
        for code in given[meaning]:
            said.setdefault(code, []).append(meaning)
    codes = {code: found[0] for code, found in said.items() if len(found) > 1 and len(set(found)) == 1}
    for given, meaning in places:
        if own := [code for code in given.pop(meaning) if code not in codes]:
            given[meaning] = own
    doubtful = any(codes.keys() & set(doubt.codes) for item, _ in rated for doubt in item.open)
    return {code: meaning.replace("_", " ") for code, meaning in codes.items()}, doubtful


def _item(item: Guess, given: dict, shared: dict) -> list[str]:
    """Return the lines of an item; a doubt about codes of the whole table is that of the table."""
    told = [doubt for doubt in item.open if doubt.shown]
    alone = [d for d in told if not ("scale" in given and d.likely and d.codes and set(d.codes) <= shared.keys())]
    taken = [f"{d.found}: {list(d.answers)[item.taken[d.topic]]}" for d in item.doubts if d.topic in item.taken]
    given = {"column": item.column} | given | ({"confirmed": False} if alone else {})
    given = {key: given[key] for key in sorted(given, key=ORDER.split().index)}
    lines = [_comment(reason, 6) for reason in (*item.reasons, *taken, *(f"? {doubt.found}" for doubt in told))]
    written = flow(given)
    if len(written) + len(item.key) < WIDE:
        return [*lines, f"      {item.key}: {written}"]
    return [*lines, f"      {item.key}:", *(f"        {key}: {flow(value)}" for key, value in given.items())]


def _comment(text: str, indent: int) -> str:
    return f"{' ' * indent}# " + "".join(c if c.isprintable() else " " for c in text)[:300]


def flow(value) -> str:
    """Return a value in YAML on one line; text that could be taken for something else, in quotation marks."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, (int, float)):
        return str(value).lower() if isinstance(value, bool) else code_text(value)
    if PLAIN.fullmatch(value) and value.lower() not in WORDS_OF_YAML:
        return value
    quoted = json.dumps(value, ensure_ascii=False)  # and what is not printable is written as its code
    return "".join(c if c.isprintable() or c == " " else f"\\u{ord(c):04x}" for c in quoted)
