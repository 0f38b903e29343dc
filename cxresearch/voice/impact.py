"""What goes with the score: topics with their tone, the tone of a text, and a follow-up."""

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import require_columns
from cxresearch.figures import PALETTE, axes_or_new, titled
from cxresearch.findings import ENDS, Check, Statement, ends, listing
from cxresearch.inference.survival import kaplan_meier
from cxresearch.survey import as_survey
from cxresearch.voice.texts import read_texts, require_texts, say
from cxresearch.voice.topics import persons_with, together

LEAST, SEEN = 100, 30  # texts with a score; with a topic and without it, and customers followed up and not
UNITS = {"nps": "points of the net promoter score", "share": "percentage points", "mean": "points of the answer"}


def topic_impact(
    responses, *, score: str, text: str, taxonomy=None, language=None, n_boot=1000, confidence=0.95, seed
) -> Statement:
    """Return what complaints and praise of each topic go with: contribution to the score, and at equal other topics.

    Parameters
    ----------
    responses, text, taxonomy, language : as in `tag_topics`
    score : column, 0-10 (net promoter points), 0/1 (percentage points) or another rating (its own points)
    n_boot, seed : bootstrap replicates of respondents, by the survey's design
    confidence : float, of the intervals, together over all topics and tones (Holm)

    Returns
    -------
    Statement
        One row per topic (`term`) and tone: ``estimate`` n_t (m_t - m) / (N - n_t), the mean less the mean without t;
        ``at_equal_topics``, by weighted least squares on all of them and the logarithm of the number of words; ``n``.
        Established where both exclude 0 with one sign and 30 texts have the topic: an association.

    Raises
    ------
    DataProblem, TooFewRespondents
        The score is no number, or the same for everybody; fewer than 100 texts with a score, or than the floor.

    Examples
    --------
    >>> print(cx.topic_impact(study.responses, score="recommend", text="comment", n_boot=100, seed=1))
    Complaints about ...
    """
    read = read_texts(responses, text, language=language, taxonomy=taxonomy)
    survey, (points, unit) = read.survey, points_of(read.survey, score)
    inside = read.says & np.isfinite(points)
    require_texts(inside.sum(), LEAST, "topic_impact")
    sample = survey.sample(inside, what=survey.label(text))
    value = points[sample.rows]
    say.refuse_if(np.ptp(value) == 0, "no_spread", score=score)
    flags = np.hstack([read.mentioned(tone)[sample.rows] for tone in ("negative", "positive")])
    who = np.array([persons_with(sample, f)[0] for f in flags.T])
    asked = (flags.sum(axis=0) >= SEEN) & (who >= survey.min_base) & ((~flags).sum(axis=0) >= SEEN)
    kept, wordy = flags[:, asked], np.log(np.maximum(read.length[sample.rows], 1))
    draws = np.vstack([contribution(w, kept, value) for w in sample.replicates(n_boot, seed=seed)])
    left_out = contribution(sample.weights[None, :], kept, value)[0]
    found = together(left_out, draws.std(axis=0, ddof=1), confidence, sample.df[0])
    fitted, second = least_squares(sample, value, kept, np.column_stack([np.ones(len(value)), wordy]), confidence)
    same = np.sign(found["estimate"]) == np.sign(second["estimate"])
    found["established"] = same & (np.maximum(found["p_adjusted"], second["p_adjusted"]) < 1 - confidence)
    equal = ends("at_equal_topics", *(second[end] for end in ENDS))
    found = found.assign(**equal, p_second=second["p_adjusted"], n=kept.sum(axis=0))
    names = np.array([(t, tone) for tone in ("negative", "positive") for t in read.taxonomy], dtype=object)[asked]
    table = pd.concat([pd.DataFrame(names, columns=["term", "tone"]), found], axis=1)
    order = digits.descending(-table["estimate"].to_numpy(), table["term"] + table["tone"])
    table = table.iloc[order].reset_index(drop=True)
    about = table["tone"].map({"positive": "Praise of ", "negative": "Complaints about "})
    about += table["term"].map(read.labels)
    enough = Check("topics by tone with 30 texts or more", len(table), "at least 1", len(table) > 0, "stops")
    alike = Check("topics whose two ways agree in sign", int(same.sum()), f"all {len(table)}", bool(same.all()))
    checks = *sample.checks, enough, alike
    clear, keys, known = np.flatnonzero(table["established"]), ["impact_open"], {"score": survey.label(score)}
    if clear.size:
        top, rest = table.iloc[clear[0]], listing(name[0].lower() + name[1:] for name in about[clear])
        known = {**top, "n": len(sample), "about": about[clear[0]], "unit": UNITS[unit], "clear": len(clear)}
        known |= {"of": len(table), "rest": rest}
        keys = [f"impact_{'costs' if top['estimate'] < 0 else 'adds'}{'_mean' * (unit == 'mean')}", "impact_more"]
    summary = {"n": len(sample), "method": "leave one out, and least squares on all topics", "confidence": confidence}
    summary["established"] = bool(clear.size)
    drawn = {"names": about, "marked": table["established"], "line": 0}
    drawn["unit"] = f"contribution to the score, {UNITS[unit]}"
    hidden = int(((who > 0) & (who < survey.min_base)).sum())
    more = dict(labels=read.labels, fitted=fitted, drawn=drawn, suppressed=hidden)
    question = "topic_impact", f"{score}, {text}", None, table, summary, checks
    return Statement.of(say, keys, known, confidence, *question, source=survey, **more)


def points_of(survey, score: str) -> tuple[np.ndarray, str]:
    """Return answers in points, and what points they are: nps, share or mean."""
    require_columns(survey.table, score, where="responses")
    answer = pd.to_numeric(survey.table[score], errors="coerce").to_numpy(dtype=float)
    known = np.isfinite(answer)
    say.refuse_if(not known.any(), "no_number", score=score, n=len(answer))
    if score in survey.columns_of("nps") or tuple(survey.scales.get(score) or ()) == (0, 10):
        return np.where(known, 100 * ((answer >= 9).astype(float) - (answer <= 6)), np.nan), "nps"
    return (100 * answer, "share") if set(np.unique(answer[known])) <= {0.0, 1.0} else (answer, "mean")


def satisfied(survey, score: str) -> tuple[np.ndarray, str]:
    """Return 1 for satisfied, 0 for dissatisfied, NaN for neither, and what the two are called."""
    points, unit = points_of(survey, score)
    low, high = survey.scales.get(score) or (np.nanmin(points), np.nanmax(points))
    middle = {"nps": 0, "share": 50}.get(unit, (low + high) / 2)
    kind = {"nps": "promoters and detractors", "share": "1 and 0"}.get(unit, f"above and below {middle:g}")
    return np.where(np.isfinite(points) & (points != middle), (points > middle).astype(float), np.nan), kind


def contribution(weights: np.ndarray, flags: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the mean less the mean without each topic, (b, K), for weights (b, n)."""
    total, summed = weights.sum(axis=1, keepdims=True), weights @ value[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return summed / total - (summed - weights @ (flags * value[:, None])) / (total - weights @ flags)


def least_squares(sample, value, asked, given, confidence: float):
    """Return the statsmodels fit on columns asked for and given, and the former's rows with the design's errors (Holm).

    A column that the others tell exactly has no coefficient of its own: its estimate is missing.
    """
    import statsmodels.api as sm

    x, k = np.column_stack([asked, given]).astype(float), asked.shape[1]
    x = x[:, [i for i in range(x.shape[1]) if i <= k or np.ptp(x[:, i]) > 0]]
    fitted, rank = sm.WLS(value, x, weights=sample.weights).fit(), np.linalg.matrix_rank(x)
    bread = np.linalg.pinv((x * sample.weights[:, None]).T @ x, hermitian=True)
    spread = np.diag(sample.covariance_of((sample.weights * fitted.resid)[:, None] * x @ bread))
    alone = [rank > np.linalg.matrix_rank(np.delete(x, i, axis=1)) for i in range(k)]
    found = np.where(alone, fitted.params[:k], np.nan)
    return fitted, together(found, np.sqrt(np.maximum(spread[:k], 0)), confidence, sample.df[0])


def closed_loop(
    responses, *, score, asked, followed_up, until=None, next_score=None, person=None, target_days=7, confidence=0.95
) -> Statement:
    """Return how soon dissatisfied customers are followed up, and whether it goes with a higher next score.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    score : column; detractors (0-6) of a 0-10 item, else the lower half of its scale, are dissatisfied
    asked, followed_up : columns, dates of the answer and of the follow-up; blank where nobody followed up
    until : date until which follow-ups are recorded; by default the last of either column
    next_score, person : columns; without the first, the next answer of the same person (the survey's respondent)
    target_days, confidence : numbers

    Returns
    -------
    Statement
        Rows ``followed up`` (share within the target, 0-1, Kaplan-Meier), ``naive gain`` (low scores rise by themselves) and
        ``difference`` to those not followed up at the same first score, points; established where it excludes 0.

    Raises
    ------
    DataProblem, TooFewRespondents
        A follow-up before the answer; fewer than 30 dissatisfied customers, or than the floor.

    Examples
    --------
    >>> dates = dict(asked="asked_on", followed_up="followed_up", person="customer")
    >>> print(cx.closed_loop(study.responses, score="recommend", **dates))
    51 % of dissatisfied customers are followed up within 7 days ...
    """
    survey = as_survey(responses)
    table, who = survey.table, person or survey.respondent
    say.refuse_if(asked is None or followed_up is None, "no_dates")
    require_columns(table, score, asked, followed_up, next_score, person, where="responses")
    start, done = (pd.to_datetime(table[c], errors="coerce") for c in (asked, followed_up))
    early = (done < start.dt.normalize()).to_numpy()
    say.refuse_if(early.any(), "too_early", followed_up=followed_up, asked=asked, n=early.sum(), row=np.argmax(early))
    end = max(start.max(), done.max()) if until is None else pd.Timestamp(until)
    low, seen = (satisfied(survey, score)[0] == 0) & (start <= end).to_numpy(), (done <= end).to_numpy()
    require_texts(low.sum(), SEEN, "closed_loop", "dissatisfied answers with a date")
    sample = survey.sample(low, what="dissatisfied customers")
    days = np.maximum((done.where(seen, end) - start).dt.total_seconds().to_numpy() / 86_400, 0)[sample.rows]
    design = dict(weights=sample.weights, covariance=sample.covariance_of, df=sample.df[0], confidence=confidence)
    curve = kaplan_meier(days, seen[sample.rows], at=(target_days,), **design)
    followed = ends("followed", 1 - curve.estimate, 1 - curve.high, 1 - curve.low)
    shown = pd.DataFrame({"days_since": curve.time, **followed, "n": curve.at_risk})
    at = shown[shown["days_since"] <= target_days].iloc[-1]
    rows = [{"term": "followed up", **ends("estimate", *at.iloc[1:4]), "n": len(sample)}]
    answer = pd.to_numeric(table[score], errors="coerce").astype(float)
    later = answer * np.nan if next_score is None else pd.to_numeric(table[next_score], errors="coerce")
    if next_score is None and who is not None:
        order = np.lexsort((start, pd.factorize(table[who])[0]))
        later = answer.iloc[order].groupby(table[who].iloc[order]).shift(-1).reindex(table.index)
    answer, later = answer.to_numpy(), later.to_numpy(dtype=float)
    known = low & np.isfinite(later)
    fewer = int(min((known & seen).sum(), (known & ~seen).sum()))
    enough = fewer >= max(SEEN, survey.min_base)
    if enough:
        again = survey.sample(known, what="dissatisfied customers who answered again")
        first, change, did = answer[again.rows], (later - answer)[again.rows], seen[again.rows]
        gap = least_squares(again, change, did[:, None], first[:, None] == np.unique(first), confidence)[1].iloc[0]
        naive = np.average(change[did], weights=again.weights[did])
        rows.append({"term": "naive gain", "estimate": naive, "n": int(did.sum())})
        rows.append({"term": "difference", **gap[["estimate", "conf_low", "conf_high", "p_value"]], "n": len(again)})
    summary = {"n": len(sample), "method": "Kaplan-Meier; difference at the same first score", "established": None}
    key, known = "loop_no_next", {**at, "n": len(sample), "days": target_days}
    if enough:
        summary["established"] = clear = bool(gap["conf_low"] > 0 or gap["conf_high"] < 0)
        key = ("loop_gains" if gap["estimate"] > 0 else "loop_loses") if clear else "loop_open"
        known = {**gap, **known, "naive": naive, "again": len(again)}
    asked_twice = "dissatisfied who answered again, followed up and not"
    checks = (*sample.checks, Check(asked_twice, fewer, f"at least {SEEN}", fewer >= SEEN))
    further = {"curve": shown[shown["n"] >= survey.min_base]}
    more = dict(further=further, figure=lambda finding, ax: _curve(finding, target_days, ax))
    question = "closed_loop", score, None, pd.DataFrame(rows), summary, checks
    return Statement.of(say, ["loop", key], known, confidence, *question, source=survey, **more)


def _curve(finding: Statement, target: int, ax):
    """Draw the share followed up by days since the answer, with its interval, and the target."""
    ax, shown = axes_or_new(ax), finding.further["curve"]
    low, middle, high = (100 * shown[c] for c in ("followed_low", "followed", "followed_high"))
    ax.step(shown["days_since"], middle, where="post", color=PALETTE[0])
    ax.fill_between(shown["days_since"], low, high, step="post", color=PALETTE[0], alpha=0.15, linewidth=0)
    ax.axvline(target, color=PALETTE[1], linestyle="--", linewidth=1)
    ax.set(xlabel="days since the answer (dashed: the target)", ylabel="followed up, %", ylim=(0, 100))
    return titled(ax, finding.title)
