"""The survey: a table with what is known of it. After R's `survey` and Stata's `svyset`: said once, then carried."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from operator import and_, eq, ge, gt, le, lt, ne, or_
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from cxresearch.errors import DataProblem, nearest, plain_text, require_columns
from cxresearch.findings import Check, number, say
from cxresearch.privacy import hidden_of, require_base
from cxresearch.survey.sample import UNSTATED, Sample, groups_of, raked_on, sampling_units, wave_order, waves_of

DESIGN = ("weight", "strata", "cluster", "fpc")
COLUMNS = (*DESIGN, "wave", "asked_at", "respondent")
COMPARED = {ast.Eq: eq, ast.NotEq: ne, ast.Lt: lt, ast.LtE: le, ast.Gt: gt, ast.GtE: ge}
TICKED = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|`[^`]+`""")  # a text, or a name in backticks


def as_survey(
    table, *, weight=None, strata=None, cluster=None, fpc=None, population=None, wave=None, waves=None, asked_at=None,
    respondent=None, labels=None, scales=None, roles=None, multiple=None, currency=None, min_base: int = 1,
) -> "Survey":  # fmt: skip
    """Return a table together with what is known of it: how it was drawn, what its columns are, what may be shown.

    Parameters
    ----------
    table : DataFrame (N, .), one row per answer or per customer; or Survey, which comes back with what is given changed
    weight : column, zero or more in every row that is used; rows of weight zero never count
    strata, cluster, fpc : columns; clusters are nested in strata (a pair of columns where regressions are fitted);
        sampling fraction of the row's stratum, 0-1: a stratum wholly sampled has no sampling error
    population, currency : customers that the weighted rows stand for, without which no total is made; what money is in
    wave, waves : round of the survey; its labels in the order of time, where neither dates nor they themselves say it
    asked_at, respondent : when each row was answered, and by whom, in every wave; a missing one is a person of its own
    labels, scales, roles, multiple : dicts, item -> words; lowest and highest answer; nps, csat, ...; columns of choices
    min_base : int, disclosure floor in distinct persons: smaller groups are pooled, smaller cells hidden

    Raises
    ------
    DataProblem : a column that the table lacks, a floor below 1, `waves` that leave one out or name one that is not there

    Examples
    --------
    >>> import pandas as pd
    >>> cx.as_survey(pd.DataFrame({"recommend": [10, 9, 6], "w": [1.0, 2.0, 0.0]}), weight="w")
    survey: 3 rows, weighted by w, floor 1
    """
    given = _given(**locals())
    if isinstance(table, Survey):
        return replace(table, **given, decided={}) if given else table
    say.refuse_if(isinstance(table, Table), "events")
    say.refuse_if(not hasattr(table, "columns"), "no_survey", found=type(table).__name__)
    return Survey(table.copy(deep=False), **{"scales": table.attrs.get("scales", {})} | given)


def as_table(data, *, person: str | None = None, labels: Mapping[str, str] | None = None, min_base: int = 1) -> "Table":
    """Return a table of events or units (a DataFrame, a path, a DuckDB relation) with labels, floor, and the column that
    names the person; a column that the DataFrame lacks and a floor below 1 are refused.

    Examples
    --------
    >>> import pandas as pd
    >>> cx.as_table(pd.DataFrame({"customer": ["a", "b"], "amount": [3.5, 20.0]}), person="customer")
    table: 2 rows, one person: customer, floor 1
    """
    given = _given(data, min_base, person=person, labels=labels)
    if isinstance(data, Survey):
        data, given = data.table, {"labels": data.labels, "min_base": data.min_base} | given
    if isinstance(data, pd.DataFrame):
        require_columns(data, person, where="the table")
    return replace(data, **given) if isinstance(data, Table) else Table(data, **given)


def _given(table, min_base: int, **known) -> dict[str, object]:
    """Return what is known, and the floor where it is given: one that a table already has may be raised, not lowered."""
    present, given = getattr(table, "min_base", None), {name: v for name, v in known.items() if v is not None}
    say.refuse_if(not (isinstance(min_base, (int, np.integer)) and min_base >= 1), "floor_number", floor=min_base)
    say.refuse_if(1 < min_base < (present or 1), "floor_lowered", floor=min_base, present=present)
    return given if present and min_base < present else given | {"min_base": int(min_base)}


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """One row per event or unit: payments, contacts, units, costs; see `as_table`."""

    data: object  # a DataFrame, a path (or pattern) of files, or a DuckDB relation
    person: str | None = None  # the column that names the person: the floor counts persons
    labels: Mapping[str, str] = field(default_factory=dict)
    min_base: int = 1
    currency: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)  # customer, time, amount, ... -> column

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a DataFrame; a relation is read whole."""
        frame = isinstance(self.data, pd.DataFrame)
        say.refuse_if(not frame and not hasattr(self.data, "df"), "files", path=self.data)
        return self.data.copy(deep=False) if frame else self.data.df()

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        frame = isinstance(self.data, pd.DataFrame)
        what = f"{number(len(self.data), 0)} rows" if frame else Path(str(self.data)).name
        return f"table: {what}, one person: {self.person or 'not named'}, floor {self.min_base}"


@dataclass(frozen=True, eq=False, repr=False)
class Survey:
    """One row per answer or per customer, with the design, labels, scales, order of waves and floor; see `as_survey`."""

    rows: pd.DataFrame = field()  # every row, of the domain or not
    weight: str | None = None
    strata: str | None = None
    cluster: str | tuple[str, ...] | None = None
    fpc: str | None = None
    population: float | None = None
    wave: str | None = None
    waves: tuple | None = None
    asked_at: str | None = None
    respondent: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    multiple: Mapping[str, Sequence[str]] = field(default_factory=dict)
    currency: str | None = None
    min_base: int = 1
    sources: tuple = ()  # waves in the order in which a study names its files: used where nothing else tells time
    waterfall: pd.DataFrame | None = None  # step, rows, removed, reason: how the rows were come by
    condition: str = ""
    domain: np.ndarray | None = None  # (N,) bool; None where all rows are in view
    taken: list = field(default_factory=list)  # domains asked for so far, each with its rows
    outside: pd.DataFrame | None = None  # of a part of a study, its other rows: what is hidden is decided for all
    only: Mapping[str, str] = field(default_factory=dict)  # the columns by which it is a part, and its values
    decided: dict = field(default_factory=dict)  # what is hidden, by question

    def __post_init__(self):
        clusters = (self.cluster,) if isinstance(self.cluster, str) else tuple(self.cluster or ())
        object.__setattr__(self, "cluster", clusters[0] if len(clusters) == 1 else clusters or None)
        named = sum(self._named().values(), [])
        if len(self.rows) or not {None, *self.rows} >= {*named}:
            require_columns(self.rows, *named, where="the survey")
        say.refuse_if(self.population is not None and not self.population > 0, "population", population=self.population)
        if self.waves is not None:
            object.__setattr__(self, "waves", tuple(self.waves))
            say.refuse_if(self.wave is None, "waves_of_nothing")
            _ = self.wave_order

    def _named(self) -> dict[str, list]:  # columns, None where none is named
        return {name: np.atleast_1d(getattr(self, name)).tolist() for name in COLUMNS}

    def __len__(self) -> int:
        return len(self.rows) if self.domain is None else int(self.domain.sum())

    def __repr__(self) -> str:
        drawn = [f"{name} {getattr(self, name)}" for name in DESIGN[1:] if getattr(self, name)]
        rows = f"survey: {number(len(self), 0)} rows" + (f" where {self.condition}" if self.condition else "")
        weighted = f"weighted by {self.weight}" if self.weight else "unweighted"
        return ", ".join([rows, weighted, *drawn, f"floor {self.min_base}"])

    @property
    def table(self) -> pd.DataFrame:
        """The rows in view, as a DataFrame of its own; ``attrs["scales"]`` holds the declared scales."""
        inside = self.rows.copy(deep=False) if self.domain is None else self.rows[self.domain].reset_index(drop=True)
        inside.attrs = dict(self.rows.attrs) | {"scales": dict(self.scales)}
        return inside

    def columns_of(self, role: str) -> list:
        """Return the columns that have `role`, in order."""
        return [column for column, its in self.roles.items() if role in ((its,) if isinstance(its, str) else its)]

    def label(self, key) -> str:
        return str(self.labels.get(key, key))

    def with_table(self, table: pd.DataFrame, **changes) -> "Survey":
        """Return a survey of another table with the labels, scales, currency and floor, and the design it still has."""
        lost = [name for name, columns in self._named().items() if not {*columns} <= {*table.columns}]
        there = set(map(plain_text, () if "wave" in lost else pd.unique(table[self.wave].dropna())))
        waves = tuple(label for label in self.waves or () if plain_text(label) in there) or None
        gone = dict.fromkeys(["domain", "waterfall", "outside", *lost])
        fresh = dict(waves=waves, condition="", taken=[], only={}, decided={})
        return replace(self, rows=table.copy(deep=False), **(gone | fresh | changes))

    def where(self, condition: str) -> "Survey":
        """Return the domain in which `condition` holds (see `rows_where`); errors stay those of a domain of the survey.
        Refused are domains of nobody, and those that hold, or leave out, fewer persons than the floor.
        """
        persons = pd.Series(person_codes(self.rows[self.respondent]) if self.respondent else range(len(self.rows)))
        held = lambda column: persons.groupby(self.rows[column].to_numpy(), sort=False).nunique()  # noqa: E731
        seen = lambda column: [v for v, n in held(column).items() if n >= self.min_base]  # noqa: E731
        whole = np.ones(len(self.rows), dtype=bool) if self.domain is None else self.domain
        inside = rows_where(self.rows, condition, shown=seen) & whole
        say.refuse_if(not inside.any(), "few_met", condition=condition)
        parts = [(inside, f"what meets {condition!r}"), (whole & ~inside, f"what {condition!r} leaves out")]
        for said, earlier in self.taken:  # two domains, one inside the other, tell of what lies between
            differ = f"what {said!r} and {condition!r} differ in"
            parts += [(a & ~b, differ) for a, b in ((inside, earlier), (earlier, inside)) if not (b & ~a).any()]
        for rows, what in parts:
            n = persons[rows].nunique()
            say.refuse_if(0 < n < self.min_base, "few_differ", what=what, floor=self.min_base)
        self.taken.append((condition, inside))
        said = condition if not self.condition else f"({self.condition}) and ({condition})"
        return replace(self, domain=inside, condition=said, outside=None, only={}, decided={})

    def require_each_once(self, known: np.ndarray, counted: str) -> None:
        """Refuse rows `known` (of those in view) that repeat a person, by the respondent or a column called customer."""
        for person in dict.fromkeys(c for c in (self.respondent, "customer") if c in self.table.columns):
            twice = int(self.table.loc[known, person].dropna().duplicated().sum())
            say.refuse_if(twice, "repeated", twice=twice, n=known.sum(), person=person, counted=counted)

    @cached_property
    def wave_order(self) -> tuple:
        """The waves in the order of time; refused where nothing tells it (see `wave_order`)."""
        say.refuse_if(self.wave is None, "no_waves")
        dates = None if self.asked_at is None else self.rows[self.asked_at]
        return wave_order(self.rows[self.wave], declared=self.waves, dates=dates, sources=self.sources)

    @cached_property
    def every(self) -> tuple[pd.DataFrame, np.ndarray | None]:
        """The rows in view and, after them, those outside a part; and whom each is about."""
        rows = self.table
        if self.outside is not None:
            inside = rows.assign(**{c: value for c, value in self.only.items() if c not in rows})
            rows = pd.concat([inside, self.outside], ignore_index=True)
        return rows, None if self.respondent is None else person_codes(rows[self.respondent])

    def groups(self, by) -> pd.Series:
        """Return the groups of a column or of several, of every row, as they are shown; see `groups_of`."""
        return groups_of(self.every[0], by, min_base=self.min_base, persons=self.every[1])

    def sample(self, answered=None, *, by=None, wave=False, what="the finding", of: tuple = ()) -> Sample:
        """Return the rows in view that `answered`, (n,) bool, in cells of `by` (see `groups`) and waves; `what` is for messages,
        `of` names the columns that are answered. Fewer persons than the floor are refused.
        """
        table, persons = self.table, self.every[1]
        answered = np.ones(len(table), dtype=bool) if answered is None else np.asarray(answered, dtype=bool)
        require_columns(table, *([by] if isinstance(by, str) else by or ()), where="responses")
        columns = {"wave": waves_of(order=self.wave_order, column=table[self.wave])} if wave else {}  # or refused
        dated = answered & columns["wave"].notna().to_numpy() if wave else answered
        weights = self.weights(dated)
        rows = np.flatnonzero(dated & (weights > 0))
        zero, undated = int(dated.sum()) - len(rows), int((answered & ~dated).sum())
        asked = f" and a {self.wave}" * wave + " and a weight" * (zero > 0)
        say.refuse_if(not rows.size, "few_answers", n=len(table), asked=asked)
        persons = None if persons is None else pd.factorize(persons[rows])[0]
        require_base(len(rows) if persons is None else int(persons.max()) + 1, min_base=self.min_base, what=what)
        share = float(np.mean(answered))
        checks = [Check("rows with an answer, share", round(share, 4), "at least 0.5", share >= 0.5)]
        checks += [Check(f"rows left out, {self.weight} being 0", zero, "information", True)] * (zero > 0)
        checks += [Check("answers without a wave", undated, "0", undated == 0)] * wave
        if by:
            groups = self.groups(by).iloc[: len(table)]
            unstated = int((groups.iloc[rows] == UNSTATED).sum())
            checks.append(Check("answers without a group", unstated, "0", unstated == 0))
            columns = {"group": groups.cat.remove_unused_categories(), **columns}
        cell = np.zeros(len(rows), dtype=np.int64)
        for column in columns.values():
            cell = cell * len(column.cat.categories) + column.cat.codes.to_numpy()[rows]
        levels = [column.cat.categories.tolist() for column in columns.values()] or [[0]]
        keys = pd.MultiIndex.from_product(levels, names=[*columns] or [0]).to_frame(index=False)[list(columns)]
        equal, design = bool(np.all(weights[rows] == weights[rows[0]])), self._design(rows)
        plain = equal and not (self.strata or self.cluster or self.fpc or design["margins"]) and self.domain is None
        closed = None if self.min_base <= 1 else partial(hidden_of, self, by=by, wave=wave, of=of)
        known = dict(persons=persons, min_base=self.min_base, plain=plain, checks=tuple(checks), closed=closed)
        return Sample(rows, np.ones(len(rows)) if equal else weights[rows], cell, keys, **known, **design)

    @cached_property
    def _weights(self) -> np.ndarray:
        """The weights of all rows, missing where they are no numbers."""
        column = pd.Series(1.0, self.rows.index) if self.weight is None else self.rows[self.weight]
        return pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)

    def weights(self, asked=True) -> np.ndarray:
        """Return the weights of the rows in view; those of the rows `asked` for must be known."""
        values = self._weights if self.domain is None else self._weights[self.domain]
        bad, n = np.flatnonzero(~((values >= 0) & (values < np.inf)) & asked), np.broadcast_to(asked, len(values)).sum()
        say.refuse_if(bad.size, "bad_weight", weight=self.weight, bad=bad.size, n=n, first=next(iter(bad), None))
        return values

    def _design(self, rows: np.ndarray) -> dict:
        """Return units, places and raked margins: of the rows alone, or, in a domain, of every row with weight."""
        say.refuse_if(isinstance(self.cluster, tuple), "two_clusters", names=" and ".join(self.cluster or ()))
        at, place = rows, None
        if self.domain is not None:
            at = np.flatnonzero((self._weights > 0) | self.domain)
            place = np.searchsorted(at, np.flatnonzero(self.domain)[rows])
        whole, units = self.rows.iloc[at], sampling_units(len(at), **self.arrays(at, self.rows, DESIGN[1:]))
        margins = tuple(pd.factorize(whole[c].to_numpy())[0] for c in raked_on(whole, self.weight))
        return dict(units=units, place=place, margins=margins, margin_weights=self._weights[at] if margins else None)

    def arrays(self, rows, table=None, names=DESIGN) -> dict[str, np.ndarray | None]:
        """Return weight, strata, cluster and fpc of `rows` (in view, or of a table): known for each of them, or None."""
        table, found = self.table if table is None else table, dict.fromkeys(names)
        for name, column in ((name, getattr(self, name)) for name in names if getattr(self, name)):
            found[name] = table[column].to_numpy()[rows]
            lost = int(pd.isna(found[name]).sum())
            say.refuse_if(lost, "design_unknown", column=column, lost=lost, n=len(rows))
        return found


def person_codes(column: pd.Series) -> np.ndarray:
    """Return one code per person, (N,); a row without an id is a person of its own."""
    codes, found = pd.factorize(column)
    return np.where(codes < 0, len(found) + np.cumsum(codes < 0) - 1, codes)


def rows_where(table: pd.DataFrame, condition: str, *, shown=lambda column: ()) -> np.ndarray:
    """Return which rows of `table` meet `condition`, (N,) bool: with a missing value neither a comparison nor its opposite is
    met; a name that is no identifier stands in backticks; `shown` gives the values of a column that a message may name.
    """
    condition = str(condition).strip()
    hidden = "_" * (len(condition) + 1)  # begins no name that is written in the condition
    try:
        tree = ast.parse(TICKED.sub(lambda m: m[1] or f"{hidden}{m[0].encode().hex()}", condition), mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id.startswith(hidden):
                node.id = bytes.fromhex(node.id.strip("_")).decode()  # as it was written, for messages
        return _Condition(table, condition, shown).truth(tree.body).fillna(False).to_numpy(dtype=bool)
    except (SyntaxError, UnicodeError, OverflowError, RecursionError, MemoryError) as error:
        why = getattr(error, "msg", "it nests too deeply, or holds a number or a sign that no table can hold")
        raise DataProblem(say("unreadable", condition=condition, why=why)) from None


class _Condition(NamedTuple):
    """A condition on a table: what may stand in it, and which rows meet it."""

    table: pd.DataFrame
    condition: str
    shown: Callable

    def refuse(self, why: str) -> DataProblem:
        return DataProblem(say("condition", condition=self.condition, why=why))

    def side(self, node):
        """Return a column, or the value of a number or a text."""
        match node:
            case ast.Name(id=written):
                name = written.strip("`")
                like = [column for column in self.table if plain_text(column) == plain_text(name)]
                require_columns(self.table, name := name if name in like else [*like, name][0], where="the survey")
                return self.table[name]
            case ast.Constant(value=int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
        raise self.refuse(f"holds {ast.unparse(node)!r} where a column or a constant belongs")

    def truth(self, node) -> pd.Series:
        """Return whether each row meets `node`: true, false, or missing."""
        match node:
            case ast.BoolOp(op=op, values=values):
                return reduce(and_ if isinstance(op, ast.And) else or_, map(self.truth, values))
            case ast.UnaryOp(op=ast.Not(), operand=other):
                return ~self.truth(other)
            case ast.Compare(left=left, ops=ops, comparators=others):
                return reduce(and_, map(self.compared, [left, *others], ops, others))
            case ast.Name() if is_bool_dtype(column := self.side(node)):
                return column.astype("boolean")
        raise self.refuse(f"holds {ast.unparse(node)!r}, which is no comparison")

    def compared(self, left, op, right) -> pd.Series:
        """Return the comparison of a column with a constant, or of two columns of numbers; missing where they are."""
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.List, ast.Tuple)) or not right.elts:
                raise self.refuse("asks `in` of something other than a list of constants")
            inside = reduce(or_, [self.compared(left, ast.Eq(), value) for value in right.elts])
            return ~inside if isinstance(op, ast.NotIn) else inside
        if (compare := COMPARED.get(type(op))) is None:
            raise self.refuse("compares by something other than == != < <= > >= in")
        sides = [self.side(left), self.side(right)]
        column, value = sides if isinstance(sides[0], pd.Series) else sides[::-1]
        if isinstance(column, pd.Series):
            numeric, dated = is_numeric_dtype(column), is_datetime64_any_dtype(column)
            if numeric and is_numeric_dtype(getattr(value, "dtype", type(value))):
                return compare(*(s.astype("Float64") if isinstance(s, pd.Series) else float(s) for s in sides))
            if dated and isinstance(value, str):
                when, zone = pd.to_datetime(value, errors="coerce"), column.dt.tz
                when = when.tz_localize(zone) if zone and not when.tzinfo else when
                if not pd.isna(when) and (zone or not when.tzinfo):
                    met = compare(*(when if side is value else side for side in sides))
                    return met.astype("boolean").mask(column.isna())
            elif not (numeric or dated or isinstance(value, pd.Series)) and compare in (eq, ne):
                codes, levels = pd.factorize(column)
                equal = np.array([plain_text(level) == plain_text(value) for level in levels] + [False])
                if not equal.any():
                    known = dict(column=column.name, value=value, nearest=nearest(value, self.shown(column.name)))
                    raise DataProblem(say("never_holds", condition=self.condition, **known))
                return compare(pd.Series(equal[codes], column.index, dtype="boolean").mask(codes < 0), True)
        both = f"{ast.unparse(left)} with {ast.unparse(right)}"
        raise self.refuse(f"compares {both}; numbers go with numbers, a date with '2024-03-31', a text by == != or in")
