"""Delete what a batch keeps and nobody needs any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

from anomstack_provider.operators.base import AnomstackOperator
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.wiring.batches import open_hook, open_stores

if TYPE_CHECKING:
    from airflow.sdk import Context


class AnomstackDeleteOperator(AnomstackOperator):
    """
    Delete the batch's rows and finished deliveries that are older than ``delete_after_n_days`` before the end of the
    run's window, and the models that no run reads any more.

    ``delete_sql`` of the batch takes the place of deleting rows. What cannot be deleted makes the task fail after all
    else was; a run that is tried again, or run twice, deletes nothing twice.
    """

    def window(self, context: Context) -> RunWindow:
        """Return the window of this run, on the schedule of deleting."""
        if self.window_start and self.window_end:
            return super().window(context)
        return RunWindow.from_context(context, self.spec.delete_cron_schedule, self.spec.timezone)

    def execute(self, context: Context) -> dict[str, Any]:
        """Return how many ``rows``, ``deliveries`` and ``models`` are gone, and the time ``before`` which rows are."""
        from anomstack_provider.steps import delete
        from anomstack_provider.store.ledger import DeliveryLedger

        spec, window = self.spec, self.window(context)
        as_of = window.as_of

        def rows() -> int:
            if (own := spec.override("delete_sql")) is not None:
                return self._run_own(own, window, context)
            return delete.delete_rows(spec, as_of, open_stores(spec).metrics)

        def deliveries() -> int:
            ledger = DeliveryLedger(open_hook(spec), spec.table_key, spec.metric_batch)
            return delete.delete_deliveries(spec, as_of, ledger)

        def models() -> int:
            gone = delete.delete_models(spec, datetime.now(UTC), open_stores(spec).models)
            for path in gone:
                self.log.info("removed %s", path)
            return len(gone)

        work: dict[str, Callable[[], int]] = {"rows": rows, "deliveries": deliveries, "models": models}
        done: dict[str, Any] = {"before": delete.cutoff(spec, as_of).isoformat()}
        problems = []
        for what, remove in work.items():
            try:
                done[what] = remove()
            except Exception as error:  # what one store refuses must not keep the others full
                self.log.exception("%s cannot be deleted", what)
                problems.append(f"{what}: {type(error).__name__}: {error}")
        self.log.info("batch %r: deleted %s", spec.metric_batch, done)
        if problems:
            context["ti"].xcom_push("return_value", done)
            raise AirflowException(f"batch {spec.metric_batch!r}: not all could be deleted\n" + "\n".join(problems))
        return done

    def _run_own(self, statement: str, window: RunWindow, context: Context) -> int:
        from anomstack_provider.store.source import run_sql
        from anomstack_provider.wiring.templates import render_key

        sql = render_key(self.spec, "delete_sql", statement, window, context, self.metrics_dir)
        self.log.info("%s", sql)
        return run_sql(open_hook(self.spec), sql)
