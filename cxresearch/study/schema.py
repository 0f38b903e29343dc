"""What `study.yml` may say: one model per table, one for the whole; and its text read into them.

The models refuse every key they do not know; what is wrong is said with the line and the nearest key.
``cxresearch schema`` prints them as a JSON schema for an editor.
"""

import json
import shlex
import typing
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from cxresearch.errors import StudyProblem, nearest, plain_text
from cxresearch.sources import HEADERS, database_file, require_no_password
from cxresearch.study.document import Document, read_document, say
from cxresearch.study.items import (
    AnItem,
    Codes,
    Decimal,
    Encodings,
    Item,
    Revenue,
    Section,
    Thousands,
    TimeFormat,
    Words,
    an_age,
    as_column,
    headers,
    listed,
    one_character,
    resolved,
    spread,
)

HeaderRow = Literal["name", "label", "question", "option", "ignore"]
PROBLEMS_SHOWN = 10


def header_rows(value):
    """Return the header rows as a list; ``none`` is no row."""
    rows = [] if value == "none" else listed(value)
    if isinstance(rows, list) and "option" in rows and "question" not in rows:
        raise ValueError(say("options without questions"))
    if isinstance(rows, list) and any(rows.count(row) > 1 for row in HEADERS if row != "ignore"):
        raise ValueError(say("header row twice", rows=", ".join(rows)))
    return rows


def command(value):
    """Return a program and its arguments as a list; a text is split as a shell would, but no shell reads it."""
    return shlex.split(value) if isinstance(value, str) else value


def each_once(waves: tuple[str, ...]) -> tuple[str, ...]:
    """Return waves as they are written; refused where one stands twice."""
    plain = [plain_text(wave) for wave in waves]
    if twice := next((wave for wave in plain if plain.count(wave) > 1), None):
        raise ValueError(say("wave twice", wave=repr(twice), n=plain.count(twice)))
    return waves


def spaced(text):
    return text.replace("_", " ") if isinstance(text, str) else text


def no_password(database: str) -> str:
    require_no_password(database)
    return database


class As(NamedTuple):
    """How a column is read (a method of `RawPart`), and what a blank cell in it is.

    "kept", "refused", or left out where the table says ``missing: drop`` and refused where it does not ("dropped").
    """

    kind: str
    blank: Literal["kept", "refused", "dropped"] = "kept"


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
    separator: Annotated[str, AfterValidator(one_character)] = ","
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
    database: Annotated[str, AfterValidator(no_password)] | None = None
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
        self._one_source()
        if self.max_age is not None and self.database is not None and database_file(self.database, Path()) is None:
            raise ValueError(say("age of an address"))
        if self.thousands == self.decimal:
            raise ValueError(say("one sign", sign=repr(self.decimal)))
        self._share_codes()
        keys = [field.alias or name for name, field in type(self).model_fields.items()]
        for key in self.confirmed:
            if key not in keys:
                raise ValueError(say("confirmed", key=repr(key), near=nearest(key, keys)))
        taken = {*self.columns, *(c for key, item in self.items.items() for c in item.further(key))}
        for key in self.items:
            if not key.isidentifier():
                raise ValueError(say("item key", key=repr(key)))
            if key in taken:
                own = say("item key beside", key=key) if key in keys else ""
                raise ValueError(say("item key taken", key=repr(key), own=own))
        return self

    def _one_source(self) -> None:
        given = [key for key in ("source", "sources", "database") if getattr(self, key, None) is not None]
        if not given or given == ["source", "sources"]:
            raise ValueError(say("source or sources" if "sources" in type(self).model_fields else "source"))
        if len(given) > 1:
            raise ValueError(say("several sources", given=" and ".join(given)))
        if (self.database is None) != (self.query is None):
            raise ValueError(say("database and query"))

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
        if self.sources is not None and self.wave is not None:
            raise ValueError(say("sources and wave"))
        for key, item in self.items.items():
            for wave in item.column if isinstance(item.column, dict) else ():
                if self.sources is None and self.wave is None:
                    raise ValueError(say("column per wave", key=key))
                if self.sources is not None and wave not in self.sources:
                    raise ValueError(say("unknown wave", key=key, wave=repr(wave), near=nearest(wave, self.sources)))
        return self


class Customers(Table):
    """One account."""

    unique = ("customer",)
    customer: Annotated[str, As("names", "refused")] = Field(alias="id")
    since: Moment = None
    until: Moment = None
    revenue: Annotated[
        Revenue | None, BeforeValidator(as_column, json_schema_input_type=str | Revenue | None), As("revenue")
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
        if not any(getattr(self, name) for name in TABLES):
            raise ValueError(say("no table", tables=", ".join(TABLES)))
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
    on_failure: Annotated[tuple[str, ...], BeforeValidator(command, json_schema_input_type=str | list[str])] = ()
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
    return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]


def columns_of(table: Table) -> list[str]:
    """Return the named columns that a table will have; without its items."""
    declared = [column for column in table.columns if getattr(table, column) is not None]
    return declared + (["wave"] if getattr(table, "sources", None) else [])


def headers_of(table: Table, columns: Iterable[str]) -> list[str]:
    """Return the headers in the file under which columns stand, without spaces around them."""
    declared = {column: said for column, _, _, said in table.declared()}
    return [h.strip() for c in columns if c in declared for h in headers(declared[c], c).values()]
