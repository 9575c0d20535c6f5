"""Score the metrics of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anomstack_provider.operators.base import AnomstackOperator, StepSummary

if TYPE_CHECKING:
    from airflow.sdk import Context


class AnomstackScoreOperator(AnomstackOperator):
    """
    Write one score per metric and closed bucket: those of the run's window, and earlier ones that have none yet.

    :param shard: which group of metrics, 0 to ``shards`` of the batch - 1.
    """

    def __init__(self, *, shard: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def execute(self, context: Context) -> StepSummary:
        """Score the run's window."""
        from anomstack_provider.steps.score import score
        from anomstack_provider.wiring.batches import open_stores

        stores = open_stores(self.spec)
        window = self.window(context)
        result = score(self.spec, window, stores.metrics, stores.models, shard=self.shard, shards=self.spec.shards)
        return self.finish(context, result)
