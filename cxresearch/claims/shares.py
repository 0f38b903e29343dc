"""Stated shares against the quoted ones, what people said against what they did, and where the claims come from.

References
----------
Wilson (1927), JASA 22; Newcombe (1998), Statistics in Medicine 17:857-890; McNemar (1947), Psychometrika 12:153-157.
"""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.findings import Check, Statement, interval, listing, number, p_words, percent, words
from cxresearch.inference import adjusted_p_values, critical_value, newcombe_difference, wilson_interval
from cxresearch.survey import as_survey
from cxresearch.survey.where import rows_where

say = words(__package__)

QUOTED = {"claim_prefer": 0.76, "claim_switch": 0.86, "claim_service_over_price": 0.48}
PUBLISHED = (
    ("loyal customers forgive 6 times, buy again 5 times, recommend 2 times as often", "Temkin Group, quoted in the press",
     "US consumers, extreme groups of firms", "stated on six points, top two boxes; cross-sectional", 10_000),
    ("18 percentage points more repurchase after very good service", "Temkin Group 2014",
     "10,000 US consumers of 268-293 companies", "very good against very bad experience, stated", 10_000),
    ("76 % prefer the firm with better service", "Hyken, ACA study, quoted in the press", "US consumers, a weighted panel",
     "stated preference", None),
    ("86 % would switch after bad service", "Hyken, ACA study, quoted in the press", "US consumers, a weighted panel",
     "stated intention", None),
    ("48 % put service above price", "Hyken, ACA study, quoted in the press", "US consumers, a weighted panel",
     "stated preference", None),
)  # fmt: skip


def published_claims() -> pd.DataFrame:
    """Return claims that are often quoted: source, population, question, and how many were asked where that is known.

    Examples
    --------
    >>> import cxresearch as cx
    >>> list(cx.published_claims())
    ['claim', 'source', 'population', 'question', 'n']
    """
    return pd.DataFrame(PUBLISHED, columns=["claim", "source", "population", "question", "n"])


def happened(table: pd.DataFrame, what: str) -> np.ndarray:
    """Return 1 where something happened, 0 where not, missing where that is not known.

    `what` is a column of 0 and 1, a day (blank where it did not happen), or a condition such as ``revenue > 0``.
    """
    if what not in table.columns:
        met = rows_where(table, what).astype(float)
        used = [c for c in table.columns if re.search(rf"\b{re.escape(str(c))}\b", what)]
        return np.where(table[used].isna().any(axis=1), np.nan, met)
    if pd.api.types.is_datetime64_any_dtype(table[what]):
        return table[what].notna().to_numpy(dtype=float)
    values = pd.to_numeric(table[what], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    if len(odd := table[what][(table[what].notna()) & ~np.isin(values, (0, 1))]):
        raise DataProblem(
            f"{what} must be 0 or 1 (no or yes); found {odd.iloc[0]}: name a threshold, or a condition such as {what} > 0"
        )
    return values


def stated_shares(
    responses, *, items=None, quoted: Mapping[str, float] | None = None, quoted_n: int | None = None, equivalence: float = 0.05,
    confidence: float = 0.95,
) -> Statement:  # fmt: skip
    """Return whether own customers state what is quoted of others.

    Parameters
    ----------
    responses : Survey or DataFrame
    items : list of columns of 0 and 1, or mapping column -> threshold at or above which an answer agrees
        By default the items that have a role of `quoted`.
    quoted : mapping column or role -> share, 0-1
        By default the shares that are quoted most: claim_prefer, claim_switch and claim_service_over_price.
    quoted_n : int, optional
        How many were asked for the quoted shares; None takes these as exact.
    equivalence : float
        "Met" where the interval of the difference lies within this, 0-1.

    Raises
    ------
    DataProblem
        A quoted share outside 0-1, an item that is not 0 and 1 and has no threshold.

    Notes
    -----
    Wilson's interval on the design's effective base; Newcombe's of the difference. Lower or higher: Holm over the items.

    Examples
    --------
    >>> import cxresearch as cx
    >>> import pandas as pd
    >>> answers = pd.DataFrame({"prefer": [1] * 760 + [0] * 240})
    >>> print(cx.stated_shares(answers, items=["prefer"], quoted={"prefer": 0.76}))
    1 of 1 quoted shares are met within 5 points, 0 are not (Holm). Here prefer 76.0 % (95 % interval ...
    """
    survey = as_survey(responses)
    require_share("confidence", confidence)
    quoted = QUOTED if quoted is None else quoted
    items = [item for role in quoted for item in survey.columns_of(role)] if items is None else items
    limits = items if isinstance(items, Mapping) else {item: None for item in items}
    if not limits:
        raise DataProblem(f"no item has a role {listing(quoted)}: these claims cannot be tested here")
    require_columns(survey.table, *limits, where="responses")
    rows = []
    for item, least in limits.items():
        q = next((quoted[name] for name in (item, *survey.roles.get(item, ())) if name in quoted), None)
        if q is None or not 0 < q < 1:
            raise DataProblem(f"quoted= must give {item!r} a share between 0 and 1; found {q!r}")
        raw = survey.table[item].to_numpy(dtype=float, na_value=np.nan)
        values = happened(survey.table, item) if least is None else np.where(np.isnan(raw), np.nan, raw >= least)
        sample = survey.sample(~np.isnan(values), what=item)
        share, variance = sample.means(values[sample.rows])[0], sample.variance(values[sample.rows])[0]
        n = share * (1 - share) / variance if not sample.plain and variance > 0 else sample.n_effective
        low, high = wilson_interval(share, n, confidence)
        known = quoted_n is not None
        gap = newcombe_difference(share, n, q, quoted_n, confidence) if known else (low - q, high - q)
        z = (share - q) / np.sqrt(q * (1 - q) * (1 / n + (1 / quoted_n if known else 0.0)))
        rows.append({"term": item, "estimate": share, "conf_low": float(low), "conf_high": float(high), "quoted": q, "gap": share - q,
                     "gap_low": float(gap[0]), "gap_high": float(gap[1]), "p_value": 2 * stats.norm.sf(abs(z)),
                     "n": len(sample), "n_effective": n})  # fmt: skip
    table = pd.DataFrame(rows)
    table["p_adjusted"] = adjusted_p_values(table["p_value"], correction="holm")
    off = table["p_adjusted"] < 1 - confidence
    met = (table["gap_low"] > -equivalence) & (table["gap_high"] < equivalence)
    table["verdict"] = np.select(
        [met, off & (table["gap"] < 0), off], ["met", "lower", "higher"], "not established"
    ).astype(object)
    first = listing(
        say("share", item=survey.label(r["term"]), own=percent(r["estimate"], 1), span=interval(100 * r["conf_low"], 100 * r["conf_high"], confidence) + " %",
            n=number(r["n"], 0), quoted=percent(r["quoted"])) for _, r in table.head(3).iterrows()
    )  # fmt: skip
    words = (say("shares", same=int(met.sum()), k=len(table), off=int((off & ~met).sum()), margin=number(100 * equivalence, 0), first=first),
             say("exact") if quoted_n is None else say("with error", n=number(quoted_n, 0)))  # fmt: skip
    check = Check("how many were asked for the quoted shares", quoted_n or "not known", "known", quoted_n is not None)
    summary = {"n": int(table["n"].max()), "n_effective": float(table["n_effective"].max()), "method": "Wilson, linearised; Newcombe; Holm",
               "established": bool((table["verdict"] != "not established").all())}  # fmt: skip
    return Statement("stated_shares", " ".join(limits), None, table, summary, (check,), dict(survey.labels), words=" ".join(words), domain=survey.condition,
                  drawn=dict(scale=100, unit="share who state it, %"))  # fmt: skip


def said_and_did(customers, *, said: str, did: str, by: str | None = None, confidence: float = 0.95) -> Statement:
    """Return whether the same persons did what they said.

    Parameters
    ----------
    customers : Survey or DataFrame
    said, did : columns of 0 and 1, days, or conditions
        What was said, and what happened afterwards (a day such as ``until``: it happened where one stands).
    by : column, optional
        Groups, each a row; those under the floor are pooled or hidden.

    Raises
    ------
    TooFewRespondents
        Fewer than 30 persons, or than the floor, are known in both columns.

    Notes
    -----
    Paired difference of shares, its error by the design; p is McNemar's (without correction) in a simple sample.

    Examples
    --------
    >>> import cxresearch as cx
    >>> import pandas as pd
    >>> both = pd.DataFrame({"said": [1] * 80 + [0] * 20, "left": [1] * 8 + [0] * 92})
    >>> print(cx.said_and_did(both, said="said", did="left"))
    80 % say so and 8 % do: 72.0 points more say it (95 % interval 63.2 to 80.8; p < 0.001; n = 100). ...
    """
    survey = as_survey(customers)
    require_share("confidence", confidence)
    if said is None:
        raise DataProblem(
            "no item says what customers would do (role claim_switch): it cannot be held against what they did"
        )
    a, b = (happened(survey.table, c) for c in (said, did))
    answered = ~np.isnan(a) & ~np.isnan(b)
    if answered.sum() < max(30, survey.min_base):
        raise TooFewRespondents(
            f"{int(answered.sum())} persons are known in {said} and {did}; {max(30, survey.min_base)} are needed"
        )
    parts = [("all", survey.sample(answered, what=said))] + (
        [("by", survey.sample(answered, by=by, what=said))] if by else []
    )
    table = pd.concat([_pairs(sample, a, b, confidence, name) for name, sample in parts], ignore_index=True)
    sample, whole = parts[0][1], table.iloc[0]
    calibration = [_calibrated(survey, answered & (a == v), b, confidence) for v in (1, 0)]
    sure = whole["p_value"] < 1 - confidence
    known = dict(said=percent(whole["said"]), did=percent(whole["did"]), p=p_words(whole["p_value"]), n=number(whole["n"], 0),
                 span=interval(100 * whole["conf_low"], 100 * whole["conf_high"], confidence))  # fmt: skip
    key = "as said" if not sure else "more said" if whole["estimate"] > 0 else "more did"
    words = (say(key, **known, **({"gap": number(100 * abs(whole["estimate"]))} if sure else {})),
             say("calibration", of_said=percent(calibration[0][0]), of_others=percent(calibration[1][0]),
                 said_span=interval(100 * calibration[0][1], 100 * calibration[0][2], confidence) + " %"))  # fmt: skip
    summary = {"n": int(whole["n"]), "n_effective": sample.n_effective, "did_if_said": calibration[0][0], "did_if_not": calibration[1][0],
               "method": "paired difference of shares, McNemar" if sample.plain else "paired difference of shares, linearised",
               "established": bool(sure)}  # fmt: skip
    hidden = int(table["estimate"].isna().sum())
    check = Check("persons known in both", int(answered.sum()), "at least 100", bool(answered.sum() >= 100))
    return Statement("said_and_did", f"{said} and {did}", by, table, summary, (check,), dict(survey.labels), words=" ".join(words), suppressed=hidden,
                  domain=survey.condition, drawn=dict(scale=100, line=0, unit="said it less did it, percentage points"))  # fmt: skip


def _calibrated(survey, rows, values, confidence) -> tuple[float, float, float]:
    if rows.sum() < survey.min_base or not rows.any():
        return (np.nan,) * 3
    sample = survey.sample(rows, what="who said it")
    share = float(sample.means(values[sample.rows])[0])
    return share, *map(float, wilson_interval(share, sample.n_effective, confidence))


def _pairs(sample, a, b, confidence, name) -> pd.DataFrame:
    gap = (a - b)[sample.rows]
    mean, error = sample.means(gap), np.sqrt(sample.variance(gap))
    half = critical_value(confidence) * error
    moved, net = sample.sums(np.abs(gap)), sample.sums(gap)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(moved > 0, net / np.sqrt(moved), 0.0) if sample.plain else mean / error
    table = pd.DataFrame({
        "group": sample.keys["group"].astype(str) if name == "by" else [name], "estimate": mean, "conf_low": mean - half, "conf_high": mean + half,
        "p_value": 2 * stats.norm.sf(np.abs(z)), "said": sample.means(a[sample.rows]), "did": sample.means(b[sample.rows]), "n": sample.n,
    })  # fmt: skip
    hidden = sample.hidden if name == "by" else np.zeros(1, dtype=bool)
    return table.mask(np.repeat(hidden[:, None], table.shape[1], axis=1) & (np.arange(table.shape[1]) > 0))
