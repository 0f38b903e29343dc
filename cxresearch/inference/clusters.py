"""Errors of estimates whose rows come in clusters: CR1, CR2, jackknife, two ways, wild bootstrap; effects absorbed.

References
----------
Bell & McCaffrey (2002), Survey Methodology 28:169-181 (CR2); Cameron, Gelbach & Miller (2008), REStat 90:414-427 (wild
bootstrap), (2011), JBES 29:238-249 (two ways); Webb (2023), Can. J. Economics 56:839-858 (six points); MacKinnon,
Nielsen & Webb (2023), J. Applied Econometrics 38:671-694 (jackknife, CV3); Halperin (1962), Guimaraes & Portugal
(2010), Stata J. 10:628-649 (alternating projections).
"""

from itertools import product

import numpy as np

from cxresearch.errors import DataProblem

ALL_SIGNS = 12  # clusters up to which every vector of signs is gone through
WEBB = np.sqrt([0.5, 1.0, 1.5])


def cluster_covariance(influence, cluster) -> np.ndarray:
    """Return G/(G - 1) times the spread of the influence (n, k) summed by cluster: CR1 but for (n - 1)/(n - p)."""
    names, code = np.unique(cluster, return_inverse=True)
    totals = np.stack([np.bincount(code, column) for column in np.asarray(influence, dtype=float).T], axis=1)
    totals -= totals.mean(axis=0)
    return len(names) / (len(names) - 1) * totals.T @ totals


def two_way(covariance, first, second) -> np.ndarray:
    """Return `covariance(first)` + `covariance(second)` less that by both, with no negative eigenvalue."""
    pairs = np.unique(np.column_stack([first, second]), axis=0, return_inverse=True)[1].ravel()
    one, two, joint = (covariance(codes) for codes in (first, second, pairs))
    values, vectors = np.linalg.eigh(one + two - joint)
    return one + two - joint if values.min() >= 0 else (vectors * np.maximum(values, 0)) @ vectors.T


def jackknife(estimate, cluster, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return the estimates and their CV3 covariance, (G-1)/G times the spread of estimates each without one cluster.

    `estimate` maps weights (n,) to estimates (k,); the interval takes t with G - 1 degrees of freedom.
    """
    names, code = np.unique(cluster, return_inverse=True)
    whole = estimate(weights)
    spread = np.stack([estimate(np.where(code == g, 0.0, weights)) for g in range(len(names))]) - whole
    return whole, (len(names) - 1) / len(names) * spread.T @ spread


def cr2(X, residual, cluster, weights=None) -> tuple[np.ndarray, np.ndarray]:
    """Return the bias-reduced (CR2) covariance of least squares and Bell-McCaffrey degrees of freedom per column.

    Parameters
    ----------
    X : (n, p), residual : (n,), cluster : (n,)
    weights : (n,), optional
        Working model: equal variances, rows independent.

    Notes
    -----
    Residuals of a cluster are multiplied by (I - H_gg)^(-1/2); the degrees of freedom are Satterthwaite's for the
    variance of each coefficient (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018, JBES 36:672-683).
    """
    root = np.sqrt(np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float))
    Q, R = np.linalg.qr(X * root[:, None])
    back = np.linalg.inv(R).T  # coef = back.T @ Q'y, row j of R^-1 picks coefficient j
    members = [np.flatnonzero(cluster == g) for g in np.unique(cluster)]
    reach = [_adjusted(Q[m]) for m in members]  # (p, n_g): Q_g' A_g
    scores = np.stack([a @ (root[m] * residual[m]) for a, m in zip(reach, members)])  # (G, p)
    covariance = back.T @ scores.T @ scores @ back
    return covariance, np.array([_satterthwaite(back[:, j], reach, members, Q) for j in range(X.shape[1])])


def _adjusted(Q_g: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(Q_g.T @ Q_g)  # (p, p): cheap however large the cluster
    kept = np.where(1 - values > 1e-10, 1 / np.sqrt(np.maximum(1 - values, 1e-300)), 0.0)
    return (vectors * kept) @ vectors.T @ Q_g.T


def _satterthwaite(pick, reach, members, Q) -> float:
    # The variance estimate is sum_g (c_g'e)^2 with e = (I - QQ')u: its moments come from the Gram matrix of the c_g.
    c = [pick @ a for a in reach]
    through = np.stack([c_g @ Q[m] for c_g, m in zip(c, members)])
    gram = np.diag([c_g @ c_g for c_g in c]) - through @ through.T
    return float(np.trace(gram) ** 2 / np.sum(np.square(gram)))


def wild_bootstrap(
    X, y, cluster, column: int, *, n_boot: int, seed, points: str = "rademacher", null=0.0, confidence=0.95
) -> tuple[float, float, float]:
    """Return p of "the coefficient is `null`" and the interval of the coefficient, by the wild cluster bootstrap-t.

    The null is imposed; everything happens in sums by cluster, (G, G) by (G, B). Signs ("rademacher") up to 12 clusters
    are all gone through; ``"webb"`` draws six points, which under about eight clusters tell more values apart.
    """
    others, x = np.delete(X, column, axis=1), X[:, column]
    names, code = np.unique(cluster, return_inverse=True)
    both = np.column_stack([y, x])
    y_free, x_free = (both - others @ np.linalg.lstsq(others, both, rcond=None)[0]).T

    def sums(rows):
        return np.stack([np.bincount(code, c, minlength=len(names)) for c in rows.T], axis=1)

    back = np.linalg.pinv(X.T @ X) @ sums(x_free[:, None] * X).T  # (p, G): what a row's fit adds to x by cluster
    own = sums(x_free[:, None] * np.column_stack([y_free, x_free]))
    onto = sums(y_free[:, None] * X), sums(x_free[:, None] * X)
    signs = _signs(len(names), n_boot, np.random.default_rng(seed), points)

    def p_value(value):
        pulled = own @ (1.0, -value)
        scores = np.diag(pulled) - ((onto[0] - value * onto[1]) @ back).T
        t = np.abs(pulled @ signs) / np.linalg.norm(scores @ signs, axis=0)
        observed = abs(pulled.sum()) / np.linalg.norm(scores.sum(axis=1))
        return float(np.mean(t >= observed * (1 - 1e-10)))

    estimate, step = own[:, 0].sum() / own[:, 1].sum(), np.linalg.norm(own[:, 0]) / own[:, 1].sum()
    ends = [_crossing(p_value, estimate, way * step, 1 - confidence) for way in (-1, 1)]
    return p_value(null), *map(float, ends)


def _signs(n: int, n_boot: int, rng, points: str) -> np.ndarray:
    if points not in ("rademacher", "webb"):
        raise DataProblem(f"points={points!r} is not one of 'rademacher', 'webb'")
    if points == "rademacher" and n <= ALL_SIGNS:
        return np.array(list(product((-1.0, 1.0), repeat=n))).T
    return rng.choice((-1.0, 1.0) if points == "rademacher" else (*-WEBB, *WEBB), size=(n, n_boot))


def _crossing(p_value, inside: float, step: float, level: float) -> float:
    """Return where p falls under `level` on one side of the estimate; infinite where it never does."""
    outside = inside + step
    for _ in range(40):
        if p_value(outside) <= level:
            break
        inside, outside = outside, outside + 2 * (outside - inside)
    else:
        return float(np.copysign(np.inf, step))
    for _ in range(50):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if p_value(middle) > level else (inside, middle)
    return (inside + outside) / 2


def demean(values, weights, groups, *, tolerance: float = 1e-10, most: int = 10_000) -> np.ndarray:
    """Return `values` (n, k) less their weighted means within every grouping, by alternating projections.

    `groups` is a list of (n,) integer codes.
    """
    out = np.array(values, dtype=float)
    totals = [np.maximum(np.bincount(g, weights), 1e-300) for g in groups]
    size = np.abs(out).max(axis=0) + 1e-300
    for _ in range(most):
        before = out.copy()
        for g, total in zip(groups, totals):
            means = np.stack([np.bincount(g, weights * c) for c in out.T], axis=1) / total[:, None]
            out -= means[g]
        if len(groups) == 1 or np.max(np.abs(out - before) / size) < tolerance:
            return out
    raise DataProblem("the two columns of effects could not be separated: their groups hang together too loosely")
