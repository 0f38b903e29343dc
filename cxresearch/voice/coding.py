"""What people say of the same texts: a sheet to code by hand, and how well the taxonomy recalls it in each language."""

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.figures import forest
from cxresearch.findings import Check, Statement, number, percent, words
from cxresearch.inference import wilson_interval
from cxresearch.inference.agreement import krippendorff_alpha
from cxresearch.survey import as_survey
from cxresearch.voice.taxonomy import tag
from cxresearch.voice.texts import read_texts

say = words(__package__)


def coding_sheet(
    responses, *, text: str, taxonomy=None, language: str | None = None, n: int = 100, seed
) -> pd.DataFrame:
    """Return redacted texts to be coded by hand: about equally many of each language, with and without a topic.

    Parameters
    ----------
    responses, text, taxonomy, language
        As in `tag_topics`.
    n : int
        Texts.
    seed : int

    Returns
    -------
    DataFrame, (n, 4)
        ``row`` (position in the survey), ``language``, ``text``, ``tagged`` (topics of the taxonomy with ``; `` between
        them). Hide ``tagged`` from the coders; each adds a column of topics in the same form, ``none`` for none.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> list(cx.coding_sheet(study.responses, text="comment", n=20, seed=1))
    ['row', 'language', 'text', 'tagged']
    """
    tags = tag(read_texts(as_survey(responses), text, language=language), taxonomy)
    said, rng = tags.mentioned(), np.random.default_rng(seed)
    sheet = pd.DataFrame({"row": np.arange(len(said)), "language": tags.texts.language, "text": tags.texts.texts})
    sheet["tagged"] = ["; ".join(np.array(tags.topics)[flags]) or "none" for flags in said]
    sheet = sheet[tags.informative].iloc[rng.permutation(int(tags.informative.sum()))]
    turn = sheet.groupby([sheet["language"], sheet["tagged"] == "none"]).cumcount()  # one of each kind, then the next
    return sheet.iloc[np.argsort(turn.to_numpy(), kind="stable")[:n]].sort_values("row", ignore_index=True)


def coding_agreement(sheet: pd.DataFrame, *, coders, confidence: float = 0.95) -> Statement:
    """Return how the taxonomy's topics agree with those that people give, by language.

    Parameters
    ----------
    sheet : DataFrame
        Of `coding_sheet`, with a column of topics from each coder.
    coders : list of columns
        Two or more for alpha; a topic is true where the majority gives it.
    confidence : float

    Returns
    -------
    Statement
        One row per language and ``all``: ``topic_precision`` and ``topic_recall`` with Wilson's intervals, ``alpha``, ``n`` texts.

    Raises
    ------
    DataProblem
        A column that is absent, a text that a coder left out.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> sheet = cx.coding_sheet(study.responses, text="comment", n=20, seed=1)
    >>> print(cx.coding_agreement(sheet.assign(anna=sheet["tagged"], jan=sheet["tagged"]), coders=["anna", "jan"]))
    The taxonomy finds 100 % of the topics that people give ...
    """
    coders = [coders] if isinstance(coders, str) else list(coders)
    require_columns(sheet, "language", "tagged", *coders, where="the sheet")
    for coder in coders:
        if (blank := sheet[coder].isna() | (sheet[coder].astype(str).str.strip() == "")).any():
            raise DataProblem(f"the sheet: {coder} leaves {int(blank.sum())} texts out (first: row {int(np.argmax(blank))}); write none where a text has no topic")  # fmt: skip
    given = {
        c: [{t.strip() for t in str(cell).split(";")} - {"none", ""} for cell in sheet[c]] for c in ("tagged", *coders)
    }
    topics = sorted(set().union(*(set().union(*cells) for cells in given.values())))
    flags = {
        c: np.array([[t in cell for t in topics] for cell in cells], dtype=bool).reshape(len(sheet), -1)
        for c, cells in given.items()
    }
    truth = np.mean([flags[c] for c in coders], axis=0) > 0.5
    spoken, rows = sheet["language"].to_numpy(), []
    for name in [*pd.unique(spoken), "all"]:
        at = np.ones(len(sheet), dtype=bool) if name == "all" else spoken == name
        agreed = (truth & flags["tagged"])[at].sum()
        row = {"language": name, "n": int(at.sum())}
        for key, whole in (("topic_precision", flags["tagged"][at].sum()), ("topic_recall", truth[at].sum())):
            share = agreed / whole if whole else np.nan
            low, high = wilson_interval(share, whole, confidence) if whole else (np.nan, np.nan)
            row |= {key: share, f"{key}_low": float(low), f"{key}_high": float(high)}
        ratings = np.array([flags[c][at].ravel() for c in coders], dtype=float)
        row["alpha"] = krippendorff_alpha(ratings, level="nominal") if len(coders) > 1 else np.nan
        rows.append(row)
    table = pd.DataFrame(rows)
    least = table["topic_recall_low"].iloc[:-1].min()
    checks = (Check("recall, lower end, in the language where it is lowest", f"{100 * least:.0f} %", "at least 80 %", bool(least >= 0.8)),
              Check("coders agree (alpha)", f"{table['alpha'].iloc[-1]:.2f}", "at least 0.67", bool(table["alpha"].iloc[-1] >= 0.67)))  # fmt: skip
    whole, percents = (
        table.iloc[-1],
        table.assign(**{c: 100 * table[c] for c in ("topic_recall", "topic_recall_low", "topic_recall_high")}),
    )
    words = say("coding", recall=percent(whole["topic_recall"]), low=percent(whole["topic_recall_low"]), n=number(len(sheet), 0),
        precision=percent(whole["topic_precision"]), alpha=number(whole["alpha"], 2),
    )  # fmt: skip
    return Statement(
        "coding_agreement", "topics", None, table, {"n": len(sheet), "method": "majority of the coders"}, checks, words=words,
        figure=lambda finding, ax: forest(percents, "topic_recall", names=table["language"], unit="recall, %", title=finding.title, ax=ax),
    )  # fmt: skip
