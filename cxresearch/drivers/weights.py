"""Johnson's relative weights: the drivers' nearest uncorrelated stand-ins share out the explained variance.

References
----------
Johnson (2000), Multivariate Behavioral Research 35, 1; Genizi (1993), Statistica Sinica 3, 407 (the same quantity).
"""

import numpy as np

from cxresearch.inference.shares import TOLERANCE


def relative_weights(matrices: np.ndarray) -> np.ndarray:
    """Return each column's relative weight, (batch, m - 1), from (batch, m, m) correlations with the outcome last.

    R = V D V', L = V D^(1/2) V', b = L^-1 r, weight_j = sum_k L_jk^2 b_k^2 (Johnson 2000). They sum to R². Of
    dependent drivers the space they span is used once, by the generalised inverse.
    """
    among, with_outcome = matrices[:, :-1, :-1], matrices[:, :-1, -1]
    values, vectors = np.linalg.eigh(among)
    usable = values > TOLERANCE * values.shape[-1]
    root = np.sqrt(np.where(usable, values, 0.0))
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=usable)
    loadings = (vectors * root[:, None, :]) @ vectors.transpose(0, 2, 1)
    paths = (vectors * inverse[:, None, :]) @ (vectors.transpose(0, 2, 1) @ with_outcome[:, :, None])
    return (loadings**2 @ paths**2)[:, :, 0] / np.maximum(matrices[:, -1, -1], TOLERANCE)[:, None]
