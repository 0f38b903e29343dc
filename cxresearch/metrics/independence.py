"""Are the columns of a table alike: Rao and Scott's test of weighted shares, the joint Wald F.

References
----------
Rao & Scott (1984), Annals of Statistics 12, 46-60; Thomas & Rao (1987), J. American Statistical Association 82 (the
second-order correction as an F).
"""

import numpy as np
from scipy import sparse, stats


def columns_alike(sample, held, form, shown, multiple) -> tuple[float, float, float, float]:
    """Return F, its degrees of freedom and p of "the columns are alike"."""
    columns, k, g = np.flatnonzero(shown), held.shape[1], len(sample.keys)
    nothing = (np.nan,) * 4
    if len(columns) < 2 or (form == "share" and not multiple and k < 2):
        return nothing
    if form == "mean" or multiple:
        return _wald(sample, held, columns)
    n, place = len(sample), sample.cell * k + held.argmax(axis=1)
    table = np.bincount(place, sample.weights, minlength=g * k)
    influence = sparse.csr_array((sample.weights, place, np.arange(n + 1)), shape=(n, g * k))
    kept = (columns[:, None] * k + np.flatnonzero(table.reshape(g, k)[columns].sum(axis=0) > 0)).ravel()
    return rao_scott(table[kept].reshape(len(columns), -1), influence[:, kept], sample)


def rao_scott(table: np.ndarray, influence, sample) -> tuple[float, float, float, float]:
    """Return F, df and p of independence in a weighted table (r, c), `influence` (n, rc) being the rows' pull on its sums.

    Pearson's chi-square on n rows, divided by the trace of the design effects D of the interactions, is an F on
    tr(D)^2 / tr(D^2) and as many times units-less-strata degrees of freedom (Rao & Scott 1984; Thomas & Rao 1987).
    """
    r, c = table.shape
    total, n = table.sum(), int(np.sum(np.abs(influence).sum(axis=1) > 0))
    p = (table / total).ravel()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)).ravel() / total**2
    pearson = n * np.sum((p - expected) ** 2 / expected)
    jacobian = (np.eye(r * c) - p[:, None]) / total
    covariance = jacobian @ sample.covariance_of(influence) @ jacobian.T
    main = np.hstack([np.kron(np.eye(r), np.ones((c, 1))), np.kron(np.ones((r, 1)), np.eye(c))])
    both = np.kron(np.vstack([-np.ones(r - 1), np.eye(r - 1)]), np.vstack([-np.ones(c - 1), np.eye(c - 1)]))
    contrast = both - main @ np.linalg.lstsq(main, both, rcond=None)[0]
    inverse = np.divide(1.0, p, out=np.zeros(r * c), where=p > 0)[:, None] * contrast
    effects = np.linalg.lstsq(contrast.T @ inverse / n, inverse.T @ covariance @ inverse, rcond=None)[0]
    trace = np.trace(effects)
    df = trace**2 / np.trace(effects @ effects)
    second = df * sample.units.df
    if not np.isfinite(df) or trace <= 0 or second <= 0:
        return (np.nan,) * 4
    return pearson / trace, df, second, float(stats.f.sf(pearson / trace, df, second))


def _wald(sample, held, columns) -> tuple[float, float, float, float]:
    """Return the adjusted Wald F of "all means are alike in all columns"."""
    k, g = held.shape[1], len(sample.keys)
    influence = sparse.hstack([sample.influence(held[:, j]) for j in range(k)]).tocsr()
    means = np.concatenate([sample.means(held[:, j]) for j in range(k)])
    keep = (np.arange(k)[:, None] * g + columns).ravel()
    covariance = sample.covariance_of(influence[:, keep])
    contrast = np.kron(np.eye(k), np.eye(len(columns) - 1, len(columns), 1) - np.eye(len(columns) - 1, len(columns)))
    difference, spread = contrast @ means[keep], contrast @ covariance @ contrast.T
    q, df = np.linalg.matrix_rank(spread, hermitian=True), sample.units.df
    second = df - q + 1
    if q == 0 or second <= 2:
        return (np.nan,) * 4
    statistic = float(difference @ np.linalg.pinv(spread, hermitian=True) @ difference) * second / (df * q)
    return statistic, float(q), float(second), float(stats.f.sf(statistic, q, second))
