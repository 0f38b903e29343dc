"""What customers talk about and what goes with it: topics with their tone, the tone of a text, its words, a follow-up."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem, require_choice, require_columns
from cxresearch.figures import PALETTE, QUIET, axes_or_new, columns, titled, wrap, written
from cxresearch.findings import ENDS, Check, Finding, as_text, csv_safe, ends, listing, nothing, number, percent
from cxresearch.inference import adjusted_p_values, critical_value, t_interval, wilson_interval
from cxresearch.inference.pooling import krippendorff_alpha
from cxresearch.inference.survival import kaplan_meier
from cxresearch.survey import as_survey, as_table
from cxresearch.survey.sample import distinct
from cxresearch.voice.texts import LANGUAGES, LONG, Texts, read_texts, say

TONES = {"negative": ("complaint", PALETTE[1]), "neutral": ("mention", QUIET), "positive": ("praise", PALETTE[0])}
LEAST, SEEN = 100, 30  # texts with a score; with a topic and without it, and customers followed up and not
JUDGED = {"negative": "Complaints about ", "positive": "Praise of "}
SURE = 0.8  # chance above which a text is taken to praise; below 1 - SURE, to complain
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
        require_choice("tone", tone, TONES)
        found, read = Quotes(), self.read
        found.finding = self.id
        fits = np.array([15 <= len(t or "") <= 160 for t in read.texts]) & read.says
        for topic, flags in zip(read.taxonomy, read.mentioned(tone).T):
            said = sorted(set(read.texts[flags & fits]), key=lambda t: (abs(len(t) - 80), t))
            if said and self.table.loc[self.table["term"] == topic, tone].notna().any():
                found[self.label(topic)] = said[:each]
        return found


def tag_topics(responses, *, text: str, taxonomy=None, language=None, by=None, wave=False, confidence=0.95) -> Topics:
    """Return the share of texts that say something with each topic (Wilson, on the effective base), and with it in a clause
    of each tone; tables of the ``patterns`` matched, ``languages``, ``texts`` (the waterfall), ``changes``; ``quotes()``.

    Parameters
    ----------
    responses, by, wave, confidence : as in `nps`; of the last two waves the changes are tested together (Holm)
    text, language : columns, of texts, redacted first; of en, pl, ru or their names, by default told by script and words
    taxonomy : path or mapping, topic -> label and patterns; by default ``voice/taxonomy.yml``; refused if it fits no text

    Examples
    --------
    >>> print(cx.tag_topics(study.responses, text="comment"))
    Customers speak most of ...
    """
    read = read_texts(responses, text, language=language, taxonomy=taxonomy)
    survey, topics, split = read.survey, list(read.taxonomy), [by] if isinstance(by, str) else list(by or ())
    sample = survey.sample(read.says, by=split or None, wave=wave, what=survey.label(text))
    said = {tone: read.mentioned(tone)[sample.rows] for tone in ("any", *TONES)}
    said = {tone: np.column_stack([f, (tone == "any") & ~f.any(axis=1)]) for tone, f in said.items()}  # other: none
    table = _shares(sample, read, said, confidence)
    if keys := list(sample.keys):
        whole = _shares(sample.pooled(), read, said, confidence).assign(**dict.fromkeys(keys, "all"))
        table = pd.concat([table.astype(dict.fromkeys(keys, object)), whole], ignore_index=True)
    spoken = np.bincount(read.code[sample.rows], minlength=4)
    languages = pd.DataFrame({"language": LANGUAGES, "n": spoken})
    languages = languages[distinct(read.code[sample.rows], read.who[sample.rows], 4) >= survey.min_base]
    left = np.array([len(read.texts), read.given.sum(), read.says.sum()])
    steps = {"step": ["rows", "with a text", "that say something"], "rows": left, "removed": [0, *-np.diff(left)]}
    forms = read.table_of(read.hits[0]).assign(topic=np.array(topics, dtype=object)[read.hits[1]])
    forms = forms.groupby(["topic", "word"])["who"].agg(n="size", persons="nunique").reset_index()
    forms = forms[forms.pop("persons") >= survey.min_base]
    further = {"patterns": forms.sort_values(["topic", "n", "word"], ascending=[True, False, True], ignore_index=True)}
    further["languages"] = languages.sort_values("n", ascending=False, kind="stable")
    further["texts"] = pd.DataFrame(steps | {"reason": ["", say["no_text_given"], say["nothing_said"]]})
    if wave and not split and len(sample.keys) > 1:  # of the last two waves
        step, shares = np.array([-1, 1]), said["any"][:, :-1].T * 1.0
        gap = np.array([step @ sample.means(value)[-2:] for value in shares])
        spread = [max(step @ sample.covariance(value)[-2:, -2:] @ step, 0) for value in shares]
        changes = together(gap, np.sqrt(spread), confidence, sample.df[-2:].min()).assign(term=topics)
        further["changes"] = changes.assign(**dict(zip(["wave_before", "wave"], sample.keys["wave"].iloc[-2:])))
    covered = float(sample.pooled().means(1.0 - said["any"][:, -1])[0])
    told, mixed = 1 - spoken[3] / spoken.sum(), language in split
    again = pd.Series(read.texts)[read.length >= LONG].duplicated(keep=False).sum() / read.given.sum()
    apart = "no: recall differs by language (coding_agreement)", not mixed, "stops" if mixed else "info"
    checks = (
        *sample.checks,
        Check("texts with a topic of the taxonomy", percent(covered), "at least 70 %", covered >= 0.7),
        Check(say["check_same"], percent(again), "at most 2 %", bool(again <= 0.02)),
        Check("texts whose language is known", percent(told), "at least 95 %", bool(told >= 0.95)),
        Check("groups that differ in language", "yes" if mixed else "no", *apart),
    )
    summary = {"n": len(sample), "n_effective": sample.n_effective, "method": "word patterns, tone by clause"}
    keys, known = _told(table.drop_duplicates("term", keep="last"), read.labels, further.get("changes"), 1 - confidence)
    question = "tag_topics", text, ", ".join(split) or None, table, summary | {"covered": covered}, checks
    more = dict(labels=read.labels, further=further, suppressed=int(table["estimate"].isna().sum()))
    return Topics.of(say, keys, known, confidence, *question, source=survey, figure=_bars, read=read, **more)


def _shares(sample, read: Texts, said, confidence: float) -> pd.DataFrame:
    """Return share, interval and tone of each topic in each cell; values of fewer persons than the floor are missing."""
    frames, who, floor = [], read.who[sample.rows], sample.min_base if sample.min_base > 1 else 0
    for k, topic in enumerate((*read.taxonomy, "other")):
        flags = {tone: f[:, k] for tone, f in said.items()}
        few = {tone: distinct(sample.cell[f], who[f], len(sample.keys)) < floor for tone, f in flags.items()}
        tones = {tone: np.where(few[tone], np.nan, sample.means(flags[tone] * 1.0)) for tone in TONES}
        share, variance = sample.means(flags["any"] * 1.0), sample.variance(flags["any"] * 1.0)
        base = np.divide(share * (1 - share), variance, out=sample.n.astype(float), where=variance > 0)
        limits = wilson_interval(share, np.maximum(base, 1), confidence)
        frame = sample.keys.assign(**ends("estimate", share, *limits), **tones)
        frame.loc[sample.hidden | few["any"], [*ENDS, *TONES]] = np.nan
        frame.insert(0, "term", topic)
        frames.append(frame.assign(n=np.where(sample.hidden, np.nan, sample.n)))
    return pd.concat(frames, ignore_index=True)


def together(estimate, error, confidence: float, df: float = np.inf) -> pd.DataFrame:
    """Return estimates with interval and p-value of one correction (Holm): an interval leaves out 0 where p says so."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(error > 0, np.abs(estimate / error), np.where(estimate == 0, 0.0, np.inf))
    p = np.maximum(2 * stats.t.sf(z, max(df, 1)), digits.SMALLEST_P)
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
    return ["topics", *["topics_worst"] * bool(worst["negative"] > 0)], known


def _bars(finding: Topics, ax):
    """Draw three bars a topic: share of texts that complain, mention and praise, in percent."""
    table = finding.table.drop_duplicates("term", keep="last").query("estimate.notna()").iloc[::-1]
    if table.empty:
        return written(finding.says, ax)
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

    ``row`` is the position in the survey, ``tagged`` the topics of the taxonomy (``; `` between them): hide it from the
    coders; each adds a column of topics in the same form, ``none`` for none. Parameters are those of `tag_topics`.

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
    """Return how the taxonomy's topics agree with those that most coders give, by language: ``estimate`` (recall) and
    ``topic_precision`` with Wilson's intervals, ``alpha`` of two coders or more (Krippendorff 2011).

    Parameters
    ----------
    sheet : DataFrame, of `coding_sheet`, with a column of topics from each of the `coders`, without gaps

    Examples
    --------
    >>> sheet = cx.coding_sheet(study.responses, text="comment", n=20, seed=1)
    >>> print(cx.coding_agreement(sheet.assign(anna=sheet["tagged"], jan=sheet["tagged"]), coders=["anna", "jan"]))
    The taxonomy finds 100 % of the topics that people give ...
    """
    coders = [coders] if isinstance(coders, str) else list(coders or ())
    require_columns(sheet, "language", "tagged", *coders, where="the sheet")
    say.refuse_if(not coders, "no_coder")
    for coder in ("tagged", *coders):
        blank = np.array([not isinstance(said, str) or not said.strip() for said in sheet[coder]])
        say.refuse_if(blank.any(), "blank", coder=coder, n=blank.sum(), row=np.argmax(blank))
    said = [sheet[c].astype("str").str.replace(r"\s*;\s*", "|", regex=True).str.strip() for c in ("tagged", *coders)]
    said = [topics.str.lower().str.get_dummies() for topics in said]
    topics, languages = sorted(set().union(*said) - {"none", ""}), sheet["language"].astype("str").fillna(LANGUAGES[3])
    found, *given = (flags.reindex(columns=topics, fill_value=0).to_numpy(dtype=bool) for flags in said)
    truth, rows = np.mean(given, axis=0) > 0.5, []
    for name in (*languages.unique(), "all"):
        at = (languages == name).to_numpy() | (name == "all")
        row, agreed = {"language": name, "n": int(at.sum())}, (truth & found)[at].sum()
        for key, base in (("estimate", truth[at].sum()), ("topic_precision", found[at].sum())):
            share = agreed / max(base, 1)
            row |= ends(key, *((share, *wilson_interval(share, base, confidence)) if base else [np.nan] * 3))
        ratings = np.array([g[at].ravel() for g in given], dtype=float)
        rows.append(row | {"alpha": krippendorff_alpha(ratings, level="nominal") if len(coders) > 1 else np.nan})
    least, alpha = pd.DataFrame(rows[:-1])["conf_low"].min(), rows[-1]["alpha"]
    recalled = Check(say["check_recall"], percent(least), "at least 80 %", bool(least >= 0.8))
    checks = recalled, Check("coders agree (alpha)", number(alpha, 2), "at least 0.67", bool(alpha >= 0.67))
    summary, drawn = {"n": len(sheet), "method": "majority of the coders"}, {"scale": 100, "unit": "recall, %"}
    question = "coding_agreement", "topics", None, pd.DataFrame(rows), summary, checks
    return Finding.of(say, ["coding"], rows[-1], confidence, *question, source=as_table(sheet), drawn=drawn)


def free_topics(responses, *, text, taxonomy=None, language=None, counts=range(2, 9), min_rows=200, seed) -> Finding:
    """Return topics of the texts that the taxonomy leaves over: non-negative factors of TF-IDF on stems (Lee & Seung 1999),
    if the ten heaviest words of each overlap by .6 (Jaccard) over 20 half samples; else "no stable topics".

    Parameters
    ----------
    responses, text, taxonomy, language : as in `tag_topics`
    counts, min_rows : numbers of topics that are tried, the largest stable one is taken; texts that must be left over

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
        model = NMF(k, init="nndsvd", max_iter=2000, tol=1e-5, random_state=seed)  # of its first guess
        weight, parts = model.fit_transform(matrix), model.components_
        return weight, parts, [set(np.argsort(-row, kind="stable")[:TOP]) for row in parts]

    read = read_texts(responses, text, language=language, taxonomy=taxonomy)
    left = read.says & ~read.mentioned().any(axis=1)
    say.refuse_if((n := int(left.sum())) < min_rows, "few_texts", who="free_topics", least=min_rows, n=n)
    said, stemmers = read.telling(left), {code: snowballstemmer.stemmer(name) for code, name in STEMMERS.items()}
    said = said[said["word"].str.len() > 2]
    forms = said[["word", "language"]].drop_duplicates()
    forms["stem"] = [stemmers[code].stemWord(word) for word, code in forms.itertuples(index=False)]
    said = said.merge(forms, how="left")
    many, floor = said.groupby("stem")[["row", "who"]].transform("nunique"), read.survey.min_base
    said = said[(many["row"] >= max(5, floor)) & (many["who"] >= floor)]
    stems, model = said.groupby("row")["stem"].agg(list), TfidfVectorizer(analyzer=list, sublinear_tf=True)
    texts = [stems.get(row, []) for row in np.flatnonzero(left)]
    matrix = model.fit_transform(texts) if len(said) else np.empty((n, 0))
    rng, best, found = np.random.default_rng(seed), 0.0, None
    halves = [rng.permutation(n)[: n // 2] for _ in range(HALVES)]
    for k in sorted(k for k in counts if k < min(matrix.shape)):
        weight, parts, whole = factors(matrix, k)
        overlap = []
        for *_, part in (factors(matrix[half], k) for half in halves):
            alike = np.array([[len(a & b) / len(a | b) for b in part] for a in whole])
            overlap.append(alike[linear_sum_assignment(-alike)])
        again = np.mean(overlap, axis=0)
        best, found = max(best, again.mean()), (weight, parts, again) if again.mean() >= ALIKE else found
    if found is None:
        return nothing("free_topics", text, None, say("free_none", n=number(n, 0), best=number(best, 2)), n=n)
    weight, parts, again = found
    form = said.groupby("stem")["word"].agg(lambda words: words.value_counts().sort_index(kind="stable").idxmax())
    form = form[model.get_feature_names_out()].to_numpy()  # the most frequent one of each stem
    share = np.bincount(weight.argmax(axis=1)[weight.max(axis=1) > 0], minlength=len(parts)) / n
    named = [", ".join(form[np.argsort(-row, kind="stable")[:5]]) for row in parts]
    table = pd.DataFrame({"words": named, **ends("estimate", share, *wilson_interval(share, n, confidence=0.95))})
    table = table.assign(come_again=again).iloc[digits.descending(share, named)].reset_index(drop=True)
    known = {"k": len(parts), "words": table["words"][0], "share": table["estimate"][0]}
    check = Check(say["check_stable"], number(again.mean(), 2), "at least 0.6", True, "stops")
    summary = {"n": n, "method": "non-negative factors of TF-IDF", "come_again": again.mean(), "established": True}
    question, drawn = ("free_topics", text, None, table, summary, (check,)), {"scale": 100, "unit": f"% of {n} texts"}
    return Finding.of(say, ["free"], known, 0.95, *question, source=read.survey, drawn=drawn)


def topic_impact(
    responses, *, score: str, text: str, taxonomy=None, language=None, n_boot=1000, confidence=0.95, seed
) -> Finding:
    """Return what complaints and praise of each topic t go with: n_t (m_t - m) / (N - n_t), the mean score less that without
    t, and by least squares on all of them and log words; established where both exclude 0 with one sign, an association.

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
    survey, (points, unit, *_) = read.survey, scored(read.survey, score)
    inside = read.says & np.isfinite(points)
    say.refuse_if(inside.sum() < LEAST, "few_texts", who="topic_impact", least=LEAST, n=inside.sum())
    sample = survey.sample(inside, what=survey.label(text))
    value, who, wordy = points[sample.rows], read.who[sample.rows], np.log(np.maximum(read.length[sample.rows], 1))
    say.refuse_if(np.ptp(value) == 0, "no_spread", score=score)
    names = pd.DataFrame([(topic, tone) for tone in JUDGED for topic in read.taxonomy], columns=["term", "tone"])
    flags = np.hstack([read.mentioned(tone)[sample.rows] for tone in JUDGED])
    persons = np.array([len(np.unique(who[f])) for f in flags.T])
    asked = (flags.sum(axis=0) >= SEEN) & (persons >= survey.min_base) & ((~flags).sum(axis=0) >= SEEN)
    kept, names = flags[:, asked], names[asked].reset_index(drop=True)
    draws = np.vstack([contribution(w, kept, value) for w in sample.replicates(n_boot, seed=seed)])
    left_out = contribution(sample.weights[None, :], kept, value)[0]
    found = together(left_out, draws.std(axis=0, ddof=1), confidence, sample.df[0])
    fitted, second = least_squares(sample, value, kept, np.column_stack([np.ones(len(value)), wordy]), confidence)
    same = np.sign(found["estimate"]) == np.sign(second["estimate"])
    found["established"] = same & (np.maximum(found["p_adjusted"], second["p_adjusted"]) < 1 - confidence)
    equal = ends("at_equal_topics", *(second[end] for end in ENDS))
    found = found.assign(**equal, p_second=second["p_adjusted"], n=kept.sum(axis=0))
    order = digits.descending(-found["estimate"].to_numpy(), names["term"] + names["tone"])
    table = pd.concat([names, found], axis=1).iloc[order].reset_index(drop=True)
    about = table["tone"].map(JUDGED) + table["term"].map(read.labels)
    enough = Check("topics by tone with 30 texts or more", len(table), "at least 1", len(table) > 0, "stops")
    alike = Check("topics whose two ways agree in sign", int(same.sum()), f"all {len(table)}", bool(same.all()))
    clear, keys, known = np.flatnonzero(table["established"]), ["impact_open"], {"score": survey.label(score)}
    if clear.size:
        top, rest = table.iloc[clear[0]], listing(name[0].lower() + name[1:] for name in about[clear])
        known = {**top, "n": len(sample), "about": about[clear[0]], "unit": say[unit], "rest": rest}
        known |= {"of": len(table), "clear": len(clear)}
        keys = [f"impact_{'costs' if top['estimate'] < 0 else 'adds'}{'_mean' * (unit == 'mean')}", "impact_more"]
    summary = dict(n=len(sample), method="leave one out, and least squares on all topics", confidence=confidence)
    summary["established"] = bool(clear.size)
    drawn = dict(names=about, marked=table["established"], line=0, unit=f"contribution to the score, {say[unit]}")
    question = "topic_impact", f"{score}, {text}", None, table, summary, (*sample.checks, enough, alike)
    hidden = int(((persons > 0) & (persons < survey.min_base)).sum())
    more = dict(labels=read.labels, fitted=fitted, drawn=drawn, suppressed=hidden)
    return Finding.of(say, keys, known, confidence, *question, source=survey, **more)


def scored(survey, score: str) -> tuple[np.ndarray, str, np.ndarray, str]:
    """Return answers in points, of which kind; 1 for satisfied, 0 for dissatisfied, NaN for neither; who these are."""
    require_columns(survey.table, score, where="responses")
    answer = pd.to_numeric(survey.table[score], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    known = np.isfinite(answer)
    say.refuse_if(not known.any(), "no_number", score=score, n=len(answer))
    middle = sum(survey.scales.get(score) or (np.nanmin(answer), np.nanmax(answer))) / 2
    points, unit, kinds = answer, "mean", f"above and below {middle:g}"
    if score in survey.columns_of("nps") or tuple(survey.scales.get(score) or ()) == (0, 10):
        points = np.where(known, 100 * ((answer >= 9).astype(float) - (answer <= 6)), np.nan)
        unit, middle, kinds = "nps", 0, "promoters and detractors"
    elif set(answer[known]) <= {0.0, 1.0}:
        points, unit, middle, kinds = 100 * answer, "share", 50, "1 and 0"
    return points, unit, np.where(np.isfinite(points) & (points != middle), points > middle, np.nan), kinds


def contribution(weights: np.ndarray, flags: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the mean less the mean without each topic, (b, K), for weights (b, n)."""
    total, summed = weights.sum(axis=1, keepdims=True), weights @ value[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return summed / total - (summed - weights @ (flags * value[:, None])) / (total - weights @ flags)


def least_squares(sample, value, asked, given, confidence: float):
    """Return the statsmodels fit on columns asked for and given, and the former's rows with the design's errors (Holm);
    the estimate of a column that the others tell exactly is missing."""
    from statsmodels.regression.linear_model import WLS

    x, k = np.column_stack([asked, given]).astype(float), asked.shape[1]
    x = x[:, [i for i in range(x.shape[1]) if i <= k or np.ptp(x[:, i]) > 0]]
    fitted, rank = WLS(value, x, weights=sample.weights).fit(), np.linalg.matrix_rank(x)
    pull = (sample.weights * fitted.resid)[:, None] * x @ fitted.normalized_cov_params
    spread = np.sqrt(sample.covariance_of(pull, diagonal=True)[:k])
    alone = [rank > np.linalg.matrix_rank(np.delete(x, i, axis=1)) for i in range(k)]
    return fitted, together(np.where(alone, fitted.params[:k], np.nan), spread, confidence, sample.df[0])


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
    """Return whether the tone of texts agrees with the scores of their writers, learnt from other writers' scores: area under
    the curve (Hanley & McNeil 1982), kappa, satisfied writers by fifths of the tone, and in texts that read badly.

    Parameters
    ----------
    responses, text, language, score, confidence : as in `topic_impact`; the upper half of the scale against the lower
    folds, seed : parts, each read by a model of the others: logistic regression on three to five letters
    min_rows : texts of either kind together that are needed, and ten times those of the rarer

    Examples
    --------
    >>> print(cx.tone_of_texts(study.responses, text="comment", score="recommend", seed=1))
    The tone of the texts agrees with Would recommend us: area under the curve ...
    """
    from sklearn import linear_model, metrics, model_selection, pipeline
    from sklearn.feature_extraction.text import TfidfVectorizer

    read = read_texts(responses, text, language=language)
    survey, (*_, high, kinds) = read.survey, scored(read.survey, score)
    rows = np.flatnonzero(read.says & np.isfinite(high))
    say.refuse_if(len(rows) < min_rows, "few_texts", who="tone_of_texts", least=min_rows, n=len(rows))
    happy = high[rows] == 1
    tenfold = 10 * min(happy.sum(), (~happy).sum())
    say.refuse_if(tenfold < min_rows, "few_kinds", kinds=kinds, least=min_rows, n=tenfold)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True)
    model = pipeline.make_pipeline(letters, linear_model.LogisticRegression(C=10, max_iter=1000))
    how = dict(cv=model_selection.StratifiedKFold(folds, shuffle=True, random_state=seed), method="predict_proba")
    chance = np.full(len(happy), happy.mean())
    for at in (np.flatnonzero(read.code[rows] == code) for code in range(4)):  # one model a language
        if min(happy[at].sum(), (~happy[at]).sum()) >= folds:
            chance[at] = model_selection.cross_val_predict(model, read.texts[rows[at]], happy[at], **how)[:, 1]
    area, error = area_under_curve(chance, happy)
    part, _, tones = read.parts
    plain = area_under_curve(read.counted(np.sign(tones[part]))[rows], happy)[0]
    cut = np.sort(chance)[::-1][int(happy.sum()) - 1]  # as many read as satisfied as are
    _, low, top, _ = t_interval(area, error, np.inf, confidence)
    fifth = stats.rankdata(chance, method="ordinal").astype(int) * 5 // (len(rows) + 1)
    table = pd.DataFrame({"reads_as": chance, "estimate": happy, "n": 1}).groupby(fifth)
    table = table.agg({"reads_as": "mean", "estimate": "mean", "n": "sum"}).reset_index(drop=True)
    table["conf_low"], table["conf_high"] = wilson_interval(table["estimate"], table["n"], confidence)
    table.insert(0, "term", [f"fifth {k + 1}" for k in range(5)])
    apart, stays = {"high": happy & (chance < 1 - SURE), "low": ~happy & (chance > SURE)}, bool(low > 0.5)
    seen = [len(set(read.who[rows[f]])) >= survey.min_base or survey.min_base == 1 for f in apart.values()]
    counts = [number(f.sum(), 0) if shown else "too few to show" for f, shown in zip(apart.values(), seen)]
    known = {"score": survey.label(score), **dict(zip(apart, counts))}
    summary = {"n": len(rows), "method": "logistic regression on letters, out of fold", "established": stays}
    summary |= {"kappa": metrics.cohen_kappa_score(chance >= cut, happy), **ends("auc", area, low, min(top, 1))}
    tells = "tone tells satisfied writers from others", number(area, 2), "above 0.5 by its interval", stays, "stops"
    checks = Check(*tells), Check("kinds of writers", kinds, "for information", True, "info")
    drawn = {"scale": 100, "names": [f"reads as satisfied: {percent(p)}" for p in table["reads_as"]]}
    drawn["unit"] = f"satisfied by {survey.label(score)}, % of a fifth of the texts"
    question = "tone_of_texts", f"{score}, {text}", None, table, summary | {"auc_words": plain}, checks
    unlike = {"disagreement": pd.DataFrame({"term": list(apart), "n": [f.sum() for f in apart.values()]})}
    keys, more = ["tone_agrees" if stays else "tone_open", "tone_apart"], unlike if all(seen) else {}
    return Finding.of(say, keys, known, confidence, *question, source=survey, further=more, drawn=drawn)


def log_odds(first, second, prior) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-odds of each word between two groups with a Dirichlet prior, and its error, (v,) (Monroe et al. 2008)."""
    first, second, prior = (np.asarray(x, dtype=float) for x in (first, second, prior))
    odds = [np.log((x + prior) / (x.sum() + prior.sum() - x - prior)) for x in (first, second)]
    return odds[0] - odds[1], np.sqrt(1 / (first + prior) + 1 / (second + prior))


def distinctive_words(responses, *, text: str, group: str, language=None, min_persons=10, confidence=0.95) -> Finding:
    """Return the 20 words that tell two groups apart most, by log-odds with a prior of one count a word in their overall
    shares (Monroe, Colaresi & Quinn 2008): a list to read, not a test.

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
        column = pd.Series(scored(survey, group)[2]).map({1.0: "promoters", 0.0: "detractors"})
    levels = sorted(column.dropna().unique(), key=str, reverse=True)
    say.refuse_if(len(levels) != 2, "no_pair", group=group, n=len(levels))
    inside, least = column.notna().to_numpy() & read.given, max(min_persons, survey.min_base)
    said, asked = read.telling(inside).drop_duplicates(), ("distinctive_words", text, group)
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
    check = Check("words said in enough texts", len(counts), "at least 20", len(counts) >= 20)
    summary = {"n": int(inside.sum()), "method": "log-odds with an informative Dirichlet prior"}
    question, keys = (*asked, table, summary, (check,)), ["words" if len(clear) else "words_open"]
    drawn = {"line": 0, "unit": f"log-odds, {levels[0]} against {levels[1]}"}
    return Finding.of(say, keys, known, confidence, *question, source=survey, drawn=drawn)


def closed_loop(
    responses, *, score, asked, followed_up, until=None, next_score=None, person=None, target_days=7, confidence=0.95
) -> Finding:
    """Return the share of dissatisfied customers followed up within `target_days` (Kaplan-Meier), and whether their next
    score is higher than that of others with the same first score: low scores rise by themselves.

    Parameters
    ----------
    responses, score, confidence : as in `topic_impact`; detractors (0-6) or the lower half of the scale are dissatisfied
    asked, followed_up, until : columns, dates of answer and follow-up (blank: none); the end of records, or the last date
    next_score, person : columns; without the first, the next answer of the same person (the survey's respondent)

    Examples
    --------
    >>> dates = dict(asked="asked_on", followed_up="followed_up", person="customer")
    >>> print(cx.closed_loop(study.responses, score="recommend", **dates))
    51 % of dissatisfied customers are followed up within 7 days ...
    """
    survey = as_survey(responses, respondent=person)  # whom the floor counts
    table, who = survey.table, survey.every[1]
    say.refuse_if(asked is None or followed_up is None, "no_dates")
    require_columns(table, score, asked, followed_up, next_score, person, where="responses")
    start, done = (_dates(column, table[column]) for column in (asked, followed_up))
    end = start.max() if until is None else _dates("until", pd.Series([until]))[0]
    if len({when.tz is None for when in (start, done, end)}) > 1:  # by the clock, where some are in no time zone
        start, done, end = (when.tz_localize(None) for when in (start, done, end))
    end = max(end, done.max()) if until is None else end
    early = done < start.normalize()
    say.refuse_if(early.any(), "too_early", followed_up=followed_up, asked=asked, n=early.sum(), row=np.argmax(early))
    low, seen = (scored(survey, score)[2] == 0) & (start <= end), done <= end
    say.refuse_if(low.sum() < SEEN, "few_dated", least=SEEN, n=low.sum())
    sample = survey.sample(low, what="dissatisfied customers")
    days = np.maximum((done.where(seen, end) - start).total_seconds().to_numpy() / 86_400, 0)[sample.rows]
    design = dict(weights=sample.weights, covariance=sample.covariance_of, df=sample.df[0], confidence=confidence)
    curve = kaplan_meier(days, seen[sample.rows], at=(target_days,), **design)
    followed = ends("followed", 1 - curve.estimate, 1 - curve.high, 1 - curve.low)
    shown = pd.DataFrame({"days_since": curve.time, **followed, "n": curve.at_risk})
    at = shown[shown["days_since"] <= target_days].iloc[-1]
    rows = [{"term": "followed up", **ends("estimate", *at.iloc[1:4]), "n": len(sample)}]
    who = np.arange(len(table)) if who is None else who[: len(table)]
    last = np.sort(pd.Series(days).groupby(who[sample.rows]).max())  # of each person
    numbers = table[[score, next_score or score]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    answer, later = numbers.T
    if next_score is None:
        order = start.argsort(kind="stable")[: start.notna().sum()]  # an answer without a date is nobody's next
        later = pd.Series(answer[order], order).groupby(who[order]).shift(-1).reindex(range(len(table))).to_numpy()
    known = low & np.isfinite(later)
    both = [(known & group)[sample.rows] for group in (seen, ~seen)]
    fewer, few = int(min(map(np.sum, both))), min(len(set(who[sample.rows[group]])) for group in both)
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
    checks = (*sample.checks, Check(say["check_again"], fewer, f"at least {SEEN}", fewer >= SEEN))
    shown = shown[len(last) - np.searchsorted(last, shown["days_since"]) >= survey.min_base]
    more = dict(further={"curve": shown}, drawn={"target": target_days}, figure=_curve)
    question = "closed_loop", score, None, pd.DataFrame(rows), summary, checks
    return Finding.of(say, ["loop", key], told, confidence, *question, source=survey, **more)


def _dates(name: str, values: pd.Series) -> pd.DatetimeIndex:
    """Return dates, missing where blank; refused where one cannot be read: it would count as no follow-up."""
    texts = values if values.dtype.kind == "M" else values.astype("str").str.strip().replace("", None)
    try:
        return pd.DatetimeIndex(pd.to_datetime(texts))
    except ValueError:
        bad = (pd.to_datetime(texts, errors="coerce", utc=True).isna() & texts.notna()).to_numpy()
    raise DataProblem(say("no_dates_in" if bad.any() else "zones", name=name, n=bad.sum(), row=np.argmax(bad)))


def _curve(finding: Finding, ax):
    """Draw the share followed up by days since the answer, with its interval, and the target."""
    ax, shown = axes_or_new(ax), finding.further["curve"]
    low, middle, high = (100 * shown[c] for c in ("followed_low", "followed", "followed_high"))
    ax.step(shown["days_since"], middle, where="post", color=PALETTE[0])
    ax.fill_between(shown["days_since"], low, high, step="post", color=PALETTE[0], alpha=0.15, linewidth=0)
    ax.axvline(finding.drawn["target"], color=PALETTE[1], linestyle="--", linewidth=1)
    ax.set(xlabel="days since the answer (dashed: the target)", ylabel="followed up, %", ylim=(0, 100))
    return titled(ax, finding.title)
