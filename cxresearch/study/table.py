"""One table: from the files that a study declares to checked columns under the study's names, every row counted."""

from collections import Counter, namedtuple
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import StudyProblem, nearest
from cxresearch.privacy import PSEUDONYMS, PseudonymKey, find_identifier, pseudonymise, redact
from cxresearch.sources import GLOB, RawTable, Reading, database_file, expand, read_query, read_table
from cxresearch.study.codes import Cells, Refused, Writing, count, dates, refuse_cells, require_same_codes, row_numbers
from cxresearch.study.document import Document, refuse, say
from cxresearch.study.schema import Column, Revenue, StudyFile, Table

SHOWN = {"ids": 5, "files": 6, "values": 12}
ABOVE_A_TOTAL = 5  # rows whose sum stands below them
LONG = 40  # characters of a cell: such a column holds what people wrote, whatever role it was given
# A checked table, how its rows came about, item -> how often each of its codes was set aside; SHA-256 of queried rows.
Loaded = namedtuple("Loaded", "table waterfall coded digest")
Files = dict[str | None, list[Path]]  # wave (None where the file does not say) -> files
DONE = {"keep": " kept", "zero": " set to 0", "returns": " kept as returns"}


class Waterfall(dict[str, tuple[int, str]]):
    """Rows counted from file to analysis, step -> rows and why some left: received, valid, deduplicated, used."""

    def before_use(self, step: str, rows: int, reason: str) -> "Waterfall":
        """Return the same with a join or a choice of rows before `used`; a later one takes the place of an earlier."""
        before = {name: at for name, at in self.items() if name not in (step, "used")}
        return Waterfall(before | {step: (rows, reason), "used": (rows, "")})

    def table(self) -> pd.DataFrame:
        found = pd.DataFrame([(step, *at) for step, at in self.items()], columns=["step", "rows", "reason"])
        found.insert(2, "removed", -found["rows"].diff().fillna(0).astype(int))
        return found


def reasons(counts: Mapping[str, int]) -> str:
    """Return '3 rows without amount; 1 row ...' from 'without amount' -> 3, ...; what counts nothing is left out."""
    return "; ".join(f"{count(n, 'row')} {why}" for why, n in counts.items() if n)


def find_files(folder: Path, declared: StudyFile, document: Document) -> dict[str, Files]:
    """Return table -> wave -> files, a database being one, too; an absent one is named with its line and neighbours."""
    found, problems = {}, []
    for name, table in ((name, table) for name, table in declared.tables if table is not None):
        base = database_file(table.database, folder) if table.database is not None else None
        asked = {None: table.database} if base else table.files()
        found[name] = {w: [base] * base.is_file() if base else expand(folder / file) for w, file in asked.items()}
        for wave in (wave for wave, files in found[name].items() if not files):
            at = ("database",) if base else ("sources", wave) if wave else ("source",)
            place = base or folder / asked[wave]
            whys = {
                "a pattern that no file matches": GLOB & set(place.name),
                f"but there is no folder {place.parent.name!r}": not place.parent.is_dir(),
                f"which does not exist{nearest(place.name, names_in(place.parent, '*'))}": True,
            }
            why = next(why for why, holds in whys.items() if holds)
            told = say("absent", table=name, written=repr(asked[wave]), why=why)
            problems.append(f"{document.place(('tables', name, *at))}: {told}")
    refuse(problems)
    return found


def names_in(folder: Path, pattern: str) -> list[str]:
    return sorted(p.name for p in folder.glob(pattern) if p.is_file()) if folder.is_dir() else []


def load_table(
    name: str, table: Table, files: Files, *, folder: Path, min_base: int = 1, currency: str | None = None
) -> Loaded:
    """Read, check and name the columns of a table; all its problems are told at once, no count under `min_base`."""
    made, told, frames = Checked(name, table, currency), {}, []
    for wave, path in [(w, path) for w in files or [None] for path in files.get(w, [None])]:
        asked = [*table.declared(), *(Column("names", name=at, asked_by="exclude") for at in table.exclude)]
        wanted: dict[str, str] = {}  # header -> what in `study.yml` asks for it
        for column in (column for column in asked if column.header(wave) is not None):
            wanted.setdefault(column.header(wave), f"{column.asked_by} in study.yml")
        file = path.name if path else f"the query of tables.{name}"
        if table.database is None:
            reading = Reading(**{key: getattr(table, key) for key in Reading._fields})
            raw = read_table(path, wanted=wanted, reading=reading)
        else:
            raw = read_query(table.database, table.query, folder=folder, name=name, wanted=wanted)
        told[path] = ", ".join([f"{file}: {len(raw.frame)} rows", *raw.notes])
        frames.append(made.frame(raw, file, wave))
    refuse(made.problems or made.match_nothing(min_base))
    whole = pd.concat(frames, keys=range(len(frames)))
    shown, more = [*told.values()][: SHOWN["files"]], len(told) - SHOWN["files"]
    notes = "; ".join(shown + [f"and {more} more files"] * (more > 0))
    steps = {"received": (made.received, notes), "valid": (len(whole), reasons(made.counts))}
    if not len(whole):
        raise StudyProblem(say("no rows left", table=name, why=reasons(made.counts)))
    whole, why = _deduplicated(whole, table, made.files)
    steps |= {"deduplicated": (len(whole), why), "used": (len(whole), "")}
    return Loaded(whole.reset_index(drop=True), Waterfall(steps), made.coded, raw.digest)


class Checked:
    """A table while the columns of its files, one after the other, are checked, counted and take the study's names."""

    def __init__(self, name: str, table: Table, currency: str | None):
        self.name, self.table, self.currency, self.ids = name, table, currency, table.id_columns
        self.problems, self.received, self.files = [], 0, []
        self.counts: Counter[str] = Counter()
        self.coded: dict[str, Counter[str]] = {key: Counter() for key in table.items}
        self.excluded: Counter[tuple[str, str]] = Counter()  # header and code of `exclude` -> rows that hold it
        self.stored: dict[str, Counter] = {at: Counter() for at in table.exclude}  # header of `exclude` -> its cells

    def frame(self, raw: RawTable, file: str, wave: str | None) -> pd.DataFrame:
        """Return the checked columns of one file, whose rows the index counts from 0."""
        self.meanings, self.out = raw.meanings, pd.Series(False, index=raw.frame.index)
        self.received += len(raw.frame)
        self.files.append(file)
        for at, codes in self.table.exclude.items():  # these rows go before anything else is asked of them
            cells = Cells(raw.frame[at])
            self.stored[at].update(cells.rows(cells.names).value_counts().to_dict())
            for code in codes:
                found = cells.rows(cells.coded([code]), False)
                self.excluded[at, code] += int(found.sum())
                self._decide(found, "drop", f"with {at} {code} (exclude)")
        self.raw, self.out = raw.frame[~self.out], self.out[~self.out]
        done = {} if wave is None else {"wave": pd.Series(wave, index=self.raw.index, dtype="str")}
        for column in self.table.declared():
            at = column.header(wave)
            stored = self.raw[at] if at is not None else pd.Series(np.nan, index=self.raw.index)
            own = {key: getattr(column.said, key, None) for key in Writing._fields}
            own |= {"time_format": ""} if own["dayfirst"] and not own["time_format"] else {}  # its own word wins
            own |= {"thousands": ""} if not own["thousands"] and own["decimal"] == self.table.thousands else {}
            writing = Writing(**{key: getattr(self.table, key) if said is None else said for key, said in own.items()})
            read = self._item if column.kind == "item" else self._read
            try:
                done |= read(Cells(stored, writing), column, at)
            except Refused as refused:
                self.problems.append(f"{file}: {at} {refused}")
        order = [*(c for c in self.table.columns if c in done), *(c for c in done if c not in self.table.columns)]
        return pd.DataFrame({c: done[c] for c in order}, index=self.raw.index)[~self.out]

    def match_nothing(self, min_base: int) -> list[str]:
        """Return what is wrong with values to exclude and codes of ratings that no row holds: slips pass unseen."""
        problems = []
        for at, code in (pair for pair, n in self.excluded.items() if not n):
            stored = dict(self.stored[at].most_common())
            shown = [f"{cell} ({n if n >= min_base else f'under {min_base}'})" for cell, n in stored.items()]
            told = ", ".join(shown) if len(shown) <= SHOWN["values"] else f"{len(shown)} different values"
            known = dict(column=at, told=told or "nothing", near=nearest(code, list(stored)[: SHOWN["values"]]))
            problems.append(say("excludes nothing", table=self.name, code=repr(code), **known))
        ratings = [key for key, item in self.table.items.items() if item.scale]
        for code in (c for c in self.table.codes if not any(self.coded[key][c] for key in ratings)):
            problems.append(say("code of nothing", table=self.name, code=code, n=len(ratings)))
        return problems

    def _decide(self, where: pd.Series, decision: str, why: str, sentence: str = "", **known) -> None:
        """Refuse the cells at `where`, or leave their rows out, or count them, as was decided."""
        if decision == "error":
            refuse_cells(where, where, sentence, table=self.name, **known)
        elif decision:
            drop = decision == "drop"
            self.counts[why] += int((where & ~self.out if drop else where).sum())
            self.out |= where & drop

    def _read(self, cells: Cells, column: Column, at: str) -> dict[str, pd.Series]:
        """Return a column that is no item, read as the schema says."""
        kind, blank, key, said = column.kind, column.blank, column.name, column.said
        if kind == "flags":
            return {key: cells.flags()}
        if kind in ("names", "moments"):
            found = cells.rows(cells.names) if kind == "names" else dates(cells.column, cells.writing)
        else:
            codes = getattr(said, "codes", ())
            amounts, done = cells.amounts(codes, self.currency)
            self.counts.update(done)
            if (other := amounts.isna() & ~cells.blank(codes)).any():
                examples = ", ".join(repr(str(v)) for v in cells.values[other][:3])
                known = dict(what="amount" if kind == "money" else key, examples=examples)
                cells.refuse(other, "no plain number", advice=cells.advice(codes), **known)
            found = cells.rows(amounts.mask(cells.coded(codes)))
        if kind in ("number", "weight"):
            wrong = {"missing": found.isna() & (blank == "refused"), "negative": found < 0}
            told = [f"is {what} in {count(w.sum(), 'row')} ({row_numbers(w)})" for what, w in wrong.items() if w.any()]
            if told or (kind == "weight" and not found.sum()):
                raise Refused(say("no size" if told else "no weight", told=" and ".join(told), key=key))
        elif blank != "kept":
            rule = getattr(self.table, "missing", "error") if blank == "dropped" else "error"
            sentence = "blank event" if blank == "dropped" else "blank"
            self._decide(found.isna(), rule, f"without {key} (missing: drop)", sentence, key=key)
        if kind == "money":
            self._refuse_a_total(found, at)
            of_customers = isinstance(said, Revenue)
            decisions, sentence = (said, "revenue") if of_customers else (self.table, "negative amount")
            for what in ("missing", "negative") if of_customers else ("negative",):
                where, rule = found.isna() if what == "missing" else found < 0, getattr(decisions, what, "")
                known = dict(what=what, lowest=f"; lowest {found.min():g}" if what == "negative" else "")
                self._decide(where, rule, f"with {what} {key}{DONE.get(rule, '')} ({what}: {rule})", sentence, **known)
                found = found.mask(where, 0.0) if rule == "zero" else found
        return {key: found}

    def _refuse_a_total(self, found: pd.Series, at: str) -> None:
        """Refuse a last amount that is the sum of those above it: a line of totals is nobody."""
        given = found.dropna()
        total = given.iloc[:-1].sum()
        if len(given) <= ABOVE_A_TOTAL or not total or not np.isclose(given.iloc[-1], total, rtol=1e-9, atol=0):
            return
        row = self.raw.loc[given.index[-1]].drop(at).dropna().astype(str).str.strip()
        named = next(((h, text) for h, text in row.items() if text), None)
        remedy = say("exclude it", column=named[0], value=named[1], table=self.name) if named else "correct the file"
        told = dict(at=row_numbers(given.index[-1:]), n=len(given) - 1, total=f"{total:.12g}", remedy=remedy)
        raise Refused(say("total", **told))

    def _item(self, cells: Cells, column: Column, at: str | None) -> dict[str, pd.Series]:
        """Return the columns of an item, NaN where missing or not applicable, and where it is the latter."""
        key, item, stored = column.name, column.said, cells.column
        require_same_codes(self.meanings.codes.get(at, {}), item, key)
        # Answers on a scale, labelled codes and dates are no names; a text is redacted, an id becomes a pseudonym.
        known = item.personal or item.scale or item.labels or item.is_date or {"verbatim", "respondent"} & {*item.role}
        if not known and at and key not in self.ids and (found := find_identifier(at, stored)):
            raise Refused(say("names a person", why=found, key=key))
        split = item.multiple and stored.astype("str").str.split(item.multiple).explode()
        parts = Cells(split, cells.writing) if item.multiple else cells
        held = {code: parts.rows(parts.coded([code]), False) for code in item.aside}
        self.coded.setdefault(key, Counter()).update({code: at.index[at].nunique() for code, at in held.items()})
        never = cells.rows(cells.coded(item.not_applicable), False)
        for low, high in self.meanings.missing.get(at, ()):  # what the file declares; not applicable here stays
            gone = stored == low if low == high else ~digits.outside(stored, low, high) & stored.notna()
            stored = stored.mask(gone & ~never)
        cells = cells if stored is cells.column else Cells(stored, cells.writing)
        if item.is_number:
            columns = {key: cells.scaled(item, key)} | ({f"{key}_met": ~never} if item.not_applicable else {})
        else:
            columns = cells.categories(item, key)
            columns[key] = dates(columns[key], cells.writing) if item.is_date else columns[key]
        if item.type == "number" and not item.scale:
            self._refuse_a_total(columns[key], at)
        return columns


def guarded(frame: pd.DataFrame, table: Table, key: PseudonymKey) -> pd.DataFrame:
    """Return a table as analyses see it: redacted texts, and pseudonyms for ids, by which tables join as before."""
    seen: dict[str, pd.Series] = {}
    for column in table.id_columns:
        twin = next((c for c in seen if frame[c].equals(frame[column])), None)  # cluster: customer is common
        seen[column] = pseudonymise(frame[column], key=key) if twin is None else seen[twin].rename(column)
    texts = (c for c in table.items if c in frame and frame[c].dtype in (object, "str", "category"))
    long = [c for c in texts if any(len(str(v)) > LONG for v in frame[c].dropna().unique())]
    texts = dict.fromkeys(c for c in (*table.text_columns, *long) if c not in seen)
    found = frame.assign(**seen, **{column: redact(frame[column]).texts for column in texts})
    found.attrs[PSEUDONYMS] = table.id_columns
    return found


def _deduplicated(whole: pd.DataFrame, table: Table, files: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Drop rows that repeat another in every declared column; refuse two contents under one id."""
    keys = [column for column in table.unique if column in whole.columns]
    if not keys or keys == ["wave"]:
        return whole, say("no id" if table.unique else "no id of its own")
    repeated = whole.duplicated(keys, keep=False)
    exact = whole[repeated].duplicated()
    kept = whole.drop(exact.index[exact]) if exact.any() else whole
    if groups := [rows for _, rows in kept[kept.duplicated(keys, keep=False)].groupby(keys, sort=False)]:
        shown = []
        for rows in groups[: SHOWN["ids"]]:  # where they stand, and not what they are: an id is a person's
            places = {files[part]: row_numbers(at.index.get_level_values(1)) for part, at in rows.groupby(level=0)}
            shown.append("; ".join(at if len(set(files)) == 1 else f"{file} {at}" for file, at in places.items()))
        more = f" and {len(groups) - SHOWN['ids']} more" if len(groups) > SHOWN["ids"] else ""
        told = dict(
            file=files[0], values=count(len(groups), "value"), shown=", ".join(f"({at})" for at in shown) + more,
            of=" and ".join(getattr(table, key, None) or key for key in keys),
            remedy=say("declare the wave") if "respondent" in keys and "wave" not in keys else "",
        )  # fmt: skip
        raise StudyProblem(say("clash", **told))
    return kept, reasons({"equal to another in every declared column": int(exact.sum())})
