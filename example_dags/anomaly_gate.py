"""Publishes a report only on days on which no metric that it shows has an open event."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import dag, task

from anomstack_provider import AnomalyGate


@dag(schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False, tags=["anomstack", "example"])
def example_anomaly_gate() -> None:
    """The gate looks at the end of the run's own interval, so a run of an old day is decided as it was then."""
    gate = AnomalyGate(
        task_id="gate",
        metric_batch="flights",  # of the folder that [anomstack] metrics_dir names
        metrics="departures_*",
        severity="medium",
    )

    @task
    def publish() -> str:
        """Skipped with the gate."""
        return "published"

    gate >> publish()


example_anomaly_gate()
