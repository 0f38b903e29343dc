"""Gaussian mixtures over covariance families, by BIC and ICL.

References
----------
Fraley & Raftery (2002), *JASA* 97 (BIC = 2 log L - p log n, larger is better); Biernacki, Celeux & Govaert (2000),
*IEEE PAMI* 22 (ICL: BIC less the uncertainty of the classification).
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

FAMILIES = {"spherical": "VII", "diag": "VVI", "tied": "EEE", "full": "VVV"}  # scikit-learn's names and mclust's


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture: shares (k,), centres (k, p), covariances (k, p, p) and its family."""

    shares: np.ndarray
    centres: np.ndarray
    covariances: np.ndarray
    family: str

    def log_joint(self, x: np.ndarray) -> np.ndarray:
        """Return (n, k) log of share times density."""
        out = np.empty((len(x), len(self.shares)))
        for j, (share, centre, covariance) in enumerate(zip(self.shares, self.centres, self.covariances)):
            root = np.linalg.cholesky(covariance)
            z = np.linalg.solve(root, (x - centre).T)
            out[:, j] = (
                np.log(share)
                - np.log(np.diag(root)).sum()
                - 0.5 * (np.square(z).sum(axis=0) + x.shape[1] * np.log(2 * np.pi))
            )
        return out

    def posterior(self, x: np.ndarray) -> np.ndarray:
        """Return (n, k) probabilities of belonging."""
        joint = self.log_joint(x)
        joint = np.exp(joint - joint.max(axis=1, keepdims=True))
        return joint / joint.sum(axis=1, keepdims=True)

    def assign(self, x: np.ndarray) -> np.ndarray:
        return np.argmax(self.log_joint(x), axis=1)

    def log_likelihood(self, x: np.ndarray) -> float:
        return float(np.logaddexp.reduce(self.log_joint(x), axis=1).sum())

    def reordered(self, order: np.ndarray) -> "Mixture":
        return Mixture(self.shares[order], self.centres[order], self.covariances[order], self.family)


def n_parameters(k: int, p: int, family: str) -> int:
    """Return how many numbers a mixture of `k` components in `p` dimensions estimates."""
    covariance = {"spherical": k, "diag": k * p, "tied": p * (p + 1) // 2, "full": k * p * (p + 1) // 2}[family]
    return k - 1 + k * p + covariance


def fit_mixture(
    x: np.ndarray,
    k: int,
    *,
    family: str,
    seed: int,
    n_starts: int = 1,
    near: Mixture | None = None,
    floor: float = 1e-3,
    tolerance: float = 1e-6,
) -> Mixture:
    """Return the best of `n_starts` EM fits (from k-means), or the one that starts at `near`; `floor` is added to variances.

    EM stops where the mean log-likelihood gains less than `tolerance`. On the common scale the floor is a spread of 0.03: without it a component collapses onto customers who are all alike in
    a feature, such as those without returns, and BIC grows without bound.
    """
    given = (
        {}
        if near is None
        else {"weights_init": near.shares, "means_init": near.centres, "precisions_init": _precisions(near)}
    )
    model = GaussianMixture(
        k,
        covariance_type=family,
        n_init=n_starts,
        random_state=seed,
        reg_covar=floor,
        tol=tolerance,
        max_iter=2000,
        **given,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x)
    p = x.shape[1]
    full = {
        "spherical": lambda c: c[:, None, None] * np.eye(p),
        "diag": lambda c: c[:, :, None] * np.eye(p),
        "tied": lambda c: np.broadcast_to(c, (k, p, p)),
        "full": lambda c: c,
    }[family](model.covariances_)
    return Mixture(model.weights_, model.means_, np.array(full), family)


def _precisions(near: Mixture) -> np.ndarray:
    inverse = np.linalg.inv(near.covariances)
    return {"spherical": inverse[:, 0, 0], "diag": np.einsum("jii->ji", inverse), "tied": inverse[0], "full": inverse}[
        near.family
    ]


def bic(log_likelihood: float, parameters: int, n: int) -> float:
    """Return 2 log L - p log n: larger is better."""
    return 2 * log_likelihood - parameters * np.log(n)


def icl(criterion: float, posterior: np.ndarray) -> float:
    """Return BIC plus twice the log posterior of each row's own class: less where classes overlap."""
    return criterion + 2 * float(np.log(np.maximum(posterior.max(axis=1), 1e-300)).sum())
