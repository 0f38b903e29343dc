"""Signal or noise: a control chart of the net promoter score.

References
----------
Shewhart (1931), *Economic Control of Quality*; Laney (2002), Quality Engineering 14 (limits with extra variation);
Nelson (1984), J. Quality Technology 16 (runs).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, QUIET, axes_or_new, wrap
from cxresearch.findings import Check, Finding, describe_columns, listing, number
from cxresearch.metrics.card import base_words
from cxresearch.metrics.cells import draw_sample, require_options
from cxresearch.metrics.contrasts import score_vector
from cxresearch.metrics.hiding import hidden_cells, hide
from cxresearch.metrics.intervals import code_variance
from cxresearch.metrics.scores import recommend_answers, recommend_codes
from cxresearch.metrics.waves import require_two_waves
from cxresearch.survey import as_survey

RUN = 8  # waves in a row on one side of the centre
MOST_DISPERSION = 1.5  # variation between waves, in sampling errors, that limits without extra variation stand
SPAN_FACTOR = 1.128  # mean moving range of two normal values, in standard deviations

describe_columns(
    baseline=("Baseline", "waves that set the centre", 0),
    limits=("Limits at", "standard errors from the centre", 1),
    limit_low=("Lower limit", "below it a wave is a signal, points", 1),
    limit_high=("Upper limit", "above it a wave is a signal, points", 1),
    signal=("Signal", "beyond limits, run of eight, or none"),
    dispersion=("Dispersion", "variation between waves by what sampling allows", 2),
)


@dataclass(frozen=True, repr=False, eq=False)
class ControlChart(Finding):
    """One row per wave, in points: score, centre, limits, signal."""

    def sentence(self) -> str:
        s, signals = self.summary, self.table[~self.table["signal"].isin(["none"]) & self.table["signal"].notna()]
        head = (
            f"{self.label(self.outcome)}: centre {number(s['centre'])} points over {number(s['baseline'], 0)} "
            "baseline waves"
        )
        rule = f"limits at {number(s['limits'], 0)} standard errors, n = {number(s['n'], 0)}"
        if signals.empty:
            return f"{head}; no wave stands out from noise ({rule})."
        words = [f"{self.label(r['wave'])} ({number(r['estimate'])}, {r['signal']})" for _, r in signals.iterrows()]
        return f"{head}; {listing(words[:5])} {'stands' if len(words) == 1 else 'stand'} out from noise ({rule})."

    def plot(self, ax=None):
        """Draw the waves with centre and limits, in points; signals filled red-orange."""
        ax, t = axes_or_new(ax), self.table
        at = np.arange(len(t))
        ax.step(at, t["limit_low"].astype(float), where="mid", color=QUIET, linestyle="--", linewidth=1)
        ax.step(
            at, t["limit_high"].astype(float), where="mid", color=QUIET, linestyle="--", linewidth=1, label="limits"
        )
        ax.axhline(self.summary["centre"], color=QUIET, linewidth=1, label="centre")
        ax.plot(at, t["estimate"], "o-", color=PALETTE[0])
        out = np.flatnonzero(t["signal"].notna() & (t["signal"] != "none"))
        ax.plot(out, t["estimate"].iloc[out], "o", color=PALETTE[1], markersize=9, label="signal")
        ax.set_xticks(at, [self.label(w) for w in t["wave"]], rotation=45 if len(t) > 8 else 0)
        ax.set(xlabel="wave", ylabel="net promoter score, points (−100 to 100)")
        ax.set_title(wrap(self.label(self.outcome), 60), fontsize=10)
        ax.legend(loc="best")
        return ax


def control_chart(
    responses, item: str, *, baseline: int | None = None, limits: float = 3.0, extra_variation: bool = False
) -> ControlChart:
    """Return which waves stand out from what sampling alone would do around a common score.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    score, wave : str
        Recommend item (0-10) and wave column.
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
        Fewer than two waves or baseline waves, limits that are not positive.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.control_chart(study.responses, "recommend"))
    Would recommend us: centre 22.9 points over 4 baseline waves; no wave stands out from noise ...
    """
    survey = as_survey(responses)
    wave = survey.wave
    responses = survey.table_in_time(wave)
    score = item
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    design = {"weight": weight, "strata": strata, "cluster": cluster, "fpc": fpc}
    require_options(responses, score, wave, *design.values(), confidence=0.95, min_base=min_base)
    scores = recommend_answers(responses, score)
    sample = draw_sample(responses, ~np.isnan(scores), wave=wave, min_base=min_base, **design)
    require_two_waves(sample, wave)
    first = len(sample.keys) if baseline is None else baseline
    if not 2 <= first <= len(sample.keys) or not limits > 0:
        raise DataProblem(
            f"baseline={baseline!r} must be 2 to {len(sample.keys)} waves and limits={limits!r} above zero"
        )
    codes = recommend_codes(scores[sample.rows])
    vector = score_vector(sample, codes)
    centre, error = _centre(sample, codes, vector, first)
    z = (vector.raw - centre) / error
    spread = float(np.nanmean(np.abs(np.diff(z[:first]))) / SPAN_FACTOR)
    reach = limits * error * (max(spread, 1.0) if extra_variation else 1.0)
    table = _table(sample, vector, centre, error, reach)
    n = int(sample.n.sum())
    summary = {"centre": 100 * centre, "baseline": first, "limits": limits, "dispersion": spread, "n": n}
    summary |= {"n_effective": float(np.nansum(vector.base)), "method": "Shewhart" + ", Laney" * extra_variation}
    calm = bool(spread <= MOST_DISPERSION or extra_variation)
    limit = f"at most {MOST_DISPERSION:g}, or extra_variation=True"
    tested = (*sample.tested, Check("variation between waves / sampling", digits.rounded(spread, 2), limit, calm))
    shown = hide(table, hidden_cells(table, min_base=min_base), min_base)
    return ControlChart("control_chart", score, None, shown, summary, tested, labels or {})


def _table(sample, vector, centre, error, reach) -> pd.DataFrame:
    words = base_words(sample.n, vector.base)
    signal = np.where(np.isin(words, ["indicative", "enough"]), _signals(vector.raw - centre, reach), "none")
    return sample.keys.assign(
        estimate=100 * vector.raw,
        std_error=100 * error,
        centre=100 * centre,
        limit_low=100 * np.maximum(centre - reach, -1),
        limit_high=100 * np.minimum(centre + reach, 1),
        signal=signal.astype(object),
        n=sample.n,
        n_effective=vector.base,
        base=words,
    )


def _centre(sample, codes, vector, first) -> tuple[float, np.ndarray]:
    inside = sample.cell < first
    w = sample.weights[inside] / sample.weights[inside].sum()
    p, d = w @ (codes[inside] > 0), w @ (codes[inside] < 0)
    with np.errstate(divide="ignore"):
        return float(p - d), np.sqrt(code_variance(p, d) / vector.base)


def _signals(distance, reach) -> np.ndarray:
    side = np.sign(distance)
    run = np.ones(len(side), dtype=int)
    for i in range(1, len(side)):
        run[i] = run[i - 1] + 1 if side[i] == side[i - 1] != 0 else 1
    return np.where(np.abs(distance) > reach, "beyond limits", np.where(run >= RUN, "run of eight", "none")).astype(
        object
    )
