"""What coincides with a date in one series.

Wagner et al. (2002), J. Clinical Pharmacy and Therapeutics 27:299-309 (segments); Cochrane & Orcutt (1949), JASA 44 and
Prais & Winsten (1954) (errors that hang together); Cooper & Thompson (1977), Biometrika 64:625-628 (REML of them).
"""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled
from cxresearch.findings import Check, Statement, interval, number, p_words, words
from cxresearch.inference import critical_value
from cxresearch.programme.did import read_panel, start_in
from cxresearch.programme.payments import sized

say = words(__package__)

GRID = np.linspace(-0.9, 0.98, 95)  # of the correlation of neighbours


def _whitened(columns, rho):
    """Return columns (T, k) less rho times the row before; the first row is scaled instead."""
    return np.vstack([np.sqrt(1 - rho**2) * columns[:1], columns[1:] - rho * columns[:-1]])


def ar1_fit(X, y):
    """Return coefficients (k,), their covariance, rho by restricted likelihood, and effective degrees of freedom."""
    (n, k), system, best = X.shape, np.column_stack([X, y]), None
    for rho in GRID:
        white = _whitened(system, rho)
        Q, R = np.linalg.qr(white[:, :k])
        rest = white[:, k] - Q @ (Q.T @ white[:, k])
        size = np.sum(rest**2)
        criterion = (n - k) * np.log(size) - np.log(1 - rho**2) + 2 * np.sum(np.log(np.abs(np.diag(R))))
        if best is None or criterion < best[0]:
            best = criterion, rho, np.linalg.solve(R, Q.T @ white[:, k]), np.linalg.inv(R), size / (n - k)
    _, rho, beta, back, variance = best
    df = n - k if rho <= 0 else max(n * (1 - rho) / (1 + rho) - k, 2.0)
    return beta, variance * back @ back.T, rho, df


def segments(n: int, start: int, season: int | None) -> np.ndarray:
    """Return level, slope, change of level and of slope from `start` on, and two waves of the season, (n, k)."""
    t = np.arange(n)
    after = (t >= start).astype(float)
    turns = [f(2 * np.pi * h * t / season) for h in (1, 2) for f in (np.sin, np.cos)] if season else []
    return np.column_stack([np.ones(n), t, after, (t - start) * after, *turns])


def interrupted_series(
    series, *, outcome, period, since, comparison=None, season=None, every=None, confidence=0.95, min_points=8
) -> Statement:
    """Return how much the level of a series changed at a date, beyond the line it was on.

    Parameters
    ----------
    series : Survey, Table, DataFrame, path or relation
        Rows are averaged by period.
    outcome, period, every
        As in `difference_in_differences`.
    since : period or date
    comparison : column, optional
        What did not meet the programme: the difference to it is analysed.
    season : int, optional
        Periods of a year; needs two years.
    min_points : int
        Fewest periods before and after.

    Returns
    -------
    Statement
        ``level`` and ``slope``: changes at the date; errors of neighbours hang together (AR(1) by REML, t on T (1 - rho) /
        (1 + rho) - k degrees of freedom). Established if the level's interval leaves out 0 and no date before shows as much.
        Without a comparison it is a coincidence with the date.

    Raises
    ------
    DataProblem
        Too few periods on a side, a period that is missing, a date outside the data.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import cxresearch as cx
    >>> wait = np.random.default_rng(2).normal(9, 1, 48) - 4.0 * (np.arange(48) >= 30)
    >>> table = pd.DataFrame({"month": range(48), "wait": wait})
    >>> print(cx.interrupted_series(table, outcome="wait", period="month", since=30))
    A fall of wait by ... coincides with 30 (95 % interval ...
    """
    require_share("confidence", confidence)
    labels = getattr(series, "labels", {})
    cells = read_panel(series, outcome, None, period, [comparison] if comparison else (), every)
    start, n = start_in(cells, since), len(cells)
    _require_long_enough(cells, start, since, season, min_points)
    y = cells["y"].to_numpy(float) - (cells[comparison].to_numpy(float) if comparison else 0.0)
    X = segments(n, start, season)
    beta, spread, rho, df = ar1_fit(X, y)
    error, reach, at = np.sqrt(np.diag(spread)), critical_value(confidence, df), [2, 3]
    p = 2 * stats.t.sf(np.abs(beta) / error, df)
    table = pd.DataFrame({"term": ["level", "slope"], "estimate": beta[at], "std_error": error[at]})
    table["conf_low"], table["conf_high"] = (beta - reach * error)[at], (beta + reach * error)[at]
    table = table.assign(p_value=p[at], n=n)
    dates, as_large = range(min_points, start - min_points + 1), 0
    for date in dates:
        b, v, *_ = ar1_fit(segments(start, date, season if season and start >= 2 * season else None), y[:start])
        as_large += abs(b[2]) / np.sqrt(v[2, 2]) >= abs(beta[2]) / error[2]
    stands = bool(p[2] < 1 - confidence and not as_large)
    without = "at most 0.8; above it hardly anything can be told"
    checks = (
        Check("dates before that look as large", int(as_large), "0", not as_large, "stops"),
        Check("dates before that could be tried", len(dates), "at least 1", len(dates) > 0, "info"),
        Check("correlation of neighbours", round(float(rho), 2), without, bool(rho <= 0.8)),
    )
    hidden = (cells["n"] < getattr(series, "min_base", 1)).to_numpy()
    plain = [0, 1, *range(4, X.shape[1])]
    lines = pd.DataFrame({"period": [str(v)[:10] for v in cells["period"]], "actual": np.where(hidden, np.nan, y)})
    lines["fitted"] = X @ beta
    lines["counterfactual"] = np.where(np.arange(n) >= start, X[:, plain] @ beta[plain], np.nan)
    ends, key = (table["conf_low"][0], table["conf_high"][0]), "series_up" if beta[2] > 0 else "series_down"
    said = sized(beta[2], *ends, confidence)
    if not stands:
        key, said = "series_open", dict(size=number(beta[2], 2), span=interval(*ends, confidence, 2))
    more = dict(p=p_words(p[2]), df=number(df, 1), placebo=int(as_large), dates=len(dates), n=n)
    more |= dict(comparison=labels.get(comparison, comparison)) if comparison else {}
    words = say(key, outcome=labels.get(outcome, outcome), since=since, **said)
    words += " " + say("series_control" if comparison else "series_more", **more)
    summary = {"n": n, "method": "two lines, AR(1) errors by REML", "df": df, "established": stands}
    return Statement(
        "interrupted_series", outcome, None, table, summary, checks, labels, {"lines": lines}, suppressed=int(hidden.sum()),
        words=words, figure=_lines,
    )  # fmt: skip


def _require_long_enough(cells, start, since, season, min_points) -> None:
    """Refuse a series that is short on a side, shorter than two seasons, or that lacks a period."""
    n = len(cells)
    if min(start, n - start) < min_points:
        raise DataProblem(
            f"{start} periods before {since} and {n - start} after; a line needs at least {min_points} on each side: take "
            "shorter periods or a longer record"
        )
    if season and n < 2 * season:
        raise DataProblem(f"season={season} needs two years, {2 * season} periods; there are {n}")
    steps = cells["period"].diff().dropna() if hasattr(cells["period"], "dt") else None
    if steps is not None and steps.max() > 1.6 * steps.median():
        lacks = cells["period"][steps.idxmax()].date()
        raise DataProblem(f"a period is missing before {lacks}; neighbours must follow each other")


def _lines(finding, ax):
    table, ax = finding.further["lines"], axes_or_new(ax)
    at = np.arange(len(table))
    ax.plot(at, table["actual"], "o", color=QUIET, markersize=4, label="actual")
    ax.plot(at, table["fitted"], color=PALETTE[0], label="two lines")
    ax.plot(at, table["counterfactual"], "--", color=PALETTE[1], label="the first line continued")
    some = at[:: max(len(at) // 6, 1)]
    ax.set_xticks(some, table["period"].iloc[some])
    ax.set(ylabel=finding.label(finding.outcome))
    ax.legend()
    return titled(ax, finding.title, "mean by period")
