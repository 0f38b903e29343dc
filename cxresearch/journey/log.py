"""Contacts in the order in which they happened; an order that is not known is refused."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from cxresearch.errors import require_choice, require_columns
from cxresearch.findings import ENDS, Check, Shown, Statement, ends, words
from cxresearch.inference import wilson_interval
from cxresearch.inference.events import opened, quoted, require_one_id_type
from cxresearch.privacy import hide_cells
from cxresearch.survey import Table, as_table
from cxresearch.survey.survey import person_codes

say = words(__package__)

HOUR = 3_600_000_000  # microseconds
UNKNOWN = np.iinfo(np.int64).min  # a time that is missing


@dataclass(frozen=True, repr=False, eq=False)
class JourneyFinding(Statement):
    """A statement whose rows with their intervals a deck can draw."""

    @property
    def chart(self) -> Shown:
        return Shown("tidy", *ENDS, self.drawn.get("unit", ""))


@dataclass(frozen=True, eq=False)
class Log:
    """Contacts sorted by case and time; what repeats a row in every column is left out."""

    table: pd.DataFrame  # (n, .) the columns asked for
    case: np.ndarray  # (n,) 0, 1, ... ascending
    moment: np.ndarray  # (n,) microseconds
    tied: np.ndarray  # (n,) at the moment of the row before, of the same case, in an order that is not known
    source: Table
    checks: tuple[Check, ...]

    @cached_property
    def first(self) -> np.ndarray:
        """Which rows are the first of their case, (n,) bool."""
        return np.append(True, self.case[1:] != self.case[:-1])

    @cached_property
    def persons(self) -> np.ndarray:
        """Who each case is about, (cases,): the first person that its rows name, or else the case."""
        named = pd.Series(self.case) if self.source.person is None else self.table[self.source.person]
        return person_codes(named.groupby(self.case).first())

    @cached_property
    def days(self) -> list[str]:
        """What to say of times that hold no hours."""
        return ["days"] if (self.moment % (24 * HOUR) == 0).all() else []

    def label(self, key) -> str:
        return str(self.source.labels.get(key, key))

    def shares(self, marks: dict, by, at, confidence: float) -> pd.DataFrame:
        """Return by group of the rows `at` the share of the first mark, on the base that cases leave, and counts of all."""
        cell, names = groups_of(self.table[by].iloc[at])
        places = np.split(at[np.argsort(cell, kind="stable")], np.cumsum(np.bincount(cell))[:-1]) if by else [at]
        first, rows = next(iter(marks.values())), []
        for name, at in zip(names, places):
            case, hit = self.case[at], first[at]
            starts = np.flatnonzero(np.append(True, case[1:] != case[:-1]))
            n, cases, share = len(at), len(starts), hit.mean()
            totals = np.add.reduceat(hit - share, starts)
            variance = cases / max(cases - 1, 1) * (totals @ totals) / n**2
            base = min(share * (1 - share) / variance, n) if variance > 0 and 0 < share < 1 else cases
            row = {"group": name} | ends("estimate", share, *wilson_interval(share, base, confidence))
            counts = {key: int(mark[at].sum()) for key, mark in marks.items()}
            rows.append(row | {"n": n, "n_effective": base} | counts | {"persons": cases})
        table = hide_cells(pd.DataFrame(rows), min_base=self.source.min_base, base="persons", keys=("group",))
        return table.drop(columns="persons")


def event_log(interactions, case, time, columns=(), *, order=None, ordered=False, duplicates="drop") -> Log:
    """Return contacts in the order of case (a column or several), time and `order`; ties are refused if `ordered`."""
    require_choice("duplicates", duplicates, ("drop", "keep"))
    source = as_table(interactions)
    say.refuse_if(not (case := case or source.person), "no_case")
    keys = [case] if isinstance(case, str) else list(case)
    wanted = list(dict.fromkeys(c for c in (*keys, time, order, source.person, *columns) if c is not None))
    table = rows_of(source, wanted)
    require_one_id_type(table, keys[0])
    one = table[keys[0]] if len(keys) == 1 else table.groupby(keys, sort=False).ngroup().replace(-1, np.nan)
    code, moment = pd.factorize(one)[0].astype(np.int32), moments_of(table[time])
    known = (code >= 0) & (moment > UNKNOWN)
    at = slice(None) if known.all() else np.flatnonzero(known)
    say.refuse_if(not known.any(), "nothing_known", keys=" and ".join(keys), time=time)
    rows = places_of(code[at], moment[at], [] if order is None else [table[order].to_numpy()[at]])
    rows = rows if known.all() else at[rows]
    code, moment, lost = code[rows], moment[rows], int(np.sum(~known))
    tied = np.append(False, (code[1:] == code[:-1]) & (moment[1:] == moment[:-1]))
    beside = np.flatnonzero(tied | np.append(tied[1:], False))
    again = np.zeros(len(rows), dtype=bool)
    again[beside] = table.iloc[rows[beside]].duplicated().to_numpy()
    tied, copies = tied & ~again & (order is None), int(again.sum())
    if copies and duplicates == "drop":
        rows, code, moment, tied = (values[~again] for values in (rows, code, moment, tied))
    case_of = np.cumsum(np.append(False, code[1:] != code[:-1]), dtype=np.int32)
    copied = "kept" if duplicates == "keep" else "left out"
    checks = (
        Check("contacts without case or time, left out", lost, "0", not lost),
        Check(f"exact duplicates, {copied}", copies, "0", not copies, "info"),
        Check("contacts of a case at one moment, order unknown", int(tied.sum()), "0", not tied.any()),
    )
    kept = table[list(dict.fromkeys(filter(None, (source.person, *columns))))].iloc[rows].reset_index(drop=True)
    log = Log(kept, case_of, moment, tied, source, checks)
    if ordered and tied.any() and not log.days:
        row = table.iloc[at := rows[np.argmax(tied)]]
        say.refuse_if(True, "tied", at=at, key=keys[0], case=row[keys[0]], moment=row[time], n=tied.sum())
    return log


def rows_of(source: Table, columns) -> pd.DataFrame:
    """Return a frame as it is; of files the columns asked for, with what tells whole rows apart."""
    if isinstance(source.data, pd.DataFrame):
        require_columns(source.data, *columns, where="interactions")
        return source.data
    with opened(source.data, named="interactions") as relation:
        require_columns(relation, *columns, where="interactions")
        return relation.query("source", f"SELECT {', '.join(map(quoted, columns))}, hash(source) FROM source").df()


def moments_of(column: pd.Series) -> np.ndarray:
    """Return times as microseconds, `UNKNOWN` where missing; refuse what is no time."""
    dated, numeric = pd.api.types.is_datetime64_any_dtype(column), pd.api.types.is_numeric_dtype(column)
    times = column if dated else pd.to_datetime(column.astype("string"), errors="coerce", format="ISO8601")
    lost = column[column.notna() & (times.isna() | numeric)]
    row, value = next(iter(lost.items()), (None, None))
    found = dict(row=row, column=column.name, value=str(value), n=len(lost), rows=len(column))
    say.refuse_if(len(lost), "no_time", **found)
    return times.to_numpy(dtype="datetime64[us]").astype(np.int64)


def places_of(code, moment, ranks) -> np.ndarray:
    """Return the order of codes, moments and ranks; one sort of whole numbers, far faster, where both fit into one."""
    key = moment - moment.min()
    key //= max(int(np.gcd.reduce(key)), 1)
    bits = int(key.max()).bit_length()
    if ranks or bits + int(code.max()).bit_length() > 62:
        return np.lexsort((*ranks, moment, code))
    key |= code.astype(np.int64) << bits
    return np.argsort(key, kind="stable").astype(np.int32)


def groups_of(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return the group that the columns make of each row, (n,), and what the groups are called; without columns all."""
    cell, names = np.zeros(len(table), dtype=np.uint8), [()]
    for _, column in table.items():
        column = column.astype("category")
        levels = [*column.cat.categories, np.nan]
        code = column.cat.codes.to_numpy() % len(levels)  # -1, missing, is the last
        told = ["not stated" if pd.isna(v) else {"True": "yes", "False": "no"}.get(str(v), str(v)) for v in levels]
        names = [(*name, level) for name in names for level in told]
        cell = (cell * np.int32(len(told)) + code).astype(np.min_scalar_type(len(names)))
    found = np.bincount(cell, minlength=len(names)) > 0
    place = (np.cumsum(found) - 1).astype(cell.dtype)
    return place[cell], [", ".join(name) or "all" for name, there in zip(names, found) if there]


def said_yes(column: pd.Series) -> np.ndarray:
    """Return a column of yes and no as bool, missing as no; refuse anything else."""
    said = column.astype(str).str.strip().str.lower().where(column.notna(), "no")
    yes, no = said.isin(["yes", "true", "1", "1.0"]), said.isin(["no", "false", "0", "0.0"])
    odd = said[~yes & ~no]
    say.refuse_if(len(odd), "no_yes", column=column.name, value=next(iter(odd), None))
    return yes.to_numpy()
