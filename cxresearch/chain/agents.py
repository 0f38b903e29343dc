"""Do agents serve alike, which units stand out, when did a process change, and do raters agree?

Spiegelhalter (2005), Statistics in Medicine 24:1185-1202 (funnels); Montgomery (2013), *Statistical Quality Control*;
Laney (2002), Quality Engineering 14:531-537; Champ & Woodall (1987), Technometrics 29:393-399 (run lengths).
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import special, stats

from cxresearch import digits
from cxresearch.chain.units import in_time, opened, say, whole
from cxresearch.errors import require_choice, require_columns
from cxresearch.figures import PALETTE, QUIET, axes_or_new, over_waves, titled
from cxresearch.findings import Check, Finding, ends, listing, number
from cxresearch.inference import adjusted_p_values, critical_value, percentile_interval
from cxresearch.inference.clusters import demean
from cxresearch.inference.pooling import LEVELS, between_variance, intraclass, krippendorff_alpha, one_way
from cxresearch.survey import Survey, as_survey, as_table
from cxresearch.survey.survey import person_codes

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


def rated_contacts(responses, interactions, *, rating, within_days: int = 30) -> Survey:
    """Return the ratings with the contact that each is about: its agent, channel, time, ``month`` and ``occasion``.

    `interactions` has one row per contact, with its ``time``. Where both tables name the ``contact``, it is joined by this
    id; else a rating is of the ``customer``'s last in `within_days` before the answer, and a check says so.

    Examples
    --------
    >>> cx.rated_contacts(study.responses, study.interactions, rating="support")
    survey: ... rows, weighted by weight, strata stratum, cluster cluster, floor 10
    """
    survey, contacts = as_survey(responses), as_table(interactions).table
    require_columns(survey.table, rating, where="responses")
    rated, asked = survey.table.dropna(subset=[rating]), survey.asked_at or "asked_at"
    named = "contact" in rated and "contact" in contacts
    require_columns(contacts, "time", by := "contact" if named else "customer", where="interactions")
    contacts = contacts[[c for c in contacts if c in (by, "time") or c not in rated]].dropna(subset=[by])
    contacts["time"] = pd.to_datetime(contacts["time"]).astype("datetime64[ns]")
    if by in rated and rated[by].dtype != contacts[by].dtype:  # 7 and, since some id is missing, 7.0
        rated, contacts = rated.astype({by: object}), contacts.astype({by: object})
    if named:
        found, how = rated.drop(columns="time", errors="ignore").merge(contacts, on=by), "named by id"
    else:
        require_columns(rated, by, asked, where="responses")
        rated = rated.assign(answered=pd.to_datetime(rated[asked]).astype("datetime64[ns]"))
        rated = rated.drop(columns="time", errors="ignore").dropna(subset=[by, "answered"])
        rated = rated.sort_values("answered", kind="stable")
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
