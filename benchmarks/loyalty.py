"""The default loyalty model on 10 million customers, against statsmodels on the rows; ``python -m benchmarks.loyalty``.

Each side runs in a process of its own with one thread, reads the same Parquet file and returns coefficients and robust
errors; CPU seconds and peak memory are those of the process, imports included. statsmodels' HC1 of a GLM leaves out the
factor n / (n - p) that defines HC1 and is multiplied by its root. ``--rows`` sets another size.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

CONTROLS = ["region", "plan"]
BAR = {"cpu": (">=", 8), "memory": (">=", 5), "largest_difference": ("<=", 1e-8)}


def write_customers(path: Path, rows: int) -> None:
    """Write customers with a 0-10 score, two categorical controls and revenue with 30 % zeros, a million at a time."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, writer = np.random.default_rng(10), None
    for start in range(0, rows, 1_000_000):
        n = min(1_000_000, rows - start)
        score = np.clip(np.round(7.5 + 2 * rng.normal(size=n)), 0, 10).astype("int8")
        region, plan = rng.integers(0, 8, n), rng.integers(0, 3, n)
        mean = np.exp(4 + 0.03 * score + 0.05 * region - 0.1 * plan)
        revenue = np.where(rng.random(n) < 0.3, 0, np.round(rng.gamma(1.2, mean / 0.84), 2))
        table = pa.table(
            {
                "score": score,
                "region": pa.array(region).cast("int8"),
                "plan": pa.array(plan).cast("int8"),
                "revenue": revenue,
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def by_cells(path: str) -> dict:
    """Fit with sums per cell."""
    from cxresearch.loyalty import fit_loyalty_revenue

    got = fit_loyalty_revenue(path, revenue="revenue", loyalty="score", controls=CONTROLS, threads=1).tidy()
    return {"terms": got["term"].tolist(), "coef": got["estimate"].tolist(), "error": got["std_error"].tolist()}


def by_rows(path: str) -> dict:
    """Fit with statsmodels on the rows, categories as dummies against the largest."""
    import numpy as np
    import pandas as pd
    import statsmodels.api as sm

    table = pd.read_parquet(path)
    blocks, terms = [np.ones(len(table)), table["score"].to_numpy(dtype=float)], ["(intercept)", "score"]
    for control in CONTROLS:
        for level in sorted(table[control].unique()):
            if level != table[control].value_counts().idxmax():
                blocks.append((table[control] == level).to_numpy(dtype=float))
                terms.append(f"{control}[{level}]")
    X = np.column_stack(blocks)
    del blocks
    fit = sm.GLM(table["revenue"].to_numpy(), X, family=sm.families.Poisson()).fit(cov_type="HC1", tol=1e-12)
    errors = fit.bse * np.sqrt(len(X) / (len(X) - X.shape[1]))
    return {"terms": terms, "coef": fit.params.tolist(), "error": errors.tolist()}


def measured(side: str, path: str) -> dict:
    """Run one side in a process of its own and add its CPU seconds and peak memory."""
    command = [sys.executable, "-m", "benchmarks.loyalty", "--side", side, "--file", path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[1])
    return json.loads(done.stdout.splitlines()[-1])


def _run_side(side: str, path: str) -> None:
    found = {"cells": by_cells, "rows": by_rows}[side](path)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps(found | {"cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 2**20}))


def compare(rows: int) -> dict:
    """Return the ratios, and print the two sides."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "customers.parquet"
        write_customers(path, rows)
        sides = {side: measured(side, str(path)) for side in ("cells", "rows")}
    ours, theirs = sides["cells"], sides["rows"]
    print(f"{rows:,} customers, {len(ours['terms'])} coefficients, one thread")
    print(f"{'':24}{'CPU s':>10}{'memory GB':>12}")
    for name, side in (("sums per cell (DuckDB)", ours), ("statsmodels on rows", theirs)):
        print(f"{name:24}{side['cpu']:10.2f}{side['memory']:12.2f}")
    at = {term: i for i, term in enumerate(theirs["terms"])}
    gaps = [abs(ours[k][i] - theirs[k][at[t]]) for k in ("coef", "error") for i, t in enumerate(ours["terms"])]
    return {
        "rows": rows,
        "cpu": theirs["cpu"] / ours["cpu"],
        "memory": theirs["memory"] / ours["memory"],
        "largest_difference": max(gaps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--side", choices=("cells", "rows"))
    parser.add_argument("--file")
    given = parser.parse_args()
    if given.side:
        return _run_side(given.side, given.file)
    ratios = compare(given.rows)
    print(", ".join(f"{k} {sign} {bound}" for k, (sign, bound) in BAR.items()))
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
