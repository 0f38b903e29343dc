"""The survey: a table with what is known of it. After R's `survey` and Stata's `svyset`: said once, then carried."""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from cxresearch.errors import DataProblem, nearest, plain_text, require_columns
from cxresearch.findings import Check, number, say
from cxresearch.privacy import hidden_of, require_base
from cxresearch.survey.sample import UNSTATED, Sample, groups_of, raked_on, sampling_units, waves_of
from cxresearch.survey.waves import wave_order

DESIGN = ("weight", "strata", "cluster", "fpc")
COLUMNS = (*DESIGN, "wave", "asked_at", "respondent")
COMPARED = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
TICKED = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|`[^`]+`""")  # a text, or a name in backticks


def as_survey(
    table, *, weight=None, strata=None, cluster=None, fpc=None, population=None, wave=None, waves=None, asked_at=None,
    respondent=None, labels=None, scales=None, roles=None, multiple=None, currency=None, min_base: int = 1,
) -> "Survey":  # fmt: skip
    """Return a table together with what is known of it: how it was drawn, what its columns are, what may be shown.

    Parameters
    ----------
    table : DataFrame, (N, .), or Survey
        One row per answer or per customer. A survey comes back with what is given here changed.
    weight : column
        Zero or more in every row that is used; rows of weight zero never count.
    strata, cluster, fpc : columns
        Clusters are nested in strata (a pair of columns where regressions are fitted). Sampling fraction of the row's
        stratum, 0-1; a stratum wholly sampled has no sampling error.
    population, currency : float, str
        Customers that the weighted rows stand for, without which no total is extrapolated; what money is in.
    wave, waves : column, sequence
        Round of the survey; its labels in the order of time, where neither dates nor the labels themselves say it.
    asked_at, respondent : columns
        When each row was answered, and by whom, the same in every wave; a missing one is a person of its own.
    labels, scales, roles, multiple : dicts
        Item -> words; its lowest and highest answer; what it is (nps, csat, driver, ...); columns of a multiple choice.
    min_base : int
        Disclosure floor in distinct persons: smaller groups are pooled, smaller cells hidden.

    Raises
    ------
    DataProblem
        A column that the table lacks, a floor below 1, `waves` that leave a wave out or name one that is not there.

    Examples
    --------
    >>> import pandas as pd
    >>> cx.as_survey(pd.DataFrame({"recommend": [10, 9, 6], "w": [1.0, 2.0, 0.0]}), weight="w")
    survey: 3 rows, weighted by w, floor 1
    """
    given = {name: value for name, value in locals().items() if name not in ("table", "min_base") and value is not None}
    given |= _floor(table, min_base)
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
    named = {"person": person, "labels": labels}
    given = {name: value for name, value in named.items() if value is not None} | _floor(data, min_base)
    if isinstance(data, Survey):
        data, given = data.table, {"labels": data.labels, "min_base": data.min_base} | given
    if isinstance(data, pd.DataFrame):
        require_columns(data, person, where="the table")
    return replace(data, **given) if isinstance(data, Table) else Table(data, **given)


def _floor(table, min_base: int) -> dict[str, int]:
    """Return the floor where it is given; one that a table already has may be raised, not lowered."""
    present = getattr(table, "min_base", None)
    say.refuse_if(not (isinstance(min_base, (int, np.integer)) and min_base >= 1), "floor_number", floor=min_base)
    say.refuse_if(1 < min_base < (present or 1), "floor_lowered", floor=min_base, present=present)
    return {} if present and min_base < present else {"min_base": int(min_base)}


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
    _persons = cached_property(lambda self: self.respondent and person_codes(self.rows[self.respondent]))  # (N,)

    def __post_init__(self):
        clusters = (self.cluster,) if isinstance(self.cluster, str) else tuple(self.cluster or ())
        object.__setattr__(self, "cluster", clusters[0] if len(clusters) == 1 else clusters or None)
        named = [column for name in COLUMNS for column in np.atleast_1d(getattr(self, name)).tolist()]
        if len(self.rows) or any(column not in self.rows for column in filter(None, named)):
            require_columns(self.rows, *named, where="the survey")
        say.refuse_if(self.population is not None and not self.population > 0, "population", population=self.population)
        if self.waves is not None:
            object.__setattr__(self, "waves", tuple(self.waves))
            say.refuse_if(self.wave is None, "waves_of_nothing")
            _ = self.wave_order

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
        lost = [name for name in COLUMNS if not {*np.atleast_1d(getattr(self, name)).tolist()} <= {*table.columns}]
        there = set(map(plain_text, () if "wave" in lost else pd.unique(table[self.wave].dropna())))
        waves = tuple(label for label in self.waves or () if plain_text(label) in there) or None
        gone = dict.fromkeys(["domain", "waterfall", "outside", *lost])
        fresh = dict(waves=waves, condition="", taken=[], only={}, decided={})
        return replace(self, rows=table.copy(deep=False), **(gone | fresh | changes))

    def where(self, condition: str) -> "Survey":
        """Return the domain in which `condition` holds (see `rows_where`); errors stay those of a domain of the survey.
        Refused are domains of nobody, and those that hold, or leave out, fewer persons than the floor.
        """
        seen = lambda column: [v for v, n in self.rows[column].value_counts().items() if n >= self.min_base]  # noqa: E731
        met = rows_where(self.rows, condition, shown=seen)
        whole = np.ones(len(met), dtype=bool) if self.domain is None else self.domain
        inside = met & whole
        say.refuse_if(not inside.any(), "few_met", condition=condition)
        parts = [(inside, f"what meets {condition!r}"), (whole & ~inside, f"what {condition!r} leaves out")]
        for said, earlier in self.taken:  # two domains, one inside the other, tell of what lies between
            differ = f"what {said!r} and {condition!r} differ in"
            parts += [(a & ~b, differ) for a, b in ((inside, earlier), (earlier, inside)) if not (b & ~a).any()]
        persons = self._persons
        for rows, what in parts:
            n = int(rows.sum()) if persons is None else len(pd.unique(persons[rows]))
            say.refuse_if(0 < n < self.min_base, "few_differ", what=what, floor=self.min_base)
        self.taken.append((condition, inside))
        said = condition if not self.condition else f"({self.condition}) and ({condition})"
        return replace(self, domain=inside, condition=said, outside=None, only={}, decided={})

    def require_each_once(self, known: np.ndarray, counted: str) -> None:
        """Refuse rows `known` (of those in view) that repeat a person, by the respondent or a column called customer."""
        for person in dict.fromkeys(c for c in (self.respondent, "customer") if c in self.table.columns):
            if twice := int(self.table.loc[known, person].dropna().duplicated().sum()):
                raise DataProblem(say("repeated", twice=twice, n=known.sum(), person=person, counted=counted))

    @cached_property
    def wave_order(self) -> tuple:
        """The waves in the order of time; refused where nothing tells it (see `wave_order`)."""
        say.refuse_if(self.wave is None, "no_waves")
        dates = None if self.asked_at is None else self.rows[self.asked_at]
        return wave_order(self.rows[self.wave], declared=self.waves, dates=dates, sources=self.sources)

    @cached_property
    def every(self) -> tuple[pd.DataFrame, np.ndarray | None]:
        """The rows in view and, after them, those outside a part; and whom each is about."""
        rows, persons = self.table, self._persons
        if self.outside is None:
            return rows, persons if persons is None or self.domain is None else persons[self.domain]
        inside = rows.assign(**{c: value for c, value in self.only.items() if c not in rows})
        rows = pd.concat([inside, self.outside], ignore_index=True)
        return rows, None if persons is None else person_codes(rows[self.respondent])

    def groups(self, by) -> pd.Series:
        """Return the groups of a column or of several, of every row, as they are shown; see `groups_of`."""
        return groups_of(self.every[0], by, min_base=self.min_base, persons=self.every[1])

    def sample(self, answered=None, *, by=None, wave=False, what="the finding", of: tuple = ()) -> Sample:
        """Return the rows that `answered`, (n,) bool of those in view, with their weights, cells and sampling units.

        Cells are the levels of `by` (see `groups`) and the waves in the order of time; `what` is for messages, `of` names
        the columns that are answered. Refused are weights and designs that are not known, and fewer persons than the floor.
        """
        table = self.table
        answered = np.ones(len(table), dtype=bool) if answered is None else np.asarray(answered, dtype=bool)
        require_columns(table, *([by] if isinstance(by, str) else by or ()), where="responses")
        order = self.wave_order if wave else ()  # before the column, which a survey without waves lacks
        waves = waves_of(table[self.wave], order) if wave else None
        dated = answered if waves is None else answered & waves.notna().to_numpy()
        weights = self.weights(dated)
        inside = dated & (weights > 0)
        rows, zero = np.flatnonzero(inside), int((dated & ~inside).sum())
        asked = f" and a {self.wave}" * wave + " and a weight" * (zero > 0)
        say.refuse_if(not rows.size, "few_answers", n=len(table), asked=asked)
        person = self.every[1]
        persons = None if person is None else pd.factorize(person[rows])[0]
        require_base(len(rows) if persons is None else int(persons.max()) + 1, min_base=self.min_base, what=what)
        groups = self.groups(by).iloc[: len(table)].cat.remove_unused_categories() if by else None
        share, undated = round(float(np.mean(answered)), 4), int((answered & ~dated).sum())
        checks = [Check("rows with an answer, share", share, "at least 0.5", bool(np.mean(answered) >= 0.5))]
        checks += [Check(f"rows left out, {self.weight} being 0", zero, "information", True)] * (zero > 0)
        checks += [Check("answers without a wave", undated, "0", undated == 0)] * wave
        if groups is not None:
            unstated = int((groups == UNSTATED).to_numpy()[inside].sum())
            checks.append(Check("answers without a group", unstated, "0", unstated == 0))
        columns = {name: c.cat for name, c in {"group": groups, "wave": waves}.items() if c is not None}
        cell = np.zeros(len(rows), dtype=np.int64)
        for column in columns.values():
            cell = cell * len(column.categories) + column.codes.to_numpy()[rows]
        levels = [c.categories.tolist() for c in columns.values()] or [[0]]
        keys = pd.MultiIndex.from_product(levels, names=[*columns] or [0]).to_frame(index=False)[list(columns)]
        equal = bool(np.all(weights[rows] == weights[rows[0]]))
        design = self._design(rows)
        plain = equal and not (self.strata or self.cluster or self.fpc or design["margins"]) and self.domain is None
        closed = None if self.min_base <= 1 else partial(hidden_of, self, by=by, wave=wave, of=of)
        return Sample(
            rows, np.ones(len(rows)) if equal else weights[rows], cell, keys, persons=persons, min_base=self.min_base,
            plain=plain, checks=tuple(checks), closed=closed, **design,
        )  # fmt: skip

    def weights(self, asked=True) -> np.ndarray:
        """Return the weights of the rows in view; those of the rows `asked` for must be known."""
        if self.weight is None:
            return np.ones(len(self))
        column = self.rows[self.weight] if self.domain is None else self.rows[self.weight][self.domain]
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        bad = np.flatnonzero((~np.isfinite(values) | (values < 0)) & asked)
        if bad.size:
            n = np.broadcast_to(asked, len(values)).sum()
            raise DataProblem(say("bad_weight", weight=self.weight, bad=bad.size, n=n, first=bad[0]))
        return values

    def _design(self, rows: np.ndarray) -> dict:
        """Return units, places and raked margins: of the rows alone, or, in a domain, of every row with weight."""
        if isinstance(self.cluster, tuple):
            raise DataProblem(say("two_clusters", names=" and ".join(self.cluster)))
        whole, at, place = self.rows, rows, None
        if self.domain is not None:
            weights = np.ones(len(whole)) if self.weight is None else pd.to_numeric(whole[self.weight]).to_numpy(float)
            at = np.flatnonzero((weights > 0) | self.domain)
            place = np.searchsorted(at, np.flatnonzero(self.domain)[rows])
        drawn = self.arrays(at, whole, DESIGN[1:])
        margins = tuple(pd.factorize(whole[c].to_numpy()[at])[0] for c in raked_on(whole.iloc[at], self.weight))
        margin_weights = whole[self.weight].to_numpy(float)[at] if margins else None
        return dict(units=sampling_units(len(at), **drawn), place=place, margins=margins, margin_weights=margin_weights)

    def arrays(self, rows, table=None, names=DESIGN) -> dict[str, np.ndarray | None]:
        """Return weight, strata, cluster and fpc of `rows` (in view, or of a table): known for each of them, or None."""
        table, found = self.table if table is None else table, dict.fromkeys(names)
        for name, column in ((name, getattr(self, name)) for name in names if getattr(self, name)):
            found[name] = table[column].to_numpy()[rows]
            if lost := int(pd.isna(found[name]).sum()):
                raise DataProblem(say("design_unknown", column=column, lost=lost, n=len(rows)))
        return found


def person_codes(column: pd.Series) -> np.ndarray:
    """Return one code per person, (N,); a row without an id is a person of its own."""
    codes, found = pd.factorize(column)
    unknown = codes < 0
    codes[unknown] = len(found) + np.arange(int(unknown.sum()))
    return codes


def rows_where(table: pd.DataFrame, condition: str, *, shown=lambda column: ()) -> np.ndarray:
    """Return which rows of `table` meet `condition`, (N,) bool; a comparison with a missing value is not met, nor is
    its opposite. A name that is no identifier stands in backticks; `shown`: the values of a column that a message may name.
    """
    named, condition = {}, str(condition).strip()
    stand_in = "_" * (len(condition) + 1)  # which the condition cannot hold
    without = lambda m: m[1] or named.setdefault(f"{stand_in}{len(named)}", m[0]) and [*named][-1]  # noqa: E731
    try:
        tree = ast.parse(TICKED.sub(without, condition), mode="eval")
    except SyntaxError as error:
        raise DataProblem(say("unreadable", condition=condition, why=error.msg)) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = named.get(node.id, node.id)
    return _Condition(table, condition, shown).truth(tree.body).fillna(False).to_numpy(dtype=bool)


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
            case ast.Name(id=name):
                like = [c for c in self.table.columns if plain_text(c) == plain_text(name.strip("`"))]
                column = name.strip("`") if name.strip("`") in like else next(iter(like), name.strip("`"))
                require_columns(self.table, column, where="the survey")
                return self.table[column]
            case ast.Constant(value=int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
        raise self.refuse(f"holds {ast.unparse(node)!r} where a column or a constant belongs")

    def truth(self, node) -> pd.Series:
        """Return whether each row meets `node`: true, false, or missing."""
        if isinstance(node, ast.BoolOp):
            return reduce(operator.and_ if isinstance(node.op, ast.And) else operator.or_, map(self.truth, node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return reduce(operator.and_, map(self.compared, sides, node.ops, sides[1:]))
        if isinstance(node, ast.Name) and is_bool_dtype(self.side(node)):
            return self.side(node).astype("boolean")
        raise self.refuse(f"holds {ast.unparse(node)!r}, which is no comparison")

    def compared(self, left, op, right) -> pd.Series:
        """Return the comparison of a column with a constant, or of two columns of numbers; missing where they are."""
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.List, ast.Tuple)) or not right.elts:
                raise self.refuse("asks `in` of something other than a list of constants")
            inside = reduce(operator.or_, [self.compared(left, ast.Eq(), value) for value in right.elts])
            return ~inside if isinstance(op, ast.NotIn) else inside
        if (compare := COMPARED.get(type(op))) is None:
            raise self.refuse("compares by something other than == != < <= > >= in")
        sides = [self.side(left), self.side(right)]
        column, value = sides if isinstance(sides[0], pd.Series) else sides[::-1]
        if isinstance(column, pd.Series) and all(map(_is_number, sides)):
            return compare(*(side.astype("Float64") if isinstance(side, pd.Series) else float(side) for side in sides))
        if isinstance(column, pd.Series) and not isinstance(value, pd.Series):
            if is_datetime64_any_dtype(column):
                if not pd.isna(when := pd.to_datetime(value if isinstance(value, str) else None, errors="coerce")):
                    when = when if column.dt.tz is None or when.tzinfo else when.tz_localize(column.dt.tz)
                    return compare(*(when if s is value else s for s in sides)).astype("boolean").mask(column.isna())
            elif not is_numeric_dtype(column) and compare in (operator.eq, operator.ne):
                codes, levels = pd.factorize(column)
                equal = np.array([plain_text(level) == plain_text(value) for level in levels] + [False])
                if not equal.any():
                    known = dict(column=column.name, value=value, nearest=nearest(value, self.shown(column.name)))
                    raise DataProblem(say("never_holds", condition=self.condition, **known))
                return compare(pd.Series(equal[codes], column.index, dtype="boolean").mask(codes < 0), True)
        both = f"{ast.unparse(left)} with {ast.unparse(right)}"
        raise self.refuse(f"compares {both}; numbers go with numbers, a date with '2024-03-31', a text by == != or in")


def _is_number(side) -> bool:
    return is_numeric_dtype(side) if isinstance(side, pd.Series) else not isinstance(side, str)
