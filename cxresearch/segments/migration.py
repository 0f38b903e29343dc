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
from cxresearch.figures import axes_or_new
from cxresearch.findings import Check, Finding, describe_columns, number, percent
from cxresearch.inference import goodman_intervals, wilson_interval
from cxresearch.segments.outcomes import classification
from cxresearch.segments.profiles import segment_names
from cxresearch.segments.segmentation import Segmentation

describe_columns(
    to_segment=("To", "segment in the later wave"),
    stayed=("Stayed", "share found in the same segment in both waves, 0-1", 3),
    stayed_low=("Stayed low", "lower end of its interval", 3),
    stayed_high=("Stayed high", "upper end of its interval", 3),
    stayed_expected=("Stayed if nobody moved", "share found in the same segment by misclassification alone, 0-1", 3),
    symmetry=("Symmetry", "Bowker's chi-square: moves there and back are equally many", 2),
    symmetry_df=("Symmetry df", "its degrees of freedom", 0),
    symmetry_p=("Symmetry p", "its p-value", 3),
    margins=("Margins", "Stuart-Maxwell chi-square: segments kept their sizes", 2),
    margins_df=("Margins df", "its degrees of freedom", 0),
    margins_p=("Margins p", "its p-value", 3),
)
ALPHA = 0.05


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentMigration(Finding):
    """Transitions between the same frozen segments in two waves."""

    counts: np.ndarray

    def sentence(self) -> str:
        s = self.summary
        stayed = f"Of {number(s['n'], 0)} customers seen in both waves {percent(s['stayed'])} stayed in their segment (kappa {number(s['kappa'], 2)})"
        expected = f"misclassification alone would leave {percent(s['stayed_expected'])}"
        moved = (
            "more moved than that" if s["stayed_high"] < s["stayed_expected"] else "so real change is not established"
        )
        if s["margins_p"] <= ALPHA:
            sizes = f"The sizes of segments changed (Stuart–Maxwell p = {number(s['margins_p'], 3)})"
        else:
            sizes = (
                f"No change in the sizes of segments is established (Stuart–Maxwell p = {number(s['margins_p'], 3)})"
            )
        return f"{stayed}; {expected}, {moved}. {sizes}."

    def plot(self, ax=None):
        """Draw the share of each earlier segment (rows) that is in each later one (columns), with values."""
        import seaborn as sns

        grid = self.table.pivot(index="segment", columns="to_segment", values="share").astype(float)
        ax = axes_or_new(ax, rows=len(grid) + 3)
        sns.heatmap(
            grid,
            ax=ax,
            cmap="Blues",
            vmin=0,
            vmax=1,
            annot=grid.map(percent).to_numpy(),
            fmt="",
            linewidths=0.5,
            cbar_kws={"label": "share of the earlier segment"},
        )
        ax.set(xlabel="later segment", ylabel="earlier segment", title="Migration between segments")
        ax.tick_params(axis="y", rotation=0)
        return ax


def segment_migration(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    segmentation: Segmentation,
    customer: str,
    confidence: float = 0.95,
    min_rows: int = 100,
    min_base: int = 1,
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
    min_base : int
        Rows of earlier segments smaller than this are hidden.

    Returns
    -------
    SegmentMigration
        ``tidy``: segment, to_segment, n, share (of the earlier segment), conf_low, conf_high (Goodman's simultaneous
        interval). ``glance``: n, stayed (0-1) and its interval, stayed_expected (if nobody moved and every assignment
        erred on its own), symmetry_p (Bowker), margins_p (Stuart-Maxwell), kappa.

    Raises
    ------
    DataProblem
        If a customer appears twice in a wave, or the waves share too few.
    """
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
    seen = f"{len(both)} of {len(earlier)} and {len(later)}"
    smallest, real = int(counts.sum(axis=1).min()), segmentation.established
    tested = (
        Check("customers seen in both waves", seen, "all", len(both) == len(earlier) == len(later)),
        Check("smallest earlier segment", smallest, "at least 30", smallest >= 30),
        Check("segments established", "yes" if real else "no", "yes", real),
    )
    return SegmentMigration(
        function="segment_migration",
        outcome="segment",
        group=None,
        table=_table(counts, names, confidence, min_base),
        summary=_summary(counts, _stayed_if_nobody_moved(before, segmentation), confidence),
        tested=tested,
        counts=counts,
    )


def _require_one_row_each(before, after, segmentation: Segmentation, customer: str) -> None:
    for name, table in (("before", before), ("after", after)):
        require_columns(table, customer, *segmentation.features, where=name)
        repeated = int(table[customer].duplicated().sum())
        if repeated:
            raise DataProblem(
                f"{name}: {repeated} of {len(table)} rows repeat a customer in {customer}; give one row per customer"
            )


def _summary(counts: np.ndarray, expected: float, confidence: float) -> dict[str, object]:
    stayed = np.trace(counts) / counts.sum()
    low, high = wilson_interval(stayed, counts.sum(), confidence)
    found = {"n": int(counts.sum()), "method": "frozen rule in both waves", "stayed": float(stayed)}
    found |= {"stayed_low": float(low), "stayed_high": float(high), "stayed_expected": expected, "kappa": kappa(counts)}
    for name, test in (("symmetry", bowker), ("margins", stuart_maxwell)):
        found |= dict(zip((name, f"{name}_df", f"{name}_p"), test(counts)))
    return found


def _stayed_if_nobody_moved(table: pd.DataFrame, segmentation: Segmentation) -> float:
    """Return the share found in the same segment twice when each assignment errs independently: sum of p_s D[s, t]^2."""
    x, _ = segmentation.reader.read(table)
    posterior = segmentation.rule.posterior(x)
    error = classification(posterior, segmentation.rule.assign(x))
    return float(posterior.mean(axis=0) @ np.square(error).sum(axis=1))


def _table(counts: np.ndarray, names: list[str], confidence: float, min_base: int) -> pd.DataFrame:
    rows = []
    for name, row in zip(names, counts):
        low, high = (
            goodman_intervals(row / row.sum(), row.sum(), confidence) if row.sum() else (np.full(len(row), np.nan),) * 2
        )
        shown = row.sum() >= min_base
        for j, to in enumerate(names):
            rows.append(
                (name, to, *((row[j], row[j] / max(row.sum(), 1), low[j], high[j]) if shown else (np.nan,) * 4))
            )
    return pd.DataFrame(rows, columns=["segment", "to_segment", "n", "share", "conf_low", "conf_high"])


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
