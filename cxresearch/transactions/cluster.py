"""The same shares on a Dask cluster that already runs: one share for each worker, computed by the worker's own engine."""

import os
from dataclasses import replace

import duckdb
import pandas as pd

from cxresearch.errors import DataProblem
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
from cxresearch.transactions.source import opened


def everyone_on_cluster(transactions, asked: Asked, scheduler: str) -> Everyone:
    """Return all customers, one share computed by each worker of the cluster at `scheduler`, who must reach the same files.

    A worker that dies is replaced by the others: Dask computes its share again.
    """
    if isinstance(transactions, pd.DataFrame | duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation):
        raise DataProblem("workers read files: give a path that all of them reach, or leave out scheduler")
    path = os.path.abspath(os.fspath(transactions))
    with _client(scheduler) as client:
        of = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        query, received, queries = client.submit(
            _on_worker, _planned, path, asked, path, asked, of, pure=False
        ).result()

        def compute(decimals: int) -> list[Share]:
            sent = client.gather([client.submit(_sent, path, asked, q, decimals, pure=False) for q in queries])
            return [_received(*parts) for parts in sent]

        shares = first_exact(compute)
        whole = sum(s.used for s in shares) == received
        lost = NONE_LOST if whole else client.submit(_on_worker, lost_rows, path, asked, query, pure=False).result()
    return together(shares, query, received, lost)


def _planned(relation, path: str, asked: Asked, of: int):
    """Return the query for all customers, how many rows there are, and the query of each share."""
    query, received = checked(relation, path, asked)
    return query, received, shared_out(relation, query, of, received)


def _client(scheduler: str):
    from distributed import Client

    try:
        return Client(scheduler, timeout="10s")
    except (OSError, ValueError) as problem:
        raise DataProblem(
            f"scheduler={scheduler!r} does not answer ({problem}); start it, or leave out scheduler"
        ) from None


def _sent(path: str, asked: Asked, query, decimals: int) -> tuple[Share, dict, dict]:
    """Return one share and its arrays, those of totals as one batch, apart: within an object, Dask would copy them."""
    share = _on_worker(computed, path, asked, query, decimals)
    totals = share.totals.in_order()
    return replace(share, totals=replace(totals, batches=[]), spread={}), totals.batches[0], share.spread


def _received(share: Share, batch: dict, spread: dict) -> Share:
    return replace(share, totals=replace(share.totals, batches=[batch]), spread=spread)


def _on_worker(compute, path: str, asked: Asked, *arguments):
    """Return `compute(relation, *arguments)` over the files, with as many threads as the worker has."""
    from distributed import get_worker

    threads = asked.threads or get_worker().state.nthreads
    with opened(path, threads=threads, memory_limit=asked.memory_limit) as relation:
        return compute(relation, *arguments)
