"""Time until something happens, seen for some only so far: Kaplan-Meier, median, restricted mean, log-rank.

Weights are relative: errors come from the influence of each row (as a share), through `covariance`, which maps the
influence (n, k) of rows to the covariance (k, k) of their sum: a survey's strata, clusters and fractions belong there.
Without it rows are independent, and with equal weights the error is Greenwood's.

References
----------
Kaplan & Meier (1958), JASA 53:457-481; Williams (1995), Survey Methodology 21 (linearised errors); Kalbfleisch &
Prentice (2002), *Statistical Analysis of Failure Time Data*, 1.4 (log-log interval); Brookmeyer & Crowley (1982),
Biometrics 38:29-41 (median); Lin & Wei (1989), JASA 84 (robust log-rank); Mantel (1966).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch.errors import DataProblem
from cxresearch.inference.intervals import critical_value, joint_p_value

TOGETHER = 32  # times whose influence is held at once


@dataclass(frozen=True)
class Curve:
    """The share to whom nothing has happened yet, at the times that occur and at those asked for."""

    time: np.ndarray  # (k,)
    at_risk: np.ndarray  # (k,) rows of positive weight seen up to that time
    estimate: np.ndarray  # (k,) share just after it
    std_error: np.ndarray  # (k,)
    low: np.ndarray  # (k,) log-log interval
    high: np.ndarray

    def median(self) -> tuple[float, float, float]:
        """Return the first time at which half are left or fewer, and where the band falls to a half; NaN if never."""
        return tuple(_first(self.time, ends <= 0.5 + 1e-12) for ends in (self.estimate, self.low, self.high))


def _first(time, reached) -> float:
    return float(time[np.argmax(reached)]) if reached.any() else np.nan


class _Risk:
    """Hazards at the distinct times, and what each row has to do with them."""

    def __init__(self, time, event, weights, at=()):
        time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=float)
        weights = np.ones(len(time)) if weights is None else np.asarray(weights, dtype=float)
        if not (len(time) and np.isfinite(time).all() and np.isin(event, (0, 1)).all() and weights.sum() > 0):
            raise DataProblem("survival needs rows with a time, an event of 0 or 1 and weights that are not all zero")
        self.weights, self.event = weights / weights.sum(), event
        self.time, self.row = np.unique(np.concatenate([time, at]), return_inverse=True)
        self.row = self.row[: len(time)]
        self.at_risk = self.still((weights > 0).astype(float))
        self.risk, self.lost = self.still(self.weights), self.count(self.weights * event)
        self.hazard = np.divide(self.lost, self.risk, out=np.zeros(len(self.time)), where=self.lost > 0)
        self.survival = np.cumprod(np.where(self.hazard > 1 - 1e-12, 0.0, 1 - self.hazard))
        happens = (self.lost > 0) & (self.survival > 0)  # once the curve is 0 it has no error
        self.jump = np.divide(1.0, self.risk - self.lost, out=np.zeros(len(self.time)), where=happens)
        self.path = np.cumsum(self.hazard * self.jump)

    def count(self, values):
        return np.bincount(self.row, values, minlength=len(self.time))

    def still(self, values):
        return np.cumsum(self.count(values)[::-1])[::-1]

    def influence(self, places) -> np.ndarray:
        """Return the influence (n, k) of rows on the log of the curve at `places`."""
        gone = (self.event * self.jump[self.row])[:, None] * (self.row[:, None] <= places)
        return self.weights[:, None] * (self.path[np.minimum(self.row[:, None], places)] - gone)


def _independent(influence) -> np.ndarray:
    return influence.T @ influence


def kaplan_meier(
    time, event, *, weights=None, covariance=None, at=(), confidence: float = 0.95, df: float = np.inf
) -> Curve:
    """Return the share to whom nothing has happened, by time, with its log-log interval.

    Parameters
    ----------
    time, event : (n,)
        Time until the event (1) or until it was last known not to have happened (0).
    weights : (n,), optional
        Rows of weight zero do not count: a domain keeps its design.
    covariance : function, optional
        As in the module's notes.
    at : times to report as well
    df : of the design
    """
    found, covariance = _Risk(time, event, weights, np.asarray(at, dtype=float)), covariance or _independent
    places, error = np.arange(len(found.time)), np.empty(len(found.time))
    for start in range(0, len(places), TOGETHER):
        part = slice(start, start + TOGETHER)
        error[part] = np.sqrt(np.maximum(np.diag(covariance(found.influence(places[part]))), 0.0))
    known = (found.risk > 0) | (found.survival == 0)  # beyond the longest time seen the share is not
    alive, z = np.where(known, found.survival, np.nan), critical_value(confidence, df)
    inner = (alive > 0) & (alive < 1)
    reach = np.exp(z * error / np.abs(np.log(np.where(inner, alive, 0.5))))
    low, high = (np.where(inner, alive**power, alive) for power in (reach, 1 / reach))
    return Curve(found.time, found.at_risk.astype(int), alive, alive * error, low, high)


def restricted_mean(
    time, event, horizon: float, *, weights=None, covariance=None, confidence: float = 0.95, df: float = np.inf
) -> tuple[float, float, float]:
    """Return the mean time up to `horizon` (the area under the curve so far), and the ends of its interval."""
    found = _Risk(time, event, weights, [horizon])
    last = found.time[found.risk > 0][-1]
    if not 0 < horizon <= last:
        raise DataProblem(f"horizon={horizon:g} must lie above 0 and at most at {last:g}, the longest time seen")
    ends = np.append(found.time[1:], np.inf)
    area = found.survival * np.maximum(np.minimum(ends, horizon) - np.minimum(found.time, horizon), 0.0)
    later, before = np.cumsum(area[::-1])[::-1], np.cumsum(area * found.path)
    own = (found.path[found.row] - found.event * found.jump[found.row]) * later[found.row]
    influence = found.weights * (own + (before - area * found.path)[found.row])
    mean = min(found.time[0], horizon) + area.sum()
    half = critical_value(confidence, df) * np.sqrt((covariance or _independent)(influence[:, None])[0, 0])
    return float(mean), float(mean - half), float(mean + half)


def log_rank(time, event, group, *, weights=None, covariance=None, df: float = np.inf) -> tuple[float, float]:
    """Return the chi-square (with a design, the Wald value) of "all groups have one curve", and its p-value.

    Without weights and design the variance is the hypergeometric one (Mantel 1966), else that of the rows' influence.
    """
    found = _Risk(time, event, weights)
    names, code = np.unique(np.asarray(group), return_inverse=True)
    if len(names) < 2:
        raise DataProblem(f"log_rank compares groups; found {len(names)}")
    member = (code[:, None] == np.arange(len(names) - 1)).astype(float)
    risk = np.stack([found.still(found.weights * m) for m in member.T], axis=1)
    share = np.divide(risk, found.risk[:, None], out=np.zeros(risk.shape), where=risk > 0)
    hazard, shared = np.cumsum(found.hazard), np.cumsum(found.hazard[:, None] * share, axis=0)
    residual = found.event - hazard[found.row]  # of the row under one curve for all: its events less those expected
    surplus = member * residual[:, None] - found.event[:, None] * share[found.row] + shared[found.row]
    influence = found.weights[:, None] * surplus
    if weights is None and covariance is None:
        n, d = found.at_risk, found.count(found.event)
        scale = d * (n - d) / np.maximum(n - 1, 1) / len(code) ** 2
        spread = np.diag(scale @ share) - (share * scale[:, None]).T @ share
    else:
        spread = (covariance or _independent)(influence)
    total = influence.sum(axis=0)
    statistic = float(total @ np.linalg.pinv(spread, hermitian=True) @ total)
    return statistic, joint_p_value(total, spread, df)
