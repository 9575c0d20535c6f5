"""The rest of Airflow and a batch: a DAG that its anomalies start and one behind a gate, the examples that ship."""

from __future__ import annotations

import textwrap
from typing import Any
from urllib.parse import quote

import pytest

from anomstack_provider.assets import anomaly_opened, metrics_updated
from anomstack_provider.dag_factory import dag_id_part

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

NAME = "pulse / 🎉"
PULSE, RESPONSE, GATE = f"anomstack_{dag_id_part(NAME)}", "example_anomaly_response", "example_anomaly_gate"
BATCH = f"""
    metric_batch: {NAME}
    table_key: pulse_metrics
    schedule: "@daily"
    train_cron_schedule: "0 0 * * 1"
    start_date: 2024-01-01
    history_start: 2024-01-01
    disable_delete: true
    ingest_sql: |
      SELECT day AS metric_timestamp, 'orders' AS metric_name, orders AS metric_value
      FROM shop_orders
      WHERE shop = 'north' AND day >= '{{{{ data_interval_start }}}}'::TIMESTAMP
        AND day < '{{{{ data_interval_end }}}}'::TIMESTAMP
    preprocess_params: {{diff_n: 0, smooth_n: 0, lags_n: 0}}
    model_configs: [{{model_name: KNN}}]
    alert_smooth_n: 0
    alert_snooze_n: 0
    alert_threshold: 0.99
    disable_change: true
    freshness: "off"
    alert_methods: email
    email_to: team@example.com
    retries: 0
"""
# On 5 March 2024 four times as much was ordered as is usual. A run with this date owns that day.
DATE, BEFORE = "2024-03-06T12:00:00Z", "2024-02-20T12:00:00Z"


@pytest.fixture(scope="module")
def told(site) -> str:
    """The run of the batch that finds the anomaly, with the examples waiting for it."""
    from conftest import REPOSITORY

    dags = site.airflow.home / "dags"
    (dags / "metrics" / "pulse.yaml").write_text(textwrap.dedent(BATCH), "utf-8")
    for name in ("anomaly_response.py", "anomaly_gate.py"):
        text = (REPOSITORY / "example_dags" / name).read_text("utf-8")
        for ours, theirs in (('"flights"', repr(NAME)), ("departures_*", "ord*"), ("datetime(2026", "datetime(2024")):
            text = text.replace(ours, theirs)
        (dags / name).write_text(text, "utf-8")
    site.airflow.unpause(PULSE, RESPONSE)
    site.airflow.all_finished(PULSE, 1)
    run_id = site.airflow.trigger(PULSE, DATE)
    assert site.airflow.finished(PULSE, run_id)["state"] == "success", site.airflow.log(PULSE, run_id, "alert")
    return run_id


def events(site, uri: str) -> list[dict[str, Any]]:
    """All events of an asset, oldest first."""
    (asset,) = site.airflow.api("GET", "/assets", uri_pattern=uri, only_active="false")["assets"]
    found = site.airflow.api("GET", "/assets/events", asset_id=str(asset["id"]), order_by="timestamp")
    return found["asset_events"]


def test_an_anomaly_starts_the_dag_that_waits_for_it(site, told: str) -> None:
    (event,) = events(site, anomaly_opened(NAME).uri)
    assert event["source_run_id"] == told
    (alert,) = event["extra"]["alerts"]
    assert (alert["metric_name"], alert["value"]) == ("orders", 400.0)
    (run,) = site.airflow.all_finished(RESPONSE, 1)
    assert run["state"] == "success"
    lines = site.airflow.xcom(RESPONSE, run["dag_run_id"], "respond")
    assert [line.partition(", expected")[0] for line in lines] == ["[high] orders: 400.0"], lines


def test_a_cleared_task_tells_nothing_twice(site, told: str) -> None:
    site.airflow.all_finished(RESPONSE, 1)
    clear = {"dry_run": False, "dag_run_id": told, "task_ids": ["alert", "publish"], "only_failed": False}
    site.airflow.api("POST", f"/dags/{quote(PULSE)}/clearTaskInstances", clear)
    assert site.airflow.finished(PULSE, told)["state"] == "success"
    assert [site.airflow.task(PULSE, told, task)["try_number"] for task in ("alert", "publish")] == [2, 2]
    assert len(events(site, anomaly_opened(NAME).uri)) == 1
    assert len(site.airflow.runs(RESPONSE)) == 1


def test_an_update_carries_its_rows(site, told: str) -> None:
    updates = {event["source_run_id"]: event["extra"] for event in events(site, metrics_updated(NAME).uri)}
    assert updates[told]["rows"] == 1
    assert updates[told]["window_end"] == "2024-03-06T00:00:00+00:00"


def test_the_gate_is_shut_on_the_day_of_the_anomaly_and_open_before(site, told: str) -> None:
    site.airflow.unpause(GATE)
    for date, gate, publish, open_now in (
        (DATE, "skipped", "skipped", ["orders"]),
        (BEFORE, "success", "success", []),
    ):
        run_id = site.airflow.trigger(GATE, date)
        site.airflow.finished(GATE, run_id)
        states = [site.airflow.task(GATE, run_id, task)["state"] for task in ("gate", "publish")]
        assert states == [gate, publish], site.airflow.log(GATE, run_id, "gate")
        assert [event["metric_name"] for event in site.airflow.xcom(GATE, run_id, "gate")] == open_now
