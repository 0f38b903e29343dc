"""The ways to partition customers; scikit-learn's objects are the rules.

Each has ``fit`` (the best of `n_starts`), ``refit`` (the best rule of other rows, each counted `counts` times, from fresh
starts and from the fitted one) and ``quick`` (a rule of half the rows from fresh starts alone).
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special
from sklearn import cluster
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from cxresearch import digits
from cxresearch.progress import progress

SHAPE = ("weights", "means", "precisions", "covariances", "precisions_cholesky")  # what describes a mixture
FAMILIES = {"spherical": "VII", "diag": "VVI", "tied": "EEE", "full": "VVV"}  # scikit-learn's names and mclust's
SAME = 0.95  # lowest Jaccard similarity between the segments of two solutions that count as one
CLOSELY = 1e-12  # gain in mean log-likelihood at which the best of several starts stops
MOST_STEPS, TOLERANCE, CLOSE = 5000, 1e-9, 1e-10  # of EM of classes: gain in log-likelihood, moves of memberships


@dataclass(frozen=True)
class Fit:
    """The best solution found, segment 0 the largest; `starts_at_best` starts ended in the same partition.

    `member` gives the probabilities of belonging: the rule itself, or for k-means, which has none, Gaussian segments with
    the pooled covariance, an approximation.
    """

    rule: Any
    member: Any
    labels: np.ndarray
    starts_at_best: int
    form: str
    within: float = np.nan
    log_likelihood: float = np.nan
    bic: float = np.nan
    families: tuple[tuple[str, float], ...] = ()  # of a mixture: family, its best BIC

    @property
    def k(self) -> int:
        return len(self.member.weights_)


class KMeans:
    """k-means. With one start alone the optimiser's failures would look like instability of the segments."""

    def fit(self, x, k, *, n_starts, seed) -> Fit:
        runs = in_threads(lambda s: kmeans(x, k, seed=int(s)), list(seeds_of(seed, n_starts)))
        best = runs[digits.descending([-run.inertia_ for run in runs])[0]]
        reached = sum(same_partition(best.labels_, run.labels_, k) for run in runs)
        order, labels = largest_first(best.labels_, k)
        best.cluster_centers_, best.labels_ = best.cluster_centers_[order], labels
        residuals = x - best.cluster_centers_[labels]
        covariance = residuals.T @ residuals / max(len(x) - k, 1) + 1e-6 * np.eye(x.shape[1])
        member = GaussianMixture(k, covariance_type="tied")
        member.weights_ = np.maximum(np.bincount(labels, minlength=k), 0.5) / len(x)
        member.means_, member.covariances_ = best.cluster_centers_, covariance
        member.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(covariance)).T
        return Fit(best, member, labels, reached, "k-means", within=float(best.inertia_))

    def refit(self, fit, x, counts, rng):
        weights = counts.astype(float)
        fresh = kmeans(x, fit.k, seed=int(rng.integers(2**31)), n_starts=5, weights=weights)
        near = kmeans(x, fit.k, seed=0, weights=weights, start=fit.rule.cluster_centers_)
        return min(fresh, near, key=lambda run: run.inertia_)

    def quick(self, fit, x, seed):
        return kmeans(x, fit.k, seed=seed, n_starts=5)


def kmeans(x: np.ndarray, k: int, *, seed: int, n_starts: int = 1, weights=None, start=None) -> cluster.KMeans:
    """Return the best of `n_starts` k-means++ starts, or the one from the centres `start`."""
    init, n_init = ("k-means++", n_starts) if start is None else (start, 1)
    # To the end: what stops short of it depends on the last digits of the centres.
    model = cluster.KMeans(k, init=init, n_init=n_init, random_state=seed, tol=0, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than k: an empty segment later
        return model.fit(x, sample_weight=weights)


class Mixtures:
    """Gaussian mixtures; the family of covariances with the largest BIC. Refits keep the family."""

    def fit(self, x, k, *, n_starts, seed) -> Fit:
        each = max(1, n_starts // len(FAMILIES))
        jobs = [(family, int(s)) for family in FAMILIES for s in seeds_of(seed, each)]
        fits = in_threads(lambda job: fit_mixture(x, k, family=job[0], seed=job[1]), jobs)
        scores = [-m.bic(x) for m in fits]
        at = digits.descending(scores)[0]
        family = fits[at].covariance_type
        best = fits[at] = fit_mixture(x, k, family=family, seed=seed, near=fits[at], tolerance=CLOSELY)
        scores[at] = -best.bic(x)
        best_of = lambda kind: max(float(s) for s, m in zip(scores, fits) if m.covariance_type == kind)  # noqa: E731
        families = tuple((name, best_of(kind)) for kind, name in FAMILIES.items())
        labels = best.predict(x)
        reached = sum(same_partition(labels, m.predict(x), k) for m in fits if m.covariance_type == family)
        order, labels = largest_first(labels, k)
        for name in SHAPE if family != "tied" else SHAPE[:2]:
            setattr(best, f"{name}_", getattr(best, f"{name}_")[order])
        form, likelihood = f"Gaussian mixture, {FAMILIES[family]}", float(best.score(x) * len(x))
        return Fit(best, best, labels, reached, form, np.nan, likelihood, float(-best.bic(x)), families)

    def refit(self, fit, x, counts, rng):
        drawn, seed, family = np.repeat(x, counts, axis=0), int(rng.integers(2**31)), fit.rule.covariance_type
        fits = [fit_mixture(drawn, fit.k, family=family, seed=seed, near=near) for near in (None, fit.rule)]
        return max(fits, key=lambda m: m.score(drawn))

    def quick(self, fit, x, seed):
        return fit_mixture(x, fit.k, family=fit.rule.covariance_type, seed=seed, n_starts=2)


def fit_mixture(
    x, k, *, family, seed, n_starts=1, near: GaussianMixture | None = None, floor=1e-3, tolerance=1e-6
) -> GaussianMixture:
    """Return the best of `n_starts` EM fits (from k-means), or the one that starts at `near`; `floor` is added to variances.

    EM stops where the mean log-likelihood gains less than `tolerance`. On the common scale the floor is a spread of 0.03:
    without it a component collapses onto customers who are all alike in a feature, such as those without returns, and BIC
    grows without bound.
    """
    start = {} if near is None else {f"{name}_init": getattr(near, f"{name}_") for name in SHAPE[:3]}
    model = GaussianMixture(
        k, covariance_type=family, n_init=n_starts, random_state=seed, reg_covar=floor, tol=tolerance, max_iter=2000, **start
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x)


def seeds_of(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**31, n)


def largest_first(labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the order of segments from the largest to the smallest, and the labels that follow it."""
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    return order, np.argsort(order)[labels]


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


def matching(reference: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Return which reference label each of `labels` corresponds to best."""
    return optimize.linear_sum_assignment(-overlap(labels, reference, k))[1]


def jaccard(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """Return, for each of `k` segments of labels `a`, its largest Jaccard similarity to a segment of labels `b`."""
    both = overlap(a, b, k)
    either = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
    return (both / np.maximum(either, 1)).max(axis=1)


def same_partition(a: np.ndarray, b: np.ndarray, k: int) -> bool:
    """Return whether two solutions agree on (nearly) every customer."""
    return bool(jaccard(a, b, k).min() >= SAME)


# --- latent classes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LatentClasses:
    """Shares (k,) and, for each class, the probabilities of every category of every item, (k, m), items side by side."""

    weights_: np.ndarray
    probabilities: np.ndarray
    levels: tuple[int, ...]

    @property
    def n_parameters(self) -> int:
        return len(self.weights_) - 1 + len(self.weights_) * (sum(self.levels) - len(self.levels))

    def log_joint(self, ones: np.ndarray) -> np.ndarray:
        """Return (n, k) log of share times probability of the answers, given as `indicators`."""
        return ones @ np.log(np.maximum(self.probabilities, 1e-300)).T + np.log(np.maximum(self.weights_, 1e-300))

    def predict_proba(self, codes: np.ndarray) -> np.ndarray:
        """Return (n, k) class probabilities."""
        return special.softmax(self.log_joint(indicators(codes, self.levels)), axis=1)

    def predict(self, codes: np.ndarray) -> np.ndarray:
        return np.argmax(self.log_joint(indicators(codes, self.levels)), axis=1)


class LatentClassModel:
    """Latent classes; `levels`: how many categories each item has. Refits take the best of five starts and the fitted."""

    def __init__(self, levels: tuple[int, ...]):
        self.levels = levels

    def fit(self, x, k, *, n_starts, seed) -> Fit:
        rngs = [np.random.default_rng(s) for s in seeds_of(seed, n_starts)]
        fits = in_threads(lambda rng: fit_latent(x, k, levels=self.levels, rng=rng), rngs)
        start, highest = fits[digits.descending([f[1] for f in fits])[0]]
        reached = sum(abs(other - highest) < 1e-3 for _, other in fits)
        best, log_likelihood = fit_latent(x, k, levels=self.levels, start=start, closely=True)
        order, labels = largest_first(best.predict(x), k)
        rule = LatentClasses(best.weights_[order], best.probabilities[order], self.levels)
        bic = 2 * log_likelihood - best.n_parameters * np.log(len(x))
        return Fit(rule, rule, labels, reached, "latent classes", log_likelihood=log_likelihood, bic=bic)

    def refit(self, fit, x, counts, rng) -> LatentClasses:
        options = {"levels": self.levels, "rng": rng, "weights": counts}
        return max((fit_latent(x, fit.k, **options, start=s) for s in (fit.rule, *[None] * 5)), key=lambda f: f[1])[0]

    def quick(self, fit, x, seed) -> LatentClasses:
        rng = np.random.default_rng(seed)
        return max((fit_latent(x, fit.k, levels=self.levels, rng=rng) for _ in range(3)), key=lambda f: f[1])[0]


def indicators(codes: np.ndarray, levels: tuple[int, ...]) -> np.ndarray:
    """Return (n, m) zeros and ones for the categories of (n, p) integer codes."""
    return np.hstack([np.eye(level)[codes[:, item].astype(int)] for item, level in enumerate(levels)])


def fit_latent(
    codes: np.ndarray, k: int, *, levels, rng=None, weights=None, start: LatentClasses | None = None, closely=False
) -> tuple[LatentClasses, float]:
    """Return classes and log-likelihood from one start: random class memberships, or `start`.

    `closely` goes on until no membership moves by more than 1e-10. Rows that answer alike are taken together, so that
    cost grows with the number of distinct patterns.
    """
    weights = np.ones(len(codes)) if weights is None else weights
    patterns, where = np.unique(codes, axis=0, return_inverse=True)
    counts = np.bincount(where.ravel(), weights=weights)
    ones = indicators(patterns, levels)
    member = rng.dirichlet(np.ones(k), len(patterns)) if start is None else start.predict_proba(patterns)
    before = -np.inf
    for _ in range(MOST_STEPS):
        weighted = member * counts[:, None]
        size = np.maximum(weighted.sum(axis=0), 1e-300)
        classes = LatentClasses(size / size.sum(), (weighted.T @ ones) / size[:, None], tuple(levels))
        joint, old = classes.log_joint(ones), member
        log_density = special.logsumexp(joint, axis=1)
        member, now = np.exp(joint - log_density[:, None]), float(counts @ log_density)
        gained = now - before >= TOLERANCE * max(1.0, abs(now)) ** 0.5
        if not gained and not (closely and np.abs(member - old).max() > CLOSE):
            break
        before = now
    return classes, now


Fitter = KMeans | Mixtures | LatentClassModel
