"""The gap statistic: is the clustering tighter than that of a featureless box?

Reference
---------
Tibshirani, Walther & Hastie (2001), *JRSS B* 63: reference data uniform in the box of the principal axes.
"""

import numpy as np

from cxresearch.segments.kmeans import one_fit
from cxresearch.segments.stability import in_threads
from cxresearch.segments.structure import subsample

CAP = 3000


def gap_statistics(
    x: np.ndarray, counts, *, n_reference: int, n_starts: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return gap(k) = E* log W*(k) - log W(k), and its standard error times sqrt(1 + 1/B), for each of `counts`."""
    x = x[subsample(len(x), CAP, seed)]
    own = np.array(in_threads(lambda k: _log_within(x, k, n_starts, seed), list(counts)))
    centred = x - x.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    low, high = (centred @ axes.T).min(axis=0), (centred @ axes.T).max(axis=0)

    def reference(sequence) -> list[float]:
        rng = np.random.default_rng(sequence)
        box = rng.uniform(low, high, size=x.shape) @ axes
        return [_log_within(box, k, min(n_starts, 5), int(rng.integers(2**31))) for k in counts]

    drawn = np.array(in_threads(reference, np.random.SeedSequence(seed).spawn(n_reference)))
    return drawn.mean(axis=0) - own, drawn.std(axis=0) * np.sqrt(1 + 1 / n_reference)


def _log_within(x: np.ndarray, k: int, n_starts: int, seed: int) -> float:
    within = np.square(x - x.mean(axis=0)).sum() if k == 1 else one_fit(x, k, seed=seed, n_starts=n_starts)[2]
    return float(np.log(max(within, 1e-300)))


def first_within_one_error(counts, gap: np.ndarray, error: np.ndarray) -> int:
    """Return the smallest k with gap(k) >= gap(k + 1) - s(k + 1), among consecutive `counts`."""
    for i in range(len(counts) - 1):
        if gap[i] >= gap[i + 1] - error[i + 1]:
            return int(counts[i])
    return int(counts[-1])
