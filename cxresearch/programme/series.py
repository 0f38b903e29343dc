"""One reader of panels and series, means by unit and period; and what coincides with a date in one series.

Wagner et al. (2002), J. Clinical Pharmacy and Therapeutics 27:299-309 (segments); Prais & Winsten (1954) (errors that
hang together); Cooper & Thompson (1977), Biometrika 64:625-628 (REML of them).
"""

import numpy as np
import pandas as pd

from cxresearch.errors import nearest, require_columns, require_share
from cxresearch.findings import Statement, listing
from cxresearch.inference import t_interval
from cxresearch.inference.events import amount_sql, opened, quoted
from cxresearch.programme.shared import moment, say, statement
from cxresearch.survey import Survey, Table, as_table, natural_key

GRID = np.linspace(-0.9, 0.98, 95)  # of the correlation of neighbours


def source_of(panel) -> Survey | Table:
    """Return a panel with what is known of it."""
    return panel if isinstance(panel, Survey) else as_table(panel)


def _asked(panel, sql, *columns) -> pd.DataFrame:
    """Return the answer to SQL on the rows of a panel; `sql` maps the relation to it."""
    with opened(panel.table if isinstance(panel, Survey) else as_table(panel).data, named="panel") as source:
        require_columns(source, *columns, where="the panel")
        return source.query("source", sql(source)).df()


def read_panel(panel, outcome, unit, period, more=(), every=None) -> pd.DataFrame:
    """Return means by unit (one for all where it is None) and period in the order of time, with weight and persons."""
    say.refuse_if(outcome is None, "no_outcome")
    weight, person = (getattr(panel, name, None) for name in ("weight", "respondent"))
    w, who = quoted(weight) if weight else "1", f"DISTINCT {quoted(person)}" if person else "*"
    place, time = quoted(unit) if unit else "0", quoted(period)
    at = time if every is None else f"date_trunc('{every}', {time}::TIMESTAMP)"

    def sql(source):
        of = {name: amount_sql(source, name) for name in (outcome, *more)}
        means = ", ".join(f"sum({w} * {value}) / sum({w}) AS {quoted(name)}" for name, value in of.items())
        whole = " AND ".join(f"{value} IS NOT NULL" for value in (place, time, *of.values()))
        found = f"SELECT {place} AS unit, {at} AS period, {means}, sum({w})::DOUBLE AS weight, count({who}) AS n"
        return f"{found} FROM source WHERE {whole} GROUP BY ALL HAVING sum({w}) > 0"

    cells = _asked(panel, sql, outcome, unit, period, *more)
    say.refuse_if(not len(cells), "no_row", columns=listing([outcome, period, *more]))
    text = not (hasattr(cells["period"], "dt") or pd.api.types.is_numeric_dtype(cells["period"]))
    order = sorted(cells["period"].unique(), key=natural_key if text else None)
    cells["t"] = cells["period"].map({p: i for i, p in enumerate(order)})
    return cells.rename(columns={outcome: "y"}).sort_values(["unit", "t"], ignore_index=True)


def start_in(cells, since) -> int:
    """Return the place of the first period of the programme; refuse a date outside the data."""
    order = list(cells.drop_duplicates("t").sort_values("t")["period"])
    dates = hasattr(order[0], "year")
    since = moment("since", since) if dates else since
    place = sum(p < since if dates else natural_key(p) < natural_key(since) for p in order)
    say.refuse_if(not 0 < place < len(order), "outside", since=since, first=order[0], last=order[-1])
    return place


def by_unit(panel, unit, column, names) -> pd.Series:
    """Return what a column says of each unit; refuse one that changes within a unit."""
    u, c = quoted(unit), quoted(column)
    sql = f"SELECT {u} AS unit, min({c}) AS value, count(DISTINCT {c}) AS values FROM source WHERE {u} IS NOT NULL GROUP BY 1"
    found = _asked(panel, lambda source: sql, unit, column).set_index("unit").reindex(names)
    mixed = found.index[found["values"] > 1]
    say.refuse_if(len(mixed), "mixed_unit", column=column, unit=unit, value=", ".join(map(repr, mixed[:1])))
    return found["value"]


def treated_units(panel, names, unit, treated):
    """Return for each unit whether the programme runs there: from a list of units, or a column of two values."""
    if isinstance(treated, str):
        found = by_unit(panel, unit, treated, names)
        values = sorted(found.dropna().unique(), key=natural_key)
        say.refuse_if(len(values) != 2, "not_two", column=repr(treated), n=len(values), found=listing(values[:5]))
        return found.eq(values[1]).to_numpy()
    unknown = next((v for v in treated if v not in names), None)
    say.refuse_if(unknown is not None, "no_unit", found=repr(unknown), unit=unit, near=nearest(unknown, names))
    return pd.Series(names).isin(list(treated)).to_numpy()


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
    source, more = source_of(series), [comparison] if comparison else []
    cells, name = read_panel(series, outcome, None, period, more, every), source.labels.get(outcome, outcome)
    start, n = start_in(cells, since), len(cells)
    _require_long_enough(cells, start, since, season, min_points)
    y = cells["y"].to_numpy(float) - sum(cells[c].to_numpy(float) for c in more)
    X, at = segments(n, start, season), [2, 3]
    fit, rho, df = ar1_fit(X, y)
    rows = np.array(t_interval(fit.params, fit.bse, df, confidence))[:, at]
    table = pd.DataFrame(dict(zip(("estimate", "conf_low", "conf_high", "p_value"), rows))).assign(n=n)
    table.insert(0, "term", ["level", "slope"])
    table.insert(2, "std_error", fit.bse[at])
    change, *_, p = rows[:, 0]
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
    keys = ["series_open" if not stands else "series_up" if change > 0 else "series_down"]
    keys += ["series_control" if more else "series_more"]
    known = {**table.iloc[0], "outcome": name, "since": since, "p": p, "placebo": as_large, "dates": len(placebo)}
    known["comparison"] = source.labels.get(comparison, comparison)
    summary = {"n": n, "method": "two lines, AR(1) errors by REML", "df": df, "established": stands}
    drawn = {"actual": "o", "fitted": "-", "counterfactual": "--"}
    figure = dict(of="lines", x="period", columns=drawn, axes=("", name, "mean by period"))
    more = dict(source=source, found=found, further={"lines": lines}, hidden=hidden.sum(), figure=figure, fitted=fit)
    return statement((keys, known, confidence), ("interrupted_series", outcome, None, table, summary), **more)


def _require_long_enough(cells, start, since, season, min_points) -> None:
    """Refuse a series that is short on a side, shorter than two seasons, or that lacks a period."""
    n, steps = len(cells), cells["period"].diff().dropna() if hasattr(cells["period"], "dt") else None
    sides = dict(before=start, after=n - start, since=since, least=min_points)
    say.refuse_if(min(start, n - start) < min_points, "short_series", **sides)
    say.refuse_if(season and n < 2 * season, "short_season", season=season, needed=2 * (season or 0), n=n)
    gap = steps is not None and steps.max() > 1.6 * steps.median()
    say.refuse_if(gap, "gap", period=cells["period"][steps.idxmax()].date() if gap else None)
