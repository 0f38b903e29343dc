"""A query on a database as a table: a DuckDB or SQLite file, or anything that SQLAlchemy reaches.

Names and passwords come from the environment: ``postgresql://${CRM_USER}:${CRM_PASSWORD}@db.example/crm``, or from
what the database's own library reads there (PGUSER, PGPASSWORD). A password that stands in the address is refused.
Neither the address nor anything taken from the environment stands in a message. Every connection is read-only.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.sources.columns import position
from cxresearch.sources.files import first_line
from cxresearch.sources.parquet import arrow_frame
from cxresearch.sources.reading import RawTable

DUCKDB = (".duckdb", ".ddb")
SQLITE = (".sqlite", ".sqlite3", ".db")
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
PASSWORD = re.compile(r"://[^/@:]*:(?P<after>[^/]*)@|[?&;](?:password|pwd|passwd|token)=(?P<named>[^&;]*)", re.I)


def database_file(database: str, folder: Path) -> Path | None:
    """Return the file that a `database:` names, or None for an address of a server."""
    plain = re.sub(r"^(?:sqlite|duckdb):///", "", database)
    return None if "://" in plain else folder / plain


def require_no_password(database: str) -> None:
    """Refuse an address in which a password is written out."""
    for found in PASSWORD.finditer(database):
        written = found["after"] if found["after"] is not None else found["named"]
        if written and not PLACEHOLDER.fullmatch(written):
            raise ValueError(
                "a password does not belong into a file; write ${NAME} in its place and set NAME in the environment"
            )


def read_query(
    database: str, query: str, *, folder: Path, name: str, wanted: Mapping[str, str] | None = None
) -> RawTable:
    """Return the wanted columns of what `query` selects.

    Parameters
    ----------
    database
        A DuckDB or SQLite file relative to `folder`, or an SQLAlchemy address with ``${NAME}`` for what the
        environment holds.
    name
        Of the table, for messages.
    wanted
        Column -> what asks for it; None gives every column.

    Raises
    ------
    StudyProblem
        The database cannot be reached, the query fails or returns nothing, or a column is absent.
    """
    file = database_file(database, folder)
    where = f"tables.{name}: {file.name if file else 'the database'}"
    frame = _selected(database, query, file, name, where)
    if not len(frame):
        raise StudyProblem(f"{where}: the query returns no rows")
    names = [str(c) for c in frame.columns]
    chosen = range(len(names)) if wanted is None else [position(names, w, why, where) for w, why in wanted.items()]
    frame = frame.iloc[:, list(chosen)]
    frame.columns = pd.Index(names if wanted is None else list(wanted), dtype=object)
    return RawTable(frame, digest=_digest(query, frame))


def _digest(query: str, frame: pd.DataFrame) -> str:
    """Return a SHA-256 of the query and of its rows, whatever order a server returns them in."""
    rows = np.sort(pd.util.hash_pandas_object(frame.astype(str), index=False).to_numpy())
    header = "\0".join([" ".join(query.split()), *map(str, frame.columns)])
    return hashlib.sha256(header.encode() + rows.astype("<u8").tobytes()).hexdigest()


def _selected(database: str, query: str, file: Path | None, name: str, where: str) -> pd.DataFrame:
    secrets: list[str] = []
    try:
        return _from_file(file, query, name) if file else _from_server(_filled(database, name, secrets), query)
    except StudyProblem:
        raise
    except ImportError as error:
        said = f"{where} needs the package {error.name}; install it beside cxresearch"
    except Exception as error:
        said = f"{where} refused the query: {_without(first_line(error), secrets)}"
    # Raised here and not above: what a driver raises may hold the address, and would hang on as the context.
    raise StudyProblem(said)


def _filled(database: str, name: str, secrets: list[str]) -> str:
    """Return the address with what the environment holds, and remember that as secret."""
    from urllib.parse import quote

    def value(found: re.Match) -> str:
        if found[1] not in os.environ:
            raise StudyProblem(f"tables.{name}: the environment holds no {found[1]}; set it before the study is opened")
        secrets.extend((os.environ[found[1]], quote(os.environ[found[1]], safe="")))
        return quote(os.environ[found[1]], safe="")

    return PLACEHOLDER.sub(value, database)


def _without(message: str, secrets: list[str]) -> str:
    for secret in sorted(filter(None, (*secrets, os.environ.get("PGPASSWORD"))), key=len, reverse=True):
        # A short one, such as a user's name, may be part of an ordinary word.
        message = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)" if len(secret) < 6 else re.escape(secret), "***", message)
    return re.sub(r"://[^\s@]*@", "://***@", message)


def _from_file(file: Path, query: str, name: str) -> pd.DataFrame:
    if file.suffix.lower() in DUCKDB:
        import duckdb

        # A query reads this database, not whatever else lies on the machine.
        with duckdb.connect(str(file), read_only=True, config={"enable_external_access": "false"}) as connection:
            if (found := connection.sql(query)) is None:
                raise StudyProblem(f"tables.{name}: {file.name}: the query returns no table")
            return arrow_frame(found.to_arrow_table(), f"tables.{name}")
    if file.suffix.lower() not in SQLITE:
        raise StudyProblem(
            f"tables.{name}: database files ending in {file.suffix!r} are not read; known endings: "
            f"{' '.join((*DUCKDB, *SQLITE))}"
        )
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute(query)
        return _framed([column[0] for column in found.description or ()], found.fetchall())


def _from_server(address: str, query: str) -> pd.DataFrame:
    from sqlalchemy import create_engine

    # psycopg is the driver that the project installs; the plain scheme would ask for its predecessor.
    address = re.sub(r"^postgres(?:ql)?://", "postgresql+psycopg://", address)
    engine = create_engine(address, hide_parameters=True)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            found = connection.execution_options(no_parameters=True).exec_driver_sql(query)
            return _framed(list(found.keys()), [tuple(row) for row in found.fetchall()])
    finally:
        engine.dispose()


def _framed(names: list[str], rows: list[tuple]) -> pd.DataFrame:
    columns = [_column([row[i] for row in rows]) for i in range(len(names))]
    frame = pd.DataFrame(dict(enumerate(columns)))
    frame.columns = pd.Index(names, dtype=object)
    return frame


def _column(values: list) -> pd.Series:
    """Return one column; whole numbers beside a gap stay whole, decimals become floats."""
    present = [v for v in values if v is not None]
    if present and all(type(v) is int for v in present):
        return pd.Series(pd.array(values, dtype="Int64"))
    if present and all(isinstance(v, (int, float, Decimal)) and not isinstance(v, bool) for v in present):
        return pd.Series([None if v is None else float(v) for v in values], dtype=float)
    return pd.Series(values)
