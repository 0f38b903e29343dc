"""Who changed segment between two waves, beyond what mere misclassification would show.

References
----------
Bowker (1948), *JASA* 43 (symmetry); Stuart (1955), *Biometrika* 42, and Maxwell (1970) (equal margins); Cohen (1960)
(kappa); Goodman (1965), *Technometrics* 7 (simultaneous intervals for shares).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.findings import Check, Finding, describe_columns, interval, number, percent
from cxresearch.inference import critical_value, goodman_intervals, wilson_interval
from cxresearch.privacy import hide_cells
from cxresearch.segments.figures import draw_flow, heat_map
from cxresearch.segments.outcomes import classification
from cxresearch.segments.profiles import segment_names
from cxresearch.segments.segmentation import Segmentation
from cxresearch.survey import as_survey

describe_columns(
    to_segment=("To", "segment in the later wave"),
    stayed=("Stayed", "share found in the same segment in both waves, 0-1", 3),
    stayed_low=("Stayed low", "lower end of its interval", 3),
    stayed_high=("Stayed high", "upper end of its interval", 3),
    stayed_expected=("Stayed if nobody moved", "share found in the same segment by misclassification alone, 0-1", 3),
    stayed_corrected=("Stayed, corrected", "share that stayed, corrected for misclassification, 0-1", 3),
    stayed_corrected_low=("Corrected low", "lower end of its interval", 3),
    stayed_corrected_high=("Corrected high", "upper end of its interval", 3),
    corrected=("Corrected", "share of the earlier segment, corrected for misclassification, 0-1", 3),
    symmetry=("Symmetry", "Bowker's chi-square: moves there and back are equally many", 2),
    symmetry_df=("Symmetry df", "its degrees of freedom", 0),
    symmetry_p=("Symmetry p", "its p-value", 3),
    margins=("Margins", "Stuart-Maxwell chi-square: segments kept their sizes", 2),
    margins_df=("Margins df", "its degrees of freedom", 0),
    margins_p=("Margins p", "its p-value", 3),
)
ALPHA = 0.05
MOST_STEPS = 20_000


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentMigration(Finding):
    """Transitions between the same frozen segments in two waves."""

    counts: np.ndarray
    confidence: float

    def sentence(self) -> str:
        s = self.summary
        stayed = f"Of {number(s['n'], 0)} customers seen in both waves {percent(s['stayed'])} stayed in their segment (kappa {number(s['kappa'], 2)})"
        expected = f"misclassification alone would leave {percent(s['stayed_expected'])}"
        corrected = f"{percent(s['stayed_corrected'])} ({interval(100 * s['stayed_corrected_low'], 100 * s['stayed_corrected_high'], self.confidence)})"
        moved = (
            f"so customers did move: corrected for it, {corrected} stayed"
            if s["stayed_corrected_high"] < 1
            else "so real change is not established"
        )
        if s["margins_p"] <= ALPHA:
            sizes = f"The sizes of segments changed (Stuart–Maxwell p = {number(s['margins_p'], 3)})"
        else:
            sizes = (
                f"No change in the sizes of segments is established (Stuart–Maxwell p = {number(s['margins_p'], 3)})"
            )
        doubt = "" if s["established"] else " The segments themselves are not established."
        return f"{stayed}; {expected}, {moved}. {sizes}.{doubt}"

    def plot(self, ax=None):
        """Draw the share of each earlier segment (rows) that is in each later one (columns), with values."""
        grid = self.table.pivot(index="segment", columns="to_segment", values="share").astype(float)
        label = "share of the earlier segment"
        ax = heat_map(grid, grid.map(percent), ax=ax, cmap="Blues", limits=(0, 1), label=label)
        ax.set(xlabel="later segment", ylabel="earlier segment", title="Migration between segments")
        return ax

    def plot_flow(self, ax=None):
        """Draw the moves as bands from the earlier segments (left) to the later ones (right)."""
        names = segment_names(len(self.counts))
        hidden = self.table.pivot(index="segment", columns="to_segment", values="n").isna().to_numpy()
        return draw_flow(self.counts, hidden, names, ax)


def segment_migration(
    before,
    after: pd.DataFrame,
    *,
    segmentation: Segmentation,
    customer: str,
    confidence: float = 0.95,
    min_rows: int = 100,
) -> SegmentMigration:
    """Compare customers' segments in two waves, both assigned by the same frozen rule.

    Parameters
    ----------
    before, after : DataFrame
        One row per customer each, with the features of the segmentation.
    segmentation : Segmentation
        Fitted on one of the waves, or before both.
    customer : str
        Column that links the two; customers seen in one wave only are counted, not compared.
    confidence, min_rows
        As elsewhere. `min_rows` counts customers seen in both waves.

    Returns
    -------
    SegmentMigration
        ``tidy``: segment, to_segment, n, share (of the earlier segment), conf_low, conf_high (Goodman's simultaneous
        interval), corrected (share with the misclassification of both waves undone). ``glance``: n, stayed (0-1) and its
        interval, stayed_expected (if nobody moved and every assignment erred on its own), stayed_corrected and its
        interval, symmetry_p (Bowker), margins_p (Stuart-Maxwell), kappa.

    Notes
    -----
    D[s, t] is the probability that a member of s is assigned to t. If assignments err independently in the two waves,
    found moves are D' P E with P the true moves and D, E of the two waves. The share that stayed is estimated by the
    trace of D'^-1 N E^-1 / n, a mean over customers, hence its interval; the table of `corrected` shares is the maximum
    likelihood estimate of P, which has no negative cells, by EM.

    Raises
    ------
    DataProblem
        If a customer appears twice in a wave, or the waves share too few.

    Examples
    --------
    >>> import cxresearch as cx
    >>> company = cx.simulate_company(seed=1, n_customers=400)
    >>> behaved = cx.behaviour(
    ...     company.tables["transactions"], customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> features = ["recency_days", "frequency", "monetary"]
    >>> earlier = cx.behaviour(
    ...     company.tables["transactions"], customer="customer_id", time="paid_at", amount="amount",
    ...     until="2024-07-01"
    ... )
    >>> segments = cx.segment_customers(
    ...     behaved, features=features, n_segments=2, n_starts=5, n_boot=10, seed=1
    ... )
    >>> print(cx.segment_migration(earlier, behaved, segmentation=segments, customer="customer_id"))
    Of 384 customers seen in both waves 68 % stayed in their segment (kappa 0.20); ...
    """
    survey = as_survey(before)
    before = survey.table
    min_base = survey.min_base
    _require_one_row_each(before, after, segmentation, customer)
    earlier, later = (segmentation.augment(t)[[customer, "segment"]].dropna() for t in (before, after))
    both = earlier.merge(later, on=customer, suffixes=("", "_after"))
    if len(both) < min_rows:
        raise TooFewRespondents(
            f"segment_migration needs at least {min_rows} customers in both waves; found {len(both)}"
        )
    names = segment_names(segmentation.k)
    counts = pd.crosstab(both["segment"], both["segment_after"])
    counts = counts.reindex(index=names, columns=names, fill_value=0).to_numpy()
    errors = _error(before, segmentation), _error(after, segmentation)
    seen = f"{len(both)} of {len(earlier)} and {len(later)}"
    smallest, real = int(counts.sum(axis=1).min()), segmentation.established
    table = _table(counts, names, confidence, min_base, corrected_moves(counts, *errors))
    hidden = int(table["n"].isna().sum())
    tested = (
        Check("customers seen in both waves", seen, "all", len(both) == len(earlier) == len(later)),
        Check("smallest earlier segment", smallest, "at least 30", smallest >= 30),
        Check("segments established", "yes" if real else "no", "yes", real),
        Check("cells hidden by the minimum base", hidden, "0", hidden == 0),
    )
    return SegmentMigration(
        function="segment_migration",
        outcome="segment",
        group=None,
        table=table,
        summary=_summary(counts, _stayed_if_nobody_moved(before, segmentation), errors, confidence)
        | {"established": real},
        tested=tested,
        counts=counts,
        confidence=confidence,
    )


def _error(table: pd.DataFrame, segmentation: Segmentation) -> np.ndarray:
    x, _ = segmentation.reader.read(table)
    return classification(segmentation.rule.posterior(x), segmentation.rule.assign(x))


def corrected_moves(counts: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the (k, k) true joint shares that most likely gave `counts` when both assignments err independently."""
    moves = np.full(counts.shape, 1 / counts.size)
    for _ in range(MOST_STEPS):
        found = before.T @ moves @ after
        step = moves * (before @ (counts / np.maximum(found, 1e-300)) @ after.T) / counts.sum()
        if np.abs(step - moves).max() < 1e-12:
            break
        moves = step
    return step


def corrected_stay(
    counts: np.ndarray, before: np.ndarray, after: np.ndarray, confidence: float
) -> tuple[float, float, float]:
    """Return the share that stayed, corrected for misclassification, and its interval, all within 0-1."""
    weight = (
        np.linalg.pinv(before) @ np.linalg.pinv(after).T
    )  # (earlier, later): what such a customer adds to the trace
    share = counts / counts.sum()
    mean = float((share * weight).sum())
    spread = np.sqrt(max(float((share * weight**2).sum()) - mean**2, 0) / counts.sum())
    half = critical_value(confidence) * spread
    low, high = wilson_interval(np.trace(share), counts.sum(), confidence)
    # Where (nearly) nobody moved the spread vanishes, but not the doubt: no end is closer than Wilson's to the share found.
    least, most = min(mean - half, mean - (np.trace(share) - low)), max(mean + half, mean + (high - np.trace(share)))
    return tuple(float(np.clip(value, 0, 1)) for value in (mean, least, most))


def _require_one_row_each(before, after, segmentation: Segmentation, customer: str) -> None:
    for name, table in (("before", before), ("after", after)):
        require_columns(table, customer, *segmentation.features, where=name)
        repeated = int(table[customer].duplicated().sum())
        if repeated:
            raise DataProblem(
                f"{name}: {repeated} of {len(table)} rows repeat a customer in {customer}; give one row per customer"
            )


def _summary(counts: np.ndarray, expected: float, errors, confidence: float) -> dict[str, object]:
    stayed = np.trace(counts) / counts.sum()
    low, high = wilson_interval(stayed, counts.sum(), confidence)
    found = {"n": int(counts.sum()), "method": "frozen rule in both waves", "stayed": float(stayed)}
    found |= {"stayed_low": float(low), "stayed_high": float(high), "stayed_expected": expected, "kappa": kappa(counts)}
    stay = corrected_stay(counts, *errors, confidence)
    found |= dict(zip(("stayed_corrected", "stayed_corrected_low", "stayed_corrected_high"), stay))
    for name, test in (("symmetry", bowker), ("margins", stuart_maxwell)):
        found |= dict(zip((name, f"{name}_df", f"{name}_p"), test(counts)))
    return found


def _stayed_if_nobody_moved(table: pd.DataFrame, segmentation: Segmentation) -> float:
    """Return the share found in the same segment twice when each assignment errs independently: sum of p_s D[s, t]^2."""
    x, _ = segmentation.reader.read(table)
    posterior = segmentation.rule.posterior(x)
    error = classification(posterior, segmentation.rule.assign(x))
    return float(posterior.mean(axis=0) @ np.square(error).sum(axis=1))


def _table(counts: np.ndarray, names: list[str], confidence: float, min_base: int, moves: np.ndarray) -> pd.DataFrame:
    rows = []
    true = moves / np.maximum(moves.sum(axis=1, keepdims=True), 1e-300)
    for i, (name, row) in enumerate(zip(names, counts)):
        size = max(row.sum(), 1)
        low, high = goodman_intervals(row / size, size, confidence) if row.sum() else (np.full(len(row), np.nan),) * 2
        rows += [(name, to, row[j], row[j] / size, low[j], high[j], true[i, j]) for j, to in enumerate(names)]
    table = pd.DataFrame(rows, columns=["segment", "to_segment", "n", "share", "conf_low", "conf_high", "corrected"])
    shown = hide_cells(table, min_base=min_base, keys=("segment", "to_segment"))
    return _hide_diagonal(shown, counts, min_base)


def _hide_diagonal(table: pd.DataFrame, counts: np.ndarray, min_base: int) -> pd.DataFrame:
    # The share that stayed is published, so that hidden cells on the diagonal must not be its only unknown.
    place = np.flatnonzero((table["segment"] == table["to_segment"]).to_numpy())
    hidden, size = table["n"].isna().to_numpy()[place], np.diag(counts)
    for j in np.argsort(size, kind="stable"):
        if hidden.any() and (hidden.sum() < 2 or size[hidden].sum() < min_base):
            hidden[j] = True
    lost = np.zeros(len(table), dtype=bool)
    lost[place] = hidden
    for column in table.columns.difference(["segment", "to_segment"]) if hidden.any() else ():
        table[column] = table[column].mask(lost)
    return table


def bowker(counts: np.ndarray) -> tuple[float, int, float]:
    """Return statistic, degrees of freedom and p of Bowker's test of symmetry (pairs of empty cells are left out)."""
    upper, lower = (
        counts[np.triu_indices(len(counts), 1)].astype(float),
        counts.T[np.triu_indices(len(counts), 1)].astype(float),
    )
    used = upper + lower > 0
    statistic = float(np.sum((upper - lower)[used] ** 2 / (upper + lower)[used]))
    return statistic, int(used.sum()), float(stats.chi2.sf(statistic, used.sum())) if used.any() else 1.0


def stuart_maxwell(counts: np.ndarray) -> tuple[float, int, float]:
    """Return statistic, degrees of freedom and p of the Stuart-Maxwell test that the margins are equal."""
    counts = counts.astype(float)
    kept = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts) > 0)
    counts = counts[np.ix_(kept, kept)]
    if len(counts) < 2:
        return 0.0, 0, 1.0
    difference = (counts.sum(axis=1) - counts.sum(axis=0))[:-1]
    covariance = np.diag(counts.sum(axis=1) + counts.sum(axis=0)) - counts - counts.T
    statistic = float(difference @ np.linalg.pinv(covariance[:-1, :-1]) @ difference)
    return statistic, len(difference), float(stats.chi2.sf(statistic, len(difference)))


def kappa(counts: np.ndarray) -> float:
    """Return Cohen's kappa: agreement beyond chance."""
    p = counts / counts.sum()
    chance = float(p.sum(axis=0) @ p.sum(axis=1))
    return (float(np.trace(p)) - chance) / (1 - chance) if chance < 1 else 1.0
