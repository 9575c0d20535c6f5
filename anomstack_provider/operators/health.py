"""The task that fails while any file of the metrics folder is broken, or names a connection that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from anomstack_provider.config.includes import missing_includes
from anomstack_provider.runtime.airflow_compat import AirflowFailException
from anomstack_provider.wiring.batches import load_folder
from anomstack_provider.wiring.connections import missing_connections

if TYPE_CHECKING:
    from airflow.sdk import Context


class AnomstackHealthOperator(BaseOperator):
    """
    Read the metrics folder once more; fail if it is broken, or a file or a connection that it names is missing.

    :param metrics_dir: the folder.
    :param refused: what building the DAGs has shown to be wrong, which reading the folder does not.
    """

    def __init__(self, *, metrics_dir: str, refused: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(retries=0, **kwargs)
        self.metrics_dir = metrics_dir
        self.refused = list(refused)

    def execute(self, context: Context) -> dict[str, int]:
        """Return the number of batches, or fail naming file, line and key of every error."""
        folder = load_folder(self.metrics_dir)
        for name, batch in folder.batches.items():
            for warning in batch.warnings:
                self.log.warning("%s: %s", name, warning)
        missing = [*missing_includes(folder), *missing_connections(folder)]
        if problems := [*(str(error) for error in folder.errors), *self.refused, *missing]:
            raise AirflowFailException("\n".join(problems))
        return {"batches": len(folder.batches)}
