"""What `study.yml` may say: one model per table, one for the whole; and its text read into them.

The models refuse every key they do not know; what is wrong is said with the line and the nearest key.
``cxresearch schema`` prints them as a JSON schema for an editor.
"""

import codecs
import json
import math
import re
import shlex
from collections import Counter
from contextlib import suppress
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic.json_schema import WithJsonSchema

from cxresearch.errors import composed, nearest, plain_text
from cxresearch.sources import GLOB, HEADERS, WHITESPACE, database_file, without_password
from cxresearch.study.document import Document, Plain, read_document, refuse, say

Role = Literal[
    "nps", "csat", "ces", "outcome", "driver", "demographic", "segment", "control", "verbatim", "asked_at",
    "respondent", "contact_rating", "unit", "problem", "claim_forgive", "claim_prefer", "claim_switch",
    "claim_service_over_price",
]  # fmt: skip
ROLES: tuple[str, ...] = get_args(Role)
OUTCOMES = ("nps", "csat", "ces", "outcome")
COUNTING = {*OUTCOMES, "driver", "control", "asked_at"}  # roles that decide what is computed, or from whom
ASIDE = ("missing", "not_applicable")  # keys of an item for codes that are no answers
IDS = ("respondent", "customer", "agent", "contact", "case")  # columns that hold ids of people
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# A code with a leading zero, or with more digits than a float holds, is a name and not a number.
PLAIN_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?")
ENCODINGS = ("utf-8", "utf-16", "latin-1", "cp1252", "cp1250", "cp1251", "cp850")
TIME_PARTS = {  # what strptime's signs say
    "year": "Yy", "month": "mbB", "day": "d", "day of the year": "j", "ISO year": "G", "ISO week": "V", "week": "UW",
    "weekday": "uwaA", "hour": "HI", "half": "p", "minute": "M", "second": "S", "fraction": "f", "zone": "zZ",
}  # fmt: skip
WHEN = (
    {"year", "month"}, {"year", "day of the year"}, {"year", "week", "weekday"}, {"ISO year", "ISO week", "weekday"},
)  # fmt: skip


def complain(wrong: dict[str, Any], **known) -> None:
    """Raise the first of the sentences that holds."""
    for sentence in (sentence for sentence, holds in wrong.items() if holds):
        raise ValueError(say(sentence, **known))


def listed(value):
    return value if isinstance(value, list) or value is None else [value]


def read_by(before, kind, typed):
    """Return a type whose values, written as `typed`, a function makes plain first."""
    return Annotated[kind, BeforeValidator(before, json_schema_input_type=typed)]


def several(kind, most: int | None = None):
    """Return the type of a tuple for which a single value may stand."""
    return read_by(listed, Annotated[tuple[kind, ...], Field(max_length=most)], kind | list[kind])


def resolved(value):
    """Give report parameters plain types: unquoted 0.9 and true; anything doubtful (NO, 010, 12:30) stays text."""
    if isinstance(value, dict):
        return {str(k): resolved(v) for k, v in value.items()}
    if isinstance(value, list):
        return [resolved(v) for v in value]
    if not isinstance(value, Plain) or value in ("true", "false"):
        return value == "true" if isinstance(value, Plain) else value
    if not NUMBER.fullmatch(value) or re.match(r"[+-]?0\d", value):
        return str(value)
    return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)


def as_column(value):
    return {"column": value} if isinstance(value, str) else {} if value is None else value


def an_encoding(name: str) -> str:
    with suppress(LookupError):
        return codecs.lookup(name) and name
    raise ValueError(say("encoding", name=repr(name), near=nearest(name, ENCODINGS)))


def one_character(text: str, or_word: str = "") -> str:
    sign = {"\\t": "\t", "tab": "\t"}.get(text, text) if or_word else text.strip() or text
    complain({"separator": len(sign) != 1 and sign != or_word}, text=repr(text), or_word=or_word and f", or {or_word}")
    return sign


def one_sign(text):  # any space is a space
    return " " if str(text).isspace() else {"space": " ", "apostrophe": "'", "\u2019": "'"}.get(str(text), text)


def as_time(age: str) -> timedelta:
    found = re.fullmatch(r"(\d+) ?(minute|hour|day|week)s?", age.strip())
    complain({"age": not found or not int(found[1])}, text=repr(age))
    return timedelta(**{f"{found[2]}s": int(found[1])})


def a_time_format(written: str) -> str:  # that says when, a month at least, and nothing twice
    signs = re.findall("%(.?)", written.replace("%%", ""))
    said = [part for sign in signs for part, of in TIME_PARTS.items() if sign and sign in of]
    once = len(said) == len(signs) == len(set(said)) and ("p" in signs) == ("I" in signs)
    complain({"time format": not once or not any(needed <= set(said) for needed in WHEN)}, written=repr(written))
    return written


def header_rows(value):
    rows = [] if value == "none" else listed(value)
    told = [str(row) for row in rows or ()]
    complain({"options without questions": "option" in told and "question" not in told})
    complain({"header row twice": any(told.count(row) > 1 for row in {*HEADERS} - {"ignore"})}, rows=", ".join(told))
    return rows


def code_key(value) -> str:
    """Return what two codes are compared by: the number they write (0, 0.0 and '0' alike), or else the exact text."""
    text = composed(value)
    return repr(float(text) + 0.0) if PLAIN_NUMBER.fullmatch(text) else text


def each_once(words, key=plain_text, sentence: str = "wave twice"):
    for word, n in Counter(map(key, words)).items():
        complain({sentence: n > 1}, word=repr(word), n=n)
    return words


class Column(NamedTuple):
    """How a column is read; of one that is declared, its name, what asks for it and what is said of it, too."""

    kind: Literal["names", "flags", "moments", "number", "weight", "money", "item"]
    blank: Literal["kept", "refused", "dropped"] = "kept"  # dropped: left out if ``missing: drop`` is declared
    name: str = ""
    asked_by: str = ""
    said: "str | Item | Revenue" = ""

    @property
    def headers(self) -> dict[str | None, str]:
        """Wave -> header in the file; None is any wave."""
        at = self.said if isinstance(self.said, str) else self.said.column
        return at if isinstance(at, dict) else {None: at or self.name}

    def header(self, wave: str | None) -> str | None:  # None where it was not asked
        return self.headers.get(None, self.headers.get(wave))


Code = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
Once = AfterValidator(lambda codes: each_once(codes, code_key, "one code in two ways"))
Codes, Words = several(Code), several(str)
Decimal = Literal[".", ","]
Thousands = read_by(one_sign, Literal[" ", ".", ",", "'"], str)
TimeFormat = Annotated[str, AfterValidator(a_time_format)]
Meaning = Annotated[Literal["missing", "not applicable"], BeforeValidator(lambda code: str(code).replace("_", " "))]
OnProblem, Drop = Literal["keep", "zero", "drop", "error"], Literal["drop", "error"]
Name = Annotated[str | None, Column("names")]
Id = Annotated[str | None, Column("names", "refused")]
Number = Annotated[str | None, Column("number")]
Weight = Annotated[str | None, Column("weight", "refused")]
Moment = Annotated[str | None, Column("moments")]
Text = str | None
OPTIONAL = (Name, Id, Number, Weight, Moment, Text)
KeyColumn, Time = Annotated[str, Column("names", "refused")], Annotated[str, Column("moments", "dropped")]


class Section(BaseModel):
    """A part of the file; a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Item(Section):
    column: str | dict[str, str] | None = None
    scale: tuple[float, float] | None = None
    type: Literal["number", "text", "date"] | None = None
    missing: Codes = ()
    not_applicable: Codes = ()
    values: Annotated[dict[str, float], Once] = Field(default_factory=dict)
    multiple: Annotated[str, AfterValidator(one_character)] | None = None
    role: several(Role) = ()
    kind: Literal["service", "product", "price", "digital", "personal", "emotion"] | None = None
    label: str | None = None
    labels: Annotated[dict[str, str], Once] = Field(default_factory=dict)
    target: float | None = Field(None, ge=-100, le=100)
    decimal: Decimal | None = None
    thousands: Thousands | None = None
    time_format: TimeFormat | None = None
    dayfirst: bool | None = None
    personal: bool = False
    confirmed: bool | None = None

    @model_validator(mode="after")
    def _agrees(self):
        role, (low, high) = set(self.role), self.scale or (0, 1)
        both = [c for c in self.missing if code_key(c) in map(code_key, self.not_applicable)]
        found = f"{low:g} to {high:g}" if self.scale else "none"
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

    def choices(self, key: str) -> dict[str, str]:
        """Return the column of each choice of a multiple one, item `key` -> the code that it is about."""
        return {f"{key}_" + re.sub(r"\W", "_", code.strip()): code for code in (self.labels if self.multiple else ())}

    def columns(self, key: str) -> list[str]:
        """Return the names of the columns that item `key` gives, its own first."""
        return [key, *([f"{key}_met"] if self.not_applicable else ()), *self.choices(key)]

    def coded(self, codes: dict[str, str]) -> "Item":
        """Return a rating with the codes of its table that it does not speak of and that lie off its scale."""
        known, (low, high) = {*map(code_key, (*self.aside, *self.values))}, self.scale or (-math.inf, math.inf)
        off = [c for c in codes if code_key(c) not in known and not (NUMBER.fullmatch(c) and low <= float(c) <= high)]
        more = {w: [c for c in off if self.scale and codes[c] == w.replace("_", " ")] for w in ASIDE}
        return self.model_copy(update={w: (*getattr(self, w), *more[w]) for w in ASIDE})

    @property
    def aside(self) -> tuple[str, ...]:  # codes that are no answers
        return *self.missing, *self.not_applicable

    @property
    def is_number(self) -> bool:
        return self.scale is not None or self.type == "number"

    @property
    def is_date(self) -> bool:
        return self.type == "date" or "asked_at" in self.role


AnItem = read_by(as_column, Item, str | Item | None)


class Revenue(Section):
    column: str
    from_: date | None = Field(None, alias="from")
    to: date | None = None
    negative: OnProblem = "error"
    missing: OnProblem = "error"
    codes: Codes = ()
    decimal: Decimal | None = None
    thousands: Thousands | None = None

    @model_validator(mode="after")
    def _agrees(self):
        complain({"window": self.from_ and self.to and self.from_ > self.to}, first=self.from_, last=self.to)
        return self


class Table(Section):
    """What every table may say about its file; a field that names a column is called like that column."""

    columns: ClassVar[dict[str, Column]] = {}
    unique: ClassVar[tuple[str, ...]] = ()

    source: str | None = None
    encoding: several(Annotated[str, AfterValidator(an_encoding)], most=1) = ()  # what does not fit it is counted
    encoding_errors: Literal["strict", "replace"] = "strict"
    separator: Annotated[str, AfterValidator(lambda sign: one_character(sign, WHITESPACE))] = ","
    decimal: Decimal = "."
    thousands: Thousands | None = None
    sheet: str | None = None
    header: read_by(header_rows, tuple[Literal[HEADERS], ...], str | list[str]) = ("name",)
    records: str | None = None
    database: Annotated[str, AfterValidator(without_password)] | None = None
    query: str | None = None
    exclude: dict[str, Codes] = Field(default_factory=dict)
    confirmed: dict[str, bool] = Field(default_factory=dict)
    max_age: Annotated[str, AfterValidator(lambda age: as_time(age) and age.strip())] | None = None
    time_format: TimeFormat | None = None
    dayfirst: bool = False
    codes: Annotated[dict[str, Meaning], Once] = Field(default_factory=dict)
    items: dict[str, AnItem] = Field(default_factory=dict)

    def headers(self, *columns: str) -> list[str]:
        """Return the headers in the file under which columns stand, without spaces around them."""
        return [at.strip() for column in self.declared() if column.name in columns for at in column.headers.values()]

    def declared(self) -> list[Column]:
        """Return the columns and items that are declared."""
        keys = {name: field.alias or name for name, field in type(self).model_fields.items()}
        of = [reads._replace(name=c, asked_by=keys[c], said=getattr(self, c)) for c, reads in self.columns.items()]
        items = [Column("item", name=k, asked_by=f"item {k}", said=item) for k, item in self.items.items()]
        return [column for column in of if column.said is not None] + items

    @property
    def column_names(self) -> list[str]:
        """The columns that the table will have."""
        found = [c for c in self.columns if getattr(self, c) is not None]
        found += ["wave"] * bool(getattr(self, "sources", ()))
        return found + [column for key, item in self.items.items() for column in item.columns(key)]

    @property
    def id_columns(self) -> list[str]:
        """The columns that hold ids of people, under whatever name: every use of such a header."""
        declared = self.declared()
        people = [c for c in declared if c.name in IDS or "respondent" in getattr(c.said, "role", ())]
        ids = {header for column in people for header in column.headers.values()}
        return [column.name for column in declared if ids & set(column.headers.values())]

    @property
    def text_columns(self) -> list[str]:
        """The columns that hold what people wrote."""
        return ["text"] * bool(getattr(self, "text", None)) + [k for k, i in self.items.items() if "verbatim" in i.role]

    def files(self) -> dict[str | None, str]:
        """Return wave (None where the file does not say) -> file as written; a database is no file here."""
        if self.database is not None:
            return {}
        return {None: self.source} if self.source is not None else dict(self.sources)

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, typed):
        """Give items what patterns say and they do not, the last first; a guess yields to confirmed ones and codes."""
        items = typed.get("items") if isinstance(typed, dict) else None
        if not isinstance(items, dict):
            return typed
        found = {key: as_column(said) for key, said in items.items() if not GLOB & set(key)}
        patterns = {key: said for key, said in items.items() if key not in found}
        for pattern, said in patterns.items():
            wrong = {"pattern of what": not isinstance(said, dict) or "column" in said}
            wrong["pattern of nothing"] = not any(fnmatchcase(key, pattern) for key in found)
            complain(wrong, pattern=repr(pattern))
        for key, own in ((key, own) for key, own in found.items() if isinstance(own, dict)):
            shared = {w: v for p, said in patterns.items() if fnmatchcase(key, p) for w, v in said.items()}
            confirmed = [str(said.get("confirmed")).lower() for said in (own, shared)]
            if confirmed[0] == "false":
                off = [*map(code_key, typed.get("codes") or ())] if "scale" in shared | own else []
                own = own | {w: [c for c in listed(own[w]) or () if code_key(c) not in off] for w in ASIDE if w in own}
            found[key] = own | shared if confirmed == ["false", "true"] else shared | own
        return typed | {"items": found}

    @model_validator(mode="after")
    def _agrees(self):
        given = [key for key in ("source", "sources", "database") if getattr(self, key, None)]
        keys = [field.alias or name for name, field in type(self).model_fields.items()]
        waves = getattr(self, "sources", None) or {}
        wrong = {
            "source or sources" if "sources" in keys else "source": not given or given == ["source", "sources"],
            "several sources": len(given) > 1,
            "database and query": (self.database is None) != (self.query is None),
            "age of an address": self.max_age and self.database and not database_file(self.database, Path()),
            "sources and wave": waves and self.wave is not None,
            "no column at all": not self.declared(),
        }
        complain(wrong, given=" and ".join(given))
        for of, said in [("", self), *((f"{column.asked_by}: ", column.said) for column in self.declared())]:
            sign = getattr(said, "decimal", None) or self.decimal
            complain({"one sign": getattr(said, "thousands", None) == sign}, of=of, sign=repr(sign))
        for key in self.confirmed:
            complain({"confirmed": key not in keys}, key=repr(key), near=nearest(key, keys))
        self.items.update({key: item.coded(self.codes) for key, item in self.items.items()})
        times = Counter([*self.columns, *(c for key, item in self.items.items() for c in item.columns(key))])
        for key, item in self.items.items():
            own = say("item key beside", key=key) if key in keys else ""
            complain({"item key": not key.isidentifier(), "item key taken": times[key] > 1}, key=repr(key), own=own)
            for wave in item.column if isinstance(item.column, dict) else ():
                wrong = {"column per wave": not waves, "unknown wave": wave not in waves}
                complain(wrong, key=key, wave=repr(wave), near=nearest(wave, waves))
        return self


def section(name: str, base: type[Section] = Section, unique: tuple[str, ...] = (), **fields):
    """Return a model: key -> its type, and what it is by default; `unique` columns of a table tell its rows apart."""
    pairs = {k: f if isinstance(f, tuple) else (f, None if f in OPTIONAL else ...) for k, f in fields.items()}
    model = create_model(name, __base__=base, __module__=__name__, **pairs)
    if base is Table:
        read = {key: [m for m in field.metadata if isinstance(m, Column)] for key, field in model.model_fields.items()}
        model.unique, model.columns = unique, {key: reads[0] for key, reads in read.items() if reads}
    return model


TABLES = {model.__name__.lower(): model for model in (
    section(
        "Responses", Table, ("respondent", "wave"), sources=(dict[str, str] | None, None),
        respondent=(Id, Field(None, alias="id")), wave=Id, customer=Name, weight=Weight,
        stratum=(Id, Field(None, alias="strata")), cluster=Id, fpc=Weight, duration=Number, language=Name, contact=Name,
        followed_up=Moment,
    ),
    section(
        "Customers", Table, ("customer",), customer=(KeyColumn, Field(alias="id")), since=Moment, until=Moment,
        revenue=(Annotated[read_by(as_column, Revenue | None, str | Revenue | None), Column("money")], None),
    ),
    section(
        "Transactions", Table, missing=(Drop, "error"), customer=Annotated[str, Column("names", "dropped")], time=Time,
        amount=Annotated[str, Column("money", "dropped")], negative=(Literal["returns", "error", "drop"], "error"),
    ),
    section(
        "Interactions", Table, ("contact",), missing=(Drop, "error"), customer=Annotated[str, Column("names")],
        time=Time, contact=(Annotated[str | None, Column("names", "dropped")], None), case=Name, channel=Name,
        touchpoint=Name, stage=Name, owner=Name, agent=Name, resolved=(Annotated[str | None, Column("flags")], None),
        closed=Moment, text=Name,
    ),
    section(
        "Employees", Table, ("unit", "period"), unit=KeyColumn, period=KeyColumn,
        engagement=Annotated[AnItem, Column("item")], n=Number, sd=Number,
    ),
    section(
        "Costs", Table, ("period", "kind"), period=KeyColumn, kind=KeyColumn,
        amount=Annotated[str, Column("money", "refused")],
        roles=(dict[str, Literal["acquisition", "service", "retention"]], Field(default_factory=dict)),
    ),
)}  # fmt: skip
COLUMNS = tuple(dict.fromkeys(column for model in TABLES.values() for column in model.columns))
Tables = section("Tables", **{name: (model | None, None) for name, model in TABLES.items()})


def any_table(tables: Tables) -> Tables:
    complain({"no table": not any(dict(tables).values())}, tables=", ".join(TABLES))
    return tables


Privacy = section("Privacy", minimum_base=(int, Field(10, ge=1)), purpose=Text, delete_after=(date | None, None))
Touchpoint = section(
    "Touchpoint", stage=(Literal["before", "purchase", "after"] | None, None),
    kind=(Literal["physical", "digital", "personal"] | None, None), item=Text, owner=Text,
)  # fmt: skip
Programme = section("Programme", from_=(date, Field(alias="from")), unit=str, treated=(Words, Field(min_length=1)))
Report = section(
    "Report", notebooks=(Words, ()), each=(Words, ()), whole=(bool, False), min_rows=(int, Field(1, ge=1)),
    parameters=(Annotated[dict[str, Any], BeforeValidator(resolved)], Field(default_factory=dict)),
    keep=(int | None, Field(None, ge=1)),  # a command is split as a shell would, but no shell reads it
    on_failure=(read_by(lambda v: shlex.split(v) if isinstance(v, str) else v, tuple[str, ...], str | list[str]), ()),
)  # fmt: skip
StudyFile = section(
    "StudyFile", version=(read_by(str, Literal["1", "2"], Literal[1, 2, "1", "2"]), "1"), title=str, currency=Text,
    waves=(Annotated[Words, AfterValidator(each_once)], ()), population=(float | None, Field(None, gt=0)),
    privacy=(Privacy, Privacy()), tables=Annotated[Tables, AfterValidator(any_table)],
    touchpoints=(dict[str, Touchpoint], Field(default_factory=dict)), programme=(Programme | None, None), taxonomy=Text,
    reports=(dict[str, Report], Field(default_factory=dict)),
)  # fmt: skip


def json_schema() -> str:
    """Return the JSON schema of a study file, by which an editor completes one."""
    schema = StudyFile.model_json_schema(by_alias=True)
    for model, found in {"StudyFile": schema, **schema["$defs"]}.items():
        found["description"] = say(model)
        for key, said in found["properties"].items():
            word = next((word for word in (f"{model}.{key}", f"Table.{key}") if word in say), None)
            said.update({"description": say(word)} if word else {})
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def decisions(item: Item, coded: Counter | None) -> list[str]:
    """Return in words what an item decides: scale, codes set aside with their counts (if known), values, role."""
    rows = {code: code if coded is None else f"{code} ({coded.get(code, 0)} rows)" for code in item.aside}
    pairs = [f"{code} is {value:g}" for code, value in item.values.items()]
    said = {
        "role": ", ".join(item.role),
        "scale": item.scale and f"{item.scale[0]:g} to {item.scale[1]:g}",
        "missing": ", ".join(map(rows.get, item.missing)),
        "not applicable": ", ".join(map(rows.get, item.not_applicable)),
        "stored": ", ".join(pairs[:3]) + ", ..." * (len(pairs) > 3),
        "multiple choice separated by": item.multiple and repr(item.multiple),
    }
    return [f"{what} {words}" for what, words in said.items() if words]


def written(value) -> str:
    """Return what a key says, in words."""
    if isinstance(value, dict):
        return ", ".join(f"{k}: {written(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def read_study_file(path: Path) -> tuple[StudyFile, Document]:
    """Return the validated study file and its document; every problem found is in the `StudyProblem` raised."""
    document = read_document(path)
    try:
        return StudyFile.model_validate(document.data), document
    except ValidationError as error:
        found = sorted(error.errors(include_url=False), key=lambda e: document.lines.get(document.known(e["loc"]), 0))
    told: dict[tuple, str] = {}
    for problem in found:
        # The first of several complaints about one place is the one that names the form meant.
        named = problem["loc"][-1] if problem["type"] in ("missing", "extra_forbidden") else None
        complaint = f"{document.place(problem['loc'])}: {_sentence(problem, document)}"
        told.setdefault((document.known(problem["loc"]), named), complaint)
    refuse(told.values(), shown=10)


def _sentence(found: dict, document: Document) -> str:
    """Return a complaint of pydantic in words: a sentence of ours for its kind, or its own."""
    loc, given, kind, context = found["loc"], found["input"], found["type"], found.get("ctx", {})
    place, above = (".".join(map(str, document.known(at))) or "the study" for at in (loc, loc[:-1]))
    if kind == "value_error":
        return str(context["error"]) if place == "the study" else f"{place}: {context['error']}"
    if kind not in say:
        shown = f"; found {str(given)!r}" if isinstance(given, str) else ""
        return f"{place}: {found['msg'][0].lower()}{found['msg'][1:]}{shown}"
    choices = context.get("expected", "")
    near = nearest(given, re.findall(r"'([\w ]+)'", choices)) or f"; choices: {choices}"
    near = nearest(loc[-1], _keys_at(loc[:-1])) if kind == "extra_forbidden" else near
    return say(kind, place=place, above=above, key=repr(loc[-1]), given=given, near=near)


def _keys_at(path: tuple) -> list[str]:
    """Return the keys that the model at `path` knows; a step that is no field is a name in a dict of models."""
    models: list = [StudyFile]
    for step in path:
        types = [f.annotation for m in models for name, f in m.model_fields.items() if step == (f.alias or name)]
        while any(map(get_args, types)):
            types = [inner for kind in types for inner in get_args(kind) or [kind]]
        models = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)] or models
    return [field.alias or name for model in models for name, field in model.model_fields.items()]
