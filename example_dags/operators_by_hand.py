"""A batch without a metrics folder: the operators in a DAG written by hand, with a task of its own behind them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import dag, task

from anomstack_provider import (
    AnomstackAlertOperator,
    AnomstackIngestOperator,
    AnomstackPublishOperator,
    AnomstackScoreOperator,
    AnomstackTrainOperator,
)

# The keys of a batch's YAML. Without a conn_id the built-in DuckDB file answers the query.
SIGNUPS = {
    "metric_batch": "example_signups",
    "schedule": "@daily",
    "train_cron_schedule": "@weekly",
    "grain": "1d",
    "history_start": "2026-01-01",
    "false_alarms_per_month": 0.25,
    # Made up: about 200 a day, and on one day in 97 a third of that. In yours, a table.
    "ingest_sql": """
        SELECT
            day AS metric_timestamp,
            'signups' AS metric_name,
            (180 + ('0x' || substr(md5(day::VARCHAR), 1, 4))::UINTEGER % 40)
                / CASE WHEN epoch(day)::BIGINT // 86400 % 97 = 90 THEN 3 ELSE 1 END AS metric_value
        FROM generate_series(
            '{{ data_interval_start }}'::TIMESTAMP, '{{ data_interval_end }}'::TIMESTAMP, INTERVAL 1 DAY
        ) AS days(day)
        WHERE day < '{{ data_interval_end }}'::TIMESTAMP
    """,
}


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"config": SIGNUPS},
    tags=["anomstack", "example"],
)
def example_operators_by_hand() -> None:
    """The train operator skips itself between the ticks of its cron; what comes behind it runs all the same."""
    ingest = AnomstackIngestOperator(task_id="ingest")
    train = AnomstackTrainOperator(task_id="train")
    score = AnomstackScoreOperator(task_id="score", trigger_rule="none_failed")
    alert = AnomstackAlertOperator(task_id="alert")
    publish = AnomstackPublishOperator(task_id="publish")

    @task
    def count(summary: dict[str, Any]) -> str:
        """What a step did is in its XCom, so any task can go on from it."""
        return f"{summary['outcomes'].get('alerted', 0)} metrics have a new alert"

    ingest >> train >> score >> alert >> publish
    count(alert.output)


example_operators_by_hand()
