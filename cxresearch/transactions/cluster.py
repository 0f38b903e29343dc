"""Totals of behaviour by the workers of a Dask cluster: one share of the files each, put together here by DuckDB."""

import glob
import os
from pathlib import Path

import duckdb

from cxresearch.errors import DataProblem
from cxresearch.inference.events import opened, pattern_of
from cxresearch.transactions.features import Query


def on_workers(data, scheduler: str, threads, memory_limit):
    """Return a function (query, decimals) -> relation of the features of all customers, from the totals of workers.

    A worker that dies is replaced by the others: Dask computes its share again.
    """
    if not isinstance(data, str | os.PathLike):
        raise DataProblem("workers read files: give a path that all of them reach, or leave out scheduler")
    files = sorted(map(os.path.abspath, glob.glob(pattern_of(os.fspath(data)), recursive=True)))

    def features(query: Query, decimals: int):
        with _client(scheduler) as client:
            shares = shares_of(files, max(1, len(client.scheduler_info(n_workers=-1)["workers"])))
            sent = [client.submit(_totals, s, query, decimals, threads, memory_limit, pure=False) for s in shares]
            found = _together(client.gather(sent), query)
        _require_whole(found, query)
        return found.query("source", query.features_sql(query.merged_sql(), decimals))

    return features


def shares_of(files: list[str], of: int) -> list[list[str]]:
    """Return the files in at most `of` shares of about the same size, the largest first."""
    shares: list[list[str]] = [[] for _ in range(min(of, len(files)))]
    sizes = [0] * len(shares)
    for file in sorted(files, key=os.path.getsize, reverse=True):
        least = sizes.index(min(sizes))
        shares[least].append(file)
        sizes[least] += Path(file).stat().st_size
    return shares


def _client(scheduler: str):
    try:
        from distributed import Client
    except ImportError:
        raise DataProblem("scheduler needs Dask: install cxresearch[cluster], or leave out scheduler") from None
    try:
        return Client(scheduler, timeout="10s")
    except (OSError, ValueError) as problem:
        raise DataProblem(
            f"scheduler={scheduler!r} does not answer ({problem}); start it, or leave out scheduler"
        ) from None


def _totals(files: list[str], query: Query, decimals: int, threads, memory_limit):
    """Return the totals of the customers in some files, with as many threads as the worker has."""
    from distributed import get_worker

    with opened(files, threads=threads or get_worker().state.nthreads, memory_limit=memory_limit) as relation:
        return relation.query("source", query.totals_sql(decimals)).to_arrow_table()


def _together(parts: list, query: Query):
    import pyarrow as pa

    try:
        whole = pa.concat_tables(parts, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as problem:
        raise DataProblem(
            f"{query.customer} is of another type in some of the files ({problem}); write it as one"
        ) from None
    return duckdb.connect().from_arrow(whole)


def _require_whole(totals, query: Query) -> None:
    """Refuse customers whose payments lie in the files of several workers, where all are needed at once."""
    asked = "SELECT count(*) FROM (SELECT customer FROM source GROUP BY customer HAVING count(*) > 1)"
    several = query.whole and totals.query("source", asked).fetchall()[0][0]
    if several:
        raise DataProblem(
            f"{several} customers have payments in files of several workers, and {', '.join(query.whole)} needs all "
            "payments of a customer at once; split the files by customer, or leave out " + ", ".join(query.whole)
        )
