"""Do loyal customers do it so much more often? Ratios under every definition, and the largest that is possible.

Koopman (1984), Biometrics 40:513-517; Zou (2004), Am. J. Epidemiology 159:702-706 (adjusted ratios by Poisson);
VanderWeele & Ding (2017), Annals of Internal Medicine 167:268-274 (E-value).
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.claims.shares import LEAST, happened, say, share_of
from cxresearch.errors import require_columns, require_share
from cxresearch.findings import Check, Statement, ends, listing
from cxresearch.inference import adjusted_p_values, e_value, ratio_interval, ratio_p_value, t_interval
from cxresearch.survey import Survey, as_survey

NEAR = 1.25  # a claim holds where it lies inside the interval, and the interval within claim x/: this


def loyalty_ratios(
    customers, *, score, outcomes, loyal: float = 9, disloyal: float = 6, claimed: float | None = None,
    thresholds=(8, 9, 10), against=None, controls=(), behavioural: bool = False, confidence: float = 0.95,
) -> Statement:  # fmt: skip
    """Return how many times as often loyal customers do something, under every definition of loyal.

    Koopman's interval on effective counts p (1 - p) / SE^2 of the design. Holm over all rows, of "the ratio is 1".

    Parameters
    ----------
    customers : Survey or DataFrame, one row per customer
    score : column, answer given before the outcome; with ``behavioural=True`` past behaviour: the result is a circle
    outcomes : columns of 0 and 1, days, or conditions such as ``revenue > 0``; or mapping to the first day of each window
    loyal, disloyal, claimed : float, customary groups, at or above and at or below; the ratio that is claimed
    thresholds, against : all definitions: at or above each threshold, against at or below each (None: all others)
    controls : columns held constant by a Poisson regression in the customary groups

    Raises
    ------
    DataProblem
        An outcome not of 0 and 1, begun before the score, or that defines the groups; fewer than 30 in a group throughout.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"score": [9] * 40 + [5] * 80, "again": [1] * 36 + [0] * 4 + [1] * 16 + [0] * 64})
    >>> print(cx.loyalty_ratios(table, score="score", outcomes=["again"]))
    again: loyal customers do so 4.5 to 4.5 times as often, over 1 definitions (n = 120). ...
    """
    survey = as_survey(customers)
    table = survey.table
    require_share("confidence", confidence)
    say.refuse_if(not outcomes, "no_outcome")
    require_columns(table, score, *controls, where="customers")
    did = {outcome: happened(table, outcome) for outcome in outcomes}
    marks = pd.to_numeric(table[score]).where(survey.weights() > 0).to_numpy(dtype=float, na_value=np.nan)
    _refuse(survey, table, did, marks, score, outcomes, behavioural)
    against = (disloyal, disloyal // 2, None) if against is None else against
    rows, seen, few, least = [], set(), 0, max(LEAST, survey.min_base)
    for outcome, top, end in product(outcomes, dict.fromkeys((loyal, *thresholds)), dict.fromkeys(against)):
        others = (marks < top) & (True if end is None else digits.at_most(marks, end))
        groups = [np.where(group, did[outcome], np.nan) for group in (digits.at_least(marks, top), others)]
        key = outcome, *((~np.isnan(group)).tobytes() for group in groups)
        if key in seen:
            continue
        seen.add(key)
        if min(np.sum(~np.isnan(group)) for group in groups) < least:
            few += 1
            continue
        other, customary = "all others" if end is None else f"at most {end:g}", (top, end) == (loyal, disloyal)
        named = {"term": outcome, "definition": f"{top:g} or more against {other}", "customary": customary}
        rows.append(named | _ratio(survey, groups, claimed, confidence))
    say.refuse_if(not rows, "few_loyal", score=score, least=least)
    found = pd.DataFrame(rows)
    found["p_adjusted"] = adjusted_p_values(found["p_value"], correction="holm")
    fit, adjusted = None, {}
    if controls:
        fit, adjusted = _adjusted(table, marks, did[list(outcomes)[0]], controls, loyal, disloyal, confidence)
    return _made(survey, found, score, list(outcomes), claimed, controls, behavioural, confidence, few, fit, adjusted)


def _refuse(survey: Survey, table, did, marks, score, outcomes, behavioural) -> None:
    """Refuse groups that an outcome defines, and outcomes that begin before the score was given."""
    for outcome, y in did.items():
        say.refuse_if(outcome == score, "both", score=score)
        by = pd.Series(marks).groupby(y).agg(["min", "max"])
        circle = not behavioural and len(by) == 2 and by["min"][1.0] > by["max"][0.0]
        say.refuse_if(circle, "without_a_miss", score=score, outcome=outcome)
        if isinstance(outcomes, Mapping) and survey.asked_at:
            late = (pd.to_datetime(table[survey.asked_at]) > pd.Timestamp(outcomes[outcome])).to_numpy()
            found = dict(day=outcomes[outcome], n=late.sum(), row=late.argmax())
            say.refuse_if(late.any(), "late", outcome=outcome, **found)


def _ratio(survey, groups, claimed, confidence) -> dict:
    """Return the ratio of two shares with its interval, the largest that is possible, and what it says of the claim."""
    (p1, n1, rows1), (p0, n0, rows0) = (share_of(survey, group, "a group of loyal customers") for group in groups)
    low, high = ratio_interval(p1, n1, p0, n0, confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, odds, most = np.divide([p1, p1 * (1 - p0), 1], [p0, p0 * (1 - p1), p0])
    claim_p, verdict = np.nan, "none"
    if claimed:
        claim_p = float(ratio_p_value(p1, n1, p0, n0, claimed)) if p0 * claimed <= 1 else 0.0
        close = low >= claimed / NEAR and high <= claimed * NEAR
        inside = "holds" if close else "not established"
        verdict = "smaller" if high < claimed else "larger" if low > claimed else inside
    found = ends("estimate", ratio if p0 > 0 else np.nan, low, high)
    found |= {"p_value": float(ratio_p_value(p1, n1, p0, n0, 1.0)), "most_possible": most, "odds_ratio": odds}
    found |= {"gap": p1 - p0, "share_loyal": p1, "share_rest": p0, "claim_p": claim_p, "verdict": verdict}
    return found | {"n_loyal": rows1, "n_rest": rows0, "n": rows1 + rows0, "n_effective": n1 + n0}


def _made(survey, found, score, outcomes, claimed, controls, behavioural, confidence, few, fit, adjusted) -> Statement:
    """Return the finding: the range over the definitions before anything else."""
    clear, k, seen = found["p_adjusted"] < 1 - confidence, len(found), found[found["estimate"].notna()]
    above, below = int((clear & (found["conf_low"] > 1)).sum()), int((clear & (found["conf_high"] < 1)).sum())
    usual = found[found["customary"] & (found["term"] == outcomes[0])].to_dict("records")
    first = usual[0] if usual else ends("estimate", np.nan, np.nan, np.nan)
    lowest, highest = seen["estimate"].min(), seen["estimate"].max()
    keys = ["none" if seen.empty else "range" if highest >= 2 else "fine range", *(["circle"] if behavioural else [])]
    keys += ["open" if not above + below else "sure bare" if np.isnan(first["estimate"]) else "sure"]
    if claimed and usual:
        keys += ["impossible" if claimed > first["most_possible"] else first["verdict"]]
    keys += [*(["one sided"] if k > len(seen) else []), *(["adjusted"] if adjusted else [])]
    summary = {"lowest": lowest, "highest": highest, "claimed": claimed if claimed else np.nan, **adjusted}
    summary |= {"n": int(found["n"].max()), "n_effective": float(found["n_effective"].max())}
    summary |= {"method": "ratio of shares, Koopman; Holm", "established": bool(above == k or below == k)}
    what, held_alike = (listing(map(survey.label, columns)) for columns in (outcomes, controls))
    known = {**first, **summary, "what": what, "least": LEAST, "k": k, "bare": k - len(seen)}
    known |= {"above": above, "below": below, "controls": held_alike}
    when, whose = survey.asked_at or "not stated", "past behaviour" if behavioural else "an answer"
    checks = (
        Check("loyal is no part of the outcome", whose, "an answer", not behavioural, "stops"),
        Check("when the score was given is known", when, "before the outcome", bool(survey.asked_at or behavioural)),
        Check("definitions with too few customers, left out", few, "0", few == 0, "info"),
    )
    rows = found.drop(columns="customary")
    whole = [f"{survey.label(t)}: {d}" for t, d in zip(rows["term"], rows["definition"])]
    rows.insert(0, "group", whole if len(outcomes) > 1 else rows["definition"])
    question = "loyalty_ratios", " ".join(outcomes), score, rows, summary, checks
    drawn = dict(line=1, unit="times as often as the others; bars: the largest ratio that is possible")
    options = dict(fitted=fit, figure=_figure, drawn=drawn, source=survey)
    return Statement.of(say, keys, known, confidence, *question, **options)


def _figure(finding, ax=None):
    """Draw the ratios on a log axis; bars at the largest that is possible, dotted at what is claimed."""
    from cxresearch.figures import PALETTE

    ax, shown = replace(finding, figure=None).plot(ax), finding.table[finding.table["estimate"].notna()]
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
    ax.plot(shown["most_possible"], np.arange(len(shown)), "|", color=PALETTE[6], markersize=14)
    if np.isfinite(finding.summary["claimed"]):
        ax.axvline(finding.summary["claimed"], color=PALETTE[1], linestyle=":", linewidth=2)
    return ax


def _adjusted(table, marks, y, controls, loyal, disloyal, confidence) -> tuple[object, dict]:
    """Return the Poisson fit of the customary groups, its ratio with interval, and its E-value (Zou 2004)."""
    import statsmodels.api as sm

    rows = (marks >= loyal) | (marks <= disloyal)
    part = table.assign(loyal=(marks >= loyal).astype(float), happened=y)[rows].dropna(subset=["happened", *controls])
    X = pd.get_dummies(part[["loyal", *controls]], drop_first=True).astype(float)
    fit = sm.GLM(part["happened"], sm.add_constant(X), family=sm.families.Poisson()).fit(cov_type="HC1")
    ratio = np.exp(t_interval(fit.params["loyal"], fit.bse["loyal"], np.inf, confidence)[:3])
    return fit, ends("adjusted_ratio", *ratio) | {"e_value": e_value(ratio[0])}
