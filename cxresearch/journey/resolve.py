"""How long it takes until a case is closed, what goes with a hand-off, and who has to ask again.

Landmark: Anderson, Cain & Gelber (1983), J. Clinical Oncology 1:710-719. Ratio of means: Gourieroux, Monfort & Trognon
(1984), Econometrica 52:701-720 (Poisson pseudo-likelihood), open cases by inverse chance to be seen (Robins & Rotnitzky
1992). Cox (1972), JRSS B 34:187-220. E-value: VanderWeele & Ding (2017), Annals of Internal Medicine 167:268-274.
"""

import numpy as np
import pandas as pd
from scipy import optimize

from cxresearch import digits
from cxresearch.errors import require_share
from cxresearch.figures import PALETTE, axes_or_new, titled
from cxresearch.findings import ENDS, Check, ends
from cxresearch.inference import e_value, newcombe_difference, t_interval
from cxresearch.inference.survival import kaplan_meier, log_rank, restricted_mean
from cxresearch.journey.log import HOUR, UNKNOWN, JourneyFinding, event_log, groups_of, moments_of, said_yes, say
from cxresearch.journey.moments import design_of
from cxresearch.privacy import hidden_cells
from cxresearch.survey import sampling_units, total_covariance

LABELS = {"landmark": "From the landmark on", "season": "The same, season and backlog alike"}
LABELS |= {"later": "From a later landmark on", "naive": "Naive: ever handed on, from the opening on"}
LATER = 100  # fewest cases in either arm at the later landmark


def times_of(log, closed, until=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return by case when it was opened, hours until it was closed or last known to be open, and whether it is closed."""
    opened, ended = log.moment[log.first], log.moment[np.append(log.first[1:], True)]
    if closed is not None:
        ended = pd.Series(moments_of(log.table[closed])).groupby(log.case).max().to_numpy()
    limit = max(log.moment.max(), ended.max()) if until is None else until
    if (wrong := (ended > UNKNOWN) & (ended < opened)).any():
        told, at = (
            log.table[closed][log.first].iloc[np.argmax(wrong)],
            pd.Timestamp(opened[np.argmax(wrong)], unit="us"),
        )
        say.refuse_if(True, "closed_first", opened=at, closed=told, n=wrong.sum(), cases=len(opened), column=closed)
    done = (ended > UNKNOWN) & (ended <= limit)
    return opened, (np.where(done, ended, limit) - opened) / HOUR, done.astype(float)


def ratio_of_means(hours, done, arm, controls, persons, confidence) -> tuple[dict, object]:
    """Return the ratio of mean hours of an arm over the others, and the fit; with open cases, up to what both arms saw."""
    from statsmodels.genmod.families import Poisson
    from statsmodels.genmod.generalized_linear_model import GLM

    weights = np.ones(len(hours))
    if not done.all():
        horizon = min(hours[arm].max(), hours[~arm].max())
        hours, done = np.minimum(hours, horizon), np.where(hours >= horizon, 1.0, done)
        seen = kaplan_meier(hours, 1 - done)
        weights = done / np.maximum(np.append(1.0, seen.estimate)[np.searchsorted(seen.time, hours)], 1e-300)
    used = weights > 0  # a row without weight has no score
    X = np.column_stack([np.ones(len(hours)), arm, controls])[used]
    fit = GLM(hours[used], X, family=Poisson(), var_weights=weights[used]).fit(tol=1e-11)
    influence = (weights[used] * fit.resid_response)[:, None] * X @ fit.normalized_cov_params
    error = np.sqrt(total_covariance(influence, sampling_units(len(X), cluster=persons[used]), diagonal=True)[1])
    *logs, p = t_interval(fit.params[1], error, np.inf, confidence)
    return ends("estimate", *np.exp(logs)) | {"p_value": p, "n": len(hours), "n_handed": int(arm.sum())}, fit


def closing_rate(start, hours, done, confidence) -> dict:
    """Return the rate of closing after a hand-off over that before (Cox, ties by Breslow), counted from its moment on."""
    at, many = np.unique(hours[done > 0], return_counts=True)
    passed = start < hours
    after = np.searchsorted(np.sort(start[passed]), at) - np.searchsorted(np.sort(hours[passed]), at)
    before = len(hours) - np.searchsorted(np.sort(hours), at) - after
    expected = lambda b: many * after * np.exp(b) / (after * np.exp(b) + before)  # noqa: E731
    b = optimize.brentq(lambda b: expected(b).sum() - np.sum((done > 0) & passed), -20, 20)
    *logs, _ = t_interval(b, 1 / np.sqrt(np.sum(expected(b) * (1 - expected(b) / many))), np.inf, confidence)
    row = {"term": "rate of closing", **ends("estimate", *np.exp(logs))}
    return row | {"n": len(hours), "n_handed": int(passed.sum())}


def handed_on(log, changes, event) -> np.ndarray:
    """Return by case the moment of its first hand-off: a marked row, or when two values have been seen; else infinite."""
    if event is not None:
        hit = said_yes(log.table[event])
    else:
        code = pd.factorize(log.table[changes])[0]
        hit = ~log.first & (code >= 0) & (np.roll(code, 1) >= 0) & (code != np.roll(code, 1))
    return pd.Series(np.where(hit, log.moment, np.inf)).groupby(log.case).min().to_numpy()


def handoff_penalty(
    interactions, *, time, case=None, closed=None, changes=None, event=None, landmark=None, controls=(), confidence=0.95,
    min_cases=30,
) -> JourneyFinding:  # fmt: skip
    """Return how many times as long cases take that were handed on, compared from a landmark on.

    Long cases have more time to be handed on, and are long even if that costs nothing: compared are cases open at the
    landmark, by what happened before it. That they may be harder from the start is not removed; see `e_value`.

    Parameters
    ----------
    interactions, time, case : as in `journey_paths`
    closed : column, optional, when the case was closed, blank while open; without it the last row of a case closes it
    changes, event : column
        One of the two: what changes at a hand-off (channel, owner, agent), or yes in rows that are one (rework).
    landmark : float, optional, hours after the opening; by default the median time of the first hand-off
    controls : columns, known at the opening, held alike. Never the number of steps: a hand-off adds to it.
    min_cases : int, fewest persons in either arm

    Returns
    -------
    JourneyFinding
        Ratios of mean remaining hours (Poisson pseudo-likelihood): at the landmark, with season and backlog alike, naive. Not
        established where the interval holds 1, the naive ratio points the other way, or the ratio fades at a later landmark,
        when easy cases are closed, as one does that comes from harder cases. ``hazard``: the rate of closing.

    Raises
    ------
    DataProblem, TooFewRespondents
        A case closed before it was opened, a control that counts steps, a landmark at the opening; a small arm.

    Examples
    --------
    >>> print(cx.handoff_penalty(study.interactions, case="case", time="time", closed="closed", changes="owner"))
    That hand-offs go with longer or shorter cases is not established: ...
    """
    require_share("confidence", confidence)
    say.refuse_if((changes is None) == (event is None), "no_handoff")
    log = event_log(interactions, case, time, [closed, changes, event, *controls])
    opened, hours, done = times_of(log, closed)
    known = log.table.loc[log.first, list(controls)].reset_index(drop=True)
    for name in known.select_dtypes("number"):
        alike = pd.Series(np.bincount(log.case)).corr(known[name], method="spearman")
        say.refuse_if(alike > 0.99, "counts_steps", name=name)
    start, persons = (handed_on(log, changes, event) - opened) / HOUR, log.persons
    ever, least = start <= hours, max(min_cases, log.source.min_base)
    refuse_few(persons[ever], "were handed on", least)
    mark = float(np.median(start[ever]) if landmark is None else landmark)
    why = "; times are days without hours, give landmark=24 or more" if log.days else ""
    say.refuse_if(not mark > 0, "no_landmark", mark=f"{mark:g}", why=why)
    at_risk = hours > mark
    early, open_then = at_risk & (start <= mark), f"open {mark:g} hours after their opening had"
    refuse_few(persons[early], f"{open_then} been handed on", least)
    refuse_few(persons[at_risk & ~early], f"{open_then} not been handed on", least)
    plain = design_of(known)
    season = np.column_stack([plain, season_of(opened, hours)])
    arms = ((mark, at_risk, early, plain), (mark, at_risk, early, season), (0.0, hours >= 0, ever, plain))
    ratios = [ratio_of_means(hours[r] - at, done[r], arm[r], X[r], persons[r], confidence) for at, r, arm, X in arms]
    (top, fit), (alike, _), (naive, _), still = *ratios, int(np.sum(done == 0))
    late, far = later_ratio(start, hours, done, mark, plain, persons, confidence, least)
    rows = zip(LABELS, (top, alike, far, naive))
    table = pd.DataFrame([{"term": term} | row for term, row in rows if row is not None])
    same, hidden = (top["estimate"] > 1) == (naive["estimate"] > 1), e_value(top["conf_low"], top["conf_high"])
    fades = hidden > 1 and late is not None and bool(far["conf_low"] <= 1 <= far["conf_high"])
    holds = "too few cases" if late is None else "no" if fades else "yes"
    found = bool(hidden > 1 and same and not fades)
    share = least_share(known, early, at_risk)
    open_share = digits.rounded(still / len(done), 4)
    checks = (
        *log.checks,
        Check("landmark and naive comparison point the same way", "yes" if same else "no", "yes", same, "stops"),
        Check("ratio holds at a later landmark", holds, "yes", not fades, "stops"),
        Check("cases still open, share", open_share, "0.05, else means up to a horizon", open_share <= 0.05, "info"),
        Check("smallest share of either arm, within each group of the controls", share, "at least 0.1", share >= 0.1),
    )
    summary = {"n": top["n"], "method": "landmark, Poisson pseudo-likelihood", "landmark": mark, "n_open": still}
    summary |= {"e_value": hidden, "established": found}
    question = "handoff_penalty", changes or event, None, table, summary, checks
    told = top | {"size": abs(top["estimate"] - 1), "late": late}
    for name, row in {"naive": naive, "later": far or naive}.items():
        told |= ends(name, *(row[end] for end in ENDS))
    keys = ["handoff_open" if not found else "handoff_longer" if top["estimate"] > 1 else "handoff_shorter"]
    keys += ["handoff_naive", *["handoff_hidden"] * found, *["handoff_fades"] * fades, *log.days]
    more = {"further": {"hazard": pd.DataFrame([closing_rate(start, hours, done, confidence)])}, "fitted": fit}
    more |= {"drawn": {"line": 1.0, "unit": "ratio of mean hours, handed on over not"}}
    more["labels"] = log.source.labels | LABELS
    return JourneyFinding.of(say, keys, told, confidence, *question, source=log.source, **more)


def later_ratio(start, hours, done, mark, X, persons, confidence, least):
    """Return the latest moment at which both arms hold enough cases, and the ratio from then on; else None twice."""
    for at in np.quantile(hours[hours > mark], [0.95, 0.9, 0.8, 0.7, 0.6, 0.5]):
        rest = hours > at
        arm = start[rest] <= at
        if min(arm.sum(), (~arm).sum()) >= max(least, LATER):
            return at, ratio_of_means(hours[rest] - at, done[rest], arm, X[rest], persons[rest], confidence)[0]
    return None, None


def refuse_few(persons, what, least) -> None:
    """Refuse an arm of too few persons."""
    say.refuse_if((n := len(np.unique(persons))) < least, "few_cases", n=n, what=what, least=least)


def season_of(opened, hours) -> np.ndarray:
    """Return month and weekday of the opening, and the log of the cases open then, as columns."""
    when = pd.Series(pd.to_datetime(opened, unit="us"))
    backlog = np.searchsorted(np.sort(opened), opened) - np.searchsorted(np.sort(opened + hours * HOUR), opened)
    named = pd.DataFrame({"month": when.dt.strftime("%Y-%m"), "day": when.dt.day_name()})
    return np.column_stack([design_of(named), np.log1p(np.maximum(backlog, 0))])


def least_share(known: pd.DataFrame, early, at_risk) -> float:
    """Return the smallest share that either arm has within a group of a control, or of all."""
    groups = [known[c][at_risk] for c in known if known[c][at_risk].nunique() < 20] or [np.zeros(at_risk.sum())]
    shares = np.concatenate([pd.Series(early[at_risk]).groupby(np.asarray(group)).mean() for group in groups])
    return digits.rounded(min(shares.min(), 1 - shares.max()), 3)


def repeat_contacts(
    interactions, *, time, topic, until, customer=None, channel=None, within_days=7, by=(), confidence=0.95
) -> JourneyFinding:
    """Return the share of contacts after which the same customer comes back on the same topic within some days.

    Parameters
    ----------
    interactions, time : as in `journey_paths`
    topic, customer, channel : columns
        The customer is by default the person of the table; with `channel`, followers in another channel are counted, too.
    until : timestamp
        From when on nothing is known. Contacts followed for fewer than `within_days` are left out and counted.
    by : column or list of columns
        Of the first contact; two groups, such as resolved or not, are compared (Newcombe's interval).

    Returns
    -------
    JourneyFinding
        Shares with Wilson's interval on the base that customers as clusters leave. Resolved at first contact: 1 - estimate.

    Raises
    ------
    DataProblem, TooFewRespondents
        No customer, no contact followed long enough; fewer customers than the floor.

    Examples
    --------
    >>> found = cx.repeat_contacts(study.interactions, time="time", topic="touchpoint", until="2025-01-01")
    >>> found.tidy()["group"].item()
    'all'
    """
    require_share("confidence", confidence)
    by = [by] if isinstance(by, str) else list(by)
    log = event_log(interactions, customer, time, [topic, channel, *by])
    limit, days = limit_of(until), int(within_days * 24 * HOUR)
    inside = np.flatnonzero(log.moment <= limit - days).astype(np.int32)
    last = pd.Timestamp(int(log.moment.max()), unit="us")
    say.refuse_if(not inside.size, "not_followed", until=until, days=f"{within_days:g}", last=last)
    marks, (code, _) = {}, groups_of(log.table[[topic]])
    marks["repeats"] = followed(log, days, limit, np.argsort(code, kind="stable"), code)  # by topic, customer and time
    if channel:
        code, _ = groups_of(log.table[[channel]])
        marks["switches"] = followed(log, days, limit, np.arange(len(code), dtype=np.int32), code, same=False)
    whole, table = log.shares(marks, [], inside, confidence).iloc[0], log.shares(marks, by, inside, confidence)
    say.refuse_if(np.isnan(whole["n"]), "few_customers", floor=log.source.min_base)
    keys, known, established = ["repeat"], {"days": f"{within_days:g}"}, None
    if len(table) == 2 and table["n"].notna().all():
        more, less = (table.iloc[k] for k in digits.descending(table["estimate"], table["group"]))
        bases = (more["estimate"], more["n_effective"], less["estimate"], less["n_effective"])
        known |= ends("gap", np.nan, *newcombe_difference(*bases, confidence))
        established = bool(known["gap_low"] > 0)
        known |= {"by": log.label(by[0]), "more": more["group"], "less": less["group"]}
        known |= {"most": more["estimate"], "least": less["estimate"]}
        keys += ["repeat_differ" if established else "repeat_open"]
    short = len(log.case) - len(inside)
    lost = Check(f"contacts followed for under {within_days:g} days, left out", short, "information", True, "info")
    unit = f"share of contacts followed by another on the same topic within {within_days:g} days, 0–1"
    summary = whole.drop("group").to_dict() | {"method": "Wilson, customers as clusters", "established": established}
    question = "repeat_contacts", topic, ", ".join(by) or None, table, summary, (*log.checks, lost)
    more = {"suppressed": int(table["n"].isna().sum()), "drawn": {"line": whole["estimate"], "unit": unit}}
    return JourneyFinding.of(say, keys, known, confidence, *question, source=log.source, **more)


def limit_of(until) -> int:
    """Return a moment given by hand as microseconds."""
    return pd.Timestamp(until).tz_localize(None).value // 1000


def followed(log, days, limit, order, values, *, same=True) -> np.ndarray:
    """Return which contacts are followed in `order`, within days and before the limit, by one of the same or another value."""
    case, values, found = log.case[order], values[order], np.zeros(len(order), dtype=bool)
    near = np.flatnonzero((case[1:] == case[:-1]) & ((values[1:] == values[:-1]) == same))
    first, then = order[near], order[near + 1]
    found[first] = (log.moment[then] - log.moment[first] <= days) & (log.moment[then] < limit)
    return found


def time_to_resolve(
    interactions, *, opened, until, closed=None, case=None, by=None, horizon=None, confidence=0.95
) -> JourneyFinding:
    """Return how long cases take until they are closed; open ones count as open so far.

    Parameters
    ----------
    interactions, case : as in `journey_paths`
    opened, closed : columns
        The first of `opened` opens a case, the last of `closed` (without it, the last row) closes it; it is open while blank.
    until : timestamp, from when on nothing is known: cases closed later are open
    by, horizon : column and float, optional
        Group of the first row; hours up to which the mean is taken, by default the longest time seen in every group.

    Returns
    -------
    JourneyFinding
        Kaplan and Meier's median in hours (interval Brookmeyer-Crowley), missing where fewer than half are closed, and
        restricted mean; log-rank test between groups. Table ``curves``: the share still open.

    Raises
    ------
    DataProblem, TooFewRespondents
        A case closed before it was opened, none opened before `until`, a horizon beyond what was seen; the floor.

    Examples
    --------
    >>> print(cx.time_to_resolve(study.interactions, case="case", opened="time", closed="closed", until="2025-01-01"))
    Half of the cases are closed within ...
    """
    require_share("confidence", confidence)
    log = event_log(interactions, case, opened, [closed, by])
    start, hours, done = times_of(log, closed, limit_of(until))
    say.refuse_if(not (inside := start < limit_of(until)).any(), "none_opened", until=until)
    (cell, names), persons = groups_of(log.table.loc[log.first, [by] if by else []][inside]), log.persons[inside]
    hours, done, groups = hours[inside], done[inside], np.arange(len(names))
    base = pd.DataFrame({"group": groups, "n": pd.Series(persons).groupby(cell).nunique()})
    hidden = hidden_cells(base, min_base=log.source.min_base)
    shown, kept = groups[~hidden], ~hidden[cell]
    say.refuse_if(not shown.size, "few_in_groups", floor=log.source.min_base)
    mark = float(min(hours[cell == g].max() for g in shown) if horizon is None else horizon)
    rows, curves, middle = [{"group": name} for name in names], [], kaplan_meier(hours, done, confidence=confidence)
    for g in shown:
        mine = hours[cell == g], done[cell == g]
        curve = kaplan_meier(*mine, at=[0.0], confidence=confidence)
        mean = restricted_mean(*mine, mark, confidence=confidence)
        rows[g] |= ends("estimate", *curve.median()) | ends("mean_hours", *mean)
        rows[g] |= {"horizon": mark, "n": len(mine[0]), "n_open": int(np.sum(mine[1] == 0))}
        named = dict(zip(("hours", "at_risk", "estimate", "std_error", "conf_low", "conf_high"), curve))
        curves.append(pd.DataFrame({"group": names[g]} | named))
    compared = len(shown) > 1
    p = log_rank(hours[kept], done[kept], cell[kept]) if compared else np.nan
    summary = {"n": len(hours), "n_open": int(np.sum(done == 0)), "method": "Kaplan-Meier", "p_value": p}
    summary |= ends("estimate", *middle.median()) | {"established": bool(p < 1 - confidence) if compared else None}
    keys = ["time_half" if np.isfinite(summary["estimate"]) else "time_unknown"]
    keys += [*["time_differ" if p < 1 - confidence else "time_open"] * compared, *log.days]
    lost = Check("cases opened at the end or later, left out", int(np.sum(~inside)), "information", True, "info")
    more = {"suppressed": int(hidden.sum()), "figure": still_open}
    more |= {
        "drawn": {"unit": "hours until half of the cases are closed"},
        "further": {"curves": pd.concat(curves, ignore_index=True)},
    }
    question = "time_to_resolve", closed or opened, by, pd.DataFrame(rows), summary, (*log.checks, lost)
    return JourneyFinding.of(say, keys, {"by": log.label(by)}, confidence, *question, source=log.source, **more)


def still_open(finding, ax):
    """Draw the share still open in percent by days, one line a group."""
    ax = axes_or_new(ax)
    for colour, (name, t) in zip(PALETTE, finding.further["curves"].groupby("group", sort=False)):
        days, band = t["hours"] / 24, (100 * t[end] for end in ENDS[1:])
        ax.step(days, 100 * t["estimate"], where="post", color=colour, label=finding.label(name))
        ax.fill_between(days, *band, step="post", color=colour, alpha=0.15, linewidth=0)
    ax.set(xlabel="days", ylabel="still open, %", ylim=(0, 102), xlim=(0, None))
    ax.legend()
    return titled(ax, finding.title)
