"""Banner tables: answers by columns of groups, weighted, with bases, tests and letters."""

from dataclasses import dataclass
from itertools import combinations, product
from string import ascii_uppercase

import numpy as np
import pandas as pd
from scipy import sparse, stats

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice
from cxresearch.figures import axes_or_new, heat_map
from cxresearch.findings import Check, Readable, listing, number, p_words
from cxresearch.inference import CORRECTIONS, adjusted_p_values
from cxresearch.metrics.answers import measured
from cxresearch.metrics.estimate import base_words, cell_estimates, decided, vector
from cxresearch.metrics.question import MeasureFinding, check_asked, columns_of
from cxresearch.privacy import hidden_cells
from cxresearch.survey import as_survey, natural_key

ALL = "all"
MOST_CATEGORIES = 40
UNTESTED = (np.nan,) * 4


@dataclass(frozen=True, repr=False, eq=False)
class Crosstab(MeasureFinding):
    """One row per question (`term`), answer (`category`), banner and column (`group`; ``all`` is the whole).

    ``estimate`` is the share of the column that gave the answer (0-1), or its mean; ``above`` holds the letters of the
    columns it is established to be above. ``further``: ``tests`` (are the columns alike), ``pairs`` (column against
    column).
    """

    statistic: str = "share"

    def sentence(self) -> str:
        tests = self.further["tests"]
        known = dict(rows=listing(map(self.label, self.outcome.split(", "))), columns=listing(map(self.label, self.by)))
        clear = tests[tests["p_adjusted"] < 1 - self.confidence]
        if clear.empty:
            first = self.say("cross_open", **known)
        else:
            top = clear.iloc[digits.descending(-clear["p_adjusted"].to_numpy(), clear["term"])[0]]
            words = f"{self.label(top['term'])} by {self.label(top['banner'])} ({p_words(top['p_adjusted'])})"
            alpha = f"{1 - self.confidence:.2g}"
            first = self.say("cross_differ", **known, clear=len(clear), first=words, alpha=alpha)
        return f"{first} {self.say('cross_more_hidden' if self.suppressed else 'cross_more', hidden=self.suppressed)}"

    def shown(self) -> pd.DataFrame:
        """Return the table as it is handed on: questions and answers down, columns across, values with letters, bases."""
        cells, ordered = {}, {}
        for term, rows in self.table.groupby("term", sort=False):
            for r in rows.itertuples():
                head = (self.label(r.banner), f"{self.label(r.group)}{f' ({r.letter})' if r.letter else ''}")
                ordered[self.label(term), str(r.category)] = None
                value = f"{number(100 * r.estimate, 0)} %" if self.statistic == "share" else number(r.estimate, 2)
                value = f"{value} {r.above}".rstrip() if np.isfinite(r.estimate) else "–"
                cells[self.label(term), str(r.category), head] = value
                cells[self.label(term), "n", head] = "–" if pd.isna(r.n) else number(r.n, 0)
            ordered[self.label(term), "n"] = None
        heads = list(dict.fromkeys(head for _, _, head in cells))
        rows = [[cells.get((*row, head), "–") for head in heads] for row in ordered]
        down = pd.MultiIndex.from_tuples(ordered, names=["Question", "Answer"])
        shown = Readable(pd.DataFrame(rows, index=down, columns=pd.MultiIndex.from_tuples(heads)))
        shown.attrs["finding"] = self.id
        return shown

    def plot(self, ax=None):
        """Draw the shares (percent) or means as a heat map, columns across."""
        t, share = self.table, self.statistic == "share"
        several = t["term"].nunique() > 1
        names = t["term"].map(self.label)
        if share:
            names = names + ": " + t["category"].astype(str) if several else t["category"].astype(str)
        heads = list(zip(t["banner"], t["group"].astype(str)))
        value = t["estimate"].astype(float) * (100 if share else 1)
        grid = pd.DataFrame({"row": names, "column": heads, "value": value})
        down, across = list(dict.fromkeys(names)), list(dict.fromkeys(heads))
        wide = grid.pivot(index="row", columns="column", values="value").reindex(index=down)[across]
        wide.columns = [self.label(group) for _, group in across]
        words = dict(unit="share of the column, %" if share else "mean, scale points", title=self.title)
        return heat_map(wide, decimals=0 if share else 2, ax=axes_or_new(ax, rows=len(down) + 2), **words)


def crosstab(
    responses, rows, columns, *, statistic: str = "share", correction: str = "holm", confidence: float = 0.95
) -> Crosstab:
    """Return answers by groups side by side: weighted, with bases, column tests and letters; `shown` is to hand on.

    Shares: Pearson's chi-square of the weighted table divided by the mean design effect of its contrasts, as an F with
    Satterthwaite's degrees of freedom (Rao & Scott 1984; R's ``svychisq``). Multiple choice and means: the joint Wald F.
    Column against column: the difference of adjusted shares (or means) with the design's covariance. `responses` and
    `confidence` are as in `nps`.

    Parameters
    ----------
    rows : column or list of columns
        Questions; names of multiple-choice questions of the survey too, whose choices are then the answers.
    columns : column or list of columns
        Banners: each column's groups stand side by side.
    statistic : {"share", "mean"}
        Shares of the answers in each column, or means of the ratings.
    correction : {"holm", "bh", "none"}
        Of the tests of all questions by all banners; and, apart from it, of all pairs of columns and answers within
        each question and banner, columns with a base of 30 or more.

    Examples
    --------
    >>> print(cx.crosstab(study.responses, "age_group", "region"))
    Age group by Region: ...
    """
    survey, rows, columns = as_survey(responses), columns_of(rows), columns_of(columns)
    require_choice("statistic", statistic, ("share", "mean"))
    require_choice("correction", correction, CORRECTIONS)
    choices = {row: list(survey.multiple.get(row, ())) for row in rows}
    check_asked(survey, *(c for row in rows for c in choices[row] or [row]), *columns, confidence=confidence)
    if not rows or not columns:
        raise DataProblem("a crosstab needs at least one question and one column to split by")
    if own := [row for row in rows if row in columns]:
        raise DataProblem(f"{own[0]} is both a question and a column; its answers by themselves say nothing")
    blocks, checks = [], []
    for row, banner in product(rows, columns):
        try:
            blocks.append(_block(survey, row, choices[row], banner, statistic, correction, confidence))
        except TooFewRespondents as few:
            checks.append(Check(f"{survey.label(row)} by {survey.label(banner)}", str(few), "enough to show", False))
    if not blocks:
        raise TooFewRespondents(f"crosstab: none of {listing(rows)} has enough answers to be shown")
    tables, pairs, tests, tested = zip(*blocks)
    table, pairs, tests = pd.concat(tables, ignore_index=True), pd.concat(pairs, ignore_index=True), pd.DataFrame(tests)
    tests["p_adjusted"] = adjusted_p_values(tests["p_value"], correction=correction)
    summary = {"n": int(tests["n"].max()), "method": f"column {statistic}s", "correction": CORRECTIONS[correction]}
    summary |= {"tests": len(tests), "established": bool((tests["p_adjusted"] < 1 - confidence).any())}
    hidden, no_base = (table.pop(c).to_numpy(dtype=bool) for c in ("hidden", "no_base"))
    few = int((table["base"] == "very small").sum())
    checks += [check for each in tested for check in each if not check.ok]
    checks.append(Check("columns under 30 answers, not tested", few, "0", few == 0))
    told = ["estimate", "std_error", "conf_low", "conf_high"]
    table = table.assign(**{c: table[c].mask(hidden) for c in (*told, "n_effective")})
    bases, letters = {c: table[c].mask(no_base) for c in ("n", "base")}, _lettered(table, pairs, 1 - confidence)
    table = table.assign(**bases, **letters)
    table = table[["term", "category", "banner", "group", *told, "n", "n_effective", "base", "letter", "above"]]
    known = dict(confidence=confidence, statistic=statistic, suppressed=int(hidden.sum()), domain=survey.condition)
    about = ("crosstab", ", ".join(rows), ", ".join(columns))
    further, checks = {"tests": tests, "pairs": pairs}, tuple(dict.fromkeys(checks))
    return Crosstab(*about, table, summary, checks, survey.labels, further, **known)


def _lettered(table, pairs, alpha) -> dict[str, list[str]]:
    """Return by row the letter of its column, A ... Z, AA ... over all banners, and those that its value is above."""
    keys, found = list(zip(table["banner"], table["group"])), {}
    banners = list(dict.fromkeys(table["banner"]))
    own = sorted((key for key in dict.fromkeys(keys) if key[1] != ALL), key=lambda key: banners.index(key[0]))
    names = dict(zip(own, [*ascii_uppercase, *map("".join, product(ascii_uppercase, repeat=2))]))
    for p in pairs[pairs["p_adjusted"] < alpha].itertuples():
        high, low = (p.group, p.against) if p.estimate > 0 else (p.against, p.group)
        found.setdefault((p.term, p.category, p.banner, high), []).append(names[p.banner, low])
    rows = zip(table["term"], table["category"], table["banner"], table["group"])
    above = [" ".join(sorted(found.get(row, []), key=lambda v: (len(v), v))) for row in rows]
    return {"letter": [names.get(key, "") for key in keys], "above": above}


def _block(survey, row, choices, banner, statistic, correction, confidence) -> tuple:
    """Return one question by one banner: its cells, its pairs of columns, its test and the checks of its rows."""
    codes, categories, answered = _codes(survey, row, choices, statistic)
    sample = survey.sample(answered & survey.table[banner].notna().to_numpy(), by=banner, what=survey.label(row))
    held, form = codes[sample.rows], "share" if statistic == "share" else "mean"
    groups, whole, about = sample.keys["group"].to_numpy(), sample.pooled(), {"term": row, "banner": banner}
    i, j = np.array(list(combinations(range(len(groups)), 2)), dtype=int).reshape(-1, 2).T
    gone, gone_all = np.tile(sample.hidden, (len(categories), 1)), np.zeros(len(categories), dtype=bool)
    if form == "share":
        gone, gone_all = _hidden(sample, held, survey.min_base, exclusive=not choices)
    tables, pairs = [], []
    for k, category in enumerate(categories):
        for part, names, hidden, low in ((whole, [ALL], gone_all[k], False), (sample, groups, gone[k], sample.hidden)):
            cells = cell_estimates(part, held[:, k], form, confidence)
            cells = cells.assign(base=base_words(cells["n"], cells["n_effective"]), hidden=hidden, no_base=low)
            tables.append(cells.assign(category=category, group=names, **about))
        compared, missing = vector(sample, held[:, k], form), gone[k][i] | gone[k][j]
        least = np.fmin(np.minimum(sample.n[i], sample.n[j]), np.fmin(compared.base[i], compared.base[j]))
        found = compared.less(i, j)
        found = found.assign(**{c: found[c].mask(missing) for c in ("estimate", "centre", "std_error")}, **about)
        pairs.append(
            found.assign(group=groups[i], against=groups[j], category=category, eligible=(least >= 30) & ~missing)
        )
    pairs = decided(pd.concat(pairs, ignore_index=True), correction=correction, confidence=confidence)
    first = ["term", "category", "banner", "group", "against", "estimate"]
    pairs = pairs[[*first, *(c for c in pairs if c not in (*first, "detectable"))]]
    shown = np.flatnonzero(~sample.hidden & (sample.n > 0))
    alike = _wald if form == "mean" or choices else rao_scott
    found = dict(zip(("statistic", "df_1", "df_2", "p_value"), alike(sample, held, shown)))
    test = about | found | {"n": len(sample), "method": "Wald F" if alike is _wald else "Rao-Scott F"}
    return pd.concat(tables, ignore_index=True), pairs, test, sample.checks


def _codes(survey, row, choices, statistic) -> tuple[np.ndarray, list, np.ndarray]:
    """Return what is averaged, (N, k) of the rows in view, the names of the k answers, and who answered."""
    table = survey.table
    if statistic == "mean" and choices:
        raise DataProblem(f"{row} is a multiple-choice question, which has shares but no mean")
    if statistic == "mean":
        asked = measured(survey, row, "mean")
        return asked.codes[:, None], ["mean"], asked.answered
    if choices:
        ticked = table[choices].apply(pd.to_numeric, errors="coerce").astype(float).to_numpy()
        ticks, names = (np.nan_to_num(ticked) > 0).astype(float), [survey.label(c) for c in choices]
        return ticks, names, ~np.isnan(ticked).all(axis=1)
    levels = table[row].dropna().unique()
    order = sorted(levels, key=natural_key)
    if hasattr(table[row], "cat"):
        order = [v for v in table[row].cat.categories if v in set(levels)]
    if len(order) > MOST_CATEGORIES:
        raise DataProblem(
            f"{row} has {len(order)} different answers; a table of more than {MOST_CATEGORIES} is not read: use "
            "statistic='mean', or group the answers"
        )
    place = pd.Index(order).get_indexer(table[row])
    names = [int(v) if isinstance(v, float) and v.is_integer() else v for v in order]
    return (place[:, None] == np.arange(len(order))).astype(float), names, place >= 0


def _hidden(sample, held, min_base: int, *, exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return which cells (k, g) to hide, and which answers of the whole (k,): few people, and those that tell them."""
    k, groups = held.shape[1], len(sample.keys)
    if min_base <= 1:
        return np.zeros((k, groups), dtype=bool), np.zeros(k, dtype=bool)
    persons = np.arange(len(sample)) if sample.persons is None else sample.persons
    people = pd.DataFrame({"group": sample.cell, "person": persons})

    def closed(*parts):
        counts = [people[inside].drop_duplicates()["group"].value_counts() for inside in parts]
        grid = pd.concat([count.reindex(range(groups), fill_value=0) for count in counts], keys=range(len(parts)))
        grid = grid.rename_axis(["category", "group"]).rename("n").reset_index()
        hidden = hidden_cells(grid, min_base=min_base, keys=("category", "group"))
        whole = grid.groupby("category", as_index=False)["n"].sum()
        return hidden.reshape(-1, groups) | sample.hidden, hidden_cells(whole, min_base=min_base, keys=("category",))

    if exclusive:
        return closed(*(held[:, j] > 0 for j in range(k)))
    each = [closed(held[:, j] > 0, held[:, j] == 0) for j in range(k)]
    return np.array([cells.any(axis=0) for cells, _ in each]), np.array([whole.any() for _, whole in each])


def rao_scott(sample, held, columns) -> tuple[float, float, float, float]:
    """Return F, its degrees of freedom and p of "the `columns` have the same shares", each row giving one answer.

    Pearson's chi-square on n rows, divided by the trace of the design effects D of the interactions, is an F on
    tr(D)^2 / tr(D^2) and as many times units-less-strata degrees of freedom (Rao & Scott 1984; Thomas & Rao 1987).
    """
    k, g, n = held.shape[1], len(sample.keys), len(sample)
    place = sample.cell * k + held.argmax(axis=1)
    table = np.bincount(place, sample.weights, minlength=g * k).reshape(g, k)[columns]
    given = np.flatnonzero(table.sum(axis=0) > 0)
    if len(columns) < 2 or k < 2:
        return UNTESTED
    influence = sparse.csr_array((sample.weights, place, np.arange(n + 1)), shape=(n, g * k))
    influence = influence[:, (columns[:, None] * k + given).ravel()]
    table, n = table[:, given], int(np.isin(sample.cell, columns).sum())
    r, c = table.shape
    p = (table / table.sum()).ravel()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)).ravel() / table.sum() ** 2
    pearson = n * np.sum((p - expected) ** 2 / expected)
    jacobian = (np.eye(r * c) - p[:, None]) / table.sum()
    covariance = jacobian @ sample.covariance_of(influence) @ jacobian.T
    main = np.hstack([np.kron(np.eye(r), np.ones((c, 1))), np.kron(np.ones((r, 1)), np.eye(c))])
    both = np.kron(np.vstack([-np.ones(r - 1), np.eye(r - 1)]), np.vstack([-np.ones(c - 1), np.eye(c - 1)]))
    contrast = both - main @ np.linalg.lstsq(main, both, rcond=None)[0]
    inverse = np.divide(1.0, p, out=np.zeros(r * c), where=p > 0)[:, None] * contrast
    effects = np.linalg.lstsq(contrast.T @ inverse / n, inverse.T @ covariance @ inverse, rcond=None)[0]
    trace = np.trace(effects)
    df = trace**2 / np.trace(effects @ effects) if trace > 0 else 0.0
    second = df * sample.units.df
    if not 0 < second < np.inf:
        return UNTESTED
    return pearson / trace, df, second, float(stats.f.sf(pearson / trace, df, second))


def _wald(sample, held, columns) -> tuple[float, float, float, float]:
    """Return the adjusted Wald F of "all means are alike in all columns"."""
    k, g, r = held.shape[1], len(sample.keys), len(columns)
    if r < 2:
        return UNTESTED
    influence = sparse.hstack([sample.influence(held[:, j]) for j in range(k)]).tocsr()
    means = np.concatenate([sample.means(held[:, j]) for j in range(k)])
    keep = (np.arange(k)[:, None] * g + columns).ravel()
    covariance = sample.covariance_of(influence[:, keep])
    contrast = np.kron(np.eye(k), np.eye(r - 1, r, 1) - np.eye(r - 1, r))
    difference, spread = contrast @ means[keep], contrast @ covariance @ contrast.T
    q, df = np.linalg.matrix_rank(spread, hermitian=True), sample.units.df
    second = df - q + 1
    if q == 0 or second <= 2:
        return UNTESTED
    statistic = float(difference @ np.linalg.pinv(spread, hermitian=True) @ difference) * second / (df * q)
    return statistic, float(q), float(second), float(stats.f.sf(statistic, q, second))
