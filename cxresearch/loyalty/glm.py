"""Quasi-likelihood fits on arrays, with the influence of every row on every coefficient.

A fit needs the mean and the variance up to a constant to be right in shape, not the distribution: zeros, fractions
and skew are kept, and the errors come from the influences. What a reader sees is fitted by statsmodels (`library`);
these solvers refit, absorb effects, and give the influences.

References
----------
McCullagh & Nelder (1989), *Generalized Linear Models*; Wooldridge (1999), J. Econometrics 90:77-97 (Poisson
quasi-likelihood, also with fixed effects); Gourieroux, Monfort & Trognon (1984), Econometrica 52:701-720; Correia,
Guimaraes & Zylkin (2020), Stata J. 20:95-115 (absorbed effects).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from cxresearch.errors import DataProblem
from cxresearch.inference.clusters import demean

LARGEST = 500.0  # of a linear predictor; exp() overflows at 709


class Family(NamedTuple):
    """Mean and what one step of the fit needs, each a function of the linear predictor (and y)."""

    mean: Callable  # eta -> mu
    weight: Callable  # eta -> (dmu/deta)^2 / V(mu)
    residual: Callable  # eta, y -> (y - mu) / (dmu/deta)
    start: Callable  # y, mean of y -> eta
    curvature: Callable | None = None  # eta, y -> minus the slope of weight * residual; None: the weight
    library: Callable | None = None  # statsmodels.api -> its family


POISSON = Family(
    mean=np.exp, weight=np.exp, residual=lambda eta, y: y * np.exp(-eta) - 1,
    start=lambda y, centre: np.log(np.maximum(y + centre, centre / 10) / 2), library=lambda sm: sm.families.Poisson(),
)  # fmt: skip
GAMMA = Family(
    mean=np.exp, weight=np.ones_like, residual=lambda eta, y: y * np.exp(-eta) - 1,
    start=lambda y, centre: np.log((y + centre) / 2), curvature=lambda eta, y: y * np.exp(-eta),
    library=lambda sm: sm.families.Gamma(sm.families.links.Log()),
)  # fmt: skip
LOGIT = Family(
    mean=special.expit, weight=lambda eta: special.expit(eta) * special.expit(-eta),
    residual=lambda eta, y: (y - special.expit(eta)) / np.maximum(special.expit(eta) * special.expit(-eta), 1e-300),
    start=lambda y, centre: special.logit((y + centre) / 2), library=lambda sm: sm.families.Binomial(),
)  # fmt: skip
LEVELS = Family(
    mean=lambda eta: eta, weight=np.ones_like, residual=lambda eta, y: y - eta, start=lambda y, centre: y,
    library=lambda sm: sm.families.Gaussian(),
)  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """One fitted equation."""

    coef: np.ndarray  # (p,)
    influence: np.ndarray  # (n, p): how far each row moves each coefficient
    eta: np.ndarray  # (n,)
    mu: np.ndarray  # (n,)
    bread: np.ndarray  # (p, p), inverse of the observed information: right even where the variance is not


def fit_glm(X, y, weights, family: Family, *, effects=(), start=None) -> Fit:
    """Fit by iteratively reweighted least squares; groups of `effects`, (n,) codes, get an intercept each beside X."""
    if effects:
        return _fit_within(X, y, weights, effects, family)
    return at_solution(X, y, weights, family, solve_glm(X, y, weights, family, start=start))


def solve_glm(X, y, weights, family: Family, *, start=None, tolerance: float = 1e-11, most: int = 100) -> np.ndarray:
    """Return the coefficients (p,) alone: what a refit needs."""
    centre = weights @ y / weights.sum()
    coef = np.zeros(X.shape[1]) if start is None else start
    eta = family.start(y, centre) if start is None else X @ start
    with np.errstate(all="ignore"):
        for _ in range(most):
            w = weights * family.weight(eta)
            new = weighted_least_squares(X, eta + family.residual(eta, y), w)
            eta = np.clip(X @ new, -LARGEST, LARGEST)
            moved, coef = np.max(np.abs(X * (new - coef)).max(axis=0)), new
            if not np.isfinite(moved):
                break
            if moved <= tolerance * (1 + np.abs(eta).max()):
                return coef
    raise DataProblem(
        "the model did not converge: a control (or score level) whose customers all have no revenue, or all have it, "
        "or controls that repeat each other, do this; merge its categories or leave it out"
    )


def at_solution(X, y, weights, family: Family, coef) -> Fit:
    """Return the fit whose coefficients are known."""
    eta = np.clip(X @ coef, -LARGEST, LARGEST)
    w = weights * family.weight(eta)
    observed = w if family.curvature is None else weights * family.curvature(eta, y)
    bread = np.linalg.pinv(X.T @ (observed[:, None] * X), rcond=1e-14, hermitian=True)
    return Fit(coef, (w * family.residual(eta, y))[:, None] * X @ bread, eta, family.mean(eta), bread)


def weighted_least_squares(X, z, w) -> np.ndarray:
    """Return the coefficients of z on X; columns are scaled first, and an empty column gets zero."""
    scale = np.sqrt(np.mean(np.square(X), axis=0))
    scale[scale == 0] = 1.0
    S = X / scale
    gram, right = S.T @ (w[:, None] * S), S.T @ (w * z)
    try:
        return np.linalg.solve(gram, right) / scale
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(gram, right, rcond=None)[0] / scale


def _fit_within(X, y, weights, effects, family: Family, *, tolerance: float = 1e-10, most: int = 200) -> Fit:
    """Fit with absorbed intercepts, which bias neither a Poisson fit nor least squares: demeaned at each step."""
    eta = family.start(y, weights @ y / weights.sum())
    for _ in range(most):
        w = weights * family.weight(eta)
        z = eta + family.residual(eta, y)
        within = demean(np.column_stack([z, X]), w, effects, tolerance=tolerance / 10)
        coef = weighted_least_squares(within[:, 1:], within[:, 0], w)
        new = z - (within[:, 0] - within[:, 1:] @ coef)
        moved, eta = np.max(np.abs(new - eta)), new
        if moved <= tolerance * (1 + np.abs(eta).max()):
            w = weights * family.weight(eta)
            inside = demean(X, w, effects)
            bread = np.linalg.pinv(inside.T @ (w[:, None] * inside), hermitian=True)
            influence = (w * family.residual(eta, y))[:, None] * inside @ bread
            return Fit(coef, influence, eta, family.mean(eta), bread)
    raise DataProblem("the model with effects did not converge; leave out the control that hardly varies within them")


def library(X, y, weights, family: Family, names, coef):
    """Return statsmodels' results of the same equation, begun at the solution `coef`; weights as `var_weights`.

    The errors of its `summary()` are the model's, not the design's, which stand in `tidy()`.
    """
    import pandas as pd
    import statsmodels.api as sm

    rows = weights > 0
    frame = pd.DataFrame(X[rows], columns=list(names))  # coefficients are then named as in our tables
    if family is LEVELS:
        return sm.WLS(y[rows], frame, weights=weights[rows]).fit()
    model = sm.GLM(y[rows], frame, family=family.library(sm), var_weights=weights[rows])
    return model.fit(start_params=coef, tol=1e-13, tol_criterion="params", maxiter=50)


def gradient(function, at) -> np.ndarray:
    """Return the (k, p) derivatives of `function` (p,) -> (k,) by central differences."""
    steps = np.diag(1e-5 * np.maximum(np.abs(at), 1e-2))
    return np.stack([(function(at + s) - function(at - s)) / (2 * s.sum()) for s in steps], axis=1)


def solve_many(H, right) -> np.ndarray:
    """Return the solutions (b, p) of b symmetric systems H (b, p, p); missing where H is not finite."""
    finite = np.isfinite(H).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
    H, right = np.where(finite[:, None, None], H, np.eye(H.shape[1])), right[:, :, None]
    try:
        out = np.linalg.solve(H, right)[:, :, 0]
    except np.linalg.LinAlgError:
        out = (np.linalg.pinv(H, hermitian=True) @ right)[:, :, 0]
    return np.where(finite[:, None], out, np.nan)
