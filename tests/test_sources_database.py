"""A query as a table: SQLite, DuckDB and a real PostgreSQL; no password in a file, a message or a record."""

import os
import pwd
import re
import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

import duckdb
import pytest

from cxresearch import open_study
from cxresearch.errors import StudyProblem
from cxresearch.intake import check_study

TABLE = "create table answers (id integer, account text, score integer, amount decimal(8,2), asked date)"
ROWS = [(1, "007", 10, 1.5, "2024-01-02"), (2, "008", None, 2.25, "2024-01-03"), (2**53 + 1, None, 0, None, None)]
ITEMS = """    id: id
    customer: account
    items:
      score: {scale: [0, 10], role: nps}
      amount: {type: number}
      asked: {role: asked_at}
"""


def study(folder, database, query="select * from answers"):
    text = f"title: T\ntables:\n  responses:\n    database: {database}\n    query: {query}\n{ITEMS}"
    (folder / "study.yml").write_text(text)
    return folder / "study.yml"


def refused(path):
    with pytest.raises(StudyProblem) as caught:
        open_study(path).load_all()
    return str(caught.value)


@pytest.fixture
def sqlite_file(tmp_path):
    connection = sqlite3.connect(tmp_path / "crm.sqlite")
    connection.execute(TABLE)
    connection.executemany("insert into answers values (?, ?, ?, ?, ?)", ROWS)
    connection.commit()
    connection.close()
    return "crm.sqlite"


@pytest.fixture
def duckdb_file(tmp_path):
    with duckdb.connect(str(tmp_path / "crm.duckdb")) as connection:
        connection.execute(TABLE.replace("integer", "bigint"))
        connection.executemany("insert into answers values (?, ?, ?, ?, ?)", ROWS)
    return "crm.duckdb"


def holds_the_rows(opened):
    responses = opened.read("responses").table
    assert responses["respondent"].tolist() == ["1", "2", str(2**53 + 1)]  # no id is rounded beside a gap
    assert responses["customer"].tolist()[:2] == ["007", "008"]
    assert responses["score"].tolist()[::2] == [10, 0] and responses["score"].isna().sum() == 1
    assert responses["amount"].sum() == 3.75 and str(responses["asked"].iloc[0].date()) == "2024-01-02"


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_database_file_is_a_source(tmp_path, kind, request):
    database = request.getfixturevalue(f"{kind}_file")
    for written in (database, f"{kind}:///{database}"):
        opened = open_study(study(tmp_path, written))
        holds_the_rows(opened)
        assert opened.files == [tmp_path / database]
        assert opened.waterfall("responses")["reason"].iloc[0] == f"crm.{kind}: 3 rows"
    assert check_study(tmp_path)["ok"]


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_query_cannot_write(tmp_path, kind, request):
    database = request.getfixturevalue(f"{kind}_file")
    before = (tmp_path / database).read_bytes()
    said = refused(study(tmp_path, database, "delete from answers"))
    assert said.startswith(f"tables.responses: crm.{kind} refused the query: ") and (
        "read" in said or "one SELECT" in said
    )
    assert (tmp_path / database).read_bytes() == before


def test_a_query_reads_no_other_file_of_the_machine(tmp_path, duckdb_file):
    (tmp_path / "secret.csv").write_text("id\n1\n")
    said = refused(study(tmp_path, duckdb_file, f"select * from '{tmp_path / 'secret.csv'}'"))
    assert said.startswith("tables.responses: crm.duckdb refused the query: ")


def test_no_value_of_a_row_stands_in_a_message(tmp_path, duckdb_file):
    said = refused(study(tmp_path, duckdb_file, "select *, concat('x', account)::integer as n from answers"))
    assert said == (
        "tables.responses: crm.duckdb refused the query: a value cannot be read as it asks (ConversionException)"
    )


@pytest.mark.parametrize(("database", "query", "told"), [
    ("crm.sqlite", "select id from answers", "tables.responses: crm.sqlite has no column 'account' (customer in study.yml)"),
    ("crm.sqlite", "select * from answer", "tables.responses: crm.sqlite refused the query: no such table: answer"),
    ("crm.sqlite", "select * from answers where id < 0", "tables.responses: crm.sqlite: the query returns no rows"),
    ("crm.sqlit", "select 1", "study.yml, line 4: tables.responses names 'crm.sqlit', which does not exist; did you mean 'crm.sqlite'?"),
    ("crm.xyz", "select 1", "tables.responses: database files ending in '.xyz' are not read; known endings: .duckdb .ddb .sqlite "
     ".sqlite3 .db"),
    ("broken.db", "select * from answers", "tables.responses: broken.db refused the query: file is not a database"),
    ("'postgresql://ann:${CRM_PASSWORD}@localhost/crm'", "select 1", "tables.responses: the environment holds no CRM_PASSWORD; set it "
     "before the study is opened"),
])  # fmt: skip
def test_what_is_said_of_a_query(tmp_path, sqlite_file, monkeypatch, database, query, told):
    monkeypatch.delenv("CRM_PASSWORD", raising=False)
    (tmp_path / "crm.xyz").write_text("")
    (tmp_path / "broken.db").write_text("no database at all, only words" * 100)
    assert refused(study(tmp_path, database, query)) == told


def test_a_database_and_its_query_belong_together(tmp_path):
    path = study(tmp_path, "crm.sqlite")
    whole = path.read_text()
    path.write_text(whole.replace("    query: select * from answers\n", ""))
    assert refused(path) == "study.yml, line 3: tables.responses: a database needs a query, and a query a database"
    path.write_text(whole.replace("    query:", "    source: a.csv\n    query:"))
    assert (
        refused(path) == "study.yml, line 3: tables.responses: has source and database; the rows come from one of them"
    )


@pytest.mark.parametrize("address", [
    "postgresql://ann:hunter2@db.example/crm", "postgresql://ann@db.example/crm?password=hunter2",
    "postgresql://${WHO}:hunter2@db.example/crm", "mysql://ann:${X}hunter2@db.example/crm", "postgresql://ann:hun/ter2@db.example/crm",
    "postgresql://ann@db.example/crm?sslpassword=hunter2", "host=db.example user=ann password=hunter2",
])  # fmt: skip
def test_a_password_in_the_file_is_refused_without_repeating_it(tmp_path, address):
    said = refused(study(tmp_path, f"'{address}'"))
    assert said == (
        "study.yml, line 4: tables.responses.database: a password does not belong into a file; write ${NAME} in its "
        "place and set NAME in the environment"
    )


@pytest.mark.parametrize(
    "scheme", ["sqlite+pysqlite:///", "SQLite+pysqlite:///", "mysql://ann@db.example/", "mssql+pyodbc://"]
)
def test_a_database_that_cannot_be_held_to_reading_is_refused(tmp_path, sqlite_file, scheme):
    before = (tmp_path / sqlite_file).read_bytes()
    said = refused(study(tmp_path, f"'{scheme}{tmp_path / sqlite_file}'", "drop table answers"))
    assert said.startswith("study.yml, line 4: tables.responses.database: databases of the kind ")
    assert "are not read, since a query could write there; name a file (.duckdb .ddb .sqlite .sqlite3 .db) or a" in said
    assert (tmp_path / sqlite_file).read_bytes() == before


@pytest.mark.parametrize(
    "query", ["drop table answers", "attach database 'more.db' as m", "insert into answers (id) values (9)"]
)
def test_an_sqlite_file_is_opened_for_reading(tmp_path, sqlite_file, query):
    before = (tmp_path / sqlite_file).read_bytes()
    assert refused(study(tmp_path, sqlite_file, query)).startswith("tables.responses: crm.sqlite")
    assert (tmp_path / sqlite_file).read_bytes() == before and not Path("more.db").exists()


# -- a real PostgreSQL -----------------------------------------------------------------------------------------------


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(p) for p in [shutil.which("initdb")] if p]
    return found[-1].parent if found else None


def _owner() -> dict:
    """The server refuses to run as root; the system's package brings the user postgres."""
    return {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """Start a cluster of our own on loopback and return its port."""
    pytest.importorskip("psycopg")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    if os.getuid() == 0 and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("root cannot start PostgreSQL, and there is no user postgres")
    folder = Path("/tmp") / f"cxresearch-postgres-{os.getpid()}"  # short, and open to the user postgres
    folder.mkdir(mode=0o700)
    if _owner():
        shutil.chown(folder, "postgres", "postgres")
    secret = folder / "password"
    secret.write_text("s3cr3t/@:word\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    run = {"check": True, "capture_output": True, "cwd": folder, **_owner()}
    try:
        secret.chmod(0o644)
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "ann", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"], **run
        )
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        subprocess.run([programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"], **run)
        yield port
    finally:
        subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **run | {"check": False})
        shutil.rmtree(folder, ignore_errors=True)


def test_a_real_postgresql_is_a_source_and_its_password_stands_nowhere(postgres, tmp_path, monkeypatch):
    import psycopg

    password = "s3cr3t/@:word"
    with psycopg.connect(
        host="127.0.0.1", port=postgres, user="ann", password=password, dbname="postgres"
    ) as connection:
        connection.execute(TABLE.replace("integer", "bigint"))
        connection.cursor().executemany("insert into answers values (%s, %s, %s, %s, %s)", ROWS)
    monkeypatch.setenv("CRM_USER", "ann")
    monkeypatch.setenv("CRM_PASSWORD", password)
    address = f"'postgresql://${{CRM_USER}}:${{CRM_PASSWORD}}@127.0.0.1:{postgres}/postgres'"
    path = study(tmp_path, address, "\"select * from answers where account like '%' or id > 5 and 'a:b' = 'a:b'\"")
    opened = open_study(path)
    holds_the_rows(opened)
    assert (
        opened.files == []
        and opened.waterfall("responses")["reason"].iloc[0] == "the query of tables.responses: 3 rows"
    )
    before = opened.queries["responses"]
    assert re.fullmatch("[0-9a-f]{64}", before) and open_study(path).queries == {"responses": before}
    assert password not in str(check_study(path))
    with psycopg.connect(
        host="127.0.0.1", port=postgres, user="ann", password=password, dbname="postgres"
    ) as connection:
        connection.execute("update answers set score = 9 where score = 10")
        connection.execute("insert into answers (id, account) values (9, 'ann@example.org')")
        connection.execute("create sequence s")
    assert open_study(path).queries != {"responses": before}
    said = refused(study(tmp_path, address, "delete from answers"))
    assert said == (
        'tables.responses: the database refused the query: syntax error at or near "delete" (it must be one SELECT)'
    )
    for attack in (
        "select 1; commit; drop table answers", "select 1; set default_transaction_read_only = off; drop table answers",
        "commit; begin read write; drop table answers", "with gone as (delete from answers returning *) select * from gone",
        "copy (select 1) to program 'true'", "select setval('s', 9)", "select nextval('s')", "do 'begin commit; end'",
    ):  # fmt: skip
        assert refused(study(tmp_path, address, f'"{attack}"')).startswith("tables.responses: the database refused")
    said = refused(study(tmp_path, address, "select account::integer as n, account from answers where id = 9"))
    assert said.startswith("tables.responses: the database refused the query: a value cannot be read as it asks")
    assert "ann@example" not in said
    with psycopg.connect(
        host="127.0.0.1", port=postgres, user="ann", password=password, dbname="postgres"
    ) as connection:
        assert connection.execute("select count(*), last_value from answers, s group by 2").fetchone() == (4, 1)
    monkeypatch.setenv("CRM_PASSWORD", "wr0ng-word")
    with pytest.raises(StudyProblem) as caught:
        open_study(study(tmp_path, address)).responses
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert "password authentication failed" in str(caught.value)
    assert not any(
        re.search(rf"\b{word}\b", str(error))
        for error in chain
        for word in ("wr0ng-word", "s3cr3t", "ann", "127.0.0.1", str(postgres))
    )


def test_a_server_that_is_not_there(tmp_path, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("CRM_PASSWORD", "s3cr3t")
    said = refused(study(tmp_path, "'postgresql://ann:${CRM_PASSWORD}@127.0.0.1:1/crm'"))
    assert said == (
        "tables.responses: the database cannot be reached: Connection refused; look at its address and at what the "
        "environment holds"
    )
