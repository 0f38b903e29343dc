"""The chain: can means of units be trusted, what goes before what, do agents serve alike, when did a process change?

Shrout & Fleiss (1979), Psychological Bulletin 86:420-428; Searle, Casella & McCulloch (1992), *Variance Components*;
Heskett et al. (1994), Harvard Business Review 72:164-174; Mundlak (1978), Econometrica 46:69-85; Granger (1969),
Econometrica 37:424-438; Spearman (1904), Am. J. Psychology 15:72-101; MacKinnon, Lockwood & Williams (2004),
Multivariate Behavioral Research 39:99-128 (Monte Carlo interval); Spiegelhalter (2005), Statistics in Medicine
24:1185-1202 (funnels); Montgomery (2013), *Statistical Quality Control*; Laney (2002), Quality Engineering 14:531-537;
Champ & Woodall (1987), Technometrics 29:393-399 (run lengths).
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype
from scipy import special, stats

from cxresearch import digits
from cxresearch.errors import DataProblem, require_choice, require_columns, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, over_waves, titled
from cxresearch.findings import ENDS, Check, Finding, ends, listing, number, words
from cxresearch.inference import adjusted_p_values, critical_value, percentile_interval, t_interval
from cxresearch.inference.clusters import cr2, demean
from cxresearch.inference.pooling import LEVELS, between_variance, intraclass, krippendorff_alpha, one_way
from cxresearch.survey import Survey, Table, as_survey, as_table, natural_key
from cxresearch.survey.survey import person_codes

say = words(__package__)

NOISY, UNITS, DRAWS = 0.6, 30, 1000  # reliability too low to link; units under which numbers are a description; draws
# Name in the sentences -> row of the table, outcome, cause and what is given; y, x: outcome and cause, at a time.
TERMS = {
    "now": ("same period", "y", "x"),
    "lag": ("next period", "y after", "x"),
    "lead": ("period before (lead)", "y before", "x"),
    "next": ("next period, given the present", "y after", "x", "y"),
    "back": ("reverse: cause later, given its present", "x after", "y", "x"),
    "within": ("within units", "y", "x within units", "x between units"),
    "between": ("between units", "y", "x between units", "x within units"),
}
MIN_AGENTS, TARGET, RELIABLE = 5, 0.7, 2 / 3
BOUNDS = dict.fromkeys(("mean", "individuals"), (-np.inf, np.inf)) | dict.fromkeys(("share", "laney"), (0.0, 1.0))
BOUNDS |= {"rate": (0.0, np.inf)}
TAIL, WINSORISED = 0.1, 0.6787  # winsorised at each end; what that leaves of the variance of normal values
LIMITS = {"limit2_low": 0.025, "limit2_high": 0.975, "limit3_low": 0.001, "limit3_high": 0.999}  # tails of a funnel
SPAN = 1.128  # mean moving range of two normal values, in sd
# Points of a stable process per false alarm, by rules (Champ & Woodall 1987, table 1).
RUN_LENGTH = {(1,): 370.40, (1, 2): 225.44, (1, 3): 166.05, (1, 4): 152.73, (1, 2, 3): 132.89, (1, 2, 4): 122.05}
RUN_LENGTH |= {(1, 3, 4): 105.78, (1, 2, 3, 4): 91.75}
RULES = {2: (3, 2, 2.0), 3: (5, 4, 1.0), 4: (8, 8, 0.0)}  # of so many points so many beyond so many sd, on one side


@dataclass(frozen=True, eq=False, repr=False)
class Opened(Survey):
    """The rows of an analysis, which count alike, with what is known of them."""

    confidence: float = 0.95
    checks: tuple[Check, ...] = ()

    def base(self, code) -> np.ndarray:
        """Return how many distinct persons, or rows where these are not named, each code counts."""
        persons = self.rows.index if self.respondent is None else person_codes(self.rows[self.respondent])
        return pd.Series(persons).groupby(code).nunique().to_numpy()

    def found(self, *question, keys, summary, known, checks=(), left=None, figure=None, **drawn) -> Finding:
        """Return function, outcome, group and table as a finding; `left` says what was left out, and how often."""
        what, hidden = left or ("", 0)
        out = [Check(f"{what}, left out", hidden, "0", not hidden, "info")] * bool(left)
        question = say, keys, known, self.confidence, *question, summary, (*checks, *out, *self.checks)
        return Finding.of(*question, source=self, suppressed=hidden, figure=figure, drawn=drawn)


def opened(data, *keys, numbers=(), confidence: float = 0.95, once="", gaps: bool = False) -> Opened:
    """Return the rows that know all `keys` and (but for `gaps`) `numbers`, these as floats; None asks for nothing.

    `once` is what a table is called whose first keys, a unit and a period or the like, may not stand twice.
    """
    if isinstance(data, Finding):  # of a step before this one, that could not be taken
        raise DataProblem(data.sentence().rstrip("."))
    require_share("confidence", confidence)
    source = data if isinstance(data, (Survey, Table)) else as_table(data)
    keys, numbers = ([c for c in columns if c is not None] for columns in (keys, numbers))
    require_columns(table := source.table, *keys, *numbers, where=once or "the table")
    for column in numbers:
        table[column] = floats(table, column)
    checks, weight = tuple(table.attrs.get("checks", ())), getattr(source, "weight", None)
    if weight:
        checks += (Check("weights", weight, "rows with a weight above zero count alike here", False, "info"),)
        table = table[table[weight] != 0]
    table = table.dropna(subset=keys if gaps else [*keys, *numbers]).reset_index(drop=True)
    twice = table[keys[0]][table.duplicated(keys[:2])].tolist() if once else []
    within = f" in one {keys[1]}" if len(keys) > 1 else ""
    say.refuse_if(twice, "twice", where=once, unit=keys[0], value=next(iter(twice), None), within=within)
    known = dict(labels=source.labels, min_base=source.min_base, condition=getattr(source, "condition", ""))
    person = getattr(source, "respondent", None) or getattr(source, "person", None)
    return Opened(table, respondent=person, confidence=confidence, checks=checks, **known)


def read(given: pd.Series, values: pd.Series, key: str, **known) -> pd.Series:
    """Return the values read of a column; what could not be read is refused."""
    odd = (values.isna() & given.notna()).to_numpy()
    say.refuse_if(odd.any(), key, column=given.name, row=odd.argmax(), value=given.iloc[odd.argmax()], **known)
    return values


def floats(table: pd.DataFrame, column) -> pd.Series:
    given = table[column] if is_numeric_dtype(table[column]) else table[column].astype(object)
    return read(given, pd.to_numeric(given, errors="coerce").astype(float), "no_numbers")


def times(table: pd.DataFrame, column, where: str) -> tuple[pd.Series, set]:
    """Return times, of a time zone as the same moments in UTC, and whether they are of one (or some are)."""
    given = table[column]
    if dated := is_datetime64_any_dtype(given):
        zoned = {given.dt.tz is not None}
    else:
        given = given.astype("string")  # numbers would count from 1970
        zoned = {*given.str.contains(r":[\d.]+(?:Z|[+-][\d:]+)$").dropna()}
    values = pd.to_datetime(given, errors="coerce", format=None if dated else "ISO8601", utc=True)
    return read(given, values.dt.tz_localize(None).astype("datetime64[us]"), "no_times", where=where), zoned


def in_time(periods: pd.Series) -> pd.Series:
    """Return what puts periods in order: text as a reader does, week 2 before week 10."""
    text = periods.dtype in (object, "str", "string")
    return periods.map({p: k for k, p in enumerate(sorted(periods.unique(), key=natural_key))}) if text else periods


def whole(value) -> bool:  # neither True nor 6.0
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 0


def over_periods(table: pd.DataFrame, unit, period, columns, lag: int) -> dict[tuple, np.ndarray]:
    """Return (column, "") -> values, (units, periods), and those `lag` periods "before" and "after", where any is known."""
    periods = table[period].nunique()
    say.refuse_if(lag and periods < 2, "one_period", period=period)
    say.refuse_if(not whole(lag) or lag >= periods, "no_lag", lag=lag, most=periods - 1)
    dated = table.assign(**{period: in_time(table[period])})
    wide = dated.pivot(index=unit, columns=period, values=[*dict.fromkeys(columns)])
    known = np.any([wide[column].notna() for column in columns], axis=0)
    moves = [(column, at, by) for column in columns for at, by in (("", 0), ("before", lag), ("after", -lag))]
    return {(column, at): wide[column].shift(by, axis=1).where(known).to_numpy(float) for column, at, by in moves}


def standardised(s: dict, *keys) -> dict:
    """Return `keys`, where all are known, less their mean and in standard deviations."""
    known, found = ~np.any([np.isnan(s[key]) for key in keys], axis=0), {}
    for key in keys:
        seen = pd.Series(s[key][known])
        say.refuse_if(seen.nunique() < 2 or not seen.std() > 0, "no_variance", name=" ".join(map(str, key)).strip())
        found[key] = np.where(known, (s[key] - seen.mean()) / seen.std(), np.nan)
    return found


def slopes(s: dict, y, *columns, confidence: float, effects: bool = False) -> dict:
    """Return the slope of `y` on the first of `columns`, the others given, clustered by unit (CR2, and t with its degrees
    of freedom); with `effects` each period has an intercept.
    """
    known = ~np.any([np.isnan(s[key]) for key in (y, *columns)], axis=0)
    unit, period = np.nonzero(known)
    each = pd.get_dummies(period).to_numpy(dtype=float) if effects else np.ones((len(unit), 1))
    X, outcome = np.column_stack([*(s[key][known] for key in columns), each]), s[y][known]
    named = {at: " ".join(map(str, key)).strip() for at, key in (("y", y), ("x", columns[0]))}
    named |= {"units": len(np.unique(unit)), "n": len(X)}
    say.refuse_if(named["units"] < 3, "no_units", **named)
    slope, _, rank, _ = np.linalg.lstsq(X, outcome, rcond=None)
    say.refuse_if(rank < X.shape[1] or rank == len(X), "no_freedom", **named)
    covariance, df = cr2(X, outcome - X @ slope, unit)
    *found, p = map(float, t_interval(slope[0], error := np.sqrt(covariance[0, 0]), df[0], confidence))
    return ends("estimate", *found) | {"std_error": float(error), "p_value": p, "n": len(X), "units": named["units"]}


def product_interval(a, a_error, b, b_error, *, n_boot: int, confidence: float, seed) -> tuple[float, float]:
    """Return the Monte-Carlo interval of a product of two independent normal estimates."""
    z = np.random.default_rng(seed).standard_normal((2, n_boot))
    return tuple(map(float, percentile_interval((a + a_error * z[0]) * (b + b_error * z[1]), confidence)))


def unit_panel(
    employees, answers, *, items, unit="unit", period="period", answers_unit=None, n=None, min_answers: int = 10
) -> Table:
    """Return one row per unit and period: what its employees said, and the means of what its customers said.

    Parameters
    ----------
    employees : Table or DataFrame, one row per `unit` and `period`; `n`: how many answered, fewer than the floor leave
    answers : Survey, its waves are the periods, `answers_unit` its column of units where that has another name
    items : columns of the answers (None is none): weighted means, missing under `min_answers` persons or the floor

    Examples
    --------
    >>> responses = (study := cx.open_study("data/example/study.yml")).described(study.responses)
    >>> cx.unit_panel(study.employees, responses, items=["staff", "satisfaction"], answers_unit="branch")
    table: ... rows, one person: not named, floor 10
    """
    staff, survey, keys = as_table(employees), as_survey(answers), ["unit", "period"]
    named = [item for item in items or () if item is not None]
    say.refuse_if(not named or {*named} & {*keys}, "no_items", items=items)
    own = opened(staff, unit, period, numbers=[n], once="employees", gaps=True).table
    said, floor, items = survey.table, max(survey.min_base, staff.min_base), named
    at, wave = answers_unit or unit, survey.wave or period
    require_columns(said, at, wave, *items, where="the answers")
    person = person_codes(said[survey.respondent]) if survey.respondent else np.arange(len(said))
    rows = said[[at, wave]].astype(str).set_axis(keys, axis=1).assign(weight=survey.weights(), person=person)
    means, least = {}, max(min_answers, floor)
    for item in items:
        scored = rows.assign(score=floats(said, item) * rows["weight"])
        cells = scored[said[item].notna() & (rows["weight"] > 0)].groupby(keys)
        means[item] = (cells["score"].sum() / cells["weight"].sum()).where(cells["person"].nunique() >= least)
    means = pd.DataFrame(means).dropna(how="all").reset_index()
    few = np.zeros(len(own), dtype=bool) if n is None else ~(own[n] >= floor).to_numpy()  # nor where nobody knows
    shown = staff.table.dropna(subset=[unit, period])[~few]
    shown[keys] = shown[[unit, period]].astype(str)
    panel = shown.drop(columns=items, errors="ignore").merge(means, on=keys)
    have = (listing(t[key].unique()[:3]) for t in (shown, rows) for key in keys)
    have = dict(zip(("there", "then", "here", "now"), have), unit=unit, period=period, floor=least)
    say.refuse_if(panel.empty, "no_panel", **have)
    left = "rows of fewer employees than the floor, left out", int(few.sum()), "0", not few.any(), "info"
    panel.attrs["checks"] = (Check(*left),)
    return replace(staff, data=panel, labels={**survey.labels, **staff.labels}, min_base=floor)


def unit_reliability(
    answers, *, item, unit, period=None, n=None, sd=None, confidence: float = 0.95, min_answers: int = 10
) -> Finding:
    """Return how far means of units can be told from chance: ICC with interval, reliability of each unit's mean.

    ICC(1) = (MSB - MSW) / (MSB + (k - 1) MSW), k = (N - sum n^2/N)/(J - 1), interval from F; reliability of a mean
    n r / (1 + n r), r the ratio of variances by REML (Searle et al. 1992). Two means must be large enough.

    Parameters
    ----------
    answers, item, unit, period : one row per answer, or per mean of a unit and period, and its columns
    n, sd : columns of means: how many answered, and their standard deviation; else stability over periods is given
    min_answers : means of fewer persons (or than the floor) are left out and counted

    Examples
    --------
    >>> responses = (study := cx.open_study("data/example/study.yml")).described(study.responses)
    >>> print(cx.unit_reliability(responses, item="satisfaction", unit="branch"))
    A mean of Overall satisfaction by Branch can be told from chance: reliability 0.75 at 54 answers ...
    """
    keys, means = [unit, *([] if period is None else [period])], n is not None and sd is not None
    asked = dict(numbers=[item, *([n, sd] if means else [])], once="the table of means" if means else "")
    given = opened(answers, *keys, confidence=confidence, **asked)
    table, known = given.table, dict(item=given.label(item), by=listing(map(given.label, keys)), limit=NOISY)
    code, names = pd.factorize(pd.Series([", ".join(map(str, row)) for row in table[keys].to_numpy()], dtype=object))
    if not means and period is not None and len(names) == len(table) > 0:
        return _stability(given, item, unit, period)
    base, floor = table[n].to_numpy() if means else given.base(code), max(min_answers, given.min_base)
    kept, j = base[code] >= floor, int((base >= floor).sum())
    say.refuse_if(j < 2, "few_in_units", units=len(names), item=item, floor=floor)
    scores, group = table[item].to_numpy()[kept], code[kept]
    if means:  # answers of these sizes, means and standard deviations: variances depend on nothing else
        sizes = base[kept].astype(int)
        first, half = np.cumsum(sizes) - sizes, table[sd].to_numpy()[kept] * np.sqrt((sizes - 1) / 2)
        scores, group = np.repeat(scores, sizes), np.repeat(group, sizes)
        scores[first] += half
        scores[first + (sizes > 1)] -= half
    fitted, icc = one_way(scores, group), intraclass(scores, group, confidence=confidence)
    weak, sure, sds = int((fitted.reliability < NOISY).sum()), icc.low > 0, np.sqrt([fitted.between, fitted.within])
    found = {"unit": names[fitted.names], "estimate": fitted.reliability, "mean": fitted.means}
    found = pd.DataFrame(found | {"sd_within": sds[1], "n": fitted.n})
    found = found.iloc[digits.descending(found["estimate"], found["unit"])].reset_index(drop=True)
    summary = ends("icc", *icc[:3]) | {"icc_mean": icc.average, "units": j, "n": int(fitted.n.sum())}
    summary |= dict(zip(("sd_between", "sd_within"), sds))
    summary |= {"method": "one-way REML; ICC with F interval", "established": sure}
    told = dict(keys=["reliable" if sure else "unreliable", "icc"], known=known | dict(size=icc.size, weak=weak))
    told["checks"] = [Check(f"units with reliability under {NOISY}", weak, "0", weak == 0)]
    told["left"] = "means of fewer persons than asked for", len(names) - j
    drawn = dict(low="estimate", high="estimate", unit="reliability of the mean, 0-1", line=NOISY)
    return given.found("unit_reliability", item, ", ".join(keys), found, summary=summary, **told, **drawn)


def _stability(given, item, unit, period) -> Finding:
    """Return how alike a unit's means of several periods are: all that means alone can tell."""
    icc, n = intraclass(given.table[item], given.table[unit], confidence=given.confidence), len(given.table)
    row = pd.DataFrame([{"term": "one period's mean", **ends("estimate", *icc[:3]), "n": n}])
    summary = ends("icc", *icc[:3]) | {"icc_mean": icc.average, "n": n}
    summary |= {"method": "stability over periods; ICC with F interval", "established": False}
    known = dict(item=given.label(item), unit=given.label(unit), periods=given.table[period].nunique())
    told = dict(keys=["unknown", "stable"], summary=summary, known=known, unit="ICC of a unit's means over periods")
    told["checks"] = [Check("n and sd of each mean are known", "unknown", "columns n and sd", False, "stops")]
    return given.found("unit_reliability", item, unit, row, **told)


def lead_lag_units(panel, *, cause, outcome, unit, period, confidence: float = 0.95) -> Finding:
    """Return whether a cause goes before an outcome between units: lag, lead, reverse, within and between.

    Least squares of standard scores with period effects, CR2 errors by unit. Established where the next period given
    the present, or the difference within units (Mundlak 1978), excludes zero (Holm), and the period *before* does not go
    with the cause: then something lasting lies behind both. Under 30 units the numbers are a description.

    Examples
    --------
    >>> print(cx.lead_lag_units(study.employees, cause="engagement", outcome="profit", unit="unit", period="period"))
    That Employee engagement comes before Profit in thousand EUR is not established in 40 units. ...
    """
    given = opened(panel, unit, period, numbers=[cause, outcome], confidence=confidence, once="the panel", gaps=True)
    s = over_periods(given.table, unit, period, [cause, outcome], 1)
    s = {key: standardised(s, key)[key] for key in s}
    x, y = s[cause, ""], s[outcome, ""]
    own = pd.DataFrame(np.where(np.isnan(y), np.nan, x)).mean(axis=1).to_numpy()[:, None]
    s |= {(cause, "between units"): own + 0 * x, (cause, "within units"): x - own}
    role, asked = {"x": cause, "y": outcome}, dict(confidence=confidence, effects=True)
    rows = {key: slopes(s, *((role[at[0]], at[2:]) for at in row[1:]), **asked) for key, row in TERMS.items()}
    lead, back = (rows[key]["conf_low"] * rows[key]["conf_high"] > 0 for key in ("lead", "back"))
    units = rows["now"]["units"]
    p = adjusted_p_values([rows[key]["p_value"] for key in ("next", "within")], correction="holm")
    first, level = bool(units >= UNITS and not lead and (p < 1 - confidence).any()), digits.rounded(1 - confidence, 6)
    keys = ["not first" if not first else "first" if p[0] < 1 - confidence else "together"]  # one period has no before
    keys += ["lead also" if lead else "lead clear", "reverse" if back else "reverse open"]
    known = dict(cause=given.label(cause), outcome=given.label(outcome), least=UNITS)
    for key, row in rows.items():
        known |= ends(key, *(row[end] for end in ENDS))
    summary = {"units": units, "n": rows["now"]["n"], "established": first}
    summary["method"] = "standard scores, period effects, CR2 by unit"
    lasting = "the period before does not go with the cause (p of the lead)"
    checks = [Check("units", units, f"at least {UNITS}", units >= UNITS, "stops")]
    checks += [Check(lasting, rows["lead"]["p_value"], f"at least {level}", not lead, "stops")]
    checks += [Check("the reverse, given the past", rows["back"]["p_value"], "information", not back, "info")]
    table = pd.DataFrame([{"term": TERMS[key][0], **row} for key, row in rows.items()])
    told = dict(keys=keys if units >= UNITS else ["few units"], summary=summary, known=known, checks=checks, line=0)
    told["unit"] = f"{given.label(outcome)}, standard deviations per standard deviation of {given.label(cause)}"
    return given.found("lead_lag_units", f"{outcome} on {cause}", None, table, **told)


def service_profit_chain(
    panel, *, steps, unit, period, lag: int = 1, reliability=None, confidence: float = 0.95, seed
) -> Finding:
    """Return each link of the chain between units, raw and corrected for reliability, and the part that passes through.

    r is the slope of standard scores, CR2 errors by unit; corrected, r / sqrt(rel_x rel_y) (Spearman 1904). Indirect:
    a b of units (2-2-2) from the first step to the third, b given the first, interval by Monte Carlo. The chain is
    established where every link's interval lies above zero; under 30 units the numbers are a description.

    Parameters
    ----------
    panel, unit, period : one row per unit and period, and its columns
    steps : columns, the chain in its order, such as engagement, quality, satisfaction, profit; None is left out
    lag, reliability : periods by which the first step comes before the rest; column -> reliability of its means, 0-1

    Examples
    --------
    >>> asked = dict(steps=["engagement", "profit"], unit="unit", period="period", lag=0, seed=1)
    >>> print(cx.service_profit_chain(study.employees, **asked))
    All 1 links hold between 40 units, weakest Employee engagement → Profit in thousand EUR: r = 0...
    """
    steps, trust = [step for step in dict.fromkeys(steps) if step is not None], dict(reliability or {})
    say.refuse_if(len(steps) < 2, "one_step", steps=steps)
    given = opened(panel, unit, period, numbers=steps, confidence=confidence, once="the panel", gaps=True)
    require_columns(given.table, *trust, where="reliability= names a column, and the panel")
    for column, value in trust.items():
        say.refuse_if(not 0 < value <= 1, "no_reliability", column=column, value=value)
    s, (first, *others) = over_periods(given.table, unit, period, steps, lag), steps
    at = {step: (step, "before" if lag and step == first else "") for step in steps}
    links, rows = [*zip(steps, others), *((first, other) for other in others[1:])], []
    for x, y in links:
        r = slopes(standardised(s, at[x], at[y]), at[y], at[x], confidence=confidence)
        share = np.sqrt(trust.get(x, np.nan) * trust.get(y, np.nan))
        rows.append({"term": x, "outcome": y, **r, **ends("corrected", *(r[end] / share for end in ENDS))})
    found, k = pd.DataFrame(rows), len(others)
    holds, units, weak = found["conf_low"][:k] > 0, int(found["units"][:k].min()), found["estimate"][:k].idxmin()
    enough, noisy = units >= UNITS, [c for c in steps if trust.get(c, 1) < NOISY]
    names = [f"{given.label(x)} → {given.label(y)}" for x, y in links]
    known = dict(k=k, clear=int(holds.sum()), least=UNITS, limit=NOISY, link=names[weak])
    known |= dict(lowest=found["estimate"].min(), highest=found["estimate"].max())
    known |= dict(items=listing(map(given.label, noisy))) | ends("r", *found.loc[weak, ENDS])
    summary = {"units": units, "n": int(found["n"].max()), "method": "correlation of unit means, clustered by unit"}
    summary["established"] = bool(enough and holds.all())
    keys = ["links few" if not enough else "links" if holds.all() else "links open"]
    if enough and len(steps) > 2:
        to = [at[step] for step in steps[2::-1]]  # the third step, and what goes before it
        z = standardised(s, *to)
        a, b = (slopes(z, *columns, confidence=confidence) for columns in (to[1:], to))
        each = (a["estimate"], a["std_error"], b["estimate"], b["std_error"])
        span = product_interval(*each, n_boot=DRAWS, confidence=confidence, seed=seed)
        summary |= ends("indirect", a["estimate"] * b["estimate"], *span)
        known |= dict(zip(("cause", "by", "outcome"), map(given.label, steps)))
        keys += ["indirect"] * bool(b["units"] >= UNITS)
    keys += ["noisy"] if noisy else [] if trust else ["raw only"]
    value, sure, level = listing(noisy) if trust else "unknown", bool(trust) and not noisy, "stops" if noisy else "care"
    checks = [Check("units", units, f"at least {UNITS}", enough, "stops")]
    checks += [Check(f"reliability of each side known, at least {NOISY}", value, "none below", sure, level)]
    drawn = "correlation of unit means" + (f"; {first} {lag} periods before" if lag else "")
    told = dict(keys=keys, summary=summary, known=known, checks=checks, names=names, line=0, unit=drawn)
    return given.found("service_profit_chain", steps[:3][-1], None, found, **told)


def rated_contacts(responses, interactions, *, rating, within_days: int = 30) -> Survey:
    """Return the ratings with the contact that each is about: its agent, channel, time, ``month`` and ``occasion``.

    `interactions` has one row per contact, with its ``time``. Where both tables name the ``contact``, it is joined by this
    id; else a rating is of the ``customer``'s last in `within_days` before the answer, and a check says so.

    Examples
    --------
    >>> cx.rated_contacts(study.responses, study.interactions, rating="support")
    survey: ... rows, weighted by weight, strata stratum, cluster cluster, floor 10
    """
    say.refuse_if(not whole(within_days), "no_count", name="within_days", value=within_days)
    survey, contacts = as_survey(responses), as_table(interactions).table
    require_columns(survey.table, rating, where="responses")
    rated, asked = survey.table.dropna(subset=[rating]), survey.asked_at or "asked_at"
    named = "contact" in rated and "contact" in contacts
    require_columns(contacts, "time", by := "contact" if named else "customer", where="interactions")
    contacts = contacts[[c for c in contacts if c in (by, "time") or c not in rated]].dropna(subset=[by])
    contacts["time"], clocks = times(contacts, "time", "interactions")
    if by in rated and rated[by].dtype != contacts[by].dtype:  # 7 and, since some id is missing, 7.0
        rated, contacts = rated.astype({by: object}), contacts.astype({by: object})
    if named:
        found, how = rated.drop(columns="time", errors="ignore").merge(contacts, on=by), "named by id"
    else:
        require_columns(rated, by, asked, where="responses")
        answered, others = times(rated, asked, "responses")
        say.refuse_if(len(clocks | others) > 1, "two_clocks", asked=asked)
        rated = rated.assign(answered=answered).drop(columns="time", errors="ignore")
        rated = rated.dropna(subset=[by, "answered"]).sort_values("answered", kind="stable")
        sides = dict(left_on="answered", right_on="time", by=by, tolerance=pd.Timedelta(days=within_days))
        dated = contacts.dropna(subset=["time"]).sort_values("time", kind="stable")
        found = pd.merge_asof(rated, dated, **sides).dropna(subset=["time"])
        how = f"the customer's last within {within_days} days before the answer"
    say.refuse_if(found.empty, "no_contact", rating=rating, days=within_days)
    opened(contacts[contacts[by].isin(found[by])], by, once="interactions" * named)  # each rating is of one contact
    occasion = found[by] if named else found[by].astype(str) + " " + found["time"].astype(str)
    found = found.assign(month=found["time"].dt.strftime("%Y-%m"), occasion=occasion).reset_index(drop=True)
    found.attrs["checks"] = (Check("the contact of a rating", how, "named by id", named),)
    return survey.with_table(found, **({"asked_at": None} if survey.asked_at == "time" else {}))  # it is the contact's


def agent_consistency(
    ratings, *, score, agent, case_mix=(), occasion=None, worth_acting_on=None, confidence=0.95, min_ratings: int = 10
) -> Finding:
    """Return whether agents serve alike: the sd of their true means after case mix, and shrunken means.

    Case mix by least squares within agents; one-way REML, interval from F; BLUPs with their prediction error. Contacts
    for reliability .7: (.7 / .3) s2 within / s2 between. Refused: fewer than five agents with enough ratings.

    Parameters
    ----------
    ratings, score, agent, case_mix : one row per rating, and columns; case mix is held constant as categories
    occasion : column, the contact that a rating is about: several ratings of one count as one, their mean
    worth_acting_on : points of sd between agents that would matter: "alike" where the upper end lies below it
    min_ratings : agents with fewer (or with fewer persons than the floor) are left out and counted

    Examples
    --------
    >>> rated = cx.rated_contacts(study.responses, study.interactions, rating="contact_rating")
    >>> print(cx.agent_consistency(rated, score="contact_rating", agent="agent", occasion="occasion"))
    Agents do not serve alike in Rating of the last contact: true means differ by ...
    """
    given = opened(ratings, agent, *case_mix, numbers=[score], confidence=confidence)
    table, asked = given.table, len(given.table)
    if occasion is not None:
        require_columns(table, occasion, where="ratings")
        of = person_codes(table[occasion])  # a rating whose occasion is not known is one of its own
        table[score] = table.groupby(of)[score].transform("mean")
        given = replace(given, rows=(table := table[~pd.Series(of).duplicated()].reset_index(drop=True)))
    code, names = pd.factorize(table[agent])
    kept = (np.bincount(code, minlength=len(names)) >= min_ratings) & (given.base(code) >= given.min_base)
    have = dict(j=(j := int(kept.sum())), all=len(names), least=min_ratings, floor=given.min_base, needed=MIN_AGENTS)
    say.refuse_if(j < MIN_AGENTS, "few_agents", **have)
    agents, values = code[kept[code]], table[score].to_numpy()[kept[code]]
    plain = np.bincount(agents, values)
    if len(case_mix):
        dummies = pd.get_dummies(table[kept[code]][[*case_mix]].astype(str), drop_first=True).to_numpy(dtype=float)
        within = demean(np.column_stack([values, dummies]), np.ones(len(values)), [agents])
        expected = dummies @ np.linalg.lstsq(within[:, 1:], within[:, 0], rcond=None)[0]
        values = values - expected + expected.mean()
    fitted, icc = one_way(values, agents), intraclass(values, agents, confidence=confidence)
    trust, w = fitted.reliability, fitted.n / (fitted.within + fitted.n * fitted.between)
    half = np.sqrt(fitted.between * (1 - trust) + (1 - trust) ** 2 / w.sum()) * critical_value(confidence, j - 1)
    drawn, league = fitted.mean + fitted.effects, {"group": np.asarray(names)[fitted.names]}
    league |= ends("estimate", drawn, drawn - half, drawn + half) | {"mean": plain[fitted.names] / fitted.n}
    league = pd.DataFrame(league | {"adjusted": fitted.means, "reliability": trust, "n": fitted.n})
    league = league.iloc[digits.descending(drawn, league["group"])].reset_index(drop=True)
    # A pseudonym is drawn anew for each study and says nothing to anybody; places in the league do.
    if league["group"].astype(str).str.fullmatch("p[0-9a-f]{20}").all():
        league["group"] = [f"agent {k + 1}" for k in range(j)]
    sd, low, high = np.sqrt([fitted.between, *(fitted.within * max(r, 0.0) / (1 - r) for r in (icc.low, icc.high))])
    contacts = float(np.ceil(TARGET / (1 - TARGET) * fitted.within / fitted.between)) if sd > 0 else np.inf
    alike, differ = worth_acting_on is not None and high < worth_acting_on, icc.low > 0
    mix = f" after {listing(map(given.label, case_mix))}" if case_mix else ""
    summary = ends("sd_between", sd, low, high) | {"sd_within": np.sqrt(fitted.within)}
    summary |= ends("icc", *icc[:3]) | {"contacts_needed": contacts, "agents": j, "n": len(values)}
    summary |= {"method": "one-way REML after case mix", "established": bool(alike or differ)}
    joined, each = asked - len(table), len(table) / given.base(np.zeros_like(code))[0]
    once = Check("ratings a person", digits.rounded(each, 2), "about 1: they count as independent", bool(each <= 1.25))
    return given.found(
        "agent_consistency", score, agent, league, summary=summary, line=fitted.mean,
        keys=["alike" if alike else "differ" if differ else "agents open", "agents more" if sd > 0 else "agents none"],
        known=dict(score=given.label(score), worth=worth_acting_on, mix=mix, range=critical_value(0.95) * sd),
        checks=[Check("ratings that repeat an occasion, joined", joined, "0", not joined, "info"), once],
        left=("agents with too few ratings", len(names) - j),
        unit=f"{given.label(score)}: mean of the agent{mix}, drawn towards that of all",
    )  # fmt: skip


def rater_agreement(
    sheet, *, item, rater, case, level: str = "ordinal", n_boot: int = 1000, confidence: float = 0.95, seed
) -> Finding:
    """Return whether raters of the same cases agree: Krippendorff's alpha, its interval by resampling cases.

    `sheet` has one row per `case` and `rater`; `level` is nominal (`item` holds codes), ordinal or interval (numbers).
    Established where the lower end reaches 2/3, below which Krippendorff draws no conclusion. Refused: a rater rated a
    case twice, fewer than two raters, fewer than ten cases that two rated.

    Examples
    --------
    >>> import pandas as pd
    >>> sheet = pd.DataFrame({"case": [*range(20)] * 2, "rater": ["A"] * 20 + ["B"] * 20, "mark": [1, 2, 3, 4] * 10})
    >>> print(cx.rater_agreement(sheet, item="mark", rater="rater", case="case", seed=1))
    Raters agree on mark: Krippendorff's alpha 1.00 (95 % interval 1.00 to 1.00; 2 raters, n = 20).
    """
    require_choice("level", level, LEVELS)
    keys, numbers = ([rater, case, item], []) if level == "nominal" else ([rater, case], [item])
    given = opened(sheet, *keys, numbers=numbers, confidence=confidence, once="the sheet")
    table = given.table if numbers else given.table.assign(**{item: pd.factorize(given.table[item])[0]})
    marks = table.pivot(index=rater, columns=case, values=item).to_numpy(dtype=float)
    marks = marks[:, (~np.isnan(marks)).sum(axis=0) >= 2]
    raters, n = marks.shape
    say.refuse_if(raters < 2 or n < 10, "no_agreement", n=n, raters=raters)
    draws = np.random.default_rng(seed).integers(0, n, (n_boot, n))
    alpha, *drawn = [krippendorff_alpha(marks[:, cases], level=level) for cases in (np.arange(n), *draws)]
    span = alpha, *map(float, percentile_interval(drawn, confidence))
    agree = span[1] >= RELIABLE
    return given.found(
        "rater_agreement", item, None, pd.DataFrame([{"term": item, **ends("estimate", *span), "n": n}]),
        keys=["raters" if agree else "raters open"], line=RELIABLE,
        summary={"n": n, "method": f"Krippendorff's alpha, {level}; bootstrap of cases", "established": agree},
        known=ends("alpha", *span) | dict(item=given.label(item), raters=raters),
        checks=[Check("cases that two raters rated", n, "at least 30", n >= 30)],
        unit="Krippendorff's alpha; dashed: 2/3, below which no conclusion is drawn",
    )  # fmt: skip


def chance_limit(kind: str, centre: float, base, error, tail: float) -> np.ndarray:
    """Return the normal limit of a mean; of a share or rate (r - (F(r) - tail) / f(r)) / base, binomial or Poisson, r the
    least count whose distribution reaches the tail (Spiegelhalter 2005).
    """
    if kind == "mean":
        return centre + stats.norm.ppf(tail) * error
    base = np.rint(base) if kind == "share" else base
    law = stats.binom(base, centre) if kind == "share" else stats.poisson(base * centre)
    r = law.ppf(tail)
    return (r - (law.cdf(r) - tail) / law.pmf(r)) / base


def funnel(
    units, *, value, base, unit, kind: str, sd=None, dispersion: str = "additive", confidence: float = 0.95
) -> Finding:
    """Return which units lie outside limits that know their base and what units commonly differ by.

    Limits of shares and rates are exact, interpolated, and cut at 0 (a share's at 1). The units' own spread widens them,
    from scores winsorised at a tenth of each end, so that outliers do not hide themselves. The verdict is Holm's over
    all units: without it 1 in 500 lies beyond 3 sd by chance alone. Refused: shares outside 0-1, fewer than five units.

    Parameters
    ----------
    units, value, base, unit, sd : one row per unit, those under the floor are left out and counted; columns; base is the
        cases, exposure or answers behind a value, sd of a mean that of its answers
    dispersion : "additive", a variance between units (Paule-Mandel); "multiplicative", a factor from the mean of z^2

    Examples
    --------
    >>> import pandas as pd
    >>> shops = pd.DataFrame({"shop": list("ABCDEF"), "share": [0.1, 0.12, 0.09, 0.11, 0.1, 0.1], "n": [100] * 6})
    >>> print(cx.funnel(shops, value="share", base="n", unit="shop", kind="share"))
    No unit of 6 lies outside what its base and the common spread allow (Holm). Centre 0.10...
    """
    require_choice("kind", kind, ("share", "rate", "mean"))
    require_choice("dispersion", dispersion, ("additive", "multiplicative"))
    say.refuse_if(kind == "mean" and sd is None, "no_sd")
    given = opened(units, unit, numbers=[value, base, sd], confidence=confidence, once="the funnel")
    known, (low, high), seen = given.table[given.table[base] > 0], BOUNDS[kind], given.table[value]
    reach = {"least": f"{seen.min():g}", "most": f"{seen.max():g}", "low": f"{low:g}", "high": f"{high:g}"}
    say.refuse_if(digits.outside(seen, low, high).any(), "beyond", value=value, kind=kind, **reach)
    table = known[known[base] >= given.min_base].reset_index(drop=True)
    k, y, n = len(table), table[value].to_numpy(), table[base].to_numpy()
    say.refuse_if(k < 5, "few_in_funnel", k=k, value=value, floor=given.min_base)
    centre = float(n @ y / n.sum())
    spread = table[sd].to_numpy() if sd else np.sqrt(centre * (1 - centre) if kind == "share" else centre)
    error = spread / np.sqrt(n)
    say.refuse_if(not (error > 0).all(), "no_chance", value=value, centre=f"{centre:g}")
    z = (y - centre) / error
    winsorised = np.clip(z, *np.quantile(z, [TAIL, 1 - TAIL])) / np.sqrt(WINSORISED)
    size = np.sqrt(between_variance(winsorised * error, error**2))
    wide = np.sqrt(1 + size**2 / error**2)
    if dispersion == "multiplicative":
        wide = np.full(k, np.sqrt(max(np.mean(winsorised**2), 1.0)))
        size = wide[0] if wide[0] > 1 else 0.0
    p = adjusted_p_values(2 * stats.t.sf(np.abs(z / wide), k - 1 if size else np.inf), correction="holm")
    found, clear = {"unit": table[unit], "estimate": y, "base_size": n}, p < 1 - confidence
    for name, tail in LIMITS.items():
        found[name] = np.clip(centre + wide * (chance_limit(kind, centre, n, error, tail) - centre), low, high)
    verdict = np.select([clear & (z > 0), clear], ["above", "below"], "inside").astype(object)
    summary = {"centre": centre, "overdispersion": float(np.mean(z**2)), "units": k, "n": int(n.sum())}
    summary |= {"method": f"{kind} funnel, {dispersion} dispersion", "established": bool(clear.any())}
    return given.found(
        "funnel", value, unit, pd.DataFrame(found | {"p_adjusted": p, "verdict": verdict}), summary=summary,
        keys=["funnel" if clear.any() else "funnel calm", "centre", dispersion if size else "plain limits"],
        known=dict(first=given.label(found["unit"][p.argmin()]), k=int(clear.sum()), size=size, expected=0.002 * k),
        left=("units under the floor", len(known) - k), figure=_funnel_figure, unit=given.label(value),
    )  # fmt: skip


def _funnel_figure(finding, ax=None):
    """Draw values against their base within the limits; units that lie outside are named."""
    ax, t = axes_or_new(ax), finding.table.sort_values("base_size")
    for column in LIMITS:
        style = ":" if column.startswith("limit2") else "--"
        ax.plot(t["base_size"], t[column], linestyle=style, color=QUIET, linewidth=1)
    ax.axhline(finding.summary["centre"], color=QUIET, linewidth=1)
    out = t["verdict"] != "inside"
    ax.scatter(t["base_size"], t["estimate"], np.where(out, 64, 25), np.where(out, PALETTE[1], PALETTE[0]), zorder=2)
    for row in t[out].itertuples():
        ax.annotate(finding.label(row.unit), (row.base_size, row.estimate), xytext=(5, 4), textcoords="offset points")
    ax.set(xlabel="base", ylabel=finding.drawn["unit"])
    return titled(ax, finding.title, "dotted: 2 sd, dashed: 3 sd")


def process_chart(
    ratings, *, value, period, by=None, kind: str = "mean", baseline: int, rules=(1,), confidence: float = 0.95
) -> Finding:
    """Return where a process left its limits, and how many false alarms the rules raise by themselves.

    Established where a point lies beyond 3 sd by Holm's p over all points. Refused: rules without 1, and where no chart
    has two baseline periods that vary and one after them.

    Parameters
    ----------
    ratings, value, period : one row per rating, of "individuals" per period, of "rate" per thing; periods as they occur
    kind : X-bar with mean S, moving ranges, p, u, p' (Laney 2002)
    baseline, by : how many first periods set centre and limits; one chart per group of `by`, such as an agent
    rules : 1 beyond 3 sd, always; 2 two of three beyond 2; 3 four of five beyond 1; 4 eight on one side

    Examples
    --------
    >>> rated = cx.rated_contacts(study.responses, study.interactions, rating="contact_rating")
    >>> print(cx.process_chart(rated, value="contact_rating", period="month", baseline=6, rules=(1, 4)))
    Rating of the last contact: a change is not established, 0 signals where 0.1 false alarms are expected ...
    """
    require_choice("kind", kind, BOUNDS)
    chosen = tuple(sorted({*rules} if np.iterable(rules) else {rules}, key=str))
    say.refuse_if((length := RUN_LENGTH.get(chosen)) is None, "no_rules", rules=repr(rules))
    say.refuse_if(not whole(baseline), "no_count", name="baseline", value=baseline)
    given = opened(ratings, period, by, numbers=[value], confidence=confidence)
    odd = kind in ("share", "laney") and not given.table[value].isin([0, 1]).all()
    say.refuse_if(odd, "no_share", value=value, kind=kind)
    keys = {"group": by, "wave": period} if by else {"wave": period}
    named = pd.DataFrame({name: given.table[column] for name, column in keys.items()})  # columns may have any name
    groups = named.assign(estimate=given.table[value]).groupby([*keys], observed=True)
    hidden = given.base(groups.ngroup().to_numpy()) < given.min_base
    cells = groups["estimate"].agg(estimate="mean", std="std", n="size").reset_index()[~hidden]
    cells = cells.sort_values("wave", key=in_time)
    parts = cells.groupby("group", observed=True) if by else [(None, cells)]
    charts = [chart for _, part in parts if (chart := _chart(part, kind, baseline, chosen)) is not None]
    say.refuse_if(not charts, "no_chart", baseline=baseline)
    found = pd.concat(charts, ignore_index=True)
    p = adjusted_p_values(found.pop("p_value"), correction="holm")
    worst, sure = found.iloc[int(np.argmin(p))], bool(p.min() < 1 - confidence)
    signals, expected, chosen = int((found["alarm"] != "none").sum()), len(found) / length, listing(chosen)
    first = f"{given.label(worst['group'])} in {worst['wave']}" if by else worst["wave"]
    summary = {"baseline": baseline, "signals": signals, "run_length": length, "n": int(found["n"].sum())}
    summary |= {"method": f"{kind} chart, rules {chosen}", "established": sure}
    usual, few = f"about {number(expected, 1)}", bool(signals <= expected + 3 * np.sqrt(expected))
    return given.found(
        "process_chart", value, by, found, keys=["signals" if sure else "signals open", "run length"], summary=summary,
        known=dict(what=given.label(value), first=first, expected=expected, cells=len(found), rules=chosen),
        checks=[Check("signals beyond the false alarms expected", signals, usual, few, "info")],
        left=("points under the floor", int(hidden.sum())), figure=_chart_figure, unit=given.label(value),
    )  # fmt: skip


def _chart(cells: pd.DataFrame, kind: str, baseline: int, rules) -> pd.DataFrame | None:
    """Return the points of one chart with limits, signals and p of rule 1; None where the baseline tells nothing."""
    if not 2 <= baseline < len(cells):
        return None
    first, n, y = cells.iloc[:baseline], cells["n"].to_numpy(dtype=float), cells["estimate"].to_numpy()
    weights = n[:baseline] / n[:baseline].sum()
    centre = float(y[:baseline] @ weights)
    if kind == "mean":
        many = first[first["n"] > 1]
        half = many["n"] / 2
        c4 = np.exp(special.gammaln(half) - special.gammaln(half - 0.5)) * np.sqrt(2 / (many["n"] - 1))
        sd = (many["std"] / c4).mean()
    elif kind == "individuals":
        sd, n = np.mean(np.abs(np.diff(y[:baseline]))) / SPAN, np.ones(len(n))
    else:
        sd = np.sqrt(centre if kind == "rate" else centre * (1 - centre))
    if not sd > 0:
        return None
    error = sd / np.sqrt(n)
    if kind == "laney":
        error = error * np.mean(np.abs(np.diff((y - centre)[:baseline] / error[:baseline]))) / SPAN
    later = np.arange(len(n)) >= baseline  # these owe nothing to the centre, whose own error counts
    own = np.sqrt(error**2 + later * np.sum((weights * error[:baseline]) ** 2))
    df = baseline - 1 if kind in ("individuals", "laney") else max(first["n"].sum() - baseline, 1)
    low, high = (np.clip(centre + side * error, *BOUNDS[kind]) for side in (-3, 3))
    limits = dict(centre=centre, limit_low=low, limit_high=high, alarm=_signals((y - centre) / error, rules))
    return cells.drop(columns="std").assign(**limits, p_value=2 * stats.t.sf(np.abs(y - centre) / own, df))


def _signals(z: np.ndarray, rules) -> np.ndarray:
    """Return by point the first rule that marks it, in words, or "none"."""
    found = np.where(np.abs(z) > 3, "rule 1", "none").astype(object)
    for rule in rules[1:]:
        window, least, reach = RULES[rule]
        for side in (1, -1):
            beyond = np.convolve(side * z > reach, np.ones(window), "full")[: len(z)]
            found[(found == "none") & (beyond >= least) & (side * z > reach)] = f"rule {rule}"
    return found


def _chart_figure(finding, ax=None):
    """Draw the periods, those of the groups with signals within their limits; signals in rings."""
    t = finding.table.sort_values("wave", key=in_time, kind="stable")
    out, by, places = t[t["alarm"] != "none"], "group" if "group" in t else None, list(pd.unique(t["wave"]))
    drawn = dict(low="limit_low", high="limit_high", by=by, marked=set(out["group"]) if by else (), ax=ax)
    ax = over_waves(t, "estimate", unit=finding.drawn["unit"], **drawn)
    at = [places.index(wave) for wave in out["wave"]]
    ax.plot(at, out["estimate"], "o", color=PALETTE[6], markerfacecolor="none", markersize=10, zorder=3)
    ax.tick_params(axis="x", rotation=45 if len(places) > 8 else 0)
    return titled(ax, finding.title, "band: limits at 3 sd; rings: signals")
