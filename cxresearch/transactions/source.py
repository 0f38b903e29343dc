"""Open whatever holds the transactions as one DuckDB relation, and refuse what cannot be read as declared."""

import glob
import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, nearest

CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
DENSE = (12, 20)  # bits that the range of whole-number ids may have to be counted in place: the least and the most
WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
NUMBERED = ("filename", "file_row_number")  # columns of every Parquet file, if asked for
NUMERIC = (*WHOLE, "FLOAT", "DOUBLE")


@contextmanager
def opened(transactions, *, threads: int | None, memory_limit: str | None, numbered: bool = False):
    """Yield a relation over `transactions`; an engine of our own spills into a folder that is removed afterwards.

    `numbered` adds the columns `NUMBERED` to those of Parquet files.
    """
    if isinstance(transactions, (duckdb.DuckDBPyConnection, duckdb.DuckDBPyRelation)):
        if threads is not None or memory_limit is not None:
            raise DataProblem("threads and memory_limit belong to the connection that was passed; set them there")
        yield transactions if isinstance(transactions, duckdb.DuckDBPyRelation) else _only_table(transactions)
        return
    with TemporaryDirectory(prefix="cxresearch-") as spill, _engine(spill, threads, memory_limit) as engine:
        if isinstance(transactions, pd.DataFrame):
            backwards = any(_backwards(column) for _, column in transactions.items())
            relation, rows = engine.from_df(transactions.copy() if backwards else transactions), len(transactions)
        else:
            relation, rows = _files(engine, os.fspath(transactions), numbered)
        if memory_limit is None:
            # ids that are whole numbers without wide gaps are counted in place, without hashing, and come out in order.
            # That table lies outside the engine's memory limit, so a caller who sets one goes without it; it has a
            # place for every number between the least and the most, so there must be many rows for each.
            bits = min(max((rows // 8).bit_length() - 1, DENSE[0]), DENSE[1])
            engine.execute(f"SET perfect_ht_threshold = {bits}")
        yield relation


def _engine(spill: str, threads: int | None, memory_limit: str | None):
    settings = {"temp_directory": spill, "preserve_insertion_order": "false"}
    settings |= {} if threads is None else {"threads": threads}
    settings |= {} if memory_limit is None else {"memory_limit": memory_limit}
    try:
        engine = duckdb.connect(config=settings)
        engine.execute("SET enable_progress_bar = false")  # it would stand in notebooks and in workers' logs
        return engine
    except duckdb.Error as problem:
        raise DataProblem(f"threads={threads!r}, memory_limit={memory_limit!r}: {problem}") from None


def _backwards(column: pd.Series) -> bool:
    """Return whether a column is a reversed view, as `table[::-1]` leaves it: the engine cannot read one."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_localize(None)
    return isinstance(column.dtype, np.dtype) and column.to_numpy().strides[0] < 0


def _only_table(connection):
    names = [
        row[0] for row in connection.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()
    ]
    if "transactions" in names or len(names) == 1:
        return connection.table("transactions" if "transactions" in names else names[0])
    raise DataProblem(
        f"the connection holds {len(names)} tables ({', '.join(names) or 'none'}) and none is called transactions; "
        "pass connection.table('NAME')"
    )


def _files(engine, path: str, numbered: bool):
    """Return the relation over a file, a glob or a folder of Parquet (partitioned or not) or CSV, and its rows.

    Rows of CSV would have to be read to be counted: 0.
    """
    pattern = _pattern(path)
    if not pattern:
        raise DataProblem(f"{path}: no Parquet or CSV file found")
    try:
        if pattern.lower().endswith(CSV):
            return engine.read_csv(pattern), 0
        number = dict.fromkeys(NUMBERED, numbered)
        found = engine.read_parquet(pattern, hive_partitioning=Path(path).is_dir(), union_by_name=True, **number)
        return found, found.count("*").fetchall()[0][0]
    except duckdb.Error as problem:
        raise DataProblem(f"{path}: cannot be read as Parquet or CSV: {str(problem).splitlines()[0]}") from None


def parquet_files(relation, path: str) -> list[tuple[str, int]]:
    """Return each file at a path and how many rows it has; none where they are not Parquet."""
    pattern = _pattern(path)
    if pattern.lower().endswith(CSV):
        return []
    asked = f"SELECT file_name, num_rows FROM parquet_file_metadata({text(pattern)}) ORDER BY file_name"
    return relation.query("source", asked).fetchall()


def _pattern(path: str) -> str:
    """Return the glob of the files at a path; empty if there are none."""
    if Path(path).is_dir():
        both = (f"{path}/**/*.parquet", f"{path}/**/*.csv")
        return next((p for p in both if glob.glob(p, recursive=True)), "")
    return path if glob.glob(path, recursive=True) else ""


def quoted(name: str) -> str:
    """Return a column name as SQL reads it."""
    return '"' + str(name).replace('"', '""') + '"'


def text(value: str) -> str:
    """Return text as SQL reads it."""
    return "'" + value.replace("'", "''") + "'"


def require_fields(relation, *columns: str | None, where: str = "transactions") -> None:
    """Raise `DataProblem` for the first of `columns` that the relation lacks (None is not asked for)."""
    for column in columns:
        if column is not None and column not in relation.columns:
            raise DataProblem(f"{where} has no column {column!r}{nearest(column, relation.columns)}")


def kind(relation, column: str) -> str:
    """Return the SQL type of a column."""
    return str(dict(zip(relation.columns, relation.types))[column])


def require_one_id_type(table, column: str) -> None:
    """Raise `DataProblem` if a DataFrame's column mixes ids of several types: 7 and '7' would be two customers."""
    if isinstance(table, pd.DataFrame) and column in table.columns and table[column].dtype == object:
        types = table[column].dropna().map(lambda v: type(v).__name__).value_counts().sort_index()
        if len(types) > 1:
            found = ", ".join(f"{name}: {n}" for name, n in types.items())
            raise DataProblem(f"{column} holds ids of {len(types)} types ({found}); make them all text, or all numbers")


def amount_sql(relation, column: str) -> str:
    """Return the SQL that reads an amount as a number; refuse text that is not one."""
    found = kind(relation, column)
    if found.startswith("DECIMAL") or found in NUMERIC:
        return f"{quoted(column)}::DOUBLE"
    cast = f"TRY_CAST({quoted(column)} AS DOUBLE)"
    _refuse_unreadable(
        relation, column, cast, "are not plain numbers", "remove currency signs and thousands separators"
    )
    return cast


def time_sql(relation, column: str, time_zone: str | None) -> str:
    """Return the SQL that reads a time as a local timestamp; refuse text that is not one and an unnamed time zone."""
    found = kind(relation, column)
    if found == "TIMESTAMP WITH TIME ZONE":
        if time_zone is None:
            raise DataProblem(
                f"{column} carries a time zone; say where days begin, for example time_zone='Europe/Warsaw'"
            )
        return f"timezone('{_known_zone(time_zone)}', {quoted(column)})"
    if time_zone is not None:
        raise DataProblem(f"{column} carries no time zone, so time_zone={time_zone!r} cannot be used; leave it out")
    if found == "DATE" or found.startswith("TIMESTAMP"):
        return f"{quoted(column)}::TIMESTAMP"
    cast = f"TRY_CAST({quoted(column)}::VARCHAR AS TIMESTAMP)"
    _refuse_unreadable(relation, column, cast, "are not dates", "write them as 2024-12-31 or 2024-12-31 18:30:00")
    return cast


def _known_zone(name: str) -> str:
    from zoneinfo import available_timezones

    if name not in available_timezones():
        raise DataProblem(f"time_zone={name!r} is not known{nearest(name, available_timezones())}")
    return name


def _refuse_unreadable(relation, column: str, cast: str, what: str, remedy: str) -> None:
    q = quoted(column)
    n, total, first = relation.query(
        "source",
        f"SELECT count(*) FILTER ({q} IS NOT NULL AND {cast} IS NULL), count({q}), min({q}::VARCHAR) FILTER ({cast} IS NULL) FROM source",
    ).fetchall()[0]
    if n:
        raise DataProblem(f"{column}: {n} of {total} values {what} (for example {first!r}); {remedy}")
