"""One estimate for every measure: the weighted mean of codes by cell, its interval, and differences between cells.

A net score is the mean of codes -1, 0, 1, a share that of 0, 1, a mean that of the answers.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.findings import Check
from cxresearch.inference import adjusted_p_values, critical_value, joint_p_value, wilson_interval
from cxresearch.metrics.answers import UNITS

# Answers added to each cell before it is compared, their mean and mean square (3/4 promoter, 3/2 passive, 3/4
# detractor; a share is half of one plus a net score of yes and no).
PSEUDO = {"net": (3.0, 0.0, 0.5), "share": (3.0, 0.5, 0.375), "mean": (0.0, 0.0, 0.0)}
SUPPRESSED, VERY_SMALL, INDICATIVE = 10, 30, 100  # bases under which: not shown; no arrows; indicative
MAX_JOINT = 300  # cells; beyond them a joint test says nothing that anybody acts on
SMALLEST = 1e-300
POWER = 0.8  # of the change that is said to be detectable
KEYS = ("group", "wave_before", "wave", "term", "category", "banner")


def adjusted_moments(mean, square, n, form: str = "net") -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the mean after the pseudo-answers of `form`, from mean and mean square of the codes."""
    added, centre, second = PSEUDO[form]
    mean, square, n = (np.asarray(x, dtype=float) for x in (mean, square, n))
    total = n + added
    adjusted = (mean * n + added * centre) / total
    return adjusted, np.maximum((square * n + added * second) / total - adjusted**2, 0.0) / total


def adjusted_wald_interval(p, d, n, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the adjusted Wald interval of p - d on -1...1, clipped there (Rocks 2016); `n` may be an effective base."""
    centre, variance = adjusted_moments(np.subtract(p, d), np.add(p, d), n)
    half = critical_value(confidence) * np.sqrt(variance)
    return np.maximum(centre - half, -1.0), np.minimum(centre + half, 1.0)


def precision(sample, codes, form: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return variance of one code, error of the mean and effective base by cell, (k,) each.

    The effective base is variance / error^2, the simple sample that would be as precise; Kish's where all answer alike;
    never above the rows with clusters, whose error may come out too small by chance.
    """
    n, mean = sample.n.astype(float), np.nan_to_num(sample.means(codes))
    variance = np.nan_to_num(sample.means((codes - mean[sample.cell]) ** 2), nan=np.nan)
    variance = np.where(variance <= digits.RESIDUE * (1 + mean**2), 0.0, variance)
    with np.errstate(invalid="ignore", divide="ignore"):
        if sample.plain:
            return variance, np.sqrt(variance / (n - (form == "mean"))), n
        error = np.sqrt(sample.variance(codes))
        known = (error > 0) & (variance > 0) & np.isfinite(error)
        base = np.divide(variance, np.square(error), out=np.array(sample.kish, dtype=float), where=known)
        return variance, error, np.minimum(base, n if sample.clustered else np.inf)


def wholly_sampled(sample) -> np.ndarray:
    """Return which cells are of strata asked to the last person, (k,): nothing of them is left to chance."""
    if (sample.units.factor > 0).all():
        return np.zeros(len(sample.keys), dtype=bool)
    chance = sample.units.factor[sample.units.stratum_of_psu[sample.unit_of_row]]
    return (sample.n > 0) & (np.bincount(sample.cell, chance, minlength=len(sample.keys)) == 0)


def cell_estimates(sample, codes, form: str, confidence: float) -> pd.DataFrame:
    """Return estimate, error, interval and bases by cell; net scores in points.

    With a design the intervals stand on the effective base times (z / t)^2, t on units less strata; where all were asked
    they have no width.
    """
    mean, square = sample.means(codes), sample.means(codes**2)
    _, error, base = precision(sample, codes, form)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = stats.t.ppf((1 + confidence) / 2, np.maximum(sample.df, 1.0))
        enough = base if sample.plain else base * np.square(critical_value(confidence) / t)
        if form == "mean":
            half = np.where(sample.df > 0, t, np.nan) * error
            low, high = mean - half, mean + half
        elif form == "share":
            low, high = wilson_interval(mean, enough, confidence)
        else:
            low, high = adjusted_wald_interval((square + mean) / 2, (square - mean) / 2, enough, confidence)
    whole = wholly_sampled(sample)
    low, high = (np.where(whole, mean, end) for end in (low, high))
    values = UNITS[form].factor * np.column_stack([mean, error, low, high])
    table = pd.DataFrame(values, columns=["estimate", "std_error", "conf_low", "conf_high"])
    return table.assign(n=sample.n, n_effective=base)


def p_value(estimate, error, df=np.inf) -> np.ndarray:
    """Return the two-sided p-value of "the estimate is zero", by t; without an error it is known whether it is."""
    with np.errstate(invalid="ignore", divide="ignore"):
        tested = 2 * stats.t.sf(np.abs(estimate) / error, df)
    return np.where(np.equal(error, 0), np.abs(estimate) <= digits.RESIDUE, tested)


def columns_of_estimate(estimate, error, half, *, centre=None, scale=1, least=-np.inf, most=np.inf) -> dict:
    """Return an estimate, its error and its interval, `half` around `centre` and cut at `least` and `most`, as columns."""
    centre = estimate if centre is None else centre
    low, high = np.maximum(centre - half, least), np.minimum(centre + half, most)
    found = {"estimate": estimate, "std_error": error, "conf_low": low, "conf_high": high}
    return {name: scale * value for name, value in found.items()}


def base_words(n, n_effective) -> np.ndarray:
    """Return what each base allows, by the smaller of n and effective n, (k,)."""
    smaller = np.fmin(np.asarray(n, dtype=float), np.asarray(n_effective, dtype=float))
    bins = np.digitize(np.nan_to_num(smaller), [SUPPRESSED, VERY_SMALL, INDICATIVE])
    return np.array(["suppressed", "very small", "indicative", "enough"], dtype=object)[bins]


def hide(table: pd.DataFrame, hidden) -> pd.DataFrame:
    """Return `table` with every value of the hidden rows missing, the base too."""
    hidden = np.asarray(hidden, dtype=bool)
    return table.assign(**{c: table[c].mask(hidden) for c in table if c not in KEYS and hidden.any()})


def base_checks(table: pd.DataFrame, sample) -> list[Check]:
    """Return the checks on the bases of cells."""
    small = int((table["base"][~sample.hidden] == "suppressed").sum())
    checks = [Check(f"cells under the smallest base of {SUPPRESSED}", small, "0", small == 0)]
    if sample.min_base > 1:
        hidden = int(sample.hidden.sum())
        checks.append(Check("cells hidden by the minimum base", hidden, "0", hidden == 0))
    if len(table) > 1:
        empty = int((table["n"] == 0).sum())
        checks.append(Check("empty cells", empty, "0", empty == 0))
    return checks


@dataclass(frozen=True)
class Vector:
    """The means of k cells with the covariance of their adjusted values: the ground of every comparison."""

    raw: np.ndarray  # (k,)
    centre: np.ndarray  # (k,) after the pseudo-answers
    covariance: np.ndarray  # (k, k) of the centres
    base: np.ndarray  # (k,) effective n
    df: float  # infinite where no design

    def less(self, i, j) -> pd.DataFrame:
        """Return cells `i` less cells `j`, (q,) each, and what the tests of their differences stand on; see `decided`."""
        variance = np.diag(self.covariance)[i] + np.diag(self.covariance)[j] - 2 * self.covariance[i, j]
        found = {"estimate": self.raw[i] - self.raw[j], "std_error": np.sqrt(np.maximum(variance, 0.0))}
        found |= {"centre": self.centre[i] - self.centre[j], "df": max(self.df, 1.0)}
        return pd.DataFrame(found | {"tail": self.base[i] + self.base[j] - 2})

    def equal_p_value(self, cells=None, *, blocks: int = 1) -> float:
        """Return the p-value of "all are equal within each of `blocks` equal blocks"; NaN above 300 cells."""
        cells = np.arange(len(self.raw)) if cells is None else cells
        if not 2 <= len(cells) <= MAX_JOINT:
            return np.nan
        each = len(cells) // blocks
        contrast = np.kron(np.eye(blocks), np.eye(each - 1, each, 1) - np.eye(each - 1, each))
        covariance = self.covariance[np.ix_(cells, cells)]
        return joint_p_value(contrast @ self.centre[cells], contrast @ covariance @ contrast.T, self.df)


def vector(sample, codes, form: str, together=None) -> Vector:
    """Return the adjusted means of a sample's cells and their covariance.

    Variances are those of the adjusted Wald interval on the effective base; covariances between cells, where people or
    clusters answer in several, are linearised and shrunk by n / (n + 3) on either side, as the centres are. `together` has
    the same rows with other units, such as respondents who answer in several waves.
    """
    _, error, base = precision(sample, codes, form)
    together = sample if together is None else together
    linear = np.diag(error**2) if sample.plain and together is sample else together.covariance(codes)
    mean = sample.means(codes)
    df = together.units.df if form == "mean" or not sample.plain else np.inf
    if form == "mean":
        return Vector(mean, mean, linear, base, df)
    centre, variance = adjusted_moments(mean, sample.means(codes**2), base, form)
    whole = wholly_sampled(sample)
    centre, variance = np.where(whole, mean, centre), np.where(whole, 0.0, variance)
    shrink = np.where(whole, 1.0, base / (base + PSEUDO[form][0]))
    covariance = linear * np.outer(shrink, shrink)
    np.fill_diagonal(covariance, variance)
    return Vector(mean, centre, covariance, base, df)


def decided(table: pd.DataFrame, *, correction: str, confidence: float, units=UNITS["mean"]) -> pd.DataFrame:
    """Return differences with interval, p-values and what could have been detected, all of one correction.

    The interval leaves out no difference exactly where the corrected p is below 1 - confidence: its level is
    1 - alpha / (corrected p / p), and that of the whole family where the corrected p reaches 1. ``"bonferroni"``
    corrects all by the size of the family: the intervals then hold together. `table` has ``centre`` (what the interval
    is drawn around), ``std_error``, ``df``, ``tail`` (degrees of freedom in a family, which asks for the far tail, where
    the normal is too thin on small bases) and ``eligible``, in codes of `units`.
    """
    centre, error, df, tail, eligible = (table[c].to_numpy() for c in ("centre", "std_error", "df", "tail", "eligible"))
    family = int(np.sum(eligible))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(error > 0, np.abs(centre / error), np.where(centre == 0, 0.0, np.inf))
    alone = correction == "none" or family <= 1
    tail = df if alone else np.minimum(df, np.maximum(tail, 1))
    ground = np.maximum(2 * stats.t.sf(z, tail), SMALLEST)
    asked, simultaneous = np.where(eligible, ground, np.nan), correction == "bonferroni"
    adjusted = np.minimum(asked * family, 1) if simultaneous else adjusted_p_values(asked, correction=correction)
    times = np.where(eligible & (not alone), np.where(adjusted < 1, adjusted / ground, family), 1.0)
    half = stats.t.isf((1 - confidence) / (2 * times), tail) * error
    most = units.most - units.least
    found = columns_of_estimate(centre, error, half, scale=units.factor, least=-most, most=most)
    found |= {"estimate": table["estimate"], "detectable": units.factor * (half + stats.norm.ppf(POWER) * error)}
    found |= {"p_value": 2 * stats.t.sf(z, df), "p_adjusted": adjusted}
    return table.drop(columns=["centre", "df", "tail", "eligible"]).assign(**found)
