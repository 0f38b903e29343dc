"""Top boxes: shares at or above a named threshold; and the columns of shares and means.

References
----------
Wilson (1927); Newcombe (1998), Statistics in Medicine 17, 857-872.
"""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.findings import Check
from cxresearch.inference import wilson_interval
from cxresearch.metrics.card import Measure, Scorecard, assemble
from cxresearch.metrics.cells import Sample, draw_sample, require_options
from cxresearch.metrics.contrasts import cells_p_value, means_p_value
from cxresearch.metrics.intervals import effective_base, t_adjusted_base
from cxresearch.metrics.scores import declared_scale, numeric_answers, require_within
from cxresearch.survey import as_survey


def top_box(
    responses,
    item: str,
    *,
    threshold: float | None,
    by: str | None = None,
    wave: bool = False,
    confidence: float = 0.95,
) -> Scorecard:
    """Return the share of answers at or above a threshold, with Wilson's interval.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    item : str
        A rating, such as satisfaction on 1-5.
    threshold : float
        Lowest answer that counts (4 on 1-5: the top two boxes); None takes the two highest answers of the scale. The
        finding names it.
    by, wave, confidence, weight, strata, cluster, fpc, labels, min_base
        As in `nps`.

    Returns
    -------
    Scorecard
        Shares, 0-1.

    Raises
    ------
    DataProblem
        Text answers, answers off a declared scale, a threshold outside the scale.

    Notes
    -----
    With weights or a design Wilson's interval uses n* = p (1 - p) / error^2, times (z / t)^2. Top boxes of scales of
    different length are not comparable.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.top_box(study.responses, "satisfaction", threshold=6))
    Overall satisfaction: share answering 6 or above on 1–7 36.0 % (95 % interval 33.7 to 38.4 ...
    """
    survey = as_survey(responses)
    wave = survey.wave_column() if wave else None
    responses = survey.table_in_time(wave)
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    design = {"weight": weight, "strata": strata, "cluster": cluster, "fpc": fpc}
    require_options(responses, item, by, wave, *design.values(), confidence=confidence, min_base=min_base)
    scores = numeric_answers(responses, item)
    low, high = _scale_of(responses, item, scores)
    threshold = high - 1 if threshold is None else threshold
    if not low < threshold <= high:
        raise DataProblem(
            f"threshold={threshold!r} must lie above {low:g} and at most at {high:g}, the ends of {item}; "
            "answers at or above it count"
        )
    sample = draw_sample(responses, ~np.isnan(scores), by=by, wave=wave, min_base=min_base, **design)
    answers = scores[sample.rows]
    hit = digits.at_least(answers, threshold)
    words = f"share answering {threshold:g} or above on {low:g}–{high:g}"
    steps = np.unique(answers) if declared_scale(responses, item) is None else np.arange(low, high + 1)
    classes = {
        float(v): f"{threshold:g} or above" if digits.at_least(v, threshold) else f"below {threshold:g}" for v in steps
    }
    measure = Measure(words, "share", f"{words}, %", classes, method_words("Wilson", sample))
    return measured(
        sample,
        lambda s: share_columns(s, hit, confidence),
        two_sided(hit),
        function="top_box",
        item=f"{item} >= {threshold:g}",
        by=by,
        measure=measure,
        answers=answers,
        labels={**(labels or {}), f"{item} >= {threshold:g}": (labels or {}).get(item, item)},
        confidence=confidence,
        min_base=min_base,
        tested=span_checks(sample, answers, low, high),
    )


def share_columns(sample: Sample, hit, confidence: float) -> pd.DataFrame:
    """Return estimate, error, Wilson's interval and bases by cell for a yes/no answer, shares 0-1."""
    p = sample.means(hit.astype(float))
    n, variance = sample.n.astype(float), np.maximum(p * (1 - p), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        std_error = np.sqrt(variance / n if sample.plain else sample.variance(hit.astype(float)))
        base = (
            n
            if sample.plain
            else effective_base(variance, std_error, sample.kish, ceiling=n if sample.clustered else np.inf)
        )
        low, high = wilson_interval(
            p, base if sample.plain else t_adjusted_base(base, sample.df, confidence), confidence
        )
    return pd.DataFrame(
        {"estimate": p, "std_error": std_error, "conf_low": low, "conf_high": high, "n": sample.n, "n_effective": base}
    )


def mean_columns(sample: Sample, values, confidence: float) -> pd.DataFrame:
    """Return estimate, error, t interval (n - 1, or units minus strata) and bases by cell, scale points."""
    mean, n = sample.means(values), sample.n.astype(float)
    variance = np.maximum(sample.means((values - np.nan_to_num(mean)[sample.cell]) ** 2), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        std_error = np.sqrt(variance / (n - 1) if sample.plain else sample.variance(values))
        base = (
            n
            if sample.plain
            else effective_base(variance, std_error, sample.kish, ceiling=n if sample.clustered else np.inf)
        )
        half = stats.t.ppf((1 + confidence) / 2, sample.df) * std_error
    return pd.DataFrame(
        {
            "estimate": mean,
            "std_error": std_error,
            "conf_low": mean - half,
            "conf_high": mean + half,
            "n": sample.n,
            "n_effective": base,
        }
    )


def two_sided(hit) -> np.ndarray:
    """Return 1 for yes and -1 for no: a share as a net score, for joint tests."""
    return np.where(hit, 1.0, -1.0)


def measured(sample: Sample, columns, codes, *, answers, **rest) -> Scorecard:
    """Return the scorecard of `columns` (a function of a sample), with a joint test on `codes`, or on means if None."""
    whole = columns(sample.pooled())
    whole["p_value"] = means_p_value(sample, answers) if codes is None else cells_p_value(sample, codes)
    return assemble(sample, columns(sample), whole, answers=answers, **rest)


def method_words(name: str, sample: Sample) -> str:
    """Return the interval's name with what the sample's design added to it."""
    return f"{name}{'' if sample.plain else ', linearised'}{', raked' if sample.margins else ''}"


def _scale_of(responses, item, scores) -> tuple[float, float]:
    declared = declared_scale(responses, item)
    if declared is None:
        return float(np.nanmin(scores)), float(np.nanmax(scores))
    require_within(scores, item, *declared)
    return float(declared[0]), float(declared[1])


def span_checks(sample: Sample, answers, low, high) -> tuple[Check, ...]:
    """Count cells whose top answer is never given: another scale in one wave looks like a fall."""
    top = pd.Series(answers).groupby(sample.cell).max().reindex(range(len(sample.keys)))
    short = int(((top < high) & (sample.n >= 30)).sum())
    return (
        Check(
            f"cells of 30 answers or more in which nobody answered {high:g} (a shorter scale?)", short, "0", short == 0
        ),
    )
