"""Refits of the default model on resampled units, many at once: the difference per customer and its sandwich error.

Each maker returns a function from drawn units (b, k) to differences and errors, (b,) both; missing where a refit has
no solution. Integer scores and categorical controls leave few distinct rows, of which sums are sufficient; customer
effects are concentrated out, since a Poisson's intercepts have a closed form given its slopes.

References
----------
Wong et al. (2021), *You only compress once* (sums per cell); Hausman, Hall & Griliches (1984), Econometrica 52:909-938.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from cxresearch.errors import DataProblem
from cxresearch.loyalty.models import LARGEST, log_link, solve_glm, solve_many, solve_poisson_cells


@dataclass(frozen=True)
class Problem:
    """What each refit fits, as arrays."""

    X: np.ndarray  # (n, p)
    raised: np.ndarray  # (n, p), scores raised
    y: np.ndarray  # (n,)
    weights: np.ndarray  # (n,)
    unit: np.ndarray  # (n,) code of what is drawn as a whole
    start: np.ndarray  # (p,) coefficients to begin from

    @property
    def n_units(self) -> int:
        return int(self.unit.max()) + 1


def counted(drawn, size: int) -> np.ndarray:
    """Return how often each of `size` units stands in each row of `drawn` (b, k), as (b, size)."""
    at = drawn + size * np.arange(len(drawn))[:, None]
    return np.bincount(at.ravel(), minlength=len(drawn) * size).reshape(len(drawn), size).astype(float)


# --- few distinct rows: sums per cell ------------------------------------------------------------------------------------


def on_cells(p: Problem, cells, first, code):
    """Refit from sums per cell; `first` (u,) is a row of each cell and `code` (n,) the cell of each row."""
    raised = p.raised[first]
    sums = _by_row(p, code, len(cells)) if p.n_units == len(p.y) else _by_unit(p, code, len(cells))

    def refit(drawn):
        W, S, square = sums(drawn)
        coef = solve_poisson_cells(cells, W, S, p.start)
        mu, up = np.exp(coef @ cells.T), np.exp(coef @ raised.T)
        total, gain = W.sum(axis=1, keepdims=True), up - mu
        difference = np.sum(W * gain, axis=1, keepdims=True) / total
        slope = ((W * up) @ raised - (W * mu) @ cells) / total
        products = (cells[:, :, None] * cells[:, None, :]).reshape(len(cells), -1)
        H = ((W * mu) @ products).reshape(len(W), cells.shape[1], -1)
        reach = solve_many(H, slope) @ cells.T
        return difference[:, 0], np.sqrt(square(reach, (gain - difference) / total - reach * mu))

    return refit


def _by_row(p: Problem, code, u: int):
    # rows drawn singly: the squares of w (reach y + rest) add up from five sums per cell, three without weights
    w, y = p.weights, p.y
    even = bool(np.all(w == 1))

    def sums(drawn):
        at = (code[drawn] + u * np.arange(len(drawn))[:, None]).ravel()
        of = lambda v: np.bincount(at, v[drawn].ravel(), minlength=len(drawn) * u).reshape(-1, u)  # noqa: E731
        W, S = of(w), of(w * y)
        two, three, four = (W, S, of(y**2)) if even else (of(w**2), of(w**2 * y), of(np.square(w * y)))
        square = lambda a, b: np.maximum(np.sum(a**2 * four + 2 * a * b * three + b**2 * two, axis=1), 0)  # noqa: E731
        return W, S, square

    return sums


def _by_unit(p: Problem, code, u: int):
    k = p.n_units
    mass = np.bincount(p.unit * u + code, p.weights, minlength=k * u).reshape(k, u)
    totals = np.bincount(p.unit * u + code, p.weights * p.y, minlength=k * u).reshape(k, u)

    def sums(drawn):
        counts = counted(drawn, k)
        square = lambda a, b: np.sum(counts * np.square(a @ totals.T + b @ mass.T), axis=1)  # noqa: E731
        return counts @ mass, counts @ totals, square

    return sums


# --- many distinct rows ----------------------------------------------------------------------------------------------------


def on_rows(p: Problem):
    """Refit row by row, one resample after the other."""

    def refit(drawn):
        found = np.array([_one(p, counts[p.unit], counts) for counts in counted(drawn, p.n_units)])
        return found[:, 0], found[:, 1]

    return refit


def _one(p: Problem, times, counts) -> tuple[float, float]:
    w = times * p.weights
    try:
        coef = solve_glm(p.X, p.y, w, log_link(1.0), start=p.start, tolerance=1e-10)
    except DataProblem:
        return np.nan, np.nan
    mu, up, share = np.exp(p.X @ coef), np.exp(p.raised @ coef), w / w.sum()
    difference = share @ (up - mu)
    slope = (share * up) @ p.raised - (share * mu) @ p.X
    reach = p.X @ np.linalg.lstsq(p.X.T @ ((w * mu)[:, None] * p.X), slope, rcond=None)[0]
    rows = p.weights * (reach * (p.y - mu) + (up - mu - difference) / w.sum())
    return difference, float(np.sqrt(counts @ np.square(np.bincount(p.unit, rows))))


# --- an intercept a customer ------------------------------------------------------------------------------------------------


def within_customers(p: Problem, customer):
    """Refit with an intercept for each customer, (n,) codes, concentrated out of the likelihood."""
    order = np.argsort(customer, kind="stable")
    c = Customers(p.X[order], p.raised[order], p.y[order], p.weights[order], customer[order])
    unit = sparse.csr_matrix((np.ones(len(order)), (p.unit[order], np.arange(len(order)))))

    def refit(drawn):
        counts = counted(drawn, p.n_units)
        w = counts[:, p.unit[order]] * c.weights
        mu, means, H = c.fit(w, coef := _newton(c, w, p.start))
        ratio = np.exp(coef @ (c.raised - c.X).T)
        total = w.sum(axis=1, keepdims=True)
        gain, tilt = mu * (ratio - 1), w * mu * ratio
        difference = np.sum(w * gain, axis=1, keepdims=True) / total
        slope = tilt @ c.raised - (c.sums(tilt)[:, None, :] @ means)[:, 0]
        v = solve_many(H, slope / total)
        inner = v @ c.X.T - (means @ v[:, :, None])[:, :, 0][:, c.customer]
        rows = c.weights * ((gain - difference) / total + inner * (c.y - mu))
        return difference[:, 0], np.sqrt(np.sum(counts * np.square((unit @ rows.T).T), axis=1))

    return refit


@dataclass(frozen=True)
class Customers:
    """Rows in the order of their customers."""

    X: np.ndarray  # (n, p)
    raised: np.ndarray  # (n, p)
    y: np.ndarray  # (n,)
    weights: np.ndarray  # (n,)
    customer: np.ndarray  # (n,) codes 0, 1, ... ascending

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct rows of X and which of them each row is: exp() is dear."""
        cells, code = np.unique(self.X, axis=0, return_inverse=True)
        return cells, code.ravel()

    def sums(self, rows) -> np.ndarray:
        """Return the sums of `rows` (b, n) by customer, (b, g)."""
        return np.add.reduceat(rows, np.flatnonzero(np.diff(self.customer, prepend=-1)), axis=1)

    def fit(self, w, coef) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return means (b, n), weighted means of X by customer (b, g, p), and the information (b, p, p) of `coef`."""
        cells, code = self.cells
        raw = np.exp(np.clip(coef @ cells.T, -LARGEST, LARGEST))[:, code]
        pull = w * raw
        base, spent = np.maximum(self.sums(pull), 1e-300), self.sums(w * self.y)
        means = np.stack([self.sums(pull * column) for column in self.X.T], axis=2) / base[:, :, None]
        level = (spent / base)[:, self.customer]
        products = (self.X[:, :, None] * self.X[:, None, :]).reshape(len(self.X), -1)
        H = ((pull * level) @ products).reshape(len(w), *means.shape[2:], -1)
        return raw * level, means, H - means.transpose(0, 2, 1) @ (spent[:, :, None] * means)


def _newton(c: Customers, w, start, *, tolerance: float = 1e-10, most: int = 30) -> np.ndarray:
    coef, width = np.tile(start, (len(w), 1)), np.abs(c.X).max(axis=0)
    for _ in range(most):
        mu, _, H = c.fit(w, coef)
        step = solve_many(H, (w * (c.y - mu)) @ c.X)
        coef = coef + step
        if not np.nanmax(np.abs(step) @ width) >= tolerance:
            break
    coef[~(np.abs(step) @ width < 1e-5)] = np.nan
    return coef
