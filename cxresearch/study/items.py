"""What `study.yml` may say about one item, about a revenue, and in which form values are written."""

import codecs
import re
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from cxresearch.errors import nearest
from cxresearch.sources import GLOB, WHITESPACE
from cxresearch.study.document import Plain

Role = Literal[
    "nps", "csat", "ces", "outcome", "driver", "demographic", "segment", "control", "verbatim", "asked_at", "respondent",
    "contact_rating", "unit", "problem", "claim_forgive", "claim_prefer", "claim_switch", "claim_service_over_price",
]  # fmt: skip
ROLES: tuple[str, ...] = get_args(Role)
Code = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


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
        raise ValueError(
            "unknown encoding "
            f"{name!r}{nearest(name, ('utf-8', 'utf-16', 'latin-1', 'cp1252', 'cp1250', 'cp1251', 'cp850'))}"
        ) from None
    return name


def one_character(text: str) -> str:
    text = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(text) != 1 and text != WHITESPACE:
        raise ValueError(f"separator {text!r} must be one character, or {WHITESPACE}")
    return text


def one_separator(text: str) -> str:
    if len(text.strip() or text) != 1:
        raise ValueError(f"separator {text!r} must be one character")
    return text.strip() or text


Codes = Annotated[tuple[Code, ...], BeforeValidator(listed, json_schema_input_type=Code | list[Code])]
Words = Annotated[tuple[str, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]
Roles = Annotated[tuple[Role, ...], BeforeValidator(listed, json_schema_input_type=Role | list[Role])]
Encoding = Annotated[str, AfterValidator(_known_encoding)]
Encodings = Annotated[tuple[Encoding, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]


def one_sign(text):
    """Return a sign between thousands by its plainest form: any space is a space."""
    plain = {"space": " ", "apostrophe": "'", "\u2019": "'"}.get(text, text)
    return " " if isinstance(plain, str) and plain.isspace() else plain


Decimal = Literal[".", ","]
Thousands = Annotated[Literal[" ", ".", ",", "'"], BeforeValidator(one_sign, json_schema_input_type=str)]


class Part(BaseModel):
    """A part of the file; a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Item(Part):
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
    time_format: str | None = None
    """How this date is written, where it differs from the table's."""
    dayfirst: bool | None = None
    """Whether this date is written day first, where it differs from the table."""
    personal: bool = False
    """true: the column names a person (name, e-mail, phone, address, ...), and an analysis needs it as it is."""
    confirmed: bool | None = None
    """false: a guess; no analysis starts until somebody has looked at it and set this to true."""

    @model_validator(mode="after")
    def _agrees(self):
        if self.scale and self.scale[0] >= self.scale[1]:
            raise ValueError(f"scale must rise, found {self.scale[0]:g} to {self.scale[1]:g}")
        if self.scale and self.type not in (None, "number"):
            raise ValueError(f"an item with a scale is a number, not type: {self.type}")
        if self.target is not None and not {"nps", "csat", "ces", "outcome"} & set(self.role):
            raise ValueError("a target is that of an outcome; give the item the role nps, csat, ces or outcome")
        if self.values and not self.is_number:
            raise ValueError("values are the numbers that stored codes stand for; the item needs a scale, too")
        if self.multiple and (self.is_number or not self.labels):
            raise ValueError("a multiple choice has no scale and needs labels: {code: words}, one for each choice")
        if both := set(self.missing) & set(self.not_applicable):
            raise ValueError(f"code {min(both)} is declared missing and not applicable; it can be one of the two")
        if "nps" in self.role and self.scale != (0, 10):
            found = f"{self.scale[0]:g} to {self.scale[1]:g}" if self.scale else "none"
            raise ValueError(
                f"role nps needs scale: [0, 10], found {found}; on another scale a net promoter score is not "
                "defined: give the item role csat or outcome"
            )
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

    def header(self, key: str, wave: str | None) -> str | None:
        """Return the header of item `key` in a wave; None where the item was not asked."""
        return self.column.get(wave) if isinstance(self.column, dict) else self.column or key


def spread(items: dict) -> dict:
    """Return items as typed, each with what the patterns that its key matches say and itself does not; the last wins."""
    patterns = {key: said for key, said in items.items() if GLOB & set(key)}
    own = {key: as_column(said) for key, said in items.items() if key not in patterns}
    for pattern, said in patterns.items():
        if not isinstance(said, dict) or "column" in said:
            raise ValueError(f"items: {pattern!r} is a pattern of keys; it holds what they share, and no column")
        if not any(fnmatchcase(key, pattern) for key in own):
            raise ValueError(f"items: {pattern!r} matches no key of an item; correct it or take it out")
    shared = {k: {w: v for p, said in patterns.items() if fnmatchcase(k, p) for w, v in said.items()} for k in own}
    return {key: shared[key] | said if isinstance(said, dict) else said for key, said in own.items()}


def said_by(typed: dict, key: str, word: str) -> str:
    """Return the key of the items as typed that says `word` of item `key`: its own, or that of a pattern."""
    own = as_column(typed.get(key))
    patterns = [p for p, said in typed.items() if GLOB & set(p) and fnmatchcase(key, p) and word in said]
    return key if word in own or not patterns else patterns[-1]


def battery(items: dict[str, Item]) -> list[str]:
    """Return the ratings that share the commonest scale, asked together: straight-lining is looked for among them."""
    by_scale: dict[tuple, list[str]] = {}
    for key, item in items.items():
        if item.scale and not {"nps", "demographic", "contact_rating"} & set(item.role):
            by_scale.setdefault(item.scale, []).append(key)
    return max(by_scale.values(), key=len, default=[])


AnItem = Annotated[Item, BeforeValidator(as_column, json_schema_input_type=str | Item | None)]


class Revenue(Part):
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
            raise ValueError(f"from {self.from_} lies after to {self.to}")
        return self
