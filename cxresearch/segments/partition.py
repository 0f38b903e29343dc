"""Partition customers: from a table to a `Segmentation`, in four steps: check, complete rows, compute, assemble."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.findings import Check, listing
from cxresearch.segments.basis import Basis, largest_supported, prepared
from cxresearch.segments.figures import plane
from cxresearch.segments.methods import Fit
from cxresearch.segments.profiles import hidden_segments, profile_table, segment_names, suggested_names
from cxresearch.segments.segmentation import DOUBTFUL, HIGHLY, STABLE, Segmentation
from cxresearch.segments.stability import bootstrap_jaccard
from cxresearch.segments.structure import ALPHA, Structure, silhouette
from cxresearch.survey import as_survey


def segment_customers(
    customers,
    *,
    features: Sequence[str],
    n_segments: int,
    method: str = "kmeans",
    n_starts: int = 50,
    n_boot: int = 100,
    min_rows: int = 100,
    seed: int,
    transform: str | Mapping[str, str] = "log_skewed",
    winsorise: float = 0.0,
    scaling: str = "z",
) -> Segmentation:
    """Partition customers into `n_segments` by their features, and test whether the parts are real.

    Parameters
    ----------
    customers : Survey or DataFrame
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
    transform : ``'log_skewed'``, ``'none'`` or mapping
        Logs, log(1 + x), of features that are never negative and whose skewness exceeds 1. A mapping declares it
        feature by feature: ``'log'``, ``'share'`` (arcsine of the square root of a share, 0-1) or ``'none'``. What was
        done stands in ``tables()['scaling']``. Not used for items.
    winsorise : float
        Share of customers at either end of each feature that is drawn in to the quantile there; 0 leaves all. How many
        values were stands in ``tables()['scaling']``; customers who stay far out fail a check.
    scaling : ``'z'``, ``'robust'`` or ``'none'``
        Centred and divided by the standard deviation, by the median deviation, or left in the common unit they have.

    Returns
    -------
    Segmentation
        ``tidy``: segment (S1 the largest), n, share, silhouette, jaccard, stability, suggested_name. ``tables`` adds
        profile (segment, feature, estimate in the feature's unit or as share of a category, std_difference), scaling, map and, for mixtures, families (form, bic,
        icl: the best of each family of covariances). ``glance`` has starts_at_best, how many of the starts ended in the
        reported solution: that the optimiser is unstable is another matter than that segments are.

    Raises
    ------
    DataProblem
        For unknown or non-numeric features, constant ones, two that hold the same information, or a bad option.
    TooFewRespondents
        For fewer than `min_rows` complete rows, or fewer distinct customers than segments.

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
    >>> segments.tidy()[["segment", "n"]]
      segment    n
    0      S1  287
    1      S2  113
    """
    survey = as_survey(customers)
    customers = survey.table
    labels, min_base = survey.labels, survey.min_base
    if not isinstance(n_segments, (int, np.integer)) or n_segments < 2:
        raise DataProblem(
            f"n_segments={n_segments!r} must be a whole number of at least 2; one segment is what the others are tested against"
        )
    basis = prepared(
        customers,
        features,
        method=method,
        transform=transform,
        winsorise=winsorise,
        scaling=scaling,
        min_rows=min_rows,
        most=n_segments,
        caller="segment_customers",
    )
    fit = basis.method.fit(basis.x, n_segments, n_starts=n_starts, seed=seed)
    _require_members(fit)
    draws = bootstrap_jaccard(
        basis.x, fit.labels, n_segments, lambda r, c, g: basis.method.refit(fit, r, c, g), n_boot=n_boot, seed=seed + 1
    )
    structure = basis.structure(fit, seed=seed + 2)
    supported = largest_supported(basis, fit, structure, n_starts=min(n_starts, 10), seed=seed + 2)
    return _assembled(basis, fit, draws, structure, supported, method, n_starts, seed, dict(labels or {}), min_base)


def _require_members(fit: Fit) -> None:
    # A mixture or a class model may fit a part to which nobody most likely belongs; it has no profile and no size.
    empty = int((np.bincount(fit.labels, minlength=fit.k) == 0).sum())
    if empty:
        raise TooFewRespondents(
            f"segment_customers: {empty} of the {fit.k} segments asked for would hold nobody; ask for fewer segments"
        )


def _assembled(
    basis: Basis,
    fit: Fit,
    draws: np.ndarray,
    structure: Structure,
    supported: int,
    method,
    n_starts,
    seed,
    labels,
    min_base,
) -> Segmentation:
    profile = profile_table(basis.shown, basis.standard, fit.labels, basis.names)
    table = _table(basis, fit, draws.mean(axis=0), profile, seed)
    places, *plane_of_map = plane(basis.standard, fit.labels, basis.names)
    places.insert(0, "segment", segment_names(fit.k))
    hidden = list(table.loc[hidden_segments(table["n"].to_numpy(), min_base), "segment"])
    summary = {
        "n": len(basis.x),
        "n_segments": fit.k,
        "supported": supported,
        "method": method,
        "form": fit.form,
        "n_starts": n_starts,
        "starts_at_best": fit.starts_at_best,
        "n_boot": len(draws),
        "within": fit.within,
        "log_likelihood": fit.log_likelihood,
        "bic": fit.bic,
        "silhouette": float(np.average(table["silhouette"], weights=table["n"])),
        "min_jaccard": float(table["jaccard"].min()),
        "prediction_strength": structure.prediction_strength,
        "p_value": structure.p_value,
    }
    return Segmentation(
        function="segment_customers",
        outcome=f"{method} on {', '.join(basis.reader.features)}",
        group=None,
        table=_hide(table, hidden),
        summary=summary,
        tested=_checks(basis, fit, n_starts, table, structure, supported),
        labels=labels,
        further={"profile": _hide(profile, hidden), "scaling": basis.reader.table(), "map": _hide(places, hidden)}
        | _families(fit),
        features=basis.reader.features,
        reader=basis.reader,
        rule=fit.rule,
        structure=structure,
        supported=supported,
        plane=tuple(plane_of_map),
    )


def _families(fit: Fit) -> dict[str, pd.DataFrame]:
    return {"families": pd.DataFrame(fit.families, columns=["form", "bic", "icl"])} if fit.families else {}


def _table(basis: Basis, fit: Fit, similarity: np.ndarray, profile: pd.DataFrame, seed: int) -> pd.DataFrame:
    sizes = np.bincount(fit.labels, minlength=fit.k)
    widths, found = silhouette(basis.standard, fit.labels, seed=seed)
    mean_width = [float(widths[found == j].mean()) if (found == j).any() else np.nan for j in range(fit.k)]
    names = suggested_names(profile, categorical=basis.categorical)
    return pd.DataFrame(
        {
            "segment": segment_names(fit.k),
            "n": sizes,
            "share": sizes / len(fit.labels),
            "silhouette": mean_width,
            "jaccard": similarity,
            "stability": [stability_words(j) for j in similarity],
            "suggested_name": [names[s] for s in segment_names(fit.k)],
        }
    )


def stability_words(similarity: float) -> str:
    """Return Hennig's (2007) reading of a mean Jaccard similarity."""
    if similarity < DOUBTFUL:
        return "not to be trusted"
    return "doubtful" if similarity < STABLE else "stable" if similarity <= HIGHLY else "highly stable"


def _hide(table: pd.DataFrame, hidden: list[str]) -> pd.DataFrame:
    shown = table.copy()
    for column in [c for c in table.columns if c not in ("segment", "feature")] if hidden else []:
        shown[column] = (
            shown[column]
            .astype(object if shown[column].dtype.kind not in "if" else float)
            .where(~shown["segment"].isin(hidden), np.nan)
        )
    return shown


def _checks(
    basis: Basis, fit: Fit, n_starts: int, table: pd.DataFrame, structure: Structure, supported: int
) -> tuple[Check, ...]:
    alike, lowest, n = basis.alike(), float(table["jaccard"].min()), len(basis.x)
    apart = Check(
        "segments separated from one cloud (p)",
        digits.rounded(structure.p_value, 4),
        f"at most {ALPHA}",
        structure.p_value <= ALPHA,
    )
    apart = (
        Check("classes with the largest BIC", supported, f"{fit.k}", supported == fit.k) if basis.categorical else apart
    )
    return (
        Check("customers with every feature", f"{n} of {basis.received}", "all", n == basis.received),
        Check(
            "starts that reached the best solution",
            f"{fit.starts_at_best} of {n_starts}",
            "at least 2",
            fit.starts_at_best >= 2,
        ),
        apart,
        Check("lowest Jaccard similarity", digits.rounded(lowest, 3), f"at least {STABLE}", lowest >= STABLE),
        Check(
            "prediction strength",
            digits.rounded(structure.prediction_strength, 3),
            "at least 0.8",
            structure.prediction_strength >= 0.8,
        ),
        Check("customers far out (over 5 spreads)", basis.far_out(), "none", basis.far_out() == 0),
        Check("features that repeat another", listing(alike), "none", not alike),
        Check(
            "smallest segment (share)",
            digits.rounded(float(table["share"].min()), 3),
            "at least 0.05",
            bool(table["share"].min() >= 0.05),
        ),
    )
