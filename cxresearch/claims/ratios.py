"""Do loyal customers do it so much more often? Ratios under every definition, and the largest that is possible.

References
----------
Koopman (1984), Biometrics 40:513-517; Zou (2004), Am. J. Epidemiology 159:702-706 (adjusted ratios by Poisson);
VanderWeele & Ding (2017), Annals of Internal Medicine 167:268-274 (E-value).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.claims.shares import happened
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.findings import Check, Statement, ends, interval, listing, number, p_words, words
from cxresearch.inference import adjusted_p_values
from cxresearch.inference.ratios import ratio_interval, ratio_p_value
from cxresearch.survey import Survey, as_survey

say = words(__package__)

NEAR = 1.25  # a claim holds where it lies inside the interval, and the interval within claim x/: this


@dataclass(frozen=True, repr=False, eq=False)
class LoyaltyRatios(Statement):
    """One row per outcome and definition: ratio of shares with its interval, and the largest that is possible."""

    def plot(self, ax=None):
        """Draw the ratios on a log axis; shaded where no ratio can lie, dashed at what is claimed."""
        ax = super().plot(ax)
        shown = self.table[self.table["estimate"].notna()]
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
        for at, most in enumerate(shown["most_possible"]):
            ax.plot([most], [at], "|", color="#1A1A1A", markersize=14)
        if np.isfinite(self.summary.get("claimed", np.nan)):
            ax.axvline(self.summary["claimed"], color="#DA7200", linestyle=":", linewidth=2)
        return ax


def loyalty_ratios(
    customers, *, score: str, outcomes: Sequence[str] | Mapping[str, object], loyal: float = 9, disloyal: float = 6,
    claimed: float | None = None, thresholds: Sequence[float] = (8, 9, 10), against: Sequence[float | None] | None = None,
    controls: Sequence[str] = (), behavioural: bool = False, confidence: float = 0.95, min_rows: int = 30,
) -> LoyaltyRatios:  # fmt: skip
    """Return how many times as often loyal customers do something, under every definition of loyal.

    Parameters
    ----------
    customers : Survey or DataFrame
        One row per customer.
    score : column
        Answer given before the outcome; or, with ``behavioural=True``, past behaviour: the result is then a circle.
    outcomes : list, or mapping outcome -> first day of its window
        Columns of 0 and 1, days, or conditions such as ``revenue > 0``. With days, and a survey that knows when it was asked, outcomes that begin before an answer are refused.
    loyal, disloyal : float
        Customary groups: at or above, at or below.
    claimed : float, optional
        Ratio that is claimed.
    thresholds, against : sequences
        All definitions: at or above each threshold, against those at or below each of `against` (None: all others).
    controls : sequence of columns
        Held constant by a Poisson regression in the customary groups.
    min_rows : int
        Definitions with fewer answers in a group are left out and counted.

    Raises
    ------
    DataProblem
        An outcome not of 0 and 1, begun before the score, or that defines the groups.
    TooFewRespondents
        No definition has enough answers.

    Notes
    -----
    Koopman's interval on effective counts p (1 - p) / SE^2 of the design. Holm over all rows, of "the ratio is 1".

    Examples
    --------
    >>> import cxresearch as cx
    >>> import pandas as pd
    >>> table = pd.DataFrame({"score": [9] * 40 + [5] * 80, "again": [1] * 36 + [0] * 4 + [1] * 16 + [0] * 64})
    >>> print(cx.loyalty_ratios(table, score="score", outcomes=["again"]))
    again: loyal customers do so 4.5 to 4.5 times as often, over 1 definitions (n = 120). ...
    """
    survey = as_survey(customers)
    table = survey.table
    require_share("confidence", confidence)
    if not outcomes:
        raise DataProblem("no outcome is given (role claim_forgive, or revenue): the claim cannot be tested here")
    require_columns(table, score, *controls, where="customers")
    did = {outcome: happened(table, outcome) for outcome in outcomes}
    _refuse(survey, table, did, score, outcomes, behavioural)
    against = (disloyal, disloyal // 2, None) if against is None else against
    marks = pd.to_numeric(table[score]).to_numpy(dtype=float, na_value=np.nan)
    rows, few = [], 0
    for outcome in outcomes:
        y, seen = did[outcome], []
        for top in dict.fromkeys((loyal, *thresholds)):
            for end in dict.fromkeys(against):
                groups = (
                    digits.at_least(marks, top),
                    (marks < top) if end is None else digits.at_most(marks, end) & (marks < top),
                )
                groups = [g & ~np.isnan(y) for g in groups]
                if any((groups[0] == a).all() and (groups[1] == b).all() for a, b in seen):
                    continue
                seen.append(groups)
                if min(g.sum() for g in groups) < max(min_rows, survey.min_base):
                    few += 1
                    continue
                rows.append(
                    _row(survey, y, groups, outcome, top, end, claimed, confidence)
                    | {"customary": top == loyal and end == disloyal}
                )
    if not rows:
        raise TooFewRespondents(
            f"no definition of loyal by {score} leaves {max(min_rows, survey.min_base)} customers in both groups"
        )
    found = pd.DataFrame(rows)
    found["p_adjusted"] = adjusted_p_values(found["p_value"], correction="holm")
    return _made(
        survey,
        table,
        found,
        score,
        list(outcomes),
        claimed,
        controls,
        marks,
        loyal,
        disloyal,
        behavioural,
        confidence,
        few,
    )


def _refuse(survey: Survey, table, did, score, outcomes, behavioural) -> None:
    for outcome in outcomes:
        values = pd.Series(did[outcome], table.index).dropna()
        if outcome == score:
            raise DataProblem(
                f"{score} is both the score and an outcome: groups that the outcome defines prove nothing"
            )
        known = pd.to_numeric(table[score], errors="coerce")[values.index]
        if not behavioural and values.nunique() == 2 and (known[values == 1].min() > known[values == 0].max()):
            raise DataProblem(f"{score} tells {outcome} without a miss: groups that the outcome defines prove nothing")
        if isinstance(outcomes, Mapping) and survey.asked_at:
            late = pd.to_datetime(table[survey.asked_at]) > pd.Timestamp(outcomes[outcome])
            if late.any():
                raise DataProblem(
                    f"{outcome} counts from {outcomes[outcome]} on, but {int(late.sum())} answers are later (first: row "
                    f"{int(late.argmax())}); take a window that begins after the last answer, or drop these rows"
                )


def _group(survey: Survey, y, rows) -> tuple[float, float, int]:
    """Return the share of a group, its effective base, and its rows."""
    sample = survey.sample(rows, what="a group of loyal customers")
    share, variance = sample.means(y[sample.rows])[0], sample.variance(y[sample.rows])[0]
    plain = sample.plain or not 0 < share < 1 or variance <= 0
    return (
        share,
        len(sample) if sample.plain else sample.n_effective if plain else share * (1 - share) / variance,
        len(sample),
    )


def _row(survey, y, groups, outcome, top, end, claimed, confidence) -> dict:
    (p1, n1, rows1), (p0, n0, rows0) = (_group(survey, y, g) for g in groups)
    low, high = (float(v) for v in ratio_interval(p1, n1, p0, n0, confidence))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, odds = np.divide(p1, p0), np.divide(p1 * (1 - p0), p0 * (1 - p1))
    claim_p = (
        float(ratio_p_value(p1, n1, p0, n0, claimed)) if claimed and p0 * claimed <= 1 else 0.0 if claimed else np.nan
    )
    holds = claimed and low <= claimed <= high
    close = holds and low >= claimed / NEAR and high <= claimed * NEAR
    verdict = (
        "none"
        if not claimed
        else "holds"
        if close
        else "not established"
        if holds
        else "smaller"
        if high < claimed
        else "larger"
    )
    other = "all others" if end is None else f"at most {end:g}"
    return {
        "term": outcome, "definition": f"{top:g} or more against {other}", "estimate": ratio if p0 > 0 else np.nan,
        "conf_low": low, "conf_high": high, "p_value": float(ratio_p_value(p1, n1, p0, n0, 1.0)),
        "most_possible": 1 / p0 if p0 > 0 else np.inf, "odds_ratio": odds, "gap": p1 - p0, "share_loyal": p1,
        "share_rest": p0, "claim_p": claim_p, "verdict": verdict, "n_loyal": rows1, "n_rest": rows0,
        "n": rows1 + rows0, "n_effective": n1 + n0,
    }  # fmt: skip


def _made(
    survey, table, found, score, outcomes, claimed, controls, marks, loyal, disloyal, behavioural, confidence, few
):
    clear = (found["p_adjusted"] < 1 - confidence).to_numpy()
    first = found[found["customary"] & (found["term"] == outcomes[0])]
    first = first.iloc[0] if len(first) else None
    seen = found[found["estimate"].notna()]
    n, k, fine = int(found["n"].max()), len(found), 1 if seen["estimate"].max() >= 2 else 2
    above, below = int((clear & (found["conf_low"] > 1)).sum()), int((clear & (found["conf_high"] < 1)).sum())
    words = [say("range", what=listing(survey.label(o) for o in outcomes), low=number(seen["estimate"].min(), fine), high=number(seen["estimate"].max(), fine),
                 k=k, n=number(n, 0)) if len(seen) else say("none", what=listing(outcomes), least=30)]  # fmt: skip
    words += [say("circle")] if behavioural else []
    if not above + below:
        words.append(say("open", above=0, k=k))
    elif first is None or np.isnan(first["estimate"]):
        words.append(say("sure bare", above=above, below=below, k=k))
    else:
        words.append(
            say(
                "sure",
                above=above,
                below=below,
                k=k,
                ratio=number(first["estimate"], 2),
                span=interval(first["conf_low"], first["conf_high"], confidence, 2),
            )
        )
    if claimed and first is not None:
        known = dict(claimed=number(claimed, 1))
        if claimed > first["most_possible"]:
            words.append(
                say("impossible", most=number(first["most_possible"], 2), odds=number(first["odds_ratio"], 2), **known)
            )
        else:
            more = {"p": p_words(first["claim_p"])} if first["verdict"] in ("smaller", "larger") else {}
            words.append(say(first["verdict"], **known, **more))
    if (bare := k - len(seen)) > 0:
        words.append(say("one sided", k=bare))
    fit, adjusted = (
        (None, {})
        if not controls
        else _adjusted(table, marks, happened(table, outcomes[0]), controls, loyal, disloyal, confidence)
    )
    if adjusted:
        words.append(say("adjusted", controls=listing(map(survey.label, controls)), ratio=number(adjusted["adjusted_ratio"], 2), e=number(adjusted["e_value"], 2),
                         span=interval(adjusted["adjusted_ratio_low"], adjusted["adjusted_ratio_high"], confidence, 2)))  # fmt: skip
    checks = (
        Check("loyal is no part of the outcome", "past behaviour" if behavioural else "an answer", "an answer", not behavioural, "stops"),
        Check("when the score was given is known", survey.asked_at or "not stated", "before the outcome", bool(survey.asked_at or behavioural)),
        Check("definitions with too few customers, left out", few, "0", few == 0, "info"),
    )  # fmt: skip
    summary = {"lowest": seen["estimate"].min(), "highest": seen["estimate"].max(), "claimed": claimed if claimed else np.nan, **adjusted,
               "n": n, "n_effective": float(found["n_effective"].max()), "method": "ratio of shares, Koopman; Holm",
               "established": bool(above == k or below == k)}  # fmt: skip
    rows = found.drop(columns="customary")
    named = [f"{survey.label(t)}: {d}" if len(outcomes) > 1 else d for t, d in zip(rows["term"], rows["definition"])]
    rows.insert(0, "group", named)
    return LoyaltyRatios(
        "loyalty_ratios", " ".join(outcomes), score, rows, summary, checks, dict(survey.labels), words=" ".join(words), fitted=fit,
        drawn=dict(line=1, unit="times as often as the others; bars: the largest ratio that is possible"), domain=survey.condition,
    )  # fmt: skip


def _adjusted(table, marks, y, controls, loyal, disloyal, confidence) -> tuple[object, dict]:
    """Return the Poisson fit of the customary groups, its ratio with interval, and its E-value (Zou 2004)."""
    import statsmodels.api as sm

    rows = (marks >= loyal) | (marks <= disloyal)
    part = table.assign(loyal=(marks >= loyal).astype(float), happened=y)[rows].dropna(subset=["happened", *controls])
    X = pd.get_dummies(part[["loyal", *controls]], drop_first=True).astype(float)
    fit = sm.GLM(part["happened"], sm.add_constant(X), family=sm.families.Poisson()).fit(cov_type="HC1")
    half = stats.norm.ppf((1 + confidence) / 2) * fit.bse["loyal"]
    ratio, low, high = np.exp(fit.params["loyal"] + np.array([0.0, -half, half]))
    away = max(ratio, 1 / ratio)
    return fit, ends("adjusted_ratio", ratio, low, high) | {"e_value": float(away + np.sqrt(away * (away - 1)))}
