"""Started by Airflow whenever an event opens on a metric of the batch "flights", to do something about it."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from anomstack_provider.assets import anomaly_opened

OPENED = anomaly_opened("flights")


@dag(schedule=[OPENED], tags=["anomstack", "example"])
def example_anomaly_response() -> None:
    """Each asset event carries the alerts of one run of the batch; several runs may have started this one."""

    @task
    def respond(triggering_asset_events: Any = None) -> list[str]:
        """Say which metrics are out of their range; a real response would look further, or repair."""
        lines = []
        for event in triggering_asset_events[OPENED]:
            for alert in event.extra["alerts"]:
                value, expected = alert["value"], alert["expected"]
                lines.append(f"[{alert['severity']}] {alert['metric_name']}: {value}, expected {expected}")
        print("\n".join(lines))
        return sorted(lines)

    respond()


example_anomaly_response()
