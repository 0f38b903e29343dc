"""Do those who answered spend like those who did not, and does the finding hold when they are weighted to all?

References
----------
Seaman & White (2013), Stat. Methods Med. Res. 22:278-295 (inverse-probability weighting).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.figures import QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, describe_columns, interval, number, percent
from cxresearch.inference import critical_value, kish_effective_n
from cxresearch.loyalty.contrast import estimate
from cxresearch.loyalty.covariance import Sampling, influence_covariance
from cxresearch.loyalty.design import as_columns, sample
from cxresearch.loyalty.fit import headline
from cxresearch.loyalty.ladder import Plan
from cxresearch.loyalty.models import LOGIT, fit_glm
from cxresearch.privacy import require_base
from cxresearch.survey import as_survey

ANSWERED = "answered (0/1)"
MOST_WEIGHT = 20.0  # largest over smallest

describe_columns(unweighted=("Unweighted", "percent per point without the weights", 1))


@dataclass(frozen=True, repr=False, eq=False)
class Responders(Finding):
    """Mean revenue of those who answered, of those who did not, and of all; `tables` adds headline and answering."""

    loyalty: str = ""
    confidence: float = 0.95

    def sentence(self) -> str:
        t, g = self.table.set_index("term"), self.summary
        gap = t.loc["difference"]
        side = "more" if gap["estimate"] > 0 else "less"
        held = gap["conf_low"] <= 0 <= gap["conf_high"]
        differ = (
            "no difference is established between them and the others"
            if held
            else f"they have {number(abs(gap['estimate']), 2)} {side} {self.label(self.outcome)} each than the others"
        )
        low, high = g["percent_low"], g["percent_high"]
        return (
            f"{percent(g['share'])} of {number(g['received'], 0)} customers answered, and {differ} "
            f"({interval(gap['conf_low'], gap['conf_high'], self.confidence, 2)}). Weighted to all customers, a point of {self.label(self.loyalty)} goes "
            f"with {number(g['percent'])} % more per customer ({interval(low, high, self.confidence)}) instead of {number(g['unweighted'])} %"
            f"{'; weighted, it is not established' if low <= 0 <= high else ''} ({number(g['n'], 0)} answers; an association, not a cause)."
        )

    def plot(self, ax=None):
        """Draw mean revenue of those who answered, those who did not, and all, with intervals."""
        ax = axes_or_new(ax, rows=4)
        t = self.table[self.table["term"] != "difference"]
        intervals(ax, t["term"], t["estimate"], t["conf_low"], t["conf_high"])
        ax.set_xlabel(f"{wrap(self.label(self.outcome), 60)} (money per customer)")
        ax.axvline(t["estimate"].iloc[-1], color=QUIET, linewidth=1)
        return ax


def compare_responders(
    customers,
    *,
    revenue: str,
    loyalty: str,
    behaviour: Sequence[str],
    controls: Sequence[str] = (),
    confidence: float = 0.95,
    min_rows: int = 100,
) -> Responders:
    """Compare the revenue of customers with and without a score, and weight the fit by the inverse chance of answering.

    Parameters
    ----------
    customers : Survey or DataFrame
        All customers, one row each; `loyalty` is missing where nobody answered.
    behaviour
        Columns known of all customers from before the survey, by which answering is predicted (logit).
    controls
        Held constant in the fit, as in `fit_loyalty_revenue`.

    Notes
    -----
    Weighting repairs selection by what is in `behaviour` and by nothing else. Weights are taken as given, which
    tends to make the weighted interval a little wide.

    Raises
    ------
    DataProblem
        Nobody, or everybody, answered; bad input as in `fit_loyalty_revenue`.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> customers = study.customers.merge(
    ...     study.matched("responses", "customers", keep="latest")[["customer", "recommend"]], how="left"
    ... )
    >>> print(cx.compare_responders(
    ...     customers, revenue="revenue", loyalty="recommend", behaviour=["affluence"], min_base=10
    ... ))
    70 % of 2,000 customers answered, and they have 20.76 more revenue each than the others (95 ...
    """
    survey = as_survey(customers)
    customers = survey.table
    cluster = survey.cluster
    labels, min_base = survey.labels, survey.min_base
    require_share("confidence", confidence)
    behaviour = as_columns("behaviour", behaviour)
    require_columns(customers, revenue, loyalty, *behaviour, where="the table of customers")
    answered = customers[loyalty].notna().to_numpy()
    if answered.all() or not answered.any():
        raise DataProblem(
            f"{'everybody' if answered.all() else 'nobody'} has a {loyalty}; those who answered cannot be compared with the others"
        )
    require_base(int(min(answered.sum(), (~answered).sum())), min_base=min_base, what="compare_responders")
    chance, s_all, fit = _chance(customers, answered, loyalty, behaviour, min_rows, min_base)
    weighted = customers.iloc[s_all.rows].assign(**{"inverse chance": 1 / chance})
    options = {
        "revenue": revenue,
        "loyalty": loyalty,
        "controls": controls,
        "cluster": cluster,
        "min_rows": min_rows,
        "min_base": min_base,
    }
    fits = {w or "unweighted": _headline(weighted, w, options, confidence) for w in (None, "inverse chance")}
    (plain, n, _), (ours, _, kish) = fits["unweighted"], fits["inverse chance"]
    table = _means(customers[revenue].to_numpy(dtype=float), answered, confidence)
    summary = {
        "n": n,
        "n_effective": kish,
        "received": len(customers),
        "share": float(answered.mean()),
        "method": "inverse-probability weights (logit)",
        **{k: ours[k] for k in ("percent", "percent_low", "percent_high")},
        "unweighted": plain["percent"],
    }
    keys = ("percent", "percent_low", "percent_high")
    further = {
        "headline": pd.DataFrame(
            [{"term": name, **{k: head[k] for k in keys}, "n": size} for name, (head, size, _) in fits.items()]
        ),
        "answering": _answering(fit, s_all, confidence),
    }
    return Responders(
        function="compare_responders",
        outcome=revenue,
        group=None,
        table=table,
        summary=summary,
        tested=_checks(chance[s_all.y == 1], plain, ours),
        labels=labels or {},
        further=further,
        loyalty=loyalty,
        confidence=confidence,
    )


def _chance(customers, answered, loyalty, behaviour, min_rows, min_base):
    frame = customers.assign(**{ANSWERED: answered.astype(float), "all": np.arange(len(customers)) % 2})
    s = sample(
        frame,
        revenue=ANSWERED,
        loyalty="all",
        controls=behaviour,
        min_rows=min_rows,
        min_base=min_base,
        what="compare_responders",
    )
    fit = fit_glm(np.column_stack([np.ones(s.n), s.Z]), s.y, s.weights, LOGIT)
    return fit.mu, s, fit


def _headline(table, weight, options, confidence):
    s = sample(table, weight=weight, what="compare_responders", **options)
    return headline(estimate(s, Plan("poisson", "linear")), confidence), s.n, kish_effective_n(s.weights)


def _means(y, answered, confidence: float) -> pd.DataFrame:
    parts = {"answered": y[answered], "did not answer": y[~answered], "all customers": y}
    rows = [
        _row(name, v.mean(), v.std(ddof=1) / np.sqrt(len(v)), len(v) - 1, len(v), confidence)
        for name, v in parts.items()
    ]
    a, b = parts["answered"], parts["did not answer"]
    errors = [a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)]
    df = sum(errors) ** 2 / (errors[0] ** 2 / (len(a) - 1) + errors[1] ** 2 / (len(b) - 1))  # Welch
    rows.append(_row("difference", a.mean() - b.mean(), np.sqrt(sum(errors)), df, len(y), confidence))
    return pd.DataFrame(rows)


def _row(term, value, error, df, n, confidence) -> dict:
    half = critical_value(confidence, df) * error
    return {
        "term": term,
        "estimate": float(value),
        "conf_low": float(value - half),
        "conf_high": float(value + half),
        "n": int(n),
    }


def _answering(fit, s, confidence) -> pd.DataFrame:
    error = np.sqrt(np.diag(influence_covariance(fit.influence, Sampling(), len(fit.coef))))
    half = critical_value(confidence) * error
    return pd.DataFrame(
        {
            "term": ["(intercept)", *s.terms],
            "estimate": fit.coef,
            "std_error": error,
            "conf_low": fit.coef - half,
            "conf_high": fit.coef + half,
        }
    )


def _checks(chance, plain, ours) -> tuple[Check, ...]:
    ratio = float(chance.max() / chance.min())
    inside = bool(plain["percent_low"] <= ours["percent"] <= plain["percent_high"])
    return (
        Check("largest over smallest weight", ratio, f"at most {MOST_WEIGHT:g}", ratio <= MOST_WEIGHT),
        Check(
            "weighted estimate lies in the unweighted interval",
            f"{ours['percent']:.1f} % in {plain['percent_low']:.1f} to {plain['percent_high']:.1f} %",
            "inside",
            inside,
        ),
    )
