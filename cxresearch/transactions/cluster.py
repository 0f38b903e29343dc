"""Shares on a Dask cluster that already runs: one for each worker, computed by the worker's own engine.

They are shares of the rows of Parquet where sums are all that is asked for, and shares of the customers otherwise.
"""

import os
from dataclasses import replace
from functools import reduce

import duckdb
import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.inference.events import opened
from cxresearch.transactions.ranges import added, adds_up, by_rows
from cxresearch.transactions.shares import (
    NONE_LOST,
    Asked,
    Everyone,
    Share,
    checked,
    computed,
    first_exact,
    lost_rows,
    shared_out,
    together,
)
from cxresearch.transactions.source import parquet_files


def everyone_on_cluster(transactions, asked: Asked, scheduler: str) -> Everyone:
    """Return all customers, one share computed by each worker of the cluster at `scheduler`, who must reach the same files.

    A worker that dies is replaced by the others: Dask computes its share again.
    """
    if isinstance(transactions, pd.DataFrame | duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation):
        raise DataProblem("workers read files: give a path that all of them reach, or leave out scheduler")
    from distributed import as_completed

    path = os.path.abspath(os.fspath(transactions))
    with _client(scheduler) as client:
        of = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        query, received, queries, of_rows = client.submit(
            _on_worker, _planned, path, asked, path, asked, of, pure=False
        ).result()

        def compute(decimals: int) -> list[Share]:
            futures = [client.submit(_sent, path, asked, q, decimals, of_rows, pure=False) for q in queries]
            if not of_rows:
                return [_received(*sent) for sent in client.gather(futures)]
            # in whatever order they come: their sums are exact, and all of them at once would be large
            come = as_completed(futures, with_results=True)
            return [reduce(_added, (_received(*sent) for _, sent in come))]

        shares = first_exact(compute)
        whole = sum(s.used for s in shares) == received
        lost = NONE_LOST if whole else client.submit(_on_worker, lost_rows, path, asked, query, pure=False).result()
    return together(shares, query, received, lost)


def _planned(relation, path: str, asked: Asked, of: int):
    """Return the query for all customers, how many rows there are, the query of each share, and whether these are of rows."""
    query, received = checked(relation, path, asked)
    files = parquet_files(relation, path) if adds_up(query) else []
    queries = by_rows(query, files, of) if files else shared_out(relation, query, of, received)
    return query, received, queries, bool(files)


def _client(scheduler: str):
    from distributed import Client

    try:
        return Client(scheduler, timeout="10s")
    except (OSError, ValueError) as problem:
        raise DataProblem(
            f"scheduler={scheduler!r} does not answer ({problem}); start it, or leave out scheduler"
        ) from None


def _sent(path: str, asked: Asked, query, decimals: int, of_rows: bool) -> tuple[Share, dict, dict]:
    """Return one share and its arrays, those of totals as one batch, apart: within an object, Dask would copy them."""
    share = _on_worker(computed, path, asked, query, decimals, numbered=of_rows)
    totals = share.totals.in_order()
    return replace(share, totals=replace(totals, batches=[]), spread={}), totals.batches[0], share.spread


def _received(share: Share, batch: dict, spread: dict) -> Share:
    return replace(share, totals=replace(share.totals, batches=[batch]), spread=spread)


def _added(one: Share, other: Share) -> Share:
    """Return one share of the rows of both; shares of rows have no spread."""
    totals = added(one.totals, other.totals)
    return Share(totals, {}, one.used + other.used, None, one.exact and other.exact and totals.exact())


def _on_worker(compute, path: str, asked: Asked, *arguments, numbered: bool = False):
    """Return `compute(relation, *arguments)` over the files, with as many threads as the worker has."""
    from distributed import get_worker

    threads = asked.threads or get_worker().state.nthreads
    with opened(path, threads=threads, memory_limit=asked.memory_limit, numbered=numbered) as relation:
        return compute(relation, *arguments)
