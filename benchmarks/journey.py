"""CPU-seconds of repeats and switches among ten million contacts; ``python -m benchmarks.journey``.

One core. Each task runs in a process of its own, so that its memory can be told. pm4py's graph of a million contacts is a
peer where pm4py is installed.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import importlib.util  # noqa: E402
import json  # noqa: E402
import multiprocessing  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

ROWS, DAYS = 10_000_000, 7
UNTIL = pd.Timestamp("2025-01-01")
BAR = {"cpu_vs_pandas": ("<=", 1 / 3), "memory_gb": ("<=", 1.0), "same_counts": (">=", 1.0)}


def contacts(n: int = ROWS) -> pd.DataFrame:
    """Return contacts of a quarter as many customers within a year."""
    rng = np.random.default_rng(1)
    topics, channels = (
        pd.CategoricalDtype([f"{word} {k}" for k in range(m)]) for word, m in (("topic", 8), ("channel", 4))
    )
    seconds = rng.integers(0, 366 * 86_400, n, dtype=np.int32)
    return pd.DataFrame({
        "customer": rng.integers(0, n // 4, n, dtype=np.int32),
        "at": np.datetime64("2024-01-01", "s") + seconds.astype("timedelta64[s]"),
        "topic": pd.Categorical.from_codes(rng.integers(0, 8, n, dtype=np.int8), dtype=topics),
        "channel": pd.Categorical.from_codes(rng.integers(0, 4, n, dtype=np.int8), dtype=channels),
    })  # fmt: skip


def ours(table: pd.DataFrame) -> pd.DataFrame:
    """Return repeats and switches by topic and channel."""
    from cxresearch.journey import repeat_contacts

    asked = dict(customer="customer", time="at", topic="topic", channel="channel", within_days=DAYS, until=UNTIL)
    found = repeat_contacts(table, by=["topic", "channel"], **asked).tidy()
    return found.set_index("group")[["repeats", "switches"]]


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Return the same counts by pandas alone."""
    t = table.drop_duplicates().sort_values(["customer", "at"], kind="stable")
    span = pd.Timedelta(days=DAYS)
    by = t.groupby("customer", sort=False)
    t["switches"] = (by["at"].shift(-1) - t["at"] <= span) & (by["channel"].shift(-1) != t["channel"])
    t["repeats"] = t.groupby(["customer", "topic"], sort=False, observed=True)["at"].shift(-1) - t["at"] <= span
    known = t[t["at"] < UNTIL - span]
    counts = known.groupby(["topic", "channel"], observed=True)[["repeats", "switches"]].sum()
    return counts.set_axis([", ".join(map(str, key)) for key in counts.index])


def graph(table: pd.DataFrame) -> int | None:
    """Return how many moves pm4py's graph of a million contacts has; None where pm4py is absent."""
    try:
        import pm4py
    except ImportError:
        return None
    part = table.head(1_000_000).astype({"customer": str, "topic": str})
    return len(pm4py.discover_dfg(part, activity_key="topic", timestamp_key="at", case_id_key="customer")[0])


def moves(table: pd.DataFrame) -> int:
    """Return how many moves our paths of the same million contacts have."""
    from cxresearch.journey import journey_paths

    part = table.head(1_000_000).assign(row=np.arange(1_000_000))
    asked = dict(case="customer", time="at", step="topic", order="row", n_boot=1, seed=1)
    return int((journey_paths(part, **asked).tidy()["moves"] > 0).sum())


def measured(task, queue) -> None:
    """Put what a task gives, its CPU-seconds and the most memory of its process in GB."""
    for name in ("cxresearch.journey", "pm4py"):  # what an import costs is another question
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    table, start = contacts(), time.process_time()
    found = task(table)
    queue.put((found, time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))


def alone(task):
    """Return what `measured` gives of a task in a new process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measured, args=(task, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def main() -> None:
    results = {task.__name__: alone(task) for task in (ours, plain, moves, graph)}
    for name, (_, seconds, memory) in results.items():
        print(f"{name:8} {seconds:8.2f} CPU-s {memory:6.2f} GB")
    (first, cpu, memory), (second, other, _) = results["ours"], results["plain"]
    same = float(first.sort_index().equals(second.sort_index().astype(first.dtypes)))
    print(f"repeats {int(first['repeats'].sum())}, switches {int(first['switches'].sum())}")
    ratios = {"cpu_vs_pandas": cpu / other, "memory_gb": memory, "same_counts": same}
    peer = None if results["graph"][0] is None else results["moves"][1] / results["graph"][1]
    missed = [k for k, (side, bar) in BAR.items() if not (ratios[k] <= bar if side == "<=" else ratios[k] >= bar)]
    print(f"missed: {', '.join(missed) or 'none'}")
    print(json.dumps({k: None if v is None else round(v, 3) for k, v in (ratios | {"paths_vs_pm4py": peer}).items()}))


if __name__ == "__main__":
    sys.exit(main())
