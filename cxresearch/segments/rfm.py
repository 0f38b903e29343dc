"""Cells of recency, frequency and monetary value: the baseline that any segmentation has to beat.

Reference: Hughes (1994), *Strategic Database Marketing*.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.segments.scaling import complete_values


def rfm_cells(
    customers: pd.DataFrame,
    *,
    recency: str = "recency_days",
    frequency: str = "frequency",
    monetary: str = "monetary",
    n_bins: int = 5,
    cutoffs: Mapping[str, list[float]] | None = None,
) -> pd.DataFrame:
    """Return the same rows with the scores r, f, m (1 worst … `n_bins` best) and their `cell`, such as ``'5-4-4'``.

    Parameters
    ----------
    customers : DataFrame
        One row per customer. Rows lacking one of the three get no cell.
    recency, frequency, monetary : str
        Columns; a small recency is good.
    n_bins : int
        Bins of equal size, each variable on its own (independent binning); ties stay together.
    cutoffs : mapping, optional
        ``attrs['cutoffs']`` of an earlier result: the next wave then uses the same cells.

    Returns
    -------
    DataFrame
        ``attrs['cutoffs']`` holds the inner cut-off points of each variable.

    Raises
    ------
    DataProblem
        For unknown columns, text, fewer than two bins, or cut-offs that lack a variable.

    Examples
    --------
    >>> import cxresearch as cx
    >>> company = cx.simulate_company(seed=1, n_customers=400)
    >>> behaved = cx.behaviour(
    ...     company.tables["transactions"], customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> sorted(set(cx.rfm_cells(behaved.table)) - set(behaved.table))
    ['cell', 'f', 'm', 'r']
    """
    columns = {"r": recency, "f": frequency, "m": monetary}
    require_columns(customers, *columns.values())
    if n_bins < 2:
        raise DataProblem(f"n_bins={n_bins} must be at least 2, for example 5")
    values, complete = complete_values(customers, list(columns.values()))
    missing = [] if cutoffs is None else [name for name in columns if name not in cutoffs]
    if missing:
        raise DataProblem(f"cutoffs lacks {', '.join(missing)}; pass attrs['cutoffs'] of what rfm_cells returned")
    inner = cutoffs or {
        name: [float(q) for q in np.quantile(column, np.arange(1, n_bins) / n_bins)]
        for name, column in zip(columns, values.T)
    }
    scored = customers.copy()
    for name, column in zip(columns, values.T):
        score = np.searchsorted(inner[name], column, side="left") + 1
        score = len(inner[name]) + 2 - score if name == "r" else score
        scored[name] = pd.Series(score, index=customers.index[complete]).reindex(customers.index).astype("Int64")
    cell = scored["r"].astype("string") + "-" + scored["f"].astype("string") + "-" + scored["m"].astype("string")
    scored = scored.assign(cell=cell.astype(object).where(complete, None))
    scored.attrs = {**customers.attrs, "cutoffs": dict(inner)}
    return scored
