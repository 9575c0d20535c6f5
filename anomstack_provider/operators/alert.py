"""Decide and send the alerts of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from airflow.providers.common.compat.sdk import AirflowException

from anomstack_provider.assets import anomaly_alias
from anomstack_provider.operators.base import AnomstackOperator, StepSummary
from anomstack_provider.operators.outlets import batch_name, emit_transitions
from anomstack_provider.operators.upstream import upstream_text
from anomstack_provider.wiring.batches import open_hook, open_stores

if TYPE_CHECKING:
    from airflow.sdk import Context

    from anomstack_provider.alerting.alert import Alert
    from anomstack_provider.delivery.report import DeliveryReport
    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.store.ledger import DeliveryLedger


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
        from anomstack_provider.delivery import lag
        from anomstack_provider.steps.alert import alert, is_told
        from anomstack_provider.store.ledger import DeliveryLedger

        spec, stores = self.spec, open_stores(self.spec)
        window = self.window(context)
        found = alert(spec, window, stores.metrics, stores.models)
        news: Sequence[Alert] = found.alerts
        ledger = DeliveryLedger(open_hook(spec), spec.table_key, spec.metric_batch)
        if self._notifies(context):
            news = lag.told(news, found.missing, ledger, window.as_of, datetime.now(UTC))
        report = self._deliver([alert for alert in news if is_told(spec, alert)], ledger, context, window)
        summary = self.finish(context, found.result)
        summary.update(report.summary())  # type: ignore[typeddict-item]
        if report.failed:
            context["ti"].xcom_push("return_value", summary)
            raise AirflowException(report.describe_failures())
        if self._notifies(context):
            emit_transitions(context, self.spec.metric_batch, news)
        return summary

    def _notifies(self, context: Context) -> bool:
        run: Any = context["dag_run"]
        return self.spec.notify_on_backfill or run.run_type != "backfill"

    def _deliver(
        self, alerts: Sequence[Alert], ledger: DeliveryLedger, context: Context, window: RunWindow
    ) -> DeliveryReport:
        from anomstack_provider.delivery.channels import open_channels
        from anomstack_provider.delivery.holding import HoldingRules
        from anomstack_provider.delivery.routing import Routing
        from anomstack_provider.delivery.sending import deliver
        from anomstack_provider.steps.charts import Briefings

        spec = self.spec
        links = _links(context, query=bool(spec.ingest_sql) and not spec.disable_ingest)
        run: Any = context["dag_run"]
        told = Briefings(spec, open_stores(spec).metrics, links, upstream_text(context))
        return deliver(
            alerts,
            ledger=ledger,
            channels=open_channels(spec, links=links, context=cast("Mapping[str, Any]", context)),
            compose=told.compose,
            chart=told.draw,
            # A retry of the same task takes up its own claims; another run waits until they are free or old.
            claimant=f"{run.dag_id}/{run.run_id}/{self.task_id}",
            clock=lambda: datetime.now(UTC),
            notify=self._notifies(context),
            route=Routing(spec).channels,
            rules=HoldingRules.of(spec, window.as_of),
            first_line=told.first_line,
            links=links,
        )


def _links(context: Context, *, query: bool) -> dict[str, str]:
    """
    Return the pages of this run in Airflow's UI.

    :param query: whether the run has a task that shows the query of the metrics as it ran.
    """
    from airflow.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    if not base:
        return {}
    run: Any = context["dag_run"]
    page = f"{base}/dags/{quote(run.dag_id, safe='')}/runs/{quote(run.run_id, safe='')}"
    return {"Run": page} | ({"Query": f"{page}/tasks/ingest/rendered_templates"} if query else {})
