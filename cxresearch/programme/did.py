"""Did units with the programme change otherwise than those without it?

Bell & McCaffrey (2002); Cameron, Gelbach & Miller (2008); Callaway & Sant'Anna (2021), J. Econometrics 225:200-230;
Roth (2022), AER: Insights 4:305-322 (what a test of earlier trends can see); Welch (1947), Biometrika 34:28-35.
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy import optimize, stats

from cxresearch.errors import DataProblem, nearest, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, forest, titled
from cxresearch.findings import Check, Statement, interval, listing, number, p_words, words
from cxresearch.inference import critical_value, joint_p_value
from cxresearch.inference.clusters import cr2, demean, jackknife, wild_bootstrap
from cxresearch.inference.events import amount_sql, opened, quoted, require_fields
from cxresearch.programme.payments import moment, sized
from cxresearch.survey import Survey, as_table, natural_key

say = words(__package__)


def read_panel(panel, outcome, unit, period, more=(), every=None) -> pd.DataFrame:
    """Return means by unit (one for all where it is None) and period in the order of time, with weight and persons."""
    if outcome is None:
        raise DataProblem("nothing says which column the programme should have changed; name it with outcome=")
    data = panel.table if isinstance(panel, Survey) else as_table(panel).data
    weight, person = (getattr(panel, name, None) for name in ("weight", "respondent"))
    w, who = quoted(weight) if weight else "1", f"DISTINCT {quoted(person)}" if person else "*"
    with opened(data, named="panel") as source:
        require_fields(source, outcome, unit, period, *more, where="the panel")
        at = quoted(period) if every is None else f"date_trunc('{every}', {quoted(period)}::TIMESTAMP)"
        of = {name: amount_sql(source, name) for name in (outcome, *more)}
        means = ", ".join(f"sum({w} * {sql}) / sum({w}) AS {quoted(name)}" for name, sql in of.items())
        whole = " AND ".join(
            f"{sql} IS NOT NULL" for sql in (quoted(unit) if unit else "1", quoted(period), *of.values())
        )
        sql = f"SELECT {quoted(unit) if unit else 0} AS unit, {at} AS period, {means}, sum({w})::DOUBLE AS weight, count({who}) AS n"
        cells = source.query("source", f"{sql} FROM source WHERE {whole} GROUP BY ALL HAVING sum({w}) > 0").df()
    if not len(cells):
        raise DataProblem(f"the panel has no row with {listing([outcome, period, *more])}")
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
    if not 0 < place < len(order):
        raise DataProblem(
            f"since={since} lies outside the data, which run from {order[0]} to {order[-1]}: nothing is seen on both sides of it"
        )
    return place


def two_way(y, treated, unit, period, controls=(), weights=None):
    """Return the statsmodels fit of y on treated and controls with effects of units and periods; treated comes first."""
    import statsmodels.api as sm

    dummies = [pd.get_dummies(np.asarray(v), drop_first=True).to_numpy(dtype=float) for v in (unit, period)]
    X = np.column_stack([treated, *controls, np.ones(len(y)), *dummies]).astype(float)
    return sm.WLS(np.asarray(y, dtype=float), X, weights=1.0 if weights is None else weights).fit()


def treated_units(panel, names, unit, treated) -> np.ndarray:
    """Return for each unit whether the programme runs there: from a list of units, or a column of two values."""
    if not isinstance(treated, str):
        wanted = list(treated)
        if unknown := [v for v in wanted if v not in names]:
            raise DataProblem(f"treated names {unknown[0]!r}, which {unit} never holds{nearest(unknown[0], names)}")
        return np.isin(names, wanted)
    data = panel.table if isinstance(panel, Survey) else as_table(panel).data
    with opened(data, named="panel") as source:
        require_fields(source, treated, where="the panel")
        t, u = quoted(treated), quoted(unit)
        found = source.query(
            "source", f"SELECT DISTINCT {u} AS unit, {t} AS treated FROM source WHERE {t} IS NOT NULL"
        ).df()
    values = sorted(found["treated"].unique(), key=natural_key)
    if len(values) != 2:
        raise DataProblem(
            f"treated={treated!r} must hold two values, without the programme and with it; it holds {len(values)}: {listing(values[:5])}"
        )
    if (mixed := found["unit"][found["unit"].duplicated()]).size:
        raise DataProblem(
            f"{treated} changes within {unit} {mixed.iloc[0]!r}; it must say where the programme runs, not when"
        )
    return (
        pd.Series(found["treated"].eq(values[1]).to_numpy(), found["unit"]).reindex(names).fillna(False).to_numpy(bool)
    )


def _changes(Y, W, start, upto=None) -> np.ndarray:
    """Return each unit's weighted mean from `start` on less that before; missing where one side is not seen."""
    late, early = slice(start, upto), slice(0, start)
    with np.errstate(invalid="ignore"):
        mean = [np.nansum((Y * W)[:, at], axis=1) / np.nansum(W[:, at], axis=1) for at in (late, early)]
    return mean[0] - mean[1]


def welch(values, group, confidence) -> dict:
    """Return the difference of means of two groups of units with Welch's interval, t and p."""
    one, two = (values[part & np.isfinite(values)] for part in (group, ~group))
    found = stats.ttest_ind(one, two, equal_var=False)
    low, high = found.confidence_interval(confidence)
    return {
        "estimate": one.mean() - two.mean(),
        "conf_low": low,
        "conf_high": high,
        "p_value": found.pvalue,
        "t": abs(found.statistic),
    }


def earlier_trends(Y, W, group, start) -> dict:
    """Return p of "units with and without went alike before", and the slopes a test would find in half and 4 of 5 cases.

    Hotelling's test of the periods before the last one; with too few units for it, or cells
    that are not seen, the difference of the two groups' slopes, errors by unit (CR2).
    """
    early, time, g = Y[:, :start], np.arange(start) - (start - 1.0), group
    known = np.isfinite(early).sum(axis=1) > 1
    if start < 2 or min((known & g).sum(), (known & ~g).sum()) < 3:
        return {"p": np.nan, "half": np.nan, "most": np.nan}
    q, df = start - 1, len(Y) - 2
    if not np.isfinite(early).all() or df - q + 1 <= 2:
        code, t = np.nonzero(np.isfinite(early))
        columns = np.column_stack([early[code, t], g[code] * time[t], t[:, None] == np.unique(t)[1:]])
        within = demean(columns, W[code, t], [code])
        root = np.sqrt(W[code, t])[:, None]
        beta = np.linalg.lstsq(within[:, 1:] * root, within[:, 0] * root[:, 0], rcond=None)[0]
        spread, dfs = cr2(within[:, 1:], within[:, 0] - within[:, 1:] @ beta, code, W[code, t])
        error = float(np.sqrt(spread[0, 0]))
        p = float(2 * stats.t.sf(abs(beta[0]) / error, dfs[0]))
        return {"p": p, "half": 1.96 * error, "most": 2.8 * error}
    lead = early[:, :-1] - early[:, -1:]
    gap = lead[g].mean(axis=0) - lead[~g].mean(axis=0)
    apart = np.where(g[:, None], lead - lead[g].mean(axis=0), lead - lead[~g].mean(axis=0))
    spread = apart.T @ apart / max(df, 1) * (1 / g.sum() + 1 / (~g).sum())
    p = joint_p_value(gap, spread, df)
    rest, needed = df - q + 1, []
    for power in (0.5, 0.8):
        short = lambda size: stats.ncf.sf(stats.f.isf(0.05, q, rest), q, rest, size * rest / df) - power  # noqa: E731
        needed.append(np.sqrt(optimize.brentq(short, 1e-6, 1e4) / (time[:-1] @ np.linalg.pinv(spread) @ time[:-1])))
    return {"p": p, "half": needed[0], "most": needed[1]}


def group_time(Y, starts, weights) -> np.ndarray:
    """Return the mean effect over treated units and periods, each against units not yet treated (Callaway & Sant'Anna)."""
    total = size = 0.0
    for g in np.unique(starts[np.isfinite(starts)]).astype(int):
        mine = weights * (starts == g)
        for t in range(g, Y.shape[1]):
            others = weights * ~(starts <= t)
            if others.sum() > 0 and mine.sum() > 0:
                change = Y[:, t] - Y[:, g - 1]
                total += mine.sum() * (mine @ change / mine.sum() - others @ change / others.sum())
                size += mine.sum()
    return np.array([total / size])


def difference_in_differences(
    panel, *, outcome, unit, period, treated=None, since, controls=(), every=None, n_boot=9999, confidence=0.95, min_units=5, seed,
) -> Statement:  # fmt: skip
    """Return how much more an outcome changed where the programme runs than where it does not.

    Parameters
    ----------
    panel : Survey, Table, DataFrame, path or relation
        One row per event, or per unit and period; rows are averaged by unit and period, and weigh alike.
    outcome, unit, period : column
        With `every` ("week", "month", ...) `period` is a time that is cut into periods.
    treated : list of units, or column of two values
    since : period or date, or column
        When the programme began; a column of `panel` where it began at different times (missing: never).
    controls : list of columns
        Averaged by unit and period.
    min_units : int
        Fewest units with the programme, and without it: with three or one, errors by unit find an effect in 17 and 76 of
        100 cases where there is none.

    Returns
    -------
    Statement
        *Difference in differences*: effects of units and periods taken out, errors clustered by unit (CR2, Bell & McCaffrey's degrees of
        freedom). It is established if Welch's test of the units' changes and the wild bootstrap find it too, no trend
        before was different, and no date before shows as much. *Before and after alone*: the units with the programme alone.
        With starts at different times: group-time effects against units not yet treated, units left out in turn.

    Raises
    ------
    DataProblem
        Too few units, a date outside the data, a treated column of more than two values.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import cxresearch as cx
    >>> rng, at = np.random.default_rng(1), pd.MultiIndex.from_product([range(20), range(8)], names=["shop", "month"])
    >>> table = at.to_frame(index=False).assign(wait=rng.normal(9, 1, 160))
    >>> table["wait"] -= 4.0 * ((table["shop"] < 8) & (table["month"] >= 4))
    >>> print(cx.difference_in_differences(table, outcome="wait", unit="shop", period="month", treated=range(8), since=4, seed=1))
    wait is ... lower where the programme runs than it would have been (95 % interval ...
    """
    require_share("confidence", confidence)
    labels = getattr(panel, "labels", {})
    cells = read_panel(panel, outcome, unit, period, tuple(controls), every)
    names = cells["unit"].unique()
    if isinstance(since, str) and since in getattr(getattr(panel, "table", panel), "columns", ()):
        return _staggered(panel, cells, names, outcome, unit, since, min_units, confidence)
    start, group = start_in(cells, since), treated_units(panel, names, unit, treated)
    Y, W = (_wide(cells, c, names) for c in ("y", "weight"))
    complete = np.isfinite(_changes(Y, W, start))
    require_units(group & complete, ~group & complete, min_units, unit)
    cells = cells[complete[pd.factorize(cells["unit"])[0]]]
    Y, W, names, group, lost = Y[complete], W[complete], names[complete], group[complete], int((~complete).sum())
    code = pd.factorize(cells["unit"])[0]
    D = (group[code] & (cells["t"] >= start)).to_numpy(dtype=float)
    effect, elsewhere = _two_way_effect(cells, code, D, list(controls), n_boot, seed, confidence)
    clean = _wide(cells.assign(y=cells["y"] - elsewhere), "y", names)  # less what happened everywhere
    change = welch(_changes(clean, W, start), group, confidence)
    alone = stats.ttest_1samp(_changes(Y, W, start)[group], 0.0)
    naive = (alone.statistic * alone._standard_error, *alone.confidence_interval(confidence))
    tests = ["difference in differences", "changes of units", "wild bootstrap", "before and after alone"]
    columns = ["estimate", "conf_low", "conf_high", "p_value"]
    rows = [effect["clustered"], [change[c] for c in columns], effect["wild"], (*naive, alone.pvalue)]
    table = pd.DataFrame(rows, columns=columns).assign(n=[len(group)] * 3 + [int(group.sum())])
    table.insert(0, "term", tests)
    before = earlier_trends(Y, W, group, start)
    placebo = [
        welch(_changes(clean[:, :start], W[:, :start], s), group, confidence)["t"] >= change["t"]
        for s in range(2, start - 1)
    ]
    reasons, checks = _doubts(table, before, placebo, Y.shape[1], confidence, lost)
    study = _event_study(cells, Y, W, group, start, confidence, getattr(panel, "min_base", 1))
    p_words_of = dict(zip(("p", "welch", "wild"), map(p_words, table["p_value"])))
    counts = dict(treated=int(group.sum()), control=int((~group).sum()), periods=Y.shape[1])
    words = [
        _words(labels.get(outcome, outcome), *effect["clustered"][:3], confidence, reasons),
        say("did_units", **counts, **p_words_of),
        say("did_before_more" if naive[0] > 0 else "did_before_less", **sized(*naive, confidence)),
    ]
    summary = {"n": int(cells["n"].sum()), "method": "two-way effects, CR2 by unit", "established": not reasons}
    model = partial(
        two_way, cells["y"], D, code, cells["t"], cells[list(controls)].to_numpy(dtype=float).T, cells["weight"]
    )
    return Effect(
        "difference_in_differences", outcome, unit, table, summary, checks, labels, {"event_study": study},
        suppressed=int(study["estimate"].isna().sum()), words=" ".join(words), figure=_paths, fitted=model,
    )  # fmt: skip


def _wide(cells, column, names) -> np.ndarray:
    return cells.pivot(index="unit", columns="t", values=column).reindex(names).to_numpy(dtype=float)


def _two_way_effect(cells, code, D, controls, n_boot, seed, confidence) -> tuple[dict, np.ndarray]:
    """Return the effect with its ends and p, clustered and by wild bootstrap, and what happened everywhere (rows,)."""
    weights = cells["weight"].to_numpy()
    others = np.column_stack([pd.get_dummies(cells["t"], drop_first=True), cells[controls]]).astype(float)
    within = demean(np.column_stack([cells["y"], D, others]), weights, [code])
    y, X, root = within[:, 0], within[:, 1:], np.sqrt(weights)
    if np.linalg.matrix_rank(X) < X.shape[1]:
        raise DataProblem(
            f"of {listing(controls)} a control does not vary within units beside the periods; leave it out"
        )
    beta = np.linalg.lstsq(X * root[:, None], y * root, rcond=None)[0]
    spread, df = cr2(X, y - X @ beta, code, weights)
    error = np.sqrt(spread[0, 0])
    half, p = critical_value(confidence, df[0]) * error, 2 * stats.t.sf(abs(beta[0]) / error, df[0])
    wild = wild_bootstrap(X * root[:, None], y * root, code, 0, n_boot=n_boot, seed=seed, confidence=confidence)
    found = {"clustered": (beta[0], beta[0] - half, beta[0] + half, p), "wild": (beta[0], *wild[1:], wild[0])}
    return found, others @ beta[1:]


def _doubts(table, before, placebo, periods, confidence, lost) -> tuple[list[str], tuple[Check, ...]]:
    """Return why the effect is not established, and the checks."""
    effect, p, alpha = table.iloc[0], table["p_value"].iloc[:3], 1 - confidence
    agree = p.max() < alpha or p.min() >= alpha
    missed = before["half"] * periods / 2
    reasons = {
        f"its interval holds 0 ({interval(effect['conf_low'], effect['conf_high'], confidence, 2)})": p.iloc[0]
        >= alpha,
        "tests on units disagree": not agree,
        f"trends differed before it ({p_words(before['p'])})": before["p"] < 0.05,
        "trends before it cannot be compared": np.isnan(before["p"]),
        f"{sum(placebo)} of {len(placebo)} dates before it show as much": any(placebo),
    }
    checks = (
        Check("clustered, unit changes and wild bootstrap agree", ", ".join(map(p_words, p)), f"all or none below {alpha:.2g}", bool(agree), "stops"),
        Check("trends before the programme alike, p", round(float(before["p"]), 4), "at least 0.05", bool(before["p"] >= 0.05), "stops"),
        Check("bias of a trend before that this test misses in half of cases", float(missed), f"below the effect, {number(abs(effect['estimate']), 2)}", bool(missed < abs(effect["estimate"]))),
        Check("difference of trends per period found in 4 of 5 cases", float(before["most"]), "information", True, "info"),
        Check("dates before that show as much", sum(placebo), "0", not any(placebo), "stops"),
        Check("units not seen on both sides, left out", lost, "0", lost == 0),
    )  # fmt: skip
    return [why for why, doubt in reasons.items() if doubt], checks


class Effect(Statement):
    """The effect of a programme; ``model`` is the least-squares fit, whose own errors know nothing of units."""

    @property
    def model(self):
        return self.fitted()


def require_units(treated, control, min_units, unit) -> None:
    """Refuse fewer units than errors by unit can bear."""
    found = int(np.sum(treated)), int(np.sum(control))
    if min(found) < min_units:
        raise DataProblem(
            f"{found[0]} units ({unit}) with the programme and {found[1]} without it are seen before and after; at least "
            f"{min_units} of each are needed: with fewer, errors by unit call chance an effect (17 of 100 times with three, 76 "
            "with one). Compare more units, or ask interrupted_series what coincides with the date"
        )


def _words(name, estimate, low, high, confidence, reasons) -> str:
    if reasons:
        return say("did_open", outcome=name, why=listing(reasons[:2]))
    return say("did_more" if estimate > 0 else "did_less", outcome=name, **sized(estimate, low, high, confidence))


def _event_study(cells, Y, W, group, start, confidence, min_base) -> pd.DataFrame:
    """Return by period the means of both groups, and the difference of their changes since the mean before the start."""
    base = np.nansum((Y * W)[:, :start], axis=1) / np.nansum(W[:, :start], axis=1)
    persons = cells["n"].groupby([cells["t"], group[pd.factorize(cells["unit"])[0]]]).sum()
    rows = []
    for t, (period, values) in enumerate(zip(cells.drop_duplicates("t").sort_values("t")["period"], Y.T)):
        shown = min(persons.get((t, side), 0) for side in (False, True)) >= min_base
        found = (
            welch(values - base, group, confidence)
            if shown
            else dict.fromkeys(("estimate", "conf_low", "conf_high"), np.nan)
        )
        means = [
            np.average(values[g & np.isfinite(values)], weights=W[g & np.isfinite(values), t]) if shown else np.nan
            for g in (group, ~group)
        ]
        ends = {c: found[c] for c in ("estimate", "conf_low", "conf_high")}
        rows.append(
            {"period": str(period)[:10], "from_start": t - start, "treated": means[0], "control": means[1], **ends}
        )
    return pd.DataFrame(rows)


def _staggered(panel, cells, names, outcome, unit, since, min_units, confidence) -> Statement:
    """Return the effect where the programme began at different times, units left out in turn for its error."""
    labels, table = getattr(panel, "labels", {}), getattr(panel, "table", panel)
    began = table.groupby(unit)[since].agg(["first", "nunique"]).reindex(names)
    if (began["nunique"] > 1).any():
        raise DataProblem(f"{since} differs within {unit} {began.index[began['nunique'] > 1][0]!r}; a unit starts once")
    starts = np.array([np.inf if pd.isna(v) else start_in(cells, v) for v in began["first"]], dtype=float)
    Y = _wide(cells, "y", names)
    whole = np.isfinite(Y).all(axis=1)
    Y, starts, lost = Y[whole], starts[whole], int((~whole).sum())
    runs = np.isfinite(starts)
    require_units(runs, ~runs, min_units, unit)
    effect, spread = jackknife(lambda w: group_time(Y, starts, w), np.arange(len(Y)), np.ones(len(Y)))
    error, df = float(np.sqrt(spread[0, 0])), len(Y) - 1
    half, p = critical_value(confidence, df) * error, float(2 * stats.t.sf(abs(effect[0]) / error, df))
    ends = effect[0] - half, effect[0] + half
    reasons = [f"its interval holds 0 ({interval(*ends, confidence, 2)})"] if p >= 1 - confidence else []
    row = ("group-time effects", effect[0], *ends, p, len(Y))
    found = pd.DataFrame([row], columns=["term", "estimate", "conf_low", "conf_high", "p_value", "n"])
    counts = dict(
        treated=int(runs.sum()), control=int((~runs).sum()), periods=Y.shape[1], starts=len(np.unique(starts[runs]))
    )
    words = _words(labels.get(outcome, outcome), effect[0], *ends, confidence, reasons)
    words += " " + say("did_groups", **counts, p=p_words(p))
    checks = (Check("units not seen in every period, left out", lost, "0", lost == 0),)
    summary = {
        "n": int(cells["n"].sum()),
        "method": "group-time effects against not yet treated",
        "established": not reasons,
    }
    return Statement(
        "difference_in_differences", outcome, unit, found, summary, checks, labels, words=words, figure=_bars
    )


def _bars(finding, ax):
    title = finding.title
    return forest(
        finding.table,
        "estimate",
        names=["effect"],
        low="conf_low",
        high="conf_high",
        line=0.0,
        title=title,
        unit=finding.label(finding.outcome),
        ax=ax,
    )


def _paths(finding, ax):
    table, ax = finding.further["event_study"], axes_or_new(ax)
    for column, colour, name in (("treated", PALETTE[0], "with the programme"), ("control", QUIET, "without it")):
        ax.plot(table["from_start"], table[column], "o-", color=colour, label=name, markersize=4)
    ax.axvline(-0.5, color=QUIET, linestyle="--", linewidth=1)
    ax.set(xlabel="periods from the start of the programme", ylabel=finding.label(finding.outcome))
    ax.legend()
    return titled(ax, finding.title, "means of units in each period; dashed: the start")
