"""A read takes memory for the range that it reads, whatever else the table holds; a process each, measured."""

from __future__ import annotations

import pytest

from benchmarks.range_reads import fill, measured

ROWS, MORE = 100_000, 1_000_000


@pytest.mark.system
@pytest.mark.timeout(300)
def test_a_range_of_a_large_table_takes_no_more_memory_than_of_a_small_one(database):
    conn_id = database.conn_id or ""
    path = "" if database.conn_id else str(database.hook().path)
    for table, rows in (("small", ROWS), ("large", MORE)):
        fill(database.hook(), rows, table)
    small, large = (
        measured(conn_id, path, "100 hours", rows, table) for table, rows in (("small", ROWS), ("large", MORE))
    )
    assert (small["rows"], large["rows"]) == (100_000, 100_000)
    assert large["mb"] < small["mb"] + 40  # ten times as many rows as tuples are 200 MB and more
