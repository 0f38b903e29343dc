"""Time until something happens, seen for some only so far: Kaplan-Meier, median, restricted mean, log-rank.

Time (n,) is that until the event (1) or until it was last known not to have happened (0). Weights (n,) are relative;
rows of weight zero do not count. `covariance` maps the influence of rows, (n, k), to the covariance (k, k) of its sum: a
survey's design belongs there. Without it rows are independent, and with equal weights the error is Greenwood's.

Kaplan & Meier (1958), JASA 53; Williams (1995), Survey Methodology 21 (linearised errors); Kalbfleisch & Prentice (2002),
1.4 (log-log interval); Brookmeyer & Crowley (1982), Biometrics 38 (median); Lin & Wei (1989), JASA 84; Mantel (1966).
"""

from collections import namedtuple

import numpy as np

from cxresearch.errors import DataProblem
from cxresearch.inference import critical_value, joint_p_value

TOGETHER = 32  # times whose influence is held at once


class Curve(namedtuple("Curve", "time at_risk estimate std_error low high")):
    """By time (k,): rows of positive weight seen so far, the share to whom nothing has happened just after it."""

    def median(self) -> tuple[float, float, float]:
        """Return the first time at which half are left or fewer, and where the band falls to a half; NaN if never."""
        time, ends = np.append(self.time, np.nan), (self.estimate, self.low, self.high)
        return tuple(float(time[np.argmax(np.append(end <= 0.5 + 1e-12, True))]) for end in ends)


class _Risk:
    """Hazards at the distinct times, and what each row has to do with them."""

    def __init__(self, time, event, weights, covariance, at=()):
        self.covariance = covariance or (lambda influence: influence.T @ influence)
        time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=float)
        weights = np.ones(len(time)) if weights is None else np.asarray(weights, dtype=float)
        if not (len(time) and np.isfinite(time).all() and np.isin(event, (0, 1)).all() and weights.sum() > 0):
            raise DataProblem("survival needs rows with a time, an event of 0 or 1 and weights that are not all zero")
        self.weights, self.event = weights / weights.sum(), event
        self.time, row = np.unique(np.concatenate([time, at]), return_inverse=True)
        self.row = row[: len(time)]
        self.at_risk, self.risk = self.count(np.sign(weights), still=True), self.count(self.weights, still=True)
        lost = self.count(self.weights * event)
        self.hazard = np.divide(lost, self.risk, out=np.zeros(len(lost)), where=lost > 0)
        self.survival = np.cumprod(np.where(self.hazard > 1 - 1e-12, 0.0, 1 - self.hazard))
        happens = (lost > 0) & (self.survival > 0)  # once the curve is 0 it has no error
        self.jump = np.divide(1.0, self.risk - lost, out=np.zeros(len(lost)), where=happens)
        self.path = np.cumsum(self.hazard * self.jump)

    def count(self, values, *, still: bool = False):
        """Return sums by time, or of those `still` seen then."""
        sums = np.bincount(self.row, values, minlength=len(self.time))
        return np.cumsum(sums[::-1])[::-1] if still else sums


def kaplan_meier(
    time, event, *, weights=None, covariance=None, at=(), confidence: float = 0.95, df: float = np.inf
) -> Curve:
    """Return the share to whom nothing has happened, by time and `at` others, with its log-log interval."""
    found = _Risk(time, event, weights, covariance, at)
    error, row = np.empty(len(found.time)), found.row[:, None]
    for start in range(0, len(error), TOGETHER):  # the influence of rows on the log of the curve
        places = np.arange(start, min(start + TOGETHER, len(error)))
        gone = (found.event * found.jump[found.row])[:, None] * (row <= places)
        influence = found.weights[:, None] * (found.path[np.minimum(row, places)] - gone)
        error[places] = np.sqrt(np.maximum(np.diag(found.covariance(influence)), 0.0))
    known = (found.risk > 0) | (found.survival == 0)  # beyond the longest time seen the share is not
    alive = np.where(known, found.survival, np.nan)
    inner = (alive > 0) & (alive < 1)
    reach = np.exp(critical_value(confidence, df) * error / np.abs(np.log(np.where(inner, alive, 0.5))))
    low, high = (np.where(inner, alive**power, alive) for power in (reach, 1 / reach))
    return Curve(found.time, found.at_risk.astype(int), alive, alive * error, low, high)


def restricted_mean(
    time, event, horizon: float, *, weights=None, covariance=None, confidence: float = 0.95, df: float = np.inf
) -> tuple[float, float, float]:
    """Return the mean time up to `horizon` (the area under the curve so far), and the ends of its interval."""
    found = _Risk(time, event, weights, covariance, [horizon])
    last = found.time[found.risk > 0][-1]
    if not 0 < horizon <= last:
        raise DataProblem(f"horizon={horizon:g} must lie above 0 and at most at {last:g}, the longest time seen")
    area = found.survival * np.diff(np.minimum(np.append(found.time, np.inf), horizon))
    own = (found.path[found.row] - found.event * found.jump[found.row]) * np.cumsum(area[::-1])[::-1][found.row]
    before = np.cumsum(area * found.path) - area * found.path
    influence = found.weights * (own + before[found.row])
    mean = min(found.time[0], horizon) + area.sum()
    half = critical_value(confidence, df) * np.sqrt(found.covariance(influence[:, None])[0, 0])
    return float(mean), float(mean - half), float(mean + half)


def log_rank(time, event, group, *, weights=None, covariance=None, df: float = np.inf) -> tuple[float, float]:
    """Return the chi-square of "all groups have one curve" and its p-value: without weights and design of the
    hypergeometric variance (Mantel 1966), else of that of the rows' influence.
    """
    found = _Risk(time, event, weights, covariance)
    names, code = np.unique(np.asarray(group), return_inverse=True)
    if len(names) < 2:
        raise DataProblem(f"log_rank compares groups; found {len(names)}")
    member = (code[:, None] == np.arange(len(names) - 1)).astype(float)
    risk = np.stack([found.count(found.weights * m, still=True) for m in member.T], axis=1)
    share = np.divide(risk, found.risk[:, None], out=np.zeros(risk.shape), where=risk > 0)
    residual = found.event - np.cumsum(found.hazard)[found.row]  # events less those expected under one curve for all
    surplus = np.cumsum(found.hazard[:, None] * share, axis=0)[found.row] - found.event[:, None] * share[found.row]
    influence = found.weights[:, None] * (member * residual[:, None] + surplus)
    n, d = found.at_risk, found.count(found.event)
    scale = d * (n - d) / np.maximum(n - 1, 1) / len(code) ** 2
    spread = np.diag(scale @ share) - (share * scale[:, None]).T @ share
    spread = spread if weights is None and covariance is None else found.covariance(influence)
    total = influence.sum(axis=0)
    return float(total @ np.linalg.pinv(spread, hermitian=True) @ total), joint_p_value(total, spread, df)
