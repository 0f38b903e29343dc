"""Did units with the programme change otherwise than those without it, and what coincides with a date in one series?

Bell & McCaffrey (2002); Cameron, Gelbach & Miller (2008); Callaway & Sant'Anna (2021), J. Econometrics 225:200-230; Roth
(2022), AER: Insights 4:305-322 (power of tests before); Welch (1947), Biometrika 34:28-35; Wagner et al. (2002), J. Clinical
Pharmacy and Therapeutics 27:299-309 (segments); Prais & Winsten (1954); Cooper & Thompson (1977), Biometrika 64:625-628.
"""

import warnings

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import nearest, require_share
from cxresearch.findings import ENDS, Statement, ends, interval, listing, p_words
from cxresearch.inference import adjusted_p_values, t_interval
from cxresearch.inference.clusters import cr2, demean, jackknife, wild_bootstrap
from cxresearch.inference.events import amount_sql, quoted
from cxresearch.programme.shared import answer, moment, say, statement
from cxresearch.survey import Survey, as_table, natural_key

FOUND = [*ENDS, "p_value"]
GRID = np.linspace(-0.9, 0.98, 95)  # of the correlation of neighbours


def read_panel(panel, outcome, unit, period, more=(), every=None) -> tuple:
    """Return what is known of a panel, what its outcome is called, and cells: means by unit (None: one for all) and
    period, in the order of time `t`, with weight and persons.
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
    say.refuse_if(cells.empty, "no_row", columns=listing([outcome, period, *more]))
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


def starts_of(panel, cells, unit, treated, since, start) -> np.ndarray:
    """Return for each unit the place of its first period with the programme: `start`, or as the column `since` says;
    infinite where it never runs.
    """
    names, column = cells["unit"].unique(), since if start is None else treated
    if not isinstance(column, str):
        unknown = next((v for v in treated if v not in names), None)
        say.refuse_if(unknown is not None, "no_unit", found=repr(unknown), unit=unit, near=nearest(unknown, names))
        return np.where(pd.Series(names).isin(list(treated)), start, np.inf)
    u, c = quoted(unit), quoted(column)
    sql = f"SELECT {u} AS unit, min({c}) AS value, count(DISTINCT {c}) AS values FROM source WHERE {u} IS NOT NULL GROUP BY 1"
    found = answer(panel, lambda source: sql, unit, column, where="the panel").set_index("unit").reindex(names)
    value, two = found["value"], sorted(found["value"].dropna().unique(), key=natural_key)
    for key, those in ("mixed_unit", found["values"] > 1), ("unsaid_unit", value.isna() & (start is not None)):
        some = ", ".join(map(repr, found.index[those][:1]))
        say.refuse_if(some, key, column=column, unit=unit, value=some)
    if start is None:
        return np.array([np.inf if pd.isna(v) else start_in(cells, v) for v in value], dtype=float)
    say.refuse_if(len(two) != 2, "not_two", column=repr(column), n=len(two), found=listing(two[:5]))
    return np.where(value == two[1], start, np.inf)


def ar1_fit(X, y):
    """Return the statsmodels fit with errors of neighbours correlated by restricted likelihood, rho, and effective df."""
    from statsmodels.regression.linear_model import OLS

    (n, k), system = X.shape, np.column_stack([X, y])

    def whitened(rho):
        return np.vstack([np.sqrt(1 - rho**2) * system[:1], system[1:] - rho * system[:-1]])

    def criterion(rho):
        size = np.log(np.abs(np.diag(np.linalg.qr(whitened(rho), mode="r"))))
        return 2 * ((n - k) * size[k] + size[:k].sum()) - np.log(1 - rho**2)

    white = whitened(rho := min(GRID, key=criterion))
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

    Errors of neighbours hang together (AR(1) by REML, t on T (1 - rho) / (1 + rho) - k degrees of freedom). Established
    if the level's interval leaves out 0 and no date before shows as much; without a comparison, a coincidence.

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
    y, X = cells["y"].to_numpy(float) - cells[more].sum(axis=1).to_numpy(float), segments(n, start, season)
    (fit, rho, df), at = ar1_fit(X, y), [2, 3]
    found = np.array(t_interval(fit.params, fit.bse, df, confidence))
    table = pd.DataFrame(found[:, at].T, columns=FOUND).assign(n=n)
    table.insert(0, "term", ["level", "slope"])
    table.insert(2, "std_error", fit.bse[at])
    before, dates = season if season and start >= 2 * season else None, range(min_points, start - min_points + 1)
    placebo = [ar1_fit(segments(start, date, before), y[:start])[0].tvalues[2] for date in dates]
    as_large = int(np.sum(np.abs(placebo) >= abs(fit.tvalues[2])))
    change, p, stands = table["estimate"][0], found[3, 2], bool(found[3, 2] < 1 - confidence and not as_large)
    hidden, level = (cells["n"] < getattr(series, "min_base", 1)).to_numpy(), X @ fit.params
    lines = pd.DataFrame({"period": cells["period"].astype(str).str[:10], "actual": np.where(hidden, np.nan, y)})
    on = np.where(np.arange(n) >= start, level - X[:, at] @ fit.params[at], np.nan)
    lines = lines.assign(fitted=level, counterfactual=on)
    keys = ["series_open" if not stands else "series_up" if change > 0 else "series_down"]
    keys += ["series_control" if more else "series_more"]
    known = {**table.iloc[0], "outcome": name, "since": since, "p": p, "placebo": as_large, "dates": len(placebo)}
    known["comparison"] = source.labels.get(comparison, comparison)
    summary = {"n": n, "method": "two lines, AR(1) errors by REML", "df": df, "established": stands}
    drawn = {"actual": "o", "fitted": "-", "counterfactual": "--"}
    return statement(
        keys, known, confidence, "interrupted_series", outcome, None, table, summary, source=source,
        found=dict(
            as_large=(as_large, not as_large, "stops"), tried=(len(placebo), len(placebo) > 0, "info"),
            neighbours=(round(float(rho), 2), rho <= 0.8),
        ), further={"lines": lines}, suppressed=int(hidden.sum()), fitted=fit,
        figure=dict(of="lines", x="period", columns=drawn, axes=("", name, "mean by period")),
    )  # fmt: skip


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
    """Return a column of cells as (units, periods), missing where a unit is not seen."""
    return cells.pivot(index="unit", columns="t", values=column).to_numpy(dtype=float)


def averages(Y, W, at) -> np.ndarray:
    """Return the weighted means (n, k) of the known of each row over the columns that `at` (T, k) marks."""
    with np.errstate(invalid="ignore"):  # nobody is seen there
        return (np.nan_to_num(Y * W) @ at) / (np.nan_to_num(W) @ at)


def changes(Y, W, dates) -> np.ndarray:
    """Return each unit's mean from a date on less that before, (units, dates); missing where one side is not seen."""
    late = np.arange(Y.shape[1])[:, None] >= np.array(dates)
    return averages(Y, W, late) - averages(Y, W, ~late)


def welch(values, group, confidence) -> pd.DataFrame:
    """Return by column of values (units, k) the difference of the means of two groups with Welch's interval, p and t."""
    with warnings.catch_warnings():  # a period may have nobody on one side: missing, no news
        warnings.simplefilter("ignore")
        found = stats.ttest_ind(values[group], values[~group], equal_var=False, nan_policy="omit")
        gap = np.nanmean(values[group], axis=0) - np.nanmean(values[~group], axis=0)
    rows = gap, *found.confidence_interval(confidence), found.pvalue, np.abs(found.statistic)
    return pd.DataFrame(np.array(rows).T, columns=[*FOUND, "t"])


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

    Two-way effects, errors by unit (CR2). Established if Welch's test of the units' changes and the wild bootstrap find
    it too, no trend or period before differed, and no date before shows as much. Starts at different times: group-time
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
    staggered = isinstance(since, str) and since in getattr(getattr(panel, "table", panel), "columns", ())
    start = None if staggered else start_in(cells, since)
    starts, Y = starts_of(panel, cells, unit, treated, since, start), wide(cells, "y")
    runs, seen = np.isfinite(starts), Y if staggered else changes(Y, wide(cells, "weight"), [start])
    whole = np.isfinite(seen).all(axis=1)
    sides = dict(treated=int((whole & runs).sum()), control=int((whole & ~runs).sum()))
    say.refuse_if(min(sides.values()) < min_units, "lacking_units", **sides, least=min_units, unit=unit)
    cells, lost = cells[cells["unit"].isin(cells["unit"].unique()[whole])], int((~whole).sum())
    periods = np.unique(cells["t"])  # of those that stay
    cells = cells.assign(t=np.searchsorted(periods, cells["t"]))
    starts = np.where(runs, np.searchsorted(periods, starts), np.inf)[whole]
    draws, base = dict(n_boot=n_boot, seed=seed), getattr(panel, "min_base", 1)
    found = _staggered(cells, starts, confidence) if staggered else _at_once(
        cells, starts, list(controls), draws, base, confidence
    )  # fmt: skip
    table, reasons, keys, known, checks, more = found
    table.insert(0, "term", [say[f"did_row_{k}"] for k in ((4,) if staggered else range(4))])
    keys = ["did_open" if reasons else "did_more" if table["estimate"][0] > 0 else "did_less", *keys]
    known |= {**sides, **table.iloc[0], "periods": len(periods), "outcome": name, "why": listing(reasons[:2])}
    method = say["did_staggered"] if staggered else "two-way effects, CR2 by unit"
    summary = {"n": int(cells["n"].sum()), "method": method, "established": not reasons}
    checks["lost_staggered" if staggered else "lost"] = lost, lost == 0
    axes = dict(figure=dict(of="event_study", x="from_start", columns={"treated": "o-", "control": "o-"},
        dashed=("axvline", -0.5), axes=(say["did_x"], name, say["did_unit"])))
    more |= dict(drawn={"line": 0.0, "unit": name}) if staggered else axes
    question = "difference_in_differences", outcome, unit, table, summary
    return statement(keys, known, confidence, *question, source=source, found=checks, **more)


def _at_once(cells, starts, controls, draws, min_base, confidence) -> tuple:
    """Return rows, doubts, sentences and checks of a programme that began everywhere at one time, and its event study."""
    group, start, code = np.isfinite(starts), int(starts.min()), pd.factorize(cells["unit"])[0]
    runs, before = group[code], np.arange(cells["t"].max() + 1)[:, None] < start
    columns = [runs & (cells["t"] >= start), *(cells[c] for c in controls)]
    fit, clustered, _ = two_way(cells, columns, confidence)
    p, *wild = wild_bootstrap(fit.model.wexog, fit.model.wendog, code, 0, confidence=confidence, **draws)
    others = np.column_stack([*columns[1:], pd.get_dummies(cells["t"], drop_first=True)]).astype(float)
    Y, W, clean = (wide(cells.assign(clean=cells["y"] - others @ fit.params[1:]), c) for c in ("y", "weight", "clean"))
    change = welch(changes(clean, W, [start]), group, confidence).iloc[0]
    alone, dates = changes(Y, W, [start])[group, 0], range(2, start - 1)
    naive = t_interval(alone.mean(), stats.sem(alone), len(alone) - 1, confidence)
    rows = [clustered, change[FOUND], (clustered[0], *wild, p), naive]
    table = pd.DataFrame(np.array(rows, dtype=float), columns=FOUND).assign(n=[len(group)] * 3 + [len(alone)])
    earlier = changes(clean[:, :start], W[:, :start], dates)
    placebo = (welch(earlier, group, confidence)["t"] >= change["t"]).sum() if dates else 0
    study = cells.drop_duplicates("t").sort_values("t")["period"].astype(str).str[:10].to_frame().reset_index(drop=True)
    study["from_start"] = np.arange(len(study)) - start
    study[["treated", "control"]] = averages(Y.T, W.T, np.column_stack([group, ~group]))
    study = study.join(welch(Y - averages(Y, W, before), group, confidence))
    reasons, checks = _doubts(cells, runs, start, table, study, placebo, len(dates), confidence)
    persons = cells["n"].groupby([cells["t"], runs]).sum().unstack(fill_value=0).min(axis=1).to_numpy()
    study.loc[persons < min_base, ["treated", "control", *ENDS]] = np.nan
    known = dict(zip(("p", "welch", "wild"), table["p_value"])) | ends("naive", *naive[:3])
    more = dict(further={"event_study": study.drop(columns=["p_value", "t"])}, fitted=fit)
    more["suppressed"] = int(study["estimate"].isna().sum())
    return table, reasons, ["did_units", f"did_before_{'more' if naive[0] > 0 else 'less'}"], known, checks, more


def _doubts(cells, runs, start, table, study, placebo, dates, confidence) -> tuple[list[str], dict]:
    """Return why the effect is not established, and what was checked; slopes before are found in half and 4 of 5 cases
    where they are 1.96 and 2.8 errors.
    """
    early, trend, error = (cells["t"] < start).to_numpy(), np.nan, np.nan
    seen = cells[early].groupby([runs[early], "unit"]).size()  # a slope needs two periods
    if (seen > 1).groupby(level=0).sum().min() >= 3:
        _, (*_, trend), error = two_way(cells[early], [(runs * cells["t"])[early]])
    joint = np.nanmin([1.0, *adjusted_p_values(study["p_value"][:start], correction="holm")])
    effect, p, alpha, missed = table.iloc[0], table["p_value"].iloc[:3], 1 - confidence, float(1.96 * error * len(study) / 2)
    found = {
        "agree": (", ".join(map(p_words, p)), p.max() < alpha or p.min() >= alpha, "stops"),
        "unseen" if np.isnan(trend) else "alike": (round(float(trend), 4), trend >= 0.05, "stops"),
        "alike_joint": (round(float(joint), 4), joint >= 0.05, "stops"),
        "missed": (missed, missed < abs(effect["estimate"])),
        "power": (float(2.8 * error), True, "info"),
        "dates": (int(placebo), not placebo, "stops"),
    }
    failed = [(key, value) for key, (value, ok, *level) in found.items() if level == ["stops"] and not ok]
    reasons = [say.told(f"why_{key}", value=value, dates=dates) for key, value in failed]
    return _in_span(effect, confidence) + reasons, found


def _in_span(row, confidence) -> list[str]:
    """Return that an interval holds 0 as a doubt, where it does."""
    holds = row["p_value"] >= 1 - confidence
    return [say("holds_0", span=interval(row["conf_low"], row["conf_high"], confidence, 2))] if holds else []


def _staggered(cells, starts, confidence) -> tuple:
    """Return rows, doubts and sentences of a programme that began at different times; units are left out in turn."""
    Y, n = wide(cells, "y"), len(starts)
    effect, spread = jackknife(lambda weights: group_time(Y, starts, weights), np.arange(n), np.ones(n))
    row = t_interval(float(effect[0]), float(np.sqrt(spread[0, 0])), n - 1, confidence)
    table = pd.DataFrame([(*row, n)], columns=[*FOUND, "n"])
    known = dict(p=row[3], starts=len(np.unique(starts[np.isfinite(starts)])))
    return table, _in_span(table.iloc[0], confidence), ["did_groups"], known, {}, {}
