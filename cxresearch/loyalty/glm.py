"""Quasi-likelihood fits on arrays, with the influence of every row on every coefficient.

A fit needs the mean and the variance up to a constant to be right in shape, not the distribution: zeros and skew are
kept, and the errors come from the influences. What a reader sees is fitted by statsmodels (`library`); this solver
refits, absorbs effects, and gives the influences.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from cxresearch.errors import DataProblem
from cxresearch.inference.clusters import demean

LARGEST = 500.0  # of a linear predictor; exp() overflows at 709
MOST = 100  # steps of a fit


class Family(NamedTuple):
    """Mean and what one step of the fit needs, each a function of the linear predictor (and y)."""

    mean: Callable  # eta -> mu
    weight: Callable  # eta -> (dmu/deta)^2 / V(mu)
    residual: Callable  # eta, y -> (y - mu) / (dmu/deta)
    start: Callable  # y, mean of y -> eta
    curvature: Callable | None = None  # eta, y -> minus the slope of weight * residual; None: the weight
    library: Callable | None = None  # the families of statsmodels -> the one


POISSON = Family(
    mean=np.exp, weight=np.exp, residual=lambda eta, y: y * np.exp(-eta) - 1,
    start=lambda y, centre: np.log(np.maximum(y + centre, centre / 10) / 2), library=lambda of: of.Poisson(),
)  # fmt: skip
GAMMA = Family(
    mean=np.exp, weight=np.ones_like, residual=lambda eta, y: y * np.exp(-eta) - 1,
    start=lambda y, centre: np.log((y + centre) / 2), curvature=lambda eta, y: y * np.exp(-eta),
    library=lambda of: of.Gamma(of.links.Log()),
)  # fmt: skip
LOGIT = Family(
    mean=special.expit, weight=lambda eta: special.expit(eta) * special.expit(-eta),
    residual=lambda eta, y: (y - special.expit(eta)) / np.maximum(special.expit(eta) * special.expit(-eta), 1e-300),
    start=lambda y, centre: special.logit((y + centre) / 2), library=lambda of: of.Binomial(),
)  # fmt: skip
LEVELS = Family(
    mean=lambda eta: eta, weight=np.ones_like, residual=lambda eta, y: y - eta, start=lambda y, centre: y,
    library=lambda of: of.Gaussian(),
)  # fmt: skip


class Fit(NamedTuple):
    """One fitted equation."""

    coef: np.ndarray  # (p,)
    influence: np.ndarray  # (n, p): how far each row moves each coefficient
    eta: np.ndarray  # (n,)
    mu: np.ndarray  # (n,)
    bread: np.ndarray  # (p, p), inverse of the observed information: right even where the variance is not


def fit_glm(X, y, weights, family: Family, *, effects=()) -> Fit:
    """Fit by iteratively reweighted least squares; groups of `effects`, (n,) codes, get an intercept each beside X.

    Absorbed intercepts bias neither a Poisson fit nor least squares: everything is demeaned at each step.
    """
    eta, close = family.start(y, weights @ y / weights.sum()), 1e-10 if effects else 1e-11
    with np.errstate(all="ignore"):
        for _ in range(MOST):
            w = weights * family.weight(eta)
            z = eta + family.residual(eta, y)
            both = np.column_stack([z, X])
            both = demean(both, w, effects, tolerance=close / 10) if effects else both
            coef = weighted_least_squares(both[:, 1:], both[:, 0], w)
            new = z - (both[:, 0] - both[:, 1:] @ coef) if effects else X @ coef
            new = np.clip(new, -LARGEST, LARGEST)
            moved, eta = np.max(np.abs(new - eta)), new
            if not moved > close * (1 + np.abs(eta).max()):
                break
    if not moved <= close * (1 + np.abs(eta).max()):
        raise DataProblem(
            "the model did not converge: a control (or score level) whose customers all have no revenue, or all have it, "
            "or controls that repeat each other, or hardly vary within effects, do this; merge its categories or leave it out"
        )
    w = weights * family.weight(eta)
    observed = w if family.curvature is None else weights * family.curvature(eta, y)
    free = demean(X, w, effects) if effects else X
    bread = np.linalg.pinv(free.T @ (observed[:, None] * free), rcond=1e-14, hermitian=True)
    return Fit(coef, (w * family.residual(eta, y))[:, None] * free @ bread, eta, family.mean(eta), bread)


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


def library(X, y, weights, family: Family, names, coef):
    """Return statsmodels' results of the same equation, begun at the solution `coef`; weights as `var_weights`."""
    import pandas as pd
    from statsmodels.genmod import families
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.regression.linear_model import WLS

    rows = weights > 0
    frame = pd.DataFrame(X[rows], columns=list(names))  # coefficients are then named as in our tables
    if family is LEVELS:
        return WLS(y[rows], frame, weights=weights[rows]).fit()
    model = GLM(y[rows], frame, family=family.library(families), var_weights=weights[rows])
    return model.fit(start_params=coef, tol=1e-13, tol_criterion="params", maxiter=50)


def gradient(function, at) -> np.ndarray:
    """Return the (k, p) derivatives of `function` (p,) -> (k,) by central differences."""
    steps = np.diag(1e-5 * np.maximum(np.abs(at), 1e-2))
    return np.stack([(function(at + s) - function(at - s)) / (2 * s.sum()) for s in steps], axis=1)
