"""Which links of the chain hold between units, and what comes first.

Heskett et al. (1994), Harvard Business Review 72:164-174; Mundlak (1978), Econometrica 46:69-85; Granger (1969),
Econometrica 37:424-438 (leads); Spearman (1904), Am. J. Psychology 15:72-101 (attenuation); MacKinnon, Lockwood &
Williams (2004), Multivariate Behavioral Research 39:99-128 (Monte Carlo interval).
"""

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.chain.rows import FEW_CLUSTERS, NOISY, UNITS, clear, opened, require_once, say, slopes, standard
from cxresearch.errors import require_columns
from cxresearch.findings import ENDS, Check, Statement, ends, listing
from cxresearch.inference import adjusted_p_values, percentile_interval

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


def product_interval(a, a_error, b, b_error, *, n_boot: int, confidence: float, seed) -> tuple[float, float]:
    """Return the Monte-Carlo interval of a product of two independent normal estimates."""
    z = np.random.default_rng(seed).standard_normal((2, n_boot))
    return tuple(map(float, percentile_interval((a + a_error * z[0]) * (b + b_error * z[1]), confidence)))


def over_periods(table: pd.DataFrame, unit, period, columns, lag: int) -> pd.DataFrame:
    """Return ``unit``, ``period`` and `columns`, each also `lag` periods before and after, of periods that occur."""
    require_once(table, [unit, period], "the panel")
    periods = table[period].nunique()
    say.refuse_if(lag and periods < 2, "one_period", period=period)
    say.refuse_if(not (isinstance(lag, int) and 0 <= lag < periods), "no_lag", lag=lag, most=periods - 1)
    wide, moved = table.pivot(index=unit, columns=period, values=columns), {}
    for at, by in (("", 0), (" before", lag), (" after", -lag)):
        moved |= {f"{c}{at}": wide[c].shift(by, axis="columns").stack(future_stack=True) for c in columns}
    return pd.DataFrame(moved).dropna(subset=columns, how="all").rename_axis(["unit", "period"]).reset_index()


def lead_lag_units(panel, *, cause, outcome, unit, period, confidence: float = 0.95) -> Statement:
    """Return whether a cause goes before an outcome between units: lag, lead, reverse, within and between, in one table.

    Least squares of standard scores with period effects, clustered by unit (CR2 under 40 units). Established
    where the next period given the present, or the difference within units (Mundlak 1978), excludes zero (Holm), and the
    period *before* does not go with the cause: a lead that does says that something lasting lies behind both. "Goes
    before" is said of the next period only; within units of one period the two move together.

    Parameters
    ----------
    panel : Table or DataFrame
        One row per unit and period, as `unit_panel` returns. Under 30 units the numbers are a description.
    cause, outcome, unit, period : columns

    Raises
    ------
    DataProblem
        One period, a unit twice in a period, a column without variance.

    Examples
    --------
    >>> print(cx.lead_lag_units(study.employees, cause="engagement", outcome="profit", unit="unit", period="period"))
    That Employee engagement comes before Profit in thousand EUR is not established in 40 units. ...
    """
    given = opened(panel, unit, period, numbers=[cause, outcome], confidence=confidence, gaps=True)
    s = over_periods(given.table.rename(columns={cause: "x", outcome: "y"}), unit, period, ["x", "y"], 1)
    s = s.assign(**{c: standard(s[c]) for c in s if c not in ("unit", "period")})
    s["own"] = s["x"].where(s["y"].notna()).groupby(s["unit"]).transform("mean")
    s["apart"] = s["x"] - s["own"]
    rows = {key: slopes(s, y, columns, confidence, effects="period") for key, (_, y, columns) in TERMS.items()}
    units, lead, back = rows["now"]["units"], clear(rows["lead"]), clear(rows["back"])
    p = adjusted_p_values([rows[key]["p_value"] for key in ("next", "within")], correction="holm")
    first, level = bool(units >= UNITS and not lead and (p < 1 - confidence).any()), digits.rounded(1 - confidence, 6)
    keys = ["not first" if not first else "first" if p[0] < 1 - confidence else "together"]  # one period has no before
    keys += ["lead also" if lead else "lead clear", "reverse" if back else "reverse open"]
    known = dict(cause=given.label(cause), outcome=given.label(outcome), least=UNITS)
    for key, row in rows.items():
        known |= ends(key, *(row[end] for end in ENDS))
    method = f"standard scores, period effects, {'CR2' if units < FEW_CLUSTERS else 'CR1'} by unit"
    summary = {"units": units, "n": rows["now"]["n"], "established": first, "method": method}
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

    r is the slope of standard scores, clustered by unit (CR2 under 40). Corrected: r / sqrt(rel_x rel_y) (Spearman
    1904). Indirect: a b at the level of units (2-2-2) from the first step to the third, b given the first, interval by Monte Carlo. The chain is
    established where every link's interval lies above zero. Under 30 units the numbers are a description.

    Parameters
    ----------
    panel : Table or DataFrame, one row per unit and period, as `unit_panel` returns
    steps : sequence of columns
        The chain in its order, such as engagement, quality, satisfaction, profit; None is left out.
    unit, period : columns
    lag : int, periods by which the first step comes before the rest; 0 is the same period
    reliability : mapping column -> reliability of its means, optional

    Raises
    ------
    DataProblem
        One period where a lag is asked for, a unit twice in a period, a reliability outside 0-1.

    Examples
    --------
    >>> employees = study.employees
    >>> asked = dict(steps=["engagement", "profit"], unit="unit", period="period")
    >>> print(cx.service_profit_chain(employees, **asked, lag=0, seed=1))
    All 1 links hold between 40 units, weakest Employee engagement → Profit in thousand EUR: r = 0...
    """
    steps, trust = [step for step in steps if step is not None], dict(reliability or {})
    say.refuse_if(len(steps) < 2, "one_step", steps=steps)
    given = opened(panel, unit, period, numbers=steps, confidence=confidence, gaps=True)
    require_columns(given.table, *trust, where="reliability= names a column, and the panel")
    for column, value in trust.items():
        say.refuse_if(not 0 < value <= 1, "no_reliability", column=column, value=value)
    s = over_periods(given.table, unit, period, steps, lag)
    first, *others = steps
    s[first] = s[f"{first} before"]
    links = [*zip(steps, others), *((first, other) for other in others[1:])]
    found = pd.DataFrame([_link(s, x, y, trust, confidence) for x, y in links])
    inside, units = found.iloc[: len(steps) - 1], int(found["units"].iloc[0])
    holds, enough = inside.apply(clear, axis=1) & (inside["estimate"] > 0), units >= UNITS
    weak, noisy = inside["estimate"].idxmin(), [c for c in steps if trust.get(c, 1) < NOISY]
    names = [f"{given.label(x)} → {given.label(y)}" for x, y in links]
    known = dict(k=len(inside), clear=int(holds.sum()), least=UNITS, limit=NOISY)
    known |= dict(lowest=found["estimate"].min(), highest=found["estimate"].max(), link=names[weak])
    known |= dict(items=listing(map(given.label, noisy))) | ends("r", *inside.loc[weak, ENDS])
    summary = {"units": units, "n": int(found["n"].max()), "method": "correlation of unit means, clustered by unit"}
    summary["established"] = bool(enough and holds.all())
    keys = ["links few" if not enough else "links" if holds.all() else "links open"]
    if enough and len(steps) > 2:
        summary |= ends("indirect", *_indirect(s, *steps[:3], confidence, seed))
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


def _standardised(s, columns) -> pd.DataFrame:
    known = s.dropna(subset=columns)
    return known.assign(**{c: standard(known[c]) for c in columns})


def _link(s, x: str, y: str, trust, confidence) -> dict:
    """Return one link, raw and corrected."""
    r = slopes(_standardised(s, [x, y]), y, [x], confidence)
    share = np.sqrt(trust.get(x, np.nan) * trust.get(y, np.nan))
    return {"term": x, "outcome": y, **r, **ends("corrected", *(r[end] / share for end in ENDS))}


def _indirect(s, cause, through, last, confidence, seed) -> tuple[float, float, float]:
    """Return a b and its interval: of the cause on the middle, of the middle on the last given the cause."""
    z = _standardised(s, [cause, through, last])
    a, b = slopes(z, through, [cause], confidence), slopes(z, last, [through, cause], confidence)
    errors = (a["estimate"], a["std_error"], b["estimate"], b["std_error"])
    return a["estimate"] * b["estimate"], *product_interval(*errors, n_boot=DRAWS, confidence=confidence, seed=seed)
