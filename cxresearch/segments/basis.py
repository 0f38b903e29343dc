"""What a partition rests on: the complete rows of the features, on one scale or in codes, and the method for them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice, require_columns
from cxresearch.segments.latent import indicators
from cxresearch.segments.methods import KMeans, LatentClassModel, Method, Mixtures
from cxresearch.segments.scaling import (
    SCALINGS,
    TRANSFORMS,
    Coding,
    Scaling,
    alike_pairs,
    complete_values,
    far_out,
    fit_coding,
    fit_scaling,
    require_variation,
)
from cxresearch.segments.structure import ALPHA, Structure, halved_structure

METHODS = ("kmeans", "mixture", "latent_class")


@dataclass(frozen=True)
class Basis:
    """Rows ready to be partitioned.

    Attributes
    ----------
    reader
        The frozen way from a table to `x`.
    x
        (n, p) scaled values, or integer codes for latent classes.
    shown, standard, names
        What profiles show: (n, m) in the unit of the features, the same standardised, and m names.
    """

    method: Method
    reader: Scaling | Coding
    x: np.ndarray
    shown: np.ndarray
    standard: np.ndarray
    names: list[str]
    received: int

    @property
    def categorical(self) -> bool:
        return isinstance(self.reader, Coding)

    def alike(self) -> list[str]:
        """Return pairs of features that say nearly the same (numbers only)."""
        return [] if self.categorical else alike_pairs(self.x, self.names)

    def far_out(self) -> int:
        """Return how many customers lie far from all others in some feature (numbers only)."""
        return 0 if self.categorical else far_out(self.x)

    def structure(self, fit, *, seed: int) -> Structure:
        """Return prediction strength and, for numbers, separation of a fit's segments."""
        return halved_structure(
            self.x, fit.k, self.method.quick(fit), n_splits=5, seed=seed, bands=not self.categorical
        )


def prepared(
    customers: pd.DataFrame,
    features,
    *,
    method: str,
    transform,
    winsorise: float,
    scaling: str,
    min_rows: int,
    most: int,
    caller: str,
) -> Basis:
    """Return the basis, or refuse it; `most` is the largest number of segments asked for."""
    features = _named(features, customers)
    require_choice("method", method, METHODS)
    require_choice("scaling", scaling, SCALINGS)
    if not isinstance(transform, Mapping):
        require_choice("transform", transform, TRANSFORMS)
    if not 0 <= winsorise < 0.5:
        raise DataProblem(f"winsorise={winsorise!r} must be a share from 0 to below 0.5, for example 0.005")
    categorical = method == "latent_class"
    values, complete = (
        (None, customers[list(features)].notna().all(axis=1)) if categorical else complete_values(customers, features)
    )
    if complete.sum() < min_rows:
        raise TooFewRespondents(f"{caller} needs at least {min_rows} complete rows; found {int(complete.sum())}")
    basis = (
        _categorical(customers, features)
        if categorical
        else _numeric(values, features, method, transform, winsorise, scaling, len(customers))
    )
    distinct = len(np.unique(basis.x, axis=0))
    if distinct < most:
        raise TooFewRespondents(
            f"{caller}: {most} segments are more than the {distinct} distinct customers among {len(basis.x)} complete rows; ask for fewer"
        )
    return basis


def _named(features, customers: pd.DataFrame) -> tuple[str, ...]:
    features = (features,) if isinstance(features, str) else tuple(features)
    if not features:
        raise DataProblem("features is empty; name columns that say how customers behave")
    if twice := sorted({f for f in features if features.count(f) > 1}):
        raise DataProblem(f"features names {', '.join(twice)} more than once; name each column once")
    require_columns(customers, *features)
    return features


def _numeric(
    values: np.ndarray, features, method: str, transform, winsorise: float, scaling: str, received: int
) -> Basis:
    require_variation(values, features)
    fitted = fit_scaling(values, features, transform=transform, winsorise=winsorise, scaling=scaling)
    if flat := [f for f, spread in zip(features, fitted.scale) if spread == 0]:
        raise DataProblem(
            f"{', '.join(flat)}: drawn in by winsorise={winsorise} until nothing varies; use a smaller share"
        )
    x, shown = fitted.apply(values), values
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    return Basis(KMeans() if method == "kmeans" else Mixtures(), fitted, x, shown, standard, list(features), received)


def _categorical(customers: pd.DataFrame, features) -> Basis:
    coding = fit_coding(customers, features)
    codes, _ = coding.read(customers)
    ones = indicators(codes, coding.levels)
    share = ones.mean(axis=0)
    spread = np.sqrt(np.maximum(share * (1 - share), 1e-12))
    return Basis(
        LatentClassModel(coding.levels), coding, codes, ones, (ones - share) / spread, coding.names, len(customers)
    )


def largest_supported(basis: Basis, fit, structure: Structure, *, n_starts: int, seed: int) -> int:
    """Return the largest number of segments, at most the fit's, that the data hold apart; 1 if none.

    Numbers: neighbouring segments separated. Items: the number of classes with the largest BIC.
    """
    if basis.categorical:
        scores = [basis.method.fit(basis.x, k, n_starts=n_starts, seed=seed).bic for k in range(1, fit.k)]
        return int(digits.descending([*scores, fit.bic])[0]) + 1
    if structure.p_value <= ALPHA:
        return fit.k
    for k in range(fit.k - 1, 1, -1):
        smaller = basis.method.fit(basis.x, k, n_starts=n_starts, seed=seed)
        if basis.structure(smaller, seed=seed).p_value <= ALPHA:
            return k
    return 1
