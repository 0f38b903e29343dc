"""One window cut into two of equal length, so that the same behaviour can be seen twice."""

import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.survey import as_table
from cxresearch.transactions.windows import as_window


def window_halves(transactions: pd.DataFrame, *, until, window, time: str = "time") -> tuple[dict, dict]:
    """Return the earlier and the later half of a window, each as ``{"until": ..., "window": ...}`` for `behaviour`.

    Parameters
    ----------
    transactions : DataFrame
        Says when history starts if `window` is None.
    until, window
        As in `behaviour`.
    time : str
        Column of the moments of payment.

    Raises
    ------
    DataProblem
        If the window is shorter than two days.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> earlier, later = cx.window_halves(study.transactions, until="2025-01-01", window="12 months")
    >>> earlier["until"] == later["until"]
    False
    """
    transactions = as_table(transactions).data
    require_columns(transactions, time)
    whole = as_window(until, window)
    start = pd.Timestamp(transactions[time].min()).normalize() if whole.start is None else whole.start
    days = (whole.until - start).days // 2
    if days < 1:
        raise DataProblem(f"the window from {start.date()} to {whole.until.date()} is too short to be cut in two")
    middle = whole.until - pd.Timedelta(days=days)
    return {"until": middle, "window": days}, {"until": whole.until, "window": days}
