"""The net promoter score and its interval.

References
----------
Reichheld (2003), Harvard Business Review 81(12); Rocks (2016), The American Statistician 70(4), 365-372;
Goodman (1965), Technometrics 7(2).
"""

import numpy as np
import pandas as pd

from cxresearch.findings import Check
from cxresearch.inference import goodman_intervals
from cxresearch.metrics.card import Measure, Scorecard, assemble
from cxresearch.metrics.cells import Sample, draw_sample, require_options
from cxresearch.metrics.contrasts import cells_p_value, net_base
from cxresearch.metrics.intervals import INTERVALS, METHODS, code_variance, t_adjusted_base
from cxresearch.metrics.scores import declared_scale, recommend_answers, recommend_codes
from cxresearch.survey import as_survey

GROUP_OF = {
    **dict.fromkeys(range(7), "detractors 0–6"),
    **dict.fromkeys((7, 8), "passives 7–8"),
    **dict.fromkeys((9, 10), "promoters 9–10"),
}
AXIS = "net promoter score, points (−100 to 100)"
NAMES = {"adjusted_wald": "adjusted Wald", "score": "score", "wald": "Wald"}


def nps(
    responses,
    item: str,
    *,
    by: str | None = None,
    wave: bool = False,
    method: str = "adjusted_wald",
    confidence: float = 0.95,
) -> Scorecard:
    """Return the net promoter score, 100 (promoters - detractors), with its interval.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
        One row per response; rows without an answer are left out and counted.
    score : str
        Recommend item on 0-10, whole answers.
    by, wave : str, optional
        Columns to split by; they come out as `group` and `wave`.
    method : {"adjusted_wald", "score", "wald"}
        Adjusted Wald adds 3/4 promoter, 3/2 passive and 3/4 detractor (Rocks 2016); the point stays the plain score.
    confidence : float
        Nominal coverage.

    Returns
    -------
    Scorecard
        In points, -100...100, with the shares of promoters, passives and detractors (0-1).

    Raises
    ------
    DataProblem
        Answers that are not whole numbers on 0-10, a declared or apparent 1-10 scale, weights that are missing,
        negative or zero in a whole cell.

    Notes
    -----
    One answer has variance p + d - (p - d)^2. With weights or a design the error is linearised, and the interval uses
    n* = variance / error^2 answers, times (z / t)^2 with t on units minus strata (after Korn & Graubard 1998).
    Where all answer alike n* is Kish's effective n. Intervals are cut at -100 and 100.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> finding = cx.nps(study.responses, "recommend", wave=True)
    >>> finding.tidy()[["wave", "estimate", "conf_low", "conf_high", "n"]].round(1)
         wave  estimate  conf_low  conf_high    n
    0  2024Q1      22.0      14.7       29.1  523
    1  2024Q2      26.5      19.4       33.3  559
    2  2024Q3      15.7       8.3       22.9  522
    3  2024Q4      26.7      19.6       33.4  567
    """
    survey = as_survey(responses)
    wave = survey.wave_column() if wave else None
    responses = survey.table_in_time(wave)
    score = item
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    design = {"weight": weight, "strata": strata, "cluster": cluster, "fpc": fpc}
    require_options(
        responses, score, by, wave, *design.values(), confidence=confidence, min_base=min_base, method=(method, METHODS)
    )
    scores = recommend_answers(responses, score)
    sample = draw_sample(responses, ~np.isnan(scores), by=by, wave=wave, min_base=min_base, **design)
    answers = scores[sample.rows]
    codes = recommend_codes(answers)
    part, whole = (
        net_columns(s, codes, method, confidence, ("promoters", "passives", "detractors"))
        for s in (sample, sample.pooled())
    )
    whole["p_value"] = cells_p_value(sample, codes)
    words = f"{NAMES[method]}{'' if sample.plain else ', linearised'}{', raked' if sample.margins else ''}"
    measure = Measure("net promoter score", "points", AXIS, GROUP_OF, words)
    return assemble(
        sample,
        part,
        whole,
        function="nps",
        item=score,
        by=by,
        measure=measure,
        answers=answers,
        labels=labels,
        confidence=confidence,
        min_base=min_base,
        tested=tuple(_scale_checks(responses, score, answers, part)),
        further={"groups": _groups(sample, part, confidence)},
    )


def net_columns(sample: Sample, codes, method: str, confidence: float, names) -> pd.DataFrame:
    """Return estimate, error, interval, bases and shares by cell for answers coded -1/0/1, in points.

    `names` are the columns for the shares coded 1, 0 and -1.
    """
    p, d = sample.means(codes > 0), sample.means(codes < 0)
    n = sample.n.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        std_error = np.sqrt(code_variance(p, d) / n if sample.plain else sample.variance(codes))
        base = n if sample.plain else net_base(sample, p, d, std_error)
        held = base if sample.plain else t_adjusted_base(base, sample.df, confidence)
        low, high = INTERVALS[method](p, d, held, confidence)
    return pd.DataFrame(
        {
            "estimate": 100 * (p - d),
            "std_error": 100 * std_error,
            "conf_low": 100 * low,
            "conf_high": 100 * high,
            "n": sample.n,
            "n_effective": base,
            names[0]: p,
            names[1]: 1 - p - d,
            names[2]: d,
        }
    )


def _groups(sample: Sample, part: pd.DataFrame, confidence: float) -> pd.DataFrame:
    names = ["promoters", "passives", "detractors"]
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = goodman_intervals(np.clip(part[names].to_numpy(), 0, 1), part["n_effective"].to_numpy(), confidence)
    table = sample.keys.loc[sample.keys.index.repeat(3)].reset_index(drop=True)
    return table.assign(
        term=np.tile(names, len(part)),
        share=part[names].to_numpy().ravel(),
        conf_low=low.ravel(),
        conf_high=high.ravel(),
        n=np.repeat(part["n"].to_numpy(), 3),
        method="Goodman, simultaneous for the three groups",
    )


def _scale_checks(responses, score, answers, part):
    zeros, ones = int((answers == 0).sum()), int((answers == 1).sum())
    declared = declared_scale(responses, score) is not None
    yield Check(
        "scale is 0–10, not 1–10: answers of 0",
        zeros,
        "more than 0 where 1 is answered",
        declared or zeros > 0 or ones == 0,
    )
    rare = (part["n_effective"] * part[["promoters", "detractors"]].min(axis=1) < 5).to_numpy()
    yield Check(
        "cells with fewer than 5 promoters or detractors (exact coverage may be 91 %)",
        int(rare.sum()),
        "0",
        not rare.any(),
    )
