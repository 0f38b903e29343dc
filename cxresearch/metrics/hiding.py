"""Disclosure in cells: those under the minimum base are hidden, and those from which they could be worked out."""

import numpy as np
import pandas as pd

from cxresearch.privacy import hide_small_bases

KEYS = ("group", "wave_before", "wave", "term", "level")


def hidden_cells(table: pd.DataFrame, *, min_base: int) -> np.ndarray:
    """Return which rows of `table` (group, wave, n) to hide, (k,) bool.

    A lone hidden cell of a wave, or of a group over the waves, is the margin less the others: the next smallest cell
    is then hidden, too.
    """
    n = table["n"].to_numpy(dtype=float)
    hidden = n < min_base
    if min_base <= 1 or not hidden.any():
        return np.zeros(len(n), dtype=bool)
    lines = (
        [np.arange(len(n))]
        if not {"group", "wave"} <= set(table)
        else [rows for key in ("group", "wave") for rows in table.groupby(key, sort=False).indices.values()]
    )
    for _ in range(len(n)):
        before = hidden.sum()
        for rows in lines:
            if hidden[rows].sum() == 1 and len(rows) > 1:
                hidden[min(rows[~hidden[rows]], key=lambda r: n[r])] = True
        if hidden.sum() == before:
            return hidden
    return hidden


def hide(table: pd.DataFrame, hidden: np.ndarray, min_base: int) -> pd.DataFrame:
    """Return `table` with every value of the hidden rows missing, the base too."""
    if not hidden.any():
        return table
    marked = table.assign(n=table["n"].where(~hidden, 0))
    return hide_small_bases(marked, min_base=min_base, keys=KEYS)
