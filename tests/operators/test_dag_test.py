"""Generated DAGs through ``dag.test()``: Airflow's own task runner, mapping, trigger rules, XComs, in one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from anomstack_provider.assets import anomaly_opened, metrics_updated
from tests.dag_fixtures import DAG_FILE, Query
from tests.llm_fixtures import Raw, names

pytestmark = pytest.mark.usefixtures("no_parsing_context")
BATCH = """
    metric_batch: {name}
    schedule: "@daily"
    train_cron_schedule: "@daily"
    start_date: 2024-01-01
    table_key: {name}_metrics
    shards: {shards}
    retries: 0
    ingest_sql: |
      {{% include "query.sql" %}}
    preprocess_params: {{diff_n: 0, smooth_n: 0, lags_n: 0}}
    model_configs: [{{model_name: KNN}}]
    alert_smooth_n: 0
    alert_snooze_n: 0
    alert_threshold: 0.99
    disable_change: true
    alert_methods: email
    email_to: team@example.com
"""
# Sixty days up to and with the day of the window; "calls" is far out on 5 March 2024.
QUERY = """
    SELECT day AS metric_timestamp, name AS metric_name,
        CASE WHEN name = 'calls' AND day = DATE '2024-03-05' THEN 900 ELSE 100 + dayofyear(day) % 5 END AS metric_value
    FROM generate_series(DATE '{{ ds }}' - 59, DATE '{{ ds }}', INTERVAL 1 DAY) AS days(day),
        (VALUES ('calls'), ('visits'), ('orders')) AS names(name)
    {% if metric_batch == "partly" %}
    UNION ALL SELECT DATE '{{ ds }}', 'endless', 'inf'::DOUBLE
    {% endif %}
"""


@pytest.fixture
def generated(dags_folder: Path, metrics_dir: Callable[..., str], database: Path) -> dict[str, Any]:
    """The DAGs of a folder with a batch that is fine and one with a bad metric, as parsed from a file."""
    folder = metrics_dir(
        query_sql=QUERY,
        fine_yaml=BATCH.format(name="fine", shards=1),
        partly_yaml=BATCH.format(name="partly", shards=2),
    )
    path = dags_folder / "anomstack_dags.py"
    path.write_text(DAG_FILE.format(folder), "utf-8")
    names: dict[str, Any] = {"__file__": str(path), "__name__": "anomstack_dags"}
    exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
    return {name: value for name, value in names.items() if isinstance(value, DAG)}


def ran(dag: DAG, logical_date: datetime | None) -> tuple[str, dict[tuple[str, int], str], dict[str, list[Any]]]:
    """Run a DAG; return the run's state, the tasks' states by id and map index, and what tasks left behind."""
    from airflow.settings import engine
    from sqlalchemy import text

    run = dag.test(logical_date=logical_date)
    where = {"dag": dag.dag_id, "run": run.run_id}
    with engine.connect() as connection:
        tasks = connection.execute(
            text("SELECT task_id, map_index, state FROM task_instance WHERE dag_id = :dag AND run_id = :run"), where
        ).fetchall()
        left = connection.execute(
            text(
                "SELECT task_id, value FROM xcom WHERE dag_id = :dag AND run_id = :run AND key = 'return_value' "
                "ORDER BY task_id, map_index"
            ),
            where,
        ).fetchall()
    summaries: dict[str, list[Any]] = {}
    for task_id, value in left:
        while isinstance(value, str):
            value = json.loads(value)
        summaries.setdefault(task_id, []).append(value)
    return str(run.state.value), {(task, index): state for task, index, state in tasks}, summaries


def test_a_run_in_which_all_is_well_is_green(generated, query: Query, mails: list[Any]) -> None:
    state, tasks, left = ran(generated["anomstack_fine"], datetime(2024, 3, 6, tzinfo=UTC))
    assert tasks == {
        ("ingest", -1): "success",
        ("train", -1): "success",
        ("score", -1): "success",
        ("alert", -1): "success",
        ("publish", -1): "success",
        ("plot", -1): "success",
        ("watch", -1): "skipped",
    }
    assert state == "success"
    assert left["ingest"][0]["outcomes"] == {"ingested": 3}
    assert left["alert"][0]["outcomes"] == {"alerted": 1, "evaluated": 2}
    assert len(mails) == 1
    assert query("SELECT metric_name FROM fine_metrics WHERE metric_type = 'alert'") == [("calls",)]


def test_airflow_has_one_asset_event_per_event_however_often_a_run_is_repeated(generated, mails: list[Any]) -> None:
    from airflow.settings import engine
    from sqlalchemy import text

    counted = []
    for _ in range(2):
        assert ran(generated["anomstack_fine"], datetime(2024, 3, 6, tzinfo=UTC))[0] == "success"
        with engine.connect() as connection:
            rows = connection.execute(
                text("SELECT uri, event.extra FROM asset_event AS event JOIN asset ON asset.id = event.asset_id")
            ).fetchall()
        opened = [json.loads(extra) for uri, extra in rows if uri == anomaly_opened("fine").uri]
        counted.append((len(opened), sum(uri == metrics_updated("fine").uri for uri, _ in rows)))
    (first, updates), (second, updates_then) = counted
    assert (first, second) == (1, 1)
    assert updates_then == updates + 1
    assert [alert["metric_name"] for alert in opened[0]["alerts"]] == ["calls"]


def test_one_bad_metric_turns_the_run_red_and_its_neighbours_are_alerted(
    generated, query: Query, mails: list[Any]
) -> None:
    state, tasks, left = ran(generated["anomstack_partly"], datetime(2024, 3, 6, tzinfo=UTC))
    assert tasks == {
        ("ingest", -1): "failed",
        ("train", 0): "success",
        ("train", 1): "success",
        ("score", 0): "success",
        ("score", 1): "success",
        ("alert", -1): "success",
        ("publish", -1): "success",
        ("plot", -1): "success",
        ("watch", -1): "failed",
    }
    assert state == "failed"
    assert left["ingest"][0]["outcomes"] == {"failed": 1, "ingested": 3}
    assert sum(summary["outcomes"]["scored"] for summary in left["score"]) == 3
    assert left["alert"][0]["sent"] == len(mails) == 1
    assert query("SELECT count(DISTINCT metric_name) FROM partly_metrics WHERE metric_type = 'score'") == [(3,)]


@pytest.mark.llm
def test_a_language_model_that_is_down_turns_the_run_red_and_keeps_no_alert_back(
    dags_folder: Path, metrics_dir: Callable[..., str], database: Path, query: Query, mails: list[Any], model_server
) -> None:
    batch = BATCH.format(name="told", shards=1) + "    disable_llmalert: false\n    llmalert_timeout: 30s\n"
    path = dags_folder / "anomstack_dags.py"
    path.write_text(DAG_FILE.format(metrics_dir(query_sql=QUERY, told_yaml=batch)), "utf-8")
    loaded: dict[str, Any] = {"__file__": str(path), "__name__": "anomstack_dags"}
    exec(compile(path.read_text("utf-8"), str(path), "exec"), loaded)
    model_server.usual = lambda asked: Raw(b"<html>down</html>", 503, retry_after="0.05")
    state, tasks, left = ran(loaded["anomstack_told"], datetime(2024, 3, 6, tzinfo=UTC))
    assert (state, tasks["llmalert", -1], tasks["alert", -1], tasks["watch", -1]) == (
        "failed",
        "failed",
        "success",
        "failed",
    )
    assert left["llmalert"][0]["outcomes"] == {"failed": 3}
    assert "503" in left["llmalert"][0]["not_evaluated"]["calls"]
    assert len(mails) == left["alert"][0]["sent"] == 1
    model_server.usual = lambda asked: names(*asked.may_name[-1:])
    state, tasks, left = ran(loaded["anomstack_told"], datetime(2024, 3, 6, tzinfo=UTC))
    assert (state, tasks["llmalert", -1]) == ("success", "success")
    # Six questions: what the model named in each of three metrics was checked.
    assert (left["llmalert"][0]["requests"], left["llmalert"][0]["input_tokens"]) == (6, 6000)
    # The event on calls is known; the two others are the model's own.
    assert (left["alert"][0]["sent"], len(mails)) == (2, 3)
    assert query("SELECT metric_name FROM told_metrics WHERE metric_type = 'llmalert' ORDER BY 1") == [
        ("orders",),
        ("visits",),
    ]


def test_a_run_without_a_logical_date_runs_as_of_the_last_midnight(generated, query: Query, mails: list[Any]) -> None:
    state, tasks, _ = ran(generated["anomstack_fine"], None)
    assert state == "success"
    assert tasks["publish", -1] == "skipped", "there is nothing to publish"
    newest = query("SELECT max(metric_timestamp) FROM fine_metrics WHERE metric_type = 'score'")[0][0]
    assert newest.time().isoformat() == "00:00:00"
    assert 1 <= (datetime.now(UTC).replace(tzinfo=None) - newest).total_seconds() / 86_400 < 2.1


def test_the_dags_of_the_folder_delete_and_check(generated, query: Query, mails: list[Any]) -> None:
    assert ran(generated["anomstack_fine"], datetime(2024, 3, 6, tzinfo=UTC))[0] == "success"
    before = query("SELECT count(*) FROM fine_metrics")[0][0]
    state, tasks, left = ran(generated["anomstack_delete_of_batches"], datetime(2024, 3, 6, tzinfo=UTC))
    assert (state, tasks) == ("success", {("fine", -1): "success", ("partly", -1): "success"})
    assert left["fine"][0]["rows"] == 0
    state, _, left = ran(generated["anomstack_delete_of_batches"], datetime(2034, 3, 6, tzinfo=UTC))
    assert left["fine"][0]["rows"] == before > 0
    assert query("SELECT count(*) FROM fine_metrics") == [(0,)]
    state, _, left = ran(generated["anomstack_check_of_batches"], datetime(2024, 3, 7, tzinfo=UTC))
    assert state == "success"
    (report,) = left["check"]
    assert (report["batches"], report["broken"]) == (2, {})
    assert report["warnings"]["fine"] == ["metrics table: there are no rows yet"]
