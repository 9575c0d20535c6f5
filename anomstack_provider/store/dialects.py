"""
Which engine a hook's database is. What differs between engines is in ``engines``, one file each, and only there.

Another engine is another class there and a line in :data:`DIALECTS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomstack_provider.store.engines.bigquery import BigQuery
from anomstack_provider.store.engines.clickhouse import ClickHouse
from anomstack_provider.store.engines.duckdb import DuckDB
from anomstack_provider.store.engines.mysql import MySQL
from anomstack_provider.store.engines.postgres import Postgres
from anomstack_provider.store.engines.snowflake import Snowflake
from anomstack_provider.store.engines.sources import Databricks, Redshift, Trino
from anomstack_provider.store.engines.sqlite import SQLite
from anomstack_provider.store.errors import UnsupportedEngine
from anomstack_provider.store.session import Dialect, hook_name

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_BIGQUERY = BigQuery()
_POSTGRES = Postgres()
DIALECTS: dict[str, Dialect] = {
    "bigquery": _BIGQUERY,
    "clickhouse": ClickHouse(),
    "databricks": Databricks(),
    "duckdb": DuckDB(),
    "gcpbigquery": _BIGQUERY,
    "mysql": MySQL(),
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "redshift": Redshift(),
    "snowflake": Snowflake(),
    "sqlite": SQLite(),
    "trino": Trino(),
}
"""By connection type, and by the names that hooks have for their dialect."""


def store_dialect(hook: DbApiHook) -> Dialect:
    """Return the dialect of a hook's engine; :class:`UnsupportedEngine` where no store can be kept."""
    dialect = source_dialect(hook)
    if not dialect.engine or not dialect.keeps_metrics:
        raise UnsupportedEngine(
            f"{hook_name(hook)} is of type {hook.conn_type!r}, which can be read from: set metrics_conn_id to a "
            "connection in which metrics can be kept, to one of: "
            + ", ".join(sorted({known.engine for known in DIALECTS.values() if known.keeps_metrics}))
        )
    dialect.check(hook)
    return dialect


def source_dialect(hook: DbApiHook) -> Dialect:
    """Return the dialect of a hook's engine, a plain DB-API one for an engine that is not known here."""
    return DIALECTS.get(str(hook.conn_type)) or DIALECTS.get(str(hook.dialect_name)) or Dialect()
