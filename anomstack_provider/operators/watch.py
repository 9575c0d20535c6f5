"""Turn a run red, and say why in one place, when any of its steps failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from anomstack_provider.runtime.airflow_compat import AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Context


class AnomstackWatchOperator(BaseOperator):
    """
    Fail when an upstream step failed; skipped otherwise.

    Steps run whatever became of the step before, so that one bad metric never keeps others from being alerted on.
    Airflow judges a run by its last tasks alone; this one makes the run as red as its steps.
    """

    ui_color = "#f2f2f2"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trigger_rule="one_failed", retries=0, **kwargs)

    def execute(self, context: Context) -> None:
        """Fail, naming the steps and the metrics that they could not evaluate."""
        lines = []
        for task_id in sorted(self.upstream_task_ids):
            pulled = context["ti"].xcom_pull(task_ids=task_id)
            for summary in pulled if isinstance(pulled, list) else [pulled]:
                # A task that failed before its end left nothing, and ``publish`` leaves a number.
                failed = summary.get("outcomes", {}).get("failed", 0) if isinstance(summary, dict) else 0
                if failed:
                    reasons = {n: why for n, why in summary["not_evaluated"].items() if why.startswith("failed")}
                    lines.append(f"{task_id}: {failed} metrics failed: {reasons}")
        detail = "\n".join(lines) or "see the logs of the failed tasks"
        raise AirflowFailException(f"a step of this run failed\n{detail}")
