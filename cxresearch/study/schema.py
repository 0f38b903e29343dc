"""What `study.yml` may say: one model per table, one for the whole; and its text read into them.

The models refuse every key they do not know; what is wrong is said with the line and the nearest key.
``cxresearch schema`` prints them as a JSON schema for an editor.
"""

import codecs
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from cxresearch.errors import StudyProblem, nearest, plain_text
from cxresearch.sources import GLOB, HEADERS, WHITESPACE, database_file, without_password
from cxresearch.study.document import Document, Plain, read_document, say

Role = Literal[
    "nps", "csat", "ces", "outcome", "driver", "demographic", "segment", "control", "verbatim", "asked_at", "respondent",
    "contact_rating", "unit", "problem", "claim_forgive", "claim_prefer", "claim_switch", "claim_service_over_price",
]  # fmt: skip
ROLES: tuple[str, ...] = get_args(Role)
OUTCOMES = ("nps", "csat", "ces", "outcome")
COUNTING = {*OUTCOMES, "driver", "control", "asked_at"}  # roles that decide what is computed, or from whom
Code = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
ENCODINGS = ("utf-8", "utf-16", "latin-1", "cp1252", "cp1250", "cp1251", "cp850")
TIME_SIGNS = {
    "Y": "year", "y": "year", "m": "month", "b": "month", "B": "month", "d": "day", "j": "day of the year", "G": "ISO year",
    "V": "ISO week", "U": "week", "W": "week", "u": "weekday", "w": "weekday", "a": "weekday", "A": "weekday", "H": "hour",
    "I": "hour", "p": "half", "M": "minute", "S": "second", "f": "fraction", "z": "zone", "Z": "zone",
}  # fmt: skip
WHEN = (
    {"year", "month"}, {"year", "day of the year"}, {"year", "week", "weekday"}, {"ISO year", "ISO week", "weekday"},
)  # fmt: skip


def listed(value):
    return value if isinstance(value, list) or value is None else [value]


def as_column(value):
    return {"column": value} if isinstance(value, str) else {} if value is None else value


def resolved(value):
    """Give report parameters plain types: unquoted 0.9 and true; anything doubtful (NO, 010, 12:30) stays text."""
    if isinstance(value, dict):
        return {str(k): resolved(v) for k, v in value.items()}
    if isinstance(value, list):
        return [resolved(v) for v in value]
    if not isinstance(value, Plain):
        return value
    if value in ("true", "false"):
        return value == "true"
    if NUMBER.fullmatch(value) and not re.match(r"[+-]?0\d", value):
        return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
    return str(value)


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(say("encoding", name=repr(name), near=nearest(name, ENCODINGS))) from None
    return name


def one_character(text: str, or_word: str = "") -> str:
    """Return what stands between cells, or between the codes of a cell."""
    sign = {"\\t": "\t", "tab": "\t"}.get(text, text) if or_word else text.strip() or text
    complain({"separator": len(sign) != 1 and sign != or_word}, text=repr(text), or_word=or_word and f", or {or_word}")
    return sign


def one_sign(text):
    """Return a sign between thousands by its plainest form: any space is a space."""
    plain = {"space": " ", "apostrophe": "'", "\u2019": "'"}.get(text, text)
    return " " if isinstance(plain, str) and plain.isspace() else plain


def as_time(age: str) -> timedelta:
    """Return how long ``3 days`` is; zero if it is no age."""
    found = re.fullmatch(r"(\d+) ?(minute|hour|day|week)s?", age.strip())
    return timedelta(**{f"{found[2]}s": int(found[1])}) if found else timedelta()


def an_age(text: str) -> str:
    complain({"age": not as_time(text)}, text=repr(text))
    return text.strip()


def a_time_format(written: str) -> str:
    """Return a format in strptime's signs that says when, a month at least; refused where it says less, or one thing twice."""
    signs = re.findall("%(.?)", written.replace("%%", ""))
    parts = [TIME_SIGNS.get(sign, "unknown") for sign in signs]
    whole = any(needed <= set(parts) for needed in WHEN) and len(set(parts)) == len(parts)
    wrong = not whole or "unknown" in parts or ("p" in signs) != ("I" in signs)
    complain({"time format": wrong}, written=repr(written))
    return written


Codes = Annotated[tuple[Code, ...], BeforeValidator(listed, json_schema_input_type=Code | list[Code])]
Words = Annotated[tuple[str, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]
Roles = Annotated[tuple[Role, ...], BeforeValidator(listed, json_schema_input_type=Role | list[Role])]
Encoding = Annotated[str, AfterValidator(_known_encoding)]
# One: what does not fit it is counted and shown.
Encodings = Annotated[tuple[Encoding, ...], Field(max_length=1), BeforeValidator(listed, json_schema_input_type=str)]
Decimal = Literal[".", ","]
Thousands = Annotated[Literal[" ", ".", ",", "'"], BeforeValidator(one_sign, json_schema_input_type=str)]
TimeFormat = Annotated[str, AfterValidator(a_time_format)]


def complain(wrong: dict[str, Any], **known) -> None:
    """Raise the first of the sentences that holds."""
    for sentence in (sentence for sentence, holds in wrong.items() if holds):
        raise ValueError(say.told(sentence, **known))


class Section(BaseModel):
    """A part of the file; a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Item(Section):
    """One question on one scale, or any other column worth carrying."""

    column: str | dict[str, str] | None = None
    """Header in the file, or wave: header; without it the item's key."""
    scale: tuple[float, float] | None = None
    """Lowest and highest valid answer; makes the item a number."""
    type: Literal["number", "text", "date"] | None = None
    """What an item without a scale is; by default it stays as it is stored."""
    missing: Codes = ()
    """Codes of answers that were skipped."""
    not_applicable: Codes = ()
    """Codes of respondents who never met what is asked about."""
    values: dict[str, float] = Field(default_factory=dict)
    """Stored code: the answer it stands for, where the two differ ({1: 0, ..., 11: 10}); then no other code is valid."""
    multiple: Annotated[str, AfterValidator(one_character)] | None = None
    """What separates the codes of a multiple choice (1;3;); gives a column <item>_<code> of 1 and 0 for each label."""
    role: Roles = ()
    """What analyses use the item for."""
    kind: Literal["service", "product", "price", "digital", "personal", "emotion"] | None = None
    """What a driver is about."""
    label: str | None = None
    """Words for figures and sentences."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Code: words. Turns an item without a scale into these words."""
    target: float | None = Field(None, ge=-100, le=100)
    """What is aimed at, of an outcome: net promoter points, or percent in the upper two boxes."""
    decimal: Decimal | None = None
    """How these numbers are written, where it differs from the table's; so thousands."""
    thousands: Thousands | None = None
    time_format: TimeFormat | None = None
    """How this date is written, where it differs from the table's."""
    dayfirst: bool | None = None
    """Whether this date is written day first, where it differs from the table."""
    personal: bool = False
    """true: the column names a person (name, e-mail, phone, address, ...), and an analysis needs it as it is."""
    confirmed: bool | None = None
    """false: a guess; no analysis starts until somebody has looked at it and set this to true."""

    @model_validator(mode="after")
    def _agrees(self):
        role, (low, high) = set(self.role), self.scale or (0, 1)
        both, found = {*self.missing} & {*self.not_applicable}, f"{low:g} to {high:g}" if self.scale else "none"
        wrong = {
            "scale falls": low >= high,
            "scale of a text": self.scale and self.type not in (None, "number"),
            "target": self.target is not None and not role & {*OUTCOMES},
            "values without a scale": self.values and not self.is_number,
            "multiple choice": self.multiple and (self.is_number or not self.labels),
            "code twice": both,
            "nps scale": "nps" in role and self.scale != (0, 10),
        }
        complain(wrong, low=f"{low:g}", high=f"{high:g}", type=self.type, code=min(both, default=""), found=found)
        return self

    def further(self, key: str) -> list[str]:
        """Return the names of the columns that item `key` has beside its own."""
        return [*([f"{key}_met"] if self.not_applicable else ()), *(key + suffix for suffix in self.companions)]

    @property
    def companions(self) -> dict[str, str]:
        """Suffix of each further column of the item -> the code that it is about."""
        codes = self.labels if self.multiple else ()
        return {"_" + re.sub(r"\W", "_", code.strip()): code for code in codes}

    def rates(self, code: str) -> bool:
        """Whether a stored code lies on the scale of the item."""
        return bool(NUMBER.fullmatch(code)) and self.scale[0] <= float(code) <= self.scale[1]

    @property
    def is_number(self) -> bool:
        return self.scale is not None or self.type == "number"

    @property
    def is_date(self) -> bool:
        return self.type == "date" or "asked_at" in self.role


AnItem = Annotated[Item, BeforeValidator(as_column, json_schema_input_type=str | Item | None)]


class Revenue(Section):
    """Money per customer in a window, and what to do with amounts that are no revenue."""

    column: str
    from_: date | None = Field(None, alias="from")
    """First day of the window."""
    to: date | None = None
    """Last day of the window."""
    negative: Literal["keep", "zero", "drop", "error"] = "error"
    missing: Literal["keep", "zero", "drop", "error"] = "error"
    codes: Codes = ()
    """Texts that stand for a missing amount, such as NA."""
    decimal: Decimal | None = None
    """How these amounts are written, where it differs from the table's; so thousands."""
    thousands: Thousands | None = None

    @model_validator(mode="after")
    def _agrees(self):
        complain({"window": self.from_ and self.to and self.from_ > self.to}, first=self.from_, last=self.to)
        return self


def headers(declared: str | Item | Revenue, key: str) -> dict[str | None, str]:
    """Return wave -> header in the file of what a study declares under a key; None is any wave."""
    column = declared if isinstance(declared, str) else declared.column
    return column if isinstance(column, dict) else {None: column or key}


def header(declared: str | Item | Revenue, key: str, wave: str | None) -> str | None:
    """Return the header of a column in a wave; None where it was not asked."""
    by_wave = headers(declared, key)
    return by_wave.get(None, by_wave.get(wave))


def spread(items: dict, codes: dict) -> dict:
    """Return items as typed, each with what the patterns that its key matches say and itself does not; the last wins.

    What an item only guesses (``confirmed: false``) gives way to the table's codes and to a pattern that is confirmed.
    """
    patterns = {key: said for key, said in items.items() if GLOB & set(key)}
    own = {key: as_column(said) for key, said in items.items() if key not in patterns}
    for pattern, said in patterns.items():
        wrong = {"pattern of what": not isinstance(said, dict) or "column" in said}
        wrong["pattern of nothing"] = not any(fnmatchcase(key, pattern) for key in own)
        complain(wrong, pattern=repr(pattern))
    shared = {k: {w: v for p, said in patterns.items() if fnmatchcase(k, p) for w, v in said.items()} for k in own}
    return {key: _merged(shared[key], said, codes) if isinstance(said, dict) else said for key, said in own.items()}


def _merged(shared: dict, own: dict, codes: dict) -> dict:
    if str(own.get("confirmed")).lower() != "false":
        return shared | own
    codes = codes if "scale" in shared | own else {}  # they speak of ratings
    aside = {w: [c for c in listed(own[w]) or () if c not in codes] for w in ("missing", "not_applicable") if w in own}
    return own | aside | shared if str(shared.get("confirmed")).lower() == "true" else shared | own | aside


def said_by(typed: dict, key: str, word: str) -> str:
    """Return the key of the items as typed that says `word` of item `key`: its own, or that of a pattern."""
    patterns = [p for p, said in typed.items() if GLOB & set(p) and fnmatchcase(key, p) and word in said]
    return key if word in as_column(typed.get(key)) or not patterns else patterns[-1]


def decisions(item: Item, coded: Counter | None) -> list[str]:
    """Return in words what an item decides: scale, codes set aside with their counts (if known), values, role."""

    def counted(codes: tuple[str, ...]) -> str:
        return ", ".join(code if coded is None else f"{code} ({coded.get(code, 0)} rows)" for code in codes)

    pairs = [f"{code} is {value:g}" for code, value in item.values.items()]
    said = (
        item.role and f"role {', '.join(item.role)}",
        item.scale and f"scale {item.scale[0]:g} to {item.scale[1]:g}",
        item.missing and f"missing {counted(item.missing)}",
        item.not_applicable and f"not applicable {counted(item.not_applicable)}",
        pairs and "stored " + ", ".join(pairs[:3]) + ", ..." * (len(pairs) > 3),
        item.multiple and f"multiple choice separated by {item.multiple!r}",
    )
    return [part for part in said if part]


def written(value) -> str:
    """Return what a key of a table says, in words."""
    if isinstance(value, Section):
        value = value.model_dump(exclude_unset=True, by_alias=True)
    if isinstance(value, dict):
        return ", ".join(f"{k}: {written(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


HeaderRow = Literal["name", "label", "question", "option", "ignore"]
PROBLEMS_SHOWN = 10
IDS = ("respondent", "customer", "agent", "contact", "case")  # columns that hold ids of people


def header_rows(value):
    """Return the header rows as a list; ``none`` is no row."""
    rows = [] if value == "none" else listed(value)
    known = rows if isinstance(rows, list) else []
    wrong = {
        "options without questions": "option" in known and "question" not in known,
        "header row twice": any(known.count(row) > 1 for row in HEADERS if row != "ignore"),
    }
    complain(wrong, rows=", ".join(map(str, known)))
    return rows


def each_once(waves: tuple[str, ...]) -> tuple[str, ...]:
    """Return waves as they are written; refused where one stands twice."""
    plain = [plain_text(wave) for wave in waves]
    twice = next((wave for wave in plain if plain.count(wave) > 1), None)
    complain({"wave twice": twice}, wave=repr(twice), n=plain.count(twice))
    return waves


def spaced(text):
    return text.replace("_", " ") if isinstance(text, str) else text


class As(NamedTuple):
    """How a column is read (a method of `RawPart`), and what a blank cell in it is.

    "kept", "refused", or left out where the table says ``missing: drop`` and refused where it does not ("dropped").
    """

    kind: str
    blank: Literal["kept", "refused", "dropped"] = "kept"


# A text is split as a shell would, but no shell reads it.
Command = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda v: shlex.split(v) if isinstance(v, str) else v, json_schema_input_type=str | list[str]),
]
Name = Annotated[str | None, As("names")]
Id = Annotated[str | None, As("names", "refused")]
Number = Annotated[str | None, As("number")]
Weight = Annotated[str | None, As("weight", "refused")]
Moment = Annotated[str | None, As("moments")]


class Table(Section):
    """What every table may say about its file; a field that names a column is called like that column."""

    columns: ClassVar[dict[str, As]] = {}
    unique: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **_):
        found = {name: [m for m in field.metadata if isinstance(m, As)] for name, field in cls.model_fields.items()}
        cls.columns = {name: reads[0] for name, reads in found.items() if reads}

    source: str | None = None
    """The file, relative to this one; may be a pattern such as sales/*.parquet."""
    encoding: Encodings = ()
    """Of a text file, by default UTF-8."""
    encoding_errors: Literal["strict", "replace"] = "strict"
    """replace: put a mark for undecodable bytes, and count them."""
    separator: Annotated[str, AfterValidator(lambda sign: one_character(sign, WHITESPACE))] = ","
    decimal: Decimal = "."
    thousands: Thousands | None = None
    """What stands between thousands: a space of any kind, a dot, a comma or an apostrophe."""
    sheet: str | None = None
    """Of an Excel file with several."""
    header: Annotated[tuple[HeaderRow, ...], BeforeValidator(header_rows, json_schema_input_type=str | list[str])] = (
        "name",
    )
    """What each header row holds: name, label, ignore, or question and option; none where the file has no header."""
    records: str | None = None
    """Of a JSON file with several lists: the one to read."""
    database: Annotated[str, AfterValidator(without_password)] | None = None
    """A DuckDB or SQLite file, or a PostgreSQL address with ${NAME} for what the environment holds."""
    query: str | None = None
    """What to select from the database."""
    exclude: dict[str, Codes] = Field(default_factory=dict)
    """Header: values of rows that are no data (previews, tests, unfinished answers)."""
    confirmed: dict[str, bool] = Field(default_factory=dict)
    """Key of this table: false where it is a guess; no analysis starts until it is true."""
    max_age: Annotated[str, AfterValidator(an_age)] | None = None
    """How long ago a file may have been changed for a run to use it: 3 days, 12 hours."""
    time_format: TimeFormat | None = None
    """How dates are written, in strptime's signs; by default ISO (2018-12-31)."""
    dayfirst: bool = False
    """Dates are written 31.12.2018 or 31/12/2018."""
    codes: dict[str, Annotated[Literal["missing", "not applicable"], BeforeValidator(spaced)]] = Field(
        default_factory=dict
    )
    """Code: what it means in every rating on whose scale it does not lie, where the item itself does not say."""
    items: dict[str, AnItem] = Field(default_factory=dict)
    """Key: item. A pattern of keys (q*) says what all items share that match it; an item's own words win."""

    @classmethod
    def key(cls, column: str) -> str:
        """Return the key in the file that names a column."""
        return cls.model_fields[column].alias or column

    def declared(self) -> Iterator[tuple[str, str, As, str | Item | Revenue]]:
        """Yield column, what asks for it, how it is read and what is said of it, of each column and item declared."""
        for column, reads in self.columns.items():
            if (said := getattr(self, column)) is not None:
                yield column, self.key(column), reads, said
        for key, item in self.items.items():
            yield key, f"item {key}", As("item"), item

    @property
    def excluded(self) -> list[tuple[str, str]]:
        """Header and code of the rows that are no data."""
        return [(header, code) for header, codes in self.exclude.items() for code in codes]

    @property
    def id_columns(self) -> list[str]:
        """The columns that hold ids of people, under whatever name: every use of such a header."""
        declared = {column: said for column, _, _, said in self.declared()}
        people = {c for c, said in declared.items() if c in IDS or "respondent" in getattr(said, "role", ())}
        ids = {header for column in people for header in headers(declared[column], column).values()}
        return [column for column, said in declared.items() if ids & set(headers(said, column).values())]

    @property
    def text_columns(self) -> list[str]:
        """The columns that hold what people wrote."""
        own = ["text"] if getattr(self, "text", None) else []
        return own + [key for key, item in self.items.items() if "verbatim" in item.role]

    def files(self) -> dict[str | None, str]:
        """Return wave (None where the file does not say) -> file as written; a database is no file here."""
        if self.database is not None:
            return {}
        return {None: self.source} if self.source is not None else dict(self.sources)

    @model_validator(mode="before")
    @classmethod
    def _patterns(cls, typed):
        items, codes = (typed.get(key) for key in ("items", "codes")) if isinstance(typed, dict) else (None, None)
        given = codes if isinstance(codes, dict) else {}
        return typed | {"items": spread(items, given)} if isinstance(items, dict) else typed

    @model_validator(mode="after")
    def _agrees(self):
        sources = "sources" in type(self).model_fields
        given = [key for key in ("source", "sources", "database") if getattr(self, key, None) is not None]
        neither = not given or given == ["source", "sources"]
        address = self.database is not None and database_file(self.database, Path()) is None
        wrong = {
            "source or sources" if sources else "source": neither,
            "several sources": len(given) > 1,
            "database and query": (self.database is None) != (self.query is None),
            "age of an address": self.max_age is not None and address,
            "one sign": self.thousands == self.decimal,
        }
        complain(wrong, given=" and ".join(given), sign=repr(self.decimal))
        self._share_codes()
        keys = [field.alias or name for name, field in type(self).model_fields.items()]
        taken = {*self.columns, *(c for key, item in self.items.items() for c in item.further(key))}
        for key in self.confirmed:
            complain({"confirmed": key not in keys}, key=repr(key), near=nearest(key, keys))
        for key in self.items:
            own = say("item key beside", key=key) if key in keys else ""
            complain({"item key": not key.isidentifier(), "item key taken": key in taken}, key=repr(key), own=own)
        return self

    def _share_codes(self) -> None:
        """Give the codes of the table to its ratings; what lies on a scale is an answer there."""
        for key, item in self.items.items():
            own = {*item.missing, *item.not_applicable, *item.values}
            shared = {c: said for c, said in self.codes.items() if item.scale and c not in own and not item.rates(c)}
            more = {
                field: (*getattr(item, field), *(c for c, said in shared.items() if said == spaced(field)))
                for field in ("missing", "not_applicable")
            }
            self.items[key] = item.model_copy(update=more)


class Responses(Table):
    """One respondent in one wave."""

    unique = ("respondent", "wave")
    sources: dict[str, str] | None = None
    """Wave: file."""
    respondent: Id = Field(None, alias="id")
    wave: Id = None
    customer: Name = None
    weight: Weight = None
    stratum: Id = Field(None, alias="strata")
    cluster: Id = None
    fpc: Weight = None
    duration: Number = None
    """Seconds that the answer took."""
    language: Name = None
    """Of the respondent: en, pl, ru."""
    contact: Name = None
    """The id of the contact that an item with role contact_rating is about."""
    followed_up: Moment = None
    """When somebody came back to the respondent; blank where nobody did."""

    @model_validator(mode="after")
    def _waves_agree(self):
        complain({"sources and wave": self.sources is not None and self.wave is not None})
        for key, item in self.items.items():
            for wave in item.column if isinstance(item.column, dict) else ():
                wrong = {
                    "column per wave": self.sources is None and self.wave is None,
                    "unknown wave": self.sources is not None and wave not in self.sources,
                }
                complain(wrong, key=key, wave=repr(wave), near=nearest(wave, self.sources or ()))
        return self


class Customers(Table):
    """One account."""

    unique = ("customer",)
    customer: Annotated[str, As("names", "refused")] = Field(alias="id")
    since: Moment = None
    until: Moment = None
    revenue: Annotated[
        Revenue | None, BeforeValidator(as_column, json_schema_input_type=str | Revenue | None), As("money")
    ] = None


class _Events(Table):
    missing: Literal["drop", "error"] = "error"
    """What to do with rows that lack the customer, the time or the amount."""


class Transactions(_Events):
    """One payment."""

    customer: Annotated[str, As("names", "dropped")]
    time: Annotated[str, As("moments", "dropped")]
    amount: Annotated[str, As("money", "dropped")]
    negative: Literal["returns", "error", "drop"] = "error"
    """returns: negative amounts are money paid back, and stay."""


class Interactions(_Events):
    """One contact."""

    unique = ("contact",)
    customer: Annotated[str, As("names")]
    time: Annotated[str, As("moments", "dropped")]
    contact: Annotated[str | None, As("names", "dropped")] = None
    """Its id, which responses may name."""
    case: Name = None
    """The id of what contacts are about, from the first of them to the last."""
    channel: Name = None
    touchpoint: Name = None
    stage: Name = None
    """Of the journey, where it is a matter of the contact; that of a touchpoint stands under touchpoints."""
    owner: Name = None
    """The department that has the case; another in the next row is a hand-off."""
    agent: Name = None
    resolved: Annotated[str | None, As("flags")] = None
    closed: Moment = None
    """When the case was closed; blank while it is open."""
    text: Name = None


class Employees(Table):
    """One unit in one period."""

    unique = ("unit", "period")
    unit: Annotated[str, As("names", "refused")]
    period: Annotated[str, As("names", "refused")]
    engagement: Annotated[AnItem, As("item")]
    n: Number = None
    """How many employees answered."""
    sd: Number = None
    """Standard deviation of their answers; with n it says how far the mean can be trusted."""


class Costs(Table):
    """One kind of cost in one period."""

    unique = ("period", "kind")
    period: Annotated[str, As("names", "refused")]
    kind: Annotated[str, As("names", "refused")]
    amount: Annotated[str, As("money", "refused")]
    roles: dict[str, Literal["acquisition", "service", "retention"]] = Field(default_factory=dict)
    """Kind: what it is spent on."""


class Tables(Section):
    """The tables that this study has; at least one."""

    responses: Responses | None = None
    customers: Customers | None = None
    transactions: Transactions | None = None
    interactions: Interactions | None = None
    employees: Employees | None = None
    costs: Costs | None = None

    @model_validator(mode="after")
    def _any(self):
        complain({"no table": not any(getattr(self, name) for name in TABLES)}, tables=", ".join(TABLES))
        return self


TABLES = tuple(Tables.model_fields)
COLUMNS = tuple(dict.fromkeys(c for f in Tables.model_fields.values() for c in f.annotation.__args__[0].columns))


class Privacy(Section):
    minimum_base: int = Field(10, ge=1)
    """A group with fewer rows is pooled or hidden."""
    purpose: str | None = None
    """What the data are kept for."""
    delete_after: date | None = None
    """Last day on which they may be used; past it the study is refused."""


class Touchpoint(Section):
    """Where customers meet the company; the name is that of interactions, or another."""

    stage: Literal["before", "purchase", "after"] | None = None
    kind: Literal["physical", "digital", "personal"] | None = None
    item: str | None = None
    """The item of responses that measures it; none where nobody is asked."""
    owner: str | None = None
    """The department that answers for it."""


class Programme(Section):
    """What was changed, from when, and for which units; the others are compared with."""

    from_: date = Field(alias="from")
    unit: str
    """The column that names the unit: an item of customers, say, or unit of employees."""
    treated: Words = Field(min_length=1)
    """Its values where the programme runs."""


class Report(Section):
    """A named run: which notebooks, once for each value of which columns, with which parameters."""

    notebooks: Words = ()
    each: Words = ()
    """Columns: a report for each value, or each combination of values, of them."""
    whole: bool = False
    """Beside those of `each`, a report on the whole study."""
    min_rows: int = Field(1, ge=1)
    """A value of `each` with fewer rows gets no report."""
    parameters: Annotated[dict[str, Any], BeforeValidator(resolved)] = Field(default_factory=dict)
    keep: int | None = Field(None, ge=1)
    """How many runs to keep, the latest whole one always; without it, all."""
    on_failure: Command = ()
    """A program and its arguments, started when a run fails; CXRESEARCH_FAILED_RUN holds the run's folder."""


class StudyFile(Section):
    """What the data of a study are."""

    version: Annotated[Literal["1", "2"], BeforeValidator(str, json_schema_input_type=Literal[1, 2, "1", "2"])] = "1"
    """Of this format: 2. A file without it is read as version 1, and told what it lacks."""
    title: str
    currency: str | None = None
    waves: Annotated[Words, BeforeValidator(listed), AfterValidator(each_once)] = ()
    """Labels of the waves in the order of time, where neither dates nor the labels say it."""
    population: float | None = Field(None, gt=0)
    """How many customers there are in all; without it, no total speaks of more than those who answered."""
    privacy: Privacy = Privacy()
    tables: Tables
    touchpoints: dict[str, Touchpoint] = Field(default_factory=dict)
    programme: Programme | None = None
    taxonomy: str | None = None
    """A file of topics and the words that speak of them; without it, the one that comes with the package."""
    reports: dict[str, Report] = Field(default_factory=dict)


def json_schema() -> str:
    """Return the JSON schema of a study file, by which an editor completes one."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyFile.model_json_schema(by_alias=True)}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


# -- from the text to the models -------------------------------------------------------------------------------------


def read_study_file(path: Path) -> tuple[StudyFile, Document]:
    """Return the validated study file and its document; every problem found is in the `StudyProblem` raised."""
    document = read_document(path)
    try:
        return StudyFile.model_validate(document.data), document
    except ValidationError as error:
        found = sorted(error.errors(include_url=False), key=lambda e: document.line(e["loc"]))
    told: dict[tuple, str] = {}
    for problem in found:
        # The first of several complaints about one place is the one that names the form meant.
        named = problem["loc"][-1] if problem["type"] in ("missing", "extra_forbidden") else None
        place = (document.known(problem["loc"]), named)
        told.setdefault(place, document.problem(problem["loc"], _sentence(problem, document)))
    more = [f"and {len(told) - PROBLEMS_SHOWN} more"] if len(told) > PROBLEMS_SHOWN else []
    raise StudyProblem("\n".join([*list(told.values())[:PROBLEMS_SHOWN], *more]))


def _sentence(found: dict, document: Document) -> str:
    place = _dotted(document.known(found["loc"]))
    last, given = found["loc"][-1] if found["loc"] else "", found["input"]
    if found["type"] == "extra_forbidden":
        above = document.known(found["loc"][:-1])
        return say("unknown key", key=repr(last), above=_dotted(above), near=nearest(last, _keys_at(above)))
    if found["type"] == "missing":
        return say("missing key", place=place, key=repr(last))
    if found["type"] == "literal_error":
        choices = found["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        near = nearest(given, choices) or "; choices: " + ", ".join(choices)
        return say("no choice", place=place, given=given, near=near)
    if found["type"] == "value_error":
        return f"{place}: {found['ctx']['error']}" if place != "the study" else str(found["ctx"]["error"])
    if found["type"] in ("model_type", "dict_type"):
        return say("no keys", place=place, given=repr(str(given)))
    shown = f"; found {str(given)!r}" if isinstance(given, str) else ""
    return f"{place}: {found['msg'][0].lower()}{found['msg'][1:]}{shown}"


def _dotted(path: tuple) -> str:
    return ".".join(map(str, path)) or "the study"


def _keys_at(path: tuple) -> list[str]:
    """Return the keys that the model at `path` knows."""
    models: list[type[BaseModel]] = [StudyFile]
    for step in path:
        fields = [f for model in models for name, f in model.model_fields.items() if step == (f.alias or name)]
        if fields:  # a step that is no field is a name in a dict of parts, and the models stay
            models = [m for field in fields for m in _models_in(field.annotation)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _models_in(annotation) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def columns_of(table: Table) -> list[str]:
    """Return the named columns that a table will have; without its items."""
    declared = [column for column in table.columns if getattr(table, column) is not None]
    return declared + (["wave"] if getattr(table, "sources", None) else [])


def headers_of(table: Table, columns: Iterable[str]) -> list[str]:
    """Return the headers in the file under which columns stand, without spaces around them."""
    declared = {column: said for column, _, _, said in table.declared()}
    return [h.strip() for c in columns if c in declared for h in headers(declared[c], c).values()]
