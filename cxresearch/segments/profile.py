"""Who the segments are: variables that they were not made from, and how much these tell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, intervals
from cxresearch.findings import Check, Finding, describe_columns, interval, listing, number
from cxresearch.inference import adjusted_p_values, critical_value, wilson_interval
from cxresearch.privacy import hide_cells
from cxresearch.segments.association import adjusted_rand, cramers_v, eta_squared, in_words
from cxresearch.segments.profiles import segment_names
from cxresearch.segments.segmentation import Segmentation
from cxresearch.survey import as_survey

BASIS, PROFILE = "basis", "profile"

describe_columns(
    role=("Role", "basis: the segments were made from it; profile: they were not"),
    association=("Association", "eta squared (numbers) or Cramér's V (categories), both 0-1"),
    in_words=("In words", "Cohen's (1988) word for the size of an association"),
    adjusted_rand=("Adjusted Rand", "agreement of a categorical variable's groups with the segments; 0 by chance, 1 the same", 2),
    category=("Category", "answer, or group of a categorical variable"),
    index=("Index", "share in the segment per share in all customers, times 100", 0),
)  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SegmentProfile(Finding):
    """How much each variable goes with the segments, and what is typical of each."""

    confidence: float

    def sentence(self) -> str:
        rows = self.table[self.table["role"] == PROFILE]
        rows = rows.iloc[digits.descending(rows["estimate"], rows["feature"])]
        goes = rows[rows["p_adjusted"] <= 1 - self.confidence]
        base = f"{number(self.summary['n'], 0)} customers"
        aside = "The features that segments were made from are no evidence."
        aside += "" if self.summary["established"] else " The segments themselves are not established."
        if not len(rows):
            return f"Nothing but behaviour is known of the {base}, so nothing says who the segments are. {aside}"
        if not len(goes):
            none = (
                f"{number(len(rows), 0)} profile variables"
                if len(rows) > 1
                else f"{self.label(rows['feature'].iloc[0])}"
            )
            return f"No difference between segments is established in {none} ({base}). {aside}"
        top = goes.iloc[0]
        size = f"{top['association']} {number(top['estimate'], 2)}, {interval(top['conf_low'], top['conf_high'], self.confidence, 2)}, {top['in_words']}"
        same = f"; its groups agree with the segments at an adjusted Rand index of {number(top['adjusted_rand'], 2)}"
        same = same if top["adjusted_rand"] >= 0.5 else ""
        rest = f" Not established: {listing(self.label(f) for f in rows['feature'] if f not in set(goes['feature']))}." if len(goes) < len(rows) else ""  # fmt: skip
        return f"{len(goes)} of {len(rows)} profile {'variable' if len(rows) == 1 else 'variables'} {'differs' if len(goes) == 1 else 'differ'} between segments ({base}); most does {self.label(top['feature'])} ({size}){same}.{rest} {aside}"

    def plot(self, ax=None):
        """Draw the size of each association with its interval; basis features in grey, without one."""
        ax = axes_or_new(ax, rows=len(self.table) + 2)
        shown = self.table.iloc[digits.descending(self.table["estimate"], self.table["feature"])]
        shown = shown.sort_values("role", ascending=False, kind="stable")
        signs = shown["association"].map({"eta squared": "η²", "Cramér's V": "V"})
        names = [f"{self.label(f)} ({sign})" for f, sign in zip(shown["feature"], signs)]
        basis = (shown["role"] == BASIS).to_numpy()
        if basis.any():
            ax.plot(shown["estimate"][basis], np.flatnonzero(basis), "o", color=QUIET, label="basis (no evidence)")
        profile = shown["estimate"].mask(basis)
        intervals(ax, names, profile, shown["conf_low"], shown["conf_high"], colour=PALETTE[0], label="profile")
        ax.set(xlim=(-0.02, 1.02), xlabel="size of the association, 0–1", title="What goes with the segments")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
        return ax


def profile_segments(
    customers,
    *,
    segmentation: Segmentation,
    variables: Sequence[str],
    correction: str = "holm",
    confidence: float = 0.95,
    min_rows: int = 100,
) -> SegmentProfile:
    """Say how strongly variables go with the segments, those that segments were made from kept apart.

    Parameters
    ----------
    customers : Survey or DataFrame
        The features of the segmentation and the variables. Rows without a feature are in no segment; of each variable
        the known values are used.
    segmentation : Segmentation
    variables : sequence of str
        Numbers or categories that were not features: demographics, satisfaction, another grouping. May be empty
        where nothing else is known; then only the basis is shown.
    correction : ``'holm'``, ``'bh'`` or ``'none'``
        For the family of profile variables.
    confidence, min_rows, labels, min_base
        As elsewhere; cells of `tables()['cells']` under `min_base`, and those that would give them away, are hidden.

    Returns
    -------
    SegmentProfile
        ``tidy``: feature, role, association, estimate (eta squared or Cramér's V, 0-1), conf_low, conf_high, in_words,
        p_value (F test or chi-square), p_adjusted, adjusted_rand (categories only), n. Basis features have the
        estimate alone. ``tables`` adds cells: segment, feature, category, estimate (mean in the variable's unit, or
        share 0-1), conf_low, conf_high (t, or Wilson), std_difference (means) and index (shares).

    Notes
    -----
    Everybody is assigned to one segment; misclassification makes these sizes smaller than they are.

    Raises
    ------
    DataProblem
        For unknown variables, one that is a feature, or one with a single value.
    TooFewRespondents
        For fewer than `min_rows` customers in a segment of whom some variable is known.

    Examples
    --------
    >>> import cxresearch as cx
    >>> company = cx.simulate_company(seed=1, n_customers=400)
    >>> behaved = cx.behaviour(
    ...     company.tables["transactions"], customer="customer_id", time="paid_at", amount="amount",
    ...     until="2025-01-01"
    ... )
    >>> features = ["recency_days", "frequency", "monetary"]
    >>> segments = cx.segment_customers(
    ...     behaved, features=features, n_segments=2, n_starts=5, n_boot=10, seed=1
    ... )
    >>> print(cx.profile_segments(behaved, segmentation=segments, variables=["basket_mean"]))
    No difference between segments is established in basket_mean (400 customers). The features ...
    """
    survey = as_survey(customers)
    customers = survey.table
    labels, min_base = survey.labels, survey.min_base
    require_share("confidence", confidence)
    variables = _checked(customers, segmentation, variables)
    known = segmentation.augment(customers).dropna(subset="segment")
    names = segment_names(segmentation.k)
    labels_of_rows = pd.Categorical(known["segment"], categories=names).codes
    used = known[variables].notna().any(axis=1).sum() if variables else len(known)
    if used < min_rows:
        raise TooFewRespondents(
            f"profile_segments needs at least {min_rows} customers with a segment and a variable; found {used}"
        )
    basis = [] if segmentation.categorical else list(segmentation.features)
    rows = [_row(known[f], labels_of_rows, segmentation.k, BASIS, confidence) for f in basis]
    rows += [_row(known[v], labels_of_rows, segmentation.k, PROFILE, confidence) for v in variables]
    table = pd.DataFrame(rows)
    table.insert(8, "p_adjusted", adjusted_p_values(table["p_value"], correction=correction))
    cells = [_cells(known[v], labels_of_rows, names, confidence, min_base) for v in variables]
    least, real = int(table["n"].min()), segmentation.established
    return SegmentProfile(
        function="profile_segments",
        outcome=", ".join(variables),
        group="segment",
        table=table,
        summary={"n": int(used), "method": f"eta squared and Cramér's V, {correction}", "confidence": confidence, "established": real},
        tested=(
            Check("customers with a segment and a variable", f"{used} of {len(customers)}", "all", used == len(customers)),
            Check("fewest known values of a variable", least, f"at least {min_rows}", least >= min_rows),
            Check("segments established", "yes" if real else "no", "yes", real),
        ),
        labels=dict(labels or {}),
        further={"cells": pd.concat(cells, ignore_index=True) if cells else pd.DataFrame(columns=CELLS)},
        confidence=confidence,
    )  # fmt: skip


def _checked(customers: pd.DataFrame, segmentation: Segmentation, variables) -> list[str]:
    variables = list(dict.fromkeys(variables))
    if not variables and segmentation.categorical:
        raise DataProblem("variables is empty; name columns that say who the customers are")
    require_columns(customers, *variables, *segmentation.features)
    if shared := [v for v in variables if v in segmentation.features]:
        raise DataProblem(
            f"{listing(shared)}: the segments were made from it, so differences in it are no evidence; leave it out of variables"
        )
    if alone := [v for v in variables if customers[v].nunique() < 2]:
        raise DataProblem(f"{listing(alone)} holds fewer than two different values; leave it out of variables")
    return variables


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _row(values: pd.Series, labels: np.ndarray, k: int, role: str, confidence: float) -> dict:
    there = values.notna().to_numpy()
    if _is_number(values):
        measure, rand = "eta squared", np.nan
        found = eta_squared(values[there].to_numpy(dtype=float), labels[there], k, confidence)
    else:
        measure, counts = "Cramér's V", pd.crosstab(labels[there], values[there].astype(str).to_numpy()).to_numpy()
        found, rand = cramers_v(counts, confidence), adjusted_rand(counts)
    kept = found if role == PROFILE else found._replace(low=np.nan, high=np.nan, p_value=np.nan)
    return {
        "feature": values.name,
        "role": role,
        "association": measure,
        "estimate": found.estimate,
        "conf_low": kept.low,
        "conf_high": kept.high,
        "in_words": in_words(found.estimate, measure),
        "p_value": kept.p_value,
        "adjusted_rand": rand,
        "n": int(there.sum()),
    }


def _cells(values: pd.Series, labels: np.ndarray, names: list[str], confidence: float, min_base: int) -> pd.DataFrame:
    there = values.notna().to_numpy()
    kept, groups = values[there], labels[there]
    table = (_means if _is_number(values) else _shares)(kept, groups, names, confidence)
    return hide_cells(table, min_base=min_base, keys=("segment", "category")).assign(feature=values.name)[CELLS]


CELLS = ["segment", "feature", "category", "estimate", "conf_low", "conf_high", "std_difference", "index", "n"]


def _means(values: pd.Series, labels: np.ndarray, names: list[str], confidence: float) -> pd.DataFrame:
    y, rows = values.to_numpy(dtype=float), []
    for j, name in enumerate(names):
        own = y[labels == j]
        mean, n = (own.mean() if len(own) else np.nan), len(own)
        half = critical_value(confidence, n - 1) * own.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        rows.append((name, "mean", mean, mean - half, mean + half, (mean - y.mean()) / y.std(), np.nan, n))
    return pd.DataFrame(rows, columns=[c for c in CELLS if c != "feature"])


def _shares(values: pd.Series, labels: np.ndarray, names: list[str], confidence: float) -> pd.DataFrame:
    text, rows = values.astype(str).to_numpy(), []
    overall = pd.Series(text).value_counts(normalize=True).sort_index()
    for j, name in enumerate(names):
        own = text[labels == j]
        for category, whole in overall.items():
            n = int((own == category).sum())
            share = n / len(own) if len(own) else np.nan
            low, high = wilson_interval(share, max(len(own), 1), confidence)
            rows.append((name, category, share, float(low), float(high), np.nan, 100 * share / whole, n))
    return pd.DataFrame(rows, columns=[c for c in CELLS if c != "feature"])
