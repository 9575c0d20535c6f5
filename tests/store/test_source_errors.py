"""What a person is told of SQL that a database refuses: statement, dialects that were tried, and where it fails."""

from __future__ import annotations

import pytest

from anomstack_provider.store.errors import SourceError
from anomstack_provider.store.position import Position, at_index, of_text
from anomstack_provider.store.source import read_sql, run_sql

BROKEN = "SELECT 1 AS a,\n  2 AS b\n  FROM somewhere somehow nowhere\n"
UNKNOWN = "SELECT count(*) AS n,\nFROM no_such_table_here"  # a comma too many, which DuckDB alone allows


def refusal(database, sql, run=read_sql):
    with pytest.raises(SourceError) as caught:
        run(database.hook(), sql)
    return str(caught.value)


def test_a_syntax_error_is_shown_with_its_place(database):
    message = refusal(database, BROKEN)
    first = message.splitlines()[0]
    assert f"refused the SQL in the dialect of {database.engine} at line 3, column 26: " in first
    assert f"The SQL was:\n{BROKEN.strip()}" in message


def test_a_text_of_no_dialect_says_so_with_the_place_in_duckdbs_dialect_too(database):
    message = refusal(database, BROKEN)
    if database.engine == "duckdb":
        assert "Nor is it" not in message
    else:
        assert "Nor is it in the dialect of duckdb: " in message
        assert "at line 3, column 26" in message.split("Nor is it")[1]


def test_the_translation_that_was_tried_is_shown_with_its_own_reason(database):
    message = refusal(database, UNKNOWN)
    assert f"The SQL was:\n{UNKNOWN}" in message
    if database.engine == "duckdb":
        assert "Taken as" not in message
        return
    native, translated = message.split("Taken as SQL in the dialect of duckdb it was refused too")
    assert f"in the dialect of {database.engine} at line " in native
    assert "no_such_table_here" in translated.split("Translated it was:")[0]
    assert "Translated it was:\nSELECT COUNT(*) AS n FROM no_such_table_here" in translated


def test_a_name_that_is_not_there_is_placed_where_the_engine_places_it(database):
    message = refusal(database, "SELECT\n  nothing_like_it AS a")
    told = {"duckdb": " at line 2, column 3", "postgres": " at line 2, column 3", "mysql": "", "sqlite": ""}
    assert f"in the dialect of {database.engine}{told[database.engine]}: " in message.splitlines()[0]


def test_a_statement_without_rows_names_each_dialect_that_was_tried(database):
    message = refusal(database, "DELETE FRM sales", run_sql)
    tried = {"duckdb", "sqlite"} - {database.engine}
    for dialect in tried:
        assert f"in the dialect of {dialect}" in message.split("The SQL was:")[1]


def test_places_are_counted_from_one():
    sql = "ab\ncd cd\n cd"
    assert at_index(sql, 0) == Position(1, 1)
    assert at_index(sql, 3) == Position(2, 1)
    assert at_index(sql, 10) == Position(3, 2)
    assert of_text(sql, "ab") == Position(1, 1)
    assert of_text(sql, "cd") is None  # which of them is not known
    assert of_text(sql, "cd", 3) == Position(3, 2)
    assert of_text(sql, "") is None
    assert [str(Position(3)), str(Position(3, 2))] == ["line 3", "line 3, column 2"]
