"""Behaviour of customers from simulated payments: CPU and memory of this package, of a bare scan, pandas and polars.

``python -m benchmarks.behaviour [--rows 10000000 50000000] [--order time] [--folder DIR]`` writes the payments (once),
runs each task in a process of its own, prints a table for each size, and after it one line of JSON with the ratios.
`growth` is the CPU of the core a row by that of the first size. polars is measured where it is installed; CPU of the
client of a cluster includes the scheduler, which runs in its process here.

Payments stand in the order of time, as a shop writes them down, of customers who join, leave and buy at rates of their
own; or, with ``--order none``, in no order, of customers who all buy alike.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

UNTIL = "2018-01-01"
COLUMNS = {"customer": "customer", "time": "time", "amount": "amount"}
CORE = {"parts": ("value", "months")}


def generate(path: Path, rows: int, order: str) -> None:
    """Write `rows` payments of about `rows` / 22 customers over two years, one in forty a return; the same for the same rows."""
    import duckdb

    people, span = rows // (20 if order == "time" else 22), 2 * 365 * 86400
    amount = (
        "round(CASE WHEN hash(i * 3) % 40 = 0 THEN -1 ELSE 1 END * (2 + (hash(i * 17 + 3) % 10000) / 100.0), 2)::DOUBLE"
    )
    if order == "time":
        # Some of these people leave before the first day. Rates of buying are exponential, which makes the numbers of
        # purchases negative binomial; the time until one leaves is exponential too.
        source = f"""
            SELECT c AS customer, start + (stop - start) * {_share("c * 1009 + k")} AS second, c * 100003 + k AS i
            FROM (SELECT *, unnest(range(greatest(1, round(49 * rate * (stop - start) / {span}))::BIGINT)) AS k FROM (
                SELECT c, greatest(0, joined) AS start, least({span}, joined + stay) AS stop, rate FROM (
                    SELECT c, (1.5 * {_share("c * 31 + 1")} - 0.5) * {span} AS joined,
                        -ln({_share("c * 31 + 2")}) * {span} AS stay, -ln({_share("c * 31 + 3")}) AS rate
                    FROM range({people}) t(c)))
                WHERE stop > start)
            ORDER BY second, i LIMIT {rows}"""
    else:
        source = f"SELECT hash(i * 7 + 1) % {people} AS customer, hash(i * 13 + 5) % {span} AS second, i FROM range({rows}) t(i)"
    duckdb.connect(config={"threads": 2, "temp_directory": str(path.parent)}).execute(
        "COPY (SELECT customer::BIGINT AS customer, "
        f"TIMESTAMP '2016-01-01' + INTERVAL 1 SECOND * second::BIGINT AS time, {amount} AS amount FROM ({source})) "
        f"TO '{path}' (FORMAT parquet)"
    )


def _share(sql: str) -> str:
    """Return SQL of a number between 0 and 1 that is the same for the same value."""
    return f"((hash({sql}) + 0.5) / 18446744073709551616.0)"


def scan(path: str) -> int:
    """Read the three columns and no more."""
    import duckdb

    return (
        duckdb.connect(config={"threads": 1})
        .execute(f"SELECT sum(customer), max(time), sum(amount) FROM '{path}'")
        .fetchone()
        is not None
    )


def core(path: str, memory_limit: str | None = None) -> int:
    """Recency, frequency, monetary, tenure and twelve monthly counts."""
    from cxresearch.transactions import behaviour

    return len(behaviour(path, **COLUMNS, until=UNTIL, threads=1, memory_limit=memory_limit, **CORE))


def core_in_200_mb(path: str) -> int:
    """The same, with a limit of 200 MB for DuckDB."""
    return core(path, "200MB")


def full(path: str) -> int:
    """Every feature."""
    from cxresearch.transactions import behaviour

    return len(behaviour(path, **COLUMNS, until=UNTIL, threads=1))


def with_sql(path: str) -> int:
    """The same as core by the shortest SQL, to Parquet: returns count as purchases, and sums are rounded as they come."""
    import duckdb

    months = ", ".join(f"count(*) FILTER (month = {k}) AS month_{k}" for k in range(1, 13))
    duckdb.connect(config={"threads": 1, "preserve_insertion_order": "false"}).execute(
        "COPY (SELECT customer, max(time) AS last, min(time) AS first, count(*) AS frequency, sum(amount) AS monetary, "
        f"{months} FROM (SELECT *, month(time) AS month FROM '{path}' WHERE time < TIMESTAMP '{UNTIL}') "
        f"GROUP BY customer) TO '{path}.out' (FORMAT parquet)"
    )
    Path(f"{path}.out").unlink()
    return True


def with_pandas(path: str) -> int:
    """Recency, frequency, monetary, tenure and twelve monthly counts by pandas."""
    import pandas as pd

    table, until = pd.read_parquet(path), pd.Timestamp(UNTIL)
    table = table[table["time"] < until]
    bought = table[table["amount"] >= 0]
    out = bought.groupby("customer").agg(frequency=("time", "size"), first=("time", "min"), last=("time", "max"))
    out["monetary"] = table.groupby("customer")["amount"].sum()
    month = (until.year - bought["time"].dt.year) * 12 + until.month - bought["time"].dt.month
    recent = bought.assign(month=month)[month <= 12]
    return len(out.join(recent.groupby(["customer", "month"]).size().unstack(fill_value=0)))


def with_polars(path: str) -> int:
    """Recency, frequency, monetary, tenure and twelve monthly counts by polars, streaming."""
    from datetime import datetime

    import polars as pl

    until, bought = datetime.fromisoformat(UNTIL), pl.col("amount") >= 0
    month = (until.year - pl.col("time").dt.year()) * 12 + until.month - pl.col("time").dt.month()
    counts = [(bought & (month == k)).sum().alias(f"month_{k}") for k in range(1, 13)]
    wanted = [
        bought.sum().alias("frequency"),
        pl.col("amount").sum().alias("monetary"),
        pl.col("time").filter(bought).min().alias("first"),
        pl.col("time").filter(bought).max().alias("last"),
    ]
    return (
        pl.scan_parquet(path)
        .filter(pl.col("time") < until)
        .group_by("customer")
        .agg(*wanted, *counts)
        .collect(engine="streaming")
        .height
    )


TASKS = {t.__name__: t for t in (scan, core, core_in_200_mb, full, with_sql, with_pandas, with_polars)}


def on_two_workers(path: str, **parts) -> dict[str, float]:
    """CPU of one process, of two Dask workers and of their client, on files split by customer; each the best of three rounds."""
    import duckdb
    import pandas as pd
    from distributed import LocalCluster

    from cxresearch.transactions import behaviour

    folder = Path(f"{path}.by_customer")
    if not folder.exists():
        folder.mkdir()
        for part in range(4):
            rows = f"SELECT * FROM '{path}' WHERE customer % 4 = {part}"
            duckdb.execute(f"COPY ({rows}) TO '{folder / f'{part}.parquet'}' (FORMAT parquet)")
    asked = {**COLUMNS, "until": UNTIL, "threads": 1, **parts}
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(**options) as cluster:
        here, workers = [os.getpid()], [w.pid for w in cluster.workers.values()]
        behaviour(f"{path}.small.parquet", **asked, scheduler=cluster.scheduler_address)
        rounds = []
        for _ in range(3):
            start = cpu_of(here)
            one = behaviour(folder, **asked).table
            alone, start, start_workers = cpu_of(here) - start, cpu_of(here), cpu_of(workers)
            two = behaviour(folder, **asked, scheduler=cluster.scheduler_address).table
            rounds.append((alone, cpu_of(workers) - start_workers, cpu_of(here) - start))
            pd.testing.assert_frame_equal(one, two, check_exact=True)
            del one, two
    return dict(zip(("one", "workers", "client"), map(min, zip(*rounds))))


def cpu_of(processes: list[int]) -> float:
    """Return the CPU seconds that processes have used so far."""
    stats = [Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split() for p in processes]
    return sum(int(s[11]) + int(s[12]) for s in stats) / os.sysconf("SC_CLK_TCK")


def measured(name: str, path: Path) -> dict[str, float]:
    """Run one task in a process of its own; return CPU seconds less those of starting up, wall seconds and peak GB."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.behaviour", "--task", name, "--file", str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _one_task(name: str, path: str) -> None:
    """Do the task and print what it took; imports and a first run on a small part are not counted."""
    import duckdb

    small = f"{path}.small.parquet"
    if not Path(small).exists():
        duckdb.execute(f"COPY (SELECT * FROM '{path}' LIMIT 1000) TO '{small}' (FORMAT parquet)")
    TASKS[name](small)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    TASKS[name](path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "wall": time.perf_counter() - start, "peak_gb": after.ru_maxrss / 1e6}))


def compared(rows: int, order: str, folder: Path) -> dict[str, float]:
    """Measure every task on `rows` payments, print a table, and return the ratios."""
    path = folder / f"payments_{rows}_{order}.parquet"
    if not path.exists():
        # in a process of its own: the memory that it takes would count as theirs to all that start after it
        task = ["--task", "generate", "--file", str(path), "--rows", str(rows), "--order", order]
        subprocess.run([sys.executable, "-m", "benchmarks.behaviour", *task], check=True)
    names = [n for n in TASKS if n != "with_polars" or importlib.util.find_spec("polars")]
    # the best of three rounds: the first task to read the file pays for the disk, and a machine is faster at times
    rounds = [{name: measured(name, path) for name in names} for _ in range(3)]
    found = {name: min((r[name] for r in rounds), key=lambda m: m["cpu"]) for name in names}
    print(f"{rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB of Parquet, one thread")
    print(f"{'task':16}{'CPU s':>8}{'x scan':>8}{'peak GB':>9}")
    for name, m in found.items():
        print(f"{name:16}{m['cpu']:8.2f}{m['cpu'] / found['scan']['cpu']:8.1f}{m['peak_gb']:9.2f}")
    ratios = {f"{n}_over_scan": round(m["cpu"] / found["scan"]["cpu"], 2) for n, m in found.items() if n != "scan"}
    for peer in ("sql", "pandas"):
        ratios[f"{peer}_over_core_cpu"] = round(found[f"with_{peer}"]["cpu"] / found["core"]["cpu"], 2)
    ratios["pandas_over_core_memory"] = round(found["with_pandas"]["peak_gb"] / found["core"]["peak_gb"], 2)
    if importlib.util.find_spec("distributed"):
        for name, parts in (("core", CORE), ("full", {})):
            cpu = on_two_workers(str(path), **parts)
            print(f"{name} on two Dask workers, CPU s: " + ", ".join(f"{who} {s:.2f}" for who, s in cpu.items()))
            ratios[f"{name}_on_two_workers_over_one"] = round(cpu["workers"] / cpu["one"], 2)
            ratios[f"{name}_with_client_over_one"] = round((cpu["workers"] + cpu["client"]) / cpu["one"], 2)
    return {"rows": rows, **ratios, "core_peak_gb": found["core"]["peak_gb"], "core_seconds": found["core"]["cpu"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--order", choices=["time", "none"], default="time")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/cxresearch-benchmark"))
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.task == "generate":
        return generate(Path(asked.file), asked.rows[0], asked.order)
    if asked.task:
        return _one_task(asked.task, asked.file)
    asked.folder.mkdir(parents=True, exist_ok=True)
    first = None
    for rows in asked.rows:
        found = compared(rows, asked.order, asked.folder)
        row = found.pop("core_seconds") / rows
        first = first or row
        print(json.dumps({**found, "growth": round(row / first, 2)}), flush=True)


if __name__ == "__main__":
    main()
