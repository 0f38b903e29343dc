"""Who stays: leaving by month after the answer, against the score.

References
----------
Allison (1982), Sociol. Methodol. 13:61-98 (discrete-time logit).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import special

from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.figures import PALETTE, axes_or_new, titled, wrap
from cxresearch.findings import Check, describe_columns, ends, listing, number
from cxresearch.inference import critical_value
from cxresearch.inference.survival import kaplan_meier
from cxresearch.loyalty.cases import Cases, cases_of
from cxresearch.loyalty.glm import LOGIT, at_solution, gradient, library, solve_glm
from cxresearch.loyalty.refusals import ONCE_IN_A_MILLION, gives_away, has_no_finite_slope, leak_check
from cxresearch.loyalty.revenue import RevenueFinding, reasons_against
from cxresearch.loyalty.sentences import say, size_interval, told
from cxresearch.loyalty.timing import dates, day_of
from cxresearch.privacy import hide_small_bases
from cxresearch.survey import Survey, as_survey

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
class Retention(RevenueFinding):
    """Odds of leaving in a month per term (log), and `tables()["retained"]`: Kaplan-Meier by loyalty group.

    `model` gives statsmodels' results on person-months.
    """

    results: object = field(default=None, kw_only=True)

    @property
    def model(self):
        return self.results

    def sentence(self) -> str:
        g, n = self.summary, number(self.summary["n"], 0)
        base = say("leaving base", leaving=number(g["leaving"], 0), months=number(g["months"], 0))
        if self.reasons:
            return told(say("leaving open", score=self.label(self.loyalty), reasons=listing(self.reasons), n=n), base)
        sign = -1 if g["marginal"] < 0 else 1
        between = size_interval(g["marginal_low"], g["marginal_high"], self.confidence, sign=sign, decimals=3)
        key = "leaving lower" if sign < 0 else "leaving higher"
        first = say(key, score=self.label(self.loyalty), points=number(abs(g["marginal"]), 3), interval=between, n=n)
        return told(first, base)

    def plot(self, ax=None):
        """Draw the share still a customer by month and loyalty group, with bands."""
        ax = axes_or_new(ax)
        curves = self.further["retained"].dropna(subset=["retained"])
        for colour, (group, c) in zip(PALETTE, curves.groupby("group", sort=False)):
            band = dict(step="post", color=colour, alpha=0.15, linewidth=0)
            ax.fill_between(c["month"], c["conf_low"], c["conf_high"], **band)
            ax.step(c["month"], c["retained"], where="post", color=colour, label=wrap(group))
        ax.set(xlabel="months since the answer", ylabel="", ylim=(None, 1.005))
        ax.legend(title=wrap(self.label(self.loyalty)), loc="lower left")
        found = "A link of the score and leaving is not established" if self.reasons else (
            f"{number(abs(self.summary['marginal']), 3)} points {'lower' if self.summary['marginal'] < 0 else 'higher'} a month per point"
        )  # fmt: skip
        return titled(ax, found, "share still a customer")


def fit_retention(
    customers, *, loyalty: str, asked: str, until: str, observed_until, controls: Sequence[str] = (),
    confidence: float = 0.95, min_rows: int = 100,
) -> Retention:  # fmt: skip
    """Regress leaving in each month after the answer on the score (discrete-time logit).

    Parameters
    ----------
    customers : Survey or DataFrame
        One row per customer; a survey whose persons have several rows is refused.
    asked, until
        Columns of the day of the answer and of the day the customer left (missing while a customer).
    observed_until
        Last day on which leaving would have been seen: a column, or a date.
    controls
        As in `fit_loyalty_revenue`; months of a customer are clustered.

    Returns
    -------
    Retention
        The average marginal value is in percentage points of the monthly chance to leave.

    Raises
    ------
    DataProblem
        Scores measured after the customer left (leakage), a score that tells leavers apart without error (perfect
        separation), nobody or everybody left, a last day that lies beyond what the data show, customers that repeat.

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
    One point more of score goes with a monthly chance to leave that is 0.758 points lower (95 % ...
    """
    survey = as_survey(customers)
    require_share("confidence", confidence)
    frame = durations(survey.table, asked=asked, until=until, observed_until=observed_until, loyalty=loyalty)
    _refuse_repeated(survey, frame, loyalty)
    question = dict(revenue=LEFT, loyalty=loyalty, controls=controls, min_rows=min_rows, what="fit_retention")
    s = cases_of(survey.with_table(frame), **question)
    months = frame["months"].to_numpy()[s.rows]
    if has_no_finite_slope(s.score, s.y == 1):
        raise DataProblem(
            f"{loyalty} alone tells who left (perfect separation): a score recorded after the customer left, or computed from it, does "
            "this; find out when it was recorded"
        )
    leak = gives_away(s.score, s.y == 1, "left", "left")
    table, margin, tested, results = _logit(s, months, confidence)
    reasons = reasons_against(margin[1], margin[2], None, None)
    reasons += (f"the score gives the leaving away ({leak})",) if leak else ()
    summary = {
        "n": s.n, "n_effective": s.n_effective, "leaving": int(s.y.sum()), "months": int(months.max()),
        "method": "discrete-time logit by month", **ends("marginal", *margin), "established": not reasons,
    }  # fmt: skip
    retained, hidden = _retained(s, months, confidence)
    return Retention(
        "fit_retention", until, None, table, summary, (*tested, leak_check(leak, "leaving")), labels=survey.labels,
        further={"retained": retained}, loyalty=loyalty, confidence=confidence, reasons=reasons, results=results,
        suppressed=hidden, domain=survey.condition,
    )  # fmt: skip


def _refuse_repeated(survey: Survey, frame: pd.DataFrame, loyalty: str) -> None:
    person = survey.respondent
    known = frame[frame[loyalty].notna()]
    twice = 0 if person is None else int(known[person].dropna().duplicated().sum())
    if twice:
        raise DataProblem(
            f"{twice} of {len(known)} rows repeat a customer ({person}), whose leaving would count more than once; keep one answer "
            "of each, for example with matched(..., keep='latest')"
        )


def durations(table: pd.DataFrame, *, asked: str, until: str, observed_until, loyalty: str) -> pd.DataFrame:
    """Return the table with whether a customer left and the months (1, 2, ...) seen since the answer."""
    require_columns(table, asked, until, loyalty, where="the table of customers")
    start, left = dates(table, asked), dates(table, until)
    late = int(np.sum(start > left))
    if late:
        raise DataProblem(
            f"{loyalty} was measured after the customer left in {late} of {len(table)} rows ({asked} later than {until}): such a score "
            "cannot foretell leaving; leave these rows out, or correct the dates"
        )
    end = day_of(table, observed_until, "observed_until")
    gone = left.notna() & (left <= end)
    if gone.sum() in (0, len(table)):
        raise DataProblem(
            f"{'nobody' if not gone.any() else 'everybody'} left between the answer and {observed_until}; leaving cannot be compared"
        )
    _refuse_unseen(start, left[gone], end, observed_until)
    seen = (left.where(gone, end) - start).dt.days
    months = np.floor(seen.clip(lower=0) / DAYS).astype(int) + 1
    return table.assign(**{LEFT: gone.astype(float), "months": months})[(seen >= 0).to_numpy()].reset_index(drop=True)


def _refuse_unseen(start, left, end, observed_until) -> None:
    """Refuse a last day after which, at the pace before, somebody would have left: the data end earlier."""
    last = max(left.max(), start.max())
    gap, before = (end.max() - last).days, max((last - start.min()).days, 1)
    if gap > DAYS and np.exp(-len(left) / before * gap) < ONCE_IN_A_MILLION:
        raise DataProblem(
            f"observed_until={observed_until!r} lies {gap} days after the last day on which the data show anything ({last:%Y-%m-%d}), "
            f"while {len(left)} customers left in the {before} days before: name the last day on which leaving would have been seen"
        )


def _logit(s: Cases, months, confidence: float):
    """Return coefficients, the average marginal value with its ends, the checks, and statsmodels' results."""
    who = np.repeat(np.arange(s.n), months)
    month = np.concatenate([np.arange(1, m + 1) for m in months])
    event = (month == months[who]) * s.y[who]
    baseline = _baseline(month, event)
    X, weights, at = np.column_stack([baseline, s.score[who], s.Z[who]]), s.weights[who], baseline.shape[1]
    names = [*[f"stretch {i + 1}" for i in range(at)], s.loyalty, *s.terms]
    results = library(X, event, weights, LOGIT, names, solve_glm(X, event, weights, LOGIT))
    fit = at_solution(X, event, weights, LOGIT, np.asarray(results.params, dtype=float))
    together = np.stack([np.bincount(who, c, minlength=s.n) for c in fit.influence.T], axis=1)  # months of a customer
    V, df = s.covariance(together, X.shape[1]), s.df(X.shape[1])
    share = weights / weights.sum()
    mean = lambda b: np.array([100 * share @ (special.expit(X @ b) * special.expit(-(X @ b))) * b[at]])  # noqa: E731
    slope = gradient(mean, fit.coef)[0]
    value, half = float(mean(fit.coef)[0]), critical_value(confidence, df) * float(np.sqrt(slope @ V @ slope))
    error, coef = np.sqrt(np.diag(V))[at:], fit.coef[at:]
    wide = critical_value(confidence, df) * error
    numbers = {"estimate": coef, "std_error": error, "conf_low": coef - wide, "conf_high": coef + wide, "n": s.n}
    table = pd.DataFrame({"term": names[at:], **numbers})
    return table, (value, value - half, value + half), _checks(s, fit.mu, event, share), results


def _baseline(month, event) -> np.ndarray:
    # an intercept for each stretch of months that holds at least five leavers: fewer would separate perfectly
    stretch, held, codes = 0, 0.0, []
    for m in range(1, int(month.max()) + 1):
        codes.append(stretch)
        held += event[month == m].sum()
        if held >= 5:
            stretch, held = stretch + 1, 0.0
    last = stretch if held >= 5 else max(stretch - 1, 0)
    return (np.minimum(np.array(codes)[month - 1], last)[:, None] == np.arange(last + 1)).astype(float)


def _checks(s: Cases, mu, event, share) -> tuple[Check, ...]:
    fifths = np.array_split(np.argsort(mu), 5)
    gap = max(abs(np.average(mu[i], weights=share[i]) - np.average(event[i], weights=share[i])) for i in fifths)
    per_term, name = s.y.sum() / (1 + s.Z.shape[1]), "largest gap of predicted and observed chance, by fifths"
    return (
        Check("leavers per term", float(per_term), "at least 10", bool(per_term >= 10)),
        Check(name, float(gap), "at most half the mean chance", bool(gap <= 0.5 * share @ event)),
    )


def _retained(s: Cases, months, confidence: float) -> tuple[pd.DataFrame, int]:
    """Return group, month, n (at risk), retained and its interval, and how many are hidden: groups are domains."""
    plain = not (s.is_survey or s.clusters)
    covariance = None if plain else lambda rows: s.covariance(rows, 1)
    group, parts = s.scale.group(s.score), []
    df = np.inf if plain else s.df(1)
    for g, name in enumerate(s.scale.names):
        inside = s.weights * (group == g)
        if not inside.any():
            continue
        last = np.arange(months[inside > 0].max() + 1)
        curve = kaplan_meier(months, s.y, weights=inside, covariance=covariance, at=last, confidence=confidence, df=df)
        shown = {"n": curve.at_risk, "retained": curve.estimate, "conf_low": curve.low, "conf_high": curve.high}
        parts.append(pd.DataFrame({"group": name, "month": curve.time.astype(int), **shown})[: len(last)])
    table = pd.concat(parts, ignore_index=True)
    shown = hide_small_bases(table, min_base=s.min_base, keys=("group", "month"))
    return shown, int((table["n"] < s.min_base).sum())
