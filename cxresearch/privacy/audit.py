"""The audit of a run: can a hidden count be computed from everything that its notebooks publish together?

A table of counts by group and wave, one by group and the n of the whole are sums over the same people. Each hidden n is
asked of all of them at once, by linear programming: it is computed if its smallest possible value is its largest.

What is taken for granted, since an attacker would: tables of one outcome, or with the same n in all, are about the same
people unless they contradict each other; the rows of a table add up to what a coarser table says, unless they cannot.

References
----------
Hundepool et al. (2012), *Statistical Disclosure Control*, 4.3-4.4 (linked tables); Fischetti & Salazar (2001).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch.privacy.dominance import MOST
from cxresearch.privacy.published import OF_PEOPLE, Counted, Saved, counted, read_findings

Cell = tuple[tuple[str, ...], tuple[str, ...]]  # keys, levels


class Leak(NamedTuple):
    """A cell that says, or lets others say, what is to be hidden.

    Attributes
    ----------
    table
        Notebook and file.
    cell
        Such as ``region=East, wave=2024Q1``.
    reason
        What is wrong with it; the number itself is not repeated.
    """

    table: str
    cell: str
    reason: str

    def said(self) -> str:
        return f"{self.table}, {self.cell}: {self.reason}"


def audit_tables(findings: Sequence[Saved], *, min_base: int | None = None) -> list[Leak]:
    """Return every cell of the findings that gives away what is to be hidden; an empty list if all is well.

    Parameters
    ----------
    findings
        Everything that is published together.
    min_base
        A base shown under it is reported, too; None looks only for what can be computed.
    """
    money = min_base is None or min_base > 1  # a study that hides nobody hides no money either
    leaks = [
        leak for saved in findings for leak in (*_small(saved, min_base or 0), *(_dominated(saved) if money else ()))
    ]
    return leaks + [leak for group in _populations(findings) for leak in _computed(group)]


def audit_folder(folder, *, notebooks: Sequence[str] | None = None, min_base: int | None = None) -> dict[str, Leak]:
    """Return the notebooks whose findings must be withheld, each with the first cell that they give away.

    Parameters
    ----------
    folder : path
        Folder of findings: a subfolder for each notebook, as a run writes them.
    notebooks
        In reading order, by default that of the alphabet. Each is audited with those before it that may be shown, so
        that what remains is safe together.
    """
    folder = Path(folder)
    names = (
        sorted(p.name for p in folder.iterdir() if p.is_dir())
        if notebooks is None and folder.is_dir()
        else notebooks or ()
    )
    shown: list[Saved] = []
    withheld: dict[str, Leak] = {}
    for name in names:
        found = read_findings(folder / name)
        leaks = audit_tables([*shown, *found], min_base=min_base) if found else []
        if leaks:
            withheld[name] = leaks[0]
        else:
            shown += found
    return withheld


# --- one table -------------------------------------------------------------------------------------------------------


def _small(saved: Saved, min_base: int) -> Iterator[Leak]:
    for part in counted(saved):
        if any(key.split(" ")[0] in OF_PEOPLE for key in part.keys):
            for levels, n in part.cells.items():
                if 0 < n < min_base:
                    yield Leak(
                        part.table,
                        _words(part.keys, levels),
                        f"its base is shown and lies under the minimum base of {min_base}",
                    )


def _dominated(saved: Saved) -> Iterator[Leak]:
    for file, table in saved.tables.items():
        if "largest_share" in table.columns:
            share = pd.to_numeric(table["largest_share"], errors="coerce")
            for _, row in table[share > MOST].iterrows():
                named = {
                    f"group {saved.by}" if key == "group" and saved.by else key: row[key]
                    for key in OF_PEOPLE
                    if key in table.columns
                }
                yield Leak(file, _words(named, named.values()), "more than half of its money is one contributor's")


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


def _shown(parts: Sequence[Counted]) -> dict[Cell, float]:
    return {(p.keys, levels): n for p in parts for levels, n in p.cells.items() if not math.isnan(n)}


def _populations(findings: Sequence[Saved]) -> list[_Population]:
    made: list[_Population] = []
    for saved in findings:
        parts = list(counted(saved))
        for population in made:
            if saved.outcome not in population.outcomes and population.shown.get(((), ())) != saved.total:
                continue
            if not population.contradicts(parts):
                population.add(saved, parts)
                break
            finer = [p for p in parts if p.keys]  # the n of a finding may be that of its last wave
            if saved.outcome in population.outcomes and finer and not population.contradicts(finer):
                population.add(saved, finer)
                break
        else:
            made.append(_Population())
            made[-1].add(saved, parts)
    return made


def _computed(population: _Population) -> list[Leak]:
    """Return the hidden counts of a population that follow from the shown ones."""
    hidden = {(p.keys, levels): p.table for p in population.parts for levels, n in p.cells.items() if math.isnan(n)}
    given_away = [
        Leak(t, _words(*cell), "its hidden base is shown in another table")
        for cell, t in hidden.items()
        if cell in population.shown
    ]
    asked = {cell: table for cell, table in hidden.items() if cell not in population.shown}
    if not asked:
        return given_away
    from cxresearch.privacy.linear import computed, from_rows

    place, equations, values, point = _system(population)
    if point is None:
        cell, table = next(iter(asked.items()))
        return [
            *given_away,
            Leak(table, _words(*cell), "it cannot be audited, since some table counts less than nobody"),
        ]
    follows = computed(
        equations,
        from_rows([{place[cell]: 1.0} for cell in asked], len(place)),
        point > 1e-6 * max(values.max(initial=0), 1),
    )
    reason = "its hidden base can be computed from the tables of this run"
    return given_away + [
        Leak(table, _words(*cell), reason) for (cell, table), leak in zip(asked.items(), follows) if leak
    ]


def _system(population: _Population):
    """Return the place of each cell, the equations between cells (sparse), their right-hand sides, and a solution."""
    from cxresearch.privacy.linear import feasible_point, from_rows

    place = {
        cell: i for i, cell in enumerate(dict.fromkeys(chain.from_iterable(_with_coarser(p) for p in population.parts)))
    }
    known = [({place[cell]: 1.0}, n) for cell, n in population.shown.items()]
    sums = [block for p in population.parts for block in _sums(p, place)]

    def solved(rows):
        matrix = from_rows([row for row, _ in rows], len(place))
        right = np.array([value for _, value in rows])
        return matrix, right, feasible_point(matrix, right)

    matrix, right, point = solved([*known, *chain.from_iterable(sums)])
    if point is None:  # some table does not add up to another: take in, one by one, those that do
        matrix, right, point = solved(known)
        for block in sums:
            tried = solved([*known, *block])
            if tried[2] is not None:
                (matrix, right, point), known = tried, [*known, *block]
    return place, matrix, right, point


def _with_coarser(part: Counted) -> Iterator[Cell]:
    """Yield the cells of a table and of every sum of them over one or more keys."""
    for kept in _subsets(part.keys):
        keys = tuple(part.keys[i] for i in kept)
        for levels in part.cells:
            yield keys, tuple(levels[i] for i in kept)


def _sums(part: Counted, place: dict[Cell, int]) -> Iterator[list[tuple[dict[int, float], float]]]:
    """Yield, for each way to sum a table over keys, the equations that say so."""
    for kept in _subsets(part.keys)[:-1]:
        keys = tuple(part.keys[i] for i in kept)
        rows = {cell: {i: -1.0} for cell, i in place.items() if cell[0] == keys}
        for levels in part.cells:
            rows[keys, tuple(levels[i] for i in kept)][place[part.keys, levels]] = 1.0
        yield [(row, 0.0) for row in rows.values()]


def _subsets(keys) -> list[tuple[int, ...]]:
    """Return the positions kept of each subset of keys, all of them last."""
    return [kept for size in range(len(keys) + 1) for kept in combinations(range(len(keys)), size)]
