"""Decide and send the alerts of a batch."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

from anomstack_provider.assets import anomaly_alias
from anomstack_provider.operators.base import AnomstackOperator, StepSummary
from anomstack_provider.operators.outlets import batch_name, emit_transitions
from anomstack_provider.wiring.batches import open_hook, open_stores

if TYPE_CHECKING:
    from airflow.sdk import Context

    from anomstack_provider.alerting.delivery import DeliveryReport


class AnomstackAlertOperator(AnomstackOperator):
    """
    Decide which buckets of the run's window are alerts, store them, and send each once by each of the batch's channels.

    What a channel did not acknowledge makes the task fail and is sent again, alone, by the next run or retry. Alerts
    of a backfill are stored but not sent unless the batch sets ``notify_on_backfill``.

    Each event that opens or is over updates the batch's asset :func:`~anomstack_provider.assets.anomaly_opened` or
    :func:`~anomstack_provider.assets.anomaly_closed`, once and when the task succeeds.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if (name := batch_name(self.metric_batch, self.config)) is not None:
            alias = anomaly_alias(name)
            self.add_outlets([alias])
            self.add_inlets([alias])  # to be asked what was emitted before

    def execute(self, context: Context) -> StepSummary:
        """Decide, store and send."""
        from anomstack_provider.steps.alert import alert, is_told

        spec, stores = self.spec, open_stores(self.spec)
        found = alert(spec, self.window(context), stores.metrics, stores.models)
        report = self._deliver([told for told in found.alerts if is_told(spec, told)], context)
        summary = self.finish(context, found.result)
        summary.update(report.summary())  # type: ignore[typeddict-item]
        if report.failed:
            context["ti"].xcom_push("return_value", summary)
            raise AirflowException(report.describe_failures())
        if self._notifies(context):
            emit_transitions(context, self.spec.metric_batch, found.alerts)
        return summary

    def _notifies(self, context: Context) -> bool:
        run: Any = context["dag_run"]
        return self.spec.notify_on_backfill or run.run_type != "backfill"

    def _deliver(self, alerts: Any, context: Context) -> DeliveryReport:
        from anomstack_provider.alerting.channels import open_channels
        from anomstack_provider.alerting.delivery import deliver
        from anomstack_provider.alerting.message import compose
        from anomstack_provider.steps.charts import Charts
        from anomstack_provider.store.ledger import DeliveryLedger

        spec = self.spec
        run: Any = context["dag_run"]
        ledger = DeliveryLedger(open_hook(spec), spec.table_key, spec.metric_batch)
        return deliver(
            alerts,
            ledger=ledger,
            channels=open_channels(spec),
            compose=partial(compose, timezone=spec.timezone, links=_links(context)),
            chart=Charts(spec, open_stores(spec).metrics).draw,
            # A retry of the same task takes up its own claims; another run waits until they are free or old.
            claimant=f"{run.dag_id}/{run.run_id}/{self.task_id}",
            clock=lambda: datetime.now(UTC),
            notify=self._notifies(context),
        )


def _links(context: Context) -> dict[str, str]:
    from airflow.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    if not base:
        return {}
    run: Any = context["dag_run"]
    return {"DAG": f"{base}/dags/{run.dag_id}", "Run": f"{base}/dags/{run.dag_id}/runs/{run.run_id}"}
