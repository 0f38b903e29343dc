"""What is refused before anything is fitted, each with the column, what was found, how many, and what to do."""

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.findings import Check, percent

SOURCES = ("wave", "source", "scale", "survey")  # columns that tell deliveries apart, where a table has them
LEAK_CORRELATION = 0.5  # rank correlation of score and revenue above which the score is taken to hold the revenue
FEWEST_AT_AN_END, ONCE_IN_A_MILLION = 10, 1e-6
MOST_BANDS = 20  # levels of a control that may be bands of revenue or score, coded as numbers
SAME = 1 - 1e-6  # correlation from which two columns are one, rounded


def _examples(column: pd.Series) -> str:
    return ", ".join(repr(v) for v in column.dropna().astype(str).unique()[:3])


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
        advice = "strip signs of currency, keep one currency, and convert it"
        raise DataProblem(f"{revenue} is not a number ({_examples(column)}); {advice}")
    y = column.to_numpy(dtype=float, na_value=np.nan)
    known = y[np.isfinite(y)]
    missing = len(y) - len(known)
    require_money(revenue, len(y), int(np.sum(y < 0)), missing, known.min(initial=0.0), known.max(initial=0.0))
    return y


def require_money(revenue: str, n: int, negative: int, missing: int, lowest: float, highest: float) -> None:
    """Refuse negative, missing and altogether absent revenue of `n` customers."""
    if negative:
        raise DataProblem(
            f"{revenue} holds {negative} negative values among {n} (lowest {lowest:g}); decide what they are: "
            "net returns off the purchases, or leave these customers out"
        )
    if missing:
        raise DataProblem(
            f"{revenue} is missing for {missing} of {n} customers; decide what that means: "
            "0 where nothing was bought, or leave out the customers whose revenue is unknown"
        )
    if not highest > 0:
        raise DataProblem(f"{revenue} is 0 for all {n} customers; nothing can be learned from it")


def check_score(table: pd.DataFrame, loyalty: str, revenue: str) -> np.ndarray:
    """Return the score as floats (missing stays missing); refuse text and a column that mixes scales."""
    if loyalty == revenue:
        raise DataProblem(f"loyalty and revenue name the same column {revenue!r}")
    column = table[loyalty]
    if not pd.api.types.is_numeric_dtype(column):
        raise DataProblem(f"{loyalty} is not a number ({_examples(column)}); give the answers their scale values")
    score = digits.whole(column.to_numpy(dtype=float, na_value=np.nan))
    score = np.where(np.isfinite(score), score, np.nan)
    if np.isnan(score).all():
        raise DataProblem(f"{loyalty} is missing in all {len(score)} rows")
    mixed = _two_scales(score[np.isfinite(score)]) or _scales_by_source(table, loyalty, score)
    if mixed:
        raise DataProblem(f"{loyalty} mixes two scales: {mixed}")
    return score


def _two_scales(known) -> str | None:
    """Return how whole scores show two scales, and what to do, or None."""
    if not (np.mean(known == np.round(known)) > 0.95 and known.min() >= 0):
        return None
    for end in (5, 7, 10):
        above, longer = int(np.sum(known > end)), 10 if end < 10 else np.inf
        # real answers thin out gradually; a second, shorter scale in the same column breaks off at its end
        broken_off = np.mean(known == end) > 5 * max(np.mean(known == end + 1), 1 / len(known))
        if 0 < above <= 0.05 * len(known) and known.max() <= longer and (end == 10 or broken_off):
            return (
                f"{above} of {len(known)} values lie above {end} (highest {known.max():g}) while the rest fit a scale that "
                f"ends at {end}; split it, or declare the {above} as missing codes"
            )
    # a 0-100 scale is used between 10 and 20, too; a 0-10 and a 0-100 scale in one column leave that stretch empty
    ones, gap, tens = (float(np.mean((known >= a) & (known <= b))) for a, b in ((1, 9), (11, 19), (20, 100)))
    if known.max() <= 100 and min(ones, tens) > 0.05 and gap < 0.01:
        where = f"{percent(ones)} of the values lie in 1-9, {percent(tens)} in 20-100 and hardly any between"
        return f"{where}; bring them to one scale, or fit them apart"
    return None


def _scales_by_source(table: pd.DataFrame, loyalty: str, score) -> str | None:
    """Return how deliveries differ in the end of their scales, and what to do, or None."""
    for column in [c for c in SOURCES if c in table.columns and c != loyalty]:
        of = pd.Series(score).groupby(table[column].to_numpy()).agg(["max", "count"])
        tops = of.loc[of["count"] >= 30, "max"]
        for low, high in ((5, 7), (5, 10), (7, 10)):
            if (tops == low).any() and (tops == high).any():
                short, long = tops.index[tops == low][0], tops.index[tops == high][0]
                where = f"it ends at {low} where {column} is {short} and at {high} where it is {long}"
                return f"{where}; bring them to one scale, or fit them apart"
    return None


def is_categorical(column: pd.Series) -> bool:
    """Return whether a control is a set of categories (text, category, yes/no) and not a number."""
    return not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def check_control(column: pd.Series, name: str, *, revenue: str, y, loyalty: str, score) -> None:
    """Refuse a control that is the revenue or the score under another name, whole or cut into bands."""
    fault, categorical, n = "", is_categorical(column), column.nunique()
    values = None if categorical else column.to_numpy(dtype=float, na_value=np.nan)
    if name in (revenue, loyalty):
        fault = f"is the {'revenue' if name == revenue else 'loyalty score'} itself; leave it out"
    elif pd.api.types.is_datetime64_any_dtype(column):
        fault = "holds dates; turn it into a number, such as days of tenure, or into categories"
    elif categorical and n > len(column) / 5:
        fault = f"has {n} categories in {len(column)} rows; merge them, or leave it out"
    elif not categorical and same(values, y):
        fault = f"equals {revenue!r}, the revenue, up to a factor; leave it out"
    elif not categorical and same(values, score):
        fault = f"equals {loyalty!r}, the loyalty score, up to a factor; leave it out"
    elif not categorical and same(pd.Series(values).rank().to_numpy(), pd.Series(y).rank().to_numpy()):
        fault = f"orders customers exactly as {revenue!r}, the revenue, does; leave it out"
    if fault:
        raise DataProblem(f"control {name!r} {fault}")
    if categorical or n <= MOST_BANDS:
        _refuse_bands(column.to_numpy(), name, y, revenue, "revenue")
        _refuse_bands(column.to_numpy(), name, score, loyalty, "loyalty score")


def _refuse_bands(values, name: str, of, what: str, kind: str) -> None:
    """Refuse a category that holds all customers of a stretch of revenue or score and nobody else: it is made of it."""
    known = ~pd.isna(values) & np.isfinite(of)
    for level in pd.unique(values[known]):
        inside, outside = of[known & (values == level)], of[known & (values != level)]
        if min(len(inside), len(outside)) < FEWEST_AT_AN_END:
            continue
        low, high = inside.min(), inside.max()
        if not np.any((outside >= low) & (outside <= high)):
            raise DataProblem(
                f"control {name}[{level}] holds the customers whose {what} is {low:g} to {high:g}, and nobody else: it is made "
                f"of the {kind}; leave it out"
            )


def same(a, b) -> bool:
    """Return whether two columns are one up to a factor, where both are known."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return False
    return bool(abs(np.corrcoef(a[both], b[both])[0, 1]) > SAME)


def check_level(name: str, values, y, revenue: str) -> None:
    """Refuse a category whose customers all have no revenue: its coefficient would run to minus infinity."""
    totals = pd.Series(y).groupby(values).sum()
    for level in totals.index[totals == 0]:
        advice = "merge it with another category or leave them out"
        raise DataProblem(f"the customers of control {name}[{level}] all have no {revenue}; {advice}")


def check_rank(Z, terms) -> None:
    """Refuse a control that is constant or repeats others."""
    S = Z - Z.mean(axis=0)
    S = S / np.maximum(np.sqrt(np.mean(np.square(S), axis=0)), 1e-300)
    diagonal = np.abs(np.diag(np.linalg.qr(S, mode="r"))) if Z.size else ()
    for term in [t for t, d in zip(terms, diagonal) if d < 1e-8 * np.sqrt(len(Z))]:
        raise DataProblem(f"control {term} is constant, or repeats other controls, in the rows used; leave it out")


def refuse_lagged_revenue(table: pd.DataFrame, revenue: str, controls, customer: str, period: str) -> None:
    """Refuse a control that is the revenue of the row before of the same customer (Nickell 1981)."""
    before = table.sort_values(period).groupby(customer)[revenue].shift(1).reindex(table.index).to_numpy(dtype=float)
    for column in [c for c in controls if c in table.columns and pd.api.types.is_numeric_dtype(table[c])]:
        if same(table[column].to_numpy(dtype=float), before):
            raise DataProblem(
                f"control {column!r} is the {revenue} of the period before; with customer effects it biases both (Nickell 1981): "
                "leave it out, or leave the effects out"
            )


def require_rows(n: int, min_rows: int, what: str) -> None:
    """Refuse fewer complete rows than a fit needs."""
    if n < min_rows:
        raise TooFewRespondents(f"{what} needs at least {min_rows} complete rows; found {n}")


def require_two_scores(loyalty: str, score, n: int) -> None:
    """Refuse a score with one value."""
    if len(np.unique(score)) < 2:
        raise DataProblem(f"{loyalty} has one value ({score[0]:g}) in all {n} rows used; nothing can go with it")


def leaks(score, y) -> str | None:
    """Return how the score gives the revenue away, by rank correlation or by who bought nothing, or None."""
    bought = y > 0
    for rows, among in ((np.ones(len(y), dtype=bool), ""), (bought, " among those with revenue")):
        ranks = pd.Series(score[rows]).rank().corr(pd.Series(y[rows]).rank()) if rows.sum() >= 30 else np.nan
        if abs(ranks) > LEAK_CORRELATION:
            return f"its rank correlation with revenue{among} is {ranks:.2f}"
    return gives_away(score, ~bought, "has no revenue", "have no revenue")


def gives_away(score, event, one: str, many: str) -> str | None:
    """Return how the score alone tells whose `event` (n,) it is, or None."""
    for sign in (1, -1):  # a threshold, but for one level that may hold both
        last = np.max(sign * score, where=event, initial=-np.inf)
        first = np.min(sign * score, where=~event, initial=np.inf)
        sides = np.sum(event & (sign * score < first)), np.sum(~event & (sign * score > last))
        if last <= first and min(sides) >= 10:
            return f"it alone tells who {one}"
    without = score[~event]
    if not len(without):
        return None
    # everybody at an end of the scale, where chance would allow that once in a million
    for end, side, edge in ((score < without.min(), "or less", np.max), (score > without.max(), "or more", np.min)):
        count, others = int(end.sum()), float(event[~end].mean())
        if count >= FEWEST_AT_AN_END and others**count < ONCE_IN_A_MILLION:
            return f"all {count} customers at {edge(score[end]):g} {side} {many}"
    return None


def refuse_separation(loyalty: str, score, event, who: str, after: str) -> None:
    """Refuse a logit of the event on the score that has no solution: those with and without it share one level."""
    with_it, without = score[event], score[~event]
    if with_it.max() <= without.min() or with_it.min() >= without.max():
        raise DataProblem(
            f"{loyalty} alone tells who {who} (perfect separation): a score recorded after {after}, or computed from it, does "
            "this; find out when it was recorded"
        )


def leak_check(leak: str | None, what: str = "revenue") -> Check:
    """Return the check that the score does not give `what` away."""
    limit = f"rank correlation at most {LEAK_CORRELATION:g}, and no score tells who has none"
    limit = limit if what == "revenue" else "no score tells who left"
    return Check(f"score does not give the {what} away", leak or "no sign of it", limit, leak is None, "stops")
