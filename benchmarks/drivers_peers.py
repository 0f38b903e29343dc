"""One call of each peer, timed; imported in a process of its own because a peer may be absent."""

import itertools
import time
import warnings

import numpy as np

from benchmarks.drivers import drivers, ratings, seconds

warnings.simplefilter("ignore")


def pingouin(p: int) -> float:
    """Return the seconds of one LMG by ``pingouin.linear_regression(relimp=True)``."""
    import pingouin as pg

    table = ratings(p)
    small = ratings(3)
    pg.linear_regression(small[drivers(small)], small["y"], relimp=True)  # first call loads what it needs
    return seconds(
        lambda: pg.linear_regression(table[drivers(table)], table["y"], relimp=True), times=1 if p > 12 else 2
    )


def siamang(p: int) -> float:
    """Return the seconds of one LMG by ``siamang.data.drivers.shapley``, correlations included."""
    from siamang.data.drivers import shapley

    table = ratings(p)[[*drivers(ratings(p)), "y"]]

    def call():
        r = np.corrcoef(table.to_numpy().T)
        return shapley(r[:-1, :-1], r[:-1, -1])

    call()
    return seconds(call, times=2)


def statsmodels_loop(p: int) -> float:
    """Return the seconds of `Logit` fits over all subsets of p drivers."""
    import statsmodels.api as sm

    table = ratings(p)
    x, z = table[drivers(table)].to_numpy(), table["z"].to_numpy()
    start = time.perf_counter()
    for size in range(p + 1):
        for subset in itertools.combinations(range(p), size):
            sm.Logit(z, np.column_stack([np.ones(len(z)), x[:, subset]])).fit(disp=0)
    return time.perf_counter() - start
