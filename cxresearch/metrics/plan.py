"""How many answers a question needs."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, require_share
from cxresearch.figures import PALETTE, axes_or_new, titled
from cxresearch.findings import Check, number, percent
from cxresearch.inference import critical_value
from cxresearch.metrics.question import MeasureFinding


@dataclass(frozen=True, repr=False, eq=False)
class SamplePlan(MeasureFinding):
    """Answers needed for the asked precision (first row) and for others around it; ``n`` of `glance` is the answer."""

    power: float | None = None

    def sentence(self) -> str:
        s, design = self.summary, "" if self.summary["deff"] == 1 else "_design"
        known = {name: percent(s[name]) for name in ("promoters", "detractors")} | {"deff": number(s["deff"], 2)}
        known |= {"confidence": percent(self.confidence), self.outcome: number(s[self.outcome])}
        if self.power is None:
            return f"{self.say('plan_margin', **known)} {self.say('plan' + (design or '_simple'), **known)}"
        return f"{self.say('plan_difference', **known, power=percent(self.power))} {self.say(f'plan_shares{design}', **known)}"

    def plot(self, ax=None):
        """Draw the answers needed against the precision asked for."""
        ax, x = axes_or_new(ax), self.outcome
        table = self.table.sort_values(x)
        ax.plot(table[x], table["needed"], "o-", color=PALETTE[0])
        needed = "answers needed" + ("" if self.power is None else " in each group")
        ax.set(xlabel=f"{x}, points", ylabel=needed, yscale="log")
        return titled(ax, self.title)


def plan_sample(
    *, promoters: float, detractors: float, margin: float | None = None, difference: float | None = None,
    deff: float = 1, power: float = 0.8, confidence: float = 0.95,
) -> SamplePlan:  # fmt: skip
    """Return how many answers a margin, or the detection of a difference, needs.

    s^2 = p + d - (p - d)^2. Margin m: n = deff (z / m)^2 s^2. Difference D: n = deff 2 s^2 (z + z_power)^2 / D^2 in each
    group.

    Parameters
    ----------
    promoters, detractors : float
        Expected shares, 0-1.
    margin, difference : float
        Half the width of the interval, or the difference between two independent groups or waves, in points.
    deff : float
        Design effect: how many times more answers weights and clusters ask for; n / effective n of an earlier wave.

    Examples
    --------
    >>> print(cx.plan_sample(promoters=0.4, detractors=0.2, margin=5))
    861 answers give a 95 % interval of about ±5.0 points if 40 % are promoters and 20 % ...
    """
    require_share("confidence", confidence)
    require_share("power", power)
    if min(promoters, detractors) < 0 or promoters + detractors > 1 or promoters + detractors == 0:
        raise DataProblem(
            f"promoters={promoters!r} and detractors={detractors!r} must be shares (0-1) that add up to more "
            "than 0 and at most 1"
        )
    if (margin is None) == (difference is None):
        raise DataProblem("give either margin or difference, in points")
    name, asked = ("margin", margin) if difference is None else ("difference", difference)
    if not 0 < asked <= 200:
        raise DataProblem(f"{name}={asked!r} must be a number of points above 0 and at most 200")
    if not (np.isfinite(deff) and deff > 0):
        raise DataProblem(f"deff={deff!r} must be a design effect above 0, such as n / effective n of an earlier wave")
    variance = promoters + detractors - (promoters - detractors) ** 2
    if variance == 0:
        raise DataProblem("everybody answers alike at these shares; there is no sampling error to plan for")
    steps, z = asked * np.array([1, 0.5, 0.75, 1.5, 2]), critical_value(confidence)
    unit = z**2 if difference is None else 2 * (z + stats.norm.ppf(power)) ** 2
    needed = np.ceil(deff * variance * unit * (100 / steps) ** 2 - 1e-9).astype(int)
    n, sign = int(needed[0]), "±" if difference is None else ""
    table = pd.DataFrame({"term": [f"{sign}{s:g} points" for s in steps], name: steps, "needed": needed})
    summary = {"n": n, name: float(asked), "promoters": promoters, "detractors": detractors, "deff": float(deff)}
    summary["method"] = "closed form, normal"
    enough = Check("answers enough for the normal approximation", n, "at least 30", n >= 30)
    known = dict(confidence=confidence, power=None if difference is None else power)
    return SamplePlan("plan_sample", name, None, table, summary, (enough,), **known)
