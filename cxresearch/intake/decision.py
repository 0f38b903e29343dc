"""What is doubtful in a guess, what each answer to it changes, and the questions that put it to somebody."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cxresearch.findings import number
from cxresearch.intake.column import Column, code_text

NAMES_SHOWN = 12
# What a code may mean that is no answer, and the key that says so.
GONE = (
    ("missing: it was asked and skipped", "missing"),
    ("not applicable: it never was met, which the base counts apart", "not_applicable"),
)


class Answer(NamedTuple):
    """What may be said to a doubt, and what it changes: key of the study file -> value (None: out), codes added."""

    words: str
    change: dict = {}


class Doubt(NamedTuple):
    """Doubts of one topic are one decision; the likely answer stands first, and is written unless none is likely.

    `parts` are what is asked instead where somebody wants to answer each apart; a doubt that is not `shown` stands
    with that of another item; `codes` are those that it is about.
    """

    topic: str
    found: str
    answers: tuple[Answer, ...] = ()
    likely: bool = True
    parts: tuple["Doubt", ...] = ()
    shown: bool = True
    codes: tuple = ()


def doubt(topic: str, found: str, *answers: str | tuple[str, dict], **more) -> Doubt:
    """Return a doubt from its answers: words, or words and what they change."""
    return Doubt(topic, found, tuple(Answer(a) if isinstance(a, str) else Answer(*a) for a in answers), **more)


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

    @property
    def open(self) -> list[Doubt]:
        return [doubt for doubt in self.doubts if doubt.topic not in self.taken]

    def written(self, taken: dict[str, int] | None = None) -> dict:
        """Return the keys under the answers taken, or else the likely ones."""
        given = {key: list(v) if isinstance(v, list) else v for key, v in self.given.items()}
        for doubt in self.doubts:
            nth = (self.taken if taken is None else taken).get(doubt.topic, 0 if doubt.likely else None)
            for key, value in doubt.answers[nth].change.items() if doubt.answers and nth is not None else ():
                if value is None:
                    given.pop(key, None)
                elif key in ("missing", "not_applicable"):
                    given[key] = list(dict.fromkeys([*given.get(key, ()), *value]))
                else:
                    given[key] = value
        return given

    def effect(self, topic: str, nth: int) -> str:
        """Return in words which number an answer gives, or nothing where it is no rating."""
        given = self.written(self.taken | {topic: nth})
        if "scale" not in given or self.stored is None:
            return ""
        answers: Counter[float] = Counter()
        gone = {*given.get("missing", ()), *given.get("not_applicable", ())}
        for code, rows in {**self.stored.numbers, **self.stored.texts}.items():
            value = given["values"].get(code) if given.get("values") else code
            absent = code in gone or (isinstance(code, float) and self.stored.in_ranges(code))
            if not absent and isinstance(value, float) and given["scale"][0] <= value <= given["scale"][1]:
                answers[value] += rows
        if not (n := answers.total()):
            return ""
        if "nps" in given.get("role", ()):
            score = 100 * sum(rows * ((v >= 9) - (v <= 6)) for v, rows in answers.items()) / n
            return f"net promoter score {number(score, 1)} of {number(n, 0)} answers"
        return f"mean {number(sum(v * rows for v, rows in answers.items()) / n, 2)} of {number(n, 0)} answers"


def code_doubt(column: Column, codes: list, scale: tuple[float, float] | None, *, met: bool = False) -> Doubt:
    """Return the doubt whether stored codes are answers, skipped, or do not apply; `met` says that the last is likely."""
    told = [f"{code_text(c)} ({column.rows_of(c)} rows{f', {w}' if (w := column.words_of(c)) else ''})" for c in codes]
    gone = [Answer(words, {key: codes}) for words, key in GONE]
    answers = gone[::-1] if met else gone
    code = codes[0]
    if scale and len(codes) == 1 and isinstance(code, float) and 0 <= code <= scale[1] + 1 and code >= scale[0] - 1:
        wide = [min(scale[0], code), max(scale[1], code)]
        answers.append(Answer(f"an answer: the scale is {wide[0]:g} to {wide[1]:g}", {"scale": wide}))
    likely = answers[0].words.split(":")[0]
    found = f"{', '.join(told)} {'lie' if len(told) > 1 else 'lies'} off the scale: taken for {likely}"
    if not all(map(column.is_far, codes)):
        return Doubt(f"code {code_text(code)}", found, tuple(answers), codes=(code,))
    apart = tuple(
        Doubt(f"code {code_text(c)}", t, tuple(Answer(words, {key: [c]}) for words, key in GONE), codes=(c,))
        for c, t in zip(codes, told, strict=True)
    )
    return Doubt("codes far off", found, tuple(answers), parts=apart if len(codes) > 1 else (), codes=tuple(codes))


def decisions(guesses: Iterable[Guess]) -> dict[str, list[tuple[Guess, Doubt]]]:
    """Return topic -> where it is in doubt; those that cannot be answered here (a slip in the file) are left out."""
    found: dict[str, list[tuple[Guess, Doubt]]] = {}
    for guess, doubt in ((g, d) for g in guesses for d in g.open if d.answers):
        found.setdefault(doubt.topic, []).append((guess, doubt))
    return dict(sorted(found.items(), key=lambda pair: pair[0].startswith("role")))  # their numbers rest on the others


def put_questions(guesses: list[Guess], ask: Callable[[str], str]) -> int:
    """Put each decision once and write the answers into the guesses; return how many are left open.

    `ask` shows a text and returns a line; EOFError is the end of the answers.
    """
    skipped, asked = set(), 0
    while waiting := {topic: places for topic, places in decisions(guesses).items() if topic not in skipped}:
        topic, places = next(iter(waiting.items()))
        asked += 1
        try:
            nth = _answer(topic, places, f"{asked} of {asked + len(waiting) - 1}", ask)
        except EOFError:
            break
        if nth is None:
            skipped.add(topic)
        for guess, doubt in places:
            if nth is not None and nth < len(doubt.answers):
                guess.taken[topic] = nth
            elif nth is not None:
                at = guess.doubts.index(doubt)
                guess.doubts[at : at + 1] = doubt.parts or (doubt,)
    return len(decisions(guesses))


def _answer(topic: str, places: list[tuple[Guess, Doubt]], count: str, ask: Callable[[str], str]) -> int | None:
    """Ask until an answer is among those offered; None leaves the decision open."""
    guess, doubt = max(places, key=lambda place: place[0].stored.filled if place[0].effect(topic, 0) else 0)
    names = [g.key or "the table" for g, _ in places]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    lines = ["", f"{count}. {', '.join(names[:NAMES_SHOWN])}{more}", f"  {doubt.found}"]
    for nth, answer in enumerate(doubt.answers):
        effect = guess.effect(topic, nth)
        lines.append(f"    {nth + 1}  {answer.words}" + (f"  [{guess.key}: {effect}]" if effect else ""))
    if doubt.parts:
        lines.append(f"    {len(doubt.answers) + 1}  ask of each apart")
    default = f"Enter for 1, {'-'} to leave it open" if doubt.likely else "Enter to leave it open"
    text = "\n".join(lines) + f"\n  ({default}): "
    while True:
        said = ask(text).strip()
        if said == "-" or (not said and not doubt.likely):
            return None
        most = len(doubt.answers) + bool(doubt.parts)
        if not said or (said.isdecimal() and 1 <= int(said) <= most):
            return int(said or 1) - 1
        text = f"  {said[:20]!r} is none of 1 to {most}: "
