"""What MySQL and MariaDB alone have: two drivers, collations, the length of a key, a database to name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from anomstack_provider.store.errors import RowsRefused, StoreError
from anomstack_provider.store.metric_store import MetricStore

LATE = datetime(2100, 1, 1, tzinfo=UTC)
AT = datetime(2024, 1, 1)


@pytest.fixture
def mysql(make_database):
    return make_database("mysql")


@pytest.mark.parametrize("encoding", ["utf8mb4 COLLATE utf8mb4_general_ci", "latin1 COLLATE latin1_swedish_ci"])
def test_names_of_a_table_that_ignores_case_are_told_apart(mysql, frame, encoding):
    mysql.run(
        "CREATE TABLE metrics (metric_timestamp DATETIME, metric_batch VARCHAR(50), metric_name VARCHAR(50), "
        f"metric_type VARCHAR(50), metric_value DOUBLE, metadata TEXT) DEFAULT CHARSET {encoding}",
        *(
            f"INSERT INTO metrics VALUES ('2024-01-01', '{batch}', '{name}', 'metric', {value}, '')"
            for value, (batch, name) in enumerate(
                [("sales", "a"), ("Sales", "a"), ("sales", "A"), ("sales", "\u00e4"), ("sales ", "a")]
            )
        ),
    )
    store = MetricStore(mysql.hook(), "metrics", "sales")

    def rows():
        read = store.read(["metric"], since=None, until=LATE)
        return list(zip(read["metric_name"], read["metric_value"], strict=True))

    assert rows() == [("A", 2.0), ("a", 0.0), ("\u00e4", 3.0)]
    assert store.metric_names("metric", since=None, until=LATE) == ["A", "a", "\u00e4"]
    assert len(store.read(["metric"], since=None, until=LATE, newest=1)) == 3
    assert store.read(["metric"], since=None, until=LATE, metrics=["a"])["metric_value"].tolist() == [0.0]
    store.replace(frame([("a", "metric", AT, 9.0)]))
    assert rows() == [("A", 2.0), ("a", 9.0), ("\u00e4", 3.0)]
    assert store.delete_before(LATE) == 3
    assert mysql.run("SELECT COUNT(*) FROM metrics") == [(2,)]


def test_the_longest_key_fits_and_a_longer_one_is_refused_with_its_name(mysql, frame):
    store = MetricStore(mysql.hook(), "metrics", "\U0001f4c8" * 200)
    longest = ("\U0001f4c8" * 500, "t" * 60)
    store.replace(frame([(*longest, AT, 1.0)]))
    assert store.read([longest[1]], since=None, until=LATE)["metric_name"].tolist() == [longest[0]]
    with pytest.raises(RowsRefused, match=r"metric_name 'x{501}' has 501 characters: .* room for 500"):
        store.replace(frame([("x" * 501, "metric", AT, 1.0)]))
    with pytest.raises(RowsRefused, match=r"metric_type 't{61}' has 61 characters: .* room for 60"):
        store.replace(frame([("m", "t" * 61, AT, 1.0)]))


def test_a_connection_without_a_database_is_refused(mariadb_socket, make_connection):
    login = {"conn_type": "mysql", "login": "root", "host": "localhost", "extra": {"unix_socket": mariadb_socket}}
    with pytest.raises(StoreError, match="names no database: set the schema of the connection"):
        MetricStore(make_connection(login)(), "metrics", "sales")
    hook = make_connection({**login, "schema": "nowhere_at_all"})()
    with pytest.raises(StoreError, match="nowhere_at_all"):
        MetricStore(hook, "metrics", "sales").ensure_table()
