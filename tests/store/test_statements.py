"""The templates, their translation, and what is imported for them."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import pytest

from anomstack_provider.store.dialects import DIALECTS
from anomstack_provider.store.statements import template

NAMES = sorted(
    file.name.removesuffix(".sql")
    for file in resources.files("anomstack_provider.store").joinpath("sql").iterdir()
    if file.is_file()
)
OPTIONS = ["since", "newest", "metrics", "spare", "outcome", "later"]
HOLES = {"time": "CAST(metric_timestamp AS TIMESTAMP)", "metric_types": "$metric_type_0, $metric_type_1"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("engine", sorted(DIALECTS))
def test_every_template_has_a_spelling_in_every_engine(name, engine):
    for options in ([], OPTIONS):
        sql = DIALECTS[engine].translated(DIALECTS[engine].template(name, *options, **HOLES))
        assert ("{table}" in sql) == (name != "now")
        assert "--" not in sql
        assert sql.count("{") == sql.count("{table}")


def test_optional_lines_are_there_only_when_asked_for():
    plain, full = template("read", **HOLES), template("read", *OPTIONS, **HOLES)
    assert "$since" not in plain
    assert "$newest" not in plain
    assert "anomstack_wanted" not in plain
    assert "$since" in full
    assert "$newest" in full
    assert "anomstack_wanted" in full


def test_postgres_sorts_names_by_their_code_points_whatever_its_collation():
    sql = DIALECTS["postgres"].translated(DIALECTS["postgres"].template("read", **HOLES))
    assert 'ORDER BY metric_name COLLATE "C", metric_type COLLATE "C", metric_timestamp, row_order' in sql


def test_identifiers_are_quoted_part_by_part():
    assert DIALECTS["duckdb"].quoted('a"b.c') == '"a""b"."c"'


CHECK = """
import sys
{work}
loaded = sorted({names!r} & sys.modules.keys())
assert not loaded, loaded
"""


def check(work: str, *names: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK.format(work=work, names=set(names))], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_store_imports_neither_airflow_nor_a_database():
    modules = ["metric_store", "ledger", "source", "dialects", "rows"]
    work = "\n".join(f"import anomstack_provider.store.{module}" for module in modules)
    check(work, "airflow", "duckdb", "sqlglot", "sqlalchemy", "tenacity")


def test_duckdb_is_served_without_sqlglot(tmp_path):
    work = f"""
from datetime import UTC, datetime, timedelta
from anomstack_provider.store.hooks import open_hook
from anomstack_provider.store.ledger import DeliveryLedger
from anomstack_provider.store.metric_store import MetricStore
from anomstack_provider.store.source import read_sql
hook, now = open_hook(None, {str(tmp_path / "a.duckdb")!r}), datetime(2024, 1, 1, tzinfo=UTC)
store = MetricStore(hook, "metrics", "sales")
store.ensure_table()
store.read(["metric"], since=now, until=now, newest=3, metrics=["m"])
DeliveryLedger(hook, "metrics", "sales").claim("me", now, timedelta(minutes=1))
assert read_sql(hook, "SELECT 1 AS a, ;")["a"].tolist() == [1]
"""
    check(work, "sqlglot")
