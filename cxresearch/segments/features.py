"""What a partition rests on: the complete rows of the features, on one scale or in codes; frozen for new customers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, TooFewRespondents, plain_text, require_choice, require_columns
from cxresearch.findings import Check
from cxresearch.privacy import MOST, largest_share
from cxresearch.segments.methods import Fitter, KMeans, LatentClassModel, Mixtures, indicators
from cxresearch.survey import Survey

SKEWED = 1.0  # third standardised moment above which an amount that cannot be negative is taken in logs
MOST_CATEGORIES = 12
ALIKE = 0.9  # correlation above which two features say the same thing twice
FAR = 5.0  # spreads from the centre beyond which a customer is far out
METHODS = ("kmeans", "mixture", "latent_class")


@dataclass(frozen=True)
class Scaling:
    """Whether each feature is taken as log(1 + x), its centre and its spread; all are (p,)."""

    features: tuple[str, ...]
    logged: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    def read(self, customers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the scaled rows that have every feature, (n, p), and which rows those are."""
        values, complete = complete_values(customers, self.features)
        return (curved(values, self.logged) - self.centre) / self.scale, complete

    def table(self) -> pd.DataFrame:
        """Return one row a feature: what was done to it."""
        made = {"transform": np.where(self.logged, "log(1 + x)", "none"), "centre": self.centre, "scale": self.scale}
        return pd.DataFrame({"feature": list(self.features), **made})


def curved(values: np.ndarray, logged: np.ndarray) -> np.ndarray:
    return np.where(logged, np.log1p(np.maximum(values, 0)), values)


def fit_scaling(values: np.ndarray, features) -> Scaling:
    """Return the scaling of (n, p) `values`: logs of skewed amounts, then centred and divided by the spread."""
    logged = (values.min(axis=0) >= 0) & (stats.skew(values, axis=0) > SKEWED)
    taken = curved(values, logged)
    return Scaling(tuple(features), logged, taken.mean(axis=0), taken.std(axis=0))


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
    if constant := [f for f, column in zip(features, values.T) if np.ptp(column) == 0]:
        raise DataProblem(
            f"{', '.join(constant)}: the same value in all {len(values)} complete rows; leave it out of features"
        )
    for i, j, r in _correlated(values, 1 - 1e-9):
        raise DataProblem(
            f"{features[i]} and {features[j]} hold the same information (correlation {r:.0f}); keep one of them in features"
        )


def _correlated(values: np.ndarray, limit: float) -> list[tuple[int, int, float]]:
    r = np.atleast_2d(np.corrcoef(values, rowvar=False))
    return [(i, j, r[i, j]) for i, j in zip(*np.nonzero(np.triu(np.abs(r) > limit, k=1)))]


@dataclass(frozen=True)
class Coding:
    """The categories of each item, in sorted order."""

    features: tuple[str, ...]
    categories: tuple[tuple, ...]

    def read(self, customers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return integer codes, (n, p), of the rows whose every answer is a known category, and which rows those are."""
        known = zip(self.features, self.categories)
        codes = np.column_stack([pd.Categorical(plain(customers[f]), categories=c).codes for f, c in known])
        complete = (codes >= 0).all(axis=1)
        return codes[complete].astype(int), complete

    def table(self) -> pd.DataFrame:
        """Return one row an item: its categories."""
        words = ["categories " + ", ".join(map(str, c)) for c in self.categories]
        return pd.DataFrame({"feature": list(self.features), "transform": words})


def dominated(values: pd.DataFrame, segment, min_base: int) -> list[str]:
    """Return the columns of amounts of which one customer has most in some segment: no mean of theirs is shown."""
    amounts = values.loc[:, ~values.isin([0, 1]).all()] if min_base > 1 else values.iloc[:, :0]
    return [name for name in amounts if amounts[name].groupby(segment).agg(largest_share).max() > MOST]


def plain(column: pd.Series) -> pd.Series:
    """Return a column whose texts are normalised, so that equal answers are one category."""
    return column.map(lambda value: plain_text(value) if isinstance(value, str) else value)


def fit_coding(customers: pd.DataFrame, features) -> Coding:
    """Return the coding of items; refuse those with one category or more than `MOST_CATEGORIES`."""
    categories = [tuple(sorted(plain(customers[f]).dropna().unique(), key=str)) for f in features]
    for feature, found in zip(features, categories):
        if not 2 <= len(found) <= MOST_CATEGORIES:
            raise DataProblem(
                f"{feature} holds {len(found)} different values; latent classes need 2 to {MOST_CATEGORIES} categories, so group them or leave it out"
            )
    return Coding(tuple(features), tuple(categories))


@dataclass(frozen=True)
class Basis:
    """Rows ready to be partitioned."""

    fitter: Fitter
    reader: Scaling | Coding  # the frozen way from a table to x
    x: np.ndarray  # (n, p) scaled values, or integer codes for latent classes
    shown: np.ndarray  # (n, m): what profiles show, in the unit of the features
    names: list[str]  # of the m columns
    received: int  # rows of the table
    weight: str | None  # its column of weights, which segments do not use

    @property
    def categorical(self) -> bool:
        return isinstance(self.reader, Coding)

    @property
    def standard(self) -> np.ndarray:
        """What profiles show, standardised on the scale of x, (n, m)."""
        values = self.shown if self.categorical else self.x
        return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6)

    def checks(self) -> list[Check]:
        """Return whether rows are complete; of numbers, whether customers are far out and features alike."""
        n = len(self.x)
        found = [Check("customers with every feature", f"{n} of {self.received}", "all", n == self.received)]
        found += unweighted(self.weight)
        if self.categorical:
            return found
        far = int((np.abs(self.x - np.median(self.x, axis=0)) > FAR * self.x.std(axis=0)).any(axis=1).sum())
        alike = "; ".join(f"{self.names[i]} and {self.names[j]}" for i, j, _ in _correlated(self.x, ALIKE))
        found.append(Check("customers far out (over 5 spreads)", far, "none", far == 0))
        return [*found, Check("features that repeat another", alike or "none", "none", not alike)]


def prepared(survey: Survey, features, *, method: str, min_rows: int, most: int, caller: str) -> Basis:
    """Return the basis, or refuse it; `most` is the largest number of segments asked for."""
    customers, features = survey.table, _named(features, survey.table)
    require_choice("method", method, METHODS)
    categorical = method == "latent_class"
    values, complete = (
        (None, customers[list(features)].notna().all(axis=1)) if categorical else complete_values(customers, features)
    )
    if complete.sum() < min_rows:
        raise TooFewRespondents(f"{caller} needs at least {min_rows} complete rows; found {int(complete.sum())}")
    if categorical:
        reader = fit_coding(customers, features)
        levels = tuple(map(len, reader.categories))
        names = [f"{f}: {c}" for f, categories in zip(features, reader.categories) for c in categories]
        x, fitter = reader.read(customers)[0], LatentClassModel(levels)
        shown = indicators(x, levels)
    else:
        require_variation(values, features)
        reader, shown, names = fit_scaling(values, features), values, list(features)
        x, fitter = reader.read(customers)[0], KMeans() if method == "kmeans" else Mixtures()
    distinct = len(np.unique(x, axis=0))
    if distinct < most:
        raise TooFewRespondents(
            f"{caller}: {most} segments are more than the {distinct} distinct customers among {len(x)} complete rows; ask for fewer"
        )
    return Basis(fitter, reader, x, shown, names, len(customers), survey.weight)


def unweighted(weight: str | None) -> list[Check]:
    """Return the check that says that weights are left aside, where there are any."""
    said = f"no: {weight} is left aside, every customer counts once"
    return [Check("weights used", said, "yes", False)] if weight else []


def _named(features: str | Sequence[str], customers: pd.DataFrame) -> tuple[str, ...]:
    features = (features,) if isinstance(features, str) else tuple(features)
    if not features:
        raise DataProblem("features is empty; name columns that say how customers behave")
    if twice := sorted({f for f in features if features.count(f) > 1}):
        raise DataProblem(f"features names {', '.join(twice)} more than once; name each column once")
    require_columns(customers, *features)
    return features
