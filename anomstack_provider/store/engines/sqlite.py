"""SQLite."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from anomstack_provider.store.engines.columns import plain_values
from anomstack_provider.store.position import Position, of_text
from anomstack_provider.store.session import Dialect, Session, Value, utc_naive

if TYPE_CHECKING:
    import pandas as pd


# A function of Python's for each row would cost more than all the rest: only what is no number is given to it.
_VALUE = (
    "CASE WHEN typeof(metric_value) IN ('text', 'blob') THEN anomstack_number(metric_value) "
    "ELSE CAST(metric_value AS REAL) END"
)


class SQLite(Dialect):
    """
    SQLite: no type for times, so they are text, ``YYYY-MM-DD HH:MM:SS.ffffff`` in UTC, which sorts as time does.

    Other spellings of ISO 8601 in tables of others are read through a function that this dialect adds, and so are
    values: a column keeps text as it is, whatever its type, and SQLite's own cast takes it for 0.
    """

    engine = "sqlite"
    options = ("unique", "rowid")

    def prepare(self, connection: Any, wait: float) -> None:
        connection.isolation_level = None  # no implicit transactions of the driver's own
        connection.execute(f"PRAGMA busy_timeout = {max(0, int(wait * 1000))}")
        connection.create_function("anomstack_utc", 1, _utc_text, deterministic=True)
        connection.create_function("anomstack_number", 1, _number, deterministic=True)

    def begin(self, connection: Any) -> None:
        connection.execute("BEGIN IMMEDIATE")

    def is_contention(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and "is locked" in str(error)

    def position(self, error: BaseException, sql: str) -> Position | None:
        told = re.search(r'near "(.*)": syntax error', str(error), re.DOTALL)
        return of_text(sql, told[1]) if told else None

    def is_missing(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and "no such table" in str(error)

    def rewrite(self, tree: Any) -> Any:
        from sqlglot import exp

        def spell(node: Any) -> Any:
            if isinstance(node, exp.Cast) and node.this.name == "metric_value":
                return exp.var(_VALUE)
            return node

        return tree.transform(spell)

    def ensure_schema(self, session: Session) -> None:
        """Do nothing: a schema is an attached database."""

    def bind(self, value: Value) -> Any:
        return _utc_text(value) if isinstance(value, datetime) else value

    def time_column(self, connection: Any, sql: str) -> str:
        self.rows(connection, sql, {})
        return "anomstack_utc(metric_timestamp)"

    def load(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        columns = [plain_values(frame[column]) for column in frame.columns]
        marks = ", ".join("?" * len(columns))
        with closing(connection.cursor()) as cursor:
            cursor.executemany(f"INSERT INTO {name} VALUES ({marks})", zip(*columns, strict=True))


def _number(value: str | bytes) -> float | str:
    """Return the number that a text is, or the text itself, which the reader of the rows refuses by name."""
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
    try:
        return float(text)
    except ValueError:
        return text


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
