"""Others hold a lock: it is waited for as long as the caller says, then told; nothing is written meanwhile."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from anomstack_provider.store.errors import StoreBusy
from anomstack_provider.store.ledger import Delivery, DeliveryLedger
from anomstack_provider.store.metric_store import MetricStore

START = datetime(2024, 1, 1)
NOW = datetime(2024, 3, 1, tzinfo=UTC)
LOCKS = {
    "table": "LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE",
    "rows": "UPDATE metrics SET metadata = 'mine'",
    "ours": "SELECT pg_advisory_xact_lock(hashtextextended('metrics', 0))",
}


@pytest.fixture
def postgres(make_database: Any) -> Any:
    return make_database("postgres")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_in_postgres_is_waited_for_then_told(postgres: Any, frame: Any, stored: Any, lock: str) -> None:
    rows = frame([("m", "metric", START, 1.5)])
    MetricStore(postgres.hook(), "metrics", "sales").replace(rows)
    store = MetricStore(postgres.hook(), "metrics", "sales", lock_wait=0.6)
    before = stored(store)
    with closing(postgres.hook().get_conn()) as other:
        other.cursor().execute(LOCKS[lock])
        began = time.monotonic()
        with pytest.raises(StoreBusy, match=r"still busy after 0\.6 s"):
            store.replace(rows.assign(metric_value=2.5))
        assert 0.4 < time.monotonic() - began < 10
        other.rollback()
    assert stored(store) == before
    assert store.replace(rows.assign(metric_value=2.5)) == 1


def test_a_lock_in_postgres_that_is_given_up_in_time_is_waited_for(postgres: Any, frame: Any) -> None:
    rows = frame([("m", "metric", START, 1.5)])
    store = MetricStore(postgres.hook(), "metrics", "sales", lock_wait=30)
    store.replace(rows)
    with closing(postgres.hook().get_conn()) as other:
        other.cursor().execute(LOCKS["table"])
        release = threading.Timer(1.0, other.rollback)
        release.start()
        assert store.replace(rows) == 1
        release.join()


def test_a_locked_ledger_in_postgres_is_told(postgres: Any) -> None:
    ledger = DeliveryLedger(postgres.hook(), "metrics", "sales", lock_wait=0.5)
    ledger.record([Delivery("e1", "opened", "email", "sales", "{}")], NOW)
    with closing(postgres.hook().get_conn()) as other:
        other.cursor().execute("LOCK TABLE metrics_deliveries IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreBusy, match="still busy"):
            ledger.claim("dag/run-1/alert", NOW, timedelta(minutes=30))
        other.rollback()
    assert len(ledger.claim("dag/run-1/alert", NOW, timedelta(minutes=30))) == 1


def test_a_locked_sqlite_file_is_waited_for_then_told(make_database: Any, frame: Any) -> None:
    sqlite = make_database("sqlite")
    rows = frame([("m", "metric", START, 1.5)])
    MetricStore(sqlite.hook(), "metrics", "sales").replace(rows)
    store = MetricStore(sqlite.hook(), "metrics", "sales", lock_wait=0.5)
    with closing(sqlite.hook().get_conn()) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="still busy"):
            store.replace(rows)
        other.execute("ROLLBACK")
    assert store.replace(rows) == 1
