"""The columns of a table that are no items: who answered, in which wave, with what weight; and what is left out."""

import re

import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.intake.guess import FEW_WORDS, guess_items
from cxresearch.intake.kinds import PERSON, TableGuess, guess_kind
from cxresearch.intake.profile import Column, profile
from cxresearch.privacy import find_identifiers
from cxresearch.sources import RawTable

RESPONDENT = re.compile(
    r"^(response ?id|resp(ondent)? ?(num|id|no|number)?|resp ?num|unique ?id|record ?(no|number|id)|recordno|id|uuid|uid|case ?id|"
    r"v1|token|submission ?id|antwort ?id|id odpowiedzi|id ответа|респондент)$"
)
WEIGHT = re.compile(r"^(weight|wgt|wt|gewicht|waga|poids|weight [ab]|вес)$")
WAVE = re.compile(r"^(wave|welle|fala|волна|round)$")
LANGUAGE = re.compile(r"^(language|język|язык|sprache)$")
DURATION = re.compile(r"^(duration( in seconds)?|dauer in sekunden|time ?taken|interview ?time|total ?time)\b")
# Columns by which Qualtrics says that a row is no finished answer of a respondent.
STATUS = {"1": "preview", "2": "test", "8": "spam", "Survey Preview": "preview", "Survey Test": "test", "Spam": "spam"}
UNFINISHED = ("0", "False", "FALSE")
# What platforms note about the answering itself; no question.
BOOKKEEPING = re.compile(
    r"^(start ?date|status|progress|finished|distribution ?channel|user ?language|external ?reference|"
    r"external ?data ?reference|response ?set|location ?accuracy|unnamed \d+|last ?page|start ?language|letzte ?seite|"
    r"start ?sprache|collector ?id|seed)$"
)


def guess_table(raw: RawTable, *, file: str) -> TableGuess:
    """Return what table a file is, with its keys and its items."""
    columns = [_profile(raw, name) for name in raw.frame.columns]
    named = {c.name: c for c in columns}
    decimal = _decimal(columns, file)
    personal = _personal(raw)
    used: set[str] = set(personal)
    table = guess_kind(raw.frame, [c for c in columns if c.name not in used], used)
    if table.name == "responses":
        _responses(table, raw.frame, [c for c in columns if c.name not in used], used)
    table.keys = [*decimal, *table.keys]
    if decimal and all(
        re.search(r",\d{3}$", text) for column in columns if column.comma for text in _commas(raw, column)
    ):
        table.doubtful["decimal"] = "three digits after each comma: thousands?"
    table.left += [f"{name}: names a person, {why}" for name, why in personal.items()]
    for name in [n for n in named if n not in used and table.name == "responses"]:
        if _is_bookkeeping(named[name], raw.frame):
            used.add(name)
            table.left.append(f"{name}: how the answer came about, not a question")
    items, left = guess_items([c for c in columns if c.name not in used])
    table.items, table.left = items, [*table.left, *left]
    return table


def _profile(raw: RawTable, name: str) -> Column:
    meanings = raw.meanings
    return profile(
        name,
        raw.frame[name],
        label=meanings.labels.get(name, ""),
        labels=meanings.codes.get(name),
        ranges=meanings.missing.get(name, ()),
    )


def _decimal(columns: list[Column], file: str) -> list[tuple[str, object, str]]:
    """Return the decimal sign where some numbers have a comma; then no other may have a point."""
    commas = [c.name for c in columns if c.comma]
    if not commas:
        return []
    if points := [c.name for c in columns if not c.comma and c.numeric and not c.whole]:
        raise StudyProblem(
            f"{file}: numbers have a comma in {commas[0]!r} and a point in {points[0]!r}; a table has one decimal sign: correct "
            "the file"
        )
    return [("decimal", ",", f"numbers such as those of {commas[0]} have a comma")]


def _commas(raw: RawTable, column: Column) -> list[str]:
    return [text for text in map(str, raw.frame[column.name].dropna().unique()[:200]) if "," in text]


def _personal(raw: RawTable) -> dict[str, str]:
    """Return column -> why it names a person; names are looked at without the number of their question, labels too."""
    found: dict[str, str] = {}
    for other in (
        {name: re.sub(r"^[A-Za-z]\d+_?(?=[A-Za-z])", "", name) for name in raw.frame.columns},
        {name: label for name, label in raw.meanings.labels.items() if len(label) <= 60},
    ):
        names = [name for name in other if name in raw.frame.columns and name not in found]
        table = (
            raw.frame[names].set_axis(range(len(names)), axis=1).rename(columns=dict(enumerate(map(other.get, names))))
        )
        for i, name in enumerate(names):
            for identifier in find_identifiers(table.iloc[:, [i]]):
                found[name] = f"{identifier.kind} ({identifier.reason})"
    return found


def _is_bookkeeping(column: Column, frame: pd.DataFrame) -> bool:
    """Return whether a column says how an answer came about; so does the number of the row, without a name."""
    stored = frame[column.name]
    if column.name == "column 1" and column.filled == column.rows and not stored.duplicated().any():
        return column.numeric and not column.texts and max(column.numbers) <= column.rows < 2 * len(column.numbers)
    return any(BOOKKEEPING.match(_plain(text)) for text in (column.name, column.label) if text)


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)).lower().strip()


def _responses(table: TableGuess, frame: pd.DataFrame, columns: list[Column], used: set[str]) -> None:
    for key, pattern, fits, why in (
        (
            "id",
            RESPONDENT,
            lambda c: c.filled == c.rows and _once(frame, c.name),
            "fills every row, and no two answers share one",
        ),
        ("customer", PERSON, lambda c: c.distinct > FEW_WORDS, "the name says so; links to the other tables"),
        ("wave", WAVE, lambda c: c.filled == c.rows and 1 < c.distinct <= 60, "the name says so"),
        ("weight", WEIGHT, _is_weight, "the name says so; positive numbers with mean about 1"),
        ("duration", DURATION, lambda c: c.numeric and not c.texts, "seconds, by the name"),
        ("language", LANGUAGE, lambda c: c.distinct <= FEW_WORDS, "the name says so"),
    ):
        found = next((c for c in columns if c.name not in used and pattern.match(c.words) and fits(c)), None)
        found = found or next((c for c in columns if c.name not in used and _name(c, pattern) and fits(c)), None)
        if found:
            table.say(key, found.name, why, doubtful=key in ("wave", "weight", "customer"))
            used.add(found.name)
    _exclude(table, columns)


def _once(frame: pd.DataFrame, name: str) -> bool:
    """Return whether a value never stands in two different rows."""
    repeated = frame[frame[name].duplicated(keep=False)]
    return repeated.empty or not repeated.drop_duplicates()[name].duplicated().any()


def _name(column: Column, pattern: re.Pattern) -> bool:
    return bool(pattern.match(_plain(column.name)))


def _is_weight(column: Column) -> bool:
    n = sum(column.numbers.values())
    positive = n == column.rows and not column.texts and min(column.numbers) >= 0
    return positive and 0.5 < sum(v * times for v, times in column.numbers.items()) / n < 2


def _exclude(table: TableGuess, columns: list[Column]) -> None:
    """Leave out previews, tests and unfinished answers where the platform marks them."""
    found, reasons = {}, []
    for column in columns:
        name = re.sub(r"[\W_]+", " ", column.label or column.name).lower().strip()
        stored = {f"{v:g}": n for v, n in column.numbers.items()} | column.texts
        if column.name == "Status" or name == "status":
            codes = [code for code in stored if code in STATUS]
        elif column.name == "Finished" or name == "finished":
            codes = [code for code in stored if code in UNFINISHED]
        else:
            continue
        if codes:
            found[column.name] = codes
            reasons.append(f"{column.name}: {sum(stored[code] for code in codes)} rows")
    if found:
        table.say("exclude", found, f"previews, tests and unfinished answers ({', '.join(reasons)})", doubtful=True)
