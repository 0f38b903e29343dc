"""Who stays: leaving by month after the answer, against the score.

References
----------
Allison (1982), Sociol. Methodol. 13:61-98 (discrete-time logit).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.figures import PALETTE, axes_or_new, wrap
from cxresearch.findings import Check, Finding, describe_columns, interval, listing, number
from cxresearch.inference import critical_value
from cxresearch.inference.survival import kaplan_meier
from cxresearch.loyalty.contrast import gradient
from cxresearch.loyalty.covariance import Sampling, influence_covariance
from cxresearch.loyalty.design import Sample, as_columns, sample
from cxresearch.loyalty.models import LOGIT, fit_glm
from cxresearch.loyalty.trouble import dates, gives_away, has_no_finite_slope
from cxresearch.privacy import hide_small_bases
from cxresearch.survey import as_survey

DAYS = 30.4375  # of a month
LEFT = "left (0/1)"

describe_columns(
    months=("Months", "longest time seen since the answer", 0),
    month=("Month", "months since the answer", 0),
    retained=("Retained", "share still a customer (Kaplan-Meier, 0-1)", 3),
    leaving=("Leaving", "customers who left in the time seen", 0),
    marginal=(
        "Points a month",
        "change of the chance to leave in a month per point of the score, in percentage points",
        3,
    ),
    marginal_low=("Points low", "lower end of its interval", 3),
    marginal_high=("Points high", "upper end of its interval", 3),
)


@dataclass(frozen=True, repr=False, eq=False)
class Retention(Finding):
    """Odds of leaving in a month per term (log), and `tables()["retained"]`: Kaplan-Meier by loyalty group."""

    loyalty: str = ""
    confidence: float = 0.95
    reasons: tuple[str, ...] = ()

    def sentence(self) -> str:
        g = self.summary
        base = f"{number(g['n'], 0)} customers, {number(g['leaving'], 0)} of whom left within {number(g['months'], 0)} months"
        what = f"{self.label(self.loyalty)} and leaving"
        if self.reasons:
            return f"A link of {what} is not established: {listing(self.reasons)} ({base})."
        return (
            f"One point more of {self.label(self.loyalty)} goes with a chance of leaving in a month that is "
            f"{number(abs(g['marginal']), 3)} percentage points {'lower' if g['marginal'] < 0 else 'higher'} "
            f"({interval(g['marginal_low'], g['marginal_high'], self.confidence, 3)}; {base}; an association, not a cause)."
        )

    def plot(self, ax=None):
        """Draw the share still a customer by month and loyalty group, with bands."""
        ax = axes_or_new(ax)
        curves = self.further["retained"].dropna(subset=["retained"])
        for colour, (group, c) in zip(PALETTE, curves.groupby("group", sort=False)):
            ax.fill_between(
                c["month"], c["conf_low"], c["conf_high"], step="post", color=colour, alpha=0.15, linewidth=0
            )
            ax.step(c["month"], c["retained"], where="post", color=colour, label=wrap(group))
        ax.set(xlabel="months since the answer", ylabel="share still a customer", ylim=(None, 1.005))
        ax.legend(title=wrap(self.label(self.loyalty)), loc="lower left")
        return ax


def fit_retention(
    customers,
    *,
    loyalty: str,
    asked: str,
    until: str,
    observed_until: str,
    controls: Sequence[str] = (),
    confidence: float = 0.95,
    min_rows: int = 100,
) -> Retention:
    """Regress leaving in each month after the answer on the score (discrete-time logit).

    Parameters
    ----------
    customers : Survey or DataFrame
        One row per customer.
    asked, until
        Columns of the day of the answer and of the day the customer left (missing while a customer).
    observed_until
        Last day on which leaving would have been seen: a column, or a date.
    controls, weight, strata, cluster, fpc, labels, min_base
        As in `fit_loyalty_revenue`; months of a customer are clustered.

    Returns
    -------
    Retention
        The average marginal value is in percentage points of the monthly chance to leave.

    Raises
    ------
    DataProblem
        Scores measured after the customer left (leakage), a score that tells leavers apart without error (perfect
        separation), nobody or everybody left.

    Examples
    --------
    >>> import cxresearch as cx
    >>> import numpy as np
    >>> import pandas as pd
    >>> rng = np.random.default_rng(1)
    >>> table = pd.DataFrame(
    ...
    ...     {"score": rng.integers(0, 11, 400), "asked": pd.Timestamp("2024-01-01"), "seen": pd.Timestamp("2024-12-31")}
    ... )
    >>> stayed = pd.to_timedelta(rng.exponential(200 + 60 * table["score"]), unit="D")
    >>> table["left"] = (table["asked"] + stayed).where(stayed < pd.Timedelta(days=365))
    >>> print(cx.fit_retention(table, loyalty="score", asked="asked", until="left", observed_until="seen"))
    One point more of score goes with a chance of leaving in a month that is 0.758 percentage ...
    """
    survey = as_survey(customers)
    customers = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    require_share("confidence", confidence)
    frame = durations(customers, asked=asked, until=until, observed_until=observed_until, loyalty=loyalty)
    s = sample(
        frame,
        revenue=LEFT,
        loyalty=loyalty,
        controls=as_columns("controls", controls),
        weight=weight,
        strata=strata,
        cluster=cluster,
        fpc=fpc,
        min_rows=min_rows,
        min_base=min_base,
        what="fit_retention",
    )
    months = frame["months"].to_numpy()[s.rows]
    if has_no_finite_slope(s.score, s.y == 1):
        raise DataProblem(
            f"{loyalty} alone tells who left (perfect separation): a score recorded after the customer left, or computed from it, does "
            "this; find out when it was recorded"
        )
    leak = gives_away(s.score, s.y == 1, "left", "left")
    table, margin, tested = _logit(s, months, confidence)
    reasons = _reasons(margin, leak)
    tested += (Check("score does not give the leaving away", leak or "no sign of it", "no sign of it", leak is None),)
    summary = {
        "n": s.n,
        "n_effective": s.n_effective,
        "leaving": int(s.y.sum()),
        "months": int(months.max()),
        "method": "discrete-time logit by month",
        "marginal": margin[0],
        "marginal_low": margin[1],
        "marginal_high": margin[2],
        "established": not reasons,
    }
    retained = _retained(s, months, confidence)
    return Retention(
        function="fit_retention",
        outcome=until,
        group=None,
        table=table,
        summary=summary,
        tested=tested,
        labels=labels or {},
        further={"retained": hide_small_bases(retained, min_base=min_base, keys=("group", "month"))},
        loyalty=loyalty,
        confidence=confidence,
        reasons=reasons,
    )


def _reasons(margin, leak: str | None) -> tuple[str, ...]:
    zero = ("the interval holds zero",) if not margin[1] * margin[2] > 0 else ()
    return zero + ((f"the score gives the leaving away ({leak})",) if leak else ())


def durations(table: pd.DataFrame, *, asked: str, until: str, observed_until: str, loyalty: str) -> pd.DataFrame:
    """Return the table with whether a customer left and the months (1, 2, ...) seen since the answer."""
    require_columns(table, asked, until, loyalty, where="the table of customers")
    start, left = dates(table, asked), dates(table, until)
    late = int(np.sum(start > left))
    if late:
        raise DataProblem(
            f"{loyalty} was measured after the customer left in {late} of {len(table)} rows ({asked} later than {until}): such a score "
            "cannot foretell leaving; leave these rows out, or correct the dates"
        )
    end = (
        dates(table, observed_until)
        if observed_until in table.columns
        else pd.Series(pd.Timestamp(observed_until), index=table.index)
    )
    gone = left.notna() & (left <= end)
    seen = (left.where(gone, end) - start).dt.days
    if gone.sum() in (0, len(table)):
        raise DataProblem(
            f"{'nobody' if not gone.any() else 'everybody'} left between the answer and {observed_until}; leaving cannot be compared"
        )
    kept = (seen >= 0).to_numpy()
    months = np.floor(seen.clip(lower=0) / DAYS).astype(int) + 1
    return table.assign(**{LEFT: gone.astype(float), "months": months})[kept].reset_index(drop=True)


def _logit(s: Sample, months, confidence):
    who = np.repeat(np.arange(s.n), months)
    month = np.concatenate([np.arange(1, m + 1) for m in months])
    event = (month == months[who]) * s.y[who]
    X = np.column_stack([_baseline(month, event), s.score[who], s.Z[who]])
    fit = fit_glm(X, event, s.weights[who], LOGIT)
    at, p = X.shape[1] - s.Z.shape[1] - 1, X.shape[1]
    rows = np.stack(
        [np.bincount(who, c, minlength=s.n) for c in fit.influence.T], axis=1
    )  # months of a customer together
    sampling = Sampling(s.sampling.clusters, s.sampling.strata, s.sampling.fpc, s.sampling.weighted)
    V = influence_covariance(rows, sampling, p)
    df = sampling.degrees_of_freedom(s.n, p)
    share = s.weights[who] / s.weights[who].sum()
    mean = lambda b: np.array([100 * share @ (special.expit(X @ b) * special.expit(-(X @ b))) * b[at]])  # noqa: E731
    slope = gradient(mean, fit.coef)[0]
    value, half = float(mean(fit.coef)[0]), critical_value(confidence, df) * float(np.sqrt(slope @ V @ slope))
    error = np.sqrt(np.diag(V))[at:]
    wide = critical_value(confidence, df) * error
    coef = fit.coef[at:]
    table = pd.DataFrame(
        {
            "term": [s.loyalty, *s.terms],
            "estimate": coef,
            "std_error": error,
            "conf_low": coef - wide,
            "conf_high": coef + wide,
            "n": s.n,
        }
    )
    return table, (value, value - half, value + half), _checks(s, fit.mu, event, share)


def _baseline(month, event) -> np.ndarray:
    # an intercept for each stretch of months that holds at least five leavers: fewer would separate perfectly
    stretch, held, codes = 0, 0.0, {}
    for m in range(1, int(month.max()) + 1):
        codes[m] = stretch
        held += event[month == m].sum()
        if held >= 5:
            stretch, held = stretch + 1, 0.0
    last = stretch if held >= 5 else max(stretch - 1, 0)
    code = np.minimum(np.array([codes[m] for m in range(1, int(month.max()) + 1)])[month - 1], last)
    return (code[:, None] == np.arange(last + 1)).astype(float)


def _checks(s: Sample, mu, event, share) -> tuple[Check, ...]:
    order = np.argsort(mu)
    fifths = np.array_split(order, 5)
    gap = max(abs(np.average(mu[i], weights=share[i]) - np.average(event[i], weights=share[i])) for i in fifths)
    per_term = s.y.sum() / (1 + s.Z.shape[1])
    return (
        Check("scores measured before leaving", "all", "all", True),
        Check("leavers per term", float(per_term), "at least 10", bool(per_term >= 10)),
        Check(
            "largest gap of predicted and observed chance, by fifths",
            float(gap),
            "at most half the mean chance",
            bool(gap <= 0.5 * share @ event),
        ),
    )


def _retained(s: Sample, months, confidence: float) -> pd.DataFrame:
    """Return group, month, n (at risk), retained and its interval: each group is a domain of the whole sample."""
    plain = not (s.sampling.is_survey or s.sampling.clusters)
    covariance = None if plain else lambda rows: influence_covariance(rows, s.sampling, 1)
    group, parts = s.scale.group(s.score), []
    df = np.inf if plain else s.sampling.degrees_of_freedom(s.n, 1)
    for g, name in enumerate(s.scale.names):
        inside = s.weights * (group == g)
        if not inside.any():
            continue
        last = np.arange(months[inside > 0].max() + 1)
        curve = kaplan_meier(months, s.y, weights=inside, covariance=covariance, at=last, confidence=confidence, df=df)
        shown = {"n": curve.at_risk, "retained": curve.estimate, "conf_low": curve.low, "conf_high": curve.high}
        parts.append(pd.DataFrame({"group": name, "month": curve.time.astype(int), **shown})[: len(last)])
    return pd.concat(parts, ignore_index=True)
