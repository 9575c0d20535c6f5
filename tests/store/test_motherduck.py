"""
MotherDuck: DuckDB's real hook and engine, with the service behind ``md:`` stood in for by a file.

What the service itself does, two writers at once above all, is not shown here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from anomstack_provider.store.errors import SourceError
from anomstack_provider.store.hooks import open_hook
from anomstack_provider.store.ledger import Delivery, DeliveryLedger
from anomstack_provider.store.metric_store import MetricStore
from anomstack_provider.store.source import read_sql

TOKEN = "canary.of-8Qw"
LATER = datetime(2025, 1, 1, tzinfo=UTC)


class Service:
    """Takes what DuckDB would send to MotherDuck, notes it, and opens a file instead."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.asked: list[str] = []
        self._connect = duckdb.connect

    def connect(self, database: str, **options: Any) -> duckdb.DuckDBPyConnection:
        self.asked.append(database)
        if TOKEN not in database:
            raise duckdb.InvalidInputException(f"Your request is not authenticated: {database}")
        return self._connect(str(self.file), **options)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    standing_in = Service(tmp_path / "behind.duckdb")
    monkeypatch.setattr(duckdb, "connect", standing_in.connect)
    return standing_in


@pytest.fixture
def conn_id(define_connection, service: Service) -> str:
    return str(define_connection({"conn_type": "duckdb", "host": "md:", "schema": "metrics_db", "password": TOKEN}))


def test_metrics_and_deliveries_are_kept_there_and_no_lock_beside_a_file(
    service: Service, conn_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = MetricStore(open_hook(conn_id, "unused"), "metrics", "sales")
    rows = {"metric_name": "it's", "metric_type": "metric", "metric_value": 1.5, "metadata": None}
    store.replace(pd.DataFrame([rows]).assign(metric_timestamp=np.array(["2024-01-01"], "M8[us]")))
    assert store.read(["metric"], since=None, until=LATER)["metric_value"].tolist() == [1.5]
    ledger = DeliveryLedger(open_hook(conn_id, "unused"), "metrics", "sales")
    now = ledger.clock()()
    assert ledger.record([Delivery("e", "opened", "email", "sales", "{}")], now) == 1
    assert [one.event_id for one in ledger.claim("me", now, timedelta(minutes=1))] == ["e"]
    assert read_sql(open_hook(conn_id, "unused"), "SELECT count(*) AS n FROM metrics")["n"].tolist() == [1]
    assert service.asked
    assert all(database.startswith("md:metrics_db?") for database in service.asked)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["behind.duckdb"]


def test_its_token_is_in_no_error_and_in_no_log(
    define_connection, service: Service, conn_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SourceError) as refused:
        read_sql(
            open_hook(conn_id, "unused"), f"SELECT missing FROM nowhere WHERE '{'motherduck_token=' + TOKEN}' = ''"
        )
    assert "nowhere" in str(refused.value)
    wrong = define_connection(
        {"conn_type": "duckdb", "host": "md:", "schema": "metrics_db", "password": "wrong.Token-7"}
    )
    with pytest.raises(SourceError, match="not authenticated") as unknown:
        read_sql(open_hook(wrong, "unused"), "SELECT 1")
    told = f"{refused.value}{unknown.value}{caplog.text}"
    assert TOKEN not in told
    assert "wrong.Token-7" not in told
