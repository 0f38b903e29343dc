"""Ratios of the survey's engine to named peers in one run; ``python -m benchmarks.survey``.

Means, shares and net scores by group and wave with weights, strata, clusters and sampling fractions on a million
responses, against a pandas loop over the cells that computes the same linearised errors; and the counts of a
bootstrap, against numpy's multinomial. One core; CPU seconds, the least of a few rounds taken in turns.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import json  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from cxresearch.survey import as_survey  # noqa: E402
from cxresearch.survey.sample import draw_counts  # noqa: E402

ROWS, GROUPS, WAVES, STRATA, CLUSTERS = 1_000_000, 40, 8, 20, 5_000
BARS = {"cells_of_1m_against_pandas": 5.0, "bootstrap_counts_against_multinomial": 4.0}


def responses(rows: int = ROWS) -> pd.DataFrame:
    """Return scores with a full design; clusters are nested in strata."""
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, CLUSTERS, rows)
    return pd.DataFrame(
        {
            "score": rng.integers(0, 11, rows),
            "weight": rng.uniform(0.5, 2, rows),
            "stratum": cluster % STRATA,
            "cluster": cluster,
            "fpc": 0.1 + 0.02 * (cluster % STRATA),
            "group": rng.integers(0, GROUPS, rows),
            "wave": rng.integers(1, WAVES + 1, rows),
        }
    )


def codes_of(score: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the answer, the share of 9 and 10, and the net score's code."""
    return score, (score >= 9).astype(float), (score >= 9).astype(float) - (score <= 6)


def by_survey(table: pd.DataFrame) -> np.ndarray:
    """Return mean and error of three measures by cell, (cells, 6)."""
    design = dict(weight="weight", strata="stratum", cluster="cluster", fpc="fpc", wave="wave")
    sample = as_survey(table, **design).sample(by="group", wave=True)
    found = []
    for code in codes_of(table["score"].to_numpy(dtype=float)):
        found += [sample.means(code), np.sqrt(sample.variance(code))]
    return np.column_stack(found)


def by_pandas(table: pd.DataFrame) -> np.ndarray:
    """Return the same by a loop over cells: residuals totalled by cluster, their variance within strata."""
    units = table[["stratum", "cluster", "fpc"]].drop_duplicates("cluster")
    size = units.groupby("stratum").size()
    kept = 1 - units.groupby("stratum")["fpc"].first()
    rows = []
    for _, cell in table.groupby(["group", "wave"]):
        found = []
        for code in codes_of(cell["score"].to_numpy(dtype=float)):
            total = cell["weight"].sum()
            mean = (cell["weight"] * code).sum() / total
            pull = cell["weight"] * (code - mean) / total
            of_unit = pull.groupby(cell["cluster"]).sum()
            stratum = of_unit.index % STRATA
            squares, sums = (of_unit**2).groupby(stratum).sum(), of_unit.groupby(stratum).sum()
            spread = (kept * size / (size - 1) * (squares - sums**2 / size)).sum()
            found += [mean, np.sqrt(spread)]
        rows.append(found)
    return np.array(rows)


def cpu_seconds(call, *, rounds: int) -> float:
    """Return the least CPU time of a few calls."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    table = responses()
    ours, theirs = by_survey(table), by_pandas(table)
    assert np.allclose(ours, theirs, rtol=1e-8), "the two compute different numbers"
    cells = {"survey": cpu_seconds(lambda: by_survey(table), rounds=3)}
    cells["pandas loop"] = cpu_seconds(lambda: by_pandas(table), rounds=2)
    rng, share = np.random.default_rng(1), np.full(2000, 1 / 2000)
    counts = {"counted integers": cpu_seconds(lambda: list(draw_counts(2000, 1999, 1000, rng)), rounds=5)}
    counts["rng.multinomial"] = cpu_seconds(lambda: rng.multinomial(1999, share, size=1000), rounds=5)
    for title, seconds in (("320 cells of 1,000,000 responses", cells), ("1000 x 2,000 bootstrap counts", counts)):
        print(title)
        for name, value in seconds.items():
            print(f"  {name:<18} {value:8.3f} CPU s")
    ratios = {
        "cells_of_1m_against_pandas": cells["pandas loop"] / cells["survey"],
        "bootstrap_counts_against_multinomial": counts["rng.multinomial"] / counts["counted integers"],
    }
    print(json.dumps({"ratios": {k: round(v, 2) for k, v in ratios.items()}, "bars": BARS}))


if __name__ == "__main__":
    main()
