"""What `study.yml` may say: one model per table, one for an item, one for the whole.

The models refuse every key they do not know. ``cxresearch schema`` prints them as a JSON schema for an editor.
"""

import json
import shlex
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cxresearch.errors import nearest, plain_text
from cxresearch.sources import database_file, require_no_password
from cxresearch.sources.columns import HEADERS
from cxresearch.study.items import (
    AnItem,
    Codes,
    Decimal,
    Encodings,
    Part,
    Revenue,
    Thousands,
    Words,
    as_column,
    listed,
    one_character,
    resolved,
    spread,
)
from cxresearch.study.retention import an_age

HeaderRow = Literal["name", "label", "question", "option", "ignore"]


def header_rows(value):
    """Return the header rows as a list; ``none`` is no row."""
    rows = [] if value == "none" else listed(value)
    if isinstance(rows, list) and "option" in rows and "question" not in rows:
        raise ValueError("a header row of options needs one of questions above it")
    if isinstance(rows, list) and any(rows.count(row) > 1 for row in HEADERS if row != "ignore"):
        raise ValueError(f"found {', '.join(rows)}; each but 'ignore' may stand once")
    return rows


def command(value):
    """Return a program and its arguments as a list; a text is split as a shell would, but no shell reads it."""
    return shlex.split(value) if isinstance(value, str) else value


def each_once(waves: tuple[str, ...]) -> tuple[str, ...]:
    """Return waves as they are written; refused where one stands twice."""
    plain = [plain_text(wave) for wave in waves]
    if twice := next((wave for wave in plain if plain.count(wave) > 1), None):
        raise ValueError(f"names {twice!r} {plain.count(twice)} times; name each wave once, first to last")
    return waves


def spaced(text):
    return text.replace("_", " ") if isinstance(text, str) else text


def no_password(database: str) -> str:
    require_no_password(database)
    return database


class As(NamedTuple):
    """How the column that a key names is read (a method of `Part`), and under which name; by default the key's."""

    kind: str
    column: str | None = None


class Table(Part):
    """What every table may say about its file."""

    # canonical column -> (key in study.yml, how it is read); the order is the order in the table
    columns: ClassVar[dict[str, tuple[str, str]]] = {}
    unique: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **_):
        found = {key: next((m for m in f.metadata if isinstance(m, As)), None) for key, f in cls.model_fields.items()}
        cls.columns = {read.column or key: (key, read.kind) for key, read in found.items() if read}

    source: str | None = None
    """The file, relative to this one; may be a pattern such as sales/*.parquet."""
    encoding: Encodings = ()
    """Of a text file, by default UTF-8. Two are a mixture: what the first does not know is read by the second."""
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
    """A DuckDB or SQLite file, or an SQLAlchemy address with ${NAME} for what the environment holds."""
    query: str | None = None
    """What to select from the database."""
    exclude: dict[str, Codes] = Field(default_factory=dict)
    """Header: values of rows that are no data (previews, tests, unfinished answers)."""
    confirmed: dict[str, bool] = Field(default_factory=dict)
    """Key of this table: false where it is a guess; no analysis starts until it is true."""
    max_age: Annotated[str, AfterValidator(an_age)] | None = None
    """How long ago a file may have been changed for a run to use it: 3 days, 12 hours."""
    time_format: str | None = None
    """How dates are written, in strptime's signs; by default ISO (2018-12-31)."""
    dayfirst: bool = False
    """Dates are written 31.12.2018 or 31/12/2018."""
    codes: dict[str, Annotated[Literal["missing", "not applicable"], BeforeValidator(spaced)]] = Field(
        default_factory=dict
    )
    """Code: what it means in every rating on whose scale it does not lie, where the item itself does not say."""
    items: dict[str, AnItem] = Field(default_factory=dict)
    """Key: item. A pattern of keys (q*) says what all items share that match it; an item's own words win."""

    @model_validator(mode="before")
    @classmethod
    def _patterns(cls, typed):
        items = typed.get("items") if isinstance(typed, dict) else None
        return typed | {"items": spread(items)} if isinstance(items, dict) else typed

    @model_validator(mode="after")
    def _agrees(self):
        self._one_source()
        if self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; a sign is one of the two")
        self._share_codes()
        self._file_has_age()
        for key in self.confirmed:
            if key not in type(self).model_fields:
                raise ValueError(
                    f"confirmed names {key!r}, no key of this table{nearest(key, type(self).model_fields)}"
                )
        taken = {*type(self).columns, *(c for key, item in self.items.items() for c in item.further(key))}
        for key in self.items:
            if not key.isidentifier():
                raise ValueError(f"item key {key!r} must be letters, digits and _, not starting with a digit")
            if key in taken:
                own = f", or declare {key}: HEADER beside items" if key in type(self).model_fields else ""
                raise ValueError(
                    f"item key {key!r} is the name of another column of this table; choose another key{own}"
                )
        return self

    def _one_source(self) -> None:
        given = [key for key in ("source", "sources", "database") if getattr(self, key, None) is not None]
        if not given or given == ["source", "sources"]:
            waves = "sources" in type(self).model_fields
            raise ValueError("needs " + ("'source' or 'sources', one of the two" if waves else "the key 'source'"))
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}; the rows come from one of them")
        if (self.database is None) != (self.query is None):
            raise ValueError("a database needs a query, and a query a database")

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

    def _file_has_age(self) -> None:
        if self.max_age is not None and self.database is not None and database_file(self.database, Path()) is None:
            raise ValueError("max_age is that of a file; of a database address it cannot be known")

    def files(self) -> dict[str | None, str]:
        """Return wave (None where the file does not say) -> file as written; a database is no file here."""
        if self.database is not None:
            return {}
        return {None: self.source} if self.source is not None else dict(self.sources)


class Responses(Table):
    """One respondent in one wave."""

    unique = ("respondent", "wave")
    sources: dict[str, str] | None = None
    """Wave: file."""
    id: Annotated[str | None, As("id", "respondent")] = None
    wave: Annotated[str | None, As("id")] = None
    customer: Annotated[str | None, As("words")] = None
    weight: Annotated[str | None, As("weight")] = None
    strata: Annotated[str | None, As("id", "stratum")] = None
    cluster: Annotated[str | None, As("id")] = None
    fpc: Annotated[str | None, As("weight")] = None
    duration: Annotated[str | None, As("number")] = None
    """Seconds that the answer took."""
    language: Annotated[str | None, As("words")] = None
    """Of the respondent: en, pl, ru."""
    contact: Annotated[str | None, As("words")] = None
    """The id of the contact that an item with role contact_rating is about."""
    followed_up: Annotated[str | None, As("time")] = None
    """When somebody came back to the respondent; blank where nobody did."""

    @model_validator(mode="after")
    def _waves_agree(self):
        if self.sources is not None and self.wave is not None:
            raise ValueError("'sources' already says which wave a file is; leave out 'wave'")
        for key, item in self.items.items():
            for wave in item.column if isinstance(item.column, dict) else ():
                if self.sources is None and self.wave is None:
                    raise ValueError(
                        f"item {key} has a column per wave, but the table has no waves; declare 'sources' or 'wave'"
                    )
                if self.sources is not None and wave not in self.sources:
                    raise ValueError(
                        f"item {key} names wave {wave!r}, which 'sources' does not have{nearest(wave, self.sources)}"
                    )
        return self


class Customers(Table):
    """One account."""

    unique = ("customer",)
    id: Annotated[str, As("id", "customer")]
    since: Annotated[str | None, As("time")] = None
    until: Annotated[str | None, As("time")] = None
    revenue: Annotated[
        Revenue | None, BeforeValidator(as_column, json_schema_input_type=str | Revenue | None), As("revenue")
    ] = None


class _Events(Table):
    missing: Literal["drop", "error"] = "error"
    """What to do with rows that lack the customer, the time or the amount."""


class Transactions(_Events):
    """One payment."""

    customer: Annotated[str, As("event_id")]
    time: Annotated[str, As("event_time")]
    amount: Annotated[str, As("amount")]
    negative: Literal["returns", "error", "drop"] = "error"
    """returns: negative amounts are money paid back, and stay."""


class Interactions(_Events):
    """One contact."""

    unique = ("contact",)
    customer: Annotated[str, As("words")]
    time: Annotated[str, As("event_time")]
    contact: Annotated[str | None, As("event_id")] = None
    """Its id, which responses may name."""
    case: Annotated[str | None, As("words")] = None
    """The id of what contacts are about, from the first of them to the last."""
    channel: Annotated[str | None, As("words")] = None
    touchpoint: Annotated[str | None, As("words")] = None
    stage: Annotated[str | None, As("words")] = None
    """Of the journey, where it is a matter of the contact; that of a touchpoint stands under touchpoints."""
    owner: Annotated[str | None, As("words")] = None
    """The department that has the case; another in the next row is a hand-off."""
    agent: Annotated[str | None, As("words")] = None
    resolved: Annotated[str | None, As("flag")] = None
    closed: Annotated[str | None, As("time")] = None
    """When the case was closed; blank while it is open."""
    text: Annotated[str | None, As("words")] = None


class Employees(Table):
    """One unit in one period."""

    unique = ("unit", "period")
    unit: Annotated[str, As("id")]
    period: Annotated[str, As("id")]
    engagement: Annotated[AnItem, As("item")]
    n: Annotated[str | None, As("number")] = None
    """How many employees answered."""
    sd: Annotated[str | None, As("number")] = None
    """Standard deviation of their answers; with n it says how far the mean can be trusted."""


class Costs(Table):
    """One kind of cost in one period."""

    unique = ("period", "kind")
    period: Annotated[str, As("id")]
    kind: Annotated[str, As("id")]
    amount: Annotated[str, As("money")]
    roles: dict[str, Literal["acquisition", "service", "retention"]] = Field(default_factory=dict)
    """Kind: what it is spent on."""


class Tables(Part):
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
            raise ValueError(f"needs at least one of {', '.join(TABLES)}")
        return self


TABLES = tuple(Tables.model_fields)


class Privacy(Part):
    minimum_base: int = Field(10, ge=1)
    """A group with fewer rows is pooled or hidden."""
    purpose: str | None = None
    """What the data are kept for."""
    delete_after: date | None = None
    """Last day on which they may be used; past it the study is refused."""


class Touchpoint(Part):
    """Where customers meet the company; the name is that of interactions, or another."""

    stage: Literal["before", "purchase", "after"] | None = None
    kind: Literal["physical", "digital", "personal"] | None = None
    item: str | None = None
    """The item of responses that measures it; none where nobody is asked."""
    owner: str | None = None
    """The department that answers for it."""


class Programme(Part):
    """What was changed, from when, and for which units; the others are compared with."""

    from_: date = Field(alias="from")
    unit: str
    """The column that names the unit: an item of customers, say, or unit of employees."""
    treated: Words = Field(min_length=1)
    """Its values where the programme runs."""


class Report(Part):
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


class StudyFile(Part):
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
