"""Which database the store works on, with and without an Airflow database of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anomstack_provider.store.errors import StoreError, UnsupportedEngine
from anomstack_provider.store.ledger import DeliveryLedger
from anomstack_provider.store.metric_store import MetricStore

SCRIPT = """
import os, sys
from datetime import UTC, datetime
import numpy as np, pandas as pd
from anomstack_provider.store.hooks import open_hook
from anomstack_provider.store.metric_store import MetricStore

hook = open_hook(sys.argv[1] or None, sys.argv[2])
connection = hook.get_conn()
connection.execute(
    "CREATE TABLE metrics AS SELECT TIMESTAMPTZ '2024-01-01 02:00:00+02' AS metric_timestamp, "
    "'sales' AS metric_batch, 'foreign' AS metric_name, 'metric' AS metric_type, 1.0 AS metric_value, "
    "'' AS metadata"
)
connection.close()
store = MetricStore(hook, "metrics", "sales")
store.replace(pd.DataFrame({
    "metric_name": ["own"], "metric_type": ["metric"], "metric_timestamp": np.array(["2024-01-01"], "M8[us]"),
    "metric_value": [1.5], "metadata": [None],
}))
read = store.read(["metric"], since=None, until=datetime(2025, 1, 1, tzinfo=UTC))
assert read["metric_timestamp"].astype(str).tolist() == ["2024-01-01"] * 2, read
made = sorted(os.listdir(os.environ["AIRFLOW_HOME"]))
assert not any(name.endswith(".db") for name in made), made
print(type(hook).__name__)
"""


def run(folder: Path, conn_id: str, path: Path, **environment: str) -> str:
    """Run the script in a process of its own with an Airflow home that is empty: nothing was migrated."""
    home = folder / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, conn_id, str(path)],
        env={
            "PATH": os.environ["PATH"],
            "AIRFLOW_HOME": str(home),
            "TZ": "America/New_York",  # the store has to ask for UTC
            "PYTHONPATH": os.pathsep.join(sys.path),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_embedded_file_needs_no_airflow_database_and_makes_its_folder(tmp_path):
    path = tmp_path / "not" / "there" / "yet.duckdb"
    assert run(tmp_path, "", path) == "EmbeddedDuckDBHook"
    assert path.exists()


def test_a_connection_of_the_environment_needs_no_airflow_database(tmp_path):
    other = tmp_path / "other.duckdb"
    connection = json.dumps({"conn_type": "duckdb", "host": str(other)})
    assert run(tmp_path, "lake", tmp_path / "unused.duckdb", AIRFLOW_CONN_LAKE=connection) == "DuckDBHook"
    assert other.exists()
    assert not (tmp_path / "unused.duckdb").exists()


def test_the_embedded_hook_looks_no_connection_up(tmp_path, monkeypatch, frame):
    from airflow.sdk import BaseHook

    from anomstack_provider.store.hooks import open_hook

    def refuse(conn_id):
        raise AssertionError(f"looked up {conn_id}")

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(refuse))
    other = {"conn_type": "duckdb", "extra": {"database": str(tmp_path / "other.duckdb"), "read_only": True}}
    monkeypatch.setenv("AIRFLOW_CONN_DUCKDB_DEFAULT", json.dumps(other))
    hook = open_hook(None, str(tmp_path / "own.duckdb"))
    MetricStore(hook, "metrics", "sales").ensure_table()
    assert hook.connection.host == str(tmp_path / "own.duckdb")
    assert (hook.dialect_name, hook.placeholder) == ("duckdb", "?")
    assert (tmp_path / "own.duckdb").exists()
    assert not (tmp_path / "other.duckdb").exists()


def test_a_connection_to_something_else_is_refused_with_what_to_do(monkeypatch):
    from anomstack_provider.store.hooks import open_hook

    monkeypatch.setenv("AIRFLOW_CONN_SLACK", json.dumps({"conn_type": "slack", "password": "xoxb-secret"}))
    with pytest.raises(UnsupportedEngine, match=r"connection 'slack' is of type 'slack'.*set conn_id to") as caught:
        open_hook("slack", "unused")
    assert "xoxb" not in str(caught.value)


def test_an_engine_that_cannot_keep_metrics_is_refused_with_those_that_can():
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Connection

    class OtherHook(DbApiHook):
        conn_name_attr = "other_conn_id"
        conn_type = "other"

    hook = OtherHook(connection=Connection(conn_id="x", conn_type="other"))
    for make in (MetricStore, DeliveryLedger):
        with pytest.raises(
            UnsupportedEngine, match=r"type 'other'.*bigquery, clickhouse, duckdb, mysql, postgres, snowflake, sqlite"
        ):
            make(hook, "metrics", "sales")


def test_a_database_in_memory_would_forget_and_is_refused(make_connection):
    with pytest.raises(StoreError, match=r"in memory.*set the host of the connection"):
        MetricStore(make_connection({"conn_type": "duckdb"})(), "metrics", "sales")


def test_a_missing_connection_is_airflows_own_error():
    from airflow.providers.duckdb.version_compat import AirflowNotFoundException

    from anomstack_provider.store.hooks import open_hook

    with pytest.raises(AirflowNotFoundException, match="not_there"):
        open_hook("not_there", "unused")


def test_values_are_not_logged(database, frame, caplog, capfd):
    from datetime import UTC, datetime

    store = MetricStore(database.hook(), "metrics", "a private batch")
    with caplog.at_level(logging.DEBUG):
        store.ensure_table()
        store.replace(frame([("a private name", "metric", datetime(2024, 1, 1), 4242.25, "a private note")]))
        store.read(["metric"], since=None, until=datetime(2100, 1, 1, tzinfo=UTC), metrics=["a private name"])
        database.hook().run("SELECT 'private' WHERE 1 = 0")  # others may use the hook's own methods
    said = caplog.text + "".join(capfd.readouterr())
    assert "private" not in said
    assert "4242" not in said


def test_psycopg2_serves_where_psycopg_3_does_not(make_database, frame, stored, monkeypatch):
    """The PostgreSQL hook takes psycopg 3 with SQLAlchemy 2 and psycopg2 otherwise."""
    from datetime import datetime

    from airflow.providers.postgres.hooks import postgres

    monkeypatch.setattr(postgres, "USE_PSYCOPG3", False)
    database = make_database("postgres")
    assert type(database.hook().get_conn()).__module__.startswith("psycopg2")
    store = MetricStore(database.hook(), "50% (x)s", "it's 50% %s")
    assert stored(store) == []
    at = datetime(2024, 1, 1, 0, 0, 0, 1)
    for value in (-0.0, 1e308):
        store.replace(frame([("%(m)s\t\\", "metric", at, value, "\\N")]))
        assert stored(store) == [("%(m)s\t\\", "metric", "2024-01-01 00:00:00.000001", value.hex(), "\\N")]
    assert (
        len(store.read(["metric"], since=None, until=datetime.max.astimezone(), metrics=["%(m)s\t\\"], newest=1)) == 1
    )
