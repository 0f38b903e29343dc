"""Did units with the programme change otherwise than those without it, and what coincides with a date in one series?

Bell & McCaffrey (2002); Cameron, Gelbach & Miller (2008); Callaway & Sant'Anna (2021), J. Econometrics 225:200-230;
Roth (2022), AER: Insights 4:305-322 (what a test of earlier trends can see); Welch (1947), Biometrika 34:28-35; Wagner
et al. (2002), J. Clinical Pharmacy and Therapeutics 27:299-309 (segments); Prais & Winsten (1954) and Cooper & Thompson
(1977), Biometrika 64:625-628 (errors that hang together, and their REML).
"""

import warnings

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import nearest, require_share
from cxresearch.findings import Statement, ends, interval, listing, p_words
from cxresearch.inference import adjusted_p_values, t_interval
from cxresearch.inference.clusters import cr2, demean, jackknife, wild_bootstrap
from cxresearch.inference.events import amount_sql, quoted
from cxresearch.programme.shared import answer, moment, say, statement
from cxresearch.survey import Survey, as_table, natural_key

ENDS = ["estimate", "conf_low", "conf_high", "p_value"]
GRID = np.linspace(-0.9, 0.98, 95)  # of the correlation of neighbours


def read_panel(panel, outcome, unit, period, more=(), every=None) -> tuple:
    """Return a panel with what is known of it, what its outcome is called, and means by unit (one for all where it is
    None) and period in the order of time, with weight and persons.
    """
    say.refuse_if(outcome is None, "no_outcome")
    about = panel if isinstance(panel, Survey) else as_table(panel)
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

    cells = answer(panel, sql, outcome, unit, period, *more, where="the panel")
    say.refuse_if(not len(cells), "no_row", columns=listing([outcome, period, *more]))
    text = not (hasattr(cells["period"], "dt") or pd.api.types.is_numeric_dtype(cells["period"]))
    order = sorted(cells["period"].unique(), key=natural_key if text else None)
    cells["t"] = cells["period"].map({p: i for i, p in enumerate(order)})
    cells = cells.rename(columns={outcome: "y"}).sort_values(["unit", "t"], ignore_index=True)
    return about, about.labels.get(outcome, outcome), cells


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
    found = answer(panel, lambda source: sql, unit, column, where="the panel").set_index("unit").reindex(names)
    mixed = found.index[found["values"] > 1]
    say.refuse_if(len(mixed), "mixed_unit", column=column, unit=unit, value=", ".join(map(repr, mixed[:1])))
    return found["value"]


def treated_units(panel, names, unit, treated):
    """Return for each unit whether the programme runs there: from a list of units, or a column of two values."""
    if isinstance(treated, str):
        found = by_unit(panel, unit, treated, names)
        values = sorted(found.dropna().unique(), key=natural_key)
        say.refuse_if(len(values) != 2, "not_two", column=repr(treated), n=len(values), found=listing(values[:5]))
        unsaid = found.index[found.isna()]
        say.refuse_if(len(unsaid), "unsaid_unit", column=treated, unit=unit, value=", ".join(map(repr, unsaid[:1])))
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
    DataProblem : too few periods on a side, a period that is missing, a date outside the data.

    Examples
    --------
    >>> asked = dict(outcome="wait", period="time", every="month", since="2025-01-01")
    >>> print(cx.interrupted_series(study.interactions, **asked))
    No change of Waiting time in minutes that coincides with 2025-01-01 is established ...
    """
    require_share("confidence", confidence)
    more = [comparison] if comparison else []
    source, name, cells = read_panel(series, outcome, None, period, more, every)
    start, n = start_in(cells, since), len(cells)
    sides = dict(before=start, after=n - start, since=since, least=min_points)
    say.refuse_if(min(start, n - start) < min_points, "short_series", **sides)
    say.refuse_if(season and n < 2 * season, "short_season", season=season, needed=2 * (season or 0), n=n)
    if hasattr(cells["period"], "dt"):
        steps = cells["period"].diff()
        gap = steps.max() > 1.6 * steps.median()
        say.refuse_if(gap, "gap", period=cells["period"][steps.argmax()].date())
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


def two_way(cells, columns, confidence=0.95):
    """Return the statsmodels fit of y on columns within units and periods; of the first estimate, ends and p; its error.
    Errors by unit are CR2, t with Bell & McCaffrey's degrees of freedom.
    """
    from statsmodels.regression.linear_model import WLS

    weights, code = cells["weight"].to_numpy(), pd.factorize(cells["unit"])[0]
    periods = pd.get_dummies(cells["t"], drop_first=True)
    within = demean(np.column_stack([cells["y"], *columns, periods]).astype(float), weights, [code])
    say.refuse_if(np.linalg.matrix_rank(within[:, 1:]) < within.shape[1] - 1, "idle_control")
    model = WLS(within[:, 0], within[:, 1:], weights=weights)
    model.df_resid -= code.max() + 1
    fit = model.fit()
    spread, df = cr2(within[:, 1:], fit.resid, code, weights)
    return fit, t_interval(fit.params[0], np.sqrt(spread[0, 0]), df[0], confidence), np.sqrt(spread[0, 0])


def wide(cells, column) -> np.ndarray:
    return cells.pivot(index="unit", columns="t", values=column).to_numpy(dtype=float)


def changes(Y, W, start) -> np.ndarray:
    """Return each unit's weighted mean from `start` on less that before; missing where one side is not seen."""
    parts = [(Y[:, at], W[:, at]) for at in (slice(start, None), slice(start))]
    with np.errstate(invalid="ignore"):
        late, early = (np.nansum(y * w, axis=1) / np.nansum(w, axis=1) for y, w in parts)
    return late - early


def welch(values, group, confidence) -> pd.DataFrame:
    """Return by column of values (units, k) the difference of the means of two groups with Welch's interval, p and t."""
    with warnings.catch_warnings():  # a period may have nobody on one side: missing, no news
        warnings.simplefilter("ignore")
        found = stats.ttest_ind(values[group], values[~group], equal_var=False, nan_policy="omit")
        gap = np.nanmean(values[group], axis=0) - np.nanmean(values[~group], axis=0)
    rows = gap, *found.confidence_interval(confidence), found.pvalue, np.abs(found.statistic)
    return pd.DataFrame(np.array(rows).T, columns=[*ENDS, "t"])


def group_time(Y, starts, weights) -> np.ndarray:
    """Return the mean effect over treated units and periods, each against units not yet treated (Callaway & Sant'Anna)."""
    total = size = 0.0
    for g in np.unique(starts[np.isfinite(starts)]).astype(int):
        mine = weights * (starts == g)
        for t in range(g, Y.shape[1]):
            others, change = weights * ~(starts <= t), Y[:, t] - Y[:, g - 1]
            if others.sum() > 0 and mine.sum() > 0:
                total += mine @ change - mine.sum() * (others @ change) / others.sum()
                size += mine.sum()
    return np.array([total / size])


def difference_in_differences(
    panel, *, outcome, unit, period, treated=None, since, controls=(), every=None, n_boot=9999, confidence=0.95,
    min_units=5, seed,
) -> Statement:  # fmt: skip
    """Return how much more an outcome changed where the programme runs than where it does not.

    Effects of units and periods are taken out, errors clustered by unit (CR2). Established if Welch's test of the units'
    changes and the wild bootstrap find it too, no trend or period before differed, and no date before shows as much.
    *Before and after alone* is what the units with the programme would have said. Starts at different times: group-time
    effects against units not yet treated, units left out in turn.

    Parameters
    ----------
    panel : Survey, Table, DataFrame, path or relation; rows are averaged by unit and period
    outcome, unit, period : columns; with `every` ("week", "month", ...) `period` is a time that is cut into periods
    treated : list of units, or column of two values, where the programme runs
    since : period or date; or a column, where it began at different times (missing: never)
    controls : list of columns, averaged by unit and period
    min_units : int, fewest units with the programme, and without it

    Raises
    ------
    DataProblem : too few units, a date outside the data, a treated column of more than two values.

    Examples
    --------
    >>> where = dict(outcome="wait", unit="branch", treated=study.programme.treated)
    >>> when = dict(period="time", every="month", since="2025-01-01", n_boot=99, seed=1)
    >>> contacts = study.matched("interactions", "customers", keep="all")
    >>> print(cx.difference_in_differences(contacts, **where, **when))
    Waiting time in minutes is 1.43 lower where the programme runs than it would have been ...
    """
    require_share("confidence", confidence)
    source, name, cells = read_panel(panel, outcome, unit, period, tuple(controls), every)
    question, names = ("difference_in_differences", outcome, unit), cells["unit"].unique()
    if isinstance(since, str) and since in getattr(getattr(panel, "table", panel), "columns", ()):
        began = by_unit(panel, unit, since, names)
        told, *found, more = _staggered(cells, began, unit, name, min_units, confidence)
        return statement(told, (*question, *found), source=source, **more)
    start, group = start_in(cells, since), treated_units(panel, names, unit, treated)
    complete = np.isfinite(changes(wide(cells, "y"), wide(cells, "weight"), start))
    require_units(group & complete, ~group & complete, min_units, unit)
    cells, group, lost = cells[cells["unit"].isin(names[complete])], group[complete], int((~complete).sum())
    code = pd.factorize(cells["unit"])[0]
    runs = group[code]
    columns = [runs & (cells["t"] >= start), *(cells[c] for c in controls)]
    fit, clustered, _ = two_way(cells, columns, confidence)
    drawn = dict(n_boot=n_boot, seed=seed, confidence=confidence)
    p, *wild = wild_bootstrap(fit.model.wexog, fit.model.wendog, code, 0, **drawn)
    others = np.column_stack([*columns[1:], pd.get_dummies(cells["t"], drop_first=True)]).astype(float)
    Y, W, clean = (wide(cells.assign(clean=cells["y"] - others @ fit.params[1:]), c) for c in ("y", "weight", "clean"))
    change, alone = welch(changes(clean, W, start)[:, None], group, confidence).iloc[0], changes(Y, W, start)[group]
    test = stats.ttest_1samp(alone, 0.0)
    naive = alone.mean(), *test.confidence_interval(confidence)
    rows = [clustered, change[ENDS], (clustered[0], *wild, p), (*naive, test.pvalue)]
    table = pd.DataFrame(np.array(rows, dtype=float), columns=ENDS).assign(n=[len(group)] * 3 + [len(alone)])
    table.insert(0, "term", [say[f"did_row_{k}"] for k in range(4)])
    tried = [changes(clean[:, :start], W[:, :start], date) for date in range(2, start - 1)]
    placebo = welch(np.column_stack(tried), group, confidence)["t"] >= change["t"] if tried else []
    study, persons = _event_study(cells, Y, W, runs, group, start, confidence)
    reasons, found = _doubts(cells, runs, start, table, study, placebo, confidence)
    study.loc[persons < getattr(panel, "min_base", 1), ["treated", "control", *ENDS]] = np.nan
    known = dict(treated=len(alone), control=len(group) - len(alone), periods=Y.shape[1], outcome=name)
    known |= dict(zip(("p", "welch", "wild"), table["p_value"])) | ends("naive", *naive)
    known |= {**table.iloc[0], "why": listing(reasons[:2])}
    keys = [_verdict(clustered[0], reasons), "did_units", "did_before_more" if naive[0] > 0 else "did_before_less"]
    summary = {"n": int(cells["n"].sum()), "method": "two-way effects, CR2 by unit", "established": not reasons}
    drawn, axes = {"treated": "o-", "control": "o-"}, (say["did_x"], name, say["did_unit"])
    figure = dict(of="event_study", x="from_start", columns=drawn, upright=-0.5, axes=axes)
    further = {"event_study": study.drop(columns=["p_value", "t"])}
    return statement(
        (keys, known, confidence), (*question, table, summary), source=source, found=found | dict(lost=(lost, lost == 0)),
        further=further, fitted=fit, hidden=study["estimate"].isna().sum(), figure=figure,
    )  # fmt: skip


def require_units(treated, control, min_units, unit) -> None:
    """Refuse fewer units than errors by unit can bear."""
    found = dict(treated=int(np.sum(treated)), control=int(np.sum(control)))
    say.refuse_if(min(found.values()) < min_units, "lacking_units", **found, least=min_units, unit=unit)


def _verdict(estimate, reasons) -> str:
    return "did_open" if reasons else "did_more" if estimate > 0 else "did_less"


def _event_study(cells, Y, W, runs, group, start, confidence) -> tuple[pd.DataFrame, np.ndarray]:
    """Return by period the means of both groups and the difference of their changes since the mean before, and persons."""
    base = np.nansum((Y * W)[:, :start], axis=1) / np.nansum(W[:, :start], axis=1)
    persons = cells["n"].groupby([cells["t"], runs]).sum().unstack(fill_value=0).min(axis=1).to_numpy()
    study = cells.drop_duplicates("t").sort_values("t")[["period"]].astype(str).reset_index(drop=True)
    study["period"], study["from_start"] = study["period"].str[:10], np.arange(Y.shape[1]) - start
    with np.errstate(invalid="ignore"):
        for name, g in (("treated", group), ("control", ~group)):
            study[name] = np.nansum((Y * W)[g], axis=0) / np.nansum(W[g], axis=0)
    return study.join(welch(Y - base[:, None], group, confidence)), persons


def _doubts(cells, runs, start, table, study, placebo, confidence) -> tuple[list[str], dict]:
    """Return why the effect is not established, and what was checked; slopes before are found in half and 4 of 5 cases
    where they are 1.96 and 2.8 errors.
    """
    early, trend, error = (cells["t"] < start).to_numpy(), np.nan, np.nan
    seen = cells[early].groupby([runs[early], "unit"]).size()  # a slope needs two periods
    if (seen > 1).groupby(level=0).sum().min() >= 3:
        _, (*_, trend), error = two_way(cells[early], [(runs * cells["t"])[early]])
    joint = np.nanmin([1.0, *adjusted_p_values(study["p_value"][:start], correction="holm")])
    effect, p, alpha = table.iloc[0], table["p_value"].iloc[:3], 1 - confidence
    found = dict(agree=(", ".join(map(p_words, p)), p.max() < alpha or p.min() >= alpha, "stops"))
    for key, tested in (("unseen" if np.isnan(trend) else "alike", trend), ("alike_joint", joint)):
        found[key] = round(float(tested), 4), tested >= 0.05, "stops"
    missed = float(1.96 * error * len(study) / 2)
    found |= dict(missed=(missed, missed < abs(effect["estimate"])), power=(float(2.8 * error), True, "info"))
    found |= dict(dates=(int(sum(placebo)), not any(placebo), "stops"))
    reasons = [say("holds_0", span=interval(*effect[ENDS[1:3]], confidence, 2))] * bool(p.iloc[0] >= alpha)
    failed = [(key, value) for key, (value, ok, *level) in found.items() if level == ["stops"] and not ok]
    return reasons + [say.told(f"why_{key}", value=value, dates=len(placebo)) for key, value in failed], found


def _staggered(cells, began, unit, name, min_units, confidence) -> tuple:
    """Return what is told of the effect where the programme began at different times; units are left out in turn."""
    starts = np.array([np.inf if pd.isna(value) else start_in(cells, value) for value in began], dtype=float)
    Y = wide(cells, "y")
    whole = np.isfinite(Y).all(axis=1)
    Y, starts, lost = Y[whole], starts[whole], int((~whole).sum())
    n = int(cells["n"][cells["unit"].isin(cells["unit"].unique()[whole])].sum())
    runs = np.isfinite(starts)
    require_units(runs, ~runs, min_units, unit)
    effect, spread = jackknife(lambda w: group_time(Y, starts, w), np.arange(len(Y)), np.ones(len(Y)))
    row = t_interval(float(effect[0]), float(np.sqrt(spread[0, 0])), len(Y) - 1, confidence)
    reasons = [say("holds_0", span=interval(*row[1:3], confidence, 2))] if row[3] >= 1 - confidence else []
    found = pd.DataFrame([(say["did_row_4"], *row, len(Y))], columns=["term", *ENDS, "n"])
    known = dict(treated=int(runs.sum()), control=int((~runs).sum()), periods=Y.shape[1], p=row[3], outcome=name)
    known |= {**found.iloc[0], "starts": len(np.unique(starts[runs])), "why": listing(reasons)}
    summary = {"n": n, "method": say["did_staggered"], "established": not reasons}
    more = dict(found=dict(lost_staggered=(lost, lost == 0)), drawn={"line": 0.0, "unit": name})
    return ([_verdict(row[0], reasons), "did_groups"], known, confidence), found, summary, more
