"""Does the link differ between groups of customers? Each group's own estimate, and the same drawn towards the mean.

References
----------
Paule & Mandel (1982), J. Res. Natl. Bur. Stand. 87:377-385; Morris (1983), JASA 78:47-55 (empirical Bayes);
Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57:289-300.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, intervals, titled
from cxresearch.findings import Check, describe_columns, ends, interval, listing, number, p_words
from cxresearch.inference import adjusted_p_values, critical_value
from cxresearch.inference.pooling import between_variance, shrink
from cxresearch.loyalty.cases import as_columns, cases_of
from cxresearch.loyalty.models import estimate
from cxresearch.loyalty.revenue import RevenueFinding
from cxresearch.loyalty.sentences import say, told
from cxresearch.privacy import pool_small_groups
from cxresearch.survey import as_survey

FEWEST_GROUPS = 4  # from which the spread between groups can be estimated

describe_columns(
    std_between=("Spread between groups", "standard deviation of log ratios per point between groups", 3),
    own=("Own", "percent per point from the group alone", 1),
    own_low=("Own low", "lower end of its interval", 1),
    own_high=("Own high", "upper end of its interval", 1),
)


@dataclass(frozen=True, repr=False, eq=False)
class LoyaltyByGroup(RevenueFinding):
    """Percent per point by group: `percent` drawn towards the mean of the groups, `own` from the group alone.

    `model` gives statsmodels' results by group.
    """

    results: dict = field(default_factory=dict, kw_only=True)

    @property
    def model(self):
        return self.results

    def sentence(self) -> str:
        g, t, by, n = self.summary, self.table, self.label(self.group), number(self.summary["n"], 0)
        apart = t[t["p_adjusted"] < 1 - self.confidence]
        own = len(t) < FEWEST_GROUPS
        between, clauses = interval(g["percent_low"], g["percent_high"], self.confidence), []
        if len(apart):
            key = "own" if own else "percent"
            ends = [interval(r[f"{key}_low"], r[f"{key}_high"], self.confidence) for _, r in apart.iterrows()]
            named = [f"{name} ({number(v)} %, {end})" for name, v, end in zip(apart["group"], apart[key], ends)]
            first = say("groups apart", k=len(apart), groups=len(t), by=by, n=n, **self.words)
            clauses = [say("groups which", named=listing(named))]
        else:
            first = say("groups alike", by=by, p=p_words(g["p_value"]), n=n, **self.words)
        clauses.append(say("groups mean", percent=number(g["percent"]), interval=between))
        return told(first, *clauses, *([say("groups own")] if own else []))

    def plot(self, ax=None):
        """Draw percent per point by group: own (grey) and drawn towards the mean, with intervals."""
        ax, t = axes_or_new(ax, rows=2 * len(self.table)), self.table
        styles = {"own": (QUIET, 0.16, "the group alone"), "percent": (PALETTE[0], -0.16, "drawn towards the mean")}
        for key, (colour, offset, words) in styles.items():
            intervals(
                ax, t["group"], t[key], t[f"{key}_low"], t[f"{key}_high"], colour=colour, offset=offset, label=words
            )
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.set_xlabel(self.unit_per_point)
        ax.legend(loc="lower right")
        apart = int((t["p_adjusted"] < 1 - self.confidence).sum())
        return titled(ax, f"{apart} of {len(t)} groups depart from the mean")


def loyalty_by_group(
    customers, *, revenue: str, loyalty: str, by: str, controls: Sequence[str] = (), confidence: float = 0.95,
    min_rows: int = 100,
) -> LoyaltyByGroup:  # fmt: skip
    """Fit the default model in each group of `by` and draw the estimates towards their mean.

    Parameters are those of `fit_loyalty_revenue`. Groups under the floor are pooled; groups under `min_rows` complete
    rows, or that cannot be fitted, are left out and counted.

    Notes
    -----
    The spread between groups is estimated by Paule & Mandel (1982). A group's estimate is drawn towards the mean as
    far as its precision asks, and its interval allows for not knowing the spread (Morris 1983); with fewer than four
    groups it is not estimable and nothing is drawn. That a group departs from the mean of all is tested group by group
    on its own estimate, corrected by Benjamini & Hochberg (1995); that groups differ at all by Cochran's Q.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> table = study.matched("responses", "customers", keep="latest")
    >>> print(cx.loyalty_by_group(
    ...     table, revenue="revenue", loyalty="recommend", by="region"
    ... ))
    That a point of Would recommend us goes with different revenue by Region is not established ...
    """
    survey = as_survey(customers)
    require_share("confidence", confidence)
    table = survey.table
    require_columns(table, by, where="the table of customers")
    groups = pool_small_groups(table[by].astype(object), min_base=max(survey.min_base, 2))
    question = dict(
        revenue=revenue, loyalty=loyalty, controls=tuple(c for c in as_columns("controls", controls) if c != by),
        min_rows=min_rows, what="loyalty_by_group",
    )  # fmt: skip
    rows, results, left_out = [], {}, []
    for name in sorted(groups.dropna().unique(), key=str):
        try:
            s = cases_of(_domain(survey, (groups == name).to_numpy()), **question)
            got = estimate(s, seen=True)
        except DataProblem as problem:
            left_out.append({"group": str(name), "why": str(problem)})
            continue
        at, results[str(name)] = got.fit.terms.index(loyalty), got.fit.results
        error, df = float(np.sqrt(got.covariance[at, at])), float(got.df[at])
        rows.append((str(name), float(got.values[at]), error, df, s.n, s.n_effective))
    if len(rows) < 2:
        raise TooFewRespondents(
            f"loyalty_by_group needs two groups of at least {min_rows} complete rows in {by}; found {len(rows)}"
        )
    own = pd.DataFrame(rows, columns=["group", "b", "error", "df", "n", "n_effective"])
    shown, summary = _drawn(own, confidence)
    tested = (
        Check("groups left out", len(left_out), "0", not left_out),
        Check("groups whose spread can be estimated", len(own), f"at least {FEWEST_GROUPS}", len(own) >= FEWEST_GROUPS),
        Check("smallest group", int(own["n"].min()), f"at least {min_rows}", True, "info"),
    )
    return LoyaltyByGroup(
        "loyalty_by_group", revenue, by, shown, summary, tested, labels=survey.labels,
        further={"left_out": pd.DataFrame(left_out, columns=["group", "why"])}, loyalty=loyalty, confidence=confidence,
        currency=survey.currency, results=results, domain=survey.condition,
    )  # fmt: skip


def _domain(survey, member):
    """Return the domain of the rows in view where `member`: errors stay those of a domain of the same survey."""
    inside = np.ones(len(survey.rows), dtype=bool) if survey.domain is None else survey.domain.copy()
    inside[np.flatnonzero(inside)[~member]] = False
    return replace(survey, domain=inside)


def _drawn(own: pd.DataFrame, confidence: float) -> tuple[pd.DataFrame, dict]:
    """Return the table of groups and the summary of the whole."""
    b, variance, k, z = own["b"].to_numpy(), np.square(own["error"].to_numpy()), len(own), critical_value(confidence)
    w = 1 / (variance + between_variance(b, variance))
    mean, share = w @ b / w.sum(), w / w.sum()
    drawn = shrink(b, variance, confidence=confidence)
    apart = np.sqrt(variance * (1 - 2 * share) + np.sum(share**2 * variance))  # error of a group less the mean with it
    p = 2 * stats.norm.sf(np.abs(b - mean) / np.maximum(apart, 1e-300))
    half = np.array([critical_value(confidence, d) for d in own["df"]]) * own["error"].to_numpy()
    as_percent = lambda values: 100 * np.expm1(values)  # noqa: E731
    columns = ends("percent", *map(as_percent, (drawn.estimate, drawn.low, drawn.high)))
    columns |= ends("own", *map(as_percent, (b, b - half, b + half)))
    table = pd.DataFrame({"group": own["group"], **columns, "n": own["n"]})
    table["p_adjusted"] = adjusted_p_values(p, correction="bh")
    fixed = 1 / variance
    scatter = float(np.sum(fixed * np.square(b - fixed @ b / fixed.sum())))  # Cochran's Q
    p_value = float(stats.chi2.sf(scatter, k - 1))
    reach = z / np.sqrt(w.sum())
    return table, {
        "n": int(own["n"].sum()), "n_effective": float(own["n_effective"].sum()),
        "method": f"Poisson quasi-likelihood in each of {k} groups, drawn towards their mean", "errors": "as a domain",
        **{key: float(as_percent(v)) for key, v in ends("percent", mean, mean - reach, mean + reach).items()},
        "std_between": float(np.sqrt(between_variance(b, variance))), "p_value": p_value,
        "established": bool((table["p_adjusted"] < 1 - confidence).any()),
    }  # fmt: skip
