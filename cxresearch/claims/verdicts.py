"""What is said of customers, held against one's own: ratios of the loyal, stated shares, deeds, ten beliefs.

Zou (2004), Am. J. Epidemiology 159:702-706 (adjusted ratios by Poisson); McNemar (1947), Psychometrika 12:153-157;
the sources of the intervals of Koopman, Wilson, Newcombe and Feldt and of LMG's parts of R² stand in `inference`.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits, inference
from cxresearch.errors import require_columns, require_share
from cxresearch.findings import Check, Finding, ends, listing, words
from cxresearch.inference.pooling import cronbach_alpha, feldt_interval
from cxresearch.inference.shares import as_correlations, em_moments, residual_variances, shapley_parts, unpacked
from cxresearch.survey import Survey, as_survey, as_table
from cxresearch.survey.survey import person_codes, rows_where

say = words(__package__)

LEAST, ANSWERS = 30, 100  # persons in a group, and behind ten beliefs
NEAR = 1.25  # a claim holds where it lies inside the interval, and the interval within claim x/: this
KINDS = ("service", "product", "price", "digital", "personal", "emotion")
BEHAVIOUR, FOLDS = ("frequency", "recency", "tenure", "monetary"), 10


def table_of(name: str) -> pd.DataFrame:
    """Return a table of the room: what is published, what is believed."""
    return pd.read_csv(Path(__file__).with_name(f"{name}.csv"))


def published_claims() -> pd.DataFrame:
    """Return claims that are often quoted: source, population, question, and how many were asked where that is known.

    Examples
    --------
    >>> list(cx.published_claims())
    ['claim', 'source', 'population', 'question', 'n']
    """
    return table_of("published").drop(columns=["role", "quoted"])


def happened(table: pd.DataFrame, what: str) -> np.ndarray:
    """Return 1 where it happened, 0 where not, missing where unknown: a column of 0 and 1, days (blank: not), a condition."""
    if what not in table.columns:  # a comparison with a missing value is not met, nor is its opposite
        return np.select([rows_where(table, what), rows_where(table, f"not ({what})")], [1.0, 0.0], np.nan)
    days = pd.api.types.is_datetime64_any_dtype(table[what])
    return table[what].notna().to_numpy(dtype=float) if days else numbers(table, what, among=(0, 1))


def numbers(table: pd.DataFrame, column: str, *, among=None) -> np.ndarray:
    """Return a column as floats, missing where it is; what is no number, or not `among` those asked for, is refused."""
    values = pd.to_numeric(table[column].astype(object), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    odd = table[column][table[column].notna() & (np.isnan(values) if among is None else ~np.isin(values, among))]
    say.refuse_if(len(odd), "no_number" if among is None else "no_yes", what=column, value=next(iter(odd), None))
    return values


def share_of(survey: Survey, values: np.ndarray, what: str, confidence: float) -> tuple:
    """Return a share, Wilson's interval, its rows and effective base: p (1 - p) / SE^2 by design, Kish's of none or all."""
    sample = survey.sample(~np.isnan(values), what=what)
    share, variance = sample.means(values[sample.rows])[0], sample.variance(values[sample.rows])[0]
    simple = sample.plain or not 0 < share < 1 or variance <= 0
    n = sample.n_effective if simple else share * (1 - share) / variance
    return *map(float, (share, *inference.wilson_interval(share, n, confidence))), len(sample), n


def persons_in(survey: Survey, values: np.ndarray, parts=0) -> int:
    """Return how many persons values are known of, in rows with a weight; of several parts (n,), in the smallest."""
    person = np.arange(len(values)) if survey.respondent is None else person_codes(survey.table[survey.respondent])
    known = pd.DataFrame({"person": person, "part": parts})[~np.isnan(values) & (survey.weights() > 0)]
    return int(known.groupby("part")["person"].nunique().min()) if len(known) else 0


def loyalty_ratios(
    customers, *, score, outcomes, loyal: float = 9, disloyal: float = 6, claimed: float | None = None,
    thresholds=(8, 9, 10), against=None, controls=(), behavioural: bool = False, confidence: float = 0.95,
) -> Finding:  # fmt: skip
    """Return how many times as often loyal customers do something, under every definition of loyal.

    Koopman's interval on effective counts p (1 - p) / SE^2 of the design. Holm over all rows, of "the ratio is 1".
    Refused: an outcome not of 0 and 1, begun before the score, or that defines the groups; under 30 in a group.

    Parameters
    ----------
    customers : Survey or DataFrame, one row per customer
    score : column, answer given before the outcome; with ``behavioural=True`` past behaviour: the result is a circle
    outcomes : columns of 0 and 1, days, conditions such as ``revenue > 0``; or mapping to the first day of each window
    loyal, disloyal, claimed : float, customary groups, at or above and at or below; the ratio that is claimed
    thresholds, against : all definitions: at or above each threshold, against at or below each (None: all others)
    controls : columns held constant by a Poisson regression in the customary groups

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
    marks = np.where(survey.weights() > 0, numbers(table, score), np.nan)
    did = _outcomes(survey, marks, score, outcomes, behavioural)
    rows, asked, floor = [], 0, survey.min_base
    against = (disloyal, disloyal // 2, None) if against is None else against
    for outcome, y in did.items():
        definitions = {}  # of those that select the same people, the first
        for top, end in product((loyal, *thresholds), against):
            others = (marks < top) & (True if end is None else digits.at_most(marks, end))
            groups = [np.where(group, y, np.nan) for group in (digits.at_least(marks, top), others)]
            name = f"{top:g} or more against {'all others' if end is None else f'at most {end:g}'}"
            row = {"term": outcome, "definition": name}, groups
            definitions.setdefault(tuple(np.isnan(group).tobytes() for group in groups), row)
        asked, parts = asked + len(definitions), np.zeros(len(y), dtype=int)  # 0: in no group that is shown
        for row, groups in definitions.values():
            finer, _ = pd.factorize(np.append(0, 4 * parts + [2, 1] @ ~np.isnan(groups)))
            finer = finer[1:]  # groups that are shown tell of those between them
            fewest = persons_in(survey, np.where(finer, y, np.nan), finer)
            if fewest >= floor and all(np.sum(~np.isnan(group)) >= max(LEAST, floor) for group in groups):
                rows.append(row | _ratio(survey, groups, claimed or np.nan, confidence))
                parts = finer
    say.refuse_if(not rows, "few_loyal", score=score, least=max(LEAST, floor))
    found, (main, y) = pd.DataFrame(rows), next(iter(did.items()))
    found["p_adjusted"] = inference.adjusted_p_values(found["p_value"], correction="holm")
    clear, k, seen = found["p_adjusted"] < 1 - confidence, len(found), found[found["estimate"].notna()]
    above, below = int((clear & (found["conf_low"] > 1)).sum()), int((clear & (found["conf_high"] < 1)).sum())
    customary = (found["term"] == main) & (found["definition"] == f"{loyal:g} or more against at most {disloyal:g}")
    first = next(iter(found[customary].to_dict("records")), ends("estimate", np.nan, np.nan, np.nan))
    fit, adjusted = _adjusted(survey, marks, y, controls, loyal, disloyal, confidence) if controls else (None, {})
    lowest, highest = seen["estimate"].min(), seen["estimate"].max()
    keys = ["none" if seen.empty else "range" if highest >= 2 else "fine range", *(["circle"] if behavioural else [])]
    keys += ["open" if not above + below else "sure bare" if np.isnan(first["estimate"]) else "sure"]
    if claimed and customary.any():
        keys += ["impossible" if claimed > first["most_possible"] else first["verdict"]]
    keys += [*(["one sided"] if k > len(seen) else []), *(["adjusted"] if adjusted else [])]
    summary = {"lowest": lowest, "highest": highest, "claimed": claimed or np.nan, **adjusted}
    summary |= {"n": int(found["n"].max()), "n_effective": float(found["n_effective"].max())}
    summary |= {"method": "ratio of shares, Koopman; Holm", "established": bool(above == k or below == k)}
    what, held_alike = (listing(map(survey.label, columns)) for columns in (did, controls))
    known = dict(what=what, controls=held_alike, least=LEAST, k=k, bare=k - len(seen), above=above, below=below)
    when, whose = survey.asked_at or "not stated", "past behaviour" if behavioural else "an answer"
    checks = (
        Check("loyal is no part of the outcome", whose, "an answer", not behavioural, "stops"),
        Check("when the score was given is known", when, "before the outcome", bool(survey.asked_at or behavioural)),
        Check("definitions with too few customers, left out", asked - k, "0", asked == k, "info"),
    )
    whole = [f"{survey.label(t)}: {d}" for t, d in zip(found["term"], found["definition"])]
    found.insert(0, "group", whole if len(did) > 1 else found["definition"])
    drawn = dict(line=1, unit="times as often as the others; bars: the largest ratio that is possible")
    question = "loyalty_ratios", " ".join(did), score, found, summary, checks
    told = say, keys, first | summary | known, confidence
    return Finding.of(*told, *question, source=survey, fitted=fit, figure=_figure, drawn=drawn)


def _outcomes(survey: Survey, marks, score, outcomes, behavioural) -> dict[str, np.ndarray]:
    """Return whether each outcome happened; refuse one that defines the groups or begins before the score was given."""
    did = {outcome: happened(survey.table, outcome) for outcome in outcomes}
    for outcome, y in did.items():
        by = pd.Series(marks).groupby(y).agg(["min", "max"])
        circle = (outcome == score or not behavioural) and len(by) == 2 and by["min"][1.0] > by["max"][0.0]
        say.refuse_if(circle, "without_a_miss", score=score, outcome=outcome)
        if isinstance(outcomes, Mapping) and survey.asked_at:
            when = pd.to_datetime(survey.table[survey.asked_at]).dt.tz_localize(None)  # as the clock showed it
            late = (when > pd.Timestamp(outcomes[outcome])).to_numpy()
            say.refuse_if(late.any(), "late", outcome=outcome, day=outcomes[outcome], n=late.sum(), row=late.argmax())
    return did


def _ratio(survey, groups, claimed, confidence) -> dict:
    """Return the ratio of two shares with its interval, the largest that is possible, and what it says of the claim."""
    (p1, *_, r1, n1), (p0, *_, r0, n0) = (share_of(survey, g, "a group of loyal customers", confidence) for g in groups)
    low, high = inference.ratio_interval(p1, n1, p0, n0, confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, odds, most = np.divide([p1, p1 * (1 - p0), 1], [p0, p0 * (1 - p1), p0])
    claim_p = 0.0 if p0 * claimed > 1 else float(inference.ratio_p_value(p1, n1, p0, n0, claimed))
    verdicts = {"none": np.isnan(claimed), "smaller": high < claimed, "larger": low > claimed}
    verdicts["holds"] = low >= claimed / NEAR and high <= claimed * NEAR
    verdict = next((name for name, met in verdicts.items() if met), "not established")
    found = ends("estimate", ratio if p0 > 0 else np.nan, low, high)
    found |= {"p_value": float(inference.ratio_p_value(p1, n1, p0, n0, 1.0)), "most_possible": most, "odds_ratio": odds}
    found |= {"gap": p1 - p0, "share_loyal": p1, "share_rest": p0, "claim_p": claim_p, "verdict": verdict}
    return found | {"n_loyal": r1, "n_rest": r0, "n": r1 + r0, "n_effective": n1 + n0}


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


def _adjusted(survey, marks, y, controls, loyal, disloyal, confidence) -> tuple[object, dict]:
    """Return the weighted Poisson fit of the customary groups, its ratio with interval, and its E-value (Zou 2004)."""
    from statsmodels.genmod.generalized_linear_model import GLM, families
    from statsmodels.tools import add_constant

    table, weights = survey.table, survey.weights()
    rows = ((marks >= loyal) | (marks <= disloyal)) & ~np.isnan(y) & table[[*controls]].notna().all(axis=1).to_numpy()
    X = pd.get_dummies(table.loc[rows, [*controls]], drop_first=True).astype(float)
    X.insert(0, "loyal", (marks[rows] >= loyal).astype(float), allow_duplicates=True)  # a control may be called so, too
    known = dict(family=families.Poisson(), var_weights=weights[rows] / weights[rows].mean())
    fit = GLM(y[rows], add_constant(X, prepend=False), **known).fit(cov_type="HC1")
    ratio = np.exp(inference.t_interval(fit.params.iloc[0], fit.bse.iloc[0], np.inf, confidence)[:3])
    return fit, ends("adjusted_ratio", *ratio) | {"e_value": inference.e_value(ratio[0])}


def stated_shares(responses, *, items=None, quoted=None, quoted_n=None, equivalence=0.05, confidence=0.95) -> Finding:
    """Return whether own customers state what is quoted of others.

    Wilson's interval on the design's effective base, Newcombe's of the difference. Lower or higher: Holm over items.
    Refused: a quoted share outside 0-1, an item that is not 0 and 1 and has no threshold, no item.

    Parameters
    ----------
    responses : Survey or DataFrame
    items : columns of 0 and 1, or column -> threshold to agree; by default those that have a role of `quoted`
    quoted : mapping column or role -> share, 0-1; by default `published_claims`, by roles
    quoted_n : int, how many were asked for the quoted shares; None takes these as exact
    equivalence : float, 0-1: met where the interval of the difference lies within this

    Examples
    --------
    >>> import pandas as pd
    >>> answers = pd.DataFrame({"prefer": [1] * 760 + [0] * 240})
    >>> print(cx.stated_shares(answers, items=["prefer"], quoted={"prefer": 0.76}))
    1 of 1 quoted shares are met within 5 points, 0 are not (Holm). Here prefer 76.0 % (95 % interval ...
    """
    survey = as_survey(responses)
    require_share("confidence", confidence)
    quoted = table_of("published").dropna(subset="quoted").set_index("role")["quoted"] if quoted is None else quoted
    items = [item for role in quoted.keys() for item in survey.columns_of(role)] if items is None else items
    limits = items if isinstance(items, Mapping) else dict.fromkeys(items)
    say.refuse_if(not limits, "no_role", roles=listing(quoted.keys()))
    require_columns(survey.table, *limits, where="responses")
    rows = []
    for item, least in limits.items():
        q = next((quoted[name] for name in (item, *survey.roles.get(item, ())) if name in quoted), None)
        say.refuse_if(q is None or not 0 < q < 1, "no_quote", item=item, quoted=q)
        limit = pd.to_numeric(1 if least is None else least, errors="coerce")
        say.refuse_if(np.isnan(limit), "no_threshold", item=item, least=least)
        answers = happened(survey.table, item) if least is None else numbers(survey.table, item)
        agree = np.where(np.isnan(answers), np.nan, digits.at_least(answers, limit))
        rows.append((*share_of(survey, agree, item, confidence), q))
    (*span, answered, n, q), base = map(np.array, zip(*rows)), quoted_n or np.inf
    found, share = {"term": list(limits), **ends("estimate", *span), "quoted": q}, span[0]
    gap = inference.newcombe_difference(share, n, q, base, confidence)
    z = (share - q) / np.sqrt(q * (1 - q) * (1 / n + 1 / base))
    found |= {**ends("gap", share - q, *gap), "p_value": 2 * stats.norm.sf(np.abs(z))}
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
    return Finding.of(*told, *question, source=survey, drawn=dict(scale=100, unit="share who state it, %"))


def said_and_did(customers, *, said, did, confidence: float = 0.95) -> Finding:
    """Return whether the same persons did what they said.

    Paired difference of shares, its error by the design; p is McNemar's (without correction) in a simple sample.
    Refused: fewer than 30 persons, or than the floor, known in both.

    Parameters
    ----------
    customers : Survey or DataFrame
    said, did : columns of 0 and 1, conditions, or days such as ``until`` (it happened where one stands)

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
    row = ends("estimate", *span) | {"p_value": (p := 2 * stats.norm.sf(abs(z)))}
    row |= {"said": sample.means(a[sample.rows])[0], "did": sample.means(b[sample.rows])[0], "n": len(sample)}
    parts = [np.where(answered & (a == value), b, np.nan) for value in (1, 0)]
    base = [persons_in(survey, part) for part in parts]
    few = any(0 < n < survey.min_base for n in base)  # of both, since one alone would tell the other
    parts = [[np.nan] * 3 if few or not n else share_of(survey, part, said, confidence) for part, n in zip(parts, base)]
    (meant, low, high, *_), (others, *_) = parts
    known = row | ends("of_said", meant, low, high) | {"of_others": others}
    summary = {"n": len(sample), "n_effective": sample.n_effective, "did_if_said": meant, "did_if_not": others}
    summary["method"] = f"paired difference of shares, {'McNemar' if sample.plain else 'linearised'}"
    summary["established"] = sure = bool(p < 1 - confidence)
    told = say, ["as said" if not sure else "more said" if mean > 0 else "more did", "calibration"], known, confidence
    check = Check("persons known in both", n, "at least 100", n >= 100)
    question = "said_and_did", f"{said} and {did}", None, pd.DataFrame([{"group": "all"} | row]), summary, (check,)
    drawn = dict(scale=100, line=0, unit="said it less did it, percentage points")
    return Finding.of(*told, *question, source=survey, drawn=drawn)


def weigh_myths(
    responses, *, outcome, kinds: Mapping[str, str], satisfaction=None, customers=None, owners=None, revenue=None,
    n_boot: int = 1000, confidence: float = 0.95, seed,
) -> Finding:  # fmt: skip
    """Weigh ten beliefs about customer experience: refuted, supported, open, or not to be tested on these data.

    Parts of R² by LMG (answers missing at random, EM), bootstrapped; shares Wilson on the design's base; alpha Feldt;
    R² added in ten folds. All intervals hold together (Bonferroni over those tested); verdicts rest on them.
    Refused: an unknown kind, a column that is not there, fewer than 100 answers to the outcome.

    Parameters
    ----------
    responses : Survey or DataFrame
    outcome, satisfaction, revenue : columns; the last two are optional, revenue is that after the answer
    kinds : mapping driver -> service, product, price, digital, personal or emotion
    customers : Table or DataFrame of all customers, with a column ``customer``, optional
    owners : mapping driver -> department that answers for it, optional

    Examples
    --------
    >>> kinds = {"staff": "personal", "support": "service", "website": "digital", "products": "product"}
    >>> print(cx.weigh_myths(study.responses, outcome="satisfaction", kinds=kinds, n_boot=100, seed=1))
    Of ten beliefs ... are refuted here, ... supported, ... open, ... cannot be tested (n = 2,...
    """
    survey, everyone = as_survey(responses), None if customers is None else as_table(customers).table
    require_share("confidence", confidence)
    require_columns(survey.table, outcome, satisfaction, revenue, *kinds, where="responses")
    for kind in kinds.values():
        say.refuse_if(kind not in KINDS, "no_known_kind", kind=kind, known=listing(KINDS))
    behaviour = [column for column in BEHAVIOUR if revenue and column in survey.table]
    asked = dict.fromkeys(c for c in (outcome, satisfaction, revenue, *kinds, *behaviour) if c is not None)
    answers = pd.DataFrame({column: numbers(survey.table, column) for column in asked})
    answered = int(answers[outcome].notna().sum())
    say.refuse_if(answered < ANSWERS, "few_answers", n=answered, outcome=outcome, least=ANSWERS)
    tests = {"cost": say["no cost"]} | _explained(survey, answers, outcome, kinds, owners or {}, n_boot, seed)
    more = {"satisfaction": (satisfaction, [item for item in kinds if item != satisfaction])}
    for name, columns in (more | {"behaviour": (outcome, behaviour)}).items():
        tests[name] = _added(survey, answers, revenue, *columns, seed) or say[f"no {name}"]
    tests["product"], products = say["no product"], [item for item, kind in kinds.items() if kind == "product"]
    if len(products) == 1:
        ratings, y = answers[[*products, outcome]].to_numpy().T
        low, top = survey.scales.get(outcome, (np.nanmin(y), np.nanmax(y)))
        best = ratings >= survey.scales.get(products[0], (0, np.nanmax(ratings)))[1]
        poor = np.where(best & np.isfinite(y), y <= (low + top) / 2, np.nan)
        enough = np.isfinite(poor).sum() >= max(LEAST, survey.min_base)
        tests["product"] = partial(share_of, survey, poor, products[0]) if enough else say["few products"]
    tests["silent"] = say["no customers"]
    if everyone is not None and len(everyone) >= survey.min_base and "customer" in {*everyone} & {*survey.table}:
        silent = ~everyone["customer"].isin(survey.table["customer"]).to_numpy()
        tests["silent"] = partial(share_of, Survey(everyone), silent.astype(float), "customers")
    k, rows = sum(map(callable, tests.values())), []
    level = 1 - (1 - confidence) / max(k, 1)
    for name, belief, estimated, limit, side in table_of("beliefs").fillna({"estimated": ""}).itertuples(index=False):
        able = callable(test := tests[name])
        estimate, low, high, n, *_ = test(level) if able else (np.nan, np.nan, np.nan, 0)
        beyond, within = (low > limit, high < limit)[:: 1 if side == "above" else -1]
        verdict = "refuted" if beyond else "supported" if within else "not established"
        row = {"term": belief, "estimated": estimated, **ends("estimate", estimate, low, high)}
        row["rule"], row["verdict"] = (f"interval {side} {limit:g}", verdict) if able else ("", "cannot be tested")
        rows.append(row | {"n": n, "untested": "" if able else test})
    table = pd.DataFrame(rows)
    refuted, supported, unsure = ((table["verdict"] == v).sum() for v in ("refuted", "supported", "not established"))
    names = listing(f"“{term}”" for term in table["term"][table["verdict"] == "refuted"])
    known = dict(supported=supported, open=unsure, untested=len(table) - k, k=k, names=names)
    check = Check("beliefs that these data cannot test", len(table) - k, "0", k == len(table), "info")
    summary = {"refuted": int(refuted), "tested": k, "n": answered, "method": "a rule a belief; Bonferroni"}
    summary["established"] = bool(refuted + supported)
    told = say, ["myths", "myths more" if refuted else "no myths"], known, confidence
    marked = table["verdict"][table["estimate"].notna()] == "refuted"
    drawn = dict(unit="estimate with interval; in colour: refuted", marked=marked)
    return Finding.of(*told, "weigh_myths", outcome, None, table, summary, (check,), source=survey, drawn=drawn)


def _explained(survey, answers, outcome, kinds, owners, n_boot, seed) -> dict:
    """Return by name what the ratings explain (LMG) by kind and by the owner of the second most, and their reliability:
    functions of a level to estimate, low, high and rows, or the text that says why there is none."""
    columns, k = answers[[*kinds, outcome]].to_numpy(), len(kinds)
    known = np.isfinite(columns)

    @cache
    def parts() -> tuple[np.ndarray, int]:
        """Return each driver's share of R², (drivers, 1 + n_boot), the estimate before the draws; and the rows."""
        sample = survey.sample(known[:, -1] & known[:, :-1].any(axis=1), what=outcome)
        moments = em_moments(columns[sample.rows], sample.weights)
        weights = None, *sample.replicates(n_boot, seed=seed)
        drawn = (residual_variances(as_correlations(moments.covariances(w)), [1] * k) for w in weights)
        parts = np.concatenate([*map(shapley_parts, drawn)], axis=1)
        return parts / parts.sum(axis=0), len(sample)

    def of(items, level):
        shares, n = parts()
        share, *drawn = shares[[item in items for item in kinds]].sum(axis=0)
        return share, *inference.percentile_interval(drawn, level), n

    def alpha(level):
        sample = survey.sample(known[:, :-1].any(axis=1), what="ratings")
        moments = em_moments(columns[sample.rows, :-1], sample.weights)
        alpha = cronbach_alpha(unpacked(as_correlations(moments.covariances()))[0])
        return alpha, *feldt_interval(alpha, sample.n_effective, k, level), len(sample)

    tests = {"alpha": alpha if k > 1 else say["few ratings"]}
    for kind in ("service", "personal", "digital"):
        items = [item for item, its in kinds.items() if its == kind]
        some = 0 < len(items) < k
        tests[kind] = partial(of, items) if some else say("one kind" if items else "no kind", kind=kind)
    owner = pd.Series({item: owners.get(item) for item in kinds}, dtype=object)
    owned = [list(items.index) for _, items in owner.groupby(owner, sort=False)]
    second = sorted(owned, key=lambda items: -of(items, 0.5)[0])[1:2] if len(owned) > 1 else []
    return tests | {"owners": partial(of, *second) if second else say["no owners"]}


def _added(survey, answers, revenue, first, more, seed):
    """Return the test of what `more` columns add to the R² of revenue, in folds of persons; None without them."""
    if revenue is None or first is None or not more:
        return None
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    columns = answers[[revenue, first, *more]].to_numpy()
    sample = survey.sample(np.isfinite(columns[:, :2]).all(axis=1), what=revenue)
    values, w = columns[sample.rows], sample.weights
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    codes, y = np.arange(len(values)) if sample.persons is None else sample.persons, values[:, 0]
    folds = PredefinedSplit(np.random.default_rng(seed).permutation(codes.max() + 1)[codes] % FOLDS)
    asked = dict(y=y, cv=folds, params={"sample_weight": w})
    one, all_ = (y - cross_val_predict(LinearRegression(), values[:, 1:k], **asked) for k in (2, values.shape[1]))
    gain = (one**2 - all_**2) / np.average((y - np.average(y, weights=w)) ** 2, weights=w)
    mean, error = float(sample.means(gain)[0]), float(np.sqrt(sample.variance(gain)[0]))
    return lambda level: (*inference.t_interval(mean, error, np.inf, level)[:3], len(values))
