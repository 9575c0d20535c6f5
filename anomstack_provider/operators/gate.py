"""Let a DAG go on only while a metric has no open event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from anomstack_provider.operators.base import AnomstackOperator
from anomstack_provider.runtime.airflow_compat import AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context

    from anomstack_provider.alerting.alert import Alert

Kind = Literal["anomaly", "threshold", "change", "llm", "late"]
Severity = Literal["low", "medium", "high"]
OnOpen = Literal["skip", "fail"]

_NAMED = 5


class AnomalyGate(AnomstackOperator):
    """
    Skip or fail when a metric of a batch has an open event as of the end of the run's window.

    The answer is worked out from the stored metrics as the alert task does it, whatever that task has done by then, and
    nothing is written or sent. Whatever is skipped behind the gate follows the trigger rules of those tasks. The open
    events are its XCom, each the JSON of an alert.

    :param metric_batch: the batch, with ``metrics_dir`` or ``config`` as for the other operators.
    :param metrics: names or globs (``orders_*``) of its metrics; templated. A name that the batch does not have fails.
    :param kinds: kinds of events that count: ``anomaly``, ``threshold``, ``change``, ``llm``, ``late``; all if None.
    :param severity: events of this severity and above count: ``low``, ``medium`` or ``high``.
    :param on_open: ``skip``, or ``fail`` for good: later tries would see the same moment.
    """

    template_fields: Sequence[str] = (*AnomstackOperator.template_fields, "metrics")
    ui_color = "#fdf1d8"

    def __init__(
        self,
        *,
        metrics: str | Sequence[str] = "*",
        kinds: Sequence[Kind] | None = None,
        severity: Severity = "low",
        on_open: OnOpen = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, allowed in (
            ("severity", severity, get_args(Severity)),
            ("on_open", on_open, get_args(OnOpen)),
            *(("kinds", kind, get_args(Kind)) for kind in kinds or ()),
        ):
            if value not in allowed:
                raise ValueError(f"task {self.task_id!r}: {name} is {value!r}, expected one of {', '.join(allowed)}")
        self.metrics = metrics
        self.kinds = kinds
        self.severity = severity
        self.on_open = on_open

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return an empty list, or skip or fail naming the events that are open."""
        from anomstack_provider.steps.gate import matches, open_events, unknown_metrics
        from anomstack_provider.wiring.batches import open_stores

        spec, stores = self.spec, open_stores(self.spec)
        metrics = [self.metrics] if isinstance(self.metrics, str) else list(self.metrics)
        as_of = self.window(context).as_of
        if unknown := unknown_metrics(metrics, as_of, stores.metrics):
            names = ", ".join(map(repr, unknown))
            raise AirflowFailException(f"batch {spec.metric_batch!r} has no metric {names} before {as_of.isoformat()}")
        found, result = open_events(spec, as_of, stores.metrics, stores.models)
        kinds = set(self.kinds or get_args(Kind))
        events = [event for event in found if matches(event, metrics, kinds, self.severity)]
        for name, reason in result.failed.items():
            self.log.warning("metric %r could not be judged: %s", name, reason)
        if not events:
            self.log.info("no event is open as of %s", as_of.isoformat())
            return []
        context["ti"].xcom_push("return_value", [event.to_dict() for event in events])
        message = f"{_count(events)} open in batch {spec.metric_batch!r} as of {as_of.isoformat()}: {_listed(events)}"
        self.log.warning("%s", message)
        raise AirflowFailException(message) if self.on_open == "fail" else AirflowSkipException(message)


def _count(events: Sequence[Alert]) -> str:
    return f"{len(events)} {'event is' if len(events) == 1 else 'events are'}"


def _listed(events: Sequence[Alert]) -> str:
    """Name the worst events first, and how many more there are."""
    order = {"high": 0, "medium": 1, "low": 2}
    worst = sorted(events, key=lambda event: order[event.severity])
    told = [
        f"{event.metric_name} ({event.severity} {event.kind}, {_since(event)}, event {event.event_id})"
        for event in worst[:_NAMED]
    ]
    return ", ".join(told) + (f" and {len(events) - _NAMED} more" if len(events) > _NAMED else "")


def _since(event: Alert) -> str:
    direction = "" if event.direction == "none" else f"{event.direction} "
    return f"{direction}since {(event.first_bucket or event.bucket).isoformat()}"
