"""A query on a database as a table: a DuckDB or SQLite file or a PostgreSQL server, which can be held to reading.

Secrets come from the environment: ``postgresql://${CRM_USER}:${CRM_PASSWORD}@db.example/crm``, or from what PostgreSQL's
library reads there (PGUSER, PGPASSWORD). No message names a host, a user or a password.
"""

import hashlib
import os
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.sources.text import RawTable, first_line, positions, refusal, say
from cxresearch.sources.workbook import arrow_frame

DUCKDB, SQLITE = (".duckdb", ".ddb"), (".sqlite", ".sqlite3", ".db")
KINDS = {"integer": "Int64", "decimal": float, "mixed-integer-float": float}
KNOWN = " ".join((*DUCKDB, *SQLITE))
SERVER = re.compile(r"(postgres(?:ql)?)(?:\+\w+)?://", re.I)
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
PASSWORD = re.compile(r"://[^:@]*:(.*)@|(?:pass\w*|pwd|token|secret\w*|\w*key)\s*=\s*([^&;\s]*)", re.I)
# What a server says when it cannot be reached names host and user; of these words it may be told.
TOLD = r"password authentication failed|Connection refused|timeout|SSL|too many|could not translate|no pg_hba\S+ entry"


def database_file(database: str, folder: Path) -> Path | None:
    """Return the file that a `database:` names, or None for an address of a server."""
    plain = re.sub(r"^(?:sqlite|duckdb):///", "", database)
    return None if "://" in plain else folder / plain


def without_password(database: str) -> str:
    """Return an address; refuse one in which a password is written out, or whose kind of database cannot be held to reading."""
    written = [found[1] or found[2] for found in PASSWORD.finditer(database)]
    if any(secret and not PLACEHOLDER.fullmatch(secret) for secret in written):
        raise ValueError(say("password in the file"))
    if database_file(database, Path()) is None and not SERVER.match(database):
        raise ValueError(say("database", kind=database.partition(":")[0], known=KNOWN))
    return database


def read_query(database: str, query: str, *, folder: Path, name: str, wanted: Mapping[str, str]) -> RawTable:
    """Return the wanted columns (column -> what asks for it) of what `query` selects, for table `name`."""
    file = database_file(database, folder)
    where = f"tables.{name}: {file.name if file else 'the database'}"
    if file and file.suffix.lower() not in (*DUCKDB, *SQLITE):
        raise refusal("database file", table=name, ending=file.suffix, known=KNOWN)
    if absent := [variable for variable in PLACEHOLDER.findall(database) if variable not in os.environ]:
        raise refusal("environment", table=name, variable=absent[0])
    address = PLACEHOLDER.sub(lambda found: quote(os.environ[found[1]], safe=""), database)
    frame, said = pd.DataFrame(), say("nothing found", where=where)
    try:
        frame = _from_file(file, query) if file else _from_server(address, query)
    except Exception as error:
        said = str(error) if isinstance(error, StudyProblem) else _told(error, where, "" if file else address)
    if not len(frame):  # raised here and not above: what a driver raises holds the address, and would be its context
        raise StudyProblem(said)
    frame = frame.iloc[:, positions(list(map(str, frame.columns)), wanted, where)]
    frame.columns = pd.Index(wanted, dtype=object)
    # Of the query and of its rows, whatever order a server returns them in.
    rows = np.sort(pd.util.hash_pandas_object(frame.astype(str), index=False).to_numpy())
    header = "\0".join([" ".join(query.split()), *map(str, frame.columns)])
    return RawTable(frame, digest=hashlib.sha256(header.encode() + rows.astype("<u8").tobytes()).hexdigest())


def _told(error: Exception, where: str, address: str) -> str:
    """Return what a driver complains of, without host, user, password or a value."""
    code = getattr(error, "sqlstate", None) or ""
    if address and not code:
        known = re.search(TOLD, str(error), re.I)
        return say("unreachable", where=where, why=known.group() if known else type(error).__name__)
    if code.startswith("22") or type(error).__name__ == "ConversionException":
        return say("refused", where=where, why=f"a value cannot be read as it asks ({type(error).__name__})")
    said = error.diag.message_primary if address else first_line(error)
    for word in filter(None, map(unquote, re.split(r"[/@:?&=]+", address)[1:])):
        said = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "***", said)
    one = " (it must be one SELECT)" * (code == "42601" or said == "not authorized")
    return say("refused", where=where, why=f"{said}{one}")


def _from_file(file: Path, query: str) -> pd.DataFrame:
    if file.suffix.lower() in DUCKDB:
        import duckdb

        # A query reads this database, not whatever else lies on the machine.
        with duckdb.connect(str(file), read_only=True, config={"enable_external_access": "false"}) as connection:
            found = connection.sql(query)
            return pd.DataFrame() if found is None else arrow_frame(found.to_arrow_table(), f"the query of {file.name}")
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        reading = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
        # Attaching would make a file, although this one is opened for reading.
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in reading else sqlite3.SQLITE_DENY)
        return _framed(connection.execute(query))


def _from_server(address: str, query: str) -> pd.DataFrame:
    import psycopg

    address, read_only = SERVER.sub("postgresql://", address, count=1), "-c default_transaction_read_only=on"
    with psycopg.connect(address, options=read_only, connect_timeout=20) as connection:
        connection.read_only = True
        # A cursor can be declared for a SELECT alone, and what is prepared is one statement: none can write or commit.
        connection.execute(f"DECLARE asked CURSOR FOR {query}", prepare=True)
        return _framed(connection.execute("FETCH ALL FROM asked"))


def _framed(cursor) -> pd.DataFrame:
    """Return what a cursor holds as a table; whole numbers beside a gap stay whole, decimals become floats."""
    names = [column[0] for column in cursor.description or ()]
    frame = pd.DataFrame(cursor.fetchall(), columns=range(len(names)), dtype=object)
    kinds = {i: KINDS.get(pd.api.types.infer_dtype(frame[i]), object) for i in frame}
    return frame.astype(kinds).apply(pd.Series.infer_objects).set_axis(pd.Index(names, dtype=object), axis=1)
