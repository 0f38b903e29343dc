"""Contacts in the order in which they happened: how long cases take, what goes with a hand-off, who has to ask again.

Anderson, Cain & Gelber (1983), J. Clinical Oncology 1:710-719 (landmark); Gourieroux, Monfort & Trognon (1984),
Econometrica 52:701-720 (ratio of means); Robins & Rotnitzky (1992) (open cases); Cox (1972), JRSS B 34:187-220.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import optimize

from cxresearch import digits
from cxresearch.errors import require_choice, require_columns, require_share
from cxresearch.figures import PALETTE, axes_or_new, titled
from cxresearch.findings import ENDS, Check, Finding, Shown, ends, listing, words
from cxresearch.inference import e_value, newcombe_difference, t_interval, wilson_interval
from cxresearch.inference.events import opened, quoted, require_one_id_type
from cxresearch.inference.survival import kaplan_meier, log_rank, restricted_mean
from cxresearch.privacy import hidden_cells, hide_cells
from cxresearch.survey import Table, as_table, sampling_units, total_covariance
from cxresearch.survey.survey import person_codes

say = words(__package__)
HOUR = 3_600_000_000  # microseconds
UNKNOWN = np.iinfo(np.int64).min  # a time that is missing
LABELS = {"landmark": "From the landmark on", "season": "The same, season and backlog alike"}
LABELS |= {"later": "From a later landmark on", "naive": "Naive: ever handed on, from the opening on"}
LATER = 100  # fewest cases in either arm at the later landmark


class Charted(Finding):
    """A finding whose rows with their intervals a deck can draw."""

    chart = property(lambda self: Shown("tidy", *ENDS, self.drawn.get("unit", "")))


@dataclass(frozen=True, eq=False)
class Log:
    """Contacts sorted by case and time; what repeats a row in every column is left out."""

    table: pd.DataFrame  # (n, .) the columns asked for
    case: np.ndarray  # (n,) 0, 1, ... ascending
    moment: np.ndarray  # (n,) microseconds
    tied: np.ndarray  # (n,) at the moment of the row before, of the same case, in an order that is not known
    zone: object  # the time zone of the times, None where they name none
    source: Table
    checks: tuple[Check, ...]

    first = cached_property(lambda self: np.append(True, self.case[1:] != self.case[:-1]))  # of its case, (n,) bool
    last = cached_property(lambda self: np.append(self.first[1:], True))
    starts = cached_property(lambda self: np.flatnonzero(self.first))  # (cases,)

    @cached_property
    def persons(self) -> np.ndarray:
        """Who each case is about, (cases,): the first person that its rows name, or else the case."""
        named = pd.Series(self.case) if self.source.person is None else self.table[self.source.person]
        return person_codes(named.groupby(self.case).first())

    @cached_property
    def days(self) -> list[str]:
        """What to say of times that hold no hours."""
        clock = self.clock(self.moment)
        return ["days"] if (clock == clock.normalize()).all() else []

    def clock(self, moments) -> pd.DatetimeIndex:
        """Return moments as the clock showed them."""
        return pd.to_datetime(moments, unit="us", utc=True).tz_convert(self.zone).tz_localize(None)

    def limit(self, until) -> int:
        """Return a moment given by hand, which is in the log's time zone unless it names one, as microseconds."""
        try:
            when = pd.Timestamp(until)
            when = when.tz_localize(self.zone) if when.tzinfo is None or self.zone is None else when
        except (TypeError, ValueError):  # no date, or an hour that the clock skips or shows twice
            say.refuse_if(True, "no_until", until=until)
        return int(when.to_numpy().astype("datetime64[us]").astype(np.int64))

    def said_yes(self, name: str) -> np.ndarray:
        """Return a column of yes and no as bool, missing as no; refuse anything else."""
        said = self.table[name].astype(str).str.strip().str.lower().where(self.table[name].notna(), "no")
        yes = said.isin(["yes", "true", "1", "1.0"])
        refuse_any(~yes & ~said.isin(["no", "false", "0", "0.0"]), "no_yes", said)
        return yes.to_numpy()

    def moves(self, name: str) -> pd.DataFrame:
        """Return the rows at which a case moves on, from where, to where; one that names nobody keeps it in place."""
        (code, names), known = groups_of(self.table[[name]]), np.flatnonzero(self.table[name].notna())
        before, row = known[:-1], known[1:]
        on = (self.case[row] == self.case[before]) & (code[row] != code[before])
        return pd.DataFrame({"row": row, "term": np.take(names, code[before]), "group": np.take(names, code[row])})[on]

    def hide(self, table: pd.DataFrame, *keys: str) -> pd.DataFrame:
        """Return a table without its ``base``, the persons of each row, and without values where these are too few."""
        return hide_cells(table, min_base=self.source.min_base, base="base", keys=keys).drop(columns="base")

    def label(self, key) -> str:
        return str(self.source.labels.get(key, key))

    def shares(self, marks: dict, by, at, confidence: float) -> tuple[pd.Series, pd.DataFrame]:
        """Return, of all rows `at` and by group, the share of the first mark, on the base left by cases, and counts."""
        rows, (cell, names) = [], groups_of(self.table[by].iloc[at])
        for name, here in (("all", at), *zip(names, map(at.take, pd.Series(cell).groupby(cell).indices.values()))):
            case, hit = self.case[here], next(iter(marks.values()))[here]
            starts = np.flatnonzero(np.append(True, case[1:] != case[:-1]))
            n, cases, share = len(hit), len(starts), hit.mean()
            persons = cases if self.source.min_base == 1 else len(np.unique(self.persons[case[starts]]))
            totals = np.add.reduceat(hit - share, starts)
            variance = cases / max(cases - 1, 1) * (totals @ totals) / n**2
            alone = cases == 1 or share in (0, 1)  # nothing tells how alike the contacts of a case are
            base = cases if alone else min(share * (1 - share) / max(variance, 1e-300), n)
            row = {"group": name} | ends("estimate", share, *wilson_interval(share, base, confidence)) | {"n": n}
            row |= {"n_effective": base} | {key: int(mark[here].sum()) for key, mark in marks.items()}
            rows.append(row | {"base": persons})
        whole, table = (self.hide(pd.DataFrame(part), "group") for part in (rows[:1], rows[1:]))
        return whole.iloc[0], table


def event_log(interactions, case, time, columns=(), *, order=None, ordered=False, duplicates="drop") -> Log:
    """Return contacts in the order of case (a column or several), time and `order`; ties are refused if `ordered`."""
    require_choice("duplicates", duplicates, ("drop", "keep"))
    source = as_table(interactions)
    say.refuse_if(not (case := case or source.person), "no_case")
    keys = listed(case)
    columns = list(dict.fromkeys(filter(None, (source.person, *columns))))
    table = rows_of(source, list(dict.fromkeys(filter(None, (*keys, time, order, *columns)))))
    for key in keys:
        require_one_id_type(table, key)
    stated = table[keys].replace(r"^\s*$", None, regex=True)  # a blank is nobody's case
    code = stated.groupby(keys, sort=False).ngroup().fillna(-1).to_numpy(dtype=np.int32)
    moment, zone = moments_of(table[time])
    rank = np.zeros(len(table), dtype=np.int8) if order is None else numbers_of(table, order, places=True)
    at = np.flatnonzero((code >= 0) & (moment > UNKNOWN)).astype(np.int32)
    say.refuse_if(not at.size, "nothing_known", keys=" and ".join(keys), time=time)
    at, lost = at[places_of(code[at], moment[at], rank[at])], len(table) - len(at)
    code, moment, rank = code[at], moment[at], rank[at]
    same = np.append(False, (code[1:] == code[:-1]) & (moment[1:] == moment[:-1]) & (rank[1:] == rank[:-1]))
    beside, again = np.flatnonzero(same | np.append(same[1:], False)), np.zeros(len(at), dtype=bool)
    rows = table.iloc[at[beside]]
    try:
        again[beside] = rows.duplicated()
    except TypeError:  # lists cannot be looked up
        again[beside] = rows.map(repr).duplicated()
    run, tied = np.cumsum(~same[beside]), same.copy()  # copies of one row alone may stand in any order
    tied[beside] &= np.isin(run, run[(same & ~again)[beside]])
    kept, copies = ~again | (duplicates == "keep"), int(again.sum())
    if not kept.all():
        at, code, moment, tied = (values[kept] for values in (at, code, moment, tied))
    checks = (
        Check("contacts without case or time, left out", lost, "0", not lost),
        Check(f"exact duplicates, {'kept' if duplicates == 'keep' else 'left out'}", copies, "0", not copies, "info"),
        Check("contacts of a case at one moment, order unknown", int(tied.sum()), "0", not tied.any()),
    )
    case_of = np.cumsum(np.append(False, code[1:] != code[:-1]), dtype=np.int32)
    log = Log(table[columns].iloc[at], case_of, moment, tied, zone, source, checks)
    row, unclear = table.iloc[place := at[np.argmax(tied)]], ordered and tied.any() and not log.days
    say.refuse_if(unclear, "tied", at=place, key=keys[0], case=row[keys[0]], moment=row[time], n=tied.sum())
    say.refuse_if(1 < source.min_base > len(np.unique(log.persons)), "few_customers", floor=source.min_base)
    return log


def rows_of(source: Table, columns) -> pd.DataFrame:
    """Return a frame as it is; of files the columns asked for, row by row, with what tells whole rows apart."""
    if isinstance(source.data, pd.DataFrame):
        require_columns(source.data, *columns, where="interactions")
        return source.data
    threads = None if hasattr(source.data, "query") else 1  # several would mix the rows of a file
    with opened(source.data, named="interactions", threads=threads) as relation:
        require_columns(relation, *columns, where="interactions")
        asked, whole = (", ".join(map(quoted, names)) for names in (columns, relation.columns))
        return relation.query("source", f"SELECT {asked}, hash({whole}) FROM source").df()


def places_of(code, moment, rank) -> np.ndarray:
    """Return the order of codes, moments and ranks; whole numbers that fit into one are sorted three times as fast."""
    key = moment - moment.min()
    key //= max(int(np.gcd.reduce(key)), 1)
    if not rank.any() and (span := int(key.max()) + 1) * (int(code.max()) + 1) < 2**63:
        key += code * np.int64(span)
        return np.argsort(key, kind="stable")
    return np.lexsort((rank, moment, code))


def refuse_any(odd, key: str, column: pd.Series) -> None:
    """Refuse a column with `odd` values, (n,) bool, naming the first."""
    row, value = next(column[odd].items(), (None, None))
    say.refuse_if(odd.any(), key, row=row, column=column.name, value=str(value), n=odd.sum(), rows=len(column))


def moments_of(column: pd.Series) -> tuple[np.ndarray, object]:
    """Return times as microseconds, `UNKNOWN` where missing or blank, and their time zone; refuse what is no time."""
    if not pd.api.types.is_datetime64_any_dtype(times := column):
        written = column.astype("string").str.strip().replace("", pd.NA)
        try:
            times = pd.to_datetime(written, errors="coerce", format="ISO8601")
        except ValueError:  # winter and summer
            say.refuse_if(True, "two_zones", column=column.name)
        refuse_any(written.notna() & (times.isna() | pd.api.types.is_numeric_dtype(column)), "no_time", column)
    return times.to_numpy(dtype="datetime64[us]").astype(np.int64), times.dt.tz


def numbers_of(table: pd.DataFrame, column: str, *, places: bool = False) -> np.ndarray:
    """Return numbers as floats, missing where there is none, or as places, those the last; refuse text."""
    values = pd.to_numeric(table[column], errors="coerce")
    refuse_any((values.isna() | values.isin([np.inf, -np.inf])) & table[column].notna(), "no_number", table[column])
    values = values.rank(method="dense", na_option="bottom") if places else values
    return values.to_numpy(dtype=float, na_value=np.nan)


def called(level) -> str:
    """Return what a group is called; a gap in a column of whole numbers turns them into floats."""
    whole = isinstance(level, float) and level.is_integer()
    return {"True": "yes", "False": "no"}.get(str(level), str(int(level) if whole else level))


def groups_of(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return the group that the columns make of each row, (n,), and what the groups are called; without columns all."""
    cell, names = np.zeros(len(table), dtype=np.int32), [()]
    for _, column in table.astype("category").items():
        one, levels = pd.factorize(np.array([*map(called, column.cat.categories), "not stated"], dtype=object))
        names = [(*name, level) for name in names for level in levels]
        cell = cell * len(levels) + one.astype(np.int32)[column.cat.codes]  # -1, missing, is the last
    found = np.bincount(cell, minlength=len(names)) > 0
    place = (np.cumsum(found) - 1).astype(np.min_scalar_type(len(names)))
    return place[cell], [", ".join(name) or "all" for name, there in zip(names, found) if there]


def design_of(table: pd.DataFrame) -> np.ndarray:
    """Return controls (n, p): numbers with columns of "not known", others by value less the first; none constant."""
    many = [name for name in table.select_dtypes("number", "timedelta") if table[name].nunique() > 2]
    numbers = table[many].astype(float).replace([np.inf, -np.inf], np.nan)
    others = table.drop(columns=many).astype(object)
    parts = [pd.get_dummies(column, drop_first=True, dummy_na=True) for _, column in others.items()]
    centred = (numbers - numbers.mean()) / numbers.std()  # what counts in millions would drown the rest
    found = np.column_stack([centred.fillna(0.0), numbers.isna(), *parts]).astype(float)
    return found[:, np.ptp(found, axis=0) > 0]


def apart(columns, others) -> bool:
    """Return whether no column (n, q) follows from the others (n, p): else what is whose would be told by chance."""
    without = np.column_stack([np.ones(len(columns)), others])
    whole = np.column_stack([without, columns])
    fewer, all_of = (np.linalg.matrix_rank(X.T @ X, rtol=1e-9, hermitian=True) for X in (without, whole))
    return all_of - fewer == whole.shape[1] - without.shape[1]


def listed(names) -> list:
    """Return a name, or several, as a list in which each stands once."""
    return [names] if isinstance(names, str) else list(dict.fromkeys(names))


def times_of(log, closed, until=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return by case when it was opened, hours until it was closed or last known to be open, and if it is closed."""
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
    """Return the ratio of mean hours of an arm over the others, missing if controls tell it, and the fit."""
    from statsmodels.genmod.families import Poisson
    from statsmodels.genmod.generalized_linear_model import GLM

    known, weights = {"n": len(hours), "n_handed": int(arm.sum())}, np.ones(len(hours))
    if not apart(arm, controls):
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
    """Return the rate of closing after a hand-off over that before (Cox, ties by Breslow), from its moment on."""
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


def handoff_penalty(
    interactions, *, time, case=None, closed=None, changes=None, event=None, landmark=None, controls=(),
    confidence=0.95, min_cases=30,
) -> Charted:  # fmt: skip
    """Return how many times as long cases take that were handed on, compared from a landmark on.

    Long cases have more time to be handed on, and are long even if that costs nothing: compared are mean hours left of
    cases open at the landmark (Poisson pseudo-likelihood), season and backlog alike, too. Established needs an interval
    off 1, the naive ratio on the same side, no fading at a later landmark, as of a ratio from harder cases.
    Refused: a case closed before it was opened, a control that counts steps, a landmark at the opening; a small arm.

    Parameters
    ----------
    interactions, time, case : as in `journey_paths`; no fewer than `min_cases` persons in either arm
    closed : when the case was closed, blank while open; without it the last row of a case closes it
    changes, event : one of them: what changes at a hand-off (channel, owner, agent), or yes in such rows (rework)
    landmark, controls : hours after the opening, by default the median of hand-offs; columns known then, held alike

    Examples
    --------
    >>> print(cx.handoff_penalty(study.interactions, case="case", time="time", closed="closed", changes="owner"))
    That hand-offs go with longer or shorter cases is not established: ...
    """
    require_share("confidence", confidence)
    say.refuse_if((changes is None) == (event is None), "no_handoff")
    log = event_log(interactions, case, time, [closed, changes, event, *(controls := listed(controls))])
    opened, hours, done = times_of(log, closed)
    known, steps = log.table.loc[log.first, controls].reset_index(drop=True), pd.Series(np.bincount(log.case))
    for name in known.select_dtypes("number"):
        say.refuse_if(abs(steps.corr(known[name], method="spearman")) > 0.99, "counts_steps", name=name)
    persons, hit = log.persons, log.moves(changes)["row"] if event is None else np.flatnonzero(log.said_yes(event))
    moment = pd.Series(log.moment[hit], dtype=float).groupby(log.case[hit]).min().reindex(range(len(opened)))
    start = (moment.fillna(np.inf).to_numpy() - opened) / HOUR
    ever, least = start <= hours, max(min_cases, log.source.min_base)
    mark = pd.Series(start[ever]).median() if landmark is None else landmark
    why = "; times are days without hours, give landmark=24 or more" if log.days else ""
    say.refuse_if(isinstance(mark, str) or mark <= 0, "no_landmark", mark=mark, why=why)
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

    backlog = np.searchsorted(np.sort(opened), opened) - np.searchsorted(np.sort(opened + hours * HOUR), opened)
    season = pd.DataFrame({"month": (when := log.clock(opened)).strftime("%Y-%m"), "day": when.day_name()})
    season = np.column_stack([plain, design_of(season), np.log1p(np.maximum(backlog, 0))])
    (top, fit), (alike, _) = ratio(mark), ratio(mark, season)
    say.refuse_if(np.isnan(top["estimate"]), "no_own", names=listing(controls), column=changes or event)
    naive, _ = ratio_of_means(hours, done, ever, plain, persons, confidence)
    moments = np.quantile(hours[at_risk], [0.95, 0.9, 0.8, 0.7, 0.6, 0.5])  # the latest at which both arms hold enough
    later = ((at, ratio(at, least=max(least, LATER))[0]) for at in moments)
    late, far = next(((at, row) for at, row in later if row and np.isfinite(row["estimate"])), (None, None))
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
    summary = {"n": top["n"], "method": "landmark, Poisson pseudo-likelihood", "landmark": float(mark)}
    summary |= {"n_open": int(np.sum(done == 0)), "e_value": hidden, "established": found}
    told = top | {"size": abs(top["estimate"] - 1), "late": late} | ends("naive", *(naive[end] for end in ENDS))
    told |= ends("later", *((far or naive)[end] for end in ENDS))
    keys = ["handoff_open" if not found else "handoff_longer" if top["estimate"] > 1 else "handoff_shorter"]
    keys += ["handoff_naive", *["handoff_hidden"] * found, *["handoff_fades"] * fades, *log.days]
    return Charted.of(
        say, keys, told, confidence, "handoff_penalty", changes or event, None, table, summary, checks,
        source=log.source, labels=log.source.labels | LABELS, fitted=fit,
        further={"hazard": pd.DataFrame([closing_rate(start, hours, done, confidence)])},
        drawn={"line": 1.0, "unit": "ratio of mean hours, handed on over not"},
    )  # fmt: skip


def least_share(known: pd.DataFrame, early) -> float:
    """Return the smallest share that either arm has within a group of a control, or of all."""
    groups = [known[c] for c in known if known[c].nunique() < 20] or [pd.Series(0, known.index)]
    shares = np.concatenate([pd.Series(early).groupby(group.to_numpy(), dropna=False).mean() for group in groups])
    return digits.rounded(min(shares.min(), 1 - shares.max()), 3)


def repeat_contacts(
    interactions, *, time, topic, until, customer=None, channel=None, within_days=7, by=(), confidence=0.95
) -> Charted:
    """Return the share of contacts after which the same customer comes back on the same topic within some days.

    Wilson's interval on the base that customers as clusters leave. Resolved at first contact: 1 - estimate.
    Refused: no customer, no contact followed long enough; fewer customers than the floor.

    Parameters
    ----------
    interactions, time, customer, topic, channel : as in `journey_paths`; `channel` counts followers in another
    until : from when on nothing is known; contacts not followed for all of `within_days` are left out and counted
    by : column or columns of the first contact; two groups, such as resolved or not, are compared (Newcombe's interval)

    Examples
    --------
    >>> asked = dict(time="time", topic="touchpoint", until="2025-01-01")
    >>> cx.repeat_contacts(study.interactions, **asked).tidy()["group"].item()
    'all'
    """
    require_share("confidence", confidence)
    say.refuse_if(isinstance(within_days, str) or not 0 < within_days < np.inf, "no_days", days=within_days)
    log = event_log(interactions, customer, time, [topic, channel, *(by := listed(by))])
    limit, span, days = log.limit(until), int(within_days * 24 * HOUR), f"{within_days:g}"
    # a day on which nothing is known is not followed
    inside = np.flatnonzero(log.moment < limit - span).astype(np.int32)
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
    drawn, hidden = {"line": whole["estimate"], "unit": unit}, int(table["n"].isna().sum())
    return Charted.of(
        say, keys, known, confidence, "repeat_contacts", topic, ", ".join(by) or None, table, summary,
        (*log.checks, short), source=log.source, suppressed=hidden, drawn=drawn,
    )  # fmt: skip


def followed(log, column, span, limit, *, same=True) -> np.ndarray:
    """Return which contacts a customer's next with the same value, or next with another, follows before the limit."""
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
) -> Charted:
    """Return how long cases take until they are closed; open ones count as open so far.

    Kaplan and Meier's median in hours (Brookmeyer-Crowley), missing where under half are closed, and restricted mean,
    missing where all are closed at once; log-rank test between groups. Table ``curves``: the share still open.
    Refused: a case closed before it was opened, none opened before `until`, a horizon beyond what was seen; the floor.

    Parameters
    ----------
    interactions, case, closed, until : as in `handoff_penalty` and `repeat_contacts`; `opened` is the time
    by, horizon : group of the first row; hours up to which the mean is taken, by default the longest in every group

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
        told = longest[g] > 0 or horizon is not None
        mean = restricted_mean(*mine, mark, confidence=confidence) if told else [np.nan] * 3
        rows[g] |= ends("mean_hours", *mean)
        rows[g] |= {"horizon": mark, "n": len(mine[0]), "n_open": int(np.sum(mine[1] == 0))}
        columns = dict(zip(("hours", "at_risk", "estimate", "std_error", "conf_low", "conf_high"), curve))
        curves.append(pd.DataFrame({"group": names[g]} | columns))
    p = log_rank(hours[kept], done[kept], cell[kept]) if (compared := len(shown) > 1) else np.nan
    summary = {"n": len(hours), "n_open": int(np.sum(done == 0)), "method": "Kaplan-Meier", "p_value": p}
    summary |= ends("estimate", *middle.median()) | {"established": bool(p < 1 - confidence) if compared else None}
    further = {"curves": pd.concat(curves, ignore_index=True)}
    keys = ["time_half" if np.isfinite(summary["estimate"]) else "time_unknown"]
    keys += [*["time_differ" if p < 1 - confidence else "time_open"] * compared, *log.days]
    late = Check("cases opened at the end or later, left out", int(np.sum(~inside)), "information", True, "info")
    return Charted.of(
        say, keys, {"by": log.label(by)}, confidence, "time_to_resolve", closed or opened, by, pd.DataFrame(rows),
        summary, (*log.checks, late), source=log.source, suppressed=int(hidden.sum()), figure=still_open,
        drawn={"unit": "hours until half of the cases are closed"}, further=further,
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
