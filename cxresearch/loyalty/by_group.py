"""Does the link differ between groups of customers? Each group's own estimate, and the same drawn towards the mean.

References
----------
Paule & Mandel (1982), J. Res. Natl. Bur. Stand. 87:377-385; Morris (1983), JASA 78:47-55 (empirical Bayes);
Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57:289-300.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, describe_columns, interval, listing, number
from cxresearch.inference import critical_value
from cxresearch.inference.pooling import between_variance
from cxresearch.loyalty.contrast import estimate
from cxresearch.loyalty.design import as_columns, sample
from cxresearch.loyalty.ladder import Plan
from cxresearch.privacy import pool_small_groups
from cxresearch.survey import as_survey

describe_columns(
    std_between=("Spread between groups", "standard deviation of log ratios per point between groups", 3),
    own=("Own", "percent per point from the group alone", 1),
    own_low=("Own low", "lower end of its interval", 1),
    own_high=("Own high", "upper end of its interval", 1),
)


@dataclass(frozen=True, repr=False, eq=False)
class LoyaltyByGroup(Finding):
    """Percent per point by group: `percent` drawn towards the mean of the groups, `own` from the group alone."""

    loyalty: str = ""
    confidence: float = 0.95

    def sentence(self) -> str:
        g, t = self.summary, self.table
        what = f"what a point of {self.label(self.loyalty)} goes with in {self.label(self.outcome)}"
        mean = f"{number(g['percent'])} % on the whole ({interval(g['percent_low'], g['percent_high'], self.confidence)}; {number(g['n'], 0)} customers)"
        apart = t.loc[t["p_adjusted"] < 1 - self.confidence, "group"]
        if not len(apart):
            return f"That {what} differs between {self.label(self.group)} is not established (p {number(g['p_value'], 3)}): {mean}; associations, not causes."
        named = listing(
            f"{r.group} ({number(r.percent)} %, {interval(r.percent_low, r.percent_high, self.confidence)})"
            for r in t[t["group"].isin(apart)].itertuples()
        )
        return (
            f"In {self.label(self.group)}, {what} departs from the mean in {named}: {mean}; associations, not causes."
        )

    def plot(self, ax=None):
        """Draw percent per point by group: own (grey) and drawn towards the mean, with intervals."""
        ax = axes_or_new(ax, rows=2 * len(self.table))
        t = self.table
        intervals(
            ax, t["group"], t["own"], t["own_low"], t["own_high"], colour=QUIET, offset=0.16, label="the group alone"
        )
        intervals(
            ax,
            t["group"],
            t["percent"],
            t["percent_low"],
            t["percent_high"],
            colour=PALETTE[0],
            offset=-0.16,
            label="drawn towards the mean",
        )
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.set_xlabel(wrap(f"% more {self.label(self.outcome)} per point of {self.label(self.loyalty)}", 90))
        ax.legend(loc="lower right")
        return ax


def loyalty_by_group(
    customers,
    *,
    revenue: str,
    loyalty: str,
    by: str,
    controls: Sequence[str] = (),
    confidence: float = 0.95,
    min_rows: int = 100,
) -> LoyaltyByGroup:
    """Fit the default model in each group of `by` and draw the estimates towards their mean.

    Parameters are those of `fit_loyalty_revenue`. Groups under `min_base` rows are pooled; groups under `min_rows`
    complete rows, or that cannot be fitted, are left out and counted.

    Notes
    -----
    The spread between groups is estimated by Paule & Mandel (1982). A group's estimate is the precision-weighted mean
    of its own and of the whole (Morris 1983). That a group departs from the mean of all is tested group by group on
    its own estimate, corrected by Benjamini & Hochberg (1995); that groups differ at all by Cochran's Q.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> table = study.matched("responses", "customers", keep="latest")
    >>> print(cx.loyalty_by_group(
    ...     table, revenue="revenue", loyalty="recommend", by="region"
    ... ))
    That what a point of Would recommend us goes with in revenue differs between Region is not ...
    """
    survey = as_survey(customers)
    customers = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    require_share("confidence", confidence)
    require_columns(customers, by, where="the table of customers")
    held = tuple(c for c in as_columns("controls", controls) if c != by)
    options = {"weight": weight, "strata": strata, "cluster": cluster, "fpc": fpc, "min_base": min_base}
    groups = pool_small_groups(customers[by].astype(object), min_base=max(min_base, 2))
    rows, left_out = _each(
        customers, groups, {"revenue": revenue, "loyalty": loyalty, "controls": held, **options}, min_rows
    )
    if len(rows) < 2:
        raise TooFewRespondents(
            f"loyalty_by_group needs two groups of at least {min_rows} complete rows in {by}; found {len(rows)}"
        )
    own = pd.DataFrame(rows)
    table, summary = _shrunken(own, confidence)
    tested = (
        Check("groups left out", len(left_out), "0", not left_out),
        Check(
            "groups differ (Cochran's Q, p)",
            summary["p_value"],
            "below 0.05 to read differences",
            summary["p_value"] < 0.05,
        ),
        Check("smallest group", int(own["n"].min()), f"at least {min_rows}", True),
    )
    return LoyaltyByGroup(
        function="loyalty_by_group",
        outcome=revenue,
        group=by,
        table=table,
        summary=summary,
        tested=tested,
        labels=labels or {},
        further={"left_out": pd.DataFrame(left_out, columns=["group", "why"])},
        loyalty=loyalty,
        confidence=confidence,
    )


def _each(customers, groups, options, min_rows) -> tuple[list[dict], list[dict]]:
    rows, left_out = [], []
    for name in sorted(groups.dropna().unique(), key=str):
        try:
            s = sample(customers[(groups == name).to_numpy()], min_rows=min_rows, what="loyalty_by_group", **options)
            got = estimate(s, Plan("poisson", "linear"))
        except DataProblem as problem:
            left_out.append({"group": str(name), "why": str(problem)})
            continue
        at = got.fit.terms.index(s.loyalty)
        error = float(np.sqrt(got.covariance[at, at]))
        rows.append(
            {
                "group": str(name),
                "b": float(got.values[at]),
                "error": error,
                "df": float(got.df[at]),
                "n": s.n,
                "kish": s.n_effective,
            }
        )
    return rows, left_out


def _q(b, variance, tau2) -> float:
    w = 1 / (variance + tau2)
    return float(np.sum(w * np.square(b - w @ b / w.sum())))


def _error_from_mean(variance, w) -> np.ndarray:
    """Return the sampling error of each group's estimate less the weighted mean that holds it."""
    share = w / w.sum()
    return np.sqrt(variance * (1 - 2 * share) + np.sum(share**2 * variance))


def _shrunken(own: pd.DataFrame, confidence: float) -> tuple[pd.DataFrame, dict]:
    b, variance, k = own["b"].to_numpy(), np.square(own["error"].to_numpy()), len(own)
    tau2, z = between_variance(b, variance), critical_value(confidence)
    w = 1 / (variance + tau2)
    mean, mean_variance = w @ b / w.sum(), 1 / w.sum()
    pull = variance / (variance + tau2)  # share of the way to the mean
    drawn = (1 - pull) * b + pull * mean
    error = np.sqrt((1 - pull) * variance + pull**2 * mean_variance)
    p = 2 * stats.norm.sf(np.abs(b - mean) / np.maximum(_error_from_mean(variance, w), 1e-300))
    values = {"percent": drawn, "percent_low": drawn - z * error, "percent_high": drawn + z * error}
    half = np.array([critical_value(confidence, d) for d in own["df"]]) * own["error"].to_numpy()
    values |= {"own": b, "own_low": b - half, "own_high": b + half}
    table = pd.DataFrame(
        {"group": own["group"], **{key: 100 * np.expm1(v) for key, v in values.items()}, "n": own["n"]}
    )
    table["p_adjusted"] = stats.false_discovery_control(p)
    ends = {
        "percent": mean,
        "percent_low": mean - z * np.sqrt(mean_variance),
        "percent_high": mean + z * np.sqrt(mean_variance),
    }
    summary = {
        "n": int(own["n"].sum()),
        "n_effective": float(own["kish"].sum()),
        "method": f"Poisson quasi-likelihood in each of {k} groups, drawn towards their mean",
        **{key: float(100 * np.expm1(v)) for key, v in ends.items()},
        "std_between": float(np.sqrt(tau2)),
        "p_value": float(stats.chi2.sf(_q(b, variance, 0.0), k - 1)),
    }
    return table, summary
