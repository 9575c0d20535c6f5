"""Decide and send the alerts of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from airflow.providers.common.compat.sdk import DownstreamTasksSkipped

from anomstack_provider.operators.base import AnomstackOperator, StepSummary
from anomstack_provider.operators.outlets import TRANSITIONS, transitions_of
from anomstack_provider.operators.publish import AnomstackPublishOperator
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

    What opened or is over it leaves to an :class:`~anomstack_provider.operators.publish.AnomstackPublishOperator`
    behind it, whatever its own state.
    """

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
        clock = ledger.clock()
        if self._notifies(context) and "late" in spec.finds:
            now = clock()
            news = lag.told(news, found.missing, ledger, window.as_of, now)
            if spec.notify_closed:
                until = window.end - spec.completeness_delay
                news = [*lag.returned(found.alerts, found.missing, ledger, until, now, spec.timezone), *news]
        if left := transitions_of(news) if self._notifies(context) else []:
            context["ti"].xcom_push(TRANSITIONS, left)
        report = self._deliver([alert for alert in news if is_told(spec, alert)], ledger, clock, context, window)
        summary = self.finish(context, found.result, report.summary(), report.describe_failures())
        if not left and (idle := [task.task_id for task in self.downstream_list if _is_publisher(task)]):
            # The quickest way to do nothing: those tasks are not even started.
            context["ti"].xcom_push("return_value", summary)
            raise DownstreamTasksSkipped(tasks=idle)
        return summary

    def _notifies(self, context: Context) -> bool:
        run: Any = context["dag_run"]
        return self.spec.notify_on_backfill or run.run_type != "backfill"

    def _deliver(
        self,
        alerts: Sequence[Alert],
        ledger: DeliveryLedger,
        clock: Callable[[], datetime],
        context: Context,
        window: RunWindow,
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
            clock=clock,
            notify=self._notifies(context),
            route=Routing(spec).channels,
            rules=HoldingRules.of(spec, window.as_of),
            first_line=told.first_line,
            links=links,
        )


def _is_publisher(task: Any) -> bool:
    return isinstance(task, AnomstackPublishOperator)


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
