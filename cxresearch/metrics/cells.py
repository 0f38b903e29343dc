"""From responses to cells (group x wave): who is in, with what weight, drawn together with whom.

References
----------
Kish (1965), *Survey Sampling*; Saerndal, Swensson & Wretman (1992), *Model Assisted Survey Sampling*, 5.5 and 6.5.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice, require_columns, require_share
from cxresearch.findings import Check
from cxresearch.inference import SamplingUnits, sampling_units, total_covariance, total_variance
from cxresearch.privacy import POOLED, pool_small_groups, require_base
from cxresearch.survey.raked import margin_residuals, raked_on

UNSTATED = "not stated"


@dataclass(frozen=True)
class Sample:
    """The complete cases of one question and the cells they fall in."""

    rows: np.ndarray  # (n,) positions in the table
    weights: np.ndarray  # (n,)
    cell: np.ndarray  # (n,) 0...k-1
    keys: pd.DataFrame  # (k, 0-2): group, wave
    units: SamplingUnits
    plain: bool  # no design and one weight for all: closed formulas hold
    clustered: bool
    margins: tuple[np.ndarray, ...]  # codes (n,) of the columns that the weight was raked on
    tested: tuple[Check, ...]

    @cached_property
    def n(self) -> np.ndarray:
        return np.bincount(self.cell, minlength=len(self.keys))

    @cached_property
    def totals(self) -> np.ndarray:
        return np.bincount(self.cell, self.weights, minlength=len(self.keys))

    def pooled(self) -> "Sample":
        """Return the same rows as one cell."""
        return replace(self, cell=np.zeros_like(self.cell), keys=pd.DataFrame(index=range(1)))

    def sums(self, values) -> np.ndarray:
        """Return weighted sums by cell, (k,)."""
        return np.bincount(self.cell, self.weights * values, minlength=len(self.keys))

    def means(self, values) -> np.ndarray:
        """Return weighted means by cell, (k,); NaN where a cell is empty."""
        with np.errstate(invalid="ignore"):
            return self.sums(values) / self.totals

    @cached_property
    def kish(self) -> np.ndarray:
        """Return (sum w)^2 / sum w^2 by cell, (k,): planning and fallback only, not the real design effect."""
        with np.errstate(invalid="ignore"):
            return self.totals**2 / self.sums(self.weights)

    @cached_property
    def df(self) -> np.ndarray:
        """Return units minus strata met by each cell, (k,)."""
        k, units = len(self.keys), self.units
        psu = self.units.psu_of_row
        met = self.n if psu is None else _distinct(self.cell, psu, k)
        stratum = units.stratum_of_psu if psu is None else units.stratum_of_psu[psu]
        strata = (met > 0) if len(units.size) == 1 else _distinct(self.cell, stratum, k)
        return (met - strata).astype(float)

    def _pull(self, values) -> np.ndarray:
        """Return w (v - mean of the cell) / W of the cell, (n,)."""
        with np.errstate(invalid="ignore"):
            return self.weights * (values - self.means(values)[self.cell]) / self.totals[self.cell]

    def influence(self, values):
        """Return each answer's pull on the mean of its cell, (n, k) sparse; residuals on the margins where raked."""
        each = self._pull(values)
        n = len(each)
        spread = sparse.csr_array((each, self.cell, np.arange(n + 1)), shape=(n, len(self.keys)))
        return margin_residuals(spread, self.weights, self.margins) if self.margins else spread

    @property
    def _simple(self) -> bool:
        return self.units.psu_of_row is None and len(self.units.size) == 1 and not self.margins

    def variance(self, values) -> np.ndarray:
        """Return the linearised variances of the cell means, (k,)."""
        if self._simple:  # pulls of a cell add up to zero and cells share no unit: a tenth of the time
            return self.units.factor[0] * np.bincount(self.cell, self._pull(values) ** 2, minlength=len(self.keys))
        return total_variance(self.influence(values), self.units)

    def covariance(self, values) -> np.ndarray:
        """Return the linearised covariance of the cell means, (k, k)."""
        return np.diag(self.variance(values)) if self._simple else total_covariance(self.influence(values), self.units)


def _distinct(cell, code, k) -> np.ndarray:
    pairs = pd.unique(cell.astype(np.int64) * (int(code.max()) + 1) + code)
    return np.bincount(pairs // (int(code.max()) + 1), minlength=k)


def require_options(table, *columns, confidence: float, min_base: int, **choices) -> None:
    """Check what every function of the scorecard is asked: columns, confidence, floor, named choices."""
    require_columns(table, *columns, where="responses")
    require_share("confidence", confidence)
    if not (isinstance(min_base, (int, np.integer)) and min_base >= 1):
        raise DataProblem(f"min_base={min_base!r} must be a whole number of at least 1")
    for name, (value, allowed) in choices.items():
        require_choice(name, value, allowed)


def draw_sample(
    table, answered, *, by=None, wave=None, weight=None, strata=None, cluster=None, fpc=None, min_base=1
) -> Sample:
    """Return the rows that answered, their weights, cells and sampling units.

    Parameters
    ----------
    table : DataFrame, (N, .)
    answered : (N,) bool array
    by, wave, weight, strata, cluster, fpc : str or None
        Columns. Groups under `min_base` are pooled on the whole table, before rows without an answer leave.
    """
    groups = None if by is None else grouped(table[by], min_base=min_base)
    inside = answered if wave is None else answered & table[wave].notna().to_numpy()
    _weights(table, weight, np.flatnonzero(inside))
    zero = inside & (False if weight is None else (pd.to_numeric(table[weight]) == 0).to_numpy())
    rows = np.flatnonzero(inside & ~zero)
    if not rows.size:
        raise TooFewRespondents(
            f"responses: none of {len(table)} rows holds an answer"
            + (f" and a {wave}" if wave else "")
            + (" and a weight" if zero.any() else "")
        )
    require_base(len(rows), min_base=min_base, what="the scorecard")
    keys, cell = _cells(groups, None if wave is None else table[wave], rows)
    weights = _weights(table, weight, rows)
    taken = {
        name: None if col is None else _complete(table, col, rows)
        for name, col in dict(strata=strata, cluster=cluster, fpc=fpc).items()
    }
    margins = tuple(pd.factorize(table[c].to_numpy()[rows])[0] for c in raked_on(table.iloc[rows], weight))
    constant = bool(np.all(weights == weights[0]))
    return Sample(
        rows,
        np.ones(len(rows)) if constant else weights,
        cell,
        keys,
        sampling_units(len(rows), **taken),
        plain=constant and not any(v is not None for v in taken.values()) and not margins,
        clustered=cluster is not None,
        margins=margins,
        tested=(
            *_row_checks(table, answered, inside, wave, groups),
            *((Check(f"rows left out, {weight} being 0", int(zero.sum()), "information", True),) if zero.any() else ()),
        ),
    )


def grouped(column: pd.Series, *, min_base: int) -> pd.Series:
    """Return the groups of a column: missing ones named, small ones pooled."""
    codes, levels = pd.factorize(column.to_numpy() if column.dtype == object else column)
    levels = [*levels, UNSTATED] if (codes < 0).any() else list(levels)
    codes = np.where(codes < 0, len(levels) - 1, codes)
    if np.bincount(codes).min() < min_base:
        pooled = pool_small_groups(pd.Series(np.array(levels, dtype=object)[codes]), min_base=min_base)
        codes, found = pd.factorize(pooled)
        levels = list(found)
    return pd.Series(_categorical(codes, levels, column), index=column.index)


def _cells(groups, waves, rows) -> tuple[pd.DataFrame, np.ndarray]:
    columns = {}
    if groups is not None:
        columns["group"] = groups
    if waves is not None:
        codes, levels = pd.factorize(waves)
        columns["wave"] = pd.Series(_categorical(codes, list(levels), waves))
    cell, k = np.zeros(len(rows), dtype=np.int64), 1
    for column in columns.values():
        cell = cell * len(column.cat.categories) + column.cat.codes.to_numpy()[rows]
        k *= len(column.cat.categories)
    if not columns:
        return pd.DataFrame(index=range(1)), cell
    index = pd.MultiIndex.from_product([c.cat.categories.tolist() for c in columns.values()], names=list(columns))
    return index.to_frame(index=False), cell


def _categorical(codes, levels: list, original: pd.Series) -> pd.Categorical:
    """Return codes and levels as a categorical, in the declared order or by `natural_key`."""
    declared = list(original.cat.categories) if isinstance(original.dtype, pd.CategoricalDtype) else []
    place = {level: i for i, level in enumerate(declared)}
    order = sorted(
        range(len(levels)),
        key=lambda i: (place.get(levels[i], len(place)), levels[i] in (POOLED, UNSTATED), natural_key(levels[i])),
    )
    rank = np.empty(len(levels) + 1, dtype=np.int64)
    rank[order], rank[-1] = np.arange(len(levels)), -1
    whole = all(isinstance(v, float) and v.is_integer() for v in levels if v not in (POOLED, UNSTATED))
    named = [int(v) if whole and isinstance(v, float) else v for v in levels]  # a gap turns 1, 2, 3 into 1.0, 2.0, 3.0
    return pd.Categorical.from_codes(rank[codes], categories=[named[i] for i in order])


def natural_key(value) -> tuple:
    """Return a sorting key under which "Wave 2" precedes "Wave 10" and numbers precede text."""
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        return (0, float(value), ())
    parts = re.split(r"(\d+)", str(value))
    return (1, 0.0, tuple((0, int(p), "") if p.isdigit() else (1, 0, p.casefold()) for p in parts if p))


def _weights(table, weight, rows) -> np.ndarray:
    if weight is None:
        return np.ones(len(rows))
    values = pd.to_numeric(table[weight], errors="coerce").to_numpy(dtype=float, na_value=np.nan)[rows]
    bad = np.flatnonzero(~np.isfinite(values) | (values < 0))
    if bad.size:
        raise DataProblem(
            f"{weight} is missing, negative or not a number in {bad.size} of {len(rows)} answered rows "
            f"(first: row {rows[bad[0]]}); "
            "give every row a weight of zero or more, or drop the row"
        )
    return values


def _complete(table, column, rows) -> np.ndarray:
    values = table[column].to_numpy()[rows]
    lost = int(pd.isna(values).sum())
    if lost:
        raise DataProblem(
            f"{column} is missing in {lost} of {len(rows)} answered rows; the design must be known for every row"
        )
    return values


def _row_checks(table, answered, inside, wave, groups):
    share = float(np.mean(answered))
    yield Check("rows with an answer, share", digits.rounded(share, 4), "at least 0.5", bool(share >= 0.5))
    if wave is not None:
        yield Check("answers without a wave", int((answered & ~inside).sum()), "0", bool((answered == inside).all()))
    if groups is not None:
        unstated = int((groups == UNSTATED).to_numpy()[inside].sum())
        yield Check("answers without a group", unstated, "0", unstated == 0)
