"""Variances between and within agents by REML: CPU seconds a million ratings, of this package and of MixedLM.

``python -m benchmarks.chain [--rows 1000000] [--peer-rows 20000]`` prints a table, and last one line of JSON. MixedLM gets
as many ratings an agent and fewer agents; what is compared is the time of a rating.
"""

import argparse
import json
import time

import numpy as np
import pandas as pd


def ratings(rows: int, agents: int) -> pd.DataFrame:
    """Return ratings of agents whose true means differ by 0.5 points (sd)."""
    rng = np.random.default_rng(1)
    agent = rng.integers(0, agents, rows)
    return pd.DataFrame({"agent": agent, "score": 5 + rng.normal(0, 0.5, agents)[agent] + rng.normal(0, 1.2, rows)})


def ours(table: pd.DataFrame) -> tuple[float, float]:
    from cxresearch.inference.pooling import one_way

    found = one_way(table["score"], table["agent"])
    return found.between, found.within


def peer(table: pd.DataFrame) -> tuple[float, float]:
    import statsmodels.api as sm

    found = sm.MixedLM(table["score"], np.ones(len(table)), groups=table["agent"]).fit(reml=True)
    return float(found.cov_re.iloc[0, 0]), float(found.scale)


def measured(task, table: pd.DataFrame) -> tuple[float, tuple[float, float]]:
    """Return CPU seconds, imports not counted, and the two variances."""
    task(table[:2000])
    start = time.process_time()
    found = task(table)
    return time.process_time() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer-rows", type=int, default=20_000)
    asked = parser.parse_args()
    rows = []
    for name, task, n in (("cxresearch", ours, asked.rows), ("statsmodels MixedLM", peer, asked.peer_rows)):
        seconds, (between, within) = measured(task, ratings(n, n // 100))
        rows.append({"task": name, "ratings": n, "cpu_s": seconds, "us_a_rating": 1e6 * seconds / n,
                     "between": between, "within": within})  # fmt: skip
    table = pd.DataFrame(rows)
    ours_there = ours(ratings(asked.peer_rows, asked.peer_rows // 100))
    assert np.allclose(ours_there, (rows[1]["between"], rows[1]["within"]), rtol=1e-3), (
        "the two compute different numbers"
    )
    print(table.round(4).to_string(index=False))
    ratio = rows[1]["us_a_rating"] / rows[0]["us_a_rating"]
    print(
        json.dumps(
            {
                "ratios": {"reml_a_rating_against_mixedlm": round(ratio, 1)},
                "bars": {"reml_a_rating_against_mixedlm": 20.0},
            }
        )
    )


if __name__ == "__main__":
    main()
