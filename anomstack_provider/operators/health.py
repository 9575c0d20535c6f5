"""The task that fails while any file of the metrics folder is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from anomstack_provider.runtime.airflow_compat import AirflowFailException
from anomstack_provider.wiring.batches import load_folder

if TYPE_CHECKING:
    from airflow.sdk import Context


class AnomstackHealthOperator(BaseOperator):
    """
    Read the metrics folder once more and fail if anything in it is broken.

    :param metrics_dir: the folder.
    """

    def __init__(self, *, metrics_dir: str, **kwargs: Any) -> None:
        super().__init__(retries=0, **kwargs)
        self.metrics_dir = metrics_dir

    def execute(self, context: Context) -> dict[str, int]:
        """Return the number of batches, or fail naming file, line and key of every error."""
        folder = load_folder(self.metrics_dir)
        for name, batch in folder.batches.items():
            for warning in batch.warnings:
                self.log.warning("%s: %s", name, warning)
        if folder.errors:
            raise AirflowFailException("\n".join(str(error) for error in folder.errors))
        return {"batches": len(folder.batches)}
