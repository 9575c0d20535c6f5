"""Snowflake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from anomstack_provider.store.engines.columns import plain_values
from anomstack_provider.store.engines.times import PLAIN
from anomstack_provider.store.position import Position
from anomstack_provider.store.session import LOCK_WAIT, Dialect, Session, split
from anomstack_provider.store.statements import Native

if TYPE_CHECKING:
    import pandas as pd
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_UPPER_NAME = re.compile(r"[A-Z_][A-Z0-9_$]*")
_UTC = "anomstack_utc"
_STATEMENT = 400_000  # characters of values in one; Snowflake admits a statement of a million bytes
_VALUES = 10_000  # rows in one; Snowflake admits 16,384


class Snowflake(Dialect):
    """
    Snowflake: no constraint on keys is enforced, so writers of a table take turns.

    DDL, that of temporary tables too, commits the transaction it stands in. So a transaction begins with the lock and
    not before, and frames are staged before it. The lock is the one row of a table ``..._lock``: whoever changes it
    keeps all others waiting until the transaction ends. Each statement after it sees what the one before us committed.
    A name that needs no quotes means what it means in Snowflake, its upper case; other names stay as they are.
    """

    engine = "snowflake"
    options = ("no_rowid",)
    types: ClassVar = {"M": "TIMESTAMP_NTZ", "f": "DOUBLE", "b": "BOOLEAN", "i": "BIGINT"}

    @contextmanager
    def connected(self, hook: DbApiHook, wait: float = LOCK_WAIT) -> Iterator[Any]:
        with super().connected(hook, wait) as connection:
            try:
                yield connection
            except Exception:
                with suppress(Exception):  # a lost connection; then Snowflake ends the transaction by itself
                    self.execute(connection, "ROLLBACK", {})
                raise

    def prepare(self, connection: Any, wait: float) -> None:
        seconds = max(1, int(wait))
        self.execute(connection, f"ALTER SESSION SET TIMEZONE = 'UTC', LOCK_TIMEOUT = {seconds}", {})

    def commit(self, connection: Any) -> None:
        self.execute(connection, "COMMIT", {})

    def is_contention(self, error: BaseException) -> bool:
        # The lock's time-out or too many who wait, and a deadlock.
        return getattr(error, "errno", None) == 625 or (
            getattr(error, "sqlstate", None) in {"57014", "40001"} and "lock" in str(error).lower()
        )

    def position(self, error: BaseException, sql: str) -> Position | None:
        told = re.search(r"line (\d+) at position (\d+)", str(error))  # columns are counted from 0
        return Position(int(told[1]), int(told[2]) + 1) if told else None

    def is_missing(self, error: BaseException) -> bool:
        return getattr(error, "errno", None) == 2003

    def lock(self, connection: Any, table: str) -> None:
        lock = self.quoted(f"{table}_lock")
        try:
            self._hold(connection, lock)
        except Exception as error:
            if not self.is_missing(error):
                raise
            self.execute(connection, "ROLLBACK", {})
            try:
                self.execute(connection, f"CREATE TABLE IF NOT EXISTS {lock} AS SELECT 0 AS taken", {})
            except Exception as second:
                if self.is_missing(second):
                    return  # no schema yet, so nobody to wait for
                raise
            self._hold(connection, lock)

    def _hold(self, connection: Any, lock: str) -> None:
        self.execute(connection, "BEGIN TRANSACTION", {})
        self.execute(connection, f"UPDATE {lock} SET taken = taken + 1", {})

    def ensure_schema(self, session: Session) -> None:
        schema = split(session.table)[:-1]
        if not schema:
            return
        # IF NOT EXISTS alone asks for the right to create a schema even where it is there.
        database = f"{self.identifier(schema[0])}." if len(schema) > 1 else ""
        known = f"SELECT 1 FROM {database}INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME = $name"
        if not session.rows(Native(known), name=_folded(schema[-1])):
            session.execute(Native(f"CREATE SCHEMA IF NOT EXISTS {self.quoted('.'.join(schema))}"))

    def rewrite(self, tree: Any) -> Any:
        from sqlglot import exp

        def spell(node: Any) -> Any:
            if not (isinstance(node, exp.Anonymous) and node.name.lower() == _UTC):
                return node
            (moment,) = node.expressions
            zoned = exp.cast(moment, exp.DataType.Type.TIMESTAMPTZ)
            utc = exp.ConvertTimezone(target_tz=exp.Literal.string("UTC"), timestamp=zoned)
            return exp.cast(utc, exp.DataType.Type.TIMESTAMPNTZ)

        return tree.transform(spell)

    def time_column(self, connection: Any, sql: str) -> str:
        with closing(connection.cursor()) as cursor:
            cursor.execute(sql)
            kind = cursor.description[0][1]
        return PLAIN if kind == 8 else f"{_UTC}(metric_timestamp)"  # the connector's number of TIMESTAMP_NTZ

    def identifier(self, name: str) -> str:
        return super().identifier(_folded(name))

    def placeholder(self, name: str) -> str:
        return f"%({name})s"

    def spelled_table(self, table: str, *, within_values: bool) -> str:
        quoted = self.quoted(table)
        return quoted.replace("%", "%%") if within_values else quoted

    def columns(self, connection: Any, sql: str, values: Mapping[str, Any]) -> dict[str, Any]:
        found = super().columns(connection, sql, values)
        lower = {name: name.lower() if _UPPER_NAME.fullmatch(name) else name for name in found}
        if len(set(lower.values())) < len(lower):
            return found  # someone quoted two names that differ by their case
        return {lower[name]: column for name, column in found.items()}

    def load(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        values = {column: _texts(frame[column]) for column in frame.columns}
        marks = ", ".join(["%s"] * len(values))
        with closing(connection.cursor()) as cursor:
            for rows in _parts(list(zip(*values.values(), strict=True))):
                cursor.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)


def _folded(name: str) -> str:
    return name.upper() if _PLAIN_NAME.fullmatch(name) else name


def _texts(column: pd.Series[Any]) -> list[Any]:
    """Return values as the driver may write them in a statement; floats as text, which is exact."""
    values = plain_values(column)
    return [repr(value) for value in values] if column.dtype.kind == "f" else values


def _parts(rows: list[tuple[Any, ...]]) -> Sequence[list[tuple[Any, ...]]]:
    parts: list[list[tuple[Any, ...]]] = []
    room = 0
    for row in rows:
        size = sum(len(value) if isinstance(value, str) else 20 for value in row)
        if room < size or len(parts[-1]) == _VALUES:
            parts.append([])
            room = _STATEMENT
        parts[-1].append(row)
        room -= size
    return parts
