"""Binary outcomes: logistic regression, evaluated for many parameter vectors at once."""

import numpy as np

from cxresearch.drivers.likelihood import fit_subsets
from cxresearch.inference.shares import TOLERANCE

CHUNK = 1 << 17  # linear predictors held at once: they stay in the cache
HIGHEST = 300.0  # linear predictors beyond this are a probability of one, and exp() would overflow


class Logit:
    """Logistic log-likelihood of `y` (0/1) given (n, k - 1) columns and an intercept, which is parameter 0."""

    diverges = (
        "kind='binary': the likelihood has no maximum, because some drivers separate the outcome's two answers "
        "perfectly; "
        "leave out the driver that does, or use kind='linear'"
    )

    def __init__(self, columns: np.ndarray, y: np.ndarray, weights: np.ndarray):
        self.x = np.column_stack([np.ones(len(y)), columns])
        self.y, self.weights, self.n_parameters = y, weights, self.x.shape[1]
        i, j = self._places = np.triu_indices(self.n_parameters)
        self.equal = np.ptp(weights) == 0
        self._sides = np.concatenate(
            [self.x * weights[:, None], self.x[:, i] * self.x[:, j] * weights[:, None]], axis=1
        ).T.copy()
        self._target = (weights * y) @ self.x

    def like(self, columns: np.ndarray, at, weights) -> "Logit":
        """Return the model of respondents `at` with other columns and weights."""
        return Logit(columns, self.y[at], weights)

    def start(self) -> np.ndarray:
        """Return the parameters of the model without columns."""
        share = np.average(self.y, weights=self.weights)
        return np.concatenate([[np.log(share / (1 - share))], np.zeros(self.n_parameters - 1)])

    def evaluate(self, parameters: np.ndarray, *, curvature: bool = True):
        """Return log-likelihoods (G,), scores (G, k) and informations (G, k, k; or None) at (G, k) parameters."""
        total, k = len(parameters), self.n_parameters
        softplus, sums = np.empty(total), np.empty((len(self._sides) if curvature else k, total))
        at_once = max(1, CHUNK // len(self.y))
        for start in range(0, total, at_once):
            part = slice(start, start + at_once)
            softplus[part], sums[:, part] = self._sums(parameters[part], len(sums))
        information = None
        if curvature:
            i, j = self._places
            information = np.empty((total, k, k))
            information[:, i, j] = information[:, j, i] = sums[k:].T
        return parameters @ self._target - softplus, self._target - sums[:k].T, information

    def _sums(self, parameters, n_sides: int):
        odds = np.minimum(self.x @ parameters.T, HIGHEST)
        np.exp(odds, out=odds)
        one_more = 1 + odds
        softplus = self._sum_of_logs(one_more)
        odds /= one_more
        k = self.n_parameters
        sums = np.empty((n_sides, len(parameters)))
        sums[:k] = self._sides[:k] @ odds
        if n_sides > k:
            odds /= one_more
            sums[k:] = self._sides[k:] @ odds
        return softplus, sums

    def _sum_of_logs(self, values) -> np.ndarray:
        """Return the weighted sums of logs of (n, G) values of at least 1."""
        if not self.equal or values.max() > 1e60:
            return self.weights @ np.log(values)
        # Logs of products of four: a quarter of the logarithms.
        n = len(values) // 4 * 4
        product = values[0:n:4] * values[1:n:4]
        product *= values[2:n:4]
        product *= values[3:n:4]
        return self.weights[0] * (np.log(product).sum(axis=0) + np.log(values[n:]).sum(axis=0))

    def rows(self, parameters: np.ndarray):
        """Return each respondent's log-likelihood (n,) and score (n, k) at (k,) parameters."""
        linear = self.x @ parameters
        return self.y * linear - np.logaddexp(0, linear), (self.y - self.fitted(parameters))[:, None] * self.x

    def fitted(self, parameters: np.ndarray) -> np.ndarray:
        """Return probabilities (..., n) at (..., k) parameters."""
        return 1 / (1 + np.exp(-np.clip(parameters @ self.x.T, -HIGHEST, HIGHEST)))


def tjur_unexplained(model: Logit, parameters: np.ndarray, inverse=None, weights=None) -> np.ndarray:
    """Return 1 - Tjur's R² of every subset, (2^p, B): R² is the mean probability of the ones less that of the zeros.

    With replicate `weights` (B, n) the parameters move by one Newton step, and R² by its derivative along it.
    """
    w = model.weights[None] if weights is None else weights * (model.weights.sum() / weights.sum(axis=1, keepdims=True))
    contrast = w * model.y / (w @ model.y)[:, None] - w * (1 - model.y) / (w @ (1 - model.y))[:, None]
    out = np.empty((len(parameters), len(w)))
    for s, b in enumerate(parameters):
        fitted = model.fitted(b)
        out[s] = 1 - contrast @ fitted
        if weights is not None:
            slope = contrast @ ((fitted * (1 - fitted))[:, None] * model.x)
            out[s] -= np.sum((w @ ((model.y - fitted)[:, None] * model.x)) @ inverse[s] * slope, axis=1)
    return out


def logistic_relative_weights(columns: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the relative weights (m,) of (n, m) columns for a 0/1 outcome; they sum to the R² of y on its fit.

    The columns' nearest orthonormal stand-ins Z enter a logistic regression; its coefficients b, standardised as
    b s_z R / s_logit, replace Johnson's (Tonidandel & LeBreton 2010, Journal of Applied Psychology 95, 767).
    """
    w = weights / weights.sum()
    centred = columns - w @ columns
    spread = np.sqrt(w @ centred**2)
    z = centred[:, spread > TOLERANCE] / spread[spread > TOLERANCE]
    values, vectors = np.linalg.eigh((z * w[:, None]).T @ z)
    usable = values > TOLERANCE * len(values)
    root = np.sqrt(np.where(usable, values, 0))
    stand_ins = z @ (vectors[:, usable] / root[usable])
    model = Logit(stand_ins, y, weights)
    b = fit_subsets(model, []).parameters[0]
    logit = model.x @ b
    paths = vectors[:, usable] @ (b[1:] * _correlation(y, model.fitted(b), w) / np.sqrt(w @ (logit - w @ logit) ** 2))
    out = np.zeros(columns.shape[1])
    out[spread > TOLERANCE] = ((vectors * root) @ vectors.T) ** 2 @ paths**2
    return out


def _correlation(a, b, w) -> float:
    a, b = a - w @ a, b - w @ b
    return float(w @ (a * b) / np.sqrt((w @ a**2) * (w @ b**2)))
