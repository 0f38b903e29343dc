"""Units: can their means be trusted, which links of the chain hold between them, and what comes first?

Shrout & Fleiss (1979), Psychological Bulletin 86:420-428; Searle, Casella & McCulloch (1992), *Variance Components*;
Heskett et al. (1994), Harvard Business Review 72:164-174; Mundlak (1978), Econometrica 46:69-85; Granger (1969),
Econometrica 37:424-438; Spearman (1904), Am. J. Psychology 15:72-101; MacKinnon, Lockwood & Williams (2004),
Multivariate Behavioral Research 39:99-128 (Monte Carlo interval).
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from cxresearch import digits
from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.findings import ENDS, Check, Finding, ends, listing, words
from cxresearch.inference import adjusted_p_values, percentile_interval, t_interval
from cxresearch.inference.clusters import cr2
from cxresearch.inference.pooling import intraclass, one_way
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


def floats(table: pd.DataFrame, column) -> pd.Series:
    """Return a column as floats; what is no number is refused."""
    given = table[column] if is_numeric_dtype(table[column]) else table[column].astype(object)
    values = pd.to_numeric(given, errors="coerce").astype(float)
    text = (values.isna() & given.notna()).to_numpy()
    say.refuse_if(text.any(), "no_numbers", column=column, row=text.argmax(), value=given.iloc[text.argmax()])
    return values


def in_time(periods: pd.Series) -> pd.Series:
    """Return what puts periods in order: text as a reader does, week 2 before week 10."""
    text = periods.dtype in (object, "str", "string")
    return periods.map({p: k for k, p in enumerate(sorted(periods.unique(), key=natural_key))}) if text else periods


def whole(value) -> bool:  # neither True nor 6.0
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def over_periods(table: pd.DataFrame, unit, period, columns, lag: int) -> dict[tuple, np.ndarray]:
    """Return (column, "") -> values, (units, periods), and those `lag` periods "before" and "after", where any is known."""
    periods = table[period].nunique()
    say.refuse_if(lag and periods < 2, "one_period", period=period)
    say.refuse_if(not whole(lag) or lag not in range(periods), "no_lag", lag=lag, most=periods - 1)
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
    own = opened(staff, unit, period, numbers=[n], once="employees", gaps=True).table
    said, floor = survey.table, max(survey.min_base, staff.min_base)
    items, at, wave = [item for item in items if item is not None], answers_unit or unit, survey.wave or period
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
