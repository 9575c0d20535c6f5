"""Somebody changes the metrics table or the ledger by hand: an error that names table and column, or no harm at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from anomstack_provider.store.errors import TableChanged
from anomstack_provider.store.ledger import Delivery, DeliveryLedger
from anomstack_provider.store.metric_store import MetricStore

START = datetime(2024, 1, 1)
LATE = datetime(2100, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 3, 1, tzinfo=UTC)
COLUMNS = ["metric_timestamp", "metric_batch", "metric_name", "metric_type", "metric_value", "metadata"]


@pytest.fixture
def old(frame: Any) -> Any:
    return frame([(f"m{number}", "metric", START + timedelta(hours=number), 0.5 + number) for number in range(5)])


@pytest.fixture
def store(database: Any, old: Any) -> MetricStore:
    MetricStore(database.hook(), "metrics", "sales").replace(old)
    return MetricStore(database.hook(), "metrics", "sales")


def calls(store: MetricStore, old: Any) -> list[Any]:
    return [
        lambda: store.read(["metric"], since=None, until=LATE),
        lambda: store.replace(old.assign(metric_value=9.5)),
        lambda: store.delete_before(LATE),
        store.has_table,
    ]


def without_constraints(database: Any) -> None:
    """Copy the table: an engine does not drop or rename a column that its key is made of."""
    database.run("CREATE TABLE plain AS SELECT * FROM metrics", "DROP TABLE metrics")
    database.run("ALTER TABLE plain RENAME TO metrics")


@pytest.mark.parametrize("change", ["drop", "rename"])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_is_gone_is_named_with_its_table(
    database: Any, store: MetricStore, old: Any, column: str, change: str
) -> None:
    without_constraints(database)
    database.run(
        f"ALTER TABLE metrics DROP COLUMN {column}"
        if change == "drop"
        else f"ALTER TABLE metrics RENAME COLUMN {column} TO was_renamed"
    )
    before = database.run("SELECT * FROM metrics ORDER BY 1")
    read, replace, delete, look = calls(store, old)
    deletes_by = column in ("metric_timestamp", "metric_batch")
    for call in (read, replace, look, *([delete] if deletes_by else [])):
        with pytest.raises(TableChanged) as caught:
            call()
        message = str(caught.value)
        assert f"table 'metrics' has no column {column} (" in message
        assert ("was_renamed" in message) == (change == "rename")
    assert database.run("SELECT * FROM metrics ORDER BY 1") == before


def test_further_columns_and_no_constraint_do_no_harm(
    database: Any, store: MetricStore, old: Any, frame: Any, stored: Any
) -> None:
    before = stored(store)
    without_constraints(database)
    database.run("ALTER TABLE metrics ADD COLUMN note VARCHAR(20)")
    database.run("ALTER TABLE metrics ADD COLUMN by_whom VARCHAR(20) DEFAULT 'me'")
    assert stored(store) == before
    assert store.replace(old) == 5
    assert stored(store) == before
    assert database.run("SELECT count(*), count(note), min(by_whom) FROM metrics") == [(5, 0, "me")]


def test_a_further_column_that_must_have_a_value_is_named(database: Any, store: MetricStore, old: Any) -> None:
    before = database.run("SELECT count(*) FROM metrics")
    database.run("DROP TABLE metrics")
    database.run(
        "CREATE TABLE metrics (metric_timestamp TIMESTAMP, metric_batch VARCHAR(99), metric_name VARCHAR(99), "
        "metric_type VARCHAR(99), metric_value DOUBLE PRECISION, metadata VARCHAR(99), author VARCHAR(9) NOT NULL)"
    )
    with pytest.raises(TableChanged, match=r"table 'metrics' .*author"):
        store.replace(old)
    assert before == [(5,)]
    assert database.run("SELECT count(*) FROM metrics") == [(0,)]


def declared(**kinds: str) -> str:
    return ", ".join(f"{column} {kinds.get(column, 'VARCHAR(99)')}" for column in COLUMNS)


# SQLite's columns take anything as it is, whatever their declared type.
@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
@pytest.mark.parametrize("kind", ["INTEGER", "BIGINT", "NUMERIC(12, 0)"])
def test_a_column_of_whole_numbers_is_refused_and_not_rounded_into(
    make_database: Any, old: Any, engine: str, kind: str
) -> None:
    database = make_database(engine)
    store = MetricStore(database.hook(), "metrics", "sales")
    store.replace(old.assign(metric_value=3.0))
    database.run(f"ALTER TABLE metrics ALTER COLUMN metric_value TYPE {kind}")
    before = database.run("SELECT * FROM metrics ORDER BY metric_name")
    with pytest.raises(TableChanged, match=r"table 'metrics' keeps 0\.5 in its column metric_value as [01]"):
        store.replace(old)
    assert database.run("SELECT * FROM metrics ORDER BY metric_name") == before
    assert store.replace(old.assign(metric_value=7.0)) == 5  # whole ones are kept as they are


def test_a_column_of_whole_numbers_in_sqlite_keeps_fractions(make_database: Any, old: Any) -> None:
    database = make_database("sqlite")
    database.run(f"CREATE TABLE metrics ({declared(metric_value='INTEGER')})")
    store = MetricStore(database.hook(), "metrics", "sales")
    assert store.replace(old) == 5
    assert database.run("SELECT sum(metric_value) FROM metrics") == [(12.5,)]


@pytest.mark.parametrize("engine", ["duckdb", "postgres", "sqlite"])
def test_text_in_the_place_of_values_is_named(make_database: Any, engine: str) -> None:
    database = make_database(engine)
    database.run(f"CREATE TABLE metrics ({declared()})")
    database.run("INSERT INTO metrics VALUES ('2024-01-01 00:00:00', 'sales', 'm', 'metric', 'many', NULL)")
    with pytest.raises(TableChanged, match=r"table 'metrics' .*many"):
        MetricStore(database.hook(), "metrics", "sales").read(["metric"], since=None, until=LATE)


@pytest.mark.parametrize("kind", ["DOUBLE PRECISION", "INTEGER", "VARCHAR(99)"])
@pytest.mark.parametrize("text", ["'many'", "''", "'1,5'", "X'6d616e79'"])
def test_text_that_sqlite_keeps_in_the_place_of_a_value_is_named_and_not_read_as_zero(
    make_database: Any, kind: str, text: str
) -> None:
    database = make_database("sqlite")
    database.run(f"CREATE TABLE metrics ({declared(metric_value=kind)})")
    for day, value in enumerate(["1.5", text, "NULL"], start=1):
        database.run(f"INSERT INTO metrics VALUES ('2024-01-0{day} 00:00:00', 'sales', 'm', 'metric', {value}, NULL)")
    store = MetricStore(database.hook(), "metrics", "sales")
    named = r"table 'metrics' has text .* 1 of 3 rows; .* metric 'm' \(metric\) at 2024-01-02 00:00:00"
    with pytest.raises(TableChanged, match=named):
        store.read(["metric"], since=None, until=LATE)
    # What comes before it can be read, and a number that is kept as text is one.
    before = store.read(["metric"], since=None, until=datetime(2024, 1, 2, tzinfo=UTC))
    assert before["metric_value"].tolist() == [1.5]


@pytest.mark.parametrize("engine", ["duckdb", "postgres", "sqlite"])
def test_a_number_that_is_kept_as_text_is_read_as_one(make_database: Any, engine: str) -> None:
    database = make_database(engine)
    database.run(f"CREATE TABLE metrics ({declared()})")
    texts = ["0.1", " 2 ", "-1e308", "NaN"]
    for day, text in enumerate(texts, start=1):
        database.run(f"INSERT INTO metrics VALUES ('2024-01-0{day} 00:00:00', 'sales', 'm', 'metric', '{text}', NULL)")
    read = MetricStore(database.hook(), "metrics", "sales").read(["metric"], since=None, until=LATE)
    assert read["metric_value"].tolist()[:3] == [0.1, 2.0, -1e308]
    assert read["metric_value"].isna().tolist() == [False, False, False, True]


def test_a_table_that_is_dropped_in_the_middle_is_made_anew(
    database: Any, store: MetricStore, old: Any, stored: Any
) -> None:
    before = stored(store)
    database.run("DROP TABLE metrics")
    assert stored(store) == []
    assert store.replace(old) == 5
    assert stored(store) == before


@pytest.mark.parametrize("column", ["status", "claims", "claimed_by", "payload"])
def test_a_ledger_without_a_column_is_named(database: Any, column: str) -> None:
    ledger = DeliveryLedger(database.hook(), "metrics", "sales")
    ledger.record([Delivery("e1", "opened", "email", "sales", "{}")], NOW)
    database.run(f"ALTER TABLE metrics_deliveries RENAME COLUMN {column} TO was_renamed")
    with pytest.raises(TableChanged, match=rf"table 'metrics_deliveries' has no column {column} \("):
        ledger.claim("dag/run-1/alert", NOW, timedelta(minutes=30))


def test_a_ledger_that_is_dropped_owes_what_is_told_again(database: Any) -> None:
    """What was sent is forgotten with it: a run that finds the same alert once more tells it."""
    ledger = DeliveryLedger(database.hook(), "metrics", "sales")
    delivery = Delivery("e1", "opened", "email", "sales", "{}")
    ledger.record([delivery], NOW)
    database.run("DROP TABLE metrics_deliveries")
    assert ledger.record([delivery], NOW) == 1
    assert [row.event_id for row in ledger.unsent()] == ["e1"]
