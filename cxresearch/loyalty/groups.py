"""Revenue of each loyalty group as it is: mean, median, share without any.

References
----------
Efron (1987), JASA 82:171-185 (BCa).
"""

import numpy as np
import pandas as pd

from cxresearch.findings import describe_columns
from cxresearch.inference import bca_interval, bootstrap_counts, critical_value, survey_mean
from cxresearch.loyalty.design import Sample
from cxresearch.privacy import hide_cells, largest_share, pool_small_groups

REPLICATES = 2000
LARGE_GROUP = 20_000  # customers beyond which the t interval is as good and the bootstrap only slow

describe_columns(
    median=("Median", "half of the customers (by weight) lie at or under it", 2),
    zeros=("Without revenue", "share of customers whose revenue is 0 (0-1)", 3),
)


def revenue_by_group(s: Sample, *, confidence: float, min_base: int, seed: int | None) -> pd.DataFrame:
    """Return group, n, estimate (mean money), conf_low, conf_high, median, zeros, largest_share; lowest group first.

    With a seed the interval is the bootstrap's (BCa, 2,000 resamples of customers or clusters), without one it is
    the linearised t interval (as in groups over 20,000). Groups under `min_base` are pooled.
    """
    names = pd.Series(np.array(s.scale.names, dtype=object)[s.scale.group(s.score)])
    shown = pool_small_groups(names, min_base=min_base).to_numpy()
    order = [g for g in (*s.scale.names, *pd.unique(shown)) if g in set(shown)]
    rng = None if seed is None else np.random.default_rng(seed)
    rows = [_row(s, shown == g, g, confidence, rng) for g in dict.fromkeys(order)]
    return hide_cells(pd.DataFrame(rows), min_base=min_base)


def _row(s: Sample, member, group, confidence, rng) -> dict:
    y, w = s.y[member], s.weights[member]
    low, high = (
        _linearised(s, member, confidence) if rng is None or len(y) > LARGE_GROUP else _bca(s, member, confidence, rng)
    )
    return {
        "group": group,
        "n": int(member.sum()),
        "estimate": float(w @ y / w.sum()),
        "conf_low": low,
        "conf_high": high,
        "median": weighted_median(y, w),
        "zeros": float(w @ (y == 0) / w.sum()),
        "largest_share": largest_share(w * y),
    }


def _linearised(s: Sample, member, confidence) -> tuple[float, float]:
    # the mean of a domain is a ratio: its error comes from w (y - mean) over all rows, zero outside
    w = s.weights * member
    mean = w @ s.y / w.sum()
    cluster = s.sampling.clusters[0] if s.sampling.clusters else None
    scaled = w * (s.y - mean) / w.sum() * s.n
    got = survey_mean(scaled, strata=s.sampling.strata, cluster=cluster, fpc=s.sampling.fpc)
    df = min(got.df, member.sum() - 1) if cluster is None else got.df
    half = critical_value(confidence, df) * np.sqrt(got.covariance[0, 0])
    return float(mean - half), float(mean + half)


def _bca(s: Sample, member, confidence, rng) -> tuple[float, float]:
    y, w = s.y[member], s.weights[member]
    if len(y) < 2:
        return np.nan, np.nan
    cluster = s.sampling.clusters[0][member] if s.sampling.clusters else None
    strata = None if s.sampling.strata is None else s.sampling.strata[member]
    sums, masses = _unit_totals(y * w, w, strata, cluster)
    draws = []
    for _ in range(10):  # blocks keep the table of counts small
        counts = bootstrap_counts(len(masses[0]), n_boot=REPLICATES // 10, rng=rng, strata=masses[1])
        draws.append(counts @ sums / np.maximum(counts @ masses[0], 1e-300))
    left_out = (sums.sum() - sums) / (masses[0].sum() - masses[0] + 1e-300)
    low, high = bca_interval(y @ w / w.sum(), np.concatenate(draws)[:, None], left_out[:, None], confidence)
    return float(low[0]), float(high[0])


def _unit_totals(yw, w, strata, cluster):
    if cluster is None:
        return yw, (w, strata)
    code = np.unique(np.asarray(cluster), return_inverse=True)[1]
    first = np.unique(code, return_index=True)[1]
    return np.bincount(code, yw), (np.bincount(code, w), None if strata is None else strata[first])


def weighted_median(values, weights) -> float:
    """Return the smallest value at or under which half of the weight lies (midway between two, if exactly half)."""
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weights[order]) / np.sum(weights)
    i = int(np.searchsorted(mass, 0.5 - 1e-12))
    j = i + 1 if abs(mass[i] - 0.5) < 1e-12 and i + 1 < len(order) else i
    return float((values[order[i]] + values[order[j]]) / 2)
