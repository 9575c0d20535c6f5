"""
How the store talks to a database: one connection, one transaction, bounded patience. No engine is named here.

:class:`Dialect` is what an engine has to know; it has no state. ``engines`` holds them. Statements go to the
connection itself and not through ``hook.run``, which would log their values.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from anomstack_provider.store import statements
from anomstack_provider.store.errors import StoreBusy, StoreError, TableMissing
from anomstack_provider.store.position import Position

if TYPE_CHECKING:
    import pandas as pd
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from tenacity import Retrying

T = TypeVar("T")
Value = str | int | float | datetime | None

_TOKEN = re.compile(r"(motherduck_token=)[^&\s'\"]+")

LOCK_WAIT = 60.0
"""Seconds to wait for a database that someone else has locked, unless the caller says otherwise."""

_NAMED = re.compile(r"\$(\w+)")


@dataclass(frozen=True)
class Session:
    """
    One connection in one transaction, on one table.

    SQL comes in DuckDB's dialect, or as :class:`~anomstack_provider.store.statements.Native` in the engine's own, with
    ``{table}`` in it. Of the values those are bound that the statement names.
    """

    dialect: Dialect
    connection: Any
    table: str

    def template(self, name: str, *only: str, **holes: str) -> str:
        """Return the template ``name`` as this engine has it, with the optional lines of ``only``."""
        return self.dialect.template(name, *only, **holes)

    def execute(self, sql: str, **values: Value) -> int:
        """Run a statement; return the number of rows it changed."""
        return self.dialect.execute(self.connection, *self._spelled(sql, values))

    def rows(self, sql: str, **values: Value) -> list[tuple[Any, ...]]:
        """Run a statement; return its rows."""
        return self.dialect.rows(self.connection, *self._spelled(sql, values))

    def columns(self, sql: str, **values: Value) -> dict[str, Any]:
        """Run a query; return its columns by name, each an array or a sequence of plain values."""
        return self.dialect.columns(self.connection, *self._spelled(sql, values))

    def stage(self, name: str, frame: pd.DataFrame) -> None:
        """
        Make ``frame`` readable as the table ``name`` to the statements that follow in this session.

        Before :meth:`lock`, because in some engines making a table ends the transaction.
        """
        self.dialect.stage(self.connection, name, frame)

    def time_column(self) -> str:
        """Return the SQL of ``metric_timestamp`` as a UTC time, whatever type the maker of the table gave it."""
        sql, _ = self._spelled(self.template("time_type"), {})
        return self.dialect.time_column(self.connection, sql)

    def ensure_schema(self) -> None:
        """Create the schema that the table's key names, if it names one that is not there."""
        self.dialect.ensure_schema(self)

    def lock(self) -> None:
        """Let other writers of this table wait until this transaction ends, where the engine does not anyway."""
        self.dialect.lock(self.connection, self.table)

    def _spelled(self, sql: str, values: Mapping[str, Value]) -> tuple[str, dict[str, Any]]:
        named = set(_NAMED.findall(sql))
        bound = {name: self.dialect.bind(value) for name, value in values.items() if name in named}
        table = self.dialect.spelled_table(self.table, within_values=bool(bound))
        return self.dialect.translated(sql).replace("{table}", table), bound


class Dialect:
    """Any engine with a DB-API connection: enough to read a source from; a store needs a subclass."""

    engine: ClassVar[str] = ""
    """The name that sqlglot has for the engine, and of the folder in ``sql`` with templates of its own."""
    keeps_metrics: ClassVar[bool] = True
    """Whether a metrics table and its ledger can be kept in the engine; from others is only read."""
    options: ClassVar[tuple[str, ...]] = ("rowid",)
    """
    Optional lines that the templates always have in this engine.

    ``unique``: the tables made here carry their key as a constraint. ``rowid``: every row has a number or place to tell
    it by, in the order the table keeps them; ``no_rowid``: none has, see ``read.sql`` for what is done instead.
    """
    replacing: ClassVar[tuple[str, ...]] = ("delete_staged", "insert_staged")
    """The templates that put the staged rows in the place of what is stored under their keys, in order."""
    types: ClassVar[Mapping[str, str]] = {"M": "TIMESTAMP", "f": "DOUBLE PRECISION", "b": "BOOLEAN", "i": "BIGINT"}
    """The engine's types for the columns of a staged frame, by the kind of their dtype; of all others: :attr:`text`."""
    text: ClassVar[str] = "VARCHAR"

    def run(
        self, hook: DbApiHook, table: str, work: Callable[[Session], T], *, write: bool, wait: float = LOCK_WAIT
    ) -> T:
        """
        Run ``work`` in one transaction on a connection of its own; all of it is kept, or nothing.

        It runs again from its start when the engine refuses it because of a concurrent one, for at most ``wait``
        seconds. Raises :class:`TableMissing` when there is no ``table``, :class:`StoreBusy` after the wait.
        """
        deadline = time.monotonic() + wait
        try:
            result: T = patience(self.is_contention, wait)(self._once, hook, table, work, write, deadline)
            return result
        except Exception as error:
            if self.is_contention(error):
                raise StoreBusy(
                    f"{hook_name(hook)}: still busy after {wait:.3g} s: {error}\n"
                    "Let the other program finish, or close it, and run this again."
                ) from error
            if self.is_missing(error):
                raise TableMissing(f"{hook_name(hook)}: there is no table {table!r}") from error
            raise

    def _once(self, hook: DbApiHook, table: str, work: Callable[[Session], T], write: bool, deadline: float) -> T:
        with self.connected(hook, deadline - time.monotonic()) as connection:
            if write:
                self.begin(connection)
            result = work(Session(self, connection, table))
            if write:
                self.commit(connection)
            return result

    @contextmanager
    def connected(self, hook: DbApiHook, wait: float = LOCK_WAIT) -> Iterator[Any]:
        """Open a connection with UTC as its time zone; closing it takes back what was not committed."""
        try:
            opened = self.open(hook, wait)
        except Exception as error:
            if self.is_contention(error) or without_token(str(error)) == str(error):
                raise
            # Not chained: a log shows what an error was caused by as well.
            reason = f"{type(error).__name__}: {without_token(str(error))}"
            raise StoreError(f"{hook_name(hook)} cannot be opened: {reason}") from None
        with closing(opened) as connection:
            self.prepare(connection, wait)
            yield connection

    # --- what an engine may do differently -------------------------------------------------------------------

    def open(self, hook: DbApiHook, wait: float) -> Any:
        """Open a connection, waiting for at most ``wait`` seconds where others may have locked the database."""
        return hook.get_conn()

    def prepare(self, connection: Any, wait: float) -> None:
        """Set the session up."""

    def begin(self, connection: Any) -> None:
        """Begin a transaction; DB-API connections do it by themselves."""

    def commit(self, connection: Any) -> None:
        """Keep what was done since :meth:`begin`."""
        connection.commit()

    def check(self, hook: DbApiHook) -> None:
        """Refuse a connection on which a store cannot work."""

    def is_contention(self, error: BaseException) -> bool:
        """Tell whether the engine refused only because of someone else, so that the same may succeed later."""
        return False

    def position(self, error: BaseException, sql: str) -> Position | None:
        """Return where in ``sql`` the engine found what it refused, if it says so."""
        return None

    def is_missing(self, error: BaseException) -> bool:
        """Tell whether ``error`` says that there is no such table."""
        return False

    def lock(self, connection: Any, table: str) -> None:
        """Serialise the writers of ``table`` until the transaction ends."""

    def ensure_schema(self, session: Session) -> None:
        """Create the schema of the session's table if it is named and not there."""
        schema = split(session.table)[:-1]
        if not schema:
            return
        # IF NOT EXISTS alone asks for the right to create a schema even where it is there.
        known = "SELECT 1 FROM information_schema.schemata WHERE schema_name = $name"
        if not session.rows(known, name=schema[-1]):
            session.execute(statements.Native(f"CREATE SCHEMA IF NOT EXISTS {self.quoted('.'.join(schema))}"))

    def template(self, name: str, *only: str, **holes: str) -> str:
        """Return the template ``name`` as this engine has it: translated later, or its own."""
        if statements.has_native(self.engine, name):
            holes = {hole: _expression(self, sql) for hole, sql in holes.items()}
        return statements.template(name, *self.options, *only, engine=self.engine, **holes)

    def rewrite(self, tree: Any) -> Any:
        """Change a template, parsed by sqlglot, where its translation alone would not do."""
        return tree

    def bind(self, value: Value) -> Any:
        """Return ``value`` as the driver takes it; a time as UTC without a zone."""
        return utc_naive(value) if isinstance(value, datetime) else value

    def time_column(self, connection: Any, sql: str) -> str:
        """Run ``sql``, which selects ``metric_timestamp``; return how to spell that column as a UTC time."""
        raise NotImplementedError

    def identifier(self, name: str) -> str:
        """Return one name as a quoted identifier, whatever is in it."""
        return '"' + name.replace('"', '""') + '"'

    def quoted(self, table: str) -> str:
        """Return a table key with every part as a quoted identifier."""
        return ".".join(self.identifier(part) for part in split(table))

    def placeholder(self, name: str) -> str:
        """Return how a statement of the driver's names a bound value."""
        return f":{name}"

    def spelled_table(self, table: str, *, within_values: bool) -> str:
        """Return ``table`` quoted, part by part; ``within_values``: the driver looks for placeholders in it."""
        return self.quoted(table)

    def translated(self, sql: str) -> str:
        """Return a statement of DuckDB's dialect in the engine's, ``{table}`` still in it; a native one as it is."""
        if isinstance(sql, statements.Native):
            return _NAMED.sub(lambda named: self.placeholder(named[1]), sql)
        return _translated(self, sql)

    # --- DB-API ----------------------------------------------------------------------------------------------

    def execute(self, connection: Any, sql: str, values: Mapping[str, Any]) -> int:
        """Run a statement of the engine's dialect; return the number of rows it changed."""
        with closing(connection.cursor()) as cursor:
            execute(cursor, sql, values)
            return int(cursor.rowcount)

    def rows(self, connection: Any, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement of the engine's dialect; return its rows."""
        with closing(connection.cursor()) as cursor:
            execute(cursor, sql, values)
            return [tuple(row) for row in cursor.fetchall()]

    def columns(self, connection: Any, sql: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Run a query of the engine's dialect; return its columns, a name given twice as ``a`` and ``a_1``."""
        with closing(connection.cursor()) as cursor:
            execute(cursor, sql, values)
            if cursor.description is None:
                raise StoreError("the statement returns no rows, so there is nothing to read")
            names = distinct_names([column[0] for column in cursor.description])
            rows = cursor.fetchall()
            parts: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(names)
            return dict(zip(names, parts, strict=True))

    def stage(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        """Load ``frame`` into a temporary table of this connection."""
        declared = [f"{column} {self.staged_type(column, frame[column])}" for column in frame.columns]
        indexed = self.staged_index(frame)
        self.execute(connection, f"CREATE TEMPORARY TABLE {name} ({', '.join([*declared, *indexed])})", {})
        self.load(connection, name, frame)

    def staged_type(self, name: str, column: pd.Series[Any]) -> str:
        """Return the engine's type for a column of a staged frame."""
        return self.types.get(column.dtype.kind, self.text)

    def staged_index(self, frame: pd.DataFrame) -> list[str]:
        """Return the indexes that a staged table is declared with; most engines join without."""
        return []

    def load(self, connection: Any, name: str, frame: pd.DataFrame) -> None:
        """Load ``frame`` into the table ``name``, whose columns are the frame's."""
        raise NotImplementedError


def patience(is_contention: Callable[[BaseException], bool], wait: float) -> Retrying:
    """
    Return the bounded, jittered wait.

    A refused try is cheap, so the pauses stay short, of up to 0.1 s: with longer ones a file that many wait for
    would be idle most of the time.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    return Retrying(
        retry=retry_if_exception(is_contention),
        wait=wait_random_exponential(multiplier=0.005, max=0.1),
        stop=stop_after_delay(max(wait, 0.0)),
        reraise=True,
    )


def execute(cursor: Any, sql: str, values: Mapping[str, Any]) -> None:
    """Execute on a DB-API cursor; without values a driver leaves every ``%`` in the statement alone."""
    if values:
        cursor.execute(sql, values)
    else:
        cursor.execute(sql)


def split(table: str) -> list[str]:
    """Return the parts of a table key: ``schema.table`` has two. Raises :class:`StoreError` for an empty part."""
    parts = table.split(".")
    if not all(part.strip() for part in parts) or "\0" in table:
        raise StoreError(f"table key {table!r}: expected a name such as 'metrics' or 'schema.metrics'")
    return parts


def utc_naive(moment: datetime) -> datetime:
    """Return an aware time as UTC without its zone; raises ``ValueError`` for one without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: times given to the store are aware, in UTC")
    return moment.astimezone(UTC).replace(tzinfo=None)


def hook_name(hook: DbApiHook) -> str:
    """Return what a person knows the database by: the path of an embedded one, or the connection id."""
    path = getattr(hook, "path", None)
    return without_token(str(path)) if path else f"connection {hook.get_conn_id()!r}"


def without_token(text: str) -> str:
    """Return a text with MotherDuck's token, which stands in the path of a database, blotted out."""
    return _TOKEN.sub(r"\1***", text)


@cache
def _translated(dialect: Dialect, sql: str) -> str:
    return statements.translate(sql, dialect.engine, dialect.rewrite, dialect.placeholder)


@cache
def _expression(dialect: Dialect, sql: str) -> str:
    """Return an expression, or several with commas between them, in the engine's dialect."""
    return dialect.translated(f"SELECT {sql}").removeprefix("SELECT ")


def distinct_names(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        result.append(f"{name}_{count}" if count else name)
    return result
