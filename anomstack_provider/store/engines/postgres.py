"""PostgreSQL."""

from __future__ import annotations

import io
from contextlib import closing
from typing import TYPE_CHECKING, Any

from anomstack_provider.store.engines.columns import texts
from anomstack_provider.store.engines.times import CAST, PLAIN, TEXT
from anomstack_provider.store.position import Position, at_index
from anomstack_provider.store.session import Dialect, execute

if TYPE_CHECKING:
    import pandas as pd


class Postgres(Dialect):
    """PostgreSQL, through psycopg 3 or psycopg2, whichever its hook uses."""

    engine = "postgres"
    options = ("unique", "rowid")

    def prepare(self, connection: Any, wait: float) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(f"SET lock_timeout = {max(1, int(wait * 1000))}")  # else, and with 0, for ever

    def is_contention(self, error: BaseException) -> bool:
        return _sqlstate(error) in {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available

    def position(self, error: BaseException, sql: str) -> Position | None:
        told = getattr(getattr(error, "diag", None), "statement_position", None)
        return at_index(sql, int(told) - 1) if told else None

    def is_missing(self, error: BaseException) -> bool:
        return _sqlstate(error) == "42P01"

    def lock(self, connection: Any, table: str) -> None:
        # READ COMMITTED sees what the writer before us committed, once we have the lock. The key constraint
        # would keep duplicates out as well, but with an error, and tables of others may have none.
        self.rows(connection, "SELECT pg_advisory_xact_lock(hashtextextended(%(table)s, 0))", {"table": table})

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
        return PLAIN if kind == 1114 else CAST if kind in (1184, 1082) else TEXT

    def placeholder(self, name: str) -> str:
        return f"%({name})s"

    def spelled_table(self, table: str, *, within_values: bool) -> str:
        quoted = self.quoted(table)
        return quoted.replace("%", "%%") if within_values else quoted

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
            columns.append([r"\N" if value is None else value.translate(escapes) for value in texts(column)])
    return "".join("\t".join(row) + "\n" for row in zip(*columns, strict=True))
