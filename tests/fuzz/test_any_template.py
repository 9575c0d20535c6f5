"""Any text as a template, as SQL and as a name: an answer or this package's own error; nothing outside is touched."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlglot.errors import SqlglotError

from anomstack_provider.config.errors import TemplateError
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.config.templating import render
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.store.dialects import DIALECTS
from anomstack_provider.store.errors import SourceError, StoreError
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore
from anomstack_provider.store.source import _without_semicolon, in_dialect, read_sql
from anomstack_provider.wiring.templates import template_context

SPEC = BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "select 1", "schedule": "@daily"})
NAMES = template_context(SPEC, RunWindow(datetime(2024, 3, 5, tzinfo=UTC), datetime(2024, 3, 6, tzinfo=UTC)))
PIECES = [
    "{{ ", " }}", "{% ", " %}", "{# ", " #}", "{{ ds }}", "{{ as_of }}", "{% if ds %}", "{% endif %}",
    "{% for x in [1] %}", "{% endfor %}", "{% raw %}", "{% include 'x.sql' %}", "{% include '../up' %}",
    "{% import ds as y %}", "nope", "ds", ".__class__", ".__globals__", "|attr('x')", "()", "[0]",
    "| join(',')", "1/0", "range(9)", "metric_batch", "'", '"', "%", "select 1", "SELECT", " FROM ", "metrics",
    " WHERE ", "1 = 1", ";", "--", "/*", "*/", "$x", "$$", ":x", "?", "%s", "%(x)s", "(", ")", ",", "NULL",
    "date('now', '-30 day')", "get_current_timestamp()", "::TIMESTAMP", "INTERVAL 1 DAY", "\n", "\0", "CASE",
    "END", "WITH a AS (", "UNION ALL", "GROUP BY ALL", "[1, 2]", "{'a': 1}", "`x`", "🙂", "e'\\n'", "LIMIT 5",
    "AS x",
]  # fmt: skip
SQL = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=9).map(" ".join)


@settings(max_examples=300)
@given(SQL)
@example("{{ ''.__class__.__mro__ }}")
@example("{% for a in range(999999999) %}x{% endfor %}")
@example("{{ " + "(" * 500 + " }}")
@example("{{ " + "-" * 5000 + "1 }}")
@example("{% set x = 'a' * 99 %}{{ x.format_map(x) }}")
def test_any_template_is_rendered_or_an_error_with_its_key(text: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory, "metrics")
        folder.mkdir()
        (Path(directory) / "up").write_text("from outside")
        try:
            found = render(text, NAMES, folder, where="a.yaml:2: ingest_sql")
        except TemplateError as error:
            found = str(error).removeprefix("a.yaml:2: ingest_sql: ")
            assert found != str(error)  # noqa: PT017  which of the two it is, is not known
        assert "from outside" not in found


ENGINES = sorted(set(DIALECTS) - {"postgresql"})


@settings(max_examples=100)
@given(SQL)
@example("SELECT " + "(" * 3000 + "1" + ")" * 3000)
@example("SELECT 1" + " + 1" * 5000)
@example("SELECT CASE")
@example("DATE(")
@example("SELECT date('now', '-9 day', 'x')")
@example("SELECT 1; DROP TABLE metrics;")
@example("'" * 999)
@example("$" * 99)
def test_any_sql_is_translated_or_refused_as_no_sql(text: str) -> None:
    for name in ENGINES:
        assert isinstance(_without_semicolon(text, DIALECTS[name]), str)
        for written_in in ("duckdb", "sqlite"):
            with suppress(SqlglotError):
                assert isinstance(in_dialect(text, DIALECTS[name], written_in), str)


@settings(max_examples=60)
@given(SQL)
@example("SELECT " + "(" * 3000 + "1" + ")" * 3000)
@example("\ud800")
@example("")
def test_any_sql_is_answered_or_refused_with_its_text(text: str) -> None:
    # Whatever else it raises fails this test.
    with tempfile.TemporaryDirectory() as directory, suppress(SourceError, StoreError):
        assert isinstance(read_sql(EmbeddedDuckDBHook(Path(directory, "x.duckdb")), text), pd.DataFrame)


NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
HOSTILE = st.sampled_from(
    ["'", '"', ";--", "$1", "%s", "%(a)s", "{table}", "{time}", "\\", "\t", "\n", "\r", r"\N", "\x00", "\x1a"]
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(batch=NAME | HOSTILE, names=st.sets(NAME | HOSTILE, min_size=1, max_size=5), text=NAME | HOSTILE)
@pytest.mark.parametrize("engine", ["duckdb", "sqlite"])
def test_any_name_is_only_a_name(engine: str, batch: str, names: set[str], text: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        hook = _hook(engine, directory)
        other = MetricStore(hook, "metrics", "another batch \x01")
        mine = MetricStore(hook, "metrics", batch)
        rows = _frame(sorted(names), text)
        other.replace(rows)
        mine.replace(rows)
        mine.replace(rows.assign(metric_value=2.5))
        found = mine.read(["metric"], since=None, until=datetime(2100, 1, 1, tzinfo=UTC))
        assert found["metric_name"].tolist() == sorted(names)
        assert found["metric_value"].unique().tolist() == [2.5]
        assert found["metadata"].unique().tolist() == [text]
        mine.delete_before(datetime(2100, 1, 1, tzinfo=UTC))
        kept = other.read(["metric"], since=None, until=datetime(2100, 1, 1, tzinfo=UTC))
        assert kept["metric_value"].tolist() == [1.5] * len(names)


def _hook(engine: str, directory: str) -> Any:
    if engine == "duckdb":
        return EmbeddedDuckDBHook(Path(directory, "x.duckdb"))
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook
    from airflow.sdk import Connection

    hook = SqliteHook()
    hook.get_connection = lambda conn_id: Connection(  # type: ignore[method-assign]
        conn_id=conn_id, conn_type="sqlite", host=str(Path(directory, "x.sqlite"))
    )
    return hook


def _frame(names: list[str], text: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "metric_name": pd.Series(names, dtype=object),
            "metric_type": pd.Series(["metric"] * len(names), dtype=object),
            "metric_timestamp": np.array(["2024-01-01"] * len(names), dtype="datetime64[us]"),
            "metric_value": 1.5,
            "metadata": pd.Series([text] * len(names), dtype=object),
        }
    )
