"""Who changed segment between two windows, who bought nothing, and what mere misclassification would show.

References
----------
Stuart (1955), *Biometrika* 42, and Maxwell (1970) (equal margins); Cohen (1960) (kappa); Goodman (1965),
*Technometrics* 7 (simultaneous intervals for shares); Wolter (2007), *Variance Estimation*, 4 (jackknife by groups).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.contingency_tables import SquareTable

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import axes_or_new, heat_map, titled, wrap
from cxresearch.findings import (
    Check,
    Finding,
    describe_columns,
    ends,
    interval,
    listing,
    number,
    p_words,
    percent,
    phrase,
)
from cxresearch.inference import critical_value, goodman_intervals, wilson_interval
from cxresearch.privacy import POOLED
from cxresearch.segments.methods import Fit
from cxresearch.segments.outcomes import WEAK, classification
from cxresearch.segments.segmentation import Segmentation, hidden_segments, segment_names
from cxresearch.segments.sentences import NOTHING, SENTENCES
from cxresearch.segments.stability import in_threads, overlap
from cxresearch.survey import as_survey

describe_columns(
    to_segment=("To", "state in the later window: a segment, or bought nothing"),
    stayed=("Stayed", "share of the earlier window's customers found in the same segment later, 0-1", 3),
    moved=("Moved", "share of the earlier window's customers found in another segment later, 0-1", 3),
    bought_nothing=("Bought nothing", "share of the earlier window's customers who bought nothing later, 0-1", 3),
    n_both=("Bought in both", "customers with a segment in both windows", 0),
    stayed_both=("Stayed, of both", "share that stayed of those who bought in both windows, 0-1", 3),
    stayed_expected=("Stayed if nobody moved", "share found in the same segment by misclassification alone, 0-1", 3),
    kappa=("Kappa", "Cohen's: agreement beyond chance, up to 1", 3),
    stayed_corrected=("Stayed, corrected", "share that stayed of both, corrected for misclassification, 0-1", 3),
    stayed_corrected_low=("Corrected low", "lower end of its interval", 3),
    stayed_corrected_high=("Corrected high", "upper end of its interval", 3),
    margins=("Margins", "Stuart-Maxwell chi-square: segments kept their sizes", 2),
    margins_df=("Margins df", "its degrees of freedom", 0),
    margins_p=("Margins p", "its p-value", 3),
)
ALPHA = 0.05
GROUPS = 40  # of the jackknife


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentMigration(Finding):
    """Transitions between the same frozen segments in two windows, "bought nothing" among them."""

    confidence: float
    approximate: bool

    def sentence(self) -> str:
        s = self.summary
        shares = {
            name: percent(s[key])
            for name, key in (("stayed", "stayed"), ("moved", "moved"), ("nothing", "bought_nothing"))
        }
        said = [phrase(SENTENCES, "stay", n=number(s["n"], 0), **shares)]
        values = {"both": number(s["n_both"], 0), "raw": percent(s["stayed_both"])}
        if np.isfinite(s["stayed_corrected"]):
            values["interval"] = interval(
                100 * s["stayed_corrected_low"], 100 * s["stayed_corrected_high"], self.confidence
            )
            values["corrected"] = percent(s["stayed_corrected"])
            said.append(phrase(SENTENCES, "moved" if s["established"] else "may be the same", **values))
            said += [SENTENCES["approximate"]] if self.approximate else []
        else:
            said.append(phrase(SENTENCES, "no correction", **values))
        key = "sizes changed" if s["margins_p"] <= ALPHA else "sizes kept"
        said.append(phrase(SENTENCES, key, p=p_words(s["margins_p"])))
        real = self.checks().set_index("check").at["segments established", "ok"]
        return " ".join([*said, *([] if real else [SENTENCES["not real"]])])

    def plot(self, ax=None):
        """Draw the share of each earlier segment (rows) that is in each later state (columns), in percent.

        Nothing is drawn where the floor would hide a whole segment.
        """
        grid = 100 * self.table.pivot(index="segment", columns="to_segment", values="share").astype(float)
        states = [*self.further["states"]["segment"], NOTHING]
        grid = grid.reindex(index=states, columns=[*states, POOLED]).dropna(how="all").dropna(how="all", axis=1)
        if lost := [s for s in states[:-1] if s not in grid.index or s not in grid.columns]:
            ax = axes_or_new(ax, rows=2)
            words = phrase(SENTENCES, "moves hidden", segments=listing(lost))
            ax.text(0.5, 0.5, wrap(words, 60, lines=6), ha="center", va="center", transform=ax.transAxes)
            ax.set_axis_off()
            return ax
        ax = heat_map(grid, ax=ax)
        shares = {"stayed": percent(self.summary["stayed"]), "nothing": percent(self.summary["bought_nothing"])}
        return titled(ax, phrase(SENTENCES, "moves title", **shares), SENTENCES["moves unit"])


def segment_migration(
    before,
    after,
    *,
    segmentation: Segmentation,
    customer: str,
    reference: Segmentation | None = None,
    confidence: float = 0.95,
    min_rows: int = 100,
) -> SegmentMigration:
    """Compare customers' segments in two windows, both assigned by the same frozen rule.

    Parameters
    ----------
    before, after : Survey or DataFrame
        One row per customer who bought in the window, with the features of the segmentation. A customer whom one of them
        lacks, or whose `frequency` there is 0, bought nothing in that window.
    segmentation : Segmentation
        Fitted on one of the windows, or before both.
    customer : str
        Column that links the two.
    reference : Segmentation, optional
        Another segmentation by the same features, whose names are used: each segment is called as the one of `reference`
        whose profile is nearest, one to one. Without it S1 here need not be S1 there.
    confidence, min_rows
        As elsewhere. `min_rows` counts customers who bought in both windows.

    Returns
    -------
    SegmentMigration
        ``tidy``: segment, to_segment ("bought nothing" is a state of both), n, share (of the earlier segment), conf_low,
        conf_high (Goodman's simultaneous interval); cells under the floor are pooled within their earlier segment.
        ``tables`` adds states: the names and what they are called. ``glance``: n (customers with a segment in the
        earlier window), stayed, moved and bought_nothing (shares of them), n_both and stayed_both (of those who bought in
        both), stayed_expected (if none of these moved and every assignment erred on its own), stayed_corrected and its
        interval, kappa (of both), margins_p (Stuart-Maxwell, of all).

    Notes
    -----
    D[s, t] is the probability that a member of s is assigned to t. If assignments err independently in the two windows,
    found moves are D' P E with P the true moves and D, E of the two windows; the share that stayed is estimated by the
    trace of D'^-1 N E^-1 / n. Its interval is a jackknife by groups of customers, in each of which the segments are fitted
    anew from where they stand: that D and E, and the rule itself, are estimates is in it.

    Raises
    ------
    DataProblem
        If a customer appears twice in a window, or the reference rests on other features or another number.
    TooFewRespondents
        If the windows share too few.

    Examples
    --------
    >>> import cxresearch as cx
    >>> paid = dict(customer="customer_id", time="paid_at", amount="amount", window="6 months")
    >>> first, second = (
    ...     cx.behaviour("data/example/transactions.csv", until=until, **paid) for until in ("2024-07-01", "2025-01-01")
    ... )
    >>> segments = cx.segment_customers(
    ...     first, features=["recency_days", "frequency"], n_segments=2, n_starts=5, n_boot=10, seed=1
    ... )
    >>> print(cx.segment_migration(first, second, segmentation=segments, customer="customer_id"))
    Of ... customers ... stayed in their segment, ... moved to another and ... bought nothing. ...
    """
    survey, later = as_survey(before), as_survey(after)
    names, near = _names(segmentation, reference)
    windows = [
        _window(t, segmentation, customer, name) for name, t in (("before", survey.table), ("after", later.table))
    ]
    linked, incomplete = _linked(windows)
    order = [names.index(name) for name in segment_names(segmentation.k)] + [segmentation.k]
    counts = _moves(segmentation.fit, windows, linked)[np.ix_(order, order)]
    if (both := int(counts[:-1, :-1].sum())) < min_rows:
        raise TooFewRespondents(f"segment_migration needs at least {min_rows} customers in both windows; found {both}")
    table, pooled = _table(counts, confidence, max(survey.min_base, later.min_base))
    smallest, k = int(counts[:-1].sum(axis=1).min()), segmentation.k
    return SegmentMigration(
        function="segment_migration",
        outcome="segment",
        group=None,
        table=table,
        summary=_summary(counts, segmentation, windows, linked, confidence),
        tested=(
            Check("customers without every feature in a window", incomplete, "0", incomplete == 0),
            Check("smallest earlier segment", smallest, "at least 30", smallest >= 30),
            Check("segments nearest to the one whose name they have", f"{near} of {k}", "all", near == k),
            segmentation.real(),
            Check("cells pooled for their base", pooled, "0", pooled == 0, "info"),
        ),
        labels=survey.labels,
        further={"states": segmentation.table.assign(segment=names).sort_values("segment", key=lambda s: s.str[1:].astype(int))[STATES]},
        suppressed=pooled,
        domain=survey.condition,
        confidence=confidence,
        approximate=segmentation.fit.member is not segmentation.fit.rule,
    )  # fmt: skip


STATES = ["segment", "suggested_name", "description"]


class Window(NamedTuple):
    """The customers of a window: row of each in `x` (-1: bought nothing, -2: a feature is missing), and their features."""

    rows: pd.Series
    x: np.ndarray


def _window(table: pd.DataFrame, segmentation: Segmentation, customer: str, name: str) -> Window:
    require_columns(table, customer, *segmentation.features, where=name)
    if repeated := int(table[customer].duplicated().sum()):
        raise DataProblem(
            f"{name}: {repeated} of {len(table)} rows repeat a customer in {customer}; give one row per customer"
        )
    x, complete = segmentation.read(table)
    rows = pd.Series(np.where(complete, np.cumsum(complete) - 1, -2), index=table[customer].to_numpy())
    empty = table["frequency"].to_numpy() == 0 if "frequency" in table else np.zeros(len(table), dtype=bool)
    return Window(rows.mask(empty, -1), x)


def _linked(windows: list[Window]) -> tuple[pd.DataFrame, int]:
    """Return the row of each customer in either window, in order of ids, and how many lack a feature in one."""
    rows = pd.concat([w.rows for w in windows], axis=1).fillna(-1).astype(int).sort_index()
    unknown = (rows == -2).any(axis=1)
    return rows[~unknown & (rows >= 0).any(axis=1)], int(unknown.sum())


def _names(segmentation: Segmentation, reference: Segmentation | None) -> tuple[list[str], int]:
    """Return what each segment is called, and how many are nearest to the one whose name they have."""
    names = segment_names(segmentation.k)
    if reference is None:
        return names, segmentation.k
    if reference.features != segmentation.features or reference.k != segmentation.k:
        raise DataProblem(
            f"reference has {reference.k} segments by {', '.join(reference.features)}, the segmentation {segmentation.k} by "
            f"{', '.join(segmentation.features)}; segments are matched by profile where features and number are the same"
        )
    apart = np.square(segmentation.centres[:, None] - reference.centres[None]).sum(axis=2)
    matched = optimize.linear_sum_assignment(apart)[1]
    return [names[j] for j in matched], int((apart.argmin(axis=1) == matched).sum())


def _moves(fit: Fit, windows: list[Window], linked: pd.DataFrame) -> np.ndarray:
    """Return the (k + 1, k + 1) counts of customers by earlier (rows) and later state, the last "bought nothing"."""
    state = [np.append(fit.rule.predict(w.x), fit.k)[linked[i]] for i, w in enumerate(windows)]  # row -1 is the last
    return overlap(*state, fit.k + 1).astype(int)


def _summary(counts, segmentation: Segmentation, windows, linked, confidence: float) -> dict[str, object]:
    same, n = counts[:-1, :-1], counts[:-1].sum()
    stayed, both = np.trace(same), same.sum()
    found: dict[str, object] = {"n": int(n), "method": "frozen rule in both windows"}
    found |= {"stayed": stayed / n, "moved": (both - stayed) / n, "bought_nothing": counts[:-1, -1].sum() / n}
    found |= {"n_both": int(both), "stayed_both": stayed / both}
    fit = segmentation.fit
    member = fit.member.predict_proba(windows[0].x)
    error = classification(member, fit.rule.predict(windows[0].x))
    found["stayed_expected"] = float(member.mean(axis=0) @ np.square(error).sum(axis=1))
    found |= ends("stayed_corrected", *corrected_stay(segmentation, windows, linked, confidence))
    found["kappa"] = kappa(same)
    found |= dict(zip(("margins", "margins_df", "margins_p"), stuart_maxwell(counts)))
    return found | {"established": bool(found["stayed_corrected_high"] < 1)}


def stay_of(counts: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """Return the share that stayed, corrected for assignments that err with D before and E after; NaN where they hardly tell."""
    if min(np.linalg.svd(error, compute_uv=False).min() for error in (before, after)) < WEAK:
        return np.nan
    weight = np.linalg.inv(before) @ np.linalg.inv(after).T  # (earlier, later): what such a customer adds to the trace
    return float((counts * weight).sum() / counts.sum())


def _stay(fit: Fit, windows: list[Window], linked: pd.DataFrame) -> float:
    errors = [classification(fit.member.predict_proba(w.x), fit.rule.predict(w.x)) for w in windows]
    return stay_of(_moves(fit, windows, linked)[:-1, :-1], *errors)


def corrected_stay(segmentation: Segmentation, windows, linked, confidence: float) -> tuple[float, float, float]:
    """Return the corrected share that stayed and its interval, by a jackknife in which the rule is fitted anew."""
    whole = _moves(segmentation.fit, windows, linked)[:-1, :-1]
    estimate, raw, n = _stay(segmentation.fit, windows, linked), np.trace(whole) / whole.sum(), whole.sum()

    def without(group: int) -> float:
        kept = linked[np.arange(len(linked)) % GROUPS != group]
        parts = [Window(w.rows, w.x[kept[i][kept[i] >= 0]]) for i, w in enumerate(windows)]
        places = pd.DataFrame({i: np.where(kept[i] >= 0, (kept[i] >= 0).cumsum() - 1, -1) for i in (0, 1)})
        return _stay(segmentation.fitter.near(segmentation.fit, parts[0].x), parts, places)

    values = np.array(in_threads(without, list(range(GROUPS))))
    spread = np.sqrt((GROUPS - 1) / GROUPS * np.square(values - values.mean()).sum())
    half = critical_value(confidence, GROUPS - 1) * spread
    low, high = wilson_interval(raw, n, confidence)
    # Where (nearly) nobody moved the spread vanishes, but not the doubt: no end is closer than Wilson's to the share found.
    return tuple(
        float(np.clip(v, 0, 1)) for v in (estimate, estimate - max(half, raw - low), estimate + max(half, high - raw))
    )


def _table(counts: np.ndarray, confidence: float, floor: int) -> tuple[pd.DataFrame, int]:
    """Return the moves with small cells pooled, and how many are in no row of their own."""
    states = [*segment_names(len(counts) - 1), NOTHING]
    hidden, pooled, rows = hidden_segments(counts.sum(axis=1), floor), pooled_moves(counts, floor), []
    for i, (state, row) in enumerate(zip(states, counts)):
        shown = [j for j in range(len(row)) if not (pooled[i, j] or hidden[i] or i == j == len(row) - 1)]
        names = [states[j] for j in shown] + ([POOLED] if hidden[i] or pooled[i].any() else [])
        n = np.array([row[j] for j in shown] + ([row[pooled[i]].sum()] if len(names) > len(shown) else []), dtype=float)
        if hidden[i]:
            rows.append((state, POOLED, np.nan, np.nan, np.nan, np.nan))
        elif n.sum():
            rows += zip([state] * len(n), names, n, n / n.sum(), *goodman_intervals(n / n.sum(), n.sum(), confidence))
    table = pd.DataFrame(rows, columns=["segment", "to_segment", "n", "share", "conf_low", "conf_high"])
    return table, int((pooled | hidden[:, None]).sum())


def pooled_moves(counts: np.ndarray, floor: int) -> np.ndarray:
    """Return which cells of (k + 1, k + 1) moves are pooled within their row.

    A pool holds at least two cells and `floor` customers. Of those who stayed, and of those who bought nothing, whose sums
    are published, two or more cells are pooled, or none; who stayed is pooled last.
    """
    pooled, k = counts < floor, len(counts) - 1
    pooled[k, k] = False
    lines = [[(i, i) for i in range(k)], [(i, k) for i in range(k)]]
    rows = [[(i, j) for j in range(k + 1) if (i, j) != (k, k)] for i in range(k + 1)]
    while floor > 1 and (short := [cells for cells in rows + lines if _short(counts, pooled, cells, floor)]):
        free = [cell for cell in short[0] if not pooled[cell]]
        pooled[min(free, key=lambda cell: (cell[0] == cell[1] and short[0] in rows, counts[cell], cell))] = True
    return pooled & (floor > 1)


def _short(counts, pooled, cells, floor: int) -> bool:
    """Return whether what is pooled of `cells` could be computed, and can be helped."""
    n = [counts[cell] for cell in cells if pooled[cell]]
    return bool(n) and len(n) < len(cells) and (len(n) < 2 or sum(n) < floor)


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
