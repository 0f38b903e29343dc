"""How features are put on one scale before customers are compared; frozen, so that new customers get the same."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem, nearest, require_choice

SKEWED = 1.0  # third standardised moment above which an amount that cannot be negative is taken in logs
MOST_CATEGORIES = 12
ALIKE = 0.9  # correlation above which two features say the same thing twice
FAR = 5.0  # spreads from the centre beyond which a customer is far out
TRANSFORMS = ("log_skewed", "none")  # for all features, or one of CURVES for each
SCALINGS = ("z", "robust", "none")
CURVES = {
    "none": lambda x: x,
    "log": lambda x: np.log1p(np.maximum(x, 0)),
    "share": lambda x: np.arcsin(np.sqrt(np.clip(x, 0, 1))),
}
SHOWN = {"none": "none", "log": "log(1 + x)", "share": "arcsine of the root"}


@dataclass(frozen=True)
class Scaling:
    """Bounds, curve, centre and spread of each feature, in that order of use; all are (p,)."""

    features: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    curves: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    drawn_in: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return (n, p) features on the common scale."""
        return (_curved(np.clip(values, self.low, self.high), self.curves) - self.centre) / self.scale

    def read(self, customers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the scaled rows that have every feature, (n, p), and which rows those are."""
        values, complete = complete_values(customers, self.features)
        return self.apply(values), complete

    def table(self) -> pd.DataFrame:
        """Return one row a feature: what was done to it."""
        return pd.DataFrame(
            {
                "feature": list(self.features),
                "transform": [SHOWN[c] for c in self.curves],
                "low": self.low,
                "high": self.high,
                "drawn_in": self.drawn_in,
                "centre": self.centre,
                "scale": self.scale,
            }
        )


def _curved(values: np.ndarray, curves) -> np.ndarray:
    return np.column_stack([CURVES[c](column) for c, column in zip(curves, values.T)])


def fit_scaling(values: np.ndarray, features, *, transform, winsorise: float, scaling: str = "z") -> Scaling:
    """Return the scaling of (n, p) `values`: bounds at the `winsorise` quantiles, curves, then a common spread."""
    low, high = np.full(len(features), -np.inf), np.full(len(features), np.inf)
    if winsorise:
        low, high = np.quantile(values, [winsorise, 1 - winsorise], axis=0)
    drawn_in = ((values < low) | (values > high)).sum(axis=0)
    bounded = np.clip(values, low, high)
    curves = _declared(transform, features, bounded) if isinstance(transform, Mapping) else _skewed(transform, bounded)
    taken = _curved(bounded, curves)
    return Scaling(tuple(features), low, high, tuple(curves), *_centre_and_spread(taken, scaling), drawn_in)


def _skewed(transform: str, values: np.ndarray) -> list[str]:
    logged = (values.min(axis=0) >= 0) & (stats.skew(values, axis=0) > SKEWED) & (transform == "log_skewed")
    return ["log" if one else "none" for one in logged]


def _declared(transform: Mapping, features, values: np.ndarray) -> list[str]:
    """Return the curve declared for each feature; 'none' for those that are not named."""
    for feature, curve in transform.items():
        if feature not in features:
            raise DataProblem(f"transform names {feature!r}, which is not one of features{nearest(feature, features)}")
        require_choice(f"transform[{feature!r}]", curve, tuple(CURVES))
        column = values[:, list(features).index(feature)]
        below = int((~digits.at_least(column, 0)).sum())
        if curve == "log" and below:
            raise DataProblem(f"{feature} holds {below} values below 0, which have no log; declare 'none'")
        outside = int(digits.outside(column, 0, 1).sum())
        if curve == "share" and outside:
            raise DataProblem(
                f"{feature} holds {outside} values outside 0-1, so it is not a share; declare 'none' or 'log'"
            )
    return [transform.get(f, "none") for f in features]


def _centre_and_spread(taken: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    spread = taken.std(axis=0)
    if scaling == "none":
        return taken.mean(axis=0), np.ones(taken.shape[1])
    if scaling == "robust":  # 1.4826 makes the median deviation of a Gaussian its standard deviation
        centre = np.median(taken, axis=0)
        robust = 1.4826 * np.median(np.abs(taken - centre), axis=0)
        return centre, np.where(robust > 0, robust, spread)  # more than half alike: no median deviation
    return taken.mean(axis=0), spread


def far_out(scaled: np.ndarray) -> int:
    """Return how many rows lie more than `FAR` spreads from the centre in some feature."""
    return int((np.abs(scaled - np.median(scaled, axis=0)) > FAR * scaled.std(axis=0)).any(axis=1).sum())


def complete_values(customers: pd.DataFrame, features) -> tuple[np.ndarray, np.ndarray]:
    """Return the (n, p) values of the rows that have every feature, and which rows those are."""
    for feature in features:
        if not pd.api.types.is_numeric_dtype(customers[feature]):
            first = customers[feature].dropna().iloc[:1].tolist()
            raise DataProblem(
                f"{feature} is not numeric (for example {first[0]!r}); give numbers, or leave it out of features"
            )
    values = customers[list(features)].to_numpy(dtype=float, na_value=np.nan)
    complete = np.isfinite(values).all(axis=1)
    return values[complete], complete


def require_variation(values: np.ndarray, features) -> None:
    """Refuse features that are constant, and pairs that are the same but for unit and origin."""
    constant = [f for f, column in zip(features, values.T) if np.ptp(column) == 0]
    if constant:
        raise DataProblem(
            f"{', '.join(constant)}: the same value in all {len(values)} complete rows; leave it out of features"
        )
    r = np.atleast_2d(np.corrcoef(values, rowvar=False))
    for i, j in zip(*np.nonzero(np.triu(np.abs(r) > 1 - 1e-9, k=1))):
        raise DataProblem(
            f"{features[i]} and {features[j]} hold the same information (correlation {r[i, j]:.0f}); keep one of them in features"
        )


@dataclass(frozen=True)
class Coding:
    """The categories of each item, in sorted order; frozen, so that new customers get the same codes."""

    features: tuple[str, ...]
    categories: tuple[tuple, ...]

    @property
    def levels(self) -> tuple[int, ...]:
        return tuple(map(len, self.categories))

    @property
    def names(self) -> list[str]:
        """Return ``item: category`` for every category of every item."""
        return [f"{f}: {c}" for f, categories in zip(self.features, self.categories) for c in categories]

    def read(self, customers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return integer codes, (n, p), of the rows whose every answer is a known category, and which rows those are."""
        codes = np.column_stack(
            [pd.Categorical(customers[f], categories=list(c)).codes for f, c in zip(self.features, self.categories)]
        )
        complete = (codes >= 0).all(axis=1)
        return codes[complete].astype(int), complete

    def table(self) -> pd.DataFrame:
        """Return one row an item: its categories."""
        return pd.DataFrame(
            {
                "feature": list(self.features),
                "transform": ["categories " + ", ".join(map(str, c)) for c in self.categories],
            }
        )


def fit_coding(customers: pd.DataFrame, features) -> Coding:
    """Return the coding of categorical items; refuse items with one category or more than `MOST_CATEGORIES`."""
    categories = [tuple(sorted(customers[f].dropna().unique(), key=str)) for f in features]
    for feature, found in zip(features, categories):
        if not 2 <= len(found) <= MOST_CATEGORIES:
            raise DataProblem(
                f"{feature} holds {len(found)} different values; latent classes need 2 to {MOST_CATEGORIES} categories, so group them or leave it out"
            )
    return Coding(tuple(features), tuple(categories))


def alike_pairs(scaled: np.ndarray, features) -> list[str]:
    """Return the pairs of features whose correlation on the common scale exceeds `ALIKE` in size."""
    r = np.atleast_2d(np.corrcoef(scaled, rowvar=False))
    return [f"{features[i]} and {features[j]}" for i, j in zip(*np.nonzero(np.triu(np.abs(r) > ALIKE, k=1)))]
