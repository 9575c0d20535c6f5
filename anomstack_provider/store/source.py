"""Running a user's own SQL, as it was written, on the database that it was written for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from anomstack_provider.store.dialects import source_dialect
from anomstack_provider.store.errors import SourceError, StoreBusy
from anomstack_provider.store.session import LOCK_WAIT, Dialect, hook_name, patience, without_token

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

T = TypeVar("T")

_SHOWN = 2000


def read_sql(hook: DbApiHook, sql: str, *, lock_wait: float = LOCK_WAIT) -> pd.DataFrame:
    """
    Run one query and return its rows; no rows still give the query's columns.

    The text is taken to be in the database's own dialect, and if the database refuses it, to be in DuckDB's: then
    its translation is tried. A ``;`` at the end is tolerated. A DuckDB file that others have locked is waited
    for, at most ``lock_wait`` seconds, then :class:`StoreBusy`; any other failure is a :class:`SourceError` with
    the statement in it. DuckDB's times with a zone come as naive UTC.
    """
    return _run(hook, sql, lock_wait, _read)


def run_sql(hook: DbApiHook, sql: str, *, lock_wait: float = LOCK_WAIT) -> int:
    """
    Run one statement in a transaction and return how many rows it changed, 0 where the database does not say.

    The text may be in the dialects of :func:`read_sql`, or in SQLite's, which Anomstack's own ``delete_sql`` is in.
    """
    return _run(hook, sql, lock_wait, _change, dialects=("duckdb", "sqlite"))


def _run(
    hook: DbApiHook,
    sql: str,
    wait: float,
    run: Callable[[Dialect, DbApiHook, str, float], T],
    dialects: Sequence[str] = ("duckdb",),
) -> T:
    """Run the text as it is, and if the database refuses it, what it says if it is in one of ``dialects``."""
    dialect = source_dialect(hook)
    try:
        return run(dialect, hook, _without_semicolon(sql, dialect), wait)
    except StoreBusy:
        raise
    except Exception as error:
        if dialect.is_contention(error):
            raise StoreBusy(f"{hook_name(hook)}: still busy after {wait:.3g} s: {error}") from error
        from sqlglot.errors import SqlglotError

        tried = [
            f"{hook_name(hook)} refused the SQL{_in(dialect.engine)}{_where(dialect, error, sql)}: {_reason(error)}",
            f"The SQL was:\n{_shown(sql)}",
        ]
        for written_in in dialects:
            if dialect.engine in {"", written_in}:
                continue
            try:
                translated = in_dialect(sql, dialect, written_in)
            except SqlglotError as unread:
                tried.append(f"Nor is it{_in(written_in)}: {_unread(unread)}")
                continue
            try:
                return run(dialect, hook, translated, wait)
            except Exception as second:
                tried.append(
                    f"Taken as SQL{_in(written_in)} it was refused too{_where(dialect, second, translated)}: "
                    f"{_reason(second)}\nTranslated it was:\n{_shown(translated)}"
                )
        raise SourceError("\n".join(tried)) from error


def _read(dialect: Dialect, hook: DbApiHook, sql: str, wait: float) -> pd.DataFrame:
    def read() -> pd.DataFrame:
        with dialect.connected(hook, wait) as connection:
            columns = dialect.columns(connection, sql, {})
        return pd.DataFrame({name: _numbers(values) for name, values in columns.items()})

    return patience(dialect.is_contention, wait)(read)


def _change(dialect: Dialect, hook: DbApiHook, sql: str, wait: float) -> int:
    def change() -> int:
        with dialect.connected(hook, wait) as connection:
            dialect.begin(connection)
            changed = dialect.execute(connection, sql, {})
            dialect.commit(connection)
        return max(changed, 0)  # -1 where the driver does not know

    return patience(dialect.is_contention, wait)(change)


def _numbers(values: Any) -> Any:
    """Return exact decimals, which drivers give for a database's numbers, as floats; all else as it is."""
    if isinstance(values, tuple) and any(isinstance(value, Decimal) for value in values):
        return [float(value) if isinstance(value, Decimal) else value for value in values]
    return values


def _without_semicolon(sql: str, dialect: Dialect) -> str:
    """Return the SQL up to its last token that is no ``;``; DuckDB takes them, and so keeps the text as it is."""
    if ";" not in sql or dialect.engine == "duckdb":
        return sql
    import sqlglot
    from sqlglot.errors import TokenError

    try:
        tokens = sqlglot.tokenize(sql, read=dialect.engine or None)
    except (TokenError, RecursionError, ValueError, IndexError):
        return sql  # the database will say what is wrong with it
    while tokens and tokens[-1].token_type.name == "SEMICOLON":
        tokens.pop()
    return sql[: tokens[-1].end + 1] if tokens else sql


def in_dialect(sql: str, dialect: Dialect, written_in: str) -> str:
    """Return SQL of a dialect in the database's own; raises ``SqlglotError`` where it is none."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError

    def spell(node: Any) -> Any:
        if isinstance(node, exp.Anonymous) and node.name.lower() == "get_current_timestamp":
            return exp.CurrentTimestamp()
        return _days_from_now(node) or node

    try:
        translated: str = sqlglot.parse_one(sql, read=written_in).transform(spell).sql(dialect=dialect.engine)
    except (RecursionError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        # Of text that is no SQL the parser may raise anything.
        raise ParseError(f"{type(error).__name__}: {error}") from error
    return translated


def _days_from_now(node: Any) -> Any:
    """Return SQLite's ``date('now', '-30 day')`` as other engines say it; None for anything else."""
    from sqlglot import exp

    if isinstance(node, exp.Date):  # sqlglot before 30.30 takes the shift for a time zone
        parts = [node.this, node.args.get("zone")]
    elif isinstance(node, exp.Anonymous) and node.name.lower() == "date":
        parts = node.expressions
    else:
        return None
    if len(parts) != 2 or None in parts:
        return None
    moment, shift = (part.name.lower() for part in parts)
    days = re.fullmatch(r"\s*([+-]?\d+)\s+days?\s*", shift)
    if moment != "now" or days is None:
        return None
    length = exp.Interval(this=exp.Literal.string(str(-int(days[1]))), unit=exp.var("DAY"))
    return exp.Sub(this=exp.CurrentDate(), expression=length)


def _in(dialect: str) -> str:
    return f" in the dialect of {dialect}" if dialect else ""


def _where(dialect: Dialect, error: Exception, sql: str) -> str:
    position = dialect.position(error, sql)
    return f" at {position}" if position else ""


def _reason(error: Exception) -> str:
    return without_token(str(error).strip())


def _unread(error: Any) -> str:
    """Return what sqlglot says of a text that it cannot read; its own message has codes for a terminal."""
    found = (getattr(error, "errors", None) or [{}])[0]
    if "line" not in found:
        return re.sub(r"\x1b\[\d+m", "", str(error)).strip()
    column = found["col"] - len(found.get("highlight") or "") + 1
    return f"{str(found['description']).rstrip('.')}, at line {found['line']}, column {column}"


def _shown(sql: str) -> str:
    text = without_token(sql.strip())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\n... ({len(text) - _SHOWN} more characters)"
