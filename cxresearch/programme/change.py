"""Did units with the programme change otherwise than those without it, and what coincides with a date in one series?

Bell & McCaffrey (2002); Cameron, Gelbach & Miller (2008); Callaway & Sant'Anna (2021); Roth (2022); Welch (1947);
Wagner et al. (2002); Prais & Winsten (1954); Cooper & Thompson (1977), REML: see docs/methods.md.
"""

import warnings

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import nearest, require_choice, require_share
from cxresearch.findings import ENDS, Finding, ends, interval, listing, p_words
from cxresearch.inference import adjusted_p_values, t_interval
from cxresearch.inference.clusters import cr2, demean, jackknife, wild_bootstrap
from cxresearch.programme.shared import PERIODS, ids_of, moment, relation, say, statement
from cxresearch.survey import natural_key, wave_order

FOUND = [*ENDS, "p_value"]
GRID = np.linspace(-0.9, 0.98, 95)  # of the correlation of neighbours


def read_panel(panel, outcome, unit, period, more=(), every=None) -> tuple:
    """Return the panel, its outcome's label, means `y`, `amount1`... of `more` by unit and period `t`, its columns."""
    say.refuse_if(outcome is None, "no_outcome")
    require_choice("every", every, (None, "hour", "day", *PERIODS))
    at, values = "time" if every else "period", {f"amount{i}": c for i, c in enumerate((outcome, *more))}
    weight, who = (getattr(panel, name, None) for name in ("weight", "respondent"))
    given = {role: c for role, c in dict(unit=unit, weight=weight, who=who).items() if c} | {at: period}
    w, who = "weight" if weight else "1", "DISTINCT who" if who else "*"
    cut = f"date_trunc('{every}', time)" if every else "period"
    means = ", ".join(f"sum({w} * {value}) / sum({w}) AS {value}" for value in values)
    found = f"{'unit' if unit else 0} AS unit, {cut} AS period, {means}, sum({w})::DOUBLE AS weight, count({who}) AS n"
    with relation(panel, "the panel", **given, **values) as (rows, _, about, names):
        known = [f"{role} IS NOT NULL" for role in ("unit", at) if role in given] + [f"isfinite({v})" for v in values]
        cells = rows.filter(" AND ".join(known)).aggregate(found).filter("weight > 0").df()
    say.refuse_if(cells.empty, "no_row", columns=listing([outcome, period, *more]))
    cells["label"] = cells["period"].astype(str).str[:10]  # as it is written
    if isinstance(cells["period"][0], str):
        cells["period"] = cells["period"].astype(str)
        if cells["period"].str.fullmatch(r"\d{4}-\d\d(-\d\d.*)?").all():
            cells["period"] = pd.to_datetime(cells["period"], format="mixed")
    order = sorted(cells["period"].unique())
    if isinstance(order[0], str):  # in the order of time, which the alphabet is not
        waves = getattr(panel, "wave", None) == period and panel.wave_order
        order = [label for label in map(str, waves or wave_order(cells["period"].rename(period))) if label in order]
    cells["t"] = cells["period"].map({p: i for i, p in enumerate(order)})
    cells = cells.rename(columns={"amount0": "y"}).sort_values(["unit", "t"], ignore_index=True)
    return about, about.labels.get(outcome, outcome), cells, names


def start_in(cells, since) -> int:
    """Return the place of the first period of the programme; refuse a date outside the data."""
    order = list(cells.drop_duplicates("t").sort_values("t")["period"])
    if isinstance(order[0], str):
        say.refuse_if(str(since) not in order, "no_label", since=since, first=order[0], last=order[-1])
        place = order.index(str(since))
    else:
        at = moment("since", since) if hasattr(order[0], "year") else pd.to_numeric(since, errors="coerce")
        place = sum(p < at for p in order)
    say.refuse_if(not 0 < place < len(order), "outside", since=since, first=order[0], last=order[-1])
    return place


def starts_of(panel, cells, unit, treated, since, start) -> np.ndarray:
    """Return the place of each unit's first period with the programme (`start`, or as `since` says), or infinity."""
    names, column = cells["unit"].unique(), since if start is None else treated
    if not isinstance(column, str | None):
        say.refuse_if(not pd.api.types.is_list_like(column), "no_list", treated=column)
        listed, known = pd.Series(list(treated), dtype=object), ids_of(names)
        for unknown in listed[~ids_of(listed).isin(known)]:
            say.refuse_if(True, "no_unit", found=repr(unknown), unit=unit, near=nearest(unknown, names))
        return np.where(known.isin(ids_of(listed)), start, np.inf)
    each = "unit, min(treated) AS value, count(DISTINCT treated) AS many"
    with relation(panel, "the panel", unit=unit, treated=column) as read:
        said = read.rows.filter("unit IS NOT NULL").aggregate(each).df().set_index("unit").reindex(names)
    for key, those in ("mixed_unit", said["many"] > 1), ("unsaid_unit", said["value"].isna() & (start is not None)):
        some = ", ".join(map(repr, said.index[those][:1]))
        say.refuse_if(some, key, column=column, unit=unit, value=some)
    if start is None:
        return np.array([np.inf if pd.isna(v) else start_in(cells, v) for v in said["value"]], dtype=float)
    two = sorted(said["value"].unique(), key=natural_key)
    say.refuse_if(len(two) != 2, "not_two", column=repr(column), n=len(two), found=listing(two[:5]))
    return np.where(said["value"] == two[1], start, np.inf)


def ar1_fit(X, y):
    """Return the statsmodels fit with errors of neighbours correlated (restricted likelihood), rho, effective df."""
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
    t, half = np.arange(n), (season or 0) / 2  # a wave of two periods has no sine, none is shorter
    turns = [f(np.pi * h * t / half) for h in (1, 2) for f in (np.sin, np.cos) if h < half or h == half and f is np.cos]
    return np.column_stack([np.ones(n), t, t >= start, (t - start) * (t >= start), *turns])


def interrupted_series(
    series, *, outcome, period, since, comparison=None, season=None, every=None, confidence=0.95, min_points=8
) -> Finding:
    """Return how much the level of a series changed at a date, beyond the line it was on.

    Errors of neighbours hang together (AR(1) by REML, t on T (1 - rho) / (1 + rho) - k degrees of freedom). Established
    if the level's interval leaves out 0 and no date before shows as much; without a comparison, a coincidence.
    Refused: too few periods on a side, a period that is missing, a date outside the data.

    Parameters
    ----------
    series, outcome, period, every, since : as in `difference_in_differences`; rows are averaged by period
    comparison : column, what did not meet the programme: the difference to it is analysed
    season, min_points : int, periods of a year (needs two years); fewest periods before and after

    Examples
    --------
    >>> asked = dict(outcome="wait", period="time", every="month", since="2025-01-01")
    >>> print(cx.interrupted_series(study.interactions, **asked))
    No change of Waiting time in minutes that coincides with 2025-01-01 is established ...
    """
    require_share("confidence", confidence)
    source, name, cells, _ = read_panel(series, outcome, None, period, [comparison] if comparison else [], every)
    start, n, least = start_in(cells, since), len(cells), max(min_points, 4)  # two lines and waves leave something
    sides = dict(before=start, after=n - start, since=since, least=least)
    say.refuse_if(min(start, n - start) < least, "short_series", **sides)
    say.refuse_if(season and n < 2 * season, "short_season", season=season, needed=2 * (season or 0), n=n)
    at, labels = cells["period"], cells["label"]
    if not isinstance(at[0], str):
        if not hasattr(at, "dt") and (at.between(190001, 210053) & (at % 100).between(1, 53)).all():
            at = at // 100 * (12 if (at % 100).max() <= 12 else 52) + at % 100  # months as 202401, or weeks
        steps = at.diff()
        say.refuse_if(steps.max() > 1.6 * steps.median(), "gap", period=labels[steps.argmax()])
    y = (cells["y"] - cells.filter(like="amount").sum(axis=1)).to_numpy(dtype=float)
    X, at = segments(n, start, season), [2, 3]
    fit, rho, df = ar1_fit(X, y)
    rows = np.array(t_interval(fit.params, fit.bse, df, confidence))[:, at]
    table = pd.DataFrame({"term": ["level", "slope"], "estimate": rows[0], "std_error": fit.bse[at]})
    table = table.assign(conf_low=rows[1], conf_high=rows[2], p_value=rows[3], n=n)
    before, dates = season if season and start >= 2 * season else None, range(least, start - least + 1)
    placebo = [ar1_fit(segments(start, date, before), y[:start])[0].tvalues[2] for date in dates]
    as_large = int(np.sum(np.abs(placebo) >= abs(fit.tvalues[2])))
    p, hidden = rows[3, 0], cells["n"] < getattr(series, "min_base", 1)
    lines = pd.DataFrame({"period": labels, "actual": y, "fitted": X @ fit.params})
    on = (lines["fitted"] - X[:, at] @ fit.params[at]).where(lines.index >= start)
    lines = lines.assign(actual=lines["actual"].mask(hidden), counterfactual=on)
    known = {**table.iloc[0], "outcome": name, "since": since, "p": p, "placebo": as_large, "dates": len(placebo)}
    known["comparison"] = source.labels.get(comparison, comparison)
    stands = bool(p < 1 - confidence and not as_large)
    keys = ["series_open" if not stands else "series_up" if rows[0, 0] > 0 else "series_down"]
    keys += ["series_control" if comparison else "series_more"]
    found = dict(as_large=(as_large, not as_large, "stops"), tried=(len(placebo), len(placebo) > 0, "info"))
    found |= dict(neighbours=(round(float(rho), 2), rho <= 0.8))
    drawn = {"actual": "o", "fitted": "-", "counterfactual": "--"}
    summary = {"n": n, "method": "two lines, AR(1) errors by REML", "df": df, "established": stands}
    return statement(
        keys, known, confidence, "interrupted_series", outcome, None, table, summary, source=source,
        found=found, further={"lines": lines}, suppressed=int(hidden.sum()), fitted=fit,
        figure=dict(of="lines", x="period", columns=drawn, axes="series"),
    )  # fmt: skip


def two_way(cells, columns, confidence=0.95):
    """Return the statsmodels fit of y within units and periods, the first estimate with ends and p (CR2), its error."""
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


def averages(Y, W, at) -> np.ndarray:
    """Return the weighted means (n, k) of the known of each row over the columns that `at` (T, k) marks."""
    with np.errstate(invalid="ignore"):  # nobody is seen there
        return (np.nan_to_num(Y * W) @ at) / (np.nan_to_num(W) @ at)


def changes(Y, W, dates) -> np.ndarray:
    """Return each unit's mean from a date on less that before, (units, dates); missing where one side is not seen."""
    late = np.arange(Y.shape[1])[:, None] >= np.array(dates)
    return averages(Y, W, late) - averages(Y, W, ~late)


def welch(values, group, confidence) -> pd.DataFrame:
    """Return by column of values (units, k) the difference of two groups' means, its interval, p (Welch) and |t|."""
    with warnings.catch_warnings():  # a period may have nobody on one side: missing, no news
        warnings.simplefilter("ignore")
        found = stats.ttest_ind(values[group], values[~group], equal_var=False, nan_policy="omit")
        gap = np.nanmean(values[group], axis=0) - np.nanmean(values[~group], axis=0)
    rows = gap, *found.confidence_interval(confidence), found.pvalue, np.abs(found.statistic)
    return pd.DataFrame(np.array(rows).T, columns=[*FOUND, "t"])


def group_time(Y, starts, weights) -> np.ndarray:
    """Return the mean effect over treated units and periods, each against units not yet treated."""
    total = size = 0.0
    for g in np.unique(starts[np.isfinite(starts)]).astype(int):
        mine, others = weights * (starts == g), weights[:, None] * (starts[:, None] > np.arange(g, Y.shape[1]))
        seen, change = others.sum(axis=0) > 0, Y[:, g:] - Y[:, [g - 1]]
        theirs = np.sum(others * change, axis=0)[seen] / others.sum(axis=0)[seen]
        total += np.sum(mine @ change[:, seen] - mine.sum() * theirs)
        size += mine.sum() * seen.sum()
    return np.array([total / size])


def difference_in_differences(
    panel, *, outcome, unit, period, treated=None, since, controls=(), every=None, n_boot=9999, confidence=0.95,
    min_units=5, seed,
) -> Finding:  # fmt: skip
    """Return how much more an outcome changed where the programme runs than where it does not.

    Two-way effects, errors by unit (CR2). Established if Welch's test of the units' changes and the wild bootstrap
    agree, no trend or period before differed, and no date before shows as much. Starts at different times: group-time
    effects against units not yet treated (Callaway & Sant'Anna), units left out in turn.
    Refused: too few units, a date outside the data, a treated column of more than two values.

    Parameters
    ----------
    panel : Survey, Table, DataFrame, path or relation; rows are averaged by unit and period
    outcome, unit, period, controls : columns; with `every` ("week", "month", ...) `period` is a time, cut into periods
    treated, min_units : list of units, or column of two values, where the programme runs; fewest with it and without it
    since : period or date; or a column, where it began at different times (missing: never)

    Examples
    --------
    >>> where = dict(outcome="wait", unit="branch", treated=study.programme.treated, since="2025-01-01")
    >>> contacts = study.matched("interactions", "customers", keep="all")
    >>> print(cx.difference_in_differences(contacts, period="time", every="month", n_boot=99, seed=1, **where))
    Waiting time in minutes is 1.43 lower where the programme runs than it would have been ...
    """
    require_share("confidence", confidence)
    controls = [controls] if isinstance(controls, str) else list(controls)
    source, name, cells, columns = read_panel(panel, outcome, unit, period, controls, every)
    staggered = isinstance(since, str) and since in columns
    for left, given in ("treated", treated is not None), ("controls", len(controls)):
        say.refuse_if(staggered and given, "no_more", since=since, name=left)
    start = None if staggered else start_in(cells, since)
    starts = starts_of(panel, cells, unit, treated, since, start)
    Y, W = (cells.pivot(index="unit", columns="t", values=c).to_numpy(dtype=float) for c in ("y", "weight"))
    runs, whole = np.isfinite(starts), np.isfinite(Y if staggered else changes(Y, W, [start])).all(axis=1)
    sides = dict(treated=int((whole & runs).sum()), control=int((whole & ~runs).sum()))
    say.refuse_if(min(sides.values()) < (least := max(min_units, 2)), "lacking_units", **sides, least=least, unit=unit)
    cells, lost = cells[cells["unit"].isin(cells["unit"].unique()[whole])], int((~whole).sum())
    periods = np.unique(cells["t"])  # of those that stay
    cells = cells.assign(t=np.searchsorted(periods, cells["t"]))
    starts = np.where(runs, np.searchsorted(periods, starts), np.inf)[whole]
    known = {**sides, "periods": len(periods), "outcome": name}
    if staggered:
        n, effect = len(starts), lambda weights: group_time(Y[whole], starts, weights)
        (estimate,), spread = jackknife(effect, np.arange(n), np.ones(n))
        row = t_interval(estimate, np.sqrt(spread[0, 0]), n - 1, confidence)
        table = pd.DataFrame([row], columns=FOUND).assign(n=n)
        known |= dict(p=table["p_value"][0], starts=len(np.unique(starts[np.isfinite(starts)])))
        reasons, keys, checks, more = [], ["did_groups"], {}, dict(drawn={"line": 0.0, "unit": name})
    else:
        draws, base = dict(n_boot=n_boot, seed=seed), getattr(panel, "min_base", 1)
        table, reasons, keys, checks, more, naive = _at_once(cells, starts, draws, base, confidence)
        known |= dict(zip(("p", "welch", "wild"), table["p_value"])) | naive
        drawn = dict(columns={"treated": "o-", "control": "o-"}, dashed=("axvline", -0.5), axes="did")
        more["figure"] = dict(of="event_study", x="from_start", **drawn)
    table.insert(0, "term", [say[f"did_row_{k}"] for k in ((4,) if staggered else range(4))])
    _, estimate, *span, p, _ = table.iloc[0]
    reasons = [say("holds_0", span=interval(*span, confidence, 2))] * bool(p >= 1 - confidence) + reasons
    keys = ["did_open" if reasons else "did_more" if estimate > 0 else "did_less", *keys]
    method = say["did_staggered"] if staggered else "two-way effects, CR2 by unit"
    summary = {"n": int(cells["n"].sum()), "method": method, "established": not reasons}
    checks["lost_staggered" if staggered else "lost"] = lost, lost == 0
    question = "difference_in_differences", outcome, unit, table, summary
    known |= {**table.iloc[0], "why": listing(reasons[:2])}
    return statement(keys, known, confidence, *question, source=source, found=checks, **more)


def _at_once(cells, starts, draws, min_base, confidence) -> tuple:
    """Return rows, doubts, sentences, checks, tables of a programme of one start; what before and after alone say."""
    group, start, code = np.isfinite(starts), int(starts.min()), pd.factorize(cells["unit"])[0]
    runs, before = group[code], np.arange(cells["t"].max() + 1)[:, None] < start
    controls = cells.filter(like="amount").to_numpy(dtype=float)
    fit, clustered, _ = two_way(cells, [runs & (cells["t"] >= start), *controls.T], confidence)
    say.refuse_if(not fit.ssr > 1e-20 * np.sum(fit.model.wendog**2), "no_spread")
    p, *wild = wild_bootstrap(fit.model.wexog, fit.model.wendog, code, 0, confidence=confidence, **draws)
    others = np.column_stack([controls, pd.get_dummies(cells["t"], drop_first=True)]).astype(float)
    wide = cells.assign(clean=cells["y"] - others @ fit.params[1:]).pivot(index="unit", columns="t")
    Y, W, clean = (wide[c].to_numpy(dtype=float) for c in ("y", "weight", "clean"))
    change, alone = welch(changes(clean, W, [start]), group, confidence).iloc[0], changes(Y, W, [start])[group, 0]
    naive = t_interval(alone.mean(), stats.sem(alone), len(alone) - 1, confidence)
    rows = [clustered, change[FOUND], (clustered[0], *wild, p), naive]
    table = pd.DataFrame(np.array(rows, dtype=float), columns=FOUND).assign(n=[len(group)] * 3 + [len(alone)])
    study = cells.drop_duplicates("t").sort_values("t", ignore_index=True)[["label"]].set_axis(["period"], axis=1)
    study["from_start"] = np.arange(len(study)) - start
    study[["treated", "control"]] = averages(Y.T, W.T, np.column_stack([group, ~group]))
    study = study.join(welch(Y - averages(Y, W, before), group, confidence))
    early, trend, error, dates = (cells["t"] < start).to_numpy(), np.nan, np.nan, range(2, start - 1)
    seen = cells[early].groupby([runs[early], "unit"]).size()  # a slope needs two periods
    if (seen > 1).groupby(level=0).sum().min() >= 3:
        _, (*_, trend), error = two_way(cells[early], [(runs * cells["t"])[early]])
    joint = np.nanmin([1.0, *adjusted_p_values(study["p_value"][:start], correction="holm")])
    earlier = changes(clean[:, :start], W[:, :start], dates)
    placebo = int((welch(earlier, group, confidence)["t"] >= change["t"]).sum()) if dates else 0
    # slopes before are found in half and in 4 of 5 cases where they are 1.96 and 2.8 errors
    p, alpha, missed = table["p_value"].iloc[:3], 1 - confidence, float(1.96 * error * len(study) / 2)
    found = {
        "agree": (", ".join(map(p_words, p)), p.max() < alpha or p.min() >= alpha, "stops"),
        "unseen" if np.isnan(trend) else "alike": (round(float(trend), 4), trend >= 0.05, "stops"),
        "alike_joint": (round(float(joint), 4), joint >= 0.05, "stops"),
        "missed": (missed, missed < abs(clustered[0])),
        "power": (float(2.8 * error), True, "info"),
        "dates": (placebo, not placebo, "stops"),
    }
    failed = [(key, value) for key, (value, ok, *level) in found.items() if level == ["stops"] and not ok]
    reasons = [say.told(f"why_{key}", value=value, dates=len(dates)) for key, value in failed]
    persons = cells["n"].groupby([cells["t"], runs]).sum().unstack(fill_value=0).min(axis=1).to_numpy()
    study.loc[persons < min_base, ["treated", "control", *ENDS]] = np.nan
    further, hidden = {"event_study": study.drop(columns=["p_value", "t"])}, int(study["estimate"].isna().sum())
    keys, more = ["did_units", f"did_before_{'more' if naive[0] > 0 else 'less'}"], dict(fitted=fit, suppressed=hidden)
    return table, reasons, keys, found, more | dict(further=further), ends("naive", *naive[:3])
