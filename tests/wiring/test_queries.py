"""A batch's own query as a task asks it: includes from its folder, the names of a run, nothing of the run that asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.config.errors import TemplateError
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.store.errors import SourceError
from anomstack_provider.wiring.batches import inline_spec, load_spec, open_stores
from anomstack_provider.wiring.templates import render_key, window_names

AS_OF = datetime(2024, 3, 6, tzinfo=UTC)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The row that a query in a batch's folder gives as of 6 March, of a daily batch."""
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(tmp_path / "anomstack.duckdb"))

    def asked(sql: str, **files: str) -> dict[str, Any]:
        folder = tmp_path / "metrics"
        folder.mkdir(exist_ok=True)
        (folder / "own.sql").write_text(files.get("own", ""))
        text = "\n".join(f"  {line}" for line in sql.splitlines())
        keys = "ingest_sql: select 1\nschedule: '@daily'\ntimezone: Europe/Berlin\nscore_exclude_metrics: [\"'a b'\"]"
        (folder / "b.yaml").write_text(f"metric_batch: b\n{keys}\ntrain_sql: |\n{text}\n")
        rows = open_stores(load_spec("b", str(folder))).metrics.query("train_sql", AS_OF)
        return dict(rows.iloc[0])

    return asked


def test_names_are_those_of_the_run_that_ends_then(ask: Callable[..., dict[str, Any]]) -> None:
    names = ["as_of", "data_interval_end", "data_interval_start", "ds", "metric_batch", "train_min_n"]
    found = ask("select " + ", ".join(f"'{{{{ {name} }}}}' as \"{name}\"" for name in names))
    assert found == {
        "as_of": "2024-03-06 00:00:00+00:00",
        "data_interval_end": "2024-03-06 00:00:00+00:00",
        "data_interval_start": "2024-03-05 23:00:00+00:00",  # midnight in Berlin
        "ds": "2024-03-05",
        "metric_batch": "b",
        "train_min_n": "14",
    }


def test_airflow_s_macros_are_there_and_nothing_of_a_run(ask: Callable[..., dict[str, Any]]) -> None:
    assert ask("select '{{ macros.ds_add(ds, 7) }}' as x") == {"x": "2024-03-12"}
    for name in ("params", "dag_run", "var", "conn"):
        with pytest.raises(TemplateError, match=f"b: train_sql: line 1 of the value: '{name}' is undefined"):
            ask(f"select '{{{{ {name}.x }}}}'")


def test_includes_are_found_in_the_folder(ask: Callable[..., dict[str, Any]]) -> None:
    own = (
        "select '{{ ds }}' as x, {{ ','.join(score_exclude_metrics) }} as y{% if alert_sql is defined %}, 1{% endif %}"
    )
    assert ask("{% include './own.sql' %};", own=own) == {"x": "2024-03-05", "y": "a b"}


def test_what_the_database_refuses_names_batch_and_key(ask: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(SourceError, match=r"(?s)b: train_sql: .*no_such_table.*The SQL was:"):
        ask("select * from no_such_table")


@pytest.mark.parametrize("key", ["plot_sql", "summary_sql", "delete_sql", "llmalert_sql", "prompt_fn", "alert_sql"])
def test_every_key_sees_the_same_names(tmp_path: Path, key: str) -> None:
    text = "{{ ds }} {{ alert_methods }}{% if alert_exclude_metrics is defined %} not in ({% endif %}"
    text += "{% if gcp_project_id %} in {{ gcp_project_id }}{% endif %}"
    text += "{% if score_exclude_metrics is defined %} {{ ','.join(score_exclude_metrics) }}{% endif %}"
    keys = {"score_exclude_metrics": ["'a b'"], "alert_methods": "email,slack", key: text}
    spec = inline_spec({"metric_batch": "b", "ingest_sql": "select 1", **keys}, str(tmp_path))
    window = RunWindow(datetime(2024, 3, 5, tzinfo=UTC), AS_OF)
    said = render_key(spec, key, text, window, {}, str(tmp_path))
    assert {said, spec.render(key, window_names(window))} == {"2024-03-05 email,slack 'a b'"}
