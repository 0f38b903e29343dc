"""The sample of one analysis: its rows, weights, cells and sampling units, their covariance, and the one resampler.

Pulls of rows are totalled per unit; a stratum with one unit is centred on zero (R's `survey::svymean`). Kish (1965),
*Survey Sampling*; Saerndal, Swensson & Wretman (1992), *Model Assisted Survey Sampling*; Rao & Wu (1988), JASA 83.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from cxresearch.errors import plain_text
from cxresearch.findings import Check, say
from cxresearch.privacy import POOLED, pool_small_groups

UNSTATED = "not stated"
STILL_MET = 0.02  # a few missing answers leave the margins calibrated; a filter does not
HELD, NEAR = 1 << 23, 1 << 15  # cells of the replicate weights held at once; of them that stay in a core's cache


def kish_effective_n(weights: np.ndarray) -> float:
    """Return (sum w)^2 / sum w^2: what unequal weights alone leave of n (Kish 1965)."""
    total = np.sum(np.square(weights))
    return float(np.square(np.sum(weights)) / total) if total > 0 else 0.0


def indicator(code: np.ndarray, k: int) -> sparse.csr_array:
    """Return the (k, n) matrix that adds up rows by their code."""
    return sparse.csr_array((np.ones(len(code)), (code, np.arange(len(code)))), shape=(k, len(code)))


def dense(matrix) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else matrix


class SamplingUnits(NamedTuple):
    """Which rows were drawn together, and from which stratum."""

    psu_of_row: np.ndarray | None  # (n,); None where every row is its own unit
    stratum_of_psu: np.ndarray  # (m,)
    size: np.ndarray  # (H,) units in each stratum
    factor: np.ndarray  # (H,) (1 - f) m / (m - 1)
    df = property(lambda self: float(len(self.stratum_of_psu) - len(self.size)))


def sampling_units(n: int, *, strata=None, cluster=None, fpc=None) -> SamplingUnits:
    """Return the first-stage units of a design; clusters are nested in strata, `fpc` is a fraction (0-1)."""
    stratum = np.zeros(n, dtype=np.int64) if strata is None else pd.factorize(strata)[0]
    psu_of_row, stratum_of_psu = None, stratum
    if cluster is not None:  # a name used in two strata is two clusters
        unit, names = pd.factorize(cluster)
        psu_of_row, pairs = pd.factorize(stratum * len(names) + unit)
        stratum_of_psu = pairs // len(names)
    size = np.bincount(stratum_of_psu)
    kept = np.ones(len(size))
    if fpc is not None:
        fraction = np.asarray(fpc, dtype=float)
        say.refuse_if(not np.all((fraction >= 0) & (fraction <= 1)), "fractions")
        kept[stratum[::-1]] = 1 - fraction[::-1]
    return SamplingUnits(psu_of_row, stratum_of_psu, size, kept * np.where(size > 1, size / np.maximum(size - 1, 1), 1))


def total_covariance(influence, units: SamplingUnits, *, diagonal: bool = False) -> np.ndarray:
    """Return the covariance (k, k) of the column sums of `influence`, (n, k) dense or sparse, or its `diagonal` (k,)."""
    m, h = len(units.stratum_of_psu), len(units.size)
    totals = influence if units.psu_of_row is None else indicator(units.psu_of_row, m) @ influence
    centre, factor = dense(indicator(units.stratum_of_psu, h) @ totals), units.factor[units.stratum_of_psu]
    pull = units.factor / units.size * (units.size > 1)
    if diagonal:
        return np.maximum(factor @ (totals * totals) - pull @ centre**2, 0.0)
    return dense(totals.T @ (sparse.diags_array(factor) @ totals)) - centre.T @ (centre * pull[:, None])


def raked_on(table: pd.DataFrame, weight: str | None) -> tuple[str, ...]:
    """Return the margins that `weight` was raked on (see `Raking.augment`), none where a part of the rows no longer meets
    them: there the weights count as fixed.
    """
    goals = table.attrs.get("raked", {}).get(weight, {})
    if not goals.keys() <= {*table}:
        return ()
    held = {m: table[weight].groupby(table[m].to_numpy()).sum() / table[weight].sum() for m in goals}
    apart = (abs(held[m].get(level, 0) - share) for m, goal in goals.items() for level, share in goal.items())
    return () if any(gap >= STILL_MET for gap in apart) else tuple(goals)


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
    margins: tuple[np.ndarray, ...] = ()  # codes of the columns the weight was raked on, of the rows of the units
    margin_weights: np.ndarray | None = None
    checks: tuple[Check, ...] = ()
    closed: Callable | None = None  # says of a sample which cells the survey hides: under the floor, or to be computed

    def __len__(self) -> int:
        return len(self.rows)

    n = cached_property(lambda self: np.bincount(self.cell, minlength=len(self.keys)))  # rows, (k,)
    base = cached_property(lambda self: self.n if self.persons is None else self._distinct(self.persons))  # persons
    totals = cached_property(lambda self: self.sums(1.0))  # of the weights, (k,)
    hidden = cached_property(lambda self: self.closed(self) if self.closed else np.zeros(len(self.keys), bool))
    clustered = property(lambda self: self.units.psu_of_row is not None)
    _simple = property(lambda self: not self.clustered and len(self.units.size) == 1 and not self.margins)
    n_effective = property(lambda self: kish_effective_n(self.weights))  # of all rows

    def _distinct(self, code) -> np.ndarray:
        return distinct(self.cell, code, len(self.keys))

    @cached_property
    def kish(self) -> np.ndarray:
        """(sum w)^2 / sum w^2: planning and fallback only, not the real design effect."""
        with np.errstate(invalid="ignore"):
            return self.totals**2 / self.sums(self.weights)

    @cached_property
    def unit_of_row(self) -> np.ndarray:
        """Number of each row's first-stage unit, (n,)."""
        place = np.arange(len(self)) if self.place is None else self.place
        return self.units.psu_of_row[place] if self.clustered else place

    @cached_property
    def df(self) -> np.ndarray:
        """Units less strata met."""
        stratum = self.units.stratum_of_psu[self.unit_of_row]
        return (self._distinct(self.unit_of_row) - self._distinct(stratum)).astype(float)

    def pooled(self) -> "Sample":
        """Return the same rows as one cell."""
        return replace(self, cell=np.zeros_like(self.cell), keys=pd.DataFrame(index=range(1)), closed=None)

    def sums(self, values) -> np.ndarray:
        """Return weighted sums, (k,)."""
        return np.bincount(self.cell, self.weights * values, minlength=len(self.keys))

    def means(self, values) -> np.ndarray:
        """Return weighted means, (k,); NaN where a cell is empty."""
        with np.errstate(invalid="ignore"):
            return self.sums(values) / self.totals

    def _pull(self, values) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return self.weights * (values - self.means(values)[self.cell]) / self.totals[self.cell]

    def variance(self, values) -> np.ndarray:
        """Return the linearised variances of the means, (k,)."""
        m, k = len(self.units.stratum_of_psu), len(self.keys)
        if self._simple:  # pulls of a cell add up to zero and cells share no unit: a tenth of the time
            return self.units.factor[0] * np.bincount(self.cell, self._pull(values) ** 2, minlength=k)
        if self.margins or m * k > HELD:
            return self.covariance_of(self.influence(values), diagonal=True)
        # counting by unit and cell: half the time of a sparse product
        totals = np.bincount(self.unit_of_row * k + self.cell, self._pull(values), minlength=m * k).reshape(m, k)
        return total_covariance(totals, self.units._replace(psu_of_row=None), diagonal=True)

    def covariance(self, values) -> np.ndarray:
        """Return the linearised covariance of the means, (k, k)."""
        return np.diag(self.variance(values)) if self._simple else self.covariance_of(self.influence(values))

    def influence(self, values):
        """Return each answer's pull on the mean of its cell, w (v - mean) / W, (n, k) sparse."""
        at = (self._pull(values), self.cell, np.arange(len(self) + 1))
        return sparse.csr_array(at, shape=(len(self), len(self.keys)))

    def covariance_of(self, influence, *, diagonal: bool = False) -> np.ndarray:
        """Return the design's covariance (q, q) of estimates from the influence (n, q) of their rows, dense or sparse."""
        units, w = self.units, self.margin_weights
        if self.margins:  # after calibration errors are those of residuals: Deville & Saerndal (1992), JASA 87
            whole = influence if self.place is None else indicator(self.place, len(w)) @ influence
            design = sparse.vstack([indicator(code, int(code.max()) + 1) for code in self.margins]).tocsr()
            cross = dense(design @ (sparse.diags_array(w) @ design.T))
            beta = np.linalg.pinv(cross, hermitian=True) @ dense(design @ whole)
            influence = dense(whole) - w[:, None] * (design.T @ beta)
        elif self.place is not None:  # rows outside a domain have no influence, but their units stay
            units = units._replace(psu_of_row=self.unit_of_row)
        return total_covariance(influence, units, diagonal=diagonal)

    def replicates(self, n_boot: int, *, seed) -> Iterator[np.ndarray]:
        """Yield the weights of bootstrap replicates, (b, n) at a time, `n_boot` in all: of a stratum's m units m - 1 are
        drawn, counts r become 1 + sqrt(1 - f) (r m / (m - 1) - 1), f being the sampling fraction (Rao & Wu 1988).
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
    """Yield how often each of `m` units is drawn in `size` draws, some of `n_boot` rows at a time, and the first's place."""
    together = max(1, NEAR // m)  # a multinomial, by counting integers near the core: memory is what takes the time
    for start in range(0, n_boot, together):
        rows = min(together, n_boot - start)
        drawn = rng.integers(0, m, size=(rows, size), dtype=np.uint32)
        places = drawn + (np.arange(rows, dtype=np.int64) * m)[:, None]
        yield start, np.bincount(places.ravel(), minlength=rows * m).reshape(rows, m)


def distinct(cell, code, k) -> np.ndarray:
    """Return how many distinct codes each of k cells holds."""
    most = int(code.max(initial=-1)) + 1
    pairs = pd.unique(cell.astype(np.int64) * most + code)
    return np.bincount(pairs // most, minlength=k)


def groups_of(table: pd.DataFrame, by, *, min_base: int, persons) -> pd.Series:
    """Return the groups of one column or of several as a categorical: missing ones named; pooled those with fewer
    distinct persons than the floor, on the whole table, before rows without an answer leave.
    """
    columns = [_levels(table[column]) for column in ([by] if isinstance(by, str) else by)]
    codes, levels, declared = columns[0]
    if len(columns) > 1:
        names = [np.array([*map(str, its)], dtype=object)[at] for at, its, _ in columns]
        codes, levels = pd.factorize(np.array([", ".join(row) for row in zip(*names)], dtype=object))
        declared = ()
    base = np.bincount(codes) if persons is None else distinct(codes, persons, len(levels))
    if base.min() < min_base:
        each = pd.Series(levels, dtype=object).repeat(base)
        shown = dict(zip(each, pool_small_groups(each, min_base=min_base)))
        codes, levels = pd.factorize(np.array([shown.get(level, level) for level in levels], dtype=object)[codes])
    place = {level: i for i, level in enumerate(declared)}
    keys = [(place.get(v, len(place)), v in (POOLED, UNSTATED), natural_key(v)) for v in levels]
    order = sorted(range(len(levels)), key=keys.__getitem__)
    return _categorical(np.argsort(order)[codes], [levels[i] for i in order], table.index)


def _levels(column: pd.Series) -> tuple[np.ndarray, list, tuple]:
    """Return code by row, levels, texts that are one when normalised being one, and the order of a categorical."""
    codes, levels = pd.factorize(column.to_numpy() if column.dtype == object else column)
    levels = [plain_text(level) if isinstance(level, str) else level for level in levels]
    levels += [UNSTATED] * bool((codes < 0).any())  # the last one, which a code of -1 names
    merged, levels = pd.factorize(pd.Series(levels, dtype=object))
    return merged[codes], list(levels), tuple(getattr(column.dtype, "categories", ()))


def waves_of(column: pd.Series, order) -> pd.Series:
    """Return waves as an ordered categorical, missing where a row has none."""
    codes, levels = pd.factorize(column.to_numpy() if column.dtype == object else column)
    place = {plain_text(label): i for i, label in enumerate(order)}
    rank = np.array([*(place[plain_text(level)] for level in levels), -1])
    return _categorical(rank[codes], order, column.index, ordered=True)


def _categorical(codes, levels, index, *, ordered: bool = False) -> pd.Series:
    """Return a categorical; levels 1.0, 2.0 are 1, 2: a gap turns whole numbers into floats."""
    whole = all(isinstance(v, float) and v.is_integer() for v in levels if v not in (POOLED, UNSTATED))
    levels = [int(v) if whole and isinstance(v, float) else v for v in levels]
    return pd.Series(pd.Categorical.from_codes(codes, levels, ordered=ordered), index)


def natural_key(value) -> tuple:
    """Return a sorting key under which "Group 2" precedes "Group 10" and numbers precede text."""
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        return (0, float(value), ())
    parts = filter(None, re.split(r"(\d+)", str(value)))
    return (1, 0.0, tuple((0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in parts))
