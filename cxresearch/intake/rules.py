"""Which of the six tables a file is, and which of its columns are the table's own: rows of rules, no questions."""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.intake.column import TABLES, WORDS, Column, code_text, dates_of, plain, profile
from cxresearch.intake.decision import Answer, Doubt, Guess
from cxresearch.intake.item import FEW_WORDS, guess_items
from cxresearch.intake.scale import answers_of, is_ratinglike
from cxresearch.privacy import find_identifier
from cxresearch.sources import RawTable
from cxresearch.study.codes import Writing

YES_NO = {"yes", "no", "true", "false", "1", "0", "y", "n"}
# Columns by which platforms say that a row is no finished answer of a respondent.
STATUS = {"1", "2", "8", "Survey Preview", "Survey Test", "Spam", "Deleted", "Test", "Preview"}
UNFINISHED = {"0", "False", "FALSE"}
WAVE = re.compile(
    r"(?P<stem>.*[^\W\d_])[ _.-]*(?P<wave>(?:19|20)\d\d(?:[ _.-]?q[1-4])?|(?:w|wave)[ _.-]?\d{1,2})", re.I
)


@dataclass
class TableGuess:
    """A table of the study file: its own keys, its items, what is left out; `why` says each key's reason."""

    name: str
    reason: str
    own: Guess = field(default_factory=lambda: Guess(""))
    why: dict[str, str] = field(default_factory=dict)
    items: list[Guess] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    waves: list[str] = field(default_factory=list)

    def say(self, key: str, value, reason: str, *instead: Answer, doubtful: bool = False) -> None:
        """Write a key with its reason; in doubt it may be answered otherwise, by default left out."""
        self.own.given[key], self.why[key] = value, reason
        if doubtful or instead:
            written = f"{key} {', '.join(map(str, value)) if isinstance(value, (list, dict)) else value}"
            yes = Answer(f"yes: {written}")
            otherwise = instead or (Answer(f"no {key}", {key: None}),)
            self.own.doubts.append(Doubt(key, f"{written}: {reason}", (yes, *otherwise)))


class Rule(NamedTuple):
    """A key of a table: the first column whose name matches and whose cells pass is it."""

    key: str
    pattern: str
    fits: str
    reason: str
    needed: bool = False
    doubtful: bool = False


RULES = {table: tuple(Rule(**row) for row in rows) for table, rows in TABLES.items()}
FITS: dict[str, Callable[[Column, pd.DataFrame], bool]] = {
    "any": lambda c, _: True,
    "full": lambda c, _: c.filled == c.rows,
    "once": lambda c, _: c.distinct == c.rows,
    "repeats": lambda c, _: c.distinct < c.filled,
    "few": lambda c, _: c.distinct <= FEW_WORDS,
    "many": lambda c, _: c.distinct > FEW_WORDS,
    "numeric": lambda c, _: c.numeric,
    "seconds": lambda c, _: c.numeric and not c.texts,
    "waves": lambda c, _: c.filled == c.rows and 1 < c.distinct <= 60,
    "yes_no": lambda c, _: {str(v).casefold() for v in map(code_text, (*c.numbers, *c.texts))} <= YES_NO,
    "moment": lambda c, _: dates_of(c) is not None or c.says("moment") and _as_number(c),
    "weight": lambda c, _: _is_weight(c),
    "apart": lambda c, frame: _apart(c, frame),
}


def _as_number(column: Column) -> bool:
    """Return whether dates are stored as numbers such as 19970101."""
    return not column.texts and all(v % 1 == 0 and 19000101 <= v <= 21001231 for v in column.numbers)


def _is_weight(column: Column) -> bool:
    n = sum(column.numbers.values())
    positive = n == column.rows and not column.texts and min(column.numbers) >= 0
    return positive and 0.5 < sum(v * times for v, times in column.numbers.items()) / n < 2


def _apart(column: Column, frame: pd.DataFrame) -> bool:
    """Return whether a value fills every row, and never stands in two different ones."""
    repeated = frame[frame[column.name].duplicated(keep=False)]
    apart = repeated.empty or not repeated.drop_duplicates()[column.name].duplicated().any()
    return column.filled == column.rows and apart


def _find(rule: Rule, columns: list[Column], frame: pd.DataFrame, used: set[str]) -> Column | None:
    """Return the column that a rule speaks for; names are looked at with their label, then alone."""
    for words in (lambda c: c.words, lambda c: plain(c.name)):
        named = [c for c in columns if c.name not in used and re.search(rule.pattern, words(c))]
        if fitting := [c for c in named if FITS[rule.fits](c, frame)]:
            best = {"time": lambda c: c.distinct, "customer": lambda c: not re.search(r"\b(case|ticket)\b", c.words)}
            return max(fitting, key=best.get(rule.key, lambda c: 0))
    return None


def _asks(columns: list[Column]) -> bool:
    """Return whether columns are answers: three ratings, or one that asks to recommend or how satisfied."""
    rated = [c for c in columns if is_ratinglike(c)]
    verdicts = ("recommend", "satisfied", "ease")
    return sum(len(answers_of(c)) >= 4 for c in rated) >= 3 or any(c.says(*verdicts) for c in rated)


def guess_kind(columns: list[Column], frame: pd.DataFrame, *, kind: str | None, file: str) -> TableGuess:
    """Return the table that the columns speak for, with its keys; `kind` is one that somebody named."""
    asks, why = _asks(columns), "the names and cells of the columns that it needs"
    for name in [kind] if kind else RULES:
        found: dict[Rule, Column] = {}
        for rule in RULES[name]:
            if column := _find(rule, columns, frame, {c.name for c in found.values()}):
                found[rule] = column
        lacking = [rule for rule in RULES[name] if rule.needed and rule not in found]
        if lacking and kind:
            told = "; ".join(f"{rule.key} ({rule.reason})" for rule in lacking)
            raise StudyProblem(
                f"{file} is to be {kind}, but no column is recognised as {told}; give that column such a name, or write "
                "the table into study.yml"
            )
        unlike = (asks and name not in ("transactions", "responses")) or (name == "costs" and len(columns) > 6)
        if not lacking and (kind or not unlike):
            break
    if name == "responses":
        why = "ratings" if asks else "nothing speaks for payments, contacts, accounts, units or costs"
    table = TableGuess(name, f"named {kind}" if kind else why)
    _put(table, found)
    return table


def _put(table: TableGuess, found: dict[Rule, Column]) -> None:
    """Write the keys that were found, and what has to be said of their cells."""
    needed = {rule.key: column for rule, column in found.items() if rule.needed}
    for rule, column in found.items():
        dates = dates_of(column) if rule.fits == "moment" else None
        if dates and dates.format and rule.key != "time":
            continue  # a table has one way to write dates, and this one is an item
        value = {"column": column.name, "type": "number"} if rule.key == "engagement" else column.name
        table.say(rule.key, value, rule.reason, doubtful=rule.doubtful)
        if rule.key != "time":
            continue
        if _as_number(column):
            table.say("time_format", "%Y%m%d", f"{column.name} holds dates as numbers, year first")
        elif dates and dates.format:
            other = [Answer("month first", {"time_format": dates.other})] if dates.other else []
            table.say("time_format", dates.format, f"how {column.name} is written: {dates.reason}", *other)
    if table.name not in ("transactions", "interactions"):
        return
    amount = needed.get("amount")
    if amount and (negative := sum(n for v, n in amount.numbers.items() if v < 0)):
        drop = Answer("no payments: drop these rows", {"negative": "drop"})
        table.say("negative", "returns", f"{negative} amounts are negative: money paid back?", drop)
    if blank := {c.name: c.rows - c.filled for c in needed.values() if c.filled < c.rows}:
        rows = ", ".join(f"{name} {n}" for name, n in blank.items())
        error = Answer("refuse the file until they are filled", {"missing": None})
        table.say("missing", "drop", f"rows are blank in what every row needs ({rows}): dropped and counted", error)


def guess_table(raw: RawTable, *, file: str, kind: str | None = None) -> TableGuess:
    """Return what table a file is, with its keys and its items."""
    labels, codes, missing = raw.meanings
    of = {n: {"label": labels.get(n, ""), "labels": codes.get(n), "ranges": missing.get(n, ())} for n in raw.frame}
    columns = [profile(name, raw.frame[name], **of[name]) for name in raw.frame.columns]
    personal = _personal(raw)
    rest = [c for c in columns if c.name not in personal]
    table = guess_kind(rest, raw.frame, kind=kind, file=file)
    table.left += [f"{name}: names a person, {why}" for name, why in personal.items()]
    written = {v["column"] if isinstance(v, dict) else v for v in table.own.given.values()}
    rest = [c for c in rest if c.name not in written]
    if table.name == "responses":
        aside = _derived(rest, raw.frame) | {
            c.name: "how the answer came about, not a question" for c in rest if _is_bookkeeping(c, raw.frame)
        }
        table.left += [f"{name}: {why}" for name, why in aside.items()]
        _exclude(table, rest)
        rest = [c for c in rest if c.name not in aside]
    _total(table, columns)
    wide = _wide(rest) if table.name == "responses" and "wave" not in table.own.given else {}
    table.waves = sorted({wave for columns in wide.values() for wave in columns})
    later = {c.name for columns in wide.values() for c in list(columns.values())[1:]}
    merged = {next(iter(columns.values())).name: _merged(stem, columns) for stem, columns in wide.items()}
    table.items, left = guess_items([merged.get(c.name, c) for c in rest if c.name not in later])
    table.left += left
    for item in (item for item in table.items if item.column in wide):
        item.column = {wave: c.name for wave, c in wide[item.column].items()}
        said = f"{', '.join(item.column.values())}: one question in {len(table.waves)} waves, and each row a person in each"
        item.doubts.append(Doubt("waves", said, (Answer("yes"),)))
    _writing(table, columns)
    return table


def _wide(columns: list[Column]) -> dict[str, dict[str, Column]]:
    """Return stem -> wave -> column for ratings that differ in a year or in the number of a wave, in all waves."""
    asked: dict[str, dict[str, Column]] = {}
    for column in columns:
        if is_ratinglike(column) and (found := WAVE.fullmatch(column.name.strip())):
            asked.setdefault(found["stem"], {})[found["wave"]] = column
    asked = {stem: found for stem, found in asked.items() if len(found) > 1}
    waves = {wave for found in asked.values() for wave in found}
    return asked if all(len(found) == len(waves) for found in asked.values()) else {}


def _merged(stem: str, columns: dict[str, Column]) -> Column:
    """Return the columns of one question in several waves as one."""
    found = list(columns.values())
    numbers, texts = (sum((Counter(getattr(c, part)) for c in found), Counter()) for part in ("numbers", "texts"))
    return found[0]._replace(name=stem, rows=sum(c.rows for c in found), numbers=dict(numbers), texts=dict(texts))


def _writing(table: TableGuess, columns: list[Column]) -> None:
    """Write how most of the numbers are written as keys of the table; an item that differs says so itself."""
    used = Counter(c.writing for c in columns if c.writing != Writing())
    if not used:
        return
    common = used.most_common(1)[0][0]
    example = next(c for c in columns if c.writing == common)
    for key in ("thousands", "decimal"):
        if (sign := getattr(common, key)) != getattr(Writing(), key):
            reason = f"numbers such as those of {example.name} have {sign!r} as the sign of {key}"
            if common == Writing(".", ","):  # 1,250 may be a thousand and more, or 1.25
                table.say(key, sign, reason, Answer("decimal comma", {"thousands": None, "decimal": ","}))
            else:
                table.say(key, sign, reason)
    for item in table.items:
        own = item.stored.writing
        if own != common and item.stored.numbers and (own != Writing() or not item.stored.whole):
            item.given |= {key: getattr(own, key) for key in ("decimal", "thousands") if getattr(own, key)}


def _personal(raw: RawTable) -> dict[str, str]:
    """Return column -> why it names a person; names are looked at without the number of their question, labels too."""
    found: dict[str, str] = {}
    for other in (
        {name: re.sub(r"^[A-Za-z]\d+_?(?=[A-Za-z])", "", name) for name in raw.frame.columns},
        {name: label for name, label in raw.meanings.labels.items() if len(label) <= 60},
    ):
        for name in (name for name in other if name in raw.frame.columns and name not in found):
            if told := find_identifier(other[name], raw.frame[name]):
                found[name] = told
    return found


def _is_bookkeeping(column: Column, frame: pd.DataFrame) -> bool:
    """Return whether a column says how an answer came about; so does the number of the row, without a name."""
    stored = frame[column.name]
    if column.name == "column 1" and column.filled == column.rows and not stored.duplicated().any():
        return column.numeric and not column.texts and max(column.numbers) <= column.rows < 2 * len(column.numbers)
    return any(WORDS["bookkeeping"].match(plain(text)) for text in (column.name, column.label) if text)


def _derived(columns: list[Column], frame: pd.DataFrame) -> dict[str, str]:
    """Return the columns in which a platform grouped the answers of another: one group for 0-6, for 7-8 and for 9-10."""
    found = {}
    groups = [c for c in columns if 1 < c.distinct <= 3]
    for asked in (c for c in columns if is_ratinglike(c) and max(c.numbers) == 10 and len(c.numbers) > 3):
        score = pd.to_numeric(frame[asked.name], errors="coerce")
        band = score.map(lambda v: (v > 6) + (v > 8), na_action="ignore")
        for group in groups:
            pairs = pd.DataFrame({"band": band, "group": frame[group.name]}).dropna().drop_duplicates()
            same = pairs["band"].is_unique and pairs["group"].is_unique
            if same and (len(pairs) == 3 or group.says("grouped")):
                found[group.name] = (
                    f"the groups that the platform made of {asked.name} (0-6, 7-8, 9-10), not a question"
                )
    return found


def _exclude(table: TableGuess, columns: list[Column]) -> None:
    """Leave out previews, tests and unfinished answers where the platform marks them."""
    found, reasons = {}, []
    for column in columns:
        marks = {"status": STATUS, "finished": UNFINISHED}
        marked = marks.get(column.name.lower()) or marks.get(plain(column.label or column.name), set())
        if codes := [c for c in map(code_text, (*column.numbers, *column.texts)) if c in marked]:
            stored = {code_text(v): n for v, n in (*column.numbers.items(), *column.texts.items())}
            found[column.name] = codes
            reasons.append(f"{column.name}: {sum(stored[code] for code in codes)} rows")
    if found:
        table.say("exclude", found, f"previews, tests and unfinished answers ({', '.join(reasons)})", doubtful=True)


def _total(table: TableGuess, columns: list[Column]) -> None:
    """Leave out a row of totals: a cell that says so, in a table in which a number is the sum of all others."""
    said = {c.name: t for c in columns for t, n in c.texts.items() if n == 1 and WORDS["total"].fullmatch(t)}
    halves = {c.name: sum(v * n for v, n in c.numbers.items()) / 2 for c in columns if said and len(c.numbers) > 2}
    sums = [c.name for c in columns if (half := halves.get(c.name)) and any(math.isclose(half, v) for v in c.numbers)]
    if len(said) == 1 and sums:
        given = table.own.given.get("exclude", {}) | {name: [text] for name, text in said.items()}
        table.say("exclude", given, f"a row whose {sums[0]} is the sum of the others", doubtful=True)
