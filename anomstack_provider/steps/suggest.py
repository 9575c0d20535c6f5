"""A setting for metrics that raised false alarms, with what it would have changed, found by preview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.feedback import Verdicts
from anomstack_provider.runtime.ticks import tick_at_or_before
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.feedback import precision
from anomstack_provider.steps.groups import SomeMetrics
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.preview import preview

DAYS = 30
FALSE_ALARMS = 3


@dataclass(frozen=True)
class Suggestion:
    """
    Another value of a config key, since a metric raised false alarms.

    :param false_alarms: how many were given in the last 30 days.
    :param alerts_now: how many events would have opened in the last 30 days with the present value.
    :param alerts_then: how many with the suggested one.
    """

    metric_name: str
    false_alarms: int
    key: str
    present: float
    suggested: float
    alerts_now: int
    alerts_then: int


def suggestions(
    spec: BatchSpec, store: MetricRows, verdicts: Mapping[str, Verdicts], now: datetime
) -> list[Suggestion]:
    """Return a setting for each metric with three false alarms in the last 30 days."""
    end = tick_at_or_before(spec.cron, spec.timezone, now)
    window = RunWindow(end - timedelta(days=DAYS), end)
    key, present, suggested = _setting(spec)
    found = []
    for name, judged in precision(verdicts, now, DAYS).items():
        if judged.false_alarms >= FALSE_ALARMS:
            # With the metrics that its gates look at.
            some = SomeMetrics(store, frozenset({name} | spec.gates(name).references))
            alerts_now, alerts_then = (
                _opened(spec.model_copy(update={key: value}), window, some, name) for value in (present, suggested)
            )
            found.append(Suggestion(name, judged.false_alarms, key, present, suggested, alerts_now, alerts_then))
    return found


def _setting(spec: BatchSpec) -> tuple[str, float, float]:
    """Return the key that decides how much alerts, its value and a stricter one."""
    if spec.alert_threshold is not None:
        return "alert_threshold", spec.alert_threshold, round((1 + spec.alert_threshold) / 2, 4)
    return "false_alarms_per_month", spec.false_alarms_per_month, spec.false_alarms_per_month / 2


def _opened(spec: BatchSpec, window: RunWindow, store: MetricRows, metric_name: str) -> int:
    return sum(alert.metric_name == metric_name for alert in preview(spec, window, store).opened)
