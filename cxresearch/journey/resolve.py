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
from cxresearch.findings import ENDS, Check, ends, listing
from cxresearch.inference import e_value, newcombe_difference, t_interval
from cxresearch.inference.survival import kaplan_meier, log_rank, restricted_mean
from cxresearch.journey.log import HOUR, UNKNOWN, JourneyFinding, design_of, event_log, groups_of, moments_of, say
from cxresearch.privacy import hidden_cells
from cxresearch.survey import sampling_units, total_covariance

LABELS = {"landmark": "From the landmark on", "season": "The same, season and backlog alike"}
LABELS |= {"later": "From a later landmark on", "naive": "Naive: ever handed on, from the opening on"}
LATER = 100  # fewest cases in either arm at the later landmark


def times_of(log, closed, until=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return by case when it was opened, hours until it was closed or last known to be open, and whether it is closed."""
    opened, ended = log.moment[log.first], log.moment[log.last]
    if closed is not None:
        moment, zone = moments_of(log.table[closed])
        mixed = (zone is None) != (log.zone is None) and (moment > UNKNOWN).any()
        say.refuse_if(mixed, "one_zone", column=closed)
        ended = np.maximum.reduceat(moment, log.starts)
    limit = max(log.moment.max(), ended.max()) if until is None else until
    wrong = (ended > UNKNOWN) & (ended < opened)
    told = dict(zip(("opened", "closed"), log.clock([moments[np.argmax(wrong)] for moments in (opened, ended)])))
    say.refuse_if(wrong.any(), "closed_first", **told, n=wrong.sum(), cases=len(opened), column=closed)
    done = (ended > UNKNOWN) & (ended <= limit)
    return opened, (np.where(done, ended, limit) - opened) / HOUR, done.astype(float)


def ratio_of_means(hours, done, arm, controls, persons, confidence) -> tuple[dict, object]:
    """Return the ratio of mean hours of an arm over the others, and the fit; with open cases, up to what both arms saw."""
    from statsmodels.genmod.families import Poisson
    from statsmodels.genmod.generalized_linear_model import GLM

    known, weights = {"n": len(hours), "n_handed": int(arm.sum())}, np.ones(len(hours))
    if arm.all():
        return ends("estimate", *np.full(3, np.nan)) | {"p_value": np.nan} | known, None
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
    return ends("estimate", *np.exp(logs)) | {"p_value": p} | known, fit


def closing_rate(start, hours, done, confidence) -> dict:
    """Return the rate of closing after a hand-off over that before (Cox, ties by Breslow), counted from its moment on."""
    at, many = np.unique(hours[done > 0], return_counts=True)
    passed = start < hours
    after = np.searchsorted(np.sort(start[passed]), at) - np.searchsorted(np.sort(hours[passed]), at)
    before = len(hours) - np.searchsorted(np.sort(hours), at) - after
    expected = lambda b: many * after * np.exp(b) / (after * np.exp(b) + before)  # noqa: E731
    b, error, observed = np.nan, np.nan, np.sum((done > 0) & passed)
    if many[before == 0].sum() < observed < many[after > 0].sum():  # else no rate is the likeliest
        b = optimize.brentq(lambda b: expected(b).sum() - observed, -20, 20)
        error = 1 / np.sqrt(np.sum(expected(b) * (1 - expected(b) / many)))
    row = {"term": "rate of closing", **ends("estimate", *np.exp(t_interval(b, error, np.inf, confidence)[:3]))}
    return row | {"n": len(hours), "n_handed": int(passed.sum())}


def handed_on(log, changes, event) -> np.ndarray:
    """Return by case the moment of its first hand-off: a marked row, or when two values have been seen; else infinite."""
    if event is not None:
        hit = log.said_yes(event)
    else:
        *_, hit = log.moved(changes)
    return np.minimum.reduceat(np.where(hit, log.moment, np.inf), log.starts)


def handoff_penalty(
    interactions, *, time, case=None, closed=None, changes=None, event=None, landmark=None, controls=(), confidence=0.95,
    min_cases=30,
) -> JourneyFinding:  # fmt: skip
    """Return how many times as long cases take that were handed on, compared from a landmark on.

    Long cases have more time to be handed on, and are long even if that costs nothing: compared are mean remaining hours of
    cases open at the landmark (Poisson pseudo-likelihood), with season and backlog alike, too. Established needs an interval
    off 1, the naive ratio on the same side, and no fading at a later landmark, as of a ratio that comes from harder cases.
    Refused: a case closed before it was opened, a control that counts steps, a landmark at the opening; a small arm.

    Parameters
    ----------
    interactions, time, case : as in `journey_paths`; no fewer than `min_cases` persons in either arm
    closed : when the case was closed, blank while open; without it the last row of a case closes it
    changes, event : one of them: what changes at a hand-off (channel, owner, agent), or yes in rows that are one (rework)
    landmark : hours after the opening; by default the median time of the first hand-off
    controls : columns, known at the opening, held alike; never the number of steps, to which a hand-off adds

    Examples
    --------
    >>> print(cx.handoff_penalty(study.interactions, case="case", time="time", closed="closed", changes="owner"))
    That hand-offs go with longer or shorter cases is not established: ...
    """
    require_share("confidence", confidence)
    say.refuse_if((changes is None) == (event is None), "no_handoff")
    log = event_log(interactions, case, time, [closed, changes, event, *controls])
    opened, hours, done = times_of(log, closed)
    known, steps = log.table.loc[log.first, list(controls)].reset_index(drop=True), pd.Series(np.bincount(log.case))
    for name in known.select_dtypes("number"):
        say.refuse_if(abs(steps.corr(known[name], method="spearman")) > 0.99, "counts_steps", name=name)
    start, persons = (handed_on(log, changes, event) - opened) / HOUR, log.persons
    ever, least = start <= hours, max(min_cases, log.source.min_base)
    mark = float(pd.Series(start[ever]).median() if landmark is None else landmark)
    why = "; times are days without hours, give landmark=24 or more" if log.days else ""
    say.refuse_if(mark <= 0, "no_landmark", mark=f"{mark:g}", why=why)
    at_risk, early, then = hours > mark, start <= mark, f"open {mark:g} hours after their opening had"
    arms = {"were handed on": ever, f"{then} been handed on": at_risk & early}
    for what, rows in (arms | {f"{then} not been handed on": at_risk & ~early}).items():
        say.refuse_if((n := len(np.unique(persons[rows]))) < least, "few_cases", n=n, what=what, least=least)
    plain = design_of(known)

    def ratio(at, X=plain, least=1):
        """Return the ratio of cases open at a moment, from then on, and the fit; None twice where an arm is smaller."""
        rest, arm = hours > at, start <= at
        if min((rest & arm).sum(), (rest & ~arm).sum()) < least:
            return None, None
        return ratio_of_means(hours[rest] - at, done[rest], arm[rest], X[rest], persons[rest], confidence)

    (top, fit), (alike, _) = ratio(mark), ratio(mark, np.column_stack([plain, season_of(log, opened, hours)]))
    naive, _ = ratio_of_means(hours, done, ever, plain, persons, confidence)
    moments = np.quantile(hours[at_risk], [0.95, 0.9, 0.8, 0.7, 0.6, 0.5])  # the latest at which both arms hold enough
    late, far = next(((at, row) for at in moments if (row := ratio(at, least=max(least, LATER))[0])), (None, None))
    table = pd.DataFrame([{"term": name} | row for name, row in zip(LABELS, (top, alike, far, naive)) if row])
    same, hidden = (top["estimate"] > 1) == (naive["estimate"] > 1), e_value(top["conf_low"], top["conf_high"])
    fades = hidden > 1 and far is not None and bool(far["conf_low"] <= 1 <= far["conf_high"])
    found, holds = bool(hidden > 1 and same and not fades), "too few cases" if far is None else "no" if fades else "yes"
    share, still = least_share(known[at_risk], early[at_risk]), digits.rounded(1 - done.mean(), 4)
    checks = (
        *log.checks,
        Check("landmark and naive comparison point the same way", "yes" if same else "no", "yes", same, "stops"),
        Check("ratio holds at a later landmark", holds, "yes", not fades, "stops"),
        Check("cases still open, share", still, "0.05, else means up to a horizon", still <= 0.05, "info"),
        Check("smallest share of either arm, within each group of the controls", share, "at least 0.1", share >= 0.1),
    )
    summary = {"n": top["n"], "method": "landmark, Poisson pseudo-likelihood", "landmark": mark}
    summary |= {"n_open": int(np.sum(done == 0)), "e_value": hidden, "established": found}
    told = top | {"size": abs(top["estimate"] - 1), "late": late} | ends("naive", *(naive[end] for end in ENDS))
    told |= ends("later", *((far or naive)[end] for end in ENDS))
    keys = ["handoff_open" if not found else "handoff_longer" if top["estimate"] > 1 else "handoff_shorter"]
    keys += ["handoff_naive", *["handoff_hidden"] * found, *["handoff_fades"] * fades, *log.days]
    return JourneyFinding.of(
        say, keys, told, confidence, "handoff_penalty", changes or event, None, table, summary, checks,
        source=log.source, labels=log.source.labels | LABELS, fitted=fit,
        further={"hazard": pd.DataFrame([closing_rate(start, hours, done, confidence)])},
        drawn={"line": 1.0, "unit": "ratio of mean hours, handed on over not"},
    )  # fmt: skip


def season_of(log, opened, hours) -> np.ndarray:
    """Return month and weekday of the opening, and the log of the cases open then, as columns."""
    backlog = np.searchsorted(np.sort(opened), opened) - np.searchsorted(np.sort(opened + hours * HOUR), opened)
    season = pd.DataFrame({"month": (when := log.clock(opened)).strftime("%Y-%m"), "day": when.day_name()})
    return np.column_stack([design_of(season), np.log1p(np.maximum(backlog, 0))])


def least_share(known: pd.DataFrame, early) -> float:
    """Return the smallest share that either arm has within a group of a control, or of all."""
    groups = [known[c] for c in known if known[c].nunique() < 20] or [pd.Series(0, known.index)]
    shares = np.concatenate([pd.Series(early).groupby(group.to_numpy(), dropna=False).mean() for group in groups])
    return digits.rounded(min(shares.min(), 1 - shares.max()), 3)


def repeat_contacts(
    interactions, *, time, topic, until, customer=None, channel=None, within_days=7, by=(), confidence=0.95
) -> JourneyFinding:
    """Return the share of contacts after which the same customer comes back on the same topic within some days.

    Wilson's interval on the base that customers as clusters leave. Resolved at first contact: 1 - estimate.
    Refused: no customer, no contact followed long enough; fewer customers than the floor.

    Parameters
    ----------
    interactions, time : as in `journey_paths`; `customer` is by default the person of the table
    topic, channel : columns; with `channel`, followers in another channel are counted, too
    until : from when on nothing is known; contacts followed for under `within_days` are left out and counted
    by : column or columns of the first contact; two groups, such as resolved or not, are compared (Newcombe's interval)

    Examples
    --------
    >>> found = cx.repeat_contacts(study.interactions, time="time", topic="touchpoint", until="2025-01-01")
    >>> found.tidy()["group"].item()
    'all'
    """
    require_share("confidence", confidence)
    say.refuse_if(not within_days > 0, "no_days", days=within_days)
    by = [by] if isinstance(by, str) else list(by)
    log = event_log(interactions, customer, time, [topic, channel, *by])
    limit, span, days = log.limit(until), int(within_days * 24 * HOUR), f"{within_days:g}"
    inside = np.flatnonzero(log.moment < limit - span).astype(
        np.int32
    )  # a day on which nothing is known is not followed
    last, lost = log.clock([log.moment.max()])[0], len(log.case) - len(inside)
    say.refuse_if(not inside.size, "not_followed", until=until, days=days, last=last)
    marks = {"repeats": followed(log, topic, span, limit)}
    marks |= {"switches": followed(log, channel, span, limit, same=False)} if channel else {}
    whole, table = log.shares(marks, by, inside, confidence)
    say.refuse_if(np.isnan(whole["n"]), "few_customers", floor=log.source.min_base)
    keys, known, established = ["repeat"], {"days": days}, None
    if len(table) == 2 and table["n"].notna().all():
        more, less = (table.iloc[k] for k in digits.descending(table["estimate"], table["group"]))
        bases = (row[key] for row in (more, less) for key in ("estimate", "n_effective"))
        known |= ends("gap", np.nan, *newcombe_difference(*bases, confidence))
        known |= {"by": listing(map(log.label, by)), "more": more["group"], "less": less["group"]}
        known |= {"most": more["estimate"], "least": less["estimate"]}
        established = bool(known["gap_low"] > 0)
        keys += ["repeat_differ" if established else "repeat_open"]
    short = Check(f"contacts followed for under {days} days, left out", lost, "information", True, "info")
    unit = f"share of contacts followed by another on the same topic within {days} days, 0–1"
    summary = whole.drop("group").to_dict() | {"method": "Wilson, customers as clusters", "established": established}
    return JourneyFinding.of(
        say, keys, known, confidence, "repeat_contacts", topic, ", ".join(by) or None, table, summary, (*log.checks, short),
        source=log.source, suppressed=int(table["n"].isna().sum()), drawn={"line": whole["estimate"], "unit": unit},
    )  # fmt: skip


def followed(log, column, span, limit, *, same=True) -> np.ndarray:
    """Return which contacts the customer's next with the same value, or the next with another, follows before the limit."""
    code, known = groups_of(log.table[[column]])[0], log.table[column].notna().to_numpy()
    order = np.argsort(code, kind="stable") if same else np.arange(len(code), dtype=np.int32)
    case, code, found = log.case[order], code[order], np.zeros(len(order), dtype=bool)
    near = np.flatnonzero((case[1:] == case[:-1]) & ((code[1:] == code[:-1]) == same))
    first, then = order[near], order[near + 1]
    soon = (log.moment[then] - log.moment[first] <= span) & (log.moment[then] < limit)
    found[first] = soon & known[first] & known[then]
    return found


def time_to_resolve(
    interactions, *, opened, until, closed=None, case=None, by=None, horizon=None, confidence=0.95
) -> JourneyFinding:
    """Return how long cases take until they are closed; open ones count as open so far.

    Kaplan and Meier's median in hours (interval Brookmeyer-Crowley), missing where fewer than half are closed, and restricted
    mean; log-rank test between groups. Table ``curves``: the share still open.
    Refused: a case closed before it was opened, none opened before `until`, a horizon beyond what was seen; the floor.

    Parameters
    ----------
    interactions, case : as in `journey_paths`
    opened, closed : columns, whose first and last time open and close a case; without `closed` its last row closes it
    until : from when on nothing is known: cases closed later are open
    by, horizon : group of the first row; hours up to which the mean is taken, by default the longest seen in every group

    Examples
    --------
    >>> print(cx.time_to_resolve(study.interactions, case="case", opened="time", closed="closed", until="2025-01-01"))
    Half of the cases are closed within ...
    """
    require_share("confidence", confidence)
    log = event_log(interactions, case, opened, [closed, by])
    start, hours, done = times_of(log, closed, limit := log.limit(until))
    say.refuse_if(not (inside := start < limit).any(), "none_opened", until=until)
    cell, names = groups_of(log.table.loc[log.first, [by] if by else []][inside])
    hours, done = hours[inside], done[inside]
    base = pd.DataFrame({"group": names, "n": pd.Series(log.persons[inside]).groupby(cell).nunique()})
    hidden = hidden_cells(base, min_base=log.source.min_base)
    say.refuse_if(hidden.all(), "few_in_groups", floor=log.source.min_base)
    shown, kept = np.flatnonzero(~hidden), ~hidden[cell]
    longest = pd.Series(hours).groupby(cell).max()[shown]
    mark = float(longest[longest > 0].min() if horizon is None else horizon)
    rows, curves, middle = [{"group": name} for name in names], [], kaplan_meier(hours, done, confidence=confidence)
    for g in shown:
        mine = hours[cell == g], done[cell == g]
        curve = kaplan_meier(*mine, at=[0.0], confidence=confidence)
        rows[g] |= ends("estimate", *curve.median())
        mean = (
            restricted_mean(*mine, mark, confidence=confidence)
            if longest[g] > 0 or horizon is not None
            else [np.nan] * 3
        )
        rows[g] |= ends("mean_hours", *mean)
        rows[g] |= {"horizon": mark, "n": len(mine[0]), "n_open": int(np.sum(mine[1] == 0))}
        columns = dict(zip(("hours", "at_risk", "estimate", "std_error", "conf_low", "conf_high"), curve))
        curves.append(pd.DataFrame({"group": names[g]} | columns))
    p = log_rank(hours[kept], done[kept], cell[kept]) if (compared := len(shown) > 1) else np.nan
    summary = {"n": len(hours), "n_open": int(np.sum(done == 0)), "method": "Kaplan-Meier", "p_value": p}
    summary |= ends("estimate", *middle.median()) | {"established": bool(p < 1 - confidence) if compared else None}
    keys = ["time_half" if np.isfinite(summary["estimate"]) else "time_unknown"]
    keys += [*["time_differ" if p < 1 - confidence else "time_open"] * compared, *log.days]
    late = Check("cases opened at the end or later, left out", int(np.sum(~inside)), "information", True, "info")
    return JourneyFinding.of(
        say, keys, {"by": log.label(by)}, confidence, "time_to_resolve", closed or opened, by, pd.DataFrame(rows), summary,
        (*log.checks, late), source=log.source, suppressed=int(hidden.sum()), figure=still_open,
        further={"curves": pd.concat(curves, ignore_index=True)}, drawn={"unit": "hours until half of the cases are closed"},
    )  # fmt: skip


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
