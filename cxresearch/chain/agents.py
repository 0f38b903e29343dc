"""Do agents serve alike, and do raters agree?

Searle, Casella & McCulloch (1992), *Variance Components*, 3.6-3.8, 7.4 (BLUP); Krippendorff (2011), *Computing
Krippendorff's Alpha*.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.chain.units import opened, say
from cxresearch.errors import require_choice, require_columns
from cxresearch.findings import Check, Statement, ends, listing
from cxresearch.inference import critical_value, percentile_interval
from cxresearch.inference.clusters import demean
from cxresearch.inference.pooling import LEVELS, intraclass, krippendorff_alpha, one_way
from cxresearch.survey import Survey, as_survey, as_table
from cxresearch.survey.survey import person_codes

MIN_AGENTS, TARGET, RELIABLE = 5, 0.7, 2 / 3


def agent_consistency(
    ratings, *, score, agent, case_mix=(), occasion=None, worth_acting_on=None, confidence=0.95, min_ratings: int = 10
) -> Statement:
    """Return whether agents serve alike: the sd of their true means after case mix, and shrunken means.

    Case mix by least squares within agents; then one-way REML, the interval from F (for 0/1 scores the ANOVA estimator).
    Shrunken means are BLUPs with their prediction error. Contacts for reliability .7: (.7 / .3) s2 within / s2 between.

    Parameters
    ----------
    ratings : Survey, Table or DataFrame, one row per rating
    score, agent, occasion : columns
        Several ratings of one occasion, the contact that they are about, count as one, their mean.
    case_mix : sequence of columns
        What contacts differ in, held constant as categories before agents are compared: topic, channel, month.
    worth_acting_on : float, optional
        Sd between agents, in points, that would matter: "alike" only where the upper end lies below it.
    min_ratings : int, agents with fewer (or with fewer persons than the floor) are left out and counted

    Raises
    ------
    TooFewRespondents
        Fewer than five agents have enough ratings.

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
        table = table.assign(**{score: table.groupby(of)[score].transform("mean")})[~pd.Series(of).duplicated()]
        given = replace(given, rows=table.reset_index(drop=True))
    code, names = pd.factorize(table[agent])
    kept = (np.bincount(code, minlength=len(names)) >= min_ratings) & (given.base(code) >= given.min_base)
    have = dict(j=(j := int(kept.sum())), all=len(names), least=min_ratings, floor=given.min_base, needed=MIN_AGENTS)
    say.refuse_if(j < MIN_AGENTS, "few_agents", **have)
    plain, agents = table[score].to_numpy()[kept[code]], code[kept[code]]
    values = _after_mix(plain, agents, table[list(case_mix)].loc[kept[code]])
    fitted, icc = one_way(values, agents), intraclass(values, agents, confidence=confidence)
    sd, low, high = np.sqrt([fitted.between, *(fitted.within * max(r, 0.0) / (1 - r) for r in (icc.low, icc.high))])
    contacts = float(np.ceil(TARGET / (1 - TARGET) * fitted.within / fitted.between)) if sd > 0 else np.inf
    alike, differ = worth_acting_on is not None and high < worth_acting_on, icc.low > 0
    mix = f" after {listing(map(given.label, case_mix))}" if case_mix else ""
    known = dict(score=given.label(score), worth=worth_acting_on, mix=mix, range=critical_value(0.95) * sd)
    keys = ["alike" if alike else "differ" if differ else "agents open", "agents more" if sd > 0 else "agents none"]
    summary = ends("sd_between", sd, low, high) | {"sd_within": np.sqrt(fitted.within)}
    summary |= ends("icc", icc.single, icc.low, icc.high) | {"contacts_needed": contacts, "agents": j, "n": len(values)}
    summary |= {"method": "one-way REML after case mix", "established": bool(alike or differ)}
    joined, each = asked - len(table), len(table) / given.base(np.zeros_like(code))[0]
    limit = "about 1: they count as independent"
    checks = [Check("ratings that repeat an occasion, joined", joined, "0", not joined, "info")]
    checks += [Check("ratings a person", digits.rounded(each, 2), limit, bool(each <= 1.25))]
    told = dict(keys=keys, summary=summary, known=known, checks=checks, line=fitted.mean)
    told["left"] = "agents with too few ratings", len(names) - j
    told["unit"] = f"{given.label(score)}: mean of the agent{mix}, drawn towards that of all"
    return given.found("agent_consistency", score, agent, _league(names, fitted, plain, agents, confidence), **told)


def _after_mix(values, agents, mix: pd.DataFrame) -> np.ndarray:
    """Return scores less what their contacts' categories lead one to expect, by least squares within agents."""
    if mix.shape[1] == 0:
        return values
    dummies = pd.get_dummies(mix.astype(str), drop_first=True).to_numpy(dtype=float)
    within = demean(np.column_stack([values, dummies]), np.ones(len(values)), [agents])
    expected = dummies @ np.linalg.lstsq(within[:, 1:], within[:, 0], rcond=None)[0]
    return values - expected + expected.mean()


def _league(names, fitted, plain, agents, confidence) -> pd.DataFrame:
    """Return shrunken means, the best first, with the intervals of their prediction error."""
    w, trust = fitted.n / (fitted.within + fitted.n * fitted.between), fitted.reliability
    half = np.sqrt(fitted.between * (1 - trust) + (1 - trust) ** 2 / w.sum()) * critical_value(confidence, len(w) - 1)
    estimate, means = fitted.mean + fitted.effects, np.bincount(agents, plain)[fitted.names] / fitted.n
    columns = {"group": np.asarray(names)[fitted.names], **ends("estimate", estimate, estimate - half, estimate + half)}
    columns |= {"mean": means, "adjusted": fitted.means, "reliability": trust, "n": fitted.n}
    table = pd.DataFrame(columns)
    table = table.iloc[digits.descending(estimate, table["group"])].reset_index(drop=True)
    if table["group"].astype(str).str.fullmatch("p[0-9a-f]{20}").all():  # pseudonyms of this run say nothing to anybody
        table["group"] = [f"agent {k + 1}" for k in range(len(table))]
    return table


def rated_contacts(responses, interactions, *, rating, within_days: int = 30) -> Survey:
    """Return the ratings with the contact that each is about: its agent, channel, time, ``month`` and ``occasion``.

    Parameters
    ----------
    responses : Survey, with the column `rating` and ``contact``, the id of what is rated; or ``customer`` and the day
        of the answer: then the customer's last contact in `within_days` before it is taken, and a check says so
    interactions : Table or DataFrame, one row per contact: ``contact`` or ``customer``, and ``time``

    Raises
    ------
    DataProblem
        No rating has a contact.

    Examples
    --------
    >>> cx.rated_contacts(study.responses, study.interactions, rating="support")
    survey: ... rows, weighted by weight, strata stratum, cluster cluster, floor 10
    """
    survey, contacts = as_survey(responses), as_table(interactions).table
    require_columns(survey.table, rating, where="responses")
    require_columns(contacts, "time", where="interactions")
    rated = survey.table[survey.table[rating].notna()]
    by = "contact" if "contact" in rated and "contact" in contacts else "customer"
    time = pd.to_datetime(contacts["time"]).astype("datetime64[ns]")
    contacts = contacts.assign(time=time)[[c for c in contacts if c in (by, "time") or c not in rated]]
    if by == "contact":
        found = rated.merge(contacts.dropna(subset=[by]), on=by)
    else:
        require_columns(rated, by, survey.asked_at or "asked_at", where="responses")
        day = pd.to_datetime(rated[survey.asked_at]).astype("datetime64[ns]")
        rated = rated.assign(answered=day).dropna(subset=[by, "answered"]).sort_values("answered", kind="stable")
        sides = dict(left_on="answered", right_on="time", by=by, tolerance=pd.Timedelta(days=within_days))
        found = pd.merge_asof(rated, contacts.sort_values("time", kind="stable"), **sides).dropna(subset=["time"])
    say.refuse_if(found.empty, "no_contact", rating=rating, days=within_days)
    own = found["contact"] if by == "contact" else found["customer"].astype(str) + " " + found["time"].astype(str)
    found = found.assign(month=found["time"].dt.strftime("%Y-%m"), occasion=own).reset_index(drop=True)
    how = "named by id" if by == "contact" else f"the customer's last within {within_days} days before the answer"
    found.attrs["checks"] = (Check("the contact of a rating", how, "named by id", by == "contact"),)
    return survey.with_table(found)


def rater_agreement(
    sheet, *, item, rater, case, level: str = "ordinal", n_boot: int = 1000, confidence: float = 0.95, seed
) -> Statement:
    """Return whether raters of the same cases agree: Krippendorff's alpha, its interval by resampling cases.

    Agreement is established where the lower end reaches 2/3, below which Krippendorff draws no conclusion.

    Parameters
    ----------
    sheet : Table or DataFrame, one row per case and rater
    item, rater, case : columns
    level : {"nominal", "ordinal", "interval"}, marks are numbers, or codes where the level is nominal

    Raises
    ------
    DataProblem
        A rater rated a case twice, fewer than two raters, fewer than ten cases that two rated.

    Examples
    --------
    >>> import pandas as pd
    >>> sheet = pd.DataFrame({"case": list(range(20)) * 2, "rater": ["A"] * 20 + ["B"] * 20, "mark": [1, 2, 3, 4] * 10})
    >>> print(cx.rater_agreement(sheet, item="mark", rater="rater", case="case", seed=1))
    Raters agree on mark: Krippendorff's alpha 1.00 (95 % interval 1.00 to 1.00; 2 raters, n = 20).
    """
    require_choice("level", level, LEVELS)
    text = [item] if level == "nominal" else []
    numbers = [] if text else [item]
    given = opened(sheet, rater, case, *text, numbers=numbers, confidence=confidence, once="the sheet")
    marks = given.table.assign(code=pd.factorize(given.table[item])[0] if text else given.table[item])
    marks = marks.pivot(index=rater, columns=case, values="code").to_numpy(dtype=float)
    marks = marks[:, (~np.isnan(marks)).sum(axis=0) >= 2]
    raters, n = marks.shape
    say.refuse_if(raters < 2 or n < 10, "no_agreement", n=n, raters=raters)
    draws = np.random.default_rng(seed).integers(0, n, (n_boot, n))
    alpha, *drawn = [krippendorff_alpha(marks[:, cases], level=level) for cases in (np.arange(n), *draws)]
    low, high = map(float, percentile_interval(drawn, confidence))
    row = pd.DataFrame([{"term": item, **ends("estimate", alpha, low, high), "n": n}])
    summary = {"n": n, "method": f"Krippendorff's alpha, {level}; bootstrap of cases", "established": low >= RELIABLE}
    known = ends("alpha", alpha, low, high) | dict(item=given.label(item), raters=raters)
    keys = ["raters" if low >= RELIABLE else "raters open"]
    told = dict(keys=keys, summary=summary, known=known, line=RELIABLE)
    told["unit"] = "Krippendorff's alpha; dashed: 2/3, below which no conclusion is drawn"
    told["checks"] = [Check("cases that two raters rated", n, "at least 30", n >= 30)]
    return given.found("rater_agreement", item, None, row, **told)
