"""Net scores of several cells as one vector with its covariance: the ground of every comparison.

References
----------
Rocks (2016), The American Statistician 70(4); Korn & Graubard (1990), The American Statistician 44 (adjusted F).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch.inference import joint_p_value, total_covariance
from cxresearch.metrics.cells import Sample
from cxresearch.metrics.intervals import PSEUDO, adjusted_moments, code_variance, effective_base

MAX_JOINT = 300  # cells; beyond them a joint test says nothing that anybody acts on


@dataclass(frozen=True)
class ScoreVector:
    """Net scores of k cells on -1...1, adjusted by pseudo-answers."""

    raw: np.ndarray  # (k,) p - d
    centre: np.ndarray  # (k,) after three pseudo-answers
    covariance: np.ndarray  # (k, k) of the centres
    base: np.ndarray  # (k,) effective n
    df: float  # infinite where no design


def score_vector(sample: Sample, codes, units=None) -> ScoreVector:
    """Return the adjusted net scores of a sample's cells and their covariance.

    Variances are those of the adjusted Wald interval on the effective base; covariances between cells, where people or
    clusters answer in several, are linearised and shrunk by n / (n + 3) on either side, as the centres are.

    Parameters
    ----------
    codes : (n,) array
        -1, 0, 1.
    units : SamplingUnits, optional
        Other units than the sample's, such as respondents who answer in several waves.
    """
    p, d = sample.means(codes > 0), sample.means(codes < 0)
    n = sample.n.astype(float)
    units = units or sample.units
    alone = sample.plain and units is sample.units
    linear = np.diag(code_variance(p, d) / np.maximum(n, 1)) if alone else _linear(sample, codes, units)
    base = n if sample.plain else net_base(sample, p, d, np.sqrt(np.diag(linear)))
    centre, variance = adjusted_moments(p, d, base)
    shrink = base / (base + sum(PSEUDO))
    covariance = linear * np.outer(shrink, shrink)
    np.fill_diagonal(covariance, variance)
    df = np.inf if sample.plain else units.df
    return ScoreVector(p - d, centre, covariance, base, df)


def _linear(sample: Sample, codes, units) -> np.ndarray:
    return sample.covariance(codes) if units is sample.units else total_covariance(sample.influence(codes), units)


def net_base(sample: Sample, p, d, std_error) -> np.ndarray:
    """Return the effective n of net scores with linearised errors; clusters never make it exceed the rows."""
    return effective_base(code_variance(p, d), std_error, sample.kish, ceiling=sample.n if sample.clustered else np.inf)


def equal_p_value(centre, covariance, df: float = np.inf, *, blocks: int = 1) -> float:
    """Return the p-value of "all are equal within each of `blocks` equal blocks"; NaN above 300 cells."""
    if len(centre) > MAX_JOINT:
        return np.nan
    each = len(centre) // blocks
    contrast = np.kron(np.eye(blocks), np.eye(each - 1, each, 1) - np.eye(each - 1, each))
    return joint_p_value(contrast @ centre, contrast @ covariance @ contrast.T, df)


def cells_p_value(sample: Sample, codes) -> float:
    """Return the joint p-value of equal net scores over the groups or the waves; NaN for one cell, or for both."""
    if not 2 <= len(sample.keys) <= MAX_JOINT or sample.keys.shape[1] != 1 or (sample.n == 0).any():
        return np.nan
    vector = score_vector(sample, codes)
    return equal_p_value(vector.centre, vector.covariance, vector.df)


def means_p_value(sample: Sample, values) -> float:
    """Return the joint p-value of equal means, as `cells_p_value`."""
    if not 2 <= len(sample.keys) <= MAX_JOINT or sample.keys.shape[1] != 1 or (sample.n < 2).any():
        return np.nan
    return equal_p_value(sample.means(values), sample.covariance(values), sample.units.df)
