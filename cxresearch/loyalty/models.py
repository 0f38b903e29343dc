"""Quasi-likelihood fits on arrays, with the influence of every row on every coefficient.

A fit needs the mean and the variance up to a constant to be right in shape, not the distribution: zeros, fractions
and skew are kept, and the errors come from the influences (`covariance`).

References
----------
McCullagh & Nelder (1989), *Generalized Linear Models*; Wooldridge (1999), J. Econometrics 90:77-97 (Poisson
quasi-likelihood, also with fixed effects); Gourieroux, Monfort & Trognon (1984), Econometrica 52:701-720.
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
    deviance: Callable  # y, mu -> (n,) unit deviances
    start: Callable  # y, mean of y -> eta
    curvature: Callable | None = None  # eta, y -> minus the slope of weight * residual; None: the weight


def log_link(power: float) -> Family:
    """Return the family with log link and variance mu^power: 1 Poisson, 2 gamma, between them Tweedie."""
    return Family(
        mean=np.exp,
        weight=lambda eta: np.exp((2 - power) * eta),
        residual=lambda eta, y: y * np.exp(-eta) - 1,
        deviance=lambda y, mu: power_deviance(y, mu, power),
        start=lambda y, centre: np.log((y + centre) / 2),
        curvature=lambda eta, y: np.exp((2 - power) * eta) * (1 + (power - 1) * (y * np.exp(-eta) - 1)),
    )


def power_deviance(y, mu, power: float) -> np.ndarray:
    """Return the unit deviances of a variance mu^power; y = 0 needs a power under 2."""
    y, mu = np.asarray(y, dtype=float), np.asarray(mu, dtype=float)
    if power == 1:
        return 2 * (special.xlogy(y, y / mu) - y + mu)
    if power == 2:
        return 2 * (-np.log(y / mu) + y / mu - 1)
    own = y ** (2 - power) / ((1 - power) * (2 - power))
    return 2 * (own - y * mu ** (1 - power) / (1 - power) + mu ** (2 - power) / (2 - power))


def _logit_deviance(y, mu):
    return -2 * (special.xlogy(y, mu) + special.xlogy(1 - y, 1 - mu))


LOGIT = Family(
    mean=special.expit,
    weight=lambda eta: special.expit(eta) * special.expit(-eta),
    residual=lambda eta, y: (y - special.expit(eta)) / np.maximum(special.expit(eta) * special.expit(-eta), 1e-300),
    deviance=_logit_deviance,
    start=lambda y, centre: special.logit((y + centre) / 2),
)
LEVELS = Family(
    mean=lambda eta: eta,
    weight=np.ones_like,
    residual=lambda eta, y: y - eta,
    deviance=lambda y, mu: np.square(y - mu),
    start=lambda y, centre: y,
)


@dataclass(frozen=True)
class Fit:
    """One fitted equation."""

    coef: np.ndarray  # (p,)
    influence: np.ndarray  # (n, p): how far each row moves each coefficient
    eta: np.ndarray  # (n,)
    mu: np.ndarray  # (n,)
    deviance: float
    bread: np.ndarray  # (p, p), inverse of the observed information: right even where the variance is not


def fit_glm(X, y, weights, family: Family, *, start=None, tolerance: float = 1e-11, most: int = 100) -> Fit:
    """Fit by iteratively reweighted least squares.

    Parameters
    ----------
    X : (n, p), y : (n,), weights : (n,)
        Rows of weight zero are left out.
    start : (p,), optional
        Coefficients to start from.

    Raises
    ------
    DataProblem
        If it does not converge: a category whose customers all spent nothing, for example.
    """
    return _fitted(X, y, weights, family, solve_glm(X, y, weights, family, start=start, tolerance=tolerance, most=most))


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


def _fitted(X, y, weights, family, coef) -> Fit:
    eta = np.clip(X @ coef, -LARGEST, LARGEST)
    w = weights * family.weight(eta)
    observed = w if family.curvature is None else weights * family.curvature(eta, y)
    bread = np.linalg.pinv(X.T @ (observed[:, None] * X), rcond=1e-14, hermitian=True)
    mu = family.mean(eta)
    with np.errstate(divide="ignore"):  # a gamma deviance at zero is infinite; the fit is not
        unit = np.where(weights > 0, family.deviance(y, mu), 0.0)
    return Fit(coef, (w * family.residual(eta, y))[:, None] * X @ bread, eta, mu, float(weights @ unit), bread)


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


def solve_poisson_cells(X, weights, totals, start, *, tolerance: float = 1e-10, most: int = 30) -> np.ndarray:
    """Return Poisson coefficients (b, p) of many refits at once from sums per cell; missing where not converged.

    Parameters
    ----------
    X : (u, p)
        Distinct rows of the design: for a Poisson fit the sums of weights and of weighted y in each are sufficient.
    weights, totals : (b, u)
        Those sums, by refit.
    start : (p,)
    """
    coef = np.tile(start, (len(weights), 1))
    products = (X[:, :, None] * X[:, None, :]).reshape(len(X), -1)
    with np.errstate(all="ignore"):
        for _ in range(most):
            mu = weights * np.exp(np.clip(coef @ X.T, -LARGEST, LARGEST))
            H = (mu @ products).reshape(len(coef), X.shape[1], X.shape[1])
            step = solve_many(H, (totals - mu) @ X)
            coef = coef + step
            if np.nanmax(np.abs(step @ X.T)) < tolerance:
                break
    coef[np.abs(step @ X.T).max(axis=1) > 1e-5] = np.nan
    return coef


def solve_many(H, right) -> np.ndarray:
    """Return the solutions (b, p) of b symmetric systems H (b, p, p); missing where H is not finite."""
    finite = np.isfinite(H).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
    H, right = np.where(finite[:, None, None], H, np.eye(H.shape[1])), right[:, :, None]
    try:
        out = np.linalg.solve(H, right)[:, :, 0]
    except np.linalg.LinAlgError:
        out = (np.linalg.pinv(H, hermitian=True) @ right)[:, :, 0]
    return np.where(finite[:, None], out, np.nan)


# --- fixed effects -----------------------------------------------------------------------------------------------


def fit_within(X, y, weights, groups, family: Family, *, start=None, tolerance: float = 1e-10, most: int = 200) -> Fit:
    """Fit with an intercept for every group of every grouping; `coef` holds the columns of X alone.

    The working regression is solved on demeaned columns at each step (Correia, Guimaraes & Zylkin 2020, Stata J.
    20:95-115); `start` (n,) is a linear predictor to begin from. For Poisson and for least squares the many intercepts
    do not bias `coef`.
    """
    eta = family.start(y, weights @ y / weights.sum()) if start is None else start
    for _ in range(most):
        w = weights * family.weight(eta)
        z = eta + family.residual(eta, y)
        within = demean(np.column_stack([z, X]), w, groups, tolerance=tolerance / 10)
        coef = weighted_least_squares(within[:, 1:], within[:, 0], w)
        new = z - (within[:, 0] - within[:, 1:] @ coef)
        moved, eta = np.max(np.abs(new - eta)), new
        if moved <= tolerance * (1 + np.abs(eta).max()):
            w = weights * family.weight(eta)
            inside = demean(X, w, groups)
            bread = np.linalg.pinv(inside.T @ (w[:, None] * inside), hermitian=True)
            influence = (w * family.residual(eta, y))[:, None] * inside @ bread
            mu = family.mean(eta)
            return Fit(coef, influence, eta, mu, float(weights @ family.deviance(y, mu)), bread)
    raise DataProblem("the model with effects did not converge; leave out the control that hardly varies within them")
