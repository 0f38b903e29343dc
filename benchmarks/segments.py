"""Segmentation against a plain scikit-learn loop, seconds and ratios: ``python -m benchmarks.segments``.

Simulated customers with planted segments: 100,000 with 12 features, 50 starts, 100 resamples; 2,469 with 6, as many as
the grocery panel has. The peer does with scikit-learn alone what can be done so: `KMeans` with as many starts, refits of
every resample with as many, and the silhouette of as large a sample. ``python -m benchmarks.segments calibrate`` draws
the score at which segments count as separated (`evidence.MOST_SCORE`) anew, from customers uniform on a line or in a strip.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.cluster import KMeans as Peer  # noqa: E402
from sklearn.metrics import silhouette_score  # noqa: E402

from cxresearch.segments import segment_customers  # noqa: E402
from cxresearch.segments.evidence import MOST_SCORE, halved_structure  # noqa: E402
from cxresearch.segments.methods import kmeans  # noqa: E402

K, STARTS, RESAMPLES, REFIT_STARTS = 5, 50, 100, 6
BAR = {"seconds_100000_by_12": 120, "seconds_2469_by_6": 10}


def customers(n: int, p: int) -> pd.DataFrame:
    """Return `n` customers in five segments, some of whose centres are four standard deviations apart."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(K, p))
    apart = np.sqrt(np.square(centres[:, None] - centres[None]).sum(axis=2))
    centres *= 4 / apart[apart > 0].min()
    return pd.DataFrame(centres[rng.integers(0, K, n)] + rng.normal(size=(n, p)), columns=[f"f{i}" for i in range(p)])


def ours(table: pd.DataFrame) -> float:
    start = time.perf_counter()
    segment_customers(table, features=list(table), n_segments=K, n_starts=STARTS, n_boot=RESAMPLES, seed=1)
    return time.perf_counter() - start


def peer(table: pd.DataFrame, *, resamples: int) -> float:
    """Return the seconds of the loop; those of the resamples are scaled up from a few."""
    start = time.perf_counter()
    x = ((table - table.mean()) / table.std()).to_numpy()
    labels = Peer(K, n_init=STARTS, random_state=1).fit(x).labels_
    silhouette_score(x, labels, sample_size=min(3000, len(x)), random_state=1)
    once, rng = time.perf_counter() - start, np.random.default_rng(1)
    start = time.perf_counter()
    for _ in range(resamples):
        rows = rng.integers(0, len(x), len(x))
        Peer(K, n_init=REFIT_STARTS, random_state=1).fit(x[rows])
    return once + (time.perf_counter() - start) * RESAMPLES / resamples


def measured(sizes) -> dict[str, float]:
    found = {}
    for n, p in sizes:
        table = customers(n, p)
        found[f"seconds_{n}_by_{p}"] = ours(table)
        found[f"peer_seconds_{n}_by_{p}"] = peer(table, resamples=5 if n > 10_000 else 20)
        found[f"ratio_to_peer_{n}_by_{p}"] = found[f"seconds_{n}_by_{p}"] / found[f"peer_seconds_{n}_by_{p}"]
    return {name: round(value, 3) for name, value in found.items()}


def separation(x: np.ndarray, k: int, seed: int) -> float:
    def quick(rows, number):
        return kmeans(rows, k, seed=number, n_starts=5)

    return halved_structure(x, k, quick, n_splits=5, seed=seed).separation_score


def smallest_scores(n: int, p: int, draws: int) -> np.ndarray:
    """Return the smallest score over two to five segments of `n` customers uniform on a line, or in a strip."""
    scores = []
    for draw in range(draws):
        rng = np.random.default_rng([n, p, draw])
        x = rng.random((n, p)) * np.append(1, rng.uniform(0.02, 1, p - 1))
        scores.append(min(separation(x / x.std(), k, draw) for k in (2, 3, 4, 5)))
    return np.array(scores)


def calibrated(draws: int) -> dict[str, float]:
    found = {}
    for n, p in ((100, 1), (400, 1), (2000, 1), (400, 2)):
        scores = smallest_scores(n, p, draws)
        found[f"quantile_05_{n}_by_{p}"] = round(float(np.quantile(scores, 0.05)), 3)
        found[f"reached_{n}_by_{p}"] = round(float((scores <= MOST_SCORE).mean()), 3)
    return found


def main(words: list[str]) -> int:
    if words[:1] == ["calibrate"]:
        found = calibrated(int(words[1]) if len(words) > 1 else 500)
    else:
        found = measured([(2469, 6), (100_000, 12)])
    for name, value in found.items():
        print(f"{name:32} {value}" + (f"  (bar: at most {BAR[name]})" if name in BAR else ""))
    print(json.dumps(found))
    return int(any(found.get(name, 0) > most for name, most in BAR.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
