"""
What differs between SQL engines, all of it and only here.

Each class knows how its engine spells what the templates say in DuckDB's dialect, how it locks and how it loads.
Another engine is another class and a line in :data:`DIALECTS`.
"""

from __future__ import annotations

import io
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from anomstack_provider.store.errors import StoreError, UnsupportedEngine
from anomstack_provider.store.file_lock import file_lock
from anomstack_provider.store.session import (
    LOCK_WAIT,
    Dialect,
    Session,
    Value,
    execute,
    hook_name,
    patience,
    quoted,
    split,
    utc_naive,
)

if TYPE_CHECKING:
    import pandas as pd
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_PLAIN = "metric_timestamp"
_CAST = "CAST(metric_timestamp AS TIMESTAMP)"
_TEXT = "CAST(CAST(metric_timestamp AS TIMESTAMPTZ) AS TIMESTAMP)"  # a plain cast would ignore a written offset


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

    def is_missing(self, error: BaseException) -> bool:
        import duckdb

        return isinstance(error, duckdb.CatalogException) and "does not exist" in str(error)

    def ensure_schema(self, session: Session) -> None:
        schema = split(session.table)[:-1]
        if not schema:
            return
        # In `a.b`, `a` may be an attached database (its file's name) as well as a schema: never make it both.
        if not session.rows("SELECT 1 FROM duckdb_databases() WHERE database_name = $name", name=schema[-1]):
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted('.'.join(schema))}")

    def time_column(self, connection: Any, sql: str) -> str:
        kind = str(connection.execute(sql).description[0][1])
        return {"TIMESTAMP": _PLAIN, "VARCHAR": _TEXT}.get(kind, _CAST)

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


class Postgres(Dialect):
    """PostgreSQL, through psycopg 3 or psycopg2, whichever its hook uses."""

    engine = "postgres"
    key_is_unique = True

    def prepare(self, connection: Any, wait: float) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            # Else it waits for ever; 0 is for ever too.
            cursor.execute(f"SET lock_timeout = {max(1, int(wait * 1000))}")

    def is_contention(self, error: BaseException) -> bool:
        return _sqlstate(error) in {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available

    def is_missing(self, error: BaseException) -> bool:
        return _sqlstate(error) == "42P01"

    def lock(self, connection: Any, table: str) -> None:
        # READ COMMITTED sees what the writer before us committed, once we have the lock. The key constraint
        # would keep duplicates out as well, but with an error, and tables of others may have none.
        self.rows(connection, "SELECT pg_advisory_xact_lock(hashtextextended(%(table)s, 0))", {"table": table})

    def ensure_schema(self, session: Session) -> None:
        schema = split(session.table)[:-1]
        if not schema:
            return
        # IF NOT EXISTS alone asks for the right to create a schema even where it is there.
        known = "SELECT 1 FROM information_schema.schemata WHERE schema_name = $name"
        if not session.rows(known, name=schema[-1]):
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema[-1])}")

    def rewrite(self, tree: Any) -> Any:
        from sqlglot import exp

        def spell(node: Any) -> Any:
            if isinstance(node, exp.Column) and node.name == "rowid":
                return exp.column("ctid")
            # The database's collation would sort names in a way of its own.
            if isinstance(node, exp.Ordered) and node.this.name in {"metric_name", "metric_type"}:
                node.set("this", exp.Collate(this=node.this, expression=exp.to_identifier("C", quoted=True)))
            return node

        return tree.transform(spell)

    def time_column(self, connection: Any, sql: str) -> str:
        with closing(connection.cursor()) as cursor:
            execute(cursor, sql, {})
            kind = cursor.description[0][1]
        # The numbers are those of the types in pg_type: timestamp; timestamptz and date.
        return _PLAIN if kind == 1114 else _CAST if kind in (1184, 1082) else _TEXT

    def spelled_table(self, table: str, *, within_values: bool) -> str:
        return quoted(table).replace("%", "%%") if within_values else quoted(table)

    def load(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        copy, text = f"COPY {name} FROM STDIN", _copy_text(frame)
        with closing(connection.cursor()) as cursor:
            # A new table has no statistics, and a join guessed to be tiny would compare every row with every row.
            cursor.execute("SET LOCAL enable_nestloop = off")
            if hasattr(cursor, "copy_expert"):
                cursor.copy_expert(copy, io.StringIO(text))
            else:
                with cursor.copy(copy) as sink:
                    sink.write(text)


class SQLite(Dialect):
    """
    SQLite: no type for times, so they are text, ``YYYY-MM-DD HH:MM:SS.ffffff`` in UTC, which sorts as time does.

    Other spellings of ISO 8601 in tables of others are read through a function that this dialect adds.
    """

    engine = "sqlite"
    key_is_unique = True

    def prepare(self, connection: Any, wait: float) -> None:
        connection.isolation_level = None  # no implicit transactions of the driver's own
        connection.execute(f"PRAGMA busy_timeout = {max(0, int(wait * 1000))}")
        connection.create_function("anomstack_utc", 1, _utc_text, deterministic=True)

    def begin(self, connection: Any) -> None:
        connection.execute("BEGIN IMMEDIATE")

    def is_contention(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and "is locked" in str(error)

    def is_missing(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and "no such table" in str(error)

    def bind(self, value: Value) -> Any:
        return _utc_text(value) if isinstance(value, datetime) else value

    def time_column(self, connection: Any, sql: str) -> str:
        self.rows(connection, sql, {})
        return "anomstack_utc(metric_timestamp)"

    def load(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        columns = [_sqlite_values(frame[column]) for column in frame.columns]
        marks = ", ".join("?" * len(columns))
        with closing(connection.cursor()) as cursor:
            cursor.executemany(f"INSERT INTO {name} VALUES ({marks})", zip(*columns, strict=True))


_POSTGRES = Postgres()
DIALECTS: dict[str, Dialect] = {
    "duckdb": DuckDB(),
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "sqlite": SQLite(),
}
"""By connection type, and by the names that hooks have for their dialect."""


def store_dialect(hook: DbApiHook) -> Dialect:
    """Return the dialect of a hook's engine; :class:`UnsupportedEngine` where no store can be kept."""
    dialect = source_dialect(hook)
    if not dialect.engine:
        raise UnsupportedEngine(
            f"{hook_name(hook)} is of type {hook.conn_type!r}; metrics can be kept in: "
            + ", ".join(sorted({known.engine for known in DIALECTS.values()}))
        )
    dialect.check(hook)
    return dialect


def source_dialect(hook: DbApiHook) -> Dialect:
    """Return the dialect of a hook's engine, a plain DB-API one for an engine that is not known here."""
    return DIALECTS.get(str(hook.conn_type)) or DIALECTS.get(str(hook.dialect_name)) or Dialect()


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


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _copy_text(frame: pd.DataFrame) -> str:
    """Return the frame as the text that COPY reads: exact for floats (shortest form that reads back the same)."""
    escapes = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
    columns: list[list[str]] = []
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind == "M":
            columns.append([str(value) for value in column.to_numpy()])
        elif column.dtype.kind in "fib":
            columns.append([repr(value) for value in column.tolist()])
        else:
            columns.append([r"\N" if value is None else value.translate(escapes) for value in _texts(column)])
    return "".join("\t".join(row) + "\n" for row in zip(*columns, strict=True))


def _sqlite_values(column: pd.Series[Any]) -> list[Any]:
    if column.dtype.kind == "M":
        return [str(value).replace("T", " ") for value in column.to_numpy()]
    return list(column.tolist()) if column.dtype.kind in "fib" else list(_texts(column))


def _texts(column: pd.Series[Any]) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in column.tolist()]


def _utc_text(value: str | datetime | None) -> str | None:
    """Return a time as SQLite's tables made here spell it; text without an offset is UTC."""
    if value is None:
        return None
    if isinstance(value, str):
        if len(value) == 26 and value[10] == " " and value[19] == "." and value[20:].isdigit():
            return value
        value = datetime.fromisoformat(value.strip())
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return utc_naive(value).isoformat(sep=" ", timespec="microseconds")
