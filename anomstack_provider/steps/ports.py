"""What the steps need of a store and a model store, so that preview can hand them ones that write to memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from anomstack_provider.artifacts.model_store import Bundle, Manifest, ModelKey

# Columns of the rows that steps write; the store adds the batch.
KEY = ["metric_name", "metric_type", "metric_timestamp"]
COLUMNS = [*KEY, "metric_value", "metadata"]


class MetricRows(Protocol):
    """Rows of one batch; :class:`~anomstack_provider.store.metric_store.MetricStore` says what a method promises."""

    def read(
        self,
        metric_types: Sequence[str],
        *,
        since: datetime | None,
        until: datetime,
        newest: int | None = None,
        cut: datetime | None = None,
        metrics: Sequence[str] | None = None,
    ) -> pd.DataFrame: ...

    def newest_timestamp(self, metric_type: str, before: datetime) -> datetime | None: ...

    def metric_names(self, metric_type: str, *, since: datetime | None, until: datetime) -> list[str]: ...

    def replace(self, rows: pd.DataFrame, *, clear: pd.DataFrame | None = None) -> int: ...

    def query(self, key: str, as_of: datetime) -> pd.DataFrame: ...


class Models(Protocol):
    """Stored models; see :class:`~anomstack_provider.artifacts.model_store.ModelStore`."""

    def load(self, key: ModelKey) -> Bundle | None: ...

    def save(self, key: ModelKey, models: Mapping[str, Any], facts: Mapping[str, Any]) -> object: ...

    def find(self, key: ModelKey) -> Manifest | None: ...

    def prune(self, metric_batch: str, keep: int, spare: Collection[datetime] = ()) -> list[str]: ...
