"""Bootstrap weights of a survey design, and what is read from the draws: intervals, ranks, ties.

References
----------
Rao & Wu (1988), JASA 83, 231 (rescaled bootstrap); Efron & Tibshirani (1993), ch. 14 (BCa).
"""

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.inference import bca_interval, bootstrap_counts, percentile_interval

CELLS = 1 << 23  # of the weight matrix held at once


def replicate_weights(weights: np.ndarray, *, n_boot: int, rng, strata=None, cluster=None, fpc=None) -> np.ndarray:
    """Return (n_boot, n) weights of bootstrap replicates, times the survey's weights.

    A simple sample is drawn with replacement. With strata, clusters or sampling fractions f, n_h - 1 of a stratum's
    n_h clusters are drawn and their counts r rescaled to 1 + sqrt(1 - f) (r n_h / (n_h - 1) - 1), which no few
    clusters bias and which is never negative (Rao & Wu 1988). A stratum with one cluster does not vary.
    """
    n = len(weights)
    if strata is None and cluster is None and fpc is None:
        return bootstrap_counts(n, n_boot=n_boot, rng=rng) * weights
    stratum, unit = design_units(n, strata, cluster)
    fraction = np.zeros(n) if fpc is None else np.asarray(fpc, dtype=float)
    multipliers = np.ones((n_boot, n))
    for h in np.unique(stratum):
        rows = np.flatnonzero(stratum == h)
        units, of_row = np.unique(unit[rows], return_inverse=True)
        size = len(units)
        if size > 1:
            drawn = rng.multinomial(size - 1, np.full(size, 1 / size), size=n_boot) * (size / (size - 1))
            multipliers[:, rows] += np.sqrt(1 - fraction[rows[0]]) * (drawn[:, of_row] - 1)
    return multipliers * weights


def weight_batches(weights: np.ndarray, *, n_boot: int, seed, strata=None, cluster=None, fpc=None):
    """Yield the rows of `replicate_weights` a bounded number at a time."""
    design = dict(strata=strata, cluster=cluster, fpc=fpc)
    rng, at_once = np.random.default_rng(seed), max(50, CELLS // max(len(weights), 1))
    for start in range(0, n_boot, at_once):
        yield replicate_weights(weights, n_boot=min(at_once, n_boot - start), rng=rng, **design)


def design_units(n: int, strata, cluster) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each row's stratum and of its cluster within all strata, clusters numbered as they come."""
    stratum = np.zeros(n, dtype=int) if strata is None else np.unique(strata, return_inverse=True)[1]
    unit = np.arange(n) if cluster is None else pd.factorize(np.asarray(cluster), use_na_sentinel=False)[0]
    return stratum, np.unique(stratum * (unit.max() + 1) + unit, return_inverse=True)[1]


def deleted_weights(weights: np.ndarray, *, strata=None, cluster=None, most: int = 200) -> np.ndarray:
    """Return (groups, n) weights with one group of rows (of clusters) deleted each, at most `most` groups."""
    unit = design_units(len(weights), strata, cluster)[1]
    group = unit % min(most, unit.max() + 1)
    return weights * (group[None, :] != np.arange(group.max() + 1)[:, None])


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, 1 for the largest, along the last axis; of equal values the earlier one comes first."""
    order = np.argsort(-digits.settled(values), axis=-1, kind="stable")
    out = np.empty(order.shape, dtype=int)
    np.put_along_axis(out, order, np.broadcast_to(np.arange(1, values.shape[-1] + 1), order.shape), axis=-1)
    return out


def rank_probabilities(draws: np.ndarray) -> np.ndarray:
    """Return (p, p): in which share of the draws (B, p) term i holds rank k + 1."""
    p = draws.shape[1]
    drawn = ranks(draws)
    return np.stack([np.mean(drawn == k, axis=0) for k in range(1, p + 1)], axis=1)


def simultaneous_differences(estimate, draws, confidence: float):
    """Return first, second, difference, low, high of all pairs, with intervals that hold together.

    The half-width is the bootstrap standard error times one critical value for all pairs: the quantile of the
    largest |draw - estimate| / standard error. If all terms were equally important, some pair would be called
    different with probability 1 - confidence at most, however many pairs there are.
    """
    first, second = np.triu_indices(len(estimate), 1)
    difference = estimate[first] - estimate[second]
    drawn = draws[:, first] - draws[:, second]
    error = drawn.std(axis=0, ddof=1)
    centred = np.abs(drawn - drawn.mean(axis=0))
    largest = np.divide(centred, error, out=np.zeros_like(centred), where=error > 1e-12).max(axis=1)
    half = np.quantile(largest, confidence) * error
    return first, second, difference, difference - half, difference + half


def could_be_first(estimate, draws, confidence: float) -> np.ndarray:
    """Return which terms cannot be excluded as the largest: with `confidence` the truly largest is among them.

    Term i is excluded when the largest estimate exceeds its own by more than the quantile of the largest of its
    p - 1 standardised differences, drawn by bootstrap (multiple comparisons with the best; Hsu 1981, Annals of
    Statistics 9, 1026).
    """
    ahead = np.ones(len(estimate), dtype=bool)
    for i in range(len(estimate)):
        drawn = np.delete(draws, i, axis=1) - draws[:, [i]]
        error = np.maximum(drawn.std(axis=0, ddof=1), 1e-12)
        limit = np.quantile(((drawn - drawn.mean(axis=0)) / error).max(axis=1), confidence)
        ahead[i] = np.max((np.delete(estimate, i) - estimate[i]) / error) <= limit
    return ahead


def share_draws(draws: np.ndarray) -> np.ndarray:
    """Return each row of parts (B, p) divided by its sum."""
    total = draws.sum(axis=1, keepdims=True)
    return np.divide(draws, total, out=np.full_like(draws, np.nan), where=total > 0)


def ends(estimate, draws, deleted, confidence: float, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile or BCa ends per column of `draws`."""
    return (
        percentile_interval(draws, confidence)
        if kind == "percentile"
        else bca_interval(estimate, draws, deleted, confidence)
    )
