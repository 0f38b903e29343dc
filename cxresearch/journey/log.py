"""Contacts in the order in which they happened; an order that is not known is refused."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_choice, require_columns
from cxresearch.figures import forest
from cxresearch.findings import Check, Shown, Statement, interval, words
from cxresearch.inference import wilson_interval
from cxresearch.inference.events import opened, quoted, require_fields, require_one_id_type
from cxresearch.survey import as_table
from cxresearch.survey.survey import person_codes

say = words(__package__)

DAY = 86_400_000_000  # microseconds
UNKNOWN = np.iinfo(np.int64).min  # a time that is missing


@dataclass(frozen=True, repr=False, eq=False)
class JourneyFinding(Statement):
    """A finding of whole sentences, `said`, drawn as one dot with its interval per row of `tidy`."""

    said: tuple = ()  # of (id, values)
    unit: str = ""
    line: float | None = None  # no difference, or the whole

    def sentence(self) -> str:
        return " ".join(say(key, **values) for key, values in self.said)

    @property
    def chart(self) -> Shown:
        return Shown("tidy", "estimate", "conf_low", "conf_high", self.unit)

    def plot(self, ax=None):
        """Draw each row of `tidy` with its interval."""
        t = self.table[self.table["estimate"].notna()]
        keys = t[[c for c in ("term", "group", "against") if c in t]].itertuples(index=False)
        names = [" – ".join(map(self.label, key)) for key in keys]
        ends = {"low": "conf_low", "high": "conf_high"}
        return forest(t, "estimate", names=names, **ends, unit=self.unit, title=self.title, line=self.line, ax=ax)


def span(row, confidence: float, decimals: int = 0, *, of: str = "conf", scale: float = 100) -> str:
    """Return the interval of a row in words, shares as percent."""
    return interval(scale * row[f"{of}_low"], scale * row[f"{of}_high"], confidence, decimals)


@dataclass(frozen=True, eq=False)
class Log:
    """Contacts sorted by case, time and row; what repeats a row in every column is left out."""

    table: pd.DataFrame  # the rows as they came
    rows: np.ndarray  # (n,) their places in the order of case and time
    case: np.ndarray  # (n,) 0, 1, ... ascending
    moment: np.ndarray  # (n,) microseconds
    tied: np.ndarray  # (n,) at the moment of the row before, of the same case, in an order that is not known
    person: str | None
    min_base: int
    labels: dict
    checks: tuple[Check, ...]

    @cached_property
    def first(self) -> np.ndarray:
        """Which rows are the first of their case, (n,) bool."""
        return np.append(True, self.case[1:] != self.case[:-1])

    @cached_property
    def last(self) -> np.ndarray:
        return np.append(self.first[1:], True)

    @cached_property
    def persons(self) -> np.ndarray:
        """Who each case is about, (cases,): the first person that its rows name, or else the case."""
        if self.person not in self.table.columns:
            return np.arange(int(self.case[-1]) + 1)
        return person_codes(self.column(self.person).groupby(self.case).first())

    @cached_property
    def days(self) -> bool:
        """Whether times hold no hours."""
        return bool((self.moment % DAY == 0).all())

    def column(self, name: str) -> pd.Series:
        return self.table[name].iloc[self.rows].reset_index(drop=True)

    def cells(self, by) -> tuple[np.ndarray, list[str]]:
        """Return the group of each row, (n,), and the names of the groups of some columns."""
        cell, names = np.zeros(len(self.rows), dtype=np.int16), ["all"]
        for k, column in enumerate(by):
            code, levels = levels_of(self.column(column))
            words = [{"True": "yes", "False": "no", "nan": "not stated"}.get(str(v), str(v)) for v in levels]
            if len(names) * len(words) > np.iinfo(cell.dtype).max:
                raise DataProblem(
                    f"{' by '.join(by)} makes more than {np.iinfo(cell.dtype).max} groups; group by fewer"
                )
            cell = cell * np.int16(len(words)) + code.astype(np.int16)
            names = [f"{n}, {w}" if k else w for n in names for w in words]
        return cell, names

    def places(self, cell, names, inside) -> list[np.ndarray]:
        """Return which of the rows `inside` are of each group, in their order."""
        at = np.flatnonzero(inside)
        sizes = np.bincount(cell[at], minlength=len(names))
        return np.split(at[np.argsort(cell[at], kind="stable")], np.cumsum(sizes)[:-1])

    def share(self, values, at, confidence: float) -> dict:
        """Return the share of the rows `at` in which `values` hold, Wilson's interval on the base that cases leave."""
        starts = np.flatnonzero(np.append(True, np.diff(self.case[at]) != 0))
        n, share, base = len(at), float(values[at].mean()), len(starts)
        totals = np.add.reduceat(values[at] - share, starts)
        variance = base / max(base - 1, 1) * float(totals @ totals) / n**2
        effective = min(share * (1 - share) / variance, n) if variance > 0 and 0 < share < 1 else float(base)
        low, high = map(float, wilson_interval(share, effective, confidence))
        return {
            "estimate": share,
            "conf_low": low,
            "conf_high": high,
            "n": n,
            "n_effective": effective,
            "persons": base,
        }


def event_log(interactions, case, time, columns=(), *, order=None, ordered=True, duplicates="drop") -> Log:
    """Return contacts in the order of case (a column or several) and time; `journey_paths` says what is refused."""
    source = as_table(interactions)
    require_choice("duplicates", duplicates, ("drop", "keep"))
    if not (case := case or source.person):
        raise DataProblem("interactions name neither case nor customer; give the column that joins contacts")
    keys = [case] if isinstance(case, str) else list(case)
    person = {source.person} if source.person in getattr(source.data, "columns", ()) else set()
    table = frame_of(source.data, dict.fromkeys([*keys, *columns, *filter(None, (time, order)), *person]))
    require_one_id_type(table, keys[0])
    moment = np.zeros(len(table), dtype=np.int64) if time is None else moments(table[time], time)
    code = codes_of(table[keys[0]]) if len(keys) == 1 else table.groupby(keys, sort=False).ngroup().to_numpy(np.int32)
    known = (code >= 0) & (moment > UNKNOWN)
    lost = int(np.sum(~known))
    if lost == len(table):
        raise DataProblem(f"interactions: no row has both {' and '.join(keys)} and {time}")
    at = np.flatnonzero(known) if lost else slice(None)
    rows = sorted_places(moment[at], code[at], [] if order is None else [table[order].to_numpy()[at]])
    rows = np.flatnonzero(known)[rows] if lost else rows
    code, moment = code[rows], moment[rows]
    tied = np.append(False, (code[1:] == code[:-1]) & (moment[1:] == moment[:-1]))
    beside = np.flatnonzero(tied | np.append(tied[1:], False))
    again = np.zeros(len(rows), dtype=bool)
    again[beside] = table.iloc[rows[beside]].duplicated().to_numpy()
    unknown, copies = tied & ~again & (order is None), int(again.sum())
    if copies and duplicates == "drop":
        rows, code, moment, unknown = (values[~again] for values in (rows, code, moment, unknown))
    case_of = np.cumsum(np.append(False, code[1:] != code[:-1]), dtype=np.int32)
    checks = (
        Check("contacts without case or time, left out", lost, "0", not lost),
        Check("exact duplicates, " + ("kept" if duplicates == "keep" else "left out"), copies, "0", not copies, "info"),
        Check("contacts of a case at one moment, order unknown", int(unknown.sum()), "0", not unknown.any()),
    )
    log = Log(table, rows, case_of, moment, unknown, source.person, source.min_base, dict(source.labels), checks)
    if ordered and unknown.any() and not log.days:
        row = table.iloc[rows[np.argmax(unknown)]]
        raise DataProblem(
            f"interactions, row {row.name}: {case} {row[keys[0]]} has different contacts at {row[time]} "
            f"({int(unknown.sum())} such ties); name the column that tells their order with order="
        )
    return log


def codes_of(column: pd.Series) -> np.ndarray:
    """Return a code per value, (n,), -1 where missing."""
    coded = isinstance(column.dtype, pd.CategoricalDtype)
    return column.cat.codes.to_numpy() if coded else pd.factorize(column)[0].astype(np.int32)


def levels_of(column: pd.Series) -> tuple[np.ndarray, list]:
    """Return codes and values in order, missing the last."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype("category")
    code, values = column.cat.codes.to_numpy(), list(column.cat.categories)
    return (np.where(code < 0, len(values), code), [*values, np.nan]) if (code < 0).any() else (code, values)


def frame_of(data, columns) -> pd.DataFrame:
    """Return a frame as it is; of files the columns asked for, texts as codes, with what tells whole rows apart."""
    if isinstance(data, pd.DataFrame):
        require_columns(data, *columns, where="interactions")
        return data
    with opened(data, named="interactions") as relation:
        require_fields(relation, *columns, where="interactions")
        asked = f"SELECT {', '.join(map(quoted, columns))}, hash(source) AS whole_row FROM source"
        table = relation.query("source", asked).to_arrow_table().to_pandas(strings_to_categorical=True)
    coded = table.select_dtypes("category")
    return table.assign(**{c: coded[c].cat.reorder_categories(sorted(coded[c].cat.categories)) for c in coded})


def moments(column: pd.Series, name: str) -> np.ndarray:
    """Return times as microseconds, `UNKNOWN` where missing; refuse what is no time."""
    if not pd.api.types.is_datetime64_any_dtype(column.dtype):
        times = pd.to_datetime(column.astype(str).where(column.notna()), errors="coerce", format="ISO8601")
        numbers = pd.api.types.is_numeric_dtype(column.dtype) and column.notna().any()
        if (lost := column.notna() & (times.isna() | numbers)).any():
            raise DataProblem(
                f"interactions, row {lost.idxmax()}: {name} holds {str(column[lost.idxmax()])!r}, which is not a time "
                f"({int(lost.sum())} of {len(column)} rows are not); write 2024-12-31 18:30:00"
            )
        column = times
    return column.to_numpy(dtype="datetime64[us]").astype(np.int64)


def limit_of(until) -> int:
    """Return a moment given by hand as microseconds."""
    return pd.Timestamp(until).tz_localize(None).value // 1000


def sorted_places(moment, code, ranks) -> np.ndarray:
    """Return the order of codes, moments and ranks; one sort of whole numbers where codes and moments fit into one."""
    key = moment - moment.min()
    key //= max(int(np.gcd.reduce(key)), 1)
    bits = int(key.max()).bit_length()
    if ranks or bits + int(code.max()).bit_length() > 62:
        return np.lexsort((*ranks, moment, code))
    key |= code.astype(np.int64) << bits
    return np.argsort(key, kind="stable")


def yes_or_no(column: pd.Series, name: str) -> np.ndarray:
    """Return a column of yes and no as bool, missing as no; refuse anything else."""
    said = column.astype(str).str.strip().str.lower().where(column.notna(), "no")
    found = said.map(
        dict.fromkeys(("yes", "true", "1", "1.0"), True) | dict.fromkeys(("no", "false", "0", "0.0"), False)
    )
    if found.isna().any():
        raise DataProblem(f"interactions: {name} holds {said[found.isna()].iloc[0]!r}; it must say yes or no, 1 or 0")
    return found.to_numpy(dtype=bool)
