"""What the findings of the room share: their words and figure, the table they open, regressions clustered by unit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.findings import Check, Finding, interval
from cxresearch.inference import critical_value
from cxresearch.inference.clusters import cluster_covariance, cr2
from cxresearch.survey import Survey, Table, as_table

FEW_CLUSTERS = 40  # below it the errors are CR2 with Bell and McCaffrey's degrees of freedom


@dataclass(frozen=True)
class Opened:
    """A table with what is known of it."""

    table: pd.DataFrame
    labels: Mapping[str, str]
    floor: int
    person: str | None
    finding: Mapping[str, object]  # what every finding is told of it
    checks: tuple[Check, ...]

    def label(self, key) -> str:
        return str(self.labels.get(key, key))

    def numbers(self, column: str) -> np.ndarray:
        """Return a column as floats; refused where it holds text."""
        found = pd.to_numeric(self.table[column], errors="coerce")
        if text := list(self.table[column][found.isna() & self.table[column].notna()][:1]):
            raise DataProblem(
                f"{column} must hold numbers; row {found.isna().argmax()} and others hold text, such as {text[0]!r}"
            )
        return found.to_numpy(dtype=float, na_value=np.nan)

    def base(self, code, rows) -> np.ndarray:
        """Return how many distinct persons, or rows where they are not named, each code counts among `rows`."""
        if self.person is None:
            return np.bincount(code[rows], minlength=code.max() + 1)
        pairs = pd.DataFrame({"code": code[rows], "person": self.table[self.person].to_numpy()[rows]}).drop_duplicates()
        return np.bincount(pairs["code"], minlength=code.max() + 1)


def opened(data, *columns: str | None, confidence: float, person: str | None = None) -> Opened:
    """Return what an analysis is given, its columns and confidence checked."""
    if isinstance(data, Finding):  # of a step before this one, that could not be taken
        raise DataProblem(data.sentence().rstrip("."))
    known = data if isinstance(data, (Survey, Table)) else as_table(data)
    require_share("confidence", confidence)
    table = known.table
    require_columns(table, *columns, where="the table")
    weight = getattr(known, "weight", None)
    checks = (Check("weights", weight, "rows count alike here", False, "info"),) if weight else ()
    named = person or getattr(known, "respondent", None) or getattr(known, "person", None)
    domain = getattr(known, "condition", "")
    return Opened(table, known.labels, known.min_base, named, {"labels": dict(known.labels), "domain": domain}, checks)


def clustered(y, columns, cluster, confidence: float, effects=None) -> pd.DataFrame:
    """Return least squares of y on standard columns, one row each: estimate, interval, p, clustered by unit.

    Under 40 clusters CR2 with its degrees of freedom, else CR1 with t on clusters less one. `effects` (n,) get an
    intercept each.
    """
    dummies = pd.get_dummies(np.zeros(len(y)) if effects is None else effects).to_numpy(dtype=float)
    X, k = np.column_stack([*columns, dummies]), len(columns)
    bread = np.linalg.pinv(X.T @ X, hermitian=True)
    coef = bread @ (X.T @ y)
    residual, clusters = y - X @ coef, len(np.unique(cluster))
    if clusters < FEW_CLUSTERS:
        covariance, df = cr2(X, residual, cluster)
        df = df[:k]
    else:
        factor = (len(y) - 1) / (len(y) - X.shape[1])
        covariance, df = factor * cluster_covariance(residual[:, None] * X @ bread, cluster), clusters - 1.0
    error = np.sqrt(np.diag(covariance)[:k])
    half = np.array([critical_value(confidence, d) for d in np.broadcast_to(df, k)]) * error
    found = {"estimate": coef[:k], "conf_low": coef[:k] - half, "conf_high": coef[:k] + half, "std_error": error}
    return pd.DataFrame(
        found | {"p_value": 2 * stats.t.sf(np.abs(coef[:k] / error), df), "n": len(y), "units": clusters}
    )


def standard(values) -> np.ndarray:
    """Return values less their mean, in standard deviations."""
    values = np.asarray(values, dtype=float)
    spread = np.nanstd(values, ddof=1)
    if not spread > 0:
        raise DataProblem("a column has one value in all units and periods: nothing goes with it")
    return (values - np.nanmean(values)) / spread


def clear(row) -> bool:
    """Return whether an interval excludes zero."""
    return bool(row["conf_low"] > 0 or row["conf_high"] < 0)


def span(row, confidence: float, decimals: int = 2) -> str:
    return interval(row["conf_low"], row["conf_high"], confidence, decimals)
