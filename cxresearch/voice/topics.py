"""What customers talk about, in which tone, and what it goes with: tags, the topics' impact, coding by hand."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import require_columns
from cxresearch.figures import PALETTE, QUIET, axes_or_new, columns, titled, wrap
from cxresearch.findings import Check, Statement, as_text, csv_safe, ends, listing, number, percent
from cxresearch.inference import adjusted_p_values, wilson_interval
from cxresearch.inference.pooling import krippendorff_alpha
from cxresearch.survey import as_table
from cxresearch.survey.sample import distinct
from cxresearch.voice.texts import LANGUAGES, Texts, read_texts, say

TONES = {"negative": ("complaint", PALETTE[1]), "neutral": ("mention", QUIET), "positive": ("praise", PALETTE[0])}
STEPS = {
    "rows": "",
    "with a text": "no text",
    "that say something": "nothing said, such as 'no comment', or two words without a topic",
}


class Quotes(dict):
    """Topic -> redacted texts; a notebook shows them with the id of their finding."""

    def _repr_markdown_(self) -> tuple[str, dict]:
        parts = (f"**{as_text(t)}**\n\n" + "\n\n".join(f"> {as_text(q)}" for q in said) for t, said in self.items())
        return "\n\n".join(parts) or "No text may be quoted.", {"finding": self.finding}


@dataclass(frozen=True, repr=False, eq=False)
class Topics(Statement):
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
        named = {self.label(topic): topic for topic in self.read.taxonomy}
        return {"quotes": {named[label]: said for label, said in self.quotes().items()}}

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

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    text : column of texts in English, Polish or Russian; redacted before anything is done with them
    taxonomy : path or mapping, topic -> label and patterns; by default ``voice/taxonomy.yml``, ten topics
    language : column, en, pl, ru or their names; without it, told by script, letters and words
    by, wave : as in `nps`; of the last two waves the changes are tested together (Holm)
    confidence : float, of Wilson's interval on the effective base

    Returns
    -------
    Topics
        ``estimate`` is the share (0-1) of the texts that say something with the topic, ``negative, neutral, positive`` of
        those with it in that tone. ``augment()`` gives a column a topic, ``quotes()`` redacted texts. Tables: ``patterns``
        (word forms matched), ``languages``, ``texts`` (the waterfall), ``changes``.

    Raises
    ------
    DataProblem, TooFewRespondents
        No text, unknown languages, a taxonomy that takes everything or nothing; fewer texts than the floor.

    Examples
    --------
    >>> print(cx.tag_topics(study.responses, text="comment"))
    Customers speak most of ...
    """
    read = read_texts(responses, text, language=language, taxonomy=taxonomy)
    survey, columns = read.survey, [by] if isinstance(by, str) else list(by or ())
    sample = survey.sample(read.says, by=columns or None, wave=wave, what=survey.label(text))
    parts = [sample, sample.pooled()] if len(sample.keys.columns) else [sample]
    said = {tone: read.mentioned(tone)[sample.rows] for tone in ("any", *TONES)}
    table = pd.concat([_shares(part, read, said, confidence) for part in parts], ignore_index=True)
    for key in sample.keys.columns:
        table[key] = table[key].astype(object).where(table[key].notna(), "all")
    spoken = np.bincount(read.code[sample.rows], minlength=4)
    languages = pd.DataFrame({"language": LANGUAGES, "n": spoken}).sort_values("n", ascending=False, kind="stable")
    left = [len(read.texts), int(read.given.sum()), int(read.says.sum())]
    steps = {"step": list(STEPS), "rows": left, "removed": [0, *-np.diff(left)], "reason": STEPS.values()}
    further = {"patterns": _patterns(read), "languages": languages[languages["n"] >= max(survey.min_base, 1)]}
    further |= {"texts": pd.DataFrame(steps)}
    if wave and not columns and len(sample.keys) > 1:
        further["changes"] = _changes(sample, read, said["any"], confidence)
    covered = float(sample.pooled().means(said["any"].any(axis=1).astype(float))[0])
    again, told, mixed = read.repeated.sum() / read.given.sum(), 1 - spoken[3] / spoken.sum(), language in columns
    apart = "no: recall differs by language (coding_agreement)"
    same = "texts of five words or more that stand in several rows"
    checks = (
        *sample.checks,
        Check("texts with a topic of the taxonomy", percent(covered), "at least 70 %", covered >= 0.7),
        Check(same, percent(again), "at most 2 %", bool(again <= 0.02)),
        Check("texts whose language is known", percent(told), "at least 95 %", bool(told >= 0.95)),
        Check("groups that differ in language", "no yes".split()[mixed], apart, not mixed, ("info", "stops")[mixed]),
    )
    method = "word patterns, tone by clause"
    summary = dict(n=len(sample), n_effective=sample.n_effective, method=method, covered=covered)
    keys, known = _told(table.drop_duplicates("term", keep="last"), read.labels, further.get("changes"), 1 - confidence)
    question = "tag_topics", text, ", ".join(columns) or None, table, summary, checks
    more = dict(labels=read.labels, further=further, figure=_bars, read=read)
    more["suppressed"] = int(table["estimate"].isna().sum())
    return Topics.of(say, keys, known, confidence, *question, source=survey, **more)


def _shares(sample, read: Texts, said, confidence: float) -> pd.DataFrame:
    """Return share, interval and tone of each topic in each cell; values of fewer persons than the floor are missing."""
    frames, floor = [], sample.min_base if sample.min_base > 1 else 0
    for k, topic in enumerate((*read.taxonomy, "other")):
        flags = {tone: f[:, k] if k < f.shape[1] else ~said["any"].any(axis=1) for tone, f in said.items()}
        if topic == "other":
            flags |= {tone: np.zeros(len(sample), dtype=bool) for tone in TONES}
        value = flags["any"].astype(float)
        share, variance = sample.means(value), sample.variance(value)
        base = np.divide(share * (1 - share), variance, out=sample.n.astype(float), where=variance > 0)
        limits = wilson_interval(share, np.maximum(base, 1), confidence)
        frame = sample.keys.assign(term=topic, **ends("estimate", share, *limits))
        for tone in TONES:
            few = persons_with(sample, flags[tone]) < floor
            frame[tone] = np.where(few, np.nan, sample.means(flags[tone].astype(float)))
        few = sample.hidden | (persons_with(sample, flags["any"]) < floor)
        frame.loc[few, ["estimate", "conf_low", "conf_high", *TONES]] = np.nan
        frames.append(frame.assign(n=np.where(sample.hidden, np.nan, sample.n)))
    table = pd.concat(frames, ignore_index=True)
    return table[["term", *table.columns.drop("term")]]


def persons_with(sample, flags: np.ndarray) -> np.ndarray:
    """Return how many distinct persons of each cell are flagged, (cells,)."""
    persons = np.arange(len(sample)) if sample.persons is None else sample.persons
    return distinct(sample.cell[flags], persons[flags], len(sample.keys)) if flags.any() else np.zeros(len(sample.keys))


def _patterns(read: Texts) -> pd.DataFrame:
    """Return how often each word form was matched by topic; forms of fewer texts than the floor are left out."""
    at, topic = np.nonzero(read.hits)
    found = pd.DataFrame({"topic": np.array(list(read.taxonomy), dtype=object)[topic]})
    found["word"] = np.array(read.words, dtype=object)[read.word[at]]
    found = found.value_counts().reset_index(name="n").query("n >= @read.survey.min_base")
    return found.sort_values(["topic", "n", "word"], ascending=[True, False, True], ignore_index=True)


def _changes(sample, read: Texts, said: np.ndarray, confidence: float) -> pd.DataFrame:
    """Return how each topic's share changed between the last two waves, together (Holm)."""
    two = [len(sample.keys) - 2, len(sample.keys) - 1]
    step, (before, after) = np.array([-1, 1]), sample.keys["wave"].iloc[two]
    gap = np.array([step @ sample.means(value)[two] for value in said.T.astype(float)])
    spread = [step @ sample.covariance(value)[np.ix_(two, two)] @ step for value in said.T.astype(float)]
    found = together(gap, np.sqrt(np.maximum(spread, 0)), confidence, sample.df[two].min())
    return found.assign(term=list(read.taxonomy), wave_before=before, wave=after)


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

    Parameters
    ----------
    responses, text, taxonomy, language : as in `tag_topics`
    n, seed : texts; of the draw

    Returns
    -------
    DataFrame, (n, 4)
        ``row`` (position in the survey), ``language``, ``text``, ``tagged`` (topics of the taxonomy with ``; `` between
        them). Hide ``tagged`` from the coders; each adds a column of topics in the same form, ``none`` for none.

    Examples
    --------
    >>> list(cx.coding_sheet(study.responses, text="comment", n=20, seed=1))
    ['row', 'language', 'text', 'tagged']
    """
    read = read_texts(responses, text, language=language, taxonomy=taxonomy)
    topics = np.array(list(read.taxonomy), dtype=object)
    tagged = ["; ".join(topics[flags]) or "none" for flags in read.mentioned()]
    shown = {"row": np.arange(len(tagged)), "language": np.array(LANGUAGES)[read.code], "text": read.texts}
    sheet = pd.DataFrame(shown | {"tagged": tagged})[read.says].sample(frac=1, random_state=seed)
    turn = sheet.groupby([sheet["language"], sheet["tagged"] == "none"]).cumcount()  # one of each kind, then the next
    return csv_safe(sheet.loc[turn.sort_values(kind="stable").index[:n]].sort_values("row", ignore_index=True))


def coding_agreement(sheet: pd.DataFrame, *, coders, confidence: float = 0.95) -> Statement:
    """Return how the taxonomy's topics agree with those that people give, by language.

    Parameters
    ----------
    sheet : DataFrame, of `coding_sheet`, with a column of topics from each coder
    coders : columns without gaps, two or more for alpha; a topic is true where the majority gives it
    confidence : float

    Returns
    -------
    Statement
        One row per language and ``all``: ``estimate`` (recall) and ``topic_precision`` with Wilson's intervals, ``alpha``
        (Krippendorff 2011), ``n`` texts.

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
    table = pd.DataFrame(rows)
    whole, least = table.iloc[-1], table["conf_low"][:-1].min()
    alpha, worst = number(whole["alpha"], 2), "recall, lower end, in the language where it is lowest"
    recalled = Check(worst, percent(least), "at least 80 %", bool(least >= 0.8))
    checks = recalled, Check("coders agree (alpha)", alpha, "at least 0.67", bool(whole["alpha"] >= 0.67))
    summary, drawn = {"n": len(sheet), "method": "majority of the coders"}, {"scale": 100, "unit": "recall, %"}
    question = "coding_agreement", "topics", None, table, summary, checks
    known = {**whole, "n": len(sheet)}
    return Statement.of(say, ["coding"], known, confidence, *question, source=as_table(sheet), drawn=drawn)
