"""The audit of a run: can a hidden count be computed from everything that its notebooks publish together?

A table of counts by group and wave, one by group and the n of the whole are sums over the same people. Each hidden n is
asked of all of them at once, by linear programming: it is computed if its smallest possible value is its largest.

What is taken for granted, since an attacker would: tables of one outcome, or with the same n in all, are about the same
people unless they contradict each other; the rows of a table add up to what a coarser table says, unless they cannot; a
report on a part of the study is about the group that it is a report on; of two groups, or of two questions with almost
as many answers, one holds the other.
(Hundepool et al. 2012, *Statistical Disclosure Control*, 4.3-4.4: linked tables.)
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, combinations, permutations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from cxresearch.privacy.suppression import MOST, OF_PEOPLE, POOLED, closest_point, computed

COUNTS = {"n": "wave", "n_before": "wave_before"}  # column of a count -> the column that says its wave
KEYS = (*OF_PEOPLE, "score", "term", "category")
MONEY = frozenset({"revenue", "revenue_before", "revenue_after", "amount", "spent"})  # as studies and analyses call it
AVERAGES = ("estimate", "mean", "observed", "responders")  # columns that are a mean, or a sum, of a row's people
OF_MONEY = {*OF_PEOPLE, "score", "period", "cohort"}  # keys of the rows of a table of such means
EXACT = 1e-3  # of counts that add up
REST = "\N{HORIZONTAL ELLIPSIS}"  # whoever no report is about

Cell = frozenset[tuple[str, str]]  # dimension ("group region", "wave", ...) and level; the whole is empty
Equation = dict[Cell, float]  # cells that, so often each, add up to nothing


class Leak(NamedTuple):
    """A cell that says, or lets others say, what is to be hidden; the number itself is not repeated."""

    table: str  # notebook and file
    cell: str  # such as region=East, wave=2024Q1
    reason: str

    def said(self) -> str:
        return f"{self.table}, {self.cell}: {self.reason}"


class Known(NamedTuple):
    """What the audit knows of the study: its groupings that lie in one another, and its columns of amounts."""

    min_base: int | None = None  # a base shown under it is reported; None looks only for what can be computed
    nested: Mapping[tuple[str, str], Mapping[str, str]] = {}  # fine and coarse -> group of the one -> of the other
    dominated: frozenset[str] = frozenset()  # columns of amounts of which one row has the most in some group

    @classmethod
    def of(cls, tables: Iterable[tuple[pd.DataFrame, pd.DataFrame]], *, min_base: int) -> "Known":
        """Return what is known of tables: of each the groups of its rows by grouping, and the columns without a scale.

        One row *has the most* of a column of amounts (numbers other than 0 and 1) if it has more than half in some group,
        large enough to be shown, that the groupings make alone or in pairs.
        """
        nested, dominated = {}, set()
        for groups, columns in tables:
            for fine, coarse in permutations(groups.columns, 2):
                pairs = groups[[fine, coarse]].dropna().drop_duplicates()
                if pairs[fine].is_unique and 1 < pairs[coarse].nunique() < len(pairs):
                    nested[fine, coarse] = dict(zip(pairs[fine], pairs[coarse]))
            numbers = columns.select_dtypes("number")
            size = numbers.loc[:, ~numbers.isin([0, 1]).where(numbers.notna(), True).all()].abs()
            for keys in chain.from_iterable(combinations(groups.columns, k) for k in (0, 1, 2)):
                parts = size.groupby([groups[key] for key in keys] or np.zeros(len(size)), dropna=False)
                most = (parts.max() > MOST * parts.sum()) & (parts.count() >= min_base)
                dominated |= set(size.columns[most.any()])
        return cls(min_base, nested, frozenset(dominated))


class Counted(NamedTuple):
    """The counts of one table, one per cell."""

    table: str  # name of the file
    cells: dict[Cell, float]  # n; NaN where it is hidden
    own: Cell = frozenset()  # what of each cell says which part of the study the report is about

    @property
    def keys(self) -> list[str]:
        return sorted(key for key, _ in next(iter(self.cells), ()))


@dataclass(frozen=True)
class Release:
    """A finding as `cx.save` wrote it."""

    name: str  # notebook and name of the finding
    outcome: str  # such as revenue, revenue > 0
    by: str | None  # column of its groups
    total: float  # n of the finding as a whole, or NaN
    tables: Mapping[str, pd.DataFrame]  # by file; every cell is text, empty where a value is hidden
    id: str = ""  # what its outputs carry
    only: tuple[tuple[str, str], ...] = ()  # column and value of the part of the study that it is about
    own_leaks: dict = field(default_factory=dict, compare=False)  # by what is known; see `_alone`

    @property
    def item(self) -> str:
        """The column that was measured, whatever of it."""
        return self.outcome.split(" ")[0]

    @property
    def whole(self) -> Cell:
        """The cell of all people whom it is about."""
        return frozenset((f"group {column}", value) for column, value in self.only)

    @cached_property
    def parts(self) -> list[Counted]:
        """The counts of its tables, its own n last; categories of several features each divide all people."""
        split = []
        for file, table in self.tables.items():
            features = table.groupby("feature", sort=False) if {"feature", "category"} <= set(table.columns) else ()
            split += [(f"{file} of {name}", rows) for name, rows in features] or [(file, table)]
        found, people = [], f"group {self.by}" if self.by else f"people of {self.name}"
        for (file, table), (count, wave) in product(split, COUNTS.items()):
            named = {"group": people, "segment": "segment", wave: "wave"}
            columns = [c for c in (wave if key == "wave" else key for key in KEYS) if c in table.columns]
            if count not in table.columns or (count != "n" and wave not in columns):
                continue
            cells: dict[Cell, float] = {}
            values = pd.to_numeric(table[count], errors="coerce").replace([math.inf, -math.inf], math.nan)
            for n, *levels in zip(values, *(table[c] for c in columns)):
                cell = self.whole | frozenset(zip((named.get(c, f"{c} of {file}") for c in columns), levels))
                if not (cells.setdefault(cell, n) == n or math.isnan(n) and math.isnan(cells[cell])):
                    break  # two counts under one key: the rows are told apart by something else
            else:
                found.append(Counted(file, cells, self.whole))
        own = Counted(self.name, {self.whole: float(self.total)}, self.whole)
        return found if math.isnan(self.total) else [*found, own]


def read_findings(folder: Path, only: tuple[tuple[str, str], ...] = ()) -> list[Release]:
    """Return the findings saved in the folder of a notebook, by name; `only` says which part of a study they are about."""
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        record, tables = json.loads(path.read_text(encoding="utf-8")), {}
        for file in record["tables"].values():
            try:
                table = pd.read_csv(path.parent / file, dtype=str, keep_default_na=False)
            except pd.errors.EmptyDataError:  # a table without columns
                table = pd.DataFrame()
            tables[f"{path.parent.name}/{file}"] = table
        total = float(pd.to_numeric(record["glance"].get("n"), errors="coerce") or math.nan)
        name, by = f"{path.parent.name}/{path.stem}", ", ".join(record["by"]) or None
        found.append(Release(name, record["outcome"], by, total, tables, record["id"], only))
    return found


def audit_tables(findings: Sequence[Release], known: Known = Known()) -> list[Leak]:
    """Return every cell of the findings, all published together, that gives away what is to be hidden."""
    leaks = [leak for saved in findings for leak in _alone(saved, known)]
    shares = {f: table["largest_share"] for s in findings for f, table in s.tables.items() if "largest_share" in table}
    dominated = {file for file, share in shares.items() if share.ne("").any()}  # a sum may tell the hidden rest
    for population in _populations(findings):
        try:
            leaks += [*_computed(population, known, dominated), *_remainders(population, known.min_base or 0)]
        except ArithmeticError as unsolved:
            why = f"whether it gives a hidden number away was not computed: {unsolved}"
            leaks.append(Leak(population.parts[-1].table, "all", why))
    return [*leaks, *_differences(findings, known)]


def audit_folder(
    folder, known: Known = Known(), *, notebooks: Sequence[str] | None = None, beside: Sequence[Release] = (), only=()
) -> dict[str, Leak]:
    """Return the findings that must be withheld (``notebook/name``), each with the first cell that they give away.

    `folder` has a subfolder for each of the `notebooks`, in reading order (by default that of the alphabet). Where
    something is given away, each finding is audited with those before it that may be shown and with what is published
    `beside`, so that what remains is safe together. `only` is column and value of the part of the study it is all about.
    """
    names = sorted(p.name for p in Path(folder).glob("*") if p.is_dir()) if notebooks is None else notebooks
    found = [saved for name in names for saved in read_findings(Path(folder) / name, only)]
    withheld = {saved.name: leak for saved in found for leak in _alone(saved, known)[:1]}
    found = [saved for saved in found if saved.name not in withheld]
    shown = list(beside)
    if not (found and audit_tables([*shown, *found], known)):
        return withheld
    for saved in found:
        alike = [s for s in shown if s.item == saved.item or s.total == saved.total or s.only != saved.only]
        if leaks := audit_tables([*alike, saved], known):
            withheld[saved.name] = leaks[0]
        else:
            shown.append(saved)
    return withheld


def _alone(saved: Release, known: Known) -> list[Leak]:
    """Return what one finding gives away by itself, found once: a batch asks of it some hundred times."""
    of = known.min_base, known.dominated
    if of not in saved.own_leaks:
        saved.own_leaks[of] = list(_small_or_dominated(saved, known))
    return saved.own_leaks[of]


def _small_or_dominated(saved: Release, known: Known) -> Iterator[Leak]:
    """Yield small bases, and money of which most may be one contributor's."""
    for table, cell, n in ((p.table, c, n) for p in saved.parts if _of_people(p) for c, n in p.cells.items()):
        if 0 < n < (known.min_base or 0):
            yield Leak(table, _words(cell), f"its base is shown and lies under the minimum base of {known.min_base}")
    if known.min_base is not None and known.min_base <= 1:
        return  # a study that hides nobody hides no money either
    money = MONEY | known.dominated
    for file, table in saved.tables.items():
        if "largest_share" in table.columns:
            keys = {k: f"group {saved.by}" if k == "group" and saved.by else k for k in OF_PEOPLE if k in table}
            share = pd.to_numeric(table["largest_share"], errors="coerce")
            for _, row in table[share > MOST].iterrows():
                cell = _words((name, row[key]) for key, name in keys.items())
                yield Leak(file, cell, "more than half of its money is one contributor's")
        elif {"n"} < {"n", *AVERAGES} & set(table.columns):
            own = OF_MONEY & set(table.columns) or "term" not in table.columns
            terms = money.intersection(table["term"] if "responders" in table.columns else ())
            shown = table[table.get("estimate", table["n"]).ne("")]  # segments hide such means themselves
            if terms or known.dominated.intersection(shown.get("feature", ())) or (saved.outcome in money and own):
                yield Leak(file, "all", "it averages money and does not say how much of it is one contributor's")


def _of_people(part: Counted) -> bool:
    return any(key.split(" ")[0] in (*OF_PEOPLE, "people") for key in part.keys)


def _words(cell) -> str:
    named = ((k.removeprefix("group ") if " of " not in k else k.split(" ")[0], v) for k, v in sorted(cell))
    return ", ".join(f"{key}={level}" for key, level in named) or "all"


def _differences(findings: Sequence[Release], known: Known) -> Iterator[Leak]:
    """Yield the groups of which one thing is averaged twice, over people of whom fewer than the base differ."""
    money, floor = MONEY | known.dominated, known.min_base or 0
    found: dict[tuple[str, Cell], set[float]] = defaultdict(set)
    for saved in findings if floor > 1 else ():
        means = {file: table for file, table in saved.tables.items() if set(AVERAGES) & set(table.columns)}
        what = saved.outcome if saved.item in money else saved.item
        parts = [p for p in saved.parts if p.table == saved.name or p.table in means and _of_people(p)]
        averaged = {(what, cell): n for part in parts for cell, n in part.cells.items() if not math.isnan(n)}
        if not any(cell for _, cell in averaged) and not any(len(table) == 1 for table in means.values()):
            averaged = {}  # coefficients, not means
        for table in (table for table in means.values() if {"term", "n"} <= set(table.columns)):
            rows = table[table["term"].isin(money) & table["n"].ne("")]
            averaged |= {(term, saved.whole): float(n) for term, n in zip(rows["term"], rows["n"])}
        for (what, cell), n in averaged.items():
            if any(0 < abs(n - other) < floor for other in found[what, cell]):
                why = f"{what} is averaged over it twice, and fewer than {floor} people are not in both"
                yield Leak(saved.name, _words(cell), why)
            found[what, cell].add(n)


class _Population(NamedTuple):
    """Counts that may be of the same people: no two of them differ for the same cell."""

    items: set[str]
    parts: list[Counted]
    shown: dict[Cell, float]


def _populations(findings: Sequence[Release]) -> list[_Population]:
    made: list[_Population] = []
    for saved in (saved for saved in findings if saved.parts):
        finer = [part for part in saved.parts if part.table != saved.name]  # its n may be that of its last wave
        alike = [p for p in made if saved.item in p.items or p.shown.get(saved.whole) == saved.total]
        alike = [(p, parts) for p in alike for parts in (saved.parts, finer if saved.item in p.items else ()) if parts]
        for population, parts in [*alike, (_Population(set(), [], {}), saved.parts)]:
            shown = {cell: n for part in parts for cell, n in part.cells.items() if not math.isnan(n)}
            if all(population.shown.get(cell, n) == n for cell, n in shown.items()):
                break
        made += [population] if not population.parts else []
        population.items.add(saved.item)
        population.parts.extend(parts)
        population.shown.update(shown)
    return made


def _remainders(population: _Population, min_base: int) -> Iterator[Leak]:
    """Yield sums of which all groups that are shown, but for fewer people than the base, are told in another table."""
    told: dict[tuple[Cell, str], float] = defaultdict(float)
    for cell, n in population.shown.items():
        for key, level in sorted(cell):
            if key.split(" ")[0] in OF_PEOPLE:
                told[cell - {(key, level)}, key] += n
    for (cell, key), n in told.items():
        if 0 < population.shown.get(cell, n) - n < min_base:
            shown = f"less what is shown by {key.removeprefix('group ')}"
            why = f"{shown}, fewer than the minimum base of {min_base} are left"
            yield Leak(population.parts[-1].table, _words(cell), why)


def _computed(population: _Population, known: Known, dominated: set[str]) -> Iterator[Leak]:
    """Yield the hidden counts of a population that follow from the shown ones: those under the base, and of money."""
    floor = (known.min_base or math.inf) - 0.5  # a base over it may be shown: it is hidden for another's sake
    shown, last, (parts, pools) = population.shown, population.parts[-1].table, _merged(population.parts)
    hidden = {cell: part.table for part in (*parts, *population.parts) for cell, n in part.cells.items()
              if math.isnan(n) and all(level != REST for _, level in cell)}  # fmt: skip
    for cell, table in hidden.items():
        if cell in shown and (shown[cell] < floor or table in dominated):
            yield Leak(table, _words(cell), "its hidden base is shown in another table")
    asked = {cell: table for cell, table in hidden.items() if cell not in shown}
    if not asked and not (known.nested and any(POOLED in dict(cell).values() for cell in shown)):
        return
    if min(shown.values(), default=0) < 0:
        cell, table = next(iter((asked or hidden).items()), (frozenset(), last))
        yield Leak(table, _words(cell), "it cannot be audited, since some table counts less than nobody")
        return
    sums = [
        _adding_up((frozenset(pair for pair in cell if pair[0] in kept), cell) for cell in part.cells)
        for part in parts for size in range(len(part.keys)) for kept in combinations(part.keys, size)
    ]  # fmt: skip
    told = dict.fromkeys(chain(shown, *(part.cells for part in parts), *chain.from_iterable(sums)))
    blocks = [*sums, *_within(told, population.parts, known.nested), *pools]
    place = {cell: i for i, cell in enumerate(dict.fromkeys(chain(told, *chain.from_iterable(blocks))))}
    equations, left, point = _system(place, blocks, shown)
    free = {cell: last for cell in place if cell not in told}  # members of a pool
    asked |= {cell: table for cell, table in free.items() if point[place[cell]] > 0.5}
    own = sparse.eye_array(len(place), format="csr")[np.array([place[cell] for cell in asked], dtype=int)]
    follows = computed(equations[:, left], own[:, left], point[left] > 1e-6 * max(shown.values(), default=1.0))
    for (cell, table), leak in zip(asked.items(), follows):
        if leak and (table in dominated or point[place[cell]] < floor):
            yield Leak(table, _words(cell), "its hidden base can be computed from the tables of this run")


def _adding_up(pairs: Iterable[tuple[Cell, Cell]]) -> list[Equation]:
    """Return equations that say of which cells the first of each pair, a cell, is the sum: of the second ones."""
    rows: dict[Cell, Equation] = {}
    for coarse, fine in pairs:
        rows.setdefault(coarse, {coarse: -1.0})[fine] = 1.0
    return list(rows.values())


def _system(place: Mapping[Cell, int], blocks: Sequence[list[Equation]], shown: Mapping[Cell, float]):
    """Return the equations that hold (sparse), which cells are not shown, and a solution.

    Some table may not add up to another: left out are the ways to sum a table that the smallest change denies.
    """
    point = np.array([shown.get(cell, math.nan) for cell in place])
    left, rows = np.isnan(point), list(chain.from_iterable(blocks))
    at, signs = [place[cell] for row in rows for cell in row], [sign for row in rows for sign in row.values()]
    every = sparse.csr_array((signs, at, np.cumsum([0, *map(len, rows)])), shape=(len(rows), len(place)))
    of_block = np.repeat(np.arange(len(blocks)), list(map(len, blocks)))
    unknown, right = every[:, left], -(every[:, ~left] @ point[~left])
    # sums that what is shown denies by itself: of known counts, or of counts at least 0 that would be less than nobody
    low, high = unknown.minimum(0).sum(axis=1), unknown.maximum(0).sum(axis=1)
    denied = ((low == 0) & (right < -0.5)) | ((high == 0) & (right > 0.5))
    fine = ~np.isin(of_block, of_block[denied])
    every, unknown, right, of_block = every[fine], unknown[fine], right[fine], of_block[fine]
    _, change = closest_point(unknown, right)
    left_out = np.unique(of_block[change > EXACT])
    kept = ~np.isin(of_block, left_out)
    point[left], _ = closest_point(unknown[kept], right[kept])
    for block in left_out:  # the smallest change may be shared by tables of which one is enough
        more = kept | (of_block == block)
        solution, change = closest_point(unknown[more], right[more])
        if change.max() <= EXACT:
            kept, point[left] = more, solution
    return every[kept], left, point


def _merged(parts: Sequence[Counted]) -> tuple[list[Counted], list[list[Equation]]]:
    """Return the tables, those of reports on parts of the study put together, and equations of what these pool.

    In each there is a place for whoever has no report. What a report pools is what others, or the whole, name.
    """
    found, together, pools = [part for part in parts if not part.own], defaultdict(dict), []
    for part in (part for part in parts if part.own):
        together[part.table, tuple(part.keys), frozenset(key for key, _ in part.own)].update(part.cells)
    for (table, keys, own), cells in together.items():
        without = lambda cell: frozenset(pair for pair in cell if pair[0] not in own)  # noqa: B023, E731
        whole = [cell for part in found if part.keys == sorted({*keys} - own) for cell in part.cells]
        inner = dict.fromkeys([*map(without, cells), *whole])
        for pool in [cell for cell in cells if POOLED in dict(cell).values()]:
            fixed = without(frozenset(pair for pair in pool if pair[1] != POOLED))
            members = [pool - without(pool) | some for some in inner if fixed <= some]
            members = [cell for cell in members if cell not in cells]
            if members and without(pool) not in whole:  # otherwise the whole pools them, too: a group like others
                pools.append(_adding_up((pool, cell) for cell in members))
                cells = {k: n for k, n in cells.items() if k != pool} | dict.fromkeys(members, math.nan)
        rest = {without(cell) | {(key, REST) for key in own}: math.nan for cell in cells}
        found.append(Counted(table, rest | cells, frozenset((key, "") for key in own)))
    return found, pools


def _within(cells: Mapping[Cell, None], parts: Sequence[Counted], nested: Mapping) -> Iterator[list[Equation]]:
    """Yield, for two groupings of which one determines the other, the equations between the cells of their tables."""
    tables: dict[frozenset, list[Cell]] = defaultdict(list)
    for cell in cells:
        tables[frozenset(dict(cell))].append(cell)
    pooled = {cell for p in parts if any(POOLED in dict(c).values() for c in p.cells) for cell in p.cells}
    for (fine, coarse), lies_in in nested.items():
        fine, coarse = f"group {fine}", f"group {coarse}"
        for keys in (
            keys for keys in tables if fine in keys and coarse not in keys and keys ^ {fine, coarse} in tables
        ):
            pairs = []
            for rest in dict.fromkeys(frozenset(pair for pair in cell if pair[0] != fine) for cell in tables[keys]):
                pool = rest | {(fine, POOLED)}
                for group, outer in lies_in.items():
                    cell = rest | {(fine, group)}
                    pairs.append((rest | {(coarse, outer)}, cell))
                    if pool in pooled and cell not in pooled:  # the pool is of those that are not named beside it
                        pairs.append((pool, cell))
            yield _adding_up(pairs)
