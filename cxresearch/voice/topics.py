"""What customers talk about: tags with their tone, how these agree with people's, and what the taxonomy misses."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import require_columns
from cxresearch.figures import PALETTE, QUIET, axes_or_new, columns, titled, wrap
from cxresearch.findings import ENDS, Check, Finding, as_text, csv_safe, ends, listing, nothing, number, percent
from cxresearch.inference import adjusted_p_values, wilson_interval
from cxresearch.inference.pooling import krippendorff_alpha
from cxresearch.survey import as_table
from cxresearch.survey.sample import distinct
from cxresearch.voice.texts import LANGUAGES, Texts, read_texts, require_texts, say

TONES = {"negative": ("complaint", PALETTE[1]), "neutral": ("mention", QUIET), "positive": ("praise", PALETTE[0])}
STEPS = [("rows", 0, 0, ""), ("with a text", 0, 0, "no text")]
STEPS += [("that say something", 0, 0, "nothing said, such as 'no comment', or two words without a topic")]
SAME = "texts of five words or more that stand in several rows"
HALVES, ALIKE, TOP = 20, 0.6, 10  # half samples, how alike their topics must be, words that make a topic
STEMMERS = {"en": "english", "pl": "polish", "ru": "russian", "undecided": "english"}


class Quotes(dict):
    """Topic -> redacted texts; a notebook shows them with the id of their finding."""

    def _repr_markdown_(self) -> tuple[str, dict]:
        parts = (f"**{as_text(t)}**\n\n" + "\n\n".join(f"> {as_text(q)}" for q in said) for t, said in self.items())
        return "\n\n".join(parts) or "No text may be quoted.", {"finding": self.finding}


@dataclass(frozen=True, repr=False, eq=False)
class Topics(Finding):
    """One row per topic (`term`, ``other`` for texts that say something without one), group and wave; see `tag_topics`."""

    read: Texts | None = field(default=None, kw_only=True)

    def augment(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the survey's rows with one column a topic: ``topic_NAME`` is True where the text mentions it."""
        n = len(self.read.texts)
        say.refuse_if(len(table) != n, "other_rows", n=n, found=len(table))
        return table.assign(**{f"topic_{t}": f for t, f in zip(self.read.taxonomy, self.read.mentioned().T)})

    @property
    def highlights(self) -> dict:
        """Two complaints a topic, for who has to look at it; in no table."""
        said = self.quotes()
        return {"quotes": {t: said[self.label(t)] for t in self.read.taxonomy if self.label(t) in said}}

    def quotes(self, *, each: int = 2, tone: str = "negative") -> Quotes:
        """Return up to `each` redacted texts a topic whose base may be shown: to be read, in no table."""
        found, read = Quotes(), self.read
        found.finding = self.id
        fits = np.array([15 <= len(t or "") <= 160 for t in read.texts]) & read.says
        for topic, flags in zip(read.taxonomy, read.mentioned(tone).T):
            said = sorted(set(read.texts[flags & fits]), key=lambda t: (abs(len(t) - 80), t))
            if said and self.table.loc[self.table["term"] == topic, tone].notna().any():
                found[self.label(topic)] = said[:each]
        return found


def tag_topics(responses, *, text: str, taxonomy=None, language=None, by=None, wave=False, confidence=0.95) -> Topics:
    """Return what free texts speak of: share of each topic and its tone, clause by clause.

    ``estimate`` is the share (0-1) of the texts that say something with the topic (Wilson, on the effective base),
    ``negative, neutral, positive`` of those with it in that tone. ``augment()`` gives a column a topic, ``quotes()`` texts;
    tables are ``patterns`` (words matched), ``languages``, ``texts`` (the waterfall), ``changes``.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    text, language : columns, of texts, redacted first; of en, pl, ru or their names, by default told by script and words
    taxonomy : path or mapping, topic -> label and patterns; by default ``voice/taxonomy.yml``; refused if it fits no text
    by, wave, confidence : as in `nps`; of the last two waves the changes are tested together (Holm)

    Examples
    --------
    >>> print(cx.tag_topics(study.responses, text="comment"))
    Customers speak most of ...
    """
    read = read_texts(responses, text, language=language, taxonomy=taxonomy)
    survey, split = read.survey, [by] if isinstance(by, str) else list(by or ())
    sample = survey.sample(read.says, by=split or None, wave=wave, what=survey.label(text))
    said = {tone: read.mentioned(tone)[sample.rows] for tone in ("any", *TONES)}
    said = {tone: np.column_stack([f, (tone == "any") & ~f.any(axis=1)]) for tone, f in said.items()}  # other: none
    table = _shares(sample, read.taxonomy, said, confidence)
    if len(keys := list(sample.keys.columns)):
        whole = _shares(sample.pooled(), read.taxonomy, said, confidence).assign(**dict.fromkeys(keys, "all"))
        table = pd.concat([table.astype(dict.fromkeys(keys, object)), whole], ignore_index=True)
    spoken = np.bincount(read.code[sample.rows], minlength=4)
    languages = pd.DataFrame({"language": LANGUAGES, "n": spoken})
    languages = languages[distinct(read.code[sample.rows], read.who[sample.rows], 4) >= survey.min_base]
    languages = languages.sort_values("n", ascending=False, kind="stable")
    steps = pd.DataFrame(STEPS, columns=["step", "rows", "removed", "reason"])
    steps["rows"] = left = [len(read.texts), read.given.sum(), read.says.sum()]
    steps["removed"] = [0, *-np.diff(left)]
    (at, topic), topics, words = read.hits, list(read.taxonomy), np.array(read.words, dtype=object)
    forms = pd.DataFrame({"topic": topic, "word": words[read.word[at]], "who": read.who[read.row[at]]})
    forms["topic"] = np.array(topics, dtype=object)[topic]
    forms = forms.groupby(["topic", "word"])["who"].agg(n="size", persons="nunique").reset_index()
    forms = forms[forms.pop("persons") >= survey.min_base]
    forms = forms.sort_values(["topic", "n", "word"], ascending=[True, False, True], ignore_index=True)
    further = {"patterns": forms, "languages": languages, "texts": steps}
    if wave and not split and len(sample.keys) > 1:  # of the last two waves
        step, shares = np.array([-1, 1]), said["any"][:, :-1].T * 1.0
        gap = np.array([step @ sample.means(value)[-2:] for value in shares])
        spread = [max(step @ sample.covariance(value)[-2:, -2:] @ step, 0) for value in shares]
        changes = together(gap, np.sqrt(spread), confidence, sample.df[-2:].min()).assign(term=topics)
        further["changes"] = changes.assign(**dict(zip(["wave_before", "wave"], sample.keys["wave"].iloc[-2:])))
    covered, mixed = float(sample.pooled().means(1.0 - said["any"][:, -1])[0]), language in split
    again, told = read.repeated.sum() / read.given.sum(), 1 - spoken[3] / spoken.sum()
    apart = "no: recall differs by language (coding_agreement)", not mixed, "stops" if mixed else "info"
    checks = (
        *sample.checks,
        Check("texts with a topic of the taxonomy", percent(covered), "at least 70 %", covered >= 0.7),
        Check(SAME, percent(again), "at most 2 %", bool(again <= 0.02)),
        Check("texts whose language is known", percent(told), "at least 95 %", bool(told >= 0.95)),
        Check("groups that differ in language", "yes" if mixed else "no", *apart),
    )
    summary = {"n": len(sample), "n_effective": sample.n_effective, "method": "word patterns, tone by clause"}
    summary["covered"] = covered
    keys, known = _told(table.drop_duplicates("term", keep="last"), read.labels, further.get("changes"), 1 - confidence)
    question = "tag_topics", text, ", ".join(split) or None, table, summary, checks
    more = dict(labels=read.labels, further=further, suppressed=int(table["estimate"].isna().sum()))
    return Topics.of(say, keys, known, confidence, *question, source=survey, figure=_bars, read=read, **more)


def _shares(sample, topics, said, confidence: float) -> pd.DataFrame:
    """Return share, interval and tone of each topic in each cell; values of fewer persons than the floor are missing."""
    frames, floor = [], sample.min_base if sample.min_base > 1 else 0
    for k, topic in enumerate((*topics, "other")):
        few = {tone: persons_with(sample, f[:, k]) < floor for tone, f in said.items()}
        tones = {tone: np.where(few[tone], np.nan, sample.means(said[tone][:, k] * 1.0)) for tone in TONES}
        share, variance = sample.means(said["any"][:, k] * 1.0), sample.variance(said["any"][:, k] * 1.0)
        base = np.divide(share * (1 - share), variance, out=sample.n.astype(float), where=variance > 0)
        limits = wilson_interval(share, np.maximum(base, 1), confidence)
        frame = sample.keys.assign(**ends("estimate", share, *limits), **tones)
        frame.loc[sample.hidden | few["any"], [*ENDS, *TONES]] = np.nan
        frame.insert(0, "term", topic)
        frames.append(frame.assign(n=np.where(sample.hidden, np.nan, sample.n)))
    return pd.concat(frames, ignore_index=True)


def persons_with(sample, flags: np.ndarray) -> np.ndarray:
    """Return how many distinct persons of each cell are flagged, (cells,)."""
    persons = np.arange(len(sample)) if sample.persons is None else sample.persons
    return distinct(sample.cell[flags], persons[flags], len(sample.keys)) if flags.any() else np.zeros(len(sample.keys))


def together(estimate, error, confidence: float, df: float = np.inf) -> pd.DataFrame:
    """Return estimates with interval and p-value of one correction (Holm): an interval leaves out 0 where p says so."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(error > 0, np.abs(estimate / error), np.where(estimate == 0, 0.0, np.inf))
    p = np.maximum(2 * stats.t.sf(z, max(df, 1)), 1e-12)
    adjusted = adjusted_p_values(p, correction="holm")
    half = stats.t.isf((1 - confidence) / (2 * np.where(adjusted < 1, adjusted / p, len(p))), max(df, 1)) * error
    found = {"estimate": estimate, "std_error": error, "conf_low": estimate - half, "conf_high": estimate + half}
    return pd.DataFrame(found | {"p_value": p, "p_adjusted": adjusted})


def _told(whole, labels, changes, alpha: float) -> tuple[list[str], dict]:
    """Return what is said most and what is complained of most, or what changed between the last two waves."""
    shown = whole[(whole["term"] != "other") & whole["estimate"].notna()]
    if shown.empty:
        return ["topics_hidden"], {}
    if changes is not None:
        clear = changes[changes["p_adjusted"] < alpha]
        moved = listing(f"{labels[r.term]} ({number(100 * r.estimate, 0)} points)" for r in clear.itertuples())
        waves = {"before": changes["wave_before"].iloc[0], "after": changes["wave"].iloc[0], "moved": moved}
        return ["topics_moved" if len(clear) else "topics_still"], waves
    first, worst = (digits.largest(shown, column) for column in ("estimate", "negative"))
    known = {"topic": labels[first["term"]], "share": first["estimate"]}
    known |= {"worst": labels[worst["term"]], "complaints": worst["negative"]}
    return ["topics", *["topics_worst"] * bool(worst["negative"] >= 0)], known


def _bars(finding: Topics, ax):
    """Draw three bars a topic: share of texts that complain, mention and praise, in percent."""
    table = finding.table.drop_duplicates("term", keep="last").query("estimate.notna()").iloc[::-1]
    bars = table[list(TONES)].astype(float).mul(100).set_axis([name for name, _ in TONES.values()], axis=1)
    bars.index = [wrap(finding.label(term)) for term in table["term"]]
    ax = axes_or_new(ax, rows=len(table) + 2)
    bars.iloc[:, ::-1].plot.barh(ax=ax, width=0.78, color=[colour for _, colour in TONES.values()][::-1])
    ax.set(xlabel=f"share of {number(finding.summary['n'], 0)} texts that say something, %", ylabel="")
    ax.grid(axis="y", visible=False)
    key = {"loc": "upper center", "bbox_to_anchor": (0.4, 0), "borderaxespad": 5, "ncols": columns(3)}
    ax.legend(*(part[::-1] for part in ax.get_legend_handles_labels()), **key)
    return titled(ax, finding.title)


def coding_sheet(responses, *, text: str, taxonomy=None, language=None, n: int = 100, seed) -> pd.DataFrame:
    """Return `n` redacted texts to be coded by hand: about equally many of each language, with and without a topic.

    Columns are ``row`` (position in the survey), ``language``, ``text``, ``tagged`` (topics of the taxonomy with ``; ``
    between them). Hide ``tagged`` from the coders; each adds a column of topics in the same form, ``none`` for none.
    Parameters are those of `tag_topics`; `seed` is that of the draw.

    Examples
    --------
    >>> list(cx.coding_sheet(study.responses, text="comment", n=20, seed=1))
    ['row', 'language', 'text', 'tagged']
    """
    read = read_texts(responses, text, language=language, taxonomy=taxonomy)
    topics = np.array(list(read.taxonomy), dtype=object)
    shown = {"row": np.arange(len(read.texts)), "language": np.array(LANGUAGES)[read.code], "text": read.texts}
    shown["tagged"] = ["; ".join(topics[flags]) or "none" for flags in read.mentioned()]
    sheet = pd.DataFrame(shown)[read.says].sample(frac=1, random_state=seed)
    turn = sheet.groupby([sheet["language"], sheet["tagged"] == "none"]).cumcount()  # one of each kind, then the next
    return csv_safe(sheet.loc[turn.sort_values(kind="stable").index[:n]].sort_values("row", ignore_index=True))


def coding_agreement(sheet: pd.DataFrame, *, coders, confidence: float = 0.95) -> Finding:
    """Return how the taxonomy's topics agree with those that people give, by language.

    Rows are languages and ``all``: ``estimate`` (recall) and ``topic_precision`` with Wilson's intervals, ``alpha``
    (Krippendorff 2011) of two coders or more, ``n`` texts.

    Parameters
    ----------
    sheet : DataFrame, of `coding_sheet`, with a column of topics from each coder
    coders : these columns, without gaps; a topic is true where the majority gives it

    Examples
    --------
    >>> sheet = cx.coding_sheet(study.responses, text="comment", n=20, seed=1)
    >>> print(cx.coding_agreement(sheet.assign(anna=sheet["tagged"], jan=sheet["tagged"]), coders=["anna", "jan"]))
    The taxonomy finds 100 % of the topics that people give ...
    """
    coders = [coders] if isinstance(coders, str) else list(coders)
    require_columns(sheet, "language", "tagged", *coders, where="the sheet")
    for coder in coders:
        blank = sheet[coder].isna() | (sheet[coder].astype(str).str.strip() == "")
        say.refuse_if(blank.any(), "blank", coder=coder, n=blank.sum(), row=np.argmax(blank))
    given = (sheet[c].str.replace(r"\s*;\s*", "|", regex=True).str.strip() for c in ("tagged", *coders))
    said = [topics.str.get_dummies() for topics in given]
    topics = sorted(set().union(*said) - {"none"})
    found, *given = (flags.reindex(columns=topics, fill_value=0).to_numpy(dtype=bool) for flags in said)
    truth, rows = np.mean(given, axis=0) > 0.5, []
    for name in (*pd.unique(sheet["language"]), "all"):
        at = (sheet["language"] == name).to_numpy() | (name == "all")
        row, agreed = {"language": name, "n": int(at.sum())}, (truth & found)[at].sum()
        for key, base in (("estimate", truth[at].sum()), ("topic_precision", found[at].sum())):
            share = agreed / max(base, 1)
            row |= ends(key, *((share, *wilson_interval(share, base, confidence)) if base else [np.nan] * 3))
        ratings = np.array([g[at].ravel() for g in given], dtype=float)
        rows.append(row | {"alpha": krippendorff_alpha(ratings, level="nominal") if len(coders) > 1 else np.nan})
    least, alpha = pd.DataFrame(rows[:-1])["conf_low"].min(), rows[-1]["alpha"]
    worst = "recall, lower end, in the language where it is lowest"
    recalled = Check(worst, percent(least), "at least 80 %", bool(least >= 0.8))
    checks = recalled, Check("coders agree (alpha)", number(alpha, 2), "at least 0.67", bool(alpha >= 0.67))
    summary, drawn = {"n": len(sheet), "method": "majority of the coders"}, {"scale": 100, "unit": "recall, %"}
    question = "coding_agreement", "topics", None, pd.DataFrame(rows), summary, checks
    return Finding.of(say, ["coding"], rows[-1], confidence, *question, source=as_table(sheet), drawn=drawn)


def free_topics(responses, *, text, taxonomy=None, language=None, counts=range(2, 9), min_rows=200, seed) -> Finding:
    """Return topics of the texts that the taxonomy leaves over, if the same ones come out of half of the texts.

    Rows are topics: ``words``, ``estimate`` (share of those texts, Wilson), ``come_again``; "no stable topics" is an answer.
    Topics are non-negative factors of TF-IDF on stems (Lee & Seung 1999); stable where, over 20 half samples, the ten
    heaviest words of matched topics overlap by .6 (Jaccard).

    Parameters
    ----------
    responses, text, taxonomy, language : as in `tag_topics`
    counts : numbers of topics that are tried; the largest stable one is taken
    min_rows, seed : texts that must be left over; of the half samples

    Examples
    --------
    >>> own = {"delivery": {"en": ["deliver*", "parcel*"]}}
    >>> print(cx.free_topics(study.responses, text="comment", taxonomy=own, counts=[2], seed=1))
    No stable topics in what the taxonomy misses: ...
    """
    import snowballstemmer
    from scipy.optimize import linear_sum_assignment
    from sklearn.decomposition import NMF
    from sklearn.feature_extraction.text import TfidfVectorizer

    def factors(matrix, k):  # weights of texts, of words, and the heaviest words of each
        model = NMF(k, init="nndsvd", max_iter=2000, tol=1e-5)
        weight, parts = model.fit_transform(matrix), model.components_
        return weight, parts, [set(np.argsort(-row, kind="stable")[:TOP]) for row in parts]

    read = read_texts(responses, text, language=language, taxonomy=taxonomy)
    left = read.says & ~read.mentioned().any(axis=1)
    require_texts(n := int(left.sum()), min_rows, "free_topics")
    said, stemmers = read.table_of(left), {code: snowballstemmer.stemmer(name) for code, name in STEMMERS.items()}
    said = said[said["word"].str.len() > 2]
    forms = said[["word", "language"]].drop_duplicates()
    forms["stem"] = [stemmers[code].stemWord(word) for word, code in forms.itertuples(index=False)]
    said = said.merge(forms, how="left")
    said = said[said.groupby("stem")["who"].transform("nunique") >= read.survey.min_base]
    stems = said.groupby("row")["stem"].agg(list)
    model = TfidfVectorizer(analyzer=list, min_df=max(5, read.survey.min_base), sublinear_tf=True)
    matrix = model.fit_transform([stems.get(row, []) for row in np.flatnonzero(left)])
    form = said.groupby("stem")["word"].agg(lambda words: words.value_counts().sort_index(kind="stable").idxmax())
    form = form.reindex(model.get_feature_names_out()).to_numpy()  # the most frequent one of each stem
    rng, best, found = np.random.default_rng(seed), 0.0, None
    halves = [rng.permutation(n)[: n // 2] for _ in range(HALVES)]
    for k in sorted(k for k in counts if k < min(matrix.shape)):
        weight, parts, whole = factors(matrix, k)
        overlap = []
        for *_, part in (factors(matrix[half], k) for half in halves):
            alike = np.array([[len(a & b) / len(a | b) for b in part] for a in whole])
            overlap.append(alike[linear_sum_assignment(-alike)])
        again = np.mean(overlap, axis=0)
        best, found = max(best, again.mean()), (k, weight, parts, again) if again.mean() >= ALIKE else found
    if found is None:
        return nothing("free_topics", text, None, say("free_none", n=number(n, 0), best=number(best, 2)), n=n)
    k, weight, parts, again = found
    share = np.bincount(weight.argmax(axis=1)[weight.max(axis=1) > 0], minlength=k) / n
    named = [", ".join(form[np.argsort(-row, kind="stable")[:5]]) for row in parts]
    table = pd.DataFrame({"words": named, **ends("estimate", share, *wilson_interval(share, n, confidence=0.95))})
    table = table.assign(come_again=again).iloc[digits.descending(share, named)].reset_index(drop=True)
    known = {"k": k, "words": table["words"][0], "share": table["estimate"][0]}
    check = Check("topics come again in half of the texts (Jaccard)", number(best, 2), "at least 0.6", True, "stops")
    summary = {"n": n, "method": "non-negative factors of TF-IDF", "come_again": best, "established": True}
    question, drawn = ("free_topics", text, None, table, summary, (check,)), {"scale": 100, "unit": f"% of {n} texts"}
    return Finding.of(say, ["free"], known, 0.95, *question, source=read.survey, drawn=drawn)
