"""Multiple imputation of skipped answers, and the pooling of what each imputation gives.

References
----------
Rubin (1987), *Multiple Imputation for Nonresponse in Surveys*; Barnard & Rubin (1999), Biometrika 86, 948;
Honaker & King (2010), American Journal of Political Science 54, 561 (bootstrap, then draw);
Schomaker & Heumann (2018), Statistics in Medicine 37, 2252 (bootstrap within imputations, draws pooled).
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch.drivers.linear import Draws
from cxresearch.drivers.missing import em_moments
from cxresearch.drivers.moments import Moments, scaling
from cxresearch.drivers.resampling import replicate_weights
from cxresearch.drivers.subsets import unpacked
from cxresearch.drivers.terms import Terms
from cxresearch.findings import Check

IMPUTATIONS = 20


def impute(terms: Terms, *, n_imputations: int, rng) -> tuple[list[Terms], Moments]:
    """Return completed copies of `terms`, and the moments by EM that they were drawn from.

    Each copy has its own parameters, those of a bootstrap replicate (so that it carries their uncertainty), and draws
    the skipped answers from their joint normal distribution given the row's answers, the outcome among them.
    """
    moments = em_moments(terms.columns, terms.weights)
    mean, spread = scaling(terms.columns, terms.weights)
    z = (terms.columns - mean) / spread
    drawn = replicate_weights(
        terms.weights, n_boot=n_imputations, rng=rng, strata=terms.strata, cluster=terms.cluster, fpc=terms.fpc
    )
    estimates = drawn @ moments.rows / drawn.sum(axis=1, keepdims=True)
    copies = []
    for estimate in estimates:
        centre = estimate[-moments.n_columns :]
        covariance = unpacked(estimate[: -moments.n_columns, None])[0] - np.outer(centre, centre)
        copies.append(replace(terms, columns=mean + spread * _filled(z, centre, covariance, rng)))
    return copies, moments


def _filled(z, centre, covariance, rng) -> np.ndarray:
    out = z.copy()
    keys, of_row = np.unique(np.isnan(z), axis=0, return_inverse=True)
    for k, skipped in enumerate(keys):
        if skipped.any():
            rows, s, o = np.flatnonzero(of_row == k), np.flatnonzero(skipped), np.flatnonzero(~skipped)
            slopes = covariance[np.ix_(s, o)] @ np.linalg.pinv(covariance[np.ix_(o, o)], hermitian=True, rcond=1e-11)
            left = covariance[np.ix_(s, s)] - slopes @ covariance[np.ix_(o, s)]
            values, vectors = np.linalg.eigh((left + left.T) / 2)
            noise = rng.normal(size=(len(rows), len(s))) @ (vectors * np.sqrt(np.maximum(values, 0))).T
            out[np.ix_(rows, s)] = centre[s] + (z[np.ix_(rows, o)] - centre[o]) @ slopes.T + noise
    return out


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
    """The mean of the fits of completed copies; replicates are shared out among them and their draws pooled."""

    terms: Terms
    moments: Moments
    each: tuple
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
        """Return draws for each row of `weights` (B, n): its share of rows for each imputation, in order."""
        drawn = [fit.draw(part) for fit, part in zip(self.each, np.array_split(weights, len(self.each))) if len(part)]
        return Draws(
            *(
                np.concatenate([getattr(d, k) for d in drawn])
                for k in ("parts", "joint", "coefficients", "correlations")
            )
        )

    def pooled(self, draws: Draws) -> pd.DataFrame:
        """Return Rubin's standard error and degrees of freedom per term; variances within are of the draws."""
        within = [part.var(axis=0, ddof=1) for part in np.array_split(draws.parts, len(self.each))]
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
