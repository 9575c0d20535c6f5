"""DuckDB, a file or MotherDuck."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from anomstack_provider.store.engines.times import CAST, PLAIN, TEXT
from anomstack_provider.store.errors import StoreError
from anomstack_provider.store.file_lock import file_lock
from anomstack_provider.store.position import Position
from anomstack_provider.store.session import LOCK_WAIT, Dialect, Session, hook_name, patience, split

if TYPE_CHECKING:
    import pandas as pd
    from airflow.providers.common.sql.hooks.sql import DbApiHook


class DuckDB(Dialect):
    """
    DuckDB: the templates as they are, frames registered instead of loaded.

    A writing process locks the file against all others, readers too, so every connection is short, and its
    users take turns by ``file_lock``; a program that does not know of that is waited for as well. Tables have
    no key constraint: with one, replacing 100,000 of a million rows takes five times as long and the file is
    six times as large, and writers are alone in the file in any case.
    """

    engine = "duckdb"

    _IN_USE = (
        "Could not set lock on file",  # another process has it
        "Unique file handle conflict",  # another thread is just closing it
        "different configuration than existing connections",  # another hook of this process has it open
    )

    @contextmanager
    def connected(self, hook: DbApiHook, wait: float = LOCK_WAIT) -> Iterator[Any]:
        deadline = time.monotonic() + wait
        path = _local_file(hook)
        with (
            file_lock(path, wait) if path else nullcontext(),
            super().connected(hook, deadline - time.monotonic()) as connection,
        ):
            yield connection

    def open(self, hook: Any, wait: float) -> Any:
        deadline = time.monotonic() + wait
        while True:
            try:
                return hook.get_conn()
            except Exception as error:
                if not self.is_contention(error) or time.monotonic() > deadline:
                    raise
            # The hook logs each of its openings, so it is not asked again until the file is free. What opened
            # it then is closed at once, as it may have read the header too early: see file_lock.
            patience(self.is_contention, deadline - time.monotonic())(_open_duckdb, hook).close()

    def prepare(self, connection: Any, wait: float) -> None:
        connection.execute("SET TimeZone='UTC'")
        # Else a table that does not exist is looked up among the Python variables of this module.
        connection.execute("SET python_enable_replacements=false")

    def begin(self, connection: Any) -> None:
        connection.execute("BEGIN TRANSACTION")

    def commit(self, connection: Any) -> None:
        connection.execute("COMMIT")

    def check(self, hook: Any) -> None:
        if hook.get_database() == ":memory:":
            raise StoreError(
                f"{hook_name(hook)} is a DuckDB database in memory, which would forget the metrics at once: "
                "set the host of the connection to the path of a file"
            )

    def is_contention(self, error: BaseException) -> bool:
        import duckdb

        if isinstance(error, duckdb.TransactionException):
            return "conflict" in str(error).lower()
        return isinstance(error, duckdb.Error) and any(words in str(error) for words in self._IN_USE)

    def position(self, error: BaseException, sql: str) -> Position | None:
        told = re.search(r"^(LINE (\d+): )(.*)\n( *)\^", str(error), re.MULTILINE)
        if told is None:
            return None
        cut = told[3].startswith("...")  # a long line is shown in part
        return Position(int(told[2]), None if cut else len(told[4]) - len(told[1]) + 1)

    def is_missing(self, error: BaseException) -> bool:
        import duckdb

        return isinstance(error, duckdb.CatalogException) and "does not exist" in str(error)

    def ensure_schema(self, session: Session) -> None:
        schema = split(session.table)[:-1]
        if not schema:
            return
        # In `a.b`, `a` may be an attached database (its file's name) as well as a schema: never make it both.
        if not session.rows("SELECT 1 FROM duckdb_databases() WHERE database_name = $name", name=schema[-1]):
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {self.quoted('.'.join(schema))}")

    def time_column(self, connection: Any, sql: str) -> str:
        kind = str(connection.execute(sql).description[0][1])
        return {"TIMESTAMP": PLAIN, "VARCHAR": TEXT}.get(kind, CAST)

    def translated(self, sql: str) -> str:
        return sql

    def execute(self, connection: Any, sql: str, values: Mapping[str, Any]) -> int:
        found = self.rows(connection, sql, values)
        return int(found[0][0]) if found else 0

    def rows(self, connection: Any, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = connection.execute(sql, values or None).fetchall()
        return found

    def columns(self, connection: Any, sql: str, values: Mapping[str, Any]) -> dict[str, Any]:
        # Not fetch_df: it is slower, and for times with a zone it needs pytz and warns under pandas 3.
        result = connection.execute(sql, values or None)
        if result is None or result.description is None:
            raise StoreError("the statement returns no rows, so there is nothing to read")
        found: dict[str, Any] = result.fetchnumpy()
        return found

    def stage(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        connection.register(name, frame)


def _local_file(hook: Any) -> str | None:
    """Return the path of the database if it is a file here that a lock can be put beside."""
    database = str(hook.get_database())
    if database == ":memory:" or database.startswith("md:") or "://" in database:
        return None
    folder = os.path.dirname(os.path.realpath(database))
    if not os.path.isdir(folder):
        return None  # DuckDB will say so
    return None if hook.read_only and not os.access(folder, os.W_OK) else database


def _open_duckdb(hook: Any) -> Any:
    import duckdb

    return duckdb.connect(hook.get_database(), read_only=hook.read_only, config=hook.get_connect_config())
