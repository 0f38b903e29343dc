"""Partition customers, and say whether the parts are real.

A partition always exists; segments need not. They are called established only if neighbouring segments are separated
by an emptier region (`structure`; for categorical items: if no smaller number of classes has a larger BIC) and every
segment is found again in resampled customers (`stability`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.figures import axes_or_new, wrap
from cxresearch.findings import Check, Finding, describe_columns, listing, number, percent
from cxresearch.segments.basis import Basis, largest_supported, prepared
from cxresearch.segments.methods import Fit, Rule
from cxresearch.segments.profiles import hidden_segments, profile_table, segment_names, suggested_names
from cxresearch.segments.scaling import Coding, Scaling
from cxresearch.segments.stability import bootstrap_jaccard
from cxresearch.segments.structure import ALPHA, Structure, silhouette

STABLE, DOUBTFUL = 0.75, 0.6  # Hennig (2007): stable from .75; under .6 not to be trusted

describe_columns(
    jaccard=("Stability", "mean Jaccard similarity to the nearest segment of refits to resampled customers, 0-1", 2),
    stability=("Verdict", "what the Jaccard similarity means (Hennig 2007)"),
    silhouette=("Silhouette", "mean silhouette width, -1 to 1", 2),
    suggested_name=("Suggested name", "from the two most distinguishing features"),
    std_difference=("Std. difference", "mean less that of all customers, in standard deviations", 2),
    transform=("Transform", "what was done to a feature before scaling"),
    n_segments=("Segments", "how many segments", 0),
)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Segmentation(Finding):
    """Segments of customers; `augment` assigns any table that has the features.

    Attributes
    ----------
    features
        Columns that the segments rest on.
    reader, rule
        The frozen way from a table to a common scale (or codes), and from there to a segment.
    structure
        Prediction strength and separation.
    supported
        The largest number of segments, at most the one asked for, that the data hold apart; 1 if none.
    """

    features: tuple[str, ...]
    reader: Scaling | Coding
    rule: Rule
    structure: Structure
    supported: int

    @property
    def k(self) -> int:
        return len(self.rule.shares)

    @property
    def categorical(self) -> bool:
        return isinstance(self.reader, Coding)

    @property
    def separated(self) -> bool:
        """Whether the data hold apart as many segments as were asked for."""
        return self.supported == self.k

    @property
    def established(self) -> bool:
        """Whether the segments are separated and each is stable."""
        return self.separated and bool(self.summary["min_jaccard"] >= STABLE)

    def sentence(self) -> str:
        basis = f"by {len(self.features)} features of {number(self.summary['n'], 0)} customers"
        if not self.separated:
            return self._not_separated(basis)
        if not self.established:
            weak = self.table.dropna(subset="jaccard").query(f"jaccard < {STABLE}")
            found = listing(f"{s} ({number(j, 2)})" for s, j in zip(weak["segment"], weak["jaccard"])) if len(weak) else "a segment below the minimum base"
            return (
                f"{self.k} segments {basis} are not established: found again too rarely in {self.summary['n_boot']} resamples is "
                f"{found}; a Jaccard similarity of {STABLE} is required. The sizes are {self._sizes()}."
            )
        names = suggested_names(self.further["profile"].dropna(subset="std_difference"), categorical=self.categorical, label=self.label)
        return (
            f"{self.k} segments {basis} are separated and stable (lowest Jaccard similarity {number(self.summary['min_jaccard'], 2)} over "
            f"{self.summary['n_boot']} resamples): {self._sizes()}. Against all customers, {'; '.join(f'{s} has {name}' for s, name in names.items())}."
        )

    def _not_separated(self, basis: str) -> str:
        strength = f"prediction strength {number(self.structure.prediction_strength, 2)}"
        why = f"neighbouring segments are not separated, p = {number(self.structure.p_value, 3)}; {strength}"
        why = f"a smaller number has a larger BIC; {strength}" if self.categorical else why
        if self.supported > 1:
            return f"{self.k} segments {basis} are not established ({why}); {self.supported} are the most that the data hold apart. The sizes are {self._sizes()}."
        return f"No structure worth naming is established: the {self.k} segments {basis} divide one cloud ({why}). The sizes are {self._sizes()}."

    def _sizes(self) -> str:
        shown = self.table.dropna(subset="n")
        words = [f"{s} {percent(share)}" for s, share in zip(shown["segment"], shown["share"])]
        return listing(words + (["the rest below the minimum base"] if len(shown) < len(self.table) else []))

    def plot(self, ax=None):
        """Draw the profile: standardised differences by feature (rows) and segment (columns), with values."""
        import seaborn as sns

        grid = self.further["profile"].pivot(index="feature", columns="segment", values="std_difference")
        grid = grid.reindex(index=list(dict.fromkeys(self.further["profile"]["feature"])), columns=list(self.table["segment"])).astype(float)
        ax = axes_or_new(ax, rows=len(grid) + 2)
        sns.heatmap(
            grid, ax=ax, cmap="RdBu_r", center=0, vmin=-2, vmax=2, annot=grid.map(number).to_numpy(), fmt="", linewidths=0.5,
            cbar_kws={"label": "standard deviations from all customers"},
        )  # fmt: skip
        ax.set_yticks(np.arange(len(grid)) + 0.5, [wrap(self._feature_label(f)) for f in grid.index], rotation=0)
        heads = [f"{s}\n{'hidden' if pd.isna(share) else percent(share)}" for s, share in zip(self.table["segment"], self.table["share"])]
        ax.set_xticks(np.arange(len(heads)) + 0.5, heads, rotation=0)
        ax.set(xlabel="", ylabel="", title="Profile of the segments" + ("" if self.established else " (not established)"))
        return ax

    def _feature_label(self, feature: str) -> str:
        item, _, category = feature.partition(": ")
        return f"{self.label(item)}: {category}" if self.categorical else self.label(feature)

    def augment(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the same rows with `segment` added by the frozen rule; missing where a feature is."""
        require_columns(table, *self.features)
        x, complete = self.reader.read(table)
        segment = pd.Series(None, index=table.index, dtype=object)
        if complete.any():
            segment.loc[complete] = np.array(segment_names(self.k), dtype=object)[self.rule.assign(x)]
        return table.assign(segment=segment)

    def posterior(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return (m, k) probabilities of belonging for the rows that have every feature, and which rows those are."""
        x, complete = self.reader.read(table)
        return self.rule.posterior(x), complete


def segment_customers(
    customers: pd.DataFrame,
    *,
    features: Sequence[str],
    n_segments: int,
    method: str = "kmeans",
    n_starts: int = 50,
    n_boot: int = 100,
    min_rows: int = 100,
    seed: int,
    transform: str = "log_skewed",
    winsorise: float = 0.0,
    labels=None,
    min_base: int = 1,
) -> Segmentation:
    """Partition customers into `n_segments` by their features, and test whether the parts are real.

    Parameters
    ----------
    customers : DataFrame
        One row per customer. Rows without every feature are left out and counted.
    features : sequence of str
        Numeric columns (shares, counts, money, days alike); for latent classes categorical items.
    n_segments : int
        At least 2.
    method : ``'kmeans'``, ``'mixture'`` or ``'latent_class'``
        A mixture is Gaussian, its family of covariances (spherical, diagonal, common, free) chosen by BIC.
    n_starts : int
        Random starts of the reported fit (a mixture divides them among the families); at least 20 for latent classes.
    n_boot : int
        Resamples for the Jaccard similarities (Hennig 2007).
    min_rows : int
        Fewest complete rows.
    seed : int
    transform : ``'log_skewed'`` or ``'none'``
        Logs, log(1 + x), of features that are never negative and whose skewness exceeds 1; then all are centred and
        divided by their standard deviation. What was done stands in ``tables()['scaling']``. Not used for items.
    winsorise : float
        Share of customers at either end of each feature that is drawn in to the quantile there; 0 leaves all.
    labels : mapping, optional
        Feature -> words.
    min_base : int
        Segments smaller than this are hidden, with at least one other so that their size cannot be read off.

    Returns
    -------
    Segmentation
        ``tidy``: segment (S1 the largest), n, share, silhouette, jaccard, stability, suggested_name. ``tables`` adds
        profile (segment, feature, estimate in the feature's unit or as share of a category, std_difference) and scaling.

    Raises
    ------
    DataProblem
        For unknown or non-numeric features, constant ones, two that hold the same information, or a bad option.
    TooFewRespondents
        For fewer than `min_rows` complete rows, or fewer distinct customers than segments.
    """
    if not isinstance(n_segments, (int, np.integer)) or n_segments < 2:
        raise DataProblem(f"n_segments={n_segments!r} must be a whole number of at least 2; one segment is what the others are tested against")
    basis = prepared(
        customers, features, method=method, transform=transform, winsorise=winsorise, min_rows=min_rows, most=n_segments, caller="segment_customers"
    )  # fmt: skip
    fit = basis.method.fit(basis.x, n_segments, n_starts=n_starts, seed=seed)
    draws = bootstrap_jaccard(basis.x, fit.labels, n_segments, lambda r, c, g: basis.method.refit(fit, r, c, g), n_boot=n_boot, seed=seed + 1)
    structure = basis.structure(fit, seed=seed + 2)
    supported = largest_supported(basis, fit, structure, n_starts=min(n_starts, 10), seed=seed + 2)
    return _assembled(basis, fit, draws, structure, supported, method, n_starts, seed, dict(labels or {}), min_base)


def _assembled(basis: Basis, fit: Fit, draws: np.ndarray, structure: Structure, supported: int, method, n_starts, seed, labels, min_base) -> Segmentation:
    profile = profile_table(basis.shown, basis.standard, fit.labels, basis.names)
    table = _table(basis, fit, draws.mean(axis=0), profile, seed)
    hidden = list(table.loc[hidden_segments(table["n"].to_numpy(), min_base), "segment"])
    summary = {
        "n": len(basis.x), "n_segments": fit.k, "supported": supported, "method": method, "form": fit.form, "n_starts": n_starts, "n_boot": len(draws),
        "within": fit.within, "log_likelihood": fit.log_likelihood, "bic": fit.bic, "silhouette": float(np.average(table["silhouette"], weights=table["n"])),
        "min_jaccard": float(table["jaccard"].min()), "prediction_strength": structure.prediction_strength, "p_value": structure.p_value,
    }  # fmt: skip
    return Segmentation(
        function="segment_customers", outcome=f"{method} on {', '.join(basis.reader.features)}", group=None, table=_hide(table, hidden), summary=summary,
        tested=_checks(basis, fit, n_starts, table, structure, supported), labels=labels,
        further={"profile": _hide(profile, hidden), "scaling": basis.reader.table()},
        features=basis.reader.features, reader=basis.reader, rule=fit.rule, structure=structure, supported=supported,
    )  # fmt: skip


def _table(basis: Basis, fit: Fit, similarity: np.ndarray, profile: pd.DataFrame, seed: int) -> pd.DataFrame:
    sizes = np.bincount(fit.labels, minlength=fit.k)
    widths, found = silhouette(basis.standard, fit.labels, seed=seed)
    mean_width = [float(widths[found == j].mean()) if (found == j).any() else np.nan for j in range(fit.k)]
    names = suggested_names(profile, categorical=basis.categorical)
    return pd.DataFrame(
        {"segment": segment_names(fit.k), "n": sizes, "share": sizes / len(fit.labels), "silhouette": mean_width, "jaccard": similarity,
         "stability": [stability_words(j) for j in similarity], "suggested_name": [names[s] for s in segment_names(fit.k)]}
    )  # fmt: skip


def stability_words(similarity: float) -> str:
    """Return Hennig's (2007) reading of a mean Jaccard similarity."""
    if similarity < DOUBTFUL:
        return "not to be trusted"
    return "doubtful" if similarity < STABLE else "stable" if similarity <= 0.85 else "highly stable"


def _hide(table: pd.DataFrame, hidden: list[str]) -> pd.DataFrame:
    shown = table.copy()
    for column in [c for c in table.columns if c not in ("segment", "feature")] if hidden else []:
        shown[column] = shown[column].astype(object if shown[column].dtype.kind not in "if" else float).where(~shown["segment"].isin(hidden), np.nan)
    return shown


def _checks(basis: Basis, fit: Fit, n_starts: int, table: pd.DataFrame, structure: Structure, supported: int) -> tuple[Check, ...]:
    alike, lowest, n = basis.alike(), float(table["jaccard"].min()), len(basis.x)
    apart = Check("segments separated from one cloud (p)", round(structure.p_value, 4), f"at most {ALPHA}", structure.p_value <= ALPHA)
    apart = Check("classes with the largest BIC", supported, f"{fit.k}", supported == fit.k) if basis.categorical else apart
    return (
        Check("customers with every feature", f"{n} of {basis.received}", "all", n == basis.received),
        Check("starts that reached the best solution", f"{fit.starts_at_best} of {n_starts}", "at least 2", fit.starts_at_best >= 2),
        apart,
        Check("lowest Jaccard similarity", round(lowest, 3), f"at least {STABLE}", lowest >= STABLE),
        Check("prediction strength", round(structure.prediction_strength, 3), "at least 0.8", structure.prediction_strength >= 0.8),
        Check("features that repeat another", listing(alike), "none", not alike),
        Check("smallest segment (share)", round(float(table["share"].min()), 3), "at least 0.05", bool(table["share"].min() >= 0.05)),
    )
