"""What ClickHouse has in the place of transactions: the order of statements, and a lock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from anomstack_provider.store.errors import StoreBusy, StoreError
from anomstack_provider.store.metric_store import MetricStore

T0 = datetime(2024, 1, 1)
LATE = datetime(2100, 1, 1, tzinfo=UTC)
ROWS = [(f"m{number}", "alert", T0) for number in range(4)]


@pytest.fixture
def database(clickhouse_database):
    return clickhouse_database()


def cut_at(hook, verb):
    """Return the hook, its clients cut off before a statement that begins with ``verb``."""
    open_client = hook.get_client

    def get_client():
        client = open_client()
        query = client.query

        def cut(sql, *args, **kwargs):
            if sql.lstrip().startswith(verb) and "_lock_" not in sql:
                raise ConnectionError("the line is cut")
            return query(sql, *args, **kwargs)

        client.query = cut
        return client

    hook.get_client = get_client
    return hook


@pytest.mark.parametrize(("verb", "left"), [("INSERT", [1.0, 1.0, 1.0, 1.0]), ("DELETE", [2.0, 2.0, 1.0, 1.0])])
def test_a_crash_on_the_way_loses_nothing_doubles_nothing_and_is_made_good(database, frame, verb, left):
    store = MetricStore(database.hook(), "metrics", "sales")
    store.replace(frame([(*key, 1.0) for key in ROWS]))
    new = frame([(*key, 2.0) for key in ROWS[:2]])
    clear = frame([(*key, 0.0) for key in ROWS])

    with pytest.raises(ConnectionError):
        MetricStore(cut_at(database.hook(), verb), "metrics", "sales").replace(new, clear=clear)
    assert store.read(["alert"], since=None, until=LATE)["metric_value"].tolist() == left

    store.replace(new, clear=clear)
    assert store.read(["alert"], since=None, until=LATE)["metric_value"].tolist() == [2.0, 2.0]
    assert database.run("SELECT count(*) FROM metrics") == [(2,)]


def test_rows_that_were_replaced_can_be_written_again_as_they_were(database, frame):
    store = MetricStore(database.hook(), "metrics", "sales")
    for value in (1.0, 2.0, 1.0):
        store.replace(frame([("m", "metric", T0, value)]))
    assert store.read(["metric"], since=None, until=LATE)["metric_value"].tolist() == [1.0]


def test_a_history_of_many_months_is_one_replacement(database, frame):
    months = [datetime(2010 + number // 12, number % 12 + 1, 1) for number in range(150)]
    store = MetricStore(database.hook(), "metrics", "sales")
    assert store.replace(frame([("m", "metric", month, 1.0) for month in months])) == 150
    assert len(store.read(["metric"], since=None, until=LATE)) == 150


def test_whoever_holds_the_lock_is_waited_for_and_then_named(database, frame):
    MetricStore(database.hook(), "metrics", "sales").ensure_table()
    held = f"{time.time()} someone else"
    database.run(f"CREATE TABLE metrics_lock_7 (taken UInt8) ENGINE = Memory COMMENT '{held}'")
    with pytest.raises(StoreBusy, match="metrics_lock_7"):
        MetricStore(database.hook(), "metrics", "sales", lock_wait=0.5).replace(frame([(*ROWS[0], 1.0)]))

    database.run("DROP TABLE metrics_lock_7")
    assert MetricStore(database.hook(), "metrics", "sales").replace(frame([(*ROWS[0], 1.0)])) == 1
    assert database.run("SELECT name FROM system.tables WHERE database = currentDatabase()") == [("metrics",)]


def test_a_lock_that_was_never_given_back_is_taken_over(database, frame):
    MetricStore(database.hook(), "metrics", "sales").ensure_table()
    killed = f"{time.time() - 60} killed"
    database.run(f"CREATE TABLE metrics_lock_7 (taken UInt8) ENGINE = Memory COMMENT '{killed}'")
    assert MetricStore(database.hook(), "metrics", "sales").replace(frame([(*ROWS[0], 1.0)])) == 1
    assert database.run("SELECT name FROM system.tables WHERE database = currentDatabase()") == [("metrics",)]


def test_whoever_lost_its_lock_changes_nothing_more(database, frame):
    """Its lock is taken over between its insertion and its deletion: the next try begins anew."""
    store = MetricStore(database.hook(), "metrics", "sales")
    store.replace(frame([(*key, 1.0) for key in ROWS]))
    hook, later = database.hook(), f"{time.time()} the next one"
    open_client, seen = hook.get_client, []

    def get_client():
        client = open_client()
        query = client.query

        def watch(sql, *args, **kwargs):
            result = query(sql, *args, **kwargs)
            if sql.startswith("INSERT INTO `metrics`") and not seen:
                seen.append(sql)
                database.run(f"CREATE TABLE metrics_lock_9 (taken UInt8) ENGINE = Memory COMMENT '{later}'")
            return result

        client.query = watch
        return client

    hook.get_client = get_client
    slow = MetricStore(hook, "metrics", "sales", lock_wait=0.5)
    with pytest.raises(StoreBusy, match=r"metrics_lock_9|taken over"):
        slow.replace(frame([(*ROWS[0], 2.0)]), clear=frame([(*key, 0.0) for key in ROWS]))
    assert store.read(["alert"], since=None, until=LATE)["metric_value"].tolist() == [2.0, 1.0, 1.0, 1.0]


def test_a_table_in_which_rows_cannot_be_replaced_is_read_and_not_written(database, frame):
    database.run(
        "CREATE TABLE metrics (metric_timestamp DateTime64(6, 'UTC'), metric_batch String, metric_name String, "
        "metric_type String, metric_value Float64, metadata String) ENGINE = MergeTree ORDER BY metric_timestamp",
        "INSERT INTO metrics VALUES ('2024-01-01 00:00:00', 'sales', 'm', 'metric', 1, '')",
    )
    store = MetricStore(database.hook(), "metrics", "sales")
    assert len(store.read(["metric"], since=None, until=LATE)) == 1
    with pytest.raises(StoreError, match=r"MergeTree.*copied"):
        store.replace(frame([("m", "metric", T0, 2.0)]))
