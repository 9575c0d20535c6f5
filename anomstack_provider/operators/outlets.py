"""What the tasks of a batch tell the rest of Airflow: events of the assets in ``anomstack_provider.assets``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anomstack_provider.assets import anomaly_alias, anomaly_closed, anomaly_opened, metrics_alias, metrics_updated
from anomstack_provider.runtime.airflow_compat import asset_events_since

if TYPE_CHECKING:
    from airflow.sdk import Context

    from anomstack_provider.alerting.alert import Alert
    from anomstack_provider.runtime.window import RunWindow

# An event that has expired is silent until it is over, so this is the last that is told of it.
_ASSETS = {"opened": anomaly_opened, "closed": anomaly_closed, "expired": anomaly_closed}


def batch_name(metric_batch: str | None, config: Mapping[str, Any] | None) -> str | None:
    """Return the name of an operator's batch; None where its config gives none, which the task will say."""
    name = metric_batch if config is None else config.get("metric_batch")
    return None if name is None else str(name)


def emit_update(context: Context, metric_batch: str, window: RunWindow, rows: int) -> None:
    """Update the asset of a batch's metrics, if rows were written."""
    if rows:
        extra: dict[str, Any] = {
            "metric_batch": metric_batch,
            "window_start": window.start.isoformat(),
            "window_end": window.end.isoformat(),
            "rows": rows,
        }
        context["outlet_events"][metrics_alias(metric_batch)].add(metrics_updated(metric_batch), extra=extra)


def emit_transitions(context: Context, metric_batch: str, alerts: Sequence[Alert]) -> int:
    """
    Update the assets of a batch's anomalies once for every event that opened or is over, and return how often.

    Airflow's own record of asset events, written together with the success of a task, says what was emitted before.
    """
    found = [alert for alert in alerts if alert.transition in _ASSETS]
    if not found:
        return 0
    alias = anomaly_alias(metric_batch)
    # No event was emitted before its bucket began.
    recorded = asset_events_since(context, alias, min(alert.bucket for alert in found))
    known = {(event.extra.get("event_id"), event.extra.get("transition")) for event in recorded}
    new = [alert for alert in found if (alert.event_id, alert.transition) not in known]
    for alert in new:
        context["outlet_events"][alias].add(_ASSETS[alert.transition](metric_batch), extra=alert.to_dict())
    return len(new)
