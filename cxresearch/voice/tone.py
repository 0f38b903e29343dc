"""Does the tone of a text agree with its writer's score? Which words tell groups apart? What did the taxonomy miss?

Hanley & McNeil (1982), Radiology 143:29-36 (area under the curve and its error); Cohen (1960), Educational and
Psychological Measurement 20:37-46; Monroe, Colaresi & Quinn (2008), Political Analysis 16:372-403 (log-odds with an
informative Dirichlet prior); Lee & Seung (1999), Nature 401:788-791 (non-negative matrix factorisation).
"""

import numpy as np
import pandas as pd
from scipy import sparse, stats

from cxresearch import digits
from cxresearch.errors import DataProblem, require_columns
from cxresearch.figures import forest
from cxresearch.findings import Check, Finding, Statement, ends, interval, listing, nothing, number, percent, words
from cxresearch.inference import critical_value, wilson_interval
from cxresearch.survey import as_survey
from cxresearch.voice.impact import satisfied
from cxresearch.voice.taxonomy import tag
from cxresearch.voice.texts import LANGUAGES, read_texts, require_texts, word_lists

say = words(__package__)

SURE = 0.8  # above it a text is taken to praise, below 1 - SURE to complain
HALVES, ALIKE = 20, 0.6  # half samples, and how alike their topics must be to be called stable
TOP = 10  # words that make a topic


def area_under_curve(score, positive) -> tuple[float, float]:
    """Return the area under the curve and its standard error (Hanley & McNeil 1982) of a score for the positive rows."""
    positive = np.asarray(positive, dtype=bool)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    area = (stats.rankdata(np.asarray(score, dtype=float))[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n1 - 1) * (q1 - area**2) + (n0 - 1) * (q2 - area**2)
    return float(area), float(np.sqrt(variance / (n1 * n0)))


def cohen_kappa(first, second) -> float:
    """Return the agreement of two yes-or-no judgements beyond chance; NaN where both always say the same."""
    a, b = np.mean(first), np.mean(second)
    chance = a * b + (1 - a) * (1 - b)
    return float((np.mean(np.equal(first, second)) - chance) / (1 - chance)) if chance < 1 else np.nan


def tone_of_texts(
    responses,
    *,
    text: str,
    score: str,
    language: str | None = None,
    folds: int = 5,
    confidence: float = 0.95,
    min_rows: int = 200,
    seed,
) -> Statement:
    """Return whether the tone of texts agrees with the scores of their writers, learnt from other writers' scores.

    Parameters
    ----------
    responses, text, language
        As in `tag_topics`.
    score : column
        Promoters are held against detractors on a 0-10 item, 1 against 0, else the upper half of the scale against the
        lower.
    folds, seed
        Parts; each is read by a model of the others: logistic regression on sequences of three to five letters.
    confidence : float
    min_rows : int
        Texts of either kind together; each kind needs a tenth of them.

    Returns
    -------
    Statement
        One row per fifth of the texts by tone: ``reads_as`` beside ``satisfied``. `glance` has the area under the
        curve (Hanley & McNeil's error), that of the package's word lists (``auc_words``) and kappa; ``disagreement``
        counts satisfied writers of texts that read badly (``high``) and the reverse (``low``).

    Raises
    ------
    TooFewRespondents
        Fewer texts than `min_rows`, or hardly any of one kind.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.tone_of_texts(study.responses, text="comment", score="recommend", seed=1))
    The tone of the texts agrees with Would recommend us: area under the curve ...
    """
    survey = as_survey(responses)
    require_columns(survey.table, score, where="responses")
    texts = read_texts(survey, text, language=language)
    high, kind = satisfied(survey, score)
    rows = np.flatnonzero(texts.given & ~texts.empty & np.isfinite(high))
    require_texts(len(rows), min_rows, "tone_of_texts")
    happy = high[rows] == 1
    require_texts(10 * min(happy.sum(), (~happy).sum()), min_rows, f"tone_of_texts, ten times the rarer of {kind},")
    chance = _read(texts, rows, happy, folds, seed)
    area, error = area_under_curve(chance, happy)
    plain = np.bincount(texts.row_of_clause, np.sign(texts.tone), minlength=len(texts.texts))[rows]
    half, known = critical_value(confidence) * error, dict(score=survey.label(score), n=number(len(rows), 0))
    cut = np.sort(chance)[::-1][int(happy.sum()) - 1]  # as many read as satisfied as are
    kappa, words_area = cohen_kappa(chance >= cut, happy), area_under_curve(plain, happy)[0]
    fifth = np.argsort(np.argsort(chance, kind="stable"), kind="stable") * 5 // len(rows)
    n = np.bincount(fifth, minlength=5)
    is_so = np.bincount(fifth, happy, minlength=5) / n
    table = pd.DataFrame({"term": [f"fifth {k + 1}" for k in range(5)], "reads_as": np.bincount(fifth, chance) / n,
                          **ends("satisfied", is_so, *wilson_interval(is_so, n, confidence)), "n": n})  # fmt: skip
    apart = pd.DataFrame(
        {"term": ["high", "low"], "n": [(happy & (chance < 1 - SURE)).sum(), (~happy & (chance > SURE)).sum()]}
    )
    apart["n"] = apart["n"].where((apart["n"] >= survey.min_base) | (survey.min_base <= 1))
    stays = bool(area - half > 0.5)
    span = interval(area - half, min(area + half, 1), confidence, 2)
    shown = [number(v, 0) if np.isfinite(v) else "too few to show" for v in apart["n"]]
    words = say("tone_agrees" if stays else "tone_open", auc=number(area, 2), span=span, **known)
    words += " " + say("tone_apart", kappa=number(kappa, 2), plain=number(words_area, 2), high=shown[0], low=shown[1])
    percents = table.assign(**{c: 100 * table[c] for c in ("satisfied", "satisfied_low", "satisfied_high")})
    summary = {"n": len(rows), "method": "logistic regression on letters, out of fold", "established": stays, "kappa": kappa,
               **ends("auc", area, area - half, min(area + half, 1)), "auc_words": words_area}  # fmt: skip
    checks = (Check("tone tells satisfied writers from others", number(area, 2), "above 0.5 by its interval", stays, "stops"),
              Check("kinds of writers", kind, "for information", True, "info"))  # fmt: skip
    return Statement(
        "tone_of_texts", f"{score}, {text}", None, table, summary, checks, survey.labels, {"disagreement": apart} if apart["n"].notna().all() else {},
        domain=survey.condition, words=words,
        figure=lambda finding, ax: forest(
            percents, "satisfied", names=[f"reads as satisfied: {percent(p)}" for p in table["reads_as"]], title=finding.title,
            unit=f"satisfied by {survey.label(score)}, % of a fifth of the texts", ax=ax,
        ),
    )  # fmt: skip


def _read(texts, rows, happy, folds: int, seed) -> np.ndarray:
    """Return each text's chance of a satisfied writer, by a model of the other parts; one model a language."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline

    chance = np.full(len(rows), happy.mean())
    for language in pd.unique(texts.language[rows]):
        at = np.flatnonzero(texts.language[rows] == language)
        if min(happy[at].sum(), (~happy[at]).sum()) < folds:
            continue
        said, letters = texts.texts[rows[at]], dict(analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True)
        for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(at, happy[at]):
            model = make_pipeline(TfidfVectorizer(**letters), LogisticRegression(C=10, max_iter=1000, tol=1e-8))
            chance[at[test]] = model.fit(said[train], happy[at[train]]).predict_proba(said[test])[:, 1]
    return chance


def log_odds(first, second, prior) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-odds of each word between two groups with a Dirichlet prior, and its error, (v,) (Monroe et al. 2008)."""
    first, second, prior = (np.asarray(x, dtype=float) for x in (first, second, prior))
    odds = [np.log((x + prior) / (x.sum() + prior.sum() - x - prior)) for x in (first, second)]
    return odds[0] - odds[1], np.sqrt(1 / (first + prior) + 1 / (second + prior))


def distinctive_words(
    responses, *, text: str, group: str, language: str | None = None, min_persons: int = 10, confidence: float = 0.95
) -> Finding:
    """Return the words that tell two groups apart, by texts that say them.

    Parameters
    ----------
    responses, text, language
        As in `tag_topics`.
    group : column
        Two groups; a 0-10 item means promoters and detractors.
    min_persons : int
        Texts that must say a word; at least the floor.
    confidence : float
        Of the intervals, word by word: a list to read, not a test.

    Returns
    -------
    Finding
        One row per word: ``estimate`` (log-odds), ``z``, ``n`` (texts that say it).

    Raises
    ------
    DataProblem
        `group` does not hold two groups.

    Notes
    -----
    A text counts a word once; the prior is a word's overall share, of the weight of one count a word.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.distinctive_words(study.responses, text="comment", group="recommend"))
    Promoters say ...
    """
    survey = as_survey(responses)
    require_columns(survey.table, group, where="responses")
    texts, column = read_texts(survey, text, language=language), survey.table[group]
    if group in survey.columns_of("nps") or tuple(survey.scales.get(group) or ()) == (0, 10):
        column = pd.Series(satisfied(survey, group)[0]).map({1.0: "promoters", 0.0: "detractors"})
    levels = sorted(column.dropna().unique(), key=str, reverse=True)
    if len(levels) != 2:
        raise DataProblem(
            f"{group} holds {len(levels)} groups; distinctive_words compares two, such as promoters and detractors"
        )
    ordinary = np.isin(texts.words, [w for code in LANGUAGES for w in word_lists()[code]["functions"]])
    said = pd.DataFrame({"row": texts.row, "word": texts.word})[~ordinary[texts.word]].drop_duplicates()
    sides = [(column == level).to_numpy(dtype=bool) for level in levels]
    counts = np.array([np.bincount(said["word"][side[said["row"]]], minlength=len(texts.words)) for side in sides])
    kept = counts.sum(axis=0) >= max(min_persons, survey.min_base)
    n = int(sum((side & texts.given).sum() for side in sides))
    if not kept.any():
        return nothing("distinctive_words", text, group, f"no word is said in {min_persons} texts of both groups", n=n)
    counts, prior = counts[:, kept], counts[:, kept].sum(axis=0) / counts[:, kept].sum() * kept.sum()
    odds, error = log_odds(*counts, prior)
    half = critical_value(confidence) * error
    table = pd.DataFrame({"word": texts.words[kept], "estimate": odds, "conf_low": odds - half, "conf_high": odds + half,
                          "z": odds / error, "n": counts.sum(axis=0)})  # fmt: skip
    table = table.iloc[digits.descending(table["z"].to_numpy(), table["word"])].reset_index(drop=True)
    clear = table[table["z"].abs() > critical_value(confidence)]
    names = dict(first=str(levels[0]).capitalize(), second=str(levels[1]), n=number(n, 0))
    sides = [
        listing(f"'{w}'" for w in part["word"].head(5)) for part in (clear[clear["z"] > 0], clear[clear["z"] < 0][::-1])
    ]
    words = say("words", ahead=sides[0], behind=sides[1], **names) if len(clear) else say("words_open", **names)  # fmt: skip
    shown = table[table["z"].abs().rank(ascending=False) <= 20]
    return Statement(
        "distinctive_words", text, group, table, {"n": n, "method": "log-odds with an informative Dirichlet prior"},
        (Check("words said in enough texts", len(table), "at least 20", len(table) >= 20),), survey.labels,
        domain=survey.condition, words=words,
        figure=lambda finding, ax: forest(
            shown, "estimate", low="conf_low", high="conf_high", names=shown["word"], line=0, title=finding.title, ax=ax,
            unit=f"log-odds, {levels[0]} against {levels[1]}",
        ),
    )  # fmt: skip


def free_topics(
    responses, *, text: str, taxonomy=None, language: str | None = None, counts=range(2, 9), min_rows: int = 200, seed
) -> Finding:
    """Return topics of the texts that the taxonomy leaves over, if the same ones come out of half of the texts.

    Parameters
    ----------
    responses, text, taxonomy, language
        As in `tag_topics`.
    counts : range
        Numbers of topics that are tried; the largest stable one is taken.
    min_rows : int
        Texts that are left over.
    seed : int

    Returns
    -------
    Finding
        One row per topic: ``words``, ``share`` of those texts, ``come_again``; "no stable topics" is an answer.

    Raises
    ------
    TooFewRespondents
        Fewer texts than `min_rows`.

    Notes
    -----
    Non-negative factors of TF-IDF; k topics are stable where, over 20 half samples, the ten heaviest words of matched
    topics overlap by .6 (Jaccard).

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> own = {"delivery": {"en": ["deliver*", "parcel*"]}}
    >>> print(cx.free_topics(study.responses, text="comment", taxonomy=own, counts=[2], seed=1))
    No stable topics in what the taxonomy misses: ...
    """
    from scipy.optimize import linear_sum_assignment

    survey = as_survey(responses)
    tags = tag(read_texts(survey, text, language=language), taxonomy)
    rows = np.flatnonzero(tags.informative & ~tags.mentioned().any(axis=1))
    require_texts(len(rows), min_rows, "free_topics")
    matrix, words = _term_matrix(tags.texts, rows, survey.min_base)
    rng, found = np.random.default_rng(seed), {}
    picks = [rng.permutation(len(rows))[: len(rows) // 2] for _ in range(HALVES)]
    for k in (k for k in counts if k < min(matrix.shape)):
        whole, overlap = _heaviest(matrix, k), []
        for part in (_heaviest(matrix[pick], k) for pick in picks):
            alike = np.array([[len(a & b) / len(a | b) for b in part] for a in whole])
            overlap.append(alike[linear_sum_assignment(-alike)])
        found[k] = np.mean(overlap, axis=0)
    if not found:
        return nothing("free_topics", text, None, "too few words are said in enough texts to form topics", n=len(rows))
    best, stable = max(v.mean() for v in found.values()), [k for k, v in found.items() if v.mean() >= ALIKE]
    table = pd.DataFrame({"term": [], "words": [], "share": [], "come_again": []})
    said = say("free_none", n=number(len(rows), 0), best=number(best, 2))
    if stable:
        table = _topics(matrix, words, stable[-1], found[stable[-1]])
        said = say("free", k=len(table), n=number(len(rows), 0), words=table["words"][0], share=percent(table["share"][0]))  # fmt: skip
    tried = pd.DataFrame({"term": [f"{k} topics" for k in found], "come_again": [v.mean() for v in found.values()]})
    check = Check(
        "topics come again in half of the texts (Jaccard)", number(best, 2), "at least 0.6", bool(stable), "stops"
    )
    return Statement(
        "free_topics", text, None, table,
        {"n": len(rows), "method": "non-negative factors of TF-IDF", "come_again": best, "established": bool(stable)},
        (check,), survey.labels, {"tried": tried}, domain=survey.condition, words=said,
        figure=lambda finding, ax: forest(
            tried, "come_again", low="come_again", high="come_again", names=tried["term"], line=ALIKE, title=finding.title,
            unit="overlap of the topics of half samples (dashed: stable)", ax=ax,
        ),
    )  # fmt: skip


def _term_matrix(texts, rows, least: int):
    """Return TF-IDF of the stems of some texts, and the most frequent form of each stem; stems of few texts are left out."""
    import snowballstemmer
    from sklearn.feature_extraction.text import TfidfTransformer

    names = {"en": "english", "pl": "polish", "ru": "russian"}
    stemmers = {code: snowballstemmer.stemmer(name) for code, name in names.items()}
    ordinary = {w for code in LANGUAGES for w in word_lists()[code]["functions"]}
    place = np.full(len(texts.texts), -1)
    place[rows] = np.arange(len(rows))
    said = pd.DataFrame(
        {"row": place[texts.row], "word": texts.words[texts.word], "language": texts.language[texts.row]}
    )
    said = said[(said["row"] >= 0) & ~said["word"].isin(ordinary) & (said["word"].str.len() > 2)]
    forms = said[["word", "language"]].drop_duplicates()
    stem = {(w, c): stemmers.get(c, stemmers["en"]).stemWord(w) for w, c in forms.itertuples(index=False)}
    said = said.assign(stem=[stem[key] for key in zip(said["word"], said["language"])])
    seen = said.groupby("stem")["row"].nunique()
    said = said[said["stem"].isin(seen.index[seen >= max(5, least)])]
    code, stems = pd.factorize(said["stem"], sort=True)
    form = (
        said.groupby(["stem", "word"]).size().reset_index(name="n").sort_values(["n", "word"], ascending=[False, True])
    )
    form = form.drop_duplicates("stem").set_index("stem")["word"].reindex(stems).to_numpy()
    counts = sparse.csr_array((np.ones(len(said)), (said["row"], code)), shape=(len(rows), len(stems)))
    return TfidfTransformer(sublinear_tf=True).fit_transform(counts), form


def _factors(matrix, k: int):
    from sklearn.decomposition import NMF

    model = NMF(k, init="nndsvd", max_iter=2000, tol=1e-5)
    return model.fit_transform(matrix), model.components_


def _heaviest(matrix, k: int) -> list[set]:
    return [set(np.argsort(-row, kind="stable")[:TOP].tolist()) for row in _factors(matrix, k)[1]]


def _topics(matrix, words, k: int, stability) -> pd.DataFrame:
    """Return the words, share of texts and stability of each of k topics, the largest first."""
    weight, parts = _factors(matrix, k)
    share = np.bincount(weight.argmax(axis=1)[weight.max(axis=1) > 0], minlength=k) / len(weight)
    named = [", ".join(words[np.argsort(-row, kind="stable")[:5]]) for row in parts]
    table = pd.DataFrame({"words": named, "share": share, "come_again": stability})
    table = table.iloc[digits.descending(share, table["words"])].reset_index(drop=True)
    return table.assign(term=[f"topic {i + 1}" for i in range(k)])[["term", "words", "share", "come_again"]]
