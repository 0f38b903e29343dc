"""The sample of one analysis: its rows, weights, cells and sampling units, their covariance, and the one resampler.

Pulls of rows are totalled per unit; a stratum with one unit is centred on zero (R's `survey::svymean`). Kish (1965),
*Survey Sampling*; Saerndal, Swensson & Wretman (1992), *Model Assisted Survey Sampling*; Rao & Wu (1988), JASA 83.
"""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
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
YEAR = r"(?:19|20)\d\d"


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
    """Return the margins that `weight` was raked on (see `Raking.augment`); none, where the rows no longer meet them."""
    goals = table.attrs.get("raked", {}).get(weight, {})
    if not goals.keys() <= {*table}:
        return ()
    held = {m: table[weight].groupby(table[m].to_numpy()).sum() / table[weight].sum() for m in goals}
    apart = (abs(held[m].get(level, 0) - share) for m, goal in goals.items() for level, share in goal.items())
    return () if any(gap >= STILL_MET for gap in apart) else tuple(goals)


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows that answer one question, and the cells (group, wave) they fall in; of (n,) values it tells (k,) of cells."""

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
    base = cached_property(lambda self: distinct(self.cell, self.persons, len(self.keys)))  # persons
    totals = cached_property(lambda self: self.sums(1.0))  # of the weights, (k,)
    hidden = cached_property(lambda self: self.closed(self) if self.closed else np.zeros(len(self.keys), bool))
    clustered = property(lambda self: self.units.psu_of_row is not None)
    _simple = property(lambda self: not self.clustered and len(self.units.size) == 1 and not self.margins)
    n_effective = property(lambda self: kish_effective_n(self.weights))  # of all rows
    kish = cached_property(lambda self: self.totals / self.means(self.weights))  # of each cell, (k,): a fallback only

    @cached_property
    def unit_of_row(self) -> np.ndarray:
        place = np.arange(len(self)) if self.place is None else self.place
        return self.units.psu_of_row[place] if self.clustered else place

    @cached_property
    def df(self) -> np.ndarray:
        """Units less strata met."""
        unit, k = self.unit_of_row, len(self.keys)
        return (distinct(self.cell, unit, k) - distinct(self.cell, self.units.stratum_of_psu[unit], k)).astype(float)

    def pooled(self) -> "Sample":
        """Return the same rows as one cell."""
        return replace(self, cell=np.zeros_like(self.cell), keys=pd.DataFrame(index=range(1)), closed=None)

    def sums(self, values) -> np.ndarray:
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
    """Return how many distinct codes each of k cells holds; its rows, where there is no code."""
    if code is None:
        return np.bincount(cell, minlength=k)
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
        names, declared = [np.array([*map(str, its)], dtype=object)[at] for at, its, _ in columns], ()
        codes, levels = pd.factorize(np.array([", ".join(row) for row in zip(*names)], dtype=object))
    base = distinct(codes, persons, len(levels))
    if base.min() < min_base:
        each = pd.Series(levels, dtype=object).repeat(base)
        shown = dict(zip(each, pool_small_groups(each, min_base=min_base)))
        codes, levels = pd.factorize(np.array([shown.get(level, level) for level in levels], dtype=object)[codes])
    place = {level: i for i, level in enumerate(dict.fromkeys(declared))}
    keys = [(place.get(v, len(place)), v in (POOLED, UNSTATED), natural_key(v)) for v in levels]
    order = sorted(range(len(levels)), key=keys.__getitem__)
    return _categorical(np.argsort(order)[codes], [levels[i] for i in order], table.index)


def _levels(column: pd.Series) -> tuple[np.ndarray, list, tuple]:
    """Return code by row, levels, texts that are one when normalised being one, and the order of a categorical."""
    codes, levels = pd.factorize(column.to_numpy() if column.dtype == object else column)
    both = levels, getattr(column.dtype, "categories", ())
    plain, declared = ([plain_text(v) if isinstance(v, str) else v for v in its] for its in both)
    plain += [UNSTATED] * bool((codes < 0).any())  # the last one, which a code of -1 names
    merged, levels = pd.factorize(pd.Series(plain, dtype=object))
    return merged[codes], list(levels), declared


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


def _words(text: object) -> list[str]:
    """Return words and numbers without capitals and accents: styczeń, STYCZEN and й as one sign or two are the same."""
    plain = re.sub(r"(\.0| 00:00:00)$", "", plain_text(text).casefold().replace("ł", "l"))
    folded = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    folded = re.sub(rf"^({YEAR})[-./](\d\d?)(?:[-./]\d\d?)?$", r"\1 m \2", folded)  # a date: its year and month
    folded = re.sub(rf"^(?:\d\d?[-./])?(\d\d?)[-./]({YEAR})$", r"\2 m \1", folded)
    return re.findall(r"[^\W\d_]+|\d+", folded)


KNOWN = {  # word -> its kind and value
    word: (kind, int(value))
    for kind, entries in tomllib.loads(Path(__file__).with_name("waves.toml").read_text(encoding="utf-8")).items()
    for value, words in entries.items()
    for word in _words(words)
}


def _span(words: Sequence[str]) -> tuple[set | None, int, int] | None:
    """Return (None, first month since year 0, months) that words name, or (unit, number, 1) without a year; None if none."""
    numbers = {w: ("years" if re.fullmatch(YEAR, w) else "numbers", int(w)) for w in words if w.isdecimal()}
    pairs = sorted((numbers | KNOWN).get(word, ("unknown", 0)) for word in words)
    units = sorted({pair for pair in pairs if pair[0] == "units"})
    match [pair for pair in pairs if pair[0] not in ("units", "fillers")] + units:
        case [("years", year)]:
            return None, 12 * year, 12
        case [("months", month), ("years", year)]:
            return None, 12 * year + month - 1, 1
        case [("numbers", nth), ("years", year), ("units", length)] if 1 <= nth <= 12 // length:
            return None, 12 * year + length * (nth - 1), length
        case [("numbers", nth), *rest] if rest == units:
            return {length for _, length in units}, nth, 1


def _time_of_labels(labels: Sequence[object]) -> list[float] | None:
    """Return one number a label that orders them in time; None where they do not say it."""
    words = [_words(label) for label in labels]  # "NPS Q1 2024" says its time as "Q1 2024" does
    common = {w for w in set.intersection(*map(set, words)) if w not in KNOWN and not w.isdigit()}
    spans = [_span([w for w in label if w not in common]) for label in words]
    if None in spans or any(span[0] != spans[0][0] for span in spans):
        return None
    ordered = sorted(span[1:] for span in spans)
    apart = all(a + n <= b for (a, n), (b, _) in zip(ordered, ordered[1:]))
    return [float(start) for _, start, _ in spans] if apart else None


def wave_order(waves: pd.Series, *, declared=None, dates: pd.Series | None = None, sources: Sequence = ()) -> tuple:
    """Return the labels of `waves` in the order of time: as `declared`; else as an ordered Categorical, the median days of
    their `dates` and the labels themselves say, which must agree; else as `sources`, the files of a study; else refused.
    """
    column, sorts = waves.name, isinstance(waves.dtype, pd.CategoricalDtype)
    labels = list(waves.cat.remove_unused_categories().cat.categories if sorts else waves.dropna().unique())
    present = set(map(plain_text, labels))
    if declared is not None:
        known, listed = set(map(plain_text, declared)), _listed(declared)
        say.refuse_if(len(known) < len(list(declared)), "wave_twice", labels=listed)
        absent = [label for label in labels if plain_text(label) not in known]
        say.refuse_if(absent, "wave_left_out", column=column, absent=_listed(absent), labels=listed)
        strange = [label for label in declared if plain_text(label) not in present]
        say.refuse_if(strange, "wave_unknown", strange=_listed(strange), column=column, labels=_listed(labels))
    elif len(labels) > 1:
        spoken = {"the order of the categories": range(len(labels)) if getattr(waves.dtype, "ordered", False) else None}
        if dates is not None:
            days = pd.to_datetime(dates, errors="coerce", utc=True).groupby(waves.to_numpy()).median().reindex(labels)
            # a wave without a date, or two that share their median, leave the dates silent
            spoken["the dates of the answers"] = None if days.isna().any() or days.duplicated().any() else days
        spoken["the labels"] = _time_of_labels(labels)
        orders = {who: tuple(labels[i] for i in np.argsort(at)) for who, at in spoken.items() if at is not None}
        said = "; ".join(f"{who}: {_listed(order)}" for who, order in orders.items())
        say.refuse_if(len({*orders.values()}) > 1, "contradicted", column=column, said=said)
        silent = not orders and not set(map(plain_text, sources)) >= present
        say.refuse_if(silent, "unordered", column=column, labels=_listed(sorted(labels, key=str)))
        declared = next(iter(orders.values()), sources)
    place = [plain_text(label) for label in declared or labels]
    return tuple(sorted(labels, key=lambda label: place.index(plain_text(label))))


def _listed(labels) -> str:
    shown = [str(label) for label in labels]
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")
