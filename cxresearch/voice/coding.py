"""What people say of the same texts: a sheet to code by hand, and how well the taxonomy recalls it in each language."""

import numpy as np
import pandas as pd

from cxresearch.errors import require_columns
from cxresearch.findings import Check, Statement, csv_safe, ends, number, percent
from cxresearch.inference import wilson_interval
from cxresearch.inference.agreement import krippendorff_alpha
from cxresearch.survey import as_table
from cxresearch.voice.texts import LANGUAGES, read_texts, say


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
    coders : columns, two or more for alpha; a topic is true where the majority gives it
    confidence : float

    Returns
    -------
    Statement
        One row per language and ``all``: ``estimate`` (recall) and ``topic_precision`` with Wilson's intervals, ``alpha``
        (Krippendorff 2011), ``n`` texts.

    Raises
    ------
    DataProblem
        A column that is absent, a text that a coder left out.

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
    checks = (
        Check(worst, percent(least), "at least 80 %", bool(least >= 0.8)),
        Check("coders agree (alpha)", alpha, "at least 0.67", bool(whole["alpha"] >= 0.67)),
    )
    summary, drawn = {"n": len(sheet), "method": "majority of the coders"}, {"scale": 100, "unit": "recall, %"}
    question = "coding_agreement", "topics", None, table, summary, checks
    known = {**whole, "n": len(sheet)}
    return Statement.of(say, ["coding"], known, confidence, *question, source=as_table(sheet), drawn=drawn)
