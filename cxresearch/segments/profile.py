"""Who the segments are: variables that they were not made from, and how much these tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, special, stats
from sklearn.metrics import adjusted_rand_score

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.figures import forest, titled
from cxresearch.findings import Check, Finding, interval, listing, number
from cxresearch.inference import adjusted_p_values, critical_value, wilson_interval
from cxresearch.privacy import hide_cells
from cxresearch.segments.features import dominated, plain, unweighted
from cxresearch.segments.segmentation import Segmentation, segment_names, stands
from cxresearch.segments.sentences import say
from cxresearch.survey import as_survey

BASIS, PROFILE = "basis", "profile"
# Lower ends of weak, moderate, strong (Cohen 1988): eta squared .01 .06 .14; V .1 .3 .5
WORDS = ("negligible", "weak", "moderate", "strong")
CUTS = {"eta squared": (0.01, 0.06, 0.14), "Cramér's V": (0.1, 0.3, 0.5)}
CELLS = ["segment", "feature", "category", "estimate", "conf_low", "conf_high", "std_difference", "index", "n"]


class Association(NamedTuple):
    """Size of an association (0-1) with its interval and the p-value against none."""

    estimate: float
    low: float
    high: float
    p_value: float


UNKNOWN = Association(np.nan, np.nan, np.nan, np.nan)


def eta_squared(values: np.ndarray, labels: np.ndarray, confidence: float) -> Association:
    """Return the part of the variance of (n,) `values` that lies between segments.

    The interval inverts the noncentral F; with noncentrality L the part in the population is L / (L + n).
    """
    n, present = len(values), np.unique(labels)
    total, within = values.var() * n, sum(values[labels == j].var() * (labels == j).sum() for j in present)
    df1, df2 = len(present) - 1, n - len(present)
    if total <= 0 or df1 < 1 or df2 < 1:
        return UNKNOWN
    if within <= 1e-12 * total:
        return Association(1.0, 1.0, 1.0, 0.0)
    f = (total - within) / df1 / (within / df2)
    ends, most = [], 4 * f * df1 + 100
    for at in ((1 + confidence) / 2, (1 - confidence) / 2):
        beyond = lambda nc: _noncentral_f(f, df1, df2, nc) - at  # noqa: B023, E731
        ends.append(optimize.brentq(beyond, 1e-9, most) if beyond(1e-9) > 0 > beyond(most) else 0.0)
    return Association(1 - within / total, *(nc / (nc + n) for nc in ends), float(stats.f.sf(f, df1, df2)))


def _noncentral_f(f: float, df1: int, df2: int, nc: float) -> float:
    """Return the noncentral F distribution function; far out, where the series fails, Patnaik's (1949) approximation."""
    found = stats.ncf.cdf(f, df1, df2, nc) if nc < 1000 else np.nan
    if np.isfinite(found):
        return float(found)
    return float(stats.f.cdf(f * df1 / (df1 + nc), (df1 + nc) ** 2 / (df1 + 2 * nc), df2))


def cramers_v(counts: np.ndarray, confidence: float) -> Association:
    """Return Cramér's V of an (r, c) table of counts, corrected for bias; empty rows and columns are left out.

    sqrt(max(0, chi2 - df) / (n (min(r, c) - 1))): plain V grows with the number of cells where there is nothing
    (Bergsma 2013, whose further correction of r and c is of order 1 / n). The interval inverts the noncentral
    chi-square; with noncentrality L, V in the population is sqrt(L / (n (min(r, c) - 1))).
    """
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    scale = counts.sum() * (min(counts.shape) - 1)
    if not scale:
        return UNKNOWN
    chi2, p_value, df, _ = stats.chi2_contingency(counts, correction=False)
    ends = special.chndtrinc(chi2, df, [(1 + confidence) / 2, (1 - confidence) / 2])
    low, high = np.minimum(np.sqrt(np.where(ends > 1e-9, ends, 0) / scale), 1)
    return Association(float(np.sqrt(max(0.0, chi2 - df) / scale)), float(low), float(high), float(p_value))


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentProfile(Finding):
    """How much each variable goes with the segments, and what is typical of each."""

    confidence: float

    @property
    def differing(self) -> pd.DataFrame:
        """The profile variables that differ between segments, the strongest first."""
        rows = self.table[(self.table["role"] == PROFILE) & (self.table["p_adjusted"] <= 1 - self.confidence)]
        return rows.iloc[digits.descending(rows["estimate"], rows["feature"])]

    def sentence(self) -> str:
        rows, goes = self.table[self.table["role"] == PROFILE], self.differing
        others = [self.label(f) for f in rows["feature"] if f not in set(goes["feature"])]
        values = {"n": number(self.summary["n"], 0), "tested": len(rows), "differing": len(goes)}
        values["open"] = listing(others)
        last = say("no evidence" if stands(self) else "no evidence, not real")
        if not len(goes):
            first = ("only behaviour", "no difference in one", "no difference")[min(len(rows), 2)]
            return f"{say(first, **values)} {last}"
        top = goes.iloc[0]
        values = {**top, **values, "size": number(top["estimate"], 2), "rand": number(top["adjusted_rand"], 2)}
        values["top"] = self.label(top["feature"])
        values["interval"] = interval(top["conf_low"], top["conf_high"], self.confidence, 2)
        parts = {"association": True, "same groups": top["adjusted_rand"] >= 0.5, "open": bool(others)}
        clauses = "; ".join(say(key, **values) for key, there in parts.items() if there)
        first = "differs" if len(rows) == 1 else "one differs" if len(goes) == 1 else "differ"
        return f"{say(first, **values)} {say('clauses', clauses=clauses)} {last}"

    def plot(self, ax=None):
        """Draw the size of each association with its interval; basis features in grey, without one."""
        shown = self.table.iloc[digits.descending(self.table["estimate"], self.table["feature"])]
        shown = shown.sort_values("role", ascending=False, kind="stable")
        signs = shown["association"].map({"eta squared": "η²", "Cramér's V": "V"})
        names = [f"{self.label(f)} ({sign})" for f, sign in zip(shown["feature"], signs)]
        marked = (shown["role"] == PROFILE).to_numpy()
        ax = forest(shown, "estimate", names=names, low="conf_low", high="conf_high", marked=marked, ax=ax)
        ax.set_xlim(-0.02, 1.02)
        title = say("profile title", differing=len(self.differing), tested=int(marked.sum()))
        return titled(ax, title, say("profile unit"))


def profile_segments(
    customers, *, segmentation: Segmentation, variables: Sequence[str], confidence: float = 0.95, min_rows: int = 100
) -> SegmentProfile:
    """Say how strongly variables go with the segments, those that segments were made from kept apart.

    ``tidy``: feature, role, association, estimate (eta squared or Cramér's V, 0-1; everybody is assigned to one segment,
    which makes it smaller than it is), conf_low, conf_high, in_words, p_value (F test or chi-square), p_adjusted
    (Holm's, for the family of profile variables), adjusted_rand (categories only), n. Basis features have the estimate
    alone. ``tables`` adds cells: estimate (mean in the variable's unit, or share 0-1), conf_low, conf_high (t, or
    Wilson), std_difference (means) and index (shares); those under the floor, and those that would give them away, are
    hidden. Refused are a variable that is unknown, a feature, or always the same, and fewer than `min_rows` customers.

    Parameters
    ----------
    customers : Survey or DataFrame
        The features of the segmentation and the variables, of which the known values are used.
    variables : sequence of str
        Numbers or categories that were not features: demographics, satisfaction, another grouping; may be empty.

    Examples
    --------
    >>> print(cx.profile_segments(behaved, segmentation=segments, variables=["basket_mean"]))
    mean basket differs between segments of 2,000 customers. ...
    """
    survey = as_survey(customers)
    require_share("confidence", confidence)
    variables = _checked(survey.table, segmentation, variables)
    known = segmentation.augment(survey).table.dropna(subset="segment")
    names = segment_names(segmentation.k)
    labels = pd.Categorical(known["segment"], categories=names).codes
    used = int(known[variables].notna().any(axis=1).sum()) if variables else len(known)
    if used < min_rows:
        raise TooFewRespondents(
            f"profile_segments needs at least {min_rows} customers with a segment and a variable; found {used}"
        )
    roles = {} if segmentation.categorical else dict.fromkeys(segmentation.features, BASIS)
    roles |= dict.fromkeys(variables, PROFILE)
    table = pd.DataFrame([_row(known[name], labels, role, confidence) for name, role in roles.items()])
    table.insert(8, "p_adjusted", adjusted_p_values(table["p_value"], correction="holm"))
    parts = [_cells(known[v], labels, names, confidence, survey.min_base) for v in variables]
    cells = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CELLS)
    least, received = int(table["n"].min()), len(survey.table)
    summary = {"n": used, "method": "eta squared and Cramér's V, holm", "confidence": confidence}
    summary["established"] = bool((table["p_adjusted"] <= 1 - confidence).any()) if variables else None
    tested = (
        Check("customers with a segment and a variable", f"{used} of {received}", "all", used == received),
        Check("fewest known values of a variable", least, f"at least {min_rows}", least >= min_rows),
        segmentation.real(),
        *unweighted(survey.weight),
    )
    return SegmentProfile(
        "profile_segments", ", ".join(variables), "segment", table, summary, tested, survey.labels, {"cells": cells},
        suppressed=int(cells["n"].isna().sum()), domain=survey.condition, confidence=confidence,
    )  # fmt: skip


def _checked(customers: pd.DataFrame, segmentation: Segmentation, variables) -> list[str]:
    variables = list(dict.fromkeys(variables))
    if not variables and segmentation.categorical:
        raise DataProblem("variables is empty; name columns that say who the customers are")
    require_columns(customers, *variables, *segmentation.features)
    if shared := [v for v in variables if v in segmentation.features]:
        raise DataProblem(
            f"{listing(shared)}: the segments were made from it, so differences in it are no evidence; leave it out of variables"
        )
    if alone := [v for v in variables if plain(customers[v]).nunique() < 2]:
        raise DataProblem(f"{listing(alone)} holds fewer than two different values; leave it out of variables")
    return variables


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _row(values: pd.Series, labels: np.ndarray, role: str, confidence: float) -> dict:
    there = values.notna().to_numpy()
    if _is_number(values):
        measure, rand = "eta squared", np.nan
        found = eta_squared(values[there].to_numpy(dtype=float), labels[there], confidence)
    else:
        groups = plain(values[there]).astype(str).to_numpy()
        measure, rand = "Cramér's V", float(adjusted_rand_score(labels[there], groups))
        found = cramers_v(pd.crosstab(labels[there], groups).to_numpy(), confidence)
    kept = found if role == PROFILE else found._replace(low=np.nan, high=np.nan, p_value=np.nan)
    size = int(np.searchsorted(CUTS[measure], found.estimate, side="right"))
    words = "not available" if np.isnan(found.estimate) else WORDS[size]
    row = {"feature": values.name, "role": role, "association": measure, "estimate": found.estimate}
    row |= {"conf_low": kept.low, "conf_high": kept.high, "in_words": words, "p_value": kept.p_value}
    return row | {"adjusted_rand": rand, "n": int(there.sum())}


def _cells(values: pd.Series, labels: np.ndarray, names: list[str], confidence: float, min_base: int) -> pd.DataFrame:
    """Return the means of a number by segment, or the shares of each category, those under the floor hidden."""
    there, rows = values.notna().to_numpy(), []
    known = values[there].to_numpy(dtype=float) if _is_number(values) else plain(values[there]).astype(str).to_numpy()
    overall = {} if _is_number(values) else pd.Series(known).value_counts(normalize=True).sort_index()
    for j, name in enumerate(names):
        own = known[labels[there] == j]
        if _is_number(values):
            mean, n = (own.mean() if len(own) else np.nan), len(own)
            half = critical_value(confidence, n - 1) * own.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
            apart = (mean - known.mean()) / known.std()
            rows.append((name, values.name, "mean", mean, mean - half, mean + half, apart, np.nan, n))
        for category, whole in overall.items():
            n = int((own == category).sum())
            share = n / len(own) if len(own) else np.nan
            ends = map(float, wilson_interval(share, max(len(own), 1), confidence))
            rows.append((name, values.name, category, share, *ends, np.nan, 100 * share / whole, n))
    shown = hide_cells(pd.DataFrame(rows, columns=CELLS), min_base=min_base, keys=("segment", "category"))
    if _is_number(values) and dominated(pd.DataFrame({values.name: known}), labels[there], min_base):
        shown[CELLS[3:-1]] = np.nan
    return shown.assign(feature=values.name)
