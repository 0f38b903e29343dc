"""Contacts in the order in which they happened; an order that is not known is refused."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from cxresearch.errors import require_choice, require_columns
from cxresearch.findings import ENDS, Check, Finding, Shown, ends, words
from cxresearch.inference import wilson_interval
from cxresearch.inference.events import opened, quoted, require_one_id_type
from cxresearch.privacy import hide_cells
from cxresearch.survey import Table, as_table
from cxresearch.survey.survey import person_codes

say = words(__package__)
HOUR = 3_600_000_000  # microseconds
UNKNOWN = np.iinfo(np.int64).min  # a time that is missing


class JourneyFinding(Finding):
    """A statement whose rows with their intervals a deck can draw."""

    chart = property(lambda self: Shown("tidy", *ENDS, self.drawn.get("unit", "")))


@dataclass(frozen=True, eq=False)
class Log:
    """Contacts sorted by case and time; what repeats a row in every column is left out."""

    table: pd.DataFrame  # (n, .) the columns asked for
    case: np.ndarray  # (n,) 0, 1, ... ascending
    moment: np.ndarray  # (n,) microseconds
    tied: np.ndarray  # (n,) at the moment of the row before, of the same case, in an order that is not known
    zone: object  # the time zone of the times, None where they name none
    source: Table
    checks: tuple[Check, ...]

    first = cached_property(lambda self: np.append(True, self.case[1:] != self.case[:-1]))  # of its case, (n,) bool
    last = cached_property(lambda self: np.append(self.first[1:], True))
    starts = cached_property(lambda self: np.flatnonzero(self.first))  # (cases,)

    @cached_property
    def persons(self) -> np.ndarray:
        """Who each case is about, (cases,): the first person that its rows name, or else the case."""
        named = pd.Series(self.case) if self.source.person is None else self.table[self.source.person]
        return person_codes(named.groupby(self.case).first())

    @cached_property
    def days(self) -> list[str]:
        """What to say of times that hold no hours."""
        clock = self.clock(self.moment)
        return ["days"] if (clock == clock.normalize()).all() else []

    def clock(self, moments) -> pd.DatetimeIndex:
        """Return moments as the clock showed them."""
        return pd.to_datetime(moments, unit="us", utc=True).tz_convert(self.zone).tz_localize(None)

    def limit(self, until) -> int:
        """Return a moment given by hand, which is in the log's time zone unless it names one, as microseconds."""
        try:
            when = pd.Timestamp(until)
            when = when.tz_localize(self.zone) if when.tzinfo is None or self.zone is None else when
        except ValueError:  # no date, or an hour that the clock skips or shows twice
            say.refuse_if(True, "no_until", until=until)
        return int(when.to_numpy().astype("datetime64[us]").astype(np.int64))

    def said_yes(self, name: str) -> np.ndarray:
        """Return a column of yes and no as bool, missing as no; refuse anything else."""
        said = self.table[name].astype(str).str.strip().str.lower().where(self.table[name].notna(), "no")
        yes = said.isin(["yes", "true", "1", "1.0"])
        refuse_any(~yes & ~said.isin(["no", "false", "0", "0.0"]), "no_yes", said)
        return yes.to_numpy()

    def moved(self, name: str) -> tuple[pd.Series, pd.Series, list[str], np.ndarray]:
        """Return what each row and the one before it say, as codes and names, and where a case moves on, (n,) bool; a row
        that names nobody keeps the case where it was.
        """
        code, names = groups_of(self.table[[name]])
        seen = pd.Series(code).where(self.table[name].notna().to_numpy()).groupby(self.case).ffill()
        before = seen.shift().mask(self.first)
        return seen, before, names, (before.notna() & (seen != before)).to_numpy()

    def label(self, key) -> str:
        return str(self.source.labels.get(key, key))

    def shares(self, marks: dict, by, at, confidence: float) -> tuple[pd.Series, pd.DataFrame]:
        """Return, of all rows `at` and by group, the share of the first mark, on the base that cases leave, and all counts."""
        rows, (cell, names), floor = [], groups_of(self.table[by].iloc[at]), self.source.min_base
        for name, here in (("all", at), *zip(names, map(at.take, pd.Series(cell).groupby(cell).indices.values()))):
            case, hit = self.case[here], next(iter(marks.values()))[here]
            starts = np.flatnonzero(np.append(True, case[1:] != case[:-1]))
            n, cases, share = len(hit), len(starts), hit.mean()
            persons = cases if floor == 1 else len(np.unique(self.persons[case[starts]]))
            totals = np.add.reduceat(hit - share, starts)
            variance = cases / max(cases - 1, 1) * (totals @ totals) / n**2
            told = cases > 1 and 0 < share < 1  # of one case nothing tells how alike its contacts are
            base = min(share * (1 - share) / max(variance, 1e-300), n) if told else cases
            row = {"group": name} | ends("estimate", share, *wilson_interval(share, base, confidence)) | {"n": n}
            row |= {"n_effective": base} | {key: int(mark[here].sum()) for key, mark in marks.items()}
            rows.append(row | {"persons": persons})
        parts = (pd.DataFrame(part) for part in (rows[:1], rows[1:]))
        hidden = (hide_cells(part, min_base=floor, base="persons", keys=("group",)) for part in parts)
        whole, table = (part.drop(columns="persons") for part in hidden)
        return whole.iloc[0], table


def event_log(interactions, case, time, columns=(), *, order=None, ordered=False, duplicates="drop") -> Log:
    """Return contacts in the order of case (a column or several), time and `order`; ties are refused if `ordered`."""
    require_choice("duplicates", duplicates, ("drop", "keep"))
    source = as_table(interactions)
    say.refuse_if(not (case := case or source.person), "no_case")
    keys = [case] if isinstance(case, str) else list(case)
    columns = list(dict.fromkeys(filter(None, (source.person, *columns))))
    table = rows_of(source, list(dict.fromkeys(filter(None, (*keys, time, order, *columns)))))
    for key in keys:
        require_one_id_type(table, key)
    stated = table[keys].replace(r"^\s*$", None, regex=True)  # a blank is nobody's case
    code = stated.groupby(keys, sort=False).ngroup().fillna(-1).to_numpy(dtype=np.int32)
    moment, zone = moments_of(table[time])
    rank = np.zeros(len(table), dtype=np.int8) if order is None else numbers_of(table, order, places=True)
    at = np.flatnonzero((code >= 0) & (moment > UNKNOWN)).astype(np.int32)
    say.refuse_if(not at.size, "nothing_known", keys=" and ".join(keys), time=time)
    at, lost = at[places_of(code[at], moment[at], rank[at])], len(table) - len(at)
    code, moment, rank = code[at], moment[at], rank[at]
    same = np.append(False, (code[1:] == code[:-1]) & (moment[1:] == moment[:-1]) & (rank[1:] == rank[:-1]))
    beside, again = np.flatnonzero(same | np.append(same[1:], False)), np.zeros(len(at), dtype=bool)
    again[beside] = table.iloc[at[beside]].duplicated()
    run, tied = np.cumsum(~same[beside]), same.copy()  # copies of one row alone may stand in any order
    tied[beside] &= np.isin(run, run[(same & ~again)[beside]])
    kept, copies = ~again | (duplicates == "keep"), int(again.sum())
    if not kept.all():
        at, code, moment, tied = (values[kept] for values in (at, code, moment, tied))
    checks = (
        Check("contacts without case or time, left out", lost, "0", not lost),
        Check(f"exact duplicates, {'kept' if duplicates == 'keep' else 'left out'}", copies, "0", not copies, "info"),
        Check("contacts of a case at one moment, order unknown", int(tied.sum()), "0", not tied.any()),
    )
    case_of = np.cumsum(np.append(False, code[1:] != code[:-1]), dtype=np.int32)
    log = Log(table[columns].iloc[at], case_of, moment, tied, zone, source, checks)
    row, told = table.iloc[place := at[np.argmax(tied)]], {"key": keys[0], "n": tied.sum()}
    unclear = ordered and tied.any() and not log.days
    say.refuse_if(unclear, "tied", at=place, case=row[keys[0]], moment=row[time], **told)
    few = source.min_base > 1 and len(np.unique(log.persons)) < source.min_base
    say.refuse_if(few, "few_customers", floor=source.min_base)
    return log


def rows_of(source: Table, columns) -> pd.DataFrame:
    """Return a frame as it is; of files the columns asked for, row by row, with what tells whole rows apart."""
    if isinstance(source.data, pd.DataFrame):
        require_columns(source.data, *columns, where="interactions")
        return source.data
    threads = None if hasattr(source.data, "query") else 1  # several would mix the rows of a file
    with opened(source.data, named="interactions", threads=threads) as relation:
        require_columns(relation, *columns, where="interactions")
        asked, whole = (", ".join(map(quoted, names)) for names in (columns, relation.columns))
        return relation.query("source", f"SELECT {asked}, hash({whole}) FROM source").df()


def places_of(code, moment, rank) -> np.ndarray:
    """Return the order of codes, moments and ranks; whole numbers that fit into one are sorted three times as fast."""
    key = moment - moment.min()
    key //= max(int(np.gcd.reduce(key)), 1)
    if not rank.any() and (span := int(key.max()) + 1) * (int(code.max()) + 1) < 2**63:
        key += code * np.int64(span)
        return np.argsort(key, kind="stable")
    return np.lexsort((rank, moment, code))


def refuse_any(odd, key: str, column: pd.Series) -> None:
    """Refuse a column with `odd` values, (n,) bool, naming the first."""
    row, value = next(column[odd].items(), (None, None))
    say.refuse_if(odd.any(), key, row=row, column=column.name, value=str(value), n=odd.sum(), rows=len(column))


def moments_of(column: pd.Series) -> tuple[np.ndarray, object]:
    """Return times as microseconds, `UNKNOWN` where missing or blank, and their time zone; refuse what is no time."""
    if not pd.api.types.is_datetime64_any_dtype(times := column):
        written = column.astype("string").str.strip().replace("", pd.NA)
        try:
            times = pd.to_datetime(written, errors="coerce", format="ISO8601")
        except ValueError:  # winter and summer
            say.refuse_if(True, "two_zones", column=column.name)
        refuse_any(written.notna() & (times.isna() | pd.api.types.is_numeric_dtype(column)), "no_time", column)
    return times.to_numpy(dtype="datetime64[us]").astype(np.int64), times.dt.tz


def numbers_of(table: pd.DataFrame, column: str, *, places: bool = False) -> np.ndarray:
    """Return numbers as floats, missing where there is none, or as places, those the last; refuse text."""
    values = pd.to_numeric(table[column], errors="coerce")
    refuse_any(values.isna() & table[column].notna(), "no_number", table[column])
    values = values.rank(method="dense", na_option="bottom") if places else values
    return values.to_numpy(dtype=float, na_value=np.nan)


def called(level) -> str:
    """Return what a group is called; a gap in a column of whole numbers turns them into floats."""
    whole = isinstance(level, float) and level.is_integer()
    return {"True": "yes", "False": "no"}.get(str(level), str(int(level) if whole else level))


def groups_of(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return the group that the columns make of each row, (n,), and what the groups are called; without columns all."""
    cell, names = np.zeros(len(table), dtype=np.int32), [()]
    for _, column in table.astype("category").items():
        one, levels = pd.factorize(np.array([*map(called, column.cat.categories), "not stated"], dtype=object))
        names = [(*name, level) for name in names for level in levels]
        cell = cell * len(levels) + one.astype(np.int32)[column.cat.codes]  # -1, missing, is the last
    found = np.bincount(cell, minlength=len(names)) > 0
    place = (np.cumsum(found) - 1).astype(np.min_scalar_type(len(names)))
    return place[cell], [", ".join(name) or "all" for name, there in zip(names, found) if there]


def design_of(table: pd.DataFrame) -> np.ndarray:
    """Return controls (n, p): numbers with columns of "not known", others by value less the first; none constant."""
    many = [name for name in table.select_dtypes("number", "timedelta") if table[name].nunique() > 2]
    numbers, others = table[many].astype(float), table.drop(columns=many).astype(object)
    parts = [pd.get_dummies(column, drop_first=True, dummy_na=True) for _, column in others.items()]
    found = np.column_stack([(numbers - numbers.mean()).fillna(0.0), numbers.isna(), *parts]).astype(float)
    return found[:, np.ptp(found, axis=0) > 0]
