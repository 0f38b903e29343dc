"""Is the loop closed: how soon dissatisfied customers hear from us, and whether those who do score higher next time.

Kaplan-Meier to the follow-up (who was asked lately has had less time to be called); the change is held against those who
gave the same first score and were *not* followed up: low scores rise by themselves (regression to the mean).
"""

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.figures import PALETTE, axes_or_new, titled
from cxresearch.findings import Check, Statement, ends, interval, number, percent, words
from cxresearch.inference.survival import kaplan_meier
from cxresearch.survey import as_survey
from cxresearch.voice.impact import least_squares, satisfied
from cxresearch.voice.texts import require_texts
from cxresearch.voice.topics import together

say = words(__package__)


def closed_loop(
    responses, *, score: str, asked: str, followed_up: str, until=None, next_score: str | None = None, person: str | None = None,
    target_days: int = 7, confidence: float = 0.95, min_rows: int = 30,
) -> Statement:  # fmt: skip
    """Return how soon dissatisfied customers are followed up, and whether it goes with a higher next score.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    score : column
        Detractors (0-6) of a 0-10 item, else the lower half of its scale, are dissatisfied.
    asked, followed_up : columns
        Dates of the answer and of the follow-up; blank where nobody followed up.
    until : date, optional
        Until when follow-ups are recorded; by default the last date of either column.
    next_score : column, optional
        Score at the next answer; without it the same person's next answer of the survey.
    person : column, optional
        Who answered, by default the survey's respondent.
    target_days : int
    confidence : float
    min_rows : int
        Dissatisfied customers that are needed; and, for the difference, of either kind.

    Returns
    -------
    Statement
        Rows ``followed up`` (share within the target, 0-1), ``naive gain`` and ``difference`` (points of the score).
        Established where the difference's interval leaves out 0.

    Raises
    ------
    DataProblem
        No date can be read, or a follow-up before the answer.
    TooFewRespondents
        Fewer dissatisfied customers than `min_rows`, or than the floor.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> dates = dict(asked="asked_on", followed_up="followed_up", person="customer")
    >>> print(cx.closed_loop(study.responses, score="recommend", **dates))
    51 % of dissatisfied customers are followed up within 7 days ...
    """
    survey = as_survey(responses)
    table = survey.table
    if asked is None or followed_up is None:
        raise DataProblem("closed_loop needs the dates of answers and of follow-ups; declare asked_at and followed_up")
    require_columns(table, score, asked, followed_up, next_score, person, where="responses")
    start, done = (pd.to_datetime(table[c], errors="coerce") for c in (asked, followed_up))
    if (early := (done < start.dt.normalize()).to_numpy()).any():
        raise DataProblem(
            f"{followed_up} is before {asked} in {early.sum()} rows (first: row {int(np.argmax(early))}); mend the dates"
        )
    answer, end = (
        pd.to_numeric(table[score], errors="coerce").to_numpy(dtype=float),
        max(start.max(), done.max()) if until is None else pd.Timestamp(until),
    )
    low = (satisfied(survey, score)[0] == 0) & (start <= end).to_numpy()
    require_texts(low.sum(), min_rows, "closed_loop", "dissatisfied answers with a date")
    sample, seen = survey.sample(low, what="dissatisfied customers"), (done <= end).to_numpy()
    time = np.maximum((done.where(seen, end) - start).dt.total_seconds().to_numpy() / 86_400, 0)[sample.rows]
    curve = kaplan_meier(time, seen[sample.rows], weights=sample.weights, covariance=sample.covariance_of,
                         at=(target_days,), confidence=confidence, df=sample.df[0])  # fmt: skip
    shown = pd.DataFrame(
        {
            "days_since": curve.time,
            **ends("followed", *(1 - c for c in (curve.estimate, curve.high, curve.low))),
            "n": curve.at_risk,
        }
    )
    share = shown[shown["days_since"] <= target_days].iloc[-1]
    rows = [dict(zip(("term", "estimate", "conf_low", "conf_high", "n"), ("followed up", *share[1:4], len(sample))))]
    words = [say("loop", share=percent(share["followed"]), days=target_days, n=number(len(sample), 0),
        span=interval(100 * share["followed_low"], 100 * share["followed_high"], confidence, 0),
    )]  # fmt: skip
    later = (
        _next(survey, person or survey.respondent, answer, start)
        if next_score is None
        else pd.to_numeric(table[next_score], errors="coerce").to_numpy(float)
    )
    known = low & np.isfinite(later)
    fewer, established = min((known & seen).sum(), (known & ~seen).sum()), None
    if fewer >= max(min_rows, survey.min_base):
        rows += _gain(survey, known, answer, later, seen, confidence)
        established = bool(rows[2]["conf_low"] > 0 or rows[2]["conf_high"] < 0)
    words.append(_difference(rows, established, confidence))
    checks = (
        *sample.checks,
        Check(
            "dissatisfied who answered again, followed up and not",
            int(fewer),
            f"at least {min_rows}",
            bool(fewer >= min_rows),
        ),
    )
    shown = shown[shown["n"] >= survey.min_base]
    return Statement(
        "closed_loop", score, None, pd.DataFrame(rows),
        {"n": len(sample), "method": "Kaplan-Meier; difference at the same first score", "established": established},
        checks, survey.labels, {"curve": shown}, domain=survey.condition, words=" ".join(words),
        figure=lambda finding, ax: _curve(shown, target_days, finding.title, ax),
    )  # fmt: skip


def _difference(rows, established, confidence: float) -> str:
    if established is None:
        return say("loop_no_next")
    naive, d = rows[1]["estimate"], rows[2]
    key = "loop_open" if not established else "loop_gains" if d["estimate"] > 0 else "loop_loses"
    size = {"size": number(abs(d["estimate"]))} if established else {}
    span = interval(d["conf_low"], d["conf_high"], confidence)
    return say(key, naive=number(naive), span=span, n=number(d["n"], 0), **size)


def _curve(shown, target: int, title: str, ax):
    """Draw the share followed up by days since the answer, with its interval, and the target."""
    ax = axes_or_new(ax)
    low, middle, high = (100 * shown[c] for c in ("followed_low", "followed", "followed_high"))
    ax.step(shown["days_since"], middle, where="post", color=PALETTE[0])
    ax.fill_between(shown["days_since"], low, high, step="post", color=PALETTE[0], alpha=0.15, linewidth=0)
    ax.axvline(target, color=PALETTE[1], linestyle="--", linewidth=1)
    ax.set(xlabel="days since the answer (dashed: the target)", ylabel="followed up, %", ylim=(0, 100))
    return titled(ax, title)


def _next(survey, person, answer, start) -> np.ndarray:
    """Return the same person's next answer, NaN where there is none or persons are not known."""
    if person is None:
        return np.full(len(answer), np.nan)
    order = pd.DataFrame({"when": start.to_numpy(), "answer": answer}).assign(who=survey.table[person].to_numpy())
    order = order.sort_values(["who", "when"], kind="stable")
    return order.groupby("who")["answer"].shift(-1).reindex(range(len(answer))).to_numpy(dtype=float)


def _gain(survey, known, answer, later, seen, confidence: float) -> list[dict]:
    """Return the gain of those followed up, which rises by itself, and its difference at the same first score."""
    sample = survey.sample(known, what="dissatisfied customers who answered again")
    first, change, did = answer[sample.rows], (later - answer)[sample.rows], seen[sample.rows]
    x = np.column_stack([did, first[:, None] == np.unique(first)]).astype(float)
    fitted, error = least_squares(sample, change, x)
    found = together(np.asarray(fitted.params)[:1], error[:1], confidence, sample.df[0]).iloc[0]
    naive = np.average(change[did], weights=sample.weights[did])
    return [{"term": "naive gain", "estimate": naive, "n": int(did.sum())},
            {"term": "difference", **found[["estimate", "conf_low", "conf_high", "p_value"]], "n": len(sample)}]  # fmt: skip
