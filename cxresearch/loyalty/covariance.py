"""Errors of an estimate from the influence of its rows: robust, clustered one and two ways, or by survey design.

References
----------
MacKinnon & White (1985), J. Econometrics 29:305-325 (HC1); Binder (1983), Int. Stat. Rev. 51:279-292 (survey).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch.inference import survey_mean
from cxresearch.inference.clusters import two_way

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
    covariance = lambda cluster: factor * _totals(influence, sampling, cluster)  # noqa: E731
    if len(sampling.clusters) == 2:
        return two_way(covariance, *sampling.clusters)
    return covariance(sampling.clusters[0] if sampling.clusters else None)


def _totals(influence, sampling: Sampling, cluster) -> np.ndarray:
    scaled = influence * len(influence)
    return survey_mean(scaled, strata=sampling.strata, cluster=cluster, fpc=sampling.fpc).covariance
