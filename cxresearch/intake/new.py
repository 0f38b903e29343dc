"""A first `study.yml` from files that nobody has described: their tables and keys, the questions, and its text."""

import json
import math
import os
import re
from collections import ChainMap, Counter, namedtuple
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from cxresearch.errors import nearest, plain_text
from cxresearch.intake.guess import GONE, Doubt, Guess, guess_items
from cxresearch.intake.look import MANY, PATTERNS, WORDS, Column, code_text, plain, profile, read_file, refuse_if, say
from cxresearch.privacy import find_identifier
from cxresearch.sources import Meanings, RawTable, expand
from cxresearch.study.codes import Writing, count

ALIKE = 0.5  # of the columns of the narrower file: parts of one table
NAMES_SHOWN, WIDE, APART = 12, 112, "ask of each apart"
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ ./%()-]*[A-Za-z0-9_)]|[A-Za-z]|-?\d{1,15}(\.\d{1,15})?")
MARKS = {column: set(cells) for column, cells in PATTERNS["marks"].items()}
WAVE = re.compile(r"(.*[^\W\d_])[ _.-]*((?:19|20)\d\d(?:[ _.-]?q[1-4])?|(?:w|wave)[ _.-]?\d{1,2})", re.I)
Ask = Callable[[str], str]  # shows a text and returns the line that is answered
# What was written: the text of the study file, a summary in words, and what questions left open.
Written = namedtuple("Written", "text summary left")
_File = namedtuple("_File", "path reading said raw")
Rule = namedtuple("Rule", "key pattern fits reason needed doubtful", defaults=[False, False])
RULES = {table: tuple(Rule(**row) for row in rows) for table, rows in PATTERNS["rules"].items()}
FITS: dict[str, Callable[[Column, pd.DataFrame], bool]] = {
    "any": lambda c, _: True,
    "full": lambda c, _: c.filled == c.rows,
    "once": lambda c, _: c.distinct == c.rows,
    "repeats": lambda c, _: c.distinct < c.filled,
    "few": lambda c, _: c.distinct <= MANY,
    "many": lambda c, _: c.distinct > MANY,
    "numeric": lambda c, _: c.numeric,
    "seconds": lambda c, _: c.numeric and not c.texts,
    "waves": lambda c, _: c.filled == c.rows and 1 < c.distinct <= 60,
    "yes_no": lambda c, _: {text.casefold() for text in c.stored} <= {*"yn01", "yes", "no", "true", "false"},
    "moment": lambda c, _: c.dates is not None or c.says("moment") and c.days,
    "weight": lambda c, _: c.filled == c.rows and not c.texts and min(c.numbers) >= 0 and 0.5 < c.total / c.rows < 2,
    "apart": lambda c, frame: c.filled == c.rows and not frame.drop_duplicates()[c.name].duplicated().any(),
}


@dataclass
class TableGuess(Guess):
    """A table: its own keys, each with its reason, its items, and what is left out."""

    name: str = ""
    source: str | dict[str, str] = ""  # its file, or wave -> file ("" until it is known where)
    why: dict[str, str] = field(default_factory=dict)
    items: list[Guess] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def give(self, key: str, value, reason: str, otherwise: dict | None = None) -> None:
        """Give a key its value; in doubt it may be `otherwise`: words -> what they change; {}: nothing else."""
        self.given[key], self.why[key] = value, reason
        if otherwise is not None:
            said = f"{key} {', '.join(map(str, value)) if isinstance(value, (list, dict)) else value}"
            self.doubts.append(Doubt(key, f"{said}: {reason}", {f"yes: {said}": {}} | otherwise))


def new_study(
    files: Sequence[Path], *, out: Path, kinds: Sequence[tuple[str, str | Path]] = (), ask: Ask | None = None
) -> Written:
    """Read files and write a first study file; an existing one is never overwritten.

    Files with mostly the same columns become waves of one table, and so do columns of one file that differ in a year
    (NPS_2015, NPS_2016). Guesses carry their reason as a comment and, where they are doubtful, ``confirmed: false``.
    `kinds`: tables, each with the file that is one. `ask` puts a question and returns the answer, until an EOFError.
    """
    refuse_if(out.exists(), "exists", out=out)
    refuse_if(not out.parent.is_dir(), "no folder", folder=str(out.parent), name=out.name)
    named: dict[Path, str | None] = {}
    for kind, file in [*((None, file) for file in files), *kinds]:
        refuse_if(kind not in (None, *RULES), "no table", kind=kind, near=nearest(kind, RULES), known=", ".join(RULES))
        found = expand(Path(file))
        refuse_if(not found, "no file", file=str(file))
        named |= dict.fromkeys(found, kind)
    refuse_if(not named, "no files")
    tables: dict[str, TableGuess] = {}
    for group in _groups([_File(path, *read_file(path)) for path in named]):
        table = _table(group, out.parent, named[group[0].path])
        first = tables.setdefault(table.name, table)
        refuse_if(first is not table, "two of a kind", first=first.column, second=table.column, table=table.name)
    guesses = [guess for table in tables.values() for guess in (table, *table.items)]
    if ask:
        with suppress(EOFError):  # the end of the answers
            put_questions(guesses, ask)
    lines = []
    for table in tables.values():
        names = ", ".join(dict.fromkeys(table.source.values())) if isinstance(table.source, dict) else table.source
        told = f"{len(table.items)} items, {count(len(decisions([table, *table.items])), 'decision')} to take"
        lines.append(f"{table.name} from {names}: {told}, {len(table.left)} columns left out")
    text = study_text(re.sub(r"[\W_]+", " ", next(iter(named)).stem).strip() or "Study", tables.values())
    with out.open("x", encoding="utf-8") as file:
        file.write(text)
    left = len(decisions(guesses)) if ask else 0
    return Written(text, "\n".join(lines), f"; {count(left, 'decision')} left open in it" if left else "")


def _groups(files: list[_File]) -> list[list[_File]]:
    """Return the files of each table: those with at least two columns, and half of the fewer ones, in common."""
    groups: dict[frozenset[str], list[_File]] = {}
    for file in files:
        mine = frozenset(map(plain_text, file.raw.frame))
        alike = (other for other in groups if len(mine & other) >= max(2, ALIKE * min(len(mine), len(other))))
        groups.setdefault(next(alike, mine), []).append(file)
    return list(groups.values())


def _table(group: list[_File], folder: Path, kind: str | None) -> TableGuess:
    """Return what the files of one table are; a study file in `folder` names them as its source."""
    first, names = group[0], [file.path.name for file in group]
    other = next((file.path.name for file in group if file.reading != first.reading), None)
    refuse_if(other, "two ways", first=names[0], second=other)
    raw, frames = first.raw, [file.raw.frame.rename(columns=plain_text) for file in group]
    if len(group) > 1:
        meanings = [[{plain_text(k): v for k, v in by.items()} for by in file.raw.meanings] for file in group]
        merged = Meanings(*(dict(ChainMap(*parts)) for parts in zip(*meanings, strict=True)))
        raw = RawTable(pd.concat(frames, ignore_index=True), meanings=merged)
    table = guess_table(raw, first.said, file=names[0], kind=kind, alone=len(group) == 1)
    sources = [Path(os.path.relpath(file.path.resolve(), folder.resolve())).as_posix() for file in group]
    table.source = dict.fromkeys(table.source, sources[0]) or sources[0]
    if len(group) == 1:
        return table
    refuse_if(table.name != "responses", "parts", files=", ".join(names), table=table.name)
    for name in raw.frame if "id" not in table.given else ():
        named = re.match(RULES["responses"][0].pattern, plain(name)) and all(name in frame for frame in frames)
        if named and all(frame[name].notna().all() and frame[name].is_unique for frame in frames):
            table.items = [item for item in table.items if item.column != name]
            table.give("id", name, "fills every row, never twice in a wave")
            break
    numbers = zip(*(re.findall(r"\d+", file.path.stem) for file in group), strict=False)
    labels = next((parts for parts in numbers if len(set(parts)) == len(group)), [file.path.stem for file in group])
    _where_asked(table.items, dict(zip(labels, frames, strict=True)))
    table.source = dict(zip(labels, sources, strict=True))
    return table


def _where_asked(items: list[Guess], waves: dict[str, pd.DataFrame]) -> None:
    """Name the waves of a column that not all have; two columns whose names differ in their number become one item."""
    partial: dict[str, list[Guess]] = {}
    for item in items:
        labels = [label for label, frame in waves.items() if item.column in frame]
        if len(labels) < len(waves):
            partial.setdefault(re.sub(r"^[a-z]*\d+", "", item.column.lower()), []).append(item)
            item.column = dict.fromkeys(labels, item.column)
    for item, twin in (pair for pair in partial.values() if len(pair) == 2):
        if not item.column.keys() & twin.column.keys():
            item.column |= twin.column
            said = f"{' and '.join(item.column.values())} are taken for the same question in different waves"
            item.doubts.append(Doubt("same question", said))
            known = {(doubt.topic, doubt.codes): [*doubt.answers] for doubt in item.doubts}
            alike = (d for d in twin.doubts if known.get((d.topic, d.codes), [*d.answers]) == [*d.answers])
            item.doubts += [doubt for doubt in alike if doubt not in item.doubts]
            for key in GONE.values():
                if both := dict.fromkeys([*item.given.get(key, ()), *twin.given.get(key, ())]):
                    item.given[key] = list(both)
            items.remove(twin)


def guess_table(raw: RawTable, said: dict, *, file: str, kind: str | None, alone: bool) -> TableGuess:
    """Return what table a file is; `said` is how it is read. Of several (not `alone`) each is a wave, and names none."""
    columns = [profile(name, raw) for name in raw.frame]
    left = {name: f"names a person, {why}" for name in raw.frame if (why := _names_a_person(name, raw))}
    table, found = _kind([c for c in columns if c.name not in left], raw.frame, kind, file)
    for key, (value, reason, doubtful) in said.items():
        table.give(key, value, reason)
        table.doubts += [Doubt(key, f"{key} {value}: {reason}")] * doubtful
    used = _put(table, {rule: column for rule, column in found.items() if alone or rule.key != "wave"})
    rest = [c for c in columns if c.name not in left and c.name not in used]
    marked = rest if table.name == "responses" else []
    left |= _aside(marked, raw.frame)
    _exclude(table, columns, marked)
    rest = [c for c in rest if c.name not in left]
    left |= {c.name: "empty" for c in rest if not c.filled}
    table.left = [f"{name}: {why}" for name, why in left.items()]
    rest, wide = _wide(rest) if alone and table.name == "responses" and "wave" not in table.given else (rest, {})
    table.source = dict.fromkeys(sorted({wave for waves in wide.values() for wave in waves}), "")
    table.items = guess_items([c for c in rest if c.filled])
    refuse_if(not used and not table.items, "no columns", file=file, left="; ".join(table.left[:NAMES_SHOWN]))
    for item in (item for item in table.items if item.column in wide):
        item.column = wide[item.column]
        item.say(Doubt("waves", say("waves", names=", ".join(item.column.values()), n=len(table.source))))
    _writing(table, columns, used)
    return table


def _kind(columns: list[Column], frame: pd.DataFrame, kind: str | None, file: str) -> tuple[TableGuess, dict]:
    """Return the table that the columns speak for, and the columns of its keys; `kind` is one that somebody named."""
    rated = [c for c in columns if c.ratinglike]
    verdict = any(c.says("recommend", "satisfied", "ease") for c in rated)
    asks = verdict or sum(len(c.answers) >= 4 for c in rated) >= 3
    for name in [kind] if kind else RULES:
        found = _found(name, columns, frame)
        lacking = "; ".join(f"{rule.key} ({rule.reason})" for rule in RULES[name] if rule.needed and rule not in found)
        refuse_if(lacking and kind, "lacking", file=file, kind=kind, lacking=lacking)
        unlike = (asks and name not in ("transactions", "responses")) or (name == "costs" and len(columns) > 6)
        if not lacking and (kind or not unlike):
            break
    why = "named" if kind else "by needs" if name != "responses" else "by ratings" if asks else "by nothing else"
    return TableGuess("", file, name=name, reasons=[say(why, kind=kind)]), found


def _found(name: str, columns: list[Column], frame: pd.DataFrame) -> dict[Rule, Column]:
    """Return the columns for which the rules of a table speak; names are looked at with their label, then alone."""
    found: dict[Rule, Column] = {}
    best = {"time": lambda c: c.distinct, "customer": lambda c: not re.search(r"\b(case|ticket)\b", c.words)}
    for rule in RULES[name]:
        free = [c for c in columns if c not in found.values()]
        for words in (lambda c: c.words, lambda c: plain(c.name)):
            named = [c for c in free if re.search(rule.pattern, words(c)) and FITS[rule.fits](c, frame)]
            if named and rule not in found:
                found[rule] = max(named, key=best.get(rule.key, lambda c: 0))
    return found


def _put(table: TableGuess, found: dict[Rule, Column]) -> set[str]:
    """Give the keys that were found, and what has to be said of their cells; return the columns that are used."""
    used = set()
    for rule, column in found.items():
        dates = column.dates if rule.fits == "moment" else None
        if dates and dates.format and rule.key != "time":
            continue  # a table has one way to write dates, and this one is an item
        used.add(column.name)
        value = {"column": column.name, "type": "number"} if rule.key == "engagement" else column.name
        without = {} if rule.needed else {f"no {rule.key}": {rule.key: None}}
        table.give(rule.key, value, rule.reason, without if rule.doubtful else None)
        if rule.key == "time" and not dates:
            table.give("time_format", "%Y%m%d", f"{column.name} holds dates as numbers, year first")
        elif rule.key == "time" and dates.format:
            other = {"month first": {"time_format": dates.other}} if dates.other else None
            table.give("time_format", dates.format, f"how {column.name} is written: {dates.reason}", other)
    moments = table.name in ("transactions", "interactions")
    needed = {rule.key: column for rule, column in found.items() if rule.needed and moments}
    if "amount" in needed and (negative := sum(n for v, n in needed["amount"].numbers.items() if v < 0)):
        drop = {"no payments: drop these rows": {"negative": "drop"}}
        table.give("negative", "returns", f"{negative} amounts are negative: money paid back?", drop)
    if blank := ", ".join(f"{c.name} {c.rows - c.filled}" for c in needed.values() if c.filled < c.rows):
        refuse = {"refuse the file until they are filled": {"missing": None}}
        table.give("missing", "drop", f"rows are blank in what every row needs ({blank}): dropped and counted", refuse)
    return used


def _wide(columns: list[Column]) -> tuple[list[Column], dict[str, dict[str, str]]]:
    """Make one column of ratings that differ in the year or number of a wave, in all waves; name -> wave -> names."""
    asked: dict[str, dict[str, Column]] = {}
    for column in columns:
        if column.ratinglike and (found := WAVE.fullmatch(column.name.strip())):
            asked.setdefault(found[1], {})[found[2]] = column
    asked = {stem: found for stem, found in asked.items() if len(found) > 1}
    if len({frozenset(found) for found in asked.values()}) > 1:
        return columns, {}
    for stem, found in asked.items():
        first, *later = found.values()
        sums = {p: dict(sum((Counter(getattr(c, p)) for c in found.values()), Counter())) for p in ("numbers", "texts")}
        merged = replace(first, name=stem, rows=first.rows * (1 + len(later)), **sums)
        columns = [merged if c is first else c for c in columns if c not in later]
    return columns, {stem: {wave: c.name for wave, c in found.items()} for stem, found in asked.items()}


def _writing(table: TableGuess, columns: list[Column], used: set[str]) -> None:
    """Write how most of the numbers are written, those of its keys first, as keys of the table; an item says its own."""
    marked = [c for c in columns if c.numbers and (not c.whole or c.writing != Writing())]
    keys = [c for c in marked if c.name in used]
    ways = Counter(c.writing for c in keys or marked if keys or c.writing != Writing())
    common = ways.most_common(1)[0][0] if ways else Writing()
    example = next((c.name for c in columns if c.writing == common), "")
    comma = {"decimal comma": {"thousands": None, "decimal": ","}}  # 1,250 may be a thousand and more, or 1.25
    for key in ("thousands", "decimal"):
        if (sign := getattr(common, key)) != getattr(Writing(), key):
            reason = f"numbers such as those of {example} have {sign!r} as the sign of {key}"
            table.give(key, sign, reason, comma if common == Writing(".", ",") else None)
    for item in table.items:
        own = item.stored.writing
        if own != common and item.stored.numbers and (own != Writing() or not item.stored.whole):
            item.given |= {key: getattr(own, key) for key in ("decimal", "thousands") if getattr(own, key)}
            item.say(*[Doubt("thousands", say("comma"), {"yes": {}} | comma)] * (own == Writing(".", ",")))


def _names_a_person(name: str, raw: RawTable) -> str | None:
    """Return why a column names a person; it is looked at without the number of its question, and by its label."""
    label = raw.meanings.labels.get(name, "")
    headers = [re.sub(r"^[A-Za-z]\d+_?(?=[A-Za-z])", "", name), *[label] * (0 < len(label) <= 60)]
    return next(filter(None, (find_identifier(header, raw.frame[name]) for header in headers)), None)


def _aside(columns: list[Column], frame: pd.DataFrame) -> dict[str, str]:
    """Return the columns that are no question: how an answer came about, and 0-6, 7-8, 9-10 grouped by a platform."""
    found = {}
    for asked in (c for c in columns if c.ratinglike and max(c.numbers) == 10 and len(c.numbers) > 3):
        band = pd.cut(pd.to_numeric(frame[asked.name], errors="coerce"), [-math.inf, 6, 8, math.inf])
        for group in (c for c in columns if 1 < c.distinct <= 3):
            pairs = pd.DataFrame({"band": band, "group": frame[group.name]}).dropna().drop_duplicates()
            same = pairs["band"].is_unique and pairs["group"].is_unique
            if same and (len(pairs) == 3 or group.says("grouped")):
                found[group.name] = say("grouped", asked=asked.name)
    for c in columns:
        counted = c.name == "column 1" and len(c.numbers) == c.rows >= max(c.numbers)
        if counted or any(WORDS["bookkeeping"].match(plain(text)) for text in (c.name, c.label)):
            found[c.name] = "how the answer came about, not a question"
    return found


def _exclude(table: TableGuess, columns: list[Column], marked: list[Column]) -> None:
    """Leave out what a platform marks as no finished answer, and a row that says it is a total, and is one."""
    marks = {c: MARKS.get(c.name.lower()) or MARKS.get(plain(c.label or c.name), set()) for c in marked}
    found = {c.name: codes for c in marked if (codes := [code for code in c.stored if code in marks[c]])}
    rows = [f"{c.name}: {sum(c.stored[code] for code in found[c.name])} rows" for c in marked if c.name in found]
    why = f"previews, tests and unfinished answers ({', '.join(rows)})"
    said = {c.name: [t] for c in columns for t, n in c.texts.items() if n == 1 and WORDS["total"].fullmatch(t)}
    summed = (c for c in columns if len(said) == 1 and c.total and len(c.numbers) > 2)
    if total := next((c for c in summed if any(math.isclose(c.total / 2, v) for v in c.numbers)), None):
        found, why = found | said, f"a row whose {total.name} is the sum of the others"
    if found:
        table.give("exclude", found, why, {"no exclude": {"exclude": None}})


def decisions(guesses: Iterable[Guess]) -> dict[str, list[tuple[Guess, Doubt]]]:
    """Return topic -> where it is in doubt; those that cannot be answered here (a slip in the file) are left out."""
    found: dict[str, list[tuple[Guess, Doubt]]] = {}
    for guess, doubt in ((g, d) for g in guesses for d in g.open if d.answers):
        found.setdefault(doubt.topic, []).append((guess, doubt))
    return dict(sorted(found.items(), key=lambda pair: pair[0].startswith("role")))  # their numbers rest on the others


def put_questions(guesses: list[Guess], ask: Ask) -> None:
    """Put each decision once and write the answers into the guesses."""
    skipped, asked = set(), 0
    while waiting := {topic: places for topic, places in decisions(guesses).items() if topic not in skipped}:
        topic, places = next(iter(waiting.items()))
        asked += 1
        nth, words = _answer(topic, places, f"{asked} of {asked + len(waiting) - 1}", ask)
        if words is None:
            skipped.add(topic)
        for guess, doubt in places:
            offered = [answer.partition(":")[0] for answer in doubt.answers]  # what follows may be its own scale
            if words in offered or nth == 0:  # the likely answer is that of each
                guess.taken[topic] = offered.index(words) if words in offered else 0
            elif words == APART and doubt.parts:
                at = guess.doubts.index(doubt)
                guess.doubts[at : at + 1] = doubt.parts


def _answer(topic: str, places: list[tuple[Guess, Doubt]], count: str, ask: Ask) -> tuple:
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


def study_text(title: str, tables: Iterable[TableGuess]) -> str:
    """Return the study file, each guess with its reason."""
    lines = [say("head", title=flow(title))]
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
    given = {key: given[key] for key in PATTERNS["written"]["order"].split() if key in given}
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
    if PLAIN.fullmatch(value) and value.lower() not in PATTERNS["written"]["not_plain"]:
        return value
    quoted = json.dumps(value, ensure_ascii=False)  # and what is not printable is written as its code
    return "".join(c if c.isprintable() or c == " " else f"\\u{ord(c):04x}" for c in quoted)
