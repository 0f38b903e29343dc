"""Does the tone of a text agree with its writer's score? Which words tell groups apart? What did the taxonomy miss?"""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import require_columns
from cxresearch.findings import Check, Finding, Statement, ends, listing, nothing, number, percent
from cxresearch.inference import critical_value, t_interval, wilson_interval
from cxresearch.voice.impact import satisfied
from cxresearch.voice.texts import read_texts, require_texts, say

SURE = 0.8  # chance above which a text is taken to praise; below 1 - SURE, to complain
HALVES, ALIKE, TOP = 20, 0.6, 10  # half samples, how alike their topics must be, words that make a topic
STEMMERS = {"en": "english", "pl": "polish", "ru": "russian", "undecided": "english"}


def area_under_curve(score, positive) -> tuple[float, float]:
    """Return the area under the curve and its standard error (Hanley & McNeil 1982) of a score for the positive rows."""
    n1, n0 = int(np.sum(positive)), int(np.sum(~positive))
    area = (stats.rankdata(score)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n1 - 1) * (q1 - area**2) + (n0 - 1) * (q2 - area**2)
    return float(area), float(np.sqrt(variance / (n1 * n0)))


def tone_of_texts(
    responses, *, text: str, score: str, language=None, folds=5, confidence=0.95, min_rows=200, seed
) -> Statement:
    """Return whether the tone of texts agrees with the scores of their writers, learnt from other writers' scores.

    Parameters
    ----------
    responses, text, language : as in `tag_topics`
    score : column; promoters against detractors of a 0-10 item, else the upper half of its scale against the lower
    folds, seed : parts, each read by a model of the others: logistic regression on three to five letters
    confidence, min_rows : texts of either kind together that are needed, and ten times those of the rarer

    Returns
    -------
    Statement
        One row per fifth of the texts by tone: ``reads_as`` beside ``estimate``, the share of satisfied writers. `glance`
        has the area under the curve (Hanley & McNeil 1982), that of the word lists (``auc_words``) and kappa;
        ``disagreement`` counts satisfied writers of texts that read badly (``high``) and the reverse (``low``).

    Raises
    ------
    TooFewRespondents
        Fewer texts than `min_rows`, or hardly any of one kind.

    Examples
    --------
    >>> print(cx.tone_of_texts(study.responses, text="comment", score="recommend", seed=1))
    The tone of the texts agrees with Would recommend us: area under the curve ...
    """
    from sklearn.metrics import cohen_kappa_score

    read = read_texts(responses, text, language=language)
    survey, (high, kind) = read.survey, satisfied(read.survey, score)
    rows = np.flatnonzero(read.says & np.isfinite(high))
    require_texts(len(rows), min_rows, "tone_of_texts")
    happy = high[rows] == 1
    require_texts(10 * min(happy.sum(), (~happy).sum()), min_rows, f"tone_of_texts, ten times the rarer of {kind},")
    chance = _read(read.texts[rows], read.code[rows], happy, folds, seed)
    area, error = area_under_curve(chance, happy)
    plain = np.bincount(read.row, np.sign(read.tone[read.part]), minlength=len(read.texts))[rows]
    cut = np.sort(chance)[::-1][int(happy.sum()) - 1]  # as many read as satisfied as are
    kappa, plain = cohen_kappa_score(chance >= cut, happy), area_under_curve(plain, happy)[0]
    _, low, top, _ = t_interval(area, error, np.inf, confidence)
    fifth = stats.rankdata(chance, method="ordinal").astype(int) * 5 // (len(rows) + 1)
    table = pd.DataFrame({"reads_as": chance, "estimate": happy, "n": 1}).groupby(fifth)
    table = table.agg({"reads_as": "mean", "estimate": "mean", "n": "sum"}).reset_index(drop=True)
    table["conf_low"], table["conf_high"] = wilson_interval(table["estimate"], table["n"], confidence)
    table.insert(0, "term", [f"fifth {k + 1}" for k in range(5)])
    apart = np.array([(happy & (chance < 1 - SURE)).sum(), (~happy & (chance > SURE)).sum()])
    shown = apart >= survey.min_base if survey.min_base > 1 else apart >= 0
    stays, counts = bool(low > 0.5), [number(n, 0) if seen else "too few to show" for n, seen in zip(apart, shown)]
    known = {"score": survey.label(score), "high": counts[0], "low": counts[1]}
    summary = {"n": len(rows), "method": "logistic regression on letters, out of fold", "established": stays}
    summary |= {"kappa": kappa, **ends("auc", area, low, min(top, 1)), "auc_words": plain}
    tells = "tone tells satisfied writers from others", number(area, 2), "above 0.5 by its interval", stays, "stops"
    checks = Check(*tells), Check("kinds of writers", kind, "for information", True, "info")
    drawn = {"scale": 100, "names": [f"reads as satisfied: {percent(p)}" for p in table["reads_as"]]}
    drawn["unit"] = f"satisfied by {survey.label(score)}, % of a fifth of the texts"
    further = {"disagreement": pd.DataFrame({"term": ["high", "low"], "n": apart})} if shown.all() else {}
    told = say, ["tone_agrees" if stays else "tone_open", "tone_apart"], known, confidence
    question = "tone_of_texts", f"{score}, {text}", None, table, summary, checks
    return Statement.of(*told, *question, source=survey, further=further, drawn=drawn)


def _read(texts, language, happy, folds: int, seed) -> np.ndarray:
    """Return each text's chance of a satisfied writer, by a model of the other parts; one model a language."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True)
    model = make_pipeline(letters, LogisticRegression(C=10, max_iter=1000))
    parts, chance = StratifiedKFold(folds, shuffle=True, random_state=seed), np.full(len(happy), happy.mean())
    for at in (np.flatnonzero(language == code) for code in np.unique(language)):
        if min(happy[at].sum(), (~happy[at]).sum()) >= folds:
            chance[at] = cross_val_predict(model, texts[at], happy[at], cv=parts, method="predict_proba")[:, 1]
    return chance


def log_odds(first, second, prior) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-odds of each word between two groups with a Dirichlet prior, and its error, (v,) (Monroe et al. 2008)."""
    first, second, prior = (np.asarray(x, dtype=float) for x in (first, second, prior))
    odds = [np.log((x + prior) / (x.sum() + prior.sum() - x - prior)) for x in (first, second)]
    return odds[0] - odds[1], np.sqrt(1 / (first + prior) + 1 / (second + prior))


def distinctive_words(responses, *, text: str, group: str, language=None, min_persons=10, confidence=0.95) -> Finding:
    """Return the words that tell two groups apart, by texts that say them: a list to read, not a test.

    Parameters
    ----------
    responses, text, language : as in `tag_topics`
    group : column of two groups; a 0-10 item means promoters and detractors
    min_persons : texts that must say a word; at least the floor
    confidence : float, of the intervals, word by word

    Returns
    -------
    Finding
        The 20 words that tell most: ``estimate`` (log-odds; the prior is a word's overall share, of the weight of one
        count a word; Monroe, Colaresi & Quinn 2008), ``z``, ``n`` (texts that say it).

    Raises
    ------
    DataProblem
        `group` does not hold two groups.

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
    inside = column.notna().to_numpy() & read.given
    said = read.table_of(inside).drop_duplicates()
    counts = pd.crosstab(said["word"], column.to_numpy()[said["row"]]).reindex(columns=levels, fill_value=0)
    counts = counts[counts.sum(axis=1) >= max(min_persons, survey.min_base)]
    if counts.empty:
        why = f"no word is said in {max(min_persons, survey.min_base)} texts of both groups"
        return nothing("distinctive_words", text, group, why, n=int(inside.sum()))
    n = counts.sum(axis=1)
    odds, error = log_odds(counts[levels[0]], counts[levels[1]], n / n.sum() * len(n))
    span = ends("estimate", *t_interval(odds, error, np.inf, confidence)[:3])
    table = pd.DataFrame({"word": counts.index, **span, "z": odds / error, "n": n.to_numpy()})
    table = table.iloc[digits.descending(table["z"].abs(), table["word"])[:20]]
    table = table.iloc[digits.descending(table["z"], table["word"])].reset_index(drop=True)
    clear = table[table["z"].abs() > critical_value(confidence)]
    sides = [clear[clear["z"] > 0]["word"], clear[clear["z"] < 0]["word"][::-1]]
    known = {"first": str(levels[0]).capitalize(), "second": str(levels[1])}
    known |= {name: listing(f"'{w}'" for w in side.head(5)) for name, side in zip(("ahead", "behind"), sides)}
    told = say, ["words" if len(clear) else "words_open"], known, confidence
    check = Check("words said in enough texts", len(counts), "at least 20", len(counts) >= 20)
    summary = {"n": int(inside.sum()), "method": "log-odds with an informative Dirichlet prior"}
    drawn = {"line": 0, "unit": f"log-odds, {levels[0]} against {levels[1]}"}
    question = "distinctive_words", text, group, table, summary, (check,)
    return Statement.of(*told, *question, source=survey, drawn=drawn)


def free_topics(responses, *, text, taxonomy=None, language=None, counts=range(2, 9), min_rows=200, seed) -> Finding:
    """Return topics of the texts that the taxonomy leaves over, if the same ones come out of half of the texts.

    Parameters
    ----------
    responses, text, taxonomy, language : as in `tag_topics`
    counts : numbers of topics that are tried; the largest stable one is taken
    min_rows, seed : texts that must be left over; of the half samples

    Returns
    -------
    Finding
        One row per topic: ``words``, ``estimate`` (share of those texts, Wilson), ``come_again``; "no stable topics" is an
        answer. Topics are non-negative factors of TF-IDF on stems (Lee & Seung 1999); stable where, over 20 half
        samples, the ten heaviest words of matched topics overlap by .6 (Jaccard).

    Raises
    ------
    TooFewRespondents
        Fewer texts than `min_rows`.

    Examples
    --------
    >>> own = {"delivery": {"en": ["deliver*", "parcel*"]}}
    >>> print(cx.free_topics(study.responses, text="comment", taxonomy=own, counts=[2], seed=1))
    No stable topics in what the taxonomy misses: ...
    """
    from scipy.optimize import linear_sum_assignment

    read = read_texts(responses, text, language=language, taxonomy=taxonomy)
    left = read.says & ~read.mentioned().any(axis=1)
    require_texts(n := int(left.sum()), min_rows, "free_topics")
    matrix, forms = _term_matrix(read, left)
    rng, stable = np.random.default_rng(seed), {}
    halves = [rng.permutation(n)[: n // 2] for _ in range(HALVES)]
    for k in (k for k in counts if k < min(matrix.shape)):
        whole, overlap = _heaviest(_factors(matrix, k)[1]), []
        for half in halves:
            part = _heaviest(_factors(matrix[half], k)[1])
            alike = np.array([[len(a & b) / len(a | b) for b in part] for a in whole])
            overlap.append(alike[linear_sum_assignment(-alike)])
        stable[k] = np.mean(overlap, axis=0)
    best = max((overlap.mean() for overlap in stable.values()), default=0.0)
    if best < ALIKE:
        why = say("free_none", n=number(n, 0), best=number(best, 2)).rstrip(".")
        return nothing("free_topics", text, None, why, n=n)
    k = max(k for k, overlap in stable.items() if overlap.mean() >= ALIKE)
    weight, parts = _factors(matrix, k)
    share = np.bincount(weight.argmax(axis=1)[weight.max(axis=1) > 0], minlength=k) / n
    named = [", ".join(forms[np.argsort(-row, kind="stable")[:5]]) for row in parts]
    table = pd.DataFrame({"words": named, **ends("estimate", share, *wilson_interval(share, n, confidence=0.95))})
    table = table.assign(come_again=stable[k]).iloc[digits.descending(share, named)].reset_index(drop=True)
    known = {"k": k, "words": table["words"][0], "share": table["estimate"][0]}
    check = Check("topics come again in half of the texts (Jaccard)", number(best, 2), "at least 0.6", True, "stops")
    summary = {"n": n, "method": "non-negative factors of TF-IDF", "come_again": best, "established": True}
    question, drawn = ("free_topics", text, None, table, summary, (check,)), {"scale": 100, "unit": f"% of {n} texts"}
    return Statement.of(say, ["free"], known, 0.95, *question, source=read.survey, drawn=drawn)


def _term_matrix(read, left):
    """Return TF-IDF of the stems of some texts, and the most frequent form of each; stems of few texts are left out."""
    import snowballstemmer
    from sklearn.feature_extraction.text import TfidfVectorizer

    said, stemmers = read.table_of(left), {code: snowballstemmer.stemmer(name) for code, name in STEMMERS.items()}
    said = said[said["word"].str.len() > 2]
    forms = said[["word", "language"]].drop_duplicates()
    forms["stem"] = [stemmers[code].stemWord(word) for word, code in forms.itertuples(index=False)]
    said = said.merge(forms, how="left")
    stems = said.groupby("row")["stem"].agg(list)
    model = TfidfVectorizer(analyzer=list, min_df=max(5, read.survey.min_base), sublinear_tf=True)
    matrix = model.fit_transform([stems.get(row, []) for row in np.flatnonzero(left)])
    form = said.groupby("stem")["word"].agg(lambda words: words.value_counts().sort_index(kind="stable").idxmax())
    return matrix, form.reindex(model.get_feature_names_out()).to_numpy()


def _factors(matrix, k: int):
    from sklearn.decomposition import NMF

    model = NMF(k, init="nndsvd", max_iter=2000, tol=1e-5)
    return model.fit_transform(matrix), model.components_


def _heaviest(parts) -> list[set]:
    return [set(np.argsort(-row, kind="stable")[:TOP].tolist()) for row in parts]
