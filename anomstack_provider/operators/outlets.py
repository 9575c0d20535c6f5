"""What the tasks of a batch tell the rest of Airflow: events of the assets in ``anomstack_provider.assets``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from anomstack_provider.assets import anomaly_alias, anomaly_closed, anomaly_opened, metrics_alias, metrics_updated
from anomstack_provider.runtime.airflow_compat import asset_events_since

if TYPE_CHECKING:
    from airflow.sdk import Context

    from anomstack_provider.alerting.alert import Alert
    from anomstack_provider.runtime.window import RunWindow

# Key of the XCom in which the alert task leaves what it found.
TRANSITIONS = "transitions"
# An event that has expired is silent until it is over, so this is the last that is told of it.
_ASSETS = {"opened": anomaly_opened, "closed": anomaly_closed, "expired": anomaly_closed}
_WHOLE = 100


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


def transitions_of(alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """
    Return what the alert task leaves in its XCom of the events that opened or are over, the worst first.

    The first hundred are whole; of the others, should everything break at once, only what tells them apart.
    """
    from anomstack_provider.alerting.rules import SEVERITIES

    found = [alert for alert in alerts if alert.transition in _ASSETS]
    found.sort(key=lambda alert: -SEVERITIES.index(alert.severity))
    return [alert.to_dict() if n < _WHOLE else _brief(alert) for n, alert in enumerate(found)]


def emit_transitions(context: Context, metric_batch: str, transitions: Sequence[Mapping[str, Any]]) -> int:
    """
    Update the assets of a batch's anomalies with what was not told before, and return how much that was.

    Airflow's own record of asset events, written together with the success of a task, says what was emitted before.
    One event carries all: of several events of one task a DAG that waits would get the first alone.
    """
    if not transitions:
        return 0
    # No event was emitted before its bucket began.
    oldest = min(datetime.fromisoformat(told["bucket"]) for told in transitions)
    recorded = asset_events_since(context, 0, oldest)
    known = {_key(told) for event in recorded for told in event.extra.get("alerts", ())}
    news = [told for told in transitions if _key(told) not in known]
    for asset in dict.fromkeys(_ASSETS.values()):
        if mine := [told for told in news if _ASSETS[told["transition"]] is asset]:
            extra: dict[str, Any] = {"metric_batch": metric_batch, "alerts": mine}
            context["outlet_events"][anomaly_alias(metric_batch)].add(asset(metric_batch), extra=extra)
    return len(news)


def _key(told: Mapping[str, Any]) -> tuple[str, str]:
    return told["event_id"], told["transition"]


def _brief(alert: Alert) -> dict[str, Any]:
    whole = alert.to_dict()
    return {key: whole[key] for key in ("event_id", "transition", "metric_name", "severity", "bucket")}
