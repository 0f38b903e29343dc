"""What is quoted against one's own shares: ratios under every definition, stated shares, what was said and what was done.

Koopman (1984), Biometrics 40:513-517; Zou (2004), Am. J. Epidemiology 159:702-706 (adjusted ratios by Poisson);
VanderWeele & Ding (2017), Annals of Internal Medicine 167:268-274 (E-value); Wilson (1927), JASA 22; Newcombe (1998),
Statistics in Medicine 17:857-890; McNemar (1947), Psychometrika 12:153-157.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits, inference
from cxresearch.errors import require_columns, require_share
from cxresearch.findings import Check, Statement, ends, listing, words
from cxresearch.survey import Survey, as_survey
from cxresearch.survey.survey import rows_where

say = words(__package__)

LEAST = 30  # persons in a group
NEAR = 1.25  # a claim holds where it lies inside the interval, and the interval within claim x/: this


def held(name: str) -> pd.DataFrame:
    """Return a table of the room: what is published, what is believed."""
    return pd.read_csv(Path(__file__).with_name(f"{name}.csv"))


def published_claims() -> pd.DataFrame:
    """Return claims that are often quoted: source, population, question, and how many were asked where that is known.

    Examples
    --------
    >>> list(cx.published_claims())
    ['claim', 'source', 'population', 'question', 'n']
    """
    return held("published").drop(columns=["role", "quoted"])


def happened(table: pd.DataFrame, what: str) -> np.ndarray:
    """Return 1 where something happened, 0 where not, missing where that is not known: of a column of 0 and 1, of days
    (blank where it did not happen), or of a condition such as ``revenue > 0``.
    """
    if what not in table.columns:  # a comparison with a missing value is not met, nor is its opposite
        return np.select([rows_where(table, what), rows_where(table, f"not ({what})")], [1.0, 0.0], np.nan)
    if pd.api.types.is_datetime64_any_dtype(table[what]):
        return table[what].notna().to_numpy(dtype=float)
    values = pd.to_numeric(table[what], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    odd = table[what][table[what].notna() & ~np.isin(values, (0, 1))]
    say.refuse_if(len(odd), "no_yes", what=what, value=next(iter(odd), None))
    return values


def share_of(survey: Survey, values: np.ndarray, what: str) -> tuple[float, float, int]:
    """Return a share, its effective base p (1 - p) / SE^2 of the design (Kish's where nobody or all did), and its rows."""
    sample = survey.sample(~np.isnan(values), what=what)
    share, variance = sample.means(values[sample.rows])[0], sample.variance(values[sample.rows])[0]
    simple = sample.plain or not 0 < share < 1 or variance <= 0
    return float(share), sample.n_effective if simple else share * (1 - share) / variance, len(sample)


def wilson_of(survey: Survey, values: np.ndarray, what: str, confidence: float) -> tuple[float, float, float, int]:
    """Return a share with Wilson's interval on its effective base, and its rows; missing under the floor."""
    if np.sum(~np.isnan(values)) < survey.min_base:
        return np.nan, np.nan, np.nan, 0
    share, n, rows = share_of(survey, values, what)
    return share, *map(float, inference.wilson_interval(share, n, confidence)), rows


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
    require_share("confidence", confidence)
    say.refuse_if(not outcomes, "no_outcome")
    require_columns(table := survey.table, score, *controls, where="customers")
    marks = pd.to_numeric(table[score]).where(survey.weights() > 0).to_numpy(dtype=float, na_value=np.nan)
    did = _outcomes(survey, marks, score, outcomes, behavioural)
    definitions, rows, least = {}, [], max(LEAST, survey.min_base)
    for top, end in product((loyal, *thresholds), (disloyal, disloyal // 2, None) if against is None else against):
        name = f"{top:g} or more against {'all others' if end is None else f'at most {end:g}'}"
        others = (marks < top) & (True if end is None else digits.at_most(marks, end))
        groups = digits.at_least(marks, top), others
        definitions.setdefault(tuple(group.tobytes() for group in groups), (name, groups))  # of those that are one, one
    for outcome, (name, groups) in product(did, definitions.values()):
        values = [np.where(group, did[outcome], np.nan) for group in groups]
        if min(np.sum(~np.isnan(group)) for group in values) >= least:
            rows.append({"term": outcome, "definition": name, **_ratio(survey, values, claimed, confidence)})
    say.refuse_if(not rows, "few_loyal", score=score, least=least)
    found, (main, y) = pd.DataFrame(rows), next(iter(did.items()))
    found["p_adjusted"] = inference.adjusted_p_values(found["p_value"], correction="holm")
    clear, k, seen = found["p_adjusted"] < 1 - confidence, len(found), found[found["estimate"].notna()]
    above, below = int((clear & (found["conf_low"] > 1)).sum()), int((clear & (found["conf_high"] < 1)).sum())
    customary = (found["term"] == main) & (found["definition"] == f"{loyal:g} or more against at most {disloyal:g}")
    first = next(iter(found[customary].to_dict("records")), ends("estimate", np.nan, np.nan, np.nan))
    fit, adjusted = _adjusted(table, marks, y, controls, loyal, disloyal, confidence) if controls else (None, {})
    lowest, highest = seen["estimate"].min(), seen["estimate"].max()
    keys = ["none" if seen.empty else "range" if highest >= 2 else "fine range", *(["circle"] if behavioural else [])]
    keys += ["open" if not above + below else "sure bare" if np.isnan(first["estimate"]) else "sure"]
    if claimed and customary.any():
        keys += ["impossible" if claimed > first["most_possible"] else first["verdict"]]
    keys += [*(["one sided"] if k > len(seen) else []), *(["adjusted"] if adjusted else [])]
    summary = {"lowest": lowest, "highest": highest, "claimed": claimed if claimed else np.nan, **adjusted}
    summary |= {"n": int(found["n"].max()), "n_effective": float(found["n_effective"].max())}
    summary |= {"method": "ratio of shares, Koopman; Holm", "established": bool(above == k or below == k)}
    what, held_alike = (listing(map(survey.label, columns)) for columns in (did, controls))
    known = {**first, **summary, "what": what, "controls": held_alike, "least": LEAST, "k": k, "bare": k - len(seen)}
    known |= {"above": above, "below": below}
    when, few = survey.asked_at or "not stated", len(did) * len(definitions) - k
    whose = "past behaviour" if behavioural else "an answer"
    checks = (
        Check("loyal is no part of the outcome", whose, "an answer", not behavioural, "stops"),
        Check("when the score was given is known", when, "before the outcome", bool(survey.asked_at or behavioural)),
        Check("definitions with too few customers, left out", few, "0", few == 0, "info"),
    )
    whole = [f"{survey.label(t)}: {d}" for t, d in zip(found["term"], found["definition"])]
    found.insert(0, "group", whole if len(did) > 1 else found["definition"])
    drawn = dict(line=1, unit="times as often as the others; bars: the largest ratio that is possible")
    question = "loyalty_ratios", " ".join(did), score, found, summary, checks
    return Statement.of(say, keys, known, confidence, *question, source=survey, fitted=fit, figure=_figure, drawn=drawn)


def _outcomes(survey: Survey, marks, score, outcomes, behavioural) -> dict[str, np.ndarray]:
    """Return whether each outcome happened; refuse one that defines the groups, or begins before the score was given."""
    did = {outcome: happened(survey.table, outcome) for outcome in outcomes}
    for outcome, y in did.items():
        by = pd.Series(marks).groupby(y).agg(["min", "max"])
        circle = (outcome == score or not behavioural) and len(by) == 2 and by["min"][1.0] > by["max"][0.0]
        say.refuse_if(circle, "without_a_miss", score=score, outcome=outcome)
        if isinstance(outcomes, Mapping) and survey.asked_at:
            late = (pd.to_datetime(survey.table[survey.asked_at]) > pd.Timestamp(outcomes[outcome])).to_numpy()
            first = dict(day=outcomes[outcome], n=late.sum(), row=late.argmax())
            say.refuse_if(late.any(), "late", outcome=outcome, **first)
    return did


def _ratio(survey, groups, claimed, confidence) -> dict:
    """Return the ratio of two shares with its interval, the largest that is possible, and what it says of the claim."""
    (p1, n1, rows1), (p0, n0, rows0) = (share_of(survey, group, "a group of loyal customers") for group in groups)
    low, high = inference.ratio_interval(p1, n1, p0, n0, confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, odds, most = np.divide([p1, p1 * (1 - p0), 1], [p0, p0 * (1 - p1), p0])
    claim_p, verdict = np.nan, "none"
    if claimed:
        claim_p = float(inference.ratio_p_value(p1, n1, p0, n0, claimed)) if p0 * claimed <= 1 else 0.0
        close = low >= claimed / NEAR and high <= claimed * NEAR
        inside = "holds" if close else "not established"
        verdict = "smaller" if high < claimed else "larger" if low > claimed else inside
    found = ends("estimate", ratio if p0 > 0 else np.nan, low, high)
    found |= {"p_value": float(inference.ratio_p_value(p1, n1, p0, n0, 1.0)), "most_possible": most, "odds_ratio": odds}
    found |= {"gap": p1 - p0, "share_loyal": p1, "share_rest": p0, "claim_p": claim_p, "verdict": verdict}
    return found | {"n_loyal": rows1, "n_rest": rows0, "n": rows1 + rows0, "n_effective": n1 + n0}


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
    ratio = np.exp(inference.t_interval(fit.params["loyal"], fit.bse["loyal"], np.inf, confidence)[:3])
    return fit, ends("adjusted_ratio", *ratio) | {"e_value": inference.e_value(ratio[0])}


def stated_shares(responses, *, items=None, quoted=None, quoted_n=None, equivalence=0.05, confidence=0.95) -> Statement:
    """Return whether own customers state what is quoted of others.

    Wilson's interval on the design's effective base; Newcombe's of the difference. Lower or higher: Holm over the items.

    Parameters
    ----------
    responses : Survey or DataFrame
    items : columns of 0 and 1, or column -> threshold to agree; by default those that have a role of `quoted`
    quoted : mapping column or role -> share, 0-1; by default `published_claims`, by roles
    quoted_n : int, how many were asked for the quoted shares; None takes these as exact
    equivalence : float, 0-1: met where the interval of the difference lies within this

    Raises
    ------
    DataProblem
        A quoted share outside 0-1, an item that is not 0 and 1 and has no threshold, no item.

    Examples
    --------
    >>> import pandas as pd
    >>> answers = pd.DataFrame({"prefer": [1] * 760 + [0] * 240})
    >>> print(cx.stated_shares(answers, items=["prefer"], quoted={"prefer": 0.76}))
    1 of 1 quoted shares are met within 5 points, 0 are not (Holm). Here prefer 76.0 % (95 % interval ...
    """
    survey = as_survey(responses)
    require_share("confidence", confidence)
    quoted = held("published").dropna(subset="quoted").set_index("role")["quoted"] if quoted is None else quoted
    items = [item for role in quoted.keys() for item in survey.columns_of(role)] if items is None else items
    limits = items if isinstance(items, Mapping) else dict.fromkeys(items)
    say.refuse_if(not limits, "no_role", roles=listing(quoted.keys()))
    require_columns(survey.table, *limits, where="responses")
    rows = []
    for item, least in limits.items():
        q = next((quoted[name] for name in (item, *survey.roles.get(item, ())) if name in quoted), None)
        say.refuse_if(q is None or not 0 < q < 1, "no_quote", item=item, quoted=q)
        agree = happened(survey.table, item if least is None else f"`{item}` >= {least}")
        rows.append((*share_of(survey, agree, item), q))
    (share, n, answered, q), base = map(np.array, zip(*rows)), quoted_n or np.inf
    found = {"term": list(limits), **ends("estimate", share, *inference.wilson_interval(share, n, confidence))}
    gap = inference.newcombe_difference(share, n, q, base, confidence)
    z = (share - q) / np.sqrt(q * (1 - q) * (1 / n + 1 / base))
    found |= {"quoted": q, **ends("gap", share - q, *gap), "p_value": 2 * stats.norm.sf(np.abs(z))}
    table = pd.DataFrame(found | {"n": answered, "n_effective": n})
    table["p_adjusted"] = p = inference.adjusted_p_values(table["p_value"], correction="holm")
    off, met = p < 1 - confidence, (table["gap_low"] > -equivalence) & (table["gap_high"] < equivalence)
    verdict = np.select([met, off & (share < q), off], ["met", "lower", "higher"], "not established").astype(object)
    table["verdict"] = verdict
    first = table[:3].assign(item=table["term"].map(survey.label)).to_dict("records")
    first = [say.told("share", span=(row["conf_low"], row["conf_high"], confidence), **row) for row in first]
    known = dict(same=int(met.sum()), off=int((off & ~met).sum()), margin=100 * equivalence, asked=quoted_n)
    known |= dict(k=len(table), first=listing(first))
    check = Check("how many were asked for the quoted shares", quoted_n or "not known", "known", quoted_n is not None)
    summary = {"n": int(table["n"].max()), "n_effective": float(table["n_effective"].max())}
    summary |= {"method": "Wilson, linearised; Newcombe; Holm", "established": "not established" not in verdict}
    told = say, ["shares", "with error" if quoted_n else "exact"], known, confidence
    question = "stated_shares", " ".join(limits), None, table, summary, (check,)
    return Statement.of(*told, *question, source=survey, drawn=dict(scale=100, unit="share who state it, %"))


def said_and_did(customers, *, said, did, confidence: float = 0.95) -> Statement:
    """Return whether the same persons did what they said.

    Paired difference of shares, its error by the design; p is McNemar's (without correction) in a simple sample.

    Parameters
    ----------
    customers : Survey or DataFrame
    said, did : columns of 0 and 1, conditions, or days such as ``until`` (it happened where one stands)

    Raises
    ------
    DataProblem
        Fewer than 30 persons, or than the floor, are known in both.

    Examples
    --------
    >>> import pandas as pd
    >>> both = pd.DataFrame({"said": [1] * 80 + [0] * 20, "left": [1] * 8 + [0] * 92})
    >>> print(cx.said_and_did(both, said="said", did="left"))
    80 % say so and 8 % do: 72.0 points more say it (95 % interval 63.2 to 80.8; p < 0.001; n = 100). ...
    """
    survey = as_survey(customers)
    require_share("confidence", confidence)
    say.refuse_if(said is None, "nothing_said")
    a, b = (happened(survey.table, c) for c in (said, did))
    answered, least = ~np.isnan(a + b), max(LEAST, survey.min_base)
    say.refuse_if((n := int(answered.sum())) < least, "few_known", n=n, said=said, did=did, least=least)
    sample = survey.sample(answered, what=said)
    gap = (a - b)[sample.rows]
    mean, error, moved = sample.means(gap)[0], np.sqrt(sample.variance(gap)[0]), sample.sums(np.abs(gap))[0]
    span = inference.t_interval(mean, error, np.inf, confidence)[:3] if error > 0 else (mean, mean, mean)
    z = 0.0 if not moved else sample.sums(gap)[0] / np.sqrt(moved) if sample.plain else mean / error
    p = 2 * stats.norm.sf(abs(z))
    row = ends("estimate", *span) | {"p_value": p}
    row |= {"said": sample.means(a[sample.rows])[0], "did": sample.means(b[sample.rows])[0], "n": len(sample)}
    meant, others = (wilson_of(survey, np.where(answered & (a == v), b, np.nan), said, confidence) for v in (1, 0))
    known = row | ends("of_said", *meant[:3]) | {"of_others": others[0]}
    summary = {"n": len(sample), "n_effective": sample.n_effective, "did_if_said": meant[0], "did_if_not": others[0]}
    summary["method"] = f"paired difference of shares, {'McNemar' if sample.plain else 'linearised'}"
    summary["established"] = sure = bool(p < 1 - confidence)
    checks = (Check("persons known in both", n, "at least 100", n >= 100),)
    told = say, ["as said" if not sure else "more said" if mean > 0 else "more did", "calibration"], known, confidence
    table = pd.DataFrame([{"group": "all"} | row])
    question = "said_and_did", f"{said} and {did}", None, table, summary, checks
    drawn = dict(scale=100, line=0, unit="said it less did it, percentage points")
    return Statement.of(*told, *question, source=survey, drawn=drawn)
