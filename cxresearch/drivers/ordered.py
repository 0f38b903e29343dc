"""Ordered outcomes: the cumulative logit, evaluated for many parameter vectors at once, and its parallel lines.

References
----------
McCullagh (1980), JRSS B 42, 109; Brant (1990), Biometrics 46, 1171.
"""

import numpy as np
from scipy import stats

from cxresearch.drivers.binary import CHUNK, Logit
from cxresearch.drivers.likelihood import fit_subsets

BEYOND = 40.0  # stands for infinity: the logistic distribution function is 1 to the last bit


class CumulativeLogit:
    """Log-likelihood of ordered categories: logit P(y <= j) = cut_j - columns b; the J - 1 cuts come first."""

    diverges = (
        "kind='ordered': the likelihood has no maximum, because some drivers separate the outcome's answers perfectly; "
        "leave out the driver that does, or use kind='linear'"
    )

    def __init__(self, columns: np.ndarray, y: np.ndarray, weights: np.ndarray, levels=None):
        self.levels = np.unique(y) if levels is None else levels
        code = np.searchsorted(self.levels, y)
        cuts = len(self.levels) - 1
        above = np.concatenate([np.eye(cuts), np.zeros((1, cuts))])[code]  # the cut above the answer
        below = np.concatenate([np.zeros((1, cuts)), np.eye(cuts)])[code]
        self.upper, self.lower = np.column_stack([above, -columns]), np.column_stack([below, -columns])
        self._top, self._bottom = code == cuts, code == 0
        self.code, self.columns, self.weights, self.n_parameters = code, columns, weights, self.upper.shape[1]
        i, j = self._places = np.triu_indices(self.n_parameters)
        u, v, w = self.upper, self.lower, weights[:, None]
        crossed = u[:, i] * v[:, j] + v[:, i] * u[:, j]
        self._pairs = [(m * w).T.copy() for m in (u[:, i] * u[:, j], crossed, v[:, i] * v[:, j])]

    def like(self, columns: np.ndarray, at, weights) -> "CumulativeLogit":
        """Return the model of respondents `at` with other columns and weights, on the same answers."""
        return CumulativeLogit(columns, self.levels[self.code[at]], weights, self.levels)

    def start(self) -> np.ndarray:
        """Return the parameters of the model without columns."""
        share = np.cumsum(np.bincount(self.code, self.weights))[:-1] / self.weights.sum()
        return np.concatenate([np.log(share / (1 - share)), np.zeros(self.columns.shape[1])])

    def _derivatives(self, parameters):
        """Return log-likelihood and its derivatives in both ends of each answer's interval, (n, G) each."""
        a, b = self.upper @ parameters.T, self.lower @ parameters.T
        a[self._top], b[self._bottom] = BEYOND, -BEYOND
        fa, fb = (1 / (1 + np.exp(-np.clip(e, -300, 300))) for e in (a, b))
        with np.errstate(divide="ignore", invalid="ignore"):
            between = fa - fb
            loglik = np.log(between)  # crossed cuts give a missing likelihood, and the step is halved
            slope_a, slope_b = fa * (1 - fa) / between, -fb * (1 - fb) / between
        return (
            loglik,
            slope_a,
            slope_b,
            slope_a * (1 - 2 * fa) - slope_a**2,
            -slope_a * slope_b,
            slope_b * (1 - 2 * fb) - slope_b**2,
        )

    def evaluate(self, parameters: np.ndarray, *, curvature: bool = True):
        """Return log-likelihoods (G,), scores (G, k) and informations (G, k, k; or None) at (G, k) parameters."""
        total, k, w = len(parameters), self.n_parameters, self.weights
        loglik, score, packed = np.empty(total), np.empty((total, k)), np.empty((total, len(self._pairs[0])))
        at_once = max(1, CHUNK // len(w))
        for start in range(0, total, at_once):
            part = slice(start, start + at_once)
            value, da, db, daa, dab, dbb = self._derivatives(parameters[part])
            loglik[part] = w @ value
            score[part] = (da * w[:, None]).T @ self.upper + (db * w[:, None]).T @ self.lower
            if curvature:
                packed[part] = -sum(pair @ d for pair, d in zip(self._pairs, (daa, dab, dbb))).T
        if not curvature:
            return loglik, score, None
        information = np.empty((total, k, k))
        i, j = self._places
        information[:, i, j] = information[:, j, i] = packed
        return loglik, score, information

    def rows(self, parameters: np.ndarray):
        """Return each respondent's log-likelihood (n,) and score (n, k) at (k,) parameters."""
        loglik, da, db = (d[:, 0] for d in self._derivatives(parameters[None])[:3])
        return loglik, da[:, None] * self.upper + db[:, None] * self.lower


def parallel_lines(model: CumulativeLogit) -> tuple[float, float, int]:
    """Return chi-square, p and degrees of freedom of Brant's test that one slope serves all cuts.

    Each cut has its own binary logit; the Wald statistic of the differences of their slopes uses the covariance of
    fits to the same respondents. Missing where some cut's logit has no maximum.
    """
    cuts, m = len(model.levels) - 1, model.columns.shape[1]
    logits = [Logit(model.columns, (model.code > j).astype(float), model.weights) for j in range(cuts)]
    fits = [fit_subsets(logit, []) for logit in logits]
    x = logits[0].x
    fitted = np.stack([logit.fitted(fit.parameters[0]) for logit, fit in zip(logits, fits)])
    covariance = np.empty((cuts * m, cuts * m))
    for j in range(cuts):
        for k in range(cuts):
            shared = model.weights * (fitted[max(j, k)] * (1 - fitted[min(j, k)]))
            block = fits[j].inverse[0] @ ((x * shared[:, None]).T @ x) @ fits[k].inverse[0]
            covariance[j * m : j * m + m, k * m : k * m + m] = block[1:, 1:]
    slopes = np.concatenate([fit.parameters[0][1:] for fit in fits])
    contrast = np.hstack([np.tile(np.eye(m), (cuts - 1, 1)), -np.eye((cuts - 1) * m)])
    difference = contrast @ slopes
    value = float(difference @ np.linalg.pinv(contrast @ covariance @ contrast.T, hermitian=True) @ difference)
    df = (cuts - 1) * m
    return value, float(stats.chi2.sf(value, df)), df
