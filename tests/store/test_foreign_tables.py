"""Tables that someone else made and wrote: other types of time, other columns, no constraint, duplicates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from anomstack_provider.store.metric_store import MetricStore

LATE = datetime(2100, 1, 1, tzinfo=UTC)
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)

# All three are noon in UTC, as each type spells it.
KINDS = [
    ("duckdb", "TIMESTAMP", "'2024-01-01 12:00:00'"),
    ("duckdb", "TIMESTAMP_NS", "'2024-01-01 12:00:00.000000001'"),
    ("duckdb", "TIMESTAMPTZ", "'2024-01-01 14:00:00+02'"),
    ("duckdb", "VARCHAR", "'2024-01-01T12:00:00'"),
    ("duckdb", "VARCHAR", "'2024-01-01T14:00:00.000000+02:00'"),
    ("duckdb", "VARCHAR", "'2024-01-01 12:00:00Z'"),
    ("postgres", "TIMESTAMP", "'2024-01-01 12:00:00'"),
    ("postgres", "TIMESTAMPTZ", "'2024-01-01 14:00:00+02'"),
    ("postgres", "TEXT", "'2024-01-01T12:00:00'"),
    ("postgres", "TEXT", "'2024-01-01T14:00:00.000000+02:00'"),
    ("sqlite", "TIMESTAMP", "'2024-01-01 12:00:00'"),
    ("sqlite", "TEXT", "'2024-01-01T12:00:00'"),
    ("sqlite", "TEXT", "'2024-01-01T14:00:00.000000+02:00'"),
    ("sqlite", "TEXT", "'2024-01-01 12:00:00Z'"),
    ("mysql", "DATETIME", "'2024-01-01 12:00:00'"),
    ("mysql", "TIMESTAMP(6)", "'2024-01-01 07:00:00'"),  # written in the zone of the server
    ("mysql", "TEXT", "'2024-01-01T12:00:00'"),
    ("mysql", "VARCHAR(40)", "'2024-01-01T14:00:00.000000+02:00'"),
    ("mysql", "TEXT", "'2024-01-01 06:30:00-0530'"),
    ("mysql", "TEXT", "'2024-01-01 12:00:00Z'"),
]


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(kind))
def foreign(request, make_database):
    """A table with its columns in another order, more of them, whole numbers as values, and one row twice."""
    engine, kind, noon = request.param
    database = make_database(engine)
    database.run(
        f"CREATE TABLE metrics (inserted_by TEXT, metadata TEXT, metric_value INTEGER, metric_batch TEXT, "
        f"metric_type TEXT, metric_timestamp {kind}, metric_name TEXT, extra DOUBLE PRECISION)",
        f"INSERT INTO metrics VALUES ('x', NULL, 1, 'sales', 'metric', {noon}, 'm', 1.5)",
        f"INSERT INTO metrics VALUES ('x', 'kept', 2, 'sales', 'metric', {noon}, 'm', 2.5)",
        f"INSERT INTO metrics VALUES ('x', NULL, 3, 'other', 'metric', {noon}, 'm', 3.5)",
    )
    store = MetricStore(database.hook(), "metrics", "sales")
    store.ensure_table()
    return database, store


def test_it_is_read_in_utc_and_the_last_of_equal_keys_is_kept(foreign, stored):
    _, store = foreign
    expected = [("m", "metric", "2024-01-01 12:00:00", (2.0).hex(), "kept")]
    assert stored(store) == expected
    assert len(store.read(["metric"], since=NOON, until=NOON + timedelta(microseconds=1))) == 1
    assert store.read(["metric"], since=NOON + timedelta(microseconds=1), until=LATE).empty
    assert store.read(["metric"], since=None, until=NOON).empty
    assert store.newest_timestamp("metric", LATE) == NOON
    assert store.newest_timestamp("metric", NOON) is None


def test_replacing_a_key_removes_all_its_duplicates(foreign, frame, stored):
    database, store = foreign
    naive = NOON.replace(tzinfo=None)
    store.replace(frame([("m", "metric", naive, 5.0), ("m", "metric", naive + timedelta(hours=1), 6.0)]))

    assert [(row[2], row[3]) for row in stored(store)] == [
        ("2024-01-01 12:00:00", (5.0).hex()),
        ("2024-01-01 13:00:00", (6.0).hex()),
    ]
    assert database.run("SELECT count(*) FROM metrics WHERE metric_batch = 'sales'") == [(2,)]
    assert database.run("SELECT count(*) FROM metrics WHERE metric_batch = 'other'") == [(1,)]
    assert store.delete_before(NOON + timedelta(hours=1)) == 1


def test_duplicates_take_one_place_of_the_newest(database, frame, stored):
    database.run(
        f"CREATE TABLE metrics (metric_timestamp {database.datetime}, metric_batch TEXT, metric_name TEXT, "
        "metric_type TEXT, metric_value DOUBLE PRECISION, metadata TEXT)",
        *(
            f"INSERT INTO metrics VALUES ('2024-01-0{day} 00:00:00', 'sales', 'm', 'metric', {value}, NULL)"
            for day, value in [(3, 1), (3, 2), (3, 3), (2, 1), (2, 2), (1, 1), (1, 9)]
        ),
    )
    store = MetricStore(database.hook(), "metrics", "sales")
    read = store.read(["metric"], since=None, until=LATE, newest=2)
    assert read["metric_timestamp"].dt.day.tolist() == [2, 3]
    assert read["metric_value"].tolist() == [2.0, 3.0]


def test_the_last_of_many_equal_keys_is_the_one_the_table_holds_last(duckdb_file):
    """Enough rows for the engine to sort them in parallel."""
    duckdb_file.run(
        "CREATE TABLE metrics AS SELECT TIMESTAMP '2024-01-01' AS metric_timestamp, 'sales' AS metric_batch, "
        "'m' || (range % 1000) AS metric_name, 'metric' AS metric_type, range AS metric_value, NULL AS metadata "
        "FROM range(400000)"
    )
    read = MetricStore(duckdb_file.hook(), "metrics", "sales").read(["metric"], since=None, until=LATE)
    assert sorted(read["metric_value"]) == list(range(399000, 400000))


def test_a_missing_value_is_read_as_nan_and_no_metadata_as_none(database):
    database.run(
        f"CREATE TABLE metrics (metric_timestamp {database.datetime}, metric_batch TEXT, metric_name TEXT, "
        "metric_type TEXT, metric_value DOUBLE PRECISION, metadata TEXT)",
        "INSERT INTO metrics VALUES ('2024-01-01 00:00:00', 'sales', 'a', 'metric', NULL, NULL)",
        "INSERT INTO metrics VALUES ('2024-01-01 00:00:00', 'sales', 'b', 'metric', 1, 'text')",
    )
    read = MetricStore(database.hook(), "metrics", "sales").read(["metric"], since=None, until=LATE)
    assert read["metric_value"].isna().tolist() == [True, False]
    assert read["metadata"].tolist() == [None, "text"]


@pytest.mark.parametrize("engine", ["duckdb"])
def test_a_table_key_that_begins_with_the_name_of_the_file_is_not_made_ambiguous(engine, make_database, frame, stored):
    database = make_database(engine)  # the file is anomstack.duckdb, so `anomstack` is its catalog
    store = MetricStore(database.hook(), "anomstack.metrics", "sales")
    store.ensure_table()
    store.replace(frame([("m", "metric", NOON.replace(tzinfo=None), 1.0)]))
    assert len(stored(store)) == 1
    assert database.run("SELECT count(*) FROM main.metrics") == [(1,)]
