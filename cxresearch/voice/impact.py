"""What a topic goes with: the score without the texts that complain of it, and the score at equal other topics.

Leave-one-out: C = n_t (m_t - m) / (N - n_t) = m - m without t. Adjusted: weighted least squares of the answer on all
topics by tone and the logarithm of the number of words (a fuller text mentions more), with the design's covariance.
"""

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, require_columns
from cxresearch.figures import forest
from cxresearch.findings import Check, Statement, listing, number, percent, words
from cxresearch.survey import as_survey
from cxresearch.voice.taxonomy import tag
from cxresearch.voice.texts import read_texts, require_texts
from cxresearch.voice.topics import persons_with, together

say = words(__package__)

SEEN = 30  # texts with a topic before anything is said of it
UNITS = {"nps": "points of the net promoter score", "share": "percentage points", "mean": "points of the answer"}


def topic_impact(
    responses,
    *,
    score: str,
    text: str,
    taxonomy=None,
    language: str | None = None,
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed,
) -> Statement:
    """Return what complaints and praise of each topic go with: contribution to the score, and at equal other topics.

    Parameters
    ----------
    responses, text, taxonomy, language
        As in `tag_topics`.
    score : column
        A 0-10 answer (in net promoter points), 0/1 (in percentage points), or another rating (in its own points).
    n_boot, seed
        Bootstrap replicates of respondents, by the survey's design.
    confidence
        Of the intervals, together over all topics and tones (Holm).
    min_rows : int
        Texts with a score that are needed.

    Returns
    -------
    Statement
        One row per topic (`term`) and tone: ``estimate`` (leave-one-out contribution, points), ``at_equal_topics``, ``n``.
        Established where both exclude 0 with the same sign and 30 texts or more have the topic. An association:
        whoever complains of a topic may be unhappy for another reason.

    Raises
    ------
    DataProblem
        The score is no number, or everybody gave the same.
    TooFewRespondents
        Fewer texts with a score than `min_rows` or the floor.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.topic_impact(study.responses, score="recommend", text="comment", n_boot=100, seed=1))
    Complaints about Delivery go with ...
    """
    survey = as_survey(responses)
    require_columns(survey.table, score, where="responses")
    tags = tag(read_texts(survey, text, language=language), taxonomy)
    points, unit = points_of(survey, score)
    inside = tags.informative & np.isfinite(points)
    require_texts(inside.sum(), min_rows, "topic_impact")
    sample = survey.sample(inside, what=survey.label(text))
    value = points[sample.rows]
    if np.ptp(value) == 0:
        raise DataProblem(f"{score}: everybody whose text says something gave the same answer; nothing goes with it")
    flags = np.hstack([tags.mentioned(tone)[sample.rows] for tone in ("negative", "positive")])
    who = persons_with(sample, flags)[0]
    asked = (flags.sum(axis=0) >= SEEN) & (who >= survey.min_base) & ((~flags).sum(axis=0) >= SEEN)
    kept = flags[:, asked]
    draws = np.vstack([contribution(w, kept, value) for w in sample.replicates(n_boot, seed=seed)])
    found = together(contribution(sample.weights[None, :], kept, value)[0], draws.std(axis=0, ddof=1), confidence, sample.df[0])  # fmt: skip
    fitted, second = _adjusted(sample, kept, value, tags.texts.length[sample.rows], confidence)
    same = np.sign(found["estimate"]) == np.sign(second["estimate"])
    found["established"] = same & (np.maximum(found["p_adjusted"], second["p_adjusted"]) < 1 - confidence)
    found[["at_equal_topics", "at_equal_topics_low", "at_equal_topics_high", "p_second"]] = second[["estimate", "conf_low", "conf_high", "p_adjusted"]]  # fmt: skip
    names = pd.DataFrame(
        [(t, tone) for tone in ("negative", "positive") for t in tags.topics], columns=["term", "tone"]
    )
    table = pd.concat([names[asked].reset_index(drop=True), found], axis=1).assign(n=kept.sum(axis=0))
    order = digits.descending(-table["estimate"].to_numpy(), table["term"] + table["tone"])
    table = table.iloc[order].reset_index(drop=True)
    labels = tags.labels
    about = [
        f"{'complaints about' if r.tone == 'negative' else 'praise of'} {labels[r.term]}" for r in table.itertuples()
    ]
    checks = (
        *sample.checks,
        Check("topics by tone with 30 texts or more", len(table), "at least 1", len(table) > 0, "stops"),
        Check("topics whose two ways agree in sign", int(same.sum()), f"all {len(table)}", bool(same.all())),
    )
    summary = {"n": len(sample), "method": "leave one out, and least squares on all topics", "confidence": confidence}
    return Statement(
        "topic_impact", f"{score}, {text}", None, table, summary | {"established": bool(table["established"].any())},
        checks, labels, suppressed=int(((who > 0) & (who < survey.min_base)).sum()), domain=survey.condition, fitted=fitted,
        words=_words(table, about, UNITS[unit], len(sample), confidence, survey.label(score)),
        figure=lambda finding, ax: forest(
            table, "estimate", low="conf_low", high="conf_high", names=[a[0].upper() + a[1:] for a in about], title=finding.title,
            marked=table["established"], line=0, unit=f"contribution to the score, {UNITS[unit]}", ax=ax,
        ),
    )  # fmt: skip


def _words(table, about, unit: str, n: int, confidence: float, score: str) -> str:
    known = dict(n=number(n, 0), span=percent(confidence))
    clear = np.flatnonzero(table["established"].to_numpy(dtype=bool))
    if not clear.size:
        return say("impact_open", score=score, **known)
    top = table.iloc[clear[0]]
    known |= dict(size=number(abs(top["estimate"])), low=number(top["conf_low"]), high=number(top["conf_high"]))
    first = say("impact_costs" if top["estimate"] < 0 else "impact_adds", about=about[clear[0]][0].upper() + about[clear[0]][1:], unit=unit, **known)  # fmt: skip
    rest = listing(about[i] for i in clear)
    return f"{first} {say('impact_more', clear=len(clear), of=len(table), rest=rest)}"


def points_of(survey, score: str) -> tuple[np.ndarray, str]:
    """Return answers in points, and what points they are: nps, share or mean."""
    answer = pd.to_numeric(survey.table[score], errors="coerce").to_numpy(dtype=float)
    known = answer[np.isfinite(answer)]
    if not known.size:
        raise DataProblem(f"{score} holds no number in any of {len(answer)} rows; name the column of the score")
    if score in survey.columns_of("nps") or tuple(survey.scales.get(score) or ()) == (0, 10):
        return np.where(np.isfinite(answer), 100 * ((answer >= 9).astype(float) - (answer <= 6)), np.nan), "nps"
    return (100 * answer, "share") if set(np.unique(known)) <= {0.0, 1.0} else (answer, "mean")


def satisfied(survey, score: str) -> tuple[np.ndarray, str]:
    """Return 1 for satisfied, 0 for dissatisfied, NaN for neither, and what the two are called."""
    points, unit = points_of(survey, score)
    low, high = {"nps": (-100, 100), "share": (0, 100)}.get(unit) or survey.scales.get(score) or (np.nanmin(points), np.nanmax(points))  # fmt: skip
    middle = (low + high) / 2
    kind = {"nps": "promoters and detractors", "share": "1 and 0"}.get(unit, f"above and below {middle:g}")
    return np.where(np.isfinite(points) & (points != middle), (points > middle).astype(float), np.nan), kind


def contribution(weights: np.ndarray, flags: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the mean less the mean without each topic, (b, K), for weights (b, n)."""
    total, summed = weights.sum(axis=1, keepdims=True), weights @ value[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return summed / total - (summed - weights @ (flags * value[:, None])) / (total - weights @ flags)


def least_squares(sample, value, x):
    """Return the statsmodels fit and the design's errors of its coefficients."""
    import statsmodels.api as sm

    fitted = sm.WLS(value, x, weights=sample.weights).fit()
    bread = np.linalg.pinv((x * sample.weights[:, None]).T @ x, hermitian=True)
    influence = (sample.weights * fitted.resid)[:, None] * x @ bread
    return fitted, np.sqrt(np.maximum(np.diag(sample.covariance_of(influence)), 0))


def _adjusted(sample, flags, value, length, confidence: float):
    """Return the fit on all topics and log words, and its rows; missing for a topic that the others tell exactly."""
    words = np.log(np.maximum(length, 1))[:, None]
    x = np.hstack([flags.astype(float), words[:, : int(np.ptp(words) > 0)], np.ones((len(value), 1))])
    k, rank = flags.shape[1], np.linalg.matrix_rank(x)
    told = np.array([rank == np.linalg.matrix_rank(np.delete(x, i, axis=1)) for i in range(k)], dtype=bool)
    fitted, error = least_squares(sample, value, x)
    return fitted, together(np.where(told, np.nan, fitted.params[:k]), error[:k], confidence, sample.df[0])
