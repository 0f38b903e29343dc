"""What coincides with a date in one series.

Wagner et al. (2002), J. Clinical Pharmacy and Therapeutics 27:299-309 (segments); Prais & Winsten (1954) (errors that
hang together); Cooper & Thompson (1977), Biometrika 64:625-628 (REML of them).
"""

import numpy as np
import pandas as pd

from cxresearch.errors import require_share
from cxresearch.findings import Statement, interval, number, p_words
from cxresearch.programme.panel import read_panel, start_in
from cxresearch.programme.shared import refuse_if, say, sized, statement, t_interval

GRID = np.linspace(-0.9, 0.98, 95)  # of the correlation of neighbours


def _whitened(columns, rho):
    """Return columns (T, k) less rho times the row before; the first row is scaled instead."""
    return np.vstack([np.sqrt(1 - rho**2) * columns[:1], columns[1:] - rho * columns[:-1]])


def ar1_fit(X, y):
    """Return the statsmodels fit with errors of neighbours correlated by restricted likelihood, rho, and effective df."""
    from statsmodels.regression.linear_model import OLS

    (n, k), system = X.shape, np.column_stack([X, y])

    def criterion(rho):
        size = np.log(np.abs(np.diag(np.linalg.qr(_whitened(system, rho), mode="r"))))
        return 2 * ((n - k) * size[k] + size[:k].sum()) - np.log(1 - rho**2)

    rho = min(GRID, key=criterion)
    white = _whitened(system, rho)
    return OLS(white[:, k], white[:, :k]).fit(), rho, n - k if rho <= 0 else max(n * (1 - rho) / (1 + rho) - k, 2.0)


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

    ``level`` and ``slope``: changes at the date; errors of neighbours hang together (AR(1) by REML, t on T (1 - rho) /
    (1 + rho) - k degrees of freedom). Established if the level's interval leaves out 0 and no date before shows as much;
    without a comparison it is a coincidence with the date.

    Parameters
    ----------
    series, outcome, period, every, since : as in `difference_in_differences`; rows are averaged by period
    comparison : column, optional, what did not meet the programme: the difference to it is analysed
    season, min_points : int, periods of a year (needs two years); fewest periods before and after

    Raises
    ------
    DataProblem
        Too few periods on a side, a period that is missing, a date outside the data.

    Examples
    --------
    >>> asked = dict(outcome="wait", period="time", every="month", since="2025-01-01")
    >>> print(cx.interrupted_series(study.interactions, **asked))
    No change of Waiting time in minutes that coincides with 2025-01-01 is established ...
    """
    require_share("confidence", confidence)
    labels, more = getattr(series, "labels", {}), [comparison] if comparison else []
    cells, name = read_panel(series, outcome, None, period, more, every), labels.get(outcome, outcome)
    start, n = start_in(cells, since), len(cells)
    _require_long_enough(cells, start, since, season, min_points)
    y = cells["y"].to_numpy(float) - sum(cells[c].to_numpy(float) for c in more)
    X, at = segments(n, start, season), [2, 3]
    fit, rho, df = ar1_fit(X, y)
    rows = np.array(t_interval(fit.params, fit.bse, df, confidence))[:, at]
    table = pd.DataFrame(dict(zip(("estimate", "conf_low", "conf_high", "p_value"), rows))).assign(n=n)
    table.insert(0, "term", ["level", "slope"])
    table.insert(2, "std_error", fit.bse[at])
    change, *ends, p = rows[:, 0]
    before = season if season and start >= 2 * season else None
    dates = range(min_points, start - min_points + 1)
    placebo = [ar1_fit(segments(start, date, before), y[:start])[0].tvalues[2] for date in dates]
    as_large = int(np.sum(np.abs(placebo) >= abs(fit.tvalues[2])))
    stands = bool(p < 1 - confidence and not as_large)
    found = dict(as_large=(as_large, not as_large, "stops"), tried=(len(placebo), len(placebo) > 0, "info"))
    found |= dict(neighbours=(round(float(rho), 2), rho <= 0.8))
    hidden = (cells["n"] < getattr(series, "min_base", 1)).to_numpy()
    lines = pd.DataFrame({"period": cells["period"].astype(str).str[:10], "actual": np.where(hidden, np.nan, y)})
    on = X @ fit.params - X[:, at] @ fit.params[at]
    lines = lines.assign(fitted=X @ fit.params, counterfactual=np.where(np.arange(n) >= start, on, np.nan))
    key, said = "series_up" if change > 0 else "series_down", sized(change, *ends, confidence)
    if not stands:
        key, said = "series_open", dict(size=number(change, 2), span=interval(*ends, confidence, 2))
    words = [say(key, outcome=name, since=since, **said)]
    tests = dict(p=p_words(p), df=number(df, 1), placebo=as_large, dates=len(placebo), n=n)
    beside = "series_control" if more else "series_more"
    words.append(say.told(beside, **tests, comparison=labels.get(comparison, comparison)))
    summary = {"n": n, "method": "two lines, AR(1) errors by REML", "df": df, "established": stands}
    drawn = {"actual": "o", "fitted": "-", "counterfactual": "--"}
    figure = dict(of="lines", x="period", columns=drawn, axes=("", name, "mean by period"))
    about = dict(found=found, labels=labels, further={"lines": lines}, hidden=hidden.sum(), figure=figure, fitted=fit)
    return statement(("interrupted_series", outcome, None), table, summary, words, **about)


def _require_long_enough(cells, start, since, season, min_points) -> None:
    """Refuse a series that is short on a side, shorter than two seasons, or that lacks a period."""
    n, steps = len(cells), cells["period"].diff().dropna() if hasattr(cells["period"], "dt") else None
    sides = dict(before=start, after=n - start, since=since, least=min_points)
    refuse_if(min(start, n - start) < min_points, "short_series", **sides)
    refuse_if(season and n < 2 * season, "short_season", season=season, needed=2 * (season or 0), n=n)
    gap = steps is not None and steps.max() > 1.6 * steps.median()
    refuse_if(gap, "gap", period=cells["period"][steps.idxmax()].date() if gap else None)
