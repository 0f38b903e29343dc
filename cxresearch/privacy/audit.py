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
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch.privacy.base import POOLED
from cxresearch.privacy.dominance import MOST
from cxresearch.privacy.linear import computed, feasible_point, from_rows
from cxresearch.privacy.published import MONEY, OF_PEOPLE, Counted, Saved, read_findings

AVERAGES = ("estimate", "mean", "observed", "responders")  # columns that are a mean, or a sum, of a row's people
REST = "\N{HORIZONTAL ELLIPSIS}"  # whoever no report is about
OF_MONEY = (*OF_PEOPLE, "score", "period", "cohort")  # keys of the rows of a table of such means

Cell = tuple[tuple[str, ...], tuple[str, ...]]  # keys, levels


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


def audit_tables(findings: Sequence[Saved], known: Known = Known()) -> list[Leak]:
    """Return every cell of the findings, all published together, that gives away what is to be hidden."""
    floor = known.min_base or 0
    leaks = [leak for saved in findings for leak in _alone(saved, known)]
    populations = _populations(findings)
    shares = {file: table.get("largest_share") for s in findings for file, table in s.tables.items()}
    # money of which a part is shown: a sum may tell the rest
    dominated = {file for file, share in shares.items() if share is not None and share.ne("").any()}
    for group in populations:
        try:
            leaks += [*_computed(group, known, dominated), *_remainders(group, floor)]
        except ArithmeticError as unsolved:
            why = f"whether it gives a hidden number away was not computed: {unsolved}"
            leaks.append(Leak(group.parts[-1].table, "all", why))
    return leaks + (_differences(findings, floor) if floor > 1 else [])


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
    folder = Path(folder)
    places = (
        sorted(p.name for p in folder.iterdir() if p.is_dir()) if notebooks is None and folder.is_dir() else notebooks
    )
    found = [saved for name in places or () for saved in read_findings(folder / name, only)]
    withheld = {saved.name: leak for saved in found for leak in list(_alone(saved, known))[:1]}
    found = [saved for saved in found if saved.name not in withheld]
    shown = list(beside)
    if not (found and audit_tables([*shown, *found], known)):
        return withheld
    for saved in found:
        alike = [s for s in shown if s.outcome == saved.outcome or s.total == saved.total or s.only != saved.only]
        leaks = audit_tables([*alike, saved], known)
        if leaks:
            withheld[saved.name] = leaks[0]
        else:
            shown.append(saved)
    return withheld


# --- one table -------------------------------------------------------------------------------------------------------


def _alone(saved: Saved, known: Known) -> Iterator[Leak]:
    yield from _small(saved, known.min_base or 0)
    if known.min_base is None or known.min_base > 1:  # a study that hides nobody hides no money either
        yield from _dominated(saved)


def _small(saved: Saved, min_base: int) -> Iterator[Leak]:
    for part in saved.parts:
        if any(key.split(" ")[0] in (*OF_PEOPLE, "people") for key in part.keys):
            for levels, n in part.cells.items():
                if 0 < n < min_base:
                    why = f"its base is shown and lies under the minimum base of {min_base}"
                    yield Leak(part.table, _words(part.keys, levels), why)


def _dominated(saved: Saved) -> Iterator[Leak]:
    for file, table in saved.tables.items():
        keys = {key: f"group {saved.by}" if key == "group" and saved.by else key for key in OF_PEOPLE if key in table}
        if "largest_share" in table.columns:
            share = pd.to_numeric(table["largest_share"], errors="coerce")
            for _, row in table[share > MOST].iterrows():
                named = {name: row[key] for key, name in keys.items()}
                yield Leak(file, _words(named, named.values()), "more than half of its money is one contributor's")
        elif "n" in table.columns and set(AVERAGES) & set(table.columns):
            by_term = "responders" in table.columns and "term" in table.columns and table["term"].isin(MONEY).any()
            if by_term or (saved.money and set(OF_MONEY) & set(table.columns)):
                yield Leak(file, "all", "it averages money and does not say how much of it is one contributor's")


def _words(keys, levels) -> str:
    named = (
        key.removeprefix("group ") if key.startswith("group ") and " of " not in key else key.split(" ")[0]
        for key in keys
    )
    return ", ".join(f"{key}={level}" for key, level in zip(named, levels)) or "all"


# --- all tables together ---------------------------------------------------------------------------------------------


@dataclass
class _Population:
    """Counts that may be of the same people: no two of them differ for the same cell."""

    outcomes: set[str] = field(default_factory=set)
    parts: list[Counted] = field(default_factory=list)
    shown: dict[Cell, float] = field(default_factory=dict)

    def contradicts(self, parts: Sequence[Counted]) -> bool:
        return any(self.shown.get(cell, n) != n for cell, n in _shown(parts).items())

    def add(self, saved: Saved, parts: Sequence[Counted]) -> None:
        self.outcomes.add(saved.outcome)
        self.parts += parts
        self.shown |= _shown(parts)


def _whole(saved: Saved) -> tuple[Cell, float]:
    """Return the cell of all people whom a finding is about, and how many they are."""
    own = sorted((f"group {column}", value) for column, value in saved.only)
    return (tuple(name for name, _ in own), tuple(value for _, value in own)), saved.total


def _shown(parts: Sequence[Counted]) -> dict[Cell, float]:
    return {(p.keys, levels): n for p in parts for levels, n in p.cells.items() if not math.isnan(n)}


def _populations(findings: Sequence[Saved]) -> list[_Population]:
    made: list[_Population] = []
    for saved in findings:
        parts = saved.parts
        for population in made:
            if saved.outcome not in population.outcomes and _whole(saved) not in population.shown.items():
                continue
            if not population.contradicts(parts):
                population.add(saved, parts)
                break
            finer = [p for p in parts if p.table != saved.name]  # the n of a finding may be that of its last wave
            if saved.outcome in population.outcomes and finer and not population.contradicts(finer):
                population.add(saved, finer)
                break
        else:
            made.append(_Population())
            made[-1].add(saved, parts)
    return made


def _remainders(population: _Population, min_base: int) -> Iterator[Leak]:
    """Yield sums of which all groups that are shown, but for fewer people than the base, are told in another table."""
    parts: dict[Cell, float] = {}
    for (keys, levels), n in population.shown.items():
        for i, key in enumerate(keys):
            if key.split(" ")[0] in OF_PEOPLE:
                coarse = ((*keys[:i], *keys[i + 1 :]), (*levels[:i], *levels[i + 1 :]))
                parts[coarse, key] = parts.get((coarse, key), 0.0) + n
    for (coarse, key), told in parts.items():
        rest = population.shown.get(coarse, told) - told
        if 0 < rest < min_base:
            why = f"less what is shown by {key.removeprefix('group ')}, fewer than the minimum base of {min_base} are left"
            yield Leak(population.parts[-1].table, _words(*coarse), why)


def _differences(findings: Sequence[Saved], min_base: int) -> list[Leak]:
    """Return the groups of which one thing is averaged twice, over people of whom fewer than the base differ."""
    found: dict[tuple[str, Cell], set[float]] = {}
    leaks = []
    for saved in findings:
        for (what, cell), n in _averaged(saved).items():
            before = found.setdefault((what, cell), set())
            if any(0 < abs(n - other) < min_base for other in before):
                why = f"{what} is averaged over it twice, and fewer than {min_base} people are not in both"
                leaks.append(Leak(saved.name, _words(*cell), why))
            before.add(n)
    return leaks


def _averaged(saved: Saved) -> dict[tuple[str, Cell], float]:
    """Return what a finding gives means of, and over which people -> how many."""
    found: dict[tuple[str, Cell], float] = {}
    means = {file: table for file, table in saved.tables.items() if set(AVERAGES) & set(table.columns)}
    for part in saved.parts:
        grouped = part.table == saved.name or any(key.split(" ")[0] in (*OF_PEOPLE, "people") for key in part.keys)
        if grouped and (part.table in means or part.table == saved.name):
            shown = {cell: n for cell, n in part.cells.items() if not math.isnan(n)}
            what = saved.outcome if saved.money or saved.outcome not in MONEY else f"{saved.outcome} of some size"
            found |= {(what, (part.keys, levels)): n for levels, n in shown.items()}
    if not any(keys for _, (keys, _) in found) and not any(len(table) == 1 for table in means.values()):
        found = {}  # coefficients, not means
    whole, _ = _whole(saved)
    for table in means.values():
        if {"term", "n"} <= set(table.columns):
            rows = table[table["term"].isin(MONEY)]
            found |= {(term, whole): float(n) for term, n in zip(rows["term"], pd.to_numeric(rows["n"])) if n == n}
    return found


def _computed(population: _Population, known: Known, dominated: set[str]) -> list[Leak]:
    """Return the hidden counts of a population that follow from the shown ones: those under the base, and of money."""
    floor = (known.min_base or math.inf) - 0.5  # a base over it may be shown: it is hidden for another's sake
    parts, pools = _merged(population.parts)
    hidden = {
        (p.keys, levels): p.table
        for p in parts
        for levels, n in p.cells.items()
        if math.isnan(n) and REST not in levels
    }
    given_away = [
        Leak(t, _words(*cell), "its hidden base is shown in another table")
        for cell, t in hidden.items()
        if population.shown.get(cell, math.inf) < floor or (cell in population.shown and t in dominated)
    ]
    asked = {cell: table for cell, table in hidden.items() if cell not in population.shown}
    if not asked and not (known.nested and any(POOLED in levels for _, levels in population.shown)):
        return given_away
    place, equations, left, point = _system(population, parts, pools, known.nested)
    told = {*population.shown, *chain.from_iterable(_with_coarser(p) for p in parts)}
    free = {cell: population.parts[-1].table for cell in place if cell not in told}  # members of a pool
    if point is None:
        cell, table = next(iter((asked or free).items()))
        why = "it cannot be audited, since some table counts less than nobody"
        return [*given_away, Leak(table, _words(*cell), why)]
    asked = {cell: table for cell, table in (asked | free).items() if cell in asked or point[place[cell]] > 0.5}
    largest = max(population.shown.values(), default=1.0)
    own = from_rows([{place[cell]: 1.0} for cell in asked], len(place))
    follows = computed(equations[:, left], own[:, left], point[left] > 1e-6 * max(largest, 1))
    reason = "its hidden base can be computed from the tables of this run"
    return given_away + [
        Leak(table, _words(*cell), reason)
        for (cell, table), leak in zip(asked.items(), follows)
        if leak and (table in dominated or point[place[cell]] < floor)
    ]


def _system(population: _Population, parts: Sequence[Counted], pools: Sequence[dict], nested: Mapping):
    """Return the place of each cell, the equations between cells (sparse), which are not shown, and a solution."""
    cells = dict.fromkeys(chain.from_iterable(_with_coarser(p) for p in parts))
    within = [*_within(cells, population.parts, nested), *([pool] for pool in pools)]
    cells |= dict.fromkeys(cell for rows in within for row in rows for cell in row)
    place = {cell: i for i, cell in enumerate(cells)}
    blocks = [block for p in parts for block in _sums(p, place)]
    blocks += [[{place[cell]: v for cell, v in row.items()} for row in rows] for rows in within]
    point = np.array([population.shown.get(cell, math.nan) for cell in place])
    left = np.isnan(point)

    every = from_rows(list(chain.from_iterable(blocks)), len(place))
    of_block = np.repeat(np.arange(len(blocks)), [len(rows) for rows in blocks])
    unknown, right = every[:, left], -(every[:, ~left] @ point[~left])
    some = np.diff(unknown.indptr) > 0
    # sums that what is shown denies by itself: of known counts, or of counts at least 0 that would be less than nobody
    low, high = unknown.minimum(0).sum(axis=1), unknown.maximum(0).sum(axis=1)
    denied = ((low == 0) & (right < -0.5)) | ((high == 0) & (right > 0.5))
    kept = np.setdiff1d(np.arange(len(blocks)), of_block[denied]).tolist()

    def solved(taken):
        rows = np.isin(of_block, taken) & some
        return feasible_point(unknown[rows], right[rows])

    found, taken = solved(kept), []
    if found is None:  # some table does not add up to another: take in, one after the other, those that do
        while kept:  # as many at once as add up, to the first that does not: each step halves where that is
            good = bisect_left(range(1, len(kept) + 1), True, key=lambda k: solved([*taken, *kept[:k]]) is None)
            taken, kept = [*taken, *kept[:good]], kept[good + 1 :]
        found, kept = solved(taken), taken
    matrix = every[np.isin(of_block, kept)]
    if (point[~left] < 0).any():
        return place, matrix, left, None
    point[left] = found
    return place, matrix, left, point


def _merged(parts: Sequence[Counted]) -> tuple[list[Counted], list[dict[Cell, float]]]:
    """Return the tables, those of reports on parts of the study put together, and equations of what these pool.

    In each there is a place for whoever has no report. What a report pools is what others, or the whole, name.
    """
    found: list[Counted] = []
    together: dict[tuple, dict] = {}
    pools: list[dict[Cell, float]] = []
    for part in parts:
        if part.own:
            together.setdefault((part.table, part.keys, part.own), {}).update(part.cells)
        else:
            found.append(part)
    for (table, keys, own), cells in together.items():
        outer = {tuple(v for k, v in zip(p.keys, levels) if k not in own) for p in found
                 if p.keys == tuple(k for k in keys if k not in own) for levels in p.cells}  # fmt: skip
        inner = {tuple(v for k, v in zip(keys, levels) if k not in own) for levels in cells} | outer
        for pool in [levels for levels in cells if POOLED in levels]:
            at, named = pool.index(POOLED), dict(zip(keys, pool))
            other = [k for k in keys if k not in own]
            levels = [dict(zip(other, some)) for some in inner]
            same = [named | some for some in levels if all(named[k] == some[k] for k in other if k != keys[at])]
            members = [cell for some in same if (cell := tuple(some[k] for k in keys)) not in cells]
            pools.append({(keys, pool): -1.0} | {(keys, cell): 1.0 for cell in members})
            cells = {k: n for k, n in cells.items() if k != pool} | dict.fromkeys(members, math.nan)
        rest = {tuple(REST if k in own else v for k, v in zip(keys, levels)): math.nan for levels in cells}
        found.append(Counted(table, keys, rest | cells, own))
    return found, pools


def _within(cells: Mapping[Cell, None], parts: Sequence[Counted], nested: Mapping) -> Iterator[list[dict[Cell, float]]]:
    """Yield, for two groupings of which one determines the other, the equations between the cells of their tables."""
    tables: dict[tuple[str, ...], dict] = {}
    for keys, levels in cells:
        tables.setdefault(keys, {})[levels] = None
    pooled = {(p.keys, levels) for p in parts if any(POOLED in levels for levels in p.cells) for levels in p.cells}
    for (fine, coarse), lies_in in nested.items():
        for keys, found in tables.items():
            i = keys.index(f"group {fine}") if f"group {fine}" in keys else None
            if i is None or f"group {coarse}" in keys:
                continue
            outer = tuple(sorted({*keys} - {keys[i]} | {f"group {coarse}"}))
            if outer not in tables:
                continue
            rows: dict[Cell, dict[Cell, float]] = {}
            for rest in dict.fromkeys((*levels[:i], *levels[i + 1 :]) for levels in found):
                at = lambda group: (keys, (*rest[:i], group, *rest[i:]))  # noqa: B023, E731
                if (pool := at(POOLED)) in pooled:  # the pool is of those that are not named beside it
                    rows[pool] = {pool: -1.0} | {at(g): 1.0 for g in lies_in if at(g) not in pooled}
                named = dict(zip((*keys[:i], *keys[i + 1 :]), rest))
                for group, whole in lies_in.items():
                    sum_ = (outer, tuple(whole if k == f"group {coarse}" else named[k] for k in outer))
                    rows.setdefault(sum_, {sum_: -1.0})[at(group)] = 1.0
            yield list(rows.values())


def _with_coarser(part: Counted) -> Iterator[Cell]:
    """Yield the cells of a table and of every sum of them over one or more keys."""
    for kept in _subsets(part.keys):
        keys = tuple(part.keys[i] for i in kept)
        for levels in part.cells:
            yield keys, tuple(levels[i] for i in kept)


def _sums(part: Counted, place: dict[Cell, int]) -> Iterator[list[dict[int, float]]]:
    """Yield, for each way to sum a table over keys, the equations that say so."""
    for kept in _subsets(part.keys)[:-1]:
        keys = tuple(part.keys[i] for i in kept)
        rows: dict[Cell, dict[int, float]] = {}
        for levels in part.cells:
            cell = keys, tuple(levels[i] for i in kept)
            rows.setdefault(cell, {place[cell]: -1.0})[place[part.keys, levels]] = 1.0
        yield list(rows.values())


def _subsets(keys) -> list[tuple[int, ...]]:
    """Return the positions kept of each subset of keys, all of them last."""
    return [kept for size in range(len(keys) + 1) for kept in combinations(range(len(keys)), size)]
