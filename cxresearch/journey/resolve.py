"""How long it takes until a case is closed, what goes with a hand-off, and who has to ask again.

Landmark: Anderson, Cain & Gelber (1983), J. Clinical Oncology 1:710-719. Ratio of means: Gourieroux, Monfort & Trognon
(1984), Econometrica 52:701-720 (Poisson pseudo-likelihood), open cases by inverse chance to be seen (Robins & Rotnitzky
1992). Cox (1972), JRSS B 34:187-220. E-value: VanderWeele & Ding (2017), Annals of Internal Medicine 167:268-274.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_share
from cxresearch.figures import PALETTE, axes_or_new, titled
from cxresearch.findings import Check, ends, number, p_words, percent
from cxresearch.inference import critical_value, newcombe_difference
from cxresearch.inference.clusters import cluster_covariance
from cxresearch.inference.survival import kaplan_meier, log_rank, restricted_mean
from cxresearch.journey.log import DAY, UNKNOWN, JourneyFinding, codes_of, event_log, limit_of, moments, span, yes_or_no
from cxresearch.journey.moments import design_of
from cxresearch.privacy import hidden_cells

HOUR = DAY / 24
LATER = 100  # fewest cases in either arm at the later landmark


@dataclass(frozen=True, repr=False, eq=False)
class Times(JourneyFinding):
    """A finding whose table ``curves`` holds the share of cases still open by group and hours."""

    def plot_curves(self, ax=None):
        """Draw the share still open in percent by days, one line a group."""
        ax = axes_or_new(ax)
        for colour, (name, t) in zip(PALETTE, self.further["curves"].groupby("group", sort=False)):
            ax.step(t["hours"] / 24, 100 * t["estimate"], where="post", color=colour, label=self.label(name))
            band = (100 * t[c] for c in ("conf_low", "conf_high"))
            ax.fill_between(t["hours"] / 24, *band, step="post", color=colour, alpha=0.15, linewidth=0)
        ax.set(xlabel="days", ylabel="still open, %", ylim=(0, 102), xlim=(0, None))
        ax.legend()
        return titled(ax, self.title)


def curves_of(hours, done, code, names, confidence) -> pd.DataFrame:
    """Return the shares still open by group and hours."""
    curves = [
        kaplan_meier(hours[code == k], done[code == k], at=[0.0], confidence=confidence) for k in range(len(names))
    ]
    columns = ("hours", "at_risk", "estimate", "std_error", "conf_low", "conf_high")
    tables = [pd.DataFrame(dict(zip(columns, curve))).assign(group=n) for curve, n in zip(curves, names)]
    return pd.concat(tables, ignore_index=True)[["group", *columns]]


def times_of(log, closed: str | None, until=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return by case when it was opened, its hours until it was closed or last known to be open, and whether it is closed."""
    opened, limit = log.moment[log.first], log.moment.max() if until is None else until
    if closed is None:
        ended = log.moment[log.last]
    else:
        told = pd.Series(moments(log.column(closed), closed))
        ended = told.groupby(log.case).max().to_numpy()
        limit = max(limit, ended.max()) if until is None else limit
        if (wrong := (ended > UNKNOWN) & (ended < opened)).any():
            row = log.table.iloc[log.rows[log.first][np.argmax(wrong)]]
            raise DataProblem(
                f"interactions, row {row.name}: closed at {row[closed]}, before the case was opened ({int(wrong.sum())} "
                f"of {len(opened)} cases); correct {closed}"
            )
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
        chance = np.append(1.0, seen.estimate)[np.searchsorted(seen.time, hours)]  # just before
        weights = np.divide(done, chance, out=np.zeros(len(hours)), where=done > 0)
    used = weights > 0  # a row without weight has no score
    X = np.column_stack([np.ones(len(hours)), arm, controls])[used]
    X = X[:, np.append([True, True], np.ptp(X[:, 2:], axis=0) > 0)]
    with warnings.catch_warnings():  # controls that say the same twice share what they say: the arm is not touched
        warnings.simplefilter("ignore")
        fit = GLM(hours[used], X, family=Poisson(), var_weights=weights[used]).fit(tol=1e-11)
    pull = (weights[used] * fit.resid_response)[:, None] * X
    spread = fit.normalized_cov_params @ cluster_covariance(pull, persons[used]) @ fit.normalized_cov_params
    value, error = fit.params[1], np.sqrt(spread[1, 1])
    half = critical_value(confidence) * error
    row = dict(zip(("estimate", "conf_low", "conf_high"), np.exp([value, value - half, value + half])))
    row["p_value"] = 2 * float(stats.norm.sf(abs(value) / error))
    return row | {"n": len(hours), "n_handed": int(arm.sum())}, fit


def closing_rate(start, hours, done, confidence) -> dict:
    """Return the rate of closing after a hand-off over that before (Cox, ties by Breslow), counted from its moment on."""
    at, many = np.unique(hours[done > 0], return_counts=True)
    passed = start < hours
    after = np.searchsorted(np.sort(start[passed]), at) - np.searchsorted(np.sort(hours[passed]), at)
    before = len(hours) - np.searchsorted(np.sort(hours), at) - after
    events = np.sum((done > 0) & passed)
    expected = lambda b: many * after * np.exp(b) / (after * np.exp(b) + before)  # noqa: E731
    b = optimize.brentq(lambda b: expected(b).sum() - events, -20, 20)
    error = 1 / np.sqrt(np.sum(expected(b) * (1 - expected(b) / many)))
    half = critical_value(confidence) * error
    found = dict(zip(("estimate", "conf_low", "conf_high"), np.exp([b, b - half, b + half])))
    return {"term": "rate of closing", **found, "n": len(hours), "n_handed": int(passed.sum())}


def handed_on(log, changes, event) -> np.ndarray:
    """Return by case the moment of its first hand-off, or of its first marked row; infinite without one.

    It is the first moment by which two values have been seen, whatever the order of rows at one moment.
    """
    if event is None:
        code = pd.factorize(log.column(changes))[0]
        known = (code >= 0) & np.append(False, code[:-1] >= 0) & ~log.first
        hit = known & np.append(False, np.diff(code) != 0)
    else:
        hit = yes_or_no(log.column(event), event)
    return pd.Series(np.where(hit, log.moment, np.inf)).groupby(log.case).min().to_numpy()


def handoff_penalty(
    interactions,
    *,
    time: str,
    case=None,
    closed: str | None = None,
    changes: str | None = None,
    event: str | None = None,
    landmark: float | None = None,
    controls=(),
    duplicates: str = "drop",
    confidence: float = 0.95,
    min_cases: int = 30,
) -> Times:
    """Return how many times as long cases take that were handed on, compared from a landmark on.

    Parameters
    ----------
    interactions, time, case, duplicates
        As in `journey_paths`.
    closed : column, optional
        When the case was closed, blank while it is open; without it the last row of a case closes it.
    changes, event : column
        One of the two: what changes at a hand-off (channel, owner, agent), or yes in rows that are one (rework).
    landmark : float, optional
        Hours after the opening; by default the median time of the first hand-off.
    controls : columns
        Known at the opening, held alike. Never the number of steps: a hand-off adds to it.
    confidence, min_cases
        Fewest cases in either arm.

    Returns
    -------
    Times
        ``tidy``: at the landmark (the headline), with season and backlog alike, at a later one, and the naive comparison.
        ``hazard``: the second method; ``curves``: the share still open after the landmark; ``model``: the headline's fit.

    Raises
    ------
    DataProblem
        A case closed before it was opened, a control that counts steps, a landmark at the opening.
    TooFewRespondents
        Fewer than `min_cases` cases in an arm.

    Notes
    -----
    A long case has more time to be handed on, so handed-on cases are long even if hand-offs cost nothing. Among cases
    still open at the landmark the hours that remain are compared by what happened before it, as a ratio of means. That
    they may be harder from the start is not removed: `e_value` says how strong such a difference would have to be, and at a
    later landmark, when easy cases are closed, a ratio that comes from hardness fades. Cases handed on later count among
    the others, which draws the ratio towards 1. Not established where the interval holds 1, the naive comparison points
    the other way, or the ratio fades: the later interval holds 1.

    Examples
    --------
    >>> import pandas as pd
    >>> import cxresearch as cx
    >>> log = pd.DataFrame({"case": [k // 2 for k in range(400)], "agent": ["a", "b", "a", "a"] * 100})
    >>> log["at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta([k % 2 * 2 for k in range(400)], unit="h")
    >>> log["done"] = log["at"] + pd.to_timedelta(log["case"] % 49, unit="h")
    >>> print(cx.handoff_penalty(log, case="case", time="at", closed="done", changes="agent"))
    That hand-offs go with longer or shorter cases is not established: ...
    """
    require_share("confidence", confidence)
    if (changes is None) == (event is None):
        raise DataProblem("give either changes=, the column whose change is a hand-off, or event=, one of yes and no")
    columns = [c for c in (closed, changes, event, *controls) if c is not None]
    log = event_log(interactions, case, time, columns, ordered=False, duplicates=duplicates)
    opened, hours, done = times_of(log, closed)
    start, persons = (handed_on(log, changes, event) - opened) / HOUR, log.persons
    ever = start <= hours
    if ever.sum() < min_cases:
        raise TooFewRespondents(f"{int(ever.sum())} cases with a hand-off are fewer than min_cases={min_cases}")
    mark = float(np.median(start[ever]) if landmark is None else landmark)
    if not mark > 0:
        why = "; times are days without hours, give landmark=24 or more" if log.days else ""
        raise DataProblem(f"landmark={mark:g}: cases must be compared from a moment after their opening on{why}")
    known = log.table.iloc[log.rows[log.first]][list(controls)].reset_index(drop=True)
    refuse_steps(known, np.bincount(log.case))
    at_risk = hours > mark
    early = (start <= mark) & at_risk
    refuse_few(persons, at_risk, early, mark, max(min_cases, log.min_base))
    late = later_mark(start, hours, mark, max(min_cases, LATER))
    rows, fit = comparisons(start, hours, done, opened, (mark, late), design_of(known), persons, confidence)
    top, naive, far = rows[0], rows[-1], rows[-2] if late else rows[0]
    same_way, near = (top["estimate"] > 1) == (naive["estimate"] > 1), max(top["conf_low"], 1 / top["conf_high"], 1.0)
    fades = bool(near > 1 and (far["conf_low"] <= 1 if top["estimate"] > 1 else far["conf_high"] >= 1))
    found, e_value = bool(near > 1 and same_way and not fades), float(near + np.sqrt(near * (near - 1)))
    still, persistence, same = float(np.mean(done == 0)), "no" if fades else "yes", "yes" if same_way else "no"
    checks = (
        *log.checks,
        Check("landmark and naive comparison point the same way", same, "yes", same_way, "stops"),
        Check("ratio holds at a later landmark", persistence if late else "too few cases", "yes", not fades, "stops"),
        Check("cases still open, share", round(still, 4), "0.05, else means up to a horizon", still <= 0.05, "info"),
        overlap(known[at_risk], early[at_risk]),
    )
    further = {"hazard": pd.DataFrame([closing_rate(start, hours, done, confidence)])}
    arms = ["not handed on before the landmark", "handed on before it"]
    further["curves"] = curves_of(hours[at_risk] - mark, done[at_risk], early[at_risk].astype(int), arms, confidence)
    summary = {
        "n": top["n"],
        "method": "landmark, Poisson pseudo-likelihood",
        "landmark": mark,
        "n_open": int(np.sum(done == 0)),
    }
    labels = log.labels | {
        "landmark": "From the landmark on",
        "season": "The same, season and backlog alike",
        "later": "From a later landmark on",
    }
    return Times(
        "handoff_penalty", changes or event, None, pd.DataFrame(rows), summary | {"e_value": e_value, "established": found},
        checks, labels | {"naive": "Naive: ever handed on, from the opening on"}, further, line=1.0, fitted=fit,
        said=tuple(penalty_words(top, naive, far if fades else None, found, (mark, late), e_value, confidence, log.days)),
        unit="ratio of mean hours, handed on over not",
    )  # fmt: skip


def refuse_few(persons, at_risk, early, mark, least) -> None:
    """Refuse a comparison in which an arm has too few persons."""
    for arm, what in ((early, "had been handed on"), (at_risk & ~early, "had not been handed on")):
        if (n := len(np.unique(persons[arm]))) < least:
            raise TooFewRespondents(f"{n} cases open {mark:g} hours after their opening {what}; {least} are needed")


def refuse_steps(known: pd.DataFrame, steps) -> None:
    """Refuse a control that is, or grows with, the number of steps of a case."""
    for name in known.select_dtypes("number"):
        if pd.Series(steps).corr(known[name], method="spearman") > 0.99:
            raise DataProblem(f"controls: {name} counts the steps of a case, to which a hand-off adds; leave it out")


def season_of(opened, hours) -> np.ndarray:
    """Return month and weekday of the opening, and the log of the cases open then, as columns."""
    when = pd.Series(pd.to_datetime(opened, unit="us"))
    ended = np.sort(opened + hours * HOUR)
    backlog = np.searchsorted(np.sort(opened), opened) - np.searchsorted(ended, opened)
    named = pd.DataFrame({"month": when.dt.strftime("%Y-%m"), "day": when.dt.day_name()})
    return np.column_stack([design_of(named), np.log1p(np.maximum(backlog, 0))])


def overlap(known: pd.DataFrame, early) -> Check:
    """Return the check of the smallest share that either arm has within a group of a control."""
    groups = [
        pd.Series(early, dtype=float).groupby(known[c].to_numpy()).mean() for c in known if known[c].nunique() < 20
    ]
    least = round(
        min([min(g.min(), 1 - g.max()) for g in groups], default=float(min(early.mean(), 1 - early.mean()))), 3
    )
    return Check("smallest share of either arm, within each group of the controls", least, "at least 0.1", least >= 0.1)


def comparisons(start, hours, done, opened, marks, plain, persons, confidence) -> tuple[list[dict], object]:
    """Return the ratios at the landmark, there with season alike, at the later one, and naive; and the first one's fit."""
    season, (mark, late) = np.column_stack([plain, season_of(opened, hours)]), marks
    kinds = [("landmark", mark, plain), ("season", mark, season), *([("later", late, plain)] if late else [])]
    rows, fits = [], []
    for term, at, X in [*kinds, ("naive", 0.0, plain)]:
        rest, arm = (hours >= 0, start <= hours) if term == "naive" else (hours > at, start <= at)
        row, fit = ratio_of_means(hours[rest] - at, done[rest], arm[rest], X[rest], persons[rest], confidence)
        rows, fits = [*rows, {"term": term} | row], [*fits, fit]
    return rows, fits[0]


def later_mark(start, hours, mark, least) -> float | None:
    """Return the latest of some landmarks at which both arms still have cases enough; None where there is none."""
    later = np.quantile(hours[hours > mark], [0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    arms = [((start[hours > at] <= at).sum(), (start[hours > at] > at).sum()) for at in later]
    fitting = [float(at) for at, cases in zip(later, arms) if min(cases) >= least]
    return fitting[-1] if fitting else None


def penalty_words(top, naive, faded, found, marks, e_value, confidence, days) -> list:
    """Return the sentences of a penalty: what is established, the naive ratio and why it is wrong, what is hidden."""
    key = "handoff_open" if not found else "handoff_longer" if top["estimate"] > 1 else "handoff_shorter"
    size = {"size": percent(abs(top["estimate"] - 1))} if found else {"ratio": number(top["estimate"], 2)}
    bases = {name: number(top[name], 0) for name in ("n_handed", "n")}
    said = [(key, size | bases | {"span": span(top, confidence, 2, scale=1)})]
    if faded:
        values = {"later": number(faded["estimate"], 2), "mark": number(marks[1], 1)}
        said.append(("handoff_fades", values | {"span": span(faded, confidence, 2, scale=1)}))
    values = {"mark": number(marks[0], 1), "naive": number(naive["estimate"], 2)}
    said.append(("handoff_naive", values | {"span": span(naive, confidence, 2, scale=1)}))
    return said + [("handoff_hidden", {"e": number(e_value, 2)})] * found + [("days", {})] * days


def repeat_contacts(
    interactions,
    *,
    time: str,
    topic: str,
    until,
    customer: str | None = None,
    channel: str | None = None,
    within_days: float = 7,
    by=(),
    confidence: float = 0.95,
) -> JourneyFinding:
    """Return the share of contacts after which the same customer comes back on the same topic within some days.

    Parameters
    ----------
    interactions : Table, DataFrame, path or DuckDB relation, (N, .)
    time, topic : columns
    until : timestamp
        From when on nothing is known. Contacts followed for fewer days are left out of the denominator and counted.
    customer : column, optional
        By default the person of the table.
    channel : column, optional
        Count contacts followed by one in another channel, too.
    within_days : float
    by : column or list of columns
        Of the first contact; two groups, such as resolved or not, are compared.

    Raises
    ------
    DataProblem
        No customer, no contact followed long enough.
    TooFewRespondents
        Fewer customers than the floor.

    Notes
    -----
    Resolved at first contact is 1 - ``estimate``. Intervals are Wilson's, a difference's is Newcombe's, on the bases that
    customers as clusters leave.

    Examples
    --------
    >>> import cxresearch as cx
    >>> contacts = cx.open_study("data/example/study.yml").interactions
    >>> cx.repeat_contacts(contacts, time="time", topic="touchpoint", until="2025-01-01").tidy()["group"].item()
    'all'
    """
    require_share("confidence", confidence)
    by = [by] if isinstance(by, str) else list(by)
    log = event_log(interactions, customer, time, [topic, *([channel] if channel else []), *by], ordered=False)
    limit, days = limit_of(until), int(within_days * DAY)
    inside = log.moment <= limit - days
    if not inside.any():
        last = pd.Timestamp(int(log.moment.max()), unit="us")
        raise DataProblem(
            f"until={until!r}: no contact is followed for {within_days:g} days; the last one is of {last}"
        )
    marks = {"repeats": followed(log, days, limit, topic=codes_of(log.column(topic)))}
    if channel:
        marks["switches"] = followed(log, days, limit, other=codes_of(log.column(channel)))

    def row(at):
        counts = {name: int(mark[at].sum()) for name, mark in marks.items()}
        return log.share(marks["repeats"], at, confidence) | counts

    whole, (cell, names) = row(np.flatnonzero(inside)), log.cells(by)
    if whole["persons"] < log.min_base:
        raise TooFewRespondents(f"{whole['persons']} customers are fewer than the {log.min_base} of the floor")
    places = log.places(cell, names, inside)
    table = pd.DataFrame([{"group": name} | row(at) for name, at in zip(names, places) if at.size])
    hidden = hidden_cells(table, min_base=log.min_base, base="persons", keys=("group",))
    table = table.drop(columns="persons").mask(hidden[:, None] & (table.columns.drop("persons") != "group"))
    values = {"share": percent(whole["estimate"], 1), "days": f"{within_days:g}", "n": number(whole["n"], 0)}
    said, established = [("repeat", values | {"span": span(whole, confidence, 1)})], None
    if len(table) == 2 and not hidden.any():
        more, less = (table.iloc[k] for k in digits.descending(table["estimate"], table["group"]))
        bases = [v for r in (more, less) for v in (r["estimate"], r["n_effective"])]
        gap = dict(zip(("conf_low", "conf_high"), newcombe_difference(*bases, confidence)))
        established = bool(gap["conf_low"] > 0)
        shares = {
            "high": percent(more["estimate"], 1),
            "low": percent(less["estimate"], 1),
            "span": span(gap, confidence, 1),
        }
        named = {"by": log.labels.get(by[0], by[0]), "more": more["group"], "less": less["group"]}
        said.append(("repeat_differ" if established else "repeat_open", shares | named))
    lost = Check(
        f"contacts followed for under {within_days:g} days, left out", int(np.sum(~inside)), "information", True, "info"
    )
    summary = {k: whole[k] for k in whole if k != "persons"} | {"method": "Wilson, customers as clusters"}
    return JourneyFinding(
        "repeat_contacts", topic, ", ".join(by) or None, table, summary | {"established": established}, (*log.checks, lost),
        log.labels, suppressed=int(hidden.sum()), said=tuple(said), line=whole["estimate"],
        unit=f"share of contacts followed by another on the same topic within {within_days:g} days, 0–1",
    )  # fmt: skip


def followed(log, days, limit, *, topic=None, other=None) -> np.ndarray:
    """Return which contacts are followed, within days and before the limit, by one on their topic, or in another channel."""
    if topic is None:
        first = np.flatnonzero(~log.first[1:])
        then = first + 1
    else:
        key = log.case * np.int64(topic.max() + 2) + topic
        order = np.argsort(key, kind="stable")
        key = key[order]
        same = np.flatnonzero(key[1:] == key[:-1])
        first, then = order[same], order[same + 1]
    near = (log.moment[then] - log.moment[first] <= days) & (log.moment[then] < limit)
    found = np.zeros(len(log.rows), dtype=bool)
    found[first] = near if other is None else near & (other[first] != other[then])
    return found


def time_to_resolve(
    interactions,
    *,
    opened: str,
    until,
    closed: str | None = None,
    case=None,
    by: str | None = None,
    horizon: float | None = None,
    duplicates: str = "drop",
    confidence: float = 0.95,
) -> Times:
    """Return how long cases take until they are closed; open ones count as open so far.

    Parameters
    ----------
    interactions, case, duplicates
        As in `journey_paths`.
    opened, closed : columns
        Times: the first of `opened` opens a case, the last of `closed` closes it, and it is open while that is blank.
        Without `closed` the last row of a case closes it.
    until : timestamp
        From when on nothing is known: cases closed later are open.
    by : column, optional
        Of the first row of a case.
    horizon : float, optional
        Hours up to which the mean is taken; by default the longest time seen in every group.

    Returns
    -------
    Times
        ``estimate`` is the median in hours, missing where fewer than half are closed; ``mean`` the restricted mean.

    Raises
    ------
    DataProblem
        A case closed before it was opened, none opened before `until`, a horizon beyond what was seen.
    TooFewRespondents
        No group with as many persons as the floor.

    Notes
    -----
    Kaplan and Meier's curve, Brookmeyer and Crowley's interval of the median, log-rank test between groups.

    Examples
    --------
    >>> import pandas as pd
    >>> import cxresearch as cx
    >>> cases = pd.DataFrame({"case": range(60), "opened": pd.Timestamp("2024-01-01 08:00")})
    >>> cases["closed"] = cases["opened"] + pd.to_timedelta(cases["case"] + 1, unit="h")
    >>> print(cx.time_to_resolve(cases, case="case", opened="opened", closed="closed", until="2024-01-03"))
    Half of the cases are closed within 30.0 hours ...
    """
    require_share("confidence", confidence)
    columns = [c for c in (closed, by) if c]
    log = event_log(interactions, case, opened, columns, ordered=False, duplicates=duplicates)
    start, hours, done = times_of(log, closed, limit_of(until))
    cell, names = log.cells([by] if by else [])
    inside = start < limit_of(until)
    if not inside.any():
        raise DataProblem(f"until={until!r}: no case was opened before it")
    hours, done, cell = hours[inside], done[inside], cell[log.first][inside]
    groups = (
        pd.DataFrame({"group": cell, "person": log.persons[inside]}).groupby("group")["person"].nunique().reset_index()
    )
    hidden = hidden_cells(groups.rename(columns={"person": "n"}), min_base=log.min_base)
    shown = [g for g, out in zip(groups["group"], hidden) if not out]
    if not shown:
        raise TooFewRespondents(f"no group of cases has the {log.min_base} persons of the floor")
    mark = float(min(hours[cell == g].max() for g in shown) if horizon is None else horizon)
    rows = [{"group": names[g]} for g in groups["group"]]
    for row, g in zip(rows, groups["group"]):
        if g in shown:
            mine = hours[cell == g], done[cell == g]
            median = kaplan_meier(*mine, confidence=confidence).median()
            row |= dict(zip(("estimate", "conf_low", "conf_high"), median))
            row |= ends("mean_hours", *restricted_mean(*mine, mark, confidence=confidence))
            row |= {"horizon": mark, "n": len(mine[0]), "n_open": int(np.sum(mine[1] == 0))}
    several, kept = len(shown) > 1, np.isin(cell, shown)
    p = log_rank(hours[kept], done[kept], cell[kept])[1] if several else np.nan
    middle = dict(zip(("estimate", "conf_low", "conf_high"), kaplan_meier(hours, done, confidence=confidence).median()))
    bases = {"n": number(len(hours), 0), "open": number(np.sum(done == 0), 0)}
    said = [("time_unknown", bases)]
    if np.isfinite(middle["estimate"]):
        words = {"hours": number(middle["estimate"], 1), "span": span(middle, confidence, 1, scale=1)}
        said = [("time_half", bases | words)]
    differ = {"by": log.labels.get(by, by), "p": p_words(p)} if several else None
    said += [("time_differ" if p < 1 - confidence else "time_open", differ)] if several else []
    lost = Check("cases opened at the end or later, left out", int(np.sum(~inside)), "information", True, "info")
    summary = {"n": len(hours), "n_open": int(np.sum(done == 0)), "method": "Kaplan-Meier", "p_value": p, **middle}
    code, shown_names = np.searchsorted(shown, cell[kept]), [names[g] for g in shown]
    return Times(
        "time_to_resolve", closed or opened, by, pd.DataFrame(rows),
        summary | {"established": bool(p < 1 - confidence) if several else None}, (*log.checks, lost), log.labels,
        {"curves": curves_of(hours[kept], done[kept], code, shown_names, confidence)}, suppressed=int(hidden.sum()),
        said=tuple(said + [("days", {})] * log.days), unit="hours until half of the cases are closed",
    )  # fmt: skip
