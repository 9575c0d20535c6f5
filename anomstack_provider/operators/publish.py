"""Tell the rest of Airflow what a batch's alert task found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anomstack_provider.assets import anomaly_alias
from anomstack_provider.operators.base import AnomstackOperator
from anomstack_provider.operators.outlets import TRANSITIONS, batch_name, emit_transitions

if TYPE_CHECKING:
    from airflow.sdk import Context


class AnomstackPublishOperator(AnomstackOperator):
    """
    Update the batch's assets with what the alert task found, each of them once for all of it.

    A task of its own, since Airflow takes asset events of tasks that succeed only, and what people could not be sent
    must not keep a DAG from starting. The alert task skips it when there is nothing to tell.

    :param alert_task_id: the alert task of the same run.
    """

    def __init__(self, *, alert_task_id: str = "alert", **kwargs: Any) -> None:
        super().__init__(**{"trigger_rule": "all_done", **kwargs})
        self.alert_task_id = alert_task_id
        if (name := batch_name(self.metric_batch, self.config)) is not None:
            alias = anomaly_alias(name)
            self.add_outlets([alias])
            self.add_inlets([alias])  # to be asked what was emitted before

    def execute(self, context: Context) -> int:
        """Return how many transitions were told; those that were before are left out."""
        left = context["ti"].xcom_pull(task_ids=self.alert_task_id, key=TRANSITIONS)
        return emit_transitions(context, self.spec.metric_batch, left or [])
