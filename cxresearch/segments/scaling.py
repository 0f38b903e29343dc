"""How features are put on one scale before customers are compared; frozen, so that new customers get the same."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem

SKEWED = 1.0  # third standardised moment above which an amount that cannot be negative is taken in logs
MOST_CATEGORIES = 12
ALIKE = 0.9  # correlation above which two features say the same thing twice
TRANSFORMS = ("log_skewed", "none")


@dataclass(frozen=True)
class Scaling:
    """Bounds, logarithm, centre and spread of each feature, in that order of use; all arrays are (p,)."""

    features: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    logged: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return (n, p) features on the common scale."""
        bounded = np.clip(values, self.low, self.high)
        taken = np.where(self.logged, np.log1p(np.maximum(bounded, 0)), bounded)
        return (taken - self.centre) / self.scale

    def read(self, customers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the scaled rows that have every feature, (n, p), and which rows those are."""
        values, complete = complete_values(customers, self.features)
        return self.apply(values), complete

    def table(self) -> pd.DataFrame:
        """Return one row a feature: what was done to it."""
        return pd.DataFrame(
            {
                "feature": list(self.features),
                "transform": np.where(self.logged, "log(1 + x)", "none"),
                "low": self.low,
                "high": self.high,
                "centre": self.centre,
                "scale": self.scale,
            }
        )


def fit_scaling(values: np.ndarray, features, *, transform: str, winsorise: float) -> Scaling:
    """Return the scaling of (n, p) `values`: bounds at the `winsorise` quantiles, logs of what is skewed, z-scores."""
    low, high = np.full(len(features), -np.inf), np.full(len(features), np.inf)
    if winsorise:
        low, high = np.quantile(values, [winsorise, 1 - winsorise], axis=0)
    bounded = np.clip(values, low, high)
    logged = (bounded.min(axis=0) >= 0) & (stats.skew(bounded, axis=0) > SKEWED) & (transform == "log_skewed")
    taken = np.where(logged, np.log1p(np.maximum(bounded, 0)), bounded)
    return Scaling(tuple(features), low, high, logged, taken.mean(axis=0), taken.std(axis=0))


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
