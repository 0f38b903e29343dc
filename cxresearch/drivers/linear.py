"""The linear model: parts, coefficients and correlations from moments, for the sample and its replicates."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from cxresearch.drivers.parts import (
    EXACT,
    EXACT_DRAWS,
    METHODS,
    noise_floor,
    order_error,
    ordered_parts,
    parts_of,
    sampled_orders,
)
from cxresearch.drivers.subsets import mean_by_size
from cxresearch.drivers.terms import Terms
from cxresearch.errors import DataProblem
from cxresearch.findings import Check
from cxresearch.inference import kish_effective_n, survey_mean
from cxresearch.inference.shares import Moments, em_moments, residual_variances, sweep, unpacked

ORDERS, ORDERS_DRAWS = 4000, 200


@dataclass(frozen=True)
class Draws:
    """What replicates gave: parts (B, p), their joint R² (B,), coefficients (B, m), correlations (B, m + 1, m + 1)."""

    parts: np.ndarray
    joint: np.ndarray
    coefficients: np.ndarray
    correlations: np.ndarray

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return the four arrays in order."""
        return self.parts, self.joint, self.coefficients, self.correlations

    @classmethod
    def joined(cls, draws: list["Draws"]) -> "Draws":
        """Return the replicates of several draws one after another."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*(d.arrays() for d in draws))))

    def rows(self, at) -> "Draws":
        """Return the replicates `at`."""
        return Draws(*(array[at] for array in self.arrays()))


@dataclass(frozen=True)
class LinearFit:
    """Point estimates and what it takes to draw replicates.

    Attributes
    ----------
    parts : (p,) array, of the outcome's variance
    methods : dict of method -> (p,) parts
    by_size : (p + 1,) mean residual variance of subsets of k terms
    residuals : (2^p,) array, or None where orders were sampled
    correlation : (m + 1, m + 1) array, outcome last
    coefficients : (m,) standardised coefficients of the whole model
    error : (p,) Monte-Carlo standard error of `parts`, zero where exact
    floor : part of a random driver, mean and what 19 of 20 stay below
    checks : of this kind of model alone
    """

    terms: Terms
    moments: Moments
    method: str
    orders: np.ndarray | None
    parts: np.ndarray
    methods: dict[str, np.ndarray]
    by_size: np.ndarray
    residuals: np.ndarray | None
    correlation: np.ndarray
    coefficients: np.ndarray
    error: np.ndarray
    floor: tuple[float, float]
    checks: tuple[Check, ...] = ()

    @property
    def joint(self) -> float:
        """The part of R² that the terms explain together, beyond the controls."""
        return float(self.by_size[0] - self.by_size[-1])

    def draw(self, weights: np.ndarray) -> Draws:
        """Return parts, coefficients and correlations for each row of `weights` (B, n)."""
        return self._of(self.moments.correlations(weights))

    def draw_filled(self, weights, filled, correlations) -> Draws:
        """Return the same for rows completed in each replicate, from their packed `correlations`."""
        return self._of(correlations)

    def _of(self, correlations: np.ndarray) -> Draws:
        options = dict(sizes=self.terms.sizes, n_always=self.terms.n_always, method=self.method)
        parts = parts_of(correlations, orders=self.orders, **options)
        if self.orders is not None and self.method == "shapley":
            # The same orders were taken of the sample: their error is common and cancels.
            parts = (
                parts
                + (self.parts - parts_of(self.moments.correlations(), orders=self.orders, **options)[:, 0])[:, None]
            )
        matrices = unpacked(correlations)
        whole = (
            parts
            if self.method in ("shapley", "relative_weights")
            else parts_of(correlations, **options | {"method": "relative_weights"})
        )
        return Draws(parts.T, whole.sum(axis=0), standardised_coefficients(matrices), matrices)


def fit_linear(terms: Terms, *, method: str, seed) -> LinearFit:
    """Return the linear model of `terms`; skipped answers are handled by EM."""
    moments = em_moments(terms.columns, terms.weights)
    correlations = moments.correlations()
    options = dict(sizes=terms.sizes, n_always=terms.n_always)
    left = sweep(correlations, terms.n_always) if terms.n_always else correlations
    p = len(terms.sizes)
    residuals, orders, error = None, None, np.zeros(p)
    if p <= EXACT:
        residuals = residual_variances(left, terms.sizes)[:, 0]
        methods = {m: parts_of(correlations, method=m, **options)[:, 0] for m in METHODS}
        by_size = mean_by_size(residuals)
    else:
        methods, by_size, error = _sampled(left, correlations, options, seed)
    if p > EXACT_DRAWS:
        orders = sampled_orders(p, n_orders=ORDERS_DRAWS, rng=np.random.default_rng((seed or 0, 1)))
    matrix = unpacked(correlations)
    return LinearFit(
        terms,
        moments,
        method,
        orders,
        methods[method],
        methods,
        by_size,
        residuals,
        matrix[0],
        standardised_coefficients(matrix)[0],
        error,
        noise_floor(by_size, kish_effective_n(terms.weights)),
    )


def _sampled(left, correlations, options, seed):
    p = len(options["sizes"])
    if seed is None:
        raise DataProblem(
            f"{p} drivers are more than the {EXACT} whose subsets can all be computed; give a seed for sampled "
            f"orders, or group drivers into blocks"
        )
    orders = sampled_orders(p, n_orders=ORDERS, rng=np.random.default_rng((seed, 0)))
    gains = ordered_parts(left, options["sizes"], orders)[:, :, 0]
    entered = np.take_along_axis(gains, orders, axis=1)
    by_size = left[-1, 0] - np.concatenate([[0.0], np.cumsum(entered.mean(axis=0))])
    methods = {m: parts_of(correlations, method=m, **options)[:, 0] for m in METHODS if m != "shapley"}
    return {"shapley": gains.mean(axis=0), **methods}, by_size, order_error(gains)


def standardised_coefficients(matrices: np.ndarray) -> np.ndarray:
    """Return the coefficients (batch, m) of all columns from (batch, m + 1, m + 1) correlations, outcome last."""
    among, target = matrices[:, :-1, :-1], matrices[:, :-1, -1:]
    near = among + 1e-9 * np.eye(among.shape[1])  # dependent drivers share; one refinement takes the ridge out again
    first = np.linalg.solve(near, target)
    return (first + np.linalg.solve(near, target - among @ first))[:, :, 0]


def dependent_columns(correlation: np.ndarray) -> np.ndarray:
    """Return which columns (outcome excluded) are constant or a sum of the others."""
    among = correlation[:-1, :-1]
    left = 1 / np.diag(np.linalg.inv(among + 1e-10 * np.eye(len(among))))
    return left < 1e-8


def model_test(terms: Terms, moments: Moments) -> tuple[float, float]:
    """Return the p-value of "no term goes with the outcome beyond the controls", and the design's degrees of freedom.

    Rao's score test with the design's own covariance: under the null the mean products of term and outcome, both
    less what the controls explain, are zero. Their linearised covariance C gives (df - k + 1) / (k df) u' C^-1 u,
    compared with F(k, df - k + 1) (Korn & Graubard 1990, American Statistician 44, 270).
    """
    scores = _scores(moments, terms.n_always)
    found = survey_mean(scores, weights=terms.weights, strata=terms.strata, cluster=terms.cluster, fpc=terms.fpc)
    rank = np.linalg.matrix_rank(found.covariance, hermitian=True, rtol=1e-9)
    value = found.mean @ np.linalg.pinv(found.covariance, hermitian=True, rcond=1e-9) @ found.mean
    left = found.df - rank + 1
    if rank == 0 or left < 1:
        return 1.0, found.df
    return float(stats.f.sf(value * left / (rank * found.df), rank, left)), found.df


def _scores(moments: Moments, n_always: int) -> np.ndarray:
    """Return each row's products of term columns and outcome, centred and freed from the controls, (n, m)."""
    m = moments.n_columns
    columns = moments.rows[:, -m:]
    mean = moments.weights @ columns / moments.weights.sum()
    places = np.zeros((m, m), dtype=int)
    places[np.triu_indices(m)] = np.arange(m * (m + 1) // 2)
    places = np.maximum(places, places.T)

    def centred(i, j):
        return moments.rows[:, places[i, j]] - columns[:, i] * mean[j] - columns[:, j] * mean[i] + mean[i] * mean[j]

    raw = np.stack([centred(i, m - 1) for i in range(n_always, m - 1)], axis=1)
    if not n_always:
        return raw
    full = np.stack([np.stack([centred(i, j) for j in range(m)], axis=1) for i in range(m)], axis=1)
    total = np.einsum("n,nij->ij", moments.weights, full) / moments.weights.sum()
    c = np.arange(n_always)
    slopes = np.linalg.pinv(total[np.ix_(c, c)], hermitian=True) @ total[c]
    away = np.eye(m) - np.vstack([slopes, np.zeros((m - n_always, m))])  # column j: j less its fit on the controls
    return np.einsum("ij,nik,k->nj", away, full, away[:, -1])[:, n_always:-1]
