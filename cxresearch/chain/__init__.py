"""The service-profit chain: can means of units be trusted, what goes before what, and do agents serve alike?

Shrout & Fleiss (1979), Psychological Bulletin 86:420-428; Searle, Casella & McCulloch (1992), *Variance Components*;
Heskett et al. (1994), Harvard Business Review 72:164-174; Mundlak (1978), Econometrica 46:69-85; Spearman (1904), Am.
J. Psychology 15:72-101; MacKinnon, Lockwood & Williams (2004), Multivariate Behavioral Research 39 (Monte Carlo);
Spiegelhalter (2005), Statistics in Medicine 24:1185-1202 (funnels); Montgomery (2013), *Statistical Quality Control*;
Laney (2002), Quality Engineering 14:531-537; Champ & Woodall (1987), Technometrics 29:393-399 (run lengths).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from scipy import special, stats

from cxresearch import digits
from cxresearch.errors import DataProblem, require_choice, require_columns, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, over_waves, titled
from cxresearch.findings import ENDS, Check, Finding, ends, listing, number, words
from cxresearch.inference import adjusted_p_values, critical_value, percentile_interval, t_interval
from cxresearch.inference.clusters import cr2, demean
from cxresearch.inference.pooling import LEVELS, between_variance, intraclass, krippendorff_alpha, one_way
from cxresearch.survey import Survey, Table, as_table, natural_key
from cxresearch.survey.survey import person_codes

say = words(__package__)

NOISY, UNITS, DRAWS = 0.6, 30, 1000  # reliability too low to link; units under which numbers are a description; draws
MIN_AGENTS, TARGET, RELIABLE = 5, 0.7, 2 / 3
# What is asked of units over periods: outcome, cause (x, y: at a time) and what is given.
TERMS = {"now": ["y", "x"], "lag": ["y after", "x"], "lead": ["y before", "x"], "next": ["y after", "x", "y"]}
TERMS |= {"back": ["x after", "y", "x"], "within": ["y", "x within units", "x between units"]}
TERMS |= {"between": ["y", "x between units", "x within units"]}
ANY = -np.inf, np.inf
BOUNDS = {"mean": ANY, "individuals": ANY, "share": (0, 1), "rate": (0, np.inf), "laney": (0, 1)}
TAIL, WINSORISED = 0.1, 0.6787  # winsorised at each end; what that leaves of the variance of normal values
LIMITS = {"limit2_low": 0.025, "limit2_high": 0.975, "limit3_low": 0.001, "limit3_high": 0.999}  # tails of a funnel
SPAN = 1.128  # mean moving range of two normal values, in sd
# Points of a stable process per false alarm, by rules (Champ & Woodall 1987, table 1).
RUN_LENGTH = {(1,): 370.40, (1, 2): 225.44, (1, 3): 166.05, (1, 4): 152.73, (1, 2, 3): 132.89, (1, 2, 4): 122.05}
RUN_LENGTH |= {(1, 3, 4): 105.78, (1, 2, 3, 4): 91.75}
RULES = {2: (3, 2, 2.0), 3: (5, 4, 1.0), 4: (8, 8, 0.0)}  # of so many points so many beyond so many sd, on one side


class Opened(NamedTuple):
    """The rows of an analysis, which count alike, in columns named by their roles, and what is known of them."""

    table: pd.DataFrame  # its column "person" tells persons apart, or rows where these are not named
    names: dict  # role -> column
    source: Survey | Table
    confidence: float
    checks: tuple[Check, ...]

    def label(self, key) -> str:
        return str(self.source.labels.get(key, key))

    def named(self, role: str) -> str:  # such as "profit before"
        return " ".join([str(self.names[role.split()[0]]), *role.split()[1:]])

    def found(self, *question, keys, summary, known, checks=(), left=None, figure=None, **drawn) -> Finding:
        """Return function, outcome, group and table as a finding; `left` says what was left out, and how often."""
        what, hidden = left or ("", 0)
        out = [Check(f"{what}, left out", hidden, "0", not hidden, "info")] * bool(left)
        question = say, keys, known, self.confidence, *question, summary, (*checks, *out, *self.checks)
        return Finding.of(*question, source=self.source, suppressed=hidden, figure=figure, drawn=drawn)

    def over_periods(self, lag: int) -> pd.DataFrame:
        """Return each role by unit and period, and `lag` periods "before" and "after", where any role is known."""
        table, periods = self.table, self.table["period"].nunique()
        say.refuse_if(lag and periods < 2, "one_period", period=self.names["period"])
        say.refuse_if(not is_count(lag) or lag >= periods, "no_lag", lag=lag, most=periods - 1)
        cells = table.assign(period=in_time(table["period"]), unit=pd.factorize(table["unit"], sort=True)[0])
        cells = cells.drop(columns="person").pivot(index="unit", columns="period").stack(future_stack=True)
        moves, units = {"": 0, " before": lag, " after": -lag}, cells.groupby(level="unit")
        moved = {f"{role}{at}": units[role].shift(by) for role in cells for at, by in moves.items()}
        return pd.DataFrame(moved)[cells.notna().any(axis=1)]

    def standardised(self, s: pd.DataFrame) -> pd.DataFrame:
        """Return columns less their mean and in standard deviations; one of one value is refused."""
        flat = [self.named(role) for role in s if s[role].nunique() < 2 or not s[role].std() > 0]
        say.refuse_if(flat, "no_variance", name=next(iter(flat), None))
        return (s - s.mean()) / s.std()

    def slopes(self, s: pd.DataFrame, y: str, *roles: str, effects: bool = False) -> dict:
        """Return the slope of `y` on the first of `roles`, the others given, CR2 by unit; `effects`: of periods."""
        known = s[[y, *roles]].dropna()
        unit, period = (known.index.get_level_values(level) for level in ("unit", "period"))
        outcome, each = known[y].to_numpy(), pd.factorize(period)[0] * effects  # one intercept, or one for each period
        X = np.column_stack([known[[*roles]], pd.get_dummies(each)]).astype(float)
        named = {"y": self.named(y), "x": self.named(roles[0]), "units": unit.nunique(), "n": len(X)}
        say.refuse_if(named["units"] < 3, "no_units", **named)
        slope, _, rank, _ = np.linalg.lstsq(X, outcome, rcond=None)
        say.refuse_if(rank < X.shape[1] or rank == len(X), "no_freedom", **named)
        covariance, df = cr2(X, outcome - X @ slope, unit)
        *found, p = map(float, t_interval(slope[0], error := np.sqrt(covariance[0, 0]), df[0], self.confidence))
        return ends("estimate", *found) | dict(std_error=float(error), p_value=p, n=len(X), units=named["units"])


def opened(data, keys: dict, numbers: dict, *, confidence=0.95, once="", gaps=()) -> Opened:
    """Return the rows that know all but `gaps` of `keys` and `numbers`, role -> column or None, which asks for nothing;
    `once` is what a table is called whose first keys, a unit and a period or the like, may not stand twice.
    """
    if isinstance(data, Finding):  # of a step before this one, that could not be taken
        raise DataProblem(data.sentence().rstrip("."))
    require_share("confidence", confidence)
    source = data if isinstance(data, (Survey, Table)) else as_table(data)
    names = {role: column for role, column in (keys | numbers).items() if column is not None}
    require_columns(given := source.table, *names.values(), where=once or "the table")
    table = pd.DataFrame({r: numbers_of(given[c]) if r in numbers else given[c] for r, c in names.items()}, given.index)
    person, weight = getattr(source, "respondent", getattr(source, "person", None)), getattr(source, "weight", None)
    table["person"] = np.arange(len(given)) if person is None else person_codes(given[person])
    checks = tuple(given.attrs.get("checks", ()))
    if weight:
        checks += (Check("weights", weight, "rows with a weight above zero count alike here", False, "info"),)
        table = table[given[weight] != 0]
    table = table.dropna(subset=[role for role in names if role not in gaps]).reset_index(drop=True)
    first, *second = [role for role in keys if role in names][:2]
    twice = table[first][table.duplicated([first, *second])].tolist() if once else []
    within = "".join(f" in one {names[role]}" for role in second)
    say.refuse_if(twice, "twice", where=once, unit=names[first], value=next(iter(twice), None), within=within)
    return Opened(table, names, source, confidence, checks)


def numbers_of(given: pd.Series) -> pd.Series:
    """Return a column as floats; what is no number is refused."""
    given = given if is_numeric_dtype(given) else given.astype(object)
    values = pd.to_numeric(given, errors="coerce").astype(float)
    say.refuse_if(np.isinf(values).any(), "infinite", column=given.name)
    for row in np.flatnonzero(values.isna() & given.notna()):
        raise DataProblem(say("no_numbers", column=given.name, row=row, value=given.iloc[row]))
    return values


def is_count(value, least: int = 0) -> bool:  # neither True nor 6.0
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least


def in_time(periods: pd.Series) -> pd.Series:
    """Return what puts periods in order: text as a reader does, week 2 before week 10."""
    text = periods.dtype in (object, "str", "string")
    return periods.map({p: k for k, p in enumerate(sorted(periods.unique(), key=natural_key))}) if text else periods


def product_interval(a: dict, b: dict, *, n_boot: int, confidence: float, seed) -> tuple[float, float]:
    """Return the Monte-Carlo interval of a product of two independent normal estimates, as `slopes` returns them."""
    z = np.random.default_rng(seed).standard_normal((2, n_boot))
    drawn = [slope["estimate"] + slope["std_error"] * normal for slope, normal in zip((a, b), z)]
    return tuple(map(float, percentile_interval(np.prod(drawn, axis=0), confidence)))


def unit_reliability(answers, *, item, unit, period=None, n=None, sd=None, confidence=0.95, min_answers=10) -> Finding:
    """Return how far means of units can be told from chance: ICC with interval, reliability of each unit's mean.

    ICC(1) = (MSB - MSW) / (MSB + (k - 1) MSW), k = (N - sum n^2/N)/(J - 1), interval from F; reliability of a mean
    n r / (1 + n r), r the ratio of variances by REML (Searle et al. 1992). Two means must be large enough.

    Parameters
    ----------
    answers, item, unit, period, min_answers : one row per answer, or per mean of a unit and period; as in `unit_panel`
    n, sd : columns of means: how many answered, and their standard deviation; else stability over periods is given

    Examples
    --------
    >>> print(cx.unit_reliability(matched, item="satisfaction", unit="branch"))
    A mean of Overall satisfaction by Branch can be told from chance: reliability 0...
    """
    keys, means = {"unit": unit, "period": period}, n is not None and sd is not None
    numbers, once = {"item": item} | ({"n": n, "sd": sd} if means else {}), "the table of means" if means else ""
    given = opened(answers, keys, numbers, confidence=confidence, once=once)
    by, floor = [given.names[role] for role in keys if role in given.names], max(min_answers, given.source.min_base)
    rows = given.table[["unit", "period"][: len(by)]].to_numpy()
    table = given.table.assign(name=[", ".join(map(str, row)) for row in rows])
    units, known = table["name"].nunique(), dict(item=given.label(item), by=listing(map(given.label, by)), limit=NOISY)
    if not means and period is not None and units == len(table) > 0:
        icc = intraclass(table["item"], pd.factorize(table["unit"])[0], confidence=confidence)
        row = {"term": "one period's mean", **ends("estimate", *icc[:3]), "n": units}
        summary = ends("icc", *icc[:3]) | {"icc_mean": icc.average, "n": units}
        summary |= {"method": "stability over periods; ICC with F interval", "established": False}
        return given.found(  # all that means alone can tell
            "unit_reliability", item, unit, pd.DataFrame([row]), keys=["unknown", "stable"], summary=summary,
            known=known | dict(unit=given.label(unit), periods=table["period"].nunique()),
            checks=[Check("n and sd of each mean are known", "unknown", "columns n and sd", False, "stops")],
            unit="ICC of a unit's means over periods",
        )  # fmt: skip
    base = table["n"] if means else table.groupby("name")["person"].transform("nunique")
    table = table[base >= floor]
    say.refuse_if((j := table["name"].nunique()) < 2, "few_in_units", units=units, item=item, floor=floor)
    if means:  # answers of these sizes, means and standard deviations: variances depend on nothing else
        table = table.loc[table.index.repeat(table["n"].astype(int))]
        place, spread = table.groupby(level=0).cumcount(), table["sd"] * np.sqrt((table["n"].astype(int) - 1) / 2)
        table["item"] += spread * ((place == 0).astype(int) - (place == 1))
    group, names = pd.factorize(table["name"])
    fitted, icc = one_way(table["item"], group), intraclass(table["item"], group, confidence=confidence)
    weak, within = int((fitted.reliability < NOISY).sum()), fitted.within**0.5
    found = {"unit": names, "estimate": fitted.reliability, "mean": fitted.means, "sd_within": within}
    found = pd.DataFrame(found | {"n": fitted.n})
    found = found.iloc[digits.descending(found["estimate"], found["unit"])].reset_index(drop=True)
    summary = ends("icc", *icc[:3]) | {"icc_mean": icc.average, "units": j, "n": len(table)}
    summary |= {"sd_between": fitted.between**0.5, "sd_within": within}
    summary |= {"method": "one-way REML; ICC with F interval", "established": icc.low > 0}
    return given.found(
        "unit_reliability", item, ", ".join(by), found, summary=summary, known=known | dict(size=icc.size, weak=weak),
        keys=["reliable" if icc.low > 0 else "unreliable", "icc"],
        checks=[Check(f"units with reliability under {NOISY}", weak, "0", weak == 0)],
        left=("means of fewer persons than asked for", units - j),
        low="estimate", high="estimate", unit="reliability of the mean, 0-1", line=NOISY,
    )  # fmt: skip


def lead_lag_units(panel, *, cause, outcome, unit, period, confidence: float = 0.95) -> Finding:
    """Return whether a cause goes before an outcome between units: lag, lead, reverse, within and between.

    Least squares of standard scores with period effects, CR2 errors by unit. Established where the next period given
    the present, or the difference within units (Mundlak 1978), excludes zero (Holm), and the period *before* does not:
    where it does, something lasting lies behind both. Under 30 units the numbers are a description.

    Examples
    --------
    >>> print(cx.lead_lag_units(study.employees, cause="engagement", outcome="profit", unit="unit", period="period"))
    That Employee engagement comes before Profit in thousand EUR is not established in 40 units. ...
    """
    keys, numbers = {"unit": unit, "period": period}, {"x": cause, "y": outcome}
    given = opened(panel, keys, numbers, confidence=confidence, once="the panel", gaps=numbers)
    s = given.standardised(given.over_periods(1))
    s["x between units"] = s["x"].where(s["y"].notna()).groupby(level="unit").transform("mean")
    s["x within units"] = s["x"] - s["x between units"]
    rows = {key: given.slopes(s, *roles, effects=True) for key, roles in TERMS.items()}
    lead, back = (rows[key]["conf_low"] * rows[key]["conf_high"] > 0 for key in ("lead", "back"))
    p = adjusted_p_values([rows[key]["p_value"] for key in ("next", "within")], correction="holm")
    units, level = rows["now"]["units"], digits.rounded(1 - confidence, 6)
    first = bool(units >= UNITS and not lead and (p < 1 - confidence).any())
    keys = ["not first" if not first else "first" if p[0] < 1 - confidence else "together"]  # one period has no before
    keys += ["lead also" if lead else "lead clear", "reverse" if back else "reverse open"]
    how = "standard scores, period effects, CR2 by unit"
    summary = {"units": units, "n": rows["now"]["n"], "established": first, "method": how}
    known = dict(cause=given.label(cause), outcome=given.label(outcome), least=UNITS)
    for key, row in rows.items():
        known |= ends(key, *(row[end] for end in ENDS))
    lasting = "the period before does not go with the cause (p of the lead)"
    found = pd.DataFrame([{"term": say(f"term {key}"), **row} for key, row in rows.items()])
    return given.found(
        "lead_lag_units", f"{outcome} on {cause}", None, found, summary=summary, known=known, line=0,
        keys=keys if units >= UNITS else ["few units"],
        checks=[Check("units", units, f"at least {UNITS}", units >= UNITS, "stops"),
                Check(lasting, rows["lead"]["p_value"], f"at least {level}", not lead, "stops"),
                Check("the reverse, given the past", rows["back"]["p_value"], "information", not back, "info")],
        unit=f"{given.label(outcome)}, standard deviations per standard deviation of {given.label(cause)}",
    )  # fmt: skip


def service_profit_chain(panel, *, steps, unit, period, lag=1, reliability=None, confidence=0.95, seed) -> Finding:
    """Return each link of the chain between units, raw and corrected for reliability, and the part that passes through.

    r is the slope of standard scores, CR2 errors by unit; corrected, r / sqrt(rel_x rel_y) (Spearman 1904). Indirect:
    a b of units (2-2-2) from the first step to the third, b given the first, interval by Monte Carlo. The chain is
    established where every link's interval lies above zero; under 30 units the numbers are a description.

    Parameters
    ----------
    panel, steps : one row per `unit` and `period`; columns, the chain in its order, such as engagement, quality, profit
    lag, reliability : periods by which the first step comes before the rest; column -> reliability of its means, 0-1

    Examples
    --------
    >>> panel = dict(panel=study.employees, unit="unit", period="period")
    >>> print(cx.service_profit_chain(**panel, steps=["engagement", "profit"], lag=0, seed=1))
    All 1 links hold between 40 units, weakest Employee engagement → Profit in thousand EUR: r = 0...
    """
    steps, trust = [step for step in dict.fromkeys(steps) if step is not None], dict(reliability or {})
    say.refuse_if(len(steps) < 2, "one_step", steps=steps)
    keys, numbers = {"unit": unit, "period": period}, {str(j): step for j, step in enumerate(steps)}
    given = opened(panel, keys, numbers, confidence=confidence, once="the panel", gaps=numbers)
    require_columns(given.source.table, *trust, where="reliability= names a column, and the panel")
    for column, value in trust.items():
        say.refuse_if(not 0 < value <= 1, "no_reliability", column=column, value=value)
    s, k, rows, said = given.over_periods(lag), len(steps) - 1, [], [given.label(step) for step in steps]
    at = ["0 before" if lag else "0", *[*numbers][1:]]
    links = [*((j, j + 1) for j in range(k)), *((0, j) for j in range(2, k + 1))]
    for x, y in links:
        r = given.slopes(given.standardised(s[[at[x], at[y]]].dropna()), at[y], at[x])
        share = np.sqrt(trust.get(steps[x], np.nan) * trust.get(steps[y], np.nan))
        corrected = ends("corrected", *(r[end] / share for end in ENDS))
        rows.append({"term": steps[x], "outcome": steps[y], **r, **corrected})
    found, names = pd.DataFrame(rows), [f"{said[x]} → {said[y]}" for x, y in links]
    holds, units, weak = found["conf_low"][:k] > 0, int(found["units"][:k].min()), found["estimate"][:k].idxmin()
    enough, noisy = units >= UNITS, [step for step in steps if trust.get(step, 1) < NOISY]
    summary = {"units": units, "n": int(found["n"].max()), "method": "correlation of unit means, clustered by unit"}
    summary |= {"established": bool(enough and holds.all())}
    known = dict(k=k, clear=int(holds.sum()), least=UNITS, limit=NOISY, items=listing(map(given.label, noisy)))
    known |= dict(lowest=found["estimate"].min(), highest=found["estimate"].max(), link=names[weak])
    known |= ends("r", *found.loc[weak, ENDS]) | dict(zip(("cause", "by", "outcome"), said))
    keys = ["links few" if not enough else "links" if holds.all() else "links open"]
    if enough and k > 1:
        x, m, y = at[:3]
        z = given.standardised(s[[y, m, x]].dropna())
        a, b = given.slopes(z, m, x), given.slopes(z, y, m, x)
        span = product_interval(a, b, n_boot=DRAWS, confidence=confidence, seed=seed)
        summary |= ends("indirect", a["estimate"] * b["estimate"], *span)
        keys += ["indirect"] * bool(b["units"] >= UNITS)
    keys += ["noisy"] if noisy else [] if trust else ["raw only"]
    value, sure, level = listing(noisy) if trust else "unknown", bool(trust) and not noisy, "stops" if noisy else "care"
    return given.found(
        "service_profit_chain", steps[:3][-1], None, found, keys=keys, summary=summary, known=known, names=names,
        checks=[Check("units", units, f"at least {UNITS}", enough, "stops"),
                Check(f"reliability of each side known, at least {NOISY}", value, "none below", sure, level)],
        line=0, unit="correlation of unit means" + f"; {steps[0]} {lag} periods before" * bool(lag),
    )  # fmt: skip


def agent_consistency(
    ratings, *, score, agent, case_mix=(), occasion=None, worth_acting_on=None, confidence=0.95, min_ratings: int = 10
) -> Finding:
    """Return whether agents serve alike: the sd of their true means after case mix, and shrunken means.

    Case mix by least squares within agents; one-way REML, interval from F; BLUPs with their prediction error. Contacts
    for reliability .7: (.7 / .3) s2 within / s2 between. Agents with fewer than `min_ratings` ratings, or fewer persons
    than the floor, are left out and counted; five must stay.

    Parameters
    ----------
    case_mix, occasion : columns held constant, as categories; the contact: its several ratings count as one, their mean
    worth_acting_on : points of sd between agents that would matter: "alike" where the upper end lies below it

    Examples
    --------
    >>> rated = cx.rated_contacts(study.responses, study.interactions, rating="contact_rating")
    >>> print(cx.agent_consistency(rated, score="contact_rating", agent="agent", occasion="occasion"))
    Agents do not serve alike in Rating of the last contact: true means differ by ...
    """
    mixed = {f"mix {k}": column for k, column in enumerate(case_mix)}
    keys = {"agent": agent, "occasion": occasion, **mixed}
    given = opened(ratings, keys, {"score": score}, confidence=confidence, gaps=["occasion"])
    table, floor = given.table, given.source.min_base
    if occasion is not None:
        of = person_codes(table["occasion"])  # a rating whose occasion is not known is one of its own
        table["score"] = table.groupby(of)["score"].transform("mean")
        table = table[~pd.Series(of).duplicated()]
    each = table.groupby("agent", observed=True)["person"].agg(["size", "nunique"])
    enough = each.index[(each["size"] >= min_ratings) & (each["nunique"] >= floor)]
    have = dict(all=len(each), least=min_ratings, floor=floor, needed=MIN_AGENTS)
    say.refuse_if((j := len(enough)) < MIN_AGENTS, "few_agents", j=j, **have)
    rated = table[table["agent"].isin(enough)]
    (agents, names), values = pd.factorize(rated["agent"]), rated["score"].to_numpy()
    plain = np.bincount(agents, values) / np.bincount(agents)
    if mixed:
        dummies = pd.get_dummies(rated[[*mixed]].astype(str), drop_first=True).to_numpy(dtype=float)
        within = demean(np.column_stack([values, dummies]), np.ones(len(values)), [agents])
        expected = dummies @ np.linalg.lstsq(within[:, 1:], within[:, 0], rcond=None)[0]
        values = values - expected + expected.mean()
    fitted, icc = one_way(values, agents), intraclass(values, agents, confidence=confidence)
    trust, drawn = fitted.reliability, fitted.mean + fitted.effects
    w = fitted.n / (fitted.within + fitted.n * fitted.between)
    half = np.sqrt(fitted.between * (1 - trust) + (1 - trust) ** 2 / w.sum()) * critical_value(confidence, j - 1)
    league = {"group": np.asarray(names), **ends("estimate", drawn, drawn - half, drawn + half), "mean": plain}
    league = pd.DataFrame(league | {"adjusted": fitted.means, "reliability": trust, "n": fitted.n})
    league = league.iloc[digits.descending(drawn, league["group"])].reset_index(drop=True)
    # A pseudonym is drawn anew for each study and says nothing to anybody; places in the league do.
    if league["group"].astype(str).str.fullmatch("p[0-9a-f]{20}").all():
        league["group"] = [f"agent {k + 1}" for k in range(j)]
    sd, low, high = np.sqrt([fitted.between, *(fitted.within * max(r, 0.0) / (1 - r) for r in (icc.low, icc.high))])
    contacts = float(np.ceil(TARGET / (1 - TARGET) * fitted.within / fitted.between)) if sd > 0 else np.inf
    alike, differ = worth_acting_on is not None and high < worth_acting_on, icc.low > 0
    summary = ends("sd_between", sd, low, high) | {"sd_within": np.sqrt(fitted.within)}
    summary |= ends("icc", *icc[:3]) | {"contacts_needed": contacts, "agents": j, "n": len(values)}
    summary |= {"method": "one-way REML after case mix", "established": bool(alike or differ)}
    mix = f" after {listing(map(given.label, case_mix))}" if mixed else ""
    joined, many = len(given.table) - len(table), len(table) / table["person"].nunique()
    return given.found(
        "agent_consistency", score, agent, league, summary=summary, line=fitted.mean, checks=[
            Check("ratings that repeat an occasion, joined", joined, "0", not joined, "info"),
            Check("ratings a person", digits.rounded(many, 2), "about 1: they count as independent", many <= 1.25),
        ],
        keys=["alike" if alike else "differ" if differ else "agents open", "agents more" if sd > 0 else "agents none"],
        known=dict(score=given.label(score), worth=worth_acting_on, mix=mix, range=critical_value(0.95) * sd),
        left=("agents with too few ratings", len(each) - j),
        unit=f"{given.label(score)}: mean of the agent{mix}, drawn towards that of all",
    )  # fmt: skip


def rater_agreement(sheet, *, item, rater, case, level="ordinal", n_boot=1000, confidence=0.95, seed) -> Finding:
    """Return whether raters of the same cases agree: Krippendorff's alpha, its interval by resampling cases.

    One row per `case` and `rater`; `level` is nominal (`item` holds codes), ordinal or interval (numbers). Established
    where the lower end reaches 2/3, below which Krippendorff draws no conclusion. Two raters and ten cases are needed.

    Examples
    --------
    >>> import pandas as pd
    >>> sheet = pd.DataFrame({"case": [*range(20)] * 2, "rater": ["A"] * 20 + ["B"] * 20, "mark": [1, 2, 3, 4] * 10})
    >>> print(cx.rater_agreement(sheet, item="mark", rater="rater", case="case", seed=1))
    Raters agree on mark: Krippendorff's alpha 1.00 (95 % interval 1.00 to 1.00; 2 raters, n = 20).
    """
    require_choice("level", level, LEVELS)
    say.refuse_if(not is_count(n_boot, 1), "no_count", name="n_boot", value=n_boot, least=1)
    keys, numbers = {"rater": rater, "case": case}, {"mark": item}
    keys, numbers = (keys | numbers, {}) if level == "nominal" else (keys, numbers)
    table = (given := opened(sheet, keys, numbers, confidence=confidence, once="the sheet")).table
    marks = table["mark"] if numbers else pd.factorize(table["mark"])[0]
    marks = table.assign(mark=marks).pivot(index="rater", columns="case", values="mark").to_numpy(dtype=float)
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
    """Return (r - (F(r) - tail) / f(r)) / base, r the first count whose F(r) reaches the tail; of a mean the normal."""
    if kind == "mean":
        return centre + stats.norm.ppf(tail) * error
    base = np.rint(base) if kind == "share" else base
    law = stats.binom(base, centre) if kind == "share" else stats.poisson(base * centre)
    r = law.ppf(tail)
    return (r - (law.cdf(r) - tail) / law.pmf(r)) / base


def funnel(units, *, value, base, unit, kind, sd=None, dispersion="additive", confidence=0.95) -> Finding:
    """Return which units lie outside limits that know their base and what units commonly differ by.

    Limits of shares and rates are exact, interpolated, and cut at 0 (a share's at 1). The units' own spread, of scores
    winsorised at a tenth of each end, so that outliers do not hide themselves, widens them. The verdict is Holm's over
    all units: without it 1 in 500 lies beyond 3 sd by chance alone. Units under the floor are left out; five must stay.

    Parameters
    ----------
    value, base, sd : columns; base is the cases, exposure or answers behind a value, sd of a mean that of its answers
    dispersion : "additive", a variance between units (Paule-Mandel); "multiplicative", a factor from the mean of z^2

    Examples
    --------
    >>> branches = cx.unit_reliability(matched, item="satisfaction", unit="branch").tidy()
    >>> print(cx.funnel(branches, value="mean", base="n", unit="unit", kind="mean", sd="sd_within"))
    No unit of 40 lies outside what its base and the common spread allow (Holm). Centre 5.0...
    """
    require_choice("kind", kind, ("share", "rate", "mean"))
    require_choice("dispersion", dispersion, ("additive", "multiplicative"))
    say.refuse_if(kind == "mean" and sd is None, "no_sd")
    numbers = {"value": value, "base": base, "sd": sd}
    given = opened(units, {"unit": unit}, numbers, confidence=confidence, once="the funnel")
    (low, high), seen, floor = BOUNDS[kind], given.table["value"], given.source.min_base
    reach = {"least": f"{seen.min():g}", "most": f"{seen.max():g}", "low": low, "high": high}
    say.refuse_if(digits.outside(seen, low, high).any(), "beyond", value=value, kind=kind, **reach)
    known = given.table[given.table["base"] > 0]
    table = known[known["base"] >= floor].reset_index(drop=True)
    k, y, n = len(table), table["value"].to_numpy(), table["base"].to_numpy()
    say.refuse_if(k < 5, "few_in_funnel", k=k, value=value, floor=floor)
    centre = float(n @ y / n.sum())
    spread = table["sd"].to_numpy() if sd else np.sqrt(centre * (1 - centre) if kind == "share" else centre)
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
    found, clear = {"unit": table["unit"], "estimate": y, "base_size": n}, p < 1 - confidence
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
        ax.plot(t["base_size"], t[column], ":" if "2" in column else "--", color=QUIET, linewidth=1)
    ax.axhline(finding.summary["centre"], color=QUIET, linewidth=1)
    out = t["verdict"] != "inside"
    ax.scatter(t["base_size"], t["estimate"], np.where(out, 64, 25), np.where(out, PALETTE[1], PALETTE[0]), zorder=2)
    for row in t[out].itertuples():
        ax.annotate(finding.label(row.unit), (row.base_size, row.estimate), xytext=(5, 4), textcoords="offset points")
    ax.set(xlabel="base", ylabel=finding.drawn["unit"])
    return titled(ax, finding.title, "dotted: 2 sd, dashed: 3 sd")


def process_chart(ratings, *, value, period, by=None, kind="mean", baseline, rules=(1,), confidence=0.95) -> Finding:
    """Return where a process left its limits, and how many false alarms the rules raise by themselves.

    Established where a point lies beyond 3 sd by Holm's p over all points. One row per rating; of "individuals" per
    period, of "rate" per thing. A chart, one per group of `by`, needs two first periods that vary, and one more.

    Parameters
    ----------
    kind : X-bar with mean S, moving ranges, p, u, p' (Laney 2002)
    rules : 1 beyond 3 sd, always; 2 two of three beyond 2; 3 four of five beyond 1; 4 eight on one side

    Examples
    --------
    >>> rated = cx.rated_contacts(study.responses, study.interactions, rating="contact_rating")
    >>> print(cx.process_chart(rated, value="contact_rating", period="month", baseline=6, rules=(1, 4)))
    Rating of the last contact: a change is not established, 0 signals where 0.1 false alarms are expected ...
    """
    require_choice("kind", kind, BOUNDS)
    asked, rules = rules, tuple(sorted({*rules} if np.iterable(rules) else {rules}, key=str))
    say.refuse_if((length := RUN_LENGTH.get(rules)) is None, "no_rules", rules=repr(asked))
    say.refuse_if(not is_count(baseline), "no_count", name="baseline", value=baseline, least=0)
    given = opened(ratings, {"wave": period, "group": by}, {"value": value}, confidence=confidence)
    table = given.table if by else given.table.assign(group="")
    odd = kind in ("share", "laney") and not table["value"].isin([0, 1]).all()
    say.refuse_if(odd, "no_share", value=value, kind=kind)
    of = dict(estimate=("value", "mean"), std=("value", "std"), n=("value", "size"), persons=("person", "nunique"))
    cells = table.groupby(["group", "wave"], observed=True).agg(**of).reset_index()
    shown = cells[cells["persons"] >= given.source.min_base].sort_values("wave", key=in_time)
    parts = [_chart(part, kind, baseline, rules) for _, part in shown.groupby("group", observed=True)]
    say.refuse_if(all(part is None for part in parts), "no_chart", baseline=baseline)
    found = pd.concat(parts, ignore_index=True).drop(columns=["std", "persons"] + ["group"] * (by is None))
    p = adjusted_p_values(found.pop("p_value"), correction="holm")
    worst, sure = found.iloc[int(np.argmin(p))], bool(p.min() < 1 - confidence)
    signals, expected, chosen = int((found["alarm"] != "none").sum()), len(found) / length, listing(rules)
    first = f"{given.label(worst['group'])} in {worst['wave']}" if by else worst["wave"]
    summary = {"baseline": baseline, "signals": signals, "run_length": length, "n": int(found["n"].sum())}
    summary |= {"method": f"{kind} chart, rules {chosen}", "established": sure}
    usual, few = f"about {number(expected, 1)}", bool(signals <= expected + 3 * np.sqrt(expected))
    return given.found(
        "process_chart", value, by, found, keys=["signals" if sure else "signals open", "run length"], summary=summary,
        known=dict(what=given.label(value), first=first, expected=expected, cells=len(found), rules=chosen),
        checks=[Check("signals beyond the false alarms expected", signals, usual, few, "info")],
        left=("points under the floor", len(cells) - len(shown)), figure=_chart_figure, unit=given.label(value),
    )  # fmt: skip


def _chart(cells: pd.DataFrame, kind: str, baseline: int, rules) -> pd.DataFrame | None:
    """Return the points of one chart with limits, signals and p of rule 1; None where the baseline tells nothing."""
    if not 2 <= baseline < len(cells):
        return None
    n, y, first = cells["n"].to_numpy(dtype=float), cells["estimate"].to_numpy(), np.arange(len(cells)) < baseline
    weights = n * first / n[first].sum()
    centre, df = float(y[first] @ weights[first]), cells["n"][first] - 1
    if kind == "mean":
        sd = (cells["std"][first] / (special.poch(df / 2, 0.5) * np.sqrt(2 / df))).mean()  # over c4
    elif kind == "individuals":
        sd, n = np.mean(np.abs(np.diff(y[first]))) / SPAN, np.ones(len(n))
    else:
        sd = np.sqrt(centre if kind == "rate" else centre * (1 - centre))
    if not sd > 0:
        return None
    error = sd / np.sqrt(n)
    if kind == "laney":
        error = error * np.mean(np.abs(np.diff((y - centre)[first] / error[first]))) / SPAN
    own = np.sqrt(error**2 + ~first * np.sum((weights * error) ** 2))  # of later points: the centre errs by itself
    df = baseline - 1 if kind in ("individuals", "laney") else max(df.sum(), 1)
    low, high = (np.clip(centre + side * error, *BOUNDS[kind]) for side in (-3, 3))
    alarm = _signals(digits.settled((y - centre) / error), rules)  # what lies on a line is not beyond it
    limits = dict(centre=centre, limit_low=low, limit_high=high, alarm=alarm)
    return cells.assign(**limits, p_value=2 * stats.t.sf(np.abs(y - centre) / own, df))


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
