"""Do agents serve alike, and do raters agree?

References
----------
Searle, Casella & McCulloch (1992), *Variance Components*, 3.6-3.8, 7.4 (BLUP); Krippendorff (2011), *Computing
Krippendorff's Alpha*.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.chain.finding import opened
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice, require_columns
from cxresearch.findings import Check, Statement, ends, interval, listing, number, words
from cxresearch.inference import critical_value, percentile_interval
from cxresearch.inference.agreement import LEVELS, krippendorff_alpha
from cxresearch.inference.clusters import demean
from cxresearch.inference.pooling import intraclass, one_way
from cxresearch.survey import Survey, as_survey, as_table

say = words(__package__)

MIN_AGENTS, TARGET, RELIABLE = 5, 0.7, 2 / 3


def agent_consistency(
    ratings, *, score: str, agent: str, case_mix: Sequence[str] = (), occasion: str | None = None,
    customer: str | None = None, worth_acting_on: float | None = None, confidence: float = 0.95, min_ratings: int = 10,
) -> Statement:  # fmt: skip
    """Return whether agents serve alike: the sd of their true means after case mix, and shrunken means.

    Parameters
    ----------
    ratings : Survey, Table or DataFrame
        One row per rating.
    score, agent : columns
    case_mix : sequence of str
        What contacts differ in, held constant as categories before agents are compared: topic, channel, month.
    occasion : column, optional
        The contact that a rating is about: several ratings of one count as one, their mean.
    customer : column, optional
        Who rated: the floor counts distinct customers.
    worth_acting_on : float, optional
        Sd between agents, in points, that would matter. "Alike" only where the upper end lies below it.
    min_ratings : int
        Agents with fewer are left out and counted.

    Raises
    ------
    TooFewRespondents
        Fewer than five agents have enough ratings.

    Notes
    -----
    Case mix by least squares within agents; then one-way REML, the interval from F. Shrunken means are BLUPs with their
    prediction error. For 0/1 scores this is the ANOVA estimator. Contacts for reliability .7: (.7 / .3) s2 within / s2
    between.

    Examples
    --------
    >>> import cxresearch as cx
    >>> import numpy as np
    >>> import pandas as pd
    >>> rng = np.random.default_rng(1)
    >>> who = np.repeat(np.arange(20), 40)
    >>> ratings = pd.DataFrame({"agent": who, "score": rng.normal(0, 0.6, 20)[who] + rng.normal(5, 1.2, 800)})
    >>> print(cx.agent_consistency(ratings, score="score", agent="agent"))
    Agents do not serve alike in score: true means differ by 0.36 points (sd, 95 % interval ...
    """
    given = opened(ratings, score, agent, *case_mix, occasion, customer, confidence=confidence, person=customer)
    table = given.table.assign(**{score: given.numbers(score)}).dropna(subset=[score, agent, *case_mix])
    asked = len(table)
    if occasion is not None:
        first = {c: "first" for c in table.columns if c not in (occasion, score)}
        table = table.groupby(occasion, as_index=False, sort=False, dropna=False).agg({score: "mean", **first})
    given = replace(given, table=table)
    code, names = pd.factorize(table[agent])
    every = np.arange(len(table))
    base, floor = given.base(code, every) if len(table) else np.zeros(0), given.floor
    kept = (np.bincount(code, minlength=len(names)) >= min_ratings) & (base >= floor)
    if kept.sum() < MIN_AGENTS:
        raise TooFewRespondents(
            f"{int(kept.sum())} of {len(names)} agents have {min_ratings} ratings or more from {floor} persons or more; "
            f"{MIN_AGENTS} are needed to say how much agents differ"
        )
    rows = kept[code]
    plain, agents, mix = table[score].to_numpy(dtype=float)[rows], code[rows], table[list(case_mix)][rows]
    values = _after_mix(plain, agents, mix)
    fitted, icc = one_way(values, agents), intraclass(values, agents, confidence=confidence)
    ratio = lambda share: np.sqrt(fitted.within * max(share, 0.0) / (1 - share))  # noqa: E731
    sd, low, high = float(np.sqrt(fitted.between)), ratio(icc.low), ratio(icc.high)
    league = _league(names, fitted, plain, agents, confidence)
    alike, differ = worth_acting_on is not None and high < worth_acting_on, icc.low > 0
    contacts = float(np.ceil(TARGET / (1 - TARGET) * fitted.within / fitted.between)) if sd > 0 else np.inf
    j, n, hidden = len(league), int(rows.sum()), int((~kept).sum())
    known = dict(score=given.label(score), sd=number(sd, 2), span=interval(low, high, confidence, 2))
    base_words = {} if alike else dict(j=j, n=number(n, 0))
    key = "alike" if alike else "differ" if differ else "agents open"
    headline = say(key, **known, **base_words, **({"worth": number(worth_acting_on, 2)} if alike else {}))
    said_mix = f" after {listing(map(given.label, case_mix))}" if case_mix else ""
    more = say("agents more", range=number(critical_value(0.95) * sd, 2), mix=said_mix, icc=number(icc.single, 3),
               icc_span=interval(icc.low, icc.high, confidence, 3), contacts=number(contacts, 0)) if sd > 0 else say("agents none", mix=said_mix)  # fmt: skip
    summary = {**ends("sd_between", sd, low, high), "sd_within": np.sqrt(fitted.within), "icc": icc.single, "icc_low": icc.low,
               "icc_high": icc.high, "contacts_needed": contacts, "agents": j, "n": n, "method": "one-way REML after case mix",
               "established": bool(alike or differ)}  # fmt: skip
    persons = given.base(np.zeros(len(table), dtype=int), every)[0]
    checks = (
        Check("ratings that repeat an occasion, joined", asked - len(table), "0", asked == len(table), "info"),
        Check("agents with too few ratings, left out", hidden, "0", hidden == 0, "info"),
        Check("ratings a person", digits.rounded(len(table) / persons, 2), "about 1: they count as independent",
              len(table) <= 1.25 * persons), *given.checks,
    )  # fmt: skip
    return Statement(
        "agent_consistency", score, agent, league, summary, checks, words=f"{headline} {more}", suppressed=hidden, **given.finding,
        drawn=dict(line=fitted.mean, unit=f"{given.label(score)}: mean of the agent{said_mix}, drawn towards that of all"),
    )  # fmt: skip


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
    w = fitted.n / (fitted.within + fitted.n * fitted.between)
    error = np.sqrt(fitted.between * (1 - fitted.reliability) + (1 - fitted.reliability) ** 2 / w.sum())
    estimate, half = fitted.mean + fitted.effects, critical_value(confidence, len(w) - 1) * error
    means = np.bincount(agents, plain)[fitted.names] / fitted.n
    table = pd.DataFrame({
        "group": np.asarray(names)[fitted.names], "estimate": estimate, "conf_low": estimate - half,
        "conf_high": estimate + half, "mean": means, "adjusted": fitted.means, "reliability": fitted.reliability, "n": fitted.n,
    })  # fmt: skip
    table = table.iloc[digits.descending(estimate, table["group"])].reset_index(drop=True)
    if table["group"].astype(str).str.fullmatch("p[0-9a-f]{20}").all():  # pseudonyms of this run say nothing to anybody
        table["group"] = [f"agent {k + 1}" for k in range(len(table))]
    return table


def rated_contacts(responses, interactions, *, rating: str, within_days: int = 30) -> Survey:
    """Return the ratings with the contact that each is about: its agent, channel, touchpoint, time and month.

    Parameters
    ----------
    responses : Survey
        With the column ``contact`` (the id of the contact rated), or with ``customer`` and the day of the answer.
    interactions : Table or DataFrame
        One row per contact: ``contact`` or ``customer``, and ``time``.
    rating : column
        Of the responses.
    within_days : int
        Without ids: the last contact of the customer in so many days before the answer.

    Raises
    ------
    DataProblem
        No rating has a contact.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> cx.rated_contacts(study.responses, study.interactions, rating="support")
    survey: ... rows, weighted by weight, strata stratum, cluster cluster, floor 10
    """
    survey, contacts = as_survey(responses), as_table(interactions).table
    rated = survey.table[survey.table[rating].notna()]
    more = [c for c in ("agent", "channel", "touchpoint", "owner") if c in contacts and c not in rated]
    contacts = contacts.assign(time=pd.to_datetime(contacts["time"]))
    if "contact" in rated and "contact" in contacts:
        found = rated.merge(contacts[["contact", "time", *more]].dropna(subset=["contact"]), on="contact")
    else:
        require_columns(rated, "customer", survey.asked_at or "asked_at", where="responses")
        day = pd.to_datetime(rated[survey.asked_at]).astype("datetime64[ns]")
        left = rated.assign(answered=day).dropna(subset=["customer", "answered"]).sort_values("answered", kind="stable")
        right = (
            contacts[["customer", "time", *more]]
            .assign(time=lambda t: t["time"].astype("datetime64[ns]"))
            .sort_values("time", kind="stable")
        )
        window = {"by": "customer", "direction": "backward", "tolerance": pd.Timedelta(days=within_days)}
        found = pd.merge_asof(left, right.assign(answered=right["time"]), on="answered", **window).dropna(
            subset=["time"]
        )
    if found.empty:
        raise DataProblem(
            f"no rating {rating!r} has a contact: neither by id nor within {within_days} days before the answer"
        )
    found["month"] = found["time"].dt.strftime("%Y-%m")
    found["occasion"] = (
        found["contact"] if "contact" in found else found["customer"].astype(str) + " " + found["time"].astype(str)
    )
    return survey.with_table(found.reset_index(drop=True))


def rater_agreement(
    sheet,
    *,
    item: str,
    rater: str,
    case: str,
    level: str = "ordinal",
    n_boot: int = 1000,
    confidence: float = 0.95,
    seed,
) -> Statement:
    """Return whether raters of the same cases agree: Krippendorff's alpha, its interval by resampling cases.

    Parameters
    ----------
    sheet : Table or DataFrame
        One row per case and rater.
    item, rater, case : columns
        Numbers, or codes where the level is nominal; missing where a rater did not rate.
    level : {"nominal", "ordinal", "interval"}

    Raises
    ------
    DataProblem
        A rater rated a case twice, fewer than two raters, fewer than ten cases that two rated.

    Notes
    -----
    Agreement is established where the lower end reaches 2/3, below which Krippendorff draws no conclusion.

    Examples
    --------
    >>> import cxresearch as cx
    >>> import pandas as pd
    >>> sheet = pd.DataFrame({"case": list(range(20)) * 2, "rater": ["A"] * 20 + ["B"] * 20, "mark": [1, 2, 3, 4] * 10})
    >>> print(cx.rater_agreement(sheet, item="mark", rater="rater", case="case", seed=1))
    Raters agree on mark: Krippendorff's alpha 1.00 (95 % interval 1.00 to 1.00; 2 raters, n = 20).
    """
    require_choice("level", level, LEVELS)
    given = opened(sheet, item, rater, case, confidence=confidence)
    table = given.table.dropna(subset=[item, rater, case])
    if table.duplicated([rater, case]).any():
        raise DataProblem(
            f"{rater} {table[rater][table.duplicated([rater, case])].iloc[0]!r} rated one {case} twice; keep one row"
        )
    codes = pd.factorize(table[item], sort=True)[0] if level == "nominal" else replace(given, table=table).numbers(item)
    marks = table.assign(value=codes).pivot(index=rater, columns=case, values="value").to_numpy(dtype=float)
    marks = marks[:, (~np.isnan(marks)).sum(axis=0) >= 2]
    if len(marks) < 2 or marks.shape[1] < 10:
        raise DataProblem(
            f"{marks.shape[1]} cases have two of {len(marks)} raters; agreement needs two raters and ten such cases"
        )
    alpha, rng = krippendorff_alpha(marks, level=level), np.random.default_rng(seed)
    drawn = [
        krippendorff_alpha(marks[:, rng.integers(0, marks.shape[1], marks.shape[1])], level=level)
        for _ in range(n_boot)
    ]
    low, high = map(float, percentile_interval(drawn, confidence))
    sure, n = low >= RELIABLE, marks.shape[1]
    row = pd.DataFrame({"term": [item], "estimate": alpha, "conf_low": low, "conf_high": high, "n": n})
    words = say("raters" if sure else "raters open", item=given.label(item), alpha=number(alpha, 2),
                span=interval(low, high, confidence, 2), raters=len(marks), n=n)  # fmt: skip
    summary = {"n": n, "method": f"Krippendorff's alpha, {level}; bootstrap of cases", "established": bool(sure)}
    check = Check("cases that two raters rated", n, "at least 30", n >= 30)
    return Statement("rater_agreement", item, None, row, summary, (check,), words=words, **given.finding,
                        drawn=dict(unit="Krippendorff's alpha; dashed: 2/3, below which no conclusion is drawn", line=RELIABLE))  # fmt: skip
