"""What the Anomstack operators share: which batch, which window, and how a step's result becomes a task's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, cast

from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk import BaseOperator

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.airflow_compat import AirflowFailException
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.wiring.batches import inline_spec, load_spec

if TYPE_CHECKING:
    from airflow.sdk import Context

    from anomstack_provider.steps.outcomes import StepResult


class StepSummary(TypedDict, total=False):
    """
    What a task leaves in its XCom: counts and at most twenty names.

    ``metrics`` is the number of metrics seen, ``outcomes`` how many had which outcome, ``not_evaluated`` up to twenty
    of those that were not, each with the reason; ``rows`` the number of rows written.
    """

    step: str
    rows: int
    metrics: int
    outcomes: dict[str, int]
    not_evaluated: dict[str, str]


class AnomstackOperator(BaseOperator):
    """
    One step on one metric batch.

    Name the batch either by ``metric_batch``, to be read from a metrics folder when the task runs, or give its keys as
    ``config`` in a hand-written DAG.

    :param metric_batch: name of the batch.
    :param metrics_dir: folder that holds it; the ``[anomstack] metrics_dir`` option if None.
    :param config: the keys of a batch as in its YAML, instead of the two above.
    :param window_start: start of the window as ISO 8601 (templated), instead of the run's own; UTC if it has no offset.
    :param window_end: end of that window.
    """

    template_fields: Sequence[str] = ("window_start", "window_end")
    ui_color = "#e6f1ee"

    def __init__(
        self,
        *,
        metric_batch: str | None = None,
        metrics_dir: str | None = None,
        config: Mapping[str, Any] | None = None,
        window_start: str | None = None,
        window_end: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (metric_batch is None) == (config is None):
            raise ValueError(f"task {self.task_id!r}: give either metric_batch or config")
        if (window_start is None) != (window_end is None):
            raise ValueError(f"task {self.task_id!r}: give both window_start and window_end, or neither")
        self.metric_batch = metric_batch
        self.metrics_dir = metrics_dir
        self.config = config
        self.window_start = window_start
        self.window_end = window_end

    @cached_property
    def spec(self) -> BatchSpec:
        """The batch, read when it is first needed in a worker."""
        if self.config is not None:
            return inline_spec(self.config, self.metrics_dir)
        assert self.metric_batch is not None
        return load_spec(self.metric_batch, self.metrics_dir)

    def window(self, context: Context) -> RunWindow:
        """Return the window of this run."""
        if self.window_start and self.window_end:
            return RunWindow(_moment(self.window_start), _moment(self.window_end))
        return RunWindow.from_context(context, self.spec.cron, self.spec.timezone)

    def finish(
        self, context: Context, result: StepResult, facts: Mapping[str, Any] | None = None, failures: str = ""
    ) -> StepSummary:
        """
        Log and return the summary of a step.

        :param facts: more of what the summary holds.
        :param failures: what else went wrong, that another try may mend.
        :raises AirflowFailException: some metrics failed. All others are done and the summary is in the XCom; trying
            again would fail the same way, so the task is not retried.
        :raises AirflowException: there are ``failures``.
        """
        summary = cast("StepSummary", {**result.summary(), **(facts or {})})
        self.log.info("%s: %s rows, outcomes %s", result.step, result.rows, summary["outcomes"])
        if not result.failed and not failures:
            return summary
        context["ti"].xcom_push("return_value", summary)
        said = [failures] if failures else []
        if result.failed:
            reasons = "\n".join(f"  {name}: {reason}" for name, reason in sorted(result.failed.items()))
            said.append(
                f"{result.step} of batch {self.spec.metric_batch!r}: {len(result.failed)} of {len(result.outcomes)} "
                f"metrics failed, the others are done:\n{reasons}"
            )
        raise (AirflowException if failures else AirflowFailException)("\n".join(said))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
