"""What `study.yml` may say of one item and of a revenue, what an item decides, and how values are written."""

import codecs
import re
from collections import Counter
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from cxresearch.errors import nearest
from cxresearch.sources import GLOB, WHITESPACE
from cxresearch.study.document import Plain, say

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


def one_character(text: str) -> str:
    text = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(text) != 1 and text != WHITESPACE:
        raise ValueError(say("separator", text=repr(text), or_word=f", or {WHITESPACE}"))
    return text


def one_separator(text: str) -> str:
    if len(text.strip() or text) != 1:
        raise ValueError(say("separator", text=repr(text), or_word=""))
    return text.strip() or text


def one_sign(text):
    """Return a sign between thousands by its plainest form: any space is a space."""
    plain = {"space": " ", "apostrophe": "'", "\u2019": "'"}.get(text, text)
    return " " if isinstance(plain, str) and plain.isspace() else plain


def as_time(age: str) -> timedelta:
    """Return how long ``3 days`` is; zero if it is no age."""
    found = re.fullmatch(r"(\d+) ?(minute|hour|day|week)s?", age.strip())
    return timedelta(**{f"{found[2]}s": int(found[1])}) if found else timedelta()


def an_age(text: str) -> str:
    if not as_time(text):
        raise ValueError(say("age", text=repr(text)))
    return text.strip()


def a_time_format(written: str) -> str:
    """Return a format in strptime's signs that says when, a month at least; refused where it says less, or one thing twice."""
    signs = re.findall("%(.?)", written.replace("%%", ""))
    parts = [TIME_SIGNS.get(sign, "unknown") for sign in signs]
    whole = any(needed <= set(parts) for needed in WHEN) and len(set(parts)) == len(parts)
    if not whole or "unknown" in parts or ("p" in signs) != ("I" in signs):
        raise ValueError(say("time format", written=repr(written)))
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
    multiple: Annotated[str, AfterValidator(one_separator)] | None = None
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
        if low >= high:
            raise ValueError(say("scale falls", low=f"{low:g}", high=f"{high:g}"))
        if self.scale and self.type not in (None, "number"):
            raise ValueError(say("scale of a text", type=self.type))
        if self.target is not None and not role & {*OUTCOMES}:
            raise ValueError(say("target"))
        if self.values and not self.is_number:
            raise ValueError(say("values without a scale"))
        if self.multiple and (self.is_number or not self.labels):
            raise ValueError(say("multiple choice"))
        if both := set(self.missing) & set(self.not_applicable):
            raise ValueError(say("code twice", code=min(both)))
        if "nps" in role and self.scale != (0, 10):
            raise ValueError(say("nps scale", found=f"{low:g} to {high:g}" if self.scale else "none"))
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
        if self.from_ and self.to and self.from_ > self.to:
            raise ValueError(say("window", first=self.from_, last=self.to))
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
        if not isinstance(said, dict) or "column" in said:
            raise ValueError(say("pattern of what", pattern=repr(pattern)))
        if not any(fnmatchcase(key, pattern) for key in own):
            raise ValueError(say("pattern of nothing", pattern=repr(pattern)))
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
    said = []
    if item.role:
        said.append(f"role {', '.join(item.role)}")
    if item.scale:
        said.append(f"scale {item.scale[0]:g} to {item.scale[1]:g}")
    for word, codes in (("missing", item.missing), ("not applicable", item.not_applicable)):
        if codes:
            told = [code if coded is None else f"{code} ({coded.get(code, 0)} rows)" for code in codes]
            said.append(f"{word} {', '.join(told)}")
    if item.values:
        pairs = [f"{code} is {value:g}" for code, value in item.values.items()]
        said.append("stored " + ", ".join(pairs[:3]) + (", ..." if len(pairs) > 3 else ""))
    if item.multiple:
        said.append(f"multiple choice separated by {item.multiple!r}")
    return said


def written(value) -> str:
    """Return what a key of a table says, in words."""
    if isinstance(value, Section):
        value = value.model_dump(exclude_unset=True, by_alias=True)
    if isinstance(value, dict):
        return ", ".join(f"{k}: {written(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
