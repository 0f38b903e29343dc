"""The ways to partition customers, each answering the same four questions."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cxresearch import digits
from cxresearch.segments.kmeans import one_fit, rule_of
from cxresearch.segments.latent import LatentClasses, fit_latent
from cxresearch.segments.mixture import FAMILIES, bic, fit_mixture, icl, n_parameters
from cxresearch.segments.stability import in_threads, same_partition

CLOSELY = 1e-12  # gain in mean log-likelihood at which the best of several starts stops


class Rule(Protocol):
    """A frozen partition that assigns any customer."""

    def assign(self, x: np.ndarray) -> np.ndarray: ...

    def posterior(self, x: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Fit:
    """The best solution found, segment 0 the largest; `starts_at_best` starts ended in the same partition."""

    rule: Rule
    labels: np.ndarray
    starts_at_best: int
    form: str
    within: float = np.nan
    log_likelihood: float = np.nan
    bic: float = np.nan
    families: tuple[tuple[str, float, float], ...] = ()  # of a mixture: family, its best BIC, its ICL

    @property
    def k(self) -> int:
        return len(self.rule.shares)


class Method(Protocol):
    """A way to partition customers."""

    def fit(self, x: np.ndarray, k: int, *, n_starts: int, seed: int) -> Fit:
        """Return the best of `n_starts`."""

    def refit(self, fit: Fit, rows: np.ndarray, counts: np.ndarray, rng) -> np.ndarray:
        """Return the labels of `rows` after fitting them anew, each counted `counts` times."""

    def quick(self, fit: Fit):
        """Return ``fit(rows, seed) -> assign`` for halvings."""


class KMeans:
    """k-means. Refits take the best of five starts and one from the fitted centres.

    With one start alone the optimiser's failures would look like instability of the segments.
    """

    def fit(self, x, k, *, n_starts, seed) -> Fit:
        fits = in_threads(lambda s: one_fit(x, k, seed=int(s)), list(_seeds(seed, n_starts)))
        centres, labels, within = fits[digits.descending([-f[2] for f in fits])[0]]
        order = _largest_first(labels, k)
        reached = sum(same_partition(labels, other, k) for _, other, _ in fits)
        labels = np.argsort(order)[labels]
        return Fit(rule_of(x, labels, centres[order]), labels, reached, "k-means", within=within)

    def refit(self, fit, rows, counts, rng):
        weights = counts.astype(float)
        anew = one_fit(rows, fit.k, seed=int(rng.integers(2**31)), n_starts=5, weights=weights)
        near = one_fit(rows, fit.k, seed=0, weights=weights, start=fit.rule.centres)
        return min(anew, near, key=lambda f: f[2])[1]

    def quick(self, fit):
        return self.quick_of(fit.k)

    @staticmethod
    def quick_of(k: int):
        def fitted(rows, seed):
            centres, labels, _ = one_fit(rows, k, seed=seed, n_starts=5)
            return rule_of(rows, labels, centres).assign

        return fitted


class Mixtures:
    """Gaussian mixtures; the family of covariances with the largest BIC. Refits keep the family."""

    def fit(self, x, k, *, n_starts, seed) -> Fit:
        each = max(1, n_starts // len(FAMILIES))
        jobs = [(family, int(s)) for family in FAMILIES for s in _seeds(seed, each)]
        fits = in_threads(lambda job: fit_mixture(x, k, family=job[0], seed=job[1]), jobs)
        scores = [bic(m.log_likelihood(x), n_parameters(k, x.shape[1], m.family), len(x)) for m in fits]
        at = digits.descending(scores)[0]
        best = fits[at] = fit_mixture(x, k, family=fits[at].family, seed=seed, near=fits[at], tolerance=CLOSELY)
        scores[at] = bic(best.log_likelihood(x), n_parameters(k, x.shape[1], best.family), len(x))
        families = _by_family(x, fits, scores)
        labels = best.assign(x)
        reached = sum(same_partition(labels, m.assign(x), k) for m in fits if m.family == best.family)
        order = _largest_first(labels, k)
        form = f"Gaussian mixture, {FAMILIES[best.family]}"
        return Fit(
            best.reordered(order),
            np.argsort(order)[labels],
            reached,
            form,
            log_likelihood=best.log_likelihood(x),
            bic=scores[at],
            families=families,
        )

    def refit(self, fit, rows, counts, rng):
        drawn = np.repeat(rows, counts, axis=0)
        seed, family = int(rng.integers(2**31)), fit.rule.family
        anew = [
            fit_mixture(drawn, fit.k, family=family, seed=seed),
            fit_mixture(drawn, fit.k, family=family, seed=seed, near=fit.rule),
        ]
        return max(anew, key=lambda m: m.log_likelihood(drawn)).assign(rows)

    def quick(self, fit):
        return lambda rows, seed: fit_mixture(rows, fit.k, family=fit.rule.family, seed=seed, n_starts=2).assign


class LatentClassModel:
    """Latent classes; `levels` is how many categories each item has. Refits take the best of five starts and the fitted classes."""

    def __init__(self, levels: tuple[int, ...]):
        self.levels = levels

    def fit(self, x, k, *, n_starts, seed) -> Fit:
        fits = in_threads(
            lambda s: fit_latent(x, k, levels=self.levels, rng=np.random.default_rng(s)), list(_seeds(seed, n_starts))
        )
        best, log_likelihood = fits[digits.descending([f[1] for f in fits])[0]]
        reached = sum(abs(other - log_likelihood) < 1e-3 for _, other in fits)
        rng = np.random.default_rng(seed)
        best, log_likelihood = fit_latent(x, k, levels=self.levels, rng=rng, start=best, closely=True)
        labels = best.assign(x)
        order = _largest_first(labels, k)
        criterion = bic(log_likelihood, best.n_parameters, len(x))
        return Fit(
            best.reordered(order),
            np.argsort(order)[labels],
            reached,
            "latent classes",
            log_likelihood=log_likelihood,
            bic=criterion,
        )

    def refit(self, fit, rows, counts, rng):
        starts: list[LatentClasses | None] = [fit.rule, None, None, None, None, None]
        fits = [fit_latent(rows, fit.k, levels=self.levels, rng=rng, weights=counts, start=start) for start in starts]
        return max(fits, key=lambda f: f[1])[0].assign(rows)

    def quick(self, fit):
        def fitted(rows, seed):
            rng = np.random.default_rng(seed)
            return max((fit_latent(rows, fit.k, levels=self.levels, rng=rng) for _ in range(3)), key=lambda f: f[1])[
                0
            ].assign

        return fitted


def _by_family(x: np.ndarray, fits, scores) -> tuple[tuple[str, float, float], ...]:
    rows = []
    for family, name in FAMILIES.items():
        score, best = max(((s, m) for s, m in zip(scores, fits) if m.family == family), key=lambda pair: pair[0])
        rows.append((name, float(score), icl(score, best.posterior(x))))
    return tuple(rows)


def _seeds(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**31, n)


def _largest_first(labels: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-np.bincount(labels, minlength=k), kind="stable")
