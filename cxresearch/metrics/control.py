"""Signal or noise: a control chart of a measure over waves.

References
----------
Shewhart (1931), *Economic Control of Quality*; Laney (2002), Quality Engineering 14 (limits with extra variation);
Nelson (1984), J. Quality Technology 16 (runs).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled
from cxresearch.findings import Check, describe_columns, listing, nothing, number
from cxresearch.metrics.answers import measured
from cxresearch.metrics.estimate import base_words, check_asked, hide, vector
from cxresearch.metrics.finding import MeasureFinding, made
from cxresearch.survey import as_survey

RUN = 8  # waves in a row on one side of the centre
MOST_DISPERSION = 1.5  # variation between waves, in sampling errors, that limits without extra variation stand
SPAN_FACTOR = 1.128  # mean moving range of two normal values, in standard deviations

describe_columns(
    baseline=("Baseline", "waves that set the centre", 0),
    limits=("Limits at", "standard errors from the centre", 1),
    limit_low=("Lower limit", "below it a wave is a signal, in the measure's unit", 1),
    limit_high=("Upper limit", "above it a wave is a signal, in the measure's unit", 1),
    signal=("Signal", "beyond limits, run of eight, or none"),
    dispersion=("Dispersion", "variation between waves by what sampling allows", 2),
)


@dataclass(frozen=True, repr=False, eq=False)
class ControlChart(MeasureFinding):
    """One row per wave, in the measure's unit: value, centre, limits, signal."""

    def sentence(self) -> str:
        s, signals = self.summary, self.table[self.table["signal"].notna() & (self.table["signal"] != "none")]
        known = dict(what=self.what, centre=self.measure.value(s["centre"]), n=number(s["n"], 0))
        limits = self.say("limits", baseline=number(s["baseline"], 0), limits=number(s["limits"], 0))
        if signals.empty:
            return f"{self.say('calm', **known)} {limits}"
        words = [
            f"{self.label(r['wave'])} ({self.measure.value(r['estimate'])}, {r['signal']})"
            for _, r in signals.iterrows()
        ]
        stand = "stands" if len(words) == 1 else "stand"
        return f"{self.say('signals', **known, waves=listing(words[:5]), stand=stand)} {limits}"

    def plot(self, ax=None):
        """Draw the waves with centre and limits; signals filled in another colour."""
        ax, t, shown = axes_or_new(ax), self.table, self.measure.shown
        at = np.arange(len(t))
        for column, label in (("limit_low", None), ("limit_high", "limits")):
            ax.step(
                at, shown * t[column].astype(float), where="mid", color=QUIET, linestyle="--", linewidth=1, label=label
            )
        ax.axhline(shown * self.summary["centre"], color=QUIET, linewidth=1, label="centre")
        ax.plot(at, shown * t["estimate"].astype(float), "o-", color=PALETTE[0])
        out = np.flatnonzero(t["signal"].notna() & (t["signal"] != "none"))
        ax.plot(out, shown * t["estimate"].iloc[out].astype(float), "o", color=PALETTE[1], markersize=9, label="signal")
        ax.set_xticks(at, [self.label(w) for w in t["wave"]], rotation=45 if len(t) > 8 else 0)
        ax.set(xlabel="wave", ylabel=self.measure.axis)
        ax.legend(loc="best")
        return titled(ax, self.headline)


def control_chart(
    responses, item: str, *, measure: str = "nps", threshold=None, version=None, scoring: str = "mean",
    baseline: int | None = None, limits: float = 3.0, extra_variation: bool = False,
):  # fmt: skip
    """Return which waves stand out from what sampling alone would do around a common value.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    item : str
    measure, threshold, version, scoring
        As in `compare_waves`.
    baseline : int, optional
        The first so many waves set the centre (all if None); later ones are judged by it.
    limits : float
        Standard errors from the centre; 3 gives a false alarm in 1 of 370 waves.
    extra_variation : bool
        Widen the limits by the variation from wave to wave beyond sampling (Laney 2002): for large bases.

    Returns
    -------
    ControlChart

    Raises
    ------
    DataProblem
        Fewer than two baseline waves, limits that are not positive, waves whose order nothing tells.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.control_chart(study.responses, "recommend"))
    Would recommend us: no wave stands out from noise around 22.9 points (n = 2,171). The centre ...
    """
    survey = as_survey(responses)
    check_asked(survey, item, confidence=0.95)
    asked = measured(survey, item, measure, threshold=threshold, version=version, scoring=scoring)
    sample = None if survey.wave is None else survey.sample(asked.answered, wave=True, what="the control chart")
    if sample is None or len(sample.keys) < 2:
        why = f"{survey.label(item)}: a control chart cannot be drawn, the survey has one wave"
        return nothing("control_chart", asked.key, None, why, n=int(asked.answered.sum()), labels=survey.labels)
    first = len(sample.keys) if baseline is None else baseline
    if not 2 <= first <= len(sample.keys) or not limits > 0:
        raise DataProblem(
            f"baseline={baseline!r} must be 2 to {len(sample.keys)} waves and limits={limits!r} above zero"
        )
    codes, scale = asked.codes[sample.rows], asked.factor
    compared = vector(sample, codes, asked.form)
    inside = sample.cell < first
    w = sample.weights[inside] / sample.weights[inside].sum()
    centre = float(w @ codes[inside])
    with np.errstate(divide="ignore"):
        error = np.sqrt(max(w @ codes[inside] ** 2 - centre**2, 0.0) / compared.base)
    z = (compared.raw - centre) / error
    spread = float(np.nanmean(np.abs(np.diff(z[:first]))) / SPAN_FACTOR)
    reach = limits * error * (max(spread, 1.0) if extra_variation else 1.0)
    low, high = {"net": (-1, 1), "share": (0, 1)}.get(asked.form, asked.scale)
    words = base_words(sample.n, compared.base)
    signal = np.where(np.isin(words, ["indicative", "enough"]), _signals(compared.raw - centre, reach), "none")
    table = sample.keys.assign(
        estimate=scale * compared.raw, std_error=scale * error, centre=scale * centre,
        limit_low=scale * np.maximum(centre - reach, low), limit_high=scale * np.minimum(centre + reach, high),
        signal=signal.astype(object), n=sample.n, n_effective=compared.base, base=words,
    )  # fmt: skip
    summary = {
        "centre": scale * centre,
        "baseline": first,
        "limits": limits,
        "dispersion": spread,
        "n": int(sample.n.sum()),
    }
    summary |= {"n_effective": float(np.nansum(compared.base)), "method": "Shewhart" + ", Laney" * extra_variation}
    summary["established"] = bool((signal != "none")[~sample.hidden].any())
    calm = bool(spread <= MOST_DISPERSION or extra_variation)
    limit = f"at most {MOST_DISPERSION:g}, or extra_variation=True"
    checks = (*sample.checks, Check("variation between waves / sampling", digits.rounded(spread, 2), limit, calm))
    return made(
        ControlChart, "control_chart", survey, asked, None, hide(table, sample.hidden), summary, checks,
        hidden=sample.hidden.sum(),
    )  # fmt: skip


def _signals(distance, reach) -> np.ndarray:
    """Return by wave whether it lies beyond its limits, or ends eight on one side."""
    side = np.sign(distance)
    run = np.ones(len(side), dtype=int)
    for i in range(1, len(side)):
        run[i] = run[i - 1] + 1 if side[i] == side[i - 1] != 0 else 1
    beyond = np.where(np.abs(distance) > reach, "beyond limits", np.where(run >= RUN, "run of eight", "none"))
    return beyond.astype(object)
