"""Groups side by side without reading luck as rank.

References
----------
Paule & Mandel (1982), J. Research NBS 87; Morris (1983), J. American Statistical Association 78 (empirical Bayes);
Goldstein & Spiegelhalter (1996), J. R. Statist. Soc. A 159 (league tables).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, describe_columns, interval, listing, number, percent
from cxresearch.inference import adjusted_p_values
from cxresearch.inference.pooling import between_variance
from cxresearch.metrics.card import base_words, p_words
from cxresearch.metrics.cells import draw_sample, require_options
from cxresearch.metrics.contrasts import equal_p_value, score_vector
from cxresearch.metrics.hiding import hidden_cells, hide
from cxresearch.metrics.scores import recommend_answers, recommend_codes
from cxresearch.survey import as_survey

describe_columns(
    shrunken=("Shrunken", "estimate drawn towards the mean of the groups as far as its base is small, points", 1),
    shrunken_low=("Shrunken low", "lower end of the shrunken estimate's interval, points", 1),
    shrunken_high=("Shrunken high", "upper end of the shrunken estimate's interval, points", 1),
    against_rest=("Against the rest", "group less all other respondents, points", 1),
    between=("Between groups", "standard deviation of the groups' true scores, points", 2),
)


@dataclass(frozen=True, repr=False, eq=False)
class LeagueTable(Finding):
    """One row per group, in points: plain score with a *simultaneous* interval, shrunken score, mark."""

    confidence: float = 0.95
    worth_acting_on: float | None = None

    def sentence(self) -> str:
        s, marked = self.summary, self.table[self.table["verdict"].isin(["above", "below"])]
        spread = (
            f"The true scores of {number(s['family'], 0)} groups are estimated to vary by {number(s['between'])} "
            f"points (standard deviation; joint test {p_words(s['p_value'])}; n = {number(s['n'], 0)})"
        )
        if marked.empty:
            return (
                f"{self.label(self.outcome)} by {self.label(self.group)}: no group is established to be above or "
                f"below the rest. {spread}."
            )
        words = [
            f"{self.label(r['group'])} is {r['verdict']} by {number(abs(r['against_rest']))} points (score "
            f"{number(r['estimate'])}, simultaneous "
            f"{interval(r['conf_low'], r['conf_high'], self.confidence)}, n = {number(r['n'], 0)})"
            for _, r in marked.head(3).iterrows()
        ]
        more = f" ({len(marked) - 3} more in the table)" if len(marked) > 3 else ""
        return (
            f"{self.label(self.outcome)} by {self.label(self.group)}, against the rest: {listing(words)}{more}. "
            f"{spread}."
        )

    def plot(self, ax=None):
        """Draw shrunken scores with intervals, plain scores as rings, in points; coloured where marked."""
        table = self.table[self.table["shrunken"].notna() & (self.table["base"] != "suppressed")]
        table = table.iloc[digits.descending(table["shrunken"], table["group"])]
        ax = axes_or_new(ax, rows=max(len(table), 1))
        names = [f"{self.label(g)} ({number(n, 0)})" for g, n in zip(table["group"], table["n"])]
        intervals(ax, names, table["shrunken"], table["shrunken_low"], table["shrunken_high"], colour=QUIET)
        marked = np.flatnonzero(table["verdict"].isin(["above", "below"]))
        ax.plot(table["shrunken"].iloc[marked], marked, "o", color=PALETTE[0])
        ax.plot(table["estimate"], np.arange(len(table)), "o", markerfacecolor="none", color=PALETTE[1], markersize=8)
        ax.set_xlabel(
            wrap(
                f"net promoter score, points; dots shrunken with {percent(self.confidence)} intervals, rings "
                "plain; blue: established",
                62,
            )
        )
        ax.set_title(wrap(f"By {self.label(self.group)} (base in brackets)", 60), fontsize=10)
        return ax


def league_table(
    responses,
    item: str,
    *,
    by: str,
    correction: str = "holm",
    worth_acting_on: float | None = None,
    confidence: float = 0.95,
) -> LeagueTable:
    """Return net promoter scores of groups, shrunken, with simultaneous intervals and marks against the rest.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    score, by : str
        Recommend item (0-10) and column of groups.
    correction : {"holm", "bh", "none"}
        Of the comparisons with the rest, groups with a base of 30 or more.
    worth_acting_on : float, optional
        Smallest difference from the rest, in points, that gets a mark.
    confidence
        As in `nps`.

    Returns
    -------
    LeagueTable

    Raises
    ------
    DataProblem
        Fewer than two groups, answers off 0-10.

    Notes
    -----
    Plain intervals hold for all k groups at once (z at 1 - alpha / 2k around the adjusted Wald centre). P-values have t
    tails on the group's base less one, since a family asks for the far tail. Between-group variance t2 by Paule &
    Mandel (1982); shrunken = m + t2 / (t2 + v)(x - m), its interval from t2 v / (t2 + v) plus the error of m.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.league_table(study.responses, "recommend", by="region"))
    Would recommend us by Region, against the rest: East is above by 13.3 points (score 33.4, ...
    """
    survey = as_survey(responses)
    responses = survey.table
    score = item
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    design = {"weight": weight, "strata": strata, "cluster": cluster, "fpc": fpc}
    require_options(
        responses,
        score,
        by,
        *design.values(),
        confidence=confidence,
        min_base=min_base,
        correction=(correction, ("holm", "bh", "none")),
    )
    scores = recommend_answers(responses, score)
    sample = draw_sample(responses, ~np.isnan(scores), by=by, min_base=min_base, **design)
    if (sample.n > 0).sum() < 2:
        raise DataProblem(f"{by} has one group with answers; a league table needs two or more")
    codes = recommend_codes(scores[sample.rows])
    vector = score_vector(sample, codes)
    full = sample.n > 0
    table = _table(sample, vector, full, correction, worth_acting_on or 0.0, confidence)
    hidden = hidden_cells(table, min_base=min_base)
    t2 = between_variance(vector.centre[full], np.diag(vector.covariance)[full])
    joint = equal_p_value(vector.centre[full], vector.covariance[np.ix_(full, full)], vector.df)
    summary = {
        "between": 100 * np.sqrt(t2),
        "p_value": joint,
        "family": int(full.sum()),
        "n": int(sample.n.sum()),
        "n_effective": float(np.nansum(vector.base)),
        "method": "adjusted Wald, simultaneous; shrunken by empirical Bayes",
    }
    small = int((table["base"] == "suppressed").sum())
    tested = (*sample.tested, Check("groups under the smallest base of 10", small, "0", small == 0))
    shown, further = hide(table, hidden, min_base), {}
    return LeagueTable(
        "league_table", score, by, shown, summary, tested, labels or {}, further, confidence, worth_acting_on
    )


def _table(sample, vector, full, correction, worth, confidence) -> pd.DataFrame:
    k, n = len(sample.keys), sample.n
    variance = np.diag(vector.covariance)
    z = stats.t.ppf(1 - (1 - confidence) / (2 * full.sum()), vector.df)
    shrunken, error = shrink(np.where(full, vector.centre, np.nan), np.where(full, variance, np.nan))
    rest, rest_error = _against_rest(sample, vector, full)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stats.t.sf(np.abs(rest / rest_error), np.minimum(vector.df, np.maximum(vector.base - 1, 1)))
    words = base_words(n, vector.base)
    eligible = np.isin(words, ["indicative", "enough"])
    adjusted = adjusted_p_values(np.where(eligible, p, np.nan), correction=correction)
    clear = (adjusted < 1 - confidence) & (np.abs(100 * rest) > worth)
    half = stats.norm.ppf((1 + confidence) / 2) * error
    return pd.DataFrame(
        {
            **sample.keys,
            "estimate": 100 * vector.raw,
            "std_error": 100 * np.sqrt(variance),
            "conf_low": 100 * np.maximum(vector.centre - z * np.sqrt(variance), -1),
            "conf_high": 100 * np.minimum(vector.centre + z * np.sqrt(variance), 1),
            "shrunken": 100 * shrunken,
            "shrunken_low": 100 * (shrunken - half),
            "shrunken_high": 100 * (shrunken + half),
            "against_rest": 100 * rest,
            "p_value": p,
            "p_adjusted": adjusted,
            "verdict": np.where(
                clear & (rest > 0),
                "above",
                np.where(clear, "below", np.where(eligible, "not established", "base too small")),
            ).astype(object),
            "n": n,
            "n_effective": vector.base,
            "base": words,
        },
        index=range(k),
    )


def shrink(estimates, variances) -> tuple[np.ndarray, np.ndarray]:
    """Return estimates drawn towards their mean, and their errors, (k,); NaN stays NaN."""
    known = np.isfinite(estimates) & np.isfinite(variances)
    t2 = between_variance(estimates[known], variances[known])
    weight = 1 / (variances + t2)
    total = np.nansum(np.where(known, weight, np.nan))
    mean = np.nansum(np.where(known, weight * estimates, np.nan)) / total
    pull = variances / (variances + t2)
    return pull * mean + (1 - pull) * estimates, np.sqrt(variances * t2 / (variances + t2) + pull**2 / total)


def _against_rest(sample, vector, full) -> tuple[np.ndarray, np.ndarray]:
    total = np.where(full, sample.totals, 0.0)
    others = (total.sum() - total)[:, None]
    contrast = np.eye(len(total)) - np.where(np.eye(len(total), dtype=bool), 0.0, total[None, :] / others)
    centre, covariance = np.nan_to_num(vector.centre), np.nan_to_num(vector.covariance)
    raw = contrast @ np.nan_to_num(vector.raw)
    error = np.sqrt(np.einsum("ij,jk,ik->i", contrast, covariance, contrast))
    return np.where(
        full, np.where(np.sign(raw) == np.sign(contrast @ centre), contrast @ centre, raw), np.nan
    ), np.where(full, error, np.nan)
