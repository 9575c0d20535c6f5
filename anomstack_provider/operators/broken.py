"""The one task of the DAG that stands in for a broken batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from anomstack_provider.runtime.airflow_compat import AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Context


class AnomstackBrokenBatchOperator(BaseOperator):
    """
    Fail with what is wrong in a batch's files.

    :param errors: one text per error, naming file, line and key. Not a template: it may quote the user's own Jinja.
    """

    ui_color = "#f8d7da"

    def __init__(self, *, errors: list[str], **kwargs: Any) -> None:
        super().__init__(retries=0, **kwargs)
        self.errors = errors

    def execute(self, context: Context) -> None:
        """Fail."""
        raise AirflowFailException("this metric batch cannot be read:\n" + "\n".join(self.errors))
