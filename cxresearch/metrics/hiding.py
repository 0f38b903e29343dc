"""Disclosure in cells: those under the minimum base are hidden, and those from which they could be worked out."""

import numpy as np
import pandas as pd

from cxresearch.privacy import hidden_cells, hide_small_bases

__all__ = ["hidden_cells", "hide"]
KEYS = ("group", "wave_before", "wave", "term", "level")


def hide(table: pd.DataFrame, hidden: np.ndarray, min_base: int) -> pd.DataFrame:
    """Return `table` with every value of the hidden rows missing, the base too."""
    if not hidden.any():
        return table
    marked = table.assign(n=table["n"].where(~hidden, 0))
    return hide_small_bases(marked, min_base=min_base, keys=KEYS)
