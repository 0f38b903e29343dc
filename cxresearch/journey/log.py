"""Contacts in the order in which they happened; an order that is not known is refused."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_choice, require_columns
from cxresearch.findings import Check, Shown, Statement, interval, words
from cxresearch.inference import wilson_interval
from cxresearch.inference.events import opened, quoted, require_fields, require_one_id_type
from cxresearch.privacy import hide_cells
from cxresearch.survey import Table, as_table
from cxresearch.survey.survey import person_codes

say = words(__package__)

HOUR = 3_600_000_000  # microseconds
UNKNOWN = np.iinfo(np.int64).min  # a time that is missing
ENDS = ("estimate", "conf_low", "conf_high")


@dataclass(frozen=True, repr=False, eq=False)
class JourneyFinding(Statement):
    """A statement whose rows with their intervals a deck can draw."""

    @property
    def chart(self) -> Shown:
        return Shown("tidy", *ENDS, self.drawn.get("unit", ""))


def span(row, confidence: float, decimals: int = 0, *, of: str = "conf", scale: float = 100) -> str:
    """Return the interval of a row in words, shares as percent."""
    return interval(scale * row[f"{of}_low"], scale * row[f"{of}_high"], confidence, decimals)


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
        return [say("days")] if (self.moment % (24 * HOUR) == 0).all() else []

    def label(self, key) -> str:
        return str(self.source.labels.get(key, key))

    def shares(self, marks: dict, by, at, confidence: float) -> pd.DataFrame:
        """Return by group of the rows `at` the share of the first mark, on the base that cases leave, and counts of all."""
        cell, names = groups_of(self.table[by].iloc[at])
        order = np.argsort(cell, kind="stable")
        at, cell = at[order], cell[order]
        counts = {name: np.bincount(cell, mark[at]).astype(int) for name, mark in marks.items()}
        n, first = np.bincount(cell), next(iter(marks))
        share = counts[first] / n
        starts = np.flatnonzero(np.append(True, (np.diff(cell) != 0) | (np.diff(self.case[at]) != 0)))
        totals, persons = np.add.reduceat(marks[first][at] - share[cell], starts), np.bincount(cell[starts])
        variance = persons / np.maximum(persons - 1, 1) * np.bincount(cell[starts], totals**2) / n**2
        binomial = share * (1 - share)
        varies = (variance > 0) & (binomial > 0)
        base = np.where(varies, np.minimum(binomial / np.where(varies, variance, 1.0), n), persons)
        found = dict(zip(ENDS, (share, *wilson_interval(share, base, confidence)))) | {"n": n, "n_effective": base}
        table = pd.DataFrame({"group": names} | found | counts | {"persons": persons})
        return hide_cells(table, min_base=self.source.min_base, base="persons", keys=("group",)).drop(columns="persons")


def event_log(interactions, case, time, columns=(), *, order=None, ordered=False, duplicates="drop") -> Log:
    """Return contacts in the order of case (a column or several), time and `order`; ties are refused if `ordered`."""
    require_choice("duplicates", duplicates, ("drop", "keep"))
    source = as_table(interactions)
    if not (case := case or source.person):
        raise DataProblem("interactions name neither case nor customer; give the column that joins contacts")
    keys = [case] if isinstance(case, str) else list(case)
    wanted = list(dict.fromkeys(c for c in (*keys, time, order, source.person, *columns) if c is not None))
    table = rows_of(source, wanted)
    require_one_id_type(table, keys[0])
    code, moment = table.groupby(keys, sort=False).ngroup().to_numpy(np.int32), moments_of(table[time])
    rows = np.flatnonzero((code >= 0) & (moment > UNKNOWN))
    if not rows.size:
        raise DataProblem(f"interactions: no row has both {' and '.join(keys)} and {time}")
    lost, ranks = len(table) - len(rows), [] if order is None else [table[order].to_numpy()[rows]]
    rows = rows[places_of(code[rows], moment[rows], ranks)]
    code, moment = code[rows], moment[rows]
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
    log = Log(table[wanted].iloc[rows].reset_index(drop=True), case_of, moment, tied, source, checks)
    if ordered and tied.any() and not log.days:
        row = log.table.iloc[at := int(np.argmax(tied))]
        raise DataProblem(
            f"interactions, row {rows[at]}: {keys[0]} {row[keys[0]]} has different contacts at {row[time]} "
            f"({int(tied.sum())} such ties); name the column that tells their order with order="
        )
    return log


def rows_of(source: Table, columns) -> pd.DataFrame:
    """Return a frame as it is; of files the columns asked for, with what tells whole rows apart."""
    if isinstance(source.data, pd.DataFrame):
        require_columns(source.data, *columns, where="interactions")
        return source.data
    with opened(source.data, named="interactions") as relation:
        require_fields(relation, *columns, where="interactions")
        return relation.query("source", f"SELECT {', '.join(map(quoted, columns))}, hash(source) FROM source").df()


def moments_of(column: pd.Series) -> np.ndarray:
    """Return times as microseconds, `UNKNOWN` where missing; refuse what is no time."""
    dated, numeric = pd.api.types.is_datetime64_any_dtype(column), pd.api.types.is_numeric_dtype(column)
    times = column if dated else pd.to_datetime(column.astype("string"), errors="coerce", format="ISO8601")
    if (lost := column.notna() & (times.isna() | numeric)).any():
        raise DataProblem(
            f"interactions, row {lost.idxmax()}: {column.name} holds {str(column[lost].iloc[0])!r}, which is not a time "
            f"({int(lost.sum())} of {len(column)} rows are not); write 2024-12-31 18:30:00"
        )
    return times.to_numpy(dtype="datetime64[us]").astype(np.int64)


def places_of(code, moment, ranks) -> np.ndarray:
    """Return the order of codes, moments and ranks; one sort of whole numbers, far faster, where both fit into one."""
    key = moment - moment.min()
    key //= max(int(np.gcd.reduce(key)), 1)
    bits = int(key.max()).bit_length()
    if ranks or bits + int(code.max()).bit_length() > 62:
        return np.lexsort((*ranks, moment, code))
    return np.argsort(key | code.astype(np.int64) << bits, kind="stable")


def groups_of(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return the group that the columns make of each row, (n,), and what the groups are called; without columns all."""
    if not len(table.columns):
        return np.zeros(len(table), dtype=np.uint8), ["all"]
    grouped = table.groupby(list(table), observed=True, dropna=False)
    keys = grouped.size().index.to_frame().astype(object)
    keys = keys.where(keys.notna(), "not stated").astype(str).replace({"True": "yes", "False": "no"})
    return grouped.ngroup().to_numpy(np.min_scalar_type(len(keys))), keys.agg(", ".join, axis=1).tolist()


def said_yes(column: pd.Series) -> np.ndarray:
    """Return a column of yes and no as bool, missing as no; refuse anything else."""
    said = column.astype(str).str.strip().str.lower().where(column.notna(), "no")
    yes, no = said.isin(["yes", "true", "1", "1.0"]), said.isin(["no", "false", "0", "0.0"])
    if not (yes | no).all():
        raise DataProblem(
            f"interactions: {column.name} holds {said[~yes & ~no].iloc[0]!r}; it must say yes or no, 1 or 0"
        )
    return yes.to_numpy()
