"""
Queries in DuckDB's dialect as they are sent to warehouses that are read from only, beside files that someone has read.

What a warehouse gets is not run here: that it can be read in its dialect, and that a release of sqlglot which says it
in another way is noticed, is all that these files show. They are what the sqlglot of constraints.txt says, so the suite
on the oldest versions leaves this folder out. ``UPDATE_GOLDEN=1`` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlglot

from anomstack_provider.store.dialects import DIALECTS
from anomstack_provider.store.source import in_dialect

FOLDER = Path(__file__).parent
QUERIES = sorted(path.name for path in (FOLDER / "duckdb").glob("*.sql"))
ENGINES = sorted({known.engine for known in DIALECTS.values() if not known.keeps_metrics})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_is_sent_as_its_file_says(engine: str, name: str) -> None:
    sent = in_dialect((FOLDER / "duckdb" / name).read_text("utf-8"), DIALECTS[engine], "duckdb")
    # Laid out for people: reading it in the engine's dialect is what shows that it is in it.
    (read,) = sqlglot.parse(sent, read=engine)
    assert read is not None
    text = read.sql(dialect=engine, pretty=True) + "\n"
    path = FOLDER / engine / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def test_each_engine_that_is_read_from_has_its_files() -> None:
    assert ENGINES == ["databricks", "redshift", "trino"]
    for engine in ENGINES:
        assert sorted(path.name for path in (FOLDER / engine).glob("*")) == QUERIES
