"""Who changed segment between two windows, who bought nothing, and what mere misclassification would show."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.contingency_tables import SquareTable

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import heat_map, titled, wrap, written
from cxresearch.findings import Check, Finding, listing, number, p_words, percent
from cxresearch.inference import goodman_intervals
from cxresearch.privacy import POOLED, hidden_cells
from cxresearch.segments.methods import overlap
from cxresearch.segments.outcomes import classification
from cxresearch.segments.segmentation import Segmentation, segment_names, stands
from cxresearch.segments.sentences import NOTHING, say
from cxresearch.survey import as_survey

ALPHA = 0.05


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentMigration(Finding):
    """Transitions between the same frozen segments in two windows, "bought nothing" among them."""

    def sentence(self) -> str:
        s = self.summary
        shares = ("stayed", "changed", "bought_nothing", "stayed_both", "stayed_expected")
        values = {name: percent(s[name]) for name in shares} | {"p": p_words(s["margins_p"])}
        values |= {"n": number(s["n"], 0), "both": number(s["n_both"], 0)}
        sizes = ("sizes changed" if s["margins_p"] <= ALPHA else "sizes kept") + ("" if stands(self) else ", not real")
        return " ".join(say(key, **values) for key in ("stay", "both", sizes))

    def plot(self, ax=None):
        """Draw the share of each earlier segment (rows) that is in each later state (columns), in percent.

        Nothing is drawn where the floor would hide a whole segment.
        """
        grid = 100 * self.table.pivot(index="segment", columns="to_segment", values="share").astype(float)
        states = [*self.further["states"]["segment"], NOTHING]
        grid = grid.reindex(index=states, columns=[*states, POOLED]).dropna(how="all").dropna(how="all", axis=1)
        if lost := [s for s in states[:-1] if s not in grid.index or s not in grid.columns]:
            return written(say("moves hidden", segments=listing(lost)), ax)
        ax = heat_map(grid, ax=ax)
        ax.set_xticklabels([wrap(name, 10, lines=3) for name in grid.columns], rotation=0)
        shares = {name: percent(self.summary[name]) for name in ("stayed", "bought_nothing")}
        return titled(ax, say("moves title", **shares), say("moves unit"))


def segment_migration(
    before, after, *, segmentation: Segmentation, customer: str, reference: Segmentation | None = None,
    confidence: float = 0.95, min_rows: int = 100,
) -> SegmentMigration:  # fmt: skip
    """Compare customers' segments in two windows, both assigned by the same frozen rule.

    What is found is a description: whether those who are found in another segment really moved, two windows cannot tell.
    `stayed_expected`, what the model's own errors would leave if nobody had, is the sum of p_s D[s, t]^2, D[s, t] being the
    probability that a member of s is assigned to t; a customer whose ways vary from window to window errs more often.

    ``tidy``: segment, to_segment ("bought nothing" is a state of both), n, share (of the earlier segment), conf_low,
    conf_high (Goodman); cells under the floor are pooled within their earlier segment, and the headline is rounded so
    that it does not give them away. ``tables`` adds states: what the names stand for. ``glance``: n (customers with
    a segment in the earlier window), stayed, changed, bought_nothing (shares of them), n_both and stayed_both (of
    those who bought in both), stayed_expected (of them, if nobody moved), kappa (of both), margins_p (Stuart-Maxwell, of
    all). Refused are a customer twice in a window, a reference of another kind, and too few who bought in both.

    Parameters
    ----------
    before, after : Survey or DataFrame
        One row per customer who bought in the window, with the features of the segmentation. A customer whom one of them
        lacks, or whose `frequency` there is 0, bought nothing in that window.
    segmentation : Segmentation
        Fitted on one of the windows, or before both. Column `customer` links the two.
    reference : Segmentation, optional
        Another segmentation by the same features, whose names are used: each segment is called as the one of `reference`
        whose profile is nearest, one to one. Without it S1 here need not be S1 there.
    confidence, min_rows
        `min_rows` counts customers who bought in both windows.

    Examples
    --------
    >>> halves = [cx.behaviour(study.transactions, until=until, window="6 months") for until in ("2024-07-01", "2025-01-01")]
    >>> segments = cx.segment_customers(halves[0], features=["recency_days", "frequency"], n_segments=2, n_boot=10, seed=1)
    >>> print(cx.segment_migration(*halves, segmentation=segments, customer="customer"))
    Of ... customers ... stayed in their segment, ... moved to another and ... bought nothing. ...
    """
    survey, later = as_survey(before), as_survey(after)
    fit, k, floor = segmentation.fit, segmentation.k, max(survey.min_base, later.min_base)
    names, near = _names(segmentation, reference)
    windows, incomplete = _linked({"before": survey.table, "after": later.table}, segmentation, customer)
    state = np.full((2, len(windows[0])), k)  # k: bought nothing
    for row, window in zip(state, windows):
        row[window.notna().all(axis=1)] = fit.rule.predict(window.dropna().to_numpy())
    order = [*(names.index(name) for name in segment_names(k)), k]
    counts = overlap(*state, k + 1).astype(int)[np.ix_(order, order)]
    same, n, smallest = counts[:-1, :-1], counts[:-1].sum(), int(counts[:-1].sum(axis=1).min())
    stayed, both = np.trace(same), same.sum()
    if both < min_rows:
        raise TooFewRespondents(f"segment_migration needs at least {min_rows} customers in both windows; found {both}")
    table, pooled = _table(counts, confidence, floor)
    x = windows[0].dropna().to_numpy()
    member = fit.member.predict_proba(x)
    expected = member.mean(axis=0) @ np.square(classification(member, fit.rule.predict(x))).sum(axis=1)
    summary: dict[str, object] = {"n": int(n), "method": "frozen rule in both windows", "stayed": stayed / n}
    summary |= {"changed": (both - stayed) / n, "bought_nothing": counts[:-1, -1].sum() / n, "n_both": int(both)}
    summary |= {"stayed_both": stayed / both, "stayed_expected": float(expected), "kappa": kappa(same)}
    summary |= dict(zip(("margins", "margins_df", "margins_p"), stuart_maxwell(counts))) | {"established": None}
    if pooled:  # no pooled cell follows from whole percents, no finer than the floor, and a base in whole floors
        unit, shares = np.ceil(100 * floor / n) / 100, ("stayed", "changed", "bought_nothing", "stayed_both")
        summary |= {name: float(np.round(summary[name] / unit) * unit) for name in shares}
        summary |= {"n_both": round(summary["n_both"] / floor) * floor, "kappa": round(summary["kappa"], 2)}
    states = segmentation.table.assign(segment=names)[["segment", "suggested_name", "description"]].iloc[order[:-1]]
    tested = (
        Check("customers without every feature in a window", incomplete, "0", incomplete == 0),
        Check("smallest earlier segment", smallest, "at least 30", smallest >= 30),
        Check("segments nearest to the one whose name they have", f"{near} of {k}", "all", near == k),
        segmentation.real(),
        Check("cells pooled for their base", pooled, "0", pooled == 0, "info"),
    )
    return SegmentMigration(
        "segment_migration", "segment", None, table, summary, tested, survey.labels,
        {"states": states}, suppressed=pooled, domain=survey.condition,
    )  # fmt: skip


def _linked(tables, segmentation: Segmentation, customer: str) -> tuple[list[pd.DataFrame], int]:
    """Return, for either window, the features of all customers of both in order of rows, missing where they bought
    nothing, and how many were left out for lack of a feature."""
    windows, unknown = [], set()
    for name, table in tables.items():
        require_columns(table, customer, *segmentation.features, where=name)
        if repeated := int(table[customer].duplicated().sum()):
            raise DataProblem(
                f"{name}: {repeated} of {len(table)} rows repeat a customer in {customer}; give one row per customer"
            )
        bought = table[table["frequency"] != 0] if "frequency" in table else table
        x, complete = segmentation.read(bought)
        windows.append(pd.DataFrame(x, index=bought[customer].to_numpy()[complete]))
        unknown |= set(bought[customer][~complete])
    ids = windows[0].index.append(windows[1].index).unique().difference(list(unknown), sort=False)
    return [window.reindex(ids) for window in windows], len(unknown)


def _names(segmentation: Segmentation, reference: Segmentation | None) -> tuple[list[str], int]:
    """Return what each segment is called, and how many are nearest to the one whose name they have."""
    names, own = segment_names(segmentation.k), segmentation.centres
    if reference is None:
        return names, segmentation.k
    if reference.features != segmentation.features or reference.centres.shape != own.shape:
        raise DataProblem(
            f"reference has {reference.k} segments by {', '.join(reference.features)}, the segmentation {segmentation.k} by "
            f"{', '.join(segmentation.features)}; segments are matched by profile where features and number are the same"
        )
    apart = np.square(own[:, None] - reference.centres[None]).sum(axis=2)
    matched = optimize.linear_sum_assignment(apart)[1]
    return [names[j] for j in matched], int((apart.argmin(axis=1) == matched).sum())


def _table(counts: np.ndarray, confidence: float, floor: int) -> tuple[pd.DataFrame, int]:
    """Return the moves with small cells pooled, and how many are in no row of their own."""
    states, rows = [*segment_names(len(counts) - 1), NOTHING], []
    pooled, hidden, some = pooled_moves(counts, floor), np.zeros(len(counts), dtype=bool), counts.any(axis=1)
    hidden[some] = hidden_cells(pd.DataFrame({"n": counts[some].sum(axis=1)}), min_base=floor)
    for state, row, away, lost in zip(states, counts, pooled, hidden):
        shown = [j for j in range(len(row)) if not away[j] and not state == states[j] == NOTHING]
        names, n = [states[j] for j in shown], row[shown].astype(float)
        names, n = (names + [POOLED], np.append(n, row[away].sum())) if away.any() else (names, n)
        if lost:
            rows.append((state, POOLED, np.nan, np.nan, np.nan, np.nan))
        elif n.sum():
            rows += zip([state] * len(n), names, n, n / n.sum(), *goodman_intervals(n / n.sum(), n.sum(), confidence))
    columns = ["segment", "to_segment", "n", "share", "conf_low", "conf_high"]
    return pd.DataFrame(rows, columns=columns), int((pooled | hidden[:, None]).sum())


def pooled_moves(counts: np.ndarray, floor: int) -> np.ndarray:
    """Return which cells of (k + 1, k + 1) moves are pooled within their row: two or more, `floor` customers, who stayed last."""
    pooled, k = counts < floor, len(counts) - 1
    pooled[k, k] = False
    for i, row in enumerate(counts if floor > 1 else []):
        for j in sorted(range(k + (i < k)), key=lambda j: (i == j, row[j], j)):
            pooled[i, j] |= pooled[i].any() and (pooled[i].sum() < 2 or row[pooled[i]].sum() < floor)
    return pooled & (floor > 1)


def stuart_maxwell(counts: np.ndarray) -> tuple[float, int, float]:
    """Return statistic, degrees of freedom and p of the Stuart-Maxwell test that the margins are equal."""
    kept = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts) > 0)
    if len(kept) < 2:
        return 0.0, 0, 1.0
    found = SquareTable(counts[np.ix_(kept, kept)].astype(float), shift_zeros=False).homogeneity()
    return float(found.statistic), int(found.df), float(stats.chi2.sf(found.statistic, found.df))


def kappa(counts: np.ndarray) -> float:
    """Return Cohen's kappa of a square table: agreement beyond chance."""
    before, after = np.indices(counts.shape).reshape(2, -1)
    return float(cohen_kappa_score(before, after, sample_weight=counts.ravel()))
