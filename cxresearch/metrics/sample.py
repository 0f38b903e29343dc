"""How many answers a question needs.

References
----------
Rocks (2016), The American Statistician 70(4); Cochran (1977), *Sampling Techniques*, 4.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, require_share
from cxresearch.figures import PALETTE, axes_or_new
from cxresearch.findings import Check, Finding, describe_columns, number, percent
from cxresearch.inference import critical_value
from cxresearch.metrics.intervals import code_variance

describe_columns(
    needed=("Answers needed", "answers (of each group, for a difference) of equal weight", 0),
    margin=("Margin", "half the width of the interval, points", 1),
    difference=("Difference", "difference to be detected, points", 1),
)


@dataclass(frozen=True, repr=False, eq=False)
class SamplePlan(Finding):
    """Answers needed for the asked precision (first row) and for others around it; ``n`` of `glance` is the answer."""

    confidence: float = 0.95
    power: float | None = None

    def sentence(self) -> str:
        s = self.summary
        n = number(s["n"], 0)
        if self.power is None:
            return (
                f"{n} answers give a {percent(self.confidence)} interval of about ±{number(s['margin'])} points "
                f"if {percent(s['promoters'])} are promoters and {percent(s['detractors'])} detractors. "
                "Weights and clusters need more."
            )
        return (
            f"{n} answers in each of two independent groups detect a difference of {number(s['difference'])} "
            f"points with a chance of {percent(self.power)} "
            f"at {percent(self.confidence)} confidence if {percent(s['promoters'])} are promoters and "
            f"{percent(s['detractors'])} detractors. "
            "Weights and clusters need more."
        )

    def plot(self, ax=None):
        """Draw the answers needed against the precision asked for."""
        ax = axes_or_new(ax)
        x = "margin" if self.power is None else "difference"
        table = self.table.sort_values(x)
        ax.plot(table[x], table["needed"], "o-", color=PALETTE[0])
        ax.set(
            xlabel=f"{x}, points",
            ylabel="answers needed" + ("" if self.power is None else " in each group"),
            yscale="log",
            title="Precision and answers",
        )
        return ax


def plan_sample(
    *,
    promoters: float,
    detractors: float,
    margin: float | None = None,
    difference: float | None = None,
    power: float = 0.8,
    confidence: float = 0.95,
) -> SamplePlan:
    """Return how many answers a margin, or the detection of a difference, needs.

    Parameters
    ----------
    promoters, detractors : float
        Expected shares, 0-1.
    margin : float
        Half the width of the interval, in points. Give this or `difference`.
    difference : float
        Difference between two independent groups or waves, in points.
    power, confidence : float

    Returns
    -------
    SamplePlan

    Raises
    ------
    DataProblem
        Shares that are no shares, neither or both of margin and difference, or one that is not positive.

    Notes
    -----
    s^2 = p + d - (p - d)^2. Margin m: n = (z / m)^2 s^2. Difference D: n = 2 s^2 (z + z_power)^2 / D^2 in each group.

    Examples
    --------
    >>> import cxresearch as cx
    >>> print(cx.plan_sample(promoters=0.4, detractors=0.2, margin=5))
    861 answers give a 95 % interval of about ±5.0 points if 40 % are promoters and 20 % ...
    """
    require_share("confidence", confidence)
    require_share("power", power)
    asked, variance = _asked(promoters, detractors, margin, difference)
    steps = asked * np.array([1, 0.5, 0.75, 1.5, 2])
    unit = (
        critical_value(confidence) ** 2 * variance
        if margin is not None
        else 2 * variance * (critical_value(confidence) + stats.norm.ppf(power)) ** 2
    )
    needed = np.ceil(unit * (100 / steps) ** 2 - 1e-9).astype(int)
    name = "margin" if margin is not None else "difference"
    table = pd.DataFrame(
        {
            "term": [f"±{s:g} points" if margin is not None else f"{s:g} points" for s in steps],
            name: steps,
            "needed": needed,
        }
    )
    summary = {
        "n": int(needed[0]),
        name: float(asked),
        "promoters": promoters,
        "detractors": detractors,
        "method": "closed form, normal",
    }
    tested = (
        Check("answers enough for the normal approximation", int(needed[0]), "at least 30", bool(needed[0] >= 30)),
    )
    return SamplePlan(
        "plan_sample",
        name,
        None,
        table,
        summary,
        tested,
        confidence=confidence,
        power=None if margin is not None else power,
    )


def _asked(promoters, detractors, margin, difference) -> tuple[float, float]:
    """Return the points asked for and the variance of one answer; refuse what cannot be planned."""
    if min(promoters, detractors) < 0 or promoters + detractors > 1 or promoters + detractors == 0:
        raise DataProblem(
            f"promoters={promoters!r} and detractors={detractors!r} must be shares (0-1) that add up to more "
            "than 0 and at most 1"
        )
    if (margin is None) == (difference is None):
        raise DataProblem("give either margin or difference, in points")
    asked = difference if margin is None else margin
    if not 0 < asked <= 200:
        raise DataProblem(
            f"{'difference' if margin is None else 'margin'}={asked!r} must be a number of points above 0 and "
            "at most 200"
        )
    variance = float(code_variance(promoters, detractors))
    if variance == 0:
        raise DataProblem("everybody answers alike at these shares; there is no sampling error to plan for")
    return asked, variance
