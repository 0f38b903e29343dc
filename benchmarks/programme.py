"""Lifetimes of a million customers and a programme on a million rows; ``python -m benchmarks.programme``.

One core, CPU seconds. Of BG/NBD the fit is timed beyond the grouping of payments into customers, which both sides need;
lifetimes, where it is installed, fits the same rows. The effect of a programme is that of least squares with effects of
units and periods on the rows, by statsmodels with errors by unit.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import statsmodels.api as sm  # noqa: E402

from cxresearch.programme import difference_in_differences  # noqa: E402
from cxresearch.programme.customers import Fitted  # noqa: E402

BAR = {"bg_nbd_1m_seconds": ("<=", 2.0), "bg_nbd_times": (">=", 8), "did_times": (">=", 8)}


def customers(n: int) -> pd.DataFrame:
    """Return purchases after the first, day of the last and days seen, of buyers who leave after some purchase."""
    rng = np.random.default_rng(1)
    rate, leaves = rng.gamma(0.25, 1 / 4.4, n) / 7, rng.beta(0.8, 2.4, n)
    age = rng.integers(180, 273, n).astype(float)
    x, last, now, alive = np.zeros(n), np.zeros(n), np.zeros(n), np.ones(n, dtype=bool)
    while alive.any():
        now = now + rng.exponential(1 / np.maximum(rate, 1e-12))
        alive &= now < age
        x[alive] += 1
        last[alive] = np.floor(now[alive])
        alive &= rng.random(n) > leaves
    return pd.DataFrame({"x": x, "last": last, "age": age})


def cpu(call) -> tuple[float, object]:
    """Return the CPU seconds of a call, and what it returns."""
    start = time.process_time()
    found = call()
    return time.process_time() - start, found


def lifetimes_seconds(rows: pd.DataFrame) -> float | None:
    """Return CPU seconds of the same fit by lifetimes; None where it is not installed."""
    try:
        from lifetimes import BetaGeoFitter
    except ImportError:
        return None
    return cpu(lambda: BetaGeoFitter().fit(rows["x"], rows["last"] / 7, rows["age"] / 7))[0]


def panel(n: int) -> pd.DataFrame:
    """Return n contacts of 40 branches in 24 months, with a programme in 12 of them from month 12 on."""
    rng = np.random.default_rng(2)
    branch, month = rng.integers(0, 40, n), rng.integers(0, 24, n)
    wait = np.exp(2.5 + 0.01 * month - 0.22 * ((branch < 12) & (month >= 12)) + rng.normal(0, 0.5, n))
    return pd.DataFrame({"branch": branch, "month": month, "wait": wait})


def statsmodels_effect(table: pd.DataFrame) -> float:
    """Return the effect by least squares on the rows, errors by branch."""
    runs = ((table["branch"] < 12) & (table["month"] >= 12)).to_numpy(dtype=float)
    dummies = [pd.get_dummies(table[c], drop_first=True, dtype=float) for c in ("branch", "month")]
    X = np.column_stack([runs, np.ones(len(table)), *dummies])
    fit = sm.OLS(table["wait"].to_numpy(), X).fit(cov_type="cluster", cov_kwds={"groups": table["branch"].to_numpy()})
    return float(fit.params[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    n = parser.parse_args().rows
    rows, table = customers(n), panel(n)
    ours, _ = cpu(lambda: Fitted("bg_nbd", rows["x"], rows["last"] / 7, rows["age"] / 7))
    theirs = lifetimes_seconds(rows)
    asked = dict(outcome="wait", unit="branch", period="month", treated=range(12), since=12, n_boot=999, seed=1)
    did, found = cpu(lambda: difference_in_differences(table, **asked))
    plain, effect = cpu(lambda: statsmodels_effect(table))
    result = {
        "rows": n, "bg_nbd_1m_seconds": ours, "lifetimes_seconds": theirs, "bg_nbd_times": theirs and theirs / ours,
        "did_seconds": did, "statsmodels_seconds": plain, "did_times": plain / did,
        "did_difference": abs(found.tidy()["estimate"][0] - effect),
    }  # fmt: skip
    for name, value in result.items():
        bar = f"   bar {BAR[name][0]} {BAR[name][1]}" if name in BAR else ""
        print(f"{name:24} {'not installed' if value is None else format(value, '.4g')}{bar}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
