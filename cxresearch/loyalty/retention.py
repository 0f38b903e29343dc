"""Who stays: leaving by month after the answer, against the score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.figures import PALETTE, axes_or_new, titled, wrap
from cxresearch.findings import Check, ends, listing, number
from cxresearch.inference import critical_value
from cxresearch.inference.survival import kaplan_meier
from cxresearch.loyalty.cases import Cases, cases_of
from cxresearch.loyalty.glm import LOGIT, fit_glm, gradient, library
from cxresearch.loyalty.refusals import ONCE_IN_A_MILLION, gives_away, leak_check, refuse_separation
from cxresearch.loyalty.revenue import RevenueFinding, reasons_against
from cxresearch.loyalty.sentences import say, size_interval, told
from cxresearch.loyalty.timing import day_of
from cxresearch.privacy import hide_small_bases
from cxresearch.survey import as_survey

DAYS = 30.4375  # of a month
LEFT = "left (0/1)"


@dataclass(frozen=True, repr=False, eq=False)
class Retention(RevenueFinding):
    """Log odds of leaving in a month per term; `tables()["retained"]`: Kaplan-Meier by group; `model` on person-months."""

    @property
    def _key(self) -> str:
        return "open" if self.reasons else "lower" if self.summary["marginal"] < 0 else "higher"

    def sentence(self) -> str:
        g, score, n = self.summary, self.label(self.loyalty), number(self.summary["n"], 0)
        base = say("leaving base", leaving=number(g["leaving"], 0), months=number(g["months"], 0))
        if self.reasons:
            return told(say("leaving open", score=score, reasons=listing(self.reasons), n=n), base)
        between = size_interval(g["marginal_low"], g["marginal_high"], self.confidence, sign=g["marginal"], decimals=3)
        points = number(abs(g["marginal"]), 3)
        return told(say(f"leaving {self._key}", score=score, points=points, interval=between, n=n), base)

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
        found = f"{number(abs(self.summary['marginal']), 3)} points {self._key} a month per point"
        found = "A link of the score and leaving is not established" if self.reasons else found
        return titled(ax, found, "share still a customer")


def fit_retention(
    customers, *, loyalty: str, asked: str, until: str, observed_until, controls: Sequence[str] = (),
    confidence: float = 0.95, min_rows: int = 100,
) -> Retention:  # fmt: skip
    """Regress leaving in each month after the answer on the score (discrete-time logit).

    The average marginal value is in percentage points of the monthly chance to leave. Refused are scores measured after
    the customer left (leakage), a score that tells leavers apart without error (perfect separation), nobody or everybody
    left, a last day that lies beyond what the data show, and customers that repeat.

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

    Examples
    --------
    >>> dates = dict(asked="asked_on", until="until", observed_until="2025-12-31")
    >>> print(cx.fit_retention(matched, loyalty="recommend", **dates))
    One point more of Would recommend us goes with a monthly chance to leave that is 0.117 points lower (95 % ...
    """
    survey = as_survey(customers)
    require_share("confidence", confidence)
    frame = durations(survey.table, asked=asked, until=until, observed_until=observed_until, loyalty=loyalty)
    survey = survey.with_table(frame)
    survey.require_each_once(frame[loyalty].notna().to_numpy(), "leaving")
    question = dict(revenue=LEFT, loyalty=loyalty, controls=controls, min_rows=min_rows, what="fit_retention")
    s = cases_of(survey, **question)
    months = frame["months"].to_numpy()[s.rows]
    refuse_separation(loyalty, s.score, s.y == 1, "left", "the customer left")
    leak = gives_away(s.score, s.y == 1, "left", "left")
    table, margin, tested, results = _logit(s, months, confidence)
    reasons = reasons_against(margin[1], margin[2], None, None)
    reasons += (f"the score gives the leaving away ({leak})",) if leak else ()
    summary = {"leaving": int(s.y.sum()), "months": int(months.max()), "method": "discrete-time logit by month"}
    retained, hidden = _retained(s, months, confidence)
    return Retention.of(
        "fit_retention", s, table, summary | ends("marginal", *margin), (*tested, leak_check(leak, "leaving")),
        outcome=until, further={"retained": retained}, confidence=confidence, reasons=reasons, results=results,
        suppressed=hidden,
    )  # fmt: skip


def durations(table: pd.DataFrame, *, asked: str, until: str, observed_until, loyalty: str) -> pd.DataFrame:
    """Return the table with whether a customer left and the months (1, 2, ...) seen since the answer."""
    require_columns(table, asked, until, loyalty, where="the table of customers")
    start, left = (day_of(table, column, "the day") for column in (asked, until))
    late = int(np.sum(start > left))
    if late:
        raise DataProblem(
            f"{loyalty} was measured after the customer left in {late} of {len(table)} rows ({asked} later than {until}): such a score "
            "cannot foretell leaving; leave these rows out, or correct the dates"
        )
    end = day_of(table, observed_until, "observed_until")
    gone = left.notna() & (left <= end)
    if gone.all() or not gone.any():
        who = "everybody" if gone.any() else "nobody"
        raise DataProblem(f"{who} left between the answer and {observed_until}; leaving cannot be compared")
    # a last day after which, at the pace before, somebody would have left: the data end earlier
    last = max(left[gone].max(), start.max())
    gap, before = (end.max() - last).days, max((last - start.min()).days, 1)
    if gap > DAYS and np.exp(-gone.sum() / before * gap) < ONCE_IN_A_MILLION:
        raise DataProblem(
            f"observed_until={observed_until!r} lies {gap} days after the last day on which the data show anything ({last:%Y-%m-%d}), "
            f"while {gone.sum()} customers left in the {before} days before: name the last day on which leaving would have been seen"
        )
    seen = (left.where(gone, end) - start).dt.days
    months = np.floor(seen.clip(lower=0) / DAYS).astype(int) + 1
    return table.assign(**{LEFT: gone.astype(float), "months": months})[(seen >= 0).to_numpy()].reset_index(drop=True)


def _logit(s: Cases, months, confidence: float):
    """Return coefficients, the average marginal value with its ends, the checks, and statsmodels' results."""
    who = np.repeat(np.arange(s.n), months)
    month = np.concatenate([np.arange(1, m + 1) for m in months])
    event = (month == months[who]) * s.y[who]
    baseline = _baseline(month, event)
    X, weights, at = np.column_stack([baseline, s.score[who], s.Z[who]]), s.weights[who], baseline.shape[1]
    names = [*[f"stretch {i + 1}" for i in range(at)], s.loyalty, *s.terms]
    fit = fit_glm(X, event, weights, LOGIT)
    results = library(X, event, weights, LOGIT, names, fit.coef)
    coef = np.asarray(results.params, dtype=float)
    together = np.stack([np.bincount(who, c, minlength=s.n) for c in fit.influence.T], axis=1)  # months of a customer
    V, share = s.covariance(together, X.shape[1]), weights / weights.sum()
    mean = lambda b: np.array([100 * share @ (special.expit(X @ b) * special.expit(-(X @ b))) * b[at]])  # noqa: E731
    slope, t = gradient(mean, coef)[0], critical_value(confidence, s.df(X.shape[1]))
    value, half = float(mean(coef)[0]), t * float(np.sqrt(slope @ V @ slope))
    error, coef = np.sqrt(np.diag(V))[at:], coef[at:]
    numbers = {"estimate": coef, "std_error": error, "conf_low": coef - t * error, "conf_high": coef + t * error}
    table = pd.DataFrame({"term": names[at:], **numbers, "n": s.n})
    fifths = np.array_split(np.argsort(fit.mu), 5)
    gap = max(abs(np.average(fit.mu[i] - event[i], weights=share[i])) for i in fifths)
    per_term, name = s.y.sum() / (1 + s.Z.shape[1]), "largest gap of predicted and observed chance, by fifths"
    tested = (
        Check("leavers per term", float(per_term), "at least 10", bool(per_term >= 10)),
        Check(name, float(gap), "at most half the mean chance", bool(gap <= 0.5 * share @ event)),
    )
    return table, (value, value - half, value + half), tested, results


def _baseline(month, event) -> np.ndarray:
    # an intercept for each stretch of months that holds at least five leavers: fewer would separate perfectly
    stretch, held = [0], 0.0
    for leavers in np.bincount(month, event)[1:]:
        held += leavers
        stretch, held = [*stretch, stretch[-1] + (held >= 5)], held * (held < 5)
    last = max(stretch[-1] - 1, 0)
    return (np.minimum(np.array(stretch)[month - 1], last)[:, None] == np.arange(last + 1)).astype(float)


def _retained(s: Cases, months, confidence: float) -> tuple[pd.DataFrame, int]:
    """Return group, month, n (at risk), retained and its interval, and how many are hidden: groups are domains."""
    plain = not (s.is_survey or s.clusters)
    errors = {} if plain else dict(covariance=lambda rows: s.covariance(rows, 1), df=s.df(1))
    group, parts = s.scale.group(s.score), []
    for g in np.unique(group):
        inside = s.weights * (group == g)
        last = np.arange(months[inside > 0].max() + 1)
        curve = kaplan_meier(months, s.y, weights=inside, at=last, confidence=confidence, **errors)
        shown = {"n": curve.at_risk, "retained": curve.estimate, "conf_low": curve.low, "conf_high": curve.high}
        month = curve.time.astype(int)
        parts.append(pd.DataFrame({"group": s.scale.names[g], "month": month, **shown})[: len(last)])
    table = pd.concat(parts, ignore_index=True)
    shown = hide_small_bases(table, min_base=s.min_base, keys=("group", "month"))
    return shown, int((table["n"] < s.min_base).sum())
