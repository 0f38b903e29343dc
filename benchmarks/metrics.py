"""Seconds of the scorecard on a million weighted responses; ``python -m benchmarks.metrics``.

One core. weightipy rakes from equal weights, the only case that it covers.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import json  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from cxresearch.metrics import compare_waves, nps, split_change  # noqa: E402
from cxresearch.survey import as_survey  # noqa: E402
from cxresearch.weighting import rake  # noqa: E402

ROWS, GROUPS = 1_000_000, 200
BAR = {"nps_1m_weighted_200_groups_seconds": ("<=", 1.0)}


def responses(n: int = ROWS) -> pd.DataFrame:
    """Return scores, weights, groups as text, twelve waves, clusters and two margins."""
    rng = np.random.default_rng(1)
    group = rng.integers(0, GROUPS, n)
    return pd.DataFrame(
        {
            "score": rng.integers(0, 11, n),
            "weight": rng.uniform(0.5, 2, n),
            "group": np.array([f"branch {g}" for g in range(GROUPS)], dtype=object)[group],
            "wave": rng.integers(1, 13, n),
            "cluster": rng.integers(0, 20_000, n),
            "age": rng.integers(0, 6, n),
            "region": rng.integers(0, 10, n),
        }
    )


def seconds(call, *, times: int = 3) -> float:
    """Return the least time of a few calls."""
    best = np.inf
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def raking_seconds(table: pd.DataFrame) -> dict[str, float | None]:
    """Return seconds of raking 100,000 rows on two margins, ours and weightipy's (None where absent)."""
    part = table[["age", "region"]].head(100_000)
    targets = {
        "age": dict(enumerate([0.1, 0.2, 0.2, 0.2, 0.2, 0.1])),
        "region": dict(enumerate([0.05, 0.15] + [0.1] * 8)),
    }
    found = {"rake_100k": seconds(lambda: rake(part, targets=targets))}
    try:
        import weightipy
    except ImportError:
        return {**found, "weightipy_100k": None}
    scheme = {k: {level: 100 * share for level, share in goal.items()} for k, goal in targets.items()}
    options = {"convcrit": 1e-10}
    theirs = seconds(
        lambda: weightipy.weight(part, weightipy.scheme_from_dict(scheme, name="w", rim_params=options)), times=1
    )
    return {**found, "weightipy_100k": theirs}


def measured() -> dict[str, float | None]:
    """Return seconds by task."""
    table = responses()
    times = {
        "nps_1m_weighted_200_groups": seconds(lambda: nps(as_survey(table, weight="weight"), "score", by="group")),
        "nps_1m_clustered_200_groups": seconds(
            lambda: nps(as_survey(table, weight="weight", cluster="cluster"), "score", by="group")
        ),
        "compare_12_waves_1m": seconds(lambda: compare_waves(as_survey(table, wave="wave", weight="weight"), "score")),
        "split_12_waves_1m": seconds(
            lambda: split_change(as_survey(table, wave="wave"), "score", by="region"), times=1
        ),
    }
    return {**times, **raking_seconds(table)}


def main() -> None:
    times = measured()
    for name, value in times.items():
        print(f"{name:32} {'absent' if value is None else f'{value:8.3f} s'}")
    ratios = {
        "nps_1m_weighted_200_groups_seconds": times["nps_1m_weighted_200_groups"],
        "rake_vs_weightipy": None if times["weightipy_100k"] is None else times["weightipy_100k"] / times["rake_100k"],
    }
    missed = [k for k, (side, bar) in BAR.items() if not (ratios[k] <= bar if side == "<=" else ratios[k] >= bar)]
    print(f"missed: {', '.join(missed) or 'none'}")
    print(json.dumps({k: None if v is None else round(v, 3) for k, v in ratios.items()}))


if __name__ == "__main__":
    main()
