"""Are the same segments found again in other customers?

References
----------
Hennig (2007), Cluster-wise assessment of cluster stability, *Computational Statistics & Data Analysis* 52.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from cxresearch.progress import progress

SAME = 0.95  # lowest Jaccard similarity between the segments of two solutions that count as one


def in_threads(task, jobs: list) -> list:
    """Return ``[task(job) for job in jobs]``, several at a time, each with one OpenMP thread.

    Small fits are many times slower when each of them spreads over threads.
    """
    workers = max(1, min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, len(jobs)))
    with ThreadPoolExecutor(workers, initializer=threadpool_limits, initargs=(1,)) as pool:
        return list(progress(pool.map(task, jobs), what="resamples", total=len(jobs)))


def overlap(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """Return the (k, k) counts of customers by label `a` (rows) and label `b` (columns)."""
    return np.bincount(a * k + b, minlength=k * k).reshape(k, k).astype(float)


def jaccard(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """Return, for each of `k` segments of labels `a`, its largest Jaccard similarity to a segment of labels `b`."""
    both = overlap(a, b, k)
    either = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
    return (both / np.maximum(either, 1)).max(axis=1)


def same_partition(a: np.ndarray, b: np.ndarray, k: int) -> bool:
    """Return whether two solutions agree on (nearly) every customer."""
    return bool(jaccard(a, b, k).min() >= SAME)


def bootstrap_jaccard(x: np.ndarray, labels: np.ndarray, k: int, refit, *, n_boot: int, seed: int) -> np.ndarray:
    """Return (n_boot, k) similarities between the segments and those of refits to resampled customers (Hennig 2007).

    ``refit(rows, counts, rng) -> rule`` gets the distinct customers drawn and how often each was: one drawn twice
    counts twice in the refit, once in the comparison.
    """

    def replicate(sequence) -> np.ndarray:
        rng = np.random.default_rng(sequence)
        counts = np.bincount(rng.integers(0, len(x), len(x)), minlength=len(x))
        drawn = np.flatnonzero(counts)
        return jaccard(labels[drawn], refit(x[drawn], counts[drawn], rng).predict(x[drawn]), k)

    return np.array(in_threads(replicate, np.random.SeedSequence(seed).spawn(n_boot))).reshape(n_boot, k)
