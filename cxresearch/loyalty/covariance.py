"""Errors of an estimate from the influence of its rows: robust, clustered one and two ways, or by survey design.

References
----------
MacKinnon & White (1985), J. Econometrics 29:305-325 (HC1); Cameron, Gelbach & Miller (2011), JBES 29:238-249 (two
ways); Binder (1983), Int. Stat. Rev. 51:279-292 (survey); MacKinnon, Nielsen & Webb (2023), J. Applied
Econometrics 38:671-694 (cluster jackknife, CV3); Bell & McCaffrey (2002), Survey Methodology 28:169-181 (CR2).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch.inference import survey_mean

FEW_CLUSTERS = 40


@dataclass(frozen=True)
class Sampling:
    """How the rows came to be: what the errors must respect."""

    clusters: tuple[np.ndarray, ...] = ()  # none, one or two (n,) arrays of codes
    strata: np.ndarray | None = None
    fpc: np.ndarray | None = None
    weighted: bool = False

    @property
    def is_survey(self) -> bool:
        return self.weighted or self.strata is not None or self.fpc is not None

    @property
    def n_clusters(self) -> int | None:
        """Clusters of the coarser of the two ways; None where rows are independent."""
        return min(len(np.unique(c)) for c in self.clusters) if self.clusters else None

    @property
    def few(self) -> bool:
        return self.n_clusters is not None and self.n_clusters < FEW_CLUSTERS

    def degrees_of_freedom(self, n: int, p: int) -> float:
        units = n if self.n_clusters is None else self.n_clusters
        if self.is_survey:
            return float(units - (1 if self.strata is None else len(np.unique(self.strata))))
        return float(n - p if self.n_clusters is None else units - 1)

    def words(self) -> str:
        """Return how errors are computed, for `glance`."""
        kind = "survey-linearised" if self.is_survey else "robust (HC1)"
        if len(self.clusters) == 2:
            return f"clustered two ways ({', '.join(str(len(np.unique(c))) for c in self.clusters)} clusters)"
        return (
            f"{'survey-linearised, ' if self.is_survey else ''}clustered ({self.n_clusters} clusters)"
            if self.clusters
            else kind
        )


def influence_covariance(influence, sampling: Sampling, p: int) -> np.ndarray:
    """Return the covariance (k, k) of estimates from their influences (n, k).

    One way it equals HC1, or Stata's and statsmodels' clustered errors, G/(G-1) (n-1)/(n-p); with weights, strata or
    sampling fractions it is the linearised design variance without the last factor (R `survey::svyglm`). Two ways:
    the sum of both less that of their intersection, made positive where the difference is not.
    """
    n = len(influence)
    factor = 1.0 if sampling.is_survey else (n - 1) / max(n - p, 1)
    if len(sampling.clusters) == 2:
        first, second = sampling.clusters
        both = np.unique(np.column_stack([first, second]), axis=0, return_inverse=True)[1].ravel()
        one, two, joint = (_totals(influence, sampling, c) for c in (first, second, both))
        return factor * positive(one + two - joint)
    return factor * _totals(influence, sampling, sampling.clusters[0] if sampling.clusters else None)


def _totals(influence, sampling: Sampling, cluster) -> np.ndarray:
    scaled = influence * len(influence)
    return survey_mean(scaled, strata=sampling.strata, cluster=cluster, fpc=sampling.fpc).covariance


def positive(matrix) -> np.ndarray:
    """Return the nearest matrix without negative eigenvalues (Cameron, Gelbach & Miller 2011)."""
    values, vectors = np.linalg.eigh(matrix)
    return matrix if values.min() >= 0 else (vectors * np.maximum(values, 0)) @ vectors.T


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
    w = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float)
    root = np.sqrt(w)
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
