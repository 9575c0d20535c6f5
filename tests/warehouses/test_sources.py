"""A batch's SQL on a warehouse: as it was written, or in DuckDB's dialect, and what is said of SQL that is neither."""

from __future__ import annotations

from datetime import datetime

import pytest

from anomstack_provider.store.errors import SourceError, UnsupportedEngine
from anomstack_provider.store.metric_store import MetricStore
from anomstack_provider.store.source import read_sql

NATIVE = {
    "bigquery": "SELECT DATETIME '2024-01-01 12:00:00.250000' AS metric_timestamp, 'a;b' AS metric_name, 1.5 AS "
    "metric_value FROM UNNEST([1])",
    "clickhouse": "SELECT toDateTime64('2024-01-01 12:00:00.250000', 6, 'UTC') AS metric_timestamp, "
    "'a;b' AS metric_name, 1.5 AS metric_value",
    "snowflake": "SELECT '2024-01-01 12:00:00.250000'::TIMESTAMP_NTZ AS metric_timestamp, 'a;b' AS metric_name, "
    "1.5 AS metric_value",
}
DUCKDB = "SELECT strftime(DATE '2024-01-02', '%Y-%m-%d') AS metric_name, 7 AS metric_value"


def test_columns_come_in_lower_case_and_times_in_utc(database):
    (row,) = read_sql(database.hook(), NATIVE[database.engine] + " ;").itertuples()
    assert (row.metric_timestamp, row.metric_name, float(row.metric_value)) == (
        datetime(2024, 1, 1, 12, 0, 0, 250000),
        "a;b",
        1.5,
    )


def test_the_dialect_of_duckdb_is_translated_where_the_warehouse_refuses_it(database):
    (row,) = read_sql(database.hook(), DUCKDB).itertuples()
    assert (row.metric_name, float(row.metric_value)) == ("2024-01-02", 7.0)


def test_a_failure_has_the_statement_and_the_dialects_in_which_it_was_tried(database):
    with pytest.raises(SourceError) as refused:
        read_sql(database.hook(), "SELECT missing_column FROM (SELECT 1 AS a) AS t")
    text = str(refused.value)
    assert "SELECT missing_column FROM" in text
    assert "missing_column" in text.split("The SQL was")[0].lower()
    assert f"in the dialect of {database.engine}" in text
    assert "in the dialect of duckdb" in text
    assert database.conn_id in text


class StandIn:
    """A DB-API connection that refuses what is in DuckDB's dialect, and notes what it was asked."""

    description = (("metric_name", None), ("metric_value", None))
    rowcount = 1

    def __init__(self, refused):
        self.refused, self.asked, self.closed = refused, [], False

    def cursor(self, *_args, **_kwargs):
        return self

    def execute(self, sql, *_args):
        self.asked.append(sql)
        if self.refused in sql:
            raise RuntimeError(f"syntax error near {self.refused}")

    def fetchall(self):
        return [("orders", 3.0)]

    def close(self):
        self.closed = True

    def commit(self): ...


CONNECTIONS = {
    "databricks": {
        "conn_type": "databricks",
        "host": "example.cloud.databricks.com",
        "password": "canary-secret",
        "extra": {"http_path": "/sql/1.0/warehouses/abc"},
    },
    "redshift": {
        "conn_type": "redshift",
        "host": "127.0.0.1",
        "login": "ada",
        "password": "canary-secret",
        "schema": "dev",
        "port": 5439,
    },
    "trino": {"conn_type": "trino", "host": "127.0.0.1", "login": "ada", "schema": "sales", "port": 8080},
}
DRIVERS = {
    "databricks": "databricks.sql.connect",
    "redshift": "redshift_connector.connect",
    "trino": "trino.dbapi.connect",
}


@pytest.fixture(params=sorted(CONNECTIONS))
def source(request, connected_database, monkeypatch):
    import importlib

    module, _, name = DRIVERS[request.param].rpartition(".")
    stand_in = StandIn("strftime")
    monkeypatch.setattr(importlib.import_module(module), name, lambda *_args, **_kwargs: stand_in)
    return connected_database(request.param, CONNECTIONS[request.param]), stand_in


def test_the_real_hook_runs_sql_as_it_was_written_and_then_translated(source):
    database, stand_in = source
    found = read_sql(database.hook(), "SELECT 'orders' AS metric_name, 3 AS metric_value")
    assert found.to_dict("records") == [{"metric_name": "orders", "metric_value": 3.0}]
    assert stand_in.asked[-1] == "SELECT 'orders' AS metric_name, 3 AS metric_value"
    assert stand_in.closed

    read_sql(
        database.hook(), "SELECT strftime(day, '%Y-%m-%d') AS metric_name, COUNT(*) AS metric_value FROM t GROUP BY 1"
    )
    assert "strftime" in stand_in.asked[-2]
    assert "strftime" not in stand_in.asked[-1]


def test_metrics_are_not_kept_there_and_it_says_where_they_can_be(source):
    database, _ = source
    with pytest.raises(UnsupportedEngine, match=r"metrics_conn_id.*snowflake"):
        MetricStore(database.hook(), "metrics", "sales")
