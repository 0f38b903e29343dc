"""The audit of a run: can a hidden count be computed from everything that its notebooks publish together?

A table of counts by group and wave, one by group and the n of the whole are sums over the same people. Each hidden n is
asked of all of them at once, by linear programming: it is computed if its smallest possible value is its largest.

What is taken for granted, since an attacker would: tables of one outcome, or with the same n in all, are about the same
people unless they contradict each other; the rows of a table add up to what a coarser table says, unless they cannot; a
report on a part of the study is about the group that it is a report on; of two groups, or of two questions with almost
as many answers, one holds the other.

References
----------
Hundepool et al. (2012), *Statistical Disclosure Control*, 4.3-4.4 (linked tables); Fischetti & Salazar (2001).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch.privacy.base import MOST, POOLED, dominated_columns
from cxresearch.privacy.linear import closest_point, computed, from_rows
from cxresearch.privacy.published import OF_PEOPLE, Cell, Counted, Saved, read_findings

MONEY = frozenset({"revenue", "revenue_before", "revenue_after", "amount", "spent"})  # as studies and analyses call it
AVERAGES = ("estimate", "mean", "observed", "responders")  # columns that are a mean, or a sum, of a row's people
EXACT = 1e-3  # of counts that add up
REST = "\N{HORIZONTAL ELLIPSIS}"  # whoever no report is about
OF_MONEY = {*OF_PEOPLE, "score", "period", "cohort"}  # keys of the rows of a table of such means

Equation = dict[Cell, float]  # cells that, so often each, add up to nothing


class Leak(NamedTuple):
    """A cell that says, or lets others say, what is to be hidden; the number itself is not repeated."""

    table: str  # notebook and file
    cell: str  # such as region=East, wave=2024Q1
    reason: str

    def said(self) -> str:
        return f"{self.table}, {self.cell}: {self.reason}"


class Known(NamedTuple):
    """What the audit knows of the study."""

    min_base: int | None = None  # a base shown under it is reported; None looks only for what can be computed
    # (column, column) -> group of the first -> the group of the second in which it lies
    nested: Mapping[tuple[str, str], Mapping[str, str]] = {}
    dominated: frozenset[str] = frozenset()  # columns of amounts of which one row has the most in some group

    @classmethod
    def of(cls, tables: Iterable[tuple[pd.DataFrame, pd.DataFrame]], *, min_base: int) -> "Known":
        """Return what is known of tables: of each the groups of its rows by grouping, and the columns without a scale."""
        nested, dominated = {}, set()
        for groups, columns in tables:
            dominated |= dominated_columns(columns, groups, min_base=min_base)
            for fine, coarse in permutations(groups.columns, 2):
                pairs = groups[[fine, coarse]].dropna().drop_duplicates()
                if pairs[fine].is_unique and 1 < pairs[coarse].nunique() < len(pairs):
                    nested[fine, coarse] = dict(zip(pairs[fine], pairs[coarse]))
        return cls(min_base, nested, frozenset(dominated))


def audit_tables(findings: Sequence[Saved], known: Known = Known()) -> list[Leak]:
    """Return every cell of the findings, all published together, that gives away what is to be hidden."""
    floor = known.min_base or 0
    leaks = [leak for saved in findings for leak in _alone(saved, known)]
    shares = {f: table["largest_share"] for s in findings for f, table in s.tables.items() if "largest_share" in table}
    dominated = {file for file, share in shares.items() if share.ne("").any()}  # a sum may tell the hidden rest
    for population in _populations(findings):
        try:
            leaks += [*_computed(population, known, dominated), *_remainders(population, floor)]
        except ArithmeticError as unsolved:
            why = f"whether it gives a hidden number away was not computed: {unsolved}"
            leaks.append(Leak(population.parts[-1].table, "all", why))
    return leaks + (list(_differences(findings, known)) if floor > 1 else [])


def audit_folder(
    folder, known: Known = Known(), *, notebooks: Sequence[str] | None = None, beside: Sequence[Saved] = (), only=()
) -> dict[str, Leak]:
    """Return the findings that must be withheld (``notebook/name``), each with the first cell that they give away.

    Parameters
    ----------
    folder : path
        Folder of findings: a subfolder for each notebook, as a run writes them.
    known
    notebooks
        In reading order, by default that of the alphabet. Where something is given away, each finding is audited with
        those before it that may be shown, so that what remains is safe together.
    beside
        What is published besides.
    only
        Column and value of the part of the study that the folder is about.
    """
    names = sorted(p.name for p in Path(folder).glob("*") if p.is_dir()) if notebooks is None else notebooks
    found = [saved for name in names for saved in read_findings(Path(folder) / name, only)]
    withheld = {saved.name: leak for saved in found for leak in list(_alone(saved, known))[:1]}
    found = [saved for saved in found if saved.name not in withheld]
    shown = list(beside)
    if not (found and audit_tables([*shown, *found], known)):
        return withheld
    for saved in found:
        alike = [s for s in shown if s.item == saved.item or s.total == saved.total or s.only != saved.only]
        leaks = audit_tables([*alike, saved], known)
        if leaks:
            withheld[saved.name] = leaks[0]
        else:
            shown.append(saved)
    return withheld


# --- one table -------------------------------------------------------------------------------------------------------


def _alone(saved: Saved, known: Known) -> Iterator[Leak]:
    """Yield what one finding gives away by itself: small bases, and money of which most may be one contributor's."""
    for part in saved.parts:
        if any(_of_people(key) or key.startswith("people ") for key in part.keys):
            for cell, n in part.cells.items():
                if 0 < n < (known.min_base or 0):
                    why = f"its base is shown and lies under the minimum base of {known.min_base}"
                    yield Leak(part.table, _words(cell), why)
    if known.min_base is not None and known.min_base <= 1:
        return  # a study that hides nobody hides no money either
    for file, table in saved.tables.items():
        keys = {key: f"group {saved.by}" if key == "group" and saved.by else key for key in OF_PEOPLE if key in table}
        if "largest_share" in table.columns:
            share = pd.to_numeric(table["largest_share"], errors="coerce")
            for _, row in table[share > MOST].iterrows():
                cell = _words((name, row[key]) for key, name in keys.items())
                yield Leak(file, cell, "more than half of its money is one contributor's")
        elif {"n"} < {"n", *AVERAGES} & set(table.columns):
            money, own = MONEY | known.dominated, OF_MONEY & set(table.columns) or "term" not in table.columns
            terms = money.intersection(table["term"] if "responders" in table.columns else ())
            features = known.dominated.intersection(table.get("feature", ()))
            if terms or features or (saved.outcome in money and own):
                yield Leak(file, "all", "it averages money and does not say how much of it is one contributor's")


def _of_people(key: str) -> bool:
    return key.split(" ")[0] in OF_PEOPLE


def _words(cell) -> str:
    named = ((k.removeprefix("group ") if " of " not in k else k.split(" ")[0], v) for k, v in sorted(cell))
    return ", ".join(f"{key}={level}" for key, level in named) or "all"


# --- all tables together ---------------------------------------------------------------------------------------------


@dataclass
class _Population:
    """Counts that may be of the same people: no two of them differ for the same cell."""

    items: set[str] = field(default_factory=set)
    parts: list[Counted] = field(default_factory=list)
    shown: dict[Cell, float] = field(default_factory=dict)

    def takes(self, item: str, parts: Sequence[Counted]) -> bool:
        """Add counts, if they contradict none; return whether."""
        shown = {cell: n for part in parts for cell, n in part.cells.items() if not math.isnan(n)}
        if any(self.shown.get(cell, n) != n for cell, n in shown.items()):
            return False
        self.items.add(item)
        self.parts += parts
        self.shown |= shown
        return True


def _populations(findings: Sequence[Saved]) -> list[_Population]:
    made: list[_Population] = []
    for saved in findings:
        alike = [p for p in made if saved.item in p.items or p.shown.get(saved.whole) == saved.total]
        finer = [part for part in saved.parts if part.table != saved.name]  # its n may be that of its last wave
        if not any(
            p.takes(saved.item, saved.parts) or (finer and saved.item in p.items and p.takes(saved.item, finer))
            for p in alike
        ):
            made.append(_Population())
            made[-1].takes(saved.item, saved.parts)
    return made


def _remainders(population: _Population, min_base: int) -> Iterator[Leak]:
    """Yield sums of which all groups that are shown, but for fewer people than the base, are told in another table."""
    told: dict[tuple[Cell, str], float] = defaultdict(float)
    for cell, n in population.shown.items():
        for key, level in sorted(cell):
            if _of_people(key):
                told[cell - {(key, level)}, key] += n
    for (cell, key), n in told.items():
        if 0 < population.shown.get(cell, n) - n < min_base:
            shown = f"less what is shown by {key.removeprefix('group ')}"
            why = f"{shown}, fewer than the minimum base of {min_base} are left"
            yield Leak(population.parts[-1].table, _words(cell), why)


def _differences(findings: Sequence[Saved], known: Known) -> Iterator[Leak]:
    """Yield the groups of which one thing is averaged twice, over people of whom fewer than the base differ."""
    found: dict[tuple[str, Cell], set[float]] = defaultdict(set)
    for saved in findings:
        for (what, cell), n in _averaged(saved, MONEY | known.dominated).items():
            before = found[what, cell]
            if any(0 < abs(n - other) < known.min_base for other in before):
                why = f"{what} is averaged over it twice, and fewer than {known.min_base} people are not in both"
                yield Leak(saved.name, _words(cell), why)
            before.add(n)


def _averaged(saved: Saved, money: frozenset[str]) -> dict[tuple[str, Cell], float]:
    """Return what a finding gives means of, and over which people -> how many."""
    means = {file: table for file, table in saved.tables.items() if set(AVERAGES) & set(table.columns)}
    what, found = saved.outcome if saved.item in money else saved.item, {}
    for part in saved.parts:
        grouped = part.table in means and any(_of_people(key) or key.startswith("people ") for key in part.keys)
        if grouped or part.table == saved.name:
            found |= {(what, cell): n for cell, n in part.cells.items() if not math.isnan(n)}
    if not any(cell for _, cell in found) and not any(len(table) == 1 for table in means.values()):
        found = {}  # coefficients, not means
    for table in means.values():
        if {"term", "n"} <= set(table.columns):
            rows = table[table["term"].isin(money) & table["n"].ne("")]
            found |= {(term, saved.whole): float(n) for term, n in zip(rows["term"], rows["n"])}
    return found


def _computed(population: _Population, known: Known, dominated: set[str]) -> Iterator[Leak]:
    """Yield the hidden counts of a population that follow from the shown ones: those under the base, and of money."""
    floor = (known.min_base or math.inf) - 0.5  # a base over it may be shown: it is hidden for another's sake
    shown, (parts, pools) = population.shown, _merged(population.parts)
    hidden = {cell: part.table for part in parts for cell, n in part.cells.items()
              if math.isnan(n) and all(level != REST for _, level in cell)}  # fmt: skip
    for cell, table in hidden.items():
        if cell in shown and (shown[cell] < floor or table in dominated):
            yield Leak(table, _words(cell), "its hidden base is shown in another table")
    asked = {cell: table for cell, table in hidden.items() if cell not in shown}
    if not asked and not (known.nested and any(POOLED in dict(cell).values() for cell in shown)):
        return
    if min(shown.values(), default=0) < 0:
        cell, table = next(iter((asked or hidden).items()), (frozenset(), population.parts[-1].table))
        yield Leak(table, _words(cell), "it cannot be audited, since some table counts less than nobody")
        return
    sums = [block for part in parts for block in _sums(part)]
    told = dict.fromkeys(chain(shown, *(part.cells for part in parts), *chain.from_iterable(sums)))
    blocks = [*sums, *_within(told, population.parts, known.nested), *pools]
    place = {cell: i for i, cell in enumerate(dict.fromkeys(chain(told, *chain.from_iterable(blocks))))}
    equations, left, point = _system(place, blocks, shown)
    free = {cell: population.parts[-1].table for cell in place if cell not in told}  # members of a pool
    asked |= {cell: table for cell, table in free.items() if point[place[cell]] > 0.5}
    own = from_rows([{place[cell]: 1.0} for cell in asked], len(place))
    follows = computed(equations[:, left], own[:, left], point[left] > 1e-6 * max(shown.values(), default=1.0))
    for (cell, table), leak in zip(asked.items(), follows):
        if leak and (table in dominated or point[place[cell]] < floor):
            yield Leak(table, _words(cell), "its hidden base can be computed from the tables of this run")


def _system(place: Mapping[Cell, int], blocks: Sequence[list[Equation]], shown: Mapping[Cell, float]):
    """Return the equations that hold (sparse), which cells are not shown, and a solution.

    Some table may not add up to another: left out are the ways to sum a table that the smallest change denies.
    """
    point = np.array([shown.get(cell, math.nan) for cell in place])
    left = np.isnan(point)
    rows = [{place[cell]: v for cell, v in row.items()} for block in blocks for row in block]
    every, of_block = from_rows(rows, len(place)), np.repeat(np.arange(len(blocks)), list(map(len, blocks)))
    unknown, right = every[:, left], -(every[:, ~left] @ point[~left])
    # sums that what is shown denies by itself: of known counts, or of counts at least 0 that would be less than nobody
    low, high = unknown.minimum(0).sum(axis=1), unknown.maximum(0).sum(axis=1)
    denied = ((low == 0) & (right < -0.5)) | ((high == 0) & (right > 0.5))
    every, unknown, right, of_block = (
        x[~np.isin(of_block, of_block[denied])] for x in (every, unknown, right, of_block)
    )
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
    found, together, pools = [part for part in parts if not part.own], {}, []
    for part in parts:
        if part.own:
            of = part.table, tuple(part.keys), frozenset(key for key, _ in part.own)
            together.setdefault(of, {}).update(part.cells)
    for (table, keys, own), cells in together.items():
        without = lambda cell: frozenset(pair for pair in cell if pair[0] not in own)  # noqa: B023, E731
        coarse = sorted({*keys} - own)
        inner = dict.fromkeys(map(without, cells))
        inner |= dict.fromkeys(cell for part in found if part.keys == coarse for cell in part.cells)
        for pool in [cell for cell in cells if POOLED in dict(cell).values()]:
            fixed = without(frozenset(pair for pair in pool if pair[1] != POOLED))
            members = [pool - without(pool) | some for some in inner if fixed <= some]
            members = [cell for cell in members if cell not in cells]
            pools.append([{pool: -1.0} | dict.fromkeys(members, 1.0)])
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
    for fine, coarse, lies_in in ((f"group {f}", f"group {c}", lies_in) for (f, c), lies_in in nested.items()):
        for keys in [
            keys for keys in tables if fine in keys and coarse not in keys and keys ^ {fine, coarse} in tables
        ]:
            rows: dict[Cell, Equation] = {}
            for rest in dict.fromkeys(frozenset(pair for pair in cell if pair[0] != fine) for cell in tables[keys]):
                members = {group: rest | {(fine, group)} for group in lies_in}
                if (pool := rest | {(fine, POOLED)}) in pooled:  # the pool is of those that are not named beside it
                    rows[pool] = {pool: -1.0} | {cell: 1.0 for cell in members.values() if cell not in pooled}
                for group, cell in members.items():
                    outer = rest | {(coarse, lies_in[group])}
                    rows.setdefault(outer, {outer: -1.0})[cell] = 1.0
            yield list(rows.values())


def _sums(part: Counted) -> Iterator[list[Equation]]:
    """Yield, for each way to sum a table over keys, the equations that say so."""
    for kept in chain.from_iterable(combinations(part.keys, size) for size in range(len(part.keys))):
        rows: dict[Cell, Equation] = {}
        for cell in part.cells:
            coarse = frozenset(pair for pair in cell if pair[0] in kept)
            rows.setdefault(coarse, {coarse: -1.0})[cell] = 1.0
        yield list(rows.values())
