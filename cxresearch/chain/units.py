"""Units: can their means be trusted, which links of the chain hold between them, and what comes first?

Shrout & Fleiss (1979), Psychological Bulletin 86:420-428; Searle, Casella & McCulloch (1992), *Variance Components*;
Heskett et al. (1994), Harvard Business Review 72:164-174; Mundlak (1978), Econometrica 46:69-85; Granger (1969),
Econometrica 37:424-438; Spearman (1904), Am. J. Psychology 15:72-101; MacKinnon, Lockwood & Williams (2004),
Multivariate Behavioral Research 39:99-128 (Monte Carlo interval).
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.findings import ENDS, Check, Finding, Statement, ends, listing, words
from cxresearch.inference import adjusted_p_values, percentile_interval, t_interval
from cxresearch.inference.clusters import cr2
from cxresearch.inference.pooling import intraclass, one_way
from cxresearch.survey import Survey, Table, as_survey, as_table
from cxresearch.survey.survey import person_codes

say = words(__package__)

NOISY = 0.6  # reliability under which a unit's mean is too noisy to link
UNITS = 30  # with fewer the numbers between units are a description
DRAWS = 1000
# Name in the sentences -> row of the table, outcome, cause and what is given: columns of `over_periods`.
TERMS = {
    "now": ("same period", "y", ["x"]),
    "lag": ("next period", "y after", ["x"]),
    "lead": ("period before (lead)", "y before", ["x"]),
    "next": ("next period, given the present", "y after", ["x", "y"]),
    "back": ("reverse: cause later, given its present", "x after", ["y", "x"]),
    "within": ("within units", "y", ["apart", "own"]),
    "between": ("between units", "y", ["own", "apart"]),
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

    def found(self, *question, keys, summary, known, checks=(), left=None, figure=None, **drawn) -> Statement:
        """Return function, outcome, group and table as a finding; `left` says what was left out, and how often."""
        what, hidden = left or ("", 0)
        out = (Check(f"{what}, left out", hidden, "0", not hidden, "info"),) if left else ()
        question = *question, summary, (*checks, *out, *self.checks)
        options = dict(suppressed=hidden, figure=figure, drawn=drawn)
        return Statement.of(say, keys, known, self.confidence, *question, source=self, **options)


def opened(data, *keys, numbers, confidence: float, once="", gaps: bool = False) -> Opened:
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
        values = pd.to_numeric(table[column], errors="coerce").astype(float)
        text = (values.isna() & table[column].notna()).to_numpy()
        first = dict(row=text.argmax(), value=next(iter(table[column][text]), None))
        say.refuse_if(text.any(), "no_numbers", column=column, **first)
        table = table.assign(**{column: values})
    checks, weight = tuple(table.attrs.get("checks", ())), getattr(source, "weight", None)
    if weight:
        checks += (Check("weights", weight, "rows with a weight above zero count alike here", False, "info"),)
        table = table[table[weight] != 0]
    table = table.dropna(subset=keys if gaps else [*keys, *numbers]).reset_index(drop=True)
    twice, within = table[table.duplicated(keys[:2])][keys[0]].tolist(), f" in one {keys[1]}" if len(keys) > 1 else ""
    say.refuse_if(once and twice, "twice", where=once, unit=keys[0], value=next(iter(twice), None), within=within)
    known = dict(labels=source.labels, min_base=source.min_base, condition=getattr(source, "condition", ""))
    person = getattr(source, "respondent", None) or getattr(source, "person", None)
    return Opened(table, respondent=person, confidence=confidence, checks=checks, **known)


def slopes(table: pd.DataFrame, y: str, columns: list, confidence: float, *, effects: str | None = None) -> dict:
    """Return the slope of `y` on the first of `columns`, the others given, clustered by ``unit`` (CR2, and t with its
    degrees of freedom); `effects` have an intercept each.
    """
    known = table.dropna(subset=[y, *columns])
    code, names = pd.factorize(known["unit"])
    say.refuse_if((units := len(names)) < 3, "no_units", y=y, x=columns[0], units=units)
    each = np.ones(len(known)) if effects is None else pd.get_dummies(known[effects]).to_numpy(dtype=float)
    X, outcome = np.column_stack([known[columns], each]), known[y].to_numpy()
    slope = np.linalg.lstsq(X, outcome, rcond=None)[0]
    covariance, df = cr2(X, outcome - X @ slope, code)
    *found, p = map(float, t_interval(slope[0], error := np.sqrt(covariance[0, 0]), df[0], confidence))
    return ends("estimate", *found) | {"std_error": float(error), "p_value": p, "n": len(known), "units": units}


def standardised(table: pd.DataFrame, columns) -> pd.DataFrame:
    """Return a table whose columns are less their mean, in standard deviations."""
    for column in columns:
        say.refuse_if(not table[column].std() > 0, "no_variance", name=column)
    return table.assign(**{c: (table[c] - table[c].mean()) / table[c].std() for c in columns})


def over_periods(table: pd.DataFrame, unit, period, columns, lag: int) -> pd.DataFrame:
    """Return ``unit``, ``period`` and `columns`, each also `lag` periods before and after, of periods that occur."""
    periods = table[period].nunique()
    say.refuse_if(lag and periods < 2, "one_period", period=period)
    say.refuse_if(lag not in range(periods), "no_lag", lag=lag, most=periods - 1)
    place = {label: k for k, label in enumerate(sorted(table[period].unique()))}
    rows = table[[unit, period, *columns]].set_axis(["unit", "period", *columns], axis=1)
    found = rows = rows.assign(period=rows["period"].map(place)).dropna(subset=columns, how="all")
    for at, by in ((" before", lag), (" after", -lag)):
        moved = rows.assign(period=rows["period"] + by)
        found = found.merge(moved, how="left", on=["unit", "period"], suffixes=("", at))
    return found


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
    employees : Table or DataFrame, one row per `unit` and `period`
    answers : Survey, its waves are the periods; `answers_unit` is the unit's column where it has another name there
    items : columns of the answers (None is none): weighted means, missing under `min_answers` persons or the floor
    n : column of the employees, how many answered: rows under the floor leave and are counted

    Raises
    ------
    DataProblem : no unit and period is in both, or a unit stands twice in a period.

    Examples
    --------
    >>> responses = (study := cx.open_study("data/example/study.yml")).described(study.responses)
    >>> cx.unit_panel(study.employees, responses, items=["staff", "satisfaction"], answers_unit="branch")
    table: ... rows, one person: not named, floor 10
    """
    staff, survey, keys = as_table(employees), as_survey(answers), ["unit", "period"]
    own = opened(staff, unit, period, numbers=[n], confidence=0.95, once="employees", gaps=True).table
    said, floor = survey.table, max(survey.min_base, staff.min_base)
    items, at, wave = [item for item in items if item is not None], answers_unit or unit, survey.wave or period
    require_columns(said, at, wave, *items, where="the answers")
    person = person_codes(said[survey.respondent]) if survey.respondent else np.arange(len(said))
    rows = said[[at, wave]].astype(str).set_axis(keys, axis=1).assign(weight=survey.weights(), person=person)
    means, least = {}, max(min_answers, floor)
    for item in items:
        scored = rows.assign(score=pd.to_numeric(said[item]) * rows["weight"])
        cells = scored[said[item].notna() & (rows["weight"] > 0)].groupby(keys)
        means[item] = (cells["score"].sum() / cells["weight"].sum()).where(cells["person"].nunique() >= least)
    means = pd.DataFrame(means).dropna(how="all").reset_index()
    few = np.zeros(len(own), dtype=bool) if n is None else ~(own[n] >= floor).to_numpy()  # nor where nobody knows
    shown = own[~few].assign(unit=own[unit].astype(str), period=own[period].astype(str))
    panel = shown.drop(columns=items, errors="ignore").merge(means, on=keys)
    have = (listing(t[key].unique()[:3]) for t in (shown, rows) for key in keys)
    have = dict(zip(("there", "then", "here", "now"), have), unit=unit, period=period, floor=least)
    say.refuse_if(panel.empty, "no_panel", **have)
    left = Check("rows of fewer employees than the floor, left out", int(few.sum()), "0", not few.any(), "info")
    panel.attrs["checks"] = (left,)
    return replace(staff, data=panel, labels={**survey.labels, **staff.labels}, min_base=floor)


def unit_reliability(
    answers, *, item, unit, period=None, n=None, sd=None, confidence: float = 0.95, min_answers: int = 10
) -> Statement:
    """Return how far means of units can be told from chance: ICC with interval, reliability of each unit's mean.

    ICC(1) = (MSB - MSW) / (MSB + (k - 1) MSW), k = (N - sum n^2/N)/(J - 1), interval from F; reliability of a mean
    n r / (1 + n r), r the ratio of variances by REML (Searle et al. 1992).

    Parameters
    ----------
    answers : Survey, Table or DataFrame, one row per answer, or per mean of a unit and period
    item, unit, period : columns
    n, sd : columns of means: how many answered, and their standard deviation; else stability over periods is given
    min_answers : int, means of fewer persons (or than the floor) are left out and counted

    Raises
    ------
    DataProblem : text for numbers, a unit twice in a period where rows are means, fewer than two large enough means.

    Examples
    --------
    >>> responses = (study := cx.open_study("data/example/study.yml")).described(study.responses)
    >>> print(cx.unit_reliability(responses, item="satisfaction", unit="branch"))
    A mean of Overall satisfaction by Branch can be told from chance: reliability 0.75 at 54 answers ...
    """
    delivered = [] if n is None or sd is None else [n, sd]
    keys, once = [unit, *([] if period is None else [period])], "the table of means" if delivered else ""
    given = opened(answers, *keys, numbers=[item, *delivered], confidence=confidence, once=once)
    table, known = given.table, dict(item=given.label(item), by=listing(map(given.label, keys)), limit=NOISY)
    code, names = pd.factorize(pd.Series([", ".join(map(str, row)) for row in table[keys].to_numpy()], dtype=object))
    if not delivered and period is not None and len(names) == len(table) > 0:  # one row per unit and period
        return _stability(given, item, unit, period)
    base, floor = table[n].to_numpy() if delivered else given.base(code), max(min_answers, given.min_base)
    kept, j = base[code] >= floor, int((base >= floor).sum())
    say.refuse_if(j < 2, "few_in_units", units=len(names), item=item, floor=floor)
    scores, group = table[item].to_numpy()[kept], code[kept]
    if delivered:  # answers of these sizes, means and standard deviations: variances depend on nothing else
        sizes = base[kept].astype(int)
        first, half = np.cumsum(sizes) - sizes, table[sd].to_numpy()[kept] * np.sqrt((sizes - 1) / 2)
        scores, group = np.repeat(scores, sizes), np.repeat(group, sizes)
        scores[first] += half
        scores[first + (sizes > 1)] -= half
    fitted, icc = one_way(scores, group), intraclass(scores, group, confidence=confidence)
    columns = {"unit": names[fitted.names], "estimate": fitted.reliability, "mean": fitted.means}
    found = pd.DataFrame(columns | {"sd_within": np.sqrt(fitted.within), "n": fitted.n})
    found = found.iloc[digits.descending(found["estimate"], found["unit"])].reset_index(drop=True)
    weak, sure = int((fitted.reliability < NOISY).sum()), icc.low > 0
    summary = ends("icc", *icc[:3]) | {"icc_mean": icc.average, "units": j, "n": int(fitted.n.sum())}
    summary |= {"sd_between": np.sqrt(fitted.between), "sd_within": np.sqrt(fitted.within)}
    summary |= {"method": "one-way REML; ICC with F interval", "established": sure}
    told = dict(keys=["reliable" if sure else "unreliable", "icc"], known=known | dict(size=icc.size, weak=weak))
    told["checks"] = [Check(f"units with reliability under {NOISY}", weak, "0", weak == 0)]
    told["left"] = "means of fewer persons than asked for", len(names) - j
    drawn = dict(low="estimate", high="estimate", unit="reliability of the mean, 0-1", line=NOISY)
    return given.found("unit_reliability", item, ", ".join(keys), found, summary=summary, **told, **drawn)


def _stability(given, item, unit, period) -> Statement:
    """Return how alike a unit's means of several periods are: all that means alone can tell."""
    icc, n = intraclass(given.table[item], given.table[unit], confidence=given.confidence), len(given.table)
    row = [{"term": "one period's mean", **ends("estimate", *icc[:3]), "n": n}]
    summary = ends("icc", *icc[:3]) | {"icc_mean": icc.average, "n": n}
    summary |= {"method": "stability over periods; ICC with F interval", "established": False}
    known = dict(item=given.label(item), unit=given.label(unit), periods=given.table[period].nunique())
    told = dict(keys=["unknown", "stable"], summary=summary, known=known, unit="ICC of a unit's means over periods")
    told["checks"] = [Check("n and sd of each mean are known", "unknown", "columns n and sd", False, "stops")]
    return given.found("unit_reliability", item, unit, pd.DataFrame(row), **told)


def lead_lag_units(panel, *, cause, outcome, unit, period, confidence: float = 0.95) -> Statement:
    """Return whether a cause goes before an outcome between units: lag, lead, reverse, within and between.

    Least squares of standard scores with period effects, CR2 errors by unit. Established where the next period given
    the present, or the difference within units (Mundlak 1978), excludes zero (Holm), and the period *before* does not go
    with the cause: a lead that does says that something lasting lies behind both. "Goes before" is said of the next one.

    Parameters
    ----------
    panel : Table or DataFrame, one row per unit and period; under 30 units the numbers are a description
    cause, outcome, unit, period : columns

    Raises
    ------
    DataProblem : one period, a unit twice in a period, a column without variance.

    Examples
    --------
    >>> print(cx.lead_lag_units(study.employees, cause="engagement", outcome="profit", unit="unit", period="period"))
    That Employee engagement comes before Profit in thousand EUR is not established in 40 units. ...
    """
    given = opened(panel, unit, period, numbers=[cause, outcome], confidence=confidence, once="the panel", gaps=True)
    s = over_periods(given.table.rename(columns={cause: "x", outcome: "y"}), unit, period, ["x", "y"], 1)
    s = standardised(s, [c for c in s if c not in ("unit", "period")])
    s["own"] = s["x"].where(s["y"].notna()).groupby(s["unit"]).transform("mean")
    s["apart"] = s["x"] - s["own"]
    rows = {key: slopes(s, y, columns, confidence, effects="period") for key, (_, y, columns) in TERMS.items()}
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
    checked, limit = "the period before does not go with the cause (p of the lead)", f"at least {level}"
    checks = [
        Check("units", units, f"at least {UNITS}", units >= UNITS, "stops"),
        Check(checked, rows["lead"]["p_value"], limit, not lead, "stops"),
        Check("the reverse, given the past", rows["back"]["p_value"], "information", not back, "info"),
    ]
    table = pd.DataFrame([{"term": TERMS[key][0], **row} for key, row in rows.items()])
    told = dict(keys=keys if units >= UNITS else ["few units"], summary=summary, known=known, checks=checks, line=0)
    told["unit"] = f"{given.label(outcome)}, standard deviations per standard deviation of {given.label(cause)}"
    return given.found("lead_lag_units", f"{outcome} on {cause}", None, table, **told)


def service_profit_chain(
    panel, *, steps, unit, period, lag: int = 1, reliability=None, confidence: float = 0.95, seed
) -> Statement:
    """Return each link of the chain between units, raw and corrected for reliability, and the part that passes through.

    r is the slope of standard scores, CR2 errors by unit; corrected, r / sqrt(rel_x rel_y) (Spearman 1904). Indirect:
    a b of units (2-2-2) from the first step to the third, b given the first, interval by Monte Carlo. The chain is
    established where every link's interval lies above zero.

    Parameters
    ----------
    panel : Table or DataFrame, one row per unit and period; under 30 units the numbers are a description
    steps : columns, the chain in its order, such as engagement, quality, satisfaction, profit; None is left out
    unit, period : columns
    lag : int, periods by which the first step comes before the rest
    reliability : mapping column -> reliability of its means, optional

    Raises
    ------
    DataProblem : one period where a lag is asked for, a unit twice in a period, a reliability outside 0-1.

    Examples
    --------
    >>> asked = dict(steps=["engagement", "profit"], unit="unit", period="period", lag=0, seed=1)
    >>> print(cx.service_profit_chain(study.employees, **asked))
    All 1 links hold between 40 units, weakest Employee engagement → Profit in thousand EUR: r = 0...
    """
    steps, trust = [step for step in steps if step is not None], dict(reliability or {})
    say.refuse_if(len(steps) < 2, "one_step", steps=steps)
    given = opened(panel, unit, period, numbers=steps, confidence=confidence, once="the panel", gaps=True)
    require_columns(given.table, *trust, where="reliability= names a column, and the panel")
    for column, value in trust.items():
        say.refuse_if(not 0 < value <= 1, "no_reliability", column=column, value=value)
    s = over_periods(given.table, unit, period, steps, lag)
    first, *others = steps
    s[first] = s[f"{first} before"]
    links, rows = [*zip(steps, others), *((first, other) for other in others[1:])], []
    for x, y in links:
        r = slopes(standardised(s.dropna(subset=[x, y]), [x, y]), y, [x], confidence)
        share = np.sqrt(trust.get(x, np.nan) * trust.get(y, np.nan))
        rows.append({"term": x, "outcome": y, **r, **ends("corrected", *(r[end] / share for end in ENDS))})
    found, k = pd.DataFrame(rows), len(others)
    holds, units, weak = found["conf_low"][:k] > 0, int(found["units"].iloc[0]), found["estimate"][:k].idxmin()
    enough, noisy = units >= UNITS, [c for c in steps if trust.get(c, 1) < NOISY]
    names = [f"{given.label(x)} → {given.label(y)}" for x, y in links]
    known = dict(k=k, clear=int(holds.sum()), least=UNITS, limit=NOISY, link=names[weak])
    known |= dict(lowest=found["estimate"].min(), highest=found["estimate"].max())
    known |= dict(items=listing(map(given.label, noisy))) | ends("r", *found.loc[weak, ENDS])
    summary = {"units": units, "n": int(found["n"].max()), "method": "correlation of unit means, clustered by unit"}
    summary["established"] = bool(enough and holds.all())
    keys = ["links few" if not enough else "links" if holds.all() else "links open"]
    if enough and len(steps) > 2:
        cause, through, last = steps[:3]
        z = standardised(s.dropna(subset=steps[:3]), steps[:3])
        a, b = slopes(z, through, [cause], confidence), slopes(z, last, [through, cause], confidence)
        each = (a["estimate"], a["std_error"], b["estimate"], b["std_error"])
        span = product_interval(*each, n_boot=DRAWS, confidence=confidence, seed=seed)
        summary |= ends("indirect", a["estimate"] * b["estimate"], *span)
        known |= dict(zip(("cause", "by", "outcome"), map(given.label, steps)))
        keys += ["indirect"]
    keys += ["noisy"] if noisy else [] if trust else ["raw only"]
    value, sure, level = listing(noisy) if trust else "unknown", bool(trust) and not noisy, "stops" if noisy else "care"
    checks = [
        Check("units", units, f"at least {UNITS}", enough, "stops"),
        Check(f"reliability of each side known, at least {NOISY}", value, "none below", sure, level),
    ]
    drawn = "correlation of unit means" + (f"; {first} {lag} periods before" if lag else "")
    told = dict(keys=keys, summary=summary, known=known, checks=checks, names=names, line=0, unit=drawn)
    return given.found("service_profit_chain", steps[:3][-1], None, found, **told)
