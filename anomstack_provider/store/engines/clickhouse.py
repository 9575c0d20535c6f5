"""ClickHouse."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from anomstack_provider.store.engines.columns import plain_values
from anomstack_provider.store.engines.times import PLAIN
from anomstack_provider.store.errors import StoreError
from anomstack_provider.store.position import Position, at_index
from anomstack_provider.store.session import Dialect, Session, Value, distinct_names, split, utc_naive

if TYPE_CHECKING:
    import pandas as pd

_LEASE = 45.0  # seconds after which a lock that was not given back is taken over
_POLL = 0.05
_KEYS = "anomstack_keys"
_KEYS_AT_ONCE = 2_000
_INSERTED = re.compile(r"^INSERT .*?\)\s*(SELECT\b.*)", re.DOTALL)
_SETTINGS = {
    "final": 1,  # of the rows of a key only the last
    "session_timezone": "UTC",
    "prefer_column_name_to_alias": 1,
    "aggregate_functions_null_for_empty": 1,
    "max_partitions_per_insert_block": 0,  # a history may have any number of months
    "insert_deduplicate": 0,  # rows that were replaced may be written again as they were
    "max_query_size": 1 << 28,
    "lightweight_deletes_sync": 2,
}
_LEDGER = [
    *("seq", "event_id", "transition", "channel", "metric_batch", "payload", "status", "attempts", "recorded_at"),
    *("tried_at", "sent_at", "error", "claims", "claimed_by", "claimed_at"),
]


class _Taken(Exception):
    """Someone else holds the lock, or took it over from us."""


@dataclass
class _Connection:
    """A client of the hook's, and what this session holds."""

    client: Any
    deadline: float = 0.0
    lock: tuple[str, str, str] | None = None
    """Database, name and comment of the table that is our lock."""
    keys: list[tuple[str, str, str]] = field(default_factory=list)

    def close(self) -> None:
        try:
            if self.lock is not None:
                database, name, _ = self.lock
                self.client.command(f"DROP TABLE IF EXISTS {_quoted(database)}.{_quoted(name)} SYNC")
        finally:
            self.client.close()


class ClickHouse(Dialect):
    """
    ClickHouse, which has no transactions: what is one statement is kept whole, and their order makes up for the rest.

    Tables are of the engine ReplacingMergeTree: of the rows of a key readers with ``FINAL``, as all here, see the one
    that came last. So a replacement is one ``INSERT``; what it clears is deleted after that, so that a crash between
    the two loses nothing and doubles nothing, and the next try finishes it. A change in the ledger is one ``INSERT`` of
    the rows as they shall be. Writers take turns by a lock: a table that only one of them can create, dropped at the
    end, and taken over from whoever did not drop it in time.
    """

    engine = "clickhouse"
    options = ("no_rowid",)
    replacing = ("insert_staged", "delete_cleared")
    types: ClassVar = {"M": "DateTime64(6, 'UTC')", "f": "Float64", "b": "Bool", "i": "Int64"}
    text = "String"

    def open(self, hook: Any, wait: float) -> Any:
        return _Connection(hook.get_client(), time.monotonic() + wait)

    def prepare(self, connection: Any, wait: float) -> None:
        for name, value in _SETTINGS.items():
            connection.client.set_client_setting(name, value)

    def commit(self, connection: Any) -> None:
        """Do nothing: each statement is kept as it ends."""

    def is_contention(self, error: BaseException) -> bool:
        return isinstance(error, _Taken)

    def position(self, error: BaseException, sql: str) -> Position | None:
        told = re.search(r"\(line (\d+), col (\d+)\)", str(error))
        if told:
            return Position(int(told[1]), int(told[2]))
        told = re.search(r"position (\d+) \(", str(error))
        return at_index(sql, int(told[1]) - 1) if told else None

    def is_missing(self, error: BaseException) -> bool:
        return getattr(error, "code", None) in {60, 81}  # unknown table, unknown database

    def ensure_schema(self, session: Session) -> None:
        database = split(session.table)[:-1]
        if len(database) > 1:
            raise StoreError(f"table key {session.table!r}: ClickHouse has databases and tables, no more levels")
        if database and not self.rows(
            session.connection, "SELECT 1 FROM system.databases WHERE name = %(name)s", {"name": database[0]}
        ):
            session.connection.client.command(f"CREATE DATABASE IF NOT EXISTS {_quoted(database[0])}")

    def rewrite(self, tree: Any) -> Any:
        """An update, here always of the ledger, becomes an insertion of the rows as they shall be."""
        from sqlglot import exp

        if not isinstance(tree, exp.Update):
            return tree
        new = {change.this.name: change.expression for change in tree.expressions}
        columns = [exp.alias_(new[name], name) if name in new else exp.column(name) for name in _LEDGER]
        rows = exp.select(*columns).from_(tree.this.copy()).where(tree.args["where"].this)
        return exp.insert(rows, tree.this, columns=list(_LEDGER))

    def bind(self, value: Value) -> Any:
        return utc_naive(value).isoformat(" ", "microseconds") if isinstance(value, datetime) else value

    def time_column(self, connection: Any, sql: str) -> str:
        kind = self.rows(connection, f"DESCRIBE ({sql})", {})[0][1].removeprefix("Nullable(")
        if kind.startswith("DateTime64(6, 'UTC')"):
            return PLAIN
        if "String" in kind:
            return "parseDateTime64BestEffortOrNull(metric_timestamp, 6, 'UTC')"
        return "toDateTime64(metric_timestamp, 6, 'UTC')"

    def identifier(self, name: str) -> str:
        return _quoted(name)

    def placeholder(self, name: str) -> str:
        return f"%({name})s"

    def spelled_table(self, table: str, *, within_values: bool) -> str:
        quoted = self.quoted(table)
        return quoted.replace("%", "%%") if within_values else quoted

    # --- statements ------------------------------------------------------------------------------------------

    def execute(self, connection: Any, sql: str, values: Mapping[str, Any]) -> int:
        self._check_lock(connection)
        verb, _, rest = sql.lstrip().partition(" ")
        if verb.upper() == "DELETE":
            return sum(self._delete(connection, sql, rest, part) for part in self._with_keys(connection, sql, values))
        inserted = _INSERTED.search(sql)
        count = self.rows(connection, f"SELECT count() FROM ({inserted[1]})", values)[0][0] if inserted else 0
        connection.client.query(sql, dict(values))
        return int(count)

    def _with_keys(self, connection: Any, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the values of a deletion, once for each part of the staged keys if it is of these."""
        if f"%({_KEYS})s" not in sql:
            return [dict(values)]
        step = len(connection.keys) if "NOT IN" in sql else _KEYS_AT_ONCE  # all together are spared
        parts = range(0, len(connection.keys), max(step, 1))
        return [{**values, _KEYS: tuple(connection.keys[start : start + step])} for start in parts]

    def _delete(self, connection: Any, sql: str, rest: str, values: Mapping[str, Any]) -> int:
        ((count,),) = self.rows(connection, f"SELECT count() {rest}", values)
        if count:
            connection.client.query(sql, dict(values))
        return int(count)

    def rows(self, connection: Any, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.client.query(sql, dict(values)).result_rows]

    def columns(self, connection: Any, sql: str, values: Mapping[str, Any]) -> dict[str, Any]:
        found = connection.client.query(sql, dict(values), column_oriented=True)
        names = list(found.column_names)
        if not names:  # without a row it says nothing of the columns
            names = [row[0] for row in self.rows(connection, f"DESCRIBE ({sql})", values)]
        parts = found.result_set if found.row_count else [()] * len(names)
        return dict(zip(distinct_names(names), (tuple(part) for part in parts), strict=True))

    def staged_type(self, name: str, column: pd.Series[Any]) -> str:
        return "Nullable(String)" if name == "metadata" else super().staged_type(name, column)

    def load(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        if "metric_timestamp" in frame:
            keys = frame[~frame["kept"]] if "kept" in frame else frame
            columns = [plain_values(keys[part]) for part in ("metric_name", "metric_type", "metric_timestamp")]
            connection.keys = list(zip(*columns, strict=True))
            if "kept" in frame:
                written = frame[frame["kept"]]
                columns = [plain_values(written[part]) for part in ("metric_name", "metric_type", "metric_timestamp")]
                connection.keys = list(set(connection.keys).difference(zip(*columns, strict=True)))
        if len(frame):
            connection.client.insert_df(name, frame)

    # --- the lock --------------------------------------------------------------------------------------------

    def lock(self, connection: Any, table: str) -> None:
        *parts, name = split(table)
        database = parts[0] if parts else str(self.rows(connection, "SELECT currentDatabase()", {})[0][0])
        while True:
            now, locks = self._locks(connection, database, name)
            newest = max(locks, default=0)
            if newest == 0 or now - float(locks[newest].split()[0]) > _LEASE:
                try:
                    if self._take(connection, database, name, newest + 1, now):
                        break
                except Exception as error:
                    if self.is_missing(error):
                        return  # no database yet, so nobody to wait for
                    if getattr(error, "code", None) != 57:  # someone else was quicker
                        raise
            if time.monotonic() > connection.deadline:
                raise _Taken(f"another program writes to {table} (lock {name}_lock_{newest} in database {database})")
            time.sleep(_POLL)
        self._check_engine(connection, database, name)

    def _take(self, connection: Any, database: str, name: str, number: int, now: float) -> bool:
        lock, comment = f"{name}_lock_{number}", f"{now} {uuid.uuid4()}"
        spelled = f"{_quoted(database)}.{_quoted(lock)}"
        connection.client.command(f"CREATE TABLE {spelled} (taken UInt8) ENGINE = Memory COMMENT '{comment}'")
        connection.lock = (database, lock, comment)
        _, locks = self._locks(connection, database, name)
        if locks.get(number) != comment or max(locks) > number:  # ours is one that was given up long ago
            connection.client.command(f"DROP TABLE IF EXISTS {spelled} SYNC")
            connection.lock = None
            return False
        for older in sorted(set(locks) - {number}):
            given_up = _quoted(f"{name}_lock_{older}")
            connection.client.command(f"DROP TABLE IF EXISTS {_quoted(database)}.{given_up} SYNC")
        return True

    def _locks(self, connection: Any, database: str, name: str) -> tuple[float, dict[int, str]]:
        """Return the server's time in seconds, and the comments of the locks of a table by their number."""
        prefix = f"{name}_lock_"
        ((now, found),) = self.rows(
            connection,
            "SELECT toUnixTimestamp64Micro(now64(6)) / 1e6, "
            "(SELECT groupArray((name, comment)) FROM system.tables "
            "WHERE database = %(database)s AND startsWith(name, %(prefix)s))",
            {"database": database, "prefix": prefix},
        )
        numbered = {lock.removeprefix(prefix): comment for lock, comment in found or []}
        return float(now), {int(number): comment for number, comment in numbered.items() if number.isdecimal()}

    def _check_lock(self, connection: Any) -> None:
        """Raise if someone took our lock over, before a statement that changes something."""
        if connection.lock is None:
            return
        database, lock, comment = connection.lock
        name, _, number = lock.rpartition("_lock_")
        _, locks = self._locks(connection, database, name)
        if locks.get(int(number)) != comment or max(locks) > int(number):
            raise _Taken(f"{lock} was taken over: this took longer than {_LEASE:.0f} s")

    def _check_engine(self, connection: Any, database: str, name: str) -> None:
        engine = self.rows(
            connection,
            "SELECT engine FROM system.tables WHERE database = %(database)s AND name = %(name)s",
            {"database": database, "name": name},
        )
        if engine and "Replacing" not in engine[0][0]:
            raise StoreError(
                f"{database}.{name} has the engine {engine[0][0]}, in which rows cannot be replaced: it can be read, "
                "and copied into a new one with anomstack migrate; metrics are written to a ReplacingMergeTree"
            )


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
