"""Time until something happens, seen for some only so far: Kaplan-Meier, median, restricted mean, log-rank.

Time (n,) is that until the event (1) or until it was last known not to have happened (0); rows of weight zero do not
count. `covariance` maps the influence of rows, (n, k), to the covariance (k, k) of its sum: a survey's design belongs
there. Without it rows are independent, and with equal weights the error is Greenwood's. Williams (1995), Survey
Methodology 21 (linearised errors); Brookmeyer & Crowley (1982), Biometrics 38 (median); Mantel (1966) (log-rank).
"""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
from scipy import special

from cxresearch.findings import say
from cxresearch.inference import critical_value, t_interval

TOGETHER = 32  # times whose influence is held at once


class Curve(namedtuple("Curve", "time at_risk estimate std_error low high")):
    """By time (k,): rows of positive weight seen so far, the share to whom nothing has happened just after it."""

    def median(self) -> tuple[float, float, float]:
        """Return the first time at which half are left or fewer, and where the band falls to a half; NaN if never."""
        time, ends = np.append(self.time, np.nan), (self.estimate, self.low, self.high)
        return tuple(float(time[np.argmax(np.append(end <= 0.5 + 1e-12, True))]) for end in ends)


def _risk(time, event, weights=None, at=()) -> SimpleNamespace:
    """Return the hazards at the distinct times, and what each row has to do with them."""
    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=float)
    weights = np.ones(len(time)) if weights is None else np.asarray(weights, dtype=float)
    fit = len(time) and np.isfinite(time).all() and np.isin(event, (0, 1)).all() and weights.sum() > 0
    say.refuse_if(not fit, "no_survival")
    share, (times, row) = weights / weights.sum(), np.unique(np.concatenate([time, at]), return_inverse=True)
    row = row[: len(time)]
    count = lambda values: np.bincount(row, values, minlength=len(times))  # noqa: E731
    at_risk, risk = (np.cumsum(count(values)[::-1])[::-1] for values in (np.sign(weights), share))
    lost = count(share * event)
    hazard = np.divide(lost, risk, out=np.zeros(len(lost)), where=lost > 0)
    survival = np.cumprod(np.where(hazard > 1 - 1e-12, 0.0, 1 - hazard))
    happens = (lost > 0) & (survival > 0)  # once the curve is 0 it has no error
    jump = np.divide(1.0, risk - lost, out=np.zeros(len(lost)), where=happens)
    known = dict(time=times, at_risk=at_risk, risk=risk, hazard=hazard, jump=jump, survival=survival)
    return SimpleNamespace(weights=share, event=event, row=row, **known)


def kaplan_meier(time, event, *, weights=None, covariance=None, at=(), confidence=0.95, df=np.inf) -> Curve:
    """Return the share to whom nothing has happened, by time and `at` others, with its log-log interval."""
    found, covariance = _risk(time, event, weights, at), covariance or (lambda influence: influence.T @ influence)
    error, row, path = np.empty(len(found.time)), found.row[:, None], np.cumsum(found.hazard * found.jump)
    for start in range(0, len(error), TOGETHER):  # the influence of rows on the log of the curve
        places = np.arange(start, min(start + TOGETHER, len(error)))
        gone = (found.event * found.jump[found.row])[:, None] * (row <= places)
        influence = found.weights[:, None] * (path[np.minimum(row, places)] - gone)
        error[places] = np.sqrt(np.maximum(np.diag(covariance(influence)), 0.0))
    known = (found.risk > 0) | (found.survival == 0)  # beyond the longest time seen the share is not
    alive = np.where(known, found.survival, np.nan)
    inner = (alive > 0) & (alive < 1)
    reach = np.exp(critical_value(confidence, df) * error / np.abs(np.log(np.where(inner, alive, 0.5))))
    low, high = (np.where(inner, alive**power, alive) for power in (reach, 1 / reach))
    return Curve(found.time, found.at_risk.astype(int), alive, alive * error, low, high)


def restricted_mean(time, event, horizon: float, *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the mean time up to `horizon` (the area under the curve so far), and the ends of its interval."""
    found = _risk(time, event, at=[horizon])
    last = found.time[found.risk > 0][-1]
    say.refuse_if(not 0 < horizon <= last, "horizon", horizon=f"{horizon:g}", last=f"{last:g}")
    area = found.survival * np.diff(np.minimum(np.append(found.time, np.inf), horizon))
    later = np.cumsum(area[::-1])[::-1]  # what a loss then takes away
    mean, variance = min(found.time[0], horizon) + area.sum(), later**2 @ (found.hazard * found.jump) / len(found.row)
    return tuple(map(float, t_interval(mean, np.sqrt(variance), np.inf, confidence)[:3]))


def log_rank(time, event, group) -> float:
    """Return the p-value of "all groups have one curve" (Mantel 1966); NaN where a group never meets an event of others."""
    from statsmodels.duration.survfunc import survdiff

    try:
        return float(special.chdtrc(len(np.unique(group)) - 1, survdiff(time, event, group)[0]))
    except np.linalg.LinAlgError:
        return np.nan
