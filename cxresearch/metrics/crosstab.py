"""Banner tables: answers by columns of groups, weighted, with bases, tests and letters.

References
----------
Rao & Scott (1984), Annals of Statistics 12, 46-60; Thomas & Rao (1987), J. American Statistical Association 82 (the
second-order correction as an F).
"""

from dataclasses import dataclass
from itertools import combinations, product
from string import ascii_uppercase

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice
from cxresearch.figures import axes_or_new, heat_map
from cxresearch.findings import Check, Finding, Readable, describe_columns, listing, number, p_words, phrase
from cxresearch.inference import adjusted_p_values
from cxresearch.metrics.answers import declared_scale, numeric_answers, require_within
from cxresearch.metrics.estimate import (
    CORRECTIONS,
    base_words,
    cell_estimates,
    check_asked,
    columns_of,
    decided,
    vector,
)
from cxresearch.metrics.independence import columns_alike
from cxresearch.metrics.sentences import SENTENCES
from cxresearch.privacy import hidden_cells
from cxresearch.survey import as_survey, natural_key

ALL = "all"
MOST_CATEGORIES = 40

describe_columns(
    banner=("Columns by", "the column whose groups stand side by side"),
    category=("Category", "answer, or group of a categorical variable"),
    letter=("Letter", "name of the column in tests"),
    above=("Above", "letters of the columns of the same banner that this value is established to be above"),
    against=("Against", "the column that a column is compared with"),
    statistic=("Statistic", "F value of the test", 2),
    df_1=("df 1", "degrees of freedom of the numerator", 2),
    df_2=("df 2", "degrees of freedom of the denominator", 1),
    tests=("Tests", "questions by banners that were tested", 0),
)


@dataclass(frozen=True, repr=False, eq=False)
class Crosstab(Finding):
    """One row per question (`term`), answer (`category`), banner and column (`group`; ``all`` is the whole).

    ``estimate`` is the share of the column that gave the answer (0-1), or its mean; ``above`` holds the letters of the
    columns it is established to be above. ``further``: ``tests`` (are the columns alike), ``pairs`` (column against
    column).
    """

    statistic: str = "share"
    confidence: float = 0.95

    def sentence(self) -> str:
        s = self.summary
        known = dict(rows=listing(map(self.label, self.outcome.split(", "))), columns=listing(map(self.label, self.by)))
        n = number(s["n"], 0)
        tests = self.further.get("tests")
        if tests is None:
            return phrase(SENTENCES, "cross_untested", **known, n=n)
        clear = tests[tests["p_adjusted"] < 1 - self.confidence]
        if clear.empty:
            first = phrase(SENTENCES, "cross_open", **known, tests=s["tests"], n=n)
        else:
            top = clear.iloc[digits.descending(-clear["p_adjusted"].to_numpy(), clear["term"])[0]]
            words = f"{self.label(top['term'])} by {self.label(top['banner'])} ({p_words(top['p_adjusted'])})"
            alpha = f"{1 - self.confidence:.2g}"
            first = phrase(
                SENTENCES, "cross_differ", **known, clear=len(clear), tests=s["tests"], first=words, alpha=alpha
            )
        more = dict(correction=s["correction"], n=n)
        if self.suppressed:
            return f"{first} {phrase(SENTENCES, 'cross_more_hidden', **more, hidden=self.suppressed)}"
        return f"{first} {phrase(SENTENCES, 'cross_more', **more)}"

    def shown(self) -> pd.DataFrame:
        """Return the table as it is handed on: questions and answers down, columns across, values with letters, bases."""
        t, cells = self.table, {}
        for r in t.assign(n=t["n"].astype(float)).itertuples():
            head = (self.label(r.banner), f"{self.label(r.group)}{f' ({r.letter})' if r.letter else ''}")
            cells[self.label(r.term), str(r.category), head] = self._cell(r.estimate, r.above)
            cells[self.label(r.term), "n", head] = number(r.n, 0) if np.isfinite(r.n) else "–"
        ordered = [
            (self.label(q), c)
            for q in dict.fromkeys(t["term"])
            for c in [*t.loc[t["term"] == q, "category"].astype(str).unique(), "n"]
        ]
        heads = list(dict.fromkeys(head for _, _, head in cells))
        rows = [[cells.get((*row, head), "–") for head in heads] for row in ordered]
        names = ["Question", "Answer"]
        down, across = pd.MultiIndex.from_tuples(ordered, names=names), pd.MultiIndex.from_tuples(heads)
        shown = Readable(pd.DataFrame(rows, index=down, columns=across))
        shown.attrs["finding"] = self.id
        return shown

    def _cell(self, value, above) -> str:
        if not np.isfinite(value):
            return "–"
        text = f"{number(100 * value, 0)} %" if self.statistic == "share" else number(value, 2)
        return f"{text} {above}" if isinstance(above, str) and above else text

    def plot(self, ax=None):
        """Draw the shares (percent) or means as a heat map, columns across."""
        t = self.table
        scale = 100 if self.statistic == "share" else 1
        names = [self.label(term) if c == "mean" else f"{self.label(term)}: {c}" if self._several else str(c)
                 for term, c in zip(t["term"], t["category"].astype(str))]  # fmt: skip
        down, across = list(dict.fromkeys(names)), list(dict.fromkeys(zip(t["banner"], t["group"].astype(str))))
        grid = pd.DataFrame({"row": names, "column": list(zip(t["banner"], t["group"].astype(str)))})
        grid["value"] = scale * t["estimate"].astype(float)
        wide = grid.pivot(index="row", columns="column", values="value").reindex(index=down)[across]
        wide.columns = [self.label(group) for _, group in across]
        unit = "share of the column, %" if self.statistic == "share" else "mean, scale points"
        title = self.sentence().split(". ")[0].rstrip(".")
        ax = axes_or_new(ax, rows=len(down) + 2)
        return heat_map(wide, decimals=0 if self.statistic == "share" else 2, unit=unit, title=title, ax=ax)

    @property
    def _several(self) -> bool:
        return self.table["term"].nunique() > 1


def crosstab(
    responses,
    rows,
    columns,
    *,
    statistic: str = "share",
    test: bool = True,
    correction: str = "holm",
    confidence: float = 0.95,
) -> Crosstab:
    """Return answers by groups side by side: weighted, with bases, column tests and letters.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    rows : column or list of columns
        Questions; names of multiple-choice questions of the survey too, whose choices are then the answers.
    columns : column or list of columns
        Banners: each column's groups stand side by side.
    statistic : {"share", "mean"}
        Shares of the answers in each column, or means of the ratings.
    test : bool
        Whether the columns are alike, and which are above which.
    correction : {"holm", "bh", "none"}
        Of the tests of all questions by all banners; and, apart from it, of all pairs of columns and answers within
        each question and banner, columns with a base of 30 or more.
    confidence
        As in `nps`.

    Returns
    -------
    Crosstab
        ``shown()`` is the table to hand on.

    Raises
    ------
    DataProblem
        Columns that are absent, a question that is its own banner, more than 40 answers, means of text.
    TooFewRespondents
        No question has enough answers.

    Notes
    -----
    Shares: Pearson's chi-square of the weighted table divided by the mean design effect of its contrasts, as an F with
    Satterthwaite's degrees of freedom (Rao & Scott 1984; R's ``svychisq``). Multiple choice and means: the joint Wald F.
    Column against column: the difference of adjusted shares (or means) with the design's covariance. A cell under the
    minimum base is hidden with those that would tell it.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.crosstab(study.responses, "age_group", "region"))
    Age group by Region: ...
    """
    survey, rows, columns = as_survey(responses), columns_of(rows), columns_of(columns)
    require_choice("statistic", statistic, ("share", "mean"))
    require_choice("correction", correction, CORRECTIONS)
    choices = {row: list(survey.multiple.get(row, ())) for row in rows}
    check_asked(survey, *(c for row in rows for c in choices[row] or [row]), *columns, confidence=confidence)
    if not rows or not columns:
        raise DataProblem("crosstab needs at least one question and one column to split by")
    if own := [row for row in rows if row in columns]:
        raise DataProblem(f"{own[0]} is both a question and a column; its answers by themselves say nothing")
    blocks, checks = [], []
    for row, banner in product(rows, columns):
        try:
            blocks.append(_block(survey, row, choices[row], banner, statistic, test, correction, confidence))
        except TooFewRespondents as few:
            words = f"{survey.label(row)} by {survey.label(banner)}"
            checks.append(Check(words, str(few), "enough to show", False))
    if not blocks:
        raise TooFewRespondents(f"crosstab: none of {listing(rows)} has enough answers to be shown")
    table = pd.concat([block["table"] for block in blocks], ignore_index=True)
    hidden, no_base = (table.pop(c).to_numpy(dtype=bool) for c in ("hidden", "no_base"))
    names, further = _letters(table), {}
    table["letter"] = [names.get(key, "") for key in zip(table["banner"], table["group"])]
    table["above"] = ""
    summary = {"n": max(block["n"] for block in blocks), "method": f"column {statistic}s"}
    summary |= {"correction": CORRECTIONS[correction], "tests": len(blocks) if test else 0}
    if test:
        overall = pd.DataFrame([block["test"] for block in blocks])
        overall["p_adjusted"] = adjusted_p_values(overall["p_value"], correction=correction)
        further = {"tests": overall, "pairs": pd.concat([block["pairs"] for block in blocks], ignore_index=True)}
        table["above"] = _above(table, further["pairs"], names, 1 - confidence)
        summary["established"] = bool((overall["p_adjusted"] < 1 - confidence).any())
    few = int((table["base"] == "very small").sum())
    checks += [c for block in blocks for c in block["checks"] if not c.ok]
    checks.append(Check("columns under 30 answers, not tested", few, "0", few == 0))
    told = ["estimate", "std_error", "conf_low", "conf_high"]
    table = table.assign(**{c: table[c].mask(hidden) for c in (*told, "n_effective")})
    table = table.assign(**{c: table[c].mask(no_base) for c in ("n", "base")})
    order = ["term", "category", "banner", "group", *told, "n", "n_effective", "base", "letter", "above"]
    return Crosstab(
        "crosstab", ", ".join(rows), ", ".join(columns), table[order], summary, tuple(dict.fromkeys(checks)), survey.labels,
        further, statistic, confidence, suppressed=int(hidden.sum()), domain=survey.condition,
    )  # fmt: skip


def _letters(table: pd.DataFrame) -> dict:
    """Return (banner, group) -> letter, A, B, ... Z, AA, ... across all banners."""
    found = [key for key in dict.fromkeys(zip(table["banner"], table["group"])) if key[1] != ALL]
    many = [*ascii_uppercase, *(a + b for a in ascii_uppercase for b in ascii_uppercase)]
    return dict(zip(sorted(found, key=lambda key: list(dict.fromkeys(table["banner"])).index(key[0])), many))


def _above(table, pairs, names, alpha) -> np.ndarray:
    """Return by row the letters of the columns that its value is established to be above."""
    clear = pairs[pairs["p_adjusted"] < alpha]
    found: dict = {}
    for p in clear.itertuples():
        high, low = (p.group, p.against) if p.estimate > 0 else (p.against, p.group)
        found.setdefault((p.term, p.category, p.banner, high), []).append(names[p.banner, low])
    keys = zip(table["term"], table["category"], table["banner"], table["group"])
    return np.array([" ".join(sorted(found.get(key, []), key=lambda v: (len(v), v))) for key in keys], dtype=object)


def _block(survey, row, choices, banner, statistic, test, correction, confidence) -> dict:
    """Return one question by one banner: its cells, its test and its pairs of columns."""
    codes, categories, answered = _codes(survey, row, choices, statistic)
    sample = survey.sample(answered & survey.table[banner].notna().to_numpy(), by=banner, what=survey.label(row))
    held, form = codes[sample.rows], "share" if statistic == "share" else "mean"
    groups, whole = sample.keys["group"].tolist(), sample.pooled()
    n = len(sample)
    gone, gone_all = _hidden(sample, held, survey.min_base, exclusive=not choices) if form == "share" else (
        np.tile(sample.hidden, (len(categories), 1)), np.zeros(len(categories), dtype=bool))  # fmt: skip
    tables, pairs = [], []
    for k, category in enumerate(categories):
        for part, names, hidden, low in ((whole, [ALL], gone_all[k], False), (sample, groups, gone[k], sample.hidden)):
            cells = cell_estimates(part, held[:, k], form, confidence)
            cells = cells.assign(base=base_words(cells["n"], cells["n_effective"]), hidden=hidden, no_base=low)
            tables.append(cells.assign(term=row, category=category, banner=banner, group=names))
        if test:
            pairs.append(_pairs(sample, held[:, k], form, gone[k]).assign(term=row, category=category, banner=banner))
    found = {"table": pd.concat(tables, ignore_index=True), "n": n, "checks": sample.checks}
    if test:
        each = decided(pd.concat(pairs, ignore_index=True), correction=correction, confidence=confidence)
        first = ["term", "category", "banner", "group", "against", "estimate"]
        found["pairs"] = each[[*first, *(c for c in each if c not in (*first, "detectable"))]]
        shown = ~sample.hidden & (sample.n > 0)
        tested = dict(
            zip(("statistic", "df_1", "df_2", "p_value"), columns_alike(sample, held, form, shown, bool(choices)))
        )
        found["test"] = {"term": row, "banner": banner, **tested, "n": n}
        found["test"]["method"] = "Rao-Scott F" if form == "share" and not choices else "Wald F"
    return found


def _codes(survey, row, choices, statistic) -> tuple[np.ndarray, list, np.ndarray]:
    """Return what is averaged, (N, k) of the rows in view, the names of the k answers, and who answered."""
    table = survey.table
    if statistic == "mean":
        if choices:
            raise DataProblem(f"{row} is a multiple-choice question, which has shares but no mean")
        answers = numeric_answers(table, row)
        if (scale := declared_scale(table, row)) is not None:
            require_within(answers, row, *scale)
        return answers[:, None], ["mean"], ~np.isnan(answers)
    if choices:
        ticked = table[choices].apply(pd.to_numeric, errors="coerce").astype(float).to_numpy()
        answered = ~np.isnan(ticked).all(axis=1)
        return (np.nan_to_num(ticked) > 0).astype(float), [survey.label(c) for c in choices], answered
    found, levels = pd.factorize(table[row])
    order = (
        [v for v in table[row].cat.categories if v in set(levels)]
        if hasattr(table[row], "cat")
        else sorted(levels, key=natural_key)
    )
    if len(order) > MOST_CATEGORIES:
        raise DataProblem(
            f"{row} has {len(order)} different answers; a table of more than {MOST_CATEGORIES} is not read: use "
            "statistic='mean', or group the answers"
        )
    place = np.array([*(list(order).index(level) for level in levels), -1])[found]
    names = [int(v) if isinstance(v, float) and v.is_integer() else v for v in order]
    return (place[:, None] == np.arange(len(order))).astype(float), names, found >= 0


def _hidden(sample, held, min_base: int, *, exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return which cells (k, g) to hide, and which answers of the whole (k,): few people, and those that tell them."""
    k, groups = held.shape[1], len(sample.keys)
    if min_base <= 1:
        return np.zeros((k, groups), dtype=bool), np.zeros(k, dtype=bool)
    persons = np.arange(len(sample)) if sample.persons is None else sample.persons
    people = pd.DataFrame({"cell": sample.cell, "person": persons})

    def counted(inside):
        base = people[inside].drop_duplicates()["cell"].value_counts().reindex(range(groups), fill_value=0)
        return base.to_numpy()

    def closed(counts):
        grid = pd.DataFrame(
            {"category": np.repeat(np.arange(len(counts)), groups), "group": np.tile(np.arange(groups), len(counts))}
        )
        grid["n"] = np.concatenate(counts)
        hidden = hidden_cells(grid, min_base=min_base, keys=("category", "group"))
        whole = hidden_cells(pd.DataFrame({"category": range(len(counts)), "n": [c.sum() for c in counts]}),
                             min_base=min_base, keys=("category",))  # fmt: skip
        return hidden.reshape(len(counts), groups) | sample.hidden, whole

    if exclusive:
        return closed([counted(held[:, j] > 0) for j in range(k)])
    each = [closed([counted(held[:, j] > 0), counted(held[:, j] == 0)]) for j in range(k)]
    return np.array([cells.any(axis=0) for cells, _ in each]), np.array([whole.any() for _, whole in each])


def _pairs(sample, codes, form, gone) -> pd.DataFrame:
    """Return the differences between the columns for one answer, and what their tests stand on."""
    compared, groups = vector(sample, codes, form), sample.keys["group"].tolist()
    i, j = np.array(list(combinations(range(len(groups)), 2)), dtype=int).reshape(-1, 2).T
    c, n, base = compared.covariance, sample.n, compared.base
    least = np.fmin(np.minimum(n[i], n[j]), np.fmin(base[i], base[j]))
    eligible = (least >= 30) & ~gone[i] & ~gone[j]
    missing = np.where(gone[i] | gone[j], np.nan, 0.0)
    variance = np.maximum(c[i, i] + c[j, j] - 2 * c[i, j], 0.0)
    return pd.DataFrame({
        "group": [groups[a] for a in i], "against": [groups[b] for b in j], "centre": compared.centre[i] - compared.centre[j] + missing,
        "estimate": compared.raw[i] - compared.raw[j] + missing, "std_error": np.sqrt(variance) + missing,
        "df": max(compared.df, 1.0), "tail": base[i] + base[j] - 2, "eligible": eligible,
    })  # fmt: skip
