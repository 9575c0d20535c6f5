"""Running a user's own SQL, as it was written, on the database that it was written for."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd

from anomstack_provider.store.dialects import source_dialect
from anomstack_provider.store.errors import SourceError, StoreBusy
from anomstack_provider.store.session import LOCK_WAIT, Dialect, hook_name, patience

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_SHOWN = 2000
_TOKEN = re.compile(r"(motherduck_token=)[^&\s'\"]+")


def read_sql(hook: DbApiHook, sql: str, *, lock_wait: float = LOCK_WAIT) -> pd.DataFrame:
    """
    Run one query and return its rows; no rows still give the query's columns.

    The text is taken to be in the database's own dialect, and if the database refuses it, to be in DuckDB's: then
    its translation is tried. A ``;`` at the end is tolerated. A DuckDB file that others have locked is waited
    for, at most ``lock_wait`` seconds, then :class:`StoreBusy`; any other failure is a :class:`SourceError` with
    the statement in it. DuckDB's times with a zone come as naive UTC.
    """
    dialect = source_dialect(hook)
    try:
        return _read(dialect, hook, _without_semicolon(sql, dialect), lock_wait)
    except StoreBusy:
        raise
    except Exception as error:
        if dialect.is_contention(error):
            raise StoreBusy(f"{hook_name(hook)}: still busy after {lock_wait:.3g} s: {error}") from error
        translated = _translated(sql, dialect)
        if translated is not None:
            try:
                return _read(dialect, hook, translated, lock_wait)
            except Exception as second:
                error.add_note(f"Translated from DuckDB's dialect it failed as well: {second}")
        reason = _TOKEN.sub(r"\1***", str(error).strip())
        raise SourceError(f"{hook_name(hook)} refused the SQL: {reason}\nThe SQL was:\n{_shown(sql)}") from error


def _read(dialect: Dialect, hook: DbApiHook, sql: str, wait: float) -> pd.DataFrame:
    def read() -> pd.DataFrame:
        with dialect.connected(hook, wait) as connection:
            columns = dialect.columns(connection, sql, {})
        return pd.DataFrame({name: _numbers(values) for name, values in columns.items()})

    return patience(dialect.is_contention, wait)(read)


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
    except TokenError:
        return sql  # the database will say what is wrong with it
    while tokens and tokens[-1].token_type.name == "SEMICOLON":
        tokens.pop()
    return sql[: tokens[-1].end + 1] if tokens else sql


def _translated(sql: str, dialect: Dialect) -> str | None:
    """Return DuckDB's SQL in the database's dialect, None where there is nothing to translate or it is not."""
    if dialect.engine in {"", "duckdb"}:
        return None
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    def spell(node: Any) -> Any:
        if isinstance(node, exp.Anonymous) and node.name.lower() == "get_current_timestamp":
            return exp.CurrentTimestamp()
        return node

    try:
        translated: str = sqlglot.parse_one(sql, read="duckdb").transform(spell).sql(dialect=dialect.engine)
    except SqlglotError:
        return None
    return translated


def _shown(sql: str) -> str:
    text = _TOKEN.sub(r"\1***", sql.strip())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\n... ({len(text) - _SHOWN} more characters)"
