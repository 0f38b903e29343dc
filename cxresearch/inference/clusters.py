"""Errors of estimates whose rows come in clusters: CR2, jackknife, two ways, wild bootstrap; effects absorbed.

Cameron, Gelbach & Miller (2011), JBES 29:238-249 (two ways), (2008), REStat 90:414-427 (wild bootstrap); MacKinnon,
Nielsen & Webb (2023), J. Applied Econometrics 38:671-694 (CV3).
"""

from itertools import product

import numpy as np

from cxresearch.errors import DataProblem

ALL_SIGNS = 12  # clusters up to which every vector of signs is gone through


def _sums(rows, code) -> np.ndarray:
    return np.stack([np.bincount(code, column) for column in np.asarray(rows, dtype=float).T], axis=1)


def two_way(covariance, first, second) -> np.ndarray:
    """Return `covariance(first)` + `covariance(second)` less that by both, with no negative eigenvalue."""
    pairs = np.unique(np.column_stack([first, second]), axis=0, return_inverse=True)[1].ravel()
    one, two, joint = (covariance(codes) for codes in (first, second, pairs))
    values, vectors = np.linalg.eigh(one + two - joint)
    return one + two - joint if values.min() >= 0 else (vectors * np.maximum(values, 0)) @ vectors.T


def jackknife(estimate, cluster, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return `estimate` (k,) of weights (n,) and its CV3 covariance, (G-1)/G times the spread of those without a cluster."""
    whole, cluster = estimate(weights), np.asarray(cluster)
    spread = np.stack([estimate(np.where(cluster == g, 0.0, weights)) for g in np.unique(cluster)]) - whole
    return whole, (len(spread) - 1) / len(spread) * spread.T @ spread


def cr2(X, residual, cluster, weights=None) -> tuple[np.ndarray, np.ndarray]:
    """Return the bias-reduced (CR2) covariance (p, p) of (weighted) least squares and its Satterthwaite degrees of freedom
    (p,), those of independent rows (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018, JBES 36:672-683).
    """
    root = np.sqrt(np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float))
    Q, R = np.linalg.qr(X * root[:, None])
    code = np.unique(cluster, return_inverse=True)[1]
    inside = np.stack([_sums(column[:, None] * Q, code) for column in Q.T], axis=1)  # (G, p, p): Q'Q of each cluster
    values, vectors = np.linalg.eigh(inside)
    kept = np.where(1 - values > 1e-10, np.maximum(1 - values, 1e-300) ** -0.5, 0.0)
    half = np.linalg.inv(R) @ (vectors * kept[:, None]) @ np.swapaxes(vectors, 1, 2)
    scores = (half @ _sums((root * residual)[:, None] * Q, code)[..., None])[..., 0]
    through = half @ inside  # a coefficient's gram matrix is diag(own) - through through', (G, G): never written out
    own, shared = np.sum(through * half, axis=2), np.sum(through**2, axis=2)
    crossed = np.einsum("gki,gkj->kij", through, through, optimize=True)
    squares = np.sum(own**2 - 2 * own * shared, axis=0) + np.sum(crossed**2, axis=(1, 2))
    return scores.T @ scores, np.sum(own - shared, axis=0) ** 2 / squares


def wild_bootstrap(X, y, cluster, column: int, *, n_boot: int, seed, confidence=0.95) -> tuple[float, float, float]:
    """Return p of "the coefficient is 0" and its interval by the wild cluster bootstrap-t, the null imposed."""
    from scipy.optimize import bisect

    others, both = np.delete(X, column, axis=1), np.column_stack([y, X[:, column]])
    names, code = np.unique(cluster, return_inverse=True)
    free = both - others @ np.linalg.lstsq(others, both, rcond=None)[0]  # of the other columns
    onto = [_sums(part[:, None] * X, code) for part in free.T]
    back = np.linalg.pinv(X.T @ X) @ onto[1].T  # (p, G): what a row's fit adds to x by cluster
    own = _sums(free * free[:, 1:], code)
    if len(names) <= ALL_SIGNS:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(names)))).T
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(len(names), n_boot))

    def p_value(value):
        pulled = own @ (1.0, -value)
        scores = np.diag(pulled) - ((onto[0] - value * onto[1]) @ back).T
        t = np.abs(pulled @ signs) / np.linalg.norm(scores @ signs, axis=0)
        observed = abs(pulled.sum()) / np.linalg.norm(scores.sum(axis=1))
        return float(np.mean(t >= observed * (1 - 1e-10)))

    def end(step):
        """Return where p falls under 1 - confidence on one side of the estimate; infinite where it never does."""
        inside = lambda value: 1 if p_value(value) > 1 - confidence else -1  # noqa: E731
        steps = estimate + step * (2.0 ** np.arange(41) - 1)
        far = next((k for k in range(1, 41) if inside(steps[k]) < 0), 0)
        return bisect(inside, *steps[far - 1 : far + 1], xtol=1e-14 * abs(step)) if far else np.copysign(np.inf, step)

    estimate, step = own[:, 0].sum() / own[:, 1].sum(), np.linalg.norm(own[:, 0]) / own[:, 1].sum()
    return p_value(0.0), float(end(-step)), float(end(step))


def demean(values, weights, groups, *, tolerance: float = 1e-10, most: int = 10_000) -> np.ndarray:
    """Return `values` (n, k) less their weighted means within all `groups`, a list of codes (n,), by alternating
    projections (Guimaraes & Portugal 2010, Stata J. 10:628-649).
    """
    out, totals = np.array(values, dtype=float), [np.maximum(np.bincount(g, weights), 1e-300) for g in groups]
    size = np.abs(out).max(axis=0) + 1e-300
    for _ in range(most):
        before = out.copy()
        for g, total in zip(groups, totals):
            out -= (_sums(weights[:, None] * out, g) / total[:, None])[g]
        if len(groups) == 1 or np.max(np.abs(out - before) / size) < tolerance:
            return out
    raise DataProblem("the two columns of effects could not be separated: their groups hang together too loosely")
