"""User SQL, as written, on every engine."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest

from anomstack_provider.store.errors import SourceError, StoreBusy
from anomstack_provider.store.file_lock import file_lock
from anomstack_provider.store.source import read_sql, run_sql


@pytest.fixture
def sales(database):
    database.run(
        f"CREATE TABLE sales (day {database.datetime}, shop TEXT, amount DOUBLE PRECISION)",
        "INSERT INTO sales VALUES ('2024-01-01 00:00:00', 'a;b', 1.5), ('2024-01-02 00:00:00', '50%', NULL)",
    )
    return database


@pytest.mark.parametrize(
    "ending", ["", ";", " ; ;\n", ";\n-- done; really", " /* ; */ ;", "\n-- a comment; with a semicolon\n"]
)
def test_the_statement_runs_as_it_was_written(sales, ending):
    sql = f"-- all; of them\nSELECT shop, amount, ';' AS mark FROM sales WHERE shop LIKE '%' ORDER BY shop DESC{ending}"
    found = read_sql(sales.hook(), sql)
    assert list(found.columns) == ["shop", "amount", "mark"]
    assert found["shop"].tolist() == ["a;b", "50%"]
    assert found["mark"].tolist() == [";", ";"]
    assert found["amount"].dtype == np.dtype("float64")
    assert found["amount"].isna().tolist() == [False, True]


def test_no_rows_still_have_columns(sales):
    found = read_sql(sales.hook(), "SELECT day AS metric_timestamp, shop, amount FROM sales WHERE 1 = 0")
    assert list(found.columns) == ["metric_timestamp", "shop", "amount"]
    assert len(found) == 0


def test_a_column_named_twice_is_not_lost(sales):
    assert list(read_sql(sales.hook(), "SELECT shop, amount, shop FROM sales").columns) == ["shop", "amount", "shop_1"]


def test_times_come_as_times_where_the_engine_has_them(sales):
    found = read_sql(sales.hook(), "SELECT day FROM sales ORDER BY day")
    if sales.engine == "sqlite":
        assert found["day"].tolist() == ["2024-01-01 00:00:00", "2024-01-02 00:00:00"]
    else:
        assert found["day"].tolist()[0].isoformat() == "2024-01-01T00:00:00"


def test_duckdb_dialect_is_translated_where_the_engine_refuses_it(sales):
    found = read_sql(
        sales.hook(),
        "SELECT get_current_timestamp() AS metric_timestamp, count(*) AS n, FROM sales WHERE amount IS NULL",
    )
    assert found["n"].tolist() == [1]
    assert found["metric_timestamp"].notna().all()


def test_decimals_come_as_floats(make_database):
    found = read_sql(make_database("postgres").hook(), "SELECT 1.25 AS a, NULL::numeric AS b UNION SELECT 2, 3")
    assert sorted(found["a"]) == [1.25, 2.0]
    assert found["a"].dtype == found["b"].dtype == np.dtype("float64")


def test_times_with_a_zone_come_in_utc(duckdb_file):
    found = read_sql(duckdb_file.hook(), "SELECT TIMESTAMPTZ '2024-06-01 12:00:00+02' AS t, NULL::TIMESTAMPTZ AS n")
    assert found["t"].dtype == np.dtype("datetime64[us]")
    assert found["t"][0].isoformat() == "2024-06-01T10:00:00"
    assert found["n"].isna().all()


def test_the_sql_cannot_reach_python_variables(duckdb_file):
    sql = duckdb_file.hook()
    with pytest.raises(SourceError, match="name sql does not exist"):
        read_sql(sql, "SELECT * FROM sql")


def test_a_failure_names_the_database_the_reason_and_the_statement(sales):
    with pytest.raises(SourceError) as caught:
        read_sql(sales.hook(), "SELECT nothing_like_it FROM sales;")
    message = str(caught.value)
    assert "SELECT nothing_like_it FROM sales" in message
    assert "nothing_like_it" in message.split("The SQL was:")[0]
    assert ("anomstack.duckdb" if sales.engine == "duckdb" else "store_") in message


@pytest.mark.parametrize("sql", ["", "  ", "-- nothing", ";"])
def test_no_statement_is_an_error(sales, sql):
    with pytest.raises(SourceError):
        read_sql(sales.hook(), sql)


def test_a_token_is_not_shown(duckdb_file):
    with pytest.raises(SourceError) as caught:
        read_sql(duckdb_file.hook(), "SELECT * FROM nowhere WHERE url = 'md:x?motherduck_token=abc.DEF-9'")
    assert "motherduck_token=***" in str(caught.value)
    assert "abc.DEF" not in str(caught.value)


def test_a_locked_file_is_waited_for_then_named(duckdb_file, hold):
    read_sql(duckdb_file.hook(), "SELECT 1 AS one")
    hold(1.0)
    with pytest.raises(StoreBusy, match=r"anomstack\.duckdb: still busy after 0\.2 s.*PID"):
        read_sql(duckdb_file.hook(), "SELECT 1 AS one", lock_wait=0.2)
    assert read_sql(duckdb_file.hook(), "SELECT 1 AS one")["one"].tolist() == [1]


def test_a_file_that_the_store_is_using_is_waited_for_then_named(duckdb_file):
    hook = duckdb_file.hook()
    with (
        file_lock(hook.get_database(), 1.0),
        pytest.raises(StoreBusy, match=rf"anomstack\.duckdb: still busy after 0\.1 s.*PID {os.getpid()}"),
    ):
        read_sql(hook, "SELECT 1 AS one", lock_wait=0.1)
    assert read_sql(hook, "SELECT 1 AS one")["one"].tolist() == [1]


def test_nothing_is_logged_of_the_rows(sales, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        read_sql(sales.hook(), "SELECT * FROM sales")
    assert "a;b" not in caplog.text + "".join(capfd.readouterr())


def test_a_statement_is_run_once_and_kept(sales):
    assert run_sql(sales.hook(), "DELETE FROM sales WHERE 1 = 0;") == 0
    before = len(read_sql(sales.hook(), "SELECT * FROM sales"))
    assert run_sql(sales.hook(), "DELETE FROM sales;  ") == before > 0
    assert read_sql(sales.hook(), "SELECT * FROM sales").empty


def test_a_statement_that_fails_changes_nothing(sales):
    before = len(read_sql(sales.hook(), "SELECT * FROM sales"))
    with pytest.raises(SourceError, match="no_such_table"):
        run_sql(sales.hook(), "DELETE FROM no_such_table")
    assert len(read_sql(sales.hook(), "SELECT * FROM sales")) == before


def test_a_delete_in_the_dialect_of_sqlite_is_understood_everywhere(database):
    """Anomstack's own, whatever its database is."""
    database.run(
        f"CREATE TABLE rows_kept (day {database.datetime}, what VARCHAR(9))",
        "INSERT INTO rows_kept VALUES ('2020-01-01 00:00:00', 'old')",
        "INSERT INTO rows_kept VALUES ('2999-01-01 00:00:00', 'new')",
    )
    delete = "delete from rows_kept -- old ones\nwhere what <> 'it''s' and date(day) < date('now', '-365 day')\n;\n"
    assert run_sql(database.hook(), delete) == 1
    assert database.run("SELECT what FROM rows_kept") == [("new",)]
    assert run_sql(database.hook(), delete) == 0
