"""What goes with the score: topics with their tone, the tone of a text, its words, and a follow-up."""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import require_columns
from cxresearch.figures import PALETTE, axes_or_new, titled
from cxresearch.findings import ENDS, Check, Finding, ends, listing, nothing, number, percent
from cxresearch.inference import critical_value, t_interval, wilson_interval
from cxresearch.inference.survival import kaplan_meier
from cxresearch.survey import as_survey
from cxresearch.voice.texts import read_texts, require_texts, say
from cxresearch.voice.topics import persons_with, together

LEAST, SEEN = 100, 30  # texts with a score; with a topic and without it, and customers followed up and not
SURE = 0.8  # chance above which a text is taken to praise; below 1 - SURE, to complain
JUDGED = {"negative": "Complaints about ", "positive": "Praise of "}
UNITS = {"nps": "points of the net promoter score", "share": "percentage points", "mean": "points of the answer"}


def topic_impact(
    responses, *, score: str, text: str, taxonomy=None, language=None, n_boot=1000, confidence=0.95, seed
) -> Finding:
    """Return what complaints and praise of each topic go with: contribution to the score, and at equal other topics.

    Rows are topics (`term`) by tone: ``estimate`` n_t (m_t - m) / (N - n_t), the mean less the mean without t, and
    ``at_equal_topics``, by weighted least squares on all of them and the logarithm of the number of words. Established
    where both exclude 0 with one sign and 30 texts have the topic: an association.

    Parameters
    ----------
    responses, text, taxonomy, language : as in `tag_topics`
    score : column, 0-10 (net promoter points), 0/1 (percentage points) or another rating (its own points)
    n_boot, seed, confidence : replicates of respondents by the design; intervals hold together over all topics (Holm)

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
    names = [(topic, tone) for tone in JUDGED for topic in read.taxonomy]
    flags = np.hstack([read.mentioned(tone)[sample.rows] for tone in JUDGED])
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
    about = pd.DataFrame([name for name, kept in zip(names, asked) if kept], columns=["term", "tone"])
    order = digits.descending(-found["estimate"].to_numpy(), about["term"] + about["tone"])
    table = pd.concat([about, found], axis=1).iloc[order].reset_index(drop=True)
    about = table["tone"].map(JUDGED) + table["term"].map(read.labels)
    enough = Check("topics by tone with 30 texts or more", len(table), "at least 1", len(table) > 0, "stops")
    alike = Check("topics whose two ways agree in sign", int(same.sum()), f"all {len(table)}", bool(same.all()))
    clear, keys, known = np.flatnonzero(table["established"]), ["impact_open"], {"score": survey.label(score)}
    if clear.size:
        top, rest = table.iloc[clear[0]], listing(name[0].lower() + name[1:] for name in about[clear])
        known = {**top, "n": len(sample), "about": about[clear[0]], "unit": UNITS[unit], "rest": rest}
        known |= {"of": len(table), "clear": len(clear)}
        keys = [f"impact_{'costs' if top['estimate'] < 0 else 'adds'}{'_mean' * (unit == 'mean')}", "impact_more"]
    summary = dict(n=len(sample), method="leave one out, and least squares on all topics", confidence=confidence)
    summary["established"] = bool(clear.size)
    drawn = dict(names=about, marked=table["established"], line=0, unit=f"contribution to the score, {UNITS[unit]}")
    hidden, checks = int(((who > 0) & (who < survey.min_base)).sum()), (*sample.checks, enough, alike)
    question = "topic_impact", f"{score}, {text}", None, table, summary, checks
    more = dict(labels=read.labels, fitted=fitted, drawn=drawn, suppressed=hidden)
    return Finding.of(say, keys, known, confidence, *question, source=survey, **more)


def points_of(survey, score: str) -> tuple[np.ndarray, str]:
    """Return answers in points, and what points they are: nps, share or mean."""
    require_columns(survey.table, score, where="responses")
    answer = pd.to_numeric(survey.table[score], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    known = np.isfinite(answer)
    say.refuse_if(not known.any(), "no_number", score=score, n=len(answer))
    if score in survey.columns_of("nps") or tuple(survey.scales.get(score) or ()) == (0, 10):
        return np.where(known, 100 * ((answer >= 9).astype(float) - (answer <= 6)), np.nan), "nps"
    return (100 * answer, "share") if set(answer[known]) <= {0.0, 1.0} else (answer, "mean")


def satisfied(survey, score: str) -> tuple[np.ndarray, str]:
    """Return 1 for satisfied, 0 for dissatisfied, NaN for neither, and what the two are called."""
    points, unit = points_of(survey, score)
    middle = sum(survey.scales.get(score) or (np.nanmin(points), np.nanmax(points))) / 2
    middle, kind = {"nps": (0, "promoters and detractors"), "share": (50, "1 and 0")}.get(unit, (middle, ""))
    value = np.where(np.isfinite(points) & (points != middle), (points > middle).astype(float), np.nan)
    return value, kind or f"above and below {middle:g}"


def contribution(weights: np.ndarray, flags: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the mean less the mean without each topic, (b, K), for weights (b, n)."""
    total, summed = weights.sum(axis=1, keepdims=True), weights @ value[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return summed / total - (summed - weights @ (flags * value[:, None])) / (total - weights @ flags)


def least_squares(sample, value, asked, given, confidence: float):
    """Return the statsmodels fit on columns asked for and given, and the former's rows with the design's errors (Holm);
    the estimate of a column that the others tell exactly is missing.
    """
    from statsmodels.regression.linear_model import WLS

    x, k = np.column_stack([asked, given]).astype(float), asked.shape[1]
    x = x[:, [i for i in range(x.shape[1]) if i <= k or np.ptp(x[:, i]) > 0]]
    fitted, rank = WLS(value, x, weights=sample.weights).fit(), np.linalg.matrix_rank(x)
    bread = np.linalg.pinv((x * sample.weights[:, None]).T @ x, hermitian=True)
    spread = np.diag(sample.covariance_of((sample.weights * fitted.resid)[:, None] * x @ bread))
    alone = [rank > np.linalg.matrix_rank(np.delete(x, i, axis=1)) for i in range(k)]
    found = np.where(alone, fitted.params[:k], np.nan)
    return fitted, together(found, np.sqrt(np.maximum(spread[:k], 0)), confidence, sample.df[0])


def area_under_curve(score, positive) -> tuple[float, float]:
    """Return the area under the curve and its standard error (Hanley & McNeil 1982) of a score for the positive rows."""
    n1, n0 = int(np.sum(positive)), int(np.sum(~positive))
    area = (stats.rankdata(score)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n1 - 1) * (q1 - area**2) + (n0 - 1) * (q2 - area**2)
    return float(area), float(np.sqrt(variance / (n1 * n0)))


def tone_of_texts(
    responses, *, text: str, score: str, language=None, folds=5, confidence=0.95, min_rows=200, seed
) -> Finding:
    """Return whether the tone of texts agrees with the scores of their writers, learnt from other writers' scores.

    Rows are fifths of the texts by tone: ``reads_as`` beside ``estimate``, the share of satisfied writers. `glance` has the
    area under the curve (Hanley & McNeil 1982), that of the word lists (``auc_words``) and kappa; ``disagreement`` counts
    satisfied writers of texts that read badly (``high``) and the reverse (``low``).

    Parameters
    ----------
    responses, text, language : as in `tag_topics`
    score : column; promoters against detractors of a 0-10 item, else the upper half of its scale against the lower
    folds, seed : parts, each read by a model of the others: logistic regression on three to five letters
    confidence, min_rows : texts of either kind together that are needed, and ten times those of the rarer

    Examples
    --------
    >>> print(cx.tone_of_texts(study.responses, text="comment", score="recommend", seed=1))
    The tone of the texts agrees with Would recommend us: area under the curve ...
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import cohen_kappa_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    read = read_texts(responses, text, language=language)
    survey, (high, kind) = read.survey, satisfied(read.survey, score)
    rows = np.flatnonzero(read.says & np.isfinite(high))
    require_texts(len(rows), min_rows, "tone_of_texts")
    happy = high[rows] == 1
    require_texts(10 * min(happy.sum(), (~happy).sum()), min_rows, f"tone_of_texts, ten times the rarer of {kind},")
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True)
    model = make_pipeline(letters, LogisticRegression(C=10, max_iter=1000))
    how = dict(cv=StratifiedKFold(folds, shuffle=True, random_state=seed), method="predict_proba")
    chance = np.full(len(happy), happy.mean())
    for at in (np.flatnonzero(read.code[rows] == code) for code in range(4)):  # one model a language
        if min(happy[at].sum(), (~happy[at]).sum()) >= folds:
            chance[at] = cross_val_predict(model, read.texts[rows[at]], happy[at], **how)[:, 1]
    area, error = area_under_curve(chance, happy)
    plain = area_under_curve(read.counted(np.sign(read.tone[read.part]))[rows], happy)[0]
    cut = np.sort(chance)[::-1][int(happy.sum()) - 1]  # as many read as satisfied as are
    _, low, top, _ = t_interval(area, error, np.inf, confidence)
    fifth = stats.rankdata(chance, method="ordinal").astype(int) * 5 // (len(rows) + 1)
    table = pd.DataFrame({"reads_as": chance, "estimate": happy, "n": 1}).groupby(fifth)
    table = table.agg({"reads_as": "mean", "estimate": "mean", "n": "sum"}).reset_index(drop=True)
    table["conf_low"], table["conf_high"] = wilson_interval(table["estimate"], table["n"], confidence)
    table.insert(0, "term", [f"fifth {k + 1}" for k in range(5)])
    apart, stays = (happy & (chance < 1 - SURE), ~happy & (chance > SURE)), bool(low > 0.5)
    seen = [len(set(read.who[rows[f]])) >= survey.min_base or survey.min_base == 1 for f in apart]
    counts = [number(f.sum(), 0) if shown else "too few to show" for f, shown in zip(apart, seen)]
    known = {"score": survey.label(score), **dict(zip(("high", "low"), counts))}
    summary = {"n": len(rows), "method": "logistic regression on letters, out of fold", "established": stays}
    summary |= {"kappa": cohen_kappa_score(chance >= cut, happy), **ends("auc", area, low, min(top, 1))}
    tells = "tone tells satisfied writers from others", number(area, 2), "above 0.5 by its interval", stays, "stops"
    checks = Check(*tells), Check("kinds of writers", kind, "for information", True, "info")
    drawn = {"scale": 100, "names": [f"reads as satisfied: {percent(p)}" for p in table["reads_as"]]}
    drawn["unit"] = f"satisfied by {survey.label(score)}, % of a fifth of the texts"
    told = say, ["tone_agrees" if stays else "tone_open", "tone_apart"], known, confidence
    question = "tone_of_texts", f"{score}, {text}", None, table, summary | {"auc_words": plain}, checks
    unlike = {"term": ["high", "low"], "n": [f.sum() for f in apart]}
    further = {"disagreement": pd.DataFrame(unlike)} if all(seen) else {}
    return Finding.of(*told, *question, source=survey, further=further, drawn=drawn)


def log_odds(first, second, prior) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-odds of each word between two groups with a Dirichlet prior, and its error, (v,) (Monroe et al. 2008)."""
    first, second, prior = (np.asarray(x, dtype=float) for x in (first, second, prior))
    odds = [np.log((x + prior) / (x.sum() + prior.sum() - x - prior)) for x in (first, second)]
    return odds[0] - odds[1], np.sqrt(1 / (first + prior) + 1 / (second + prior))


def distinctive_words(responses, *, text: str, group: str, language=None, min_persons=10, confidence=0.95) -> Finding:
    """Return the words that tell two groups apart, by texts that say them: a list to read, not a test.

    Rows are the 20 words that tell most: ``estimate`` (log-odds; the prior is a word's overall share, of the weight of one
    count a word; Monroe, Colaresi & Quinn 2008), ``z``, ``n`` (texts that say it).

    Parameters
    ----------
    responses, text, language : as in `tag_topics`
    group : column of two groups, else refused; a 0-10 item means promoters and detractors
    min_persons, confidence : texts that must say a word, at least the floor; of the intervals, word by word

    Examples
    --------
    >>> print(cx.distinctive_words(study.responses, text="comment", group="recommend"))
    Promoters say ...
    """
    read = read_texts(responses, text, language=language)
    require_columns((survey := read.survey).table, group, where="responses")
    column = survey.table[group]
    if group in survey.columns_of("nps") or tuple(survey.scales.get(group) or ()) == (0, 10):
        column = pd.Series(satisfied(survey, group)[0]).map({1.0: "promoters", 0.0: "detractors"})
    levels = sorted(column.dropna().unique(), key=str, reverse=True)
    say.refuse_if(len(levels) != 2, "no_pair", group=group, n=len(levels))
    inside, least = column.notna().to_numpy() & read.given, max(min_persons, survey.min_base)
    said, asked = read.table_of(inside).drop_duplicates(), ("distinctive_words", text, group)
    counts = pd.crosstab(said["word"], column.to_numpy()[said["row"]]).reindex(columns=levels, fill_value=0)
    counts = counts[counts.sum(axis=1) >= least]
    if counts.empty:
        return nothing(*asked, f"no word is said in {least} texts of both groups", n=int(inside.sum()))
    n = counts.sum(axis=1)
    odds, error = log_odds(counts[levels[0]], counts[levels[1]], n / n.sum() * len(n))
    span = ends("estimate", *t_interval(odds, error, np.inf, confidence)[:3])
    table = pd.DataFrame({"word": counts.index, **span, "z": odds / error, "n": n.to_numpy()})
    table = table[said.groupby("word")["who"].nunique()[table["word"]].to_numpy() >= survey.min_base]
    table = table.iloc[digits.descending(table["z"].abs(), table["word"])[:20]]
    table = table.iloc[digits.descending(table["z"], table["word"])].reset_index(drop=True)
    clear = table[table["z"].abs() > critical_value(confidence)]
    sides = {"ahead": clear[clear["z"] > 0]["word"], "behind": clear[clear["z"] < 0]["word"][::-1]}
    known = {name: listing(f"'{w}'" for w in side.head(5)) for name, side in sides.items()}
    known |= {"first": str(levels[0]).capitalize(), "second": str(levels[1])}
    told = say, ["words" if len(clear) else "words_open"], known, confidence
    check = Check("words said in enough texts", len(counts), "at least 20", len(counts) >= 20)
    summary = {"n": int(inside.sum()), "method": "log-odds with an informative Dirichlet prior"}
    drawn = {"line": 0, "unit": f"log-odds, {levels[0]} against {levels[1]}"}
    return Finding.of(*told, *asked, table, summary, (check,), source=survey, drawn=drawn)


def closed_loop(
    responses, *, score, asked, followed_up, until=None, next_score=None, person=None, target_days=7, confidence=0.95
) -> Finding:
    """Return how soon dissatisfied customers are followed up, and whether it goes with a higher next score.

    Rows are ``followed up`` (share within `target_days`, 0-1, Kaplan-Meier), ``naive gain`` (low scores rise by themselves)
    and ``difference`` to those not followed up at the same first score, points; established where it excludes 0.

    Parameters
    ----------
    responses, score : as in `topic_impact`; detractors (0-6) or the lower half of the scale are dissatisfied
    asked, followed_up : columns, dates of the answer and of the follow-up (blank: none; before the answer: refused)
    until : date until which follow-ups are recorded; by default the last of either column
    next_score, person : columns; without the first, the next answer of the same person (the survey's respondent)

    Examples
    --------
    >>> dates = dict(asked="asked_on", followed_up="followed_up", person="customer")
    >>> print(cx.closed_loop(study.responses, score="recommend", **dates))
    51 % of dissatisfied customers are followed up within 7 days ...
    """
    survey = as_survey(responses, respondent=person)  # whom the floor counts
    table, who = survey.table, survey.respondent
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
    last = np.sort(days if who is None else pd.Series(days).groupby(sample.persons).max())  # of each person
    at = shown[shown["days_since"] <= target_days].iloc[-1]
    rows = [{"term": "followed up", **ends("estimate", *at.iloc[1:4]), "n": len(sample)}]
    answer, later = (pd.to_numeric(table[c], errors="coerce").astype(float) for c in (score, next_score or score))
    if next_score is None:
        order = np.lexsort((start, pd.factorize(table[who])[0])) if who is not None else []
        later = answer.iloc[order].groupby(table[who or score].iloc[order]).shift(-1).reindex(table.index)
    answer, later = answer.to_numpy(), later.to_numpy(dtype=float)
    known = low & np.isfinite(later)
    both = [(known & group)[sample.rows] for group in (seen, ~seen)]
    fewer, few = int(min(map(np.sum, both))), min(persons_with(sample, group)[0] for group in both)
    summary = {"n": len(sample), "method": "Kaplan-Meier; difference at the same first score", "established": None}
    key, told = "loop_no_next", {**at, "n": len(sample), "days": target_days}
    if fewer >= SEEN and few >= survey.min_base:
        again = survey.sample(known, what="dissatisfied customers who answered again")
        first, change, did = answer[again.rows], (later - answer)[again.rows], seen[again.rows]
        gap = least_squares(again, change, did[:, None], first[:, None] == np.unique(first), confidence)[1].iloc[0]
        naive = np.average(change[did], weights=again.weights[did])
        rows.append({"term": "naive gain", "estimate": naive, "n": int(did.sum())})
        rows.append({"term": "difference", **gap[[*ENDS, "p_value"]], "n": len(again)})
        summary["established"] = clear = bool(gap["conf_low"] > 0 or gap["conf_high"] < 0)
        key = ("loop_gains" if gap["estimate"] > 0 else "loop_loses") if clear else "loop_open"
        told = {**gap, **told, "naive": naive, "again": len(again)}
    asked_twice = "dissatisfied who answered again, followed up and not"
    checks = (*sample.checks, Check(asked_twice, fewer, f"at least {SEEN}", fewer >= SEEN))
    shown = shown[len(last) - np.searchsorted(last, shown["days_since"]) >= survey.min_base]
    more = dict(further={"curve": shown}, drawn={"target": target_days}, figure=_curve)
    question = "closed_loop", score, None, pd.DataFrame(rows), summary, checks
    return Finding.of(say, ["loop", key], told, confidence, *question, source=survey, **more)


def _curve(finding: Finding, ax):
    """Draw the share followed up by days since the answer, with its interval, and the target."""
    ax, shown = axes_or_new(ax), finding.further["curve"]
    low, middle, high = (100 * shown[c] for c in ("followed_low", "followed", "followed_high"))
    ax.step(shown["days_since"], middle, where="post", color=PALETTE[0])
    ax.fill_between(shown["days_since"], low, high, step="post", color=PALETTE[0], alpha=0.15, linewidth=0)
    ax.axvline(finding.drawn["target"], color=PALETTE[1], linestyle="--", linewidth=1)
    ax.set(xlabel="days since the answer (dashed: the target)", ylabel="followed up, %", ylim=(0, 100))
    return titled(ax, finding.title)
