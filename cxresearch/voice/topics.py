"""What customers talk about: topics by share and tone, by group and wave; the words behind them; quotes.

Wilson (1927), JASA 22; Korn & Graubard (1998), Survey Methodology 24 (effective bases); Rogan & Gladen (1978), American
Journal of Epidemiology 107:71-76 (why shares of languages with different recall are not compared).
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled, wrap
from cxresearch.findings import Check, Statement, as_text, listing, number, percent, words
from cxresearch.inference import adjusted_p_values, wilson_interval
from cxresearch.survey import as_survey
from cxresearch.survey.sample import distinct
from cxresearch.voice.taxonomy import OTHER, Tags, tag
from cxresearch.voice.texts import UNDECIDED, read_texts

say = words(__package__)

TONES = {"negative": ("complaint", PALETTE[1]), "neutral": ("mention", QUIET), "positive": ("praise", PALETTE[0])}
SPAN = ["estimate", "conf_low", "conf_high"]


@dataclass(frozen=True, repr=False, eq=False)
class Topics(Statement):
    """One row per topic (`term`, ``other`` for informative texts without one), group and wave; see `tag_topics`."""

    tags: Tags | None = field(default=None, kw_only=True)

    def augment(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the survey's rows with one column a topic: ``topic_NAME`` is True where the text mentions it."""
        if len(table) != len(self.tags.informative):
            raise DataProblem(
                f"augment needs the {len(self.tags.informative)} rows that were tagged; found {len(table)}"
            )
        return table.assign(**{f"topic_{t}": f for t, f in zip(self.tags.topics, self.tags.mentioned().T)})

    def quotes(self, *, each: int = 2, tone: str = "negative", longest: int = 160) -> "Quotes":
        """Return up to `each` redacted texts a topic whose base may be shown: to be read, in no table."""
        texts, shown = self.tags.texts, set(self.table.loc[self.table[tone].notna(), "term"])
        fits = np.array([bool(t) and 15 <= len(t) <= longest for t in texts.texts]) & self.tags.informative
        found = Quotes()
        found.finding = self.id
        for topic, flags in zip(self.tags.topics, self.tags.mentioned(tone).T):
            said = sorted({texts.texts[i] for i in np.flatnonzero(flags & fits)}, key=lambda t: (abs(len(t) - 80), t))
            if topic in shown and said:
                found[self.label(topic)] = said[:each]
        return found


class Quotes(dict):
    """Topic -> redacted texts; a notebook shows them with the id of their finding."""

    finding = ""

    def _repr_markdown_(self) -> tuple[str, dict]:
        parts = (f"**{as_text(t)}**\n\n" + "\n\n".join(f"> {as_text(q)}" for q in said) for t, said in self.items())
        return "\n\n".join(parts) or "No text may be quoted.", {"finding": self.finding}


def tag_topics(
    responses,
    *,
    text: str,
    taxonomy=None,
    language: str | None = None,
    by=None,
    wave: bool = False,
    confidence: float = 0.95,
) -> Topics:
    """Return what free texts speak of: share of each topic and its tone, clause by clause.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    text : column
        Free texts in English, Polish or Russian; redacted before anything is done with them.
    taxonomy : path or mapping, optional
        Topic -> label and patterns; by default ``voice/taxonomy.yml``, ten retail and service topics.
    language : column, optional
        Language of each text (en, pl, ru or its name); without it, told by script, letters and words.
    by, wave
        As in `nps`: columns to split by; by the survey's waves in order of time.
    confidence : float
        Of Wilson's interval on the effective base; of the changes between the last two waves together (Holm).

    Returns
    -------
    Topics
        ``estimate`` is the share (0-1) of informative texts that mention the topic, ``negative, neutral, positive``
        those with a clause of that tone; ``other`` has no topic. ``augment()`` gives the rows a column a topic,
        ``quotes()`` redacted texts. Tables: ``patterns`` (word forms matched), ``languages``, ``texts`` (the
        waterfall), ``changes`` (of the last two waves).

    Raises
    ------
    DataProblem
        No text, unknown values of `language`, a taxonomy that cannot be read, takes everything or nothing.
    TooFewRespondents
        Fewer texts than the floor.

    Notes
    -----
    A mention is no complaint: a clause has the tone of its words of praise and complaint, each turned by a negator in
    the two words before it. Texts that say nothing are counted and left out.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.tag_topics(study.responses, text="comment"))
    Customers speak most of ...
    """
    survey = as_survey(responses)
    tags = tag(read_texts(survey, text, language=language), taxonomy)
    columns = [by] if isinstance(by, str) else list(by or ())
    sample = survey.sample(tags.informative, by=columns or None, wave=wave, what=survey.label(text))
    parts = [sample, sample.pooled()] if len(sample.keys.columns) else [sample]
    table = pd.concat([_shares(part, tags, survey.min_base, confidence) for part in parts], ignore_index=True)
    for key in sample.keys.columns:
        table[key] = table[key].astype(object).where(table[key].notna(), "all")
    spoken = pd.Series(tags.texts.language[tags.informative]).value_counts()
    languages = spoken[spoken >= survey.min_base].rename_axis("language").reset_index(name="n")
    patterns = tags.patterns()
    further = {
        "patterns": patterns[patterns["n"] >= survey.min_base],
        "languages": languages,
        "texts": tags.waterfall(),
    }
    if wave and not columns and len(sample.keys) > 1:
        further["changes"] = _changes(sample, tags, confidence)
    covered = float(sample.pooled().means(tags.mentioned()[sample.rows].any(axis=1).astype(float))[0])
    again, told = tags.texts.repeated["n"].sum() / tags.texts.given.sum(), 1 - spoken.get(UNDECIDED, 0) / spoken.sum()
    mixed = language is not None and language in columns
    checks = (
        *sample.checks,
        Check("texts with a topic of the taxonomy", percent(covered), "at least 70 %", covered >= 0.7),
        Check("texts of five words or more that stand in several rows", percent(again), "at most 2 %", bool(again <= 0.02)),
        Check("texts whose language is known", percent(told), "at least 95 %", bool(told >= 0.95)),
        Check("groups that differ in language", "yes" if mixed else "no", "no: recall differs by language (coding_agreement)", not mixed, "stops" if mixed else "info"),
    )  # fmt: skip
    whole = table.drop_duplicates("term", keep="last")
    return Topics(
        "tag_topics", text, ", ".join(columns) or None, table,
        {"n": len(sample), "n_effective": sample.n_effective, "method": "word patterns, tone by clause", "covered": covered},
        checks, dict(survey.labels) | tags.labels, further, tags=tags, domain=survey.condition,
        suppressed=int(table["estimate"].isna().sum()),
        words=_words(whole, tags.labels, len(sample), covered, further.get("changes"), 1 - confidence),
        figure=lambda finding, ax: _bars(whole[whole["estimate"].notna()], tags.labels, len(sample), finding.title, ax),
    )  # fmt: skip


def _shares(sample, tags: Tags, min_base: int, confidence: float) -> pd.DataFrame:
    """Return share, interval and tone of each topic in each cell; values of fewer persons than the floor are missing."""
    said = {tone: tags.mentioned(tone)[sample.rows] for tone in ("any", *TONES)}
    said = {tone: np.column_stack([f, np.zeros(len(f), dtype=bool)]) for tone, f in said.items()}
    said["any"][:, -1] = ~said["any"].any(axis=1)
    frames = []
    for k, topic in enumerate((*tags.topics, OTHER)):
        value = said["any"][:, k].astype(float)
        share, variance = sample.means(value), sample.variance(value)
        base = np.divide(share * (1 - share), variance, out=sample.n.astype(float), where=variance > 0)
        low, high = wilson_interval(share, np.maximum(base, 1), confidence)
        frame = sample.keys.assign(term=topic, estimate=share, conf_low=low, conf_high=high)
        for tone in TONES:
            few = persons_with(sample, said[tone][:, [k]])[:, 0] < min_base
            frame[tone] = np.where(few & (min_base > 1), np.nan, sample.means(said[tone][:, k].astype(float)))
        few = persons_with(sample, said["any"][:, [k]])[:, 0] < min_base
        frame.loc[sample.hidden | (few & (min_base > 1)), [*SPAN, *TONES]] = np.nan
        frames.append(frame.assign(n=np.where(sample.hidden, np.nan, sample.n)))
    return pd.concat(frames, ignore_index=True)[["term", *sample.keys.columns, *SPAN, *TONES, "n"]]


def persons_with(sample, flags) -> np.ndarray:
    """Return how many distinct persons of each cell have each flag, (cells, K)."""
    persons = np.arange(len(sample)) if sample.persons is None else sample.persons
    k = len(sample.keys)
    return np.column_stack([distinct(sample.cell[f], persons[f], k) if f.any() else np.zeros(k) for f in flags.T])


def _changes(sample, tags: Tags, confidence: float) -> pd.DataFrame:
    """Return how each topic's share changed between the last two waves, together (Holm)."""
    last, before, said = len(sample.keys) - 1, len(sample.keys) - 2, tags.mentioned()[sample.rows].astype(float)
    share = np.array([sample.means(value)[[before, last]] for value in said.T])
    spread = np.array([sample.covariance(value)[np.ix_([before, last], [before, last])] for value in said.T])
    error = np.sqrt(np.maximum(spread[:, 0, 0] + spread[:, 1, 1] - 2 * spread[:, 0, 1], 0))
    found = together(share[:, 1] - share[:, 0], error, confidence, sample.df[[last, before]].min())
    waves = sample.keys["wave"].tolist()
    return found.assign(term=tags.topics, wave_before=waves[before], wave=waves[last])


def together(estimate, error, confidence: float, df: float = np.inf) -> pd.DataFrame:
    """Return estimates with interval and p-value of one correction (Holm): an interval leaves out 0 where p says so."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(error > 0, np.abs(estimate / error), np.where(estimate == 0, 0.0, np.inf))
    p = np.maximum(2 * stats.t.sf(z, max(df, 1)), 1e-12)
    adjusted = adjusted_p_values(p, correction="holm")
    half = stats.t.isf((1 - confidence) / (2 * np.where(adjusted < 1, adjusted / p, len(p))), max(df, 1)) * error
    return pd.DataFrame({"estimate": estimate, "std_error": error, "conf_low": estimate - half,
                         "conf_high": estimate + half, "p_value": p, "p_adjusted": adjusted})  # fmt: skip


def _words(whole, labels, n: int, covered: float, changes, alpha: float) -> str:
    known, shown = (
        dict(n=number(n, 0), covered=percent(covered)),
        whole[(whole["term"] != OTHER) & whole["estimate"].notna()],
    )
    if shown.empty:
        return say("topics_hidden", **known)
    first = shown.iloc[digits.descending(shown["estimate"].to_numpy(), shown["term"])[0]]
    words = [say("topics", topic=labels[first["term"]], share=percent(first["estimate"]), **known)]
    if len(cross := shown[shown["negative"].notna()]):
        worst = cross.iloc[digits.descending(cross["negative"].to_numpy(), cross["term"])[0]]
        words.append(say("topics_worst", topic=labels[worst["term"]], share=percent(worst["negative"])))
    if changes is not None:
        clear = changes[changes["p_adjusted"] < alpha]
        moved = listing(f"{labels[r.term]} ({number(100 * r.estimate, 0)} points)" for r in clear.itertuples())
        waves = dict(before=changes["wave_before"].iloc[0], after=changes["wave"].iloc[0])
        key, moved = ("topics_moved", {"moved": moved}) if len(clear) else ("topics_still", {})
        words.append(say(key, **waves, **moved))
    return " ".join(words)


def _bars(table, labels, n: int, title: str, ax):
    """Draw three bars a topic: share of texts that complain, mention and praise, in percent."""
    ax, table = axes_or_new(ax, rows=len(table) + 2), table.iloc[::-1]
    for shift, (tone, (name, colour)) in enumerate(TONES.items()):
        at = np.arange(len(table)) + 0.26 * (1 - shift)
        ax.barh(at, 100 * table[tone].astype(float).fillna(0), height=0.24, color=colour, label=name)
    ax.set_yticks(range(len(table)), [wrap(labels[term]) for term in table["term"]])
    ax.set(xlabel=f"share of {number(n, 0)} texts that say something, %", ylabel="")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    return titled(ax, title)
