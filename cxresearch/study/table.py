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
from cxresearch.privacy import PSEUDONYMS, PseudonymKey, find_identifier, pseudonymise, redact
from cxresearch.sources import GLOB, Meanings, RawTable, Reading, database_file, expand, read_query, read_table
from cxresearch.study import codes as cells
from cxresearch.study.codes import Refused, Writing, coded, count, names, refuse_cells, row_numbers
from cxresearch.study.document import Document, refuse, say
from cxresearch.study.schema import As, Item, Revenue, StudyFile, Table, header, headers

SHOWN = {"ids": 5, "files": 6, "values": 12}
ABOVE_A_TOTAL = 5  # rows whose sum stands below them
LONG = 40  # characters of a cell: such a column holds what people wrote, whatever role it was given
BLANK = {"refused": "blank", "dropped": "blank event"}
DONE = {"keep": " kept", "zero": " set to 0", "returns": " kept as returns"}


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
    for name, table in declared.tables:
        if table is None:
            continue
        found[name] = {wave: expand(folder / written) for wave, written in table.files().items()}
        absent = [
            (("source",) if wave is None else ("sources", wave), table.files()[wave], folder / table.files()[wave])
            for wave in (wave for wave, files in found[name].items() if not files)
        ]
        if table.database is not None and (file := database_file(table.database, folder)) and not file.is_file():
            absent.append((("database",), table.database, file))
        for at, written, path in absent:
            told = say("absent", table=name, written=repr(written), why=_absent(path))
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
    """Read, check and name the columns of one table; every problem of every column is in the `StudyProblem` raised.

    `files` are those of each wave (None without one), none for a database. Counts below `min_base` are not told in
    messages; an amount in another currency than that of the study is refused.
    """
    received: dict[str, str] = {}
    parts: list[RawPart] = []
    for wave, file, raw in _raw_tables(name, table, files, folder):
        received[file] = ", ".join([f"{file}: {len(raw.frame)} rows", *raw.notes])
        for label, rows in _waves(raw.frame, table, wave, file):
            parts.append(RawPart(rows, file, label, name, table, raw.meanings, currency))
    frames = [part.frame() for part in parts]
    aside = {key: sum((part.coded.get(key, Counter()) for part in parts), Counter()) for key in table.items}
    refuse([p for part in parts for p in part.problems] or _match_nothing(name, table, parts, aside, min_base))
    whole = pd.concat(frames, keys=range(len(frames)))
    shown = list(received.values())
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
    for column, code in (at for at in table.excluded if not held[at]):
        stored = pd.concat([part.stored[column] for part in parts]).value_counts()
        shown = [f"{value} ({n})" if n >= min_base else f"{value} (under {min_base})" for value, n in stored.items()]
        told = ", ".join(shown) if len(shown) <= SHOWN["values"] else f"{len(shown)} different values"
        known = dict(column=column, told=told or "nothing", near=nearest(code, stored.index[: SHOWN["values"]]))
        problems.append(say("excludes nothing", table=name, code=repr(code), **known))
    ratings = [key for key, item in table.items.items() if item.scale]
    for code in (c for c in table.codes if not any(aside[key][c] for key in ratings)):
        problems.append(say("code of nothing", table=name, code=code, n=len(ratings)))
    return problems


# -- one file --------------------------------------------------------------------------------------------------------


class RawPart:
    """The rows of one file, or of one wave in it, while its columns are checked and take the study's names.

    It collects what is wrong (`problems`), which rows a declaration leaves out (`out`) and how many cells or rows a
    declaration touched (`counts`, `coded`), so that one reading tells the researcher everything. The index of `raw`
    counts the file's rows from 0.
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
        self.meanings, self.currency, self.ids = meanings, currency, table.id_columns
        self.problems: list[str] = []
        self.coded: dict[str, Counter[str]] = {}  # item -> how often a stored code was set aside
        self.counts: Counter[str] = Counter()
        self.excluded: Counter[tuple[str, str]] = Counter()  # header and code of `exclude` -> rows that hold it
        self.out = pd.Series(False, index=raw.index)
        # Rows that are declared to be no data go before anything else is asked of them.
        self.stored = {header: names(raw[header]) for header in table.exclude}
        for column, code in table.excluded:
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

    def _decide(self, cells: pd.Series, where: pd.Series, decision: str, why: str, sentence: str, **known) -> None:
        """Refuse the cells at `where`, or leave their rows out, or count them, as was decided."""
        if decision == "error":
            refuse_cells(cells, where, sentence, table=self.name, **known)
        elif decision == "drop":
            self._drop(where, why)
        elif decision:
            self.counts[why] += int(where.sum())

    def _whole(self, found: pd.Series, column: str, reads: As) -> dict[str, pd.Series]:
        """Return a column whose blank cells are allowed, or their rows left out; refused where they are neither."""
        rule = getattr(self.table, "missing", "error") if reads.blank == "dropped" else "error"
        why = f"without {column} (missing: drop)"
        if reads.blank != "kept":
            self._decide(found, found.isna(), rule, why, BLANK[reads.blank], key=column)
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
        if reads.kind == "weight" and not found.sum():
            raise Refused(say("no weight", key=column))
        return {column: found}

    _weight = _number

    def _numbers(self, stored: pd.Series, what: str, declared: str | Revenue = "") -> pd.Series:
        """Return a column as numbers, or say which cells are none; `what` names one of them."""
        writing = self._writing(declared)
        found, told = cells.amounts(stored, writing, getattr(declared, "codes", ()), self.currency)
        self.counts.update(told)
        if found.other.any():
            examples = ", ".join(repr(str(v)) for v in stored[found.other].unique()[:3])
            known = dict(what=what, examples=examples, advice=cells.advice(stored, found, writing))
            refuse_cells(stored, found.other, "no plain number", **known)
        return found.values

    def _money(self, stored: pd.Series, column: str, declared: str | Revenue, reads: As) -> dict[str, pd.Series]:
        found = self._numbers(stored, "amount", declared)
        self._whole(found, column, reads)
        self._refuse_a_total(found, header(declared, column, self.wave))
        is_revenue = isinstance(declared, Revenue)
        for what in ("missing", "negative") if is_revenue else ("negative",):
            where = found.isna() if what == "missing" else found < 0
            rule = getattr(declared if is_revenue else self.table, what, "")
            lowest = f"; lowest {found.min():g}" if what == "negative" else ""
            known = dict(what=what, lowest=lowest)
            why = f"with {what} {column}{DONE.get(rule, '')} ({what}: {rule})"
            self._decide(found, where, rule, why, "revenue" if is_revenue else "negative amount", **known)
            found = found.mask(where, 0.0) if rule == "zero" else found
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
        cells.require_same_codes(self.meanings.codes.get(at, {}), item, key)
        if key not in self.ids and (why := names_a_person(stored, at, item)):
            raise Refused(say("names a person", why=why, key=key))
        parts = stored.astype("str").str.split(item.multiple).explode() if item.multiple else stored
        codes = {code: coded(parts, [code], writing) for code in (*item.missing, *item.not_applicable)}
        self.coded[key] = Counter({code: found.index[found].nunique() for code, found in codes.items()})
        for low, high in self.meanings.missing.get(at, ()):  # what the file declares; not applicable here stays
            gone = stored == low if low == high else ~digits.outside(stored, low, high) & stored.notna()
            stored = stored.mask(gone & ~coded(stored, item.not_applicable))
        columns, absent = cells.answers(stored, item, key, writing)
        if item.type == "number" and not item.scale:
            self._refuse_a_total(columns[key], at)
        return columns | ({f"{key}_met": ~absent} if item.not_applicable else {})


# -- persons ---------------------------------------------------------------------------------------------------------


def names_a_person(stored: pd.Series, header: str, item: Item) -> str | None:
    """Return why an item's column is left at the door, or None if it may come in.

    Answers on a scale, labelled codes and dates are no names; a text is redacted, an id becomes a pseudonym.
    """
    if item.personal or item.scale or item.labels or item.is_date or {"verbatim", "respondent"} & set(item.role):
        return None
    return find_identifier(header, stored)


def guarded(frame: pd.DataFrame, table: Table, key: PseudonymKey) -> pd.DataFrame:
    """Return a table as analyses see it: pseudonyms instead of ids, redacted texts.

    A study reads ids as they are, since rows are deduplicated and files corrected by them. One id has one pseudonym, so
    that joins between the tables of a study hold.
    """
    seen: dict[str, pd.Series] = {}
    for column in table.id_columns:
        twin = next((c for c in seen if frame[c].equals(frame[column])), None)  # cluster: customer is common
        seen[column] = pseudonymise(frame[column], key=key) if twin is None else seen[twin].rename(column)
    long = [column for column in table.items if column in frame and _is_free_text(frame[column])]
    texts = dict.fromkeys(c for c in (*table.text_columns, *long) if c not in seen)
    found = frame.assign(**seen, **{column: redact(frame[column]).texts for column in texts})
    found.attrs[PSEUDONYMS] = table.id_columns
    return found


def _is_free_text(cells: pd.Series) -> bool:
    return cells.dtype in (object, "str", "category") and any(len(str(v)) > LONG for v in cells.dropna().unique())


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
    groups, files, shown = list(clash.groupby(keys, sort=False)), list(dict.fromkeys(part.file for part in parts)), []
    for _, rows in groups[: SHOWN["ids"]]:  # where they stand, and not what they are: an id is a person's
        places = {parts[p].file: row_numbers(at.index.get_level_values(1)) for p, at in rows.groupby(level=0)}
        shown.append(f"({'; '.join(at if len(files) == 1 else f'{file} {at}' for file, at in places.items())})")
    more = f" and {len(groups) - SHOWN['ids']} more" if len(groups) > SHOWN["ids"] else ""
    declared = " and ".join(getattr(table, k, None) or k for k in keys)
    remedy = say("declare the wave") if "respondent" in keys and "wave" not in keys else ""
    told = dict(file=files[0], values=count(len(groups), "value"), of=declared, shown=", ".join(shown))
    return say("clash", **told, more=more, remedy=remedy)
