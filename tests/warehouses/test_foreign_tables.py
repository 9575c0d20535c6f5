"""Tables that someone else made: their types of time, and rows twice."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from anomstack_provider.store.metric_store import MetricStore

LATE = datetime(2100, 1, 1, tzinfo=UTC)
KINDS = [
    ("clickhouse", "DateTime64(6, 'UTC')", "'2024-03-01 12:00:00.250000'"),
    ("clickhouse", "DateTime64(3, 'America/New_York')", "'2024-03-01 07:00:00.250'"),
    ("clickhouse", "String", "'2024-03-01T13:00:00.250000+01:00'"),
    ("clickhouse", "Nullable(DateTime64(6))", "toDateTime64('2024-03-01 12:00:00.250000', 6, 'UTC')"),
    ("snowflake", "TIMESTAMP_NTZ", "'2024-03-01 12:00:00.250000'"),
    ("snowflake", "TIMESTAMP_TZ", "'2024-03-01 12:00:00.250000'::TIMESTAMP_NTZ::TIMESTAMP_TZ"),
    ("snowflake", "VARCHAR", "'2024-03-01T13:00:00.250000+01:00'"),
]
TABLES = {
    "clickhouse": (
        "CREATE TABLE metrics (inserted_by String, metadata Nullable(String), metric_value Int32, metric_batch String, "
        "metric_type String, metric_timestamp {kind}, metric_name String) ENGINE = MergeTree ORDER BY metric_name"
    ),
    "snowflake": (
        "CREATE TABLE metrics (inserted_by TEXT, metadata TEXT, metric_value INTEGER, metric_batch TEXT, "
        "metric_type TEXT, metric_timestamp {kind}, metric_name TEXT)"
    ),
}


@pytest.mark.parametrize(("engine", "kind", "noon"), KINDS)
def test_it_is_read_in_utc_and_one_of_equal_keys_is_kept(engine, kind, noon, make_database, frame):
    database = make_database(engine)
    database.run(
        TABLES[engine].format(kind=kind),
        f"INSERT INTO metrics SELECT 'x', NULL, 1, 'sales', 'metric', {noon}, 'm'",
        f"INSERT INTO metrics SELECT 'x', '{{}}', 2, 'sales', 'metric', {noon}, 'm'",
    )
    store = MetricStore(database.hook(), "metrics", "sales")
    noon_utc = datetime(2024, 3, 1, 12, 0, 0, 250000)

    found = store.read(["metric"], since=datetime(2024, 3, 1, 12, tzinfo=UTC), until=LATE)
    assert [(row.metric_timestamp, row.metric_value, row.metadata) for row in found.itertuples()] == [
        (noon_utc, 2.0, "{}")
    ]
    assert store.newest_timestamp("metric", LATE) == noon_utc.replace(tzinfo=UTC)
    assert store.read(["metric"], since=LATE, until=LATE).empty

    if engine != "clickhouse":  # see test_clickhouse
        store.replace(frame([("m", "metric", noon_utc, 3.0)]))
        assert database.run("SELECT count(*) FROM metrics") == [(1,)]
        assert store.read(["metric"], since=None, until=LATE)["metric_timestamp"].tolist() == [noon_utc]
