"""Which cells of a table of counts to hide, so that none can be computed from the rest and the margins.

A cell under the minimum base is hidden (primary suppression). Where the margins, or the differences between them and
the other cells, would give it away, further cells are hidden, the smallest first (secondary suppression), until a
linear programme can compute no hidden one.

References
----------
Hundepool et al. (2012), *Statistical Disclosure Control*, ch. 4; Cox (1980), *Journal of the American Statistical
Association* 75, 377-385. The choice of further cells is a greedy one: enough are hidden, not always the fewest.
"""

import numpy as np
import pandas as pd
from scipy import sparse

from cxresearch.privacy.dominance import guarded_base

KEYS = ("group", "segment", "wave")


def hidden_cells(
    table: pd.DataFrame, *, min_base: int, base: str = "n", keys=KEYS, secondary: bool = True
) -> np.ndarray:
    """Return which rows of a table of cells to hide, (k,) bool.

    Parameters
    ----------
    table : DataFrame, (k, .)
        One row per cell; the rows add up to the whole. One or two key columns, each combination once.
    min_base : int
        Cells with a smaller base are hidden, and cells of money with a ``largest_share`` over a half; with 1 nothing is.
    base : str
        Column of counts.
    keys : sequence of str
        Columns that may be keys; those that the table has are.
    secondary : bool
        False hides the small cells only, which protects nothing where margins are known.

    Returns
    -------
    (k,) bool array. The sums of `base` over the rows of a key (margins) are taken to be published as this function
    would have them published alone, the whole as it is. The cells hidden of a margin that is published add up to at
    least `min_base`, or are all of its cells.
    """
    n = table[base].to_numpy(dtype=float, na_value=0.0)
    if min_base > 1 and "largest_share" in table:
        n = guarded_base(n, table["largest_share"], min_base=min_base)
    if min_base <= 1 or not (n < min_base).any():
        return np.zeros(len(n), dtype=bool)
    codes = [pd.factorize(table[key], sort=False)[0] for key in keys if key in table]
    margins = [np.bincount(code, n) for code in codes] if len(codes) > 1 else []
    hidden = [_protected([np.arange(len(m))], m, [], min_base, secondary=secondary) for m in margins]
    return _protected(codes if margins else [np.arange(len(n))], n, hidden, min_base, secondary=secondary)


def hide_cells(table: pd.DataFrame, *, min_base: int, base: str = "n", keys=KEYS) -> pd.DataFrame:
    """Return `table`, whose rows add up to a whole, with every value but the keys missing in the `hidden_cells`."""
    hidden = hidden_cells(table, min_base=min_base, base=base, keys=keys)
    shown = table.copy()
    for column in table.columns.difference(list(keys), sort=False) if hidden.any() else ():
        shown[column] = table[column].mask(hidden)
    return shown


def _sums(codes: list[np.ndarray], k: int, margins: int) -> tuple[sparse.csr_array, list[np.ndarray]]:
    """Return the published sums of k cells, (q, k): cells, margins by key if there are any, the whole; and the lines.

    A line is an array of positions of which the last is the sum of the others.
    """
    blocks, lines, start = [sparse.eye_array(k, format="csr")], [], k
    for code in codes[:margins]:
        size = int(code.max()) + 1
        blocks.append(sparse.csr_array((np.ones(k), (code, np.arange(k))), shape=(size, k)))
        lines += [np.append(np.flatnonzero(code == i), start + i) for i in range(size)]
        start += size
    blocks.append(sparse.csr_array(np.ones((1, k))))
    return sparse.csr_array(sparse.vstack(blocks)), [*lines, np.append(np.arange(k), start)]


def _protected(codes, n, margins: list[np.ndarray], min_base: int, *, secondary: bool) -> np.ndarray:
    """Return which of the cells to hide, (k,) bool: the small ones, and as many more as it takes.

    Parameters
    ----------
    codes : list of (k,) int arrays
        The cell's place in each key.
    n : (k,) array
    margins : list of bool arrays
        Which sums over a key are hidden; none where the table has one key, whose sums are its cells.
    """
    from cxresearch.privacy.linear import computed

    k = len(n)
    sums, lines = _sums(codes, k, len(margins))
    size = sums @ n
    hidden = np.concatenate([n < min_base, *margins, [False]])
    while secondary and hidden.any():
        _complete_lines(lines, size, hidden, min_base)
        asked = np.flatnonzero(hidden)
        fixed = asked[computed(sums[~hidden], sums[asked], n > 0)]
        if not len(fixed) or hidden[:k].all():
            break
        hidden[_next(_smallest(fixed, size), lines, size, hidden[:k])] = True
    return hidden[:k]


def _complete_lines(lines, size, hidden, min_base: int) -> None:
    """Hide, in place, the smallest further cell of each line whose sum less its shown cells tells too much."""
    changed = True
    while changed:
        changed = False
        for line in lines:
            cells = line[:-1]
            lone = hidden[line].sum() == 1
            small = not hidden[line[-1]] and hidden[cells].any() and size[cells][hidden[cells]].sum() < min_base
            if (lone or small) and not hidden[cells].all():
                hidden[_smallest(cells[~hidden[cells]], size)] = True
                changed = True


def _next(place: int, lines, size, hidden) -> int:
    """Return the cell to hide for the sake of the sum at `place`: in one of its lines, or else anywhere."""
    for cells in (*(line[:-1] for line in lines if place in line), np.arange(len(hidden))):
        shown = cells[~hidden[cells]]
        if len(shown):
            return _smallest(shown, size)
    raise AssertionError("there is a cell to hide")


def _smallest(places, size) -> int:
    """Return the place with the smallest sum above zero, the first of equals; an empty one hides nothing beside it."""
    return int(min(places, key=lambda p: (size[p] == 0, size[p], p)))
