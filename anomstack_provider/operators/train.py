"""Train the models of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anomstack_provider.operators.base import AnomstackOperator, StepSummary
from anomstack_provider.runtime.airflow_compat import AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context


class AnomstackTrainOperator(AnomstackOperator):
    """
    Fit the batch's models per metric as of the train ticks in the run's window and store them.

    Skipped, visibly, when no tick of ``train_cron_schedule`` falls into the window and a model stands.

    :param shard: which group of metrics, 0 to ``shards`` of the batch - 1.
    """

    def __init__(self, *, shard: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def execute(self, context: Context) -> StepSummary:
        """Train what is due."""
        from anomstack_provider.steps.train import train
        from anomstack_provider.wiring.batches import open_stores

        spec, stores = self.spec, open_stores(self.spec)
        window = self.window(context)
        result = train(spec, window, stores.metrics, stores.models, shard=self.shard, shards=spec.shards)
        if not result.facts["ticks"]:
            raise AirflowSkipException(
                f"not due: no tick of {spec.train_cron_schedule!r} from {window.start} to {window.end}, "
                "and a model stands"
            )
        return self.finish(context, result)
