"""The sample of one analysis: its rows, weights, cells and sampling units, and the one resampler.

Kish (1965), *Survey Sampling*; Saerndal, Swensson & Wretman (1992), *Model Assisted Survey Sampling*, 5.5, 5.8, 6.5;
Rao & Wu (1988), J. American Statistical Association 83, 231-241.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from cxresearch.errors import plain_text
from cxresearch.findings import Check
from cxresearch.privacy import POOLED, hidden_cells, pool_small_groups
from cxresearch.survey.raked import margin_residuals
from cxresearch.survey.units import SamplingUnits, kish_effective_n, total_covariance, total_variance

UNSTATED = "not stated"
HELD = 1 << 23  # cells of the replicate weights held at once
NEAR = 1 << 15  # of them that stay in a core's cache


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows that answer one question, and the cells (group, wave) they fall in."""

    rows: np.ndarray  # (n,) positions in the table in view
    weights: np.ndarray  # (n,) above zero
    cell: np.ndarray  # (n,) 0...k-1
    keys: pd.DataFrame  # (k, 0-2): group, wave
    units: SamplingUnits  # of every row of the survey that could be here, of a domain or not
    place: np.ndarray | None  # (n,) where the rows stand among those of the units; None where all are here
    persons: np.ndarray | None  # (n,) code of the person; None where every row is one
    min_base: int
    plain: bool  # no design and one weight for all: closed formulas hold
    clustered: bool
    margins: tuple[np.ndarray, ...] = ()  # codes of the columns the weight was raked on, of the rows of the units
    margin_weights: np.ndarray | None = None
    checks: tuple[Check, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    # --- bases ------------------------------------------------------------------------------------------------------

    @cached_property
    def n(self) -> np.ndarray:
        """Rows by cell, (k,)."""
        return np.bincount(self.cell, minlength=len(self.keys))

    @cached_property
    def base(self) -> np.ndarray:
        """Distinct persons by cell, (k,): what the floor counts."""
        return self.n if self.persons is None else distinct(self.cell, self.persons, len(self.keys))

    @cached_property
    def hidden(self) -> np.ndarray:
        """Which cells are not shown, (k,): those under the floor, and those from which they could be computed."""
        return hidden_cells(self.keys.assign(n=self.base), min_base=self.min_base)

    @cached_property
    def totals(self) -> np.ndarray:
        return np.bincount(self.cell, self.weights, minlength=len(self.keys))

    @cached_property
    def kish(self) -> np.ndarray:
        """Return (sum w)^2 / sum w^2 by cell, (k,): planning and fallback only, not the real design effect."""
        with np.errstate(invalid="ignore"):
            return self.totals**2 / self.sums(self.weights)

    @property
    def n_effective(self) -> float:
        """Kish's effective base of all rows."""
        return kish_effective_n(self.weights)

    @cached_property
    def unit_of_row(self) -> np.ndarray:
        """Number of each row's first-stage unit, (n,)."""
        psu = self.units.psu_of_row
        place = np.arange(len(self)) if self.place is None else self.place
        return place if psu is None else psu[place]

    @cached_property
    def df(self) -> np.ndarray:
        """Units less strata met by each cell, (k,)."""
        k, psu = len(self.keys), self.unit_of_row
        met = self.n if self.units.psu_of_row is None else distinct(self.cell, psu, k)
        one = len(self.units.size) == 1
        strata = (met > 0) if one else distinct(self.cell, self.units.stratum_of_psu[psu], k)
        return (met - strata).astype(float)

    def pooled(self) -> "Sample":
        """Return the same rows as one cell."""
        return replace(self, cell=np.zeros_like(self.cell), keys=pd.DataFrame(index=range(1)))

    # --- estimates --------------------------------------------------------------------------------------------------

    def sums(self, values) -> np.ndarray:
        """Return weighted sums by cell, (k,)."""
        return np.bincount(self.cell, self.weights * values, minlength=len(self.keys))

    def means(self, values) -> np.ndarray:
        """Return weighted means by cell, (k,); NaN where a cell is empty."""
        with np.errstate(invalid="ignore"):
            return self.sums(values) / self.totals

    def _pull(self, values) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return self.weights * (values - self.means(values)[self.cell]) / self.totals[self.cell]

    @property
    def _simple(self) -> bool:
        return self.units.psu_of_row is None and len(self.units.size) == 1 and not self.margins

    def variance(self, values) -> np.ndarray:
        """Return the linearised variances of the cell means, (k,)."""
        if self._simple:  # pulls of a cell add up to zero and cells share no unit: a tenth of the time
            return self.units.factor[0] * np.bincount(self.cell, self._pull(values) ** 2, minlength=len(self.keys))
        m, k = len(self.units.stratum_of_psu), len(self.keys)
        if not self.margins and m * k <= HELD:  # counting by unit and cell: half the time of a sparse product
            at = self.unit_of_row * k + self.cell
            totals = np.bincount(at, self._pull(values), minlength=m * k).reshape(m, k)
            return total_variance(totals, replace(self.units, psu_of_row=None))
        return total_variance(*self._totals(self.influence(values)))

    def covariance(self, values) -> np.ndarray:
        """Return the linearised covariance of the cell means, (k, k)."""
        return (
            np.diag(self.variance(values)) if self._simple else total_covariance(*self._totals(self.influence(values)))
        )

    def influence(self, values):
        """Return each answer's pull on the mean of its cell, w (v - mean) / W, (n, k) sparse."""
        n = len(self.rows)
        return sparse.csr_array((self._pull(values), self.cell, np.arange(n + 1)), shape=(n, len(self.keys)))

    def covariance_of(self, influence) -> np.ndarray:
        """Return the design's covariance (q, q) of estimates from the influence (n, q) of their rows, dense or sparse."""
        return total_covariance(*self._totals(influence))

    def _totals(self, influence):
        """Return influences with the units they belong to; rows outside a domain have none, but their units stay."""
        if self.margins:
            whole = influence
            if self.place is not None:
                n = len(self.margin_weights)
                at = sparse.csr_array((np.ones(len(self)), (self.place, np.arange(len(self)))), shape=(n, len(self)))
                whole = at @ influence
            return margin_residuals(whole, self.margin_weights, self.margins), self.units
        return influence, self.units if self.place is None else replace(self.units, psu_of_row=self.unit_of_row)

    # --- resampling -------------------------------------------------------------------------------------------------

    def replicates(self, n_boot: int, *, seed) -> Iterator[np.ndarray]:
        """Yield the weights of bootstrap replicates, (b, n) at a time, `n_boot` in all.

        Of a stratum's m units m - 1 are drawn with replacement; counts r become 1 + sqrt(1 - f) (r m / (m - 1) - 1),
        f being the sampling fraction (Rao & Wu 1988): unbiased with few units, and never negative. A stratum with one
        unit, or wholly sampled, does not vary.
        """
        rng, units = np.random.default_rng(seed), self.units
        at_once = max(50, HELD // max(len(units.stratum_of_psu), 1))
        unit = None if units.psu_of_row is None and self.place is None else self.unit_of_row
        equal, one = bool((self.weights == 1).all()), len(units.size) == 1
        for start in range(0, n_boot, at_once):
            drawn = np.ones((min(at_once, n_boot - start), len(units.stratum_of_psu)))
            for h in np.flatnonzero(units.size > 1):
                members, m = slice(None) if one else np.flatnonzero(units.stratum_of_psu == h), int(units.size[h])
                root = np.sqrt(max(units.factor[h] * (m - 1) / m, 0.0))  # of 1 - f
                for at, counts in draw_counts(m, m - 1, len(drawn), rng):
                    drawn[at : at + len(counts), members] = counts * (root * m / (m - 1)) + (1 - root)
            drawn = drawn if unit is None else drawn[:, unit]
            yield drawn if equal else drawn * self.weights


def draw_counts(m: int, size: int, n_boot: int, rng) -> Iterator[tuple[int, np.ndarray]]:
    """Yield how often each of `m` units is drawn in `size` draws, some of `n_boot` rows at a time, and the first's place.

    A multinomial, by counting integers: as many at once as stay near the core, since memory is what takes the time.
    """
    together = max(1, NEAR // m)
    for start in range(0, n_boot, together):
        rows = min(together, n_boot - start)
        drawn = rng.integers(0, m, size=(rows, size), dtype=np.uint32)
        places = drawn + (np.arange(rows, dtype=np.int64) * m)[:, None]
        yield start, np.bincount(places.ravel(), minlength=rows * m).reshape(rows, m)


# --- cells -----------------------------------------------------------------------------------------------------------


def distinct(cell, code, k) -> np.ndarray:
    """Return how many distinct codes each of k cells holds."""
    most = int(code.max()) + 1
    pairs = pd.unique(cell.astype(np.int64) * most + code)
    return np.bincount(pairs // most, minlength=k)


def groups_of(table: pd.DataFrame, by, *, min_base: int, persons) -> pd.Series:
    """Return the groups of one column or of several as a categorical: missing ones named, small ones pooled.

    Small are groups with fewer distinct persons than the floor, on the whole table, before rows without an answer
    leave.
    """
    columns = [_levels(table[column]) for column in ([by] if isinstance(by, str) else list(by))]
    if len(columns) == 1:
        codes, levels = columns[0]
        ordered = table[by if isinstance(by, str) else by[0]]
    else:
        names = [np.array([*map(str, levels)], dtype=object)[codes] for codes, levels in columns]
        codes, levels = pd.factorize(pd.Series([", ".join(row) for row in zip(*names)], dtype=object))
        levels, ordered = list(levels), None
    base = np.bincount(codes) if persons is None else distinct(codes, persons, len(levels))
    if base.min() < min_base:
        label = pool_small_groups(pd.Series(levels, dtype=object).repeat(base), min_base=min_base)
        new = dict(zip(pd.Series(levels, dtype=object).repeat(base), label))
        codes, found = pd.factorize(pd.Series([new.get(v, v) for v in levels], dtype=object).to_numpy()[codes])
        levels = list(found)
    return pd.Series(_categorical(codes, levels, ordered), index=table.index)


def _levels(column: pd.Series) -> tuple[np.ndarray, list]:
    """Return code by row and levels, texts that are one when normalised being one."""
    codes, levels = pd.factorize(column.to_numpy() if column.dtype == object else column)
    levels = [plain_text(level) if isinstance(level, str) else level for level in levels]
    if len(set(levels)) < len(levels):
        merged, found = pd.factorize(pd.Series(levels, dtype=object))
        codes, levels = np.where(codes < 0, -1, merged[codes]), list(found)
    if (codes < 0).any():
        levels = [*levels, UNSTATED]
        codes = np.where(codes < 0, len(levels) - 1, codes)
    return codes, levels


def waves_of(column: pd.Series, order) -> pd.Series:
    """Return waves as an ordered categorical, missing where a row has none."""
    codes, levels = pd.factorize(column.to_numpy() if column.dtype == object else column)
    place = {plain_text(label): i for i, label in enumerate(order)}
    rank = np.array([*(place[plain_text(level)] for level in levels), -1])
    return pd.Series(
        pd.Categorical.from_codes(rank[codes], categories=whole_numbers(order), ordered=True), column.index
    )


def cells_of(groups, waves, rows) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the keys of the cells and each row's cell."""
    columns = {name: c for name, c in {"group": groups, "wave": waves}.items() if c is not None}
    cell = np.zeros(len(rows), dtype=np.int64)
    for column in columns.values():
        cell = cell * len(column.cat.categories) + column.cat.codes.to_numpy()[rows]
    if not columns:
        return pd.DataFrame(index=range(1)), cell
    index = pd.MultiIndex.from_product([c.cat.categories.tolist() for c in columns.values()], names=list(columns))
    return index.to_frame(index=False), cell


def _categorical(codes, levels: list, original) -> pd.Categorical:
    """Return codes and levels as a categorical, in the declared order or by `natural_key`."""
    declared = list(original.cat.categories) if isinstance(getattr(original, "dtype", 0), pd.CategoricalDtype) else []
    place = {level: i for i, level in enumerate(declared)}
    order = sorted(
        range(len(levels)),
        key=lambda i: (place.get(levels[i], len(place)), levels[i] in (POOLED, UNSTATED), natural_key(levels[i])),
    )
    rank = np.empty(len(levels) + 1, dtype=np.int64)
    rank[order], rank[-1] = np.arange(len(levels)), -1
    return pd.Categorical.from_codes(rank[codes], categories=whole_numbers([levels[i] for i in order]))


def whole_numbers(levels) -> list:
    """Return levels with 1.0, 2.0 as 1, 2: a gap turns whole numbers into floats."""
    whole = all(isinstance(v, float) and v.is_integer() for v in levels if v not in (POOLED, UNSTATED))
    return [int(v) if whole and isinstance(v, float) else v for v in levels]


def natural_key(value) -> tuple:
    """Return a sorting key under which "Group 2" precedes "Group 10" and numbers precede text."""
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        return (0, float(value), ())
    parts = re.split(r"(\d+)", str(value))
    return (1, 0.0, tuple((0, int(p), "") if p.isdigit() else (1, 0, p.casefold()) for p in parts if p))
