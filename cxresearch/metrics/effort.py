"""Customer effort: two versions and three scorings, always named.

References
----------
Dixon, Freeman & Toman (2010), Harvard Business Review 88(7) (version 1); CEB (2013) (version 2).
"""

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.metrics.card import Measure, Scorecard
from cxresearch.metrics.cells import draw_sample, require_options
from cxresearch.metrics.nps import net_columns
from cxresearch.metrics.scores import declared_scale, numeric_answers, require_whole, require_within
from cxresearch.metrics.shares import mean_columns, measured, method_words, share_columns, span_checks, two_sided
from cxresearch.survey import as_survey

EFFORT_SCALES = {1: (1, 5), 2: (1, 7)}
# Answers that count for and against: version 1 asks how much effort (low is good), version 2 whether it was easy.
EFFORT_BOXES = {
    1: {"agree": ((1, 2), ()), "net": ((1, 2), (4, 5))},
    2: {"agree": ((5, 6, 7), ()), "net": ((6, 7), (1, 2, 3))},
}
EFFORT_WORDS = {
    (1, "mean"): "customer effort score 1.0, mean (1–5, low is good)",
    (1, "agree"): "customer effort score 1.0, share of low effort (1–2 on 1–5)",
    (1, "net"): "customer effort score 1.0, net (1–2 minus 4–5 on 1–5)",
    (2, "mean"): "customer effort score 2.0, mean (1–7, high is good)",
    (2, "agree"): "customer effort score 2.0, share agreeing (5–7 on 1–7)",
    (2, "net"): "customer effort score 2.0, net (6–7 minus 1–3 on 1–7)",
}


def effort(
    responses,
    item: str,
    *,
    version: int,
    scoring: str = "mean",
    by: str | None = None,
    wave: bool = False,
    confidence: float = 0.95,
) -> Scorecard:
    """Return a customer effort score, its version and scoring named.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    item : str
        Whole answers: version 1 on 1-5 ("how much effort", low is good), version 2 on 1-7 ("made it easy", high is
        good).
    version : {1, 2}
    scoring : {"mean", "agree", "net"}
        Mean with a t interval; agree, the share of 5-7 (version 1: of low effort, 1-2), with Wilson's; net, 6-7 minus
        1-3 (version 1: 1-2 minus 4-5) in points, with the adjusted Wald interval.
    by, wave, confidence, weight, strata, cluster, fpc, labels, min_base
        As in `nps`.

    Returns
    -------
    Scorecard
        Its `id` holds version and scoring, so that two of them are never compared or trended.

    Raises
    ------
    DataProblem
        Answers that are not whole or off the version's scale, an unknown version or scoring.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.effort(study.responses, "ease", version=2, scoring="agree"))
    Made it easy for me: customer effort score 2.0, share agreeing (5–7 on 1–7) 65.2 % (95 % ...
    """
    survey = as_survey(responses)
    wave = survey.wave_column() if wave else None
    responses = survey.table_in_time(wave)
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    design = {"weight": weight, "strata": strata, "cluster": cluster, "fpc": fpc}
    require_options(
        responses,
        item,
        by,
        wave,
        *design.values(),
        confidence=confidence,
        min_base=min_base,
        version=(version, (1, 2)),
        scoring=(scoring, ("mean", "agree", "net")),
    )
    scores = effort_answers(responses, item, version)
    sample = draw_sample(responses, ~np.isnan(scores), by=by, wave=wave, min_base=min_base, **design)
    answers = scores[sample.rows]
    key, words = f"{item} version {version} {scoring}", EFFORT_WORDS[version, scoring]
    unit = {"mean": "mean", "agree": "share", "net": "points"}[scoring]
    method = method_words({"mean": "t", "agree": "Wilson", "net": "adjusted Wald"}[scoring], sample)
    axis = words + {"mean": ", scale points", "agree": ", %", "net": ", points"}[scoring]
    measure = Measure(words, unit, axis, _classes(version, scoring), method)
    return measured(
        sample,
        lambda s: _effort_columns(s, answers, version, scoring, confidence),
        _effort_codes(answers, version, scoring),
        function="effort",
        item=key,
        by=by,
        measure=measure,
        answers=answers,
        labels={**(labels or {}), key: (labels or {}).get(item, item)},
        confidence=confidence,
        min_base=min_base,
        tested=span_checks(sample, answers, *EFFORT_SCALES[version]),
    )


def effort_answers(responses, item: str, version: int) -> np.ndarray:
    """Return whole answers on the version's scale, (N,), missing as NaN; refuse every other scale."""
    low, high = EFFORT_SCALES[version]
    declared = declared_scale(responses, item)
    if declared is not None and tuple(declared) != (low, high):
        raise DataProblem(
            f"{item} is declared on a scale of {declared[0]}-{declared[1]}; customer effort {version}.0 is "
            f"asked on {low}-{high}; "
            f"choose the other version, or top_box(item={item!r}, threshold=...)"
        )
    scores = numeric_answers(responses, item)
    require_whole(scores, item, why=f"customer effort {version}.0 is answered in whole numbers on {low}-{high}")
    require_within(scores, item, low, high)
    return scores


def _effort_columns(sample, answers, version, scoring, confidence) -> pd.DataFrame:
    if scoring == "mean":
        return mean_columns(sample, answers, confidence)
    if scoring == "agree":
        return share_columns(sample, np.isin(answers, EFFORT_BOXES[version]["agree"][0]), confidence)
    return net_columns(
        sample, _effort_codes(answers, version, scoring), "adjusted_wald", confidence, ("easy", "neither", "hard")
    )


def _effort_codes(answers, version, scoring):
    """Return answers coded -1/0/1, or None for a mean."""
    if scoring == "mean":
        return None
    good, bad = EFFORT_BOXES[version][scoring]
    return (
        two_sided(np.isin(answers, good))
        if scoring == "agree"
        else np.isin(answers, good).astype(float) - np.isin(answers, bad)
    )


def _classes(version: int, scoring: str) -> dict[float, str]:
    """Return what the scoring makes of each answer, from hard to easy; the figure must not show another scoring."""
    low, high = EFFORT_SCALES[version]
    from_hard = range(low, high + 1) if version == 2 else range(high, low - 1, -1)
    if scoring == "mean":
        return dict.fromkeys(map(float, from_hard), "answers")
    good, bad = EFFORT_BOXES[version][scoring]
    words = ("easy", "hard", "neither") if scoring == "net" else ("counted as easy", "", "other")
    return {float(v): words[0] if v in good else words[1] if v in bad else words[2] for v in from_hard}
