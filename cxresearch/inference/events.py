"""An event table (payments, contacts) as one DuckDB relation; its times, amounts and ids read, or refused."""

import glob
import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import available_timezones

import duckdb
import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, nearest
from cxresearch.findings import say

CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
DENSE = (12, 20)  # bits that the range of whole-number ids may have to be counted in place: the least and the most


@contextmanager
def opened(events, *, named="transactions", threads=None, memory_limit=None):
    """Yield a relation over `events`: a path of a file, glob or folder, a list of files, a DataFrame, a relation, or a
    connection, in which the table `named` is meant. An engine of our own spills into a folder that is removed afterwards.
    """
    limits = {"threads": threads, "memory_limit": memory_limit}
    given = {name: value for name, value in limits.items() if value is not None}
    if isinstance(events, (duckdb.DuckDBPyConnection, duckdb.DuckDBPyRelation)):
        say.refuse_if(given, "settings")
        if isinstance(events, duckdb.DuckDBPyConnection):
            found = events.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()
            names = [name for (name,) in found]
            unclear, listed = named not in names and len(names) != 1, ", ".join(names) or "none"
            say.refuse_if(unclear, "tables", n=len(names), names=listed, named=named)
            events = events.table(named if named in names else names[0])
        yield events
        return
    with TemporaryDirectory(prefix="cxresearch-") as spill:
        try:
            engine = duckdb.connect(config=given | {"temp_directory": spill, "preserve_insertion_order": "false"})
        except duckdb.Error as problem:
            raise DataProblem(say("engine", **limits, problem=problem)) from None
        with engine:
            engine.execute("SET enable_progress_bar = false")  # it would stand in notebooks and in workers' logs
            relation, rows = _relation(engine, events)
            if memory_limit is None:
                # Whole-number ids without wide gaps are counted in place, without hashing: in a table outside the memory
                # limit, with a place for every number between the least and the most, so rows must be many for each.
                engine.execute(f"SET perfect_ht_threshold = {np.clip((rows // 8).bit_length() - 1, *DENSE)}")
            yield relation


def _relation(engine, events):
    """Return the relation over a DataFrame or the files at a path or of a list, and its rows (CSV is not read: 0)."""
    if isinstance(events, pd.DataFrame):
        try:
            return engine.from_df(events), len(events)
        except duckdb.Error:  # a reversed view, as table[::-1] leaves it
            return engine.from_df(events.copy()), len(events)
    pattern = events if isinstance(events, list) else pattern_of(os.fspath(events))
    say.refuse_if(not pattern, "no_file", path=events)
    try:
        if (pattern if isinstance(pattern, str) else pattern[0]).lower().endswith(CSV):
            return engine.read_csv(pattern), 0
        found = engine.read_parquet(pattern, union_by_name=True)
        return found, found.count("*").fetchall()[0][0]
    except duckdb.Error as problem:
        raise DataProblem(say("unreadable_file", path=events, problem=str(problem).splitlines()[0])) from None


def pattern_of(path: str) -> str:
    """Return the glob of the files at a path; empty if there are none."""
    patterns = (f"{path}/**/*.parquet", f"{path}/**/*.csv") if Path(path).is_dir() else (path,)
    return next((pattern for pattern in patterns if glob.glob(pattern, recursive=True)), "")


def quoted(name: str, mark: str = '"') -> str:
    """Return a column name as SQL reads it, or with another mark a text."""
    return mark + str(name).replace(mark, 2 * mark) + mark


text = partial(quoted, mark="'")  # as SQL reads it


def _kind(relation, column: str) -> str:
    return str(dict(zip(relation.columns, relation.types))[column])


def time_sql(relation, column: str, time_zone: str | None) -> str:
    """Return the SQL that reads a time as a local timestamp; refuse text that is not one and an unnamed time zone."""
    kind = _kind(relation, column)
    if kind == "TIMESTAMP WITH TIME ZONE":
        say.refuse_if(time_zone is None, "zoned", column=column)
        if time_zone not in available_timezones():
            near = nearest(time_zone, available_timezones())
            raise DataProblem(say("zone_unknown", time_zone=time_zone, nearest=near))
        return f"timezone('{time_zone}', {quoted(column)})"
    say.refuse_if(time_zone is not None, "unzoned", column=column, time_zone=time_zone)
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return f"{quoted(column)}::TIMESTAMP"
    return _readable(relation, column, f"TRY_CAST({quoted(column)}::VARCHAR AS TIMESTAMP)", "no_dates")


def _readable(relation, column: str, cast: str, refusal: str) -> str:
    """Return the SQL in `cast`; refuse values that it cannot read with their number, and one of them."""
    q = quoted(column)
    lost = f"FILTER ({q} IS NOT NULL AND {cast} IS NULL)"
    counts = f"SELECT count(*) {lost}, count({q}), min({q}::VARCHAR) {lost} FROM source"
    n, total, first = relation.query("source", counts).fetchall()[0]
    say.refuse_if(n, refusal, column=column, n=n, total=total, first=first)
    return cast


def require_one_id_type(table, column: str) -> None:
    """Raise `DataProblem` if a DataFrame's column mixes ids of several types: 7 and '7' would be two customers."""
    if isinstance(table, pd.DataFrame) and column in table.columns and table[column].dtype == object:
        types = table[column].dropna().map(lambda v: type(v).__name__).value_counts().sort_index()
        found = ", ".join(f"{name}: {n}" for name, n in types.items())
        say.refuse_if(len(types) > 1, "id_types", column=column, n=len(types), found=found)


def amount_sql(relation, column: str) -> str:
    """Return the SQL that reads an amount as a number; refuse text that is not one, and amounts in several currencies."""
    asked = "SELECT currency, count(*) FROM source WHERE currency IS NOT NULL GROUP BY 1 ORDER BY 1"
    found = relation.query("source", asked).fetchall() if "currency" in relation.columns else []
    listed = ", ".join(f"{name}: {n}" for name, n in found)
    say.refuse_if(len(found) > 1, "currencies", column=column, n=len(found), found=listed)
    if not _kind(relation, column).startswith(("VARCHAR", "ENUM", "JSON")):
        return f"{quoted(column)}::DOUBLE"
    return _readable(relation, column, f"TRY_CAST({quoted(column)} AS DOUBLE)", "no_numbers")


def id_sql(relation, column: str) -> str:
    """Return the SQL of an id as text: 101.0, read so beside a missing one, is 101."""
    q = quoted(column)
    if _kind(relation, column).startswith(("FLOAT", "DOUBLE", "DECIMAL")):
        return f"CASE WHEN {q} = trunc({q}) THEN {q}::HUGEINT::VARCHAR ELSE {q}::VARCHAR END"
    return f"regexp_replace(trim({q}::VARCHAR), {text(r'^(-?[0-9]+)[.]0$')}, {text(chr(92) + '1')})"


def waterfall_of(received: int, steps) -> pd.DataFrame:
    """Return step, rows, removed, reason from the (step, removed, reason) that follow `received`."""
    table = pd.DataFrame([("received", 0, ""), *steps], columns=["step", "removed", "reason"])
    table.insert(1, "rows", received - table["removed"].cumsum())
    return table.assign(reason=table["reason"].where(table["removed"] != 0, ""))
