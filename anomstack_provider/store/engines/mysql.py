"""MySQL and MariaDB, through mysqlclient or mysql-connector-python, whichever the connection's hook uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from anomstack_provider.store.engines.columns import plain_values
from anomstack_provider.store.engines.times import CAST, PLAIN
from anomstack_provider.store.errors import RowsRefused, StoreError
from anomstack_provider.store.position import Position, of_text
from anomstack_provider.store.session import Dialect, Value, execute, hook_name, utc_naive
from anomstack_provider.store.statements import TARGET

if TYPE_CHECKING:
    import pandas as pd
    from airflow.providers.common.sql.hooks.sql import DbApiHook

# Compares bytes, trailing spaces too. The two servers have it under two names; each reads its own of the comments.
_EXACT = "/*!80017 utf8mb4_0900_bin *//*M! utf8mb4_nopad_bin */"

# The longest that fit together into the 3072 bytes that InnoDB has for a key.
_LENGTHS = {
    "metric_batch": 200,
    "metric_type": 60,
    "metric_name": 500,
    "event_id": 200,
    "transition": 60,
    "channel": 500,
}
_NAMES = frozenset(_LENGTHS)

# ISO 8601: a time in its own offset, then the offset in minutes. What MariaDB does not find it gives as ''.
_LOCAL = (
    "REPLACE(REGEXP_SUBSTR(metric_timestamp, "
    "'^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?)?'), 'T', ' ')"
)
_OFFSET = (
    "REPLACE(COALESCE(NULLIF(REGEXP_SUBSTR(SUBSTRING(metric_timestamp, 17), '[+-][0-9]{2}(:?[0-9]{2})?$'), ''), "
    "'+0000'), ':', '')"
)
_HOURS = f"CAST(LEFT({_OFFSET}, 3) AS SIGNED)"
_REST = f"CAST(CONCAT(LEFT({_OFFSET}, 1), '0', SUBSTRING({_OFFSET}, 4)) AS SIGNED)"
_TEXT = f"TIMESTAMPADD(MINUTE, -(60 * {_HOURS} + {_REST}), CAST({_LOCAL} AS DATETIME(6)))"

_DATETIMES, _DATES = {7, 12}, {10, 14}  # the protocol's numbers of its types: timestamp and datetime; dates
_STATEMENT_BYTES = 1_000_000


class MySQL(Dialect):
    """
    MySQL from 8.0.17 on and MariaDB from 10.4 on.

    A schema is a database. Names are told apart by their bytes, here and in tables of others whatever their collation
    is. Tables are InnoDB's, with times as ``DATETIME(6)`` in UTC. Their writers take turns by a lock of the server's,
    ``GET_LOCK``; in a cluster that is a lock of one of its servers, and the key constraint has to do for the others.
    """

    engine = "mysql"
    options = ("unique", "no_rowid", "delete_limit")
    types: ClassVar = {"M": "DATETIME(6)", "f": "DOUBLE", "b": "BOOLEAN", "i": "BIGINT"}
    text = f"LONGTEXT CHARACTER SET utf8mb4 COLLATE {_EXACT}"

    def check(self, hook: DbApiHook) -> None:
        connection: Any = hook.get_connection(hook.get_conn_id())
        if not (getattr(hook, "schema", None) or connection.schema):
            raise StoreError(f"{hook_name(hook)} names no database: set the schema of the connection to one")

    def prepare(self, connection: Any, wait: float) -> None:
        if hasattr(connection, "set_character_set"):  # mysqlclient, which also has cursors that give no tuples
            from MySQLdb.cursors import Cursor

            connection.set_character_set("utf8mb4")
            connection.cursorclass = Cursor
        else:
            connection.set_charset_collation("utf8mb4", "utf8mb4_bin")
        seconds = max(1, int(wait))
        with closing(connection.cursor()) as cursor:
            cursor.execute(
                f"SET time_zone = '+00:00', sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'),"
                f" innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}, @anomstack_wait = {seconds}"
            )
            # A writer has to see what the one before it committed, once it has the lock.
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def is_contention(self, error: BaseException) -> bool:
        # Lock wait timeout, deadlock, changed since it was read, deadlock of locks by name.
        return isinstance(error, _LockWait) or _number(error) in {1205, 1213, 1020, 3058}

    def position(self, error: BaseException, sql: str) -> Position | None:
        said = str(error.args[1]) if len(error.args) > 1 else ""
        told = re.search(r"(?:near '(.*)' )?at line (\d+)$", said, re.DOTALL)
        if told is None:
            return None
        line = int(told[2])
        return of_text(sql, told[1] or "", line) or Position(line)

    def is_missing(self, error: BaseException) -> bool:
        return _number(error) in {1146, 1049}  # no such table, no such database

    def open(self, hook: DbApiHook, wait: float) -> Any:
        try:
            return hook.get_conn()
        except Exception as error:
            if _number(error) == 1049:
                raise StoreError(
                    f"{hook_name(hook)}: {error.args[1]}: set its schema to a database that exists"
                ) from error
            raise

    def lock(self, connection: Any, table: str) -> None:
        # It ends with the connection, which is closed after the commit.
        key = table if "." in table else None
        sql = "SELECT GET_LOCK(SHA1(COALESCE(%(key)s, CONCAT(DATABASE(), '.', %(table)s))), @anomstack_wait)"
        if self.rows(connection, sql, {"key": key, "table": table})[0][0] != 1:
            raise _LockWait(f"another session has the lock of the table {table!r}")

    def rewrite(self, tree: Any) -> Any:
        from sqlglot import exp

        def of_table(node: Any) -> bool:
            query = node.find_ancestor(exp.Select)
            source = query and query.find(exp.From).this
            return isinstance(source, exp.Table) and source.name == TARGET and not node.table

        def spell(node: Any) -> Any:
            if isinstance(node, exp.Anonymous) and node.name.lower() == "anomstack_utc":
                return exp.var(_TEXT)
            if isinstance(node, exp.Ordered):
                node.set("nulls_first", not node.args.get("desc"))  # else each order has a CASE more
            # What is compared with a bound text may use an index; what is sorted or told apart may not in any case.
            if isinstance(node, exp.Placeholder) and isinstance(node.parent, exp.EQ | exp.In):
                return _exact(node) if node.parent.this.name in _NAMES else node
            if isinstance(node, exp.Column) and node.name in _NAMES and of_table(node):
                if isinstance(node.parent, exp.Select):
                    return exp.alias_(_exact(_unicode(node)), node.name)
                if isinstance(node.parent, exp.Window | exp.Group | exp.Ordered):
                    return _exact(_unicode(node))
            return node

        return tree.transform(spell)

    def bind(self, value: Value) -> Any:
        return str(utc_naive(value)) if isinstance(value, datetime) else value

    def time_column(self, connection: Any, sql: str) -> str:
        with closing(connection.cursor()) as cursor:
            execute(cursor, sql, {})
            kind = cursor.description[0][1]
            cursor.fetchall()
        return PLAIN if kind in _DATETIMES else CAST if kind in _DATES else "anomstack_utc(metric_timestamp)"

    def identifier(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def placeholder(self, name: str) -> str:
        return f"%({name})s"

    def spelled_table(self, table: str, *, within_values: bool) -> str:
        quoted = self.quoted(table)
        return quoted.replace("%", "%%") if within_values else quoted

    def staged_type(self, name: str, column: pd.Series[Any]) -> str:
        if name in _LENGTHS:
            return f"VARCHAR({_LENGTHS[name]}) CHARACTER SET utf8mb4 COLLATE {_EXACT}"
        return super().staged_type(name, column)

    def staged_index(self, frame: pd.DataFrame) -> list[str]:
        # Without one a subquery of an UPDATE or a DELETE reads all of the table for each row.
        keys = [name for name in ("metric_name", "metric_type", "metric_timestamp", "seq", "event_id") if name in frame]
        return [f"INDEX ({', '.join(keys)})"]

    def load(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        for column in _LENGTHS.keys() & set(frame.columns):
            _refuse_longer(frame[column], _LENGTHS[column])
        # Numbers as text: a plain 0.1 in a statement would be a decimal, and -0.0 lose its sign.
        columns = [_values(frame[column]) for column in frame.columns]
        marks = f"({', '.join(['%s'] * len(columns))})"
        with closing(connection.cursor()) as cursor:
            for rows in _parts(zip(*columns, strict=True)):
                values = [value for row in rows for value in row]
                cursor.execute(f"INSERT INTO {name} VALUES {', '.join([marks] * len(rows))}", values)


def _exact(node: Any) -> Any:
    from sqlglot import exp

    return exp.Collate(this=node, expression=exp.var(_EXACT))


def _unicode(column: Any) -> Any:
    """Return a column of a table that may have another character set, which has no such collation."""
    from sqlglot import exp

    return exp.var(f"CONVERT({column.name} USING utf8mb4)")


class _LockWait(RuntimeError):
    """The lock by name was not to be had in time."""


def _number(error: BaseException) -> Any:
    """Return the server's number of an error, which both drivers give first."""
    return error.args[0] if error.args else None


def _values(column: pd.Series[Any]) -> list[Any]:
    return [repr(value) for value in column.tolist()] if column.dtype.kind == "f" else plain_values(column)


def _parts(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows in parts that fit into a statement: a server takes 16 MB or more, a row of 1 MB may double."""
    part: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        part.append(row)
        size += sum(len(value) for value in row if isinstance(value, str)) + 8 * len(row)
        if size > _STATEMENT_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _refuse_longer(texts: pd.Series[Any], length: int) -> None:
    longest = max((text for text in texts if isinstance(text, str)), key=len, default="")
    if len(longest) > length:
        raise RowsRefused(
            f"{texts.name} {longest!r} has {len(longest)} characters: a MySQL table's key has room for {length}"
        )
