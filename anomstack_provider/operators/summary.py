"""Tell a destination what happened to its batches in the last day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk import BaseOperator

from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.wiring.batches import load_spec, open_stores

if TYPE_CHECKING:
    import pandas as pd
    from airflow.sdk import Context

    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.steps.summary import BatchSummary


class AnomstackSummaryOperator(BaseOperator):
    """
    Send one summary of some batches by a channel that they share: counts, alerts, and what was not evaluated.

    A batch that cannot be read is told in the summary and does not stop the others.

    :param batches: their names, at least one; the first one's channel is used.
    :param method: the channel as in ``alert_methods``.
    :param metrics_dir: the folder that holds them.
    :param cron: schedule of the DAG, for runs without an interval; on the clock of ``timezone``.
    """

    ui_color = "#e6f1ee"

    def __init__(
        self,
        *,
        batches: Sequence[str],
        method: str,
        metrics_dir: str,
        cron: str,
        timezone: str = "UTC",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batches = list(batches)
        self.method = method
        self.metrics_dir = metrics_dir
        self.cron = cron
        self.timezone = timezone

    def execute(self, context: Context) -> dict[str, int]:
        """Send the summary and return its counts."""
        from anomstack_provider.delivery.channels import DeliveryError, Unconfigured, open_channels
        from anomstack_provider.delivery.summary import compose_summary
        from anomstack_provider.steps.summary import worst_first

        window = RunWindow.from_context(context, self.cron, self.timezone)
        specs: list[BatchSpec] = []
        found = worst_first([self._summary(name, window, context, specs) for name in self.batches])
        if not specs:
            raise AirflowException("\n".join(f"{one.metric_batch}: {one.problem}" for one in found))
        channel = open_channels(specs[0], context=dict(context))[self.method]
        if isinstance(channel, Unconfigured):
            raise AirflowException(f"{self.method} has no destination: set {channel.key}")
        message = compose_summary(found, repr(channel), self.timezone, {})
        try:
            channel.send(message, None, "")
        except DeliveryError as error:
            raise AirflowException(str(error)) from None
        self.log.info("%s", message.text)
        return {
            "batches": len(found),
            "alerts": sum(one.total("alerts") for one in found),
            "not_evaluated": sum(len(one.not_evaluated) for one in found),
            "unreadable": sum(bool(one.problem) for one in found),
        }

    def _summary(self, name: str, window: RunWindow, context: Context, specs: list[BatchSpec]) -> BatchSummary:
        """Return the summary of one batch; its spec, if that can be read, is added to ``specs``."""
        from anomstack_provider.steps.summary import BatchSummary, summarise

        try:
            specs.append(spec := load_spec(name, self.metrics_dir))
            counts = self._counts(spec, window, context) if spec.override("summary_sql") else None
            return summarise(spec, window.as_of, open_stores(spec).metrics, counts)
        except Exception as error:  # one batch never stops its neighbours
            self.log.exception("batch %r cannot be read", name)
            problem = f"could not be read, see the task's log: {type(error).__name__}"
            return BatchSummary(name, window.as_of, problem=problem)

    def _counts(self, spec: BatchSpec, window: RunWindow, context: Context) -> pd.DataFrame:
        from anomstack_provider.wiring.fetch import fetch_stored
        from anomstack_provider.wiring.templates import render_key

        text = spec.override("summary_sql") or ""
        return fetch_stored(spec, render_key(spec, "summary_sql", text, window, context, self.metrics_dir))
