"""Minimum base: which numbers to pool or to hide, so that none can be computed from the rest, in a table or a survey.

A group too small to show is pooled with others. A cell under the base is hidden with its n (primary suppression), and so
is a sum of money in which one contributor stands out, as if few had contributed. Where sums, or the differences between
them and other cells, would give it away, further cells are hidden, the smallest first (secondary suppression), until a
linear programme can compute no hidden one. A table is a partition of the same people; whatever partition divides the
cells of another adds up to it, so that a grouping that determines another (branches of a region) needs no declaration.

What is *computed*: counts x >= 0 are unknown, the rows of a matrix A are sums of them, A x = b those that are published.
A sum s x follows if its minimum over {x >= 0, A x = b} equals its maximum. From any feasible x that is so exactly when no
direction d with A d = 0, and d_i >= 0 where x_i = 0, has s d != 0: the feasible set is convex. Directions add up and can
be made longer, so one programme finds every i with x_i = 0 that some of them raises; the others stay, and the rest go
both ways. A sum moves if it does along one such direction drawn at random, but with probability zero.

References
----------
Hundepool et al. (2012), *Statistical Disclosure Control*, ch. 4 (4.2.2: the (n, k) rule); Fischetti & Salazar (2001),
*Solving the cell suppression problem on tabular data with linear constraints*; Cox (1980), *Journal of the American
Statistical Association* 75, 377-385. The choice of further cells is a greedy one: enough are hidden, not the fewest.
"""

from itertools import chain, combinations, permutations

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from cxresearch.errors import TooFewRespondents

POOLED = "other (below base)"
MOST = 0.5  # of a sum, that one contributor may have
OF_PEOPLE = ("group", "segment", "wave")  # the keys of cells that divide people
TOLERANCE, EXACT = 1e-6, 1e-9  # of what moves a sum, and of what leaves the published ones as they are
DENSE = 400  # counts up to which a direction is computed at once


def pool_small_groups(groups: pd.Series, *, min_base: int) -> pd.Series:
    """Return `groups` with those under `min_base` rows pooled into one.

    The pool takes the next smallest group, too, until it is large enough: otherwise a single small group could be
    read off the difference to the total. Call it on the full table, before complete cases are taken, so that the
    same groups are pooled whatever is missing. A pool that cannot become large enough is hidden by `hide_small_bases`.
    """
    pooled, total = [], 0
    for group, n in sorted(groups.value_counts().items(), key=lambda item: (item[1], str(item[0]))):
        if n >= min_base and (not pooled or (total >= min_base and len(pooled) > 1)):
            break
        pooled.append(group)
        total += n
    return groups.where(~groups.isin(pooled), POOLED).where(groups.notna()) if pooled else groups


def require_base(n: int, *, min_base: int, what: str) -> None:
    """Refuse a result that would rest on fewer than `min_base` rows."""
    if n < min_base:
        raise TooFewRespondents(
            f"{what} rests on fewer than the {min_base} rows that the study's minimum base asks for; nothing is shown"
        )


def largest_share(amounts) -> float:
    """Return the part of a sum that its largest contributor has, 0-1 (0 without money); losses count by their size."""
    size = np.abs(np.asarray(amounts, dtype=float))
    return float(size.max() / size.sum()) if size.sum() > 0 else 0.0


# --- one table -------------------------------------------------------------------------------------------------------


def hide_small_bases(table: pd.DataFrame, *, min_base: int, keys=("group", "wave", "segment", "term")) -> pd.DataFrame:
    """Return `table` with every value, n too, missing in rows whose n is under `min_base`: integers become floats."""
    told = table.columns.difference(list(keys), sort=False)
    return table.assign(**{column: table[column].mask(table["n"] < min_base) for column in told})


def hidden_cells(table, *, min_base: int, base: str = "n", keys=OF_PEOPLE, secondary: bool = True) -> np.ndarray:
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
    if min_base <= 1 or not secondary or not (n < min_base).any():
        return (n < min_base) & (min_base > 1)
    codes = [pd.factorize(table[key], sort=False)[0] for key in keys if key in table]
    whole, cells = (np.zeros(len(n), dtype=int), n.sum(keepdims=True)), (np.arange(len(n)), n)
    margins = [(code, np.bincount(code, n)) for code in codes] if len(codes) > 1 else []
    hidden = [closed([whole, margin], [np.zeros(1, dtype=bool)], min_base)[0] for margin in margins]
    return closed([whole, *margins, cells], [np.zeros(1, dtype=bool), *hidden], min_base)[0]


def hide_cells(table: pd.DataFrame, *, min_base: int, base: str = "n", keys=OF_PEOPLE) -> pd.DataFrame:
    """Return `table`, whose rows add up to a whole, with every value but the keys missing in the `hidden_cells`."""
    hidden = hidden_cells(table, min_base=min_base, base=base, keys=keys)
    told = table.columns.difference(list(keys), sort=False) if hidden.any() else ()
    return table.assign(**{column: table[column].mask(hidden) for column in told})


def hidden_values(values, people, *, min_base: int) -> np.ndarray:
    """Return for which combinations of values, of so many people each, no report is made beside the whole, (k,) bool."""
    keyed = pd.DataFrame({"group": [v[0] for v in values], "n": list(people)})
    keyed = keyed.assign(**{"wave": ["|".join(v[1:]) for v in values]} if len(values[0]) > 1 else {})
    return hidden_cells(keyed, min_base=min_base)


# --- all tables of a survey ------------------------------------------------------------------------------------------


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
    groupings = [c for role in ("demographic", "segment") for c in survey.columns_of(role) if c in rows]
    declared = list(dict.fromkeys([*groupings, *waves]))
    names = list(dict.fromkeys([*survey.only, *([by] if by else []), *(waves if wave else [])]))
    key = (answered.tobytes(), *map(str, set(names) - set(declared)))
    if key not in survey.decided:
        codes = survey.decided.setdefault("codes", {})  # they are the same for every question
        for c in (c for c in (*declared, *names) if str(c) not in codes):
            codes[str(c)] = pd.factorize(rows[c])[0] if c in waves else survey.groups(c).cat.codes.to_numpy()
        if "straddling" not in survey.decided:
            survey.decided["straddling"] = _straddling(rows, codes, [c for c in declared if c not in waves])
        straddling = survey.decided["straddling"]
        survey.decided[key] = Lattice(codes, declared, straddling, persons, answered, min_base=survey.min_base)
    code, gone = survey.decided[key].hidden(map(str, names))
    hidden = sample.base < survey.min_base
    hidden[sample.cell[gone[code[sample.rows]]]] = True
    return hidden


def _straddling(rows: pd.DataFrame, codes: dict, declared: list) -> list[tuple[str, str]]:
    """Return the pairs of a grouping and one that it determines of which a pool of the first lies in several groups of the
    second: which part of the pool is whose is shown nowhere, and known by subtraction.
    """
    found = []
    for fine, coarse in permutations(declared, 2):
        cells = pd.DataFrame({"fine": pd.factorize(rows[fine])[0], "coarse": pd.factorize(rows[coarse])[0]})
        cells = cells.assign(pool=codes[str(fine)], outer=codes[str(coarse)])[(cells >= 0).all(axis=1)]
        most = cells.groupby("fine")["coarse"].nunique().max(), cells.groupby("pool")["outer"].nunique().max()
        if most[0] == 1 and most[1] > 1 and cells["fine"].nunique() > cells["coarse"].nunique():
            found.append((str(fine), str(coarse)))
    return found


class Lattice:
    """What is hidden of the people of a survey, decided once for every table by its groupings.

    `codes` are name -> (N,) of the groups as they are shown, below 0 where a row has none; the tables by those `declared`,
    alone and in pairs, are closed together, one by others or by more beside these as they are. Of pairs that are
    `straddling` the table is shown nowhere, and can be told all the same. `persons` (N,) says whom a row is about (None:
    each about somebody else), `answered` (N,) which rows count.
    """

    def __init__(self, codes, declared, straddling, persons, answered, *, min_base: int):
        self._codes, self._answered, self._min_base = codes, answered, min_base
        self._persons = np.arange(len(answered)) if persons is None else persons
        self._tables: dict[frozenset, tuple] = {}  # groupings -> codes by row, base by code, codes shown to nobody
        self._hidden: dict[frozenset, np.ndarray] = {}
        named = [*sorted(declared), *straddling]
        pairs = [frozenset((a, b)) for a, b in combinations(named, 2) if not (isinstance(b, tuple) and a in b)]
        self._decide([frozenset(), *(frozenset([name]) for name in named), *pairs])

    def hidden(self, names) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes (N,) of the table by the groupings `names`, and which of its cells are hidden."""
        names = frozenset(names)
        if names not in self._hidden:
            for fewer in combinations(sorted(names), len(names) - 1):
                self.hidden(fewer)
            self._decide([names])
        code = self._table(names)[0]
        self._tables.clear()  # of a large survey they take much room
        return code, self._hidden[names]

    def _table(self, names: frozenset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if names not in self._tables:
            straddling = {name for name in names if isinstance(name, tuple)}
            code = np.zeros(len(self._answered), dtype=np.int64)
            for name in sorted({*chain(names - straddling, *straddling)}):
                own = self._codes[name].astype(np.int64)
                code = np.where((code < 0) | (own < 0), -1, code * (int(own.max(initial=0)) + 1) + own)
            code, found = pd.factorize(code, use_na_sentinel=False)
            people = pd.DataFrame({"cell": code, "person": self._persons})[self._answered].drop_duplicates()
            base = np.bincount(people["cell"], minlength=len(found)).astype(float)
            # rows without a group stay: what is left of a sum is theirs
            self._tables[names] = code, base, np.flatnonzero((found == -1) | bool(straddling))
        return self._tables[names]

    def _decide(self, asked: list[frozenset]) -> None:
        """Close the tables asked for beside those that are decided, which stay as they are."""
        before = list(self._hidden)
        codes, bases, lost = zip(*map(self._table, (*before, *asked)))
        fixed = list(self._hidden.values())
        self._hidden |= dict(zip(asked, closed(list(zip(codes, bases)), fixed, self._min_base, lost=lost)))


def closed(tables, fixed, min_base: int, *, lost=()) -> list[np.ndarray]:
    """Return which cells of each of `tables` that is not fixed to hide: the small, and what it takes.

    `tables` are partitions of the same u units, codes (u,) and bases (k,); `fixed` says what is hidden of the first, `lost`
    which cells of each are shown to nobody whatever their base (rows without a group).
    """
    start = np.cumsum([0, *(len(base) for _, base in tables)])
    size = np.concatenate([base for _, base in tables])
    free = np.arange(len(size)) >= start[len(fixed)]
    unseen = np.array([start[i] + cell for i, cells in enumerate(lost) for cell in cells], dtype=int)
    hidden, asked = np.concatenate([*fixed, (size < min_base)[free]]), np.ones(len(size), dtype=bool)
    hidden[unseen], asked[unseen] = True, (0 < size[unseen]) & (size[unseen] < min_base)
    lines = list(_lines([code for code, _ in tables], start)) if (hidden & (size < min_base)).any() else []
    ends = np.cumsum(list(map(len, lines)))
    signs = np.where(np.isin(np.arange(ends[-1] if lines else 0), ends - 1), -1.0, 1.0)
    sums = sparse.csr_array((signs, np.concatenate([*lines, unseen[:0]]), [0, *ends]), shape=(len(lines), len(size)))

    def smallest(cells) -> int | None:  # above zero, the first of equals: an empty one hides nothing beside it
        return min(cells.tolist(), key=lambda p: (size[p] == 0, size[p], p), default=None)

    def shown(cells):
        return cells[~hidden[cells] & free[cells]]

    while lines:
        changed = True
        while changed:  # a sum less its shown cells must not tell of one cell, nor of few people
            changed = False
            for line in lines:
                gone = hidden[line]
                small = not gone[-1] and gone.any() and size[line[gone]].sum() < min_base
                if (small or gone.sum() == 1) and (further := smallest(shown(line[:-1]))) is not None:
                    hidden[further] = changed = True
        at, wanted = np.flatnonzero(hidden), np.flatnonzero(hidden & asked)
        own = sparse.eye_array(len(size), format="csr")[wanted][:, at]
        told = smallest(wanted[computed(sums[:, at], own, size[at] > 0)])
        places = [line[:-1] for line in lines if told in line] + [np.arange(len(size))]
        further = [cell for cells in places if (cell := smallest(shown(cells))) is not None]
        if told is None or not further:
            break
        hidden[further[0]] = True
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


# --- what can be computed --------------------------------------------------------------------------------------------


def closest_point(published, values) -> tuple[np.ndarray, np.ndarray]:
    """Return some x >= 0 for which the sums ``published @ x``, (m,), are changed least to be the values, and the changes."""
    scale, (m, width) = max(float(np.max(values, initial=0)), 1.0), published.shape
    cost, change = np.append(np.zeros(width), np.ones(2 * m)), sparse.eye_array(m)
    found = scale * _linprog(cost, sparse.hstack([published, change, -change]), values / scale, (0, None))
    return found[:width], np.abs(found[width : width + m] - found[width + m :])


def computed(published, asked, positive) -> np.ndarray:
    """Return which of the sums `asked`, (q, v), follow from the `published` ones, (m, v), both sparse; (q,) bool.

    `positive`, (v,) bool, says which counts are above zero in a feasible point: these may go down as well as up.
    """
    direction, rng = np.zeros(published.shape[1]), np.random.default_rng(1)
    _, label = connected_components(published.T @ published, directed=False)
    for part in np.unique(label[np.unique(asked.indices)]):  # counts that no sum connects move by themselves
        at = np.flatnonzero(label == part)
        known, moves = published[:, at], positive[at]
        known, zero = known[np.diff(known.indptr) > 0], ~moves
        if zero.any():  # which can be raised: each by a part up to one, which is counted, and by what more it takes
            cost = np.append(np.zeros(len(at)), np.full(zero.sum(), -1.0))
            bounds = [*((0, None) if z else (None, None) for z in zero), *[(0, 1)] * zero.sum()]
            found = _linprog(cost, sparse.hstack([known, known[:, zero]]), np.zeros(known.shape[0]), bounds)
            moves[zero] = found[len(at) :] > 0.5
        known, drawn = known[:, moves], rng.normal(size=moves.sum())
        if known.nnz:  # the part of numbers drawn at random that leaves every published sum as it is
            if len(drawn) <= DENSE:
                sums = np.linalg.lstsq(known.toarray().T, drawn)[0]
            else:
                sums = sparse.linalg.lsqr(known.T, drawn, atol=1e-14, btol=1e-14, iter_lim=20 * len(drawn))[0]
            drawn = drawn - known.T @ sums
            if np.abs(known @ drawn).max() > EXACT:
                raise ArithmeticError("no direction leaves the published sums as they are to the digit")
        direction[at[moves]] = drawn
    return np.abs(asked @ direction) <= TOLERANCE


def _linprog(cost, equations, values, bounds) -> np.ndarray:
    from scipy.optimize import linprog

    found = linprog(cost, A_eq=equations, b_eq=values, bounds=bounds, method="highs")
    if found.status:
        raise ArithmeticError(f"the linear programme was not solved: {found.message}")
    return found.x
