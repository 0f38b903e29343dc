"""Which numbers to hide, so that none can be computed from the rest: for one table, or once for all of a survey.

A cell under the minimum base is hidden (primary suppression). Where sums, or the differences between them and other
cells, would give it away, further cells are hidden, the smallest first (secondary suppression), until a linear
programme can compute no hidden one. A table is a partition of the same people; whatever partition divides the cells of
another adds up to it, so that a grouping that determines another (branches of a region) needs no declaration.

References
----------
Hundepool et al. (2012), *Statistical Disclosure Control*, ch. 4; Cox (1980), *Journal of the American Statistical
Association* 75, 377-385. The choice of further cells is a greedy one: enough are hidden, not always the fewest.
"""

from itertools import combinations, permutations

import numpy as np
import pandas as pd

from cxresearch.privacy.base import MOST
from cxresearch.privacy.linear import computed, from_rows

KEYS = ("group", "segment", "wave")


def hidden_cells(
    table: pd.DataFrame, *, min_base: int, base: str = "n", keys=KEYS, secondary: bool = True
) -> np.ndarray:
    """Return which rows of a table of cells to hide, (k,) bool: the rows add up to a whole that is shown.

    Parameters
    ----------
    table : DataFrame, (k, .)
        One row per cell, by those of the columns `keys` that it has, one or two; their sums (margins) are taken to be
        published as this function would have them published alone.
    min_base, base : int and str
        Cells with a smaller `base` are hidden, and those with a ``largest_share`` over a half; with 1 nothing is.
    secondary : bool
        False hides the small cells only, which protects nothing where margins are known.
    """
    n = table[base].to_numpy(dtype=float, na_value=0.0)
    if min_base > 1 and "largest_share" in table:
        n = np.where(table["largest_share"].astype(float) > MOST, np.minimum(n, min_base - 1), n)
    if min_base <= 1 or not (n < min_base).any():
        return np.zeros(len(n), dtype=bool)
    if not secondary:
        return n < min_base
    codes = [pd.factorize(table[key], sort=False)[0] for key in keys if key in table]
    whole, cells = (np.zeros(len(n), dtype=int), n.sum(keepdims=True)), (np.arange(len(n)), n)
    margins = [(code, np.bincount(code, n)) for code in codes] if len(codes) > 1 else []
    hidden = [closed([whole, margin], [np.zeros(1, dtype=bool)], min_base)[0] for margin in margins]
    return closed([whole, *margins, cells], [np.zeros(1, dtype=bool), *hidden], min_base)[0]


def hide_cells(table: pd.DataFrame, *, min_base: int, base: str = "n", keys=KEYS) -> pd.DataFrame:
    """Return `table`, whose rows add up to a whole, with every value but the keys missing in the `hidden_cells`."""
    hidden = hidden_cells(table, min_base=min_base, base=base, keys=keys)
    told = table.columns.difference(list(keys), sort=False) if hidden.any() else ()
    return table.assign(**{column: table[column].mask(hidden) for column in told})


def hidden_values(values, people, *, min_base: int) -> np.ndarray:
    """Return for which combinations of values, of so many people each, no report is made beside the whole, (k,) bool."""
    keyed = pd.DataFrame({"group": [v[0] for v in values], "n": list(people)})
    keyed = keyed.assign(**{"wave": ["|".join(v[1:]) for v in values]} if len(values[0]) > 1 else {})
    return hidden_cells(keyed, min_base=min_base)


def hidden_of(survey, sample, *, by, wave: bool, of) -> np.ndarray:
    """Return which cells of a sample of a survey to hide, as is decided for all its tables by its groupings, (k,) bool.

    `by` and `wave` are what the cells are made by, `of` the columns that are answered: outside a part of a study they
    say who answered.
    """
    rows, persons = survey.every
    answered = np.array(rows[list(of)].notna().all(axis=1))
    answered[: len(survey)] = False
    answered[sample.rows] = True
    by = by if isinstance(by, str) or not by else by[0] if len(by) == 1 else tuple(by)
    waves = [survey.wave] if survey.wave else []
    declared = [c for role in ("demographic", "segment") for c in survey.columns_of(role) if c in rows]
    declared = list(dict.fromkeys([*declared, *waves]))
    names = list(dict.fromkeys([*survey.only, *([by] if by else []), *(waves if wave else [])]))
    key = (answered.tobytes(), *map(str, set(names) - set(declared)))
    if key not in survey.decided:
        of_waves = {str(name): pd.factorize(rows[name])[0] for name in waves}
        known = survey.decided.setdefault("groups", {})  # they are the same for every question
        for c in (c for c in (*declared, *names) if c not in waves and str(c) not in known):
            known[str(c)] = survey.groups(c).cat.codes.to_numpy()
        codes = {str(c): known[str(c)] for c in (*declared, *names) if c not in waves}
        if "straddling" not in known:
            known["straddling"] = _straddling({str(c): rows[c] for c in declared if c not in waves}, known)
        codes |= of_waves | known["straddling"]
        survey.decided[key] = Lattice(codes, declared, persons, answered, min_base=survey.min_base)
    code, gone = survey.decided[key].hidden(map(str, names))
    hidden = sample.base < survey.min_base
    hidden[sample.cell[gone[code[sample.rows]]]] = True
    return hidden


def _straddling(declared: dict, pooled: dict) -> dict[tuple[str, str], np.ndarray]:
    """Return (fine, coarse) -> codes (N,) of their combinations, where a pool of groups of one that determines another
    lies in several groups of that: which part of the pool is whose is shown nowhere, and known by subtraction.
    """
    found = {}
    for fine, coarse in permutations(declared, 2):
        cells = pd.DataFrame({"fine": pd.factorize(declared[fine])[0], "coarse": pd.factorize(declared[coarse])[0]})
        cells = cells.assign(pool=pooled[fine], outer=pooled[coarse])
        cells = cells[(cells[["fine", "coarse"]] >= 0).all(axis=1)]
        most = cells.groupby("fine")["coarse"].nunique().max(), cells.groupby("pool")["outer"].nunique().max()
        if most[0] == 1 and most[1] > 1 and cells["fine"].nunique() > cells["coarse"].nunique():
            both = pooled[fine].astype(np.int64) * (int(pooled[coarse].max()) + 1) + pooled[coarse]
            found[fine, coarse] = np.where((pooled[fine] < 0) | (pooled[coarse] < 0), -1, both)
    return found


class Lattice:
    """What is hidden of the people of a survey, decided once for every table by its groupings.

    `groupings` are name -> codes (N,) of the groups as they are shown, below 0 where a row has none; the tables by those
    `declared`, alone and in pairs, are closed together, one by others or by more beside these as they are. `persons` (N,)
    says whom a row is about (None: each about somebody else), `answered` (N,) which rows count. A grouping that is called
    by a pair of names is shown nowhere, and can be told all the same.
    """

    def __init__(self, groupings, declared, persons, answered, *, min_base: int):
        self._codes, self._persons, self._answered, self._min_base = groupings, persons, answered, min_base
        self._tables: dict[frozenset, tuple] = {}  # names of groupings -> codes by row and base by code
        self._hidden: dict[frozenset, np.ndarray] = {}
        named = [*sorted(declared), *(name for name in groupings if isinstance(name, tuple))]
        pairs = [frozenset((a, b)) for a, b in combinations(named, 2) if not (isinstance(b, tuple) and a in b)]
        self._decide([frozenset(), *(frozenset([name]) for name in named), *pairs])

    def hidden(self, names) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes (N,) of the table by the groupings `names`, and which of its cells are hidden."""
        names = frozenset(names)
        if names not in self._hidden:
            for fewer in combinations(sorted(names), len(names) - 1):
                self.hidden(fewer)
            self._decide([names])
        code, _ = self._table(names)
        self._tables.clear()  # of a large survey they take much room
        return code, self._hidden[names]

    def _table(self, names: frozenset) -> tuple[np.ndarray, np.ndarray]:
        if names not in self._tables:
            code = np.zeros(len(self._answered), dtype=np.int64)
            for name in sorted(names, key=str):
                own = self._codes[name].astype(np.int64)
                code = np.where((code < 0) | (own < 0), -1, code * (int(own.max(initial=0)) + 1) + own)
            code, found = pd.factorize(np.where(code < 0, -1, code), use_na_sentinel=False)
            unseen = any(isinstance(name, tuple) for name in names)
            lost = np.flatnonzero((found == -1) | unseen)  # rows without a group stay: what is left of a sum is theirs
            people = pd.DataFrame({"cell": code, "person": self._persons if self._persons is not None else 0})
            people = people[self._answered]
            counts = people.groupby("cell")["person"].agg("size" if self._persons is None else "nunique")
            base = counts.reindex(range(len(found)), fill_value=0).to_numpy(dtype=float)
            self._tables[names] = code, base, lost
        return self._tables[names][:2]

    def _decide(self, asked: list[frozenset]) -> None:
        """Close the tables asked for beside those that are decided, which stay as they are."""
        before = [names for names in self._hidden if names not in asked]
        tables = [self._table(names) for names in (*before, *asked)]
        fixed = [self._hidden[names] for names in before]
        lost = [self._tables[names][2] for names in (*before, *asked)]
        self._hidden |= dict(zip(asked, closed(tables, fixed, self._min_base, lost=lost)))


def closed(tables, fixed, min_base: int, *, lost=()) -> list[np.ndarray]:
    """Return which cells of each of `tables` that is not fixed to hide: the small, and what it takes.

    `tables` are partitions of the same u units, codes (u,) and bases (k,); `fixed` says what is hidden of the first, `lost`
    which cells of each are shown to nobody whatever their base (rows without a group).
    """
    start = np.cumsum([0, *(len(base) for _, base in tables)])
    size = np.concatenate([base for _, base in tables])
    free = np.arange(len(size)) >= start[len(fixed)]
    unseen = np.array([start[i] + cell for i, cells in enumerate(lost) for cell in cells], dtype=int)
    hidden = np.concatenate([*fixed, (size < min_base)[free]])
    hidden[unseen] = True
    if (hidden & (size < min_base)).any():
        lines = list(_lines([code for code, _ in tables], start))
        asked = np.ones(len(size), dtype=bool)
        asked[unseen] = (0 < size[unseen]) & (size[unseen] < min_base)
        _close(lines, size, hidden, free, asked, min_base)
    return [hidden[a:b] for a, b in zip(start[len(fixed) :], start[len(fixed) + 1 :])]


def _lines(codes: list[np.ndarray], start):
    """Yield arrays of positions of which the last is the sum of the others: a cell and what another table makes of it."""
    units = np.unique(np.array(codes), axis=1)
    for i, j in permutations(range(len(codes)), 2):
        fine, coarse = units[i], units[j]
        whole = np.empty(int(fine.max()) + 1, dtype=np.int64)
        whole[fine] = coarse
        if (whole[fine] == coarse).all() and (len(whole) > int(coarse.max()) + 1 or i > j):
            order = np.argsort(whole, kind="stable")
            for cells in np.split(order, np.flatnonzero(np.diff(whole[order])) + 1):
                yield np.append(start[i] + cells, start[j] + whole[cells[0]])


def _close(lines, size, hidden, free, asked, min_base: int) -> None:
    """Hide, in place, as many more of the `free` cells as it takes until none that is hidden and asked for follows."""
    while True:
        _complete_lines(lines, size, hidden, free, min_base)
        at = np.flatnonzero(hidden)
        place = {p: i for i, p in enumerate(at.tolist())}
        rows = [{place[p]: -1.0 if p == line[-1] else 1.0 for p in line[hidden[line]].tolist()} for line in lines]
        wanted = np.flatnonzero(asked[at])
        own = from_rows([{i: 1.0} for i in wanted.tolist()], len(at))
        follows = at[wanted][computed(from_rows(list(filter(None, rows)), len(at)), own, size[at] > 0)]
        further = _next(_smallest(follows, size), lines, size, hidden, free) if len(follows) else None
        if further is None:
            return
        hidden[further] = True


def _complete_lines(lines, size, hidden, free, min_base: int) -> None:
    """Hide, in place, the smallest further cell of each line whose sum less its shown cells tells too much."""
    changed = True
    while changed:
        changed = False
        for line in lines:
            cells, gone = line[:-1], hidden[line]
            lone = gone.sum() == 1
            small = not gone[-1] and gone.any() and size[cells][gone[:-1]].sum() < min_base
            shown = cells[~gone[:-1] & free[cells]]
            if (lone or small) and len(shown):
                hidden[_smallest(shown, size)] = changed = True


def _next(place: int, lines, size, hidden, free) -> int | None:
    """Return the cell to hide for the sake of the sum at `place`: in one of its lines, or else anywhere."""
    for cells in (*(line[:-1] for line in lines if place in line), np.arange(len(hidden))):
        shown = cells[~hidden[cells] & free[cells]]
        if len(shown):
            return _smallest(shown, size)
    return None


def _smallest(places, size) -> int:
    """Return the place with the smallest sum above zero, the first of equals; an empty one hides nothing beside it."""
    return int(min(places, key=lambda p: (size[p] == 0, size[p], p)))
