"""
Which hook the store works on: that of an Airflow connection, or the embedded DuckDB file where none is named.

This module imports Airflow; the rest of the store does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.providers.duckdb.hooks.duckdb import DuckDBHook
from airflow.sdk import BaseHook, Connection

from anomstack_provider.store.errors import UnsupportedEngine

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class EmbeddedDuckDBHook(DuckDBHook):
    """
    The official hook on a file that needs no Airflow connection, and looks none up.

    So it works without an Airflow database, and a ``duckdb_default`` connection does not change what it opens.

    :param path: the database file; its folder is made when it is first opened.
    """

    def __init__(self, path: str | Path, **kwargs: Any) -> None:
        self.path = Path(path)
        connection = Connection(conn_id=self.default_conn_name, conn_type=self.conn_type, host=str(path))
        super().__init__(database=str(path), connection=connection, log_sql=False, **kwargs)

    @property
    def airflow_connection(self) -> None:
        """None: there is no connection to look up."""
        return None

    def get_database(self) -> str:
        """Return the path of the file, with its folder made."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return str(self.path)

    def get_conn(self) -> DuckDBPyConnection:
        """Open the file, silently: the store opens it for each of its operations."""
        import duckdb

        connection = duckdb.connect(self.get_database(), read_only=self.read_only, config=self.get_connect_config())
        self.load_extensions(connection)
        return connection


_EXTRAS = {
    "clickhouse": "clickhouse",
    "databricks": "databricks",
    "gcpbigquery": "bigquery",
    "mysql": "mysql",
    "redshift": "redshift",
    "snowflake": "snowflake",
    "trino": "trino",
}
"""Extras of this package that bring the provider of a connection type."""


def open_hook(conn_id: str | None, duckdb_path: str) -> DbApiHook:
    """
    Return the hook of the Airflow connection ``conn_id``, or for None that of the DuckDB file ``duckdb_path``.

    The connection may come from anywhere Airflow looks; one in ``AIRFLOW_CONN_...`` needs no Airflow database.
    Raises :class:`UnsupportedEngine` for a connection that is not to an SQL database, and Airflow's own
    ``AirflowNotFoundException`` for an id that is not defined.
    """
    if conn_id is None:
        return EmbeddedDuckDBHook(duckdb_path)
    connection = BaseHook.get_connection(conn_id)
    hook = _hook(connection, conn_id)
    if not isinstance(hook, DbApiHook):
        raise UnsupportedEngine(
            f"connection {conn_id!r} is of type {connection.conn_type!r}, which is no SQL database: "
            "set conn_id to a connection such as duckdb, postgres or sqlite"
        )
    hook.log_sql = False
    return hook


def _hook(connection: Connection, conn_id: str) -> Any:
    kind = str(connection.conn_type)
    try:
        if kind == "databricks":  # the hook of the connection type runs jobs; that for SQL is another
            from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook

            return DatabricksSqlHook(conn_id)
        return connection.get_hook()  # type: ignore[no-untyped-call]
    except (AirflowException, ImportError) as error:
        if kind in _EXTRAS and (isinstance(error, ImportError) or "Unknown hook type" in str(error)):
            raise UnsupportedEngine(
                f"connection {conn_id!r} is of type {kind!r}, whose provider is not installed: "
                f"pip install 'anomstack-provider[{_EXTRAS[kind]}]'"
            ) from error
        raise
