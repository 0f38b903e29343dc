"""Driver importance against its peers and a matrix product, seconds and ratios: ``python -m benchmarks.drivers``.

One core, n = 2,000 simulated ratings. Peers that are not installed are said to be absent; their ratios are then null.
CXRESEARCH_PEERS may name a folder of site-packages that holds them, so that they need not be installed here.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from cxresearch.drivers import (  # noqa: E402
    compare_drivers,
    driver_importance,
    halo_check,
    importance_performance,
    penalty_reward,
)
from cxresearch.inference.shares import packed, residual_variances, shapley_parts, standardised  # noqa: E402
from cxresearch.survey import as_survey  # noqa: E402

N = 2000
# name -> (ratio must be at least, or at most)
BAR = {
    "array_p15_vs_pingouin": (">=", 1000),
    "array_p15_vs_siamang": (">=", 300),
    "p20_vs_matrix_product": ("<=", 2),
    "p22_vs_matrix_product": ("<=", 6),
    "bootstrap_1000_p10_vs_1000_pingouin": (">=", 150),
    "bootstrap_1000_p15_vs_1000_pingouin": (">=", 500),
    "call_without_interval_p15_vs_pingouin": (">=", 150),
    "array_p20_vs_pingouin_p15": (">=", 45),
    "bootstrap_1000_p10_vs_one_pingouin_p15": (">=", 25),
    "analyses_of_27_drivers_seconds": ("<=", 60),
    "memory_p22_gb": ("<=", 1),
    "growth_per_driver": ("<=", 2.2),
    "logistic_p10_vs_statsmodels_loop": (">=", 10),
}


def ratings(p: int, n: int = N) -> pd.DataFrame:
    """Return p correlated ratings x1.. (1-10), an outcome y and a yes/no outcome z."""
    rng = np.random.default_rng(p)
    x = 0.7 * rng.normal(size=(n, 1)) + 0.7 * rng.normal(size=(n, p))
    y = x @ rng.uniform(0, 0.5, p) + rng.normal(size=n)
    table = pd.DataFrame(np.clip(np.round(6 + 2 * x), 1, 10), columns=[f"x{k + 1}" for k in range(p)])
    return table.assign(y=y, z=(y + rng.logistic(size=n) > np.median(y)).astype(float))


def drivers(table) -> list[str]:
    return [c for c in table if c.startswith("x")]


def seconds(call, *, times: int = 3) -> float:
    """Return the least time of a few calls."""
    best = np.inf
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def public(table, **options):
    return driver_importance(table, outcome="y", drivers=drivers(table), **options)


def notebook() -> None:
    """Ask what the notebook asks, of 27 ratings of which one answer in fifty was skipped, in four waves."""
    table, rng = ratings(27), np.random.default_rng(1)
    names = drivers(table)
    table[names] = table[names].mask(rng.random((N, 27)) < 0.02)
    survey = as_survey(table.assign(wave=np.arange(N) % 4), scales=dict.fromkeys(names, (1, 10)))
    ask = {"outcome": "y", "drivers": names, "seed": 1}
    for analysis in (driver_importance, importance_performance, penalty_reward, halo_check):
        analysis(survey, **ask)
    compare_drivers(survey, by="wave", **ask)


def peer_seconds(name: str, p: int) -> float | None:
    """Return the time of one LMG decomposition by a peer, in a process of its own; None where it is absent."""
    code = f"from benchmarks.drivers_peers import {name}; print({name}({p}))"
    path = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("CXRESEARCH_PEERS")])])
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    return float(run.stdout) if run.returncode == 0 else None


def lmg(x, y) -> np.ndarray:
    """Return the Shapley (LMG) parts of R², by the kernels that `driver_importance` calls."""
    z = standardised(np.column_stack([x, y]).astype(float), np.ones(len(y)))
    return shapley_parts(residual_variances(packed(z.T @ z / len(z)), [1] * (z.shape[1] - 1)))[:, 0]


def ours() -> dict[str, float]:
    """Return seconds by what was timed."""
    t10, t15 = ratings(10), ratings(15)
    square = np.random.default_rng(0).normal(size=(1000, 1000))
    found = {"matrix product 1000 x 1000": seconds(lambda: square @ square, times=10)}
    for p in (10, 12, 14, 15, 16, 18, 20, 22):
        x, y = ratings(p)[drivers(ratings(p))].to_numpy(), ratings(p)["y"].to_numpy()
        found[f"array p = {p}"] = seconds(lambda: lmg(x, y), times=5)
    found["call without interval p = 15"] = seconds(lambda: public(t15, n_boot=0, seed=None))
    found["call, 1,000 replicates p = 10"] = seconds(lambda: public(t10, seed=1))
    found["call, 1,000 replicates p = 15"] = seconds(lambda: public(t15, seed=1))
    found["analyses of the notebook, 27 drivers"] = seconds(notebook, times=1)
    found["logistic p = 10"] = seconds(
        lambda: driver_importance(t10, outcome="z", drivers=drivers(t10), kind="binary", n_boot=0, seed=None)
    )
    return found


def memory_gb() -> float:
    """Return the peak memory of a process that decomposes 22 drivers."""
    code = (
        "import resource; from benchmarks.drivers import *; t = ratings(22); lmg(t[drivers(t)], t.y); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout) / 2**20


def growth(found) -> float:
    """Return by which factor one more driver multiplies the time, fitted over p = 16 to 22."""
    p = np.array([16, 18, 20, 22])
    return float(2 ** np.polyfit(p, np.log2([found[f"array p = {k}"] for k in p]), 1)[0])


def ratios(found) -> dict[str, float | None]:
    """Return every ratio of the bar; None where the peer is absent."""
    product, array, call = (
        found["matrix product 1000 x 1000"],
        found["array p = 15"],
        found["call, 1,000 replicates p = 15"],
    )

    def over(peer, ours, times=1):
        return None if found.get(peer) is None else times * found[peer] / ours

    return {
        "array_p15_vs_pingouin": over("pingouin p = 15", array),
        "array_p15_vs_siamang": over("siamang p = 15", array),
        "call_without_interval_p15_vs_pingouin": over("pingouin p = 15", found["call without interval p = 15"]),
        "p20_vs_matrix_product": found["array p = 20"] / product,
        "p22_vs_matrix_product": found["array p = 22"] / product,
        "bootstrap_1000_p10_vs_1000_pingouin": over("pingouin p = 10", found["call, 1,000 replicates p = 10"], 1000),
        "bootstrap_1000_p15_vs_1000_pingouin": over("pingouin p = 15", call, 1000),
        "array_p20_vs_pingouin_p15": over("pingouin p = 15", found["array p = 20"]),
        "bootstrap_1000_p10_vs_one_pingouin_p15": over("pingouin p = 15", found["call, 1,000 replicates p = 10"]),
        "analyses_of_27_drivers_seconds": found["analyses of the notebook, 27 drivers"],
        "memory_p22_gb": memory_gb(),
        "growth_per_driver": growth(found),
        "logistic_p10_vs_statsmodels_loop": over("statsmodels Logit loop p = 10", found["logistic p = 10"]),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    found = ours()
    for name, p in (("pingouin", 10), ("pingouin", 15), ("siamang", 15), ("statsmodels_loop", 10)):
        title = {"statsmodels_loop": "statsmodels Logit loop"}.get(name, name)
        found[f"{title} p = {p}"] = peer_seconds(name, p)
    print(f"{'timed (n = 2,000, one core)':<44}{'seconds':>12}")
    for what, time_taken in found.items():
        print(f"{what:<44}{'peer absent' if time_taken is None else f'{time_taken:.5f}':>12}")
    result = ratios(found)
    print(f"\n{'ratio':<44}{'found':>12}{'bar':>10}")
    for name, value in result.items():
        sign, limit = BAR[name]
        print(f"{name:<44}{'absent' if value is None else f'{value:,.2f}':>12}{sign:>5}{limit:>6}")
    print(json.dumps({name: None if v is None else round(v, 3) for name, v in result.items()}))


if __name__ == "__main__":
    main()
