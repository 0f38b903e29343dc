"""What is refused before anything is fitted, each with the column, what was found, how many, and what to do."""

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns

SOURCES = ("wave", "source", "scale", "survey")  # columns that tell deliveries apart, where a table has them
LEAK_CORRELATION = 0.6  # rank correlation of score and revenue above which the score is taken to hold the revenue


def check_revenue(table: pd.DataFrame, revenue: str) -> np.ndarray:
    """Return revenue as floats; refuse text, negative and missing values, and more than one currency."""
    column = table[revenue]
    if "currency" in table.columns and table["currency"].nunique() > 1:
        counts = table["currency"].value_counts()
        found = ", ".join(f"{name}: {n}" for name, n in counts.items())
        raise DataProblem(
            f"{revenue} is in {len(counts)} currencies ({found}); convert it to one before it is compared"
        )
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        shown = ", ".join(repr(v) for v in column.dropna().astype(str).unique()[:3])
        raise DataProblem(
            f"{revenue} is not a number ({shown}); strip signs of currency, keep one currency, and convert it"
        )
    y = column.to_numpy(dtype=float, na_value=np.nan)
    negative = int(np.sum(y < 0))
    if negative:
        raise DataProblem(
            f"{revenue} holds {negative} negative values among {len(y)} (lowest {np.nanmin(y):g}); decide what they are: "
            "net returns off the purchases, or leave these customers out"
        )
    missing = int(np.sum(~np.isfinite(y)))
    if missing:
        raise DataProblem(
            f"{revenue} is missing for {missing} of {len(y)} customers; decide what that means: "
            "0 where nothing was bought, or leave out the customers whose revenue is unknown"
        )
    if not np.any(y > 0):
        raise DataProblem(f"{revenue} is 0 for all {len(y)} customers; nothing can be learned from it")
    return y


def check_score(table: pd.DataFrame, loyalty: str, revenue: str) -> np.ndarray:
    """Return the score as floats (missing stays missing); refuse text and a column that mixes scales."""
    if loyalty == revenue:
        raise DataProblem(f"loyalty and revenue name the same column {revenue!r}")
    column = table[loyalty]
    if not pd.api.types.is_numeric_dtype(column):
        shown = ", ".join(repr(v) for v in column.dropna().astype(str).unique()[:3])
        raise DataProblem(f"{loyalty} is not a number ({shown}); give the answers their scale values")
    score = column.to_numpy(dtype=float, na_value=np.nan)
    known = score[np.isfinite(score)]
    if not len(known):
        raise DataProblem(f"{loyalty} is missing in all {len(score)} rows")
    whole = np.mean(known == np.round(known)) > 0.95 and known.min() >= 0
    for end in (5, 7, 10) if whole else ():
        above = int(np.sum(known > end))
        longer = 10 if end < 10 else np.inf
        if 0 < above <= 0.05 * len(known) and known.max() <= longer:
            if end == 10 or _piled_up(known, end):
                raise DataProblem(
                    f"{loyalty} mixes two scales: {above} of {len(known)} values lie above {end} (highest {known.max():g}) while "
                    f"the rest fit a scale that ends at {end}; split it, or declare the {above} as missing codes"
                )
    _refuse_two_scales(known, loyalty, whole)
    _refuse_scales_by_source(table, loyalty, score)
    return np.where(np.isfinite(score), score, np.nan)


def _refuse_two_scales(known, loyalty: str, whole: bool) -> None:
    # a 0-100 scale is used between 10 and 20, too; a 0-10 and a 0-100 scale in one column leave that stretch empty
    ones, gap, tens = (float(np.mean((known >= a) & (known <= b))) for a, b in ((1, 9), (11, 19), (20, 100)))
    if whole and known.max() <= 100 and min(ones, tens) > 0.05 and gap < 0.01:
        raise DataProblem(
            f"{loyalty} mixes two scales: {100 * ones:.0f} % of the values lie in 1-9, {100 * tens:.0f} % in 20-100 and hardly any between; "
            "bring them to one scale, or fit them apart"
        )


def _refuse_scales_by_source(table: pd.DataFrame, loyalty: str, score) -> None:
    for column in [c for c in SOURCES if c in table.columns and c != loyalty]:
        of = pd.Series(score).groupby(table[column].to_numpy()).agg(["max", "count"])
        tops = of.loc[of["count"] >= 30, "max"]
        ends = [(a, b) for a in (5, 7) for b in (7, 10) if a < b and (tops == a).any() and (tops == b).any()]
        if ends:
            low, high = (tops.index[tops == end][0] for end in ends[0])
            raise DataProblem(
                f"{loyalty} mixes two scales: it ends at {ends[0][0]} where {column} is {low} and at {ends[0][1]} where it is {high}; "
                "bring them to one scale, or fit them apart"
            )


def _piled_up(known, end: int) -> bool:
    # Real answers thin out gradually; a second, shorter scale in the same column breaks off at its end.
    return np.mean(known == end) > 5 * max(np.mean(known == end + 1), 1 / len(known))


def check_control(column: pd.Series, name: str, *, revenue: str, y, loyalty: str, score) -> None:
    """Refuse a control that is the revenue or the score under another name."""
    if name in (revenue, loyalty):
        raise DataProblem(
            f"control {name!r} is the {'revenue' if name == revenue else 'loyalty score'} itself; leave it out"
        )
    if pd.api.types.is_datetime64_any_dtype(column):
        raise DataProblem(
            f"control {name!r} holds dates; turn it into a number, such as days of tenure, or into categories"
        )
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        if column.nunique() > len(column) / 5:
            raise DataProblem(
                f"control {name!r} has {column.nunique()} categories in {len(column)} rows; merge them, or leave it out"
            )
        return
    for key, values, kind in ((revenue, y, "revenue"), (loyalty, score, "loyalty score")):
        if _same(column.to_numpy(dtype=float, na_value=np.nan), values):
            raise DataProblem(f"control {name!r} equals {key!r}, the {kind}, up to a factor; leave it out")


def _same(a, b) -> bool:
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return False
    return bool(abs(np.corrcoef(a[both], b[both])[0, 1]) > 1 - 1e-9)


def check_level(name: str, values, y, revenue: str) -> None:
    """Refuse a category whose customers all have no revenue: its coefficient would run to minus infinity."""
    if values.dtype != object:
        return
    totals = pd.Series(y).groupby(values).sum()
    if (totals == 0).any():
        level = totals.index[totals == 0][0]
        raise DataProblem(
            f"the customers of control {name}[{level}] all have no {revenue}; merge it with another category or leave them out"
        )


def check_clusters(names, codes) -> None:
    """Refuse a cluster column that holds one cluster."""
    for name, code in zip(names, codes):
        if len(np.unique(code)) < 2:
            raise DataProblem(
                f"cluster {name!r} has one value in all {len(code)} rows; errors between clusters cannot be estimated: "
                "name a column with several, or none"
            )


def dates(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column as dates; refuse what cannot be read and what lies in the future."""
    values = pd.to_datetime(table[column], errors="coerce")
    bad = table[column].notna() & values.isna()
    if bad.any():
        raise DataProblem(
            f"{column} holds {int(bad.sum())} values that are no dates (first {table[column][bad].iloc[0]!r})"
        )
    late = values > pd.Timestamp.now()
    if late.any():
        raise DataProblem(
            f"{column} holds {int(late.sum())} dates in the future (latest {values.max():%Y-%m-%d}); correct them or leave the rows out"
        )
    return values


def overlap(table: pd.DataFrame, time, rows) -> float | None:
    """Return the share of rows whose score was measured on or after the first day of the revenue window.

    `time` is the column that dates the score and the column, or the date, on which the revenue window starts; with
    the column alone the order is unknown (None).
    """
    asked, starts = (time, None) if isinstance(time, str) else time
    require_columns(table, asked, where="the table of customers")
    when = dates(table, asked).to_numpy()[rows]
    if starts is None:
        return None
    if starts in table.columns:
        start = pd.to_datetime(table[starts]).to_numpy()[rows]
    else:
        start = np.full(len(rows), np.datetime64(_day(starts)))
    known = ~(np.isnat(when) | np.isnat(start))
    return float(np.mean(when[known] >= start[known])) if known.any() else None


def _day(text) -> pd.Timestamp:
    try:
        return pd.Timestamp(text)
    except (ValueError, TypeError):
        raise DataProblem(
            f"the start of the revenue window, {text!r}, is neither a column nor a date such as 2025-01-01"
        ) from None


def leaks(score, y) -> str | None:
    """Return how the score gives the revenue away, or None.

    A score recorded after, or computed from, the revenue shows in one of two ways: their rank correlation is beyond
    what separate questions reach, or the score alone tells who bought nothing.
    """
    ranks = pd.Series(score).rank().corr(pd.Series(y).rank())
    if abs(ranks) > LEAK_CORRELATION:
        return f"its rank correlation with revenue is {ranks:.2f}"
    return "it alone tells who has no revenue" if separated(score, y == 0) else None


def separated(score, event) -> bool:
    """Return whether a threshold on the score tells the event apart without error, both sides having ten rows."""
    if min(event.sum(), (~event).sum()) < 10:
        return False
    return bool(score[event].max() < score[~event].min() or score[event].min() > score[~event].max())
