"""A table that Anomstack wrote is copied clean, again and again, a page at a time, between all engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from anomstack_provider.cli import main
from anomstack_provider.migrate.table import Copied, copy_batch
from anomstack_provider.store.foreign import ForeignTable
from anomstack_provider.store.metric_store import MetricStore
from tests.database_fixtures import ENGINES

LATE = datetime(2100, 1, 1, tzinfo=UTC)
TYPES = ["metric", "score", "alert", "tholdalert", "change", "llmalert", "thumbsup", "thumbsdown"]

# Type of the time column, and how noon of 2 January in UTC is written in it.
SOURCES = [
    ("duckdb", "TIMESTAMP", "2024-01-02 12:00:00"),
    ("duckdb", "TIMESTAMPTZ", "2024-01-02 14:00:00+02"),
    ("duckdb", "VARCHAR", "2024-01-02T14:00:00+02:00"),
    ("sqlite", "TEXT", "2024-01-02 12:00:00"),
    ("sqlite", "TEXT", "2024-01-02T14:00:00.000000+02:00"),
    ("postgres", "TIMESTAMP", "2024-01-02 12:00:00"),
    ("postgres", "TIMESTAMPTZ", "2024-01-02 14:00:00+02"),
    ("postgres", "TEXT", "2024-01-02T12:00:00"),
    ("mysql", "DATETIME(6)", "2024-01-02 12:00:00"),
    ("mysql", "TEXT", "2024-01-02T14:00:00+02:00"),
]


def create(database: Any, kind: str, table: str = "metrics") -> None:
    database.run(
        f"CREATE TABLE {table} (metric_timestamp {kind}, metric_batch TEXT, metric_name TEXT, metric_type TEXT, "
        "metric_value DOUBLE PRECISION, metadata TEXT)"
    )


def insert(database: Any, *rows: tuple[Any, ...], table: str = "metrics") -> None:
    def literal(value: Any) -> str:
        return "NULL" if value is None else repr(value) if not isinstance(value, str) else f"'{value}'"

    values = ", ".join(f"({', '.join(literal(value) for value in row)})" for row in rows)
    database.run(f"INSERT INTO {table} VALUES {values}")


def rows_of(store: MetricStore) -> list[tuple[Any, ...]]:
    frame = store.read(TYPES, since=None, until=LATE)
    return [
        (row.metric_name, row.metric_type, str(row.metric_timestamp), row.metric_value, row.metadata)
        for row in frame.itertuples()
    ]


@pytest.fixture(params=SOURCES, ids=lambda one: "-".join(one[:2]) + one[2][-6:])
def source(request: pytest.FixtureRequest, make_database: Callable[[str], Any], tmp_path: Any) -> ForeignTable:
    """A table with all that an old one has: rows twice, blank metadata, no values, thumbs, another batch."""
    engine, kind, noon = request.param
    database = make_database(engine)
    create(database, kind, "old")
    insert(
        database,
        (noon, "sales", "orders", "metric", 1.0, ""),
        (noon, "sales", "orders", "metric", 2.0, ""),
        (noon, "sales", "orders", "score", 0.5, ""),
        (noon, "sales", "orders", "score", 0.7, '{"a": 1}'),
        (noon, "sales", "orders", "alert", 1.0, None),
        (noon, "sales", "o''brien ☕", "metric", 3.0, ""),
        (noon, "sales", "orders", "thumbsdown", 1.0, ""),
        (noon, "sales", "empty", "metric", None, ""),
        (noon, "sales", " ", "metric", 1.0, ""),
        (noon, "sales", None, "metric", 1.0, ""),
        (noon, "sales", "untyped", None, 1.0, ""),
        (None, "sales", "orders", "metric", 1.0, ""),
        (noon, "other", "orders", "metric", 9.0, ""),
        table="old",
    )
    return ForeignTable(database.hook(), "old")


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_are_copied_clean_once_and_nothing_of_them_again(
    source: ForeignTable, engine: str, make_database: Callable[[str], Any]
) -> None:
    target = MetricStore(make_database(engine).hook(), "metrics", "sales")
    assert source.batches() == {"sales": 12, "other": 1}
    done = copy_batch(source, "sales", target)
    assert done == Copied(copied=5, there=0, duplicates=2, empty=1, unnamed=4)
    assert rows_of(target) == [
        ("o'brien ☕", "metric", "2024-01-02 12:00:00", 3.0, None),
        ("orders", "alert", "2024-01-02 12:00:00", 1.0, None),
        ("orders", "metric", "2024-01-02 12:00:00", 2.0, None),
        ("orders", "score", "2024-01-02 12:00:00", 0.7, '{"a": 1}'),
        ("orders", "thumbsdown", "2024-01-02 12:00:00", 1.0, None),
    ]
    assert copy_batch(source, "sales", target) == Copied(copied=0, there=5, duplicates=2, empty=1, unnamed=4)


def test_what_the_target_has_is_not_replaced(make_database: Callable[[str], Any], frame: Any) -> None:
    old = make_database("sqlite")
    create(old, "TEXT")
    insert(old, *[(f"2024-01-0{day} 00:00:00", "sales", "m", "score", 0.1, "") for day in (1, 2, 3)])
    target = MetricStore(make_database("duckdb").hook(), "metrics", "sales")
    target.replace(frame([("m", "score", "2024-01-02", 0.9, '{"grain": "1d"}')]))
    done = copy_batch(ForeignTable(old.hook(), "metrics"), "sales", target)
    assert (done.copied, done.there) == (2, 1)
    assert [row[3] for row in rows_of(target)] == [0.1, 0.9, 0.1]


def test_a_value_without_end_is_left_out_and_its_neighbours_are_copied(make_database: Callable[[str], Any]) -> None:
    old = make_database("postgres")
    create(old, "TIMESTAMPTZ")
    values = [("'NaN'", "nan"), ("'Infinity'", "up"), ("'-Infinity'", "down"), ("1", "fine")]
    for value, name in values:
        old.run(f"INSERT INTO metrics VALUES ('2024-01-01', 'sales', '{name}', 'metric', {value}, '')")
    target = MetricStore(make_database("duckdb").hook(), "metrics", "sales")
    done = copy_batch(ForeignTable(old.hook(), "metrics"), "sales", target)
    assert (done.copied, done.empty) == (1, 3)
    assert [row[0] for row in rows_of(target)] == ["fine"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("page", [1, 2, 7, 1000])
def test_a_page_holds_as_many_rows_as_asked_or_one_time(
    engine: str, page: int, make_database: Callable[[str], Any]
) -> None:
    database = make_database(engine)
    create(database, "TEXT" if engine == "sqlite" else database.datetime)
    insert(
        database,
        *(
            (f"2024-01-{day:02} 00:00:00", "sales", f"m{number}", "metric", float(day), "")
            for day in range(1, 11)
            for number in range(3)
        ),
    )
    table = ForeignTable(database.hook(), "metrics")
    sizes = [len(rows) for _, _, rows in table.pages("sales", table.kinds("sales"), page)]
    assert sum(sizes) == 30
    assert max(sizes) <= max(page, 3)


def test_the_command_copies_each_batch_of_the_folder_into_its_own_table(
    tmp_path: Any, make_database: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    old = make_database("sqlite")
    create(old, "TEXT")
    insert(old, *[("2024-01-01 00:00:00", batch, "m", "metric", 1.0, "") for batch in ("a", "b", "gone")])
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "metrics.sqlite")}
    monkeypatch.setenv("AIRFLOW_CONN_OLD", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(tmp_path / "new.duckdb"))
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a", "b"):
        text = f"metric_batch: {name}\ntable_key: {name}_metrics\ningest_sql: select 1\n"
        (folder / f"{name}.yaml").write_text(text)
    assert main(["migrate", str(folder), "--table", "old/metrics"]) == 0
    nothing = "0 duplicates, 0 without a value, 0 without a name, kind or time"
    assert capsys.readouterr().out.splitlines() == [
        f"a: 1 copied, 0 there already, {nothing}",
        f"b: 1 copied, 0 there already, {nothing}",
        "left: 1 row of 'gone', which is no batch of the folder",
    ]
    assert main(["migrate", str(folder), "--table", "old/metrics", "--batch", "b"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"b: 0 copied, 1 there already, {nothing}"]
    assert main(["migrate", str(folder), "--table", "old/nothing"]) == 2
    assert "there is no table 'nothing'" in capsys.readouterr().err
