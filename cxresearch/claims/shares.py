"""Stated shares against the quoted ones, what people said against what they did, and where the claims come from.

Wilson (1927), JASA 22; Newcombe (1998), Statistics in Medicine 17:857-890; McNemar (1947), Psychometrika 12:153-157.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import require_columns, require_share
from cxresearch.findings import Check, Statement, ends, listing, words
from cxresearch.inference import adjusted_p_values, newcombe_difference, t_interval, wilson_interval
from cxresearch.survey import Survey, as_survey
from cxresearch.survey.survey import rows_where

say = words(__package__)

LEAST = 30  # persons in a group


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


def happened(table: pd.DataFrame, what: str, least: float | None = None) -> np.ndarray:
    """Return 1 where something happened, 0 where not, missing where that is not known.

    `what` is a column of 0 and 1 (or of numbers, `least` and above), a day (blank where it did not happen), or a
    condition such as ``revenue > 0``.
    """
    if what not in table.columns:
        used = [c for c in table.columns if re.search(rf"\b{re.escape(str(c))}\b", what)]
        return np.where(table[used].isna().any(axis=1), np.nan, rows_where(table, what))
    if pd.api.types.is_datetime64_any_dtype(table[what]):
        return table[what].notna().to_numpy(dtype=float)
    values = pd.to_numeric(table[what], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    if least is not None:
        return np.where(np.isnan(values), np.nan, values >= least)
    odd = table[what][(table[what].notna()) & ~np.isin(values, (0, 1))]
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
    if np.sum(~np.isnan(values)) < max(survey.min_base, 1):
        return np.nan, np.nan, np.nan, 0
    share, n, rows = share_of(survey, values, what)
    return share, *map(float, wilson_interval(share, n, confidence)), rows


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
        share, n, answered = share_of(survey, happened(survey.table, item, least), item)
        low, high = map(float, wilson_interval(share, n, confidence))
        gap = newcombe_difference(share, n, q, quoted_n, confidence) if quoted_n else (low - q, high - q)
        z = (share - q) / np.sqrt(q * (1 - q) * (1 / n + (1 / quoted_n if quoted_n else 0.0)))
        row = {"term": item, **ends("estimate", share, low, high), "quoted": q}
        row |= ends("gap", share - q, *map(float, gap)) | {"p_value": 2 * stats.norm.sf(abs(z))}
        rows.append(row | {"n": answered, "n_effective": n})
    table = pd.DataFrame(rows)
    table["p_adjusted"] = adjusted_p_values(table["p_value"], correction="holm")
    off, below = table["p_adjusted"] < 1 - confidence, table["gap"] < 0
    met = (table["gap_low"] > -equivalence) & (table["gap_high"] < equivalence)
    verdict = np.select([met, off & below, off], ["met", "lower", "higher"], "not established").astype(object)
    table["verdict"] = verdict
    spans = ((r["conf_low"], r["conf_high"], confidence) for r in rows)
    first = [say.told("share", item=survey.label(r["term"]), span=span, **r) for r, span in zip(rows[:3], spans)]
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
    span = t_interval(mean, error, np.inf, confidence)[:3] if error > 0 else (mean, mean, mean)
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
