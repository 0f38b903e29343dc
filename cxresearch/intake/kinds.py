"""Which of the six tables a file is: who repeats, when, how much; answers of a survey unless it says otherwise."""

import re
from dataclasses import dataclass, field

import pandas as pd

from cxresearch.intake.dates import guess_dates
from cxresearch.intake.guess import Guess
from cxresearch.intake.profile import Column
from cxresearch.intake.rating import answers_of, is_ratinglike

PERSON = re.compile(
    r"\b(cust(omer)? ?(id|no|number|key)?|client ?id|account( ?id| ?no)?|household ?(id|key)|card ?(id|no)|"
    r"kunden?( ?nummer| ?nr| ?id)?|(?:nr|id|numer) klienta?|(?:номер|id|код) клиента)\b"
)
CASE = re.compile(r"\b(case( ?id)?|ticket( ?id)?)\b")
AMOUNT = re.compile(
    r"\b(amount|sales ?value|value|revenue|spend|turnover|betrag|kwota|wartość|сумма|sum|umsatz|eur|usd)\b"
)
MOMENT = re.compile(r"\b(time ?stamp|date|time|datum|data|paid at|дата)\b")
PERIOD = re.compile(r"^(period|month|quarter|year|monat|miesiąc|rok|jahr|kwartał)$")
UNIT = re.compile(r"^(unit|branch|store|shop|team|department|filiale|oddział|trust|code)$")
CONTACT = {
    "channel": re.compile(r"^(channel|kanal|kanał)$"),
    "touchpoint": re.compile(r"^(touchpoint|topic|subject|reason|activity ?(id)?|thema|temat)$"),
    "agent": re.compile(r"^(agent( id)?|operator)$"),
    "text": re.compile(r"^(note|text|comment|message|transcript)$"),
    "stage": re.compile(r"^(stage|phase|etap|этап)$"),
    "owner": re.compile(r"^(owner|department|dział|отдел)$"),
    "case": re.compile(r"^(case|ticket)( id| no)?$"),
    "contact": re.compile(r"^(contact|interaction)( id| no)?$"),
    "closed": re.compile(r"^(closed|solved|ended)( at| on)?$"),
    "resolved": re.compile(r"^(resolved|closed first time|solved|first contact resolution)$"),
}
YES_NO = {"yes", "no", "true", "false", "1", "0", "y", "n"}


@dataclass
class TableGuess:
    """A table of the study file: its own keys with reasons, its items, what is left out."""

    name: str
    why: str
    keys: list[tuple[str, object, str]] = field(default_factory=list)
    doubtful: dict[str, str] = field(default_factory=dict)
    items: list[Guess] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def say(self, key: str, value, reason: str, *, doubtful: bool = True) -> None:
        self.keys.append((key, value, reason))
        if doubtful:
            self.doubtful[key] = reason


def guess_kind(frame: pd.DataFrame, columns: list[Column], used: set[str]) -> TableGuess:
    """Return the table that the columns speak for; what becomes one of its keys is added to `used`."""
    if sum(is_ratinglike(c) and len(answers_of(c)) >= 4 for c in columns) >= 3:
        return TableGuess("responses", "three ratings or more")
    who = next((c for c in columns if PERSON.search(c.words)), None) or next(
        (c for c in columns if CASE.search(c.words)), None
    )
    if who is None:
        return _without_a_customer(columns, used)
    times = [c for c in columns if c is not who and _is_time(c)]
    amount = next((c for c in columns if c is not who and AMOUNT.search(c.words) and c.numeric), None)
    if frame[who.name].dropna().duplicated().any():
        if times and amount:
            return _payments(who, _most_different(times), amount, used)
        return _contacts(who, _most_different(times), columns, used) if times else _answers()
    if frame[who.name].notna().all():
        return _accounts(who, columns, used)
    return _answers()


def _answers() -> TableGuess:
    return TableGuess("responses", "nothing speaks for payments, contacts, accounts, units or costs")


def _is_time(column: Column) -> bool:
    date = Guess("", "")
    if guess_dates(date, column):
        return date.given["type"] == "date"
    return bool(MOMENT.search(column.words) and _year_first(column))


def _year_first(column: Column) -> bool:
    """Return whether dates are stored as numbers such as 19970101."""
    whole = column.numbers and not column.texts and column.whole
    return bool(whole) and all(19000101 <= v <= 21001231 for v in column.numbers)


def _most_different(times: list[Column]) -> Column:
    return max(times, key=lambda c: c.distinct)


def _payments(who: Column, time: Column, amount: Column, used: set[str]) -> TableGuess:
    table = TableGuess("transactions", f"{who.name} repeats, beside a time and an amount")
    _events(table, who, time, used)
    table.say("amount", amount.name, "numbers under a word for money")
    used.add(amount.name)
    if negative := sum(n for v, n in amount.numbers.items() if v < 0):
        table.say("negative", "returns", f"{negative} amounts are negative: money paid back? (or: drop, error)")
    _blanks(table, (who, time, amount))
    return table


def _contacts(who: Column, time: Column, columns: list[Column], used: set[str]) -> TableGuess:
    table = TableGuess("interactions", f"{who.name} repeats, beside a time")
    _events(table, who, time, used)
    for key, pattern in CONTACT.items():
        found = next((c for c in columns if c.name not in used and pattern.match(c.words)), None)
        if found and _fits(key, found):
            table.say(key, found.name, "the name says so" + "; yes and no" * (key == "resolved"), doubtful=False)
            used.add(found.name)
    _blanks(table, (time,))
    return table


def _fits(key: str, column: Column) -> bool:
    """Return whether cells are what such a key holds: moments, yes and no, ids that stand once; any other takes all."""
    if key == "closed":
        return _is_time(column)
    if key == "contact":
        return column.distinct == column.rows
    said = {t.casefold() for t in column.texts} | {f"{v:g}" for v in column.numbers}
    return key != "resolved" or said <= YES_NO


def _events(table: TableGuess, who: Column, time: Column, used: set[str]) -> None:
    date = Guess("time", time.name)
    guess_dates(date, time)
    table.say("customer", who.name, f"the first column that names somebody; {who.distinct} different")
    table.say("time", time.name, "the column of dates with most different values")
    if _year_first(time):
        table.say("time_format", "%Y%m%d", f"{time.name} holds dates as numbers, year first")
    elif "time_format" in date.given:
        table.say("time_format", date.given["time_format"], f"how {time.name} is written", doubtful=bool(date.doubts))
    used |= {who.name, time.name}


def _blanks(table: TableGuess, needed: tuple[Column, ...]) -> None:
    """Leave out rows without a needed cell, in doubt."""
    blank = {c.name: c.rows - c.filled for c in needed if c.filled < c.rows}
    if blank:
        rows = ", ".join(f"{name} {n}" for name, n in blank.items())
        table.say(
            "missing", "drop", f"rows are blank in what every row needs ({rows}); dropped and counted (or: error)"
        )


def _accounts(who: Column, columns: list[Column], used: set[str]) -> TableGuess:
    table = TableGuess("customers", f"{who.name} stands once in each row")
    table.say("id", who.name, table.why)
    used.add(who.name)
    for key, words in (
        ("since", r"^(since|opened|joined|start date|created)$"),
        ("until", r"^(until|closed|ended|churned at)$"),
    ):
        if found := next((c for c in columns if re.match(words, c.words) and _is_time(c)), None):
            date = Guess(key, found.name)
            guess_dates(date, found)
            if "time_format" not in date.given:
                table.say(key, found.name, "dates under a word for the start or the end", doubtful=False)
                used.add(found.name)
    return table


def _without_a_customer(columns: list[Column], used: set[str]) -> TableGuess:
    """Return employees or costs where the names say so: units and engagement, or kinds and amounts, in a period."""
    period = next((c for c in columns if PERIOD.match(c.words) and c.filled == c.rows), None)
    engaged = next((c for c in columns if re.search(r"\bengage", c.words) and c.numeric and not c.texts), None)
    unit = next((c for c in columns if UNIT.match(c.words) and c.filled == c.rows), None)
    kind = next((c for c in columns if re.match(r"^(kind|type|category|cost type|art|rodzaj)$", c.words)), None)
    amount = next((c for c in columns if AMOUNT.search(c.words) and c.numeric and not c.texts), None)
    if period and unit and engaged and not any(is_ratinglike(c) for c in columns):
        return _keyed("employees", {"unit": unit, "period": period}, used, engaged)
    if period and kind and amount and len(columns) <= 6:
        return _keyed("costs", {"period": period, "kind": kind, "amount": amount}, used)
    return _answers()


def _keyed(name: str, keys: dict[str, Column], used: set[str], engaged: Column | None = None) -> TableGuess:
    table = TableGuess(name, f"the names {', '.join(c.name for c in keys.values())} say so")
    for key, column in keys.items():
        table.say(key, column.name, "the name says so")
        used.add(column.name)
    if engaged:
        table.say("engagement", {"column": engaged.name, "type": "number"}, "the name says so; its scale is not known")
        used.add(engaged.name)
    return table
