"""One table: from the files that a study declares to checked columns under the study's names, every row counted."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import StudyProblem, nearest
from cxresearch.sources import GLOB, Meanings, RawTable, Reading, database_file, expand, read_query, read_table
from cxresearch.study import codes as cells
from cxresearch.study.codes import Refused, Writing, coded, count, names, row_numbers
from cxresearch.study.document import Document, refuse, say
from cxresearch.study.items import Item, Revenue, header, headers
from cxresearch.study.personal import id_columns, names_a_person
from cxresearch.study.schema import TABLES, As, StudyFile, Table

SHOWN = {"ids": 5, "files": 6, "values": 12}
ABOVE_A_TOTAL = 5  # rows whose sum stands below them


@dataclass(frozen=True)
class Waterfall:
    """Rows counted from the file to the analysis, step -> rows and why some left: received, valid, deduplicated, used."""

    steps: dict[str, tuple[int, str]]

    def before_use(self, step: str, rows: int, reason: str) -> "Waterfall":
        """Return the same with a join or a choice of rows before `used`; a later one takes the place of an earlier."""
        kept = {name: at for name, at in self.steps.items() if name not in (step, "used")}
        return Waterfall(kept | {step: (rows, reason), "used": (rows, "")})

    def table(self) -> pd.DataFrame:
        """Return step, rows, removed, reason."""
        rows = pd.Series([n for n, _ in self.steps.values()], dtype=int)
        whys = [why for _, why in self.steps.values()]
        removed = (rows.shift(fill_value=rows.iloc[0]) - rows) if len(rows) else rows
        return pd.DataFrame({"step": list(self.steps), "rows": rows, "removed": removed, "reason": whys})


def reasons(counts: Mapping[str, int]) -> str:
    """Return '3 rows without amount; 1 row ...' from 'without amount' -> 3, ...; what counts nothing is left out."""
    return "; ".join(f"{count(n, 'row')} {why}" for why, n in counts.items() if n)


class Loaded(NamedTuple):
    """A checked table and how its rows came about."""

    table: pd.DataFrame
    waterfall: Waterfall
    coded: dict[str, Counter]
    """Item -> how often each declared code was set aside."""
    digest: str | None = None
    """Of a query and of the rows that it returned (SHA-256); None for files."""


def find_files(folder: Path, declared: StudyFile, document: Document) -> dict[str, dict[str | None, list[Path]]]:
    """Return table -> wave -> files; every file that is absent is named with its line and its nearest neighbours."""
    found: dict[str, dict[str | None, list[Path]]] = {}
    problems: list[str] = []
    for name in TABLES:
        if (table := getattr(declared.tables, name)) is None:
            continue
        of_waves = found[name] = {wave: expand(folder / written) for wave, written in table.files().items()}
        absent = [
            (("source",) if w is None else ("sources", w), table.files()[w])
            for w, files in of_waves.items()
            if not files
        ]
        file = database_file(table.database, folder) if table.database is not None else None
        absent += [(("database",), table.database)] if file and not file.is_file() else []
        for at, written in absent:
            told = say("absent", table=name, written=repr(written), why=_absent(file or folder / written))
            problems.append(document.problem(("tables", name, *at), told))
    refuse(problems)
    return found


def _absent(path: Path) -> str:
    if GLOB & set(path.name):
        return "a pattern that no file matches"
    if not path.parent.is_dir():
        return f"but there is no folder {path.parent.name!r}"
    return f"which does not exist{nearest(path.name, names_in(path.parent, '*'))}"


def names_in(folder: Path, pattern: str) -> list[str]:
    return sorted(p.name for p in folder.glob(pattern) if p.is_file()) if folder.is_dir() else []


def load_table(
    name: str,
    table: Table,
    files: Mapping[str | None, Sequence[Path]],
    *,
    folder: Path,
    min_base: int = 1,
    currency: str | None = None,
) -> Loaded:
    """Read, check and name the columns of one table.

    Parameters
    ----------
    name, table
        Of the table, for messages; what `study.yml` declares.
    files, folder
        Wave (None without one) -> its files, none for a database; where a database file is looked for.
    min_base
        Counts below it are not told in messages.
    currency
        Of the study: an amount that is written in another is refused.

    Raises
    ------
    StudyProblem
        With every problem of every column, one a line.
    """
    received: dict[str, str] = {}
    parts: list[RawPart] = []
    for wave, file, raw in _raw_tables(name, table, files, folder):
        received[file] = ", ".join([f"{len(raw.frame)} rows", *raw.notes])
        for label, rows in _waves(raw.frame, table, wave, file):
            parts.append(RawPart(rows, file, label, name, table, raw.meanings, currency))
    frames = [part.frame() for part in parts]
    aside = {key: sum((part.coded.get(key, Counter()) for part in parts), Counter()) for key in table.items}
    refuse([p for part in parts for p in part.problems] or _match_nothing(name, table, parts, aside, min_base))
    whole = pd.concat(frames, keys=range(len(frames)))
    shown = [f"{file}: {what}" for file, what in received.items()]
    more = [f"and {len(shown) - SHOWN['files']} more files"] if len(shown) > SHOWN["files"] else []
    counts = sum((part.counts for part in parts), Counter())
    steps = {"received": (sum(part.received for part in parts), "; ".join([*shown[: SHOWN["files"]], *more]))}
    steps["valid"] = (len(whole), reasons(counts))
    whole, why = _deduplicated(whole, table, parts)
    if not len(whole):
        raise StudyProblem(say("no rows left", table=name, why=reasons(counts)))
    steps |= {"deduplicated": (len(whole), why), "used": (len(whole), "")}
    return Loaded(whole.reset_index(drop=True), Waterfall(steps), aside, raw.digest)


def _raw_tables(
    name: str, table: Table, files: Mapping[str | None, Sequence[Path]], folder: Path
) -> Iterator[tuple[str | None, str, RawTable]]:
    """Yield wave, file (or what stands for it in messages) and cells."""
    if table.database is not None:
        found = read_query(table.database, table.query, folder=folder, name=name, wanted=_wanted(table, None))
        file = database_file(table.database, folder)
        yield None, file.name if file else f"the query of tables.{name}", found
    reading = Reading(**{key: getattr(table, key) for key in Reading._fields})
    for wave, paths in files.items():
        for path in paths:
            yield wave, path.name, read_table(path, wanted=_wanted(table, wave), reading=reading)


def _wanted(table: Table, wave: str | None) -> dict[str, str]:
    """Return header -> what in `study.yml` asks for it, for one wave (all waves if None)."""
    wanted: dict[str, str] = {}
    for column, key, _, declared in table.declared():
        met = headers(declared, column).values() if wave is None else [header(declared, column, wave)]
        for h in met:
            if h is not None:
                wanted.setdefault(h, f"{key} in study.yml")
    return wanted | {h: "exclude in study.yml" for h in table.exclude if h not in wanted}


def _waves(frame: pd.DataFrame, table: Table, wave: str | None, file: str) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """Split a file by its wave column where headers differ between waves."""
    column = getattr(table, "wave", None)
    by_wave = {key: item.column for key, item in table.items.items() if isinstance(item.column, dict)}
    if column is None or not by_wave:
        yield wave, frame
        return
    labels = names(frame[column])
    for key, of_waves in by_wave.items():
        for absent in sorted(set(of_waves) - set(labels.dropna())):
            raise StudyProblem(say("wave not held", file=file, key=key, wave=repr(absent), column=column))
    for label in labels.unique():
        rows = labels.isna() if pd.isna(label) else labels == label
        yield (None if pd.isna(label) else label), frame[rows]


def _match_nothing(name: str, table: Table, parts: Sequence["RawPart"], aside: Mapping, min_base: int) -> list[str]:
    """Return what is wrong with values to exclude, and codes of ratings, that no row holds: slips would pass unseen."""
    problems = []
    held = sum((part.excluded for part in parts), Counter())
    for column, code in ((h, c) for h, codes in table.exclude.items() for c in codes if not held[h, c]):
        stored = pd.concat([part.stored[column] for part in parts]).value_counts()
        shown = [f"{value} ({n})" if n >= min_base else f"{value} (under {min_base})" for value, n in stored.items()]
        told = ", ".join(shown) if len(shown) <= SHOWN["values"] else f"{len(shown)} different values"
        near = nearest(code, stored.index[: SHOWN["values"]])
        problems.append(
            say("excludes nothing", table=name, column=column, told=told or "nothing", code=repr(code), near=near)
        )
    ratings = [key for key, item in table.items.items() if item.scale]
    for code in (c for c in table.codes if not any(aside[key][c] for key in ratings)):
        problems.append(say("code of nothing", table=name, code=code, n=len(ratings)))
    return problems


# -- one file --------------------------------------------------------------------------------------------------------


class RawPart:
    """The rows of one file, or of one wave in it, while its columns are checked and take the study's names.

    It collects what is wrong (`problems`), which rows a declaration leaves out (`out`) and how many cells or rows a
    declaration touched (`counts`, `coded`), so that one reading tells the researcher everything.

    Parameters
    ----------
    raw
        The columns as stored; its index counts the file's rows from 0.
    file, wave, name
        For messages, and for headers that differ between waves; of the table.
    table
        What the study declares.
    """

    def __init__(
        self,
        raw: pd.DataFrame,
        file: str,
        wave: str | None,
        name: str,
        table: Table,
        meanings: Meanings,
        currency: str | None,
    ):
        self.file, self.wave, self.name, self.table = file, wave, name, table
        self.meanings, self.currency, self.ids = meanings, currency, id_columns(table)
        self.problems: list[str] = []
        self.coded: dict[str, Counter[str]] = {}  # item -> how often a stored code was set aside
        self.counts: Counter[str] = Counter()
        self.excluded: Counter[tuple[str, str]] = Counter()  # header and code of `exclude` -> rows that hold it
        self.out = pd.Series(False, index=raw.index)
        # Rows that are declared to be no data go before anything else is asked of them.
        self.stored = {header: names(raw[header]) for header in table.exclude}
        for column, code in ((h, c) for h, codes in table.exclude.items() for c in codes):
            found = coded(raw[column], [code])
            self.excluded[column, code] += int(found.sum())
            self._drop(found, f"with {column} {code} (exclude)")
        self.received, self.raw, self.out = len(raw), raw[~self.out], self.out[~self.out]

    def frame(self) -> pd.DataFrame:
        """Return the checked columns under the study's names; what is wrong stands in `problems`."""
        done: dict[str, pd.Series] = {}
        if self.wave is not None:
            done["wave"] = pd.Series(self.wave, index=self.raw.index, dtype="str")
        for column, _, reads, declared in self.table.declared():
            at = header(declared, column, self.wave)
            stored = self.raw[at] if at is not None else pd.Series(np.nan, index=self.raw.index)
            try:
                done |= getattr(self, f"_{reads.kind}")(stored, column, declared, reads)
            except Refused as refused:
                self.problems.append(f"{self.file}: {at} {refused}")
        order = [*(c for c in self.table.columns if c in done), *(c for c in done if c not in self.table.columns)]
        return pd.DataFrame({c: done[c] for c in order}, index=self.raw.index)[~self.out]

    def _drop(self, where: pd.Series, why: str) -> None:
        self.counts[why] += int((where & ~self.out).sum())
        self.out |= where

    def _writing(self, declared: str | Item | Revenue = "") -> Writing:
        own = {key: getattr(declared, key, None) for key in Writing._fields}
        return Writing(**{key: getattr(self.table, key) if said is None else said for key, said in own.items()})

    def _whole(self, found: pd.Series, column: str, reads: As) -> dict[str, pd.Series]:
        """Return a column whose blank cells are allowed, or their rows left out; refused where they are neither."""
        blank = found.isna()
        if reads.blank == "dropped" and getattr(self.table, "missing", None) == "drop":
            self._drop(blank, f"without {column} (missing: drop)")
        elif reads.blank != "kept" and blank.any():
            told = dict(rows=count(blank.sum(), "row"), at=row_numbers(blank))
            remedy = dict(key=column) if reads.blank == "refused" else dict(table=self.name)
            raise Refused(say("blank" if reads.blank == "refused" else "blank event", **told, **remedy))
        return {column: found}

    # -- one method for each way in which a column may be read (the kinds in schema) ---------------------------------

    def _names(self, stored: pd.Series, column: str, _, reads: As) -> dict[str, pd.Series]:
        return self._whole(names(stored), column, reads)

    def _flags(self, stored: pd.Series, column: str, *_) -> dict[str, pd.Series]:
        return {column: cells.flags(stored)}

    def _moments(self, stored: pd.Series, column: str, _, reads: As) -> dict[str, pd.Series]:
        return self._whole(cells.dates(stored, self._writing()), column, reads)

    def _number(self, stored: pd.Series, column: str, _, reads: As) -> dict[str, pd.Series]:
        found = self._numbers(stored, column)
        wrong = {"missing": found.isna() & (reads.blank == "refused"), "negative": found < 0}
        told = [f"is {what} in {count(w.sum(), 'row')} ({row_numbers(w)})" for what, w in wrong.items() if w.any()]
        if told:
            raise Refused(say("no size", told=" and ".join(told), key=column))
        return {column: found}

    def _weight(self, stored: pd.Series, column: str, declared, reads: As) -> dict[str, pd.Series]:
        found = self._number(stored, column, declared, reads)
        if not found[column].sum():
            raise Refused(say("no weight", key=column))
        return found

    def _numbers(self, stored: pd.Series, what: str, declared: str | Revenue = "") -> pd.Series:
        """Return a column as numbers, or say which cells are none; `what` names one of them."""
        writing = self._writing(declared)
        found, told = cells.amounts(stored, writing, getattr(declared, "codes", ()), self.currency)
        self.counts.update(told)
        if n := int(found.other.sum()):
            examples = ", ".join(repr(str(v)) for v in stored[found.other].unique()[:3])
            told = dict(
                n=n, what=what + ("s that are no numbers" if n > 1 else " that is no number"), examples=examples
            )
            raise Refused(
                say("no plain number", **told, at=row_numbers(found.other), advice=cells.advice(stored, found, writing))
            )
        return found.values

    def _money(self, stored: pd.Series, column: str, declared, reads: As) -> dict[str, pd.Series]:
        found = self._numbers(stored, "amount")
        whole = self._whole(found, column, reads)
        self._refuse_a_total(found, declared)
        decision, negative = getattr(self.table, "negative", "kept"), found < 0
        if decision == "error" and negative.any():
            told = dict(rows=count(negative.sum(), "row"), at=row_numbers(negative), lowest=f"{found.min():g}")
            raise Refused(say("negative amount", **told, table=self.name))
        if decision == "drop":
            self._drop(negative, "with negative amount (negative: drop)")
        elif decision == "returns":
            self.counts["with negative amount kept as returns (negative: returns)"] += int(negative.sum())
        return whole

    def _revenue(self, stored: pd.Series, column: str, declared: Revenue, _) -> dict[str, pd.Series]:
        found = self._numbers(stored, "amount", declared)
        self._refuse_a_total(found, declared.column)
        for what, where in (("missing", found.isna()), ("negative", found < 0)):
            decision = getattr(declared, what)
            if where.any() and decision == "error":
                lowest = f"; lowest {found.min():g}" if what == "negative" else ""
                told = dict(rows=count(where.sum(), "row"), at=row_numbers(where), lowest=lowest, table=self.name)
                raise Refused(say("revenue", what=what, **told))
            if decision == "drop":
                self._drop(where, f"with {what} revenue ({what}: drop)")
            else:
                done = "set to 0" if decision == "zero" else "kept"
                self.counts[f"with {what} revenue {done} ({what}: {decision})"] += int(where.sum())
                found = found.mask(where, 0.0) if decision == "zero" else found
        return {column: found}

    def _refuse_a_total(self, found: pd.Series, at: str) -> None:
        """Refuse a last amount that is the sum of those above it: a line of totals is nobody."""
        given = found.dropna()
        total = given.iloc[:-1].sum()
        if len(given) <= ABOVE_A_TOTAL or not total or not np.isclose(given.iloc[-1], total, rtol=1e-9, atol=0):
            return
        row = self.raw.loc[given.index[-1]].drop(at).dropna()
        named = next(((h, text) for h, cell in row.items() if (text := str(cell).strip())), None)
        remedy = say("exclude it", column=named[0], value=named[1], table=self.name) if named else "correct the file"
        raise Refused(
            say("total", at=row_numbers(given.index[-1:]), n=len(given) - 1, total=f"{total:.12g}", remedy=remedy)
        )

    def _item(self, stored: pd.Series, key: str, item: Item, _) -> dict[str, pd.Series]:
        at, writing = header(item, key, self.wave), self._writing(item)
        if problem := cells.contradiction(self.meanings.codes.get(at, {}), item, key):
            raise Refused(problem)
        if key not in self.ids and (why := names_a_person(stored, at, item)):
            raise Refused(say("names a person", why=why, key=key))
        codes = (*item.missing, *item.not_applicable)
        counts = {code: int(coded(stored, [code], writing).sum()) for code in codes}
        for low, high in self.meanings.missing.get(at, ()):  # what the file declares; not applicable here stays
            gone = stored == low if low == high else ~digits.outside(stored, low, high) & stored.notna()
            stored = stored.mask(gone & ~coded(stored, item.not_applicable))
        if item.multiple:
            columns, absent, counts = cells.choices(stored, item, key)
        else:
            values, absent = cells.answers(stored, item, key, writing)
            columns = {key: values}
            if item.type == "number" and not item.scale:
                self._refuse_a_total(values, at)
        self.coded[key] = Counter(counts)
        return columns | ({f"{key}_met": ~absent} if item.not_applicable else {})


# -- one row once ----------------------------------------------------------------------------------------------------


def _deduplicated(whole: pd.DataFrame, table: Table, parts: Sequence[RawPart]) -> tuple[pd.DataFrame, str]:
    """Drop rows that repeat another in every declared column; refuse two contents under one id."""
    keys = [column for column in table.unique if column in whole.columns]
    if not keys or keys == ["wave"]:
        return whole, say("no id" if table.unique else "no id of its own")
    repeated = whole.duplicated(keys, keep=False)
    exact = whole[repeated].duplicated()
    kept = whole.drop(exact.index[exact]) if exact.any() else whole
    clash = kept.duplicated(keys, keep=False)
    if clash.any():
        raise StudyProblem(_clashes(kept[clash], keys, table, parts))
    return kept, reasons({"equal to another in every declared column": int(exact.sum())})


def _clashes(clash: pd.DataFrame, keys: list[str], table: Table, parts: Sequence[RawPart]) -> str:
    groups = list(clash.groupby(keys, sort=False))
    files = list(dict.fromkeys(part.file for part in parts))
    shown = []
    for _, rows in groups[: SHOWN["ids"]]:  # where they stand, and not what they are: an id is a person's
        places = {parts[p].file: row_numbers(at.index.get_level_values(1)) for p, at in rows.groupby(level=0)}
        where = "; ".join(at if len(files) == 1 else f"{file} {at}" for file, at in places.items())
        shown.append(f"({where})")
    more = f" and {len(groups) - SHOWN['ids']} more" if len(groups) > SHOWN["ids"] else ""
    declared = " and ".join(getattr(table, k, None) or k for k in keys)
    remedy = say("declare the wave") if "respondent" in keys and "wave" not in keys else ""
    told = dict(file=files[0], values=count(len(groups), "value"), of=declared, shown=", ".join(shown))
    return say("clash", **told, more=more, remedy=remedy)
