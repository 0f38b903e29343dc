"""Which links of the chain hold between units, and what comes first.

References
----------
Heskett et al. (1994), Harvard Business Review 72:164-174; Mundlak (1978), Econometrica 46:69-85; Granger (1969),
Econometrica 37:424-438 (leads); Spearman (1904), Am. J. Psychology 15:72-101 (attenuation); MacKinnon, Lockwood &
Williams (2004), Multivariate Behavioral Research 39:99-128 (Monte Carlo interval).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.chain.finding import clear, clustered, opened, span, standard
from cxresearch.chain.units import NOISY
from cxresearch.errors import DataProblem, require_columns
from cxresearch.findings import Check, Statement, ends, interval, listing, number, words
from cxresearch.inference import adjusted_p_values, percentile_interval

say = words(__package__)

PASTS = {  # term -> outcome, cause, given: columns of the panel with the periods before and after
    "same period": ("y", "x", ()),
    "next period": ("y after", "x", ()),
    "period before (lead)": ("y before", "x", ()),
    "next period, given the present": ("y after", "x", ("y",)),
    "reverse: cause later, given its present": ("x after", "y", ("x",)),
}
NOW, NEXT, LEAD, GIVEN, BACK = PASTS
WITHIN, BETWEEN = "within units", "between units"


def product_interval(a, a_error, b, b_error, *, n_boot: int, confidence: float, seed) -> tuple[float, float]:
    """Return the Monte-Carlo interval of a product of two independent normal estimates."""
    z = np.random.default_rng(seed).standard_normal((2, n_boot))
    return tuple(map(float, percentile_interval((a + a_error * z[0]) * (b + b_error * z[1]), confidence)))


def shifted(panel: pd.DataFrame, columns: Mapping[str, str], unit: str, period: str, lag: int) -> pd.DataFrame:
    """Return columns under their new names with those of the periods `lag` before and after, periods in order."""
    if panel.duplicated([unit, period]).any():
        raise DataProblem(f"the panel holds a {unit} twice in one {period}; keep one row for each")
    periods = sorted(panel[period].dropna().unique())
    if len(periods) < 2:
        raise DataProblem(f"{period} has one value; what comes first needs two periods or more")
    if not (isinstance(lag, int) and 0 <= lag < len(periods)):
        raise DataProblem(f"lag={lag!r} must be a whole number of periods, from 0 to {len(periods) - 1}")
    keys = pd.MultiIndex.from_arrays([panel[unit], panel[period].map({p: i for i, p in enumerate(periods)})])
    values = pd.DataFrame(
        {new: pd.to_numeric(panel[c]).to_numpy(dtype=float) for c, new in columns.items()}, index=keys
    )
    found = values.copy()
    for by, name in ((-lag, "before"), (lag, "after")):
        moved = pd.MultiIndex.from_arrays([keys.get_level_values(0), keys.get_level_values(1) + by])
        found[[f"{c} {name}" for c in values]] = values.reindex(moved).to_numpy()
    return found.assign(unit=panel[unit].to_numpy(), period=panel[period].to_numpy()).reset_index(drop=True)


def lead_lag_units(
    panel, *, cause: str, outcome: str, unit: str, period: str, controls: Sequence[str] = (), confidence: float = 0.95,
    min_units: int = 30,
) -> Statement:  # fmt: skip
    """Return whether a cause goes before an outcome between units: lag, lead, reverse, within and between, in one table.

    Parameters
    ----------
    panel : Table or DataFrame
        One row per unit and period, as `unit_panel` returns; periods are those that occur, in order.
    cause, outcome, unit, period : columns
    controls : sequence of str
        Columns held constant in every row of the table.
    min_units : int
        With fewer the numbers are a description and no conclusion.

    Raises
    ------
    DataProblem
        One period, a unit twice in a period, a column without variance.

    Notes
    -----
    Least squares of standard scores with period effects, clustered by unit (CR2 under 40 units). Established
    where the next period given the present, or the difference within units (Mundlak), excludes zero (Holm), and the period
    *before* does not go with the cause: a lead that does says that something lasting lies behind both. "Goes before" is
    said of the next period only; within units of one period the two move together.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.lead_lag_units(study.employees, cause="engagement", outcome="profit", unit="unit", period="period"))
    That Employee engagement comes before Profit in thousand EUR is not established in 40 units. ...
    """
    given = opened(panel, cause, outcome, unit, period, *controls, confidence=confidence)
    control_keys = {c: f"control {i}" for i, c in enumerate(controls)}
    s = shifted(given.table, {cause: "x", outcome: "y", **control_keys}, unit, period, 1)
    s[[*(c for c in s if c not in ("unit", "period"))]] = np.column_stack(
        [standard(s[c]) for c in s if c not in ("unit", "period")]
    )
    rows = [
        {"term": term, **_fit(s, y, [x, *past, *control_keys.values()], confidence).iloc[0]}
        for term, (y, x, past) in PASTS.items()
    ]
    pairs = s.dropna(subset=["x", "y"])
    own = pairs.groupby("unit")["x"].transform("mean")
    apart = _fit(
        pairs.assign(within=pairs["x"] - own, between=own),
        "y",
        ["within", "between", *control_keys.values()],
        confidence,
    )
    rows += [{"term": term, **apart.iloc[i]} for i, term in enumerate((WITHIN, BETWEEN))]
    table = pd.DataFrame(rows).astype({"n": int, "units": int})
    r, units = table.set_index("term"), int(pairs["unit"].nunique())
    enough, lead = units >= min_units, clear(r.loc[LEAD])
    surely = adjusted_p_values(r.loc[[GIVEN, WITHIN], "p_value"], correction="holm") < 1 - confidence
    first = enough and not lead and bool(surely.any())
    checks = (
        Check("units", units, f"at least {min_units}", enough, "stops"),
        Check("the period before does not go with the cause (p of the lead)", r.loc[LEAD, "p_value"],
              f"at least {digits.rounded(1 - confidence, 6)}", not lead, "stops"),
        Check("the reverse, given the past", r.loc[BACK, "p_value"], "information", not clear(r.loc[BACK]), "info"), *given.checks,
    )  # fmt: skip
    summary = {"units": units, "n": len(pairs), "established": bool(first),
               "method": "standard scores, period effects, " + ("CR2" if units < 40 else "CR1") + " by unit"}  # fmt: skip
    words = _order_words(r, given, cause, outcome, units, min_units, first, confidence)
    return Statement(
        "lead_lag_units", f"{outcome} on {cause}", None, table, summary, checks, words=" ".join(words), **given.finding,
        drawn=dict(line=0, unit=f"{given.label(outcome)}, standard deviations per standard deviation of {given.label(cause)}"),
    )  # fmt: skip


def _fit(s, y: str, columns: list, confidence) -> pd.DataFrame:
    known = s.dropna(subset=[y, *columns])
    if known["unit"].nunique() < 3:
        raise DataProblem(
            f"only {known['unit'].nunique()} units are known in the periods that this asks for; 3 are needed at least"
        )
    return clustered(
        known[y].to_numpy(), [known[c].to_numpy() for c in columns], known["unit"], confidence, known["period"]
    )


def _order_words(r, given, cause, outcome, units, least, first, confidence) -> tuple[str, ...]:
    of = lambda term: number(r.loc[term, "estimate"], 3)  # noqa: E731
    at = lambda term: span(r.loc[term], confidence, 3)  # noqa: E731
    known = dict(cause=given.label(cause), outcome=given.label(outcome), units=units)
    if units < least:
        return (say("few units", least=least, now=of(NOW), **known),)
    if first:
        key = "first" if clear(r.loc[GIVEN]) else "together"  # within units of one period there is no before
        headline = say(key, next=of(GIVEN), next_span=at(GIVEN), within=of(WITHIN), within_span=at(WITHIN), **known)
    else:
        headline = say("not first", **known)
    lead = dict(lead=of(LEAD), lead_span=at(LEAD))
    before = (
        say("lead also", lag=of(NEXT), lag_span=at(NEXT), **lead) if clear(r.loc[LEAD]) else say("lead clear", **lead)
    )
    return headline, before, say("reverse" if clear(r.loc[BACK]) else "reverse open", back=of(BACK), back_span=at(BACK))


def service_profit_chain(
    panel, *, unit: str, period: str, engagement: str, quality: str | None = None, satisfaction: str,
    result: str | None = None, lag: int = 1, n: str | None = None, reliability: Mapping[str, float] | None = None,
    n_boot: int = 1000, confidence: float = 0.95, min_units: int = 30, seed,
) -> Statement:  # fmt: skip
    """Return each link of the chain between units, raw and corrected for reliability, and the part that passes through.

    Parameters
    ----------
    panel : Table or DataFrame
        One row per unit and period, as `unit_panel` returns.
    unit, period, engagement, quality, satisfaction, result : columns
        The chain in this order; what is not given is left out.
    lag : int
        Periods by which engagement comes before the rest; 0 is the same period.
    n : column, optional
        Answers behind a row's engagement: rows under the floor are left out and counted.
    reliability : mapping, optional
        Column -> reliability of its means (see `unit_reliability`), for the corrected correlations.

    Raises
    ------
    DataProblem
        One period where a lag is asked for, a unit twice in a period, a reliability outside 0-1.

    Notes
    -----
    r is the slope of standard scores, clustered by unit (CR2 under 40). Corrected: r / sqrt(rel_x rel_y). Indirect: a b
    at the level of units (2-2-2), b given engagement, interval by Monte Carlo. The chain is established where every
    link's interval excludes zero. Under `min_units` units the numbers are a description.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> responses = study.described(study.responses)
    >>> panel = cx.unit_panel(study.employees, responses, items=["staff", "satisfaction"], answers_unit="branch")
    >>> asked = dict(unit="unit", period="period", engagement="engagement", quality="staff", satisfaction="satisfaction")
    >>> print(cx.service_profit_chain(panel, **asked, result="profit", lag=0, seed=1))
    All 3 links hold between ... units, weakest Staff in the shop → Overall satisfaction: r = 0.4...
    """
    steps = [c for c in (engagement, quality, satisfaction, result) if c is not None]
    known = opened(panel, *steps, unit, period, n, confidence=confidence)
    table, hidden = known.table, 0
    if n is not None:
        kept = known.numbers(n) >= known.floor
        table, hidden = table[kept], int((~kept).sum())
    trust = dict(reliability or {})
    require_columns(table, *trust, where="reliability= names a column, and the panel")
    if bad := [c for c, value in trust.items() if not 0 < value <= 1]:
        raise DataProblem(f"reliability of {bad[0]} is {trust[bad[0]]!r}; it lies above 0 and at most at 1")
    s = shifted(table, {c: c for c in steps}, unit, period, lag) if lag else table.assign(unit=table[unit])
    s = s.assign(**{c: standard(s[c]) for c in steps})
    s[engagement] = standard(s[f"{engagement} before"]) if lag else s[engagement]
    links = [
        *zip(steps, steps[1:]),
        *([(engagement, satisfaction)] if quality else []),
        *([(engagement, result)] if result else []),
    ]
    links = list(dict.fromkeys(links))
    found = pd.DataFrame([_link(s, x, y, trust, confidence) for x, y in links])
    units = int(s.dropna(subset=steps[:2])["unit"].nunique())
    enough, noisy = units >= min_units, [c for c, value in trust.items() if c in steps and value < NOISY]
    inside = found.iloc[: len(steps) - 1]
    holds = inside.apply(clear, axis=1) & (inside["estimate"] > 0)
    summary = {"units": units, "n": int(found["n"].max()), "method": "correlation of unit means, clustered by unit",
               "established": bool(enough and holds.all())}  # fmt: skip
    through, names = quality or satisfaction, [f"{known.label(x)} → {known.label(y)}" for x, y in links]
    last = satisfaction if quality else result
    words = _chain_words(found, inside, holds, known, units, min_units, confidence)
    if last and enough:
        ab, low, high = _indirect(s, engagement, through, last, n_boot, confidence, seed)
        summary |= ends("indirect", ab, low, high)
        words += (say("indirect", ab=number(ab, 2), span=interval(low, high, confidence, 2), cause=known.label(engagement),
                      outcome=known.label(last), by=known.label(through)),)  # fmt: skip
    words += (
        (say("noisy", items=listing(map(known.label, noisy)), limit=NOISY),)
        if noisy
        else ()
        if trust
        else (say("raw only"),)
    )
    checks = (
        Check("units", units, f"at least {min_units}", enough, "stops"),
        Check(f"reliability of each side known, at least {NOISY}", listing(noisy) if trust else "unknown", "none below",
              not noisy and bool(trust), "stops" if noisy else "care"),
        Check("rows under the floor of employees, left out", hidden, "0", hidden == 0, "info"), *known.checks,
    )  # fmt: skip
    return Statement(
        "service_profit_chain", satisfaction, None, found, summary, checks, words=" ".join(words), suppressed=hidden, **known.finding,
        drawn=dict(names=names, line=0, unit=f"correlation of unit means; {engagement} {lag} periods before" if lag else "correlation of unit means"),
    )  # fmt: skip


def _link(s, x: str, y: str, trust, confidence) -> dict:
    known = s.dropna(subset=[x, y])
    if known["unit"].nunique() < 3:
        raise DataProblem(f"{x} and {y} are known together in {known['unit'].nunique()} units; 3 are needed at least")
    r = clustered(standard(known[y]), [standard(known[x])], known["unit"], confidence).iloc[0]
    share = np.sqrt(trust.get(x, np.nan) * trust.get(y, np.nan))
    corrected = ends("corrected", *(r[c] / share for c in ("estimate", "conf_low", "conf_high")))
    return {"term": x, "outcome": y, **r, **corrected}


def _chain_words(found, inside, holds, known, units, least, confidence) -> tuple[str, ...]:
    if units < least:
        return (
            say(
                "links few",
                units=units,
                least=least,
                low=number(found["estimate"].min(), 2),
                high=number(found["estimate"].max(), 2),
            ),
        )
    if not holds.all():
        return (say("links open", clear=int(holds.sum()), k=len(inside), units=units),)
    weak = inside.iloc[digits.descending(-inside["estimate"].to_numpy())[0]]
    link = f"{known.label(weak['term'])} → {known.label(weak['outcome'])}"
    return (
        say("links", k=len(inside), units=units, link=link, r=number(weak["estimate"], 2), span=span(weak, confidence)),
    )


def _indirect(s, cause, through, last, n_boot, confidence, seed) -> tuple[float, float, float]:
    """Return a b and its interval: of the cause on the middle, of the middle on the last given the cause."""
    known = s.dropna(subset=[cause, through, last])
    z = {c: standard(known[c]) for c in (cause, through, last)}
    a = clustered(z[through], [z[cause]], known["unit"], confidence).iloc[0]
    b = clustered(z[last], [z[through], z[cause]], known["unit"], confidence).iloc[0]
    errors = (a["estimate"], a["std_error"], b["estimate"], b["std_error"])
    return (a["estimate"] * b["estimate"], *product_interval(*errors, n_boot=n_boot, confidence=confidence, seed=seed))
