"""Multiple imputation of skipped answers: pooled estimates, and bootstrap replicates that are imputed one by one.

References
----------
Rubin (1987), *Multiple Imputation for Nonresponse in Surveys*; Barnard & Rubin (1999), Biometrika 86, 948;
Honaker & King (2010), American Journal of Political Science 54, 561 (bootstrap, then draw);
Schomaker & Heumann (2018), Statistics in Medicine 37, 2252 (imputation inside each bootstrap replicate);
von Hippel & Bartlett (2021), Statistical Science 36, 400 (how much of the spread is one imputation's own noise).
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch.drivers.linear import Draws
from cxresearch.drivers.resampling import replicate_weights
from cxresearch.drivers.terms import Terms
from cxresearch.findings import Check
from cxresearch.inference.shares import Moments, as_correlations, em_moments, packed, scaling, unpacked

IMPUTATIONS = 20
BASES = 5  # completed copies whose fits replicates start from
AT_ONCE = 500  # replicates
WITHIN = 50  # replicates of each completed copy, for the variance that complete data would have
SMALLEST = 1e-8  # eigenvalue of the imputation model, in standard deviations: dependent columns stay invertible


@dataclass(frozen=True)
class Filled:
    """Completed rows, one set per replicate: `columns` (B, len(at), m) in the columns' own units, of rows `at`."""

    at: np.ndarray
    columns: np.ndarray


def fill(terms: Terms, moments: Moments, weights: np.ndarray, rng) -> Filled:
    """Return the rows that skipped something, completed once for each row of `weights` (B, n).

    Each replicate has the parameters that EM gives under its own weights, so that the uncertainty of the imputation
    model is the bootstrap's; the skipped answers are drawn from their joint normal distribution given the row's
    answers, the outcome among them. With precision Q that is N(m_s - Q_ss^-1 Q_so (z_o - m_o), Q_ss^-1).
    """
    mean, spread = scaling(terms.columns, terms.weights)
    at = np.flatnonzero(~terms.complete())
    z = (terms.columns[at] - mean) / spread
    centre, precision = _parameters(moments, weights)
    out = np.tile(z, (len(weights), 1, 1))
    keys, of_row = np.unique(np.isnan(z), axis=0, return_inverse=True)
    for k, skipped in enumerate(keys):
        rows, s, o = np.flatnonzero(of_row == k), np.flatnonzero(skipped), np.flatnonzero(~skipped)
        left = np.linalg.inv(precision[:, s[:, None], s])
        slopes = -left @ precision[:, s[:, None], o]
        noise = rng.normal(size=(len(weights), len(rows), len(s))) @ np.linalg.cholesky(left).transpose(0, 2, 1)
        expected = (z[rows][:, o] - centre[:, None, o]) @ slopes.transpose(0, 2, 1)
        out[:, rows[:, None], s] = centre[:, None, s] + expected + noise
    out[:, :, np.nanmax(np.abs(z), axis=0, initial=0) == 0] = 0.0  # a constant driver stays one
    given = terms.columns[at]
    return Filled(at, np.where(np.isnan(given), mean + spread * out, given))


def _parameters(moments: Moments, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return means (B, m) and precisions (B, m, m) of the standardised columns under each row of `weights`."""
    m = moments.n_columns
    estimates = weights @ moments.rows / weights.sum(axis=1, keepdims=True)
    centre = estimates[:, -m:]
    covariance = unpacked(estimates[:, :-m].T) - centre[:, :, None] * centre[:, None, :]
    values, vectors = np.linalg.eigh(covariance)
    inverse = (vectors / np.maximum(values, SMALLEST)[:, None, :]) @ vectors.transpose(0, 2, 1)
    return centre, (inverse + inverse.transpose(0, 2, 1)) / 2


def impute(terms: Terms, *, n_imputations: int, rng) -> tuple[list[Terms], Moments]:
    """Return completed copies of `terms`, each with the parameters of a replicate of its own, and the EM moments."""
    moments = em_moments(terms.columns, terms.weights)
    filled = fill(terms, moments, _replicates(terms, n_imputations, rng), rng)
    copies = []
    for columns in filled.columns:
        whole = terms.columns.copy()
        whole[filled.at] = columns
        copies.append(replace(terms, columns=whole))
    return copies, moments


def _replicates(terms: Terms, n_boot: int, rng) -> np.ndarray:
    return replicate_weights(terms.weights, n_boot=n_boot, rng=rng, **terms.design)


def filled_correlations(terms: Terms, filled: Filled, weights: np.ndarray) -> np.ndarray:
    """Return packed correlations (q, B) of complete rows and of those completed in each replicate."""
    mean, spread = scaling(terms.columns, terms.weights)
    rows, others = np.triu_indices(terms.columns.shape[1])
    whole = np.ones(len(terms), dtype=bool)
    whole[filled.at] = False
    z = (terms.columns[whole] - mean) / spread
    x = (filled.columns - mean) / spread
    w = weights[:, filled.at, None]
    squares = weights[:, whole] @ (z[:, rows] * z[:, others]) + packed((w * x).transpose(0, 2, 1) @ x).T
    total = weights.sum(axis=1, keepdims=True)
    means = (weights[:, whole] @ z + np.sum(w * x, axis=1)) / total
    return as_correlations((squares / total - means[:, rows] * means[:, others]).T)


def pool(estimates, variances, *, df: float = np.inf):
    """Return Rubin's pooled estimate, total variance, and Barnard & Rubin's degrees of freedom.

    T = U + (1 + 1/m) B with U the mean variance and B the variance between the m estimates (first axis). `df` are
    the degrees of freedom that complete data would have.
    """
    estimates, variances = np.asarray(estimates, dtype=float), np.asarray(variances, dtype=float)
    m = len(estimates)
    within, between = variances.mean(axis=0), estimates.var(axis=0, ddof=1)
    total = within + (1 + 1 / m) * between
    missing = np.divide((1 + 1 / m) * between, total, out=np.zeros_like(total), where=total > 0)
    old = (m - 1) / np.maximum(missing, 1e-12) ** 2
    observed = (df + 1) / (df + 3) * df * (1 - missing) if np.isfinite(df) else np.full_like(total, np.inf)
    return estimates.mean(axis=0), total, 1 / (1 / old + 1 / observed)


@dataclass(frozen=True)
class ImputedFit:
    """The mean of the fits of completed copies; every replicate imputes its skipped answers anew, once."""

    terms: Terms
    moments: Moments
    each: tuple
    noise: np.random.Generator
    method: str
    parts: np.ndarray
    methods: dict[str, np.ndarray]
    by_size: np.ndarray
    residuals: np.ndarray | None
    correlation: np.ndarray
    coefficients: np.ndarray
    error: np.ndarray
    floor: tuple[float, float]
    checks: tuple[Check, ...]

    @property
    def joint(self) -> float:
        """The (pseudo-)R² that the terms explain together, beyond the controls."""
        return float(self.by_size[0] - self.by_size[-1])

    def draw(self, weights: np.ndarray) -> Draws:
        """Return draws for each row of `weights` (B, n); likelihoods step from the models of the first copies."""
        order, drawn = [], []
        for start in range(0, len(weights), AT_ONCE):
            for k, fit in enumerate(self.each[:BASES]):
                order.append(np.arange(start + k, min(start + AT_ONCE, len(weights)), BASES))
                mine = weights[order[-1]]
                filled = fill(self.terms, self.moments, mine, self.noise)
                drawn.append(fit.draw_filled(mine, filled, filled_correlations(self.terms, filled, mine)))
        return Draws.joined(drawn).rows(np.argsort(np.concatenate(order)))

    def settled(self, draws: Draws, again: Draws) -> Draws:
        """Return `draws` without the noise that one imputation has and the mean of many has not.

        `again` holds a second imputation of the first replicates: half the mean squared difference is the variance W
        within a replicate. The draws' variance T has one W too many, the estimate, a mean of m imputations, keeps
        W / m: deviations shrink by sqrt(1 - (1 - 1/m) W / T) (von Hippel & Bartlett 2021).
        """

        def shrunk(values, second):
            within = np.mean((values[: len(second)] - second) ** 2, axis=0) / 2
            total = values.var(axis=0, ddof=1)
            share = np.divide(within, total, out=np.zeros_like(total), where=total > 1e-20)
            centre = values.mean(axis=0)
            return centre + (values - centre) * np.sqrt(np.clip(1 - (1 - 1 / len(self.each)) * share, 0.01, 1))

        return Draws(*(shrunk(a, b) for a, b in zip(draws.arrays(), again.arrays())))

    def pooled(self, seed) -> pd.DataFrame:
        """Return Rubin's standard error and degrees of freedom per term; each copy's variance is of its own draws."""
        rng = np.random.default_rng((seed, 4))
        within = [fit.draw(_replicates(self.terms, WITHIN, rng)).parts.var(axis=0, ddof=1) for fit in self.each]
        estimate, total, df = pool([fit.parts for fit in self.each], within, df=len(self.terms) - 1)
        between = np.var([fit.parts for fit in self.each], axis=0, ddof=1) * (1 + 1 / len(self.each))
        return pd.DataFrame(
            {
                "term": list(self.terms.names),
                "estimate": estimate,
                "std_error": np.sqrt(total),
                "df": df,
                "lost_to_missing": between / np.maximum(total, 1e-300),
            }
        )


def fit_imputed(terms: Terms, fit_complete, *, seed) -> ImputedFit:
    """Return the pooled fit of 20 imputations of `terms`; `fit_complete` fits one completed copy."""
    copies, moments = impute(terms, n_imputations=IMPUTATIONS, rng=np.random.default_rng((seed, 2)))
    each = tuple(fit_complete(copy) for copy in copies)

    def mean(name):
        return np.mean([getattr(fit, name) for fit in each], axis=0)

    residuals = None if each[0].residuals is None else mean("residuals")
    methods = {m: np.mean([fit.methods[m] for fit in each], axis=0) for m in each[0].methods}
    return ImputedFit(
        terms,
        moments,
        each,
        np.random.default_rng((seed, 3)),
        each[0].method,
        mean("parts"),
        methods,
        mean("by_size"),
        residuals,
        mean("correlation"),
        mean("coefficients"),
        mean("error"),
        tuple(mean("floor")),
        each[0].checks,
    )
