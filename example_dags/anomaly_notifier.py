"""Alerts through a notifier class of Airflow: here that for mail, in the same way PagerDuty's, Discord's or yours."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import dag

from anomstack_provider import (
    AnomstackAlertOperator,
    AnomstackIngestOperator,
    AnomstackScoreOperator,
    AnomstackTrainOperator,
)

STOCK = {
    "metric_batch": "example_stock",
    "schedule": "@daily",
    "grain": "1d",
    "history_start": "2026-01-01",
    "false_alarms_per_month": 0.25,
    # Made up: about 500 a day, and on one day in 97 half of that. In yours, a table.
    "ingest_sql": """
        SELECT
            day AS metric_timestamp,
            'in_stock' AS metric_name,
            (480 + ('0x' || substr(md5('stock' || day::VARCHAR), 1, 4))::UINTEGER % 40)
                / CASE WHEN epoch(day)::BIGINT // 86400 % 97 = 92 THEN 2 ELSE 1 END AS metric_value
        FROM generate_series(
            '{{ data_interval_start }}'::TIMESTAMP, '{{ data_interval_end }}'::TIMESTAMP, INTERVAL 1 DAY
        ) AS days(day)
        WHERE day < '{{ data_interval_end }}'::TIMESTAMP
    """,
    # The same two keys in a batch's YAML. Texts in args are templates over the event that is told.
    "alert_methods": "warehouse_team",
    "notifiers": [
        {
            "name": "warehouse_team",
            "class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
            "args": {
                "smtp_conn_id": "smtp_default",
                "from_email": "airflow@example.com",
                "to": "warehouse@example.com",
                "subject": "{{ event.severity }}: {{ event.metric_name }} at {{ event.value }}",
                "html_content": "{{ html }}",
            },
        }
    ],
}


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"config": STOCK},
    tags=["anomstack", "example"],
)
def example_anomaly_notifier() -> None:
    """The alert task fails while the notifier raises, and the next run sends what is owed."""
    ingest = AnomstackIngestOperator(task_id="ingest")
    train = AnomstackTrainOperator(task_id="train")
    score = AnomstackScoreOperator(task_id="score", trigger_rule="none_failed")
    alert = AnomstackAlertOperator(task_id="alert")
    ingest >> train >> score >> alert


example_anomaly_notifier()
